"""Parameter: a Tensor that a Module registers, and that optimisers update."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from ..tensor import Tensor, as_float

__all__ = ["Parameter", "at_most"]

_room: ContextVar[list[int] | None] = ContextVar("room", default=None)


@contextmanager
def at_most(elements: int) -> Iterator[None]:
    """Let the parameters that are made inside have so many elements in all, and no more.

    So a file that names a network cannot ask for more memory than its own weights take.
    """
    token = _room.set([elements])
    try:
        yield
    finally:
        _room.reset(token)


class Parameter(Tensor):
    """A Tensor that becomes a parameter of the Module it is assigned to.

    Parameters
    ----------
    data : Tensor or array-like
        The values; their memory is shared where they are float32 and C-contiguous.
    requires_grad : bool
        Whether `backward` computes its gradient.

    Examples
    --------
    >>> import numpy as np
    >>> from cnnfast import nn
    >>> layer = nn.Module()
    >>> layer.scale = nn.Parameter(np.ones(3, np.float32))
    >>> [name for name, _ in layer.named_parameters()]
    ['scale']
    """

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        room = _room.get()
        if room is not None:
            room[0] -= data.size if isinstance(data, np.ndarray) else 0
            if room[0] < 0:
                raise ValueError("it has more parameters than there are weights for it")
        source = as_float(data)
        # Dense, because the fused updates and the packing of weights read parameters in order.
        self._initialise(np.asarray(source.array, order="C"))
        self.share_memory_of(source)
        self.requires_grad = requires_grad

    def __reduce__(self) -> tuple[Any, ...]:
        # Copies and pickles carry the values, not the gradient, hooks or packed weights.
        return type(self), (self.array, self.requires_grad), self.__dict__ or None
