"""Losses against the reference and torch: values, gradients, reductions and corners."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import reference
from reference_cases import gradients

from cnnfast import Tensor, _core
from cnnfast import functional as F

EPSILON = float(np.finfo(np.float32).eps)
REDUCTIONS = ("mean", "sum", "none")
LOGITS = [(5,), (1, 1), (7, 10), (3, 16), (4, 33), (2, 1000), (2, 17, 5), (2, 21, 4, 3)]
Arguments = dict[str, Any]


def normal(*shape: int, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    """Normal float32 values."""
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(np.float32)


def uniform(*shape: int, seed: int = 0) -> np.ndarray:
    """float32 values strictly within 0 and 1."""
    return np.random.default_rng(seed).uniform(0.01, 0.99, shape).astype(np.float32)


def labels(shape: tuple[int, ...], ignored: int | None = None) -> np.ndarray:
    """Classes for scores of `shape`; every third is `ignored`, where that is given."""
    count = shape[1] if len(shape) > 1 else shape[0]
    target = np.random.default_rng(3).integers(0, count, shape[:1] + shape[2:] if count else ())
    target = np.asarray(target if len(shape) > 1 else target[0])
    if ignored is not None and target.ndim:
        target.reshape(-1)[::3] = ignored
    return target


def ours(name: str, arguments: Arguments, dy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The loss and the gradient of x."""
    given = dict(arguments)
    x = Tensor(given.pop("x"), requires_grad=True)
    loss = getattr(F, name)(x, Tensor(given.pop("target")), **given)
    loss.backward(dy)
    return loss.detach().numpy(), x.grad.numpy()


def check(name: str, **arguments: Any) -> None:
    """Compare with the reference: each loss within a few roundings of the largest score."""
    expected = np.asarray(getattr(reference, name)(**arguments))
    dy = normal(*expected.shape, seed=9)
    loss, dx = ours(name, arguments, dy)
    assert loss.shape == expected.shape and dx.shape == arguments["x"].shape
    scale = 32 * EPSILON * (1 + abs(arguments["x"]).max())
    np.testing.assert_allclose(loss, expected, rtol=scale, atol=scale)
    (want,) = gradients(name, arguments, dy)[:1]
    np.testing.assert_allclose(dx, want, rtol=scale, atol=scale * max(1e-6, abs(want).max()))


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", LOGITS, ids=str)
def test_cross_entropy(isa: str, shape: tuple[int, ...], reduction: str) -> None:
    x, classes = normal(*shape, scale=3.0), shape[1] if len(shape) > 1 else shape[0]
    weight = uniform(classes, seed=1)
    plain = {"x": x, "target": labels(shape), "reduction": reduction}
    check("cross_entropy", **plain)
    check("cross_entropy", **plain, weight=weight)
    check("cross_entropy", **plain, label_smoothing=0.1)
    check("cross_entropy", **plain, weight=weight, label_smoothing=0.3)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("ignored", [-100, 2, 10**12])
@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss"])
def test_ignored_targets(isa: str, name: str, ignored: int, reduction: str) -> None:
    for shape in ((7, 10), (2, 21, 4, 3)):
        arguments = {"x": normal(*shape), "target": labels(shape, ignored), "reduction": reduction}
        check(name, **arguments, ignore_index=ignored, weight=uniform(shape[1], seed=1))


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", LOGITS, ids=str)
def test_nll_loss(shape: tuple[int, ...], reduction: str) -> None:
    weight = uniform(shape[1] if len(shape) > 1 else shape[0], seed=1)
    check("nll_loss", x=normal(*shape), target=labels(shape), reduction=reduction)
    check("nll_loss", x=normal(*shape), target=labels(shape), reduction=reduction, weight=weight)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", LOGITS, ids=str)
def test_probabilities_as_targets(shape: tuple[int, ...], reduction: str) -> None:
    classes = shape[1] if len(shape) > 1 else shape[0]
    arguments = {"x": normal(*shape), "target": uniform(*shape, seed=2), "reduction": reduction}
    check("cross_entropy", **arguments)
    check("cross_entropy", **arguments, weight=uniform(classes, seed=1), label_smoothing=0.2)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("mse_loss", {}),
        ("l1_loss", {}),
        ("smooth_l1_loss", {"beta": 1.0}),
        ("smooth_l1_loss", {"beta": 0.3}),
        ("smooth_l1_loss", {"beta": 0.0}),
        ("huber_loss", {"delta": 1.0}),
        ("huber_loss", {"delta": 0.4}),
    ],
)
def test_losses_of_a_difference(isa: str, name: str, options: Arguments, reduction: str) -> None:
    for shape in ((1,), (17,), (5, 33), (2, 3, 4, 5)):
        x, t = normal(*shape), normal(*shape, seed=1)
        check(name, x=x, target=t, reduction=reduction, **options)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_binary_cross_entropies(isa: str, reduction: str) -> None:
    for shape in ((1,), (17,), (5, 33), (2, 3, 4, 5)):
        t, weight = uniform(*shape, seed=1), uniform(*shape, seed=2)
        both = {"target": t, "reduction": reduction}
        check("binary_cross_entropy", x=uniform(*shape), **both)
        check("binary_cross_entropy", x=uniform(*shape), **both, weight=weight)
        x = normal(*shape, scale=5.0)
        check("binary_cross_entropy_with_logits", x=x, **both)
        check("binary_cross_entropy_with_logits", x=x, **both, weight=weight)
        check("binary_cross_entropy_with_logits", x=x, **both, pos_weight=weight[..., :1] * 3)


