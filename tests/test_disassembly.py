"""No accumulator of the GEMM tile leaves its register: read from the built code itself.

A compiler that spills one accumulator costs the tile a multiple of its time and no other test
sees it. The innermost loop of `tile_<rows>_<vectors>_<by depth>` must hold exactly rows * vectors
fused multiply-adds and no vector register may meet the stack there.
"""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from cnnfast import _core

ROOT = Path(__file__).parents[1]
WIDEST = {"avx2": (6, 2), "avx512": (14, 2)}
REGISTER = {"avx2": "%ymm", "avx512": "%zmm"}
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


def objdump(*arguments: str) -> list[str]:
    """The lines that objdump prints."""
    command = ["objdump", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def tile_addresses(binary: Path) -> dict[int, Tile]:
    """Where each tile stands; the symbol table names the source file before its functions."""
    found, isa = {}, ""
    for line in objdump("-t", str(binary)):
        if match := re.search(r" df \*ABS\*\s+0+\s*(\S*)$", line):
            isa = Path(match[1]).stem
        match = re.match(r"([0-9a-f]+) .* F \.text\s.* tile_(\d+)_(\d+)_([01])$", line)
        if match and isa in WIDEST:
            found[int(match[1], 16)] = Tile(isa, *map(int, match.groups()[1:]))
    return found


def disassemble(binary: Path) -> dict[Tile, Code]:
    """The instructions of each tile in `binary`; none if its symbols were stripped."""
    addresses = tile_addresses(binary)
    code: dict[Tile, Code] = {tile: [] for tile in addresses.values()}
    current: Code | None = None
    for line in objdump("-d", "--no-show-raw-insn", str(binary)) if addresses else []:
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
    command = ["gcc", *flags, "-fPIC", "-I", str(ROOT / "csrc"), "-c", str(source), "-o", target]
    subprocess.run(command, check=True)
    return target


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> dict[Tile, Code]:
    """The instructions of every tile of AVX2 and AVX-512."""
    code = disassemble(Path(_core.__file__))
    if not code and "avx2" in _core.cpu_info()["isas"]:
        folder = tmp_path_factory.mktemp("tiles")
        for isa in WIDEST:
            code |= disassemble(compile_isa(isa, folder))
    return code


def innermost_loops(code: Code) -> list[list[str]]:
    """Bodies of the loops with multiply-adds that contain no other loop."""
    jumps = [(address, re.match(r"j\w+\s+([0-9a-f]+)", text)) for address, text in code]
    loops = [(int(to[1], 16), address) for address, to in jumps if to and int(to[1], 16) <= address]
    inner = [
        (start, end)
        for start, end in loops
        if not any((s, e) != (start, end) and start <= s and e <= end for s, e in loops)
    ]
    bodies = [[text for at, text in code if start <= at <= end] for start, end in inner]
    return [body for body in bodies if any(text.startswith("vfmadd") for text in body)]


@pytest.mark.parametrize("isa", WIDEST)
def test_inner_loops_hold_the_accumulators_in_registers(tiles: dict[Tile, Code], isa: str) -> None:
    if isa not in _core.cpu_info()["isas"]:
        pytest.skip(f"not built for, or not run on, a machine with {isa}")
    mine = {tile: code for tile, code in tiles.items() if tile.isa == isa}
    rows, vectors = WIDEST[isa]
    assert {(t.rows, t.vectors, t.by_depth) for t in mine} == {
        (i + 1, j + 1, d) for i in range(rows) for j in range(vectors) for d in (0, 1)
    }
    for tile, code in mine.items():
        bodies = innermost_loops(code)  # several, where the compiler made versions of one
        assert bodies, tile
        for body in bodies:
            multiplies = [t for t in body if t.startswith("vfmadd") and REGISTER[isa] in t]
            assert len(multiplies) == tile.rows * tile.vectors, (tile, body)
            spills = [t for t in body if re.search(r"\(%r[sb]p", t) and re.search(r"%[xyz]mm", t)]
            assert not spills, (tile, spills)
