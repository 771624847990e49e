"""A video in three dimensions: time, rows and columns pooled at once, in bytes, with the colours last."""

from __future__ import annotations

import numpy as np

import cpool

SIZE = (8, 27, 48)  # frames, rows, columns


def main() -> None:
    """Make a short preview of a clip, and find where most of it moves."""
    random = np.random.default_rng(0)
    clip = random.integers(0, 256, (50, 108, 200, 3), np.uint8)  # frames, rows, columns, colours
    clip[20:30] //= 4  # some dark frames

    preview = cpool.adaptive_avg_pool3d(clip, SIZE, data_format="channels_last", dtype=np.uint8)
    assert preview.shape == (*SIZE, 3)
    for i, j, k in ((0, 0, 0), (3, 5, 7), (7, 26, 47)):
        at = tuple(
            slice(index * n // m, -(-(index + 1) * n // m))
            for index, n, m in zip((i, j, k), clip.shape, SIZE, strict=False)
        )
        assert np.array_equal(preview[i, j, k], np.rint(clip[at].mean(axis=(0, 1, 2))))

    # time alone: each pixel keeps its place, and None keeps its axis
    moving = np.abs(np.diff(clip.astype(np.int16), axis=0)).astype(np.uint8)
    most = cpool.adaptive_max_pool3d(moving, (7, None, None), data_format="channels_last")
    assert np.array_equal(most[0], moving[:7].max(axis=0))  # 49 differences, seven at a time
    print(f"{clip.shape} -> {preview.shape} and {most.shape}")
    print("brightness:", preview.mean(axis=(1, 2, 3)).round().astype(int).tolist())


if __name__ == "__main__":
    main()
