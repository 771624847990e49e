"""The operations: arguments become a plan, and the plan is dispatched."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _kernels, arrays, cpu, dispatch
from .errors import bad_kind, bad_value
from .plan import (
    MAX_DIVISOR,
    Plan,
    check_divisor,
    check_size,
    lay_out,
    memory_order,
    packed_strides,
    plans,
    product,
)
from .windows import Windows, as_int, strided_windows, windows

Array = NDArray[Any]
Size = int | Sequence[int | None] | None
Ints = int | Sequence[int]
Padding = int | str | Sequence[int] | Sequence[tuple[int, int]]
Tables = tuple[tuple[int, ...], tuple[Windows | None, ...], int | None]
Rule = Callable[[tuple[int, ...], tuple[Any, ...]], Tables]

LETTERS = {1: "L", 2: "HW", 3: "DHW"}


class PlanOnly:
    """Stands in for `out`: the plan is wanted, not the result."""

    def __init__(self, out: Any) -> None:
        self.out = out


# ---- arguments -----------------------------------------------------------------------------------


def _one_per_axis(argument: str, value: Any, count: int, wanted: str) -> tuple[Any, ...]:
    """`value` for each of `count` axes: repeated, or taken apart."""
    if isinstance(value, (tuple, list, np.ndarray)):
        if len(value) != count:
            bad_value(argument, value, f"{wanted}, or {count} of them (one per pooled axis)")
        return tuple(value)
    return (value,) * count


def _adaptive_tables(shape: tuple[int, ...], axes: tuple[int, ...], output_size: Any) -> tuple[Windows | None, ...]:
    wanted = "an int, None to keep an axis"
    sizes = _one_per_axis("output_size", output_size, len(axes), wanted)
    checked: list[int | None] = []
    for size in sizes:
        if size is None:
            checked.append(None)
            continue
        m = as_int("output_size", size, f"{wanted}, or one of these per pooled axis is needed")
        if m < 0:
            bad_value("output_size", output_size, "sizes are not negative")
        checked.append(m)
    made = list(shape)
    for axis, size in zip(axes, checked, strict=True):
        made[axis] = shape[axis] if size is None else size
    check_size("output_size", output_size, made, 1)
    return tuple(None if m is None else windows(shape[a], m) for a, m in zip(axes, checked, strict=True))


def _strided_tables(shape: tuple[int, ...], axes: tuple[int, ...], args: tuple[Any, ...]) -> Tables:
    kernel_size, stride, padding, ceil_mode, include, override, dilation = args
    count = len(axes)
    kernels = _one_per_axis("kernel_size", kernel_size, count, "an int is needed")
    strides = _one_per_axis("stride", stride, count, "an int or None (the kernel_size) is needed")
    dilations = _one_per_axis("dilation", dilation, count, "an int is needed")
    pads = _one_per_axis("padding", padding, count, "an int or a pair (before, after) is needed")
    for argument, flag in (("ceil_mode", ceil_mode), ("count_include_pad", include)):
        if not isinstance(flag, (bool, np.bool_)) and not (flag is None and argument == "count_include_pad"):
            bad_kind(argument, flag, "True or False is needed")
    if include is None:
        include = not (isinstance(padding, str) and padding.startswith("same"))
    if override is not None:
        override = as_int("divisor_override", override, "a non-zero int is needed")
        if override == 0 or abs(override) >= MAX_DIVISOR:
            bad_value("divisor_override", override, "a non-zero int of less than 2**53 is needed")
    tables = []
    for axis, k, s, d, p in zip(axes, kernels, strides, dilations, pads, strict=True):
        table = strided_windows(
            shape[axis],
            k,
            s,
            dilation=d,
            padding=tuple(p) if isinstance(p, (list, np.ndarray)) else p,
            ceil_mode=bool(ceil_mode),
        )
        if not include:
            table = Windows(table.length, table.starts, table.sizes, table.sizes, table.step, table.as_strided())
        tables.append(table)
    return axes, tuple(tables), override


def _spatial(shape: tuple[int, ...], rank: int, name: str, data_format: Any) -> tuple[int, ...]:
    """The pooled axes of the numbered forms."""
    last = _is_last(data_format, rank)
    ndim = len(shape)
    batchless = isinstance(data_format, str) and "N" not in data_format and data_format.isupper()
    if ndim not in (rank + 1, rank + 2) or (batchless and ndim != rank + 1):
        letters = LETTERS[rank]
        general = name.rstrip("123d")
        bad_value(
            "x",
            shape,
            f"{name} takes (C, {', '.join(letters)}) or (N, C, {', '.join(letters)}), or the same with channels "
            f"last; for an array without channels use {general}(x, size)",
        )
    first = ndim - rank - (1 if last else 0)
    return tuple(range(first, first + rank))


def _is_last(data_format: Any, rank: int | None) -> bool:
    if not isinstance(data_format, str):
        bad_kind("data_format", data_format, '"channels_first" or "channels_last" is needed')
    if data_format in ("channels_first", "channels_last"):
        return data_format == "channels_last"
    for r, letters in LETTERS.items():
        if rank in (None, r):
            if data_format in ("NC" + letters, "C" + letters):
                return False
            if data_format in ("N" + letters + "C", letters + "C"):
                return True
    example = LETTERS[rank or 2]
    bad_value(
        "data_format",
        data_format,
        f'"channels_first", "channels_last", "NC{example}" or "N{example}C" is needed',
    )


def _axes(shape: tuple[int, ...], axes: Any) -> tuple[int, ...]:
    """The pooled axes of the n-D forms."""
    ndim = len(shape)
    if axes is None:
        return tuple(range(ndim))
    if not isinstance(axes, (tuple, list, np.ndarray)):
        axes = (axes,)
    found = []
    for axis in axes:
        a = as_int("axes", axis, "an int or several are needed")
        if not -ndim <= a < ndim:
            bad_value("axes", axis, f"x has {ndim} axes: from {-ndim} to {ndim - 1}")
        found.append(a % ndim)
    if len(set(found)) != len(found):
        bad_value("axes", tuple(axes), "an axis is named twice")
    return tuple(found)


# ---- from arguments to a result --------------------------------------------------------------------


def _make_plan(name: str, rule: Rule, args: tuple[Any, ...], x: Array, dtype: Any, out_like: Array | None) -> Plan:
    axes, tables, divisor = rule(x.shape, args)
    out_dtype = arrays.average_type(x.dtype, dtype, out_like)
    out_shape = list(x.shape)
    for axis, table in zip(axes, tables, strict=True):
        out_shape[axis] = x.shape[axis] if table is None else table.count
    check_size(name, args[0] if args else x.shape, out_shape, out_dtype.itemsize)
    check_divisor("kernel_size" if name.startswith("avg") else "x", tuple(t for t in tables if t is not None))
    shape = tuple(out_shape)
    if out_like is not None:
        arrays.check_out(out_like, shape)
    order = memory_order(x.shape, x.strides)
    out_strides = packed_strides(shape, order, out_dtype.itemsize) if out_like is None else out_like.strides
    plan = Plan(
        operation=name,
        reducer="avg",
        x_shape=x.shape,
        x_dtype=x.dtype,
        out_shape=shape,
        out_dtype=out_dtype,
        axes=axes,
        tables=tables,
        divisor=divisor,
        item=arrays.item_of(x.dtype),
        out_item=arrays.item_of(out_dtype),
        swapped=not x.dtype.isnative,
        elements=product(x.shape) * (2 if x.dtype.kind == "c" else 1),
    )
    return lay_out(plan, x.strides, out_strides, order)


def _frozen(value: Any) -> Any:
    """What can't change any more, so that a key can be made of it: lists as tuples, what is an index as an int."""
    if isinstance(value, (list, tuple)):
        return tuple(_frozen(v) for v in value)
    if isinstance(value, np.ndarray):
        return _frozen(value.tolist())
    if hasattr(value, "__index__") and not isinstance(value, (int, np.bool_)):
        return operator.index(value)
    return value


