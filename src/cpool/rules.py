"""What the arguments of an operation mean: its axes, their windows, and the divisor."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .errors import bad_kind, bad_value
from .plan import MAX_DIVISOR, check_size
from .windows import Spec, Windows, adaptive, as_flag, as_int, strided

Size = int | Sequence[int | None] | None
Ints = int | Sequence[int]
Padding = int | str | Sequence[int] | Sequence[tuple[int, int]]
Specs = tuple[Spec | None, ...]  # the windows of each pooled axis, None where it is kept
Found = tuple[tuple[int, ...], Specs, int | None]  # axes, their windows, and the divisor of all
Rule = Callable[[tuple[int, ...], tuple[Any, ...]], Found]

LETTERS = {1: "L", 2: "HW", 3: "DHW"}


@dataclass(frozen=True)
class Operation:
    """An operation: how its arguments become windows, and what it makes of them."""

    name: str
    rule: Rule
    reducer: str = "avg"
    back: str = field(init=False)  # the name of its gradient

    def __post_init__(self) -> None:
        object.__setattr__(self, "back", f"{self.name}_backward")


# ---- one argument at a time ----------------------------------------------------------------------


def one_per_axis(argument: str, value: Any, count: int, wanted: str) -> tuple[Any, ...]:
    """`value` for each of `count` axes: repeated, or taken apart."""
    if isinstance(value, (tuple, list, np.ndarray)):
        if len(value) != count:
            bad_value(argument, value, f"{wanted}, or {count} of them (one per pooled axis)")
        return tuple(value)
    return (value,) * count


def as_sizes(value: Any, count: int) -> list[int | None]:
    """The output sizes of `count` axes, None where an axis is kept."""
    wanted = "an int, None to keep an axis"
    checked: list[int | None] = []
    for size in one_per_axis("output_size", value, count, wanted):
        if size is not None:
            size = as_int("output_size", size, f"{wanted}, or one of these per pooled axis is needed")
            if size < 0:
                bad_value("output_size", value, "sizes are not negative")
        checked.append(size)
    return checked


def as_divisor(value: Any) -> int | None:
    """The divisor_override."""
    if value is None:
        return None
    divisor = as_int("divisor_override", value, "a non-zero int is needed")
    if divisor == 0 or abs(divisor) >= MAX_DIVISOR:
        bad_value("divisor_override", divisor, "a non-zero int of less than 2**53 is needed")
    return divisor


def _adaptive_specs(shape: tuple[int, ...], axes: tuple[int, ...], output_size: Any) -> Specs:
    sizes = as_sizes(output_size, len(axes))
    check_pooled(shape, tuple(a for a, size in zip(axes, sizes, strict=True) if size is not None))
    made = list(shape)
    for axis, size in zip(axes, sizes, strict=True):
        made[axis] = shape[axis] if size is None else size
    check_size("output_size", output_size, made, 128)  # no address space reaches so far
    return tuple(None if m is None else adaptive(shape[a], m, "output_size") for a, m in zip(axes, sizes, strict=True))


def check_pooled(shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    """Axes that are pooled have elements."""
    for axis in axes:
        if shape[axis] == 0:
            bad_value("x", shape, f"axis {axis} is pooled and has no elements")


def as_paddings(value: Any, count: int) -> tuple[Any, ...]:
    """The padding of each of `count` axes: a name for all, or an int or a pair for each."""
    if isinstance(value, str):
        return (value,) * count
    wanted = "an int or a pair (before, after) is needed"
    if count == 1 and isinstance(value, tuple) and len(value) == 2 and all(isinstance(p, int) for p in value):
        bad_value("padding", value, f"{wanted} for each pooled axis: ({value},) would do")
    entries = one_per_axis("padding", value, count, wanted)
    if any(isinstance(p, str) for p in entries):
        bad_kind(
            "padding", value, f'a name is for all axes and stands alone, as in padding="same_upper"; else {wanted}'
        )
    return tuple(tuple(p) if isinstance(p, (list, np.ndarray)) else p for p in entries)


def _strided_specs(shape: tuple[int, ...], axes: tuple[int, ...], args: tuple[Any, ...]) -> Found:
    kernel_size, stride, padding, ceil_mode, include, override, dilation = args
    count = len(axes)
    kernels = one_per_axis("kernel_size", kernel_size, count, "an int is needed")
    strides = one_per_axis("stride", stride, count, "an int or None (the kernel_size) is needed")
    dilations = one_per_axis("dilation", dilation, count, "an int is needed")
    pads = as_paddings(padding, count)
    ceil_mode = as_flag("ceil_mode", ceil_mode)
    if include is None:
        include = not (isinstance(padding, str) and padding.startswith("same"))
    include = as_flag("count_include_pad", include)
    override = as_divisor(override)
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


def spatial_axes(shape: tuple[int, ...], rank: int, name: str, data_format: Any) -> tuple[int, ...]:
    """The pooled axes of the numbered forms."""
    last = is_last(data_format, rank)
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


def is_last(data_format: Any, rank: int | None) -> bool:
    """Whether channels come last, by a word or by letters (of any rank, if it is None)."""
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


def batch_axes(shape: tuple[int, ...], data_format: str) -> int:
    """How many batch axes, none or one, an array in a format of letters has."""
    batch = len(shape) - len(data_format.replace("N", ""))
    if batch not in (0, 1) or (batch and "N" not in data_format):
        bad_value("x", shape, f"{data_format} has {len(data_format)} axes, or one less without a batch")
    return batch


def named_axes(shape: tuple[int, ...], axes: Any) -> tuple[int, ...]:
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


def freeze(value: Any, depth: int = 4) -> Any:
    """What can't change any more, so that a key can be made of it: lists as tuples, what is an index as an int.

    No argument is a list of lists of lists; what is stays so, and is refused later.
    """
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return tuple(freeze(v, depth - 1) for v in value) if depth else value
    if hasattr(value, "__index__") and not isinstance(value, (int, np.bool_)):
        return operator.index(value)
    return value


# ---- a rule for each operation -------------------------------------------------------------------


def _family(name: str, rule: Callable[[int, str], Rule], reducer: str) -> dict[int, Operation]:
    """The numbered forms, and the general one as number 0."""
    names = {0: name, **{r: f"{name}{r}d" for r in (1, 2, 3)}}
    return {r: Operation(full, rule(r, full), reducer) for r, full in names.items()}


def _adaptive_rule(rank: int, name: str) -> Rule:
    def rule(shape: tuple[int, ...], args: tuple[Any, ...]) -> Found:
        axes = spatial_axes(shape, rank, name, args[1]) if rank else named_axes(shape, args[1])
        return axes, _adaptive_specs(shape, axes, args[0]), None

    return rule


def _global_rule(name: str) -> Rule:
    def rule(shape: tuple[int, ...], args: tuple[Any, ...]) -> Found:
        (data_format,) = args
        last = is_last(data_format, None)
        ndim, batch = len(shape), 1
        if data_format.isupper():
            batch = batch_axes(shape, data_format)
        elif ndim < 3:
            general = name.replace("global", "adaptive")
            bad_value("x", shape, f"a batch, channels and at least one more axis are needed; else {general}(x, 1)")
        axes = tuple(range(batch, ndim - 1)) if last else tuple(range(batch + 1, ndim))
        check_pooled(shape, axes)
        return axes, tuple(adaptive(shape[a], 1) for a in axes), None

    return rule


def _strided_rule(rank: int, name: str) -> Rule:
    def rule(shape: tuple[int, ...], args: tuple[Any, ...]) -> Found:
        axes = spatial_axes(shape, rank, name, args[-1]) if rank else named_axes(shape, args[-1])
        check_pooled(shape, axes)
        return _strided_specs(shape, axes, args[:-1])

    return rule


def _max_rule(rank: int, name: str) -> Rule:
    strided = _strided_rule(rank, name)

    def rule(shape: tuple[int, ...], args: tuple[Any, ...]) -> Found:
        kernel_size, stride, padding, dilation, ceil_mode, where = args
        return strided(shape, (kernel_size, stride, padding, ceil_mode, None, None, dilation, where))

    return rule


ADAPTIVE_AVG = _family("adaptive_avg_pool", _adaptive_rule, "avg")
ADAPTIVE_MAX = _family("adaptive_max_pool", _adaptive_rule, "max")
GLOBAL_AVG = Operation("global_avg_pool", _global_rule("global_avg_pool"))
GLOBAL_MAX = Operation("global_max_pool", _global_rule("global_max_pool"), "max")
AVG = _family("avg_pool", _strided_rule, "avg")
MAX = _family("max_pool", _max_rule, "max")
OPERATIONS = (*ADAPTIVE_AVG.values(), *AVG.values(), GLOBAL_AVG, *ADAPTIVE_MAX.values(), *MAX.values(), GLOBAL_MAX)
