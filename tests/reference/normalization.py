"""Normalisations: x (N, C, ...), weight and bias (C,), or the normalised shape for layer_norm.

All but local response norm share one step: xhat = (x - mean) / sqrt(var + eps) over some axes
(biased variance), then xhat * weight + bias. Every `*_backward` takes the output's gradient and
the forward's arguments without the bias, and returns (dx, dweight, dbias).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .arrays import Array, in_double

Statistics = tuple[Array, Array | None, Array | None]
Gradients = tuple[Array, Array, Array]


def _standardize(x: Array, axes: tuple[int, ...], eps: float) -> Array:
    """(x - mean) / sqrt(var + eps) over `axes`."""
    return (x - x.mean(axis=axes, keepdims=True)) / _deviation(x, axes, eps)


def _deviation(x: Array, axes: tuple[int, ...], eps: float) -> Array:
    """sqrt(var + eps) over `axes`, with the biased variance."""
    return np.sqrt(x.var(axis=axes, keepdims=True) + eps)


def _standardize_backward(dxhat: Array, x: Array, axes: tuple[int, ...], eps: float) -> Array:
    """(g - mean(g) - xhat * mean(g * xhat)) / deviation."""
    xhat = _standardize(x, axes, eps)
    centred = dxhat - dxhat.mean(axis=axes, keepdims=True)
    along = xhat * (dxhat * xhat).mean(axis=axes, keepdims=True)
    return (centred - along) / _deviation(x, axes, eps)


def _channels(values: Array, ndim: int) -> Array:
    """(C,) shaped to multiply along axis 1 of an array of `ndim` axes."""
    return values.reshape(-1, *[1] * (ndim - 2))


def _affine(xhat: Array, weight: Array | None, bias: Array | None) -> Array:
    """xhat * weight + bias, one of each per channel."""
    if weight is not None:
        xhat = xhat * _channels(weight, xhat.ndim)
    return xhat if bias is None else xhat + _channels(bias, xhat.ndim)


def _channel_sums(dy: Array, xhat: Array) -> tuple[Array, Array]:
    """(dweight, dbias) per channel: sum(dy * xhat) and sum(dy) over all other axes."""
    axes = (0, *range(2, dy.ndim))
    return (dy * xhat).sum(axis=axes), dy.sum(axis=axes)


def _blend(running: Array | None, batch: Array, momentum: float) -> Array | None:
    """(1 - momentum) * running + momentum * batch."""
    return None if running is None else (1 - momentum) * running + momentum * batch


@in_double
def batch_norm(
    x: Array,
    running_mean: Array | None,
    running_var: Array | None,
    weight: Array | None = None,
    bias: Array | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Statistics:
    """(y, running_mean, running_var): the batch's statistics in training, else the running ones.

    y uses the biased variance of each channel; running_var is blended with the unbiased one.
    """
    axes = (0, *range(2, x.ndim))
    if not training:
        assert running_mean is not None and running_var is not None
        centred = x - _channels(running_mean, x.ndim)
        xhat = centred / np.sqrt(_channels(running_var, x.ndim) + eps)
        return _affine(xhat, weight, bias), running_mean, running_var
    count = x.size // x.shape[1]
    unbiased = x.var(axis=axes) * count / max(count - 1, 1)
    mean = _blend(running_mean, x.mean(axis=axes), momentum)
    y = _affine(_standardize(x, axes, eps), weight, bias)
    return y, mean, _blend(running_var, unbiased, momentum)


@in_double
def batch_norm_backward(
    dy: Array,
    x: Array,
    running_mean: Array | None,
    running_var: Array | None,
    weight: Array | None = None,
    training: bool = False,
    eps: float = 1e-5,
) -> Gradients:
    """(dx, dweight, dbias); in evaluation the statistics are constants."""
    axes = (0, *range(2, x.ndim))
    dxhat = _affine(dy, weight, None)
    if training:
        xhat = _standardize(x, axes, eps)
        return _standardize_backward(dxhat, x, axes, eps), *_channel_sums(dy, xhat)
    assert running_mean is not None and running_var is not None
    deviation = np.sqrt(_channels(running_var, x.ndim) + eps)
    xhat = (x - _channels(running_mean, x.ndim)) / deviation
    return dxhat / deviation, *_channel_sums(dy, xhat)


def _grouped(x: Array, groups: int) -> Array:
    """(N, C, ...) -> (N, groups, everything else)."""
    return x.reshape(x.shape[0], groups, int(np.prod(x.shape[1:])) // groups)


@in_double
def group_norm(
    x: Array,
    num_groups: int,
    weight: Array | None = None,
    bias: Array | None = None,
    eps: float = 1e-5,
) -> Array:
    """Standardise each sample's groups of C / num_groups neighbouring channels."""
    xhat = _standardize(_grouped(x, num_groups), (2,), eps).reshape(x.shape)
    return _affine(xhat, weight, bias)


