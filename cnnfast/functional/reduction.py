"""Reductions over axes, with torch's `dim` and `keepdim`; the same bits on any thread count.

Floats reduce in the engine; integers and booleans in NumPy, exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import _core
from .. import axes as rules
from ..autograd import record
from ..layout import as_dense
from ..replay import refuse_replay
from ..tensor import Tensor, as_float
from .arithmetic import div, maximum, minimum, sub
from .elementwise import Operand, by_numpy, compute, is_exact, plain
from .pointwise import abs as absolute
from .pointwise import sqrt, square

__all__ = [
    "Extreme", "all", "amax", "amin", "any", "argmax", "argmin", "max", "mean", "min", "norm",
    "prod", "std", "sum", "var",
]

Dim = int | Sequence[int] | None


class Extreme(NamedTuple):
    """What `max` and `min` along an axis return.

    Attributes
    ----------
    values : Tensor
        The extremes.
    indices : Tensor
        int64, where along the axis each was found first.
    """

    values: Tensor
    indices: Tensor


def _reduced(kind: str, x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Return x reduced over `axes`, which stay with size 1."""
    shape = tuple(1 if axis in axes else size for axis, size in enumerate(x.shape))
    y = _core.empty_image(*shape) if _core.is_image(x) else _core.empty(shape)
    _core.reduce(kind, y, x)
    return y


def _dropped(array: np.ndarray, axes: tuple[int, ...], keepdim: bool) -> np.ndarray:
    """Return a view without the reduced axes, unless they are to be kept."""
    if keepdim:
        return array
    key = [0 if axis in axes else slice(None) for axis in range(array.ndim)]
    return array[(*key, ...)]


def _restored(dy: np.ndarray, axes: tuple[int, ...], keepdim: bool) -> np.ndarray:
    """Return a view of `dy` with the reduced axes back, of size 1."""
    return dy if keepdim else np.expand_dims(dy, axes)


def _linear(kind: str, input: Operand, dim: Dim, keepdim: bool) -> Tensor:
    """Return the sum or mean; the gradient is the same for all elements that went in."""
    x = as_float(input)
    axes, shape = rules.axes(x.ndim, dim), x.shape
    y = _reduced(kind, x.array, axes)
    count = x.numel() // y.size if y.size else 1

    def backward(dy: np.ndarray, needs: tuple[bool, ...]) -> tuple[np.ndarray | None, ...]:
        if kind == "mean":
            dy = compute("div", dy, np.full((), count, np.float32))
        return (np.broadcast_to(_restored(dy, axes, keepdim), shape),)

    backward.__qualname__ = kind
    return record(_dropped(y, axes, keepdim), (x,), backward)


