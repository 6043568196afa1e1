"""Activations, softmax and dropout: shape in, shape out.

Gradients are the analytic derivatives; where one does not exist the branch is torch's: relu,
leaky_relu and prelu take the left side at 0, hardtanh, relu6 and hardsigmoid have none at
their corners.
"""

from __future__ import annotations

import math

import numpy as np

from .arrays import Array, in_double
from .elementwise import erfc

# Klambauer et al. 2017, "Self-Normalizing Neural Networks": the fixed point (0, 1) of mean and
# variance; digits as in torch.
SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946
# Hendrycks and Gimpel 2016, "Gaussian Error Linear Units": the cubic term of the approximation.
GELU_CUBIC = 0.044715


@in_double
def relu(x: Array) -> Array:
    """max(x, 0)."""
    return np.maximum(x, 0)


@in_double
def relu_backward(dy: Array, x: Array) -> Array:
    """dy where x > 0."""
    return np.where(x > 0, dy, 0.0)


@in_double
def hardtanh(x: Array, min_val: float = -1.0, max_val: float = 1.0) -> Array:
    """x limited to [min_val, max_val]."""
    return np.clip(x, min_val, max_val)


@in_double
def hardtanh_backward(dy: Array, x: Array, min_val: float = -1.0, max_val: float = 1.0) -> Array:
    """dy where min_val < x < max_val (bounds excluded)."""
    return np.where((x > min_val) & (x < max_val), dy, 0.0)


def relu6(x: Array) -> Array:
    """x limited to [0, 6]."""
    return hardtanh(x, 0.0, 6.0)


def relu6_backward(dy: Array, x: Array) -> Array:
    """dy where 0 < x < 6."""
    return hardtanh_backward(dy, x, 0.0, 6.0)


@in_double
def leaky_relu(x: Array, negative_slope: float = 0.01) -> Array:
    """x where x > 0, else negative_slope * x."""
    return np.where(x > 0, x, negative_slope * x)


@in_double
def leaky_relu_backward(dy: Array, x: Array, negative_slope: float = 0.01) -> Array:
    """dy where x > 0, else negative_slope * dy."""
    return np.where(x > 0, dy, negative_slope * dy)


def _channel_slope(x: Array, w: Array) -> Array:
    """PReLU's w (1,) or (C,), shaped to multiply along axis 1 of x."""
    return w.reshape(-1, *[1] * (x.ndim - 2)) if w.size > 1 else w.reshape(())


@in_double
def prelu(x: Array, w: Array) -> Array:
    """x where x > 0, else w * x: w (1,), or (C,) along axis 1."""
    return np.where(x > 0, x, _channel_slope(x, w) * x)


@in_double
def prelu_backward(dy: Array, x: Array, w: Array) -> tuple[Array, Array]:
    """(dx, dw): dw sums dy * x over the negative elements (of each channel)."""
    dx = np.where(x > 0, dy, _channel_slope(x, w) * dy)
    axes = tuple(i for i in range(x.ndim) if i != 1 or w.size == 1)
    return dx, np.where(x > 0, 0.0, dy * x).sum(axis=axes).reshape(w.shape)


@in_double
def elu(x: Array, alpha: float = 1.0) -> Array:
    """x where x > 0, else alpha * (exp(x) - 1)."""
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


@in_double
def elu_backward(dy: Array, x: Array, alpha: float = 1.0) -> Array:
    """dy where x > 0, else dy * alpha * exp(x)."""
    return np.where(x > 0, dy, dy * alpha * np.exp(np.minimum(x, 0)))


def selu(x: Array) -> Array:
    """scale * elu(x, alpha) with the two constants of the paper."""
    return SELU_SCALE * elu(x, SELU_ALPHA)


def selu_backward(dy: Array, x: Array) -> Array:
    """scale * the gradient of elu."""
    return SELU_SCALE * elu_backward(dy, x, SELU_ALPHA)


