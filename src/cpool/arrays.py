"""What may come in and what goes out: NumPy arrays, what offers itself through DLPack on the CPU, PyOpenCL's arrays."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from .errors import bad_kind, bad_value
from .plan import check_size, packed, product
from .windows import as_int

Array = NDArray[Any]
Wrap = Callable[[Array], Any]

_CPU = (1, 3)  # DLPack's kDLCPU and kDLCUDAHost: memory that the host reads

REALS = "bool, (u)int8 to (u)int64, float16, bfloat16, float32"
NUMBERS = {
    "avg": f"{REALS}, float64, complex64 and complex128 can be averaged",
    "max": f"{REALS} and float64 have a largest",
}


_LETTERS = {"float": "efd", "integer": "?bBhHiIlLqQ", "complex": "FD"}
FAMILIES: dict[np.dtype[Any], str] = {np.dtype(c): name for name, codes in _LETTERS.items() for c in codes}


_of_device: WeakKeyDictionary[type, bool] = WeakKeyDictionary()


def is_device_array(x: object) -> bool:
    """Whether x is a PyOpenCL array; found out without importing PyOpenCL."""
    kind = type(x)
    known = _of_device.get(kind)
    if known is None:
        known = _of_device[kind] = any(c.__module__.partition(".")[0] == "pyopencl" for c in kind.__mro__)
    return known


def admit(argument: str, x: Any) -> tuple[Array, Wrap | None]:
    """x as a plain array that shares its memory, and how a result becomes x's own kind (None: it is one)."""
    if type(x) is np.ndarray:
        return x, None
    if isinstance(x, np.ma.MaskedArray):
        bad_kind(argument, type(x), "masked arrays are not supported: fill it first, as with x.filled(0)")
    if isinstance(x, np.ndarray):
        return np.asarray(x), None
    if is_device_array(x):
        from . import opencl

        return opencl.admit(argument, x), None
    if hasattr(x, "__dlpack__") and not isinstance(x, np.generic):
        return _from_dlpack(argument, x)
    if isinstance(x, (str, bytes)) or x is None:
        bad_kind(argument, x, "an array is needed")
    try:
        array = np.asarray(x)
    except (ValueError, TypeError) as error:
        raise TypeError(f"{argument}: got {type(x).__name__}; an array is needed ({error})") from None
    return array, None


def _from_dlpack(argument: str, x: Any) -> tuple[Array, Wrap]:
    device = x.__dlpack_device__()
    if device[0] not in _CPU:
        bad_value(argument, f"{type(x).__name__} on device {device}", "bring it to the CPU first, as with x.cpu()")
    if getattr(x, "requires_grad", False):
        bad_kind(argument, f"{type(x).__name__} that requires gradients", "use x.detach(): cpool records no graph")
    package = type(x).__module__.partition(".")[0]
    maker = sys.modules[package]
    make = getattr(maker, "from_dlpack", None) or getattr(getattr(maker, "dlpack", None), "from_dlpack", None)
    if make is None:
        bad_kind(argument, type(x), f"{package} has no from_dlpack to bring the result back with")
    try:
        return np.from_dlpack(x), make
    except (BufferError, RuntimeError) as error:
        raise TypeError(f"{argument}: NumPy can't read this {type(x).__name__} through DLPack: {error}") from None


def admit_out(out: Any) -> Array:
    """`out` as a plain array over its own memory."""
    if not isinstance(out, np.ndarray) and not hasattr(out, "__dlpack__") and not is_device_array(out):
        bad_kind("out", type(out), "an array is needed")
    return admit("out", out)[0]


PAGE, LINE = 4096, 64  # bytes, as drivers want them


