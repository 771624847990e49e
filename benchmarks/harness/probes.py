"""What the table doesn't show: tiny calls, cold calls, the import, and instruction sets against each other."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from .adapters import BASE, PEERS, Peer, Prepared
from .cases import CORE, LAYOUTS, ROWS, Case, Row
from .goals import BEYOND, ESTIMATED, Finding, at_least, at_most
from .process import Process
from .timing import Call, Effort, Statement, geometric_mean, in_turn, ratio, spread

Cells = list[list[str]]


@dataclass
class Found:
    """What a probe has to tell: a table, its figures, and the goals it knows of."""

    title: str
    head: list[str]
    cells: Cells = field(default_factory=list)
    data: list[dict[str, Any]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    note: str = ""


def _micro(seconds: float) -> str:
    return f"{seconds * 1e6:.2f}"


def _session(stack: ExitStack, peers: Sequence[Peer], threads: int) -> None:
    for peer in peers:
        stack.enter_context(peer.session(threads))


def _named(peers: Sequence[Peer], name: str) -> Peer | None:
    return next((peer for peer in peers if peer.name == name), None)


# ---- tiny calls ------------------------------------------------------------------------------


def _own_calls(case: Case) -> dict[str, Statement]:
    """A case as each of cpool's own ways to call it."""
    import cpool

    function = getattr(cpool, f"adaptive_avg_pool{case.row.rank}d")
    size = case.row.arguments[0]
    names: dict[str, Any] = {"pool": function, "x": case.x, "size": size}
    options = ', data_format="channels_last"' if case.layout == "last" else ""
    keywords = {"data_format": "channels_last"} if case.layout == "last" else {}
    out = function(case.x, size, **keywords)
    prepared = cpool.prepare(function, case.x, size, **keywords)
    return {
        "public": Statement(f"pool(x, size{options})", **names),
        "public, out=": Statement(f"pool(x, size{options}, out=out)", **names, out=out),
        "prepared": Statement("pool(x)", pool=prepared, x=case.x),
        "prepared, out=": Statement("pool(x, out=out)", pool=prepared, x=case.x, out=out),
    }


TINY_MOST = {"first": 2.2, "last": 1.3}  # microseconds of the first tiny row


def tiny(peers: Sequence[Peer], threads: int, effort: Effort) -> Found:
    """What a call costs where there is hardly anything to pool."""
    found = Found(f"Tiny calls, float32, {threads} thread(s), microseconds", [])
    effort = effort.shorter()
    torch = _named(peers, "torch")
    ratios = []
    for row in (r for r in CORE if r.regime == "tiny"):
        for layout in LAYOUTS:
            case = Case(row, "float32", layout)
            calls: dict[str, Call] = dict(_own_calls(case))
            with ExitStack() as stack:
                _session(stack, peers, threads)
                theirs = torch.prepare(case, threads) if torch else "not here"
                if isinstance(theirs, Prepared):
                    calls["torch"] = theirs.call
                samples = in_turn(calls, effort)
            took = {name: statistics.median(s) for name, s in samples.items()}
            line = [row.name, layout, *(_micro(t) for t in took.values())]
            if "torch" in took:
                ratios.append(ratio(samples["torch"], samples["public"]))
                line.append(f"{ratios[-1]:.2f}")
            found.cells.append(line)
            found.head = ["row", "layout", *took, *(["torch/cpool"] if "torch" in took else [])]
            found.data.append({"row": row.name, "layout": layout, "seconds": took, "samples_s": samples})
            if row is CORE[0]:
                goal = f"tiny public call {row.name}, channels {layout}"
                found.findings.append(at_most(goal, took["public"] * 1e6, TINY_MOST[layout], "us", threads))
    average = geometric_mean(ratios)
    if average is not None:
        found.findings.append(at_least("tiny public calls, times torch, mean", average, 5.0, threads))
    return found


def prepared(effort: Effort) -> Found:
    """What a prepared call costs besides its kernel.

    The time of a call grows by the same for each image of a batch: the kernel's work. What a batch of none
    would take is the rest.
    """
    found = Found(
        "A prepared call, float32, 1 thread, microseconds",
        ["layout", "call", "batch of 1", "of 2", "of 4", "besides the kernel"],
        note="16 channels of 8x9 -> 5x7; what is besides the kernel is the time that a batch of 0 would take.",
    )
    import cpool

    effort = effort.shorter()
    with cpool.threads(1):
        for layout in LAYOUTS:
            batches = {n: _own_calls(Case(Row("", (n, 16, 8, 9), ((5, 7),)), "float32", layout)) for n in (1, 2, 4)}
            for way in ("prepared", "prepared, out="):
                samples = in_turn({str(n): calls[way] for n, calls in batches.items()}, effort)
                took = {int(n): statistics.median(s) for n, s in samples.items()}
                lines = [statistics.linear_regression(list(took), turn) for turn in zip(*samples.values(), strict=True)]
                slope, rest = (statistics.median(part) for part in zip(*lines, strict=True))
                found.cells.append([layout, way, *(_micro(t) for t in took.values()), _micro(rest)])
                found.data.append({"layout": layout, "call": way, "seconds": took, "rest_s": rest, "image_s": slope})
                goal = f"{way} call besides its kernel, channels {layout}"
                found.findings.append(at_most(goal, rest * 1e6, 0.3, "us", 1))
    return found


