"""Convolution layers: weights and settings around `functional.conv*` and `conv_transpose*`.

Weights are OIHW (IOHW for the transposed ones), images NCHW, as in torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import functional as F
from ..tensor import Tensor
from . import init
from .module import Module
from .parameter import Parameter
from .placement import check_placement
from .sizes import Size, ntuple

__all__ = ["Conv1d", "Conv2d", "ConvTranspose1d", "ConvTranspose2d"]

_PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class _Convolution(Module):
    """Checks the settings, makes weight and bias, and prints them."""

    axes: int  # spatial axes: 1 or 2
    padding: tuple[int, ...] | str
    transposed = False
    output_padding: tuple[int, ...] = (0, 0)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size,
        padding: Size | str,
        dilation: Size,
        groups: int,
        bias: bool,
        padding_mode: str,
        device: Any,
        dtype: Any,
    ) -> None:
        super().__init__()
        check_placement(device, dtype)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = ntuple(kernel_size, self.axes, "kernel_size", minimum=1)
        self.stride = ntuple(stride, self.axes, "stride", minimum=1)
        self.padding = (
            padding if isinstance(padding, str) else ntuple(padding, self.axes, "padding")
        )
        self.dilation = ntuple(dilation, self.axes, "dilation", minimum=1)
        self.groups = groups
        self.padding_mode = padding_mode
        self._check_settings()
        self._make_parameters(bias)
        self.reset_parameters()

    def _check_settings(self) -> None:
        if self.groups <= 0:
            raise ValueError(f"groups must be a positive integer, got {self.groups}")
        for name in ("in_channels", "out_channels"):
            if getattr(self, name) % self.groups:
                raise ValueError(
                    f"{name} must be divisible by groups, got {getattr(self, name)} "
                    f"and {self.groups}"
                )
        if isinstance(self.padding, str) and self.padding not in ("same", "valid"):
            raise ValueError(
                f"padding must be 'same', 'valid', an int or {self.axes} ints, got {self.padding!r}"
            )
        if self.padding == "same" and self.stride != (1,) * self.axes:
            raise ValueError("padding='same' is not supported for strided convolutions")
        if self.padding_mode not in _PADDING_MODES:
            raise ValueError(
                f"padding_mode must be one of {_PADDING_MODES}, got {self.padding_mode!r}"
            )

    def _make_parameters(self, bias: bool) -> None:
        outer, inner = self.out_channels, self.in_channels
        if self.transposed:
            outer, inner = inner, outer
        shape = (outer, inner // self.groups, *self.kernel_size)
        self.weight = Parameter(np.empty(shape, np.float32))
        if bias:
            self.bias: Parameter | None = Parameter(np.empty(self.out_channels, np.float32))
        else:
            self.register_parameter("bias", None)

    def reset_parameters(self) -> None:
        """Draw weight and bias uniformly within 1/sqrt(fan in), as torch does."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in, _ = init.calculate_fan_in_and_fan_out(self.weight)
            bound = 1 / math.sqrt(fan_in) if fan_in > 0 else 0.0
            init.uniform_(self.bias, -bound, bound)

    def _padded(self, input: Tensor) -> Tensor:
        """Pad `input` by the padding mode, for a convolution that then pads nothing."""
        if isinstance(self.padding, str):
            total = [d * (k - 1) for d, k in zip(self.dilation, self.kernel_size, strict=True)]
            both = [(t // 2, t - t // 2) if self.padding == "same" else (0, 0) for t in total]
        else:
            both = [(p, p) for p in self.padding]
        pads = [pad for pair in reversed(both) for pad in pair]  # last axis first, as F.pad takes
        return F.pad(input, pads, mode=self.padding_mode)

    def extra_repr(self) -> str:
        """Return channels, kernel size, stride, and what differs from the defaults."""
        shown = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"]
        shown.append(f"stride={self.stride}")
        for name, default in (("padding", 0), ("dilation", 1), ("output_padding", 0)):
            value = getattr(self, name)
            if isinstance(value, str) or any(v != default for v in value):
                shown.append(f"{name}={value}")
        if self.groups != 1:
            shown.append(f"groups={self.groups}")
        if self.bias is None:
            shown.append("bias=False")
        if self.padding_mode != "zeros":
            shown.append(f"padding_mode={self.padding_mode}")
        return ", ".join(shown)


class Conv1d(_Convolution):
    """1-D convolution: (N, C, L) -> (N, out_channels, L').

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride, dilation : int or tuple of one int
    padding : int, tuple of one int, "same" or "valid"
    groups : int
        Channels are convolved in this many groups; it divides both channel counts.
    bias : bool
    padding_mode : {"zeros", "reflect", "replicate", "circular"}

    Raises
    ------
    ValueError
        Channels and groups do not divide, or a size or mode is not one of the above.

    Examples
    --------
    >>> from cnnfast import nn
    >>> nn.Conv1d(2, 4, 5, padding="same").weight.shape
    (4, 2, 5)
    """

    axes = 1

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size | str = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias,
            padding_mode, device, dtype,
        )  # fmt: skip

    def forward(self, input: Tensor) -> Tensor:
        """Convolve (N, C, L)."""
        padding = self.padding
        if self.padding_mode != "zeros":
            input, padding = self._padded(input), (0,)
        return F.conv1d(
            input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups
        )


class Conv2d(_Convolution):
    """2-D convolution: (N, C, H, W) -> (N, out_channels, H', W').

    ``H' = (H + 2*padding - dilation*(kernel_size - 1) - 1) // stride + 1``, and W' alike.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride, dilation : int or (int, int)
        For height and width.
    padding : int, (int, int), "same" or "valid"
        On both sides of height and width.
    groups : int
        Channels are convolved in this many groups; it divides both channel counts.
    bias : bool
    padding_mode : {"zeros", "reflect", "replicate", "circular"}

    Raises
    ------
    ValueError
        Channels and groups do not divide, or a size or mode is not one of the above.

    Examples
    --------
    >>> from cnnfast import nn
    >>> nn.Conv2d(16, 33, (3, 5), stride=(2, 1), padding=(4, 2))
    Conv2d(16, 33, kernel_size=(3, 5), stride=(2, 1), padding=(4, 2))
    """

    axes = 2

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size | str = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias,
            padding_mode, device, dtype,
        )  # fmt: skip

    def forward(self, input: Tensor) -> Tensor:
        """Convolve (N, C, H, W)."""
        padding = self.padding
        if self.padding_mode != "zeros":
            input, padding = self._padded(input), (0, 0)
        return F.conv2d(
            input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups
        )


