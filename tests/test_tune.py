"""What calls cost: estimates, what `tune` measures and keeps, and what is decided by it."""

from __future__ import annotations

import copy
import json
import math
import os
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import missing
from devices_here import engines, queue_of, there
from helpers import DTYPES, assert_same_bits, dtype_of, run_python, sample

import cpool
from cpool import _kernels, cpu, dispatch, measured, tuning
from cpool.costs import KERNELS, WORK, Device, Kernel, Processor, Transfer
from cpool.measured import Measured

FREE = Kernel(0.0, 0.0, 0.0, 0.0)
NO_WAY = Transfer(0.0, 0.0, 0.0)
SLOW = Kernel(1.0, 0.0, 0.0, 0.0)  # a second for a launch
NAME = ("Nobody's platform", "Fake 9000", "1.0")
LARGE, SMALL = (4, 64, 60, 62), (1, 4, 10, 9)


def device(kernel: Kernel = FREE, way: Transfer = NO_WAY, name: tuple[str, str, str] = NAME) -> Device:
    return Device(*name, dict.fromkeys(KERNELS, kernel), way)


def record(*devices: Device) -> Measured:
    """As if `tune` had measured these."""
    return Measured(cpool.__version__, cpu.processor_name(), 2, "2026-11-21 12:00 UTC", Processor(), devices)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache folder of the test's own, and nothing known of it yet."""
    with monkeypatch.context() as patch:
        patch.setenv("CPOOL_CACHE_DIR", str(tmp_path))
        patch.setattr(measured, "_state", None)
        dispatch.forget()
        yield tmp_path
    dispatch.forget()


def put(*devices: Device) -> None:
    """A file of what was measured, as a later process finds it."""
    measured.save(record(*devices))
    measured._state = None


class Fake(SimpleNamespace):
    """Stands in for cpool.opencl: one device, which is there if its driver is the one that was measured."""

    def __init__(self) -> None:
        super().__init__(ran=[], room=True)

    def queues_like(self, known: Device) -> tuple[str, str]:
        if known.driver != NAME[2]:
            raise cpool.BackendUnavailable(f"measured with driver {known.driver!r}")
        queue = SimpleNamespace(device=known)
        return queue, queue

    def takes_unasked(self, plan, queue):
        return self.room

    def run(self, plan, x, out, indices, queues):
        self.ran.append(plan.operation)
        return cpu.run(plan, x, out, indices)

    def explained(self, plan, queues):
        return queues[0].device.name, "items", 1

    def costs_of(self, known):
        return known, True

    def described(self):
        return []


@pytest.fixture
def fake(monkeypatch):
    """A device that isn't one, in place of all of OpenCL."""
    found = Fake()
    monkeypatch.setitem(sys.modules, "cpool.opencl", found)
    monkeypatch.setitem(vars(cpool), "opencl", found)
    return found


# ---- estimates ---------------------------------------------------------------------------------------------


