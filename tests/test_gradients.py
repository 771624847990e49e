"""Gradients, on every engine: exact sums rounded once, the same bits, and nothing believed that comes from outside.

`check_gradient` runs a call and holds it against the exact oracle, and its bits against the other engines'.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import inspect
import itertools
import math
import os
import weakref

import numpy as np
import pytest
from conftest import ENGINES, SIMD
from helpers import (
    COMPLEXES,
    FLOATS,
    HALVES,
    INTEGERS,
    LAYOUTS,
    assert_same_bits,
    assert_within_ulp,
    call,
    call_backward,
    call_max,
    check,
    check_gradient,
    check_max,
    dtype_of,
    exact_gradient,
    exact_max,
    exact_scatter,
    few,
    gradient_by_reference,
    in_both_layouts,
    own_windows,
    parts,
    place,
    remembered,
    repeat_as,
    result_shape,
    run_python,
    same_average_type,
    sample,
    swapped,
)
from hypothesis import given
from hypothesis import strategies as st
from test_accuracy import adversaries
from test_bits import CONTROL, FLUSH, MODES
from test_conformance import CHANNELS, LINES, PLANES, STRIDED, WIDE, WIDTHS
from test_functional import _outs
from test_fuzz import engines
from test_max import FOR_AVERAGES, LARGE, OPTIONS, max_of, strided_arguments, torch_pair

import cpool
from cpool import _kernels, arrays, cpu
from cpool.plan import Division, plans
from cpool.windows import transposed

ORDERS = ("contiguous", "channels_last", "sparse")


def average(dtype, operation, shape, size=None, layout="contiguous", **options):
    """A gradient of an average, checked."""
    grad = sample(dtype, result_shape(operation, shape, size, **options), wide=True)
    return check_gradient(operation, place(grad, layout), shape, size, **options)


def located(operation, shape, size=None, source="float32", **options):
    """The indices of a maximum over random numbers, or over ties."""
    x = few(source, shape) if source == "int8" else sample(source, shape)
    return np.ascontiguousarray(exact_max(operation, x, size, **options)[1])


def maximum(dtype, operation, shape, size=None, layout="contiguous", source="float32", **options):
    """A gradient of a maximum, checked."""
    indices = place(located(operation, shape, size, source, **options), layout)
    grad = place(sample(dtype, indices.shape, wide=True), layout)
    known = {k: options[k] for k in ("data_format", "axes") if k in options}
    return check_gradient(operation, grad, shape, indices=indices, **known)


# ---- conformance -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [*FLOATS, *COMPLEXES])
def test_averages_of_every_type_in_every_layout(dtype, engine):
    for layout, (shape, size) in itertools.product(LAYOUTS, PLANES):
        grad = sample(dtype, result_shape("adaptive_avg_pool2d", shape, size), wide=True)
        check_gradient(
            "adaptive_avg_pool2d", place(grad, layout), shape, size, compare_reference=math.prod(shape) < 500
        )


@pytest.mark.parametrize("dtype", FLOATS)
def test_maxima_of_every_type_in_every_layout(dtype, engine):
    for i, (layout, (shape, size)) in enumerate(itertools.product(LAYOUTS, PLANES)):
        indices = located("adaptive_max_pool2d", shape, size, ("float32", "int8")[i % 2])
        grad = sample(dtype, indices.shape, wide=True)
        other = (layout, "contiguous", "channels_last")[i % 3]
        pair = {"indices": place(indices, other), "compare_reference": math.prod(shape) < 500}
        check_gradient("adaptive_max_pool2d", place(grad, layout), shape, **pair)


@pytest.mark.parametrize("layout", ["channels_last", "contiguous"])
@pytest.mark.parametrize("dtype", [*FLOATS, "complex64"])
def test_every_number_of_channels(dtype, layout, simd):
    for channels in CHANNELS:
        for size in ((2, 3), (4, 2)):
            average(dtype, "adaptive_avg_pool2d", (2, channels, 3, 5), size, layout)
            if dtype in FLOATS:
                maximum(dtype, "adaptive_max_pool2d", (2, channels, 3, 5), size, layout)


@pytest.mark.parametrize("dtype", [*FLOATS, "complex128"])
def test_every_width(dtype, simd):
    for width in WIDTHS:
        for size in ((2, 3), (3, width // 2 + 1)):
            average(dtype, "adaptive_avg_pool2d", (1, 2, 3, width), size)
            if dtype in FLOATS:
                maximum(dtype, "adaptive_max_pool2d", (1, 2, 3, width), size)
        kernel = (2, min(3, width))
        options = {"stride": (1, 2), "padding": (1, min(3, width) // 2)}
        average(dtype, "avg_pool2d", (1, 2, 3, width), kernel, **options)
        if dtype in FLOATS:
            maximum(dtype, "max_pool2d", (1, 2, 3, width), kernel, **options)


@pytest.mark.parametrize(
    ("dtype", "case"),
    [(d, c) for d in ("float32", "float64") for c in ("one row too long", "ragged planes", "a volume", "overlapping")]
    + [("float16", "one more"), ("complex64", "just a block")],
)
def test_windows_longer_than_a_block(dtype, case, engine):
    """A gradient is divided by a large number, or goes to one element of many."""
    shape, (operation, size) = WIDE[case]
    options = {"stride": 1} if operation == "avg_pool2d" else {}
    for layout in ("contiguous", "channels_last"):
        average(dtype, operation, shape, size, layout, **options)


@pytest.mark.parametrize("case", STRIDED)
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "complex64"])
def test_every_strided_option(dtype, case, simd):
    size, options = STRIDED[case]
    plain = {k: v for k, v in options.items() if k not in FOR_AVERAGES}
    for shape in ((2, 3, 7, 11), (1, 5, 8, 12), (3, 9, 18)):
        for layout in (*ORDERS, "reversed", "far_apart"):
            average(dtype, "avg_pool2d", shape, size, layout, **options)
            if plain == options and dtype in FLOATS:
                maximum(dtype, "max_pool2d", shape, size, layout, "int8", **options)


@pytest.mark.parametrize("case", LARGE)
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_large_kernels_with_small_strides(dtype, case, simd):
    """An element gets a share of hundreds of windows."""
    shape, size, options = LARGE[case]
    name = f"avg_pool{len(shape) - 2}d" if options is not None else "adaptive_avg_pool2d"
    for layout in ORDERS:
        average(dtype, name, shape, size, layout, **(options or {}))
        maximum(dtype, max_of(name), shape, size, layout, "int8", **(options or {}))


@pytest.mark.parametrize("case", LINES)
def test_every_operation_and_rank(case, engine):
    operation, shape, size, options = LINES[case]
    small = math.prod(shape) < 500
    for dtype in (*FLOATS, "complex128"):
        for layout in ("contiguous", "reversed_last", "fortran"):
            grad = sample(dtype, result_shape(operation, shape, size, **options), wide=True)
            grad = place(grad, layout)
            check_gradient(operation, grad, shape, size, compare_reference=small, **options)
            if dtype in FLOATS:
                maximum(dtype, max_of(operation), shape, size, layout, "int8", **options)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "complex64"])
def test_the_other_byte_order(dtype, simd):
    for shape, size in PLANES:
        grad = sample(dtype, result_shape("adaptive_avg_pool2d", shape, size), wide=True)
        grad = grad.astype(swapped(grad.dtype))
        for layout in ("contiguous", "channels_last", "unaligned"):
            check_gradient("adaptive_avg_pool2d", place(grad, layout), shape, size)
            if dtype in FLOATS:
                indices = located("adaptive_max_pool2d", shape, size)
                for places in (indices, indices.astype(">i8"), indices.astype(">u4")):
                    check_gradient("adaptive_max_pool2d", place(grad, layout), shape, indices=place(places, layout))


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_zero_strides(dtype, simd):
    """What the gradient of a sum is: one number for all."""
    for axis, (shape, size) in itertools.product((0, 1, 2, 3, None), PLANES):
        wanted = result_shape("adaptive_avg_pool2d", shape, size)
        narrow = tuple(1 if axis in (a, None) else n for a, n in enumerate(wanted))
        grad = np.broadcast_to(sample(dtype, narrow, wide=True), wanted)
        check_gradient("adaptive_avg_pool2d", grad, shape, size)
        indices = located("adaptive_max_pool2d", shape, size)
        check_gradient("adaptive_max_pool2d", grad, shape, indices=indices)
        same = np.broadcast_to(indices[:1, :1, :1, :1], wanted)
        check_gradient("adaptive_max_pool2d", grad, shape, indices=same)


@pytest.mark.parametrize("kind", INTEGERS)
def test_indices_of_every_integer_type(kind, simd):
    grad = sample("float32", (2, 17, 5, 3), wide=True)
    indices = np.random.default_rng(3).integers(0, 7 * 11, grad.shape).astype(kind)
    for layout in ("contiguous", "channels_last", "reversed", "unaligned"):
        check_gradient("max_pool2d", grad, (2, 17, 7, 11), indices=place(indices, layout))
    check_gradient("max_pool2d", grad, (2, 17, 7, 11), indices=np.minimum(indices, 1))


MEETINGS = {"none": None, "some": 150_000, "many": 900, "one place": 1}  # of how many elements the indices name


@pytest.mark.parametrize("meeting", MEETINGS)
@pytest.mark.parametrize("dtype", FLOATS)
def test_few_outputs_in_large_planes(dtype, meeting, simd):
    """Gradients put among zeros: alone, meeting others, more of these than there is room for; in parts."""
    random = np.random.default_rng(7)
    for shape, outputs, data_format in (
        ((1, 1, 401, 399), (40, 60), "NCHW"),
        ((2, 3, 67, 65), (21, 33), "NCHW"),
        ((17, 2, 31, 33), (5, 7), "NCHW"),
        ((1, 67, 65, 3), (21, 33), "NHWC"),
        ((2, 41, 39, 65), (9, 11), "NHWC"),
    ):
        axes = (2, 3) if data_format == "NCHW" else (1, 2)
        wanted = list(shape)
        for axis, n in zip(axes, outputs, strict=True):
            wanted[axis] = n
        plane = math.prod(shape[a] for a in axes)
        grad = sample(dtype, tuple(wanted), wide=True)
        if meeting == "none":
            order = random.permutation(plane)[: math.prod(outputs)].reshape([n if n in outputs else 1 for n in wanted])
            indices = np.broadcast_to(order, wanted)
        else:
            indices = random.integers(0, min(MEETINGS[meeting], plane), wanted)
        check_gradient("adaptive_max_pool2d", grad, shape, indices=indices, data_format=data_format)


@pytest.mark.parametrize(
    ("shape", "data_format"), [((3, 1703, 1801), "channels_first"), ((1703, 1801, 3), "channels_last")]
)
def test_new_results_that_the_system_hands_out_as_zeros(shape, data_format, simd):
    """Beyond 32 MB nothing is cleared: what is fresh is what is written over."""
    random = np.random.default_rng(9)
    outputs = [17 if n > 3 else n for n in shape]
    for elements in (3_000_000, 900, 1):  # that meet none, some, all others
        indices = random.integers(0, elements, outputs)
        grad = sample("float32", tuple(outputs), wide=True)
        run = functools.partial(cpool.adaptive_max_pool2d_backward, grad, indices, shape, data_format=data_format)
        assert_same_bits(run(), run(out=np.full(shape, 7, np.float32)))
    indices[-1, -1, -1] = 1703 * 1801
    with pytest.raises(ValueError, match=r"^indices: got "):
        run()


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="only Linux tells what is resident")
def test_zeros_that_nobody_reads_take_no_memory():
    script = """
