"""Every operation, type, layout, stride and option, on every engine, against exact results.

An engine is an instruction set with a number of threads (see conftest.py); a backend to come is one
more. `check` runs a call and holds it against the exact oracle and `cpool.reference`.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from helpers import BFLOAT16, DTYPES, FLOATS, HALVES, LAYOUTS, check, dtype_of, place, sample, swapped

import cpool
from cpool.explain import KERNELS

# Non-divisible first: a suite of divisible sizes only finds nothing.
PLANES = [
    ((2, 3, 10, 9), (7, 5)),
    ((1, 17, 7, 7), (2, 3)),
    ((1, 3, 13, 33), (4, 32)),
    ((2, 2, 5, 65), (3, 2)),
    ((1, 2, 4, 129), (3, 1)),
    ((1, 1, 3, 70), (2, 69)),
    ((1, 2, 2, 3), (4, 5)),
    ((1, 33, 3, 5), (1, 1)),
    ((2, 3, 8, 16), (4, 8)),
    ((3, 1, 1, 1), (2, 3)),
    ((2, 3, 4, 6), (4, None)),
]

CHANNELS = (65, 3, 17, 1, 15, 257, 63, 16, 64)
WIDTHS = (129, 33, 17, 7, 15, 31, 63, 65, 127, 255, 257, 3, 1, 2, 8, 16, 32, 64, 128, 256)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_type_in_every_layout(dtype, engine):
    for layout, (shape, size) in itertools.product(LAYOUTS, PLANES):
        check("adaptive_avg_pool2d", place(sample(dtype, shape, wide=True), layout), size)


@pytest.mark.parametrize("layout", ["channels_last", "contiguous", "channels_last_cropped"])
@pytest.mark.parametrize("dtype", [*FLOATS, "uint8", "int64"])
def test_every_number_of_channels(dtype, layout, engine):
    for channels in CHANNELS:
        x = place(sample(dtype, (2, channels, 3, 5), wide=True), layout)
        for size in ((2, 3), 1, (3, 2)):
            check("adaptive_avg_pool2d", x, size, compare_reference=False)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_width(dtype, engine):
    for width in WIDTHS:
        x = sample(dtype, (1, 2, 3, width), wide=True)
        for size in ((2, 3), (1, 1), (3, width // 2 + 1)):
            check("adaptive_avg_pool2d", x, size, compare_reference=False)


WIDE = {
    "one row too long": ((1, 2, 70_001), ("adaptive_avg_pool1d", 1)),
    "ragged long rows": ((2, 140_003), ("adaptive_avg_pool1d", 2)),
    "rows too many": ((1, 257, 259), ("adaptive_avg_pool2d", 1)),
    "ragged planes": ((2, 301, 450), ("adaptive_avg_pool2d", (1, 2))),
    "a volume": ((1, 37, 41, 61), ("adaptive_avg_pool3d", (1, 1, 1))),
    "just a block": ((1, 256, 256), ("adaptive_avg_pool2d", 1)),
    "one more": ((1, 65_537), ("adaptive_avg_pool1d", 1)),
    "overlapping": ((1, 257, 300), ("avg_pool2d", (256, 299))),
}


SOME_WIDE = ("ragged planes", "one row too long")  # for the types that share kernels with others


@pytest.mark.parametrize(
    ("dtype", "case"),
    [(d, c) for d in ("float32", "float64", "uint8") for c in WIDE]
    + [(d, c) for d in ("float16", "int16", "int32", "uint64", "complex64") for c in SOME_WIDE],
)
def test_windows_longer_than_a_block(dtype, case, engine):
    shape, (operation, size) = WIDE[case]
    options = {"stride": 1} if operation == "avg_pool2d" else {}
    for layout in ("contiguous", "channels_last", "sparse", "swapped_axes"):
        x = place(sample(dtype, shape, wide=True), layout)
        check(operation, x, size, compare_reference=False, **options)


STRIDED = {
    "ragged end": (3, {"stride": 2, "ceil_mode": True}),
    "padded": (3, {"stride": 2, "padding": 1}),
    "padded ceil": (3, {"stride": 2, "padding": 1, "ceil_mode": True}),
    "padding not counted": (3, {"stride": 2, "padding": 1, "count_include_pad": False}),
    "ceil, not counted": ((3, 2), {"stride": (2, 3), "padding": (1, 1), "ceil_mode": True, "count_include_pad": False}),
    "pairs": ((2, 4), {"stride": (1, 3), "padding": ((0, 1), (2, 1))}),
    "same_upper": ((3, 4), {"stride": 2, "padding": "same_upper"}),
    "same_lower": ((2, 5), {"stride": (3, 2), "padding": "same_lower"}),
    "same, counted": ((3, 4), {"stride": 2, "padding": "same_upper", "count_include_pad": True}),
    "valid": ((3, 2), {"stride": (2, 1), "padding": "valid"}),
    "dilated": (2, {"stride": 1, "dilation": (3, 2), "padding": 1}),
    "dilated far": ((2, 3), {"stride": (1, 2), "dilation": (2, 5)}),
    "same dilated": (3, {"stride": 2, "dilation": 2, "padding": "same_lower"}),
    "sums": (3, {"stride": 2, "divisor_override": 1}),
    "negative divisor": (2, {"stride": 3, "padding": 1, "divisor_override": -7}),
    "gaps": ((1, 2), {"stride": (3, 5)}),
    "overlapping": ((4, 6), {"stride": 1}),
    "tiled": ((3, 2), {}),
    "one": (1, {}),
    "one in three": (1, {"stride": 3}),
    "pads only count": (1, {"stride": (2, 1), "padding": 0, "ceil_mode": True}),
}


@pytest.mark.parametrize("case", STRIDED)
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "uint8", "int64", "complex64"])
def test_every_strided_option(dtype, case, engine):
    size, options = STRIDED[case]
    for layout in ("contiguous", "channels_last", "sparse", "reversed", "far_apart"):
        for shape in ((2, 3, 7, 11), (1, 5, 8, 12), (3, 9, 18)):
            check("avg_pool2d", place(sample(dtype, shape), layout), size, **options)


LINES = {
    "1-D ragged": ("adaptive_avg_pool1d", (2, 3, 37), 5, {}),
    "1-D last": ("adaptive_avg_pool1d", (2, 37, 3), 5, {"data_format": "channels_last"}),
    "1-D NLC": ("adaptive_avg_pool1d", (2, 13, 17), 4, {"data_format": "NLC"}),
    "1-D LC": ("adaptive_avg_pool1d", (13, 17), 4, {"data_format": "LC"}),
    "1-D bare": ("adaptive_avg_pool1d", (3, 37), 5, {"data_format": "CL"}),
    "2-D NHWC": ("adaptive_avg_pool2d", (2, 7, 9, 3), (5, 2), {"data_format": "NHWC"}),
    "2-D HWC": ("adaptive_avg_pool2d", (7, 9, 17), (5, 2), {"data_format": "HWC"}),
    "2-D CHW": ("adaptive_avg_pool2d", (17, 7, 9), (5, 2), {"data_format": "CHW"}),
    "3-D": ("adaptive_avg_pool3d", (2, 3, 5, 4, 7), (3, 2, 4), {}),
    "3-D last": ("adaptive_avg_pool3d", (1, 5, 4, 7, 3), (3, 2, 4), {"data_format": "NDHWC"}),
    "3-D bare": ("adaptive_avg_pool3d", (3, 5, 4, 7), (3, None, 4), {"data_format": "channels_first"}),
    "3-D DHWC": ("adaptive_avg_pool3d", (5, 4, 7, 3), (2, None, 1), {"data_format": "DHWC"}),
    "strided 1-D": ("avg_pool1d", (2, 3, 17), 4, {"stride": 3, "padding": 2, "ceil_mode": True}),
    "strided 1-D last": ("avg_pool1d", (2, 17, 3), 4, {"stride": 3, "padding": ((1, 2),), "data_format": "NLC"}),
    "strided 3-D": ("avg_pool3d", (1, 2, 5, 7, 6), (2, 3, 4), {"stride": (2, 2, 1), "padding": (1, 0, 2)}),
    "strided 3-D last": ("avg_pool3d", (1, 5, 7, 6, 5), 3, {"stride": 2, "padding": 1, "data_format": "NDHWC"}),
    "global 1-D": ("global_avg_pool", (2, 3, 37), None, {}),
    "global 2-D": ("global_avg_pool", (2, 17, 7, 7), None, {}),
    "global last": ("global_avg_pool", (2, 7, 7, 17), None, {"data_format": "channels_last"}),
    "global 3-D": ("global_avg_pool", (2, 3, 3, 5, 7), None, {"data_format": "NCDHW"}),
    "n-D all": ("adaptive_avg_pool", (7, 5), (3, 4), {}),
    "n-D one size": ("adaptive_avg_pool", (7, 5, 3), 2, {}),
    "n-D line": ("adaptive_avg_pool", (101,), 7, {}),
    "n-D first": ("adaptive_avg_pool", (11, 5, 3), 4, {"axes": 0}),
    "n-D apart": ("adaptive_avg_pool", (7, 5, 9, 4), (3, 5), {"axes": (0, 2)}),
    "n-D backwards": ("adaptive_avg_pool", (7, 5, 9, 4), (5, 3, None), {"axes": (-2, 0, 1)}),
    "n-D five": ("adaptive_avg_pool", (3, 4, 5, 3, 4), 2, {"axes": (0, 1, 2, 3, 4)}),
    "n-D four to one": ("adaptive_avg_pool", (3, 4, 5, 7, 2), 1, {"axes": (0, 1, 2, 3)}),
    "n-D none": ("adaptive_avg_pool", (3, 4), 2, {"axes": ()}),
    "n-D kept": ("adaptive_avg_pool", (3, 4), None, {}),
    "n-D strided": ("avg_pool", (9, 4, 7), (4, 3), {"stride": (2, 3), "axes": (0, -1), "padding": ((1, 0), (0, 2))}),
    "n-D strided all": ("avg_pool", (9, 7), 3, {"stride": 2, "dilation": 2}),
}


@pytest.mark.parametrize("case", LINES)
def test_every_operation_and_rank(case, engine):
    operation, shape, size, options = LINES[case]
    for dtype in ("float32", "float64", *HALVES, "uint8", "int64", "complex128"):
        x = sample(dtype, shape, wide=True)
        for layout in ("contiguous", "reversed_last", "fortran"):
            check(operation, place(x, layout), size, **options)


@pytest.mark.parametrize("dtype", [d for d in DTYPES if dtype_of(d).itemsize > 1 and d != "bfloat16"])
def test_the_other_byte_order(dtype, engine):
    item = swapped(dtype_of(dtype))
    for shape, size in PLANES:
        x = sample(dtype, shape, wide=True).astype(item)
        assert not x.dtype.isnative
        for layout in ("contiguous", "channels_last", "unaligned"):
            check("adaptive_avg_pool2d", place(x, layout), size, compare_reference=False)


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "complex64"])
def test_zero_strides(dtype, engine):
    for axis, (shape, size) in itertools.product(range(4), PLANES):
        narrow = [1 if a == axis else n for a, n in enumerate(shape)]
        x = np.broadcast_to(sample(dtype, tuple(narrow), wide=True), shape)
        assert x.strides[axis] == 0 or shape[axis] == 1
        check("adaptive_avg_pool2d", x, size)
    whole = np.broadcast_to(sample(dtype, (1,) * 4), (2, 3, 5, 7))
    check("adaptive_avg_pool2d", whole, (3, 4))


OTHER_TYPES = [
    ("float32", "float64"),
    ("float32", "float16"),
    ("float64", "float32"),
    ("float64", "float16"),
    ("float16", "float32"),
    ("float16", "float64"),
    ("bfloat16", "float32"),
    ("float32", "bfloat16"),
    ("float16", "bfloat16"),
    ("bfloat16", "float16"),
    ("uint8", "float64"),
    ("uint8", "float16"),
    ("uint8", "uint8"),
    ("int8", "int8"),
    ("uint16", "uint8"),
    ("int16", "int32"),
    ("int32", "uint32"),
    ("int32", "float32"),
    ("uint32", "int64"),
    ("int64", "int64"),
    ("int64", "float32"),
    ("int64", "bfloat16"),
    ("uint64", "uint64"),
    ("uint64", "int8"),
    ("bool", "uint8"),
    ("bool", "float64"),
    ("complex64", "complex128"),
    ("complex128", "complex64"),
]


@pytest.mark.parametrize(("source", "target"), OTHER_TYPES, ids=lambda t: t)
def test_another_type_of_result(source, target, engine):
    if "bfloat16" in (source, target) and BFLOAT16 is None:
        pytest.skip("ml_dtypes is not installed")
    for i, (shape, size) in enumerate(PLANES):
        x = sample(source, shape, wide=i % 2 == 1)
        for layout in ("contiguous", "channels_last", "sparse"):
            check("adaptive_avg_pool2d", place(x, layout), size, dtype=dtype_of(target))
    x = sample(source, (260, 253))
    check("adaptive_avg_pool", x, 1, dtype=dtype_of(target), compare_reference=False)


SPECIAL = {
    "nan": np.nan,
    "inf": np.inf,
    "-inf": -np.inf,
}


TAILS = [
    ((1, 1, 67), (1, 2)),
    ((1, 3, 37), (2, 5)),
    ((35, 1, 2), (1, 1)),
    ((1, 9, 5), (4, 3)),
]


@pytest.mark.parametrize("value", SPECIAL)
@pytest.mark.parametrize("dtype", [*FLOATS, "complex64", "complex128"])
def test_nan_and_infinity_in_every_lane_and_tail(dtype, value, engine):
    for ((channels, height, width), size), layout in itertools.product(
        TAILS, ("contiguous", "channels_last", "sparse", "swapped_axes")
    ):
        n = channels * height * width
        x = sample(dtype, (n, channels, height, width))
        x.reshape(n, n)[np.arange(n), np.arange(n)] = SPECIAL[value]  # image i has it at place i
        check("adaptive_avg_pool2d", place(x, layout), size, compare_reference=False)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("dtype", [*FLOATS, "complex64"])
def test_infinities_meet(dtype, layout, engine):
    x = sample(dtype, (1, 3, 7, 40))
    x[0, 0, 2, 3], x[0, 0, 2, 35] = np.inf, -np.inf
    x[0, 1, :, 20], x[0, 2, 6, 39] = -np.inf, np.nan
    for size in ((3, 7), 1, (7, 1), (2, 39)):
        check("adaptive_avg_pool2d", place(x, layout), size)
        check("avg_pool2d", place(x, layout), 2, divisor_override=-3, stride=1)


@pytest.mark.parametrize("order", ["first", "last"])
@pytest.mark.parametrize("shape", [(0, 3, 5, 7), (2, 0, 5, 7), (0, 0, 5, 7)], ids=str)
def test_empty_kept_axes(shape, order, engine):
    for dtype in (np.float32, np.uint8, np.complex64):
        x = np.empty(shape, dtype)
        last = order == "last"
        x = np.moveaxis(x, 1, -1) if last else x
        options = {"data_format": f"channels_{order}"}
        result = cpool.adaptive_avg_pool2d(x, (3, 4), **options)
        assert result.shape == ((shape[0], 3, 4, shape[1]) if last else (*shape[:2], 3, 4))
        result = cpool.avg_pool2d(x, 2, **options)
        assert result.shape == ((shape[0], 2, 3, shape[1]) if last else (*shape[:2], 2, 3))
        assert cpool.global_avg_pool(x, keepdims=False, **options).shape == shape[:2]


def test_empty_sizes(engine):
    x = sample("float32", (2, 3, 5, 7))
    assert cpool.adaptive_avg_pool2d(x, 0).shape == (2, 3, 0, 0)
    assert cpool.adaptive_avg_pool2d(x, (3, 0)).shape == (2, 3, 3, 0)
    assert cpool.adaptive_avg_pool2d(x, (0, 3)).shape == (2, 3, 0, 3)
    assert cpool.adaptive_avg_pool2d(x.astype(complex), (0, None)).shape == (2, 3, 0, 7)


def test_the_cases_above_reach_every_kernel():
    """If a kernel is reached by none of these shapes, this suite says nothing about it."""
    reached = set()
    for layout in ("contiguous", "channels_last", "sparse"):
        for shape, size in PLANES:
            x = place(sample("float32", shape), layout)
            reached.add(cpool.explain("adaptive_avg_pool2d", x, size).kernel)
        for shape, (operation, size) in WIDE.values():
            reached.add(cpool.explain(operation, place(np.zeros(shape, np.float32), layout), size).kernel)
    reached.add(cpool.explain("adaptive_avg_pool", np.zeros((3, 4)), None).kernel)
    elsewhere = {"sliding", "items", "groups", "lines", "parts"}  # for the largest only, in test_max.py; and of OpenCL
    assert reached == set(KERNELS) - elsewhere
