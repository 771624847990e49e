"""The gate at work: pairs of processes until every benchmark has its verdict or the time is up, and the report."""

from __future__ import annotations

import math
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .builds import Build
from .machine import usable_cpus
from .output import table
from .pairs import BASE, SUITE, Benchmark, Lacking, Pair, Slicing, Timings
from .verdict import LEVEL, SCREEN, Course, Verdict, log_ratios

ENVIRONMENT = {"CPOOL_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
DECIDED = {Verdict.SLOWER: 0, Verdict.UNKNOWN: 1, Verdict.FASTER: 2, Verdict.SAME: 3}  # the order of the report


class NothingMeasured(Exception):
    """A gate that did not run what it was asked for."""


@dataclass
class Judged:
    """A benchmark, its timings and the course of its verdict."""

    benchmark: Benchmark
    course: Course = field(default_factory=Course)
    timings: list[Timings] = field(default_factory=list)
    lacking: str | None = None  # why the base has no such thing

    def add(self, taken: Timings) -> None:
        """What one more pair measured."""
        self.timings.append(taken)
        wall = log_ratios(taken.order, taken.wall)
        by_clock = wall if self.benchmark.clock == "wall" else log_ratios(taken.order, taken.cpu)
        self.course.add(by_clock, wall)

    @property
    def seconds(self) -> float:
        """The median time of a call of the base, by the clock that is judged."""
        taken = [
            t
            for one in self.timings
            for side, t in zip(one.order, getattr(one, self.benchmark.clock), strict=True)
            if side == str(BASE)
        ]
        return statistics.median(taken)


@dataclass
class Outcome:
    """What a run of the gate found."""

    builds: Sequence[Build]
    judged: list[Judged]
    reported: list[Judged]
    seconds: float
    stamp: dict[str, Any]

    @property
    def found(self) -> list[Judged]:
        """What was judged."""
        return [one for one in self.judged if one.timings]

    @property
    def slower(self) -> list[Judged]:
        """What got slower."""
        return [one for one in self.found if one.course.verdict is Verdict.SLOWER]

    def check(self) -> None:
        """Each benchmark that was asked for has timings, unless the base lacks it; and some have a verdict."""
        silent = [one.benchmark.label for one in self.judged if not one.timings and not one.lacking]
        if silent:
            raise NothingMeasured(f"of {len(self.judged)} benchmarks these were not measured: {', '.join(silent)}")
        if not self.found:
            raise NothingMeasured(f"none of {len(self.judged)} benchmarks was measured: the base has none of them")
        if not any(one.course.done for one in self.found):
            raise NothingMeasured(
                f"none of {len(self.found)} benchmarks got as far as a verdict in {self.seconds:.0f} s"
            )

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain data, every slice included."""
        return {
            "base": {"name": self.builds[0].name, "id": self.builds[0].id},
            "head": {"name": self.builds[1].name, "id": self.builds[1].id},
            "seconds": self.seconds,
            "stamp": self.stamp,
            "judged": [_plain(one) for one in self.judged],
            "reported": [_plain(one) for one in self.reported],
        }

    def markdown(self) -> str:
        """The report, as a comment on a pull request would have it."""
        base, head = self.builds
        counted = Counter(one.course.verdict for one in self.found)
        verdicts = ", ".join(f"{counted[v]} {v.value}" for v in DECIDED if counted[v])
        lines = [
            f"## {'Slower' if self.slower else 'Not slower'}: {head.name} ({head.id}) against {base.name} ({base.id})",
            f"{len(self.found)} benchmarks on one thread: {verdicts}. {self.seconds:.0f} s."
            + (" The time was up." if not all(one.course.done for one in self.found) else ""),
            table(
                ["benchmark", "verdict", "time, head over base", "by the wall's clock", "base, us", "pairs"],
                [_line(one) for one in sorted(self.found, key=lambda one: DECIDED[one.course.verdict])],
            ),
        ]
        rows = [
            (one.benchmark.label, one.course.by_wall, f"{one.seconds * 1e6:.1f}", len(one.timings))
            for one in self.reported
            if one.timings
        ]
        if rows:
            lines += ["Reported, not judged:", table(["benchmark", "by the wall's clock", "base, us", "pairs"], rows)]
        lacking = [one for one in [*self.judged, *self.reported] if one.lacking]
        if lacking:
            lines += ["Not in the base: " + "; ".join(f"{one.benchmark.label} ({one.lacking})" for one in lacking)]
        lines += [_what_it_means(self.found), stamped(self.stamp)]
        return "\n\n".join(lines) + "\n"


def _plain(one: Judged) -> dict[str, Any]:
    course = one.course
    found = {} if not one.timings else {"verdict": course.verdict.value, "found": vars(course.found)}
    timings = [taken.to_dict() for taken in one.timings]
    return {
        "benchmark": vars(one.benchmark),
        "lacking": one.lacking,
        "fresh": course.fresh,
        **found,
        "timings": timings,
    }


def _line(one: Judged) -> tuple[object, ...]:
    course = one.course
    words = f"**{course.verdict.value}**" if course.verdict is Verdict.SLOWER else course.verdict.value
    words += " (waits)" if course.waits else ""
    pairs = f"{course.decided_by} fresh" if course.fresh else str(course.decided_by)
    return one.benchmark.label, words, course.found, course.by_wall, f"{one.seconds * 1e6:.1f}", pairs


def _what_it_means(found: Sequence[Judged]) -> str:
    widest = max((one.course.found.high - one.course.found.low) / 2 for one in found)
    return (
        "Ratios of slices taken in turn by pairs of fresh processes, medians of each pair; intervals of "
        f"{100 * LEVEL:g} % over the pairs, the widest {100 * math.expm1(widest):.1f} % to each side. Judged by the "
        "thread's processor time; a call that waits shows by the wall's clock."
    )


def stamped(stamp: dict[str, Any]) -> str:
    """What figures belong to, in a line."""
    return "; ".join(f"{name} {value}" for name, value in stamp.items() if value not in (None, [], {}))


def run(
    builds: Sequence[Build],
    judged: Sequence[Benchmark],
    reported: Sequence[Benchmark] = (),
    budget: float = 235,
    say: Callable[[str], None] = lambda text: None,
    suite: Path = SUITE,
    slicing: Slicing | None = None,
) -> Outcome:
    """Measure until every benchmark has its verdict, or for so many seconds."""
    begun = time.monotonic()
    slicing = slicing or Slicing()
    ones, others = [Judged(b) for b in judged], [Judged(b) for b in reported]
    stamp: dict[str, Any] = {}
    number = 0

    def left() -> float:
        return begun + budget - time.monotonic()

    def pair(some: Sequence[Judged], alone: bool) -> None:
        nonlocal stamp, number
        with Pair(builds, number, ENVIRONMENT if alone else {}, suite, held=alone) as sides:
            stamp = stamp or {**sides.stamp(), "cpus": usable_cpus()}
            for one in some:
                if left() < 0 and one.timings:
                    return
                say(f"pair {number + 1}: {one.benchmark.label}")
                n = one.timings[0].n if one.timings else None
                try:
                    one.add(sides.time(one.benchmark, n, slicing, checked=not one.timings))
                except Lacking as error:
                    if error.side != BASE:
                        raise NothingMeasured(f"the head lacks {one.benchmark.label}: {error}") from error
                    one.lacking = str(error)
        number += 1

    for _ in range(SCREEN if others else 0):
        if left() > 3 / 4 * budget:  # the rest is for what is judged
            pair([one for one in others if not one.lacking], alone=False)
    while left() > 0 and (undone := [one for one in ones if not one.lacking and not one.course.done]):
        pair(undone, alone=True)
    outcome = Outcome(builds, ones, others, time.monotonic() - begun, stamp)
    outcome.check()
    return outcome