import numpy as np, cpool
resident = lambda: int(open("/proc/self/statm").read().split()[1]) * 4096
grad, indices = np.ones((1, 1, 1, 1), np.float32), np.full((1, 1, 1, 1), 5)
cpool.adaptive_max_pool2d_backward(grad, indices, (1, 1, 8, 8))
before = resident()
result = cpool.adaptive_max_pool2d_backward(grad, indices, (1, 1, 8192, 8192))
print((resident() - before) >> 20, result.nbytes >> 20)
"""
    taken, size = map(int, run_python(script).split())
    assert size == 256
    assert taken < 32


@pytest.mark.parametrize("dtype", FLOATS)
def test_planes_that_are_summed_in_parts(dtype, simd):
    """Of one piece of work a part at a time: what falls into another part lies in the plane all the same."""
    random = np.random.default_rng(8)
    for shape, outputs, axis in (((16, 16500), 4200, 1), ((16, 1100, 17), 300, 1)):
        wanted = (*shape[:axis], outputs, *shape[axis + 1 :])
        grad = sample(dtype, wanted, wide=True)
        indices = random.integers(0, shape[axis], wanted)
        check_gradient("max_pool", grad, shape, indices=indices, axes=axis)
        indices[-1, -1] = shape[axis]
        with pytest.raises(ValueError, match=f"^indices: got {shape[axis]}; a plane has {shape[axis]} elements"):
            cpool.max_pool_backward(grad, indices, shape, axes=axis)


def in_order(order: str, n: int, m: int) -> np.ndarray:
    """m indices below n."""
    random = np.random.default_rng(5)
    some = random.integers(0, n, m)
    once = random.permutation(n)[:m]
    return {
        "forward": np.sort(some),
        "nearly forward": np.clip(np.sort(some) + random.integers(-150, 150, m), 0, n - 1),
        "each once": np.sort(once),
        "once but for the last": np.append(np.sort(once[1:]), once.max()),
        "backward": np.sort(some)[::-1],
        "anywhere": some,
        "to and fro": np.arange(m) % 2 * (n - 1),
    }[order]


ORDERS_OF_INDICES = (
    "forward", "nearly forward", "each once", "once but for the last", "backward", "anywhere", "to and fro",
)  # fmt: skip


@pytest.mark.parametrize("order", ORDERS_OF_INDICES)
@pytest.mark.parametrize("dtype", FLOATS)
def test_indices_in_any_order(dtype, order, simd):
    """In large planes sums slide along with the indices as far as these go forward; results know nothing of it."""
    random = np.random.default_rng(6)
    for shape, outputs in (((11, 70_001, 1), 30_000), ((9, 4003, 37), 1300), ((1, 70_001, 3), 20_000)):
        places = np.broadcast_to(
            in_order(order, shape[1], outputs)[None, :, None], (shape[0], outputs, shape[2])
        ).copy()
        grad = random.integers(-8, 9, places.shape).astype(dtype_of(dtype))  # whose sums are exact
        sums = np.zeros(shape)
        np.add.at(sums, (np.arange(shape[0])[:, None, None], places, np.arange(shape[2])), grad.astype(float))
        run = functools.partial(cpool.max_pool_backward, grad, places, shape, axes=1)
        assert_same_bits(run(), sums.astype(grad.dtype))
        with cpool.threads(3), cpu.force_split():
            assert_same_bits(run(out=np.full(shape, 7, grad.dtype)), sums.astype(grad.dtype))
        places[-1, -1, -1] = shape[1]
        with pytest.raises(ValueError, match=f"^indices: got {shape[1]}; "):
            run()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_large_planes_are_divided_in_part(dtype, engine):
    """More outputs than are divided at once, in one plane or a few, each piece of work dividing what it reads."""
    average(dtype, "adaptive_avg_pool2d", (1, 1, 203, 199), (151, 149))
    average(dtype, "adaptive_avg_pool2d", (1, 203, 99, 3), (151, 73), data_format="NHWC")
    average(dtype, "adaptive_avg_pool3d", (2, 1, 41, 39, 37), (29, 27, 25))
    average(dtype, "adaptive_avg_pool1d", (1, 1, 30011), (20011,))
    average(dtype, "avg_pool2d", (1, 1, 303, 199), 3, stride=2, padding=1, count_include_pad=False)


REPEATED = [
    ("adaptive_avg_pool2d", (3, 5, 30, 23), (4, 3), {}),
    ("adaptive_avg_pool2d", (2, 3, 40, 57), (1, 5), {}),
    ("adaptive_avg_pool2d", (2, 3, 60, 2), (4, 2), {}),
    ("adaptive_avg_pool2d", (2, 35, 17, 9), (2, 1), {"data_format": "channels_last"}),
    ("adaptive_avg_pool1d", (3, 2, 517), 7, {}),
    ("adaptive_avg_pool3d", (2, 3, 9, 10, 11), (2, 3, 1), {}),
    ("adaptive_avg_pool3d", (2, 3, 12, 4, 20), (2, 1, 5), {}),
    ("adaptive_avg_pool2d", (4, 300, 5, 7), 1, {}),
    ("avg_pool2d", (2, 3, 33, 42), 4, {"stride": 4, "padding": 1, "ceil_mode": True}),
    ("avg_pool2d", (2, 3, 42, 33), (5, 4), {"stride": (7, 4), "count_include_pad": False, "padding": 2}),
    ("avg_pool2d", (2, 3, 27, 24), 3, {"divisor_override": 7, "data_format": "channels_first"}),
]


@pytest.mark.parametrize("case", REPEATED, ids=range(len(REPEATED)))
@pytest.mark.parametrize("dtype", [*FLOATS, "complex64"])
def test_results_that_are_like_their_neighbours(dtype, case, simd, monkeypatch):
    """One by one or repeated, in pieces or past the caches, in parts, into whatever out: the same bits."""
    operation, shape, size, options = case
    grad = sample(dtype, result_shape(operation, shape, size, **options))
    for how, split in itertools.product(("alone", "tiles", "pieces", "far"), (False, True)):
        found = repeat_as(monkeypatch, how)
        with cpu.force_split() if split else contextlib.nullcontext():
            result = check_gradient(operation, grad, shape, size, **options)
            if dtype not in ("float64", "complex64"):  # these are divided apart, if outputs have divisors of their own
                assert bool(found) == (how != "alone")
            if len(shape) == 4:
                for where, out in _outs(shape, dtype_of(dtype)).items():
                    call_backward(operation, grad, shape, size, out=out, **options)
                    assert_same_bits(out.astype(result.dtype), result, where)


@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS, "bool", "complex128"])
def test_more_windows_than_elements(dtype, simd, monkeypatch):
    """Averages and the largest, to more windows than there are elements: most are like the one before."""
    for how in ("alone", "tiles", "pieces", "far"):
        found = repeat_as(monkeypatch, how)
        for shape, size in (((2, 3, 4, 5), (13, 23)), ((1, 2, 3, 4), (3, 31)), ((2, 1, 7, 3), (20, 5))):
            for last in (False, True):
                x = sample(dtype, shape)
                if last:
                    x = np.ascontiguousarray(np.moveaxis(x, 1, -1))
                options = {"data_format": "channels_last" if last else "channels_first"}
                check("adaptive_avg_pool2d", x, size, **options)
                if "complex" not in dtype:
                    check_max("adaptive_max_pool2d", x, size, **options)
        assert bool(found) == (how != "alone")


@pytest.mark.parametrize(
    ("shape", "size"), [((1, 1, 131_072, 16), (1, 32)), ((1, 1, 65_536, 16), (16, 64)), ((1, 1, 80_000, 8), (64, 128))]
)
def test_much_to_read_is_shared_out_though_results_are_alike(shape, size):
    call = cpu.call_of(cpool.prepare("adaptive_avg_pool2d", np.broadcast_to(np.float32(1), shape).copy(), size).plan)
    assert call.units >= 8


@pytest.mark.parametrize("shape", [(1, 2, 70_001), (1, 70_001, 2)])
def test_rows_that_are_longer_than_what_is_built_at_once(shape, simd):
    options = {"data_format": "channels_first" if shape[1] == 2 else "channels_last"}
    length, size = max(shape), 11
    grad = sample("float64", tuple(size if n == length else n for n in shape))
    result = cpool.adaptive_avg_pool1d_backward(grad, shape, **options)
    assert result.nbytes // 2 > 1 << 18
    table = cpool.windows(length, size)
    expected = np.zeros(shape)
    for i, (start, stop) in enumerate(zip(table.starts, table.stops, strict=True)):
        where = np.s_[..., start:stop] if shape[1] == 2 else np.s_[:, start:stop]
        expected[where] += (grad[..., i, None] if shape[1] == 2 else grad[:, i, None]) / table.sizes[i]
    np.testing.assert_allclose(result, expected, rtol=1e-12)


@pytest.mark.parametrize("elements", [2100, 80_000])
@pytest.mark.parametrize("dtype", FLOATS)
def test_a_plane_that_needs_sums_changes_no_other(dtype, elements, simd):
    """How planes are shared out must not matter, but for what is in a NaN, which nobody promises."""
    kind = dtype_of(dtype)
    indices = np.broadcast_to(np.arange(2048), (64, 2048)).copy()
    indices[0] %= 1000
    grad = np.ones((64, 2048), kind)
    grad[:, 5] = np.nan
    grad[:, 7] = -0.0
    results = []
    for threads in (1, 2, 3):
        with cpool.threads(threads), cpu.force_split():
            result = cpool.max_pool_backward(grad, indices, (64, elements), axes=1)
            assert np.isnan(result[:, 5]).all()
            result[np.isnan(result)] = 0
            results.append(result.view(f"u{kind.itemsize}"))
    assert (results[0] == results[1]).all()
    assert (results[0] == results[2]).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e308])
def test_nothing_finite_in_a_large_plane(value):
    """A million sums that are not finite are looked at again, but not each at a million gradients: for minutes."""
    n = 1_000_000
    grad = cpool.max_pool_backward(np.full((1, n), value), np.arange(n)[None] // 2 * 2, (1, n), axes=1)
    assert (grad[0, 1::2] == 0).all()
    assert not np.isfinite(grad[0, ::2]).any()
    halves = cpool.max_pool_backward(np.full((1, n), 8e307), np.arange(n)[None] // 2 * 2, (1, n), axes=1)
    assert (halves[0, ::2] == 1.6e308).all()


def test_large_tables_of_divisors_are_not_remembered():
    """Nor by anything else, once the plans are forgotten."""
    shape = (1, 1, 301, 299)
    grad = np.ones(shape, np.float32)
    before = weakref.WeakSet(o for o in gc.get_objects() if type(o) is Division)
    cpool.avg_pool2d_backward(grad, shape, 3, 1, 1, count_include_pad=False)
    new = [o for o in gc.get_objects() if type(o) is Division and o not in before]
    assert len(new) == 1
    there = weakref.ref(new.pop())
    plans.clear()
    gc.collect()
    assert there() is None


def test_a_call_seen_before_looks_again(simd):
    """What is remembered is how arrays lie, never what they hold; what lies otherwise goes the long way."""
    shape = (2, 3, 9, 11)
    x = sample("float32", shape)
    grads = [sample("float32", (2, 3, 4, 5), wide=True) * k for k in (1, -3)]
    values, indices = cpool.adaptive_max_pool2d(x, (4, 5), return_indices=True)
    for _ in range(2):
        again = cpool.adaptive_max_pool2d(-x, (4, 5), return_indices=True)
        assert_same_bits(again[0], exact_max("adaptive_max_pool2d", -x, (4, 5))[0], "values")
        assert (again[1] == exact_max("adaptive_max_pool2d", -x, (4, 5))[1]).all()
        others = indices.astype(np.int32), place(indices, "sparse"), place(indices, "unaligned")
        for grad, where in itertools.product(grads, (indices, again[1], *others)):
            check_gradient("adaptive_max_pool2d", grad, shape, indices=where)
            check_gradient("adaptive_max_pool2d", place(grad, "channels_last"), shape, indices=where)
            check_gradient("adaptive_avg_pool2d", grad, shape, (4, 5))
    wrong = indices.copy()
    wrong[-1, -1, -1, -1] = 99
    with pytest.raises(ValueError, match=r"^indices: got 99; a plane has 99 elements"):
        cpool.adaptive_max_pool2d_backward(grads[0], wrong, shape)
    pair = np.empty_like(values), np.empty_like(indices)
    assert cpool.adaptive_max_pool2d(x, (4, 5), return_indices=True, out=pair) is pair
    assert_same_bits(pair[0], values, "out")


@pytest.mark.parametrize("last", [False, True])
def test_calls_that_were_only_seen_with_an_out_are_short(last, simd, monkeypatch):
    """Who always hands in an out pays for the long way once; what the short way can't do still takes the long one."""
    options = {"data_format": "channels_last"} if last else {}
    shape = (2, 9, 11, 3) if last else (2, 3, 9, 11)
    x = sample("float32", shape)
    values, indices = cpool.adaptive_max_pool2d(x, (4, 5), return_indices=True, **options)
    grad = sample("float32", values.shape)
    calls = [
        (cpool.adaptive_avg_pool2d, (x, (4, 5)), options),
        (cpool.avg_pool2d, (x, 3, 2, 1), {"count_include_pad": False, **options}),
        (cpool.global_max_pool, (x,), options),
        (cpool.adaptive_max_pool2d, (x, (4, 5)), {"return_indices": True, **options}),
        (cpool.max_pool2d, (x, 3, 2, 1), {"return_indices": True, **options}),
        (cpool.adaptive_avg_pool2d_backward, (grad, shape), options),
        (cpool.adaptive_max_pool2d_backward, (grad, indices, shape), options),
    ]

    def long_way(*args):
        raise AssertionError("the long way")

    for function, args, others in calls:
        expected = function(*args, **others)
        pair = isinstance(expected, tuple)
        _kernels.forget()
        out = tuple(np.empty_like(e) for e in expected) if pair else np.empty_like(expected)
        assert function(*args, **others, out=out) is out
        for part in out if pair else (out,):
            part[...] = 77
        with monkeypatch.context() as patch:
            patch.setattr(arrays, "admit", long_way)
            assert function(*args, **others, out=out) is out
            with pytest.raises(AssertionError, match="the long way"):
                function(*(a.copy("F") if isinstance(a, np.ndarray) else a for a in args), **others, out=out)
        for found, wanted in zip(out if pair else (out,), expected if pair else (expected,), strict=True):
            assert_same_bits(found, wanted, function.__name__)
        for part in out if pair else (out,):
            part.flags.writeable = False
        with pytest.raises(ValueError, match="read-only"):
            function(*args, **others, out=out)
    room = np.zeros(2 * indices.size, np.int64)
    overlapping = (
        room.view(np.float32)[: values.size].reshape(values.shape),
        room[: indices.size].reshape(indices.shape),
    )
    cpool.adaptive_max_pool2d(x, (4, 5), return_indices=True, **options)  # seen: the short way could be taken
    prepared = cpool.prepare("adaptive_max_pool2d", x, (4, 5), return_indices=True, **options)

    def seen(x, out):
        return cpool.adaptive_max_pool2d(x, (4, 5), return_indices=True, out=out, **options)

    for pool in (prepared, seen):
        with pytest.raises(ValueError, match="share memory"):
            pool(x, overlapping)
        for some in ((None, None), (np.empty_like(values), None), (None, np.empty_like(indices))):
            with pytest.raises(TypeError, match=r"^out: got 'NoneType'"):
                pool(x, some)
        pair = np.empty_like(values), place(np.empty_like(indices), "unaligned")
        assert pool(x, pair) is pair
        assert (pair[1] == indices).all()
    result = np.full(shape, 77, np.float32)
    wrong = indices.copy()
    wrong[-1, -1, -1, -1] = 99
    with pytest.raises(ValueError, match=r"^indices: got 99; a plane has 99 elements"):
        cpool.adaptive_max_pool2d_backward(grad, wrong, shape, out=result, **options)
    assert (result == 77).all()


