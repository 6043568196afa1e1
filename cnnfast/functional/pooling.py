"""Pooling: maxima and averages of windows, with torch.nn.functional's signatures and rules.

The 1-D forms are the 2-D ones on images of height 1. A max pooling that records a gradient keeps,
per output, which tap of the window it came from, in one byte.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import _core, shapes, taps
from ..autograd import is_grad_enabled, record
from ..taps import Windows
from ..tensor import Tensor, as_float
from .resample import from_image, resample, to_image

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "avg_pool1d",
    "avg_pool2d",
    "max_pool1d",
    "max_pool2d",
]

Ints = int | Sequence[int]
MaybeInts = int | Sequence[int | None] | None
Pair = tuple[int, int]
Pooled = Any
"""A Tensor; with ``return_indices`` a tuple of it and the indices' Tensor."""
# An index of one byte tells this many taps apart.
_BYTE_TAPS = 256


# ---- maximum -------------------------------------------------------------------------------


def _flat_index(index: np.ndarray, rows: Windows, cols: Windows) -> np.ndarray:
    """Turn tap numbers (N, OH, OW, C) into positions h * W + w, (N, C, OH, OW) int64.

    A window that holds nothing but padding has position -1.
    """
    number = index.astype(np.int64).transpose(0, 3, 1, 2)
    tap_row, tap_col = np.divmod(number, cols.positions.shape[1])
    oh, ow = tap_row.shape[2:]
    row = rows.positions[np.arange(oh)[:, None], tap_row]
    col = cols.positions[np.arange(ow), tap_col]
    return np.where((row < 0) | (col < 0), -1, row * cols.forward.inputs + col)


def max_of_windows(
    x: Tensor, image: np.ndarray, rows: Windows, cols: Windows, spatial: int, return_indices: bool
) -> Pooled:
    """Return the maxima of `rows` x `cols` of `image`, which is x seen as (N, C, H, W)."""
    ndim, shape = x.ndim, image.shape
    oh, ow = rows.forward.outputs, cols.forward.outputs
    y = _core.empty_image(shape[0], shape[1], oh, ow)
    index: np.ndarray | None = None
    if return_indices or (x.requires_grad and is_grad_enabled()):
        taps_each = rows.positions.shape[1] * cols.positions.shape[1]
        kind = "uint8" if taps_each <= _BYTE_TAPS else "float32"
        index = _core.empty((shape[0], oh, ow, shape[1]), kind)
    _core.max_pool2d_forward(y, index, image, rows.forward, cols.forward)

    def max_pool(dy: np.ndarray, needs: tuple[bool, ...]) -> tuple[np.ndarray | None, ...]:
        dx = _core.empty_image(*shape)
        dy = to_image(dy, spatial, "max_pool")
        _core.max_pool2d_backward(dx, dy, index, rows.backward, cols.backward)
        return (from_image(dx, spatial, ndim),)

    result = record(from_image(y, spatial, ndim), (x,), max_pool)
    if not return_indices:
        return result
    assert index is not None
    flat = from_image(_flat_index(index, rows, cols), spatial, ndim)
    return result, Tensor.wrap(np.ascontiguousarray(flat))


def _pool_windows(
    image: np.ndarray, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool
) -> tuple[Windows, Windows]:
    h, w = image.shape[2:]
    oh, ow = shapes.pool2d(image.shape, kernel, stride, padding, dilation, ceil_mode)[2:]
    rows = taps.windows(h, oh, kernel[0], stride[0], padding[0], dilation[0], kernel[1])
    return rows, taps.windows(w, ow, kernel[1], stride[1], padding[1], dilation[1])


