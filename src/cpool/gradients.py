"""Gradients with respect to x. Averages gather: the transposed tables make them averages themselves. Gradients of
the largest are added where the indices say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from . import _kernels, arrays, cpu, dispatch
from .calls import plan_between
from .errors import bad_kind, bad_value
from .plan import Cache, Division, Plan, check_size, kinds, memory_order, packed_strides, plans, product
from .rules import Operation, check_pooled, freeze, named_axes, result_shape, spatial_axes, tables_of
from .windows import Windows, as_flag, as_int, transposed, windows

Array = NDArray[Any]
Shape = tuple[int, ...]
Tables = tuple[Windows | None, ...]

SLICE = 2**18  # gradients that are divided in advance at a time
PLANE = 2**22  # the most of one plane that the core divides
PAIR = windows(2, 1)  # a quotient and its error: both are added


# ---- arguments -----------------------------------------------------------------------------------


def _admit(grad: Any, input_shape: Any, kinds: tuple[str, ...]) -> tuple[Array, arrays.Wrap | None, Shape]:
    """The gradient as an array, how its result becomes its own kind, and the shape of x."""
    array, wrap = arrays.admit("grad", grad)
    if arrays.family(array.dtype) not in kinds:
        more = ", complex64 or complex128" if "complex" in kinds else ""
        bad_kind("grad", array.dtype, f"gradients are float16, bfloat16, float32, float64{more}")
    shape = _as_shape(input_shape)
    check_size("input_shape", shape, list(shape), array.dtype.itemsize)
    return array, wrap, shape


def _as_shape(input_shape: Any) -> Shape:
    if not isinstance(input_shape, (tuple, list, np.ndarray)) or getattr(input_shape, "ndim", 1) != 1:
        bad_kind("input_shape", input_shape, "the shape of x is needed, a tuple of ints")
    shape = tuple(as_int("input_shape", n, "the shape of x is needed, a tuple of ints") for n in input_shape)
    if any(n < 0 for n in shape):
        bad_value("input_shape", shape, "no length is negative")
    return shape


def _axes_of(rule: Callable[[], Any]) -> Any:
    """What the rule finds; of x, which isn't here, the caller only gave the shape."""
    try:
        return rule()
    except ValueError as error:
        if not str(error).startswith("x: "):
            raise
        raise ValueError(f"input_shape{str(error)[1:]}") from None


def _windows_of(op: Operation, args: tuple[Any, ...], shape: Shape, grad: Shape) -> tuple[Shape, Tables, int | None]:
    """The axes, windows and divisor of the operation that gave this gradient."""
    if op.name.startswith("adaptive"):  # its output_size is the gradient's own shape
        axes = _axes_of(lambda: op.rule(shape, (None, *args)))[0]
        if len(grad) != len(shape):
            bad_value("grad", grad, f"as many axes as x has ({len(shape)}) are needed")
        args = (tuple(grad[a] or (None if shape[a] == 0 else 0) for a in axes), *args)  # empty ones were kept
    axes, specs, divisor = _axes_of(lambda: op.rule(shape, args))
    wanted = result_shape(shape, axes, specs)
    if grad != wanted:
        bad_value("grad", grad, f"{op.name} of {shape} has shape {wanted}")
    return axes, tables_of(specs), divisor


def _check_out(out: Any, grad: Array, shape: Shape, dtype: np.dtype[Any]) -> Array:
    target = arrays.admit_out(out)
    arrays.check_together("out", grad, target)
    arrays.check_out(target, shape)
    if arrays.native(target.dtype) != dtype:
        bad_kind("out", target.dtype, f"the gradient is {dtype}")
    return target


def _keep(op: Operation, args: tuple[Any, ...], keepdims: Any, shape: Shape, **parts: Any) -> tuple[Any, ...]:
    """The axes of a global pooling; then gradients, and what has their shape, with those that keepdims=False took."""
    keepdims = as_flag("keepdims", keepdims)
    axes = _axes_of(lambda: op.rule(shape, args))[0]
    wanted = tuple(1 if a in axes else n for a, n in enumerate(shape) if keepdims or a not in axes)
    found = []
    for name, part in parts.items():
        array, wrap = arrays.admit(name, part)
        if array.shape != wanted:
            bad_value(name, array.shape, f"{op.name} of {shape} has shape {wanted}")
        whole = arrays.expand_dims(array, axes)
        found.append(part if keepdims else whole if wrap is None else wrap(whole))
    return axes, *found


