"""Gradients with respect to the input."""

from .averages import maps, strided
from .regime import Timed


class Backward(Timed):
    """Of averages."""

    function = "adaptive_avg_pool2d_backward"
    shapes = maps("adaptive average gradient")


class BackwardMax(Timed):
    """Of the largest, by their indices."""

    function = "adaptive_max_pool2d_backward"
    shapes = maps("adaptive max gradient")


class BackwardStrided(Timed):
    """Of averages of kernels at strides."""

    function = "avg_pool2d_backward"
    shapes = strided("gradient")


class BackwardMaxStrided(Timed):
    """Of the largest of kernels at strides."""

    function = "max_pool2d_backward"
    shapes = strided("max gradient")
