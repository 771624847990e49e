"""The exceptions of cpool and the wording that they share."""

from __future__ import annotations

from typing import NoReturn

import numpy as np


class BackendUnavailable(RuntimeError):
    """A backend that was asked for is not there; the message says which, why and what installs it.

    >>> import numpy as np, cpool
    >>> def pooled(x):
    ...     try:
    ...         return cpool.global_avg_pool(x, backend="opencl")
    ...     except cpool.BackendUnavailable:
    ...         return cpool.global_avg_pool(x)  # nobody falls back for you
    >>> pooled(np.ones((1, 2, 5, 5), np.float32)).shape
    (1, 2, 1, 1)
    """


def _told(came: object) -> str:
    """What came, in a line: of an array its shape, not its elements."""
    shape = getattr(came, "shape", ())
    return f"an array of shape {shape}" if isinstance(shape, tuple) and len(shape) else repr(came)


def bad_value(argument: str, came: object, wanted: str) -> NoReturn:
    """Raise the ValueError for an argument of the right kind and a wrong value."""
    raise ValueError(f"{argument}: got {_told(came)}; {wanted}")


def bad_kind(argument: str, came: object, wanted: str) -> NoReturn:
    """Raise the TypeError for an argument of the wrong kind: a value, or a class or a dtype that says it all."""
    if isinstance(came, type):
        text = repr(came.__name__)
    elif isinstance(came, np.dtype):
        text = f"dtype {came}"
    else:
        text = f"{_told(came)} of type {type(came).__name__}"
    raise TypeError(f"{argument}: got {text}; {wanted}")
