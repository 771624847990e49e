"""Squeeze and excite: against plain NumPy in float64 and against torch; types, layouts, `out`, and every error."""

from __future__ import annotations

import itertools
import re
import threading
import tracemalloc

import numpy as np
import pytest
from helpers import (
    BFLOAT16,
    FLOATS,
    HALVES,
    LAYOUTS,
    assert_same_bits,
    dtype_of,
    generator,
    here,
    place,
    remembered,
    run_python,
    sample,
    swapped,
)
from hypothesis import given
from hypothesis import strategies as st
from test_bits import CONTROL, MODES
from test_fuzz import engines

import cpool
from cpool import cpu, excite
from cpool.excite import squeeze_excite

RELATIVE = {"float64": 1e-12, "float32": 2e-5, "float16": 2e-3, "bfloat16": 1e-2}
SHAPES = [(2, 6, 7), (3, 5, 7, 9), (1, 4, 5, 6, 7), (1, 1, 1), (4, 3, 1, 1), (2, 33, 13, 17), (9, 8, 14, 14)]


def weights(channels: int, reduced: int, dtype: str = "float32", seed: int = 0) -> list[np.ndarray]:
    """w1, b1, w2, b2 of a size that leaves no gate at its end."""
    rng = generator("weights", channels, reduced, seed)
    shapes = ((reduced, channels), (reduced,), (channels, reduced), (channels,))
    return [(rng.standard_normal(s) / np.sqrt(max(s[-1], 1))).astype(dtype_of(dtype)) for s in shapes]


ACTIVATIONS = {
    "silu": lambda x: x / (1 + np.exp(-x)),
    "swish": lambda x: x / (1 + np.exp(-x)),
    "relu": lambda x: np.where(x > 0, x, 0),
    "relu6": lambda x: np.where(x > 0, np.where(x < 6, x, 6), 0),
    "hardswish": lambda x: np.where(x <= -3, 0, np.where(x >= 3, x, x * (x + 3) / 6)),
    "tanh": np.tanh,
    "identity": lambda x: x,
}
GATES = {
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "hardsigmoid": lambda x: np.where(x <= -3, 0, np.where(x >= 3, 1, (x + 3) / 6)),
}


def oracle(x, w1, b1, w2, b2, activation="silu", gate="sigmoid", last=False, batch=True):
    """The definition, in float64."""
    x = np.asarray(x).astype(np.float64)
    x = x if batch else x[None]
    x = np.moveaxis(x, -1, 1) if last else x
    w1, w2 = (np.asarray(w).astype(np.float64).reshape(np.shape(w)[:2]) for w in (w1, w2))
    b1, b2 = (0 if b is None else np.asarray(b).astype(np.float64) for b in (b1, b2))
    s = x.mean(axis=tuple(range(2, x.ndim)))
    g = GATES[gate](ACTIVATIONS[activation](s @ w1.T + b1) @ w2.T + b2)
    result = x * g.reshape(g.shape + (1,) * (x.ndim - 2))
    result = np.moveaxis(result, 1, -1) if last else result
    return result if batch else result[0]


def contents_of(weight):
    return weight if weight is None else (np.asarray(weight).dtype.str, np.asarray(weight).tobytes())


def check(x, *args, last=False, batch=True, **options) -> np.ndarray:
    """A call that changes nothing but its result, which is that of the oracle, with the bits of the last run
    of the same call (on another engine, as a rule)."""
    before = x.tobytes()
    words = repr(sorted((k, v) for k, v in options.items() if k != "out"))
    content = ("excite", here.bits, x.shape, x.strides, x.dtype.str, before, words, *map(repr, map(contents_of, args)))
    result = squeeze_excite(x, *args, **options)
    assert type(result) is np.ndarray
    assert (result.shape, result.dtype) == (x.shape, x.dtype.newbyteorder("=") if x.dtype.kind != "V" else x.dtype)
    assert result.dtype.isnative
    if options.get("out") is not x:
        assert x.tobytes() == before
    known = {k: v for k, v in options.items() if k in ("activation", "gate")}
    wanted = oracle(np.frombuffer(before, x.dtype).reshape(x.shape), *args, last=last, batch=batch, **known)
    rtol = RELATIVE[x.dtype.name]
    np.testing.assert_allclose(result.astype(np.float64), wanted, rtol=rtol, atol=rtol / 10)
    assert_same_bits(result, remembered(content, result.copy), "the same call gave other bits before")
    return result


