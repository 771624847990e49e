"""The machine that figures belong to: caches, processor, versions, OpenMP runtimes."""

from __future__ import annotations

import datetime
import os
import platform
import re
import sys
import timeit
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

TINY = 128 * 1024  # bytes moved below which the call itself, not the memory, takes the time


@dataclass(frozen=True)
class Caches:
    """Bytes of second-level cache per core, and of third-level cache."""

    l2: int
    l3: int

    def tier(self, moved: int, threads: int) -> str:
        """Where `moved` bytes of input and output lie while they are pooled again and again."""
        if moved <= TINY:
            return "tiny"
        if moved <= self.l2 * threads:
            return "L2"
        return "L3" if moved <= self.l3 else "DRAM"


@cache
def caches() -> Caches:
    """The caches as the kernel tells them; 1 MiB and 32 MiB where it doesn't."""
    sizes: dict[int, int] = {}
    for index in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        try:
            kind = (index / "type").read_text().strip()
            level = int((index / "level").read_text())
            found = re.fullmatch(r"(\d+)([KMG]?)", (index / "size").read_text().strip())
        except (OSError, ValueError):
            continue
        if found and kind != "Instruction":
            sizes[level] = int(found[1]) << {"": 0, "K": 10, "M": 20, "G": 30}[found[2]]
    return Caches(sizes.get(2, 1 << 20), sizes.get(3, 0 if 2 in sizes else 32 << 20))


def cpu_model() -> str:
    """The processor's name."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    found = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1] if found else platform.machine()


def usable_cpus() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def available_memory() -> int | None:
    """Bytes that can be had without swapping; None where nobody tells."""
    try:
        found = re.search(r"^MemAvailable:\s*(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) << 10 if found else None


def openmp_runtimes() -> list[str]:
    """The OpenMP libraries that this process has loaded; several of them fight over the cores."""
    try:
        maps = Path("/proc/self/maps").read_text()
    except OSError:
        return []
    return sorted(set(re.findall(r"/\S*/(lib(?:g|i)?omp\S*)", maps)))


def settling() -> float:
    """Seconds after which the threads of other libraries, which spin after their last work, have fallen asleep."""
    return 0.006 if len(openmp_runtimes()) > 1 else 0.002


def version(package: str) -> str | None:
    """The installed version of a package, without importing it."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def pace() -> float:
    """Microseconds of a loop in plain Python: what absolute times are to be read against."""
    return min(timeit.repeat("sum(range(10000))", number=5, repeat=20)) / 5 * 1e6


def stamp(packages: tuple[str, ...]) -> dict[str, Any]:
    """What every table is stamped with."""
    import numpy as np

    import cpool

    config = cpool.show_config(mode="dicts")
    assert config is not None
    found = caches()
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "cpu": cpu_model(),
        "cpus": usable_cpus(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "sum(range(10000)) us": round(pace(), 1),
        "l2 bytes per core": found.l2,
        "l3 bytes": found.l3,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "instruction set": config["simd"]["used"],
        "python": sys.version.split()[0],
        "numpy": np.__version__,
        "cpool": cpool.__version__,
        "cpool build": config["build"],
        **{package: version(package) for package in packages},
        "openmp": openmp_runtimes(),
    }
