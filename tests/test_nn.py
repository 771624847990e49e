"""Layers: what they compute is what the functions compute; how they are shown, compared, kept and shared."""

from __future__ import annotations

import copy
import dataclasses
import gc
import inspect
import itertools
import pickle
import re
import threading
import weakref

import numpy as np
import pytest
from helpers import DTYPES, FLOATS, LAYOUTS, assert_same_bits, place, run_python, sample
from hypothesis import given
from hypothesis import strategies as st

import cpool
from cpool import functional, nn
from cpool.excite import squeeze_excite

AVERAGES = ["AdaptiveAvgPool", "AvgPool"]
LARGEST = ["AdaptiveMaxPool", "MaxPool"]
FAMILIES = {
    "AdaptiveAvgPool": "adaptive_avg_pool",
    "AdaptiveMaxPool": "adaptive_max_pool",
    "AvgPool": "avg_pool",
    "MaxPool": "max_pool",
}
RANKS = (1, 2, 3)
NUMBERED = [f"{family}{rank}d" for family in FAMILIES for rank in RANKS]
SHAPE = (2, 3, 7, 10, 9)


def rank_of(name: str) -> int:
    return int(name[-2])


def function_of(layer) -> str:
    """The name of the function that a layer stands for."""
    for base in type(layer).__mro__:
        name = base.__name__
        if name in ("GlobalAvgPool", "GlobalMaxPool"):
            return "global_avg_pool" if "Avg" in name else "global_max_pool"
        if name in NUMBERED:
            return FAMILIES[name[:-2]] + name[-2:]
    raise AssertionError(layer)


def argument_of(name: str, i: int = 0):
    """A size or a kernel that divides nothing."""
    rank = rank_of(name)
    sizes = ((4, 7, 5), (3, None, 4), (2, 3, 4)) if name.startswith("Adaptive") else ((3, 2, 4), (2, 3, 2), (1, 3, 5))
    return sizes[i][:rank]


def input_of(layer, dtype: str = "float32", batch: bool = True) -> np.ndarray:
    rank = getattr(layer, "_rank", None) or 2
    shape = (*SHAPE[:2], *SHAPE[-rank:]) if batch else (SHAPE[1], *SHAPE[-rank:])
    return sample(dtype, shape)


def same(a, b) -> None:
    """Equal arrays, or pairs of them."""
    pairs = zip(a, b, strict=True) if isinstance(a, tuple) else [(a, b)]
    for one, two in pairs:
        assert_same_bits(one, two)


def by_function(layer, x, **options):
    """What the function gives for the layer's arguments."""
    names = [f.name for f in dataclasses.fields(layer)]
    return getattr(functional, function_of(layer))(x, **{n: getattr(layer, n) for n in names}, **options)


def check(layer, x) -> None:
    """The first call, the prepared one, the one into `out`: all are the function's, bit for bit."""
    wanted = by_function(layer, x)
    before = x.tobytes()
    for _ in range(3):
        same(layer(x), wanted)
    same(layer.forward(x), wanted)
    for _ in range(2):
        out = tuple(map(np.zeros_like, wanted)) if isinstance(wanted, tuple) else np.zeros_like(wanted)
        assert layer(x, out=out) is out
        same(out, wanted)
    assert x.tobytes() == before


# ---- what they compute -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NUMBERED)
@pytest.mark.parametrize("dtype", ["float32", "float16", "float64", "uint8", "int64"])
def test_layers_are_their_functions(name, dtype):
    for i in range(3):
        layer = getattr(nn, name)(argument_of(name, i))
        check(layer, input_of(layer, dtype))
        check(layer, input_of(layer, dtype, batch=False))


