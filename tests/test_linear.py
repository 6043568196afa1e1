"""`functional.linear`: values, gradients, layouts, empty sizes, errors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from rounding import assert_rounded, uniform, whole

import cnnfast
from cnnfast import Tensor
from cnnfast.functional import linear

Shape = tuple[int, ...]
SIZES = (1, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 65, 255, 256, 257)


def check(x: np.ndarray, w: np.ndarray, b: np.ndarray | None) -> None:
    """Values and gradients of a whole-number problem equal the reference's, bit for bit."""
    tensors = [Tensor(v, requires_grad=True) for v in (x, w, b) if v is not None]
    y = linear(*tensors)
    np.testing.assert_array_equal(y.detach().numpy(), reference.linear(x, w, b))
    dy = whole(*y.shape, seed=9)
    y.backward(dy)
    gradients = reference.linear_backward(dy, x, w)
    for tensor, wanted in zip(tensors, gradients, strict=False):
        assert tensor.grad is not None
        np.testing.assert_array_equal(tensor.grad.numpy(), wanted)


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("size", SIZES)
def test_values_and_gradients(isa: str, size: int, bias: bool) -> None:
    for rows, inputs, outputs in ((5, size, 6), (5, 6, size), (size, 6, 5), (1, size, size)):
        b = whole(outputs, seed=2) if bias else None
        check(whole(rows, inputs), whole(outputs, inputs, seed=1), b)


@pytest.mark.parametrize("x", [(4,), (1, 4), (2, 3, 4), (2, 1, 3, 4), (0, 4), (2, 0, 4)], ids=str)
@pytest.mark.parametrize("outputs", [0, 1, 5])
def test_any_leading_axes(x: Shape, outputs: int) -> None:
    check(whole(*x), whole(outputs, 4, seed=1), whole(outputs, seed=2))


@pytest.mark.parametrize("x", [(0,), (3, 0), (2, 3, 0)], ids=str)
def test_no_inputs_leave_the_bias(x: Shape) -> None:
    check(whole(*x), whole(5, 0), whole(5))


LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "dense": lambda x: x,
    "columns": lambda x: np.asfortranarray(x),
    "wider rows": lambda x: np.pad(x, 1)[1:-1, 1:-1],
    "every other column": lambda x: np.repeat(x, 2, 1)[:, ::2],
    "every other row": lambda x: np.repeat(x, 2, 0)[::2],
    "backwards": lambda x: np.ascontiguousarray(x[:, ::-1])[:, ::-1],
    "upside down": lambda x: np.ascontiguousarray(x[::-1])[::-1],
    "double": lambda x: x.astype(np.float64),
    "integer": lambda x: x.astype(np.int64),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(5, 7), (1, 7), (5, 1)], ids=str)
def test_any_strides_and_dtype_come_in(layout: str, shape: Shape) -> None:
    x, w = whole(*shape), whole(4, shape[1], seed=1)
    y = linear(cnnfast.as_tensor(LAYOUTS[layout](x)), cnnfast.as_tensor(LAYOUTS[layout](w)))
    np.testing.assert_array_equal(y.numpy(), reference.linear(x, w))


def test_one_repeated_row() -> None:
    x, w = np.broadcast_to(whole(1, 6), (5, 6)), whole(4, 6, seed=1)
    np.testing.assert_array_equal(
        linear(cnnfast.as_tensor(x), Tensor(w)).numpy(), reference.linear(x, w)
    )


@pytest.mark.parametrize("rows, inputs, outputs", [(64, 2048, 10), (1, 4096, 33), (3000, 9, 40)])
def test_fractions_are_within_rounding(isa: str, rows: int, inputs: int, outputs: int) -> None:
    x, w, b = uniform(rows, inputs), uniform(outputs, inputs, seed=1), uniform(outputs, seed=2)
    tx, tw = Tensor(x, requires_grad=True), Tensor(w, requires_grad=True)
    y = linear(tx, tw, Tensor(b))
    bound = reference.linear(abs(x), abs(w), abs(b))
    assert_rounded(y.detach().numpy(), reference.linear(x, w, b), bound, inputs + 1)
    dy = uniform(rows, outputs, seed=3)
    y.backward(dy)
    dx, dw, _ = reference.linear_backward(dy, x, w)
    bound_x, bound_w, _ = reference.linear_backward(abs(dy), abs(x), abs(w))
    assert_rounded(tx.grad.numpy(), dx, bound_x, outputs)
    assert_rounded(tw.grad.numpy(), dw, bound_w, rows)


@pytest.mark.parametrize("rows, inputs, outputs", [(1, 3000, 500), (300, 100, 90), (70, 1000, 10)])
def test_same_bits_on_any_number_of_threads(
    isa: str, same_bits: Callable[..., np.ndarray], rows: int, inputs: int, outputs: int
) -> None:
    x, w = (
        Tensor(uniform(rows, inputs), requires_grad=True),
        Tensor(uniform(outputs, inputs), requires_grad=True),
    )
    dy = uniform(rows, outputs)

    def gradients() -> np.ndarray:
        x.grad = w.grad = None
        linear(x, w).backward(dy)
        return np.concatenate([x.grad.numpy().ravel(), w.grad.numpy().ravel()])

    same_bits(lambda: linear(x, w).detach().numpy())
    same_bits(gradients)


ERRORS: dict[str, tuple[Shape, Shape, Shape | None]] = {
    r"last axis must equal the weight's second: input \(2, 3\), weight \(4, 5\)": (
        (2, 3), (4, 5), None),
    r"weight \(5,\)": ((2, 5), (5,), None),
    r"input \(\)": ((), (4, 1), None),
    r"expected bias \(4,\), got \(5,\)": ((2, 5), (4, 5), (5,)),
    r"expected bias \(4,\), got \(1, 4\)": ((2, 5), (4, 5), (1, 4)),
}  # fmt: skip


@pytest.mark.parametrize("message", ERRORS)
def test_errors_name_what_was_given_and_the_rule(message: str) -> None:
    x, w, b = ERRORS[message]
    bias = None if b is None else Tensor(np.zeros(b))
    with pytest.raises(ValueError, match=message):
        linear(Tensor(np.zeros(x)), Tensor(np.zeros(w)), bias)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    st.lists(st.integers(0, 6), max_size=3), st.integers(0, 300), st.integers(0, 300), st.booleans()
)
def test_any_problem(leading: list[int], inputs: int, outputs: int, bias: bool) -> None:
    b = whole(outputs, seed=2) if bias else None
    check(whole(*leading, inputs), whole(outputs, inputs, seed=1), b)
