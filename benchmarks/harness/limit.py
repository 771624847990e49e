"""The limit: plain reads, or copies, of the same memory with the same threads, in C (limits.c)."""

from __future__ import annotations

import ctypes
import os
import shlex
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .timing import Loop

Array = NDArray[Any]
SOURCE = Path(__file__).with_name("limits.c")


class Unavailable(Exception):
    """Why something can't be used here."""


@cache
def library() -> ctypes.CDLL:
    """limits.c, compiled with $CC (else cc) and loaded."""
    compiler = shlex.split(os.environ.get("CC", "cc"))
    with tempfile.TemporaryDirectory() as folder:
        built = Path(folder) / "limits.so"
        command = [*compiler, "-O3", "-fPIC", "-shared", str(SOURCE), "-o", str(built)]
        try:
            done = subprocess.run([*command, "-fopenmp"], capture_output=True, text=True, check=False)
            if done.returncode:
                done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            raise Unavailable(f"no C compiler: {error}") from error
        if done.returncode:
            raise Unavailable(f"limits.c does not compile: {done.stderr.strip()[-200:]}")
        try:
            loaded = ctypes.CDLL(str(built))
        except OSError as error:
            raise Unavailable(str(error)) from error
    loaded.limit_start.restype = ctypes.c_char_p
    size, pointer, count = ctypes.c_size_t, ctypes.c_void_p, ctypes.c_int
    loaded.limit_read.argtypes = [pointer, size, count, ctypes.c_long]
    loaded.limit_read.restype = None
    loaded.limit_copy.argtypes = [pointer, size, pointer, size, count, count, ctypes.c_long]
    loaded.limit_copy.restype = None
    loaded.limit_start()
    return loaded


def instruction_set() -> str:
    """What the loops of the limit are made of."""
    name: bytes = library().limit_start()
    return name.decode()


def aligned(size: int) -> NDArray[np.uint8]:
    """Bytes that have been touched, from a multiple of 64 on."""
    space = np.ones(size + 64, np.uint8)
    start = -space.ctypes.data % 64
    return space[start : start + size]


def variants(x: Array, bytes_out: int, copies: bool, threads: int, reads: int = 1) -> list[Loop]:
    """The ways to read x (so many times), or to read it and write so much; the fastest is the limit.

    Small arrays are read faster by one thread, and large copies written faster past the caches.
    """
    lib = library()
    if threads > 1 and not lib.limit_openmp():
        raise Unavailable("the C compiler has no OpenMP")
    size = x.nbytes
    counts = sorted({1, threads}, reverse=True)

    def read(t: int) -> Loop:
        return Loop(f"read, {t} thread(s)", lambda n: lib.limit_read(x.ctypes.data, size, t, n * reads))

    if not copies:
        return [read(t) for t in counts]
    target = aligned(bytes_out)

    def copy(t: int, streaming: int) -> Loop:
        def run(n: int) -> None:
            source = x.ctypes.data
            if reads == 1:
                lib.limit_copy(source, size, target.ctypes.data, bytes_out, streaming, t, n)
                return
            for _ in range(n):
                lib.limit_read(source, size, t, reads - 1)
                lib.limit_copy(source, size, target.ctypes.data, bytes_out, streaming, t, 1)

        text = f"{'read, then ' * (reads - 1)}copy{', streaming' if streaming else ''}, {t} thread(s)"
        return Loop(text, run)

    return [copy(t, streaming) for t in counts for streaming in (0, 1)]
