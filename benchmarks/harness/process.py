"""A process that answers questions: lines of JSON, in and out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any


class Process:
    """A Python of its own, for as long as there are questions."""

    def __init__(self, arguments: Sequence[str], env: Mapping[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **env},
        )

    def ask(self, **question: Any) -> Any:
        """Send a question, wait for the answer."""
        assert self.process.stdin
        assert self.process.stdout
        answer = ""
        with suppress(BrokenPipeError):  # it has ended, and tells nothing
            self.process.stdin.write(json.dumps(question) + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"a benchmark process ended with status {self.process.wait()}")
        return json.loads(answer)

    def close(self) -> None:
        """End the process: it has no more questions to wait for."""
        self.process.communicate()
