"""The site of the suite, served to a browser: it shows what it should, and asks nobody else."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import conftest
import pytest

PROJECT = Path(__file__).parent.parent
BENCHMARKS = PROJECT / "benchmarks"
if not BENCHMARKS.is_dir():
    pytest.skip("the tests are run without the source tree", allow_module_level=True)
sys.path.insert(0, str(BENCHMARKS))

import bench_site  # noqa: E402

SHOT = os.environ.get("CPOOL_SITE_SHOT")  # where a picture is wanted
SOME = "averages.SmallPlanes.time_call"


def git(at: Path, *words: str) -> str:
    command = ["git", "-C", str(at), "-c", "user.name=t", "-c", "user.email=t@localhost", *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site of two commits of a repository made for this, where the suite ran with what is installed here."""
    for name, there in (("asv", find_spec("asv")), ("npm", shutil.which("npm"))):
        if not there:
            conftest.missing(name, f"there is no {name}")
    at = tmp_path_factory.mktemp("site")
    repository = at / "repository"
    repository.mkdir()
    git(repository, "init", "--quiet", "--initial-branch=main")
    for n in range(3):
        git(repository, "commit", "--quiet", "--allow-empty", "--message", f"commit {n}")
    config = json.loads("\n".join(x for x in (PROJECT / "asv.conf.json").read_text().splitlines() if "//" not in x))
    config |= {"repo": str(repository), "branches": ["main"], "benchmark_dir": str(BENCHMARKS / "suite")}
    config |= {f"{kind}_dir": str(at / kind) for kind in ("env", "results", "html")}
    (at / "asv.conf.json").write_text(json.dumps(config))
    env = {**os.environ, "ASV_PYTHONPATH": os.pathsep.join(sys.path), "HOME": str(at), "CPOOL_BENCH_SMOKE": "1"}
    run = functools.partial(subprocess.run, cwd=at, env=env, check=True, capture_output=True)
    run([sys.executable, "-m", "asv", "machine", "--yes"])
    for commit in git(repository, "rev-list", "main").split():
        words = [
            "--quick",
            "--bench",
            f"^{SOME}",
            "--set-commit-hash",
            commit,
            f"--environment=existing:{sys.executable}",
        ]
        run([sys.executable, "-m", "asv", "run", *words])
    config_at = ["--config", str(at / "asv.conf.json")]
    run([sys.executable, str(BENCHMARKS / "bench_site.py"), "--publish-only", *config_at])
    return at / "html"


@pytest.fixture
def address(site: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    """Chromium without a window, which writes down what it asks for."""
    for name, there in (("selenium", find_spec("selenium")), ("chromium", shutil.which("chromedriver"))):
        if not there:
            conftest.missing(name, f"there is no {name}")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    for word in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--window-size=1280,900",
    ):
        options.add_argument(word)
    options.add_argument(f"--user-data-dir={tmp_path / 'profile'}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    yield driver
    driver.quit()


def wait_for(browser: Any, script: str) -> Any:
    """What a piece of JavaScript gives, once it gives something."""
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, 30).until(lambda b: b.execute_script(f"return {script}"))


def texts(selector: str) -> str:
    """The JavaScript that gives the texts of what a selector finds."""
    return f"$('{selector}').map((i, e) => e.innerText).get().join('|')"


def requests(browser: Any) -> list[str]:
    """The addresses that were asked for."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]


def test_the_site_shows_the_suite_and_asks_nobody_else(address: str, browser: Any) -> None:
    browser.get(address)
    names = wait_for(
        browser, "$('#summarygrid-display .benchmark-container').map((i, e) => e.innerText).get().join('|')"
    )
    assert "SmallPlanes.time_call" in names.split("|")

    browser.get(f"{address}#{SOME}")
    browser.refresh()
    wait_for(browser, "$('#main-graph canvas.flot-base').length")
    labels = wait_for(browser, texts("#main-graph .legendLabel")).split("|")
    assert len(labels) == 2
    assert sum("non-divisible" in label for label in labels) == 1
    assert all("divisible" in label for label in labels)
    drawn = wait_for(
        browser, "$('#main-graph').data('plot').getData().map(s => s.data.filter(p => p && p[1] > 0).length)"
    )
    assert drawn == [3, 3]
    if SHOT:
        browser.save_screenshot(SHOT)

    browser.get(f"{address}#/summarylist")
    wait_for(browser, "$('#summarylist-body table tbody tr').length")

    asked = requests(browser)
    assert any("scripts/jquery-3.3.1.min.js" in url for url in asked)
    # the browser's own pages are no requests
    assert [url for url in asked if not url.startswith((address, "data:", "chrome:", "chrome-untrusted:"))] == []
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_a_script_without_a_copy_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(bench_site.SiteError, match=r"load https://elsewhere\.test/new\.js"):
        bench_site._local('<script src="https://elsewhere.test/new.js"></script>')
    tag = (
        '<script src="https://elsewhere.test/a/md5.min.js" integrity="sha512-x" crossorigin="anonymous" onerror="f()">'
    )
    assert bench_site._local(tag) == '<script src="scripts/md5.min.js" onerror="f()">'


def test_a_package_that_was_changed_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_site, "SCRIPTS", tmp_path)
    (tmp_path / "flot-0.8.3.tgz").write_bytes(b"something else")
    with pytest.raises(bench_site.SiteError, match=r"is not the flot@0\.8\.3 that is meant"):
        bench_site.package("flot@0.8.3")
