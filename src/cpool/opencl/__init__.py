"""The OpenCL backend: arrays on a device where they lie, arrays of the host there and back. Imported when asked for."""

from __future__ import annotations

from typing import Any

import numpy as np

from cpool.arrays import is_device_array, item_of
from cpool.errors import BackendUnavailable
from cpool.plan import Plan, kinds, lay_out, memory_order, plans

from .versions import OLDEST, check_version, installed

try:
    import pyopencl
    from pyopencl.array import Array

    check_version(pyopencl.VERSION)
except ImportError as error:
    check_version(installed())
    raise BackendUnavailable(
        f"the backend 'opencl' isn't there: PyOpenCL can't be imported ({error}). Install it: "
        "pip install pyopencl, or pip install pyopencl pocl-binary-distribution on a machine without an OpenCL driver"
    ) from error

from . import arrays, devices, layouts, pool, programs, scatter, transfers, tuning
from . import excite as _excite
from .arrays import admit, check_queue, is_same, share_memory, view
from .tuning import costs_of, queues_like, takes_unasked

__all__ = [
    "OLDEST",
    "admit",
    "again",
    "as_indices",
    "clear_cache",
    "copy",
    "costs_of",
    "excite",
    "is_same",
    "new",
    "queues",
    "queues_like",
    "remember",
    "run",
    "run_scatter",
    "share_memory",
    "takes_unasked",
    "tuning",
    "view",
]


def run(plan: Plan, x: Any, out: Any, indices: Any, queues: tuple[Any, Any]) -> Any:
    """Pool x by the plan, into `out` or a new array; on x's own queue, or on these."""
    with _Told(queues[0], plan.operation):
        if is_device_array(x):
            return _run_there(plan, x, out, indices)
        if out is None:
            out = transfers.fresh(plan, queues[0])
        if out.size:
            transfers.run(plan, x, out, indices, queues)
        return out


_ON_CPU = "pool on the CPU (x.get() for an array of the device, backend='cpu' for one of the host)"
_AFRESH = f"Make a new context and a new queue, or {_ON_CPU}"
_NO_MEMORY = (-4, -6, -61)  # of a buffer, of the host, or more than a buffer can be
_PERHAPS_LOST = {  # by OpenCL's code: what else it may be
    -5: f"That is too little memory, a kernel of too many registers, or an earlier one that failed. {_AFRESH}",
    -14: f"What the arrays wait for ended in an error: see the events of x and out. {_AFRESH}",
}
_REFUSED = {
    -34: "An event that x or out waits for may be of another context: call its wait() first",
    -54: f"Its work-groups are smaller than it tells. Please report that, and {_ON_CPU}",
}


class _Told:
    """What OpenCL says when memory or a device is gone, as Python's own errors."""

    def __init__(self, queue: Any, what: str) -> None:
        self.queue, self.what = queue, what

    def __enter__(self) -> None:
        devices.check_process()

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if not isinstance(error, pyopencl.Error):
            return
        code: Any = getattr(error, "code", None)  # an allocator of the user's may raise one without
        if code in devices.LOST or code in _PERHAPS_LOST:
            _let_go_of_queues()
        if code in devices.LOST:
            raise BackendUnavailable(
                f"the backend 'opencl' lost its device during {self.what}: {error}. {_AFRESH}"
            ) from error
        try:
            name = repr(self.queue.device.name.strip())
        except pyopencl.Error:
            name = "that is gone"
        if code in _NO_MEMORY or (isinstance(error, pyopencl.MemoryError) and code not in _PERHAPS_LOST):
            raise MemoryError(
                f"the device {name} has no memory left for {self.what}: {error}. "
                f"Let go of arrays there, take fewer planes at a time, or {_ON_CPU}"
            ) from error
        advice = _PERHAPS_LOST.get(code) or _REFUSED.get(code) or f"Instead, {_ON_CPU}"
        raise BackendUnavailable(
            f"the backend 'opencl' failed during {self.what} on the device {name}: {error}. {advice}"
        ) from error


def new(
    like: Any, shape: tuple[int, ...], order: tuple[int, ...], dtype: np.dtype[Any], *, passing: bool = False
) -> Any:
    """A new array on the queue of `like`, whose axes lie in `order`; a passing one is not handed out."""
    with _Told(like.queue, f"an array of shape {shape}"):
        return arrays.new(like, shape, order, dtype, passing=passing)


def _run_there(plan: Plan, x: Any, out: Any, indices: Any) -> Any:
    queue = x.queue
    if out is None:
        out = arrays.new(x, plan.out_shape, plan.out_order, plan.out_dtype)
    results = [out] if indices is None else [out, indices]
    for array in results:
        check_queue("out", array, queue)
    wait_for = arrays.before(queue, x, *results)
    place = None if indices is None else arrays.memory(indices)
    event = pool.run(queue, plan, arrays.memory(x), arrays.memory(out), place, wait_for)
    arrays.after(queue, event, results, [x])
    return out


SEEN = 512  # calls that are known at most

