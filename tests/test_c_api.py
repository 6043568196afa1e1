"""The engine from C alone: tests/c against naive loops, on every instruction set, without Python.

`tests/neon.sh` builds the same program for AArch64 and runs it under qemu.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from engine import ROOT, compile_all, link

from cnnfast import _core


@pytest.fixture(scope="module")
def program(engine: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("c")
    return link([*engine, *compile_all(ROOT.glob("tests/c/*.c"), folder)], folder / "engine_tests")


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
