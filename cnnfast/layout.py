"""Physical layouts: images are NHWC with a pixel pitch, everything else is C-contiguous.

Logical shapes never change here; a function returns its argument where the layout fits already,
and a copy made by the engine where it does not.
"""

from __future__ import annotations

import numpy as np

from . import _core

__all__ = ["as_dense", "as_image"]


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
