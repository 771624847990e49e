"""The site builds without a warning, and a browser shows each page of it without a complaint."""

from __future__ import annotations

import functools
import http.server
import importlib.util
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import pytest
from conftest import missing

DOCS = Path(__file__).parents[1] / "docs"
NEEDED = ("sphinx", "furo", "myst_parser", "sphinx_copybutton")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WIDTHS = {"wide": 1280, "narrow": 360}


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the site, built as `make docs` does."""
    if not DOCS.is_dir():
        missing("docs", "the documentation does not lie beside the tests")
    for name in NEEDED:
        if importlib.util.find_spec(name) is None:
            missing("sphinx", f"{name} is not installed")
    folder = tmp_path_factory.mktemp("site") / "html"
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-W", "--keep-going", "-n", "-q", str(DOCS), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert not done.stderr.strip(), done.stderr
    return folder


def pages_of(site: Path) -> list[str]:
    """The pages of the site, as addresses within it."""
    return sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html"))


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture(scope="session")
def address(site: Path) -> Iterator[str]:
    """Where the site is served: a browser treats files otherwise."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Headless Chromium: the one of CPOOL_TEST_BROWSER, or of the system."""
    if importlib.util.find_spec("playwright") is None:
        missing("chromium", "playwright is not installed")
    from playwright.sync_api import sync_playwright

    path = os.environ.get("CPOOL_TEST_BROWSER") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        missing("chromium", f"none of {', '.join(BROWSERS)} is installed")
    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        chromium.close()


class Visit:
    """A page of the site in the browser, and what went wrong on it."""

    def __init__(self, browser: Any, address: str, scheme: str, width: str) -> None:
        self.address = address
        self.wrong: list[str] = []
        self.page = browser.new_page(color_scheme=scheme, viewport={"width": WIDTHS[width], "height": 900})
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        self.page.on("requestfailed", lambda request: self.wrong.append(f"failed: {request.url}"))
        self.page.on("response", self._response)
        self.page.route("**/*", self._route)

    def _console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.wrong.append(f"console: {message.text}")

    def _response(self, response: Any) -> None:
        if response.status >= 400:
            self.wrong.append(f"{response.status}: {response.url}")

    def _route(self, route: Any) -> None:
        """Nothing from outside."""
        url = route.request.url
        if url.startswith((self.address, "data:")):
            route.continue_()
        else:
            self.wrong.append(f"outside: {url}")
            route.abort()

    def go(self, page: str) -> None:
        """Load a page and everything on it."""
        self.wrong.clear()
        self.page.goto(urljoin(self.address, page), wait_until="load")


@pytest.fixture(params=[("light", "wide"), ("dark", "narrow")], ids="-".join)
def visit(request: pytest.FixtureRequest, browser: Any, address: str) -> Iterator[Visit]:
    made = Visit(browser, address, *request.param)
    yield made
    made.page.close()


def test_each_page_in_a_browser(visit, site):
    seen = pages_of(site)
    assert {"index.html", "windows.html", "api/functions.html", "search.html"} <= set(seen)
    complaints = []
    for page in seen:
        visit.go(page)
        broken = visit.page.eval_on_selector_all(
            "img", "images => images.filter(i => !i.complete || !i.naturalWidth).map(i => i.src)"
        )
        # what is wider scrolls by itself: code, tables, pictures
        overflow = visit.page.eval_on_selector_all(
            "article section > *, article dd > *",
            "all => Math.max(...all.map(e => Math.round(e.getBoundingClientRect().right) - innerWidth))",
        )
        complaints += [f"{page}: {what}" for what in visit.wrong]
        complaints += [f"{page}: broken image {source}" for source in broken]
        if overflow is not None and overflow > 0:
            complaints.append(f"{page}: {overflow} pixels wider than the window")
    assert not complaints, "\n".join(complaints)


def test_every_link_leads_somewhere(browser, address, site):
    visit = Visit(browser, address, "light", "wide")
    targets: dict[str, set[str]] = {}
    links: dict[str, list[str]] = {}
    for page in pages_of(site):
        visit.go(page)
        targets[page] = set(visit.page.eval_on_selector_all("[id]", "all => all.map(e => e.id)"))
        links[page] = visit.page.eval_on_selector_all("a[href]", "all => all.map(a => a.href)")
    visit.page.close()
    assert sum(map(len, links.values())) > 500
    wrong = []
    for page, found in links.items():
        for link in found:
            if not link.startswith(address):
                if urlsplit(link).scheme != "https":
                    wrong.append(f"{page}: {link}")
                continue
            plain, fragment = urldefrag(link)
            path = unquote(urlsplit(plain).path).lstrip("/")
            if path.endswith("/") or not path:
                path += "index.html"
            if not (site / path).is_file():
                wrong.append(f"{page}: {link}: no such file")
            elif fragment and path in targets and unquote(fragment) not in targets[path]:
                wrong.append(f"{page}: {link}: no such place")
    assert not wrong, "\n".join(wrong)


def test_pictures_are_drawn_and_follow_the_theme(browser, address):
    colours = {}
    for scheme in ("light", "dark"):
        visit = Visit(browser, address, scheme, "wide")
        visit.go("windows.html")
        bars = visit.page.locator(".picture svg rect.window")
        assert bars.count() > 40
        colours[scheme] = visit.page.evaluate("getComputedStyle(document.querySelector('svg rect.window')).fill")
        said = visit.page.eval_on_selector_all(".picture .drawing", "all => all.map(d => d.ariaLabel)")
        assert len(said) >= 7
        assert all(said)
        drawn = visit.page.locator(".picture .drawing").first.locator("title").all_text_contents()
        assert drawn == [f"window {i}: elements {i * 10 // 7} to {-(-(i + 1) * 10 // 7) - 1}" for i in range(7)]
        visit.page.close()
    assert colours["light"] != colours["dark"]


def test_speeds_are_those_of_the_table(browser, address):
    rows = [line.split("|")[1:-1] for line in (DOCS / "performance.md").read_text(encoding="utf-8").splitlines()]
    wanted = [cells[3].strip() for cells in rows if len(cells) == 5 and cells[1].strip() in ("first", "last")]
    visit = Visit(browser, address, "light", "wide")
    visit.go("speed.html")
    assert wanted
    assert visit.page.locator(".picture .drawing").first.locator("text.value").all_text_contents() == wanted
    visit.page.close()


def test_the_search_finds(browser, address):
    visit = Visit(browser, address, "light", "wide")
    visit.go("search.html?q=ragged")
    visit.page.wait_for_selector("#search-results li a")
    assert any("windows.html" in link.get_attribute("href") for link in visit.page.locator("#search-results a").all())
    assert not visit.wrong
    visit.page.close()