# ---- averages --------------------------------------------------------------------------------------


def of_average(op: Operation, args: tuple[Any, ...], grad: Any, input_shape: Any, out: Any, backend: Any) -> Any:
    """The gradient of an average."""
    if backend is None and dispatch.is_default():
        result = _kernels.again(op.back, (input_shape, *args), grad, out)
        if result is not None:
            return result
    array, wrap, shape = _admit(grad, input_shape, ("float", "complex"))
    choice = dispatch.choose(backend, array)
    dtype = arrays.native(array.dtype)
    frozen = freeze(args)
    target = None if out is None else _check_out(out, array, shape, dtype)
    axes, divisors, back = _recipe(op, frozen, shape, array.shape)
    into = target
    if target is None or not target.dtype.isnative or arrays.share_memory(array, target):
        order = memory_order(array.shape, array.strides)
        into = arrays.new(array, shape, order, dtype, passing=target is not None)
    assert into is not None
    if into.size:
        if choice.name != "cpu":
            dispatch.run(_plan_elsewhere(op, frozen, axes, divisors, back, array, into), array, into, choice)
        elif array.size == 0:
            into[...] = 0
        else:
            plan = _plan(op, frozen, axes, divisors, back, array, into)
            if plan is None:
                _gather_divided(op, axes, back, divisors, array, into)
            else:
                cpu.run(plan, array, into)
                fresh = packed_strides(shape, memory_order(array.shape, array.strides), dtype.itemsize)
                if type(grad) is np.ndarray and arrays.lies_so(into, dtype, fresh):
                    cpu.remember(op.back, (shape, *frozen), array, plan)
    if target is not None:
        if into is not target:
            arrays.assign(target, into)
        return out
    return into if wrap is None else wrap(into)


def of_global_average(
    op: Operation, data_format: Any, keepdims: Any, grad: Any, input_shape: Any, out: Any, backend: Any
) -> Any:
    """The gradient of a global average, which may lack the axes it was taken over."""
    if keepdims is not True:
        _, grad = _keep(op, (data_format,), keepdims, _as_shape(input_shape), grad=grad)
    return of_average(op, (data_format,), grad, input_shape, out, backend)


def _recipe(op: Operation, args: tuple[Any, ...], shape: Shape, grad: Shape) -> tuple[Shape, Array, Tables]:
    """Axes, divisors and transposed tables: what doesn't depend on where the gradient lies."""

    def make() -> tuple[tuple[Shape, Array, Tables], int]:
        axes, tables, divisor = _windows_of(op, args, shape, grad)
        divisors = _divisors(tables, divisor)
        back = tuple(None if t is None else transposed(t) for t in tables)
        return (axes, divisors, back), divisors.nbytes + sum(3 * t.starts.nbytes for t in back if t is not None) + 2048

    return _recipes.get((op.back, args, kinds(args), shape, grad), make)


_recipes: Cache[tuple[Shape, Array, Tables]] = Cache(entries=256, weight=2**24)


def _divisors(tables: tuple[Windows | None, ...], divisor: int | None) -> Array:
    """What each output is divided by, one axis for each pooled one; of a single element, if it is one for all."""
    if divisor is not None:
        return np.array([divisor], np.int64)
    found = np.ones((1,) * len(tables), np.int64)
    for k, table in enumerate(tables):
        if table is None or not table.count:
            continue
        counted = table.counted[:1] if bool((table.counted == table.counted[0]).all()) else table.counted
        found = found * counted.reshape([-1 if i == k else 1 for i in range(len(tables))])
    return found