def test_every_kind_of_call_has_an_estimate():
    seen = set()
    calls = [
        ("adaptive_avg_pool", (7,), {"axes": (2, 3)}),
        ("adaptive_avg_pool", (1,), {"axes": (2, 3)}),
        ("adaptive_avg_pool", (3,), {"axes": (1,)}),
        ("adaptive_avg_pool", (None,), {"axes": (2, 3)}),
        ("avg_pool", (3,), {"axes": (2, 3), "dilation": 5}),
        ("global_avg_pool", (), {}),
        ("adaptive_max_pool", (7,), {"axes": (2, 3)}),
        ("adaptive_max_pool", (1,), {"axes": (2, 3)}),
        ("adaptive_max_pool", (7, True), {"axes": (2, 3)}),
        ("adaptive_max_pool", (1, True), {"axes": (1, 2, 3)}),
        ("adaptive_max_pool", ((), True), {"axes": ()}),
        ("max_pool", (3, 2, 0, 1, False, True), {"axes": (1,)}),
    ]
    for dtype in DTYPES:
        for shape in ((2, 12, 40, 41), (2, 40, 41, 33), (1, 11, 300, 301)):
            x = np.zeros(shape, dtype_of(dtype))
            for y in (x, x[:, :, ::2], x[..., ::-1], x.transpose(0, 2, 3, 1)):
                for name, args, options in calls:
                    if x.dtype.kind == "c" and "max" in name:
                        continue
                    told = cpool.explain(name, y, *args, **options)
                    assert 1e-6 < told.estimated_seconds < 1, (name, args, dtype, shape, told.kernel)
                    seen.add(told.kernel)
    for dtype in (d for d in DTYPES if dtype_of(d).kind not in "biuc"):
        told = cpool.explain("adaptive_avg_pool2d", np.zeros((2, 12, 10, 9), dtype_of(dtype)), 7)
        assert 1e-6 < told.estimated_seconds < 1e-3, dtype
        seen.add(told.kernel)
    assert seen == set(_kernels.PATHS)
    told = cpool.explain("max_pool", np.zeros((4, 300, 301), np.float32), 31, 1, axes=(1, 2))
    assert told.kernel == "sliding"
    assert told.estimated_seconds > 1e-4
    assert set(WORK) == seen | {"sliding"}


def test_the_estimate_is_told_everywhere():
    told = cpool.explain("adaptive_avg_pool2d", np.zeros(LARGE, np.float32), 7)
    assert type(told.estimated_seconds) is float
    assert told.to_dict()["estimated_seconds"] == told.estimated_seconds
    assert told.to_dict()["estimated_by"] == told.estimated_by
    assert f"{told.estimated_seconds * 1e6:.0f} us" in str(told)
    assert "cpool.tune()" in str(told)


def test_where_there_is_nothing_to_do():
    for shape, size in (((0, 3, 8, 9), 2), ((2, 3, 8, 9), 0)):
        assert 0 < cpool.explain("adaptive_avg_pool2d", np.zeros(shape), size).estimated_seconds < 1e-4


def test_more_work_takes_longer_and_more_threads_do_not():
    def seconds(shape, size=7, dtype=np.float32, operation="adaptive_avg_pool2d"):
        return cpool.explain(operation, np.zeros(shape, dtype), size).estimated_seconds

    with cpool.threads(1):
        sizes = [seconds((n, 64, 56, 57)) for n in (1, 4, 16, 64)]
        assert sizes == sorted(sizes)
        assert 40 < sizes[3] / sizes[0] < 400
        assert seconds(LARGE, dtype=np.float64) > seconds(LARGE)
        alone = seconds((64, 64, 56, 57))
    with cpool.threads(4):
        assert alone / 4 < seconds((64, 64, 56, 57)) < alone / 2


def test_estimates_are_of_the_right_size():
    """Held to a factor of two by benchmarks/peers.py --estimates; here only what no noise can explain."""
    off = []
    for shape, size in (((8, 64, 56, 57), 7), ((8, 64, 56, 57), 1), ((2, 8, 300, 301), 20)):
        x = np.ones(shape, np.float32)
        with cpool.threads(1):
            took = []
            for _ in range(9):
                begun = time.perf_counter()
                cpool.adaptive_avg_pool2d(x, size)
                took.append(time.perf_counter() - begun)
            off.append(cpool.explain("adaptive_avg_pool2d", x, size).estimated_seconds / statistics.median(took))
    assert 1 / 20 < statistics.median(off) < 20


# ---- a device that wins, and one that doesn't ------------------------------------------------------------------


