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
    return x


@st.composite
def engines(draw):
    return draw(st.sampled_from(cpu.simd_available())), draw(st.integers(1, 3))


@given(arrays(), engines(), st.data())
def test_adaptive(x, engine, data):
    axes = tuple(data.draw(st.lists(st.integers(0, x.ndim - 1), min_size=1, max_size=x.ndim, unique=True)))
    sizes = tuple(data.draw(st.one_of(st.none(), st.integers(1, 12))) for _ in axes)
    with cpu.force_simd(engine[0]), cpool.threads(engine[1]), cpu.force_split():
        helpers.check("adaptive_avg_pool", x, sizes, axes=axes, compare_reference=False)


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
            helpers.check("avg_pool", x, tuple(kernels), compare_reference=False, **options)
        except ValueError as error:
            # a window wholly in the padding is refused, and so are windows of which not one fits
            assert "no element" in str(error) or "a window spans" in str(error)  # noqa: PT017