def test_axes_may_be_named_in_any_order(simd):
    """Sizes, and divisors that differ along several axes, belong to the axis that is named."""
    for axes in itertools.permutations((0, 2, 3)):
        sizes = {0: 2, 2: 4, 3: 5}
        average("float32", "adaptive_avg_pool", (3, 2, 7, 11), tuple(sizes[a] for a in axes), axes=axes)
        options = {"stride": 2, "padding": 1, "ceil_mode": True, "count_include_pad": False, "axes": axes}
        average("float64", "avg_pool", (3, 2, 7, 11), tuple({0: 2, 2: 3, 3: 5}[a] for a in axes), **options)
        maximum("float32", "adaptive_max_pool", (3, 2, 7, 11), tuple(sizes[a] for a in axes), axes=axes)


@pytest.mark.parametrize("last", [False, True], ids=["first", "last"])
@pytest.mark.parametrize("dtype", FLOATS)
def test_the_gradient_of_windows_of_one_element_is_a_copy(dtype, last, simd):
    """And a zero is +0."""
    grad, options = sample(dtype, (3, 5, 7, 9)), {"data_format": "channels_last"} if last else {}
    grad.reshape(-1)[3] = -0.0
    for backward, args in ((cpool.adaptive_avg_pool2d_backward, ()), (cpool.avg_pool2d_backward, (1,))):
        assert_same_bits(backward(grad, grad.shape, *args, **options), grad + grad.dtype.type(0))
    assert transposed(cpool.windows(7, 7)).as_strided() == (1, 1)  # by which the plan knows it


def test_empty_gradients(simd):
    for shape, wanted in (
        ((0, 3, 5, 7), (0, 3, 3, 4)),
        ((2, 0, 5, 7), (2, 0, 3, 4)),
        ((2, 3, 5, 7), (2, 3, 0, 4)),
        ((2, 3, 5, 7), (2, 3, 0, 0)),
    ):
        for dtype in (np.float32, np.float16, np.complex64):
            grad = np.empty(wanted, dtype)
            result = cpool.adaptive_avg_pool2d_backward(grad, shape)
            assert (result.shape, result.dtype) == (shape, dtype)
            assert not result.any()
            if dtype != np.complex64:
                result = cpool.adaptive_max_pool2d_backward(grad, np.empty(wanted, np.int64), shape)
                assert (result.shape, result.dtype) == (shape, dtype)
                assert not result.any()


def test_elements_that_no_window_holds_get_nothing(simd):
    grad = np.full((1, 2, 3, 5), -5, np.float32)
    for layout in ORDERS:
        result = cpool.avg_pool2d_backward(place(grad, layout), (1, 2, 11, 17), 1, 4)
        assert (result[:, :, :9:4, :17:4] == -5).all()
        result[:, :, :9:4, :17:4] = 0
        assert_same_bits(np.ascontiguousarray(result), np.zeros(result.shape, np.float32))
        # dirty memory must not shine through
        out = np.full((1, 2, 11, 17), np.nan, np.float32)
        cpool.max_pool2d_backward(place(grad, layout), np.full(grad.shape, 5), out.shape, out=out)
        assert (out.reshape(2, -1)[:, 5] == -75).all()
        out.reshape(2, -1)[:, 5] = 0
        assert_same_bits(out, np.zeros(result.shape, np.float32))


