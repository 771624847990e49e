"""Other libraries: their windows and divisors are ours, their arrays come in uncopied and go out as their own kind."""

from __future__ import annotations

import array
import gc
import itertools
import math
import re
import sys
import types
import weakref

import numpy as np
import pytest
from helpers import in_both_layouts, own_windows, run_python

import cpool
from cpool import _dlpack, arrays

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


@pytest.mark.parametrize("shape", [(2, 3, 11), (2, 3, 9, 14), (1, 2, 9, 6, 8)], ids=str)
def test_strided_with_its_own_for_each_axis_like_torch(shape, module):
    torch = module("torch")
    rank = len(shape) - 2
    theirs, ours = (getattr(library, f"avg_pool{rank}d") for library in (torch.nn.functional, cpool))
    x = np.random.default_rng(0).standard_normal(shape)
    divisors = [{"count_include_pad": True}, {"count_include_pad": False}]
    divisors += [{"divisor_override": 3}] if rank > 1 else []  # torch has none in one dimension
    for (kernel, stride, padding, _, ceil_mode), known in itertools.product(own_windows(shape, [(1, 1, 1)]), divisors):
        windows = {"kernel_size": kernel, "stride": stride, "padding": padding, "ceil_mode": ceil_mode, **known}
        wanted = theirs(torch.from_numpy(x), **windows).numpy()
        for result in in_both_layouts(lambda y, w=windows, **o: ours(y, **w, **o), x):
            np.testing.assert_allclose(result, wanted, rtol=1e-12, atol=1e-14, err_msg=str(windows))


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


# Where ONNX Runtime 1.31.1 and cpool differ, all left out below:
# - auto_pad SAME_* takes no notice of dilations, so that results have other shapes; cpool pads for the whole extent.
# - SAME_* pads by less than nothing where the stride exceeds the kernel by two or more: windows may begin later there.
# - With SAME_* ceil_mode changes nothing there; cpool refuses the two together.
# - Windows longer than an axis with its padding may give empty results there, or windows that end with the axis.
# - Pads must be less than the kernel there, whatever the dilation; in cpool each window must hold an element.
# - NaN is the largest there only where it comes first.
# Indices of MaxPool count through the whole tensor, cpool's through the plane.

ONNX_SHAPES = [(2, 3, 11), (2, 3, 7, 12), (2, 2, 6, 7, 5)]
ONNX_PADDING = [((0, 0, 0),) * 2, ((1, 1, 1),) * 2, ((1, 0, 1), (0, 1, 1)), ((0, 1, 0), (1, 0, 0))]  # before, after


def onnx_pool(module, operation, x, **attributes):
    """What a model of this one operation gives."""
    onnx, runtime = module("onnx"), module("onnxruntime")
    names = ["y", "indices"][: 1 + (operation == "MaxPool")]
    types = {"x": onnx.TensorProto.FLOAT, "y": onnx.TensorProto.FLOAT, "indices": onnx.TensorProto.INT64}
    infos = {name: onnx.helper.make_tensor_value_info(name, kind, None) for name, kind in types.items()}
    node = onnx.helper.make_node(operation, ["x"], names, **attributes)
    model = onnx.helper.make_model(
        onnx.helper.make_graph([node], "pool", [infos["x"]], [infos[name] for name in names]),
        opset_imports=[onnx.helper.make_opsetid("", 19)],
        ir_version=9,
    )
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})


def onnx_calls(shape):
    """Kernels, strides and dilations, for each axis its own; and padding in ONNX's words and in ours."""
    rank = len(shape) - 2
    options = itertools.product(
        [(2,) * 3, (3,) * 3, (3, 2, 1)], [(1,) * 3, (2,) * 3, (3, 1, 2)], [(1,) * 3, (2, 1, 3)], [0, 1]
    )
    for *each_axis, ceil_mode in options:
        kernel, stride, dilation = (list(v[:rank]) for v in each_axis)
        extents = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
        if any(e > n for e, n in zip(extents, shape[2:], strict=True)):
            continue
        attributes = {"kernel_shape": kernel, "strides": stride, "dilations": dilation, "ceil_mode": ceil_mode}
        for before, after in ONNX_PADDING:
            pads = list(zip(before[:rank], after[:rank], strict=True))
            if all(max(p) < k for p, k in zip(pads, kernel, strict=True)):
                yield attributes | {"pads": [*before[:rank], *after[:rank]]}, tuple(pads)
        yield attributes | {"auto_pad": "VALID"}, "valid"
        if not ceil_mode and extents == kernel and all(s <= k + 1 for s, k in zip(stride, kernel, strict=True)):
            for rule in ("SAME_UPPER", "SAME_LOWER"):
                yield attributes | {"auto_pad": rule}, rule.lower()


