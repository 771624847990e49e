"""Max pooling, on every engine: the first NaN, else the first of equals; the value is the one at the index.

`check_max` runs a call with indices and without, and holds every bit against the exact oracle.
"""

from __future__ import annotations

import inspect
import itertools

import numpy as np
import pytest
from conftest import ENGINES, SIMD
from helpers import (
    FLOATS,
    HALVES,
    INTEGERS,
    LAYOUTS,
    assert_same_bits,
    call_max,
    check,
    check_max,
    contents,
    dtype_of,
    each,
    exact_max,
    few,
    in_both_layouts,
    max_by_reference,
    own_windows,
    place,
    result_shape,
    run_python,
    sample,
    swapped,
)
from hypothesis import given
from hypothesis import strategies as st
from test_bits import CONTROL, FLUSH, MODES
from test_conformance import CHANNELS, LINES, PLANES, STRIDED, TAILS, WIDE, WIDTHS
from test_functional import _outs
from test_fuzz import arrays, engines

import cpool
from cpool import cpu, plan, sliding

TYPES = [*FLOATS, *INTEGERS, "bool"]
FOR_AVERAGES = {"divisor_override", "count_include_pad"}


def max_of(operation: str) -> str:
    return operation.replace("avg", "max")


def one_of(dtype: str, shape: tuple[int, ...], i: int) -> np.ndarray:
    """The contents that max may stumble over, in turn."""
    some = contents(dtype, shape)
    return some[i % len(some)]


# ---- conformance -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", TYPES)
def test_every_type_in_every_layout(dtype, engine):
    for i, (layout, (shape, size)) in enumerate(itertools.product(LAYOUTS, PLANES)):
        x = one_of(dtype, shape, i)
        check_max("adaptive_max_pool2d", place(x, layout), size, compare_reference=x.size < 500)


@pytest.mark.parametrize("layout", ["channels_last", "contiguous", "channels_last_cropped"])
@pytest.mark.parametrize("dtype", TYPES)
def test_every_number_of_channels(dtype, layout, simd):
    for i, (channels, size) in enumerate(itertools.product(CHANNELS, ((2, 3), 1, (3, 2)))):
        x = one_of(dtype, (2, channels, 3, 5), i)
        check_max("adaptive_max_pool2d", place(x, layout), size)


