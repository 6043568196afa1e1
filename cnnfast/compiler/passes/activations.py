"""Activations: those that come as several operators, and what the engine calls each."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from ...graph import Graph, Node
from .rewriting import Draft

__all__ = ["Activation", "activation_of", "recognize_activations"]

Activation = tuple[str, float, float]
"""One of ``_core.UNARY_KINDS`` with its attributes alpha and beta."""

_PLAIN = {
    "Relu": "relu", "Sigmoid": "sigmoid", "Tanh": "tanh", "HardSwish": "hardswish", "Mish": "mish",
    "Softsign": "softsign", "Abs": "abs", "Neg": "neg", "Exp": "exp", "Sqrt": "sqrt",
}  # fmt: skip


def activation_of(draft: Draft, node: Node) -> Activation | None:
    """Return the engine's name of the function that `node` applies to its first input."""
    given = node.attributes
    if node.domain not in ("", "ai.onnx"):
        return None
    if node.operator in _PLAIN:
        return _PLAIN[node.operator], 0.0, 0.0
    if node.operator == "LeakyRelu":
        return "leaky_relu", float(given.get("alpha", 0.01)), 0.0
    if node.operator == "Elu":
        return "elu", float(given.get("alpha", 1.0)), 1.0
    if node.operator == "Gelu":
        return ("gelu_tanh" if given.get("approximate") == "tanh" else "gelu"), 0.0, 0.0
    if node.operator == "Swish" and given.get("alpha", 1.0) == 1:
        return "silu", 0.0, 0.0
    if node.operator == "HardSigmoid" and _is_sixth(node):
        return "hardsigmoid", 0.0, 0.0
    if node.operator == "Clip":
        bounds = _bounds(draft, node)
        return None if bounds is None else ("clamp", *bounds)
    return None


def _is_sixth(node: Node) -> bool:
    """Whether a HardSigmoid is relu6(x + 3) / 6."""
    alpha, beta = node.attributes.get("alpha", 0.2), node.attributes.get("beta", 0.5)
    return math.isclose(alpha, 1 / 6, rel_tol=1e-6) and beta == 0.5


def _bounds(draft: Draft, node: Node) -> tuple[float, float] | None:
    """Return the bounds of a Clip where they are constant."""
    bounds = []
    for position, (name, default) in enumerate((("min", -np.inf), ("max", np.inf)), start=1):
        given = node.inputs[position] if position < len(node.inputs) else ""
        if not given:
            bounds.append(float(node.attributes.get(name, default)))
            continue
        array = draft.constant(given)
        if array is None or array.size != 1:
            return None
        bounds.append(float(array.reshape(-1)[0]))
    return bounds[0], bounds[1]


def recognize_activations(graph: Graph) -> Graph:
    """Write hard-sigmoid, hard-swish and SiLU as one operator each.

    x * Sigmoid(x) is Swish; Clip(x + 3, 0, 6) / 6 is HardSigmoid; x * HardSigmoid(x) is HardSwish,
    in whatever order it is multiplied and divided.
    """
    draft = Draft(graph)
    for number in range(len(graph.nodes)):
        node = draft.nodes[number]
        if node is None:
            continue
        if node.operator in ("Div", "Mul"):
            _find_hard_sigmoid(draft, number, node)
        node = draft.node(number)
        if node.operator == "Mul":
            _find_product(draft, number, node)
    for number in range(len(graph.nodes)):
        node = draft.nodes[number]
        if node is not None and node.operator in ("Div", "Mul"):
            _find_sixth_of_product(draft, number, node)
    return draft.finish()


def _is(draft: Draft, name: str, value: float) -> bool:
    """Whether `name` is a floating constant of one element, this one, that adds no axis."""
    array = draft.constant(name)
    return (
        array is not None and array.size == 1 and array.ndim <= 1 and array.dtype.kind == "f"
        and math.isclose(float(array.reshape(-1)[0]), value, rel_tol=1e-6)
    )


def _divided_by_six(draft: Draft, node: Node) -> str | None:
    """Return x where `node` is x / 6 or x * (1 / 6)."""
    a, b = node.inputs
    if node.operator == "Div":
        return a if _is(draft, b, 6) else None
    return a if _is(draft, b, 1 / 6) else b if _is(draft, a, 1 / 6) else None


def _six_of(draft: Draft, name: str) -> tuple[str, list[int]] | None:
    """Return x and the nodes between where `name` is Clip(x + 3, 0, 6), read by one node."""
    clip = draft.maker(name, "Clip")
    if clip is None or draft.only_reader(name) is None:
        return None
    if _bounds(draft, draft.node(clip)) != (0.0, 6.0):
        return None
    shifted = draft.node(clip).inputs[0]
    add = draft.maker(shifted, "Add")
    if add is None or draft.only_reader(shifted) is None:
        return None
    a, b = draft.node(add).inputs
    x = a if _is(draft, b, 3) else b if _is(draft, a, 3) else None
    return None if x is None else (x, [clip, add])


def _find_hard_sigmoid(draft: Draft, number: int, node: Node) -> None:
    name = _divided_by_six(draft, node)
    found = None if name is None else _six_of(draft, name)
    if found is None:
        return
    x, between = found
    attributes = {"alpha": 1 / 6, "beta": 0.5}
    draft.put(number, Node("HardSigmoid", [x], node.outputs, attributes, name=node.name), between)


def _find_product(draft: Draft, number: int, node: Node) -> None:
    """x * f(x), f being Sigmoid or HardSigmoid."""
    for x, gate in (node.inputs, node.inputs[::-1]):
        maker = draft.maker(gate, "Sigmoid", "HardSigmoid")
        if maker is None or draft.node(maker).inputs[0] != x or draft.only_reader(gate) is None:
            continue
        made = draft.node(maker)
        if made.operator == "HardSigmoid" and not _is_sixth(made):
            continue
        operator = "Swish" if made.operator == "Sigmoid" else "HardSwish"
        draft.put(number, Node(operator, [x], node.outputs, name=node.name), [maker])
        return


def _find_sixth_of_product(draft: Draft, number: int, node: Node) -> None:
    """(x * Clip(x + 3, 0, 6)) / 6."""
    name = _divided_by_six(draft, node)
    product = None if name is None else draft.maker(name, "Mul")
    if name is None or product is None or draft.only_reader(name) is None:
        return
    for x, gate in (draft.node(product).inputs, draft.node(product).inputs[::-1]):
        found = _six_of(draft, gate)
        if found is not None and found[0] == x:
            swish = replace(node, operator="HardSwish", inputs=[x])
            draft.put(number, swish, [product, *found[1]])
            return
