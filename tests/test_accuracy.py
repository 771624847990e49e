"""Promise 2: exact averages, however large the window.

Every comparison is with exact integers (`helpers.check`) or with a value that is exact by construction.
"""

from __future__ import annotations

import functools
import math
from fractions import Fraction

import numpy as np
import pytest
from helpers import FLOATS, HALVES, INTEGERS, assert_within_ulp, check, dtype_of, exact_average, place, sample

import cpool

LAYOUTS = ("contiguous", "channels_last", "sparse")


@pytest.fixture(scope="module")
def many_ones():
    return np.ones((10_000, 10_000), np.float32)


@pytest.mark.parametrize("size", [(3, 2), 7, 2, (1, 2), 1], ids=str)
def test_the_mean_of_many_ones_is_one(size, many_ones, simd):
    assert (cpool.adaptive_avg_pool(many_ones, size) == 1).all()
    assert (cpool.adaptive_avg_pool2d(many_ones[None], size) == 1).all()


def test_the_mean_of_many_ones_by_strided_windows(many_ones, simd):
    assert (cpool.avg_pool(many_ones, (9_999, 4_999), (1, 5_000)) == 1).all()
    assert cpool.global_avg_pool(many_ones.reshape(1, 1, 10_000, 10_000)).item() == 1


@pytest.mark.parametrize(("shape", "size"), [((1, 63, 65, 61), (1, 1, 2)), ((1, 64, 64, 64), (1, 1, 2))], ids=str)
@pytest.mark.parametrize("dtype", [*FLOATS, "complex64", "uint8", "int64", "bool"])
def test_volumes_of_ones(dtype, shape, size, simd):
    ones = np.ones(shape, dtype_of(dtype))
    assert (cpool.adaptive_avg_pool3d(ones, size) == 1).all()
    assert (cpool.global_avg_pool(ones[None]) == 1).all()
    last = np.moveaxis(ones, 0, -1)
    assert (cpool.adaptive_avg_pool3d(last, size, data_format="channels_last") == 1).all()


@pytest.mark.parametrize("dtype", [*HALVES, "float32", "uint8", "int32"])
def test_more_ones_than_the_type_can_count(dtype, simd):
    digits = {"float16": 11, "bfloat16": 8, "float32": 24}.get(dtype, 22)
    ones = np.ones((1, 2 ** (digits + 1) + 11), dtype_of(dtype))
    assert cpool.adaptive_avg_pool1d(ones, 1).item() == 1
    assert (cpool.adaptive_avg_pool1d(ones, 2) == 1).all()


def test_sums_past_the_last_integer_of_float32(simd):
    x = np.full((1, 2**24 + 11), 1 + 2**-23, np.float32)
    assert cpool.adaptive_avg_pool1d(x, 1).item() == np.float32(1 + 2**-23)
    x = np.ones((1, 2**25), np.float32)
    assert cpool.avg_pool1d(x, 2**25 - 1, 1, divisor_override=1).tolist() == [[2.0**25, 2.0**25]]


def test_the_numbers_of_a_raster(simd):
    """A picture of values around a thousand: float32 sums are 1 % off here."""
    x = (np.random.default_rng(1).random((1999, 2003)) + 1000).astype(np.float32)
    result = cpool.adaptive_avg_pool(x, (3, 2))
    rows, columns = cpool.windows(1999, 3), cpool.windows(2003, 2)
    for i in range(3):
        for j in range(2):
            part = x[rows.starts[i] : rows.stops[i], columns.starts[j] : columns.stops[j]]
            mean = math.fsum(part.ravel().tolist()) / part.size
            assert abs(float(result[i, j]) - mean) <= 0.51 * np.spacing(np.float32(mean))


# ---- sums made to go wrong -------------------------------------------------------------------------


