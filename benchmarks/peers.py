"""cpool beside its peers and beside the memory: the one harness by which every claim of speed is made.

Everything is timed in one run, in turn, on the same data, and medians are compared: ratios hold on a noisy machine
where single figures don't. The limit is a plain vectorised read of the input with the same number of threads (for
results at least half as large as the input, a copy).
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import json
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import cpool
from cpool import _kernels, cpu

SHAPES: list[tuple[tuple[int, ...], Any]] = [
    ((1, 64, 8, 9), (5, 7)),
    ((1, 64, 10, 9), 7),
    ((1, 96, 32, 32), 1),
    ((8, 2048, 7, 7), 1),
    ((32, 2048, 7, 7), 1),
    ((32, 512, 7, 7), 7),
    ((16, 256, 56, 56), 7),
    ((16, 256, 56, 56), 6),
    ((8, 512, 64, 64), 1),
    ((8, 512, 60, 60), 6),
    ((8, 512, 60, 60), 7),
    ((4, 3, 1080, 1920), 224),
    ((1, 3, 4096, 4096), 512),
    ((1, 3, 4096, 4096), 500),
    ((1, 64, 1024, 1024), 1),
    ((2, 64, 512, 512), 2),
    ((64, 256, 14, 14), 13),
    ((4, 256, 13, 13), 4),
    ((16, 512, 3000), 375),
    ((2, 512, 16, 14, 14), (1, 7, 7)),
    ((1, 1, 10980, 10980), 1000),
]
QUICK = 2_000_000  # elements of the largest input of a quick run


@dataclass
class Row:
    """One shape, timed."""

    shape: tuple[int, ...]
    size: Any
    layout: str
    dtype: str
    threads: int
    megabytes: float
    tier: str
    cpool_us: float
    limit_us: float
    peers_us: dict[str, float]


def tiers() -> tuple[int, int]:
    """Bytes of the level 2 cache of a core and of the last level."""
    sizes = {}
    for entry in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        text = (entry / "size").read_text().strip()
        sizes[int((entry / "level").read_text())] = int(text[:-1]) * {"K": 2**10, "M": 2**20}[text[-1]]
    return sizes.get(2, 2**20), sizes.get(3, 32 * 2**20)


def numpy_type(name: str) -> np.dtype[Any]:
    """The type by name; bfloat16 comes from ml_dtypes."""
    if name == "bfloat16":
        return np.dtype(importlib.import_module("ml_dtypes").bfloat16)
    return np.dtype(name)


def make(shape: tuple[int, ...], layout: str, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """Random data in the layout's own order of axes."""
    random = np.random.default_rng(0)
    stored = shape if layout == "first" else (shape[0], *shape[2:], shape[1])
    if dtype.kind in "iu":
        return random.integers(0, np.iinfo(dtype).max, stored, dtype=dtype, endpoint=True)
    return random.random(stored, dtype=np.float32).astype(dtype, copy=False)


def limit(x: np.ndarray[Any, Any], out_bytes: int, threads: int) -> Callable[[], None]:
    """Read the input (or copy, where the result is large) with as many threads."""
    raw = np.ascontiguousarray(x).reshape(-1).view(np.uint8)
    parts = np.array_split(raw, threads)
    isa = cpu.simd_available()[0]
    if 2 * out_bytes >= raw.nbytes:
        target = np.empty_like(raw)
        targets = np.array_split(target, threads)
        jobs = [lambda a=a, b=b: np.copyto(b, a) for a, b in zip(parts, targets, strict=True)]
    else:
        jobs = [lambda a=a: _kernels.read(a, isa) for a in parts]
    if threads == 1:
        return jobs[0]
    if raw.nbytes < 4 * 2**20:  # starting threads would take longer: what one thread needs, shared out evenly
        return jobs[0]

    def run() -> None:
        others = [threading.Thread(target=job) for job in jobs[1:]]
        for other in others:
            other.start()
        jobs[0]()
        for other in others:
            other.join()

    return run


def torch_call(x: np.ndarray[Any, Any], size: Any, layout: str, threads: int) -> Callable[[], Any] | None:
    """The same pooling by torch on the same memory; None without torch."""
    try:
        torch = importlib.import_module("torch")
    except ImportError:
        return None
    torch.set_num_threads(threads)
    tensor = torch.from_numpy(x.view(np.uint16)).view(torch.bfloat16) if x.dtype.name == "bfloat16" else None
    if tensor is None:
        if x.dtype.kind in "iu":
            return None
        tensor = torch.from_numpy(x)
    if layout == "last":
        tensor = tensor.movedim(-1, 1)
    function = getattr(torch.nn.functional, f"adaptive_avg_pool{x.ndim - 2}d")

    def run() -> Any:
        with torch.inference_mode():
            return function(tensor, size)

    return run


