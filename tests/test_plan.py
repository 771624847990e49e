"""Plans: what is remembered, for how long, and that nobody waits for it."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from helpers import assert_same_bits, check, run_python, sample

import cpool
from cpool import _kernels, cpu
from cpool.plan import Cache, Pooled, plans
from cpool.windows import windows

X = sample("float32", (2, 3, 10, 9))


def test_a_cache_is_bounded_by_entries_and_by_weight():
    cache: Cache[int] = Cache(entries=4, weight=800)
    for i in range(10):
        assert cache.get(i, lambda i=i: (i, 10)) == i
    assert len(cache) == 4
    for i in range(10):
        cache.get(("heavy", i), lambda i=i: (i, 100))
    assert len(cache) == 4
    cache = Cache(entries=1000, weight=800)
    for i in range(100):
        cache.get(i, lambda i=i: (i, 90))
    assert len(cache) == 800 // 90


def test_a_cache_forgets_what_was_used_longest_ago_and_keeps_nothing_too_heavy():
    cache: Cache[int] = Cache(entries=3, weight=800)
    made: list[int] = []

    def get(key: int, weight: int = 1) -> None:
        cache.get(key, lambda: (made.append(key) or key, weight))

    for key in (7, 5, 3, 7, 9, 7, 5):
        get(key)
    assert made == [7, 5, 3, 9, 5]
    get(11, 101)
    get(11, 101)
    assert made[-2:] == [11, 11]
    assert len(cache) == 3


def test_nobody_waits_for_the_cache():
    """As in the child of a fork, where the thread that holds the lock doesn't exist."""
    cache: Cache[int] = Cache(entries=3, weight=800)
    cache.get("there", lambda: (1, 1))
    assert cache._lock.acquire()
    found: list[int] = []
    other = threading.Thread(target=lambda: found.extend(cache.get(key, lambda: (2, 1)) for key in ("there", "new")))
    other.start()
    other.join(20)
    assert found == [2, 2]
    cache._lock.release()
    assert cache.get("there", lambda: (3, 1)) == 1


def test_many_shapes_keep_the_plans_bounded():
    plans.clear()
    for n in range(3, 1500):
        cpool.adaptive_avg_pool(np.empty((n, 2), np.int8), (3, 1))
    assert len(plans) <= plans.entries
    before = len(plans)
    for _ in range(50):
        cpool.adaptive_avg_pool(np.empty((1499, 2), np.int8), (3, 1))
    assert len(plans) == before


def test_memory_stays_bounded_over_many_shapes():
    printed = run_python(
        """
import resource, numpy as np, cpool
def use(first, last):
    for n in range(first, last):
        cpool.adaptive_avg_pool(np.ones((n % 70 + 1, n), np.float32), (1 + n % 5, 1 + n % 97))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
use(1, 3000)
before = use(1, 3000)
print(use(3000, 9000) - before)
"""
    )
    assert int(printed) < 80_000  # kilobytes: what the cache may hold, and no more


@pytest.mark.parametrize(
    "sizes", [(True, 1), (1, True), (np.bool_(1), 1), (1.0, 1), (7, 7.0), ((7, 3), (7, True)), ((5, 1), (5, 1.0))]
)
def test_equal_keys_are_not_equal_arguments(sizes):
    wanted = {type(s): _outcome(s) for s in (sizes[1], sizes[0])}
    for size in (*sizes, *reversed(sizes), *sizes):
        assert _outcome(size) == wanted[type(size)] or isinstance(size, tuple)
    if isinstance(sizes[0], tuple):
        assert _outcome(sizes[0])[0] != "error"
        assert _outcome(sizes[1])[0] == "error"


def _outcome(size: object) -> tuple[str, object]:
    try:
        return "result", cpool.adaptive_avg_pool2d(X, size).tobytes()
    except TypeError as error:
        return "error", str(error)


def test_an_argument_that_changes_is_read_anew():
    sizes = [7, 5]
    first = cpool.adaptive_avg_pool2d(X, sizes)
    sizes[1] = 3
    assert cpool.adaptive_avg_pool2d(X, sizes).shape == (2, 3, 7, 3)
    assert first.shape == (2, 3, 7, 5)

    class Size:
        value = 5

        def __index__(self) -> int:
            return self.value

    size = Size()
    for value in (5, 3, 4, 5):
        size.value = value
        for _ in range(3):
            assert cpool.adaptive_avg_pool2d(X, size).shape == (2, 3, value, value)


def test_calls_seen_before_are_told_apart():
    """Few slots, many calls: neither shape, strides, type, arguments nor operation may be mixed up."""
    _kernels.forget()
    cases = []
    for n in range(3, 60):
        x = sample("float32", (1, 2, n, 11))
        cases += [(x, size, cpool.adaptive_avg_pool2d(x, size)) for size in (3, 5, 7, 300, (300, 2))]
        cases.append((x[:, :, ::-1], 3, cpool.adaptive_avg_pool2d(x[:, :, ::-1].copy(), 3)))
        cases.append((x.astype("float64"), 3, cpool.adaptive_avg_pool2d(x.astype("float64"), 3)))
    for _ in range(2):
        for x, size, expected in cases:
            found = cpool.adaptive_avg_pool2d(x, size)
            if x.strides[2] < 0:
                assert np.allclose(found, expected)
            else:
                assert_same_bits(found, expected)


@pytest.mark.parametrize(("n", "m", "different"), [(100_003, 40_001, None), (100_000, 40_000, 8), (100_000, 50_000, 2)])
def test_runs_of_windows_that_are_alike_share_their_tables(n, m, different):
    """Long axes have thousands of runs: each with tables of its own takes seconds and much memory."""
    tiles = cpu._tiles(cpu._pool(Pooled(windows(n, m), 4, 4)), 1, False)
    assert [t["first"] for t in tiles] == [0, *(t["last"] for t in tiles[:-1])]
    assert tiles[-1]["last"] == m
    if different:
        assert len({id(t["start"]) for t in tiles}) <= different < len(tiles)
    x = sample("float32", (1, n))
    check("adaptive_avg_pool1d", x, m, compare_reference=False)
