"""What a classifier's scores are worth: accuracy, top-k, confusion matrix, precision, recall, F1.

Everything here is plain NumPy on finished scores. Two forms of each figure: a function of
``(scores, labels)`` for whole arrays, and a *meter* that is fed batch by batch, which is what the
trainer uses (`meter` makes one from its name).

Operands: ``scores`` is ``(N, classes)`` (logits or probabilities, only their order counts) or
``(N,)`` of class numbers; ``labels`` is ``(N,)`` of class numbers or ``(N, classes)`` of soft
targets, of which the largest counts as the truth.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

__all__ = [
    "Meter",
    "accuracy",
    "confusion_matrix",
    "meter",
    "precision_recall_f1",
    "top_k_accuracy",
]

Array = npt.NDArray[Any]
IntArray = npt.NDArray[np.int64]
Metric = Callable[[Array, Array], float]

AVERAGES = ("macro", "micro", "weighted")


def accuracy(scores: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Share of the samples whose largest score is at the true class.

    Parameters
    ----------
    scores : array_like, (N, classes) or (N,)
        Scores, or the predicted class numbers themselves.
    labels : array_like, (N,) or (N, classes)
        True class numbers, or soft targets.

    Returns
    -------
    float
        Between 0 and 1; 0 for an empty batch.

    Raises
    ------
    ValueError
        If the two disagree about the number of samples.

    Examples
    --------
    >>> from cnnfast.metrics import accuracy
    >>> accuracy([[0.1, 0.9], [0.8, 0.2]], [1, 1])
    0.5
    """
    predicted, truth = _classes(scores, labels)
    return float(np.mean(predicted == truth)) if truth.size else 0.0


def top_k_accuracy(scores: npt.ArrayLike, labels: npt.ArrayLike, k: int = 5) -> float:
    """Share of the samples whose true class is among the `k` largest scores.

    Scores equal to that of the true class count against it, so a network that gives every class
    the same score does not pass as perfect.

    Parameters
    ----------
    scores : array_like, (N, classes)
    labels : array_like, (N,) or (N, classes)
    k : int
        From 1 to the number of classes; larger counts as the number of classes.

    Raises
    ------
    ValueError
        If `k` is below 1, `scores` is not two-dimensional or a label is not a column of it.

    Examples
    --------
    >>> from cnnfast.metrics import top_k_accuracy
    >>> top_k_accuracy([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2]], [1, 2], k=2)
    0.5
    """
    table, truth = np.asarray(scores), _truth(labels)
    if k < 1:
        raise ValueError(f"top_k_accuracy: k is {k}, expected 1 or more")
    if table.ndim != 2 or len(table) != len(truth):
        raise ValueError(
            f"top_k_accuracy: scores have shape {table.shape}, expected "
            f"({len(truth)}, classes) to go with {len(truth)} labels"
        )
    if not truth.size:
        return 0.0
    if truth.min() < 0 or truth.max() >= table.shape[1]:
        raise ValueError(
            f"top_k_accuracy: labels run from {truth.min()} to {truth.max()}, "
            f"but scores have {table.shape[1]} columns"
        )
    own = table[np.arange(len(truth)), truth][:, None]
    rivals = np.count_nonzero(table >= own, axis=1) - 1
    # A NaN compares false with everything and would win: count it as a miss.
    return float(np.mean((rivals < k) & (rivals >= 0)))


def confusion_matrix(
    scores: npt.ArrayLike, labels: npt.ArrayLike, classes: int | None = None
) -> IntArray:
    """Count how often each true class (row) was taken for each class (column).

    Parameters
    ----------
    scores : array_like, (N, classes) or (N,)
        Scores, or the predicted class numbers.
    labels : array_like, (N,) or (N, classes)
    classes : int, optional
        Size of the matrix. Default: the columns of `scores`, or one more than the largest number.

    Returns
    -------
    ndarray, int64, (classes, classes)

    Raises
    ------
    ValueError
        If a class number is negative or not below `classes`.

    Examples
    --------
    >>> from cnnfast.metrics import confusion_matrix
    >>> confusion_matrix([0, 1, 1], [0, 1, 0])
    array([[1, 1],
           [0, 1]])
    """
    predicted, truth = _classes(scores, labels)
    seen = int(max(predicted.max(initial=-1), truth.max(initial=-1))) + 1
    if classes is None:
        table = np.asarray(scores)
        classes = max(table.shape[1], seen) if table.ndim == 2 else seen
    if seen > classes or min(predicted.min(initial=0), truth.min(initial=0)) < 0:
        raise ValueError(
            f"confusion_matrix: class numbers must be from 0 to {classes - 1}, found labels "
            f"{truth.min()} to {truth.max()}, predictions {predicted.min()} to {predicted.max()}"
        )
    counts = np.bincount(truth * classes + predicted, minlength=classes * classes)
    return counts.reshape(classes, classes).astype(np.int64)


