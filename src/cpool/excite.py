"""Squeeze and excite: a global average, two small products, and the input scaled by what comes of them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import _kernels, arrays, cpu, functional
from .errors import bad_kind, bad_value
from .plan import Cache, memory_order
from .rules import LETTERS, batch_axes, is_last

Array = NDArray[Any]

BEYOND_L3, PIECE = 32 * 2**20, 8 * 2**20  # bytes of x

# ---- activations and gates ---------------------------------------------------------------------

# Names, and those of the kernels' functions.
ACTIVATIONS = {
    "silu": "silu",
    "swish": "silu",
    "relu": "relu",
    "relu6": "relu6",
    "hardswish": "hardswish",
    "tanh": "tanh",
    "identity": "identity",
}
GATES = {"sigmoid": "sigmoid", "hardsigmoid": "hardsigmoid"}


def function_of(argument: str, name: Any, table: dict[str, str]) -> str:
    """The function of this name."""
    wanted = f"one of {', '.join(table)} is needed"
    if not isinstance(name, str):
        bad_kind(argument, name, wanted)
    if name not in table:
        bad_value(argument, name, wanted)
    return table[name]


# ---- weights -----------------------------------------------------------------------------------


class Weights(NamedTuple):
    """The two layers: matrices (R, C) and (C, R), and their biases."""

    w1: Array
    b1: Array
    w2: Array
    b2: Array

    def astype(self, dtype: np.dtype[Any]) -> Weights:
        """The same in another type, whatever the caller's rounding; what has it already is not copied."""
        with _kernels.DefaultMode():
            return Weights(*(w.astype(dtype, copy=False) for w in self))

    def apart_from(self, out: Array) -> Weights:
        """The same, copied where they may lie in `out`."""
        return Weights(*(w.copy() if np.may_share_memory(w, out) else w for w in self))


READY = (np.dtype(np.float32), np.dtype(np.float64))


def weights_of(w1: Any, b1: Any, w2: Any, b2: Any) -> Weights:
    """The weights as matrices, checked against each other: those of 1x1 convolutions lose their axes of length 1."""
    first = _matrix("w1", w1, "(R, C)")
    reduced, channels = first.shape
    second = _matrix("w2", w2, "(C, R)")
    if second.shape != (channels, reduced):
        bad_value("w2", second.shape, f"w1 has shape {first.shape}: shape {(channels, reduced)} is needed")
    return Weights(first, _bias("b1", b1, reduced), second, _bias("b2", b2, channels))


def _real(argument: str, value: Any) -> Array:
    """Real numbers as floats or doubles, packed."""
    if type(value) is np.ndarray and value.dtype in READY and value.flags.c_contiguous and value.flags.aligned:
        return value
    array, _ = arrays.admit(argument, value)
    if arrays.is_device_array(array):
        bad_kind(argument, type(value), "weights are arrays of the host, wherever x is: use .get() once")
    if arrays.family(array.dtype) not in ("float", "integer"):
        bad_kind(argument, array.dtype, "weights are real numbers")
    array = arrays.widened(array)
    single = array.dtype.itemsize <= 4 and array.dtype.kind not in "iu"
    with _kernels.DefaultMode():
        return np.require(array, np.float32 if single else np.float64, ("C", "A"))


def _matrix(argument: str, value: Any, letters: str) -> Array:
    array = _real(argument, value)
    if array.ndim == 2:
        return array
    if array.ndim < 2 or any(n != 1 for n in array.shape[2:]):
        bad_value(
            argument,
            array.shape,
            f"a matrix {letters} is needed, or the weights {letters[:-1]}, 1, 1) of a 1x1 convolution",
        )
    return array.reshape(array.shape[:2])


def _bias(argument: str, value: Any, length: int) -> Array:
    if value is None:
        return np.zeros(length, np.float32)
    array = _real(argument, value)
    if array.shape != (length,):
        bad_value(argument, array.shape, f"shape {(length,)} is needed, or None for no bias")
    return array


