"""What this build is and what it found."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from . import _kernels, cpu, dispatch


def config() -> dict[str, Any]:
    """Version, build, instruction set, threads and devices as dictionaries."""
    import cpool

    built = _kernels.build_info()
    return {
        "cpool": cpool.__version__,
        "python": sys.version.split()[0],
        "numpy": np.__version__,
        "build": {
            "compiler": built["compiler"],
            "openmp": "yes" if built["openmp"] else "no: built without OpenMP, everything runs on one thread",
        },
        "simd": {"used": cpu.simd(), "available": list(cpu.simd_available())},
        "threads": {
            "used": cpu.get_num_threads() if built["openmp"] else 1,
            "usable cpus": cpu.usable_cpus(),
            "forked child": _kernels.is_forked(),
        },
        "devices": [str(device) for device in dispatch.devices()],
        "opencl": dispatch.opencl_state(),
        "tuned": dispatch.tuning_state(),
    }


def show_config(mode: str = "stdout") -> dict[str, Any] | None:
    """Print what `config` finds, or return it with mode="dicts", like `numpy.show_config`.

    >>> import cpool
    >>> cpool.show_config()  # doctest: +ELLIPSIS
    cpool: ...
    >>> sorted(cpool.show_config(mode="dicts"))
    ['build', 'cpool', 'devices', 'numpy', 'opencl', 'python', 'simd', 'threads', 'tuned']
    """
    found = config()
    if mode == "dicts":
        return found
    if mode != "stdout":
        raise ValueError(f"mode: got {mode!r}; 'stdout' or 'dicts' is needed")
    for name, value in found.items():
        if isinstance(value, dict):
            print(f"{name}:")
            for key, inner in value.items():
                print(f"  {key}: {', '.join(inner) if isinstance(inner, list) else inner}")
        elif isinstance(value, list):
            print(f"{name}:")
            for item in value:
                print(f"  {item}")
        else:
            print(f"{name}: {value}")
    return None
