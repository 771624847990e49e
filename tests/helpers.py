"""What the test modules share: an exact oracle that owes nothing to cpool, and data to pool.

The oracle follows the table of the design word for word: lists of taps, sums in Python's integers,
one comparison in integers. It knows nothing of plans, windows objects or kernels.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cpool
from cpool import _kernels, cpu, reference
from cpool.plan import plans

try:
    import ml_dtypes

    BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
except ImportError:
    BFLOAT16 = None

ROOT = Path(__file__).parent

INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
HALVES = ("float16",) if BFLOAT16 is None else ("float16", "bfloat16")
FLOATS = (*HALVES, "float32", "float64")
COMPLEXES = ("complex64", "complex128")
DTYPES = (*FLOATS, *COMPLEXES, *INTEGERS, "bool")


def dtype_of(name: str) -> np.dtype:
    """A type by its name, bfloat16 included; a leading '>' or '<' sets the byte order."""
    return BFLOAT16 if name == "bfloat16" else np.dtype(name)


# ---- formats -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Format:
    """A binary floating-point format: digits, exponent of the smallest subnormal, largest exponent."""

    digits: int
    tiny: int
    top: int

    def ulp_exponent(self, exponent: int) -> int:
        """The exponent of the unit in the last place of values in [2**exponent, 2**(exponent+1))."""
        return max(exponent - self.digits + 1, self.tiny)


FORMATS = {
    "float16": Format(11, -24, 15),
    "bfloat16": Format(8, -133, 127),
    "float32": Format(24, -149, 127),
    "float64": Format(53, -1074, 1023),
}


def part_of(dtype: np.dtype) -> np.dtype:
    """The real type of an element, in native byte order."""
    if dtype.kind == "c":
        return np.dtype(f"f{dtype.itemsize // 2}")
    return dtype.newbyteorder("=") if dtype.kind in "iuf" else dtype


def parts(x: np.ndarray) -> np.ndarray:
    """x with a complex element as two numbers along a new last axis; in native byte order."""
    native = np.ascontiguousarray(x).reshape(x.shape).astype(x.dtype.newbyteorder("="))
    if native.dtype.kind == "c":
        return native.view(part_of(native.dtype)).reshape((*x.shape, 2))
    return native


def as_integers(x: np.ndarray, scale: int) -> np.ndarray:
    """x * 2**scale as Python integers; NaN and infinities as 0."""
    if x.dtype.kind in "biu":
        values = [int(v) << scale for v in x.ravel().tolist()]
    else:
        wide = np.where(np.isfinite(x), x, 0).astype(np.float64).ravel()
        fraction, exponent = np.frexp(wide)
        digits = (fraction * 2.0**53).astype(np.int64).tolist()
        values = []
        for m, e in zip(digits, exponent.tolist(), strict=True):
            shift = e - 53 + scale
            values.append(m << shift if shift >= 0 else m >> -shift)
            assert shift >= 0 or values[-1] << -shift == m, "the scale does not hold the value"
    whole = np.empty(len(values), object)
    whole[:] = values
    return whole.reshape(x.shape)


# ---- taps: the table of the design -----------------------------------------------------------------


def adaptive_taps(n: int, m: int) -> tuple[list[list[int]], list[int]]:
    """The taps of each window, and how many count for the divisor."""
    taps = [list(range(i * n // m, -((-(i + 1) * n) // m))) for i in range(m)]
    return taps, [len(t) for t in taps]


def strided_taps(
    n: int, k: int, s: int, d: int, before: int, after: int, ceil_mode: bool
) -> tuple[list[list[int]], list[int]]:
    """The taps of each window inside the axis, and how many lie in the padded range."""
    room = n + before + after - (d * (k - 1) + 1)
    m = (-(-room // s) if ceil_mode else room // s) + 1
    if ceil_mode and (m - 1) * s >= n + before:
        m -= 1
    every = [[i * s - before + t * d for t in range(k)] for i in range(m)]
    inside = [[t for t in taps if 0 <= t < n] for taps in every]
    return inside, [sum(-before <= t < n + after for t in taps) for taps in every]


def same_pads(n: int, k: int, s: int, d: int, upper: bool) -> tuple[int, int]:
    """ONNX's SAME_UPPER and SAME_LOWER."""
    total = max((-(-n // s) - 1) * s + d * (k - 1) + 1 - n, 0)
    return (total // 2, total - total // 2) if upper else (total - total // 2, total // 2)


def each(value: Any, count: int) -> list[Any]:
    """One value per pooled axis."""
    return list(value) if isinstance(value, (tuple, list)) else [value] * count


def spatial_axes(operation: str, ndim: int, data_format: str, axes: Any) -> tuple[int, ...]:
    """The pooled axes of a call."""
    last = data_format == "channels_last" or (data_format.isupper() and data_format.endswith("C"))
    if operation[-1] == "d":
        rank = int(operation[-2])
        return tuple(range(ndim - 1 - rank, ndim - 1) if last else range(ndim - rank, ndim))
    if operation == "global_avg_pool":
        return tuple(range(1, ndim - 1) if last else range(2, ndim))
    if axes is None:
        return tuple(range(ndim))
    return tuple(a % ndim for a in (axes if isinstance(axes, (tuple, list)) else (axes,)))


@dataclass(frozen=True)
class Exact:
    """What every window holds: exact sums (scaled by 2**scale), exact sums of sizes, and a divisor."""

    total: np.ndarray
    magnitude: np.ndarray
    divisor: np.ndarray
    scale: int
    nan: np.ndarray
    plus: np.ndarray
    minus: np.ndarray


def exact_average(
    operation: str,
    x: np.ndarray,
    size: Any = 1,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool | None = None,
    divisor_override: int | None = None,
    *,
    dilation: Any = 1,
    data_format: str = "channels_first",
    axes: Any = None,
    scale: int = 1100,
) -> Exact:
    """The exact content of every window of a call."""
    where = spatial_axes(operation, x.ndim, data_format, axes)
    count = len(where)
    if operation == "global_avg_pool":
        size = 1
    if "adaptive" in operation or "global" in operation:
        sizes = [x.shape[a] if m is None else m for a, m in zip(where, each(size, count), strict=True)]
        tables = [adaptive_taps(x.shape[a], m) for a, m in zip(where, sizes, strict=True)]
    else:
        tables = []
        rows = zip(
            where, each(size, count), each(stride, count), each(dilation, count), each(padding, count), strict=True
        )
        for a, k, s, d, pad in rows:
            n, s = x.shape[a], k if s is None else s
            if isinstance(pad, str):
                pair = (0, 0) if pad == "valid" else same_pads(n, k, s, d, pad == "same_upper")
            else:
                pair = tuple(each(pad, 2))
            tables.append(strided_taps(n, k, s, d, *pair, ceil_mode))
    if count_include_pad is None:
        count_include_pad = not str(padding).startswith("same")
    values = parts(x)
    divisor = np.ones(1, object)
    for a, (taps, counted) in zip(where, tables, strict=True):
        counts = counted if count_include_pad else [len(t) for t in taps]
        shape = [1] * values.ndim
        shape[a] = len(counts)
        divisor = divisor * np.array(counts, object).reshape(shape)
    if divisor_override is not None:
        divisor = np.array(divisor_override, object)

    def pooled(numbers: np.ndarray) -> np.ndarray:
        for a, (taps, _) in zip(where, tables, strict=True):
            shape = [*numbers.shape[:a], len(taps), *numbers.shape[a + 1 :]]
            sums = np.empty(shape, object)
            for i, t in enumerate(taps):
                sums[(slice(None),) * a + (i,)] = numbers.take(t, axis=a).sum(axis=a)
            numbers = sums
        return numbers

    numbers = as_integers(values, scale)
    real = values.dtype.kind not in "biu"
    special = values.astype(np.float64) if real else np.zeros(values.shape)

    def any_of(mask: np.ndarray) -> np.ndarray:
        if not mask.any():
            return np.zeros(total.shape, bool)
        return pooled(mask.astype(int).astype(object)).astype(bool)

    total = pooled(numbers)
    return Exact(
        total=total,
        magnitude=pooled(np.abs(numbers)),
        divisor=np.broadcast_to(divisor, total.shape),
        scale=scale,
        nan=any_of(np.isnan(special)),
        plus=any_of(special == np.inf),
        minus=any_of(special == -np.inf),
    )


# ---- the judge ---------------------------------------------------------------------------------------


def bound_of(source: np.dtype) -> Fraction:
    """How many ULP a result may be off, by the type of the input."""
    wide = source.kind == "c" or (source.kind == "f" and source.itemsize == 8)
    return Fraction(1) if wide else Fraction(51, 100)


def errors_in_ulp(result: np.ndarray, exact: Exact, source: np.dtype) -> np.ndarray:
    """The error of each finite result, in ULP of the type that is the coarser one at the mean of the sizes."""
    formats = [FORMATS[t] for t in {part_of(result.dtype).name, part_of(source).name} & FORMATS.keys()]
    values = as_integers(parts(result), exact.scale).ravel().tolist()
    errors = []
    rows = zip(
        values,
        exact.total.ravel().tolist(),
        exact.magnitude.ravel().tolist(),
        exact.divisor.ravel().tolist(),
        strict=True,
    )
    for value, total, magnitude, divisor in rows:
        off = abs(value * divisor - total)
        if off == 0:
            errors.append(0.0)
            continue
        size = abs(divisor)
        exponent = magnitude.bit_length() - size.bit_length()
        if (magnitude < size << exponent) if exponent >= 0 else (magnitude << -exponent < size):
            exponent -= 1
        ulp = max(f.ulp_exponent(exponent - exact.scale) for f in formats) + exact.scale
        errors.append(Fraction(off, size << ulp))
    whole = np.empty(len(errors), object)
    whole[:] = errors
    return whole.reshape(exact.total.shape)


def assert_within_ulp(result: np.ndarray, exact: Exact, source: np.dtype, zeros: bool = True) -> None:
    """Promise 2 for a whole result: value, NaN, infinities, overflow and the sign of zero, which without `zeros`
    counts only where all that is added is zero."""
    values = parts(result)
    assert values.shape == exact.total.shape
    if result.dtype.kind in "iu":
        info = np.iinfo(result.dtype)
        unit = 1 << exact.scale
        rows = zip(exact.total.ravel().tolist(), exact.divisor.ravel().tolist(), strict=True)
        wanted = [min(max(round(Fraction(t, d * unit)), int(info.min)), int(info.max)) for t, d in rows]
        assert result.ravel().tolist() == wanted
        return
    wide = values.astype(np.float64)
    flipped = np.array(exact.divisor < 0, bool)
    plus, minus = np.where(flipped, exact.minus, exact.plus), np.where(flipped, exact.plus, exact.minus)
    nan = exact.nan | (plus & minus)
    np.testing.assert_array_equal(np.isnan(wide), nan, "NaN exactly where IEEE has it")
    infinite = (plus | minus) & ~nan
    np.testing.assert_array_equal(wide[infinite], np.where(plus, np.inf, -np.inf)[infinite])
    finite = ~(nan | infinite)
    bound = bound_of(source)
    form = FORMATS[part_of(result.dtype).name]
    errors = errors_in_ulp(np.where(finite, values, np.zeros_like(values)), exact, source)
    over = finite & np.isinf(wide)
    if over.any():  # only a quotient beyond the type may give an infinity
        limit = Fraction(2) ** (form.top + 1)
        unit = Fraction(2) ** (form.top - form.digits + 1)
        rows = zip(exact.total[over], exact.divisor[over], wide[over], strict=True)
        for total, divisor, value in rows:
            quotient = Fraction(total, divisor << exact.scale)
            assert abs(quotient) >= limit - bound * unit, f"{float(quotient)} became {value}"
            assert (quotient > 0) == (value > 0)
    near = finite & ~over
    worst = max((e for e in errors[near].ravel()), default=0)
    if worst > bound:
        at = np.unravel_index(int(np.argmax(np.where(near, errors, 0))), errors.shape)
        quotient = Fraction(exact.total[at], int(exact.divisor[at]) << exact.scale)
        raise AssertionError(
            f"{float(worst):.3f} ULP off (allowed: {float(bound)}) at {tuple(map(int, at))}: "
            f"got {wide[at]!r}, exact {float(quotient)!r}"
        )
    zero = near & np.array((exact.total if zeros else exact.magnitude) == 0, bool)
    assert not np.signbit(wide[zero]).any(), "a zero average is +0"


def assert_same_bits(a: np.ndarray, b: np.ndarray, message: str = "") -> None:
    """Equal type, shape and bits; NaNs are equal, whatever they carry."""
    assert a.dtype == b.dtype, message
    assert a.shape == b.shape, message
    one, two = parts(a), parts(b)
    raw = np.dtype(f"u{one.dtype.itemsize}")
    differ = np.ascontiguousarray(one).view(raw) != np.ascontiguousarray(two).view(raw)
    if one.dtype.kind not in "biu":
        differ &= ~(np.isnan(one) & np.isnan(two))
    if differ.any():
        at = tuple(int(i[0]) for i in np.nonzero(differ))
        raise AssertionError(f"{message}: {int(differ.sum())} differ, first at {at}: {one[at]!r} and {two[at]!r}")


def own_windows(
    shape: tuple[int, ...], dilations: Any = ((1, 1, 1), (2, 1, 3), (1, 3, 2))
) -> Iterator[tuple[Any, ...]]:
    """Kernel, stride, padding, dilation and ceil_mode that torch takes, for each axis its own."""
    rank = len(shape) - 2
    for kernel, stride, padding, dilation, ceil_mode in itertools.product(
        [(2, 3, 4), (3, 1, 2), (5, 4, 3)],
        [(1, 2, 3), (3, 1, 2)],
        [(0, 1, 2), (2, 0, 1)],
        dilations,
        [False, True],
    ):
        kernel, stride, dilation = kernel[:rank], stride[:rank], dilation[:rank]
        padding = tuple(min(p, k // 2) for p, k in zip(padding, kernel, strict=False))
        rows = zip(shape[2:], kernel, padding, dilation, strict=True)
        if all(d * (k - 1) + 1 <= n + 2 * p for n, k, p, d in rows):
            yield kernel, stride, padding, dilation, ceil_mode


def same_average_type(source: np.dtype) -> np.dtype:
    """The type of an average when nothing else is asked for."""
    if source.kind in "biu":
        return np.dtype(np.float32 if source.itemsize <= 2 else np.float64)
    return source if source == BFLOAT16 else source.newbyteorder("=")


@dataclass
class Place:
    """Where calls run: set by the engine of a test (see conftest.py)."""

    bits: str = "cpu"  # engines that promise one another the same bits
    call: Any = None  # runs function(*arrays, *args, **options) elsewhere


here = Place()


def call_here(function: Any, arrays: tuple[Any, ...], *args: Any, **options: Any) -> Any:
    """`function(*arrays, *args, **options)` where the engine says."""
    return (here.call or call_on_host)(function, arrays, *args, **options)


def call_on_host(function: Any, arrays: tuple[Any, ...], *args: Any, **options: Any) -> Any:
    return function(*arrays, *args, **options)


def call(operation: str, x: Any, size: Any = None, **options: Any) -> Any:
    """`cpool.<operation>(x, size, ...)`; the global one takes no size."""
    return call_here(getattr(cpool, operation), (x,), *size_of(operation, size), **options)


def size_of(operation: str, size: Any) -> tuple[Any, ...]:
    """The size as arguments: global operations take none."""
    return () if "global" in operation else (size,)


_remembered: dict[Any, Any] = {}


def remembered(key: Any, make: Any) -> Any:
    """What `make()` gave the first time for this key: oracles are slow, and engines are many."""
    if key not in _remembered:
        if len(_remembered) >= 500:
            _remembered.pop(next(iter(_remembered)))
        _remembered[key] = make()
    return _remembered[key]


ORACLE = frozenset(
    ["stride", "padding", "ceil_mode", "count_include_pad", "divisor_override", "dilation", "data_format", "axes"]
)


def check(
    operation: str, x: np.ndarray, size: Any = None, *, compare_reference: bool = True, **options: Any
) -> np.ndarray:
    """`checked`, with an error that tells which call it was."""
    try:
        return checked(operation, x, size, compare_reference, **options)
    except AssertionError as error:
        where = f"{operation}({x.dtype} {x.shape} strides {x.strides}, {size}, {options})"
        raise AssertionError(f"{where}: {error}") from error


def checked(operation: str, x: np.ndarray, size: Any, compare_reference: bool, **options: Any) -> np.ndarray:
    """Run a call; hold its result against the exact oracle and `cpool.reference`, and its bits against
    those of the last run of the same call (on another engine, as a rule). The result."""
    result = call(operation, x, size, **options)
    known = {k: v for k, v in options.items() if k in ORACLE}
    wanted = np.dtype(options["dtype"]) if options.get("dtype") is not None else same_average_type(x.dtype)
    assert isinstance(result, np.ndarray)
    assert result.dtype == wanted
    assert result.dtype.isnative
    digest = hashlib.sha1(x.tobytes()).digest()
    content = (operation, x.shape, x.dtype.str, x.dtype.name, digest, repr(size), repr(sorted(known.items())))
    exact = remembered(content, lambda: exact_average(operation, x, size, **known))

    def judge() -> bool:
        assert_within_ulp(result, exact, x.dtype)
        return True

    # equal bits were judged before
    remembered((content, wanted.name, result.shape, result.tobytes()), judge)
    if compare_reference:
        expected = remembered((content, wanted.name), lambda: by_reference(operation, x, size, wanted, known))
        assert (result.shape, result.dtype) == (expected.shape, expected.dtype)
        remembered((content, wanted.name, "judged"), lambda: assert_within_ulp(expected, exact, x.dtype))
        if wanted.kind in "iu":
            np.testing.assert_array_equal(result, expected)
    before = remembered((content, wanted.name, x.strides, here.bits), result.copy)
    assert_same_bits(result, before, "the same call gave other bits before, on another engine")
    return result


def by_reference(operation: str, x: np.ndarray, size: Any, dtype: np.dtype, known: dict[str, Any]) -> np.ndarray:
    """What `cpool.reference` makes of a call."""
    known = dict(known)
    axes = spatial_axes(operation, x.ndim, known.pop("data_format", "channels_first"), known.pop("axes", None))
    plain = x.astype(x.dtype.newbyteorder("=")) if x.dtype.kind != "V" else x
    with np.errstate(all="ignore"):
        if "adaptive" in operation or "global" in operation:
            size = 1 if "global" in operation else size
            return reference.adaptive_avg_pool(plain, size, axes=axes, dtype=dtype)
        return reference.avg_pool(plain, size, axes=axes, dtype=dtype, **known)


# ---- data ----------------------------------------------------------------------------------------------


def generator(*seed: Any) -> np.random.Generator:
    """Random numbers that depend on nothing but the arguments."""
    return np.random.default_rng([sum(map(ord, str(s))) for s in seed])


def sample(dtype: str | np.dtype, shape: tuple[int, ...], *, wide: bool = False, seed: Any = 0) -> np.ndarray:
    """Random numbers of a type; `wide` ones span exponents, so that any change of order changes bits."""
    item = dtype_of(dtype) if isinstance(dtype, str) else dtype
    rng = generator(item.name, shape, seed)
    if item.kind == "b":
        return rng.integers(0, 2, shape).astype(item)
    if item.kind in "iu":
        info = np.iinfo(item)
        low, high = int(info.min), int(info.max)
        return rng.integers(low, high, shape, dtype=item.newbyteorder("="), endpoint=True).astype(item)
    if item.kind == "c":
        part = part_of(item)
        both = sample(part, (*shape, 2), wide=wide, seed=seed)
        return (both[..., 0] + 1j * both[..., 1].astype(item)).astype(item)
    form = FORMATS[part_of(item).name]
    values = rng.standard_normal(shape)
    if wide:
        # from below the last digit of a sum up to where a window still fits the type
        high = min(form.top - 12, 120)
        values = np.ldexp(values, rng.integers(max(form.tiny, -120), high, shape))
    return values.astype(item)


def swapped(dtype: np.dtype) -> np.dtype:
    """The type in the other byte order."""
    return dtype.newbyteorder("S")


def place(x: np.ndarray, layout: str) -> np.ndarray:
    """An array equal to x that lies otherwise in memory."""
    placed = LAYOUTS[layout](x)
    assert placed.shape == x.shape
    return placed


def _reversed_all(x: np.ndarray) -> np.ndarray:
    back = (slice(None, None, -1),) * x.ndim
    return np.ascontiguousarray(x[back])[back]


def _ordered(x: np.ndarray, order: tuple[int, ...]) -> np.ndarray:
    return np.ascontiguousarray(x.transpose(order)).transpose(np.argsort(order))


def _inside(x: np.ndarray, steps: tuple[int, ...], margin: int) -> np.ndarray:
    """Every step-th element of a larger array, `margin` elements from its edges."""
    shape = [n * s + 2 * margin for n, s in zip(x.shape, steps, strict=True)]
    whole = np.full(shape, np.ones((), x.dtype), x.dtype)
    view = whole[tuple(slice(margin, margin + n * s, s) for n, s in zip(x.shape, steps, strict=True))]
    view[...] = x
    return view


def _unaligned(x: np.ndarray) -> np.ndarray:
    memory = np.zeros(x.nbytes + 1, np.uint8)
    view = np.ndarray(x.shape, x.dtype, memory, offset=1)
    view[...] = x
    return view


def in_both_layouts(function: Any, *arrays: np.ndarray) -> Iterator[Any]:
    """What `function(*arrays, data_format=...)` gives with channels first, and with channels last, moved back."""
    yield function(*arrays, data_format="channels_first")
    last = (np.ascontiguousarray(np.moveaxis(a, 1, -1)) for a in arrays)
    results = function(*last, data_format="channels_last")
    several = isinstance(results, tuple)
    yield tuple(np.moveaxis(r, -1, 1) for r in results) if several else np.moveaxis(results, -1, 1)


def _last(x: np.ndarray) -> np.ndarray:
    """Channels (axis 1 of a batch, else axis 0) innermost in memory."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, min(1, x.ndim - 1), -1)), -1, min(1, x.ndim - 1))


LAYOUTS = {
    "cropped": lambda x: _inside(x, (1,) * x.ndim, 1),
    "channels_last": _last,
    "channels_last_cropped": lambda x: _last_cropped(x),
    "fortran": np.asfortranarray,
    "swapped_axes": lambda x: _ordered(x, (*range(x.ndim - 2), x.ndim - 1, x.ndim - 2)) if x.ndim > 1 else x,
    "first_inner": lambda x: _ordered(x, (*range(1, x.ndim), 0)),
    "reversed": _reversed_all,
    "reversed_last": lambda x: np.ascontiguousarray(x[..., ::-1])[..., ::-1],
    "every_other": lambda x: _inside(x, (*(1,) * (x.ndim - 1), 2), 0),
    "sparse": lambda x: _inside(x, (3,) * x.ndim, 1),
    "far_apart": lambda x: _inside(x, (*(1,) * (x.ndim - 1), 17), 0),
    "unaligned": _unaligned,
    "contiguous": np.ascontiguousarray,
}


def _last_cropped(x: np.ndarray) -> np.ndarray:
    axis = min(1, x.ndim - 1)
    return np.moveaxis(_inside(np.ascontiguousarray(np.moveaxis(x, axis, -1)), (1,) * x.ndim, 2), -1, axis)


def read_as(monkeypatch: pytest.MonkeyPatch, far: bool) -> None:
    """Inputs of any size are read as those beyond the caches are, or as those within them."""
    monkeypatch.setattr(cpu, "FAR", 0 if far else 1 << 62)
    monkeypatch.setattr(cpu, "FAR_ROW", 0)
    monkeypatch.setattr(cpu, "FEW_TAPS", 0)
    forget_calls()


def repeat_as(monkeypatch: pytest.MonkeyPatch, how: str) -> list[dict[str, Any]]:
    """Results that are like their neighbours are computed one by one, or repeated: as built at once, in many pieces,
    or past the caches. How, for every call that is made ready from now on."""
    found: list[dict[str, Any]] = []

    def each_once(plan: Any) -> Any:
        plan, spread = _EACH_ONCE(plan)
        found.extend([spread] if spread else [])
        return plan, spread

    monkeypatch.setattr(cpu, "_each_once", each_once if how != "alone" else lambda plan: (plan, None))
    monkeypatch.setattr(cpu, "OFTEN", 0)
    monkeypatch.setattr(cpu, "TILE", 100 if how == "pieces" else 1 << 15)
    monkeypatch.setattr(cpu, "FAR_OUT", 0 if how == "far" else 1 << 62)
    forget_calls()
    return found


_EACH_ONCE = cpu._each_once


def forget_calls() -> None:
    """Plans, and calls seen before, which know how they are read."""
    plans.clear()
    _kernels.forget()


# ---- processes and optional parts ------------------------------------------------------------------------


def run_python(code: str, *, timeout: float = 120, **environment: str) -> str:
    """The output of a fresh interpreter that runs `code`; fails if it fails."""
    done = python(code, timeout=timeout, **environment)
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def python(code: str, *, timeout: float = 120, **environment: str) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter that ran `code`, without the CPOOL_ and OMP_ variables of this one but the cache folder."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("CPOOL_", "OMP_")) or k == "CPOOL_CACHE_DIR"}
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=clean | environment,
        check=False,
    )


@functools.cache
def required() -> frozenset[str]:
    """What CPOOL_TEST_REQUIRE names: parts whose absence is a failure, not a skip."""
    return frozenset(os.environ.get("CPOOL_TEST_REQUIRE", "").replace(",", " ").split())


# ---- max and gradients -----------------------------------------------------------------------------------


def window_taps(
    operation: str,
    shape: tuple[int, ...],
    size: Any = 1,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    *,
    data_format: str = "channels_first",
    axes: Any = None,
) -> dict[int, tuple[list[list[int]], list[int]]]:
    """The taps of a call's windows inside each pooled axis, and how many lie in the padded range; axes ascend."""
    where = spatial_axes(operation.replace("max", "avg"), len(shape), data_format, axes)
    count = len(where)
    size = 1 if "global" in operation else size
    tables = {}
    rows = (each(v, count) for v in (size, stride, dilation, padding))
    for a, k, s, d, pad in zip(where, *rows, strict=True):
        n, s = shape[a], k if s is None else s
        if "adaptive" in operation or "global" in operation:
            tables[a] = adaptive_taps(n, n if k is None else k)
            continue
        if isinstance(pad, str):
            pad = (0, 0) if pad == "valid" else same_pads(n, k, s, d, pad == "same_upper")
        tables[a] = strided_taps(n, k, s, d, *each(pad, 2), ceil_mode)
    return dict(sorted(tables.items()))


def result_shape(operation: str, shape: tuple[int, ...], size: Any = None, **options: Any) -> tuple[int, ...]:
    """The shape of what a call gives, by the table of the design."""
    windows = {k: v for k, v in options.items() if k not in ("count_include_pad", "divisor_override")}
    tables = window_taps(operation, shape, size, **windows)
    return tuple(len(tables[a][0]) if a in tables else n for a, n in enumerate(shape))


def exact_max(operation: str, x: np.ndarray, size: Any = 1, **options: Any) -> tuple[np.ndarray, np.ndarray]:
    """The first NaN, else the first of the greatest, of every window, and where in its plane it lies."""
    tables = window_taps(operation, x.shape, size, **options)
    where = list(tables)
    behind = range(x.ndim - len(where), x.ndim)
    moved = np.moveaxis(parts(x), where, behind)
    kept = moved.shape[: x.ndim - len(where)]
    planes = moved.reshape(*kept, math.prod(moved.shape[len(kept) :]))
    # every element in a type that NumPy compares by itself; argmax takes the first NaN, else the first of equals
    keys = planes if planes.dtype.kind in "biu" else planes.astype(np.float64)
    counts = [len(taps) for taps, _ in tables.values()]
    indices = np.empty((*kept, *counts), np.int64)
    for index in np.ndindex(*counts):
        window = np.zeros(1, np.int64)
        for a, i in zip(where, index, strict=True):
            window = (window[:, None] * x.shape[a] + tables[a][0][i]).ravel()
        indices[(..., *index)] = window[np.argmax(keys[..., window], axis=-1)]
    values = np.take_along_axis(planes, indices.reshape(*kept, -1), axis=-1).reshape(indices.shape)
    return np.moveaxis(values, behind, where), np.moveaxis(indices, behind, where)


def call_max(operation: str, x: Any, size: Any = None, **options: Any) -> Any:
    """`cpool.<operation>(x, size, ...)`; the global one takes no size."""
    return call_here(getattr(cpool, operation), (x,), *size_of(operation, size), **options)


def check_max(
    operation: str, x: np.ndarray, size: Any = None, *, compare_reference: bool = False, **options: Any
) -> Any:
    """Run a call with and without indices; hold both against the exact oracle, bit by bit. The pair."""
    where = f"{operation}({x.dtype} {x.shape} strides {x.strides}, {size}, {options})"
    content = (operation, x.shape, x.dtype.str, x.dtype.name, hashlib.sha1(x.tobytes()).digest())
    content = (*content, repr(size), repr(sorted(options.items())))
    values, indices = remembered(content, lambda: exact_max(operation, x, size, **options))
    if compare_reference:
        expected = remembered((content, "reference"), lambda: max_by_reference(operation, x, size, **options))
        assert_same_bits(expected[0], values, f"reference: {where}")
        np.testing.assert_array_equal(expected[1], indices, f"reference: {where}")
    result = call_max(operation, x, size, return_indices=True, **options)
    assert type(result) is tuple, where
    assert [type(r) for r in result] == [np.ndarray] * 2, where
    assert result[1].dtype == np.int64, where
    assert_same_bits(result[0], values, where)
    np.testing.assert_array_equal(result[1], indices, where)
    assert_same_bits(call_max(operation, x, size, **options), values, f"without indices: {where}")
    return result


def max_by_reference(operation: str, x: np.ndarray, size: Any, **options: Any) -> tuple[np.ndarray, np.ndarray]:
    """What `cpool.reference` makes of a call."""
    data_format, axes = options.pop("data_format", "channels_first"), options.pop("axes", None)
    where = spatial_axes(operation.replace("max", "avg"), x.ndim, data_format, axes)
    if "adaptive" in operation or "global" in operation:
        return reference.adaptive_max_pool(x, 1 if "global" in operation else size, where)
    return reference.max_pool(x, size, axes=where, **options)


def exact_adjoint(grad: np.ndarray, spread: Any, shape: tuple[int, ...], divisor: int, scale: int) -> Exact:
    """What every element of an input gets, where `spread` adds up what a gradient's numbers give it."""
    values = parts(grad)
    numbers = as_integers(values, scale)
    special = values.astype(np.float64)

    def any_of(mask: np.ndarray) -> np.ndarray:
        return spread(mask.astype(int).astype(object)).astype(bool) if mask.any() else np.zeros(total.shape, bool)

    total = spread(numbers)
    assert total.shape[: len(shape)] == shape
    return Exact(
        total=total,
        magnitude=spread(np.abs(numbers)),
        divisor=np.broadcast_to(np.array(divisor, object), total.shape),
        scale=scale,
        nan=any_of(np.isnan(special)),
        plus=any_of(special == np.inf),
        minus=any_of(special == -np.inf),
    )


def exact_gradient(
    operation: str,
    grad: np.ndarray,
    shape: tuple[int, ...],
    size: Any = 1,
    *,
    count_include_pad: bool | None = None,
    divisor_override: int | None = None,
    scale: int = 1100,
    **options: Any,
) -> Exact:
    """The exact gradient of an average: windows of several sizes are brought to one divisor."""
    if count_include_pad is None:
        count_include_pad = not str(options.get("padding")).startswith("same")
    if "adaptive" in operation:
        where = options.get("data_format", "channels_first"), options.get("axes")
        size = [grad.shape[a] for a in spatial_axes(operation, grad.ndim, *where)]
    divisor, covering = 1, {}
    for a, (taps, counted) in window_taps(operation, shape, size, **options).items():
        counts = counted if count_include_pad else [len(t) for t in taps]
        if divisor_override is not None:
            counts = [1] * len(taps)
        whole = math.lcm(*counts)
        divisor *= whole
        covering[a] = [[] for _ in range(shape[a])]
        for i, (t, n) in enumerate(zip(taps, counts, strict=True)):
            for j in t:
                covering[a][j].append((i, whole // n))

    def spread(numbers: np.ndarray) -> np.ndarray:
        for a, lists in covering.items():
            before = (slice(None),) * a
            sums = np.zeros([*numbers.shape[:a], len(lists), *numbers.shape[a + 1 :]], object)
            for j, those in enumerate(lists):
                for i, weight in those:
                    sums[(*before, j)] += numbers[(*before, i)] * weight
            numbers = sums
        return numbers

    return exact_adjoint(grad, spread, shape, divisor if divisor_override is None else divisor_override, scale)


def exact_scatter(
    operation: str, grad: np.ndarray, indices: np.ndarray, shape: tuple[int, ...], scale: int = 1100, **options: Any
) -> Exact:
    """The exact gradient of a maximum: the element at an index gets all of it."""
    where = list(window_taps(operation, shape, **options))
    behind = range(len(shape) - len(where), len(shape))
    kept = [n for a, n in enumerate(shape) if a not in where]
    pooled = [shape[a] for a in where]
    places = np.moveaxis(indices, where, behind).reshape(math.prod(kept), -1).astype(np.int64)

    def spread(numbers: np.ndarray) -> np.ndarray:
        planes = np.zeros((math.prod(kept), math.prod(pooled)), object)
        rows = np.moveaxis(numbers, where, behind).reshape(places.shape)
        np.add.at(planes, (np.arange(len(planes))[:, None], places), rows)
        return np.moveaxis(planes.reshape(*kept, *pooled), behind, where)

    return exact_adjoint(grad, spread, shape, 1, scale)


def check_gradient(
    operation: str,
    grad: np.ndarray,
    shape: tuple[int, ...],
    size: Any = None,
    *,
    indices: np.ndarray | None = None,
    compare_reference: bool = False,
    **options: Any,
) -> np.ndarray:
    """Run the gradient of an operation; hold it against the exact oracle, and its bits against those of the
    last run of the same call (on another engine, as a rule). The result."""
    where = f"{operation}_backward({grad.dtype} {grad.shape} strides {grad.strides}, {shape}, {size}, {options})"
    given = (grad,) if indices is None else (grad, indices)
    content = (operation, shape, repr(size), repr(sorted(options.items())))
    for a in given:
        content = (*content, a.shape, a.dtype.str, a.dtype.name, hashlib.sha1(a.tobytes()).digest())
    plain = options.copy()
    plain.pop("keepdims", None)
    result = call_backward(operation, *given, shape, size, **options)
    assert type(result) is np.ndarray, where
    assert (result.dtype, result.shape) == (same_average_type(grad.dtype), shape), where
    if indices is None:
        exact = remembered(content, lambda: exact_gradient(operation, grad, shape, size, **plain))
    else:
        exact = remembered(content, lambda: exact_scatter(operation, grad, indices, shape, **plain))

    def judge(found: np.ndarray, who: str = "") -> bool:
        try:
            # Quotients by different divisors are rounded before they meet: what cancels may leave a trace.
            assert_within_ulp(found, exact, grad.dtype, zeros=indices is not None)
        except AssertionError as error:
            raise AssertionError(f"{who}{where}: {error}") from error
        return True

    # equal bits were judged before
    remembered((content, result.tobytes()), lambda: judge(result))
    if compare_reference:
        remembered(
            (content, "reference"),
            lambda: judge(gradient_by_reference(operation, given, shape, size, **plain), "reference: "),
        )
    before = remembered((content, *(a.strides for a in given), here.bits), result.copy)
    assert_same_bits(result, before, f"the same call gave other bits before, on another engine: {where}")
    return result


def call_backward(operation: str, *args: Any, **options: Any) -> Any:
    """`cpool.<operation>_backward(grad, [indices,] shape[, size], ...)`; `size` comes last and is for averages
    over strided windows only."""
    *given, shape, size = args
    strided = operation.startswith("avg_pool")
    function = getattr(cpool, operation + "_backward")
    return call_here(function, tuple(given), shape, *((size,) if strided else ()), **options)


def gradient_by_reference(
    operation: str, given: tuple[np.ndarray, ...], shape: tuple[int, ...], size: Any, **options: Any
) -> np.ndarray:
    """What `cpool.reference` makes of a gradient."""
    data_format, axes = options.pop("data_format", "channels_first"), options.pop("axes", None)
    where = spatial_axes(operation.replace("max", "avg"), len(shape), data_format, axes)
    if "max" in operation:
        return reference.max_pool_backward(*given, shape, where)
    if operation.startswith("avg_pool"):
        return reference.avg_pool_backward(*given, shape, size, axes=where, **options)
    return reference.adaptive_avg_pool_backward(*given, shape, where)


def few(dtype: str, shape: tuple[int, ...], seed: Any = 0) -> np.ndarray:
    """Numbers of a kind that makes ties in every window: the ends of a range, or -1 and zeros of either sign."""
    item, rng = dtype_of(dtype), generator(dtype, shape, "few", seed)
    if item.kind == "b":
        return rng.random(shape) > 0.9
    if item.kind in "iu":
        info = np.iinfo(item)
        return rng.choice(np.array([info.min, info.max - 1, info.max], item), shape)
    return rng.choice([-1.0, -0.0, 0.0], shape).astype(item)


def contents(dtype: str, shape: tuple[int, ...]) -> list[np.ndarray]:
    """What max may stumble over: numbers, ties, nothing but the lowest, NaN and infinities."""
    item, rng = dtype_of(dtype), generator(dtype, shape, "contents")
    found = [sample(dtype, shape, wide=True), few(dtype, shape)]
    if item.kind in "biu":
        lowest = False if item.kind == "b" else np.iinfo(item).min
        return [*found, np.full(shape, lowest, item)]
    special = rng.choice([-np.inf, 0.0, -0.0, np.inf, np.nan, -np.nan], shape, p=[0.6, 0.1, 0.1, 0.1, 0.06, 0.04])
    return [*found, np.full(shape, -np.inf, item), special.astype(item)]
