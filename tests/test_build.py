"""What the built package holds: the right instructions in the right symbols, types, nothing more."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

import pytest

import cpool
from cpool import _kernels, cpu

PACKAGE = Path(cpool.__file__).parent


@pytest.fixture(scope="module")
def code() -> dict[str, str]:
    """The disassembly of each function of the extension."""
    if platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("instruction sets of x86-64 only")
    if shutil.which("objdump") is None:
        pytest.skip("no objdump")
    text = subprocess.run(
        ["objdump", "-d", "--no-show-raw-insn", _kernels.__file__], capture_output=True, text=True, check=True
    ).stdout
    found = {}
    for part in text.split("\n\n"):
        name = re.search(r"^[0-9a-f]+ <(\S+)>:", part, re.M)
        if name:
            found[name.group(1)] = part
    return found


def of(code: dict[str, str], isa: str) -> str:
    parts = [text for name, text in code.items() if re.search(rf"_{isa}(\.|$)", name)]
    assert len(parts) > 12, f"too few functions of {isa}"
    return "\n".join(parts)


def test_avx512_functions_use_zmm(code):
    assert "%zmm" in of(code, "avx512")
    for name in ("f32", "f16", "bf16", "f64", "i32", "u64"):
        assert "%zmm" in code[f"cpool_lanes_{name}_avx512"], name


def test_avx2_functions_use_ymm_and_no_zmm(code):
    text = of(code, "avx2")
    assert "%ymm" in text
    assert "%zmm" not in text
    assert not re.search(r"%k[0-7]\b", text)
    for name in ("f32", "f16", "bf16", "f64", "i32", "u64"):
        assert "%ymm" in code[f"cpool_lanes_{name}_avx2"], name


def test_everything_else_is_for_any_processor(code):
    for name, text in code.items():
        if not re.search(r"_(avx2|avx512)(\.|$)", name):
            assert "%ymm" not in text, name
            assert "%zmm" not in text, name


@pytest.mark.parametrize("name", ["py.typed", "_kernels.pyi", "_kernels.pxd", "simd/cpool_simd.h"])
def test_types_and_headers_are_installed(name):
    assert (PACKAGE / name).is_file()


def test_the_version_stands_in_one_place():
    assert metadata.version("cpool") == cpool.__version__


def test_the_best_instruction_set_is_used_first():
    assert cpu.simd_available()[-1] == "baseline"
    assert cpu.simd() in cpu.simd_available()


def test_the_build_tells_what_it_is():
    info = _kernels.build_info()
    assert info["compiler"].split()[0] in ("gcc", "clang", "msvc")
    assert isinstance(info["openmp"], bool)
