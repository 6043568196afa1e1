"""Linear layers and matrix products."""

from __future__ import annotations

import math

import numpy as np

from .. import _core, shapes
from ..autograd import record
from ..layout import as_dense
from ..tensor import Tensor, as_float
from .convolution import POINTWISE, packed_weight

__all__ = ["linear", "matmul"]


def _as_pixels(array: np.ndarray) -> np.ndarray:
    """Return (rows, C) as an image (rows, C, 1, 1): a linear layer is a 1x1 convolution."""
    if array.strides[1] != 4 or array.strides[0] < array.shape[1] * 4:
        array = as_dense(array)
    return array[:, :, None, None]


def _rows(x: Tensor) -> np.ndarray:
    """Return x (..., C) as (product of the others, C), a view where the layout allows."""
    array = x.array
    if array.ndim != 2:
        array = as_dense(array).reshape(math.prod(array.shape[:-1]), array.shape[-1])
    return array


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Multiply by a weight matrix and add a bias: ``input @ weight.T + bias``.

    Parameters
    ----------
    input : Tensor
        float32 (..., I).
    weight : Tensor
        float32 (O, I).
    bias : Tensor, optional
        float32 (O,).

    Returns
    -------
    Tensor
        (..., O).

    Raises
    ------
    ValueError
        Where the shapes do not fit.

    Examples
    --------
    >>> import cnnfast
    >>> from cnnfast.functional import linear
    >>> linear(cnnfast.Tensor([1.0, 2.0]), cnnfast.Tensor([[3.0, 4.0]])).numpy()
    array([11.], dtype=float32)
    """
    input, weight = as_float(input), as_float(weight)
    bias = None if bias is None else as_float(bias)
    shape = shapes.linear(input.shape, weight.shape, None if bias is None else bias.shape)
    x, w = _as_pixels(_rows(input)), (*weight.shape, 1, 1)
    b = None if bias is None else as_dense(bias.array)
    y = _core.empty((x.shape[0], shape[-1], 1, 1))
    packed = packed_weight(weight, w, POINTWISE, backward=False)
    _core.conv2d_forward(y, x, packed, b, w, *POINTWISE)
    x_shape = input.shape

    def backward(dy: np.ndarray, needs: tuple[bool, ...]) -> tuple[np.ndarray | None, ...]:
        dy = _as_pixels(as_dense(dy).reshape(x.shape[0], shape[-1]))
        dx = dw = db = None
        if needs[0]:
            dx = _core.empty(x.shape)
            rotated = packed_weight(weight, w, POINTWISE, backward=True)
            _core.conv2d_backward_input(dx, dy, rotated, None, w, *POINTWISE)
            dx = dx.reshape(x_shape)
        if needs[1]:
            dw = _core.empty(w)
            _core.conv2d_backward_weight(dw, x, dy, *POINTWISE)
            dw = dw.reshape(w[:2])
        if len(needs) > 2 and needs[2]:
            db = _core.empty((1, shape[-1], 1, 1))
            _core.reduce("sum", db, dy)
            db = db.reshape(-1)
        return (dx, dw, db)[: len(needs)]

    inputs = (input, weight) if bias is None else (input, weight, bias)
    return record(y.reshape(shape), inputs, backward, saved=(input, weight))


def _product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return a @ b for arrays of equal rank whose batch axes broadcast."""
    c = _core.empty(shapes.matmul(a.shape, b.shape))
    _core.gemm(c, a, b)
    return c


def _with_rank(array: np.ndarray, rank: int) -> np.ndarray:
    return array.reshape((1,) * (rank - array.ndim) + array.shape)


def _fold(gradient: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Sum a gradient over the batch axes that `shape` broadcast."""
    wide = (1,) * (gradient.ndim - len(shape)) + shape
    if gradient.shape != wide:
        folded = _core.empty(wide)
        _core.reduce("sum", folded, gradient)
        gradient = folded
    return gradient.reshape(shape)


def matmul(input: Tensor, other: Tensor) -> Tensor:
    """Matrix product with NumPy's rules: vectors are promoted, batch axes broadcast.

    Parameters
    ----------
    input, other : Tensor
        float32 (..., M, K) and (..., K, N); a one-dimensional operand is a row on the left and a
        column on the right, and its axis is dropped from the result.

    Returns
    -------
    Tensor
        (..., M, N).

    Raises
    ------
    ValueError
        Where the inner axes differ or the batch axes do not broadcast.

    Examples
    --------
    >>> import cnnfast
    >>> from cnnfast.functional import matmul
    >>> matmul(cnnfast.Tensor([[1.0, 2.0]]), cnnfast.Tensor([[3.0], [4.0]])).numpy()
    array([[11.]], dtype=float32)
    """
    input, other = as_float(input), as_float(other)
    if input.ndim == 0 or other.ndim == 0:
        raise ValueError(f"matmul: expected at least one axis, got {input.shape} @ {other.shape}")
    if input.ndim == 1:
        return matmul(input.unsqueeze(0), other).squeeze(-2 if other.ndim > 1 else 0)
    if other.ndim == 1:
        return matmul(input, other.unsqueeze(1)).squeeze(-1)
    rank = max(input.ndim, other.ndim)
    a, b = _with_rank(input.array, rank), _with_rank(other.array, rank)
    c = _product(a, b)
    a_shape, b_shape = input.shape, other.shape

    def backward(dy: np.ndarray, needs: tuple[bool, ...]) -> tuple[np.ndarray | None, ...]:
        da = _fold(_product(dy, b.swapaxes(-1, -2)), a_shape) if needs[0] else None
        db = _fold(_product(a.swapaxes(-1, -2), dy), b_shape) if needs[1] else None
        return da, db

    return record(c, (input, other), backward, saved=(input, other))
