"""A process that holds one benchmark of a suite at a time, and times slices of it on demand: lines of JSON in and out.

The suite is asv's: a package whose classes have setup, teardown and methods named time_... or so. What is timed is the
method as asv would call it.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from .machine import stamp
from .timing import Statement, repetitions


class Held:
    """A benchmark that is set up."""

    def __init__(self, package: str, name: str, params: list[Any], checked: bool) -> None:
        module, cls, method = name.rsplit(".", 2)
        self.instance = getattr(import_module(f"{package}.{module}"), cls)()
        self.params = params
        if not checked and hasattr(self.instance, "checked"):
            self.instance.checked = False
        if hasattr(self.instance, "setup"):
            self.instance.setup(*params)
        self.call = Statement("method(*params)", method=getattr(self.instance, method), params=tuple(params))

    def slice(self, n: int, settle: int) -> tuple[float, float]:
        """Seconds per call, by the clock and of this thread's processor time, after some untimed calls."""
        self.call.time(settle)
        began = time.thread_time()
        wall = self.call.time(n)
        return wall / n, (time.thread_time() - began) / n

    def drop(self) -> None:
        """What asv would do in the end."""
        if hasattr(self.instance, "teardown"):
            self.instance.teardown(*self.params)


def main(suite: str, expected: str, cpu: str = "") -> None:
    """Answer questions until there are none."""
    if cpu:
        os.sched_setaffinity(0, {int(cpu)})
    folder = Path(suite).resolve()
    sys.path.insert(0, str(folder.parent))
    import cpool

    if expected and not Path(cpool.__file__).is_relative_to(expected):
        raise SystemExit(f"cpool comes from {cpool.__file__}, not from {expected}")
    gc.disable()
    held: Held | None = None
    answers = sys.stdout
    sys.stdout = sys.stderr  # what a benchmark prints is no answer
    for line in sys.stdin:
        question = json.loads(line)
        answer: Any = None
        if "benchmark" in question:
            if held:
                held.drop()
            held = None
            gc.collect()
            try:
                held = Held(folder.name, question["benchmark"], question["params"], question["checked"])
            except (NotImplementedError, AttributeError, ImportError) as error:
                answer = f"{type(error).__name__}: {error}"  # what this version lacks
        elif "stamp" in question:
            answer = stamp(("Cython",))
        else:
            assert held
            if "seconds" in question:
                answer = repetitions(held.call, question["seconds"])
            else:
                answer = held.slice(question["n"], question["settle"])
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
