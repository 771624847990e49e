"""Time against size: the cost must grow as the work does."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .adapters import BASE, Peer
from .cases import Case, Row
from .compare import Line, compare
from .goals import Finding
from .machine import available_memory
from .timing import Effort

POWERS = tuple(range(3, 10))  # of ten: elements
BLOCK = 8  # the side of a window, about
ROOM = 3.2  # times the input: what a case, its right result and a peer's copies need
MEMORY = 10**6  # elements from which on the memory is what takes the time
APART = 2.0  # how far shares of the limit may lie apart there


@dataclass(frozen=True)
class Growth:
    """What was found for one kind of windows and number of threads: a line for each size."""

    kind: str
    threads: int
    lines: list[Line]
    left_out: dict[int, str]

    @property
    def shares(self) -> list[float]:
        """cpool's share of the limit, where the memory takes the time."""
        large = (line for line in self.lines if math.prod(line.row.shape) >= MEMORY)
        return [share for line in large if (share := line.over("limit")) is not None]

    def judge(self) -> Finding | None:
        """Whether the cost grows as the work does: as that of reading does, from the caches to the memory."""
        if len(self.shares) < 2:
            return None
        apart = max(self.shares) / min(self.shares)
        goal = f"{self.kind} windows, from 10^6 elements on: shares of the limit at most {APART:g} times apart"
        return Finding(goal, self.threads, f"{apart:.2f} times over {len(self.shares)} sizes", apart <= APART)


def rows(power: int) -> dict[str, Row]:
    """One plane of about so many elements, made smaller to blocks and to windows that are none."""
    side = BLOCK * round(math.sqrt(10**power) / BLOCK)
    shape = (1, 1, side, side)
    return {"tiled": Row("size", shape, (side // BLOCK,)), "ragged": Row("size", shape, (side // BLOCK - 1,))}


def growth(
    powers: Sequence[int], threads: Sequence[int], peers: Sequence[Peer], effort: Effort, say: Callable[[str], None]
) -> list[Growth]:
    """Each size in turn, with both kinds of windows; sizes that the memory doesn't hold are left out."""
    found = {(kind, count): Growth(kind, count, [], {}) for kind in rows(powers[0]) for count in threads}
    for power in powers:
        for kind, row in rows(power).items():
            wanted, free = ROOM * row.bytes_of("float32")[0], available_memory()
            case = Case(row, "float32", "first") if free is None or wanted <= free else None
            for count in threads:
                say(f"10^{power} elements, {kind}, {count} thread(s)")
                one = found[kind, count]
                if case is None:
                    one.left_out[power] = f"{wanted / 1e9:.0f} GB are needed, {(free or 0) / 1e9:.0f} GB are free"
                else:
                    one.lines.append(compare(case, count, peers, effort))
    return list(found.values())


def head(names: Sequence[str]) -> list[str]:
    """The table's columns."""
    others = [name for name in names if name not in (BASE, "limit")]
    return ["elements", "windows", "threads", "tier", f"{BASE} us", *(f"{n} us" for n in others), "limit us", "share"]


def cells(one: Growth, names: Sequence[str]) -> list[list[str]]:
    """The table's lines: medians, and cpool's share of the limit."""
    timed = [BASE, *(name for name in names if name not in (BASE, "limit")), "limit"]
    made = []
    for line in one.lines:
        took = [line.seconds(name) for name in timed]
        share = line.over("limit")
        said = ["-" if t is None else f"{t * 1e6:.4g}" if t < 0.01 else f"{t * 1e6:.0f}" for t in took]
        begin = [str(math.prod(line.row.shape)), one.kind, str(one.threads), line.tier]
        made.append([*begin, *said, "-" if share is None else f"{share:.2f}"])
    return made
