"""What devices cost, as far as only PyOpenCL can tell: which one was measured, what is usual, how to wait."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyopencl as cl
import pyopencl.array as cla

from cpool import measured
from cpool.costs import KERNELS, Device, Kernel, Transfer
from cpool.errors import BackendUnavailable
from cpool.plan import Plan, product

from . import devices, transfers


def identity(device: Any) -> tuple[str, str, str]:
    """Platform, name and driver: if one of them changes, figures are stale."""
    return device.platform.name.strip(), device.name.strip(), f"{device.platform.version} {device.driver_version}"


def queues_like(known: Device) -> tuple[Any, Any]:
    """The queues of the device that was measured."""
    for device in devices.everything():
        platform, name, driver = identity(device)
        if (platform, name) == (known.platform, known.name):
            if driver != known.driver:
                raise BackendUnavailable(
                    f"{name} was measured with driver {known.driver!r}, and here is {driver!r}; run cpool.tune()"
                )
            return devices.queues(device)
    raise BackendUnavailable(f"the device {known.name!r} of {known.platform!r} was measured and isn't there")


def costs_of(device: Any) -> tuple[Device, bool]:
    """What the device's time is made of, and whether that was measured."""
    found, _ = measured.here()
    told = identity(device)
    for known in () if found is None else found.devices:
        if (known.platform, known.name, known.driver) == told:
            return known, True
    return _usual(device, *told), False


def _usual(device: Any, platform: str, name: str, driver: str) -> Device:
    """What may be expected of a device by what it tells of itself: an order of magnitude."""
    can = devices.traits(device)
    if can.cpu:  # between PoCL's and Intel's on cores of 2019 and 2024
        tap = {"average": 2.5e-10, "largest": 6e-10, "where": 6e-10}
        kernels = {k: Kernel(5e-5, 1e-11, tap[k.split(",")[0]] / can.units, 2e-9 / can.units) for k in KERNELS}
    else:
        byte = 3e-11 if can.unified else 5e-12
        kernels = {name: Kernel(3e-5, byte, 1e-11, 1e-11) for name in KERNELS}
    way = Transfer(1e-4, 1e-11, 1e-10) if can.unified else Transfer(1e-4, 1.5e-10, 1.5e-10)
    return Device(platform, name, driver, kernels, way)


def takes_unasked(plan: Plan, queue: Any) -> bool:
    """Whether the plan certainly runs there, and with types like those that were measured.

    A device that nobody asked for must not fail where the processor would not: a plane has to fit into a piece.
    """
    can = devices.traits(queue.device)
    room = min(can.allocation, can.memory // 8, transfers.PIECE)
    pooled = {a for a, table in zip(plan.axes, plan.tables, strict=True) if table is not None}
    planes = product([n for a, n in enumerate(plan.x_shape) if a not in pooled]) or 1
    result = product(plan.out_shape) * max(plan.out_dtype.itemsize, 8 * plan.indexed)
    plane = max(product(plan.x_shape) * plan.x_dtype.itemsize, result) // planes
    return plan.item.itemsize <= 4 and plan.out_item.itemsize <= 4 and plane <= room


def there(queue: Any, x: np.ndarray[Any, Any]) -> Any:
    """x as an array on the device."""
    return cla.to_device(queue, x)


def wait(result: Any) -> None:
    """Wait until a result is there, of one array or of several."""
    for array in result if isinstance(result, tuple) else (result,):
        cl.wait_for_events(array.events)
