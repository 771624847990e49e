"""Faster, same, slower, or can't tell: what timings that were taken in pairs say, and no more.

Each pair of processes gives a cluster of log-ratios, head over base, of slices that lie next to each other in time.
Within a cluster they share the processes' luck (where memory lies, which processor, what else runs), so what counts is
the cluster's median, and an interval counts clusters. Under "no difference" the two sides could be exchanged, so a
cluster's median is as often below zero as above and as far: that is all that the signed-rank interval asks for, and it
holds exactly for any noise. Nothing here is a minimum, and nothing a mean: a stolen time slice moves neither.

The verdict is taken in two steps. All benchmarks are screened with the first SCREEN pairs. What looks the same goes on
to ENOUGH pairs, and is the same if it still looks so. All else is doubtful, and fresh pairs alone decide, ENOUGH of
them, or twice as many where those can't tell: among thirty benchmarks some look bad by chance, and what was picked
because it looked bad can't be the proof that it is.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum

SCREEN, ENOUGH = 8, 18
SAME = math.log(1.03)  # an interval within this of 0 is the same, a middle within it no difference worth the name
LEVEL = 0.998  # thirty benchmarks, were they all doubtful to the end, would raise an alarm in one run of twenty


class Verdict(str, Enum):
    """What can be said."""

    FASTER = "faster"
    SAME = "same"
    SLOWER = "slower"
    UNKNOWN = "can't tell"


@dataclass(frozen=True)
class Estimate:
    """A log-ratio with its interval, and how many clusters it stands on."""

    middle: float
    low: float
    high: float
    clusters: int

    def __str__(self) -> str:
        """As in +3.1 % (+2.2 to +4.0)."""
        middle, low, high = (f"{100 * math.expm1(value):+.1f}" for value in (self.middle, self.low, self.high))
        return f"{middle} % ({low} to {high})"

    @property
    def calm(self) -> bool:
        """Whether nothing but sameness is in sight."""
        return self.low > -SAME and self.high < SAME

    @property
    def verdict(self) -> Verdict:
        """What this says by itself. The same wants ENOUGH clusters; a difference must be one, and worth the name."""
        if self.clusters >= ENOUGH and self.calm:
            return Verdict.SAME
        if self.clusters >= SCREEN and self.low > 0 and self.middle > SAME:
            return Verdict.SLOWER
        if self.clusters >= SCREEN and self.high < 0 and self.middle < -SAME:
            return Verdict.FASTER
        return Verdict.UNKNOWN


# ---- statistics ------------------------------------------------------------------------------------


def log_ratios(order: str, seconds: Sequence[float]) -> list[float]:
    """The log of head over base for each two slices that lie side by side; `order` says which is which, as in 0110."""
    found = []
    for i in range(0, len(order), 2):
        sides = {order[i]: seconds[i], order[i + 1]: seconds[i + 1]}
        found.append(math.log(sides["1"] / sides["0"]))
    return found


def cut(n: int, level: float) -> int:
    """How many of the sorted Walsh averages of n values lie outside the interval of that level, at each end.

    The k-th smallest is above the true median when the signed ranks of what lies below it sum to less than k. Of
    values too few for the level none is left out: all six cover 96.9 %.
    """
    ways = [1]  # in how many of the 2^n patterns of signs ranks sum to so much
    for r in range(1, n + 1):
        ways = [(ways[s] if s < len(ways) else 0) + (ways[s - r] if s >= r else 0) for s in range(len(ways) + r)]
    outside, k = 0, 0
    while 2 * (outside + ways[k]) <= (1 - level) * 2**n:
        outside += ways[k]
        k += 1
    return max(0, k - 1)


def estimate(clusters: Sequence[Sequence[float]], level: float = LEVEL) -> Estimate:
    """The signed-rank interval of the clusters' medians, and the pseudo-median (Hodges and Lehmann) in its middle."""
    if not clusters:
        raise ValueError("clusters is empty: nothing was measured")
    medians = [statistics.median(cluster) for cluster in clusters]
    walsh = sorted((a + b) / 2 for i, a in enumerate(medians) for b in medians[i:])
    k = cut(len(medians), level)
    return Estimate(statistics.median(walsh), walsh[k], walsh[-1 - k], len(medians))


