"""Squeeze and excite: each channel is scaled by what two small layers make of all channels' averages."""

from __future__ import annotations

import numpy as np

import cpool

CHANNELS, REDUCED = 96, 24


def by_numpy(x: np.ndarray, w1: np.ndarray, b1: np.ndarray, w2: np.ndarray, b2: np.ndarray) -> np.ndarray:
    """The same, step by step, in float64."""
    squeezed = x.mean(axis=(2, 3), dtype=np.float64)
    excited = np.maximum(squeezed @ w1.T + b1, 0) @ w2.T + b2
    gate = np.clip(excited + 3, 0, 6) / 6
    return x * gate[:, :, None, None]


def main() -> None:
    """Run the block as a function and as a layer."""
    random = np.random.default_rng(0)
    x = random.standard_normal((4, CHANNELS, 28, 27), np.float32)
    shapes = (REDUCED, CHANNELS), (REDUCED,), (CHANNELS, REDUCED), (CHANNELS,)
    weights = [random.standard_normal(shape, np.float32) for shape in shapes]

    once = cpool.squeeze_excite(x, *weights, activation="relu", gate="hardsigmoid")
    block = cpool.nn.SqueezeExcite(*weights, activation="relu", gate="hardsigmoid")
    expected = by_numpy(x, *weights)
    assert np.allclose(once, expected, atol=1e-4)
    assert np.array_equal(block(x), once)

    assert block(x, out=x) is x  # in place, because x was handed in as out
    assert np.array_equal(x, once)
    print(f"{block}: largest difference to NumPy {np.abs(once - expected).max():.1e}")


if __name__ == "__main__":
    main()
