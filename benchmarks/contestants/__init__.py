"""The contestants: cnnfast on each instruction set, PyTorch, inference engines, and NumPy twice.

`cnnfast-direct` and `cnnfast-winograd` are cnnfast held to one algorithm: they enter the
convolutions where there is a choice. The peak bounds the direct algorithm only.

A contestant has one method for each kind of case that it enters. The method takes the case's
arguments, makes the data and returns a function without arguments: that function is timed, and its
result, brought to a float32 array in logical NCHW by `as_array`, is what the tests compare. Forward
convolutions stand in a `Row`, each with a weight of its own: on the result of the one before where
shapes chain, else all on one image. Inference engines return some of its pixels only
(graph.py). Whoever runs whole networks from a file is a `Loader`, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from .. import exported
from ..cases import Case

MODULES = {
    "pytorch": {"torch"},
    "onnxruntime": {"onnxruntime"},
    "openvino": {"openvino"},
    "ncnn": {"ncnn"},
    "numpy_loops": {"numpy-blas", "numpy"},
}
"""Which contestants each module of this package brings, besides the engine."""

NAMES = ["cnnfast", "cnnfast-direct", "cnnfast-winograd"]
NAMES += [name for names in MODULES.values() for name in sorted(names)]

Run = Callable[[], Any]
"""What is timed."""


@dataclass(frozen=True)
class Row:
    """Several convolutions in one call: what is timed, to be divided by their number."""

    run: Run
    length: int

    def __call__(self) -> Any:
        """Compute all of them and return the last one's result."""
        return self.run()


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


class Loader:
    """A contestant that runs whole networks, each from a file of its own kind."""

    def network_file(self, name: str) -> Path:
        """Return the file to load, made where it is missing; this is not timed."""
        return exported.exported(name)

    def load(self, file: Path, image: np.ndarray) -> Run:
        """Return the network in `file`, ready to be called on images (N, C, H, W)."""
        raise NotImplementedError

    def network(self, name: str, batch: int) -> Run:
        """A whole network; its result is the one output."""
        return self.load(self.network_file(name), exported.image(name, batch))


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

    ways = (None, "direct", "winograd")
    found: list[Contestant] = [Engine(isa, way) for isa in isas for way in ways]
    absent = []
    for name, brought in MODULES.items():
        if brought <= set(skip):
            continue
        try:
            found += import_module(f".{name}", __name__).contestants(isas[0])
        except ImportError as error:
            absent.append(f'without {name}: {error} (pip install ".[bench]")')
    return [one for one in found if one.name not in skip], absent
