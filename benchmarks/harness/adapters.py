"""The peers: how each library does a case, or why it doesn't."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from . import limit
from .blocks import ONE_THREAD, NumPy, OpenCv, Pillow, ScikitImage
from .cases import Case
from .machine import usable_cpus
from .peer import Array, Peer, Prepared, arguments, only_pools, values_of
from .timing import Statement, quickest


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
    if not only_pools(case) or case.dtype != "float32":
        return "is asked for float32 pooling only"
    return "has channels first only" if case.layout == "last" else None


class Keras(Peer):
    """Keras on NumPy: sliding windows for adaptive pooling, JAX's for kernels and strides."""

    name = "keras"
    package = "keras"
    needs = ("keras",)
    most = 5 * 10**9  # additions that may be asked for: some ten seconds

    def missing(self) -> str | None:
        """Why it can't be used here; None if it can."""
        os.environ.setdefault("KERAS_BACKEND", "numpy")  # read once, when keras is imported
        reason = super().missing()
        if reason is None:
            import keras

            backend = keras.config.backend()
            reason = None if backend == "numpy" else f"it runs on {backend} here; KERAS_BACKEND=numpy is wanted"
        return reason

    def prepare(self, case: Case, threads: int) -> Prepared | str:
        """What Keras's layers call: a mean for global pooling, else the operation."""
        from keras import ops

        row = case.row
        if not only_pools(case) or case.dtype != "float32":
            return "is asked for float32 pooling only"
        kind = "max" if "max" in row.operation else "average"
        names: dict[str, Any] = {"x": case.x, "data_format": f"channels_{case.layout}"}
        if not row.done.name.startswith("adaptive"):
            k, s, p = row.arguments
            if p:
                return "pads by the names valid and same only"
            if threads != usable_cpus():
                return "uses as many threads as JAX takes"
            names |= {"pool": getattr(ops, f"{kind}_pool"), "k": k, "s": s, "asarray": np.asarray}
            text = 'asarray(pool(x, k, s, "valid", data_format))'  # JAX waits when asked for an array
        elif threads > 1:
            return ONE_THREAD
        elif all(len(taps) == 1 for taps in row.taps):
            names |= {"pool": ops.max if kind == "max" else ops.mean, "axes": case.axes}
            text = "pool(x, axes, keepdims=True)"
        else:
            names["pool"] = getattr(ops, f"adaptive_{kind}_pool", None)
            if names["pool"] is None:
                return "has no adaptive pooling in this version"
            work = sum(case.x.size * 2 * -(-n // len(taps)) for n, taps in zip(row.shape[2:], row.taps, strict=True))
            if work > self.most:
                return "slides windows over every place, which here is too much work"
            names["sizes"] = tuple(len(taps) for taps in row.taps)
            text = "pool(x, sizes, data_format)"
        statement = Statement(text, **names)
        told = text.replace("pool(", f"keras.ops.{names['pool'].__name__}(")
        return Prepared(statement, told, lambda: np.asarray(statement.value()))


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


BASE = "cpool"  # what all others are held against
PEERS: tuple[Peer, ...] = (
    Cpool(), Torch(), OnnxRuntime(), OpenVino(), Keras(), NumPy(), ScikitImage(), OpenCv(), Pillow(), Limit()
)  # fmt: skip
