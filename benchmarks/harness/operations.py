"""What is done with windows: averages, maxima, their gradients, and the block built on them; and the right results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Arrays = dict[str, Array]
Shape = tuple[int, ...]
Taps = list[tuple[int, int, int]]  # of each window: first element, one after the last, divisor
Axes = list[tuple[int, Taps]]  # the pooled axes, and the windows of each


# ---- windows -----------------------------------------------------------------------------------


def _adaptive(n: int, arguments: tuple[Any, ...], axis: int) -> Taps:
    size = arguments[0]
    m = size[axis] if isinstance(size, tuple) else size
    bounds = [(i * n // m, -(-(i + 1) * n // m)) for i in range(m)]
    return [(a, b, b - a) for a, b in bounds]


def _strided(n: int, arguments: tuple[Any, ...], axis: int) -> Taps:
    kernel, stride, padding = arguments
    starts = range(-padding, n + padding - kernel + 1, stride)
    return [(max(a, 0), min(a + kernel, n), kernel) for a in starts]


def _whole(n: int, arguments: tuple[Any, ...], axis: int) -> Taps:
    return [(0, n, n)]


def _size_label(arguments: tuple[Any, ...]) -> str:
    size = arguments[0]
    return "x".join(map(str, size)) if isinstance(size, tuple) else str(size)


def _kernel_label(arguments: tuple[Any, ...]) -> str:
    return f"k{arguments[0]} s{arguments[1]}" + (f" p{arguments[2]}" if arguments[2] else "")


# ---- right results -------------------------------------------------------------------------------


def _one_after_another(x: Array, axes: Axes, wide: Any, reduce: Any) -> Array:
    for axis, taps in axes:
        pooled = np.empty((*x.shape[:axis], len(taps), *x.shape[axis + 1 :]), wide)
        before: tuple[Any, ...] = (slice(None),) * axis
        for i, (start, stop, _) in enumerate(taps):
            reduce(x[(*before, slice(start, stop))], axis=axis, out=pooled[(*before, i)])
        x = pooled
    return x


def _divisors(axes: Axes, ndim: int, wide: Any) -> Any:
    """What each output is divided by, in the shape of the outputs."""
    product = np.ones((1,) * ndim, wide)
    for axis, taps in axes:
        product = product * np.array([d for _, _, d in taps], wide).reshape(-1, *(1,) * (ndim - axis - 1))
    return product


def _averages(given: Arrays, shape: Shape, axes: Axes, wide: Any) -> Array:
    x = given["x"]
    total = _one_after_another(x, axes, wide, lambda a, **to: np.sum(a, dtype=wide, **to))
    total /= _divisors(axes, x.ndim, wide)
    return total


def _maxima(given: Arrays, shape: Shape, axes: Axes, wide: Any) -> Array:
    return _one_after_another(given["x"].astype(wide), axes, wide, np.max)


def _averages_back(given: Arrays, shape: Shape, axes: Axes, wide: Any) -> Array:
    """Each quotient added to all elements of its window, axis after axis."""
    total = given["x"] / _divisors(axes, given["x"].ndim, wide)
    for axis, taps in axes:
        spread = np.zeros((*total.shape[:axis], shape[axis], *total.shape[axis + 1 :]), wide)
        before: tuple[Any, ...] = (slice(None),) * axis
        for i, (start, stop, _) in enumerate(taps):
            spread[(*before, slice(start, stop))] += total[(*before, slice(i, i + 1))]
        total = spread
    return total


def _planes_last(x: Array, axes: Axes) -> Array:
    return np.moveaxis(x, [axis for axis, _ in axes], range(x.ndim - len(axes), x.ndim))


def _maxima_back(given: Arrays, shape: Shape, axes: Axes, wide: Any) -> Array:
    total = np.zeros(shape, wide)
    out, grad, indices = (_planes_last(a, axes) for a in (total, given["x"], given["indices"]))
    kept, plane = out.shape[: -len(axes)], out.shape[-len(axes) :]
    for plane_at in np.ndindex(kept):
        flat = np.zeros(int(np.prod(plane)), wide)
        np.add.at(flat, indices[plane_at].reshape(-1), grad[plane_at].reshape(-1).astype(wide))
        out[plane_at] = flat.reshape(plane)
    return total


def _excited(given: Arrays, shape: Shape, axes: Axes, wide: Any) -> Array:
    x, w1, b1, w2, b2 = (given[name].astype(wide) for name in ("x", "w1", "b1", "w2", "b2"))
    pooled = tuple(axis for axis, _ in axes)
    h = x.mean(axis=pooled) @ w1.T + b1
    h /= 1 + np.exp(-h)
    gate = 1 / (1 + np.exp(-(h @ w2.T + b2)))
    scaled: Array = x * np.expand_dims(gate, pooled)
    return scaled


# ---- what is given besides x ---------------------------------------------------------------------


def _nothing(random: np.random.Generator, x: Array, shape: Shape, axes: Axes) -> Arrays:
    return {}


def _indices(random: np.random.Generator, x: Array, shape: Shape, axes: Axes) -> Arrays:
    """An element of each window, as random data have their largest anywhere."""
    total = np.zeros(x.shape, np.int64)
    for axis, taps in axes:
        low, high = (np.array(bound, np.int64).reshape(-1, *(1,) * (x.ndim - axis - 1)) for bound in zip(
            *((a, b) for a, b, _ in taps), strict=True
        ))  # fmt: skip
        total = total * shape[axis] + random.integers(low, high, x.shape)
    return {"indices": total}


def _weights(random: np.random.Generator, x: Array, shape: Shape, axes: Axes) -> Arrays:
    """Two layers that reduce the channels to a quarter."""
    pooled = {axis for axis, _ in axes}
    channels = next(n for a, n in enumerate(shape) if a and a not in pooled)
    shapes = {
        "w1": (channels // 4, channels),
        "b1": (channels // 4,),
        "w2": (channels, channels // 4),
        "b2": (channels,),
    }
    return {name: (random.standard_normal(s) / np.sqrt(channels)).astype(x.dtype) for name, s in shapes.items()}


# ---- operations ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Operation:
    """One kind of call: its windows, what it is given, what it is called, and what is right."""

    name: str
    function: str  # in cpool; {} is the number of pooled axes
    taps: Callable[[int, tuple[Any, ...], int], Taps]
    label: Callable[[tuple[Any, ...]], str]
    expected: Callable[[Arrays, Shape, Axes, Any], Array]
    call: str = "x, {arguments}"
    besides: Callable[[np.random.Generator, Array, Shape, Axes], Arrays] = _nothing
    x_is: str = "input"  # which of the two shapes x has
    result_is: str = "output"
    reads: int = 1  # how often x must be read
    relative: float | None = None  # what the result may be off, relative to the largest; None: as cpool promises
    integers: bool = True
    pair: bool = False  # indices come with the result

    @property
    def prefix(self) -> str:
        """What tells its rows from those of the same shapes: averages are the rule."""
        return self.name.replace("adaptive", "").replace("average", "").strip()


def _pair(name: str, forward: str, taps: Any, label: Any, right: Any, back: Any, call: str, **more: Any) -> Any:
    yield Operation(name, forward, taps, label, right)
    yield Operation(
        f"{name} gradient",
        f"{forward}_backward",
        taps,
        label,
        back,
        call,
        x_is="output",
        result_is="input",
        integers=False,
        **more,
    )


OPERATIONS = {
    o.name: o
    for o in (
        *_pair(
            "adaptive average", "adaptive_avg_pool{}d", _adaptive, _size_label, _averages, _averages_back,
            "x, shape",
        ),
        *_pair(
            "average", "avg_pool{}d", _strided, _kernel_label, _averages, _averages_back,
            "x, shape, {arguments}",
        ),
        *_pair(
            "adaptive max", "adaptive_max_pool{}d", _adaptive, _size_label, _maxima, _maxima_back,
            "x, indices, shape", besides=_indices,
        ),
        *_pair(
            "max", "max_pool{}d", _strided, _kernel_label, _maxima, _maxima_back,
            "x, indices, shape", besides=_indices,
        ),
        Operation(
            "adaptive max pair", "adaptive_max_pool{}d", _adaptive, _size_label, _maxima,
            "x, {arguments}, return_indices=True", pair=True,
        ),
        Operation(
            "squeeze-excite", "squeeze_excite", _whole, lambda a: "squeeze-excite", _excited,
            "x, w1, b1, w2, b2", _weights, result_is="input", reads=2, relative=1e-5, integers=False,
        ),
    )
}  # fmt: skip
