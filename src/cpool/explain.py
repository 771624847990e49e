"""Calls prepared once, and calls explained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _kernels, arrays, calls, cpu, dispatch, functional, measured, rules
from .errors import bad_kind, bad_value
from .plan import Plan, plans, product

OPERATIONS: dict[str, Callable[..., Any]] = {op.name: getattr(functional, op.name) for op in rules.OPERATIONS}


def _plan(
    operation: Any, x: Any, args: tuple[Any, ...], options: dict[str, Any]
) -> tuple[Plan, NDArray[Any], dispatch.Choice]:
    if isinstance(operation, str):
        if operation not in OPERATIONS:
            bad_value("operation", operation, f"one of {', '.join(OPERATIONS)} is needed")
        function = OPERATIONS[operation]
    elif operation in OPERATIONS.values():
        function = operation
    else:
        bad_kind("operation", operation, "a pooling function of cpool or its name is needed")
    wanted = calls.PlanOnly(options.pop("out", None))
    plan, array, choice = function(x, *args, out=wanted, **options)
    return plan, array, choice


class Prepared(_kernels.Ready):
    """A call prepared once: `p(x)` or `p(x, out=...)` for arrays like the one it was prepared with."""

    def __init__(self, plan: Plan, squeeze: tuple[int, ...] | None, choice: dispatch.Choice) -> None:
        self.plan = plan
        self._squeeze = squeeze
        self._choice = choice
        if choice.name == "cpu" and not plan.slides:
            self.bind(cpu.call_of(plan).prepared(cpu.get_num_threads), squeeze is None)

    def otherwise(self, x: Any, out: Any) -> Any:
        """Pool x the long way: it lies otherwise in memory, or the result does."""
        if self._squeeze is not None:
            return calls.without_axes(self._squeeze, self.plan.out_shape, x, out, self._whole)
        return self._whole(x, out)

    def _whole(self, x: Any, out: Any) -> Any:
        result = self.short(x, out)
        if result is not None:
            return result
        plan = self.plan
        array, wrap = arrays.admit("x", x)
        if array.shape != plan.x_shape or array.dtype != plan.x_dtype:
            bad_value(
                "x",
                f"{array.dtype} of shape {array.shape}",
                f"this was prepared for {plan.x_dtype} of shape {plan.x_shape}",
            )
        choice = self._choice
        if arrays.is_device_array(array) or choice.why == dispatch.OWN:
            choice = dispatch.choose(None, array)
        if plan.indexed:
            return calls.run_indexed(self._laid(array, None), array, wrap, out, choice)
        if out is None:
            result = dispatch.run(self._laid(array, None), array, None, choice)
            return result if wrap is None else wrap(result)
        target = arrays.admit_out(out)
        arrays.check_together("out", array, target)
        arrays.check_out(target, plan.out_shape)
        if not arrays.same_type(target.dtype, plan.out_dtype):
            bad_kind("out", target.dtype, f"the result has dtype {arrays.name_of(plan.out_dtype)}")
        calls.write(self._laid(array, target), array, target, choice, lambda: self._laid(array, None))
        return out

    def _laid(self, x: NDArray[Any], out: NDArray[Any] | None) -> Plan:
        """The plan for arrays that lie like these; remembered as those of other calls are."""
        plan = self.plan
        if out is None and x.strides == plan.x_strides:
            return plan
        where = None if out is None else out.strides

        def make() -> tuple[Plan, int]:
            return plan.laid(x.strides, where), plan.weight

        return plans.get((plan, x.strides, where), make)

    @property
    def backend(self) -> str:
        """Where it runs: "cpu", or what else was chosen."""
        return self._choice.name

    def __repr__(self) -> str:
        return f"<prepared {self.plan.operation}: {self.plan.x_shape} -> {self.plan.out_shape}>"


def prepare(operation: Any, x: Any, *args: Any, **options: Any) -> Prepared:
    """The call `operation(x, ...)` prepared once, for loops where a microsecond counts.

    `operation` is a pooling function or its name. What comes back is called with arrays of the shape and type
    of x, and with `out=` if the result has a place already.

    >>> import numpy as np, cpool
    >>> x = np.ones((1, 64, 8, 9), np.float32)
    >>> pool = cpool.prepare(cpool.adaptive_avg_pool2d, x, (5, 7))
    >>> pool(x).shape
    (1, 64, 5, 7)
    """
    keepdims = options.get("keepdims", True)
    plan, _, choice = _plan(operation, x, args, dict(options))
    if options.get("out") is not None:
        plan = plan.laid(plan.x_strides)  # what lies as a new result does takes the short way, wherever `out` lies
    return Prepared(plan, None if keepdims else plan.axes, choice)


@dataclass(frozen=True)
class AxisExplained:
    """How one axis is pooled: `axis`, its `length`, the number of `windows` and their `kind`, how many elements the
    `smallest` and the `largest` hold, and `strided`, the equal (kernel, stride) or None.
    """

    axis: int
    length: int
    windows: int
    kind: str
    smallest: int
    largest: int
    strided: tuple[int, int] | None


@dataclass(frozen=True)
class Explanation:
    """What would run, where and why.

    `operation`, `x_shape`, `x_dtype`, `out_shape` and `out_dtype` say what was asked; `axes` (an `AxisExplained`
    each), `kind` and `strided` what windows these are; `backend` and `why`, `kernel`, `simd`, `threads`, `lanes`
    (sums side by side) and `gathers` (rows are copied into tiles first) how it would run; `bytes_read` and
    `bytes_written` what it must move at least. `str()` shows all of it.
    """

    operation: str
    x_shape: tuple[int, ...]
    x_dtype: str
    out_shape: tuple[int, ...]
    out_dtype: str
    axes: tuple[AxisExplained, ...]
    kind: str
    strided: str | None
    backend: str
    why: str
    kernel: str
    simd: str
    threads: int
    lanes: int
    gathers: bool
    bytes_read: int
    bytes_written: int
    estimated_seconds: float
    estimated_by: str

    def to_dict(self) -> dict[str, Any]:
        """The same as plain dictionaries, lists and numbers."""
        found: dict[str, Any] = asdict(self)
        return found

    def __str__(self) -> str:
        how = f"{self.simd}, {self.threads} thread(s)" if self.simd else f"{self.lanes} lane(s) for each result"
        lines = [
            f"{self.operation}: {self.x_dtype} {self.x_shape} -> {self.out_dtype} {self.out_shape}",
            f"backend    {self.backend} ({self.why})",
            f"kernel     {KERNELS[self.kernel]}, {how}" + (", rows gathered into tiles" if self.gathers else ""),
            f"memory     {self.bytes_read:,} bytes read, {self.bytes_written:,} written",
            f"time       about {_duration(self.estimated_seconds)} ({self.estimated_by})",
        ]
        for a in self.axes:
            size = f"{a.smallest}" if a.smallest == a.largest else f"{a.smallest} to {a.largest}"
            text = f"axis {a.axis:<6}{a.length} -> {a.windows}, {a.kind}, windows of {size}"
            if a.strided:
                text += f" (kernel {a.strided[0]}, stride {a.strided[1]})"
            lines.append(text)
        lines.append(f"strided    {self.strided or 'no kernel and stride give these windows'}")
        return "\n".join(lines)


def _duration(seconds: float) -> str:
    """Two digits of it, which is more than an estimate has."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.2g} {unit}" if seconds < 100 * size else f"{seconds / size:.0f} {unit}"
    return f"{seconds * 1e6:.2g} us" if seconds < 1e-4 else f"{seconds * 1e6:.0f} us"