def test_a_device_that_wins_gets_the_call(cache, fake):
    put(device(Kernel(2e-5, 0.0, 0.0, 0.0), Transfer(1e-5, 1e-12, 1e-12)))
    x, small = sample("float32", LARGE), sample("float32", SMALL)
    with cpool.use_backend("cpu"):
        expected = cpool.adaptive_avg_pool2d(x, 7)
    for _ in range(3):  # what is remembered must not change it
        assert_same_bits(cpool.adaptive_avg_pool2d(x, 7), expected)
        cpool.adaptive_avg_pool2d(small, 7)
    assert fake.ran == ["adaptive_avg_pool2d"] * 3
    cpool.adaptive_max_pool2d(x, 7, return_indices=True)
    cpool.adaptive_avg_pool2d(x, 7, out=np.empty((4, 64, 7, 7), np.float32))
    cpool.prepare("adaptive_avg_pool2d", x, 7)(x)
    cpool.nn.AdaptiveAvgPool2d(7)(x)
    assert len(fake.ran) == 7
    told = cpool.explain("adaptive_avg_pool2d", x, 7)
    assert told.backend == "opencl: Fake 9000"
    assert "by tune() a device wins: 0.03" in told.why
    assert "ms on Fake 9000 with transfers" in told.why
    assert told.estimated_seconds == pytest.approx(3e-5 + 1e-12 * (x.nbytes + 4 * 64 * 49 * 4))
    assert "by what cpool.tune() measured" in str(told)
    told = cpool.explain("adaptive_avg_pool2d", small, 7)
    assert (told.backend, told.why.partition(":")[0]) == ("cpu", "by tune() the CPU wins")


@pytest.mark.parametrize(
    ("kernel", "way"),
    [
        (SLOW, NO_WAY),
        (FREE, Transfer(1.0, 0.0, 0.0)),
        (FREE, Transfer(0.0, 1e-6, 0.0)),
        (FREE, Transfer(0.0, 0.0, 1e-4)),
        (Kernel(0.0, 1e-6, 0.0, 0.0), NO_WAY),
        (Kernel(0.0, 0.0, 1e-6, 0.0), NO_WAY),
        (Kernel(0.0, 0.0, 0.0, 1e-4), NO_WAY),
    ],
    ids=["launch", "call", "send", "fetch", "bytes", "taps", "results"],
)
def test_a_device_that_loses_by_any_of_its_costs_gets_none(cache, fake, kernel, way):
    put(device(kernel, way))
    x = sample("float32", LARGE)
    cpool.adaptive_avg_pool2d(x, 7)
    assert fake.ran == []
    assert "the CPU wins" in cpool.explain("adaptive_avg_pool2d", x, 7).why


def test_the_fastest_of_several_devices_is_taken(cache, fake):
    put(device(SLOW), device(name=("Nobody's platform", "Fast", "1.0")), device(SLOW))
    assert cpool.explain("adaptive_avg_pool2d", sample("float32", LARGE), 7).backend == "opencl: Fast"


def test_whoever_says_something_is_heard_first(cache, fake):
    put(device())
    x = sample("float32", LARGE)
    cpool.adaptive_avg_pool2d(x, 7, backend="cpu")
    with cpool.use_backend("cpu"):
        cpool.adaptive_avg_pool2d(x, 7)
        assert cpool.explain("adaptive_avg_pool2d", x, 7).why == "use_backend asked for it"
    assert fake.ran == []
    cpool.adaptive_avg_pool2d(x, 7)
    assert len(fake.ran) == 1


ENVIRONMENT = "import numpy as np, cpool; print(cpool.explain('adaptive_avg_pool2d', np.ones((4, 64, 60, 62)), 7).why)"


def test_the_environment_is_heard_first(cache):
    put(device())
    told = run_python(ENVIRONMENT, CPOOL_CACHE_DIR=str(cache), CPOOL_BACKEND="cpu")
    assert told == "CPOOL_BACKEND asked for it\n"


def test_what_was_not_measured_stays_on_the_cpu(cache, fake):
    """Gradients, and planes or types that a device might refuse."""
    put(device())
    x = sample("float32", LARGE)
    cpool.adaptive_avg_pool2d_backward(x[:, :, :7, :7], LARGE)
    _, indices = cpool.adaptive_max_pool2d(x, 7, True, backend="cpu")
    cpool.adaptive_max_pool2d_backward(x[:, :, :7, :7], indices, LARGE)
    fake.room = False
    cpool.adaptive_avg_pool2d(x, 7)
    assert fake.ran == []
    assert "no room" in cpool.explain("adaptive_avg_pool2d", x, 7).why


