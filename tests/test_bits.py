"""Promise 3: the same bits on any engine, in any company, in any spelling, in every run and mode.

The data spans hundreds of binary orders of magnitude: any other order of additions shows.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from conftest import ENGINES, SIMD
from helpers import (
    BFLOAT16,
    FLOATS,
    assert_same_bits,
    call,
    check,
    dtype_of,
    forget_calls,
    place,
    read_as,
    run_python,
    sample,
)

import cpool
from cpool import cpu

CASES = {
    "ragged": ("adaptive_avg_pool2d", (3, 5, 23, 19), (7, 5), {}),
    "many channels": ("adaptive_avg_pool2d", (3, 65, 9, 8), (5, 7), {}),
    "wide windows": ("adaptive_avg_pool2d", (2, 3, 40, 133), (3, 2), {}),
    "one window": ("adaptive_avg_pool2d", (3, 17, 31, 37), 1, {}),
    "few windows": ("adaptive_avg_pool2d", (2, 1, 500, 300), (2, 1), {}),
    "longer than a block": ("global_avg_pool", (2, 2, 300, 310), None, {}),
    "overlapping": ("avg_pool2d", (2, 4, 21, 22), 5, {"stride": 2, "padding": 2}),
    "a long line": ("adaptive_avg_pool1d", (2, 2, 150_001), 3, {}),
    "a volume": ("adaptive_avg_pool3d", (2, 3, 9, 11, 13), (2, 3, 4), {}),
}
LAYOUTS = ("contiguous", "channels_last", "sparse")
LAST: dict[str, Any] = {"data_format": "channels_last"}
TYPES = [*FLOATS, "complex64"]
HERE = [e for e in ENGINES if e.simd in SIMD]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("case", CASES)
def test_any_engine(case, dtype):
    operation, shape, size, options = CASES[case]
    for layout in LAYOUTS:
        x = place(sample(dtype, shape, wide=True), layout)
        first = call(operation, x, size, **options)
        for engine in HERE:
            with engine.on():
                assert_same_bits(call(operation, x, size, **options), first, f"{engine}, {layout}")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_any_number_of_threads_as_they_are_used(dtype):
    """Work large enough to be split by itself: over planes, rows, channel blocks and chunks of one plane."""
    for shape, size, options in (
        ((16, 65, 57, 55), (7, 6), {}),
        ((1, 1, 2003, 1999), (7, 5), {}),
        ((1, 1, 2003, 1999), 1, {}),
        ((2, 100, 99, 257), (6, 5), {"data_format": "channels_last"}),
        ((1, 300, 299, 33), 1, {"data_format": "channels_last"}),
    ):
        x = sample(dtype, shape, wide=True)
        results = []
        for n in (1, 2, 3, 5, 2, 1):
            with cpool.threads(n):
                results.append(cpool.adaptive_avg_pool2d(x, size, **options))
        for result in results[1:]:
            assert_same_bits(result, results[0], f"{shape}")


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("case", CASES)
def test_any_company(case, dtype, simd):
    """What one image gives does not depend on the others, nor on their number and order."""
    operation, shape, size, options = CASES[case]
    if case == "few windows":
        shape = (2, 1, 250, 70)
    for layout in LAYOUTS:
        x = place(sample(dtype, (3, *shape[1:]), wide=True), layout)
        with cpool.threads(3), cpu.force_split():
            whole = call(operation, x, size, **options)
        for i in range(3):
            assert_same_bits(call(operation, x[i : i + 1], size, **options), whole[i : i + 1], layout)
            if operation != "global_avg_pool":
                assert_same_bits(call(operation, x[i], size, **options), whole[i], layout)
        alone = place(x[1:2].copy(), layout)
        assert_same_bits(call(operation, alone, size, **options), whole[1:2], layout)
        for order in (slice(None, None, -1), [2, 0, 1, 1], slice(1, 3)):
            y = x[order] if isinstance(order, slice) else place(np.ascontiguousarray(x[order]), layout)
            assert_same_bits(call(operation, y, size, **options), whole[order], layout)
        assert_same_bits(call(operation, x[:, 1:], size, **options), whole[:, 1:], layout)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("n", "m"), [(14, 13), (133, 2), (22, 3), (23, 11), (60, 6), (12, 12), (37, 1)])
def test_any_spelling(n, m, dtype, simd):
    kernel, stride = cpool.windows(n, m).as_strided()
    for layout in LAYOUTS:
        x = place(sample(dtype, (2, 3, n, n), wide=True), layout)
        expected = cpool.adaptive_avg_pool2d(x, m)
        spellings = {
            "strided": cpool.avg_pool2d(x, kernel, stride),
            "lists": cpool.avg_pool2d(x, [kernel, kernel], (stride, stride), [[0, 0], 0]),
            "valid": cpool.avg_pool2d(x, kernel, stride, "valid", count_include_pad=False),
            "override": cpool.avg_pool2d(x, kernel, stride, divisor_override=kernel * kernel),
            "axes": cpool.adaptive_avg_pool(x, m, axes=(-1, 2)),
            "strided axes": cpool.avg_pool(x, kernel, stride, axes=(3, 2)),
            "flat batch": cpool.adaptive_avg_pool(x.reshape(6, n, n), m, axes=(1, 2)).reshape(expected.shape)
            if layout == "contiguous"
            else expected,
            "prepared": cpool.prepare("avg_pool2d", x, kernel, stride)(x),
            "one of five": cpool.adaptive_avg_pool3d(x[:, :, None], (1, m, m))[:, :, 0],
            "dtype": cpool.adaptive_avg_pool2d(x, m, dtype=x.dtype),
        }
        if m == 1:
            spellings["global"] = cpool.global_avg_pool(x)
        for name, result in spellings.items():
            assert_same_bits(result, expected, f"{name}, {layout}")
        out = np.empty_like(expected)
        assert_same_bits(cpool.adaptive_avg_pool2d(x, m, out=out), expected)


@pytest.mark.parametrize("dtype", TYPES)
def test_one_axis_by_its_rank(dtype, simd):
    x = sample(dtype, (2, 3, 101), wide=True)
    expected = cpool.adaptive_avg_pool1d(x, 7)
    assert_same_bits(cpool.adaptive_avg_pool2d(x[:, :, None], (1, 7))[:, :, 0], expected)
    assert_same_bits(cpool.adaptive_avg_pool2d(x[:, :, None], (None, 7))[:, :, 0], expected)
    assert_same_bits(cpool.adaptive_avg_pool(x, 7, axes=2), expected)
    assert_same_bits(cpool.adaptive_avg_pool(x, (None, 7), axes=(1, 2)), expected)


@pytest.mark.parametrize("case", ["ragged", "one window", "longer than a block"])
def test_every_run(case):
    operation, shape, size, options = CASES[case]
    x = sample("float32", (8, *shape[1:]), wide=True)
    first = call(operation, x, size, **options)
    for threads, split in itertools.product((2, 3), (False, True)):
        with cpool.threads(threads):
            for _ in range(20):
                if split:
                    with cpu.force_split():
                        again = call(operation, x, size, **options)
                else:
                    again = call(operation, x, size, **options)
                assert_same_bits(again, first)


# ---- the caller's floating-point mode ------------------------------------------------------------------

FLUSH = 0x8040  # results and operands below the normal range become zero
MODES = {"flush": FLUSH, "toward zero": 0x6000, "up and flush": 0x4000 | FLUSH, "down": 0x2000}
CONTROL = 0xFFC0  # the bits of MXCSR that are not sticky flags


def delicate(dtype: np.dtype) -> Iterator[tuple[np.ndarray, object]]:
    """Arrays whose averages change with any mode: subnormal ones, and ones that round."""
    tiny = {"float16": -24, "bfloat16": -133, "float32": -149, "float64": -1074}[dtype.name]
    counts = np.random.default_rng(7).integers(-9, 30, (4, 17, 33, 31))
    small = (counts * 2.0**tiny).astype(dtype)
    for x in (small, sample(dtype, counts.shape, wide=True), sample(dtype, counts.shape)):
        for layout in ("contiguous", "channels_last", "sparse"):
            for size in (None, (7, 5), 1):
                yield place(x, layout), size


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", FLOATS)
def test_any_mode_of_the_caller(dtype, mode, engine, native):
    usual = native.native_mode() & CONTROL
    for x, size in delicate(dtype_of(dtype)):
        expected = cpool.adaptive_avg_pool2d(x, size)
        native.native_set_mode(usual | MODES[mode])
        try:
            result = cpool.adaptive_avg_pool2d(x, size)
            after = native.native_mode()
        finally:
            native.native_set_mode(usual)
        assert after & CONTROL == usual | MODES[mode], "the caller's mode comes back"
        assert_same_bits(result, expected, mode)


def test_subnormals_are_not_flushed(engine, native):
    """The test above would pass if both runs flushed."""
    x = np.full((4, 17, 33, 31), 3 * 2.0**-149, np.float32)
    native.native_set_mode(native.native_mode() | FLUSH)
    try:
        result = cpool.adaptive_avg_pool2d(x, (7, 5))
    finally:
        native.native_set_mode(0x1F80)
    assert (result.view(np.int32) == 3).all()


BEFORE_THREADS = """
import ctypes, numpy as np
native = ctypes.PyDLL({path!r})
x = np.full((4, 64, 33, 31), 3 * 2.0**-149, np.float32)
x[:, :, 1::2] *= 5
native.native_set_mode(0x1f80 | {flush})
import cpool
from cpool import cpu
results = []
for simd in cpu.simd_available():
    with cpu.force_simd(simd), cpool.threads(3), cpu.force_split():
        results.append(cpool.adaptive_avg_pool2d(x, (7, 5)))
