"""Files of arrays: .npy, header by itself or whole, members of .npz; and outputs that appear whole or not at all."""

from __future__ import annotations

import errno
import math
import os
import secrets
import signal
import stat
import threading
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from types import FrameType
from typing import Any, BinaryIO, NoReturn

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from .errors import Failure, reason

Array = NDArray[Any]

READERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
DAMAGED = (ValueError, TypeError, SyntaxError, TokenError, EOFError)  # what NumPy says of headers
ZEROS = bytes(2**20)


@dataclass(frozen=True)
class Header:
    """What a .npy file says of its array; the shape is that of C order, turned round if the file is in Fortran's."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    turned: bool
    offset: int  # of the elements

    @property
    def nbytes(self) -> int:
        """Bytes of the elements."""
        return math.prod(self.shape) * self.dtype.itemsize


def open_input(path: Path) -> BinaryIO:
    """The file, which must be a plain one."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise Failure(f"{path}: {reason(error)}") from None
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise Failure(f"{path}: a plain file is needed, no pipe or device")
    return file


def read_header(path: Path, file: BinaryIO) -> Header:
    """The header, if it is sound and the file holds all that it promises."""
    try:
        version = npy.read_magic(file)
        if version not in READERS:
            raise Failure(f"{path}: a .npy file of version {version}, which only structured types need")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of headers that Python 2 wrote
            shape, turned, dtype = READERS[version](file)
    except DAMAGED as error:
        raise Failure(f"{path}: not a .npy file, or a damaged one: {reason(error)}") from None
    if dtype.hasobject:
        raise Failure(f"{path}: holds Python objects; numbers are needed")
    if any(n < 0 for n in shape):
        raise Failure(f"{path}: a damaged .npy file: its shape is {shape}")
    header = Header(shape[::-1] if turned else shape, dtype, turned, file.tell())
    there = os.fstat(file.fileno()).st_size - header.offset
    if there < header.nbytes:
        raise Failure(f"{path}: cut off: {there:,} bytes of elements, {header.nbytes:,} are promised")
    return header


def write_header(file: BinaryIO, shape: tuple[int, ...], dtype: np.dtype[Any], turned: bool) -> int:
    """The header of an array of C order, or of Fortran's, turned round; where its elements begin."""
    descr = npy.dtype_to_descr(dtype)
    told = {"descr": descr, "fortran_order": turned, "shape": shape[::-1] if turned else shape}
    npy.write_array_header_1_0(file, told)
    return file.tell()


def reserve(file: BinaryIO, offset: int, size: int) -> None:
    """Room on the disk for what is going to be written through a map: there a full disk would end the process."""
    if size and hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file.fileno(), offset, size)
            return
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                raise
    file.seek(offset)
    for done in range(0, size, len(ZEROS)):
        file.write(ZEROS[: size - done])
    file.flush()


# ---- whole arrays ----------------------------------------------------------------------------------


def read_npy(path: Path) -> Array:
    """The array of a .npy file, read whole."""
    with open_input(path) as file:
        header = read_header(path, file)
        array = np.fromfile(file, header.dtype, math.prod(header.shape)).reshape(header.shape)
    return array.T if header.turned else array


def members(path: Path, wanted: list[str] | None) -> Iterator[tuple[str, Array]]:
    """The arrays of a .npz file by their names: all, or those that are wanted."""
    with open_input(path) as file:
        try:
            with np.load(file, allow_pickle=False) as archive:
                if not isinstance(archive, np.lib.npyio.NpzFile):
                    raise Failure(f"{path}: not a .npz file")
                for name in wanted or archive.files:
                    if name not in archive.files:
                        raise Failure(f"{path}: has no member {name!r}; there are {', '.join(archive.files) or 'none'}")
                    yield name, _member(path, archive, name)
        except (zipfile.BadZipFile, *DAMAGED) as error:
            raise Failure(f"{path}: not a .npz file, or a damaged one: {reason(error)}") from None


def _member(path: Path, archive: Any, name: str) -> Array:
    try:
        array = archive[name]
    except (zipfile.BadZipFile, zlib.error, OSError, NotImplementedError, MemoryError, *DAMAGED) as error:
        raise Failure(f"{path}: member {name!r} is damaged: {reason(error)}") from None
    if not isinstance(array, np.ndarray):
        raise Failure(f"{path}: member {name!r} is no array")
    return array


def write_npz(file: BinaryIO, arrays: dict[str, Array]) -> None:
    """Arrays by their names, not compressed, as numpy.savez writes them."""
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                npy.write_array(member, np.asanyarray(array), allow_pickle=False)


# ---- outputs ---------------------------------------------------------------------------------------


def check_output(path: Path, force: bool) -> None:
    """Refuse what can't be written, or must not be."""
    if path.exists():
        if not path.is_file():
            raise Failure(f"{path}: is there and is no plain file")
        if not force:
            raise Failure(f"{path}: is there; --force replaces it")
    elif not path.absolute().parent.is_dir():
        raise Failure(f"{path}: there is no such folder")


@contextmanager
def whole(path: Path, force: bool) -> Iterator[BinaryIO]:
    """A new file that takes its name when all is written; whatever happens before, nothing is left of it."""
    check_output(path, force)
    target = path.resolve()  # a link stays one
    aside = target.with_name(f".{target.name[:100]}.{secrets.token_hex(6)}.part")
    with _signals_raise(), ExitQuietly(aside) as quietly:
        try:
            file = quietly.open()
            yield file
            file.flush()
            os.fsync(file.fileno())
            file.close()
            check_output(path, force)
            os.replace(aside, target)
        except OSError as error:
            raise Failure(f"{path}: {reason(error)}") from None


class ExitQuietly:
    """Removes a file at the end, if it is still there; no second Ctrl-C gets in between."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file: BinaryIO | None = None

    def open(self) -> BinaryIO:
        """Make the file."""
        self.file = self.path.open("x+b")
        return self.file

    def __enter__(self) -> ExitQuietly:
        return self

    def __exit__(self, *error: object) -> None:
        main = threading.current_thread() is threading.main_thread()
        before = signal.signal(signal.SIGINT, signal.SIG_IGN) if main else None
        if self.file is not None:
            with suppress(OSError):  # what is still in its buffer may not fit, either
                self.file.close()
        self.path.unlink(missing_ok=True)
        if main:
            signal.signal(signal.SIGINT, before)


@contextmanager
def _signals_raise() -> Iterator[None]:
    """Within the block SIGTERM and SIGHUP end the process as an exception does, so that it tidies up."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    names = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.signal(number, _leave) for number in names}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)
