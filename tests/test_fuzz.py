"""Anything goes: shapes, strides, types, layouts and options against the exact oracle."""

from __future__ import annotations

import helpers
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import cpool
from cpool import cpu

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
    "complex128",
]


@st.composite
def arrays(draw):
    """A small array of any type that lies anyhow in memory."""
    ndim = draw(st.integers(1, 4))
    shape = tuple(draw(st.integers(1, 40 if ndim < 3 else 9)) for _ in range(ndim))
    x = helpers.sample(draw(st.sampled_from(TYPES)), shape, wide=True, seed=draw(st.integers(0, 99)))
    order = draw(st.permutations(range(ndim)))
    x = np.ascontiguousarray(x.transpose(order)).transpose(np.argsort(order))
    for axis in range(ndim):
        how = draw(st.sampled_from(["as is", "as is", "flip", "skip", "same"]))
        cut = [slice(None)] * ndim
        if how == "flip":
            cut[axis] = slice(None, None, -1)
            x = x[tuple(cut)]
        elif how == "skip":
            cut[axis] = slice(None, None, 2)
            x = np.repeat(x, 2, axis)[tuple(cut)]
        elif how == "same":
            cut[axis] = slice(0, 1)
            x = np.broadcast_to(x[tuple(cut)], x.shape)
    how = draw(st.sampled_from(["as is", "as is", "swapped", "unaligned"]))
    if how == "swapped" and x.dtype.name != "bfloat16":
        return x.astype(helpers.swapped(x.dtype), order="K")
    return helpers.place(x, "unaligned") if how == "unaligned" else x


def result_types(dtype):
    """What `dtype=` may be for an average of this type."""
    if dtype.kind == "c":
        return helpers.COMPLEXES
    return (*helpers.FLOATS, *helpers.INTEGERS) if dtype.kind in "biu" else helpers.FLOATS


def every_way(data, operation, x, size=None, **options):
    """An average with any type of result: checked, prepared, and into an array that lies anyhow."""
    name = data.draw(st.sampled_from([None, *result_types(x.dtype)]))
    options["dtype"] = name and helpers.dtype_of(name)
    result = helpers.check(operation, x, size, compare_reference=False, **options)
    prepared = cpool.prepare(operation, x, *helpers.size_of(operation, size), **options)
    helpers.assert_same_bits(prepared(x), result, "prepared")
    out = drawn_out(data, result)
    assert prepared(x, out=out) is out
    helpers.assert_same_bits(out, result, "prepared, into out")
    if data.draw(st.booleans()) and result.dtype != helpers.BFLOAT16:
        out = out.astype(helpers.swapped(out.dtype), order="K")
    out[...] = 1
    assert helpers.call(operation, x, size, **options, out=out) is out
    helpers.assert_same_bits(out.astype(result.dtype), result, "into out")
    return result


def every_way_of_the_largest(data, operation, x, size=None, **options):
    """A maximum with its indices: checked, prepared, and into a pair of arrays that lie anyhow."""
    pair = helpers.check_max(operation, x, size, **options)
    options["return_indices"] = True
    outs = tuple(drawn_out(data, r) for r in pair)
    prepared = cpool.prepare(operation, x, *helpers.size_of(operation, size), **options)
    assert prepared(x, out=outs) is outs
    for made in (outs, helpers.call_max(operation, x, size, **options, out=tuple(drawn_out(data, r) for r in pair))):
        for one, wanted in zip(made, pair, strict=True):
            helpers.assert_same_bits(one, wanted, "into a pair")
    return pair


def drawn_out(data, result):
    return helpers.place(np.ones_like(result), data.draw(st.sampled_from(sorted(helpers.LAYOUTS))))


@st.composite
def engines(draw):
    return draw(st.sampled_from(cpu.simd_available())), draw(st.integers(1, 3))


@given(arrays(), engines(), st.data())
def test_adaptive(x, engine, data):
    axes = tuple(data.draw(st.lists(st.integers(0, x.ndim - 1), min_size=1, max_size=x.ndim, unique=True)))
    sizes = tuple(data.draw(st.one_of(st.none(), st.integers(1, 12))) for _ in axes)
    with cpu.force_simd(engine[0]), cpool.threads(engine[1]), cpu.force_split():
        every_way(data, "adaptive_avg_pool", x, sizes, axes=axes)


