"""Recurrent operators of ONNX, against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx_models import check, values

STEPS, BATCH, FEATURES, HIDDEN = 5, 3, 4, 6
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
STATES = {"RNN": 1, "GRU": 1, "LSTM": 2}


def operands(operator: str, directions: int) -> list[Any]:
    """Input, weights, recurrent weights and biases."""
    width = GATES[operator] * HIDDEN
    return [
        values(STEPS, BATCH, FEATURES),
        values(directions, width, FEATURES, seed=1) / 2,
        values(directions, width, HIDDEN, seed=2) / 2,
        values(directions, 2 * width, seed=3) / 2,
    ]


def states(operator: str, directions: int) -> list[Any]:
    return [values(directions, BATCH, HIDDEN, seed=4 + k) for k in range(STATES[operator])]


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("lengths", [None, [5, 2, 3]])
@pytest.mark.parametrize("operator", ["RNN", "GRU", "LSTM"])
def test_directions_and_lengths(operator: str, lengths: list[int] | None, direction: str) -> None:
    directions = 2 if direction == "bidirectional" else 1
    given = None if lengths is None else np.array(lengths, np.int32)
    inputs = [*operands(operator, directions), given, *states(operator, directions)]
    check(operator, inputs, outputs=1 + STATES[operator], hidden_size=HIDDEN, direction=direction)


@pytest.mark.parametrize("operator", ["RNN", "GRU", "LSTM"])
def test_clip_and_no_bias(operator: str) -> None:
    inputs = operands(operator, 1)[:3]
    check(operator, inputs, outputs=2, hidden_size=HIDDEN, clip=0.3)


def test_gru_resets_after_the_product() -> None:
    check("GRU", operands("GRU", 1), outputs=2, hidden_size=HIDDEN, linear_before_reset=1)


def test_lstm_with_peepholes_and_coupled_gates() -> None:
    peepholes = values(1, 3 * HIDDEN, seed=9)
    inputs = [*operands("LSTM", 1), None, *states("LSTM", 1), peepholes]
    check("LSTM", inputs, outputs=3, hidden_size=HIDDEN)
    check("LSTM", inputs[:4], outputs=3, hidden_size=HIDDEN, input_forget=1)


def test_other_activations() -> None:
    kw: dict[str, Any] = {
        "activations": ["HardSigmoid", "ScaledTanh", "Affine"],
        "activation_alpha": [0.3, 0.8, 0.5],
        "activation_beta": [0.4, 0.7, 0.1],
    }
    check("LSTM", operands("LSTM", 1), outputs=3, hidden_size=HIDDEN, **kw)
