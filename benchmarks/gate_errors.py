#!/usr/bin/env python3
"""How often is the gate wrong? It is given slow-downs that were planted, and builds that are the same.

A planted slow-down is work of the kernels themselves, a tenth of it done twice, in a build made for this alone. Its
true size is measured within one process, where the plant is switched on and off between slices. `asv continuous` gets
the same pairs. Everything is stored as it comes, so that what was interrupted goes on; --publish writes the table.
"""

from __future__ import annotations

import argparse
import ctypes
import gzip
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from harness import beside
from harness.builds import KEPT, TREE, Build, build
from harness.gating import ENVIRONMENT, run, stamped
from harness.judged import JUDGED, PLANTED
from harness.output import table
from harness.pairs import HARNESS, SUITE, Benchmark, Slicing, Timings
from harness.verdict import Course, Estimate, Verdict, estimate, log_ratios, plain_estimate, share

SHARE = 10  # percent of the work
RUNS = 20
KEEP = KEPT.parent / "errors"
DOCUMENT = HARNESS.parents[1] / "docs" / "gate-errors.md"


# ---- measuring ---------------------------------------------------------------------------------------


def measure(kinds: Sequence[str], runs: int, seconds: float) -> None:
    """Do what is not stored yet."""
    base, planted = build(TREE), build(TREE, SHARE)
    for regime in PLANTED:
        stored(f"size of {regime}", partial(true_size, planted, planted_one(regime)))
    config: list[Path] = []

    def asv(head: str, some: Sequence[Benchmark], **more: str) -> dict[str, Any]:
        config.extend([] if config else [beside.repository({"base": base, "same": base, "planted": planted})])
        begun = time.monotonic()
        slower, said = beside.continuous(config[0], "base", head, some)
        return {**more, "slower": slower, "said": said, "seconds": time.monotonic() - begun}

    def gate(head: Build, some: Sequence[Benchmark], **more: str) -> dict[str, Any]:
        return {**more, **run([base, head], some, budget=seconds).to_dict()}

    for i in range(runs):
        regime = list(PLANTED)[i % len(PLANTED)]
        one = [planted_one(regime)]
        todo: dict[str, Callable[[], dict[str, Any]]] = {
            f"gate planted {i:02}": partial(gate, planted, one, regime=regime),
            f"gate same {i:02}": partial(gate, base, JUDGED),
            f"asv planted {i:02}": partial(asv, "planted", one, regime=regime),
            f"asv same {i:02}": partial(asv, "same", JUDGED),
        }
        for name, work in todo.items():
            if name.rsplit(" ", 1)[0] in kinds:
                stored(name, work)


def stored(name: str, work: Callable[[], dict[str, Any]]) -> None:
    """Do it and store it, unless it is there."""
    path = KEEP / f"{name}.json.gz"
    if path.exists():
        return
    print(name, flush=True)
    found = work()
    KEEP.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_bytes(gzip.compress(json.dumps(found).encode()))
    new.rename(path)


def planted_one(regime: str) -> Benchmark:
    """The benchmark where this regime's slow-down is looked for."""
    return next(b for b in JUDGED if b.label == PLANTED[regime])


# ---- how large the plant is ------------------------------------------------------------------------------


def true_size(planted: Build, benchmark: Benchmark) -> dict[str, Any]:
    """What the plant costs, measured by a process that has it."""
    env = {**os.environ, **ENVIRONMENT, "PYTHONPATH": os.pathsep.join([str(planted.path), str(HARNESS.parent)])}
    command = [sys.executable, __file__, "--size", json.dumps([benchmark.name, benchmark.params])]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    log = estimate([[value] for value in log_ratios(found["order"], found["cpu"])])
    print(f"  {benchmark.label}: the planted slow-down is {log}")
    return found


