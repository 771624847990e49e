"""Time this machine: cpool against the libraries that are installed and against a plain read of the same memory.

examples:
  cpool bench                                   a quick table: float32, both layouts, a minute
  cpool bench --rows image --dtypes uint8,float32
  cpool bench --rows max,strided --layouts first --threads 1
  cpool bench --plot speed.svg

Each result is held against NumPy's before it is timed; a wrong one fails the command. All are timed in turn, so ratios
can be trusted further than times. It is the harness by which the project's own figures are made, with less patience.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cpool

from . import files, operation, picture
from .errors import Failure
from .picture import Box, Drawing, Word

MOST = 2**23  # elements of a row in the quick table
ROWS = "core"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """What the command takes."""
    of = command.add_argument_group("of what")
    of.add_argument(
        "--rows",
        help="sets (core, images, max, strided, gradient, ...), classes (windows, global, ...) or parts of names like "
        "4096; default: those of the core with at most 8 million elements",
    )
    of.add_argument("--dtypes", default="float32", help="default: %(default)s")
    of.add_argument("--layouts", default="first,last", help="where channels are; default: %(default)s")
    of.add_argument("--threads", type=operation.shape, help="default: as many as cpool would use")
    of.add_argument(
        "--peers",
        help="some of them: torch, onnxruntime, openvino, keras, NumPy, scikit-image, OpenCV, Pillow, limit; default: "
        "all there are",
    )
    how = command.add_argument_group("how")
    how.add_argument("--rounds", type=int, default=5, help="samples of each (default: %(default)s)")
    how.add_argument("--slice", type=float, default=5, metavar="MS", help="length of a sample (default: %(default)s)")
    out = command.add_argument_group("output")
    out.add_argument("--json", type=Path, metavar="FILE", help="all samples")
    out.add_argument("--plot", type=Path, metavar="FILE", help="draw the table as .svg, or as .png with Pillow")
    out.add_argument("--force", action="store_true", help="replace FILE if it is there")


def run(args: argparse.Namespace) -> int:
    """Time, and print the table."""
    harness = _harness()
    adapters, cases, machine, report = (harness(name) for name in ("adapters", "cases", "machine", "report"))

    if args.plot is not None:
        picture.check(args.plot, args.force)
    if args.json is not None:
        files.check_output(args.json, args.force)
    if args.rounds < 1 or not 0 < args.slice < math.inf:
        raise Failure("--rounds and --slice are positive")
    threads = args.threads or (cpool.get_num_threads(),)
    if 0 in threads:
        raise Failure("--threads: 0 threads do nothing; 1 or more are needed")
    dtypes = _listed("--dtypes", args.dtypes, cases.DTYPES)
    layouts = _listed("--layouts", args.layouts, cases.LAYOUTS)
    rows = cases.select([r.strip() for r in (args.rows or ROWS).split(",") if r.strip()], False)
    if args.rows is None:
        rows = [row for row in rows if math.prod(row.shape) <= MOST]
    if not rows:
        raise Failure(f"--rows {args.rows}: no row is called so")
    names = [peer.name for peer in adapters.PEERS]
    wanted = _listed("--peers", args.peers, names) if args.peers else names
    for peer in adapters.PEERS if args.peers else ():
        if peer.name in wanted and (why := peer.missing()):
            raise Failure(f"--peers {peer.name}: {why}")
    peers = [p for p in adapters.PEERS if p.name == adapters.BASE or (p.name in wanted and not p.missing())]
    printed = report.Report()
    stamp = machine.stamp(tuple(peer.package for peer in peers if peer.package))
    printed.add("\n".join(f"- {key}: {value}" for key, value in stamp.items()))
    printed.add(report.LEGEND)
    effort = harness("timing").Effort(args.rounds, args.slice / 1e3, machine.settling())
    lines = report.run_table(dtypes, layouts, threads, rows, peers, effort, printed)
    wrong = [line for line in lines if line.wrong]
    if args.json is not None:
        text = json.dumps({"stamp": stamp, "lines": [line.to_dict() for line in lines]}, indent=1) + "\n"
        with files.whole(args.json, args.force) as file:
            file.write(text.encode())
    if args.plot is not None:
        picture.save(_plotted(lines, f"cpool {stamp['cpool']} on {stamp['cpu']}"), args.plot, args.force)
    if wrong:
        named = [f"{line.row.name}, {line.dtype}, channels {line.layout}: {line.wrong}" for line in wrong]
        raise Failure("; ".join(named))
    return 0


def _harness() -> Callable[[str], Any]:
    """Imports the harness's modules: the package's, or those that lie beside it in a source tree."""
    if find_spec("cpool.harness") is not None:
        return lambda name: import_module(f"cpool.harness.{name}")
    beside = Path(cpool.__file__).parents[2] / "benchmarks"
    if not (beside / "harness").is_dir():
        raise Failure("this installation has no cpool.harness, which wheels have")
    sys.path.append(str(beside))
    return lambda name: import_module(f"harness.{name}")


def _listed(option: str, text: str, known: Any) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in known:
            raise Failure(f"{option} {text}: {name!r} is not one of {', '.join(known)}")
    return names


# ---- as a picture ----------------------------------------------------------------------------------

HOW = "how many times as long as cpool the others take: to the right of the line cpool is faster"
LEFT, NAMES, BARS, ROW, BAR = 16, 100, 360, 15, 11
LETTER = 7  # width, about


def _plotted(lines: list[Any], title: str) -> Drawing:
    """For each row a bar for each peer: how many times as long as cpool it takes, on a logarithmic axis."""
    ratios = [r for line in lines for name in line.samples if (r := line.over(name)) is not None]
    least, most = min([*ratios, 0.5]), max([*ratios, 2.0])
    shapes: list[Box | Word] = [
        Word(LEFT, 24, title),
        Word(LEFT, 44, HOW, "faint"),
    ]

    labels = [f"{line.row.name}, {line.dtype}, {line.layout}" for line in lines]
    named = LEFT + LETTER * max(map(len, labels), default=0)
    bars = named + NAMES

    def across(ratio: float) -> float:
        return bars + BARS * math.log(ratio / least) / math.log(most / least)

    y = 64.0
    for label, line in zip(labels, lines, strict=True):
        shapes.append(Word(named, y + BAR, label, "text", "end"))
        for name in line.samples:
            ratio = line.over(name)
            if name == "cpool" or ratio is None:
                continue
            kind = "faint" if name == "limit" else "own" if ratio >= 1 else "wrong"
            begin, end = sorted((across(1), across(ratio)))
            shapes.append(Word(named + 10, y + BAR, name, "faint"))
            shapes.append(Box(begin, y + 2, max(end - begin, 1), BAR, kind))
            shapes.append(Word(bars + BARS + 8, y + BAR, f"{ratio:.2f}", "faint"))
            y += ROW
        y += 6
    shapes.append(Box(across(1), 56, 1, y - 56, "text"))
    return Drawing(bars + BARS + 60, y + 10, shapes, title)
