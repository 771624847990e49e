"""Gradients with respect to the input."""

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


def _strided(name: str) -> dict[str, dict[str, Row]]:
    return {
        "one feature map, 112x112": {
            DIVISIBLE: first_of(row(f"{name} 8x64x112x112 -> k2 s2")),
            RAGGED: first_of(row(f"{name} 8x64x112x112 -> k3 s2 p1")),
        },
    }


class Backward(Timed):
    """Of averages."""

    function = "adaptive_avg_pool2d_backward"
    shapes = _maps("adaptive average gradient")


class BackwardMax(Timed):
    """Of the largest, by their indices."""

    function = "adaptive_max_pool2d_backward"
    shapes = _maps("adaptive max gradient")


class BackwardStrided(Timed):
    """Of averages of kernels at strides."""

    function = "avg_pool2d_backward"
    shapes = _strided("gradient")


class BackwardMaxStrided(Timed):
    """Of the largest of kernels at strides."""

    function = "max_pool2d_backward"
    shapes = _strided("max gradient")
