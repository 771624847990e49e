"""What the operations accept, what they make of it, and every error with its text."""

from __future__ import annotations

import functools
import itertools
import math
import re

import numpy as np
import pytest
from helpers import (
    BFLOAT16,
    DTYPES,
    INTEGERS,
    LAYOUTS,
    assert_same_bits,
    check,
    dtype_of,
    place,
    python,
    run_python,
    sample,
)

import cpool
from cpool import arrays, dispatch

X = sample("float32", (2, 3, 10, 9))


def got(argument: str, text: str = "") -> str:
    """The pattern of an error: it names the argument, says what came, and what would do."""
    return rf"^{re.escape(argument)}: got .*;.*{text}"


# ---- sizes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "shape"),
    [
        ((7, 5), (7, 5)),
        (7, (7, 7)),
        ([7, 5], (7, 5)),
        ((None, 5), (10, 5)),
        ((7, None), (7, 9)),
        (None, (10, 9)),
        ((None, None), (10, 9)),
        (np.int64(7), (7, 7)),
        ((np.uint8(7), np.int16(5)), (7, 5)),
        (np.array([7, 5]), (7, 5)),
        (np.array(7), (7, 7)),
        ((13, 1), (13, 1)),
        (0, (0, 0)),
        ((0, 5), (0, 5)),
    ],
    ids=repr,
)
def test_output_size(size, shape):
    result = cpool.adaptive_avg_pool2d(X, size)
    assert result.shape == (2, 3, *shape)
    assert_same_bits(result, cpool.adaptive_avg_pool(X, shape, axes=(2, 3)))


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_none_keeps_an_axis_in_every_rank(rank):
    x = sample("float32", (2, 3, 7, 5, 4)[: rank + 2])
    function = getattr(cpool, f"adaptive_avg_pool{rank}d")
    assert_same_bits(function(x, None), x)
    assert_same_bits(function(x, (None,) * rank), x)
    assert function(x, (3, *(None,) * (rank - 1))).shape == (2, 3, 3, *x.shape[3:])
    assert_same_bits(function(sample("uint8", x.shape), None), sample("uint8", x.shape).astype(np.float32))


@pytest.mark.parametrize(
    ("size", "error", "text"),
    [
        (-1, ValueError, r"output_size: got -1; .*not negative"),
        ((7, -5), ValueError, r"output_size: got \(7, -5\); .*not negative"),
        ((7,), ValueError, r"output_size: got \(7,\); .*2 of them"),
        ((7, 5, 3), ValueError, r"output_size: got \(7, 5, 3\); .*2 of them"),
        ((), ValueError, r"output_size: got \(\); .*2 of them"),
        ([[7, 5]], ValueError, r"output_size: got"),
        (True, TypeError, r"output_size: got True of type bool"),
        ((7, False), TypeError, r"output_size: got False of type bool"),
        (np.True_, TypeError, r"output_size: got .*True.* of type bool"),
        (7.0, TypeError, r"output_size: got 7.0 of type float"),
        ((7, 5.0), TypeError, r"output_size: got 5.0 of type float"),
        (np.float32(7), TypeError, r"output_size: got .* of type float32"),
        (np.array([7.0, 5.0]), TypeError, r"output_size: got 7.0 of type float"),
        (np.nan, TypeError, r"output_size: got nan of type float"),
        ("7", TypeError, r"output_size: got '7' of type str"),
        (b"75", TypeError, r"output_size: got b'75' of type bytes"),
        ({7}, TypeError, r"output_size: got \{7\} of type set"),
        (2**31, ValueError, r"output_size: got 2147483648; .*larger than any array"),
        ((1, 2**31), ValueError, r"output_size: got 2147483648; .*2\*\*31 - 1"),
        (2**62, ValueError, r"output_size: got 4611686018427387904; .*larger than any array"),
        (2**63, ValueError, r"output_size: got .*larger than any array"),
        (2**200, ValueError, r"output_size: got .*larger than any array"),
        ((2**40, 2**40), ValueError, r"output_size: got .*larger than any array"),
        ((2**31 - 1, 2**31 - 1), ValueError, r"output_size: got .*larger than any array"),
    ],
    ids=lambda v: v.__name__ if isinstance(v, type) else repr(v)[:30],
)
def test_wrong_output_sizes(size, error, text):
    for call in (
        lambda: cpool.adaptive_avg_pool2d(X, size),
        lambda: cpool.adaptive_avg_pool(X, size, axes=(2, 3)),
        lambda: cpool.prepare("adaptive_avg_pool2d", X, size),
        lambda: cpool.explain("adaptive_avg_pool2d", X, size),
    ):
        with pytest.raises(error, match=text):
            call()


def test_a_wrong_call_after_a_right_one_is_still_wrong():
    """1 == True == 1.0 for a dictionary: a cache must not take them for the same argument."""
    for _ in range(3):
        assert cpool.adaptive_avg_pool2d(X, 1).shape == (2, 3, 1, 1)
        assert cpool.adaptive_avg_pool2d(X, (1, 1)).shape == (2, 3, 1, 1)
        assert cpool.avg_pool2d(X, 1, 1, 0, False).shape == X.shape
        for wrong in (True, 1.0, (1, True), (1.0, 1), (np.True_, 1)):
            with pytest.raises(TypeError, match="output_size"):
                cpool.adaptive_avg_pool2d(X, wrong)
        with pytest.raises(TypeError, match="kernel_size"):
            cpool.avg_pool2d(X, True, 1, 0, False)
        with pytest.raises(TypeError, match="ceil_mode"):
            cpool.avg_pool2d(X, 1, 1, 0, 0)


def test_results_that_no_memory_holds_are_refused_at_once():
    with pytest.raises(MemoryError):
        cpool.adaptive_avg_pool2d(np.ones((1, 1, 2, 2), np.uint8), (2**20, 2**20))
    x = np.broadcast_to(np.uint8(1), (2**40, 2**20, 2, 2))
    with pytest.raises(ValueError, match="larger than any array"):
        cpool.adaptive_avg_pool2d(x, 3)
    with pytest.raises(ValueError, match="larger than any array"):
        cpool.avg_pool2d(x, 2, 1, 1)
    with pytest.raises(MemoryError):
        cpool.global_avg_pool(x)


# ---- shapes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("family", ["adaptive_avg_pool", "avg_pool"])
def test_wrong_ranks_name_the_general_form(family, rank):
    function = getattr(cpool, f"{family}{rank}d")
    for ndim in {0, 1, 2, 3, 4, 5, 6} - {rank + 1, rank + 2}:
        with pytest.raises(ValueError, match=rf"x: got \(.*\); {family}{rank}d takes .*{family}\(x, size\)"):
            function(np.ones((3,) * ndim, np.float32), 2)


def test_a_bare_image_is_told_what_to_call():
    with pytest.raises(ValueError, match=r"adaptive_avg_pool\(x, size\)"):
        cpool.adaptive_avg_pool2d(np.ones((10, 9)), (7, 5))
    assert cpool.adaptive_avg_pool(np.ones((10, 9)), (7, 5)).shape == (7, 5)


@pytest.mark.parametrize("shape", [(2, 3, 0, 9), (2, 3, 10, 0), (0, 3, 0, 0)], ids=str)
def test_a_pooled_axis_without_elements(shape):
    x = np.empty(shape, np.float32)
    for call in (
        lambda: cpool.adaptive_avg_pool2d(x, 3),
        lambda: cpool.avg_pool2d(x, 2),
        lambda: cpool.avg_pool2d(x, 2, padding=1),
        lambda: cpool.global_avg_pool(x),
        lambda: cpool.adaptive_avg_pool(x, 2, axes=(2, 3)),
    ):
        with pytest.raises(ValueError, match=r"x: got \(.*\); axis [23] is pooled and has no elements"):
            call()


