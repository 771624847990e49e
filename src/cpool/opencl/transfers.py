"""Arrays of the host, pooled on a device: sent in pieces, of which one is on its way while another is worked on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pyopencl as cl
import pyopencl.array as cla
from numpy.typing import NDArray

from cpool.arrays import empty_aligned, in_lines, packed
from cpool.plan import Cache, Plan, lay_out, memory_order, packed_strides, plans, product
from cpool.windows import Windows

from . import devices, pool, scatter
from .pool import Memory
from .programs import PROGRAMS

Array = NDArray[Any]

PIECE = 2**26  # bytes that are sent at a time, where what is sent can be cut
UNIFIED = 2**33  # where nothing is sent

_limit: int | None = None  # for tests: bytes of a buffer at most


def run(plan: Plan, x: Array, out: Array, indices: Array | None, queues: tuple[Any, Any]) -> None:
    """Pool x by the plan into `out`, and where the largest are into `indices`."""
    pending: list[_Piece] = []
    try:
        for number, piece in enumerate(_pieces(plan, x, out, indices, _room(queues[0].device))):
            if len(pending) == 2:
                pending.pop(0).collect()
            pending.append(_Piece(queues[number % 2], *piece))
        while pending:
            pending.pop(0).collect()
    except BaseException:
        for queue in queues:  # what is on its way uses the host's memory
            queue.finish()
        raise


known: Cache[tuple[Any, Any]] = Cache(entries=PROGRAMS, weight=PROGRAMS)  # queues, and the contexts they need


def beside(queue: Any) -> Any:
    """A second queue of the same context and device: a queue that has an order can't send while it calculates."""
    context, device = queue.context, queue.device
    key = context.int_ptr, device.int_ptr
    return known.get(key, lambda: ((cl.CommandQueue(context, device), context), 1))[0]


def fresh(plan: Plan, queue: Any) -> Array:
    """A new array for the result, which a device that shares the host's memory can write in place."""
    memory = None
    if devices.traits(queue.device).unified:
        memory = empty_aligned(product(plan.out_shape) * plan.out_dtype.itemsize, np.uint8).data
    return packed(plan.out_shape, plan.out_order, plan.out_dtype, memory)


class _Room(NamedTuple):
    """Bytes of an array: so many are sent at a time, if it can be cut, and so many at most."""

    piece: int
    most: int


