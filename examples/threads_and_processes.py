"""The same work on OpenMP's threads, on Python's threads and in processes: the bits are the same."""

from __future__ import annotations

import multiprocessing
import tempfile
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np

import cpool

SIZE = (7, 5)


def alone(batch: np.ndarray) -> np.ndarray:
    """Pool on the calling thread only: its caller has several of them."""
    with cpool.threads(1):
        return cpool.adaptive_avg_pool2d(batch, SIZE)


def from_file(path: Path, first: int, last: int) -> np.ndarray:
    """Pool some images of a file, in a process that got nothing but its name."""
    return alone(np.load(path, mmap_mode="r")[first:last])


def main() -> None:
    """Do it all four ways."""
    x = np.random.default_rng(0).random((24, 64, 56, 57), np.float32)
    expected = np.empty((24, 64, *SIZE))
    for i in range(SIZE[0]):
        for j in range(SIZE[1]):
            rows = slice(i * 56 // SIZE[0], -(-(i + 1) * 56 // SIZE[0]))
            columns = slice(j * 57 // SIZE[1], -(-(j + 1) * 57 // SIZE[1]))
            expected[:, :, i, j] = x[:, :, rows, columns].mean(axis=(2, 3), dtype=np.float64)

    with cpool.threads(2):  # OpenMP's threads share one call
        together = cpool.adaptive_avg_pool2d(x, SIZE)
    assert np.allclose(together, expected, rtol=1e-6)

    with ThreadPoolExecutor(3) as pool:  # Python's threads have a call each; the GIL is free
        parts = list(pool.map(alone, np.array_split(x, 5)))
    assert np.array_equal(np.concatenate(parts), together)
    print("Python's threads: the same bits")

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "images.npy"
        np.save(path, x)
        for method in multiprocessing.get_all_start_methods():
            context = multiprocessing.get_context(method)
            with ProcessPoolExecutor(2, mp_context=context) as processes:
                jobs = [processes.submit(from_file, path, i, i + 8) for i in range(0, 24, 8)]
                parts = [job.result() for job in jobs]
            assert np.array_equal(np.concatenate(parts), together)
            print(f"processes made by {method}: the same bits")


if __name__ == "__main__":
    main()
