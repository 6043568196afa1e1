"""Concat by channel offset: values are written where they will stand side by side.

An image is stored with its channels last and any pitch, so a slice of channels of a larger image is
an image, too. `Places` decides before recording which values lie in the buffer of which Concat; the
node that makes such a value is given its slice to write to, and the Concat has nothing to copy.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .. import _core
from ..graph import Graph, Node

__all__ = ["Places", "is_same"]

Shape = tuple[int, ...]


class Places:
    """Where values stand in the buffers of Concat nodes.

    Parameters
    ----------
    graph : Graph
    shapes : mapping
        Of the values that are recorded images (N, C, H, W).
    """

    def __init__(self, graph: Graph, shapes: Mapping[str, Shape]) -> None:
        self._shapes = shapes
        self._place: dict[str, tuple[str, int]] = {}  # value: buffer, first channel
        self._joined: dict[str, tuple[str, int]] = {}  # the same of a Concat's result
        self._buffers: dict[str, np.ndarray] = {}
        made = {name for node in graph.nodes for name in node.outputs}
        for node in reversed(graph.nodes):  # of nested ones the outermost comes first
            if self._is_join(node):
                self._enter(node, made)

    def __bool__(self) -> bool:
        return bool(self._joined)

    def _is_join(self, node: Node) -> bool:
        names = [*node.inputs, *node.outputs]
        return (
            node.operator == "Concat" and node.attributes.get("axis", 1) in (1, -3)
            and all(name in self._shapes for name in names)
        )

    def _enter(self, node: Node, made: set[str]) -> None:
        result = node.outputs[0]
        given = [self._place.get(name) for name in node.inputs]
        first = given[0]
        if first is not None and result not in self._place:  # already side by side elsewhere
            ends, at = [], first[1]
            for name in node.inputs:
                ends.append((first[0], at))
                at += self._shapes[name][1]
            if given == ends:
                self._joined[result] = first
                return
        root, at = self._joined[result] = self._place.get(result, (result, 0))
        for name in node.inputs:
            if name in made and name not in self._place and node.inputs.count(name) == 1:
                self._place[name] = (root, at)
            at += self._shapes[name][1]

    def _slice(self, root: str, at: int, channels: int) -> np.ndarray:
        if root not in self._buffers:
            self._buffers[root] = _core.empty_image(*self._shapes[root])
        return self._buffers[root][:, at : at + channels]

    def destination(self, node: Node) -> np.ndarray | None:
        """Return the slice that the result of `node` shall be written to."""
        place = self._place.get(node.outputs[0]) if len(node.outputs) == 1 else None
        if place is None or node.outputs[0] in self._joined:
            return None
        return self._slice(*place, self._shapes[node.outputs[0]][1])

    def join(self, node: Node, arrays: list[np.ndarray]) -> np.ndarray | None:
        """Return the result of a Concat, copying only what does not stand in its place."""
        joined = self._joined.get(node.outputs[0])
        if joined is None:
            return None
        root, start = joined
        at = start
        for array in arrays:
            target = self._slice(root, at, array.shape[1])
            if not is_same(target, array):
                _core.copy(target, array)
            at += array.shape[1]
        return self._slice(root, start, at - start)


def is_same(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays are the same elements."""
    return (a.dtype == b.dtype and a.shape == b.shape and a.strides == b.strides
            and a.ctypes.data == b.ctypes.data)
