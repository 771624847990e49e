"""Gradients of the largest: each element of x adds what the indices give it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyopencl as cl

from cpool.plan import memory_order, product

from . import arrays, devices, layouts, programs

FILES = ("types.cl", "sums.cl", "scatter.cl")
CHUNK = 32  # outputs whose indices are known to lie in one box; as in scatter.cl
FAN = 8  # boxes that lie in one of the next level; as in scatter.cl

Shape = tuple[int, ...]


def run(grad: Any, indices: Any, out: Any, axes: Shape) -> int | None:
    """Add gradients to `out` where the indices say, planes being over `axes`. An index that lies in no plane, or None.

    This waits until the indices are looked at: a bad one is an error of this call, and nothing is written.
    """
    queue = grad.queue
    dtype = grad.dtype
    layouts.check_doubles(dtype, queue.device, "grad")
    kind, doubles = layouts.code(dtype), devices.traits(queue.device).fp64
    sums = "SUM_DOUBLE" if doubles and dtype.itemsize < 8 else "SUM_PAIR"
    order = [a for a in reversed(memory_order(grad.shape, grad.strides)) if a not in axes]
    planes = _merged([(grad.shape[a], grad.strides[a], indices.strides[a], out.strides[a]) for a in order])
    pooled = sorted(axes, reverse=True)
    outputs = _merged([(grad.shape[a], grad.strides[a], indices.strides[a], 0) for a in pooled])
    places = [(out.shape[a], 0, 0, out.strides[a]) for a in pooled if out.shape[a] != 1] or [(1, 0, 0, 0)]
    many, each, length = (product([axis[0] for axis in group]) for group in (planes, outputs, places))
    if not many * length:
        return None if not many * each else 0
    levels = [-(-each // CHUNK)]  # how many boxes each has in a plane
    while levels[-1] > FAN:
        levels.append(-(-levels[-1] // FAN))
    begins = [sum(levels[:level]) for level in range(len(levels))]
    head = [each, length, many, len(levels), sum(levels), len(planes), len(outputs), *begins]
    meta = np.array([*head, *(n for axis in (*planes, *outputs, *places) for n in axis)], np.int64)
    options = [f"-DX_{kind}", f"-DO_{kind}", f"-D{sums}", f"-DPOOLED={len(places)}"]
    wide = length >= layouts.FEW
    if wide:
        options.append("-DLONG")
    if planes and planes[0][3] == dtype.itemsize:
        options.append("-DPLANES_INSIDE")
    built = programs.program(queue, FILES, tuple(options))
    context, flags = queue.context, cl.mem_flags
    where = layouts.upload(context, meta)
    units = many * levels[0]
    boxes = cl.Buffer(context, flags.READ_WRITE, max(many * sum(levels), 1) * (16 if wide else 8) * len(places))
    wait_for = arrays.before(queue, grad, indices, out)
    event = None
    if units:
        found = np.zeros(2, np.int64)
        bad = cl.Buffer(context, flags.READ_WRITE | flags.COPY_HOST_PTR, hostbuf=found[:1])
        wrong = cl.Buffer(context, flags.READ_WRITE | flags.COPY_HOST_PTR, hostbuf=found[1:])
        event = built.kernel("look")(
            queue, *built.sizes("look", units),
            indices.base_data, indices.offset, where, boxes, units, bad, wrong,
            wait_for=wait_for,
        )  # fmt: skip
        cl.enqueue_copy(queue, found[:1], bad, wait_for=[event])
        if found[0]:
            cl.enqueue_copy(queue, found[1:], wrong, wait_for=[event])
            return int(found[1])
        for level, several in enumerate(levels[1:], 1):
            event = built.kernel("enclose")(
                queue, *built.sizes("enclose", many * several), where, boxes, level,
                many * several, wait_for=[event],
            )  # fmt: skip
    items = many * length
    done = built.kernel("scatter")(
        queue, *built.sizes("scatter", items), grad.base_data, grad.offset, indices.base_data,
        indices.offset, out.base_data, out.offset, where, boxes, items,
        wait_for=wait_for if event is None else [event],
    )  # fmt: skip
    arrays.after(queue, done, [out], [grad, indices])
    return None


def _merged(axes: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Axes, the innermost first, as (length, strides...): those that are one in memory as one."""
    found: list[tuple[int, ...]] = []
    for axis in axes:
        if axis[0] == 1:
            continue
        if found and all(s == found[-1][0] * t for s, t in zip(axis[1:], found[-1][1:], strict=True)):
            found[-1] = (found[-1][0] * axis[0], *found[-1][1:])
        else:
            found.append(axis)
    return found or [(1, 0, 0, 0)]
