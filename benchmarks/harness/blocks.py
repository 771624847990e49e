"""Peers that reduce blocks: windows that lie side by side, all of one size. Other windows they don't have."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .cases import Case, Row
from .peer import Array, Peer, Prepared, only_pools
from .timing import Statement

ONE_THREAD = "uses one thread"
WHOLE = "reduces by whole factors only"


def sides_of(row: Row) -> list[int] | None:
    """The sides of the row's blocks; None where its windows are none."""
    sides = []
    for n, taps in zip(row.shape[2:], row.taps, strict=True):
        side = n // len(taps)
        if taps != [(at, at + side, side) for at in range(0, n, side or n)]:
            return None
        sides.append(side)
    return sides


def _reduction(case: Case) -> tuple[str, dict[str, Any]]:
    """The name of NumPy's reduction, and what it must be told; integers are averaged as the row wants them."""
    if "max" in case.row.operation:
        return "max", {}
    return "mean", {"dtype": case.out_dtype} if case.dtype != case.out_dtype.name else {}


def _not_numpy(case: Case, threads: int) -> str | None:
    """What NumPy's reductions can't do."""
    if not only_pools(case):
        return "is asked for pooling only"
    if case.row.result:
        return f"has no average with a result of {case.row.result}"
    if sides_of(case.row) is None:
        return WHOLE
    return ONE_THREAD if threads > 1 else None


class NumPy(Peer):
    """NumPy: each pooled axis is made two, and the second of them reduced."""

    name = "NumPy"
    needs = ("numpy",)

    def prepare(self, case: Case, threads: int) -> Prepared | str:
        """One reduction of a view."""
        sides = sides_of(case.row)
        reason = _not_numpy(case, threads)
        if reason or sides is None:
            return reason or WHOLE
        shape: list[int] = []
        axes: list[int] = []
        for axis, n in enumerate(case.x.shape):
            shape.append(n)
            if axis in case.axes:
                side = sides[case.axes.index(axis)]
                shape[-1:] = [n // side, side]
                axes.append(len(shape) - 1)
        name, told = _reduction(case)
        more = ", dtype=dtype" if told else ""
        text = f"x.reshape(shape).{name}(axes{more})"
        statement = Statement(text, x=case.x, shape=tuple(shape), axes=tuple(axes), **told)
        return Prepared(statement, text, statement.value)


class ScikitImage(Peer):
    """scikit-image: `block_reduce` with NumPy's mean, or its largest."""

    name = "scikit-image"
    package = "scikit-image"
    needs = ("skimage.measure",)

    def prepare(self, case: Case, threads: int) -> Prepared | str:
        """One call for all axes; those that are kept have blocks of one."""
        from skimage.measure import block_reduce

        sides = sides_of(case.row)
        reason = _not_numpy(case, threads)
        if reason or sides is None:
            return reason or WHOLE
        block = [1] * case.x.ndim
        for axis, side in zip(case.axes, sides, strict=True):
            block[axis] = side
        name, told = _reduction(case)
        text = f"block_reduce(x, block, {name}{', func_kwargs=told' if told else ''})"
        names = {"block_reduce": block_reduce, "x": case.x, "block": tuple(block), name: getattr(np, name)}
        statement = Statement(text, **names, told=told)
        return Prepared(statement, text, statement.value)


class OpenCv(Peer):
    """OpenCV's `resize` with INTER_AREA, which averages blocks where a side is a multiple of the other.

    Else it counts pixels in part: other windows. Planes that lie one under the other are one image to it.
    """

    name = "OpenCV"
    package = "opencv-python-headless"
    needs = ("cv2",)

    @contextmanager
    def session(self, threads: int) -> Iterator[None]:
        """Within the block OpenCV uses so many threads."""
        import cv2

        before = cv2.getNumThreads()
        cv2.setNumThreads(threads)
        try:
            yield
        finally:
            cv2.setNumThreads(before)

    def prepare(self, case: Case, threads: int) -> Prepared | str:
        """All planes as one image, or all images of a batch."""
        import cv2

        row = case.row
        if not only_pools(case) or "max" in row.operation:
            return "is asked for averages only"
        if case.x.dtype != case.out_dtype:
            return "gives results of the input's type"
        if row.rank > 2:
            return "has images only"
        if sides_of(row) is None:
            return "counts pixels in part where sizes don't divide"
        n, channels, *lengths = row.shape
        out = row.out_shape[2:]
        planes = n * channels if case.layout == "first" else n
        image = case.x.reshape(-1, lengths[-1], *([channels] if case.layout == "last" else []))
        height = planes * (out[0] if row.rank == 2 else 1)
        statement = Statement(
            "resize(image, size, interpolation=INTER_AREA)",
            resize=cv2.resize,
            image=image,
            size=(out[-1], height),
            INTER_AREA=cv2.INTER_AREA,
        )
        try:
            statement.value()
        except cv2.error as error:
            return f"refuses the shape or the type: {error.err or str(error).strip()}"
        shape = row.shape_of("output", case.layout)
        return Prepared(statement, f"cv2.{statement.text}", lambda: np.asarray(statement.value()).reshape(shape))


class Pillow(Peer):
    """Pillow's `Image.reduce`: images made smaller by whole factors, on one thread."""

    name = "Pillow"
    package = "pillow"
    needs = ("PIL.Image",)

    def prepare(self, case: Case, threads: int) -> Prepared | str:
        """Every image reduced by its factors."""
        from PIL import Image

        row, x = case.row, case.x
        mode = {"uint8": "L", "float32": "F"}.get(case.dtype)
        if mode is None or x.dtype != case.out_dtype or row.rank != 2:
            return "averages images of uint8 or float32 to the same type"
        if not only_pools(case) or "max" in row.operation:
            return "is asked for averages only"
        sides = sides_of(row)
        if sides is None:
            return WHOLE
        if threads > 1:
            return ONE_THREAD
        if case.layout == "first" or row.shape[1] == 1:
            planes = x.reshape(-1, *row.shape[2:])
            size = planes.shape[:0:-1]
            images = [Image.frombuffer(mode, size, plane, "raw", mode, 0, 1) for plane in planes]
        elif row.shape[1] == 3 and mode == "L":
            images = [Image.fromarray(image) for image in x]
        else:
            return "has images of one channel, or of three of uint8"
        height, width = sides
        statement = Statement("[image.reduce(factors) for image in images]", images=images, factors=(width, height))

        def result() -> Array:
            out = np.stack([np.asarray(image) for image in statement.value()])
            return out.reshape(row.shape_of("output", case.layout))

        return Prepared(statement, f"image.reduce(({width}, {height}))", result)