def _plan(
    op: Operation, args: tuple[Any, ...], axes: Shape, divisors: Array, back: Tables, grad: Array, into: Array
) -> Plan | None:
    """The gradient as one plan: each element of x gets the sum of the outputs that hold it, divided once, or, where
    outputs have divisors of their own, divided before. None if these need more than a plan can say."""
    divided = divisors.size > 1
    order = memory_order(grad.shape, grad.strides)
    first = min((order.index(a) for a in axes), default=0)
    pooled = order[first : first + len(axes)]
    planes, inner = (
        product([grad.shape[a] for a in order[:first]]),
        product([grad.shape[a] for a in order[first + len(axes) :]]),
    )
    if divided and (
        grad.dtype.kind == "c"
        or grad.dtype == np.float64
        or set(pooled) != set(axes)
        or not grad.dtype.isnative
        or grad.size // planes > PLANE
        or not grad.transpose(order).flags.c_contiguous
    ):
        return None

    def make() -> tuple[Plan, int]:
        if not divided:
            plan = _plan_to(op, axes, back, int(divisors.reshape(-1)[0]), grad, into)
            return plan, plan.weight
        wide = np.empty([grad.shape[a] for a in order]).transpose(np.argsort(order))
        plan = _plan_to(op, axes, back, 1, wide, into, wide=True)
        by = _each(divisors, axes, grad.shape)
        division = Division(by.transpose(order).astype(np.float64).reshape(-1), planes, inner)
        plan = replace(plan, x_dtype=grad.dtype, x_strides=grad.strides, division=division)
        return plan, plan.weight

    how = (op.back, args, kinds(args), grad.shape, grad.strides, grad.dtype)
    return plans.get((*how, into.shape, into.strides), make)


def _plan_elsewhere(
    op: Operation, args: tuple[Any, ...], axes: Shape, divisors: Array, back: Tables, grad: Array, into: Array
) -> Plan:
    """The gradient as one plan for a device, which finds the divisors by where an element is in its plane."""

    def make() -> tuple[Plan, int]:
        one = divisors.size == 1 or not grad.size
        divisor = int(divisors.reshape(-1)[0]) if divisors.size == 1 else 1
        plan = plan_between(
            op.back, "avg", grad, into.shape, into.dtype, into.strides, axes, back, divisor, indexed=not one
        )
        if not one:
            plan = replace(plan, division=Division(_each(divisors, axes, grad.shape).reshape(-1), 1, 1))
        return plan, plan.weight

    how = ("elsewhere", op.back, args, kinds(args), grad.shape, grad.strides, grad.dtype)
    return plans.get((*how, into.shape, into.strides), make)


def _on_axes(divisors: Array, axes: Shape, ndim: int) -> Array:
    """The divisors, broadcastable to the gradient."""
    ordered = divisors.transpose([int(k) for k in np.argsort(axes)])
    lengths = iter(ordered.shape)
    return ordered.reshape([next(lengths) if a in axes else 1 for a in range(ndim)])


def _each(divisors: Array, axes: Shape, shape: Shape) -> Array:
    """The divisor of each element of a plane of the gradient."""
    return np.broadcast_to(_on_axes(divisors, axes, len(shape)), [n if a in axes else 1 for a, n in enumerate(shape)])


def _plan_to(
    op: Operation, axes: Shape, back: Tables, divisor: int, grad: Array, into: Array, *, wide: bool = False
) -> Plan:
    """An average, by the transposed tables."""
    return plan_between(op.back, "avg", grad, into.shape, into.dtype, into.strides, axes, back, divisor, wide=wide)


