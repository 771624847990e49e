"""Which backend and device runs a plan: a table of backends, and the user's choices."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from . import cpu, sliding
from .arrays import is_device_array
from .errors import BackendUnavailable, bad_kind, bad_value
from .plan import Plan

_scoped: ContextVar[str | None] = ContextVar("cpool_backend", default=None)
_from_environment = os.environ.get("CPOOL_BACKEND")

CHOICES = '"cpu", "opencl", "opencl:<number or name>" or a pyopencl.CommandQueue'


@dataclass(frozen=True)
class Device:
    """A device that can pool."""

    backend: str
    name: str
    units: int
    features: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.backend}: {self.name} ({self.units} threads; {', '.join(self.features)})"


def check(argument: str, backend: Any) -> str:
    """The name of a backend that is there; else an error that says what is wrong with it."""
    if not isinstance(backend, str):
        if is_device_array(backend):  # PyOpenCL's classes: a queue
            _no_opencl(argument, type(backend).__name__)
        bad_kind(argument, backend, f"one of {CHOICES} is needed")
    if backend == "cpu":
        return backend
    if backend == "opencl" or (backend.startswith("opencl:") and len(backend) > len("opencl:")):
        _no_opencl(argument, backend)
    bad_value(argument, backend, f"one of {CHOICES} is needed")


def _no_opencl(argument: str, came: str) -> None:
    raise BackendUnavailable(
        f"{argument}: got {came!r}, and the backend 'opencl' isn't there: this version of cpool has the CPU "
        "backend only. Use backend='cpu', or a version with OpenCL: pip install --upgrade 'cpool[opencl]'"
    )


def choose(backend: Any) -> tuple[str, str]:
    """The backend to use, and why: the call, else `use_backend`, else CPOOL_BACKEND, else the CPU."""
    if backend is not None:
        return check("backend", backend), "backend= asked for it"
    scoped = _scoped.get()
    if scoped is not None:
        return scoped, "use_backend asked for it"
    if _from_environment:
        return check("CPOOL_BACKEND", _from_environment), "CPOOL_BACKEND asked for it"
    return "cpu", "host arrays run on the CPU"


def is_default() -> bool:
    """Whether nothing but the call itself could choose a backend."""
    return not _from_environment and _scoped.get() is None


@contextmanager
def use_backend(backend: str) -> Iterator[None]:
    """Run the calls within the block on this backend, where they don't name one themselves."""
    token = _scoped.set(check("backend", backend))
    try:
        yield
    finally:
        _scoped.reset(token)


def devices() -> list[Device]:
    """The devices that can pool here.

    >>> import cpool
    >>> [device.backend for device in cpool.devices()]
    ['cpu']
    """
    return [Device("cpu", _processor(), cpu.get_num_threads(), cpu.simd_available())]


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux: the platform module knows less, but something
    return platform.processor() or platform.machine()


def run(
    plan: Plan, x: NDArray[Any], out: NDArray[Any] | None, backend: Any, indices: NDArray[Any] | None = None
) -> NDArray[Any]:
    """Pool x on the backend that the user's choices name."""
    choose(backend)
    if plan.slides:
        return sliding.run(plan, x, out)
    return cpu.run(plan, x, out, indices)
