"""The one graph of the project: operators in the vocabulary of the ONNX standard.

A graph is generic in shapes: an axis may be known, named or unknown. `cnnfast.onnx.reader` makes
graphs from files and `cnnfast.onnx.interpreter` runs them; run inside a `_core.Recording`, a graph
becomes a list of primitives for the shapes at hand. Nothing here needs the `onnx` package.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

__all__ = ["Axis", "Graph", "Node", "ValueType"]

Axis = int | str | None
"""Size of an axis: known, named (equal names are equal sizes) or unknown."""
ValueType = tuple[str, tuple[Axis, ...] | None]
"""NumPy's (or ml_dtypes') name of the elements' type, and the shape, None for an unknown rank."""


@dataclass
class Node:
    """One operator applied to values.

    Attributes
    ----------
    operator : str
        As the standard names it, e.g. ``"Conv"``.
    inputs, outputs : list of str
        Names of values; an empty name is an optional one left out.
    attributes : dict
        Integers, floats, strings, lists of these, arrays, or graphs (If, Loop, Scan).
    domain : str
        Of the operator; empty for the standard's own.
    name : str
        For messages.
    """

    operator: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any] = field(default_factory=dict)
    domain: str = ""
    name: str = ""

    def reads(self) -> set[str]:
        """Return the names that the node reads, those inside its graphs included."""
        names = set(self.inputs)
        for value in self.attributes.values():
            if isinstance(value, Graph):
                names |= value.free_names()
        return names


@dataclass
class Graph:
    """Nodes in an order in which they can run, and the values around them.

    Attributes
    ----------
    nodes : list of Node
        Each after those whose outputs it reads.
    inputs : dict
        Name to `ValueType`, in the order of the inputs.
    outputs : list of str
        Names of the results.
    constants : dict
        Name to array: weights.
    opset : dict
        Domain to version of its operators.

    Examples
    --------
    >>> from cnnfast.graph import Graph, Node
    >>> graph = Graph([Node("Relu", ["x"], ["y"])], {"x": ("float32", (None, 3))}, ["y"])
    >>> Graph.from_json(*graph.to_json()) == graph
    True
    """

    nodes: list[Node]
    inputs: dict[str, ValueType]
    outputs: list[str]
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    opset: dict[str, int] = field(default_factory=dict)

    def walk(self) -> Iterator[Node]:
        """Yield all nodes, those of graphs inside attributes included."""
        for node in self.nodes:
            yield node
            for value in node.attributes.values():
                if isinstance(value, Graph):
                    yield from value.walk()

    def free_names(self) -> set[str]:
        """Return the names that this graph reads from the graph around it."""
        known = {"", *self.inputs, *self.constants}
        free: set[str] = set()
        for node in self.nodes:
            free |= node.reads() - known
            known.update(node.outputs)
        return free | {name for name in self.outputs if name not in known}

    def to_json(self) -> tuple[str, dict[str, np.ndarray]]:
        """Return the structure as JSON and, by name, all arrays: constants and attributes."""
        arrays: dict[str, np.ndarray] = {}
        return json.dumps(_encode(self, "", arrays)), arrays

    @classmethod
    def from_json(cls, text: str, arrays: Mapping[str, np.ndarray]) -> Graph:
        """Return the graph that `to_json` wrote."""
        graph = _decode(json.loads(text), arrays)
        if not isinstance(graph, cls):
            raise ValueError(f"expected a graph in JSON, got {text[:60]!r}")
        return graph


def _encode(value: Any, path: str, arrays: dict[str, np.ndarray]) -> Any:
    """Return `value` as JSON can hold it; arrays go to `arrays` under a path that is unique."""
    if isinstance(value, Graph):
        constants = {name: f"{path}constants/{name}" for name in value.constants}
        arrays.update((key, value.constants[name]) for name, key in constants.items())
        nodes = [_encode(n, f"{path}{i}/", arrays) for i, n in enumerate(value.nodes)]
        return {
            "graph": nodes, "inputs": [[n, *kind] for n, kind in value.inputs.items()],
            "outputs": value.outputs, "constants": constants, "opset": value.opset,
        }
    if isinstance(value, Node):
        attributes = {
            name: _encode(part, f"{path}{name}/", arrays) for name, part in value.attributes.items()
        }
        return {
            "operator": value.operator, "inputs": value.inputs, "outputs": value.outputs,
            "attributes": attributes, "domain": value.domain, "name": value.name,
        }
    if isinstance(value, np.ndarray):
        arrays[path] = value
        return {"array": path}
    return value


def _decode(value: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    if not isinstance(value, dict):
        return value
    if "array" in value:
        return arrays[value["array"]]
    if "operator" in value:
        parts = {name: _decode(part, arrays) for name, part in value["attributes"].items()}
        return Node(**{**value, "attributes": parts})
    inputs: dict[str, ValueType] = {
        name: (dtype, None if shape is None else tuple(shape))
        for name, dtype, shape in value["inputs"]
    }
    constants = {name: arrays[key] for name, key in value["constants"].items()}
    nodes = [_decode(node, arrays) for node in value["graph"]]
    return Graph(nodes, inputs, value["outputs"], constants, value["opset"])
