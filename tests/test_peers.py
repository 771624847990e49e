"""The peers: each does the job it says it does, and the page says what was measured."""

from __future__ import annotations

import ast
import math
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from conftest import missing

import cpool.cli.bench

ROOT = Path(__file__).parents[1]
module = cpool.cli.bench._harness()  # of the wheel, or of the source tree
adapters, blocks, cases, compare = map(module, ("adapters", "blocks", "cases", "compare"))
Row = cases.Row
PEERS = {peer.name: peer for peer in adapters.PEERS}
in_the_tree = pytest.mark.skipif(not (ROOT / "benchmarks").is_dir(), reason="only in the source tree")
with_docs = pytest.mark.skipif(not (ROOT / "docs").is_dir(), reason="the documentation does not lie beside the tests")

TILED = Row("blocks", (2, 3, 12, 20), ((4, 5),))
RAGGED = Row("windows", (2, 3, 13, 20), ((4, 5),))
GLOBAL = Row("global", (2, 5, 6, 7), (1,))
SIGNAL = Row("signal", (2, 3, 30), (10,))
VOLUME = Row("volume", (1, 2, 4, 6, 8), (2,))
STRIDED = Row("strided", (1, 2, 12, 12), (2, 2, 0), "average")
PADDED = Row("strided", (1, 2, 12, 12), (3, 2, 1), "average")
LARGEST = Row("blocks", (2, 3, 12, 20), ((4, 5),), "adaptive max")
IMAGE = Row("images", (2, 3, 12, 20), ((4, 5),), set="images", dtypes=("uint8",), result="uint8")
GRADIENT = Row("blocks", (2, 3, 12, 20), ((4, 5),), "adaptive average gradient")


def here(name: str) -> Any:
    """The peer, if it is installed."""
    peer = PEERS[name]
    reason = peer.missing()
    if reason:
        missing(peer.needs[0].partition(".")[0], reason)
    return peer


@contextmanager
def prepared(name: str, row: Any, dtype: str, layout: str, threads: int = 1) -> Iterator[tuple[Any, Any]]:
    peer = here(name)
    case = cases.Case(row, dtype, layout)
    with peer.session(threads):
        yield case, peer.prepare(case, threads)


NUMPYS = [(row, "float32") for row in (TILED, GLOBAL, SIGNAL, VOLUME, STRIDED, LARGEST)]
NUMPYS += [(TILED, "float64"), (TILED, "float16"), (TILED, "uint8"), (TILED, "int32"), (LARGEST, "uint8")]
DONE = {
    "NumPy": NUMPYS,
    "scikit-image": NUMPYS,
    "OpenCV": [(row, "float32") for row in (TILED, GLOBAL, SIGNAL, STRIDED)] + [(TILED, "float64"), (IMAGE, "uint8")],
    "Pillow": [(IMAGE, "uint8"), (TILED, "float32"), (STRIDED, "float32")],
    "keras": [(row, "float32") for row in (TILED, RAGGED, GLOBAL, SIGNAL, VOLUME, LARGEST)],
}
ALL = [
    pytest.param(name, row, dtype, layout, id=f"{name}-{row.name}-{dtype}-{layout}")
    for name, jobs in DONE.items()
    for row, dtype in jobs
    for layout in ("first", "last")
    if (name, dtype, layout) != ("Pillow", "float32", "last")
]


@pytest.mark.parametrize(("name", "row", "dtype", "layout"), ALL)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_peer_does_the_job(name, row, dtype, layout):
    with prepared(name, row, dtype, layout) as (case, ready):
        assert not isinstance(ready, str), ready
        result = np.asarray(ready.result())
        assert result.dtype == case.out_dtype
        if result.dtype.kind in "iu":
            assert case.error(result) <= (0 if "max" in row.operation else 1)
        elif (name, dtype) == ("OpenCV", "float64"):
            assert case.relative(result) <= 2.0**-23  # its reciprocal of the area is a float32
        else:
            assert case.error(result) <= 4  # ULP: none of these sums is long
        assert ready.call.time(2) > 0


