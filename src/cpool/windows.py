"""Where windows start and stop. Nothing else in the project computes one.

A table holds, for every window along one axis, its first tap inside the axis, how many taps lie
inside it, and how many count for the divisor. All of it is integer arithmetic that cannot overflow
for any axis that an array can have and fewer than 2**31 windows.
"""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .errors import bad_kind, bad_value

Int64s = NDArray[np.int64]

MAX_LENGTH = 2**63 - 1
MAX_WINDOWS = 2**31
PIECE = 2**13  # windows that are looked at together, where errors are looked for


def as_int(argument: str, value: object, wanted: str = "an int is needed") -> int:
    """`value` as a Python int; bool, float and everything else that is no integer is refused."""
    if type(value) is int:
        return value
    if isinstance(value, (bool, np.bool_)):
        bad_kind(argument, value, wanted)
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        bad_kind(argument, value, wanted)


def as_flag(argument: str, value: object) -> bool:
    """`value` as a bool; what is neither True nor False is refused."""
    if not isinstance(value, (bool, np.bool_)):
        bad_kind(argument, value, "True or False is needed")
    return bool(value)


@dataclass(frozen=True, eq=False)
class Windows:
    """The windows along one axis of `length` elements.

    `starts`, `stops` and `sizes` speak of taps inside the axis: the first one, one past the last
    one, and how many there are; taps lie `step` apart. `counted` is the number of taps that the
    divisor counts when padding is included.

    >>> import cpool
    >>> table = cpool.windows(10, 7)
    >>> table.starts.tolist()
    [0, 1, 2, 4, 5, 7, 8]
    >>> table.stops.tolist()
    [2, 3, 5, 6, 8, 9, 10]
    >>> table.kind, table.as_strided()
    ('ragged', None)
    """

    length: int
    starts: Int64s
    sizes: Int64s
    counted: Int64s
    step: int = 1
    _regular: tuple[int, int] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for array in (self.starts, self.sizes, self.counted):
            array.setflags(write=False)

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def count(self) -> int:
        """How many windows there are."""
        return len(self.starts)

    @property
    def stops(self) -> Int64s:
        """One past the last tap of each window."""
        return self.starts + (self.sizes - 1) * self.step + 1

    @property
    def kind(self) -> str:
        """`tiled` (windows side by side cover the axis), `overlapping` (one size and one step: of
        adaptive windows neighbours then share elements; a kernel and a stride of your own may leave some out) or
        `ragged` (sizes or steps differ: no kernel and stride reproduce it)."""
        if self._regular is None:
            # One size and a step of nothing (1 -> 5, say) is regular, yet no stride expresses it.
            still = self.count > 1 and int(self.starts[0]) == int(self.starts[-1])
            return "overlapping" if still else "ragged"
        kernel, stride = self._regular
        tiled = self.step == 1 and kernel == stride and kernel * self.count == self.length
        return "tiled" if tiled else "overlapping"

    def as_strided(self) -> tuple[int, int] | None:
        """`(kernel, stride)` of the strided pooling without padding and dilation that has these windows, or None."""
        kernel, stride, dilation = self.as_dilated() or (0, 0, 0)
        return (kernel, stride) if dilation == 1 else None

    def as_dilated(self) -> tuple[int, int, int] | None:
        """`(kernel, stride, dilation)` of the strided pooling without padding that has these windows, or None."""
        if self._regular is None or not np.array_equal(self.counted, self.sizes):
            return None
        return (*self._regular, self.step)

    @property
    def covered(self) -> int:
        """How many elements of the axis lie in a window."""
        residues = self.starts % self.step
        first = residues * (self.length // self.step + 1) + self.starts // self.step  # taps of one residue side by side
        order = np.argsort(first, kind="stable")
        first, last = first[order], (first + self.sizes)[order]
        before = np.maximum.accumulate(np.concatenate([first[:1], last[:-1]]))
        return int(np.maximum(last - np.maximum(first, before), 0).sum())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Windows):
            return NotImplemented
        return (
            self.length == other.length
            and self.step == other.step
            and np.array_equal(self.starts, other.starts)
            and np.array_equal(self.sizes, other.sizes)
            and np.array_equal(self.counted, other.counted)
        )

    def __hash__(self) -> int:
        return hash((self.length, self.step, self.starts.tobytes(), self.sizes.tobytes()))