IMPORT = """
import time, numpy
begun = time.perf_counter()
import cpool
print(time.perf_counter() - begun)
"""


def imports(times: int) -> Found:
    """What `import cpool` adds to `import numpy`, in fresh processes."""
    took = []
    for _ in range(times):
        done = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True)
        took.append(float(done.stdout))
    middle = statistics.median(took)
    return Found(
        "import cpool, after import numpy",
        ["processes", "median ms", "least", "most"],
        [[str(times), *(f"{t * 1e3:.1f}" for t in (middle, min(took), max(took)))]],
        [{"samples_s": took}],
        [at_most("import cpool after import numpy", middle * 1e3, 50, "ms")],
    )


# ---- cold calls ------------------------------------------------------------------------------

COLD = (Row("cold", (1, 128, 32, 32), (7,)), Row("cold", (1, 128, 32, 32), (1,)))
PAUSE = 0.03


def cold(peers: Sequence[Peer], threads: int, times: int) -> Found:
    """What a call takes when nothing was called for a while."""
    found = Found(
        f"Cold calls, {PAUSE * 1e3:.0f} ms after the last, float32, channels first, {threads} thread(s), microseconds",
        ["row", "who", "median", "90 %", "most", "warm"],
    )
    for row in COLD:
        case = Case(row, "float32", "first")
        with ExitStack() as stack:
            _session(stack, peers, threads)
            calls = {
                peer.name: ready.call
                for peer in peers
                if peer.name != "limit" and isinstance(ready := peer.prepare(case, threads), Prepared)
            }
            warm = {name: statistics.median(s) for name, s in in_turn(calls, Effort(3, 0.005)).items()}
            samples: dict[str, list[float]] = {name: [] for name in calls}
            for _ in range(times):
                for name, call in calls.items():
                    time.sleep(PAUSE)
                    samples[name].append(call.time(1))
        for name, took in samples.items():
            middle, late = statistics.median(took), statistics.quantiles(took, n=10)[-1]
            found.cells.append([row.name, name, *(_micro(t) for t in (middle, late, max(took), warm[name]))])
            found.data.append({"row": row.name, "who": name, "samples_s": took, "warm_s": warm[name]})
            if name == "cpool":
                goal = f"cold call {row.name}"
                found.findings += [
                    at_most(f"{goal}, median", middle * 1e6, 250, "us", threads),
                    at_most(f"{goal}, 90 %", late * 1e6, 1500, "us", threads),
                ]
    return found


# ---- instruction sets --------------------------------------------------------------------------


class Worker(Process):
    """A process with a forced instruction set, which holds one case at a time and times it on demand."""

    def __init__(self, simd: str) -> None:
        driver = Path(__file__).resolve().parent.parent / "peers.py"
        super().__init__([str(driver), "--serve"], {"CPOOL_SIMD": simd})

    def time(self, n: int) -> float:
        """Seconds that n runs took over there."""
        return float(self.ask(times=n))


def serve(source: TextIO, target: TextIO) -> None:
    """The worker's side: cases are made, checked and timed as they are asked for."""
    import cpool

    own = next(peer for peer in PEERS if peer.name == "cpool")
    call: Call | None = None
    for text in source:
        question = json.loads(text)
        if "row" in question:
            cpool.set_num_threads(question["threads"])
            case = Case(ROWS[question["row"]], question["dtype"], question["layout"])
            ready = own.prepare(case, question["threads"])
            assert isinstance(ready, Prepared)
            assert ready.result
            answer: float = case.right(ready.result())
            call = ready.call
        else:
            assert call
            answer = call.time(question["times"])
        print(json.dumps(answer), file=target, flush=True)


ISA_DTYPES = ("float32", "uint8", "int16", "int32")
ISA_LEAST = {"avx2": 0.9, "baseline": 0.5}


