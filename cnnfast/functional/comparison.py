"""Comparisons, which give booleans, and choices by them."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from ..autograd import record
from ..replay import refuse_replay
from ..tensor import Tensor, as_float
from .elementwise import Operand, by_numpy, compute, is_exact, plain, unbroadcast

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
        return by_numpy("where", np.where, condition, input, other)
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


def _compared(name: str, function: Callable[..., Any], *operands: Operand) -> Tensor:
    """Return booleans, which are NumPy's."""
    refuse_replay(f"{name}, a comparison,")
    return Tensor.wrap(np.asarray(function(*map(plain, operands))))


def eq(input: Operand, other: Operand) -> Tensor:
    """Return whether input == other, element by element, as booleans.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.eq(cnnfast.Tensor([1.0, 3.0]), 2).numpy()
    array([False, False])
    """
    return _compared("eq", operator.eq, input, other)


def ne(input: Operand, other: Operand) -> Tensor:
    """Return whether input != other, element by element, as booleans.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.ne(cnnfast.Tensor([1.0, 3.0]), 2).numpy()
    array([ True,  True])
    """
    return _compared("ne", operator.ne, input, other)


def lt(input: Operand, other: Operand) -> Tensor:
    """Return whether input < other, element by element, as booleans.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.lt(cnnfast.Tensor([1.0, 3.0]), 2).numpy()
    array([ True, False])
    """
    return _compared("lt", operator.lt, input, other)


def le(input: Operand, other: Operand) -> Tensor:
    """Return whether input <= other, element by element, as booleans.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.le(cnnfast.Tensor([1.0, 3.0]), 2).numpy()
    array([ True, False])
    """
    return _compared("le", operator.le, input, other)


def gt(input: Operand, other: Operand) -> Tensor:
    """Return whether input > other, element by element, as booleans.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.gt(cnnfast.Tensor([1.0, 3.0]), 2).numpy()
    array([False,  True])
    """
    return _compared("gt", operator.gt, input, other)


def ge(input: Operand, other: Operand) -> Tensor:
    """Return whether input >= other, element by element, as booleans.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.ge(cnnfast.Tensor([1.0, 3.0]), 2).numpy()
    array([False,  True])
    """
    return _compared("ge", operator.ge, input, other)


def isnan(input: Operand) -> Tensor:
    """Return where x is NaN, as booleans.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.isnan(cnnfast.Tensor([1.0, float("nan"), float("inf")])).numpy()
    array([False,  True, False])
    """
    return _compared("isnan", np.isnan, input)


def isinf(input: Operand) -> Tensor:
    """Return where x is infinite, as booleans.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.isinf(cnnfast.Tensor([1.0, float("nan"), float("inf")])).numpy()
    array([False, False,  True])
    """
    return _compared("isinf", np.isinf, input)


def isfinite(input: Operand) -> Tensor:
    """Return where x is neither infinite nor NaN, as booleans.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.isfinite(cnnfast.Tensor([1.0, float("nan"), float("inf")])).numpy()
    array([ True, False, False])
    """
    return _compared("isfinite", np.isfinite, input)
