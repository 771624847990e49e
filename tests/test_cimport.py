"""`cimport cpool`: an extension is built outside the tree as the documentation says, and pools without the GIL."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import conftest
import numpy as np
import pytest
from helpers import assert_same_bits

import cpool

PAGE = Path(__file__).parent.parent / "docs" / "cimport.md"

# Pools each item of a batch as `run` does it: any operation, any type, with Python's threads or with prange.
BATCHES = """
# cython: language_level=3, boundscheck=False, freethreading_compatible=True
cimport cpool
from cython.parallel cimport prange
import cpool

def pooled(pool_, x, out, int threads):
    cdef cpool.Pool pool = pool_
    cdef const char[::1] source = x.reshape(-1).view("i1")
    cdef char[::1] target = out.reshape(-1).view("i1")
    cdef Py_ssize_t n = x.shape[0], i, x_step = x.nbytes // n, out_step = out.nbytes // n
    cdef int failed = 0
    for i in prange(n, nogil=True, num_threads=threads, schedule="dynamic"):
        failed += pool.run(&source[i * x_step], &target[i * out_step])
    return failed
"""


def blocks(kind: str) -> list[str]:
    if not PAGE.exists():
        pytest.skip("only in the source tree")
    return re.findall(rf"^```{kind}\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both extensions, built there by nothing but the page's setup.py."""
    lacking = [name for name in ("Cython", "setuptools") if importlib.util.find_spec(name) is None]
    if lacking:
        conftest.missing("cython", f"no {' and no '.join(lacking)} to build with")
    folder = tmp_path_factory.mktemp("outside")
    [tiles], [setup] = blocks("cython"), blocks("python")
    (folder / "tiles.pyx").write_text(tiles)
    (folder / "batches.pyx").write_text(BATCHES)
    (folder / "setup.py").write_text(setup.replace('"tiles.pyx"', '"*.pyx"'))
    flags = "-fopenmp" if cpool.show_config(mode="dicts")["build"]["openmp"] == "yes" else ""
    env = {**os.environ, "CFLAGS": f"-O1 -Wall {flags}", "LDFLAGS": flags}
    done = subprocess.run(
        [sys.executable, "setup.py", "build_ext", "--inplace"],
        cwd=folder, env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "cpool" in (folder / "tiles.c").read_text()
    return folder


def imported(folder: Path, name: str) -> ModuleType:
    sys.path.insert(0, str(folder))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(folder))


def test_the_page_as_it_is_written(built):
    tiles = imported(built, "tiles")
    x = np.random.default_rng(0).standard_normal((5, 16, 30, 27), np.float32)
    assert_same_bits(tiles.mean_of_squares(x, 7), cpool.adaptive_avg_pool2d(x * x, 7))
    assert tiles.mean_of_squares(x[:0], 7).shape == (0, 16, 7, 7)


CALLS = [
    ("adaptive_avg_pool2d", (3, 10, 9), "float32", (7,), {}),
    ("adaptive_avg_pool2d", (40, 33, 8), "float16", ((3, 5),), {"data_format": "channels_last"}),
    ("adaptive_avg_pool", (70_001,), "float64", (1,), {}),
    ("avg_pool2d", (3, 31, 40), "uint8", (3, 2, 1), {"count_include_pad": False}),
    ("avg_pool1d", (5, 301), "int64", (4,), {"dtype": np.int64}),
    ("adaptive_max_pool3d", (2, 9, 10, 11), "float32", (4,), {}),
    ("max_pool2d", (4, 700, 800), "float32", (31, 1, 15), {}),
    ("adaptive_avg_pool2d", (3, 5, 4), "float32", (67,), {}),
    ("adaptive_max_pool2d", (5, 4, 3), "int16", ((9, 31),), {"data_format": "channels_last"}),
    ("global_avg_pool", (64, 7, 7), "complex64", (), {"keepdims": False, "data_format": "CHW"}),
]


@pytest.mark.parametrize(("operation", "shape", "dtype", "arguments", "options"), CALLS)
@pytest.mark.parametrize("threads", [1, 3])
def test_the_bits_are_those_of_python(built, operation, shape, dtype, arguments, options, threads):
    batches = imported(built, "batches")
    random = np.random.default_rng(0)
    x = (random.standard_normal((4, *shape)) * 100).astype(dtype)
    pool = cpool.Pool(cpool.prepare(operation, x[0], *arguments, **options))
    out = np.empty((4, *pool.out_shape), pool.out_dtype)
    assert batches.pooled(pool, x, out, threads) == 0
    for image, result in zip(x, out, strict=True):
        wanted = getattr(cpool, operation)(image, *arguments, **options)
        assert_same_bits(result.reshape(wanted.shape), wanted)
    assert (pool.x_shape, pool.x_dtype, pool.x_strides) == (x[0].shape, x.dtype, x[0].strides)
    assert pool.out_strides == out[0].strides


def test_one_pool_for_many_threads(built):
    batches = imported(built, "batches")
    x = np.random.default_rng(0).standard_normal((64, 8, 40, 31), np.float32)
    pool = cpool.Pool(cpool.prepare("adaptive_avg_pool2d", x[0], 7))
    wanted = cpool.adaptive_avg_pool2d(x, 7)
    start = threading.Barrier(4)

    def work(number: int) -> np.ndarray:
        out = np.empty_like(wanted)
        start.wait()
        for _ in range(20):
            out[...] = 0
            batches.pooled(pool, x, out, 1)
        return out

    with ThreadPoolExecutor(4) as threads:
        for out in threads.map(work, range(4)):
            assert_same_bits(out, wanted)


def test_a_pool_outlives_what_made_it(built):
    batches = imported(built, "batches")
    x = np.ones((1, 3, 10, 9), np.float32)
    pool = cpool.Pool(cpool.prepare("adaptive_avg_pool2d", x[0], (7, 5)))
    for n in range(2, 1500):  # more plans than are kept
        cpool.adaptive_avg_pool(np.ones(n), 2)
    out = np.empty((1, 3, 7, 5), np.float32)
    batches.pooled(pool, x, out, 1)
    assert (out == 1).all()
    assert repr(pool) == "<pool adaptive_avg_pool2d: (3, 10, 9) -> (3, 7, 5)>"


def test_what_is_no_pool():
    x = np.ones((3, 10, 9), np.float32)
    for wrong in (None, x, cpool.adaptive_avg_pool2d):
        with pytest.raises(TypeError, match="prepared: got"):
            cpool.Pool(wrong)
    with pytest.raises(ValueError, match="without return_indices"):
        cpool.Pool(cpool.prepare("max_pool2d", x, 2, return_indices=True))
