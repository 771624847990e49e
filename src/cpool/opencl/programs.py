"""Programs: built once for a context, a device and a set of types, and their kernels, one for each thread."""

from __future__ import annotations

import sqlite3
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyopencl as cl

from cpool import cpu
from cpool.errors import BackendUnavailable
from cpool.plan import Cache

from . import devices

PROGRAMS = 64  # kept at most; a program holds its context
GROUP = 64  # items of a group at most, where they have nothing to do with each other

# PoCL as PyPI has it is of 2022, and can't compile for processors that its LLVM had not heard of.
NEWER = (
    ", whose compiler is older than this processor. Install a newer one: Debian's pocl-opencl-icd, "
    "or Intel's runtime, which runs on AMD's processors, too (docs/opencl.md: Installing)"
)
_SOURCES = Path(__file__).parent / "kernels"
_quiet = threading.Lock()
_texts: dict[tuple[str, ...], str] = {}

_U32, _U64 = np.uint32, np.uint64
_SCALARS: dict[str, tuple[Any, ...]] = {
    "pool": (None, _U64, None, _U64, None, None, _U64, _U32, _U32, _U32, None, None, _U64),
    "part": (None, _U64, None, None, _U64, _U32, _U32, _U32, _U32, _U32, None, None),
    "whole": (None, _U64, None, _U64, None, _U64, _U32, None, None, _U64),
    "look": (None, _U64, None, None, _U64, None, None),
    "enclose": (None, None, _U32, _U64),
    "squeeze": (None, None, None, None, _U64, _U64, _U64),
    "gates": (None, None, None, None, _U64, _U64, _U64),
    "scale": (None, _U64, None, _U64, None, None, _U64),
    "scatter": (None, _U64, None, _U64, None, _U64, None, None, _U64),
}


def _takes_zen_4_for_3(device: Any) -> bool:
    """PoCL whose LLVM knows no Zen 4: it compiles for Zen 3, without AVX-512, and links a library of vectors that has
    it. That doesn't fail: it ends the process."""
    return "PoCL" in device.version and device.version.strip().endswith("-znver3") and "avx512" in cpu.simd_available()


def _build(context: Any, device: Any, text: str, options: tuple[str, ...]) -> Any:
    options = ("-cl-std=CL1.2", *options)
    # What a compiler has to say where all went well; one at a time, since the filters are everybody's.
    with _quiet, warnings.catch_warnings():
        warnings.simplefilter("ignore", cl.CompilerWarning)
        try:
            return cl.Program(context, text).build(list(options), [device])
        except (KeyError, OSError):  # PyOpenCL has no folder to keep what was built (and a bug where it says so)
            return cl.Program(context, text).build(list(options), [device], cache_dir=False)


class Program:
    """A built program. Setting a kernel's arguments isn't safe from several threads: each has its own."""

    def __init__(self, context: Any, device: Any, files: tuple[str, ...], options: tuple[str, ...]) -> None:
        if _takes_zen_4_for_3(device):
            raise BackendUnavailable(
                f"the backend 'opencl' can't build its kernels for {device.name.strip()}{NEWER}; or use backend='cpu'"
            )
        text = _texts.get(files)
        if text is None:
            text = _texts[files] = "\n".join((_SOURCES / name).read_text(encoding="utf-8") for name in files)
        try:
            self._built = _build(context, device, text, options)
        except cl.Error as error:
            if isinstance(error, cl.MemoryError) or getattr(error, "code", None) in devices.LOST:
                raise
            way_out = f"{NEWER}; or" if "unknown target CPU" in str(error) else ";"
            raise BackendUnavailable(
                f"the backend 'opencl' can't build its kernels for {device.name.strip()}{way_out} "
                f"use backend='cpu'.\nBuilt with {' '.join(options)}: {error}"
            ) from error
        self._device = device
        self._kernels: dict[tuple[int, str], Any] = {}
        self._groups: dict[str, int] = {}

    def kernel(self, name: str) -> Any:
        """The kernel, for this thread."""
        key = threading.get_ident(), name
        found = self._kernels.get(key)
        if found is None:
            try:
                found = cl.Kernel(self._built, name)
                found.set_scalar_arg_dtypes(_SCALARS[name])
            except (OSError, sqlite3.Error) as error:
                raise BackendUnavailable(
                    f"the backend 'opencl' has PyOpenCL fail, which can't write to the user's cache folder ({error}). "
                    "Name another one in the environment variable XDG_CACHE_HOME, or set PYOPENCL_NO_CACHE=1"
                ) from error
            self._kernels[key] = found
        return found

    def group(self, name: str, wanted: int) -> int:
        """So many items in a group, or as many as the kernel, by the registers it takes, and the device allow: a half,
        a quarter ..."""
        most = self._groups.get(name)
        if most is None:
            asked = cl.kernel_work_group_info.WORK_GROUP_SIZE
            most = self._groups[name] = self.kernel(name).get_work_group_info(asked, self._device)
        most = min(most, devices.traits(self._device).group)
        while wanted > most and wanted > 1:
            wanted //= 2
        return wanted

    def sizes(self, name: str, items: int, wanted: int = GROUP) -> tuple[tuple[int], tuple[int]]:
        """Of a launch of at least so many items, in groups of at most GROUP: OpenCL 1.2 has whole ones only."""
        group = self.group(name, min(wanted, GROUP))
        return (-(-items // group) * group,), (group,)


known: Cache[Program] = Cache(entries=PROGRAMS, weight=PROGRAMS)


def program(queue: Any, files: tuple[str, ...], options: tuple[str, ...]) -> Program:
    """The program for the queue's context and device."""
    context, device = queue.context, queue.device
    if devices.traits(device).fp64:
        options = (*options, "-DFP64")
    key = (context.int_ptr, device.int_ptr, files, options)
    return known.get(key, lambda: (Program(context, device, files, options), 1))