def _regular(length: int, starts: Int64s, sizes: Int64s, step: int) -> tuple[int, int] | None:
    """(kernel, stride) of unpadded strided pooling, its taps `step` apart, with these windows, if there is one."""
    m = len(starts)
    if m == 0 or int(starts[0]) != 0:
        return None
    kernel = int(sizes[0])
    extent = (kernel - 1) * step + 1
    stride = int(starts[1]) if m > 1 else max(length, 1)
    if stride <= 0 or (length - extent) // stride + 1 != m:
        return None
    same = bool((sizes == kernel).all()) and bool((np.diff(starts) == stride).all())
    return (kernel, stride) if same else None


def _table(length: int, starts: Int64s, sizes: Int64s, counted: Int64s, step: int) -> Windows:
    return Windows(length, starts, sizes, counted, step, _regular(length, starts, sizes, step))


def _check_length(n: object) -> int:
    length = as_int("n", n, "the length of an axis is an int")
    if not 0 < length <= MAX_LENGTH:
        bad_value("n", n, "the length of a pooled axis is from 1 to 2**63 - 1")
    return length


@dataclass(frozen=True)
class Adaptive:
    """The windows of an axis of `length` pooled to `count`, which were checked, but whose table is still to be made."""

    length: int
    count: int

    @property
    def most(self) -> int:
        """How many elements the largest of them counts."""
        m = max(self.count, 1)
        return -(-(self.length + m - math.gcd(self.length, m)) // m)

    def table(self) -> Windows:
        """The table."""
        length, size = self.length, self.count
        if size == 0:
            empty = np.zeros(0, np.int64)
            return Windows(length, empty, empty.copy(), empty.copy())
        whole, part = divmod(length, size)
        i = np.arange(size, dtype=np.int64)
        starts = i * whole + i * part // size
        sizes = (i + 1) * whole + ((i + 1) * part + (size - 1)) // size - starts
        return _table(length, starts, sizes, sizes.copy(), 1)


@dataclass(frozen=True)
class Strided:
    """Strided windows of an axis, which were checked, but whose table is still to be made.

    `included`: an average counts the padding, too.
    """

    length: int
    kernel: int
    stride: int
    dilation: int
    before: int
    after: int
    count: int
    included: bool

    @property
    def most(self) -> int:
        """Of so many elements that none of them counts more."""
        outside = self.before + self.after if self.included else 0
        return min(self.kernel, (self.length + outside - 1) // self.dilation + 1)

    def table(self) -> Windows:
        """The table."""
        k, d = self.kernel, self.dilation
        first = np.arange(self.count, dtype=np.int64) * self.stride - self.before
        skipped = np.maximum(0, -((first) // d))  # ceil(-first / d): taps before the axis
        skipped = np.minimum(skipped, k)
        starts = first + skipped * d
        inside = np.minimum(k, (self.length - 1 - first) // d + 1) - skipped
        counted = np.minimum(k, (self.length + self.after - 1 - first) // d + 1) if self.included else inside.copy()
        # Without a next tap there is no step; but windows out of order, as padding makes them, are told by theirs.
        step = d if int(inside.max()) > 1 or bool((np.diff(starts) < 0).any()) else 1
        return _table(self.length, starts, inside, counted, step)


Spec = Adaptive | Strided


def adaptive(n: int, m: int, argument: str = "m") -> Adaptive:
    """The adaptive windows of an axis of length `n` pooled to `m`, checked."""
    length = _check_length(n)
    return Adaptive(length, check_count(argument, as_int(argument, m, "the number of windows is an int")))


def check_count(argument: str, m: int) -> int:
    """The number of windows, if there can be so many."""
    if not 0 <= m < MAX_WINDOWS:
        bad_value(argument, m, "the number of windows is from 0 to 2**31 - 1")
    return m


def check_positive(argument: str, value: object) -> int:
    """A kernel_size, stride or dilation as an int, if an axis can have it."""
    n = as_int(argument, value)
    if n < 1:
        bad_value(argument, n, "a positive int is needed")
    if n > MAX_LENGTH:
        bad_value(argument, n, "at most 2**63 - 1 is possible")
    return n


def windows(n: int, m: int) -> Windows:
    """The adaptive windows of an axis of length `n` pooled to `m`.

    Window i runs from floor(i*n/m) up to, not including, ceil((i+1)*n/m).

    >>> import cpool
    >>> [cpool.windows(n, m).kind for n, m in ((10, 5), (14, 13), (10, 7))]
    ['tiled', 'overlapping', 'ragged']
    """
    return adaptive(n, m).table()


def same_padding(n: int, kernel: int, stride: int, dilation: int, upper: bool) -> tuple[int, int]:
    """Padding of the `same_*` rules: ceil(n/stride) windows, the odd element after (upper) or before."""
    extent = dilation * (kernel - 1) + 1
    total = max((-(-n // stride) - 1) * stride + extent - n, 0)
    small, large = total // 2, total - total // 2
    return (small, large) if upper else (large, small)


def strided_windows(
    n: int,
    kernel: int,
    stride: int | None = None,
    *,
    dilation: int = 1,
    padding: int | tuple[int, int] | str = 0,
    ceil_mode: bool = False,
) -> Windows:
    """The windows of strided pooling: taps i*stride - before + t*dilation for t in range(kernel).

    `padding` is an int, a pair (before, after), "valid", "same_upper" or "same_lower".

    >>> import cpool
    >>> table = cpool.strided_windows(10, 3, 2, padding=1)
    >>> table.starts.tolist(), table.sizes.tolist(), table.counted.tolist()
    ([0, 1, 3, 5, 7], [2, 3, 3, 3, 3], [3, 3, 3, 3, 3])
    """
    return strided(n, kernel, stride, dilation, padding, ceil_mode).table()


def strided(
    n: int,
    kernel: int,
    stride: int | None,
    dilation: int,
    padding: int | tuple[int, int] | str,
    ceil_mode: bool,
    included: bool = True,
    *,
    came: object = None,
    axis: int | None = None,
) -> Strided:
    """Strided windows, checked. `axis` is the one that errors speak of, `came` the padding of all axes."""
    length = _check_length(n)
    k = check_positive("kernel_size", kernel)
    s = k if stride is None else check_positive("stride", stride)
    d = check_positive("dilation", dilation)
    came = padding if came is None else came
    where = "an axis" if axis is None else f"axis {axis}"
    before, after = padding_pair(length, k, s, d, padding, ceil_mode, came, where)
    extent = d * (k - 1) + 1
    room = length + before + after - extent
    m = (-(-room // s) if ceil_mode else room // s) + 1
    if ceil_mode and (m - 1) * s >= length + before:
        m -= 1
    if m < 1:
        bad_value(
            "kernel_size",
            kernel,
            f"a window spans {extent} elements, but the axis has {length} and "
            f"{before} + {after} of padding: use a smaller kernel_size or dilation, or more padding",
        )
    if m >= MAX_WINDOWS:
        bad_value("stride", s, f"this gives {m} windows; fewer than 2**31 are possible")
    # The ends are checked in Python's own integers; between them everything fits 64 bits.
    last = (m - 1) * s - before
    if before > extent - 1 or last > length - 1:
        side = "before" if before > extent - 1 else "after"
        bad_value(
            "padding",
            came,
            f"a window would lie wholly in the padding {side} {where} of length {length} and hold no "
            f"element: pad by less than the window's extent ({extent}) there",
        )
    if length + before + after > MAX_LENGTH:
        bad_value("padding", came, f"{where} of length {length} has more than 2**63 - 1 elements with it")
    empty = _first_empty(length, s, d, before, m)
    if empty is not None:
        bad_value(
            "padding",
            came,
            f"window {empty} of {where} of length {length} (kernel_size {k}, stride {s}, dilation {d}) "
            "holds no element: pad less or dilate less",
        )
    return Strided(length, k, s, d, before, after, m, included)


def _first_empty(length: int, s: int, d: int, before: int, m: int) -> int | None:
    """The first window whose taps miss the axis: some lie before it, the next one beyond it."""
    early = min(m, -(-before // s)) if d > length else 0  # only these begin before it
    for begin in range(0, early, PIECE):
        first = np.arange(begin, min(begin + PIECE, early), dtype=np.int64) * s - before
        missed = np.flatnonzero(first % d >= length)
        if len(missed):
            return begin + int(missed[0])
    return None


def padding_pair(
    length: int, k: int, s: int, d: int, padding: object, ceil_mode: bool, came: object = None, where: str = "an axis"
) -> tuple[int, int]:
    """How many elements are padded before and after an axis; `came` and `where` are for errors."""
    came = padding if came is None else came
    wanted = 'an int, a pair (before, after), "valid", "same_upper" or "same_lower" is needed'
    if isinstance(padding, str):
        if padding == "valid":
            return 0, 0
        if padding not in ("same_upper", "same_lower"):
            bad_value("padding", padding, wanted)
        if ceil_mode:
            bad_value("padding", padding, "the same_* rules do not go with ceil_mode=True")
        return same_padding(length, k, s, d, padding == "same_upper")
    if isinstance(padding, (tuple, list)):
        if len(padding) != 2:
            bad_value("padding", came, f"for {where} {wanted}")
        before, after = (as_int("padding", p, wanted) for p in padding)
    else:
        before = after = as_int("padding", padding, wanted)
    for side, value in (("before", before), ("after", after)):
        if not 0 <= value <= MAX_LENGTH:
            bad_value("padding", came, f"{side} {where} it is {value}, but must be from 0 to 2**63 - 1")
    return before, after


def transposed(table: Windows) -> Windows:
    """For every element of the axis, the windows that hold it: the table of the gradient.

    >>> back = transposed(windows(5, 3))
    >>> back.starts.tolist(), back.sizes.tolist()
    ([0, 0, 1, 1, 2], [1, 2, 1, 2, 1])
    """
    m, d = table.count, table.step
    first = np.zeros(table.length, np.int64)
    sizes = np.zeros(table.length, np.int64)
    step = 1
    stops, residues = table.stops, table.starts % d
    # Taps of one window, and so the windows that may hold an element, agree modulo the dilation.
    for residue in np.unique(residues):
        which = np.flatnonzero(residues == residue)
        if len(which) > 1:
            step = int(which[1] - which[0])
        here = np.arange(int(residue), table.length, d, dtype=np.int64)
        after = np.searchsorted(stops[which], here, side="right")
        until = np.searchsorted(table.starts[which], here, side="right")
        sizes[here] = np.maximum(until - after, 0)
        first[here] = which[np.minimum(after, len(which) - 1)]
    return _table(m, first, sizes, np.ones(table.length, np.int64), step)


def part(table: Windows, first: int, last: int) -> tuple[Windows, int, int]:
    """The windows from `first` up to `last` by themselves, and the stretch of the axis in which they lie.

    >>> some, start, stop = part(windows(10, 7), 2, 4)
    >>> some.starts.tolist(), some.stops.tolist(), start, stop
    ([0, 2], [3, 4], 2, 6)
    """
    which = slice(first, last)
    start, stop = int(table.starts[which].min()), int(table.stops[which].max())
    some = _table(stop - start, table.starts[which] - start, table.sizes[which], table.counted[which], table.step)
    return some, start, stop
