"""Indexing with NumPy's rules: integers, slices, None, Ellipsis, integer and boolean arrays, mixed.

Slices and integers give views. With arrays, elements are taken by number: the same key applied to
an array of positions says which, and `_core.take` and `_core.add_at` move them; where only the
first axis is indexed, whole rows move at once.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _core
from .. import axes as rules
from ..autograd import record, record_in_place
from ..layout import as_dense, empty_result
from ..replay import refuse_replay
from ..tensor import Tensor, as_float, as_tensor
from .elementwise import Operand, aligned, copied, plain, unbroadcast, writable

__all__ = ["gather", "getitem", "index_select", "one_hot", "setitem"]


def _plain_key(key: Any) -> tuple[Any, ...]:
    """Return a key as a tuple of what NumPy understands; integers as ints, so that they view."""
    parts = key if isinstance(key, tuple) else (key,)
    result: list[Any] = []
    for part in map(plain, parts):
        if isinstance(part, (list, range)):
            part = np.asarray(part) if len(part) else np.zeros(0, np.int64)
        if isinstance(part, np.ndarray) and part.ndim == 0 and part.dtype.kind in "iu":
            part = int(part)
        result.append(part)
    return tuple(result)


def _is_basic(key: tuple[Any, ...]) -> bool:
    """Whether NumPy answers `key` with a view."""
    simple = (int, np.integer, slice, type(None), type(Ellipsis))
    return all(isinstance(part, simple) and not isinstance(part, bool) for part in key)


def getitem(input: Operand, key: Any) -> Tensor:
    """Return ``input[key]``: a view for integers and slices, a copy for arrays.

    Parameters
    ----------
    input : Tensor
        Any shape.
    key
        As NumPy takes it; index arrays may be Tensors.

    Raises
    ------
    IndexError
        For a key that is out of range or has too many parts.

    Examples
    --------
    >>> import cnnfast
    >>> x = cnnfast.Tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> cnnfast.functional.getitem(x, ([1, 0], 0)).numpy()
    array([3., 1.], dtype=float32)
    """
    x, key = as_tensor(input), _plain_key(key)
    if _is_basic(key):
        return _view(x, (*key, ...) if Ellipsis not in key else key)
    if x.dtype != np.float32 or any(isinstance(part, np.ndarray) for part in key):
        refuse_replay("an index by an array, or of integers or booleans,")
    if x.dtype != np.float32:
        return Tensor.wrap(np.asarray(x.array[key]))
    return _taken(x, key)


def _view(x: Tensor, key: tuple[Any, ...]) -> Tensor:
    shape, source = x.shape, x.array

    def backward(dy: np.ndarray, needs: tuple[bool, ...]) -> tuple[np.ndarray | None, ...]:
        dx = empty_result(shape, source)
        _core.fill(dx, 0.0)
        _core.copy(dx[key], dy)
        return (dx,)

    backward.__qualname__ = "getitem"
    return record(source[key], (x,), backward, view=True)


def _rows(key: tuple[Any, ...], shape: tuple[int, ...]) -> np.ndarray | None:
    """Return the row numbers where `key` is one array of integers or booleans on axis 0."""
    if len(key) != 1 or not isinstance(key[0], np.ndarray) or key[0].ndim != 1:
        return None
    return np.arange(shape[0])[key[0]] if shape else None


def _taken(x: Tensor, key: tuple[Any, ...]) -> Tensor:
    """Return the elements of float32 x under a key with arrays, as a copy."""
    shape = x.shape
    rows = _rows(key, shape)
    if rows is None:
        index = np.arange(x.numel()).reshape(shape)[key]
        result_shape, table = np.shape(index), (x.numel(), 1)
    else:
        index = rows
        result_shape = (len(rows), *shape[1:])
        table = (shape[0], int(np.prod(shape[1:])))
    index = np.ascontiguousarray(index, np.int64).reshape(-1)
    y = _core.empty((index.size, table[1]))
    _core.take(y, as_dense(x.array).reshape(table), index)

    def backward(dy: np.ndarray, needs: tuple[bool, ...]) -> tuple[np.ndarray | None, ...]:
        dx = _core.empty(table)
        _core.fill(dx, 0.0)
        _core.add_at(dx, as_dense(dy).reshape(index.size, table[1]), index)
        return (dx.reshape(shape),)

    backward.__qualname__ = "getitem"
    return record(y.reshape(result_shape), (x,), backward)


def setitem(input: Tensor, key: Any, value: Operand) -> None:
    """Do ``input[key] = value`` in place; `value` broadcasts.

    Where a gradient is wanted, none goes to the old elements, and that of the new ones goes to
    `value`.

    Raises
    ------
    RuntimeError
        For a leaf that requires a gradient, outside of `no_grad`.

    Examples
    --------
    >>> import cnnfast
    >>> x = cnnfast.Tensor([1.0, 2.0, 3.0])
    >>> cnnfast.functional.setitem(x, slice(1, None), 0.0)
    >>> x.numpy()
    array([1., 0., 0.], dtype=float32)
    """
    key = _plain_key(key)
    if input.dtype != np.float32 or not _is_basic(key):
        refuse_replay("an assignment through index arrays, or to integers or booleans,")
    if input.dtype != np.float32:
        input.array[key] = plain(value)
        input.bump_version()
        return
    array, source = writable(input), as_float(value)
    written = source.array
    if np.may_share_memory(array, written):
        written = copied(written)
    if _is_basic(key):
        key = key if Ellipsis in key else (*key, ...)
        target = array[key]
        surplus = max(written.ndim - target.ndim, 0)  # leading axes of size 1 do not count
        if written.shape[:surplus] == (1,) * surplus:
            written = written.reshape(written.shape[surplus:])
        rules.fits(written.shape, target.shape)
        _core.copy(target, aligned(written, target.ndim))
    else:
        array[key] = written
    value_shape = source.shape

    def backward(dy: np.ndarray, needs: tuple[bool, ...]) -> tuple[np.ndarray | None, ...]:
        dx = dvalue = None
        if needs[0]:
            dx = copied(dy)
            if _is_basic(key):
                _core.fill(dx[key], 0.0)
            else:
                dx[key] = 0.0
        if needs[1]:
            dvalue = unbroadcast(copied(dy[key]), value_shape)
        return dx, dvalue

    backward.__qualname__ = "setitem"
    record_in_place(input, (input, source), backward)


def index_select(input: Operand, dim: int, index: Operand) -> Tensor:
    """Return the places `index` (int64, one axis) along an axis, as a copy.

    Examples
    --------
    >>> import cnnfast
    >>> x = cnnfast.Tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> cnnfast.functional.index_select(x, 1, cnnfast.Tensor([1, 1])).numpy()
    array([[2., 2.],
           [4., 4.]], dtype=float32)
    """
    x = as_tensor(input)
    return getitem(x, (slice(None),) * rules.axis(x.ndim, dim) + (np.asarray(plain(index)),))


def gather(input: Operand, dim: int, index: Operand) -> Tensor:
    """Return for each place of `index` the element of x there, but at its value along `dim`.

    Parameters
    ----------
    input : Tensor
        Any shape.
    dim : int
        The axis that `index` counts along.
    index : Tensor
        int64, as many axes as x, nowhere longer than x but along `dim`.

    Examples
    --------
    >>> import cnnfast
    >>> x = cnnfast.Tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> cnnfast.functional.gather(x, 1, cnnfast.Tensor([[0], [1]])).numpy()
    array([[1.],
           [4.]], dtype=float32)
    """
    x, positions = as_tensor(input), np.asarray(plain(index))
    axis = rules.axis(x.ndim, dim)
    rules.gather(x.shape, positions.shape, axis)
    grids: list[Any] = list(np.indices(positions.shape, sparse=True))
    grids[axis] = positions
    return getitem(x, tuple(grids))


def one_hot(tensor: Operand, num_classes: int = -1) -> Tensor:
    """Return class numbers as rows (int64) of 0 and a single 1.

    Parameters
    ----------
    tensor : Tensor
        Integers from 0, any shape.
    num_classes : int
        Length of the rows; -1: one more than the largest number.

    Raises
    ------
    ValueError
        For a number that is negative or not below `num_classes`.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.one_hot(cnnfast.Tensor([0, 2])).numpy()
    array([[1, 0, 0],
           [0, 0, 1]])
    """
    labels = np.asarray(plain(tensor))
    if labels.dtype.kind not in "iu":
        raise TypeError(f"one_hot: expected integers, got {labels.dtype}")
    most = int(labels.max()) if labels.size else -1
    count = most + 1 if num_classes == -1 else num_classes
    if labels.size and (labels.min() < 0 or most >= count):
        raise ValueError(
            f"one_hot: expected numbers from 0 to {count - 1}, got {labels.min()} to {most}"
        )
    return Tensor.wrap((labels[..., None] == np.arange(count)).astype(np.int64))
