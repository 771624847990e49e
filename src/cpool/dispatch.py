"""Which backend and device runs a plan: a table of backends, and the user's choices."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, NamedTuple

from numpy.typing import NDArray

from . import _kernels, costs, cpu, measured, sliding
from .arrays import is_device_array
from .errors import BackendUnavailable, bad_kind, bad_value
from .plan import Plan

_scoped: ContextVar[Any] = ContextVar("cpool_backend", default=None)
_from_environment = os.environ.get("CPOOL_BACKEND")

OWN = "x is a device array"
MARGIN = 0.8  # of the CPU's time is what a device may take that nobody asked for: both are estimates
CHOICES = '"cpu", "opencl", "opencl:<number or name>" or a pyopencl.CommandQueue'


@dataclass(frozen=True)
class Device:
    """A device that can pool: `backend` is what to ask for it by, `name` and `platform` are what it calls itself,
    `units` its threads or compute units, `features` what it can do, `memory` its own in bytes, or None.
    """

    backend: str
    name: str
    units: int
    features: tuple[str, ...]
    platform: str = ""
    memory: int | None = None  # bytes of its own, where it has some

    def __str__(self) -> str:
        there = f" on {self.platform}" if self.platform else ""
        units = "threads" if self.backend == "cpu" else "units"
        parts = [f"{self.units} {units}", ", ".join(self.features)]
        if self.memory is not None:
            parts.insert(1, f"{self.memory / 2**30:.1f} GiB")
        return f"{self.backend}: {self.name}{there} ({'; '.join(p for p in parts if p)})"


class Choice(NamedTuple):
    """A backend, and why it was chosen."""

    name: str
    why: str
    queues: Any = None  # of a device


HOST = Choice("cpu", "host arrays run on the CPU")


def check(argument: str, backend: Any) -> Any:
    """The backend, if it is there; else an error that says what is wrong with it."""
    _queues(argument, backend)
    return backend


def _queues(argument: str, backend: Any) -> Any:
    """The queues that a backend's name stands for; None for the CPU."""
    if not isinstance(backend, str):
        if type(backend).__name__ == "CommandQueue" and is_device_array(backend):
            from . import opencl

            return opencl.queues(argument, backend)
        bad_kind(argument, backend, f"one of {CHOICES} is needed")
    if backend == "cpu":
        return None
    if backend == "opencl" or (backend.startswith("opencl:") and len(backend) > len("opencl:")):
        try:
            from . import opencl
        except BackendUnavailable as error:
            raise BackendUnavailable(f"{argument}: got {backend!r}; {error}") from None
        return opencl.queues(argument, backend)
    bad_value(argument, backend, f"one of {CHOICES} is needed")


def choose(backend: Any, x: Any = None) -> Choice:
    """The backend to use: a device array's own, else what the call says, `use_backend`, CPOOL_BACKEND, else the CPU."""
    if is_device_array(x):
        return _choose_own(backend, x)
    if backend is not None:
        return _choice(_queues("backend", backend), "backend= asked for it")
    scoped = _scoped.get()
    if scoped is not None:
        return _choice(_queues("backend", scoped), "use_backend asked for it")
    if _from_environment:
        return _choice(_queues("CPOOL_BACKEND", _from_environment), "CPOOL_BACKEND asked for it")
    return HOST


def settle(choice: Choice, plan: Plan) -> Choice:
    """The choice, or, where nobody made one, a device that by the measurements of `tune` wins with its transfers."""
    if choice is not HOST:
        return choice
    found, _ = measured.here()
    if found is None or not found.devices:
        return choice
    if _kernels.is_forked():
        return Choice("cpu", "the child of a fork pools on the CPU")
    here = found.processor.seconds(plan, cpu.call_of(plan).threads(cpu.get_num_threads()))
    there, device = min(((d.seconds(plan, sent=True), d) for d in found.devices), key=lambda pair: pair[0])
    times = f"{there * 1e3:.3g} ms on {device.name} with transfers, {here * 1e3:.3g} ms here"
    if there > MARGIN * here:
        return Choice("cpu", f"by tune() the CPU wins: {times}")
    queues, why = _place(device)
    if queues is None:
        return Choice("cpu", f"what tune() measured doesn't hold: {why}")
    from . import opencl

    if not opencl.takes_unasked(plan, queues[0]):
        return Choice("cpu", f"{device.name} may have no room for a plane of this, or was not measured for its type")
    return Choice("opencl", f"by tune() a device wins: {times}", queues)


