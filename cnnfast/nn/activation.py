"""Activation layers: settings around the activations of `functional`, element by element.

`inplace` is torch's argument and passed on; all inputs may have any shape.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import functional as F
from ..tensor import Tensor
from . import init
from .module import Module
from .parameter import Parameter
from .placement import check_placement

__all__ = [
    "ELU",
    "GELU",
    "SELU",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "LeakyReLU",
    "LogSigmoid",
    "LogSoftmax",
    "Mish",
    "PReLU",
    "ReLU",
    "ReLU6",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Softsign",
    "Tanh",
]


class _Inplace(Module):
    """An activation whose only setting is `inplace`."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def extra_repr(self) -> str:
        """Return ``inplace=True`` where it is."""
        return "inplace=True" if self.inplace else ""


class ReLU(_Inplace):
    """max(x, 0).

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.nn.ReLU()(cnnfast.tensor([-1.0, 2.0])).numpy().tolist()
    [0.0, 2.0]
    """

    def forward(self, input: Tensor) -> Tensor:
        """Apply it."""
        return F.relu(input, self.inplace)


class SELU(_Inplace):
    """scale * ELU(x, alpha), with the constants that keep activations normalised.

    Source: Klambauer et al., Self-Normalizing Neural Networks, NIPS 2017.

    Examples
    --------
    >>> import cnnfast
    >>> print(cnnfast.nn.SELU()(cnnfast.tensor([-1.0, 1.0])).numpy().round(4))
    [-1.1113  1.0507]
    """

    def forward(self, input: Tensor) -> Tensor:
        """Apply it."""
        return F.selu(input, self.inplace)


class SiLU(_Inplace):
    """x * sigmoid(x), also called Swish.

    Examples
    --------
    >>> import cnnfast
    >>> print(cnnfast.nn.SiLU()(cnnfast.tensor([-1.0, 1.0])).numpy().round(4))
    [-0.2689  0.7311]
    """

    def forward(self, input: Tensor) -> Tensor:
        """Apply it."""
        return F.silu(input, self.inplace)


class Mish(_Inplace):
    """x * tanh(softplus(x)).

    Source: Misra, Mish, BMVC 2020.

    Examples
    --------
    >>> import cnnfast
    >>> print(cnnfast.nn.Mish()(cnnfast.tensor([-1.0, 1.0])).numpy().round(4))
    [-0.3034  0.8651]
    """

    def forward(self, input: Tensor) -> Tensor:
        """Apply it."""
        return F.mish(input, self.inplace)


class Hardswish(_Inplace):
    """x * relu6(x + 3) / 6.

    Source: Howard et al., Searching for MobileNetV3, ICCV 2019.

    Examples
    --------
    >>> import cnnfast
    >>> print(cnnfast.nn.Hardswish()(cnnfast.tensor([-1.0, 4.0])).numpy().round(4))
    [-0.3333  4.    ]
    """

    def forward(self, input: Tensor) -> Tensor:
        """Apply it."""
        return F.hardswish(input, self.inplace)

    def extra_repr(self) -> str:
        """Return nothing, as torch does."""
        return ""


class Hardsigmoid(_Inplace):
    """relu6(x + 3) / 6.

    Examples
    --------
    >>> import cnnfast
    >>> print(cnnfast.nn.Hardsigmoid()(cnnfast.tensor([-4.0, 0.0])).numpy().round(4))
    [0.  0.5]
    """

    def forward(self, input: Tensor) -> Tensor:
        """Apply it."""
        return F.hardsigmoid(input, self.inplace)

    def extra_repr(self) -> str:
        """Return nothing, as torch does."""
        return ""


class Hardtanh(Module):
    """Clamps to [min_val, max_val].

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.nn.Hardtanh(-2, 2)(cnnfast.tensor([-3.0, 1.0])).numpy().tolist()
    [-2.0, 1.0]
    """

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        if max_val <= min_val:
            raise ValueError(f"max_val ({max_val}) must be greater than min_val ({min_val})")
        self.min_val = min_val
        self.max_val = max_val
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """Apply it."""
        return F.hardtanh(input, self.min_val, self.max_val, self.inplace)

    def extra_repr(self) -> str:
        """Return the bounds."""
        shown = f"min_val={self.min_val}, max_val={self.max_val}"
        return shown + (", inplace=True" if self.inplace else "")


