"""Scales before a convolution are applied where it reads its image, not in a pass of their own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...graph import Graph, Node
from ..vocabulary import FUNCTION_DOMAIN
from .rewriting import Draft

__all__ = ["fuse_scales"]

Prologue = tuple[list[str], float, float]
"""Image, scale and shift ("" for none); the bounds behind."""

_BOUNDS = {"identity": (-np.inf, np.inf), "relu": (0.0, np.inf)}


def fuse_scales(graph: Graph) -> Graph:
    """Let a 1x1 convolution take up the scale of its image and, of a batch norm, shift and bounds.

    The scale is what squeeze-and-excitation multiplies with, or a batch norm that
    `lower_batch_norms` wrote as a depthwise convolution of one tap.
    """
    draft = Draft(graph)
    for number in range(len(graph.nodes)):
        node = draft.nodes[number]
        if node is None or node.operator != "FusedConv" or node.attributes.get("group", 1) != 1:
            continue
        weight = draft.constant(node.inputs[1])
        if weight is None or weight.shape[2:] != (1, 1):
            continue
        before = draft.maker(node.inputs[0], "Mul", "FusedConv")
        if before is None or draft.only_reader(node.inputs[0]) is None:
            continue
        found = _prologue(draft, draft.node(before))
        if found is not None:
            operands, low, high = found
            attributes = {**node.attributes, "low": low, "high": high}
            scaled = replace(node, operator="ScaledConv", inputs=[*operands, *node.inputs[1:]],
                             attributes=attributes, domain=FUNCTION_DOMAIN)
            draft.put(number, scaled, [before])
    return draft.finish()


def _prologue(draft: Draft, node: Node) -> Prologue | None:
    """Return what `node` does where that is to scale its image."""
    if node.operator == "Mul":
        constants = [name for name in node.inputs if draft.constant(name) is not None]
        return None if constants else ([*node.inputs, ""], -np.inf, np.inf)
    given = node.attributes
    weight = draft.constant(node.inputs[1])
    if weight is None or weight.shape != (given.get("group", 1), 1, 1, 1) or node.inputs[3:]:
        return None
    if any(given.get("pads") or []) or any(s != 1 for s in given.get("strides", ())):
        return None
    activation = given.get("activation", "identity")
    bounds = (given["alpha"], given["beta"]) if activation == "clamp" else _BOUNDS.get(activation)
    if bounds is None or given.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return None
    scale = draft.add_constant(f"{node.inputs[1]}.row", weight.reshape(1, -1, 1, 1))
    return [node.inputs[0], scale, *(node.inputs[2:3] or [""])], *bounds
