"""Layers that resize images: settings around `functional.interpolate`."""

from __future__ import annotations

from collections.abc import Sequence

from .. import functional as F
from ..tensor import Tensor
from .module import Module
from .sizes import Size

__all__ = ["Upsample", "UpsamplingBilinear2d", "UpsamplingNearest2d"]


class Upsample(Module):
    """Resizes to `size`, or by `scale_factor`.

    Parameters
    ----------
    size : int or sequence of ints, optional
        Sizes of the output's spatial axes.
    scale_factor : float or sequence of floats, optional
        Factors instead of sizes; exactly one of both is given.
    mode : str
        As in `functional.interpolate`: "nearest", "bilinear", ...
    align_corners : bool, optional
        Where the mode interpolates: whether the corner pixels' centres keep their place.
    recompute_scale_factor : bool, optional
        Whether to compute with the ratio of the rounded sizes.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.nn.Upsample(scale_factor=2)(cnnfast.zeros(1, 3, 4, 5)).shape
    (1, 3, 8, 10)
    """

    def __init__(
        self,
        size: Size | None = None,
        scale_factor: float | Sequence[float] | None = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ) -> None:
        super().__init__()
        self.size = size
        if isinstance(scale_factor, Sequence):
            self.scale_factor: tuple[float, ...] | float | None = tuple(map(float, scale_factor))
        else:
            self.scale_factor = float(scale_factor) if scale_factor else None
        self.mode = mode
        self.align_corners = align_corners
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, input: Tensor) -> Tensor:
        """Resize (N, C, H, W)."""
        return F.interpolate(
            input, self.size, self.scale_factor, self.mode, self.align_corners,
            recompute_scale_factor=self.recompute_scale_factor,
        )  # fmt: skip

    def extra_repr(self) -> str:
        """Return the size or the factor, and the mode."""
        if self.scale_factor is not None:
            return f"scale_factor={self.scale_factor!r}, mode={self.mode!r}"
        return f"size={self.size!r}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """Upsample by the nearest pixel.

    Examples
    --------
    >>> from cnnfast import nn
    >>> nn.UpsamplingNearest2d(scale_factor=2)
    UpsamplingNearest2d(scale_factor=2.0, mode='nearest')
    """

    def __init__(
        self, size: Size | None = None, scale_factor: float | Sequence[float] | None = None
    ) -> None:
        super().__init__(size, scale_factor, mode="nearest")


class UpsamplingBilinear2d(Upsample):
    """Upsample by linear interpolation, the corner pixels keeping their place.

    Examples
    --------
    >>> from cnnfast import nn
    >>> nn.UpsamplingBilinear2d(size=(8, 8))
    UpsamplingBilinear2d(size=(8, 8), mode='bilinear')
    """

    def __init__(
        self, size: Size | None = None, scale_factor: float | Sequence[float] | None = None
    ) -> None:
        super().__init__(size, scale_factor, mode="bilinear", align_corners=True)
