"""Activations: values and gradients against the reference, torch's corners, in place, layouts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import reference
from reference_cases import positive, some, within

import cnnfast
from cnnfast import Tensor, _core
from cnnfast import functional as F

ACTIVATIONS: list[tuple[str, dict[str, Any]]] = [
    ("relu", {}), ("relu6", {}), ("hardtanh", {}), ("hardtanh", {"min_val": -0.5, "max_val": 2.0}),
    ("leaky_relu", {}), ("leaky_relu", {"negative_slope": -0.3}), ("elu", {}),
    ("elu", {"alpha": 0.7}), ("selu", {}), ("gelu", {}), ("gelu", {"approximate": "tanh"}),
    ("silu", {}), ("mish", {}), ("softplus", {}), ("softplus", {"beta": 3.0, "threshold": 2.0}),
    ("sigmoid", {}), ("logsigmoid", {}), ("tanh", {}), ("hardswish", {}), ("hardsigmoid", {}),
    ("softsign", {}),
]
BEYOND_THE_REFERENCE: list[tuple[str, dict[str, Any]]] = [
    ("celu", {"alpha": 1.5}), ("softshrink", {"lambd": 0.7}), ("hardshrink", {"lambd": 0.7}),
    ("tanhshrink", {}), ("threshold", {"threshold": 0.3, "value": -7.0}),
]
IN_PLACE = ("relu", "relu6", "hardtanh", "leaky_relu", "elu", "celu", "selu", "silu", "mish",
            "hardswish", "hardsigmoid", "threshold")
HARD_SIZES = (0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 101, 1000)
X4 = some(2, 4, 5, 6).astype(np.float32)


def as_layout(array: np.ndarray, layout: str) -> np.ndarray:
    """Store a 4-D array as an image, with gaps, reversed, or as it is."""
    if layout == "image":
        image = _core.empty_image(*array.shape)
        image[...] = array
        return image
    if layout == "steps":
        wide = np.zeros([2 * size for size in array.shape], np.float32)
        wide[:, 1::2, ::2, ::2][: array.shape[0]] = array
        return wide[: array.shape[0], 1::2, ::2, ::2]
    return np.flip(np.flip(array, (0, 3)).copy(), (0, 3)) if layout == "reversed" else array.copy()


EPS = 2.0**-23


def close(mine: Any, expected: Any) -> None:
    """Equal up to 8 float32 roundings of the value, or of 1e-3 near a zero crossing."""
    np.testing.assert_allclose(mine, expected, rtol=8 * EPS, atol=8e-3 * EPS)


def gradient_close(mine: Any, expected: Any) -> None:
    """As `close`; a gradient of |dy| <= 2 may lose 4 roundings of 1 where 1 - y cancels."""
    np.testing.assert_allclose(mine, expected, rtol=32 * EPS, atol=8 * EPS)


def reference_name(name: str) -> str:
    return {"logsigmoid": "log_sigmoid"}.get(name, name)


@pytest.mark.parametrize("layout", ["dense", "image", "steps", "reversed"])
@pytest.mark.parametrize(("name", "options"), ACTIVATIONS)
def test_is_the_references(isa: str, name: str, options: dict[str, Any], layout: str) -> None:
    x = Tensor.wrap(as_layout(X4, layout)).requires_grad_()
    dy = within(-2, 2, *X4.shape, seed=3).astype(np.float32)
    y = getattr(F, name)(x, **options)
    y.backward(dy)
    close(y.detach().numpy(), getattr(reference, reference_name(name))(X4, **options))
    expected = getattr(reference, f"{reference_name(name)}_backward")(dy, X4, **options)
    gradient_close(x.grad.numpy(), expected)


def test_hardswish_with_factor_and_summand(isa: str) -> None:
    x, dy = within(-4, 4, 37).astype(np.float32), within(-2, 2, 37, seed=3).astype(np.float32)
    y, dx = np.empty_like(x), np.empty_like(x)
    _core.unary("hardswish_affine", y, x, 1.5, -0.5)
    _core.unary_backward("hardswish_affine", dx, dy, x, 1.5, -0.5)
    close(y, 1.5 * reference.hardswish(x) - 0.5)
    gradient_close(dx, 1.5 * reference.hardswish_backward(dy, x))


@pytest.mark.parametrize("size", HARD_SIZES)
@pytest.mark.parametrize("name", ["relu", "gelu", "hardswish"])
def test_sizes_that_hurt(
    isa: str, guarded: Any, same_bits: Any, name: str, size: int
) -> None:
    x = guarded(within(-4, 4, size).astype(np.float32))
    y, dx, dy = guarded(x), guarded(x, before=True), guarded(x, before=True)
    _core.unary(name, y, x)
    close(y, getattr(reference, name)(x))
    saved = y if name in _core.UNARY_BY_RESULT else x
    _core.unary_backward(name, dx, dy, saved)
    gradient_close(dx, getattr(reference, f"{name}_backward")(dy, x))


@pytest.mark.parametrize("name", _core.UNARY_KINDS)
def test_same_bits_for_any_thread_count(same_bits: Any, name: str) -> None:
    x = within(0.1, 3, 3, 65536).astype(np.float32)

    def run() -> np.ndarray:
        y, dx = np.empty_like(x), np.empty_like(x)
        _core.unary(name, y, x, 0.5, 2.0)
        _core.unary_backward(name, dx, x, y if name in _core.UNARY_BY_RESULT else x, 0.5, 2.0)
        return np.stack([y, dx])

    same_bits(run)


@pytest.mark.parametrize("name", IN_PLACE)
def test_in_place_overwrites_and_has_the_same_gradient(name: str) -> None:
    options = {"threshold": 0.3, "value": -7.0} if name == "threshold" else {}
    grads = []
    for inplace in (False, True):
        x = Tensor(X4, requires_grad=True)
        h = x * 1.0
        y = getattr(F, name)(h, inplace=inplace, **options)
        assert (y is h) is inplace
        (y * y).sum().backward()
        grads.append(x.grad.numpy())
    np.testing.assert_array_equal(grads[0], grads[1])


def test_in_place_on_a_leaf_is_refused() -> None:
    x = Tensor(X4, requires_grad=True)
    with pytest.raises(RuntimeError, match="leaf"):
        F.relu(x, inplace=True)
    with cnnfast.no_grad():
        F.relu(x, inplace=True)
    assert x.detach().numpy().min() == 0


def test_in_place_on_integers_is_refused() -> None:
    with pytest.raises(TypeError, match="float32"):
        F.relu(Tensor([1, 2]), inplace=True)


def test_changing_a_saved_input_or_result_is_noticed() -> None:
    for name in ("silu", "sigmoid"):
        x = Tensor(X4, requires_grad=True) * 1.0
        y = getattr(F, name)(x)
        with cnnfast.no_grad():
            (y if name == "sigmoid" else x).mul_(2.0)
        with pytest.raises(RuntimeError, match="changed in place"):
            y.sum().backward()


def test_integers_compute_in_float32() -> None:
    y = F.relu(Tensor(np.array([-1, 2], np.int64)))
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y.numpy(), [0, 2])


@pytest.mark.parametrize("shape", [(), (3,), (0, 4)])
def test_any_rank(shape: tuple[int, ...]) -> None:
    x = Tensor(np.ones(shape, np.float32), requires_grad=True)
    F.mish(x).sum().backward()
    assert x.grad.shape == shape


@pytest.mark.parametrize(("x", "slopes"), [(X4, 4), (X4, 1), (some(3, 5), 5), (some(6), 1)])
def test_prelu(isa: str, x: np.ndarray, slopes: int) -> None:
    w = Tensor(positive(slopes, seed=1), requires_grad=True)
    a = Tensor(x, requires_grad=True)
    y = F.prelu(a, w)
    dy = within(-2, 2, *x.shape).astype(np.float32)
    y.backward(dy)
    close(y.detach().numpy(), reference.prelu(x, w.detach().numpy()))
    dx, dw = reference.prelu_backward(dy, x, w.detach().numpy())
    close(a.grad.numpy(), dx)
    np.testing.assert_allclose(w.grad.numpy(), dw, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: F.prelu(x, Tensor([1.0, 2.0])), "prelu: expected a weight of one element"),
        (lambda x: F.gelu(x, "fast"), 'expected "none" or "tanh", got \'fast\''),
        (lambda x: F.hardtanh(x, 2.0, 1.0), "min_val must not be above max_val"),
        (lambda x: F.softplus(x, beta=0.0), "beta, which must not be 0"),
        (lambda x: F.celu(x, 0.0), "alpha, which must not be 0"),
        (lambda x: F.softshrink(x, -1.0), "lambd must not be negative"),
    ],
)
def test_bad_arguments_are_named(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(Tensor(X4))


@pytest.mark.parametrize(("name", "options"), ACTIVATIONS + BEYOND_THE_REFERENCE)
def test_is_torchs_at_the_corners(name: str, options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    magnitudes = [0, 0.5, 0.7, 1, 2, 3, 6, 20, 88]
    corners = np.float32([*magnitudes, *np.negative(magnitudes), 1e30])
    x, theirs = Tensor(corners, requires_grad=True), torch.tensor(corners, requires_grad=True)
    y = getattr(F, name)(x, **options)
    expected = getattr(torch.nn.functional, name)(theirs, **options)
    # Torch's gelu loses digits in the left tail: 5e-7 at -3.
    np.testing.assert_allclose(y.detach().numpy(), expected.detach(), rtol=4e-6, atol=1e-6)
    y.sum().backward()
    expected.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), theirs.grad, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("name", "options"), ACTIVATIONS)
def test_nan_stays_nan(isa: str, name: str, options: dict[str, Any]) -> None:
    assert np.isnan(getattr(F, name)(Tensor([np.nan] * 17), **options).numpy()).all()
