"""Promise 2: exact averages, however large the window."""

from __future__ import annotations

import helpers
import numpy as np
import pytest

import cpool


@pytest.mark.parametrize("size", [(3, 2), 2, 1])
def test_the_mean_of_many_ones_is_one(size, simd):
    ones = np.ones((10000, 10000), np.float32)
    assert (cpool.adaptive_avg_pool(ones, size) == 1).all()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "uint8", "complex64"])
@pytest.mark.parametrize(("shape", "size"), [((1, 65, 63, 61), (1, 1, 2)), ((1, 64, 64, 64), (1, 1, 2))])
def test_ones_of_every_type_in_three_dimensions(dtype, shape, size, simd):
    ones = np.ones(shape, helpers.dtype_of(dtype))
    assert (cpool.adaptive_avg_pool3d(ones, size) == 1).all()


def test_sums_past_the_last_integer_of_float32(simd):
    x = np.full(2**24 + 11, 1 + 2**-23, np.float32)
    assert cpool.adaptive_avg_pool(x, 1)[0] == np.float32(1 + 2**-23)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("n", [65537, 65536, 70001])
def test_one_and_then_many_tiny_ones(dtype, n, simd):
    x = np.full(n, 2.0**-24 if dtype != "float64" else 2.0**-53, helpers.dtype_of(dtype))
    x[0] = 1
    helpers.check("adaptive_avg_pool", x, 1, compare_reference=False)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("layout", ["first", "last"])
def test_random_sums_of_both_signs(dtype, layout, simd):
    x = helpers.sample(dtype, (2, 17, 31, 29), wide=True)
    if layout == "last":
        x = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
    for size in ((7, 5), 1, (31, 2)):
        helpers.check("adaptive_avg_pool2d", x, size, compare_reference=False)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize("shape", [(5, 33, 7), (3, 4, 4)])
@pytest.mark.parametrize("last", [False, True])
def test_nothing_runs_over_on_the_way(dtype, shape, last, simd):
    item = np.dtype(dtype)
    most = np.finfo(item).max
    x = np.full(shape, most if item.kind == "f" else complex(most, -most), item)
    options = {"data_format": "channels_last"} if last else {}
    assert (cpool.adaptive_avg_pool2d(x, 1, **options) == x[0, 0, 0]).all()
    x[..., ::2] *= -1
    assert np.isfinite(cpool.adaptive_avg_pool2d(x, (2, 1), **options)).all()


def test_a_zero_average_is_positive(simd):
    for dtype in ("float16", "bfloat16", "float32", "float64"):
        x = np.full((3, 9, 9), -0.0, helpers.dtype_of(dtype))
        for size in (9, 4, 1):
            result = cpool.adaptive_avg_pool2d(x, size)
            assert not np.signbit(result.astype(np.float64)).any()
        override = cpool.avg_pool2d(x, 3, divisor_override=-3)
        assert not np.signbit(override.astype(np.float64)).any()


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"])
@pytest.mark.parametrize("end", ["min", "max"])
def test_integers_never_wrap(dtype, end, simd):
    value = getattr(np.iinfo(dtype), end)
    for shape in ((70001,), (3, 70003), (270, 263)):
        x = np.full(shape, value, dtype)
        size = (1,) * (len(shape) - 1) + (2,)
        assert (cpool.adaptive_avg_pool(x, size, dtype=dtype) == value).all()
        average = cpool.adaptive_avg_pool(x, size)
        assert (average == average.dtype.type(value)).all()


def test_half_to_even_and_saturated(simd):
    x = np.array([0, 1, 1, 2, 2, 3, 250, 255], np.uint8)
    assert cpool.avg_pool(x, 2, dtype=np.uint8).tolist() == [0, 2, 2, 252]
    assert cpool.avg_pool(x, 4, dtype=np.uint8, divisor_override=1).tolist() == [4, 255]
    y = np.array([-1, 0, -1, -2, -128, -128], np.int8)
    assert cpool.avg_pool(y, 2, dtype=np.int8).tolist() == [0, -2, -128]
    assert cpool.avg_pool(y, 2, dtype=np.uint8).tolist() == [0, 0, 0]
    z = np.array([2**63 - 1, 2**63 - 2, -(2**63), -(2**63) + 1], np.int64)
    assert cpool.avg_pool(z, 2, dtype=np.int64).tolist() == [2**63 - 2, -(2**63)]


def test_windows_of_more_than_two_to_the_31_elements():
    x = np.broadcast_to(np.uint8(255), (2**31 + 7,))
    big = np.lib.stride_tricks.as_strided(np.array([255, 1], np.uint8), (2, 2**31 + 7), (1, 0))
    assert cpool.strided_windows(x.size, 2**31, 7).count == 2
    told = cpool.explain("adaptive_avg_pool", big, (2, 3))
    assert told.out_shape == (2, 3)
    assert told.bytes_read == 2 * (2**31 + 7)
    far = np.lib.stride_tricks.as_strided(np.arange(3, dtype=np.uint8), (2**62,), (0,))
    assert cpool.avg_pool(far, 5, 2**61 + 1).tolist() == [0.0, 0.0]


@pytest.mark.slow
def test_a_real_array_past_two_to_the_31():
    x = np.full(2**31 + 77, 200, np.uint8)
    x[-1] = 100
    result = cpool.adaptive_avg_pool(x, 3, dtype=np.float64)
    assert result[:2].tolist() == [200.0, 200.0]
    size = int(cpool.windows(x.size, 3).sizes[2])
    assert result[2] == (200 * size - 100) / size
