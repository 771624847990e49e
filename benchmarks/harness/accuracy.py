"""How far the peers' averages are off: in ULP on random data, and on ones, whose mean everybody knows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace

import numpy as np

from .adapters import BASE, Peer, Prepared
from .cases import MOST_ULP_ELSE, Case, Row
from .goals import Finding
from .probes import Found

ROWS = (
    Row("7x7 planes", (8, 256, 7, 7), (1,)),
    Row("8x8 blocks", (4, 64, 56, 56), (7,)),
    Row("ragged windows", (4, 64, 56, 56), (6,)),
    Row("256x256 blocks", (2, 8, 512, 512), (2,)),
    Row("1024x1024 planes", (1, 16, 1024, 1024), (1,)),
)
ONES = (Row("ones", (1, 1, 10000, 10000), (1,)), Row("ones", (1, 1, 10000, 10000), (2,)))
SHIFTS = {"between 0 and 1": 0.0, "between 1000 and 1001": 1000.0}


def accuracy(peers: Sequence[Peer], quick: bool, say: Callable[[str], None]) -> Found:
    """A line for each kind of data, a column for each peer; on one thread, which all of them have."""
    measured = [peer for peer in peers if peer.name != "limit"]
    found = Found(
        "Accuracy, float32, channels first, 1 thread",
        ["data", "found", *(peer.name for peer in measured)],
        note="Errors are those of the worst result, in units in its last place (ULP): 0.5 is a result rounded once.",
    )
    with ExitStack() as stack:
        for peer in measured:
            stack.enter_context(peer.session(1))
        for row in ROWS:
            for told, shift in SHIFTS.items():
                say(f"accuracy, {row.name}, {told}")
                case = Case(row, "float32", "first")
                case.x += np.float32(shift)
                errors = _of_each(measured, case, case.error)
                found.cells.append([f"{row.name} ({row.regime}), {told}", "ULP", *map(_ulp, errors.values())])
                found.data.append({"row": row.name, "data": told, "error_ulp": errors})
                own = errors[BASE] or 0.0
                goal = f"{row.name}, {told}: at most {MOST_ULP_ELSE:g} ULP"
                found.findings.append(Finding(goal, 1, f"{own:.2f} ULP", own <= MOST_ULP_ELSE))
        for row in (replace(row, shape=(1, 1, 100, 100)) for row in ONES) if quick else ONES:
            say(f"accuracy, ones, {row.name}")
            case = Case(row, "float32", "first")
            case.x.fill(1)
            means = _of_each(measured, case, _furthest_from_one)
            found.cells.append([f"ones, {row.name}", "mean", *map(_mean, means.values())])
            found.data.append({"row": row.name, "data": "ones", "mean": means})
            goal = f"the mean of ones, {row.name}: 1"
            found.findings.append(Finding(goal, 1, _mean(means[BASE]), means[BASE] == 1))
    return found


def _of_each(peers: Sequence[Peer], case: Case, judge: Callable[[np.ndarray], float]) -> dict[str, float | None]:
    """What is to be said of each peer's result; None where it doesn't do the case."""
    said: dict[str, float | None] = {}
    for peer in peers:
        ready = peer.prepare(case, 1)
        done = isinstance(ready, Prepared) and ready.result
        said[peer.name] = judge(np.asarray(done())) if done else None
    return said


def _furthest_from_one(result: np.ndarray) -> float:
    return float(result.flat[np.argmax(np.abs(result.astype(np.float64) - 1))])


def _ulp(error: float | None) -> str:
    if error is None:
        return "-"
    return f"{error:.2f}" if error < 100 else f"{error:,.0f}" if math.isfinite(error) else "not a number"


def _mean(value: float | None) -> str:
    return "-" if value is None else f"{value:.9g}"