def sum(input: Operand, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """Return the sum over axes.

    Parameters
    ----------
    input : Tensor
        Any shape; integers and booleans give int64.
    dim : int or sequence of int, optional
        The axes; all of them where left out.
    keepdim : bool
        Keep the reduced axes with size 1.

    Raises
    ------
    IndexError
        For an axis that does not exist.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.sum(cnnfast.Tensor([[1.0, 2.0], [3.0, 4.0]]), dim=1).numpy()
    array([3., 7.], dtype=float32)
    """
    if is_exact(input):
        return _whole("sum", np.sum, input, dim, keepdim, dtype=np.int64)
    return _linear("sum", input, dim, keepdim)


def mean(input: Operand, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """Return the mean over axes; see `sum`. Over no elements it is NaN.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.mean(cnnfast.Tensor([[1.0, 2.0], [3.0, 4.0]]), dim=0).numpy()
    array([2., 3.], dtype=float32)
    """
    return _linear("mean", input, dim, keepdim)


def var(
    input: Operand,
    dim: Dim = None,
    unbiased: bool = True,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Tensor:
    """Return the variance over axes.

    Parameters
    ----------
    input : Tensor
        Any shape.
    dim, keepdim
        See `sum`.
    unbiased : bool
        Divide by the number of elements less 1 instead of by their number.
    correction : float, optional
        What to take off the number instead.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.var(cnnfast.Tensor([1.0, 2.0, 3.0])).item()
    1.0
    """
    x = as_float(input)
    axes = rules.axes(x.ndim, dim)
    centered = sub(x, mean(x, axes, keepdim=True))
    count = float(np.prod([x.shape[axis] for axis in axes]))
    less = float(unbiased) if correction is None else correction
    return div(sum(square(centered), axes, keepdim), np.maximum(count - less, 0))


def std(
    input: Operand,
    dim: Dim = None,
    unbiased: bool = True,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Tensor:
    """Return the standard deviation over axes; see `var`.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.std(cnnfast.Tensor([1.0, 3.0, 5.0])).item()
    2.0
    """
    return sqrt(var(input, dim, unbiased, keepdim, correction=correction))


def norm(
    input: Operand, p: float | str = 2.0, dim: Dim = None, keepdim: bool = False
) -> Tensor:
    """Return the vector norm over axes.

    Parameters
    ----------
    input : Tensor
        Any shape.
    p : {1, 2, inf, "fro"}
        Sum of magnitudes, root of the sum of squares (also ``"fro"``), or largest magnitude.
    dim, keepdim
        See `sum`.

    Raises
    ------
    ValueError
        For any other p.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.norm(cnnfast.Tensor([3.0, 4.0])).item()
    5.0
    """
    if p in (2, "fro"):
        return sqrt(sum(square(as_float(input)), dim, keepdim))
    if p == 1:
        return sum(absolute(as_float(input)), dim, keepdim)
    if p == np.inf:
        return amax(absolute(as_float(input)), dim, keepdim)
    raise ValueError(f'norm: expected p of 1, 2, inf or "fro", got {p!r}')


def prod(input: Operand, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Return the product over one axis, or over all.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.prod(cnnfast.Tensor([2.0, 3.0, 4.0])).item()
    24.0
    """
    if is_exact(input):
        return _whole("prod", np.prod, input, dim, keepdim, dtype=np.int64)
    tensor = as_float(input)
    x, axes = tensor.array, rules.axes(tensor.ndim, dim)

    def backward(dy: np.ndarray, needs: tuple[bool, ...]) -> tuple[np.ndarray | None, ...]:
        return (compute("mul", _restored(dy, axes, keepdim), _product_of_others(x, axes)),)

    y = _dropped(_reduced("prod", x, axes), axes, keepdim)
    return record(y, (tensor,), backward, (tensor,))


def _whole(
    name: str, function: Callable[..., Any], input: Operand, dim: Dim, keepdim: bool,
    **options: Any,
) -> Tensor:
    """Return NumPy's reduction of integers or booleans, or to booleans."""
    x = np.asarray(plain(input))
    axes = rules.axes(x.ndim, dim)
    return by_numpy(name, function, x, axis=axes, keepdims=keepdim, **options)


def _product_of_others(x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Return for each element the product over `axes` of all others, also where some are 0."""
    refuse_replay("the gradient of prod")
    last = tuple(range(-len(axes), 0))
    moved = np.moveaxis(x, axes, last)
    flat = moved.reshape(*moved.shape[: moved.ndim - len(axes)], -1).astype(np.float64)
    ones = np.ones((*flat.shape[:-1], 1))
    before = np.cumprod(np.concatenate([ones, flat[..., :-1]], -1), -1)
    after = np.cumprod(np.concatenate([ones, flat[..., :0:-1]], -1), -1)[..., ::-1]
    others = (before * after).astype(np.float32).reshape(moved.shape)
    return np.moveaxis(others, last, axes)


def _shared_extreme(kind: str, input: Operand, dim: Dim, keepdim: bool) -> Tensor:
    """Return the largest or smallest element; equal ones share the gradient."""
    if is_exact(input):
        return _whole(f"a{kind}", np.amax if kind == "max" else np.amin, input, dim, keepdim)
    tensor = as_float(input)
    x, axes = tensor.array, rules.axes(tensor.ndim, dim)
    rules.not_empty(f"a{kind}", tensor.shape, axes)
    kept = _reduced(kind, x, axes)

    def backward(dy: np.ndarray, needs: tuple[bool, ...]) -> tuple[np.ndarray | None, ...]:
        chosen = compute("eq", x, kept)
        share = compute("div", _restored(dy, axes, keepdim), _reduced("sum", chosen, axes))
        return (compute("mul", chosen, share),)

    backward.__qualname__ = f"a{kind}"
    return record(
        _dropped(kept, axes, keepdim), (tensor,), backward, (tensor,), result_saved=True
    )


def amax(input: Operand, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """Return the largest element over axes; equal ones share the gradient; NaN if there is one.

    Raises
    ------
    ValueError
        Where there are no elements.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.amax(cnnfast.Tensor([[1.0, 7.0], [3.0, 4.0]]), dim=1).numpy()
    array([7., 4.], dtype=float32)
    """
    return _shared_extreme("max", input, dim, keepdim)


def amin(input: Operand, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """Return the smallest element over axes; see `amax`.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.amin(cnnfast.Tensor([[1.0, 7.0], [3.0, 4.0]]), dim=1).numpy()
    array([1., 3.], dtype=float32)
    """
    return _shared_extreme("min", input, dim, keepdim)


def _position(kind: str, input: Operand, dim: int | None, keepdim: bool) -> np.ndarray:
    """Return the first index of the extreme along `dim`, or in the flattened input."""
    x = np.asarray(plain(input))
    axes = rules.axes(x.ndim, dim)
    rules.not_empty(f"arg{kind}", x.shape, axes)
    if x.dtype != np.float32:
        refuse_replay(f"arg{kind} of integers or booleans")
        return np.asarray(getattr(x, f"arg{kind}")(dim, keepdims=keepdim))
    if dim is None:
        flat, axis, shape = as_dense(x).reshape(-1), 0, (1,) * x.ndim if keepdim else ()
    elif x.ndim == 0:
        flat, axis, shape = x.reshape(1), 0, ()
    else:
        flat, axis, shape = x, axes[0], None
    index = _core.empty(tuple(1 if i == axis else n for i, n in enumerate(flat.shape)), "int64")
    getattr(_core, f"arg{kind}")(index, flat, axis)
    return index.reshape(shape) if shape is not None else _dropped(index, (axis,), keepdim)


def argmax(input: Operand, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Return the first index (int64) of the largest element; a NaN is larger than any number.

    Parameters
    ----------
    input : Tensor
        Any shape.
    dim : int, optional
        The axis; where left out the index counts through the flattened input.
    keepdim : bool
        Keep the axis with size 1.

    Raises
    ------
    ValueError
        Where there are no elements.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.argmax(cnnfast.Tensor([[1.0, 7.0], [5.0, 4.0]]), dim=1).numpy()
    array([1, 0])
    """
    return Tensor.wrap(_position("max", input, dim, keepdim))


def argmin(input: Operand, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Return the first index (int64) of the smallest element; see `argmax`.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.argmin(cnnfast.Tensor([[1.0, 7.0], [5.0, 4.0]]), dim=1).numpy()
    array([0, 1])
    """
    return Tensor.wrap(_position("min", input, dim, keepdim))


def _extreme(kind: str, input: Operand, dim: int, keepdim: bool) -> Extreme:
    """Return the extreme along one axis and where it is; the gradient goes to that element."""
    tensor = as_float(input)
    x, axes = tensor.array, rules.axes(tensor.ndim, dim)
    index = _position(kind, x, dim, True)

    def backward(dy: np.ndarray, needs: tuple[bool, ...]) -> tuple[np.ndarray | None, ...]:
        along = np.arange(x.shape[axes[0]] if x.ndim else 1, dtype=np.float32)
        chosen = along.reshape([-1 if axis in axes else 1 for axis in range(x.ndim)])
        mask = compute("eq", np.broadcast_to(chosen, x.shape), index.astype(np.float32))
        return (compute("mul", mask, _restored(dy, axes, keepdim)),)

    backward.__qualname__ = kind
    values = record(_dropped(_reduced(kind, x, axes), axes, keepdim), (tensor,), backward)
    if is_exact(input):
        exact = np.take_along_axis(plain(input), index, axes[0])
        values = Tensor.wrap(_dropped(exact, axes, keepdim))
    return Extreme(values, Tensor.wrap(_dropped(index, axes, keepdim)))


def max(input: Operand, dim: Any = None, keepdim: bool = False) -> Any:
    """Return the largest element; along an axis with its index; or the larger of two tensors.

    Parameters
    ----------
    input : Tensor
        Any shape.
    dim : int or Tensor, optional
        Left out: the largest of all. An axis: values and indices along it. A Tensor: as
        `maximum`.
    keepdim : bool
        Keep the axis with size 1.

    Returns
    -------
    Tensor or Extreme
        `Extreme` (values, indices) where `dim` is an axis.

    Examples
    --------
    >>> import cnnfast
    >>> values, indices = cnnfast.functional.max(cnnfast.Tensor([[1.0, 7.0], [5.0, 4.0]]), 1)
    >>> values.numpy(), indices.numpy()
    (array([7., 5.], dtype=float32), array([1, 0]))
    """
    if dim is None:
        return amax(input)
    if isinstance(dim, (int, np.integer)):
        return _extreme("max", input, int(dim), keepdim)
    return maximum(input, dim)


def min(input: Operand, dim: Any = None, keepdim: bool = False) -> Any:
    """Return the smallest element; along an axis with its index; or the smaller of two tensors.

    See `max`.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.min(cnnfast.Tensor([[1.0, 7.0], [5.0, 4.0]])).item()
    1.0
    """
    if dim is None:
        return amin(input)
    if isinstance(dim, (int, np.integer)):
        return _extreme("min", input, int(dim), keepdim)
    return minimum(input, dim)


def all(input: Operand, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """Return whether every element is true (not 0), as booleans.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.all(cnnfast.Tensor([1.0, 0.0])).item()
    False
    """
    return _whole("all", np.all, input, dim, keepdim)


def any(input: Operand, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """Return whether some element is true (not 0), as booleans.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.any(cnnfast.Tensor([1.0, 0.0])).item()
    True
    """
    return _whole("any", np.any, input, dim, keepdim)
