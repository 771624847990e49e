"""The CPU backend: threads, instruction sets, and which kernel runs a plan."""

from __future__ import annotations

import math
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _kernels
from .errors import bad_value
from .plan import BLOCK, LANES, Kept, Plan, Pooled, divisor_rows, packed_strides
from .windows import Int64s, Windows, as_int, windows

Array = NDArray[Any]

# ---- threads ---------------------------------------------------------------------------------

_chosen: int | None = None  # by set_num_threads
_scoped: ContextVar[int | None] = ContextVar("cpool_threads", default=None)
_from_environment: int | None = None
_quota: int | None = None  # of the control group, rounded up; looked up once


def _count(argument: str, value: object) -> int:
    n = as_int(argument, value, "a number of threads is a positive int")
    if not 0 < n <= 4096:
        bad_value(argument, value, "a number of threads is from 1 to 4096")
    return n


def cgroup_quota(root: str | os.PathLike[str] = "/") -> float | None:
    """The CPUs that this process's control groups grant, of version 1 or 2; None without a limit."""
    base = os.fspath(root)
    try:
        lines = _read(base, "proc/self/cgroup").splitlines()
    except OSError:
        return None
    found: list[float] = []
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            mounts = ["sys/fs/cgroup", "sys/fs/cgroup/unified"]
        elif "cpu" in controllers.split(","):
            mounts = [f"sys/fs/cgroup/{controllers}", "sys/fs/cgroup/cpu"]
        else:
            continue
        for mount in mounts:
            # A container often sees its own group as the root of the mount: look there, too.
            group = path.strip("/").split("/") if path.strip("/") else []
            for depth in range(len(group), -1, -1):
                quota = _quota_of(os.path.join(base, mount, *group[:depth]))
                if quota is not None:
                    found.append(quota)
    return min(found, default=None)


def _read(*path: str) -> str:
    with open(os.path.join(*path), encoding="utf-8") as file:
        return file.read()


def _quota_of(group: str) -> float | None:
    try:
        quota, period = _read(group, "cpu.max").split()
    except (OSError, ValueError):
        try:
            quota, period = _read(group, "cpu.cfs_quota_us"), _read(group, "cpu.cfs_period_us")
        except OSError:
            return None
    try:
        share = float(quota) / float(period)
    except (ValueError, ZeroDivisionError):  # "max": no limit
        return None
    return share if share > 0 else None


def usable_cpus() -> int:
    """The CPUs that this process may use: its affinity, and its quota rounded up."""
    global _quota
    if _quota is None:
        _quota = math.ceil(cgroup_quota() or sys.maxsize)
    cpus = _kernels.processors() or os.cpu_count() or 1
    return min(cpus, _quota)


def processor_name() -> str:
    """What the processor is called."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux: the platform module knows less, but something
    return platform.processor() or platform.machine()


def get_num_threads() -> int:
    """The number of threads that long calls may use here and now.

    >>> import cpool
    >>> with cpool.threads(2):
    ...     cpool.get_num_threads()
    2
    """
    global _from_environment
    scoped = _scoped.get()
    if scoped is not None:
        return scoped
    if _chosen is not None:
        return _chosen
    if _from_environment is None:
        text = os.environ.get("CPOOL_NUM_THREADS")
        if not text:
            _from_environment = 0
        else:
            if not text.strip().isdecimal() or int(text) < 1:
                bad_value("CPOOL_NUM_THREADS", text, "a number of threads is a positive int")
            _from_environment = min(int(text), 4096)
    if _from_environment:
        return _from_environment
    return max(1, min(_kernels.openmp_threads(), usable_cpus()))


def set_num_threads(n: int) -> None:
    """Let long calls use `n` threads, in every Python thread of this process.

    >>> import cpool
    >>> n = cpool.get_num_threads()
    >>> cpool.set_num_threads(n)  # what was the default is now the choice
    """
    global _chosen
    _chosen = _count("n", n)


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Let long calls within the block use `n` threads; it counts for this Python thread or task alone.

    >>> import numpy as np, cpool
    >>> x = np.random.rand(64, 56, 56)
    >>> with cpool.threads(1):
    ...     alone = cpool.adaptive_avg_pool2d(x, 7)
    >>> bool((alone == cpool.adaptive_avg_pool2d(x, 7)).all())  # on any number
    True
    """
    token = _scoped.set(_count("n", n))
    try:
        yield
    finally:
        _scoped.reset(token)


