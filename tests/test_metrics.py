"""Metrics against figures worked out by hand and against their definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnfast import metrics

SCORES = np.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.3, 0.4, 0.3], [0.2, 0.2, 0.6]])
LABELS = np.array([0, 1, 0, 2])


def test_accuracy_takes_scores_classes_and_soft_targets():
    assert metrics.accuracy(SCORES, LABELS) == 0.75
    assert metrics.accuracy(SCORES.argmax(1), LABELS) == 0.75
    assert metrics.accuracy(SCORES, np.eye(3)[LABELS]) == 0.75
    assert metrics.accuracy(np.zeros((0, 3)), np.zeros(0, np.int64)) == 0.0


@pytest.mark.parametrize(("k", "expected"), [(1, 0.75), (2, 1.0), (3, 1.0), (9, 1.0)])
def test_top_k(k, expected):
    scores = SCORES + np.array([0.01, 0, 0])  # no ties
    assert metrics.top_k_accuracy(scores, LABELS, k) == expected


def test_top_k_gives_no_credit_for_ties_or_nan():
    assert metrics.top_k_accuracy(np.zeros((4, 3)), LABELS, 2) == 0.0
    assert metrics.top_k_accuracy(np.full((4, 3), np.nan), LABELS, 3) == 0.0


def test_confusion_matrix_has_true_classes_in_rows():
    expected = [[1, 1, 0], [0, 1, 0], [0, 0, 1]]
    assert metrics.confusion_matrix(SCORES, LABELS).tolist() == expected
    assert metrics.confusion_matrix([0], [0], classes=2).tolist() == [[1, 0], [0, 0]]
    assert metrics.confusion_matrix(np.zeros((0, 2)), []).tolist() == [[0, 0], [0, 0]]


def test_precision_recall_f1_by_hand():
    matrix = [[1, 1, 0], [0, 1, 0], [0, 0, 1]]
    each = metrics.precision_recall_f1(matrix, average=None)
    assert each["precision"].tolist() == [1, 0.5, 1]
    assert each["recall"].tolist() == [0.5, 1, 1]
    np.testing.assert_allclose(each["f1"], [2 / 3, 2 / 3, 1])
    assert metrics.precision_recall_f1(matrix)["precision"] == pytest.approx(2.5 / 3)
    assert metrics.precision_recall_f1(matrix, "weighted")["recall"] == pytest.approx(0.75)
    assert metrics.precision_recall_f1(matrix, "micro")["f1"] == pytest.approx(0.75)
    assert metrics.precision_recall_f1(np.zeros((2, 2)))["f1"] == 0.0


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=40))
def test_matrix_agrees_with_counting(pairs):
    predicted, labels = np.array(pairs).T
    matrix = metrics.confusion_matrix(predicted, labels, classes=5)
    for true in range(5):
        for guess in range(5):
            assert matrix[true, guess] == pairs.count((guess, true))
    assert metrics.accuracy(predicted, labels) == pytest.approx(np.trace(matrix) / len(pairs))
    micro = metrics.precision_recall_f1(matrix, "micro")
    assert micro["recall"] == pytest.approx(metrics.accuracy(predicted, labels))


@pytest.mark.parametrize("name", ["accuracy", "top2", "precision", "recall", "f1"])
def test_meter_over_batches_equals_the_whole(name):
    draw = np.random.default_rng(0)
    scores, labels = draw.random((50, 4)), draw.integers(0, 4, 50)
    whole, parts = metrics.meter(name), metrics.meter(name)
    whole.update(scores, labels)
    for start in range(0, 50, 7):
        parts.update(scores[start : start + 7], labels[start : start + 7])
    assert parts.result() == pytest.approx(whole.result())
    parts.reset()
    assert parts.result() == 0.0


def test_meter_of_a_function_is_weighted_by_batch_size():
    def share(scores, labels):
        return float(np.mean(labels))

    running = metrics.meter(share)
    running.update(np.zeros((3, 2)), np.array([1, 1, 1]))
    running.update(np.zeros((1, 2)), np.array([0]))
    assert (running.name, running.result()) == ("share", 0.75)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: metrics.accuracy(SCORES, [0, 1]), r"\(4, 3\).*2 labels"),
        (lambda: metrics.accuracy(SCORES, np.zeros((4, 3, 1))), r"\(4, 3, 1\)"),
        (lambda: metrics.top_k_accuracy(SCORES, LABELS, 0), "k is 0"),
        (lambda: metrics.top_k_accuracy([1, 2], [0, 1]), r"\(2,\)"),
        (lambda: metrics.top_k_accuracy(SCORES, [0, 1, 2, 3]), "3 columns"),
        (lambda: metrics.confusion_matrix([3], [0], classes=2), "0 to 1"),
        (lambda: metrics.confusion_matrix([-1], [0]), "-1"),
        (lambda: metrics.precision_recall_f1(np.ones((2, 3))), r"\(2, 3\)"),
        (lambda: metrics.precision_recall_f1(np.eye(2), "mean"), "'mean'"),
        (lambda: metrics.meter("top0"), "top0"),
        (lambda: metrics.meters(["accuracy", "accuracy"]), "same name"),
    ],
)
def test_wrong_input_is_explained(call, words):
    with pytest.raises(ValueError, match=words):
        call()
