"""Squeeze-and-excite: read once for the averages, once more for the product."""

from harness.cases import EXCITED, Row
from harness.words import DIVISIBLE

from .regime import Timed


class SqueezeExcite(Timed):
    """The whole block."""

    function = "squeeze_excite"
    shapes = {
        f"{n} of {c} channels, {h}x{w}": {
            DIVISIBLE: Row("squeeze-excite", (n, c, h, w), (), "squeeze-excite", "excite")
        }
        for n, c, h, w in EXCITED
    }
