"""Arithmetic, element by element, with NumPy's broadcasting; gradients are summed back to shape.

Floats compute in float32. Two integers or booleans give an integer, as in torch, except where the
function has none (div, exp, ...).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _core
from ..layout import empty_result
from ..tensor import Tensor, as_float
from .elementwise import (
    BinaryRule,
    Operand,
    apply_binary,
    apply_unary,
    by_numpy,
    compute,
    is_exact,
    plain,
)

__all__ = [
    "add", "clamp", "clip", "div", "floor_divide", "maximum", "minimum", "mul", "pow", "remainder",
    "sub",
]

def _negative(dy: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    result = empty_result(dy.shape, dy)
    _core.unary("neg", result, dy)
    return result


def _scaled(alpha: float) -> Any:
    def gradient(dy: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        result = empty_result(dy.shape, dy)
        _core.unary("affine", result, dy, alpha, -0.0)  # x + (-0.0) keeps the sign of x
        return result

    return gradient


ADD = BinaryRule("add", lambda dy, a, b: dy, lambda dy, a, b: dy, exact=np.add)
SUB = BinaryRule("sub", lambda dy, a, b: dy, _negative, exact=np.subtract)
MUL = BinaryRule(
    "mul", lambda dy, a, b: compute("mul", dy, b), lambda dy, a, b: compute("mul", dy, a),
    "b", "a", np.multiply,
)
DIV = BinaryRule(
    "div", lambda dy, a, b: compute("div", dy, b), lambda dy, a, b: compute("div_db", dy, a, b),
    "b", "ab",
)
POW = BinaryRule(
    "pow", lambda dy, a, b: compute("pow_da", dy, a, b),
    lambda dy, a, b: compute("pow_db", dy, a, b), "ab", "ab", np.power,
)
MAXIMUM = BinaryRule(
    "maximum", lambda dy, a, b: compute("maximum_da", dy, a, b),
    lambda dy, a, b: compute("maximum_da", dy, b, a), "ab", "ab", np.maximum,
)
MINIMUM = BinaryRule(
    "minimum", lambda dy, a, b: compute("minimum_da", dy, a, b),
    lambda dy, a, b: compute("minimum_da", dy, b, a), "ab", "ab", np.minimum,
)


def add_scaled_rule(alpha: float) -> BinaryRule:
    """Return the rule of a + alpha * b."""
    return BinaryRule(
        "add_scaled", lambda dy, a, b: dy, _scaled(alpha),
        exact=(lambda a, b, **out: np.add(a, alpha * b, **out)) if is_exact(alpha) else None,
    )


def add(input: Operand, other: Operand, *, alpha: float = 1) -> Tensor:
    """Return input + alpha * other.

    Parameters
    ----------
    input, other : Tensor
        Shapes that broadcast to the result's.
    alpha : float
        Factor of `other`.

    Raises
    ------
    ValueError
        Where the shapes do not broadcast.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.add(cnnfast.Tensor([1.0, 2.0]), 10).numpy()
    array([11., 12.], dtype=float32)
    """
    if alpha == 1:
        return apply_binary(ADD, input, other)
    return apply_binary(add_scaled_rule(alpha), input, other, alpha)


def sub(input: Operand, other: Operand, *, alpha: float = 1) -> Tensor:
    """Return input - alpha * other; see `add`.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.sub(cnnfast.Tensor([1.0, 2.0]), 10).numpy()
    array([-9., -8.], dtype=float32)
    """
    if alpha == 1:
        return apply_binary(SUB, input, other)
    return apply_binary(add_scaled_rule(-alpha), input, other, -alpha)


def mul(input: Operand, other: Operand) -> Tensor:
    """Return input * other.

    Parameters
    ----------
    input, other : Tensor
        Shapes that broadcast to the result's.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.mul(cnnfast.Tensor([1.0, 2.0]), 10).numpy()
    array([10., 20.], dtype=float32)
    """
    return apply_binary(MUL, input, other)


def div(input: Operand, other: Operand, *, rounding_mode: str | None = None) -> Tensor:
    """Return input / other, in float32 also for integers.

    Parameters
    ----------
    input, other : Tensor
        Shapes that broadcast to the result's.
    rounding_mode : {None, "floor", "trunc"}
        Round the quotient down or towards 0; two integers then give an integer.

    Raises
    ------
    ValueError
        For any other rounding mode, and where the shapes do not broadcast.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.div(cnnfast.Tensor([1.0, 2.0]), 4).numpy()
    array([0.25, 0.5 ], dtype=float32)
    """
    if rounding_mode not in (None, "floor", "trunc"):
        raise ValueError(
            f'rounding_mode: expected None, "floor" or "trunc", got {rounding_mode!r}'
        )
    if rounding_mode is None:
        return apply_binary(DIV, input, other)
    if is_exact(input) and is_exact(other):
        quotient = np.floor_divide if rounding_mode == "floor" else _towards_zero
        return by_numpy("div", quotient, input, other)
    return apply_unary(rounding_mode, apply_binary(DIV, input, other))


def _towards_zero(a: Any, b: Any) -> Any:
    return np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b))


def floor_divide(input: Operand, other: Operand) -> Tensor:
    """Return input / other rounded down.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.floor_divide(cnnfast.Tensor([7.0, -7.0]), 2).numpy()
    array([ 3., -4.], dtype=float32)
    """
    return div(input, other, rounding_mode="floor")


def remainder(input: Operand, other: Operand) -> Tensor:
    """Return input - other * floor(input / other): of the sign of `other`.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.remainder(cnnfast.Tensor([7.0, -7.0]), 4).numpy()
    array([3., 1.], dtype=float32)
    """
    if is_exact(input) and is_exact(other):
        return by_numpy("remainder", np.remainder, input, other)
    return sub(input, mul(floor_divide(input, other), other))


_POWERS = {2.0: "square", 0.5: "sqrt", -0.5: "rsqrt", -1.0: "reciprocal"}


def pow(input: Operand, exponent: Operand) -> Tensor:
    """Return input ** exponent, with C99's results at the corners.

    Parameters
    ----------
    input, exponent : Tensor
        Shapes that broadcast to the result's.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.pow(cnnfast.Tensor([2.0, 3.0]), 2).numpy()
    array([4., 9.], dtype=float32)
    """
    if isinstance(exponent, (int, float)) and not is_exact(input) and exponent in _POWERS:
        return apply_unary(_POWERS[exponent], as_float(input))
    return apply_binary(POW, input, exponent)


def maximum(input: Operand, other: Operand) -> Tensor:
    """Return the larger of each pair; NaN where either is; equal operands share the gradient.

    Parameters
    ----------
    input, other : Tensor
        Shapes that broadcast to the result's.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.maximum(cnnfast.Tensor([1.0, 5.0]), 3.0).numpy()
    array([3., 5.], dtype=float32)
    """
    return apply_binary(MAXIMUM, input, other)


def minimum(input: Operand, other: Operand) -> Tensor:
    """Return the smaller of each pair; NaN where either is; equal operands share the gradient.

    Parameters
    ----------
    input, other : Tensor
        Shapes that broadcast to the result's.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.minimum(cnnfast.Tensor([1.0, 5.0]), 3.0).numpy()
    array([1., 3.], dtype=float32)
    """
    return apply_binary(MINIMUM, input, other)


def clamp(input: Operand, min: Operand | None = None, max: Operand | None = None) -> Tensor:
    """Return x limited to [min, max]; the gradient goes through at the bounds.

    Parameters
    ----------
    input : Tensor
        Any shape.
    min, max : float or Tensor, optional
        The bounds, of which one may be left out. Where min is above max the result is max.

    Raises
    ------
    ValueError
        Where both bounds are left out.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.clamp(cnnfast.Tensor([-3.0, 5.0]), min=0.0).numpy()
    array([0., 5.], dtype=float32)
    """
    if min is None and max is None:
        raise ValueError("clamp: at least one of min and max must be given")
    if any(isinstance(bound, (Tensor, np.ndarray)) for bound in (min, max)):
        bounded = input if min is None else maximum(input, min)
        return maximum(bounded, bounded) if max is None else minimum(bounded, max)
    if is_exact(input) and (min is None or is_exact(min)) and (max is None or is_exact(max)):
        return Tensor.wrap(np.clip(plain(input), min, max))
    return apply_unary("clamp", input, *clamp_bounds(min, max))


def clamp_bounds(min: float | None, max: float | None) -> tuple[float, float]:
    """Return the bounds with infinity for those that are left out."""
    return (-np.inf if min is None else float(min)), (np.inf if max is None else float(max))


clip = clamp
