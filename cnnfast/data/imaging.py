"""What the transforms stand on: checks of their arguments, and geometry on whole batches.

Images are (N, C, H, W). NumPy only, no loop over images and no matrix product (NumPy's would
start a second pool of threads beside the engine's). uint8 stays uint8, rounded once at the end;
all else is computed and returned as float32. Called by `transforms` and `geometric`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
Batch: TypeAlias = tuple[Array, Array]
Transform: TypeAlias = Callable[[Array, Array, np.random.Generator], Batch]


def as_images(images: Array) -> Array:
    """Return a batch of uint8 or float32, or say what it is instead."""
    array = np.asarray(images)
    if array.ndim != 4 or not (array.dtype == np.uint8 or array.dtype.kind == "f"):
        raise ValueError(
            "expected images (N, C, H, W) of uint8 or float32, got shape "
            f"{array.shape} of {array.dtype}"
        )
    return array if array.dtype == np.uint8 else array.astype(np.float32, copy=False)


def as_pair(name: str, value: int | tuple[int, int], least: int = 1) -> tuple[int, int]:
    """Return (vertical, horizontal)."""
    pair = tuple(value) if isinstance(value, Sequence) else (value, value)
    whole = all(isinstance(side, (int, np.integer)) for side in pair)
    if len(pair) != 2 or not whole or min(pair) < least:
        raise ValueError(f"{name} must be one or two integers of at least {least}, got {value!r}")
    return pair


def as_span(name: str, value: float | tuple[float, float], centre: float, least: float) -> Any:
    """Return (low, high): the given pair, or what lies within `value` of `centre`."""
    if not isinstance(value, Sequence):
        if value < 0:
            raise ValueError(f"{name} must not be negative, got {value}")
        return max(least, centre - value), centre + value
    low, high = value
    if not least <= low <= high:
        raise ValueError(f"{name} must be (low, high) with {least} <= low <= high, got {value}")
    return low, high


def check_probability(p: float) -> None:
    if not 0 <= p <= 1:
        raise ValueError(f"p must be a probability, 0 to 1, got {p}")


def choose(p: float, count: int, rng: np.random.Generator) -> Array:
    """Return for each image whether it is chosen, (N, 1, 1, 1)."""
    return (rng.random(count) < p)[:, None, None, None]


def as_type(values: Array, dtype: np.dtype[Any]) -> Array:
    """Round float32 `values`, already within 0..255, where `dtype` is uint8."""
    if dtype != np.uint8:
        return values
    return np.rint(values, out=values).astype(np.uint8)


def windows(images: Array, tops: Array, lefts: Array, height: int, width: int) -> Array:
    """Cut from image n the window of (height, width) whose corner is (tops[n], lefts[n])."""
    views = sliding_window_view(images, (height, width), axis=(2, 3))  # N C H' W' height width
    return views[np.arange(len(images)), :, tops, lefts]


def rotate(images: Array, angles: Array, fill: float) -> Array:
    """Turn image n counter-clockwise by angles[n] degrees about its centre, bilinearly.

    What comes from outside of the image is `fill`; its border blends into it.
    """
    count, channels, height, width = images.shape
    y, x = _turned_back(np.deg2rad(angles).astype(np.float32), height, width)
    # Everything is moved by one pixel, for the image gets a border of one pixel of `fill`.
    y, x = np.clip(y + 1, 0, height + 1), np.clip(x + 1, 0, width + 1)
    top, left = np.minimum(np.floor(y), height), np.minimum(np.floor(x), width)
    down, right = y - top, x - left
    border = ((0, 0), (1, 1), (1, 1), (0, 0))
    pixels = np.pad(images.transpose(0, 2, 3, 1), border, constant_values=fill)
    pixels = pixels.reshape(-1, channels)
    pitch = width + 2
    corner = np.arange(count)[:, None, None] * (height + 2) * pitch
    corner = corner + top.astype(np.int64) * pitch + left.astype(np.int64)
    out = np.zeros((count, height, width, channels), np.float32)
    for step, weight in (
        (0, (1 - down) * (1 - right)),
        (1, (1 - down) * right),
        (pitch, down * (1 - right)),
        (pitch + 1, down * right),
    ):
        out += weight[..., None] * pixels.take(corner + step, axis=0)
    return as_type(out, images.dtype).transpose(0, 3, 1, 2)


def _turned_back(angles: Array, height: int, width: int) -> tuple[Array, Array]:
    """Return, for each pixel of the result, row and column of its source, each (N, H, W)."""
    sin, cos = np.sin(angles)[:, None, None], np.cos(angles)[:, None, None]
    dy = np.arange(height, dtype=np.float32)[:, None] - (height - 1) / 2
    dx = np.arange(width, dtype=np.float32) - (width - 1) / 2
    # Rows count downwards, so this is the inverse of a turn that looks counter-clockwise.
    return sin * dx + cos * dy + (height - 1) / 2, cos * dx - sin * dy + (width - 1) / 2


def resize(images: Array, height: int, width: int) -> Array:
    """Resize to (height, width), bilinearly, averaging over the source pixels where it shrinks."""
    pixels = images.astype(np.float32)
    if height != images.shape[2]:
        pixels = _resize_rows(pixels, height)
    if width != images.shape[3]:
        pixels = _resize_rows(pixels.swapaxes(2, 3), width).swapaxes(2, 3)
    return as_type(pixels, images.dtype)


def _resize_rows(pixels: Array, size: int) -> Array:
    """Resize axis 2 of (N, C, H, W) to `size`: every new row is a weighted sum of old rows."""
    rows, weights = _taps(pixels.shape[2], size)
    out = np.zeros((*pixels.shape[:2], size, pixels.shape[3]), np.float32)
    for row, weight in zip(rows.T, weights.T, strict=True):
        out += weight[:, None] * pixels[:, :, row]
    return out


def _taps(old: int, new: int) -> tuple[Array, Array]:
    """Return the source rows and their weights, each (new, taps), for a triangle filter.

    The filter is as wide as a pixel of the larger of both grids, which is what Pillow and
    torch's ``interpolate(mode="bilinear", antialias=True)`` use.
    """
    scale = old / new
    reach = max(scale, 1.0)
    centre = (np.arange(new) + 0.5) * scale
    first = np.floor(centre - reach).astype(np.int64)
    rows = first[:, None] + np.arange(int(np.ceil(2 * reach)) + 2)
    weights = np.maximum(0, 1 - np.abs(rows + 0.5 - centre[:, None]) / reach)
    weights[(rows < 0) | (rows >= old)] = 0
    weights /= weights.sum(axis=1, keepdims=True)
    return rows.clip(0, old - 1), weights.astype(np.float32)
