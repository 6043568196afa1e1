"""The engine from C alone: tests/c against naive loops, on every instruction set, without Python.

`tests/neon.sh` builds the same program for AArch64 and runs it under qemu.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cnnfast import _core

ROOT = Path(__file__).parents[1]
COMPILER = shlex.split(os.environ.get("CC", "cc"))
# -O1 halves the time of the build; setup.py's other flags change no value.
FLAGS = ["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Wno-unknown-pragmas", "-Wno-psabi"]
OPENMP = ["-fopenmp"] if _core.cpu_info()["openmp"] else []


def build(folder: Path) -> Path:
    """Compile the engine and the tests; return the program."""

    def compile_one(source: Path) -> Path:
        target = folder / f"{source.parent.name}_{source.stem}.o"
        command = [*COMPILER, *FLAGS, *OPENMP, "-I", ROOT / "csrc", "-c", source, "-o", target]
        subprocess.run(command, check=True)
        return target

    sources = [*ROOT.glob("csrc/*/*.c"), *ROOT.glob("tests/c/*.c")]
    with ThreadPoolExecutor() as pool:
        objects = list(pool.map(compile_one, sources))
    program = folder / "engine_tests"
    subprocess.run([*COMPILER, *OPENMP, *objects, "-lm", "-lpthread", "-o", program], check=True)
    return program


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("c"))


@pytest.mark.parametrize("name", _core.cpu_info()["isas"])
def test_c_program(program: Path, name: str) -> None:
    """The primitives, with CNNFAST_ISA choosing the instruction set before the tests force it."""
    environment = os.environ | {"CNNFAST_ISA": name, "GOMP_SPINCOUNT": "2000"}
    done = subprocess.run(
        [program, name], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(f"took {name}\n")


def test_c_program_refuses_an_unknown_instruction_set(program: Path) -> None:
    done = subprocess.run([program, "abacus"], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "this machine has no abacus" in done.stderr