assert native.native_mode() & {control} == 0x1f80 | {flush}
native.native_set_mode(0x1f80)
for simd in cpu.simd_available():
    with cpu.force_simd(simd), cpool.threads(3), cpu.force_split():
        results.append(cpool.adaptive_avg_pool2d(x, (7, 5)))
assert (results[0] > 0).all() and results[0].max() > results[0].min()
for result in results:
    assert (result.view(np.int32) == results[0].view(np.int32)).all()
"""


def test_a_mode_set_before_there_are_threads(native, native_path):
    """New threads inherit the mode of the one that makes them."""
    run_python(BEFORE_THREADS.format(path=str(native_path), flush=FLUSH, control=CONTROL))


def test_traps_and_flags_of_the_caller(native, native_path):
    """Unmasked exceptions don't stop a kernel, and its own leave no flags behind."""
    run_python(
        f"""
import ctypes, numpy as np
import cpool
native = ctypes.PyDLL({str(native_path)!r})
x = np.full((2, 3, 9, 31), 3 * 2.0**-149, np.float32)
x[0, 0, 0, :3] = np.inf, -np.inf, 3e38
outs = [np.empty((2, 3, 4, 5), t) for t in (np.float32, np.float16)]
calls = [cpool.prepare("adaptive_avg_pool2d", x, (4, 5), dtype=out.dtype) for out in outs]
for call, out in zip(calls, outs):
    call(x, out=out)
with np.errstate(all="raise"):
    for call, out in zip(calls, outs):
        call(x, out=out)
trapping = 0x1f80 & ~(0x0080 | 0x0200 | 0x0400)  # invalid, division by zero and overflow are unmasked
for call, out in zip(calls, outs):
    native.native_set_mode(trapping)
    call(x, out=out)
    left = native.native_mode()
    native.native_set_mode(0x1f80)
    assert left == trapping, hex(left)
"""
    )


