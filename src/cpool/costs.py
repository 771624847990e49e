"""What a plan costs: seconds on the processor, seconds on a device.

A small model: a call, bytes that must move, elements that are added, results that are finished. Moving and adding
overlap, so the longer of them counts. What the constants below say was measured on a server's processor with AVX-512;
`tune` measures this machine. Only what is estimated depends on any of this, never what is computed.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from . import cpu
from .plan import Plan

CALL = 3e-6  # seconds of a call that was seen before
GATHER = 8.0  # nanoseconds more for each element, where rows are copied to tiles first
SHARE = 0.85  # what each further thread adds
SLOWER = {"avx512": 1.0, "avx2": 1.4, "baseline": 2.5}  # than AVX-512

# Nanoseconds on one thread for each element that is added, and for each result, by the kernel's path.
WORK: dict[str, dict[str, tuple[float, float]]] = {
    "rows": {
        "float": (0.23, 1.8),
        "double": (0.85, 3.8),
        "small": (0.15, 1.8),
        "large": (0.42, 6.6),
        "largest": (0.42, 1.0),
        "where": (0.75, 16.0),
    },
    "planes": {"float": (0.33, 0.95), "double": (0.59, 3.4)},
    "pixels": {
        "float": (0.17, 0.4),
        "double": (0.45, 2.0),
        "small": (0.10, 1.5),
        "large": (0.10, 2.0),
        "largest": (0.11, 1.2),
        "where": (0.42, 2.5),
    },
    "lanes": {
        "float": (0.10, 8.8),
        "double": (0.27, 12.0),
        "small": (0.11, 32.0),
        "large": (0.10, 21.0),
        "largest": (0.10, 21.0),
        "where": (0.75, 66.0),
    },
    "wide": {
        "float": (0.23, 100.0),
        "double": (0.75, 200.0),
        "small": (0.11, 100.0),
        "large": (0.48, 100.0),
        "largest": (0.36, 100.0),
        "where": (0.75, 200.0),
    },
    "copy": dict.fromkeys(("float", "double", "small", "large", "largest", "where"), (0.1, 0.0)),
    "sliding": {"largest": (2.3, 0.0)},
}

SORTS = ("average", "largest", "where")
LAYOUTS = ("first", "last")  # where channels are: first, or so many last that neighbours are worked on side by side
KERNELS = tuple(f"{sort}, {layout}" for sort in SORTS for layout in LAYOUTS)  # what devices are measured at


class Work(NamedTuple):
    """What there is to do."""

    read: int  # bytes
    written: int
    rows: float  # elements, each as often as rows of windows hold it
    taps: float  # elements, each as often as windows hold it
    passes: float  # elements, each as often as it is compared where large windows are made of their halves
    results: int

    @property
    def moved(self) -> int:
        """Bytes read and written."""
        return self.read + self.written


def work_of(plan: Plan) -> Work:
    """What the plan has to do; found once."""
    found: Work | None = plan.compiled.get("work")
    if found is None:
        found = plan.compiled["work"] = _work_of(plan)
    return found


def _work_of(plan: Plan) -> Work:
    often = [float(a.windows.sizes.sum()) / a.windows.length for a in plan.pooled]
    halves = [math.log2(max(int(a.windows.sizes.max(initial=1)), 2)) + 1 for a in plan.pooled]
    results = math.prod(plan.out_shape)
    return Work(
        read=plan.elements * plan.item.itemsize,
        written=results * (plan.out_dtype.itemsize + 8 * plan.indexed),
        rows=plan.elements * math.prod(often[:-1]),
        taps=plan.elements * math.prod(often),
        passes=plan.elements * sum(halves),
        results=results,
    )


def sort_of(plan: Plan) -> str:
    """What is looked for: an average, the largest, or where they are, too."""
    if plan.indexed:
        return "where"
    return "largest" if plan.reducer == "max" else "average"


def kernel_of(plan: Plan) -> str:
    """Which of KERNELS runs the plan on a device."""
    return f"{sort_of(plan)}, {LAYOUTS[plan.beside is not None]}"


def _sort_on_cpu(plan: Plan) -> str:
    """As `sort_of`, but averages by their sums: of floats, of small or large integers, of what takes pairs of sums."""
    if plan.reducer == "max":
        return sort_of(plan)
    if plan.item.itemsize == 8:
        return "double"
    if plan.item.kind in "biu":
        return "small" if plan.item.itemsize <= 2 else "large"
    return "float"


class Processor(NamedTuple):
    """What the processor's time is made of."""

    memory: tuple[tuple[int, float], ...] = ((2**18, 0.02), (2**22, 0.04), (2**26, 0.09))  # bytes, nanoseconds for one
    compute: float = 1.0  # times the nanoseconds of WORK
    most: float = 8.0  # times as fast as for one thread the memory is for many

    def seconds(self, plan: Plan, threads: int) -> float:
        """What the plan takes on so many threads, the second time."""
        return CALL + max(self.computing(plan) / _gain(threads), self.moving(plan) / min(_gain(threads), self.most))

    def computing(self, plan: Plan) -> float:
        """The seconds of one thread, if memory were at hand."""
        call, work = cpu.call_of(plan), work_of(plan)
        path = "sliding" if plan.slides else call.path
        each, result = WORK[path][_sort_on_cpu(plan)]
        elements = {"sliding": work.passes, "rows": work.rows, "planes": plan.elements}.get(path, work.taps)
        took = each * elements + result * work.results + (GATHER * plan.elements if call.gathers else 0.0)
        return took * self.compute * SLOWER.get(call.isa, 1.0) * 1e-9

    def moving(self, plan: Plan) -> float:
        """The seconds of one thread that only reads and writes."""
        moved = work_of(plan).moved
        return moved * self._byte(moved) * 1e-9

    def _byte(self, moved: int) -> float:
        """Nanoseconds for a byte where so many are moved: between two that were measured, on a line of logarithms."""
        (low, least), *rest = self.memory
        if moved <= low:
            return least
        for high, cost in rest:
            if moved < high:
                part = math.log(moved / low) / math.log(high / low)
                return math.exp((1 - part) * math.log(least) + part * math.log(cost))
            low, least = high, cost
        return least


def _gain(threads: int) -> float:
    """How many times as fast so many threads are."""
    return 1 + SHARE * (threads - 1)


class Kernel(NamedTuple):
    """Seconds on a device: of a launch, and for each byte moved, element that windows hold, and result."""

    launch: float
    byte: float
    tap: float
    result: float


class Transfer(NamedTuple):
    """Seconds between host and device: of a call, and for each byte sent and fetched."""

    call: float
    send: float
    fetch: float


class Device(NamedTuple):
    """What a device's time is made of."""

    platform: str
    name: str
    driver: str
    kernels: dict[str, Kernel]  # by KERNELS
    transfer: Transfer

    def seconds(self, plan: Plan, *, sent: bool) -> float:
        """What the plan takes there, with an array that is `sent` there and results that are fetched, or without."""
        work = work_of(plan)
        kernel, way = self.kernels[kernel_of(plan)], self.transfer
        finished = work.results if work.taps > work.results else 0  # what is one element is copied
        took = kernel.launch + kernel.byte * work.moved + kernel.tap * work.taps + kernel.result * finished
        return took + way.call + way.send * work.read + way.fetch * work.written if sent else took