def test_an_axis_that_none_keeps_may_be_empty():
    x = np.empty((2, 3, 0, 9), np.float32)
    assert cpool.adaptive_avg_pool2d(x, (None, 3)).shape == (2, 3, 0, 3)
    assert cpool.adaptive_avg_pool(np.empty((0, 9)), None).shape == (0, 9)
    assert cpool.adaptive_max_pool2d(x, (None, 3)).shape == (2, 3, 0, 3)
    values, indices = cpool.adaptive_max_pool2d(x, (None, 3), return_indices=True)
    assert values.shape == indices.shape == (2, 3, 0, 3)
    assert cpool.adaptive_avg_pool2d_backward(values, x.shape).shape == x.shape
    assert cpool.adaptive_max_pool2d_backward(values, indices, x.shape).shape == x.shape
    assert cpool.explain("adaptive_avg_pool2d", x, (None, 3)).out_shape == (2, 3, 0, 3)
    with pytest.raises(ValueError, match=r"input_shape: got .*axis 2 is pooled and has no elements"):
        cpool.adaptive_avg_pool2d_backward(np.ones((2, 3, 1, 3)), x.shape)


def test_kept_axes_may_be_empty_in_the_general_form():
    assert cpool.adaptive_avg_pool(np.empty((0, 5)), 3, axes=1).shape == (0, 3)
    assert cpool.adaptive_avg_pool(np.empty((5, 0)), 3, axes=0).shape == (3, 0)
    assert cpool.avg_pool(np.empty((0, 5)), 3, axes=1).shape == (0, 1)


@pytest.mark.parametrize(
    ("rank", "first", "last"),
    [
        (1, ("NCL", "CL"), ("NLC", "LC")),
        (2, ("NCHW", "CHW"), ("NHWC", "HWC")),
        (3, ("NCDHW", "CDHW"), ("NDHWC", "DHWC")),
    ],
)
def test_data_format_spellings(rank, first, last):
    x = sample("float32", (2, 4, 7, 5, 3)[: rank + 2])
    function = getattr(cpool, f"adaptive_avg_pool{rank}d")
    strided = getattr(cpool, f"avg_pool{rank}d")
    y = np.moveaxis(x, 1, -1)
    expected = function(x, 2)
    for spelling in ("channels_first", first[0]):
        assert_same_bits(function(x, 2, data_format=spelling), expected)
    for spelling in ("channels_last", last[0]):
        assert_same_bits(np.moveaxis(function(y, 2, data_format=spelling), -1, 1), expected)
        assert strided(y, 2, data_format=spelling).shape[-1] == 4
    for spelling in ("channels_first", first[1]):
        assert_same_bits(function(x[1], 2, data_format=spelling), expected[1])
    for spelling in ("channels_last", last[1]):
        assert_same_bits(np.moveaxis(function(y[1], 2, data_format=spelling), -1, 0), expected[1])


@pytest.mark.parametrize(
    ("data_format", "error"),
    [
        ("NCL", ValueError),
        ("NDHWC", ValueError),
        ("nchw", ValueError),
        ("channels", ValueError),
        ("", ValueError),
        ("NHCW", ValueError),
        (None, TypeError),
        (1, TypeError),
    ],
    ids=repr,
)
def test_wrong_data_formats(data_format, error):
    with pytest.raises(error, match=r"data_format: got .*channels_first.*channels_last"):
        cpool.adaptive_avg_pool2d(X, 3, data_format=data_format)
    with pytest.raises(error, match=r"data_format: got .*channels_first.*channels_last"):
        cpool.avg_pool2d(X, 3, data_format=data_format)


@pytest.mark.parametrize("data_format", ["CHW", "HWC"])
def test_letters_without_a_batch_refuse_one(data_format):
    with pytest.raises(ValueError, match=r"x: got \(2, 3, 10, 9\)"):
        cpool.adaptive_avg_pool2d(X, 3, data_format=data_format)


@pytest.mark.parametrize(
    ("axes", "error", "text"),
    [
        ((0, 0), ValueError, r"axes: got \(0, 0\); .*twice"),
        ((1, -3), ValueError, r"axes: got .*twice"),
        (4, ValueError, r"axes: got 4; .*from -4 to 3"),
        (-5, ValueError, r"axes: got -5; .*from -4 to 3"),
        ((0, 2**70), ValueError, r"axes: got"),
        (1.0, TypeError, r"axes: got 1.0 of type float"),
        (True, TypeError, r"axes: got True of type bool"),
        ("hw", TypeError, r"axes: got 'hw' of type str"),
        ((None,), TypeError, r"axes: got None of type NoneType"),
    ],
    ids=repr,
)
def test_wrong_axes(axes, error, text):
    for call in (
        lambda: cpool.adaptive_avg_pool(X, 2, axes=axes),
        lambda: cpool.avg_pool(X, 2, axes=axes),
    ):
        with pytest.raises(error, match=text):
            call()


@pytest.mark.parametrize("axes", [(2, 3), (-2, -1), [2, 3], np.array([2, 3]), (np.int8(2), 3)], ids=repr)
def test_axes_spellings(axes):
    assert_same_bits(cpool.adaptive_avg_pool(X, (7, 5), axes=axes), cpool.adaptive_avg_pool2d(X, (7, 5)))


def test_sizes_belong_to_axes_in_their_order():
    assert cpool.adaptive_avg_pool(X, (5, 7), axes=(3, 2)).shape == (2, 3, 7, 5)
    assert_same_bits(cpool.adaptive_avg_pool(X, (5, 7), axes=(3, 2)), cpool.adaptive_avg_pool(X, (7, 5), axes=(2, 3)))
    assert_same_bits(
        cpool.avg_pool(X, (5, 7), (2, 1), ((1, 0), (0, 2)), axes=(3, 2)),
        cpool.avg_pool(X, (7, 5), (1, 2), ((0, 2), (1, 0)), axes=(2, 3)),
    )


def test_global_pooling():
    result = cpool.global_avg_pool(X)
    assert result.shape == (2, 3, 1, 1)
    assert_same_bits(result, cpool.adaptive_avg_pool2d(X, 1))
    assert_same_bits(cpool.global_avg_pool(X, keepdims=False), result[:, :, 0, 0])
    out = np.empty((2, 3), np.float32)
    assert cpool.global_avg_pool(X, keepdims=False, out=out) is out
    assert_same_bits(out, result[:, :, 0, 0])
    last = cpool.global_avg_pool(np.moveaxis(X, 1, -1), data_format="channels_last")
    assert last.shape == (2, 1, 1, 3)
    assert_same_bits(cpool.global_avg_pool(X[0], data_format="CHW"), result[0])
    for shape in ((3,), (2, 3)):
        with pytest.raises(ValueError, match=r"x: got \(.*\)"):
            cpool.global_avg_pool(np.ones(shape))
    with pytest.raises(TypeError, match=r"keepdims: got 1 of type int"):
        cpool.global_avg_pool(X, keepdims=1)
    with pytest.raises(ValueError, match="out: got"):
        cpool.global_avg_pool(X, keepdims=False, out=np.empty((2, 3, 1, 1), np.float32))


