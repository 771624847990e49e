"""Layers in the manner of torch.nn: they hold their arguments, and calls that were prepared for arrays seen before.

Names and order of the arguments are torch's; `data_format`, `dtype` and `backend`, which torch does not
have, are keywords. A layer is checked when it is made and never changes: `dataclasses.replace` makes
another one. Layers of one class and with the same arguments are equal, and they can be pickled.

>>> import numpy as np
>>> from cpool import nn
>>> pool = nn.AdaptiveAvgPool2d((5, 7))
>>> pool, pool(np.ones((1, 64, 8, 9), np.float32)).shape
(AdaptiveAvgPool2d(output_size=(5, 7)), (1, 64, 5, 7))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, Field, dataclass, fields
from typing import Any, ClassVar

import numpy as np

from . import arrays, dispatch, excite, functional
from .errors import bad_kind, bad_value
from .explain import prepare
from .rules import Ints, Padding, Size, as_divisor, as_paddings, as_sizes, freeze, is_last, one_per_axis
from .windows import as_flag, check_count, check_positive, padding_pair

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "GlobalAvgPool",
    "GlobalMaxPool",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "SqueezeExcite",
]

HELD = 4  # prepared calls that a layer keeps


# ---- arguments, as far as they can be checked without an array -----------------------------------


def _output_size(argument: str, value: Any, rank: Any) -> Any:
    for size in as_sizes(value, rank):
        if size is not None:
            check_count(argument, size)
    return value


def _positive(argument: str, value: Any, rank: Any) -> Any:
    for n in one_per_axis(argument, value, rank, "an int is needed"):
        check_positive(argument, n)
    return value


def _stride(argument: str, value: Any, rank: Any) -> Any:
    steps = one_per_axis(argument, value, rank, "an int or None (the kernel_size) is needed")
    _positive(argument, tuple(1 if n is None else n for n in steps), rank)
    return value


def _padding(argument: str, value: Any, rank: Any) -> Any:
    for p in as_paddings(value, rank):
        padding_pair(1, 1, 1, 1, p, False, value)
    return value


def _flag(argument: str, value: Any, rank: Any) -> bool:
    return as_flag(argument, value)


def _divisor(argument: str, value: Any, rank: Any) -> Any:
    return as_divisor(value)


def _data_format(argument: str, value: Any, rank: Any) -> Any:
    is_last(value, rank)
    return value


def _dtype(argument: str, value: Any, rank: Any) -> Any:
    if value is None:
        return None
    dtype = arrays._as_type(value)
    if arrays.family(dtype) is None or dtype.kind == "b":
        bad_kind(argument, dtype, "an average is a float, an integer or a complex number")
    return dtype.type  # np.float32, np.dtype("f4") and "float32" are one argument


def _backend(argument: str, value: Any, rank: Any) -> Any:
    return None if value is None else dispatch.check(argument, value)


CHECKS: dict[str, Callable[[str, Any, Any], Any]] = {
    "output_size": _output_size,
    "kernel_size": _positive,
    "stride": _stride,
    "padding": _padding,
    "dilation": _positive,
    "return_indices": _flag,
    "ceil_mode": _flag,
    "count_include_pad": lambda argument, value, rank: None if value is None else _flag(argument, value, rank),
    "divisor_override": _divisor,
    "keepdims": _flag,
    "data_format": _data_format,
    "dtype": _dtype,
    "backend": _backend,
}


# ---- what layers share -----------------------------------------------------------------------------


class _Layer:
    """Called like a function, shown and pickled by its arguments."""

    _made: ClassVar[tuple[str, ...]]  # attributes that are made from the others, and not pickled

    def __call__(self, x: Any, out: Any = None) -> Any:
        """The result for x, in `out` if that is given."""
        return self.forward(x, out)

    def forward(self, x: Any, out: Any = None) -> Any:
        """What a call does."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        """The arguments, as the repr shows them."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()})"

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in self._made}


