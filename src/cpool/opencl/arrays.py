"""PyOpenCL's arrays: what may come in, how results are made, and which events wait for which."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pyopencl as cl
import pyopencl.array

from cpool.errors import bad_kind, bad_value
from cpool.plan import Cache, packed_strides

from . import devices
from .layouts import LAYOUTS
from .pool import Memory

# Mesa's rusticl shows it and keeps the order: more is waited for then than need be.
OUT_OF_ORDER = cl.command_queue_properties.OUT_OF_ORDER_EXEC_MODE_ENABLE

blanks: Cache[Any] = Cache(entries=LAYOUTS, weight=LAYOUTS)  # arrays to be given memory


def admit(argument: str, x: Any) -> Any:
    """x, if it is an array that has a queue and lies as its type asks."""
    devices.check_process()
    if not isinstance(x, cl.array.Array):
        bad_kind(argument, type(x), "an array of NumPy or a pyopencl.array.Array is needed")
    if x.queue is None:
        bad_value(argument, "a device array without a queue", f"give it one: {argument}.with_queue(queue)")
    if not x.dtype.isnative:
        bad_kind(argument, x.dtype, "device arrays are of the device's own byte order")
    unit = x.dtype.itemsize // (2 if x.dtype.kind == "c" else 1)
    if x.offset % unit or any(s % unit for s in x.strides):
        bad_value(argument, f"offset {x.offset} and strides {x.strides}", f"whole elements of {unit} bytes are needed")
    return x


def new(
    like: Any, shape: tuple[int, ...], order: tuple[int, ...], dtype: np.dtype[Any], *, passing: bool = False
) -> Any:
    """A new array on the queue of `like`, whose axes lie in `order`.

    A result is from the allocator of `like`. What is only passing is not: a pool would give its memory to others
    while kernels still use it, and a buffer of the driver's own is kept as long as they do.
    """
    context = like.context
    blank = blanks.get((context.int_ptr, shape, order, dtype), lambda: (_blank(context, shape, order, dtype), 1))
    made = blank.with_queue(like.queue)  # PyOpenCL's constructor looks at every length anew, which takes it long
    made.allocator = None if passing else like.allocator
    allocate = made.allocator or partial(cl.Buffer, context, cl.mem_flags.READ_WRITE)
    made.base_data = allocate(made.nbytes) if made.nbytes else None
    made.events = []
    return made


def _blank(context: Any, shape: tuple[int, ...], order: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    strides = packed_strides(shape, order, dtype.itemsize)
    memory = cl.Buffer(context, cl.mem_flags.READ_WRITE, 1)
    return cl.array.Array(context, shape, dtype, strides=strides, data=memory)


def view(x: Any, shape: tuple[int, ...], strides: tuple[int, ...]) -> Any:
    """The memory of x seen otherwise; what happens to either, both wait for."""
    return cl.array.Array(
        x.queue,
        shape,
        x.dtype,
        allocator=x.allocator,
        data=x.base_data,
        offset=x.offset,
        strides=strides,
        events=x.events,
    )


def share_memory(a: Any, b: Any) -> bool:
    """Whether two arrays may have an element in common."""
    if not a.size or not b.size:
        return False
    (a_home, a_first), (b_home, b_first) = _home(a), _home(b)
    if a_home != b_home:
        return False
    (a_low, a_high), (b_low, b_high) = _bounds(a), _bounds(b)
    return a_first + a_low < b_first + b_high and b_first + b_low < a_first + a_high


def _home(x: Any) -> tuple[Any, int]:
    """The memory that the buffer of x is of, and the bytes before it there: buffers may be parts of others."""
    data = x.base_data
    address = getattr(data, "svm_ptr", None)
    if address is not None:
        return "svm", address
    parent = data.get_info(cl.mem_info.ASSOCIATED_MEMOBJECT)
    return (data.int_ptr, 0) if parent is None else (parent.int_ptr, data.get_info(cl.mem_info.OFFSET))


def is_same(a: Any, b: Any) -> bool:
    """Whether each element of a is where that of b is; shapes are equal."""
    if a.strides != b.strides or a.dtype != b.dtype or not a.size:
        return False
    (a_home, a_first), (b_home, b_first) = _home(a), _home(b)
    return bool(a_home == b_home and a_first + a.offset == b_first + b.offset)


def _bounds(x: Any) -> tuple[int, int]:
    reach = [(n - 1) * s for n, s in zip(x.shape, x.strides, strict=True)] if x.size else []
    low = x.offset + sum(r for r in reach if r < 0)
    return low, x.offset + sum(r for r in reach if r > 0) + (x.dtype.itemsize if x.size else 0)


def check_queue(argument: str, x: Any, queue: Any) -> None:
    """Refuse an array that the queue can't reach."""
    if x.queue.context != queue.context:
        bad_value(argument, "an array of another context", "it must be of the context that x is of")


def memory(x: Any) -> Memory:
    """Where x lies."""
    return Memory(x.base_data, x.offset)


def before(queue: Any, *used: Any) -> list[Any]:
    """The events to wait for. What another queue was only told, it may never begin: it is told to."""
    events = []
    ordered = not queue.properties & OUT_OF_ORDER
    for array in used:
        for event in array.events:
            other = event.command_queue
            if other is not None and other == queue:
                if ordered:
                    continue
            elif other is not None:
                other.flush()
            events.append(event)
    return events


def after(queue: Any, event: Any, results: list[Any], inputs: list[Any]) -> None:
    """Who uses these arrays next waits for the event; of the inputs that matters where a queue has no order."""
    if event is None:
        return
    for array in results:
        array.add_event(event)
    if queue.properties & OUT_OF_ORDER:
        for array in inputs:
            array.add_event(event)
