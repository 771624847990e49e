"""Sentences out of tokens: the mean of the tokens that count, which no neighbour in the batch changes."""

from __future__ import annotations

import numpy as np

import cpool


def sentences(tokens: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Means over (N, L, C) of the tokens where the mask (N, L) is not 0: sums, by the number of those tokens."""
    kept = np.where(mask[:, :, None] != 0, tokens, np.float32(0))
    means = cpool.global_avg_pool(kept, data_format="NLC", keepdims=False)
    share = cpool.adaptive_avg_pool(mask != 0, 1, axes=1, dtype=np.float32)
    return means / share


def main() -> None:
    """Pool sentences of different lengths in one batch, and one of them alone."""
    random = np.random.default_rng(0)
    lengths = np.array([5, 12, 1, 9])
    tokens = random.standard_normal((4, 12, 384), np.float32)
    mask = (np.arange(12) < lengths[:, None]).astype(np.int64)

    found = sentences(tokens, mask)
    for vector, embedded, length in zip(found, tokens, lengths, strict=True):
        assert np.allclose(vector, embedded[:length].mean(axis=0, dtype=np.float64), atol=1e-6)
    assert np.array_equal(sentences(tokens[1:2], mask[1:2])[0], found[1])  # alone: the same bits

    # a long text in 8 parts of about the same length, whatever its length is
    text = random.standard_normal((1, 1003, 384), np.float32)
    parts = cpool.adaptive_avg_pool1d(text, 8, data_format="NLC")
    expected = [text[0, i * 1003 // 8 : -(-(i + 1) * 1003 // 8)].mean(axis=0, dtype=np.float64) for i in range(8)]
    assert np.allclose(parts[0], expected, atol=1e-6)
    print(f"{tokens.shape} -> {found.shape}; {text.shape} -> {parts.shape}")


if __name__ == "__main__":
    main()
