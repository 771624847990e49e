"""One case, all peers: checked, timed in turn, and written down as a line of the table."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .adapters import BASE, Peer, Prepared
from .cases import Case, Row
from .timing import Effort, geometric_mean, in_turn, ratio, spread

ALIKE = 0.5  # a peer that is further off, relative to the largest average, does another job; less is its accuracy
PATIENCE = 3.0  # seconds of a peer's call beyond which it is not repeated: what it took is told


@dataclass
class Line:
    """What was found for one row, type, layout and number of threads."""

    row: Row
    dtype: str
    layout: str
    threads: int
    tier: str
    bytes_in: int
    bytes_out: int
    copies: bool
    alignment: int
    samples: dict[str, list[float]] = field(default_factory=dict)  # seconds per call
    texts: dict[str, str] = field(default_factory=dict)  # what was timed
    details: dict[str, str] = field(default_factory=dict)  # how it was done
    reasons: dict[str, str] = field(default_factory=dict)  # why a peer wasn't
    errors: dict[str, float] = field(default_factory=dict)  # ULP
    wrong: str | None = None

    def seconds(self, peer: str) -> float | None:
        """The median time of a call."""
        return statistics.median(self.samples[peer]) if peer in self.samples else None

    def over(self, peer: str) -> float | None:
        """How many times as long as cpool the peer takes."""
        if peer not in self.samples or BASE not in self.samples:
            return None
        return ratio(self.samples[peer], self.samples[BASE])

    @property
    def noise(self) -> float | None:
        """The spread of cpool's samples."""
        return spread(self.samples[BASE]) if BASE in self.samples else None

    def to_dict(self) -> dict[str, Any]:
        """The line as plain data."""
        return {
            "row": self.row.name,
            "regime": self.row.regime,
            "kind": self.row.kind,
            "set": self.row.set,
            "operation": self.row.operation,
            "shape": self.row.shape,
            "arguments": self.row.arguments,
            "dtype": self.dtype,
            "layout": f"channels_{self.layout}",
            "threads": self.threads,
            "tier": self.tier,
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "limit": "copy" if self.copies else "read",
            "alignment": self.alignment,
            "wrong": self.wrong,
            "peers": {
                name: {
                    "timed": self.texts[name],
                    "detail": self.details[name],
                    "median_s": self.seconds(name),
                    "over_cpool": self.over(name),
                    "error_ulp": self.errors.get(name),
                    "samples_s": samples,
                }
                for name, samples in self.samples.items()
            },
            "not_timed": self.reasons,
        }


def compare(case: Case, threads: int, peers: Sequence[Peer], effort: Effort) -> Line:
    """Check and time every peer that does the case."""
    line = Line(
        case.row,
        case.dtype,
        case.layout,
        threads,
        case.row.tier(case.dtype, threads),
        case.bytes_in,
        case.bytes_out,
        case.copies,
        case.x.ctypes.data % 64,
    )
    with ExitStack() as stack:
        ready: dict[str, Prepared] = {}
        for peer in peers:
            stack.enter_context(peer.session(threads))
        for peer in peers:
            try:
                prepared = peer.prepare(case, threads)
                reason = prepared if isinstance(prepared, str) else check(line, peer, case, prepared)
            except Exception as error:  # whatever it is, the other rows are still wanted
                reason = f"raised {type(error).__name__}: {error}"
                if peer.name == BASE:
                    line.wrong = reason
            if line.wrong:
                return line
            if reason is None:
                assert isinstance(prepared, Prepared)
                ready[peer.name] = prepared
            else:
                line.reasons[peer.name] = reason
        line.texts = {name: prepared.text for name, prepared in ready.items()}
        line.details = {name: prepared.detail for name, prepared in ready.items()}
        line.samples = in_turn({name: prepared.call for name, prepared in ready.items()}, effort)
    return line


def check(line: Line, peer: Peer, case: Case, prepared: Prepared) -> str | None:
    """Compare a peer's result with the right one: a wrong cpool spoils the line, another peer is left out."""
    if prepared.result is None:
        return None
    began = time.perf_counter()
    result = np.asarray(prepared.result())
    took = time.perf_counter() - began
    error = line.errors[peer.name] = case.error(result)
    if peer.name == BASE:
        if result.dtype != case.out_dtype:
            line.wrong = f"result of {result.dtype}, {case.out_dtype} is right"
        elif not case.right(result):
            line.wrong = f"off by {error:.3g} ULP"
    elif not (error <= 1 if result.dtype.kind in "iu" else case.relative(result) <= ALIKE):
        return f"gives other results (off by {error:.3g} ULP)"
    elif took > PATIENCE:
        return f"took {took:.1f} s for a call, and was not asked again"
    return None


def mean_over(lines: Sequence[Line], peer: str) -> float | None:
    """The geometric mean of a peer's ratios; None where there are none."""
    return geometric_mean([r for line in lines if (r := line.over(peer)) is not None])
