"""Which operation a command line asks for: options, and what they become in a call."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

import cpool
from cpool.calls import PlanOnly
from cpool.plan import packed_strides

from .errors import Failure, Mismatch

OPERATIONS = ("adaptive-avg", "adaptive-max", "avg", "max", "global-avg", "global-max")
LETTERS = "DHWL"  # of a layout: the axes that are pooled
SAME = ("valid", "same_upper", "same_lower")


@dataclass(frozen=True)
class Operation:
    """A call without its array: one of the n-D functions, its arguments and options."""

    name: str
    arguments: tuple[Any, ...]
    axes: tuple[int, ...]
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def function(self) -> Callable[..., Any]:
        """The function."""
        found: Callable[..., Any] = getattr(cpool, self.name)
        return found

    def run(self, x: Any) -> Any:
        """The result of x."""
        return self.function(x, *self.arguments, axes=self.axes, **self.options)

    def plan(self, x: Any) -> Any:
        """The plan of the call, and the backend that it runs on; x is not read."""
        plan, _, choice = self.function(x, *self.arguments, axes=self.axes, out=PlanOnly(None), **self.options)
        return plan, choice

    def with_default(self, dtype: Any) -> Operation:
        """The same with results of this type, where an average has no other."""
        if self.name.endswith("max_pool") or "dtype" in self.options:
            return self
        return replace(self, options={**self.options, "dtype": dtype})


def counts(text: str) -> tuple[int | None, ...]:
    """7x7, 7,7 or 5xnone as numbers."""
    return tuple(None if p == "none" else _count(p) for p in text.lower().replace(",", "x").split("x"))


def shape(text: str) -> tuple[int, ...]:
    """1x64x10x9 as lengths."""
    return tuple(_count(p) for p in text.lower().replace(",", "x").split("x"))


def _count(text: str) -> int:
    if not text.strip().isdecimal():
        raise argparse.ArgumentTypeError(
            f"{text!r} is no length; numbers from 0 on with x between are needed, like 7x7"
        )
    return int(text)


def _axes(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(p) for p in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: numbers of axes are needed, like 2,3 or -2,-1") from None


def _padding(text: str) -> Any:
    """1, 1x2, 0:1x0:1 (before and after), or a rule by its name."""
    if text in SAME:
        return text
    pads = []
    for entry in text.lower().replace(",", "x").split("x"):
        before, colon, after = entry.partition(":")
        try:
            pads.append((_count(before), _count(after)) if colon else _count(before))
        except argparse.ArgumentTypeError:
            raise argparse.ArgumentTypeError(
                f"{text!r}: numbers like 1x1, pairs like 0:1x0:1, or one of {', '.join(SAME)} are needed"
            ) from None
    return tuple(pads)


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The options that all commands share which pool something."""
    of = command.add_argument_group("operation")
    of.add_argument("--op", choices=OPERATIONS, default="adaptive-avg", help="default: %(default)s")
    of.add_argument("--axes", type=_axes, metavar="A,B", help="the pooled axes, as in --axes 2,3")
    of.add_argument(
        "--layout",
        metavar="LAYOUT",
        help="channels_first (default: the last axes are pooled), channels_last (the axes before the last), or a "
        "letter for each axis, as in NCHW, NHWC, CHW, HWC: D, H, W and L are pooled",
    )
    strided = command.add_argument_group("avg and max")
    strided.add_argument("--stride", type=shape, metavar="2x2", help="default: the kernel")
    strided.add_argument(
        "--padding", type=_padding, default=(0,), metavar="1x1", help=f"also 0:1 (before:after), {', '.join(SAME)}"
    )
    strided.add_argument("--dilation", type=shape, default=(1,), metavar="1x1")
    strided.add_argument("--ceil-mode", action="store_true", help="a last window may hang over the edge")
    strided.add_argument("--exclude-pad", action="store_true", help="averages don't count the padding")
    run = command.add_argument_group("type and place")
    run.add_argument("--dtype", help="the type of averages, like float32; integers are rounded half to even")
    run.add_argument("--backend", help="cpu, opencl, opencl:0 or opencl:NAME")


