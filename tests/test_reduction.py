"""Reductions: accuracy, layouts, determinism, positions of extremes, gradients, torch's options."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import reference
from boxes import narrowed, some_shape, strided
from reference_cases import some, within

import cnnfast
from cnnfast import Tensor, _core
from cnnfast import functional as F

EPS = 2.0**-24
X = some(2, 5, 3, 4).astype(np.float32)
REDUCE = {"sum": np.sum, "mean": np.mean, "prod": np.prod, "max": np.max, "min": np.min}
DIMS = [None, 0, 1, -1, (0, 2, 3), (2, 3), (-2, 0), (0, 1, 2, 3)]


@pytest.mark.parametrize("kind", REDUCE)
def test_any_axes_of_any_strides(isa: str, kind: str) -> None:
    rng = np.random.default_rng(0)
    for _ in range(150):
        shape = some_shape(rng)
        kept = narrowed(rng, shape)
        if 0 in shape and kind in ("max", "min", "mean"):
            continue
        x, y = strided(rng, shape), strided(rng, kept)
        if kind == "prod":
            x[...] = 1.01
        axes = tuple(i for i, n in enumerate(kept) if n == 1)
        _core.reduce(kind, y, x)
        expected = REDUCE[kind](x.astype(np.float64), axis=axes, keepdims=True)
        bound = REDUCE[kind](np.abs(x.astype(np.float64)), axis=axes, keepdims=True)
        np.testing.assert_array_less(np.abs(y - expected), 16 * EPS * np.abs(bound) + 1e-37)


def test_ten_million_terms_keep_their_digits(isa: str, same_bits: Any) -> None:
    x = np.random.default_rng(0).random(10_000_000, np.float32)
    y = np.empty(1, np.float32)

    def run() -> np.ndarray:
        _core.reduce("sum", y, x)
        return y

    exact = x.sum(dtype=np.float64)
    assert abs(same_bits(run)[0] - exact) <= 2 * EPS * exact


@pytest.mark.parametrize(
    "kept", [(1, 64, 1, 1), (4, 1, 1, 1), (1, 1, 40, 40), (1, 1, 1, 1), (4, 64, 1, 1)]
)
@pytest.mark.parametrize("layout", ["image", "dense"])
@pytest.mark.parametrize("kind", ["sum", "sum_square", "max"])
def test_same_bits_for_any_thread_count(
    same_bits: Any, kind: str, layout: str, kept: tuple[int, ...]
) -> None:
    shape = (4, 64, 40, 40)
    x = _core.empty_image(*shape) if layout == "image" else _core.empty(shape)
    x[...] = within(-1, 1, *x.shape)
    y = np.empty(kept, np.float32)

    def run() -> np.ndarray:
        _core.reduce(kind, y, x)
        return y

    values = np.square(x, dtype=np.float64) if kind == "sum_square" else x.astype(np.float64)
    axes = tuple(i for i, n in enumerate(kept) if n == 1)
    expected = (np.max if kind == "max" else np.sum)(values, axis=axes, keepdims=True)
    np.testing.assert_allclose(same_bits(run), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("size", [1, 3, 4, 5, 15, 16, 17, 63, 64, 65, 2047, 2049])
def test_reads_nothing_beyond_its_operand(isa: str, guarded: Any, size: int) -> None:
    for shape, kept in (((size,), (1,)), ((3, size), (1, size)), ((size, 3), (size, 1))):
        x = guarded(np.random.default_rng(size).random(shape, np.float32))
        y = guarded(np.empty(kept, np.float32))
        for kind in ("sum", "max"):
            _core.reduce(kind, y, x)
            axes = tuple(i for i, n in enumerate(kept) if n == 1)
            np.testing.assert_allclose(y, REDUCE[kind](x, axis=axes, keepdims=True), rtol=1e-6)


@pytest.mark.parametrize("at", [0, 1, 5, 16, 40, 99])
@pytest.mark.parametrize("kind", ["max", "min", "sum", "argmax", "argmin"])
def test_nan_wins(isa: str, kind: str, at: int) -> None:
    for shape in ((100,), (100, 3), (3, 100)):
        x = within(-1, 1, *shape).astype(np.float32)
        axis = shape.index(100)
        np.moveaxis(x, axis, 0)[at] = np.nan
        y = getattr(F, kind)(Tensor(x), axis)
        values = (y[0] if kind in ("max", "min") else y).numpy()
        assert (values == at if "arg" in kind else np.isnan(values)).all()


@pytest.mark.parametrize("dim", [None, 0, 1, -1])
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("kind", ["argmax", "argmin"])
def test_position_is_the_first(isa: str, kind: str, ties: bool, dim: int | None) -> None:
    rng = np.random.default_rng(0)
    for _ in range(40):
        shape = tuple(int(n) for n in rng.integers(1, 70, rng.integers(1, 4)))
        dim_here = None if dim is None else dim % len(shape)
        x = strided(rng, shape)
        if ties:
            x = np.round(x)
        mine = getattr(F, kind)(Tensor.wrap(x), dim_here)
        np.testing.assert_array_equal(mine.numpy(), getattr(x, kind)(dim_here))


@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("name", ["sum", "mean", "amax"])
def test_value_and_gradient_are_the_references(name: str, dim: Any, keepdim: bool) -> None:
    x = Tensor(X, requires_grad=True)
    y = getattr(F, name)(x, dim, keepdim)
    expected = getattr(reference, name)(X, dim, keepdim)
    np.testing.assert_allclose(y.detach().numpy(), expected, rtol=1e-6, atol=1e-6)
    assert y.shape == expected.shape
    dy = within(-2, 2, *y.shape).astype(np.float32)
    y.backward(dy)
    gradient = getattr(reference, f"{name}_backward")(dy, X, dim, keepdim)
    np.testing.assert_allclose(x.grad.numpy(), gradient, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("dim", [0, 1, 2, -1])
def test_max_along_an_axis(dim: int, keepdim: bool) -> None:
    x = Tensor(np.round(X), requires_grad=True)
    values, indices = x.max(dim, keepdim)
    expected, positions = reference.max(np.round(X), dim, keepdim)
    np.testing.assert_array_equal(values.detach().numpy(), expected)
    np.testing.assert_array_equal(indices.numpy(), positions)
    dy = within(-2, 2, *values.shape).astype(np.float32)
    values.backward(dy)
    gradient = reference.max_backward(dy, np.round(X), dim, keepdim)
    np.testing.assert_array_equal(x.grad.numpy(), gradient.astype(np.float32))


OPTIONS: list[tuple[str, dict[str, Any]]] = [
    ("var", {}), ("var", {"dim": 1}), ("var", {"dim": (0, 2), "correction": 0, "keepdim": True}),
    ("std", {"dim": -1, "unbiased": False}), ("std", {}), ("norm", {}),
    ("norm", {"p": 1, "dim": 1}), ("norm", {"p": float("inf"), "dim": (1, 2)}),
    ("norm", {"dim": 3, "keepdim": True}), ("prod", {}), ("prod", {"dim": 2}),
    ("prod", {"dim": 0, "keepdim": True}), ("amin", {"dim": (0, 3)}), ("min", {}), ("max", {}),
]


@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize(("name", "options"), OPTIONS)
def test_value_and_gradient_are_torchs(name: str, options: dict[str, Any], zeros: bool) -> None:
    torch = pytest.importorskip("torch")
    values = np.round(within(0.5, 2, 2, 5, 3, 4), 2).astype(np.float32)
    if zeros and name == "prod":
        values[0, 1, 2, 3] = values[1, 0, 1, 2] = 0
    x, theirs = Tensor(values, requires_grad=True), torch.tensor(values, requires_grad=True)
    y, expected = getattr(x, name)(**options), getattr(theirs, name)(**options)
    np.testing.assert_allclose(y.detach().numpy(), expected.detach(), rtol=1e-5, atol=1e-6)
    y.sum().backward()
    expected.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), theirs.grad, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["sum", "prod", "amax", "amin", "argmax", "all", "any"])
@pytest.mark.parametrize("dim", [None, 0, 1])
def test_integers_stay_integers(name: str, dim: int | None) -> None:
    x = np.random.default_rng(0).integers(0, 3, (4, 5))
    y = getattr(Tensor(x), name)(dim)
    expected = getattr(x, {"amax": "max", "amin": "min"}.get(name, name))(dim)
    np.testing.assert_array_equal(y.numpy(), expected)
    assert y.dtype == np.asarray(expected).dtype


def test_no_elements() -> None:
    x = cnnfast.zeros(0, 3)
    assert x.sum().item() == 0 and x.prod().item() == 1 and np.isnan(x.mean().item())
    np.testing.assert_array_equal(x.sum(0).numpy(), [0, 0, 0])
    assert x.amax(1).shape == (0,)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: x.sum(4), IndexError, "dim 4 is out of range: expected -4 to 3"),
        (lambda x: x.mean((0, -4)), ValueError, "names an axis twice"),
        (lambda x: cnnfast.zeros(0, 3).amax(0), ValueError, "no elements along axes"),
        (lambda x: cnnfast.zeros(0).argmax(), ValueError, "no elements along axes"),
        (lambda x: x.norm(3), ValueError, "expected p of 1, 2, inf"),
    ],
)
def test_bad_arguments_are_named(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(Tensor(X))


def test_primitive_refuses_shapes_that_do_not_fit() -> None:
    x = np.zeros((2, 3), np.float32)
    with pytest.raises(ValueError, match="expected x's size 3 or 1 on axis 1"):
        _core.reduce("sum", np.zeros((2, 2), np.float32), x)
    with pytest.raises(TypeError, match="int64"):
        _core.argmax(np.zeros((2, 1), np.float32), x, 1)
    with pytest.raises(ValueError, match="axis: expected one of"):
        _core.argmax(np.zeros((2, 1), np.int64), x, 2)


@pytest.mark.parametrize("shape", [(40, 3), (3, 40), (1, 1), (700, 130), (130, 700), (5, 64)])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("largest", [True, False])
def test_positions_of_the_first_extreme(
    isa: str, shape: tuple[int, int], axis: int, largest: bool
) -> None:
    """Few different values, so that ties are many; then with a NaN, the first of which wins."""
    x = np.random.default_rng(0).integers(0, 9, shape).astype(np.float32)
    wanted, name = (np.argmax, "argmax") if largest else (np.argmin, "argmin")
    np.testing.assert_array_equal(getattr(Tensor(x), name)(dim=axis).numpy(), wanted(x, axis))
    x[shape[0] // 2 :, shape[1] // 2 :] = np.nan
    np.testing.assert_array_equal(getattr(Tensor(x), name)(dim=axis).numpy(), wanted(x, axis))


@pytest.mark.parametrize("columns", [1, 3, 15])
def test_few_dense_columns(isa: str, columns: int) -> None:
    x = np.random.default_rng(0).standard_normal((5003, columns)).astype(np.float32)
    np.testing.assert_allclose(Tensor(x).sum(dim=0).numpy(), x.sum(0, np.float64), atol=1e-3)
    np.testing.assert_array_equal(Tensor(x).amax(dim=0).numpy(), x.max(0))
