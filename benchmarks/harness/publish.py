"""The page of the peers (docs/peers.md): what was measured, as tables of which docs/plots.py draws its pictures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from . import sizes
from .adapters import BASE
from .compare import Line, mean_over
from .output import table
from .probes import Found
from .report import plural, some, times

LIMIT = "limit"
STAMPED = (
    "date",
    "cpu",
    "cpus",
    "load",
    "l2 bytes per core",
    "l3 bytes",
    "system",
    "instruction set",
    "python",
    "numpy",
)

INTRODUCTION = f"""\
# The peers

cpool beside other libraries, each where it does the same job: what `make peers` measured, and wrote here. Every result
was held against NumPy's in a wide type before it was timed. All were timed in turn, in one run, on the same memory; a
figure x/{BASE} is the median of the ratios within each turn: above 1 {BASE} is faster, below 1 the other. Classes of
shapes have geometric means. The limit is a plain read of the same memory with as many threads, or a copy where the
output is large; limit/{BASE} is {BASE}'s share of that speed."""


def _by(lines: Sequence[Line], of: Any) -> Iterable[tuple[Any, list[Line]]]:
    """The lines in groups, in the order in which these first came."""
    keys = list(dict.fromkeys(map(of, lines)))
    return ((key, [line for line in lines if of(line) == key]) for key in keys)


def _class(line: Line) -> str:
    return f"{line.row.done.prefix} {line.row.regime}".strip()


def _names(lines: Sequence[Line]) -> list[str]:
    """The peers that were timed at least once, the limit last."""
    names = dict.fromkeys(name for line in lines for name in line.samples if name not in (BASE, LIMIT))
    return [*names, LIMIT]


def by_class(lines: Sequence[Line]) -> str:
    """Ratios per class of shapes."""
    names = _names(lines)
    rows = []
    for (dtype, layout, threads, name), mine in _by(
        lines, lambda line: (line.dtype, line.layout, line.threads, _class(line))
    ):
        ratios = (times(mean_over(mine, peer)) for peer in names)
        rows.append([name, dtype, layout, str(threads), str(len(mine)), *ratios])
    rows.sort(key=lambda row: (row[1], row[2], -int(row[3])))
    return table(["class", "type", "channels", "threads", "rows", *(f"{name}/{BASE}" for name in names)], rows)


def losses(lines: Sequence[Line]) -> str:
    """All rows in which somebody is faster, the worst first."""
    rows = []
    for line in lines:
        for name in _names(lines)[:-1]:
            ratio = line.over(name)
            if ratio is not None and ratio < 1:
                rows.append([line.row.name, line.dtype, line.layout, str(line.threads), name, times(ratio)])
    rows.sort(key=lambda row: float(row[-1]))
    if not rows:
        return "None in this run."
    head = ["row", "type", "channels", "threads", "faster", f"its time / {BASE}'s"]
    return table(head, rows)


def reasons(lines: Sequence[Line]) -> str:
    """Where a peer doesn't do the same job, or took too long."""
    said: dict[tuple[str, str], list[str]] = {}
    for line in lines:
        for name, reason in line.reasons.items():
            said.setdefault((name, reason), []).append(line.row.name)
    rows = [[name, reason, some(list(dict.fromkeys(rows)))] for (name, reason), rows in sorted(said.items())]
    return table(["peer", "why it was not timed", "rows"], rows) if rows else "Every peer did all of it."


def off(lines: Sequence[Line]) -> str:
    """How far the timed results of the table were off."""
    rows = []
    for name in [BASE, *_names(lines)[:-1]]:
        errors = [
            (line.errors[name], line.row.name)
            for line in lines
            if line.dtype == "float32" and "max" not in line.row.operation and name in line.errors
        ]
        if errors:
            worst, where = max(errors)
            rows.append([name, str(len(errors)), f"{worst:,.2f}", where])
    return table(["who", "float32 averages", "worst ULP", "in row"], rows) if rows else ""


