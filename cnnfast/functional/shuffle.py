"""Rearranging channels and pixels: one copy by the engine from one split of the axes to another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import _core, shapes
from ..autograd import record
from ..tensor import Tensor, as_float
from .shaping import reshaped

__all__ = ["channel_shuffle", "pixel_shuffle", "pixel_unshuffle"]


def _rearranged(
    x: np.ndarray,
    split: Sequence[int],
    order: Sequence[int],
    merged: Sequence[int],
) -> np.ndarray:
    """Return x with its axes cut into `split`, put into `order` and merged to `merged`."""
    y = _core.empty_image(*merged) if len(merged) == 4 else _core.empty(merged)
    permuted = [split[axis] for axis in order]
    _core.copy(y.reshape(permuted, copy=False), x.reshape(split, copy=False).transpose(order))
    return y


def _rearrange(
    name: str,
    x: Tensor,
    array: np.ndarray,
    split: Sequence[int],
    order: Sequence[int],
    merged: Sequence[int],
    shape: tuple[int, ...],
) -> Tensor:
    """Record the rearrangement of `array`, x as (N, C, H, W); `shape` is the result's."""
    back = [int(axis) for axis in np.argsort(order)]
    permuted, original = [split[axis] for axis in order], array.shape
    x_shape = x.shape

    def backward(dy: np.ndarray, needs: tuple[bool, ...]) -> tuple[np.ndarray | None, ...]:
        dx = _rearranged(reshaped(dy, tuple(merged)), permuted, back, original)
        return (reshaped(dx, x_shape),)

    backward.__qualname__ = name
    y = _rearranged(array, split, order, merged)
    return record(reshaped(y, shape), (x,), backward)


def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """Move channels into space: (..., C r^2, H, W) to (..., C, H r, W r) (Shi et al. 2016).

    Parameters
    ----------
    input : Tensor
        (..., C r^2, H, W).
    upscale_factor : int
        r.

    Raises
    ------
    ValueError
        Where r^2 does not divide the channels.

    Examples
    --------
    >>> import cnnfast
    >>> x = cnnfast.Tensor([[[[1.0]], [[2.0]], [[3.0]], [[4.0]]]])
    >>> cnnfast.functional.pixel_shuffle(x, 2).numpy()
    array([[[[1., 2.],
             [3., 4.]]]], dtype=float32)
    """
    x = as_float(input)
    shape, r = shapes.pixel_shuffle(x.shape, upscale_factor), upscale_factor
    array = reshaped(x.array, (-1 if x.numel() else 0, *x.shape[-3:]))
    n, (c, h, w) = array.shape[0], x.shape[-3:]
    return _rearrange(
        "pixel_shuffle", x, array, (n, c // r**2, r, r, h, w), (0, 1, 4, 2, 5, 3),
        (n, c // r**2, h * r, w * r), shape,
    )


def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """Move space into channels: (..., C, H r, W r) to (..., C r^2, H, W); undoes `pixel_shuffle`.

    Examples
    --------
    >>> import cnnfast
    >>> x = cnnfast.Tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    >>> cnnfast.functional.pixel_unshuffle(x, 2).shape
    (1, 4, 1, 1)
    """
    x = as_float(input)
    shape, r = shapes.pixel_unshuffle(x.shape, downscale_factor), downscale_factor
    array = reshaped(x.array, (-1 if x.numel() else 0, *x.shape[-3:]))
    n, (c, h, w) = array.shape[0], x.shape[-3:]
    return _rearrange(
        "pixel_unshuffle", x, array, (n, c, h // r, r, w // r, r), (0, 1, 3, 5, 2, 4),
        (n, c * r**2, h // r, w // r), shape,
    )


def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """Interleave the channels of `groups` groups (Zhang et al., ShuffleNet, 2018).

    Parameters
    ----------
    input : Tensor
        (N, C, ...).
    groups : int
        Must divide C.

    Raises
    ------
    ValueError
        Where it does not.

    Examples
    --------
    >>> import cnnfast
    >>> x = cnnfast.Tensor([[1.0, 2.0, 3.0, 4.0]])
    >>> cnnfast.functional.channel_shuffle(x, 2).numpy()
    array([[1., 3., 2., 4.]], dtype=float32)
    """
    x = as_float(input)
    shapes.channel_shuffle(x.shape, groups)
    n, c, *rest = x.shape
    order = (0, 2, 1, *range(3, len(rest) + 3))
    return _rearrange(
        "channel_shuffle", x, x.array, (n, groups, c // groups, *rest), order, x.shape, x.shape
    )
