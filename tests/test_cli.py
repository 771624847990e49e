"""The command line, as a program: what it prints and where, how it ends, and what it leaves behind."""

from __future__ import annotations

import functools
import io
import itertools
import json
import os
import re
import resource
import select
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import time
import warnings
import xml.etree.ElementTree as ElementTree
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from helpers import assert_same_bits, run_python
from numpy.lib import format as npy

import cpool
from cpool import cli
from cpool.cli import rules

COMMAND = (sys.executable, "-m", "cpool")
NAMES = ("info", "explain", "pool", "bench", "tune")


def program(*args: object, **options: object) -> subprocess.CompletedProcess[str]:
    """A run of the program."""
    options = {"capture_output": True, "text": True, "timeout": 120, **options}
    return subprocess.run([*COMMAND, *map(str, args)], check=False, **options)


def succeeds(*args: object, **options: object) -> str:
    """What it prints."""
    done = program(*args, **options)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def fails(*args: object, status: int = 1, **options: object) -> str:
    """The one line in which it says why."""
    done = program(*args, **options)
    assert (done.returncode, done.stdout) == (status, "")
    [line] = done.stderr.splitlines()
    assert ": error: " in line
    return line


def inside(capsys: pytest.CaptureFixture[str], *args: object) -> tuple[int, str, str]:
    """The same without a process of its own: for what is tried often."""
    status = cli.main([str(a) for a in args])
    said = capsys.readouterr()
    return status, said.out, said.err


def sparse(path: Path, shape: tuple[int, ...], dtype: str = "<f4") -> Path:
    """A .npy file of zeros that takes no room on the disk."""
    with path.open("wb") as file:
        npy.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
        file.truncate(file.tell() + int(np.prod(shape)) * np.dtype(dtype).itemsize)
    return path


@pytest.fixture
def image_of(module):
    """Pillow's Image."""
    return module("PIL.Image")


def pixels_of(image_of, path: Path) -> np.ndarray:
    with image_of.open(path) as image:
        return np.asarray(image)


# ---- help and the ends of it -------------------------------------------------------------------------


def test_help_says_what_there_is():
    text = succeeds("--help")
    assert all(name in text for name in NAMES)
    assert all(f"{status} " in text.partition("exit status:")[2] for status in (0, 1, 2, 130, 141, 143))
    assert succeeds("--version") == f"cpool {cpool.__version__}\n"


@pytest.mark.parametrize("name", ["", *NAMES])
def test_the_examples_of_the_help_are_right(name):
    text = succeeds(*name.split(), "--help")
    examples = re.findall(r"^  (cpool .+?)(?:   .*| \| .*)?$", text, re.MULTILINE)
    assert examples
    for example in examples:
        cli.parser().parse_args(shlex.split(example)[1:])


