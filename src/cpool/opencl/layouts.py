"""A plan as the kernels take it: types as options, shapes and window tables as one array of integers."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pyopencl as cl

from cpool.arrays import item_of, name_of
from cpool.errors import BackendUnavailable
from cpool.plan import Cache, Kept, Plan, Pooled
from cpool.windows import windows

from . import devices

LAYOUTS = 512  # kept at most, each with its tables on a device
TABLES = 2**27  # bytes of these at most, and a 32nd of the device's memory; the launches that hold them, as many again
WHOLE = 2**20  # what weighs so much takes all of that
FEW = 2**31  # results that are counted in 32 bits
GROUP = 16  # items that a processor takes at a time: always as many, since some compile anew for each number
ENOUGH = 4  # items for each unit of a processor
TOGETHER = 4  # neighbours, by eights, that share lines of cache: pool.cl's WIDE
LINE = 256  # columns whose sums an item keeps, or lanes that share a line
NARROW = 32  # columns of windows that are folded from such a line; wider ones are added eight at a time, or by lanes
TILES = 128  # items of a work-group that makes lines
TILE = (4, 2, 1)  # columns of a line that one of its items adds
NEIGHBOURS = 16  # items that then still read what lies side by side
BUSY = 1024  # items for each unit of a card: enough

_CODES = {
    "float16": "F16",
    "bfloat16": "BF16",
    "float32": "F32",
    "float64": "F64",
    "bool": "U8",
    **{f"{sign}int{bits}": f"{sign.upper() or 'I'}{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}
WIDTH = 8  # neighbours that a processor takes at a time
VECTORS = ("SUM_DOUBLE", "SUM_LONG", "LARGEST")  # sums that come as vectors, too
RESULT = "the result"  # where doubles are missing
_SINGLE = ("F16", "BF16", "F32")


@dataclass(frozen=True, eq=False)
class Share:
    """How a launch is shared out: lanes of a result, how many of them lie in a row of its window, and so on."""

    lanes: int
    columns: int
    beside: bool  # lanes are neighbours; else results are
    results: int  # of a work-group
    row_parts: int
    column_parts: int

    @property
    def parts(self) -> int:
        """How many work-groups share a window."""
        return self.row_parts * self.column_parts

    def within(self, items: int) -> Share:
        """The same by groups of so many items: fewer results, then fewer lanes."""
        lanes = min(self.lanes, items)
        return replace(self, lanes=lanes, columns=min(self.columns, lanes), results=items // lanes)


@dataclass(frozen=True, eq=False)
class Layout:
    """What of a plan lies on a device, and how it is launched."""

    plan: Plan  # held, so that its number stays its own
    options: tuple[str, ...]
    meta: Any
    by: Any
    items: int  # results, or runs of them
    share: Share
    line: int  # columns whose sums lanes share; else 0
    total: int  # bytes of a sum
    weight: int  # of its tables, as a part of what they may take


known: Cache[Layout] = Cache(entries=LAYOUTS, weight=WHOLE)


def of(plan: Plan, queue: Any) -> Layout:
    """The plan's layout for the queue's context and device."""
    context, device = queue.context, queue.device
    key = (id(plan), context.int_ptr, device.int_ptr, devices.traits(device))

    def make() -> tuple[Layout, int]:
        made = _make(plan, context, device)
        return made, made.weight

    return known.get(key, make)


def code(dtype: np.dtype[Any]) -> str:
    """The kernels' name for an element's type."""
    return _CODES[name_of(dtype)]


def check_doubles(dtype: np.dtype[Any], device: Any, what: str) -> None:
    """Refuse what needs doubles on a device that has none."""
    if item_of(dtype) == np.float64 and not devices.traits(device).fp64:
        less = "complex64" if dtype.kind == "c" else "float32"
        way_out = (
            f"use dtype=numpy.{less}, or an out of that type"
            if what == RESULT
            else f"convert it on the host, with {what}.get() first if it lies on the device: astype(numpy.{less})"
        )
        raise BackendUnavailable(
            f"{what} is {dtype}, and the device {device.name.strip()!r} has no doubles; {way_out}, or use backend='cpu'"
        )


def _sum_of(plan: Plan, kind: str, device: Any) -> tuple[str, int]:
    """The name of the kind of sum, and the bytes it takes."""
    doubles = devices.traits(device).fp64
    if plan.reducer == "max":
        return "LARGEST", 32
    if kind in _SINGLE and doubles:
        return "SUM_DOUBLE", 8
    if kind == "F64" and not doubles:
        return "SUM_BITS", 24
    if kind in (*_SINGLE, "F64"):
        return "SUM_PAIR", (8 if doubles else 4) * (4 if plan.division is None else 6)
    largest = math.prod(int(a.windows.sizes.max(initial=0)) for a in plan.pooled)
    if kind.endswith("64") or (kind.endswith("32") and largest >= 2**30):
        return "SUM_WIDE", 16
    return "SUM_LONG", 8


def _make(plan: Plan, context: Any, device: Any) -> Layout:
    if plan.reducer != "max":
        check_doubles(plan.out_dtype, device, "grad" if plan.operation.endswith("_backward") else RESULT)
    size = plan.item.itemsize
    pooled = plan.pooled or (Pooled(windows(1, 1), size, size),)
    beside = plan.beside
    kept = [k for k in reversed(plan.kept) if k is not beside]  # the innermost first
    if beside is not None:
        kept.insert(0, beside)
    kind = code(plan.item)
    sums, total = _sum_of(plan, kind, device)
    outputs = math.prod(k.length for k in kept) * math.prod(a.windows.count for a in pooled)
    can = devices.traits(device)
    options = [f"-DX_{kind}", f"-DO_{code(plan.out_item)}", f"-D{sums}", f"-DPOOLED={len(pooled)}"]
    long = math.prod(int(a.windows.sizes.max(initial=0)) for a in pooled) >= FEW
    vectors = can.cpu and plan.division is None and sums in VECTORS
    if vectors and beside is not None and not (long and plan.reducer == "max"):
        options.append(f"-DSIDE={WIDTH}")
        eighth = Kept(-(-beside.length // WIDTH), WIDTH * beside.x_stride, WIDTH * beside.out_stride)
        kept = [eighth, *kept[1:]]
        outputs = outputs // beside.length * eighth.length
        total *= 8
    if long:
        options.append("-DLONG")
    if plan.reducer == "max" and plan.indexed:
        options.append("-DINDEXED")
    if plan.division is not None:
        options.append("-DDIVIDED")
    if outputs >= FEW:
        options.append("-DMANY")
    by = None if plan.division is None else upload(context, plan.division.by.astype(np.int64))
    share = _share(plan, pooled, beside is not None, outputs, total, can)
    line = tile = None
    if beside is None and not (long or share.parts > 1):
        if vectors:
            line = _line(plan, pooled, outputs, ENOUGH * can.units)
        elif not can.cpu and plan.division is None and share.lanes > 1:
            line = _line(plan, pooled, outputs, 0)
            tile = None if line is None else _tile(line, outputs, share, total, can)
            line = None if tile is None else line
    if tile is not None:
        share, columns = tile
        options.append(f"-DTILE={columns}")
    elif line is not None:
        options.append(f"-DLINE={LINE}")
    elif vectors and beside is None and plan.reducer == "avg":
        options.append(f"-DALONG={WIDTH}")
    # which results follow each other: neighbours, or those along the innermost axis that has several
    front = line is None and (beside is not None or (bool(kept) and all(a.windows.count == 1 for a in pooled)))
    series, length = 1, kept[0].length if front else pooled[-1].windows.count
    if line is not None:
        kept = [k for k in kept if k is not line.channels]
        series, beside = line.series, line.channels
        outputs = line.lines(outputs)
    elif can.cpu and share.parts == 1 and length > 1:
        options.append("-DSERIES")
        series = min(length, max(-(-outputs // (ENOUGH * can.units)), min(TOGETHER, outputs // can.units)))
        outputs = outputs // length * -(-length // series)
    if can.cpu and outputs < ENOUGH * can.units * share.results:
        share = replace(share, results=1)
    shared = 0 if tile is None or line is None else line.span
    meta = upload(context, _meta(plan, kept, pooled, beside, front, series, shared))
    weight = (meta.size + (0 if by is None else by.size)) * WHOLE // min(TABLES, can.memory // 32)
    return Layout(plan, tuple(options), meta, by, outputs, share, shared, total, weight)


class _Line(NamedTuple):
    """What is made of a line of sums: some results along the innermost axis, for each of its channels."""

    channels: Kept
    series: int
    windows: int  # along that axis
    span: int  # columns of the widest line

    def lines(self, outputs: int) -> int:
        """How many it takes for so many results."""
        return outputs // self.channels.length // self.windows * -(-self.windows // self.series)


def _line(plan: Plan, pooled: tuple[Pooled, ...], outputs: int, enough: int) -> _Line | None:
    """How lines are shared out; None where windows are wide, or a single row, or don't lie in lines."""
    size, inner = plan.item.itemsize, pooled[-1]
    table, channels = inner.windows, next((k for k in plan.kept if k.x_stride == size), Kept(1, size, 0))
    if not table.count or inner.x_stride != channels.length * size or table.step != 1:
        return None
    starts, sizes, ends = table.starts, table.sizes, table.starts + table.sizes
    tall = any((a.windows.sizes > 1).any() for a in pooled[:-1])
    if sizes.mean() > (NARROW if tall else WIDTH - 1) or sizes.min() < 1 or sizes.max() * channels.length > LINE:
        return None
    if (np.diff(starts) < 0).any() or (np.diff(ends) < 0).any():
        return None
    fewest = -(-int(ends[-1] - starts[0]) * channels.length // LINE)
    more = enough * table.count * channels.length // max(outputs, 1)
    series = -(-table.count // max(fewest, min(more, 2 * fewest)))
    while series:
        firsts = np.arange(0, table.count, series)
        spans = (ends[np.minimum(firsts + series, table.count) - 1] - starts[firsts]) * channels.length
        if spans.min() >= WIDTH and spans.max() <= LINE:
            return _Line(channels, series, table.count, int(spans.max()))
        series -= 1 + series // 8
    return None


def _tile(line: _Line, outputs: int, share: Share, total: int, can: devices.Traits) -> tuple[Share, int] | None:
    """How lanes share lines, and how many columns each adds; None where lanes of their own for each window keep more of
    the device busy."""
    lines, enough = line.lines(outputs), BUSY * can.units
    if 4 * lines * line.span < min(enough, outputs * share.lanes) or 2 * line.span * total > can.local:
        return None
    for columns in TILE:
        lanes = -(-line.span // columns)
        if columns == 1 or (lanes >= NEIGHBOURS and lines * lanes >= enough):
            break
    results = min(TILES // lanes, can.local // (2 * line.span * total))
    return Share(min(lanes, can.group), 1, True, max(results, 1), 1, 1), columns


def upload(context: Any, array: np.ndarray[Any, Any]) -> Any:
    """A buffer that holds these elements."""
    flags = cl.mem_flags.READ_ONLY | cl.mem_flags.COPY_HOST_PTR
    return cl.Buffer(context, flags, hostbuf=np.ascontiguousarray(array))


def _magic(length: int) -> tuple[int, int]:
    """The factor and the shift by which a number below 2^31 is divided."""
    if length <= 1 or length >= FEW:
        return 0, 0
    bits = (length - 1).bit_length()
    return -(-(1 << (31 + bits)) // length), bits - 1


def _meta(
    plan: Plan, kept: list[Kept], pooled: tuple[Pooled, ...], beside: Kept | None, front: bool, series: int, line: int
) -> np.ndarray[Any, Any]:
    head = [len(kept), int(front), 1 if plan.reducer == "max" else plan.divisor or 0]
    head += [*((0, 0) if beside is None else (beside.length, beside.out_stride)), series, line]
    for k in kept:
        head += [k.length, *_magic(k.length), k.x_stride, k.out_stride]
    at = len(head) + 11 * len(pooled)
    tables = []
    for axis in pooled:
        t = axis.windows
        head += [t.count, *_magic(t.count), axis.x_stride, axis.out_stride, axis.x_stride * t.step]
        head += [axis.index_stride, axis.index_stride * t.step, at, at + t.count, at + 2 * t.count]
        at += 3 * t.count
        tables += [t.starts, t.sizes, t.counted]
    return np.concatenate([np.array(head, np.int64), *tables])


# ---- how it is shared out -----------------------------------------------------------------------------


def _power(n: float) -> int:
    """The largest power of two that is no larger."""
    return 1 << max(int(n), 1).bit_length() - 1


def _share(
    plan: Plan, pooled: tuple[Pooled, ...], neighbours: bool, outputs: int, total: int, can: devices.Traits
) -> Share:
    sizes = [a.windows.sizes for a in pooled]
    taps = math.prod(float(s.mean()) if len(s) else 1.0 for s in sizes)
    columns = int(sizes[-1].max()) if len(sizes[-1]) else 1
    rows = math.prod(int(s.max()) if len(s) else 1 for s in sizes[:-1])
    if can.cpu:
        group, lanes, across, enough = min(GROUP, can.group), 1, 1, ENOUGH * can.units
    else:
        group = _power(min(256, can.group, can.local // (2 * total)))
        enough = BUSY * can.units
        lanes = 1 if taps < 8 else min(_power(taps / 4), group)
        if neighbours:  # they are there already: lanes only where results are too few
            lanes = min(lanes, _power(max(enough / max(outputs, 1), 1)), max(group // 32, 1))
        across = min(_power(2 * columns - 1), lanes) if not neighbours else 1
    parts = 1
    if outputs * lanes < enough and taps >= 16 * lanes:
        parts = int(min(enough / max(outputs * lanes, 1), taps / (16 * lanes if not can.cpu else 65536), 256))
    row_parts = min(parts, rows)
    column_parts = max(1, min(parts // max(row_parts, 1), columns // max(across, 1)))
    if parts < 2:
        row_parts = column_parts = 1
    return Share(lanes, across, not neighbours, max(1, group // lanes), row_parts, column_parts)
