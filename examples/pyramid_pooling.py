"""A pyramid: a feature map next to its averages over 1, 2 x 2, 3 x 3 and 6 x 6 parts, brought back to its size."""

from __future__ import annotations

import numpy as np

import cpool

LEVELS = (1, 2, 3, 6)


def stretched(x: np.ndarray, height: int, width: int) -> np.ndarray:
    """x (N, C, h, w) enlarged to height x width: each place takes the part it lies in."""
    rows = np.arange(height) * x.shape[2] // height
    columns = np.arange(width) * x.shape[3] // width
    return x[:, :, rows[:, None], columns]


def pyramid(x: np.ndarray) -> np.ndarray:
    """x and its averages at all levels, as channels side by side."""
    levels = [stretched(cpool.adaptive_avg_pool2d(x, size), *x.shape[2:]) for size in LEVELS]
    return np.concatenate([x, *levels], axis=1)


def by_numpy(x: np.ndarray, size: int) -> np.ndarray:
    """The averages of size x size parts, one by one."""
    height, width = x.shape[2:]
    pooled = np.empty((*x.shape[:2], size, size))
    for i in range(size):
        rows = slice(i * height // size, -(-(i + 1) * height // size))
        for j in range(size):
            columns = slice(j * width // size, -(-(j + 1) * width // size))
            pooled[:, :, i, j] = x[:, :, rows, columns].mean(axis=(2, 3), dtype=np.float64)
    return pooled


def main() -> None:
    """Make the pyramid of a map whose sides nothing divides."""
    x = np.random.default_rng(0).standard_normal((2, 16, 59, 43), np.float32)
    result = pyramid(x)
    assert result.shape == (2, 16 * 5, 59, 43)
    assert np.array_equal(result[:, :16], x)
    for i, size in enumerate(LEVELS, start=1):
        assert np.allclose(result[:, i * 16 : (i + 1) * 16], stretched(by_numpy(x, size), 59, 43), atol=1e-6)
        kinds = {axis.kind for axis in cpool.explain(cpool.adaptive_avg_pool2d, x, size).axes}
        print(f"level {size}: {', '.join(sorted(kinds))}")
    print(f"{x.shape} -> {result.shape}")


if __name__ == "__main__":
    main()