# ---- the parts -----------------------------------------------------------------------------------


def _pieces(x: Array, batch: int) -> list[Any]:
    """All of x at once, or so many images that what was read for the averages is still in L3 when it is scaled."""
    images = PIECE // (x.nbytes // len(x)) if x.nbytes > BEYOND_L3 and batch else 0
    return [slice(first, first + images) for first in range(0, len(x), images)] if images else [...]


def _scale(x: Array, g: Array, result: Array, wide: np.dtype[Any], batch: int) -> None:
    """result = x * g, g (images, channels) being broadcast over the spatial axes, which are last."""
    native = x.dtype.isnative and result.dtype.isnative
    if native and x.flags.c_contiguous and result.flags.c_contiguous:
        cpu.scale(x, g, result, last=False)
        return
    turned = (*range(batch), *range(batch + 1, x.ndim), batch)  # as it lies with channels last
    if native and x.transpose(turned).flags.c_contiguous and result.transpose(turned).flags.c_contiguous:
        cpu.scale(x, g, result, last=True)
    else:  # any strides, any byte order
        factor = g.reshape(x.shape[: batch + 1] + (1,) * (x.ndim - batch - 1))
        with np.errstate(all="ignore"), _kernels.DefaultMode():  # NaN and infinities pass in silence, as in a pooling
            np.multiply(x, factor, out=result, dtype=wide, casting="unsafe")


def _layout(shape: tuple[int, ...], data_format: Any) -> tuple[int, tuple[int, ...]]:
    """How many axes are batch (none or one), and all axes as batch, channels, spatial ones."""
    last = is_last(data_format, None)
    ndim = len(shape)
    if data_format.isupper():
        batch = batch_axes(shape, data_format)
    else:
        batch = 1
        if not 3 <= ndim <= 5:
            wanted = "a batch, channels and one to three more axes are needed; without a batch, say so with letters"
            bad_value("x", shape, f'{wanted}, as data_format="CHW"')
    channel = ndim - 1 if last else batch
    return batch, (*range(batch), channel, *(a for a in range(batch, ndim) if a != channel))


class Way(NamedTuple):
    """What follows from how x lies."""

    wide: np.dtype[Any]  # what x is multiplied in
    batch: int  # how many axes are batch
    order: tuple[int, ...]  # the axes as batch, channels, spatial ones
    kept: tuple[int, ...]  # lengths of batch and channels
    memory: tuple[int, ...]  # the axes as they lie in memory


_ways: Cache[Way] = Cache(entries=256, weight=256)


def _way(x: Array, data_format: Any) -> Way:
    if arrays.family(x.dtype) != "float":
        bad_kind("x", x.dtype, "float16, bfloat16, float32 or float64 is needed")
    batch, order = _layout(x.shape, data_format)
    kept = tuple(x.shape[a] for a in order[: batch + 1])
    wide = np.dtype(np.float64 if x.dtype.itemsize == 8 else np.float32)
    return Way(wide, batch, order, kept, memory_order(x.shape, x.strides))


# ---- the whole -----------------------------------------------------------------------------------


def squeeze_excite(
    x: Any,
    w1: Any,
    b1: Any,
    w2: Any,
    b2: Any,
    *,
    activation: str = "silu",
    gate: str = "sigmoid",
    data_format: str = "channels_first",
    out: Any = None,
) -> Any:
    """Scale each channel of x by gate(activation(s @ w1.T + b1) @ w2.T + b2), s being the channels' averages.

    `w1` is a matrix (R, C) or the weights (R, C, 1, 1) of a 1x1 convolution, `w2` (C, R) likewise; the
    biases (R,) and (C,) may be None. Averages and layers are calculated in float64 on the CPU, whose gates are
    rounded to float32 unless x is float64, and what they scale to the type of x. x itself is only written with `out=x`.

    >>> import numpy as np, cpool
    >>> x = np.ones((1, 8, 5, 7), np.float32)
    >>> w1, w2 = np.zeros((2, 8)), np.zeros((8, 2))
    >>> float(cpool.squeeze_excite(x, w1, None, w2, None)[0, 0, 0, 0])
    0.5
    """
    weights = weights_of(w1, b1, w2, b2)
    functions = function_of("activation", activation, ACTIVATIONS), function_of("gate", gate, GATES)
    return excite(x, weights, *functions, data_format, out)