@pytest.mark.parametrize(
    "layer",
    [
        nn.AdaptiveAvgPool2d((5, 7), data_format="channels_last"),
        nn.AdaptiveAvgPool2d(3, dtype=np.float64),
        nn.AdaptiveAvgPool2d(4, backend="cpu"),
        nn.AdaptiveAvgPool2d(0),
        nn.AdaptiveAvgPool2d(None),
        nn.AvgPool2d(3, 2, 1),
        nn.AvgPool2d(3, 2, 1, True),
        nn.AvgPool2d(3, 2, 1, False, False),
        nn.AvgPool2d(3, 2, 1, False, True, -5),
        nn.AvgPool2d(2, dilation=2, data_format="NHWC"),
        nn.AvgPool2d(3, (2, None), padding="same_lower"),
        nn.AvgPool2d(3, 2, ((0, 1), (2, 0)), dtype="float16"),
        nn.AvgPool1d(3, 2, ((2, 1),)),
        nn.AvgPool3d((3, 2, 1), 1, (1, 1, 0), dilation=(1, 2, 1)),
        nn.GlobalAvgPool(),
        nn.GlobalAvgPool(keepdims=False),
        nn.GlobalAvgPool(data_format="channels_last", dtype=np.float64),
        nn.GlobalAvgPool(data_format="NHWC", keepdims=False, backend="cpu"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_every_argument_of_averages(layer, dtype):
    check(layer, input_of(layer, dtype))


def test_averages_to_integers():
    check(nn.AvgPool2d(3, dtype=np.uint8), sample("uint8", (1, 3, 10, 9)))
    layer, x = nn.AvgPool2d(3), sample("uint8", (1, 3, 10, 9))
    for dtype in (np.uint8, np.int16, np.float32, np.float64):  # what `out` is, decides, also after other calls
        out = np.zeros((1, 3, 3, 3), dtype)
        assert_same_bits(layer(x, out=out), cpool.avg_pool2d(x, 3, dtype=dtype))
        layer(x)


@pytest.mark.parametrize(
    ("name", "args", "options"),
    [
        ("AdaptiveMaxPool2d", ((5, 7), True), {}),
        ("AdaptiveMaxPool2d", ((5, None),), {"data_format": "NHWC", "backend": "cpu"}),
        ("AdaptiveMaxPool2d", ((5, None), True), {"data_format": "channels_last"}),
        ("MaxPool2d", (3, 2, 1), {}),
        ("MaxPool2d", (3, 2, 1, 2, True, True), {}),
        ("MaxPool2d", (2,), {"dilation": 2, "data_format": "NHWC"}),
        ("MaxPool2d", (3, 2, "same_upper"), {"return_indices": True}),
        ("MaxPool1d", (3, 2, ((2, 1),)), {"return_indices": True}),
        ("MaxPool3d", ((3, 2, 1), 1, (1, 1, 0), (1, 2, 1)), {"return_indices": True}),
        ("GlobalMaxPool", (), {}),
        ("GlobalMaxPool", (), {"keepdims": False, "return_indices": True}),
        ("GlobalMaxPool", (), {"return_indices": True, "data_format": "channels_last"}),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_every_argument_of_the_largest(name, args, options, dtype):
    layer = getattr(nn, name)(*args, **options)
    check(layer, input_of(layer, dtype))


def test_one_layer_for_arrays_of_many_kinds():
    """Prepared calls of other shapes, types and strides are never taken for this one."""
    layer = nn.AdaptiveAvgPool2d((5, 7))
    shapes = [(1, 4, 8, 9), (4, 8, 9), (1, 4, 9, 8), (2, 2, 8, 9), (1, 4, 1, 1), (4, 1, 8, 9), (0, 4, 8, 9)]
    for _ in range(2):
        for shape, dtype in itertools.product(shapes, DTYPES):
            x = sample(dtype, shape)
            same(layer(x), cpool.adaptive_avg_pool2d(x, (5, 7)))
            assert len(layer._calls) <= nn.HELD
    for layout in LAYOUTS:
        x = place(sample("float32", (2, 3, 8, 9)), layout)
        for _ in range(2):
            result = layer(x)
            same(result, cpool.adaptive_avg_pool2d(x, (5, 7)))
            assert result.strides == cpool.adaptive_avg_pool2d(x, (5, 7)).strides


@given(data=st.data())
def test_any_order_of_arrays(data):
    name, args = data.draw(
        st.sampled_from(
            [
                ("AvgPool2d", (2, 1, 1)),
                ("MaxPool2d", (2, 1, 1)),
                ("MaxPool2d", (2, 1, 1, 1, False, True)),
                ("AdaptiveAvgPool2d", ((3, None),)),
                ("AdaptiveMaxPool2d", ((2, 3),)),
                ("AdaptiveMaxPool2d", ((None, 3), True)),
                ("GlobalAvgPool", ()),
                ("GlobalMaxPool", ()),
            ]
        )
    )
    layer = getattr(nn, name)(*args, data_format=data.draw(st.sampled_from(["channels_first", "channels_last"])))
    arrays = st.builds(
        lambda shape, dtype, layout: place(sample(dtype, shape), layout),
        st.tuples(*[st.integers(1, 4)] * 4),
        st.sampled_from(["float32", "uint8", "float16"]),
        st.sampled_from(["contiguous", "reversed", "fortran", "sparse"]),
    )
    for x in data.draw(st.lists(arrays, max_size=8)):
        wanted = by_function(layer, x)
        empty = tuple(map(np.empty_like, wanted)) if isinstance(wanted, tuple) else np.empty_like(wanted)
        for out in (None, empty):
            same(layer(x, out), wanted)


@pytest.mark.parametrize("name", ["AdaptiveAvgPool2d", "AvgPool2d"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_out_of_any_layout(name, layout):
    layer = getattr(nn, name)(argument_of(name))
    x = input_of(layer)
    wanted = by_function(layer, x)
    for _ in range(3):
        out = place(np.zeros_like(wanted), layout)
        assert layer(x, out=out) is out
        assert_same_bits(np.array(out), np.array(wanted))


def test_out_that_overlaps_with_the_input():
    memory = sample("float32", (1, 2, 8, 9))
    layer = nn.AvgPool2d(1, 1)
    x, out = memory[:, :, :-1], memory[:, :, 1:]
    wanted = x.copy()
    layer(x)
    layer(x, out=out)
    same(np.array(out), wanted)


@pytest.mark.parametrize("layer", [nn.AdaptiveAvgPool2d((5, 7)), nn.AvgPool2d(3, 2, 1), nn.GlobalAvgPool()], ids=repr)
def test_tensors_and_subclasses(layer, module):
    torch = module("torch")

    class Mine(np.ndarray):
        pass

    x = input_of(layer)
    wanted = by_function(layer, x)
    layer(x)
    result = layer(torch.from_numpy(x))
    assert isinstance(result, torch.Tensor)
    assert_same_bits(result.numpy(), wanted)
    result = layer(x.view(Mine))
    assert type(result) is np.ndarray
    assert_same_bits(result, wanted)
    assert_same_bits(layer(x.astype(">f4")), wanted)
    same(np.array(layer(x.tolist())), np.array(by_function(layer, x.astype(np.float64))))
    out = torch.zeros(*wanted.shape)
    assert layer(x, out=out) is out
    assert_same_bits(out.numpy(), wanted)


def test_like_torch(module):
    torch = module("torch")
    x = sample("float32", (2, 3, 14, 13))
    for name, args in [
        ("AdaptiveAvgPool2d", ((5, None),)),
        ("AdaptiveAvgPool2d", (20,)),
        ("AvgPool2d", (3,)),
        ("AvgPool2d", (3, 2, 1, True)),
        ("AvgPool2d", ((3, 2), (2, 1), (1, 0), False, False, 5)),
    ]:
        wanted = getattr(torch.nn, name)(*args)(torch.from_numpy(x)).numpy()
        np.testing.assert_allclose(getattr(nn, name)(*args)(x), wanted, rtol=1e-5, atol=1e-6)


def test_the_largest_like_torch(module):
    torch = module("torch")
    x = sample("float32", (2, 3, 14, 13))
    for name, args in [
        ("AdaptiveMaxPool2d", ((5, None), True)),
        ("AdaptiveMaxPool2d", (20,)),
        ("MaxPool2d", (3,)),
        ("MaxPool2d", (3, 2, 1, 1, True, True)),
        ("MaxPool2d", ((3, 2), (2, 1), (1, 0), 2)),
    ]:
        wanted = getattr(torch.nn, name)(*args)(torch.from_numpy(x))
        result = getattr(nn, name)(*args)(x)
        assert isinstance(wanted, tuple) == isinstance(result, tuple)
        same(result, tuple(w.numpy() for w in wanted) if isinstance(wanted, tuple) else wanted.numpy())


# ---- prepared calls ------------------------------------------------------------------------------------


def broken(*args, **options):
    raise AssertionError("the prepared call was not used")


@pytest.mark.parametrize(
    "name",
    [*NUMBERED, "GlobalAvgPool", "GlobalMaxPool"],
)
def test_a_second_call_is_prepared(name, monkeypatch):
    layer = getattr(nn, name)(*([] if name.startswith("Global") else [argument_of(name)]))
    x = input_of(layer)
    wanted = layer(x)
    monkeypatch.setattr(functional, function_of(layer), broken)
    same(layer(x), wanted)
    same(layer(sample("float32", x.shape, seed=1) * 0 + x), wanted)
    out = np.zeros_like(wanted)
    assert layer(x, out=out) is out
    same(out, wanted)
    with pytest.raises(AssertionError, match="was not used"):
        layer(x[:1])


def test_few_prepared_calls_are_kept():
    layer = nn.AdaptiveAvgPool1d(3)
    for n in range(1, 50):
        layer(sample("float32", (2, n)))
        assert len(layer._calls) <= nn.HELD
    held = dict(layer._calls)
    for _ in range(3):  # an `out` that no prepared call takes, adds none
        layer(sample("float32", (2, 49)), out=np.zeros((2, 6), np.float32)[:, ::2])
        layer(sample("float32", (2, 49)).astype(">f4"))
    assert len(layer._calls) <= nn.HELD
    assert next(iter(held)) in layer._calls


def test_layers_keep_no_arrays():
    layers = nn.AdaptiveAvgPool2d(3), nn.SqueezeExcite(*weights())
    x, out = sample("float32", (1, 12, 9, 8)), np.zeros((1, 12, 3, 3), np.float32)
    for layer in layers:
        layer(x)
    layers[0](x, out=out)
    watched = weakref.ref(x), weakref.ref(out)
    del x, out
    gc.collect()
    assert [ref() for ref in watched] == [None, None]


def test_the_scoped_backend_is_asked(monkeypatch):
    layer, chosen = nn.AdaptiveAvgPool2d((5, 7)), nn.AdaptiveAvgPool2d((5, 7), backend="cpu")
    x = input_of(layer)
    wanted = layer(x)
    chosen(x)
    asked = []
    function = functional.adaptive_avg_pool2d
    monkeypatch.setattr(functional, "adaptive_avg_pool2d", lambda *a, **k: asked.append(1) or function(*a, **k))
    with cpool.use_backend("cpu"):
        same(layer(x), wanted)
        assert asked == [1]
        same(chosen(x), wanted)  # the call's own choice comes first
        assert asked == [1]
        layer(x[:1])
    same(layer(x), wanted)
    assert asked == [1, 1]
    with pytest.raises((cpool.BackendUnavailable, ValueError), match="opencl:no such"):
        nn.AdaptiveAvgPool2d(3, backend="opencl:no such device")


def test_threads_share_a_layer():
    layer = nn.AdaptiveAvgPool2d((5, 7))
    inputs = [sample("float32", (1, 2, 8 + i, 9)) for i in range(2 * nn.HELD)]
    wanted = [cpool.adaptive_avg_pool2d(x, (5, 7)) for x in inputs]
    found = []

    def work(first):
        for i in itertools.islice(itertools.cycle(range(len(inputs))), first, first + 300):
            result = layer(inputs[i])
            found.append(np.array_equal(result, wanted[i]))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    assert len(found) == 6 * 300
    assert all(found)
    assert len(layer._calls) <= nn.HELD


def test_a_child_of_a_fork_uses_its_parents_layers():
    run_python(
        """
import os, threading
import numpy as np
import cpool
from cpool import nn
layer = nn.AdaptiveAvgPool2d((5, 7))
inputs = [np.random.default_rng(i).random((1, 16, 40 + i, 41)) for i in range(8)]
wanted = [cpool.adaptive_avg_pool2d(x, (5, 7)) for x in inputs]
stop = False
def work():
    while not stop:
        for x in inputs:
            layer(x)
threads = [threading.Thread(target=work) for _ in range(2)]
for t in threads:
    t.start()
codes = []
for _ in range(10):
    child = os.fork()
    if child == 0:
        os._exit(0 if all(np.array_equal(layer(x), w) for x, w in zip(inputs, wanted)) else 3)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
stop = True
for t in threads:
    t.join()
assert codes == [0] * 10, codes
""",
        timeout=100,
        PYTHONWARNINGS="ignore",
    )


# ---- how they are shown ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (nn.AdaptiveAvgPool2d((5, 7)), "AdaptiveAvgPool2d(output_size=(5, 7))"),
        (nn.AdaptiveAvgPool1d(5), "AdaptiveAvgPool1d(output_size=5)"),
        (nn.AdaptiveAvgPool3d([5, None, np.int64(7)]), "AdaptiveAvgPool3d(output_size=(5, None, 7))"),
        (nn.AdaptiveAvgPool2d(1, dtype="f8"), "AdaptiveAvgPool2d(output_size=1, dtype=float64)"),
        (nn.AdaptiveMaxPool2d(5), "AdaptiveMaxPool2d(output_size=5)"),
        (nn.AdaptiveMaxPool2d(5, True), "AdaptiveMaxPool2d(output_size=5, return_indices=True)"),
        (nn.AvgPool2d(3), "AvgPool2d(kernel_size=3, stride=3, padding=0)"),
        (nn.AvgPool1d(2, 1, 1, True), "AvgPool1d(kernel_size=2, stride=1, padding=1, ceil_mode=True)"),
        (
            nn.AvgPool2d((3, 2), [2, 1], "same_upper", divisor_override=1, data_format="HWC"),
            "AvgPool2d(kernel_size=(3, 2), stride=(2, 1), padding='same_upper', divisor_override=1, data_format='HWC')",
        ),
        (nn.MaxPool2d(3, 2, 1), "MaxPool2d(kernel_size=3, stride=2, padding=1, dilation=1, ceil_mode=False)"),
        (
            nn.MaxPool3d(3, backend="cpu"),
            "MaxPool3d(kernel_size=3, stride=3, padding=0, dilation=1, ceil_mode=False, backend='cpu')",
        ),
        (nn.GlobalAvgPool(), "GlobalAvgPool()"),
        (nn.GlobalMaxPool(keepdims=False), "GlobalMaxPool(keepdims=False)"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_repr(layer, text):
    assert repr(layer) == text
    assert text == f"{type(layer).__name__}({layer.extra_repr()})"
    names = {name: getattr(nn, name) for name in nn.__all__} | {"float64": np.float64}
    assert eval(text, names) == layer


def test_names_and_order_are_torchs(module):
    torch = module("torch")
    for name in NUMBERED:
        theirs = list(inspect.signature(getattr(torch.nn, name)).parameters)
        ours = inspect.signature(getattr(nn, name)).parameters
        positional = [n for n, p in ours.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
        assert positional[: len(theirs)] == theirs
        assert set(positional) - set(theirs) <= {"divisor_override"}
        assert {"data_format", "backend"} <= set(ours) - set(positional)
        assert ("dtype" in ours) == ("Avg" in name)
        if name not in ("AvgPool1d",):  # torch makes tuples of its arguments
            args = (3,) if "Adaptive" in name else (3, 2, 1)
            assert repr(getattr(nn, name)(*args)) == repr(getattr(torch.nn, name)(*args))


def test_arguments_are_attributes():
    layer = nn.AvgPool2d([3, 2], None, 1, True, False, 7, dilation=2, data_format="NHWC", dtype="float64")
    assert (layer.kernel_size, layer.stride, layer.padding) == ((3, 2), (3, 2), 1)
    assert (layer.ceil_mode, layer.count_include_pad, layer.divisor_override) == (True, False, 7)
    assert (layer.dilation, layer.data_format, layer.dtype, layer.backend) == (2, "NHWC", np.float64, None)
    layer = nn.MaxPool1d(np.int8(3), np.uint64(2), return_indices=np.True_)
    assert (layer.kernel_size, layer.stride, layer.dilation) == (3, 2, 1)
    assert type(layer.kernel_size) is int
    assert layer.return_indices is True
    assert (nn.GlobalMaxPool().keepdims, nn.GlobalAvgPool().dtype) == (True, None)


# ---- kept, compared, copied ----------------------------------------------------------------------------


def test_arguments_do_not_change():
    sizes = [5, 7]
    layer = nn.AdaptiveAvgPool2d(sizes)
    sizes[0] = 3
    assert layer.output_size == (5, 7)
    array = np.array([5, 7])
    other = nn.AdaptiveAvgPool2d(array)
    array[:] = 1
    assert other == layer
    for name in ("output_size", "data_format", "backend"):
        with pytest.raises(AttributeError, match=name):
            setattr(layer, name, getattr(layer, name))
        with pytest.raises(AttributeError, match=name):
            delattr(layer, name)
    changed = dataclasses.replace(layer, output_size=3)
    assert (changed.output_size, layer.output_size) == (3, (5, 7))
    with pytest.raises(ValueError, match="output_size"):
        dataclasses.replace(layer, output_size=-3)


ALL = [
    nn.AdaptiveAvgPool1d(5),
    nn.AdaptiveAvgPool2d(5),
    nn.AdaptiveAvgPool2d((5, 5)),
    nn.AdaptiveAvgPool2d(None),
    nn.AdaptiveAvgPool2d(0),
    nn.AdaptiveAvgPool2d(1),
    nn.AdaptiveAvgPool2d(5, data_format="channels_last"),
    nn.AdaptiveAvgPool2d(5, data_format="NHWC"),
    nn.AdaptiveAvgPool2d(5, dtype=np.float32),
    nn.AdaptiveAvgPool2d(5, dtype=np.float64),
    nn.AdaptiveAvgPool2d(5, backend="cpu"),
    nn.AdaptiveMaxPool2d(5),
    nn.AdaptiveMaxPool2d(5, True),
    nn.AvgPool1d(1),
    nn.AvgPool2d(1),
    nn.AvgPool2d(1, 2),
    nn.AvgPool2d(1, ceil_mode=True),
    nn.AvgPool2d(1, count_include_pad=True),
    nn.AvgPool2d(1, count_include_pad=False),
    nn.AvgPool2d(1, divisor_override=1),
    nn.AvgPool2d(1, divisor_override=-1),
    nn.AvgPool2d(1, padding="valid"),
    nn.MaxPool2d(1),
    nn.MaxPool2d(1, return_indices=True),
    nn.MaxPool2d(1, ceil_mode=True),
    nn.GlobalAvgPool(),
    nn.GlobalAvgPool(keepdims=False),
    nn.GlobalMaxPool(),
    nn.GlobalMaxPool(keepdims=False),
]


def test_equal_if_class_and_arguments_are():
    twins = [type(a)(**{f.name: getattr(a, f.name) for f in dataclasses.fields(a)}) for a in ALL]
    for (i, a), (j, b) in itertools.product(enumerate(ALL), enumerate(twins)):
        assert (a == b) == (i == j), (a, b)
        assert (a != b) == (i != j)
        assert i != j or hash(a) == hash(b)
    assert len({*ALL, *twins}) == len(ALL)
    assert nn.AvgPool2d(2) == nn.AvgPool2d(2, 2) == nn.AvgPool2d(np.int64(2), None)
    assert nn.AvgPool2d([2, 3]) == nn.AvgPool2d((2, 3)) == nn.AvgPool2d(np.array([2, 3]))
    assert nn.AvgPool2d(2, dtype="f4") == nn.AvgPool2d(2, dtype=np.float32) == nn.AvgPool2d(2, dtype=np.dtype(">f4"))
    assert nn.AvgPool2d(2) != "AvgPool2d(kernel_size=2, stride=2, padding=0)"

    class Mine(nn.AvgPool2d):
        pass

    assert Mine(2) != nn.AvgPool2d(2)
    assert Mine(2) == Mine(2)


@pytest.mark.parametrize("layer", ALL, ids=repr)
def test_pickles_and_copies(layer):
    for again in (
        *(pickle.loads(pickle.dumps(layer, protocol)) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)),
        copy.copy(layer),
        copy.deepcopy(layer),
        dataclasses.replace(layer),
    ):
        assert type(again) is type(layer)
        assert again == layer
        assert hash(again) == hash(layer)
        assert repr(again) == repr(layer)


def test_prepared_calls_are_not_pickled():
    layer = nn.AdaptiveAvgPool2d((5, 7))
    x = input_of(layer)
    before = pickle.dumps(layer)
    wanted = layer(x)
    assert layer._calls
    assert pickle.dumps(layer) == before
    for again in (pickle.loads(before), copy.copy(layer), copy.deepcopy(layer)):
        assert not again._calls
        same(again(x), wanted)
        assert again._calls
        assert again._calls is not layer._calls


class Named(nn.AdaptiveAvgPool2d):
    """A layer of somebody else: with a name, and one more step."""

    def __init__(self, size, name):
        super().__init__(size)
        self.name = name

    def forward(self, x, out=None):
        return super().forward(x, out) + 1


def test_layers_can_be_derived_from():
    layer = Named((5, 7), "head")
    x = sample("float32", (1, 3, 8, 9))
    for each in (layer, pickle.loads(pickle.dumps(layer)), copy.copy(layer)):
        assert (each.name, repr(each)) == ("head", "Named(output_size=(5, 7))")
        for _ in range(3):
            same(each(x), cpool.adaptive_avg_pool2d(x, (5, 7)) + 1)
    with pytest.raises(AttributeError, match="output_size"):
        layer.output_size = 3


# ---- errors ------------------------------------------------------------------------------------------------


def raises(error, argument, text=""):
    return pytest.raises(error, match=rf"^{re.escape(argument)}: got .*;.*{text}")


@pytest.mark.parametrize("name", NUMBERED)
def test_a_missing_argument_is_told_by_the_name_of_the_family(name):
    argument = "output_size" if name.startswith("Adaptive") else "kernel_size"
    with pytest.raises(TypeError, match=rf"^{name[:-2]}\(\) missing 1 required positional argument: '{argument}'"):
        getattr(nn, name)()


@pytest.mark.parametrize("name", [n for n in NUMBERED if n.startswith("Adaptive")])
def test_wrong_sizes_are_found_when_the_layer_is_made(name):
    layer, rank = getattr(nn, name), rank_of(name)
    for wrong in (-1, (-1,) * rank, (3,) * (rank + 1), ()):
        with raises(ValueError, "output_size"):
            layer(wrong)
    for wrong in (True, 1.0, np.float32(1), np.True_, "3", (1.5,) * rank, (True,) * rank, {1}, np.array([1.0] * rank)):
        with raises(TypeError, "output_size"):
            layer(wrong)


STRIDED = [n for n in NUMBERED if not n.startswith("Adaptive")]


@pytest.mark.parametrize("name", STRIDED)
@pytest.mark.parametrize("argument", ["kernel_size", "stride", "dilation"])
def test_wrong_windows_are_found_when_the_layer_is_made(name, argument):
    layer, rank = getattr(nn, name), rank_of(name)
    for wrong in (0, -1, (0,) * rank, (2,) * (rank + 1), ()):
        with raises(ValueError, argument):
            layer(**{"kernel_size": 2, argument: wrong})
    for wrong in (True, 2.0, np.True_, "2", (2.5,) * rank, (True,) * rank):
        with raises(TypeError, argument):
            layer(**{"kernel_size": 2, argument: wrong})
    if argument != "stride":
        with raises(TypeError, argument):
            layer(**{"kernel_size": 2, argument: None})


@pytest.mark.parametrize("name", STRIDED)
def test_wrong_paddings_are_found_when_the_layer_is_made(name):
    layer, rank = getattr(nn, name), rank_of(name)
    for wrong in (-1, "same", "full", (1,) * (rank + 1), ((1, 1, 1),) * rank, ((1, -1),) * rank, (-1,) * rank):
        with raises(ValueError, "padding"):
            layer(3, padding=wrong)
    for wrong in (None, 1.0, True, ((1.0, 1),) * rank):
        with raises(TypeError, "padding"):
            layer(3, padding=wrong)
    for wrong in (3, 4, (3,) * rank, ((3, 0),) * rank):
        with raises(ValueError, "padding", r"less than the window's extent \(3\)"):
            layer(3, padding=wrong)
    with raises(ValueError, "padding", "ceil_mode"):
        layer(3, padding="same_upper", ceil_mode=True)
    assert layer(3, padding="valid", ceil_mode=True).padding == "valid"
    assert layer(3, padding=4, dilation=2).padding == 4
    assert layer(3, padding=((2, 7),) * rank).padding == ((2, 7),) * rank


@pytest.mark.parametrize(
    ("make", "error", "argument"),
    [
        (lambda: nn.AvgPool2d(2, ceil_mode=1), TypeError, "ceil_mode"),
        (lambda: nn.AvgPool2d(2, ceil_mode=None), TypeError, "ceil_mode"),
        (lambda: nn.AvgPool2d(2, count_include_pad=0), TypeError, "count_include_pad"),
        (lambda: nn.AvgPool2d(2, divisor_override=0), ValueError, "divisor_override"),
        (lambda: nn.AvgPool2d(2, divisor_override=2**53), ValueError, "divisor_override"),
        (lambda: nn.AvgPool2d(2, divisor_override=True), TypeError, "divisor_override"),
        (lambda: nn.AvgPool2d(2, divisor_override=1.5), TypeError, "divisor_override"),
        (lambda: nn.MaxPool2d(2, return_indices=1), TypeError, "return_indices"),
        (lambda: nn.AdaptiveMaxPool2d(2, "yes"), TypeError, "return_indices"),
        (lambda: nn.GlobalAvgPool(keepdims=1), TypeError, "keepdims"),
        (lambda: nn.GlobalMaxPool(return_indices=None), TypeError, "return_indices"),
        (lambda: nn.AvgPool2d(2, data_format="NCL"), ValueError, "data_format"),
        (lambda: nn.AvgPool1d(2, data_format="NCHW"), ValueError, "data_format"),
        (lambda: nn.AvgPool3d(2, data_format="nchw"), ValueError, "data_format"),
        (lambda: nn.GlobalAvgPool(data_format="CNHW"), ValueError, "data_format"),
        (lambda: nn.GlobalAvgPool(data_format=None), TypeError, "data_format"),
        (lambda: nn.AvgPool2d(2, dtype="float31"), TypeError, "dtype"),
        (lambda: nn.AvgPool2d(2, dtype=object), TypeError, "dtype"),
        (lambda: nn.AvgPool2d(2, dtype=bool), TypeError, "dtype"),
        (lambda: nn.AvgPool2d(2, dtype=np.longdouble), TypeError, "dtype"),
        (lambda: nn.AvgPool2d(2, backend="gpu"), ValueError, "backend"),
        (lambda: nn.AvgPool2d(2, backend=1), TypeError, "backend"),
    ],
)
def test_other_wrong_arguments_are_found_when_the_layer_is_made(make, error, argument):
    with raises(error, argument):
        make()


def test_what_only_an_array_can_show_is_found_when_called():
    layer = nn.AdaptiveAvgPool2d((5, 7))
    layer(np.ones((1, 3, 8, 9), np.float32))
    with raises(ValueError, "x", "adaptive_avg_pool"):
        layer(np.ones((8, 9), np.float32))
    with raises(TypeError, "x"):
        layer(np.ones((1, 3, 8, 9), object))
    with raises(TypeError, "x"):
        layer(None)
    with raises(ValueError, "out"):
        layer(np.ones((1, 3, 8, 9), np.float32), out=np.ones((1, 3, 5, 6), np.float32))
    with raises(TypeError, "out"):
        layer(np.ones((1, 3, 8, 9), np.float32), out=[1])
    with raises(ValueError, "kernel_size"):
        nn.AvgPool2d(9)(np.ones((1, 3, 8, 9)))


# ---- squeeze and excite --------------------------------------------------------------------------------------


def weights(channels=12, reduced=3, dtype="float32"):
    rng = np.random.default_rng(channels)
    shapes = ((reduced, channels, 1, 1), (reduced,), (channels, reduced, 1, 1), (channels,))
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kind", ["float32", "float64", ">f4", "float16"])
def test_squeeze_excite_is_its_function(dtype, kind):
    args = weights(dtype=kind)
    options = {"activation": "hardswish", "gate": "hardsigmoid"}
    layer = nn.SqueezeExcite(*args, **options)
    for shape in ((2, 12, 7, 9), (1, 12, 5)):
        x = sample(dtype, shape)
        wanted = squeeze_excite(x, *args, **options)
        for _ in range(2):
            same(layer(x), wanted)
            out = np.zeros_like(x)
            assert layer(x, out=out) is out
            same(out, wanted)
        assert layer(x, out=x) is x
        same(x, wanted)
    last = sample(dtype, (2, 7, 9, 12))
    layer = nn.SqueezeExcite(args[0], None, args[2], None, data_format="channels_last")
    same(layer(last), squeeze_excite(last, args[0], None, args[2], None, data_format="channels_last"))


def test_squeeze_excite_keeps_its_weights():
    args = weights()
    layer, x = nn.SqueezeExcite(*args), sample("float32", (2, 12, 7, 9))
    wanted = layer(x)
    for w in args:
        w[...] = 0
    same(layer(x), wanted)
    assert layer.w1.shape == (3, 12, 1, 1)
    for w in (layer.w1, layer.b1, layer.w2, layer.b2):
        with pytest.raises(ValueError, match="read-only"):
            w[...] = 0
    with pytest.raises(AttributeError, match="w1"):
        layer.w1 = args[0]
    assert nn.SqueezeExcite(args[0].tolist(), None, args[2].tolist(), None).w1.shape == (3, 12, 1, 1)


def test_squeeze_excite_is_equal_if_its_weights_are():
    args = weights()
    layer = nn.SqueezeExcite(*args)
    assert layer == nn.SqueezeExcite(*(w.copy() for w in args))
    assert hash(layer) == hash(nn.SqueezeExcite(*(np.asfortranarray(w) for w in args)))
    others = [
        nn.SqueezeExcite(*weights(dtype="float64")),
        nn.SqueezeExcite(*(w[..., 0, 0] if w.ndim == 4 else w for w in args)),
        nn.SqueezeExcite(args[0], None, args[2], args[3]),
        nn.SqueezeExcite(args[0], args[1], args[2], None),
        nn.SqueezeExcite(*args, activation="relu"),
        nn.SqueezeExcite(*args, gate="hardsigmoid"),
        nn.SqueezeExcite(*args, data_format="channels_last"),
        nn.SqueezeExcite(args[0], args[1], args[2], args[3] + np.float32(1e-6)),
    ]
    assert len({layer, *others}) == 1 + len(others)
    assert all(layer != other for other in others)
    assert layer != 1
    nan = [np.full_like(w, np.nan) for w in args]
    assert nn.SqueezeExcite(*nan) == nn.SqueezeExcite(*nan)


def test_squeeze_excite_pickles_and_copies():
    layer, x = nn.SqueezeExcite(*weights(), data_format="NCHW"), sample("float32", (2, 12, 7, 9))
    before = pickle.dumps(layer)
    wanted = layer(x)
    assert len(pickle.dumps(layer)) == len(before)
    for again in (pickle.loads(before), copy.copy(layer), copy.deepcopy(layer), dataclasses.replace(layer)):
        assert again == layer
        assert hash(again) == hash(layer)
        same(again(x), wanted)
        assert not again.w1.flags.writeable
    assert dataclasses.replace(layer, gate="hardsigmoid").gate == "hardsigmoid"


def test_squeeze_excite_repr():
    layer = nn.SqueezeExcite(*weights())
    assert repr(layer) == "SqueezeExcite(input_channels=12, squeeze_channels=3, activation='silu', gate='sigmoid')"
    layer = nn.SqueezeExcite(*weights(), activation="relu", data_format="NHWC")
    assert layer.extra_repr().endswith("activation='relu', gate='sigmoid', data_format='NHWC'")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"w1": np.ones(12)}, ValueError),
        ({"w2": np.ones((3, 12))}, ValueError),
        ({"b1": np.ones(12)}, ValueError),
        ({"b2": np.ones((12, 1))}, ValueError),
        ({"w1": None}, TypeError),
        ({"w1": np.ones((3, 12), complex)}, TypeError),
        ({"b2": np.array(["a"] * 12)}, TypeError),
        ({"activation": "gelu"}, ValueError),
        ({"gate": None}, TypeError),
        ({"data_format": "HW"}, ValueError),
    ],
    ids=lambda v: next(iter(v)) if isinstance(v, dict) else "",
)
def test_wrong_weights_are_found_when_the_layer_is_made(change, error):
    arguments = dict(zip(("w1", "b1", "w2", "b2"), weights(), strict=True)) | change
    with raises(error, next(iter(change))):
        nn.SqueezeExcite(**arguments)


def test_squeeze_excite_for_other_channels():
    with raises(ValueError, "x", "12 channels"):
        nn.SqueezeExcite(*weights())(np.ones((1, 11, 5, 7), np.float32))


def test_threads_share_squeeze_excite():
    layer = nn.SqueezeExcite(*weights(dtype="float64"))
    inputs = [sample(dtype, (2, 12, 9, 7)) for dtype in ("float32", "float64")]
    wanted = [squeeze_excite(x, *weights(dtype="float64")) for x in inputs]
    found = []

    def work():
        for i in range(60):
            result = layer(inputs[i % 2])
            found.append(np.array_equal(result, wanted[i % 2]))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    assert len(found) == 240
    assert all(found)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: nn.AvgPool2d(2**63), "kernel_size: got 9223372036854775808"),
        (lambda: nn.MaxPool2d(3, (1, 2**63)), "stride: got 9223372036854775808"),
        (lambda: nn.AvgPool2d(3, dilation=2**63), "dilation: got 9223372036854775808"),
        (lambda: nn.AdaptiveAvgPool2d(2**31), "output_size: got 2147483648"),
        (lambda: nn.AdaptiveMaxPool1d(2**31), "output_size: got 2147483648"),
    ],
    ids=["kernel_size", "stride", "dilation", "adaptive average", "adaptive max"],
)
def test_what_every_call_would_refuse_no_layer_takes(make, text):
    with pytest.raises(ValueError, match=text):
        make()


@pytest.mark.parametrize("padding", [("same_upper", "same_upper"), ("valid", 0)], ids=str)
def test_a_padding_by_name_stands_alone(padding):
    with pytest.raises(TypeError, match=r"padding: got .*stands alone"):
        nn.AvgPool2d(3, padding=padding)
