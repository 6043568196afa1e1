"""Integers that stand for real numbers: real = (integer - zero_point) * scale.

Reference implementations in NumPy, exact in the integers; each function is the standard's operator
of its name.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ... import axes as rules
from .convolution import convolve
from .creation import cast, element_type
from .elementwise import float_kind
from .registry import operator
from .windows import sides

Ints = Sequence[int]


def _along(values: np.ndarray, x: np.ndarray, axis: int, block_size: int) -> np.ndarray:
    """Return scales or zero points so that they broadcast: one for all, an axis or its blocks."""
    if values.size == 1 and not block_size:
        return values.reshape(())
    axis = rules.axis(x.ndim, axis)
    if block_size:
        if -(-x.shape[axis] // block_size) != values.shape[axis]:
            raise ValueError(f"blocks of {block_size} of {x.shape} do not fit {values.shape}")
        wide = values.repeat(block_size, axis)
        return wide[(slice(None),) * axis + (slice(0, x.shape[axis]),)]
    return values.reshape([-1 if i == axis else 1 for i in range(x.ndim)])


_RANGES = {"int4": (-8, 7), "uint4": (0, 15), "int2": (-2, 1), "uint2": (0, 3)}


def _saturated(x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return whole numbers in an integer type, its ends for what is beyond them."""
    low, high = _RANGES.get(dtype.name) or (np.iinfo(dtype).min, np.iinfo(dtype).max)
    clipped = np.clip(np.nan_to_num(x), low, high)
    return clipped.astype(np.int8 if dtype.name in _RANGES else dtype).astype(dtype)


