"""The peers: how each library does a case, or why it doesn't."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import limit
from .cases import Case
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
    needs: tuple[str, ...] = ()  # modules

    def missing(self) -> str | None:
        """Why it can't be used here; None if it can."""
        try:
            for module in self.needs:
                import_module(module)
        except (ImportError, OSError) as error:  # a library that a module loads may be what is missing
            return str(error)
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
    needs = ("cpool",)

    @contextmanager
    def session(self, threads: int) -> Iterator[None]:
        """Within the block cpool uses so many threads."""
        import cpool

        with cpool.threads(threads):
            yield

    def prepare(self, case: Case, threads: int) -> Prepared | str:
        """The public function, called as a user would."""
        import cpool

        name = case.row.done.function.format(case.row.rank)
        text = f"pool({case.row.done.call.format(arguments=arguments(case))}"
        options: dict[str, Any] = {}
        if case.layout == "last":
            text += ', data_format="channels_last"'
            options["data_format"] = "channels_last"
        if case.row.result:
            text += ", dtype=dtype"
            options["dtype"] = case.out_dtype
        names = {**case.given, "pool": getattr(cpool, name), "shape": case.shape, "dtype": case.out_dtype}
        statement = Statement(text + ")", **names)
        told = ""
        if case.row.explained:
            told = cpool.explain(name, case.x, *case.row.arguments, **options).kernel
        text = f"cpool.{statement.text.replace('pool(', name + '(', 1)}"
        return Prepared(statement, text, lambda: values_of(case, statement.value()), told)


class Torch(Peer):
    """PyTorch on the same memory, channels-last as its own memory format."""

    name = "torch"
    package = "torch"
    needs = ("torch",)

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
        """The function of torch.nn.functional, or the one its gradient calls, on tensors that share x's memory."""
        import torch

        row = case.row
        if row.result:
            return f"has no average with a result of {row.result}"
        given = {name: self._tensor(case, array) for name, array in case.given.items()}
        statement = self._statement(case, given)
        try:
            statement.value()
        except (RuntimeError, NotImplementedError) as error:
            return str(error).splitlines()[0]

        def result() -> Array:
            y = values_of(case, statement.value())
            y = y.reshape(*y.shape[:2], *row.shape_of(row.done.result_is)[2:])
            if case.layout == "last":
                y = y.movedim(1, -1)
            if y.dtype != torch.bfloat16:
                return np.asarray(y.contiguous().numpy())
            return np.asarray(y.contiguous().view(torch.int16).numpy().view(case.x.dtype))

        return Prepared(statement, statement.text, result)

    @staticmethod
    def _tensor(case: Case, array: Array) -> Any:
        """The array as a tensor on the same memory, the axes in torch's order."""
        import torch

        tensor = torch.from_numpy(array.view(np.int16) if array.dtype.name == "bfloat16" else array)
        if array.dtype.name == "bfloat16":
            tensor = tensor.view(torch.bfloat16)
        return tensor.movedim(-1, 1) if case.layout == "last" and tensor.ndim == len(case.shape) else tensor

    @staticmethod
    def _statement(case: Case, given: dict[str, Any]) -> Statement:
        """What a user of torch has done for the row."""
        import torch
        import torch.nn.functional as functional

        row, x = case.row, given["x"]
        name = row.done.function.format(row.rank)
        if row.operation == "squeeze-excite":
            names = {name: (w[..., None, None] if w.ndim == 2 else w) for name, w in given.items() if name != "x"}
            text = "x * sigmoid(conv2d(silu(conv2d(adaptive_avg_pool2d(x, 1), w1, b1)), w2, b2))"
            known = {n: getattr(functional, n) for n in ("conv2d", "silu", "adaptive_avg_pool2d")}
            return Statement(text, x=x, sigmoid=torch.sigmoid, **known, **names)
        if row.done.x_is == "input":
            text = row.done.call.format(arguments=arguments(case))
            return Statement(f"{name}({text})", x=x, **{name: getattr(functional, name)})

        like = Torch._tensor(case, np.empty(case.shape, case.x.dtype))
        if all(len(taps) == 1 for taps in row.taps) and "average" in row.operation:
            return Statement("x.expand(shape) / count", x=x, shape=like.shape, count=like[0, 0].numel())
        names = {"x": x, "like": like, "indices": given.get("indices")}
        rank = max(row.rank, 2)  # in torch one axis is two, the first of length 1
        if row.rank == 1:
            names = {n: t if t is None else t.unsqueeze(2) for n, t in names.items()}
        function, text = {
            "adaptive average gradient": ("_adaptive_avg_pool{}d_backward", "x, like"),
            "adaptive max gradient": ("adaptive_max_pool{}d_backward", "x, like, indices"),
            "average gradient": ("avg_pool{}d_backward", "x, like, k, s, p, False, True, None"),
            "max gradient": ("max_pool{}d_with_indices_backward", "x, like, k, s, p, d, False, indices"),
        }[row.operation]
        function = function.format(rank)
        if "k," in text:
            k, s, p = ([value] * row.rank for value in row.arguments)
            names |= {"k": k, "s": s, "p": p, "d": [1] * row.rank}
        return Statement(f"{function}({text})", **names, **{function: getattr(torch.ops.aten, function)})


