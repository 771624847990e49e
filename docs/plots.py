"""The pictures of the peers, drawn from the tables of peers.md: ratios, shares of the limit, time against size."""

from __future__ import annotations

import math
from collections.abc import Iterator
from html import escape
from pathlib import Path

from drawing import line, rect, svg, tables, text, threaded

PEERS = Path(__file__).parent / "peers.md"
OVER = "/cpool"  # ends the columns of ratios
MICRO = " us"  # ends the columns of times
Record = dict[str, str]  # a row of a table, by its columns


def records(first: str, page: str | None = None) -> list[Record]:
    """The rows of the table whose first column is called so."""
    source = PEERS.read_text(encoding="utf-8") if page is None else page
    for header, *rows in tables(source):
        if header[0] == first:
            return [dict(zip(header, row, strict=True)) for row in rows]
    raise ValueError(f"{PEERS}: no table begins with a column {first!r}")


def measured(record: Record, column: str) -> float | None:
    """A figure, where there is one."""
    cell = record.get(column, "-")
    return None if cell in ("-", "") else float(cell)


def some(found: list[Record], what: str) -> list[Record]:
    """The records, of which there must be one."""
    if not found:
        raise ValueError(f"{PEERS}: the table has no row of {what}")
    return found


def columns(rows: list[Record], ending: str) -> list[str]:
    """Whose columns have figures, in the table's order: the columns' names without their endings."""
    names = [name.removesuffix(ending) for name in rows[0] if name.endswith(ending)]
    return [name for name in names if any(measured(row, name + ending) is not None for row in rows)]


def powers(low: float, high: float) -> Iterator[float]:
    """The powers of ten from low to high."""
    for exponent in range(math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9) + 1):
        yield 10.0**exponent


def plain(value: float) -> str:
    """A power of ten as text."""
    exponent = round(math.log10(value))
    return f"{value:g}" if -3 < exponent < 4 else f"10^{exponent}"


# ---- ratios ---------------------------------------------------------------------------------------------


def peers_by_class(channels: str, page: str | None = None) -> str:
    """For each peer a bar for each class of shapes, on a logarithmic scale: from one to the mean of its ratios."""
    rows = some([r for r in records("class", page) if r["channels"] == channels], f"channels {channels}")
    groups: list[tuple[str, list[tuple[str, str]]]] = []
    for peer in columns(rows, OVER):
        if peer == "limit":
            continue
        mine = [row for row in rows if measured(row, peer + OVER) is not None]
        most = max(int(row["threads"]) for row in mine)
        mine = [row for row in mine if int(row["threads"]) == most]
        told = f"{peer}, {threaded(most)}"
        groups.append((told, [(kind(row), row[peer + OVER]) for row in mine]))
    if not groups:
        raise ValueError(f"{PEERS}: no peer was timed with channels {channels}")
    values = [float(cell) for _, bars in groups for _, cell in bars]
    return grouped(groups, min(0.5, *values) * 0.9, max(2.0, *values) * 1.1)


def kind(row: Record) -> str:
    """A class of shapes; the type is told where it isn't the usual one."""
    return row["class"] if row["type"] == "float32" else f"{row['class']}, {row['type']}"


def grouped(groups: list[tuple[str, list[tuple[str, str]]]], low: float, high: float) -> str:
    """Groups of bars on one logarithmic scale, which is written above each of them."""
    left, width, step = 130, 330, 20

    def at(value: float) -> float:
        return left + math.log(value / low) / math.log(high / low) * width

    parts = []
    y = 4.0
    for told, bars in groups:
        parts.append(text(2, y + 14, told))
        bottom = y + 22 + len(bars) * step
        for tick in powers(low, high):
            parts.append(text(at(tick), y + 14, plain(tick), "middle muted"))
            parts.append(line([(at(tick), y + 19), (at(tick), bottom)], "one" if tick == 1 else "grid"))
        y += 22
        for label, cell in bars:
            value = float(cell)
            begin, end = sorted((at(1), at(value)))
            parts.append(text(left - 8, y + 14, label, "end muted"))
            shape = "window" if value >= 1 else "window wrong"
            parts.append(rect(begin, y + 3, max(end - begin, 2), step - 6, shape, f"{told}, {label}: {cell}"))
            parts.append(text(max(at(value), at(1)) + 6, y + 14, cell, "value"))
            y += step
        y += 14
    return svg(left + width + 62, y, parts)


# ---- the share of the limit -------------------------------------------------------------------------------