# ---- strided arguments -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"kernel_size": 3}, {"kernel_size": (3, 3), "stride": 3, "padding": 0, "dilation": 1}),
        ({"kernel_size": (3, 2)}, {"kernel_size": [3, 2], "stride": (3, 2)}),
        ({"kernel_size": 3, "stride": None}, {"kernel_size": 3, "stride": (3, None)}),
        ({"kernel_size": 3, "padding": 1}, {"kernel_size": 3, "padding": (1, 1)}),
        ({"kernel_size": 3, "padding": 1}, {"kernel_size": 3, "padding": ((1, 1), (1, 1))}),
        ({"kernel_size": 3, "padding": (1, 0)}, {"kernel_size": 3, "padding": [[1, 1], [0, 0]]}),
        ({"kernel_size": 3, "padding": 0}, {"kernel_size": 3, "padding": "valid"}),
        ({"kernel_size": 3, "padding": 1}, {"kernel_size": 3, "padding": 1, "count_include_pad": True}),
        (
            {"kernel_size": 4, "stride": 3, "padding": "same_upper"},
            {"kernel_size": 4, "stride": 3, "padding": ((1, 2), (0, 1)), "count_include_pad": False},
        ),
        (
            {"kernel_size": 4, "stride": 3, "padding": "same_lower"},
            {"kernel_size": 4, "stride": 3, "padding": ((2, 1), (1, 0)), "count_include_pad": False},
        ),
        ({"kernel_size": 3, "ceil_mode": np.True_}, {"kernel_size": 3, "ceil_mode": True}),
        ({"kernel_size": 2, "dilation": 2}, {"kernel_size": 2, "dilation": (2, 2)}),
        ({"kernel_size": np.int8(2)}, {"kernel_size": np.array([2, 2])}),
        ({"kernel_size": 2, "divisor_override": np.int16(4)}, {"kernel_size": 2}),
    ],
    ids=lambda v: ",".join(f"{k}={v}" for k, v in v.items())[:60],
)
def test_strided_spellings(one, other):
    assert_same_bits(cpool.avg_pool2d(X, **one), cpool.avg_pool2d(X, **other))


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"kernel_size": 0}, ValueError, "kernel_size: got 0;"),
        ({"kernel_size": -2}, ValueError, "kernel_size: got -2;"),
        ({"kernel_size": 11}, ValueError, "kernel_size: got 11; .*axis has 10"),
        ({"kernel_size": (3,)}, ValueError, r"kernel_size: got \(3,\); .*2 of them"),
        ({"kernel_size": (3, 2, 1)}, ValueError, r"kernel_size: got \(3, 2, 1\)"),
        ({"kernel_size": ()}, ValueError, r"kernel_size: got \(\)"),
        ({"kernel_size": True}, TypeError, "kernel_size: got True of type bool"),
        ({"kernel_size": 2.0}, TypeError, "kernel_size: got 2.0 of type float"),
        ({"kernel_size": None}, TypeError, "kernel_size: got None"),
        ({"kernel_size": "3"}, TypeError, "kernel_size: got '3'"),
        ({"kernel_size": 2**62}, ValueError, "kernel_size: got"),
        ({"kernel_size": 2**62 + 1, "padding": 2**61}, ValueError, r"(kernel_size|padding): got"),
        ({"kernel_size": 2, "stride": 0}, ValueError, "stride: got 0;"),
        ({"kernel_size": 2, "stride": (1, -1)}, ValueError, "stride: got -1;"),
        ({"kernel_size": 2, "stride": 1.5}, TypeError, "stride: got 1.5 of type float"),
        ({"kernel_size": 2, "stride": True}, TypeError, "stride: got True of type bool"),
        ({"kernel_size": 2, "stride": (1, 1, 1)}, ValueError, "stride: got"),
        ({"kernel_size": 2, "dilation": 0}, ValueError, "dilation: got 0;"),
        ({"kernel_size": 2, "dilation": 10}, ValueError, "kernel_size: got 2; .*dilation"),
        ({"kernel_size": 2, "dilation": 2.0}, TypeError, "dilation: got 2.0 of type float"),
        ({"kernel_size": 2, "padding": -1}, ValueError, "padding: got -1;"),
        ({"kernel_size": 2, "padding": ((0, 1), (0, -1))}, ValueError, "padding: got"),
        ({"kernel_size": 2, "padding": 1.0}, TypeError, "padding: got 1.0 of type float"),
        ({"kernel_size": 2, "padding": True}, TypeError, "padding: got True of type bool"),
        ({"kernel_size": 2, "padding": (1, 1, 1)}, ValueError, "padding: got"),
        ({"kernel_size": 2, "padding": ((1, 1, 1), 0)}, ValueError, "padding: got"),
        ({"kernel_size": 2, "padding": "same"}, ValueError, "padding: got 'same'; .*same_upper"),
        ({"kernel_size": 2, "padding": "SAME_UPPER"}, ValueError, "padding: got 'SAME_UPPER'; .*same_upper"),
        ({"kernel_size": 2, "padding": ("same_upper", "same_upper")}, TypeError, 'padding: got .*padding="same_upper"'),
        ({"kernel_size": 2, "padding": ("valid", 1)}, TypeError, "padding: got .*stands alone"),
        ({"kernel_size": 2, "padding": (0, (0, 5))}, ValueError, r"padding: got \(0, \(0, 5\)\); .*after axis 3"),
        ({"kernel_size": 2, "padding": ((2, 0), 0)}, ValueError, r"padding: got \(\(2, 0\), 0\); .*before axis 2"),
        ({"kernel_size": 2, "padding": (0, (-1, 0))}, ValueError, r"padding: got \(0, \(-1, 0\)\); before axis 3 .*-1"),
        ({"kernel_size": 2, "padding": None}, TypeError, "padding: got None"),
        ({"kernel_size": 2, "padding": "same_upper", "ceil_mode": True}, ValueError, "padding: .*ceil_mode"),
        ({"kernel_size": 2, "padding": 2}, ValueError, "padding: got 2; .*holds? no element"),
        ({"kernel_size": 2, "stride": 1, "padding": ((0, 5), 0)}, ValueError, "padding: .*holds? no element"),
        ({"kernel_size": 2, "dilation": 11, "padding": 11, "stride": 1}, ValueError, "padding: .*holds? no element"),
        ({"kernel_size": 2, "ceil_mode": 1}, TypeError, "ceil_mode: got 1 of type int"),
        ({"kernel_size": 2, "ceil_mode": None}, TypeError, "ceil_mode: got None"),
        ({"kernel_size": 2, "count_include_pad": 1}, TypeError, "count_include_pad: got 1 of type int"),
        ({"kernel_size": 2, "count_include_pad": "yes"}, TypeError, "count_include_pad: got 'yes'"),
        ({"kernel_size": 2, "divisor_override": 0}, ValueError, "divisor_override: got 0; .*non-zero"),
        ({"kernel_size": 2, "divisor_override": True}, TypeError, "divisor_override: got True of type bool"),
        ({"kernel_size": 2, "divisor_override": 4.0}, TypeError, "divisor_override: got 4.0 of type float"),
        ({"kernel_size": 2, "divisor_override": "4"}, TypeError, "divisor_override: got '4'"),
        ({"kernel_size": 2, "divisor_override": 2**53}, ValueError, r"divisor_override: got .*2\*\*53"),
        ({"kernel_size": 2, "divisor_override": -(2**70)}, ValueError, r"divisor_override: got .*2\*\*53"),
    ],
    ids=lambda v: (
        v.__name__
        if isinstance(v, type)
        else ",".join(f"{k}={v}" for k, v in v.items())[:70]
        if isinstance(v, dict)
        else ""
    ),
)
def test_wrong_strided_arguments(options, error, text):
    size = options["kernel_size"]
    rest = {k: v for k, v in options.items() if k != "kernel_size"}
    for call in (
        lambda: cpool.avg_pool2d(X, size, **rest),
        lambda: cpool.avg_pool(X, size, axes=(2, 3), **rest),
        lambda: cpool.prepare("avg_pool2d", X, size, **rest),
    ):
        with pytest.raises(error, match=text):
            call()


