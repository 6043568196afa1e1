"""Convolutions take up what stands around them: pads, scales, residuals, activations."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ...graph import Graph, Node
from ...onnx.interpreter import describe
from ..vocabulary import FUNCTION_DOMAIN
from .activations import Activation, activation_of
from .rewriting import Draft

__all__ = [
    "fold_pads", "fold_scales", "fuse_convolutions", "groups", "lower_batch_norms", "per_channel",
]


def groups(node: Node, weight: np.ndarray) -> int:
    """Return the groups of a convolution, which divide the first axis of its weight."""
    given = node.attributes.get("group", 1)
    if given < 1 or weight.shape[0] % given:
        raise ValueError(f"{describe(node)}: group {given} does not fit weights {weight.shape}")
    return int(given)


def _has_pads(node: Node) -> bool:
    return node.attributes.get("auto_pad", "NOTSET") in ("NOTSET", "VALID")


def fold_pads(graph: Graph) -> Graph:
    """Let a convolution pad by itself where zeros were put around its image before."""
    draft = Draft(graph)
    for number, node in enumerate(graph.nodes):
        if node.operator != "Conv" or not _has_pads(node):
            continue
        pad = draft.maker(node.inputs[0], "Pad")
        if pad is None or draft.only_reader(node.inputs[0]) is None:
            continue
        widths = _zero_border(draft, draft.node(pad))
        if widths is None:
            continue
        half = len(widths) // 2
        inner = [*widths[2:half], *widths[half + 2 :]]
        valid = node.attributes.get("auto_pad") == "VALID"
        own = [] if valid else node.attributes.get("pads")
        own = own or [0] * len(inner)
        pads = [a + b for a, b in zip(own, inner, strict=True)]
        attributes = {**node.attributes, "pads": pads, "auto_pad": "NOTSET"}
        inputs = [draft.node(pad).inputs[0], *node.inputs[1:]]
        draft.put(number, replace(node, inputs=inputs, attributes=attributes), [pad])
    return draft.finish()


def _zero_border(draft: Draft, node: Node) -> list[int] | None:
    """Return the widths of a Pad that puts zeros around images and changes nothing else."""
    given = [*node.inputs[1:], "", "", ""]
    if node.attributes.get("mode", "constant") != "constant" or given[2]:
        return None
    widths = draft.constant(given[0]) if given[0] else node.attributes.get("pads")
    fill = draft.constant(given[1]) if given[1] else node.attributes.get("value", 0.0)
    if widths is None or fill is None or np.any(np.asarray(fill) != 0):
        return None
    flat = [int(width) for width in np.ravel(widths)]
    rank = len(flat) // 2
    outer = [*flat[:2], *flat[rank : rank + 2]]
    return flat if rank > 2 and not any(outer) and min(flat) >= 0 else None


# ---- scales --------------------------------------------------------------------------------


def fold_scales(graph: Graph) -> Graph:
    """Multiply batch normalisation, and factors and summands a channel, into the weights before."""
    draft = Draft(graph)
    for number in range(len(graph.nodes)):
        node = draft.nodes[number]
        while node is not None and node.operator in ("Conv", "ConvTranspose"):
            reader = draft.only_reader(node.outputs[0])
            affine = None if reader is None else _affine(draft, draft.node(reader), node)
            if reader is None or affine is None or not _scale(draft, number, reader, *affine):
                break
            node = draft.nodes[reader]
            number = reader
    return draft.finish()


def _affine(draft: Draft, node: Node, source: Node) -> tuple[np.ndarray, np.ndarray] | None:
    """Return factors and summands a channel that `node` applies to the result of `source`."""
    weight = draft.constant(source.inputs[1])
    if weight is None or weight.dtype != np.float32:
        return None
    group = groups(source, weight)
    channels = weight.shape[0] if source.operator == "Conv" else weight.shape[1] * group
    if node.operator == "BatchNormalization":
        vectors = [draft.constant(name) for name in node.inputs[1:5]]
        if node.attributes.get("training_mode") or any(v is None for v in vectors):
            return None
        scale, bias, mean, var = (np.asarray(v, np.float64) for v in vectors)
        if any(v.shape != (channels,) for v in (scale, bias, mean, var)):
            return None  # whoever runs the graph is told
        factor = scale / np.sqrt(var + node.attributes.get("epsilon", 1e-5))
        return factor, bias - mean * factor
    if node.operator not in ("Add", "Sub", "Mul", "Div") or len(node.inputs) != 2:
        return None
    first = node.inputs[0] == source.outputs[0]
    other = draft.constant(node.inputs[1 if first else 0])
    if other is None or node.inputs[0] == node.inputs[1] or not (
            first or node.operator in ("Add", "Mul")) or "axis" in node.attributes:
        return None
    vector = per_channel(other, channels, weight.ndim)
    if vector is None:
        return None
    ones, zeros = np.ones(channels), np.zeros(channels)
    return {
        "Add": (ones, vector), "Sub": (ones, -vector), "Mul": (vector, zeros),
        "Div": (1 / vector if vector.all() else ones * np.nan, zeros),
    }[node.operator]


def per_channel(array: np.ndarray, channels: int, rank: int) -> np.ndarray | None:
    """Return one number a channel where `array` broadcasts to images of `rank` axes so."""
    if array.size == 1 and array.ndim <= rank:
        return np.full(channels, float(array.reshape(-1)[0]))
    wide = (1,) * (rank - array.ndim) + array.shape
    if len(wide) == rank and wide[1] == channels == array.size:
        return array.reshape(-1).astype(np.float64)
    return None


def _scale(
    draft: Draft, number: int, reader: int, factor: np.ndarray, summand: np.ndarray
) -> bool:
    """Put a convolution with scaled weights in the place of `reader`; False where it cannot be."""
    node = draft.node(number)
    weight = draft.constant(node.inputs[1])
    bias = np.zeros(factor.shape)
    if len(node.inputs) > 2 and node.inputs[2]:
        given = draft.constant(node.inputs[2])
        if given is None:
            return False
        bias = given.astype(np.float64)
    if weight is None or not np.isfinite(factor).all():
        return False
    if node.operator == "Conv":
        scaled = weight * factor.reshape(-1, *[1] * (weight.ndim - 1))
    else:  # (C, O / groups, ...): the outputs of a group stand along axis 1
        group = groups(node, weight)
        cut = weight.reshape(group, -1, *weight.shape[1:])
        scaled = cut * factor.reshape(group, 1, -1, *[1] * (weight.ndim - 2))
        scaled = scaled.reshape(weight.shape)
    shift = (bias * factor + summand).astype(np.float32)
    names = [
        draft.add_constant(node.inputs[1], scaled.astype(np.float32)),
        draft.add_constant(f"{node.outputs[0]}.shift", shift),
    ]
    inputs = [node.inputs[0], *names]
    outputs = draft.node(reader).outputs[:1]
    draft.put(reader, replace(node, inputs=inputs, outputs=outputs), [number])
    return True


_OF_IMAGES = (
    "Relu", "MaxPool", "AveragePool", "BatchNormalization", "Clip", "Sigmoid", "HardSwish",
    "HardSigmoid", "Swish", "LeakyRelu", "Concat", "Add",
)  # fmt: skip
"""Operators whose result is an image (N, C, H, W) where their first input is one."""


def lower_batch_norms(graph: Graph) -> Graph:
    """Write a normalisation that no convolution takes up as a depthwise convolution of one tap.

    So it takes up what follows: factors, summands, an activation.
    """
    draft = Draft(graph)
    for number, node in enumerate(graph.nodes):
        if node.operator != "BatchNormalization" or len(node.outputs) > 1:
            continue
        if not _is_image(draft, node.inputs[0]):
            continue
        scale = draft.constant(node.inputs[1])
        if scale is None or scale.dtype != np.float32:
            continue
        ones = np.ones((scale.size, 1, 1, 1), np.float32)
        weight = draft.add_constant(f"{node.outputs[0]}.scale", ones)
        conv = Node("Conv", [node.inputs[0], weight], node.outputs, {"group": scale.size})
        affine = _affine(draft, node, conv)
        if affine is not None:
            shift = draft.add_constant(f"{node.outputs[0]}.shift", affine[1].astype(np.float32))
            draft.constants[weight] = ones * affine[0].astype(np.float32).reshape(-1, 1, 1, 1)
            draft.put(number, replace(conv, inputs=[*conv.inputs, shift], name=node.name))
    return draft.finish()


def _is_image(draft: Draft, name: str) -> bool:
    """Whether a convolution of images shows that `name` has four axes."""
    while True:
        number = draft.maker(name, "Conv", *_OF_IMAGES)
        if number is None:
            return False
        node = draft.node(number)
        if node.operator == "Conv":
            return _is_two_dimensional(draft, node)
        name = node.inputs[0]


# ---- epilogues -----------------------------------------------------------------------------


def fuse_convolutions(graph: Graph) -> Graph:
    """Join a convolution of images with the addition and the activation that follow it."""
    draft = Draft(graph)
    for number in range(len(graph.nodes)):
        node = draft.nodes[number]
        if node is not None and node.operator == "Conv" and _is_two_dimensional(draft, node):
            _fuse(draft, number, node)
    return draft.finish()


def _is_two_dimensional(draft: Draft, node: Node) -> bool:
    weight = draft.constant(node.inputs[1])
    return weight is not None and weight.ndim == 4 and weight.dtype == np.float32


def _fuse(draft: Draft, number: int, node: Node) -> None:
    inputs, place, removed = [*node.inputs, ""][:3], number, []
    attributes: dict[str, Any] = dict(node.attributes)
    reader = draft.only_reader(node.outputs[0])
    add = reader if reader is not None and draft.node(reader).operator == "Add" else None
    if add is not None and not draft.node(add).attributes:  # opset 6 aligned axes otherwise
        a, b = draft.node(add).inputs
        residual = b if a == node.outputs[0] else a
        if draft.constant(residual) is None and a != b:
            inputs, place, removed = [*inputs, residual], add, [number]
    after = draft.only_reader(draft.node(place).outputs[0])
    activation = None if after is None else activation_of(draft, draft.node(after))
    if after is not None and activation is not None:
        removed, place = [*removed, place], after
        channels = draft.constants[node.inputs[1]].shape[0]
        activation, behind = _with_numbers(draft, place, activation, channels)
        if behind:
            removed, place = [*removed, place, *behind[:-1]], behind[-1]
        attributes["activation"], attributes["alpha"], attributes["beta"] = activation
    outputs = draft.node(place).outputs[:1]
    fused = Node("FusedConv", inputs, outputs, attributes, FUNCTION_DOMAIN, node.name)
    draft.put(place, fused, removed)


def _with_numbers(
    draft: Draft, number: int, activation: Activation, channels: int
) -> tuple[Activation, list[int]]:
    """Return what node `number` and the factors and summands behind it compute, and those nodes.

    Only behind a hard-swish, where PP-LCNetV3 has a "learnable affine block".
    """
    scale, shift, behind = 1.0, 0.0, list[int]()
    if activation[0] != "hardswish":
        return activation, behind
    while (reader := draft.only_reader(draft.node(number).outputs[0])) is not None:
        beside = _number_beside(draft, draft.node(reader), draft.node(number).outputs[0], channels)
        if beside is None:
            break
        if draft.node(reader).operator == "Mul":
            scale, shift = scale * beside, shift * beside
        else:
            shift += beside
        behind.append(reader)
        number = reader
    return ("hardswish_affine", scale, shift) if behind else activation, behind


def _number_beside(draft: Draft, node: Node, name: str, channels: int) -> float | None:
    """Return the number by which `node` multiplies the image `name`, or which it adds."""
    if node.operator not in ("Mul", "Add") or node.attributes:
        return None
    constant = draft.constant(node.inputs[1] if node.inputs[0] == name else node.inputs[0])
    if constant is None or constant.dtype != np.float32 or not np.isfinite(constant).all():
        return None
    wide = per_channel(constant, channels, 4)
    return float(wide[0]) if wide is not None and (wide == wide[0]).all() else None