class _ConvolutionTranspose(_Convolution):
    """Adds the output padding, and its choice by a wanted output size."""

    transposed = True
    padding: tuple[int, ...]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        output_padding: Size = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Size = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if padding_mode != "zeros":
            raise ValueError(
                f'Only "zeros" padding mode is supported for {type(self).__name__}, '
                f"got {padding_mode!r}"
            )
        super().__init__(
            in_channels, out_channels, kernel_size, stride, ntuple(padding, self.axes, "padding"),
            dilation, groups, bias, padding_mode, device, dtype,
        )  # fmt: skip
        self.output_padding = ntuple(output_padding, self.axes, "output_padding")

    def _output_padding(self, input: Tensor, output_size: Sequence[int] | None) -> tuple[int, ...]:
        """Return the output padding that makes the output have `output_size`."""
        if output_size is None:
            return self.output_padding
        wanted = tuple(output_size)[-self.axes :]
        settings = zip(
            input.shape[-self.axes :], self.stride, self.padding, self.dilation, self.kernel_size,
            strict=True,
        )  # fmt: skip
        smallest = tuple(
            (size - 1) * stride - 2 * padding + dilation * (kernel - 1) + 1
            for size, stride, padding, dilation, kernel in settings
        )
        extra = tuple(w - s for w, s in zip(wanted, smallest, strict=True))
        if any(not 0 <= e < s for e, s in zip(extra, self.stride, strict=True)):
            largest = tuple(s + t - 1 for s, t in zip(smallest, self.stride, strict=True))
            raise ValueError(
                f"requested an output size of {wanted}, but valid sizes range from {smallest} to "
                f"{largest} for an input of {tuple(input.shape[-self.axes :])}"
            )
        return extra


class ConvTranspose1d(_ConvolutionTranspose):
    """Transposed 1-D convolution, the gradient of Conv1d with respect to its input.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride, padding, output_padding : int or tuple of one int
        `output_padding` enlarges one side of the output, to choose among the sizes that the
        convolution maps to the same one.
    groups : int
    bias : bool
    dilation : int or tuple of one int

    Examples
    --------
    >>> from cnnfast import nn
    >>> nn.ConvTranspose1d(4, 2, 3, stride=2).weight.shape
    (4, 2, 3)
    """

    axes = 1

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """Map (N, C, L) to (N, out_channels, L'), of `output_size` where it is given."""
        return F.conv_transpose1d(
            input, self.weight, self.bias, self.stride, self.padding,
            self._output_padding(input, output_size), self.groups, self.dilation,
        )  # fmt: skip


class ConvTranspose2d(_ConvolutionTranspose):
    """Transposed 2-D convolution, the gradient of Conv2d with respect to its input.

    ``H' = (H - 1)*stride - 2*padding + dilation*(kernel_size - 1) + output_padding + 1``.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride, padding, output_padding : int or (int, int)
        `output_padding` enlarges one side of the output, to choose among the sizes that the
        convolution maps to the same one.
    groups : int
    bias : bool
    dilation : int or (int, int)

    Examples
    --------
    >>> from cnnfast import nn
    >>> nn.ConvTranspose2d(8, 4, 3, stride=2, padding=1, output_padding=1)
    ConvTranspose2d(8, 4, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1), output_padding=(1, 1))
    """

    axes = 2

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """Map (N, C, H, W) to (N, out_channels, H', W'), of `output_size` where it is given."""
        return F.conv_transpose2d(
            input, self.weight, self.bias, self.stride, self.padding,
            self._output_padding(input, output_size), self.groups, self.dilation,
        )  # fmt: skip
