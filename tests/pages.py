"""Runs the code of a page of documentation: `python tests/pages.py PAGE`.

Blocks marked `python` are executed, blocks marked `pycon` are compared with what they show, all of a page in one
namespace. Where a line of a `python` block ends in a shape, `f(x).shape  # (8, 64, 7, 7)`, it must have that value.
What is optional and isn't installed ends the page with exit status 77 and its name.
"""

from __future__ import annotations

import ast
import doctest
import re
import sys
from pathlib import Path
from typing import Any, NamedTuple

OPTIONAL = {"torch", "onnx", "onnxruntime", "openvino", "jax", "sklearn", "pyopencl", "ml_dtypes", "PIL", "tifffile"}
NOT_HERE = 77
FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w+)\n(?P<code>.*?)^(?P=indent)```$", re.DOTALL | re.MULTILINE)
SHAPE = re.compile(r"#\s+(\(\d[\d, ]*\))")


class Block(NamedTuple):
    """Code in a page, and the line it begins on."""

    language: str
    line: int
    code: str


def blocks(page: str) -> list[Block]:
    """The code blocks of a Markdown page that are to be run."""
    found = []
    for match in FENCE.finditer(page):
        if match["language"] in ("python", "pycon"):
            indent = len(match["indent"])
            code = "".join(line[indent:] for line in match["code"].splitlines(keepends=True))
            found.append(Block(match["language"], page.count("\n", 0, match.start()) + 2, code))
    return found


def run(block: Block, name: str, known: dict[str, Any]) -> None:
    """Run a block in this namespace; AssertionError, or the block's own error, if it isn't what the page says."""
    if block.language == "pycon":
        # as doctest has it: a blank line ends what is expected
        test = doctest.DocTestParser().get_doctest(block.code, known, name, name, block.line - 1)
        assert test.examples, f"{name}, line {block.line}: no prompt in this block"
        told: list[str] = []
        runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
        failed = runner.run(test, out=told.append, clear_globs=False).failed
        known.update(test.globs)
        text = "".join(told)
        lacking = re.search(r"ModuleNotFoundError: No module named '(\w+)", text)
        if lacking:
            raise ModuleNotFoundError(text, name=lacking[1])
        assert not failed, text
        return
    lines = block.code.splitlines()
    for node in ast.parse(block.code).body:
        place = [ast.increment_lineno(node, block.line - 1)]
        if not isinstance(node, ast.Expr):
            exec(compile(ast.Module(place, []), name, "exec"), known)
            continue
        value = eval(compile(ast.Expression(node.value), name, "eval"), known)
        shown = SHAPE.search(lines[node.end_lineno - block.line])
        if shown:
            wanted = ast.literal_eval(shown[1])
            assert value == wanted, f"{name}, line {node.lineno}: {value} instead of {wanted}"


def main(path: str) -> int:
    """Run a page."""
    known: dict[str, Any] = {"__name__": "__main__"}
    try:
        for block in blocks(Path(path).read_text(encoding="utf-8")):
            run(block, path, known)
    except ModuleNotFoundError as error:
        if error.name not in OPTIONAL:
            raise
        print(error.name)
        return NOT_HERE
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