def test_binary_cross_entropies_at_their_ends(isa: str) -> None:
    x, t = np.float32([0, 0, 1, 1, 1e-20]), np.float32([0, 1, 0, 1, 1])
    check("binary_cross_entropy", x=x, target=t, reduction="none")
    x = np.float32([1e4, 1e4, -1e4, -1e4, 0])
    check("binary_cross_entropy_with_logits", x=x, target=t, reduction="none")


@pytest.mark.parametrize("c", [1, 10, 16, 37])
@pytest.mark.parametrize("before", [False, True])
def test_guards(isa: str, guarded: Any, before: bool, c: int) -> None:
    room = np.full((5, c + 3), np.nan, np.float32)
    room[:, :c] = normal(5, c)
    x, dx = guarded(room[:, :c], before), guarded(room[:, :c], before)
    target, weight = guarded(labels((5, c)), before), guarded(uniform(c), before)
    loss, stats = guarded(normal(5), before), guarded(normal(5, 2), before)
    total, dy = guarded(normal(1), before), guarded(normal(5), before)
    rule = (-100, "none", 0.1)
    _core.cross_entropy_forward(loss, stats, total, x, target, weight, *rule)
    _core.cross_entropy_backward(dx, dy, x, stats, total, target, weight, *rule)
    arguments = {"x": x, "target": target, "weight": weight, "reduction": "none"}
    expected = reference.cross_entropy(**arguments, label_smoothing=0.1)
    np.testing.assert_allclose(loss, expected, rtol=1e-5, atol=1e-5)
    _core.nll_forward(loss, total, x, target, weight, *rule[:2])
    _core.nll_backward(dx, dy, total, target, weight, *rule[:2])
    np.testing.assert_allclose(loss, reference.nll_loss(**arguments), rtol=1e-6)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_threads(isa: str, same_bits: Any, reduction: str) -> None:
    shape = (3, 37, 71, 29)
    arguments = {"x": normal(*shape), "target": labels(shape, -100), "reduction": reduction}
    dy = normal(*(labels(shape).shape if reduction == "none" else ()), seed=9)

    def run() -> np.ndarray:
        parts = ours("cross_entropy", {**arguments, "label_smoothing": 0.1}, dy)
        return np.concatenate([np.ravel(part) for part in parts])

    same_bits(run)


@pytest.mark.parametrize("target", [-1, 10, 2**40, -(2**62)])
@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss"])
def test_target_outside_the_classes(name: str, target: int) -> None:
    t = np.array([3, target, 0])
    with pytest.raises(IndexError, match=f"target {target} at position 1 is not one of the 10"):
        getattr(F, name)(Tensor(normal(3, 10)), Tensor(t))


def test_target_changed_before_backward() -> None:
    """The engine checks again: a target that went bad is refused, not read."""
    target, x = np.array([1, 2]), Tensor(normal(2, 3), requires_grad=True)
    loss = F.cross_entropy(x, target)
    target[0] = 10**9
    with pytest.raises(IndexError, match="target 1000000000 at position 0"):
        loss.backward()


@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss"])
def test_nothing_counts(name: str) -> None:
    loss = getattr(F, name)
    every = Tensor(np.full(4, -100))
    x = Tensor(normal(4, 3), requires_grad=True)
    assert np.isnan(float(loss(x, every).detach())) and float(loss(x, every, reduction="sum")) == 0
    loss(x, every).backward()
    assert not x.grad.numpy().any()
    assert loss(Tensor(np.zeros((0, 3))), np.zeros(0, np.int64), reduction="none").shape == (0,)


def test_integer_targets_of_any_type() -> None:
    x, t = normal(5, 4), labels((5, 4))
    expected = float(F.cross_entropy(Tensor(x), t))
    for kind in (np.uint8, np.int32, np.int64):
        assert float(F.cross_entropy(Tensor(x), t.astype(kind))) == expected
    with pytest.raises(TypeError, match="integers as class targets"):
        F.nll_loss(Tensor(x), t.astype(np.float32))


