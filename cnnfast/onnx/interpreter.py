"""Runs a graph, operator by operator, on the engine's eager functions.

This is the plain way to run a model, and what `cnnfast.compile` records: float32 values are
computed by primitives of `_core`, sizes and other small integers by NumPy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..autograd import no_grad
from ..errors import UnsupportedOperatorError
from ..graph import Graph, Node
from .operators import OPERATORS
from .operators.values import Value, array, wrapped

__all__ = ["check_operators", "constants_of", "evaluate", "execute", "last_reads", "run"]

STANDARD = ("", "ai.onnx")
"""Names of the standard's own domain."""


def domain_of(node: Node) -> str:
    """Return the node's domain as the table has it."""
    return "" if node.domain in STANDARD else node.domain


def unsupported(graph: Graph) -> list[str]:
    """Return what the table of operators lacks for `graph`, each once, in words."""
    missing: dict[str, None] = {}
    for node in graph.walk():
        known = OPERATORS.get((domain_of(node), node.operator))
        name = f"{node.domain or 'ai.onnx'}.{node.operator}"
        if known is None:
            missing[name] = None
        else:
            for attribute in sorted(set(node.attributes) - known.attributes):
                missing[f"{name} with attribute {attribute!r}"] = None
    return list(missing)


def check_operators(graph: Graph) -> None:
    """Raise one error that lists every operator of `graph`, at any depth, that is not supported.

    Raises
    ------
    UnsupportedOperatorError
        Names operators, domains, unknown attributes and the opset.
    """
    missing = unsupported(graph)
    if missing:
        opset = ", ".join(f"{name or 'ai.onnx'} {v}" for name, v in graph.opset.items())
        raise UnsupportedOperatorError(
            f"the model needs what cnnfast does not support: {', '.join(missing)} (opset {opset})"
        )


def constants_of(graph: Graph) -> dict[str, Value]:
    """Return the graph's constants as values.

    A weight packs itself for the engine once as long as it stays the same value, so whoever runs a
    graph many times keeps them.
    """
    return {name: wrapped(constant) for name, constant in graph.constants.items()}


def run(
    graph: Graph, feeds: Mapping[str, Any], constants: Mapping[str, Value] | None = None
) -> list[Any]:
    """Run `graph` on arrays.

    Parameters
    ----------
    graph : Graph
        Of supported operators, see `check_operators`.
    feeds : mapping of str to array_like
        An array (or list of arrays, for a sequence) for every input.
    constants : mapping, optional
        What `constants_of` returned for this graph.

    Returns
    -------
    list
        An array (list, None) for each of ``graph.outputs``.

    Raises
    ------
    ValueError
        Where inputs are missing or shapes do not fit; the message names the operator.

    Examples
    --------
    >>> import numpy as np
    >>> from cnnfast.graph import Graph, Node
    >>> from cnnfast.onnx.interpreter import run
    >>> graph = Graph([Node("Relu", ["x"], ["y"])], {"x": ("float32", (None,))}, ["y"])
    >>> run(graph, {"x": np.array([-1, 2], np.float32)})
    [array([0., 2.], dtype=float32)]
    """
    values = dict(constants_of(graph) if constants is None else constants)
    values.update((name, wrapped(value)) for name, value in feeds.items())
    return [array(value) for value in evaluate(graph, values)]


def evaluate(
    graph: Graph, values: Mapping[str, Value], finished: Sequence[list[str]] | None = None
) -> list[Value]:
    """Run the nodes of `graph`, given the values of its inputs, constants and surroundings.

    `finished` is what `last_reads` returned for it, for who runs it often.
    """
    absent = [name for name in graph.inputs if name not in values]
    if absent:
        raise ValueError(f"the graph's inputs {absent} were not given; it has {[*graph.inputs]}")
    known = {"": None, **values}
    with no_grad():
        for node, done in zip(graph.nodes, finished or last_reads(graph), strict=True):
            for name, value in zip(node.outputs, execute(node, known, graph.opset), strict=True):
                known[name] = value
            for name in done:
                known.pop(name, None)
    return [known[name] for name in graph.outputs]


def last_reads(graph: Graph) -> list[list[str]]:
    """Return for each node the names that nobody reads after it."""
    seen = {"", *graph.outputs}
    result: list[list[str]] = []
    for node in reversed(graph.nodes):
        names = dict.fromkeys([*node.inputs, *node.outputs])
        for value in node.attributes.values():
            if isinstance(value, Graph):
                names.update(dict.fromkeys(sorted(value.free_names())))
        result.append([name for name in names if name not in seen])
        seen.update(names)
    return result[::-1]


def execute(node: Node, known: Mapping[str, Value], opset: Mapping[str, int]) -> list[Value]:
    """Return the results of one node, one for each of its outputs.

    Raises
    ------
    ValueError
        What the operator raised, with the node's name.
    """
    domain = domain_of(node)
    operator = OPERATORS[domain, node.operator]
    attributes = {
        name: body(value, known, opset) if isinstance(value, Graph) else value
        for name, value in node.attributes.items()
    }
    if "opset" in operator.context:
        attributes["opset"] = opset.get(domain, opset.get("ai.onnx", 1))
    if "outputs" in operator.context:
        attributes["outputs"] = len(node.outputs)
    try:
        with np.errstate(all="ignore"):
            results = operator.compute(*(known[name] for name in node.inputs), **attributes)
    except UnsupportedOperatorError as error:
        raise UnsupportedOperatorError(f"{describe(node)}: {error}") from error
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ValueError(f"{describe(node)}: {error}") from error
    results = results if isinstance(results, tuple) else (results,)
    if len(results) < len(node.outputs):
        raise ValueError(f"{describe(node)}: {len(node.outputs)} outputs, expected {len(results)}")
    return [wrapped(result) for result in results[: len(node.outputs)]]


def describe(node: Node) -> str:
    """Return the operator and the node's name, for messages."""
    return f"{node.operator} ({node.name or ', '.join(node.outputs)})"


def body(
    graph: Graph, outer: Mapping[str, Value], opset: Mapping[str, int]
) -> Callable[..., list[Value]]:
    """Return a graph inside an attribute as a function of its inputs that sees `outer`."""
    inner = Graph(graph.nodes, graph.inputs, graph.outputs, graph.constants, dict(opset))
    constants, finished = constants_of(graph), last_reads(graph)

    def call(*inputs: Value) -> list[Value]:
        given: Sequence[Value] = inputs
        named = zip(graph.inputs, given, strict=True)
        return evaluate(inner, {**outer, **constants, **dict(named)}, finished)

    return call
