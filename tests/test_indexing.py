"""Indexing: NumPy's rules over generated keys, gradients, assignment, guards."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import cnnfast
from cnnfast import Tensor, _core
from cnnfast import functional as F

GENERATED = settings(max_examples=150, deadline=None, derandomize=True, database=None)
SHAPES = hnp.array_shapes(min_dims=1, max_dims=4, max_side=5)


def counted(shape: tuple[int, ...]) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


@st.composite
def keys(draw: Any) -> tuple[tuple[int, ...], Any]:
    """A shape and a key for it: basic, by integers, by booleans, or a mix."""
    shape = draw(SHAPES)
    kind = draw(st.sampled_from(["basic", "integers", "booleans", "mixed"]))
    if kind == "basic":
        return shape, draw(hnp.basic_indices(shape, allow_newaxis=True))
    if kind == "integers":
        return shape, draw(hnp.integer_array_indices(shape))
    if kind == "booleans":
        part = shape[: draw(st.integers(1, len(shape)))]
        return shape, draw(hnp.arrays(bool, part))
    parts: list[Any] = []
    for size in shape:
        how = draw(st.sampled_from(["all", "slice", "int", "list"]))
        if how == "slice":
            parts.append(draw(st.slices(size)))
        elif how == "all":
            parts.append(slice(None))
        elif how == "int":
            parts.append(draw(st.integers(-size, size - 1)))
        else:
            parts.append(draw(st.lists(st.integers(-size, size - 1), min_size=2, max_size=2)))
    return shape, tuple(parts)


@GENERATED
@given(keys())
def test_every_key_gives_numpys_elements_and_gradient(case: tuple[tuple[int, ...], Any]) -> None:
    shape, key = case
    values = counted(shape)
    x = Tensor(values, requires_grad=True)
    y = x[key]
    np.testing.assert_array_equal(y.detach().numpy(), values[key])
    assert y.shape == values[key].shape
    dy = np.random.default_rng(0).integers(1, 9, y.shape).astype(np.float32)
    y.backward(dy)
    expected = np.zeros_like(values)
    np.add.at(expected, key, dy)
    np.testing.assert_array_equal(x.grad.numpy(), expected)


@GENERATED
@given(keys(), st.booleans())
def test_every_key_can_be_assigned(case: tuple[tuple[int, ...], Any], broadcast: bool) -> None:
    shape, key = case
    expected = counted(shape)
    part = np.full_like(expected[key], 7) if broadcast else -expected[key]
    x = Tensor(expected)
    x[key] = 7 if broadcast else Tensor(part)
    expected[key] = part
    np.testing.assert_array_equal(x.numpy(), expected)


def test_keys_may_be_tensors() -> None:
    x, values = Tensor(counted((4, 5))), counted((4, 5))
    np.testing.assert_array_equal(x[Tensor([2, 0])].numpy(), values[[2, 0]])
    np.testing.assert_array_equal(x[x > 7].numpy(), values[values > 7])
    np.testing.assert_array_equal(x[Tensor(1)].numpy(), values[1])
    np.testing.assert_array_equal(x[:, Tensor([1, 1])].numpy(), values[:, [1, 1]])
    np.testing.assert_array_equal(x[[]].numpy(), values[[]])
    np.testing.assert_array_equal(x[np.int64(1)].numpy(), values[1])


def test_slices_view_and_arrays_copy() -> None:
    x = Tensor(counted((4, 5)))
    assert np.shares_memory(x[1:, ::2].numpy(), x.numpy())
    assert np.shares_memory(x[Tensor(2)].numpy(), x.numpy())
    assert not np.shares_memory(x[[1, 2]].numpy(), x.numpy())


def test_integers_are_indexed_as_integers() -> None:
    x = Tensor(np.arange(6).reshape(2, 3))
    assert x[[1, 0]].dtype == np.int64
    x[0] = 9
    np.testing.assert_array_equal(x.numpy(), [[9, 9, 9], [3, 4, 5]])


def test_an_image_can_be_indexed() -> None:
    image = _core.empty_image(3, 4, 2, 2)
    image[...] = counted(image.shape)
    x = Tensor.wrap(image)
    np.testing.assert_array_equal(x[[2, 0]].numpy(), counted(image.shape)[[2, 0]])
    np.testing.assert_array_equal(x[:, [1, 3]].numpy(), counted(image.shape)[:, [1, 3]])
    assert x[:, 1:3].numpy().strides == image.strides


def test_assignment_sends_gradients_to_the_new_elements() -> None:
    x = Tensor(counted((3, 4)), requires_grad=True)
    value = Tensor([1.0, 2.0], requires_grad=True)
    y = x * 2
    y[:, 1:3] = value * 3
    (y * y).sum().backward()
    dx = 8 * counted((3, 4))
    dx[:, 1:3] = 0
    np.testing.assert_array_equal(x.grad.numpy(), dx)
    np.testing.assert_array_equal(value.grad.numpy(), [54, 108])


def test_assignment_into_a_constant_puts_it_on_the_tape() -> None:
    value = Tensor([2.0], requires_grad=True)
    y = cnnfast.zeros(3)
    y[1] = value[0] * 5
    y[[0, 2]] = value
    (y.sum() * 2).backward()
    np.testing.assert_array_equal(value.grad.numpy(), [14])


def test_assigning_a_part_of_itself() -> None:
    x = Tensor(counted((6,)))
    x[1:] = x[:-1]
    np.testing.assert_array_equal(x.numpy(), [0, 0, 1, 2, 3, 4])


def test_assignment_to_a_leaf_is_refused_but_under_no_grad() -> None:
    x = Tensor(counted((3,)), requires_grad=True)
    with pytest.raises(RuntimeError, match="leaf"):
        x[0] = 1.0
    with cnnfast.no_grad():
        x[0] = 1.0
    assert x.detach().numpy()[0] == 1


def test_the_old_name_of_overwritten_memory_is_refused() -> None:
    base = Tensor(counted((3,)), requires_grad=True) * 1.0
    part = base[:2]
    part.mul_(2.0)
    with pytest.raises(RuntimeError, match="shares its memory"):
        base.sum()
    np.testing.assert_array_equal(part.sum().detach().numpy(), 2)


def test_many_rows_added_to_few_are_the_same_on_any_thread_count(same_bits: Any) -> None:
    rng = np.random.default_rng(0)
    dy, index = rng.random((5000, 300), np.float32), rng.integers(0, 7, 5000)

    def run() -> np.ndarray:
        dx = np.zeros((7, 300), np.float32)
        _core.add_at(dx, dy, index)
        return dx

    expected = np.zeros((7, 300))
    np.add.at(expected, index, dy)
    np.testing.assert_allclose(same_bits(run), expected, rtol=1e-4)


def test_index_select_and_gather() -> None:
    torch = pytest.importorskip("torch")
    values = counted((3, 4, 5))
    positions = np.random.default_rng(0).integers(0, 4, (3, 6, 5))
    x, theirs = Tensor(values, requires_grad=True), torch.tensor(values, requires_grad=True)
    mine = x.index_select(2, Tensor([4, 0, 4])).sum() + (x.gather(1, Tensor(positions)) ** 2).sum()
    other = theirs.index_select(2, torch.tensor([4, 0, 4])).sum()
    other = other + (theirs.gather(1, torch.tensor(positions)) ** 2).sum()
    assert mine.item() == other.item()
    mine.backward()
    other.backward()
    np.testing.assert_array_equal(x.grad.numpy(), theirs.grad)


def test_one_hot() -> None:
    np.testing.assert_array_equal(F.one_hot(Tensor([[1, 0]]), 3).numpy(), [[[0, 1, 0], [1, 0, 0]]])
    assert F.one_hot(Tensor(np.zeros(0, np.int64)), 4).shape == (0, 4)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: x[3], IndexError, "out of bounds"),
        (lambda x: x[0, 0, 0], IndexError, "too many indices"),
        (lambda x: x[[3]], IndexError, "out of bounds"),
        (lambda x: x[[True]], IndexError, "boolean index did not match"),
        (lambda x: x[0.5], IndexError, "only integers"),
        (lambda x: x.__setitem__(0, [1.0, 2.0]), ValueError, "do not broadcast"),
        (lambda x: x.__setitem__(0, cnnfast.ones(5, 4)), ValueError, "does not fit"),
        (lambda x: F.one_hot(Tensor([3]), 3), ValueError, "expected numbers from 0 to 2"),
        (lambda x: F.one_hot(Tensor([0.5])), TypeError, "expected integers"),
        (lambda x: x.gather(1, Tensor([0])), ValueError, "does not fit input"),
    ],
)
def test_bad_keys_are_refused(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(Tensor(counted((3, 4))))


def test_primitives_never_trust_an_index() -> None:
    x, y = np.zeros((3, 2), np.float32), np.zeros((1, 2), np.float32)
    for bad in (-1, 3):
        for run in (lambda i: _core.take(y, x, i), lambda i: _core.add_at(x, y, i)):
            with pytest.raises(ValueError, match="does not accept"):
                run(np.array([bad]))
    with pytest.raises(ValueError, match=r"\(count, inner\) and \(rows, inner\)"):
        _core.take(y, x[:, :1], np.array([0]))
