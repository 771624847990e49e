"""What was promised, as a table, and which rows miss it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .compare import Line, mean_over

BEYOND = ("L3", "DRAM")
SMALL = ("tiny", "L2")
ALL = SMALL + BEYOND
ESTIMATED = 0.9  # of the core's shapes have an estimate within a factor of 2


@dataclass(frozen=True)
class Finding:
    """A goal held against what was measured."""

    goal: str
    threads: int | None
    found: str
    met: bool
    missing: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The finding as plain data."""
        return {
            "goal": self.goal,
            "threads": self.threads,
            "found": self.found,
            "met": self.met,
            "missing": self.missing,
        }


def at_most(goal: str, value: float, bound: float, unit: str, threads: int | None = None) -> Finding:
    """A goal of one figure that must not be passed."""
    return Finding(f"{goal}: at most {bound:g} {unit}", threads, f"{value:.3g} {unit}", value <= bound)


def at_least(goal: str, value: float, bound: float, threads: int | None = None) -> Finding:
    """A goal of one ratio that must be reached."""
    return Finding(f"{goal}: at least {bound:g}", threads, f"{value:.3g}", value >= bound)


def believed(line: Line) -> float | None:
    """The share of the limit that is believed reachable for a float32 row on several threads."""
    regime, channels = line.row.regime, line.row.shape[1]
    whole = regime in ("global", "global small")
    if line.tier == "tiny":
        return None
    if line.tier == "L2":  # float64 sums cost most here
        return 0.35 if whole or line.copies else 0.30
    if line.copies:
        return 0.95
    if line.layout == "last" and channels > 1:
        return 0.97 if channels >= 64 else 0.90
    if whole:
        return 1.10 if line.tier == "DRAM" and line.bytes_in > 200e6 else 0.98
    return {"image": 0.85, "quarters": 0.97}.get(regime, 0.93)


def large(line: Line) -> float | None:
    """The share of the limit for windows of a thousand elements and more."""
    window = line.bytes_in // max(line.bytes_out, 1)
    return 0.9 if line.tier in BEYOND and window >= 1000 else None


def tiled(line: Line) -> float | None:
    """The share of the limit for gradients of windows that neither overlap nor leave gaps."""
    return 0.8 if line.tier in BEYOND and line.row.kind == "tiled" else None


@dataclass(frozen=True)
class Goal:
    """At least so many times as fast as a peer: each row, or the rows' geometric mean."""

    text: str
    dtypes: tuple[str, ...]
    layouts: tuple[str, ...]
    peer: str
    least: float | Callable[[Line], float | None]
    mean: bool = False
    tiers: tuple[str, ...] = ALL
    one_thread: bool = False
    set: str = "core"

    def judge(self, lines: Sequence[Line], threads: int) -> Finding | None:
        """What the lines of so many threads say; None if they say nothing."""
        if self.one_thread != (threads == 1):
            return None
        mine = [
            line
            for line in lines
            if line.threads == threads
            and line.row.set == self.set
            and line.dtype in self.dtypes
            and line.layout in self.layouts
            and line.tier in self.tiers
            and line.over(self.peer) is not None
        ]
        if self.mean:
            average = mean_over(mine, self.peer)
            if average is None or not isinstance(self.least, float):
                return None
            return Finding(self.text, threads, f"{average:.2f} over {len(mine)} rows", average >= self.least)
        judged, missing = 0, []
        for line in mine:
            least = self.least if isinstance(self.least, float) else self.least(line)
            if least is None:
                continue
            judged += 1
            found = line.over(self.peer) or 0.0
            if found < least:
                several = len(self.layouts) > 1
                where = f" {line.layout}" if several else ""
                missing.append(f"{line.row.name}{where} ({line.tier}): {found:.2f} of {least:.2f}")
        if not judged:
            return None
        met = judged - len(missing)
        return Finding(self.text, threads, f"{met} of {judged} rows", not missing, tuple(missing))


