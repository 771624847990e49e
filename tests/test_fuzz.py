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


def every_way(data, operation, x, size, **options):
    """The call with any type of result: checked, prepared, and into an array that lies anyhow."""
    name = data.draw(st.sampled_from([None, *result_types(x.dtype)]))
    options["dtype"] = name and helpers.dtype_of(name)
    result = helpers.check(operation, x, size, compare_reference=False, **options)
    prepared = cpool.prepare(operation, x, size, **options)
    helpers.assert_same_bits(prepared(x), result, "prepared")
    out = helpers.place(np.ones_like(result), data.draw(st.sampled_from(sorted(helpers.LAYOUTS))))
    assert prepared(x, out=out) is out
    helpers.assert_same_bits(out, result, "prepared, into out")
    if data.draw(st.booleans()) and result.dtype != helpers.BFLOAT16:
        out = out.astype(helpers.swapped(out.dtype), order="K")
    out[...] = 1
    assert getattr(cpool, operation)(x, size, **options, out=out) is out
    helpers.assert_same_bits(out.astype(result.dtype), result, "into out")


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
        kernel = data.draw(st.integers(1, n))
        dilation = data.draw(st.integers(1, max(1, (n - 1) // max(kernel - 1, 1))))
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
            assert "no element" in str(error)  # noqa: PT017 - a window wholly in the padding is refused
