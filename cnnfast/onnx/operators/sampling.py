"""Reading images at positions that other values give: each the standard's operator of its name.

All of it is NumPy's; grids may be of images or volumes.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from .registry import operator
from .resize import _cubic

Ints = Sequence[int]

CUBIC = -0.75
"""Coefficient of the cubic kernel, the standard's."""


@operator(host=True)
def GridSample(
    x: np.ndarray, grid: np.ndarray,
    *, align_corners: int = 0, mode: str = "linear", padding_mode: str = "zeros",
) -> np.ndarray:
    """Return x (N, C, *sizes) at the positions grid (N, *outputs, axes), last axis first, in -1..1.
    """
    mode = {"bilinear": "linear", "bicubic": "cubic"}.get(mode, mode)
    sizes, n = x.shape[2:], x.ndim - 2
    places = []
    for axis, size in enumerate(sizes):
        g = grid[..., n - 1 - axis].astype(np.float64)
        p = (g + 1) / 2 * (size - 1) if align_corners else ((g + 1) * size - 1) / 2
        places.append(p if mode == "cubic" else _inside(p, size, padding_mode, align_corners))
    offsets, weights = zip(*(_stencil(p, mode) for p in places), strict=True)
    total = np.zeros((x.shape[0], *grid.shape[1:-1], x.shape[1]))
    for taps in itertools.product(*(range(offset.shape[-1]) for offset in offsets)):
        weight = np.ones(grid.shape[:-1])
        index = []
        for axis, tap in enumerate(taps):
            at = offsets[axis][..., tap]
            if mode == "cubic":
                at = _inside(at, sizes[axis], padding_mode, align_corners)
            weight = weight * weights[axis][..., tap]
            weight = np.where((at < 0) | (at >= sizes[axis]), 0, weight)
            index.append(np.clip(at, 0, sizes[axis] - 1).astype(np.int64))
        batch = np.arange(x.shape[0]).reshape(-1, *[1] * n)
        total += np.moveaxis(x, 1, -1)[(batch, *index)] * weight[..., None]
    return np.moveaxis(total, -1, 1).astype(x.dtype)


def _inside(p: np.ndarray, size: int, padding_mode: str, align_corners: int) -> np.ndarray:
    """Return positions clamped to the border or mirrored at it; as they are for "zeros"."""
    if padding_mode == "border":
        return np.clip(p, 0, size - 1)
    if padding_mode == "reflection":
        low, span = (0.0, size - 1.0) if align_corners else (-0.5, float(size))
        if span == 0:
            return np.zeros_like(p)
        folded = np.abs(p - low) % (2 * span)
        return np.clip(np.minimum(folded, 2 * span - folded) + low, 0, size - 1)
    if padding_mode != "zeros":
        raise ValueError(f"padding_mode {padding_mode!r} is not known")
    return p


