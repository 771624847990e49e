"""A spatial pyramid: images of any size become vectors of one length, by the largest of 1, 2 x 2 and 4 x 4 parts."""

from __future__ import annotations

import numpy as np

import cpool

LEVELS = (1, 2, 4)


def vector(features: np.ndarray) -> np.ndarray:
    """The vector of one feature map (C, H, W): C * (1 + 4 + 16) numbers, whatever H and W are."""
    return np.concatenate([cpool.adaptive_max_pool2d(features, size).ravel() for size in LEVELS])


def by_numpy(features: np.ndarray) -> np.ndarray:
    """The same, part by part."""
    _, height, width = features.shape
    parts = []
    for size in LEVELS:
        level = [
            features[
                :, i * height // size : -(-(i + 1) * height // size), j * width // size : -(-(j + 1) * width // size)
            ].max(axis=(1, 2))
            for i in range(size)
            for j in range(size)
        ]
        parts.append(np.stack(level, axis=1).ravel())
    return np.concatenate(parts)


def main() -> None:
    """Make vectors of images of several sizes and find the most alike two."""
    random = np.random.default_rng(0)
    sizes = ((13, 17), (31, 20), (7, 9), (40, 41))
    images = [random.standard_normal((64, *size), np.float32) for size in sizes]
    vectors = np.stack([vector(image) for image in images])
    assert vectors.shape == (len(sizes), 64 * 21)
    for image, found in zip(images, vectors, strict=True):
        assert np.array_equal(found, by_numpy(image))
    near = np.corrcoef(vectors) - 2 * np.eye(len(sizes))
    first, second = np.unravel_index(near.argmax(), near.shape)
    print(f"{len(sizes)} images -> {vectors.shape}; most alike: {sizes[first]} and {sizes[second]}")


if __name__ == "__main__":
    main()