class _Pool(_Layer):
    """A layer that calls one operation.

    Its prepared calls are in a dictionary that is replaced and never changed: threads need no lock, and a
    fork copies a whole one.
    """

    backend: Any

    _made = ("_calls",)
    _operation: ClassVar[str]
    _rank: ClassVar[int | None] = None
    _shown: ClassVar[tuple[str, ...]] = ()  # even where they have their default, as in torch
    _calls: ClassVar[Mapping[Any, Callable[[Any, Any], Any]]] = {}  # where an instance has none of its own

    def __post_init__(self) -> None:
        for name, value in self._arguments().items():
            lasting = value if isinstance(value, type) else freeze(value)  # np.uint8 has an __index__
            self.__dict__[name] = CHECKS[name](name, lasting, self._rank)

    def _fields(self) -> tuple[Field[Any], ...]:
        return fields(self)  # type: ignore[arg-type]  # the classes below are dataclasses

    def _arguments(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in self._fields()}

    def forward(self, x: Any, out: Any = None) -> Any:
        """What a call does: the function of the same name, or a prepared call of it."""
        settled = self.backend is not None or dispatch.is_default()
        if settled:
            for call in self._calls.values():
                result = call(x, out)
                if result is not None:
                    return result
        result = getattr(functional, self._operation)(x, out=out, **self._arguments())
        if settled and type(x) is np.ndarray:
            self._prepare(x)
        return result

    def _prepare(self, x: Any) -> None:
        """Keep a prepared call for arrays like x, unless its result has more axes than ours."""
        key, arguments = (x.shape, x.strides, x.dtype), self._arguments()
        if key in self._calls or not arguments.get("keepdims", True):
            return
        call = prepare(self._operation, x, **arguments).short
        self.__dict__["_calls"] = {key: call, **dict(list(self._calls.items())[: HELD - 1])}

    def extra_repr(self) -> str:
        """The arguments that torch shows, and all that are not the default."""
        shown = []
        for f in self._fields():
            value = getattr(self, f.name)
            if f.name in self._shown or type(value) is not type(f.default) or value != f.default:
                shown.append(f"{f.name}={value.__name__ if isinstance(value, type) else repr(value)}")
        return ", ".join(shown)


# ---- adaptive ----------------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class _AdaptiveAvgPool(_Pool):
    output_size: Size
    _: KW_ONLY
    data_format: str = "channels_first"
    dtype: Any = None
    backend: Any = None


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    """Averages (N, C, L) or (C, L) over adaptive windows: `cpool.adaptive_avg_pool1d`.

    >>> import numpy as np, cpool
    >>> cpool.nn.AdaptiveAvgPool1d(3)(np.arange(5.0)[None])
    array([[0.5, 2. , 3.5]])
    """

    _operation, _rank = "adaptive_avg_pool1d", 1


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    """Averages (N, C, H, W) or (C, H, W) over adaptive windows: `cpool.adaptive_avg_pool2d`.

    >>> import numpy as np, cpool
    >>> cpool.nn.AdaptiveAvgPool2d((None, 7))(np.ones((1, 64, 10, 9))).shape
    (1, 64, 10, 7)
    """

    _operation, _rank = "adaptive_avg_pool2d", 2


class AdaptiveAvgPool3d(_AdaptiveAvgPool):
    """Averages (N, C, D, H, W) or (C, D, H, W) over adaptive windows: `cpool.adaptive_avg_pool3d`.

    >>> import numpy as np, cpool
    >>> pool = cpool.nn.AdaptiveAvgPool3d(2, data_format="channels_last")
    >>> pool(np.ones((1, 7, 7, 7, 16))).shape
    (1, 2, 2, 2, 16)
    """

    _operation, _rank = "adaptive_avg_pool3d", 3


@dataclass(frozen=True, repr=False)
class _AdaptiveMaxPool(_Pool):
    output_size: Size
    return_indices: bool = False
    _: KW_ONLY
    data_format: str = "channels_first"
    backend: Any = None


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    """The largest of (N, C, L) or (C, L) in adaptive windows: `cpool.adaptive_max_pool1d`.

    >>> import numpy as np, cpool
    >>> cpool.nn.AdaptiveMaxPool1d(3, return_indices=True)(np.arange(5.0)[None])
    (array([[1., 3., 4.]]), array([[1, 3, 4]]))
    """

    _operation, _rank = "adaptive_max_pool1d", 1


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    """The largest of (N, C, H, W) or (C, H, W) in adaptive windows: `cpool.adaptive_max_pool2d`.

    >>> import numpy as np, cpool
    >>> cpool.nn.AdaptiveMaxPool2d((None, 7))(np.ones((1, 64, 10, 9))).shape
    (1, 64, 10, 7)
    """

    _operation, _rank = "adaptive_max_pool2d", 2


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    """The largest of (N, C, D, H, W) or (C, D, H, W) in adaptive windows: `cpool.adaptive_max_pool3d`.

    >>> import numpy as np, cpool
    >>> pool = cpool.nn.AdaptiveMaxPool3d(2, data_format="channels_last")
    >>> pool(np.ones((1, 7, 7, 7, 16), np.int8)).dtype
    dtype('int8')
    """

    _operation, _rank = "adaptive_max_pool3d", 3


