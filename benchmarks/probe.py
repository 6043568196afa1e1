"""What the machine can do: probe.c, built with the system's compiler and timed like a contestant.

The engine has no part in it. The pace of a machine changes by 5 % and more within minutes, so each
case has its own peak: the probe takes turns with the case's contestants.
"""

from __future__ import annotations

import ctypes
import os
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

SOURCE = Path(__file__).with_name("probe.c")

STEPS = 300_000
"""Multiply-adds of each chain in a call: a vector unit with two of them a cycle takes half a
millisecond, so that starting the threads does not count."""

FLOATS = 2**25
"""What each thread reads in a call: 128 MiB, far more than any cache."""


class ProbeError(RuntimeError):
    """The probe could not be built."""


def _build(program: str) -> None:
    compiler = shlex.split(os.environ.get("CC", "cc"))
    command = [*compiler, "-O2", "-fopenmp", "-shared", "-fPIC", str(SOURCE), "-o", program]
    try:
        subprocess.run(command, capture_output=True, text=True, check=True)
    except OSError as error:
        raise ProbeError(f"{command[0]}: {error.strerror}; set CC to a C compiler") from None
    except subprocess.CalledProcessError as error:
        raise ProbeError(f"{' '.join(command)} failed: {error.stderr.strip()}") from None


class Probe:
    """The machine's peak rates, on a number of threads.

    Raises
    ------
    ProbeError
        There is no C compiler with OpenMP.
    """

    def __init__(self, threads: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            program = str(Path(folder, "probe.so"))
            _build(program)
            self._library = ctypes.CDLL(program)
        self._library.probe_multiply.restype = ctypes.c_double
        self._library.probe_multiply.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.c_long]
        self._library.probe_read.argtypes = [
            ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int]  # fmt: skip
        self._library.probe_read.restype = None
        self.threads = threads
        self._floats: np.ndarray | None = None

    def multiplying(self, isa: str) -> tuple[Callable[[], object], float]:
        """Return a function that multiplies and adds with `isa`, and its operations a call."""
        multiply, name = self._library.probe_multiply, isa.encode()
        return lambda: multiply(name, self.threads, STEPS), multiply(name, self.threads, STEPS)

    def reading(self) -> tuple[Callable[[], object], float]:
        """Return a function that reads main memory, and the bytes that it reads a call."""
        read = self._library.probe_read
        if self._floats is None:
            self._floats = np.empty(FLOATS * self.threads, np.float32)
            read(self._floats.ctypes.data, FLOATS, self.threads, 1)
        address = self._floats.ctypes.data
        return lambda: read(address, FLOATS, self.threads, 0), 4.0 * FLOATS * self.threads

    def works(
        self, isas: Sequence[str], in_memory: bool
    ) -> list[tuple[Sequence[str], Callable[[], object], float]]:
        """Return what to time for a case's peak: of which instruction sets, and work of a call."""
        if in_memory:
            return [(isas, *self.reading())]
        return [([isa], *self.multiplying(isa)) for isa in isas]