@pytest.mark.parametrize("dtype", TYPES)
def test_every_width(dtype, simd):
    for width in WIDTHS:
        some = contents(dtype, (1, 2, 3, width))
        for i, size in enumerate(((2, 3), (1, 1), (3, width // 2 + 1))):
            check_max("adaptive_max_pool2d", some[i], size)
            check_max("adaptive_max_pool2d", some[i - 2], size)
        for x in some:
            check_max("max_pool2d", x, (2, min(3, width)), stride=(1, 2), padding=(1, min(3, width) // 2))


@pytest.mark.parametrize("case", WIDE)
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "uint8", "int16", "int64"])
def test_windows_longer_than_a_block(dtype, case, engine):
    shape, (operation, size) = WIDE[case]
    options = {"stride": 1} if operation == "avg_pool2d" else {}
    late = np.zeros(shape, dtype_of(dtype))
    late[..., -2:] = 1
    for x in (sample(dtype, shape), late):
        for layout in ("contiguous", "channels_last", "sparse"):
            check_max(max_of(operation), place(x, layout), size, **options)


@pytest.mark.parametrize("case", [c for c in STRIDED if "divisor_override" not in STRIDED[c][1]])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "uint8", "int64", "bool"])
def test_every_strided_option(dtype, case, simd):
    size, options = STRIDED[case]
    options = {k: v for k, v in options.items() if k not in FOR_AVERAGES}
    for i, (shape, layout) in enumerate(
        itertools.product(
            ((2, 3, 7, 11), (1, 5, 8, 12), (3, 9, 18)),
            ("contiguous", "channels_last", "sparse", "reversed", "far_apart", "contiguous", "channels_last"),
        )
    ):
        check_max("max_pool2d", place(one_of(dtype, shape, i), layout), size, **options)


# Kernels of many strides, where reading every window anew is not an option.
LARGE = {
    "a row": ((2, 1, 131), 64, {"stride": 1}),
    "a row, padded": ((1, 3, 97), 33, {"stride": 2, "padding": 16, "ceil_mode": True}),
    "a row, padded far": ((1, 2, 37), 31, {"stride": 3, "padding": ((30, 29),)}),
    "dilated": ((1, 2, 101), 17, {"stride": 2, "padding": 20, "dilation": 3}),
    "nearly all": ((1, 2, 70), 69, {"stride": 1}),
    "planes": ((1, 3, 33, 41), (17, 16), {"stride": (1, 2)}),
    "planes, padded": ((2, 2, 23, 30), (13, 9), {"stride": 1, "padding": (6, 4)}),
    "planes, same": ((1, 17, 14, 15), (9, 11), {"stride": 1, "padding": "same_lower"}),
    "long in one axis": ((1, 2, 5, 133), (2, 65), {"stride": (2, 3)}),
    "dilated planes": ((1, 2, 31, 33), (9, 8), {"stride": 1, "dilation": (3, 4), "ceil_mode": True}),
    "adaptive": ((1, 2, 40, 67), (39, 5), None),
}


@pytest.mark.parametrize("case", LARGE)
@pytest.mark.parametrize("dtype", [*FLOATS, "uint8", "int16", "uint64"])
def test_large_kernels_with_small_strides(dtype, case, simd):
    shape, size, options = LARGE[case]
    name = f"max_pool{len(shape) - 2}d" if options is not None else "adaptive_max_pool2d"
    for x, layout in itertools.product(contents(dtype, shape), ("contiguous", "channels_last", "reversed")):
        check_max(name, place(x, layout), size, **(options or {}))


SLIDING = {
    **LARGE,
    "small": ((2, 3, 11, 13), 3, {"stride": 2, "padding": 1}),
    "volume": ((1, 2, 17, 9, 15), (16, 2, 9), {"stride": 1, "padding": (8, 0, 4)}),
    "more windows than elements": ((1, 20, 5, 2), (7, 16), None),
    "one element": ((2, 17, 1, 1), (8, 8), None),
    "many begin with the edge": ((1, 2, 6), 16, {"stride": 2, "padding": 15}),
    "nearly all with the edge": ((3, 2, 6), 26, {"stride": 3, "padding": 25}),
    "steps differ": ((1, 20, 31, 40), (24, 25), {"stride": (3, 2), "padding": (5, 12), "ceil_mode": True}),
}


@pytest.fixture
def always_slides(monkeypatch):
    """Small calls do what large ones do, and leave nothing behind."""
    monkeypatch.setattr(plan, "slides", lambda made: not made.indexed and 0 not in made.out_shape)
    monkeypatch.setattr(sliding, "PIECE", 40)
    plan.plans.clear()
    yield
    plan.plans.clear()


@pytest.mark.parametrize("case", SLIDING)
@pytest.mark.parametrize("dtype", [*FLOATS, "uint8", "int16", "uint64"])
def test_windows_from_their_halves(dtype, case, simd, always_slides):
    """The same bits."""
    shape, size, options = SLIDING[case]
    name = f"max_pool{len(shape) - 2}d" if options is not None else "adaptive_max_pool2d"
    for x, layout in itertools.product(contents(dtype, shape), ("contiguous", "channels_last", "reversed", "swapped")):
        x = x.astype(swapped(x.dtype)) if layout == "swapped" else place(x, layout)
        check_max(name, x, size, **(options or {}))


def test_large_windows_slide(simd):
    """Those that move by small steps, whatever their size; prepared and explained like others."""
    for shape, size, stride, slid in (
        ((2, 3, 301, 299), 31, 1, True),
        ((1, 1, 1500, 1501), 9, 1, True),
        ((2, 3, 301, 299), 31, 16, False),
        ((2, 3, 31, 29), 9, 1, False),
    ):
        x = sample("float32", shape)
        told = cpool.explain("max_pool2d", x, size, stride, size // 2)
        assert (told.kernel == "sliding") is slid
        result = cpool.max_pool2d(x, size, stride, size // 2)
        values, indices = cpool.max_pool2d(x, size, stride, size // 2, return_indices=True)
        assert_same_bits(result, values, str(shape))
        planes = x.reshape(*shape[:2], -1)
        assert_same_bits(
            np.take_along_axis(planes, indices.reshape(*shape[:2], -1), 2).reshape(values.shape), values, ""
        )
        prepared = cpool.prepare("max_pool2d", x, size, stride, size // 2)
        out = np.empty_like(result)
        assert prepared(x, out=out) is out
        assert_same_bits(out, result, "prepared")
        for threads in (1, 3):
            with cpool.threads(threads):
                assert_same_bits(cpool.max_pool2d(place(x, "channels_last"), size, stride, size // 2), result, "last")


@pytest.mark.parametrize("case", LINES)
def test_every_operation_and_rank(case, engine):
    operation, shape, size, options = LINES[case]
    for dtype in ("float32", "float64", *HALVES, "uint8", "int64"):
        for i, layout in enumerate(("contiguous", "reversed_last", "fortran", "contiguous")):
            x = one_of(dtype, shape, i + (dtype == "float32"))
            check_max(max_of(operation), place(x, layout), size, compare_reference=x.size < 500, **options)


@pytest.mark.parametrize("dtype", [d for d in TYPES if dtype_of(d).itemsize > 1 and d != "bfloat16"])
def test_the_other_byte_order(dtype, simd):
    for shape, size in PLANES:
        for x in contents(dtype, shape):
            x = x.astype(swapped(x.dtype))
            assert not x.dtype.isnative
            for layout in ("contiguous", "channels_last", "unaligned"):
                check_max("adaptive_max_pool2d", place(x, layout), size)


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "int16"])
def test_zero_strides(dtype, simd):
    for axis, (shape, size) in itertools.product(range(4), PLANES):
        narrow = [1 if a == axis else n for a, n in enumerate(shape)]
        for x in contents(dtype, tuple(narrow)):
            check_max("adaptive_max_pool2d", np.broadcast_to(x, shape), size)
    whole = np.broadcast_to(sample(dtype, (1,) * 4), (2, 3, 5, 7))
    check_max("adaptive_max_pool2d", whole, (3, 4))


@pytest.mark.parametrize("order", ["first", "last"])
@pytest.mark.parametrize("shape", [(0, 3, 5, 7), (2, 0, 5, 7), (0, 0, 5, 7)], ids=str)
def test_empty_kept_axes(shape, order, simd):
    for dtype in (np.float32, np.uint8):
        x = np.empty(shape, dtype)
        last = order == "last"
        x = np.moveaxis(x, 1, -1) if last else x
        options = {"data_format": f"channels_{order}", "return_indices": True}
        for result, size in (
            (cpool.adaptive_max_pool2d(x, (3, 4), **options), (3, 4)),
            (cpool.max_pool2d(x, 2, **options), (2, 3)),
        ):
            assert [r.dtype for r in result] == [dtype, np.int64]
            assert {r.shape for r in result} == {(shape[0], *size, shape[1]) if last else (*shape[:2], *size)}
        assert {r.shape for r in cpool.global_max_pool(x, keepdims=False, **options)} == {shape[:2]}


def test_empty_sizes(simd):
    x = sample("float32", (2, 3, 5, 7))
    for size, shape in ((0, (0, 0)), ((3, 0), (3, 0)), ((0, 3), (0, 3)), ((0, None), (0, 7))):
        values, indices = cpool.adaptive_max_pool2d(x, size, return_indices=True)
        assert values.shape == indices.shape == (2, 3, *shape)
        assert (values.dtype, indices.dtype) == (np.float32, np.int64)


# ---- NaN, ties, zeros and the ends of the range ------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, -np.nan, np.inf, 3.0], ids=["nan", "-nan", "inf", "3"])
@pytest.mark.parametrize("dtype", FLOATS)
def test_what_wins_in_every_lane_and_tail(dtype, value, simd):
    """Image i has the winner at place i, and another one, where there is room, 7 places on."""
    for ((channels, height, width), size), layout in itertools.product(
        TAILS, ("contiguous", "channels_last", "sparse", "swapped_axes")
    ):
        n = channels * height * width
        x = np.minimum(sample("float32", (n, channels, height, width)), 2).astype(dtype_of(dtype))
        flat = x.reshape(n, n)
        flat[np.arange(n), np.arange(n)] = value
        check_max("adaptive_max_pool2d", place(x, layout), size)
        flat[np.arange(n - 7), np.arange(7, n)] = value
        check_max("adaptive_max_pool2d", place(x, layout), size)


@pytest.mark.parametrize("dtype", [*INTEGERS, "bool"])
def test_the_top_of_the_range_in_every_lane_and_tail(dtype, simd):
    for ((channels, height, width), size), layout in itertools.product(TAILS, ("contiguous", "channels_last")):
        n = channels * height * width
        lowest, top = (False, True) if dtype == "bool" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
        x = np.full((n, channels, height, width), lowest, dtype)
        flat = x.reshape(n, n)
        flat[np.arange(n), np.arange(n)] = top
        check_max("adaptive_max_pool2d", place(x, layout), size)
        flat[np.arange(n - 7), np.arange(7, n)] = top
        check_max("adaptive_max_pool2d", place(x, layout), size)


@pytest.mark.parametrize("dtype", FLOATS)
def test_the_first_nan_gives_the_index(dtype, simd):
    nan = np.nan
    x = np.array([[1, nan, 9, nan, np.inf, 2, -np.inf, nan, -np.inf, 4, 5]], dtype_of(dtype))
    values, indices = cpool.max_pool1d(x, 3, 2, return_indices=True)
    assert indices.tolist() == [[1, 3, 4, 7, 10]]
    assert np.isnan(values.astype(float)).tolist() == [[True, True, False, True, False]]
    assert cpool.adaptive_max_pool1d(x, 1, True)[1].item() == 1


@pytest.mark.parametrize("dtype", FLOATS)
def test_zeros_of_either_sign_in_every_order(dtype, simd):
    """-0.0 and +0.0 are equal: the first is the maximum, and its sign stays, with indices and without."""
    for width in (2, 3, 7):
        signs = np.array(list(itertools.product([0.0, -0.0], repeat=width)))
        behind = np.concatenate([np.full((len(signs), 2), -1.0), signs], axis=1)
        for x in (signs, behind):
            x = x.astype(dtype_of(dtype))
            expected = np.signbit(signs[:, 0])
            for layout, y in itertools.product(("contiguous", "fortran", "reversed", "sparse"), (x, x[::-1])):
                values, indices = check_max("adaptive_max_pool1d", place(y, layout), 1)
                first = expected if y is x else expected[::-1]
                np.testing.assert_array_equal(np.signbit(values[:, 0].astype(float)), first)
                assert (indices == x.shape[1] - width).all()
            check_max("max_pool1d", x, 2, stride=1, padding=1)
            check_max("adaptive_max_pool", x, 1, axes=0)
            check_max("adaptive_max_pool", x, (5, 2))
            check_max("max_pool", x.T, (width, 3), stride=1)
    for shape in ((3, 5, 11, 67), (1, 17, 9, 8)):
        zeros = np.where(sample("bool", shape), 0.0, -0.0).astype(dtype_of(dtype))
        for layout in ("contiguous", "channels_last", "sparse"):
            check_max("adaptive_max_pool2d", place(zeros, layout), (4, 5))
            check_max("max_pool2d", place(zeros, layout), 3, stride=2, padding=1)
            check_max("max_pool2d", place(zeros, layout), (1, 8), stride=1)


@pytest.mark.parametrize("dtype", TYPES)
def test_windows_of_one_value(dtype, simd):
    """All of a window may be equal, NaN or -inf: the first element inside the axis is the maximum."""
    if dtype == "bool":
        values = [False, True]
    elif dtype in INTEGERS:
        values = [np.iinfo(dtype).min, np.iinfo(dtype).max, 0]
    else:
        values = [np.nan, -np.nan, -np.inf, np.inf, 0.0, -0.0, -1.5]
    for value, layout in itertools.product(values, ("contiguous", "channels_last", "sparse")):
        x = place(np.full((2, 3, 9, 37), value, dtype_of(dtype)), layout)
        _, indices = check_max("adaptive_max_pool2d", x, (4, 7))
        rows, columns = cpool.windows(9, 4).starts, cpool.windows(37, 7).starts
        assert (indices == rows[:, None] * 37 + columns).all()
        check_max("max_pool2d", x, (3, 16), stride=1, padding=(1, 8))
        check_max("max_pool2d", x, 3, stride=2, padding=1, ceil_mode=True)
        check_max("global_max_pool", x)


@pytest.mark.parametrize("dtype", TYPES)
def test_padding_never_wins(dtype, simd):
    """Windows that lie mostly in the padding hold nothing but the lowest value there is."""
    lowest = contents(dtype, (1, 3, 7, 9))[2]
    for kernel, options in (
        (3, {"stride": 1, "padding": 2}),
        ((5, 4), {"stride": (2, 3), "padding": ((4, 3), (0, 3))}),
        (2, {"stride": 1, "padding": 3, "dilation": 4}),
        ((7, 9), {"stride": 1, "padding": (6, 8)}),
        (4, {"stride": 3, "padding": "same_upper"}),
        (3, {"stride": 2, "padding": 2, "ceil_mode": True}),
    ):
        for layout in ("contiguous", "channels_last", "reversed"):
            values, indices = check_max("max_pool2d", place(lowest, layout), kernel, **options)
            assert (values == lowest[0, 0, 0, 0]).all()
            assert ((indices >= 0) & (indices < 63)).all()


@pytest.mark.parametrize("dtype", ["uint64", "int64", "uint32", "int32"])
def test_integers_that_no_float_holds(dtype, simd):
    """2**63 + 1 and its like: one apart, and equal as float64 or as signed numbers."""
    info = np.iinfo(dtype)
    top, half = int(info.max), int(info.max) // 2
    x = np.array([top - 1, top, top - 1, half, half + 1, half + 2, half, int(info.min), int(info.min) + 1], dtype)
    lines = np.stack([np.roll(np.tile(x, 5), k) for k in range(9)])
    for layout in ("contiguous", "fortran", "sparse"):
        for kernel in (2, 3, 16):
            check_max("max_pool1d", place(lines, layout), kernel, stride=1)


# ---- what an index means -------------------------------------------------------------------------------


def at_indices(x: np.ndarray, indices: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """`np.take` of every plane."""
    behind = range(x.ndim - len(axes), x.ndim)
    planes, where = (np.moveaxis(a, sorted(axes), behind) for a in (x, indices))
    kept = planes.shape[: x.ndim - len(axes)]
    taken = np.empty(where.shape, x.dtype)
    for k in np.ndindex(*kept):
        taken[k] = np.take(planes[k], where[k])
    return np.moveaxis(taken, behind, sorted(axes))


def test_prepared_pairs():
    x = sample("float32", (2, 3, 9, 7))
    for operation, args, options in (
        ("max_pool2d", (3, 2, 1), {}),
        ("adaptive_max_pool2d", ((4, 5),), {}),
        ("global_max_pool", (), {}),
        ("global_max_pool", (), {"keepdims": False}),
    ):
        expected = getattr(cpool, operation)(x, *args, return_indices=True, **options)
        call = cpool.prepare(operation, x, *args, return_indices=True, **options)
        out = np.empty_like(expected[0]), np.empty_like(expected[1])
        assert call(x, out=out) is out
        for pair in (call(x), call(place(x, "channels_last")), out):
            for a, b in zip(pair, expected, strict=True):
                assert_same_bits(a, b, operation)
        with pytest.raises(TypeError, match="out: got 'ndarray'; with return_indices=True a pair"):
            call(x, out=out[0])


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8", "int64"])
def test_indices_find_the_values(dtype, simd):
    for x in contents(dtype, (3, 4, 7, 9)):
        for operation, size, options, axes in (
            ("adaptive_max_pool2d", (3, 5), {}, (2, 3)),
            ("adaptive_max_pool2d", (3, None), {}, (2, 3)),
            ("adaptive_max_pool2d", None, {}, (2, 3)),
            ("max_pool2d", 3, {"padding": 1, "data_format": "channels_last"}, (1, 2)),
            ("global_max_pool", None, {}, (2, 3)),
            ("adaptive_max_pool", (2, 3, 4), {"axes": (3, 0, 2)}, (0, 2, 3)),
            ("max_pool", 2, {"axes": (1, 0)}, (0, 1)),
            ("adaptive_max_pool", 2, {}, (0, 1, 2, 3)),
            ("adaptive_max_pool", 2, {"axes": ()}, ()),
        ):
            values, indices = check_max(operation, x, size, **options)
            assert_same_bits(at_indices(x, indices, axes), values, operation)


def test_indices_follow_the_axes_of_the_array():
    """Not the order in which the axes are named, and not the order in memory."""
    x = np.zeros((2, 3, 5))
    x[1, 2, 3] = 1
    for y in (x, np.asfortranarray(x)):
        assert cpool.adaptive_max_pool(y, 1, True, axes=(2, 0))[1].tolist() == [[[0], [0], [1 * 5 + 3]]]
        assert cpool.adaptive_max_pool(y, 1, True, axes=(0, 2))[1].tolist() == [[[0], [0], [1 * 5 + 3]]]
        assert cpool.adaptive_max_pool(y, 1, True)[1].item() == 1 * 15 + 2 * 5 + 3
        assert cpool.adaptive_max_pool(y, 1, True, axes=-1)[1].ravel().tolist() == [0, 0, 0, 0, 0, 3]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_new_results_keep_the_order_of_axes(layout):
    x = place(sample("float32", (2, 3, 10, 9)), layout)
    for size in ((7, 5), (13, 2), None):
        for result in cpool.adaptive_max_pool2d(x, size, return_indices=True):
            wanted = np.empty_like(x, shape=result.shape, dtype=result.dtype)  # NumPy's order 'K'
            assert result.strides == wanted.strides
            assert result.flags.owndata
            assert result.flags.writeable


@pytest.mark.parametrize("dtype", ["float32", "int64", "float16"])
def test_any_spelling(dtype, simd):
    for n, m in ((14, 13), (133, 2), (22, 3), (12, 12), (37, 1)):
        kernel, stride = cpool.windows(n, m).as_strided()
        x = few(dtype, (2, 3, n, n))
        expected = cpool.adaptive_max_pool2d(x, m, True)
        spellings = {
            "named": cpool.adaptive_max_pool2d(x, output_size=(m, m), return_indices=True),
            "strided": cpool.max_pool2d(x, kernel, stride, 0, 1, False, True),
            "valid": cpool.max_pool2d(x, [kernel, kernel], (stride, stride), "valid", return_indices=np.True_),
            "axes": cpool.adaptive_max_pool(x, m, True, axes=(-1, 2)),
            "strided axes": cpool.max_pool(x, kernel, stride, axes=(3, 2), return_indices=True),
            "last": tuple(
                np.moveaxis(r, -1, 1)
                for r in cpool.adaptive_max_pool2d(np.moveaxis(x, 1, -1), m, True, data_format="NHWC")
            ),
            "five": tuple(r[:, :, 0] for r in cpool.adaptive_max_pool3d(x[:, :, None], (1, m, m), True)),
            "without": (cpool.adaptive_max_pool2d(x, m), expected[1]),
        }
        if m == 1:
            spellings["global"] = cpool.global_max_pool(x, return_indices=True)
            flat = cpool.global_max_pool(x, return_indices=True, keepdims=False)
            spellings["keepdims"] = tuple(r.reshape(2, 3, 1, 1) for r in flat)
            assert flat[0].shape == flat[1].shape == (2, 3)
        for name, (values, indices) in spellings.items():
            assert_same_bits(np.ascontiguousarray(values), expected[0], name)
            assert_same_bits(np.ascontiguousarray(indices), expected[1], name)


# ---- the same bits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "uint8"])
def test_any_number_of_threads_as_they_are_used(dtype):
    """Work large enough to be split by itself."""
    for shape, size, options in (
        ((16, 65, 57, 55), (7, 6), {}),
        ((1, 1, 2003, 1999), 1, {}),
        ((1, 3, 1003, 999), (7, 5), {}),
        ((2, 100, 99, 257), (6, 5), {"data_format": "channels_last"}),
    ):
        x = few(dtype, shape)
        first = None
        for engine in (e for e in ENGINES if e.simd in SIMD):
            with cpu.force_simd(engine.simd), cpool.threads(engine.threads):
                result = cpool.adaptive_max_pool2d(x, size, True, **options)
                alone = cpool.adaptive_max_pool2d(x, size, **options)
            first = first or result
            for a, b in zip((*result, alone), (*first, first[0]), strict=True):
                assert_same_bits(a, b, f"{engine} {shape}")


@pytest.mark.parametrize("dtype", ["float32", "float16", "int16"])
def test_any_company(dtype, simd):
    for layout, (shape, size) in itertools.product(("contiguous", "channels_last", "sparse"), PLANES):
        x = place(contents(dtype, (3, *shape[1:]))[-1], layout)
        with cpool.threads(3), cpu.force_split():
            whole = cpool.adaptive_max_pool2d(x, size, True)
        for part in (slice(0, 1), slice(2, None), slice(None, None, -1), slice(1, 3)):
            for a, b in zip(cpool.adaptive_max_pool2d(x[part], size, True), whole, strict=True):
                assert_same_bits(a, b[part], layout)
        for a, b in zip(cpool.adaptive_max_pool2d(x[1], size, True), whole, strict=True):
            assert_same_bits(a, b[1], layout)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", FLOATS)
def test_any_mode_of_the_caller(dtype, mode, simd, native):
    """A mode that takes subnormal numbers for zeros must not make ties of them."""
    usual = native.native_mode() & CONTROL
    tiny = {"float16": -24, "bfloat16": -133, "float32": -149, "float64": -1074}[dtype]
    counts = np.random.default_rng(7).integers(-9, 9, (2, 17, 13, 31))
    x = (counts * 2.0**tiny).astype(dtype_of(dtype))
    for layout, size in itertools.product(("contiguous", "channels_last", "sparse"), ((7, 5), 1)):
        y = place(x, layout)
        expected = check_max("adaptive_max_pool2d", y, size)
        native.native_set_mode(usual | MODES[mode])
        try:
            result = cpool.adaptive_max_pool2d(y, size, True)
            alone = cpool.adaptive_max_pool2d(y, size)
            after = native.native_mode()
        finally:
            native.native_set_mode(usual)
        assert after & CONTROL == usual | MODES[mode], "the caller's mode comes back"
        for a, b in zip((*result, alone), (*expected, expected[0]), strict=True):
            assert_same_bits(a, b, mode)


def test_subnormals_are_not_flushed(simd, native):
    """The test above would pass if both runs flushed."""
    x = np.full((1, 1, 5, 35), 2.0**-149, np.float32)
    x[..., 20] = 3 * 2.0**-149
    native.native_set_mode(native.native_mode() | FLUSH)
    try:
        values, indices = cpool.adaptive_max_pool2d(x, 1, True)
    finally:
        native.native_set_mode(0x1F80)
    assert (values.view(np.int32).item(), indices.item()) == (3, 20)


def test_no_flags_and_no_traps(native, native_path):
    """A comparison with NaN is no invalid operation that the caller would have to hear of."""
    run_python(
        f"""
import ctypes, numpy as np
import cpool
native = ctypes.PyDLL({str(native_path)!r})
for dtype in (np.float16, np.float32, np.float64):
    x = np.full((2, 3, 9, 31), 6e-8, dtype)
    x[0, 0, 0, :3] = np.inf, -np.inf, np.nan
    cpool.adaptive_max_pool2d(x, (4, 5), True)
    cpool.adaptive_max_pool2d(x, (4, 5))
    trapping = 0x1f80 & ~(0x0080 | 0x0200 | 0x0400)
    native.native_set_mode(trapping)
    cpool.adaptive_max_pool2d(x, (4, 5), True)
    cpool.adaptive_max_pool2d(x, (4, 5))
    left = native.native_mode()
    native.native_set_mode(0x1f80)
    assert left == trapping, hex(left)
"""
    )


# ---- out -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", _outs((1, 1, 1, 1), np.dtype("f4")))
@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8", "int64"])
def test_out(dtype, where, simd):
    for layout, size in itertools.product(("contiguous", "channels_last", "sparse"), ((7, 5), (1, 1), (10, 3))):
        x = place(contents(dtype, (2, 3, 10, 9))[-1], layout)
        expected = check_max("adaptive_max_pool2d", x, size)
        pair = tuple(_outs(r.shape, r.dtype)[where] for r in expected)
        returned = cpool.adaptive_max_pool2d(x, size, True, out=pair)
        assert all(a is b for a, b in zip(returned, pair, strict=True))
        for made, wanted in zip(pair, expected, strict=True):
            assert_same_bits(made.astype(wanted.dtype, order="C"), np.ascontiguousarray(wanted))
        mixed = (np.empty_like(expected[0]), _outs(expected[1].shape, np.dtype("i8"))[where])
        cpool.adaptive_max_pool2d(x, size, return_indices=True, out=list(mixed))
        for made, wanted in zip(mixed, expected, strict=True):
            assert_same_bits(made.astype(wanted.dtype, order="C"), np.ascontiguousarray(wanted))
        alone = _outs(expected[0].shape, expected[0].dtype)[where]
        assert cpool.adaptive_max_pool2d(x, size, out=alone) is alone
        assert_same_bits(alone.astype(x.dtype, order="C"), np.ascontiguousarray(expected[0]))


def test_out_of_every_operation():
    for case in ("strided 1-D", "strided 3-D last", "global 3-D", "n-D strided", "n-D backwards"):
        operation, shape, size, options = LINES[case]
        x = sample("float32", shape)
        expected = check_max(max_of(operation), x, size, **options)
        pair = tuple(np.empty_like(r) for r in expected)
        call_max(max_of(operation), x, size, return_indices=True, out=pair, **options)
        for made, wanted in zip(pair, expected, strict=True):
            assert_same_bits(made, wanted)
    pair = np.empty((2, 5), np.float32), np.empty((2, 5), np.int64)
    x = sample("float32", (2, 5, 3, 7))
    assert cpool.global_max_pool(x, keepdims=False, return_indices=True, out=pair)[1] is pair[1]
    expected = exact_max("global_max_pool", x)
    assert_same_bits(pair[0], expected[0][..., 0, 0])
    assert_same_bits(pair[1], expected[1][..., 0, 0])


X = sample("float32", (2, 3, 10, 9))
SHAPE = (2, 3, 4, 4)


def read_only(shape, dtype):
    out = np.full(shape, 7, dtype)
    out.flags.writeable = False
    return out


@pytest.mark.parametrize(
    ("values", "indices", "error", "text"),
    [
        (np.full((2, 3, 4, 5), 7, "f4"), np.full(SHAPE, 7), ValueError, r"out.*: got \(2, 3, 4, 5\); .*\(2, 3, 4, 4\)"),
        (np.full(SHAPE, 7, "f4"), np.full((2, 3, 4, 5), 7), ValueError, r"out.*: got \(2, 3, 4, 5\); .*\(2, 3, 4, 4\)"),
        (np.full(SHAPE, 7, "f4"), np.full((3, 4, 4), 7), ValueError, r"out.*: got \(3, 4, 4\)"),
        (np.full(SHAPE, 7, "f8"), np.full(SHAPE, 7), TypeError, r"out.*: got .*float64"),
        (np.full(SHAPE, 7, "i4"), np.full(SHAPE, 7), TypeError, r"out.*: got .*int32"),
        (np.full(SHAPE, 7, "f4"), np.full(SHAPE, 7, "i4"), TypeError, r"out.*: got .*int32"),
        (np.full(SHAPE, 7, "f4"), np.full(SHAPE, 7, "u8"), TypeError, r"out.*: got .*uint64"),
        (np.full(SHAPE, 7, "f4"), np.full(SHAPE, 7, "f8"), TypeError, r"out.*: got .*float64"),
        (read_only(SHAPE, "f4"), np.full(SHAPE, 7), ValueError, r"out.*: got .*read-only"),
        (np.full(SHAPE, 7, "f4"), read_only(SHAPE, "i8"), ValueError, r"out.*: got .*read-only"),
        (
            np.full(SHAPE, 7, "f4"),
            np.lib.stride_tricks.as_strided(np.full(200, 7), SHAPE, (0, 128, 32, 8)),
            ValueError,
            r"out.*: got .*strides",
        ),
        (np.full(SHAPE, 7, "f4"), None, TypeError, r"out.*: got"),
        (np.full(SHAPE, 7, "f4"), "indices", TypeError, r"out.*: got"),
        ([[7.0]], np.full(SHAPE, 7), TypeError, r"out.*: got 'list'"),
    ],
    ids=range(14),
)
def test_wrong_pairs(values, indices, error, text):
    for _ in range(2):
        with pytest.raises(error, match="^" + text):
            cpool.adaptive_max_pool2d(X, 4, True, out=(values, indices))
    for out in (values, indices):
        assert not isinstance(out, np.ndarray) or (out == 7).all(), "nothing may be written"


@pytest.mark.parametrize("indices", [False, True])
def test_outs_that_are_no_pair(indices):
    values, places = np.full(SHAPE, 7, np.float32), np.full(SHAPE, 7)
    wrong = [(values, places), [values, places]] if not indices else [values, (values,), (values, places, places), ()]
    for out in (*wrong, 3.0, "out"):
        with pytest.raises((TypeError, ValueError), match=r"^out: got "):
            cpool.adaptive_max_pool2d(X, 4, indices, out=out)
    assert (values == 7).all()
    assert (places == 7).all()


def test_outs_that_overlap_each_other():
    """There is no right way to write two results into one memory."""
    x = sample("int64", (2, 3, 10, 9))
    same = np.full(SHAPE, 7)
    room = np.full((2, 3, 5, 4), 7)
    bytes_ = np.full((2, 3, 4, 8), 7)
    for pair, y in (
        ((same, same), x),
        ((room[:, :, 1:], room[:, :, :-1]), x),
        ((bytes_.view(np.float32)[..., :8:2], bytes_[..., :4]), X),
    ):
        with pytest.raises(ValueError, match=r"^out: got "):
            cpool.adaptive_max_pool2d(y, 4, True, out=pair)
    assert (same == 7).all()
    assert (room == 7).all()
    assert (bytes_ == 7).all()


def test_outs_that_overlap_x():
    """Handled: the results are as if x had been copied first."""
    x = sample("int64", (2, 3, 10, 9))
    for size in ((4, 4), (10, 9), (1, 1), (None, 3)):
        expected = cpool.adaptive_max_pool2d(x, size, True)
        n, m = expected[0].shape[2:]
        for overlapped in (0, 1):
            memory = x.copy()
            pair = [np.empty_like(r) for r in expected]
            pair[overlapped] = memory[:, :, -n:, -m:]
            cpool.adaptive_max_pool2d(memory, size, True, out=tuple(pair))
            for made, wanted in zip(pair, expected, strict=True):
                assert_same_bits(np.ascontiguousarray(made), wanted)
        memory = x.copy()
        out = memory[:, :, :n, :m]
        assert cpool.adaptive_max_pool2d(memory, size, out=out) is out
        assert_same_bits(np.ascontiguousarray(out), expected[0])


@pytest.mark.parametrize("at_end", [True, False], ids=["end", "start"])
@pytest.mark.parametrize(
    ("dtype", "read"),
    [("float32", "near"), ("float16", "near"), ("uint8", "near"), ("int64", "near"), ("uint8", "far")],
    indirect=["read"],
)
def test_between_guards(dtype, at_end, read, simd):
    """Inputs and outputs lie between pages that nobody may touch; inputs can't be written."""
    from test_memory import SHAPES, guarded, guarded_view  # here: it skips where pages can't be guarded

    strided = [
        (3, {"stride": 2, "padding": 1, "ceil_mode": True}),
        (2, {"stride": 1, "padding": (0, 1), "dilation": (1, 2)}),
        ((2, 16), {"stride": 1, "padding": (1, 7)}),
    ]
    for (shape, sizes), last, run in itertools.product(SHAPES, (False, True), (4, 1)):
        x = sample(dtype, shape)
        x = np.moveaxis(x, 1, -1).copy() if last else x
        options = {"data_format": "channels_last" if last else "channels_first"}
        placed = guarded(x, run=run, at_end=at_end)
        calls = [("adaptive_max_pool2d", size, options) for size in sizes]
        calls += [("max_pool2d", k, {**o, **options}) for k, o in strided if shape[2] > 1 < shape[3] > each(k, 2)[1]]
        for operation, size, known in calls:
            expected = check_max(operation, placed, size, **known)
            outs = [guarded(np.zeros_like(r), run=1, at_end=at_end, freeze=False) for r in expected]
            call_max(operation, placed, size, return_indices=True, out=tuple(outs), **known)
            for made, wanted in zip(outs, expected, strict=True):
                assert_same_bits(made, wanted)
    for shape, sizes in SHAPES:
        for steps in ((1, 1, 1, 2), (1, 1, 1, -1), (1, 2, -1, 1), (-1, 1, 3, 3), (1, 1, 2, 17)):
            placed = guarded_view(sample(dtype, shape), steps, at_end=at_end)
            for size in sizes:
                check_max("adaptive_max_pool2d", placed, size)
            check_max("adaptive_max_pool", placed, 1, axes=(0, 1))


@pytest.mark.parametrize("shape", [(1, 3), (2, 3, 4)], ids=str)
def test_one_window_longer_than_its_axis(shape, engine):
    x = sample("float32", shape)
    check_max("max_pool1d", x, 5, stride=3, ceil_mode=True)
    _, indices = cpool.max_pool1d(x, 5, 3, ceil_mode=True, return_indices=True)
    assert indices.shape[-1] == 1
    assert cpool.max_pool1d_backward(np.ones_like(indices, np.float32), indices, shape).sum() == indices.size
    for padding in (0, (0, 1)):
        check("avg_pool", x, 5, stride=3, padding=(padding,), ceil_mode=True, axes=-1)
    grad = np.ones(indices.shape, np.float32)
    result = cpool.avg_pool1d_backward(grad, shape, 5, 3, ceil_mode=True)
    assert_same_bits(result, cpool.adaptive_avg_pool1d_backward(grad, shape))


# ---- torch -------------------------------------------------------------------------------------------------

# Where torch and cpool differ, all by design:
# - Of several NaNs torch gives the index of the last, cpool that of the first (as numpy.argmax does).
# - torch pads by half a kernel at most; cpool by anything that leaves an element in every window.
# - With dilation torch may make a window without elements (-inf, and an index outside the plane); cpool
#   refuses the arguments.
# - torch takes no bool, and integers for strided windows only.


def no_element(torch, x, arguments):
    """Whether torch makes a window that holds no element of x."""
    theirs = getattr(torch.nn.functional, f"max_pool{x.ndim - 2}d")
    return bool(theirs(torch.ones(x.shape), *arguments[:5]).isinf().any())


def torch_pair(torch, x, arguments):
    """What cpool and torch make of one strided call: values and indices; None where a window is empty or none fits."""
    theirs, ours = (getattr(library, f"max_pool{x.ndim - 2}d") for library in (torch.nn.functional, cpool))
    try:
        values, indices = theirs(torch.from_numpy(x), *arguments)
    except RuntimeError:  # not a single window
        with pytest.raises(ValueError, match="kernel_size"):
            ours(x, *arguments)
        return None
    try:
        result = ours(x, *arguments)
    except ValueError as error:
        assert "no element" in str(error)  # noqa: PT017
        assert no_element(torch, x, arguments), arguments
        return None
    return result, (values.numpy(), indices.numpy())


def torch_pairs(torch, x, options):
    """What torch and cpool make of every strided call that both take."""
    for kernel, stride, padding, dilation, ceil_mode in options:
        if padding > kernel // 2:
            continue
        arguments = (kernel, stride, padding, dilation, ceil_mode, True)
        pair = torch_pair(torch, x, arguments)
        if pair is not None:
            yield arguments, *pair


OPTIONS = list(itertools.product([1, 2, 3, 5, 9], [1, 2, 3], [0, 1, 2], [1, 2, 3], [False, True]))


@pytest.mark.parametrize("shape", [(2, 3, 11), (1, 2, 4), (2, 3, 11, 13), (1, 2, 8, 7), (1, 2, 7, 6, 8)], ids=str)
def test_strided_like_torch(shape, module):
    torch = module("torch")
    tried = 0
    for x in contents("float32", shape)[:3]:
        for arguments, result, wanted in torch_pairs(torch, x, OPTIONS):
            assert_same_bits(result[0], wanted[0], str(arguments))
            np.testing.assert_array_equal(result[1], wanted[1], str(arguments))
            tried += 1
    assert tried > (250 if min(shape[2:]) > 4 else 150)


@pytest.mark.parametrize("shape", [(2, 3, 11), (2, 3, 9, 14), (1, 2, 9, 6, 8)], ids=str)
def test_strided_with_its_own_for_each_axis_like_torch(shape, module):
    torch = module("torch")
    theirs, ours = (getattr(library, f"max_pool{len(shape) - 2}d") for library in (torch.nn.functional, cpool))
    for x, windows in itertools.product(contents("float32", shape)[:3], own_windows(shape)):
        values, indices = theirs(torch.from_numpy(x), *windows, True)
        for result in in_both_layouts(lambda y, w=windows, **o: ours(y, *w, True, **o), x):
            assert_same_bits(result[0], values.numpy(), str(windows))
            np.testing.assert_array_equal(result[1], indices.numpy(), str(windows))


@pytest.mark.parametrize("shape", [(1, 2, 2), (1, 1, 1, 5), (1, 1, 3, 2, 4)], ids=str)
def test_what_is_refused_has_no_element_in_torch_either(shape, module):
    torch = module("torch")
    x = np.ones(shape, np.float32)
    taken, refused = 0, 0
    for padding, dilation in itertools.product([0, 1], [1, 2, 3, 4]):
        if dilation + 1 > min(shape[2:]) + 2 * padding:
            continue
        arguments = (2, 1, padding, dilation, False, True)
        if torch_pair(torch, x, arguments) is None:
            refused += 1
        else:
            assert not no_element(torch, x, arguments), arguments
            taken += 1
    assert taken
    assert refused


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", "uint8", "int8", "int16", "int32", "int64"])
def test_every_type_like_torch(dtype, module):
    torch = module("torch")
    x = few(dtype, (2, 3, 9, 10))
    if dtype == "bfloat16":
        tensor = torch.from_numpy(x.view(np.int16)).view(torch.bfloat16)
    else:
        tensor = torch.from_numpy(x)
    values, indices = torch.nn.functional.max_pool2d(tensor, 3, 2, 1, return_indices=True)
    result = cpool.max_pool2d(x, 3, 2, 1, return_indices=True)
    np.testing.assert_array_equal(result[0].astype(float), values.double().numpy())
    np.testing.assert_array_equal(result[1], indices.numpy())


def test_adaptive_like_torch(module):
    functional = module("torch").nn.functional
    tensor = module("torch").from_numpy
    for n, m in itertools.product([1, 2, 5, 7, 10, 13, 16], [1, 2, 3, 4, 7, 9, 20]):
        for x in contents("float64", (2, 3, n, n + 3))[:3]:
            for r, size in ((1, m), (2, (m, m + 1)), (3, (2, m, m + 1))):
                y = {1: x[:, 0], 2: x, 3: x[None]}[r]
                theirs = getattr(functional, f"adaptive_max_pool{r}d")(tensor(y), size, return_indices=True)
                ours = getattr(cpool, f"adaptive_max_pool{r}d")(y, size, return_indices=True)
                for a, b in zip(ours, theirs, strict=True):
                    assert_same_bits(a, b.numpy())


def test_nan_not_like_torch(module):
    """The same values; of several NaNs torch finds the last."""
    torch = module("torch")
    x = np.array([[1, np.nan, 2, np.nan, 3]], np.float32)
    assert torch.nn.functional.adaptive_max_pool1d(torch.from_numpy(x), 1, True)[1].item() == 3
    assert cpool.adaptive_max_pool1d(x, 1, True)[1].item() == 1 == np.argmax(x)


def test_tensors_come_and_go(module):
    torch = module("torch")
    tensor = torch.arange(90.0).reshape(1, 1, 10, 9)
    values, indices = cpool.adaptive_max_pool2d(tensor, (7, 5), True)
    assert isinstance(values, torch.Tensor)
    assert isinstance(indices, torch.Tensor)
    wanted = torch.nn.functional.adaptive_max_pool2d(tensor, (7, 5), True)
    assert torch.equal(values, wanted[0])
    assert torch.equal(indices, wanted[1])
    assert isinstance(cpool.global_max_pool(tensor), torch.Tensor)
    out = torch.empty(1, 1, 7, 5), torch.empty(1, 1, 7, 5, dtype=torch.int64)
    assert cpool.adaptive_max_pool2d(tensor, (7, 5), True, out=out)[1] is out[1]
    assert torch.equal(out[0], wanted[0])
    assert torch.equal(out[1], wanted[1])


# ---- anything goes -----------------------------------------------------------------------------------------


@st.composite
def awkward(draw):
    """Ties, NaN, infinities and lowest values, in any shape and layout."""
    ndim = draw(st.integers(1, 5))
    shape = tuple(draw(st.integers(1, (130, 40, 9, 6, 5)[ndim - 1])) for _ in range(ndim))
    x = draw(st.sampled_from(contents(draw(st.sampled_from(TYPES)), shape)))
    return place(x, draw(st.sampled_from(sorted(LAYOUTS))))


def inputs():
    return st.one_of(awkward(), arrays().filter(lambda x: x.dtype.kind != "c"))


@st.composite
def strided_arguments(draw, shape):
    """Axes, a kernel for each, and options."""
    axes = tuple(draw(st.lists(st.integers(0, len(shape) - 1), min_size=1, max_size=len(shape), unique=True)))
    kernels, strides, pads, dilations = [], [], [], []
    for n in (shape[a] for a in axes):
        kernel = draw(st.integers(1, n))
        dilation = draw(st.integers(1, max(1, (n - 1) // max(kernel - 1, 1))))
        most = (kernel - 1) * dilation
        kernels.append(kernel)
        dilations.append(dilation)
        strides.append(draw(st.one_of(st.integers(1, n + 1), st.just(1))))
        pads.append((draw(st.integers(0, most)), draw(st.integers(0, most))))
    options = {"stride": tuple(strides), "padding": tuple(pads), "dilation": tuple(dilations)}
    return tuple(kernels), {**options, "ceil_mode": draw(st.booleans()), "axes": axes}


@given(inputs(), engines(), st.data())
def test_any_adaptive(x, engine, data):
    axes = tuple(data.draw(st.lists(st.integers(0, x.ndim - 1), min_size=1, max_size=x.ndim, unique=True)))
    sizes = tuple(data.draw(st.one_of(st.none(), st.integers(1, 12))) for _ in axes)
    with cpu.force_simd(engine[0]), cpool.threads(engine[1]), cpu.force_split():
        check_max("adaptive_max_pool", x, sizes, axes=axes)


@given(inputs(), engines(), st.data())
def test_any_strided(x, engine, data):
    kernels, options = data.draw(strided_arguments(x.shape))
    with cpu.force_simd(engine[0]), cpool.threads(engine[1]), cpu.force_split():
        try:
            check_max("max_pool", x, kernels, **options)
        except ValueError as error:
            assert "no element" in str(error)  # noqa: PT017 - a window wholly in the padding is refused


# ---- errors --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: cpool.adaptive_max_pool2d(X, -1), ValueError, "output_size: got -1; "),
        (lambda: cpool.adaptive_max_pool2d(X, 2.0), TypeError, "output_size: got 2.0 of type float; "),
        (lambda: cpool.adaptive_max_pool2d(X, True), TypeError, "output_size: got True of type bool; "),
        (lambda: cpool.adaptive_max_pool2d(X, (2, 3, 4)), ValueError, r"output_size: got \(2, 3, 4\); "),
        (lambda: cpool.adaptive_max_pool2d(X, 2**31), ValueError, "output_size: got "),
        (lambda: cpool.adaptive_max_pool2d(X, (2**31 - 1,) * 2), ValueError, ".*larger than any array"),
        (lambda: cpool.adaptive_max_pool2d(X, 3, 1), TypeError, "return_indices: got 1 of type int; "),
        (lambda: cpool.adaptive_max_pool2d(X, 3, None), TypeError, "return_indices: got None of type NoneType; "),
        (lambda: cpool.max_pool2d(X, 3, return_indices="yes"), TypeError, "return_indices: got 'yes' of type str; "),
        (lambda: cpool.global_max_pool(X, return_indices=2), TypeError, "return_indices: got 2 of type int; "),
        (lambda: cpool.global_max_pool(X, keepdims=1), TypeError, "keepdims: got 1 of type int; "),
        (lambda: cpool.max_pool2d(X, 0), ValueError, "kernel_size: got 0; "),
        (lambda: cpool.max_pool2d(X, 11), ValueError, "kernel_size: got 11; "),
        (lambda: cpool.max_pool2d(X, (2, 3, 4)), ValueError, r"kernel_size: got \(2, 3, 4\); "),
        (lambda: cpool.max_pool2d(X, 2, 0), ValueError, "stride: got 0; "),
        (lambda: cpool.max_pool2d(X, 2, padding=2), ValueError, "padding: got 2; .*no element"),
        (lambda: cpool.max_pool2d(X, 2, padding="half"), ValueError, "padding: got 'half'; "),
        (lambda: cpool.max_pool2d(X, 2, padding="same_upper", ceil_mode=True), ValueError, "padding: got 'same_upper'"),
        (lambda: cpool.max_pool2d(X, 2, dilation=0), ValueError, "dilation: got 0; "),
        (lambda: cpool.max_pool2d(X, 2, dilation=2.0), TypeError, "dilation: got 2.0 of type float; "),
        (lambda: cpool.max_pool2d(X, 2, ceil_mode=1), TypeError, "ceil_mode: got 1 of type int; "),
        (lambda: cpool.max_pool2d(X, 2, data_format="HWNC"), ValueError, "data_format: got 'HWNC'; "),
        (lambda: cpool.adaptive_max_pool(X, 2, axes=4), ValueError, "axes: got 4; "),
        (lambda: cpool.adaptive_max_pool(X, 2, axes=(1, 1)), ValueError, r"axes: got \(1, 1\); "),
        (lambda: cpool.max_pool2d(X, 2, backend="nothing"), ValueError, "backend: got 'nothing'; "),
        (lambda: cpool.adaptive_max_pool2d(X[0, 0], 2), ValueError, r"x: got .*adaptive_max_pool\(x, size\)"),
        (lambda: cpool.max_pool3d(X[0], 2), ValueError, r"x: got .*max_pool3d takes .*max_pool\(x, size\)"),
        (lambda: cpool.adaptive_max_pool1d(X[:, :, :0, 0], 1), ValueError, "x: got .*axis 2 is pooled and has no"),
        (lambda: cpool.global_max_pool(X[0, 0]), ValueError, r"x: got .*adaptive_max_pool\(x, 1\)"),
        (lambda: cpool.adaptive_max_pool2d(X, 4, data_format="channels_first", dtype=float), TypeError, ".*dtype"),
        (lambda: cpool.adaptive_max_pool2d(X, 4, True, "channels_first"), TypeError, ".*positional"),
    ],
    ids=range(31),
)
def test_errors(call, error, text):
    for _ in range(2):  # what is remembered must not change it
        with pytest.raises(error, match="^" + text if not text.startswith(".*") else text):
            call()


def test_a_wrong_call_after_a_right_one_is_still_wrong():
    """True and 1 are equal keys, but not equal arguments."""
    for _ in range(2):
        cpool.adaptive_max_pool2d(X, 1, True)
        cpool.max_pool2d(X, 1, 1, 0, 1, True, True)
        with pytest.raises(TypeError, match=r"^output_size"):
            cpool.adaptive_max_pool2d(X, True, True)
        with pytest.raises(TypeError, match=r"^return_indices"):
            cpool.adaptive_max_pool2d(X, 1, 1)
        with pytest.raises(TypeError, match=r"^ceil_mode"):
            cpool.max_pool2d(X, 1, 1, 0, 1, 1, True)
    assert isinstance(cpool.adaptive_max_pool2d(X, 1, False), np.ndarray)
    assert type(cpool.adaptive_max_pool2d(X, 1, True)) is tuple


@pytest.mark.parametrize(
    "x",
    [
        np.ones((2, 3, 4, 5), np.complex64),
        np.ones((2, 3, 4, 5), np.complex128),
        np.ones((2, 3, 4, 5), np.longdouble),
        np.ones((2, 3, 4, 5), object),
        np.ones((2, 3, 4, 5), "U3"),
        np.ones((2, 3, 4, 5), "S3"),
        np.zeros((2, 3, 4, 5), "M8[s]"),
        np.zeros((2, 3, 4, 5), "m8[s]"),
        np.zeros((2, 3, 4, 5), [("a", "f4")]),
        np.ma.ones((2, 3, 4, 5)),
        "text",
        None,
    ],
    ids=range(12),
)
def test_what_has_no_maximum(x):
    for call in (
        lambda: cpool.adaptive_max_pool2d(x, 2),
        lambda: cpool.max_pool2d(x, 2, return_indices=True),
        lambda: cpool.global_max_pool(x),
        lambda: cpool.max_pool(x, 2),
    ):
        with pytest.raises(TypeError, match=r"^x: got "):
            call()


def test_signatures():
    """PyTorch's names in PyTorch's order; the rest by name only."""
    strided = "x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False, *"
    adaptive = "x, output_size, return_indices=False, *"
    for name, first, rest in [
        *((f"max_pool{r}d", strided, ["data_format", "out", "backend"]) for r in (1, 2, 3)),
        *((f"adaptive_max_pool{r}d", adaptive, ["data_format", "out", "backend"]) for r in (1, 2, 3)),
        ("max_pool", strided, ["axes", "out", "backend"]),
        ("adaptive_max_pool", adaptive, ["axes", "out", "backend"]),
        ("global_max_pool", "x, *", ["data_format", "keepdims", "return_indices", "out", "backend"]),
    ]:
        assert name in cpool.__all__
        parameters = list(inspect.signature(getattr(cpool, name)).parameters.values())
        keywords = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
        others = [p.name + ("" if p.default is p.empty else f"={p.default}") for p in parameters if p.name not in rest]
        assert ", ".join([*others, "*"]) == first
        assert sorted(keywords) == sorted(rest)


# ---- the oracle ------------------------------------------------------------------------------------------------


def test_the_oracle_by_hand():
    nan, inf = np.nan, np.inf
    x = np.array([[-0.0, 0.0, -1.0, nan, -nan], [-inf, -inf, -inf, 2.0, 2.0]])
    for values, indices in (exact_max("max_pool1d", x, 2, stride=1), max_by_reference("max_pool1d", x, 2, stride=1)):
        assert indices.tolist() == [[0, 1, 3, 3], [0, 1, 3, 3]]
        assert_same_bits(values, np.array([[-0.0, 0.0, nan, nan], [-inf, -inf, 2.0, 2.0]]))
    for values, indices in (
        exact_max("adaptive_max_pool", x, (1, 2)),
        max_by_reference("adaptive_max_pool", x, (1, 2)),
    ):
        assert indices.tolist() == [[0, 3]]
        assert_same_bits(values, np.array([[-0.0, nan]]))


@pytest.mark.parametrize("dtype", TYPES)
def test_the_oracle_is_the_reference(dtype):
    calls = {
        "adaptive_max_pool": [((3, 7, 5), (2, 5, None), {}), ((3, 7, 5), (4, 2), {"axes": (1, -3)})],
        "max_pool": [
            ((7, 5), 3, {"stride": 2, "padding": 1, "ceil_mode": True}),
            ((7, 5), 3, {"stride": 2, "padding": ((0, 2), (1, 0))}),
            ((9, 4), 3, {"stride": 1, "dilation": (2, 1), "padding": "same_lower", "axes": (1, 0)}),
        ],
        "global_max_pool": [((2, 3, 5, 4), None, {}), ((2, 5, 4, 3), None, {"data_format": "channels_last"})],
    }
    for operation, cases in calls.items():
        for shape, size, options in cases:
            for x in contents(dtype, shape):
                values, indices = exact_max(operation, x, size, **options)
                expected = max_by_reference(operation, x, size, **options)
                assert values.shape == result_shape(operation, shape, size, **options)
                assert_same_bits(values, expected[0])
                np.testing.assert_array_equal(indices, expected[1])
