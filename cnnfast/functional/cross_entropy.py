"""Losses of classes: cross-entropy of logits and negative log-likelihood of log-probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _core, shapes
from ..autograd import record
from ..layout import as_dense, as_rows
from ..replay import refuse_replay
from ..tensor import Tensor, as_float, as_tensor
from .arithmetic import add, mul
from .loss import reduced, reduction_name
from .pointwise import neg
from .reduction import sum as total
from .softmax import log_softmax

__all__ = ["cross_entropy", "nll_loss"]


class _Rows:
    """Scores as rows of classes with their targets, and what the kernels need beside them."""

    def __init__(
        self, name: str, input: Tensor, target: Any, weight: Tensor | None, ignore_index: int
    ) -> None:
        labels = as_tensor(target)
        if labels.dtype.kind not in "iu":
            raise TypeError(
                f"{name}: expected integers as class targets, got {labels.dtype}"
            )
        self.axis = shapes.class_targets(name, input.shape, labels.shape)
        classes = input.shape[self.axis]
        if weight is not None:
            weight = as_float(weight)
            shapes.class_weights(name, classes, weight.shape)
        self.moved = np.moveaxis(input.array, self.axis, -1)
        self.x = as_rows(self.moved, classes)
        if labels.dtype != np.int64 or not labels.array.flags.c_contiguous:
            refuse_replay(f"{name} of labels that are no dense int64")
        self.target = np.asarray(labels.array, np.int64, order="C")
        self.weight = None if weight is None else as_dense(weight.array)
        self.ignore_index = ignore_index
        self.weight_sum = _core.empty((1,))
        self.saved = (input, labels) if weight is None else (input, labels, weight)

    def empty_loss(self, reduction: str) -> np.ndarray:
        """Return memory for one loss a row, in the targets' shape, or for one number."""
        return _core.empty(self.target.shape if reduction == "none" else ())

    def gradient(self, rows: np.ndarray) -> np.ndarray:
        """Return a gradient of the rows in the shape of the scores."""
        return np.moveaxis(rows.reshape(self.moved.shape), -1, self.axis)


def cross_entropy(
    input: Tensor,
    target: Any,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Cross-entropy between the softmax of logits and classes or probabilities.

    Parameters
    ----------
    input : Tensor
        Logits, float32 (C,) or (N, C, ...).
    target : Tensor
        Classes, integers () or (N, ...), or probabilities, float32 of the input's shape.
    weight : Tensor, optional
        A weight for each class, float32 (C,).
    size_average, reduce : bool, optional
        torch's old spelling of `reduction`.
    ignore_index : int
        Class targets of this value do not count.
    reduction : {"mean", "sum", "none"}
        The mean over class targets is weighted by `weight`; that over probabilities is not.
    label_smoothing : float
        Share of the target that is spread evenly over all classes, within 0 and 1.

    Returns
    -------
    Tensor
        One number, or with ``reduction="none"`` a loss for each target.

    Raises
    ------
    IndexError
        Where a class is neither within 0 .. C - 1 nor `ignore_index`.
    ValueError
        Where the shapes do not fit.

    Examples
    --------
    >>> import cnnfast
    >>> from cnnfast.functional import cross_entropy
    >>> loss = cross_entropy(cnnfast.Tensor([[0.0, 0.0]]), cnnfast.tensor([1]))
    >>> round(float(loss), 4)
    0.6931
    """
    reduction = reduction_name(size_average, reduce, reduction)
    if not 0.0 <= label_smoothing <= 1.0:
        raise ValueError(f"label_smoothing must be between 0.0 and 1.0, got {label_smoothing}")
    input = as_float(input)
    if as_tensor(target).dtype.kind == "f":
        return _soft_cross_entropy(input, as_float(target), weight, reduction, label_smoothing)
    rows = _Rows("cross_entropy", input, target, weight, ignore_index)
    loss, stats = rows.empty_loss(reduction), _core.empty((rows.x.shape[0], 2))
    options = (ignore_index, reduction, label_smoothing)
    _core.cross_entropy_forward(
        loss, stats, rows.weight_sum, rows.x, rows.target, rows.weight, *options
    )

    def backward(dy: np.ndarray, needs: tuple[bool, ...]) -> tuple[np.ndarray | None, ...]:
        dx = _core.empty(rows.x.shape)
        _core.cross_entropy_backward(
            dx, as_dense(dy), rows.x, stats, rows.weight_sum, rows.target, rows.weight, *options
        )
        return (rows.gradient(dx),)

    return record(loss, (input,), backward, saved=rows.saved)


def _soft_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None, reduction: str, label_smoothing: float
) -> Tensor:
    """Cross-entropy with probabilities as the target."""
    if input.ndim == 0 or target.shape != input.shape:
        raise ValueError(
            f"cross_entropy: probabilities must have the input's shape {input.shape}, "
            f"got {target.shape}"
        )
    axis = 1 if input.ndim > 1 else 0
    classes = input.shape[axis]
    if label_smoothing > 0:
        target = add(mul(target, 1 - label_smoothing), label_smoothing / classes)
    terms = mul(target, log_softmax(input, axis))
    if weight is not None:
        shapes.class_weights("cross_entropy", classes, weight.shape)
        pixels = (1,) * max(input.ndim - 2, 0)
        terms = mul(terms, as_float(weight).reshape(classes, *pixels))
    return reduced(neg(total(terms, axis)), reduction)


def nll_loss(
    input: Tensor,
    target: Any,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Negative log-likelihood: minus the weighted log-probability of each target's class.

    Parameters
    ----------
    input : Tensor
        Log-probabilities, float32 (C,) or (N, C, ...).
    target : Tensor
        Classes, integers () or (N, ...).
    weight : Tensor, optional
        A weight for each class, float32 (C,).
    size_average, reduce : bool, optional
        torch's old spelling of `reduction`.
    ignore_index : int
        Targets of this value do not count.
    reduction : {"mean", "sum", "none"}
        The mean is weighted by `weight`.

    Returns
    -------
    Tensor
        One number, or with ``reduction="none"`` a loss for each target.

    Raises
    ------
    IndexError
        Where a class is neither within 0 .. C - 1 nor `ignore_index`.
    ValueError
        Where the shapes do not fit.

    Examples
    --------
    >>> import cnnfast
    >>> from cnnfast.functional import nll_loss
    >>> float(nll_loss(cnnfast.Tensor([[-1.0, -2.0]]), cnnfast.tensor([1])))
    2.0
    """
    reduction = reduction_name(size_average, reduce, reduction)
    input = as_float(input)
    rows = _Rows("nll_loss", input, target, weight, ignore_index)
    loss = rows.empty_loss(reduction)
    options = (ignore_index, reduction)
    _core.nll_forward(loss, rows.weight_sum, rows.x, rows.target, rows.weight, *options)

    def backward(dy: np.ndarray, needs: tuple[bool, ...]) -> tuple[np.ndarray | None, ...]:
        dx = _core.empty(rows.x.shape)
        _core.nll_backward(dx, as_dense(dy), rows.weight_sum, rows.target, rows.weight, *options)
        return (rows.gradient(dx),)

    return record(loss, (input,), backward, saved=rows.saved)