def plain_estimate(clusters: Sequence[Sequence[float]], level: float = LEVEL) -> Estimate:
    """The plainer statistic, to compare with: the median of all log-ratios, and order statistics of the clusters."""
    medians = sorted(statistics.median(cluster) for cluster in clusters)
    n, outside, k = len(medians), 0, 0
    while k < n // 2 and 2 * (outside + math.comb(n, k)) <= (1 - level) * 2**n:
        outside += math.comb(n, k)
        k += 1
    k = max(0, k - 1)
    middle = statistics.median([value for cluster in clusters for value in cluster])
    low, high = medians[k], medians[-1 - k]
    return Estimate(min(max(middle, low), high), low, high, n)


def share(hits: int, of: int, level: float = 0.95) -> tuple[float, float]:
    """The exact interval (Clopper and Pearson) of a share that was seen as so many hits."""

    def at_least(p: float) -> float:
        return sum(math.comb(of, i) * p**i * (1 - p) ** (of - i) for i in range(hits, of + 1))

    def at_most(p: float) -> float:
        return sum(math.comb(of, i) * p**i * (1 - p) ** (of - i) for i in range(hits + 1))

    def where(rises: Callable[[float], bool]) -> float:
        low, high = 0.0, 1.0
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (low, middle) if rises(middle) else (middle, high)
        return low

    tail = (1 - level) / 2
    return where(lambda p: at_least(p) > tail) if hits else 0.0, where(
        lambda p: at_most(p) < tail
    ) if hits < of else 1.0


# ---- the way to a verdict ----------------------------------------------------------------------------


@dataclass
class Course:
    """One benchmark on its way to a verdict: its clusters, and since when they are fresh.

    Two clocks may be given: what is judged (the thread's processor time, which what else runs here hardly touches), and
    the time on the wall, which also tells of a call that waits.
    """

    clusters: list[list[float]] = field(default_factory=list)
    wall: list[list[float]] = field(default_factory=list)
    fresh: int = 0  # the first of those that decide; more than 0 once it is doubtful
    by: Callable[[Sequence[Sequence[float]]], Estimate] = estimate

    def add(self, cluster: list[float], wall: list[float] | None = None) -> None:
        """One more pair of processes; at the two times when one may look, look."""
        self.clusters.append(cluster)
        self.wall.append(cluster if wall is None else wall)
        if self.fresh or len(self.clusters) not in (SCREEN, ENOUGH):
            return
        if not self.found.calm or self.by_wall.verdict in (Verdict.SLOWER, Verdict.FASTER):
            self.fresh = len(self.clusters)

    @property
    def decided_by(self) -> int:
        """How many clusters there are that may decide."""
        return len(self.clusters) - self.fresh

    @property
    def found(self) -> Estimate:
        """What the clusters say that may decide; while there are none, what raised the doubt."""
        return self.by(self.clusters[self.fresh :] or self.clusters)

    @property
    def by_wall(self) -> Estimate:
        """The same, by the time on the wall."""
        return self.by(self.wall[self.fresh :] or self.wall)

    @property
    def done(self) -> bool:
        """Whether there is enough for a verdict, or so much that more won't help."""
        if self.decided_by == ENOUGH:
            return self._says is not Verdict.UNKNOWN
        return self.decided_by >= 2 * ENOUGH

    @property
    def waits(self) -> bool:
        """Whether the wall tells of a slow-down that the processor doesn't."""
        return self.found.verdict is not Verdict.SLOWER and bool(self.fresh) and self.by_wall.verdict is Verdict.SLOWER

    @property
    def _says(self) -> Verdict:
        return Verdict.SLOWER if self.waits else self.found.verdict

    @property
    def verdict(self) -> Verdict:
        """What may be said now; before there is enough, nothing."""
        return self._says if self.done else Verdict.UNKNOWN
