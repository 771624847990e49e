"""Promise 1: where windows start and stop, against the definitions in exact fractions."""

from __future__ import annotations

import dataclasses
import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from helpers import same_pads, strided_taps

from cpool import strided_windows, windows

LARGEST = 2**63 - 1  # a uint8 array of that length exists: np.broadcast_to(np.uint8(1), (2**63 - 1,))


def by_fractions(n: int, i: int, m: int) -> tuple[int, int]:
    return math.floor(Fraction(i * n, m)), math.ceil(Fraction((i + 1) * n, m))


@pytest.mark.parametrize("n", range(1, 201))
def test_adaptive_windows_are_the_exact_fractions(n):
    for m in range(1, 201):
        table = windows(n, m)
        i = np.arange(m)
        starts, stops = table.starts, table.stops
        # floor: start <= i*n/m < start + 1; ceil: stop - 1 < (i+1)*n/m <= stop
        assert np.all((starts * m <= i * n) & (i * n < (starts + 1) * m))
        assert np.all(((stops - 1) * m < (i + 1) * n) & ((i + 1) * n <= stops * m))
        assert np.array_equal(table.sizes, stops - starts)
        assert np.array_equal(table.counted, table.sizes)
        assert len(table) == table.count == m
        assert table.length == n


@pytest.mark.parametrize("m", [3, 7, 2, 1, 1000, 4099, 65537])
@pytest.mark.parametrize(
    "n",
    [LARGEST, LARGEST - 1, 2**62 + 1, 2**62, 2**62 - 1, 2**62 - 57, 2**61 + 7, 2**53 + 1, 2**32 + 1, 2**31 - 1],
    ids=str,
)
def test_adaptive_windows_of_axes_as_long_as_an_address(n, m):
    table = windows(n, m)
    for i in {*range(min(m, 5)), m // 3, m // 2, *range(max(0, m - 5), m)}:
        assert (int(table.starts[i]), int(table.stops[i])) == by_fractions(n, i, m)
    assert int(table.starts[0]) == 0
    assert int(table.stops[-1]) == n


@pytest.mark.parametrize("n", [10**6 - 17, 2**62 - 1], ids=str)
def test_a_million_adaptive_windows(n):
    m = 10**6 + 3
    table = windows(n, m)
    for i in (0, 1, 2, 333_333, 999_998, 10**6, 10**6 + 1, 10**6 + 2):
        assert (int(table.starts[i]), int(table.stops[i])) == by_fractions(n, i, m)


@pytest.mark.parametrize(("n", "m"), [(5877, 2855), (4100, 4099), (3697, 1), (6000, 5999), (16, 3), (2, 4)])
def test_sizes_that_float_arithmetic_gets_wrong(n, m):
    table = windows(n, m)
    assert [(int(a), int(b)) for a, b in zip(table.starts, table.stops, strict=True)] == [
        by_fractions(n, i, m) for i in range(m)
    ]


@pytest.mark.parametrize("n", [5877, 6000, 4100])
def test_no_window_leaves_its_axis(n):
    for m in range(1, 6001, 7):
        table = windows(n, m)
        assert int(table.starts[0]) == 0
        assert int(table.stops[-1]) == n
        assert int(table.stops.max()) == n
        assert int(table.sizes.min()) >= 1


@pytest.mark.parametrize("n", range(1, 121))
def test_kind_and_strided_spelling_are_read_off_the_table(n):
    for m in range(1, 121):
        table = windows(n, m)
        starts, sizes = table.starts.tolist(), table.sizes.tolist()
        one_size, one_step = len(set(sizes)) == 1, len(set(np.diff(starts).tolist())) <= 1
        if n % m == 0:
            assert (table.kind, table.as_strided()) == ("tiled", (n // m, n // m))
        elif one_size and one_step:
            assert table.kind == "overlapping"
            assert (table.as_strided() is None) == (starts[1] == 0)  # 1 -> 3: no stride stands still
        else:
            assert (table.kind, table.as_strided()) == ("ragged", None)
        if 1 < m < n and n % m == 1:
            assert (table.kind, table.as_strided()) == ("overlapping", (n // m + 1, n // m))
        spelling = table.as_strided()
        if spelling is not None:
            again = strided_windows(n, *spelling)
            assert (again.starts.tolist(), again.sizes.tolist()) == (starts, sizes)
            assert again == table


@pytest.mark.parametrize(
    ("n", "m", "kind", "spelling"),
    [
        (10, 7, "ragged", None),
        (14, 13, "overlapping", (2, 1)),
        (10, 5, "tiled", (2, 2)),
        (9, 9, "tiled", (1, 1)),
        (7, 1, "tiled", (7, 7)),
        (5, 2, "overlapping", (3, 2)),
        (3, 5, "ragged", None),
        (2, 4, "ragged", None),
    ],
    ids=lambda v: str(v),
)
def test_kinds_of_the_documentation(n, m, kind, spelling):
    table = windows(n, m)
    assert (table.kind, table.as_strided()) == (kind, spelling)


def test_ten_to_seven_and_the_two_rules_that_are_wrong_for_it():
    table = windows(10, 7)
    assert table.starts.tolist() == [0, 1, 2, 4, 5, 7, 8]
    assert table.stops.tolist() == [2, 3, 5, 6, 8, 9, 10]
    by_ceil_and_floor = strided_windows(10, math.ceil(10 / 7), 10 // 7)
    by_stretching = strided_windows(10, 10 - (7 - 1) * (10 // 7), 10 // 7)
    for wrong in (by_ceil_and_floor, by_stretching):
        assert wrong.starts.tolist() != table.starts.tolist()


@pytest.mark.parametrize("n", range(1, 61))
def test_facts_about_adaptive_windows(n):
    for m in range(1, 61):
        table = windows(n, m)
        covered = {t for a, b in zip(table.starts, table.stops, strict=True) for t in range(a, b)}
        assert covered == set(range(n))
        if m <= n:
            assert len(set(table.sizes.tolist())) <= 2


PADS = [(1, 2), (0, 0), (2, 0), (1, 1), (0, 3)]


@pytest.mark.parametrize("ceil_mode", [True, False], ids=["ceil", "floor"])
@pytest.mark.parametrize("dilation", [2, 3, 1])
@pytest.mark.parametrize("stride", [3, 2, 1, 5])
@pytest.mark.parametrize("kernel", [3, 2, 5, 1])
def test_strided_windows_are_their_taps(kernel, stride, dilation, ceil_mode):
    refused = 0
    for n, (before, after) in itertools.product(range(1, 15), PADS):
        options = {"dilation": dilation, "padding": (before, after), "ceil_mode": ceil_mode}
        inside, counted = strided_taps(n, kernel, stride, dilation, before, after, ceil_mode)
        if not inside:
            with pytest.raises(ValueError, match="kernel_size"):
                strided_windows(n, kernel, stride, **options)
            refused += 1
            continue
        if not all(inside):
            with pytest.raises(ValueError, match="padding"):
                strided_windows(n, kernel, stride, **options)
            refused += 1
            continue
        table = strided_windows(n, kernel, stride, **options)
        assert [
            [int(a) + t * table.step for t in range(s)] for a, s in zip(table.starts, table.sizes, strict=True)
        ] == inside
        assert table.counted.tolist() == counted
        assert [t[-1] + 1 for t in inside] == table.stops.tolist()
        spelling = table.as_strided()
        assert spelling is None or strided_windows(n, *spelling) == table
    assert refused < 14 * len(PADS)


@pytest.mark.parametrize("rule", ["same_upper", "same_lower", "valid"])
def test_padding_by_name(rule):
    for n, kernel, stride, dilation in itertools.product(range(1, 12), (3, 2, 1, 4), (2, 1, 3), (1, 2)):
        pair = (0, 0) if rule == "valid" else same_pads(n, kernel, stride, dilation, rule == "same_upper")
        inside, _ = strided_taps(n, kernel, stride, dilation, *pair, False)
        fits = n + sum(pair) >= dilation * (kernel - 1) + 1
        if not fits or not all(inside):
            with pytest.raises(ValueError, match=r"kernel_size|padding"):
                strided_windows(n, kernel, stride, dilation=dilation, padding=rule)
            continue
        named = strided_windows(n, kernel, stride, dilation=dilation, padding=rule)
        assert named == strided_windows(n, kernel, stride, dilation=dilation, padding=pair)
        if rule != "valid":
            assert len(named) == -(-n // stride)


def test_strided_kinds():
    assert strided_windows(12, 3).kind == "tiled"
    assert strided_windows(12, 3).as_strided() == (3, 3)
    assert strided_windows(12, 5, 1).kind == "overlapping"
    assert strided_windows(11, 3).kind == "overlapping"  # the last two elements are in no window
    assert strided_windows(11, 3).as_strided() == (3, 3)
    assert strided_windows(11, 3, ceil_mode=True).kind == "ragged"
    assert strided_windows(11, 3, 2, padding=1).kind == "ragged"
    assert strided_windows(11, 3, 2, padding=1).as_strided() is None


def test_windows_with_gaps_or_a_divisor_of_their_own_are_no_plain_strided_pooling():
    dilated = strided_windows(9, 3, 1, dilation=2)
    assert (dilated.kind, dilated.as_strided()) == ("overlapping", None)
    assert strided_windows(3, 3, 4, padding=(1, 0)).as_strided() is None  # 2 elements, of which an average counts 3
    assert strided_windows(9, 1, 2, dilation=5).as_strided() == (1, 2)


def test_a_window_longer_than_its_axis_with_ceil_mode():
    table = strided_windows(1, 2, 2, ceil_mode=True)
    assert (table.starts.tolist(), table.sizes.tolist(), table.counted.tolist()) == ([0], [1], [1])
    table = strided_windows(3, 5, 3, ceil_mode=True)
    assert (table.starts.tolist(), table.sizes.tolist(), table.counted.tolist()) == ([0], [3], [3])
    for arguments in ((3, 6, 3), (3, 5, 2)):  # a whole stride is missing
        with pytest.raises(ValueError, match="kernel_size: got"):
            strided_windows(*arguments, ceil_mode=True)
    longest = strided_windows(3, 2, LARGEST, dilation=LARGEST, ceil_mode=True)
    assert (longest.sizes.tolist(), longest.step) == ([1], 1)


def test_strided_windows_of_a_huge_axis():
    n = 2**62 - 1
    table = strided_windows(n, 3, 2**61)
    assert table.starts.tolist() == [0, 2**61]
    assert table.sizes.tolist() == [3, 3]
    table = strided_windows(n, 2**61, 2**61, ceil_mode=True)
    assert table.starts.tolist() == [0, 2**61]
    assert table.sizes.tolist() == [2**61, 2**61 - 1]


def test_an_empty_table():
    table = windows(10, 0)
    assert len(table) == 0
    assert (table.starts.shape, table.stops.shape, table.sizes.shape) == ((0,), (0,), (0,))
    assert table.as_strided() is None


def test_tables_are_read_only_64_bit_and_frozen():
    for table in (windows(10, 7), windows(10, 0), strided_windows(10, 3, 2, padding=1)):
        for array in (table.starts, table.sizes, table.counted):
            assert array.dtype == np.int64
            with pytest.raises(ValueError, match="read-only"):
                array[...] = 0
        assert table.stops.dtype == np.int64
        with pytest.raises(dataclasses.FrozenInstanceError):
            table.length = 3


def test_equal_tables_are_equal_and_hash_alike():
    assert windows(14, 13) == strided_windows(14, 2, 1)
    assert hash(windows(14, 13)) == hash(strided_windows(14, 2, 1))
    assert windows(14, 13) != windows(13, 13)
    assert windows(14, 13) != "a table"


@pytest.mark.parametrize(
    ("n", "m", "error", "text"),
    [
        (0, 3, ValueError, r"\bn: got 0"),
        (-5, 3, ValueError, r"\bn: got -5"),
        (2**63, 3, ValueError, r"\bn: got 9223372036854775808"),
        (5, -1, ValueError, r"\bm: got -1"),
        (5, 2**31, ValueError, r"\bm: got 2147483648; .*2\*\*31"),
        (5, 2**70, ValueError, r"\bm: got"),
        (5, True, TypeError, r"\bm: got True of type bool"),
        (5, np.True_, TypeError, r"\bm: got"),
        (5, 2.0, TypeError, r"\bm: got 2.0 of type float"),
        (5, "2", TypeError, r"\bm: got '2' of type str"),
        (5, None, TypeError, r"\bm: got None"),
        (5.0, 2, TypeError, r"\bn: got 5.0 of type float"),
        (True, 2, TypeError, r"\bn: got True of type bool"),
    ],
    ids=str,
)
def test_wrong_sizes(n, m, error, text):
    with pytest.raises(error, match=text):
        windows(n, m)


def test_numpy_integers_are_integers():
    assert windows(np.int32(10), np.uint8(7)) == windows(10, 7)
    assert strided_windows(np.int64(10), np.int8(3), np.uint16(2)) == strided_windows(10, 3, 2)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "text"),
    [
        ((10, 0), {}, ValueError, "kernel_size: got 0"),
        ((10, -3), {}, ValueError, "kernel_size: got -3"),
        ((10, 3, 0), {}, ValueError, "stride: got 0"),
        ((10, 3, -2), {}, ValueError, "stride: got -2"),
        ((10, 3), {"dilation": 0}, ValueError, "dilation: got 0"),
        ((10, 11), {}, ValueError, "kernel_size: got 11; .*axis has 10"),
        ((10, 4), {"dilation": 4}, ValueError, "kernel_size: got 4; .*dilation"),
        ((10, 3), {"padding": -1}, ValueError, "padding: got -1"),
        ((10, 3), {"padding": (0, -1)}, ValueError, "padding: got"),
        ((10, 3), {"padding": (1, 1, 1)}, ValueError, "padding: got"),
        ((10, 3), {"padding": "same"}, ValueError, "padding: got 'same'; .*same_upper"),
        ((10, 3), {"padding": "same_upper", "ceil_mode": True}, ValueError, "padding: got 'same_upper'; .*ceil_mode"),
        ((10, 3, 1), {"padding": 3}, ValueError, "padding: got 3"),
        ((10, 3, 1), {"padding": (0, 5)}, ValueError, "padding: got"),
        ((10, 2**70), {}, ValueError, "kernel_size: got"),
        ((10, 2, 2**60), {"padding": (0, 2**62)}, ValueError, "padding: got"),
        ((2**62, 1, 1), {}, ValueError, r"stride: got 1; .*2\*\*31"),
        ((10, 3.0), {}, TypeError, "kernel_size: got 3.0 of type float"),
        ((10, True), {}, TypeError, "kernel_size: got True of type bool"),
        ((10, 3, 2.0), {}, TypeError, "stride: got 2.0 of type float"),
        ((10, 3), {"padding": 1.0}, TypeError, "padding: got 1.0 of type float"),
        ((10, 3), {"padding": None}, TypeError, "padding: got None"),
        ((10, 3), {"dilation": "2"}, TypeError, "dilation: got '2' of type str"),
    ],
    ids=lambda v: str(v) if not isinstance(v, type) else v.__name__,
)
def test_wrong_strided_arguments(arguments, options, error, text):
    with pytest.raises(error, match=text):
        strided_windows(*arguments, **options)
