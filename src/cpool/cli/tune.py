"""Measure this machine once: then large host arrays go to a device where that is faster, and estimates fit.

Nothing is sent to a device unasked before this was run. `cpool.tune()` is the same in Python.

examples:
  cpool tune                             the processor and every OpenCL device, some seconds each
  cpool tune opencl:0 --seconds 3        the processor and one device
"""

from __future__ import annotations

import argparse
import sys
import warnings

import cpool

from .errors import Failure, reason
from .terminal import is_terminal


def add_arguments(command: argparse.ArgumentParser) -> None:
    """What the command takes."""
    command.add_argument("devices", nargs="*", metavar="DEVICE", help="as `cpool info` lists them; default: all")
    command.add_argument("--seconds", type=float, default=10.0, help="for each (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Measure, and print what was found."""
    with warnings.catch_warnings(record=True) as left_out:
        warnings.simplefilter("always", RuntimeWarning)
        try:
            found = cpool.tune(args.devices or None, seconds=args.seconds, verbose=is_terminal(sys.stderr))
        except (ValueError, TypeError) as error:
            raise Failure(reason(error)) from None
    for warning in left_out:
        print(str(warning.message).splitlines()[0], file=sys.stderr)
    print(found)
    return 0
