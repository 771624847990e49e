"""Promise 3: the same bits, whatever computes them."""

from __future__ import annotations

import contextlib

import helpers
import numpy as np
import pytest

import cpool
from cpool import cpu

CASES = [
    ("adaptive_avg_pool2d", (3, 5, 23, 19), (7, 5)),
    ("adaptive_avg_pool2d", (2, 17, 9, 8), (5, 7)),
    ("adaptive_avg_pool2d", (2, 3, 40, 133), (3, 2)),
    ("global_avg_pool", (3, 2, 300, 310), None),
    ("avg_pool2d", (2, 4, 21, 22), 5),
]
TYPES = ["float16", "bfloat16", "float32", "float64", "complex64"]
FLUSH = 0x8040  # flush to zero, denormals are zero


def engines():
    for simd in cpu.simd_available():
        for threads in (1, 2, 3):
            yield simd, threads


@contextlib.contextmanager
def engine(simd, threads):
    with cpu.force_simd(simd), cpool.threads(threads), cpu.force_split():
        yield


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("layout", ["first", "last"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_instruction_set_and_number_of_threads(case, layout, dtype):
    operation, shape, size = case
    x = helpers.sample(dtype, shape, wide=True)
    if layout == "last":
        x = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
    first = helpers.call(operation, x, size)
    for simd, threads in engines():
        with engine(simd, threads):
            for _ in range(2):
                helpers.assert_same_bits(helpers.call(operation, x, size), first, f"{simd}, {threads} threads")


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("layout", ["first", "last"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_one_image_gives_does_not_depend_on_its_neighbours(case, layout, dtype):
    operation, shape, size = case
    x = helpers.sample(dtype, shape, wide=True)
    if layout == "last":
        x = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
    whole = helpers.call(operation, x, size)
    for i in range(len(x)):
        helpers.assert_same_bits(helpers.call(operation, x[i : i + 1], size), whole[i : i + 1])
    helpers.assert_same_bits(helpers.call(operation, x[::-1], size), whole[::-1])


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("n", "m"), [(14, 13), (22, 3), (133, 2), (60, 6), (12, 12)])
def test_every_spelling_of_the_same_windows(n, m, dtype, simd):
    x = helpers.sample(dtype, (2, 3, n, n), wide=True)
    kernel, stride = cpool.windows(n, m).as_strided()
    helpers.assert_same_bits(cpool.adaptive_avg_pool2d(x, m), cpool.avg_pool2d(x, kernel, stride))
    by_axes = cpool.adaptive_avg_pool(x, m, axes=(-1, -2))
    helpers.assert_same_bits(by_axes, cpool.adaptive_avg_pool2d(x, m))
    helpers.assert_same_bits(cpool.global_avg_pool(x), cpool.avg_pool2d(x, n))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_callers_floating_point_mode(dtype, native):
    if not native.native_has_mode():
        pytest.skip("the mode of this processor can't be set here")
    tiny = np.finfo(dtype).smallest_subnormal
    x = np.full((4, 64, 33, 31), tiny, dtype)
    x[:, :, ::3] *= 3
    wanted = {size: cpool.adaptive_avg_pool2d(x, size) for size in (None, (7, 5), 1)}
    assert all((result > 0).all() for result in wanted.values())
    before = native.native_mode()
    for simd, threads in engines():
        with engine(simd, threads):
            native.native_set_mode(before | FLUSH)
            try:
                found = {size: cpool.adaptive_avg_pool2d(x, size) for size in wanted}
                assert native.native_mode() & 0xFFC0 == (before | FLUSH) & 0xFFC0
            finally:
                native.native_set_mode(before)
        for size, result in wanted.items():
            helpers.assert_same_bits(found[size], result, f"{simd}, {threads} threads, {size}")


def test_the_mode_set_before_there_are_threads(native_path):
    code = f"""
import ctypes, numpy as np
native = ctypes.PyDLL({str(native_path)!r})
native.native_set_mode(native.native_mode() | {FLUSH})
import cpool
from cpool import cpu
x = np.full((4, 64, 33, 31), 2.0**-149 * 3, np.float32)
with cpool.threads(2), cpu.force_split():
    y = cpool.adaptive_avg_pool2d(x, (7, 5))
native.native_set_mode(0x1f80)
print((y == x[0, 0, 0, 0]).all())
"""
    assert helpers.run_python(code).strip() == "True"
