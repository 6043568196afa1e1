"""Losses: scores (N, C, ...) with targets, or two arrays of one shape.

`reduction` is "mean", "sum" or "none". Every `*_backward` takes the loss's gradient (a number, or
an array for "none") and the forward's arguments, and returns the gradient of the first; that of
the target of mse, l1, smooth_l1 and huber is its negative.
"""

from __future__ import annotations

import numpy as np

from .activation import log_sigmoid, log_softmax, log_softmax_backward, sigmoid
from .arrays import Array, Integers, in_double


def _reduce(loss: Array, reduction: str) -> Array:
    """Every element's loss, their sum or their mean."""
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"reduction must be 'mean', 'sum' or 'none', got {reduction!r}")
    if reduction == "none":
        return loss
    return np.asarray(loss.sum() if reduction == "sum" else loss.mean())


def _spread(dy: Array, size: float, reduction: str) -> Array:
    """The gradient of each element's loss: dy, divided by their number for a mean."""
    with np.errstate(all="ignore"):
        return np.divide(dy, size if reduction == "mean" else 1.0)


def _target_weights(
    x: Array, target: Integers, weight: Array | None, ignore_index: int
) -> tuple[Integers, Array]:
    """(target with ignored labels as 0, each label's class weight or 0), shape of target."""
    valid = target != ignore_index
    classes = np.where(valid, target, 0)
    weights = np.ones(x.shape[_class_axis(x)]) if weight is None else weight
    return classes, valid * weights[classes]


def _class_axis(x: Array) -> int:
    """Axis 1, or 0 for one sample without a batch axis."""
    return 1 if x.ndim > 1 else 0


def _pick(x: Array, classes: Integers) -> Array:
    """x at each target's class, shape of target."""
    axis = _class_axis(x)
    return np.take_along_axis(x, np.expand_dims(classes, axis), axis).squeeze(axis)


def _mean_by_weight(loss: Array, weights: Array, reduction: str) -> Array:
    """As `_reduce`, but a mean divides by the sum of the weights (nan if all are ignored)."""
    if reduction != "mean":
        return _reduce(loss, reduction)
    with np.errstate(all="ignore"):
        return np.asarray(np.sum(loss) / np.sum(weights))