def instruction_sets(
    rows: Sequence[Row],
    dtypes: Sequence[str],
    layouts: Sequence[str],
    threads: int,
    effort: Effort,
    say: Callable[[str], None],
) -> Found:
    """Every instruction set of this machine against the best one, beyond L2, in processes of their own."""
    from cpool import cpu

    names = cpu.simd_available()
    best, others = names[0], names[1:]
    found = Found(
        f"Instruction sets beyond L2, {threads} thread(s), the speed of {best} being 1",
        ["row", "dtype", "layout", f"{best} us", *(f"{name} us" for name in others), *others],
    )
    shares: dict[tuple[str, str], list[tuple[float, str]]] = {}
    workers = {name: Worker(name) for name in names}
    try:
        for dtype in dtypes:
            for layout in layouts:
                for number, row in enumerate(ROWS):
                    if row not in rows or not row.takes(dtype) or row.tier(dtype, threads) not in BEYOND:
                        continue
                    say(f"{row.name} {dtype} {layout}")
                    where = f"{row.name} {layout}"
                    for name, worker in workers.items():
                        if not worker.ask(row=number, dtype=dtype, layout=layout, threads=threads):
                            raise RuntimeError(f"{where} {dtype}: {name} gives a wrong result")
                    samples = in_turn(workers, effort)
                    took = {name: statistics.median(s) for name, s in samples.items()}
                    speed = {name: ratio(samples[best], samples[name]) for name in others}
                    for name, share in speed.items():
                        shares.setdefault((dtype, name), []).append((share, where))
                    times = [f"{took[name] * 1e6:.1f}" for name in names]
                    found.cells.append([row.name, dtype, layout, *times, *(f"{s:.2f}" for s in speed.values())])
                    found.data.append(
                        {"row": row.name, "dtype": dtype, "layout": layout, "threads": threads, "samples_s": samples}
                    )
    finally:
        for worker in workers.values():
            worker.close()
    means = {key: geometric_mean([share for share, _ in several]) or 0.0 for key, several in shares.items()}
    for dtype in dict.fromkeys(dtype for dtype, _ in means):
        share_of = [f"{means[dtype, name]:.2f}" for name in others]
        found.cells.append(["geometric mean", dtype, "", *[""] * len(names), *share_of])
    for (dtype, name), several in shares.items():
        least = ISA_LEAST.get(name)
        if least is not None:
            below = tuple(f"{where}: {share:.2f}" for share, where in several if share < least)
            met = f"{len(several) - len(below)} of {len(several)} rows, mean {means[dtype, name]:.2f}"
            goal = f"{dtype} beyond L2: {name} at least {least:g} of {best}, each"
            found.findings.append(Finding(goal, threads, met, not below, below))
    return found


# ---- estimates -------------------------------------------------------------------------------


def estimates(
    rows: Sequence[Row],
    dtypes: Sequence[str],
    layouts: Sequence[str],
    threads: int,
    effort: Effort,
    say: Callable[[str], None],
) -> Found:
    """What `explain` estimates over what was measured: with the usual constants, and with those of `tune`."""
    import cpool
    from cpool import measured, tuning

    found = Found(
        f"Estimates over measured medians, {threads} thread(s)",
        ["row", "dtype", "layout", "kernel", "us", "noise", "usual", "tuned"],
    )
    peer = _named(PEERS, BASE)
    assert peer
    shares: dict[tuple[str, str, str], list[tuple[float, str]]] = {}
    with ExitStack() as stack:
        _session(stack, [peer], threads)
        say("tune()")
        ways = {"usual": None, "tuned": tuning.measure("cpu", seconds=5)}
        for dtype in dtypes:
            for layout in layouts:
                for row in (row for row in rows if row.explained and row.takes(dtype)):
                    say(f"{row.name} {dtype} {layout}")
                    case = Case(row, dtype, layout)
                    ready = peer.prepare(case, threads)
                    assert isinstance(ready, Prepared)
                    samples = in_turn({BASE: ready.call}, effort)[BASE]
                    took = statistics.median(samples)
                    function = row.done.function.format(row.rank)
                    options: dict[str, Any] = {"data_format": f"channels_{layout}"}
                    options |= {"return_indices": True} if row.done.pair else {}
                    options |= {"dtype": case.out_dtype} if row.result else {}
                    ratios = {}
                    for way, known in ways.items():
                        with measured.pretend(known):
                            told = cpool.explain(function, case.x, *row.arguments, **options)
                        ratios[way] = told.estimated_seconds / took
                        shares.setdefault((row.set, dtype, way), []).append((ratios[way], f"{row.name} {layout}"))
                    line = [row.name, dtype, layout, ready.detail, _micro(took), f"{spread(samples):.0%}"]
                    found.cells.append(line + [f"{ratio:.2f}" for ratio in ratios.values()])
                    found.data.append(
                        {"row": row.name, "dtype": dtype, "layout": layout, "samples_s": samples, "ratios": ratios}
                    )
    notes = []
    for (name, dtype, way), several in shares.items():
        far = tuple(f"{where}: {ratio:.2f}" for ratio, where in several if not 0.5 <= ratio <= 2)
        mean = geometric_mean([ratio for ratio, _ in several])
        text = f"{len(several) - len(far)} of {len(several)} rows, mean {mean:.2f}"
        notes.append(f"- {name}, {dtype}, {way}: within a factor of 2 {text}")
        if name == "core":
            goal = f"estimates, {dtype}, {way}: within a factor of 2 of the median for {ESTIMATED:.0%}"
            found.findings.append(Finding(goal, threads, text, len(far) <= (1 - ESTIMATED) * len(several), far))
    found.note = "\n".join(notes)
    return found
