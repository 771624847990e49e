#!/usr/bin/env python3
"""cpool against its peers and against the memory: the one harness by which every claim of speed is made.

Everything is timed in turn, in one run, on the same memory, and reported as medians and ratios. Each result
is compared with NumPy's in a wide type before it is timed; a wrong one spoils its row, and the exit status.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from harness import accuracy, goals, machine, probes, publish, sizes
from harness.adapters import BASE, PEERS, Peer
from harness.cases import DTYPES, LAYOUTS, Row, select
from harness.output import progress
from harness.report import LEGEND, Report, plural, run_table
from harness.timing import Effort

KINDS = ("table", "tiny", "cold", "isa", "estimates", "accuracy", "sizes")
PUBLISHED = ("table", "accuracy", "sizes")
QUICK_POWER = 5  # of ten: elements in a smoke run
DEFAULT_DTYPES = "float32,float16,bfloat16,float64,uint8"
EXAMPLES = """\
examples:
  peers.py                                       the whole table, a quarter of an hour on two cores
  peers.py --dtypes float32 --layouts first      one type and layout
  peers.py --rows windows,1080 --rounds 15       some rows, by class or part of the name, more carefully
  peers.py --simd avx2 --out results             an instruction set forced; JSON and Markdown saved
  peers.py --tiny --cold --isa                   tiny calls and import, cold calls, instruction sets
  peers.py --estimates                           what explain() estimates, against what is measured
  peers.py --accuracy --sizes                    errors and the ones test; time against size, to 10^9 elements
  peers.py --all --out results                   everything
  peers.py --publish docs/peers.md               table, accuracy and sizes as a page (what make peers does)
  peers.py --quick                               does it run? no figures to be quoted

Rows belong to sets: core (the shapes by which goals are set), images (uint8 to uint8, as image libraries
do), strided and strided gradient (kernels and strides of networks), max, max pair (with indices), gradient
and max gradient (the core's shapes), excite (squeeze-and-excite). --rows takes sets, classes, and parts of names.
"""


# ---- what is printed and saved -----------------------------------------------------------------


def show_goals(report: Report, findings: Sequence[goals.Finding]) -> None:
    """Which goals are met, and which rows miss the others."""
    cells = [[f.goal, "" if f.threads is None else str(f.threads), f.found, "yes" if f.met else "NO"] for f in findings]
    note: list[str] = []
    for f in findings:
        if f.missing:
            note += [f"- {f.goal}" + (f" ({plural(f.threads)})" if f.threads else "")]
            note += [f"  - {row}" for row in f.missing]
    report.table("Goals", ["goal", "threads", "found", "met"], cells, "\n".join(note))


# ---- what is run -------------------------------------------------------------------------------


def run_probes(args: argparse.Namespace, rows: Sequence[Row], peers: Sequence[Peer]) -> Iterable[probes.Found]:
    """The probes that were asked for."""
    most = max(args.threads)
    if args.tiny:
        yield probes.tiny(peers, most, args.effort)
        yield probes.prepared(args.effort)
        yield probes.imports(3 if args.quick else 11)
    if args.cold:
        yield probes.cold(peers, most, 10 if args.quick else 60)
    if args.isa:
        dtypes = args.dtypes if args.dtypes_given else probes.ISA_DTYPES
        core = [row for row in rows if row.set == "core"]
        yield probes.instruction_sets(core, dtypes, args.layouts, most, args.effort, progress)
        progress("")
    if args.estimates:
        dtypes = args.dtypes if args.dtypes_given else ["float32"]
        for threads in args.threads:
            yield probes.estimates(rows, dtypes, args.layouts, threads, args.effort, progress)
            progress("")


def show_growth(report: Report, grown: Sequence[sizes.Growth], peers: Sequence[Peer]) -> None:
    """Time against size, a line for each."""
    names = [peer.name for peer in peers]
    cells = [row for one in grown for row in sizes.cells(one, names)]
    left = dict.fromkeys(f"- not 10^{power}: {why}" for one in grown for power, why in one.left_out.items())
    report.table("Time against size, float32", sizes.head(names), cells, "\n".join(left))


def save(folder: Path, report: Report, data: dict[str, Any]) -> None:
    """The report as peers.md, and all samples as peers.json."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "peers.md").write_text("\n\n".join(report.blocks) + "\n")
    (folder / "peers.json").write_text(json.dumps(data, indent=1) + "\n")


# ---- the command line ----------------------------------------------------------------------------


def _listed(known: Sequence[str]) -> Any:
    def parse(text: str) -> list[str]:
        names = [name.strip() for name in text.split(",") if name.strip()]
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(known)}")
        return names

    return parse