@pytest.mark.parametrize("shape", ONNX_SHAPES, ids=str)
def test_strided_averages_like_onnxruntime(shape, module):
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    ours = getattr(cpool, f"avg_pool{len(shape) - 2}d")
    tried = 0
    for (attributes, padding), include in itertools.product(onnx_calls(shape), [False, True]):
        (wanted,) = onnx_pool(module, "AveragePool", x, **attributes, count_include_pad=int(include))
        result = ours(
            x,
            attributes["kernel_shape"],
            attributes["strides"],
            padding,
            bool(attributes["ceil_mode"]),
            include,
            dilation=attributes["dilations"],
        )
        np.testing.assert_allclose(result, wanted, rtol=1e-5, atol=1e-6, err_msg=str((attributes, include)))
        tried += 1
    assert tried > 200


@pytest.mark.parametrize("shape", ONNX_SHAPES, ids=str)
def test_strided_maxima_like_onnxruntime(shape, module):
    """Small integers: most windows hold their largest twice, and the first has the index."""
    x = np.random.default_rng(0).integers(-3, 3, shape).astype(np.float32)
    ours = getattr(cpool, f"max_pool{len(shape) - 2}d")
    planes = np.arange(math.prod(shape[:2])).reshape(*shape[:2], *(1,) * (len(shape) - 2)) * math.prod(shape[2:])
    tried = 0
    for attributes, padding in onnx_calls(shape):
        values, indices = onnx_pool(module, "MaxPool", x, **attributes)
        windows = (attributes["kernel_shape"], attributes["strides"], padding, attributes["dilations"])
        result = ours(x, *windows, bool(attributes["ceil_mode"]), True)
        np.testing.assert_array_equal(result[0], values, str(attributes))
        np.testing.assert_array_equal(result[1] + planes, indices, str(attributes))
        tried += 1
    assert tried > 100


# ---- tensors of torch --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["bool", "uint8", "int8", "uint16", "int16", "int32", "int64", "float16", "float64"])
def test_tensors_of_every_type(name, module):
    torch = module("torch")
    tensor = (torch.randn(2, 3, 10, 9, generator=torch.Generator().manual_seed(0)) * 50).to(getattr(torch, name))
    result = cpool.adaptive_avg_pool2d(tensor, 7)
    assert isinstance(result, torch.Tensor)
    np.testing.assert_array_equal(result.numpy(), cpool.adaptive_avg_pool2d(tensor.numpy(), 7))
    largest, where = cpool.max_pool2d(tensor, 3, 2, return_indices=True)
    assert largest.dtype == tensor.dtype
    assert where.dtype == torch.int64
    np.testing.assert_array_equal(largest.numpy(), cpool.max_pool2d(tensor.numpy(), 3, 2))


@pytest.mark.parametrize("keepdims", [False, True])
def test_gradients_of_global_pooling_are_tensors_too(keepdims, module):
    torch = module("torch")
    x = torch.arange(54.0).reshape(2, 3, 3, 3)
    result = cpool.global_avg_pool_backward(cpool.global_avg_pool(x, keepdims=keepdims), x.shape, keepdims=keepdims)
    assert torch.equal(result, (x.mean((2, 3), keepdim=True) / 9).expand_as(x))
    values, indices = cpool.global_max_pool(x, keepdims=keepdims, return_indices=True)
    result = cpool.global_max_pool_backward(values, indices, x.shape, keepdims=keepdims)
    assert torch.equal(result, torch.where(x == x.amax((2, 3), keepdim=True), x, 0))


