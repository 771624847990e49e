"""What the gate judges: at most thirty benchmarks of the suite, one or more for each regime; one thread."""

from __future__ import annotations

from .pairs import Benchmark
from .words import ALL, DIVISIBLE, FIRST, LAST, LAYOUTS, ONE, RAGGED

MOST = 30
MAP, MAPS = "one feature map, 56x56", "feature maps, 56x56"
STRIDED = "one feature map, 112x112"


def _one(regime: str, name: str, shape: str, division: str, layout: str, dtype: str = "float32") -> Benchmark:
    """A benchmark on one thread; its label says what is not the rule."""
    label = ", ".join([regime, division, layout, *([] if dtype == "float32" else [dtype])])
    return Benchmark(name, (shape, division, layout, dtype, ONE), label)


def _all(regime: str, name: str, shape: str, division: str, layout: str) -> Benchmark:
    """A benchmark on all threads, by the clock on the wall."""
    return Benchmark(
        name, (shape, division, layout, "float32", ALL), f"all threads: {regime}, {division}, {layout}", "wall"
    )


def _tables() -> tuple[tuple[Benchmark, ...], tuple[Benchmark, ...]]:
    small, image = "7x7", "one image, 1024x1024, 3 channels"
    tiny, dense = "64 planes, about 8x9", "few planes, 14x14"
    judged = (
        *(_one("global", "averages.Global.time_call", "one feature map, 32x32", DIVISIBLE, at) for at in LAYOUTS),
        _one("global, 3 channels", "averages.Global.time_call", "images with 3 channels", DIVISIBLE, LAST),
        *(_one("tiled", "averages.Tiled.time_call", MAP, DIVISIBLE, at) for at in LAYOUTS),
        *(_one("ragged", "averages.Ragged.time_call", MAP, RAGGED, at) for at in LAYOUTS),
        _one("ragged, beyond L2", "averages.Ragged.time_call", MAPS, RAGGED, FIRST),
        _one("ragged", "averages.Ragged.time_call", MAP, RAGGED, FIRST, "float16"),
        _one("ragged", "averages.Ragged.time_call", MAP, RAGGED, FIRST, "uint8"),
        *(_one("overlapping", "averages.Overlapping.time_call", dense, RAGGED, at) for at in LAYOUTS),
        *(_one("small planes", "averages.SmallPlanes.time_call", small, DIVISIBLE, at) for at in LAYOUTS),
        _one("small planes", "averages.SmallPlanes.time_call", small, RAGGED, FIRST),
        _one("small planes, 13x13", "averages.SmallPlanes.time_call", "13x13", RAGGED, FIRST),
        _one("image", "averages.LargePlanes.time_call", image, DIVISIBLE, FIRST),
        *(_one("image", "averages.LargePlanes.time_call", image, RAGGED, at) for at in LAYOUTS),
        _one("upsampling", "averages.Upsampling.time_call", small, RAGGED, FIRST),
        _one("strided 3x3", "averages.Strided3x3.time_call", STRIDED, RAGGED, FIRST),
        *(_one("max", "maxima.Max.time_call", MAP, RAGGED, at) for at in LAYOUTS),
        _one("max with indices", "maxima.MaxWithIndices.time_call", MAP, RAGGED, FIRST),
        _one("gradient", "gradients.Backward.time_call", MAP, RAGGED, FIRST),
        _one("gradient of max", "gradients.BackwardMax.time_call", MAP, RAGGED, FIRST),
        _one("squeeze-excite", "excite.SqueezeExcite.time_call", "1 of 96 channels, 56x56", DIVISIBLE, FIRST),
        *(_one("tiny", "calls.TinyCall.time_call", tiny, RAGGED, at) for at in LAYOUTS),
        _one("tiny, prepared", "calls.PreparedCall.time_call", tiny, RAGGED, FIRST),
    )
    reported = (
        _all("global", "averages.Global.time_call", "one feature map, 32x32", DIVISIBLE, FIRST),
        _all("ragged", "averages.Ragged.time_call", MAPS, RAGGED, FIRST),
        _all("image", "averages.LargePlanes.time_call", image, RAGGED, FIRST),
    )
    return judged, reported


JUDGED, REPORTED = _tables()
# Where a slow-down is planted, to see whether it is found.
PLANTED = {
    "global": f"global, {DIVISIBLE}, {FIRST}",
    "ragged": f"ragged, {RAGGED}, {FIRST}",
    "small planes": f"small planes, {DIVISIBLE}, {FIRST}",
    "channels last, 3 channels": f"image, {RAGGED}, {LAST}",
    "tiny": f"tiny, {RAGGED}, {FIRST}",
}