def test_a_device_that_is_gone_is_told_of(cache, fake, capsys):
    put(device(name=(*NAME[:2], "0.9")))
    x = sample("float32", LARGE)
    cpool.adaptive_avg_pool2d(x, 7)
    assert fake.ran == []
    assert cpool.explain("adaptive_avg_pool2d", x, 7).why == (
        "what tune() measured doesn't hold: measured with driver '0.9'"
    )
    cpool.show_config()
    assert "measured with driver '0.9'" in capsys.readouterr().out


def test_without_pyopencl_a_device_is_gone(cache, without_pyopencl):
    put(device())
    x = sample("float32", LARGE)
    told = cpool.explain("adaptive_avg_pool2d", x, 7)
    assert told.backend == "cpu"
    assert "PyOpenCL can't be imported" in told.why
    assert cpool.adaptive_avg_pool2d(x, 7).shape == (4, 64, 7, 7)
    assert "PyOpenCL can't be imported" in cpool.show_config(mode="dicts")["tuned"]


FORK = """
import os, sys, types
import numpy as np, cpool

def run(plan, x, out, indices, queues):
    os.write(1, b"device ")
    return cpool.cpu.run(plan, x, out, indices)

sys.modules["cpool.opencl"] = types.SimpleNamespace(
    queues_like=lambda known: (None, None), takes_unasked=lambda plan, queue: True, run=run)
x = np.ones((4, 64, 60, 62), np.float32)
cpool.adaptive_avg_pool2d(x, 7)
child = os.fork()
if not child:
    ok = (cpool.adaptive_avg_pool2d(x, 7) == 1).all()
    os.write(1, b"child " + cpool.explain("adaptive_avg_pool2d", x, 7).why.encode())
    os._exit(not ok)
sys.exit(os.waitpid(child, 0)[1])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_the_child_of_a_fork_asks_no_device(cache):
    put(device())
    told = run_python(FORK, CPOOL_CACHE_DIR=str(cache))
    assert told == "device child the child of a fork pools on the CPU"


# ---- the file -----------------------------------------------------------------------------------------------


def test_nothing_is_read_before_it_matters(cache):
    put(device(SLOW))
    code = (
        "import sys, numpy as np, cpool; from cpool import measured; x = np.ones((1, 2, 5, 7)); "
        "cpool.adaptive_avg_pool2d(x, 3, backend='cpu'); before = set(sys.modules); "
        "print(measured._state, [m for m in ('tempfile', 'cpool.tuning', 'cpool.opencl') if m in before]); "
        "cpool.adaptive_avg_pool2d(x, 3); print(measured._state[0].devices[0].name, set(sys.modules) - before)"
    )
    # That a call imports nothing matters: another thread's lock of an import stays locked in the child of a fork.
    assert run_python(code, CPOOL_CACHE_DIR=str(cache)) == "None []\nFake 9000 set()\n"


def test_a_call_seen_before_does_not_look(cache, monkeypatch):
    """The short way in costs nothing more: only what was settled on the CPU is on it."""
    x = sample("float32", SMALL)
    cpool.adaptive_avg_pool2d(x, 7)
    pool = cpool.prepare("adaptive_avg_pool2d", x, 7)
    monkeypatch.setattr(measured, "here", None)
    monkeypatch.setattr(dispatch, "settle", None)
    cpool.adaptive_avg_pool2d(x, 7)
    pool(x)
    with pytest.raises(TypeError):
        cpool.adaptive_avg_pool2d(x, 6)


def test_there_and_back(cache):
    kernel = Kernel(1e-5, 1e-10, 2e-10, 3e-10)
    samples = ({"sort": "average", "seconds": {"cpu": 2.0, "Nobody's platform: Fake 9000": 1.0}},)
    known = replace(record(device(kernel, Transfer(1e-4, 1e-9, 2e-9))), samples=samples)
    kept = measured.save(known)
    assert measured.here() == (kept, "")
    measured._state = None
    found, why = measured.here()
    assert (found, why) == (kept, "")
    assert replace(found, path="") == known
    assert json.loads(json.dumps(found.to_dict())) == found.to_dict()
    assert [p.name for p in cache.iterdir()] == ["tuning.json"]
    text = str(found)
    for part in ("Fake 9000", "driver 1.0", cpu.processor_name(), "sends 1.0 GB/s, fetches 0.5 GB/s", str(cache)):
        assert part in text
    assert "in 1 of 1 cases" in text
    assert "measured 2026-11-21 12:00 UTC" in cpool.show_config(mode="dicts")["tuned"]


def test_nothing_measured(cache):
    assert cpool.show_config(mode="dicts")["tuned"] == "no: cpool.tune() measures this machine"
    assert "has not measured this machine" in str(cpool.explain("adaptive_avg_pool", np.ones(9), 2))


@pytest.mark.parametrize(("name", "value", "told"), [("cpool", "0.0.1", "cpool '0.0.1'"), ("cpu", "Z80", "CPU 'Z80'")])
def test_measurements_of_another_machine_or_version_are_stale(cache, name, value, told):
    measured.save(replace(record(device()), **{name: value}))
    measured._state = None
    found, why = measured.here()
    assert found is None
    assert why.startswith("ignored: ")
    assert told in why
    assert cpool.show_config(mode="dicts")["tuned"] == why


MALFORMED = {
    "empty": b"",
    "cut off": b'{"format": 1, "cpool": "0',
    "a list": b"[]",
    "null": b"null",
    "no text": b"\xff\xfe\x00\x80",
    "too deep": b"[" * 200_000,
    "a number": b"1e999",
    "long digits": b"1" * 10_000,
    "of the future": b'{"format": 2}',
    "true for a number": b'{"format": true}',
}


@pytest.mark.parametrize("content", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_file_is_ignored(cache, content):
    (cache / "tuning.json").write_bytes(content)
    x = sample("float32", SMALL)
    assert cpool.adaptive_avg_pool2d(x, 7).shape == (1, 4, 7, 7)
    told = cpool.show_config(mode="dicts")["tuned"]
    assert told.startswith("ignored: ")
    assert "cpool.tune() measures again" in told
    put(device())  # and can be replaced
    assert measured.here()[0] is not None


def test_what_is_no_file_is_ignored(cache):
    (cache / "tuning.json").mkdir()
    assert "can't be read" in cpool.show_config(mode="dicts")["tuned"]
    with pytest.raises(OSError, match=r"tuning\.json"):
        measured.save(record())
    assert [p.name for p in cache.iterdir()] == ["tuning.json"], "something was left behind"


def leaves(value, path=()):
    """The ways to everything in nested dictionaries and lists."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from leaves(inner, (*path, key))


