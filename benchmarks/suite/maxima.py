"""The largest, and where they are."""

from harness.words import RAGGED

from .averages import maps, strided
from .regime import Timed, first_of, row


class Max(Timed):
    """The largest of each window."""

    function = "adaptive_max_pool2d"
    types = ("float32", "uint8")
    shapes = maps("adaptive max")


class MaxWithIndices(Timed):
    """The largest of each window, and its index."""

    function = "adaptive_max_pool2d"
    shapes = maps("adaptive max pair")


class MaxStrided(Timed):
    """The largest of kernels at strides, as networks have them."""

    function = "max_pool2d"
    shapes = strided("max")


class MaxSliding(Timed):
    """Large windows that move by one element."""

    function = "max_pool2d"
    shapes = {"31x31 in 128x128": {RAGGED: first_of(row("max 4x64x128x128 -> k31 s1 p15"))}}