def got(argument: str, text: str = "") -> str:
    return rf"^{re.escape(argument)}: got .*;.*{text}"


# ---- values ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("last", [False, True], ids=["first", "last"])
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_like_the_definition(shape, dtype, last, engine):
    x = sample(dtype, shape)
    reduced = max(1, shape[1] // 4)
    x = np.ascontiguousarray(np.moveaxis(x, 1, -1)) if last else x
    check(x, *weights(shape[1], reduced), last=last, data_format="channels_last" if last else "channels_first")


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_and_gate(activation, gate, engine):
    assert set(ACTIVATIONS) == set(excite.ACTIVATIONS)
    assert set(GATES) == set(excite.GATES)
    x = sample("float64", (3, 8, 5, 7)) + np.linspace(-5, 5, 8)[:, None, None]
    w1, b1, w2, b2 = weights(8, 5, "float64")
    check(x, 6 * w1, b1, 6 * w2, b2, activation=activation, gate=gate)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", FLOATS)
def test_every_memory_layout(layout, dtype, engine):
    x = place(sample(dtype, (3, 5, 7, 6)), layout)
    result = check(x, *weights(5, 2))
    assert result.strides == np.empty_like(x).strides  # NumPy's order 'K'
    channels_last = x.transpose(0, 2, 3, 1)
    check(channels_last, *weights(5, 2), last=True, data_format="channels_last")


@pytest.mark.parametrize("dtype", [">f2", ">f4", ">f8"])
def test_other_byte_orders_come_in_and_native_goes_out(dtype):
    result = check(sample("float32", (2, 3, 5, 7)).astype(dtype), *weights(3, 2))
    assert result.dtype == np.dtype(dtype[1:])


def test_broadcast_input():
    x = np.broadcast_to(sample("float32", (1, 4, 1, 7)), (3, 4, 5, 7))
    check(x, *weights(4, 2))


@pytest.mark.parametrize(
    ("data_format", "shape", "last", "batch"),
    [
        ("NCHW", (2, 3, 5, 7), False, True),
        ("NCHW", (3, 5, 7), False, False),
        ("CHW", (3, 5, 7), False, False),
        ("NHWC", (2, 5, 7, 3), True, True),
        ("HWC", (5, 7, 3), True, False),
        ("NCL", (2, 3, 5), False, True),
        ("CL", (3, 5), False, False),
        ("NLC", (2, 5, 3), True, True),
        ("LC", (5, 3), True, False),
        ("NCDHW", (2, 3, 4, 5, 7), False, True),
        ("NDHWC", (2, 4, 5, 7, 3), True, True),
        ("DHWC", (4, 5, 7, 3), True, False),
    ],
)
def test_letters(data_format, shape, last, batch):
    check(sample("float32", shape), *weights(3, 2), last=last, batch=batch, data_format=data_format)


def test_weights_of_every_kind():
    x = sample("float32", (2, 6, 5, 7))
    w1, b1, w2, b2 = weights(6, 3)
    wanted = squeeze_excite(x, w1, b1, w2, b2)
    for ones in ((1,), (1, 1), (1, 1, 1)):
        result = squeeze_excite(x, w1.reshape(3, 6, *ones), b1, w2.reshape(6, 3, *ones), b2)
        assert_same_bits(result, wanted)
    assert_same_bits(squeeze_excite(x, w1.tolist(), b1.tolist(), w2.tolist(), b2.tolist()), wanted)
    assert_same_bits(squeeze_excite(x, *(w.astype(np.float64) for w in (w1, b1, w2, b2))), wanted)
    assert_same_bits(squeeze_excite(x, *(w.astype(">f4") for w in (w1, b1, w2, b2))), wanted)
    assert_same_bits(squeeze_excite(x, np.asfortranarray(w1), b1, w2.T.copy().T, b2), wanted)
    check(x, w1, None, w2, None)
    check(x, w1, b1, w2, None)
    check(x, np.array([[1, 0, 2, -1, 0, 3]]), None, np.ones((6, 1), np.int8), [True, False, True, True, False, True])
    for half in HALVES:
        check(x, *(w.astype(dtype_of(half)) for w in (w1, b1, w2, b2)))


@pytest.mark.parametrize("dtype", HALVES)
def test_half_types_are_rounded_once(dtype):
    x = sample(dtype, (3, 5, 7, 9))
    wide = squeeze_excite(x.astype(np.float32), *weights(5, 2))
    assert_same_bits(squeeze_excite(x, *weights(5, 2)), wide.astype(x.dtype))


def test_half_products_are_not_calculated_in_half():
    """Averages of 60000 would overflow float16 in the first product."""
    x = np.full((1, 4, 3, 5), 60000, np.float16)
    result = squeeze_excite(x, np.ones((2, 4)), None, np.full((4, 2), 1e-6), None, activation="relu")
    gate = 1 / (1 + np.exp(-2 * 240000e-6))
    np.testing.assert_allclose(result.astype(np.float64), 60000 * gate, rtol=1e-3)


@pytest.mark.parametrize("shape", [(0, 3, 5, 7), (2, 0, 5, 7), (0, 0, 3, 3)], ids=str)
def test_kept_axes_may_be_empty(shape):
    w1, b1, w2, b2 = weights(shape[1], 2)
    assert squeeze_excite(np.ones(shape, np.float32), w1, b1, w2, b2).shape == shape


def test_no_reduced_channels():
    x = sample("float32", (2, 3, 5, 7))
    check(x, np.ones((0, 3)), None, np.ones((3, 0)), [0.0, 1.0, -1.0])


def test_nan_and_infinities_stay_in_their_image_and_warn_of_nothing():
    clean = sample("float32", (3, 4, 5, 7))
    args = weights(4, 2)
    wanted = squeeze_excite(clean, *args)
    for bad in (np.nan, np.inf, -np.inf):
        for activation, gate in itertools.product(ACTIVATIONS, GATES):
            x = clean.copy()
            x[1, 2, 3, 4] = bad
            result = squeeze_excite(x, *args, activation=activation, gate=gate)
            assert np.isnan(result[1]).all() if np.isnan(bad) else not np.isfinite(result[1, 2, 3, 4])
            assert np.isfinite(result[[0, 2]]).all()
        result = squeeze_excite(x, *args)
        assert_same_bits(result[[0, 2]], wanted[[0, 2]])
    assert np.isnan(squeeze_excite(clean, args[0], [np.nan, 0], args[2], None)).all()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("gate", GATES)
def test_gates_reach_their_ends_in_silence(gate, dtype):
    x = sample(dtype, (1, 4, 5, 7))
    bias = [1e4, -1e4, 88.8, -800.0]
    result = squeeze_excite(x, np.zeros((2, 4)), None, np.zeros((4, 2)), bias, gate=gate, activation="identity")
    assert_same_bits(result[:, [0, 2]], x[:, [0, 2]])
    assert (result[:, [1, 3]] == 0).all()


def test_the_mode_of_numpy_is_as_before():
    with np.errstate(all="raise"):
        squeeze_excite(np.full((1, 2, 3), np.inf), np.ones((1, 2)), None, np.ones((2, 1)), None)
        assert set(np.geterr().values()) == {"raise"}


EMPTY = [(2, 0, 3), (2, 3, 0), (0, 3, 5)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("n", "terms", "columns"),
    [(33, 65, 17), (8, 9, 70), (9, 12, 4), (5, 480, 120), (2, 9000, 33), (1, 5, 7), (3, 7, 9), (3, 5, 1), *EMPTY],
)
def test_a_layer(n, terms, columns, dtype, engine):
    """The function of a product, nearly exact: whatever the instruction set, the threads, and what else there is."""
    rng = generator(n, terms, columns)
    x, w, bias = rng.standard_normal((n, terms)), rng.standard_normal((columns, terms)), rng.standard_normal(columns)
    w, bias = (w / np.sqrt(terms + 1)).astype(dtype), bias.astype("float64" if dtype == "float32" else "float32")
    wide = x.astype(np.longdouble) @ w.T.astype(np.longdouble) + bias
    for function in {*excite.ACTIVATIONS.values(), *excite.GATES.values()}:
        result = cpu.dense(x, w, bias, function, single=False)
        assert (result.shape, result.dtype) == ((n, columns), np.float64)
        wanted = {**ACTIVATIONS, **GATES}[function](wide).astype(np.float64)
        np.testing.assert_allclose(result, wanted, rtol=1e-13, atol=1e-15 * (1 + np.sqrt(terms)))
        before = remembered(("layer", x.tobytes(), w.tobytes(), bias.tobytes(), function), result.copy)
        assert_same_bits(result, before, "the same layer gave other bits before")
        single = cpu.dense(x, w, bias, function, single=True)
        assert_same_bits(single, result.astype(np.float32))
        assert_same_bits(cpu.dense(x[-1:], w, bias, function, single=False), result[-1:])


@pytest.mark.parametrize("function", ["sigmoid", "silu"])
def test_functions_within_three_ulp(function, engine):
    """Between -700 and 700, beyond which e^-x is soon no number; x86's long doubles judge."""
    if np.finfo(np.longdouble).nmant < 60:
        pytest.skip("long doubles are doubles here")
    rng = generator("functions")
    small = rng.standard_normal(5000) * 2.0 ** rng.integers(-60, 4, 5000)
    x = np.concatenate([rng.uniform(-700, 700, 20_000), rng.uniform(-4, 4, 20_000), small])[:, None]
    one = np.ones((1, 1))
    result = cpu.dense(x, one, np.zeros(1), function, single=False)
    wide = x.astype(np.longdouble)
    wanted = {**ACTIVATIONS, **GATES}[function](wide)
    error = np.abs(result - wanted) / np.spacing(np.abs(wanted.astype(np.float64)))
    assert error.max() <= 3


@pytest.mark.parametrize("last", [False, True], ids=["first", "last"])
@pytest.mark.parametrize("dtype", FLOATS)
def test_an_image_alone_is_as_in_its_batch(dtype, last, engine):
    x = sample(dtype, (7, 33, 5, 7))
    x = np.ascontiguousarray(np.moveaxis(x, 1, -1)) if last else x
    data_format, args = "NHWC" if last else "NCHW", weights(33, 9)
    together = squeeze_excite(x, *args, data_format=data_format)
    for i in range(7):
        assert_same_bits(squeeze_excite(x[i : i + 1], *args, data_format=data_format), together[i : i + 1])
        assert_same_bits(squeeze_excite(x[i], *args, data_format=data_format[1:]), together[i])


@pytest.mark.parametrize("last", [False, True], ids=["first", "last"])
def test_many_images_piece_by_piece(last, engine, monkeypatch):
    """What is larger than L3 goes through a few images at a time, in place, too; nobody sees it."""
    x = sample("float32", (7, 5, 9, 11))
    x = np.ascontiguousarray(np.moveaxis(x, 1, -1)) if last else x
    data_format, args, average = "NHWC" if last else "NCHW", weights(5, 3), cpool.global_avg_pool
    wanted = squeeze_excite(x, *args, data_format=data_format)
    monkeypatch.setattr(excite, "BEYOND_L3", x.nbytes - 1)
    pooled = []

    def counted(x, **options):
        pooled.append(len(x))
        return average(x, **options)

    monkeypatch.setattr(excite.functional, "global_avg_pool", counted)
    for images in (1, 2, 3):
        monkeypatch.setattr(excite, "PIECE", images * x.nbytes // 7)
        pooled.clear()
        assert_same_bits(squeeze_excite(x, *args, data_format=data_format), wanted)
        assert pooled == [images] * (7 // images) + [1] * (7 % images)
        inside = x.copy()
        squeeze_excite(inside, *args, data_format=data_format, out=inside)
        assert_same_bits(inside, wanted)


@pytest.mark.parametrize("which", range(4))
def test_weights_that_lie_in_out(which, engine, monkeypatch):
    """They are written over by the first pieces, and the last ones need them."""
    x, args = sample("float32", (7, 5, 9, 11)), list(weights(5, 3))
    wanted = squeeze_excite(x, *args)
    monkeypatch.setattr(excite, "BEYOND_L3", x.nbytes - 1)
    monkeypatch.setattr(excite, "PIECE", x.nbytes // 7)
    out = np.empty_like(x)
    inside = out[0].reshape(-1)[: args[which].size].reshape(args[which].shape)
    inside[...] = args[which]
    args[which] = inside
    assert_same_bits(squeeze_excite(x, *args, out=out), wanted)


@pytest.mark.parametrize("last", [False, True], ids=["first", "last"])
@pytest.mark.parametrize("dtype", FLOATS)
def test_strided_images_have_the_bits_of_packed_ones(dtype, last, engine):
    """Others multiply them: NumPy."""
    x = sample(dtype, (9, 7, 5, 13))
    data_format, args = "NHWC" if last else "NCHW", weights(13 if last else 7, 3)
    for part in (x[::2], x[:, ::-1], x[..., ::-1], x.transpose(0, 1, 3, 2) if not last else x.transpose(0, 2, 1, 3)):
        packed = squeeze_excite(np.ascontiguousarray(part), *args, data_format=data_format)
        assert_same_bits(squeeze_excite(part, *args, data_format=data_format), packed)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", FLOATS)
def test_any_mode_of_the_caller(dtype, mode, simd, native):
    usual, args = native.native_mode() & CONTROL, list(weights(5, 3))
    args[0], args[2] = (args[0] * 2.0**60).astype(np.int64) | 1, args[2] * 2.0**-50  # no doubles; gates near zero
    tiny = 2.0 ** {"float16": -24, "bfloat16": -133, "float32": -149, "float64": -1074}[dtype]
    small = (np.random.default_rng(7).integers(-9, 30, (3, 5, 7, 6)) * tiny).astype(dtype_of(dtype))
    for values, layout in itertools.product((small, sample(dtype, (3, 5, 7, 6))), ("contiguous", "reversed", "sparse")):
        x = place(values, layout)
        expected = squeeze_excite(x, *args)
        native.native_set_mode(usual | MODES[mode])
        try:
            result = squeeze_excite(x, *args)
            after = native.native_mode()
        finally:
            native.native_set_mode(usual)
        assert after & CONTROL == usual | MODES[mode], "the caller's mode comes back"
        assert_same_bits(result, expected, mode)


@pytest.mark.parametrize(
    ("n", "terms", "columns"),
    [(7, 3, 1), (9, 5, 3), (6, 2, 31), (6, 9, 32), (5, 9, 33), (3, 2, 70), (13, 9, 33), (35, 500, 6), (8, 0, 9)],
)
def test_each_image_of_a_layer_is_as_alone(n, terms, columns, engine):
    rng = generator("few", n, terms, columns)
    x, w, bias = rng.standard_normal((n, terms)), rng.standard_normal((columns, terms)), rng.standard_normal(columns)
    for single in (True, False):
        result = cpu.dense(x, w, bias, "silu", single)
        for i in range(n):
            assert_same_bits(cpu.dense(x[i : i + 1], w, bias, "silu", single), result[i : i + 1])
        np.testing.assert_allclose(result, ACTIVATIONS["silu"](x @ w.T + bias), rtol=1e-5 if single else 1e-12)


@given(engine=engines(), data=st.data())
def test_anything_goes(engine, data):
    rank = data.draw(st.integers(1, 3))
    sizes = [data.draw(st.integers(1, 9)) for _ in range(rank)]
    channels, reduced, n = (data.draw(st.integers(1, 40)), data.draw(st.integers(1, 9)), data.draw(st.integers(1, 4)))
    last = data.draw(st.booleans())
    shape = (n, *sizes, channels) if last else (n, channels, *sizes)
    x = place(sample(data.draw(st.sampled_from(FLOATS)), shape), data.draw(st.sampled_from(sorted(LAYOUTS))))
    args = weights(channels, reduced, data.draw(st.sampled_from(["float32", "float64"])))
    for i in (1, 3):
        args[i] = data.draw(st.sampled_from([None, args[i]]))
    options = {
        "last": last,
        "data_format": "channels_last" if last else "channels_first",
        "activation": data.draw(st.sampled_from(sorted(ACTIVATIONS))),
        "gate": data.draw(st.sampled_from(sorted(GATES))),
    }
    check(x, *args, **options)
    with cpu.force_simd(engine[0]), cpool.threads(engine[1]), cpu.force_split():
        check(x, *args, **options)


@pytest.mark.parametrize("last", [False, True], ids=["first", "last"])
@pytest.mark.parametrize(
    ("gate", "activation"), list(itertools.product(GATES, ["silu", "relu", "relu6", "hardswish", "tanh"]))
)
def test_like_torch(gate, activation, last, module):
    torch = module("torch")
    functional = torch.nn.functional
    x, args = sample("float32", (3, 24, 13, 17)), weights(24, 6)
    tensors = [torch.from_numpy(a) for a in args]
    w1, w2 = (w[..., None, None] for w in tensors[::2])
    image = torch.from_numpy(x)
    s = functional.adaptive_avg_pool2d(image, 1)
    act = getattr(functional, activation, None) or getattr(torch, activation)
    ending = torch.sigmoid if gate == "sigmoid" else functional.hardsigmoid
    wanted = (image * ending(functional.conv2d(act(functional.conv2d(s, w1, tensors[1])), w2, tensors[3]))).numpy()
    options = {"activation": activation, "gate": gate}
    if last:
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
        result = squeeze_excite(x, *args, data_format="NHWC", **options).transpose(0, 3, 1, 2)
    else:
        result = squeeze_excite(x, w1.numpy(), args[1], w2.numpy(), args[3], **options)
    np.testing.assert_allclose(result, wanted, rtol=2e-5, atol=1e-6)


# ---- out -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", FLOATS)
def test_out_of_any_layout(layout, dtype, engine):
    x = sample(dtype, (2, 5, 7, 6))
    wanted = check(x, *weights(5, 2))
    out = place(np.zeros_like(x), layout)
    assert squeeze_excite(x, *weights(5, 2), out=out) is out
    assert_same_bits(out, wanted)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", FLOATS)
def test_in_place_only_if_asked(layout, dtype, engine):
    x = place(sample(dtype, (2, 5, 7, 6)), layout)
    wanted = squeeze_excite(x, *weights(5, 2))
    assert not np.may_share_memory(wanted, x)
    assert squeeze_excite(x, *weights(5, 2), out=x) is x
    assert_same_bits(np.array(x), np.array(wanted))


def test_out_in_the_other_byte_order():
    x = sample("float32", (2, 5, 7, 6))
    out = np.zeros(x.shape, ">f4")
    squeeze_excite(x, *weights(5, 2), out=out)
    assert_same_bits(out.astype("f4"), squeeze_excite(x, *weights(5, 2)))
    swapped = x.astype(">f4")
    squeeze_excite(swapped, *weights(5, 2), out=swapped)
    assert_same_bits(swapped.astype("f4"), out.astype("f4"))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    "pair",
    [
        lambda m: (m[:-1], m[1:]),
        lambda m: (m[1:], m[:-1]),
        lambda m: (m[:-1, :, ::-1], m[1:]),
        lambda m: (m[1:], m[1:, :, :, ::-1]),
        lambda m: (m[1:, :, :6], m[1:, :, :6].transpose(0, 1, 3, 2)),
        lambda m: (m[:, ::2], m[:, 1::2]),
    ],
)
def test_an_out_that_overlaps_otherwise(pair, dtype):
    memory = sample(dtype, (4, 10, 7, 6))
    x, out = pair(memory)
    wanted = squeeze_excite(x.copy(), *weights(x.shape[1], 2))
    squeeze_excite(x, *weights(x.shape[1], 2), out=out)
    assert_same_bits(np.array(out), np.array(wanted))


def test_out_may_be_where_the_weights_are():
    x = sample("float32", (1, 6, 5, 7))
    w1, b1, w2, b2 = weights(6, 35)
    wanted = squeeze_excite(x, w1, b1, w2, b2)
    squeeze_excite(x, w1, b1, w2, b2, out=w1.reshape(1, 6, 5, 7))
    assert_same_bits(w1.reshape(1, 6, 5, 7), wanted)


# ---- kinds of arrays ---------------------------------------------------------------------------------


def test_subclasses_and_memmaps_come_in_and_plain_arrays_go_out(tmp_path):
    class Mine(np.ndarray):
        pass

    x = sample("float32", (2, 5, 7, 6))
    wanted = squeeze_excite(x, *weights(5, 2))
    assert_same_bits(check(x.view(Mine), *weights(5, 2)), wanted)
    file = np.memmap(tmp_path / "x", np.float32, "w+", shape=x.shape)
    file[...] = x
    assert_same_bits(check(file, *weights(5, 2)), wanted)
    out = np.zeros_like(x).view(Mine)
    assert squeeze_excite(x, *weights(5, 2), out=out) is out


def test_input_that_may_only_be_read():
    x = sample("float32", (2, 5, 7, 6))
    x.setflags(write=False)
    args = weights(5, 2)
    for w in args:
        w.setflags(write=False)
    check(x, *args)


def test_tensors_come_and_go(module):
    torch = module("torch")
    x, args = sample("float32", (2, 5, 7, 6)), weights(5, 2)
    wanted = squeeze_excite(x, *args)
    tensor, tensors = torch.from_numpy(x.copy()), [torch.from_numpy(w) for w in args]
    result = squeeze_excite(tensor, *tensors)
    assert isinstance(result, torch.Tensor)
    assert_same_bits(result.numpy(), wanted)
    assert type(squeeze_excite(x, *tensors)) is np.ndarray
    assert squeeze_excite(tensor, *args, out=tensor) is tensor
    assert_same_bits(tensor.numpy(), wanted)
    with pytest.raises(TypeError, match=r"w1: .*detach"):
        squeeze_excite(x, tensors[0].requires_grad_(), *args[1:])


# ---- memory, threads, forks ----------------------------------------------------------------------------


@pytest.mark.parametrize("in_place", [False, True], ids=["new", "in place"])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "every_other", "reversed", "swapped"])
@pytest.mark.parametrize("dtype", FLOATS)
def test_nothing_as_large_as_the_input_is_made(dtype, layout, in_place):
    x = np.zeros((8, 64, 64, 65), dtype_of(dtype))
    if layout != "swapped":
        x = place(x, layout)
    elif dtype != "bfloat16":  # which has no other byte order
        x = x.astype(swapped(x.dtype))
    args = weights(64, 16)
    squeeze_excite(x[:1], *args)
    tracemalloc.start()
    try:
        squeeze_excite(x, *args, out=x if in_place else None)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < (0 if in_place else x.nbytes) + 2**19


def test_many_threads_at_once():
    x, args = sample("float32", (4, 24, 13, 17)), weights(24, 6)
    wanted = squeeze_excite(x, *args)
    found = []

    def work():
        found.extend(np.array_equal(squeeze_excite(x, *args), wanted) for _ in range(20))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    assert len(found) == 80
    assert all(found)


def test_after_a_fork():
    run_python(
        """
import os
import numpy as np
from cpool.excite import squeeze_excite
x = np.random.default_rng(0).random((16, 96, 28, 28), dtype=np.float32)
w1, w2 = np.ones((24, 96), np.float32) / 96, np.ones((96, 24), np.float32)
wanted = squeeze_excite(x, w1, None, w2, None)
child = os.fork()
if child == 0:
    os._exit(0 if np.array_equal(squeeze_excite(x, w1, None, w2, None), wanted) else 3)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
""",
        timeout=60,
    )


# ---- errors --------------------------------------------------------------------------------------------

X = sample("float32", (2, 6, 5, 7))
W1, B1, W2, B2 = weights(6, 3)


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"x": X[0, 0]}, ValueError, got("x", "one to three more axes")),
        ({"x": X[None, None]}, ValueError, got("x", "one to three more axes")),
        ({"x": X[0, 0, 0]}, ValueError, got("x", "without a batch")),
        ({"x": np.float32(1)}, ValueError, got("x", "")),
        ({"x": X[0], "data_format": "CL"}, ValueError, got("x", "CL has 2 axes")),
        ({"x": X, "data_format": "CHW"}, ValueError, got("x", "CHW has 3 axes")),
        ({"x": X[:, :5]}, ValueError, r"x: got \(2, 5, 5, 7\); .*6 channels.*axis 1"),
        ({"x": X[0]}, ValueError, r"x: got \(6, 5, 7\); .*6 channels.*axis 1"),
        ({"x": X[0]}, ValueError, r'without a batch, data_format="CHW" would do'),
        ({"x": X[0, :, None]}, ValueError, r'without a batch, data_format="CDHW" would do'),
        ({"data_format": "channels_last"}, ValueError, r"x: got \(2, 6, 5, 7\); .*6 channels.*axis 3"),
        ({"x": X[:, :, :0]}, ValueError, got("x", "axis 2 is pooled and has no elements")),
        ({"x": X.astype(np.int32)}, TypeError, got("x", "float32")),
        ({"x": X > 0}, TypeError, got("x", "float32")),
        ({"x": X.astype(complex)}, TypeError, got("x", "float32")),
        ({"x": X.astype(np.longdouble)}, TypeError, got("x", "float32")),
        ({"x": X.astype(object)}, TypeError, got("x", "float32")),
        ({"x": None}, TypeError, got("x", "an array")),
        ({"x": "image"}, TypeError, got("x", "an array")),
        ({"x": np.ma.masked_array(X)}, TypeError, got("x", "filled")),
        ({"w1": W1[0]}, ValueError, got("w1", r"\(R, C\).*1x1 convolution")),
        ({"w1": W1[..., None, None].repeat(3, -1)}, ValueError, got("w1", "1x1 convolution")),
        ({"w1": W1[:, :5]}, ValueError, r"w2: got \(6, 3\); w1 has shape \(3, 5\): shape \(5, 3\)"),
        ({"w1": W2}, ValueError, r"w2: got \(6, 3\); w1 has shape \(6, 3\): shape \(3, 6\)"),
        ({"w1": W1.astype(complex)}, TypeError, got("w1", "real")),
        ({"w1": W1.astype(object)}, TypeError, got("w1", "real")),
        ({"w1": None}, TypeError, got("w1", "an array")),
        ({"w1": [[1, 2], [3]]}, TypeError, got("w1", "an array")),
        ({"w2": W2.T}, ValueError, r"w2: got \(3, 6\); w1 has shape \(3, 6\): shape \(6, 3\)"),
        ({"w2": W2[:, 0]}, ValueError, got("w2", r"\(C, R\)")),
        ({"w2": None}, TypeError, got("w2", "an array")),
        ({"b1": B2}, ValueError, r"b1: got \(6,\); shape \(3,\)"),
        ({"b1": B1[:, None]}, ValueError, r"b1: got \(3, 1\); shape \(3,\)"),
        ({"b1": 0.0}, ValueError, r"b1: got \(\); shape \(3,\)"),
        ({"b1": ["a", "b", "c"]}, TypeError, got("b1", "real")),
        ({"b2": B1}, ValueError, r"b2: got \(3,\); shape \(6,\).*None"),
        ({"activation": "gelu"}, ValueError, got("activation", "silu, swish, relu")),
        ({"activation": None}, TypeError, got("activation", "silu")),
        ({"activation": np.tanh}, TypeError, got("activation", "silu")),
        ({"gate": "silu"}, ValueError, got("gate", "sigmoid, hardsigmoid")),
        ({"gate": 1}, TypeError, got("gate", "sigmoid")),
        ({"data_format": "NWHC"}, ValueError, got("data_format", "channels_last")),
        ({"data_format": 1}, TypeError, got("data_format", "channels_last")),
        ({"out": np.zeros((2, 6, 5, 6), np.float32)}, ValueError, r"out: got \(2, 6, 5, 6\); .*\(2, 6, 5, 7\)"),
        ({"out": np.zeros(X.shape)}, TypeError, got("out", "float32")),
        ({"out": np.zeros(X.shape, np.int32)}, TypeError, got("out", "float32")),
        ({"out": np.broadcast_to(X[:1], X.shape)}, ValueError, got("out", "writeable")),
        ({"out": X.tolist()}, TypeError, got("out", "an array")),
        ({"out": True}, TypeError, got("out", "an array")),
    ],
    ids=lambda v: next(iter(v)) if isinstance(v, dict) else "",
)
def test_every_error_names_the_argument(change, error, text):
    arguments = {"x": X, "w1": W1, "b1": B1, "w2": W2, "b2": B2} | change
    before = X.tobytes()
    with pytest.raises(error, match=text):
        squeeze_excite(**arguments)
    assert X.tobytes() == before


def test_an_out_that_shares_its_elements():
    memory = np.zeros((2, 6, 1, 7), np.float32)
    out = np.lib.stride_tricks.as_strided(memory, X.shape, (*memory.strides[:2], 0, 4))
    with pytest.raises(ValueError, match=got("out", "must not share memory")):
        squeeze_excite(X, W1, B1, W2, B2, out=out)


def test_bfloat16_is_known_without_importing_it():
    if BFLOAT16 is None:
        pytest.skip("ml_dtypes is not installed")
    code = "import sys; from cpool.excite import squeeze_excite; assert 'ml_dtypes' not in sys.modules"
    run_python(code)
