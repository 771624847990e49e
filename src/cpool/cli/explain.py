"""Show the windows of a pooling, and what would run: kernel, device, bytes.

examples:
  cpool explain 10x9 7x7                          two axes, ragged: no kernel and stride do this
  cpool explain 14 13                             overlapping: kernel 2, stride 1
  cpool explain 8x64x56x56 7x7                    the last two axes of four
  cpool explain 1x10x9x64 5x7 --layout NHWC --in-dtype uint8
  cpool explain 10x9 3x3 --op avg --stride 2x2 --padding 1x1
  cpool explain 10x9 7x7 --plot windows.svg

SIZE is what adaptive pooling makes of the axes, and the kernel with --op avg or max: one number for each pooled axis.
In the drawing of an axis each row is a window; elements that several windows hold are drawn lighter.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

import cpool
from cpool.windows import Windows

from . import operation, picture, rules
from .errors import Failure, reason
from .picture import Box, Drawing, Word
from .terminal import Painter

ROWS = 32  # windows that are drawn
CELLS = 160  # elements that are drawn in a picture


def add_arguments(command: argparse.ArgumentParser) -> None:
    """What the command takes."""
    command.add_argument("shape", type=operation.shape, metavar="SHAPE", help="of the array, like 8x64x10x9")
    command.add_argument("size", type=operation.counts, nargs="?", metavar="SIZE", help="like 7x7 or 5xnone")
    operation.add_arguments(command)
    command.add_argument("--in-dtype", default="float32", help="the type of the array (default: %(default)s)")
    out = command.add_argument_group("output")
    out.add_argument("--json", action="store_true", help="what would run, as JSON")
    out.add_argument("--plot", type=Path, metavar="FILE", help="draw the windows as .svg, or as .png with Pillow")
    out.add_argument("--force", action="store_true", help="replace FILE if it is there")


def run(args: argparse.Namespace) -> int:
    """Explain it."""
    if args.plot is not None:
        picture.check(args.plot, args.force)
    asked = operation.operation(args, len(args.shape), args.size, False)
    try:
        x = operation.unread(args.shape, np.dtype(args.in_dtype))
        told = cpool.explain(asked.name, x, *asked.arguments, axes=asked.axes, **asked.options)
        plan, _ = asked.plan(x)
    except (ValueError, TypeError) as error:
        raise Failure(reason(error)) from None
    tables = {a: t for a, t in zip(plan.axes, plan.tables, strict=True) if t is not None}
    if args.json:
        print(json.dumps(told.to_dict(), indent=2))
    else:
        paint = Painter()
        print(told)
        for axis, table in sorted(tables.items()):
            print("\n" + "\n".join(_drawn(axis, table, asked.name.startswith("adaptive"), paint)))
    if args.plot is not None:
        title = f"{told.operation} {args.shape} -> {told.out_shape}"
        picture.save(_plotted(title, tables, asked.name.startswith("adaptive")), args.plot, args.force)
    return 0


def _held(table: Windows, most: int) -> Any:
    """How many windows hold each of the first elements."""
    near = table.starts < most
    starts, stops = table.starts[near], np.minimum(table.stops[near], most)
    if table.step == 1:
        edges = np.zeros(most + 1, np.int64)
        np.add.at(edges, starts, 1)
        np.add.at(edges, stops, -1)
        return np.cumsum(edges)[:most]
    held = np.zeros(most, np.int64)
    for a, b in zip(starts.tolist(), stops.tolist(), strict=True):
        held[a : b : table.step] += 1
    return held


def _taps(table: Windows, rows: int, cells: int) -> list[list[int]]:
    """Which of the first elements the first windows hold."""
    ends = zip(table.starts[:rows].tolist(), table.stops[:rows].tolist(), strict=True)
    return [list(range(a, min(b, cells), table.step)) for a, b in ends]


def _rows(table: Windows, cells: int) -> int:
    """How many windows are drawn: those that begin among the first elements."""
    return min(int(np.count_nonzero(table.starts < cells)), ROWS)


def _head(axis: int, table: Windows) -> str:
    kernel, stride, dilation = table.as_dilated() or (0, 0, 0)
    equal = f"kernel {kernel}, stride {stride}" if kernel else "no kernel and stride give these windows"
    equal += f", dilation {dilation}" if dilation > 1 else ""
    return f"axis {axis}: {table.length} -> {table.count}, {table.kind} ({equal})"


# ---- in a terminal ---------------------------------------------------------------------------------


def _drawn(axis: int, table: Windows, adaptive: bool, paint: Painter) -> list[str]:
    """The windows of one axis as lines of text."""
    label = len(str(table.count)) + 2
    room = max(paint.columns - label - 2 - len(f"{table.length}:{table.length}") - 2, 16)
    cells = min(table.length, room)
    wide = 2 if 2 * cells <= room else 1
    marks = {"own": "█", "shared": "▓", "none": "·"} if paint.unicode else {"own": "#", "shared": "+", "none": "."}
    held = _held(table, cells)
    lines = [paint("bold", _head(axis, table))]
    rows = _rows(table, cells)
    for i, taps in enumerate(_taps(table, rows, cells)):
        row = "".join(paint(*_mark(c in taps, int(held[c]), marks, wide)) for c in range(cells))
        span = f"{int(table.starts[i])}:{int(table.stops[i])}"
        counted = int(table.counted[i])
        if counted != int(table.sizes[i]):
            span += f", counts {counted}"
        lines.append(f"{i:>{label}}  {row}  {paint('dim', span)}")
    if rows < table.count or cells < table.length:
        lines.append(f"{'':>{label}}  the first {rows} of {table.count} windows, {cells} of {table.length} elements")
    if adaptive and table.count:
        lines.append("  rules in texts:")
        for rule in rules.compare(table.length, table.count):
            verdict = paint("wrong", "; ".join(rule.wrong)) if rule.wrong else paint("right", "right")
            lines.append(f"    {rule.name}: {verdict}")
            if rule.table is not None:
                lines.append(paint("dim", f"      {rules.text(rule.table)}"))
    return lines


def _mark(inside: bool, held: int, marks: dict[str, str], wide: int) -> tuple[str, str]:
    kind = "none" if not inside else "shared" if held > 1 else "own"
    return ("dim" if kind == "none" else kind), (marks[kind] * wide)


# ---- as a picture ----------------------------------------------------------------------------------

LEFT, TOP, BAR, GAP, LINE = 16, 24, 12, 4, 20
DOWN = 6  # from the bottom of a row to the line of text in the next


def _plotted(title: str, tables: dict[int, Windows], adaptive: bool) -> Drawing:
    """Axis under axis: the elements, the windows below them, then what other rules give."""
    shapes: list[Box | Word] = [Word(LEFT, TOP, title)]
    y: float = TOP + LINE
    width = 7.5 * len(title)
    for axis, table in sorted(tables.items()):
        cells = min(table.length, CELLS)
        cell = min(max(640 / cells, 4), 26)
        width = max(width, cell * cells + 120, 560)
        shapes.append(Word(LEFT, y + DOWN, _head(axis, table)))
        y = _cells(shapes, y + LINE, cells, cell)
        y = _bars(shapes, y, table, table, cells, cell)
        if adaptive and table.count:
            for rule in rules.compare(table.length, table.count)[1:]:
                verdict = "; ".join(rule.wrong) or "right"
                shapes.append(Word(LEFT, y + LINE, f"{rule.name}", "faint"))
                shapes.append(Word(LEFT, y + 2 * LINE, verdict, "wrong" if rule.wrong else "right"))
                width = max(width, 7 * len(rule.name), 7 * len(verdict))
                y += 2 * LINE + 2 * GAP
                if rule.table is not None and rule.wrong:
                    y = _bars(shapes, y, rule.table, table, cells, cell)
        y += LINE
    return Drawing(width + 2 * LEFT, y, shapes, title)


def _cells(shapes: list[Box | Word], y: float, cells: int, cell: float) -> float:
    """The elements of the axis, numbered where there is room."""
    for i in range(cells):
        shapes.append(Box(LEFT + i * cell, y, cell - 1, 18, "cell"))
        if cell >= 18:
            shapes.append(Word(LEFT + (i + 0.5) * cell, y + 13.5, str(i), "faint", "middle"))
    return y + 18 + GAP


def _bars(shapes: list[Box | Word], y: float, table: Windows, right: Windows, cells: int, cell: float) -> float:
    """A row for each window: what it alone holds, what others hold too, and red where it should not be."""
    held = _held(table, cells)
    rows = _rows(table, cells)
    for i, taps in enumerate(_taps(table, rows, cells)):
        same = i < right.count and table.starts[i] == right.starts[i] and table.stops[i] == right.stops[i]
        for tap in taps:
            kind = "wrong" if not same else "shared" if held[tap] > 1 else "own"
            shapes.append(Box(LEFT + tap * cell, y, cell - 1, BAR, kind))
        shapes.append(Word(LEFT + cells * cell + 8, y + BAR - 1, f"{table.starts[i]}:{table.stops[i]}", "faint"))
        y += BAR + GAP
    if rows < table.count or cells < table.length:
        text = f"the first {rows} of {table.count} windows, {cells} of {table.length} elements"
        shapes.append(Word(LEFT, y + BAR, text, "faint"))
        y += LINE
    return y
