"""Build of the one extension: csrc/**/*.c and cnnfast/_core.pyx.

Everything else about the package stands in pyproject.toml. Instruction sets are chosen at run
time, so no flag here names one. OpenMP is used where the compiler has it; without it the engine
runs serially and ``cnnfast info`` says so. CNNFAST_DEBUG=1 turns bounds checks and asserts on.
"""

import os
import subprocess
import tempfile
from pathlib import Path

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

DEBUG = os.environ.get("CNNFAST_DEBUG") == "1"
# No fast-math: it would flush denormals in the whole process and break NaN handling.
FLAGS = ["-O3", "-std=gnu11", "-fno-math-errno", "-fno-trapping-math", "-fvisibility=hidden"]
WARNINGS = ["-Wall", "-Wextra", "-Wno-unknown-pragmas", "-Wno-psabi"]
NUMPY_API = "NPY_1_7_API_VERSION"


def has_openmp(compiler: list[str]) -> bool:
    """Tell whether the compiler builds and links a program with -fopenmp."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "probe.c")
        source.write_text("#include <omp.h>\nint main(void) { return omp_get_max_threads(); }\n")
        command = [*compiler, "-fopenmp", str(source), "-o", str(Path(folder, "probe"))]
        try:
            return subprocess.run(command, capture_output=True, check=False).returncode == 0
        except OSError:
            return False


class BuildExtension(build_ext):
    """Adds OpenMP's flags once the compiler is known."""

    def build_extensions(self) -> None:
        driver = [part for part in self.compiler.compiler_so if not part.startswith("-")]
        openmp = has_openmp(driver)
        if not openmp:
            print("cnnfast: this compiler has no OpenMP; the engine is built to run serially")
        for extension in self.extensions:
            extension.extra_compile_args += ["-fopenmp"] if openmp else []
            extension.extra_link_args += ["-fopenmp"] if openmp else []
        super().build_extensions()


sources = sorted(str(path) for path in Path("csrc").glob("*/*.c"))
headers = sorted(str(path) for path in Path("csrc").rglob("*.*") if path.suffix != ".c")
core = Extension(
    "cnnfast._core",
    sources=["cnnfast/_core.pyx", *sources],
    depends=[*headers, *sorted(str(path) for path in Path("cnnfast/binding").glob("*.pxi"))],
    include_dirs=["csrc", numpy.get_include()],
    define_macros=[("NPY_NO_DEPRECATED_API", NUMPY_API)],
    extra_compile_args=FLAGS + WARNINGS + (["-O1", "-g", "-UNDEBUG"] if DEBUG else ["-g0"]),
)
setup(
    ext_modules=cythonize(
        [core],
        compiler_directives={
            "language_level": 3,
            "boundscheck": DEBUG,
            "wraparound": False,
            "initializedcheck": DEBUG,
            "freethreading_compatible": True,
        },
    ),
    cmdclass={"build_ext": BuildExtension},
)
