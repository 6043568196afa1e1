"""Choosing elements by index: each function is the standard's operator of its name.

Gather takes float32 elements in the engine; what depends on sorting or counting is NumPy's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ... import axes as rules
from ... import functional as F
from .elementwise import float_kind
from .registry import operator
from .values import Value, array, is_tensor, scalar

Ints = Sequence[int]


def _checked(index: np.ndarray, size: Any) -> np.ndarray:
    """Return indices counted from the front; those out of range are an error."""
    index = index.astype(np.int64)
    wrapped = np.where(index < 0, index + size, index)
    if wrapped.size and (np.any(wrapped < 0) or np.any(wrapped >= size)):
        raise IndexError(f"an index is out of range for {size} elements")
    return wrapped


@operator()
def Gather(x: Value, indices: Value, *, axis: int = 0) -> Value:
    axis = rules.axis(x.ndim, axis)
    at = _checked(array(indices), x.shape[axis])
    key = (slice(None),) * axis
    if at.ndim == 0:
        return x[(*key, int(at))]
    if not is_tensor(x):
        return x.take(at, axis)
    y = F.index_select(x, axis, at.reshape(-1))
    return y.reshape((*x.shape[:axis], *at.shape, *x.shape[axis + 1 :]))


@operator()
def GatherElements(x: Value, indices: Value, *, axis: int = 0) -> Value:
    at = _checked(array(indices), x.shape[axis])
    if is_tensor(x):
        return F.gather(x, axis, at)
    grid: list[Any] = list(np.indices(at.shape, sparse=True))
    grid[axis] = at
    return x[tuple(grid)]


@operator()
def GatherND(x: Value, indices: Value, *, batch_dims: int = 0) -> Value:
    """The last axis of `indices` holds positions along the axes after the batch's."""
    at = array(indices)
    depth = at.shape[-1]
    sizes = np.array(x.shape[batch_dims : batch_dims + depth])
    at = _checked(at, sizes)
    lead = np.indices(at.shape[:-1], sparse=True)[:batch_dims]
    return x[(*lead, *(at[..., i] for i in range(depth)))]


_JOIN = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}


def _scatter(y: np.ndarray, key: tuple[Any, ...], updates: np.ndarray, reduction: str) -> None:
    """Write or join updates in place; repeated positions all count."""
    if reduction == "none":
        y[key] = updates
    elif reduction in _JOIN:
        _JOIN[reduction].at(y, key, updates)
    else:
        raise ValueError(f"reduction: expected 'none' or one of {[*_JOIN]}, got {reduction!r}")


@operator(host=True)
def ScatterElements(
    x: np.ndarray, indices: np.ndarray, updates: np.ndarray,
    *, axis: int = 0, reduction: str = "none",
) -> np.ndarray:
    y = x.copy()
    grid: list[Any] = list(np.indices(indices.shape, sparse=True))
    grid[axis] = _checked(indices, x.shape[axis])
    _scatter(y, tuple(grid), updates, reduction)
    return y


@operator(host=True)
def Scatter(
    x: np.ndarray, indices: np.ndarray, updates: np.ndarray, *, axis: int = 0
) -> np.ndarray:
    return ScatterElements(x, indices, updates, axis=axis)


@operator(host=True)
def ScatterND(
    x: np.ndarray, indices: np.ndarray, updates: np.ndarray, *, reduction: str = "none"
) -> np.ndarray:
    y = x.copy()
    at = _checked(indices, np.array(x.shape[: indices.shape[-1]]))
    _scatter(y, tuple(np.moveaxis(at, -1, 0)), updates, reduction)
    return y


@operator(host=True)
def TensorScatter(
    cache: np.ndarray, update: np.ndarray, write_indices: np.ndarray | None = None,
    *, axis: int = -2, mode: str = "linear",
) -> np.ndarray:
    """Write `update` into each sample's cache from its index on along `axis`."""
    axis = rules.axis(cache.ndim, axis)
    starts = np.zeros(cache.shape[0], np.int64) if write_indices is None else write_indices
    y = cache.copy()
    for sample, start in enumerate(starts.tolist()):
        places = np.arange(start, start + update.shape[axis])
        if mode == "circular":
            places %= cache.shape[axis]
        places = _checked(places, cache.shape[axis])
        target = np.moveaxis(y[sample], axis - 1, 0)
        target[places] = np.moveaxis(update[sample], axis - 1, 0)
    return y


