"""`functional.matmul`: NumPy's rules for vectors and batches, gradients, layouts, errors."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from rounding import assert_rounded, uniform, whole

import cnnfast
from cnnfast import Tensor
from cnnfast.functional import matmul

Shape = tuple[int, ...]

SHAPES: list[tuple[Shape, Shape]] = [
    ((3, 4), (4, 5)), ((1, 1), (1, 1)), ((4,), (4,)), ((4,), (4, 5)), ((3, 4), (4,)),
    ((4,), (2, 4, 5)), ((2, 3, 4), (4,)), ((2, 3, 4), (2, 4, 5)), ((2, 3, 4), (4, 5)),
    ((3, 4), (2, 4, 5)), ((2, 1, 3, 4), (7, 4, 5)), ((1, 3, 4), (6, 4, 5)), ((6, 3, 4), (1, 4, 5)),
    ((0, 4), (4, 5)), ((3, 0), (0, 5)), ((0, 3, 4), (4, 5)), ((2, 3, 4), (2, 4, 0)),
    ((33, 257), (257, 17)), ((2, 3, 1, 5, 4), (3, 2, 4, 6)), ((1,), (1, 1)),
]  # fmt: skip


def check(a: np.ndarray, b: np.ndarray) -> None:
    """Values and gradients of a whole-number problem equal the reference's, bit for bit."""
    ta, tb = Tensor(a, requires_grad=True), Tensor(b, requires_grad=True)
    y = matmul(ta, tb)
    np.testing.assert_array_equal(y.detach().numpy(), reference.matmul(a, b))
    dy = whole(*y.shape, seed=9)
    y.backward(dy)
    da, db = reference.matmul_backward(dy, a, b)
    np.testing.assert_array_equal(ta.grad.numpy(), da)
    np.testing.assert_array_equal(tb.grad.numpy(), db)


@pytest.mark.parametrize("a, b", SHAPES, ids=str)
def test_values_and_gradients(isa: str, a: Shape, b: Shape) -> None:
    check(whole(*a), whole(*b, seed=1))


@pytest.mark.parametrize("transpose_b", [False, True])
@pytest.mark.parametrize("transpose_a", [False, True])
def test_transposed_and_converted_operands(transpose_a: bool, transpose_b: bool) -> None:
    a, b = whole(30, 20), whole(20, 40, seed=1)
    given_a = np.asfortranarray(a).astype(np.float64) if transpose_a else a
    given_b = np.asfortranarray(b) if transpose_b else b.astype(np.int32)
    y = matmul(cnnfast.as_tensor(given_a), cnnfast.as_tensor(given_b))
    np.testing.assert_array_equal(y.numpy(), reference.matmul(a, b))


def test_broadcast_gradient() -> None:
    a, b = Tensor(whole(3, 4), requires_grad=True), Tensor(whole(4, 5), requires_grad=True)
    dy = np.broadcast_to(np.float32(1), (3, 5))  # as sum() sends it
    matmul(a, b).backward(dy)
    da, db = reference.matmul_backward(dy, whole(3, 4), whole(4, 5))
    np.testing.assert_array_equal(a.grad.numpy(), da)
    np.testing.assert_array_equal(b.grad.numpy(), db)


def test_one_tensor_as_both_operands() -> None:
    x = Tensor(whole(4, 4), requires_grad=True)
    matmul(x, x).backward(np.ones((4, 4)))
    da, db = reference.matmul_backward(np.ones((4, 4)), whole(4, 4), whole(4, 4))
    np.testing.assert_array_equal(x.grad.numpy(), da + db)


def test_fractions_are_within_rounding(isa: str) -> None:
    a, b = uniform(2, 20, 700), uniform(700, 30, seed=1)
    bound = reference.matmul(abs(a), abs(b))
    assert_rounded(matmul(Tensor(a), Tensor(b)).numpy(), reference.matmul(a, b), bound, 700)


ERRORS: dict[str, tuple[Shape, Shape]] = {
    r"\(3, 4\) @ \(5, 6\)": ((3, 4), (5, 6)),
    r"\(2, 3, 4\) and \(3, 4, 5\)|\(2,\) and \(3,\)": ((2, 3, 4), (3, 4, 5)),
    r"at least one axis, got \(\) @ \(4, 5\)": ((), (4, 5)),
    r"at least one axis, got \(4, 5\) @ \(\)": ((4, 5), ()),
    r"\(1, 4\) @ \(5, 6\)": ((4,), (5, 6)),
    r"\(3, 4\) @ \(5, 1\)": ((3, 4), (5,)),
}


@pytest.mark.parametrize("message", ERRORS)
def test_errors_name_both_shapes(message: str) -> None:
    a, b = ERRORS[message]
    with pytest.raises(ValueError, match=message):
        matmul(Tensor(np.zeros(a)), Tensor(np.zeros(b)))


size = st.integers(0, 40)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.tuples(size, size, size), st.booleans(), st.booleans(),
    st.lists(st.sampled_from([(1, 1), (2, 1), (1, 3), (3, 3)]), max_size=3), st.integers(0, 3),
)  # fmt: skip
def test_any_problem(
    sizes: tuple[int, int, int], vector_a: bool, vector_b: bool,
    batch: list[tuple[int, int]], shorter: int,
) -> None:  # fmt: skip
    m, n, k = sizes
    leading_a = [one for one, _ in batch]
    leading_b = [other for _, other in batch][shorter:]
    a = whole(k) if vector_a else whole(*leading_a, m, k)
    b = whole(k, seed=1) if vector_b else whole(*leading_b, k, n, seed=1)
    check(a, b)
