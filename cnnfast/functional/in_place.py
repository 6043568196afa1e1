"""Arithmetic that overwrites its first operand; a Tensor's methods of the same names call these.

Gradients are those of the results. A float32 Tensor only takes values that fit its shape, an
integer Tensor only integers.
"""

from __future__ import annotations

from ..tensor import Tensor
from .arithmetic import ADD, DIV, MUL, POW, SUB, add_scaled_rule, clamp_bounds
from .elementwise import Operand, apply_binary, apply_unary

__all__ = ["add_", "clamp_", "div_", "mul_", "pow_", "sub_"]


def add_(input: Tensor, other: Operand, *, alpha: float = 1) -> Tensor:
    """Do input += alpha * other.

    Raises
    ------
    ValueError
        Where `other` does not broadcast to the shape of `input`.
    RuntimeError
        For a leaf that requires a gradient, outside of `no_grad`.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.add_(cnnfast.Tensor([1.0, 2.0]), 10).numpy()
    array([11., 12.], dtype=float32)
    """
    if alpha == 1:
        return apply_binary(ADD, input, other, inplace=True)
    return apply_binary(add_scaled_rule(alpha), input, other, alpha, inplace=True)


def sub_(input: Tensor, other: Operand, *, alpha: float = 1) -> Tensor:
    """Do input -= alpha * other; see `add_`.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.sub_(cnnfast.Tensor([1.0, 2.0]), 10).numpy()
    array([-9., -8.], dtype=float32)
    """
    if alpha == 1:
        return apply_binary(SUB, input, other, inplace=True)
    return apply_binary(add_scaled_rule(-alpha), input, other, -alpha, inplace=True)


def mul_(input: Tensor, other: Operand) -> Tensor:
    """Do input *= other; see `add_`.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.mul_(cnnfast.Tensor([1.0, 2.0]), 10).numpy()
    array([10., 20.], dtype=float32)
    """
    return apply_binary(MUL, input, other, inplace=True)


def div_(input: Tensor, other: Operand) -> Tensor:
    """Do input /= other; see `add_`.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.div_(cnnfast.Tensor([1.0, 2.0]), 4).numpy()
    array([0.25, 0.5 ], dtype=float32)
    """
    return apply_binary(DIV, input, other, inplace=True)


def pow_(input: Tensor, exponent: Operand) -> Tensor:
    """Do input **= exponent; see `add_`.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.pow_(cnnfast.Tensor([1.0, 2.0]), 3).numpy()
    array([1., 8.], dtype=float32)
    """
    return apply_binary(POW, input, exponent, inplace=True)


def clamp_(input: Tensor, min: float | None = None, max: float | None = None) -> Tensor:
    """Limit input to [min, max]; see `add_`.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.clamp_(cnnfast.Tensor([1.0, 2.0]), max=1.5).numpy()
    array([1. , 1.5], dtype=float32)
    """
    return apply_unary("clamp", input, *clamp_bounds(min, max), inplace=True)
