"""The command line: `cpool`, or `python -m cpool`. One file for each command; docs/cli.md describes them."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn

import cpool
from cpool import cpu

from . import bench, explain, info, pool, tune
from .errors import Failure, reason

EPILOG = """\
examples:
  cpool info                                  what this build is and what it found
  cpool explain 10x9 7x7                      the windows, drawn, and what would run
  cpool pool features.npy small.npy --size 7x7
  cpool pool photo.jpg thumbnail.png --size 224
  cpool bench                                 a quick table of this machine

`cpool COMMAND --help` says more, with examples.

exit status:
  0 all went well; 1 it failed, and one line on standard error says why; 2 the command line is wrong;
  130 interrupted (Ctrl-C); 143 ended by SIGTERM; 141 the reader of our output went away
"""
COMMANDS = (info, explain, pool, bench, tune)
FAILED, INTERRUPTED, NO_READER = 1, 130, 141


def parser() -> argparse.ArgumentParser:
    """All commands."""
    top = argparse.ArgumentParser(
        prog="cpool",
        description=cpool.__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"cpool {cpool.__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for module in COMMANDS:
        description, _, examples = (module.__doc__ or "").partition("\n\n")
        name = module.__name__.rpartition(".")[2]
        command = commands.add_parser(
            name,
            help=description[0].lower() + description[1:].rstrip("."),
            description=description,
            epilog=examples,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run, parser=command)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the exit status."""
    args = parser().parse_args(argv)
    try:
        _check_environment()
        status = int(args.run(args))
        sys.stdout.flush()
        return status
    except Failure as failure:
        return _failed(args.parser.prog, str(failure))
    except cpool.BackendUnavailable as error:
        return _failed(args.parser.prog, str(error))
    except MemoryError as error:
        return _failed(args.parser.prog, f"not enough memory: {reason(error)}")
    except KeyboardInterrupt:
        _failed(args.parser.prog, "interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        _nothing_more()
        return NO_READER
    except OSError as error:  # files say their own errors: this is standard output
        _nothing_more()
        return _failed(args.parser.prog, f"standard output: {error.strerror}")


def _check_environment() -> None:
    """Variables that no call could do with."""
    try:
        cpool.get_num_threads()
        cpu.simd()
    except ValueError as error:
        raise Failure(reason(error)) from None


def run() -> NoReturn:
    """What the installed command does."""
    sys.exit(main())


def _failed(program: str, why: str) -> int:
    with suppress(OSError):  # nobody may be there to read it
        print(f"{program}: error: {why}", file=sys.stderr, flush=True)
    return FAILED


def _nothing_more() -> None:
    """What is left in the buffer of standard output goes nowhere: Python would try again at its end, and complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
