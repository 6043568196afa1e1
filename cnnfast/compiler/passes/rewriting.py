"""What passes ask of a graph: who makes a value, who reads it; and how they change it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from ...graph import Graph, Node

__all__ = ["Draft"]

_KEEPING = frozenset({
    "Relu", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "BatchNormalization",
    "Clip", "Sigmoid", "HardSwish", "HardSigmoid", "Swish", "LeakyRelu", "Tanh", "LRN", "Elu",
    "Cast",
})  # fmt: skip
"""Operators whose result has the axes and as many channels as their first input."""


class Draft:
    """A graph that a pass is rewriting.

    Attributes
    ----------
    nodes : list of Node
        In order; a pass may replace a node or put None in its place.
    constants : dict
        Name to array.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: list[Node | None] = list(graph.nodes)
        self.constants = dict(graph.constants)
        self._maker: dict[str, int] = {}
        self._readers: dict[str, list[int]] = {}
        self._outside = set(graph.outputs)  # read by somebody who is not a node of the graph
        for number, node in enumerate(graph.nodes):
            self._enter(number, node)

    def _enter(self, number: int, node: Node) -> None:
        self._maker.update((name, number) for name in node.outputs if name)
        for name in node.inputs:
            self._readers.setdefault(name, []).append(number)
        for value in node.attributes.values():
            if isinstance(value, Graph):
                self._outside |= value.free_names()

    # ---- questions -----------------------------------------------------------------------------

    def constant(self, name: str) -> np.ndarray | None:
        """Return the constant `name`, None for any other value."""
        return self.constants.get(name)

    def maker(self, name: str, *operators: str) -> int | None:
        """Return the number of the node that makes `name`, if it is one of `operators`."""
        number = self._maker.get(name)
        if number is None:
            return None
        node = self.nodes[number]
        return number if node is not None and node.operator in operators else None

    def only_reader(self, name: str) -> int | None:
        """Return the number of the one node that reads `name`, None where there are others."""
        readers = self.readers(name)
        return readers[0] if len(readers) == 1 and name not in self._outside else None

    def readers(self, name: str) -> list[int]:
        """Return the numbers of the nodes that read `name`, one twice that reads it twice."""
        return list(self._readers.get(name, []))

    def is_read(self, name: str) -> bool:
        """Whether anybody reads the value `name`."""
        return bool(self._readers.get(name)) or name in self._outside

    def origin(self, name: str) -> str:
        """Return the value of as many axes and channels that `name` is computed from."""
        while (number := self.maker(name, *_KEEPING)) is not None:
            name = self.node(number).inputs[0]
        return name

    def channels(self, name: str, rank: int) -> int | None:
        """Return how many channels an image of `rank` axes has, None where that is not known."""
        name = self.origin(name)
        number = self.maker(name, "Conv", "FusedConv", "Transpose")
        if number is not None and self.node(number).operator != "Transpose":
            weight = self.constant(self.node(number).inputs[1])
            return weight.shape[0] if weight is not None and weight.ndim == rank else None
        axis = 1
        if number is not None:
            axis = self.node(number).attributes.get("perm", [0, rank - 2])[1]
            name = self.node(number).inputs[0]
        _, shape = self.graph.inputs.get(name, ("", None))
        size = shape[axis] if shape is not None and len(shape) == rank else None
        return size if isinstance(size, int) and size > 0 else None

    def node(self, number: int) -> Node:
        """Return node `number`, which the pass has not removed."""
        node = self.nodes[number]
        assert node is not None
        return node

    # ---- changes -------------------------------------------------------------------------------

    def add_constant(self, stem: str, array: np.ndarray) -> str:
        """Return the name of a new constant."""
        name = self.free_name(stem)
        self.constants[name] = np.ascontiguousarray(array)
        return name

    def free_name(self, stem: str) -> str:
        """Return a name that no value has."""
        name, count = stem, 0
        while name in self.constants or name in self._maker or name in self.graph.inputs:
            count += 1
            name = f"{stem}.{count}"
        return name

    def put(self, number: int, node: Node, removed: Iterable[int] = ()) -> None:
        """Let `node` stand at place `number`, instead of the nodes `removed` as well."""
        for other in (number, *removed):
            self._remove(other)
        self.nodes[number] = node
        self._enter(number, node)

    def _remove(self, number: int) -> None:
        old = self.nodes[number]
        if old is not None:
            for name in old.inputs:
                self._readers[name].remove(number)
            self.nodes[number] = None

    def forward(self, number: int, name: str) -> None:
        """Remove node `number`, whose first output is the value `name`."""
        old = self.node(number)
        self._remove(number)
        result = old.outputs[0]
        if result in self._outside:  # keep the output's name
            self.nodes[number] = Node("Identity", [name], [result])
            self._enter(number, self.node(number))
            return
        for reader in self._readers.pop(result, []):
            node = self.node(reader)
            inputs = [name if read == result else read for read in node.inputs]
            self.nodes[reader] = replace(node, inputs=inputs)
            self._readers.setdefault(name, []).append(reader)

    def finish(self) -> Graph:
        """Return the rewritten graph."""
        nodes = [node for node in self.nodes if node is not None]
        return replace(self.graph, nodes=nodes, constants=self.constants)
