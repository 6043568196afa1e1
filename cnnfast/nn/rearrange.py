"""Layers that move values and compute nothing: flatten, unflatten and the shuffles."""

from __future__ import annotations

from collections.abc import Sequence

from .. import functional as F
from ..tensor import Tensor
from .module import Module

__all__ = ["ChannelShuffle", "Flatten", "PixelShuffle", "PixelUnshuffle", "Unflatten"]


class Flatten(Module):
    """Joins the axes `start_dim` to `end_dim` into one.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.nn.Flatten()(cnnfast.zeros(2, 3, 4, 4)).shape
    (2, 48)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, input: Tensor) -> Tensor:
        """Flatten `input`."""
        return input.flatten(self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        """Return the axes."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Splits axis `dim` into axes of the sizes `unflattened_size`, of which one may be -1.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.nn.Unflatten(1, (3, 4, 4))(cnnfast.zeros(2, 48)).shape
    (2, 3, 4, 4)
    """

    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        super().__init__()
        if not isinstance(unflattened_size, (tuple, list)) or not all(
            isinstance(size, int) for size in unflattened_size
        ):
            raise TypeError(f"unflattened_size must be a tuple of ints, got {unflattened_size!r}")
        self.dim = dim
        self.unflattened_size = unflattened_size

    def forward(self, input: Tensor) -> Tensor:
        """Unflatten `input`."""
        axis = range(input.ndim)[self.dim]
        before, after = input.shape[:axis], input.shape[axis + 1 :]
        return input.reshape(*before, *self.unflattened_size, *after)

    def extra_repr(self) -> str:
        """Return the axis and its sizes."""
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"


class PixelShuffle(Module):
    """(N, C*r*r, H, W) -> (N, C, H*r, W*r), r = `upscale_factor`.

    Source: Shi et al., Real-Time Single Image and Video Super-Resolution, CVPR 2016.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.nn.PixelShuffle(2)(cnnfast.zeros(1, 12, 5, 5)).shape
    (1, 3, 10, 10)
    """

    def __init__(self, upscale_factor: int) -> None:
        super().__init__()
        self.upscale_factor = upscale_factor

    def forward(self, input: Tensor) -> Tensor:
        """Move channels to pixels."""
        return F.pixel_shuffle(input, self.upscale_factor)

    def extra_repr(self) -> str:
        """Return the factor."""
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module):
    """(N, C, H*r, W*r) -> (N, C*r*r, H, W), r = `downscale_factor`; undoes PixelShuffle.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.nn.PixelUnshuffle(2)(cnnfast.zeros(1, 3, 10, 10)).shape
    (1, 12, 5, 5)
    """

    def __init__(self, downscale_factor: int) -> None:
        super().__init__()
        self.downscale_factor = downscale_factor

    def forward(self, input: Tensor) -> Tensor:
        """Move pixels to channels."""
        return F.pixel_unshuffle(input, self.downscale_factor)

    def extra_repr(self) -> str:
        """Return the factor."""
        return f"downscale_factor={self.downscale_factor}"


class ChannelShuffle(Module):
    """Interleaves `groups` groups of channels: (g, C/g) becomes (C/g, g).

    Source: Zhang et al., ShuffleNet, CVPR 2018.

    Examples
    --------
    >>> import cnnfast
    >>> x = cnnfast.arange(4.0).reshape(1, 4, 1, 1)
    >>> cnnfast.nn.ChannelShuffle(2)(x).flatten().numpy().tolist()
    [0.0, 2.0, 1.0, 3.0]
    """

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, input: Tensor) -> Tensor:
        """Shuffle the channels of (N, C, ...)."""
        return F.channel_shuffle(input, self.groups)

    def extra_repr(self) -> str:
        """Return the number of groups."""
        return f"groups={self.groups}"
