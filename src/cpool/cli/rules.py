"""The rules by which texts choose adaptive windows, next to each other; all windows are made by cpool.windows."""

from __future__ import annotations

from typing import NamedTuple

from cpool.windows import Windows, strided_windows, windows


class Rule(NamedTuple):
    """A rule for n -> m, what it gives, and what is wrong with that."""

    name: str
    table: Windows | None
    wrong: tuple[str, ...]


def compare(n: int, m: int) -> list[Rule]:
    """The right rule, and the two that are right only sometimes."""
    right = windows(n, m)
    whole = n // m
    return [
        Rule("floor(i*n/m) to ceil((i+1)*n/m)", right, ()),
        _strided("kernel ceil(n/m), stride floor(n/m)", right, -(-n // m), whole),
        _strided("kernel n - (m-1)*floor(n/m), stride floor(n/m)", right, n - (m - 1) * whole, whole),
    ]


def _strided(name: str, right: Windows, kernel: int, stride: int) -> Rule:
    name = f"{name}: kernel {kernel}, stride {stride}"
    if stride < 1:
        return Rule(name, None, ("there is no stride of 0",))
    table = strided_windows(right.length, kernel, stride)
    wrong = []
    if table.count != right.count:
        wrong.append(f"{table.count} windows, not {right.count}")
    unread = right.length - int(table.stops[-1])
    if unread:
        wrong.append(f"the last {unread} of {right.length} elements are in no window")
    both = slice(min(table.count, right.count))
    differ = int(((table.starts[both] != right.starts[both]) | (table.stops[both] != right.stops[both])).sum())
    if differ:
        wrong.append(f"{differ} windows begin or end elsewhere")
    return Rule(name, table, tuple(wrong))


def text(table: Windows, most: int = 12) -> str:
    """The first windows as start:stop."""
    spans = [f"{a}:{b}" for a, b in zip(table.starts[:most].tolist(), table.stops[:most].tolist(), strict=True)]
    return " ".join(spans) + (f" and {table.count - most} more" if table.count > most else "")
