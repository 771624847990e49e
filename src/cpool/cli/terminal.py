"""What is different on a terminal: colours, its width, and a line that tells how far a command is."""

from __future__ import annotations

import os
import shutil
import sys
import time
from typing import TextIO

COLOURS = {"bold": "1", "dim": "2", "own": "36", "shared": "33", "wrong": "31", "right": "32"}


def is_terminal(stream: TextIO) -> bool:
    """Whether somebody looks at it."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


class Painter:
    """Text with colours, if standard output is a terminal and NO_COLOR is not set; else the text as it is."""

    def __init__(self) -> None:
        self.on = is_terminal(sys.stdout) and not os.environ.get("NO_COLOR")
        self.columns = shutil.get_terminal_size((100, 24)).columns
        self.unicode = _can_say("█▓·…→", sys.stdout)

    def __call__(self, kind: str, text: str) -> str:
        """The text in the colour of its kind."""
        return f"\033[{COLOURS[kind]}m{text}\033[0m" if self.on and text else text


def _can_say(text: str, stream: TextIO) -> bool:
    try:
        text.encode(stream.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


class Progress:
    """How much is done, on standard error, if that is a terminal."""

    EVERY = 0.1  # seconds

    def __init__(self, name: str, total: int) -> None:
        self.name, self.total = name, max(total, 1)
        self.on = is_terminal(sys.stderr)
        self.done = 0
        self.began = self.shown = time.monotonic()

    def add(self, amount: int) -> None:
        """So much more is done."""
        self.done += amount
        now = time.monotonic()
        if self.on and (now - self.shown >= self.EVERY or self.done >= self.total):
            self.shown = now
            self._show(now - self.began)

    def _show(self, seconds: float) -> None:
        share = min(self.done / self.total, 1)
        full = round(24 * share)
        left = seconds / share - seconds if share else 0
        rate = self.done / seconds / 1e9 if seconds else 0
        text = f"{self.name} [{'#' * full}{'.' * (24 - full)}] {share:4.0%} {rate:.1f} GB/s, {left:.0f} s left"
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Take the line away."""
        if self.on:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
