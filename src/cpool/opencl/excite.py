"""Squeeze and excite on a device: two small layers, and channels scaled by what comes of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyopencl as cl

from cpool.plan import memory_order

from . import arrays, layouts, programs

FILES = ("types.cl", "excite.cl")


def run(
    x: Any, means: Any, weights: tuple[Any, ...], names: tuple[str, str], out: Any, batch: int, channel: int
) -> None:
    """Write x times its gates to `out`; `means` are those of the channels, packed, in the type of the weights."""
    queue, context = x.queue, x.context
    w1, b1, w2, b2 = weights
    reduced, channels = w1.shape
    images = means.size // channels
    kind, wide = layouts.code(x.dtype), w1.dtype.itemsize
    options = (f"-DX_{kind}", f"-DO_{kind}", f"-DACTIVATION={names[0]}", f"-DGATE={names[1]}")
    built = programs.program(queue, FILES, options)
    sent = [layouts.upload(context, w if w.size else np.zeros(1)) for w in (w1, b1, w2, b2)]
    hidden, gates = (
        cl.Buffer(context, cl.mem_flags.READ_WRITE, max(images * n * wide, 1)) for n in (reduced, channels)
    )
    wait_for = arrays.before(queue, x, means, out)
    if reduced:
        event = built.kernel("squeeze")(
            queue, *built.sizes("squeeze", images * reduced),
            means.base_data, sent[0], sent[1], hidden, channels, reduced,
            images * reduced,
            wait_for=wait_for,
        )  # fmt: skip
        wait_for = [*wait_for, event]
    event = built.kernel("gates")(
        queue, *built.sizes("gates", images * channels),
        hidden, sent[2], sent[3], gates, reduced, channels,
        images * channels,
        wait_for=wait_for,
    )  # fmt: skip
    meta = [x.ndim]
    for axis in reversed(memory_order(x.shape, x.strides)):
        factor = 1 if axis == channel else channels if axis < batch else 0
        meta += [x.shape[axis], x.strides[axis], out.strides[axis], factor]
    table = layouts.upload(context, np.array(meta, np.int64))
    event = built.kernel("scale")(
        queue, *built.sizes("scale", x.size),
        x.base_data, x.offset, out.base_data, out.offset, table, gates, x.size,
        wait_for=[event],
    )  # fmt: skip
    arrays.after(queue, event, [out], [x])
