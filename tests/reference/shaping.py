"""Moving values: padding, resizing, concatenation, slicing, pixel and channel shuffles.

Padding and resizing work one axis at a time: each output position reads one or two input
positions, and the gradient is added where the forward read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .arrays import Array, Integers, in_double

Scale = float | Sequence[float] | None
Size = int | Sequence[int] | None
Source = tuple[Integers, Integers, Array]


def _source_positions(size: int, before: int, after: int, mode: str) -> Integers:
    """For each position of the padded axis the one that it reads, or -1 for the constant."""
    at = np.arange(-before, size + after)
    if mode == "replicate":
        return np.clip(at, 0, size - 1)
    if mode == "reflect":
        return (size - 1) - np.abs((size - 1) - np.abs(at))
    if mode == "constant":
        return np.where((at >= 0) & (at < size), at, -1)
    raise ValueError(f"mode must be 'constant', 'reflect' or 'replicate', got {mode!r}")


def _padded_axes(x: Array, pad: Sequence[int], mode: str) -> list[tuple[int, Integers]]:
    """(axis, source positions) for torch's flat list of (before, after), last axis first."""
    sides = zip(pad[::2], pad[1::2], strict=True)
    axes = ((x.ndim - 1 - i, before, after) for i, (before, after) in enumerate(sides))
    return [(a, _source_positions(x.shape[a], left, right, mode)) for a, left, right in axes]


@in_double
def pad(x: Array, pad: Sequence[int], mode: str = "constant", value: float = 0.0) -> Array:
    """x with borders: pad = (left, right, top, bottom, ...); negative numbers crop."""
    for axis, source in _padded_axes(x, pad, mode):
        outside = np.expand_dims(source < 0, tuple(range(1, x.ndim - axis)))
        x = np.where(outside, value, np.take(x, source, axis))
    return x


@in_double
def pad_backward(dy: Array, x: Array, pad: Sequence[int], mode: str = "constant") -> Array:
    """Each dy added where its position read; that of the constant border is dropped."""
    for axis, source in reversed(_padded_axes(x, pad, mode)):
        inside = np.flatnonzero(source >= 0)
        dy = _add_at(np.take(dy, inside, axis), source[inside], axis, x.shape[axis])
    return dy


def _add_at(dy: Array, source: Integers, axis: int, size: int) -> Array:
    """Zeros with `size` positions along `axis`, each slice of dy added at its source."""
    dx = np.zeros((size, *np.delete(dy.shape, axis)))
    np.add.at(dx, source, np.moveaxis(dy, axis, 0))
    return np.moveaxis(dx, 0, axis)


def _nearest(size: int, out: int, scale: float | None) -> Source:
    """floor(i * size / out), or floor(i / scale), in float32 as torch's image kernels compute it.

    The rounding decides exact positions; an equal or doubled size takes i or i // 2 at any scale.
    """
    if out in (size, 2 * size):
        at = np.arange(out) // (out // size)
        return at, at, np.zeros(out)
    step = np.float32(size) / np.float32(out) if scale is None else np.float32(1.0 / scale)
    at = np.floor(np.arange(out, dtype=np.float32) * step).astype(np.int64)
    at = np.minimum(at, size - 1)
    return at, at, np.zeros(out)


def _linear(size: int, out: int, scale: float | None, align_corners: bool) -> Source:
    """(left, right, weight of right): corners on corners, or pixel centres on pixel centres.

    An equal size is a copy at any scale, as in torch.
    """
    if out == size:
        return np.arange(out), np.arange(out), np.zeros(out)
    if align_corners:
        at = np.arange(out) * ((size - 1) / (out - 1) if out > 1 else 0.0)
    else:
        step = size / out if scale is None else 1.0 / scale
        at = np.maximum((np.arange(out) + 0.5) * step - 0.5, 0.0)
    left = np.minimum(np.floor(at).astype(np.int64), size - 1)
    return left, np.minimum(left + 1, size - 1), np.minimum(at - left, 1.0)


def _sources(
    x: Array, size: Size, scale_factor: Scale, mode: str, align_corners: bool
) -> list[tuple[int, Source]]:
    """(axis, what each output position reads) for every axis behind (N, C)."""
    count = x.ndim - 2
    if (size is None) == (scale_factor is None):
        raise ValueError("give either size or scale_factor")
    given: Any = size if size is not None else scale_factor
    each = tuple(given) if isinstance(given, Sequence) else (given,) * count
    sources = []
    for axis, one in zip(range(2, x.ndim), each, strict=True):
        n, scale = x.shape[axis], None if size is not None else float(one)
        out = int(one) if scale is None else math.floor(n * scale)
        if mode == "nearest":
            sources.append((axis, _nearest(n, out, scale)))
        elif mode in ("linear", "bilinear"):
            sources.append((axis, _linear(n, out, scale, align_corners)))
        else:
            raise ValueError(f"mode must be 'nearest', 'linear' or 'bilinear', got {mode!r}")
    return sources