@in_double
def group_norm_backward(
    dy: Array, x: Array, num_groups: int, weight: Array | None = None, eps: float = 1e-5
) -> Gradients:
    """(dx, dweight, dbias)."""
    rows, dxhat = _grouped(x, num_groups), _grouped(_affine(dy, weight, None), num_groups)
    xhat = _standardize(rows, (2,), eps).reshape(x.shape)
    dx = _standardize_backward(dxhat, rows, (2,), eps).reshape(x.shape)
    return dx, *_channel_sums(dy, xhat)


@in_double
def instance_norm(
    x: Array,
    running_mean: Array | None = None,
    running_var: Array | None = None,
    weight: Array | None = None,
    bias: Array | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Statistics:
    """(y, running_mean, running_var): batch norm of each sample by itself.

    The running statistics are blended with the mean over the samples of theirs.
    """
    if not use_input_stats:
        return batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
    axes = tuple(range(2, x.ndim))
    count = int(np.prod(x.shape[2:]))
    unbiased = (x.var(axis=axes) * count / max(count - 1, 1)).mean(axis=0)
    mean = _blend(running_mean, x.mean(axis=(0, *axes)), momentum)
    y = _affine(_standardize(x, axes, eps), weight, bias)
    return y, mean, _blend(running_var, unbiased, momentum)


@in_double
def instance_norm_backward(
    dy: Array,
    x: Array,
    running_mean: Array | None = None,
    running_var: Array | None = None,
    weight: Array | None = None,
    use_input_stats: bool = True,
    eps: float = 1e-5,
) -> Gradients:
    """(dx, dweight, dbias)."""
    if not use_input_stats:
        return batch_norm_backward(dy, x, running_mean, running_var, weight, False, eps)
    axes = tuple(range(2, x.ndim))
    dx = _standardize_backward(_affine(dy, weight, None), x, axes, eps)
    return dx, *_channel_sums(dy, _standardize(x, axes, eps))


@in_double
def layer_norm(
    x: Array,
    normalized_shape: Sequence[int],
    weight: Array | None = None,
    bias: Array | None = None,
    eps: float = 1e-5,
) -> Array:
    """Standardise over the last axes; weight and bias have their shape."""
    axes = tuple(range(x.ndim - len(normalized_shape), x.ndim))
    y = _standardize(x, axes, eps)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


@in_double
def layer_norm_backward(
    dy: Array,
    x: Array,
    normalized_shape: Sequence[int],
    weight: Array | None = None,
    eps: float = 1e-5,
) -> Gradients:
    """(dx, dweight, dbias): the last two summed over the leading axes."""
    axes = tuple(range(x.ndim - len(normalized_shape), x.ndim))
    leading = tuple(range(x.ndim - len(normalized_shape)))
    dxhat = dy if weight is None else dy * weight
    dweight = (dy * _standardize(x, axes, eps)).sum(axis=leading)
    return _standardize_backward(dxhat, x, axes, eps), dweight, dy.sum(axis=leading)


def _neighbours(x: Array, before: int, after: int) -> Array:
    """Sum over channels c - before .. c + after, those outside counting zero."""
    padded = np.pad(x, ((0, 0), (before, after), *[(0, 0)] * (x.ndim - 2)))
    return np.sum([padded[:, i : i + x.shape[1]] for i in range(before + after + 1)], axis=0)


@in_double
def local_response_norm(
    x: Array, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Array:
    """x / (k + alpha * mean of x**2 over `size` channels)**beta, size // 2 of them before."""
    mean = _neighbours(x * x, size // 2, (size - 1) // 2) / size
    return x / (k + alpha * mean) ** beta


@in_double
def local_response_norm_backward(
    dy: Array, x: Array, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Array:
    """dy * s**-beta - 2 alpha beta / size * x * (sum of dy x s**(-beta-1) where x took part)."""
    s = k + alpha * _neighbours(x * x, size // 2, (size - 1) // 2) / size
    through = _neighbours(dy * x * s ** (-beta - 1), (size - 1) // 2, size // 2)
    return dy * s**-beta - 2 * alpha * beta / size * x * through