# ---- exact -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", adversaries(np.dtype("f4"), 8))
@pytest.mark.parametrize("dtype", FLOATS)
def test_adversarial_sums(dtype, name, simd):
    """Rows whose sum in the type itself, or in plain float64, is off, met by one element."""
    for n in (61, 300):
        row = adversaries(dtype_of(dtype), n)[name]
        grad = np.stack([row, row[::-1], np.roll(row, 5)])
        for layout in ("contiguous", "fortran"):
            y = place(grad, layout)
            for few_ in (1, 3):  # one element has a share of hundreds of windows, of one or two elements each
                check_gradient("adaptive_avg_pool1d", y, (3, few_))
            check_gradient("avg_pool1d", y, (3, n + 36), 37, stride=1)
            check_gradient("avg_pool1d", y, (3, n), 37, stride=1, padding=18, count_include_pad=False)
            check_gradient("max_pool1d", y, (3, 5), indices=np.full(y.shape, 3))
            check_gradient("max_pool1d", y, (3, 5), indices=np.arange(3 * n).reshape(3, n) // 7 % 2)
    plane = adversaries(dtype_of(dtype), 33 * 35)[name].reshape(1, 33, 35)
    for layout in ORDERS:
        check_gradient("adaptive_avg_pool2d", place(plane, layout), (1, 5, 3))
        check_gradient("avg_pool2d", place(plane, layout), (1, 39, 41), 7, stride=1)
        check_gradient("max_pool2d", place(plane, layout), (1, 5, 3), indices=np.full(plane.shape, 14))


def test_more_than_the_type_can_count(simd):
    count = 2**24 + 11
    ones = np.broadcast_to(np.float32(1), (1, count))
    wanted = np.float32(count)
    assert cpool.adaptive_avg_pool1d_backward(ones, (1, 1)).item() == wanted
    indices = np.broadcast_to(np.int8(2), (1, count))
    assert cpool.max_pool1d_backward(ones, indices, (1, 3)).tolist() == [[0, 0, wanted]]


@pytest.mark.parametrize("dtype", HALVES)
def test_more_than_a_half_can_count(dtype, simd):
    """Sums of 5000 in a type of 8 or 11 digits stop growing at 256 or 2048 if added in that type."""
    grad = np.ones((1, 5000), dtype_of(dtype))
    wanted = np.float64(5000).astype(dtype_of(dtype))
    assert cpool.adaptive_avg_pool1d_backward(grad, (1, 1)).item() == wanted
    assert cpool.max_pool1d_backward(grad, np.zeros((1, 5000), int), (1, 1)).item() == wanted


@pytest.mark.parametrize("dtype", [*FLOATS, "complex64"])
def test_subnormal_gradients(dtype, simd):
    """Quotients below the normal range must not be rounded one by one."""
    part = {"complex64": "float32"}.get(dtype, dtype)
    tiny = 2.0 ** {"float16": -24, "bfloat16": -133, "float32": -149, "float64": -1074}[part]
    counts = np.random.default_rng(3).integers(-9, 30, (2, 3, 9, 35))
    grad = (counts * tiny).astype(dtype_of(dtype))
    for layout in ORDERS:
        y = place(grad, layout)
        check_gradient("avg_pool2d", y, (2, 3, 11, 37), 3, stride=1)
        check_gradient("avg_pool2d", y, (2, 3, 9, 35), 3, stride=1, padding=1, count_include_pad=False)
        check_gradient("avg_pool2d", y, (2, 3, 9, 35), 5, stride=1, padding=2, divisor_override=-7)
        check_gradient("adaptive_avg_pool2d", y, (2, 3, 20, 71))
        check_gradient("adaptive_avg_pool2d", y, (2, 3, 4, 17))
        check_gradient("adaptive_avg_pool2d", y, (2, 3, 10, 36))
        if dtype in FLOATS:
            check_gradient("max_pool2d", y, (2, 3, 5, 5), indices=counts % 25)


@pytest.mark.parametrize("huge", [1e300, np.inf], ids=str)
@pytest.mark.parametrize("dtype", ["float64", "complex128", "float32"])
def test_subnormal_gradients_beside_huge_ones(dtype, huge, simd):
    """What saves small quotients from underflow must not be switched off by other images."""
    item = np.dtype(dtype)
    part = np.finfo(item).dtype.type
    grad = (np.random.default_rng(3).integers(1, 30, (2, 1, 9, 9)) * np.finfo(item).smallest_subnormal).astype(item)
    grad[1, 0, 3, 3] = part(huge if np.isinf(huge) or part == np.float64 else 1e38)
    for layout in ORDERS:
        y = place(grad, layout)
        for back in (
            lambda g: cpool.avg_pool2d_backward(g, (len(g), 1, 9, 9), 3, 1, 1, count_include_pad=False),
            lambda g: cpool.adaptive_avg_pool2d_backward(g, (len(g), 1, 14, 13)),
        ):
            both = back(y)
            assert_same_bits(both[:1], back(y[:1]), layout)
            assert np.isfinite(both[1, 0, -1, -1])
    check_gradient("avg_pool2d", grad[:1], (1, 1, 9, 9), 3, stride=1, padding=1, count_include_pad=False)


@pytest.mark.parametrize("layout", ORDERS)
@pytest.mark.parametrize("dtype", [*FLOATS, "complex64", "complex128"])
def test_nothing_overflows_on_the_way(dtype, layout, simd):
    item = dtype_of(dtype)
    part = sample(dtype, (1,)).real.dtype
    top = np.nextafter(part.type(np.inf), part.type(0))
    x = np.full((2, 3, 7, 37), top, item)
    if item.kind == "c":
        x.imag = -top
    y, z = x.copy(), x.copy()
    y[..., ::2] *= -1
    z[:, :, 3:] *= -1
    for grad in (place(g, layout) for g in (x, y, z)):
        for shape in ((2, 3, 7, 37), (2, 3, 9, 50), (2, 3, 3, 5), (2, 3, 15, 73)):
            check_gradient("adaptive_avg_pool2d", grad, shape)
        check_gradient("avg_pool2d", grad, (2, 3, 9, 41), (3, 5), stride=1)
        for override in (1, -2, 7):
            check_gradient("avg_pool2d", grad, (2, 3, 9, 41), (3, 5), stride=1, divisor_override=override)
        if item.kind != "c":
            for places in (np.zeros(x.shape, int), np.arange(x.size).reshape(x.shape) // 2 % 4):
                check_gradient("max_pool2d", grad, (2, 3, 3, 3), indices=places)


@pytest.mark.parametrize("dtype", [*FLOATS, "complex64"])
def test_a_zero_gradient_is_positive(dtype, simd):
    zeros = np.full((2, 3, 9, 35), 0, dtype_of(dtype))
    cancel = zeros.copy()
    cancel[..., 0::2], cancel[..., 1::2] = 3, -3
    for grad, layout in itertools.product((zeros, -zeros, cancel), ORDERS):
        y = place(grad, layout)
        check_gradient("adaptive_avg_pool2d", y, (2, 3, 4, 17))
        check_gradient("adaptive_avg_pool2d", y, (2, 3, 18, 70))
        check_gradient("adaptive_avg_pool2d", y, (2, 3, 9, 35))
        check_gradient("avg_pool2d", y, (2, 3, 9, 35), 1, divisor_override=-3)
        summed = check_gradient("avg_pool2d", y, (2, 3, 10, 36), 2, stride=1)
        np.testing.assert_array_equal(np.signbit(parts(summed).astype(float)), parts(summed).astype(float) < 0)
        if dtype in FLOATS:
            check_gradient("max_pool2d", y, (2, 3, 5, 7), indices=np.arange(y.size).reshape(y.shape) // 2 % 35)


PLACES = [((1, 1, 67), (1, 33)), ((1, 3, 37), (2, 19)), ((33, 3, 2), (1, 1)), ((9, 5, 3), (2, 2)), ((1, 3, 4), (5, 7))]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf], ids=str)
@pytest.mark.parametrize("dtype", [*FLOATS, "complex64", "complex128"])
def test_nan_and_infinity_in_every_lane_and_tail(dtype, value, simd):
    """Image i has it at place i: it comes out where its window lies, and nowhere else."""
    for ((channels, *plane), size), layout in itertools.product(PLACES, (*ORDERS, "swapped_axes")):
        n = channels * size[0] * size[1]
        shape = (n, channels, *plane)
        grad = sample(dtype, (n, channels, *size))
        grad.reshape(n, n)[np.arange(n), np.arange(n)] = value
        check_gradient("adaptive_avg_pool2d", place(grad, layout), shape, size)
        if dtype in FLOATS:
            indices = located("adaptive_max_pool2d", shape, size, "int8")
            check_gradient("adaptive_max_pool2d", place(grad, layout), shape, indices=place(indices, layout))


@pytest.mark.parametrize("dtype", [*FLOATS, "complex64"])
def test_infinities_meet(dtype, simd):
    grad = sample(dtype, (1, 3, 7, 40))
    grad[0, 0, 2, 3], grad[0, 0, 2, 4] = np.inf, -np.inf
    grad[0, 1, :, 20], grad[0, 2, 6, 39] = -np.inf, np.nan
    for layout in ORDERS:
        y = place(grad, layout)
        check_gradient("adaptive_avg_pool2d", y, (1, 3, 5, 21))
        check_gradient("avg_pool2d", y, (1, 3, 9, 42), 3, stride=1, divisor_override=-3)
        if dtype in FLOATS:
            check_gradient("max_pool2d", y, (1, 3, 4, 5), indices=np.arange(840).reshape(y.shape) // 2 % 20)


# ---- what a gradient is ---------------------------------------------------------------------------------

ADJOINT = {
    **{case: (operation, shape, size, options) for case, (operation, shape, size, options) in LINES.items()},
    **{f"2-D {case}": ("avg_pool2d", (2, 3, 9, 14), size, options) for case, (size, options) in STRIDED.items()},
    **{f"plane {shape}": ("adaptive_avg_pool2d", shape, size, {}) for shape, size in PLANES},
}


@pytest.mark.parametrize("case", ADJOINT)
def test_a_gradient_is_the_transposed_average(case, simd):
    """<A x, y> = <x, A' y>, up to a few units in the last place of the sum of the sizes."""
    operation, shape, size, options = ADJOINT[case]
    x = sample("float64", shape, seed="x")
    y = sample("float64", result_shape(operation, shape, size, **options), seed="y")
    forward = call(operation, x, size, **options) * y
    backward = x * call_backward(operation, y, shape, size, **options)
    magnitude = float((call(operation, np.abs(x), size, **options) * np.abs(y)).sum())
    assert abs(math.fsum(forward.ravel()) - math.fsum(backward.ravel())) <= 2.0**-51 * abs(magnitude)


def test_sums_and_their_gradients_agree_to_the_last_bit(simd):
    for size, options in STRIDED.values():
        options = {**options, "divisor_override": 1}
        x = np.random.default_rng(0).integers(-99, 99, (2, 3, 9, 14)).astype(float)
        forward = cpool.avg_pool2d(x, size, **options)
        y = np.random.default_rng(1).integers(-99, 99, forward.shape).astype(float)
        assert (forward * y).sum() == (x * cpool.avg_pool2d_backward(y, x.shape, size, **options)).sum()


MAXIMA = [
    ("adaptive_max_pool2d", (2, 2, 7, 6), (3, 4), {}),
    ("adaptive_max_pool2d", (1, 2, 3, 2), (5, 4), {}),
    ("max_pool2d", (2, 2, 7, 6), 3, {"stride": 1, "padding": 1}),
    ("max_pool2d", (1, 7, 6, 3), (3, 2), {"stride": 2, "dilation": (1, 2), "data_format": "NHWC"}),
    ("max_pool1d", (2, 3, 13), 5, {"stride": 2, "padding": 2, "ceil_mode": True}),
    ("max_pool3d", (1, 2, 4, 5, 3), 2, {"stride": 1}),
    ("adaptive_max_pool", (5, 4, 6), (2, 3), {"axes": (2, 0)}),
    ("max_pool", (5, 4, 6), 2, {"axes": (0, 1), "stride": 1}),
    ("global_max_pool", (2, 3, 4, 5), None, {}),
]


@pytest.mark.parametrize(("operation", "shape", "size", "options"), MAXIMA, ids=range(len(MAXIMA)))
def test_maxima_by_finite_differences(operation, shape, size, options, simd):
    """Between distinct integers a maximum is linear: differences of a quarter are exact."""
    rng = np.random.default_rng(11)
    x = rng.permutation(math.prod(shape)).reshape(shape).astype(float)
    values, indices = call_max(operation, x, size, return_indices=True, **options)
    weights = rng.integers(-50, 50, values.shape).astype(float)
    known = {k: options[k] for k in ("data_format", "axes") if k in options}
    grad = call_backward(operation, weights, indices, shape, None, **known)
    assert (values * weights).sum() == (x * grad).sum()
    for at in np.ndindex(*shape):
        x[at] += 0.25
        up = (call_max(operation, x, size, **options) * weights).sum()
        x[at] -= 0.5
        down = (call_max(operation, x, size, **options) * weights).sum()
        x[at] += 0.25
        assert grad[at] == (up - down) / 0.5


def test_windows_that_share_their_maximum(simd):
    """Repeated indices add up, whatever lies between them."""
    x = np.zeros((2, 3, 9, 11), np.float32)
    x[:, :, 4, 5] = 1
    for layout in ORDERS:
        values, indices = cpool.max_pool2d(place(x, layout), 3, 1, 1, return_indices=True)
        assert (indices == 4 * 11 + 5).sum() == 9 * 6
        weights = np.arange(values.size, dtype=np.float32).reshape(values.shape)
        grad = cpool.max_pool2d_backward(weights, indices, x.shape)
        assert (grad[:, :, 4, 5] == weights[:, :, 3:6, 4:7].sum((2, 3))).all()
        check_gradient("max_pool2d", place(weights, layout), x.shape, indices=indices)


def test_indices_from_elsewhere_in_the_plane_are_taken(simd):
    """Only the plane is checked, not the window: gradients of masks and of unpooling come this way."""
    grad = np.arange(12, dtype=np.float64).reshape(1, 1, 3, 4)
    backwards = np.arange(12)[::-1].reshape(1, 1, 3, 4)
    assert (cpool.max_pool2d_backward(grad, backwards, grad.shape) == grad[..., ::-1, ::-1]).all()


# ---- the same bits -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_any_number_of_threads_as_they_are_used(dtype):
    """Work large enough to be split by itself: over planes, rows and channel blocks."""
    for shape, size, options in (
        ((4, 65, 57, 55), (7, 6), {}),
        ((1, 1, 1003, 999), (7, 5), {}),
        ((1, 1, 303, 299), (302, 298), {}),
        ((2, 99, 33, 65), (6, 5), {"data_format": "channels_last"}),
    ):
        grad = sample(dtype, result_shape("adaptive_avg_pool2d", shape, size, **options), wide=True)
        plane = np.prod(shape[1:3] if options else shape[2:])
        indices = np.random.default_rng(5).integers(0, plane, grad.shape)
        first = None
        for engine in (e for e in ENGINES if e.simd in SIMD):
            with cpu.force_simd(engine.simd), cpool.threads(engine.threads):
                results = (
                    cpool.adaptive_avg_pool2d_backward(grad, shape, **options),
                    cpool.adaptive_max_pool2d_backward(grad, indices, shape, **options),
                )
            first = first or results
            for a, b in zip(results, first, strict=True):
                assert_same_bits(a, b, f"{engine} {shape}")


@pytest.mark.parametrize("dtype", [*FLOATS, "complex64"])
def test_any_company(dtype, simd):
    """What one image gets does not depend on the others, nor on their number and order."""
    for layout, (shape, size) in itertools.product(ORDERS, PLANES):
        shape = (3, *shape[1:])
        grad = place(sample(dtype, result_shape("adaptive_avg_pool2d", shape, size), wide=True), layout)
        indices = place(np.random.default_rng(1).integers(0, math.prod(shape[2:]), grad.shape), layout)
        calls = [lambda g, i, s: cpool.adaptive_avg_pool2d_backward(g, s)]
        if dtype in FLOATS:
            calls.append(lambda g, i, s: cpool.adaptive_max_pool2d_backward(g, i, s))
        for function in calls:
            with cpool.threads(3), cpu.force_split():
                whole = function(grad, indices, shape)
            for part in (slice(0, 1), slice(2, None), slice(None, None, -1), slice(1, 3)):
                alone = function(grad[part], indices[part], (len(grad[part]), *shape[1:]))
                assert_same_bits(alone, whole[part], layout)
            assert_same_bits(function(grad[1], indices[1], shape[1:]), whole[1], layout)
            some = (3, shape[1] - 1, *shape[2:])
            assert_same_bits(function(grad[:, 1:], indices[:, 1:], some), whole[:, 1:], layout)


@pytest.mark.parametrize("dtype", [*FLOATS, "complex64"])
@pytest.mark.parametrize(("n", "m"), [(14, 13), (133, 2), (22, 3), (23, 11), (60, 6), (12, 12), (37, 1)])
def test_any_spelling(n, m, dtype, simd):
    kernel, stride = cpool.windows(n, m).as_strided()
    shape = (2, 3, n, n)
    for layout in ORDERS:
        grad = place(sample(dtype, (2, 3, m, m), wide=True), layout)
        expected = cpool.adaptive_avg_pool2d_backward(grad, shape)
        spellings = {
            "strided": cpool.avg_pool2d_backward(grad, shape, kernel, stride),
            "lists": cpool.avg_pool2d_backward(grad, list(shape), [kernel] * 2, (stride, stride), [[0, 0], 0]),
            "override": cpool.avg_pool2d_backward(grad, shape, kernel, stride, divisor_override=kernel * kernel),
            "axes": cpool.adaptive_avg_pool_backward(grad, shape, axes=(-1, 2)),
            "strided axes": cpool.avg_pool_backward(grad, shape, kernel, stride, axes=(3, 2)),
            "numbers": cpool.adaptive_avg_pool2d_backward(grad, tuple(np.array(shape))),
            "last": np.moveaxis(
                cpool.adaptive_avg_pool2d_backward(np.moveaxis(grad, 1, -1), (2, n, n, 3), data_format="channels_last"),
                -1,
                1,
            ),
        }
        if m == 1:
            spellings["global"] = cpool.global_avg_pool_backward(grad, shape)
            spellings["flat"] = cpool.global_avg_pool_backward(grad[..., 0, 0], shape, keepdims=False)
        for name, result in spellings.items():
            assert_same_bits(np.ascontiguousarray(result), np.ascontiguousarray(expected), f"{name}, {layout}")


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_any_spelling_of_a_maximum(dtype, simd):
    grad = sample(dtype, (2, 3, 4, 5), wide=True)
    indices = np.random.default_rng(2).integers(0, 63, grad.shape)
    shape = (2, 3, 7, 9)
    expected = cpool.max_pool2d_backward(grad, indices, shape)
    last = (np.moveaxis(a, 1, -1) for a in (grad, indices))
    for result in (
        cpool.adaptive_max_pool2d_backward(grad, indices, shape),
        cpool.max_pool_backward(grad, indices, shape, axes=(3, 2)),
        cpool.adaptive_max_pool_backward(grad, indices, list(shape), axes=(-2, -1)),
        np.moveaxis(cpool.max_pool2d_backward(*last, (2, 7, 9, 3), data_format="NHWC"), -1, 1),
    ):
        assert_same_bits(np.ascontiguousarray(result), expected)
    one = cpool.global_max_pool_backward(grad[:, :, :1, :1], indices[:, :, :1, :1], shape)
    assert_same_bits(cpool.max_pool2d_backward(grad[:, :, :1, :1], indices[:, :, :1, :1], shape), one)
    flat = cpool.global_max_pool_backward(grad[:, :, 0, 0], indices[:, :, 0, 0], shape, keepdims=False)
    assert_same_bits(flat, one)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", FLOATS)
def test_any_mode_of_the_caller(dtype, mode, simd, native):
    usual = native.native_mode() & CONTROL
    tiny = 2.0 ** {"float16": -24, "bfloat16": -133, "float32": -149, "float64": -1074}[dtype]
    counts = np.random.default_rng(7).integers(-9, 30, (2, 17, 13, 31))
    for grad, layout in itertools.product(
        ((counts * tiny).astype(dtype_of(dtype)), sample(dtype, counts.shape, wide=True)), ORDERS
    ):
        y = place(grad, layout)
        calls = [
            lambda y=y: cpool.adaptive_avg_pool2d_backward(y, (2, 17, 20, 47)),
            lambda y=y: cpool.avg_pool2d_backward(y, (2, 17, 15, 33), 3, 1),
            lambda y=y: cpool.max_pool2d_backward(y, counts + 9, (2, 17, 7, 9)),
        ]
        for function in calls:
            expected = function()
            native.native_set_mode(usual | MODES[mode])
            try:
                result = function()
                after = native.native_mode()
            finally:
                native.native_set_mode(usual)
            assert after & CONTROL == usual | MODES[mode], "the caller's mode comes back"
            assert_same_bits(result, expected, mode)


def test_subnormals_are_not_flushed(simd, native):
    """The test above would pass if both runs flushed."""
    grad = np.full((4, 17, 3, 5), 12 * 2.0**-149, np.float32)
    native.native_set_mode(native.native_mode() | FLUSH)
    try:
        shared = cpool.avg_pool2d_backward(grad, (4, 17, 6, 10), 2)
        whole = cpool.max_pool2d_backward(grad, np.broadcast_to(7, grad.shape), (4, 17, 6, 10))
    finally:
        native.native_set_mode(0x1F80)
    assert (shared.view(np.int32) == 3).all()
    assert (whole.reshape(4, 17, -1).view(np.int32)[..., 7] == 12 * 15).all()


def test_traps_and_flags_of_the_caller(native, native_path):
    """Unmasked exceptions don't stop a kernel, and its own leave no flags behind."""
    run_python(
        f"""
import ctypes, numpy as np
import cpool
native = ctypes.PyDLL({str(native_path)!r})
grad = np.full((2, 3, 4, 31), 3e38, np.float32)
grad[0, 0, 0, :3] = np.inf, -np.inf, 3 * 2.0**-149
indices = np.arange(grad.size).reshape(grad.shape) % 7
outs = [np.empty((2, 3, 7, 40), np.float32) for _ in range(2)]
def work():
    cpool.adaptive_avg_pool2d_backward(grad, outs[0].shape, out=outs[0])
    cpool.max_pool2d_backward(grad, indices, outs[1].shape, out=outs[1])
work()
trapping = 0x1f80 & ~(0x0080 | 0x0200 | 0x0400)  # invalid, division by zero and overflow are unmasked
native.native_set_mode(trapping)
work()
left = native.native_mode()
native.native_set_mode(0x1f80)
assert left == trapping, hex(left)
"""
    )


# ---- out ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", _outs((1, 1, 1, 1), np.dtype("f4")))
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "complex64"])
def test_out(dtype, where, simd):
    shape = (2, 3, 10, 9)
    for layout, size in itertools.product(ORDERS, ((7, 5), (1, 1), (12, 10))):
        grad = place(sample(dtype, (2, 3, *size), wide=True), layout)
        item = same_average_type(grad.dtype)
        out = _outs(shape, item)[where]
        assert cpool.adaptive_avg_pool2d_backward(grad, shape, out=out) is out
        exact = remembered(("out", dtype, size), lambda g=grad: exact_gradient("adaptive_avg_pool2d", g, shape))
        assert_within_ulp(out.astype(item), exact, grad.dtype)
        if dtype in FLOATS:
            indices = np.random.default_rng(1).integers(0, 90, grad.shape)
            out = _outs(shape, item)[where]
            assert cpool.max_pool2d_backward(grad, indices, shape, out=out) is out
            exact = remembered(
                ("out of max", dtype, size), lambda g=grad, i=indices: exact_scatter("max_pool2d", g, i, shape)
            )
            assert_within_ulp(out.astype(item), exact, grad.dtype)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_new_results_keep_the_order_of_axes(layout):
    grad = place(sample("float32", (2, 3, 4, 5)), layout)
    indices = place(np.zeros(grad.shape, np.int64), layout)
    for result in (
        cpool.adaptive_avg_pool2d_backward(grad, (2, 3, 9, 8)),
        cpool.avg_pool2d_backward(grad, (2, 3, 8, 10), 2),
        cpool.max_pool2d_backward(grad, indices, (2, 3, 9, 8)),
    ):
        assert result.strides == np.empty_like(grad, shape=result.shape).strides  # NumPy's order 'K'
        assert result.flags.writeable


