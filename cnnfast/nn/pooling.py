"""Pooling layers: settings around `functional.*_pool*`. Inputs are (N, C, L) or (N, C, H, W)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import functional as F
from ..tensor import Tensor
from .module import Module
from .sizes import Size, ntuple

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AvgPool1d",
    "AvgPool2d",
    "MaxPool1d",
    "MaxPool2d",
]


class _MaxPool(Module):
    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        dilation: Size = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode

    def extra_repr(self) -> str:
        """Return the window's settings."""
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class MaxPool1d(_MaxPool):
    """Maximum over windows of the last axis.

    Parameters
    ----------
    kernel_size : int
    stride : int, optional
        Default: `kernel_size`.
    padding : int
        Positions on both sides that never are the maximum; at most half a window.
    dilation : int
    return_indices : bool
        Also return the position of each maximum.
    ceil_mode : bool
        Let the last window reach over the end.

    Examples
    --------
    >>> from cnnfast import nn
    >>> nn.MaxPool1d(2)
    MaxPool1d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)
    """

    def forward(self, input: Tensor) -> Any:
        """Pool (N, C, L) or (C, L)."""
        return F.max_pool1d(
            input, self.kernel_size, self.stride, self.padding, self.dilation,
            ceil_mode=self.ceil_mode, return_indices=self.return_indices,
        )  # fmt: skip


class MaxPool2d(_MaxPool):
    """Maximum over windows of the last two axes.

    Parameters
    ----------
    kernel_size : int or (int, int)
    stride : int or (int, int), optional
        Default: `kernel_size`.
    padding : int or (int, int)
        Positions on both sides that never are the maximum; at most half a window.
    dilation : int or (int, int)
    return_indices : bool
        Also return the position of each maximum in its H*W plane.
    ceil_mode : bool
        Let the last window reach over the end.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.nn.MaxPool2d(3, stride=2, padding=1)(cnnfast.zeros(1, 4, 8, 8)).shape
    (1, 4, 4, 4)
    """

    def forward(self, input: Tensor) -> Any:
        """Pool (N, C, H, W) or (C, H, W)."""
        return F.max_pool2d(
            input, self.kernel_size, self.stride, self.padding, self.dilation,
            ceil_mode=self.ceil_mode, return_indices=self.return_indices,
        )  # fmt: skip


class _AvgPool(Module):
    kernel_size: Size
    stride: Size
    padding: Size

    def extra_repr(self) -> str:
        """Return the window's settings."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool1d(_AvgPool):
    """Mean over windows of the last axis.

    Parameters
    ----------
    kernel_size : int
    stride : int, optional
        Default: `kernel_size`.
    padding : int
        Zeros on both sides; at most half a window.
    ceil_mode : bool
        Let the last window reach over the end.
    count_include_pad : bool
        Whether padding counts in the mean.

    Examples
    --------
    >>> from cnnfast import nn
    >>> nn.AvgPool1d(2)
    AvgPool1d(kernel_size=(2,), stride=(2,), padding=(0,))
    """

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__()
        self.kernel_size = ntuple(kernel_size, 1, "kernel_size", minimum=1)
        self.stride = ntuple(kernel_size if stride is None else stride, 1, "stride", minimum=1)
        self.padding = ntuple(padding, 1, "padding")
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad

    def forward(self, input: Tensor) -> Tensor:
        """Pool (N, C, L) or (C, L)."""
        return F.avg_pool1d(
            input, self.kernel_size, self.stride, self.padding,
            self.ceil_mode, self.count_include_pad,
        )  # fmt: skip


class AvgPool2d(_AvgPool):
    """Mean over windows of the last two axes.

    Parameters
    ----------
    kernel_size : int or (int, int)
    stride : int or (int, int), optional
        Default: `kernel_size`.
    padding : int or (int, int)
        Zeros on both sides; at most half a window.
    ceil_mode : bool
        Let the last window reach over the end.
    count_include_pad : bool
        Whether padding counts in the mean.
    divisor_override : int, optional
        Divide the sum by this instead of the number of values.

    Examples
    --------
    >>> from cnnfast import nn
    >>> nn.AvgPool2d(3, stride=2)
    AvgPool2d(kernel_size=3, stride=2, padding=0)
    """

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override

    def forward(self, input: Tensor) -> Tensor:
        """Pool (N, C, H, W) or (C, H, W)."""
        return F.avg_pool2d(
            input, self.kernel_size, self.stride, self.padding,
            self.ceil_mode, self.count_include_pad, self.divisor_override,
        )  # fmt: skip


class _AdaptivePool(Module):
    def __init__(self, output_size: int | Sequence[int | None] | None) -> None:
        super().__init__()
        self.output_size: Any = output_size

    def extra_repr(self) -> str:
        """Return the output size."""
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_AdaptivePool):
    """Mean over `output_size` equal parts of the last axis.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.nn.AdaptiveAvgPool1d(5)(cnnfast.zeros(1, 4, 8)).shape
    (1, 4, 5)
    """

    def forward(self, input: Tensor) -> Tensor:
        """Pool (N, C, L) or (C, L)."""
        return F.adaptive_avg_pool1d(input, self.output_size)


class AdaptiveAvgPool2d(_AdaptivePool):
    """Mean over equal parts of the last two axes.

    Parameters
    ----------
    output_size : int, or (int or None, int or None)
        Size of both axes, or of each; None keeps an axis.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.nn.AdaptiveAvgPool2d((None, 1))(cnnfast.zeros(1, 4, 8, 9)).shape
    (1, 4, 8, 1)
    """

    def forward(self, input: Tensor) -> Tensor:
        """Pool (N, C, H, W) or (C, H, W)."""
        return F.adaptive_avg_pool2d(input, self.output_size)


class _AdaptiveMaxPool(_AdaptivePool):
    def __init__(
        self, output_size: int | Sequence[int | None] | None, return_indices: bool = False
    ) -> None:
        super().__init__(output_size)
        self.return_indices = return_indices


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    """Maximum over `output_size` equal parts of the last axis.

    Parameters
    ----------
    output_size : int
    return_indices : bool
        Also return the position of each maximum.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.nn.AdaptiveMaxPool1d(5)(cnnfast.zeros(1, 4, 8)).shape
    (1, 4, 5)
    """

    def forward(self, input: Tensor) -> Any:
        """Pool (N, C, L) or (C, L)."""
        return F.adaptive_max_pool1d(input, self.output_size, self.return_indices)


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    """Maximum over equal parts of the last two axes.

    Parameters
    ----------
    output_size : int, or (int or None, int or None)
        Size of both axes, or of each; None keeps an axis.
    return_indices : bool
        Also return the position of each maximum in its H*W plane.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.nn.AdaptiveMaxPool2d(2)(cnnfast.zeros(1, 4, 7, 5)).shape
    (1, 4, 2, 2)
    """

    def __init__(
        self, output_size: int | Sequence[int | None] | None, return_indices: bool = False
    ) -> None:
        super().__init__(output_size)
        self.return_indices = return_indices

    def forward(self, input: Tensor) -> Any:
        """Pool (N, C, H, W) or (C, H, W)."""
        return F.adaptive_max_pool2d(input, self.output_size, self.return_indices)
