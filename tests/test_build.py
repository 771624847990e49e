"""What the built package holds: the right instructions in the right functions, types and headers, nothing more."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from types import ModuleType

import conftest
import pytest

import cpool
from cpool import _kernels, cpu

PACKAGE = Path(cpool.__file__).parent
PROJECT = Path(__file__).parent.parent
TYPES = ("f16", "bf16", "f32", "f64", "i8", "u8", "i16", "u16", "i32", "u32", "i64", "u64")

# What the instructions of AVX and later look like: wide registers, the masks and registers that came with
# AVX-512, and mnemonics with a v (the 128-bit instructions of AVX have xmm registers; SSE has none with a v).
ZMM = r"%zmm"
YMM = r"%ymm"
AVX512 = r"%zmm|%k[0-7]\b|%[xy]mm(1[6-9]|2\d|3[01])\b"
AVX = r"%[yz]mm|%k[0-7]\b|^\s*[0-9a-f]+:\s+v(?!er[rw]\b|mcall\b)[a-z]"


def tool(name: str) -> str:
    """A program of the binutils, or a skip."""
    if sys.platform != "linux":
        pytest.skip("reads ELF files")
    if shutil.which(name) is None:
        conftest.missing(name, f"no {name}")
    return name


@pytest.fixture(scope="module")
def code() -> dict[str, str]:
    """The disassembly of each function of the extension."""
    if platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("instruction sets of x86-64 only")
    command = [tool("objdump"), "-d", "--no-show-raw-insn", _kernels.__file__]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    functions = {}
    for part in text.split("\n\n"):
        if name := re.search(r"^[0-9a-f]+ <(\S+)>:", part, re.MULTILINE):
            functions[name[1]] = part
    assert len(functions) > 200, "the module was stripped"
    return functions


def of(code: dict[str, str], isa: str) -> dict[str, str]:
    """The functions of one instruction set (a compiler adds .part.0, .cold and the like to names)."""
    found = {name: text for name, text in code.items() if re.search(rf"_{isa}(\.|$)", name)}
    assert len(found) > 40, f"too few functions of {isa}"
    return found


def holding(pattern: str, functions: dict[str, str]) -> list[str]:
    """The names of the functions in which an instruction fits the pattern."""
    return [name for name, text in functions.items() if re.search(pattern, text, re.MULTILINE)]


@pytest.mark.parametrize(("isa", "register"), [("avx2", YMM), ("avx512", ZMM)])
def test_each_instruction_set_uses_its_registers(code, isa, register):
    wide = set(holding(register, of(code, isa)))
    missing = {f"cpool_lanes_{name}_{isa}" for name in TYPES} - wide
    missing |= {f"cpool_lines_{name}_{isa}" for name in ("f16", "bf16", "f32", "f64", "i32", "u32")} - wide
    missing |= {f"cpool_finish_F_{name}_{isa}" for name in ("f16", "bf16", "f32", "f64")} - wide
    missing |= {f"cpool_{name}_{isa}" for name in ("fold_F", "read")} - wide
    assert not missing


def test_avx2_functions_run_without_avx512(code):
    assert not holding(AVX512, of(code, "avx2"))


def test_everything_else_runs_on_any_processor(code):
    of(code, "baseline")
    others = {name: text for name, text in code.items() if not re.search(r"_(avx2|avx512)(\.|$)", name)}
    assert not holding(AVX, others)


def test_only_the_module_itself_is_visible():
    text = subprocess.run(
        [tool("nm"), "-D", "--defined-only", _kernels.__file__], capture_output=True, text=True, check=True
    ).stdout
    names = {line.split()[-1] for line in text.splitlines()}
    linker = {"_init", "_fini", "_edata", "_end", "__bss_start"}
    visible = {name for name in names - linker if not re.match(r"_+(odr_)?asan|_+(start|stop)_asan", name)}
    assert visible == {"PyInit__kernels"}


@pytest.mark.parametrize(
    "name",
    ["py.typed", "_kernels.pyi", "_kernels.pxd", "_native.pxd", "__init__.pxd", "simd/cpool_simd.h", "simd/threads.h"],
)
def test_types_and_headers_are_installed(name):
    assert (PACKAGE / name).is_file()


def test_the_version_stands_in_one_place():
    assert metadata.version("cpool") == cpool.__version__
    literals = re.findall(r"^__version__ = \"(.+)\"$", (PACKAGE / "__init__.py").read_text(), re.MULTILINE)
    assert literals == [cpool.__version__]


def test_numpy_is_the_only_dependency():
    needed = [line for line in metadata.requires("cpool") if "extra ==" not in line]
    assert [re.match(r"\w+", line)[0] for line in needed] == ["numpy"]


def test_the_best_instruction_set_is_used_first():
    assert cpu.simd_available()[-1] == "baseline"
    assert cpu.simd() == os.environ.get("CPOOL_SIMD", cpu.simd_available()[0])


def test_the_build_tells_what_it_is(capsys):
    info = _kernels.build_info()
    assert info["compiler"].split()[0] in ("gcc", "clang", "msvc")
    assert isinstance(info["openmp"], bool)
    cpool.show_config()
    assert ("built without OpenMP" in capsys.readouterr().out) != info["openmp"]


# ---- the probe for OpenMP ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def openmp() -> ModuleType:
    """tools/openmp.py, which setup.py asks."""
    path = PROJECT / "tools" / "openmp.py"
    if not path.exists():
        pytest.skip("only in the source tree")
    spec = importlib.util.spec_from_file_location("openmp", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Compiler:
    """A compiler that answers what it is told to: the flags with which it builds, and what the program says."""

    compiler_type = "unix"

    def __init__(self, takes: list[str], says: str = "3") -> None:
        self.takes, self.says = takes, says

    def compile(self, sources, output_dir, extra_postargs):
        if extra_postargs != self.takes:
            raise RuntimeError("unknown option")
        return sources

    def link_executable(self, objects, program, extra_postargs):
        Path(program).write_text(f"#!/bin/sh\nprintf %s '{self.says}'\n")
        Path(program).chmod(0o755)


posix = pytest.mark.skipif(os.name != "posix", reason="pretends with shell scripts")


@posix
def test_openmp_is_found_where_threads_start(openmp, capsys):
    assert openmp.openmp_flags(Compiler(["-fopenmp"])) == (["-fopenmp"], ["-fopenmp"])
    assert openmp.openmp_flags(Compiler(["-Xclang", "-fopenmp"])) == (["-Xclang", "-fopenmp"], ["-lomp"])
    assert capsys.readouterr().err == ""


@posix
@pytest.mark.parametrize("compiler", [Compiler(["-nothing"]), Compiler(["-fopenmp"], says="1")], ids=["none", "stub"])
def test_without_openmp_the_build_is_serial_and_loud(openmp, compiler, capsys):
    assert openmp.openmp_flags(compiler) == ([], [])
    assert "WITHOUT THREADS" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="CPOOL_OPENMP=1"):
        openmp.openmp_flags(compiler, "1")


def test_openmp_can_be_switched_off(openmp, capsys):
    assert openmp.openmp_flags(Compiler(["-fopenmp"]), "0") == ([], [])
    assert "CPOOL_OPENMP=0" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="got 'yes'"):
        openmp.openmp_flags(Compiler([]), "yes")
