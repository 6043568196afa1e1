"""Constant factors and summands in front of a convolution: into its weights, or into one pass."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...graph import Graph, Node
from ..vocabulary import FUNCTION_DOMAIN
from .convolutions import groups, per_channel
from .rewriting import Draft

__all__ = ["factor_residuals", "fold_factors", "fuse_affine"]


def fold_factors(graph: Graph) -> Graph:
    """Multiply constants a channel that the image of a convolution is scaled by into its weights.

    A summand goes into the bias where nothing is padded. Where zeros are, they stand for zeros
    after the summand: then x * c + d becomes x + d / c, and the weights take c.
    """
    draft = Draft(graph)
    for number, node in enumerate(graph.nodes):
        weight = draft.constant(node.inputs[1]) if node.operator == "Conv" else None
        if weight is None or weight.dtype != np.float32 or weight.ndim < 3:
            continue
        while _fold_add(draft, number) or _fold_mul(draft, number):
            pass
    return draft.finish()


def _before(draft: Draft, name: str, operator: str, channels: int, rank: int) -> tuple[
        int, str, np.ndarray] | None:
    """Return number, image and constant of the node `operator` that only makes `name`."""
    number = draft.maker(name, operator)
    if number is None or draft.only_reader(name) is None or draft.node(number).attributes:
        return None
    for x, other in (draft.node(number).inputs, draft.node(number).inputs[::-1]):
        constant = draft.constant(other)
        vector = None if constant is None else per_channel(constant, channels, rank)
        if constant is None or vector is None:
            continue
        if constant.size == 1 or _channels(draft, x, rank) == channels:
            return number, x, vector
    return None


def _channels(draft: Draft, name: str, rank: int) -> int | None:
    """Return how many channels an image has before or after factors and summands a channel."""
    number = draft.maker(name, "Mul", "Add")
    if number is None:
        return draft.channels(name, rank)
    x, other = draft.node(number).inputs
    x, other = (other, x) if draft.constant(other) is None else (x, other)
    constant, channels = draft.constant(other), draft.channels(x, rank)
    if constant is None or channels is None or per_channel(constant, channels, rank) is None:
        return None
    return channels


def _spread(node: Node, weight: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Return `weight` (O, I / groups, ...) times one number an input channel."""
    group = groups(node, weight)
    cut = weight.reshape(group, -1, *weight.shape[1:]).astype(np.float64)
    wide = vector.reshape(group, 1, weight.shape[1], *[1] * (weight.ndim - 2))
    return (cut * wide).reshape(weight.shape)


def _weight(draft: Draft, node: Node) -> tuple[np.ndarray, int]:
    """Return the weight of a convolution and the number of its input channels."""
    weight = draft.constants[node.inputs[1]]
    return weight, weight.shape[1] * groups(node, weight)


def _fold_mul(draft: Draft, number: int) -> bool:
    node = draft.node(number)
    weight, channels = _weight(draft, node)
    found = _before(draft, node.inputs[0], "Mul", channels, weight.ndim)
    if found is None or not np.isfinite(found[2]).all():
        return False
    before, x, factor = found
    scaled = _spread(node, weight, factor).astype(np.float32)
    name = draft.add_constant(node.inputs[1], scaled)
    draft.put(number, replace(node, inputs=[x, name, *node.inputs[2:]]), [before])
    return True


def _fold_add(draft: Draft, number: int) -> bool:
    node = draft.node(number)
    weight, channels = _weight(draft, node)
    found = _before(draft, node.inputs[0], "Add", channels, weight.ndim)
    if found is None:
        return False
    before, x, summand = found
    padded = node.attributes.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID")
    if padded or any(node.attributes.get("pads") or []):
        return _exchange(draft, number, before, x, summand)
    shift = _spread(node, weight, summand).sum(axis=tuple(range(1, weight.ndim)))
    given = node.inputs[2] if len(node.inputs) > 2 else ""
    bias = draft.constant(given) if given else np.zeros(weight.shape[0])
    if bias is None or not np.isfinite(shift).all():
        return False
    name = draft.add_constant(f"{node.outputs[0]}.bias", (bias + shift).astype(np.float32))
    draft.put(number, replace(node, inputs=[x, node.inputs[1], name]), [before])
    return True


def _exchange(draft: Draft, number: int, add: int, x: str, summand: np.ndarray) -> bool:
    """Write (x * c + d) as (x + d / c) * c, and give c to the weights."""
    node = draft.node(number)
    weight, channels = _weight(draft, node)
    found = _before(draft, x, "Mul", channels, weight.ndim)
    if found is None or not np.isfinite(found[2]).all() or not found[2].all():
        return False
    mul, x, factor = found
    wide = (summand / factor).astype(np.float32).reshape(-1, *[1] * (weight.ndim - 2))
    constant = draft.add_constant(f"{node.outputs[0]}.summand", wide)
    draft.put(add, Node("Add", [x, constant], draft.node(add).outputs, {}), [mul])
    scaled = _spread(node, weight, factor).astype(np.float32)
    name = draft.add_constant(node.inputs[1], scaled)
    draft.put(number, replace(node, inputs=[node.inputs[0], name, *node.inputs[2:]]))
    return False


def factor_residuals(graph: Graph) -> Graph:
    """Write x + x * g as x * (g + 1): g is a gate a channel, and x is swept once."""
    draft = Draft(graph)
    for number in range(len(graph.nodes)):
        node = draft.nodes[number]
        if node is None or node.operator != "Add" or node.attributes or len(node.inputs) != 2:
            continue
        for x, product in (node.inputs, node.inputs[::-1]):
            mul = draft.maker(product, "Mul")
            if mul is None or draft.only_reader(product) is None or draft.node(mul).attributes:
                continue
            a, b = draft.node(mul).inputs
            gate = b if a == x else a
            if x not in (a, b) or draft.maker(gate, "Sigmoid", "HardSigmoid") is None:
                continue
            more = draft.free_name(f"{product}.more")
            one = draft.add_constant(f"{product}.one", np.array(1, np.float32))
            draft.put(mul, Node("Add", [gate, one], [more], {}, name=draft.node(mul).name))
            draft.put(number, Node("Mul", [x, more], node.outputs, {}, name=node.name))
            break
    return draft.finish()


def fuse_affine(graph: Graph) -> Graph:
    """Write x * c + d with two numbers as one operator."""
    draft = Draft(graph)
    for number in range(len(graph.nodes)):
        node = draft.nodes[number]
        if node is None or node.operator != "Mul":
            continue
        factor = _number_beside(draft, node)
        reader = draft.only_reader(node.outputs[0])
        if factor is None or reader is None or draft.node(reader).operator != "Add":
            continue
        summand = _number_beside(draft, draft.node(reader))
        if summand is None or summand[0] != node.outputs[0]:
            continue
        attributes = {"alpha": factor[1], "beta": summand[1]}
        outputs = draft.node(reader).outputs
        affine = Node("Affine", [factor[0]], outputs, attributes, FUNCTION_DOMAIN, node.name)
        draft.put(reader, affine, [number])
    return draft.finish()


def _number_beside(draft: Draft, node: Node) -> tuple[str, float] | None:
    """Return the operand of `node` that is no constant, and the number that the other one is."""
    for x, other in (node.inputs, node.inputs[::-1]):
        constant = draft.constant(other)
        if (
            constant is not None and constant.size == 1 and constant.ndim <= 1
            and constant.dtype == np.float32 and draft.constant(x) is None
        ):
            return x, float(constant.reshape(-1)[0])
    return None
