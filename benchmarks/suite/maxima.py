"""The largest, and where they are."""

from dataclasses import replace

from harness.cases import Row

from .averages import BOTH
from .regime import DIVISIBLE, RAGGED, Timed, first_of, row


def _maps(operation: str) -> dict[str, dict[str, Row]]:
    """The feature maps of the averages, for another operation."""
    return {
        name: {division: replace(row, operation=operation) for division, row in rows.items()}
        for name, rows in BOTH.items()
    }


class Max(Timed):
    """The largest of each window."""

    function = "adaptive_max_pool2d"
    types = ("float32", "uint8")
    shapes = _maps("adaptive max")


class MaxWithIndices(Timed):
    """The largest of each window, and its index."""

    function = "adaptive_max_pool2d"
    shapes = _maps("adaptive max pair")


class MaxStrided(Timed):
    """The largest of kernels at strides, as networks have them."""

    function = "max_pool2d"
    shapes = {
        "one feature map, 112x112": {
            DIVISIBLE: first_of(row("max 8x64x112x112 -> k2 s2")),
            RAGGED: first_of(row("max 8x64x112x112 -> k3 s2 p1")),
        },
    }


class MaxSliding(Timed):
    """Large windows that move by one element."""

    function = "max_pool2d"
    shapes = {"31x31 in 128x128": {RAGGED: first_of(row("max 4x64x128x128 -> k31 s1 p15"))}}
