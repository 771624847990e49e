"""`asv continuous` on the builds that the gate compares: a small repository whose commits are those builds."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from .builds import KEPT, Build
from .machine import version
from .pairs import SUITE, Benchmark

FOLDER = KEPT.parent / "asv"
FACTOR = "1.05"  # asv's own is 1.1, which a slow-down of 10 % would just miss
PLACE = """\
import pathlib, shutil, sys, sysconfig
target = pathlib.Path(sysconfig.get_path("purelib")) / "cpool"
shutil.rmtree(target, ignore_errors=True)
shutil.copytree(pathlib.Path(sys.argv[1]) / "cpool", target)
"""


class Failed(Exception):
    """What asv or git said."""


def repository(builds: dict[str, Build]) -> Path:
    """A repository with a tag for each build, and asv's configuration; made afresh."""
    shutil.rmtree(FOLDER / "repository", ignore_errors=True)
    folder = FOLDER / "repository"
    folder.mkdir(parents=True)
    _run(["git", "init", "--quiet", "--initial-branch=main"], folder)
    (folder / "place.py").write_text(PLACE)
    for name, build in builds.items():
        shutil.rmtree(folder / "cpool", ignore_errors=True)
        shutil.copytree(build.path / "cpool", folder / "cpool", ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "name").write_text(name)
        _run(["git", "add", "--all", "--force", "."], folder)
        identity = ["-c", "user.name=gate", "-c", "user.email=gate@localhost"]
        _run(["git", *identity, "commit", "--quiet", "--message", name], folder)
        _run(["git", "tag", name], folder)
    packages = {name: [f"=={version(name)}"] for name in ("numpy", "ml_dtypes") if version(name)}
    config = {
        "version": 1,
        "project": "cpool",
        "repo": str(folder),
        "branches": ["main"],
        "environment_type": "virtualenv",
        "pythons": [f"{sys.version_info[0]}.{sys.version_info[1]}"],
        "matrix": {"req": packages},
        "build_command": ["python -c pass"],
        "install_command": ["python {build_dir}/place.py {build_dir}"],
        "uninstall_command": ["python -c pass"],
        "benchmark_dir": str(SUITE),
        "env_dir": str(FOLDER / "env"),
        "results_dir": str(FOLDER / "results"),
        "html_dir": str(FOLDER / "html"),
    }
    path = FOLDER / "asv.conf.json"
    path.write_text(json.dumps(config, indent=1))
    _run([sys.executable, "-m", "asv", "machine", "--yes", "--config", str(path)], folder)
    return path


def continuous(config: Path, base: str, head: str, benchmarks: Sequence[Benchmark]) -> tuple[bool, str]:
    """Whether asv says that something got slower, and all that it said."""
    shutil.rmtree(FOLDER / "results", ignore_errors=True)  # what was measured before decides nothing now
    _run([sys.executable, "-m", "asv", "machine", "--yes", "--config", str(config)], FOLDER)
    names = [re.escape(f"{b.name}({', '.join(map(repr, b.params))})") for b in benchmarks]
    chosen = [word for name in names for word in ("--bench", f"^{name}$")]
    command = [sys.executable, "-m", "asv", "continuous", "--config", str(config), "--factor", FACTOR, "--show-stderr"]
    done = subprocess.run([*command, *chosen, base, head], cwd=FOLDER, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    count = said.count("time_call")
    if done.returncode not in (0, 1) or count < len(benchmarks):
        raise Failed(f"asv continuous ended with {done.returncode}:\n{said[-3000:]}")
    return "PERFORMANCE DECREASED" in said, said


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"{' '.join(command)} failed:\n{(done.stdout + done.stderr).strip()[-2000:]}")
