"""Comparisons, which give booleans, and choices by them."""

from __future__ import annotations

import numpy as np

from ..autograd import record
from ..tensor import Tensor, as_float
from .elementwise import Operand, compute, is_exact, plain, unbroadcast

__all__ = [
    "eq", "ge", "gt", "isfinite", "isinf", "isnan", "le", "lt", "masked_fill", "ne", "where",
]


def where(condition: Operand, input: Operand, other: Operand) -> Tensor:
    """Return `input` where the condition holds, else `other`.

    Parameters
    ----------
    condition : Tensor
        Boolean, or numbers that are true unless 0.
    input, other : Tensor
        The three shapes broadcast to the result's.

    Examples
    --------
    >>> import cnnfast
    >>> x = cnnfast.Tensor([-1.0, 2.0])
    >>> cnnfast.functional.where(x > 0, x, 0.0).numpy()
    array([0., 2.], dtype=float32)
    """
    if is_exact(input) and is_exact(other):
        return Tensor.wrap(np.where(plain(condition), plain(input), plain(other)))
    mask = as_float(condition).array
    a, b = as_float(input), as_float(other)
    a_shape, b_shape, zero = a.shape, b.shape, np.zeros((), np.float32)
    y = compute("where", a.array, b.array, mask)

    def backward(dy: np.ndarray, needs: tuple[bool, ...]) -> tuple[np.ndarray | None, ...]:
        da = unbroadcast(compute("where", dy, zero, mask), a_shape) if needs[0] else None
        db = unbroadcast(compute("where", zero, dy, mask), b_shape) if needs[1] else None
        return da, db

    return record(y, (a, b), backward)


def masked_fill(input: Operand, mask: Operand, value: float) -> Tensor:
    """Return x with `value` where the mask is true.

    Examples
    --------
    >>> import cnnfast
    >>> x = cnnfast.Tensor([-1.0, 2.0])
    >>> cnnfast.functional.masked_fill(x, x < 0, 9.0).numpy()
    array([9., 2.], dtype=float32)
    """
    return where(mask, value, input)


def eq(input: Operand, other: Operand) -> Tensor:
    """Return whether input == other, element by element, as booleans.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.eq(cnnfast.Tensor([1.0, 3.0]), 2).numpy()
    array([False, False])
    """
    return Tensor.wrap(np.asarray(plain(input) == plain(other)))


def ne(input: Operand, other: Operand) -> Tensor:
    """Return whether input != other, element by element, as booleans.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.ne(cnnfast.Tensor([1.0, 3.0]), 2).numpy()
    array([ True,  True])
    """
    return Tensor.wrap(np.asarray(plain(input) != plain(other)))


def lt(input: Operand, other: Operand) -> Tensor:
    """Return whether input < other, element by element, as booleans.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.lt(cnnfast.Tensor([1.0, 3.0]), 2).numpy()
    array([ True, False])
    """
    return Tensor.wrap(np.asarray(plain(input) < plain(other)))


def le(input: Operand, other: Operand) -> Tensor:
    """Return whether input <= other, element by element, as booleans.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.le(cnnfast.Tensor([1.0, 3.0]), 2).numpy()
    array([ True, False])
    """
    return Tensor.wrap(np.asarray(plain(input) <= plain(other)))


def gt(input: Operand, other: Operand) -> Tensor:
    """Return whether input > other, element by element, as booleans.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.gt(cnnfast.Tensor([1.0, 3.0]), 2).numpy()
    array([False,  True])
    """
    return Tensor.wrap(np.asarray(plain(input) > plain(other)))


def ge(input: Operand, other: Operand) -> Tensor:
    """Return whether input >= other, element by element, as booleans.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.ge(cnnfast.Tensor([1.0, 3.0]), 2).numpy()
    array([False,  True])
    """
    return Tensor.wrap(np.asarray(plain(input) >= plain(other)))


def isnan(input: Operand) -> Tensor:
    """Return where x is NaN, as booleans.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.isnan(cnnfast.Tensor([1.0, float("nan"), float("inf")])).numpy()
    array([False,  True, False])
    """
    return Tensor.wrap(np.asarray(np.isnan(plain(input))))


def isinf(input: Operand) -> Tensor:
    """Return where x is infinite, as booleans.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.isinf(cnnfast.Tensor([1.0, float("nan"), float("inf")])).numpy()
    array([False, False,  True])
    """
    return Tensor.wrap(np.asarray(np.isinf(plain(input))))


def isfinite(input: Operand) -> Tensor:
    """Return where x is neither infinite nor NaN, as booleans.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.isfinite(cnnfast.Tensor([1.0, float("nan"), float("inf")])).numpy()
    array([ True, False, False])
    """
    return Tensor.wrap(np.asarray(np.isfinite(plain(input))))
