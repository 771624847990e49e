"""Averages, one class for each way that windows lie."""

from dataclasses import replace

from harness.cases import Row
from harness.words import DIVISIBLE, RAGGED

from .regime import Timed, first_of, row

FLOATS_AND_BYTES = ("float32", "float16", "bfloat16", "float64", "uint8")
MAPS, SMALL_MAPS = "feature maps, 56x56", "one feature map, 56x56"
BOTH = {
    SMALL_MAPS: {DIVISIBLE: Row("windows", (1, 32, 56, 56), (7,)), RAGGED: Row("windows", (1, 32, 56, 56), (6,))},
    MAPS: {DIVISIBLE: row("16x256x56x56 -> 7"), RAGGED: row("16x256x56x56 -> 6")},
}


def maps(operation: str) -> dict[str, dict[str, Row]]:
    """The feature maps that tiles and ragged windows share, for another operation."""
    return {
        name: {division: replace(row, operation=operation) for division, row in rows.items()}
        for name, rows in BOTH.items()
    }


def strided(name: str) -> dict[str, dict[str, Row]]:
    """Kernels at strides, as networks have them, for the operation that rows are named by."""
    return {
        "one feature map, 112x112": {
            DIVISIBLE: first_of(row(f"{name} 8x64x112x112 -> k2 s2")),
            RAGGED: first_of(row(f"{name} 8x64x112x112 -> k3 s2 p1")),
        },
    }


class Global(Timed):
    """A plane becomes a number."""

    function = "global_avg_pool"
    shapes = {
        "one feature map, 32x32": {DIVISIBLE: row("1x96x32x32 -> 1")},
        "feature maps, 64x64": {DIVISIBLE: row("8x512x64x64 -> 1")},
        "images with 3 channels": {DIVISIBLE: Row("global", (8, 3, 224, 224), (1,))},
    }


class Tiled(Timed):
    """Windows side by side: the output's length divides the input's."""

    types = FLOATS_AND_BYTES
    shapes = {name: {DIVISIBLE: rows[DIVISIBLE]} for name, rows in BOTH.items()}


class Ragged(Timed):
    """Windows whose sizes or steps differ by one."""

    types = FLOATS_AND_BYTES
    shapes = {name: {RAGGED: rows[RAGGED]} for name, rows in BOTH.items()}


class Overlapping(Timed):
    """Equal windows at equal steps that share elements: the remainder is one."""

    shapes = {
        "few planes, 14x14": {RAGGED: first_of(row("64x256x14x14 -> 13"))},
        "many planes, 14x14": {RAGGED: row("64x256x14x14 -> 13")},
    }


class SmallPlanes(Timed):
    """Planes smaller than a vector register's worth of rows: what is done per plane counts."""

    shapes = {
        "7x7": {DIVISIBLE: row("8x2048x7x7 -> 1"), RAGGED: Row("small planes", (8, 2048, 7, 7), (3,))},
        "13x13": {DIVISIBLE: Row("small planes", (4, 256, 12, 12), (4,)), RAGGED: row("4x256x13x13 -> 4")},
    }


class LargePlanes(Timed):
    """Images: few planes, each larger than the caches."""

    shapes = {
        "one image, 1024x1024, 3 channels": {
            DIVISIBLE: Row("large planes", (1, 3, 1024, 1024), (128,)),
            RAGGED: Row("large planes", (1, 3, 1024, 1024), (100,)),
        },
        "one image, 4096x4096, 3 channels": {
            DIVISIBLE: row("1x3x4096x4096 -> 512"),
            RAGGED: row("1x3x4096x4096 -> 500"),
        },
    }


class Upsampling(Timed):
    """More outputs than inputs; divisible where one length is a multiple of the other."""

    shapes = {
        "7x7": {
            DIVISIBLE: Row("upsampling", (4, 256, 7, 7), (14,)),
            RAGGED: Row("upsampling", (4, 256, 7, 7), (17,)),
        },
    }


class Identity(Timed):
    """Windows of one element: a copy."""

    shapes = {"7x7": {DIVISIBLE: row("32x512x7x7 -> 7")}}


class Strided2x2(Timed):
    """Kernel and stride 2: divisible where no row or column is left over."""

    function = "avg_pool2d"
    shapes = {
        "one feature map, 112x112": {
            DIVISIBLE: first_of(row("8x64x112x112 -> k2 s2")),
            RAGGED: Row("strided", (1, 64, 113, 113), (2, 2, 0), "average", "strided"),
        },
    }


class Strided3x3(Timed):
    """Kernel 3: divisible at stride 3, overlapping and padded at stride 2."""

    function = "avg_pool2d"
    shapes = {
        "one feature map, 112x112": {
            DIVISIBLE: Row("strided", (1, 64, 111, 111), (3, 3, 0), "average", "strided"),
            RAGGED: first_of(row("8x64x112x112 -> k3 s2 p1")),
        },
    }


class Signals(Timed):
    """One pooled axis."""

    function = "adaptive_avg_pool1d"
    shapes = {
        "audio, 3000 frames": {
            DIVISIBLE: first_of(row("16x512x3000 -> 375")),
            RAGGED: Row("signal", (1, 512, 3000), (370,)),
        },
    }


class Volumes(Timed):
    """Three pooled axes."""

    function = "adaptive_avg_pool3d"
    shapes = {
        "video, 16x14x14": {
            DIVISIBLE: row("2x512x16x14x14 -> 1x7x7"),
            RAGGED: Row("volume", (2, 512, 16, 14, 14), ((5, 6, 6),)),
        },
    }
