"""Dropout layers: they act in training mode only. Source: Srivastava et al., JMLR 2014."""

from __future__ import annotations

from .. import functional as F
from ..tensor import Tensor
from .module import Module

__all__ = ["Dropout", "Dropout2d"]


class _Dropout(Module):
    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        if not 0.0 <= p <= 1.0:
            raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
        self.p = p
        self.inplace = inplace

    def extra_repr(self) -> str:
        """Return the probability."""
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_Dropout):
    """Zeroes values with probability `p` and scales the others by 1/(1 - p).

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.nn.Dropout(0.5).eval()(cnnfast.ones(3)).numpy().tolist()
    [1.0, 1.0, 1.0]
    """

    def forward(self, input: Tensor) -> Tensor:
        """Apply it to any shape."""
        return F.dropout(input, self.p, self.training, self.inplace)


class Dropout2d(_Dropout):
    """Zeroes whole channels with probability `p` and scales the others by 1/(1 - p).

    Examples
    --------
    >>> import cnnfast
    >>> y = cnnfast.nn.Dropout2d(0.5)(cnnfast.ones(1, 4, 2, 2)).numpy()
    >>> all(channel.min() == channel.max() for channel in y[0])
    True
    """

    def forward(self, input: Tensor) -> Tensor:
        """Apply it to (N, C, H, W)."""
        return F.dropout2d(input, self.p, self.training, self.inplace)