def _gather_divided(
    op: Operation, axes: Shape, back: tuple[Windows | None, ...], divisors: Array, grad: Array, into: Array
) -> None:
    """Whatever `_plan` can't do: gradients are divided first, as doubles, slice by slice."""
    if grad.dtype.kind == "c":
        parts = np.dtype(f"f{into.dtype.itemsize // 2}")
        for part, to in ((grad.real, into.real), (grad.imag, into.imag)):
            _gather_divided(op, axes, back, divisors, part.astype(parts), to)
        return
    if grad.size > SLICE:
        kept = [a for a in range(grad.ndim) if a not in axes and grad.shape[a] > 1]
        if kept:
            axis = max(kept, key=lambda a: abs(grad.strides[a]))
            half = grad.shape[axis] // 2
            for piece in (slice(None, half), slice(half, None)):
                at = (*(slice(None),) * axis, piece)
                _gather_divided(op, axes, back, divisors, grad[at], into[at])
            return
    by = _on_axes(divisors, axes, grad.ndim)
    if into.dtype == np.float64:
        _gather_pairs(op, axes, back, by, grad, into, 2**52)
        odd = ~np.isfinite(into)
        if odd.any():  # some ran over for being scaled; which, must not depend on their neighbours
            unscaled = np.empty_like(into)
            _gather_pairs(op, axes, back, by, grad, unscaled, 1)
            np.copyto(into, unscaled, where=odd)
        return
    wide = np.empty_like(grad, dtype=np.float64, subok=False)
    with _kernels.DefaultMode():
        np.divide(arrays.widened(grad), by, out=wide, dtype=np.float64)
    cpu.run(_plan_to(op, axes, back, 1, wide, into, wide=True), wide, into)