def test_the_reference_is_not_what_answers():
    """The oracle must not be on the way of a call."""
    code = (
        "import sys, numpy as np, cpool\n"
        "cpool.adaptive_avg_pool2d(np.ones((2, 3, 5, 7)), 3)\n"
        "assert 'cpool.reference' not in sys.modules\n"
    )
    run_python(code)


def test_bfloat16_is_float32_rounded(simd):
    """The same numbers in a wider type, rounded at the end, are the same average."""
    if BFLOAT16 is None:
        pytest.skip("ml_dtypes is not installed")
    x = sample("bfloat16", (2, 3, 23, 37), wide=True)
    for size in ((7, 5), 1):
        direct = cpool.adaptive_avg_pool2d(x, size)
        detour = cpool.adaptive_avg_pool2d(x.astype(np.float32), size, dtype=BFLOAT16)
        assert_same_bits(direct, detour)


@pytest.mark.parametrize("dtype", [*FLOATS, "int8", "uint16", "int64", "complex64"])
def test_rows_in_turn_add_up_as_rows_together(dtype, simd, monkeypatch):
    """Inputs beyond the caches, whose rows are read one at a time, and those within are added in one order."""
    found: list[list[np.ndarray]] = []
    for far in (False, True):
        read_as(monkeypatch, far)
        results = [
            (check if far and channels == 65 else call)(
                operation, sample(dtype, shape, wide=True), size, **LAST, **options
            )
            for channels in (17, 65, 257, 1033)
            for operation, shape, size, options in (
                ("adaptive_avg_pool2d", (2, 11, 9, channels), (3, 4), {}),
                ("avg_pool2d", (1, 9, 10, channels), 3, {"stride": 2, "padding": 1}),
                ("global_avg_pool", (1, 261, 257, channels) if channels == 17 else (1, 19, 23, channels), None, {}),
            )
        ]
        wide = sample(dtype, (2, 3, 19, 1303), wide=True)
        rows = [(wide, {}), (wide.transpose(0, 2, 3, 1).copy(), LAST)]
        for x, last in rows:
            results.append((check if far else call)("adaptive_avg_pool2d", x, (4, 157), **last))
            results.append(call("avg_pool2d", x, (9, 3), stride=2, padding=1, **last))
            results.append(call("adaptive_avg_pool2d", x, (19, 157), **last))
        large = sample(dtype, (2, 3, 41, 401), wide=True)  # windows of whole vectors, some of them beside each other
        results.append((check if far else call)("adaptive_avg_pool2d", large, (2, 3)))
        results.append(call("avg_pool2d", large, (19, 131), stride=(7, 45), padding=(3, 20)))
        results.append(call("avg_pool2d", large, (19, 135), stride=(11, 133), ceil_mode=True))
        results.append(call("adaptive_avg_pool2d", sample(dtype, (2, 33, 4600), wide=True), (2, 35)))
        if dtype != "complex64":
            results += [
                call("adaptive_max_pool2d", large, (2, 3)),
                call("max_pool2d", large, (19, 131), stride=(21, 45)),
            ]
            results += [cpool.adaptive_max_pool2d(x, (4, 157), **last) for x, last in rows]
            x = sample(dtype, (2, 11, 9, 263))
            results += cpool.adaptive_max_pool2d(x, (3, 1), return_indices=True, **LAST)
            results.append(cpool.adaptive_max_pool2d(x, (3, 1), **LAST))
        found.append(results)
    forget_calls()
    for near, far_away in zip(*found, strict=True):
        assert_same_bits(far_away, near)


