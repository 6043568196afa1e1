"""Softmax and log-softmax against the reference and torch, in every layout."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import reference

import cnnfast
from cnnfast import Tensor, _core
from cnnfast import functional as F

EPSILON = float(np.finfo(np.float32).eps)
WIDTHS = (1, 2, 10, 15, 16, 17, 31, 33, 1000, 5003)
NAMES = ("softmax", "log_softmax")


def normal(*shape: int, seed: int = 0, scale: float = 3.0) -> np.ndarray:
    """Normal float32 values."""
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(np.float32)


def ours(name: str, x: np.ndarray, dim: int, dy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The result and the gradient."""
    tensor = Tensor(x, requires_grad=True)
    y = getattr(F, name)(tensor, dim)
    y.backward(dy)
    return y.detach().numpy(), tensor.grad.numpy()


def check(name: str, x: np.ndarray, dim: int) -> None:
    """Compare with the reference.

    A softmax is within a few roundings, and e^r takes those of r, up to 2^-24 |x - max|, with it;
    its gradient is a sum of at most max |dy| y, log-softmax's one of |dy|.
    """
    dy = normal(*x.shape, seed=1, scale=1.0)
    y, dx = ours(name, x, dim, dy)
    spread = 1 + float(np.ptp(x.astype(np.float64), axis=dim).max())
    atol = 8 * EPSILON * spread
    np.testing.assert_allclose(y, getattr(reference, name)(x, dim), rtol=atol, atol=atol)
    bound = abs(dy).max() if name == "softmax" else abs(dy).sum(axis=dim).max()
    want = getattr(reference, f"{name}_backward")(dy, x, dim)
    np.testing.assert_allclose(dx, want, rtol=0, atol=atol * bound)


@pytest.mark.parametrize("c", WIDTHS)
@pytest.mark.parametrize("name", NAMES)
def test_rows(isa: str, name: str, c: int) -> None:
    check(name, normal(7, c), 1)
    check(name, normal(c), 0)


@pytest.mark.parametrize("dim", [0, 1, 2, 3, -1, -3])
@pytest.mark.parametrize("name", NAMES)
def test_any_axis_of_an_image(name: str, dim: int) -> None:
    check(name, normal(3, 19, 4, 5), dim)
    image = _core.empty_image(2, 256, 3, 4)  # a pitch wider than its channels
    image[...] = normal(2, 256, 3, 4)
    with cnnfast.no_grad():
        y = getattr(F, name)(Tensor.wrap(image), dim).numpy()
    np.testing.assert_allclose(y, getattr(reference, name)(image, dim), rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("name", NAMES)
def test_large_logits(isa: str, name: str) -> None:
    """Neither overflow nor a loss of digits where logits are large."""
    x = np.array([[1e4, 1e4 - 3, -1e4], [-1e38, 1e38, 0], [88.7, -104, 0]], np.float32)
    y = getattr(F, name)(Tensor(x), 1).numpy()
    np.testing.assert_allclose(y, getattr(reference, name)(x, 1), rtol=1e-6, atol=1e-37)


@pytest.mark.parametrize("name", NAMES)
def test_infinities_and_nan(isa: str, name: str) -> None:
    x = normal(4, 37)
    x[1, 5], x[2], x[3, 36] = np.nan, -np.inf, -np.inf
    y = getattr(F, name)(Tensor(x), 1).numpy()
    assert np.isnan(y[1:3]).all() and not np.isnan(y[[0, 3]]).any()
    np.testing.assert_allclose(y[3], getattr(reference, name)(x[3], 0), rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_threads(isa: str, same_bits: Any, name: str) -> None:
    x, dy = normal(3001, 37), normal(3001, 37, seed=1)
    same_bits(lambda: np.concatenate(ours(name, x, 1, dy)))


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("c", [1, 10, 16, 37])
@pytest.mark.parametrize("log", [False, True])
def test_guards(isa: str, guarded: Any, log: bool, c: int, before: bool) -> None:
    def place(seed: int) -> np.ndarray:
        room = np.full((5, c + 3), np.nan, np.float32)
        room[:, :c] = normal(5, c, seed=seed)
        return guarded(room[:, :c], before)

    x, dy, y, dx = (place(seed) for seed in range(4))
    _core.softmax_forward(y, x, log)
    _core.softmax_backward(dx, dy, y, log)
    name = "log_softmax" if log else "softmax"
    np.testing.assert_allclose(y, getattr(reference, name)(x, 1), rtol=1e-5, atol=1e-5)
    want = getattr(reference, f"{name}_backward")(dy, x, 1)
    np.testing.assert_allclose(dx, want, rtol=1e-4, atol=1e-4)


def test_corners() -> None:
    assert F.softmax(Tensor(3.0), 0).numpy() == 1 and F.softmax(Tensor(3.0), 0).shape == ()
    assert F.softmax(Tensor(np.zeros((0, 5))), 1).shape == (0, 5)
    assert F.log_softmax(Tensor(np.zeros((5, 0))), 1).shape == (5, 0)
    np.testing.assert_allclose(F.softmin(Tensor([0.0, 1.0]), 0).numpy(), [0.731059, 0.268941], 1e-5)
    with pytest.raises(IndexError, match="dim 2"):
        F.softmax(Tensor([[1.0]]), 2)


@pytest.mark.parametrize(("ndim", "dim"), [(1, 0), (2, 1), (3, 0), (4, 1)])
def test_dim_left_out(ndim: int, dim: int) -> None:
    x = normal(*[3] * ndim)
    with pytest.warns(UserWarning, match=f"dim={dim}"):
        y = F.softmax(Tensor(x))
    np.testing.assert_array_equal(y.numpy(), F.softmax(Tensor(x), dim).numpy())


def test_changed_result_is_refused() -> None:
    x = Tensor(normal(2, 3), requires_grad=True)
    y = F.softmax(x, 1)
    y.detach().copy_(0.0)
    with pytest.raises(RuntimeError, match="softmax"):
        y.backward(np.ones((2, 3), np.float32))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("shape", "dim"), [((4, 10), 1), ((4, 10), 0), ((2, 7, 3, 5), 1)])
def test_torch(name: str, shape: tuple[int, ...], dim: int) -> None:
    torch = pytest.importorskip("torch")
    x, dy = normal(*shape), normal(*shape, seed=1)
    theirs = torch.tensor(x, requires_grad=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = getattr(torch.nn.functional, name)(theirs, dim)
    result.backward(torch.tensor(dy))
    y, dx = ours(name, x, dim, dy)
    np.testing.assert_allclose(y, result.detach().numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(dx, theirs.grad.numpy(), rtol=1e-4, atol=1e-5)