USUAL = "estimated; cpool.tune() has not measured this machine"
TUNED = "estimated by what cpool.tune() measured"

KERNELS = {
    "rows": "rows added into lines, lines folded into windows",
    "planes": "small planes side by side, eight at a time",
    "pixels": "channels side by side, pixel after pixel",
    "lanes": "each window in 32 lanes",
    "wide": "long windows, block after block",
    "sliding": "windows from their halves, axis after axis",
    "copy": "nothing to add: copied",
    "items": "an item for each result",
    "groups": "lanes that share each window",
    "lines": "lanes that share lines of columns' sums, folded into windows",
    "parts": "work-groups that share each window, and a second pass",
}


def explain(operation: Any, x: Any, *args: Any, **options: Any) -> Explanation:
    """What `operation(x, ...)` would run, where and why; nothing is run.

    >>> import numpy as np, cpool
    >>> told = cpool.explain("adaptive_avg_pool2d", np.ones((1, 64, 10, 9), np.float32), 7)
    >>> told.kind, [axis.kind for axis in told.axes]
    ('ragged', ['ragged', 'ragged'])
    """
    plan, array, choice = _plan(operation, x, args, dict(options))
    gone = () if options.get("keepdims", True) else plan.axes
    axes = []
    for axis, table in zip(plan.axes, plan.tables, strict=True):
        if table is None:
            n = array.shape[axis]
            axes.append(AxisExplained(axis, n, n, "tiled", 1, 1, (1, 1)))
            continue
        sizes = table.sizes if table.count else np.zeros(1, np.int64)
        axes.append(
            AxisExplained(
                axis, table.length, table.count, table.kind, int(sizes.min()), int(sizes.max()), table.as_strided()
            )
        )
    spelled = [(1, 1, 1) if table is None else table.as_dilated() for table in plan.tables]
    equal = None
    if spelled and all(spelled):
        kernels, strides, steps = zip(*(s for s in spelled if s), strict=True)
        equal = f"kernel_size={kernels}, stride={strides}" + ("" if set(steps) == {1} else f", dilation={steps}")
    kinds = [a.kind for a in axes]
    worst = next((k for k in ("ragged", "overlapping") if k in kinds), "tiled")
    runs = _on_cpu(plan) if choice.name == "cpu" else _elsewhere(plan, choice)
    covered = {a: table.covered for a, table in zip(plan.axes, plan.tables, strict=True) if table is not None}
    read = product([covered.get(a, n) for a, n in enumerate(plan.x_shape)])
    return Explanation(
        operation=plan.operation,
        x_shape=plan.x_shape,
        x_dtype=arrays.name_of(plan.x_dtype),
        out_shape=tuple(n for a, n in enumerate(plan.out_shape) if a not in gone),
        out_dtype=arrays.name_of(plan.out_dtype),
        axes=tuple(axes),
        kind=worst,
        strided=equal,
        why=choice.why,
        bytes_read=read * plan.x_dtype.itemsize,
        bytes_written=product(plan.out_shape) * (plan.out_dtype.itemsize + 8 * plan.indexed),
        **runs,
    )


def _on_cpu(plan: Plan) -> dict[str, Any]:
    call = cpu.call_of(plan)
    threads = call.threads(cpu.get_num_threads())
    return {
        "backend": "cpu",
        "kernel": "sliding" if plan.slides else call.path,
        "simd": call.isa,
        "threads": threads,
        "lanes": plan.lanes,
        "gathers": call.gathers,
        "estimated_seconds": measured.processor().seconds(plan, threads),
        "estimated_by": USUAL if measured.here()[0] is None else TUNED,
    }


def _elsewhere(plan: Plan, choice: dispatch.Choice) -> dict[str, Any]:
    from . import opencl

    name, kernel, lanes = opencl.explained(plan, choice.queues)
    device, found = opencl.costs_of(choice.queues[0].device)
    return {
        "backend": f"opencl: {name}",
        "kernel": kernel,
        "simd": "",
        "threads": 0,
        "lanes": lanes,
        "gathers": False,
        "estimated_seconds": device.seconds(plan, sent=choice.why != dispatch.OWN),
        "estimated_by": TUNED if found else USUAL,
    }
