"""What TOML cannot say: the extension, its flags, and whether there is OpenMP."""

import os
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup

MSVC = sys.platform == "win32"
PROBE = """
#include <omp.h>
#include <stdio.h>
int main(void) {
    int seen = 0;
    #pragma omp parallel num_threads(3) reduction(+ : seen)
    seen += 1;
    printf("%d\\n", seen);
    return 0;
}
"""


def compiler() -> list[str]:
    """The C compiler that setuptools will use."""
    return shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")[:1]


def openmp_flags() -> list[str]:
    """The flag for OpenMP, if a program built with it starts three threads here; else nothing."""
    if os.environ.get("CPOOL_OPENMP") == "0":
        print("cpool: built without OpenMP, as CPOOL_OPENMP=0 asks")
        return []
    if MSVC:
        return ["/openmp"]
    with tempfile.TemporaryDirectory() as folder:
        source, program = Path(folder, "probe.c"), Path(folder, "probe")
        source.write_text(PROBE)
        command = [*compiler(), "-fopenmp", str(source), "-o", str(program)]
        built = subprocess.run(command, capture_output=True, text=True)
        if built.returncode == 0:
            ran = subprocess.run([str(program)], capture_output=True, text=True)
            if ran.stdout.strip() == "3":
                return ["-fopenmp"]
    print(
        "cpool: no OpenMP found (the probe did not build and run): everything will run on one thread", file=sys.stderr
    )
    return []


openmp = openmp_flags()
if MSVC:
    compile_flags, link_flags, libraries = ["/O2", "/fp:strict", "/std:c11", *openmp], [], []
else:
    compile_flags = ["-O3", "-std=gnu11", "-ffp-contract=off", "-fvisibility=hidden", "-Wall", "-Wextra", *openmp]
    link_flags, libraries = [*openmp], ["m"]
    if os.environ.get("CPOOL_WERROR") == "1":
        compile_flags.append("-Werror")
    if sanitize := os.environ.get("CPOOL_SANITIZE"):
        extra = [f"-fsanitize={sanitize}", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-g", "-O1"]
        compile_flags += extra
        link_flags += extra

extension = Extension(
    "cpool._kernels",
    ["src/cpool/_kernels.pyx", "src/cpool/simd/simd.c", "src/cpool/simd/walk.c"],
    depends=[str(p) for p in sorted(Path("src/cpool/simd").glob("*.h"))],
    include_dirs=[numpy.get_include(), "src/cpool"],
    define_macros=[("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION")],
    extra_compile_args=compile_flags,
    extra_link_args=link_flags,
    libraries=libraries,
)

setup(
    ext_modules=cythonize(
        [extension],
        compiler_directives={
            "language_level": 3,
            "boundscheck": False,
            "wraparound": False,
            "cdivision": True,
            "freethreading_compatible": True,
        },
    )
)