def unread(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    """An array to plan for: of this shape, and of one element, since none is ever read."""
    strides = packed_strides(shape, tuple(range(len(shape))), dtype.itemsize)
    return as_strided(np.zeros(1, dtype), shape, strides, writeable=False)


def operation(args: argparse.Namespace, ndim: int, sizes: tuple[int | None, ...] | None, image: bool) -> Operation:
    """What is asked for, of an array with so many axes; `sizes` is the output's size, or the kernel's."""
    wide = args.op.startswith("global")
    if wide:
        if sizes is not None:
            raise Failure(f"--op {args.op} takes no size: each pooled axis becomes 1")
        sizes = (1,)
    elif sizes is None:
        size = "a kernel" if args.op in ("avg", "max") else "a size"
        raise Failure(f"--op {args.op} needs {size}, one number for each pooled axis, like 7x7")
    axes = _pooled(args, ndim, len(sizes), image, wide)
    options: dict[str, Any] = {}
    if args.dtype is not None:
        if args.op.endswith("max"):
            raise Failure(f"--dtype {args.dtype}: the largest keep their type")
        options["dtype"] = args.dtype
    if args.backend is not None:
        options["backend"] = args.backend
    if args.op in ("avg", "max"):
        if None in sizes:
            raise Failure("a kernel has no 'none': a window of 1 with a stride of 1 keeps an axis")
        options |= _strided(args, len(axes))
    elif args.stride or args.padding != (0,) or args.dilation != (1,) or args.ceil_mode or args.exclude_pad:
        raise Failure(f"--stride, --padding, --dilation, --ceil-mode and --exclude-pad are not for --op {args.op}")
    kind = "adaptive-" + args.op.rpartition("-")[2] if wide else args.op
    return Operation(kind.replace("-", "_") + "_pool", (sizes if len(sizes) > 1 else sizes[0],), axes, options)


def _strided(args: argparse.Namespace, axes: int) -> dict[str, Any]:
    def each(values: Any) -> Any:
        return values * axes if len(values) == 1 else values

    padding = args.padding if isinstance(args.padding, str) else each(args.padding)
    options = {"padding": padding, "dilation": each(args.dilation), "ceil_mode": args.ceil_mode}
    if args.stride is not None:
        options["stride"] = each(args.stride)
    if args.exclude_pad and args.op == "max":
        raise Failure("--exclude-pad is for averages: padding is never the largest")
    if args.exclude_pad:
        options["count_include_pad"] = False
    return options


def _pooled(args: argparse.Namespace, ndim: int, entries: int, image: bool, wide: bool) -> tuple[int, ...]:
    """The axes that are pooled."""
    layout = args.layout
    if args.axes is not None:
        if layout is not None:
            raise Failure("--axes and --layout both say what is pooled: give one of them")
        return tuple(args.axes)
    if image:
        if layout is not None:
            raise Failure("--layout is for arrays: images are height x width x channels")
        return (0, 1)
    if layout not in (None, "channels_first", "channels_last"):
        return _lettered(layout, ndim)
    if wide:
        raise Failure(f"--op {args.op} of an array needs --axes 2,3 or a --layout in letters, like NCHW")
    if ndim < entries + (layout == "channels_last"):
        raise Mismatch(f"{entries} {'axis is' if entries == 1 else 'axes are'} to be pooled, and the array has {ndim}")
    last = ndim - (layout == "channels_last")
    return tuple(range(last - entries, last))


def _lettered(layout: str, ndim: int) -> tuple[int, ...]:
    letters = layout.upper()
    if set(letters) - set("NC" + LETTERS) or len(set(letters)) != len(letters):
        raise Failure(f"--layout {layout}: channels_first, channels_last or letters like NCHW are needed")
    if len(letters) != ndim:
        raise Mismatch(f"--layout {layout} names {len(letters)} axes, and the array has {ndim}")
    return tuple(i for i, letter in enumerate(letters) if letter in LETTERS)