@pytest.mark.parametrize("dtype", [*FLOATS, "int8", "uint16", "int64", "complex64"])
def test_windows_of_a_line_are_what_each_is_alone(dtype, simd):
    """Lines that registers hold, lines in strips of which they do, and lines with more rows than pass again."""
    for rows, n, m in ((1, 3001, 375), (3, 1100, 550), (9, 1100, 60), (70, 200, 10), (33, 700, 23), (1100, 1000, 40)):
        x = sample(dtype, (1, 2, rows, n), wide=True)
        table = cpool.windows(n, m)
        spans = list(zip(table.starts, table.stops, strict=True))
        whole = cpool.adaptive_avg_pool2d(x, (1, m))
        assert_same_bits(whole, np.concatenate([cpool.global_avg_pool(x[..., a:b]) for a, b in spans], axis=-1))
        if dtype != "complex64":
            alone = [cpool.global_max_pool(x[..., a:b]) for a, b in spans]
            assert_same_bits(cpool.adaptive_max_pool2d(x, (1, m)), np.concatenate(alone, axis=-1))


@pytest.mark.parametrize("dtype", [*FLOATS, "int8", "uint16", "int64", "complex64"])
def test_few_channels_of_wide_windows_are_what_each_is_alone(dtype, simd):
    """Lanes of which the first have one column more than the others, those that have none, and columns gathered."""
    for channels, n, m in ((3, 230, 5), (2, 64, 2), (5, 191, 2), (3, 100, 3), (7, 33, 1)):
        x = sample(dtype, (2, 21, n, channels), wide=True)
        whole = cpool.adaptive_avg_pool2d(x, (2, m), **LAST)
        alone = [cpool.adaptive_avg_pool2d(x[..., c].copy(), (2, m)) for c in range(channels)]
        assert_same_bits(whole, np.stack(alone, axis=-1))
        assert_same_bits(cpool.adaptive_avg_pool2d(place(x, "sparse"), (2, m), **LAST), whole)


