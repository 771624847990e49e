"""Pooling for arrays, without a deep-learning framework: exact, reproducible, at the memory's speed."""

from __future__ import annotations

from .config import show_config
from .cpu import get_num_threads, set_num_threads, threads
from .dispatch import devices, use_backend
from .errors import BackendUnavailable
from .explain import explain, prepare
from .functional import (
    adaptive_avg_pool,
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    avg_pool,
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
    global_avg_pool,
)
from .windows import strided_windows, windows

__version__ = "0.1.0"

__all__ = [
    "BackendUnavailable",
    "__version__",
    "adaptive_avg_pool",
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "avg_pool",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "devices",
    "explain",
    "get_num_threads",
    "global_avg_pool",
    "prepare",
    "set_num_threads",
    "show_config",
    "strided_windows",
    "threads",
    "use_backend",
    "windows",
]
