"""What the machine can do: builds probe.c with the system's compiler and runs it.

The engine has no part in it. `__main__` probes before and after a run; the higher figure counts.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

SOURCE = Path(__file__).with_name("probe.c")


class Peak(NamedTuple):
    """The rate of fp32 multiply-adds in GFLOP/s, and of reading memory in GB/s."""

    gflops: float
    gbytes: float


class ProbeError(RuntimeError):
    """The probe could not be built or run."""


def _output(command: Sequence[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except OSError as error:
        raise ProbeError(f"{command[0]}: {error.strerror}; set CC to a C compiler") from None
    except subprocess.CalledProcessError as error:
        raise ProbeError(f"{' '.join(command)} failed: {error.stderr.strip()}") from None


def measure(isas: Sequence[str], threads: int) -> dict[str, Peak]:
    """Return the peak for each instruction set on `threads` threads.

    Raises
    ------
    ProbeError
        There is no C compiler with OpenMP.
    """
    compiler = shlex.split(os.environ.get("CC", "cc"))
    with tempfile.TemporaryDirectory() as folder:
        program = str(Path(folder, "probe"))
        _output([*compiler, "-O2", "-fopenmp", str(SOURCE), "-o", program])
        rows = {isa: _output([program, isa, str(threads)]).split() for isa in isas}
    return {isa: Peak(*map(float, row)) for isa, row in rows.items()}


def higher(first: Mapping[str, Peak], second: Mapping[str, Peak]) -> dict[str, Peak]:
    """Return for each instruction set the higher of two measurements of each rate."""
    return {isa: Peak(*map(max, peak, second.get(isa, peak))) for isa, peak in first.items()}


def drift(first: Mapping[str, Peak], second: Mapping[str, Peak]) -> float:
    """Return the largest relative change of a multiply-add rate between two measurements."""
    changes = [abs(second[isa].gflops / peak.gflops - 1) for isa, peak in first.items()]
    return max(changes, default=0.0)
