"""What is timed: rows (a shape, an operation, its arguments), types, layouts, data and the right results."""

from __future__ import annotations

import itertools
import math
import zlib
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .machine import caches
from .operations import OPERATIONS, Arrays, Axes, Operation, Taps

Array = NDArray[Any]

LAYOUTS = ("first", "last")  # where the channels are
DTYPES = (
    "float32", "float16", "bfloat16", "float64",
    "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64",
)  # fmt: skip


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
        to = self.done.label(self.arguments)
        words = [self.done.prefix, f"{'x'.join(map(str, self.shape))} -> {to}", self.result or ""]
        return " ".join(word for word in words if word)

    @property
    def done(self) -> Operation:
        """What is done."""
        return OPERATIONS[self.operation]

    @property
    def rank(self) -> int:
        """How many axes are pooled."""
        return len(self.shape) - 2

    @cached_property
    def taps(self) -> tuple[Taps, ...]:
        """The windows of each pooled axis."""
        return tuple(self.done.taps(n, self.arguments, i) for i, n in enumerate(self.shape[2:]))

    @property
    def out_shape(self) -> tuple[int, ...]:
        """The shape of what is pooled from it, channels first."""
        return (*self.shape[:2], *map(len, self.taps))

    def shape_of(self, side: str, layout: str = "first") -> tuple[int, ...]:
        """The shape of the "input" or "output" of the pooling, in the order of the layout."""
        n, c, *lengths = self.shape if side == "input" else self.out_shape
        return (n, c, *lengths) if layout == "first" else (n, *lengths, c)

    @property
    def kind(self) -> str:
        """Tiled, overlapping (equal windows at equal steps) or ragged: the worst of the pooled axes."""
        kinds = {"tiled"}
        for n, taps in zip(self.shape[2:], self.taps, strict=True):
            steps = {b[0] - a[0] for a, b in itertools.pairwise(taps)} or {n}
            sizes = {b - a for a, b, _ in taps}
            if len(steps) > 1 or len(sizes) > 1:
                kinds.add("padded" if any(d != b - a for a, b, d in taps) else "ragged")
            elif steps != sizes:
                kinds.add("overlapping")
        return next(k for k in ("ragged", "padded", "overlapping", "tiled") if k in kinds)

    def result_type(self, dtype: str) -> np.dtype[Any]:
        """What results of this type come as."""
        kind = numpy_type(dtype)
        if self.result:
            return np.dtype(self.result)
        if kind.kind in "iub" and "average" in self.operation:
            return np.dtype(np.float32 if kind.itemsize <= 2 else np.float64)
        return kind

    @property
    def explained(self) -> bool:
        """Whether `cpool.explain` takes it: poolings, not their gradients."""
        return self.done.function.startswith(("adaptive_", "avg_", "max_")) and self.done.x_is == "input"

    def takes(self, dtype: str) -> bool:
        """Whether the row is meant for this type."""
        if self.dtypes is not None:
            return dtype in self.dtypes
        return self.done.integers or numpy_type(dtype).kind not in "iub"

    def bytes_of(self, dtype: str) -> tuple[int, int]:
        """What is read, and what is written."""
        read = math.prod(self.shape_of(self.done.x_is)) * numpy_type(dtype).itemsize
        if "max gradient" in self.operation:
            read += math.prod(self.out_shape) * 8
        return read, math.prod(self.shape_of(self.done.result_is)) * self.result_type(dtype).itemsize

    def tier(self, dtype: str, threads: int) -> str:
        """Where input and output lie: tiny, L2, L3 or DRAM."""
        return caches().tier(sum(self.bytes_of(dtype)), threads)


_U8 = ("uint8",)
EXCITED = ((1, 96, 56, 56), (8, 96, 28, 28), (32, 480, 14, 14))
STRIDED = (("average", "strided"), ("max", "strided"))
STRIDED += (("average gradient", "strided gradient"), ("max gradient", "strided gradient"))
FAMILY = {
    "max": "adaptive max",
    "max pair": "adaptive max pair",
    "gradient": "adaptive average gradient",
    "max gradient": "adaptive max gradient",
}

