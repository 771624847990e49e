"""torch and ONNX Runtime, where they are installed: the same windows, the same divisors."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import cpool

OPTIONS = list(itertools.product([1, 2, 3, 5], [1, 2, 3], [0, 1, 2], [False, True], [False, True], [None, 3]))


def test_adaptive_like_torch(module):
    torch = module("torch")
    rng = np.random.default_rng(0)
    for n, m in itertools.product([1, 2, 5, 7, 10, 13, 16, 31], [1, 2, 3, 4, 7, 9, 20]):
        x = rng.standard_normal((2, 3, n, n + 3))
        wanted = torch.nn.functional.adaptive_avg_pool2d(torch.from_numpy(x), (m, m + 1)).numpy()
        np.testing.assert_allclose(cpool.adaptive_avg_pool2d(x, (m, m + 1)), wanted, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("n", [11, 8, 7])
def test_strided_like_torch(n, module):
    torch = module("torch")
    x = np.random.default_rng(0).standard_normal((2, 3, n, n + 2))
    tried = 0
    for kernel, stride, padding, ceil_mode, include, override in OPTIONS:
        if padding > kernel // 2:  # torch refuses these
            continue
        options = {"ceil_mode": ceil_mode, "count_include_pad": include, "divisor_override": override}
        wanted = torch.nn.functional.avg_pool2d(torch.from_numpy(x), kernel, stride, padding, **options).numpy()
        result = cpool.avg_pool2d(x, kernel, stride, padding, **options)
        np.testing.assert_allclose(
            result, wanted, rtol=1e-12, atol=1e-14, err_msg=str((kernel, stride, padding, options))
        )
        tried += 1
    assert tried > 100


def test_tensors_come_and_go(module):
    torch = module("torch")
    tensor = torch.arange(90.0).reshape(1, 1, 10, 9)
    result = cpool.adaptive_avg_pool2d(tensor, (7, 5))
    assert isinstance(result, torch.Tensor)
    wanted = cpool.adaptive_avg_pool2d(tensor.numpy(), (7, 5))
    np.testing.assert_array_equal(result.numpy(), wanted)
    out = torch.empty(1, 1, 7, 5)
    assert cpool.adaptive_avg_pool2d(tensor, (7, 5), out=out) is out
    np.testing.assert_array_equal(out.numpy(), wanted)
    with pytest.raises(TypeError, match="detach"):
        cpool.adaptive_avg_pool2d(tensor.requires_grad_(), (7, 5))


def test_both_runtimes_in_one_process(module):
    torch = module("torch")
    x = np.random.default_rng(0).random((8, 64, 56, 56), dtype=np.float32)
    for _ in range(5):
        wanted = torch.nn.functional.adaptive_avg_pool2d(torch.from_numpy(x), 7).numpy()
        np.testing.assert_allclose(cpool.adaptive_avg_pool2d(x, 7), wanted, rtol=1e-5)


def test_strided_like_onnxruntime(module):
    runtime = module("onnxruntime")
    onnx = module("onnx")
    x = np.random.default_rng(0).standard_normal((1, 2, 11, 9)).astype(np.float32)
    info = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, None) for n in ("x", "y")]
    for kernel, stride, (before, after), include in itertools.product(
        [2, 3], [1, 2, 3], [(0, 0), (1, 0), (1, 1)], [0, 1]
    ):
        node = onnx.helper.make_node(
            "AveragePool", ["x"], ["y"], kernel_shape=[kernel] * 2, strides=[stride] * 2,
            pads=[before, before, after, after], count_include_pad=include,
        )  # fmt: skip
        model = onnx.helper.make_model(
            onnx.helper.make_graph([node], "pool", info[:1], info[1:]),
            opset_imports=[onnx.helper.make_opsetid("", 19)],
            ir_version=9,
        )
        session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        wanted = session.run(None, {"x": x})[0]
        pads = ((before, after), (before, after))
        result = cpool.avg_pool2d(x, kernel, stride, pads, count_include_pad=bool(include))
        np.testing.assert_allclose(result, wanted, rtol=1e-5, atol=1e-6)