# ---- instruction sets ------------------------------------------------------------------------

_simd: str | None = None


def simd_available() -> tuple[str, ...]:
    """The instruction sets that this build has and this machine runs, best first."""
    return _kernels.isa_names()


def simd() -> str:
    """The instruction set in use: what CPOOL_SIMD names, else the best."""
    global _simd
    if _simd is None:
        asked = os.environ.get("CPOOL_SIMD")
        there = simd_available()
        if asked and asked not in there:
            bad_value("CPOOL_SIMD", asked, f"this machine has {', '.join(there)}")
        _simd = asked or there[0]
    return _simd


@contextmanager
def force_simd(name: str | None) -> Iterator[None]:
    """Use exactly this instruction set within the block, in the whole process; for tests."""
    global _simd
    if name is not None and name not in simd_available():
        bad_value("name", name, f"this machine has {', '.join(simd_available())}")
    before, _simd = _simd, name
    _kernels.forget()
    try:
        yield
    finally:
        _simd = before
        _kernels.forget()


@contextmanager
def force_split() -> Iterator[None]:
    """Split even the smallest work over the threads within the block; for tests."""
    before = _kernels.split_everything(True)
    try:
        yield
    finally:
        _kernels.split_everything(before)


# ---- from a plan to a call ---------------------------------------------------------------------

