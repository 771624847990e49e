"""Where windows start and stop. Nothing else in the project computes one.

A table holds, for every window along one axis, its first tap inside the axis, how many taps lie
inside it, and how many count for the divisor. All of it is integer arithmetic that cannot overflow
for any axis that an array can have and fewer than 2**31 windows.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .errors import bad_kind, bad_value

Int64s = NDArray[np.int64]

MAX_LENGTH = 2**63 - 1
MAX_WINDOWS = 2**31


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


def windows(n: int, m: int) -> Windows:
    """The adaptive windows of an axis of length `n` pooled to `m`.

    Window i runs from floor(i*n/m) up to, not including, ceil((i+1)*n/m).

    >>> import cpool
    >>> [cpool.windows(n, m).kind for n, m in ((10, 5), (14, 13), (10, 7))]
    ['tiled', 'overlapping', 'ragged']
    """
    length = _check_length(n)
    size = as_int("m", m, "the number of windows is an int")
    if not 0 <= size < MAX_WINDOWS:
        bad_value("m", m, "the number of windows is from 0 to 2**31 - 1")
    if size == 0:
        empty = np.zeros(0, np.int64)
        return Windows(length, empty, empty.copy(), empty.copy())
    whole, part = divmod(length, size)
    i = np.arange(size, dtype=np.int64)
    starts = i * whole + i * part // size
    sizes = (i + 1) * whole + ((i + 1) * part + (size - 1)) // size - starts
    return _table(length, starts, sizes, sizes.copy(), 1)


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
    length = _check_length(n)
    k = as_int("kernel_size", kernel)
    s = k if stride is None else as_int("stride", stride)
    d = as_int("dilation", dilation)
    for argument, value in (("kernel_size", k), ("stride", s), ("dilation", d)):
        if value < 1:
            bad_value(argument, value, "a positive int is needed")
        if value > MAX_LENGTH:
            bad_value(argument, value, "at most 2**63 - 1 is possible")
    before, after = _padding_pair(length, k, s, d, padding, ceil_mode)
    extent = d * (k - 1) + 1
    room = length + before + after - extent
    m = (-(-room // s) if ceil_mode else room // s) + 1
    if ceil_mode and (m - 1) * s >= length + before:
        m -= 1
    if m < 1:
        bad_value(
            "kernel_size",
            kernel,
            f"a window spans {extent} elements, but the axis has {length} and {before} + {after} "
            "of padding: use a smaller kernel_size or dilation, or more padding",
        )
    if m >= MAX_WINDOWS:
        bad_value("stride", s, f"this gives {m} windows; fewer than 2**31 are possible")
    # The ends are checked in Python's own integers; between them everything fits 64 bits.
    last = (m - 1) * s - before
    if before > extent - 1 or last > length - 1 or length + before + after > MAX_LENGTH:
        bad_value(
            "padding",
            padding,
            f"a window of an axis of length {length} would lie wholly in the padding and hold no "
            f"element: pad by less than the window's extent ({extent})",
        )
    first = np.arange(m, dtype=np.int64) * s - before
    skipped = np.maximum(0, -((first) // d))  # ceil(-first / d): taps before the axis
    skipped = np.minimum(skipped, k)
    starts = first + skipped * d
    inside = np.minimum(k, (length - 1 - first) // d + 1) - skipped
    if bool((inside < 1).any()):
        i = int(np.flatnonzero(inside < 1)[0])
        bad_value(
            "padding",
            padding,
            f"window {i} of an axis of length {length} (kernel_size {k}, stride {s}, dilation {d}) "
            "holds no element: pad less or dilate less",
        )
    counted = np.minimum(k, (length + after - 1 - first) // d + 1)
    return _table(length, starts, inside, counted, d if int(inside.max()) > 1 else 1)  # else there is no next tap


def _padding_pair(length: int, k: int, s: int, d: int, padding: object, ceil_mode: bool) -> tuple[int, int]:
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
            bad_value("padding", padding, wanted)
        before, after = (as_int("padding", p, wanted) for p in padding)
    else:
        before = after = as_int("padding", padding, wanted)
    for value in (before, after):
        if not 0 <= value <= MAX_LENGTH:
            bad_value("padding", padding, "padding is not negative and at most 2**63 - 1")
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
    return Windows(m, first, sizes, np.ones(table.length, np.int64), step)


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
