"""The peers: how each library does a case, or why it doesn't."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import limit
from .cases import OPERATIONS, Case
from .timing import Call, Statement, quickest

Array = NDArray[Any]


@dataclass(frozen=True)
class Prepared:
    """A case ready to be timed, and what it gives as an array in the case's layout (None: nothing to check)."""

    call: Call
    text: str
    result: Callable[[], Array] | None = None
    detail: str = ""  # how the library does it, if it tells


class Peer:
    """One library. New peers are a subclass and a line in PEERS."""

    name: str
    package: str | None = None  # for the stamp

    def missing(self) -> str | None:
        """Why it can't be used here; None if it can."""
        return None

    @contextmanager
    def session(self, threads: int) -> Iterator[None]:
        """Within the block this library uses so many threads."""
        yield

    def prepare(self, case: Case, threads: int) -> Prepared | str:
        """The case ready to be timed, or the reason why this library doesn't do it."""
        raise NotImplementedError


class Cpool(Peer):
    """What is compared."""

    name = "cpool"

    def missing(self) -> str | None:
        """Why it can't be used here; None if it can."""
        try:
            import cpool  # noqa: F401
        except ImportError as error:
            return str(error)
        return None

    @contextmanager
    def session(self, threads: int) -> Iterator[None]:
        """Within the block cpool uses so many threads."""
        import cpool

        before = cpool.get_num_threads()
        cpool.set_num_threads(threads)
        try:
            yield
        finally:
            cpool.set_num_threads(before)

    def prepare(self, case: Case, threads: int) -> Prepared | str:
        """The public function, called as a user would."""
        import cpool

        name = OPERATIONS[case.row.operation].function.format(case.row.rank)
        function = getattr(cpool, name)
        text = f"pool(x, {arguments(case)}"
        options: dict[str, Any] = {}
        if case.layout == "last":
            text += ', data_format="channels_last"'
            options["data_format"] = "channels_last"
        if case.row.result:
            text += ", dtype=dtype"
            options["dtype"] = case.out_dtype
        statement = Statement(text + ")", pool=function, x=case.x, dtype=case.out_dtype)
        told = cpool.explain(name, case.x, *case.row.arguments, **options)
        text = f"cpool.{statement.text.replace('pool(', name + '(', 1)}"
        return Prepared(statement, text, statement.value, told.kernel)


class Torch(Peer):
    """PyTorch on the same memory, channels-last as its own memory format."""

    name = "torch"
    package = "torch"

    def missing(self) -> str | None:
        """Why it can't be used here; None if it can."""
        try:
            import torch  # noqa: F401
        except (ImportError, OSError) as error:
            return str(error)
        return None

    @contextmanager
    def session(self, threads: int) -> Iterator[None]:
        """Within the block torch uses so many threads and records no gradients."""
        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            with torch.inference_mode():
                yield
        finally:
            torch.set_num_threads(before)

    def prepare(self, case: Case, threads: int) -> Prepared | str:
        """The function of torch.nn.functional, on a tensor that shares x's memory."""
        import torch
        import torch.nn.functional as functional

        if case.row.result:
            return f"has no average with a result of {case.row.result}"
        if case.dtype == "bfloat16":
            x = torch.from_numpy(case.x.view(np.int16)).view(torch.bfloat16)
        else:
            x = torch.from_numpy(case.x)
        if case.layout == "last":
            x = x.movedim(-1, 1)
        name = OPERATIONS[case.row.operation].function.format(case.row.rank)
        statement = Statement(f"pool(x, {arguments(case)})", pool=getattr(functional, name), x=x)
        try:
            statement.value()
        except (RuntimeError, NotImplementedError) as error:
            return str(error).splitlines()[0]

        def result() -> Array:
            y = statement.value()
            if case.layout == "last":
                y = y.movedim(1, -1)
            if y.dtype != torch.bfloat16:
                return np.asarray(y.contiguous().numpy())
            return np.asarray(y.contiguous().view(torch.int16).numpy().view(case.x.dtype))

        return Prepared(statement, f"F.{statement.text.replace('pool(', name + '(', 1)}", result)


class Pillow(Peer):
    """Pillow's `Image.reduce`: uint8 images made smaller by whole factors, on one thread."""

    name = "Pillow"
    package = "pillow"

    def missing(self) -> str | None:
        """Why it can't be used here; None if it can."""
        try:
            import PIL.Image  # noqa: F401
        except ImportError as error:
            return str(error)
        return None

    def prepare(self, case: Case, threads: int) -> Prepared | str:
        """Every image reduced by its factors."""
        from PIL import Image

        row, x = case.row, case.x
        if case.x.dtype != np.uint8 or case.out_dtype != np.uint8 or row.rank != 2:
            return "averages uint8 images to uint8 only"
        if row.operation != "adaptive average" or any(
            n % m for n, m in zip(row.shape[2:], row.out_shape[2:], strict=True)
        ):
            return "reduces by whole factors only"
        if threads > 1:
            return "uses one thread"
        height, width = (n // m for n, m in zip(row.shape[2:], row.out_shape[2:], strict=True))
        if case.layout == "first" or row.shape[1] == 1:
            planes = x.reshape(-1, *row.shape[2:])
            size = planes.shape[:0:-1]
            images = [Image.frombuffer("L", size, plane, "raw", "L", 0, 1) for plane in planes]
        elif row.shape[1] == 3:
            images = [Image.fromarray(image) for image in x]
        else:
            return "has images of one or three channels"
        statement = Statement("[image.reduce(factors) for image in images]", images=images, factors=(width, height))

        def result() -> Array:
            out = np.stack([np.asarray(image) for image in statement.value()])
            shape = row.out_shape if case.layout == "first" else (row.shape[0], *row.out_shape[2:], row.shape[1])
            return out.reshape(shape)

        return Prepared(statement, f"image.reduce(({width}, {height}))", result)


class Limit(Peer):
    """The speed of the memory: a plain read of x, or a copy where the output is large."""

    name = "limit"

    def missing(self) -> str | None:
        """Why it can't be used here; None if it can."""
        try:
            limit.library()
        except limit.Unavailable as error:
            return str(error)
        return None

    def prepare(self, case: Case, threads: int) -> Prepared | str:
        """The fastest of the ways to read, or to copy, so much."""
        try:
            loops = limit.variants(case.x, case.bytes_out, case.copies, threads)
        except limit.Unavailable as error:
            return str(error)
        best = min(loops, key=quickest) if len(loops) > 1 else loops[0]
        return Prepared(best, best.text)


def arguments(case: Case) -> str:
    """The operation's own arguments, as they are written in a call."""
    return ", ".join(map(repr, case.row.arguments))


BASE = "cpool"  # what all others are held against
PEERS: tuple[Peer, ...] = (Cpool(), Torch(), Pillow(), Limit())
