"""The contestants: cnnfast on each instruction set, NumPy twice, and PyTorch.

`cnnfast-direct` is cnnfast where it may not use Winograd's algorithm: it enters the convolutions
where that makes a difference, since the peak bounds the direct algorithm only.

A contestant has one method for each kind of case. The method takes the case's arguments, makes the
data and returns a function without arguments: that function is timed, and its result, brought to a
float32 array in logical NCHW by `as_array`, is what the tests compare.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, Protocol

import numpy as np

from ..cases import Case

Run = Callable[[], Any]
"""What is timed."""


class Contestant(Protocol):
    """What the runner asks of a contestant besides the methods named as the kinds of cases."""

    name: str
    isa: str  # the instruction set whose peak its speed is compared with
    package: str  # what it imports
    prepares: bool  # whether a first call does work that later calls need not do
    pace: float  # FLOP/s that it reaches at least, to tell in advance how long a call will take

    def activate(self, threads: int) -> None:
        """Set the instruction set and the number of threads."""
        ...

    def fits(self, case: Case) -> bool:
        """Whether the case says anything about this contestant."""
        ...

    def as_array(self, result: Any) -> np.ndarray:
        """Return what a timed function returned as an ndarray."""
        ...


def label(contestant: Contestant) -> str:
    """Return the name to print: with the instruction set where the contestant can choose it."""
    engine = contestant.name.startswith("cnnfast")
    return f"{contestant.name} {contestant.isa}" if engine else contestant.name


def line_up(isas: Sequence[str], skip: Sequence[str]) -> tuple[list[Contestant], list[str]]:
    """Return the contestants, and a line for each that could not come.

    Parameters
    ----------
    isas : sequence of str
        Instruction sets for cnnfast, best first.
    skip : sequence of str
        Names of contestants to leave out.
    """
    from .engine import Engine

    found: list[Contestant] = [Engine(isa, direct) for isa in isas for direct in (False, True)]
    absent = []
    for name, brought in (("pytorch", {"torch"}), ("numpy_loops", {"numpy", "numpy-blas"})):
        if brought <= set(skip):
            continue
        try:
            found += import_module(f".{name}", __name__).contestants(isas[0])
        except ImportError as error:
            absent.append(f'without {name}: {error} (pip install ".[bench]")')
    return [one for one in found if one.name not in skip], absent