def test_outs_that_overlap_the_gradient():
    """Handled or refused; never a wrong result."""
    memory = sample("float64", (2, 3, 10, 9))
    for name, make in {
        "average": lambda g, i, out: cpool.avg_pool2d_backward(g, out.shape, 3, 1, 1, out=out),
        "maximum": lambda g, i, out: cpool.max_pool2d_backward(g, i, out.shape, out=out),
        "indices": lambda g, i, out: cpool.max_pool2d_backward(g.copy(), i, out.shape, out=out),
    }.items():
        grad = memory.copy()
        places = np.random.default_rng(0).integers(0, 90, grad.shape)
        expected = make(grad.copy(), places.copy(), np.empty(grad.shape))
        for part in (slice(0, 2), slice(1, 3)):  # of one memory, the first or the last two thirds
            room = np.zeros((3, 3, 10, 9))
            out = room[:2]
            if name == "indices":
                places = room[part].view(np.int64)
                places[...] = np.random.default_rng(0).integers(0, 90, grad.shape)
            else:
                grad = room[part]
                grad[...] = memory
            try:
                make(grad, places, out)
            except ValueError as error:
                assert str(error).startswith("out: got")  # noqa: PT017
                continue
            assert_same_bits(np.ascontiguousarray(out), expected, name)


GRAD = sample("float32", (2, 3, 4, 4))
INDICES = np.random.default_rng(0).integers(0, 90, GRAD.shape)
SHAPE = (2, 3, 10, 9)
BACKWARD = {
    "adaptive_avg_pool2d": lambda **o: cpool.adaptive_avg_pool2d_backward(o.pop("grad", GRAD), SHAPE, **o),
    "avg_pool2d": lambda **o: cpool.avg_pool2d_backward(o.pop("grad", GRAD), SHAPE, (4, 3), 2, **o),
    "max_pool2d": lambda **o: cpool.max_pool2d_backward(o.pop("grad", GRAD), o.pop("indices", INDICES), SHAPE, **o),
}