def test_a_pair_for_the_only_axis():
    for call in (lambda: cpool.avg_pool1d(X[0], 3, padding=(1, 2)), lambda: cpool.nn.AvgPool1d(3, padding=(1, 2))):
        with pytest.raises(ValueError, match=r"padding: got \(1, 2\); .*\(\(1, 2\),\) would do"):
            call()


def test_a_list_that_contains_itself():
    size = [7]
    size.append(size)
    for function in (cpool.adaptive_avg_pool2d, cpool.avg_pool2d, cpool.nn.AdaptiveAvgPool2d):
        arguments = (size,) if isinstance(function, type) else (X, size)
        with pytest.raises(TypeError, match=r"^(output|kernel)_size: got .* of type (list|tuple)"):
            function(*arguments)


def test_more_elements_than_a_divisor_holds():
    x = np.broadcast_to(np.uint8(1), (2**40, 2**20))
    with pytest.raises(ValueError, match=r"2\*\*53"):
        cpool.adaptive_avg_pool(x, 1)


# ---- types -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_type_of_an_average(dtype):
    x = sample(dtype, (2, 3, 7, 5))
    wide = np.float32 if x.dtype.itemsize <= 2 else np.float64
    wanted = np.dtype(wide) if x.dtype.kind in "biu" else x.dtype
    assert cpool.adaptive_avg_pool2d(x, 3).dtype == wanted
    assert cpool.avg_pool2d(x, 3).dtype == wanted
    assert cpool.global_avg_pool(x).dtype == wanted


@pytest.mark.parametrize(
    "dtype",
    [">f2", ">f4", ">f8", ">i2", ">u4", ">i8", ">c8", ">c16"],
)
def test_foreign_byte_order_comes_in_and_native_goes_out(dtype):
    x = sample(np.dtype(dtype).newbyteorder("="), (2, 3, 7, 5))
    result = cpool.adaptive_avg_pool2d(x.astype(dtype), 3)
    assert result.dtype.isnative
    assert_same_bits(result, cpool.adaptive_avg_pool2d(x, 3))
    out = np.empty((2, 3, 3, 3), result.dtype.newbyteorder("S"))
    assert cpool.adaptive_avg_pool2d(x, 3, out=out) is out
    assert_same_bits(out.astype(result.dtype), result)


NOT_NUMBERS = {
    "longdouble": np.ones((2, 3, 7, 5), np.longdouble),
    "clongdouble": np.ones((2, 3, 7, 5), np.clongdouble),
    "object": np.ones((2, 3, 7, 5), object),
    "str": np.full((2, 3, 7, 5), "1"),
    "bytes": np.full((2, 3, 7, 5), b"1"),
    "datetime": np.zeros((2, 3, 7, 5), "M8[s]"),
    "timedelta": np.zeros((2, 3, 7, 5), "m8[s]"),
    "structured": np.zeros((2, 3, 7, 5), [("a", "f4")]),
    "named like bfloat16": np.zeros((2, 3, 7, 5), [("bfloat16", np.uint16)]),
    "void": np.zeros((2, 3, 7, 5), "V2"),
    "masked": np.ma.masked_equal(np.ones((2, 3, 7, 5)), 2),
    "none": None,
    "text": "an image",
    "dictionary": {"a": 1},
}


@pytest.mark.parametrize("kind", NOT_NUMBERS)
def test_what_cannot_be_averaged(kind):
    x = NOT_NUMBERS[kind]
    for call in (
        lambda: cpool.adaptive_avg_pool2d(x, 3),
        lambda: cpool.avg_pool2d(x, 3),
        lambda: cpool.global_avg_pool(x),
        lambda: cpool.adaptive_avg_pool(x, 3),
        lambda: cpool.prepare("adaptive_avg_pool2d", x, 3),
        lambda: cpool.explain("adaptive_avg_pool2d", x, 3),
    ):
        with pytest.raises(TypeError, match=r"^x: got "):
            call()


def test_a_masked_array_is_told_what_to_do():
    with pytest.raises(TypeError, match=r"masked.*filled"):
        cpool.adaptive_avg_pool(np.ma.array([1.0, 2.0]), 1)
    with pytest.raises(TypeError, match=r"out: got.*masked"):
        cpool.adaptive_avg_pool(np.ones(4), 2, out=np.ma.zeros(2))


def test_small_types_of_other_packages_are_refused(module):
    ml_dtypes = module("ml_dtypes")
    for name in ("float8_e4m3fn", "float8_e5m2", "int4", "uint4", "float8_e3m4"):
        x = np.ones((2, 3, 4, 5), getattr(ml_dtypes, name))
        with pytest.raises(TypeError, match=r"^x: got "):
            cpool.adaptive_avg_pool2d(x, 3)
        with pytest.raises(TypeError, match=r"^dtype: got "):
            cpool.adaptive_avg_pool2d(X, 3, dtype=x.dtype)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("float32", "int32"),
        ("float64", "uint8"),
        ("float32", "bool"),
        ("uint8", "bool"),
        ("bool", "bool"),
        ("complex64", "float32"),
        ("complex128", "int64"),
        ("float32", "complex64"),
        ("uint8", "complex64"),
        ("float32", "longdouble"),
        ("uint8", "object"),
        ("uint8", "M8[s]"),
        ("uint8", "U3"),
        ("uint8", "V4"),
        ("float32", [("bfloat16", np.uint16)]),
    ],
)
def test_results_that_are_not_to_be_had(source, target):
    x = sample(source, (2, 3, 7, 5))
    with pytest.raises(TypeError, match=r"^dtype: got .* average of .* can be"):
        cpool.adaptive_avg_pool2d(x, 3, dtype=target)
    with pytest.raises(TypeError, match=r"^out: got .* average of .* can be"):
        cpool.adaptive_avg_pool2d(x, 3, out=np.zeros((2, 3, 3, 3), target))


def test_dtype_and_out_must_agree():
    out = np.empty((2, 3, 4, 4), np.float64)
    with pytest.raises(ValueError, match=r"^dtype: got .*float32.*; out has dtype float64"):
        cpool.adaptive_avg_pool2d(X, 4, dtype=np.float32, out=out)
    assert cpool.adaptive_avg_pool2d(X, 4, dtype=np.float64, out=out) is out
    assert cpool.adaptive_avg_pool2d(X, 4, dtype=">f8", out=out) is out  # one type in two byte orders
    assert_same_bits(out, cpool.adaptive_avg_pool2d(X, 4, dtype=float))


@pytest.mark.parametrize("dtype", ["nonsense", 3, [1, 2]], ids=["name", "int", "list"])
def test_what_is_no_dtype(dtype):
    with pytest.raises(TypeError, match=r"^dtype: got "):
        cpool.adaptive_avg_pool2d(X, 4, dtype=dtype)


