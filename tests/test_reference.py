"""The oracle itself: `cpool.reference` against the definitions in exact integers."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import DTYPES, assert_within_ulp, by_reference, dtype_of, exact_average, same_average_type, sample

CALLS = {
    "ragged": ("adaptive_avg_pool", (3, 7, 5), (2, 5, None), {}),
    "up": ("adaptive_avg_pool", (2, 3), (5, 2), {}),
    "axes": ("adaptive_avg_pool", (3, 7, 5), (4, 2), {"axes": (1, -3)}),
    "padded": ("avg_pool", (7, 5), 3, {"stride": 2, "padding": 1, "ceil_mode": True}),
    "not counted": ("avg_pool", (7, 5), (3, 2), {"stride": (2, 1), "padding": 1, "count_include_pad": False}),
    "pairs": ("avg_pool", (7, 5), 3, {"stride": 2, "padding": [(0, 2), (1, 0)]}),
    "same": ("avg_pool", (7, 5), 3, {"stride": 2, "padding": "same_lower"}),
    "dilated": ("avg_pool", (9,), 3, {"stride": 1, "dilation": 2, "padding": 2}),
    "sums": ("avg_pool", (7, 5), 2, {"divisor_override": 1}),
    "negative": ("avg_pool", (7, 5), 2, {"divisor_override": -3}),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_reference_keeps_the_promise(dtype, name):
    operation, shape, size, options = CALLS[name]
    x = sample(dtype, shape)
    exact = exact_average(operation, x, size, **options)
    result = by_reference(operation, x, size, same_average_type(x.dtype), options)
    assert result.dtype == same_average_type(x.dtype)
    assert_within_ulp(result, exact, x.dtype)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "complex64"])
def test_reference_passes_nan_and_infinities_on(dtype):
    x = sample(dtype, (6, 7))
    x[0, 0], x[2, 3], x[5, 6], x[5, 5], x[3, 0] = np.nan, np.inf, -np.inf, np.inf, -np.inf
    exact = exact_average("adaptive_avg_pool", x, (4, 3))
    assert_within_ulp(by_reference("adaptive_avg_pool", x, (4, 3), x.dtype, {}), exact, x.dtype)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64", "uint64"])
def test_reference_rounds_integers_half_to_even_and_saturates(dtype):
    x = np.array([1, 2, 2, 3, 0, 1, 5, 5], dtype)
    result = by_reference("avg_pool", x, 2, dtype_of(dtype), {})
    assert result.tolist() == [2, 2, 0, 5]  # 1.5, 2.5, 0.5, 5
    top = np.iinfo(dtype).max
    result = by_reference("avg_pool", np.full(4, top, dtype), 2, dtype_of(dtype), {"divisor_override": 1})
    assert result.tolist() == [top, top]


def test_the_judge_sees_an_error_of_one_ulp():
    """A judge that can't condemn is no judge."""
    x = sample("float32", (50,), seed="judge")
    exact = exact_average("adaptive_avg_pool", x, 7)
    result = by_reference("adaptive_avg_pool", x, 7, x.dtype, {})
    assert_within_ulp(result, exact, x.dtype)
    magnitude = by_reference("adaptive_avg_pool", np.abs(x), 7, x.dtype, {})
    for i in range(7):
        wrong = result.copy()
        wrong[i] += np.spacing(magnitude[i]) * 1.5
        with pytest.raises(AssertionError, match="ULP off"):
            assert_within_ulp(wrong, exact, x.dtype)
    for bad in (np.nan, np.inf):
        wrong = result.copy()
        wrong[3] = bad
        with pytest.raises(AssertionError):
            assert_within_ulp(wrong, exact, x.dtype)
    exact = exact_average("adaptive_avg_pool", np.zeros(4, np.float32), 1)
    with pytest.raises(AssertionError, match=r"\+0"):
        assert_within_ulp(np.array([-0.0], np.float32), exact, x.dtype)
