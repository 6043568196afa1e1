"""Parameter: a Tensor that a Module registers, and that optimisers update."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tensor import Tensor, as_float

__all__ = ["Parameter"]


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
        source = as_float(data)
        # Dense, because the fused updates and the packing of weights read parameters in order.
        self._initialise(np.asarray(source.array, order="C"))
        self.share_memory_of(source)
        self.requires_grad = requires_grad

    def __reduce__(self) -> tuple[Any, ...]:
        # Copies and pickles carry the values, not the gradient, hooks or packed weights.
        return type(self), (self.array, self.requires_grad), self.__dict__ or None