@given(arrays(), engines(), st.data())
def test_strided(x, engine, data):
    axes = tuple(data.draw(st.lists(st.integers(0, x.ndim - 1), min_size=1, max_size=x.ndim, unique=True)))
    kernels, strides, pads, dilations = [], [], [], []
    for axis in axes:
        n = x.shape[axis]
        kernel = data.draw(st.integers(1, 2 * n))
        dilation = data.draw(st.integers(1, max(1, n // max(kernel - 1, 1))))
        kernels.append(kernel)
        dilations.append(dilation)
        strides.append(data.draw(st.integers(1, n + 1)))
        most = (kernel - 1) * dilation
        pads.append((data.draw(st.integers(0, most)), data.draw(st.integers(0, most))))
    options = {
        "stride": tuple(strides),
        "padding": tuple(pads),
        "dilation": tuple(dilations),
        "ceil_mode": data.draw(st.booleans()),
        "count_include_pad": data.draw(st.sampled_from([None, True, False])),
        "divisor_override": data.draw(st.sampled_from([None, None, 7, -3])),
        "axes": axes,
    }
    with cpu.force_simd(engine[0]), cpool.threads(engine[1]), cpu.force_split():
        try:
            every_way(data, "avg_pool", x, tuple(kernels), **options)
        except ValueError as error:
            # a window wholly in the padding is refused, and so are windows of which not one fits
            assert "no element" in str(error) or "a window spans" in str(error)  # noqa: PT017


@st.composite
def images(draw):
    """Channels and one to three more axes in any order of the two, and how that is said; with a batch or without."""
    rank, last, batch = draw(st.integers(1, 3)), draw(st.booleans()), draw(st.booleans())
    sizes, channels = [draw(st.integers(1, (40, 12, 6)[rank - 1])) for _ in range(rank)], draw(st.integers(1, 20))
    shape = (*sizes, channels) if last else (channels, *sizes)
    shape = (draw(st.integers(1, 3)), *shape) if batch else shape
    axes = "DHW"[-rank:] if rank > 1 else "L"
    letters = "N" * batch + (f"{axes}C" if last else f"C{axes}")
    data_format = draw(st.sampled_from([letters, "channels_last" if last else "channels_first"]))
    x = helpers.sample(draw(st.sampled_from(TYPES)), shape, wide=True)
    x = helpers.place(x, draw(st.sampled_from(sorted(helpers.LAYOUTS))))
    return x, tuple(sizes), batch, data_format


@given(images(), engines(), st.data())
def test_numbered_and_global_with_their_gradients(image, engine, data):
    x, sizes, batch, data_format = image
    families = ["adaptive_avg_pool", "avg_pool", "adaptive_max_pool", "max_pool"]
    families += ["global_avg_pool", "global_max_pool"] if batch else []
    if x.dtype.kind == "c":
        families = [family for family in families if "max" not in family]
    family = data.draw(st.sampled_from(families))
    operation = family if "global" in family else f"{family}{len(sizes)}d"
    size, options = None, {"data_format": data_format}
    if "adaptive" in family:
        size = tuple(data.draw(st.integers(1, 9)) for _ in sizes)
    elif "global" not in family:
        size = tuple(data.draw(st.integers(1, min(4, n))) for n in sizes)
        options["stride"] = tuple(data.draw(st.integers(1, 3)) for _ in sizes)
        options["padding"] = tuple(data.draw(st.integers(0, k - 1)) for k in size)
        options["ceil_mode"] = data.draw(st.booleans())
    with cpu.force_simd(engine[0]), cpool.threads(engine[1]), cpu.force_split():
        if "avg" in family:
            result, given = every_way(data, operation, x, size, **options), {}
        else:
            result, indices = every_way_of_the_largest(data, operation, x, size, **options)
            size, options, given = None, {"data_format": data_format}, {"indices": indices}
        types = helpers.FLOATS if "max" in family else (*helpers.FLOATS, *helpers.COMPLEXES)
        grad = helpers.sample(data.draw(st.sampled_from(types)), result.shape, wide=True)
        spread = helpers.check_gradient(operation, grad, x.shape, size, **given, **options)
        out = drawn_out(data, spread)
        helpers.call_backward(operation, grad, *given.values(), x.shape, size, **options, out=out)
        helpers.assert_same_bits(out, spread, "into out")
