"""Weights of which only the form that the kernels read is kept.

A convolution's weight is packed when the first plan is made, and nothing reads the original any
more. `CompiledModel` then puts a `PackedWeight` in its place: packing by the direct algorithm only
moves numbers, so the original can be made anew where somebody asks for it, as saving does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from .. import _core
from ..functional.convolution import Attributes
from ..graph import Graph
from ..onnx.operators.values import Value
from ..tensor import Tensor

__all__ = ["PackedWeight", "packed_weights", "with_originals"]


class PackedWeight(Tensor):
    """A weight without an original of its own; shares what was packed with the Tensor it is of.

    Reading `array` makes the original anew each time.
    """

    __slots__ = ("_key",)
    _key: tuple[str, tuple[int, ...], Attributes, bool, str, str]

    @classmethod
    def of(cls, weight: Tensor) -> PackedWeight | None:
        """Return `weight` without its original, or None where it cannot do without.

        Winograd's transform rounds, so a weight that was packed by it alone stays.
        """
        for key, (_, packed) in list(weight.packed.items()):
            _, _, _, backward, algorithm, _ = key
            if packed.size and not backward and algorithm == "direct":
                result = cls.__new__(cls)
                result._initialise(np.broadcast_to(np.float32(0), weight.shape))
                result.packed, result.version_counter = weight.packed, weight.version_counter
                result._key = key
                return result
        return None

    @property
    def placeholder(self) -> np.ndarray:
        """An array of the weight's shape that takes no memory; zeros, for who needs no more."""
        return self._array

    @property
    def isa(self) -> str:
        """The instruction set that it is packed for."""
        return self._key[-1]

    @property
    def array(self) -> np.ndarray:
        """The original, made anew; no recording may be in progress on another instruction set."""
        _, shape, attributes, _, _, isa = self._key
        _, packed = self.packed[self._key]
        return _unpacked(packed, shape, attributes, isa).reshape(self.shape)

    def lend(self) -> np.ndarray:
        """Return a copy: there is no memory to lend."""
        return self.array

    def detach(self) -> Tensor:
        """Return a Tensor over a copy."""
        return Tensor.wrap(self.array)


def packed_weights(constants: Mapping[str, Value]) -> dict[str, PackedWeight]:
    """Return a PackedWeight for each of `constants` that still has an original to do without."""
    found = {
        name: PackedWeight.of(value) for name, value in constants.items()
        if isinstance(value, Tensor) and not isinstance(value, PackedWeight)
    }
    return {name: weight for name, weight in found.items() if weight is not None}


def with_originals(graph: Graph, constants: Mapping[str, Value]) -> Graph:
    """Return `graph` with the originals of those of its constants that are PackedWeights."""
    originals = {n: v.array for n, v in constants.items() if isinstance(v, PackedWeight)}
    return replace(graph, constants={**graph.constants, **originals}) if originals else graph


def _unpacked(
    packed: np.ndarray, shape: tuple[int, ...], attributes: Attributes, isa: str
) -> np.ndarray:
    """Return the weight (O, I, kh, kw) that was packed on `isa`.

    The order is the kernels' business: numbers that count, packed likewise, tell where each went.
    Zero is where padding stands.
    """
    size = int(np.prod(shape))
    places = np.empty_like(packed)
    counts = np.arange(1, size + 1, dtype=np.int32).view(np.float32).reshape(shape)
    current = _core.isa()
    if current != isa:
        _core.set_isa(isa)
    try:
        _core.conv2d_pack(places, counts, *attributes, False, "direct")
    finally:
        if current != isa:
            _core.set_isa(current)
    original = np.empty(size + 1, np.float32)
    original[places.view(np.int32)] = packed
    return original[1:].reshape(shape)
