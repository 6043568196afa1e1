"""Resizing of images and signals, with torch.nn.functional's coordinates."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .. import shapes, taps
from ..taps import Axis
from ..tensor import Tensor, as_float
from .pooling import adaptive_avg_pool1d, adaptive_avg_pool2d
from .resample import resample, to_image

__all__ = ["interpolate", "upsample"]

Size = int | Sequence[int] | None
Scale = float | Sequence[float] | None
Maker = Callable[[int, int, float | None], Axis]

# Axes of an input, batch and channels included, that a mode needs.
_RANKS = {"linear": 3, "bilinear": 4, "bicubic": 4}


def _maker(mode: str, align_corners: bool) -> Maker:
    """What makes the taps of an axis from its size, its new size and the scale."""
    if mode in ("linear", "bilinear"):
        return lambda size, out, scale: taps.linear(size, out, scale, align_corners)
    if mode == "bicubic":
        return lambda size, out, scale: taps.cubic(size, out, scale, align_corners)
    return lambda size, out, scale: taps.nearest(size, out, scale, mode == "nearest-exact")


def _check(shape: Sequence[int], mode: str, align_corners: bool | None, antialias: bool) -> None:
    if mode not in ("nearest", "nearest-exact", "area", *_RANKS):
        raise ValueError(
            "interpolate: expected mode 'nearest', 'nearest-exact', 'linear', 'bilinear', "
            f"'bicubic' or 'area', got {mode!r}"
        )
    if len(shape) not in (3, 4) or len(shape) != _RANKS.get(mode, len(shape)):
        raise ValueError(
            f"interpolate: mode {mode!r} takes "
            f"{'(N, C, L)' if _RANKS.get(mode) == 3 else '(N, C, H, W)'}, got {tuple(shape)}"
        )
    if align_corners is not None and mode not in _RANKS:
        raise ValueError(f"interpolate: align_corners has no meaning for mode {mode!r}")
    if antialias:
        raise ValueError("interpolate: antialias=True is not available; use mode='area' to shrink")


def interpolate(
    input: Tensor,
    size: Size = None,
    scale_factor: Scale = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """Resize to `size`, or by `scale_factor`.

    Parameters
    ----------
    input : Tensor
        (N, C, L) or (N, C, H, W).
    size : int or tuple of int, optional
        New length, or height and width.
    scale_factor : float or tuple of float, optional
        New size over old; the result is rounded down. Give either this or `size`.
    mode : str
        ``"nearest"``, ``"nearest-exact"``, ``"linear"`` (3 axes), ``"bilinear"``, ``"bicubic"``
        (4 axes) or ``"area"``, the average of adaptive bins.
    align_corners : bool, optional
        For the linear and cubic modes: whether corner pixels keep their values and the rest is
        spread evenly between them, instead of pixels being squares of equal size.
    recompute_scale_factor : bool, optional
        Whether coordinates use the ratio of the sizes instead of `scale_factor` itself.
    antialias : bool
        Only False is available.

    Returns
    -------
    Tensor
        (N, C, new sizes).

    Raises
    ------
    ValueError
        Where sizes, mode and shape do not fit together.

    Examples
    --------
    >>> from cnnfast import functional as F, tensor
    >>> F.interpolate(tensor([[[1.0, 2.0]]]), scale_factor=2, mode="linear").numpy()
    array([[[1.  , 1.25, 1.75, 2.  ]]], dtype=float32)
    """
    x = as_float(input)
    _check(x.shape, mode, align_corners, antialias)
    out = shapes.resize(x.shape, size, scale_factor)
    if mode == "area":
        return (adaptive_avg_pool1d if x.ndim == 3 else adaptive_avg_pool2d)(x, out)
    if recompute_scale_factor and size is not None:
        raise ValueError("interpolate: recompute_scale_factor needs scale_factor, not size")
    scales: list[float | None] = [None] * len(out)
    if scale_factor is not None and not recompute_scale_factor:
        each = scale_factor if isinstance(scale_factor, Sequence) else [scale_factor] * len(out)
        scales = [float(scale) for scale in each]
    image = to_image(x.array, len(out), "interpolate")
    maker = _maker(mode, bool(align_corners))
    axes = [maker(*axis) for axis in zip(x.shape[2:], out, scales, strict=True)]
    rows, cols = axes if len(axes) == 2 else (taps.bin_average(1, 1), *axes)
    return resample(x, image, rows, cols, len(out), "interpolate")


def upsample(
    input: Tensor,
    size: Size = None,
    scale_factor: Scale = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
) -> Tensor:
    """Return `interpolate` of the arguments; torch's older name."""
    return interpolate(input, size, scale_factor, mode, align_corners)
