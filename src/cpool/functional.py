"""The operations: arguments become a plan, and the plan is dispatched."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
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
    kinds,
    lay_out,
    memory_order,
    packed_strides,
    plans,
    product,
)
from .windows import Spec, Windows, adaptive, as_flag, as_int, strided, windows

Array = NDArray[Any]
Size = int | Sequence[int | None] | None
Ints = int | Sequence[int]
Padding = int | str | Sequence[int] | Sequence[tuple[int, int]]
Specs = tuple[Spec | None, ...]  # the windows of each pooled axis, None where it is kept
Found = tuple[tuple[int, ...], Specs, int | None]  # axes, their windows, and the divisor of all
Rule = Callable[[tuple[int, ...], tuple[Any, ...]], Found]
Pair = tuple[Array, Array]


@dataclass(frozen=True)
class Operation:
    """An operation: how its arguments become windows, and what it makes of them."""

    name: str
    rule: Rule
    reducer: str = "avg"
    back: str = field(init=False)  # the name of its gradient

    def __post_init__(self) -> None:
        object.__setattr__(self, "back", f"{self.name}_backward")


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


def _sizes(value: Any, count: int) -> list[int | None]:
    """The output sizes of `count` axes, None where an axis is kept."""
    wanted = "an int, None to keep an axis"
    checked: list[int | None] = []
    for size in _one_per_axis("output_size", value, count, wanted):
        if size is not None:
            size = as_int("output_size", size, f"{wanted}, or one of these per pooled axis is needed")
            if size < 0:
                bad_value("output_size", value, "sizes are not negative")
        checked.append(size)
    return checked


def _override(value: Any) -> int | None:
    """The divisor_override."""
    if value is None:
        return None
    divisor = as_int("divisor_override", value, "a non-zero int is needed")
    if divisor == 0 or abs(divisor) >= MAX_DIVISOR:
        bad_value("divisor_override", divisor, "a non-zero int of less than 2**53 is needed")
    return divisor


def _adaptive_specs(shape: tuple[int, ...], axes: tuple[int, ...], output_size: Any) -> Specs:
    sizes = _sizes(output_size, len(axes))
    _check_pooled(shape, tuple(a for a, size in zip(axes, sizes, strict=True) if size is not None))
    made = list(shape)
    for axis, size in zip(axes, sizes, strict=True):
        made[axis] = shape[axis] if size is None else size
    check_size("output_size", output_size, made, 128)  # no address space reaches so far
    return tuple(None if m is None else adaptive(shape[a], m, "output_size") for a, m in zip(axes, sizes, strict=True))


def _paddings(value: Any, count: int) -> tuple[Any, ...]:
    """The padding of each of `count` axes: a name for all, or an int or a pair for each."""
    if isinstance(value, str):
        return (value,) * count
    wanted = "an int or a pair (before, after) is needed"
    if count == 1 and isinstance(value, tuple) and len(value) == 2 and all(isinstance(p, int) for p in value):
        bad_value("padding", value, f"{wanted} for each pooled axis: ({value},) would do")
    entries = _one_per_axis("padding", value, count, wanted)
    if any(isinstance(p, str) for p in entries):
        bad_kind(
            "padding", value, f'a name is for all axes and stands alone, as in padding="same_upper"; else {wanted}'
        )
    return tuple(tuple(p) if isinstance(p, (list, np.ndarray)) else p for p in entries)


def _strided_specs(shape: tuple[int, ...], axes: tuple[int, ...], args: tuple[Any, ...]) -> Found:
    kernel_size, stride, padding, ceil_mode, include, override, dilation = args
    count = len(axes)
    kernels = _one_per_axis("kernel_size", kernel_size, count, "an int is needed")
    strides = _one_per_axis("stride", stride, count, "an int or None (the kernel_size) is needed")
    dilations = _one_per_axis("dilation", dilation, count, "an int is needed")
    pads = _paddings(padding, count)
    ceil_mode = as_flag("ceil_mode", ceil_mode)
    if include is None:
        include = not (isinstance(padding, str) and padding.startswith("same"))
    include = as_flag("count_include_pad", include)
    override = _override(override)
    specs = tuple(
        strided(shape[axis], k, s, d, p, ceil_mode, include, came=padding, axis=axis)
        for axis, k, s, d, p in zip(axes, kernels, strides, dilations, pads, strict=True)
    )
    return axes, specs, override


def tables_of(specs: Specs) -> tuple[Windows | None, ...]:
    """The tables of windows, which take memory: last, when nothing can be wrong any more."""
    return tuple(None if spec is None else spec.table() for spec in specs)


def result_shape(shape: tuple[int, ...], axes: tuple[int, ...], specs: Specs) -> tuple[int, ...]:
    """The shape of what windows make of an array."""
    found = list(shape)
    for axis, spec in zip(axes, specs, strict=True):
        found[axis] = shape[axis] if spec is None else spec.count
    return tuple(found)


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


def _make_plan(
    op: Operation, args: tuple[Any, ...], x: Array, dtype: Any, out_like: Array | None, pair: Pair | None, indexed: bool
) -> Plan:
    axes, specs, divisor = op.rule(x.shape, args)
    if op.reducer == "max":
        out_dtype = arrays.max_type(x.dtype, out_like if pair is None else pair[0])
    else:
        out_dtype = arrays.average_type(x.dtype, dtype, out_like)
    shape = result_shape(x.shape, axes, specs)
    check_size("x", x.shape, shape, max(out_dtype.itemsize, 8 * indexed))
    if op.reducer == "avg":
        check_divisor("kernel_size" if op.name.startswith("avg") else "x", specs)
    for target in pair or (out_like,):
        if target is not None:
            arrays.check_out(target, shape)
    tables = tables_of(specs)
    if indexed:  # an axis that is kept as it is, is counted in the index all the same
        tables = tuple(
            windows(x.shape[a], x.shape[a]) if t is None and x.shape[a] else t
            for a, t in zip(axes, tables, strict=True)
        )
    if out_like is None:
        out_strides = packed_strides(shape, memory_order(x.shape, x.strides), out_dtype.itemsize)
    else:
        out_strides = out_like.strides
    return plan_between(op.name, op.reducer, x, shape, out_dtype, out_strides, axes, tables, divisor, indexed=indexed)


def plan_between(
    name: str,
    reducer: str,
    x: Array,
    out_shape: tuple[int, ...],
    out_dtype: np.dtype[Any],
    out_strides: tuple[int, ...],
    axes: tuple[int, ...],
    tables: tuple[Windows | None, ...],
    divisor: int | None,
    *,
    indexed: bool = False,
    wide: bool = False,
) -> Plan:
    """The plan from an array to a result."""
    plan = Plan(
        operation=name,
        reducer=reducer,
        x_shape=x.shape,
        x_dtype=x.dtype,
        out_shape=out_shape,
        out_dtype=out_dtype,
        axes=axes,
        tables=tables,
        divisor=divisor,
        item=arrays.item_of(x.dtype),
        out_item=arrays.item_of(out_dtype),
        swapped=not x.dtype.isnative,
        elements=product(x.shape) * (2 if x.dtype.kind == "c" else 1),
        indexed=indexed,
        wide=wide,
    )
    return lay_out(plan, x.strides, out_strides, memory_order(x.shape, x.strides))


def _frozen(value: Any, depth: int = 4) -> Any:
    """What can't change any more, so that a key can be made of it: lists as tuples, what is an index as an int.

    No argument is a list of lists of lists; what is stays so, and is refused later.
    """
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return tuple(_frozen(v, depth - 1) for v in value) if depth else value
    if hasattr(value, "__index__") and not isinstance(value, (int, np.bool_)):
        return operator.index(value)
    return value


def _run(op: Operation, args: tuple[Any, ...], x: Any, dtype: Any, out: Any, backend: Any) -> Any:
    """One call, whole: seen before, or planned now."""
    there = type(x) is not np.ndarray and arrays.is_device_array(x)
    usual = backend is None and (there or dispatch.is_default())  # only such calls are remembered and found again
    if usual:
        short = dispatch.again if there else _kernels.again
        result = short(op.name, (*args, dtype), x, out)
        if result is not None:
            return result
    only = type(out) is PlanOnly
    if only:
        out = out.out
    array, wrap = arrays.admit("x", x)
    arrays.check_type("x", array, op.reducer)
    frozen = _frozen(args)
    choice = dispatch.choose(backend, array)
    target = None if out is None else arrays.admit_out(out)
    if target is not None:
        arrays.check_together("out", array, target)
    plan = _plan_of(op, frozen, dtype, array, target)
    choice = dispatch.settle(choice, plan)
    if only:
        return plan, array, choice
    if there:
        dispatch.remember(op.name, (*args, dtype), array, target, plan)
    usual = usual and type(x) is np.ndarray and choice.name == "cpu"
    if target is None:
        result = dispatch.run(plan, array, None, choice)
        if usual:
            cpu.remember(op.name, (*frozen, dtype), array, plan)
        return result if wrap is None else wrap(result)
    arrays.check_out(target, plan.out_shape)
    write(plan, array, target, choice, lambda: _plan_of(op, frozen, plan.out_dtype, array, None))
    if usual and type(out) is np.ndarray and cpu.remembers(plan):
        fresh = _plan_of(op, frozen, dtype, array, None)
        if arrays.lies_so(target, fresh.out_dtype, packed_strides(fresh.out_shape, fresh.out_order, target.itemsize)):
            cpu.remember(op.name, (*frozen, dtype), array, fresh)
    return out


def write(plan: Plan, x: Array, target: Array, choice: dispatch.Choice, aside: Callable[[], Plan]) -> None:
    """Pool x into `target`, by the plan for it. Or, where x would change while it is read or the bytes go in another
    order, by the plan `aside` for a new result, which is copied."""
    if target.dtype.isnative and not arrays.share_memory(x, target):
        dispatch.run(plan, x, target, choice)
        return
    plan = aside()
    result = arrays.new(x, plan.out_shape, plan.out_order, plan.out_dtype, passing=True)
    arrays.assign(target, dispatch.run(plan, x, result, choice))


_INDICES = "with indices"  # where calls without them have a type


def _run_indexed(op: Operation, args: tuple[Any, ...], x: Any, out: Any, backend: Any) -> Any:
    """The largest and where they are."""
    usual = backend is None and dispatch.is_default()
    if usual:
        pair = _kernels.again(op.name, (*args, _INDICES), x, out)
        if pair is not None:
            return pair
    only = type(out) is PlanOnly
    if only:
        out = out.out
    array, wrap = arrays.admit("x", x)
    arrays.check_type("x", array, op.reducer)
    choice = dispatch.choose(backend, array)
    frozen = _frozen(args)
    targets = None if out is None else _admit_pair(out)
    plan = _plan_of(op, frozen, None, array, None, targets, indexed=True)
    if targets is not None:
        _check_pair(plan, array, targets)
    choice = dispatch.settle(choice, plan)
    if only:
        return plan, array, choice
    if usual and type(x) is np.ndarray and choice.name == "cpu":
        cpu.remember(op.name, (*frozen, _INDICES), array, plan)
    return _run_pair(plan, array, wrap, targets, out, choice)


def run_indexed(plan: Plan, x: Array, wrap: arrays.Wrap | None, out: Any, choice: dispatch.Choice) -> Any:
    """The pair that an indexed plan makes of x, or `out`, a pair that takes it."""
    targets = None if out is None else _admit_pair(out)
    if targets is not None:
        _check_pair(plan, x, targets)
    return _run_pair(plan, x, wrap, targets, out, choice)


def _check_pair(plan: Plan, x: Array, targets: Pair) -> None:
    arrays.max_type(plan.x_dtype, targets[0])
    for target in targets:
        arrays.check_together("out", x, target)
        arrays.check_out(target, plan.out_shape)


def _run_pair(
    plan: Plan, x: Array, wrap: arrays.Wrap | None, targets: Pair | None, out: Any, choice: dispatch.Choice
) -> Any:
    if targets is not None and _take(plan, x, targets):
        dispatch.run(plan, x, targets[0], choice, targets[1])
        return out
    passing = targets is not None
    indices = arrays.new(x, plan.out_shape, plan.out_order, np.dtype(np.int64), passing=passing)
    result = arrays.new(x, plan.out_shape, plan.out_order, plan.out_dtype, passing=True) if passing else None
    result = dispatch.run(plan, x, result, choice, indices)
    if targets is not None:
        arrays.assign(targets[0], result)
        arrays.assign(targets[1], indices)
        return out
    return (result, indices) if wrap is None else (wrap(result), wrap(indices))


def _take(plan: Plan, x: Array, targets: Pair) -> bool:
    """Whether both parts lie as a new pair would, and apart from x."""
    values = plan.out_dtype, packed_strides(plan.out_shape, plan.out_order, plan.out_dtype.itemsize)
    kind, _, strides = plan.indices
    return (
        arrays.lies_so(targets[0], *values)
        and arrays.lies_so(targets[1], kind, strides)
        and not any(arrays.share_memory(x, target) for target in targets)
    )


def _run_max(op: Operation, args: tuple[Any, ...], return_indices: Any, x: Any, out: Any, backend: Any) -> Any:
    if as_flag("return_indices", return_indices):
        return _run_indexed(op, args, x, out, backend)
    return _run(op, args, x, None, out, backend)


def _admit_pair(out: Any) -> Pair:
    if not isinstance(out, (tuple, list)) or len(out) != 2:
        bad_kind("out", type(out), "with return_indices=True a pair (values, indices) is needed")
    values, indices = (arrays.admit_out(part) for part in out)
    if arrays.native(indices.dtype) != np.int64:
        bad_kind("out", indices.dtype, "indices are int64")
    arrays.check_together("out", values, indices)
    if arrays.share_memory(values, indices):
        bad_value("out", "values and indices that share memory", "two arrays are needed")
    return values, indices


def _plan_of(
    op: Operation,
    args: tuple[Any, ...],
    dtype: Any,
    x: Array,
    out: Array | None,
    pair: Pair | None = None,
    indexed: bool = False,
) -> Plan:
    """The plan for `out`, or for a new result. A `pair` that takes one is only checked."""
    where = None if out is None else (out.shape, out.strides, out.dtype)

    def make() -> tuple[Plan, int]:
        made = _make_plan(op, args, x, dtype, out, pair, indexed)
        return made, made.weight

    return plans.get((op.name, indexed, args, kinds(args), dtype, x.shape, x.strides, x.dtype, where), make)


# ---- adaptive --------------------------------------------------------------------------------------


def _adaptive_rule(rank: int, name: str) -> Rule:
    def rule(shape: tuple[int, ...], args: tuple[Any, ...]) -> Found:
        axes = _spatial(shape, rank, name, args[1]) if rank else _axes(shape, args[1])
        return axes, _adaptive_specs(shape, axes, args[0]), None

    return rule


def _check_pooled(shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    for axis in axes:
        if shape[axis] == 0:
            bad_value("x", shape, f"axis {axis} is pooled and has no elements")


def _family(name: str, rule: Callable[[int, str], Rule], reducer: str) -> dict[int, Operation]:
    """The numbered forms, and the general one as number 0."""
    names = {0: name, **{r: f"{name}{r}d" for r in (1, 2, 3)}}
    return {r: Operation(full, rule(r, full), reducer) for r, full in names.items()}


_ADAPTIVE_AVG = _family("adaptive_avg_pool", _adaptive_rule, "avg")
_ADAPTIVE_MAX = _family("adaptive_max_pool", _adaptive_rule, "max")


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
    return _run(_ADAPTIVE_AVG[0], (output_size, axes), x, dtype, out, backend)


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
    return _run(_ADAPTIVE_AVG[1], (output_size, data_format), x, dtype, out, backend)


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
    return _run(_ADAPTIVE_AVG[2], (output_size, data_format), x, dtype, out, backend)


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
    return _run(_ADAPTIVE_AVG[3], (output_size, data_format), x, dtype, out, backend)


def adaptive_max_pool(
    x: Any,
    output_size: Size,
    return_indices: bool = False,
    *,
    axes: Ints | None = None,
    out: Any = None,
    backend: Any = None,
) -> Any:
    """The largest of adaptive windows along any axes (all, if `axes` is None).

    With `return_indices` a pair: the largest, and where each is (int64, in C order over the pooled axes of
    its plane). NaN is larger than all; of equals the first counts.

    >>> import numpy as np, cpool
    >>> cpool.adaptive_max_pool(np.arange(10.0), 7)
    array([1., 2., 4., 5., 7., 8., 9.])
    """
    return _run_max(_ADAPTIVE_MAX[0], (output_size, axes), return_indices, x, out, backend)


def adaptive_max_pool1d(
    x: Any,
    output_size: Size,
    return_indices: bool = False,
    *,
    data_format: str = "channels_first",
    out: Any = None,
    backend: Any = None,
) -> Any:
    """The largest of adaptive windows of the last axis of (N, C, L) or (C, L).

    >>> import numpy as np, cpool
    >>> cpool.adaptive_max_pool1d(np.arange(5.0)[None], 3, return_indices=True)
    (array([[1., 3., 4.]]), array([[1, 3, 4]]))
    """
    return _run_max(_ADAPTIVE_MAX[1], (output_size, data_format), return_indices, x, out, backend)


def adaptive_max_pool2d(
    x: Any,
    output_size: Size,
    return_indices: bool = False,
    *,
    data_format: str = "channels_first",
    out: Any = None,
    backend: Any = None,
) -> Any:
    """The largest of adaptive windows of rows and columns of (N, C, H, W) or (C, H, W).

    >>> import numpy as np, cpool
    >>> cpool.adaptive_max_pool2d(np.ones((1, 64, 10, 9)), (7, None)).shape
    (1, 64, 7, 9)
    """
    return _run_max(_ADAPTIVE_MAX[2], (output_size, data_format), return_indices, x, out, backend)


def adaptive_max_pool3d(
    x: Any,
    output_size: Size,
    return_indices: bool = False,
    *,
    data_format: str = "channels_first",
    out: Any = None,
    backend: Any = None,
) -> Any:
    """The largest of adaptive windows of depth, rows and columns of (N, C, D, H, W) or (C, D, H, W).

    >>> import numpy as np, cpool
    >>> cpool.adaptive_max_pool3d(np.ones((2, 16, 7, 7, 7), np.int8), 2).dtype
    dtype('int8')
    """
    return _run_max(_ADAPTIVE_MAX[3], (output_size, data_format), return_indices, x, out, backend)


# ---- global ----------------------------------------------------------------------------------------


def _batch_axes(shape: tuple[int, ...], data_format: str) -> int:
    """How many batch axes, none or one, an array in a format of letters has."""
    batch = len(shape) - len(data_format.replace("N", ""))
    if batch not in (0, 1) or (batch and "N" not in data_format):
        bad_value("x", shape, f"{data_format} has {len(data_format)} axes, or one less without a batch")
    return batch


def _global_rule(name: str) -> Rule:
    def rule(shape: tuple[int, ...], args: tuple[Any, ...]) -> Found:
        (data_format,) = args
        last = _is_last(data_format, None)
        ndim, batch = len(shape), 1
        if data_format.isupper():
            batch = _batch_axes(shape, data_format)
        elif ndim < 3:
            general = name.replace("global", "adaptive")
            bad_value("x", shape, f"a batch, channels and at least one more axis are needed; else {general}(x, 1)")
        axes = tuple(range(batch, ndim - 1)) if last else tuple(range(batch + 1, ndim))
        _check_pooled(shape, axes)
        return axes, tuple(adaptive(shape[a], 1) for a in axes), None

    return rule


_GLOBAL_AVG = Operation("global_avg_pool", _global_rule("global_avg_pool"))
_GLOBAL_MAX = Operation("global_max_pool", _global_rule("global_max_pool"), "max")


def _run_global(
    op: Operation, data_format: Any, keepdims: Any, x: Any, out: Any, run: Callable[[Any, Any], Any]
) -> Any:
    """`run(x, out)` with or without the axes of one element that remain."""
    if as_flag("keepdims", keepdims):
        return run(x, out)
    shape = arrays.admit("x", x)[0].shape
    axes = op.rule(shape, (data_format,))[0]
    if type(out) is PlanOnly:
        return run(x, PlanOnly(with_axes(axes, shape, out.out)))
    return without_axes(axes, shape, x, out, run)


def with_axes(axes: tuple[int, ...], shape: tuple[int, ...], out: Any) -> Any:
    """`out`, or both of a pair, with the axes of one element that the result for an x of this shape lacks."""
    kept = tuple(n for a, n in enumerate(shape) if a not in axes)

    def widened(part: Any) -> Array:
        plain = arrays.admit_out(part)
        arrays.check_out(plain, kept)
        return arrays.expand_dims(plain, axes)

    if out is None:
        return None
    return tuple(map(widened, out)) if isinstance(out, (tuple, list)) else widened(out)


def without_axes(
    axes: tuple[int, ...], shape: tuple[int, ...], x: Any, out: Any, run: Callable[[Any, Any], Any]
) -> Any:
    """`run(x, out)`, but the result, or both of a pair, without the axes of one element that it has."""
    if out is not None:
        run(x, with_axes(axes, shape, out))
        return out
    result = run(x, None)
    if isinstance(result, tuple):
        return tuple(arrays.squeeze(part, axes) for part in result)
    return arrays.squeeze(result, axes)


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

    They stay, with length 1, unless `keepdims` is False. Without a batch, say so by the letters of
    `data_format`, as in "CHW".

    >>> import numpy as np, cpool
    >>> cpool.global_avg_pool(np.ones((8, 2048, 7, 7), np.float32), keepdims=False).shape
    (8, 2048)
    """

    def run(x: Any, out: Any) -> Any:
        return _run(_GLOBAL_AVG, (data_format,), x, dtype, out, backend)

    return _run_global(_GLOBAL_AVG, data_format, keepdims, x, out, run)


