"""Pool a file into another: .npy of any size, members of .npz, images.

examples:
  cpool pool features.npy small.npy --size 7x7           the last two axes become 7 x 7
  cpool pool x.npy y.npy --size 7x7 --layout NHWC        or the axes that letters name
  cpool pool x.npy y.npy --size 5xnone --axes 2,3        'none' keeps an axis
  cpool pool x.npy y.npy --op max --kernel 3x3 --stride 2x2 --padding 1x1
  cpool pool x.npy y.npy --op global-avg --layout NCHW
  cpool pool all.npz small.npz --size 7x7 --member a --member b
  cpool pool photo.jpg thumbnail.png --size 224
  cpool pool scan.tiff small.npy --size 1000x1000 --dtype float32

.npy into .npy is mapped and pooled piece by piece: both may be larger than the memory. Everything else is read whole.
OUT appears whole or not at all, and replaces what is there only with --force.

Averages of integers are float32 or float64 in arrays and keep their type in images; --dtype says otherwise. Images:
palettes become colours, CMYK becomes RGB, alpha is pooled as a channel by itself (colours are not weighted by it),
16-bit grey stays 16-bit, 16-bit colours (of which Pillow would drop half the bits) and files of several images are
refused, and photographs are turned as their camera says.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import files, images, operation, slices
from .errors import Failure, Mismatch, reason

Array = NDArray[Any]

SLICE = 64  # MB


def add_arguments(command: argparse.ArgumentParser) -> None:
    """What the command takes."""
    command.add_argument("source", type=Path, metavar="IN", help="a .npy, .npz or image file")
    command.add_argument("target", type=Path, metavar="OUT", help="the same, by its name")
    size = command.add_mutually_exclusive_group()
    size.add_argument("--size", type=operation.counts, metavar="7x7", help="what adaptive pooling makes of the axes")
    size.add_argument("--kernel", type=operation.shape, metavar="3x3", help="the windows of --op avg and max")
    operation.add_arguments(command)
    how = command.add_argument_group("files")
    how.add_argument("--member", action="append", metavar="NAME", help="of a .npz file; may be given again")
    how.add_argument("--force", action="store_true", help="replace OUT if it is there")
    how.add_argument(
        "--slice", type=_megabytes, default=SLICE * 10**6, metavar="MB", help=f"read at a time (default: {SLICE})"
    )
    how.add_argument("--quiet", action="store_true", help="don't say what was done")


def _megabytes(text: str) -> int:
    try:
        size = float(text) * 1e6
    except ValueError:
        size = 0
    if not 1 <= size < 2**62:
        raise argparse.ArgumentTypeError(f"{text!r}: a number of megabytes is needed, like 64 or 0.5")
    return int(size)


def run(args: argparse.Namespace) -> int:
    """Pool the file."""
    source, target = args.source, args.target
    for path in (source, target):
        if not images.is_image(path) and path.suffix.lower() not in (".npy", ".npz"):
            raise Failure(f"{path}: .npy, .npz, or an image ({', '.join(images.SUFFIXES)}) is needed")
    if args.member and source.suffix.lower() != ".npz":
        raise Failure(f"--member {args.member[0]}: {source} is no .npz file")
    files.check_output(target, args.force)
    if source.suffix.lower() == target.suffix.lower() == ".npy":
        done = slices.pool(
            source, target, lambda ndim: _operation(args, ndim, False, str(source)), args.force, args.slice
        )
        _say(args, done)
        return 0
    for done in _pool_whole(args, source, target):
        _say(args, done)
    return 0


def _say(args: argparse.Namespace, done: str) -> None:
    if not args.quiet:
        print(f"{args.target}: {done}")


def _operation(args: argparse.Namespace, ndim: int, image: bool, label: str) -> operation.Operation:
    strided = args.op in ("avg", "max")
    if (args.size if strided else args.kernel) is not None:
        raise Failure(f"--op {args.op} takes {'--kernel' if strided else '--size'}")
    try:
        return operation.operation(args, ndim, args.kernel if strided else args.size, image)
    except Mismatch as mismatch:
        raise Failure(f"{label}: {mismatch}") from None


def _pool_whole(args: argparse.Namespace, source: Path, target: Path) -> list[str]:
    """Everything in memory."""
    profile: bytes | None = None
    if images.is_image(source):
        picture = images.read(source)
        given, profile = {"arr_0": picture.pixels}, picture.profile
    elif source.suffix.lower() == ".npz":
        given = dict(files.members(source, args.member))
        if not given:
            raise Failure(f"{source}: has no members")
    else:
        given = {"arr_0": files.read_npy(source)}
    if len(given) > 1 and target.suffix.lower() != ".npz":
        raise Failure(f"{source}: has {len(given)} members: name one with --member, or write a .npz file")
    made: dict[str, Array] = {}
    lines = []
    for name, x in given.items():
        label = f"{source}: member {name!r}" if source.suffix.lower() == ".npz" else f"{source}"
        made[name] = _pooled(args, x, label, images.is_image(source))
        member = f"{name}: " if len(given) > 1 else ""
        lines.append(f"{member}{x.dtype} {x.shape} -> {made[name].dtype} {made[name].shape}")
    _write(target, args.force, made, profile)
    return lines


def _pooled(args: argparse.Namespace, x: Array, label: str, image: bool) -> Array:
    asked = _operation(args, x.ndim, image, label)
    if image and np.issubdtype(x.dtype, np.integer):
        asked = asked.with_default(x.dtype)
    try:
        result: Array = asked.run(x)
    except (ValueError, TypeError) as error:
        raise Failure(f"{label}: {reason(error)}") from None
    return result


def _write(target: Path, force: bool, made: dict[str, Array], profile: bytes | None) -> None:
    with files.whole(target, force) as file:
        if target.suffix.lower() == ".npz":
            files.write_npz(file, made)
            return
        [array] = made.values()
        if images.is_image(target):
            images.write(target, file, images.Picture(array, profile))
        else:
            np.lib.format.write_array(file, array, allow_pickle=False)
