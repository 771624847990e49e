"""A call boiled down: kept axes, pooled axes with their windows, divisors, types.

The order of additions
----------------------
It belongs to the window, not to the kernel, and is written down here once; every kernel, tail,
split and instruction set keeps it.

1. The pooled axes are sorted by the size of their stride, the smallest last (the *inner* one); zero counts as the
   largest.
   A window is the list of its *rows*: one row for every combination of taps of the outer axes,
   the last of them fastest; a row holds the taps of the inner axis, its *columns*.
2. A window of more than 65536 elements is cut into blocks: of as many whole rows as fit, or, where
   one row is longer, of 65536 columns of a row. The sums of the blocks are added one by one.
3. Within a block, column c goes to lane c mod L. A lane adds its elements one by one, row after row.
   L is 32 where neighbouring columns lie less than 16 elements apart, else 1.
4. Lanes are folded by halves: lane l gets lane l + 16, then l + 8, l + 4, l + 2, l + 1; a lane
   without a partner stays as it is.

float16, bfloat16 and float32 are added in float64. float64 is added with two-sum, the errors are
added beside the sums and come in at the end. Integers are added as integers, where no order can
matter. The sum is divided by the divisor and rounded once.

The largest needs no order, but the first of equals: pooled axes stay in the array's own order.

Nothing in this depends on the kept axes: what one image gives does not depend on its neighbours.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Generic, TypeVar

import numpy as np

from .errors import bad_value
from .windows import MAX_WINDOWS, Int64s, Spec, Windows

LANES = 32
BLOCK = 65536
JOIN = 64  # windows of one and the same element, from which on they stay a row of their own
NEAR = 16  # elements between columns below which they share lanes
FRONT = 8  # elements of a kept axis from which on devices work on them side by side
MAX_DIVISOR = 2**53
MAX_ELEMENTS = 2**63 - 1


@dataclass(frozen=True)
class Kept:
    """An axis that is kept: its length, and the bytes between elements of input and output."""

    length: int
    x_stride: int
    out_stride: int


@dataclass(frozen=True)
class Pooled:
    """An axis that is pooled through a table of windows."""

    windows: Windows
    x_stride: int
    out_stride: int
    index_stride: int = 1  # between neighbours in the index of an element in its plane


@dataclass(frozen=True, eq=False)
class Division:
    """Elements are divided before they are added: [planes, length, inner], element i of a plane by by[i].

    The kept and pooled axes of a CPU's plan that has one tell where the quotients lie: as the input, but as doubles.
    """

    by: np.ndarray[Any, Any]
    planes: int
    inner: int


@dataclass(frozen=True, eq=False)
class Plan:
    """Everything a backend needs to know of a call, but the addresses."""

    operation: str
    reducer: str
    x_shape: tuple[int, ...]
    x_dtype: np.dtype[Any]
    out_shape: tuple[int, ...]
    out_dtype: np.dtype[Any]
    axes: tuple[int, ...]
    tables: tuple[Windows | None, ...]  # as asked for, one per axis of `axes`; None keeps it
    divisor: int | None  # one for all, or None: the product of what the windows count
    item: np.dtype[Any]  # the real type of an element, in native byte order
    out_item: np.dtype[Any]
    swapped: bool
    elements: int  # real numbers in the input
    indexed: bool = False  # where the elements of a window are in their plane is wanted, too
    wide: bool = False  # doubles that stand for lesser floats: plain sums of them do
    division: Division | None = None
    # how the arrays lie in memory: see lay_out
    x_strides: tuple[int, ...] = ()
    out_order: tuple[int, ...] = ()  # axes of a new result, outermost first
    kept: tuple[Kept, ...] = ()  # sorted and merged, outermost first
    pooled: tuple[Pooled, ...] = ()  # likewise
    slides: bool = False  # large windows move by small steps, and halves of them are worth it
    compiled: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def beside(self) -> Kept | None:
        """The kept axis whose elements are neighbours, if there are enough of them."""
        size = self.item.itemsize
        return next((k for k in self.kept if k.x_stride == size and k.length >= FRONT), None)

    @property
    def lanes(self) -> int:
        """How many columns of a window are added side by side."""
        if not self.pooled:
            return 1
        if self.reducer == "max" and any(
            k.x_stride == self.item.itemsize and k.length >= NEAR for k in self.kept
        ):  # no order has to be kept, and neighbours lie side by side
            return 1
        return LANES if abs(self.pooled[-1].x_stride) < NEAR * self.item.itemsize else 1

    def laid(self, x_strides: tuple[int, ...], out_strides: tuple[int, ...] | None = None) -> Plan:
        """The same call for arrays that lie otherwise in memory; a new result (None) keeps the order of x's axes."""
        order = memory_order(self.x_shape, x_strides)
        if out_strides is None:
            out_strides = packed_strides(self.out_shape, order, self.out_dtype.itemsize)
        return lay_out(self, x_strides, out_strides, order)

    @property
    def indices(self) -> tuple[np.dtype[Any], tuple[int, ...], tuple[int, ...]]:
        """Type, shape and strides of the indices, which lie as a new result does."""
        kind = np.dtype(np.int64)
        return kind, self.out_shape, packed_strides(self.out_shape, self.out_order, kind.itemsize)

    @property
    def weight(self) -> int:
        """Bytes of the tables: what a cache has to carry."""
        divisors = 0 if self.division is None else self.division.by.nbytes
        return sum(3 * t.starts.nbytes for t in self.tables if t is not None) + divisors + 2048