def global_max_pool(
    x: Any,
    *,
    data_format: str = "channels_first",
    keepdims: bool = True,
    return_indices: bool = False,
    out: Any = None,
    backend: Any = None,
) -> Any:
    """The largest over all axes but batch and channel; the arguments are those of `global_avg_pool`.

    >>> import numpy as np, cpool
    >>> cpool.global_max_pool(np.arange(12.0).reshape(1, 2, 3, 2), keepdims=False)
    array([[ 5., 11.]])
    """

    def run(x: Any, out: Any) -> Any:
        return _run_max(_GLOBAL_MAX, (data_format,), return_indices, x, out, backend)

    return _run_global(_GLOBAL_MAX, data_format, keepdims, x, out, run)


# ---- strided ---------------------------------------------------------------------------------------


def _strided_rule(rank: int, name: str) -> Rule:
    def rule(shape: tuple[int, ...], args: tuple[Any, ...]) -> Found:
        axes = _spatial(shape, rank, name, args[-1]) if rank else _axes(shape, args[-1])
        _check_pooled(shape, axes)
        return _strided_specs(shape, axes, args[:-1])

    return rule


def _max_rule(rank: int, name: str) -> Rule:
    strided = _strided_rule(rank, name)

    def rule(shape: tuple[int, ...], args: tuple[Any, ...]) -> Found:
        kernel_size, stride, padding, dilation, ceil_mode, where = args
        return strided(shape, (kernel_size, stride, padding, ceil_mode, None, None, dilation, where))

    return rule


