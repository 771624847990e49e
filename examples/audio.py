"""A sound in one dimension: the outline that editors draw, and how loud it is, each in a given number of columns."""

from __future__ import annotations

import numpy as np

import cpool

RATE = 48000


def outline(sound: np.ndarray, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """The least and the largest of each column, for (channels, samples) of any length."""
    return -cpool.adaptive_max_pool1d(-sound, columns), cpool.adaptive_max_pool1d(sound, columns)


def loudness(sound: np.ndarray, columns: int) -> np.ndarray:
    """The root of the mean square of each column."""
    return np.sqrt(cpool.adaptive_avg_pool1d(np.square(sound), columns))


def main() -> None:
    """Look at three seconds of a tone that fades, in stereo."""
    time = np.arange(3 * RATE + 17) / RATE
    tone = np.sin(2 * np.pi * 440 * time) * np.exp(-time)
    sound = np.stack([tone, tone / 2]).astype(np.float32)
    columns = 800
    low, high = outline(sound, columns)
    loud = loudness(sound, columns)

    n = sound.shape[1]
    for i in range(columns):
        part = sound[:, i * n // columns : -(-(i + 1) * n // columns)]
        assert np.array_equal(low[:, i], part.min(axis=1))
        assert np.array_equal(high[:, i], part.max(axis=1))
        assert np.allclose(loud[:, i], np.sqrt(np.square(part).mean(axis=1, dtype=np.float64)), rtol=1e-6)

    # the energy of frames of 1024 samples, 512 apart: a kernel and a stride
    frames = cpool.avg_pool1d(np.square(sound), 1024, 512)
    expected = np.lib.stride_tricks.sliding_window_view(np.square(sound), 1024, axis=1)[:, ::512]
    assert np.allclose(frames, expected.mean(axis=2, dtype=np.float64), rtol=1e-6)

    print(f"{sound.shape} -> {columns} columns and {frames.shape[1]} frames")
    for loudest in loud[0, ::80]:
        print("#" * round(60 * float(loudest)))


if __name__ == "__main__":
    main()