def lay_out(plan: Plan, x_strides: tuple[int, ...], out_strides: tuple[int, ...], order: tuple[int, ...]) -> Plan:
    """The plan for arrays that lie in memory like this."""
    kept: list[Kept] = []
    pooled: list[Pooled] = []
    tables = dict(zip(plan.axes, plan.tables, strict=True))
    step = product([n for axis, n in enumerate(plan.x_shape) if axis in tables])
    for axis, length in enumerate(plan.x_shape):
        table = tables.get(axis)
        if axis in tables:
            step //= max(length, 1)
        if table is None:
            kept.append(Kept(length, x_strides[axis], out_strides[axis]))
        else:
            pooled.append(Pooled(table, x_strides[axis], out_strides[axis], step))
    if plan.x_dtype.kind == "c":  # real and imaginary part: one more axis
        kept.append(Kept(2, plan.item.itemsize, plan.out_item.itemsize))
    if 0 in plan.out_shape:
        lines, joined = tuple(kept), tuple(pooled)
    else:
        lines, joined = simplify(kept, pooled, plan.reducer == "max" or plan.indexed, plan.indexed)
    return replace(
        plan, x_strides=x_strides, out_order=order, kept=lines, pooled=joined, slides=slides(plan), compiled={}
    )


def slides(plan: Plan) -> bool:
    """Whether large windows move by small steps, and halves of them are worth it."""
    if plan.reducer != "max" or plan.indexed or 0 in plan.out_shape:
        return False
    reads = [repeats(t) for t in plan.tables if t is not None]
    return max(reads, default=0.0) >= 8 and product([int(r) + 1 for r in reads]) * plan.elements >= 2**21


def repeats(table: Windows) -> float:
    """How often an element of the axis is read, if windows of one size move by small steps; else 0.

    Only an edge may cut a window off.
    """
    if table.step != 1 or not table.count or int(table.sizes.max()) < 2:
        return 0.0
    cut = (table.starts == 0) | (table.stops == table.length)
    if not (cut | (table.sizes == table.sizes.max())).all():
        return 0.0
    return float(table.sizes.sum()) / table.length


def product(sizes: tuple[int, ...] | list[int]) -> int:
    """The product, in Python's integers."""
    total = 1
    for size in sizes:
        total *= size
    return total


def check_size(argument: str, came: object, shape: Sequence[int], itemsize: int) -> None:
    """Refuse a result whose bytes do not fit an address, before anything is made."""
    nonzero = [n for n in shape if n]
    if product(nonzero) * itemsize > MAX_ELEMENTS:
        bad_value(argument, came, f"the result of shape {tuple(shape)} is larger than any array can be")


def memory_order(shape: tuple[int, ...], strides: tuple[int, ...]) -> tuple[int, ...]:
    """The axes from the outermost to the innermost in memory, NumPy's order 'K'."""
    return tuple(sorted(range(len(shape)), key=lambda a: -abs(strides[a])))