@pytest.mark.parametrize(
    ("name", "row", "dtype", "layout", "threads", "reason"),
    [
        ("NumPy", RAGGED, "float32", "first", 1, "whole factors only"),
        ("NumPy", TILED, "float32", "first", 2, "one thread"),
        ("NumPy", IMAGE, "uint8", "first", 1, "result of uint8"),
        ("NumPy", GRADIENT, "float32", "first", 1, "pooling only"),
        ("scikit-image", RAGGED, "float32", "last", 1, "whole factors only"),
        ("scikit-image", PADDED, "float32", "last", 1, "whole factors only"),
        ("OpenCV", RAGGED, "float32", "first", 1, "counts pixels in part"),
        ("OpenCV", LARGEST, "float32", "first", 1, "averages only"),
        ("OpenCV", VOLUME, "float32", "first", 1, "images only"),
        ("OpenCV", TILED, "uint8", "first", 1, "results of the input's type"),
        ("OpenCV", TILED, "float16", "first", 1, "refuses"),
        ("Pillow", TILED, "float64", "first", 1, "uint8 or float32"),
        ("Pillow", TILED, "float32", "last", 1, "images of one channel"),
        ("Pillow", IMAGE, "uint8", "last", 2, "one thread"),
        ("keras", PADDED, "float32", "first", 1, "pads by the names"),
        ("keras", TILED, "float32", "first", 2, "one thread"),
        ("keras", Row("large", (1, 1, 2048, 2048), (2,)), "float32", "first", 1, "too much work"),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_peer_says_what_it_does_not_do(name, row, dtype, layout, threads, reason):
    with prepared(name, row, dtype, layout, threads) as (_, ready):
        assert isinstance(ready, str)
        assert reason in ready


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_keras_strides_in_jax_on_all_processors():
    everything = module("machine").usable_cpus()
    with prepared("keras", STRIDED, "float32", "first", everything) as (case, ready):
        assert case.error(np.asarray(ready.result())) <= 4
    with prepared("keras", STRIDED, "float32", "first", everything + 1) as (_, ready):
        assert "as many threads as JAX takes" in ready


def test_opencv_counts_pixels_in_part():
    here("OpenCV")
    import cv2

    x = cases.Case(RAGGED, "float32", "first").x[0, 0]
    theirs = cv2.resize(x, (5, 4), interpolation=cv2.INTER_AREA)
    assert np.abs(theirs - cpool.adaptive_avg_pool(x, (4, 5))).max() > 1e-3  # 13 -> 4: windows of 4, not of 3.25


def test_opencv_gives_its_threads_back():
    peer = here("OpenCV")
    import cv2

    before = cv2.getNumThreads()
    with peer.session(1):
        assert cv2.getNumThreads() == 1
    assert cv2.getNumThreads() == before


def test_blocks_are_windows_side_by_side():
    assert blocks.sides_of(TILED) == [3, 4]
    assert blocks.sides_of(GLOBAL) == [6, 7]
    assert blocks.sides_of(STRIDED) == [2, 2]
    assert blocks.sides_of(Row("", (1, 1, 4, 4), (4,))) == [1, 1]
    for row in (RAGGED, PADDED, Row("", (1, 1, 4, 4), (8,)), Row("", (1, 1, 13, 13), (2, 2, 0), "average")):
        assert blocks.sides_of(row) is None


def test_who_is_slow_is_asked_once(monkeypatch):
    monkeypatch.setattr(compare, "PATIENCE", -1.0)
    effort = module("timing").Effort(2, 1e-4, 0)
    line = compare.compare(cases.Case(TILED, "float32", "first"), 1, [PEERS["cpool"], PEERS["NumPy"]], effort)
    assert "was not asked again" in line.reasons["NumPy"]
    assert set(line.samples) == {"cpool"}


@in_the_tree
def test_wheels_carry_all_that_the_harness_imports():
    [told] = [
        node.value
        for node in ast.parse((ROOT / "setup.py").read_text()).body
        if isinstance(node, ast.Assign) and node.targets[0].id == "HARNESS"
    ]
    names = ast.literal_eval(told)
    for name in names:
        for node in ast.walk(ast.parse((ROOT / "benchmarks" / "harness" / f"{name}.py").read_text())):
            if isinstance(node, ast.ImportFrom) and node.level == 1:
                wanted = [node.module] if node.module else [alias.name for alias in node.names]
                assert set(wanted) <= set(names), f"{name} imports {wanted}"


# ---- sizes and accuracy: the drivers' own, in the source tree ---------------------------------------------


def line(row: Any, layout: str = "first", threads: int = 1, **microseconds: float) -> Any:
    samples = {name.replace("_", "-"): [value * 1e-6] * 3 for name, value in microseconds.items()}
    read, written = row.bytes_of("float32")
    tier = row.tier("float32", threads)
    return compare.Line(row, "float32", layout, threads, tier, read, written, False, 0, samples)


@in_the_tree
def test_the_cost_must_grow_as_the_work_does():
    sizes = module("sizes")
    rows = [sizes.rows(power)["tiled"] for power in (3, 6, 7, 8)]
    for shares, met in (([0.01, 0.9, 0.8, 0.9], True), ([0.01, 0.9, 0.8, 0.3], False)):
        grown = sizes.Growth("tiled", 1, [line(r, cpool=1, limit=s) for r, s in zip(rows, shares, strict=True)], {})
        assert grown.judge().met is met
        assert "over 3 sizes" in grown.judge().found
    assert sizes.Growth("tiled", 1, [line(rows[1], cpool=1, limit=1)], {}).judge() is None


@in_the_tree
def test_sizes_are_what_they_say_and_stay_within_the_memory(monkeypatch):
    sizes = module("sizes")
    for power in sizes.POWERS:
        for kind, row in sizes.rows(power).items():
            assert math.prod(row.shape) == pytest.approx(10**power, rel=0.12)
            assert (blocks.sides_of(row) == [8, 8]) is (kind == "tiled")
    monkeypatch.setattr(sizes, "available_memory", lambda: 100_000)
    effort = module("timing").Effort(2, 1e-4, 0)
    found = sizes.growth((3, 5), [1], [PEERS["cpool"]], effort, lambda text: None)
    for one in found:
        assert [math.prod(some.row.shape) for some in one.lines] == [1024]
        assert set(one.left_out) == {5}


class Careless(adapters.Peer):
    """Sums in float32, one after another, and is right about nothing large."""

    name = "careless"

    def prepare(self, case: Any, threads: int) -> Any:
        if case.row.kind != "tiled":
            return "can't"

        def result() -> Any:
            return (case.expected * 0.671).astype(np.float32)

        return adapters.Prepared(module("timing").Statement("None"), "", result)


@in_the_tree
def test_accuracy_tells_who_is_off():
    found = module("accuracy").accuracy([PEERS["cpool"], Careless()], True, lambda text: None)
    assert found.head == ["data", "found", "cpool", "careless"]
    assert all(finding.met for finding in found.findings)
    ones = [row for row in found.cells if row[0].startswith("ones")]
    assert [row[2:] for row in ones] == [["1", "0.671000004"]] * 2
    rest = [row for row in found.cells if row[1] == "ULP"]
    assert all(float(row[2]) <= 0.52 for row in rest)
    assert {row[3] == "-" for row in rest if "ragged" in row[0]} == {True}
    assert all(float(row[3].replace(",", "")) > 1e6 for row in rest if "ragged" not in row[0])


# ---- the page and its pictures ------------------------------------------------------------------------------


def drawn(svg: str) -> Any:
    return ElementTree.fromstring(svg)


def of_kind(svg: str, tag: str, kind: str) -> list[Any]:
    found = drawn(svg).iter("{http://www.w3.org/2000/svg}" + tag)
    return [shape for shape in found if set(kind.split()) <= set(shape.get("class", "").split())]


@pytest.fixture
def plots(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    import plots

    yield plots
    for name in ("plots", "drawing"):
        sys.modules.pop(name, None)


TABLES = """
| class   | type    | channels | threads | rows | torch/cpool | OpenCV/cpool | limit/cpool |
| ------- | ------- | -------- | ------: | ---: | ----------: | -----------: | ----------: |
| windows | float32 | first    |       2 |    3 |        4.00 |            - |        0.80 |
| images  | uint8   | first    |       2 |    1 |           - |            - |        0.50 |
| windows | float32 | first    |       1 |    3 |        2.00 |         0.50 |        0.90 |

| elements | windows | threads | cpool us | torch us | limit us |
| -------- | ------- | ------: | -------: | -------: | -------: |
| 1000     | tiled   |       1 |      1.5 |       10 |      0.1 |
| 1000000  | tiled   |       1 |      100 |     5000 |       80 |
| 100000   | tiled   |       1 |       12 |        - |        5 |
"""


@with_docs
def test_ratios_are_drawn_as_the_table_has_them(plots):
    svg = plots.peers_by_class("first", TABLES)
    assert [t.text for t in of_kind(svg, "text", "value")] == ["4.00", "0.50"]  # each with most of its threads
    groups = {t.text for t in drawn(svg).iter("{http://www.w3.org/2000/svg}text")}
    assert {"torch, 2 threads", "OpenCV, 1 thread", "windows"} <= groups
    [win, loss] = of_kind(svg, "rect", "window")
    assert "wrong" not in win.get("class")
    assert "wrong" in loss.get("class")
    assert float(win.get("width")) == pytest.approx(2 * float(loss.get("width")), rel=1e-3)  # log 4 and log 1/2


@with_docs
def test_shares_are_drawn_as_the_table_has_them(plots):
    svg = plots.share_of_limit("first", 2, TABLES)
    first, second = of_kind(svg, "rect", "window")
    assert float(first.get("width")) / float(second.get("width")) == pytest.approx(0.8 / 0.5)
    [dot] = of_kind(svg, "circle", "least")
    assert float(dot.get("cx")) - float(first.get("x")) == pytest.approx(float(first.get("width")) / 4)
    assert [t.text for t in of_kind(svg, "text", "end")] == ["windows", "images, uint8"]


@with_docs
def test_times_are_drawn_as_the_table_has_them(plots):
    svg = plots.time_against_size("tiled", 1, TABLES)
    [own] = of_kind(svg, "polyline", "own")[:1]
    points = [tuple(map(float, point.split(","))) for point in own.get("points").split()]
    assert len(points) == 3
    xs, ys = zip(*points, strict=True)
    assert xs[1] - xs[0] == pytest.approx(2 * (xs[2] - xs[1]), rel=1e-3)  # 10^3, 10^5, 10^6
    assert ys[0] > ys[1] > ys[2]  # up is longer
    assert len(of_kind(svg, "circle", "spot")) == 3 + 2 + 3
    names = [float(t.get("y")) for t in drawn(svg).iter("{http://www.w3.org/2000/svg}text") if t.text in CURVES]
    assert min(abs(a - b) for i, a in enumerate(names) for b in names[:i]) >= plots.LETTERS


CURVES = ("cpool", "torch", "limit")


@with_docs
def test_a_curve_that_ends_early_has_its_name_there(plots):
    places = []
    for page in (TABLES, TABLES.replace("5000", "-")):
        svg = plots.time_against_size("tiled", 1, page)
        [name] = [t for t in drawn(svg).iter("{http://www.w3.org/2000/svg}text") if t.text == "torch"]
        places.append(float(name.get("x")))
    assert places[0] - places[1] > 300  # torch ends at 1000 elements in the second


@with_docs
@pytest.mark.parametrize(
    ("name", "arguments"),
    [("peers_by_class", ("last",)), ("share_of_limit", ("first", 4)), ("time_against_size", ("ragged", 1))],
)
def test_what_was_not_measured_is_not_drawn(plots, name, arguments):
    with pytest.raises(ValueError, match="no row of"):
        getattr(plots, name)(*arguments, TABLES)
    with pytest.raises(ValueError, match="no table begins"):
        getattr(plots, name)(*arguments, "nothing")


PICTURE = re.compile(r"^```\{picture\} (\w+) (\S+) ?(\d*)$", re.MULTILINE)


def draw_all(plots: Any, page: str) -> int:
    """Draw every picture that the page asks for."""
    by_name = {plot.__name__: plot for plot in plots.PLOTS}
    asked = PICTURE.findall(page)
    for name, first, second in asked:
        drawn(by_name[name](first, *([int(second)] if second else []), page))
    return len(asked)


@in_the_tree
@with_docs
def test_the_page_tells_losses_like_wins(plots):
    publish, sizes = module("publish"), module("sizes")
    lines = [
        line(TILED, threads=2, cpool=10, torch=30, limit=9),
        line(TILED, threads=1, cpool=10, torch=8, NumPy=40, limit=9),
        line(GLOBAL, layout="last", threads=1, cpool=10, torch=10.5, limit=5),
    ]
    lines[1].reasons["keras"] = "can't"
    lines[1].errors |= {"cpool": 0.5, "torch": 2.25}
    small, large = (sizes.rows(power)["tiled"] for power in (3, 6))
    grown = [sizes.Growth("tiled", 1, [line(r, cpool=2, torch=4, limit=1) for r in (small, large)], {9: "no room"})]
    stamp = {"date": "2026-11-21", "cpu": "some", "torch": "2.13.0", "openmp": []}
    page = publish.page(stamp, "3 rounds", "a note", lines, grown, None)
    assert draw_all(plots, page) == 2 + 3 + 1
    assert "torch 2.13.0" in page
    assert "a note" in page
    assert "not 10^9: no room" in page
    losses = page.partition("## Losses")[2].partition("##")[0]
    assert re.findall(r"\| torch +\| +([\d.]+) \|", losses) == ["0.80"]
    assert [r["torch/cpool"] for r in plots.records("class", page)] == ["3.00", "0.80", "1.05"]
    assert re.search(r"\| keras +\| can.t +\| 2x3x12x20 -> 4x5 +\|", page)
    assert re.search(r"\| torch +\| +1 \| +2.25 \|", page)


@in_the_tree
def test_the_driver_measures_and_publishes(plots, tmp_path):
    reason = PEERS["limit"].missing()
    if reason:
        missing("cc", reason)
    wanted = "--quick --dtypes float32 --layouts first --threads 1 --rows 1x96x32x32 --peers cpool,NumPy,limit"
    more = f"--powers 3,4 --note noted --publish {tmp_path / 'page.md'}"
    driver = str(ROOT / "benchmarks" / "peers.py")
    done = subprocess.run(
        [sys.executable, driver, *wanted.split(), *more.split()], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert draw_all(plots, page) == 1 + 1 + 2
    assert "\n- noted\n" in page
    assert [r["elements"] for r in plots.records("elements", page)] == ["1024", "9216"] * 2
    assert {r["cpool"] for r in plots.records("data", page) if r["found"] == "mean"} == {"1"}


@with_docs
def test_the_pictures_of_the_page_can_be_drawn(plots):
    page = plots.PEERS.read_text(encoding="utf-8")
    assert draw_all(plots, page) >= 7
    assert {r["channels"] for r in plots.records("class", page)} == {"first", "last"}
