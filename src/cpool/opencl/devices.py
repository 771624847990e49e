"""OpenCL devices: which there are, what they can do, and the queues that host arrays use."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pyopencl as cl

from cpool.errors import BackendUnavailable, bad_value

POCL = "pip install pocl-binary-distribution"
DRIVER = f"Install the driver of your device's vendor, or, to run on the processor, PoCL: {POCL}"
LOST = (-2, -36, -9999)  # the device, its queue, or, as NVIDIA says it, either


@dataclass(frozen=True)
class Traits:
    """What a device can do: asked for, never guessed from a name."""

    name: str
    fp64: bool
    cpu: bool
    unified: bool  # shares the host's memory
    units: int
    group: int  # items of a work-group at most
    local: int  # bytes that they share
    allocation: int  # bytes of a buffer at most
    memory: int
    subnormal: bool  # floats below the smallest normal one are not taken for zero

    @property
    def features(self) -> tuple[str, ...]:
        """What of this is worth to be told."""
        told = {"CPU": self.cpu, "fp64": self.fp64, "subnormal floats": self.subnormal, "host memory": self.unified}
        return tuple(name for name, there in told.items() if there)


class Pair(tuple[Any, Any]):
    """Two queues, and their context: Intel's don't keep theirs alive."""

    context: Any


_pretended: dict[str, Any] = {}
generation = 0  # of what is pretended
_pid: int | None = None  # of the process that uses OpenCL
_lock = threading.Lock()
_found: list[Any] | None = None
_traits: dict[Any, Traits] = {}
_queues: dict[Any, Pair] = {}


def check_process() -> None:
    """OpenCL's threads don't survive a fork, and a child that used its parent's devices would hang."""
    global _pid
    if _pid is None:
        _pid = os.getpid()
    if os.getpid() != _pid:
        raise BackendUnavailable(
            "the backend 'opencl' can't be used in the child of a fork: OpenCL was used before it. "
            "Start processes with multiprocessing's 'spawn' or 'forkserver', or use backend='cpu'"
        )


def everything() -> list[Any]:
    """All devices of all platforms, in the platforms' order."""
    global _found
    check_process()
    with _lock:
        if _found is None:
            try:
                platforms = cl.get_platforms()
            except cl.Error as error:
                raise BackendUnavailable(f"the backend 'opencl' has no platform ({error}). {DRIVER}") from error
            _found = [device for platform in platforms for device in _devices_of(platform)]
        return list(_found)


def _devices_of(platform: Any) -> list[Any]:
    try:
        return list(platform.get_devices())
    except cl.Error:  # a platform without a device says so by an error
        return []


def find(argument: str, backend: str) -> Any:
    """The device that "opencl", "opencl:<number>" or "opencl:<part of a name>" names."""
    devices = everything()
    if not devices:
        raise BackendUnavailable(f"{argument}: got {backend!r}, and no OpenCL platform here has a device. {DRIVER}")
    _, _, name = backend.partition(":")
    if not name:
        return next((d for d in devices if d.type & cl.device_type.GPU), devices[0])
    if name.isdecimal():
        if int(name) >= len(devices):
            bad_value(argument, backend, f"there are {len(devices)} OpenCL devices ({_listed(devices)})")
        return devices[int(name)]
    fits = [d for d in devices if name.lower() in f"{d.platform.name} {d.name}".lower()]
    if len(fits) != 1:
        bad_value(argument, backend, f"{len(fits) or 'none'} of the OpenCL devices fit that name ({_listed(devices)})")
    return fits[0]


def _listed(devices: list[Any]) -> str:
    return ", ".join(f"{i}: {device.name.strip()}" for i, device in enumerate(devices))


def traits(device: Any) -> Traits:
    """What the device can do."""
    known = _traits.get(device)
    if known is None:
        known = _traits[device] = Traits(
            name=device.name.strip(),
            fp64="cl_khr_fp64" in device.extensions.split(),
            cpu=bool(device.type & cl.device_type.CPU),
            unified=bool(device.host_unified_memory),
            units=device.max_compute_units,
            group=device.max_work_group_size,
            local=device.local_mem_size,
            allocation=device.max_mem_alloc_size,
            memory=device.global_mem_size,
            subnormal=bool(device.single_fp_config & cl.device_fp_config.DENORM),
        )
    return replace(known, **_pretended) if _pretended else known


@contextmanager
def pretend(**changed: Any) -> Iterator[None]:
    """Within the block every device has these traits, in the whole process; for tests."""
    global _pretended, generation
    before, _pretended = _pretended, {**_pretended, **changed}
    generation += 1
    try:
        yield
    finally:
        _pretended = before
        generation += 1


def queues(device: Any) -> Pair:
    """Two queues of one context, which all host arrays on this device share."""
    check_process()
    with _lock:
        pair = _queues.get(device)
        if pair is None:
            context = cl.Context([device])
            pair = _queues[device] = Pair((cl.CommandQueue(context), cl.CommandQueue(context)))
            pair.context = context
        return pair


def forget() -> None:
    """Look for devices again, and make new queues: what there was may be lost."""
    global _found
    with _lock:
        _found = None
        _queues.clear()
        _traits.clear()
