"""Linear layers: products with constant matrices, their bias and activation, and flattening."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ...graph import Graph, Node
from ..vocabulary import FUNCTION_DOMAIN
from .activations import activation_of
from .rewriting import Draft

__all__ = ["fold_flatten", "fuse_linear"]


def fuse_linear(graph: Graph) -> Graph:
    """Make a product with a constant matrix, a summand and an activation one operator.

    The weight becomes that of a 1x1 convolution (O, I, 1, 1), so it is packed once.
    """
    draft = Draft(graph)
    for number in range(len(graph.nodes)):
        node = draft.nodes[number]
        if node is None or node.operator not in ("Gemm", "MatMul") or node.domain:
            continue
        found = _from_gemm(draft, node) if node.operator == "Gemm" else _from_matmul(draft, node)
        if found is not None:
            _fuse(draft, number, node, *found)
    return draft.finish()


Layer = tuple[np.ndarray, np.ndarray | None]
"""Weight (O, I) and bias (O,)."""


def _from_gemm(draft: Draft, node: Node) -> Layer | None:
    given = node.attributes
    weight = draft.constant(node.inputs[1])
    if weight is None or weight.ndim != 2 or weight.dtype != np.float32 or given.get("transA"):
        return None
    weight = (weight if given.get("transB") else weight.T) * np.float32(given.get("alpha", 1))
    if len(node.inputs) < 3 or not node.inputs[2]:
        return weight, None
    bias = draft.constant(node.inputs[2])
    if bias is None or bias.size not in (1, weight.shape[0]) or bias.shape[:-1].count(1) != max(
            bias.ndim - 1, 0):
        return None
    flat = np.broadcast_to(bias.reshape(-1), weight.shape[:1])
    return weight, flat * np.float32(given.get("beta", 1))


def _from_matmul(draft: Draft, node: Node) -> Layer | None:
    weight = draft.constant(node.inputs[1])
    if weight is None or weight.ndim != 2 or weight.dtype != np.float32:
        return None
    return weight.T, None


def _fuse(
    draft: Draft, number: int, node: Node, weight: np.ndarray, bias: np.ndarray | None
) -> None:
    place, removed = number, []
    after = draft.only_reader(node.outputs[0])
    if bias is None and after is not None:
        bias = _summand(draft, draft.node(after), node.outputs[0], weight.shape[0])
        if bias is not None:
            removed, place = [number], after
            after = draft.only_reader(draft.node(place).outputs[0])
    attributes: dict[str, Any] = {}
    activation = None if after is None else activation_of(draft, draft.node(after))
    if after is not None and activation is not None:
        removed, place = [*removed, place], after
        attributes = dict(zip(("activation", "alpha", "beta"), activation, strict=True))
    name = draft.add_constant(f"{node.inputs[1]}.kernel", weight[:, :, None, None])
    inputs = [node.inputs[0], name]
    if bias is not None:
        inputs.append(draft.add_constant(f"{node.outputs[0]}.bias", bias))
    outputs = draft.node(place).outputs[:1]
    fused = Node("FusedLinear", inputs, outputs, attributes, FUNCTION_DOMAIN, node.name)
    draft.put(place, fused, removed)


def _summand(draft: Draft, node: Node, name: str, columns: int) -> np.ndarray | None:
    """Return the constant vector that an Add gives to the value `name`."""
    if node.operator != "Add" or node.attributes:
        return None
    other = draft.constant(node.inputs[1] if node.inputs[0] == name else node.inputs[0])
    if other is None or other.dtype != np.float32 or other.ndim > 1 or other.size not in (
            1, columns):
        return None
    return np.ascontiguousarray(np.broadcast_to(other.reshape(-1), (columns,)))


# ---- flatten -------------------------------------------------------------------------------

def fold_flatten(graph: Graph) -> Graph:
    """Flatten an image in the order of its memory, channels last, with the weights behind in it.

    An image is stored NHWC; flattening it in logical order would have to copy it.
    """
    draft = Draft(graph)
    for number, node in enumerate(graph.nodes):
        if node.operator != "FusedLinear" or node.domain != FUNCTION_DOMAIN:
            continue
        flat = draft.maker(node.inputs[0], "Flatten", "Reshape")
        if flat is None or draft.only_reader(node.inputs[0]) is None:
            continue
        weight = draft.constant(node.inputs[1])
        image = draft.node(flat).inputs[0]
        rows = _rows(draft, draft.node(flat))
        channels = None if rows is None else _channels(draft, image)
        if not channels or weight is None or weight.shape[1] == channels:
            continue
        if weight.shape[1] % channels:
            continue  # parts of samples that no order of pixels and channels fits
        cut = weight.reshape(weight.shape[0], channels, -1)
        turned = cut.swapaxes(1, 2).reshape(weight.shape)
        inputs = [node.inputs[0], draft.add_constant(node.inputs[1], turned), *node.inputs[2:]]
        draft.put(number, replace(node, inputs=inputs))
        attributes = {"columns": weight.shape[1]} if rows == -1 else {}
        outputs = draft.node(flat).outputs
        draft.put(flat, Node("FlattenChannelsLast", [image], outputs, attributes, FUNCTION_DOMAIN))
    return draft.finish()


def _rows(draft: Draft, node: Node) -> int | None:
    """Return 0 where a node makes one row of each sample, -1 where as many as there are."""
    if node.operator == "Flatten":
        return 0 if node.attributes.get("axis", 1) == 1 else None
    sizes = draft.constant(node.inputs[1]) if len(node.inputs) > 1 else None
    rows = sizes.reshape(-1)[0] if sizes is not None and sizes.size == 2 else None
    return int(rows) if rows in (0, -1) else None


def _channels(draft: Draft, name: str) -> int | None:
    """Return how many channels an image has that a convolution made, None for anything else."""
    made = draft.maker(draft.origin(name), "Conv", "FusedConv")
    return None if made is None else draft.channels(name, 4)
