"""What TOML cannot say: the extensions, their flags, and whether there is OpenMP.

Switches, all by environment: CPOOL_OPENMP=0 builds without threads and =1 insists on them, CPOOL_WERROR=1 makes
warnings errors, CPOOL_SANITIZE=address,undefined builds for gcc's and clang's sanitizers; CC names the compiler.
CPOOL_PLANT=10 makes every pooling do a tenth of its work twice: what the gate's error rates are measured with.
"""

import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

sys.path.insert(0, str(Path(__file__).parent / "tools"))
from openmp import openmp_flags

SANITIZE = os.environ.get("CPOOL_SANITIZE")
PLANT = os.environ.get("CPOOL_PLANT")

# For gcc and clang. No -march here: the instruction sets are target regions of their sources, chosen at run time.
# Contraction to fused multiply-add would make the bits depend on the instruction set. Python's own flags mostly ask
# for -g: where everything is inlined, that makes up two fifths of the compiler's time.
UNIX = ["-O3", "-g0", "-std=gnu11", "-ffp-contract=off", "-fvisibility=hidden", "-Wall", "-Wextra"]
MSVC = ["/O2", "/std:c11", "/fp:strict"]


class Build(build_ext):
    """The flags for the compiler that was chosen. (setuptools' build_ext is Cython's, where Cython is installed.)"""

    def finalize_options(self) -> None:
        """Build afresh: what lies there may have been built with other switches or another compiler."""
        super().finalize_options()
        self.force = True

    def build_extensions(self) -> None:
        """Build with the flags that this compiler takes."""
        msvc = self.compiler.compiler_type == "msvc"
        compile_flags, link_flags = openmp_flags(self.compiler, os.environ.get("CPOOL_OPENMP"))
        kernels.extra_compile_args, kernels.extra_link_args = compile_flags, link_flags
        if not msvc:
            kernels.libraries = ["m"]
        if PLANT:
            kernels.sources.append("benchmarks/harness/plant.c")
            kernels.define_macros.append(("CPOOL_PLANT", str(int(PLANT))))
            kernels.extra_link_args.append("-Wl,--wrap=cpool_run")
        for extension in self.extensions:
            extension.extra_compile_args += MSVC if msvc else UNIX
            if os.environ.get("CPOOL_WERROR") == "1":
                extension.extra_compile_args.append("/WX" if msvc else "-Werror")
            if SANITIZE:
                sanitize = [f"-fsanitize={SANITIZE}", "-fno-sanitize-recover=all"]
                extension.extra_compile_args += [*sanitize, "-O1", "-g", "-fno-omit-frame-pointer"]
                extension.extra_link_args += sanitize
        self.compiler.compile = in_parallel(self.compiler.compile)
        super().build_extensions()


HARNESS = (
    "__init__",
    "adapters",
    "blocks",
    "cases",
    "compare",
    "goals",
    "limit",
    "machine",
    "operations",
    "output",
    "peer",
    "report",
    "timing",
)


class Package(build_py):
    """The package, and of benchmarks/harness what `cpool bench` measures with: the drivers' own, as cpool.harness."""

    def run(self) -> None:
        """Copy it all, unless files are used where they lie."""
        super().run()
        if not self.editable_mode:
            folder = Path(self.build_lib, "cpool", "harness")
            self.mkpath(str(folder))
            for name in [*(f"{module}.py" for module in HARNESS), "limits.c"]:
                self.copy_file(f"benchmarks/harness/{name}", str(folder / name))


def in_parallel(method: Callable[..., list[str]]) -> Callable[..., list[str]]:
    """The compiler's own method, for all sources at once: each instruction set takes its minute."""

    def compile_all(sources: list[str], *args: Any, **options: Any) -> list[str]:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            made = pool.map(lambda source: method([source], *args, **options), sources)
            return [item for part in made for item in part]

    return compile_all


def cython(name: str, *sources: str) -> Extension:
    """A module made of its .pyx and of sources in C."""
    made = Extension(
        f"cpool.{name}",
        [f"src/cpool/{name}.pyx", *sources],
        depends=sorted(str(path) for path in Path("src/cpool/simd").glob("*.h")),
        include_dirs=[numpy.get_include(), "src/cpool"],
        define_macros=[("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION")],
    )
    made.cython_c_in_temp = True  # the generated C is no source
    made.cython_directives = {
        "language_level": 3,
        "boundscheck": False,
        "wraparound": False,
        "cdivision": True,
        "freethreading_compatible": True,
    }
    return made


# What takes longest first: the others are done beside it.
sources = sorted(Path("src/cpool/simd").glob("*.c"), key=lambda path: (path.stem != "baseline", path.stem))
kernels = cython("_kernels", *map(str, sources))

setup(ext_modules=[kernels, cython("_dlpack"), cython("_native")], cmdclass={"build_ext": Build, "build_py": Package})
