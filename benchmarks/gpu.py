#!/usr/bin/env python3
"""cpool on OpenCL devices, with arrays that lie there: as a fraction of what the same device reads in the same run.

Kernels are timed by the device's own events where their timer has a resolution and agrees with the wall clock, else
by the wall clock over many calls. Calls take turns at several arrays, more than caches hold together, and so do the
peers'. Data are random and each result is held against the CPU's before it is timed.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import time
import timeit
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from harness import machine
from harness.cases import Row, select
from harness.goals import ESTIMATED, Finding, at_least, at_most
from harness.output import table

LEAST = 2**28  # bytes that are read to find the bandwidth, and that calls take turns at: more than caches hold
MANY = 4096  # arrays that they take turns at, at most
LARGE = 2**22  # bytes moved by the rows that are summed up
ROUNDS = 7

# docs/opencl.md states these: of the large rows' means, and of a call with out=
TORCH = 1.0  # of torch's speed, on its GPU or, for a processor, on the CPU
OWN = 0.5  # of the speed of cpool's own CPU backend, for a processor
HOST = 25e-6  # seconds

READ = """
__kernel void read_all(__global const float4 *x, ulong count, __global float *out)
{
    float4 sum = 0;
    for (ulong i = get_global_id(0); i < count; i += get_global_size(0))
        sum += x[i];
    out[get_global_id(0)] = sum.x + sum.y + sum.z + sum.w;
}

__kernel void copy_all(__global const float4 *x, ulong count, __global float4 *out)
{
    for (ulong i = get_global_id(0); i < count; i += get_global_size(0))
        out[i] = x[i];
}
"""


@dataclass(frozen=True)
class Line:
    """What was measured of a row."""

    row: str
    regime: str
    kind: str
    layout: str
    dtype: str
    kernel: str
    seconds: float
    by: str
    gbps: float
    fraction: float  # of what a plain sum reads
    copied: float  # of what a copy moves
    host_seconds: float  # of a call
    call_seconds: float  # until its result is there
    cpu_seconds: float  # of cpool's own CPU backend
    torch_seconds: float | None  # on its GPU, or on the CPU where the device is one
    estimated: dict[str, float]  # seconds by explain(), with the usual constants and with those of tune()
    processor: bool  # the device is one

    @property
    def large(self) -> bool:
        """Whether it is among the rows that are summed up."""
        return self.gbps * self.seconds * 1e9 >= LARGE

    def misses(self) -> str:
        """What the row by itself is below: the goals are for means."""
        found = []
        if self.large and self.torch_seconds is not None and self.torch_seconds < TORCH * self.seconds:
            found.append("torch")
        if self.large and self.processor and self.cpu_seconds < OWN * self.seconds:
            found.append("CPU")
        found += [way for way in self.estimated if self.off(way) > 2]
        return ", ".join(found) or "-"

    def off(self, way: str) -> float:
        """By which factor the estimate is too large or too small."""
        ratio = self.estimated[way] / self.call_seconds
        return max(ratio, 1 / ratio)


def wall(queue: Any, call: Callable[[], Any], seconds: float) -> float:
    """Seconds per call, of calls enqueued one behind the other."""
    call()
    queue.finish()
    n = 1
    while True:
        begun = time.perf_counter()
        for _ in range(n):
            call()
        queue.finish()
        took = time.perf_counter() - begun
        if took >= seconds:
            return took / n
        n = max(2 * n, min(10 * n, int(n * seconds / max(took, 1e-9)) + 1))


def by_events(queue: Any, call: Callable[[], Any]) -> float:
    """Seconds per call from the end of one call's last kernel to that of the third after it: no kernel is left out."""
    ends = [call().events[-1] for _ in range(4)]
    queue.finish()
    return (ends[-1].profile.end - ends[0].profile.end) / 1e9 / (len(ends) - 1)


def seconds_of(queue: Any, call: Callable[[], Any]) -> tuple[float, str]:
    """The median of some rounds, and what it was timed by."""
    clock = statistics.median(wall(queue, call, 0.02) for _ in range(ROUNDS))
    if queue.device.profiling_timer_resolution:
        found = statistics.median(by_events(queue, call) for _ in range(ROUNDS))
        if 0.8 * clock < found < 1.2 * clock or (clock < 1e-4 and 0 < found < clock):
            return found, "events"
    return clock, "wall"