JUNK = (None, True, -1, -1.5, math.nan, math.inf, 10**400, "x", [], {}, [[1]], {"x": 1})


def test_whatever_is_wrong_in_it_is_a_value_error():
    samples = ({"sort": "average", "seconds": {"cpu": 2.0}},)
    whole = replace(
        record(device(Kernel(1e-5, 1e-9, 1e-9, 1e-9), Transfer(1e-4, 1e-9, 1e-9))), samples=samples
    ).to_dict()
    assert measured.from_dict(whole).devices[0].name == "Fake 9000"
    refused = 0
    for path in leaves(whole):
        for junk in JUNK:
            told = copy.deepcopy(whole)
            if not path:
                told = junk
            else:
                inner = told
                for key in path[:-1]:
                    inner = inner[key]
                inner[path[-1]] = junk
            try:
                found = measured.from_dict(told)
            except ValueError:
                refused += 1
                continue
            plan = cpool.prepare("adaptive_avg_pool2d", sample("float32", LARGE), 7).plan
            seconds = [found.processor.seconds(plan, 2), *(d.seconds(plan, sent=True) for d in found.devices)]
            assert all(0 < s < math.inf for s in seconds), (path, junk)
            str(found)
    assert refused > 300


def test_where_it_is_kept(monkeypatch, tmp_path):
    home = tmp_path / "home"
    for name in ("CPOOL_CACHE_DIR", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    with monkeypatch.context() as patch:
        patch.setattr(sys, "platform", "linux")
        assert measured.folder() == str(home / ".cache" / "cpool")
        patch.setenv("XDG_CACHE_HOME", "relative")  # to be ignored, says the specification
        assert measured.folder() == str(home / ".cache" / "cpool")
        patch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
        assert measured.folder() == str(tmp_path / "xdg" / "cpool")
        patch.setattr(sys, "platform", "darwin")
        assert measured.folder() == str(home / "Library" / "Caches" / "cpool")
        patch.setattr(sys, "platform", "win32")
        assert measured.folder() == str(home / "AppData" / "Local" / "cpool")
        patch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
        assert measured.folder() == str(tmp_path / "local" / "cpool")
        patch.setenv("CPOOL_CACHE_DIR", str(tmp_path / "own"))
        assert measured.folder() == str(tmp_path / "own")


SAVE = """
import os, sys
from dataclasses import replace
cache = os.environ["CPOOL_CACHE_DIR"]
sys.path.insert(0, {tests!r})
import test_tune as t
os.environ["CPOOL_CACHE_DIR"] = cache
for i in range(60):
    t.measured.save(replace(t.record(*[t.device()] * (int(sys.argv[1]) + i % 7)), when=sys.argv[1]))
"""


def test_several_at_once_leave_one_whole_file(cache):
    """Whoever is last wins; a reader always finds a whole one."""
    put(device())
    code = SAVE.format(tests=os.path.dirname(__file__))
    writers = [subprocess.Popen([sys.executable, "-c", code, str(n)], env=dict(os.environ)) for n in (1, 20, 40)]
    read = 0
    while any(w.poll() is None for w in writers):
        found, why = measured.load()
        assert found is not None, why
        read += 1
    assert [w.returncode for w in writers] == [0, 0, 0]
    assert read > 10
    found, _ = measured.load()
    assert found.when in ("1", "20", "40")
    assert len(found.devices) - int(found.when) == 59 % 7
    assert [p.name for p in cache.iterdir()] == ["tuning.json"]


# ---- measuring ------------------------------------------------------------------------------------------------


def test_tune_measures_and_keeps(cache, without_pyopencl):
    x = sample("float32", LARGE)
    before = cpool.get_num_threads(), cpool.adaptive_avg_pool2d(x, 7)
    found = cpool.tune(seconds=0.01)
    assert measured.here() == (found, "")
    assert found.path == str(cache / "tuning.json")
    assert found.devices == ()
    assert found.cpool == cpool.__version__
    assert len(found.samples) == 54
    assert all(0 < s["seconds"]["cpu"] < 10 for s in found.samples)
    assert 0.05 <= found.processor.compute <= 20
    assert found.processor.most >= 1
    assert [size for size, _ in found.processor.memory] == list(tuning.READS)
    assert "by what cpool.tune() measured" in str(cpool.explain("adaptive_avg_pool2d", x, 7))
    assert cpool.get_num_threads() == before[0]
    assert_same_bits(cpool.adaptive_avg_pool2d(x, 7), before[1])
    fresh = run_python(
        "import cpool, numpy as np; print(cpool.explain('adaptive_avg_pool', np.ones(9), 2).estimated_by)",
        CPOOL_CACHE_DIR=str(cache),
    )
    assert fresh == "estimated by what cpool.tune() measured\n"


def test_progress_is_told_if_asked_for(capsys, monkeypatch):
    monkeypatch.setattr(tuning, "SIZES", (2**14, 2**15))
    monkeypatch.setattr(tuning, "READS", (2**14,))
    tuning.measure("cpu", seconds=1e-3)
    assert capsys.readouterr() == ("", "")
    tuning.measure(["cpu"], seconds=1e-3, verbose=True)
    told = capsys.readouterr()
    assert told.out == ""
    assert "cpool.tune: average, channels first, 64x64 -> 9" in told.err


@pytest.mark.parametrize(
    ("arguments", "error", "told"),
    [
        ({"seconds": 0}, ValueError, "seconds: got 0"),
        ({"seconds": math.nan}, ValueError, "seconds: got nan"),
        ({"seconds": "1"}, TypeError, "seconds: got '1'"),
        ({"seconds": True}, TypeError, "seconds: got True"),
        ({"verbose": 1}, TypeError, "verbose: got 1"),
        ({"devices": 3}, TypeError, "devices: got 3"),
        ({"devices": [3]}, TypeError, "devices: got 3"),
        ({"devices": "cuda"}, ValueError, "devices: got 'cuda'"),
    ],
)
def test_bad_arguments(cache, arguments, error, told):
    with pytest.raises(error, match=told):
        cpool.tune(**arguments)
    assert list(cache.iterdir()) == []


def test_a_device_that_is_not_there(cache, without_pyopencl):
    with pytest.raises(cpool.BackendUnavailable, match="devices: got 'opencl:0'"):
        cpool.tune("opencl:0")


def test_costs_are_found_again():
    """Of times that the model itself gives, the fit finds the costs."""
    rows = [(1.0, n * 10.0**6, n * k * 10.0**6) for n in (1, 8, 64) for k in (1, 3)]
    for costs in ((1e-4, 2e-10, 3e-10), (0.0, 1e-10, 0.0), (5e-5, 0.0, 1e-9)):
        seconds = [sum(a * b for a, b in zip(row, costs, strict=True)) for row in rows]
        assert tuning._fit(3, rows, seconds) == pytest.approx(costs, rel=1e-6, abs=1e-15)
    assert tuning._fit(3, [], []) == [0.0, 0.0, 0.0]
    falling = tuning._fit(2, [(1.0, 1.0), (1.0, 10.0)], [2.0, 1.0])  # noise may ask for negative costs
    assert min(falling) >= 0
    assert max(falling) > 0


# ---- on a device ------------------------------------------------------------------------------------------------


@pytest.fixture
def name():
    """The backend's name of the device under test."""
    found = engines()
    if not found:
        missing("opencl", "CPOOL_TEST_OPENCL names no platform")
    return f"opencl:{found[0].number}"


def identity(name: str) -> tuple[str, str, str]:
    from cpool import opencl

    return opencl.tuning.identity(queue_of(int(name.partition(":")[2])).device)


def test_a_real_device_that_wins(cache, name):
    x = sample("float32", LARGE)
    expected = cpool.adaptive_avg_pool2d(x, 7, backend=name)
    largest = cpool.adaptive_max_pool2d(x, 7, True, backend=name)
    put(device(name=identity(name)))
    told = cpool.explain("adaptive_avg_pool2d", x, 7)
    assert told.backend == f"opencl: {identity(name)[1]}"
    assert "by tune() a device wins" in told.why
    assert_same_bits(cpool.adaptive_avg_pool2d(x, 7), expected)
    for a, b in zip(cpool.adaptive_max_pool2d(x, 7, True), largest, strict=True):
        assert_same_bits(a, b)
    wide = x.astype(np.float64)
    assert "was not measured for its type" in cpool.explain("adaptive_avg_pool2d", wide, 7).why
    assert cpool.adaptive_avg_pool2d(wide, 7).dtype == np.float64


def test_a_real_device_with_another_driver(cache, name):
    put(device(name=(*identity(name)[:2], "another")))
    told = cpool.explain("adaptive_avg_pool2d", sample("float32", LARGE), 7)
    assert told.backend == "cpu"
    assert "was measured with driver 'another'" in told.why
    assert "was measured with driver 'another'" in cpool.show_config(mode="dicts")["tuned"]


def test_a_plane_without_room_is_not_sent(cache, name, monkeypatch):
    from cpool.opencl import transfers

    put(device(name=identity(name)))
    x = sample("float32", (1, 2, 200, 201))
    assert cpool.explain("global_avg_pool", x).backend != "cpu"
    monkeypatch.setattr(transfers, "PIECE", 200 * 201 * 4 - 1)
    assert "no room" in cpool.explain("global_avg_pool", x).why


def test_estimates_on_a_device(cache, name):
    import pyopencl.array as cla

    x = sample("float32", LARGE)
    d = cla.to_device(queue_of(int(name.partition(":")[2])), x)
    usual = [cpool.explain("adaptive_avg_pool2d", y, 7, backend=b) for y, b in ((x, name), (d, None))]
    assert all(1e-6 < told.estimated_seconds < 10 for told in usual)
    assert usual[0].estimated_seconds > usual[1].estimated_seconds
    assert "has not measured" in str(usual[0])
    took = {"average": Kernel(0.25, 0.0, 0.0, 0.0), "largest": Kernel(0.5, 0.0, 0.0, 0.0), "where": SLOW}
    kernels = {name: took[name.split(",")[0]] for name in KERNELS}
    kernels["average, last"] = Kernel(0.125, 0.0, 0.0, 0.0)
    known = Device(*identity(name), kernels, Transfer(2.0, 0.0, 0.0))
    put(known)
    assert cpool.explain("adaptive_avg_pool2d", x, 7, backend=name).estimated_seconds == 2.25
    assert cpool.explain("adaptive_avg_pool2d", d, 7).estimated_seconds == 0.25
    for count, seconds in ((8, 0.125), (3, 0.25)):  # so many channels are worked on side by side, or not
        last = there(d.queue, np.ones((1, 9, 9, count), np.float32))
        found = cpool.explain("adaptive_avg_pool2d", last, 7, data_format="channels_last")
        assert found.estimated_seconds == seconds
    assert cpool.explain("adaptive_max_pool2d", d, 7).estimated_seconds == 0.5
    told = cpool.explain("adaptive_max_pool2d", d, 7, True)
    assert told.estimated_seconds == told.to_dict()["estimated_seconds"] == 1.0
    assert "about 1 s (estimated by what cpool.tune() measured)" in str(told)


def test_tune_on_a_device(cache, name, monkeypatch):
    monkeypatch.setattr(tuning, "SIZES", (2**16, 2**18))
    found = cpool.tune([name], seconds=0.01)
    assert len(found.devices) == 1
    told = found.devices[0]
    assert (told.platform, told.name, told.driver) == identity(name)
    key = f"{told.platform}: {told.name}"
    assert all({"cpu", key, f"{key}, there"} < set(s["seconds"]) for s in found.samples)
    measured._state = None
    assert measured.here() == (found, "")
    x = np.ones((1, 4, 64, 64), np.float32)  # as it was measured
    seconds = [s["seconds"][key] for s in found.samples if s["bytes"] == x.nbytes and s["windows"] == 9]
    estimate = cpool.explain("adaptive_avg_pool2d", x, 9, backend=name).estimated_seconds
    assert statistics.median(seconds) / 20 < estimate < statistics.median(seconds) * 20
    assert told.name in str(found)
    assert found.wins(told) == sum(s["seconds"][key] < s["seconds"]["cpu"] for s in found.samples)


def test_a_device_that_cannot_pool_is_left_out(cache, name, monkeypatch):
    """Unless it was named: then the call says what is wrong."""
    from cpool.opencl import pool, programs

    monkeypatch.setattr(tuning, "SIZES", (2**16, 2**18))
    monkeypatch.setattr(
        dispatch, "devices", lambda: [dispatch.Device("cpu", "", 1, ()), dispatch.Device(name, "", 1, ())]
    )
    cpool.opencl.clear_cache()
    monkeypatch.setattr(programs, "_texts", {pool.FILES: "#error unknown target CPU 'generic'\n"})
    with pytest.warns(RuntimeWarning, match=f"tune leaves out {name}: .*older than this processor"):
        assert cpool.tune(seconds=0.01).devices == ()
    with pytest.raises(cpool.BackendUnavailable, match="can't build its kernels"):
        cpool.tune(name, seconds=0.01)
    cpool.opencl.clear_cache()