# ---- strided -----------------------------------------------------------------------------------------


class _Strided(_Pool):
    kernel_size: Ints
    stride: Ints | None
    padding: Padding
    dilation: Ints
    ceil_mode: bool

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.stride is None:
            self.__dict__["stride"] = self.kernel_size
        if isinstance(self.padding, str):
            padding_pair(1, 1, 1, 1, self.padding, self.ceil_mode)
            return
        each = (
            one_per_axis("", value, self._rank or 1, "") for value in (self.kernel_size, self.dilation, self.padding)
        )
        for k, d, p in zip(*each, strict=True):
            extent = d * (k - 1) + 1
            if (p[0] if isinstance(p, tuple) else p) >= extent:
                bad_value("padding", self.padding, f"pad by less than the window's extent ({extent})")


@dataclass(frozen=True, repr=False)
class _AvgPool(_Strided):
    kernel_size: Ints
    stride: Ints | None = None
    padding: Padding = 0
    ceil_mode: bool = False
    count_include_pad: bool | None = None
    divisor_override: int | None = None
    _: KW_ONLY
    dilation: Ints = 1
    data_format: str = "channels_first"
    dtype: Any = None
    backend: Any = None

    _shown = ("kernel_size", "stride", "padding")


class AvgPool1d(_AvgPool):
    """Averages (N, C, L) or (C, L) over strided windows: `cpool.avg_pool1d`.

    >>> import numpy as np, cpool
    >>> cpool.nn.AvgPool1d(2)(np.arange(6.0)[None])
    array([[0.5, 2.5, 4.5]])
    """

    _operation, _rank = "avg_pool1d", 1


class AvgPool2d(_AvgPool):
    """Averages (N, C, H, W) or (C, H, W) over strided windows: `cpool.avg_pool2d`.

    >>> import numpy as np, cpool
    >>> cpool.nn.AvgPool2d(3, 2, padding="same_upper")(np.ones((1, 3, 7, 7))).shape
    (1, 3, 4, 4)
    """

    _operation, _rank = "avg_pool2d", 2


class AvgPool3d(_AvgPool):
    """Averages (N, C, D, H, W) or (C, D, H, W) over strided windows: `cpool.avg_pool3d`.

    >>> import numpy as np, cpool
    >>> cpool.nn.AvgPool3d(2, ceil_mode=True)(np.ones((2, 5, 5, 5))).shape
    (2, 3, 3, 3)
    """

    _operation, _rank = "avg_pool3d", 3


@dataclass(frozen=True, repr=False)
class _MaxPool(_Strided):
    kernel_size: Ints
    stride: Ints | None = None
    padding: Padding = 0
    dilation: Ints = 1
    return_indices: bool = False
    ceil_mode: bool = False
    _: KW_ONLY
    data_format: str = "channels_first"
    backend: Any = None

    _shown = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")


class MaxPool1d(_MaxPool):
    """The largest of (N, C, L) or (C, L) in strided windows: `cpool.max_pool1d`.

    >>> import numpy as np, cpool
    >>> cpool.nn.MaxPool1d(2)(np.arange(6.0)[None])
    array([[1., 3., 5.]])
    """

    _operation, _rank = "max_pool1d", 1


class MaxPool2d(_MaxPool):
    """The largest of (N, C, H, W) or (C, H, W) in strided windows: `cpool.max_pool2d`.

    >>> import numpy as np, cpool
    >>> pool = cpool.nn.MaxPool2d(3, 2, 1)
    >>> pool
    MaxPool2d(kernel_size=3, stride=2, padding=1, dilation=1, ceil_mode=False)
    >>> pool(np.ones((1, 3, 7, 7))).shape
    (1, 3, 4, 4)
    """

    _operation, _rank = "max_pool2d", 2


