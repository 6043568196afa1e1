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

GROWTH, SMALL = 8, 1 << 20
"""A folded result may take this many times the bytes of its inputs, and a megabyte more."""
ROOM = 64 << 20
"""Bytes that all folded results may take beyond `GROWTH` times those of the graph's constants."""
_AS_INPUT = frozenset({
    "Abs", "ArgMax", "ArgMin", "Cast", "CastLike", "Ceil", "CumSum", "DequantizeLinear", "Erf",
    "Exp", "Flatten", "Floor", "Identity", "IsInf", "IsNaN", "Log", "Neg", "Not", "NonZero",
    "QuantizeLinear", "Reciprocal", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp",
    "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare", "Relu",
    "Reshape", "Round", "ScatterElements", "ScatterND", "Shape", "Sigmoid", "Sign", "Size", "Slice",
    "Softmax", "Split", "Sqrt", "Squeeze", "Tanh", "TopK", "Transpose", "Trilu", "Unsqueeze",
})  # fmt: skip
"""Operators whose results have no more elements than the first input times its axes."""
_BROADCAST = frozenset({
    "Add", "And", "Clip", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max",
    "Mean", "Min", "Mod", "Mul", "Or", "Pow", "Sub", "Sum", "Where", "Xor",
})  # fmt: skip


def fold_constants(graph: Graph) -> Graph:
    """Compute what follows from constants; remove what changes nothing."""
    draft = Draft(graph)
    room = GROWTH * sum(constant.nbytes for constant in graph.constants.values()) + ROOM
    for number, node in enumerate(graph.nodes):
        node = draft.nodes[number] or node
        if node.operator == "Sum" and len(node.inputs) == 2:
            draft.put(number, replace(node, operator="Add"))
        elif (name := _unchanged(draft, node)) is not None and name not in draft.constants:
            draft.forward(number, name)
        elif all(not name or name in draft.constants for name in node.inputs):
            room = _compute(draft, number, node, room)
        elif node.operator == "Transpose":
            _merge_transposes(draft, number, node)
    return draft.finish()


def _unchanged(draft: Draft, node: Node) -> str | None:
    """Return the value that the first result of `node` is equal to, if there is one."""
    if node.operator == "Mul" and not node.attributes and len(node.inputs) == 2:
        for x, other in (node.inputs, node.inputs[::-1]):
            one = draft.constant(other)
            if one is not None and one.size == 1 and one.ndim <= 1 and bool((one == 1).all()):
                return x
        return None
    if node.operator == "Identity":
        return node.inputs[0]
    if node.operator != "Dropout" or any(map(draft.is_read, node.outputs[1:])):
        return None
    training = node.inputs[2] if len(node.inputs) > 2 else ""
    asked = draft.constant(training)
    return None if training and (asked is None or asked.any()) else node.inputs[0]


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


def _compute(draft: Draft, number: int, node: Node, room: int) -> int:
    """Replace a node of constant inputs by its results, if these are arrays and not too large.

    Returns what is left of `room`. What is not folded is computed when the graph is run.
    """
    arrays = [draft.constants[name] for name in dict.fromkeys(node.inputs) if name]
    most = min(GROWTH * sum(array.nbytes for array in arrays) + SMALL, room)
    try:
        elements = _most_elements(node, [draft.constant(name) for name in node.inputs])
        if elements is None or elements * np.dtype(np.int64).itemsize > most:
            return room
        known: dict[str, Any] = {name: wrapped(draft.constants[name]) for name in node.inputs
                                 if name}
        values = execute(node, {"": None, **known}, draft.graph.opset)
    except (LookupError, MemoryError, TypeError, ValueError):
        return room  # whoever runs the graph is told
    results = [array(value) for value in values]
    for name, result in zip(node.outputs, results, strict=True):
        if name:
            draft.constants[name] = np.ascontiguousarray(result.view(np.ndarray)).reshape(
                result.shape)
    draft.nodes[number] = None
    return room - sum(result.nbytes for result in results)


def _most_elements(node: Node, inputs: list[np.ndarray | None]) -> int | None:
    """Return a bound of the elements of a result, None where the operator is not folded.

    A few bytes of a file must not ask for more memory than a model would.
    """
    arrays = [array for array in inputs if array is not None]
    if node.operator in _AS_INPUT and arrays:
        return arrays[0].size * max(arrays[0].ndim, 1)
    if node.operator in _BROADCAST:
        return math.prod(np.broadcast_shapes(*(array.shape for array in arrays)))
    if node.operator == "Concat":
        return sum(array.size for array in arrays)
    first = arrays[0] if arrays else np.zeros(0)
    second = arrays[1] if len(arrays) > 1 else np.zeros(0)
    if node.operator == "ConstantOfShape":
        return math.prod(int(size) for size in first)
    if node.operator == "Range":
        return len(range(*(math.ceil(float(array.reshape(()))) for array in arrays)))
    if node.operator == "Expand":
        sizes = [int(size) for size in second]
        return first.size * math.prod(sizes)
    if node.operator == "Gather":
        return first.size // max(first.shape[node.attributes.get("axis", 0)], 1) * second.size
    if node.operator == "MatMul" and first.ndim == second.ndim == 2:
        return int(first.shape[0] * second.shape[1])
    return None


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