BFLOAT16 = """
import sys
sys.modules["ml_dtypes"] = None  # it can't be imported
import torch, cpool
x = torch.randn(2, 16, 10, 9, generator=torch.Generator().manual_seed(0)).bfloat16()

def rounded(y):
    return y.to(torch.bfloat16)

for layout in (x, x.to(memory_format=torch.channels_last), x[:, ::2], x[..., 1:], x.transpose(0, 1)):
    wanted = rounded(torch.nn.functional.adaptive_avg_pool2d(layout.double(), 7))
    result = cpool.adaptive_avg_pool2d(layout, 7)
    assert type(result) is torch.Tensor
    assert torch.equal(result, wanted)
    out = torch.empty_like(wanted)
    assert cpool.adaptive_avg_pool2d(layout, 7, out=out) is out
    assert torch.equal(out, wanted)
    aside = layout.clone()
    assert cpool.avg_pool2d(aside, 3, 1, 1, out=aside) is aside  # over itself
    assert torch.equal(aside, rounded(torch.nn.functional.avg_pool2d(layout.double(), 3, 1, 1)))
    values, indices = cpool.max_pool2d(layout, 3, 2, return_indices=True)
    wanted, where = torch.nn.functional.max_pool2d(layout, 3, 2, return_indices=True)
    assert torch.equal(values, wanted) and torch.equal(indices, where)
    assert torch.equal(cpool.max_pool2d(layout, 3, 2), wanted)
    wide = layout.double().requires_grad_()
    torch.nn.functional.adaptive_avg_pool2d(wide, 7).sum().backward()
    back = cpool.adaptive_avg_pool2d_backward(torch.ones(*layout.shape[:2], 7, 7).bfloat16(), tuple(layout.shape))
    assert torch.equal(back, rounded(wide.grad))
    turned = torch.ones(*layout.shape[:2], 7, 7).bfloat16().transpose(2, 3)
    assert torch.equal(cpool.adaptive_avg_pool2d_backward(turned, tuple(layout.shape)), back)
    spread = cpool.max_pool2d_backward(values, indices, tuple(layout.shape))
    assert spread.dtype == torch.bfloat16 and spread.shape == layout.shape
layer = cpool.nn.AdaptiveAvgPool2d(7)
assert torch.equal(layer(x), layer(x)) and layer(x).dtype == torch.bfloat16
prepared = cpool.prepare("adaptive_avg_pool2d", x, 7)
assert torch.equal(prepared(x), layer(x)) and torch.equal(prepared(x, out=torch.empty_like(layer(x))), layer(x))
assert cpool.explain("adaptive_avg_pool2d", x, 7).x_dtype == "bfloat16"
assert cpool.adaptive_avg_pool2d(x[:0], 7).shape == (0, 16, 7, 7)

def weights(*shape):
    return torch.linspace(-1, 1, shape[0] * shape[1]).reshape(shape).bfloat16()

w1, w2 = weights(4, 16), weights(16, 4)
gate = torch.relu(x.float().mean((2, 3)) @ w1.float().T) @ w2.float().T
wanted = x.float() * torch.sigmoid(gate)[..., None, None]
made = cpool.squeeze_excite(x, w1, None, w2, None, activation="relu")
assert made.dtype == torch.bfloat16
assert torch.allclose(made.float(), wanted, rtol=2**-8)
made = cpool.squeeze_excite(x.float(), w1, None, w2, None, activation="relu")
assert torch.allclose(made, wanted, rtol=1e-5)
"""


def test_bfloat16_without_ml_dtypes(module):
    module("torch")
    run_python(BFLOAT16)


