"""The OpenCL backend beyond the conformance suite: queues, events, contexts, transfers, failures.

Runs where CPOOL_TEST_OPENCL names a platform (see conftest.py); what holds without PyOpenCL runs everywhere.
"""

from __future__ import annotations

import gc
import itertools
import re
import resource
import threading
import time
import weakref
from pathlib import Path

import numpy as np
import pytest
from conftest import missing
from devices_here import Device, back, engines, engines_of, queue_of, there
from helpers import assert_same_bits, check, check_gradient, check_max, place, python, run_python, sample

import cpool

NUMBERS = sorted({engine.number for engine in engines()})
pytestmark = pytest.mark.timeout(method="thread")  # a signal doesn't interrupt who waits for a device


@pytest.fixture(params=NUMBERS or [None])
def number(request):
    """Of the device under test."""
    if request.param is None:
        missing("opencl", "CPOOL_TEST_OPENCL names no platform")
    return request.param


@pytest.fixture
def queue(number):
    """A queue of the device under test."""
    return queue_of(number)


@pytest.fixture
def engines_here(number):
    """What that device passes for."""
    return engines_of(number)


@pytest.fixture
def cl(queue):
    import pyopencl

    return pyopencl


@pytest.fixture
def cla(queue):
    import pyopencl.array

    return pyopencl.array


@pytest.fixture
def free(queue, cl):
    """A queue that has no order."""
    properties = cl.command_queue_properties.OUT_OF_ORDER_EXEC_MODE_ENABLE
    if not queue.device.queue_properties & properties:  # some take the flag all the same, and keep the order
        pytest.skip("queues of this device have an order")
    return cl.CommandQueue(queue.context, properties=properties)


@pytest.fixture
def name(number):
    """The backend's name for that device."""
    return f"opencl:{number}"


# ---- without PyOpenCL --------------------------------------------------------------------------------

HIDDEN = "import sys; sys.modules['pyopencl'] = None; import numpy as np, cpool; x = np.ones((1, 2, 5, 7)); "


def test_without_pyopencl():
    for call in ("backend='opencl'", "backend='opencl:0'"):
        told = python(f"{HIDDEN}cpool.adaptive_avg_pool2d(x, 3, {call})").stderr
        assert "BackendUnavailable" in told
        assert "pip install pyopencl" in told
    told = run_python(f"{HIDDEN}print([d.backend for d in cpool.devices()]); cpool.show_config()")
    assert told.startswith("['cpu']\n")
    assert "opencl: the backend 'opencl' isn't there: PyOpenCL can't be imported" in told


@pytest.mark.parametrize("content", ["VERSION = (2024, 2, 6)", "raise ImportError('numpy.core.multiarray failed')"])
def test_an_old_pyopencl_is_told(content, tmp_path):
    """Those before NumPy 2 can't even be imported."""
    files = {
        "pyopencl/__init__.py": content,
        "pyopencl/array.py": "class Array: ...",
        "pyopencl-2024.2.6.dist-info/METADATA": "Metadata-Version: 2.1\nName: pyopencl\nVersion: 2024.2.6\n",
    }
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    told = python(f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import cpool; cpool.show_config()").stdout
    assert "PyOpenCL 2024.2.6 is too old, 2024.2.7 or later is needed. Install it: pip install --upgrade" in told


def test_the_oldest_pyopencl_is_that_of_the_package(queue):
    oldest = ".".join(map(str, cpool.opencl.OLDEST))
    assert f'opencl = ["pyopencl>={oldest}"]' in (Path(__file__).parents[1] / "pyproject.toml").read_text()


def test_pyopencl_is_imported_when_asked_for_only():
    code = (
        "import sys, numpy as np, cpool, cpool.nn; "
        "cpool.adaptive_avg_pool2d(np.ones((1, 2, 5, 7)), 3); cpool.explain('adaptive_avg_pool', np.ones(9), 2); "
        "print([m for m in sys.modules if 'opencl' in m])"
    )
    assert run_python(code) == "[]\n"


# ---- device arrays -----------------------------------------------------------------------------------


def test_results_are_on_the_same_queue_from_the_same_allocator(queue, cl, cla):
    taken = []

    def allocator(size):
        taken.append(size)
        return cl.Buffer(queue.context, cl.mem_flags.READ_WRITE, max(size, 1))

    x = sample("float32", (2, 3, 10, 9))
    d = cla.to_device(queue, x, allocator=allocator)
    taken.clear()
    result = cpool.adaptive_avg_pool2d(d, (7, 5))
    assert type(result) is cla.Array
    assert result.queue == queue
    assert result.allocator is allocator
    assert taken == [result.nbytes]
    assert len(result.events) == 1
    assert_same_bits(result.get(), cpool.adaptive_avg_pool2d(x, (7, 5)))
    values, indices = cpool.adaptive_max_pool2d(d, (7, 5), return_indices=True)
    assert (values.queue, indices.dtype) == (queue, np.int64)


def test_views_and_offsets(queue, cla):
    x = sample("float32", (5, 6, 20, 18), wide=True)
    d = cla.to_device(queue, x)
    for cut in (np.s_[1:, 2:5, 3:13, 2:11], np.s_[::2, :, ::-1, ::3], np.s_[:, ::-2, 5:, 4:5]):
        for size in ((7, 5), 1, (3, 2)):
            expected = cpool.adaptive_max_pool2d(x[cut], size, return_indices=True)
            found = cpool.adaptive_max_pool2d(d[cut], size, return_indices=True)
            for a, b in zip(found, expected, strict=True):
                assert_same_bits(back(a), b)
            np.testing.assert_allclose(
                back(cpool.adaptive_avg_pool2d(d[cut], size)), cpool.adaptive_avg_pool2d(x[cut], size), rtol=1e-6
            )


def test_results_share_nothing_with_each_other(queue, cl, cla):
    """Neither memory nor events, also where they have no element."""
    for shape in ((1, 2, 10, 9), (0, 2, 10, 9)):
        d = cla.to_device(queue, sample("float32", shape))
        one, other = cpool.adaptive_avg_pool2d(d, (7, 5)), cpool.adaptive_avg_pool2d(d, (7, 5))
        before = len(other.events)
        one.add_event(cl.enqueue_marker(queue))
        assert len(other.events) == before
        assert (one.base_data is None) == (not one.size)
        assert one.base_data is not other.base_data or not one.size


@pytest.mark.parametrize("left", [5, 9, 10, 17])
def test_a_window_too_small_for_its_share_of_groups(left, queue, cla):
    """Few windows are shared by groups, as many for the last as for the others: some of them have nothing to add."""
    x = sample("float32", (1, 1, 600_000 + left))
    expected = cpool.avg_pool1d(x, 600_000, ceil_mode=True)
    assert_same_bits(cpool.avg_pool1d(cla.to_device(queue, x), 600_000, ceil_mode=True).get(), expected)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "uint8", "int32"])
@pytest.mark.parametrize("channels", [33, 47, 257, 700, 2090])
def test_many_taps_of_many_channels(channels, dtype, engines_here):
    """On a processor an item adds as much of each pixel as it has results for: all of it, a part, and what is left."""
    for rows in (5, 12):
        x = place(sample(dtype, (1 if channels > 700 else 9, channels, rows, 7), wide=True), "channels_last")
        for engine in engines_here:
            if not (engine.refuses_doubles() and dtype == "int32"):
                with engine.on():
                    check("global_avg_pool", x, compare_reference=False)
                    check("adaptive_avg_pool2d", x, (1, 2), compare_reference=False)


MEDIUM = {  # windows whose columns lanes of a card add once, and what they are pooled to
    "ragged": ((1, 3, 41, 37), (5, 4), {}),
    "wider than a line": ((1, 2, 23, 301), (5, 30), {}),
    "few channels last": ((1, 21, 31, 3), (4, 5), {"data_format": "channels_last"}),
    "a volume": ((1, 8, 5, 10, 17), (2, 3, 4), {}),
    "rows that are tidied on the way": ((1, 8, 600, 40), (2, 9), {}),
    "divisible": ((1, 3, 32, 56), (4, 7), {}),
}


