"""Initialisation: fills a Tensor in place with values drawn as torch.nn.init draws them.

The random numbers come from `cnnfast.random`, or from a `numpy.random.Generator` passed as
`generator`. Every function returns the Tensor it filled. Called by the layers' `reset_parameters`
and by `cnnfast.models`.
"""

from __future__ import annotations

import math
import warnings

import numpy as np

from .. import random
from ..autograd import no_grad
from ..tensor import Tensor

__all__ = [
    "calculate_fan_in_and_fan_out",
    "calculate_gain",
    "constant_",
    "dirac_",
    "eye_",
    "kaiming_normal_",
    "kaiming_uniform_",
    "normal_",
    "ones_",
    "orthogonal_",
    "trunc_normal_",
    "uniform_",
    "xavier_normal_",
    "xavier_uniform_",
    "zeros_",
]

_LINEAR = ("linear", "conv1d", "conv2d", "conv_transpose1d", "conv_transpose2d", "sigmoid")


def _fill(tensor: Tensor, values: np.ndarray | float) -> Tensor:
    with no_grad():
        tensor.copy_(values)
    return tensor


def _moved(values: np.ndarray, scale: float, shift: float) -> np.ndarray:
    """Return ``values * scale + shift``, in place; a scalar draw is no array yet."""
    values = np.asarray(values)
    values *= np.float32(scale)
    values += np.float32(shift)
    return values


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """Return by how much the weights before an activation are enlarged.

    Parameters
    ----------
    nonlinearity : str
        "linear", "conv1d", ..., "sigmoid" (all 1), "tanh" (5/3), "relu" (sqrt 2),
        "leaky_relu" (sqrt(2 / (1 + slope**2))) or "selu" (3/4).
    param : float, optional
        The slope of leaky_relu; default 0.01.

    Raises
    ------
    ValueError
        The activation is another one, or the slope is not a number.

    Examples
    --------
    >>> calculate_gain("leaky_relu", 0.0) == calculate_gain("relu")
    True
    """
    if nonlinearity in _LINEAR:
        return 1.0
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        if isinstance(slope, bool) or not isinstance(slope, (int, float)):
            raise ValueError(f"negative_slope {param!r} is not a valid number")
        return math.sqrt(2.0 / (1 + slope**2))
    gains = {"tanh": 5.0 / 3, "relu": math.sqrt(2.0), "selu": 3.0 / 4}
    if nonlinearity not in gains:
        known = ", ".join((*_LINEAR, "leaky_relu", *gains))
        raise ValueError(f"Unsupported nonlinearity {nonlinearity!r}; known are {known}")
    return gains[nonlinearity]


def calculate_fan_in_and_fan_out(tensor: Tensor) -> tuple[int, int]:
    """Return how many inputs an output of this weight has, and how many outputs an input.

    Parameters
    ----------
    tensor : Tensor of shape (out, in, ...)

    Raises
    ------
    ValueError
        The Tensor has fewer than 2 axes.

    Examples
    --------
    >>> from cnnfast import nn
    >>> calculate_fan_in_and_fan_out(nn.Conv2d(3, 8, 5).weight)
    (75, 200)
    """
    if tensor.ndim < 2:
        raise ValueError(
            "Fan in and fan out can not be computed for a tensor with fewer than 2 dimensions, "
            f"got shape {tuple(tensor.shape)}"
        )
    field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * field, tensor.shape[0] * field


# torch's name of it, which code written for torch calls though it is private there.
_calculate_fan_in_and_fan_out = calculate_fan_in_and_fan_out


def uniform_(
    tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: np.random.Generator | None = None
) -> Tensor:
    """Fill with values uniform in [a, b).

    Examples
    --------
    >>> import cnnfast
    >>> x = uniform_(cnnfast.empty(100), -2.0, 3.0).numpy()
    >>> bool(x.min() >= -2 and x.max() <= 3)
    True
    """
    values = (generator or random.generator()).random(tensor.shape, dtype=np.float32)
    return _fill(tensor, _moved(values, b - a, a))


def normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    generator: np.random.Generator | None = None,
) -> Tensor:
    """Fill with values of the normal distribution.

    Examples
    --------
    >>> import cnnfast
    >>> normal_(cnnfast.empty(2, 3), std=0.02).shape
    (2, 3)
    """
    values = (generator or random.generator()).standard_normal(tensor.shape, dtype=np.float32)
    return _fill(tensor, _moved(values, std, mean))


def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: np.random.Generator | None = None,
) -> Tensor:
    """Fill with values of the normal distribution that lie in [a, b].

    Parameters
    ----------
    tensor : Tensor
    mean, std : float
        Of the distribution before it is cut.
    a, b : float
        The bounds, as values, not in units of `std`.
    generator : numpy.random.Generator, optional

    Raises
    ------
    ValueError
        `std` is not positive or `a` is not below `b`.

    Examples
    --------
    >>> import cnnfast
    >>> x = trunc_normal_(cnnfast.empty(100), std=2.0, a=-1.0, b=1.0).numpy()
    >>> bool(abs(x).max() <= 1)
    True
    """
    if std <= 0 or a >= b:
        raise ValueError(f"trunc_normal_ needs std > 0 and a < b, got std={std}, a={a}, b={b}")
    # The inverse of the cumulative distribution, tabulated where the density counts: within 8
    # std of the likeliest value it falls by e**-32. Never rejects, however far the interval is.
    likeliest = min(max(mean, a), b)
    grid = np.linspace(max(a, likeliest - 8 * std), min(b, likeliest + 8 * std), 2**14 + 1)
    exponent = -0.5 * ((grid - mean) / std) ** 2
    density = np.exp(exponent - exponent.max())
    cumulative = np.concatenate(([0.0], np.cumsum(density[1:] + density[:-1])))
    draws = (generator or random.generator()).random(tensor.shape)
    values = np.interp(draws * cumulative[-1], cumulative, grid).astype(np.float32)
    return _fill(tensor, np.clip(values, np.float32(a), np.float32(b)))


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill with `val`.

    Examples
    --------
    >>> import cnnfast
    >>> constant_(cnnfast.empty(2), 0.5).numpy().tolist()
    [0.5, 0.5]
    """
    return _fill(tensor, val)


def ones_(tensor: Tensor) -> Tensor:
    """Fill with 1."""
    return constant_(tensor, 1)


def zeros_(tensor: Tensor) -> Tensor:
    """Fill with 0."""
    return constant_(tensor, 0)


def eye_(tensor: Tensor) -> Tensor:
    """Fill a matrix with the identity.

    Raises
    ------
    ValueError
        The Tensor has not 2 axes.

    Examples
    --------
    >>> import cnnfast
    >>> eye_(cnnfast.empty(2, 3)).numpy().tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    """
    if tensor.ndim != 2:
        raise ValueError(f"eye_ fills tensors of 2 dimensions, got shape {tuple(tensor.shape)}")
    return _fill(tensor, np.eye(*tensor.shape, dtype=np.float32))


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """Fill a convolution's weight so that it passes as many channels as it can unchanged.

    Raises
    ------
    ValueError
        The Tensor has not 3 or 4 axes, or `groups` does not divide its outputs.

    Examples
    --------
    >>> from cnnfast import nn
    >>> float(dirac_(nn.Conv2d(2, 2, 3).weight)[1, 1, 1, 1])
    1.0
    """
    if tensor.ndim not in (3, 4):
        raise ValueError(f"dirac_ fills tensors of 3 or 4 dimensions, got {tuple(tensor.shape)}")
    outputs, inputs, *kernel = tensor.shape
    if groups <= 0 or outputs % groups:
        raise ValueError(f"dim 0 ({outputs}) must be divisible by groups ({groups})")
    values = np.zeros(tensor.shape, np.float32)
    centre = tuple(size // 2 for size in kernel)
    for output in range(outputs):
        channel = output % (outputs // groups)
        if channel < inputs:
            values[(output, channel, *centre)] = 1
    return _fill(tensor, values)


def xavier_uniform_(
    tensor: Tensor, gain: float = 1.0, generator: np.random.Generator | None = None
) -> Tensor:
    """Fill uniformly within ``gain * sqrt(6 / (fan_in + fan_out))``.

    Source: Glorot and Bengio, Understanding the Difficulty of Training, AISTATS 2010.

    Examples
    --------
    >>> from cnnfast import nn
    >>> bool(abs(xavier_uniform_(nn.Linear(3, 3).weight).detach().numpy()).max() <= 1)
    True
    """
    bound = gain * math.sqrt(6.0 / sum(calculate_fan_in_and_fan_out(tensor)))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(
    tensor: Tensor, gain: float = 1.0, generator: np.random.Generator | None = None
) -> Tensor:
    """Fill from the normal distribution of std ``gain * sqrt(2 / (fan_in + fan_out))``.

    Source: Glorot and Bengio, Understanding the Difficulty of Training, AISTATS 2010.
    """
    std = gain * math.sqrt(2.0 / sum(calculate_fan_in_and_fan_out(tensor)))
    return normal_(tensor, 0.0, std, generator)


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float | None:
    """Return gain / sqrt(fan), or None for an empty tensor."""
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"Mode {mode!r} not supported, please use 'fan_in' or 'fan_out'")
    if 0 in tensor.shape:
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=3)
        return None
    fan = calculate_fan_in_and_fan_out(tensor)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(fan)


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: np.random.Generator | None = None,
) -> Tensor:
    """Fill uniformly within ``gain * sqrt(3 / fan)``.

    Parameters
    ----------
    tensor : Tensor of shape (out, in, ...)
    a : float
        The slope, for "leaky_relu".
    mode : {"fan_in", "fan_out"}
        Which of both keeps its variance: the activations' or the gradients'.
    nonlinearity : str
        See `calculate_gain`.
    generator : numpy.random.Generator, optional

    Notes
    -----
    Source: He et al., Delving Deep into Rectifiers, ICCV 2015.

    Examples
    --------
    >>> from cnnfast import nn
    >>> kaiming_uniform_(nn.Linear(3, 2).weight, nonlinearity="relu").shape
    (2, 3)
    """
    std = _kaiming_std(tensor, a, mode, nonlinearity)
    if std is None:
        return tensor
    bound = math.sqrt(3.0) * std
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: np.random.Generator | None = None,
) -> Tensor:
    """Fill from the normal distribution of std ``gain / sqrt(fan)``; see `kaiming_uniform_`.

    Source: He et al., Delving Deep into Rectifiers, ICCV 2015.
    """
    std = _kaiming_std(tensor, a, mode, nonlinearity)
    return tensor if std is None else normal_(tensor, 0.0, std, generator)


def orthogonal_(
    tensor: Tensor, gain: float = 1, generator: np.random.Generator | None = None
) -> Tensor:
    """Fill with `gain` times a random (semi-)orthogonal matrix, all axes but the first as one.

    Source: Saxe et al., Exact Solutions to the Nonlinear Dynamics of Learning, ICLR 2014.

    Raises
    ------
    ValueError
        The Tensor has fewer than 2 axes.

    Examples
    --------
    >>> from cnnfast import nn
    >>> w = orthogonal_(nn.Linear(5, 3).weight).detach().numpy()
    >>> bool(abs(w @ w.T - [[1, 0, 0], [0, 1, 0], [0, 0, 1]]).max() < 1e-5)
    True
    """
    if tensor.ndim < 2:
        raise ValueError(f"orthogonal_ needs 2 or more dimensions, got {tuple(tensor.shape)}")
    if 0 in tensor.shape:
        return tensor
    rows, columns = tensor.shape[0], math.prod(tensor.shape[1:])
    draws = (generator or random.generator()).standard_normal((rows, columns))
    q, r = np.linalg.qr(draws if rows >= columns else draws.T)
    q = q * np.sign(np.diag(r))  # makes the distribution uniform over orthogonal matrices
    values = gain * (q if rows >= columns else q.T)
    return _fill(tensor, values.reshape(tensor.shape).astype(np.float32))