def bandwidth(cl: Any, queue: Any) -> tuple[float, float]:
    """Bytes per second of a plain vectorised sum and of a copy, the best of some sizes of launch."""
    data = np.random.default_rng(0).random(LEAST // 4, np.float32)
    flags = cl.mem_flags
    buffer = cl.Buffer(queue.context, flags.READ_ONLY | flags.COPY_HOST_PTR, hostbuf=data)
    other = cl.Buffer(queue.context, flags.READ_WRITE, data.nbytes)
    program = cl.Program(queue.context, READ).build()
    best = []
    for kernel, moved in ((cl.Kernel(program, "read_all"), 1), (cl.Kernel(program, "copy_all"), 2)):
        took = []
        for items in (64, 1024, 2**14, 2**17, 2**20):

            def call(kernel: Any = kernel, items: int = items) -> None:
                kernel(queue, (items,), (min(items, 64),), buffer, np.uint64(len(data) // 4), other)

            took.append(statistics.median(wall(queue, call, 0.05) for _ in range(5)))
        best.append(moved * data.nbytes / min(took))
    return best[0], best[1]


def turns_at(size: int, room: int) -> int:
    """How many arrays of so many bytes calls take turns at."""
    return max(1, min(-(-LEAST // size), MANY, room // size))


def call_times(queue: Any, call: Callable[[], Any]) -> tuple[float, float]:
    """Seconds that a call takes of the host, the device being left to itself, and until its result is there."""
    host, whole = [], []
    end = time.perf_counter() + 1
    while len(host) < 20 or (len(host) < 200 and time.perf_counter() < end):
        begun = time.perf_counter()
        call()
        host.append(time.perf_counter() - begun)
        queue.finish()
        whole.append(time.perf_counter() - begun)
    return statistics.median(host), statistics.median(whole)


def plain_time(call: Callable[[], Any]) -> float:
    """Seconds of a call that has ended when it returns: the median of some rounds."""
    return statistics.median(timeit.repeat(call, number=3, repeat=ROUNDS)) / 3


def torch_time(row: Row, dtype: str, layout: str, on_cpu: bool, count: int) -> float | None:
    """Seconds that torch takes for the row on its own GPU, or on the CPU; None if it can't."""
    try:
        import torch
    except (ImportError, OSError):
        return None
    if not on_cpu and not torch.cuda.is_available():
        return None
    x = torch.rand(row.shape, device="cpu" if on_cpu else "cuda").to(getattr(torch, dtype))
    if layout == "last" and len(row.shape) == 4:
        x = x.to(memory_format=torch.channels_last)
    turns = itertools.cycle([x, *(x.clone() for _ in range(count - 1))])
    pool = getattr(torch.nn.functional, f"adaptive_avg_pool{row.rank}d")
    size = row.arguments[0]
    if on_cpu:
        return plain_time(lambda: pool(next(turns), size))
    found = []
    for _ in range(ROUNDS):
        pool(x, size)
        begun, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begun.record()
        for _ in range(10):
            pool(next(turns), size)
        ended.record()
        torch.cuda.synchronize()
        found.append(begun.elapsed_time(ended) / 1e4)
    return statistics.median(found)


def measure(
    cl: Any, queue: Any, row: Row, dtype: str, layout: str, speeds: tuple[float, float], ways: dict[str, Any]
) -> Line:
    """One row, checked and timed; what is estimated of it in several ways."""

    import cpool
    from cpool import measured

    rng = np.random.default_rng(1)
    shape = row.shape_of("input", layout)
    x = rng.random(shape, np.float32).astype(dtype)
    options = {"data_format": "channels_last"} if layout == "last" else {}
    name = f"adaptive_avg_pool{row.rank}d"
    pool, size = getattr(cpool, name), row.arguments[0]
    d = cl.array.to_device(queue, x)
    expected = pool(x, size, **options)
    found = pool(d, size, **options).get()
    if not np.allclose(found, expected, rtol=2e-3 if dtype == "float16" else 1e-6):
        raise SystemExit(f"{row.name}, {dtype}, channels {layout}: wrong result")
    count = turns_at(x.nbytes + expected.nbytes, queue.device.global_mem_size // 4)
    there = [d, *(d.copy() for _ in range(count - 1))]
    turns = itertools.cycle([(one, cl.array.empty(queue, expected.shape, expected.dtype)) for one in there])

    def call() -> Any:
        one, out = next(turns)
        return pool(one, size, out=out, **options)

    seconds, by = seconds_of(queue, call)
    moved = x.nbytes + expected.nbytes
    host, whole = call_times(queue, call)
    on_host = itertools.cycle([x, *(x.copy() for _ in range(count - 1))])
    processor = bool(queue.device.type & cl.device_type.CPU)
    estimated = {}
    for way, known in ways.items():
        with measured.pretend(known):
            told = cpool.explain(name, d, size, **options)
        estimated[way] = told.estimated_seconds
    return Line(
        row=row.name,
        regime=row.regime,
        kind=row.kind,
        layout=layout,
        dtype=dtype,
        kernel=told.kernel,
        seconds=seconds,
        by=by,
        gbps=moved / seconds / 1e9,
        fraction=moved / seconds / speeds[0],
        copied=moved / seconds / speeds[1],
        host_seconds=host,
        call_seconds=whole,
        cpu_seconds=plain_time(lambda: pool(next(on_host), size, **options)),
        torch_seconds=torch_time(row, dtype, layout, processor, count),
        estimated=estimated,
        processor=processor,
    )


HEAD = (
    "shape", "windows", "channels", "type", "kernel", "us", "by", "GB/s", "of the read speed", "of a copy",
    "host us", "call us", "CPU / it", "torch / it", "estimate / call", "tuned", "misses",
)  # fmt: skip


def cells(line: Line) -> tuple[str, ...]:
    """A line of the table."""
    return (
        line.row, line.kind, line.layout, line.dtype, line.kernel, f"{line.seconds * 1e6:.1f}", line.by,
        f"{line.gbps:.1f}", f"{line.fraction:.2f}", f"{line.copied:.2f}",
        f"{line.host_seconds * 1e6:.0f}", f"{line.call_seconds * 1e6:.0f}",
        f"{line.cpu_seconds / line.seconds:.2f}",
        "-" if line.torch_seconds is None else f"{line.torch_seconds / line.seconds:.2f}",
        *(f"{estimate / line.call_seconds:.2f}" for estimate in line.estimated.values()),
        line.misses(),
    )  # fmt: skip


def findings(lines: list[Line]) -> list[Finding]:
    """What the lines come to, held against the goals."""
    found = []
    for layout in dict.fromkeys(line.layout for line in lines):
        large = [line for line in lines if line.layout == layout and line.large]
        for name, ratios, goal in (
            ("cpool on the CPU", [line.cpu_seconds / line.seconds for line in large if line.processor], OWN),
            ("torch", [line.torch_seconds / line.seconds for line in large if line.torch_seconds is not None], TORCH),
        ):
            if ratios:
                mean = statistics.geometric_mean(ratios)
                what = f"channels {layout}, {len(ratios)} of at least 4 MB (least {min(ratios):.2f}), of {name}, mean"
                found.append(at_least(what, mean, goal))
    for way in lines[0].estimated:
        within = sum(line.off(way) <= 2 for line in lines) / len(lines)
        found.append(at_least(f"estimates within a factor of 2, {way}, share", within, ESTIMATED))
    host = statistics.median(line.host_seconds for line in lines)
    found.append(at_most("a call with out= takes of the host", host * 1e6, HOST * 1e6, "us"))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--device", default="opencl", help='as backend= takes it: "opencl", "opencl:1", "opencl:radeon"'
    )
    parser.add_argument("--rows", default="core", help="sets, regimes or parts of names, as in peers.py")
    parser.add_argument("--dtypes", default="float32,float16")
    parser.add_argument("--layouts", default="first,last")
    parser.add_argument("--most", type=float, default=1e9, help="bytes of the largest input")
    parser.add_argument("--seconds", type=float, default=5, help="for what tune() measures first")
    parser.add_argument("--hold", action="store_true", help="fail where a goal of docs/opencl.md is missed")
    parser.add_argument("--out", type=Path, help="folder for gpu.json and gpu.md")
    args = parser.parse_args()
    try:
        import pyopencl as cl

        import cpool
        from cpool import tuning
        from cpool.opencl import devices

        device = devices.find("--device", args.device)
        ways = {"usual": None, "tuned": tuning.measure(args.device, seconds=args.seconds)}
    except (ImportError, ValueError, RuntimeError) as error:
        print(f"gpu.py: {error}", file=sys.stderr)
        return 2
    context = cl.Context([device])
    queue = cl.CommandQueue(context, properties=cl.command_queue_properties.PROFILING_ENABLE)
    speeds = bandwidth(cl, queue)
    title = (
        f"{device.name.strip()} on {device.platform.name.strip()} {device.version}, driver {device.driver_version}; "
        f"reads {speeds[0] / 1e9:.1f} GB/s, copies {speeds[1] / 1e9:.1f} GB/s (what is read and what is written); "
        f"cpool {cpool.__version__}, PyOpenCL {cl.VERSION_TEXT}"
    )
    print(f"# {title}\n")
    lines = []
    for row in select(args.rows.split(","), quick=False):
        for dtype in args.dtypes.split(","):
            if row.bytes_of(dtype)[0] > args.most or row.operation != "adaptive average":
                continue
            for layout in args.layouts.split(","):
                lines.append(measure(cl, queue, row, dtype, layout, speeds, ways))
                print(*cells(lines[-1]), sep=" | ", flush=True)
    if not lines:
        print("gpu.py: no row was measured", file=sys.stderr)
        return 1
    judged = findings(lines)
    summed = [f"{'met   ' if one.met else 'MISSED'} {one.goal}: {one.found}" for one in judged]
    print("", *summed, sep="\n")
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        found = {
            "device": title,
            "read": speeds[0],
            "copy": speeds[1],
            "machine": machine.stamp(("numpy", "pyopencl", "torch")),
        }
        found["goals"] = [one.to_dict() for one in judged]
        found["lines"] = [asdict(line) for line in lines]
        (args.out / "gpu.json").write_text(json.dumps(found, indent=1))
        text = "\n\n".join([f"# {title}", table(HEAD, [cells(line) for line in lines]), *summed])
        (args.out / "gpu.md").write_text(f"{text}\n")
    return int(args.hold and not all(one.met for one in judged))


if __name__ == "__main__":
    sys.exit(main())