@pytest.mark.parametrize("traits", [{}, {"fp64": False}, {"group": 16}, {"local": 8192}], ids=str)
@pytest.mark.parametrize("case", MEDIUM)
def test_lanes_that_share_lines(case, traits, number):
    """Types, NaN and infinity anywhere in a window; groups and memory that hold less than a line's lanes."""
    shape, size, options = MEDIUM[case]
    rank = len(shape) - 2
    device = Device(number, True, {"cpu": False, "units": 2, **traits})
    with device.on():
        told = cpool.explain(f"adaptive_avg_pool{rank}d", sample("float32", shape), size, **options)
        assert told.kernel == "lines", told
        for dtype in ("float32", "float16", "uint8", "int64") if not traits else ("float32", "int64"):
            x = sample(dtype, shape, wide=True)
            check_max(f"adaptive_max_pool{rank}d", x, size, **options)
            if not (device.refuses_doubles() and dtype == "int64"):
                check(f"adaptive_avg_pool{rank}d", x, size, **options)
        x = sample("float32", (4, *shape[1:]))
        some = x.reshape(-1)[:: x.size // 37]
        some[:] = np.resize((np.nan, np.inf, -np.inf), some.shape)
        check(f"adaptive_avg_pool{rank}d", x, size, **options)
        check_max(f"adaptive_max_pool{rank}d", x, size, **options)


def test_out_of_any_layout_even_over_x(queue, cla):
    x = sample("float32", (2, 3, 8, 9))
    expected = cpool.adaptive_avg_pool2d(x, (7, 5))
    room = cla.zeros(queue, (2, 3, 14, 11), np.float32) + 77
    out = room[:, :, ::2, 1:10:2]
    assert cpool.adaptive_avg_pool2d(cla.to_device(queue, x), (7, 5), out=out) is out
    whole = room.get()
    assert_same_bits(whole[:, :, ::2, 1:10:2], expected)
    whole[:, :, ::2, 1:10:2] = 77
    assert (whole == 77).all(), "something beside out was written"
    over = cla.to_device(queue, x)
    cpool.adaptive_avg_pool2d(over, (7, 5), out=over[:, :, 1:, :5])
    assert_same_bits(over.get()[:, :, 1:, :5], expected)
    pair = cla.empty(queue, (2, 3, 7, 5), np.float32), cla.empty(queue, (2, 3, 7, 5), np.int64)
    assert cpool.adaptive_max_pool2d(cla.to_device(queue, x), (7, 5), True, out=pair) is pair
    for a, b in zip(pair, cpool.adaptive_max_pool2d(x, (7, 5), True), strict=True):
        assert_same_bits(a.get(), b)


def test_nothing_waits_and_everything_is_waited_for(queue, cl, cla):
    """Calls return while what they need is still to come, from a user's event or from another queue."""
    x = sample("float32", (2, 3, 10, 9))
    expected = cpool.adaptive_avg_pool2d(x, (7, 5))
    other = cl.CommandQueue(queue.context)
    gate = cl.UserEvent(queue.context)
    d = cla.empty(queue, x.shape, x.dtype)
    arrives = cl.enqueue_copy(other, d.base_data, x, is_blocking=False, wait_for=[gate])
    d.add_event(arrives)
    done = []

    def pool():
        done.append(cpool.adaptive_avg_pool2d(d, (7, 5)))

    thread = threading.Thread(target=pool)
    thread.start()
    thread.join(60)
    returned = not thread.is_alive()
    gate.set_status(cl.command_execution_status.COMPLETE)
    thread.join()
    assert returned, "the call waited for what was still to come"
    assert_same_bits(done[0].get(), expected)


def test_queues_without_order(queue, free, cla):
    """A later write to x waits for the pooling, as its event is among those of x."""
    x = sample("float32", (4, 3, 200, 190))
    expected = cpool.adaptive_avg_pool2d(x, (7, 5))
    for _ in range(5):
        d = cla.to_device(free, x)
        result = cpool.adaptive_avg_pool2d(d, (7, 5))
        assert d.events
        assert any(e == f for e in d.events for f in result.events)
        d.fill(0, wait_for=d.events)
        again = cpool.adaptive_max_pool2d(result, (3, 2))
        assert_same_bits(result.get(), expected)
        assert_same_bits(again.get(), cpool.adaptive_max_pool2d(expected, (3, 2)))
    d = cla.to_device(queue, x)
    d.finish()
    before = len(d.events)
    cpool.adaptive_avg_pool2d(d, (7, 5))
    assert len(d.events) == before, "on a queue with an order x need not wait"


@pytest.fixture
def launched(monkeypatch):
    """What every kernel that is started waits for, and its own event."""
    from cpool.opencl import programs

    found = []
    kernel = programs.Program.kernel

    def recorded(self, name):
        start = kernel(self, name)

        class Started:
            get_work_group_info = staticmethod(start.get_work_group_info)

            def __call__(self, *args, wait_for):
                found.append((name, list(wait_for), start(*args, wait_for=wait_for)))
                return found[-1][2]

        return Started()

    monkeypatch.setattr(programs.Program, "kernel", recorded)
    return found


OPERATIONS = ("avg", "max", "indices", "avg backward", "max backward", "squeeze_excite")


def uses(cla, queue, operation):
    """Arrays of the device that an operation takes, the last being its `out`, and the call."""
    x = sample("float32", (2, 3, 10, 9))
    values, indices = cpool.adaptive_max_pool2d(x, 3, return_indices=True)
    weights = [sample("float32", s) for s in ((2, 3), (2,), (3, 2), (3,))]
    taken, given, call = {
        "avg": ([x], values, lambda d, out: cpool.adaptive_avg_pool2d(d, 3, out=out)),
        "max": ([x], values, lambda d, out: cpool.adaptive_max_pool2d(d, 3, out=out)),
        "indices": ([x], None, lambda d: cpool.adaptive_max_pool2d(d, 3, return_indices=True)),
        "avg backward": ([values], x, lambda d, out: cpool.adaptive_avg_pool2d_backward(d, x.shape, out=out)),
        "max backward": ([values, indices], None, lambda d, i: cpool.adaptive_max_pool2d_backward(d, i, x.shape)),
        "squeeze_excite": ([x], x, lambda d, out: cpool.squeeze_excite(d, *weights, out=out)),
    }[operation]
    used = [cla.to_device(queue, a) for a in (*taken, *([] if given is None else [given]))]
    queue.finish()
    return used, len(taken), lambda: call(*used)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_kernels_wait_for_the_arrays_and_for_each_other(queue, free, cl, cla, launched, operation):
    used, taken, call = uses(cla, free, operation)
    gates = [cl.UserEvent(queue.context) for _ in used]
    for array, gate in zip(used, gates, strict=True):
        array.events.clear()
        array.add_event(gate)
        gate.set_status(cl.command_execution_status.COMPLETE)
    result = call()
    names, waited, events = zip(*launched, strict=True)
    everything = [e for some in waited for e in some]
    assert all(gate in everything for gate in gates), "an array is used before it is there"
    if operation != "squeeze_excite":  # whose out is written by the last kernel only
        assert all(gate in waited[0] for gate in gates)
    for before, after in itertools.pairwise(range(len(names))):
        assert events[before] in waited[after], f"{names[after]} doesn't wait for {names[before]}"
    results = [*used[taken:], *(result if isinstance(result, tuple) else [result])]
    for array in (*used[:taken], *results):
        assert events[-1] in array.events


@pytest.mark.parametrize("operation", OPERATIONS)
def test_other_queues_are_waited_for_and_told_to_begin(queue, cl, cla, launched, operation, monkeypatch):
    """Also those of `out`. A driver may hold commands back until their queue is flushed."""
    flushed = []

    class Other:
        """A queue that another thread was to flush and never does."""

        def __init__(self, real):
            self.real = real

        def flush(self):
            flushed.append(self.real)
            self.real.flush()

    class Event(cl.UserEvent):
        command_queue = None

    used, _, call = uses(cla, queue, operation)
    others = [Other(cl.CommandQueue(queue.context)) for _ in used]
    events = [Event(queue.context) for _ in used]
    for array, event, other in zip(used, events, others, strict=True):
        event.command_queue = other
        event.set_status(cl.command_execution_status.COMPLETE)
        array.add_event(event)
    call()
    assert {id(real) for real in flushed} == {id(other.real) for other in others}
    waited = [e for _, some, _ in launched for e in some]
    assert all(any(e is event for e in waited) for event in events)


def test_a_kernel_for_each_thread(queue, cl, cla):
    """Between the setting of its arguments and its start another thread would set others."""
    from cpool.opencl import programs

    x = sample("float32", (2, 3, 30, 29))
    d = cla.to_device(queue, x)
    cpool.adaptive_max_pool2d(d, 3)
    found, ready = [], threading.Barrier(4)

    built = next(reversed(programs.known._items.values()))[0]

    def work():
        ready.wait(60)
        found.append(built.kernel("pool"))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len({id(kernel) for kernel in found}) == 4
    wrong = []

    def pools(size):
        expected = cpool.adaptive_max_pool2d(x, size)
        wrong.extend(size for _ in range(50) if not np.array_equal(cpool.adaptive_max_pool2d(d, size).get(), expected))

    threads = [threading.Thread(target=pools, args=(size,)) for size in (2, 3, 5, 7, 11, 13)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_many_threads_and_two_contexts(queue, cl, cla):
    contexts = [cl.Context([queue.device]) for _ in range(2)]
    x = sample("float32", (2, 3, 30, 29))
    expected = {m: cpool.adaptive_max_pool2d(x, m) for m in range(1, 9)}
    wrong = []

    def work(number):
        mine = cl.CommandQueue(contexts[number % 2])
        d = cla.to_device(mine, x)
        results = [(m, cpool.adaptive_max_pool2d(d, m)) for m in list(expected) * 5]
        wrong.extend((number, m) for m, result in results if not np.array_equal(result.get(), expected[m]))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


@pytest.mark.slow
def test_a_thousand_contexts(queue, cl, cla):
    from cpool.opencl import layouts, programs

    x = sample("float32", (1, 3, 10, 9))
    expected = cpool.adaptive_max_pool2d(x, (7, 5))

    def use():
        context = cl.Context([queue.device])
        mine = cl.CommandQueue(context)
        assert_same_bits(cpool.adaptive_max_pool2d(cla.to_device(mine, x), (7, 5)).get(), expected)

    for _ in range(layouts.LAYOUTS + 100):
        use()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(900 - layouts.LAYOUTS):
        use()
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert len(programs.known) <= programs.PROGRAMS
    assert len(layouts.known) <= layouts.LAYOUTS
    assert grown < 200 * 1024, f"{grown} KiB more"
    cpool.opencl.clear_cache()
    assert not programs.known
    assert not layouts.known


def kept_on_the_device():
    from cpool.opencl import layouts, pool

    found = {id(v): v for v, _ in layouts.known._items.values()}
    found |= {id(v.layout): v.layout for v, _ in pool.known._items.values()}
    return sum(v.meta.size + (0 if v.by is None else v.by.size) for v in found.values())


def test_tables_take_a_part_of_the_memory(queue, cla):
    from cpool.opencl import devices

    cpool.opencl.clear_cache()
    d = cla.to_device(queue, sample("uint8", (1, 1, 2_000_000)))
    memory = queue.device.global_mem_size
    for k in range(8):
        cpool.adaptive_avg_pool1d(d, 1_500_000 + k, dtype=np.uint8)
    assert kept_on_the_device() <= min(memory // 16, 2**28)
    with devices.pretend(memory=2**24):
        for k in range(100):
            cpool.adaptive_avg_pool1d(d, 1_500 + k, dtype=np.uint8)
        assert 2**18 < kept_on_the_device() <= 2**20
        cpool.adaptive_avg_pool1d(d, 200_000, dtype=np.uint8)  # alone too large to be kept
        assert kept_on_the_device() <= 2**20
    cpool.opencl.clear_cache()


def test_many_calls_are_known(queue, cla, monkeypatch):
    from cpool.opencl import layouts, pool

    made = []
    for module in (layouts, pool):
        make = module._make
        monkeypatch.setattr(module, "_make", lambda *args, _make=make: made.append(args) or _make(*args))
    cpool.opencl.clear_cache()
    d = cla.to_device(queue, sample("uint8", (1, 1, 2_000)))
    for _ in range(2):
        for size in range(1, 401):
            cpool.adaptive_avg_pool1d(d, size, dtype=np.uint8)
    assert len(made) == 800


def test_what_is_cleared_holds_no_context(queue, cl, cla):
    context = cl.Context([queue.device])
    cpool.opencl.clear_cache()
    gc.collect()
    counted = cl.context_info.REFERENCE_COUNT
    before = context.get_info(counted)

    def use():
        mine = cl.CommandQueue(context)
        x = sample("float32", (2, 3, 10, 9))
        for call in every_operation(cla, mine, x).values():
            call()
        cpool.adaptive_avg_pool2d(x, 3, backend=mine)
        mine.finish()

    use()
    gc.collect()
    cl.tools.clear_first_arg_caches()  # PyOpenCL's own
    assert context.get_info(counted) > before
    cpool.opencl.clear_cache()
    gc.collect()
    assert context.get_info(counted) == before


def test_kernels_fuse_nothing(queue, cl, cla, monkeypatch):
    """A product and a sum in one step round otherwise: what a pair of floats leaves out would be wrong."""
    from cpool.opencl import programs

    texts = []
    build = programs._build
    monkeypatch.setattr(programs, "_build", lambda *args: texts.append(args[2]) or build(*args))
    cpool.opencl.clear_cache()
    for call in every_operation(cla, queue, sample("float32", (2, 3, 10, 9))).values():
        call()
    assert len(texts) >= 4
    for text in texts:
        before, found, _ = text.partition("#pragma OPENCL FP_CONTRACT OFF\n")
        assert found
        assert "{" not in before


def shared_memory(queue, cl):
    """Allocators of shared virtual memory."""
    from pyopencl.tools import SVMAllocator, SVMPool

    try:
        can = queue.device.svm_capabilities
    except cl.Error:  # OpenCL 1.2 doesn't know the question
        can = 0
    if not can:
        pytest.skip("the device has no shared virtual memory")
    allocator = SVMAllocator(queue.context, flags=cl.svm_mem_flags.READ_WRITE, queue=queue)
    return allocator, SVMPool(allocator)


@pytest.mark.parametrize("pooled", [False, True])
def test_shared_virtual_memory(queue, cl, cla, pooled):
    x = sample("float32", (2, 3, 10, 9))
    allocator = shared_memory(queue, cl)[pooled]
    d = cla.to_device(queue, x, allocator=allocator)
    assert d.base_data.svm_ptr
    pair = cpool.adaptive_max_pool2d(d[:, 1:, ::-1], (3, 2), return_indices=True)
    expected = cpool.adaptive_max_pool2d(x[:, 1:, ::-1], (3, 2), return_indices=True)
    for a, b in zip(pair, expected, strict=True):
        assert type(a.base_data) is type(d.base_data)
        assert_same_bits(a.get(), b)
    assert_same_bits(
        cpool.adaptive_max_pool2d_backward(*pair, (2, 2, 10, 9)).get(),
        cpool.adaptive_max_pool2d_backward(*expected, (2, 2, 10, 9)),
    )
    weights = [sample("float32", s) for s in ((2, 3), (2,), (3, 2), (3,))]
    found = cpool.squeeze_excite(d, *weights)
    np.testing.assert_allclose(found.get(), cpool.squeeze_excite(x, *weights), rtol=1e-5)
    for call, size in itertools.product((cpool.adaptive_max_pool2d, cpool.adaptive_avg_pool2d), ((3, 2), (10, 9))):
        over = cla.to_device(queue, x, allocator=allocator)
        out = over[:, :, : size[0], : size[1]]
        assert call(over, size, out=out) is out  # whose bytes are others, though its memory is the same
        assert_same_bits(over.get()[:, :, : size[0], : size[1]], call(x, size))


def test_where_shared_virtual_memory_overlaps(queue, cl, cla):
    from cpool.opencl import arrays

    allocator = shared_memory(queue, cl)[0]
    home = allocator(4096)
    base = home.svm_ptr

    class Part:
        """Some of it, as wrappers of memory of the host are."""

        def __init__(self, first, size):
            self.svm_ptr, self.size = base + first, size

    def at(first, offset):
        d = cla.Array(queue, (1, 1, 100), np.float32, data=home, offset=offset)
        d.base_data = Part(first, 4096 - first)
        return d

    assert arrays.is_same(at(0, 400), at(400, 0))
    assert not arrays.is_same(at(0, 400), at(404, 0))
    for first, offset, shares in ((0, 396, True), (396, 0, True), (400, 0, False), (0, 400, False), (200, 200, False)):
        assert arrays.share_memory(at(0, 0), at(first, offset)) is shares


def test_memory_of_the_host_as_shared(queue, cl, cla):
    shared_memory(queue, cl)
    if not queue.device.svm_capabilities & cl.device_svm_capabilities.FINE_GRAIN_SYSTEM:
        pytest.skip("the device can't use all of the host's memory")
    x = sample("float32", (2, 3, 10, 9))
    home = np.concatenate([np.zeros(7, np.float32), x.reshape(-1)])
    d = cla.Array(queue, x.shape, np.float32, data=cl.SVM(home), offset=28)
    assert_same_bits(cpool.adaptive_max_pool2d(d, 3).get(), cpool.adaptive_max_pool2d(x, 3))
    below = cla.Array(queue, (2, 3, 3, 3), np.float32, data=cl.SVM(home[20:]))
    expected = cpool.adaptive_max_pool2d(x, 3)
    assert cpool.adaptive_max_pool2d(d, 3, out=below) is below
    queue.finish()
    assert_same_bits(home[20 : 20 + expected.size].reshape(expected.shape), expected)


def test_layers_and_prepared_calls(queue, cla):
    x = sample("float32", (2, 4, 9, 7))
    d = cla.to_device(queue, x)
    layers = (
        cpool.nn.AdaptiveAvgPool2d((2, 3)),
        cpool.nn.MaxPool2d(2, return_indices=True),
        cpool.nn.GlobalAvgPool(keepdims=False),
        cpool.nn.GlobalMaxPool(),
    )
    for layer, _ in itertools.product(layers, range(2)):
        found, expected = layer(d), layer(x)
        if not isinstance(found, tuple):
            found, expected = (found,), (expected,)
        for one, other in zip(found, expected, strict=True):
            assert_same_bits(back(one), other)
    call = cpool.prepare(cpool.adaptive_max_pool2d, d, 3)
    assert_same_bits(call(d).get(), call(x))
    out = cla.empty(queue, (2, 4, 3, 3), np.float32)
    assert call(d, out=out) is out
    assert_same_bits(out.get(), call(x))


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_squeeze_excite(queue, cl, cla, dtype):
    weights = [sample("float32", s) for s in ((6, 24), (6,), (24, 6), (24,))]
    for data_format, shape in (
        ("channels_first", (2, 24, 7, 9)),
        ("channels_last", (2, 7, 9, 24)),
        ("CHW", (24, 5, 3)),
    ):
        x = sample(dtype, shape)
        for activation in ("silu", "relu", "relu6", "hardswish", "tanh", "identity"):
            for gate in ("sigmoid", "hardsigmoid"):
                options = {"activation": activation, "gate": gate, "data_format": data_format}
                expected = cpool.squeeze_excite(x, *weights, **options).astype(np.float64)
                d = cla.to_device(queue, x)
                found = back(cpool.squeeze_excite(d, *weights, **options))
                assert found.dtype == x.dtype
                np.testing.assert_allclose(found, expected, rtol=2e-3 if dtype == "float16" else 1e-5, atol=1e-6)
        assert cpool.squeeze_excite(d, *weights, **options, out=d) is d
        assert_same_bits(back(d), found)
    context = cl.Context([queue.device])
    foreign = cla.empty(cl.CommandQueue(context), d.shape, d.dtype)
    with pytest.raises(ValueError, match=r"^out: got 'an array of another context'"):
        cpool.squeeze_excite(d, *weights, **options, out=foreign)
    with pytest.raises(TypeError, match=r"^w1: got 'Array'; weights are arrays of the host"):
        cpool.squeeze_excite(d, cla.to_device(queue, weights[0]), *weights[1:], data_format="CHW")


# ---- what is refused -----------------------------------------------------------------------------------


def test_device_arrays_that_do_not_fit(queue, cl, cla, name):
    x = sample("float32", (2, 3, 10, 9))
    d = cla.to_device(queue, x)
    with pytest.raises(ValueError, match=r"^x: got 'a device array without a queue'.*with_queue"):
        cpool.adaptive_avg_pool2d(d.with_queue(None), 7)
    pooled = [cla.to_device(queue, a) for a in cpool.adaptive_max_pool2d(x, 7, return_indices=True)]
    lost = [a.with_queue(None) for a in pooled]
    for argument, call in (
        ("out", lambda: cpool.adaptive_avg_pool2d(d, 7, out=lost[0])),
        ("grad", lambda: cpool.adaptive_max_pool2d_backward(lost[0], pooled[1], x.shape)),
        ("indices", lambda: cpool.adaptive_max_pool2d_backward(pooled[0], lost[1], x.shape)),
    ):
        with pytest.raises(ValueError, match=rf"^{argument}: got 'a device array without a queue'.*{argument}.with_"):
            call()
    host, device = np.empty((2, 3, 7, 5), np.float32), cla.empty(queue, (2, 3, 7, 5), np.float32)
    with pytest.raises(TypeError, match=r"^out: got 'ndarray'; a device array is needed"):
        cpool.adaptive_avg_pool2d(d, (7, 5), out=host)
    with pytest.raises(TypeError, match=r"^out: got 'Array'; an array of the host is needed"):
        cpool.adaptive_avg_pool2d(x, (7, 5), out=device)
    with pytest.raises(TypeError, match=r"^indices: got 'ndarray'; a device array is needed"):
        cpool.adaptive_max_pool2d_backward(device, np.zeros((2, 3, 7, 5), np.int64), x.shape)
    with pytest.raises(ValueError, match=r"^out: got \(2, 3, 7, 5\); the result has shape \(2, 3, 7, 4\)"):
        cpool.adaptive_avg_pool2d(d, (7, 4), out=device)
    with pytest.raises(ValueError, match=r"^backend: got 'cpu'; x lies on"):
        cpool.adaptive_avg_pool2d(d, 7, backend="cpu")
    with pytest.raises(ValueError, match=r"^backend: got .*; x lies on"):
        cpool.adaptive_avg_pool2d(d, 7, backend=cl.CommandQueue(queue.context))
    context = cl.Context([queue.device])  # not every queue keeps its own alive
    foreign = cla.empty(cl.CommandQueue(context), (2, 3, 7, 5), np.float32)
    with pytest.raises(ValueError, match=r"^out: got 'an array of another context'"):
        cpool.adaptive_avg_pool2d(d, (7, 5), out=foreign)
    mine, theirs = cla.zeros(queue, (2, 3, 7, 5), np.int64), cla.zeros(foreign.queue, (2, 3, 7, 5), np.int64)
    cpool.adaptive_max_pool2d_backward(device, mine, x.shape)
    with pytest.raises(ValueError, match=r"^indices: got 'an array of another context'"):
        cpool.adaptive_max_pool2d_backward(device, theirs, x.shape)
    room = cl.Buffer(queue.context, cl.mem_flags.READ_WRITE, 2 * device.nbytes)
    for _ in range(2):  # what was seen before is looked at, too
        cpool.adaptive_avg_pool2d(d, (7, 5), out=device)
        between = cla.Array(queue, device.shape, np.float32, data=room, offset=2)
        with pytest.raises(
            ValueError, match=r"^out: got 'offset 2 and strides .*; whole elements of 4 bytes are needed"
        ):
            cpool.adaptive_avg_pool2d(d, (7, 5), out=between)
    swapped = cla.to_device(queue, x.astype(">f4"))
    with pytest.raises(TypeError, match=r"^x: got dtype >f4; device arrays are of the device's own byte order"):
        cpool.adaptive_avg_pool2d(swapped, 7)
    with pytest.raises(TypeError, match=r"^x: got 'CommandQueue'; an array of NumPy or a pyopencl"):
        cpool.adaptive_avg_pool2d(queue, 7)
    for same in (None, name, "opencl", queue):
        assert cpool.adaptive_avg_pool2d(d, 7, backend=same).queue == queue
    with cpool.use_backend("cpu"):  # is for arrays of the host
        assert cpool.adaptive_avg_pool2d(d, 7).queue == queue


def test_names_that_fit_nothing(queue):
    x = np.ones((1, 2, 5, 7), np.float32)
    with pytest.raises(ValueError, match=r"^backend: got 'opencl:99'; there (is|are) \d+ OpenCL device"):
        cpool.adaptive_avg_pool2d(x, 3, backend="opencl:99")
    with pytest.raises(
        ValueError, match=r"^backend: got 'opencl:no such'; none of the OpenCL devices fit that name \(0: "
    ):
        cpool.adaptive_avg_pool2d(x, 3, backend="opencl:no such")
    with pytest.raises(ValueError, match=r"^backend: got 'opencl:'; one of"):
        cpool.adaptive_avg_pool2d(x, 3, backend="opencl:")


@pytest.mark.parametrize("wrong", [-1, 90, 2**40, -(2**62)])
def test_hostile_indices(queue, cla, wrong):
    x = sample("float32", (2, 3, 10, 9))
    values, indices = cpool.adaptive_max_pool2d(cla.to_device(queue, x), (7, 5), return_indices=True)
    bad = indices.get()
    bad[1, 2, 6, 4] = wrong
    out = cla.zeros(queue, x.shape, np.float32) + 5
    with pytest.raises(ValueError, match=f"^indices: got {wrong}; a plane has 90 elements: from 0 to 89"):
        cpool.adaptive_max_pool2d_backward(values, cla.to_device(queue, bad), x.shape, out=out)
    assert (out.get() == 5).all()
    expected = cpool.adaptive_max_pool2d_backward(values.get(), indices.get(), x.shape)
    assert cpool.adaptive_max_pool2d_backward(values, indices, x.shape, out=out) is out
    assert_same_bits(out.get(), expected)
    narrow = indices.astype(np.int32)
    assert_same_bits(cpool.adaptive_max_pool2d_backward(values, narrow, x.shape).get(), expected)


def test_without_doubles_what_needs_them_is_refused(queue, cla):
    from cpool.opencl import devices

    x = sample("float64", (2, 3, 10, 9))
    d, z = cla.to_device(queue, x), cla.to_device(queue, x.astype(np.complex128))
    integers, shape = cla.to_device(queue, np.ones((1, 5, 7), np.int32)), (2, 3, 20, 20)
    narrow = "convert it on the host, with {}.get() first if it lies on the device: astype(numpy.{}), or use backend"
    asked = "use dtype=numpy.{}, or an out of that type, or use backend='cpu'"
    indices = cla.zeros(queue, x.shape, np.int64)
    with devices.pretend(fp64=False):
        for call, what, dtype, way_out in (
            (lambda: cpool.adaptive_avg_pool2d(d, 7), "the result", "float64", asked.format("float32")),
            (lambda: cpool.adaptive_avg_pool2d(z, 7), "the result", "complex128", asked.format("complex64")),
            (lambda: cpool.adaptive_avg_pool2d(integers, 3), "the result", "float64", asked.format("float32")),
            (lambda: cpool.adaptive_avg_pool2d_backward(d, shape), "grad", "float64", narrow.format("grad", "float32")),
            (
                lambda: cpool.adaptive_max_pool2d_backward(d, indices, shape),
                *("grad", "float64", narrow.format("grad", "float32")),
            ),
            (
                lambda: cpool.explain("adaptive_avg_pool2d", z, 7),
                *("the result", "complex128", asked.format("complex64")),
            ),
        ):
            wanted = rf"^{what} is {dtype}, and the device .* has no doubles; {re.escape(way_out)}"
            with pytest.raises(cpool.BackendUnavailable, match=wanted):
                call()
        values = cpool.adaptive_max_pool2d(d, 7)
        single = cpool.adaptive_avg_pool2d(cla.to_device(queue, np.full((1, 5, 7), 2**30, np.int32)), 3, dtype="f4")
    assert_same_bits(values.get(), cpool.adaptive_max_pool2d(x, 7))
    assert (single.get() == 2**30).all()


@pytest.mark.parametrize("target", ["float32", "float16", "complex64"])
@pytest.mark.parametrize("traits", [{}, {"cpu": False}, {"cpu": False, "units": 2}], ids=str)
def test_doubles_are_averaged_where_there_are_none(traits, target, number):
    """Exponents far apart, numbers no float holds, what cancels, NaN and infinity; few huge windows, and lines."""

    def pooled(operation, x, size, **options):
        if target == "complex64":
            x = np.stack((x, x[::-1]), -1).view(np.complex128)[..., 0]
        check(operation, x, size, dtype=np.dtype(target), **options)

    random = np.random.default_rng(5)
    with Device(number, True, {"fp64": False, **traits}).on():
        tiny = "subnormal floats" in cpool.devices()[1 + number].features
        for shape, size in (((2, 3, 10, 9), 7), ((2, 3, 23, 31), (4, 5)), ((2, 300, 301), 1), ((1, 2, 96, 90), (5, 7))):
            x = random.standard_normal(shape)
            cases = [x, x * 2.0 ** random.integers(*((-1000, 900) if tiny else (-60, 90)), shape), x.copy()]
            some = cases[2].reshape(-1)[:: max(x.size // 37, 1)]
            some[:] = np.resize((np.nan, np.inf, -np.inf, 1e308, -1e308), some.shape)
            for case in cases:
                pooled("adaptive_avg_pool2d", case, size)
        pooled("adaptive_avg_pool2d", np.tile([1e300, 1.0, -1e300, 2.0], (1, 3, 8, 2)), (3, 1))
        pooled("avg_pool2d", x, 3, stride=2, divisor_override=-7)


def test_a_build_that_fails_says_why_and_the_next_one_works(queue, cla, monkeypatch):
    from cpool.opencl import pool, programs

    x = sample("float32", (2, 3, 10, 9))
    d = cla.to_device(queue, x)
    cpool.opencl.clear_cache()
    kept = dict(programs._texts)
    monkeypatch.setattr(programs, "_texts", {pool.FILES: "#error this is broken\n"})
    with pytest.raises(cpool.BackendUnavailable, match=r"can't build its kernels for (.|\n)*this is broken"):
        cpool.adaptive_avg_pool2d(d, (7, 5))
    monkeypatch.setattr(programs, "_texts", kept)
    assert_same_bits(cpool.adaptive_avg_pool2d(d, (7, 5)).get(), cpool.adaptive_avg_pool2d(x, (7, 5)))


class Named:
    """A device of which only its names matter."""

    name = "pthread-AMD EPYC"

    def __init__(self, version: str) -> None:
        self.version = version


@pytest.mark.parametrize("sets", [("avx512", "avx2", "baseline"), ("avx2", "baseline")], ids=["zen4", "zen3"])
def test_a_compiler_that_would_end_the_process_is_not_asked(sets, name, monkeypatch):
    """PoCL with LLVM 14 takes Zen 4 for Zen 3; on a Zen 3 it is right."""
    from cpool import cpu
    from cpool.opencl import pool, programs

    class Asked(Exception):
        pass

    def build(*args):
        raise Asked

    monkeypatch.setattr(programs, "_build", build)
    monkeypatch.setattr(cpu, "simd_available", lambda: sets)
    for target in ("znver3", "znver4"):
        device = Named(f"OpenCL 3.0 PoCL HSTR: pthread-x86_64-unknown-linux-gnu-{target}")
        refused = target == "znver3" and "avx512" in sets
        wanted = pytest.raises(cpool.BackendUnavailable, match=r"AMD EPYC, whose compiler is older than this processor")
        with wanted if refused else pytest.raises(Asked):
            programs.Program(None, device, pool.FILES, ())


SMALL_GROUPS = """
import numpy as np, pyopencl as cl, pyopencl.array as cla, cpool
device = next(d for p in cl.get_platforms() for d in p.get_devices() if d.max_work_group_size == 8)
queue = cl.CommandQueue(cl.Context([device]))
x = np.random.default_rng(0).random((2, 3, 40, 36), np.float32)
d = cla.to_device(queue, x)
grad, indices = cpool.adaptive_max_pool2d(x, 7, return_indices=True)
found = cpool.adaptive_max_pool2d_backward(cla.to_device(queue, grad), cla.to_device(queue, indices), x.shape)
assert (found.get() == cpool.adaptive_max_pool2d_backward(grad, indices, x.shape)).all()
weights = [np.ones(s, np.float32) for s in ((2, 3), (2,), (3, 2), (3,))]
assert np.allclose(cpool.squeeze_excite(d, *weights).get(), cpool.squeeze_excite(x, *weights))
assert (cpool.adaptive_max_pool2d(d, 7).get() == grad).all()
print("fits")
"""


def test_devices_whose_groups_are_small(queue):
    if "pthread" not in queue.device.name:
        pytest.skip("only PoCL can be told how large groups are")
    assert run_python(SMALL_GROUPS, POCL_MAX_WORK_GROUP_SIZE="8") == "fits\n"


@pytest.mark.parametrize("most", [1, 4, 32])
def test_kernels_whose_groups_are_small(engines_here, queue, most, monkeypatch):
    """As those are that take many registers: less is shared by lanes, and in smaller groups."""
    from cpool.opencl import pool, programs

    kernel = programs.cl.Kernel

    class Small(kernel):
        def get_work_group_info(self, asked, device):
            return most

    monkeypatch.setattr(programs.cl, "Kernel", Small)
    cpool.opencl.clear_cache()
    launches = []
    with engines_here[1].on(), monkeypatch.context() as patched:
        make = pool._make
        patched.setattr(pool, "_make", lambda *args: launches.append(make(*args)) or launches[-1])
        for shape in ((2, 3, 40, 36), (1, 1, 701, 603)):
            for x in (sample("float32", shape), place(sample("float32", shape), "channels_last")):
                check("adaptive_avg_pool2d", x, (2, 1), compare_reference=False)
                check_max("adaptive_max_pool2d", x, (2, 1))
    cpool.opencl.clear_cache()
    assert launches
    assert all(np.prod(launch.group) <= most for launch in launches)
    assert {launch.layout.share.parts > 1 for launch in launches} == {True, False}


def test_a_home_that_nobody_can_write(queue, name, tmp_path):
    """PyOpenCL keeps programs there, and how it calls kernels: it can't do without unless it is told to."""
    code = (
        f"import numpy as np, cpool; print(cpool.global_avg_pool(np.ones((1, 1, 3, 5), 'f'), backend={name!r}).item())"
    )
    nowhere = {"HOME": "/proc/nope", "XDG_CACHE_HOME": "/proc/nope", "POCL_CACHE_DIR": str(tmp_path)}
    told = python(code, **nowhere).stderr
    assert "BackendUnavailable: the backend 'opencl' has PyOpenCL fail" in told
    assert "or set PYOPENCL_NO_CACHE=1" in told
    assert run_python(code, **nowhere, PYOPENCL_NO_CACHE="1") == "1.0\n"


@pytest.mark.parametrize("error", [KeyError("PYOPENCL_CACHE_FAILURE_FATAL"), OSError("read-only")])
def test_a_cache_that_fails_is_left_out(queue, cl, cla, error, monkeypatch):
    built = []
    build = cl.Program.build

    def fails(self, options, devices, cache_dir=None):
        built.append(cache_dir)
        if cache_dir is None:
            raise error
        return build(self, options, devices, cache_dir)

    x = sample("float32", (2, 3, 10, 9))
    d = cla.to_device(queue, x)
    cpool.opencl.clear_cache()
    monkeypatch.setattr(cl.Program, "build", fails)
    assert_same_bits(cpool.adaptive_max_pool2d(d, 3).get(), cpool.adaptive_max_pool2d(x, 3))
    assert built == [None, False]


def test_programs_are_built_once_for_all_processes(queue, cl, cla, monkeypatch):
    """By PyOpenCL's cache, or the driver's own."""
    built = []
    build = cl.Program.build
    monkeypatch.setattr(cl.Program, "build", lambda self, *a, **k: built.append((a[2:], k)) or build(self, *a, **k))
    cpool.opencl.clear_cache()
    cpool.adaptive_max_pool2d(cla.to_device(queue, sample("float32", (2, 3, 10, 9))), 3)
    assert built == [((), {})]


@pytest.mark.parametrize("kind", ["RuntimeError", "LogicError", "Error"])
def test_whatever_a_build_fails_with(queue, cl, cla, kind, monkeypatch):
    def fails(*args, **options):
        raise getattr(cl, kind)("so it is")

    d = cla.to_device(queue, sample("float32", (2, 3, 10, 9)))
    cpool.opencl.clear_cache()
    monkeypatch.setattr(cl.Program, "build", fails)
    with pytest.raises(cpool.BackendUnavailable, match=r"can't build its kernels for .*\n.*so it is"):
        cpool.adaptive_max_pool2d(d, 3)


FORKED = """
import os, sys, signal
import numpy as np, cpool
x = np.ones((1, 2, 5, 7), np.float32)
cpool.adaptive_avg_pool2d(x, 3, backend={name!r})
child = os.fork()
if child == 0:
    signal.alarm(60)
    assert (cpool.adaptive_avg_pool2d(x, 3) == 1).all()
    try:
        cpool.adaptive_avg_pool2d(x, 3, backend={name!r})
    except cpool.BackendUnavailable as error:
        assert "spawn" in str(error)
        os._exit(7)
    os._exit(1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_the_child_of_a_fork_is_told(queue, name):
    assert run_python(FORKED.format(name=name)) == "7\n"


# ---- ways that small arrays don't take ---------------------------------------------------------------------


def test_numbers_that_need_64_bits(engines_here, queue, monkeypatch):
    from cpool.opencl import layouts

    monkeypatch.setattr(layouts, "FEW", 1)
    with engines_here[1].on():
        for layout in ("contiguous", "channels_last", "sparse"):
            check("adaptive_avg_pool2d", place(sample("float32", (2, 3, 10, 9)), layout), (7, 5))
            check_max("adaptive_max_pool3d", place(sample("int16", (2, 3, 5, 10, 9)), layout), (3, 7, 5))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "uint8", "int64"])
def test_few_results_of_large_windows(engines_here, queue, dtype):
    """Work-groups share a window, and a second pass joins what they found."""
    for engine in engines_here:
        if engine.refuses_doubles() and dtype == "int64":
            continue
        with engine.on():
            for shape, size in (
                ((1, 1, 701, 1303), 1),
                ((1, 2, 1, 900_001), (1, 3)),
                ((1, 700_001, 1), 1),
                ((3, 811, 997), 2),
            ):
                x = sample(dtype, shape)
                if len(shape) == 4:
                    if size == 1:
                        assert cpool.explain("adaptive_avg_pool2d", x, size).kernel == "parts"
                    check("adaptive_avg_pool2d", x, size, compare_reference=False)
                    check_max("adaptive_max_pool2d", x, size)
                else:
                    check("adaptive_avg_pool", x, size, compare_reference=False)


def test_host_arrays_in_pieces(engines_here, queue, name, monkeypatch):
    """No piece is larger than the device allows; what can't be cut is refused, and nothing hangs."""
    from cpool.opencl import transfers

    with engines_here[0].on():
        for limit in (4000, 30_000):
            monkeypatch.setattr(transfers, "_limit", limit)
            for layout in ("contiguous", "channels_last", "sparse", "reversed"):
                x = place(sample("float32", (5, 7, 20, 18)), layout)
                check("adaptive_avg_pool2d", x, (7, 5))
                check_max("adaptive_max_pool2d", x, (7, 5))
                check("avg_pool2d", x, 3, stride=2, padding=1, ceil_mode=True)
                grad = place(sample("float32", (5, 7, 7, 5)), layout)
                check_gradient("adaptive_avg_pool2d", grad, (5, 7, 20, 18))
                _, indices = cpool.adaptive_max_pool2d(x, (7, 5), return_indices=True)
                check_gradient("adaptive_max_pool2d", grad, (5, 7, 20, 18), indices=indices)
        monkeypatch.setattr(transfers, "_limit", 4000)
        x = sample("float32", (1, 1, 90, 80))
        check("adaptive_avg_pool2d", x, (31, 17))
        check("avg_pool2d", x, (5, 3), stride=(2, 3), dilation=(3, 2))
        with pytest.raises(MemoryError, match=r"one window takes 28800 bytes, and the device takes 4000; use backend="):
            cpool.adaptive_avg_pool2d(x, 1)
        with pytest.raises(MemoryError, match=r"one plane, whose indices .* 28800 bytes, and the device takes 4000"):
            cpool.adaptive_max_pool2d(x, (31, 17), return_indices=True)
        with pytest.raises(MemoryError, match="the gradient of one plane takes 28800 bytes, and the device takes"):
            cpool.adaptive_avg_pool2d_backward(cpool.adaptive_avg_pool2d(x, (31, 17)), x.shape)
        monkeypatch.setattr(transfers, "_limit", None)
        check("adaptive_avg_pool2d", x, 1)


@pytest.mark.parametrize("shared", [True, False])
def test_host_arrays_where_they_lie(queue, name, shared, monkeypatch):
    """A device that shares the host's memory reads and writes it in place; others are sent copies."""
    import pyopencl as cl

    from cpool.opencl import devices

    if shared and not queue.device.host_unified_memory:
        pytest.skip("the device has memory of its own")
    copies = []
    monkeypatch.setattr(cl, "enqueue_copy", lambda *a, _copy=cl.enqueue_copy, **k: copies.append(a) or _copy(*a, **k))
    with devices.pretend(unified=shared):
        for x in (cpool.empty_aligned((3, 5, 13, 11)), np.empty(3 * 5 * 13 * 11 * 4 + 2, np.uint8)[2:].view("<f4")):
            x = x.reshape(3, 5, 13, 11)
            x[...] = sample("float32", x.shape)
            x.flags.writeable = False
            expected = cpool.adaptive_avg_pool2d(x, (5, 4))
            largest, where = cpool.adaptive_max_pool2d(x, (5, 4), return_indices=True)
            wide = np.full((3, 5, 5, 6), 7, np.float32)
            for room in (None, np.empty_like(expected), np.empty(expected.shape, ">f4"), wide[..., 1:5]):
                found = cpool.adaptive_avg_pool2d(x, (5, 4), out=room, backend=queue)
                assert_same_bits(found.astype("=f4"), expected)
            assert (wide[..., [0, 5]] == 7).all()
            found = cpool.adaptive_max_pool2d(x, (5, 4), return_indices=True, backend=queue)
            assert_same_bits(found[0], largest)
            assert_same_bits(found[1], where)
    assert bool(copies) is not shared


def test_nothing_in_it(queue, cla, name):
    """Empty arrays, and gradients of nothing."""
    for shape in ((0, 3, 5, 7), (2, 0, 5, 7)):
        x = np.ones(shape, np.float32)
        for result in (cpool.adaptive_avg_pool2d(x, 2, backend=name), cpool.adaptive_avg_pool2d(there(queue, x), 2)):
            assert result.shape == (*shape[:2], 2, 2)
    grad = np.zeros((2, 3, 0, 0), np.float32)
    indices = np.zeros((2, 3, 0, 0), np.int64)
    for a, b in ((grad, indices), (there(queue, grad), there(queue, indices))):
        on = {"backend": name} if a is grad else {}
        for result in (
            cpool.adaptive_avg_pool2d_backward(a, (2, 3, 8, 9), **on),
            cpool.adaptive_max_pool2d_backward(a, b, (2, 3, 8, 9), **on),
        ):
            result = result if a is grad else back(result)
            assert result.shape == (2, 3, 8, 9)
            assert not result.any()


def every_operation(cla, queue, x, allocator=None):
    """A call of each kind for an array of the device, results of which are new, or given and over x."""
    d = cla.to_device(queue, x, allocator=allocator)
    pooled = cpool.adaptive_max_pool2d(x, 3, return_indices=True)
    grad, indices, narrow = (
        cla.to_device(queue, a, allocator=allocator) for a in (*pooled, pooled[1].astype(np.int32))
    )
    over = [cla.to_device(queue, a, allocator=allocator) for a in (x, x, x, pooled[0], pooled[1], pooled[0])]
    weights = [sample("float32", s) for s in ((2, 3), (2,), (3, 2), (3,))]
    queue.finish()
    shape = x.shape
    return {
        "avg": lambda: cpool.adaptive_avg_pool2d(d, 3),
        "avg over x": lambda: cpool.adaptive_avg_pool2d(over[0], 3, out=over[0][:, :, :3, :3]),
        "max": lambda: cpool.max_pool2d(d, 2),
        "indices": lambda: cpool.adaptive_max_pool2d(d, 3, return_indices=True),
        "pair": lambda: cpool.adaptive_max_pool2d(d, 3, return_indices=True, out=(over[3], over[4])),
        "avg backward": lambda: cpool.adaptive_avg_pool2d_backward(grad, shape),
        "avg backward over grad": lambda: cpool.adaptive_avg_pool2d_backward(over[5], over[5].shape, out=over[5]),
        "max backward": lambda: cpool.adaptive_max_pool2d_backward(grad, indices, shape),
        "narrow indices": lambda: cpool.adaptive_max_pool2d_backward(grad, narrow, shape, out=over[1]),
        "squeeze_excite": lambda: cpool.squeeze_excite(d, *weights),
        "squeeze_excite over x": lambda: cpool.squeeze_excite(over[2], *weights, out=over[2][:, :, ::-1]),
    }


def test_whatever_allocation_fails_is_a_memory_error(queue, cl, cla, name, monkeypatch):
    """The n-th buffer that a call takes isn't there, for each n: that is told, and the call then works."""
    x = sample("float32", (2, 3, 10, 9))
    calls = every_operation(cla, queue, x)
    calls["host"] = lambda: cpool.adaptive_avg_pool2d(x, 3, backend=name)
    pair = cpool.adaptive_max_pool2d(x, 3, return_indices=True)
    calls["host backward"] = lambda: cpool.adaptive_max_pool2d_backward(*pair, x.shape, backend=name)
    left = []

    class Buffer(cl.Buffer):
        def __init__(self, *args, **options):
            left.append(left.pop() - 1)
            if left[0] < 0:
                raise cl.MemoryError("there is none")
            super().__init__(*args, **options)

    said = set()
    for kind, call in calls.items():
        failed = 0
        while True:
            cpool.opencl.clear_cache()
            left[:] = [failed]
            with monkeypatch.context() as patched:
                patched.setattr(cl, "Buffer", Buffer)
                try:
                    call()
                    break
                except MemoryError as error:
                    said.add(str(error))
                    failed += 1
        assert failed, kind
        call()
    assert all("no memory left for" in text and "pool on the CPU (x.get()" in text for text in said)
    assert_same_bits(calls["max"]().get(), cpool.max_pool2d(x, 2))


def test_an_allocator_that_fails_leaves_nothing_behind(queue, cl, cla):
    taken = weakref.WeakSet()
    full = []

    class Buffer(cl.Buffer):
        pass

    def allocator(size):
        if full:
            raise cl.MemoryError("there is none")
        taken.add(made := Buffer(queue.context, cl.mem_flags.READ_WRITE, max(size, 1)))
        return made

    calls = every_operation(cla, queue, sample("float32", (2, 3, 10, 9)), allocator)
    gc.collect()
    before = len(taken)
    for kind, call in calls.items():
        full[:] = [True]
        if kind in ("avg", "max", "indices", "avg backward", "max backward", "squeeze_excite"):
            with pytest.raises(MemoryError, match="no memory left for"):
                call()
        full.clear()
        call()
        gc.collect()
        assert len(taken) == before, kind


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(1, 1, 2**16, 2**16 + 1), (1, 2**32 + 1, 1, 1), (1, 1, 1, 2**32)])
def test_windows_of_more_than_32_bits(queue, cl, cla, shape):
    """Of one element that is there once: its strides are zero."""
    buffer = cl.Buffer(
        queue.context, cl.mem_flags.READ_ONLY | cl.mem_flags.COPY_HOST_PTR, hostbuf=np.full(64, 3, np.uint8)
    )
    d = cla.Array(queue, shape, np.uint8, data=buffer, strides=(0, 0, 0, 0))
    if shape[1] == 1:
        assert cpool.global_avg_pool(d).get().item() == 3
        values, indices = cpool.global_max_pool(d, return_indices=True)
        assert (values.get().item(), indices.get().item()) == (3, 0)
    else:
        assert cpool.adaptive_avg_pool(d, 1).get().item() == 3


def test_buffers_that_are_parts_of_one(queue, cl, cla):
    x = np.arange(2048, dtype=np.float32)
    parent = cl.Buffer(queue.context, cl.mem_flags.READ_WRITE, x.nbytes)
    cl.enqueue_copy(queue, parent, x)
    step = queue.device.mem_base_addr_align // 8
    d = cla.Array(queue, (1, 1, 1500), np.float32, data=parent.get_sub_region(0, 6000))
    out = cla.Array(queue, (1, 1, 750), np.float32, data=parent.get_sub_region(step, 3000))
    cpool.adaptive_avg_pool1d(d, 750, out=out)
    assert_same_bits(out.get(), cpool.adaptive_avg_pool1d(x[:1500][None, None], 750))


def test_what_is_only_passing_is_not_taken_from_the_pool(queue, free, cl, cla):
    """Its memory would be given to others while kernels still use it."""
    from pyopencl.tools import ImmediateAllocator, MemoryPool

    pool = MemoryPool(ImmediateAllocator(queue))
    x = sample("float32", (2, 3, 40, 36))
    d = cla.to_device(free, x, allocator=pool)
    d.finish()
    out = tuple(cla.empty(free, (2, 3, 7, 5), kind, allocator=pool) for kind in (np.float32, np.int64))
    gate = cl.UserEvent(queue.context)
    d.add_event(gate)
    cpool.adaptive_max_pool2d(d, (7, 5), True, out=out)
    mine = []
    for kind in (np.int64, np.float32):
        mine.append(cla.empty(free, (2, 3, 7, 5), kind, allocator=pool))
        mine[-1].fill(9)
        mine[-1].finish()
    gate.set_status(cl.command_execution_status.COMPLETE)
    free.finish()
    assert all((array.get() == 9).all() for array in mine)
    for a, b in zip(out, cpool.adaptive_max_pool2d(x, (7, 5), True), strict=True):
        assert_same_bits(a.get(), b)


@pytest.mark.parametrize("shared", [True, False])
def test_a_piece_that_fails_is_waited_for(queue, cl, name, shared, monkeypatch):
    from cpool.opencl import devices, pool

    if shared and not queue.device.host_unified_memory:
        pytest.skip("the device has memory of its own")

    started = []
    run = pool.run
    monkeypatch.setattr(pool, "run", lambda *args: started.append(run(*args)) or started[-1])
    copy = cl.enqueue_copy

    def fails(queue, to, *args, **options):
        if isinstance(to, np.ndarray) or shared:
            raise KeyboardInterrupt
        return copy(queue, to, *args, **options)

    monkeypatch.setattr(cl, "enqueue_copy", fails)
    monkeypatch.setattr(cl, "enqueue_map_buffer", fails)
    with devices.pretend(unified=shared), pytest.raises(KeyboardInterrupt):
        cpool.adaptive_avg_pool2d(sample("float32", (16, 64, 200, 190)), 3, backend=name)
    assert started[0].command_execution_status == cl.command_execution_status.COMPLETE


def test_channels_outside_of_the_batch(queue):
    """The means lie as x does, and are read as layers want them."""
    x = sample("float32", (4, 3, 5, 6)).transpose(1, 0, 2, 3)
    weights = [sample("float32", s) for s in ((2, 4), (2,), (4, 2), (4,))]
    np.testing.assert_allclose(
        back(cpool.squeeze_excite(there(queue, x), *weights)), cpool.squeeze_excite(x, *weights), rtol=1e-5
    )
    nothing = [np.zeros(s, np.float32) for s in ((0, 4), (0,), (4, 0), (4,))]
    np.testing.assert_allclose(
        back(cpool.squeeze_excite(there(queue, x), *nothing)), cpool.squeeze_excite(x, *nothing), rtol=1e-6
    )


def test_what_only_the_processor_took(queue, name):
    grad = np.zeros((2, 3, 0, 5), np.float32)
    for on in (name, None):
        array = grad if on else there(queue, grad)
        result = cpool.adaptive_avg_pool2d_backward(array, (2, 3, 8, 9), backend=on)
        assert not (result if on else back(result)).any()
    x = sample("float32", (2, 3, 10, 9))
    values, indices = cpool.adaptive_max_pool2d(x, (7, 5), return_indices=True)
    sparse = np.zeros((2, 3, 7, 10), np.int32)
    sparse[..., ::2] = indices
    result = cpool.adaptive_max_pool2d_backward(there(queue, values), there(queue, sparse[..., ::2]), x.shape)
    assert_same_bits(back(result), cpool.adaptive_max_pool2d_backward(values, indices, x.shape))
    one = cpool.adaptive_max_pool_backward(np.array(1.0, np.float32), np.array(0), (), backend=name)
    assert (one.shape, one.item()) == ((), 1.0)
    assert cpool.explain("adaptive_avg_pool2d", np.ones((1, 2, 5, 7), np.int8), 0, backend=name).kernel == "items"


SAID = {
    -4: (MemoryError, "has no memory left for adaptive_avg_pool2d: .* Let go of arrays there, take fewer planes"),
    -6: (MemoryError, "has no memory left for adaptive_avg_pool2d: "),
    -61: (MemoryError, "has no memory left for adaptive_avg_pool2d: "),
    -2: (cpool.BackendUnavailable, "lost its device during adaptive_avg_pool2d: .* Make a new context and a new queue"),
    -36: (cpool.BackendUnavailable, "lost its device during adaptive_avg_pool2d: "),
    -9999: (cpool.BackendUnavailable, "lost its device during adaptive_avg_pool2d: "),
    -5: (cpool.BackendUnavailable, "failed during adaptive_avg_pool2d .* too many registers, .* Make a new context"),
    -14: (cpool.BackendUnavailable, "wait for ended in an error: see the events of x and out. Make a new context"),
    -34: (cpool.BackendUnavailable, r"An event that x or out waits for may be of another context: call its wait\(\)"),
    -54: (cpool.BackendUnavailable, "Its work-groups are smaller than it tells"),
    -59: (cpool.BackendUnavailable, r"failed during adaptive_avg_pool2d on the device '.*pool on the CPU \(x.get\(\)"),
}


def failing(cl, code):
    class Failure(cl.MemoryError if code in (-4, -5, -6) else cl.RuntimeError):
        pass

    Failure.code = code

    def fails(*args):
        raise Failure("so it is")

    return fails


@pytest.mark.parametrize("code", SAID)
def test_what_opencl_says(queue, cl, cla, name, code, monkeypatch):
    from cpool.opencl import pool

    x = sample("float32", (2, 3, 10, 9))
    d = cla.to_device(queue, x)
    with monkeypatch.context() as patched:
        patched.setattr(pool, "run", failing(cl, code))
        for call in (lambda: cpool.adaptive_avg_pool2d(d, 3), lambda: cpool.adaptive_avg_pool2d(x, 3, backend=name)):
            with pytest.raises(SAID[code][0], match=SAID[code][1]):
                call()
    assert_same_bits(cpool.adaptive_max_pool2d(d, 3).get(), cpool.adaptive_max_pool2d(x, 3))


@pytest.mark.parametrize("code", [-2, -36, -9999, -5, -14, None])
def test_queues_that_may_be_lost_are_made_anew(queue, cl, name, code, monkeypatch):
    """OpenCL never works again on those that are; the next call of the host's arrays would not, either."""
    from cpool import dispatch
    from cpool.opencl import devices, pool

    x = sample("float32", (2, 3, 10, 9))
    expected = cpool.adaptive_max_pool2d(x, 3)
    assert_same_bits(cpool.adaptive_max_pool2d(x, 3, backend=name), expected)
    before = cpool.opencl.queues("backend", name)
    monkeypatch.setitem(dispatch._places, "measured", (before, ""))
    with monkeypatch.context() as patched:
        if code is None:
            cpool.opencl.clear_cache()
        else:
            patched.setattr(pool, "run", failing(cl, code))
            with pytest.raises(cpool.BackendUnavailable):
                cpool.adaptive_avg_pool2d(x, 3, backend=name)
    assert not dispatch._places
    assert devices._found is None
    assert_same_bits(cpool.adaptive_max_pool2d(x, 3, backend=name), expected)
    after = cpool.opencl.queues("backend", name)
    assert not set(before) & set(after)
    assert before[0].context != after[0].context
    assert_same_bits(cpool.adaptive_max_pool2d(x, 3, backend=before[0]), expected)  # which are alive while held


def test_an_event_of_another_context(queue, cl, cla):
    """Some drivers take it, others refuse it."""
    context = cl.Context([queue.device])
    event = cl.UserEvent(context)
    event.set_status(cl.command_execution_status.COMPLETE)
    x = sample("float32", (2, 3, 10, 9))
    d = cla.to_device(queue, x)
    d.add_event(event)
    said = "may be of another context: call its wait() first"
    try:
        found = cpool.adaptive_avg_pool2d(d, 3)
    except cpool.BackendUnavailable as error:
        found, said = None, str(error)
    assert "may be of another context: call its wait() first" in said
    assert found is None or np.array_equal(found.get(), cpool.adaptive_avg_pool2d(x, 3))


FORKED_QUEUE = """
import os, signal
import numpy as np, cpool, pyopencl as cl
from cpool.opencl import devices
context = cl.Context([devices.everything()[{number}]])
queue = cl.CommandQueue(context)
x = np.ones((1, 2, 5, 7), np.float32)
cpool.adaptive_avg_pool2d(x, 3, backend=queue)
child = os.fork()
if child == 0:
    signal.alarm(60)
    try:
        cpool.adaptive_avg_pool2d(x, 3, backend=queue)
    except cpool.BackendUnavailable:
        os._exit(7)
    os._exit(1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_the_child_of_a_fork_with_a_queue(number):
    assert run_python(FORKED_QUEUE.format(number=number)) == "7\n"


def test_a_queue_of_the_users_own(queue):
    x = sample("float32", (2, 3, 10, 9))
    assert_same_bits(cpool.adaptive_avg_pool2d(x, (7, 5), backend=queue), cpool.adaptive_avg_pool2d(x, (7, 5)))
    with cpool.use_backend(queue):
        assert cpool.explain("adaptive_avg_pool2d", x, 3).backend.startswith("opencl: ")
        assert_same_bits(cpool.adaptive_avg_pool2d(x, (7, 5)), cpool.adaptive_avg_pool2d(x, (7, 5), backend="cpu"))


def test_devices_are_listed(queue, name):
    found = {device.backend: device for device in cpool.devices()}
    mine = found[name]
    assert mine.name == queue.device.name.strip()
    assert mine.memory == queue.device.global_mem_size
    assert mine.platform == queue.device.platform.name.strip()
    assert ("fp64" in mine.features) == ("cl_khr_fp64" in queue.device.extensions)
    assert str(mine) in cpool.show_config("dicts")["devices"]


def test_arrays_with_other_strides_come_back(queue):
    """What the suite itself uses to put arrays on the device and to fetch them."""
    for layout in ("contiguous", "channels_last", "sparse", "reversed"):
        x = place(sample("float32", (2, 3, 10, 9)), layout)
        d = there(queue, x)
        assert d.strides == x.strides
        assert_same_bits(back(d), x)


# ---- gradients of the largest: bounds of outputs ---------------------------------------------------------


def scattered(queue, grad, indices, shape, axes):
    """The gradient of the largest on the device and on the CPU, for these axes."""
    back_of = cpool.adaptive_max_pool_backward
    return (
        back(back_of(there(queue, grad), there(queue, indices), shape, axes=axes)),
        back_of(grad, indices, shape, axes=axes),
    )


@pytest.mark.parametrize(("fp64", "few"), [(True, 2**31), (False, 2**31), (True, 1)])
def test_gradients_of_large_planes(engines_here, queue, fp64, few, monkeypatch):
    """As many outputs as it takes for several levels of bounds; in order, in no order, all for one element."""
    from cpool.opencl import devices, layouts

    if fp64 and engines_here[0].refuses_doubles():
        pytest.skip("the device has no doubles")
    monkeypatch.setattr(layouts, "FEW", few)  # below it elements are numbered in 32 bits
    random = np.random.default_rng(7)
    with devices.pretend(fp64=fp64):
        for shape, size, axes in (
            ((1, 2, 90, 101), (45, 51), (2, 3)),
            ((2, 20, 31, 1, 17), (10, 31, 9), (1, 2, 4)),
            ((80, 2, 90), (40, 45), (0, 2)),
            ((1, 3000), (2999,), (1,)),
        ):
            x = random.integers(-4, 5, shape).astype(np.float32)
            _, indices = cpool.adaptive_max_pool(x, size, return_indices=True, axes=axes, backend="cpu")
            grad = random.integers(-99, 99, indices.shape).astype(np.float32)  # their sums are exact in any order
            elements = int(np.prod([shape[a] for a in axes]))
            for places in (
                indices,
                random.integers(0, elements, indices.shape),
                np.full(indices.shape, elements - 1),
                np.sort(random.integers(0, 9, indices.shape), axis=axes[0]),
            ):
                found, expected = scattered(queue, grad, places, shape, axes)
                assert_same_bits(found, expected)
            found, expected = scattered(queue, grad[..., ::-1], indices[..., ::-1], shape, axes)
            assert_same_bits(found, expected)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_gradients_keep_the_order_of_outputs(engines_here, queue, dtype):
    """Sums that round tell in which order they were made: the CPU's, where there are doubles."""
    if engines_here[0].refuses_doubles():
        pytest.skip("the device has no doubles")
    grad = sample(dtype, (1, 2, 90, 80), wide=True)
    places = np.random.default_rng(3).integers(0, 50, grad.shape)
    for axes in ((2, 3), (1, 3)):
        found, expected = scattered(queue, grad, places % (50 if axes == (2, 3) else 8), grad.shape, axes)
        assert_same_bits(found, expected)


@pytest.mark.slow
def test_the_gradient_of_a_plane_grows_with_the_plane(queue):
    """Sixteen times the elements take less than sixty-four times as long: each looks at few outputs."""

    def seconds(n):
        x = np.random.default_rng(0).random((1, 1, n, n), np.float32)
        values, indices = cpool.max_pool2d(x, 2, return_indices=True)
        d, places = there(queue, values), there(queue, indices)
        times = []
        for _ in range(4):
            begun = time.perf_counter()
            result = cpool.max_pool2d_backward(d, places, x.shape)
            result.queue.finish()
            times.append(time.perf_counter() - begun)
        assert_same_bits(back(result), cpool.max_pool2d_backward(values, indices, x.shape))
        return min(times)

    assert seconds(1024) < 64 * max(seconds(256), 5e-3)


# ---- pieces ------------------------------------------------------------------------------------------------


@pytest.fixture
def pieces(engines_here, monkeypatch):
    """The shapes and packings of what is sent, in pieces of 4000 bytes where that can be."""
    from cpool.opencl import devices, transfers

    sent = []

    class Noted(transfers._Piece):
        def __init__(self, queue, plan, x, out, indices):
            sent.append(x)
            super().__init__(queue, plan, x, out, indices)

    monkeypatch.setattr(transfers, "PIECE", 4000)
    monkeypatch.setattr(transfers, "_Piece", Noted)
    with devices.pretend(unified=False), engines_here[0].on():
        yield sent


def test_what_cannot_be_cut_goes_whole(queue, pieces):
    """The size of a piece is a wish; what the device has room for is the limit."""
    x = sample("float32", (1, 1, 90, 80))
    check("global_avg_pool", x)
    assert [piece.shape for piece in pieces] == [x.shape]
    check_max("global_max_pool", x)
    check_max("max_pool2d", x, 3, stride=1, padding=1)
    check_gradient("adaptive_avg_pool2d", sample("float32", (1, 1, 31, 17)), x.shape)
    pieces.clear()
    check("adaptive_avg_pool2d", sample("float32", (1, 2, 90, 80)), (31, 17))
    assert len(pieces) > 2
    assert all(piece.nbytes <= 4000 for piece in pieces)


def test_rows_are_cut_before_pixels(queue, pieces):
    """Pieces of what is innermost in memory would be gathered pixel by pixel."""
    x = sample("float32", (1, 60, 50, 3))
    check("adaptive_avg_pool2d", x, (20, 5), data_format="channels_last")
    assert len(pieces) > 2
    assert all(piece.flags.c_contiguous for piece in pieces)
    pieces.clear()
    check("global_avg_pool", x, data_format="channels_last")
    assert [piece.shape for piece in pieces] == [x.shape]


def test_pixels_are_cut_where_nothing_else_fits(queue, pieces, monkeypatch):
    from cpool.opencl import transfers

    monkeypatch.setattr(transfers, "_limit", 8000)
    check("global_avg_pool", sample("float32", (1, 20, 30, 7)), data_format="channels_last")
    assert all(piece.nbytes <= 8000 for piece in pieces)


def test_pieces_take_turns_on_two_queues(queue, pieces, monkeypatch):
    """One is on its way while another is worked on: that takes a second queue, also beside one of the user's own."""
    from cpool.opencl import transfers

    used = []
    noted = transfers._Piece

    def note(mine, *rest):
        used.append(mine)
        return noted(mine, *rest)

    monkeypatch.setattr(transfers, "_Piece", note)
    x = sample("float32", (40, 3, 30, 30))
    for _ in range(2):
        result = cpool.adaptive_avg_pool2d(x, 7, backend=queue)
        assert_same_bits(result, cpool.adaptive_avg_pool2d(x, 7, backend="cpu"))
    assert used[0] == queue
    assert len({one.int_ptr for one in used}) == 2
    assert {(one.context, one.device) for one in used} == {(queue.context, queue.device)}


# ---- the demonstration ---------------------------------------------------------------------------------------

DEMO = Path(__file__).parents[1] / "examples" / "demo.py"
BESIDE = f"""
import runpy, sys
import numpy as np
{{before}}
sys.path.insert(0, {str(DEMO.parent)!r})
print(runpy.run_path({str(DEMO)!r})["beside_opencl"](np.random.default_rng(0)))
"""


def test_the_demonstration_needs_the_device_that_was_asked_for():
    if not DEMO.exists():
        missing("examples", "the examples do not lie beside the tests")
    without = BESIDE.format(before="sys.modules['pyopencl'] = None")
    told = run_python(without)
    assert told.endswith("True\n")
    assert "No OpenCL device here" in told
    assert run_python(without, CPOOL_TEST_OPENCL="any").endswith("False\n")


def test_the_demonstration_says_why_a_device_is_not_used(queue):
    broken = BESIDE.format(
        before="import cpool\n"
        "from cpool.opencl import programs\n"
        "def fails(*args): raise cpool.BackendUnavailable('no compiler')\n"
        "programs.Program = fails"
    )
    told = run_python(broken)
    assert told.endswith("True\n")
    assert "can't be used: no compiler" in told
    assert run_python(broken, CPOOL_TEST_OPENCL="any").endswith("False\n")
    assert run_python(BESIDE.format(before=""), CPOOL_TEST_OPENCL="any").endswith("True\n")
