"""What may come in and what goes out: NumPy arrays, what offers itself through DLPack on the CPU, PyOpenCL's arrays."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from . import _dlpack, _kernels
from ._dlpack import HOST
from .errors import bad_kind, bad_value
from .plan import check_size, packed_strides, product
from .windows import as_int

Array = NDArray[Any]
Wrap = Callable[[Array], Any]

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
    if hasattr(x, "__cuda_array_interface__"):
        _refuse_device(argument, x, "CUDA", type(x).__module__.partition(".")[0])
    try:
        array = np.asarray(x)
    except (ValueError, TypeError) as error:
        raise TypeError(f"{argument}: got {type(x).__name__}; an array is needed ({error})") from None
    return array, None


# ---- other libraries' arrays -------------------------------------------------------------------------

BFLOAT16 = np.dtype([("cpool.bfloat16", np.uint16)])  # its bits, where nothing but DLPack says what they are
_BFLOAT = 4  # DLPack's code for it
DLPACK: dict[tuple[int, int], np.dtype[Any]] = {
    **{(0, bits): np.dtype(f"i{bits // 8}") for bits in (8, 16, 32, 64)},
    **{(1, bits): np.dtype(f"u{bits // 8}") for bits in (8, 16, 32, 64)},
    **{(2, bits): np.dtype(f"f{bits // 8}") for bits in (16, 32, 64)},
    **{(5, bits): np.dtype(f"c{bits // 8}") for bits in (64, 128)},
    (6, 8): np.dtype(bool),
    (_BFLOAT, 16): BFLOAT16,
}
DEVICES = {2: "CUDA", 4: "OpenCL", 7: "Vulkan", 8: "Metal", 10: "ROCm", 13: "CUDA (managed)", 14: "oneAPI"}
HOMES = {"jaxlib": "jax"}  # packages whose arrays belong to another
COPIES = {"torch": "{}.cpu()", "cupy": "{}.get()", "jax": "jax.device_get({})", "numba": "{}.copy_to_host()"}
_makers: WeakKeyDictionary[type, tuple[str, Wrap | None]] = WeakKeyDictionary()


def _from_dlpack(argument: str, x: Any) -> tuple[Array, Wrap]:
    kind = type(x)
    package, make = _home_of(kind)
    try:
        device = x.__dlpack_device__()
    except (BufferError, RuntimeError, ValueError) as error:
        raise TypeError(f"{argument}: this {kind.__name__} has no memory that can be read: {error}") from None
    if device[0] not in HOST:
        _refuse_device(argument, x, f"{DEVICES.get(int(device[0]), 'DLPack')} device {device[1]}", package)
    if getattr(x, "requires_grad", False):
        bad_kind(argument, f"{kind.__name__} that requires gradients", f"use {argument}.detach(): no graph is recorded")
    if make is None:
        bad_kind(argument, kind, f"{package} has no from_dlpack to bring the result back with: use numpy.asarray")
    try:
        try:
            capsule = x.__dlpack__(max_version=(1, 0))
        except TypeError:  # it is from before there were versions
            capsule = x.__dlpack__()
        array = _dlpack.read(capsule, DLPACK)
    except (BufferError, RuntimeError, ValueError) as error:
        raise TypeError(f"{argument}: this {kind.__name__} can't be read through DLPack: {error}") from None
    home: Callable[[Any], Any] = make

    def wrap(result: Array) -> Any:
        return home(_dlpack.Lent(result, _BFLOAT) if result.dtype == BFLOAT16 else result)

    return array, wrap


def _home_of(kind: type) -> tuple[str, Wrap | None]:
    """The package of an array's class or of one that it extends, and what makes its arrays there."""
    found = _makers.get(kind)
    if found is None:
        names = [c.__module__.partition(".")[0] for c in kind.__mro__]
        homes = [sys.modules.get(HOMES.get(name, name)) for name in names]
        made = ((home, _maker(home)) for home in homes if home is not None)
        found = next(((home.__name__, make) for home, make in made if make is not None), (names[0], None))
        _makers[kind] = found
    return found


def _maker(module: Any) -> Wrap | None:
    make: Wrap | None = getattr(module, "from_dlpack", None)
    return make or getattr(getattr(module, "dlpack", None), "from_dlpack", None)


