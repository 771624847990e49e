"""The asv suite: every benchmark runs, and no operation of cpool's is without one."""

from __future__ import annotations

import importlib
import inspect
import itertools
import json
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import conftest
import pytest

import cpool
from cpool import cpu

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
if not BENCHMARKS.is_dir():
    pytest.skip("the tests are run without the source tree", allow_module_level=True)
sys.path.insert(0, str(BENCHMARKS))

from bench_site import configuration  # noqa: E402
from harness import counted  # noqa: E402
from harness.adapters import PEERS  # noqa: E402
from harness.cases import missing_type  # noqa: E402
from harness.judged import JUDGED, MOST, PLANTED, REPORTED  # noqa: E402
from harness.machine import version  # noqa: E402
from harness.words import ALL, DIVISIBLE, DIVISIONS, ONE  # noqa: E402
from suite import measures, operations, regime  # noqa: E402

MODULES = sorted(path.stem for path in (BENCHMARKS / "suite").glob("[!_]*.py"))
KINDS = ("time_", "track_", "peakmem_")
SMALL = 2**20  # elements: larger rows are run once for each division, not with every parameter


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    """Benchmarks say how many threads they want, and leave it at that."""
    before = cpu._chosen
    yield
    cpu._chosen = before


def classes() -> Iterator[type]:
    """The classes in which asv finds benchmarks: all that a module holds, imported ones too."""
    for name in MODULES:
        for found in vars(importlib.import_module(f"suite.{name}")).values():
            if (
                inspect.isclass(found)
                and not inspect.isabstract(found)
                and any(n.startswith(KINDS) for n in dir(found))
            ):
                yield found


CLASSES = list(classes())


def chosen(benchmark: type) -> Iterator[tuple[Any, ...]]:
    """The parameters that are tried: of large rows, one thread and one layout."""
    seen = set()
    for params in itertools.product(*getattr(benchmark, "params", ())):
        if issubclass(benchmark, regime.Regime) and params[1] in benchmark.shapes[params[0]]:  # type: ignore[index]
            row = benchmark.shapes[params[0]][params[1]]  # type: ignore[index]
            if math.prod(row.shape) > SMALL and (params[:2] in seen or params[-1] == ALL):
                continue
            seen.add(params[:2])
        yield params


def why_not(benchmark: type, params: tuple[Any, ...]) -> str | None:
    """Why this machine may leave out what it leaves out; None if nothing may be."""
    if issubclass(benchmark, regime.Regime) and params[1] not in benchmark.shapes[params[0]]:  # type: ignore[index]
        return "no such case"
    if benchmark is operations.EveryOperation and params[1] not in operations.ROWS[params[0]]:
        return "divides everything"
    if params and params[-1] == "opencl":
        return "no OpenCL device"
    if "bfloat16" in params:
        return missing_type("bfloat16")
    if benchmark is measures.Stamp:
        return lacking(params[0])
    if issubclass(benchmark, measures.Against):
        return next(peer for peer in PEERS if peer.name == benchmark.peer).missing()
    return counted.missing() if benchmark is measures.Instructions else None


def lacking(what: str) -> str | None:
    """Why there may be no figure of this kind in a stamp."""
    if what == "OpenCL devices":
        return None if regime.DEVICES else "no OpenCL device"
    return f"no {what}" if what in ("numpy", "Cython", "pyopencl") and version(what) is None else None


