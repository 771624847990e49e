"""Kernels never read or write outside their arrays."""

from __future__ import annotations

import ctypes
import mmap

import helpers
import numpy as np
import pytest

import cpool

PAGE = mmap.PAGESIZE
LIBC = ctypes.CDLL(None, use_errno=True)
TYPES = [
    "float16",
    "bfloat16",
    "float32",
    "float64",
    "int8",
    "uint8",
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
    "uint64",
    "bool",
    "complex64",
]
SHAPES = [(1, 3, 7, 5), (2, 1, 9, 17), (1, 5, 3, 33), (1, 17, 4, 9), (1, 2, 2, 63), (1, 65, 3, 2), (1, 1, 1, 131)]


class Guarded:
    """Memory between two pages that nobody may touch."""

    def __init__(self, size: int) -> None:
        self.room = -(-max(size, 1) // PAGE) * PAGE
        self.map = mmap.mmap(-1, self.room + 2 * PAGE)
        self.start = ctypes.addressof(ctypes.c_char.from_buffer(self.map))
        for at in (0, PAGE + self.room):
            if LIBC.mprotect(ctypes.c_void_p(self.start + at), PAGE, 0):
                raise OSError(ctypes.get_errno(), "mprotect")

    def array(self, x: np.ndarray, at_end: bool) -> np.ndarray:
        """A copy of x that begins or ends exactly at a guard."""
        offset = PAGE + (self.room - x.nbytes if at_end else 0)
        placed = np.frombuffer(self.map, np.uint8, x.nbytes, offset).view(x.dtype).reshape(x.shape)
        placed[...] = x
        return placed


@pytest.mark.parametrize("at_end", [True, False], ids=["end", "start"])
@pytest.mark.parametrize("dtype", TYPES)
def test_guard_pages(dtype, at_end, simd):
    for shape in SHAPES:
        for last in (False, True):
            stored = (shape[0], *shape[2:], shape[1]) if last else shape
            x = helpers.sample(dtype, stored)
            guard = Guarded(x.nbytes)
            placed = guard.array(x, at_end)
            options = {"data_format": "channels_last"} if last else {}
            for size in ((2, 5), (None, 3), (1, 1), None):
                wanted = cpool.adaptive_avg_pool2d(x, size, **options)
                room = Guarded(wanted.nbytes)
                out = room.array(np.zeros_like(wanted), at_end)
                cpool.adaptive_avg_pool2d(placed, size, out=out, **options)
                helpers.assert_same_bits(out, wanted)
            for view in (placed[..., ::-1], placed[:, :, ::2], placed[..., 1:], placed[:, ::-1, 1:]):
                if all(view.shape):
                    cpool.adaptive_avg_pool(view, 1)
            np.testing.assert_array_equal(placed.view(np.uint8), x.view(np.uint8), "the input was written")


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint8", "int32"])
def test_neighbours_of_out_stay(dtype, simd):
    x = helpers.sample(dtype, (3, 5, 11, 13))
    for size in ((7, 5), (3, 13), 1):
        wanted = cpool.adaptive_avg_pool2d(x, size)
        for step in (1, 2):
            room = np.full((*wanted.shape[:-1], step * wanted.shape[-1] + 9), 77, wanted.dtype)
            out = room[..., 4 : 4 + step * wanted.shape[-1] : step]
            cpool.adaptive_avg_pool2d(x, size, out=out)
            np.testing.assert_array_equal(out, wanted)
            out[...] = 77
            assert (room == 77).all()


def test_read_only_and_misaligned_arrays(simd):
    x = helpers.sample("float32", (2, 3, 10, 9))
    wanted = cpool.adaptive_avg_pool2d(x, (7, 5))
    x.setflags(write=False)
    helpers.assert_same_bits(cpool.adaptive_avg_pool2d(x, (7, 5)), wanted)
    raw = np.zeros(x.nbytes + 1, np.uint8)
    crooked = raw[1:].view(np.float32).reshape(x.shape)
    crooked[...] = x
    helpers.assert_same_bits(cpool.adaptive_avg_pool2d(crooked, (7, 5)), wanted)
    room = np.zeros(wanted.nbytes + 1, np.uint8)
    out = room[1:].view(np.float32).reshape(wanted.shape)
    cpool.adaptive_avg_pool2d(x, (7, 5), out=out)
    np.testing.assert_array_equal(out, wanted)