@in_double
def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), without overflow."""
    return np.exp(-np.logaddexp(0, -x))


@in_double
def sigmoid_backward(dy: Array, x: Array) -> Array:
    """dy * s(x) * s(-x)."""
    return dy * sigmoid(x) * sigmoid(-x)


@in_double
def tanh(x: Array) -> Array:
    """Hyperbolic tangent."""
    return np.tanh(x)


@in_double
def tanh_backward(dy: Array, x: Array) -> Array:
    """dy / cosh(x)**2 = 4 dy s(2x) s(-2x)."""
    return 4 * sigmoid_backward(dy, 2 * x)


@in_double
def gelu(x: Array, approximate: str = "none") -> Array:
    """x * Phi(x), Phi exact or ("tanh") 0.5 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x**3)))."""
    if approximate == "none":
        return x * erfc(-x / math.sqrt(2)) / 2
    return x * sigmoid(2 * math.sqrt(2 / math.pi) * (x + GELU_CUBIC * x**3))


@in_double
def gelu_backward(dy: Array, x: Array, approximate: str = "none") -> Array:
    """dy * (Phi(x) + x * Phi'(x))."""
    if approximate == "none":
        density = np.exp(-x * x / 2) / math.sqrt(2 * math.pi)
        return dy * (erfc(-x / math.sqrt(2)) / 2 + x * density)
    scale = 2 * math.sqrt(2 / math.pi)
    inner = scale * (x + GELU_CUBIC * x**3)
    slope = scale * (1 + 3 * GELU_CUBIC * x * x)
    return dy * (sigmoid(inner) + x * sigmoid(inner) * sigmoid(-inner) * slope)


@in_double
def silu(x: Array) -> Array:
    """x * sigmoid(x)."""
    return x * sigmoid(x)


@in_double
def silu_backward(dy: Array, x: Array) -> Array:
    """dy * s(x) * (1 + x * s(-x))."""
    return dy * sigmoid(x) * (1 + x * sigmoid(-x))


@in_double
def softplus(x: Array, beta: float = 1.0, threshold: float = 20.0) -> Array:
    """log(1 + exp(beta * x)) / beta, and x itself where beta * x > threshold."""
    return np.where(beta * x > threshold, x, np.logaddexp(0, beta * x) / beta)


@in_double
def softplus_backward(dy: Array, x: Array, beta: float = 1.0, threshold: float = 20.0) -> Array:
    """dy * sigmoid(beta * x), and dy where beta * x > threshold."""
    return np.where(beta * x > threshold, dy, dy * sigmoid(beta * x))


@in_double
def mish(x: Array) -> Array:
    """x * tanh(log(1 + exp(x)))."""
    return x * np.tanh(np.logaddexp(0, x))


@in_double
def mish_backward(dy: Array, x: Array) -> Array:
    """dy * (t + x * (1 - t**2) * sigmoid(x)), t = tanh(softplus(x))."""
    soft = np.logaddexp(0, x)
    return dy * (np.tanh(soft) + x * tanh_backward(np.ones(()), soft) * sigmoid(x))


@in_double
def hardsigmoid(x: Array) -> Array:
    """x / 6 + 1/2 limited to [0, 1]."""
    return np.clip(x + 3, 0, 6) / 6


@in_double
def hardsigmoid_backward(dy: Array, x: Array) -> Array:
    """dy / 6 where -3 < x < 3."""
    return np.where((x > -3) & (x < 3), dy / 6, 0.0)


@in_double
def hardswish(x: Array) -> Array:
    """x * hardsigmoid(x)."""
    return x * np.clip(x + 3, 0, 6) / 6


@in_double
def hardswish_backward(dy: Array, x: Array) -> Array:
    """0 where x <= -3, dy where x >= 3, dy * (x / 3 + 1/2) between."""
    return np.where(x <= -3, 0.0, np.where(x >= 3, dy, dy * (x / 3 + 0.5)))


@in_double
def log_sigmoid(x: Array) -> Array:
    """log(sigmoid(x)) = -log(1 + exp(-x))."""
    return -np.logaddexp(0, -x)


@in_double
def log_sigmoid_backward(dy: Array, x: Array) -> Array:
    """dy * sigmoid(-x)."""
    return dy * sigmoid(-x)


@in_double
def softsign(x: Array) -> Array:
    """x / (1 + |x|)."""
    return x / (1 + np.abs(x))


@in_double
def softsign_backward(dy: Array, x: Array) -> Array:
    """dy / (1 + |x|)**2."""
    return dy / (1 + np.abs(x)) ** 2


@in_double
def log_softmax(x: Array, dim: int = -1) -> Array:
    """x - log(sum(exp(x))) along `dim`."""
    shifted = x - x.max(axis=dim, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=dim, keepdims=True))


@in_double
def log_softmax_backward(dy: Array, x: Array, dim: int = -1) -> Array:
    """dy - softmax(x) * sum(dy) along `dim`."""
    return dy - softmax(x, dim) * dy.sum(axis=dim, keepdims=True)


@in_double
def softmax(x: Array, dim: int = -1) -> Array:
    """exp(x) / sum(exp(x)) along `dim`."""
    return np.exp(log_softmax(x, dim))


@in_double
def softmax_backward(dy: Array, x: Array, dim: int = -1) -> Array:
    """y * (dy - sum(dy * y)) along `dim`, y = softmax(x)."""
    y = softmax(x, dim)
    return y * (dy - (dy * y).sum(axis=dim, keepdims=True))


@in_double
def dropout(x: Array, mask: Array, p: float = 0.5) -> Array:
    """x / (1 - p) where mask is 1, else 0; a mask (N, C, 1, 1) drops whole channels."""
    return x * mask / (1 - p) if p < 1 else np.zeros_like(x)


@in_double
def dropout_backward(dy: Array, x: Array, mask: Array, p: float = 0.5) -> Array:
    """dy / (1 - p) where mask is 1, else 0."""
    return dropout(dy, mask, p)
