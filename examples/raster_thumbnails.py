"""Thumbnails of a large raster in a file: a few rows are read at a time, and cells without data are left out."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

import cpool

NOTHING = 65535  # what the raster says where it knows nothing


def thumbnail(raster: np.ndarray, height: int, width: int) -> np.ndarray:
    """The mean of the cells with data in each part of the raster; NaN where there are none."""
    rows = cpool.windows(raster.shape[0], height)
    result = np.empty((height, width))
    for i, (top, bottom) in enumerate(zip(rows.starts, rows.stops, strict=True)):
        cells = raster[top:bottom]
        valid = cells != NOTHING
        total = cpool.adaptive_avg_pool(np.where(valid, cells, 0), (1, width), dtype=np.float64)
        share = cpool.adaptive_avg_pool(valid, (1, width), dtype=np.float64)
        with np.errstate(invalid="ignore"):  # 0 / 0 is the NaN that is wanted
            result[i] = (total / share)[0]
    return result


def by_numpy(raster: np.ndarray, m: int, n: int) -> np.ndarray:
    """The same from the whole raster, part by part."""
    height, width = raster.shape
    result = np.full((m, n), np.nan)
    for i in range(m):
        for j in range(n):
            part = raster[i * height // m : -(-(i + 1) * height // m), j * width // n : -(-(j + 1) * width // n)]
            if (part != NOTHING).any():
                result[i, j] = part[part != NOTHING].mean()
    return result


def main() -> None:
    """Write a raster, and make thumbnails of the file."""
    random = np.random.default_rng(0)
    heights = random.integers(0, 4000, (1201, 1801), np.uint16)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "heights.npy"
        np.save(path, heights)
        raster = np.load(path, mmap_mode="r+")

        # all cells count: one call, and a result in the raster's own type
        small = cpool.adaptive_avg_pool(raster, (37, 53), dtype=np.uint16)
        assert np.array_equal(small, np.rint(by_numpy(heights, 37, 53)))

        raster[200:500, 300:900] = heights[200:500, 300:900] = NOTHING  # a lake
        for size in ((60, 90), (37, 53)):
            found = thumbnail(raster, *size)
            assert np.allclose(found, by_numpy(heights, *size), equal_nan=True)
            print(f"{raster.shape} -> {found.shape}, {np.isnan(found).sum()} cells without data")
        del raster  # some systems only remove files that nobody has open


if __name__ == "__main__":
    main()
