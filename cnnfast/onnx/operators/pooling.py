"""Pooling: maxima, averages and p-norms of windows, in one to three dimensions.

On float32 images they are the engine's tables of taps (`cnnfast.taps`); an axis more or less is
another view of the image. Indices, and types other than float32, are NumPy's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ... import functional as F
from ... import taps
from ...functional.pooling import max_of_windows
from ...functional.resample import resample, to_image
from ...tensor import Tensor
from .elementwise import in_float32
from .registry import operator
from .values import Value, array, is_tensor
from .windows import output_size, sides, sliding

Ints = Sequence[int]


class Geometry(NamedTuple):
    """Windows along one axis: input size, outputs, kernel, stride, (before, after), dilation."""

    size: int
    out: int
    kernel: int
    stride: int
    side: tuple[int, int]
    dilation: int


ONE = Geometry(1, 1, 1, 1, (0, 0), 1)
"""An axis of one element that is not pooled."""


def _geometry(
    x: Value, kernel: Ints, strides: Ints | None, dilations: Ints | None, pads: Ints | None,
    auto_pad: str, ceil_mode: int,
) -> list[Geometry]:
    n = x.ndim - 2
    if n < 1 or len(kernel) != n:
        raise ValueError(f"kernel_shape {list(kernel)} does not fit input {tuple(x.shape)}")
    strides, dilations = list(strides or [1] * n), list(dilations or [1] * n)
    padding = sides(x.shape[2:], kernel, strides, dilations, pads, auto_pad)
    rows = zip(x.shape[2:], kernel, strides, dilations, padding, strict=True)
    return [
        Geometry(size, output_size(size, k, s, d, side, bool(ceil_mode)), k, s, side, d)
        for size, k, s, d, side in rows
    ]


Pool2d = Callable[[Tensor, Geometry, Geometry], Tensor]


def _pooled(x: Tensor, axes: list[Geometry], pool: Pool2d) -> Tensor:
    """Apply a two-dimensional pooling to one, two or three axes; all here are separable."""
    if len(axes) == 1:
        return pool(x.unsqueeze(2), ONE, axes[0]).squeeze(2)
    if len(axes) == 2:
        return pool(x, *axes)
    if len(axes) != 3:
        raise ValueError(f"expected one to three image axes, got {x.shape}")
    n, c, d, h, w = x.shape
    y = pool(x.reshape((n * c, d, h, w)), axes[1], axes[2])
    oh, ow = y.shape[2:]
    y = pool(y.reshape((n, c, d, oh * ow)), axes[0], _kept(oh * ow))
    return y.reshape((n, c, axes[0].out, oh, ow))


def _kept(size: int) -> Geometry:
    return Geometry(size, size, 1, 1, (0, 0), 1)


def _windows(x: np.ndarray, axes: list[Geometry], fill: float) -> np.ndarray:
    """Return the windows of an array with the elements of each along one last axis."""
    seen = sliding(
        x, [a.kernel for a in axes], [a.stride for a in axes], [a.dilation for a in axes],
        [a.side for a in axes], fill,
    ) if all(_fits(a) for a in axes) else sliding(
        x, [a.kernel for a in axes], [a.stride for a in axes], [a.dilation for a in axes],
        [a.side for a in axes], fill, ceil_mode=True,
    )
    return seen.reshape(*seen.shape[: 2 + len(axes)], -1)


def _fits(a: Geometry) -> bool:
    """Whether no window hangs over the padding."""
    return (a.out - 1) * a.stride + a.dilation * (a.kernel - 1) < a.size + sum(a.side)


# ---- maximum -------------------------------------------------------------------------------


@operator()
@in_float32
def MaxPool(
    x: Value,
    *, kernel_shape: Ints, auto_pad: str = "NOTSET", ceil_mode: int = 0,
    dilations: Ints | None = None, pads: Ints | None = None, storage_order: int = 0,
    strides: Ints | None = None, outputs: int,
) -> Any:
    axes = _geometry(x, kernel_shape, strides, dilations, pads, auto_pad, ceil_mode)
    if outputs > 1 or not is_tensor(x):
        return _maxima(array(x), axes, storage_order)
    return _pooled(x, axes, _max2d)


def _max2d(x: Tensor, rows: Geometry, cols: Geometry) -> Tensor:
    image = to_image(x.array, 2, "MaxPool")
    tables = [
        taps.windows(a.size, a.out, a.kernel, a.stride, a.side[0], a.dilation, number)
        for a, number in ((rows, cols.kernel), (cols, 1))
    ]
    result: Tensor = max_of_windows(x, image, tables[0], tables[1], 2, False)
    return result


def _maxima(x: np.ndarray, axes: list[Geometry], storage_order: int) -> tuple[Any, ...]:
    """Return maxima and where they stood in x, counted row by row or (order 1) column by column."""
    if x.dtype.kind in "iu":
        lowest: float = np.iinfo(x.dtype).min
    else:
        lowest = -np.inf
    numbers = np.arange(x.size, dtype=np.int64).reshape(x.shape)
    if storage_order:
        planes = np.arange(int(np.prod(x.shape[2:]))).reshape(x.shape[2:], order="F")
        first = np.arange(x.shape[0] * x.shape[1]).reshape(x.shape[:2]) * planes.size
        numbers = first.reshape(*x.shape[:2], *[1] * planes.ndim) + planes
    values = _windows(x, axes, lowest)
    best = values.argmax(-1)[..., None]
    where = _windows(numbers, axes, -1)
    padding = np.take_along_axis(where, best, -1) < 0  # the first of elements that are no larger
    best = np.where(padding, (where >= 0).argmax(-1)[..., None], best)
    return (
        np.take_along_axis(values, best, -1)[..., 0],
        np.take_along_axis(where, best, -1)[..., 0].astype(np.int64),
    )


@operator(host=True)
def MaxUnpool(
    x: np.ndarray, indices: np.ndarray, output_shape: np.ndarray | None = None,
    *, kernel_shape: Ints, pads: Ints | None = None, strides: Ints | None = None,
) -> np.ndarray:
    """Put each maximum back to where it stood; zeros elsewhere."""
    n = x.ndim - 2
    strides, flat = list(strides or [1] * n), list(pads or [0] * (2 * n))
    shape = list(x.shape[:2]) + [
        (size - 1) * s - (before + after) + k for size, s, k, before, after in zip(
            x.shape[2:], strides, kernel_shape, flat[:n], flat[n:], strict=True)
    ]
    y = np.zeros(shape, x.dtype)
    y.reshape(-1)[indices.reshape(-1)] = x.reshape(-1)
    if output_shape is None:
        return y
    missing = [(0, int(size) - own) for size, own in zip(output_shape, y.shape, strict=True)]
    return np.pad(y, missing)


# ---- average -------------------------------------------------------------------------------


@operator()
@in_float32
def AveragePool(
    x: Value,
    *, kernel_shape: Ints, auto_pad: str = "NOTSET", ceil_mode: int = 0,
    count_include_pad: int = 0, dilations: Ints | None = None, pads: Ints | None = None,
    strides: Ints | None = None,
) -> Value:
    axes = _geometry(x, kernel_shape, strides, dilations, pads, auto_pad, ceil_mode)
    if is_tensor(x):
        counted = bool(count_include_pad)
        return _pooled(x, axes, lambda x, rows, cols: _sum2d(x, rows, cols, counted, None))
    ones = np.ones((1, 1, *x.shape[2:]), x.dtype)
    if count_include_pad:
        sides_of = [(0, 0), (0, 0), *(a.side for a in axes)]
        ones = np.pad(ones, sides_of, constant_values=1)
        inner = [a._replace(size=a.size + sum(a.side), side=(0, 0)) for a in axes]
        count = _windows(ones, inner, 0).sum(-1)
    else:
        count = _windows(ones, axes, 0).sum(-1)
    return (_windows(x, axes, 0).sum(-1) / count).astype(x.dtype)


def _sum2d(
    x: Tensor, rows: Geometry, cols: Geometry, count_include_pad: bool, divisor: float | None
) -> Tensor:
    """Return the sums of windows over `divisor`, by default the number of their elements."""
    image = to_image(x.array, 2, "AveragePool")
    tables = [
        taps.average(a.size, a.out, a.kernel, a.stride, a.side[0], count_include_pad, divisor,
                     a.dilation, a.side[1])
        for a in (rows, cols)
    ]
    return resample(x, image, tables[0], tables[1], 2, "AveragePool")


@operator()
@in_float32
def LpPool(
    x: Value,
    *, kernel_shape: Ints, auto_pad: str = "NOTSET", ceil_mode: int = 0,
    dilations: Ints | None = None, p: float = 2, pads: Ints | None = None,
    strides: Ints | None = None,
) -> Value:
    axes = _geometry(x, kernel_shape, strides, dilations, pads, auto_pad, ceil_mode)
    if not is_tensor(x):
        powers = np.abs(x.astype(np.float64)) ** p
        return (_windows(powers, axes, 0).sum(-1) ** (1 / p)).astype(x.dtype)
    powers = F.pow(F.abs(x), float(p))
    sums = _pooled(powers, axes, lambda x, rows, cols: _sum2d(x, rows, cols, False, 1.0))
    return F.pow(sums, 1.0 / p)


# ---- whole images --------------------------------------------------------------------------


@operator()
@in_float32
def GlobalAveragePool(x: Value) -> Value:
    axes = tuple(range(2, x.ndim))
    if not is_tensor(x):
        return x.mean(axes, keepdims=True)
    return F.adaptive_avg_pool2d(x, 1) if x.ndim == 4 else F.mean(x, axes, True)


@operator()
def GlobalMaxPool(x: Value) -> Value:
    axes = tuple(range(2, x.ndim))
    return F.amax(x, axes, True) if is_tensor(x) else x.max(axes, keepdims=True)


@operator()
def GlobalLpPool(x: Value, *, p: float = 2) -> Value:
    axes = tuple(range(2, x.ndim))
    if not is_tensor(x):
        return ((np.abs(x) ** p).sum(axes, keepdims=True) ** (1 / p)).astype(x.dtype)
    return F.pow(F.sum(F.pow(F.abs(x), float(p)), axes, True), 1.0 / p)
