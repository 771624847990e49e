"""What is timed: rows (a shape, an operation, its arguments), types, layouts, data and the right results."""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .machine import caches

Array = NDArray[Any]
Taps = list[tuple[int, int, int]]  # of each window: first element, one after the last, divisor

LAYOUTS = ("first", "last")  # where the channels are
DTYPES = (
    "float32", "float16", "bfloat16", "float64",
    "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64",
)  # fmt: skip


# ---- operations ------------------------------------------------------------------------------


def _adaptive(n: int, arguments: tuple[Any, ...], axis: int) -> Taps:
    size = arguments[0]
    m = size[axis] if isinstance(size, tuple) else size
    bounds = [(i * n // m, -(-(i + 1) * n // m)) for i in range(m)]
    return [(a, b, b - a) for a, b in bounds]


def _strided(n: int, arguments: tuple[Any, ...], axis: int) -> Taps:
    kernel, stride, padding = arguments
    starts = range(-padding, n + padding - kernel + 1, stride)
    return [(max(a, 0), min(a + kernel, n), kernel) for a in starts]


@dataclass(frozen=True)
class Operation:
    """One kind of pooling: where its windows are, and what it is called."""

    name: str
    function: str  # in cpool and in torch.nn.functional; {} is the number of pooled axes
    taps: Callable[[int, tuple[Any, ...], int], Taps]
    label: Callable[[tuple[Any, ...]], str]


def _size_label(arguments: tuple[Any, ...]) -> str:
    size = arguments[0]
    return "x".join(map(str, size)) if isinstance(size, tuple) else str(size)


OPERATIONS = {
    o.name: o
    for o in (
        Operation("adaptive average", "adaptive_avg_pool{}d", _adaptive, _size_label),
        Operation("average", "avg_pool{}d", _strided, lambda a: f"k{a[0]} s{a[1]}" + (f" p{a[2]}" if a[2] else "")),
    )
}


# ---- rows ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One line of the table; the shape is written with channels first."""

    regime: str
    shape: tuple[int, ...]
    arguments: tuple[Any, ...]
    operation: str = "adaptive average"
    set: str = "core"
    dtypes: tuple[str, ...] | None = None  # None: all that are asked for
    result: str | None = None  # type of the result, where it isn't the usual one

    @property
    def name(self) -> str:
        """As in 16x256x56x56 -> 7."""
        to = OPERATIONS[self.operation].label(self.arguments)
        return f"{'x'.join(map(str, self.shape))} -> {to}" + (f" {self.result}" if self.result else "")

    @property
    def rank(self) -> int:
        """How many axes are pooled."""
        return len(self.shape) - 2

    @cached_property
    def taps(self) -> tuple[Taps, ...]:
        """The windows of each pooled axis."""
        find = OPERATIONS[self.operation].taps
        return tuple(find(n, self.arguments, i) for i, n in enumerate(self.shape[2:]))

    @property
    def out_shape(self) -> tuple[int, ...]:
        """The result's shape, channels first."""
        return (*self.shape[:2], *map(len, self.taps))

    @property
    def kind(self) -> str:
        """Tiled, overlapping (equal windows at equal steps) or ragged: the worst of the pooled axes."""
        kinds = {"tiled"}
        for n, taps in zip(self.shape[2:], self.taps, strict=True):
            steps = {b[0] - a[0] for a, b in itertools.pairwise(taps)} or {n}
            sizes = {b - a for a, b, _ in taps}
            if len(steps) > 1 or len(sizes) > 1:
                kinds.add("padded" if self.operation == "average" else "ragged")
            elif steps != sizes:
                kinds.add("overlapping")
        return next(k for k in ("ragged", "padded", "overlapping", "tiled") if k in kinds)

    def result_type(self, dtype: str) -> np.dtype[Any]:
        """What averages of this type come as."""
        kind = numpy_type(dtype)
        if self.result:
            return np.dtype(self.result)
        if kind.kind in "iub":
            return np.dtype(np.float32 if kind.itemsize <= 2 else np.float64)
        return kind

    def takes(self, dtype: str) -> bool:
        """Whether the row is meant for this type."""
        return self.dtypes is None or dtype in self.dtypes

    def bytes_of(self, dtype: str) -> tuple[int, int]:
        """What is read, and what is written."""
        read = math.prod(self.shape) * numpy_type(dtype).itemsize
        return read, math.prod(self.out_shape) * self.result_type(dtype).itemsize

    def tier(self, dtype: str, threads: int) -> str:
        """Where input and output lie: tiny, L2, L3 or DRAM."""
        return caches().tier(sum(self.bytes_of(dtype)), threads)

    def matches(self, text: str) -> bool:
        """Whether the text is the name of this row's set or regime, or part of its own."""
        return text in (self.set, self.regime) or text in self.name


_U8 = ("uint8",)

ROWS = (
    Row("tiny", (1, 64, 8, 9), ((5, 7),)),
    Row("tiny", (1, 64, 10, 9), (7,)),
    Row("global", (1, 96, 32, 32), (1,)),
    Row("global small", (8, 2048, 7, 7), (1,)),
    Row("global small", (32, 2048, 7, 7), (1,)),
    Row("identity", (32, 512, 7, 7), (7,)),
    Row("windows", (16, 256, 56, 56), (7,)),
    Row("windows", (16, 256, 56, 56), (6,)),
    Row("global", (8, 512, 64, 64), (1,)),
    Row("windows", (8, 512, 60, 60), (6,)),
    Row("windows", (8, 512, 60, 60), (7,)),
    Row("image", (4, 3, 1080, 1920), (224,)),
    Row("large planes", (1, 3, 4096, 4096), (512,)),
    Row("large planes", (1, 3, 4096, 4096), (500,)),
    Row("global", (1, 64, 1024, 1024), (1,)),
    Row("quarters", (2, 64, 512, 512), (2,)),
    Row("dense", (64, 256, 14, 14), (13,)),
    Row("small planes", (4, 256, 13, 13), (4,)),
    Row("signal", (16, 512, 3000), (375,)),
    Row("volume", (2, 512, 16, 14, 14), ((1, 7, 7),)),
    Row("large planes", (1, 1, 10980, 10980), (1000,)),
    # uint8 images made smaller by a whole factor, the result uint8 again: what image libraries do
    Row("uint8 planes", (1, 1, 1024, 1024), (128,), set="images", dtypes=_U8, result="uint8"),
    Row("uint8 planes", (1, 1, 4096, 4096), (2048,), set="images", dtypes=_U8, result="uint8"),
    Row("uint8 planes", (1, 3, 4096, 4096), (512,), set="images", dtypes=_U8, result="uint8"),
    Row("uint8 planes", (4, 3, 1080, 1920), ((270, 480),), set="images", dtypes=_U8, result="uint8"),
    Row("uint8 planes", (1, 1, 10980, 10980), (2196,), set="images", dtypes=_U8, result="uint8"),
    Row("uint8 planes", (1, 1, 10980, 10980), (1098,), set="images", dtypes=_U8, result="uint8"),
    # the strided pooling of networks
    Row("strided", (8, 64, 112, 112), (2, 2, 0), "average", "strided"),
    Row("strided", (8, 64, 112, 112), (3, 2, 1), "average", "strided"),
    Row("strided", (16, 256, 56, 56), (2, 2, 0), "average", "strided"),
    Row("strided", (16, 256, 56, 56), (3, 2, 1), "average", "strided"),
)
QUICK = 2**20  # elements: the rows of a smoke run


def select(filters: list[str], quick: bool) -> list[Row]:
    """The rows that any of the filters names, in the table's order."""
    rows = [r for r in ROWS if any(r.matches(f) for f in filters)]
    return [r for r in rows if math.prod(r.shape) <= QUICK] if quick else rows


# ---- types -----------------------------------------------------------------------------------


def numpy_type(name: str) -> np.dtype[Any]:
    """The dtype of that name; bfloat16 is the one of ml_dtypes."""
    if name == "bfloat16":
        import ml_dtypes

        found: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
        return found
    return np.dtype(name)


def missing_type(name: str) -> str | None:
    """Why there is no such dtype here; None if there is."""
    try:
        numpy_type(name)
    except ImportError as error:
        return f"{name}: {error}"
    return None


_MANTISSA = {"float16": (11, -13), "bfloat16": (8, -125), "float32": (24, -125), "float64": (53, -1021)}


def ulp(values: Array, dtype: np.dtype[Any]) -> Array:
    """The distance of neighbouring numbers of the dtype at these values; 1 for integers."""
    if dtype.kind in "iu":
        return np.ones_like(values)
    bits, least = _MANTISSA[dtype.name]
    _, exponent = np.frexp(values)
    distance: Array = np.ldexp(np.ones_like(values), np.maximum(exponent, least) - bits)
    return distance


# ---- cases -----------------------------------------------------------------------------------


@dataclass
class Case:
    """A row with a type and a layout, its data made and touched, and the right result."""

    row: Row
    dtype: str
    layout: str
    x: Array = field(init=False, repr=False)

    def __post_init__(self) -> None:
        n, c, *lengths = self.row.shape
        shape = self.row.shape if self.layout == "first" else (n, *lengths, c)
        random = np.random.default_rng(zlib.crc32(self.row.name.encode()))
        dtype = numpy_type(self.dtype)
        if dtype.kind in "iu":  # none negative: then a mean is as large as the mean of the magnitudes
            self.x = random.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)
        else:
            self.x = random.random(shape, np.float64 if self.dtype == "float64" else np.float32)
            self.x = self.x.astype(dtype, copy=False)

    @property
    def axes(self) -> tuple[int, ...]:
        """The pooled axes of x."""
        first = 2 if self.layout == "first" else 1
        return tuple(range(first, first + self.row.rank))

    @property
    def out_dtype(self) -> np.dtype[Any]:
        """The result's type."""
        return self.row.result_type(self.dtype)

    @property
    def bytes_out(self) -> int:
        """What is written."""
        return self.row.bytes_of(self.dtype)[1]

    @property
    def copies(self) -> bool:
        """Whether so much is written that a copy, not a read, is the limit."""
        return 2 * self.bytes_out >= self.x.nbytes

    @cached_property
    def expected(self) -> Array:
        """The result in a wide type: axis after axis, by NumPy alone."""
        wide = np.longdouble if self.out_dtype.itemsize == 8 else np.float64
        total = self.x
        for axis, taps in zip(self.axes, self.row.taps, strict=True):
            shape = (*total.shape[:axis], len(taps), *total.shape[axis + 1 :])
            pooled = np.empty(shape, wide)
            before: tuple[Any, ...] = (slice(None),) * axis
            for i, (start, stop, _) in enumerate(taps):
                np.sum(total[(*before, slice(start, stop))], axis=axis, dtype=wide, out=pooled[(*before, i)])
            total = pooled
        for axis, taps in zip(self.axes, self.row.taps, strict=True):
            divisors = np.array([d for _, _, d in taps], wide)
            total /= divisors.reshape(-1, *(1,) * (total.ndim - axis - 1))
        return total

    def error(self, result: Array) -> float:
        """How far a result is off, in ULP (in units, for integers); infinite if shape or type differ."""
        if result.shape != self.expected.shape:
            return math.inf
        off = np.abs(result.astype(self.expected.dtype) - self.expected)
        worst = np.max(off / ulp(self.expected, result.dtype), initial=0.0)
        return float(worst) if np.isfinite(worst) else math.inf

    def relative(self, result: Array) -> float:
        """How far a result is off, relative to the largest element of the right one."""
        if result.shape != self.expected.shape:
            return math.inf
        off = np.abs(result.astype(self.expected.dtype) - self.expected)
        worst = float(np.max(off, initial=0.0) / np.max(self.expected))
        return worst if math.isfinite(worst) else math.inf
