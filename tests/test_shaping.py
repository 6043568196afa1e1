"""Views, joins and shuffles: values, gradients and sharing of memory, as in torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import reference
from reference_cases import some, within

import cnnfast
from cnnfast import Tensor, _core
from cnnfast import functional as F

X = some(2, 4, 6, 3).astype(np.float32)


def image_of(array: np.ndarray) -> np.ndarray:
    image = _core.empty_image(*array.shape)
    image[...] = array
    return image


# Each takes a cnnfast or a torch tensor of shape (2, 4, 6, 3).
VIEWS: dict[str, Callable[[Any], Any]] = {
    "reshape": lambda x: x.reshape(8, -1),
    "reshape tuple": lambda x: x.reshape((3, 6, 8)),
    "flatten": lambda x: x.flatten(1),
    "flatten all": lambda x: x.flatten(),
    "flatten middle": lambda x: x.flatten(1, -2),
    "unflatten": lambda x: x.unflatten(1, (2, -1)),
    "permute": lambda x: x.permute(0, 2, 3, 1),
    "permute tuple": lambda x: x.permute((3, -2, 0, 1)),
    "transpose": lambda x: x.transpose(1, -1),
    "mT": lambda x: x.mT,
    "movedim": lambda x: x.movedim(1, 3),
    "squeeze": lambda x: x[:1].squeeze(),
    "squeeze dim": lambda x: x[:, :1].squeeze(1).squeeze(0),
    "unsqueeze": lambda x: x.unsqueeze(0).unsqueeze(-1),
    "expand": lambda x: x[:, :1].expand(-1, 5, 6, 3),
    "expand new": lambda x: x[:1].expand(2, 3, 4, 6, 3),
    "repeat": lambda x: x.repeat(2, 1, 1, 3),
    "repeat new": lambda x: x[0].repeat(2, 1, 2, 1),
    "flip": lambda x: x.flip(0, 2),
    "narrow": lambda x: x.narrow(2, 1, 3),
    "narrow end": lambda x: x.narrow(2, -2, 2),
    "select": lambda x: x.select(1, -1),
    "split": lambda x: x.split(4, 2)[1],
    "split sizes": lambda x: x.split([1, 3], 1)[1],
    "chunk": lambda x: x.chunk(4, 2)[2],
    "unbind": lambda x: x.unbind(1)[2],
    "contiguous": lambda x: x.permute(1, 0, 3, 2).contiguous(),
    "clone": lambda x: x.clone(),
}


@pytest.mark.parametrize("layout", [np.array, image_of])
@pytest.mark.parametrize("name", VIEWS)
def test_is_torchs(name: str, layout: Callable[[np.ndarray], np.ndarray]) -> None:
    torch = pytest.importorskip("torch")
    x, theirs = Tensor.wrap(layout(X)).requires_grad_(), torch.tensor(X, requires_grad=True)
    y, expected = VIEWS[name](x), VIEWS[name](theirs)
    np.testing.assert_array_equal(y.detach().numpy(), expected.detach())
    dy = within(-2, 2, *y.shape).astype(np.float32)
    y.backward(dy)
    expected.backward(torch.tensor(dy))
    np.testing.assert_allclose(x.grad.numpy(), theirs.grad, rtol=1e-6, atol=1e-6)


SHARING = ["permute", "transpose", "movedim", "unsqueeze", "expand", "narrow", "select", "split"]


@pytest.mark.parametrize("name", SHARING)
def test_a_view_shares_memory_and_version(name: str) -> None:
    x = Tensor(X)
    y = VIEWS[name](x)
    assert np.shares_memory(x.numpy(), y.numpy())
    y.bump_version()
    assert x.version_counter is y.version_counter


def test_flattening_an_image_keeps_the_logical_order() -> None:
    x = Tensor.wrap(image_of(X))
    np.testing.assert_array_equal(x.flatten(1).numpy(), X.reshape(2, -1))
    assert not np.shares_memory(x.flatten(1).numpy(), x.numpy())


def test_integers_keep_their_type() -> None:
    x = Tensor(np.arange(6, dtype=np.int32).reshape(2, 3))
    for y in (x.reshape(3, 2), x.T, x[None], x.flip(1), cnnfast.cat([x, x]), x.clone()):
        assert y.dtype == np.int32


@pytest.mark.parametrize("dim", [0, 1, 2, -1])
@pytest.mark.parametrize("layout", [np.array, image_of])
def test_cat(isa: str, layout: Callable[[np.ndarray], np.ndarray], dim: int) -> None:
    parts = [np.take(X, range(n), dim) for n in (1, 2, 1)]
    inputs = [Tensor.wrap(layout(part)).requires_grad_() for part in parts]
    y = cnnfast.cat(inputs, dim)
    expected = reference.concat(parts, dim).astype(np.float32)
    np.testing.assert_array_equal(y.detach().numpy(), expected)
    assert (layout is image_of) <= _core.is_image(y.array)
    dy = within(-2, 2, *y.shape).astype(np.float32)
    y.backward(dy)
    for mine, dx in zip(inputs, reference.concat_backward(dy, parts, dim), strict=True):
        np.testing.assert_array_equal(mine.grad.numpy(), dx.astype(np.float32))


def test_cat_passes_over_empty_tensors_and_mixes_types() -> None:
    y = cnnfast.cat([Tensor(np.zeros(0)), Tensor([[1, 2]]), Tensor([[0.5, 1.5]])])
    np.testing.assert_array_equal(y.numpy(), [[1, 2], [0.5, 1.5]])
    assert cnnfast.cat([Tensor([1]), Tensor([2])]).dtype == np.int64


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_stack(dim: int) -> None:
    a, b = Tensor(X[0], requires_grad=True), Tensor(X[1])
    y = cnnfast.stack([a, b], dim)
    np.testing.assert_array_equal(y.detach().numpy(), np.stack([X[0], X[1]], dim))
    y.sum().backward()
    np.testing.assert_array_equal(a.grad.numpy(), np.ones_like(X[0]))


@pytest.mark.parametrize("layout", [np.array, image_of])
@pytest.mark.parametrize(
    ("name", "shape", "factor"),
    [
        ("pixel_shuffle", (2, 12, 3, 5), 2), ("pixel_shuffle", (1, 9, 1, 1), 3),
        ("pixel_unshuffle", (2, 3, 4, 6), 2), ("channel_shuffle", (2, 6, 3, 5), 3),
        ("channel_shuffle", (2, 6, 3, 5), 1), ("pixel_shuffle", (0, 4, 3, 3), 2),
    ],
)
def test_shuffles(
    isa: str, name: str, shape: tuple[int, ...], factor: int, layout: Callable[..., np.ndarray]
) -> None:
    values = some(*shape).astype(np.float32)
    x = Tensor.wrap(layout(values)).requires_grad_()
    y = getattr(F, name)(x, factor)
    expected = getattr(reference, name)(values, factor)
    np.testing.assert_array_equal(y.detach().numpy(), expected.astype(np.float32))
    dy = within(-2, 2, *y.shape).astype(np.float32)
    y.backward(dy)
    gradient = getattr(reference, f"{name}_backward")(dy, values, factor)
    np.testing.assert_array_equal(x.grad.numpy(), gradient.astype(np.float32))


@pytest.mark.parametrize("shape", [(12, 2, 3), (2, 5, 12, 2, 3)])
def test_pixel_shuffle_with_other_ranks(shape: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch")
    values = some(*shape).astype(np.float32)
    up = F.pixel_shuffle(Tensor(values), 2)
    expected = torch.nn.functional.pixel_shuffle(torch.tensor(values), 2)
    np.testing.assert_array_equal(up.numpy(), expected)
    np.testing.assert_array_equal(F.pixel_unshuffle(up, 2).numpy(), values)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: x.reshape(5, -1), "the 144 elements of shape .* do not fill"),
        (lambda x: x.reshape(-1, -1), "at most one -1"),
        (lambda x: x.permute(0, 1, 2, 2), "expected each of 4 axes once"),
        (lambda x: x.expand(2, 4, 6, 5), "does not expand to"),
        (lambda x: x.expand(6, 3), "does not expand to"),
        (lambda x: x.flatten(2, 1), "start_dim 2 comes after end_dim 1"),
        (lambda x: x.narrow(0, 1, 2), "lie outside of axis 0"),
        (lambda x: x.split([1, 1], 1), "do not add up to 4"),
        (lambda x: x.split(0), "a size of at least 1"),
        (lambda x: x.chunk(0), "at least one chunk"),
        (lambda x: x.repeat(2, 2), "a count for each of 4 axes"),
        (lambda x: x.t(), "at most 2 axes"),
        (lambda x: cnnfast.cat([x, x[:, :1]]), "differ in more than axis 0"),
        (lambda x: cnnfast.cat([]), "at least one tensor"),
        (lambda x: cnnfast.cat([Tensor(1.0)]), "out of range|stack"),
        (lambda x: cnnfast.stack([x, x[:1]]), "tensors of one shape"),
        (lambda x: F.pixel_shuffle(x, 3), "pixel_shuffle: expected"),
        (lambda x: F.pixel_unshuffle(x, 2), "pixel_unshuffle: expected"),
        (lambda x: F.channel_shuffle(x, 3), "groups must divide"),
    ],
)
def test_bad_arguments_are_named(call: Callable[[Tensor], Any], message: str) -> None:
    with pytest.raises((ValueError, IndexError), match=message):
        call(Tensor(X))
