"""No accumulator of the GEMM tile leaves its register: read from the built code itself.

A compiler that spills one accumulator costs the tile a multiple of its time and no other test
sees it. The innermost loop of `tile_<rows>_<vectors>_<by depth>` must hold exactly rows * vectors
fused multiply-adds and no vector register may meet the stack there. NEON's tile is read where a
compiler for AArch64 is installed.
"""

from __future__ import annotations

import ast
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from cnnfast import _core

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Machine:
    """An architecture: the prefix of its tools, and how its code reads."""

    tools: str
    jump: str
    multiply: str
    spill: str


X86 = Machine("", r"j\w+\s+([0-9a-f]+)", "vfmadd", r"\(%r[sb]p.*%[xyz]mm|%[xyz]mm.*\(%r[sb]p")
ARM = Machine(
    "" if platform.machine() == "aarch64" else "aarch64-linux-gnu-",
    r"(?:b|b\.\w+|cbn?z|tbn?z)\s(?:.*,\s*)?([0-9a-f]+) <", "fmla", r"\b[qv]\d+.*\[sp",
)  # fmt: skip


@dataclass(frozen=True)
class Widest:
    """The largest tile of an instruction set and the registers that hold it."""

    machine: Machine
    rows: int
    vectors: int
    register: str


WIDEST = {
    "avx2": Widest(X86, 4, 3, "%ymm"),
    "avx512": Widest(X86, 14, 2, "%zmm"),
    "neon": Widest(ARM, 7, 3, ".4s"),
}
BUILT = [
    isa
    for isa, widest in WIDEST.items()
    if isa in _core.cpu_info()["isas"]
    or (widest.machine is ARM and shutil.which(ARM.tools + "gcc"))
]
Code = list[tuple[int, str]]
"""Addresses and instructions of one function."""

pytestmark = [
    pytest.mark.skipif(shutil.which("objdump") is None, reason="objdump is not installed"),
    pytest.mark.skipif(
        not _core.cpu_info()["compiler"].startswith("gcc"), reason="the extension is not gcc's"
    ),
]


@dataclass(frozen=True)
class Tile:
    """One instance of the micro-kernel."""

    isa: str
    rows: int
    vectors: int
    by_depth: int


def objdump(machine: Machine, *arguments: str) -> list[str]:
    """The lines that objdump prints."""
    command = [f"{machine.tools}objdump", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def tile_addresses(binary: Path, machine: Machine) -> dict[int, Tile]:
    """Where each tile stands; the symbol table names the source file before its functions."""
    found, isa = {}, ""
    for line in objdump(machine, "-t", str(binary)):
        if match := re.search(r" df \*ABS\*\s+0+\s*(\S*)$", line):
            isa = Path(match[1]).stem
        match = re.match(r"([0-9a-f]+) .* F \.text\s.* tile_(\d+)_(\d+)_([01])$", line)
        if match and isa in WIDEST:
            found[int(match[1], 16)] = Tile(isa, *map(int, match.groups()[1:]))
    return found


def disassemble(binary: Path, machine: Machine) -> dict[Tile, Code]:
    """The instructions of each tile in `binary`; none if its symbols were stripped."""
    addresses = tile_addresses(binary, machine)
    code: dict[Tile, Code] = {tile: [] for tile in addresses.values()}
    current: Code | None = None
    arguments = ("-d", "--no-show-raw-insn", str(binary))
    for line in objdump(machine, *arguments) if addresses else []:
        if match := re.match(r"([0-9a-f]+) <.*>:$", line):
            tile = addresses.get(int(match[1], 16))
            current = None if tile is None else code[tile]
        elif current is not None and (match := re.match(r"\s+([0-9a-f]+):\s+(.*)", line)):
            current.append((int(match[1], 16), match[2].split("#")[0].strip()))
    return code


def compile_isa(isa: str, folder: Path) -> Path:
    """Compile isa/<isa>.c as setup.py does, for an extension whose symbols were stripped."""
    flags: list[str] = []
    for statement in ast.parse((ROOT / "setup.py").read_text()).body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "FLAGS":
            flags = ast.literal_eval(statement.value)
    target = folder / f"{isa}.o"
    source = ROOT / "csrc" / "isa" / f"{isa}.c"
    compiler = f"{WIDEST[isa].machine.tools}gcc"
    command = [compiler, *flags, "-fPIC", "-I", str(ROOT / "csrc"), "-c", str(source), "-o", target]
    subprocess.run(command, check=True)
    return target


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> dict[Tile, Code]:
    """The instructions of every tile, from the extension where it has symbols."""
    native = ARM if ARM.tools == "" else X86
    code = disassemble(Path(_core.__file__), native)
    folder = tmp_path_factory.mktemp("tiles")
    for isa in BUILT:
        if isa not in {tile.isa for tile in code}:
            code |= disassemble(compile_isa(isa, folder), WIDEST[isa].machine)
    return code


def innermost_loops(code: Code, machine: Machine) -> list[list[str]]:
    """Bodies of the loops with multiply-adds that contain no other loop."""
    jumps = [(address, re.match(machine.jump, text)) for address, text in code]
    loops = [(int(to[1], 16), address) for address, to in jumps if to and int(to[1], 16) <= address]
    inner = [
        (start, end)
        for start, end in loops
        if not any((s, e) != (start, end) and start <= s and e <= end for s, e in loops)
    ]
    bodies = [[text for at, text in code if start <= at <= end] for start, end in inner]
    return [body for body in bodies if any(t.startswith(machine.multiply) for t in body)]


@pytest.mark.parametrize("isa", BUILT)
def test_inner_loops_hold_the_accumulators_in_registers(tiles: dict[Tile, Code], isa: str) -> None:
    mine = {tile: code for tile, code in tiles.items() if tile.isa == isa}
    widest = WIDEST[isa]
    machine = widest.machine
    assert {(t.rows, t.vectors, t.by_depth) for t in mine} == {
        (i + 1, j + 1, d) for i in range(widest.rows) for j in range(widest.vectors) for d in (0, 1)
    }
    for tile, code in mine.items():
        bodies = innermost_loops(code, machine)  # several, where the compiler made versions of one
        assert bodies, tile
        for body in bodies:
            multiplies = [t for t in body if t.startswith(machine.multiply)]
            vectors = [t for t in multiplies if widest.register in t]
            assert len(vectors) == tile.rows * tile.vectors, (tile, body)
            spills = [t for t in body if re.search(machine.spill, t)]
            assert not spills, (tile, spills)
