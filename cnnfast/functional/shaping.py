"""Changing shapes: views wherever memory allows, copies by the engine elsewhere.

A view shares memory and version counter with its source, so that a change in place of one is
noticed where the other is needed. An image (see `cnnfast.layout`) is not one run of memory in its
logical order: flattening it copies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .. import _core
from .. import axes as rules
from ..autograd import record
from ..layout import as_dense
from ..replay import refuse_replay
from ..tensor import Tensor, as_tensor
from .elementwise import Operand, copied, unbroadcast

__all__ = [
    "broadcast_to", "clone", "contiguous", "expand", "flatten", "flip", "movedim", "permute",
    "repeat", "reshape", "squeeze", "swapaxes", "transpose", "unflatten", "unsqueeze", "view",
]

Inverse = Callable[[np.ndarray], np.ndarray]


def _dense(array: np.ndarray) -> np.ndarray:
    """Return `array` C-contiguous, whatever its type, copied if need be."""
    if array.dtype == np.float32:
        return as_dense(array)
    if not array.flags.c_contiguous:
        refuse_replay("a copy of integers or booleans")
    return np.ascontiguousarray(array)


def reshaped(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the elements in logical order in another shape, a view where memory allows."""
    try:
        return np.reshape(array, shape, copy=False)
    except ValueError:
        return _dense(array).reshape(shape)


def _view(name: str, x: Tensor, array: np.ndarray, inverse: Inverse) -> Tensor:
    """Record `array`, elements of x in another order; `inverse` puts a gradient back in x's."""

    def backward(dy: np.ndarray, needs: tuple[bool, ...]) -> tuple[np.ndarray | None, ...]:
        return (inverse(dy),)

    backward.__qualname__ = name
    return record(array, (x,), backward, view=np.may_share_memory(array, x.array))


def sizes_of(sizes: tuple[int | Sequence[int], ...]) -> tuple[int, ...]:
    """Return the sizes of f(2, 3) or f((2, 3)) as one tuple."""
    if len(sizes) == 1 and not isinstance(sizes[0], (int, np.integer)):
        sizes = tuple(sizes[0])
    return tuple(int(size) for size in sizes)  # type: ignore[arg-type]


def reshape(input: Operand, *shape: int | Sequence[int]) -> Tensor:
    """Return the elements in logical order in another shape.

    Parameters
    ----------
    input : Tensor
        Any shape.
    shape : int or sequence of int
        The sizes, of which one may be -1: what is left.

    Returns
    -------
    Tensor
        A view where memory allows, else a copy.

    Raises
    ------
    ValueError
        Where the shapes differ in their number of elements.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.reshape(cnnfast.Tensor([[1.0, 2.0], [3.0, 4.0]]), (1, -1)).shape
    (1, 4)
    """
    x = as_tensor(input)
    old, new = x.shape, rules.reshape(x.shape, sizes_of(shape))
    return _view("reshape", x, reshaped(x.array, new), lambda dy: reshaped(dy, old))


def view(input: Operand, *shape: int | Sequence[int]) -> Tensor:
    """Return `reshape`: an image is stored NHWC here, so a view of torch's may have to copy.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.view(cnnfast.Tensor([1.0, 2.0]), 2, 1).shape
    (2, 1)
    """
    return reshape(input, *shape)