_AVG = _family("avg_pool", _strided_rule, "avg")
_MAX = _family("max_pool", _max_rule, "max")


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

    `kernel_size`, `stride` (None: the kernel_size), `dilation` and `padding` are an int or one per pooled axis.
    `padding` may also be a pair (before, after) per axis, "valid", "same_upper" or "same_lower".
    `count_include_pad` says whether padding counts in the divisor; None means True for numbers and False for
    "same_*". `divisor_override` is a divisor for all windows; 1 gives sums.

    >>> import numpy as np, cpool
    >>> cpool.avg_pool(np.arange(10.0), 3, 2, padding=1)
    array([0.33333333, 2.        , 4.        , 6.        , 8.        ])
    """
    args = (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, dilation, axes)
    return _run(_AVG[0], args, x, dtype, out, backend)


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
    return _run(_AVG[1], args, x, dtype, out, backend)


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
    return _run(_AVG[2], args, x, dtype, out, backend)


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
    return _run(_AVG[3], args, x, dtype, out, backend)


def max_pool(
    x: Any,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Padding = 0,
    dilation: Ints = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    axes: Ints | None = None,
    out: Any = None,
    backend: Any = None,
) -> Any:
    """The largest of strided windows along any axes (all, if `axes` is None); padding never wins.

    The arguments are those of `avg_pool`; with `return_indices` the result is a pair, as in `adaptive_max_pool`.

    >>> import numpy as np, cpool
    >>> cpool.max_pool(np.arange(10.0), 3, 2, padding=1)
    array([1., 3., 5., 7., 9.])
    """
    args = (kernel_size, stride, padding, dilation, ceil_mode, axes)
    return _run_max(_MAX[0], args, return_indices, x, out, backend)


def max_pool1d(
    x: Any,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Padding = 0,
    dilation: Ints = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    data_format: str = "channels_first",
    out: Any = None,
    backend: Any = None,
) -> Any:
    """The largest of strided windows of the last axis of (N, C, L) or (C, L); padding never wins.

    >>> import numpy as np, cpool
    >>> cpool.max_pool1d(np.arange(6.0)[None], 2)
    array([[1., 3., 5.]])
    """
    args = (kernel_size, stride, padding, dilation, ceil_mode, data_format)
    return _run_max(_MAX[1], args, return_indices, x, out, backend)


def max_pool2d(
    x: Any,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Padding = 0,
    dilation: Ints = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    data_format: str = "channels_first",
    out: Any = None,
    backend: Any = None,
) -> Any:
    """The largest of strided windows of rows and columns of (N, C, H, W) or (C, H, W); padding never wins.

    >>> import numpy as np, cpool
    >>> cpool.max_pool2d(np.ones((1, 3, 7, 7)), 3, 2, padding="same_upper").shape
    (1, 3, 4, 4)
    """
    args = (kernel_size, stride, padding, dilation, ceil_mode, data_format)
    return _run_max(_MAX[2], args, return_indices, x, out, backend)


def max_pool3d(
    x: Any,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Padding = 0,
    dilation: Ints = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    data_format: str = "channels_first",
    out: Any = None,
    backend: Any = None,
) -> Any:
    """The largest of strided windows of depth, rows and columns of (N, C, D, H, W) or (C, D, H, W); padding never wins.

    >>> import numpy as np, cpool
    >>> cpool.max_pool3d(np.ones((1, 4, 4, 4), np.uint8), 4).dtype
    dtype('uint8')
    """
    args = (kernel_size, stride, padding, dilation, ceil_mode, data_format)
    return _run_max(_MAX[3], args, return_indices, x, out, backend)
