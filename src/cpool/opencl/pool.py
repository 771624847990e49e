"""A plan run on buffers of a device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import pyopencl as cl

from cpool.plan import Cache, Plan

from . import devices, layouts, programs

FILES = ("types.cl", "sums.cl", "pool.cl", "line.cl", "tile.cl")
FILES_MAX = ("types.cl", "largest.cl", *FILES[2:])


class Memory(NamedTuple):
    """Where an array lies: a buffer, and the bytes before its first element."""

    buffer: Any
    offset: int


@dataclass(frozen=True, eq=False)
class Launch:
    """A plan made ready for a queue."""

    queue: Any  # held, as the layout holds its plan, so that their numbers stay their own
    layout: layouts.Layout
    share: layouts.Share
    program: programs.Program
    scratch: Any
    whole: tuple[int, ...]  # how many items there are, and how many in a group
    group: tuple[int, ...]


known: Cache[Launch] = Cache(entries=layouts.LAYOUTS, weight=layouts.WHOLE)


def ready(plan: Plan, queue: Any) -> Launch:
    """The plan's launch on this queue."""
    key = id(plan), queue.int_ptr, devices.generation

    def make() -> tuple[Launch, int]:
        made = _make(plan, queue)
        return made, made.layout.weight

    return known.get(key, make)


def _make(plan: Plan, queue: Any) -> Launch:
    layout = layouts.of(plan, queue)
    built = programs.program(queue, FILES_MAX if plan.reducer == "max" else FILES, layout.options)
    share = layout.share
    items = built.group("pool" if share.parts == 1 else "part", share.lanes * share.results)
    share = share.within(items)
    groups, parts = -(-layout.items // share.results), () if share.parts == 1 else (share.parts,)
    scratch = cl.LocalMemory(layout.total * (share.results * layout.line or items))
    return Launch(queue, layout, share, built, scratch, (groups * items, *parts), (items, *(1 for _ in parts)))


def run(queue: Any, plan: Plan, x: Memory, out: Memory, where: Memory | None, wait_for: list[Any]) -> Any:
    """Start the plan; the event of its end, or None if there is nothing to do."""
    if 0 in plan.out_shape:
        return None
    launch = ready(plan, queue)
    layout, built = launch.layout, launch.program
    share, total = launch.share, layout.items
    index, index_offset = where or (None, 0)
    if share.parts == 1:
        return built.kernel("pool")(
            queue, launch.whole, launch.group, x.buffer, x.offset, out.buffer, out.offset,
            layout.meta, layout.by, total, share.lanes, share.columns, share.beside, launch.scratch,
            index, index_offset,
            wait_for=wait_for,
        )  # fmt: skip
    found = cl.Buffer(queue.context, cl.mem_flags.READ_WRITE, total * share.parts * layout.total)
    event = built.kernel("part")(
        queue, launch.whole, launch.group, x.buffer, x.offset,
        layout.meta, layout.by, total, share.lanes, share.columns, share.beside, share.row_parts,
        share.column_parts, launch.scratch, found,
        wait_for=wait_for,
    )  # fmt: skip
    return built.kernel("whole")(
        queue, *built.sizes("whole", total, share.lanes * share.results), x.buffer, x.offset, out.buffer, out.offset,
        layout.meta, total, share.parts, found, index, index_offset,
        wait_for=[event],
    )  # fmt: skip
