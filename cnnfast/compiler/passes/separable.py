"""Depthwise convolutions take up the 1x1 convolutions around them."""

from __future__ import annotations

from typing import Any

from ...graph import Graph, Node
from ..vocabulary import FUNCTION_DOMAIN
from .rewriting import Draft

__all__ = ["fuse_separable"]

_GEOMETRY = ("auto_pad", "dilations", "pads", "strides")


def fuse_separable(graph: Graph) -> Graph:
    """Join a depthwise convolution with the 1x1 convolutions that it alone reads and is read by.

    Whether rows then go through all of them at once is decided where sizes are known.
    """
    draft = Draft(graph)
    for number in range(len(graph.nodes)):
        node = draft.nodes[number]
        if node is not None and _is_depthwise(draft, node):
            _join(draft, number, node)
    return draft.finish()


def _join(draft: Draft, number: int, node: Node) -> None:
    before = draft.maker(node.inputs[0], "FusedConv")
    after = draft.only_reader(node.outputs[0])
    if before is not None and (
            draft.only_reader(node.inputs[0]) is None or draft.node(before).inputs[3:]
            or not _is_pointwise(draft, draft.node(before))):
        before = None
    if after is not None and (
            draft.node(after).inputs[0] != node.outputs[0]
            or not _is_pointwise(draft, draft.node(after))):
        after = None
    if before is None and after is None:
        return
    first = None if before is None else draft.node(before)
    last = None if after is None else draft.node(after)
    layers = (first, node, last)
    inputs = [node.inputs[0] if first is None else first.inputs[0]]
    for layer in layers:
        inputs += ["", ""] if layer is None else [*layer.inputs[1:], ""][:2]
    inputs += [] if last is None else last.inputs[3:]
    attributes = {key: node.attributes[key] for key in _GEOMETRY if key in node.attributes}
    attributes["activations"] = [_of(layer, "activation", "identity") for layer in layers]
    attributes["alphas"] = [_of(layer, "alpha", 0.0) for layer in layers]
    attributes["betas"] = [_of(layer, "beta", 0.0) for layer in layers]
    place = number if after is None else after
    outputs = draft.node(place).outputs
    removed = [other for other in (before, number) if other is not None and other != place]
    joined = Node("SeparableConv", inputs, outputs, attributes, FUNCTION_DOMAIN, node.name)
    draft.put(place, joined, removed)


def _of(node: Node | None, name: str, default: Any) -> Any:
    return default if node is None else node.attributes.get(name, default)


def _is_depthwise(draft: Draft, node: Node) -> bool:
    """Whether a node is a convolution with one filter a channel, of more than one tap."""
    if node.operator != "FusedConv" or node.inputs[3:]:
        return False
    weight = draft.constant(node.inputs[1])
    assert weight is not None
    channels, each, *kernel = weight.shape
    return (node.attributes.get("group", 1) == channels > 1 and each == 1
            and tuple(kernel) != (1, 1))


def _is_pointwise(draft: Draft, node: Node) -> bool:
    """Whether a node is a convolution of a pixel at a time."""
    if node.operator != "FusedConv" or node.attributes.get("group", 1) != 1:
        return False
    weight = draft.constant(node.inputs[1])
    assert weight is not None
    return (weight.shape[2:] == (1, 1) and not any(node.attributes.get("pads") or [])
            and all(step == 1 for step in node.attributes.get("strides") or []))