_seen: dict[Any, tuple[Any, Plan]] = {}


def _key(name: str, args: tuple[Any, ...], x: Any, out: Any) -> Any:
    where = None if out is None else (out.shape, out.strides, out.dtype)
    return name, args, x.shape, x.strides, x.dtype, where


def again(name: str, args: tuple[Any, ...], x: Any, out: Any) -> Any:
    """The short way in: the result of a call that was seen before, for arrays that lie as they did then; else None."""
    if type(x) is not Array or x.queue is None or not (out is None or (type(out) is Array and out.queue is not None)):
        return None
    try:
        found = _seen.get(_key(name, args, x, out))
    except TypeError:  # a list among the arguments
        return None
    if found is None or found[0] != kinds(args):
        return None
    plan = found[1]
    if x.offset % plan.item.itemsize:
        return None
    if out is not None and (out.offset % plan.out_item.itemsize or share_memory(x, out)):
        return None
    with _Told(x.queue, name):
        return _run_there(plan, x, out, None)


def remember(name: str, args: tuple[Any, ...], x: Any, out: Any, plan: Plan) -> None:
    """Keep a call for `again`."""
    try:
        if len(_seen) >= SEEN:
            _seen.clear()
        _seen[_key(name, args, x, out)] = kinds(args), plan
    except TypeError:  # a list among the arguments: not kept
        return


def run_scatter(grad: Any, indices: Any, out: Any, axes: tuple[int, ...], queues: tuple[Any, Any]) -> int | None:
    """Add gradients to `out` where the indices say. An index that lies in no plane, or None."""
    with _Told(queues[0], "the gradient of the largest"):
        if is_device_array(grad):
            check_queue("indices", indices, grad.queue)
            check_queue("out", out, grad.queue)
            return scatter.run(grad, indices, out, axes)
        return transfers.scattered(grad, indices, out, axes, queues)


def excite(
    x: Any, means: Any, weights: tuple[Any, ...], names: tuple[str, str], out: Any, batch: int, channel: int
) -> None:
    """Write x, scaled by what two small layers make of its channels' means, to `out`."""
    with _Told(x.queue, "squeeze-and-excite"):
        check_queue("out", out, x.queue)
        if x.size:
            _excite.run(x, means, weights, names, out, batch, channel)


def queues(argument: str, backend: Any) -> tuple[Any, Any]:
    """The queues of the device that a backend's name stands for, or a queue of the user's own and one beside it."""
    if isinstance(backend, str):
        return devices.queues(devices.find(argument, backend))
    devices.check_process()
    return backend, transfers.beside(backend)


def copy(x: Any, out: Any) -> None:
    """The elements of a device array into another one of the same shape."""

    def make() -> tuple[Plan, int]:
        plan = Plan(
            operation="copy",
            reducer="max",
            x_shape=x.shape,
            x_dtype=x.dtype,
            out_shape=out.shape,
            out_dtype=out.dtype,
            axes=(),
            tables=(),
            divisor=None,
            item=item_of(x.dtype),
            out_item=item_of(out.dtype),
            swapped=False,
            elements=x.size,
        )
        made = lay_out(plan, x.strides, out.strides, memory_order(x.shape, x.strides))
        return made, made.weight

    plan = plans.get(("copy", x.shape, x.strides, x.dtype, out.strides), make)
    with _Told(x.queue, "a copy"):
        _run_there(plan, x, out, None)


def as_indices(x: Any) -> Any:
    """Integers as int64; PyOpenCL converts what is packed only."""
    if x.dtype == np.int64:
        return x
    order = tuple(range(x.ndim))
    plain = new(x, x.shape, order, x.dtype, passing=True)
    if x.size:
        copy(x, plain)
    with _Told(x.queue, "indices as int64"):
        return plain.astype(np.int64)


def described() -> list[tuple[str, int, tuple[str, ...], str, int]]:
    """Name, units, features, platform and memory of each device."""
    return [
        (can.name, can.units, can.features, device.platform.name.strip(), can.memory)
        for device in devices.everything()
        for can in [devices.traits(device)]
    ]


def explained(plan: Plan, queues: tuple[Any, Any]) -> tuple[str, str, int]:
    """The device's name, the kernel that would run the plan there, and how many lanes share a window."""
    queue = queues[0]
    layout = layouts.of(plan, queue)
    share = layout.share
    kernel = "lines" if layout.line else "parts" if share.parts > 1 else "groups" if share.lanes > 1 else "items"
    return devices.traits(queue.device).name, kernel, share.lanes


def _let_go_of_queues() -> None:
    """A device that was lost comes back on new queues only."""
    from cpool import dispatch  # which is above this, and holds queues of devices that were measured

    devices.forget()
    dispatch.forget()


def clear_cache() -> None:
    """Let go of all programs, tables and queues, and of the contexts they hold."""
    _seen.clear()
    for known in (pool.known, programs.known, layouts.known, arrays.blanks, transfers.known):
        known.clear()
    _let_go_of_queues()
