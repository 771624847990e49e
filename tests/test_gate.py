"""The gate: what timings say, simulated and recorded, and that no run that measured nothing passes."""

from __future__ import annotations

import itertools
import json
import math
import random
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
if not BENCHMARKS.is_dir():
    pytest.skip("the tests are run without the source tree", allow_module_level=True)
sys.path.insert(0, str(BENCHMARKS))

from harness import builds, gating  # noqa: E402
from harness.builds import Build, BuildError  # noqa: E402
from harness.pairs import Benchmark, Slicing, Timings  # noqa: E402
from harness.verdict import (  # noqa: E402
    ENOUGH,
    SAME,
    SCREEN,
    Course,
    Estimate,
    Verdict,
    cut,
    estimate,
    log_ratios,
    plain_estimate,
    share,
)

RECORDED = json.loads((Path(__file__).parent / "gate_recorded.json").read_text())
SLOWER, SAME_VERDICT, UNKNOWN = Verdict.SLOWER, Verdict.SAME, Verdict.UNKNOWN


# ---- statistics --------------------------------------------------------------------------------------


def test_ratios_are_of_neighbours_and_head_over_base() -> None:
    assert log_ratios("0110", [1.0, 2.0, 6.0, 3.0]) == pytest.approx([math.log(2), math.log(2)])


@pytest.mark.parametrize("n", [1, 2, 5, 6, 8, 11])
@pytest.mark.parametrize("level", [0.5, 0.9, 0.99])
def test_the_cut_is_what_counting_all_signs_gives(n: int, level: float) -> None:
    sums = sorted(sum(itertools.compress(range(1, n + 1), signs)) for signs in itertools.product((0, 1), repeat=n))
    k = cut(n, level)
    below = sum(s <= k for s in sums)  # the interval from the (k+1)-th Walsh average misses on one side
    assert 2 * below <= (1 - level) * 2**n or k == 0
    assert 2 * sum(s <= k + 1 for s in sums) > (1 - level) * 2**n


def test_an_interval_covers_as_often_as_it_says() -> None:
    chance = random.Random(1)
    missed = 0
    for _ in range(4000):
        # skewed, heavy tails: what a side suffers is as likely on the other
        clusters = [[chance.paretovariate(2) - chance.paretovariate(2)] for _ in range(10)]
        found = estimate(clusters, 0.9)
        missed += not found.low <= 0 <= found.high
    assert 0.06 < missed / 4000 <= 0.105


@pytest.mark.parametrize("by", [estimate, plain_estimate])
def test_an_estimate_lies_within_its_interval_and_moves_with_the_data(by: Callable[..., Estimate]) -> None:
    chance = random.Random(2)
    clusters = [[chance.gauss(0, 1) for _ in range(5)] for _ in range(12)]
    found, moved = by(clusters), by([[value + 3 for value in cluster] for cluster in clusters])
    assert found.low < found.middle < found.high
    assert (moved.low, moved.middle, moved.high) == pytest.approx(
        [v + 3 for v in (found.low, found.middle, found.high)]
    )
    medians = [statistics.median(cluster) for cluster in clusters]
    assert min(medians) <= found.low
    assert found.high <= max(medians)


def test_of_few_clusters_the_interval_is_all_that_was_seen() -> None:
    found = estimate([[3.0], [1.0], [2.0], [6.0], [5.0], [4.0]])
    assert (found.low, found.high, found.clusters) == (1.0, 6.0, 6)


def test_nothing_measured_is_no_estimate() -> None:
    with pytest.raises(ValueError, match="clusters is empty"):
        estimate([])


@pytest.mark.parametrize(
    ("hits", "of", "low", "high"),
    [(0, 20, 0, 0.16843), (19, 20, 0.75127, 0.99873), (20, 20, 0.83157, 1), (1, 20, 0.00127, 0.24873)],
)
def test_the_interval_of_a_share_is_the_exact_one(hits: int, of: int, low: float, high: float) -> None:
    assert share(hits, of) == pytest.approx((low, high), abs=1e-5)