TYPES = ("f2", "bfloat16", "f4", "f8", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8")
F16, BF16, F32, F64, I8, U8, I16, U16, I32, U32, I64, U64, WIDE = range(13)
SUM_F, SUM_D, SUM_I, SUM_W = range(4)

LINE = 1024  # elements of a line at a time: two of them and what they need stay in L1
GROUP = 2048  # elements of the lines that are worked on together
LINES = 64  # the most of them; as in simd/walk.c
STRIP = 64  # elements of a line that AVX-512 keeps in registers
PAD = 16
FAR = 2**24  # bytes of an input from which on it is read in the order of memory, and asked for early
FAR_OUT = 2**25  # bytes of a result that is better written past the caches, if that is all that is done
FAR_LINE = 2048  # elements of a line that its rows are added to
FAR_ROW = 1024  # bytes of a pixel's channels, if there are several, for which that is worth it
NEXT = 2**18  # bytes to the next plane, at most, that is asked for while this one is read
TILE = 32768  # bytes of results that are built in one piece, where many are alike
MOST = 2**20  # bytes of results that one of them is built from
SHORT = 128  # bytes of a row of them that takes no less than its results, if they are not
OFTEN = 8  # of each, on average
TAPS = 64  # of windows that channels pass one strip after the other
FEW_TAPS = 9  # the most of those windows that do so when they come from afar, too
UNITS = 8  # pieces that the work on something large should have, at least
SMALL = 256  # elements, and results, of planes that are worth pooling side by side
ROW_TABLE = 32768  # rows of outer windows that are listed once; more are listed as they come


_CODES = {np.dtype(name): code for code, name in enumerate(TYPES) if name != "bfloat16"} | {np.dtype(bool): U8}


def type_code(item: np.dtype[Any]) -> int:
    """The kernels' number for an element's type, in this machine's byte order."""
    code = _CODES.get(item)
    return BF16 if code is None else code


def _kind(code: int, path: str, reducer: str) -> int:
    if reducer == "max":
        return SUM_I if code >= I64 else SUM_F
    if code == F64:
        return SUM_D
    if code <= F32 or code == WIDE or (code <= U32 and path != "wide"):
        return SUM_F
    return SUM_W if code >= I32 else SUM_I


def _pool(axis: Pooled) -> dict[str, Any]:
    table = axis.windows
    return {
        "m": table.count,
        "x_stride": axis.x_stride,
        "out_stride": axis.out_stride,
        "step": table.step,
        "index_stride": axis.index_stride,
        "start": np.ascontiguousarray(table.starts),
        "count": np.ascontiguousarray(table.sizes),
    }


def _whole(stride: int) -> Pooled:
    """A pooled axis of one element, for plans that pool none."""
    return Pooled(windows(1, 1), stride, stride)


def _choose_channels(plan: Plan, inner: Pooled) -> tuple[Kept | None, tuple[Kept, ...], bool]:
    """The kept axis whose elements are pooled side by side, the others, and whether rows must be gathered."""
    size = plan.item.itemsize
    last = plan.kept[-1] if plan.kept else None
    if plan.lanes == 1:
        if last is None:
            return None, (), False
        unit = next((k for k in reversed(plan.kept) if k.x_stride == size), None)
        axis = unit or last
        return axis, tuple(k for k in plan.kept if k is not axis), axis.x_stride != size
    if inner.x_stride == size and inner.windows.step == 1:
        return None, plan.kept, False
    if (
        last is not None
        and last.length > 1
        and size * last.length <= last.length * last.x_stride <= abs(inner.x_stride)
    ):
        dense = last.x_stride == size and inner.x_stride == last.length * size
        return last, plan.kept[:-1], not dense
    return None, plan.kept, inner.x_stride != size


def _rows_table(pools: list[dict[str, Any]], windows: int) -> tuple[Int64s | None, Int64s | None]:
    """Byte offsets of the rows of every outer window, and where each window's begin; None if too many."""
    if windows > ROW_TABLE or math.prod(int(p["count"].sum()) for p in pools) > ROW_TABLE:
        return None, None
    lists: list[Array] = [np.zeros(1, np.int64)]
    for p in pools:
        taps = [
            (int(s) + np.arange(int(n), dtype=np.int64) * p["step"]) * p["x_stride"]
            for s, n in zip(p["start"], p["count"], strict=True)
        ]
        lists = [(rows[:, None] + t[None, :]).reshape(-1) for rows in lists for t in taps]
    starts = np.zeros(len(lists) + 1, np.int64)
    np.cumsum([len(rows) for rows in lists], out=starts[1:])
    return np.concatenate(lists), starts


def _firsts(table: Windows) -> Int64s:
    """The windows that are not like the one before."""
    new = np.ones(table.count, bool)
    new[1:] = np.any([np.diff(a) != 0 for a in (table.starts, table.sizes, table.counted)], axis=0)
    return np.flatnonzero(new).astype(np.int64)


def _each_once(plan: Plan) -> tuple[Plan, dict[str, Any] | None]:
    """The plan for windows that are not like the one before, and how their results are repeated; None if most differ.

    Gradients of tiled windows are like this, and averages to more windows than there are elements.
    """
    if plan.indexed or plan.slides or not plan.pooled or 0 in plan.out_shape:
        return plan, None
    counts = [a.windows.count for a in plan.pooled]
    block = plan.pooled[-1].out_stride
    strides = [block * math.prod(counts[i + 1 :]) for i in range(len(counts))]
    neighbours, others, _ = _choose_channels(plan, plan.pooled[-1])
    size = plan.out_item.itemsize
    if (
        [a.out_stride for a in plan.pooled] != strides
        or block != (neighbours.length * size if neighbours else size)
        or (neighbours and neighbours.out_stride != size)
    ):
        return plan, None
    firsts = [_firsts(a.windows) for a in plan.pooled]
    m = [len(f) for f in firsts]
    if math.prod(counts) < math.prod(m) * (OFTEN if block * counts[-1] < SHORT else 2):
        return plan, None
    built = [strides[0] * counts[0], *strides[:-1]]  # bytes of what the axes from each on make
    inside = next((i for i, n in enumerate(built) if n <= TILE), len(built) - 1)
    pieces = math.prod(k.length for k in others) * math.prod(m[:inside])
    taps = math.prod(int(a.windows.sizes.max()) for a in plan.pooled)
    if block * math.prod(m[inside:]) > MOST or taps > BLOCK or (pieces < UNITS and plan.elements > BLOCK):
        return plan, None  # too much of it, or too little to share out
    pooled = []
    for i, (axis, f) in enumerate(zip(plan.pooled, firsts, strict=True)):
        t = axis.windows
        table = Windows(t.length, t.starts[f], t.sizes[f], t.counted[f], t.step)
        pooled.append(replace(axis, windows=table, out_stride=block * math.prod(m[i + 1 :])))
    kept, step = list(plan.kept), block * math.prod(m)
    for i in reversed(range(len(kept))):
        if kept[i] is not neighbours:
            kept[i] = replace(kept[i], out_stride=step)
            step *= kept[i].length
    spread = {
        "at": [np.append(f, n) for f, n in zip(firsts, counts, strict=True)],
        "strides": strides,
        "block": block,
        "most": int(np.diff(firsts[-1], append=counts[-1]).max()) * block,
        "kept_out": [k.out_stride for k in others],
        "inside": inside,
        "far": strides[0] * counts[0] * math.prod(k.length for k in others) > FAR_OUT,
    }
    return replace(plan, pooled=tuple(pooled), kept=tuple(kept)), spread


def _is_read_in_order(path: str, code: int, row: int, taps: int) -> bool:
    """Whether that is worth it: sums that cost more than reading rather stay in registers for several rows."""
    if path in ("rows", "pixels") and simd() == "baseline":
        return False
    if path == "rows":
        return code in (F32, I32, U32)
    return row >= FAR_ROW and (path != "pixels" or (taps > FEW_TAPS and code in (F16, BF16, F32, I32, U32)))


def _share(plan: Plan, length: int, times: int) -> int:
    """How much of so many channels, or of a line, is a piece: of few large windows, only these can be shared out."""
    return length if plan.elements <= UNITS * BLOCK else max(-(-length * times // (UNITS * STRIP)), 1) * STRIP


def _next_plane(kept: tuple[Kept, ...], outer: tuple[Pooled, ...]) -> int:
    """Bytes to the plane that is asked for next, where its rows aren't read in the order of memory."""
    stride = kept[-1].x_stride if kept else 0
    return stride if len(outer) > 1 and abs(stride) <= NEXT else 0


def _tiles(inner: dict[str, Any], channels: int, repeat: bool, line: int = LINE) -> list[dict[str, Any]]:
    """Runs of inner windows whose columns make a line of about so many elements."""
    start, count, step = inner["start"], inner["count"], inner["step"]
    # Padding and dilation together put windows out of order: the least still to come, the most so far.
    least = np.minimum.accumulate(start[::-1])[::-1]
    most_so_far = np.maximum.accumulate(start + np.maximum(count - 1, 0) * step + 1)  # an empty window needs one, too
    tiles = []
    seen: dict[tuple[bytes, bytes], dict[str, Any]] = {}  # those of a long axis are mostly alike
    first, m = 0, inner["m"]
    most = max(1, line // channels)
    while first < m:
        column = int(least[first])
        last = min(int(np.searchsorted(most_so_far, column + most, side="right")), first + most)
        last = max(last, first + 1)
        begin, sizes = start[first:last] - column, count[first:last]
        columns = int(most_so_far[last - 1]) - column
        key = begin.tobytes(), sizes.tobytes()
        fold = seen.get(key)
        if fold is None:
            if len(seen) == 16:
                seen.clear()
            fold = seen[key] = _fold(begin, sizes, columns, step, channels, repeat)
        tiles.append({"first": first, "last": last, "column": column, "columns": columns, **fold})
        first = last
    return tiles


def _fold(begin: Int64s, sizes: Int64s, columns: int, step: int, channels: int, repeat: bool) -> dict[str, Any]:
    """How the columns of a tile become its windows."""
    stride = int(begin[1] - begin[0]) if len(begin) > 1 else 0
    same = bool((sizes == sizes[0]).all()) and bool((np.diff(begin) == stride).all())
    perm, perm_at = (None, None) if channels > 1 or step > 1 else _permutations(begin, sizes, columns, repeat)
    return {
        "start": np.pad(begin, (0, -len(begin) % 8)),
        "count": np.pad(sizes, (0, -len(begin) % 8)),
        "vectors": max(1, -(-int(sizes.max()) // 8)),
        "uniform": stride if same else 0,
        "perm": perm,
        "perm_at": perm_at,
    }


def _permutations(start: Int64s, count: Int64s, columns: int, repeat: bool) -> tuple[Int64s | None, Int64s | None]:
    """For each 8 windows that lie in 16 columns: the base, the terms, and term t of each window.

    What is there has its sign set; what isn't is the last of the sixteen, which is zero where there are fewer,
    or (`repeat`) the first term once more.
    """
    s = np.pad(start, (0, -len(start) % 8), mode="edge").reshape(-1, 8)
    n = np.pad(count, (0, -len(start) % 8)).reshape(-1, 8)
    base = np.zeros(len(s), np.int64) if columns <= 16 else s.min(axis=1)
    terms = np.maximum(n.max(axis=1), 1)
    fits = ((s + n).max(axis=1) - base <= 16) & (s.min(axis=1) >= base) & (terms <= 8)
    if not fits.any():
        return None, None
    lengths = np.where(fits, 2 + 8 * terms, 0)
    ends = np.cumsum(lengths)
    at = np.where(fits, ends - lengths, -1)
    entries = np.empty(int(ends[-1]), np.int64)
    entries[at[fits]], entries[at[fits] + 1] = base[fits], terms[fits]
    lanes = np.arange(8)
    missing = 15
    for t in range(int(terms[fits].max())):
        these = fits & (terms > t)
        index = np.where(t < n[these], (s[these] - base[these, None] + t) | np.int64(-(2**63)), missing)
        if repeat and t:
            index = np.where(index == missing, entries[at[these, None] + 2 + lanes], index)
        entries[at[these, None] + 2 + 8 * t + lanes] = index
    return entries, at


def _are_small_planes(plan: Plan, pooled: tuple[Pooled, ...], code: int) -> bool:
    """Whether there are many small planes of floats, each in one piece, and so are their results."""
    if (
        plan.reducer != "avg"
        or plan.division is not None
        or code not in (*range(F64 + 1), WIDE)
        or plan.out_item != (np.dtype("f4") if plan.wide else plan.item)
        or math.prod(k.length for k in plan.kept) < 8
    ):
        return False
    elements, results = 1, 1
    for axis in reversed(pooled):
        table = axis.windows
        if axis.x_stride != elements * plan.item.itemsize or axis.out_stride != results * plan.out_item.itemsize:
            return False
        elements *= table.length
        results *= table.count
    return elements <= SMALL and 0 < results <= SMALL


# Nanoseconds per element read and per result, for the first call of a plan; then they are measured.
_READ = {F64: 0.4, I64: 0.4, U64: 0.4}
_RESULT = 1.0


def build(plan: Plan) -> _kernels.Call:
    """The plan as the kernels take it."""
    plan, spread = _each_once(plan)
    size = plan.item.itemsize
    code = WIDE if plan.wide else type_code(plan.item)
    pooled = plan.pooled or (_whole(size),)
    inner, outer = pooled[-1], pooled[:-1]
    axis, kept, pack = _choose_channels(plan, inner)
    channels = axis.length if axis else 1
    swap = plan.swapped and size > 1
    pack = pack or swap
    pools = [_pool(a) for a in outer]
    spec_inner = _pool(inner)
    outer_windows = math.prod(a.windows.count for a in outer)
    max_rows = math.prod(int(a.windows.sizes.max()) for a in outer) if outer_windows else 1
    empty = outer_windows == 0 or inner.windows.count == 0
    width = 1 if empty else int(inner.windows.sizes.max())
    step = inner.windows.step
    if max_rows * width > BLOCK:
        path = "wide"
    elif plan.lanes == 1:
        path = "pixels"
    elif channels == 1 and not pack and step == 1 and (width > LANES or inner.windows.count == 1):
        path = "lanes"
    elif width > LANES or step > 4:
        path = "wide"
    elif channels == 1 and not pack and not (spread and spread["inside"]) and _are_small_planes(plan, pooled, code):
        path = "planes"
    else:
        path = "rows"
    out_size = plan.out_item.itemsize
    channel_out = axis.out_stride if axis else out_size
    if (
        not plan.pooled
        and not pack
        and channel_out == out_size
        and plan.item == plan.out_item
        and plan.divisor in (None, 1)
        and (code <= F64 or plan.reducer == "max")
    ):
        path = "copy"
    if path == "wide" and plan.lanes == LANES and step > 1:
        pack = True
    row = channels * size if channels > 1 else FAR_ROW
    far = plan.elements * size > FAR and _is_read_in_order(path, code, row, max_rows * width)
    kind = _kind(code, path, plan.reducer)
    tiles: list[dict[str, Any]] = []
    # far pixels come fastest whole, even if their sums fill half of L1
    channel_tile = min(channels, LINE * (8 if path == "copy" else 4 if path == "pixels" and far else 1))
    lines = math.prod(k.length for k in kept)
    if path == "pixels" and STRIP < channels <= 2 * STRIP:
        channel_tile = -(-channels // 16) * 8  # two halves, each of which stays in registers
    elif path == "pixels":
        channel_tile = min(channel_tile, _share(plan, channels, lines * outer_windows * inner.windows.count))
    group = 1
    if path == "rows":
        longer = max(inner.windows.length, inner.windows.count)  # of the elements of a row and its results
        line = FAR_LINE if far and max_rows > 1 else LINE
        line = min(line, _share(plan, longer * channels, lines * outer_windows))
        tiles = [] if empty else _tiles(spec_inner, channels, plan.reducer == "max", line)
        acc = max((t["columns"] for t in tiles), default=1) * channels
        sums = max((t["last"] - t["first"] for t in tiles), default=1) * channels
    elif path == "lanes":
        acc, sums = 1, 64
    elif path == "planes":
        acc = sums = 1
    elif plan.lanes == 1:
        acc = sums = channel_tile
    else:
        acc, sums = max(LANES * channels, LINE), channels
    acc_len = -(-acc // 8) * 8 + PAD
    sums_len = -(-sums // 8) * 8 + PAD
    if path in ("rows", "pixels"):
        group = max(1, min(LINES, GROUP // acc_len, 2 * GROUP // sums_len))
    elif path == "lanes":
        group = LINES
    row_off, row_at = (None, None) if empty else _rows_table(pools, outer_windows)
    rows, divisor = divisor_rows(pooled, 1 if plan.reducer == "max" else plan.divisor)
    divisor_pad = np.ones(PAD)
    if path == "rows" and len(rows) * divisor.shape[1] * channels <= 4 * GROUP:
        # one row for each outer window: what is finished as one piece finds its divisors in one piece
        divisor, rows = divisor[rows], np.arange(len(rows), dtype=np.int64)
    flat = np.concatenate([divisor.reshape(-1), divisor_pad])
    reciprocal = 1.0 / flat
    wide, reciprocal_wide = flat, reciprocal
    if path == "rows" and channels > 1:
        wide = np.concatenate([np.repeat(divisor, channels, axis=1).reshape(-1), divisor_pad])
        reciprocal_wide = 1.0 / wide
    dense_out = channel_out == out_size and (
        path != "rows" or inner.windows.count == 1 or inner.out_stride == channels * out_size
    )
    per_line = {
        "rows": len(tiles),
        "pixels": inner.windows.count * -(-channels // channel_tile),
        "copy": -(-channels // channel_tile),
        "planes": 1,
        "lanes": inner.windows.count,
        "wide": inner.windows.count * (-(-channels // channel_tile) if plan.lanes == 1 else 1),
    }[path]
    outputs = math.prod(plan.out_shape)
    planes = 2 if kind in (SUM_D, SUM_W) else 1
    spec = {
        "path": path,
        "isa": simd(),
        "type": code,
        "out_type": type_code(plan.out_item),
        "kind": kind,
        "size": size,
        "out_size": out_size,
        "pack": pack,
        "swap": swap,
        "kept": [(k.length, k.x_stride, k.out_stride) for k in kept],
        "pools": pools,
        "outer_windows": outer_windows,
        "max_rows": max_rows,
        "row_off": row_off,
        "row_at": row_at,
        "inner": spec_inner,
        "channels": channels,
        "channel_x": axis.x_stride if axis else size,
        "channel_out": channel_out,
        "channel_tile": channel_tile,
        "quick": max_rows * width <= TAPS,
        "far": far,
        "next": _next_plane(kept, outer) if path == "rows" else 0,
        "lanes": plan.lanes,
        "tiles": tiles,
        "divisor_row": rows,
        "divisor": flat,
        "reciprocal": reciprocal,
        "divisor_wide": wide,
        "reciprocal_wide": reciprocal_wide,
        "dense_out": dense_out,
        "acc_len": acc_len,
        "sums_len": sums_len,
        "group": group,
        "planes": planes,
        "plane": math.prod(a.windows.length for a in pooled) if path == "planes" else 0,
        "line": inner.windows.length if path == "planes" else 0,
        "results": outer_windows * inner.windows.count if path == "planes" else 0,
        "units": 0 if empty or outputs == 0 else lines * (1 if path == "planes" else outer_windows) * per_line,
        "cost": min(int(plan.elements * _READ.get(code, 0.15) * (8 if pack else 1) + outputs * _RESULT), 2**60) + 100,
        "out_strides": packed_strides(plan.out_shape, plan.out_order, plan.out_dtype.itemsize),
    }
    if plan.division is not None:
        by = np.append(plan.division.by, np.ones(PAD))
        spec["division"] = {
            "type": type_code(plan.x_dtype),
            "size": plan.x_dtype.itemsize,
            "planes": plan.division.planes,
            "length": len(plan.division.by),
            "inner": plan.division.inner,
            "by": by,
            "reciprocal": 1.0 / by,
        }
    spec["spread"] = spread
    return _kernels.Call(plan, spec)


def call_of(plan: Plan) -> _kernels.Call:
    """The plan made ready for the instruction set in use; made once."""
    name = simd()
    call = plan.compiled.get(name)
    if call is None:
        call = plan.compiled[name] = build(plan)
    return call


def run(plan: Plan, x: Array, out: Array | None, indices: Array | None = None) -> Array:
    """Pool x by the plan, into `out` or a new array; `indices` lie in memory as the result does."""
    return call_of(plan).run(x, out, get_num_threads(), indices)


def dense(x: Array, w: Array, bias: Array, function: str, single: bool) -> Array:
    """A small layer: the function of x @ w.T + bias, in doubles (floats if `single`)."""
    return _kernels.dense(x, w, bias, function, single, simd(), get_num_threads)


def scale(x: Array, factor: Array, out: Array, last: bool) -> None:
    """x (batch, channels, elements), or with its channels last, by factors (batch, channels), doubles if x is, else
    floats; all packed."""
    _kernels.scale(x, factor, out, simd(), type_code(x.dtype), last, get_num_threads)


def remembers(plan: Plan) -> bool:
    """Whether calls of this plan are kept: if its tables are small."""
    return plan.weight <= 2**17 and not plan.slides


def remember(name: str, args: tuple[Any, ...], x: Array, plan: Plan) -> None:
    """Keep the call for `_kernels.again`, the short way for small arrays."""
    if remembers(plan):
        _kernels.remember(name, args, x, call_of(plan).prepared(get_num_threads))