def empty_aligned(shape: int | Sequence[int], dtype: Any = np.float32) -> Array:
    """A new array that begins on a page and whose memory ends on a cache line: devices that share it need no copy.

    >>> import cpool
    >>> cpool.empty_aligned((3, 5)).ctypes.data % 4096
    0
    """
    kind = np.dtype(dtype)
    if kind.hasobject:
        bad_kind("dtype", kind, "a type of numbers is needed")
    lengths = (shape,) if not isinstance(shape, (tuple, list)) else shape
    sizes = tuple(as_int("shape", n, "an int or several are needed") for n in lengths)
    if any(n < 0 for n in sizes):
        bad_value("shape", shape, "no length is negative")
    check_size("shape", shape, list(sizes), kind.itemsize)
    size = -(-product(sizes) * kind.itemsize // LINE) * LINE
    memory = np.empty(size + PAGE, np.uint8)
    first = -memory.ctypes.data % PAGE
    return np.ndarray(sizes, kind, memory[first : first + size].data)


def is_bfloat16(dtype: np.dtype[Any]) -> bool:
    """Whether this is the bfloat16 of ml_dtypes, which need not be imported for that."""
    return dtype.itemsize == 2 and dtype.name == "bfloat16"


def family(dtype: np.dtype[Any]) -> str | None:
    """`float`, `integer`, `complex`, or None for what can't be averaged."""
    if is_bfloat16(dtype):
        return "float"
    return FAMILIES.get(native(dtype))


def check_type(argument: str, x: Array, reducer: str) -> None:
    """Refuse what can't be averaged, or has no order."""
    if family(x.dtype) in (None, "complex" if reducer == "max" else None):
        bad_kind(argument, x.dtype, NUMBERS[reducer])


def native(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The type in this machine's byte order."""
    return dtype if dtype.isnative else dtype.newbyteorder("=")


def average_type(x: np.dtype[Any], dtype: Any, out: Array | None) -> np.dtype[Any]:
    """The type of an average of x: as `dtype` or `out` say, else as x says."""
    asked = None if dtype is None else _as_type(dtype)
    if out is not None:
        if asked is not None and asked != native(out.dtype):
            bad_value("dtype", asked, f"out has dtype {out.dtype}: they must agree, or dtype be left out")
        argument, asked = ("out" if asked is None else "dtype"), native(out.dtype)
    else:
        argument = "dtype"
    mine = family(x)
    if asked is None:
        if mine == "integer":
            return np.dtype(np.float32 if x.itemsize <= 2 else np.float64)
        return native(x)
    theirs = family(asked)
    fits = {
        "float": ("float",),
        "integer": ("float", "integer"),
        "complex": ("complex",),
    }[mine or "float"]
    if theirs not in fits or asked.kind == "b":
        what = {
            "float": "float16, bfloat16, float32 or float64",
            "integer": "a float or an integer type",
            "complex": "complex64 or complex128",
        }[mine or "float"]
        bad_kind(argument, asked, f"an average of {x} can be {what}")
    return asked


def max_type(x: np.dtype[Any], out: Array | None) -> np.dtype[Any]:
    """The type of the largest of x: its own."""
    if out is not None and native(out.dtype) != native(x):
        bad_kind("out", out.dtype, f"the largest of {x} are {native(x)}")
    return native(x)


def _as_type(dtype: Any) -> np.dtype[Any]:
    try:
        return native(np.dtype(dtype))
    except TypeError:
        bad_kind("dtype", dtype, "a NumPy type is needed, like numpy.float32")


def check_out(array: Array, shape: tuple[int, ...]) -> None:
    """Refuse an `out` into which a result of this shape can't be written."""
    if array.shape != shape:
        bad_value("out", array.shape, f"the result has shape {shape}")
    if not is_device_array(array) and not array.flags.writeable:
        bad_value("out", "a read-only array", "it must be writeable")
    if array.size and any(s == 0 and n > 1 for s, n in zip(array.strides, array.shape, strict=True)):
        bad_value("out", f"strides {array.strides}", "elements of out must not share memory")


def check_together(argument: str, x: Array, other: Array) -> None:
    """Refuse arrays of the host and of a device in one call."""
    there = is_device_array(x)
    if is_device_array(other) is not there:
        kinds = "a device array", "an array of the host"
        bad_kind(argument, type(other), f"{kinds[not there]} is needed, as the first one is: .get() or to_device()")


def new(
    like: Array, shape: tuple[int, ...], order: tuple[int, ...], dtype: np.dtype[Any], *, passing: bool = False
) -> Array:
    """A new array where `like` is, whose axes lie in `order`; a passing one is not handed out."""
    if is_device_array(like):
        from . import opencl

        made: Array = opencl.new(like, shape, order, dtype, passing=passing)
        return made
    return packed(shape, order, dtype)


def share_memory(a: Array, b: Array) -> bool:
    """Whether two arrays, both of one kind, may have an element in common."""
    if is_device_array(a):
        from . import opencl

        return opencl.share_memory(a, b)
    return np.may_share_memory(a, b)


def as_indices(x: Array) -> Array:
    """Integers of a device as int64."""
    from . import opencl

    found: Array = opencl.as_indices(x)
    return found


def assign(target: Array, value: Array) -> None:
    """Copy the elements of `value` to those of `target`, of the same kind."""
    if is_device_array(target):
        from . import opencl

        opencl.copy(value, target)
    else:
        target[...] = value


def expand_dims(x: Array, axes: tuple[int, ...]) -> Array:
    """The same elements with axes of length 1 at these places."""
    if not is_device_array(x):
        return np.expand_dims(x, axes)
    kept = iter(range(x.ndim))
    found = [None if a in axes else next(kept) for a in range(x.ndim + len(axes))]
    return _with_axes(x, found)


def squeeze(x: Any, axes: tuple[int, ...]) -> Any:
    """The same elements without these axes of length 1; of whatever kind x is."""
    kept = [a for a in range(len(x.shape)) if a not in axes]
    return _with_axes(x, kept) if is_device_array(x) else x.reshape([x.shape[a] for a in kept])


def _with_axes(x: Array, axes: Sequence[int | None]) -> Array:
    from . import opencl

    shape = tuple(1 if a is None else x.shape[a] for a in axes)
    viewed: Array = opencl.view(x, shape, tuple(0 if a is None else x.strides[a] for a in axes))
    return viewed


def item_of(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The real type that an element is made of, in native order."""
    plain = native(dtype)
    if plain.kind == "c":
        return np.dtype(f"f{plain.itemsize // 2}")
    return plain
