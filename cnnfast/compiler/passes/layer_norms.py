"""Layer normalisations that come as several operators."""

from __future__ import annotations

import numpy as np

from ...graph import Graph, Node
from .rewriting import Draft

__all__ = ["recognize_layer_norms"]


def recognize_layer_norms(graph: Graph) -> Graph:
    """Write normalisation over the last axis, with its weight and bias, as one operator.

    That is d / sqrt(mean(d * d) + eps) * weight + bias where d = x - mean(x).
    """
    draft = Draft(graph)
    for number in range(len(graph.nodes)):
        node = draft.nodes[number]
        if node is not None and node.operator == "Div" and len(node.inputs) == 2:
            _recognize(draft, number, node)
    return draft.finish()


def _recognize(draft: Draft, number: int, node: Node) -> None:
    centred, deviation = node.inputs
    source = _centred(draft, centred)
    spread = _deviation(draft, deviation, centred)
    if source is None or spread is None or len(draft.readers(centred)) > 2 + (spread[2] == "Mul"):
        return
    weight = _vector_behind(draft, number, "Mul")
    if weight is None or draft.only_reader(deviation) is None:
        return
    bias = _vector_behind(draft, weight[0], "Add")
    last = weight[0] if bias is None else bias[0]
    inputs = [source[0], weight[1], *([] if bias is None else [bias[1]])]
    attributes = {"axis": -1, "epsilon": spread[0]}
    made = Node("LayerNormalization", inputs, draft.node(last).outputs, attributes, name=node.name)
    draft.put(last, made, {number, weight[0], *source[1], *spread[1]} - {last})


def _mean_of(draft: Draft, name: str) -> tuple[int, str] | None:
    """Return the node that makes `name` a mean over the last axis, and of what."""
    number = draft.maker(name, "ReduceMean")
    if number is None or draft.only_reader(name) is None:
        return None
    node = draft.node(number)
    axes = node.attributes.get("axes")
    if axes is None and len(node.inputs) > 1:
        axes = draft.constant(node.inputs[1])
    if axes is None or list(axes) != [-1] or not node.attributes.get("keepdims", 1):
        return None
    return number, node.inputs[0]


def _centred(draft: Draft, name: str) -> tuple[str, list[int]] | None:
    """Return x where `name` is x - mean(x), and the nodes between."""
    sub = draft.maker(name, "Sub")
    mean = None if sub is None else _mean_of(draft, draft.node(sub).inputs[1])
    if sub is None or mean is None or draft.node(sub).inputs[0] != mean[1]:
        return None
    return mean[1], [sub, mean[0]]


def _deviation(draft: Draft, name: str, centred: str) -> tuple[float, list[int], str] | None:
    """Return eps where `name` is sqrt(mean(centred ** 2) + eps), the nodes, and how it is squared.
    """
    root = draft.maker(name, "Sqrt")
    add = None if root is None else draft.maker(draft.node(root).inputs[0], "Add")
    if root is None or add is None or draft.only_reader(draft.node(root).inputs[0]) is None:
        return None
    for variance, other in (draft.node(add).inputs, draft.node(add).inputs[::-1]):
        epsilon, mean = draft.constant(other), _mean_of(draft, variance)
        square = None if mean is None else draft.maker(mean[1], "Pow", "Mul")
        if epsilon is None or epsilon.size != 1 or mean is None or square is None:
            continue
        made = draft.node(square)
        power = draft.constant(made.inputs[1])
        twice = made.inputs[1] == centred if made.operator == "Mul" else (
            power is not None and power.size == 1 and bool((power == 2).all()))
        if made.inputs[0] == centred and twice and draft.only_reader(mean[1]) is not None:
            return float(epsilon.reshape(-1)[0]), [root, add, mean[0], square], made.operator
    return None


def _vector_behind(draft: Draft, number: int, operator: str) -> tuple[int, str] | None:
    """Return the node `operator` that alone reads node `number`, and its constant vector."""
    name = draft.node(number).outputs[0]
    reader = draft.only_reader(name)
    if reader is None or draft.node(reader).operator != operator or draft.node(reader).attributes:
        return None
    for other in draft.node(reader).inputs:
        vector = draft.constant(other)
        if vector is None or vector.dtype != np.float32:
            continue
        if vector.ndim == 1 and vector.size > 1:
            return reader, other
    return None