class ReLU6(Hardtanh):
    """Clamps to [0, 6].

    Examples
    --------
    >>> import cnnfast
    >>> print(cnnfast.nn.ReLU6()(cnnfast.tensor([-1.0, 8.0])).numpy().round(4))
    [0. 6.]
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__(0.0, 6.0, inplace)

    def extra_repr(self) -> str:
        """Return ``inplace=True`` where it is."""
        return "inplace=True" if self.inplace else ""


class LeakyReLU(Module):
    """x where positive, else negative_slope * x.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.nn.LeakyReLU(0.5)(cnnfast.tensor([-1.0, 2.0])).numpy().tolist()
    [-0.5, 2.0]
    """

    def __init__(self, negative_slope: float = 1e-2, inplace: bool = False) -> None:
        super().__init__()
        self.negative_slope = negative_slope
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """Apply it."""
        return F.leaky_relu(input, self.negative_slope, self.inplace)

    def extra_repr(self) -> str:
        """Return the slope."""
        return f"negative_slope={self.negative_slope}" + (", inplace=True" if self.inplace else "")


class ELU(Module):
    """x where positive, else alpha * (exp(x) - 1).

    Examples
    --------
    >>> import cnnfast
    >>> print(cnnfast.nn.ELU()(cnnfast.tensor([-1.0, 1.0])).numpy().round(4))
    [-0.6321  1.    ]
    """

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha = alpha
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """Apply it."""
        return F.elu(input, self.alpha, self.inplace)

    def extra_repr(self) -> str:
        """Return alpha."""
        return f"alpha={self.alpha}" + (", inplace=True" if self.inplace else "")


class PReLU(Module):
    """x where positive, else weight * x with a learned weight.

    Parameters
    ----------
    num_parameters : int
        1, or the number of channels (axis 1) for one weight each.
    init : float
        First value of the weights.

    Examples
    --------
    >>> from cnnfast import nn
    >>> nn.PReLU(3).weight.shape
    (3,)
    """

    def __init__(
        self, num_parameters: int = 1, init: float = 0.25, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        check_placement(device, dtype)
        self.num_parameters = num_parameters
        self.init = init
        self.weight = Parameter(np.empty(num_parameters, np.float32))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the weights to their first value."""
        init.constant_(self.weight, self.init)

    def forward(self, input: Tensor) -> Tensor:
        """Apply it."""
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        """Return the number of weights."""
        return f"num_parameters={self.num_parameters}"


class GELU(Module):
    """x * Phi(x), Phi the normal distribution; ``approximate="tanh"`` takes the tanh form.

    Source: Hendrycks and Gimpel, Gaussian Error Linear Units, 2016 (arXiv:1606.08415).

    Examples
    --------
    >>> import cnnfast
    >>> print(cnnfast.nn.GELU()(cnnfast.tensor([-1.0, 1.0])).numpy().round(4))
    [-0.1587  0.8413]
    """

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = approximate

    def forward(self, input: Tensor) -> Tensor:
        """Apply it."""
        return F.gelu(input, approximate=self.approximate)

    def extra_repr(self) -> str:
        """Return the form."""
        return f"approximate={self.approximate!r}"


class Softplus(Module):
    """log(1 + exp(beta * x)) / beta, and x itself where beta * x > threshold.

    Examples
    --------
    >>> import cnnfast
    >>> print(cnnfast.nn.Softplus()(cnnfast.tensor([0.0, 30.0])).numpy().round(4))
    [ 0.6931 30.    ]
    """

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta = beta
        self.threshold = threshold

    def forward(self, input: Tensor) -> Tensor:
        """Apply it."""
        return F.softplus(input, self.beta, self.threshold)

    def extra_repr(self) -> str:
        """Return both settings."""
        return f"beta={self.beta}, threshold={self.threshold}"


class Sigmoid(Module):
    """1 / (1 + exp(-x)).

    Examples
    --------
    >>> import cnnfast
    >>> print(cnnfast.nn.Sigmoid()(cnnfast.tensor([0.0, 1.0])).numpy().round(4))
    [0.5    0.7311]
    """

    def forward(self, input: Tensor) -> Tensor:
        """Apply it."""
        return F.sigmoid(input)


class Tanh(Module):
    """The hyperbolic tangent.

    Examples
    --------
    >>> import cnnfast
    >>> print(cnnfast.nn.Tanh()(cnnfast.tensor([0.0, 1.0])).numpy().round(4))
    [0.     0.7616]
    """

    def forward(self, input: Tensor) -> Tensor:
        """Apply it."""
        return F.tanh(input)


class LogSigmoid(Module):
    """log(sigmoid(x)), without underflow.

    Examples
    --------
    >>> import cnnfast
    >>> print(cnnfast.nn.LogSigmoid()(cnnfast.tensor([0.0, -100.0])).numpy().round(4))
    [  -0.6931 -100.    ]
    """

    def forward(self, input: Tensor) -> Tensor:
        """Apply it."""
        return F.logsigmoid(input)


class Softsign(Module):
    """x / (1 + abs(x)).

    Examples
    --------
    >>> import cnnfast
    >>> print(cnnfast.nn.Softsign()(cnnfast.tensor([-1.0, 3.0])).numpy().round(4))
    [-0.5   0.75]
    """

    def forward(self, input: Tensor) -> Tensor:
        """Apply it."""
        return F.softsign(input)


class Softmax(Module):
    """exp(x) divided by its sum along `dim`.

    Examples
    --------
    >>> import cnnfast
    >>> float(cnnfast.nn.Softmax(dim=1)(cnnfast.zeros(1, 4))[0, 0])
    0.25
    """

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        """Apply it."""
        return F.softmax(input, self.dim)

    def extra_repr(self) -> str:
        """Return the axis."""
        return f"dim={self.dim}"


class LogSoftmax(Softmax):
    """The logarithm of the softmax along `dim`, without underflow.

    Examples
    --------
    >>> import cnnfast
    >>> round(float(cnnfast.nn.LogSoftmax(dim=1)(cnnfast.zeros(1, 4))[0, 0]), 4)
    -1.3863
    """

    def forward(self, input: Tensor) -> Tensor:
        """Apply it."""
        return F.log_softmax(input, self.dim)
