"""Calls timed in turn: each round gives every call a short slice, so that drift and noise hit all alike."""

from __future__ import annotations

import math
import statistics
import timeit
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol


class Call(Protocol):
    """Something that can be run n times and says how long that took."""

    def time(self, n: int) -> float:
        """Seconds that n runs took."""


class Statement:
    """A Python statement, run in a loop as `timeit` does it: what a user's own loop would pay."""

    def __init__(self, text: str, **names: Any) -> None:
        self.text = text
        self.names = names
        self._timer = timeit.Timer(text, globals=names)

    def time(self, n: int) -> float:
        """Seconds that n runs took."""
        return self._timer.timeit(n)

    def value(self) -> Any:
        """What the statement evaluates to."""
        return eval(self.text, dict(self.names))


class Loop:
    """A native function that runs n times by itself."""

    def __init__(self, text: str, run: Callable[[int], object]) -> None:
        self.text = text
        self._run = run

    def time(self, n: int) -> float:
        """Seconds that n runs took."""
        begun = timeit.default_timer()
        self._run(n)
        return timeit.default_timer() - begun


@dataclass(frozen=True)
class Effort:
    """How much time a comparison gets."""

    rounds: int = 7
    slice_s: float = 0.015
    settle_s: float = 0.002  # untimed, before each slice: wakes the threads, fills the caches

    def shorter(self) -> Effort:
        """As long in all, in more and shorter slices: what is compared lies closer together in time."""
        return replace(self, rounds=20 * self.rounds, slice_s=self.slice_s / 20, settle_s=self.settle_s / 20)


def repetitions(call: Call, seconds: float) -> int:
    """How many runs fill `seconds`, warmed up; at least one."""
    call.time(1)
    n = 1
    while True:
        took = call.time(n)
        if took >= seconds / 4 or n >= 10**7:
            return max(1, round(n * seconds / max(took, 1e-9)))
        n = max(2 * n, min(10 * n, math.ceil(n * seconds / 2 / max(took, 1e-9))))


def quickest(call: Call, seconds: float = 0.002, tries: int = 5) -> float:
    """Seconds per run, the least of some tries: to choose between ways, never to report."""
    n = repetitions(call, seconds)
    return min(call.time(n) for _ in range(tries)) / n


def in_turn(calls: Mapping[str, Call], effort: Effort) -> dict[str, list[float]]:
    """Seconds per run of each call, one sample a round; a round starts where the last one did not."""
    names = list(calls)
    counts = {name: repetitions(calls[name], effort.slice_s) for name in names}
    samples: dict[str, list[float]] = {name: [] for name in names}
    for r in range(effort.rounds):
        first = r % len(names)
        for name in names[first:] + names[:first]:
            call, n = calls[name], counts[name]
            settle = round(n * effort.settle_s / effort.slice_s)
            if settle or n > 1:
                call.time(max(1, settle))
            samples[name].append(call.time(n) / n)
    return samples


def ratio(over: list[float], under: list[float]) -> float:
    """The median of the ratios of samples that were taken side by side."""
    return statistics.median(a / b for a, b in zip(over, under, strict=True))


def spread(samples: list[float]) -> float:
    """Half the distance of the quartiles, as a share of the median."""
    if len(samples) < 4:
        return (max(samples) - min(samples)) / 2 / statistics.median(samples)
    low, middle, high = statistics.quantiles(samples, n=4)
    return (high - low) / 2 / middle


def geometric_mean(values: list[float]) -> float | None:
    """The geometric mean; None of nothing."""
    return math.exp(statistics.fmean(map(math.log, values))) if values else None
