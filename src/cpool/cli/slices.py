"""A .npy file pooled into another, a piece of each mapped at a time: neither has to fit the memory."""

from __future__ import annotations

import math
import mmap
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cpool import dispatch
from cpool.calls import plan_between
from cpool.plan import Plan, packed_strides
from cpool.windows import Windows, part

from .errors import Failure, reason
from .files import Header, open_input, read_header, reserve, whole, write_header
from .operation import Operation, unread
from .terminal import Progress

Array = NDArray[Any]
Tables = dict[int, Windows | None]

WINDOWS = 2**14  # at most, of one axis in a piece


class Piece(NamedTuple):
    """A run of elements, the run of results that they make, and the windows between."""

    x_first: int
    x_shape: tuple[int, ...]
    out_first: int
    out_shape: tuple[int, ...]
    tables: Tables


def pool(source: Path, target: Path, asked: Callable[[int], Operation], force: bool, limit: int) -> str:
    """Pool one file into the other, about `limit` bytes at a time; types and shapes, in a line.

    `asked` gives the operation for so many axes.
    """
    with open_input(source) as file:
        header = read_header(source, file)
        operation = _turned(asked(len(header.shape)), header)
        plan, choice = _planned(source, operation, header)
        with whole(target, force) as out:
            offset = write_header(out, plan.out_shape, plan.out_dtype, header.turned)
            out.flush()
            reserve(out, offset, math.prod(plan.out_shape) * plan.out_dtype.itemsize)
            _all_pieces(source, file, header, out, offset, plan, choice, limit)
    way = slice(None, None, -1 if header.turned else 1)
    return f"{header.dtype} {header.shape[way]} -> {plan.out_dtype} {plan.out_shape[way]}"


def _turned(operation: Operation, header: Header) -> Operation:
    """The same operation of an array turned round."""
    if not header.turned:
        return operation
    ndim = len(header.shape)
    return replace(operation, axes=tuple(ndim - 1 - (a % ndim if -ndim <= a < ndim else a) for a in operation.axes))


def _planned(source: Path, operation: Operation, header: Header) -> tuple[Plan, Any]:
    try:
        found: tuple[Plan, Any] = operation.plan(unread(header.shape, header.dtype))
    except (ValueError, TypeError) as error:
        raise Failure(f"{source}: {reason(error)}") from None
    return found


def _all_pieces(
    source: Path, file: BinaryIO, header: Header, out: BinaryIO, offset: int, plan: Plan, choice: Any, limit: int
) -> None:
    if 0 in plan.out_shape:
        return
    progress = Progress(source.name, header.nbytes)
    order = tuple(range(len(plan.x_shape)))
    axes = tuple(sorted(plan.axes))
    last: tuple[Any, Plan] | None = None
    try:
        for piece in pieces(plan, limit):
            x = _mapped(file, header.offset, header.dtype, piece.x_first, piece.x_shape, mmap.ACCESS_READ)
            y = _mapped(out, offset, plan.out_dtype, piece.out_first, piece.out_shape, mmap.ACCESS_WRITE)
            tables = tuple(piece.tables[a] for a in axes)
            if last is None or last[0] != (piece.x_shape, tables):
                strides = packed_strides(piece.out_shape, order, plan.out_dtype.itemsize)
                made = plan_between(
                    plan.operation, plan.reducer, x, piece.out_shape, plan.out_dtype, strides, axes, tables,
                    plan.divisor,
                )  # fmt: skip
                last = ((piece.x_shape, tables), made)
            dispatch.run(last[1], x, y, choice)
            progress.add(x.nbytes)
    except OSError as error:  # of a map: writing says its own
        raise Failure(f"{source}: {reason(error)}") from None
    finally:
        progress.clear()


def _mapped(
    file: BinaryIO, offset: int, dtype: np.dtype[Any], first: int, shape: tuple[int, ...], access: int
) -> Array:
    """A run of elements of a file; unmapped when nobody holds the array any more."""
    begin = offset + first * dtype.itemsize
    page = begin - begin % mmap.ALLOCATIONGRANULARITY
    size = math.prod(shape) * dtype.itemsize
    if not size:
        return np.empty(shape, dtype)
    mapped = mmap.mmap(file.fileno(), begin - page + size, access=access, offset=page)
    if hasattr(mapped, "madvise") and hasattr(mmap, "MADV_SEQUENTIAL"):
        mapped.madvise(mmap.MADV_SEQUENTIAL)
    return np.ndarray(shape, dtype, mapped, begin - page)


def pieces(plan: Plan, limit: int) -> Iterator[Piece]:
    """The work in runs of at most `limit` bytes of input, if windows let it; in C order both ways."""
    tables = dict(zip(plan.axes, plan.tables, strict=True))
    return _pieces(plan, limit, tables, 0, 0, 0)


def _pieces(plan: Plan, limit: int, tables: Tables, axis: int, x_first: int, out_first: int) -> Iterator[Piece]:
    """Of one element of each axis before this one."""
    x_shape, out_shape = plan.x_shape, plan.out_shape
    lead = (1,) * axis
    step, out_step = math.prod(x_shape[axis + 1 :]), math.prod(out_shape[axis + 1 :])
    if axis == len(x_shape):
        yield Piece(x_first, lead, out_first, lead, tables)
        return
    table, size = tables.get(axis), step * plan.x_dtype.itemsize
    if table is None and size > limit:  # not even one fits
        for i in range(x_shape[axis]):
            yield from _pieces(plan, limit, tables, axis + 1, x_first + i * step, out_first + i * out_step)
        return
    for first, last in _runs(table, x_shape[axis], limit // size if size else x_shape[axis]):
        start, stop, cut = first, last, tables
        if table is not None:
            some, start, stop = part(table, first, last)
            cut = {**tables, axis: some}
        yield Piece(
            x_first + start * step,
            (*lead, stop - start, *x_shape[axis + 1 :]),
            out_first + first * out_step,
            (*lead, last - first, *out_shape[axis + 1 :]),
            cut,
        )


def _runs(table: Windows | None, length: int, most: int) -> Iterator[tuple[int, int]]:
    """Runs of results that need at most so many elements of the axis, or one window."""
    if table is None:
        for first in range(0, length, max(most, 1)):
            yield first, min(first + max(most, 1), length)
        return
    first = 0
    while first < table.count:
        some = slice(first, first + WINDOWS)
        low = np.minimum.accumulate(table.starts[some])  # windows of padded, dilated axes may be out of order
        high = np.maximum.accumulate(table.stops[some])
        last = first + max(int(np.searchsorted(high - low, most, side="right")), 1)
        yield first, last
        first = last