def _run(name: str, rule: Rule, args: tuple[Any, ...], x: Any, dtype: Any, out: Any, backend: Any) -> Any:
    """One call, whole: seen before, or planned now."""
    if backend is None and dispatch.is_default():
        result = _kernels.again(name, (*args, dtype), x, out)
        if result is not None:
            return result
    only = type(out) is PlanOnly
    if only:
        out = out.out
    array, wrap = arrays.admit("x", x)
    arrays.check_type("x", array)
    frozen = _frozen(args)
    if not only:
        dispatch.choose(backend)
    target = None if out is None else arrays.admit_out(out)
    key = _key(name, frozen, dtype, array, target)
    if key is None:
        plan = _make_plan(name, rule, frozen, array, dtype, target)
    else:

        def make() -> tuple[Plan, int]:
            made = _make_plan(name, rule, frozen, array, dtype, target)
            return made, made.weight

        plan = plans.get(key, make)
    if only:
        return plan, array
    if target is None:
        result = dispatch.run(plan, array, None, backend)
        if wrap is None:
            if type(x) is np.ndarray and key is not None:
                cpu.remember(name, (*frozen, dtype), array, plan)
            return result
        return wrap(result)
    arrays.check_out(target, plan.out_shape)
    if target.dtype.isnative and not np.may_share_memory(array, target):
        dispatch.run(plan, array, target, backend)
    else:  # computed aside: x must not change while it is read
        aside = _make_plan(name, rule, frozen, array, plan.out_dtype, None)
        target[...] = dispatch.run(aside, array, None, backend)
    return out


