"""Losses over classes: each function is the standard's operator of its name, in NumPy.

Scores are (N, C, ...), labels (N, ...).
"""

from __future__ import annotations

import numpy as np

from .registry import operator


def _loss(
    log_probability: np.ndarray, labels: np.ndarray, weight: np.ndarray | None,
    ignore_index: int | None, reduction: str,
) -> np.ndarray:
    classes = log_probability.shape[1]
    ignored = np.zeros(labels.shape, bool) if ignore_index is None else labels == ignore_index
    at = np.where(ignored, 0, labels).astype(np.int64)
    if at.size and (at.min() < 0 or at.max() >= classes):
        raise IndexError(f"labels from {at.min()} to {at.max()} for {classes} classes")
    share = np.ones(labels.shape, log_probability.dtype) if weight is None else weight[at]
    share = np.where(ignored, 0, share)
    picked = np.take_along_axis(log_probability, np.expand_dims(at, 1), 1).squeeze(1)
    losses = -picked * share
    if reduction == "none":
        return losses.astype(log_probability.dtype)
    if reduction not in ("sum", "mean"):
        raise ValueError(f"reduction: expected 'none', 'sum' or 'mean', got {reduction!r}")
    total = losses.sum() if reduction == "sum" else losses.sum() / share.sum()
    return np.asarray(total, log_probability.dtype)


@operator(host=True)
def NegativeLogLikelihoodLoss(
    log_probability: np.ndarray, labels: np.ndarray, weight: np.ndarray | None = None,
    *, ignore_index: int | None = None, reduction: str = "mean",
) -> np.ndarray:
    return _loss(log_probability, labels, weight, ignore_index, reduction)


@operator(host=True)
def SoftmaxCrossEntropyLoss(
    scores: np.ndarray, labels: np.ndarray, weight: np.ndarray | None = None,
    *, ignore_index: int | None = None, reduction: str = "mean",
) -> tuple[np.ndarray, np.ndarray]:
    """Return the loss and the logarithms of the probabilities."""
    shifted = scores - scores.max(1, keepdims=True)
    log_probability = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return _loss(log_probability, labels, weight, ignore_index, reduction), log_probability
