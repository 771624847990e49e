"""Instructions counted by callgrind: figures that no noise can touch. One process for each instruction set."""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .cases import Row
from .words import DIVISIBLE, LAYOUTS, ONE, RAGGED

SOURCE = Path(__file__).with_name("counted.c")
HEADER = Path("/usr/include/valgrind/callgrind.h")
SETS = ("avx2", "baseline")  # valgrind knows no AVX-512
SHAPES = {
    "feature map, 56x56": {
        DIVISIBLE: Row("windows", (1, 16, 56, 56), (7,)),
        RAGGED: Row("windows", (1, 16, 56, 56), (6,)),
    },
    "small planes, 7x7": {
        DIVISIBLE: Row("small planes", (1, 256, 7, 7), (1,)),
        RAGGED: Row("small planes", (1, 256, 7, 7), (3,)),
    },
    "tiny, 8x9": {
        DIVISIBLE: Row("tiny", (1, 64, 8, 9), ((4, 3),)),
        RAGGED: Row("tiny", (1, 64, 8, 9), ((5, 7),)),
    },
}
Key = tuple[str, str, str, str]  # instruction set, shape, division, layout
CASES = [(shape, division, layout) for shape, rows in SHAPES.items() for division in rows for layout in LAYOUTS]
WARM, FEW, MANY = 50, 1, 11


class NotCounted(Exception):
    """Why instructions can't be counted."""


def missing() -> str | None:
    """Why nothing can be counted here; None if it can."""
    return None if shutil.which("valgrind") and HEADER.exists() else "there is no valgrind with its headers"


def counts(sets: tuple[str, ...] = SETS, cases: list[tuple[str, str, str]] = CASES) -> dict[Key, int]:
    """Instructions per call of every case; none where there is no valgrind."""
    if missing():
        return {}
    return {(name, *case): found for name in sets for case, found in zip(cases, _counts(name, cases), strict=True)}


def _counts(simd: str, cases: list[tuple[str, str, str]]) -> list[int]:
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "counted.so"
        _run([os.environ.get("CC", "cc"), "-O2", "-fPIC", "-shared", str(SOURCE), "-o", str(library)])
        told = ["--instr-atstart=no", f"--callgrind-out-file={folder}/out"]
        # random hashes would put calls into other slots
        env = {**os.environ, "CPOOL_SIMD": simd, "CPOOL_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
        env["PYTHONPATH"] = os.pathsep.join(p for p in (str(SOURCE.parents[1]), *sys.path) if p)
        _run(
            [
                "valgrind",
                "--tool=callgrind",
                *told,
                sys.executable,
                "-m",
                "harness.counted",
                str(library),
                json.dumps(cases),
            ],
            env,
        )
        texts = [(Path(folder) / f"out.{i + 1}").read_text() for i in range(2 * len(cases))]
    found = [int(match[1]) for text in texts if (match := re.search(r"^(?:summary|totals): (\d+)", text, re.MULTILINE))]
    if len(found) != 2 * len(cases):
        raise NotCounted(f"callgrind gave {len(found)} counts, {2 * len(cases)} were asked for")
    return [round((many - few) / (MANY - FEW)) for few, many in itertools.pairwise(found)][::2]


def _run(command: list[str], env: dict[str, str] | None = None) -> None:
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    if done.returncode:
        raise NotCounted(f"{' '.join(command)} failed: {done.stderr.strip()[-1000:]}")


def main(library: str, cases: str) -> None:
    """What runs within callgrind: each case some times to get warm, then few and many times, counted."""
    sys.modules["pyopencl"] = None  # type: ignore[assignment]  # devices would take their time to start here
    from suite.regime import Ready

    counted: Callable[[Any, int], int] = ctypes.PyDLL(library).cpool_counted
    counted.argtypes = [ctypes.py_object, ctypes.c_long]  # type: ignore[attr-defined]
    for shape, division, layout in json.loads(cases):
        ready = Ready("adaptive_avg_pool2d", SHAPES[shape][division], layout, "float32", ONE, checked=False)
        for _ in range(WARM):
            ready.call()
        for n in (FEW, MANY):
            if counted(ready.call, n):
                raise NotCounted("a call failed")


if __name__ == "__main__":
    main(*sys.argv[1:])
