"""`tune`: what the processor and the devices of this machine take, measured once and kept."""

from __future__ import annotations

import datetime
import itertools
import math
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _kernels, cpu, dispatch, functional, measured
from .costs import CALL, KERNELS, LAYOUTS, SORTS, Device, Kernel, Processor, Transfer, work_of
from .errors import BackendUnavailable, bad_kind, bad_value
from .explain import Prepared, prepare
from .measured import Measured
from .windows import as_flag

READS = tuple(2**n for n in (18, 21, 24, 27))  # bytes that are read to see what memory costs
READ = 0.75  # of the speed of a plain read is what pooling reaches
SIZES = tuple(2**n for n in (18, 21, 24))  # bytes that are pooled
WINDOWS = (32, 9, 1)  # of each axis of 64: tiled by two, ragged of about eight, global
ROUNDS = 3  # of each measurement at least
ALONE = "cpu, one thread"


def tune(devices: Any = None, *, seconds: float = 10.0, verbose: bool = False) -> Measured:
    """Measure the processor and the devices, for about so many seconds each, and keep what was found.

    From then on, in this process and in later ones, `explain` estimates times for this machine, and an array of the
    host goes to a device, unless something else was asked for, where by these measurements the device wins with its
    transfers. `devices` are some of `cpool.devices()`, or what they are asked for by (default: all that can pool; the
    processor is always measured). What was kept before is replaced. It lies in the user's cache folder
    (CPOOL_CACHE_DIR: another one) and holds for this processor, these drivers and this version of cpool. `verbose`
    tells what is measured.

    >>> import cpool
    >>> found = cpool.tune("cpu", seconds=0.5)
    >>> found.threads == cpool.get_num_threads(), found.devices
    (True, ())
    """
    found = measured.save(measure(devices, seconds=seconds, verbose=verbose))
    dispatch.forget()
    return found


def measure(devices: Any = None, *, seconds: float = 10.0, verbose: bool = False) -> Measured:
    """What `tune` finds, not kept."""
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        bad_kind("seconds", seconds, "a number of seconds is needed")
    if not 0 < seconds < math.inf:
        bad_value("seconds", seconds, "a positive number of seconds is needed")
    told: Callable[[str], None] = _tell if as_flag("verbose", verbose) else _nothing
    engines: list[_Queue] = []
    for name in _names(devices):
        try:
            engines.append(_Queue(name).tried())
        except BackendUnavailable as error:  # noqa: PERF203
            if devices is not None:
                raise
            warnings.warn(f"cpool.tune leaves out {name}: {error}", RuntimeWarning, stacklevel=3)
    threads = cpu.get_num_threads()
    told("the memory")
    processor = Processor(memory=_memory())
    cases = [_Case(*case) for case in itertools.product(SORTS, LAYOUTS, WINDOWS, SIZES)]
    each = seconds * (1 + len(engines)) / len(cases)
    for case in cases:
        told(str(case))
        case.measure(engines, each)
    processor = _fit_processor(processor, cases, threads)
    import cpool

    return Measured(
        cpool=cpool.__version__,
        cpu=cpu.processor_name(),
        threads=threads,
        when=datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        processor=processor,
        devices=tuple(_fit_device(engine, cases) for engine in engines),
        samples=tuple(case.told() for case in cases),
    )


def _tell(what: str) -> None:
    print(f"cpool.tune: {what}", file=sys.stderr, flush=True)


def _nothing(what: str) -> None:
    pass


def _names(devices: Any) -> list[str]:
    """What the devices are asked for by, each once, the processor left out."""
    if devices is None:
        devices = dispatch.devices()
    elif isinstance(devices, (str, dispatch.Device)):
        devices = [devices]
    if not isinstance(devices, (list, tuple)):
        bad_kind("devices", devices, "some of cpool.devices(), or of what they are asked for by, are needed")
    found = [d.backend if isinstance(d, dispatch.Device) else d for d in devices]
    for name in found:
        if not isinstance(name, str):
            bad_kind("devices", name, 'a device of cpool.devices(), or a name like "opencl:0", is needed')
        dispatch.check("devices", name)
    return [name for name in dict.fromkeys(found) if name != "cpu"]


class _Queue:
    """A device that is measured."""

    def __init__(self, name: str) -> None:
        from . import opencl

        self.name = name
        self.queue = opencl.queues("devices", name)[0]
        self.identity = opencl.tuning.identity(self.queue.device)
        self.sent = "{}: {}".format(*self.identity)  # what samples call it
        self.there = f"{self.sent}, there"

    def tried(self) -> _Queue:
        """Itself, after it has pooled something."""
        functional.global_avg_pool(np.ones((1, 1, 3, 5), np.float32), backend=self.name)
        return self

    def calls(
        self, function: Callable[..., Any], x: NDArray[Any], args: tuple[Any, ...], form: str
    ) -> dict[str, Callable[[], object]]:
        """The call with an array of the host, and with one that lies there."""
        from . import opencl

        d = opencl.tuning.there(self.queue, x)
        return {
            self.sent: lambda: function(x, *args, data_format=form, backend=self.name),
            self.there: lambda: opencl.tuning.wait(function(d, *args, data_format=form)),
        }


# ---- measuring --------------------------------------------------------------------------------------


