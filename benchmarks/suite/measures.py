"""What isn't a time: memory, fractions of a limit, ratios, import, instructions."""

import statistics
import subprocess
import sys
from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any

from harness import counted
from harness.adapters import PEERS, Prepared
from harness.machine import usable_cpus, version
from harness.probes import IMPORT
from harness.timing import Effort, Statement, in_turn, ratio
from harness.words import DIVISIONS, ONE

import cpool

from .averages import BOTH, MAPS
from .regime import DEVICES, LAYOUTS, Regime, parameters

EFFORT = Effort(9, 0.01)


class Memory(Regime):
    """The peak of a process that calls, and of one that has all but the call."""

    backends = (ONE,)
    checked = False  # what checks takes more memory than what is checked
    shapes = {MAPS: BOTH[MAPS]}

    def peakmem_reference(self, *params: str) -> None:
        """Python, NumPy, cpool and the input."""

    def peakmem_call(self, *params: str) -> None:
        """All that, and a call."""
        self.call()


class Against(Regime):
    """A peer's time / cpool's, taken in one run, in turn, on one thread."""

    backends = (ONE,)

    @property
    @abstractmethod
    def peer(self) -> str:
        """Who."""

    def setup(self, *params: str) -> None:
        """Make both calls ready."""
        peer = next(peer for peer in PEERS if peer.name == self.peer)
        why = peer.missing()
        if why:
            raise NotImplementedError(why)
        super().setup(*params)
        self.session = peer.session(1)
        self.session.__enter__()
        theirs = peer.prepare(self.ready.case, 1)
        if not isinstance(theirs, Prepared):
            raise NotImplementedError(theirs)
        self.theirs = theirs.call

    def teardown(self, *params: str) -> None:
        """Leave the peer's threads as they were."""
        if hasattr(self, "session"):
            self.session.__exit__(None, None, None)

    def over(self) -> float:
        """How many times as long as cpool the peer takes."""
        samples = in_turn({"cpool": Statement("call()", call=self.call), "peer": self.theirs}, EFFORT)
        return ratio(samples["peer"], samples["cpool"])


class AgainstLimit(Against):
    """The speed as a fraction of the memory's."""

    peer = "limit"
    shapes = BOTH

    def track_fraction_of_limit(self, *params: str) -> float:
        """The time of a plain read of the same memory / cpool's."""
        return self.over()

    track_fraction_of_limit.unit = "fraction"  # type: ignore[attr-defined]


class AgainstTorch(Against):
    """The speed in multiples of torch's."""

    peer = "torch"
    shapes = BOTH

    def track_torch_over_cpool(self, *params: str) -> float:
        """torch's time / cpool's."""
        return self.over()

    track_torch_over_cpool.unit = "times"  # type: ignore[attr-defined]


class Import:
    """The import of cpool, NumPy being there."""

    def track_import(self) -> float:
        """Milliseconds, the median of nine fresh processes."""
        took = [
            subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True)
            for _ in "123456789"
        ]
        return 1e3 * statistics.median(float(done.stdout) for done in took)

    track_import.unit = "ms"  # type: ignore[attr-defined]


def _vector_bytes() -> int | None:
    """64 with AVX-512, 32 with AVX2, 16 with the baseline."""
    if not hasattr(cpool, "show_config"):
        return None
    config: Any = cpool.show_config(mode="dicts")
    return {"avx512": 64, "avx2": 32}.get(config["simd"]["used"], 16)


def _release(package: str) -> float | None:
    """2.4.6 as 2.04, as 2.10.0 is 2.10; None where the package isn't installed."""
    installed = version(package)
    if installed is None:
        return None
    major, minor = installed.split(".")[:2]
    return int(major) + int(minor) / 100


STAMP: dict[str, Callable[[], float | None]] = {
    "bytes of a vector": _vector_bytes,
    "processors": usable_cpus,
    "OpenCL devices": lambda: len(DEVICES),
    **{package: partial(_release, package) for package in ("numpy", "Cython", "pyopencl")},
}


class Stamp:
    """What the other figures of a commit were measured with, as figures: a step in both has its reason."""

    param_names = ("what",)
    params = parameters(tuple(STAMP))

    def setup(self, what: str) -> None:
        """Look, and skip what isn't there."""
        found = STAMP[what]()
        if not found:
            raise NotImplementedError(f"no {what} here")
        self.figure = found

    def track_stamp(self, what: str) -> float:
        """What was found."""
        return self.figure


class Instructions:
    """The instructions of one call on one thread, by callgrind: exact, whatever else the machine does."""

    param_names = ("instruction set", "shape", "division", "layout")
    params = parameters(counted.SETS, tuple(counted.SHAPES), DIVISIONS, tuple(LAYOUTS))
    timeout = 300

    def setup_cache(self) -> dict[Any, int]:
        """All counts, in one run of callgrind for each instruction set; none where there is no callgrind."""
        return counted.counts()

    def setup(self, counts: dict[Any, int], *params: str) -> None:
        """Skip what could not be counted."""
        if params not in counts:
            raise NotImplementedError(counted.missing())

    def track_instructions(self, counts: dict[Any, int], *params: str) -> int:
        """Instructions."""
        return counts[params]

    track_instructions.unit = "instructions"  # type: ignore[attr-defined]
