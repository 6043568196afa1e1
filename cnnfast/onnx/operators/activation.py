"""The standard's activation functions: each function is the operator of its name.

On float32 they are those of `cnnfast.functional`; on other types, formulas in NumPy.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ... import functional as F
from ...functional.elementwise import apply_unary
from .arithmetic import _erf
from .elementwise import lined_up, unary
from .registry import operator
from .values import Value, array, is_tensor, scalar


@operator()
def Relu(x: Value) -> Value:
    return unary(x, F.relu, lambda x: np.maximum(x, 0))


@operator()
def LeakyRelu(x: Value, *, alpha: float = 0.01) -> Value:
    return unary(
        x, lambda x: F.leaky_relu(x, alpha), lambda x: np.where(x < 0, alpha * x, x)
    )


@operator()
def PRelu(x: Value, slope: Value, *, opset: int) -> Value:
    """A slope of one axis counted channels before opset 7; since then it broadcasts."""
    if opset < 7 and slope.ndim == 1 and slope.shape[0] > 1:
        slope = lined_up(x, slope, 1)
    if not is_tensor(x):
        return np.where(x < 0, array(slope) * x, x)
    channels = x.shape[1] if x.ndim > 1 else 1
    wide = (1,) * (x.ndim - slope.ndim) + tuple(slope.shape)
    if math.prod(wide) == 1 or wide == (1, channels) + (1,) * (x.ndim - 2):
        return F.prelu(x, slope.reshape((math.prod(wide),)))
    return F.add(F.relu(x), F.mul(slope, F.minimum(x, 0.0)))


@operator()
def Sigmoid(x: Value) -> Value:
    return unary(x, F.sigmoid, lambda x: 1 / (1 + np.exp(-x)))


@operator()
def Tanh(x: Value) -> Value:
    return unary(x, F.tanh, np.tanh)


@operator()
def HardSigmoid(
    x: Value, *, alpha: float = 0.2, beta: float = 0.5
) -> Value:
    if is_tensor(x) and math.isclose(alpha, 1 / 6, rel_tol=1e-6) and beta == 0.5:
        return F.hardsigmoid(x)
    return unary(
        x,
        lambda x: F.clamp(apply_unary("affine", x, alpha, beta), 0.0, 1.0),
        lambda x: np.clip(alpha * x + beta, 0, 1),
    )


@operator()
def HardSwish(x: Value) -> Value:
    return unary(x, F.hardswish, lambda x: x * np.clip(x / 6 + 0.5, 0, 1))


@operator()
def Swish(x: Value, *, alpha: float = 1.0) -> Value:
    def engine(x: Value) -> Value:
        return F.silu(x) if alpha == 1 else F.mul(x, F.sigmoid(F.mul(x, alpha)))

    return unary(x, engine, lambda x: x / (1 + np.exp(-alpha * x)))


@operator()
def Gelu(x: Value, *, approximate: str = "none") -> Value:
    def numbers(x: np.ndarray) -> np.ndarray:
        if approximate == "tanh":
            return x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
        return x / 2 * (1 + _erf(x / math.sqrt(2)))

    return unary(x, lambda x: F.gelu(x, approximate), numbers)


@operator()
def Mish(x: Value) -> Value:
    return unary(x, F.mish, lambda x: x * np.tanh(np.logaddexp(0, x)))


@operator()
def Elu(x: Value, *, alpha: float = 1.0) -> Value:
    return unary(
        x, lambda x: F.elu(x, alpha), lambda x: np.where(x < 0, alpha * np.expm1(x), x)
    )


@operator()
def Celu(x: Value, *, alpha: float = 1.0) -> Value:
    return unary(
        x, lambda x: F.celu(x, alpha), lambda x: np.where(x < 0, alpha * np.expm1(x / alpha), x)
    )


@operator()
def Selu(
    x: Value,
    *,
    alpha: float = 1.67326319217681884765625,  # the standard's defaults, float32's nearest
    gamma: float = 1.05070102214813232421875,
) -> Value:
    return unary(
        x,
        lambda x: F.mul(F.elu(x, alpha), gamma),
        lambda x: gamma * np.where(x < 0, alpha * np.expm1(x), x),
    )


@operator()
def Softplus(x: Value) -> Value:
    return unary(x, F.softplus, lambda x: np.logaddexp(0, x))


@operator()
def Softsign(x: Value) -> Value:
    return unary(x, F.softsign, lambda x: x / (1 + np.abs(x)))


@operator()
def ThresholdedRelu(x: Value, *, alpha: float = 1.0) -> Value:
    return unary(
        x, lambda x: F.threshold(x, alpha, 0.0), lambda x: np.where(x > alpha, x, 0)
    )


@operator(host=True)
def Shrink(x: np.ndarray, *, bias: float = 0.0, lambd: float = 0.5) -> np.ndarray:
    moved = np.where(x < -lambd, x + bias, np.where(x > lambd, x - bias, 0))
    return moved.astype(x.dtype)


def _softmax_axes(x: Value, axis: int | None, opset: int) -> tuple[tuple[int, ...], int]:
    """Return the shape to compute in and the axis: before opset 13 all axes from `axis` on."""
    if opset >= 13:
        return tuple(x.shape), -1 if axis is None else axis
    at = (1 if axis is None else axis) % max(x.ndim, 1)
    return (math.prod(x.shape[:at]), math.prod(x.shape[at:])), 1


def _exp_normalised(x: np.ndarray, axis: int) -> np.ndarray:
    """Return the softmax, each step rounded to the type of x as in the standard's reference."""
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


@operator()
def Softmax(x: Value, *, axis: int | None = None, opset: int) -> Value:
    shape, dim = _softmax_axes(x, axis, opset)
    cut = x.reshape(shape)
    y = F.softmax(cut, dim) if is_tensor(x) else _exp_normalised(cut, dim)
    return y.reshape(x.shape)


@operator()
def LogSoftmax(x: Value, *, axis: int | None = None, opset: int) -> Value:
    shape, dim = _softmax_axes(x, axis, opset)
    y = unary(
        x.reshape(shape),
        lambda x: F.log_softmax(x, dim),
        lambda x: np.log(_exp_normalised(x, dim)),
    )
    return y.reshape(x.shape)


@operator(host=True)
def Hardmax(x: np.ndarray, *, axis: int | None = None, opset: int) -> np.ndarray:
    shape, dim = _softmax_axes(x, axis, opset)
    flat = x.reshape(shape)
    y = np.zeros_like(flat)
    np.put_along_axis(y, np.expand_dims(flat.argmax(dim), dim), 1, dim)
    return y.reshape(x.shape)


@operator()
def Dropout(
    x: Value, chosen: Value = None, training: Value = None, /,
    *, ratio: float = 0.5, seed: int = 0, is_test: int = 1,
) -> Any:
    """The input itself unless `training` (opset 12) asks for zeros in its place."""
    mask = np.ones(x.shape, bool)
    rate = ratio if chosen is None else scalar(chosen)
    if training is None or not scalar(training) or rate == 0:
        return x, mask
    mask = np.random.RandomState(seed).uniform(0, 1, x.shape) >= rate
    y = array(x) * (mask / (1 - rate))
    return y.astype(x.dtype), mask