def _room(device: Any) -> _Room:
    can = devices.traits(device)
    most = _limit or min(can.allocation, can.memory // 8)
    return _Room(min(most, UNIFIED if can.unified else PIECE), most)


_Part = tuple[Plan, Array, Array, Array | None]


def _pieces(plan: Plan, x: Array, out: Array, indices: Array | None, room: _Room) -> Iterator[_Part]:
    """The work in pieces for which there is room."""
    size = max(x.nbytes, out.nbytes, 0 if indices is None else indices.nbytes)
    parts = _parts(plan, x, out, indices, size, room) if size > room.piece else []
    if not parts:
        yield _moved(plan, x, out), x, out, indices
    for part in parts:
        yield from _pieces(*part, room)


def _parts(plan: Plan, x: Array, out: Array, indices: Array | None, size: int, room: _Room) -> list[_Part]:
    """What is too large for a piece in parts, or none if it goes as it is.

    What is innermost in memory is cut last: its parts would be gathered from everywhere.
    """
    axis = _longest(plan, x, out)
    near = [abs(stride) for stride, n in zip(x.strides, x.shape, strict=True) if n > 1]
    if axis is not None and (len(near) == 1 or abs(x.strides[axis]) > min(near)):
        return _planes(plan, x, out, indices, axis, size, room.piece)
    halves = _halves(plan, x, out)
    larger = max((max(part[1].nbytes, part[2].nbytes) for part in halves), default=size)
    if larger <= 3 * size // 4:  # where windows share most of it, each half would be sent nearly all
        return halves
    if size <= room.most:
        return []
    if axis is not None:
        return _planes(plan, x, out, indices, axis, size, room.most)
    if larger < size:
        return halves
    what = (
        "the gradient of one plane"
        if plan.division is not None
        else "one plane, whose indices are wanted,"
        if plan.indexed
        else "one window"
    )
    raise MemoryError(
        f"{plan.operation}: {what} takes {size} bytes, and the device takes {room.most}; use backend='cpu'"
    )


def _longest(plan: Plan, x: Array, out: Array) -> int | None:
    """The kept axis along which to cut: the outermost in memory."""
    kept = dict(zip(plan.axes, plan.tables, strict=True))
    axes = [a for a in range(x.ndim) if kept.get(a) is None and x.shape[a] > 1]
    return max(axes, key=lambda a: (abs(x.strides[a]), abs(out.strides[a])), default=None)


def _planes(plan: Plan, x: Array, out: Array, indices: Array | None, axis: int, size: int, wanted: int) -> list[_Part]:
    """Some planes at a time, along a kept axis."""
    parts: list[_Part] = []
    step = max(1, min(x.shape[axis] * wanted // size, -(-x.shape[axis] // 2)))
    for first in range(0, x.shape[axis], step):
        at = (*(slice(None),) * axis, slice(first, first + step))
        part = replace(plan, x_shape=x[at].shape, out_shape=out[at].shape)
        parts.append((part, x[at], out[at], None if indices is None else indices[at]))
    return parts


def _halves(plan: Plan, x: Array, out: Array) -> list[_Part]:
    """Some windows of each plane, and what they need, and the others. Not where elements are told by their number."""
    found = [(a, t) for a, t in zip(plan.axes, plan.tables, strict=True) if t is not None and t.count > 1]
    if not found or plan.indexed or plan.division is not None:
        return []
    axis, table = max(found, key=lambda pair: abs(x.strides[pair[0]]))
    parts: list[_Part] = []
    for half in (slice(None, table.count // 2), slice(table.count // 2, None)):
        starts, sizes = table.starts[half], table.sizes[half]
        low, high = int(starts.min()), int((starts + (sizes - 1) * table.step).max()) + 1
        some = Windows(high - low, starts - low, sizes, table.counted[half], table.step)
        tables = tuple(some if a == axis else t for a, t in zip(plan.axes, plan.tables, strict=True))
        before = (slice(None),) * axis
        less, result = x[(*before, slice(low, high))], out[(*before, half)]
        parts.append((replace(plan, tables=tables, x_shape=less.shape, out_shape=result.shape), less, result, None))
    return parts


def _moved(plan: Plan, x: Array, out: Array) -> Plan:
    """The plan for the same arrays packed on a device, each in the order it has on the host."""

    def make() -> tuple[Plan, int]:
        order = memory_order(x.shape, x.strides)
        made = replace(
            plan,
            x_dtype=x.dtype.newbyteorder("="),
            swapped=False,
            elements=product(x.shape) * (2 if x.dtype.kind == "c" else 1),
        )
        strides = packed_strides(x.shape, order, x.itemsize)
        return lay_out(made, strides, packed_strides(out.shape, order, out.itemsize), order), plan.weight

    key = (plan.operation, plan.reducer, plan.indexed, plan.axes, plan.tables, plan.divisor, plan.division)
    return plans.get(("moved", *key, x.shape, x.strides, x.dtype, out.dtype), make)


class _Piece:
    """Arrays on their way to the device and back; where it shares the host's memory, they stay where they are."""

    def __init__(self, queue: Any, plan: Plan, x: Array, out: Array, indices: Array | None) -> None:
        self.queue = queue
        self.shared = devices.traits(queue.device).unified
        self._back: list[tuple[Array, Array]] = []  # where results arrive, and where they belong
        self._mapped: list[Any] = []
        order = memory_order(x.shape, x.strides)
        self._sent = np.require(x.transpose(order), x.dtype.newbyteorder("="), ["C", "A"])
        source, sent = self._send()
        results = [self._room(a, order) for a in (out, indices) if a is not None]
        memory = [Memory(buffer, 0) for buffer, _ in results]
        done = pool.run(queue, plan, Memory(source, 0), memory[0], memory[1] if indices is not None else None, sent)
        self._events = [self._fetch(buffer, arrived, done) for buffer, arrived in results]
        queue.flush()

    def _buffer(self, flags: Any, array: Array) -> Any:
        """Memory of the device for a packed array, or the array's own where the device shares it."""
        if self.shared:
            return cl.Buffer(self.queue.context, flags | cl.mem_flags.USE_HOST_PTR, hostbuf=array)
        return cl.Buffer(self.queue.context, flags, array.nbytes)

    def _send(self) -> tuple[Any, list[Any]]:
        if not self._sent.size:
            return cl.Buffer(self.queue.context, cl.mem_flags.READ_ONLY, 1), []
        if self.shared:
            return self._buffer(cl.mem_flags.READ_ONLY, in_lines(self._sent)), []
        buffer = self._buffer(cl.mem_flags.READ_ONLY, self._sent)
        return buffer, [cl.enqueue_copy(self.queue, buffer, self._sent, is_blocking=False)]

    def _room(self, result: Array, order: tuple[int, ...]) -> tuple[Any, Array]:
        """A buffer for a result, and the array of the host where it arrives, packed."""
        arrived = result.transpose(order)
        if not (arrived.flags.c_contiguous and arrived.flags.aligned and result.dtype.isnative):
            arrived = np.empty(arrived.shape, result.dtype.newbyteorder("="))
            self._back.append((arrived, result.transpose(order)))
        return self._buffer(cl.mem_flags.READ_WRITE, arrived.reshape(-1).view(np.uint8)), arrived

    def _fetch(self, buffer: Any, arrived: Array, done: Any) -> Any:
        """The event of a result's arrival. Of memory that is shared it's enough to ask to read it."""
        if not self.shared:
            return cl.enqueue_copy(self.queue, arrived, buffer, is_blocking=False, wait_for=[done])
        mapped, event = cl.enqueue_map_buffer(
            self.queue, buffer, cl.map_flags.READ, 0, arrived.nbytes, np.uint8, wait_for=[done], is_blocking=False
        )
        self._mapped.append(mapped)
        return event

    def collect(self) -> None:
        """Wait until the results have arrived where they belong."""
        cl.wait_for_events(self._events)
        if self._mapped:
            cl.wait_for_events([mapped.base.release(self.queue) for mapped in self._mapped])
        for arrived, to in self._back:
            to[...] = arrived


def scattered(grad: Array, indices: Array, out: Array, axes: tuple[int, ...], queues: tuple[Any, Any]) -> int | None:
    """`scatter.run` for arrays of the host, some planes at a time. An index that lies in no plane, or None."""
    most = _room(queues[0].device).most
    size = max(out.nbytes, indices.nbytes)
    kept = [a for a in range(grad.ndim) if a not in axes and grad.shape[a] > 1]
    if size > most and kept:
        axis = max(kept, key=lambda a: abs(grad.strides[a]))
        step = max(1, min(grad.shape[axis] * most // size, grad.shape[axis] // 2))
        for first in range(0, grad.shape[axis], step):
            at = (*(slice(None),) * axis, slice(first, first + step))
            wrong = scattered(grad[at], indices[at], out[at], axes, queues)
            if wrong is not None:
                return wrong
        return None
    if size > most:
        raise MemoryError(
            f"the gradient of one plane takes {size} bytes, and the device takes {most}; use backend='cpu'"
        )
    queue = queues[0]
    there, places = (cla.to_device(queue, np.asarray(a, a.dtype.newbyteorder("="), order="C")) for a in (grad, indices))
    result = cla.empty(queue, out.shape, out.dtype)
    wrong = scatter.run(there, places, result, axes)
    if wrong is None and out.size:
        out[...] = result.get()
    return wrong