@pytest.mark.parametrize("name", BACKWARD)
@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: np.full((2, 3, 10, 8), 7, "f4"), ValueError, r"out: got \(2, 3, 10, 8\); .*\(2, 3, 10, 9\)"),
        (lambda: np.full((3, 10, 9), 7, "f4"), ValueError, r"out: got \(3, 10, 9\); .*\(2, 3, 10, 9\)"),
        (lambda: np.full(SHAPE, 7, "f8"), TypeError, r"out: got .*float64"),
        (lambda: np.full(SHAPE, 7, "f2"), TypeError, r"out: got .*float16"),
        (lambda: np.full(SHAPE, 7, "i4"), TypeError, r"out: got .*int32"),
        (lambda: np.broadcast_to(np.float32(7), SHAPE), ValueError, r"out: got .*(read-only|strides)"),
        (
            lambda: np.lib.stride_tricks.as_strided(np.full(400, 7, "f4"), SHAPE, (0, 400, 36, 4)),
            ValueError,
            r"out: got .*strides",
        ),
        (lambda: [[7.0]], TypeError, r"out: got 'list'"),
        (lambda: (np.full(SHAPE, 7, "f4"), np.full(SHAPE, 7)), TypeError, r"out: got 'tuple'"),
    ],
    ids=range(9),
)
def test_wrong_outs(name, make, error, text):
    out = make()
    for _ in range(2):
        with pytest.raises(error, match="^" + text):
            BACKWARD[name](out=out)
    for array in out if isinstance(out, (tuple, list)) else [out]:
        assert (np.asarray(array) == 7).all(), "nothing may be written"


@pytest.mark.parametrize("at_end", [True, False], ids=["end", "start"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "complex64"])
def test_between_guards(dtype, at_end, simd):
    """Gradients, indices and results lie between pages that nobody may touch; inputs can't be written."""
    from test_memory import SHAPES, guarded, guarded_view  # here: it skips where pages can't be guarded

    def into_guards(operation, given, shape, size, **options):
        expected = call_backward(operation, *given, shape, size, **options)
        out = guarded(np.zeros(shape, expected.dtype), run=1, at_end=at_end, freeze=False)
        call_backward(operation, *given, shape, size, out=out, **options)
        np.testing.assert_allclose(  # another layout may give other bits
            out.astype(np.complex128), expected.astype(np.complex128), rtol=0.02, atol=0.02
        )

    for (shape, sizes), last in itertools.product(SHAPES, (False, True)):
        if last:
            shape = (shape[0], *shape[2:], shape[1])
        options = {"data_format": "channels_last" if last else "channels_first"}
        cases = [("adaptive_avg_pool2d", size, options) for size in sizes]
        if min(shape[1:3] if last else shape[2:]) > 1:
            cases.append(("avg_pool2d", 2, {"stride": 1, "padding": 1, **options}))
        for (operation, size, known), run in itertools.product(cases, (4, 1)):
            grad = guarded(sample(dtype, result_shape(operation, shape, size, **known)), run=run, at_end=at_end)
            check_gradient(operation, grad, shape, size, **known)
            into_guards(operation, (grad,), shape, size, **known)
            if dtype in FLOATS:
                indices = guarded(located(max_of(operation), shape, size, **known), run=run, at_end=at_end)
                check_gradient(max_of(operation), grad, shape, indices=indices, **options)
                into_guards(max_of(operation), (grad, indices), shape, None, **options)
    for shape, sizes in SHAPES:
        for steps, size in itertools.product(((1, 1, 1, 2), (1, 1, 1, -1), (1, 2, -1, 1), (-1, 1, 3, 3)), sizes):
            grad = sample(dtype, result_shape("adaptive_avg_pool2d", shape, size))
            grad = guarded_view(grad, steps, at_end=at_end)
            check_gradient("adaptive_avg_pool2d", grad, shape, size)
            if dtype in FLOATS:
                indices = guarded_view(located("adaptive_max_pool2d", shape, size), steps, at_end=at_end)
                check_gradient("adaptive_max_pool2d", grad, shape, indices=indices)


# ---- nothing from outside is believed --------------------------------------------------------------------------

HOSTILE = {
    "int64": [-1, -(2**63), 2**63 - 1, 2**32, 2**31, 90],
    "uint64": [2**64 - 1, 2**63, 2**63 + 5, 2**32 + 7, 90],
    "int32": [-1, -(2**31), 2**31 - 1, 90],
    "uint32": [2**32 - 1, 2**31, 90],
    "int16": [-1, -(2**15), 2**15 - 1, 90],
    "uint16": [2**16 - 1, 90],
    "int8": [-1, -128, 127, 90],
    "uint8": [255, 128, 90],
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_indices(kind, simd):
    """One bad index among good ones: an error that names it, and not one element is written."""
    for value, layout in itertools.product(HOSTILE[kind], (*ORDERS, "reversed")):
        for at in ((0, 0, 0, 0), (1, 16, 4, 2), (1, 3, 2, 1), (0, 16, 4, 2)):
            indices = np.random.default_rng(3).integers(0, 90, (2, 17, 5, 3)).astype(kind)
            indices[at] = value
            for places in (indices, indices.astype(swapped(indices.dtype))):
                places = place(places, layout)
                grad = place(np.ones(indices.shape, np.float32), layout)
                out = np.full((2, 17, 10, 9), 7, np.float32)
                for options in ({}, {"out": out}):
                    with pytest.raises(ValueError, match=rf"^indices: got .*{value}.*"):
                        cpool.max_pool2d_backward(grad, places, out.shape, **options)
                assert (out == 7).all(), "nothing may be written"


@pytest.mark.parametrize("dtype", FLOATS)
def test_a_bad_index_in_every_lane_and_tail(dtype, simd):
    for n, channels in ((67, 1), (33, 2), (1, 65), (1, 257)):
        out = np.full((1, channels, 5), 7, dtype_of(dtype))
        grad = np.ones((1, channels, n), dtype_of(dtype))
        for at, layout in itertools.product(range(n * channels), ("contiguous", "channels_last")):
            indices = np.zeros(grad.shape, np.int64)
            indices.reshape(-1)[at] = 5 if at % 2 else -1
            with pytest.raises(ValueError, match=r"^indices: got "):
                cpool.max_pool1d_backward(place(grad, layout), place(indices, layout), out.shape, out=out)
        assert (out == 7).all()


@pytest.mark.parametrize("name", ["adaptive_max_pool2d", "max_pool2d", "global_max_pool"])
def test_the_plane_is_what_counts(name, simd):
    """An index is checked against the pooled axes, by the shape and the format of the call."""
    size = (1, 1) if name == "global_max_pool" else (2, 3)
    function = getattr(cpool, name + "_backward")
    for last in (False, True):
        options = {"data_format": "channels_last" if last else "channels_first"}
        shape = (2, 5, 7, 3) if last else (2, 3, 5, 7)
        grad = np.ones((2, *size, 3) if last else (2, 3, *size))
        result = function(grad, np.full(grad.shape, 34), shape, **options)
        assert result.sum() == grad.size
        for bad in (35, 36, 104, -1):
            with pytest.raises(ValueError, match=rf"^indices: got .*{bad}"):
                function(grad, np.full(grad.shape, bad), shape, **options)
    with pytest.raises(ValueError, match=r"^indices: got .*35"):
        cpool.max_pool_backward(np.ones((3, 2)), np.full((3, 2), 35), (3, 35), axes=-1)
    assert cpool.max_pool_backward(np.ones((3, 2)), np.full((3, 2), 104), (3, 35)).sum() == 6


def test_the_plane_is_larger_than_an_index_can_count(simd):
    """Small integers can't leave a large plane, but negative ones can."""
    grad = np.ones((1, 1, 7))
    assert cpool.max_pool1d_backward(grad, np.full(grad.shape, 127, np.int8), (1, 1, 300))[0, 0, 127] == 7
    assert cpool.max_pool1d_backward(grad, np.full(grad.shape, 255, np.uint8), (1, 1, 300))[0, 0, 255] == 7
    with pytest.raises(ValueError, match=r"^indices: got .*-128"):
        cpool.max_pool1d_backward(grad, np.full(grad.shape, -128, np.int8), (1, 1, 300))


@pytest.mark.parametrize(
    ("indices", "error"),
    [
        (INDICES.astype(np.float64), TypeError),
        (INDICES.astype(np.float32), TypeError),
        (INDICES.astype(bool), TypeError),
        (INDICES.astype(complex), TypeError),
        (INDICES.astype(object), TypeError),
        (INDICES.astype("m8[s]"), TypeError),
        (INDICES.astype("U3"), TypeError),
        (np.ma.array(INDICES), TypeError),
        (None, TypeError),
        ("text", TypeError),
        (INDICES[..., :3], ValueError),
        (INDICES[0], ValueError),
        (INDICES[None], ValueError),
        (INDICES.ravel(), ValueError),
        (INDICES[..., None], ValueError),
        (INDICES[:, :, :, :1], ValueError),
        (INDICES.transpose(1, 0, 2, 3), ValueError),
        (np.int64(3), ValueError),
        (np.zeros(0, np.int64), ValueError),
    ],
    ids=range(19),
)
def test_wrong_indices(indices, error):
    out = np.full(SHAPE, 7, np.float32)
    for name in ("max_pool2d", "adaptive_max_pool2d"):
        for options in ({}, {"out": out}):
            with pytest.raises(error, match=r"^indices: got "):
                getattr(cpool, name + "_backward")(GRAD, indices, SHAPE, **options)
    assert (out == 7).all()


@pytest.mark.parametrize(
    "grad",
    [
        *(np.ones((2, 3, 4, 4), t) for t in (*INTEGERS, "bool", np.longdouble, object, "U3", "m8[s]")),
        np.ma.ones((2, 3, 4, 4)),
        np.zeros((2, 3, 4, 4), [("a", "f4")]),
        None,
        "text",
    ],
    ids=range(17),
)
def test_what_has_no_gradient(grad):
    for function in BACKWARD.values():
        with pytest.raises(TypeError, match=r"^grad: got "):
            function(grad=grad)


def test_maxima_are_not_complex():
    for dtype in (np.complex64, np.complex128):
        for name in ("max_pool2d", "adaptive_max_pool2d"):
            with pytest.raises(TypeError, match=r"^grad: got .*complex"):
                getattr(cpool, name + "_backward")(GRAD.astype(dtype), INDICES, SHAPE)


@pytest.mark.parametrize(
    ("name", "shape", "options"),
    [
        ("adaptive_avg_pool2d", (2, 4, 10, 9), {}),
        ("adaptive_avg_pool2d", (1, 3, 10, 9), {}),
        ("adaptive_avg_pool2d", (2, 3, 10, 9), {"data_format": "channels_last"}),
        ("adaptive_avg_pool", (2, 3, 10, 5), {"axes": 2}),
        ("avg_pool2d", (2, 3, 10, 9), {"kernel_size": 2}),
        ("avg_pool2d", (2, 3, 9, 9), {"kernel_size": 3, "stride": 2, "ceil_mode": True, "padding": 1}),
        ("avg_pool2d", (2, 3, 8, 9), {"kernel_size": 2, "stride": 2, "ceil_mode": True}),
        ("avg_pool2d", (3, 3, 8, 8), {"kernel_size": 2}),
        ("avg_pool", (2, 3, 8, 8), {"kernel_size": 2, "axes": (1, 2)}),
        ("global_avg_pool", (2, 3, 10, 9), {}),
        ("global_avg_pool", (2, 3, 4, 4, 5), {"keepdims": False}),
    ],
)
def test_gradients_of_the_wrong_shape(name, shape, options):
    """A gradient has the shape of the result, or is refused by name."""
    out = np.full(shape, 7, np.float32)
    for more in ({}, {"out": out}):
        with pytest.raises(ValueError, match=r"^grad: got \(2, 3, 4, 4\); .*\("):
            getattr(cpool, name + "_backward")(GRAD, shape, **options, **more)
    assert (out == 7).all()


@pytest.mark.parametrize("name", ["max_pool2d", "adaptive_max_pool2d", "global_max_pool"])
def test_gradients_of_maxima_of_the_wrong_shape(name):
    function = getattr(cpool, name + "_backward")
    shapes = [(1, 3, 10, 9), (2, 1, 10, 9), (3, 2, 10, 9)]
    for shape in [(2, 3, 10, 9)] if name == "global_max_pool" else shapes:
        with pytest.raises(ValueError, match=r"^grad: got \(2, 3, 4, 4\); .*\("):
            function(GRAD, INDICES, shape)
    if name == "global_max_pool":
        with pytest.raises(ValueError, match=r"^grad: got "):
            function(GRAD[:, :, :1, :1], INDICES[:, :, :1, :1], (2, 3, 10, 9), keepdims=False)
    else:
        with pytest.raises(ValueError, match=r"^grad: got "):
            function(GRAD, INDICES, (2, 3, 10, 9), data_format="channels_last")


@pytest.mark.parametrize(
    ("shape", "error"),
    [
        ((2, 3, -10, 9), ValueError),
        ((2, -3, 10, 9), ValueError),
        ((2, 3, 0, 9), ValueError),
        ((2, 3, 10, 0), ValueError),
        ((2, 3, 2**62, 9), ValueError),
        ((2, 3, 2**63, 9), ValueError),
        ((2, 3, 2**64 + 10, 9), ValueError),
        ((2, 3, 2**31, 2**31), ValueError),
        ((2, 3, 10.0, 9), TypeError),
        ((2, 3, True, 9), TypeError),
        ((2, 3, None, 9), TypeError),
        ((2, 3, "10", 9), TypeError),
        (None, TypeError),
        ("text", TypeError),
        (3.0, TypeError),
        ((10, 9), ValueError),
        ((1, 2, 3, 10, 9), ValueError),
        ((3, 10, 9), ValueError),
        ((), ValueError),
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["adaptive_avg_pool2d", "max_pool2d", "avg_pool2d"])
def test_hostile_shapes(name, shape, error):
    """Every one is refused before anything is allocated."""
    given = (GRAD, INDICES) if "max" in name else (GRAD,)
    rest = (3, 2) if name == "avg_pool2d" else ()
    for _ in range(2):
        with pytest.raises(error, match=r"^(input_shape|grad): got |larger than any array"):
            getattr(cpool, name + "_backward")(*given, shape, *rest)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: cpool.avg_pool2d_backward(GRAD, SHAPE, 0), ValueError, "kernel_size: got 0; "),
        (lambda: cpool.avg_pool2d_backward(GRAD, SHAPE, 11), ValueError, "kernel_size: got 11; "),
        (lambda: cpool.avg_pool2d_backward(GRAD, SHAPE, 2.0), TypeError, "kernel_size: got 2.0 of type float; "),
        (lambda: cpool.avg_pool2d_backward(GRAD, SHAPE, 2, 0), ValueError, "stride: got 0; "),
        (lambda: cpool.avg_pool2d_backward(GRAD, SHAPE, 2, 2, 2), ValueError, "padding: got 2; .*no element"),
        (lambda: cpool.avg_pool2d_backward(GRAD, SHAPE, 2, ceil_mode=1), TypeError, "ceil_mode: got 1 of type int; "),
        (lambda: cpool.avg_pool2d_backward(GRAD, SHAPE, 2, divisor_override=0), ValueError, "divisor_override: got 0"),
        (lambda: cpool.avg_pool2d_backward(GRAD, SHAPE, 2, dilation=0), ValueError, "dilation: got 0; "),
        (lambda: cpool.adaptive_avg_pool_backward(GRAD, SHAPE, axes=4), ValueError, "axes: got 4; "),
        (lambda: cpool.max_pool_backward(GRAD, INDICES, SHAPE, axes=(2, 2)), ValueError, r"axes: got \(2, 2\); "),
        (lambda: BACKWARD["max_pool2d"](data_format="HWNC"), ValueError, "data_format: got 'HWNC'; "),
        (lambda: BACKWARD["adaptive_avg_pool2d"](data_format=3), TypeError, "data_format: got 3"),
        (lambda: BACKWARD["avg_pool2d"](backend="nothing"), ValueError, "backend: got 'nothing'; "),
        (lambda: BACKWARD["max_pool2d"](backend="nothing"), ValueError, "backend: got 'nothing'; "),
        (lambda: cpool.global_avg_pool_backward(GRAD, SHAPE, keepdims=1), TypeError, "keepdims: got 1 of type int; "),
        (
            lambda: cpool.global_max_pool_backward(GRAD, INDICES, SHAPE, keepdims=None),
            TypeError,
            "keepdims: got None of type NoneType; ",
        ),
        (lambda: cpool.adaptive_avg_pool2d_backward(GRAD[0, 0], (10, 9)), ValueError, "(grad|input_shape): got "),
        (
            lambda: cpool.adaptive_avg_pool2d_backward(GRAD, np.ones((1, 2, 10, 9))),
            TypeError,
            r"input_shape: got an array of shape \(1, 2, 10, 9\) of type ndarray; the shape of x is needed",
        ),
        (lambda: cpool.adaptive_avg_pool2d_backward(GRAD, SHAPE, "channels_first"), TypeError, ".*positional"),
        (lambda: cpool.max_pool2d_backward(GRAD, SHAPE), TypeError, ".*argument"),
    ],
    ids=range(20),
)
def test_errors(call, error, text):
    for _ in range(2):  # what is remembered must not change it
        with pytest.raises(error, match="^" + text if not text.startswith(".*") else text):
            call()