@pytest.mark.parametrize(
    ("match", "call"),
    [
        (r"class targets \(4,\)", lambda x: F.cross_entropy(x, np.zeros(3, np.int64))),
        (r"input's shape \(4, 3\)", lambda x: F.cross_entropy(x, np.zeros((4, 2)))),
        (r"weight \(3,\)", lambda x: F.cross_entropy(x, labels((4, 3)), Tensor([1.0]))),
        ("label_smoothing", lambda x: F.cross_entropy(x, labels((4, 3)), label_smoothing=2.0)),
        ("reduction must be", lambda x: F.cross_entropy(x, labels((4, 3)), reduction="max")),
        ("target of the input's shape", lambda x: F.binary_cross_entropy(x, x.array[:1])),
        ("weight of the input's shape", lambda x: F.mse_loss(x, x, weight=Tensor([1.0]))),
        ("beta", lambda x: F.smooth_l1_loss(x, x, beta=-1.0)),
        ("delta", lambda x: F.huber_loss(x, x, delta=0.0)),
    ],
)
def test_errors(match: str, call: Any) -> None:
    with pytest.raises(ValueError, match=match):
        call(Tensor(normal(4, 3)))


def test_broadcast_targets_are_warned_of() -> None:
    x = Tensor(normal(4, 3), requires_grad=True)
    with pytest.warns(UserWarning, match=r"\(4, 1\) differs"):
        loss = F.mse_loss(x, np.zeros((4, 1), np.float32))
    loss.backward()
    np.testing.assert_allclose(x.grad.numpy(), x.detach().numpy() / 6, rtol=1e-6)


def test_old_spelling_of_reduction() -> None:
    x, t = Tensor(normal(4, 3)), normal(4, 3, seed=1)
    with pytest.warns(UserWarning, match="reduction='sum'"):
        loss = F.mse_loss(x, t, False)
    assert float(loss) == float(F.mse_loss(x, t, reduction="sum"))


def torch_pair(name: str, x: np.ndarray, t: np.ndarray, **options: Any) -> None:
    """Loss, and the gradients of x and of a float target, against torch."""
    torch = pytest.importorskip("torch")
    grad = t.dtype.kind == "f"
    mine = [Tensor(x, requires_grad=True), Tensor(t, requires_grad=grad)]
    theirs = [torch.tensor(x, requires_grad=True), torch.tensor(t, requires_grad=grad)]
    moved = {k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loss, want = (
            getattr(F, name)(*mine, **options),
            getattr(torch.nn.functional, name)(*theirs, **moved),
        )
    np.testing.assert_allclose(loss.detach().numpy(), want.detach().numpy(), rtol=1e-5, atol=1e-6)
    dy = normal(*loss.shape, seed=9)
    loss.backward(dy)
    want.backward(torch.tensor(dy))
    for ours_, theirs_ in zip(mine[: 1 + grad], theirs, strict=False):
        np.testing.assert_allclose(ours_.grad.numpy(), theirs_.grad.numpy(), rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("reduction", [*REDUCTIONS, "batchmean"])
@pytest.mark.parametrize("log_target", [False, True])
def test_kl_div_is_torchs(reduction: str, log_target: bool) -> None:
    t = uniform(4, 5, seed=1)
    x = np.log(uniform(4, 5))
    torch_pair("kl_div", x, np.log(t) if log_target else t, reduction=reduction,
               log_target=log_target)  # fmt: skip


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_pairs_are_torchs(reduction: str) -> None:
    x, t, w = normal(4, 5), normal(4, 5, seed=1), uniform(4, 5, seed=2)
    for name in ("mse_loss", "l1_loss", "huber_loss"):
        torch_pair(name, x, t, reduction=reduction)
        torch_pair(name, x, t, reduction=reduction, weight=w)
    torch_pair("smooth_l1_loss", x, t, reduction=reduction, beta=0.5)
    p = uniform(4, 5, seed=3)
    torch_pair("binary_cross_entropy", w, p, reduction=reduction, weight=p[:, :1])
    torch_pair("binary_cross_entropy_with_logits", x, p, reduction=reduction)
    torch_pair("binary_cross_entropy_with_logits", x, p, reduction=reduction, weight=w,
               pos_weight=w[0])  # fmt: skip


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", [(5,), (6, 5), (2, 5, 3, 4)], ids=str)
def test_classes_are_torchs(shape: tuple[int, ...], reduction: str) -> None:
    x, w = normal(*shape), uniform(5, seed=1)
    for t in (labels(shape, -100), uniform(*shape, seed=2)):
        torch_pair("cross_entropy", x, t, weight=w, reduction=reduction, label_smoothing=0.1)
    torch_pair("nll_loss", x, labels(shape, 2), weight=w, reduction=reduction, ignore_index=2)
