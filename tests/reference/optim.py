"""Optimiser updates of one parameter, and gradient clipping, as torch.optim does them.

An update takes (parameter, gradient, state) and returns (parameter, state), all new; the state is
a dict with torch's names, empty before the first step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .arrays import Array, in_double

State = dict[str, Any]


def _effective(p: Array, g: Array, weight_decay: float, maximize: bool) -> Array:
    """The gradient to descend: negated to maximise, plus weight_decay * parameter."""
    return (-g if maximize else g) + weight_decay * p


@in_double
def sgd(
    p: Array,
    g: Array,
    state: State,
    lr: float = 1e-3,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    maximize: bool = False,
) -> tuple[Array, State]:
    """b = momentum * b + (1 - dampening) * g (first: b = g); p -= lr * b, Nesterov g + mom. * b."""
    g = _effective(p, g, weight_decay, maximize)
    if momentum == 0:
        return p - lr * g, {}
    buffer = state.get("momentum_buffer")
    buffer = g if buffer is None else momentum * buffer + (1 - dampening) * g
    step = g + momentum * buffer if nesterov else buffer
    return p - lr * step, {"momentum_buffer": buffer}


@in_double
def adam(
    p: Array,
    g: Array,
    state: State,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    amsgrad: bool = False,
    maximize: bool = False,
) -> tuple[Array, State]:
    """p -= lr * mhat / (sqrt(vhat) + eps), weight decay in the gradient (Kingma and Ba 2015)."""
    g = _effective(p, g, weight_decay, maximize)
    zeros = np.zeros_like(p)
    step = state.get("step", 0) + 1
    m = betas[0] * state.get("exp_avg", zeros) + (1 - betas[0]) * g
    v = betas[1] * state.get("exp_avg_sq", zeros) + (1 - betas[1]) * g * g
    new = {"step": step, "exp_avg": m, "exp_avg_sq": v}
    if amsgrad:
        v = new["max_exp_avg_sq"] = np.maximum(state.get("max_exp_avg_sq", zeros), v)
    mhat, vhat = m / (1 - betas[0] ** step), v / (1 - betas[1] ** step)
    return p - lr * mhat / (np.sqrt(vhat) + eps), new


@in_double
def adamw(
    p: Array,
    g: Array,
    state: State,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 1e-2,
    amsgrad: bool = False,
    maximize: bool = False,
) -> tuple[Array, State]:
    """p *= 1 - lr * weight_decay, then adam without decay (Loshchilov and Hutter 2019)."""
    shrunk = p * (1 - lr * weight_decay)
    return adam(shrunk, g, state, lr, betas, eps, 0.0, amsgrad, maximize)


@in_double
def rmsprop(
    p: Array,
    g: Array,
    state: State,
    lr: float = 1e-2,
    alpha: float = 0.99,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    momentum: float = 0.0,
    centered: bool = False,
    maximize: bool = False,
) -> tuple[Array, State]:
    """v = alpha v + (1 - alpha) g**2; b = momentum b + g / (sqrt(v - mean(g)**2) + eps); p -= lr b.

    mean(g), a running mean with the same alpha, counts only if `centered`.
    """
    g = _effective(p, g, weight_decay, maximize)
    zeros = np.zeros_like(p)
    v = alpha * state.get("square_avg", zeros) + (1 - alpha) * g * g
    new = {"step": state.get("step", 0) + 1, "square_avg": v}
    if centered:
        new["grad_avg"] = alpha * state.get("grad_avg", zeros) + (1 - alpha) * g
        v = v - new["grad_avg"] ** 2
    step = g / (np.sqrt(v) + eps)
    if momentum > 0:
        step = new["momentum_buffer"] = momentum * state.get("momentum_buffer", zeros) + step
    return p - lr * step, new


def clip_grad_norm(
    grads: Sequence[Array], max_norm: float, norm_type: float = 2.0
) -> tuple[float, list[Array]]:
    """(norm of all gradients together, each times min(1, max_norm / (norm + 1e-6)))."""
    flat = np.abs(np.concatenate([np.ravel(np.asarray(g, np.float64)) for g in grads]))
    if math.isinf(norm_type):
        norm = float(flat.max())
    else:
        norm = float((flat**norm_type).sum() ** (1 / norm_type))
    scale = min(1.0, max_norm / (norm + 1e-6))
    return norm, [np.asarray(g, np.float64) * scale for g in grads]


def clip_grad_value(grads: Sequence[Array], clip_value: float) -> list[Array]:
    """Each element limited to [-clip_value, clip_value]."""
    return [np.clip(np.asarray(g, np.float64), -clip_value, clip_value) for g in grads]