def pillow_call(x: np.ndarray[Any, Any], size: Any) -> Callable[[], Any] | None:
    """Pillow's reduce, for single planes of bytes that divide evenly."""
    planes = math.prod(x.shape[:-2])
    if x.dtype != np.uint8 or planes != 1 or not isinstance(size, int) or x.shape[-1] % size or x.shape[-2] % size:
        return None
    try:
        image = importlib.import_module("PIL.Image").fromarray(x.reshape(x.shape[-2:]))
    except ImportError:
        return None
    return lambda: image.reduce((x.shape[-1] // size, x.shape[-2] // size))


def pace(call: Callable[[], Any], seconds: float) -> float:
    """Seconds per call over a slice of time."""
    calls, begun = 0, time.perf_counter()
    while True:
        call()
        calls += 1
        passed = time.perf_counter() - begun
        if passed >= seconds:
            return passed / calls


def check(x: np.ndarray[Any, Any], result: np.ndarray[Any, Any], layout: str) -> None:
    """A wrong result must not be timed: the mean of all is kept where windows tile the axes."""
    axes = tuple(range(2, x.ndim)) if layout == "first" else tuple(range(1, x.ndim - 1))
    if any(x.shape[a] % result.shape[a] for a in axes):
        low, high = x.min(), x.max()
        if not (low <= result.min() and result.max() <= high):
            raise SystemExit(f"wrong result for {x.shape}: averages outside the data")
        return
    exact, ours = x.astype(np.float64).mean(axes), result.astype(np.float64).mean(axes)
    close = 1e-2 if x.dtype.itemsize == 2 else 1e-5
    if not np.allclose(exact, ours, rtol=close):
        raise SystemExit(f"wrong result for {x.shape}: off by {np.abs(exact - ours).max()}")


def measure(shape: tuple[int, ...], size: Any, layout: str, dtype: str, threads: int, rounds: int, pause: float) -> Row:
    """Time one shape: everything in turn, round by round."""
    x = make(shape, layout, numpy_type(dtype))
    cpool.set_num_threads(threads)
    function = getattr(cpool, f"adaptive_avg_pool{len(shape) - 2}d")
    data_format = f"channels_{layout}"
    result = function(x, size, data_format=data_format)
    check(x, result, layout)
    shared = threads if threads > 1 and x.nbytes < 4 * 2**20 else 1
    calls: dict[str, Callable[[], Any]] = {
        "cpool": lambda: function(x, size, data_format=data_format),
        "limit": limit(x, result.nbytes, threads),
    }
    peers = {"torch": torch_call(x, size, layout, threads), "pillow": pillow_call(x, size) if threads == 1 else None}
    calls.update({name: call for name, call in peers.items() if call})
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(pace(call, pause))
    median = {name: float(np.median(t)) * 1e6 for name, t in times.items()}
    l2, l3 = tiers()
    total = x.nbytes + result.nbytes
    return Row(
        shape,
        size,
        layout,
        dtype,
        threads,
        x.nbytes / 1e6,
        "L2" if total <= 0.9 * l2 * threads else "L3" if total <= l3 else "DRAM",
        median["cpool"],
        median["limit"] / shared,
        {name: median[name] for name in calls if name not in ("cpool", "limit")},
    )


def mean_ratio(rows: list[Row], peer: str) -> float:
    """The geometric mean of the peer's time over ours."""
    return math.exp(sum(math.log(r.peers_us[peer] / r.cpool_us) for r in rows) / len(rows))


def table(rows: list[Row]) -> str:
    """A Markdown table of rows that share layout, type and threads."""
    peers = sorted({name for r in rows for name in r.peers_us})
    head = ["shape", "result", "MB", "tier", "cpool us", *(f"{p} us" for p in peers), "limit us"]
    head += [*(f"{p}/cpool" for p in peers), "limit/cpool", "GB/s"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for r in rows:
        cells = ["x".join(map(str, r.shape)), str(r.size), f"{r.megabytes:.2f}", r.tier, f"{r.cpool_us:.1f}"]
        cells += [f"{r.peers_us[p]:.1f}" if p in r.peers_us else "-" for p in peers] + [f"{r.limit_us:.1f}"]
        cells += [f"{r.peers_us[p] / r.cpool_us:.2f}" if p in r.peers_us else "-" for p in peers]
        cells += [f"{r.limit_us / r.cpool_us:.2f}", f"{r.megabytes * 1e3 / r.cpool_us:.1f}"]
        lines.append("| " + " | ".join(cells) + " |")
    for p in peers:
        those = [r for r in rows if p in r.peers_us]
        large = [r for r in those if r.tier != "L2"]
        text = f"{p}/cpool, geometric mean: {mean_ratio(those, p):.2f}"
        if large:
            text += f"; beyond L2: {mean_ratio(large, p):.2f}"
        worst = min(those, key=lambda r: r.peers_us[p] / r.cpool_us)
        text += f"; worst row: {worst.peers_us[p] / worst.cpool_us:.2f} ({'x'.join(map(str, worst.shape))})"
        lines += ["", text]
    return "\n".join(lines)


def stamp() -> dict[str, Any]:
    """What a figure is worth nothing without."""
    found = {"date": datetime.date.today().isoformat(), "cpu": cpool.devices()[0].name, "simd": cpu.simd()}
    found |= {"python": sys.version.split()[0], "numpy": np.__version__, "cpool": cpool.__version__}
    for peer in ("torch", "PIL"):
        try:
            found[peer] = importlib.import_module(peer).__version__
        except ImportError:
            found[peer] = "not installed"
    return found


def tiny(rounds: int) -> list[str]:
    """What a call costs beyond its kernel."""
    x = np.random.default_rng(0).random((1, 64, 8, 9), dtype=np.float32)
    y = np.ascontiguousarray(np.moveaxis(x, 1, -1))
    out = cpool.adaptive_avg_pool2d(x, (5, 7))
    prepared = cpool.prepare(cpool.adaptive_avg_pool2d, x, (5, 7))
    one = np.ones((1, 1, 2, 2), np.float32)
    calls = {
        "(1,64,8,9)->(5,7), channels first": lambda: cpool.adaptive_avg_pool2d(x, (5, 7)),
        "(1,64,8,9)->(5,7), channels last": lambda: cpool.adaptive_avg_pool2d(y, (5, 7), data_format="channels_last"),
        "the first, prepared, with out=": lambda: prepared(x, out),
        "(1,1,2,2)->1: the call alone": lambda: cpool.adaptive_avg_pool2d(one, 1),
    }
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(pace(call, 0.02))
    lines = [f"{name}: {np.median(t) * 1e6:.2f} us" for name, t in times.items()]
    program = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"
    extra = []
    for _ in range(rounds):
        a, b = (
            float(subprocess.run([sys.executable, "-c", program.format(m)], capture_output=True, check=True).stdout)
            for m in ("numpy", "cpool")
        )
        extra.append(b - a)
    return [*lines, f"import cpool adds to import numpy: {np.median(extra) * 1e3:.0f} ms"]


def cold(calls: int) -> list[str]:
    """A call of 0.5 MB, 30 ms after the last one."""
    lines = []
    for size in (7, 1):
        x = np.random.default_rng(0).random((1, 128, 32, 32), dtype=np.float32)
        both = {"cpool": lambda x=x, size=size: cpool.adaptive_avg_pool2d(x, size)}
        if (call := torch_call(x, size, "first", cpool.get_num_threads())) is not None:
            both["torch"] = call
        for name, call in both.items():
            call()
            times = []
            for _ in range(calls):
                time.sleep(0.03)
                begun = time.perf_counter()
                call()
                times.append(time.perf_counter() - begun)
            low, high = np.quantile(times, [0.5, 0.9]) * 1e6
            lines.append(
                f"{x.shape} -> {size}, 30 ms after the last call, {name}: median {low:.0f} us, p90 {high:.0f} us"
            )
    return lines


def main() -> int:
    """Run the comparison that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dtypes", default="float32", help="comma-separated: float32,float16,bfloat16,float64,uint8")
    parser.add_argument("--layouts", default="first,last")
    parser.add_argument("--threads", default=str(cpool.get_num_threads()), help="comma-separated numbers")
    parser.add_argument("--rows", default="", help="only shapes whose text contains this")
    parser.add_argument("--simd", help="an instruction set instead of the best: avx512, avx2, baseline")
    parser.add_argument("--quick", action="store_true", help="small shapes, few rounds: does it run?")
    parser.add_argument("--tiny", action="store_true", help="the cost of a call and of the import")
    parser.add_argument("--cold", action="store_true", help="calls after a pause")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, help="a folder for peers.json and peers.md")
    options = parser.parse_args()
    if options.simd:
        os.environ["CPOOL_SIMD"] = options.simd
    rounds, pause = (2, 0.002) if options.quick else (options.rounds, 0.015)
    text = ["  ".join(f"{k} {v}" for k, v in stamp().items())]
    print(text[0], flush=True)
    rows: list[Row] = []
    if options.tiny or options.cold:
        for line in (tiny(rounds) if options.tiny else []) + (
            cold(10 if options.quick else 100) if options.cold else []
        ):
            print(line)
            text.append(line)
    else:
        for threads in map(int, options.threads.split(",")):
            for dtype in options.dtypes.split(","):
                for layout in options.layouts.split(","):
                    part = []
                    for shape, size in SHAPES:
                        named = f"{shape}->{size}"
                        if options.rows in named and not (options.quick and math.prod(shape) > QUICK):
                            part.append(measure(shape, size, layout, dtype, threads, rounds, pause))
                    if not part:
                        raise SystemExit(f"no shape contains {options.rows!r}")
                    title = f"\n{dtype}, channels {layout}, {threads} thread(s)\n"
                    print(title, table(part), sep="\n", flush=True)
                    text += [title, table(part)]
                    rows += part
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "peers.json").write_text(
            json.dumps({"stamp": stamp(), "rows": [asdict(r) for r in rows]}, indent=1)
        )
        (options.out / "peers.md").write_text("\n".join(text) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
