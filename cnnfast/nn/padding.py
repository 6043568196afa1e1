"""Padding layers of the last axis (left, right) or the last two (left, right, top, bottom).

One int stands for all sides; negative numbers crop where the mode is constant.
"""

from __future__ import annotations

from .. import functional as F
from ..tensor import Tensor
from .module import Module
from .sizes import Size, ntuple

__all__ = [
    "CircularPad1d",
    "CircularPad2d",
    "ConstantPad1d",
    "ConstantPad2d",
    "ReflectionPad1d",
    "ReflectionPad2d",
    "ReplicationPad1d",
    "ReplicationPad2d",
    "ZeroPad1d",
    "ZeroPad2d",
]

_LEAST = -(2**31)  # no image has so many rows: any crop that fits is allowed


class _Pad(Module):
    sides: int  # 2 or 4
    mode: str

    def __init__(self, padding: Size) -> None:
        super().__init__()
        self.padding = ntuple(padding, self.sides, "padding", minimum=_LEAST)

    def forward(self, input: Tensor) -> Tensor:
        """Pad (N, C, L), (C, L), (N, C, H, W) or (C, H, W), as the class says."""
        return F.pad(input, self.padding, mode=self.mode)

    def extra_repr(self) -> str:
        """Return the padding."""
        return f"{self.padding}"


class _ConstantPad(_Pad):
    mode = "constant"

    def __init__(self, padding: Size, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        """Pad any shape."""
        return F.pad(input, self.padding, mode=self.mode, value=self.value)

    def extra_repr(self) -> str:
        """Return the padding and the value."""
        return f"padding={self.padding}, value={self.value}"


class _ZeroPad(_ConstantPad):
    def __init__(self, padding: Size) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        """Return the padding."""
        return f"{self.padding}"


class ConstantPad1d(_ConstantPad):
    """Pads the last axis with `value`.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.nn.ConstantPad1d((1, 2), 3.5)(cnnfast.zeros(2)).numpy().tolist()
    [3.5, 0.0, 0.0, 3.5, 3.5]
    """

    sides = 2


class ConstantPad2d(_ConstantPad):
    """Pads the last two axes with `value`.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.nn.ConstantPad2d((1, 1, 2, 0), 3.5)(cnnfast.zeros(1, 1, 4, 4)).shape
    (1, 1, 6, 6)
    """

    sides = 4


class ZeroPad1d(_ZeroPad):
    """Pads the last axis with zeros.

    Examples
    --------
    >>> from cnnfast import nn
    >>> nn.ZeroPad1d((0, 1))
    ZeroPad1d((0, 1))
    """

    sides = 2


class ZeroPad2d(_ZeroPad):
    """Pads the last two axes with zeros.

    Examples
    --------
    >>> from cnnfast import nn
    >>> nn.ZeroPad2d(2)
    ZeroPad2d((2, 2, 2, 2))
    """

    sides = 4


class ReflectionPad1d(_Pad):
    """Pads (N, C, L) or (C, L) by mirroring at the border, which is not repeated.

    Examples
    --------
    >>> import cnnfast
    >>> x = cnnfast.arange(3.0).reshape(1, 3)
    >>> cnnfast.nn.ReflectionPad1d((2, 1))(x).flatten().numpy().tolist()
    [2.0, 1.0, 0.0, 1.0, 2.0, 1.0]
    """

    sides = 2
    mode = "reflect"


class ReflectionPad2d(_Pad):
    """Pads (N, C, H, W) or (C, H, W) by mirroring at the border, which is not repeated.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.nn.ReflectionPad2d((2, 1, 0, 0))(cnnfast.zeros(1, 1, 4, 4)).shape
    (1, 1, 4, 7)
    """

    sides = 4
    mode = "reflect"


class ReplicationPad1d(_Pad):
    """Pads (N, C, L) or (C, L) by repeating the border.

    Examples
    --------
    >>> import cnnfast
    >>> x = cnnfast.arange(3.0).reshape(1, 3)
    >>> cnnfast.nn.ReplicationPad1d((2, 1))(x).flatten().numpy().tolist()
    [0.0, 0.0, 0.0, 1.0, 2.0, 2.0]
    """

    sides = 2
    mode = "replicate"


class ReplicationPad2d(_Pad):
    """Pads (N, C, H, W) or (C, H, W) by repeating the border.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.nn.ReplicationPad2d(3)(cnnfast.zeros(1, 1, 4, 4)).shape
    (1, 1, 10, 10)
    """

    sides = 4
    mode = "replicate"


class CircularPad1d(_Pad):
    """Pads (N, C, L) or (C, L) with what stands at the opposite end.

    Examples
    --------
    >>> import cnnfast
    >>> x = cnnfast.arange(3.0).reshape(1, 3)
    >>> cnnfast.nn.CircularPad1d((2, 1))(x).flatten().numpy().tolist()
    [1.0, 2.0, 0.0, 1.0, 2.0, 0.0]
    """

    sides = 2
    mode = "circular"


class CircularPad2d(_Pad):
    """Pads (N, C, H, W) or (C, H, W) with what stands at the opposite side.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.nn.CircularPad2d(1)(cnnfast.zeros(1, 1, 4, 4)).shape
    (1, 1, 6, 6)
    """

    sides = 4
    mode = "circular"