def flatten(input: Operand, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Return x with the axes from start_dim to end_dim merged into one.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.flatten(cnnfast.Tensor([[[1.0], [2.0]]]), 1).shape
    (1, 2)
    """
    x = as_tensor(input)
    return reshape(x, rules.flatten(x.shape, start_dim, end_dim))


def unflatten(input: Operand, dim: int, sizes: Sequence[int]) -> Tensor:
    """Return x with axis `dim` cut into axes of `sizes`, of which one may be -1.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.unflatten(cnnfast.Tensor([1.0, 2.0, 3.0, 4.0]), 0, (2, -1)).shape
    (2, 2)
    """
    x = as_tensor(input)
    at = rules.axis(x.ndim, dim)
    return reshape(x, x.shape[:at] + rules.reshape(x.shape[at : at + 1], tuple(sizes))
                   + x.shape[at + 1 :])


def permute(input: Operand, *dims: int | Sequence[int]) -> Tensor:
    """Return a view with the axes in another order.

    Parameters
    ----------
    input : Tensor
        Any shape.
    dims : int or sequence of int
        For each axis of the result the axis of the input.

    Raises
    ------
    ValueError
        Where `dims` does not name every axis once.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.permute(cnnfast.Tensor([[1.0, 2.0, 3.0]]), (1, 0)).shape
    (3, 1)
    """
    x = as_tensor(input)
    order = rules.permutation(x.ndim, sizes_of(dims))
    back = tuple(int(i) for i in np.argsort(order))
    return _view("permute", x, x.array.transpose(order), lambda dy: dy.transpose(back))


def transpose(input: Operand, dim0: int, dim1: int) -> Tensor:
    """Return a view with two axes exchanged.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.transpose(cnnfast.Tensor([[1.0, 2.0, 3.0]]), 0, 1).shape
    (3, 1)
    """
    x = as_tensor(input)
    order = list(range(x.ndim))
    if x.ndim:
        a, b = rules.axis(x.ndim, dim0), rules.axis(x.ndim, dim1)
        order[a], order[b] = b, a
    return permute(x, order)


swapaxes = transpose


def movedim(input: Operand, source: int, destination: int) -> Tensor:
    """Return a view with one axis moved to another place.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.movedim(cnnfast.Tensor([[[1.0, 2.0, 3.0]]]), 2, 0).shape
    (3, 1, 1)
    """
    x = as_tensor(input)
    order = list(range(x.ndim))
    order.insert(rules.axis(x.ndim, destination), order.pop(rules.axis(x.ndim, source)))
    return permute(x, order)


def squeeze(input: Operand, dim: int | Sequence[int] | None = None) -> Tensor:
    """Return a view without the axes of size 1, or without those of them named in `dim`.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.squeeze(cnnfast.Tensor([[[1.0], [2.0]]])).shape
    (2,)
    """
    x = as_tensor(input)
    named = range(x.ndim) if dim is None else rules.axes(x.ndim, dim)
    gone = tuple(axis for axis in named if x.shape[axis] == 1)
    return _view("squeeze", x, x.array.squeeze(gone), lambda dy: np.expand_dims(dy, gone))


def unsqueeze(input: Operand, dim: int) -> Tensor:
    """Return a view with an axis of size 1 put in at `dim`.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.unsqueeze(cnnfast.Tensor([1.0, 2.0]), 1).shape
    (2, 1)
    """
    x = as_tensor(input)
    at = rules.axis(x.ndim + 1, dim)
    return _view("unsqueeze", x, np.expand_dims(x.array, at), lambda dy: dy.squeeze(at))


def expand(input: Operand, *sizes: int | Sequence[int]) -> Tensor:
    """Return a read-only view repeated along axes of size 1 and along new axes in front.

    Parameters
    ----------
    input : Tensor
        Any shape.
    sizes : int or sequence of int
        The result's sizes; -1 keeps the input's.

    Raises
    ------
    ValueError
        Where an axis that is not of size 1 would change.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.expand(cnnfast.Tensor([[1.0], [2.0]]), -1, 2).numpy()
    array([[1., 1.],
           [2., 2.]], dtype=float32)
    """
    x = as_tensor(input)
    old, new = x.shape, rules.expand(x.shape, sizes_of(sizes))
    return _view("expand", x, np.broadcast_to(x.array, new), lambda dy: unbroadcast(dy, old))


def broadcast_to(input: Operand, shape: Sequence[int]) -> Tensor:
    """Return `expand(input, shape)`.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.broadcast_to(cnnfast.Tensor([1.0]), (3,)).shape
    (3,)
    """
    return expand(input, shape)


def repeat(input: Operand, *sizes: int | Sequence[int]) -> Tensor:
    """Return x laid out `sizes` times along each axis, new axes in front.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.repeat(cnnfast.Tensor([1.0, 2.0]), 2, 2).numpy()
    array([[1., 2., 1., 2.],
           [1., 2., 1., 2.]], dtype=float32)
    """
    x, times = as_tensor(input), sizes_of(sizes)
    shape = (1,) * (len(times) - x.ndim) + x.shape
    if len(times) < x.ndim or min(times, default=1) < 0:
        raise ValueError(f"repeat: expected a count for each of {x.ndim} axes, got {times}")
    between = [size for axis in shape for size in (1, axis)]
    wide = [size for pair in zip(times, shape, strict=True) for size in pair]
    product = [a * b for a, b in zip(times, shape, strict=True)]
    return reshape(expand(reshape(x, between), wide), product)


def clone(input: Operand) -> Tensor:
    """Return a copy in the same layout; the gradient goes on to the input.

    Examples
    --------
    >>> import cnnfast
    >>> x = cnnfast.Tensor([1.0])
    >>> cnnfast.functional.clone(x).zero_().item(), x.item()
    (0.0, 1.0)
    """
    x = as_tensor(input)
    array = copied(x.array) if x.dtype == np.float32 else x.array.copy(order="K")
    return _view("clone", x, array, lambda dy: dy)


def contiguous(input: Operand) -> Tensor:
    """Return x stored as the engine likes it: as an image or C-contiguous, copied if need be.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.contiguous(cnnfast.Tensor([[1.0, 2.0]]).T).numpy().flags.c_contiguous
    True
    """
    x = as_tensor(input)
    if _core.is_image(x.array) or x.array.flags.c_contiguous:
        return x
    return _view("contiguous", x, _dense(x.array), lambda dy: dy)


def flip(input: Operand, *dims: int | Sequence[int]) -> Tensor:
    """Return a copy with the order along some axes reversed.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.flip(cnnfast.Tensor([1.0, 2.0]), 0).numpy()
    array([2., 1.], dtype=float32)
    """
    x = as_tensor(input)
    named = sizes_of(dims)
    axes = rules.axes(x.ndim, named) if named else ()
    turned = np.flip(x.array, axes)
    turned = copied(turned) if x.dtype == np.float32 else turned.copy()
    return _view("flip", x, turned, lambda dy: np.flip(dy, axes))
