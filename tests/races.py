"""Every kernel once, and two mistakes that are planted: for Oclgrind, whose log is then read.

PYOPENCL_NO_CACHE=1 oclgrind --data-races --uninitialized --build-options -cl-opt-disable --log LOG \\
    python tests/races.py
python tests/races.py --judge LOG
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any

import numpy as np

PLANTED = """
__kernel void planted_race(__global int *out) { out[0] = get_global_id(0); }
__kernel void planted_unset(const __global int *none, __global int *out) { out[1] = none[0]; }
"""


def keep_buffers(cl: Any) -> None:
    """Release none: a buffer at the place of a smaller one is taken for unset where that one ended (Oclgrind 21.10)."""
    kept = []

    class Kept(cl.Buffer):
        def __init__(self, *args: Any, **others: Any) -> None:
            super().__init__(*args, **others)
            kept.append(self)

    cl.Buffer = Kept


def run() -> None:
    """Results are compared with the CPU's on the way; inputs come from the host."""
    import pyopencl as cl
    import pyopencl.array as cla

    import cpool
    from cpool.opencl import devices

    context = cl.create_some_context(interactive=False)
    queue = cl.CommandQueue(context)
    assert "Oclgrind" in queue.device.platform.name, queue.device.platform.name

    keep_buffers(cl)

    out, program = cla.zeros(queue, 2, np.int32), cl.Program(context, PLANTED).build()
    cl.Kernel(program, "planted_race")(queue, (4,), (1,), out.data)
    cl.Kernel(program, "planted_unset")(queue, (1,), (1,), cl.Buffer(context, cl.mem_flags.READ_WRITE, 4), out.data)

    def there(x: np.ndarray) -> cla.Array:
        return cla.to_device(queue, x)

    def same(found: cla.Array, expected: np.ndarray) -> None:
        np.testing.assert_allclose(found.get(), expected, rtol=2e-3 if expected.dtype == np.float16 else 1e-5)

    random = np.random.default_rng(0)
    shapes = (
        ((1, 3, 10, 9), (7, 5), "channels_first"),
        ((1, 7, 11, 9), (3, 2), "channels_last"),
        ((1, 1, 40, 37), 1, "channels_first"),
        ((1, 40, 20, 11), 1, "channels_last"),
        ((1, 2, 41, 37), (5, 4), "channels_first"),
    )
    for cpu, fp64 in itertools.product((True, False), (True, False)):
        with devices.pretend(cpu=cpu, fp64=fp64):
            for dtype, (shape, size, data_format) in itertools.product(("float32", "uint8", "float16"), shapes):
                on = {"data_format": data_format}
                x = (random.random(shape) * 20).astype(dtype)
                same(cpool.adaptive_avg_pool2d(there(x), size, **on), cpool.adaptive_avg_pool2d(x, size, **on))
                values, indices = cpool.adaptive_max_pool2d(x, size, return_indices=True, **on)
                found = cpool.adaptive_max_pool2d(there(x), size, return_indices=True, **on)
                same(found[0], values)
                same(found[1], indices)
                if dtype != "uint8":
                    expected = cpool.adaptive_avg_pool2d_backward(values, shape, **on)
                    same(cpool.adaptive_avg_pool2d_backward(there(values), shape, **on), expected)
                    expected = cpool.adaptive_max_pool2d_backward(values, indices, shape, **on)
                    same(cpool.adaptive_max_pool2d_backward(there(values), there(indices), shape, **on), expected)
            for shape, size, data_format in shapes:
                x, on = random.random(shape), {"data_format": data_format, "dtype": np.float32}
                same(cpool.adaptive_avg_pool2d(there(x), size, **on), cpool.adaptive_avg_pool2d(x, size, **on))
            x = random.random((1, 1, 40, 38)).astype(np.float32)  # boxes of boxes of outputs
            values, indices = cpool.max_pool2d(x, 3, 2, 1, return_indices=True)
            expected = cpool.max_pool2d_backward(values, indices, x.shape)
            same(cpool.max_pool2d_backward(there(values), there(indices), x.shape), expected)
            x = random.random((1, 8, 3, 3)).astype(np.float32)
            weights = [random.random(s).astype(np.float32) for s in ((2, 8), (2,), (8, 2), (8,))]
            same(cpool.squeeze_excite(there(x), *weights), cpool.squeeze_excite(x, *weights))
    print("every kernel ran")


def judge(log: str) -> int:
    """Whether both of the planted mistakes were found, and nothing else."""
    reports = [r for r in log.split("\n\n") if "Kernel: " in r]
    found = {name: sum(f"Kernel: {name}\n" in r for r in reports) for name in ("planted_race", "planted_unset")}
    others = [r for r in reports if "Kernel: planted_" not in r]
    print("\n\n".join(others))
    print(*(f"{count} report(s) of {name}" for name, count in {**found, "others": len(others)}.items()), sep=", ")
    return 0 if all(found.values()) and not others else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--judge"]:
        sys.exit(judge(Path(sys.argv[2]).read_text(encoding="utf-8")))
    run()
