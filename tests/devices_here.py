"""OpenCL devices as engines of the suite: for arrays of the host, for arrays on the device, and as what they are not.

A processor that passes for a GPU runs the GPU's ways of sharing work; one without doubles the pairs of floats.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from helpers import call_on_host, here

import cpool

NO_DOUBLES = "float64 needs doubles, which this device hasn't"


@dataclass(frozen=True)
class Device:
    """An OpenCL device, by its number, and what it passes for."""

    number: int
    arrays: bool  # of the device; else of the host
    traits: dict[str, Any] = field(default_factory=dict)
    types: tuple[str, ...] = ()  # only these, where they are named: it takes ways that two others take, too

    def __str__(self) -> str:
        told = [k if v else f"no-{k}" for k, v in self.traits.items()]
        return "-".join([f"opencl{self.number}", "arrays" if self.arrays else "host", *told])

    @contextlib.contextmanager
    def on(self) -> Iterator[None]:
        """Everything within the block runs on this device."""
        from cpool.opencl import devices

        with devices.pretend(**self.traits), cpool.use_backend(f"opencl:{self.number}"):
            before = here.bits, here.call
            here.bits, here.call = str(self), self._call
            try:
                yield
            finally:
                here.bits, here.call = before

    def _call(self, function: Any, arrays: tuple[Any, ...], *args: Any, **options: Any) -> Any:
        if self.refuses_doubles() and "max" not in function.__name__ and needs_doubles(arrays[0].dtype, options):
            with pytest.raises(cpool.BackendUnavailable, match="has no doubles"):
                call_on_host(function, arrays, *args, **options)
            pytest.skip(NO_DOUBLES)
        if not self.arrays or not all(a.dtype.isnative for a in arrays):
            return call_on_host(function, arrays, *args, **options)
        queue = queue_of(self.number)
        result = function(*(there(queue, a) for a in arrays), *args, **options)
        return tuple(map(back, result)) if isinstance(result, tuple) else back(result)

    def refuses_doubles(self) -> bool:
        from cpool.opencl import devices

        with devices.pretend(**self.traits):
            return not devices.traits(devices.everything()[self.number]).fp64


def needs_doubles(dtype: np.dtype, options: dict[str, Any]) -> bool:
    """Whether an average of this type is float64."""
    if options.get("dtype") is None:
        return dtype.str[1:] in ("f8", "c16") or (dtype.kind in "iu" and dtype.itemsize > 2)
    return np.dtype(options["dtype"]).str[1:] in ("f8", "c16")


def engines() -> list[Device]:
    """Those that CPOOL_TEST_OPENCL asks for."""
    asked = os.environ.get("CPOOL_TEST_OPENCL")
    if not asked:
        return []
    from cpool.opencl import devices

    found = [
        number
        for number, device in enumerate(devices.everything())
        if asked == "any" or asked.lower() in f"{device.platform.name} {device.platform.version}".lower()
    ]
    if not found:
        raise LookupError(f"CPOOL_TEST_OPENCL asks for {asked!r}, and no OpenCL platform here is like that")
    return [engine for number in (found if asked == "any" else found[:1]) for engine in engines_of(number)]


def engines_of(number: int) -> list[Device]:
    """What a device passes for."""
    return [
        Device(number, False),
        Device(number, True, {"cpu": False}),
        Device(number, True, {"fp64": False}),
        Device(number, True, {"cpu": False, "fp64": False}, ("float32", "float16")),
    ]


_queues: dict[int, Any] = {}


def queue_of(number: int) -> Any:
    """A queue of the tests' own."""
    import pyopencl as cl

    from cpool.opencl import devices

    if number not in _queues:
        context = cl.Context([devices.everything()[number]])
        _queues[number] = cl.CommandQueue(context), context
    return _queues[number][0]


def there(queue: Any, x: np.ndarray) -> Any:
    """x as an array on the device, with the same strides in a copy of the same memory."""
    import pyopencl as cl
    import pyopencl.array

    reach = [(n - 1) * s for n, s in zip(x.shape, x.strides, strict=True)] if x.size else []
    low, high = sum(r for r in reach if r < 0), sum(r for r in reach if r > 0) + x.itemsize
    memory = bytearray(high - low)
    if x.size:
        np.ndarray(x.shape, x.dtype, memory, -low, x.strides)[...] = x
    buffer = cl.Buffer(queue.context, cl.mem_flags.READ_WRITE | cl.mem_flags.COPY_HOST_PTR, hostbuf=memory)
    return cl.array.Array(queue, x.shape, x.dtype, data=buffer, offset=-low, strides=x.strides)


def back(x: Any) -> np.ndarray:
    """An array of the device, whatever its strides, as one of the host."""
    import pyopencl as cl

    memory = np.empty(max(x.base_data.size, 1), np.uint8)
    cl.enqueue_copy(x.queue, memory, x.base_data, wait_for=x.events)
    return np.ndarray(x.shape, x.dtype, memory.data, x.offset, x.strides).copy(order="K")