# ---- verdicts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "middle", "high", "clusters", "expected"),
    [
        (0.05, 0.08, 0.12, ENOUGH, SLOWER),
        (-0.12, -0.08, -0.05, ENOUGH, Verdict.FASTER),
        (-0.01, 0.0, 0.01, ENOUGH, SAME_VERDICT),
        (0.01, 0.015, 0.02, ENOUGH, SAME_VERDICT),  # there is a difference, but not one worth the name
        (-0.01, 0.0, 0.01, ENOUGH - 1, UNKNOWN),  # the same wants more than a difference does
        (0.05, 0.08, 0.12, SCREEN, SLOWER),
        (0.05, 0.08, 0.12, SCREEN - 1, UNKNOWN),
        (-0.02, 0.04, 0.12, ENOUGH, UNKNOWN),
        (0.001, 0.02, 0.05, ENOUGH, UNKNOWN),
    ],
)
def test_a_verdict_wants_an_interval(low: float, middle: float, high: float, clusters: int, expected: Verdict) -> None:
    assert Estimate(middle, low, high, clusters).verdict is expected


def fill(course: Course, values: list[float]) -> Course:
    for value in values:
        course.add([value])
    return course


def test_what_looked_bad_is_decided_by_fresh_pairs_alone() -> None:
    course = fill(Course(), [0.2] * SCREEN)
    assert course.fresh == SCREEN
    assert not course.done
    assert course.verdict is UNKNOWN
    fill(course, [0.0] * ENOUGH)
    assert course.done
    assert course.verdict is SAME_VERDICT
    assert course.found.high == 0.0