def quantize(ratio: np.ndarray, zero: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return round(ratio) + zero, halves to even, in `dtype`; `ratio` is real / scale."""
    return _saturated(np.rint(ratio) + zero.astype(np.float64), dtype)


@operator(host=True)
def QuantizeLinear(
    x: np.ndarray, scale: np.ndarray, zero: np.ndarray | None = None,
    *, axis: int = 1, block_size: int = 0, output_dtype: int = 0, precision: int = 0,
    saturate: int = 1,
) -> np.ndarray:
    if zero is not None:
        dtype = zero.dtype
    else:
        dtype = element_type(output_dtype) if output_dtype else np.dtype(np.uint8)
    kind = element_type(precision) if precision else np.dtype(np.float32)
    wide = _along(scale, x, axis, block_size).astype(kind)
    ratio = (x.astype(kind) / wide).astype(np.float32)
    if float_kind(dtype):
        return cast(ratio, dtype, bool(saturate))
    start = np.zeros((), np.int64) if zero is None else _along(zero, x, axis, block_size)
    return quantize(ratio, start, dtype)


@operator(host=True)
def DequantizeLinear(
    x: np.ndarray, scale: np.ndarray, zero: np.ndarray | None = None,
    *, axis: int = 1, block_size: int = 0, output_dtype: int = 0,
) -> np.ndarray:
    dtype = element_type(output_dtype) if output_dtype else scale.dtype
    wide = x.astype(np.float32)
    if zero is not None:
        wide = wide - _along(zero, x, axis, block_size).astype(np.float32)
    return (wide * _along(scale, x, axis, block_size).astype(np.float32)).astype(dtype)


@operator(host=True)
def DynamicQuantizeLinear(x: np.ndarray) -> tuple[np.ndarray, ...]:
    """Quantize to uint8 with the scale and zero point that the range of x, with 0, asks for."""
    low = np.minimum(x.min(initial=0), np.float32(0))
    high = np.maximum(x.max(initial=0), np.float32(0))
    scale = np.asarray((high - low) / np.float32(255), np.float32)
    if scale == 0:
        scale = np.asarray(1, np.float32)
    zero = np.asarray(np.clip(np.rint(-low / scale), 0, 255), np.uint8)
    return quantize(x / scale, zero, np.dtype(np.uint8)), scale, zero


# ---- products ------------------------------------------------------------------------------


def _centred(x: np.ndarray, zero: np.ndarray | None, axis: int) -> np.ndarray:
    """Return x - zero in float64, which holds sums of 8-bit products exactly."""
    wide = x.astype(np.float64)
    if zero is None:
        return wide
    shape = zero.shape
    if zero.ndim == 1 and zero.size > 1:
        shape = tuple(-1 if i == axis % x.ndim else 1 for i in range(x.ndim))
    return wide - zero.astype(np.float64).reshape(shape)


def _convolution(
    x: np.ndarray, w: np.ndarray, auto_pad: str, dilations: Ints | None, group: int,
    pads: Ints | None, strides: Ints | None,
) -> np.ndarray:
    n = x.ndim - 2
    strides, dilations = list(strides or [1] * n), list(dilations or [1] * n)
    padding = sides(x.shape[2:], w.shape[2:], strides, dilations, pads, auto_pad)
    return convolve(x, w, None, strides, padding, dilations, group)


@operator(host=True)
def ConvInteger(
    x: np.ndarray, w: np.ndarray, x_zero: np.ndarray | None = None,
    w_zero: np.ndarray | None = None,
    *, auto_pad: str = "NOTSET", dilations: Ints | None = None, group: int = 1,
    kernel_shape: Ints | None = None, pads: Ints | None = None, strides: Ints | None = None,
) -> np.ndarray:
    y = _convolution(
        _centred(x, x_zero, 0), _centred(w, w_zero, 0), auto_pad, dilations, group, pads, strides)
    return y.astype(np.int32)


@operator(host=True)
def QLinearConv(
    x: np.ndarray, x_scale: np.ndarray, x_zero: np.ndarray, w: np.ndarray, w_scale: np.ndarray,
    w_zero: np.ndarray, y_scale: np.ndarray, y_zero: np.ndarray, b: np.ndarray | None = None,
    *, auto_pad: str = "NOTSET", dilations: Ints | None = None, group: int = 1,
    kernel_shape: Ints | None = None, pads: Ints | None = None, strides: Ints | None = None,
) -> np.ndarray:
    total = _convolution(
        _centred(x, x_zero, 0), _centred(w, w_zero, 0), auto_pad, dilations, group, pads, strides)
    per_channel = (-1,) + (1,) * (x.ndim - 2)
    if b is not None:
        total += b.astype(np.float64).reshape(per_channel)
    factor = (x_scale.astype(np.float64) * w_scale).reshape(
        per_channel if w_scale.size > 1 else ()) / y_scale.reshape(())
    return quantize(total * factor, y_zero, y_zero.dtype)


@operator(host=True)
def MatMulInteger(
    a: np.ndarray, b: np.ndarray, a_zero: np.ndarray | None = None,
    b_zero: np.ndarray | None = None,
) -> np.ndarray:
    """Zero points are one for all, or one a row of a and a column of b."""
    return (_centred(a, a_zero, -2) @ _centred(b, b_zero, -1)).astype(np.int32)


def _scales(scale: np.ndarray, x: np.ndarray, axis: int) -> np.ndarray:
    wide = scale.astype(np.float64)
    if scale.ndim == 1 and scale.size > 1:
        return wide.reshape([-1 if i == axis % x.ndim else 1 for i in range(x.ndim)])
    return wide.reshape(()) if scale.size == 1 else wide


@operator(host=True)
def QLinearMatMul(
    a: np.ndarray, a_scale: np.ndarray, a_zero: np.ndarray, b: np.ndarray, b_scale: np.ndarray,
    b_zero: np.ndarray, y_scale: np.ndarray, y_zero: np.ndarray,
) -> np.ndarray:
    total = _centred(a, a_zero, -2) @ _centred(b, b_zero, -1)
    factor = _scales(a_scale, a, -2) * _scales(b_scale, b, -1) / _scales(y_scale, total, -2)
    start = y_zero
    if y_zero.ndim == 1 and y_zero.size > 1:
        start = y_zero.reshape([-1 if i == total.ndim - 2 else 1 for i in range(total.ndim)])
    return quantize(total * factor, start, y_zero.dtype)