def test_bfloat16_of_torch_and_of_numpy_together(module):
    torch, ml_dtypes = module("torch"), module("ml_dtypes")
    tensor = torch.randn(2, 3, 10, 9, generator=torch.Generator().manual_seed(0)).bfloat16()
    same = tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    for operation, arguments in (("adaptive_avg_pool2d", (7,)), ("max_pool2d", (3, 2))):
        function = getattr(cpool, operation)
        wanted = function(same, *arguments)
        assert torch.equal(function(tensor, *arguments).view(torch.int16), torch.from_numpy(wanted.view(np.int16)))
        to_tensor = torch.empty(wanted.shape, dtype=torch.bfloat16)
        function(same, *arguments, out=to_tensor)
        assert torch.equal(to_tensor.view(torch.int16), torch.from_numpy(wanted.view(np.int16)))
        to_array = np.empty_like(wanted)
        function(tensor, *arguments, out=to_array)
        np.testing.assert_array_equal(to_array.view(np.int16), wanted.view(np.int16))
    shifted = same.copy()
    over = torch.from_numpy(shifted.view(np.int16)).view(torch.bfloat16)
    cpool.avg_pool2d(shifted, 3, 1, 1, out=over)  # the same memory: what is between is copied as it is
    np.testing.assert_array_equal(shifted.view(np.int16), cpool.avg_pool2d(same, 3, 1, 1).view(np.int16))
    assert cpool.adaptive_avg_pool2d(tensor, 7, dtype=np.float32).dtype == torch.float32


def test_tensors_are_not_copied_and_results_live_on(module):
    """Read where they lie, given back when nobody holds them, and results outlive all that made them."""
    torch = module("torch")
    for dtype in (torch.float32, torch.bfloat16):
        tensor = torch.ones(1, 1, 4, 4, dtype=dtype)
        read, wrap = arrays.admit("x", tensor)
        assert read.ctypes.data == tensor.data_ptr()
        storage = weakref.ref(tensor.untyped_storage())
        made = wrap(read)
        assert made.data_ptr() == tensor.data_ptr()
        del tensor
        gc.collect()
        made += 1
        assert (arrays.widened(read) == 2).all()
        del made, read
        gc.collect()
        assert storage() is None
        results = [cpool.adaptive_avg_pool2d(torch.full((1, 1, 9, 9), float(i), dtype=dtype), 3) for i in range(100)]
        gc.collect()
        assert all((r == i).all() for i, r in enumerate(results))


def test_tensors_that_cannot_be_read(module):
    torch = module("torch")
    x = torch.ones(1, 1, 4, 4)
    with pytest.raises(TypeError, match=r"x: got .* requires gradients.*x\.detach\(\)"):
        cpool.adaptive_avg_pool2d(x.clone().requires_grad_(), 2)
    with pytest.raises(TypeError, match=r"grad\.detach\(\)"):
        cpool.adaptive_avg_pool2d_backward(x.clone().requires_grad_(), (1, 1, 9, 9))
    with pytest.raises(TypeError, match=r"out\.detach\(\)"):
        cpool.adaptive_avg_pool2d(x, 2, out=torch.ones(1, 1, 2, 2).requires_grad_())
    for wrong in (x.to_sparse(), torch.ones(1, 1, 4, 4, dtype=torch.complex64).conj(), x.to(torch.float8_e5m2)):
        with pytest.raises(TypeError, match="x: this Tensor can't be read through DLPack: "):
            cpool.adaptive_avg_pool2d(wrong, 2)
    with pytest.raises(TypeError, match="x: this Tensor has no memory"):
        cpool.adaptive_avg_pool2d(torch.ones(1, 1, 4, 4, device="meta"), 2)


def test_classes_that_extend_tensors(module):
    torch = module("torch")
    parameter = torch.nn.Parameter(torch.ones(1, 1, 4, 4), requires_grad=False)
    assert isinstance(cpool.adaptive_avg_pool2d(parameter, 2), torch.Tensor)

    class Mine(torch.Tensor):
        pass

    assert isinstance(cpool.adaptive_avg_pool2d(torch.ones(1, 1, 4, 4).as_subclass(Mine), 2), torch.Tensor)


# ---- arrays of jax -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["float32", "bfloat16", "float16", "uint8", "int32"])
def test_arrays_of_jax(name, module):
    jax = module("jax")
    jnp = jax.numpy
    x = (jax.random.normal(jax.random.key(0), (2, 3, 10, 9)) * 50).astype(getattr(jnp, name))
    result = cpool.adaptive_avg_pool2d(x, 7)
    assert isinstance(result, jax.Array)
    wanted = cpool.adaptive_avg_pool2d(np.asarray(x), 7)
    assert result.dtype == (np.float32 if name == "int32" else wanted.dtype)  # jax has no float64, if not told to
    np.testing.assert_array_equal(np.asarray(result).astype(np.float64), wanted.astype(result.dtype).astype(np.float64))
    before = np.asarray(x).copy()
    with pytest.raises(ValueError, match="read-only"):
        cpool.avg_pool2d(x, 3, 1, 1, out=x)
    np.testing.assert_array_equal(np.asarray(x), before)


