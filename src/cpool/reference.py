"""The operations in plain NumPy and exact arithmetic: the oracle of the tests, never the answer to a user."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .windows import Windows, strided_windows, windows

Array = NDArray[Any]
Shape = tuple[int, ...]
Tables = tuple[Shape, list[Windows]]  # the pooled axes, and the windows of each
Term = Fraction | float  # a float is NaN or an infinity

# ---- numbers -------------------------------------------------------------------------------------


def exact(values: Any) -> list[Term]:
    """Each value as a fraction; NaN and infinities stay what they are."""
    values = np.asarray(values)
    wide = values if values.dtype.kind in "biu" else values.astype(np.float64)
    return [Fraction(v) if math.isfinite(v) else v for v in wide.ravel().tolist()]


def exact_sum(terms: list[Term]) -> Term:
    """The sum: exact, or NaN or an infinity as IEEE has it."""
    special = [t for t in terms if isinstance(t, float)]
    return sum(special) if special else sum(terms, Fraction(0))


def to_type(value: Term, dtype: np.dtype[Any]) -> Any:
    """A number rounded once to a type; half to even and saturated for integers."""
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return min(max(round(value), int(limits.min)), int(limits.max))
    if isinstance(value, Fraction):
        try:
            value = float(value)
        except OverflowError:
            value = math.copysign(math.inf, value)
    with np.errstate(over="ignore"):
        return np.float64(value).astype(dtype)


def native(dtype: Any) -> np.dtype[Any]:
    """The type in this machine's byte order."""
    found: np.dtype[Any] = np.dtype(dtype)
    return found if found.isnative else found.newbyteorder("=")


def by_parts(function: Callable[[Array, Any], Array], x: Array, dtype: Any) -> Array:
    """What a function of an array and a type makes of the parts of a complex array."""
    whole_type = native(dtype or x.dtype)
    real, imag = (function(part, np.dtype(f"f{whole_type.itemsize // 2}")) for part in (x.real, x.imag))
    whole = np.empty(real.shape, whole_type)
    whole.real, whole.imag = real, imag
    return whole


# ---- windows -------------------------------------------------------------------------------------


def pooled_axes(ndim: int, axes: Any) -> Shape:
    """`axes` counted from the start; all, if None."""
    return tuple(range(ndim)) if axes is None else tuple(a % ndim for a in _each(axes, 1))


def _each(value: Any, count: int) -> list[Any]:
    return list(value) if isinstance(value, (tuple, list)) else [value] * count


def adaptive(shape: Shape, output_size: Any, axes: Any = None) -> Tables:
    """Adaptive windows."""
    where = pooled_axes(len(shape), axes)
    sizes = zip(where, _each(output_size, len(where)), strict=True)
    return where, [windows(shape[a], shape[a] if m is None else m) for a, m in sizes]


def strided(
    shape: Shape,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    *,
    count_include_pad: bool | None = None,
    axes: Any = None,
) -> Tables:
    """Strided windows."""
    include = not str(padding).startswith("same") if count_include_pad is None else count_include_pad
    where = pooled_axes(len(shape), axes)
    tables = []
    each = (_each(v, len(where)) for v in (kernel_size, stride, padding, dilation))
    for a, k, s, p, d in zip(where, *each, strict=True):
        table = strided_windows(shape[a], k, s, dilation=d, padding=p, ceil_mode=ceil_mode)
        counted = table.counted if include else table.sizes
        tables.append(Windows(table.length, table.starts, table.sizes, counted, table.step))
    return where, tables


def pooled_shape(shape: Shape, axes: Shape, tables: list[Windows]) -> Shape:
    """The shape of a result."""
    counts = {a: t.count for a, t in zip(axes, tables, strict=True)}
    return tuple(counts.get(a, n) for a, n in enumerate(shape))


def each_window(shape: Shape, axes: Shape, tables: list[Windows]) -> Iterator[tuple[Shape, list[Shape], int]]:
    """Of every output: its index, the indices of the elements of its window in C order, and its divisor."""
    every: list[list[tuple[Any, int]]] = [[((i,), 1) for i in range(n)] for n in shape]
    for a, t in zip(axes, tables, strict=True):
        rows = zip(t.starts.tolist(), t.sizes.tolist(), t.counted.tolist(), strict=True)
        every[a] = [(range(first, first + size * t.step, t.step), counted) for first, size, counted in rows]
    for index in itertools.product(*(range(len(rows)) for rows in every)):
        chosen = [rows[i] for rows, i in zip(every, index, strict=True)]
        yield index, list(itertools.product(*(taps for taps, _ in chosen))), math.prod(c for _, c in chosen)


# ---- averages and maxima -------------------------------------------------------------------------