FIRST, LAST, BOTH = ("first",), ("last",), ("first", "last")
F32, F64 = ("float32",), ("float64",)


def _half(name: str) -> tuple[Goal, ...]:
    return (
        Goal(f"{name}, channels first, beyond L2: 10 times torch, mean", (name,), FIRST, "torch", 10.0, True, BEYOND),
        Goal(f"{name}, channels first, beyond L2: 10 times torch, each", (name,), FIRST, "torch", 10.0, False, BEYOND),
        Goal(f"{name}, channels first, smaller: 5 times torch, mean", (name,), FIRST, "torch", 5.0, True, SMALL),
        Goal(f"{name}, channels first, smaller: 5 times torch, each", (name,), FIRST, "torch", 5.0, False, SMALL),
        Goal(f"{name}, channels last: 0.95 of torch, each", (name,), LAST, "torch", 0.95),
    )


def _back(name: str) -> tuple[Goal, ...]:
    return (
        Goal(f"{name}, channels first: 3 times torch, mean", F32, FIRST, "torch", 3.0, True, set=name),
        Goal(f"{name}: 0.95 of torch, each", F32, BOTH, "torch", 0.95, set=name),
        Goal(f"{name}, tiled beyond L2: 0.8 of the limit, each", F32, BOTH, "limit", tiled, set=name),
    )


GOALS = (
    Goal("float32, channels first: 4 times torch, mean", F32, FIRST, "torch", 4.0, True),
    Goal("float32, channels last: 2.2 times torch, mean", F32, LAST, "torch", 2.2, True),
    Goal("float32: 0.95 of torch, each", F32, BOTH, "torch", 0.95),
    Goal("float32: the share of the limit believed reachable, each", F32, BOTH, "limit", believed),
    Goal("float32, one thread: 0.95 of torch on one, each", F32, BOTH, "torch", 0.95, one_thread=True),
    *_half("float16"),
    *_half("bfloat16"),
    Goal("float64, channels first: twice torch, mean", F64, FIRST, "torch", 2.0, True),
    Goal("float64, channels first: twice torch, each", F64, FIRST, "torch", 2.0),
    Goal("float64, beyond L2: 0.9 of torch, each", F64, BOTH, "torch", 0.9, False, BEYOND),
    Goal(
        "uint8 planes, one thread: faster than Pillow, each",
        ("uint8",),
        BOTH,
        "Pillow",
        1.0,
        one_thread=True,
        set="images",
    ),
    Goal("max, channels first: 9 times torch, mean", F32, FIRST, "torch", 9.0, True, set="max"),
    Goal("max, channels last: 3 times torch, mean", F32, LAST, "torch", 3.0, True, set="max"),
    Goal("max: 0.95 of torch, each", F32, BOTH, "torch", 0.95, set="max"),
    Goal("max, large windows beyond L2: 0.9 of the read limit, each", F32, BOTH, "limit", large, set="max"),
    *(
        Goal(f"strided: no slower than {peer}, each", F32, BOTH, peer, 1.0, set="strided")
        for peer in ("torch", "onnxruntime", "openvino")
    ),
    Goal("max with indices: 0.95 of torch, each", F32, BOTH, "torch", 0.95, set="max pair"),
    *_back("gradient"),
    *_back("max gradient"),
    Goal("squeeze-excite: at least as fast as torch, each", F32, BOTH, "torch", 1.0, set="excite"),
    Goal(
        "squeeze-excite beyond L2: 1.4 times the limit, each", F32, BOTH, "limit", 1 / 1.4, False, BEYOND, set="excite"
    ),
)


def judge(lines: Sequence[Line]) -> list[Finding]:
    """Every goal that the lines say something about."""
    counts = sorted({line.threads for line in lines}, reverse=True)
    found = (goal.judge(lines, threads) for goal in GOALS for threads in counts)
    return [finding for finding in found if finding is not None]
