"""What `tune` measured on this machine: the file that holds it, and whether it still holds.

The file is read when something first depends on it, never at import. One that doesn't fit this machine or can't be
read is as good as none; `show_config` tells why.
"""

from __future__ import annotations

import json  # here: an import within a call takes a lock, which the child of a fork may find taken for ever
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, replace
from typing import Any

from . import cpu
from .costs import KERNELS, Device, Kernel, Processor, Transfer

FORMAT = 2
FILE = "tuning.json"
MOST = 2**22  # bytes of a file that can be ours


@dataclass(frozen=True)
class Measured:
    """What `tune` found; `str()` is a summary, `to_dict()` has every figure."""

    cpool: str  # versions, names and times belong to what was measured
    cpu: str
    threads: int
    when: str
    processor: Processor
    devices: tuple[Device, ...]
    samples: tuple[dict[str, Any], ...] = ()  # one for each case: what, and seconds by engine
    path: str = ""  # where it is kept

    def to_dict(self) -> dict[str, Any]:
        """The same as plain dictionaries, lists and numbers."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        found["processor"] = self.processor._asdict()
        found["devices"] = [
            d._asdict() | {"kernels": {k: v._asdict() for k, v in d.kernels.items()}, "transfer": d.transfer._asdict()}
            for d in self.devices
        ]
        plain: dict[str, Any] = json.loads(json.dumps({"format": FORMAT, **found}))
        return plain

    def wins(self, device: Device) -> int:
        """In how many cases the device was faster than the processor, with its transfers."""
        key = f"{device.platform}: {device.name}"
        return sum(s["seconds"][key] < s["seconds"]["cpu"] for s in self.samples if key in s["seconds"])

    def __str__(self) -> str:
        memory = ", ".join(f"{1 / cost:.1f} at {size / 2**20:g} MB" for size, cost in self.processor.memory)
        lines = [
            f"measured   {self.when} with cpool {self.cpool}, {len(self.samples)} cases",
            f"cpu        {self.cpu}",
            f"           memory, GB/s on one thread: {memory}; {self.processor.most:.1f} times that on {self.threads}",
            f"           computing takes {self.processor.compute:.2f} times the usual time",
        ]
        for device in self.devices:
            way, kernel = device.transfer, device.kernels[KERNELS[0]]
            lines += [
                f"device     {device.name} on {device.platform}, driver {device.driver}",
                f"           a launch takes {kernel.launch * 1e6:.0f} us, there and back {way.call * 1e6:.0f} us more",
                f"           sends {_rate(way.send)}, fetches {_rate(way.fetch)}",
                f"           with transfers faster than the CPU in {self.wins(device)} of {len(self.samples)} cases",
            ]
        if self.path:
            lines.append(f"kept in    {self.path}")
        return "\n".join(lines)


def _rate(cost: float) -> str:
    return f"{1e-9 / cost:.1f} GB/s" if cost > 1e-12 else "at no cost"


# ---- from plain data ------------------------------------------------------------------------------


def from_dict(told: Any) -> Measured:
    """What `to_dict` gave; a ValueError that names what isn't right."""
    if _entry(told, "format", int) != FORMAT:
        raise ValueError(f"format {told['format']} is not {FORMAT}")
    processor = _entry(told, "processor", dict)
    memory = tuple((int(_number(size)), _number(cost)) for size, cost in _pairs(processor, "memory"))
    sizes = [0, *(size for size, _ in memory)]
    if not memory or min(cost for _, cost in memory) <= 0 or sorted(set(sizes)) != sizes:
        raise ValueError("memory is not a list of growing sizes and their costs")
    samples = _entry(told, "samples", list)
    if not all("cpu" in _numbers(sample, "seconds") for sample in samples):
        raise ValueError("a sample has no seconds of the CPU")
    return Measured(
        cpool=_entry(told, "cpool", str),
        cpu=_entry(told, "cpu", str),
        threads=_entry(told, "threads", int),
        when=_entry(told, "when", str),
        processor=Processor(memory, _positive(processor, "compute"), _positive(processor, "most")),
        devices=tuple(_device(d) for d in _entry(told, "devices", list)),
        samples=tuple(samples),
    )


