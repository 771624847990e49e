"""Promises 4 and 6: kernels read and write their arrays and nothing else, and keep no copies.

Arrays lie between pages that nobody may touch, on pages that nobody may write: one byte too far, or
one byte written to an input, ends the process.
"""

from __future__ import annotations

import ctypes
import gc
import math
import mmap
import signal
import sys
import time
import tracemalloc
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from helpers import DTYPES, FLOATS, LAYOUTS, ROOT, assert_same_bits, call, check, place, python, run_python, sample
from numpy._core import _multiarray_umath
from numpy._core.multiarray import get_handler_name

import cpool
from cpool import _kernels, cpu

if not hasattr(ctypes.CDLL(None), "mprotect"):
    pytest.skip("no mprotect on this system", allow_module_level=True)

PAGE = mmap.PAGESIZE
LIBC = ctypes.CDLL(None, use_errno=True)
NONE, READ, WRITE = 0, 1, 3


def protect(address: int, size: int, how: int) -> None:
    if LIBC.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(size), how):
        raise OSError(ctypes.get_errno(), "mprotect")


class Rows:
    """Runs of `size` bytes, each on pages of its own that begin or end, to the byte, at a forbidden page."""

    def __init__(self, rows: int, size: int, at_end: bool) -> None:
        self.room = -(-max(size, 1) // PAGE) * PAGE
        self.stride = self.room + PAGE
        self.rows = rows
        self.map = mmap.mmap(-1, PAGE + rows * self.stride)
        self.base = ctypes.addressof(ctypes.c_char.from_buffer(self.map))
        self.first = PAGE + (self.room - size if at_end else 0)
        protect(self.base, PAGE, NONE)
        for row in range(rows):
            protect(self.base + PAGE + row * self.stride + self.room, PAGE, NONE)

    def freeze(self) -> None:
        """From here on a write to any row ends the process."""
        for row in range(self.rows):
            protect(self.base + PAGE + row * self.stride, self.room, READ)

    def array(self, shape: tuple[int, ...], dtype: np.dtype, strides: tuple[int, ...], offset: int = 0) -> np.ndarray:
        return np.ndarray(shape, dtype, self.map, self.first + offset, strides)


def guarded(x: np.ndarray, *, run: int, at_end: bool, freeze: bool = True) -> np.ndarray:
    """A copy of x whose last `run` axes are contiguous, each such run between forbidden pages."""
    split = x.ndim - run
    size = math.prod(x.shape[split:]) * x.itemsize
    rows = Rows(math.prod(x.shape[:split]), size, at_end)
    strides = np.empty(x.shape, x.dtype).strides[split:]
    step = rows.stride
    for n in reversed(x.shape[:split]):
        strides = (step, *strides)
        step *= n
    placed = rows.array(x.shape, x.dtype, strides)
    placed[...] = x
    if freeze:
        rows.freeze()
    return placed


def guarded_view(x: np.ndarray, steps: tuple[int, ...], *, at_end: bool) -> np.ndarray:
    """A copy of x with `steps[a]` elements' room along each axis (negative: flipped); its outermost
    elements touch the forbidden pages, and what lies beyond them is not there."""
    dense = [1] * x.ndim
    for a in reversed(range(x.ndim - 1)):
        dense[a] = dense[a + 1] * x.shape[a + 1] * abs(steps[a + 1])
    strides = tuple(d * s * x.itemsize for d, s in zip(dense, steps, strict=True))
    reach = [(n - 1) * s for n, s in zip(x.shape, strides, strict=True)]
    low, high = sum(min(r, 0) for r in reach), sum(max(r, 0) for r in reach) + x.itemsize
    rows = Rows(1, high - low, at_end)
    placed = rows.array(x.shape, x.dtype, strides, -low)
    placed[...] = x
    rows.freeze()
    return placed


SHAPES = [
    ((1, 3, 7, 5), [(2, 3), (5, 4)]),
    ((2, 1, 9, 17), [(7, 5), 1]),
    ((1, 5, 3, 33), [(2, 32), (1, 7)]),
    ((1, 17, 4, 9), [(3, 2), 1]),
    ((1, 2, 2, 63), [(1, 5), (2, 9)]),
    ((1, 65, 3, 2), [(2, 1), 1]),
    ((1, 1, 1, 131), [(1, 33), 1]),
    ((2, 3, 8, 16), [(4, 8), (None, 4), None]),
]


def near_and_far(types: Iterable[str]) -> list[tuple[str, str]]:
    """Each type, and, of every kind of sums one, as if it came from beyond the caches."""
    return [*((dtype, "near") for dtype in types), *((dtype, "far") for dtype in ("float32", "float64", "uint8"))]


def pool_into_guards(x: np.ndarray, size: object, expected: np.ndarray, at_end: bool, **options: object) -> None:
    """The call with an `out` that is guarded, too."""
    out = guarded(np.zeros_like(expected), run=1, at_end=at_end, freeze=False)
    assert cpool.adaptive_avg_pool2d(x, size, out=out, **options) is out
    assert_same_bits(out, expected)
    whole = guarded(np.zeros_like(expected), run=out.ndim, at_end=at_end, freeze=False)
    cpool.adaptive_avg_pool2d(x, size, out=whole, **options)
    assert_same_bits(whole, expected)


@pytest.mark.parametrize("at_end", [True, False], ids=["end", "start"])
@pytest.mark.parametrize(("dtype", "read"), near_and_far(DTYPES), indirect=["read"])
def test_whole_arrays_between_guards(dtype, at_end, read, simd):
    for shape, sizes in SHAPES:
        for last in (False, True):
            x = sample(dtype, shape)
            x = np.moveaxis(x, 1, -1).copy() if last else x
            options = {"data_format": "channels_last" if last else "channels_first"}
            placed = guarded(x, run=x.ndim, at_end=at_end)
            for size in sizes:
                expected = cpool.adaptive_avg_pool2d(x, size, **options)
                assert_same_bits(cpool.adaptive_avg_pool2d(placed, size, **options), expected)
                pool_into_guards(placed, size, expected, at_end, **options)


@pytest.mark.parametrize("at_end", [True, False], ids=["end", "start"])
@pytest.mark.parametrize(("dtype", "read"), near_and_far(DTYPES), indirect=["read"])
def test_every_row_between_guards(dtype, at_end, read, simd):
    """Not even the middle of an array is read where there is no element."""
    for shape, sizes in SHAPES:
        for last, run in ((False, 1), (False, 2), (True, 1), (True, 2)):
            x = sample(dtype, shape)
            x = np.moveaxis(x, 1, -1).copy() if last else x
            options = {"data_format": "channels_last" if last else "channels_first"}
            placed = guarded(x, run=run, at_end=at_end)
            for size in sizes:
                result = check("adaptive_avg_pool2d", placed, size, compare_reference=False, **options)
                out = guarded(np.zeros_like(result), run=1, at_end=at_end, freeze=False)
                assert_same_bits(cpool.adaptive_avg_pool2d(placed, size, out=out, **options), result)


@pytest.mark.parametrize("at_end", [True, False], ids=["end", "start"])
@pytest.mark.parametrize("dtype", [*FLOATS, "uint8", "int16", "int32", "int64", "complex64"])
def test_views_between_guards(dtype, at_end, simd):
    for shape, sizes in SHAPES:
        x = sample(dtype, shape)
        for steps in ((1, 1, 1, 2), (1, 1, 1, -1), (1, 2, -1, 1), (-1, 1, 3, 3), (1, 1, 2, 17), (1, -2, 1, -3)):
            placed = guarded_view(x, steps, at_end=at_end)
            other_order = placed.transpose(0, 2, 3, 1)
            for size in sizes:
                check("adaptive_avg_pool2d", placed, size, compare_reference=False)
                cpool.adaptive_avg_pool2d(other_order, 1, data_format="channels_last")
                cpool.adaptive_avg_pool(placed, 1, axes=(0, 1))
                cpool.adaptive_avg_pool(placed, 1)


STRIDED = [
    (3, {"stride": 2, "padding": 1, "ceil_mode": True}),
    (2, {"stride": 1, "padding": (0, 1), "dilation": (1, 2)}),
    ((3, 2), {"stride": (1, 3)}),
    (2, {"stride": 2, "padding": "same_lower"}),
    (1, {"stride": 3}),
]


@pytest.mark.parametrize("at_end", [True, False], ids=["end", "start"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "uint8", "int64"])
def test_strided_windows_between_guards(dtype, at_end, simd):
    for shape in ((2, 3, 7, 11), (1, 17, 5, 33), (1, 1, 9, 131)):
        x = sample(dtype, shape)
        for size, options in STRIDED:
            expected = cpool.avg_pool2d(x, size, **options)
            for run in (4, 1):
                placed = guarded(x, run=run, at_end=at_end)
                out = guarded(np.zeros_like(expected), run=1, at_end=at_end, freeze=False)
                assert_same_bits(cpool.avg_pool2d(placed, size, out=out, **options), expected)
            last = guarded(np.moveaxis(x, 1, -1), run=1, at_end=at_end)
            cpool.avg_pool2d(last, size, data_format="channels_last", **options)


@pytest.mark.parametrize("at_end", [True, False], ids=["end", "start"])
@pytest.mark.parametrize(
    ("dtype", "read"),
    near_and_far(["float32", "float64", "float16", "uint8", "int32", "uint64"]),
    indirect=["read"],
)
def test_long_windows_between_guards(dtype, at_end, read, engine):
    for operation, shape, size in (
        ("adaptive_avg_pool1d", (1, 70_001), 1),
        ("adaptive_avg_pool1d", (2, 3001), (2,)),
        ("adaptive_avg_pool2d", (1, 257, 259), 1),
        ("adaptive_avg_pool2d", (3, 37, 131), (2, 1)),
        ("adaptive_avg_pool2d", (65, 67, 3), (7, 2)),
    ):
        x = sample(dtype, shape)
        assert_same_bits(call(operation, guarded(x, run=x.ndim, at_end=at_end), size), call(operation, x, size))
        if len(shape) == 3:
            call(operation, guarded(x, run=1, at_end=at_end), size)
            call(operation, guarded(x, run=2, at_end=at_end), size, data_format="channels_last")


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint8", "int64", "complex64"])
def test_what_lies_around_out_stays(dtype, engine):
    for layout in ("contiguous", "channels_last", "sparse"):
        x = place(sample(dtype, (3, 5, 11, 13)), layout)
        for size in ((7, 5), (3, 13), 1, (11, None)):
            expected = cpool.adaptive_avg_pool2d(x, size)
            n, c, h, w = expected.shape
            for step, axis in ((1, 3), (2, 3), (2, 2), (3, 1)):
                room = np.full((n + 2, c * 3 + 2, h * 2 + 2, w * 2 + 9), 77, expected.dtype)
                cut = [slice(1, 1 + n), slice(1, 1 + c), slice(1, 1 + h), slice(4, 4 + w)]
                cut[axis] = slice(1, 1 + step * expected.shape[axis], step)
                out = room[tuple(cut)]
                cpool.adaptive_avg_pool2d(x, size, out=out)
                np.testing.assert_array_equal(out, expected)
                out[...] = 77
                assert (room == 77).all(), "something beside out was written"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_inputs_stay_as_they_are_and_may_be_read_only(layout, engine):
    for dtype in ("float32", "float64", "uint8", "float16", ">f4"):
        x = place(sample(np.dtype(dtype), (2, 3, 10, 9)), layout)
        before = x.tobytes()
        expected = cpool.adaptive_avg_pool2d(x, (7, 5))
        x.flags.writeable = False
        assert_same_bits(cpool.adaptive_avg_pool2d(x, (7, 5)), expected)
        out = np.empty_like(expected)
        cpool.adaptive_avg_pool2d(x, (7, 5), out=out)
        assert x.tobytes() == before


# ---- how much memory a call takes ------------------------------------------------------------------------

PEAK = """
import resource
import numpy as np, cpool
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
x = {make}
assert x.nbytes > 60 * 2**20
with cpool.threads(2):
    cpool.adaptive_avg_pool2d(x[:, :1], 7)  # threads and their stacks
    before = peak()
    for size in ((7, 5), (1, 500), 1, (500, 1)):
        cpool.adaptive_avg_pool2d(x, size)
    cpool.avg_pool2d(x, 9, 8, 4)
    cpool.adaptive_avg_pool(x, 1)
print((peak() - before) / 2**20)
"""

BIG = {
    "contiguous": "np.ones((4, 4, 1023, 1021), np.float32)",
    "last": "np.ones((4, 1023, 1021, 4), np.float32).transpose(0, 3, 1, 2)",
    "every other column": "np.ones((4, 4, 1023, 2042), np.float32)[..., ::2]",
    "reversed": "np.ones((4, 4, 1023, 1021), np.float32)[:, ::-1, ::-1, ::-1]",
    "transposed": "np.ones((4, 4, 1021, 1023), np.float32).transpose(1, 0, 3, 2)",
    "batch innermost": "np.ones((4, 1023, 1021, 4), np.float32).transpose(3, 0, 1, 2)",
    "other byte order": "np.ones((4, 4, 1023, 1021), '>f4')",
    "half": "np.ones((8, 4, 1023, 1021), np.float16)",
    "double": "np.ones((2, 4, 1023, 1021), np.float64)",
    "bytes": "np.ones((8, 8, 1023, 1021), np.uint8)",
    "complex": "np.ones((2, 4, 1023, 1021), np.complex64)",
}


PAIRS = """
import resource
import numpy as np, cpool
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
x = np.ones({shape}, np.float32){turned}
pair = cpool.max_pool2d(x, 2, 1, return_indices=True)
assert sum(part.nbytes for part in pair) > 60 * 2**20
prepared = cpool.prepare("max_pool2d", x, 2, 1, return_indices=True)
layer = cpool.nn.MaxPool2d(2, 1, return_indices=True)
small = np.zeros((1, 1, 3, 3), np.float32)
layer(small), layer(small)
before = peak()
for _ in range(3):
    cpool.max_pool2d(x, 2, 1, return_indices=True, out=pair)
    prepared(x, out=pair)
    layer(x, pair)
print((peak() - before) / 2**20)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts resident pages as Linux does")
@pytest.mark.parametrize(
    ("shape", "turned"),
    [((2, 3, 1023, 1021), ""), ((2, 1023, 1021, 3), ".transpose(0, 3, 1, 2)")],
    ids=["contiguous", "last"],
)
def test_a_pair_is_written_where_it_lies(shape, turned):
    """Computed aside, it would take 70 MiB."""
    grown = float(run_python(PAIRS.format(shape=shape, turned=turned)))
    assert grown < 12, f"{grown:.0f} MiB"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts resident pages as Linux does")
@pytest.mark.parametrize("make", BIG)
def test_a_call_takes_little_memory(make):
    """A hidden copy of the input, or of it in float64, would take more than 60 MiB."""
    grown = float(run_python(PEAK.format(make=BIG[make])))
    assert grown < 12, f"{grown:.0f} MiB"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts resident pages as Linux does")
def test_the_rows_of_a_large_window_are_listed_piece_by_piece():
    """Rows that can't be joined: a list of all of them would take 24 MB, for each thread."""
    grown = run_python("""
import resource
import numpy as np, cpool
x = np.ones((3_000_000, 3), np.float32)[:, :2]
small = np.ones((300_000, 3), np.float32)[:, :2]
cpool.adaptive_avg_pool(small, 1), cpool.adaptive_max_pool(small, 1, return_indices=True)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
x[-1, 1] = 3
assert cpool.adaptive_avg_pool(x, 1)[0, 0] == np.float32(1 + 2 / x.size)
assert cpool.adaptive_max_pool(x, 1, return_indices=True)[1][0, 0] == x.size - 1
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
""")
    assert float(grown) < 6, f"{grown} MiB"


def test_cropping_costs_no_more_than_the_crop():
    """Each block of a large window looks at its own rows alone: at all of them it takes a hundred times as long."""
    x = np.ones((300, 1000, 100), np.uint8)

    def quickest(x):
        times = []
        for _ in range(5):
            begun = time.perf_counter()
            cpool.adaptive_avg_pool(x, 1)
            times.append(time.perf_counter() - begun)
        return min(times)

    assert quickest(x[..., 1:-1]) < 20 * quickest(x)


def test_calls_leave_nothing_behind():
    run_python(
        """
import gc, resource, sys
import numpy as np, cpool
x = np.ones((2, 3, 30, 31), np.float32)
big = np.ones((2, 30, 300, 310), np.float32)
out = np.empty((2, 3, 7, 5), np.float32)
prepared = cpool.prepare("adaptive_avg_pool2d", x, (7, 5))
def work(times):
    for i in range(times):
        cpool.adaptive_avg_pool2d(x, (7, 5))
        cpool.adaptive_avg_pool2d(x, (7, 5), out=out)
        cpool.avg_pool2d(x[:, :, 1:], 3, 2, 1)
        prepared(x)
        prepared(x, out=out)
        try:
            cpool.adaptive_avg_pool2d(x, -1)
        except ValueError:
            pass
        if i % 50 == 0:
            cpool.global_avg_pool(big)
            cpool.adaptive_avg_pool2d(big, (7, 5))
def counts():
    gc.collect()
    return [sys.getrefcount(o) for o in (x, out, x.dtype, np.dtype(np.float32), big, prepared)]
work(300)
before, size = counts(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
work(2000)
after = counts()
assert max(abs(a - b) for a, b in zip(before, after)) < 20, (before, after)
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - size
assert grown < 4096, f"{grown} KiB"
"""
    )


def test_a_guard_guards():
    """The guards of this file must kill: else nothing above means anything."""
    code = f"""
import sys
import tracemalloc
sys.path.insert(0, {str(ROOT)!r})
import numpy as np
from test_memory import guarded
x = guarded(np.ones((2, 3)), run=1, at_end={{at_end}}, freeze={{freeze}})
assert (x == 1).all()
print("placed", flush=True)
{{touch}}
"""
    further = "np.lib.stride_tricks.as_strided(x[0], (4,)).sum()"
    for at_end, freeze, touch, dies in (
        (True, True, further, True),
        (True, False, "x[0, 0] = 3", False),
        (True, True, "x[0, 0] = 3", True),
        (False, True, "np.lib.stride_tricks.as_strided(x[1, ::-1], (4,)).sum()", True),
    ):
        done = python(code.format(at_end=at_end, freeze=freeze, touch=touch))
        assert "placed" in done.stdout, done.stderr
        assert done.returncode == (-signal.SIGSEGV if dies else 0)


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
def test_threads_share_no_scratch(dtype):
    """The rows of one plane on three threads, in guarded memory, again and again."""
    x = guarded(sample(dtype, (2, 5, 33, 65)), run=1, at_end=True)
    expected = cpool.adaptive_avg_pool2d(x, (7, 33))
    with cpool.threads(3), cpu.force_split():
        for _ in range(200):
            assert_same_bits(cpool.adaptive_avg_pool2d(x, (7, 33)), expected)


# ---- nothing is allocated before an error -----------------------------------------------------------------------

MANY = 2**22  # windows: tables of them take 96 MB


def refusals():
    x = np.broadcast_to(np.float32(1), (MANY,))
    small = np.ones(4, np.float32)
    wide = np.broadcast_to(np.float32(1), (1, MANY))
    grad = np.broadcast_to(np.float32(1), (MANY - 1,))
    frozen = np.broadcast_to(np.float32(0), (MANY,))
    yield "dtype", cpool.adaptive_avg_pool, (small, MANY), {"dtype": "int8"}
    yield "dtype", cpool.adaptive_avg_pool, (x, None), {"dtype": "V3"}
    yield "dtype", cpool.avg_pool, (x, 3, 1), {"dtype": "int8"}
    yield "dtype", cpool.avg_pool1d, (wide, 3, 1), {"dtype": "int8"}
    for out in (np.empty(3), frozen[:5], frozen):
        yield "out", cpool.adaptive_avg_pool, (small, MANY), {"out": out}
        yield "out", cpool.adaptive_max_pool, (small, MANY), {"out": out}
        yield "out", cpool.avg_pool, (x, 1, 1), {"out": out}
        yield "out", cpool.max_pool, (x, 1, 1), {"out": out}
        yield "out", cpool.adaptive_avg_pool_backward, (x, (7,)), {"out": out}
        yield "out", cpool.avg_pool_backward, (x, (MANY,), 1, 1), {"out": out}
        yield "out", cpool.adaptive_max_pool, (small, MANY, True), {"out": (out, out)}
        yield "out", cpool.adaptive_max_pool, (small, MANY, True), {"out": (out, np.empty(3, np.int64))}
    yield "out", cpool.max_pool, (x, 1, 1), {"out": np.empty(MANY, np.int8)[:5]}
    yield "output_size", cpool.adaptive_avg_pool, (small, 2**31), {}
    yield "output_size", cpool.adaptive_avg_pool, (small, 2**62), {}
    yield "x", cpool.avg_pool, (np.broadcast_to(np.int8(1), (2**31 - 2, 2**31 - 2)), 1, 1), {}
    yield "kernel_size", cpool.avg_pool, (np.broadcast_to(np.int8(1), (2**23, 2**39)), (2**15, 2**39), (1, 2**39)), {}
    yield "padding", cpool.avg_pool, (small, 2, 1), {"padding": ((MANY, MANY),), "dilation": MANY}
    yield "padding", cpool.avg_pool, (small, MANY, 1), {"padding": ((0, 2 * MANY),)}
    yield "stride", cpool.avg_pool, (np.broadcast_to(np.int8(1), (2**40,)), 1), {}
    yield "grad", cpool.avg_pool_backward, (grad, (MANY,), 1, 1), {}
    yield "grad", cpool.adaptive_avg_pool2d_backward, (np.ones((1, 2, 3)), (2, MANY, MANY)), {}
    yield "input_shape", cpool.avg_pool_backward, (grad, (2**40, 2**40), 1, 1), {}
    yield "indices", cpool.adaptive_max_pool_backward, (grad, np.zeros(3, int), (MANY,)), {}


REFUSALS = [pytest.param(*case, id=f"{case[1].__name__}-{case[0]}-{i}") for i, case in enumerate(refusals())]


@pytest.mark.parametrize(("argument", "function", "arguments", "options"), REFUSALS)
def test_nothing_is_allocated_before_an_error(argument, function, arguments, options):
    refused = [lambda: function(*arguments, **options)]
    if "backward" not in function.__name__:
        refused.append(lambda: cpool.prepare(function, *arguments, **options))
        refused.append(lambda: cpool.explain(function, *arguments, **options))
    for run in refused:
        tracemalloc.start()
        try:
            with pytest.raises((ValueError, TypeError), match=rf"^{argument}: got"):
                run()
            assert tracemalloc.get_traced_memory()[1] < 2**20
        finally:
            tracemalloc.stop()


# ---- the memory of large results ------------------------------------------------------------------------

MOST = _kernels.kept_memory()[1]
keeps = pytest.mark.skipif(not MOST, reason="this system can't keep memory that it may take back")
LARGE = (1, 9, 1024, 1024)  # floats


def large_gradient(value: float = 1.0) -> np.ndarray:
    return cpool.adaptive_avg_pool2d_backward(np.full((*LARGE[:2], 1, 1), value * 2.0**20, np.float32), LARGE)


@keeps
@pytest.mark.parametrize("small", [False, True])
def test_large_results_take_what_others_left(small):
    """Of several operations; alive ones never share it, and NumPy sees arrays like any other."""
    shape = (1, 9, 96, 96) if small else LARGE
    x = np.ones(shape, np.float32)
    weights = np.ones((1, 9)), np.zeros(1), np.zeros((9, 1)), np.full(9, 40.0)
    places = np.broadcast_to(np.arange(x.size // 9).reshape(shape[2:]), shape)
    calls = (
        lambda: cpool.adaptive_avg_pool2d_backward(np.full((*shape[:2], 1, 1), math.prod(shape[2:]), "f"), shape),
        lambda: cpool.avg_pool2d(x, 1),
        lambda: cpool.max_pool2d(x, 3, 1, 1),
        lambda: cpool.squeeze_excite(x, *weights),
        lambda: cpool.max_pool2d_backward(x, places, shape),
    )
    for each in calls:
        first, second = each(), each()
        for result in (first, second):
            assert result.flags.owndata
            assert result.base is None
            assert ("cpool" in get_handler_name(result)) is not small
            assert (result == 1).all()
        assert not np.shares_memory(first, second)
        del result
        if not small:
            waiting, where = _kernels.kept_memory()[0], first.ctypes.data
            del first
            assert _kernels.kept_memory()[0] > waiting
            third = each()
            assert third.ctypes.data == where
            assert (third == 1).all()
            assert (second == 1).all()
    assert get_handler_name() == "default_allocator"


@keeps
def test_what_is_kept_is_bounded():
    """In bytes and in blocks; what is much larger than what is asked for waits for others."""
    byte = np.dtype(np.uint8)

    def new(size: int) -> np.ndarray:
        return _kernels.empty(byte, (size,), (1,))

    for size in (MOST // 3, MOST // 3, MOST // 3, MOST // 3, MOST - 2**20, MOST + 1, *range(2**26, 2**27, 2**22)):
        new(size)
        assert _kernels.kept_memory()[0] <= MOST, size
    some = [new(2**26) for _ in range(10)]
    some.clear()
    assert _kernels.kept_memory()[0] < 5 * (2**26 + 2**22)
    new(2**28)
    where = new(2**28).ctypes.data
    assert new(2**27).ctypes.data != where
    assert new(2**28 - 2**20).ctypes.data == where


@keeps
def test_large_results_are_known_to_tracemalloc_and_can_be_resized():
    large_gradient()
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        result = large_gradient()
        held = tracemalloc.get_traced_memory()[0] - before
        assert abs(held - result.nbytes) < 2**20
        for shape in ((1, 10, 1024, 1024), (7, 1024)):  # zeros where there were none
            n = min(math.prod(shape), result.size)
            result.resize(shape, refcheck=False)
            assert (result.ravel()[:n] == 1).all()
            assert not result.ravel()[n:].any()
        result.resize((0,), refcheck=False)
        del result
        assert tracemalloc.get_traced_memory()[0] - before < 2**20
    finally:
        tracemalloc.stop()


SHORT_OF_MEMORY = """
import resource
import numpy as np
from cpool import _kernels
byte = np.dtype("u1")
def new(size):
    return _kernels.empty(byte, (size,), (1,))
new(3 * 2**26)
assert _kernels.kept_memory()[0] >= 3 * 2**26
with open("/proc/self/statm") as told:
    used = int(told.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**26, resource.RLIM_INFINITY))
assert new(7 * 2**25).size == 7 * 2**25
try:
    new(2**40)
except MemoryError as error:
    print("MemoryError", _kernels.kept_memory()[0])
"""


@keeps
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of Linux")
@pytest.mark.skipif(MOST < 2**28, reason="little memory is kept here")
def test_what_is_kept_gives_way():
    """Where the system gives no more, to a result that it is too small for; what is too much is Python's own error."""
    assert run_python(SHORT_OF_MEMORY).split() == ["MemoryError", "0"]


class Handler(ctypes.Structure):
    """NumPy's PyDataMem_Handler, version 1."""

    Allocate = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
    Free = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
    _fields_ = (
        ("name", ctypes.c_char * 127),
        ("version", ctypes.c_uint8),
        ("context", ctypes.c_void_p),
        ("malloc", Allocate),
        ("others", ctypes.c_void_p * 2),
        ("free", Free),
    )


@keeps
def test_a_memory_that_the_user_chose_is_used():
    libc, api = ctypes.CDLL(None), ctypes.pythonapi
    libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = (
        ctypes.c_void_p,
        [ctypes.c_size_t],
        [ctypes.c_void_p],
    )
    api.PyCapsule_GetPointer.restype = ctypes.POINTER(ctypes.c_void_p)
    api.PyCapsule_GetPointer.argtypes = ctypes.py_object, ctypes.c_char_p
    api.PyCapsule_New.restype = ctypes.py_object
    api.PyCapsule_New.argtypes = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p
    table = api.PyCapsule_GetPointer(_multiarray_umath._ARRAY_API, None)
    set_handler = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)(table[304])
    mine = Handler(
        name=b"of the user",
        version=1,
        malloc=Handler.Allocate(lambda _, size: libc.malloc(size)),
        free=Handler.Free(lambda _, memory, size: libc.free(memory)),
    )
    before = set_handler(api.PyCapsule_New(ctypes.addressof(mine), b"mem_handler", None))
    try:
        result = large_gradient()
        assert get_handler_name(result) == get_handler_name() == "of the user"
        assert (result == 1).all()
        del result
    finally:
        set_handler(before)
    assert "cpool" in get_handler_name(large_gradient())


@keeps
def test_results_of_many_threads_at_once():
    """Those that die in one may be another's."""

    def work(value: int) -> bool:
        return all(bool((large_gradient(value) == value).all()) for _ in range(10))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(1, 9)))
