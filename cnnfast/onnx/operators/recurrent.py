"""Recurrent layers: RNN, GRU and LSTM, each the standard's operator of its name.

x is (steps, batch, features), or with ``layout=1`` (batch, steps, features); weights have one
matrix a direction. The same lines run on Tensors (float32) and on arrays (other types).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ... import functional as F
from . import activation as act
from .arithmetic import Clip
from .indexing import ReverseSequence
from .logic import Where
from .registry import operator
from .shaping import Concat, Transpose
from .values import Value, array, is_tensor, wrapped

Ints = Sequence[int]
Floats = Sequence[float]
Activation = Callable[[Value], Value]
Step = Callable[[Value, list[Value]], list[Value]]
"""From the input's share of the gates and the state to the new state; its first is the output."""
Cell = Callable[[int, list[Activation], Value, Value], Step]
"""From a direction's number, activations, weights (hidden, gates) and biases of the state."""


_PLAIN: dict[str, Activation] = {
    "relu": act.Relu, "tanh": act.Tanh, "sigmoid": act.Sigmoid, "softsign": act.Softsign,
    "softplus": act.Softplus,
}
_WITH_ATTRIBUTES: dict[str, tuple[Callable[..., Value], tuple[float, ...]]] = {
    "leakyrelu": (lambda x, a: act.LeakyRelu(x, alpha=a), (0.01,)),
    "thresholdedrelu": (lambda x, a: act.ThresholdedRelu(x, alpha=a), (1.0,)),
    "elu": (lambda x, a: act.Elu(x, alpha=a), (1.0,)),
    "affine": (lambda x, a, b: x * a + b, (1.0, 0.0)),
    "scaledtanh": (lambda x, a, b: act.Tanh(x * b) * a, (1.0, 1.0)),
    "hardsigmoid": (lambda x, a, b: act.HardSigmoid(x, alpha=a, beta=b), (0.2, 0.5)),
}
"""Activations with an alpha, and some with a beta: the function and the defaults."""


def _activations(
    names: Sequence[str], alpha: Floats | None, beta: Floats | None
) -> list[Activation]:
    """Return the functions; those with attributes take the next of alpha and beta."""
    given = (iter(alpha or ()), iter(beta or ()))
    result: list[Activation] = []
    for name in map(str.lower, names):
        if name in _PLAIN:
            result.append(_PLAIN[name])
        elif name in _WITH_ATTRIBUTES:
            function, defaults = _WITH_ATTRIBUTES[name]
            values = [next(v, d) for v, d in zip(given, defaults, strict=False)]
            result.append(_bound(function, values))
        else:
            raise ValueError(f"activation {name!r} is not known")
    return result


def _bound(function: Callable[..., Value], values: list[float]) -> Activation:
    return lambda x: function(x, *values)


def _clipped(x: Value, clip: float | None) -> Value:
    return x if clip is None else Clip(x, min=-clip, max=clip)


def _zeros(x: Value, *shape: int) -> Value:
    return wrapped(np.zeros(shape, x.dtype))


def _turned(x: Value, lengths: np.ndarray | None) -> Value:
    """Return the steps of each sample in reverse, those beyond its length left where they are."""
    if lengths is not None:
        return wrapped(ReverseSequence(array(x), lengths))
    return F.flip(x, 0) if is_tensor(x) else x[::-1]


def _scan(
    gates: Value, state: list[Value], step: Step, lengths: np.ndarray | None
) -> tuple[list[Value], list[Value]]:
    """Return the outputs of all steps and the last state; beyond a sample's length zeros."""
    outputs = []
    for t in range(gates.shape[0]):
        new = step(gates[t], state)
        out = new[0]
        if lengths is not None:
            on = (t < lengths)[:, None]
            new = [Where(np.broadcast_to(on, n.shape), n, o) for n, o in zip(
                new, state, strict=True)]
            out = Where(np.broadcast_to(on, out.shape), out, _zeros(out, *out.shape))
        state = new
        outputs.append(out)
    return outputs, state


def _stacked(values: list[Value], axis: int = 0) -> Value:
    wide = [v.reshape((*v.shape[:axis], 1, *v.shape[axis:])) for v in values]
    return Concat(*wide, axis=axis)


