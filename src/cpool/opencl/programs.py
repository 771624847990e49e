"""Programs: built once for a context, a device and a set of types, and their kernels, one for each thread."""

from __future__ import annotations

import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyopencl as cl

from cpool.errors import BackendUnavailable
from cpool.plan import Cache

from . import devices

PROGRAMS = 64  # kept at most; a program holds its context

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


class Program:
    """A built program. Setting a kernel's arguments isn't safe from several threads: each has its own."""

    def __init__(self, context: Any, device: Any, files: tuple[str, ...], options: tuple[str, ...]) -> None:
        text = _texts.get(files)
        if text is None:
            text = _texts[files] = "\n".join((_SOURCES / name).read_text(encoding="utf-8") for name in files)
        try:
            # What a compiler has to say where all went well; one at a time, since the filters are everybody's.
            with _quiet, warnings.catch_warnings():
                warnings.simplefilter("ignore", cl.CompilerWarning)
                self._built = cl.Program(context, text).build(["-cl-std=CL1.2", *options], [device])
        except cl.RuntimeError as error:
            way_out = f"{NEWER}; or" if "unknown target CPU" in str(error) else ";"
            raise BackendUnavailable(
                f"the backend 'opencl' can't build its kernels for {device.name.strip()}{way_out} "
                f"use backend='cpu'.\nBuilt with {' '.join(options)}: {error}"
            ) from error
        self._kernels: dict[tuple[int, str], Any] = {}

    def kernel(self, name: str) -> Any:
        """The kernel, for this thread."""
        key = threading.get_ident(), name
        found = self._kernels.get(key)
        if found is None:
            found = cl.Kernel(self._built, name)
            found.set_scalar_arg_dtypes(_SCALARS[name])
            self._kernels[key] = found
        return found


known: Cache[Program] = Cache(entries=PROGRAMS, weight=PROGRAMS)


def program(queue: Any, files: tuple[str, ...], options: tuple[str, ...]) -> Program:
    """The program for the queue's context and device."""
    context, device = queue.context, queue.device
    if devices.traits(device).fp64:
        options = (*options, "-DFP64")
    key = (context.int_ptr, device.int_ptr, files, options)
    return known.get(key, lambda: (Program(context, device, files, options), 1))


def whole_groups(items: int, group: int) -> tuple[tuple[int], tuple[int]]:
    """The sizes of a launch of at least so many items: OpenCL 1.2 has whole work-groups only."""
    return (-(-items // group) * group,), (group,)
