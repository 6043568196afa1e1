"""Normalisation: each function is the standard's operator of its name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ... import axes as rules
from ... import functional as F
from ...errors import UnsupportedOperatorError
from .elementwise import in_float32, narrow_float
from .registry import operator
from .values import Value, array, is_tensor

Ints = Sequence[int]


def _per_channel(vector: Any, ndim: int) -> Any:
    """Return (C,) so that it broadcasts along axis 1."""
    return vector.reshape((-1,) + (1,) * (ndim - 2)) if ndim > 2 else vector


@operator()
@in_float32
def BatchNormalization(
    x: Value, scale: Value, bias: Value, mean: Value, var: Value,
    *, epsilon: float = 1e-5, momentum: float = 0.9, spatial: int = 1, training_mode: int = 0,
    is_test: int = 1, outputs: int,
) -> Any:
    """Normalise by the given statistics; by the batch's own in `training_mode` (opset 14)."""
    if not spatial:
        raise UnsupportedOperatorError("BatchNormalization with spatial=0 is not available")
    operands = (x, scale, bias, mean, var)
    if training_mode:
        return _by_batch([array(v) for v in operands], epsilon, momentum)[:outputs]
    if all(map(is_tensor, operands)):
        if x.ndim <= 4:
            return F.batch_norm(x, mean, var, scale, bias, eps=epsilon)
        flat = x.reshape((*x.shape[:2], -1))
        return F.batch_norm(flat, mean, var, scale, bias, eps=epsilon).reshape(x.shape)
    x, *vectors = map(array, operands)
    return _normalised(x, vectors, epsilon)


def _normalised(x: Any, vectors: list[Any], epsilon: float) -> Any:
    scale, bias, mean, var = (_per_channel(v, x.ndim) for v in vectors)
    wide = x.astype(np.float64)
    return ((wide - mean) / np.sqrt(var + epsilon) * scale + bias).astype(x.dtype)


def _by_batch(operands: list[Any], epsilon: float, momentum: float) -> tuple[Any, ...]:
    x, scale, bias, mean, var = operands
    axes = (0, *range(2, x.ndim))
    own_mean, own_var = x.mean(axes, dtype=np.float64), x.var(axes, dtype=np.float64)
    y = _normalised(x, [scale, bias, own_mean, own_var], epsilon)
    running = [
        (old * momentum + new * (1 - momentum)).astype(old.dtype)
        for old, new in ((mean, own_mean), (var, own_var))
    ]
    return (y, *running)


@operator()
@in_float32
def InstanceNormalization(
    x: Value, scale: Value, bias: Value, *, epsilon: float = 1e-5
) -> Value:
    """Normalise each channel of each sample by its own mean and variance."""
    return _by_groups(x, x.shape[1], scale, bias, epsilon)


@operator()
def GroupNormalization(
    x: Value, scale: Value, bias: Value,
    *, epsilon: float = 1e-5, num_groups: int, stash_type: int = 1, opset: int,
) -> Value:
    """Scale and bias are one a group before opset 21, one a channel since then."""
    if opset < 21 and scale.shape[0] == num_groups:
        each = x.shape[1] // num_groups
        scale, bias = (_repeated(v, each) for v in (scale, bias))
    return _by_groups(x, num_groups, scale, bias, epsilon)


def _repeated(vector: Value, times: int) -> Value:
    """Return each element `times` times in a row."""
    wide = vector.reshape((-1, 1))
    if is_tensor(vector):
        return F.expand(wide, (-1, times)).reshape((-1,))
    return np.repeat(vector, times)


