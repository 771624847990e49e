"""Threads, forks, pauses, signals, and what an import does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import helpers
import numpy as np
import pytest

import cpool
from cpool import cpu


def test_numbers_of_threads():
    with cpool.threads(3):
        assert cpool.get_num_threads() == 3
        with cpool.threads(1):
            assert cpool.get_num_threads() == 1
        assert cpool.get_num_threads() == 3
    code = "import cpool; print(cpool.get_num_threads()); cpool.set_num_threads(5); print(cpool.get_num_threads())"
    assert helpers.run_python(code, CPOOL_NUM_THREADS="3").split() == ["3", "5"]
    assert helpers.run_python(code, OMP_NUM_THREADS="1").split() == ["1", "5"]
    for bad, error in ((0, ValueError), (-1, ValueError), (True, TypeError), (1.5, TypeError), ("2", TypeError)):
        with pytest.raises(error, match="n: got"):
            cpool.set_num_threads(bad)
        with pytest.raises(error, match="n: got"), cpool.threads(bad):
            pass


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("CPOOL_NUM_THREADS", "many", "CPOOL_NUM_THREADS: got 'many'"),
        ("CPOOL_NUM_THREADS", "0", "CPOOL_NUM_THREADS: got '0'"),
        ("CPOOL_SIMD", "sse9", "CPOOL_SIMD: got 'sse9'; this machine has"),
    ],
)
def test_bad_variables(name, value, text):
    code = "import cpool, numpy; cpool.adaptive_avg_pool(numpy.ones((300, 3000)), 1); print(cpool.get_num_threads())"
    assert text in helpers.python(code, **{name: value}).stderr


def test_forced_instruction_sets():
    for name in cpu.simd_available():
        code = "import cpool, numpy; print(cpool.explain('adaptive_avg_pool', numpy.ones(9), 4).simd)"
        assert helpers.run_python(code, CPOOL_SIMD=name).strip() == name


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max": "150000 100000\n"}, 1.5),
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/cpu.max": "50000 100000\n"}, 0.5),
        ({"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/cpu.max": "max 100000\n"}, None),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "300000 100000\n"}, 3.0),
        (
            {
                "proc/self/cgroup": "4:cpu,cpuacct:/x\n",
                "sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_quota_us": "250000\n",
                "sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_period_us": "100000\n",
            },
            2.5,
        ),
        (
            {
                "proc/self/cgroup": "4:cpu:/x\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            None,
        ),
        ({}, None),
    ],
)
def test_control_groups(tmp_path, files, quota):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert cpu.cgroup_quota(tmp_path) == quota


def test_many_python_threads_at_once():
    xs = [helpers.sample("float32", (2, 3, 10 + i, 9)) for i in range(8)]
    wanted = [cpool.adaptive_avg_pool2d(x, (7, 5)) for x in xs]
    failed = []

    def work(offset):
        with cpool.threads(2), cpu.force_split():
            for i in range(200):
                k = (i + offset) % len(xs)
                if not np.array_equal(cpool.adaptive_avg_pool2d(xs[k], (7, 5)), wanted[k]):
                    failed.append(k)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failed


FORK = """
import ctypes, os, sys
import numpy as np, cpool
from cpool import _kernels
x = np.random.default_rng(0).random((16, 64, 56, 56), dtype=np.float32)
with cpool.threads(2):
    wanted = cpool.adaptive_avg_pool2d(x, 7)
    if {warm}:
        for _ in range(20):
            cpool.adaptive_avg_pool2d(x, 7)
    {library}
    pid = {fork}
    if pid == 0:
        ok = _kernels.is_forked() and np.array_equal(cpool.adaptive_avg_pool2d(x, 7), wanted)
        os._exit(0 if ok else 3)
    assert os.waitpid(pid, 0)[1] == 0
    assert not _kernels.is_forked()
    assert np.array_equal(cpool.adaptive_avg_pool2d(x, 7), wanted)
print("fine")
"""


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("from_c", [False, True], ids=["python", "c"])
def test_a_child_pools_and_does_not_hang(from_c, native_path):
    fork = "native.native_fork()" if from_c else "os.fork()"
    library = f"native = ctypes.PyDLL({str(native_path)!r})" if from_c else ""
    assert "fine" in helpers.run_python(FORK.format(warm=True, fork=fork, library=library), timeout=60)


def test_a_call_after_a_pause_costs_no_milliseconds():
    code = """
import time, numpy as np, cpool
x = np.random.default_rng(0).random((1, 128, 32, 32), dtype=np.float32)
cpool.adaptive_avg_pool2d(x, 7)
times = []
for _ in range(40):
    time.sleep(0.03)
    begun = time.perf_counter()
    cpool.adaptive_avg_pool2d(x, 7)
    times.append(time.perf_counter() - begun)
print(sorted(times)[20])
"""
    assert float(helpers.run_python(code, OMP_NUM_THREADS="2")) < 2e-3


def test_the_gil_is_free_while_a_long_kernel_runs():
    x = np.ones((64, 1024, 1024), np.float32)
    counted = 0
    done = threading.Event()

    def pool():
        with cpool.threads(1):
            cpool.adaptive_avg_pool(x, 1, axes=(1, 2))
        done.set()

    worker = threading.Thread(target=pool)
    worker.start()
    while not done.is_set():
        counted += 1
        time.sleep(0.0005)
    worker.join()
    assert counted > 5


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_control_c_stops_a_long_call():
    code = """
import signal, numpy as np, cpool
signal.signal(signal.SIGINT, signal.default_int_handler)  # a parent in the background may ignore it
x = np.lib.stride_tricks.as_strided(np.ones(1, np.float32), (4000, 40_000_000), (0, 0))
print("ready", flush=True)
cpool.adaptive_avg_pool(x, (4000, 2))
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    begun = time.monotonic()
    try:
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert "KeyboardInterrupt" in errors
    assert time.monotonic() - begun < 10


def test_an_import_is_light():
    code = """
import sys, threading
import numpy
before = set(sys.modules)
count = threading.active_count()
import cpool
new = set(sys.modules) - before
heavy = {m.partition(".")[0] for m in new} & {"pyopencl", "torch", "ml_dtypes", "jax", "scipy"}
assert not heavy, heavy
assert threading.active_count() == count
print(len(new))
"""
    assert int(helpers.run_python(code)) < 60