def _kinds(value: Any) -> Any:
    """The types of the values: True and 1 are equal keys, but not equal arguments."""
    return tuple(map(_kinds, value)) if type(value) is tuple else type(value)


def _key(name: str, args: tuple[Any, ...], dtype: Any, x: Array, out: Array | None) -> Any:
    where = None if out is None else (out.shape, out.strides, out.dtype)
    key = (name, args, _kinds(args), dtype, x.shape, x.strides, x.dtype, where)
    try:
        hash(key)
    except TypeError:
        return None
    return key


# ---- adaptive --------------------------------------------------------------------------------------


def _adaptive_rule(rank: int, name: str) -> Rule:
    def rule(shape: tuple[int, ...], args: tuple[Any, ...]) -> Tables:
        axes = _spatial(shape, rank, name, args[1]) if rank else _axes(shape, args[1])
        _check_pooled(shape, axes)
        return axes, _adaptive_tables(shape, axes, args[0]), None

    return rule


def _check_pooled(shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    for axis in axes:
        if shape[axis] == 0:
            bad_value("x", shape, f"axis {axis} is pooled and has no elements")


_ADAPTIVE = {r: _adaptive_rule(r, f"adaptive_avg_pool{r}d") for r in (1, 2, 3)}
_ADAPTIVE[0] = _adaptive_rule(0, "adaptive_avg_pool")


def adaptive_avg_pool(
    x: Any, output_size: Size, *, axes: Ints | None = None, dtype: Any = None, out: Any = None, backend: Any = None
) -> Any:
    """Average x over adaptive windows along any axes (all, if `axes` is None).

    `output_size` is an int, or one entry per pooled axis; None keeps an axis. Window i of an axis of
    length n pooled to m runs from floor(i*n/m) up to ceil((i+1)*n/m).

    >>> import numpy as np, cpool
    >>> cpool.adaptive_avg_pool(np.arange(10.0), 7)
    array([0.5, 1.5, 3. , 4.5, 6. , 7.5, 8.5])
    """
    return _run("adaptive_avg_pool", _ADAPTIVE[0], (output_size, axes), x, dtype, out, backend)


def adaptive_avg_pool1d(
    x: Any,
    output_size: Size,
    *,
    data_format: str = "channels_first",
    dtype: Any = None,
    out: Any = None,
    backend: Any = None,
) -> Any:
    """Average (N, C, L) or (C, L) over adaptive windows of the last axis.

    >>> import numpy as np, cpool
    >>> cpool.adaptive_avg_pool1d(np.arange(5.0)[None], 3)
    array([[0.5, 2. , 3.5]])
    """
    return _run("adaptive_avg_pool1d", _ADAPTIVE[1], (output_size, data_format), x, dtype, out, backend)


def adaptive_avg_pool2d(
    x: Any,
    output_size: Size,
    *,
    data_format: str = "channels_first",
    dtype: Any = None,
    out: Any = None,
    backend: Any = None,
) -> Any:
    """Average (N, C, H, W) or (C, H, W) over adaptive windows of rows and columns.

    >>> import numpy as np, cpool
    >>> cpool.adaptive_avg_pool2d(np.ones((1, 64, 10, 9)), (7, None)).shape
    (1, 64, 7, 9)
    """
    return _run("adaptive_avg_pool2d", _ADAPTIVE[2], (output_size, data_format), x, dtype, out, backend)


def adaptive_avg_pool3d(
    x: Any,
    output_size: Size,
    *,
    data_format: str = "channels_first",
    dtype: Any = None,
    out: Any = None,
    backend: Any = None,
) -> Any:
    """Average (N, C, D, H, W) or (C, D, H, W) over adaptive windows of depth, rows and columns.

    >>> import numpy as np, cpool
    >>> cpool.adaptive_avg_pool3d(np.ones((2, 16, 7, 7, 7), np.float16), 2).dtype
    dtype('float16')
    """
    return _run("adaptive_avg_pool3d", _ADAPTIVE[3], (output_size, data_format), x, dtype, out, backend)


# ---- global ----------------------------------------------------------------------------------------


def _global_rule(shape: tuple[int, ...], args: tuple[Any, ...]) -> Tables:
    data_format = args[0]
    last = _is_last(data_format, None)
    ndim, batch = len(shape), 1
    if isinstance(data_format, str) and data_format.isupper():
        rank = len(data_format.replace("N", "").replace("C", ""))
        batch = ndim - rank - 1
        if batch not in (0, 1) or (batch == 1 and "N" not in data_format):
            bad_value("x", shape, f"{data_format} has {len(data_format)} axes, or one less without a batch")
    elif ndim < 3:
        bad_value("x", shape, "a batch, channels and at least one more axis are needed; else adaptive_avg_pool(x, 1)")
    axes = tuple(range(batch, ndim - 1)) if last else tuple(range(batch + 1, ndim))
    _check_pooled(shape, axes)
    return axes, tuple(windows(shape[a], 1) for a in axes), None


def global_avg_pool(
    x: Any,
    *,
    data_format: str = "channels_first",
    keepdims: bool = True,
    dtype: Any = None,
    out: Any = None,
    backend: Any = None,
) -> Any:
    """Average over all axes but batch and channel.

    >>> import numpy as np, cpool
    >>> cpool.global_avg_pool(np.ones((8, 2048, 7, 7), np.float32), keepdims=False).shape
    (8, 2048)
    """
    if not isinstance(keepdims, (bool, np.bool_)):
        bad_kind("keepdims", keepdims, "True or False is needed")
    if keepdims or type(out) is PlanOnly:
        return _run("global_avg_pool", _global_rule, (data_format,), x, dtype, out, backend)
    array, _ = arrays.admit("x", x)
    axes = _global_rule(array.shape, (data_format,))[0]
    target = out
    if out is not None:
        kept = tuple(n for a, n in enumerate(array.shape) if a not in axes)
        plain = arrays.admit_out(out)
        arrays.check_out(plain, kept)
        target = np.expand_dims(plain, axes)
    result = _run("global_avg_pool", _global_rule, (data_format,), x, dtype, target, backend)
    if out is not None:
        return out
    return result.reshape(tuple(n for a, n in enumerate(result.shape) if a not in axes))


# ---- strided ---------------------------------------------------------------------------------------


def _strided_rule(rank: int, name: str) -> Rule:
    def rule(shape: tuple[int, ...], args: tuple[Any, ...]) -> Tables:
        axes = _spatial(shape, rank, name, args[-1]) if rank else _axes(shape, args[-1])
        _check_pooled(shape, axes)
        return _strided_tables(shape, axes, args[:-1])

    return rule


_STRIDED = {r: _strided_rule(r, f"avg_pool{r}d") for r in (1, 2, 3)}
_STRIDED[0] = _strided_rule(0, "avg_pool")


def avg_pool(
    x: Any,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool | None = None,
    divisor_override: int | None = None,
    *,
    dilation: Ints = 1,
    axes: Ints | None = None,
    dtype: Any = None,
    out: Any = None,
    backend: Any = None,
) -> Any:
    """Average x over strided windows along any axes (all, if `axes` is None).

    >>> import numpy as np, cpool
    >>> cpool.avg_pool(np.arange(10.0), 3, 2, padding=1)
    array([0.33333333, 2.        , 4.        , 6.        , 8.        ])
    """
    args = (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, dilation, axes)
    return _run("avg_pool", _STRIDED[0], args, x, dtype, out, backend)


def avg_pool1d(
    x: Any,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool | None = None,
    divisor_override: int | None = None,
    *,
    dilation: Ints = 1,
    data_format: str = "channels_first",
    dtype: Any = None,
    out: Any = None,
    backend: Any = None,
) -> Any:
    """Average (N, C, L) or (C, L) over strided windows of the last axis.

    >>> import numpy as np, cpool
    >>> cpool.avg_pool1d(np.arange(6.0)[None], 2)
    array([[0.5, 2.5, 4.5]])
    """
    args = (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, dilation, data_format)
    return _run("avg_pool1d", _STRIDED[1], args, x, dtype, out, backend)


def avg_pool2d(
    x: Any,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool | None = None,
    divisor_override: int | None = None,
    *,
    dilation: Ints = 1,
    data_format: str = "channels_first",
    dtype: Any = None,
    out: Any = None,
    backend: Any = None,
) -> Any:
    """Average (N, C, H, W) or (C, H, W) over strided windows of rows and columns.

    >>> import numpy as np, cpool
    >>> cpool.avg_pool2d(np.ones((1, 3, 7, 7)), 3, 2, padding="same_upper").shape
    (1, 3, 4, 4)
    """
    args = (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, dilation, data_format)
    return _run("avg_pool2d", _STRIDED[2], args, x, dtype, out, backend)


def avg_pool3d(
    x: Any,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool | None = None,
    divisor_override: int | None = None,
    *,
    dilation: Ints = 1,
    data_format: str = "channels_first",
    dtype: Any = None,
    out: Any = None,
    backend: Any = None,
) -> Any:
    """Average (N, C, D, H, W) or (C, D, H, W) over strided windows of depth, rows and columns.

    >>> import numpy as np, cpool
    >>> float(cpool.avg_pool3d(np.ones((1, 4, 4, 4), np.uint8), 4)[0, 0, 0, 0])
    1.0
    """
    args = (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, dilation, data_format)
    return _run("avg_pool3d", _STRIDED[3], args, x, dtype, out, backend)