def _gather_pairs(
    op: Operation, axes: Shape, back: tuple[Windows | None, ...], by: Array, grad: Array, into: Array, scale: int
) -> None:
    """Sums of quotients and their errors, one behind the other; `scale` times as large, against underflow."""
    pairs = np.empty((2, *grad.shape))
    by = np.broadcast_to(by, grad.shape)
    longest = int(np.argmax(grad.shape))
    step = max(1, SLICE * grad.shape[longest] // grad.size)
    with np.errstate(all="ignore"), _kernels.DefaultMode():
        for first in range(0, grad.shape[longest], step):  # what is made on the way stays small
            at = (*(slice(None),) * longest, slice(first, first + step))
            some, divisor = grad[at].astype(np.float64) * scale, by[at]
            quotient = some / divisor
            # Products of the quotient's halves with a divisor below 2**26 are exact, and so is what they leave.
            high = (quotient.view(np.uint64) & np.uint64(2**64 - 2**27)).view(np.float64)
            rest = ((some - high * divisor) - (quotient - high) * divisor) / divisor
            pairs[0][at] = quotient
            pairs[1][at] = np.where(np.isfinite(rest) & (divisor < 2**26), rest, 0)
    lead = tuple(a + 1 for a in axes)
    cpu.run(_plan_to(op, (0, *lead), (PAIR, *back), scale, pairs, into[None]), pairs, into[None])


# ---- the largest -----------------------------------------------------------------------------------


def of_largest(
    op: Operation, rank: int, where: Any, grad: Any, indices: Any, input_shape: Any, out: Any, backend: Any
) -> Any:
    """The gradient of the largest, of the numbered form of this rank, or, if it is 0, over the axes `where`."""
    if backend is None and dispatch.is_default():
        result = _kernels.again(op.back, (input_shape, where), grad, out, indices)
        if result is not None:
            return result
    array, wrap, shape = _admit(grad, input_shape, ("float",))
    choice = dispatch.choose(backend, array)
    dtype = arrays.native(array.dtype)
    axes = _axes_of(lambda: _max_axes(op.name, rank, where, shape, array.shape))
    _check_kept(op.name, axes, shape, array.shape)
    places = _admit_indices(indices, array)
    target = None if out is None else _check_out(out, array, shape, dtype)
    length = product([shape[a] for a in axes])
    order = memory_order(array.shape, array.strides)
    if choice.name != "cpu":
        into = arrays.new(array, shape, order, dtype, passing=target is not None)
        wrong = dispatch.scatter(array, places, into, axes, choice)
        if wrong is not None:
            _bad_index(wrong, length)
        if target is not None:
            arrays.assign(target, into)
            return out
        return into if wrap is None else wrap(into)
    pooled = tuple(sorted(axes))
    first = order.index(pooled[0]) if pooled else len(order)
    together = order[first : first + len(pooled)] == pooled
    outer = order[:first] if together else tuple(a for a in order if a not in pooled)
    inner = order[first + len(pooled) :] if together else ()
    turned = (*outer, *pooled, *inner)  # so the kernel takes them, packed
    gradients = _packed(array.astype(dtype, copy=False), turned)
    elements = _packed(places, turned)
    strides = packed_strides(shape, turned, dtype.itemsize)
    spec: dict[str, Any] = {
        "isa": cpu.simd(),
        "type": cpu.type_code(dtype),
        "size": dtype.itemsize,
        "outer": product([shape[a] for a in outer]),
        "outputs": product([array.shape[a] for a in pooled]),
        "length": length,
        "inner": product([shape[a] for a in inner]),
        "grad": (dtype, array.shape, gradients.strides),
        "indices": (elements.dtype, array.shape, elements.strides),
        "result": (dtype, shape, strides),
    }
    scatter = _kernels.Scatter(spec, cpu.get_num_threads)
    direct = (
        target is not None
        and target.dtype.isnative
        and target.transpose(turned).flags.c_contiguous
        and not any(np.may_share_memory(target, part) for part in (array, places))
    )
    result = scatter.add(gradients, elements, target if direct else None)
    if result is None:
        _bad_index(arrays.admit("indices", indices)[0][(places < 0) | (places >= length)][0], length)
    if gradients is grad and elements is indices:
        _kernels.remember(op.back, (shape, freeze(where)), array, scatter)
    if target is not None:
        if not direct:
            target[...] = result
        return out
    return result if wrap is None else wrap(result)


def of_global_largest(
    op: Operation, data_format: Any, keepdims: Any, grad: Any, indices: Any, input_shape: Any, out: Any, backend: Any
) -> Any:
    """The gradient of a global maximum; it and the indices may lack the axes it was taken over."""
    shape = _as_shape(input_shape)
    axes, grad, indices = _keep(op, (data_format,), keepdims, shape, grad=grad, indices=indices)
    return of_largest(op, 0, axes, grad, indices, input_shape, out, backend)


def _bad_index(wrong: Any, length: int) -> NoReturn:
    bad_value("indices", int(wrong), f"a plane has {length} elements: from 0 to {length - 1}")


def _packed(array: Array, order: Shape) -> Array:
    """The array with its axes packed in this order of memory; itself, if it is."""
    if array.strides == packed_strides(array.shape, order, array.itemsize):
        return array
    return np.ascontiguousarray(array.transpose(order)).transpose(np.argsort(order))


def _max_axes(name: str, rank: int, where: Any, shape: Shape, grad: Shape) -> Shape:
    axes = spatial_axes(shape, rank, name, where) if rank else named_axes(shape, freeze(where))
    kept = name.startswith("adaptive") and len(grad) == len(shape)  # what is empty was kept, or was refused
    check_pooled(shape, tuple(a for a in axes if not (kept and grad[a] == 0)))
    return axes


def _check_kept(name: str, axes: Shape, shape: Shape, grad: Shape) -> None:
    """How many outputs there are, the indices don't tell; but images and channels are those of x."""
    if len(grad) != len(shape) or any(
        g != n for a, (g, n) in enumerate(zip(grad, shape, strict=True)) if a not in axes
    ):
        wanted = ", ".join("any" if a in axes else str(n) for a, n in enumerate(shape))
        bad_value("grad", grad, f"{name} of {shape} has shape ({wanted})")


def _admit_indices(indices: Any, grad: Array) -> Array:
    """Indices from outside as aligned int64; what doesn't fit becomes negative, and is found later."""
    places, _ = arrays.admit("indices", indices)
    arrays.check_together("indices", grad, places)
    if places.dtype.kind not in "iu":
        bad_kind("indices", places.dtype, "integers are needed, as return_indices=True gives them")
    if places.shape != grad.shape:
        bad_value("indices", places.shape, f"the gradient's shape {grad.shape} is needed")
    if arrays.is_device_array(places):
        return arrays.as_indices(places)
    places = places.astype(np.int64, copy=False)
    return places if places.flags.aligned else places.copy()
