"""The operations and their gradients, as users call them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from . import gradients
from .calls import run, run_global, run_max
from .rules import ADAPTIVE_AVG, ADAPTIVE_MAX, AVG, GLOBAL_AVG, GLOBAL_MAX, MAX, Ints, Padding, Size

# ---- adaptive ------------------------------------------------------------------------------------


def adaptive_avg_pool(
    x: Any, output_size: Size, *, axes: Ints | None = None, dtype: Any = None, out: Any = None, backend: Any = None
) -> Any:
    """Average x over adaptive windows along any axes (all, if `axes` is None).

    `output_size` is an int, or one entry per pooled axis; None keeps an axis. Window i of an axis of
    length n pooled to m runs from floor(i*n/m) up to ceil((i+1)*n/m).

    >>> import numpy as np, cpool
    >>> cpool.adaptive_avg_pool(np.arange(10.0), 7)
    array([0.5, 1.5, 3. , 4.5, 6. , 7.5, 8.5])
    """
    return run(ADAPTIVE_AVG[0], (output_size, axes), x, dtype, out, backend)


def adaptive_avg_pool1d(
    x: Any,
    output_size: Size,
    *,
    data_format: str = "channels_first",
    dtype: Any = None,
    out: Any = None,
    backend: Any = None,
) -> Any:
    """Average (N, C, L) or (C, L) over adaptive windows of the last axis.

    >>> import numpy as np, cpool
    >>> cpool.adaptive_avg_pool1d(np.arange(5.0)[None], 3)
    array([[0.5, 2. , 3.5]])
    """
    return run(ADAPTIVE_AVG[1], (output_size, data_format), x, dtype, out, backend)


def adaptive_avg_pool2d(
    x: Any,
    output_size: Size,
    *,
    data_format: str = "channels_first",
    dtype: Any = None,
    out: Any = None,
    backend: Any = None,
) -> Any:
    """Average (N, C, H, W) or (C, H, W) over adaptive windows of rows and columns.

    >>> import numpy as np, cpool
    >>> cpool.adaptive_avg_pool2d(np.ones((1, 64, 10, 9)), (7, None)).shape
    (1, 64, 7, 9)
    """
    return run(ADAPTIVE_AVG[2], (output_size, data_format), x, dtype, out, backend)


def adaptive_avg_pool3d(
    x: Any,
    output_size: Size,
    *,
    data_format: str = "channels_first",
    dtype: Any = None,
    out: Any = None,
    backend: Any = None,
) -> Any:
    """Average (N, C, D, H, W) or (C, D, H, W) over adaptive windows of depth, rows and columns.

    >>> import numpy as np, cpool
    >>> cpool.adaptive_avg_pool3d(np.ones((2, 16, 7, 7, 7), np.float16), 2).dtype
    dtype('float16')
    """
    return run(ADAPTIVE_AVG[3], (output_size, data_format), x, dtype, out, backend)


def adaptive_max_pool(
    x: Any,
    output_size: Size,
    return_indices: bool = False,
    *,
    axes: Ints | None = None,
    out: Any = None,
    backend: Any = None,
) -> Any:
    """The largest of adaptive windows along any axes (all, if `axes` is None).

    With `return_indices` a pair: the largest, and where each is (int64, in C order over the pooled axes of
    its plane). NaN is larger than all; of equals the first counts.

    >>> import numpy as np, cpool
    >>> cpool.adaptive_max_pool(np.arange(10.0), 7)
    array([1., 2., 4., 5., 7., 8., 9.])
    """
    return run_max(ADAPTIVE_MAX[0], (output_size, axes), return_indices, x, out, backend)


def adaptive_max_pool1d(
    x: Any,
    output_size: Size,
    return_indices: bool = False,
    *,
    data_format: str = "channels_first",
    out: Any = None,
    backend: Any = None,
) -> Any:
    """The largest of adaptive windows of the last axis of (N, C, L) or (C, L).

    >>> import numpy as np, cpool
    >>> cpool.adaptive_max_pool1d(np.arange(5.0)[None], 3, return_indices=True)
    (array([[1., 3., 4.]]), array([[1, 3, 4]]))
    """
    return run_max(ADAPTIVE_MAX[1], (output_size, data_format), return_indices, x, out, backend)


def adaptive_max_pool2d(
    x: Any,
    output_size: Size,
    return_indices: bool = False,
    *,
    data_format: str = "channels_first",
    out: Any = None,
    backend: Any = None,
) -> Any:
    """The largest of adaptive windows of rows and columns of (N, C, H, W) or (C, H, W).

    >>> import numpy as np, cpool
    >>> cpool.adaptive_max_pool2d(np.ones((1, 64, 10, 9)), (7, None)).shape
    (1, 64, 7, 9)
    """
    return run_max(ADAPTIVE_MAX[2], (output_size, data_format), return_indices, x, out, backend)


def adaptive_max_pool3d(
    x: Any,
    output_size: Size,
    return_indices: bool = False,
    *,
    data_format: str = "channels_first",
    out: Any = None,
    backend: Any = None,
) -> Any:
    """The largest of adaptive windows of depth, rows and columns of (N, C, D, H, W) or (C, D, H, W).

    >>> import numpy as np, cpool
    >>> cpool.adaptive_max_pool3d(np.ones((2, 16, 7, 7, 7), np.int8), 2).dtype
    dtype('int8')
    """
    return run_max(ADAPTIVE_MAX[3], (output_size, data_format), return_indices, x, out, backend)


# ---- global --------------------------------------------------------------------------------------


def global_avg_pool(
    x: Any,
    *,
    data_format: str = "channels_first",
    keepdims: bool = True,
    dtype: Any = None,
    out: Any = None,
    backend: Any = None,
) -> Any:
    """Average over all axes but batch and channel.

    They stay, with length 1, unless `keepdims` is False. Without a batch, say so by the letters of
    `data_format`, as in "CHW".

    >>> import numpy as np, cpool
    >>> cpool.global_avg_pool(np.ones((8, 2048, 7, 7), np.float32), keepdims=False).shape
    (8, 2048)
    """

    def whole(x: Any, out: Any) -> Any:
        return run(GLOBAL_AVG, (data_format,), x, dtype, out, backend)

    return run_global(GLOBAL_AVG, data_format, keepdims, x, out, whole)


def global_max_pool(
    x: Any,
    *,
    data_format: str = "channels_first",
    keepdims: bool = True,
    return_indices: bool = False,
    out: Any = None,
    backend: Any = None,
) -> Any:
    """The largest over all axes but batch and channel; the arguments are those of `global_avg_pool`.

    >>> import numpy as np, cpool
    >>> cpool.global_max_pool(np.arange(12.0).reshape(1, 2, 3, 2), keepdims=False)
    array([[ 5., 11.]])
    """

    def whole(x: Any, out: Any) -> Any:
        return run_max(GLOBAL_MAX, (data_format,), return_indices, x, out, backend)

    return run_global(GLOBAL_MAX, data_format, keepdims, x, out, whole)


# ---- strided -------------------------------------------------------------------------------------


def avg_pool(
    x: Any,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool | None = None,
    divisor_override: int | None = None,
    *,
    dilation: Ints = 1,
    axes: Ints | None = None,
    dtype: Any = None,
    out: Any = None,
    backend: Any = None,
) -> Any:
    """Average x over strided windows along any axes (all, if `axes` is None).

    `kernel_size`, `stride` (None: the kernel_size), `dilation` and `padding` are an int or one per pooled axis.
    `padding` may also be a pair (before, after) per axis, "valid", "same_upper" or "same_lower".
    `count_include_pad` says whether padding counts in the divisor; None means True for numbers and False for
    "same_*". `divisor_override` is a divisor for all windows; 1 gives sums.

    >>> import numpy as np, cpool
    >>> cpool.avg_pool(np.arange(10.0), 3, 2, padding=1)
    array([0.33333333, 2.        , 4.        , 6.        , 8.        ])
    """
    args = (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, dilation, axes)
    return run(AVG[0], args, x, dtype, out, backend)


def avg_pool1d(
    x: Any,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool | None = None,
    divisor_override: int | None = None,
    *,
    dilation: Ints = 1,
    data_format: str = "channels_first",
    dtype: Any = None,
    out: Any = None,
    backend: Any = None,
) -> Any:
    """Average (N, C, L) or (C, L) over strided windows of the last axis.

    >>> import numpy as np, cpool
    >>> cpool.avg_pool1d(np.arange(6.0)[None], 2)
    array([[0.5, 2.5, 4.5]])
    """
    args = (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, dilation, data_format)
    return run(AVG[1], args, x, dtype, out, backend)


def avg_pool2d(
    x: Any,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool | None = None,
    divisor_override: int | None = None,
    *,
    dilation: Ints = 1,
    data_format: str = "channels_first",
    dtype: Any = None,
    out: Any = None,
    backend: Any = None,
) -> Any:
    """Average (N, C, H, W) or (C, H, W) over strided windows of rows and columns.

    >>> import numpy as np, cpool
    >>> cpool.avg_pool2d(np.ones((1, 3, 7, 7)), 3, 2, padding="same_upper").shape
    (1, 3, 4, 4)
    """
    args = (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, dilation, data_format)
    return run(AVG[2], args, x, dtype, out, backend)


def avg_pool3d(
    x: Any,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool | None = None,
    divisor_override: int | None = None,
    *,
    dilation: Ints = 1,
    data_format: str = "channels_first",
    dtype: Any = None,
    out: Any = None,
    backend: Any = None,
) -> Any:
    """Average (N, C, D, H, W) or (C, D, H, W) over strided windows of depth, rows and columns.

    >>> import numpy as np, cpool
    >>> float(cpool.avg_pool3d(np.ones((1, 4, 4, 4), np.uint8), 4)[0, 0, 0, 0])
    1.0
    """
    args = (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, dilation, data_format)
    return run(AVG[3], args, x, dtype, out, backend)


def max_pool(
    x: Any,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Padding = 0,
    dilation: Ints = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    axes: Ints | None = None,
    out: Any = None,
    backend: Any = None,
) -> Any:
    """The largest of strided windows along any axes (all, if `axes` is None); padding never wins.

    The arguments are those of `avg_pool`; with `return_indices` the result is a pair, as in `adaptive_max_pool`.

    >>> import numpy as np, cpool
    >>> cpool.max_pool(np.arange(10.0), 3, 2, padding=1)
    array([1., 3., 5., 7., 9.])
    """
    args = (kernel_size, stride, padding, dilation, ceil_mode, axes)
    return run_max(MAX[0], args, return_indices, x, out, backend)


def max_pool1d(
    x: Any,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Padding = 0,
    dilation: Ints = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    data_format: str = "channels_first",
    out: Any = None,
    backend: Any = None,
) -> Any:
    """The largest of strided windows of the last axis of (N, C, L) or (C, L); padding never wins.

    >>> import numpy as np, cpool
    >>> cpool.max_pool1d(np.arange(6.0)[None], 2)
    array([[1., 3., 5.]])
    """
    args = (kernel_size, stride, padding, dilation, ceil_mode, data_format)
    return run_max(MAX[1], args, return_indices, x, out, backend)


def max_pool2d(
    x: Any,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Padding = 0,
    dilation: Ints = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    data_format: str = "channels_first",
    out: Any = None,
    backend: Any = None,
) -> Any:
    """The largest of strided windows of rows and columns of (N, C, H, W) or (C, H, W); padding never wins.

    >>> import numpy as np, cpool
    >>> cpool.max_pool2d(np.ones((1, 3, 7, 7)), 3, 2, padding="same_upper").shape
    (1, 3, 4, 4)
    """
    args = (kernel_size, stride, padding, dilation, ceil_mode, data_format)
    return run_max(MAX[2], args, return_indices, x, out, backend)


def max_pool3d(
    x: Any,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Padding = 0,
    dilation: Ints = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    data_format: str = "channels_first",
    out: Any = None,
    backend: Any = None,
) -> Any:
    """The largest of strided windows of depth, rows and columns of (N, C, D, H, W) or (C, D, H, W); padding never wins.

    >>> import numpy as np, cpool
    >>> cpool.max_pool3d(np.ones((1, 4, 4, 4), np.uint8), 4).dtype
    dtype('uint8')
    """
    args = (kernel_size, stride, padding, dilation, ceil_mode, data_format)
    return run_max(MAX[3], args, return_indices, x, out, backend)


# ---- gradients -----------------------------------------------------------------------------------


def adaptive_avg_pool_backward(
    grad: Any, input_shape: Sequence[int], *, axes: Ints | None = None, out: Any = None, backend: Any = None
) -> Any:
    """The gradient of `adaptive_avg_pool` with respect to x.

    `grad` has the shape of the result, `input_shape` is that of x; the output size is the gradient's own.
    Element i gets the outputs whose windows hold it, each divided as it was.

    >>> import numpy as np, cpool
    >>> cpool.adaptive_avg_pool_backward(np.ones(3), (5,))
    array([0.5       , 0.83333333, 0.33333333, 0.83333333, 0.5       ])
    """
    return gradients.of_average(ADAPTIVE_AVG[0], (axes,), grad, input_shape, out, backend)


def adaptive_avg_pool1d_backward(
    grad: Any, input_shape: Sequence[int], *, data_format: str = "channels_first", out: Any = None, backend: Any = None
) -> Any:
    """The gradient of `adaptive_avg_pool1d` with respect to x.

    >>> import numpy as np, cpool
    >>> cpool.adaptive_avg_pool1d_backward(np.ones((1, 3)), (1, 5))
    array([[0.5       , 0.83333333, 0.33333333, 0.83333333, 0.5       ]])
    """
    return gradients.of_average(ADAPTIVE_AVG[1], (data_format,), grad, input_shape, out, backend)


def adaptive_avg_pool2d_backward(
    grad: Any, input_shape: Sequence[int], *, data_format: str = "channels_first", out: Any = None, backend: Any = None
) -> Any:
    """The gradient of `adaptive_avg_pool2d` with respect to x.

    >>> import numpy as np, cpool
    >>> grad = np.ones((8, 64, 7, 7), np.float32)
    >>> cpool.adaptive_avg_pool2d_backward(grad, (8, 64, 10, 9)).shape
    (8, 64, 10, 9)
    """
    return gradients.of_average(ADAPTIVE_AVG[2], (data_format,), grad, input_shape, out, backend)


def adaptive_avg_pool3d_backward(
    grad: Any, input_shape: Sequence[int], *, data_format: str = "channels_first", out: Any = None, backend: Any = None
) -> Any:
    """The gradient of `adaptive_avg_pool3d` with respect to x.

    >>> import numpy as np, cpool
    >>> grad = np.ones((1, 2, 2, 2), np.float32)
    >>> float(cpool.adaptive_avg_pool3d_backward(grad, (1, 4, 4, 4))[0, 0, 0, 0])
    0.125
    """
    return gradients.of_average(ADAPTIVE_AVG[3], (data_format,), grad, input_shape, out, backend)


def avg_pool_backward(
    grad: Any,
    input_shape: Sequence[int],
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool | None = None,
    divisor_override: int | None = None,
    *,
    dilation: Ints = 1,
    axes: Ints | None = None,
    out: Any = None,
    backend: Any = None,
) -> Any:
    """The gradient of `avg_pool` with respect to x.

    `grad` has the shape of the result, `input_shape` is that of x; the other arguments are those of the call.

    >>> import numpy as np, cpool
    >>> cpool.avg_pool_backward(np.ones(2), (5,), 3, 2)
    array([0.33333333, 0.33333333, 0.66666667, 0.33333333, 0.33333333])
    """
    args = (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, dilation, axes)
    return gradients.of_average(AVG[0], args, grad, input_shape, out, backend)


def avg_pool1d_backward(
    grad: Any,
    input_shape: Sequence[int],
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool | None = None,
    divisor_override: int | None = None,
    *,
    dilation: Ints = 1,
    data_format: str = "channels_first",
    out: Any = None,
    backend: Any = None,
) -> Any:
    """The gradient of `avg_pool1d` with respect to x.

    >>> import numpy as np, cpool
    >>> cpool.avg_pool1d_backward(np.ones((1, 3)), (1, 6), 2)
    array([[0.5, 0.5, 0.5, 0.5, 0.5, 0.5]])
    """
    args = (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, dilation, data_format)
    return gradients.of_average(AVG[1], args, grad, input_shape, out, backend)


def avg_pool2d_backward(
    grad: Any,
    input_shape: Sequence[int],
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool | None = None,
    divisor_override: int | None = None,
    *,
    dilation: Ints = 1,
    data_format: str = "channels_first",
    out: Any = None,
    backend: Any = None,
) -> Any:
    """The gradient of `avg_pool2d` with respect to x.

    >>> import numpy as np, cpool
    >>> cpool.avg_pool2d_backward(np.ones((1, 1, 2)), (1, 2, 3), 2, 1)
    array([[[0.25, 0.5 , 0.25],
            [0.25, 0.5 , 0.25]]])
    """
    args = (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, dilation, data_format)
    return gradients.of_average(AVG[2], args, grad, input_shape, out, backend)


def avg_pool3d_backward(
    grad: Any,
    input_shape: Sequence[int],
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool | None = None,
    divisor_override: int | None = None,
    *,
    dilation: Ints = 1,
    data_format: str = "channels_first",
    out: Any = None,
    backend: Any = None,
) -> Any:
    """The gradient of `avg_pool3d` with respect to x.

    >>> import numpy as np, cpool
    >>> cpool.avg_pool3d_backward(np.ones((1, 2, 2, 2)), (1, 4, 4, 4), 2).shape
    (1, 4, 4, 4)
    """
    args = (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, dilation, data_format)
    return gradients.of_average(AVG[3], args, grad, input_shape, out, backend)


def global_avg_pool_backward(
    grad: Any,
    input_shape: Sequence[int],
    *,
    data_format: str = "channels_first",
    keepdims: bool = True,
    out: Any = None,
    backend: Any = None,
) -> Any:
    """The gradient of `global_avg_pool` with respect to x.

    >>> import numpy as np, cpool
    >>> cpool.global_avg_pool_backward(np.array([[4.0, 8.0]]), (1, 2, 4), keepdims=False)
    array([[[1., 1., 1., 1.],
            [2., 2., 2., 2.]]])
    """
    return gradients.of_global_average(GLOBAL_AVG, data_format, keepdims, grad, input_shape, out, backend)


def adaptive_max_pool_backward(
    grad: Any,
    indices: Any,
    input_shape: Sequence[int],
    *,
    axes: Ints | None = None,
    out: Any = None,
    backend: Any = None,
) -> Any:
    """The gradient of `adaptive_max_pool` with respect to x.

    `grad` has the shape of the result, `indices` are what `return_indices=True` gave, `input_shape` is the shape
    of x. Of the indices only this is asked: that they lie in their planes.

    >>> import numpy as np, cpool
    >>> x = np.array([3.0, 5.0, 7.0, 1.0, 4.0])
    >>> values, indices = cpool.adaptive_max_pool(x, 3, return_indices=True)
    >>> cpool.adaptive_max_pool_backward(np.ones(3), indices, x.shape)
    array([0., 1., 1., 0., 1.])
    """
    return gradients.of_largest(ADAPTIVE_MAX[0], 0, axes, grad, indices, input_shape, out, backend)


def adaptive_max_pool1d_backward(
    grad: Any,
    indices: Any,
    input_shape: Sequence[int],
    *,
    data_format: str = "channels_first",
    out: Any = None,
    backend: Any = None,
) -> Any:
    """The gradient of `adaptive_max_pool1d` with respect to x.

    >>> import numpy as np, cpool
    >>> x = np.array([[3.0, 5.0, 7.0, 1.0, 4.0]])
    >>> values, indices = cpool.adaptive_max_pool1d(x, 3, return_indices=True)
    >>> cpool.adaptive_max_pool1d_backward(values, indices, x.shape)
    array([[0., 5., 7., 0., 4.]])
    """
    return gradients.of_largest(ADAPTIVE_MAX[1], 1, data_format, grad, indices, input_shape, out, backend)


def adaptive_max_pool2d_backward(
    grad: Any,
    indices: Any,
    input_shape: Sequence[int],
    *,
    data_format: str = "channels_first",
    out: Any = None,
    backend: Any = None,
) -> Any:
    """The gradient of `adaptive_max_pool2d` with respect to x.

    >>> import numpy as np, cpool
    >>> x = np.arange(12.0).reshape(1, 3, 4)
    >>> values, indices = cpool.adaptive_max_pool2d(x, 2, return_indices=True)
    >>> cpool.adaptive_max_pool2d_backward(np.ones((1, 2, 2)), indices, x.shape)
    array([[[0., 0., 0., 0.],
            [0., 1., 0., 1.],
            [0., 1., 0., 1.]]])
    """
    return gradients.of_largest(ADAPTIVE_MAX[2], 2, data_format, grad, indices, input_shape, out, backend)


def adaptive_max_pool3d_backward(
    grad: Any,
    indices: Any,
    input_shape: Sequence[int],
    *,
    data_format: str = "channels_first",
    out: Any = None,
    backend: Any = None,
) -> Any:
    """The gradient of `adaptive_max_pool3d` with respect to x.

    >>> import numpy as np, cpool
    >>> x = np.random.rand(2, 7, 7, 7)
    >>> values, indices = cpool.adaptive_max_pool3d(x, 2, return_indices=True)
    >>> cpool.adaptive_max_pool3d_backward(values, indices, x.shape).shape
    (2, 7, 7, 7)
    """
    return gradients.of_largest(ADAPTIVE_MAX[3], 3, data_format, grad, indices, input_shape, out, backend)


def max_pool_backward(
    grad: Any,
    indices: Any,
    input_shape: Sequence[int],
    *,
    axes: Ints | None = None,
    out: Any = None,
    backend: Any = None,
) -> Any:
    """The gradient of `max_pool` with respect to x: where windows overlap, gradients are added.

    >>> import numpy as np, cpool
    >>> x = np.array([3.0, 5.0, 7.0, 1.0, 4.0])
    >>> values, indices = cpool.max_pool(x, 3, 1, return_indices=True)
    >>> cpool.max_pool_backward(np.ones(3), indices, x.shape)
    array([0., 0., 3., 0., 0.])
    """
    return gradients.of_largest(MAX[0], 0, axes, grad, indices, input_shape, out, backend)


def max_pool1d_backward(
    grad: Any,
    indices: Any,
    input_shape: Sequence[int],
    *,
    data_format: str = "channels_first",
    out: Any = None,
    backend: Any = None,
) -> Any:
    """The gradient of `max_pool1d` with respect to x.

    >>> import numpy as np, cpool
    >>> x = np.array([[3.0, 5.0, 7.0, 1.0, 4.0, 6.0]])
    >>> values, indices = cpool.max_pool1d(x, 2, return_indices=True)
    >>> cpool.max_pool1d_backward(values, indices, x.shape)
    array([[0., 5., 7., 0., 0., 6.]])
    """
    return gradients.of_largest(MAX[1], 1, data_format, grad, indices, input_shape, out, backend)


def max_pool2d_backward(
    grad: Any,
    indices: Any,
    input_shape: Sequence[int],
    *,
    data_format: str = "channels_first",
    out: Any = None,
    backend: Any = None,
) -> Any:
    """The gradient of `max_pool2d` with respect to x.

    >>> import numpy as np, cpool
    >>> x = np.arange(9.0).reshape(1, 3, 3)
    >>> values, indices = cpool.max_pool2d(x, 2, 1, return_indices=True)
    >>> cpool.max_pool2d_backward(np.ones((1, 2, 2)), indices, x.shape)
    array([[[0., 0., 0.],
            [0., 1., 1.],
            [0., 1., 1.]]])
    """
    return gradients.of_largest(MAX[2], 2, data_format, grad, indices, input_shape, out, backend)


def max_pool3d_backward(
    grad: Any,
    indices: Any,
    input_shape: Sequence[int],
    *,
    data_format: str = "channels_first",
    out: Any = None,
    backend: Any = None,
) -> Any:
    """The gradient of `max_pool3d` with respect to x.

    >>> import numpy as np, cpool
    >>> x = np.random.rand(2, 4, 4, 4)
    >>> values, indices = cpool.max_pool3d(x, 2, return_indices=True)
    >>> cpool.max_pool3d_backward(values, indices, x.shape).shape
    (2, 4, 4, 4)
    """
    return gradients.of_largest(MAX[3], 3, data_format, grad, indices, input_shape, out, backend)


def global_max_pool_backward(
    grad: Any,
    indices: Any,
    input_shape: Sequence[int],
    *,
    data_format: str = "channels_first",
    keepdims: bool = True,
    out: Any = None,
    backend: Any = None,
) -> Any:
    """The gradient of `global_max_pool` with respect to x.

    >>> import numpy as np, cpool
    >>> x = np.arange(6.0).reshape(1, 2, 3)
    >>> values, indices = cpool.global_max_pool(x, keepdims=False, return_indices=True)
    >>> cpool.global_max_pool_backward(values, indices, x.shape, keepdims=False)
    array([[[0., 0., 2.],
            [0., 0., 5.]]])
    """
    return gradients.of_global_largest(GLOBAL_MAX, data_format, keepdims, grad, indices, input_shape, out, backend)