def test_where_fresh_pairs_cannot_tell_there_are_twice_as_many() -> None:
    torn = [0.2, -0.2] * (ENOUGH // 2)
    course = fill(Course(), [0.2] * SCREEN + torn)
    assert not course.done
    assert course.verdict is UNKNOWN
    fill(course, [0.0] * (ENOUGH - 1))
    assert not course.done
    assert fill(course, [0.0]).done


def test_what_turns_bad_later_is_decided_by_fresh_pairs_too() -> None:
    course = fill(Course(), [0.0] * SCREEN + [0.3] * (ENOUGH - SCREEN))
    assert course.fresh == ENOUGH
    assert fill(course, [0.08] * ENOUGH).verdict is SLOWER


def test_what_looks_the_same_twice_is_the_same() -> None:
    course = fill(Course(), [0.001] * ENOUGH)
    assert (course.fresh, course.done, course.verdict) == (0, True, SAME_VERDICT)


def test_a_call_that_waits_is_slower_by_the_wall() -> None:
    course = Course()
    for _ in range(SCREEN + ENOUGH):
        course.add([0.0], [0.5])
    assert course.fresh == SCREEN
    assert course.waits
    assert course.verdict is SLOWER


# ---- simulated machines ------------------------------------------------------------------------------


class Machine:
    """Something to take slices on: 18 pairs of processes with their luck, and a noise of its own."""

    def __init__(self, seed: int, noise: Callable[[random.Random, float], float]) -> None:
        self.chance = random.Random(seed)
        self.noise = noise
        self.time = 0

    def cluster(self, number: int, head: float) -> list[float]:
        luck = [self.chance.gauss(0, 0.015) for _ in range(2)]
        order = "".join("01" if (number + turn) % 2 == 0 else "10" for turn in range(6))
        seconds = []
        for side in order:
            self.time += 1
            seconds.append(math.exp(luck[int(side)] + head * int(side)) * self.noise(self.chance, self.time / 300))
        return log_ratios(order, seconds)

    def verdict(self, head: float) -> Verdict:
        course = Course()
        for number in itertools.count():
            if course.done:
                return course.verdict
            course.add(self.cluster(number, head))
        raise AssertionError


NOISES: dict[str, Callable[[random.Random, float], float]] = {
    "quiet": lambda chance, t: math.exp(chance.gauss(0, 0.005)),
    "drift": lambda chance, t: (1 + 2 * t) * math.exp(chance.gauss(0, 0.02)),
    "a step": lambda chance, t: (1.0 if t < 0.4 else 1.9) * math.exp(chance.gauss(0, 0.02)),
    "two modes": lambda chance, t: (1.0 if chance.random() < 0.6 else 1.3) * math.exp(chance.gauss(0, 0.01)),
    "outliers": lambda chance, t: (
        math.exp(chance.gauss(0, 0.02)) * (1 if chance.random() < 0.9 else chance.uniform(2, 20))
    ),
}


@pytest.mark.parametrize("noise", NOISES)
def test_a_slow_down_of_a_tenth_is_found_and_a_speed_up_too(noise: str) -> None:
    least = {"two modes": 0.6, "outliers": 0.95}.get(noise, 0.99)
    slower = Counter(Machine(seed, NOISES[noise]).verdict(math.log(1.1)) for seed in range(100))
    faster = Counter(Machine(seed, NOISES[noise]).verdict(-math.log(1.1)) for seed in range(100))
    assert slower[SLOWER] >= 100 * least
    assert faster[Verdict.FASTER] >= 100 * least
    assert not slower[SAME_VERDICT]
    assert not faster[SAME_VERDICT]


@pytest.mark.parametrize("noise", NOISES)
def test_in_twenty_runs_of_thirty_that_are_the_same_there_is_at_most_one_alarm(noise: str) -> None:
    found = Counter(Machine(seed, NOISES[noise]).verdict(0.0) for seed in range(600))
    most = 1 if noise == "two modes" else 0
    assert found[SLOWER] <= most
    assert found[Verdict.FASTER] <= most
    if noise == "quiet":
        assert found[SAME_VERDICT] > 550


def test_means_and_minima_would_be_misled() -> None:
    """Why not the usual: a machine whose second half is slower, and which the head happened to see last."""
    machine = Machine(3, NOISES["a step"])
    one_after_another = [machine.noise(machine.chance, i / 40) for i in range(40)]
    base, head = one_after_another[:20], one_after_another[20:]
    assert statistics.fmean(head) / statistics.fmean(base) > 1.3
    assert min(head) / min(base) > 1.3
    assert machine.verdict(0.0) in (SAME_VERDICT, UNKNOWN)


# ---- recorded on a shared machine ----------------------------------------------------------------------


def replay(runs: list[dict[str, Any]], first: int = 0) -> Course:
    course = Course()
    for taken in runs[first:] + runs[:first]:
        if not course.done:
            course.add(log_ratios(taken["order"], taken["cpu"]), log_ratios(taken["order"], taken["wall"]))
    return course


@pytest.mark.parametrize("name", RECORDED["same"])
def test_recorded_timings_of_the_same_raise_no_alarm(name: str) -> None:
    runs = RECORDED["same"][name]
    assert len(runs) == 24
    for first in range(0, 24, 2):  # the pairs in other orders: each begins the screening elsewhere
        assert replay(runs, first).verdict in (SAME_VERDICT, UNKNOWN)


@pytest.mark.parametrize("name", RECORDED["planted"])
def test_recorded_timings_of_a_planted_tenth_are_found(name: str) -> None:
    course = replay(RECORDED["planted"][name])
    assert course.done
    assert course.verdict is SLOWER
    assert 0.05 < course.found.middle < 0.15


def test_processor_time_tells_more_than_the_wall() -> None:
    """What the choice of the clock rests on."""
    widths = {clock: [] for clock in ("cpu", "wall")}
    for runs in RECORDED["same"].values():
        for clock, found in widths.items():
            each = estimate([log_ratios(taken["order"], taken[clock]) for taken in runs])
            found.append(each.high - each.low)
    assert statistics.median(widths["cpu"]) < statistics.median(widths["wall"]) / 2


# ---- the whole way ---------------------------------------------------------------------------------------

FAKE = """
__version__ = "0"
def show_config(mode): return {{"simd": {{"used": "none"}}, "build": "none"}}
def work():
    total = 0
    for i in range({count}):
        total += i
{more}
"""
SUITE = """
import cpool
class Some:
    def setup(self, what): self.call = getattr(cpool, what)
    def time_call(self, what): self.call()
"""
QUICK = Slicing(slices=4, slice_s=0.002, settle_s=0.0005)


@pytest.fixture
def made(tmp_path: Path) -> dict[str, Any]:
    """Two packages, the second slower by a third, and a suite for them."""
    suite = tmp_path / "mine"
    suite.mkdir()
    (suite / "__init__.py").touch()
    (suite / "some.py").write_text(SUITE)
    for name, count, more in (("base", 3000, ""), ("head", 4000, "def new(): pass")):
        (tmp_path / name / "cpool").mkdir(parents=True)
        (tmp_path / name / "cpool" / "__init__.py").write_text(FAKE.format(count=count, more=more))
    return {"suite": suite, "builds": [builds.build(str(tmp_path / name)) for name in ("base", "head")], "at": tmp_path}


def one(what: str) -> Benchmark:
    return Benchmark("some.Some.time_call", (what,), what)


def test_a_slower_build_is_told_by_figure_report_and_status(made: dict[str, Any]) -> None:
    outcome = gating.run(made["builds"], [one("work"), one("new")], [], 100, suite=made["suite"], slicing=QUICK)
    [slower] = outcome.slower
    assert slower.benchmark.label == "work"
    assert 0.2 < slower.course.found.middle < 0.4
    assert slower.course.decided_by == ENOUGH
    report = outcome.markdown()
    assert report.startswith("## Slower: ")
    assert "**slower**" in report
    assert "1 benchmarks on one thread: 1 slower" in report
    assert "Not in the base: new (base: AttributeError" in report
    plain = outcome.to_dict()["judged"][0]
    again = Course()
    for taken in (Timings(**each) for each in plain["timings"]):
        again.add(log_ratios(taken.order, taken.cpu), log_ratios(taken.order, taken.wall))
    assert again.verdict.value == plain["verdict"] == "slower"
    json.dumps(outcome.to_dict())


def test_a_run_that_measures_nothing_is_an_error(made: dict[str, Any]) -> None:
    with pytest.raises(gating.NothingMeasured, match="none of 1 benchmarks"):
        gating.run(made["builds"], [one("new")], [], 20, suite=made["suite"], slicing=QUICK)
    with pytest.raises(gating.NothingMeasured, match="not measured: work"):
        gating.run(made["builds"], [one("work")], [], 0, suite=made["suite"], slicing=QUICK)
    with pytest.raises(gating.NothingMeasured, match="none of 1 benchmarks got as far as a verdict"):
        gating.run(made["builds"], [one("work")], [], 0.5, suite=made["suite"], slicing=QUICK)
    with pytest.raises(gating.NothingMeasured, match="the head lacks new"):
        gating.run(made["builds"][::-1], [one("new")], [], 20, suite=made["suite"], slicing=QUICK)


def test_a_process_that_imports_another_cpool_is_an_error(made: dict[str, Any]) -> None:
    wrong = [Build("nowhere", made["at"] / "nowhere"), made["builds"][1]]
    with pytest.raises(RuntimeError, match="ended with status 1"):
        gating.run(wrong, [one("work")], [], 20, suite=made["suite"], slicing=QUICK)


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["no-such-revision"], 2, "no-such-revision"),
        (
            ["{base}", "--head", "{base}", "--only", "no such benchmark"],
            2,
            "0 benchmarks are to be judged",
        ),
        (["{base}", "--head", "{head}", "--suite", "{suite}", "--benchmarks", "{list}", "--out", "{report}"], 1, ""),
    ],
)
def test_the_command_tells_by_its_status(made: dict[str, Any], arguments: list[str], status: int, said: str) -> None:
    at = made["at"]
    (at / "list.json").write_text(json.dumps([{"name": "some.Some.time_call", "params": ["work"], "label": "work"}]))
    names = {"base": at / "base", "head": at / "head", "suite": made["suite"], "list": at / "list.json"}
    command = [text.format(**names, report=at / "report.md") for text in arguments]
    done = subprocess.run([sys.executable, str(BENCHMARKS / "gate.py"), *command], capture_output=True, text=True)
    assert done.returncode == status, done.stderr
    assert said in done.stderr
    if status == 1:
        assert (at / "report.md").read_text().startswith("## Slower")


