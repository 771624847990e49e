"""The operations in plain NumPy and exact arithmetic: the oracle of the tests, never the answer to a user."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .windows import Windows, strided_windows, windows

Array = NDArray[Any]


def exact_sum(values: Array) -> Fraction | float:
    """The sum of a window: exact, or NaN or an infinity as IEEE has it."""
    if values.dtype.kind in "biu":
        return Fraction(sum(int(v) for v in values.flat))
    wide = values.astype(np.float64).ravel()
    if not np.isfinite(wide).all():
        with np.errstate(invalid="ignore"):
            return float(np.sum(wide[~np.isfinite(wide)]))
    return sum((Fraction(v) for v in wide.tolist()), Fraction(0))


def to_type(value: Fraction | float, dtype: np.dtype[Any]) -> Any:
    """A quotient rounded once to a type; half to even and saturated for integers."""
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


def pool(x: Array, tables: list[Windows | None], axes: tuple[int, ...], override: int | None, dtype: Any) -> Array:
    """Average every window of every combination of `tables`; None keeps an axis."""
    if x.dtype.kind == "c":
        result_type = np.dtype(dtype or x.dtype).newbyteorder("=")
        part = np.dtype(f"f{result_type.itemsize // 2}")
        whole = np.empty(pool(x.real, tables, axes, override, part).shape, result_type)
        whole.real, whole.imag = (pool(p, tables, axes, override, part) for p in (x.real, x.imag))
        return whole
    if dtype is None:
        small = x.dtype.itemsize <= 2
        dtype = (np.float32 if small else np.float64) if x.dtype.kind in "biu" else x.dtype
    result_type = np.dtype(dtype).newbyteorder("=") if np.dtype(dtype).kind != "V" else np.dtype(dtype)
    by_axis = dict(zip(axes, tables, strict=True))
    shape = [n if (t := by_axis.get(a)) is None else t.count for a, n in enumerate(x.shape)]
    result = np.empty(shape, result_type)
    for index in itertools.product(*(range(n) for n in shape)):
        window: Any = x
        divisor = 1
        for a, i in enumerate(index):
            table = by_axis.get(a)
            if table is None:
                taps = np.array([i])
            else:
                taps = table.starts[i] + np.arange(table.sizes[i]) * table.step
                divisor *= int(table.counted[i])
            window = np.take(window, taps, axis=a)
        total = exact_sum(window)
        if isinstance(total, Fraction):
            mean: Fraction | float = total / (override or divisor)
        else:
            mean = total / (override or divisor)
        result[index] = to_type(mean, result_type)
    return result


def _normal(x: Array, axes: Any) -> tuple[int, ...]:
    if axes is None:
        return tuple(range(x.ndim))
    return tuple(a % x.ndim for a in (axes if isinstance(axes, (tuple, list)) else (axes,)))


def _each(value: Any, count: int) -> list[Any]:
    return list(value) if isinstance(value, (tuple, list)) else [value] * count


def adaptive_avg_pool(x: Any, output_size: Any, axes: Any = None, dtype: Any = None) -> Array:
    """Adaptive averages along `axes` (all, if None)."""
    x = np.asarray(x)
    where = _normal(x, axes)
    sizes = _each(output_size, len(where))
    tables = [None if m is None else windows(x.shape[a], m) for a, m in zip(where, sizes, strict=True)]
    return pool(x, tables, where, None, dtype)


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
    x = np.asarray(x)
    where = _normal(x, axes)
    n = len(where)
    tables: list[Windows | None] = []
    parts = zip(where, _each(kernel_size, n), _each(stride, n), _each(padding, n), _each(dilation, n), strict=True)
    for a, k, s, p, d in parts:
        table = strided_windows(x.shape[a], k, s, dilation=d, padding=p, ceil_mode=ceil_mode)
        include = not str(padding).startswith("same") if count_include_pad is None else count_include_pad
        if not include:
            table = Windows(table.length, table.starts, table.sizes, table.sizes, table.step)
        tables.append(table)
    return pool(x, tables, where, divisor_override, dtype)
