"""The order of rooms: CONTRIBUTING.md draws the package as a tree, and a file imports only from lines below its own."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import cpool

PACKAGE = Path(cpool.__file__).parent
TREE = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")

# What looks up, each within a function: a device's array asks for its backend, what is lost with a device is forgotten
# by all, and the version is written at the top.
UPWARDS = {
    ("arrays.py", "opencl/"),
    ("opencl/", "dispatch.py"),
    *((room, "__init__.py") for room in ("config.py", "tuning.py", "measured.py")),
}


def floors(text: str) -> dict[str, int]:
    """Each room of the package and the line of the tree that names it."""
    inside = text.partition("src/cpool/ ")[2].partition("\ntests/")[0]
    lines = re.findall(r"^  (\S.*?)  ", inside, re.MULTILINE)
    return {room: line for line, rooms in enumerate(lines) for room in rooms.split(", ")}


def room_of(path: Path) -> str:
    """A file, or the folder that holds it."""
    parts = path.relative_to(PACKAGE).parts
    return f"{parts[0]}/" if len(parts) > 1 else parts[0]


def imported(node: ast.AST, package: list[str]) -> Iterator[list[str]]:
    """The dotted names that code below a node imports, but for types alone."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            child = ast.Module(child.orelse, [])
        if isinstance(child, ast.Import):
            yield from (name.name.split(".") for name in child.names)
        elif isinstance(child, ast.ImportFrom):
            above = package[: len(package) + 1 - child.level] if child.level else []
            module = above + (child.module.split(".") if child.module else [])
            yield from ([*module, name.name] for name in child.names)
        yield from imported(child, package)


def rooms_imported(source: str, package: list[str], rooms: dict[str, int]) -> set[str]:
    """The rooms that a file of `package` imports from."""
    found = set()
    for name in imported(ast.parse(source), package):
        if name[0] == "cpool":
            second = name[1] if len(name) > 1 else ""
            found |= {r for r in (f"{second}.py", f"{second}.pyx", f"{second}/") if r in rooms} or {"__init__.py"}
    return found


def files() -> list[Path]:
    """The package's own; what benchmarks/ lends to a wheel is no room of it."""
    return [path for path in PACKAGE.rglob("*.py") if room_of(path) != "harness/"]


def test_every_room_is_in_the_tree():
    sources = [*files(), *PACKAGE.glob("*.pyx")]
    assert {room_of(path) for path in sources} <= floors(TREE).keys()


def test_files_import_from_below():
    rooms, looks_up = floors(TREE), set()
    for path in files():
        package = ["cpool", *path.relative_to(PACKAGE).parts[:-1]]
        others = rooms_imported(path.read_text(encoding="utf-8"), package, rooms) - {room_of(path)}
        looks_up |= {(room_of(path), room) for room in others if rooms[room] < rooms[room_of(path)]}
    assert looks_up == UPWARDS


def test_what_counts_as_an_import():
    """Else the tests above would find nothing."""
    rooms = floors("src/cpool/ the package\n  a.py      one\n  b/        two\n  c.pyx, d.py  three\ntests/")
    assert rooms == {"a.py": 0, "b/": 1, "c.pyx": 2, "d.py": 2}
    for source, package, found in (
        ("from . import a, c", [], {"a.py", "c.pyx"}),
        ("def f():\n    from .b import x", [], {"b/"}),
        ("from cpool.a import x\nimport cpool.d", [], {"a.py", "d.py"}),
        ("from . import y", ["b"], {"b/"}),
        ("from .. import d", ["b"], {"d.py"}),
        ("import cpool", [], {"__init__.py"}),
        ("from . import __version__", [], {"__init__.py"}),
        ("if TYPE_CHECKING:\n    from . import a\nelse:\n    from . import d\nimport numpy", [], {"d.py"}),
    ):
        assert rooms_imported(source, ["cpool", *package], rooms) == found, source
