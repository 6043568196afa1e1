"""Channel shuffles: three operators of fixed sizes become one that takes any batch."""

from __future__ import annotations

from ...graph import Graph, Node
from ..vocabulary import FUNCTION_DOMAIN
from .rewriting import Draft

__all__ = ["recognize_shuffles"]


def recognize_shuffles(graph: Graph) -> Graph:
    """Write (N, g c, H, W) -> (N, g, c, H, W) -> (N, c, g, H, W) -> (N, c g, H, W) as one operator.

    Exporters write the sizes as constants, even the batch's.
    """
    draft = Draft(graph)
    for number in range(len(graph.nodes)):
        node = draft.nodes[number]
        found = None if node is None or node.operator != "Reshape" else _shuffle(draft, node)
        if node is not None and found is not None:
            x, split, between = found
            draft.put(number, Node("ChannelShuffle", [x], node.outputs, {"split": split},
                                   FUNCTION_DOMAIN, node.name), between)
    return draft.finish()


def _shuffle(draft: Draft, node: Node) -> tuple[str, list[int], list[int]] | None:
    """Return image, sizes and the other two nodes where `node` is the last of a shuffle."""
    turn = draft.maker(node.inputs[0], "Transpose")
    if turn is None or draft.only_reader(node.inputs[0]) is None:
        return None
    transpose = draft.node(turn)
    first = draft.maker(transpose.inputs[0], "Reshape")
    if first is None or draft.only_reader(transpose.inputs[0]) is None:
        return None
    split = _sizes(draft, draft.node(first).inputs[1])
    merged = _sizes(draft, node.inputs[1])
    if transpose.attributes.get("perm") != [0, 2, 1, 3, 4]:
        return None
    if len(split) != 5 or min(split[1:]) < 1 or len(merged) != 4:
        return None
    if merged[1:] != [split[1] * split[2], *split[3:]]:
        return None
    if split[0] != merged[0] and not {split[0], merged[0]} <= {0, -1}:
        return None
    return draft.node(first).inputs[0], split, [turn, first]


def _sizes(draft: Draft, name: str) -> list[int]:
    """Return a constant as a list, an empty one for any other value."""
    array = draft.constant(name)
    return [] if array is None else [int(size) for size in array.reshape(-1)]