def _counts(text: str) -> list[int]:
    counts = [int(part) for part in text.split(",")]
    if min(counts) < 1:
        raise argparse.ArgumentTypeError("numbers of threads are positive")
    return counts


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    peer_names = [peer.name for peer in PEERS]
    cpus = machine.usable_cpus()
    what = p.add_argument_group("what to run (nothing named: the table)")
    what.add_argument("--table", action="store_true", help="shapes, types and layouts against the peers and the limit")
    what.add_argument("--tiny", action="store_true", help="tiny calls, prepared calls, import")
    what.add_argument("--cold", action="store_true", help="calls after a pause")
    what.add_argument("--isa", action="store_true", help="instruction sets against each other, beyond L2")
    what.add_argument("--estimates", action="store_true", help="what explain() estimates, over what is measured")
    what.add_argument("--accuracy", action="store_true", help="errors in ULP, and the mean of ones over large windows")
    what.add_argument("--sizes", action="store_true", help="time against size: 10^3 to 10^9 elements, as memory allows")
    what.add_argument("--all", action="store_true", help="all of these")
    of = p.add_argument_group("of what")
    of.add_argument(
        "--dtypes", type=_listed(DTYPES), help=f"default: {DEFAULT_DTYPES}; with --isa float32 and integers"
    )
    of.add_argument("--layouts", type=_listed(LAYOUTS), default=list(LAYOUTS), help="where channels are: first,last")
    of.add_argument(
        "--threads",
        type=_counts,
        default=list(dict.fromkeys((cpus, 1))),
        help="default: all usable processors, and 1 (here: %(default)s)",
    )
    of.add_argument("--rows", default="core,images", help="sets, classes or parts of names (default: %(default)s)")
    of.add_argument("--most", type=float, metavar="MB", help="leave out rows with larger inputs")
    of.add_argument("--powers", type=_counts, default=list(sizes.POWERS), help="of ten, for --sizes: default 3 to 9")
    of.add_argument(
        "--peers",
        type=_listed(peer_names),
        default=peer_names,
        help=f"{','.join(peer_names)}; those that aren't installed are left out",
    )
    of.add_argument("--simd", help="the instruction set that cpool must use (as CPOOL_SIMD)")
    how = p.add_argument_group("how")
    how.add_argument("--rounds", type=int, default=7, help="samples of each (default: %(default)s)")
    how.add_argument("--slice", type=float, default=15, metavar="MS", help="length of a sample (default: %(default)s)")
    how.add_argument("--quick", action="store_true", help="a smoke run: small rows, short samples, no goals")
    how.add_argument("--out", type=Path, metavar="DIR", help="where peers.json and peers.md are saved")
    how.add_argument("--publish", type=Path, metavar="PAGE", help="write table, accuracy and sizes as a page")
    how.add_argument("--note", default="", help="what the page says of the circumstances")
    p.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)  # a worker of --isa
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Run what the command line says; 1 if a result was wrong."""
    args = parser().parse_args(argv)
    if args.simd:
        os.environ["CPOOL_SIMD"] = args.simd
    os.environ["CPOOL_CACHE_DIR"] = os.devnull  # the processor is timed, whatever tune() once found of devices
    if args.serve:
        probes.serve(sys.stdin, sys.stdout)
        return 0
    args.dtypes_given = args.dtypes is not None
    args.dtypes = args.dtypes or DEFAULT_DTYPES.split(",")
    for name in KINDS:
        published = args.publish is not None and name in PUBLISHED
        setattr(args, name, getattr(args, name) or args.all or published)
    args.table = args.table or not any(getattr(args, name) for name in KINDS)

    left_out = {peer.name: reason for peer in PEERS if peer.name in args.peers and (reason := peer.missing())}
    if BASE in left_out or BASE not in args.peers:
        print(f"{BASE} is what is compared, and isn't here: {left_out.get(BASE, 'not in --peers')}", file=sys.stderr)
        return 2
    peers = [peer for peer in PEERS if peer.name in args.peers and peer.name not in left_out]
    rows = select([part.strip() for part in args.rows.split(",") if part.strip()], args.quick)
    if args.most is not None:
        rows = [row for row in rows if row.bytes_of(args.dtypes[0])[0] <= args.most * 1e6]
    if not rows:
        parser().error(f"--rows {args.rows}: no row is called so")
    try:
        stamp = machine.stamp(tuple(peer.package for peer in PEERS if peer.package))
    except ValueError as error:  # an instruction set that isn't there
        parser().error(str(error))
    settle = machine.settling()
    args.effort = Effort(3, 0.003, settle / 4) if args.quick else Effort(args.rounds, args.slice / 1e3, settle)

    report = Report()
    report.add("\n".join(f"- {key}: {value}" for key, value in stamp.items()))
    if left_out:
        report.add("\n".join(f"- without {name}: {reason}" for name, reason in left_out.items()))
    if args.table:
        report.add(LEGEND)
    lines = run_table(args.dtypes, args.layouts, args.threads, rows, peers, args.effort, report) if args.table else []
    findings = goals.judge(lines)
    found = []
    for probe in run_probes(args, rows, peers):
        report.table(probe.title, probe.head, probe.cells, probe.note)
        findings += probe.findings
        found.append(probe)
    errors = accuracy.accuracy(peers, args.quick, progress) if args.accuracy else None
    if errors:
        report.table(errors.title, errors.head, errors.cells, errors.note)
        findings += errors.findings
        found.append(errors)
    grown: list[sizes.Growth] = []
    if args.sizes:
        powers = [power for power in args.powers if power <= QUICK_POWER] if args.quick else args.powers
        grown = sizes.growth(powers, args.threads, peers, args.effort, progress)
        show_growth(report, grown, peers)
        findings += [finding for one in grown if (finding := one.judge())]
    progress("")
    if args.quick:
        report.add("A quick run: it shows that everything runs; its figures are not to be quoted.")
    elif findings:
        show_goals(report, findings)
    wrong = [line for line in (*lines, *(line for one in grown for line in one.lines)) if line.wrong]
    for line in wrong:
        report.add(
            f"WRONG: {line.row.name}, {line.dtype}, channels {line.layout}, {plural(line.threads)}: {line.wrong}"
        )
    if args.out:
        data = {
            "stamp": stamp,
            "effort": vars(args.effort),
            "lines": [line.to_dict() for line in lines],
            "sizes": [line.to_dict() for one in grown for line in one.lines],
            "probes": [{"title": probe.title, "data": probe.data} for probe in found],
            "goals": [finding.to_dict() for finding in findings],
        }
        save(args.out, report, data)
    if args.publish:
        told = f"rows: {args.rows}{f', inputs of at most {args.most:g} MB' if args.most else ''}; "
        told += f"{args.effort.rounds} rounds of {args.effort.slice_s * 1e3:g} ms"
        args.publish.write_text(publish.page(stamp, told, args.note, lines, grown, errors), encoding="utf-8")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
