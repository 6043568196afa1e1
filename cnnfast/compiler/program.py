"""A graph for given input shapes: a plan, and what is left to run operator by operator.

Operators are recorded one by one. One that looks at values of the input (NonMaxSuppression, a
computation in whole numbers), and all that follows from it, cannot be part of a plan: these nodes
run eagerly on the plan's results.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import _core
from ..autograd import no_grad
from ..graph import Graph, Node, ValueType
from ..onnx.interpreter import constants_of, evaluate, execute
from ..onnx.operators.values import Value, array, on_host_read, wrapped
from ..tensor import Tensor
from .concat import Places, is_same
from .parts import choose_parts, crossing_values, traffic_of
from .plan import Signature, dense_outputs, live_calls, plan_of, recording_lock
from .unknown import DataDependent, Unknown, refuse, unknown, unknown_like

__all__ = ["Program", "make_program", "own_arrays"]


@dataclass
class Program:
    """A graph ready to run on arrays of given shapes.

    Attributes
    ----------
    plans : list of Plan
        The first reads the inputs, each other one what the one before computed, the last computes
        `names`.
    names : list of str
        Values that the plan computes.
    rest : Graph or None
        What runs afterwards, from the graph's inputs and `names` to the graph's outputs.
    known : dict
        Values that `rest` reads and that are the same in every run.
    labels : list of (list of int)
        For each plan and each of its calls, the number of the node that it belongs to, -1 where it
        copies a result.
    """

    plans: list[_core.Plan]
    names: list[str]
    rest: Graph | None
    known: dict[str, Value]
    labels: list[list[int]]

    def run(self, arrays: tuple[np.ndarray, ...]) -> list[Any] | None:
        """Return the graph's outputs, None where the arrays are not of the program's shapes."""
        results = self.plans[0].run(arrays)
        if results is None:
            return None
        for plan in self.plans[1:]:
            results = plan.run(tuple(results))
            assert results is not None
        return results if self.rest is None else self.finish(arrays, results)

    def finish(self, arrays: tuple[np.ndarray, ...], results: list[np.ndarray]) -> list[Any]:
        """Return the graph's outputs from its inputs and the plan's results."""
        assert self.rest is not None
        named = zip((*self.rest.inputs, *self.names), (*arrays, *results), strict=True)
        values = {**self.known, **{name: wrapped(value) for name, value in named}}
        return own_arrays(evaluate(self.rest, values))


def own_arrays(values: list[Value]) -> list[Any]:
    """Return results of operators as C-contiguous arrays that share no memory with anything."""
    return [
        own_arrays(value) if isinstance(value, list) else
        None if value is None else np.array(array(value), order="C") for value in values
    ]


_RESULTS = -1

_OF_SHAPES = frozenset({"Shape", "Size", "EyeLike", "Dropout"})
"""Operators whose result may be known where their input is not."""


class _Walk:
    """Records the nodes of a graph in order."""

    def __init__(
        self, graph: Graph, constants: Mapping[str, Value], arrays: list[np.ndarray],
        places: Places | None = None,
    ) -> None:
        self.graph = graph
        self.places = places
        self.recording = _core.Recording(Unknown)
        self.arrays = arrays
        self.known: dict[str, Value] = {"": None, **constants}
        self.rest: list[Node] = []
        self.late: set[str] = set()
        self.finished = True  # the plan computes the graph's outputs
        self.labels: list[int] = []
        for name, value in zip(graph.inputs, self.arrays, strict=True):
            self.recording.add_unknown(value)
            self.known[name] = wrapped(value)

    def run(self) -> None:
        """Record what can be recorded."""
        token = on_host_read.set(self._refuse_read)
        try:
            for number, node in enumerate(self.graph.nodes):
                names = node.reads()
                if names & self.late or not self._record(node, names):
                    self.rest.append(node)
                    self.late.update(node.outputs)
                    self.finished = False
                self.labels += [number] * (len(self.recording) - len(self.labels))
        finally:
            on_host_read.reset(token)

    def _refuse_read(self, read: np.ndarray) -> None:
        if self.recording.is_unknown(read):
            refuse("an operator")

    def _record(self, node: Node, names: set[str]) -> bool:
        """Compute a node of known values, record any other; False where neither can be done."""
        before = len(self.recording)
        try:
            if any(self.is_unknown(self.known[name]) for name in names):
                with self.recording:
                    results = self._execute(node)
                if node.operator not in _OF_SHAPES and not all(map(self.is_unknown, results)):
                    refuse(node.operator)
                if any(isinstance(result, list) for result in results):
                    refuse(node.operator)
            else:
                results = execute(node, self.known, self.graph.opset)
        except DataDependent:
            self.recording.truncate(before)
            return False
        self.known.update(zip(node.outputs, results, strict=True))
        return True

    def _execute(self, node: Node) -> list[Value]:
        """Record a node, so that its result stands in its place where it has one."""
        if self.places is None:
            return execute(node, self.known, self.graph.opset)
        if node.operator == "Concat":
            joined = self.places.join(node, [self.known[name].array for name in node.inputs])
            if joined is not None:
                return [Tensor.wrap(joined)]
        before, place = len(self.recording), self.places.destination(node)
        self.recording.destination = place
        results = execute(node, self.known, self.graph.opset)
        self.recording.destination = None
        if place is None or is_same(results[0].array, place):
            return results
        self.recording.truncate(before)  # a view, or something else took the place
        return execute(node, self.known, self.graph.opset)

    def images(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of all recorded images, by name."""
        return {
            name: value.shape for name, value in self.known.items()
            if isinstance(value, Tensor) and value.ndim == 4 and self.is_unknown(value)
        }

    def is_unknown(self, value: Value) -> bool:
        """Whether a value depends on the inputs' values."""
        if isinstance(value, list):
            return any(map(self.is_unknown, value))
        held = value.array if isinstance(value, Tensor) else value
        return isinstance(held, np.ndarray) and self.recording.is_unknown(held)

    def postpone_all(self) -> None:
        """Leave every node to be run afterwards."""
        self.recording.truncate(0)
        self.rest, self.labels, self.finished = list(self.graph.nodes), [], False
        self.late = {name for node in self.rest for name in node.outputs}

    def read_by_rest(self) -> set[str]:
        """Return the names that come from before the rest and are no inputs of the graph."""
        read = set(self.graph.outputs).union(*(node.reads() for node in self.rest))
        return read - self.late - {"", *self.graph.inputs}

    def leaving(self, *, images: bool = False) -> tuple[list[str], list[np.ndarray]]:
        """Return names and arrays of what the plan must compute; `images` as in dense_outputs."""
        names = self.graph.outputs
        if not self.finished:
            names = sorted(n for n in self.read_by_rest() if self.is_unknown(self.known[n]))
        values = [self.known[name] for name in names]
        if any(value is None or isinstance(value, list) for value in values):
            refuse("a sequence")
        arrays = [v.array if isinstance(v, Tensor) else np.asanyarray(v) for v in values]
        with self.recording:
            return names, dense_outputs(self.recording, self.arrays, arrays, images=images)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of all values that depend on the inputs, lists excepted."""
        return {
            name: value.shape for name, value in self.known.items()
            if not isinstance(value, list) and self.is_unknown(value)
        }


def _walk(
    graph: Graph, constants: Mapping[str, Value], arrays: list[np.ndarray], *, anew: bool = False
) -> _Walk:
    """Record a graph; a second time where a Concat is, once its shapes tell what stands where.

    With `anew`, on constants that are not packed yet, whatever was recorded before.
    """
    walk = _Walk(graph, constants, arrays)
    walk.run()
    places = Places(graph, walk.images())
    if places:
        walk = _Walk(graph, constants_of(graph) if anew else constants, arrays, places)
        walk.run()
    return walk


def record(
    graph: Graph, inputs: Signature
) -> tuple[_core.Recording, list[np.ndarray], list[np.ndarray]]:
    """Return a recording of `graph` in which all weights are packed, its inputs and its outputs.

    Parameters
    ----------
    graph : Graph
        Of supported operators.
    inputs : tuple of (shape, dtype)
        In the order of the graph's inputs.

    Raises
    ------
    ValueError
        Where the shapes do not fit, or an operator looks at values; the message names it.
    """
    with recording_lock, no_grad():
        arrays = [unknown(*given) for given in inputs]
        walk = _walk(graph, constants_of(graph), arrays, anew=True)
        if not walk.finished:
            late = sorted({node.operator for node in walk.rest})
            raise ValueError(f"these operators look at values and cannot be planned: {late}")
        return walk.recording, arrays, walk.leaving()[1]


def make_program(
    graph: Graph,
    constants: Mapping[str, Value],
    inputs: Signature,
    workspace: _core.Workspace,
    threads: int = 0,
) -> Program:
    """Return `graph` as a program for inputs of these shapes and types.

    Parameters
    ----------
    graph : Graph
        Of supported operators.
    constants : mapping
        Name to value of the graph's constants; packed weights are kept with their Tensors.
    inputs : tuple of (shape, dtype)
        In the order of the graph's inputs.
    workspace : Workspace
        Memory in which the plan runs.
    threads : int
        At most so many; 0 for the usual number.

    Raises
    ------
    ValueError
        Where the shapes do not fit; the message names the operator.
    """
    with recording_lock, no_grad():
        walk = _walk(graph, constants, [unknown(*given) for given in inputs])
        traffic = traffic_of(walk.recording, walk.labels, len(graph.nodes))
        cut = choose_parts(graph, walk.shapes(), traffic) if walk.finished else None
        if cut is None:
            return _whole(walk, workspace, threads)
        return _in_parts(graph, constants, inputs, workspace, threads, *cut)


def _whole(walk: _Walk, workspace: _core.Workspace, threads: int) -> Program:
    """Return the program of one plan, and of what cannot be planned."""
    graph = walk.graph
    try:
        names, outputs = walk.leaving()
    except DataDependent:  # an output of whole numbers that is no array of its own
        walk.postpone_all()
        names, outputs = walk.leaving()
    plan, labels = _planned(walk, outputs, workspace, threads)
    rest, known = None, {}
    if not walk.finished:
        rest = Graph(walk.rest, graph.inputs, graph.outputs, {}, graph.opset)
        known = {name: walk.known[name] for name in walk.read_by_rest() - {*names}}
    return Program([plan], names, rest, known, [labels])


def _planned(
    walk: _Walk, outputs: list[np.ndarray], workspace: _core.Workspace, threads: int, parts: int = 1
) -> tuple[_core.Plan, list[int]]:
    """Return the plan of what was recorded, and the nodes of its calls."""
    kept = live_calls(walk.recording)
    plan = plan_of(walk.recording, kept, walk.arrays, outputs, workspace, threads, parts)
    return plan, [walk.labels[i] if i < len(walk.labels) else _RESULTS for i in kept]


def _in_parts(
    graph: Graph, constants: Mapping[str, Value], inputs: Signature, workspace: _core.Workspace,
    threads: int, cut: int, parts: int,
) -> Program:
    """Return the program whose first `cut` nodes run in parts."""
    crossing = graph.outputs if cut == len(graph.nodes) else crossing_values(graph, cut)
    head = Graph(graph.nodes[:cut], graph.inputs, crossing, {}, graph.opset)
    first = _walk(head, constants, [
        unknown((shape[0] // parts, *shape[1:]), dtype) for shape, dtype in inputs])
    names, outputs = first.leaving(images=cut < len(graph.nodes))
    plan, labels = _planned(first, outputs, workspace, threads, parts)
    if cut == len(graph.nodes):
        return Program([plan], names, None, {}, [labels])
    kinds: dict[str, ValueType] = {
        name: (array.dtype.name, None) for name, array in zip(names, outputs, strict=True)}
    tail = Graph(graph.nodes[cut:], kinds, graph.outputs, {}, graph.opset)
    joined = [unknown_like(array, parts) for array in outputs]
    second = _whole(_walk(tail, constants, joined), workspace, threads)
    behind = [number if number == _RESULTS else cut + number for number in second.labels[0]]
    return Program([plan, *second.plans], second.names, None, {}, [labels, behind])
