"""Fixtures of the suite.

Optional parts (a C compiler, torch, onnxruntime, ml_dtypes, an instruction set) are skipped with a
reason where they are missing. CI names what it expects in CPOOL_TEST_REQUIRE ("cc torch avx512"):
then their absence fails. CPOOL_TEST_OPENCL="pocl" adds the devices of the OpenCL platforms that have
this in their name or version to the engines: the first of them, or, with "any", every device there is; that there is
none fails. CPOOL_FUZZ=long fuzzes longer; `-m "not slow"` leaves out what needs gigabytes or many seconds.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import hypothesis
import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    # Several test processes share the processors: threads that spin for work would starve each other.
    # OpenMP reads this when it is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# What somebody once tuned here must not send calls to a device: a folder that isn't there.
os.environ["CPOOL_CACHE_DIR"] = str(Path(__file__).parent / "nothing-measured")

from devices_here import NO_DOUBLES
from devices_here import engines as opencl_engines
from helpers import forget_calls, read_as, required

import cpool
from cpool import cpu

hypothesis.settings.register_profile("quick", max_examples=60, deadline=None)
hypothesis.settings.register_profile("long", max_examples=5000, deadline=None)
hypothesis.settings.load_profile(os.environ.get("CPOOL_FUZZ", "quick"))

SIMD = cpu.simd_available()
EVERY_SIMD = ("avx512", "avx2", "baseline")


@dataclass(frozen=True)
class Engine:
    """Something that pools, and how to make it do so: an instruction set with a number of threads.

    Another backend is another kind of engine, with a name and an `on()`: see devices_here.py.
    """

    simd: str
    threads: int

    def __str__(self) -> str:
        return f"cpu-{self.simd}-t{self.threads}"

    @contextlib.contextmanager
    def on(self) -> Iterator[None]:
        """Everything within the block runs on this engine, and the smallest work is split."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(cpu.force_simd(self.simd))
            stack.enter_context(cpool.threads(self.threads))
            if self.threads > 1:
                stack.enter_context(cpu.force_split())
            yield


ENGINES = [Engine(simd, threads) for simd in EVERY_SIMD for threads in (1, 2, 3)]
EVERY_ENGINE = [*ENGINES, *opencl_engines()]


def missing(name: str, why: str) -> None:
    """Skip, or fail if CI expects this part."""
    if name in required():
        pytest.fail(f"CPOOL_TEST_REQUIRE names {name}, but {why}")
    pytest.skip(why)


@pytest.hookimpl(trylast=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Engines vary fastest, whatever else a test varies: the oracles remember what they found."""
    for name, values in (("engine", EVERY_ENGINE), ("simd", EVERY_SIMD)):
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, values, ids=str, indirect=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Engines that are for some types only are left out of the other tests."""

    def is_for(item: pytest.Item) -> bool:
        params = item.callspec.params if hasattr(item, "callspec") else {}
        types = getattr(params.get("engine"), "types", ())
        return not types or params.get("dtype") in types

    kept = [item for item in items if is_for(item)]
    if len(kept) < len(items):
        config.hook.pytest_deselected(items=[item for item in items if not is_for(item)])
        items[:] = kept


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Each instruction set with 1, 2 and 3 threads, and each OpenCL device; the test runs on it."""
    wanted: Engine = request.param
    if isinstance(wanted, Engine) and wanted.simd not in SIMD:
        missing(wanted.simd, f"this machine or build has no {wanted.simd}")
    with wanted.on():
        yield wanted


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Of calls outside of `check`, too, a device without doubles refuses those that need them."""
    try:
        yield
    except cpool.BackendUnavailable as error:
        wanted = getattr(item, "callspec", None) and item.callspec.params.get("engine")
        if isinstance(wanted, Engine) or wanted is None or "has no doubles" not in str(error):
            raise
        assert wanted.refuses_doubles()
        pytest.skip(NO_DOUBLES)


@pytest.fixture
def simd(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each instruction set, on one thread; the test runs on it."""
    if request.param not in SIMD:
        missing(request.param, f"this machine or build has no {request.param}")
    with Engine(request.param, 1).on():
        yield request.param


@pytest.fixture
def read(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Small inputs are read as those within the caches ("near") or as those beyond them ("far")."""
    read_as(monkeypatch, request.param == "far")
    yield
    monkeypatch.undo()
    forget_calls()


@pytest.fixture(autouse=True)
def nothing_leaks() -> Iterator[None]:
    """No test leaves threads, an instruction set or our environment variables behind."""

    def state() -> tuple[int | None, int, str, dict[str, str]]:
        ours = {k: v for k, v in os.environ.items() if k.startswith(("CPOOL_", "OMP_"))}
        return cpu._chosen, cpool.get_num_threads(), cpu.simd(), ours

    before = state()
    yield
    assert state() == before


@pytest.fixture
def without_pyopencl(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if PyOpenCL were not installed."""
    for name in [m for m in sys.modules if m.startswith("cpool.opencl")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(vars(cpool), "opencl", raising=False)
    monkeypatch.setitem(sys.modules, "pyopencl", None)


@pytest.fixture
def module() -> Callable[[str], ModuleType]:
    """`module("torch")` imports an optional package, or skips."""

    def get(name: str) -> ModuleType:
        try:
            return importlib.import_module(name)
        except ImportError as error:
            missing(name, f"{name} is not installed: {error}")
            raise

    return get


@pytest.fixture(scope="session")
def native_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """tests/native/native.c as a shared library."""
    compiler = os.environ.get("CC", "cc").split()
    if shutil.which(compiler[0]) is None:
        missing("cc", f"no C compiler {compiler[0]!r}")
    source = Path(__file__).parent / "native" / "native.c"
    library = tmp_path_factory.mktemp("native") / "native.so"
    # plain options only: -ffast-math and the like come from nowhere but the code itself
    subprocess.run([*compiler, "-O1", "-shared", "-fPIC", "-o", library, source], check=True)
    return library


@pytest.fixture(scope="session")
def native(native_path: Path) -> ctypes.PyDLL:
    """The C helpers that read and set the floating-point mode, called with the GIL held."""
    library = ctypes.PyDLL(str(native_path))
    if not library.native_has_mode():
        pytest.skip("the mode of this processor can't be set here")
    return library
