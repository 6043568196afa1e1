"""Convolution and its transpose in one, two and three dimensions.

Two dimensions are the engine's; one is an image of height 1, three are sums of two-dimensional
ones over the taps of the depth. Types other than float32 compute in NumPy over windows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ... import functional as F
from ...tensor import Tensor
from .elementwise import in_float32
from .registry import operator
from .values import Value, array, is_tensor
from .windows import Sides, sides, sliding

Ints = Sequence[int]


def _image(x: Value, axis: int = 2) -> Value:
    """Return a signal (N, C, L) as an image of height 1."""
    return x.unsqueeze(axis)


@operator()
@in_float32
def Conv(
    x: Value, w: Value, b: Value = None,
    *, auto_pad: str = "NOTSET", dilations: Ints | None = None, group: int = 1,
    kernel_shape: Ints | None = None, pads: Ints | None = None, strides: Ints | None = None,
) -> Value:
    n = x.ndim - 2
    if n < 1 or w.ndim != x.ndim:
        raise ValueError(f"expected (N, C, sizes) and (O, C, kernel), got {x.shape} and {w.shape}")
    kernel = list(kernel_shape or w.shape[2:])
    if kernel != list(w.shape[2:]):
        raise ValueError(f"kernel_shape {kernel} differs from the weight's {tuple(w.shape)}")
    strides, dilations = list(strides or [1] * n), list(dilations or [1] * n)
    padding = sides(x.shape[2:], kernel, strides, dilations, pads, auto_pad)
    if not is_tensor(x):
        return convolve(x, array(w), array(b), strides, padding, dilations, group)
    if n == 1:
        y = F.conv2d(_image(x), _image(w), b, [1, *strides], [(0, 0), *padding],
                     [1, *dilations], group)
        return y.squeeze(2)
    if n == 2:
        return F.conv2d(x, w, b, strides, padding, dilations, group)
    if n == 3:
        return _conv3d(x, w, b, strides, padding, dilations, group)
    raise ValueError(f"expected one to three image axes, got {x.shape}")


def _slices_as_batch(x: Tensor) -> Tensor:
    """Return (N, C, D, H, W) as (N D, C, H, W)."""
    n, c, d, h, w = x.shape
    return x.permute(0, 2, 1, 3, 4).reshape((n * d, c, h, w))


def _batch_as_slices(y: Tensor, n: int) -> Tensor:
    """Return (N D, C, H, W) as (N, C, D, H, W)."""
    rows, c, h, w = y.shape
    return y.reshape((n, rows // n, c, h, w)).permute(0, 2, 1, 3, 4)


def _conv3d(
    x: Tensor, w: Tensor, b: Tensor | None, strides: Ints, padding: Sides, dilations: Ints,
    group: int,
) -> Tensor:
    """Sum two-dimensional convolutions of the slices that each tap of the depth reads."""
    n, depth = x.shape[0], w.shape[2]
    x = F.pad(x, (0, 0, 0, 0, *padding[0]))
    out = (x.shape[2] - dilations[0] * (depth - 1) - 1) // strides[0] + 1
    total = None
    for tap in range(depth):
        at = tap * dilations[0]
        read = x[:, :, at : at + (out - 1) * strides[0] + 1 : strides[0]]
        y = F.conv2d(_slices_as_batch(read), w[:, :, tap], b if tap == 0 else None,
                     strides[1:], padding[1:], dilations[1:], group)
        total = y if total is None else F.add(total, y)
    if total is None:
        raise ValueError(f"a kernel without taps: {w.shape}")
    return _batch_as_slices(total, n)


def convolve(
    x: np.ndarray, w: np.ndarray, b: np.ndarray | None, strides: Ints, padding: Sides,
    dilations: Ints, group: int, pad_value: float = 0,
) -> np.ndarray:
    """Return the convolution of arrays (N, C, *sizes) and (O, C / group, *kernel), any type."""
    if x.shape[1] != w.shape[1] * group or w.shape[0] % group:
        raise ValueError(f"{x.shape} and {w.shape} do not fit with group {group}")
    seen = sliding(x, w.shape[2:], strides, dilations, padding, pad_value)
    n, outputs = w.ndim - 2, seen.shape[2 : w.ndim]
    windows = seen.reshape(x.shape[0], group, w.shape[1], *seen.shape[2:])
    kernels = w.reshape(group, w.shape[0] // group, *w.shape[1:])
    parts = [
        np.tensordot(windows[:, g], kernels[g], ((1, *range(n + 2, 2 * n + 2)), range(1, n + 2)))
        for g in range(group)
    ]
    y = np.moveaxis(np.concatenate(parts, -1), -1, 1).reshape(x.shape[0], w.shape[0], *outputs)
    if b is not None:
        y = y + b.reshape(-1, *[1] * n).astype(y.dtype)
    return y.astype(x.dtype, copy=False)


# ---- the transpose -------------------------------------------------------------------------


def _transposed_sides(
    sizes: Ints, extents: Ints, strides: Ints, extra: Ints, pads: Ints | None, auto_pad: str,
    output_shape: Ints | None,
) -> Sides:
    """Return what is cut off each end of the full (input - 1) * stride + extent + extra."""
    n = len(sizes)
    full = [(size - 1) * s + e + o
            for size, e, s, o in zip(sizes, extents, strides, extra, strict=True)]
    if output_shape is None and auto_pad in ("NOTSET", "VALID"):
        flat = list(pads or [0] * (2 * n)) if auto_pad == "NOTSET" else [0] * (2 * n)
        return list(zip(flat[:n], flat[n:], strict=True))
    wanted = list(output_shape or [size * s for size, s in zip(sizes, strides, strict=True)])[-n:]
    result = []
    for whole, size in zip(full, wanted, strict=True):
        total = whole - size
        less = total // 2
        before = less if auto_pad == "SAME_UPPER" else total - less
        result.append((before, total - before))
    return result


@operator()
@in_float32
def ConvTranspose(
    x: Value, w: Value, b: Value = None,
    *, auto_pad: str = "NOTSET", dilations: Ints | None = None, group: int = 1,
    kernel_shape: Ints | None = None, output_padding: Ints | None = None,
    output_shape: Ints | None = None, pads: Ints | None = None, strides: Ints | None = None,
) -> Value:
    n = x.ndim - 2
    if not 1 <= n <= 3 or w.ndim != x.ndim:
        raise ValueError(f"expected (N, C, sizes) and (C, O, kernel), got {x.shape} and {w.shape}")
    strides, dilations = list(strides or [1] * n), list(dilations or [1] * n)
    extra = list(output_padding or [0] * n)
    extents = [d * (k - 1) + 1 for k, d in zip(w.shape[2:], dilations, strict=True)]
    cut = _transposed_sides(x.shape[2:], extents, strides, extra, pads, auto_pad, output_shape)
    if not is_tensor(x):
        return _spread(x, array(w), array(b), strides, cut, extra, dilations, group)
    if n == 1:
        y = _transpose2d(_image(x), _image(w), b, [1, *strides], [(0, 0), *cut], [0, *extra],
                         [1, *dilations], group)
        return y.squeeze(2)
    if n == 2:
        return _transpose2d(x, w, b, strides, cut, extra, dilations, group)
    return _transpose3d(x, w, b, strides, cut, extra, dilations, group)


def _transpose2d(
    x: Tensor, w: Tensor, b: Tensor | None, strides: Ints, cut: Sides, extra: Ints,
    dilations: Ints, group: int,
) -> Tensor:
    """Let the engine cut off what both ends share, and add or cut the rest at the end."""
    shared = [max(min(before, after - e), 0)
              for (before, after), e in zip(cut, extra, strict=True)]
    y = F.conv_transpose2d(x, w, b, strides, shared, 0, group, dilations)
    rest = [
        (p - before, e + p - after)
        for (before, after), p, e in zip(cut, shared, extra, strict=True)
    ]
    if all(side == (0, 0) for side in rest):
        return y
    return _extended(y, rest, b)


def _extended(y: Tensor, rest: Sides, b: Tensor | None) -> Tensor:
    """Pad or crop the image; where nothing was computed, the bias alone stands."""
    flat = [width for side in reversed(rest) for width in side]
    if b is None or max(flat) <= 0:
        return F.pad(y, flat)
    wide = b.reshape((1, -1, 1, 1))
    return F.add(F.pad(F.sub(y, wide), flat), wide)


def _transpose3d(
    x: Tensor, w: Tensor, b: Tensor | None, strides: Ints, cut: Sides, extra: Ints,
    dilations: Ints, group: int,
) -> Tensor:
    """Sum what each slice gives through each tap of the depth to the slices of the result."""
    n, depth = x.shape[0], w.shape[2]
    taps = [
        _batch_as_slices(
            _transpose2d(_slices_as_batch(x), w[:, :, tap], None, strides[1:], cut[1:], extra[1:],
                         dilations[1:], group), n)
        for tap in range(depth)
    ]
    extent = (x.shape[2] - 1) * strides[0] + dilations[0] * (depth - 1) + 1 + extra[0]
    planes = []
    for out in range(cut[0][0], extent - cut[0][1]):
        reads = [divmod(out - tap * dilations[0], strides[0]) for tap in range(depth)]
        parts = [taps[tap][:, :, at] for tap, (at, left) in enumerate(reads)
                 if left == 0 and 0 <= at < x.shape[2]]
        plane = F.mul(taps[0][:, :, 0], 0.0) if not parts else parts[0]
        for part in parts[1:]:
            plane = F.add(plane, part)
        planes.append(plane)
    y = F.stack(planes, 2)
    return y if b is None else F.add(y, b.reshape((1, -1, 1, 1, 1)))


def _spread(
    x: np.ndarray, w: np.ndarray, b: np.ndarray | None, strides: Ints, cut: Sides, extra: Ints,
    dilations: Ints, group: int,
) -> np.ndarray:
    """Return the transposed convolution of arrays of any type, tap by tap."""
    full = [(size - 1) * s + d * (k - 1) + 1 + e for size, s, d, k, e in zip(
        x.shape[2:], strides, dilations, w.shape[2:], extra, strict=True)]
    y = np.zeros((x.shape[0], group, w.shape[1], *full), x.dtype)
    groups = x.reshape(x.shape[0], group, x.shape[1] // group, *x.shape[2:])
    kernels = w.reshape(group, w.shape[0] // group, *w.shape[1:])
    for tap in np.ndindex(*w.shape[2:]):
        target = tuple(slice(t * d, t * d + (size - 1) * s + 1, s) for t, d, size, s in zip(
            tap, dilations, x.shape[2:], strides, strict=True))
        weights = kernels[(slice(None), slice(None), slice(None), *tap)]
        y[(slice(None),) * 3 + target] += np.einsum("ngc...,gco->ngo...", groups, weights)
    y = y.reshape(x.shape[0], math.prod(y.shape[1:3]), *full)
    kept = tuple(slice(before, size - after) for (before, after), size in zip(
        cut, full, strict=True))
    y = y[(slice(None), slice(None), *kept)]
    return (y if b is None else y + b.reshape(-1, *[1] * len(full))).astype(x.dtype)
