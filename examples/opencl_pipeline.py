"""Images that stay on an OpenCL device: PyOpenCL's own operations and cpool's in one chain, fetched once at the end.

The images and the weights are random, so what comes out means nothing, but it must be what NumPy makes of them.
PYOPENCL_CTX chooses among several devices: PYOPENCL_CTX=1 takes the second platform.
"""

from __future__ import annotations

import sys
import time

import numpy as np

import cpool

GET_IT = "pip install pyopencl pocl-binary-distribution"

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


def on_device(images: pyopencl.array.Array, weights: Weights) -> pyopencl.array.Array:
    """From bytes to light (a gamma of 2), pooled, and back to shades. Nothing here waits for the device."""
    shades = images.astype(np.float32) * SHADE
    small = cpool.adaptive_avg_pool2d(shades * shades, SIZE)
    bright = cpool.max_pool2d(small, 3, 2, 1)
    return clmath.sqrt(cpool.squeeze_excite(bright, *weights, activation="relu", out=bright))


def by_numpy(images: np.ndarray, weights: Weights) -> np.ndarray:
    """The same with plain NumPy, step by step, in float64."""
    light = np.square(images / 255)
    (height, width), (m, n) = light.shape[2:], SIZE
    small = np.full((*light.shape[:2], m + 2, n + 2), -np.inf)  # with the padding of the largest around it
    for i, j in np.ndindex(m, n):
        part = light[:, :, i * height // m : -(-(i + 1) * height // m), j * width // n : -(-(j + 1) * width // n)]
        small[:, :, i + 1, j + 1] = part.mean(axis=(2, 3))
    bright = np.lib.stride_tricks.sliding_window_view(small, (3, 3), axis=(2, 3))[:, :, ::2, ::2].max(axis=(4, 5))
    w1, b1, w2, b2 = weights
    excited = np.maximum(bright.mean(axis=(2, 3)) @ w1.T + b1, 0) @ w2.T + b2
    return np.sqrt(bright / (1 + np.exp(-excited))[:, :, None, None])


def main() -> int:
    """Run the chain on a device and with NumPy; 1 if the two disagree."""
    if len(cpool.devices()) == 1:  # the processor, by itself
        sys.exit(f"No OpenCL device here: install its driver, or for the processor PoCL ({GET_IT})")
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
    expected = by_numpy(images, weights)

    difference = float(np.abs(result - expected).max() / np.abs(expected).max())
    agree = result.shape == expected.shape and difference <= TOLERANCE
    print(f"device   {queue.device.name.strip()}, on {queue.device.platform.name.strip()}")
    print(f"images   {images.shape} {images.dtype}, {there.nbytes / 1e6:.1f} MB, sent once")
    print(f"chain    square, average to {SIZE}, largest of 3x3 by 2, squeeze-and-excite, root")
    print(f"result   {later.shape} {later.dtype}, {later.nbytes / 1e6:.2f} MB, fetched once")
    print(
        f"time     {(asked - begun) * 1e3:.1f} ms to ask for it, {(done - asked) * 1e3:.1f} ms more until it was here"
    )
    print(f"NumPy    {'agrees' if agree else 'DISAGREES'}, within {difference:.1e} of the largest value")
    return int(not agree)


if __name__ == "__main__":
    sys.exit(main())
