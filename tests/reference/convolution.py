"""Convolutions and matrix products: images (N, C, H, W), weights (Co, Ci/groups, Kh, Kw).

Each convolution is a sum over kernel positions ("taps"): position (i, j) multiplies one strided
view of the padded input by the matrix w[:, :, i, j], group by group. Every `*_backward` takes the
output's gradient and the forward's arguments without the bias.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from types import EllipsisType

import numpy as np

from .arrays import Array, Pair, in_double, pair
from .elementwise import unbroadcast

Padding = Pair | str
Sides = tuple[tuple[int, int], tuple[int, int]]
Tap = tuple[int, int, tuple[EllipsisType, slice, slice]]


def taps(
    kernel: tuple[int, int], stride: Pair, dilation: Pair, out: tuple[int, int]
) -> Iterator[Tap]:
    """Yield (i, j, index): padded[index] is what tap (i, j) reads for all `out` positions."""
    (sh, sw), (dh, dw) = pair(stride), pair(dilation)
    for i, j in np.ndindex(*kernel):
        rows = slice(i * dh, i * dh + (out[0] - 1) * sh + 1, sh)
        columns = slice(j * dw, j * dw + (out[1] - 1) * sw + 1, sw)
        yield i, j, (..., rows, columns)


def _sides(padding: Padding, kernel: tuple[int, int], dilation: Pair) -> Sides:
    """((top, bottom), (left, right)); "same" puts the odd row below and the odd column right."""
    if padding == "valid":
        return (0, 0), (0, 0)
    if padding == "same":
        total = [d * (k - 1) for d, k in zip(pair(dilation), kernel, strict=True)]
        return (total[0] // 2, total[0] - total[0] // 2), (total[1] // 2, total[1] - total[1] // 2)
    if isinstance(padding, str):
        raise ValueError(f"padding must be ints, 'same' or 'valid', got {padding!r}")
    ph, pw = pair(padding)
    return (ph, ph), (pw, pw)


def _out_size(
    padded: tuple[int, ...], kernel: tuple[int, int], stride: Pair, dilation: Pair
) -> tuple[int, int]:
    """floor((padded - dilation * (kernel - 1) - 1) / stride) + 1 for height and width."""
    pairs = zip(padded[-2:], kernel, pair(stride), pair(dilation), strict=True)
    oh, ow = ((size - d * (k - 1) - 1) // s + 1 for size, k, s, d in pairs)
    if oh < 1 or ow < 1:
        raise ValueError(f"kernel {kernel} is larger than the padded input {padded[-2:]}")
    return oh, ow


def _per_group(x: Array, groups: int) -> Array:
    """(N, C, H, W) -> (N, groups, C/groups, H*W)."""
    n, c, h, w = x.shape
    return np.ascontiguousarray(x).reshape(n, groups, c // groups, h * w)


@in_double
def conv2d(
    x: Array,
    w: Array,
    b: Array | None = None,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Array:
    """y[n,o,p,q] = b[o] + sum_cij w[o,c,i,j] * padded x[n, c, p*stride + i*dilation, ...]."""
    (n, _, _, _), (co, ci, kh, kw) = x.shape, w.shape
    padded = np.pad(x, ((0, 0), (0, 0), *_sides(padding, (kh, kw), dilation)))
    oh, ow = _out_size(padded.shape, (kh, kw), stride, dilation)
    y = np.zeros((n, groups, co // groups, oh * ow))
    for i, j, index in taps((kh, kw), stride, dilation, (oh, ow)):
        y += w[:, :, i, j].reshape(groups, co // groups, ci) @ _per_group(padded[index], groups)
    y = y.reshape(n, co, oh, ow)
    return y if b is None else y + b[:, None, None]


@in_double
def conv2d_backward(
    dy: Array,
    x: Array,
    w: Array,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> tuple[Array, Array, Array]:
    """(dx, dw, db): each tap sends w^T dy back to where it read and collects dy x^T."""
    (_, _, h, wide), (co, ci, kh, kw) = x.shape, w.shape
    sides = _sides(padding, (kh, kw), dilation)
    padded = np.pad(x, ((0, 0), (0, 0), *sides))
    dpadded, dw, g = np.zeros_like(padded), np.zeros_like(w), _per_group(dy, groups)
    for i, j, index in taps((kh, kw), stride, dilation, dy.shape[2:]):
        matrix = w[:, :, i, j].reshape(groups, co // groups, ci)
        dpadded[index] += (matrix.swapaxes(1, 2) @ g).reshape(padded[index].shape)
        rows = _per_group(padded[index], groups)
        dw[:, :, i, j] = np.sum(g @ rows.swapaxes(2, 3), axis=0).reshape(w.shape[:2])
    (top, _), (left, _) = sides
    return dpadded[:, :, top : top + h, left : left + wide], dw, dy.sum(axis=(0, 2, 3))


def _width_only(padding: Padding) -> Padding:
    """A 1-d padding as that of an image of height one."""
    return padding if isinstance(padding, str) else (0, _single(padding))


def _single(value: Pair) -> int:
    """An int or a sequence of one int as an int."""
    return value if isinstance(value, int) else int(value[0])


def conv1d(
    x: Array,
    w: Array,
    b: Array | None = None,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Array:
    """conv2d of x (N, C, L) and w (Co, Ci/groups, K) as images of height one."""
    strides, dilations = (1, _single(stride)), (1, _single(dilation))
    wide = (x[:, :, None], w[:, :, None], b, strides, _width_only(padding), dilations, groups)
    return conv2d(*wide)[:, :, 0]


def conv1d_backward(
    dy: Array,
    x: Array,
    w: Array,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> tuple[Array, Array, Array]:
    """(dx, dw, db) of conv1d, through conv2d."""
    strides, dilations = (1, _single(stride)), (1, _single(dilation))
    wide = (x[:, :, None], w[:, :, None], strides, _width_only(padding), dilations, groups)
    dx, dw, db = conv2d_backward(dy[:, :, None], *wide)
    return dx[:, :, 0], dw[:, :, 0], db


@in_double
def conv_transpose2d(
    x: Array,
    w: Array,
    b: Array | None = None,
    stride: Pair = 1,
    padding: Pair = 0,
    output_padding: Pair = 0,
    groups: int = 1,
    dilation: Pair = 1,
) -> Array:
    """Each x[n,c,p,q] adds w[c,o,i,j] (Ci, Co/groups, Kh, Kw) at (p*stride + i*dilation, ...).

    Then `padding` is cut from every side, but `output_padding` less from the bottom and right.
    """
    (n, _, h, wide), (ci, co, kh, kw) = x.shape, w.shape
    full = _scatter_size(x, w, stride, output_padding, dilation)
    y, rows = np.zeros((n, groups * co, *full)), _per_group(x, groups)
    for i, j, index in taps((kh, kw), stride, dilation, (h, wide)):
        matrix = w[:, :, i, j].reshape(groups, ci // groups, co).swapaxes(1, 2)
        y[index] += (matrix @ rows).reshape(n, groups * co, h, wide)
    ph, pw = pair(padding)
    y = y[:, :, ph : full[0] - ph, pw : full[1] - pw]
    return y if b is None else y + b[:, None, None]


def _scatter_size(
    x: Array, w: Array, stride: Pair, output_padding: Pair, dilation: Pair
) -> tuple[int, int]:
    """Height and width that a transposed convolution writes before its padding is cut."""
    pairs = zip(
        x.shape[2:], w.shape[2:], pair(stride), pair(output_padding), pair(dilation), strict=True
    )
    height, width = ((size - 1) * s + d * (k - 1) + 1 + extra for size, k, s, extra, d in pairs)
    return height, width


@in_double
def conv_transpose2d_backward(
    dy: Array,
    x: Array,
    w: Array,
    stride: Pair = 1,
    padding: Pair = 0,
    output_padding: Pair = 0,
    groups: int = 1,
    dilation: Pair = 1,
) -> tuple[Array, Array, Array]:
    """(dx, dw, db): each tap reads dy where the forward wrote."""
    (_, _, h, wide), (ci, co, kh, kw) = x.shape, w.shape
    (height, width), (ph, pw) = _scatter_size(x, w, stride, output_padding, dilation), pair(padding)
    full = np.zeros((*dy.shape[:2], height, width))
    full[:, :, ph : height - ph, pw : width - pw] = dy
    dx, dw, rows = np.zeros_like(x), np.zeros_like(w), _per_group(x, groups)
    for i, j, index in taps((kh, kw), stride, dilation, (h, wide)):
        g = _per_group(full[index], groups)
        dx += (w[:, :, i, j].reshape(groups, ci // groups, co) @ g).reshape(x.shape)
        dw[:, :, i, j] = np.sum(rows @ g.swapaxes(2, 3), axis=0).reshape(ci, co)
    return dx, dw, dy.sum(axis=(0, 2, 3))


def conv_transpose1d(
    x: Array,
    w: Array,
    b: Array | None = None,
    stride: Pair = 1,
    padding: Pair = 0,
    output_padding: Pair = 0,
    groups: int = 1,
    dilation: Pair = 1,
) -> Array:
    """conv_transpose2d of x (N, C, L) and w (Ci, Co/groups, K) as images of height one."""
    s, p, extra, d = map(_single, (stride, padding, output_padding, dilation))
    wide = (x[:, :, None], w[:, :, None], b, (1, s), (0, p), (0, extra), groups, (1, d))
    return conv_transpose2d(*wide)[:, :, 0]


def conv_transpose1d_backward(
    dy: Array,
    x: Array,
    w: Array,
    stride: Pair = 1,
    padding: Pair = 0,
    output_padding: Pair = 0,
    groups: int = 1,
    dilation: Pair = 1,
) -> tuple[Array, Array, Array]:
    """(dx, dw, db) of conv_transpose1d, through conv_transpose2d."""
    s, p, extra, d = map(_single, (stride, padding, output_padding, dilation))
    wide = (x[:, :, None], w[:, :, None], (1, s), (0, p), (0, extra), groups, (1, d))
    dx, dw, db = conv_transpose2d_backward(dy[:, :, None], *wide)
    return dx[:, :, 0], dw[:, :, 0], db


@in_double
def linear(x: Array, w: Array, b: Array | None = None) -> Array:
    """y = x w^T + b: x (..., In), w (Out, In), b (Out,) -> (..., Out)."""
    y = x @ w.T
    return y if b is None else y + b


@in_double
def linear_backward(dy: Array, x: Array, w: Array) -> tuple[Array, Array, Array]:
    """(dx, dw, db): dx = dy w, dw = dy^T x and db = sum dy over all rows."""
    count = math.prod(x.shape[:-1])
    rows, columns = dy.reshape(count, w.shape[0]), x.reshape(count, w.shape[1])
    return dy @ w, rows.T @ columns, rows.sum(axis=0)


@in_double
def matmul(a: Array, b: Array) -> Array:
    """(..., M, K) @ (..., K, N) -> (..., M, N), leading axes broadcast; vectors as in torch."""
    return np.asarray(a @ b)


@in_double
def matmul_backward(dy: Array, a: Array, b: Array) -> tuple[Array, Array]:
    """(da, db): da = dy b^T and db = a^T dy, summed over the axes that were broadcast."""
    rows, columns = np.atleast_2d(a), b[:, None] if b.ndim == 1 else b
    if b.ndim == 1:
        dy = np.expand_dims(dy, -1)
    if a.ndim == 1:
        dy = np.expand_dims(dy, -2)
    da = unbroadcast(dy @ columns.swapaxes(-1, -2), rows.shape)
    db = unbroadcast(rows.swapaxes(-1, -2) @ dy, columns.shape)
    return da.reshape(a.shape), db.reshape(b.shape)