def _memory() -> tuple[tuple[int, float], ...]:
    """Sizes, and what a byte costs a thread that reads so many again and again, in nanoseconds."""
    data = np.ones(READS[-1], np.uint8)
    found = []
    for size in READS:
        part, times = data[:size], max(1, 2**23 // size)
        took = []
        for _ in range(2 * ROUNDS):
            begun = time.perf_counter()
            for _ in range(times):
                _kernels.read(part, cpu.simd())
            took.append(time.perf_counter() - begun)
        found.append((size, max(min(took) / times / size * 1e9 / READ, 1e-6)))  # the least disturbed
    return tuple(found)


@dataclass
class _Case:
    """A call, and the seconds that it took: medians, by engine."""

    sort: str
    layout: str
    windows: int
    size: int

    def __post_init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.work: Any = None
        self.computing = 0.0

    def __str__(self) -> str:
        return f"{self.sort}, channels {self.layout}, 64x64 -> {self.windows}, {self.size / 2**20:g} MB"

    def told(self) -> dict[str, Any]:
        """The case as plain data."""
        shown = {"sort": self.sort, "layout": self.layout, "windows": self.windows, "bytes": self.size}
        return {**shown, "seconds": dict(self.seconds)}

    def measure(self, engines: Sequence[_Queue], seconds: float) -> None:
        """Time it on each engine in turn, for about so many seconds in all."""
        x = np.ones((1, self.size // 4 // 64**2, 64, 64), np.float32)
        if self.layout == "last":
            x = np.ascontiguousarray(np.moveaxis(x, 1, -1))
        args = (self.windows, True) if self.sort == "where" else (self.windows,)
        function = functional.adaptive_avg_pool2d if self.sort == "average" else functional.adaptive_max_pool2d
        form = f"channels_{self.layout}"
        host = prepare(function, x, *args, data_format=form, backend="cpu")
        calls: dict[str, Callable[[], object]] = {"cpu": lambda: host(x), ALONE: lambda: _alone(host, x)}
        for engine in engines:
            calls |= engine.calls(function, x, args, form)
        self.work = work_of(host.plan)
        self.computing = Processor().computing(host.plan)
        self.seconds = _in_turn(calls, seconds)


def _alone(call: Prepared, x: NDArray[Any]) -> object:
    with cpu.threads(1):
        return call(x)


def _in_turn(calls: dict[str, Callable[[], object]], seconds: float) -> dict[str, float]:
    """The medians of the calls' times, taken in turn for about so many seconds."""
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():  # programs are built, tables sent, threads woken
        call()
        call()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(samples["cpu"]) < ROUNDS:
        for name, call in calls.items():
            call()  # wakes the threads, which slept while another engine was timed
            begun = time.perf_counter()
            call()
            samples[name].append(time.perf_counter() - begun)
    return {name: statistics.median(took) for name, took in samples.items()}


# ---- fitting ------------------------------------------------------------------------------------------


def _fit_processor(processor: Processor, cases: Sequence[_Case], threads: int) -> Processor:
    """How fast it computes, by the small cases; how much faster the memory is for all threads, by the large ones."""
    small = [(c.seconds[ALONE] - CALL) / c.computing for c in cases if c.size == SIZES[0]]
    large = [c.seconds[ALONE] / c.seconds["cpu"] for c in cases if c.size > SIZES[0] and c.windows == 1]
    compute = min(max(statistics.median(small), 0.05), 20.0)
    gain = statistics.quantiles(large, n=4)[-1]  # the third quartile: others who compute make it less, never more
    most = max(gain, 1.0) if threads > 1 else processor.most
    return processor._replace(compute=compute, most=most)


def _fit_device(engine: _Queue, cases: Sequence[_Case]) -> Device:
    """The device's costs: of kernels by what took place there, of transfers by what was longer with them."""
    kernels = {}
    for name in KERNELS:
        mine = [case for case in cases if f"{case.sort}, {case.layout}" == name]
        works = [(1.0, case.work.moved, case.work.taps, case.work.results) for case in mine]
        kernels[name] = Kernel(*_fit(4, works, [case.seconds[engine.there] for case in mine]))
    more = [(case, case.seconds[engine.sent] - case.seconds[engine.there]) for case in cases]
    more = [(case, took) for case, took in more if took > 0]
    way = _fit(3, [(1.0, case.work.read, case.work.written) for case, _ in more], [took for _, took in more])
    return Device(*engine.identity, kernels, Transfer(*way))


def _fit(count: int, rows: Iterable[Sequence[float]], seconds: Sequence[float]) -> list[float]:
    """The costs, none negative, by which the rows' sums come nearest to the seconds, in proportion."""
    if not seconds:
        return [0.0] * count
    weight = 1 / np.array(seconds).reshape(-1, 1)
    terms = np.array([list(row) for row in rows], float) * weight
    best, costs = math.inf, [0.0] * count
    for some in itertools.chain.from_iterable(itertools.combinations(range(count), n) for n in range(1, count + 1)):
        part = terms[:, some]
        found = np.linalg.lstsq(part / part.max(0), np.ones(len(part)), rcond=None)[0] / part.max(0)
        off = float(np.square(part @ found - 1).sum())
        if (found >= 0).all() and (part @ found > 0).all() and off < best:
            best = off
            middle = np.exp(np.log(part @ found).mean())  # squares would rather have estimates too small than too large
            costs = [float(found[some.index(i)] / middle) if i in some else 0.0 for i in range(count)]
    return costs