def share_of_limit(channels: str, threads: int, page: str | None = None) -> str:
    """For each class of shapes cpool's share of the memory's speed, and torch's."""
    what = f"channels {channels} and {threads} threads"
    found = [r for r in records("class", page) if r["channels"] == channels and r["threads"] == str(threads)]
    rows = some([r for r in found if measured(r, "limit" + OVER) is not None], what)
    left, width, step, most = 130, 330, 24, 1.25

    def at(share: float) -> float:
        return left + min(share, most) / most * width

    bottom = 24 + len(rows) * step
    parts = []
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(text(at(tick), 14, f"{tick:g}", "middle muted"))
        parts.append(line([(at(tick), 20), (at(tick), bottom)], "one" if tick == 1 else "grid"))
    for i, row in enumerate(rows):
        y = 24 + i * step
        cell = row["limit" + OVER]
        share, torch = float(cell), measured(row, "torch" + OVER)
        parts.append(text(left - 8, y + 16, kind(row), "end muted"))
        parts.append(rect(left, y + 4, max(at(share) - left, 2), step - 9, "window", f"cpool, {kind(row)}: {cell}"))
        if torch is not None:
            told = escape(f"torch, {kind(row)}: {share / torch:.2f}")
            spot = f'cx="{at(share / torch):g}" cy="{y + 11.5:g}" r="4.5"'
            parts.append(f'<circle {spot} class="least"><title>{told}</title></circle>')
        parts.append(text(max(at(share), at(share / torch if torch else 0)) + 8, y + 16, cell, "value"))
    return svg(left + width + 52, bottom + 6, parts)


# ---- time against size --------------------------------------------------------------------------------------

LETTERS = 15  # the height of a name


def time_against_size(windows: str, threads: int, page: str | None = None) -> str:
    """A line for each peer, both axes logarithmic: microseconds against elements."""
    what = f"{windows} windows and {threads} threads"
    rows = some([r for r in records("elements", page) if (r["windows"], r["threads"]) == (windows, str(threads))], what)
    names = columns(rows, MICRO)
    curves = {name: curve(rows, name) for name in names}
    elements = [x for points in curves.values() for x, _ in points]
    times = [y for points in curves.values() for _, y in points]
    low_x, high_x = min(elements), max(*elements, 10 * min(elements))
    low_y, high_y = min(times) / 1.5, max(times) * 1.5
    left, top, width, height = 62, 10, 380, 360

    def across(value: float) -> float:
        return left + math.log(value / low_x) / math.log(high_x / low_x) * width

    def up(value: float) -> float:
        return top + height - math.log(value / low_y) / math.log(high_y / low_y) * height

    parts = [text(left + width / 2, top + height + 36, "elements", "middle muted"), text(2, top + 8, "us", "muted")]
    for tick in powers(low_x * 0.97, high_x * 1.03):
        parts.append(line([(across(tick), top), (across(tick), top + height)], "grid"))
        parts.append(text(across(tick), top + height + 18, plain(tick), "middle muted"))
    for tick in powers(low_y, high_y):
        parts.append(line([(left, up(tick)), (left + width, up(tick))], "grid"))
        parts.append(text(left - 6, up(tick) + 4, plain(tick), "end muted"))
    ends = []
    for i, (name, points) in enumerate(curves.items()):
        shape = "series own" if name == "cpool" else "series reading" if name == "limit" else f"series s{i % 4}"
        drawn = [(across(x), up(y)) for x, y in points]
        parts.append(line(drawn, shape))
        told = (f"{name}, {x:g} elements: {y:g} us" for x, y in points)
        for (x, y), said in zip(drawn, told, strict=True):
            spot = f'cx="{x:g}" cy="{y:g}" r="3"'
            parts.append(f'<circle {spot} class="spot {shape}"><title>{escape(said)}</title></circle>')
        (x, y), last = drawn[-1], left + width
        if x < last - 1:  # it went no further: its name stands there
            parts.append(text(x, y - 10, name, "middle"))
        else:
            ends.append(((x, y), name, shape))
    lowest = 0.0
    for (x, y), name, shape in sorted(ends, key=lambda end: end[0][1]):  # names stand below each other, not upon
        lowest = max(lowest + LETTERS, y + 4)
        parts.append(line([(x, y), (left + width + 6, lowest - 4)], f"leader {shape}"))
        parts.append(text(left + width + 10, lowest, name, "value" if name == "cpool" else ""))
    return svg(left + width + 110, max(top + height + 44, lowest + 6), parts)


def curve(rows: list[Record], name: str) -> list[tuple[float, float]]:
    """Where something was timed: elements and microseconds, the smallest first."""
    found = ((float(row["elements"]), measured(row, name + MICRO)) for row in rows)
    return sorted((x, y) for x, y in found if y is not None)


PLOTS = (peers_by_class, share_of_limit, time_against_size)