def _refuse_device(argument: str, x: Any, where: str, package: str) -> NoReturn:
    copy = COPIES.get(package, "copy {} to the host").format(argument)
    wanted = "arrays of the host, and PyOpenCL's, can be pooled: "
    bad_value(argument, f"{type(x).__name__} on {where}", wanted + (f"use {copy}" if package in COPIES else copy))


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


def in_lines(x: Array) -> Array:
    """The bytes of a packed array to be read: to the end of their last cache line, if that is its own memory."""
    home = x
    while isinstance(home.base, np.ndarray):
        home = home.base
    plain, end = x.reshape(-1).view(np.uint8), x.ctypes.data + x.nbytes
    more = -end % LINE
    if not home.flags.owndata or end + more > home.ctypes.data + home.nbytes:
        return plain
    return np.lib.stride_tricks.as_strided(plain, (plain.size + more,), writeable=False)


def is_bfloat16(dtype: np.dtype[Any]) -> bool:
    """Whether this is the bfloat16 of ml_dtypes, which need not be imported for that, or of DLPack."""
    return dtype.itemsize == 2 and (dtype.name == "bfloat16" or dtype == BFLOAT16)


def same_type(a: np.dtype[Any], b: np.dtype[Any]) -> bool:
    """Whether elements are the same, whatever their byte order; there are two dtypes for bfloat16."""
    return native(a) == native(b) or (is_bfloat16(a) and is_bfloat16(b))


def name_of(dtype: np.dtype[Any]) -> str:
    """What a type is called."""
    return "bfloat16" if is_bfloat16(dtype) else str(dtype)


def widened(x: Array) -> Array:
    """x, as float32 if NumPy can't calculate with it: bits of bfloat16 are the upper half of a float32's."""
    return (x["cpool.bfloat16"].astype(np.uint32) << 16).view(np.float32) if x.dtype == BFLOAT16 else x


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
        if asked is not None and not same_type(asked, out.dtype):
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
        bad_kind(argument, asked, f"an average of {name_of(x)} can be {what}")
    return asked


def max_type(x: np.dtype[Any], out: Array | None) -> np.dtype[Any]:
    """The type of the largest of x: its own."""
    if out is not None and not same_type(out.dtype, x):
        bad_kind("out", out.dtype, f"the largest of {name_of(x)} are {name_of(native(x))}")
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
    if array.size and not array.flags.forc and _overlaps_itself(array):
        bad_value("out", f"strides {array.strides}", "elements of out must not share memory, nor its axes interleave")


def _overlaps_itself(array: Array) -> bool:
    """Whether a step along an axis is shorter than all that lies within it."""
    reach = array.dtype.itemsize
    for stride, n in sorted((abs(s), n) for s, n in zip(array.strides, array.shape, strict=True) if n > 1):
        if stride < reach:
            return True
        reach += stride * (n - 1)
    return False


def lies_so(array: Array, dtype: np.dtype[Any], strides: tuple[int, ...]) -> bool:
    """Whether an array of the host lies as a kernel writes it: its own type, aligned, these strides."""
    return (
        not is_device_array(array)
        and array.dtype.isnative
        and same_type(array.dtype, dtype)
        and array.flags.aligned
        and all(s == t or n == 1 for s, t, n in zip(array.strides, strides, array.shape, strict=True))
    )


def check_together(argument: str, x: Array, other: Array) -> None:
    """Refuse arrays of the host and of a device in one call."""
    there = is_device_array(x)
    if is_device_array(other) is not there:
        kinds = "a device array", "an array of the host"
        bad_kind(argument, type(other), f"{kinds[not there]} is needed, as the first one is: .get() or to_device()")


def packed(
    shape: tuple[int, ...], order: tuple[int, ...], dtype: np.dtype[Any], memory: memoryview | None = None
) -> Array:
    """A new array of `shape` whose axes lie in `order`, in memory of its own or in this."""
    strides = packed_strides(shape, order, dtype.itemsize)
    if memory is None:
        return _kernels.empty(dtype, shape, strides)
    return np.ndarray(shape, dtype, memory, strides=strides)


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
        same = target.dtype == value.dtype or not is_bfloat16(target.dtype)  # else NumPy would take bits for numbers
        (target if same else target.view(value.dtype))[...] = value


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
