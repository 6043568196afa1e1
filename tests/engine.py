"""Builds the engine's C files for programs that know it by cnnfast.h alone."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cnnfast import _core

ROOT = Path(__file__).parents[1]
COMPILER = shlex.split(os.environ.get("CC", "cc"))
WARNINGS = ["-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas", "-Wno-psabi"]
OPENMP = ["-fopenmp"] if _core.cpu_info()["openmp"] else []
QUICK = ("-O1",)
"""Half the time of a build with -O3; what the compiler contracts differs in the last place."""


def compile_all(sources: Iterable[Path], folder: Path, flags: Iterable[str] = QUICK) -> list[Path]:
    """Compile each source to an object in `folder`; return the objects."""

    def compile_one(source: Path) -> Path:
        target = folder / f"{source.parent.name}_{source.stem}.o"
        command = [*COMPILER, "-std=gnu11", *WARNINGS, *OPENMP, *flags, "-I", ROOT / "csrc"]
        subprocess.run([*command, "-c", source, "-o", target], check=True)
        return target

    with ThreadPoolExecutor() as pool:
        return list(pool.map(compile_one, sources))


def link(objects: Iterable[Path], program: Path, flags: Iterable[str] = ()) -> Path:
    """Link objects to a program; return it."""
    command = [*COMPILER, *OPENMP, *flags, *objects, "-lm", "-lpthread", "-o", program]
    subprocess.run(command, check=True)
    return program