def adversaries(dtype: np.dtype, n: int) -> dict[str, np.ndarray]:
    """Rows whose sum in the type itself, or in plain float64, is off."""
    digits = {"float16": 11, "bfloat16": 8, "float32": 24, "float64": 53}[dtype.name]
    top = {"float16": 2.0**15}.get(dtype.name, 2.0**100)
    tiny = 2.0 ** (-13 if dtype.name == "float16" else -digits)
    big = 2.0**11 if dtype.name == "float16" else 2.0 ** (digits + 3)
    rows = {}
    for name, at in (("first", 0), ("middle", n // 2), ("last", n - 1)):
        row = np.full(n, tiny)
        row[at] = 1
        rows[f"one {name}, many tiny"] = row
    row = np.resize([big, 1.0, -big, 3.0, 1.0], n)
    rows["big ones cancel"] = row
    rows["big ones cancel late"] = np.concatenate([np.sort(row)[: n // 2], np.sort(row)[n // 2 :][::-1]])
    row = np.full(n, 1.0)
    row[0], row[-1] = top, -top
    rows["the ends cancel"] = row
    rows["falling"] = np.resize(2.0 ** -np.arange(14), n)
    rows["rising"] = np.resize(2.0 ** -np.arange(14), n)[::-1]
    rows["alternating"] = np.resize([1.0, -1.0, tiny], n)
    return {name: row.astype(dtype) for name, row in rows.items()}


@pytest.mark.parametrize("name", adversaries(np.dtype("f4"), 8))
@pytest.mark.parametrize("dtype", FLOATS)
def test_adversarial_sums(dtype, name, simd):
    for n in (61, 37, 1000, 2049):
        row = adversaries(dtype_of(dtype), n)[name]
        lines = np.stack([row, row[::-1], np.roll(row, 5)])
        for size in (3, 1, 2, 7):
            check("adaptive_avg_pool1d", lines, size, compare_reference=False)
            check("adaptive_avg_pool1d", place(lines, "fortran"), size, compare_reference=False)
    plane = adversaries(dtype_of(dtype), 33 * 35)[name].reshape(1, 33, 35)
    for layout in LAYOUTS:
        for size in ((7, 5), (1, 2), 1):
            check("adaptive_avg_pool2d", place(plane, layout), size, compare_reference=False)


@pytest.mark.parametrize("name", ["one first, many tiny", "big ones cancel late", "the ends cancel"])
@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
def test_adversarial_sums_longer_than_a_block(dtype, name, simd):
    for n in (70_001, 65_537, 65_536):
        row = adversaries(dtype_of(dtype), n)[name]
        check("adaptive_avg_pool", row, 1, compare_reference=False)
    check("adaptive_avg_pool", row.reshape(256, 256), 1, compare_reference=False)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [*FLOATS, "complex64", "complex128"])
def test_sums_of_both_signs_and_all_sizes(dtype, layout, simd):
    x = place(sample(dtype, (2, 17, 31, 29), wide=True), layout)
    for size in ((7, 5), (31, 2), 1):
        check("adaptive_avg_pool2d", x, size, compare_reference=False)
    check("avg_pool2d", x, 7, stride=3, padding=3, compare_reference=False)


def test_zeros_after_large_values_are_zeros(simd):
    """What a running sum or an integral image gets wrong."""
    for dtype in FLOATS:
        x = np.zeros((1, 40, 40), dtype_of(dtype))
        x[0, :7] = sample(dtype, (7, 40))
        x[0, :, :5] = 1e4
        result = cpool.avg_pool2d(x, 4, 1)
        assert (result[0, 7:, 5:] == 0).all()
        assert (cpool.adaptive_avg_pool2d(x, (13, 11))[0, 4:, 3:] == 0).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_constants_stay_what_they_are(dtype, simd):
    """49 * (1/49) is not 1: a mean is divided, not multiplied by a reciprocal."""
    for value in (1.0, 1 / 3, 0.1, 1e-300 if dtype == "float64" else 1e-38, 7e-310 if dtype == "float64" else 7e-40):
        x = np.full((2, 5, 30, 31), value, dtype)
        for size in ((7, 5), 1, (4, 4), (29, 30)):
            for layout in ("contiguous", "channels_last"):
                result = cpool.adaptive_avg_pool2d(place(x, layout), size)
                assert (result == x[0, 0, 0, 0]).all()
        for kernel in (7, 2, 3, 5, 6, 9, 11, 13):
            assert (cpool.avg_pool2d(x, kernel) == x[0, 0, 0, 0]).all()


# ---- the ends of the range ---------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [*FLOATS, "complex64", "complex128"])
def test_nothing_overflows_on_the_way(dtype, layout, simd):
    item = dtype_of(dtype)
    most = sample(dtype, (1,))
    part = most.real.dtype
    top = np.nextafter(part.type(np.inf), part.type(0))
    x = np.full((2, 3, 7, 37), top, item)
    if item.kind == "c":
        x.imag = -top
    y = x.copy()
    y[..., ::2] *= -1
    z = x.copy()
    z[:, :, 3:] *= -1
    for size in ((3, 5), (2, 36), 1, None, (7, 1)):
        for array in (x, y, z):
            result = check("adaptive_avg_pool2d", place(array, layout), size, compare_reference=False)
            assert np.isfinite(result).all()
        assert (cpool.adaptive_avg_pool2d(place(x, layout), size) == x[0, 0, 0, 0]).all()
    for kernel in ((2, 3), (7, 37), (1, 36)):
        for override in (1, -2, 3):  # sums within the range are right, sums beyond it are infinite
            for array in (x, y, z):
                options = {"stride": 1, "divisor_override": override, "compare_reference": False}
                check("avg_pool2d", place(array, layout), kernel, **options)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("size", [(3, 5), (5, 3), 1, (7, 36)])
def test_sums_that_overflow_among_others(size, layout, simd):
    """Groups of windows are finished together: those beyond the range are taken again, at their own places."""
    rng = np.random.default_rng(5)
    x = rng.standard_normal((29, 5, 7, 37))
    top = np.finfo(np.float64).max
    x[3::7, 2] = top
    x[1::5, 4] = -top
    x[2, 1, 3, 11], x[20, 0, 6, 36] = np.inf, np.nan
    got = cpool.adaptive_avg_pool2d(place(x, layout), size)
    assert (got[3::7, 2] == top).all()
    assert (got[1::5, 4] == -top).all()
    alone = [cpool.adaptive_avg_pool2d(place(x[n : n + 1], layout), size) for n in range(len(x))]
    np.testing.assert_array_equal(got, np.concatenate(alone))
    tame = np.isfinite(x).all((2, 3)) & (np.abs(x) < 1e300).all((2, 3))
    expected = cpool.adaptive_avg_pool2d(np.where(tame[..., None, None], x, 0.0), size)
    np.testing.assert_array_equal(got[tame], expected[tame])


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_infinite_only_where_the_quotient_is(dtype, simd):
    top = np.finfo(dtype).max
    x = np.array([top, top, -top, top, top, 0, 0, top / 2, top / 2, top / 4], dtype)
    assert cpool.avg_pool(x[:3], 3, divisor_override=1).tolist() == [top]
    assert cpool.avg_pool(x, 2, divisor_override=1).tolist() == [np.inf, 0, top, top / 2, top / 2 + top / 4]
    assert cpool.avg_pool(x, 2, divisor_override=-1)[0] == -np.inf
    assert cpool.avg_pool(x, 2, divisor_override=2)[0] == top


@pytest.mark.parametrize("dtype", FLOATS)
def test_subnormal_averages(dtype, simd):
    tiny = 2.0 ** {"float16": -24, "bfloat16": -133, "float32": -149, "float64": -1074}[dtype]
    counts = np.random.default_rng(3).integers(-9, 30, (2, 3, 9, 35))
    x = (counts * tiny).astype(dtype_of(dtype))
    for layout in LAYOUTS:
        for size in ((4, 8), (9, 17), 1):
            check("adaptive_avg_pool2d", place(x, layout), size)


@pytest.mark.parametrize("dtype", [*FLOATS, "complex64"])
def test_a_zero_average_is_positive(dtype, simd):
    zeros = np.full((2, 3, 9, 35), 0, dtype_of(dtype))
    negative = -zeros
    cancel = zeros.copy()
    cancel[..., 0::2], cancel[..., 1::2] = 3, -3
    cancel[..., -1] = 0
    for x in (zeros, negative, cancel):
        for layout in LAYOUTS:
            y = place(x, layout)
            for size in ((4, 1), 1):
                result = check("adaptive_avg_pool2d", y, size)
                assert (result == 0).all()
            check("avg_pool2d", y, (2, 35), divisor_override=-3)
    for result in (
        cpool.adaptive_avg_pool2d(negative, None),
        cpool.adaptive_avg_pool2d(negative, (9, None)),
        cpool.avg_pool2d(negative, 1),
        cpool.adaptive_avg_pool2d(negative, (9, 35), dtype=np.complex128 if dtype == "complex64" else np.float64),
    ):
        assert not np.signbit(
            np.asarray(result).view(np.float64 if dtype == "complex64" else result.dtype).astype(float)
        ).any()


# ---- integers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["min", "max"])
@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_never_wrap(dtype, end, simd):
    value = int(getattr(np.iinfo(dtype), end))
    for shape, size in (((70_001,), 1), ((3, 70_003), (1, 2)), ((270, 263), (2, 1)), ((5, 7, 33), (2, 3, 4))):
        x = np.full(shape, value, dtype)
        assert (cpool.adaptive_avg_pool(x, size, dtype=dtype) == value).all()
        for layout in ("contiguous", "fortran"):
            average = cpool.adaptive_avg_pool(place(x, layout), size)
            assert (average == average.dtype.type(value)).all()


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integer_averages_at_the_ends_of_the_range(dtype, simd):
    """Quotients that a sum rounded to float64 before the division would get wrong."""
    info = np.iinfo(dtype)
    rng = np.random.default_rng(5)
    near = rng.integers(0, 4, 3 * 7 * 101).astype(object)
    high, low = int(info.max) - near, int(info.min) + near
    mixed = np.where(rng.integers(0, 2, near.size).astype(bool), high, low)
    for values in (high, low, mixed):
        x = values.astype(dtype).reshape(3, 7, 101)
        for size in ((2, 33), (7, 50), (1, 1), (3, 14)):
            for target in (None, dtype_of(dtype), np.dtype("f4"), np.dtype("f8")):
                check("adaptive_avg_pool2d", x, size, dtype=target, compare_reference=False)
                check("adaptive_avg_pool2d", place(x, "channels_last"), size, dtype=target, compare_reference=False)


def test_all_of_a_huge_byte_window(simd):
    """6000 x 6000 of 255: a 32-bit sum wraps to 217."""
    x = np.full((6000, 6000), 255, np.uint8)
    assert cpool.adaptive_avg_pool(x, 1, dtype=np.uint8).item() == 255
    assert cpool.adaptive_avg_pool(x, (2, 1)).tolist() == [[255.0], [255.0]]


# ---- more elements than 32 bits count --------------------------------------------------------------------


def test_strides_that_make_arrays_past_every_count():
    """What is padded and counted shows in the averages, for all elements are 3."""
    line = np.lib.stride_tricks.as_strided(np.full(1, 3, np.uint8), (2**62 - 1,), (0,))
    for before, after in ((2, 2), (4, 0), (0, 3), (1, 0)):
        stride = len(line) + before + after - 5  # the last window ends with the padding
        inside = [5 - before, 5 - after]
        pool = functools.partial(cpool.avg_pool, line, 5, stride, ((before, after),))
        assert pool(count_include_pad=True).tolist() == [np.float32(Fraction(3 * n, 5)) for n in inside]
        assert pool(count_include_pad=False).tolist() == [3.0, 3.0]
        assert pool(divisor_override=7).tolist() == [np.float32(Fraction(3 * n, 7)) for n in inside]
    told = cpool.explain("adaptive_avg_pool", line, 1021)  # all of them would be read: only explained
    assert told.out_shape == (1021,)
    n, m = 2**62 - 1, 1021
    assert told.axes[0].largest == max(-(-n * (i + 1) // m) - n * i // m for i in range(m))
    bytes_ = np.arange(256, dtype=np.uint8)
    far = np.lib.stride_tricks.as_strided(bytes_, (2**40, 2**10, 5, 4), (0, 0, 50, 1))
    for index in ((0, 0), (2**40 - 1, 2**10 - 1)):
        part = far[index[0] :, index[1] :][:1, :1]
        exact = exact_average("adaptive_avg_pool2d", part, (3, 2))
        assert_within_ulp(cpool.adaptive_avg_pool2d(part, (3, 2)), exact, part.dtype)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_far_windows_of_an_axis_past_two_to_the_31(dtype, simd):
    """Only a few small windows are read; their offsets need 64 bits."""
    # pages that nobody touches take no memory
    x = np.zeros({"uint8": 2**31 + 1000, "float32": 2**30 + 500}[dtype], dtype)
    x[-7:] = range(1, 8)
    stride = len(x) - 7
    assert cpool.avg_pool(x, 7, stride).tolist() == [0.0, 4.0]
    flipped = x[::-1]
    assert cpool.avg_pool(flipped, 7, stride).tolist() == [4.0, 0.0]
    rows = x[: 2 * (len(x) // 2)].reshape(2, -1)
    rows[1, -3:] = 9
    assert cpool.avg_pool(rows, (1, 3), (1, rows.shape[1] - 3)).tolist() == [[0.0, 0.0], [0.0, 9.0]]


def test_windows_past_two_to_the_31_elements(simd):
    """Rows that lie 64 elements apart and overlap: two megabytes make an array of two gigabytes."""
    height, width = 2**15 + 11, 65_521
    memory = np.resize(np.arange(251, dtype=np.uint8), 64 * (height - 1) + width)
    rows = np.lib.stride_tricks.as_strided(memory, (height, width), (64, 1), writeable=False)
    assert rows.size > 2**31
    before = np.concatenate([[0], np.cumsum(memory, dtype=np.int64)])
    first = 64 * np.arange(height)
    table = cpool.windows(width, 3)
    pairs = list(zip(table.starts, table.stops, strict=True))
    sums = [int((before[first + b] - before[first + a]).sum()) for a, b in pairs]
    wanted = [s / (height * int(b - a)) for s, (a, b) in zip(sums, pairs, strict=True)]
    assert cpool.adaptive_avg_pool(rows, (1, 3), dtype=float).tolist() == [wanted]


@pytest.mark.slow
def test_a_real_array_past_two_to_the_31():
    x = np.full(2**31 + 77, 200, np.uint8)
    x[-1], x[0] = 100, 50
    result = cpool.adaptive_avg_pool(x, 3, dtype=np.float64)
    sizes = cpool.windows(x.size, 3).sizes.tolist()
    assert result.tolist() == [(200 * sizes[0] - 150) / sizes[0], 200.0, (200 * sizes[2] - 100) / sizes[2]]
    assert cpool.adaptive_avg_pool(x, 1, dtype=np.float64).item() == (200 * x.size - 250) / x.size
    plane = x[: 2**31].reshape(1, 2, 2**15, 2**15)
    plane[0, 1, -1, -5:] = 0
    pooled = cpool.adaptive_avg_pool2d(plane, (7, 5), dtype=np.float64)
    assert pooled[0, 1, 6, 4] == (200 * 4682 * 6554 - 5 * 200) / (4682 * 6554)
    assert (pooled[0, 1, :6] == 200).all()
