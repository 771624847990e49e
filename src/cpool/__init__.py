"""Pooling for arrays, without a deep-learning framework: exact, reproducible, at the memory's speed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .arrays import empty_aligned
from .config import show_config
from .cpu import get_num_threads, set_num_threads, threads
from .dispatch import devices, use_backend
from .errors import BackendUnavailable
from .excite import squeeze_excite
from .explain import explain, prepare
from .functional import (
    adaptive_avg_pool,
    adaptive_avg_pool1d,
    adaptive_avg_pool1d_backward,
    adaptive_avg_pool2d,
    adaptive_avg_pool2d_backward,
    adaptive_avg_pool3d,
    adaptive_avg_pool3d_backward,
    adaptive_avg_pool_backward,
    adaptive_max_pool,
    adaptive_max_pool1d,
    adaptive_max_pool1d_backward,
    adaptive_max_pool2d,
    adaptive_max_pool2d_backward,
    adaptive_max_pool3d,
    adaptive_max_pool3d_backward,
    adaptive_max_pool_backward,
    avg_pool,
    avg_pool1d,
    avg_pool1d_backward,
    avg_pool2d,
    avg_pool2d_backward,
    avg_pool3d,
    avg_pool3d_backward,
    avg_pool_backward,
    global_avg_pool,
    global_avg_pool_backward,
    global_max_pool,
    global_max_pool_backward,
    max_pool,
    max_pool1d,
    max_pool1d_backward,
    max_pool2d,
    max_pool2d_backward,
    max_pool3d,
    max_pool3d_backward,
    max_pool_backward,
)
from .windows import strided_windows, windows

if TYPE_CHECKING:
    from . import nn
    from ._native import Pool
    from .tuning import tune

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """What is imported when it is first asked for: not everybody wants it, and it takes its time."""
    if name in ("nn", "opencl"):
        from importlib import import_module

        return import_module(f"cpool.{name}")
    if name == "Pool":
        from ._native import Pool

        return Pool
    if name == "tune":
        from .tuning import tune

        return tune
    raise AttributeError(f"module 'cpool' has no attribute {name!r}")


__all__ = [
    "BackendUnavailable",
    "Pool",
    "__version__",
    "adaptive_avg_pool",
    "adaptive_avg_pool1d",
    "adaptive_avg_pool1d_backward",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool2d_backward",
    "adaptive_avg_pool3d",
    "adaptive_avg_pool3d_backward",
    "adaptive_avg_pool_backward",
    "adaptive_max_pool",
    "adaptive_max_pool1d",
    "adaptive_max_pool1d_backward",
    "adaptive_max_pool2d",
    "adaptive_max_pool2d_backward",
    "adaptive_max_pool3d",
    "adaptive_max_pool3d_backward",
    "adaptive_max_pool_backward",
    "avg_pool",
    "avg_pool1d",
    "avg_pool1d_backward",
    "avg_pool2d",
    "avg_pool2d_backward",
    "avg_pool3d",
    "avg_pool3d_backward",
    "avg_pool_backward",
    "devices",
    "empty_aligned",
    "explain",
    "get_num_threads",
    "global_avg_pool",
    "global_avg_pool_backward",
    "global_max_pool",
    "global_max_pool_backward",
    "max_pool",
    "max_pool1d",
    "max_pool1d_backward",
    "max_pool2d",
    "max_pool2d_backward",
    "max_pool3d",
    "max_pool3d_backward",
    "max_pool_backward",
    "nn",
    "prepare",
    "set_num_threads",
    "show_config",
    "squeeze_excite",
    "strided_windows",
    "threads",
    "tune",
    "use_backend",
    "windows",
]