_places: dict[tuple[str, str, str], tuple[Any, str]] = {}  # of devices that were measured


def _place(device: costs.Device) -> tuple[Any, str]:
    """The queues of a device that was measured, or None, and why it isn't there any more; looked for once."""
    key = device.platform, device.name, device.driver
    found = _places.get(key)
    if found is None:
        try:
            from . import opencl

            found = opencl.queues_like(device), ""
        except BackendUnavailable as error:
            found = None, str(error)
        _places[key] = found
    return found


def forget() -> None:
    """Forget what was settled before: something else was measured."""
    _places.clear()
    _kernels.forget()


def _choice(queues: Any, why: str) -> Choice:
    return Choice("cpu" if queues is None else "opencl", why, queues)


def _choose_own(backend: Any, x: Any) -> Choice:
    """The queue of a device array, which `backend` must not contradict."""
    queue = x.queue
    if backend is not None:
        asked = _queues("backend", backend)
        if asked is None or asked[0].device != queue.device or (not isinstance(backend, str) and backend != queue):
            came = backend if isinstance(backend, str) else f"a queue of {backend.device.name.strip()}"
            bad_value(
                "backend",
                came,
                f"x lies on {queue.device.name.strip()!r} and runs on its own queue: leave backend= out, "
                "or hand in x.with_queue(queue), or x.get() for another backend",
            )
    return Choice("opencl", OWN, (queue, queue))


def is_default() -> bool:
    """Whether nothing but the call itself could choose a backend."""
    return not _from_environment and _scoped.get() is None


@contextmanager
def use_backend(backend: Any) -> Iterator[None]:
    """Run the calls within the block on this backend, where they don't name one themselves.

    "cpu", "opencl", "opencl:<number or part of a name>" or a `pyopencl.CommandQueue`; for arrays of the host.

    >>> import numpy as np, cpool
    >>> with cpool.use_backend("cpu"):
    ...     cpool.explain("global_avg_pool", np.ones((1, 3, 8, 8))).why
    'use_backend asked for it'
    """
    token = _scoped.set(check("backend", backend))
    try:
        yield
    finally:
        _scoped.reset(token)


def devices() -> list[Device]:
    """The devices that can pool here: the processor, and OpenCL's by their numbers, if PyOpenCL is there.

    >>> import cpool
    >>> cpool.devices()[0].backend
    'cpu'
    """
    return [Device("cpu", cpu.processor_name(), cpu.get_num_threads(), cpu.simd_available()), *_opencl()[0]]


def opencl_state() -> str:
    """Whether there is OpenCL, and if not, why."""
    found, why = _opencl()
    return why or f"{len(found)} device(s)"


def tuning_state() -> str:
    """What `tune` measured here, and what of it doesn't hold any more."""
    found, why = measured.here()
    if found is None:
        return why
    gone = [why for device in found.devices for _, why in [_place(device)] if why]
    names = ", ".join(["the CPU", *(device.name for device in found.devices)])
    return "; ".join([f"measured {found.when}: {names} ({found.path})", *gone])


def _opencl() -> tuple[list[Device], str]:
    try:
        from . import opencl

        return [Device(f"opencl:{i}", *told) for i, told in enumerate(opencl.described())], ""
    except BackendUnavailable as error:
        return [], str(error)


def run(
    plan: Plan, x: NDArray[Any], out: NDArray[Any] | None, choice: Choice, indices: NDArray[Any] | None = None
) -> NDArray[Any]:
    """Pool x on the backend that was chosen."""
    if choice.name != "cpu":
        from . import opencl

        result: NDArray[Any] = opencl.run(plan, x, out, indices, choice.queues)
        return result
    if plan.slides:
        return sliding.run(plan, x, out)
    return cpu.run(plan, x, out, indices)


def again(name: str, args: tuple[Any, ...], x: Any, out: Any) -> Any:
    """The result of a call of a device array that was seen before; else None."""
    from . import opencl

    return opencl.again(name, args, x, out)


def remember(name: str, args: tuple[Any, ...], x: Any, out: Any, plan: Plan) -> None:
    """Keep a call for `again`."""
    from . import opencl

    opencl.remember(name, args, x, out, plan)


def scatter(
    grad: NDArray[Any], indices: NDArray[Any], out: NDArray[Any], axes: tuple[int, ...], choice: Choice
) -> int | None:
    """Add gradients to `out` where the indices say, on a device. An index that lies in no plane, or None."""
    from . import opencl

    return opencl.run_scatter(grad, indices, out, axes, choice.queues)