def _stencil(p: np.ndarray, mode: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the inputs around each position and their weights, along a new last axis."""
    if mode == "nearest":
        return np.rint(p)[..., None], np.ones((*p.shape, 1))
    left = np.floor(p)
    if mode == "linear":
        share = p - left
        return np.stack([left, left + 1], -1), np.stack([1 - share, share], -1)
    if mode != "cubic":
        raise ValueError(f"mode {mode!r} is not known")
    at = left[..., None] + np.arange(-1, 3)
    return at, _cubic(np.abs(at - p[..., None]), CUBIC)


@operator(host=True)
def AffineGrid(theta: np.ndarray, size: np.ndarray, *, align_corners: int = 0) -> np.ndarray:
    """Return the positions of an image of `size` under the affine maps theta (N, n, n + 1)."""
    sizes = [int(s) for s in size[2:]]
    steps = []
    for s in sizes:
        ends = np.linspace(-1, 1, s) if align_corners else (2 * np.arange(s) + 1) / s - 1
        steps.append(ends)
    mesh = np.meshgrid(*steps, indexing="ij")
    points = np.stack([*mesh[::-1], np.ones(sizes)], -1).reshape(-1, len(sizes) + 1)
    grid = points @ np.swapaxes(theta.astype(np.float64), 1, 2)
    return grid.reshape(theta.shape[0], *sizes, len(sizes)).astype(theta.dtype)


@operator(host=True)
def CenterCropPad(
    x: np.ndarray, shape: np.ndarray, *, axes: Ints | None = None
) -> np.ndarray:
    """Crop or pad each axis with zeros around its middle."""
    for axis, new in zip(axes if axes is not None else range(x.ndim), shape, strict=True):
        missing = int(new) - x.shape[axis]
        if missing < 0:
            start = -missing // 2
            x = np.moveaxis(np.moveaxis(x, axis, 0)[start : start + int(new)], 0, axis)
        elif missing:
            widths = [(0, 0)] * x.ndim
            widths[axis] = (missing // 2, missing - missing // 2)
            x = np.pad(x, widths)
    return x


@operator(host=True)
def Col2Im(
    x: np.ndarray, image_shape: np.ndarray, block_shape: np.ndarray,
    *, dilations: Ints | None = None, pads: Ints | None = None, strides: Ints | None = None,
) -> np.ndarray:
    """Add up blocks (N, C * block, positions) where they stood in the image."""
    block, sizes = [int(b) for b in block_shape], [int(s) for s in image_shape]
    n = len(block)
    dilations, strides = list(dilations or [1] * n), list(strides or [1] * n)
    flat = list(pads or [0] * (2 * n))
    padded = [s + a + b for s, a, b in zip(sizes, flat[:n], flat[n:], strict=True)]
    counts = [(p - d * (b - 1) - 1) // s + 1 for p, d, b, s in zip(
        padded, dilations, block, strides, strict=True)]
    channels = x.shape[1] // int(np.prod(block))
    columns = x.reshape(x.shape[0], channels, *block, *counts)
    y = np.zeros((x.shape[0], channels, *padded), x.dtype)
    for tap in np.ndindex(*block):
        target = tuple(slice(t * d, t * d + (c - 1) * s + 1, s) for t, d, c, s in zip(
            tap, dilations, counts, strides, strict=True))
        y[(slice(None), slice(None), *target)] += columns[(slice(None), slice(None), *tap)]
    inner = tuple(slice(a, a + s) for a, s in zip(flat[:n], sizes, strict=True))
    return y[(slice(None), slice(None), *inner)]


# ---- deformable convolution ----------------------------------------------------------------


def _bilinear(x: np.ndarray, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    """Return x (N, C, H, W) at positions (N, OH, OW) as (N, OH, OW, C); zeros outside."""
    total = np.zeros((*rows.shape, x.shape[1]))
    batch, seen = np.arange(x.shape[0])[:, None, None], np.moveaxis(x, 1, -1)
    for row, col in itertools.product((np.floor(rows), np.floor(rows) + 1),
                                      (np.floor(cols), np.floor(cols) + 1)):
        weight = (1 - np.abs(rows - row)) * (1 - np.abs(cols - col))
        inside = (row >= 0) & (row < x.shape[2]) & (col >= 0) & (col < x.shape[3])
        at = [np.clip(p, 0, s - 1).astype(np.int64) for p, s in zip(
            (row, col), x.shape[2:], strict=True)]
        total += seen[batch, at[0], at[1]] * np.where(inside, weight, 0)[..., None]
    return total


@operator(host=True)
def DeformConv(
    x: np.ndarray, w: np.ndarray, offset: np.ndarray, b: np.ndarray | None = None,
    mask: np.ndarray | None = None,
    *, dilations: Ints = (1, 1), group: int = 1, kernel_shape: Ints | None = None,
    offset_group: int = 1, pads: Ints = (0, 0, 0, 0), strides: Ints = (1, 1),
) -> np.ndarray:
    """Convolve taps that are each moved by an offset (y, x) and weighted by a mask (Dai 2017)."""
    kernel, (oh, ow) = w.shape[2:], offset.shape[2:]
    moves = offset.reshape(x.shape[0], offset_group, *kernel, 2, oh, ow).astype(np.float64)
    shape = (x.shape[0], offset_group, *kernel, oh, ow)
    share = np.ones(shape) if mask is None else mask.reshape(shape)
    rows = np.arange(oh)[:, None] * strides[0] - pads[0]
    cols = np.arange(ow) * strides[1] - pads[1]
    parts = np.split(x, offset_group, 1)
    y = np.zeros((x.shape[0], group, w.shape[0] // group, oh, ow))
    weights = w.reshape(group, w.shape[0] // group, *w.shape[1:])
    for i, j in np.ndindex(*kernel):
        read = []
        for g, part in enumerate(parts):
            at = moves[:, g, i, j]
            values = _bilinear(
                part, rows + i * dilations[0] + at[:, 0], cols + j * dilations[1] + at[:, 1])
            read.append(values * share[:, g, i, j, ..., None])
        taps = np.concatenate(read, -1).reshape(x.shape[0], oh, ow, group, -1)
        y += np.einsum("nhwgc,goc->ngohw", taps, weights[..., i, j])
    y = y.reshape(x.shape[0], w.shape[0], oh, ow)
    return (y if b is None else y + b.reshape(-1, 1, 1)).astype(x.dtype)