def test_signatures():
    strided = "grad, input_shape, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=None"
    strided += ", divisor_override=None"
    for name, first, rest in [
        *((f"adaptive_avg_pool{r}d", "grad, input_shape", ["data_format"]) for r in (1, 2, 3)),
        *((f"avg_pool{r}d", strided, ["dilation", "data_format"]) for r in (1, 2, 3)),
        *((f"adaptive_max_pool{r}d", "grad, indices, input_shape", ["data_format"]) for r in (1, 2, 3)),
        *((f"max_pool{r}d", "grad, indices, input_shape", ["data_format"]) for r in (1, 2, 3)),
        ("adaptive_avg_pool", "grad, input_shape", ["axes"]),
        ("avg_pool", strided, ["dilation", "axes"]),
        ("adaptive_max_pool", "grad, indices, input_shape", ["axes"]),
        ("max_pool", "grad, indices, input_shape", ["axes"]),
        ("global_avg_pool", "grad, input_shape", ["data_format", "keepdims"]),
        ("global_max_pool", "grad, indices, input_shape", ["data_format", "keepdims"]),
    ]:
        name += "_backward"
        assert name in cpool.__all__
        parameters = list(inspect.signature(getattr(cpool, name)).parameters.values())
        keywords = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
        others = [p for p in parameters if p.kind is not p.KEYWORD_ONLY]
        assert ", ".join(p.name + ("" if p.default is p.empty else f"={p.default}") for p in others) == first
        assert sorted(keywords) == sorted([*rest, "out", "backend"])


# ---- torch ---------------------------------------------------------------------------------------------------

# Where torch and cpool differ, all by design: torch adds gradients in their own type (float16 and bfloat16 too)
# and in an order of its own, cpool exactly; torch averages without dilation and pads by half a kernel at most;
# torch believes the indices that its own forward made. Values are otherwise the same up to that rounding.


def backward_of(torch, function, x, grad):
    """torch's own gradient."""
    leaf = torch.from_numpy(x).requires_grad_()
    function(leaf).backward(torch.from_numpy(grad))
    return leaf.grad.numpy()


@pytest.mark.parametrize("shape", [(2, 3, 11), (1, 2, 11, 13), (2, 1, 8, 7), (1, 2, 6, 5, 7)], ids=str)
def test_strided_averages_like_torch(shape, module):
    torch = module("torch")
    rank = len(shape) - 2
    theirs = getattr(torch.nn.functional, f"avg_pool{rank}d")
    ours = getattr(cpool, f"avg_pool{rank}d_backward")
    x = sample("float64", shape)
    tried = 0
    for kernel, stride, padding, dilation, ceil_mode in OPTIONS:
        if padding > kernel // 2 or dilation > 1:
            continue
        for include, override in itertools.product([False, True], [None, 3] if rank > 1 else [None]):
            options = {"ceil_mode": ceil_mode, "count_include_pad": include}
            known = options if override is None else {**options, "divisor_override": override}
            pooled = functools.partial(theirs, kernel_size=kernel, stride=stride, padding=padding, **known)
            try:
                grad = sample("float64", tuple(pooled(torch.from_numpy(x)).shape))
            except RuntimeError as error:
                if "smaller than kernel" not in str(error):  # 3-D averages of torch want each kernel to fit
                    with pytest.raises(ValueError, match="kernel_size"):
                        ours(x, shape, kernel, stride, padding, **known)
                continue
            wanted = backward_of(torch, pooled, x, grad)
            result = ours(grad, shape, kernel, stride, padding, **known)
            np.testing.assert_allclose(
                result, wanted, rtol=1e-12, atol=1e-13, err_msg=str((kernel, stride, padding, known))
            )
            tried += 1
    assert tried > 30


@pytest.mark.parametrize("shape", [(2, 3, 9, 14), (1, 2, 9, 6, 8)], ids=str)
def test_averages_with_their_own_for_each_axis_like_torch(shape, module):
    torch = module("torch")
    theirs = getattr(torch.nn.functional, f"avg_pool{len(shape) - 2}d")
    ours = getattr(cpool, f"avg_pool{len(shape) - 2}d_backward")
    x = sample("float64", shape)
    divisors = ({"count_include_pad": True}, {"count_include_pad": False}, {"divisor_override": 3})
    for (kernel, stride, padding, _, ceil_mode), known in itertools.product(own_windows(shape, [(1, 1, 1)]), divisors):
        windows = {"kernel_size": kernel, "stride": stride, "padding": padding, "ceil_mode": ceil_mode, **known}
        pooled = functools.partial(theirs, **windows)
        grad = sample("float64", tuple(pooled(torch.from_numpy(x)).shape))
        wanted = backward_of(torch, pooled, x, grad)
        for result in in_both_layouts(lambda g, y, w=windows, **o: ours(g, y.shape, **w, **o), grad, x):
            np.testing.assert_allclose(result, wanted, rtol=1e-12, atol=1e-13, err_msg=str(windows))


