"""Builds of cpool to be compared: each in a folder of its own, made once for what it is made of."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .machine import version

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / ".bench" / "builds"
PARTS = ("src", "setup.py", "pyproject.toml", "tools", "benchmarks/harness/plant.c")  # what a wheel is made of
SWITCHES = ("CC", "CFLAGS", "CPPFLAGS", "LDFLAGS", "CPOOL_OPENMP", "CPOOL_SANITIZE", "CPOOL_PLANT")
TREE = "."  # the working tree, whatever is committed


class BuildError(Exception):
    """What could not be built, and what the tools said."""


@dataclass(frozen=True)
class Build:
    """A cpool that can be imported from `path`; `name` is what was asked for."""

    name: str
    path: Path

    @property
    def id(self) -> str:
        """What it was made of, as a short hash."""
        return self.path.name


def build(what: str, plant: int | None = None) -> Build:
    """The build of a revision, of the working tree ("."), of a wheel, made now unless it is there already.

    `plant` has so many percent of the work done twice; see plant.c.
    """
    if (Path(what) / "cpool").is_dir():  # a folder that was made before
        return Build(what, Path(what).resolve())
    if what.endswith(".whl"):
        key = [hashlib.sha256(Path(what).read_bytes()).hexdigest()]
        return Build(Path(what).name, _made(key, lambda folder: Path(what).resolve()))
    tree = working_tree() if what == TREE else _git("rev-parse", "--verify", f"{what}^{{tree}}").strip()
    env = {**os.environ, **({"CPOOL_PLANT": str(plant)} if plant is not None else {})}
    key = [
        _git("ls-tree", tree, *PARTS),
        sys.version,
        str(sysconfig.get_config_var("EXT_SUFFIX")),
        *(f"{package} {version(package)}" for package in ("numpy", "Cython", "setuptools")),
        *(f"{name}={env.get(name, '')}" for name in SWITCHES),
    ]
    name = {None: what, 0: f"{what}, nothing planted"}.get(plant, f"{what}, {plant} % planted")
    return Build("the working tree" if name == TREE else name, _made(key, lambda folder: _wheel(tree, folder, env)))


def working_tree() -> str:
    """The tree object of all files here that git doesn't ignore."""
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, "GIT_INDEX_FILE": str(Path(folder) / "index")}
        _git("read-tree", "HEAD", env=env)
        _git("add", "--all", ".", env=env)
        return _git("write-tree", env=env).strip()


def _made(key: list[str], wheel: Callable[[Path], Path]) -> Path:
    """The folder that belongs to the key; all of them have names of one length, which is part of every process."""
    path = KEPT / hashlib.sha256("\n".join(key).encode()).hexdigest()[:16]
    if path.exists():
        return path
    KEPT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=KEPT, prefix="new-") as folder:
        target = Path(folder) / "site"
        _run([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(target),
              str(wheel(Path(folder)))])  # fmt: skip
        target.rename(path)
    return path


def _wheel(tree: str, folder: Path, env: dict[str, str]) -> Path:
    """Build a wheel out of a tree of the repository, in this environment, without the network."""
    source = folder / "source"
    archive = _run(["git", "-C", str(ROOT), "archive", "--format=tar", tree])
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(source)
    _run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir",
          str(folder), str(source)], env=env)  # fmt: skip
    [wheel] = folder.glob("*.whl")
    return wheel


def _git(*arguments: str, env: dict[str, str] | None = None) -> str:
    return _run(["git", "-C", str(ROOT), *arguments], env=env).decode()


def _run(command: list[str], env: dict[str, str] | None = None) -> bytes:
    done = subprocess.run(command, capture_output=True, env=env, check=False)
    if done.returncode:
        raise BuildError(f"{' '.join(command)} failed:\n{done.stderr.decode(errors='replace').strip()[-3000:]}")
    return done.stdout
