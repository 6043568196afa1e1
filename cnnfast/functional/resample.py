"""Weighted sums of pixels on the tape, and how arrays of two to four axes are seen as images.

Average pooling, resizing and mirrored padding are `resample` with other tables (`cnnfast.taps`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _core
from ..autograd import record
from ..layout import as_image
from ..taps import Axis
from ..tensor import Tensor

__all__ = ["from_image", "resample", "to_image"]

# (spatial axes, axes altogether) -> index that adds the missing axes, index that takes them away.
_VIEWS: dict[tuple[int, int], tuple[Any, Any]] = {
    (1, 2): (np.s_[None, :, None, :], np.s_[0, :, 0, :]),  # (C, L)
    (1, 3): (np.s_[:, :, None, :], np.s_[:, :, 0, :]),  # (N, C, L)
    (2, 3): (np.s_[None], np.s_[0]),  # (C, H, W)
    (2, 4): (np.s_[...], np.s_[...]),  # (N, C, H, W)
}


def to_image(array: np.ndarray, spatial: int, name: str) -> np.ndarray:
    """Return `array` with `spatial` image axes as an image (N, C, H, W), copied if need be."""
    if (spatial, array.ndim) not in _VIEWS:
        shapes = "(N, C, L) or (C, L)" if spatial == 1 else "(N, C, H, W) or (C, H, W)"
        raise ValueError(f"{name}: expected an input of shape {shapes}, got {array.shape}")
    return as_image(array[_VIEWS[spatial, array.ndim][0]])


def from_image(image: np.ndarray, spatial: int, ndim: int) -> np.ndarray:
    """Return a view of `image` with the axes that `to_image` saw."""
    return image[_VIEWS[spatial, ndim][1]]


def resample(
    x: Tensor, image: np.ndarray, rows: Axis, cols: Axis, spatial: int, name: str
) -> Tensor:
    """Return the weighted sums of the pixels of x that `rows` and `cols` name.

    Parameters
    ----------
    x : Tensor
        (N, C, H, W), or what `to_image` takes.
    image : ndarray
        x seen as an image by `to_image`.
    rows, cols : Axis
        Taps along the height and the width.
    spatial : int
        Image axes of x: 1 or 2.
    name : str
        The operation, for error messages.
    """
    ndim, shape = x.ndim, image.shape
    y = _core.empty_image(shape[0], shape[1], rows.forward.outputs, cols.forward.outputs)
    _core.resample(y, image, rows.forward, cols.forward)

    def backward(dy: np.ndarray, needs: tuple[bool, ...]) -> tuple[np.ndarray | None, ...]:
        dx = _core.empty_image(*shape)
        _core.resample(dx, to_image(dy, spatial, name), rows.backward, cols.backward)
        return (from_image(dx, spatial, ndim),)

    return record(from_image(y, spatial, ndim), (x,), backward)