def _by_groups(x: Value, groups: int, scale: Value, bias: Value, epsilon: float) -> Value:
    if is_tensor(x) and is_tensor(scale) and is_tensor(bias) and x.size(0):
        flat = x if x.ndim <= 4 else x.reshape((*x.shape[:2], -1))
        if math.prod(flat.shape[1:]) > groups:  # a group of one value is left to NumPy
            return F.group_norm(flat, groups, scale, bias, epsilon).reshape(x.shape)
    if 0 in x.shape:
        return x
    x, scale, bias = array(x), array(scale), array(bias)
    cut = x.reshape(x.shape[0], groups, -1).astype(np.float64)
    mean, var = cut.mean(2, keepdims=True), cut.var(2, keepdims=True)
    y = ((cut - mean) / np.sqrt(var + epsilon)).reshape(x.shape)
    return (y * _per_channel(scale, x.ndim) + _per_channel(bias, x.ndim)).astype(x.dtype)


@operator()
def LayerNormalization(
    x: Value, scale: Value, bias: Value = None,
    *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1, outputs: int,
) -> Any:
    """Normalise over the axes from `axis` on; also return mean and 1 / deviation if wanted."""
    at = rules.axis(x.ndim, axis)
    last = tuple(x.shape[at:])
    fits = tuple(scale.shape) == last and (bias is None or tuple(bias.shape) == last)
    if outputs == 1 and fits and all(is_tensor(v) for v in (x, scale) if v is not None):
        return F.layer_norm(x, last, scale, bias, epsilon)
    x, scale, bias = array(x), array(scale), array(bias)
    axes = tuple(range(at, x.ndim))
    wide = x.astype(np.float64)
    mean = wide.mean(axes, keepdims=True)
    inverse = 1 / np.sqrt(wide.var(axes, keepdims=True) + epsilon)
    y = (wide - mean) * inverse * scale
    stash = x.dtype if not narrow_float(x.dtype) else np.dtype(np.float32)
    y = y if bias is None else y + bias
    return y.astype(x.dtype), mean.astype(stash), inverse.astype(stash)


@operator()
def RMSNormalization(
    x: Value, scale: Value, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> Value:
    """Divide by the root of the mean square over the axes from `axis` on."""
    axes = tuple(range(rules.axis(x.ndim, axis), x.ndim))
    if is_tensor(x) and is_tensor(scale):
        size = F.sqrt(F.add(F.mean(F.square(x), axes, True), epsilon))
        return F.mul(F.div(x, size), scale)
    wide = array(x).astype(np.float64)
    root = np.sqrt(np.square(wide).mean(axes, keepdims=True) + epsilon)
    return (wide / root * array(scale)).astype(scale.dtype)


@operator()
def MeanVarianceNormalization(x: Value, *, axes: Ints = (0, 2, 3)) -> Value:
    over = tuple(axes)
    if is_tensor(x):
        centred = F.sub(x, F.mean(x, over, True))
        deviation = F.sqrt(F.mean(F.square(centred), over, True))
        return F.div(centred, F.add(deviation, 1e-9))
    wide = x.astype(np.float64)
    centred = wide - wide.mean(over, keepdims=True)
    return (centred / (wide.std(over, keepdims=True) + 1e-9)).astype(x.dtype)


@operator()
def LpNormalization(x: Value, *, axis: int = -1, p: int = 2) -> Value:
    """Divide by the p-norm along an axis; where that is 0 the result is 0."""
    x = array(x)
    wide = x.astype(np.float64)
    size = (np.abs(wide) ** p).sum(axis, keepdims=True) ** (1 / p)
    return np.where(size == 0, 0, wide / size).astype(x.dtype)


@operator()
def LRN(
    x: Value, *, size: int, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0
) -> Value:
    if is_tensor(x) and size % 2:
        return F.local_response_norm(x, size, alpha, beta, bias)
    x = array(x)
    square = np.square(x.astype(np.float64))
    before, after = (size - 1) // 2, size // 2
    total = np.zeros_like(square)
    for channel in range(x.shape[1]):
        first, last = max(channel - before, 0), channel + after + 1
        total[:, channel] = square[:, first:last].sum(1)
    return (x / (bias + alpha / size * total) ** beta).astype(x.dtype)
