#!/usr/bin/env python3
"""Did anything get slower? Builds a base and a head, times them in turn in pairs of fresh processes, and says so.

The answer for each benchmark is faster, same, slower or can't tell, with a figure and its interval; how it is found is
told in harness/verdict.py and in docs/benchmarking.md. The exit status is 0 if nothing is slower, 1 if something is,
and 2 if something could not be built or was not measured.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from harness.builds import TREE, BuildError, build
from harness.gating import NothingMeasured, run
from harness.judged import JUDGED, MOST, PLANTED, REPORTED
from harness.output import progress
from harness.pairs import SUITE, Benchmark

EXAMPLES = """\
examples:
  gate.py main                        the working tree against main
  gate.py v0.1.0 --head main          one revision against another
  gate.py main --only tiny,image      some benchmarks, by part of their names
  gate.py a.whl --head b.whl --short  two wheels; one benchmark for each of five regimes
  gate.py main --suite my/suite --benchmarks mine.json
                                      benchmarks of your own: [{"name": "module.Class.time_method", "params": [...],
                                      "label": "...", "clock": "cpu" or "wall"}, ...]
"""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n")[0],
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("base", help="a revision, a wheel, or . for the working tree")
    parser.add_argument("--head", default=TREE, help="what is held against it, in the same words (the working tree)")
    parser.add_argument("--only", default="", help="parts of names, separated by commas")
    parser.add_argument("--short", action="store_true", help="five regimes only, and nothing on several threads")
    parser.add_argument("--seconds", type=float, default=235, help="at most so long, builds not counted (235)")
    parser.add_argument("--suite", type=Path, default=SUITE, help="another asv suite")
    parser.add_argument("--benchmarks", type=Path, help="a JSON list of what is judged instead")
    parser.add_argument("--out", type=Path, help="write the report there, as Markdown")
    parser.add_argument("--json", type=Path, help="write all timings there")
    arguments = parser.parse_args()
    try:
        judged, reported = chosen(arguments)
        builds = [build(arguments.base), build(arguments.head)]
        outcome = run(builds, judged, reported, arguments.seconds, progress, arguments.suite)
    except (BuildError, NothingMeasured) as error:
        print(error, file=sys.stderr)
        return 2
    finally:
        progress("")
    print(outcome.markdown())
    if arguments.out:
        arguments.out.write_text(outcome.markdown())
    if arguments.json:
        arguments.json.write_text(json.dumps(outcome.to_dict()))
    return 1 if outcome.slower else 0


def chosen(arguments: argparse.Namespace) -> tuple[list[Benchmark], list[Benchmark]]:
    """What is judged, and what is reported besides."""
    judged, reported = list(JUDGED), list(REPORTED)
    if arguments.benchmarks:
        texts = json.loads(arguments.benchmarks.read_text())
        judged, reported = [Benchmark(**{**text, "params": tuple(text["params"])}) for text in texts], []
    if arguments.short:
        judged, reported = [b for b in judged if b.label in PLANTED.values()], []
    if arguments.only:
        parts = arguments.only.split(",")
        judged, reported = ([b for b in some if any(p in b.label for p in parts)] for some in (judged, reported))
    if not 0 < len(judged) <= MOST:
        raise NothingMeasured(f"{len(judged)} benchmarks are to be judged, 1 to {MOST} can be")
    return judged, reported


if __name__ == "__main__":
    sys.exit(main())