@pytest.mark.parametrize("benchmark", CLASSES, ids=lambda found: f"{found.__module__}.{found.__name__}")
def test_every_benchmark_runs_and_its_result_is_right(benchmark: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    assert run(benchmark)


def run(benchmark: type) -> int:
    """Run what asv would, once; how many runs there were, or were left out for a reason."""
    tried = 0
    cached = [benchmark().setup_cache()] if hasattr(benchmark, "setup_cache") else []
    for params in chosen(benchmark):
        for method in (name for name in dir(benchmark) if name.startswith(KINDS)):
            instance = benchmark()
            reason = why_not(benchmark, params)
            if reason is not None:  # asv skips what says so while it is set up, and only then
                with pytest.raises(NotImplementedError):
                    instance.setup(*cached, *params)
            else:
                if hasattr(instance, "setup"):
                    instance.setup(*cached, *params)
                figure = getattr(instance, method)(*cached, *params)
                assert not method.startswith("track_") or figure > 0
            if hasattr(instance, "teardown"):
                instance.teardown(*cached, *params)
            tried += 1
    regime.ready.cache_clear()
    return tried


def stamped(what: str) -> float:
    stamp = measures.Stamp()
    stamp.setup(what)
    return stamp.track_stamp(what)


def test_a_stamp_tells_what_is_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, size in {"avx512": 64, "avx2": 32, "baseline": 16}.items():
        monkeypatch.setattr(cpool, "show_config", lambda mode, name=name: {"simd": {"used": name}})
        assert stamped("bytes of a vector") == size
    monkeypatch.setattr(measures, "version", lambda package: "2.10.1")
    assert stamped("numpy") == 2.10


def test_no_benchmark_is_found_twice() -> None:
    assert len(set(CLASSES)) == len(CLASSES) > 25


def test_every_public_operation_has_its_benchmark() -> None:
    public = {
        name
        for name in cpool.__all__
        if name.removesuffix("_backward").rstrip("123d").endswith("_pool") or name == "squeeze_excite"
    }
    assert len(public) == 37
    assert set(operations.ROWS) == public


def test_it_runs_in_both_divisions_and_layouts_and_on_each_backend() -> None:
    tried = set(itertools.product(*operations.EveryOperation.params))
    backends = (*regime.HOST, *regime.DEVICES)
    assert len(regime.DEVICES) == len(cpool.devices()) - 1
    for operation, rows in operations.ROWS.items():
        whole = operation.startswith("global") or operation == "squeeze_excite"  # a plane becomes a number
        assert set(rows) == ({DIVISIBLE} if whole else set(DIVISIONS)), operation
        assert set(itertools.product([operation], rows, regime.LAYOUTS, backends)) <= tried


def test_what_is_called_divisible_is() -> None:
    for benchmark in CLASSES:
        if not issubclass(benchmark, regime.Regime) or benchmark.__name__ == "Upsampling":
            continue
        for rows in benchmark.shapes.values():  # type: ignore[attr-defined]
            for division, row in rows.items():
                whole = all(taps[-1][1] == n for n, taps in zip(row.shape[2:], row.taps, strict=True))
                assert (row.kind == "tiled" and whole) == (division == DIVISIBLE), (benchmark, row)


def test_data_are_random_and_none_is_zero() -> None:
    ready = regime.Ready("adaptive_avg_pool2d", regime.row("4x256x13x13 -> 4"), "channels first", "float32", ONE)
    assert len(set(ready.case.x.ravel()[:1000].tolist())) > 990


def test_a_wrong_result_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    right = cpool.adaptive_avg_pool2d
    monkeypatch.setattr(cpool, "adaptive_avg_pool2d", lambda *args, **options: right(*args, **options) * 1.0001)
    with pytest.raises(AssertionError, match="wrong result"):
        regime.Ready("adaptive_avg_pool2d", regime.row("4x256x13x13 -> 4"), "channels first", "float32", ONE)


def test_what_an_old_version_lacks_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    row = regime.row("4x256x13x13 -> 4")
    monkeypatch.delattr(cpool, "adaptive_avg_pool2d")
    with pytest.raises(NotImplementedError, match="has no adaptive_avg_pool2d"):
        regime.Ready("adaptive_avg_pool2d", row, "channels first", "float32", ONE)
    monkeypatch.setattr(cpool, "adaptive_avg_pool2d", lambda x, size: None, raising=False)
    with pytest.raises(NotImplementedError, match="data_format"):
        regime.Ready("adaptive_avg_pool2d", row, "channels last", "float32", ONE)


def test_the_judged_set_is_part_of_the_suite() -> None:
    assert 20 <= len(JUDGED) <= MOST == 30
    assert len({b.label for b in (*JUDGED, *REPORTED)}) == len(JUDGED) + len(REPORTED)
    for benchmark in (*JUDGED, *REPORTED):
        module, name, method = benchmark.name.split(".")
        found = getattr(importlib.import_module(f"suite.{module}"), name)
        assert hasattr(found, method)
        assert benchmark.params in set(itertools.product(*found.params))
        assert benchmark.params[1] in found.shapes[benchmark.params[0]]
    assert all(b.params[-1] == ONE and b.clock == "cpu" for b in JUDGED)
    assert all(b.params[-1] == ALL and b.clock == "wall" for b in REPORTED)
    assert len(PLANTED) >= 5
    assert set(PLANTED.values()) <= {b.label for b in JUDGED}


def test_a_smoke_run_keeps_every_benchmark_in_both_divisions() -> None:
    script = """if True:
        import json, test_suite
        print(json.dumps({f"{c.__module__}.{c.__name__}": getattr(c, "params", ()) for c in test_suite.CLASSES}))
    """
    env = {"CPOOL_BENCH_SMOKE": "1", "PYTHONPATH": ":".join(map(str, [Path(__file__).parent, *sys.path]))}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=env, check=True)
    small = json.loads(done.stdout)
    assert set(small) == {f"{c.__module__}.{c.__name__}" for c in CLASSES}
    for found in CLASSES:
        whole, part = getattr(found, "params", ()), small[f"{found.__module__}.{found.__name__}"]
        for values, kept in zip(whole, part, strict=True):
            assert kept == (list(values) if set(values) <= set(DIVISIONS) else [values[0]])


def test_instructions_are_counted_exactly() -> None:
    if counted.missing():
        conftest.missing("valgrind", str(counted.missing()))
    some = counted.CASES[:3]
    first, second = (counted.counts(("avx2",), some) for _ in range(2))
    assert set(first) == {("avx2", *case) for case in some}
    for key, count in first.items():
        assert count == pytest.approx(second[key], rel=1e-3), key
        assert count > 1000


def test_asv_builds_with_the_newest_of_everything() -> None:
    """What the matrix names is installed as name==value: a lower bound there is a version that does not exist."""
    matrix = configuration(BENCHMARKS.parent / "asv.conf.json")["matrix"]
    assert {"setuptools", "Cython", "numpy"} <= set(matrix["req"])
    assert all(versions == [] for versions in matrix["req"].values())
