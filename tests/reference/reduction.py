"""Reductions over axes: sum, mean, max, amax, argmax, each with torch's `dim` and `keepdim`.

`dim` is None (all axes), an int or, but for max and argmax, several ints.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .arrays import Array, Integers, in_double

Axes = int | Sequence[int] | None


def _axes(x: Array, dim: Axes) -> tuple[int, ...]:
    """The reduced axes, counted from zero."""
    if dim is None:
        return tuple(range(x.ndim))
    dims = (dim,) if isinstance(dim, int) else dim
    return tuple(axis % x.ndim for axis in dims)


def _kept(y: Any, x: Array, dim: Axes) -> Any:
    """A reduced array with its reduced axes put back as axes of length one."""
    axes = _axes(x, dim)
    return np.reshape(y, [1 if i in axes else size for i, size in enumerate(x.shape)])


@in_double
def sum(x: Array, dim: Axes = None, keepdim: bool = False) -> Array:
    """Sum over `dim`."""
    return np.asarray(x.sum(axis=_axes(x, dim), keepdims=keepdim))


@in_double
def sum_backward(dy: Array, x: Array, dim: Axes = None, keepdim: bool = False) -> Array:
    """dy, repeated over the summed axes."""
    return np.broadcast_to(_kept(dy, x, dim), x.shape).copy()


@in_double
def mean(x: Array, dim: Axes = None, keepdim: bool = False) -> Array:
    """Mean over `dim`."""
    return np.asarray(x.mean(axis=_axes(x, dim), keepdims=keepdim))


@in_double
def mean_backward(dy: Array, x: Array, dim: Axes = None, keepdim: bool = False) -> Array:
    """dy / count, repeated over the averaged axes."""
    count = np.prod([x.shape[axis] for axis in _axes(x, dim)])
    return sum_backward(dy / count, x, dim, keepdim)


@in_double
def argmax(x: Array, dim: int | None = None, keepdim: bool = False) -> Integers:
    """Index of the first largest element along `dim`, or in the flattened array."""
    index = np.asarray(np.argmax(x, axis=dim), np.int64)
    return np.asarray(_kept(index, x, dim)) if keepdim else index


@in_double
def max(x: Array, dim: int, keepdim: bool = False) -> tuple[Array, Integers]:
    """(values, indices) of the first largest elements along one axis."""
    index = argmax(x, dim, keepdim=True)
    values = np.take_along_axis(x, index, axis=dim)
    return (values, index) if keepdim else (values.squeeze(dim), index.squeeze(dim))


@in_double
def max_backward(dy: Array, x: Array, dim: int, keepdim: bool = False) -> Array:
    """dy at the first largest element of each line, 0 elsewhere."""
    dx = np.zeros(x.shape)
    np.put_along_axis(dx, argmax(x, dim, keepdim=True), _kept(dy, x, dim), axis=dim)
    return dx


@in_double
def amax(x: Array, dim: Axes = None, keepdim: bool = False) -> Array:
    """Largest element over `dim`; torch's max without a dim is this one."""
    return np.asarray(x.max(axis=_axes(x, dim), keepdims=keepdim))


@in_double
def amax_backward(dy: Array, x: Array, dim: Axes = None, keepdim: bool = False) -> Array:
    """dy shared equally by the elements that equal the largest."""
    largest = x == amax(x, dim, keepdim=True)
    return largest * _kept(dy, x, dim) / largest.sum(axis=_axes(x, dim), keepdims=True)
