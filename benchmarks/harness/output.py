"""What people read: tables, as text and as Markdown, and how far it is."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

FIGURE = re.compile(r"[+-]?[\d.]+.*|-?")


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table with aligned columns; those of figures, but the first, are set to the right."""
    lines = [[str(cell) for cell in line] for line in (head, *rows)]
    widths = [max(3, *(len(line[i]) for line in lines)) for i in range(len(head))]
    right = [i > 0 and all(FIGURE.fullmatch(line[i]) for line in lines[1:]) for i in range(len(head))]
    rule = ["-" * (w - 1) + ":" if r else "-" * w for w, r in zip(widths, right, strict=True)]
    padded = [[c.rjust(w) if r else c.ljust(w) for c, w, r in zip(line, widths, right, strict=True)] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in (padded[0], rule, *padded[1:]))


def progress(text: str) -> None:
    """What is being done, on a terminal only."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
