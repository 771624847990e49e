"""What the pictures of the site are made of: shapes as SVG, and the tables of Markdown pages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape

Rows = list[list[str]]


def svg(width: float, height: float, parts: Iterable[str]) -> str:
    """A drawing of this size that shrinks with the page, but not until nobody can read it: then it scrolls."""
    body = "\n".join(parts)
    box = f'viewBox="0 0 {width:g} {height:g}" style="max-width: {width:g}px; min-width: {width * 0.72:g}px"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {box} aria-hidden="true">\n{body}\n</svg>'


def text(x: float, y: float, what: object, kind: str = "") -> str:
    """Text that begins at x (kind: "middle" or "end" for the other ways) on the line y."""
    return f'<text x="{x:g}" y="{y:g}" class="{kind}">{escape(str(what))}</text>'


def rect(x: float, y: float, width: float, height: float, kind: str, title: str = "") -> str:
    """A box; its title is shown where the pointer rests on it."""
    inner = f"<title>{escape(title)}</title>" if title else ""
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="3" class="{kind}">{inner}</rect>'


def line(points: Sequence[tuple[float, float]], kind: str) -> str:
    """A line through points."""
    return f'<polyline points="{" ".join(f"{x:g},{y:g}" for x, y in points)}" class="{kind}"/>'


def threaded(count: int | str) -> str:
    """How many threads, in words."""
    return f"{count} thread" + "s" * (str(count) != "1")


def tables(page: str) -> list[Rows]:
    """The tables of a Markdown page, each a list of rows of cells, the header first."""
    found: list[Rows] = []
    inside = False
    for source in page.splitlines():
        if not source.startswith("|"):
            inside = False
            continue
        cells = [cell.strip() for cell in source.strip().strip("|").split("|")]
        if not inside:
            found.append([])
        inside = True
        if not all(re.fullmatch(r":?-+:?", cell) for cell in cells):
            found[-1].append(cells)
    return found