@pytest.mark.parametrize("target", INTEGERS)
@pytest.mark.parametrize("source", [*INTEGERS, "bool"])
def test_integers_round_half_to_even_and_saturate(source, target, simd):
    high = 1 if source == "bool" else int(np.iinfo(source).max)
    low = 0 if source == "bool" else int(np.iinfo(source).min)
    pairs = [(0, 1), (1, 1), (1, 0)] if source == "bool" else itertools.product((0, 1, 2, 3, 5, 6), repeat=2)
    x = np.array([*pairs, (high, high), (high, high - 1), (low, low), (low, low + 1), (low, high)]).ravel()
    x = np.clip(x.astype(object), low, high).astype(source) if source != "bool" else (x > 0)
    check("avg_pool", x, 2, dtype=dtype_of(target))
    check("avg_pool", x, 2, dtype=dtype_of(target), divisor_override=1)
    check("avg_pool", x, 2, dtype=dtype_of(target), divisor_override=-1)
    check("avg_pool", x, 3, stride=1, dtype=dtype_of(target), divisor_override=6)
    check("avg_pool", x, 4, stride=3, dtype=dtype_of(target))
    check("avg_pool", x, 4, stride=3, padding=2, dtype=dtype_of(target))


def test_other_classes_of_array_come_in_and_plain_ones_go_out(tmp_path):
    class Mine(np.ndarray):
        pass

    expected = cpool.adaptive_avg_pool2d(X, 3)
    file = np.memmap(tmp_path / "x", np.float32, "w+", shape=X.shape)
    file[...] = X
    for x in (X.view(Mine), file, X.tolist(), memoryview(X)):
        if isinstance(x, list):
            assert_same_bits(cpool.adaptive_avg_pool2d(x, 3), cpool.adaptive_avg_pool2d(X.astype(float), 3))
            continue
        result = cpool.adaptive_avg_pool2d(x, 3)
        assert type(result) is np.ndarray
        assert_same_bits(result, expected)
    out = np.empty_like(expected).view(Mine)
    assert cpool.adaptive_avg_pool2d(X, 3, out=out) is out
    assert_same_bits(np.asarray(out), expected)


def test_numpy_scalars_and_numbers():
    assert cpool.adaptive_avg_pool(3.0, 2).shape == ()
    assert float(cpool.adaptive_avg_pool(np.float32(3), ())) == 3.0


# ---- where results lie in memory -----------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_new_result_keeps_the_order_of_axes(layout):
    x = place(X, layout)
    for shape, call in (
        ((2, 3, 7, 5), lambda: cpool.adaptive_avg_pool2d(x, (7, 5))),
        ((2, 3, 13, 2), lambda: cpool.adaptive_avg_pool2d(x, (13, 2))),
        ((2, 3, 5, 4), lambda: cpool.avg_pool2d(x, 2)),
        ((2, 3, 10, 9), lambda: cpool.adaptive_avg_pool2d(x, None)),
        ((1, 3, 10, 2), lambda: cpool.adaptive_avg_pool(x, (1, 2), axes=(0, 3))),
    ):
        wanted = np.empty_like(x, shape=shape)  # NumPy's order 'K'
        result = call()
        assert result.shape == shape
        assert result.strides == wanted.strides
        assert result.flags.owndata
        assert result.flags.writeable
        assert result.flags.aligned


def _outs(shape: tuple[int, ...], dtype: np.dtype) -> dict[str, np.ndarray]:
    """Arrays to write into that lie in every way, in a larger memory filled with sevens."""
    n, c, h, w = shape

    def sevens(*size: int) -> np.ndarray:
        return np.full(size, 7, dtype)

    unaligned = np.ndarray(shape, dtype, np.full(int(np.prod(shape)) * dtype.itemsize + 1, 7, np.uint8), offset=1)
    return {
        "contiguous": sevens(*shape),
        "channels_last": np.moveaxis(sevens(n, h, w, c), -1, 1),
        "fortran": np.asfortranarray(sevens(*shape)),
        "every other": sevens(n, c, h, 2 * w)[..., ::2],
        "rows apart": sevens(n, c, h + 2, w + 3)[:, :, 1:-1, 2:-1],
        "reversed": sevens(*shape)[::-1, ::-1, ::-1, ::-1],
        "reversed columns": sevens(*shape)[..., ::-1],
        "swapped": sevens(n, c, w, h).swapaxes(2, 3),
        "first last": np.moveaxis(sevens(c, h, w, n), -1, 0),
        "unaligned": unaligned,
        "other order": np.full(shape, 7, dtype.newbyteorder("S") if dtype.kind != "V" else dtype),
    }


@pytest.mark.parametrize("where", _outs((1, 1, 1, 1), np.dtype("f4")))
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "uint8", "int64", "complex64"])
def test_out(dtype, where, simd):
    for layout, size in itertools.product(("contiguous", "channels_last", "sparse"), ((7, 5), (1, 1), (10, 3))):
        x = place(sample(dtype, (2, 3, 10, 9), wide=True), layout)
        expected = cpool.adaptive_avg_pool2d(x, size)
        out = _outs(expected.shape, expected.dtype)[where]
        assert cpool.adaptive_avg_pool2d(x, size, out=out) is out
        np.testing.assert_array_equal(out.astype(expected.dtype), expected)
    out = _outs((2, 3, 4, 4), expected.dtype)[where]
    x = sample(dtype, (2, 3, 9, 9), wide=True)
    assert cpool.avg_pool2d(x, 3, 2, out=out) is out
    np.testing.assert_array_equal(out.astype(expected.dtype), cpool.avg_pool2d(x, 3, 2))


@pytest.mark.parametrize(
    ("out", "error", "text"),
    [
        (np.empty((2, 3, 4, 5), np.float32), ValueError, r"out: got \(2, 3, 4, 5\); .*\(2, 3, 4, 4\)"),
        (np.empty((3, 4, 4), np.float32), ValueError, r"out: got \(3, 4, 4\); .*\(2, 3, 4, 4\)"),
        (np.empty((1, 2, 3, 4, 4), np.float32), ValueError, r"out: got"),
        (np.empty((), np.float32), ValueError, r"out: got"),
        (np.broadcast_to(np.float32(0), (2, 3, 4, 4)), ValueError, r"out: got .*(read-only|strides)"),
        (
            np.lib.stride_tricks.as_strided(np.zeros(200, np.float32), (2, 3, 4, 4), (0, 64, 16, 4)),
            ValueError,
            r"out: got .*strides",
        ),
        (np.empty((2, 3, 4, 4), np.int32), TypeError, r"out: got .*int32"),
        (np.empty((2, 3, 4, 4), object), TypeError, r"out: got .*"),
        ([[0.0]], TypeError, r"out: got 'list'"),
        ("out", TypeError, r"out: got 'str'"),
        (3.0, TypeError, r"out: got"),
    ],
    ids=range(11),
)
def test_wrong_outs(out, error, text):
    before = out.copy() if isinstance(out, np.ndarray) else None
    for _ in range(2):
        with pytest.raises(error, match=text):
            cpool.adaptive_avg_pool2d(X, 4, out=out)
    if before is not None and before.dtype != object:
        assert before.tobytes() == out.tobytes(), "nothing may be written"


def test_a_read_only_out_is_refused():
    out = np.full((2, 3, 4, 4), 7, np.float32)
    out.flags.writeable = False
    prepared = cpool.prepare("adaptive_avg_pool2d", X, 4)
    for call in (lambda: cpool.adaptive_avg_pool2d(X, 4, out=out), lambda: prepared(X, out=out)):
        with pytest.raises(ValueError, match=r"out: got .*read-only"):
            call()
    assert (out == 7).all()