class MaxPool3d(_MaxPool):
    """The largest of (N, C, D, H, W) or (C, D, H, W) in strided windows: `cpool.max_pool3d`.

    >>> import numpy as np, cpool
    >>> cpool.nn.MaxPool3d((1, 2, 2))(np.ones((3, 8, 6, 6), np.uint8)).shape
    (3, 8, 3, 3)
    """

    _operation, _rank = "max_pool3d", 3


for _family in (_AdaptiveAvgPool, _AdaptiveMaxPool, _AvgPool, _MaxPool):
    _family.__init__.__qualname__ = _family.__name__[1:]  # what Python's own errors call it


# ---- global --------------------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class GlobalAvgPool(_Pool):
    """Averages over all axes but batch and channel: `cpool.global_avg_pool`.

    >>> import numpy as np, cpool
    >>> cpool.nn.GlobalAvgPool(keepdims=False)(np.ones((8, 2048, 7, 7), np.float32)).shape
    (8, 2048)
    """

    _: KW_ONLY
    data_format: str = "channels_first"
    keepdims: bool = True
    dtype: Any = None
    backend: Any = None

    _operation = "global_avg_pool"


@dataclass(frozen=True, repr=False)
class GlobalMaxPool(_Pool):
    """The largest over all axes but batch and channel: `cpool.global_max_pool`.

    >>> import numpy as np, cpool
    >>> cpool.nn.GlobalMaxPool(keepdims=False)(np.arange(12.0).reshape(1, 2, 3, 2))
    array([[ 5., 11.]])
    """

    _: KW_ONLY
    data_format: str = "channels_first"
    keepdims: bool = True
    return_indices: bool = False
    backend: Any = None

    _operation = "global_max_pool"


# ---- squeeze and excite ----------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False, eq=False)
class SqueezeExcite(_Layer):
    """Scales each channel by what two small layers make of all averages: `cpool.squeeze_excite`.

    The weights are copied, and the copies can't be written to. Two layers are equal if their weights are,
    bit for bit.

    >>> import numpy as np, cpool
    >>> w1, w2 = np.zeros((24, 96, 1, 1)), np.zeros((96, 24, 1, 1))
    >>> cpool.nn.SqueezeExcite(w1, np.zeros(24), w2, None, activation="relu")
    SqueezeExcite(input_channels=96, squeeze_channels=24, activation='relu', gate='sigmoid')
    """

    w1: Any
    b1: Any
    w2: Any
    b2: Any
    _: KW_ONLY
    activation: str = "silu"
    gate: str = "sigmoid"
    data_format: str = "channels_first"

    _made = ("_weights",)

    def __post_init__(self) -> None:
        for name in excite.Weights._fields:
            value = getattr(self, name)
            if value is not None:
                array = arrays.admit(name, value)[0]
                self.__dict__[name] = np.array(array, arrays.native(array.dtype))
        self._settle()

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._settle()

    def _settle(self) -> None:
        for value in (self.w1, self.b1, self.w2, self.b2):
            if value is not None:
                value.setflags(write=False)
        excite.function_of("activation", self.activation, excite.ACTIVATIONS)
        excite.function_of("gate", self.gate, excite.GATES)
        is_last(self.data_format, None)
        self.__dict__["_weights"] = excite.weights_of(self.w1, self.b1, self.w2, self.b2)

    def forward(self, x: Any, out: Any = None) -> Any:
        """What a call does."""
        activation, gate = excite.ACTIVATIONS[self.activation], excite.GATES[self.gate]
        return excite.excite(x, self.__dict__["_weights"], activation, gate, self.data_format, out)

    def extra_repr(self) -> str:
        """The channels and the functions, and what is not the default."""
        reduced, channels = self.w1.shape[:2]
        text = f"input_channels={channels}, squeeze_channels={reduced}, "
        text += f"activation={self.activation!r}, gate={self.gate!r}"
        return text if self.data_format == "channels_first" else f"{text}, data_format={self.data_format!r}"

    def _content(self) -> tuple[Any, ...]:
        weights = (self.w1, self.b1, self.w2, self.b2)
        bits = (None if w is None else (w.shape, w.dtype, w.tobytes()) for w in weights)
        return (self.activation, self.gate, self.data_format, *bits)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._content() == other._content()

    def __hash__(self) -> int:
        return hash(self._content())