def test_adaptive_averages_like_torch(module):
    torch = module("torch")
    for n, m in itertools.product([1, 2, 5, 7, 10, 13], [1, 2, 3, 4, 7, 9, 20]):
        x, grad = sample("float64", (2, 3, n, n + 3)), sample("float64", (2, 3, m, m + 1))
        wanted = backward_of(torch, lambda t, m=m: torch.nn.functional.adaptive_avg_pool2d(t, (m, m + 1)), x, grad)
        np.testing.assert_allclose(cpool.adaptive_avg_pool2d_backward(grad, x.shape), wanted, rtol=1e-12, atol=1e-13)
        line = x[:, :, 0]
        wanted = backward_of(
            torch, lambda t, m=m: torch.nn.functional.adaptive_avg_pool1d(t, m), line, grad[:, :, 0, :m]
        )
        result = cpool.adaptive_avg_pool1d_backward(grad[:, :, 0, :m], line.shape)
        np.testing.assert_allclose(result, wanted, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("shape", [(2, 3, 11), (1, 2, 11, 13), (1, 2, 6, 5, 7)], ids=str)
def test_maxima_like_torch(shape, module):
    """Integers as gradients: every order of additions gives the same."""
    torch = module("torch")
    rank = len(shape) - 2
    theirs = getattr(torch.nn.functional, f"max_pool{rank}d")
    x = few("float64", shape)
    tried = 0
    for kernel, stride, padding, dilation, ceil_mode in OPTIONS:
        if padding > kernel // 2:
            continue
        arguments = (kernel, stride, padding, dilation, ceil_mode)
        pair = torch_pair(torch, x, (*arguments, True))
        if pair is None:
            continue
        (_, indices), _ = pair
        grad = np.random.default_rng(0).integers(-99, 99, indices.shape).astype(float)
        wanted = backward_of(torch, lambda t, a=arguments: theirs(t, *a), x, grad)
        result = getattr(cpool, f"max_pool{rank}d_backward")(grad, indices, shape)
        np.testing.assert_array_equal(result, wanted, str(arguments))
        tried += 1
    assert tried > 60
    for size in ((3,) * rank, (4, 7, 2)[:rank], (1,) * rank):
        _, indices = getattr(cpool, f"adaptive_max_pool{rank}d")(x, size, True)
        grad = np.random.default_rng(0).integers(-99, 99, indices.shape).astype(float)
        adaptive = getattr(torch.nn.functional, f"adaptive_max_pool{rank}d")
        wanted = backward_of(torch, lambda t, a=adaptive, s=size: a(t, s), x, grad)
        result = getattr(cpool, f"adaptive_max_pool{rank}d_backward")(grad, indices, shape)
        np.testing.assert_array_equal(result, wanted)


@pytest.mark.parametrize("shape", [(2, 3, 9, 14), (1, 2, 9, 6, 8)], ids=str)
def test_maxima_with_their_own_for_each_axis_like_torch(shape, module):
    torch = module("torch")
    theirs = getattr(torch.nn.functional, f"max_pool{len(shape) - 2}d")
    ours = getattr(cpool, f"max_pool{len(shape) - 2}d_backward")
    x = few("float64", shape)
    for windows in own_windows(shape):
        indices = theirs(torch.from_numpy(x), *windows, True)[1].numpy()
        grad = np.random.default_rng(0).integers(-99, 99, indices.shape).astype(float)
        wanted = backward_of(torch, lambda t, w=windows: theirs(t, *w), x, grad)
        for result in in_both_layouts(lambda g, i, y, **o: ours(g, i, y.shape, **o), grad, indices, x):
            np.testing.assert_array_equal(result, wanted, str(windows))


def test_tensors_come_and_go(module):
    torch = module("torch")
    grad = torch.arange(35.0).reshape(1, 1, 7, 5)
    shape = torch.Size([1, 1, 10, 9])
    result = cpool.adaptive_avg_pool2d_backward(grad, shape)
    assert isinstance(result, torch.Tensor)
    np.testing.assert_array_equal(result.numpy(), cpool.adaptive_avg_pool2d_backward(grad.numpy(), tuple(shape)))
    indices = torch.arange(35).reshape(1, 1, 7, 5)
    result = cpool.max_pool2d_backward(grad, indices, shape)
    assert isinstance(result, torch.Tensor)
    assert torch.equal(result.ravel()[:35], grad.ravel())
    out = torch.empty(1, 1, 10, 9)
    assert cpool.max_pool2d_backward(grad, indices, shape, out=out) is out
    assert torch.equal(out, result)
    assert isinstance(cpool.max_pool2d_backward(grad.numpy(), indices, shape), np.ndarray)


# ---- anything goes ---------------------------------------------------------------------------------------------


def drawn_gradient(data, shape, types):
    """Random numbers in any layout, with NaN and infinities now and then."""
    grad = sample(data.draw(st.sampled_from(types)), shape, wide=True, seed=data.draw(st.integers(0, 99)))
    if data.draw(st.integers(0, 4)) == 0:
        for value in data.draw(st.lists(st.sampled_from([np.nan, np.inf, -np.inf]), max_size=3)):
            grad.reshape(-1)[data.draw(st.integers(0, grad.size - 1))] = value
    return place(grad, data.draw(st.sampled_from(sorted(LAYOUTS))))


def drawn_shape(data):
    ndim = data.draw(st.integers(1, 4))
    return tuple(data.draw(st.integers(1, (130, 30, 9, 6)[ndim - 1])) for _ in range(ndim))


@given(engines(), st.data())
def test_any_adaptive(engine, data):
    shape = drawn_shape(data)
    axes = tuple(data.draw(st.lists(st.integers(0, len(shape) - 1), min_size=1, max_size=len(shape), unique=True)))
    sizes = tuple(data.draw(st.integers(1, 12)) for _ in axes)
    wanted = result_shape("adaptive_avg_pool", shape, sizes, axes=axes)
    with cpu.force_simd(engine[0]), cpool.threads(engine[1]), cpu.force_split():
        grad = drawn_gradient(data, wanted, [*FLOATS, *COMPLEXES])
        check_gradient("adaptive_avg_pool", grad, shape, sizes, axes=axes)
        if grad.dtype.kind != "c":
            indices = np.random.default_rng(0).integers(0, math.prod(shape[a] for a in axes), wanted)
            check_gradient("adaptive_max_pool", grad, shape, indices=indices, axes=axes)


def test_windows_of_one_element_each_that_are_out_of_order(engine):
    """Padding takes the first tap of the first window, dilation the second of the second."""
    options = {"stride": 2, "padding": ((1, 0),), "dilation": 3, "ceil_mode": True, "axes": 0}
    table = cpool.strided_windows(4, 2, 2, padding=(1, 0), dilation=3, ceil_mode=True)
    assert (table.starts.tolist(), table.sizes.tolist()) == ([2, 1], [1, 1])
    for dtype in ("float16", "float32", "float64"):
        check_gradient("avg_pool", sample(dtype, (2,)), (4,), (2,), **options)
        check("avg_pool", sample(dtype, (4,)), (2,), **options)
        check_max("max_pool", sample(dtype, (4,)), (2,), **options)


@given(engines(), st.data())
def test_any_strided(engine, data):
    shape = drawn_shape(data)
    kernels, options = data.draw(strided_arguments(shape))
    more = {
        "count_include_pad": data.draw(st.sampled_from([None, True, False])),
        "divisor_override": data.draw(st.sampled_from([None, None, 7, -3])),
    }
    wanted = result_shape("avg_pool", shape, kernels, **options)
    with cpu.force_simd(engine[0]), cpool.threads(engine[1]), cpu.force_split():
        grad = drawn_gradient(data, wanted, [*FLOATS, *COMPLEXES])
        try:
            check_gradient("avg_pool", grad, shape, kernels, **options, **more)
        except ValueError as error:
            assert "no element" in str(error)  # noqa: PT017 - a window wholly in the padding is refused
            return
        if grad.dtype.kind != "c":
            indices = located("max_pool", shape, kernels, "int8", **options)
            check_gradient("max_pool", grad, shape, indices=indices, axes=options["axes"])


@given(engines(), st.data())
def test_any_indices(engine, data):
    """Good ones are added up, bad ones are refused by name, and nothing else happens."""
    shape = drawn_shape(data)
    plane = math.prod(shape)
    wanted = tuple(data.draw(st.integers(1, 5)) for _ in shape)
    kind = np.dtype(data.draw(st.sampled_from(INTEGERS)))
    info = np.iinfo(kind)
    near = st.integers(0, min(plane - 1, int(info.max)))
    anything = st.one_of(near, near, near, st.integers(int(info.min), int(info.max)))
    values = [data.draw(anything) for _ in range(math.prod(wanted))]
    indices = place(np.array(values, kind).reshape(wanted), data.draw(st.sampled_from(sorted(LAYOUTS))))
    with cpu.force_simd(engine[0]), cpool.threads(engine[1]), cpu.force_split():
        grad = drawn_gradient(data, wanted, FLOATS)
        if all(0 <= v < plane for v in values):
            check_gradient("max_pool", grad, shape, indices=indices)
            return
        out = np.full(shape, 7, grad.dtype)
        with pytest.raises(ValueError, match=r"^indices: got "):
            cpool.max_pool_backward(grad, indices, shape, out=out)
        assert (out == 7).all()


# ---- the oracle --------------------------------------------------------------------------------------------------


def test_the_oracle_by_hand():
    grad = np.array([[6.0, -3.0, 9.0]])
    # windows of 3 elements, 2 apart, padded by 1: there are 2, 3 and 2 inside
    for exact, counted in (([[2.0, 1.0, -1.0, 2.0, 3.0]], True), ([[3.0, 2.0, -1.0, 3.5, 4.5]], False)):
        options = {"stride": 2, "padding": 1, "count_include_pad": counted}
        assert gradient_by_reference("avg_pool1d", (grad,), (1, 5), 3, **options).tolist() == exact
        found = exact_gradient("avg_pool1d", grad, (1, 5), 3, **options)
        assert_within_ulp(np.array(exact), found, grad.dtype)
    indices = np.array([[4, 1, 4]])
    assert gradient_by_reference("max_pool1d", (grad, indices), (1, 5), None).tolist() == [[0, -3, 0, 0, 15]]
    found = exact_scatter("max_pool1d", grad, indices, (1, 5))
    assert_within_ulp(np.array([[0.0, -3, 0, 0, 15]]), found, grad.dtype)
    with pytest.raises(AssertionError, match="ULP off"):
        assert_within_ulp(np.array([[0.0, -3, 0, 0, 15.000000000000004]]), found, grad.dtype)
    nothing = exact_gradient("avg_pool1d", 0 * grad, (1, 5), 3, stride=2, padding=1)
    with pytest.raises(AssertionError, match=r"a zero average is \+0"):
        assert_within_ulp(np.full((1, 5), -0.0), nothing, grad.dtype, zeros=False)


@pytest.mark.parametrize("dtype", [*FLOATS, *COMPLEXES])
@pytest.mark.parametrize(
    "case", ["ragged end", "padded", "ceil, not counted", "pairs", "same_lower", "dilated", "sums"]
)
def test_the_oracle_is_the_reference(dtype, case):
    size, options = STRIDED[case]
    shape = (2, 7, 11)
    grad = sample(dtype, result_shape("avg_pool2d", shape, size, **options), wide=True)
    grad.reshape(-1)[[0, 3, 7]] = np.nan, np.inf, -np.inf
    expected = gradient_by_reference("avg_pool2d", (grad,), shape, size, **options)
    assert_within_ulp(expected, exact_gradient("avg_pool2d", grad, shape, size, **options), grad.dtype)
    if dtype in FLOATS:
        indices = np.random.default_rng(0).integers(0, 77, grad.shape)
        expected = gradient_by_reference("max_pool2d", (grad, indices), shape, None)
        assert_within_ulp(expected, exact_scatter("max_pool2d", grad, indices, shape), grad.dtype)


@pytest.mark.parametrize("keepdims", [True, False])
@pytest.mark.parametrize(
    ("indices", "error"),
    [
        (None, TypeError),
        ("where", TypeError),
        (np.ma.masked_array(np.zeros((1, 2), int)), TypeError),
        (np.zeros((1, 3), int), ValueError),
        (np.zeros((1, 2, 1), int), ValueError),
    ],
    ids=["none", "text", "masked", "other shape", "other rank"],
)
def test_bad_indices_of_a_global_gradient_are_called_so(indices, error, keepdims):
    grad = np.ones((1, 2, 1, 1) if keepdims else (1, 2), np.float32)
    with pytest.raises(error, match=r"^indices: got"):
        cpool.global_max_pool_backward(grad, indices, (1, 2, 3, 3), keepdims=keepdims)


def test_without_the_axes_indices_have_none_either():
    grad = np.ones((1, 2), np.float32)
    with pytest.raises(ValueError, match=r"^indices: got \(1, 2, 1, 1\); .*\(1, 2\)"):
        cpool.global_max_pool_backward(grad, np.zeros((1, 2, 1, 1), int), (1, 2, 3, 3), keepdims=False)
