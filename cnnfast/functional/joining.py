"""Putting tensors together and cutting them up along an axis."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import _core
from .. import axes as rules
from ..autograd import record
from ..tensor import Tensor, as_float, as_tensor
from .elementwise import Operand, by_numpy, is_exact
from .indexing import getitem
from .shaping import unsqueeze

__all__ = ["cat", "chunk", "concat", "narrow", "select", "split", "stack", "unbind"]


def cat(tensors: Sequence[Operand], dim: int = 0) -> Tensor:
    """Return the tensors joined along an existing axis.

    Parameters
    ----------
    tensors : sequence of Tensor
        Equal shapes but for axis `dim`; one-axis tensors without elements are passed over, as in
        torch.
    dim : int
        The axis.

    Raises
    ------
    ValueError
        Where there are no tensors or their shapes do not fit.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.cat([cnnfast.Tensor([1.0]), cnnfast.Tensor([2.0, 3.0])]).numpy()
    array([1., 2., 3.], dtype=float32)
    """
    shape, axis = rules.cat([as_tensor(t).shape for t in tensors], dim)
    used = [t for t in tensors if len(as_tensor(t).shape) == len(shape)]
    if all(is_exact(t) for t in used):
        return by_numpy("cat", lambda *arrays: np.concatenate(arrays, axis), *used)
    inputs = tuple(as_float(t) for t in used)
    image = len(shape) == 4 and any(_core.is_image(t.array) for t in inputs)
    y = _core.empty_image(*shape) if image else _core.empty(shape)
    ends = np.cumsum([t.shape[axis] for t in inputs]).tolist()
    keys = [
        (slice(None),) * axis + (slice(end - t.shape[axis], end),)
        for end, t in zip(ends, inputs, strict=True)
    ]
    for key, t in zip(keys, inputs, strict=True):
        _core.copy(y[key], t.array)

    def backward(dy: np.ndarray, needs: tuple[bool, ...]) -> tuple[np.ndarray | None, ...]:
        return tuple(dy[key] if need else None for key, need in zip(keys, needs, strict=True))

    return record(y, inputs, backward)


concat = cat


def stack(tensors: Sequence[Operand], dim: int = 0) -> Tensor:
    """Return the tensors, of one shape, joined along a new axis.

    Raises
    ------
    ValueError
        Where there are no tensors or their shapes differ.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.stack([cnnfast.Tensor([1.0]), cnnfast.Tensor([2.0])]).numpy()
    array([[1.],
           [2.]], dtype=float32)
    """
    rules.stack([as_tensor(t).shape for t in tensors])
    return cat([unsqueeze(t, dim) for t in tensors], dim)


def narrow(input: Operand, dim: int, start: int, length: int) -> Tensor:
    """Return a view of `length` neighbours along one axis.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.narrow(cnnfast.Tensor([1.0, 2.0, 3.0]), 0, 1, 2).numpy()
    array([2., 3.], dtype=float32)
    """
    x = as_tensor(input)
    axis = rules.axis(x.ndim, dim)
    first = rules.narrow(x.shape, axis, start, length)
    return getitem(x, (slice(None),) * axis + (slice(first, first + length),))


def select(input: Operand, dim: int, index: int) -> Tensor:
    """Return a view of one place along an axis, which goes.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.select(cnnfast.Tensor([[1.0, 2.0], [3.0, 4.0]]), 1, 0).numpy()
    array([1., 3.], dtype=float32)
    """
    x = as_tensor(input)
    return getitem(x, (slice(None),) * rules.axis(x.ndim, dim) + (index,))


def split(
    input: Operand, split_size_or_sections: int | Sequence[int], dim: int = 0
) -> tuple[Tensor, ...]:
    """Return views of parts along an axis: of one size (the last may be smaller), or of these.

    Raises
    ------
    ValueError
        Where the sizes do not add up to the axis.

    Examples
    --------
    >>> import cnnfast
    >>> [part.shape for part in cnnfast.functional.split(cnnfast.Tensor([1.0, 2.0, 3.0]), 2)]
    [(2,), (1,)]
    """
    x = as_tensor(input)
    sizes = rules.split(x.shape, split_size_or_sections, dim)
    starts = np.cumsum([0, *sizes[:-1]]).tolist()
    return tuple(narrow(x, dim, start, size) for start, size in zip(starts, sizes, strict=True))


def chunk(input: Operand, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """Return views of up to `chunks` parts of equal size (the last may be smaller).

    Examples
    --------
    >>> import cnnfast
    >>> [part.shape for part in cnnfast.functional.chunk(cnnfast.Tensor([1.0, 2.0, 3.0]), 2)]
    [(2,), (1,)]
    """
    x = as_tensor(input)
    if chunks < 1:
        raise ValueError(f"chunk: expected at least one chunk, got {chunks}")
    size = x.shape[rules.axis(x.ndim, dim)]
    return split(x, max(1, -(-size // chunks)), dim)


def unbind(input: Operand, dim: int = 0) -> tuple[Tensor, ...]:
    """Return views of every place along an axis, which goes.

    Examples
    --------
    >>> import cnnfast
    >>> [t.item() for t in cnnfast.functional.unbind(cnnfast.Tensor([1.0, 2.0]))]
    [1.0, 2.0]
    """
    x = as_tensor(input)
    return tuple(select(x, dim, i) for i in range(x.shape[rules.axis(x.ndim, dim)]))