def precision_recall_f1(matrix: npt.ArrayLike, average: str | None = "macro") -> dict[str, Any]:
    """Precision, recall and F1 from a confusion matrix.

    Parameters
    ----------
    matrix : array_like, (classes, classes)
        Counts, true classes in rows, as `confusion_matrix` returns.
    average : {"macro", "micro", "weighted"} or None
        Plain mean over the classes, figure of all decisions together, mean weighted by the
        number of true samples, or (None) one figure a class. As scikit-learn's
        ``precision_recall_fscore_support``; a quotient with denominator 0 counts as 0.

    Returns
    -------
    dict
        ``precision``, ``recall`` and ``f1``: floats, or arrays ``(classes,)`` for None.

    Raises
    ------
    ValueError
        If `matrix` is not square or `average` is unknown.

    Examples
    --------
    >>> from cnnfast.metrics import precision_recall_f1
    >>> figures = precision_recall_f1([[1, 1], [0, 2]])
    >>> round(figures["recall"], 3), round(figures["precision"], 3)
    (0.75, 0.833)
    """
    counts = np.asarray(matrix, dtype=np.float64)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1]:
        raise ValueError(f"precision_recall_f1: matrix has shape {counts.shape}, expected a square")
    if average is not None and average not in AVERAGES:
        raise ValueError(f"precision_recall_f1: average is {average!r}, expected one of {AVERAGES}")
    hits, predicted, true = np.diag(counts), counts.sum(axis=0), counts.sum(axis=1)
    if average == "micro":
        hits, predicted, true = hits.sum(), predicted.sum(), true.sum()
    figures = {
        "precision": _quotient(hits, predicted),
        "recall": _quotient(hits, true),
        "f1": _quotient(2 * hits, predicted + true),
    }
    if average is None:
        return figures
    weights = true / max(true.sum(), 1) if average == "weighted" else None
    return {name: _mean(values, weights) for name, values in figures.items()}


def _quotient(numerator: Array, denominator: Array) -> Array:
    return np.divide(
        numerator, denominator, out=np.zeros_like(numerator), where=np.asarray(denominator) > 0
    )


def _mean(values: Array, weights: Array | None) -> float:
    if weights is not None:
        return float(np.dot(values, weights))
    return float(np.mean(values)) if np.size(values) else 0.0


def _truth(labels: npt.ArrayLike) -> IntArray:
    truth = np.asarray(labels)
    if truth.ndim == 2:
        truth = truth.argmax(axis=1)
    if truth.ndim != 1:
        raise ValueError(
            f"labels have shape {truth.shape}, expected (N,) of class numbers or (N, classes)"
        )
    return truth.astype(np.int64, copy=False)


def _classes(scores: npt.ArrayLike, labels: npt.ArrayLike) -> tuple[IntArray, IntArray]:
    """Return predicted and true class numbers of equal length."""
    table, truth = np.asarray(scores), _truth(labels)
    predicted = table.argmax(axis=1) if table.ndim == 2 and table.shape[1] else table
    if predicted.shape != truth.shape:
        raise ValueError(
            f"scores have shape {table.shape}, expected ({len(truth)}, classes) or "
            f"({len(truth)},) to go with {len(truth)} labels"
        )
    return predicted.astype(np.int64, copy=False), truth


class Meter(Protocol):
    """A figure that grows batch by batch: ``update`` with each batch, then read ``result``."""

    name: str

    def reset(self) -> None:
        """Forget everything."""

    def update(self, scores: Array, labels: Array) -> None:
        """Take in a batch."""

    def result(self) -> float:
        """Return the figure over all that was taken in."""


class _Mean:
    """Mean over the samples of a figure that is itself a mean over the batch's samples."""

    def __init__(self, name: str, metric: Metric) -> None:
        self.name = name
        self._metric = metric
        self.reset()

    def reset(self) -> None:
        self._total, self._samples = 0.0, 0

    def update(self, scores: Array, labels: Array) -> None:
        self._total += float(self._metric(scores, labels)) * len(scores)
        self._samples += len(scores)

    def result(self) -> float:
        return self._total / self._samples if self._samples else 0.0


class _Macro:
    """Macro precision, recall or F1: it needs the counts of the whole set, not batch means."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.reset()

    def reset(self) -> None:
        self._matrix = np.zeros((0, 0), np.int64)

    def update(self, scores: Array, labels: Array) -> None:
        fresh = confusion_matrix(scores, labels)
        size = max(len(fresh), len(self._matrix))
        grown = np.zeros((size, size), np.int64)
        for part in (self._matrix, fresh):
            grown[: len(part), : len(part)] += part
        self._matrix = grown

    def result(self) -> float:
        return float(precision_recall_f1(self._matrix)[self.name])


def meter(metric: str | Metric) -> Meter:
    """Make a meter from the name of a metric or from a function of ``(scores, labels)``.

    Parameters
    ----------
    metric : str or callable
        ``"accuracy"``, ``"top<k>"`` such as ``"top5"``, ``"precision"``, ``"recall"`` or ``"f1"``
        (macro averages), or a function whose batch results are averaged, weighted by batch size,
        under its ``__name__``.

    Raises
    ------
    ValueError
        If the name is unknown.

    Examples
    --------
    >>> from cnnfast.metrics import meter
    >>> import numpy as np
    >>> running = meter("accuracy")
    >>> running.update(np.array([[0.1, 0.9]]), np.array([1]))
    >>> running.result()
    1.0
    """
    if callable(metric):
        return _Mean(getattr(metric, "__name__", type(metric).__name__), metric)
    if metric == "accuracy":
        return _Mean(metric, accuracy)
    if metric in ("precision", "recall", "f1"):
        return _Macro(metric)
    if match := re.fullmatch(r"top([1-9]\d*)", str(metric)):
        k = int(match[1])
        return _Mean(metric, lambda scores, labels: top_k_accuracy(scores, labels, k))
    raise ValueError(
        f"metric {metric!r} is unknown; use 'accuracy', 'top<k>' such as 'top5', 'precision', "
        "'recall', 'f1', or a function of (scores, labels)"
    )


def meters(metrics: Iterable[str | Metric]) -> list[Meter]:
    """Make a meter of each of `metrics`, with distinct names."""
    made = [meter(metric) for metric in metrics]
    names = [each.name for each in made]
    if len(set(names)) < len(names):
        raise ValueError(f"two metrics have the same name in {names}")
    return made
