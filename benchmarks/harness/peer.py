"""What a peer is: one library, and a case of the table made ready for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from numpy.typing import NDArray

from .cases import Case
from .timing import Call

Array = NDArray[Any]


@dataclass(frozen=True)
class Prepared:
    """A case ready to be timed, and what it gives as an array in the case's layout (None: nothing to check)."""

    call: Call
    text: str
    result: Callable[[], Array] | None = None
    detail: str = ""  # how the library does it, if it tells


class Peer:
    """One library. New peers are a subclass and a line in PEERS of adapters.py."""

    name: str
    package: str | None = None  # for the stamp
    needs: tuple[str, ...] = ()  # modules

    def missing(self) -> str | None:
        """Why it can't be used here; None if it can."""
        try:
            for module in self.needs:
                import_module(module)
        except (ImportError, OSError) as error:  # a library that a module loads may be what is missing
            return str(error)
        return None

    @contextmanager
    def session(self, threads: int) -> Iterator[None]:
        """Within the block this library uses so many threads."""
        yield

    def prepare(self, case: Case, threads: int) -> Prepared | str:
        """The case ready to be timed, or the reason why this library doesn't do it."""
        raise NotImplementedError


def values_of(case: Case, result: Any) -> Any:
    """The result without its indices."""
    return result[0] if case.row.done.pair else result


def arguments(case: Case) -> str:
    """The operation's own arguments, as they are written in a call."""
    return ", ".join(map(repr, case.row.arguments))


def only_pools(case: Case) -> bool:
    """Whether the case is a pooling and nothing else: no indices, no gradient, no block of a network."""
    done = case.row.done
    return not done.pair and done.x_is == "input" and done.result_is == "output"
