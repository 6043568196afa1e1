"""Raw images as input: bytes, channels last, as Pillow and OpenCV give them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..graph import Graph, Node, ValueType

__all__ = ["with_image_input"]

_FLOAT32 = 1  # TensorProto.DataType


def with_image_input(graph: Graph, mean: Any, std: Any) -> Graph:
    """Return `graph` behind an input ``image``, uint8 (N, H, W, C), that is normalised first.

    The passes fold the factors into the first convolution.

    Parameters
    ----------
    graph : Graph
        Of one input, float32 (N, C, H, W).
    mean, std : number or sequence of numbers
        One, or one a channel, for pixels between 0 and 1: the network reads (x / 255 - mean) / std.

    Raises
    ------
    ValueError
        Where the graph has another input, or the numbers do not fit its channels.
    """
    name, (dtype, shape) = next(iter(graph.inputs.items()))
    if len(graph.inputs) != 1 or dtype != "float32" or shape is None or len(shape) != 4:
        raise ValueError(f"normalize needs a model of one image input, got {graph.inputs}")
    channels = shape[1] if isinstance(shape[1], int) and shape[1] > 0 else None
    means, stds = (np.asarray(value, np.float64).reshape(-1) for value in (mean, std))
    if {means.size, stds.size} - {1, channels} or not stds.all():
        raise ValueError(
            f"normalize: expected (mean, std) of one number or {channels}, and no std of 0, "
            f"got {mean} and {std}"
        )
    used = {n for node in graph.nodes for n in node.outputs} | {*graph.constants, name}
    new = {key: key + "_" * sum(n.startswith(key) for n in used) for key in (
        "image", "image.planes", "image.floats", "image.scaled", "image.scale", "image.shift")}
    image, planes, floats, scaled, scale, shift = new.values()
    constants = {
        scale: (1 / (255 * stds)).astype(np.float32).reshape(-1, 1, 1),
        shift: (-means / stds).astype(np.float32).reshape(-1, 1, 1),
    }
    nodes = [
        Node("Transpose", [image], [planes], {"perm": [0, 3, 1, 2]}),
        Node("Cast", [planes], [floats], {"to": _FLOAT32}),
        Node("Mul", [floats, scale], [scaled]),
        Node("Add", [scaled, shift], [name]),
    ]
    inputs: dict[str, ValueType] = {image: ("uint8", (shape[0], *shape[2:], shape[1]))}
    return replace(
        graph, nodes=[*nodes, *graph.nodes], inputs=inputs,
        constants={**graph.constants, **constants},
    )