@lru_cache(512)
def packed_strides(shape: tuple[int, ...], order: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Strides of a new array of `shape` whose axes lie in `order`."""
    strides = [0] * len(shape)
    step = itemsize
    for axis in reversed(order):
        strides[axis] = step
        step *= max(shape[axis], 1)
    return tuple(strides)


def _distance(stride: int) -> int:
    """How far apart elements lie. A stride of zero says nothing of where an axis lies: outermost it disturbs nobody."""
    return abs(stride) or 2**63


def simplify(
    kept: list[Kept], pooled: list[Pooled], ordered: bool = False, indexed: bool = False
) -> tuple[tuple[Kept, ...], tuple[Pooled, ...]]:
    """Sort both kinds of axes, turn windows of one element into kept axes, merge what is one in memory.

    `ordered`: which of equals comes first counts, so pooled axes keep their order; `indexed`: they all stay.
    """
    still: list[Pooled] = []
    for axis in pooled:
        if indexed:
            still.append(axis)
            continue
        table = axis.windows
        regular = table.as_strided()
        if regular is not None and regular[0] == 1 and bool((table.counted == 1).all()):
            stride = regular[1] if table.count > 1 else 0
            kept = [*kept, Kept(table.count, axis.x_stride * stride, axis.out_stride)]
        else:
            still.append(axis)
    if not ordered:
        still.sort(key=lambda a: -_distance(a.x_stride))
    merged: list[Pooled] = []
    for axis in still:
        while merged and (joined := _join(merged[-1], axis)) is not None:
            merged.pop()
            axis = joined
        merged.append(axis)
    lines = sorted((k for k in kept if k.length != 1), key=lambda k: -_distance(k.x_stride))
    tidy: list[Kept] = []
    for line in lines:
        if tidy:
            outer = tidy[-1]
            if (outer.x_stride, outer.out_stride) == (
                line.length * line.x_stride,
                line.length * line.out_stride,
            ):
                tidy[-1] = Kept(outer.length * line.length, line.x_stride, line.out_stride)
                continue
        tidy.append(line)
    return tuple(tidy), tuple(merged)


def _join(outer: Pooled, inner: Pooled) -> Pooled | None:
    """One axis for two, if each outer window takes whole rows that follow each other in memory."""
    a, b = outer.windows, inner.windows
    if a.length == b.length == 1 and outer.out_stride == b.count * inner.out_stride:
        return _join_one(outer, inner)
    whole = b.count == 1 and int(b.sizes[0]) == b.length and b.step == 1
    if not whole or a.step != 1 or outer.x_stride != b.length * inner.x_stride:
        return None
    n = b.length
    if a.length * n > 2**62 or int(a.counted.max()) * int(b.counted[0]) > 2**62:
        return None
    table = Windows(a.length * n, a.starts * n, a.sizes * n, a.counted * int(b.counted[0]))
    return Pooled(table, inner.x_stride, outer.out_stride, inner.index_stride)


def _join_one(outer: Pooled, inner: Pooled) -> Pooled | None:
    """Many windows of one and the same element."""
    a, b = outer.windows, inner.windows
    m = a.count * b.count
    if b.count >= JOIN or not (a.sizes == 1).all() or not (b.sizes == 1).all() or m >= MAX_WINDOWS:
        return None
    counted = (a.counted[:, None] * b.counted[None, :]).reshape(-1)
    table = Windows(1, np.zeros(m, np.int64), np.ones(m, np.int64), counted)
    return Pooled(table, inner.x_stride, inner.out_stride, inner.index_stride)


def divisor_rows(pooled: tuple[Pooled, ...], divisor: int | None) -> tuple[Int64s, np.ndarray[Any, Any]]:
    """For each outer window the row of the divisor table that it uses, and that table (rows x inner windows)."""
    outer = np.ones(1, np.int64)
    for axis in pooled[:-1]:
        outer = (outer[:, None] * axis.windows.counted[None, :]).reshape(-1)
    inner = pooled[-1].windows.counted if pooled else np.ones(1, np.int64)
    if divisor is not None:
        return np.zeros(len(outer), np.int64), np.full((1, len(inner)), float(divisor))
    values, rows = np.unique(outer, return_inverse=True)
    return rows.astype(np.int64), (values[:, None] * inner[None, :]).astype(np.float64)


def check_divisor(argument: str, specs: tuple[Spec | None, ...]) -> None:
    """Refuse windows that may count more elements than a divisor can hold exactly."""
    most = product([spec.most for spec in specs if spec is not None and spec.count])
    if most >= MAX_DIVISOR:
        bad_value(argument, f"a window that counts {most} elements", "at most 2**53 - 1 can be averaged")


def kinds(value: Any) -> Any:
    """The types of arguments, for a key: True and 1 are equal, but not equal arguments."""
    return tuple(map(kinds, value)) if type(value) is tuple else type(value)


Value = TypeVar("Value")


class Cache(Generic[Value]):
    """A bounded cache, least recently used first out, safe from any number of threads.

    Nobody ever waits for its lock: in the child of a fork the thread that holds it may not exist.
    Who doesn't get it leaves the order or the value as they are; the next call will do.
    """

    def __init__(self, entries: int, weight: int) -> None:
        self.entries = entries
        self.limit = weight
        self._weight = 0
        self._items: OrderedDict[Hashable, tuple[Value, int]] = OrderedDict()
        self._lock = threading.Lock()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._in_child)

    def _in_child(self) -> None:
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._items)

    def get(self, key: Any, make: Callable[[], tuple[Value, int]]) -> Value:
        """The value of `key`; made (outside the lock) and kept, with its weight, if it isn't there.

        A key with something in it that may change is never kept.
        """
        try:
            hash(key)
        except TypeError:
            return make()[0]
        lock = self._lock
        if lock.acquire(blocking=False):
            try:
                found = self._items.get(key)
                if found is not None:
                    self._items.move_to_end(key)
                    return found[0]
            finally:
                lock.release()
        value, weight = make()
        if weight <= self.limit // 8 and lock.acquire(blocking=False):
            try:
                self._keep(key, value, weight)
            finally:
                lock.release()
        return value

    def _keep(self, key: Hashable, value: Value, weight: int) -> None:
        if key in self._items:
            self._weight -= self._items.pop(key)[1]
        self._items[key] = value, weight
        self._weight += weight
        while len(self._items) > self.entries or self._weight > self.limit:
            self._weight -= self._items.popitem(last=False)[1][1]

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._items.clear()
            self._weight = 0


plans: Cache[Plan] = Cache(entries=1024, weight=64 * 2**20)
