#!/usr/bin/env python3
"""asv's site of the suite over some commits, with its own copies of the scripts that asv's pages load from elsewhere.

Runs what has no results yet, publishes, and puts the scripts beside the pages: what is served asks nobody else.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from harness.builds import KEPT, ROOT

SCRIPTS = KEPT.parent / "scripts"
# What asv's pages ask for by the end of the address: the npm package that has it, and the file in there.
WANTED = {
    "jquery-3.3.1.min.js": ("jquery@3.3.1", "dist/jquery.min.js"),
    "jquery.flot.min.js": ("flot@0.8.3", "jquery.flot.js"),
    "jquery.flot.time.min.js": ("flot@0.8.3", "jquery.flot.time.js"),
    "jquery.flot.selection.min.js": ("flot@0.8.3", "jquery.flot.selection.js"),
    "jquery.flot.categories.min.js": ("flot@0.8.3", "jquery.flot.categories.js"),
    "jquery.flot.orderBars.js": ("flot-orderbars@1.0.0", "js/jquery.flot.orderBars.js"),
    "stupidtable.min.js": ("stupid-table-plugin@1.1.3", "stupidtable.min.js"),
    "md5.min.js": ("blueimp-md5@2.19.0", "js/md5.min.js"),
    "bootstrap.min.js": ("bootstrap@3.1.1", "dist/js/bootstrap.min.js"),
    "bootstrap.min.css": ("bootstrap@3.1.1", "dist/css/bootstrap.min.css"),
}
FONT = "dist/fonts/glyphicons-halflings-regular.woff"  # of bootstrap.min.css, at ../fonts
INTEGRITY = {  # sha256 of the packages
    "jquery@3.3.1": "2c7c70a1e796c1568ff05d45a8cb2da2a0fc6e37426c65e4eef6ee55e217933e",
    "flot@0.8.3": "5e4cea78a9efa2d3dbba363ac76c688951e6c638ee916883c36e23516208b1ed",
    "flot-orderbars@1.0.0": "e5523ee7cca778f194b34fc31afb6dda40bf1557e6669fda4730c29f53e87101",
    "blueimp-md5@2.19.0": "0fff5798c7733b21f3e4c0de69ccba12af266e0f01c3e3a41051c0e49a655512",
    "bootstrap@3.1.1": "23b27da4dd80b8fbe8972ac4be87037627e007ad5dd1edb27435844f0a4646a0",
    "stupid-table-plugin@1.1.3": "1186089584b7c2f7fec9ad4232e9aa1adbfea273eaa233b713beb8c2c916b4ac",
}
ELSEWHERE = re.compile(r'<(?:script|link)\b[^>]*?\b(?:src|href)="(https?:)?//[^>]*>')
ADDRESS = re.compile(r'\b(src|href)="((?:https?:)?//[^"]+)"')


class SiteError(Exception):
    """Why there is no site."""


def package(name: str) -> Path:
    """The tarball of an npm package, the very one that is meant."""
    path = SCRIPTS / f"{name.replace('@', '-')}.tgz"
    if not path.exists():
        if shutil.which("npm") is None:
            raise SiteError("the scripts of asv's pages come from npm packages, and there is no npm")
        SCRIPTS.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=SCRIPTS) as folder:
            command = ["npm", "pack", "--silent", "--pack-destination", folder, name]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SiteError(f"{' '.join(command)} failed: {done.stderr.strip()[-500:]}")
            [found] = Path(folder).iterdir()
            found.rename(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != INTEGRITY[name]:
        raise SiteError(f"{path} is not the {name} that is meant: its sha256 is {digest}")
    return path


def member(name: str, file: str) -> bytes:
    """A file of an npm package."""
    with tarfile.open(fileobj=io.BytesIO(package(name).read_bytes())) as tar:
        found = tar.extractfile(f"package/{file}")
        assert found
        return found.read()


def settle(site: Path) -> None:
    """Put what the pages load beside them, and have them load it from there."""
    own = site / "scripts"
    own.mkdir(exist_ok=True)
    for target, (name, file) in WANTED.items():
        (own / target).write_bytes(member(name, file))
    (site / "fonts").mkdir(exist_ok=True)
    (site / "fonts" / Path(FONT).name).write_bytes(member("bootstrap@3.1.1", FONT))
    for page in site.glob("*.html"):
        page.write_text(ELSEWHERE.sub(lambda tag: _local(tag[0]), page.read_text()))
    # pages ask for the summary of every benchmark, asv writes those of benchmarks that ran
    for name in json.loads((site / "index.json").read_text())["benchmarks"]:
        summary = site / "graphs" / "summary" / f"{name}.json"
        if not summary.exists():
            summary.write_text("[]")


def _local(tag: str) -> str:
    """A script's or a style sheet's tag, with our copy for its address."""
    address = ADDRESS.search(tag)
    assert address
    target = address[2].rsplit("/", 1)[-1]
    if target not in WANTED:
        raise SiteError(
            f"asv's pages load {address[2]}, of which there is no copy: WANTED has to name a package that has it"
        )
    tag = re.sub(r'\s(?:integrity|crossorigin|referrerpolicy)="[^"]*"', "", tag)
    return tag.replace(address[0], f'{address[1]}="scripts/{target}"')


def configuration(path: Path) -> dict[str, Any]:
    """asv's configuration: JSON, but for lines of comments."""
    lines = (line for line in path.read_text().splitlines() if not line.strip().startswith("//"))
    found: dict[str, Any] = json.loads("\n".join(lines))
    return found


def asv(*arguments: str) -> None:
    """Run asv, which says what it does."""
    command = [sys.executable, "-m", "asv", *arguments]
    if subprocess.run(command, cwd=ROOT, check=False).returncode:
        raise SiteError(f"{' '.join(command)} failed")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("range", nargs="?", default="HEAD^!", help="commits, as git names them (HEAD^!: the last one)")
    parser.add_argument("--config", type=Path, default=ROOT / "asv.conf.json", help="asv's configuration")
    parser.add_argument("--steps", type=int, help="at most so many commits, evenly spread")
    parser.add_argument("--bench", action="append", default=[], help="a regular expression: some benchmarks only")
    parser.add_argument("--publish-only", action="store_true", help="run nothing")
    arguments = parser.parse_args()
    config = ["--config", str(arguments.config)]
    try:
        if not arguments.publish_only:
            asv("machine", "--yes", *config)
            steps = ["--steps", str(arguments.steps)] if arguments.steps else []
            some = [word for text in arguments.bench for word in ("--bench", text)]
            asv("run", "--skip-existing-successful", *steps, *some, *config, arguments.range)
        asv("publish", *config)
        site = (arguments.config.parent / configuration(arguments.config)["html_dir"]).resolve()
        settle(site)
    except SiteError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"the site is in {site}: serve it with `python -m http.server --directory {site}`")
    return 0


if __name__ == "__main__":
    sys.exit(main())
