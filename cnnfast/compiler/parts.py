"""A batch in parts: the first operators of a network run on a few samples at a time, a thread each.

The threads then do not wait for each other after every layer, and what one layer hands to the next
stays in the caches. But each part reads the weights anew, so where these outweigh the images (the
last layers of most networks), the whole batch goes on together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .. import _core
from ..graph import Graph, Node
from .plan import live_calls
from .vocabulary import FUNCTION_DOMAIN

__all__ = ["choose_parts", "crossing_values", "traffic_of"]

LEAST_PARTS = 4
"""Parts of several samples are that many at least, so that a few threads share them evenly."""
CACHE_BYTES = 4 << 20
"""What a layer reads and writes of a part, where that is more than one sample."""

_PER_SAMPLE = frozenset({
    "Affine", "AveragePool", "BatchNormalization", "ChannelShuffle", "Clip", "Conv",
    "ConvTranspose", "Elu", "Erf", "Exp", "FlattenChannelsLast", "FusedLinear", "Gelu",
    "GlobalAveragePool", "GlobalMaxPool", "HardSigmoid", "HardSwish", "Identity", "LRN",
    "LeakyRelu", "MaxPool", "Mish", "Neg", "Relu", "Reshape", "Sigmoid", "Softplus", "Swish",
    "Tanh",
})  # fmt: skip
"""Operators of which a sample's result follows from that sample and from constants."""
_BROADCAST = frozenset({"Add", "Concat", "Div", "Max", "Min", "Mul", "PRelu", "Sub", "Sum"})
"""Operators that meet sample i of one operand with sample i of another."""
_AXIS = {"Concat": 0, "Flatten": 1, "Softmax": -1, "Split": 0}
"""Operators that leave samples apart unless their axis, else this one, is the batch's."""
_RESIDUAL_AT = {"FusedConv": 3, "SeparableConv": 7}
"""Where convolutions have what they add."""

Shape = tuple[int, ...]


@dataclass
class Traffic:
    """Bytes that the calls of one node touch: of values, and of constants such as weights."""

    values: int = 0
    constants: int = 0


def traffic_of(recording: _core.Recording, labels: list[int], nodes: int) -> list[Traffic]:
    """Return what each of so many nodes reads and writes; `labels` are the nodes of the calls."""
    result = [Traffic() for _ in range(nodes)]
    calls = recording.calls
    for number in live_calls(recording):
        node = result[labels[number]]
        for array in calls[number][3]:
            if array is not None and recording.is_unknown(array):
                node.values += array.nbytes
            elif array is not None:
                node.constants += array.nbytes
    return result


def choose_parts(
    graph: Graph, shapes: Mapping[str, Shape], traffic: list[Traffic]
) -> tuple[int, int] | None:
    """Return how many nodes to run in parts, and how many parts; None where none gains.

    Parameters
    ----------
    graph : Graph
    shapes : mapping
        Of all values that depend on the inputs.
    traffic : list of Traffic
        Of each node, with the whole batch.
    """
    batch = next((shapes[name][:1] for name in graph.inputs), ())
    apart = 0
    while apart < len(graph.nodes) and _keeps_apart(graph, graph.nodes[apart], shapes, batch):
        apart += 1
    best: tuple[float, int, int] = (0, 0, 1)
    for parts in _divisions(batch[0] if batch else 0):
        gain = 0.0
        for number, node in enumerate(traffic[:apart]):
            most = CACHE_BYTES * parts if parts < batch[0] else node.values
            gain += min(node.values, most) - (parts - 1) * node.constants
            if gain > best[0] and _can_cut(graph, number + 1):
                best = (gain, number + 1, parts)
    return best[1:] if best[0] > 0 else None


def _divisions(batch: int) -> list[int]:
    """Return the numbers of parts into which a batch may be cut."""
    several = [n for n in range(LEAST_PARTS, batch) if batch % n == 0]
    return [*several, batch] if batch > 1 else []


def _can_cut(graph: Graph, cut: int) -> bool:
    """Whether one value, or nothing but the graph's outputs, leaves the first nodes.

    Not one that a Concat reads: it would have to be copied next to the others.
    """
    if cut == len(graph.nodes):
        return True
    late = {name for node in graph.nodes[cut:] for name in node.reads()}
    crossing = crossing_values(graph, cut)
    joined = {n for node in graph.nodes[cut:] if node.operator == "Concat" for n in node.inputs}
    return len(crossing) == 1 and late.isdisjoint(graph.inputs) and joined.isdisjoint(crossing)


def _keeps_apart(graph: Graph, node: Node, shapes: Mapping[str, Shape], batch: Shape) -> bool:
    """Whether sample i of the result follows from the samples i of what the node reads."""
    varying = [name for name in node.inputs if name and name not in graph.constants]
    constants = [graph.constants[name] for name in node.inputs if name in graph.constants]
    named = [*varying, *(name for name in node.outputs if name)]
    if node.domain not in ("", "ai.onnx", FUNCTION_DOMAIN) or not varying or not batch:
        return False
    if any(shapes.get(name, ())[:1] != batch for name in named):
        return False
    rank = len(shapes[named[0]])
    if node.operator in _AXIS and node.attributes.get("axis", _AXIS[node.operator]) % rank == 0:
        return False
    if node.operator in _BROADCAST:
        return all(len(shapes[name]) == rank for name in named) and all(
            array.ndim < rank or array.shape[0] == 1 for array in constants)
    if node.operator in _RESIDUAL_AT:  # with a residual or without
        return varying == [node.inputs[0], *node.inputs[_RESIDUAL_AT[node.operator] :]]
    if node.operator == "ScaledConv":
        return rank == 4 and not set(node.inputs[2:5]) & set(varying)
    if node.operator == "Reshape" and constants and constants[0].reshape(-1)[0] == batch[0]:
        return False  # other batches would not fit
    return node.operator in _PER_SAMPLE | _AXIS.keys() and varying == node.inputs[:1]


def crossing_values(graph: Graph, cut: int) -> list[str]:
    """Return the names that the first `cut` nodes make and the others, or the outputs, read."""
    read = set(graph.outputs)
    for node in graph.nodes[cut:]:
        read |= node.reads()
    made = dict.fromkeys(name for node in graph.nodes[:cut] for name in node.outputs)
    return [name for name in made if name in read]
