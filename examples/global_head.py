"""A classifier's head: the average of each feature map, and one matrix behind it."""

from __future__ import annotations

import numpy as np

import cpool


def scores(features: np.ndarray, weights: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """What the head says of images whose feature maps are (N, C, H, W), whatever H and W are."""
    return cpool.global_avg_pool(features, keepdims=False) @ weights.T + bias


def main() -> None:
    """Classify images of two sizes with the same head."""
    random = np.random.default_rng(0)
    weights, bias = random.standard_normal((10, 512), np.float32), random.standard_normal(10, np.float32)
    for height, width in ((7, 7), (12, 9)):
        features = random.standard_normal((8, 512, height, width), np.float32)
        found = scores(features, weights, bias)
        expected = features.mean(axis=(2, 3), dtype=np.float64) @ weights.T.astype(np.float64) + bias
        assert np.allclose(found, expected, atol=1e-3)
        print(f"feature maps {features.shape}: classes {found.argmax(axis=1).tolist()}")


if __name__ == "__main__":
    main()
