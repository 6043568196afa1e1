"""Physical layouts: images are NHWC with a pixel pitch, everything else is C-contiguous.

Logical shapes never change here; a function returns its argument where the layout fits already,
and a copy made by the engine where it does not.
"""

from __future__ import annotations

import numpy as np

from . import _core

__all__ = ["as_dense", "as_image", "as_rows", "empty_result"]


def as_image(array: np.ndarray) -> np.ndarray:
    """Return float32 `array` of logical shape (N, C, H, W) stored NHWC, copied if need be."""
    if _core.is_image(array):
        return array
    image = _core.empty_image(*array.shape)
    _core.copy(image, array)
    return image


def as_dense(array: np.ndarray) -> np.ndarray:
    """Return float32 `array` C-contiguous, copied if need be."""
    if array.flags.c_contiguous:
        return array
    dense = _core.empty(array.shape)
    _core.copy(dense, array)
    return dense


def as_rows(array: np.ndarray, columns: int) -> np.ndarray:
    """Return float32 `array` as (rows, columns) with contiguous rows, copied if need be.

    An image whose channels were moved last is a view: its rows are the pixels.
    """
    rows = array.size // columns if columns else 0
    try:
        view = array.reshape((rows, columns), copy=False)
    except ValueError:
        return as_dense(array).reshape(rows, columns)
    across, along = view.strides
    if (columns == 1 or along == 4) and (rows == 1 or across >= 4 * columns):
        return view
    return as_dense(array).reshape(rows, columns)


def empty_result(shape: tuple[int, ...], *operands: np.ndarray) -> np.ndarray:
    """Return an uninitialised array for what `operands` broadcast to, stored as they are.

    The first operand of the result's shape decides; where each is broadcast, an image among them
    makes the result an image.
    """
    for array in operands:
        if array.shape == shape and 0 not in array.strides:
            return _core.empty_like(array)
    if len(shape) == 4 and any(_core.is_image(array) for array in operands):
        return _core.empty_image(*shape)
    return _core.empty(shape)
