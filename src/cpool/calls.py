"""One call, from arguments to a result: seen before, or planned, and dispatched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _kernels, arrays, cpu, dispatch
from .errors import bad_kind, bad_value
from .plan import Plan, check_divisor, check_size, kinds, lay_out, memory_order, packed_strides, plans, product
from .rules import Operation, freeze, result_shape, tables_of
from .windows import Windows, as_flag, windows

Array = NDArray[Any]
Pair = tuple[Array, Array]


class PlanOnly:
    """Stands in for `out`: the plan is wanted, not the result."""

    def __init__(self, out: Any) -> None:
        self.out = out


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


def run(op: Operation, args: tuple[Any, ...], x: Any, dtype: Any, out: Any, backend: Any) -> Any:
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
    frozen = freeze(args)
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


def run_max(op: Operation, args: tuple[Any, ...], return_indices: Any, x: Any, out: Any, backend: Any) -> Any:
    """One call of the largest, and, if asked for, of where they are."""
    if as_flag("return_indices", return_indices):
        return _run_indexed(op, args, x, out, backend)
    return run(op, args, x, None, out, backend)


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
    frozen = freeze(args)
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


# ---- without the axes that a global pooling leaves -----------------------------------------------


def run_global(
    op: Operation, data_format: Any, keepdims: Any, x: Any, out: Any, whole: Callable[[Any, Any], Any]
) -> Any:
    """`whole(x, out)` with or without the axes of one element that remain."""
    if as_flag("keepdims", keepdims):
        return whole(x, out)
    shape = arrays.admit("x", x)[0].shape
    axes = op.rule(shape, (data_format,))[0]
    if type(out) is PlanOnly:
        return whole(x, PlanOnly(with_axes(axes, shape, out.out)))
    return without_axes(axes, shape, x, out, whole)


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
    axes: tuple[int, ...], shape: tuple[int, ...], x: Any, out: Any, whole: Callable[[Any, Any], Any]
) -> Any:
    """`whole(x, out)`, but the result, or both of a pair, without the axes of one element that it has."""
    if out is not None:
        whole(x, with_axes(axes, shape, out))
        return out
    result = whole(x, None)
    if isinstance(result, tuple):
        return tuple(arrays.squeeze(part, axes) for part in result)
    return arrays.squeeze(result, axes)