@operator(host=True)
def OneHot(
    indices: np.ndarray, depth: np.ndarray, values: np.ndarray, *, axis: int = -1
) -> np.ndarray:
    count = int(scalar(depth))
    place = indices.astype(np.int64)
    place = np.where(place < 0, place + count, place)
    rows = np.expand_dims(place, axis)
    shape = [1] * rows.ndim
    shape[axis] = count
    off, on = values
    return np.where(rows == np.arange(count).reshape(shape), on, off).astype(values.dtype)


@operator(host=True)
def NonZero(x: np.ndarray) -> np.ndarray:
    return np.stack(np.nonzero(np.atleast_1d(x))).astype(np.int64)


@operator(host=True)
def Compress(
    x: np.ndarray, condition: np.ndarray, *, axis: int | None = None
) -> np.ndarray:
    return np.compress(condition, x, axis)


@operator(host=True)
def Unique(
    x: np.ndarray, *, axis: int | None = None, sorted: int = 1, outputs: int
) -> tuple[np.ndarray, ...]:
    """Distinct values, where each first stood, which each element is, and how often."""
    values, first, inverse, count = np.unique(
        x, return_index=True, return_inverse=True, return_counts=True, axis=axis
    )
    inverse = inverse.reshape(-1)
    if not sorted:
        order = np.argsort(first)
        values = values.take(order, 0 if axis is None else axis)
        first, count = first[order], count[order]
        inverse = np.argsort(order)[inverse]
    numbers = (first, inverse, count)
    return (values, *(part.astype(np.int64) for part in numbers))


@operator(host=True)
def TopK(
    x: np.ndarray, count: np.ndarray | None = None,
    *, axis: int = -1, k: int | None = None, largest: int = 1, sorted: int = 1,
) -> tuple[np.ndarray, np.ndarray]:
    """The `count` largest or smallest along an axis and where they stand; of equals the first."""
    wanted = int(scalar(count)) if count is not None else int(k or 0)
    if not 0 <= wanted <= x.shape[axis]:
        raise ValueError(f"{wanted} elements wanted along an axis of {x.shape[axis]}")
    keys = x.astype(np.float32) if float_kind(x.dtype) and x.dtype.kind != "f" else x
    if largest:
        turned = np.flip(keys, axis)
        order = np.flip(np.argsort(turned, axis, kind="stable"), axis)
        order = x.shape[axis] - 1 - order
    else:
        order = np.argsort(keys, axis, kind="stable")
    order = order.take(range(wanted), axis)
    return np.take_along_axis(x, order, axis), order.astype(np.int64)


@operator()
def Trilu(x: Value, k: Value = None, *, upper: int = 1) -> Value:
    """Keep the triangle above (or below) diagonal k; zeros elsewhere."""
    diagonal = 0 if k is None else int(scalar(k))
    rows, cols = np.indices(tuple(x.shape[-2:]), sparse=True)
    kept = cols - rows >= diagonal if upper else cols - rows <= diagonal
    if is_tensor(x):
        return F.where(np.broadcast_to(kept, x.shape), x, 0.0)
    return np.where(kept, x, np.zeros((), x.dtype))


@operator(host=True)
def ReverseSequence(
    x: np.ndarray, lengths: np.ndarray, *, batch_axis: int = 1, time_axis: int = 0
) -> np.ndarray:
    """Turn around the first `lengths[b]` steps of each sample b."""
    seen = np.moveaxis(x, (batch_axis, time_axis), (0, 1))
    y = seen.copy()
    for sample, length in enumerate(lengths.tolist()):
        y[sample, :length] = seen[sample, :length][::-1]
    return np.moveaxis(y, (0, 1), (batch_axis, time_axis))