def _device(told: Any) -> Device:
    kernels = _entry(told, "kernels", dict)
    return Device(
        platform=_entry(told, "platform", str),
        name=_entry(told, "name", str),
        driver=_entry(told, "driver", str),
        kernels={name: _of(Kernel, kernels, name) for name in KERNELS},
        transfer=_of(Transfer, told, "transfer"),
    )


def _of(kind: Any, told: Any, name: str) -> Any:
    costs = _numbers(told, name)
    if set(costs) != set(kind._fields):
        raise ValueError(f"{name} holds {sorted(costs)}, not {sorted(kind._fields)}")
    return kind(**costs)


def _entry(told: Any, name: str, kind: type) -> Any:
    value = told.get(name) if isinstance(told, dict) else None
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"{name} is not there, or no {kind.__name__}")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= sys.float_info.max:
        raise ValueError(f"{value!r} is no cost")
    return float(value)


def _positive(told: Any, name: str) -> float:
    value = _number(told.get(name))
    if value <= 0:
        raise ValueError(f"{name} is {value!r}")
    return value


def _numbers(told: Any, name: str) -> dict[str, float]:
    return {key: _number(value) for key, value in _entry(told, name, dict).items()}


def _pairs(told: Any, name: str) -> list[list[Any]]:
    pairs = _entry(told, name, list)
    if not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
        raise ValueError(f"{name} is not a list of pairs")
    return pairs  # type: ignore[no-any-return]  # checked just now


# ---- the file -----------------------------------------------------------------------------------------


def folder() -> str:
    """The user's folder for what can be made again: CPOOL_CACHE_DIR, or what the system says."""
    own = os.environ.get("CPOOL_CACHE_DIR")
    if own:
        return own
    if sys.platform == "win32":
        return os.path.join(os.environ.get("LOCALAPPDATA") or _at_home("AppData", "Local"), "cpool")
    if sys.platform == "darwin":
        return _at_home("Library", "Caches", "cpool")
    base = os.environ.get("XDG_CACHE_HOME", "")
    return os.path.join(base if os.path.isabs(base) else _at_home(".cache"), "cpool")


def _at_home(*parts: str) -> str:
    home = os.path.expanduser("~")
    if home == "~":
        raise RuntimeError("there is no home folder")
    return os.path.join(home, *parts)


def save(found: Measured) -> Measured:
    """Keep it for this process and for later ones; the file is whole at any time, whoever else writes it."""
    import tempfile

    global _state
    os.makedirs(folder(), exist_ok=True)
    path = os.path.join(folder(), FILE)
    found = replace(found, path=path)
    handle, aside = tempfile.mkstemp(".json", "tuning-", folder())
    try:
        with open(handle, "w", encoding="utf-8") as file:
            json.dump(found.to_dict(), file, indent=1)
            file.flush()
            os.fsync(handle)
        os.replace(aside, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(aside)
        raise
    _state = found, ""
    return found


def load() -> tuple[Measured | None, str]:
    """What was measured here, if it is there and fits; else None, and why."""
    try:
        path = os.path.join(folder(), FILE)
        with open(path, encoding="utf-8") as file:
            text = file.read(MOST)
    except FileNotFoundError:
        return None, "no: cpool.tune() measures this machine"
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: there is no home
        return None, f"ignored: can't be read ({error}); cpool.tune() measures again"
    try:
        found = replace(from_dict(json.loads(text)), path=path)
    except (ValueError, RecursionError) as error:
        return None, f"ignored: {path} is malformed ({error}); cpool.tune() measures again"
    import cpool

    for what, then, now in (("cpool", found.cpool, cpool.__version__), ("CPU", found.cpu, cpu.processor_name())):
        if then != now:
            return None, f"ignored: {path} was measured with {what} {then!r}, and here is {now!r}; run cpool.tune()"
    return found, ""


_state: tuple[Measured | None, str] | None = None


def here() -> tuple[Measured | None, str]:
    """What `load` found when something first depended on it."""
    global _state
    found = _state
    if found is None:
        found = _state = load()
    return found


def processor() -> Processor:
    """What the processor's time is made of: as measured, or what is usual."""
    found, _ = here()
    return Processor() if found is None else found.processor


@contextmanager
def pretend(found: Measured | None) -> Iterator[None]:
    """Within the block this was measured here, in the whole process; for tests and benchmarks."""
    global _state
    before, _state = _state, (found, "" if found else "no")
    try:
        yield
    finally:
        _state = before