class OnnxRuntime(Peer):
    """ONNX Runtime: a model of one node, arrays in and out."""

    name = "onnxruntime"
    package = "onnxruntime"
    needs = ("onnx", "onnxruntime")
    opset = 22

    def prepare(self, case: Case, threads: int) -> Prepared | str:
        """A session with so many threads."""
        import onnxruntime
        from onnx import TensorProto, helper

        row = case.row
        reason = _one_forward(case)
        if reason:
            return reason
        kind = "MaxPool" if "max" in row.operation else "AveragePool"
        options: dict[str, Any] = {}
        if row.done.name.startswith("adaptive"):
            if any(len(taps) > 1 for taps in row.taps):
                return "has no adaptive pooling"
            kind = f"Global{kind}"
        else:
            k, s, p = row.arguments
            options = {"kernel_shape": [k] * row.rank, "strides": [s] * row.rank, "pads": [p] * 2 * row.rank}
            if kind == "AveragePool":
                options["count_include_pad"] = 1
        shapes = {"x": case.x.shape, "y": row.out_shape}
        x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items())
        graph = helper.make_graph([helper.make_node(kind, ["x"], ["y"], **options)], "pool", [x], [y])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=10)
        told = onnxruntime.SessionOptions()
        told.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(model.SerializeToString(), told, ["CPUExecutionProvider"])
        statement = Statement("run(None, x)[0]", run=session.run, x={"x": case.x})
        return Prepared(statement, f"session.run, {kind}", statement.value)


class OpenVino(Peer):
    """OpenVINO: a model of one node, arrays in and out without copies."""

    name = "openvino"
    package = "openvino"
    needs = ("openvino",)

    def prepare(self, case: Case, threads: int) -> Prepared | str:
        """A compiled model with so many threads."""
        import openvino
        from openvino import opset14 as ops

        row = case.row
        reason = _one_forward(case)
        if reason:
            return reason
        x = ops.parameter(case.x.shape, np.float32)
        if row.done.name.startswith("adaptive"):
            sizes = np.array([len(taps) for taps in row.taps], np.int64)
            largest = "max" in row.operation
            node = ops.adaptive_max_pool(x, sizes, "i32").output(0) if largest else ops.adaptive_avg_pool(x, sizes)
        else:
            k, s, p = ([value] * row.rank for value in row.arguments)
            if "max" in row.operation:
                node = ops.max_pool(x, s, [1] * row.rank, p, p, k).output(0)
            else:
                node = ops.avg_pool(x, s, p, p, k, exclude_pad=False)
        settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32", "NUM_STREAMS": 1}
        model = openvino.Core().compile_model(openvino.Model([node], [x]), "CPU", settings)
        text = "model(x, share_inputs=True, share_outputs=True)[0]"
        statement = Statement(text, model=model, x=[case.x])
        return Prepared(statement, text, statement.value)


def _one_forward(case: Case) -> str | None:
    """What the libraries of models can't do, or aren't asked to."""
    if (
        case.row.done.pair
        or case.row.done.x_is != "input"
        or case.row.done.result_is != "output"
        or case.dtype != "float32"
    ):
        return "is asked for float32 pooling only"
    return "has channels first only" if case.layout == "last" else None


class Pillow(Peer):
    """Pillow's `Image.reduce`: uint8 images made smaller by whole factors, on one thread."""

    name = "Pillow"
    package = "pillow"
    needs = ("PIL.Image",)

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
            source = case.x if case.bytes_in == case.x.nbytes else limit.aligned(case.bytes_in)
            loops = limit.variants(source, case.bytes_out, case.copies, threads, case.row.done.reads)
        except limit.Unavailable as error:
            return str(error)
        best = min(loops, key=quickest) if len(loops) > 1 else loops[0]
        return Prepared(best, best.text)


def values_of(case: Case, result: Any) -> Any:
    """The result without its indices."""
    return result[0] if case.row.done.pair else result


def arguments(case: Case) -> str:
    """The operation's own arguments, as they are written in a call."""
    return ", ".join(map(repr, case.row.arguments))


BASE = "cpool"  # what all others are held against
PEERS: tuple[Peer, ...] = (Cpool(), Torch(), OnnxRuntime(), OpenVino(), Pillow(), Limit())
