"""Images that stay on an OpenCL device: PyOpenCL's own operations and cpool's in one chain, fetched once at the end.

The images and the weights are random, so what comes out means nothing, but it must be what the CPU makes of them.
PYOPENCL_CTX chooses among several devices: PYOPENCL_CTX=1 takes the second platform.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np

import cpool

GET_IT = "pip install 'cpool[opencl]', or pip install 'cpool[pocl]' on a machine without an OpenCL driver"

try:
    import pyopencl as cl
    import pyopencl.array
    from pyopencl import clmath
except ImportError as error:
    sys.exit(f"This example needs PyOpenCL ({error}): {GET_IT}")

SIZE = (97, 131)  # what images of 480 x 640 are averaged to: 480 = 4 * 97 + 92, windows of 5 and 6 rows
SHADE = np.float32(1 / 255)
TOLERANCE = 1e-5  # roots and exponentials of a device may be a few units in the last place from NumPy's

Weights = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def pooled(light: Any, weights: Weights) -> Any:
    """The part that cpool does: the same calls for arrays of a device and of NumPy."""
    small = cpool.adaptive_avg_pool2d(light, SIZE)
    bright = cpool.max_pool2d(small, 3, 2, 1)
    return cpool.squeeze_excite(bright, *weights, activation="relu", out=bright)


def on_device(images: pyopencl.array.Array, weights: Weights) -> pyopencl.array.Array:
    """From bytes to light (a gamma of 2), pooled, and back to shades. Nothing here waits for the device."""
    shades = images.astype(np.float32) * SHADE
    return clmath.sqrt(pooled(shades * shades, weights))


def on_cpu(images: np.ndarray, weights: Weights) -> np.ndarray:
    """The same with NumPy."""
    shades = images.astype(np.float32) * SHADE
    return np.sqrt(pooled(shades * shades, weights))


def main() -> int:
    """Run the chain on a device and on the CPU; 1 if the two disagree."""
    if len(cpool.devices()) == 1:  # the processor, by itself
        sys.exit("No OpenCL device here: install its driver, or for the processor PoCL: pip install 'cpool[pocl]'")
    context = cl.create_some_context(interactive=False)
    queue = cl.CommandQueue(context)

    random = np.random.default_rng(0)
    images = random.integers(0, 256, (4, 3, 480, 640), np.uint8)
    weights = tuple(random.standard_normal(shape, dtype=np.float32) for shape in ((2, 3), (2,), (3, 2), (3,)))

    there = pyopencl.array.to_device(queue, images)  # the only way there
    on_device(there, weights)  # the first call builds the kernels
    queue.finish()
    begun = time.perf_counter()
    later = on_device(there, weights)
    asked = time.perf_counter()
    result = later.get()  # the only way back; this waits
    done = time.perf_counter()
    same = on_cpu(images, weights)

    difference = float(np.abs(result - same).max() / np.abs(same).max())
    agree = result.shape == same.shape and difference <= TOLERANCE
    print(f"device   {queue.device.name.strip()}, on {queue.device.platform.name.strip()}")
    print(f"images   {images.shape} {images.dtype}, {there.nbytes / 1e6:.1f} MB, sent once")
    print(f"chain    square, average to {SIZE}, largest of 3x3 by 2, squeeze-and-excite, root")
    print(f"result   {later.shape} {later.dtype}, {later.nbytes / 1e6:.2f} MB, fetched once")
    print(
        f"time     {(asked - begun) * 1e3:.1f} ms to ask for it, {(done - asked) * 1e3:.1f} ms more until it was here"
    )
    print(f"the CPU  {'agrees' if agree else 'DISAGREES'}, within {difference:.1e} of the largest value")
    return int(not agree)


if __name__ == "__main__":
    sys.exit(main())
