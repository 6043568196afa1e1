"""Activations, element by element: shape in, shape out, the layout of the input kept.

Each is a row of csrc/tiles/elementwise.def, where its value and its derivative stand together.
With ``inplace=True`` the result overwrites the input's memory.
"""

from __future__ import annotations

import numpy as np

from .. import _core, shapes
from ..autograd import record
from ..tensor import Tensor, as_float
from .elementwise import aligned, apply_unary, compute

__all__ = [
    "celu", "elu", "gelu", "hardshrink", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu",
    "logsigmoid", "mish", "prelu", "relu", "relu6", "selu", "sigmoid", "silu", "softplus",
    "softshrink", "softsign", "tanh", "tanhshrink", "threshold",
]


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """Return max(x, 0).

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.relu(cnnfast.Tensor([-1.0, 2.0])).numpy()
    array([0., 2.], dtype=float32)
    """
    return apply_unary("relu", input, inplace=inplace)


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """Return x limited to [0, 6]; no gradient at the bounds.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.relu6(cnnfast.Tensor([-1.0, 2.0, 9.0])).numpy()
    array([0., 2., 6.], dtype=float32)
    """
    return apply_unary("hardtanh", input, 0.0, 6.0, inplace)


def hardtanh(
    input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> Tensor:
    """Return x limited to [min_val, max_val]; no gradient at the bounds.

    Raises
    ------
    ValueError
        Where min_val is above max_val.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.hardtanh(cnnfast.Tensor([-3.0, 0.5])).numpy()
    array([-1. ,  0.5], dtype=float32)
    """
    if min_val > max_val:
        raise ValueError(f"min_val must not be above max_val, got {min_val} and {max_val}")
    return apply_unary("hardtanh", input, min_val, max_val, inplace)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """Return x where x > 0, else negative_slope * x.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.leaky_relu(cnnfast.Tensor([-2.0, 3.0]), 0.5).numpy()
    array([-1.,  3.], dtype=float32)
    """
    return apply_unary("leaky_relu", input, negative_slope, inplace=inplace)


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """Return x where x > 0, else weight * x with a learned slope.

    Parameters
    ----------
    input : Tensor
        (N, C, ...), or any shape where the weight has one element.
    weight : Tensor
        (1,), or (C,): a slope for each channel, axis 1 of the input.

    Raises
    ------
    ValueError
        Where the weight has neither one element nor one a channel.

    Examples
    --------
    >>> import cnnfast
    >>> x = cnnfast.Tensor([[-2.0, 3.0]])
    >>> cnnfast.functional.prelu(x, cnnfast.Tensor([0.25])).numpy()
    array([[-0.5,  3. ]], dtype=float32)
    """
    input, weight = as_float(input), as_float(weight)
    shapes.prelu(input.shape, weight.shape)
    x = input.array
    weight_shape = weight.shape
    slope = weight.array.reshape((-1,) + (1,) * (x.ndim - 2) if weight.numel() > 1 else ())
    y = compute("prelu", x, slope)

    def backward(dy: np.ndarray, needs: tuple[bool, ...]) -> tuple[np.ndarray | None, ...]:
        dx = compute("prelu_dx", dy, x, slope) if needs[0] else None
        dw = None
        if needs[1]:
            total = aligned(_core.empty(slope.shape), x.ndim)
            _core.reduce("sum", total, compute("prelu_dw", dy, x))
            dw = total.reshape(weight_shape)
        return dx, dw

    return record(y, (input, weight), backward, (input, weight))


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """Return x where x > 0, else alpha * (exp(x) - 1) (Clevert et al. 2016).

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.elu(cnnfast.Tensor([-1.0, 2.0])).numpy().round(4)
    array([-0.6321,  2.    ], dtype=float32)
    """
    return apply_unary("elu", input, alpha, 1.0, inplace)


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """Return x where x > 0, else alpha * (exp(x / alpha) - 1) (Barron 2017).

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.celu(cnnfast.Tensor([-1.0, 2.0]), 2.0).numpy().round(4)
    array([-0.7869,  2.    ], dtype=float32)
    """
    if alpha == 0:
        raise ValueError("celu divides by alpha, which must not be 0")
    return apply_unary("elu", input, alpha, 1.0 / alpha, inplace)


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """Return 1.0507 * elu(x, 1.6733): keeps mean 0 and variance 1 (Klambauer et al. 2017).

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.selu(cnnfast.Tensor([-1.0, 2.0])).numpy().round(4)
    array([-1.1113,  2.1014], dtype=float32)
    """
    return apply_unary("selu", input, inplace=inplace)


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """Return x * Phi(x), Phi the normal distribution function (Hendrycks and Gimpel 2016).

    Parameters
    ----------
    input : Tensor
        Any shape.
    approximate : {"none", "tanh"}
        ``"tanh"``: Phi(x) as 0.5 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))).

    Raises
    ------
    ValueError
        For any other `approximate`.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.gelu(cnnfast.Tensor([-1.0, 2.0])).numpy().round(4)
    array([-0.1587,  1.9545], dtype=float32)
    """
    kinds = {"none": "gelu", "tanh": "gelu_tanh"}
    if approximate not in kinds:
        raise ValueError(f'approximate: expected "none" or "tanh", got {approximate!r}')
    return apply_unary(kinds[approximate], input)


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """Return x * sigmoid(x), also known as swish (Elfwing et al. 2017).

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.silu(cnnfast.Tensor([-1.0, 2.0])).numpy().round(4)
    array([-0.2689,  1.7616], dtype=float32)
    """
    return apply_unary("silu", input, inplace=inplace)


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """Return x * tanh(softplus(x)) (Misra 2019).

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.mish(cnnfast.Tensor([-1.0, 2.0])).numpy().round(4)
    array([-0.3034,  1.944 ], dtype=float32)
    """
    return apply_unary("mish", input, inplace=inplace)


def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """Return log(1 + exp(beta x)) / beta, and x itself where beta x > threshold.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.softplus(cnnfast.Tensor([0.0, 30.0])).numpy().round(4)
    array([ 0.6931, 30.    ], dtype=float32)
    """
    if beta == 0:
        raise ValueError("softplus divides by beta, which must not be 0")
    return apply_unary("softplus", input, beta, threshold)


def sigmoid(input: Tensor) -> Tensor:
    """Return 1 / (1 + exp(-x)).

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.sigmoid(cnnfast.Tensor([0.0, 2.0])).numpy().round(4)
    array([0.5   , 0.8808], dtype=float32)
    """
    return apply_unary("sigmoid", input)


def logsigmoid(input: Tensor) -> Tensor:
    """Return log(sigmoid(x)), accurate on both sides.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.logsigmoid(cnnfast.Tensor([0.0, -100.0])).numpy().round(4)
    array([  -0.6931, -100.    ], dtype=float32)
    """
    return apply_unary("log_sigmoid", input)


def tanh(input: Tensor) -> Tensor:
    """Return the hyperbolic tangent.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.tanh(cnnfast.Tensor([0.0, 1.0])).numpy().round(4)
    array([0.    , 0.7616], dtype=float32)
    """
    return apply_unary("tanh", input)


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """Return x * clamp(x + 3, 0, 6) / 6 (Howard et al. 2019).

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.hardswish(cnnfast.Tensor([-1.0, 4.0])).numpy().round(4)
    array([-0.3333,  4.    ], dtype=float32)
    """
    return apply_unary("hardswish", input, inplace=inplace)


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """Return clamp(x + 3, 0, 6) / 6.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.hardsigmoid(cnnfast.Tensor([0.0, 4.0])).numpy()
    array([0.5, 1. ], dtype=float32)
    """
    return apply_unary("hardsigmoid", input, inplace=inplace)


def softsign(input: Tensor) -> Tensor:
    """Return x / (1 + |x|).

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.softsign(cnnfast.Tensor([-1.0, 3.0])).numpy()
    array([-0.5 ,  0.75], dtype=float32)
    """
    return apply_unary("softsign", input)


def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """Return x moved towards 0 by lambd, and 0 where |x| <= lambd.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.softshrink(cnnfast.Tensor([-2.0, 0.2])).numpy()
    array([-1.5,  0. ], dtype=float32)
    """
    if lambd < 0:
        raise ValueError(f"lambd must not be negative, got {lambd}")
    return apply_unary("softshrink", input, lambd)


def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """Return x, but 0 where |x| <= lambd.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.hardshrink(cnnfast.Tensor([-2.0, 0.2])).numpy()
    array([-2.,  0.], dtype=float32)
    """
    return apply_unary("hardshrink", input, lambd)


def tanhshrink(input: Tensor) -> Tensor:
    """Return x - tanh(x).

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.tanhshrink(cnnfast.Tensor([0.0, 2.0])).numpy().round(4)
    array([0.   , 1.036], dtype=float32)
    """
    return apply_unary("tanhshrink", input)


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """Return x where x > threshold, else value.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.functional.threshold(cnnfast.Tensor([-1.0, 2.0]), 0.5, 9.0).numpy()
    array([9., 2.], dtype=float32)
    """
    return apply_unary("threshold", input, threshold, value, inplace)