SMALL_PLANES = [
    ((9, 5, 7), (3, 4)),
    ((8, 1, 9), (1, 5)),
    ((17, 8, 9), (5, 7)),
    ((11, 15, 17), (14, 16)),
    ((16, 16, 16), (3, 15)),
    ((13, 3, 2), (5, 4)),
    ((10, 9, 28), (2, 3)),
    ((3, 5, 13, 13), (4, 4)),
    ((2, 7, 14, 14), (13, 13)),
]


@pytest.mark.parametrize("dtype", FLOATS)
def test_small_planes_are_what_each_is_alone(dtype, simd):
    """Eight of them share vectors; alone, and where they don't lie in one piece, they are pooled by their rows."""
    for shape, size in SMALL_PLANES:
        x = sample(dtype, shape, wide=True)
        assert cpool.explain("adaptive_avg_pool", x, size, axes=(-2, -1)).kernel == "planes"
        together = check("adaptive_avg_pool", x, size, axes=(-2, -1))
        cut = np.zeros((*shape[:-1], shape[-1] + 1), x.dtype)[..., :-1]
        cut[...] = x
        in_pieces = "rows" if shape[-2] > 1 else "planes"
        assert cpool.explain("adaptive_avg_pool", cut, size, axes=(-2, -1)).kernel == in_pieces
        assert_same_bits(cpool.adaptive_avg_pool(cut, size, axes=(-2, -1)), together)
        for plane, result in zip(x.reshape(-1, *shape[-2:]), together.reshape(-1, *size), strict=True):
            assert_same_bits(cpool.adaptive_avg_pool(plane, size), result)
        apart = np.full((*together.shape[:-2], 2, *size), -1, together.dtype)
        cpool.adaptive_avg_pool(x, size, axes=(-2, -1), out=apart[..., 0, :, :])
        assert_same_bits(apart[..., 0, :, :].copy(), together)
        assert (apart[..., 1, :, :] == -1).all()
        kernel = (2, 1) if shape[-2] > 1 else (1, 2)
        padding = tuple(k - 1 for k in kernel)
        for options in (
            {"stride": 1, "padding": padding, "dilation": 2},
            {"stride": (1, 2), "padding": "same_lower", "count_include_pad": True},
        ):
            padded = check("avg_pool", x, kernel, axes=(-2, -1), **options)
            assert_same_bits(cpool.avg_pool(x[-1:], kernel, axes=(-2, -1), **options), padded[-1:])
    deep = sample(dtype, (12, 4, 3, 5))
    assert cpool.explain("adaptive_avg_pool", deep, (3, 2, 2), axes=(1, 2, 3)).kernel == "planes"
    check("adaptive_avg_pool", deep, (3, 2, 2), axes=(1, 2, 3))
