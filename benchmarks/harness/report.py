"""What was measured, as Markdown: one table for each type, layout and number of threads, and their means."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from . import goals
from .adapters import BASE, Peer
from .cases import Case, Row, missing_type
from .compare import Line, compare, mean_over
from .output import progress, table
from .timing import Effort

INEXACT = 1  # ULP: a peer that is further off is told of


class Report:
    """Markdown that is printed as it comes and kept for the file."""

    def __init__(self) -> None:
        self.blocks: list[str] = []

    def add(self, text: str) -> None:
        """Print a block of text and keep it."""
        print(text, end="\n\n", flush=True)
        self.blocks.append(text)

    def table(self, title: str, head: Sequence[str], rows: Iterable[Sequence[str]], note: str = "") -> None:
        """A table whose columns are aligned in plain text too; columns with nothing in them are left out."""
        cells = [list(map(str, row)) for row in rows]
        used = [i for i in range(len(head)) if any(row[i] not in ("", "-") for row in cells)]
        if not used:
            return
        text = table([head[i] for i in used], [[row[i] for i in used] for row in cells])
        self.add("\n".join([f"### {title}", "", text, *(["", note] if note else [])]))


def plural(threads: int) -> str:
    """As in '2 threads'."""
    return f"{threads} thread" + ("s" if threads > 1 else "")


def micro(seconds: float | None) -> str:
    """Microseconds, three digits or more."""
    if seconds is None:
        return "-"
    value = seconds * 1e6
    return f"{value:.2f}" if value < 100 else f"{value:.1f}"


def times(value: float | None) -> str:
    """A ratio."""
    return "-" if value is None else f"{value:.2f}"


def some(names: Sequence[str]) -> str:
    """The first of the names, and how many more there are."""
    rest = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + rest


def show(report: Report, lines: Sequence[Line], names: Sequence[str]) -> None:
    """One table: one type, one layout, one number of threads."""
    first = lines[0]
    others = [name for name in names if name != BASE]
    cells = []
    for line in lines:
        took = line.seconds(BASE)
        if line.wrong:
            cells.append([line.row.name, f"WRONG: {line.wrong}", *[""] * (6 + 2 * len(others))])
            continue
        moved = line.bytes_in + line.bytes_out
        marks = {name: " c" if name == "limit" and line.copies else "" for name in others}
        cells.append(
            [
                line.row.name,
                line.row.kind,
                f"{line.bytes_in / 1e6:.2f}",
                line.tier,
                micro(took),
                *(micro(line.seconds(name)) + marks[name] for name in others),
                *(times(line.over(name)) for name in others),
                f"{moved / took / 1e9:.1f}" if took else "-",
                f"{line.noise:.0%}" if line.noise is not None else "-",
                line.details.get(BASE, ""),
            ]
        )
    head = ["row", "windows", "MB in", "tier", f"{BASE} us", *(f"{n} us" for n in others)]
    head += [*(f"{n}/{BASE}" for n in others), "GB/s", "noise", "kernel"]
    reasons: dict[str, list[str]] = {}
    for line in lines:
        for name, reason in line.reasons.items():
            reasons.setdefault(f"{name}: {reason}", []).append(line.row.name)
    notes = [
        f"- {reason} ({'all rows' if len(rows) == len(lines) else some(rows)})" for reason, rows in reasons.items()
    ]
    for name in others:
        errors = [(line.errors.get(name, 0.0), line.row.name) for line in lines if name in line.samples]
        off, where = max(errors, default=(0.0, ""))
        if off > INEXACT:
            notes.append(f"- {name}: results off by up to {off:,.1f} ULP ({where})")
    report.table(f"{first.dtype}, channels {first.layout}, {plural(first.threads)}", head, cells, "\n".join(notes))


GROUPS = {"all": goals.ALL, "beyond L2": goals.BEYOND, "L2": ("L2",), "tiny": ("tiny",)}


def show_means(report: Report, lines: Sequence[Line], names: Sequence[str]) -> None:
    """The geometric means of each table's rows, and its worst row."""
    cells = []
    tables = dict.fromkeys((line.row.set, line.dtype, line.layout, line.threads) for line in lines)
    for key in tables:
        mine = [line for line in lines if (line.row.set, line.dtype, line.layout, line.threads) == key]
        for name in names:
            ratios = [(ratio, line.row.name) for line in mine if (ratio := line.over(name)) is not None]
            if name == BASE or not ratios:
                continue
            means = [mean_over([ln for ln in mine if ln.tier in tiers], name) for tiers in GROUPS.values()]
            least, where = min(ratios)
            cells.append([*map(str, key), f"{name}/{BASE}", *map(times, means), times(least), where])
    head = ["set", "type", "channels", "threads", "ratio", *GROUPS, "least", "in row"]
    report.table("Geometric means", head, cells)


LEGEND = f"""\
Times are medians of samples taken in turn; x/{BASE} is the median of the ratios within each turn: above 1, {BASE} is
faster. The limit is a plain read of the same memory with as many threads, or (c) a copy of as many bytes where the
output is large. The tier is where input and output fit; GB/s counts both; noise is half the quartiles' distance."""


def run_table(
    dtypes: Sequence[str],
    layouts: Sequence[str],
    threads: Sequence[int],
    rows: Sequence[Row],
    peers: Sequence[Peer],
    effort: Effort,
    report: Report,
) -> list[Line]:
    """Every row, type, layout and number of threads: timed, and shown."""
    names = [peer.name for peer in peers]
    found: list[Line] = []
    for dtype in dtypes:
        reason = missing_type(dtype)
        if reason:
            report.add(f"Not timed: {reason}")
            continue
        for layout in layouts:
            part: list[Line] = []
            for row in rows:
                if not row.takes(dtype):
                    continue
                case = Case(row, dtype, layout)
                for count in threads:
                    progress(f"{dtype}, channels {layout}, {row.name}, {plural(count)}")
                    part.append(compare(case, count, peers, effort))
            progress("")
            for count in threads:
                mine = [line for line in part if line.threads == count]
                if mine:
                    show(report, mine, names)
            found += part
    if found:
        show_means(report, found, names)
    return found