@pytest.mark.parametrize(
    "wrong", ["", "nothing", "info --no", "explain", "explain 10x9 7y7", "pool a.npy b.npy --op x"]
)
def test_a_wrong_command_line_is_told_apart(wrong):
    done = program(*wrong.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert "usage: cpool" in done.stderr
    assert "Traceback" not in done.stderr


def test_importing_cpool_does_not_import_the_command_line():
    run_python(
        "import sys, cpool\n"
        "found = [m for m in ('cpool.cli', 'cpool.harness', 'argparse') if m in sys.modules]\n"
        "assert not found, found"
    )


def test_nobody_reads_to_the_end(tmp_path):
    pipe = subprocess.Popen([*COMMAND, "explain", "9000", "7000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    pipe.stdout.close()
    assert pipe.stderr.read() == b""
    assert pipe.wait(60) == 141
    pipe.stderr.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_standard_output_may_be_full():
    with open("/dev/full", "w") as full:
        done = program("info", capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1
    assert done.stderr == "cpool info: error: standard output: No space left on device\n"


# ---- on a terminal -----------------------------------------------------------------------------------


def on_terminal(*args: object, stream: str = "stdout", **environment: str) -> tuple[str, str]:
    """What it prints when standard output, or standard error, is a terminal; and what it prints elsewhere."""
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    other = {"stdout": "stderr", "stderr": "stdout"}[stream]
    env = {**os.environ, "TERM": "xterm", **environment}
    env = {k: v for k, v in env.items() if k != "NO_COLOR" or k in environment}
    with subprocess.Popen([*COMMAND, *map(str, args)], env=env, **{stream: theirs, other: subprocess.PIPE}) as process:
        os.close(theirs)
        found = b""
        while select.select([ours], [], [], 60)[0]:
            try:
                some = os.read(ours, 65536)
            except OSError:  # EIO: nobody holds the other end any more
                break
            if not some:
                break
            found += some
        elsewhere = getattr(process, other).read().decode()
    os.close(ours)
    assert process.returncode == 0
    return found.decode(), elsewhere


def test_colours_only_on_a_terminal():
    assert "\033[" in on_terminal("explain", "10x9", "7x7")[0]
    assert "\033[" not in on_terminal("explain", "10x9", "7x7", NO_COLOR="1")[0]
    assert "\033[" not in on_terminal("explain", "10x9", "7x7", TERM="dumb")[0]
    assert "\033[" not in succeeds("explain", "10x9", "7x7")


def test_progress_only_on_a_terminal(tmp_path):
    source = sparse(tmp_path / "x.npy", (50, 2, 300, 300))
    options = ("--size", "7x7", "--slice", "0.1", "--force")
    shown, printed = on_terminal("pool", source, tmp_path / "y.npy", *options, stream="stderr")
    assert "100%" in shown
    assert "GB/s" in shown
    assert shown.endswith("\r\033[K"), "the line is taken away at the end"
    assert "->" in printed
    succeeds("pool", source, tmp_path / "y.npy", *options)  # and says nothing on standard error


# ---- info --------------------------------------------------------------------------------------------


def test_info():
    text = succeeds("info")
    assert f"cpool: {cpool.__version__}" in text
    found = json.loads(succeeds("info", "--json"))
    assert found["simd"]["available"][-1] == "baseline"
    assert found["threads"]["usable cpus"] >= 1
    assert found["devices"][0]["backend"] == "cpu"
    assert len(found["devices"]) == len(cpool.devices())


# ---- explain -----------------------------------------------------------------------------------------


def test_explain_says_what_explain_says():
    x = np.zeros((8, 64, 10, 9), np.uint8)
    found = json.loads(succeeds("explain", "8x64x10x9", "7x7", "--in-dtype", "uint8", "--json"))
    told = cpool.explain("adaptive_avg_pool", x, 7, axes=(2, 3)).to_dict()
    assert found == json.loads(json.dumps(told))
    assert str(cpool.explain("adaptive_avg_pool", x, 7, axes=(2, 3))) in succeeds(
        "explain", "8x64x10x9", "7x7", "--in-dtype", "uint8"
    )


AXES = [(10, 7), (9, 7), (14, 13), (10, 5), (5, 9), (40, 1), (7, 7), (1, 4)]


@pytest.mark.parametrize(("n", "m"), AXES)
def test_the_drawing_shows_the_windows(n, m, capsys):
    status, text, _ = inside(capsys, "explain", n, m)
    assert status == 0
    table = cpool.windows(n, m)
    taps = [range(a, b) for a, b in zip(table.starts.tolist(), table.stops.tolist(), strict=True)]
    rows = re.findall(r"^ +(\d+)  ([█▓·#+.]+)  (\d+):(\d+)$", text, re.MULTILINE)
    assert len(rows) == min(m, 32)
    for (number, drawn, start, stop), window in zip(rows, taps, strict=False):
        assert (int(start), int(stop)) == (window.start, window.stop)
        wide = len(drawn) // n
        held = [sum(e in t for t in taps) for e in range(n)]
        wanted = ["·" if e not in window else "█" if held[e] == 1 else "▓" for e in range(n)]
        assert drawn.translate(str.maketrans("#+.", "█▓·")) == "".join(c * wide for c in wanted), number


def test_the_drawing_shows_what_padding_counts(capsys):
    _, text, _ = inside(capsys, "explain", 10, 3, "--op", "avg", "--stride", 2, "--padding", 1)
    assert "0:2, counts 3" in text
    assert "rules" not in text
    _, text, _ = inside(capsys, "explain", 10, 3, "--op", "avg", "--stride", 2, "--padding", 1, "--exclude-pad")
    assert "counts" not in text


def test_a_terminal_that_knows_no_blocks_gets_letters():
    text = succeeds("explain", "10", "7", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert "##++" in text
    assert text.isascii()


def test_dilated_windows_are_drawn_with_their_gaps(capsys):
    _, text, _ = inside(capsys, "explain", 9, 3, "--op", "max", "--stride", 1, "--dilation", 2)
    rows = re.findall(r"^ +\d+  ([█▓·#+.]+)  ", text, re.MULTILINE)
    drawn = [row.translate(str.maketrans("#+.", "█▓·"))[::2] for row in rows]
    assert drawn == ["█·▓·▓····", "·█·▓·▓···", "··▓·▓·▓··", "···▓·▓·█·", "····▓·▓·█"]


def test_huge_axes_cost_nothing(capsys):
    for n, m in ((2**40, 1000), (10**12, 7), (5, 10**4)):
        begun = time.monotonic()
        status, text, err = inside(capsys, "explain", n, m, "--in-dtype", "uint8")
        assert (status, err) == (0, "")
        assert f"{n} -> {m}" in text
        assert time.monotonic() - begun < 20


def test_large_axes_are_drawn_in_part(capsys):
    status, text, _ = inside(capsys, "explain", "1080x1920", "224x1000")
    assert status == 0
    assert "of 224 windows" in text
    assert max(map(len, text.splitlines())) < 250


@pytest.mark.parametrize(("n", "m"), [*itertools.product([1, 2, 7, 10, 13, 100], [1, 2, 3, 7, 9, 30])])
def test_rules_found_in_texts(n, m):
    right = [(i * n // m, -(-(i + 1) * n // m)) for i in range(m)]
    floor, ceil = n // m, -(-n // m)
    for rule, kernel in zip(rules.compare(n, m)[1:], (ceil, n - (m - 1) * floor), strict=True):
        if not floor:
            assert rule.table is None
            assert rule.wrong
            continue
        given = [(a, a + kernel) for a in range(0, n - kernel + 1, floor)]
        assert list(zip(rule.table.starts.tolist(), rule.table.stops.tolist(), strict=True)) == given
        assert bool(rule.wrong) == (given != right)
    assert not rules.compare(n, m)[0].wrong


def test_the_picture_is_drawn(tmp_path):
    target = tmp_path / "windows.svg"
    succeeds("explain", "10x9", "7x7", "--plot", target)
    root = ElementTree.parse(target).getroot()
    space = "{http://www.w3.org/2000/svg}"
    assert root.tag == f"{space}svg"
    kinds = [r.get("class") for r in root.iter(f"{space}rect")]
    assert kinds.count("cell") == 10 + 9
    right = wrong = 0
    for n in (10, 9):
        for rule in rules.compare(n, 7):
            spans = list(zip(rule.table.starts.tolist(), rule.table.stops.tolist(), strict=True))
            for i, (a, b) in enumerate(spans):
                same = i < 7 and (a, b) == (i * n // 7, -(-(i + 1) * n // 7))
                right, wrong = (right + b - a, wrong) if same else (right, wrong + b - a)
    assert kinds.count("own") + kinds.count("shared") == right
    assert kinds.count("wrong") == wrong
    words = " ".join(t.text for t in root.iter(f"{space}text"))
    assert "9 windows, not 7" in words
    assert "is there; --force" in fails("explain", "10", "7", "--plot", target)
    assert ".svg or .png" in fails("explain", "10", "7", "--plot", tmp_path / "windows.gif")
    for box in root.iter(f"{space}rect"):
        assert float(box.get("x")) + float(box.get("width")) <= float(root.get("viewBox").split()[2])
        assert float(box.get("y")) + float(box.get("height")) <= float(root.get("viewBox").split()[3])


def test_the_picture_as_png(tmp_path, image_of):
    target = tmp_path / "windows.png"
    succeeds("explain", "10x9", "7x7", "--plot", target)
    image = pixels_of(image_of, target)
    assert image.ndim == 3
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 5


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("10x9 7x7x7", "3 axes are to be pooled, and the array has 2"),
        ("10x9", "needs a size"),
        ("10x9 7 --op global-avg --axes 0", "takes no size"),
        ("10x9 --op global-avg", "--layout in letters"),
        ("10x9 7 --axes 5", "axes: got 5"),
        ("10x9 7 --axes 0 --layout HW", "both say what is pooled"),
        ("10x9 7x7 --layout NHW", "names 3 axes"),
        ("10x9 7x7 --layout HH", "letters like NCHW"),
        ("10x9 7x7 --op max --dtype float32", "keep their type"),
        ("10x9 7x7 --stride 2", "are not for --op adaptive-avg"),
        ("10x9 20x20 --op max", "kernel_size: got 20"),
        ("10x9 7x7 --in-dtype nothing", "nothing"),
        ("10x9 7x7 --backend nowhere", "backend: got 'nowhere'"),
    ],
)
def test_what_explain_refuses(line, said, capsys):
    status, out, err = inside(capsys, "explain", *line.split())
    assert (status, out) == (1, "")
    assert said in err
    assert len(err.splitlines()) == 1


# ---- pool: arrays ------------------------------------------------------------------------------------

CALLS = {
    "--size 7x5": lambda x: cpool.adaptive_avg_pool(x, (7, 5), axes=(-2, -1)),
    "--size 7x5 --layout channels_last": lambda x: cpool.adaptive_avg_pool(x, (7, 5), axes=(-3, -2)),
    "--size 3x5 --axes 1,0": lambda x: cpool.adaptive_avg_pool(x, (3, 5), axes=(1, 0)),
    "--size 2 --axes 0,1": lambda x: cpool.adaptive_avg_pool(x, 2, axes=(0, 1)),
    "--size 5xnone --axes 1,2": lambda x: cpool.adaptive_avg_pool(x, (5, None), axes=(1, 2)),
    "--size 40x3 --axes 0,2 --op adaptive-max": lambda x: cpool.adaptive_max_pool(x, (40, 3), axes=(0, 2)),
    "--kernel 3x2 --op avg": lambda x: cpool.avg_pool(x, (3, 2), axes=(-2, -1)),
    "--kernel 3 --op avg --axes 0,1 --stride 2 --padding 1": lambda x: cpool.avg_pool(x, 3, 2, 1, axes=(0, 1)),
    "--kernel 3 --op avg --axes 0 --stride 2 --padding 0:2 --dilation 2 --ceil-mode --exclude-pad": lambda x: (
        cpool.avg_pool(x, 3, 2, ((0, 2),), True, False, dilation=2, axes=0)
    ),
    "--kernel 3x3 --op max --stride 2 --padding 1x0:1 --dilation 1x2": lambda x: cpool.max_pool(
        x, 3, 2, (1, (0, 1)), (1, 2), axes=(-2, -1)
    ),
    "--kernel 5 --op max --axes 0,1 --stride 1 --padding same_upper": lambda x: cpool.max_pool(
        x, 5, 1, "same_upper", axes=(0, 1)
    ),
    "--op global-avg --layout HWC": lambda x: cpool.adaptive_avg_pool(x, 1, axes=(0, 1)),
    "--op global-max --axes 0,1,2": lambda x: cpool.adaptive_max_pool(x, 1),
}


@pytest.mark.parametrize("call", CALLS)
def test_slices_give_the_same_bits(call, tmp_path, capsys):
    """However small the slices: a file of zeros-to-ones, of integers, of the other byte order, of Fortran's order."""
    random = np.random.default_rng(0)
    plain = random.random((11, 13, 17), np.float32)
    for x in (plain, random.integers(-99, 99, (6, 11, 16), np.int16), plain.astype(">f8"), np.asfortranarray(plain)):
        np.save(tmp_path / "x.npy", x)
        wanted = CALLS[call](x)
        for size in (64, 0.004, 0.0006, 0.00001):
            arguments = ("pool", tmp_path / "x.npy", tmp_path / "y.npy", *call.split())
            status, out, err = inside(capsys, *arguments, "--slice", size, "--force")
            assert (status, err) == (0, ""), err
            assert f"{x.dtype} {x.shape} -> {wanted.dtype} {wanted.shape}" in out
            made = np.load(tmp_path / "y.npy")
            assert made.flags.f_contiguous == wanted.flags.f_contiguous or 1 in wanted.shape
            assert_same_bits(made, wanted)


def test_pool_says_what_it_did(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(90.0).reshape(10, 9))
    arguments = ("pool", "x.npy", "y.npy", "--size", "7x7")
    assert succeeds(*arguments, cwd=tmp_path) == "y.npy: float64 (10, 9) -> float64 (7, 7)\n"
    assert succeeds(*arguments, "--force", "--quiet", "--dtype", "float32", cwd=tmp_path) == ""
    assert np.load(tmp_path / "y.npy").dtype == np.float32


def test_empty_arrays(tmp_path, capsys):
    for shape, size in (((0, 5), "3"), ((3, 5), "0"), ((4, 0, 6), "2")):
        np.save(tmp_path / "x.npy", np.zeros(shape))
        status, _, err = inside(capsys, "pool", tmp_path / "x.npy", tmp_path / "y.npy", "--size", size, "--force")
        assert (status, err) == (0, "")
        assert np.load(tmp_path / "y.npy").shape == (*shape[:-1], int(size))


def test_members(tmp_path):
    a, b = np.arange(90.0).reshape(10, 9), np.arange(270, dtype=np.int16).reshape(3, 10, 9)
    np.savez_compressed(tmp_path / "x.npz", a=a, b=b)
    succeeds("pool", "x.npz", "y.npz", "--size", "7x7", cwd=tmp_path)
    with np.load(tmp_path / "y.npz") as made:
        assert made.files == ["a", "b"]
        for name, x in (("a", a), ("b", b)):
            assert_same_bits(made[name], cpool.adaptive_avg_pool(x, 7, axes=(-2, -1)))
    succeeds("pool", "x.npz", "y.npy", "--size", "7x7", "--member", "b", cwd=tmp_path)
    assert np.load(tmp_path / "y.npy").shape == (3, 7, 7)
    succeeds("pool", "y.npy", "z.npz", "--size", "2x2", cwd=tmp_path)
    with np.load(tmp_path / "z.npz") as made:
        assert made.files == ["arr_0"]
    assert "has 2 members" in fails("pool", "x.npz", "v.npy", "--size", "7x7", cwd=tmp_path)
    assert "no member 'c'; there are a, b" in fails(
        "pool", "x.npz", "v.npz", "--size", "7", "--member", "c", cwd=tmp_path
    )
    assert not (tmp_path / "v.npz").exists()


# ---- pool: what goes wrong -----------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an array; what a command leaves there is seen at once."""
    np.save(tmp_path / "x.npy", np.arange(9000.0).reshape(100, 90))
    return tmp_path


def left(folder: Path) -> list[str]:
    """What lies there."""
    return sorted(os.listdir(folder))


def test_what_is_there_is_kept(folder):
    (folder / "y.npy").write_text("precious")
    assert "y.npy: is there; --force replaces it" in fails("pool", "x.npy", "y.npy", "--size", "7", cwd=folder)
    assert (folder / "y.npy").read_text() == "precious"
    assert "the array has 2" in fails("pool", "x.npy", "y.npy", "--size", "7x7x7", "--force", cwd=folder)
    assert (folder / "y.npy").read_text() == "precious"
    succeeds("pool", "x.npy", "y.npy", "--size", "7x7", "--force", cwd=folder)
    assert np.load(folder / "y.npy").shape == (7, 7)
    succeeds("pool", "x.npy", "x.npy", "--size", "7x7", "--force", cwd=folder)
    assert np.load(folder / "x.npy").shape == (7, 7)
    assert left(folder) == ["x.npy", "y.npy"]


def test_links_and_modes_are_as_for_any_file(folder):
    (folder / "deep").mkdir()
    (folder / "link.npy").symlink_to("deep/real.npy")
    mask = os.umask(0o027)
    try:
        succeeds("pool", "x.npy", "link.npy", "--size", "7x7", cwd=folder)
    finally:
        os.umask(mask)
    assert (folder / "link.npy").is_symlink()
    assert (folder / "deep" / "real.npy").stat().st_mode & 0o777 == 0o640


def test_places_where_no_file_can_be(folder):
    for target, said in (
        ("nowhere/y.npy", "no such folder"),
        (folder, ".npy, .npz, or an image"),
        ("y.txt", ".npy, .npz, or an image"),
    ):
        assert said in fails("pool", "x.npy", target, "--size", "7", cwd=folder)
    os.mkfifo(folder / "pipe.npy")
    assert "pipe.npy: is there and is no plain file" in fails("pool", "x.npy", "pipe.npy", "--size", "7", cwd=folder)
    assert "nothing.npy: No such file" in fails("pool", "nothing.npy", "y.npy", "--size", "7", cwd=folder)
    (folder / "folder.npy").mkdir()
    assert "folder.npy: Is a directory" in fails("pool", "folder.npy", "y.npy", "--size", "7", cwd=folder)
    assert left(folder) == ["folder.npy", "pipe.npy", "x.npy"]


def test_cut_off_and_damaged_arrays(folder, capsys):
    """Every beginning of a file, and files with bytes changed: a line that names the file, or a result."""
    whole = (folder / "x.npy").read_bytes()
    bad, target = folder / "bad.npy", folder / "y.npy"
    random = np.random.default_rng(0)
    tries = [whole[:n] for n in (0, 1, 5, 6, 7, 8, 9, 10, 11, 64, 127, 128, 129, len(whole) - 1)]
    for _ in range(300):
        changed = bytearray(whole)
        for at in random.integers(0, 128, random.integers(1, 4)):
            changed[at] = (
                random.integers(0, 256) if random.random() < 0.5 else random.choice(list(b"0123456789(),'-<>"))
            )
        tries.append(bytes(changed))
    seen = set()
    for content in tries:
        bad.write_bytes(content)
        status, out, err = inside(capsys, "pool", bad, target, "--size", "7x7", "--force")
        seen.add(status)
        if status:
            assert (status, out) == (1, "")
            assert len(err.splitlines()) == 1
            assert str(bad) in err
        assert left(folder) == ["bad.npy", "x.npy"] + ["y.npy"] * (0 in seen)
    assert seen == {0, 1}


def test_what_no_array_is(folder, capsys):
    np.save(folder / "objects.npy", np.array([{}, 3], object), allow_pickle=True)
    np.save(folder / "text.npy", np.array(["a", "b"]))
    with (folder / "fields.npy").open("wb") as file:
        npy.write_array(file, np.zeros(3, [("中", "<f4")]), (3, 0))
    huge = io.BytesIO()
    npy.write_array_header_1_0(huge, {"descr": "<f8", "fortran_order": False, "shape": (2**40, 2**40)})
    (folder / "huge.npy").write_bytes(huge.getvalue())
    for name, said in (
        ("objects", "Python objects"),
        ("text", "dtype <U1"),
        ("fields", "version (3, 0)"),
        ("huge", "cut off"),
    ):
        status, _, err = inside(capsys, "pool", folder / f"{name}.npy", folder / "y.npy", "--size", "1")
        assert status == 1
        assert f"{name}.npy: " in err
        assert said in err


def test_damaged_archives(folder, capsys):
    np.savez_compressed(folder / "a.npz", x=np.arange(9000.0).reshape(100, 90))
    whole = (folder / "a.npz").read_bytes()
    bad = folder / "bad.npz"
    random = np.random.default_rng(0)
    tries = [whole[:n] for n in (0, 3, 30, len(whole) // 2, len(whole) - 1)]
    for at in random.integers(0, len(whole), 150):
        other = bytes([whole[at] ^ int(random.integers(1, 256))])
        tries.append(whole[:at] + other + whole[at + 1 :])
    failed = 0
    for content in tries:
        bad.write_bytes(content)
        status, _, err = inside(capsys, "pool", bad, folder / "y.npz", "--size", "7x7", "--force")
        if status:
            failed += 1
            assert len(err.splitlines()) == 1
            assert str(bad) in err
    assert failed > 100
    with zipfile.ZipFile(bad, "w") as archive:
        archive.writestr("note.txt", "hello")
    status, _, err = inside(capsys, "pool", bad, folder / "y.npz", "--size", "7x7", "--force")
    assert (status, "is no array" in err) == (1, True)


@pytest.mark.parametrize("target", ["y.npy", "y.npz"])
def test_a_full_disk_leaves_nothing(folder, target):
    """A limit to the size of files stands in for the disk; the next test has a real one where that can be made."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    line = fails("pool", "x.npy", target, "--size", "90x80", cwd=folder, preexec_fn=limit)
    assert f"{target}: File too large" in line
    assert left(folder) == ["x.npy"]


def test_a_small_file_system(folder):
    small = folder / "small"
    small.mkdir()
    mount = shutil.which("mount")
    command = [mount or "mount", "-t", "tmpfs", "-o", "size=40k", "tmpfs", small]
    if mount is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        for target in ("y.npy", "y.npz"):
            line = fails("pool", "x.npy", small / target, "--size", "90x80", cwd=folder)
            assert f"{target}: No space left on device" in line
            assert left(small) == []
        succeeds("pool", "x.npy", small / "y.npy", "--size", "7x7", cwd=folder)
    finally:
        subprocess.run(["umount", small], check=True)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_it_leaves_nothing(number, status, tmp_path):
    source = sparse(tmp_path / "x.npy", (4000, 1000, 1000))
    command = [*COMMAND, "pool", source, tmp_path / "y.npy", "--size", "500x500"]
    heard = functools.partial(signal.signal, number, signal.SIG_DFL)  # whoever runs the tests may have it ignored
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heard
    ) as process:
        for _ in range(600):
            if any(name.endswith(".part") for name in left(tmp_path)):
                break
            time.sleep(0.05)
        else:
            pytest.fail("it never began")
        time.sleep(0.3)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == status
    assert out == ""
    assert err == ("cpool pool: error: interrupted\n" if number == signal.SIGINT else "")
    assert left(tmp_path) == ["x.npy"]


def pool_with_little_memory(folder: Path, shape: tuple[int, ...], limit: int, timeout: float) -> None:
    source = sparse(folder / "x.npy", shape)

    def little() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

    # Other libraries reserve address space for every processor of the machine.
    env = {**os.environ, "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "1"}
    arguments = ("pool", source, folder / "y.npy", "--size", "7x7")
    succeeds(*arguments, preexec_fn=little, env=env, timeout=timeout)
    made = np.load(folder / "y.npy")
    assert made.shape == (*shape[:-2], 7, 7)
    assert not made.any()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits address space as Linux does")
@pytest.mark.parametrize("shape", [(64, 64, 256, 256), (16384, 16384)], ids=["many", "one"])
def test_files_larger_than_memory(shape, tmp_path):
    assert np.prod(shape) * 4 == 2**30
    pool_with_little_memory(tmp_path, shape, 800 * 2**20, 120)


@pytest.mark.slow
@pytest.mark.skipif(os.environ.get("CPOOL_FUZZ") != "long", reason="CPOOL_FUZZ=long reads ten gigabytes")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits address space as Linux does")
def test_ten_gigabytes_with_one_of_memory(tmp_path):
    pool_with_little_memory(tmp_path, (640, 64, 256, 256), 10**9, 280)


# ---- pool: images ------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["png", "tiff", "bmp"])
@pytest.mark.parametrize("channels", [0, 2, 3, 4])
def test_images_keep_their_type(suffix, channels, tmp_path, image_of):
    if suffix == "bmp" and channels in (2, 4):
        pytest.skip("BMP has no alpha here")
    shape = (40, 31, channels) if channels else (40, 31)
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    image_of.fromarray(pixels).save(tmp_path / f"x.{suffix}")
    succeeds("pool", f"x.{suffix}", f"y.{suffix}", "--size", "7x5", cwd=tmp_path)
    made = pixels_of(image_of, tmp_path / f"y.{suffix}")
    assert_same_bits(made, cpool.adaptive_avg_pool(pixels, (7, 5), axes=(0, 1), dtype=np.uint8))
    succeeds("pool", f"x.{suffix}", "y.npy", "--size", "9", "--dtype", "float32", cwd=tmp_path)
    assert_same_bits(np.load(tmp_path / "y.npy"), cpool.adaptive_avg_pool(pixels, 9, axes=(0, 1), dtype=np.float32))
    succeeds("pool", f"x.{suffix}", f"z.{suffix}", "--op", "max", "--kernel", "3", cwd=tmp_path)
    assert_same_bits(pixels_of(image_of, tmp_path / f"z.{suffix}"), cpool.max_pool(pixels, 3, axes=(0, 1)))


def test_sixteen_bits_and_floats(tmp_path, image_of):
    for dtype, suffix in ((np.uint16, "png"), (np.uint16, "tiff"), (np.float32, "tiff"), (np.int32, "tiff")):
        pixels = (np.random.default_rng(0).random((40, 31)) * 60000).astype(dtype)
        image_of.fromarray(pixels).save(tmp_path / f"x.{suffix}")
        succeeds("pool", f"x.{suffix}", f"y.{suffix}", "--size", "7x5", "--force", cwd=tmp_path)
        wanted = cpool.adaptive_avg_pool(pixels, (7, 5), dtype=dtype)
        assert_same_bits(pixels_of(image_of, tmp_path / f"y.{suffix}").astype(dtype), wanted)


def test_sixteen_bits_of_colour_are_refused(tmp_path, image_of):
    """A PNG of 48 bits a pixel, made by hand: Pillow can't write one."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes(6 * 4) for _ in range(4))
    header = struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0)
    (tmp_path / "x.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )
    assert "16 bits for each colour" in fails("pool", "x.png", "y.png", "--size", "2", cwd=tmp_path)


def test_palettes_cameras_and_photographs(tmp_path, image_of):
    random = np.random.default_rng(0)
    colours = np.repeat(np.repeat(random.integers(0, 4, (4, 4, 3), np.uint8) * 80, 8, 0), 8, 1)
    rgb = image_of.fromarray(colours)
    rgb.quantize(64).save(tmp_path / "p.png")
    succeeds("pool", "p.png", "q.png", "--size", "4", cwd=tmp_path)
    made = pixels_of(image_of, tmp_path / "q.png")
    assert np.abs(made.astype(int) - colours[::8, ::8]).max() < 8
    exif = image_of.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    rgb.resize((64, 32)).save(tmp_path / "c.jpg", exif=exif, quality=95)
    succeeds("pool", "c.jpg", "c.npy", "--size", "nonexnone", cwd=tmp_path)
    assert np.load(tmp_path / "c.npy").shape == (64, 32, 3)
    succeeds("pool", "c.jpg", "d.jpeg", "--size", "16x8", cwd=tmp_path)
    assert pixels_of(image_of, tmp_path / "d.jpeg").shape == (16, 8, 3)


def test_images_that_are_none(tmp_path, image_of):
    image = image_of.fromarray(np.zeros((40, 31, 4), np.uint8))
    image.save(tmp_path / "x.png")
    image.save(tmp_path / "two.tiff", save_all=True, append_images=[image])
    (tmp_path / "note.png").write_text("hello")
    (tmp_path / "half.png").write_bytes((tmp_path / "x.png").read_bytes()[:60])
    for line, said in (
        ("x.png y.jpg --size 7", "y.jpg: "),
        ("x.png y.png --size 7 --dtype float32", "float32 of shape (7, 7, 4) is no image"),
        ("two.tiff y.png --size 7", "two.tiff: holds 2 images"),
        ("note.png y.png --size 7", "note.png: no image that Pillow knows"),
        ("half.png y.png --size 7", "half.png: damaged, or cut off"),
        ("x.png y.png --size 7 --layout HWC", "height x width x channels"),
    ):
        assert said in fails("pool", *line.split(), cwd=tmp_path)
    assert not any((tmp_path / name).exists() for name in ("y.png", "y.jpg"))


def test_without_pillow_the_command_that_installs_it_is_named(folder):
    (folder / "none" / "PIL").mkdir(parents=True)
    (folder / "none" / "PIL" / "__init__.py").write_text("raise ImportError('not here')")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder / "none"), os.environ.get("PYTHONPATH", "")])}
    (folder / "x.png").write_bytes(b"")
    for line in ("pool x.png y.png --size 7", "explain 10 7 --plot w.png"):
        assert "python -m pip install pillow" in fails(*line.split(), cwd=folder, env=env)
    succeeds("pool", "x.npy", "y.npy", "--size", "7", cwd=folder, env=env)
    succeeds("explain", "10", "7", "--plot", "w.svg", cwd=folder, env=env)


# ---- bench and tune ----------------------------------------------------------------------------------

QUICK = ("bench", "--rows", "1x64x8x9", "--layouts", "first", "--rounds", "2", "--slice", "0.1", "--peers", "limit")


def test_bench_prints_and_saves(tmp_path):
    text = succeeds(*QUICK, "--threads", "1", "--json", tmp_path / "b.json", "--plot", tmp_path / "b.svg")
    assert "### float32, channels first, 1 thread" in text
    data = json.loads((tmp_path / "b.json").read_text())
    assert data["stamp"]["cpool"] == cpool.__version__
    assert {line["row"] for line in data["lines"]} >= {"1x64x8x9 -> 5x7"}
    assert all(len(line["peers"]["cpool"]["samples_s"]) == 2 for line in data["lines"])
    assert ElementTree.parse(tmp_path / "b.svg").getroot().tag.endswith("svg")


def test_bench_fails_where_results_are_wrong(monkeypatch, capsys):
    right = cpool.adaptive_avg_pool2d
    monkeypatch.setattr(cpool, "adaptive_avg_pool2d", lambda *args, **options: right(*args, **options) * 1.001)
    status, _, err = inside(capsys, *QUICK, "--threads", "1")
    assert status == 1
    assert "1x64x8x9 -> 5x7, float32, channels first: off by" in err


def test_bench_and_the_drivers_share_a_harness():
    peers = Path(__file__).parent.parent / "benchmarks" / "peers.py"
    if not peers.exists():
        pytest.skip("only in the source tree")
    assert "from harness.report import" in peers.read_text()
    ours = cli.bench._harness()("report")
    assert Path(ours.__file__).read_text() == (peers.parent / "harness" / "report.py").read_text()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--rows nothing-like-it", "no row is called so"),
        ("--dtypes float31", "'float31' is not one of"),
        ("--layouts middle", "'middle' is not one of first, last"),
        ("--peers nobody", "'nobody' is not one of"),
        ("--rounds 0", "are positive"),
    ],
)
def test_what_bench_refuses(line, said, capsys):
    status, out, err = inside(capsys, "bench", *line.split())
    assert (status, out) == (1, "")
    assert said in err


def test_tune_calls_tune(monkeypatch, capsys):
    asked = []

    def tune(devices: object = None, *, seconds: float = 10.0, verbose: bool = False) -> str:
        asked.append((devices, seconds, verbose))
        if seconds <= 0:
            raise ValueError("seconds: got 0; more are needed")
        if devices:
            warnings.warn("opencl:0 is left out: why\nand the log", RuntimeWarning, stacklevel=1)
        return "what was found"

    monkeypatch.setattr(cpool, "tune", tune, raising=False)  # it is imported when it is asked for
    assert inside(capsys, "tune") == (0, "what was found\n", "")
    left_out = inside(capsys, "tune", "cpu", "opencl:0", "--seconds", 3)
    assert left_out == (0, "what was found\n", "opencl:0 is left out: why\n")
    assert asked == [(None, 10.0, False), (["cpu", "opencl:0"], 3.0, False)]
    assert inside(capsys, "tune", "--seconds", 0) == (1, "", "cpool tune: error: seconds: got 0; more are needed\n")


# ---- the page ----------------------------------------------------------------------------------------


def test_the_page_shows_what_is_printed():
    page = Path(__file__).parent.parent / "docs" / "cli.md"
    if not page.exists():
        pytest.skip("only in the source tree")
    text = page.read_text()
    shown = re.search(r"^\$ cpool (explain [^\n]*)\n(.*?)^\.\.\.\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    printed = succeeds(*shown[1].split())
    assert printed.startswith(shown[2])
    assert printed.endswith(shown[3])
    assert all(f"## cpool {name}" in text for name in NAMES)
