"""Softmax, its logarithm and softmin along any axis."""

from __future__ import annotations

import warnings

import numpy as np

from .. import _core, shapes
from ..autograd import record
from ..layout import as_rows
from ..tensor import Tensor, as_float
from .pointwise import neg

__all__ = ["log_softmax", "softmax", "softmin"]


def _axis(dim: int | None, ndim: int) -> int:
    """Return the axis, which torch's old rule chooses where `dim` is None."""
    if dim is None:
        dim = 0 if ndim in (0, 1, 3) else 1
        warnings.warn(f"softmax without dim chose dim={dim}; pass it", stacklevel=4)
    return shapes.axis(ndim, dim)


def _along(input: Tensor, dim: int | None, log: bool) -> Tensor:
    """Softmax over rows of `dim` put last, in whatever memory it is; the result is dense there."""
    input = as_float(input)
    axis = _axis(dim, input.ndim)
    moved = np.moveaxis(np.atleast_1d(input.array), axis, -1)
    x, shape = as_rows(moved, moved.shape[-1]), input.shape
    y = _core.empty(x.shape)
    _core.softmax_forward(y, x, log)

    def back(rows: np.ndarray) -> np.ndarray:
        return np.moveaxis(rows.reshape(moved.shape), -1, axis).reshape(shape)

    def backward(dy: np.ndarray, needs: tuple[bool, ...]) -> tuple[np.ndarray | None, ...]:
        dx = _core.empty(y.shape)
        rows = as_rows(np.moveaxis(np.atleast_1d(dy), axis, -1), y.shape[1])
        _core.softmax_backward(dx, rows, y, log)
        return (back(dx),)

    backward.__qualname__ = "log_softmax" if log else "softmax"
    return record(back(y), (input,), backward, result_saved=True)


def softmax(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: object = None
) -> Tensor:
    """Return ``exp(input) / sum(exp(input))`` along an axis.

    Parameters
    ----------
    input : Tensor
        float32, any shape.
    dim : int
        The axis whose values add up to 1.
    _stacklevel, dtype
        Stand where torch has them; the result is float32.

    Returns
    -------
    Tensor
        Of the input's shape.

    Raises
    ------
    IndexError
        Where there is no such axis.

    Examples
    --------
    >>> import cnnfast
    >>> from cnnfast.functional import softmax
    >>> softmax(cnnfast.Tensor([[0.0, 0.0]]), dim=1).numpy()
    array([[0.5, 0.5]], dtype=float32)
    """
    return _along(input, dim, log=False)


def log_softmax(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: object = None
) -> Tensor:
    """Return ``log(softmax(input))`` along an axis, without overflow or loss of digits.

    Parameters
    ----------
    input : Tensor
        float32, any shape.
    dim : int
        The axis of the softmax.
    _stacklevel, dtype
        Stand where torch has them; the result is float32.

    Returns
    -------
    Tensor
        Of the input's shape.

    Raises
    ------
    IndexError
        Where there is no such axis.

    Examples
    --------
    >>> import cnnfast
    >>> from cnnfast.functional import log_softmax
    >>> log_softmax(cnnfast.Tensor([1000.0, 0.0]), dim=0).numpy()
    array([    0., -1000.], dtype=float32)
    """
    return _along(input, dim, log=True)


def softmin(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: object = None
) -> Tensor:
    """Return ``softmax(-input)`` along an axis.

    Parameters
    ----------
    input : Tensor
        float32, any shape.
    dim : int
        The axis whose values add up to 1.
    _stacklevel, dtype
        Stand where torch has them; the result is float32.

    Returns
    -------
    Tensor
        Of the input's shape.

    Examples
    --------
    >>> import cnnfast
    >>> from cnnfast.functional import softmin
    >>> softmin(cnnfast.Tensor([1000.0, 0.0]), dim=0).numpy()
    array([0., 1.], dtype=float32)
    """
    return _along(neg(input), dim, log=False)
