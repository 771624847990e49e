"""Tell what this build is and what it found: instruction sets, threads, every OpenCL device.

examples:
  cpool info
  cpool info --json | python -m json.tool
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

import cpool


def add_arguments(command: argparse.ArgumentParser) -> None:
    """What the command takes."""
    command.add_argument("--json", action="store_true", help="as JSON, each device with all that is known of it")


def run(args: argparse.Namespace) -> int:
    """Print it."""
    if not args.json:
        cpool.show_config()
        return 0
    found = cpool.show_config(mode="dicts") or {}
    found["devices"] = [asdict(device) for device in cpool.devices()]
    print(json.dumps(found, indent=2))
    return 0