@in_double
def interpolate(
    x: Array,
    size: Size = None,
    scale_factor: Scale = None,
    mode: str = "nearest",
    align_corners: bool = False,
) -> Array:
    """(N, C, ...) resized to `size` or floor(input * scale_factor), which then is the step."""
    for axis, (left, right, weight) in _sources(x, size, scale_factor, mode, align_corners):
        near, far = np.take(x, left, axis), np.take(x, right, axis)
        share = np.expand_dims(weight, tuple(range(1, x.ndim - axis)))
        x = near if mode == "nearest" else near * (1 - share) + far * share
    return x


@in_double
def interpolate_backward(
    dy: Array,
    x: Array,
    size: Size = None,
    scale_factor: Scale = None,
    mode: str = "nearest",
    align_corners: bool = False,
) -> Array:
    """Each dy added to the positions that it read, with their weights."""
    sources = _sources(x, size, scale_factor, mode, align_corners)
    for axis, (left, right, weight) in reversed(sources):
        share, n = np.expand_dims(weight, tuple(range(1, x.ndim - axis))), x.shape[axis]
        dy = _add_at(dy * (1 - share), left, axis, n) + _add_at(dy * share, right, axis, n)
    return dy


def concat(arrays: Sequence[Array], dim: int = 0) -> Array:
    """The arrays one behind the other along `dim`."""
    return np.concatenate([np.asarray(a, np.float64) for a in arrays], axis=dim)


def concat_backward(dy: Array, arrays: Sequence[Array], dim: int = 0) -> list[Array]:
    """dy cut into the arrays' lengths along `dim`."""
    ends = np.cumsum([a.shape[dim] for a in arrays])[:-1]
    return np.split(np.asarray(dy, np.float64), ends, axis=dim)


@in_double
def slice(x: Array, index: Any) -> Array:
    """x[index], by any NumPy index."""
    return np.asarray(x[index])


@in_double
def slice_backward(dy: Array, x: Array, index: Any) -> Array:
    """Zeros, dy added at the index (twice where an element was read twice)."""
    dx = np.zeros(x.shape)
    np.add.at(dx, index, dy)
    return dx


@in_double
def pixel_shuffle(x: Array, upscale_factor: int) -> Array:
    """(N, C*r*r, H, W) -> (N, C, H*r, W*r): y[n, c, h*r+i, w*r+j] = x[n, c*r*r + i*r + j, h, w]."""
    (n, c, h, w), r = x.shape, upscale_factor
    blocks = x.reshape(n, c // (r * r), r, r, h, w).transpose(0, 1, 4, 2, 5, 3)
    return blocks.reshape(n, c // (r * r), h * r, w * r)


@in_double
def pixel_unshuffle(x: Array, downscale_factor: int) -> Array:
    """(N, C, H*r, W*r) -> (N, C*r*r, H, W), the inverse of pixel_shuffle."""
    (n, c, h, w), r = x.shape, downscale_factor
    blocks = x.reshape(n, c, h // r, r, w // r, r).transpose(0, 1, 3, 5, 2, 4)
    return blocks.reshape(n, c * r * r, h // r, w // r)


def pixel_shuffle_backward(dy: Array, x: Array, upscale_factor: int) -> Array:
    """A permutation's gradient is its inverse."""
    return pixel_unshuffle(dy, upscale_factor)


def pixel_unshuffle_backward(dy: Array, x: Array, downscale_factor: int) -> Array:
    """A permutation's gradient is its inverse."""
    return pixel_shuffle(dy, downscale_factor)


@in_double
def channel_shuffle(x: Array, groups: int) -> Array:
    """(N, C, ...): channel g * (C/groups) + k moves to k * groups + g."""
    n, c = x.shape[:2]
    return x.reshape(n, groups, c // groups, *x.shape[2:]).swapaxes(1, 2).reshape(x.shape)


def channel_shuffle_backward(dy: Array, x: Array, groups: int) -> Array:
    """The inverse permutation: a shuffle with C / groups groups."""
    return channel_shuffle(dy, dy.shape[1] // groups)