def switch(benchmark: str, slices: int = 200) -> dict[str, Any]:
    """Slices with the plant off and on, in turn, in this process."""
    from harness.timing import repetitions
    from harness.worker import Held

    import cpool._kernels

    plant = ctypes.c_int.in_dll(ctypes.CDLL(cpool._kernels.__file__), "cpool_planted")
    name, params = json.loads(benchmark)
    sys.path.insert(0, str(SUITE.parent))
    held = Held(SUITE.name, name, params, True)
    n = max(repetitions(held.call, Slicing().slice_s) for _ in range(3))
    order = "0110" * (slices // 2)
    cpu = []
    for side in order:
        plant.value = SHARE if side == "1" else 0
        cpu.append(held.slice(n, max(1, n // 4))[1])
    return {"order": order, "cpu": cpu}


# ---- publishing ----------------------------------------------------------------------------------------


def recorded(kind: str) -> list[dict[str, Any]]:
    """What is stored of this kind, in order."""
    return [json.loads(gzip.decompress(path.read_bytes())) for path in sorted(KEEP.glob(f"{kind}*.json.gz"))]


def again(one: dict[str, Any], clock: str, by: Callable[[Any], Estimate]) -> Verdict:
    """What a benchmark's timings say to another clock and another statistic."""
    course = Course(by=by)
    for taken in (Timings(**t) for t in one["timings"]):
        if not course.done:
            course.add(log_ratios(taken.order, getattr(taken, clock)))
    return course.verdict


def publish() -> str:
    """The counts with their intervals."""
    planted, same = recorded("gate planted"), recorded("gate same")
    ways: dict[str, Callable[[dict[str, Any]], str]] = {
        "**the gate**": lambda one: str(one["verdict"]),
        "processor time, plain medians": lambda one: again(one, "cpu", plain_estimate).value,
        "the wall's clock, signed ranks": lambda one: again(one, "wall", estimate).value,
        "the wall's clock, plain medians": lambda one: again(one, "wall", plain_estimate).value,
    }
    slower, faster = Verdict.SLOWER.value, Verdict.FASTER.value
    rows = []
    for name, way in ways.items():
        hits = sum(way(run["judged"][0]) == slower for run in planted)
        said = [{way(one) for one in run["judged"]} for run in same]
        alarms, changes = (sum(bool(some & wrong) for some in said) for wrong in ({slower}, {slower, faster}))
        rows.append(
            (
                name,
                counted(hits, len(planted)),
                counted(alarms, len(same)),
                counted(changes, len(same)),
                seconds_of(same),
            )
        )
    asv_planted, asv_same = recorded("asv planted"), recorded("asv same")
    if asv_planted or asv_same:
        hits, alarms = (sum(run["slower"] for run in some) for some in (asv_planted, asv_same))
        changes = sum("CHANGED SIGNIFICANTLY" in run["said"] for run in asv_same)
        name, of = f"`asv continuous --factor {beside.FACTOR}`", len(asv_same)
        figures = counted(hits, len(asv_planted)), counted(alarms, of), counted(changes, of), seconds_of(asv_same)
        rows.append((name, *figures))
    sizes = []
    for regime in PLANTED:
        mine = [run for run in planted if run["regime"] == regime]
        [size] = recorded(f"size of {regime}")
        log = estimate([[value] for value in log_ratios(size["order"], size["cpu"])])
        found = sum(run["judged"][0]["verdict"] == slower for run in mine)
        said = [100 * math.expm1(run["judged"][0]["found"]["middle"]) for run in mine]
        figure = f"{statistics.median(said):+.1f} %" if said else "not measured"
        sizes.append((regime, str(log), figure, f"{found} of {len(mine)}"))
    verdicts = [one["verdict"] for run in same for one in run["judged"]]
    tally = ", ".join(f"{verdicts.count(v.value)} {v.value}" for v in Verdict)
    stamp = (same or planted)[0]["stamp"]
    measured = (
        f"A slow-down was planted {len(planted)} times, and base was run against itself {len(same)} times, over all "
        f"{len(JUDGED)} benchmarks. In brackets: exact intervals of 95 %. `make gate-errors` measures all this anew."
    )
    head = ["who", "found, of planted", "slower, of whole runs of the same", "slower or faster", "seconds"]
    parts = [
        "# How often the gate is wrong",
        measured,
        table(head, rows),
        f"What was planted: {SHARE} % of the kernel's work done twice.",
        table(["regime", "its true size", "the gate's figure, median", "found"], sizes),
        f"Of {len(verdicts)} verdicts on what is the same: {tally}.",
        stamped(stamp),
    ]
    return "\n\n".join(parts) + "\n"


def seconds_of(runs: Sequence[dict[str, Any]]) -> str:
    """How long a whole run takes."""
    return f"{statistics.mean(run['seconds'] for run in runs):.0f}" if runs else "not measured"


def counted(hits: int, of: int) -> str:
    """As in 19 of 20 (75 to 100 %)."""
    if not of:
        return "not measured"
    low, high = share(hits, of)
    return f"{hits} of {of} ({100 * low:.0f} to {100 * high:.0f} %)"


KINDS = ("gate planted", "gate same", "asv planted", "asv same")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--runs", type=int, default=RUNS, help=f"of each kind ({RUNS})")
    parser.add_argument("--kinds", default=",".join(KINDS), help=f"some of {', '.join(KINDS)}")
    parser.add_argument("--seconds", type=float, default=235, help="the gate's time (235)")
    parser.add_argument("--publish", action="store_true", help=f"write {DOCUMENT.relative_to(HARNESS.parents[1])}")
    parser.add_argument("--size", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.size:
        print(json.dumps(switch(arguments.size)))
        return
    measure(arguments.kinds.split(","), arguments.runs, arguments.seconds)
    text = publish()
    print(text)
    if arguments.publish:
        DOCUMENT.write_text(text)


if __name__ == "__main__":
    main()