def test_out_that_overlaps_x():
    """Handled: the result is as if x had been copied first."""
    for size in ((4, 4), (10, 9), (1, 1), (None, 3)):
        x = X.copy()
        expected = cpool.adaptive_avg_pool2d(x, size)
        for start in (slice(0, None), slice(-expected.shape[-1], None)):
            x = X.copy()
            out = x[:, :, -expected.shape[2] :, start][..., : expected.shape[3]]
            assert np.shares_memory(x, out)
            assert cpool.adaptive_avg_pool2d(x, size, out=out) is out
            assert_same_bits(np.ascontiguousarray(out), expected)
    x = X.copy()
    prepared = cpool.prepare("avg_pool2d", x, 3, 1, 1)
    expected = prepared(x)
    assert prepared(x, out=x) is x
    assert_same_bits(x, expected)


def test_x_may_be_given_by_name():
    assert_same_bits(cpool.adaptive_avg_pool2d(x=X, output_size=3), cpool.adaptive_avg_pool2d(X, 3))
    assert_same_bits(cpool.avg_pool2d(x=X, kernel_size=3, stride=2), cpool.avg_pool2d(X, 3, 2))
    with pytest.raises(TypeError, match="positional"):
        cpool.adaptive_avg_pool2d(X, 3, "channels_first")
    with pytest.raises(TypeError, match="unexpected"):
        cpool.adaptive_avg_pool2d(X, 3, stride=2)


# ---- backends ------------------------------------------------------------------------------------------


def test_the_cpu_by_every_way_of_asking():
    expected = cpool.adaptive_avg_pool2d(X, 3)
    assert_same_bits(cpool.adaptive_avg_pool2d(X, 3, backend="cpu"), expected)
    with cpool.use_backend("cpu"):
        assert_same_bits(cpool.adaptive_avg_pool2d(X, 3), expected)
        assert "use_backend" in cpool.explain("adaptive_avg_pool2d", X, 3).why
    assert "use_backend" not in cpool.explain("adaptive_avg_pool2d", X, 3).why
    assert "backend=" in cpool.explain("adaptive_avg_pool2d", X, 3, backend="cpu").why


@pytest.mark.parametrize("backend", ["opencl", "opencl:0", "opencl:Arc"])
def test_what_was_asked_for_and_is_missing_raises(backend, without_pyopencl):
    for _ in range(2):
        for call in (
            lambda: cpool.adaptive_avg_pool2d(X, 3, backend=backend),
            lambda: cpool.avg_pool2d(X, 3, backend=backend, out=np.empty((2, 3, 3, 3), np.float32)),
            lambda: cpool.global_avg_pool(X, backend=backend),
            lambda: cpool.prepare("adaptive_avg_pool2d", X, 3, backend=backend),
            lambda: cpool.explain("adaptive_avg_pool2d", X, 3, backend=backend),
            lambda: cpool.use_backend(backend).__enter__(),
        ):
            with pytest.raises(cpool.BackendUnavailable, match=r"opencl.*pip install"):
                call()
    assert issubclass(cpool.BackendUnavailable, RuntimeError)
    cpool.adaptive_avg_pool2d(X, 3)


@pytest.mark.parametrize(
    ("backend", "error"),
    [("nonsense", ValueError), ("opencl:", ValueError), ("", ValueError), ("CPU", ValueError), (3, TypeError)],
)
def test_wrong_backends(backend, error):
    cpool.adaptive_avg_pool2d(X, 3)  # a call seen before must not hide the argument
    with pytest.raises(error, match=r"^backend: got .*cpu.*opencl"):
        cpool.adaptive_avg_pool2d(X, 3, backend=backend)
    with pytest.raises(error, match=r"^backend: got .*cpu.*opencl"), cpool.use_backend(backend):
        pytest.fail("the block must not be entered")


def test_the_backend_of_the_environment(monkeypatch):
    expected = cpool.adaptive_avg_pool2d(X, 3)
    monkeypatch.setattr(dispatch, "_from_environment", "cpu")
    assert_same_bits(cpool.adaptive_avg_pool2d(X, 3), expected)
    assert "CPOOL_BACKEND" in cpool.explain("adaptive_avg_pool2d", X, 3).why
    monkeypatch.setattr(dispatch, "_from_environment", "nonsense")
    with pytest.raises(ValueError, match=r"CPOOL_BACKEND: got 'nonsense'"):
        cpool.adaptive_avg_pool2d(X, 3)
    monkeypatch.setattr(dispatch, "_from_environment", "opencl:no such device")
    with pytest.raises((cpool.BackendUnavailable, ValueError), match="CPOOL_BACKEND"):
        cpool.adaptive_avg_pool2d(X, 3)
    with cpool.use_backend("cpu"):  # what is nearer wins
        assert_same_bits(cpool.adaptive_avg_pool2d(X, 3), expected)
    assert_same_bits(cpool.adaptive_avg_pool2d(X, 3, backend="cpu"), expected)
    hidden = "import sys; sys.modules['pyopencl'] = None; "
    done = python(hidden + "import numpy, cpool; cpool.adaptive_avg_pool(numpy.ones(3), 2)", CPOOL_BACKEND="opencl")
    assert "BackendUnavailable: CPOOL_BACKEND: got 'opencl'" in done.stderr


# ---- prepare -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "uint8", "complex64", ">f4"])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "sparse", "reversed"])
def test_a_prepared_call_is_the_call(layout, dtype):
    x = place(sample(np.dtype(dtype), (2, 3, 10, 9)), layout)
    for operation, args, options in (
        ("adaptive_avg_pool2d", ((7, 5),), {}),
        ("avg_pool2d", (3, 2), {"padding": 1, "ceil_mode": True}),
        ("adaptive_avg_pool", ((1, 4),), {"axes": (0, 3)}),
        ("global_avg_pool", (), {"keepdims": False}),
        ("global_avg_pool", (), {"keepdims": True}),
    ):
        function = getattr(cpool, operation)
        expected = function(x, *args, **options)
        for spelling in (operation, function):
            prepared = cpool.prepare(spelling, x, *args, **options)
            for _ in range(3):
                result = prepared(x)
                assert_same_bits(result, expected)
                assert result.strides == expected.strides
            out = np.full(expected.shape, 7, expected.dtype)
            assert prepared(x, out=out) is out
            assert_same_bits(out, expected)
            assert prepared(x, out) is out
            for elsewhere in ("contiguous", "channels_last", "sparse", "unaligned"):
                np.testing.assert_array_equal(
                    prepared(place(x, elsewhere)), function(place(x, elsewhere), *args, **options)
                )


def test_a_prepared_call_refuses_other_arrays():
    prepared = cpool.prepare("adaptive_avg_pool2d", X, (7, 5))
    assert "adaptive_avg_pool2d" in repr(prepared)
    with pytest.raises(ValueError, match=r"^x: got .*; .*prepared for float32 of shape \(2, 3, 10, 9\)"):
        prepared(X[:1])
    with pytest.raises(ValueError, match=r"^x: got .*float64 .*; .*prepared for float32"):
        prepared(X.astype(float))
    with pytest.raises(ValueError, match=r"^out: got \(2, 3, 7, 6\); .*\(2, 3, 7, 5\)"):
        prepared(X, out=np.empty((2, 3, 7, 6), np.float32))
    with pytest.raises((ValueError, TypeError), match=r"^out: got .*float64.*float32"):
        prepared(X, out=np.empty((2, 3, 7, 5)))
    with pytest.raises(TypeError, match=r"^x: got "):
        prepared("x")
    assert_same_bits(prepared(X), cpool.adaptive_avg_pool2d(X, (7, 5)))


