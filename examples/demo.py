"""Pool a divisible and a non-divisible feature map, check both, and show what cpool promises."""

from __future__ import annotations

import os
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


def beside_opencl(random: np.random.Generator) -> bool:
    """Time the same calls on the CPU and on an OpenCL device, where there is one; whether what it gave is right.

    Without one all is well, unless the environment variable CPOOL_TEST_OPENCL asks for it.
    """
    found = sorted(cpool.devices()[1:], key=lambda device: "CPU" in device.features)  # processors last
    if not found:
        print("\nNo OpenCL device here. PyOpenCL, and PoCL to run it on the processor:")
        print(f"{sys.executable} -m pip install pyopencl pocl-binary-distribution")
    for device in found:
        try:
            return beside(device, random)
        except cpool.BackendUnavailable as error:  # noqa: PERF203
            print(f"\n{device.backend} can't be used: {str(error).splitlines()[0]}")
    return not os.environ.get("CPOOL_TEST_OPENCL")


def beside(device: cpool.Device, random: np.random.Generator) -> bool:
    """Time the calls on this device, too."""
    import pyopencl as cl
    import pyopencl.array

    from cpool.opencl import devices

    context = cl.Context([devices.find("device", device.backend)])  # held: not every driver's queue keeps its context
    queue = cl.CommandQueue(context)
    x = random.standard_normal((4, 64, 56, 57), dtype=np.float32)
    there = pyopencl.array.to_device(queue, x)

    # averages of doubles stand for the exact ones; the bound is 0.51 ULP at the mean of the absolute values
    wide = x.astype(np.float64)
    unit = np.spacing(cpool.adaptive_avg_pool2d(abs(wide), 7).astype(np.float32))
    averages = cpool.adaptive_avg_pool2d(there, 7).get()
    within = bool((abs(averages - cpool.adaptive_avg_pool2d(wide, 7)) <= 0.51 * unit).all())
    found = [part.get() for part in cpool.max_pool2d(there, 3, 2, 1, return_indices=True)]
    equal = all(map(np.array_equal, found, cpool.max_pool2d(x, 3, 2, 1, return_indices=True)))

    calls = (
        ("adaptive_avg_pool2d(x, 7)", lambda x: cpool.adaptive_avg_pool2d(x, 7), within, "within the bound"),
        ("max_pool2d(x, 3, 2, 1)", lambda x: cpool.max_pool2d(x, 3, 2, 1), equal, "equal, indices too"),
    )
    rows: list[tuple[str, ...]] = [(f"x: {x.shape}", "CPU", "OpenCL, x lying there", "results")]
    for name, call, right, told in calls:
        here, took = median_times(lambda call=call: call(x), lambda call=call: (call(there), queue.finish()))
        rows.append((name, f"{here * 1e6:.0f} us", f"{took * 1e6:.0f} us", told if right else "WRONG"))
    table(f"The CPU and OpenCL's {queue.device.name.strip()}", rows)
    return within and equal


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

    failed |= not beside_opencl(random)

    print("\nConfiguration")
    cpool.show_config()
    print("\nA check FAILED." if failed else "\nAll checks passed.")
    if sys.prefix != sys.base_prefix:
        print(f"This cpool is in {sys.prefix}: . {sys.prefix}/bin/activate")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