# ---- builds ------------------------------------------------------------------------------------------------


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with what wheels are made of, and nothing that builds: keys are what is looked at."""
    root = tmp_path / "project"
    (root / "src").mkdir(parents=True)
    for name in ("setup.py", "pyproject.toml", "src/core.c", "README.md"):
        (root / name).write_text(name)
    git = ["git", "-C", str(root), "-c", "user.name=t", "-c", "user.email=t@localhost"]
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "all"]):
        subprocess.run([*git, *command], check=True)
    monkeypatch.setattr(builds, "ROOT", root)
    monkeypatch.setattr(builds, "_made", lambda key, wheel: Path("/", *[str(hash(tuple(key)))]))
    return root


def test_a_build_is_made_anew_for_what_it_is_made_of(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = builds.build("HEAD").path
    assert builds.build(builds.TREE).path == first
    (repository / "README.md").write_text("other words")
    assert builds.build(builds.TREE).path == first
    (repository / "src" / "new.c").write_text("int x;")
    second = builds.build(builds.TREE).path
    assert second != first
    assert builds.build("HEAD").path == first
    assert builds.build(builds.TREE, 10).path not in (first, second)
    monkeypatch.setenv("CC", "another compiler")
    assert builds.build("HEAD").path != first


def test_a_revision_that_is_not_there_is_an_error(repository: Path) -> None:
    with pytest.raises(BuildError, match="rev-parse --verify nothing"):
        builds.build("nothing")


def test_the_margin_is_what_the_documentation_says() -> None:
    assert pytest.approx(math.log(1.03)) == SAME