def test_a_prepared_call_follows_threads_and_instruction_sets():
    x = sample("float32", (8, 64, 56, 56))
    prepared = cpool.prepare("adaptive_avg_pool2d", x, 6)
    expected = prepared(x)
    for n in (1, 2, 3):
        with cpool.threads(n):
            assert_same_bits(prepared(x), expected)


@pytest.mark.parametrize("operation", ["nonsense", "max", "windows", ""])
def test_unknown_operations(operation):
    for function in (cpool.prepare, cpool.explain):
        with pytest.raises(ValueError, match=rf"^operation: got '{operation}'; .*adaptive_avg_pool2d"):
            function(operation, X, 3)
        for wrong in (print, 3, None):
            with pytest.raises(TypeError, match=r"^operation: got "):
                function(wrong, X, 3)


# ---- explain and configuration ---------------------------------------------------------------------------


def test_explain():
    told = cpool.explain("adaptive_avg_pool2d", X, (7, 3))
    assert told.operation == "adaptive_avg_pool2d"
    assert (told.x_shape, told.out_shape) == ((2, 3, 10, 9), (2, 3, 7, 3))
    assert (told.x_dtype, told.out_dtype) == ("float32", "float32")
    assert told.kind == "ragged"
    assert told.strided is None
    assert [a.kind for a in told.axes] == ["ragged", "tiled"]
    assert [(a.length, a.windows, a.smallest, a.largest) for a in told.axes] == [(10, 7, 2, 3), (9, 3, 3, 3)]
    assert [a.strided for a in told.axes] == [None, (3, 3)]
    assert told.backend == "cpu"
    assert told.simd == cpool.cpu.simd()
    assert told.threads == 1
    assert told.bytes_read == X.nbytes
    assert told.bytes_written == 2 * 3 * 7 * 3 * 4
    assert told.why
    assert told.kernel
    as_dict = told.to_dict()
    assert as_dict["kind"] == "ragged"
    assert as_dict["axes"][0]["windows"] == 7
    text = str(told)
    for part in ("10 -> 7", "ragged", told.simd, "cpu", "float32"):
        assert part in text
    with pytest.raises(AttributeError):
        told.kind = "tiled"


