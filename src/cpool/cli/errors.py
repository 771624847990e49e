"""What goes wrong in a command, in one line."""

from __future__ import annotations


class Failure(Exception):
    """A command can't do what it was asked for; the message says why, and of which file."""


class Mismatch(Failure):
    """Options don't fit the array; who knows which one says so."""


def reason(error: BaseException) -> str:
    """The first line of an error's message: what the system says of it, if it is the system's."""
    text = getattr(error, "strerror", None) or str(error)
    lines = str(text).strip().splitlines()
    return lines[0] if lines else type(error).__name__
