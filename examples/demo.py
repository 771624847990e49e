"""Pool a divisible and a non-divisible feature map, check both, and show what cpool promises."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np

import cpool
from cpool import reference


def table(title: str, rows: list[tuple[str, ...]]) -> None:
    """Print rows as aligned columns under a title."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    print(f"\n{title}")
    for row in rows:
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def median_times(*calls: Callable[[], object], rounds: int = 15) -> list[float]:
    """Seconds that each call takes: medians of rounds in which they take turns, for the machine may be busy."""
    times = np.empty((rounds, len(calls)))
    for turn in times:
        for i, call in enumerate(calls):
            begun = time.perf_counter()
            call()
            turn[i] = time.perf_counter() - begun
    return np.median(times, axis=0).tolist()


def main() -> int:
    """Run the demonstration; 1 if a check fails."""
    random = np.random.default_rng(0)
    failed = False

    rows: list[tuple[str, ...]] = [("feature map", "result", "windows", "kernel", "equal to the reference")]
    for shape, size in (((2, 3, 10, 9), (7, 7)), ((2, 3, 8, 9), (5, 7)), ((2, 3, 8, 8), (4, 4))):
        x = random.standard_normal(shape).astype(np.float32)
        pooled = cpool.adaptive_avg_pool2d(x, size)
        right = bool(np.array_equal(pooled, reference.adaptive_avg_pool(x, size, axes=(2, 3))))
        failed |= not right
        told = cpool.explain(cpool.adaptive_avg_pool2d, x, size)
        rows.append((str(shape), str(pooled.shape), told.kind, told.kernel, "yes" if right else "NO"))
    table("Adaptive average pooling", rows)

    ones = np.ones((1, 1, 5000, 5000), np.float32)
    serial = float(np.add.accumulate(ones.ravel(), dtype=np.float32)[-1]) / ones.size
    ours = float(cpool.global_avg_pool(ones)[0, 0, 0, 0])
    failed |= ours != 1.0
    table(
        "The mean of ones over a window of 5000 x 5000",
        [("cpool", f"{ours!r}"), ("added one by one in float32", f"{serial:.4f}")],
    )

    windows = cpool.windows(10, 7)
    table(
        f"The windows of 10 -> 7 ({windows.kind}: no kernel and stride give them)",
        [("start", *map(str, windows.starts)), ("stop", *map(str, windows.stops)), ("size", *map(str, windows.sizes))],
    )

    rows = [("shape", "size", "cpool", "reads at", "numpy.sum reads at, on one thread")]
    for shape, out in (((16, 256, 56, 56), 7), ((8, 512, 64, 64), 1), ((1, 64, 8, 9), (5, 7))):
        x = random.random(shape, dtype=np.float32)
        cpool.adaptive_avg_pool2d(x, out)
        took, read = median_times(lambda x=x, out=out: cpool.adaptive_avg_pool2d(x, out), x.sum)
        speed, limit = (f"{x.nbytes / t / 1e9:.1f} GB/s" for t in (took, read))
        rows.append((str(shape), str(out), f"{took * 1e6:.1f} us", speed, limit))
    table(f"Speed, on {cpool.get_num_threads()} threads", rows)

    print("\nConfiguration")
    cpool.show_config()
    print("\nA check FAILED." if failed else "\nAll checks passed.")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