def test_explain_counts_what_windows_cover():
    x = np.ones((1, 1, 1000, 1000), np.float32)
    assert cpool.explain("avg_pool2d", x, 1, 10).bytes_read == 4 * 100 * 100
    assert cpool.explain("avg_pool2d", x, 5, 10).bytes_read == 4 * 500 * 500
    assert cpool.explain("adaptive_avg_pool2d", x, (None, 7)).bytes_read == x.nbytes
    assert cpool.explain("adaptive_avg_pool2d", x, (0, 7)).bytes_read == 0
    for kernel, stride, dilation, padding in itertools.product((1, 2, 3), (1, 2, 5), (1, 2, 3, 4), (0, 1)):
        told = cpool.explain("avg_pool1d", np.ones((2, 23)), kernel, stride, padding and kernel // 2, dilation=dilation)
        pad = padding and kernel // 2
        taps = {i * stride - pad + t * dilation for i in range(told.out_shape[1]) for t in range(kernel)}
        assert told.bytes_read == 16 * len(taps & set(range(23)))
    told = cpool.explain("adaptive_avg_pool2d", np.ones((2, 3, 8, 8), np.complex64), 4)
    assert (told.bytes_read, told.bytes_written) == (8 * 6 * 64, 8 * 6 * 16)
    assert cpool.explain("max_pool2d", X, 3, return_indices=True).bytes_written == (4 + 8) * 6 * 3 * 3


def test_explain_names_the_equal_strided_pooling():
    told = cpool.explain(cpool.adaptive_avg_pool2d, np.ones((1, 1, 14, 12), np.float32), (13, 4))
    assert told.kind == "overlapping"
    assert "(2, 3)" in told.strided
    assert "(1, 3)" in told.strided
    assert_same_bits(cpool.adaptive_avg_pool2d(X[..., :9, :], (8, 3)), cpool.avg_pool2d(X[..., :9, :], (2, 3), (1, 3)))
    assert cpool.explain("avg_pool2d", X, 3, 2, padding=1).kind == "ragged"
    assert cpool.explain("global_avg_pool", X).kind == "tiled"


def test_explain_writes_nothing_and_takes_every_option():
    out = np.full((2, 3, 4, 4), 7, np.float64)
    told = cpool.explain("adaptive_avg_pool2d", X, 4, out=out)
    assert told.out_dtype == "float64"
    assert (out == 7).all()
    assert cpool.explain("adaptive_avg_pool2d", X, 4, dtype=np.float16).out_dtype == "float16"
    assert cpool.explain("adaptive_avg_pool2d", X, (None, 0)).out_shape == (2, 3, 10, 0)
    big = np.broadcast_to(np.float32(1), (64, 64, 512, 512))
    with cpool.threads(2):
        assert cpool.explain("adaptive_avg_pool2d", big, 7).threads == 2
    with cpool.threads(1):
        assert cpool.explain("adaptive_avg_pool2d", big, 7).threads == 1


def test_devices_and_configuration(capsys):
    devices = cpool.devices()
    assert [d.backend for d in devices] == ["cpu", *(f"opencl:{i}" for i in range(len(devices) - 1))]
    assert devices[0].name
    cpool.show_config()
    printed = capsys.readouterr().out
    for part in (cpool.__version__, np.__version__, cpool.cpu.simd(), "threads", "compiler", "openmp", "opencl"):
        assert part in printed.lower() or part in printed
    assert cpool.show_config(mode="dicts")["cpool"] == cpool.__version__
    with pytest.raises(ValueError, match="mode: got 'text'"):
        cpool.show_config(mode="text")


def test_what_the_package_offers():
    for name in cpool.__all__:
        assert getattr(cpool, name) is not None
    wanted = {f"{f}{r}" for f in ("adaptive_avg_pool", "avg_pool") for r in ("", "1d", "2d", "3d")}
    wanted |= {"global_avg_pool", "windows", "strided_windows", "prepare", "explain", "set_num_threads"}
    wanted |= {"get_num_threads", "threads", "use_backend", "devices", "show_config", "BackendUnavailable"}
    assert wanted <= set(cpool.__all__)
    for name in wanted:
        assert getattr(cpool, name).__doc__, f"{name} has no documentation"


def test_the_examples_in_the_documentation_strings(tmp_path):
    run_python(
        "import doctest, importlib, pkgutil, cpool\n"
        "tried = 0\n"
        "for found in pkgutil.iter_modules(cpool.__path__):\n"
        "    if found.name in ('__main__', 'opencl'): continue\n"
        "    failed, count = doctest.testmod(importlib.import_module('cpool.' + found.name))\n"
        "    assert not failed\n"
        "    tried += count\n"
        "assert tried > 10, tried\n",
        CPOOL_CACHE_DIR=str(tmp_path),  # one of them measures this machine
    )


def test_aligned_arrays():
    for shape, dtype in (
        ((7, 5, 3), "float32"),
        (1, "uint8"),
        ((), "float64"),
        ((0, 4), "int16"),
        ([1000, 1001], "f2"),
    ):
        made = cpool.empty_aligned(shape, dtype)
        assert not made.size or arrays.in_lines(made).size == -(-made.nbytes // 64) * 64
        assert made.dtype == dtype
        assert made.shape == (tuple(shape) if isinstance(shape, (tuple, list)) else (shape,))
        assert made.ctypes.data % 4096 == 0 or not made.size
        assert made.flags.c_contiguous
        assert made.flags.writeable
        made[...] = 1
    for bad, error in ((-1, ValueError), ((3, -2), ValueError), (2.5, TypeError), ((2**40, 2**40), ValueError)):
        with pytest.raises(error, match=r"^shape: got"):
            cpool.empty_aligned(bad)
    with pytest.raises(TypeError, match=r"^dtype: got"):
        cpool.empty_aligned(3, object)


def test_bfloat16_is_known_without_being_imported():
    if BFLOAT16 is None:
        pytest.skip("ml_dtypes is not installed")
    run_python(
        "import sys, numpy as np, cpool\n"
        "cpool.adaptive_avg_pool2d(np.ones((1, 2, 5, 5), np.float16), 3)\n"
        "assert 'ml_dtypes' not in sys.modules\n"
        "import ml_dtypes\n"
        "x = cpool.adaptive_avg_pool2d(np.ones((1, 2, 5, 5), ml_dtypes.bfloat16), 3)\n"
        "assert x.dtype == ml_dtypes.bfloat16 and (x == 1).all()\n"
    )


# ---- outs that lie as they like -------------------------------------------------------------------------------


def test_an_out_that_overlaps_itself_is_refused():
    strided = np.lib.stride_tricks.as_strided
    x = np.arange(36.0).reshape(6, 6)
    for out in (
        strided(np.zeros(20), (3, 3), (8, 8)),
        strided(np.zeros(20), (3, 3), (8, 16)),
        strided(np.zeros(20), (3, 3), (0, 8)),
        strided(np.zeros(20), (3, 3), (12, 8)),
        strided(np.zeros(20)[10:], (3, 3), (-16, 8)),
    ):
        for call in (
            lambda out=out: cpool.adaptive_avg_pool(x, 3, out=out),
            lambda out=out: cpool.max_pool(x, 2, out=out),
            lambda out=out: cpool.prepare("adaptive_avg_pool", x, 3)(x, out=out),
            lambda out=out: cpool.adaptive_avg_pool_backward(x, (3, 3), out=out),
        ):
            with pytest.raises(ValueError, match=r"^out: got 'strides .*share memory"):
                call()
    expected = cpool.adaptive_avg_pool(x, 3)
    for out in (
        np.zeros((3, 6))[:, ::2],
        np.zeros((6, 3)).T[::-1, ::-2],
        strided(np.zeros(20), (3, 3), (8, 24)),
        strided(np.zeros((3, 3, 9)), (3, 3), (216, 72)),
        strided(np.zeros((3, 1, 3)), (3, 3), (24, 8)),
    ):
        assert cpool.adaptive_avg_pool(x, 3, out=out) is out
        assert_same_bits(out, expected)


def test_prepared_and_explained_without_the_axes_that_are_gone():
    for operation in ("global_avg_pool", "global_max_pool"):
        out = np.empty((2, 3), np.float32)
        prepared = cpool.prepare(operation, X, keepdims=False, out=out)
        expected = getattr(cpool, operation)(X, keepdims=False)
        assert prepared(X, out=out) is out
        assert_same_bits(out, expected)
        assert_same_bits(prepared(X), expected)
        for given in ({}, {"out": out}):
            assert cpool.explain(operation, X, keepdims=False, **given).out_shape == (2, 3)
        assert cpool.explain(operation, X).out_shape == (2, 3, 1, 1)
        with pytest.raises(ValueError, match=r"^out: got \(2, 3, 1, 1\)"):
            cpool.prepare(operation, X, keepdims=False, out=np.empty((2, 3, 1, 1), np.float32))
    pair = np.empty((2, 3), np.float32), np.empty((2, 3), np.int64)
    prepared = cpool.prepare("global_max_pool", X, keepdims=False, return_indices=True, out=pair)
    assert prepared(X, out=pair) is pair
    assert_same_bits(pair[1], cpool.global_max_pool(X, keepdims=False, return_indices=True)[1])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("operation", ["adaptive_avg_pool2d", "adaptive_max_pool2d"])
def test_a_prepared_call_does_what_the_function_does(operation, layout):
    function = getattr(cpool, operation)
    x = place(X, layout)
    for prepared in (
        cpool.prepare(operation, X, (7, 5)),
        cpool.prepare(operation, X, (7, 5), out=np.empty((2, 3, 7, 10), np.float32)[..., ::2]),
    ):
        for given in (x, X):
            expected = function(given, (7, 5))
            for _ in range(2):
                result = prepared(given)
                assert_same_bits(result, expected)
                assert result.strides == expected.strides
            for out in (
                np.empty((2, 3, 7, 5), ">f4"),
                np.empty((2, 3, 7, 10), np.float32)[..., ::2],
                np.empty((5, 7, 3, 2), np.float32).T,
            ):
                assert prepared(given, out=out) is out
                assert_same_bits(out.astype(np.float32), np.ascontiguousarray(expected))
        if operation == "adaptive_max_pool2d":
            continue
        with pytest.raises(TypeError, match=r"^out: got dtype float64; the result has dtype float32"):
            prepared(x, out=np.empty((2, 3, 7, 5)))


def unaligned(dtype, shape):
    """An array that begins one byte too late."""
    size = np.dtype(dtype).itemsize
    return np.ndarray(shape, dtype, bytearray(math.prod(shape) * size + 1), 1)


@pytest.mark.parametrize("last", [False, True], ids=["first", "last"])
@pytest.mark.parametrize("way", ["function", "prepared", "layer"])
def test_pairs_are_written_wherever_they_lie(way, last, engine):
    x = place(sample("float32", (2, 3, 10, 9)), "channels_last" if last else "contiguous")
    values, indices = cpool.adaptive_max_pool2d(x, 5, return_indices=True)
    call = {
        "function": functools.partial(cpool.adaptive_max_pool2d, output_size=5, return_indices=True),
        "prepared": cpool.prepare("adaptive_max_pool2d", x, 5, return_indices=True),
        "layer": cpool.nn.AdaptiveMaxPool2d(5, return_indices=True),
    }[way]
    shape = values.shape
    for _ in range(2):  # layers prepare the second call
        for pair in itertools.product(
            (
                np.empty_like(values),
                np.empty(shape, np.float32),
                np.empty(shape, ">f4"),
                np.empty((*shape[:3], 10), np.float32)[..., ::2],
                unaligned(np.float32, shape),
            ),
            (np.empty_like(indices), np.empty(shape, ">i8"), unaligned(np.int64, shape)),
        ):
            for part in pair:
                part[...] = 77
            assert call(x, out=pair) is pair
            assert_same_bits(pair[0].astype(np.float32), values.astype(np.float32, "C"))
            np.testing.assert_array_equal(pair[1], indices)


def test_a_pair_over_its_own_input():
    memory = np.zeros(64, np.int64)
    x = memory.view(np.float64)[:16].reshape(1, 16)
    x[...] = np.arange(16.0)[::-1]
    wanted = cpool.max_pool1d(x.copy(), 2, return_indices=True)
    values, indices = x[:, :8], memory[16:24].reshape(1, 8)
    cpool.max_pool1d(x, 2, return_indices=True, out=(values, indices))
    assert_same_bits(values, wanted[0])
    np.testing.assert_array_equal(indices, wanted[1])
