"""The pictures of the site, drawn while it is built: windows from cpool itself, speeds from performance.md.

They are SVG inside the page, in colours of _static/cpool.css, so that they follow its light and dark.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any, ClassVar

import plots
from docutils import nodes
from docutils.parsers.rst import Directive
from drawing import Rows, line, rect, svg, tables, text, threaded

import cpool
from cpool.cli.rules import compare

Span = tuple[int, int]


# ---- windows ----------------------------------------------------------------------------------------


def axis(n: int, spans: Sequence[Span], kinds: Sequence[str]) -> str:
    """An axis of n elements, and under it a bar for each window."""
    cell, row, left = 42, 27, 34
    parts = [rect(left + i * cell + 1, 1, cell - 2, 28, "cell") for i in range(n)]
    parts += [text(left + (i + 0.5) * cell, 20, i, "middle") for i in range(n)]
    for i, ((start, stop), kind) in enumerate(zip(spans, kinds, strict=True)):
        y = 40 + i * row
        size = stop - start
        told = f"window {i}: elements {start} to {stop - 1}"
        parts.append(text(left - 12, y + 15, i, "end muted"))
        parts.append(rect(left + start * cell + 2, y, size * cell - 4, row - 6, f"window {kind}", told))
        middle = left + (start + stop) / 2 * cell
        elements = ", ".join(map(str, range(start, stop)))
        parts.append(text(middle, y + 15, elements, "middle on-window"))
    width = left + n * cell + 2
    return svg(width, 40 + len(spans) * row, parts)


def right(n: int, m: int) -> list[Span]:
    """The windows of n -> m."""
    table = cpool.windows(n, m)
    return list(zip(table.starts.tolist(), table.stops.tolist(), strict=True))


def windows(n: int, m: int) -> str:
    """The windows of n -> m, the larger ones in another colour."""
    spans = right(n, m)
    least = min(stop - start for start, stop in spans)
    return axis(n, spans, ["" if stop - start == least else "larger" for start, stop in spans])


def strided(n: int, m: int, rule: int) -> str:
    """What a wrong rule gives: windows that are not those of n -> m stand out."""
    table = compare(n, m)[rule].table
    assert table
    spans = list(zip(table.starts.tolist(), table.stops.tolist(), strict=True))
    wanted = right(n, m)
    kinds = ["" if i < m and span == wanted[i] else "wrong" for i, span in enumerate(spans)]
    return axis(n, spans, kinds)


def ceil_and_floor(n: int, m: int) -> str:
    """kernel = ceil(n/m), stride = floor(n/m)."""
    return strided(n, m, 1)


def last_kernel(n: int, m: int) -> str:
    """stride = floor(n/m), kernel = n - (m-1)*stride."""
    return strided(n, m, 2)


# ---- speeds -----------------------------------------------------------------------------------------

PERFORMANCE = Path(__file__).parent / "performance.md"


def table_of(*header: str) -> Rows:
    """The rows under this header (its first cells) in performance.md."""
    for header_row, *rows in tables(PERFORMANCE.read_text(encoding="utf-8")):
        if header_row[: len(header)] == list(header):
            return rows
    raise ValueError(f"{PERFORMANCE}: no table begins with {header}")


def first_number(cell: str) -> str:
    """The first number in a cell, as it stands there."""
    found = re.search(r"\d+(\.\d+)?", cell)
    if found is None:
        raise ValueError(f"{PERFORMANCE}: {cell!r} holds no number")
    return found[0]


def number(cell: str) -> float:
    """The first number in a cell."""
    return float(first_number(cell))


Bar = tuple[str, str, str | None]  # what, the cell of its mean, the cell of its least


def bars(rows: Sequence[Bar], legend: str) -> str:
    """Ratios on a logarithmic scale: a bar from one to the mean, and a mark at the least."""
    left, width, row, top = 14, 420, 42, 28
    values = [number(cell) for _, mean, least in rows for cell in (mean, least) if cell is not None]
    low = math.log(min(0.5, *values) * 0.9)
    high = math.log(max(2.0, *values) * 1.25)

    def at(value: float) -> float:
        return left + (math.log(value) - low) / (high - low) * width

    bottom = top + len(rows) * row
    parts = []
    for tick in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50):
        if low <= math.log(tick) <= high:
            x, kind = at(tick), "one" if tick == 1 else "grid"
            # beside the bars, not through what is written above them
            parts += [line([(x, y + 18), (x, y + row - 6)], kind) for y in range(top, bottom, row)]
            parts.append(text(at(tick), top - 14, f"{tick:g}", "middle muted"))
    for i, (label, cell, lowest) in enumerate(rows):
        y = top + i * row
        mean = number(cell)
        begin, end = sorted((at(1), at(mean)))
        kind = "window" if mean >= 1 else "window wrong"
        parts.append(text(2, y + 13, label))
        parts.append(rect(begin, y + 19, max(end - begin, 2), row - 26, kind, f"{label}: {cell}"))
        parts.append(text(max(at(mean), at(1)) + 8, y + 32, first_number(cell), "value"))
        if lowest is not None:
            x, middle, told = at(number(lowest)), y + 27, escape(lowest)
            parts.append(f'<circle cx="{x:g}" cy="{middle:g}" r="4.5" class="least"><title>{told}</title></circle>')
    parts.append(text(2, bottom + 16, legend, "muted"))
    return svg(left + width + 46, bottom + 28, parts)


def operations() -> str:
    """Averages and the largest against torch."""
    rows = table_of("what", "channels", "threads", "torch/cpool", "least")
    shown = [(f"{what}, channels {order}, {threaded(n)}", mean, least) for what, order, n, mean, least in rows]
    return bars(shown, "times torch's speed, geometric mean; the dot: the slowest shape")


def columns(*header: str) -> Rows:
    """A table with the columns "first, 2 threads", "first, 1", "last, 2" and "last, 1", its last one left out."""
    return table_of(*header, "first, 2 threads", "first, 1", "last, 2", "last, 1")


HOW = [f"channels {order}, {threaded(n)}" for order in ("first", "last") for n in "21"]


def gradients() -> str:
    """Gradients against torch."""
    shown = [
        (f"{row[0].removeprefix('gradient of ')}, {how}", cell, None)
        for row in columns("what")
        for how, cell in zip(HOW, row[1:], strict=True)
    ]
    return bars(shown, "times torch's speed, geometric mean")


def types() -> str:
    """Averages of other types against torch."""
    shown = [
        (f"{row[0]}, {how}", cell, None) for row in columns("type") for how, cell in zip(HOW, row[1:5], strict=True)
    ]
    return bars(shown, "times torch's speed, geometric mean")


def opencl() -> str:
    """OpenCL on the processor."""
    rows = table_of("", "against torch on the CPU", "against cpool's own CPU backend")
    shown = []
    for order, torch, own in rows:
        for whom, cell in (("torch", torch), ("cpool's CPU", own)):
            least = re.search(r"least [\d.]+", cell)
            shown.append((f"{order}, to {whom}", cell, least and least[0]))
    return bars(shown, "times their speed, geometric mean; the dot: the slowest shape")


# ---- one call ---------------------------------------------------------------------------------------


def call() -> str:
    """The way of one call through the files, down and up again."""
    left, width, height, gap = 26, 440, 44, 22
    middle = left + width / 2
    steps = (
        ("cpool.adaptive_avg_pool2d(x, 7)", "what a user writes", "outside"),
        ("functional.py", "its signature, a line of work", ""),
        ("calls.py", "asks whether this was called before", ""),
        ("arrays.py", "x as a plain array over the same memory; what comes out", ""),
        ("rules.py", "what the arguments mean: axes, their windows, the divisor", ""),
        ("windows.py", "a table of windows for each pooled axis", ""),
        ("plan.py", "axes, strides, tables, divisors, types; made once, kept", ""),
        ("dispatch.py", "which backend and device runs it, and why", ""),
    )
    parts = []
    y = 4.0
    places = []
    for title, told, kind in steps:
        parts += box(left, y, width, height, title, told, kind)
        places.append(y)
        y += height + gap
    for above in places[:-1]:
        parts.append(arrow([(middle, above + height), (middle, above + height + gap)]))
    half = (width - 20) / 2
    sides = (
        (left, (("cpu.py", "threads, instruction set, kernel"), ("_kernels.pyx", "no GIL; slices of planes or rows"))),
        (left + half + 20, (("opencl/pool.py", "programs, tables, a launch"), ("the device's queue", "nothing waits"))),
    )
    fork = places[-1] + height
    last = (("simd/*.c", "the inner loops"), ("opencl/kernels/*.cl", "the same, for a device"))
    for (x, boxes), bottom in zip(sides, last, strict=True):
        centre, at = x + half / 2, fork + gap
        parts.append(arrow([(centre, fork), (centre, at)]))
        for title, told in (*boxes, bottom):
            parts += box(x, at, half, height, title, told, "")
            if (title, told) != bottom:
                parts.append(arrow([(centre, at + height), (centre, at + height + gap)]))
            at += height + gap
        parts.append(arrow([(centre, at - gap), (centre, at)]))
    end = fork + 4 * gap + 3 * height
    parts += box(left, end, width, height, "the result", "of x's own kind, lying in memory as x does", "outside")
    # the short way, past everything that only depends on shapes and types
    begin, arrive = places[2] + height / 2, fork + gap + height + gap + height / 2
    parts.append(arrow([(left, begin), (left - 18, begin), (left - 18, arrive), (left, arrive)], "short"))
    y = end + height + 22
    parts.append(arrow([(left, y - 4), (left + 34, y - 4)], "short"))
    parts.append(text(left + 44, y, "the short way of a call that was seen before", "muted"))
    return svg(left + width + 6, y + 10, parts)


def box(x: float, y: float, width: float, height: float, title: str, told: str, kind: str) -> list[str]:
    """A box with a name and a line of text."""
    centre = x + width / 2
    return [
        rect(x, y, width, height, f"box {kind}"),
        text(centre, y + 18, title, "middle code"),
        text(centre, y + 35, told, "middle muted"),
    ]


def arrow(points: Sequence[tuple[float, float]], kind: str = "") -> str:
    """A line with a head at its last point."""
    (x0, y0), (x, y) = points[-2:]
    length = math.hypot(x - x0, y - y0)
    dx, dy = (x - x0) / length * 8, (y - y0) / length * 8
    head = [(x, y), (x - dx - dy / 2, y - dy + dx / 2), (x - dx + dy / 2, y - dy - dx / 2)]
    shape = " ".join(f"{a:g},{b:g}" for a, b in head)
    return line([*points[:-1], (x - dx, y - dy)], f"arrow {kind}") + f'<polygon points="{shape}" class="head {kind}"/>'


PICTURES = {
    f.__name__: f
    for f in (windows, ceil_and_floor, last_kernel, operations, gradients, types, opencl, call, *plots.PLOTS)
}


class Picture(Directive):
    """`{picture} windows 10 7` draws; the content says what is to be seen, for those who don't see it, too."""

    has_content = True
    required_arguments = 1
    optional_arguments = 4
    option_spec: ClassVar[dict[str, Any]] = {}

    def run(self) -> list[nodes.Node]:
        """The figure with its caption."""
        name, *arguments = self.arguments
        if name not in PICTURES:
            raise self.error(f"picture: got {name!r}; one of {', '.join(PICTURES)} is needed")
        drawing = PICTURES[name](*(int(word) if word.isdecimal() else word for word in arguments))
        for path in (PERFORMANCE, plots.PEERS, __file__, plots.__file__):  # when one changes, so does the page
            self.state.document.settings.record_dependencies.add(str(path))
        said = escape(" ".join(self.content), quote=True)
        figure = nodes.container(classes=["picture"])
        figure += nodes.raw("", f'<div class="drawing" role="img" tabindex="0" aria-label="{said}">', format="html")
        figure += nodes.raw("", drawing + "</div>", format="html")
        caption = nodes.container(classes=["caption"])
        self.state.nested_parse(self.content, self.content_offset, caption)
        figure += caption
        return [figure]


def setup(app: Any) -> dict[str, Any]:
    """What Sphinx calls."""
    app.add_directive("picture", Picture)
    return {"parallel_read_safe": True}