def max_pool2d(
    input: Tensor,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Ints = 0,
    dilation: Ints = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Pooled:
    """Return the largest element of each window.

    Of equal elements the first counts, NaN counts as the largest; padding never wins.

    Parameters
    ----------
    input : Tensor
        (N, C, H, W) or (C, H, W).
    kernel_size, stride, padding, dilation : int or (int, int)
        Of the windows; stride is kernel_size unless given, padding at most half the kernel.
    ceil_mode : bool
        Whether a last window may hang over the edge, if it begins inside the input or the padding
        before it.
    return_indices : bool
        Whether to return also where each element stood: h * W + w, int64.

    Returns
    -------
    Tensor, or (Tensor, Tensor)
        (N, C, OH, OW), OH = floor((H + 2 padding - dilation (kernel - 1) - 1) / stride) + 1.

    Raises
    ------
    ValueError
        Where the window does not fit or the padding is too large.

    Examples
    --------
    >>> import numpy as np
    >>> from cnnfast import functional as F, tensor
    >>> x = tensor(np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4))
    >>> F.max_pool2d(x, 2).numpy()[0, 0]
    array([[ 5.,  7.],
           [13., 15.]], dtype=float32)
    """
    x = as_float(input)
    image = to_image(x.array, 2, "max_pool2d")
    kernel = shapes.pair(kernel_size, "kernel_size")
    rows, cols = _pool_windows(
        image,
        kernel,
        shapes.pool_stride(stride, kernel),
        shapes.pair(padding, "padding", minimum=0),
        shapes.pair(dilation, "dilation"),
        ceil_mode,
    )
    return max_of_windows(x, image, rows, cols, 2, return_indices)


def max_pool1d(
    input: Tensor,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Ints = 0,
    dilation: Ints = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Pooled:
    """Return the largest element of each window of (N, C, L) or (C, L); see `max_pool2d`."""
    x = as_float(input)
    image = to_image(x.array, 1, "max_pool1d")
    kernel = shapes.row(kernel_size, "kernel_size")
    rows, cols = _pool_windows(
        image,
        kernel,
        kernel if stride is None else shapes.row(stride, "stride"),
        shapes.row(padding, "padding", least=0),
        shapes.row(dilation, "dilation"),
        ceil_mode,
    )
    return max_of_windows(x, image, rows, cols, 1, return_indices)


def adaptive_max_pool2d(
    input: Tensor, output_size: MaybeInts, return_indices: bool = False
) -> Pooled:
    """Return the largest element of each of OH x OW bins.

    Bin i of an axis reaches from floor(i H / OH) up to ceil((i + 1) H / OH).

    Parameters
    ----------
    input : Tensor
        (N, C, H, W) or (C, H, W).
    output_size : int or (int or None, int or None)
        (OH, OW); None keeps the input's size.
    return_indices : bool
        Whether to return also where each element stood: h * W + w, int64.
    """
    x = as_float(input)
    image = to_image(x.array, 2, "adaptive_max_pool2d")
    (h, w), (oh, ow) = image.shape[2:], shapes.adaptive_size(image.shape, output_size)
    cols = taps.bins(w, ow)
    rows = taps.bins(h, oh, cols.positions.shape[1])
    return max_of_windows(x, image, rows, cols, 2, return_indices)


def adaptive_max_pool1d(input: Tensor, output_size: Ints, return_indices: bool = False) -> Pooled:
    """Return the largest element of each bin of (N, C, L) or (C, L); see `adaptive_max_pool2d`."""
    x = as_float(input)
    image = to_image(x.array, 1, "adaptive_max_pool1d")
    cols = taps.bins(image.shape[3], shapes.row(output_size, "output_size")[1])
    rows = taps.bins(1, 1, cols.positions.shape[1])
    return max_of_windows(x, image, rows, cols, 1, return_indices)


# ---- average -------------------------------------------------------------------------------


def avg_pool2d(
    input: Tensor,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Ints = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Return the average of each window.

    Parameters
    ----------
    input : Tensor
        (N, C, H, W) or (C, H, W).
    kernel_size, stride, padding : int or (int, int)
        Of the windows; stride is kernel_size unless given, padding at most half the kernel.
    ceil_mode : bool
        As in `max_pool2d`. What hangs over beyond the padding is not counted.
    count_include_pad : bool
        Whether zeros of the padding are counted.
    divisor_override : int, optional
        What the sums are divided by instead of the number of elements.

    Returns
    -------
    Tensor
        (N, C, OH, OW), sizes as in `max_pool2d`.

    Examples
    --------
    >>> import numpy as np
    >>> from cnnfast import functional as F, tensor
    >>> x = tensor(np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4))
    >>> F.avg_pool2d(x, 2).numpy()[0, 0]
    array([[ 2.5,  4.5],
           [10.5, 12.5]], dtype=float32)
    """
    x = as_float(input)
    image = to_image(x.array, 2, "avg_pool2d")
    kernel = shapes.pair(kernel_size, "kernel_size")
    stride, padding = shapes.pool_stride(stride, kernel), shapes.pair(padding, "padding", minimum=0)
    if divisor_override == 0:
        raise ValueError("avg_pool2d: divisor_override must not be 0")
    h, w = image.shape[2:]
    oh, ow = shapes.pool2d(image.shape, kernel, stride, padding, (1, 1), ceil_mode)[2:]
    counted, over = bool(count_include_pad), divisor_override
    rows = taps.average(h, oh, kernel[0], stride[0], padding[0], counted, over)
    cols = taps.average(w, ow, kernel[1], stride[1], padding[1], counted, over and 1)
    return resample(x, image, rows, cols, 2, "avg_pool2d")


def avg_pool1d(
    input: Tensor,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Ints = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """Return the average of each window of (N, C, L) or (C, L); see `avg_pool2d`."""
    x = as_float(input)
    image = to_image(x.array, 1, "avg_pool1d")
    kernel = shapes.row(kernel_size, "kernel_size")
    stride = kernel if stride is None else shapes.row(stride, "stride")
    padding = shapes.row(padding, "padding", least=0)
    out = shapes.pool2d(image.shape, kernel, stride, padding, (1, 1), ceil_mode)[3]
    cols = taps.average(
        image.shape[3], out, kernel[1], stride[1], padding[1], bool(count_include_pad), None
    )
    return resample(x, image, taps.bin_average(1, 1), cols, 1, "avg_pool1d")


def adaptive_avg_pool2d(input: Tensor, output_size: MaybeInts) -> Tensor:
    """Return the average of each of OH x OW bins; output_size 1 averages the whole image.

    Bin i of an axis reaches from floor(i H / OH) up to ceil((i + 1) H / OH).

    Parameters
    ----------
    input : Tensor
        (N, C, H, W) or (C, H, W).
    output_size : int or (int or None, int or None)
        (OH, OW); None keeps the input's size.
    """
    x = as_float(input)
    image = to_image(x.array, 2, "adaptive_avg_pool2d")
    (h, w), (oh, ow) = image.shape[2:], shapes.adaptive_size(image.shape, output_size)
    rows, cols = taps.bin_average(h, oh), taps.bin_average(w, ow)
    return resample(x, image, rows, cols, 2, "adaptive_avg_pool2d")


def adaptive_avg_pool1d(input: Tensor, output_size: Ints) -> Tensor:
    """Return the average of each bin of (N, C, L) or (C, L); see `adaptive_avg_pool2d`."""
    x = as_float(input)
    image = to_image(x.array, 1, "adaptive_avg_pool1d")
    cols = taps.bin_average(image.shape[3], shapes.row(output_size, "output_size")[1])
    return resample(x, image, taps.bin_average(1, 1), cols, 1, "adaptive_avg_pool1d")
