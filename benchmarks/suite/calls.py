"""What a call costs besides its kernel."""

import time
from typing import Any

from harness.cases import Row
from harness.probes import COLD, PAUSE
from harness.words import DIVISIBLE, ONE, RAGGED

import cpool

from .regime import Ready, Regime, Timed, row

TINY = {
    "64 planes, about 8x9": {DIVISIBLE: Row("tiny", (1, 64, 8, 9), ((4, 3),)), RAGGED: row("1x64x8x9 -> 5x7")},
}


class TinyCall(Timed):
    """So little work that the way into the kernel counts."""

    backends = (ONE,)
    shapes = TINY


class PreparedCall(Timed):
    """The same, prepared once."""

    backends = (ONE,)
    shapes = TINY

    def setup(self, *params: str) -> None:
        """Prepare the call."""
        super().setup(*params)
        self.call = _prepared(self.ready, self.function)


class ColdCall(Regime):
    """A call after a pause, when threads sleep and caches are cold."""

    number, repeat, warmup_time, sample_time = 1, (20, 50, 10.0), 0.0, 0.0
    shapes = {
        "one feature map, 32x32": {
            DIVISIBLE: next(r for r in COLD if r.arguments == (1,)),
            RAGGED: next(r for r in COLD if r.arguments == (7,)),
        },
    }

    def setup(self, *params: str) -> None:
        """Make the call ready, and let everything fall asleep. asv does it before each sample."""
        super().setup(*params)
        self.call()
        time.sleep(PAUSE)

    def time_call(self, *params: str) -> None:
        """The first call after the pause."""
        self.call()


def _prepared(ready: Ready, function: str) -> Any:
    if not hasattr(cpool, "prepare"):
        raise NotImplementedError("this cpool prepares no calls")
    last = ready.case.layout == "last"
    options = {"data_format": "channels_last"} if last else {}
    x = ready.names["x"]
    prepared = cpool.prepare(function, x, *ready.case.row.arguments, **options)
    ready.check(lambda: prepared(x))
    return lambda: prepared(x)
