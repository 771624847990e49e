"""A plan run on buffers of a device."""

from __future__ import annotations

from typing import Any, NamedTuple

import pyopencl as cl

from cpool.plan import Plan

from . import layouts, programs

FILES = ("types.cl", "sums.cl", "pool.cl")
FILES_MAX = ("types.cl", "largest.cl", "pool.cl")


class Memory(NamedTuple):
    """Where an array lies: a buffer, and the bytes before its first element."""

    buffer: Any
    offset: int


def run(queue: Any, plan: Plan, x: Memory, out: Memory, where: Memory | None, wait_for: list[Any]) -> Any:
    """Start the plan; the event of its end, or None if there is nothing to do."""
    if 0 in plan.out_shape:
        return None
    layout = layouts.of(plan, queue)
    built = programs.program(queue, FILES_MAX if plan.reducer == "max" else FILES, layout.options)
    share, total = layout.share, layout.outputs
    items, results = share.lanes * share.results, share.results
    scratch = cl.LocalMemory(layout.total * items)
    index, index_offset = where or (None, 0)
    if share.parts == 1:
        return built.kernel("pool")(
            queue, (-(-total // results) * items,), (items,), x.buffer, x.offset, out.buffer, out.offset,
            layout.meta, layout.by, total, share.lanes, share.columns, share.beside, scratch, index, index_offset,
            wait_for=wait_for,
        )  # fmt: skip
    found = cl.Buffer(queue.context, cl.mem_flags.READ_WRITE, total * share.parts * layout.total)
    event = built.kernel("part")(
        queue, (-(-total // results) * items, share.parts), (items, 1), x.buffer, x.offset,
        layout.meta, layout.by, total, share.lanes, share.columns, share.beside, share.row_parts,
        share.column_parts, scratch, found,
        wait_for=wait_for,
    )  # fmt: skip
    group = min(64, share.lanes * share.results)
    return built.kernel("whole")(
        queue, *programs.whole_groups(total, group), x.buffer, x.offset, out.buffer, out.offset,
        layout.meta, total, share.parts, found, index, index_offset,
        wait_for=[event],
    )  # fmt: skip
