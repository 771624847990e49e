"""Devices: arrays that lie there, and arrays of the host sent there and back."""

from typing import Any

from harness.adapters import values_of

from . import regime
from .averages import BOTH
from .regime import DEVICES, Device, Host, place, spelled

MANY = 20


class DeviceResident(regime.Regime):
    """Arrays that stay on the device: many calls enqueued one behind the other, and one wait for them all."""

    backends = tuple(DEVICES) or ("opencl",)
    shapes = BOTH

    def setup(self, *params: str) -> None:
        """Put the array there."""
        _needs_device(params[-1])
        super().setup(*params)
        self.run, self.finish = self.ready.run, _device(params[-1]).queue.finish

    def time_calls(self, *params: str) -> None:
        """Twenty calls."""
        for _ in range(MANY):
            self.run()
        self.finish()


class HostDeviceHost(regime.Timed):
    """An array of the host: sent there, pooled, and brought back."""

    backends = tuple(DEVICES) or ("opencl",)
    shapes = BOTH

    def setup(self, *params: str) -> None:
        """Keep the array on the host."""
        _needs_device(params[-1])
        super().setup(*params)
        host, case = Host(1), self.ready.case
        names: dict[str, Any] = {**self.ready.names, **case.given, "queue": _device(params[-1]).queue}
        self.call = eval(f"lambda: {spelled(self.function, case)[:-1]}, backend=queue)", names)
        if not case.right(host.get(values_of(case, self.call()))):
            raise AssertionError(f"a wrong result of {case}")


def _needs_device(backend: str) -> None:
    if backend not in DEVICES:
        raise NotImplementedError("there is no OpenCL device here")


def _device(backend: str) -> Device:
    found = place(backend)
    assert isinstance(found, Device)
    return found