def all_rows(lines: Sequence[Line]) -> str:
    """Every row of the table."""
    names = _names(lines)
    blocks = []
    for (dtype, layout, threads), mine in _by(lines, lambda line: (line.dtype, line.layout, line.threads)):
        used = [name for name in names if any(name in line.samples for line in mine)]
        rows = [
            [line.row.name, line.row.kind, line.tier, f"{(line.seconds(BASE) or 0) * 1e6:.4g}"]
            + [times(line.over(name)) for name in used]
            for line in mine
            if not line.wrong
        ]
        head = ["row", "windows", "tier", f"{BASE} us", *(f"{name}/{BASE}" for name in used)]
        blocks.append(f"### {dtype}, channels {layout}, {plural(threads)}\n\n{table(head, rows)}")
    return "\n\n".join(blocks)


def picture(words: str, told: str) -> str:
    """A picture that is drawn when the site is built."""
    return f"```{{picture}} {words}\n{told}\n```"


def page(
    stamp: Mapping[str, Any],
    effort: str,
    note: str,
    lines: Sequence[Line],
    grown: Sequence[sizes.Growth],
    accuracy: Found | None,
) -> str:
    """All of it."""
    versions = [f"{key} {value}" for key, value in stamp.items() if key not in STAMPED and _is_version(value)]
    parts = [INTRODUCTION, "\n".join(f"- {key}: {stamp[key]}" for key in STAMPED if key in stamp)]
    parts[-1] += f"\n- versions: {', '.join(versions)}\n- {effort}" + (f"\n- {note}" if note else "")
    if lines:
        ways = sorted({(line.layout, -line.threads) for line in lines})
        most = max(line.threads for line in lines)
        layouts = list(dict.fromkeys(layout for layout, _ in ways))
        parts.append("## By class of shape")
        for layout in layouts:
            told = f"Channels {layout}: each peer with as many of 1 and {most} threads as it takes."
            told += f" To the right of 1 {BASE} is faster."
            parts.append(picture(f"peers_by_class {layout}", told))
        parts += [by_class(lines), "## The share of the limit"]
        for layout, threads in ways:
            told = f"Channels {layout}, {plural(-threads)}. Bars: {BASE}. Dots: torch. 1 is a plain read, or copy."
            parts.append(picture(f"share_of_limit {layout} {-threads}", told))
    if grown:
        parts.append("## Time against size")
        parts.append(
            "One plane of float32, made smaller to blocks of 8x8 (tiled), or to one window fewer (ragged). The cost\n"
            "must grow as the work does: a straight line, with a step where the data leaves a cache."
        )
        names = _names([line for one in grown for line in one.lines])
        for one in grown:
            told = f"{one.kind.capitalize()} windows, {plural(one.threads)}: microseconds of a call against elements."
            parts.append(picture(f"time_against_size {one.kind} {one.threads}", told))
        parts.append(table(sizes.head(names), [row for one in grown for row in sizes.cells(one, names)]))
        left = dict.fromkeys(f"- not 10^{power}: {why}" for one in grown for power, why in one.left_out.items())
        judged = [found for one in grown if (found := one.judge())]
        told = [f"- {f.goal}, {plural(f.threads or 1)}: {f.found}, {'met' if f.met else 'NOT MET'}" for f in judged]
        parts.append("\n".join([*told, *left]))
    if accuracy:
        parts += ["## Accuracy", table(accuracy.head, accuracy.cells), accuracy.note]
    if lines:
        parts += ["The results that were timed above, held against the right ones:", off(lines)]
    everything = [*lines, *(line for one in grown for line in one.lines)]
    parts += ["## Losses", losses(everything), "## Where a peer was not timed", reasons(everything)]
    if lines:
        parts += ["## All rows", all_rows(lines)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _is_version(value: Any) -> bool:
    return isinstance(value, str) and value[:1].isdigit() and "." in value