def _recurrent(
    x: Value, weights: tuple[Value, Value, Value], lengths: Value, states: list[Value], cell: Cell,
    activations: list[Activation], direction: str, layout: int,
) -> tuple[Value, ...]:
    """Run every direction; return the outputs (steps, directions, batch, hidden) and last states.

    `weights` are those of the input, of the state, and the biases of both or None; `activations`
    those of all directions. The input's share of the gates of all steps is one product of matrices
    a direction.
    """
    if layout:
        x = Transpose(x, perm=(1, 0, 2))
        states = [None if s is None else Transpose(s, perm=(1, 0, 2)) for s in states]
    w, r, b = weights
    steps, batch, features = x.shape
    directions, width, hidden = w.shape[0], w.shape[1], r.shape[2]
    if {"forward": 1, "reverse": 1, "bidirectional": 2}.get(direction) != directions:
        raise ValueError(f"direction {direction!r} does not fit weights {tuple(w.shape)}")
    lengths = None if lengths is None or (array(lengths) == steps).all() else array(lengths)
    each = len(activations) // directions
    outputs, last = [], []
    for d in range(directions):
        back = direction == "reverse" or d == 1
        own, recurrent = (_zeros(x, width),) * 2 if b is None else (b[d, :width], b[d, width:])
        seen = _turned(x, lengths) if back else x
        gates = (seen.reshape((steps * batch, features)) @ w[d].T + own).reshape(
            (steps, batch, width))
        state = [_zeros(x, batch, hidden) if s is None else s[d] for s in states]
        step = cell(d, activations[d * each : (d + 1) * each], r[d].T, recurrent)
        made, end = _scan(gates, state, step, lengths)
        y = _stacked(made) if made else _zeros(x, 0, batch, hidden)
        outputs.append(_turned(y, lengths) if back else y)
        last.append(end)
    y = _stacked(outputs, 1)
    finals = [_stacked([end[i] for end in last]) for i in range(len(states))]
    if layout:
        y = Transpose(y, perm=(2, 0, 1, 3))
        finals = [Transpose(s, perm=(1, 0, 2)) for s in finals]
    return (y, *finals)


@operator()
def RNN(
    x: Value, w: Value, r: Value, b: Value = None, lengths: Value = None, h: Value = None,
    *, activation_alpha: Floats | None = None, activation_beta: Floats | None = None,
    activations: Sequence[str] | None = None, clip: float | None = None,
    direction: str = "forward", hidden_size: int | None = None, layout: int = 0,
) -> tuple[Value, ...]:
    def cell(d: int, functions: list[Activation], recurrent: Value, bias: Value) -> Step:
        f = functions[0]
        return lambda gates, state: [f(_clipped(gates + state[0] @ recurrent + bias, clip))]

    names = activations or ["Tanh"] * w.shape[0]
    functions = _activations(names, activation_alpha, activation_beta)
    return _recurrent(x, (w, r, b), lengths, [h], cell, functions, direction, layout)


@operator()
def GRU(
    x: Value, w: Value, r: Value, b: Value = None, lengths: Value = None, h: Value = None,
    *, activation_alpha: Floats | None = None, activation_beta: Floats | None = None,
    activations: Sequence[str] | None = None, clip: float | None = None,
    direction: str = "forward", hidden_size: int | None = None, layout: int = 0,
    linear_before_reset: int = 0,
) -> tuple[Value, ...]:
    """Gates in the order z (update), r (reset), h (hidden)."""
    n = r.shape[2]

    def cell(d: int, functions: list[Activation], recurrent: Value, bias: Value) -> Step:
        f, g = functions

        def step(gates: Value, state: list[Value]) -> list[Value]:
            old = state[0]
            share = old @ recurrent[:, : 2 * n] + bias[: 2 * n]
            zr = f(_clipped(gates[:, : 2 * n] + share, clip))
            z, reset = zr[:, :n], zr[:, n:]
            if linear_before_reset:
                inner = reset * (old @ recurrent[:, 2 * n :] + bias[2 * n :])
            else:
                inner = (reset * old) @ recurrent[:, 2 * n :] + bias[2 * n :]
            new = g(_clipped(gates[:, 2 * n :] + inner, clip))
            return [(1 - z) * new + z * old]

        return step

    names = activations or ["Sigmoid", "Tanh"] * w.shape[0]
    functions = _activations(names, activation_alpha, activation_beta)
    return _recurrent(x, (w, r, b), lengths, [h], cell, functions, direction, layout)


@operator()
def LSTM(
    x: Value, w: Value, r: Value, b: Value = None, lengths: Value = None, h: Value = None,
    c: Value = None, p: Value = None,
    *, activation_alpha: Floats | None = None, activation_beta: Floats | None = None,
    activations: Sequence[str] | None = None, clip: float | None = None,
    direction: str = "forward", hidden_size: int | None = None, input_forget: int = 0,
    layout: int = 0,
) -> tuple[Value, ...]:
    """Gates in the order i (input), o (output), f (forget), c (cell); `p` are peepholes i, o, f."""
    n = r.shape[2]

    def cell(d: int, functions: list[Activation], recurrent: Value, bias: Value) -> Step:
        f, g, out = functions
        peep = None if p is None else [p[d, k * n : (k + 1) * n] for k in range(3)]

        def step(gates: Value, state: list[Value]) -> list[Value]:
            old, memory = state
            total = gates + (old @ recurrent + bias)
            i, o, forget, c = (total[:, k * n : (k + 1) * n] for k in range(4))
            if peep is not None:
                i, forget = i + peep[0] * memory, forget + peep[2] * memory
            i = f(_clipped(i, clip))
            forget = 1 - i if input_forget else f(_clipped(forget, clip))
            new = forget * memory + i * g(_clipped(c, clip))
            if peep is not None:
                o = o + peep[1] * new
            return [f(_clipped(o, clip)) * out(new), new]

        return step

    names = activations or ["Sigmoid", "Tanh", "Tanh"] * w.shape[0]
    functions = _activations(names, activation_alpha, activation_beta)
    return _recurrent(x, (w, r, b), lengths, [h, c], cell, functions, direction, layout)