# ---- capsules ----------------------------------------------------------------------------------------


class Foreign:
    """Another library's array, as DLPack sees it; `where` is its device."""

    def __init__(self, array: np.ndarray, where: tuple[int, int] = (1, 0), versions: bool = True) -> None:
        self.array, self.where, self.versions = array, where, versions

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.where

    def __dlpack__(self, **options: object) -> object:
        if not self.versions and options:
            raise TypeError("unexpected keyword argument 'max_version'")
        return self.array.__dlpack__(**options)


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library that Foreign is of: this module."""
    monkeypatch.setattr(sys.modules[__name__], "from_dlpack", np.asarray, raising=False)
    monkeypatch.setattr(arrays, "_makers", weakref.WeakKeyDictionary())


@pytest.mark.parametrize("versions", [True, False], ids=["versions", "none"])
def test_capsules_of_both_kinds(versions, home):
    for x in (np.arange(90.0).reshape(10, 9), np.asfortranarray(np.eye(5)), np.zeros((3, 0)), np.eye(6)[::-2, ::3]):
        read, _ = arrays.admit("x", Foreign(x, versions=versions))
        np.testing.assert_array_equal(read, x)
        assert read.strides == x.strides or not x.size
        assert read.ctypes.data == x.ctypes.data or not x.size
    x = np.ones(3)
    x.flags.writeable = False
    if versions:
        assert not arrays.admit("x", Foreign(x))[0].flags.writeable
    assert arrays.admit("x", Foreign(np.ones(3), versions=versions))[0].flags.writeable == versions
    pinned, _ = arrays.admit("x", Foreign(np.eye(3), (3, 0), versions))
    np.testing.assert_array_equal(pinned, np.eye(3))


DEVICES = {(2, 0): "CUDA device 0", (8, 0): "Metal", (10, 1): "ROCm device 1", (13, 0): "managed", (77, 0): "DLPack"}


@pytest.mark.parametrize("where", DEVICES)
def test_arrays_of_other_devices_are_refused(where, home):
    with pytest.raises(ValueError, match=rf"x: got 'Foreign on .*{DEVICES[where]}.*host"):
        cpool.adaptive_avg_pool(Foreign(np.eye(4), where), 2)


@pytest.mark.parametrize(
    ("package", "said"), [("torch", "x.cpu()"), ("cupy", "x.get()"), ("numba", "x.copy_to_host()")]
)
def test_the_way_to_the_host_is_named(package, said, monkeypatch):
    """Classes of these names stand in: their libraries need the device."""
    options = {"__module__": package, "__cuda_array_interface__": {}}
    with pytest.raises(ValueError, match=re.escape(f"use {said}")):
        cpool.adaptive_avg_pool(type("Array", (), options)(), 2)
    monkeypatch.setitem(sys.modules, package, types.SimpleNamespace(from_dlpack=np.asarray, __name__=package))
    options = {"__module__": package, "__dlpack_device__": lambda self: (2, 0), "__dlpack__": None}
    with pytest.raises(ValueError, match=re.escape(f"use {said}")):
        cpool.adaptive_avg_pool(type("Array", (), options)(), 2)


def test_libraries_that_take_nothing_back():
    with pytest.raises(TypeError, match=r"no from_dlpack .* numpy\.asarray"):
        cpool.adaptive_avg_pool(Foreign(np.eye(4)), 2)


class Taken:
    """A capsule as another library asks for it, read back."""

    def __init__(self, array: np.ndarray, **options: object) -> None:
        self.capsule = _dlpack.Lent(array, 4).__dlpack__(**options)
        self.array = _dlpack.read(self.capsule, arrays.DLPACK)


@pytest.mark.parametrize("options", [{}, {"max_version": (1, 0)}, {"max_version": (1, 0), "copy": True}], ids=str)
def test_what_is_lent_comes_back(options):
    for shape in ((3, 5, 7), (), (4, 0, 2), (1,)):
        bits = np.random.default_rng(0).integers(0, 2**16, shape, np.uint16)
        x = bits.view(arrays.BFLOAT16)
        taken = Taken(x, **options)
        assert taken.array.dtype == arrays.BFLOAT16
        np.testing.assert_array_equal(taken.array.view(np.uint16), bits)
        assert not x.size or np.may_share_memory(taken.array, x) == ("copy" not in options)
    turned = np.zeros((3, 5), arrays.BFLOAT16).T[:, ::-1]
    assert Taken(turned).array.strides == turned.strides


def test_a_capsule_is_read_once():
    capsule = _dlpack.Lent(np.zeros(3, arrays.BFLOAT16), 4).__dlpack__()
    _dlpack.read(capsule, arrays.DLPACK)
    with pytest.raises(ValueError, match="name"):
        _dlpack.read(capsule, arrays.DLPACK)
    for wrong in (None, 3, np.zeros(3)):
        with pytest.raises(ValueError, match="PyCapsule"):
            _dlpack.read(wrong, arrays.DLPACK)


def test_what_is_lent_is_given_back():
    """Capsules that were taken, and those that nobody took."""
    for options in ({}, {"max_version": (1, 2)}):
        x = np.zeros((3, 4), arrays.BFLOAT16)
        before = sys.getrefcount(x)
        capsules = [_dlpack.Lent(x, 4).__dlpack__(**options) for _ in range(10)]
        assert sys.getrefcount(x) == before + 10
        taken = [_dlpack.read(c, arrays.DLPACK) for c in capsules[:5]]
        del capsules
        gc.collect()
        assert sys.getrefcount(x) == before + 5
        del taken
        gc.collect()
        assert sys.getrefcount(x) == before


def test_what_cannot_be_lent():
    x = np.zeros(3, arrays.BFLOAT16)
    with pytest.raises(BufferError, match="CPU"):
        _dlpack.Lent(x, 4).__dlpack__(dl_device=(2, 0))
    x.flags.writeable = False
    with pytest.raises(BufferError, match="read-only"):
        _dlpack.Lent(x, 4).__dlpack__()
    assert not Taken(x, max_version=(1, 0)).array.flags.writeable


def test_structured_arrays_stay_refused():
    """What stands for bfloat16 inside is no type for users to see."""
    with pytest.raises(TypeError, match="x: got dtype"):
        cpool.adaptive_avg_pool(np.zeros(9, [("a", np.uint16)]), 3)


# ---- other things that hold numbers ------------------------------------------------------------------


class Holder:
    """An object that only knows how to become an array."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __array__(self, dtype: object = None, copy: bool | None = None) -> np.ndarray:
        return self.array if dtype is None else self.array.astype(dtype)


