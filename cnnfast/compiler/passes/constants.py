"""Constants: what follows from them alone, what nobody reads, and nodes that do nothing."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from ...graph import Graph, Node
from ...onnx.interpreter import execute
from ...onnx.operators.values import array, wrapped
from .rewriting import Draft

__all__ = ["drop_unused", "fold_constants"]

LARGEST_GROWTH = 1 << 20
"""Bytes by which a folded result may exceed its inputs: an Expand is cheaper run than kept."""
MOST_ELEMENTS = 1 << 28
"""Of a folded result while it is computed: VGG's largest weight has 2^27."""
_SIZED_BY_VALUES = frozenset({
    "AffineGrid", "CenterCropPad", "Col2Im", "ConstantOfShape", "MaxUnpool", "OneHot", "Pad",
    "Range", "Resize", "Tile", "Upsample",
})  # fmt: skip
"""Operators that make as much as the numbers in their inputs say."""


def fold_constants(graph: Graph) -> Graph:
    """Compute what follows from constants; remove Identity, Dropout, a double Transpose, Sum."""
    draft = Draft(graph)
    for number, node in enumerate(graph.nodes):
        node = draft.nodes[number] or node
        if node.operator == "Sum" and len(node.inputs) == 2:
            draft.put(number, replace(node, operator="Add"))
        elif _is_identity(draft, node):
            draft.forward(number, node.inputs[0])
        elif node.operator == "Transpose":
            _merge_transposes(draft, number, node)
        elif all(not name or name in draft.constants for name in node.inputs):
            _compute(draft, number, node)
    return draft.finish()


def _is_identity(draft: Draft, node: Node) -> bool:
    if node.operator == "Identity":
        return node.inputs[0] not in draft.constants
    if node.operator != "Dropout" or any(map(draft.is_read, node.outputs[1:])):
        return False
    training = node.inputs[2] if len(node.inputs) > 2 else ""
    asked = draft.constant(training)
    return not training or (asked is not None and not asked.any())


def _merge_transposes(draft: Draft, number: int, node: Node) -> None:
    before = draft.maker(node.inputs[0], "Transpose")
    if before is None:
        return
    first, second = draft.node(before).attributes.get("perm"), node.attributes.get("perm")
    if first is None or second is None:
        return
    order = [first[axis] for axis in second]
    source = draft.node(before).inputs[0]
    if order == sorted(order):
        draft.forward(number, source)
    else:
        draft.put(number, replace(node, inputs=[source], attributes={"perm": order}))


def _compute(draft: Draft, number: int, node: Node) -> None:
    """Replace a node of constant inputs by its results, unless these are lists or too large."""
    if any(isinstance(value, Graph) for value in node.attributes.values()):
        return
    if node.operator.startswith(("Random", "Bernoulli", "Multinomial")):
        return
    arrays = [draft.constants[name] for name in node.inputs if name]
    if _may_be_huge(node.operator, arrays):
        return
    known: dict[str, Any] = {name: wrapped(draft.constants[name]) for name in node.inputs if name}
    try:
        values = execute(node, {"": None, **known}, draft.graph.opset)
    except (MemoryError, ValueError):
        return  # whoever runs the graph is told
    results = [array(value) for value in values]
    if not all(isinstance(result, np.ndarray) for result in results):
        return
    given = sum(constant.nbytes for constant in arrays)
    if sum(result.nbytes for result in results) > given + LARGEST_GROWTH:
        return
    for name, result in zip(node.outputs, results, strict=True):
        if name:
            draft.constants[name] = np.ascontiguousarray(result.view(np.ndarray)).reshape(
                result.shape)
    draft.nodes[number] = None


def _may_be_huge(operator: str, arrays: list[np.ndarray]) -> bool:
    """Whether a few bytes of a file could ask for more memory than a model would."""
    if operator in _SIZED_BY_VALUES:
        few = [np.abs(a.astype(float)) for a in arrays if a.size <= 64 and a.dtype.kind in "iuf"]
        return any(np.prod(np.maximum(a, 1)) > MOST_ELEMENTS for a in few)
    try:
        return math.prod(np.broadcast_shapes(*(a.shape for a in arrays))) > MOST_ELEMENTS
    except ValueError:  # not an element-wise operator
        return False


def drop_unused(graph: Graph) -> Graph:
    """Remove nodes and constants that nothing leads to from the outputs."""
    wanted = set(graph.outputs)
    kept: list[Node] = []
    for node in reversed(graph.nodes):
        if wanted.isdisjoint(node.outputs):
            continue
        kept.append(node)
        wanted.update(node.inputs)
        for value in node.attributes.values():
            if isinstance(value, Graph):
                wanted |= value.free_names()
    constants = {name: value for name, value in graph.constants.items() if name in wanted}
    return replace(graph, nodes=kept[::-1], constants=constants)