CORE = (
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
)

ROWS = (
    *CORE,
    # uint8 images made smaller by a whole factor, the result uint8 again: what image libraries do
    Row("uint8 planes", (1, 1, 1024, 1024), (128,), set="images", dtypes=_U8, result="uint8"),
    Row("uint8 planes", (1, 1, 4096, 4096), (2048,), set="images", dtypes=_U8, result="uint8"),
    Row("uint8 planes", (1, 3, 4096, 4096), (512,), set="images", dtypes=_U8, result="uint8"),
    Row("uint8 planes", (4, 3, 1080, 1920), ((270, 480),), set="images", dtypes=_U8, result="uint8"),
    Row("uint8 planes", (1, 1, 10980, 10980), (2196,), set="images", dtypes=_U8, result="uint8"),
    Row("uint8 planes", (1, 1, 10980, 10980), (1098,), set="images", dtypes=_U8, result="uint8"),
    # the strided pooling of networks
    *(
        Row("strided", shape, arguments, operation, name)
        for operation, name in STRIDED
        for shape in ((8, 64, 112, 112), (16, 256, 56, 56))
        for arguments in ((2, 2, 0), (3, 2, 1))
    ),
    Row("steps of one", (4, 64, 128, 128), (31, 1, 15), "max", "strided"),
    *(Row("squeeze-excite", shape, (), "squeeze-excite", "excite") for shape in EXCITED),
    # every other operation over the core's shapes
    *(replace(row, operation=operation, set=name) for name, operation in FAMILY.items() for row in CORE),
)
QUICK = 2**20  # elements: the rows of a smoke run


def select(filters: list[str], quick: bool) -> list[Row]:
    """The rows that any of the filters names, by set, by class or by part of their own names, in the table's order."""
    groups = {name for row in ROWS for name in (row.set, row.regime)}
    names = {text for text in filters if text not in groups}
    rows = [r for r in ROWS if {r.set, r.regime} & set(filters) or any(text in r.name for text in names)]
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


# cpool promises half an ULP (one, for float64) and a little; the rest is the check's own rounding.
MOST_ULP = {"float64": 1.01}
MOST_ULP_ELSE = 0.52
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
    given: Arrays = field(init=False, repr=False)  # x, and what the operation needs besides

    def __post_init__(self) -> None:
        shape = self.row.shape_of(self.row.done.x_is, self.layout)
        random = np.random.default_rng(zlib.crc32(self.row.name.encode()))
        dtype = numpy_type(self.dtype)
        if dtype.kind in "iu":  # none negative: then a mean is as large as the mean of the magnitudes
            self.x = random.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)
        else:
            self.x = random.random(shape, np.float64 if self.dtype == "float64" else np.float32)
            self.x = self.x.astype(dtype, copy=False)
        self.given = {"x": self.x, **self.row.done.besides(random, self.x, self.shape, self.windows)}

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of what is pooled: of x, unless x is a gradient."""
        return self.row.shape_of("input", self.layout)

    @property
    def windows(self) -> Axes:
        """The pooled axes and their windows."""
        return list(zip(self.axes, self.row.taps, strict=True))

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
    def bytes_in(self) -> int:
        """What is read."""
        return self.row.bytes_of(self.dtype)[0]

    @property
    def copies(self) -> bool:
        """Whether so much is written that a copy, not a read, is the limit."""
        return 2 * self.bytes_out >= self.bytes_in

    @cached_property
    def expected(self) -> Array:
        """The result in a wide type, by NumPy alone."""
        wide = np.longdouble if self.out_dtype.itemsize == 8 else np.float64
        return self.row.done.expected(self.given, self.shape, self.windows, wide)

    def right(self, result: Array) -> bool:
        """Whether a result of cpool's is what cpool promises."""
        bound = self.row.done.relative
        if bound is not None:
            return self.relative(result) <= bound * 2.0 ** max(0, 24 - _MANTISSA[self.dtype][0])
        return self.error(result) <= MOST_ULP.get(self.dtype, MOST_ULP_ELSE)

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
