"""What all benchmarks share: a regime's shapes, where a call runs, and the call made ready and checked."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from harness.adapters import arguments, values_of
from harness.cases import ROWS, Array, Case, Row, missing_type
from harness.machine import usable_cpus
from harness.words import DIVISIONS, FIRST, HOST, LAST, ONE

import cpool

LAYOUTS = {FIRST: "first", LAST: "last"}
Shapes = Mapping[str, Mapping[str, Row]]


def row(name: str, operation: str | None = None) -> Row:
    """The row of the harness's table with this name, for another operation if one is named."""
    found = next(r for r in ROWS if r.name == name)
    return replace(found, operation=operation) if operation else found


def first_of(row: Row) -> Row:
    """The same for the first of the batch alone: what is large enough needs no batch, and checks take their time."""
    return replace(row, shape=(1, *row.shape[1:]))


# ---- where a call runs ---------------------------------------------------------------------------


class Host:
    """The processor, with so many threads: arrays are used where they lie."""

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def enter(self) -> None:
        """What has to be set before a call."""
        set_threads = getattr(cpool, "set_num_threads", None)
        if set_threads is None:
            raise NotImplementedError("this cpool does not say how many threads it uses")
        set_threads(self.threads)

    def put(self, array: Array) -> Any:
        """The array, where calls want it."""
        return array

    def get(self, result: Any) -> Array:
        """A result as an array of NumPy's."""
        return np.asarray(result)

    def finishing(self, run: Callable[[], Any]) -> Callable[[], Any]:
        """The call, and the wait for its end."""
        return run


class Device:
    """An OpenCL device that holds its arrays; a call ends when the device has ended."""

    def __init__(self, device: Any) -> None:
        import pyopencl as cl

        self.queue = cl.CommandQueue(cl.Context([device]))

    def enter(self) -> None:
        """What has to be set before a call."""
        if not hasattr(cpool, "devices"):
            raise NotImplementedError("this cpool has no devices")

    def put(self, array: Array) -> Any:
        """The array, where calls want it."""
        import pyopencl.array

        return pyopencl.array.to_device(self.queue, array)

    def get(self, result: Any) -> Array:
        """A result as an array of NumPy's."""
        array: Array = result.get()
        return array

    def finishing(self, run: Callable[[], Any]) -> Callable[[], Any]:
        """The call, and the wait for its end."""
        finish = self.queue.finish

        def call() -> None:
            run()
            finish()

        return call


def _devices() -> dict[str, Any]:
    """The OpenCL devices by name, whatever the version of cpool; none where there is no OpenCL."""
    try:
        import pyopencl as cl

        found = [device for platform in cl.get_platforms() for device in platform.get_devices()]
    except (ImportError, RuntimeError):  # no PyOpenCL, or no driver that it could load
        return {}
    return {f"opencl, {device.name.strip()}": device for device in found}


DEVICES = _devices()
BACKENDS = (*HOST, *DEVICES)
SMOKE = "CPOOL_BENCH_SMOKE" in os.environ  # does it run? one set of parameters of each benchmark, in both divisions


def parameters(*params: Sequence[str]) -> tuple[Sequence[str], ...]:
    """The parameters of a benchmark; of a smoke run, only the first of each that isn't the division."""
    return tuple(values if set(values) <= set(DIVISIONS) else values[:1] for values in params) if SMOKE else params


@lru_cache
def place(backend: str) -> Host | Device:
    """Where this backend's calls run."""
    if backend in DEVICES:
        return Device(DEVICES[backend])
    return Host(1 if backend == ONE else usable_cpus())


# ---- calls -----------------------------------------------------------------------------------------


def spelled(function: str, case: Case) -> str:
    """The call as a user writes it; `x` and what else is given are its names."""
    call = case.row.done.call
    if function.startswith("global"):
        call = call.replace(", {arguments}", "")
    text = call.format(arguments=arguments(case))
    if function.removesuffix("_backward").endswith("_pool") and not function.startswith("global"):
        return f"pool({text}, axes={case.axes})"
    last = ', data_format="channels_last"' if case.layout == "last" else ""
    return f"pool({text}{last})"


class Ready:
    """A call made ready: its data made and touched, where it runs chosen, and its result checked."""

    def __init__(self, function: str, row: Row, layout: str, dtype: str, backend: str, checked: bool = True) -> None:
        pool = getattr(cpool, function, None)
        if pool is None:
            raise NotImplementedError(f"this cpool has no {function}")
        why = missing_type(dtype)
        if why:
            raise NotImplementedError(why)
        self.place = place(backend)
        self.place.enter()
        self.case = Case(row, dtype, LAYOUTS[layout])
        there = {name: self.place.put(self.case.given[name]) for name in ("x", "indices") if name in self.case.given}
        # weights are arrays of the host, wherever x is
        self.names = {**self.case.given, **there, "pool": pool, "shape": self.case.shape}
        self.run = eval(f"lambda: {spelled(function, self.case)}", self.names)
        self.call = self.place.finishing(self.run)
        if checked:
            self.check(self.run)

    def check(self, run: Callable[[], Any]) -> None:
        """Hold a result against the right one; a wrong one is an error, a call that this version lacks is skipped."""
        try:
            result = run()
        except TypeError as error:
            raise NotImplementedError(f"this cpool: {error}") from error
        if not self.case.right(self.place.get(values_of(self.case, result))):
            raise AssertionError(f"a wrong result of {self.case}")


@lru_cache(maxsize=1)
def ready(function: str, row: Row, layout: str, dtype: str, backend: str, checked: bool) -> Ready:
    """The last call is kept: asv sets up before every sample."""
    return Ready(function, row, layout, dtype, backend, checked)


class Regime(ABC):
    """Benchmarks of one function over some shapes."""

    function = "adaptive_avg_pool2d"
    layouts = tuple(LAYOUTS)
    types: tuple[str, ...] = ("float32",)
    backends: tuple[str, ...] = BACKENDS
    checked = True  # before anything is timed
    param_names = ("shape", "division", "layout", "type", "backend")
    params: tuple[Sequence[str], ...]

    @property
    @abstractmethod
    def shapes(self) -> Shapes:
        """The rows by the name of their class, and by whether the lengths can be divided."""

    def __init_subclass__(cls) -> None:
        if isinstance(cls.shapes, Mapping):
            divisions = tuple(d for d in DIVISIONS if any(d in rows for rows in cls.shapes.values()))
            cls.params = parameters(tuple(cls.shapes), divisions, cls.layouts, cls.types, cls.backends)

    def setup(self, shape: str, division: str, layout: str, dtype: str, backend: str) -> None:
        """Make the call ready, and see that its result is right."""
        if division not in self.shapes[shape]:
            raise NotImplementedError(f"{shape} has no {division} case")
        self.ready = ready(self.function, self.shapes[shape][division], layout, dtype, backend, self.checked)
        self.call = self.ready.call


class Timed(Regime):
    """A regime whose calls are timed."""

    def time_call(self, *params: str) -> None:
        """A call, from its arguments to the end of its work."""
        self.call()
