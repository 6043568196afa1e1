"""Padding layers for the last two axes: (left, right, top, bottom), or one int for all."""

from __future__ import annotations

from .. import functional as F
from ..tensor import Tensor
from .module import Module
from .sizes import Size, ntuple

__all__ = ["ConstantPad2d", "ReflectionPad2d", "ReplicationPad2d", "ZeroPad2d"]


class _Pad2d(Module):
    mode: str

    def __init__(self, padding: Size) -> None:
        super().__init__()
        # Negative padding crops, as in torch; no image has 2**31 rows.
        self.padding = ntuple(padding, 4, "padding", minimum=-(2**31))

    def forward(self, input: Tensor) -> Tensor:
        """Pad (N, C, H, W) or (C, H, W)."""
        return F.pad(input, self.padding, mode=self.mode)

    def extra_repr(self) -> str:
        """Return the padding."""
        return f"{self.padding}"


class ConstantPad2d(_Pad2d):
    """Pads with `value`.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.nn.ConstantPad2d((1, 1, 2, 0), 3.5)(cnnfast.zeros(1, 1, 4, 4)).shape
    (1, 1, 6, 6)
    """

    mode = "constant"

    def __init__(self, padding: Size, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        """Pad (N, C, H, W) or (C, H, W)."""
        return F.pad(input, self.padding, mode=self.mode, value=self.value)

    def extra_repr(self) -> str:
        """Return the padding and the value."""
        return f"padding={self.padding}, value={self.value}"


class ZeroPad2d(ConstantPad2d):
    """Pads with zeros.

    Examples
    --------
    >>> from cnnfast import nn
    >>> nn.ZeroPad2d(2)
    ZeroPad2d((2, 2, 2, 2))
    """

    def __init__(self, padding: Size) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        """Return the padding."""
        return f"{self.padding}"


class ReflectionPad2d(_Pad2d):
    """Pads by mirroring at the border, which is not repeated: smaller than the axis.

    Examples
    --------
    >>> import cnnfast
    >>> x = cnnfast.arange(3.0).reshape(1, 1, 1, 3)
    >>> cnnfast.nn.ReflectionPad2d((2, 1, 0, 0))(x).flatten().numpy().tolist()
    [2.0, 1.0, 0.0, 1.0, 2.0, 1.0]
    """

    mode = "reflect"


class ReplicationPad2d(_Pad2d):
    """Pads by repeating the border.

    Examples
    --------
    >>> import cnnfast
    >>> x = cnnfast.arange(3.0).reshape(1, 1, 1, 3)
    >>> cnnfast.nn.ReplicationPad2d((2, 1, 0, 0))(x).flatten().numpy().tolist()
    [0.0, 0.0, 0.0, 1.0, 2.0, 2.0]
    """

    mode = "replicate"
