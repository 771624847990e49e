"""Pairs of fresh processes that time short slices in turn, ABBA: both sides of a ratio lie close together in time."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from .builds import Build
from .process import Process

HARNESS = Path(__file__).resolve().parent
SUITE = HARNESS.parent / "suite"
BASE, HEAD = 0, 1


@dataclass(frozen=True)
class Benchmark:
    """A method of the suite with its parameters, the short name that tables call it by, and what it is judged by."""

    name: str
    params: tuple[str, ...]
    label: str
    clock: str = "cpu"  # "wall" where another thread or a device does the work


@dataclass(frozen=True)
class Slicing:
    """How a benchmark is cut into slices, in each pair of processes."""

    slices: int = 12  # of each side
    slice_s: float = 0.003
    settle_s: float = 0.001  # untimed, before each slice: the other side had the caches
    least: int = 4  # calls in a slice; half as many before it


@dataclass(frozen=True)
class Timings:
    """What one pair of processes measured of one benchmark: seconds per call, in the order in which they were taken."""

    benchmark: str
    pair: int
    n: int  # calls in a slice
    order: str  # which side each slice is of: 0 the base, 1 the head
    wall: list[float] = field(repr=False)
    cpu: list[float] = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


class Lacking(Exception):
    """A side that does not have a benchmark."""

    def __init__(self, side: int, why: str) -> None:
        super().__init__(f"{('base', 'head')[side]}: {why}")
        self.side = side


def _side(build: Build, suite: Path, env: Mapping[str, str], cpu: int | None) -> Process:
    """One side of a pair."""
    path = os.pathsep.join([str(build.path), str(HARNESS.parent)])
    held = [] if cpu is None else [str(cpu)]
    env = {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", **env}
    return Process(["-m", "harness.worker", str(suite), str(build.path), *held], env)


class Pair:
    """Two fresh processes, one for each build; which starts first changes from pair to pair.

    Both are held to one processor, another one for the next pair: of two virtual processors one may be a third slower
    for minutes, as its neighbours are busy, and a process mostly stays where it was.
    """

    def __init__(
        self,
        builds: Sequence[Build],
        number: int,
        env: Mapping[str, str],
        suite: Path = SUITE,
        held: bool = True,
    ) -> None:
        self.number = number
        usable = sorted(os.sched_getaffinity(0)) if held and hasattr(os, "sched_getaffinity") else [None]
        cpu = usable[number // 2 % len(usable)]  # either side starts first on each of them
        started = {side: _side(builds[side], suite, env, cpu) for side in self._sides(0)}
        self.sides = [started[BASE], started[HEAD]]

    def __enter__(self) -> Pair:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for process in self.sides:
            process.close()

    def stamp(self) -> dict[str, Any]:
        """What the head says of this machine and itself."""
        answer: dict[str, Any] = self.sides[HEAD].ask(stamp=True)
        return answer

    def _sides(self, turn: int) -> tuple[int, int]:
        return (BASE, HEAD) if (self.number + turn) % 2 == 0 else (HEAD, BASE)

    def time(self, benchmark: Benchmark, n: int | None, slicing: Slicing, checked: bool) -> Timings:
        """Time a benchmark's slices; `n` calls each, or as many as fill one on the base."""
        for side in self._sides(0):
            question = {"benchmark": benchmark.name, "params": benchmark.params, "checked": checked}
            lacking = self.sides[side].ask(**question)
            if lacking is not None:
                raise Lacking(side, lacking)
        n = n or max(slicing.least, *(self.sides[BASE].ask(seconds=slicing.slice_s) for _ in range(3)))
        settle = max(slicing.least // 2, round(n * slicing.settle_s / slicing.slice_s))
        order = [side for turn in range(slicing.slices) for side in self._sides(turn)]
        taken = [self.sides[side].ask(n=n, settle=settle) for side in order]
        wall, cpu = ([t[i] for t in taken] for i in (0, 1))
        return Timings(benchmark.label, self.number, n, "".join(map(str, order)), wall, cpu)