@in_double
def nll_loss(
    x: Array,
    target: Integers,
    weight: Array | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Array:
    """-weight[t] * x[t], x log-probabilities (N, C, ...), t (N, ...); a mean divides by weights."""
    classes, weights = _target_weights(x, target, weight, ignore_index)
    loss = -weights * np.where(target == ignore_index, 0.0, _pick(x, classes))
    return _mean_by_weight(loss, weights, reduction)


@in_double
def nll_loss_backward(
    dy: Array,
    x: Array,
    target: Integers,
    weight: Array | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Array:
    """-weight[t] * dy at each target's class, 0 elsewhere."""
    classes, weights = _target_weights(x, target, weight, ignore_index)
    axis = _class_axis(x)
    share = _spread(dy, float(weights.sum()), reduction)
    share = -weights * np.where(target == ignore_index, 0.0, share)
    dx = np.zeros(x.shape)
    np.put_along_axis(dx, np.expand_dims(classes, axis), np.expand_dims(share, axis), axis)
    return dx


def _class_weights(x: Array, weight: Array | None) -> Array:
    """Class weights shaped to multiply x along its class axis."""
    weights = np.ones(x.shape[_class_axis(x)]) if weight is None else weight
    return weights.reshape(-1, *[1] * max(x.ndim - 2, 0))


@in_double
def cross_entropy(
    x: Array,
    target: Array | Integers,
    weight: Array | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Array:
    """-sum_c weight[c] * q[c] * log_softmax(x)[c], q = (1 - smoothing) * target + smoothing / C.

    target: classes (N, ...) of ints, or probabilities (N, C, ...). A mean divides by the sum of
    the labels' weights, or, for probabilities, by the number of samples and positions.
    """
    axis = _class_axis(x)
    logp, scale = log_softmax(x, axis), _class_weights(x, weight)
    smooth = -(scale * logp).sum(axis=axis) * label_smoothing / x.shape[axis]
    if target.dtype.kind == "f":
        hard = -(scale * target * logp).sum(axis=axis)
        return _reduce((1 - label_smoothing) * hard + smooth, reduction)
    classes, weights = _target_weights(x, np.asarray(target, np.int64), weight, ignore_index)
    loss = (1 - label_smoothing) * -weights * _pick(logp, classes)
    loss = np.where(target == ignore_index, 0.0, loss + smooth)
    return _mean_by_weight(loss, weights, reduction)


@in_double
def cross_entropy_backward(
    dy: Array,
    x: Array,
    target: Array | Integers,
    weight: Array | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Array:
    """-weight * q * dy, sent back through log_softmax."""
    axis = _class_axis(x)
    q = np.full(x.shape, label_smoothing / x.shape[axis])
    if target.dtype.kind == "f":
        q += (1 - label_smoothing) * target
        share = _spread(dy, x.size // x.shape[axis], reduction)
    else:
        labels = np.asarray(target, np.int64)
        classes, weights = _target_weights(x, labels, weight, ignore_index)
        at = np.expand_dims(classes, axis)
        np.put_along_axis(q, at, np.take_along_axis(q, at, axis) + 1 - label_smoothing, axis)
        share = _spread(dy, float(weights.sum()), reduction)
        share = np.where(labels == ignore_index, 0.0, share)
    share = np.expand_dims(np.broadcast_to(share, np.delete(x.shape, axis)), axis)
    return log_softmax_backward(-_class_weights(x, weight) * q * share, x, axis)


@in_double
def mse_loss(x: Array, target: Array, reduction: str = "mean") -> Array:
    """(x - target)**2."""
    return _reduce((x - target) ** 2, reduction)


@in_double
def mse_loss_backward(dy: Array, x: Array, target: Array, reduction: str = "mean") -> Array:
    """2 * (x - target) * dy."""
    return 2 * (x - target) * _spread(dy, x.size, reduction)


@in_double
def l1_loss(x: Array, target: Array, reduction: str = "mean") -> Array:
    """|x - target|."""
    return _reduce(np.abs(x - target), reduction)


@in_double
def l1_loss_backward(dy: Array, x: Array, target: Array, reduction: str = "mean") -> Array:
    """sign(x - target) * dy."""
    return np.sign(x - target) * _spread(dy, x.size, reduction)


@in_double
def huber_loss(x: Array, target: Array, reduction: str = "mean", delta: float = 1.0) -> Array:
    """d**2 / 2 where |d| < delta, else delta * (|d| - delta / 2), d = x - target."""
    far = np.abs(x - target)
    return _reduce(np.where(far < delta, far**2 / 2, delta * (far - delta / 2)), reduction)


@in_double
def huber_loss_backward(
    dy: Array, x: Array, target: Array, reduction: str = "mean", delta: float = 1.0
) -> Array:
    """d limited to [-delta, delta], times dy."""
    return np.clip(x - target, -delta, delta) * _spread(dy, x.size, reduction)


def smooth_l1_loss(x: Array, target: Array, reduction: str = "mean", beta: float = 1.0) -> Array:
    """huber_loss / beta; l1_loss if beta is 0."""
    if beta == 0:
        return l1_loss(x, target, reduction)
    return huber_loss(x, target, reduction, beta) / beta


def smooth_l1_loss_backward(
    dy: Array, x: Array, target: Array, reduction: str = "mean", beta: float = 1.0
) -> Array:
    """The gradient of huber_loss / beta; that of l1_loss if beta is 0."""
    if beta == 0:
        return l1_loss_backward(dy, x, target, reduction)
    return huber_loss_backward(dy, x, target, reduction, beta) / beta


@in_double
def binary_cross_entropy(
    x: Array, target: Array, weight: Array | None = None, reduction: str = "mean"
) -> Array:
    """-weight * (t log(x) + (1 - t) log(1 - x)), logarithms at least -100 as in torch."""
    with np.errstate(divide="ignore"):
        yes, no = np.maximum(np.log(x), -100), np.maximum(np.log1p(-x), -100)
    loss = -(target * yes + (1 - target) * no)
    return _reduce(loss if weight is None else weight * loss, reduction)


@in_double
def binary_cross_entropy_backward(
    dy: Array, x: Array, target: Array, weight: Array | None = None, reduction: str = "mean"
) -> Array:
    """weight * (x - t) / (x (1 - x)) * dy, the denominator at least 1e-12 as in torch."""
    slope = (x - target) / np.maximum(x * (1 - x), 1e-12)
    share = _spread(dy, x.size, reduction)
    return slope * share if weight is None else weight * slope * share


@in_double
def binary_cross_entropy_with_logits(
    x: Array,
    target: Array,
    weight: Array | None = None,
    reduction: str = "mean",
    pos_weight: Array | None = None,
) -> Array:
    """-weight * (pos_weight * t * log s(x) + (1 - t) * log s(-x)), s the sigmoid."""
    positive = target if pos_weight is None else pos_weight * target
    loss = -(positive * log_sigmoid(x) + (1 - target) * log_sigmoid(-x))
    return _reduce(loss if weight is None else weight * loss, reduction)


@in_double
def binary_cross_entropy_with_logits_backward(
    dy: Array,
    x: Array,
    target: Array,
    weight: Array | None = None,
    reduction: str = "mean",
    pos_weight: Array | None = None,
) -> Array:
    """weight * ((1 - t) * s(x) - pos_weight * t * s(-x)) * dy."""
    positive = target if pos_weight is None else pos_weight * target
    slope = (1 - target) * sigmoid(x) - positive * sigmoid(-x)
    share = _spread(dy, x.size, reduction)
    return slope * share if weight is None else weight * slope * share