def excite(
    x: Any,
    weights: Weights,
    activation: str,
    gate: str,
    data_format: Any,
    out: Any,
) -> Any:
    """`squeeze_excite`, when all that does not depend on x is checked."""
    array, wrap = arrays.admit("x", x)
    wide, batch, order, kept, memory = _ways.get(
        (array.shape, array.strides, array.dtype, data_format), lambda: (_way(array, data_format), 1)
    )
    if kept[-1] != len(weights.w2):
        wanted = f"w1 and w2 are for {len(weights.w2)} channels, which lie on axis {order[batch]}"
        letters = LETTERS.get(array.ndim - 1)
        if data_format == "channels_first" and array.shape[0] == len(weights.w2) and letters:
            wanted += f'; if the first one has them, without a batch, data_format="C{letters}" would do'
        bad_value("x", array.shape, wanted)
    target, result = _target(array, out, memory)
    if arrays.is_device_array(array):
        from . import opencl

        means = tuple(n if a in order[: batch + 1] else 1 for a, n in enumerate(array.shape))
        packed_last = (*order[:batch], *order[batch + 1 :], order[batch])
        s = arrays.new(array, means, packed_last, wide, passing=True)
        functional.global_avg_pool(array, data_format=data_format, dtype=wide, out=s)
        opencl.excite(array, s, weights.astype(wide), (activation, gate), result, batch, order[batch])
        if target is not None and result is not target:
            arrays.assign(target, result)
        return result if target is None else out
    pieces = _pieces(array, batch)
    if target is not None and len(pieces) > 1:  # they are read again when a part of the result is there
        weights = weights.apart_from(result)
    w1, b1, w2, b2 = weights
    for images in pieces:
        part = array[images]
        s = functional.global_avg_pool(part, data_format=data_format, dtype=np.float64)
        if not part.size:
            break
        h = cpu.dense(np.ascontiguousarray(s.reshape(-1, kept[-1])), w1, b1, activation, single=False)
        g = cpu.dense(h, w2, b2, gate, single=wide == np.float32)
        _scale(part.transpose(order), g, result[images].transpose(order), wide, batch)
    if target is None:
        return result if wrap is None else wrap(result)
    if result is not target:
        target[...] = result
    return out


def _is_same(a: Array, b: Array) -> bool:
    """Whether each element of a is where that of b is; shapes are equal."""
    if arrays.is_device_array(a):
        from . import opencl

        return opencl.is_same(a, b)
    return a.strides == b.strides and a.dtype == b.dtype and a.ctypes.data == b.ctypes.data


def _target(x: Array, out: Any, memory: tuple[int, ...]) -> tuple[Array | None, Array]:
    """`out` as an array, and the array to write to: another one, whose axes lie in the order `memory`, if writing could
    change what is still to be read."""
    target = None if out is None else arrays.admit_out(out)
    if target is not None:
        arrays.check_together("out", x, target)
        arrays.check_out(target, x.shape)
        if arrays.native(target.dtype) != arrays.native(x.dtype):
            bad_kind("out", target.dtype, f"the result has dtype {arrays.name_of(arrays.native(x.dtype))}")
        if not arrays.share_memory(x, target) or _is_same(x, target):
            return target, target
    return target, arrays.new(x, x.shape, memory, arrays.native(x.dtype), passing=target is not None)