def test_what_can_become_an_array():
    x = np.arange(90, dtype=np.float32).reshape(10, 9)
    wanted = cpool.adaptive_avg_pool(x, 7)
    frozen = x.copy()
    frozen.flags.writeable = False
    for given in (Holder(x), memoryview(x), memoryview(frozen), x.tolist(), x.view(np.recarray), frozen):
        result = cpool.adaptive_avg_pool(given, 7)
        assert type(result) is np.ndarray
        np.testing.assert_array_equal(result, wanted)
    flat = array.array("d", range(10))
    np.testing.assert_array_equal(cpool.adaptive_avg_pool(flat, 7), cpool.adaptive_avg_pool(np.arange(10.0), 7))
    bits = memoryview(bytes(range(90))).cast("B", (10, 9))
    np.testing.assert_array_equal(cpool.adaptive_avg_pool(bits, 7), wanted)
    for wrong in (object(), {}, "text", None):
        with pytest.raises(TypeError, match="x: got"):
            cpool.adaptive_avg_pool(wrong, 7)


def test_read_only_results_are_refused():
    x = np.arange(90.0).reshape(10, 9)
    out = np.empty((7, 7))
    out.flags.writeable = False
    with pytest.raises(ValueError, match="out: got 'a read-only array'"):
        cpool.adaptive_avg_pool(x, 7, out=out)
