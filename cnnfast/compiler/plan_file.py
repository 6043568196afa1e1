"""Plans in files: what `cnf_model_open` of csrc/cnnfast.h runs without Python.

A plan is one tensor of int64 words, whose order stands at the head of csrc/plan/model.c. It is
recorded anew and in one piece, with every weight as it is: whoever opens the file packs for the
instruction set at hand. Constants that are tensors of the file already are named, all others
(tables of taps, weights that operators rearrange) are tensors beside the plan.
"""

from __future__ import annotations

import ctypes
import json
import struct
from collections.abc import Mapping

import numpy as np

from .. import _core
from ..graph import Graph
from .plan import Layout, Signature, address_of, lay_out, live_calls, memory_of, signature_of
from .program import record

__all__ = ["plan_tensors"]

_MAGIC = int.from_bytes(b"cnfplan1", "little")
_PACKS = ("conv2d_pack_forward", "conv2d_pack_backward")


def plan_tensors(
    graph: Graph, inputs: Signature, threads: int, tensors: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return the tensors that a file of `tensors` needs beside them for C to run `graph`.

    Parameters
    ----------
    graph : Graph
    inputs : tuple of (shape, dtype)
        In the order of the graph's inputs.
    threads : int
        At most so many; 0 for the usual number.
    tensors : mapping
        Name to C-contiguous array: what the file holds.

    Raises
    ------
    ValueError
        Where a part of the graph looks at values, so that it cannot be planned.
    """
    recording, arrays, outputs = record(graph, inputs)
    layout = lay_out(recording, live_calls(recording), arrays, outputs)
    constants = _Constants(tensors)
    origins: dict[int, np.ndarray] = {}
    for _, name, _, (packed, weight, *_), *_ in recording.calls:
        if name in _PACKS and packed is not None and weight is not None:
            origins[id(memory_of(packed))] = weight
    places = [constants.find(origins.get(id(memory), memory)) for memory in layout.constants]
    ends = [*zip(graph.inputs, inputs, strict=True),
            *zip(graph.outputs, signature_of(outputs), strict=True)]
    words = [struct.pack(
        "<8q", _MAGIC, _core.plan_version(), threads, layout.arena, len(inputs), len(outputs),
        len(constants.names), len(layout.calls),
    )]  # fmt: skip
    for name, (shape, dtype) in ends:
        sizes = (_core.TYPE_NUMBERS[dtype], len(shape), *shape)
        words += [struct.pack(f"<{len(sizes)}q", *sizes), _name(name)]
    words += map(_name, constants.names)
    words += _calls(layout, 2 + len(ends), places)
    return {**constants.added, "plan": np.frombuffer(b"".join(words), np.int64)}


class _Constants:
    """The tensors that a plan names, and those among them that a file lacks so far."""

    def __init__(self, tensors: Mapping[str, np.ndarray]) -> None:
        plain = {name: a for name, a in tensors.items() if a.nbytes and _is_plain(name)}
        self._spans = sorted(
            (address_of(a), address_of(a) + a.nbytes, name) for name, a in plain.items())
        self._starts = np.array([start for start, _, _ in self._spans], np.int64)
        self.names: list[str] = []
        self.added: dict[str, np.ndarray] = {}

    def find(self, memory: np.ndarray) -> tuple[int, int]:
        """Return the number of the tensor that `memory` lies in, and the offset there in bytes."""
        low, high = map(int, np.lib.array_utils.byte_bounds(memory))
        at = int(np.searchsorted(self._starts, low, side="right")) - 1
        if at >= 0 and high <= self._spans[at][1]:
            name = self._spans[at][2]
            return self._number(name), low - self._spans[at][0]
        name = f"plan/{len(self.added)}"
        data = ctypes.string_at(low, high - low)
        self.added[name] = np.frombuffer(data + bytes(-len(data) % 8), np.int64)
        return self._number(name), 0

    def _number(self, name: str) -> int:
        if name not in self.names:
            self.names.append(name)
        return self.names.index(name)


def _is_plain(name: str) -> bool:
    """Whether JSON writes a name as it is: the reader in C compares what stands in the file."""
    return json.dumps(name, ensure_ascii=False) == f'"{name}"'


def _name(name: str) -> bytes:
    data = name.encode()
    return struct.pack("<q", len(data)) + data + bytes(8 - len(data) % 8)


def _calls(layout: Layout, first: int, places: list[tuple[int, int]]) -> list[bytes]:
    """Return the calls' words; constants are those from base `first` on."""
    words = []
    for number, descriptor, bases, offsets in layout.calls:
        row = [number]
        for base, offset in zip(bases, offsets, strict=True):
            if base >= first:
                tensor, start = places[base - first]
                base, offset = first + tensor, offset + start
            row += [base, offset]
        words += [struct.pack(f"<{len(row)}q", *row), descriptor, bytes(-len(descriptor) % 8)]
    return words