def average(x: Array, axes: Shape, tables: list[Windows], override: int | None = None, dtype: Any = None) -> Array:
    """The average of every window."""
    if x.dtype.kind == "c":
        return by_parts(lambda part, part_type: average(part, axes, tables, override, part_type), x, dtype)
    if dtype is None and x.dtype.kind in "biu":
        dtype = np.float32 if x.dtype.itemsize <= 2 else np.float64
    result = np.empty(pooled_shape(x.shape, axes, tables), native(dtype or x.dtype))
    for index, window, divisor in each_window(x.shape, axes, tables):
        total = exact_sum(exact([x[at] for at in window]))
        result[index] = to_type(total / (override or divisor), result.dtype)
    return result


def maximum(x: Array, axes: Shape, tables: list[Windows]) -> tuple[Array, Array]:
    """The greatest of every window and where in its plane it lies: the first NaN, else the first of equals."""
    shape = pooled_shape(x.shape, axes, tables)
    values, indices = np.empty(shape, native(x.dtype)), np.empty(shape, np.int64)
    for index, window, _ in each_window(x.shape, axes, tables):
        best, *others = window
        for at in others:
            if x[best] == x[best] and (x[at] != x[at] or x[at] > x[best]):
                best = at
        values[index] = x[best]
        indices[index] = 0
        for a in sorted(axes):
            indices[index] = indices[index] * x.shape[a] + best[a]
    return values, indices


def adaptive_avg_pool(x: Any, output_size: Any, axes: Any = None, dtype: Any = None) -> Array:
    """Adaptive averages along `axes` (all, if None)."""
    return average(np.asarray(x), *adaptive(np.shape(x), output_size, axes), dtype=dtype)


def avg_pool(
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool | None = None,
    divisor_override: int | None = None,
    *,
    dilation: Any = 1,
    axes: Any = None,
    dtype: Any = None,
) -> Array:
    """Strided averages along `axes` (all, if None)."""
    options: dict[str, Any] = {"count_include_pad": count_include_pad, "axes": axes}
    where = strided(np.shape(x), kernel_size, stride, padding, dilation, ceil_mode, **options)
    return average(np.asarray(x), *where, divisor_override, dtype)


def adaptive_max_pool(x: Any, output_size: Any, axes: Any = None) -> tuple[Array, Array]:
    """Adaptive maxima along `axes` (all, if None), and their indices."""
    return maximum(np.asarray(x), *adaptive(np.shape(x), output_size, axes))


def max_pool(
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    *,
    axes: Any = None,
) -> tuple[Array, Array]:
    """Strided maxima along `axes` (all, if None), and their indices."""
    return maximum(np.asarray(x), *strided(np.shape(x), kernel_size, stride, padding, dilation, ceil_mode, axes=axes))


# ---- gradients -----------------------------------------------------------------------------------


def gather(terms: Iterable[tuple[Shape, Term]], shape: Shape, dtype: Any) -> Array:
    """The sum of the terms of every element, rounded once; 0 where there are none."""
    found = defaultdict(list)
    for at, term in terms:
        found[at].append(term)
    result = np.zeros(shape, native(dtype))
    for at, those in found.items():
        result[at] = to_type(exact_sum(those), result.dtype)
    return result


def average_backward(
    grad: Array, shape: Shape, axes: Shape, tables: list[Windows], override: int | None = None
) -> Array:
    """The gradient of `average`: an element gets a share of every window that holds it."""
    if grad.dtype.kind == "c":
        return by_parts(lambda part, _: average_backward(part, shape, axes, tables, override), grad, None)
    shares = (
        (at, exact(grad[index])[0] / (override or divisor))
        for index, window, divisor in each_window(shape, axes, tables)
        for at in window
    )
    return gather(shares, shape, grad.dtype)


def adaptive_avg_pool_backward(grad: Any, input_shape: Shape, axes: Any = None) -> Array:
    """The gradient of `adaptive_avg_pool`."""
    grad = np.asarray(grad)
    sizes = [grad.shape[a] for a in pooled_axes(grad.ndim, axes)]
    return average_backward(grad, input_shape, *adaptive(input_shape, sizes, axes))


def avg_pool_backward(
    grad: Any,
    input_shape: Shape,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool | None = None,
    divisor_override: int | None = None,
    *,
    dilation: Any = 1,
    axes: Any = None,
) -> Array:
    """The gradient of `avg_pool`."""
    options: dict[str, Any] = {"count_include_pad": count_include_pad, "axes": axes}
    where = strided(input_shape, kernel_size, stride, padding, dilation, ceil_mode, **options)
    return average_backward(np.asarray(grad), input_shape, *where, divisor_override)


def max_pool_backward(grad: Any, indices: Any, input_shape: Shape, axes: Any = None) -> Array:
    """The gradient of `adaptive_max_pool` and `max_pool`: the element at an index gets it all."""
    grad, indices = np.asarray(grad), np.asarray(indices)

    def element(index: Shape) -> Shape:
        at, flat = list(index), int(indices[index])
        for a in sorted(pooled_axes(grad.ndim, axes), reverse=True):
            flat, at[a] = divmod(flat, input_shape[a])
        return tuple(at)

    terms = ((element(index), exact(grad[index])[0]) for index in np.ndindex(grad.shape))
    return gather(terms, input_shape, grad.dtype)
