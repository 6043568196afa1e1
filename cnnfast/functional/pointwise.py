"""Functions of one operand, element by element; integers compute in float32 where they must.

Each is a row of csrc/tiles/elementwise.def. Accuracy is measured by tests/test_math.py.
"""

from __future__ import annotations

import numpy as np

from ..tensor import Tensor
from .elementwise import Operand, apply_unary, by_numpy, is_exact

__all__ = [
    "abs", "ceil", "erf", "exp", "expm1", "floor", "log", "log1p", "neg", "reciprocal", "round",
    "rsqrt", "sign", "sqrt", "square", "trunc",
]


def neg(input: Operand) -> Tensor:
    """Return -x.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.neg(cnnfast.Tensor([1.0, -2.0])).numpy()
    array([-1.,  2.], dtype=float32)
    """
    if is_exact(input):
        return by_numpy("neg", np.negative, input)
    return apply_unary("neg", input)


def abs(input: Operand) -> Tensor:
    """Return |x|; the gradient at 0 is 0.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.abs(cnnfast.Tensor([1.0, -2.0])).numpy()
    array([1., 2.], dtype=float32)
    """
    if is_exact(input):
        return by_numpy("abs", np.abs, input)
    return apply_unary("abs", input)


def sign(input: Operand) -> Tensor:
    """Return -1, 0 or 1.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.sign(cnnfast.Tensor([3.0, -2.0])).numpy()
    array([ 1., -1.], dtype=float32)
    """
    if is_exact(input):
        return by_numpy("sign", np.sign, input)
    return apply_unary("sign", input)


def floor(input: Operand) -> Tensor:
    """Return the largest integer that is not above x, as a float; no gradient.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.floor(cnnfast.Tensor([1.5, -1.5])).numpy()
    array([ 1., -2.], dtype=float32)
    """
    return apply_unary("floor", input)


def ceil(input: Operand) -> Tensor:
    """Return the smallest integer that is not below x, as a float; no gradient.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.ceil(cnnfast.Tensor([1.5, -1.5])).numpy()
    array([ 2., -1.], dtype=float32)
    """
    return apply_unary("ceil", input)


def trunc(input: Operand) -> Tensor:
    """Return x without its fraction; no gradient.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.trunc(cnnfast.Tensor([1.5, -1.5])).numpy()
    array([ 1., -1.], dtype=float32)
    """
    return apply_unary("trunc", input)


def round(input: Operand) -> Tensor:
    """Return the nearest integer as a float, of two the even one; no gradient.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.round(cnnfast.Tensor([1.5, 2.5])).numpy()
    array([2., 2.], dtype=float32)
    """
    return apply_unary("round", input)


def square(input: Operand) -> Tensor:
    """Return x * x.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.square(cnnfast.Tensor([3.0, -2.0])).numpy()
    array([9., 4.], dtype=float32)
    """
    if is_exact(input):
        return by_numpy("square", np.square, input)
    return apply_unary("square", input)


def sqrt(input: Operand) -> Tensor:
    """Return the square root; NaN below 0.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.sqrt(cnnfast.Tensor([4.0, 9.0])).numpy()
    array([2., 3.], dtype=float32)
    """
    return apply_unary("sqrt", input)


def rsqrt(input: Operand) -> Tensor:
    """Return 1 / sqrt(x).

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.rsqrt(cnnfast.Tensor([4.0, 16.0])).numpy()
    array([0.5 , 0.25], dtype=float32)
    """
    return apply_unary("rsqrt", input)


def reciprocal(input: Operand) -> Tensor:
    """Return 1 / x.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.reciprocal(cnnfast.Tensor([4.0, 2.0])).numpy()
    array([0.25, 0.5 ], dtype=float32)
    """
    return apply_unary("reciprocal", input)


def exp(input: Operand) -> Tensor:
    """Return e ** x.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.exp(cnnfast.Tensor([0.0, 1.0])).numpy().round(4)
    array([1.    , 2.7183], dtype=float32)
    """
    return apply_unary("exp", input)


def expm1(input: Operand) -> Tensor:
    """Return e ** x - 1, accurate near 0.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.expm1(cnnfast.Tensor([0.0, 0.5])).numpy().round(4)
    array([0.    , 0.6487], dtype=float32)
    """
    return apply_unary("expm1", input)


def log(input: Operand) -> Tensor:
    """Return the natural logarithm; -inf at 0, NaN below.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.log(cnnfast.Tensor([1.0, 10.0])).numpy().round(4)
    array([0.    , 2.3026], dtype=float32)
    """
    return apply_unary("log", input)


def log1p(input: Operand) -> Tensor:
    """Return log(1 + x), accurate near 0.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.log1p(cnnfast.Tensor([0.0, 0.5])).numpy().round(4)
    array([0.    , 0.4055], dtype=float32)
    """
    return apply_unary("log1p", input)


def erf(input: Operand) -> Tensor:
    """Return the error function.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.erf(cnnfast.Tensor([0.0, 1.0])).numpy().round(4)
    array([0.    , 0.8427], dtype=float32)
    """
    return apply_unary("erf", input)
