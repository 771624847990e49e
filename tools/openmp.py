"""Finds out by compiling and running a program whether there is OpenMP, and with which flags."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distutils.ccompiler import CCompiler

THREADS = 3
PROGRAM = f"""
#include <omp.h>
#include <stdio.h>
int main(void)
{{
    int seen = 0;
    #pragma omp parallel num_threads({THREADS}) reduction(+ : seen)
    seen += 1;
    printf("%d", seen);
    return 0;
}}
"""

Flags = tuple[list[str], list[str]]  # to compile, to link
MSVC: list[Flags] = [(["/openmp"], [])]
# Apple's clang wants its OpenMP spelled differently, and the library (brew install libomp) named.
UNIX: list[Flags] = [(["-fopenmp"], ["-fopenmp"]), (["-Xclang", "-fopenmp"], ["-lomp"])]

SERIAL = """
********************************************************************************
cpool is being built WITHOUT THREADS: {why}.
It will be right, and slow on large arrays. OpenMP comes with gcc; clang needs
libomp (Debian: libomp-dev, Fedora: libomp-devel, macOS: brew install libomp).
********************************************************************************
"""


def starts_threads(compiler: CCompiler, flags: Flags) -> bool:
    """Whether a program built with these flags starts as many threads as it was told to."""
    compile_flags, link_flags = flags
    with tempfile.TemporaryDirectory() as folder:
        source, program = Path(folder, "probe.c"), Path(folder, "probe")
        source.write_text(PROGRAM)
        try:
            objects = compiler.compile([str(source)], output_dir=folder, extra_postargs=compile_flags)
            compiler.link_executable(objects, str(program), extra_postargs=link_flags)
            ran = subprocess.run([program], capture_output=True, text=True, timeout=60, check=True)
        except Exception:  # every compiler class has its own errors; whatever went wrong, there is no OpenMP
            return False
    return ran.stdout == str(THREADS)


def openmp_flags(compiler: CCompiler, wanted: str | None = None) -> Flags:
    """The flags for OpenMP, or none. wanted: "0" for none, "1" to fail if there is none, None to see."""
    if wanted not in (None, "", "0", "1"):
        sys.exit(f"CPOOL_OPENMP: got {wanted!r}; 0 (without), 1 (with, or fail) or nothing is needed")
    if wanted == "0":
        print(SERIAL.format(why="CPOOL_OPENMP=0 asks for it"), file=sys.stderr)
        return [], []
    for flags in MSVC if compiler.compiler_type == "msvc" else UNIX:
        if starts_threads(compiler, flags):
            return flags
    if wanted == "1":
        sys.exit("CPOOL_OPENMP=1 insists on OpenMP, but no program built with it ran here")
    print(SERIAL.format(why="no OpenMP was found"), file=sys.stderr)
    return [], []
