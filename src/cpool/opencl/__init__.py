"""The OpenCL backend: arrays on a device where they lie, arrays of the host there and back. Imported when asked for."""

from __future__ import annotations

from typing import Any, NoReturn

from cpool.arrays import is_device_array, item_of
from cpool.errors import BackendUnavailable
from cpool.plan import Plan, lay_out, memory_order, packed

try:
    import pyopencl
except ImportError as error:
    raise BackendUnavailable(
        f"the backend 'opencl' isn't there: PyOpenCL can't be imported ({error}). Install it: "
        "pip install 'cpool[opencl]', or pip install 'cpool[pocl]' on a machine without an OpenCL driver"
    ) from error

from . import arrays, devices, layouts, pool, programs, scatter, transfers
from . import excite as _excite
from .arrays import admit, check_queue, is_same, new, share_memory, view

__all__ = [
    "admit",
    "clear_cache",
    "copy",
    "excite",
    "is_same",
    "new",
    "queues",
    "run",
    "run_scatter",
    "share_memory",
    "view",
]


def run(plan: Plan, x: Any, out: Any, indices: Any, queues: tuple[Any, Any]) -> Any:
    """Pool x by the plan, into `out` or a new array; on x's own queue, or on these."""
    try:
        if is_device_array(x):
            return _run_there(plan, x, out, indices)
        if out is None:
            out = packed(plan.out_shape, plan.out_order, plan.out_dtype)
        if out.size:
            transfers.run(plan, x, out, indices, queues)
        return out
    except pyopencl.MemoryError as error:
        _no_memory(queues, plan.operation, error)


def _no_memory(queues: tuple[Any, Any], operation: str, error: Exception) -> NoReturn:
    name = queues[0].device.name.strip()
    raise MemoryError(f"the device {name!r} has no memory left for {operation}: {error}") from error


def _run_there(plan: Plan, x: Any, out: Any, indices: Any) -> Any:
    queue = x.queue
    if out is None:
        out = new(x, plan.out_shape, plan.out_order, plan.out_dtype)
    results = [out] if indices is None else [out, indices]
    for array in results:
        check_queue("out", array, queue)
    wait_for = arrays.before(queue, x, *results)
    place = None if indices is None else arrays.memory(indices)
    event = pool.run(queue, plan, arrays.memory(x), arrays.memory(out), place, wait_for)
    arrays.after(queue, event, results, [x])
    return out


def run_scatter(grad: Any, indices: Any, out: Any, axes: tuple[int, ...], queues: tuple[Any, Any]) -> int | None:
    """Add gradients to `out` where the indices say. An index that lies in no plane, or None."""
    try:
        if is_device_array(grad):
            arrays.check_queue("indices", indices, grad.queue)
            return scatter.run(grad, indices, out, axes)
        return transfers.scattered(grad, indices, out, axes, queues)
    except pyopencl.MemoryError as error:
        _no_memory(queues, "the gradient of the largest", error)


def excite(
    x: Any, means: Any, weights: tuple[Any, ...], names: tuple[str, str], out: Any, batch: int, channel: int
) -> None:
    """Write x, scaled by what two small layers make of its channels' means, to `out`."""
    if x.size:
        _excite.run(x, means, weights, names, out, batch, channel)


def queues(argument: str, backend: str) -> tuple[Any, Any]:
    """The queues of the device that a backend's name stands for."""
    return devices.queues(devices.find(argument, backend))


def copy(x: Any, out: Any) -> None:
    """The elements of a device array into another one of the same shape."""
    order = memory_order(x.shape, x.strides)
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
    _run_there(lay_out(plan, x.strides, out.strides, order), x, out, None)


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
    share = layouts.of(plan, queue).share
    kernel = "parts" if share.parts > 1 else "groups" if share.lanes > 1 else "items"
    return devices.traits(queue.device).name, kernel, share.lanes


def clear_cache() -> None:
    """Let go of all programs and tables, and of the contexts they hold."""
    programs.clear()
    layouts.clear()
