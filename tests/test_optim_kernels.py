"""The fused updates against the formulas of torch.optim in float64, and against torch itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cnnfast import _core

SIZES = (0, 1, 15, 16, 17, 31, 33, 1009)
STEPS = 4
SGD = [
    {"momentum": 0.0, "dampening": 0.0, "weight_decay": 0.0, "nesterov": False},
    {"momentum": 0.0, "dampening": 0.0, "weight_decay": 0.1, "nesterov": False},
    {"momentum": 0.9, "dampening": 0.25, "weight_decay": 0.1, "nesterov": False},
    {"momentum": 0.9, "dampening": 0.0, "weight_decay": 0.1, "nesterov": True},
]
ADAM = [
    {"weight_decay": decay, "decoupled": decoupled, "amsgrad": amsgrad}
    for decay in (0.0, 0.1)
    for decoupled in (False, True)
    for amsgrad in (False, True)
]
RMSPROP = [
    {"weight_decay": 0.1, "momentum": momentum, "centered": centered}
    for momentum in (0.0, 0.9)
    for centered in (False, True)
]

State = dict[str, np.ndarray]


def sgd(p: np.ndarray, g: np.ndarray, s: State, t: int, **o: Any) -> None:
    """torch.optim.SGD in float64."""
    g = g + o["weight_decay"] * p
    if o["momentum"]:
        m = g if t == 1 else o["momentum"] * s["buffer"] + (1 - o["dampening"]) * g
        s["buffer"] = m
        g = g + o["momentum"] * m if o["nesterov"] else m
    p -= 0.1 * g


def adam(p: np.ndarray, g: np.ndarray, s: State, t: int, **o: Any) -> None:
    """torch.optim.Adam and AdamW in float64."""
    if o["decoupled"]:
        p *= 1 - 0.01 * o["weight_decay"]
    else:
        g = g + o["weight_decay"] * p
    s["m"] = 0.9 * s.get("m", 0) + 0.1 * g
    s["v"] = 0.999 * s.get("v", 0) + 0.001 * g * g
    v = s["v"]
    if o["amsgrad"]:
        v = s["w"] = np.maximum(s.get("w", 0), v)
    root = np.sqrt(v / (1 - 0.999**t)) + 1e-8
    p -= 0.01 * s["m"] / (1 - 0.9**t) / root


def rmsprop(p: np.ndarray, g: np.ndarray, s: State, t: int, **o: Any) -> None:
    """torch.optim.RMSprop in float64."""
    g = g + o["weight_decay"] * p
    s["v"] = 0.99 * s.get("v", 0) + 0.01 * g * g
    v = s["v"]
    if o["centered"]:
        s["a"] = 0.99 * s.get("a", 0) + 0.01 * g
        v = v - s["a"] ** 2
    update = g / (np.sqrt(v) + 1e-8)
    if o["momentum"]:
        update = s["b"] = o["momentum"] * s.get("b", 0) + update
    p -= 0.01 * update


def core_sgd(p: np.ndarray, g: np.ndarray, s: State, t: int, **o: Any) -> None:
    """The kernel; its buffer starts as NaN, since the first step must not read it."""
    buffer = s.setdefault("buffer", np.full_like(p, np.nan)) if o["momentum"] else None
    settings = np.array([0.1, o["momentum"], o["dampening"], o["weight_decay"]])
    begun = np.array([t > 1], np.int64)
    _core.sgd_update(p, buffer, begun, g, settings, o["nesterov"])
    assert begun == 1


def core_adam(p: np.ndarray, g: np.ndarray, s: State, t: int, **o: Any) -> None:
    """The kernel on states that start at zero."""
    m, v = (s.setdefault(name, np.zeros_like(p)) for name in "mv")
    w = s.setdefault("w", np.zeros_like(p)) if o["amsgrad"] else None
    step = np.array(t - 1, np.float32)
    settings = np.array([0.01, 0.9, 0.999, 1e-8, o["weight_decay"]])
    _core.adam_update(p, m, v, w, step, g, settings, o["decoupled"])
    assert step == t


def core_rmsprop(p: np.ndarray, g: np.ndarray, s: State, t: int, **o: Any) -> None:
    """The kernel on states that start at zero, absent where the variant has none."""
    v = s.setdefault("v", np.zeros_like(p))
    b = s.setdefault("b", np.zeros_like(p)) if o["momentum"] else None
    a = s.setdefault("a", np.zeros_like(p)) if o["centered"] else None
    step = np.array(t - 1, np.float32)
    settings = np.array([0.01, 0.99, 1e-8, o["weight_decay"], o["momentum"]])
    _core.rmsprop_update(p, v, b, a, step, g, settings)
    assert step == t


CASES = (
    [(sgd, core_sgd, options) for options in SGD]
    + [(adam, core_adam, options) for options in ADAM]
    + [(rmsprop, core_rmsprop, options) for options in RMSPROP]
)


def data(n: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """A parameter and gradients of at least 0.5, so that no decayed gradient cancels to noise."""
    rng = np.random.default_rng(n)
    p = rng.uniform(0.5, 2, n).astype(np.float32)
    return p, [rng.uniform(0.5, 2, n).astype(np.float32) for _ in range(STEPS)]


def run(update: Callable[..., None], p: np.ndarray, grads: list[np.ndarray], o: Any) -> np.ndarray:
    """Apply `update` once a gradient and return the parameter and states as one array."""
    state: State = {}
    for t, g in enumerate(grads, 1):
        update(p, g, state, t, **o)
    return np.stack([p, *(state[name] for name in sorted(state))])


@pytest.mark.parametrize(("formula", "kernel", "options"), CASES)
def test_formula(isa: str, formula: Any, kernel: Any, options: Any) -> None:
    for n in SIZES:
        p, grads = data(n)
        expected = run(
            formula, p.astype(np.float64), [g.astype(np.float64) for g in grads], options
        )
        np.testing.assert_allclose(run(kernel, p, grads, options), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("formula", "kernel", "options"), CASES)
def test_threads(isa: str, same_bits: Any, formula: Any, kernel: Any, options: Any) -> None:
    p, grads = data(100_003)
    same_bits(lambda: run(kernel, p.copy(), grads, options))


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize(("formula", "kernel", "options"), CASES)
def test_guards(
    isa: str, guarded: Any, before: bool, formula: Any, kernel: Any, options: Any
) -> None:
    p, grads = data(37)
    fenced = [guarded(g, before) for g in grads]
    assert np.isfinite(run(kernel, guarded(p, before), fenced, options)).all()


@pytest.mark.parametrize(
    ("name", "kernel", "options"),
    [("SGD", core_sgd, o) for o in SGD]
    + [("AdamW" if o["decoupled"] else "Adam", core_adam, o) for o in ADAM]
    + [("RMSprop", core_rmsprop, o) for o in RMSPROP],
)
def test_torch(name: str, kernel: Any, options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    p, grads = data(101)
    parameter = torch.nn.Parameter(torch.tensor(p))
    lr = 0.1 if name == "SGD" else 0.01
    kept = {key: value for key, value in options.items() if key != "decoupled"}
    optimiser = getattr(torch.optim, name)([parameter], lr=lr, **kept)
    for g in grads:
        parameter.grad = torch.tensor(g)
        optimiser.step()
    ours = run(kernel, p, grads, options)[0]
    np.testing.assert_allclose(ours, parameter.detach().numpy(), rtol=1e-5, atol=1e-6)


def test_bad_operands() -> None:
    p, other = np.zeros(4, np.float32), np.zeros(5, np.float32)
    step, four, five = np.zeros((), np.float32), np.zeros(4), np.zeros(5)
    with pytest.raises(ValueError, match="grad: expected 4"):
        _core.sgd_update(p, None, None, other, four, False)
    with pytest.raises(ValueError, match="settings: expected 4"):
        _core.sgd_update(p, None, None, p, five, False)
    with pytest.raises(ValueError, match="begun: expected 1"):
        _core.sgd_update(p, p.copy(), np.zeros(2, np.int64), p, four, False)
    with pytest.raises(ValueError, match="exp_avg_sq"):
        _core.adam_update(p, p.copy(), other, None, step, p, five, False)
    with pytest.raises(ValueError, match="number of steps"):
        _core.adam_update(p, p.copy(), p.copy(), None, np.full_like(step, -1), p, five, False)
    with pytest.raises(ValueError, match="grad_avg"):
        _core.rmsprop_update(p, p.copy(), None, other, step, p, five)


def test_counters() -> None:
    x, y = np.array(2**53 + 1), np.array(0)
    _core.counter_add(x, x, 1)
    _core.counter_add(y, x, 0)
    assert (int(x), int(y)) == (2**53 + 2, 2**53 + 2)
    with pytest.raises(ValueError, match="x: expected 1 contiguous"):
        _core.counter_add(y, np.zeros(2, np.int64), 1)
