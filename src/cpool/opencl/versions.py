"""Which PyOpenCL is new enough; imported without it."""

from __future__ import annotations

import re
from importlib import metadata

from cpool.errors import BackendUnavailable

OLDEST = (2024, 2, 7)  # what is older was built for NumPy 1; pyproject.toml says the same


def installed() -> tuple[int, ...]:
    """The version that is installed, be it importable or not; of none, the oldest that would do."""
    try:
        return tuple(int(n) for n in re.findall(r"\d+", metadata.version("pyopencl")))
    except metadata.PackageNotFoundError:
        return OLDEST


def check_version(version: tuple[int, ...]) -> None:
    """Refuse a PyOpenCL that is too old."""
    if version < OLDEST:
        here, wanted = (".".join(map(str, v)) for v in (version, OLDEST))
        raise BackendUnavailable(
            f"the backend 'opencl' isn't there: PyOpenCL {here} is too old, {wanted} or later is needed. "
            f"Install it: pip install --upgrade 'pyopencl>={wanted}'"
        )
