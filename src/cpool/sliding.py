"""The largest of large windows that move by small steps: a window is two smaller ones, and these are halves of others.

31 columns cost five comparisons for each result and not 31. The first of equals stays the first, which only a zero's
sign can tell.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from . import _kernels, cpu
from .plan import Plan, lay_out, memory_order, packed_strides, plans, product, repeats
from .windows import Windows, windows

Array = NDArray[Any]

PIECE = 2**18  # elements that are worked on at a time: they stay in cache
AXIS = 4  # how often an axis reads an element, from which on halves pay
HALVES = windows(2, 1)


def run(plan: Plan, x: Array, out: Array | None) -> Array:
    """Pool x by a plan that slides, into `out` or a new array."""
    if out is None:
        strides = packed_strides(plan.out_shape, plan.out_order, plan.out_dtype.itemsize)
        out = _kernels.empty(plan.out_dtype, plan.out_shape, strides)
    _run(plan, x, out)
    return out


def _run(plan: Plan, x: Array, out: Array) -> None:
    """Piece by piece: first of what is kept, then of the results of one plane."""
    kept = [a for a in range(x.ndim) if a not in plan.axes and x.shape[a] > 1]
    if x.size > PIECE and kept:
        axis = max(kept, key=lambda a: abs(x.strides[a]))
        step = max(PIECE * x.shape[axis] // x.size, 1)
        if step < x.shape[axis]:
            for i in range(0, x.shape[axis], step):
                at = (*(slice(None),) * axis, slice(i, i + step))
                _run(plan, x[at], out[at])
            return
    axis, table = next((a, t) for a, t in zip(plan.axes, plan.tables, strict=True) if t is not None)
    if x.size > 4 * PIECE and table.count > 1 and table.length > 8 * table.sizes.max():
        for part in (slice(None, table.count // 2), slice(table.count // 2, None)):
            starts, sizes = table.starts[part], table.sizes[part]
            low, high = int(starts.min()), int((starts + sizes).max())
            some = Windows(high - low, starts - low, sizes, sizes)
            cut = tuple(some if a == axis else t for a, t in zip(plan.axes, plan.tables, strict=True))
            before = (slice(None),) * axis
            _run(replace(plan, tables=cut), x[(*before, slice(low, high))], out[(*before, part)])
        return
    tables = dict(zip(plan.axes, plan.tables, strict=True))
    for axis in sorted(tables, reverse=True):  # the last first: then the first of equals is the first in the plane
        one = tables[axis]
        if one is not None:
            x = _slide(plan, x, axis, one) if repeats(one) >= AXIS else _pool(plan, x, axis, one)
    out[...] = x


def _pool(plan: Plan, x: Array, axis: int, table: Windows) -> Array:
    """One axis, as it comes."""
    shape = (*x.shape[:axis], table.count, *x.shape[axis + 1 :])

    def make() -> tuple[Plan, int]:
        order = memory_order(x.shape, x.strides)
        made = replace(
            plan,
            x_shape=x.shape,
            out_shape=shape,
            axes=(axis,),
            tables=(table,),
            elements=product(x.shape),
            swapped=not x.dtype.isnative,
            x_dtype=x.dtype,
        )
        made = lay_out(made, x.strides, packed_strides(shape, order, x.itemsize), order)
        return made, made.weight

    return cpu.run(plans.get(("sliding", x.shape, x.strides, x.dtype, axis, table), make), x, None)


def _slide(plan: Plan, x: Array, axis: int, table: Windows) -> Array:
    """One axis, by halves. Windows that an edge cuts off see the edge more than once, which makes none larger."""
    n, size = table.length, int(table.sizes.max())
    starts = np.where(table.starts == 0, table.sizes - size, table.starts)  # without the edge; size is that of most
    low, high = int(starts.min()), int(starts.max()) + size
    first = np.arange(low, high - 1)
    near, far = np.clip(first, 0, n - 1), np.clip(first + 1, 0, n - 1)
    x = _pool(plan, x, axis, Windows(n, near, far - near + 1, far - near + 1))
    done = 2
    while done < size:
        shift = min(done, size - done)
        length = x.shape[axis] - shift
        halves = as_strided(
            x,
            (*x.shape[:axis], 2, length, *x.shape[axis + 1 :]),
            (*x.strides[:axis], shift * x.strides[axis], *x.strides[axis:]),
        )
        x = _pool(plan, halves, axis, HALVES).squeeze(axis)
        done += shift
    at = starts - low
    return x if np.array_equal(at, np.arange(x.shape[axis])) else x.take(at, axis)
