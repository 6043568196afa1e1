"""`functional.conv_transpose2d`: values, gradients, errors, random problems."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import reference
from core_conv2d import Conv, input_gradient
from hypothesis import given, settings
from hypothesis import strategies as st
from rounding import assert_rounded, uniform, whole

from cnnfast import Tensor
from cnnfast.functional import conv2d, conv_transpose2d

pytestmark = pytest.mark.usefixtures("direct")

Shape = tuple[int, ...]
Problem = tuple[Shape, Shape, dict[str, Any]]

OPTIONS = [
    {}, {"stride": 2}, {"stride": (3, 2)}, {"padding": 1}, {"padding": (0, 2)},
    {"stride": 2, "output_padding": 1}, {"stride": (4, 3), "output_padding": (3, 1), "padding": 1},
    {"dilation": 2}, {"dilation": (3, 1), "output_padding": (2, 0)}, {"groups": 2},
    {"stride": (4, 6), "dilation": (2, 4)}, {"stride": 5, "dilation": 3, "padding": 2},
    {"stride": (2, 3), "padding": 1, "output_padding": (1, 2), "groups": 3, "dilation": (2, 1)},
]  # fmt: skip
# Kernels smaller than the stride leave pixels that only the bias reaches.
KERNELS = [(1, 1), (2, 2), (3, 3), (4, 2), (1, 5)]


def check(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, **options: Any) -> None:
    """Values and gradients of a whole-number problem equal the reference's, bit for bit."""
    tensors = [Tensor(v, requires_grad=True) for v in (x, w, b) if v is not None]
    y = conv_transpose2d(*tensors, **options)
    np.testing.assert_array_equal(
        y.detach().numpy(), reference.conv_transpose2d(x, w, b, **options)
    )
    dy = whole(*y.shape, seed=9)
    y.backward(dy)
    gradients = reference.conv_transpose2d_backward(dy, x, w, **options)
    for tensor, wanted in zip(tensors, gradients, strict=False):
        assert tensor.grad is not None
        np.testing.assert_array_equal(tensor.grad.numpy(), wanted)


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_values_and_gradients(isa: str, options: dict[str, Any], kernel: tuple[int, int]) -> None:
    groups = options.get("groups", 1)
    w = whole(6, 6 // groups, *kernel, seed=1)
    check(whole(2, 6, 5, 6), w, whole(6, seed=2), **options)
    check(whole(2, 6, 5, 6), w, None, **options)


@pytest.mark.parametrize("x, w", [
    ((0, 3, 5, 5), (3, 4, 3, 3)), ((2, 3, 5, 5), (3, 0, 3, 3)), ((2, 0, 5, 5), (0, 4, 3, 3)),
    ((1, 1, 1, 1), (1, 1, 1, 1)), ((2, 33, 1, 7), (33, 17, 1, 3)),
    ((2, 256, 2, 2), (256, 64, 2, 2)), ((1, 65, 9, 1), (65, 15, 4, 1)),
    ((30, 16, 2, 2), (16, 31, 3, 3)),
], ids=str)  # fmt: skip
@pytest.mark.parametrize("stride", [1, 2])
def test_awkward_sizes(isa: str, x: Shape, w: Shape, stride: int) -> None:
    check(whole(*x), whole(*w, seed=1), whole(w[1], seed=2), stride=stride)


def test_fractions_are_within_rounding(isa: str) -> None:
    x, w, b = uniform(2, 70, 9, 9), uniform(70, 9, 4, 4, seed=1), uniform(9, seed=2)
    y = conv_transpose2d(Tensor(x), Tensor(w), Tensor(b), stride=2, padding=1).numpy()
    exact = reference.conv_transpose2d(x, w, b, stride=2, padding=1)
    bound = reference.conv_transpose2d(abs(x), abs(w), abs(b), stride=2, padding=1)
    assert_rounded(y, exact, bound, 70 * 4 + 1)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_same_bits_on_any_number_of_threads(
    isa: str, same_bits: Callable[..., np.ndarray], stride: int
) -> None:
    x, w = Tensor(uniform(2, 32, 20, 20)), Tensor(uniform(32, 40, 3, 3))
    b = Tensor(uniform(40))
    same_bits(lambda: conv_transpose2d(x, w, b, stride=stride).numpy())


@pytest.mark.parametrize("before", [False, True], ids=["after", "before"])
@pytest.mark.parametrize("kernel", [(1, 1), (2, 2), (3, 4)], ids=str)
def test_nothing_is_touched_outside_of_the_operands(
    isa: str, guarded: Callable[..., np.ndarray], kernel: tuple[int, int], before: bool
) -> None:
    conv = Conv(c=17, h=9, w=8, o=9, k=kernel, stride=(2, 3), extra=2)
    dy, w, b = whole(*conv.y_shape), whole(*conv.w_shape), whole(conv.c)
    y = input_gradient(conv, dy, w, b, lambda array: guarded(array, before=before))
    dx, _, _ = reference.conv2d_backward(dy, np.zeros(conv.x_shape), w, **conv.options)
    np.testing.assert_array_equal(y, dx + b[:, None, None])


def test_it_is_the_adjoint_of_conv2d() -> None:
    x, y, w = whole(2, 4, 9, 8), whole(2, 6, 5, 3), whole(6, 4, 3, 3)
    forward = conv2d(Tensor(x), Tensor(w), stride=(2, 3), padding=1).numpy()
    back = conv_transpose2d(
        Tensor(y), Tensor(w), stride=(2, 3), padding=1, output_padding=(0, 1)
    ).numpy()
    assert (forward.astype(np.float64) * y).sum() == (x.astype(np.float64) * back).sum()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_not_a_number_and_infinity_go_where_they_do_in_the_reference(
    isa: str, value: float
) -> None:
    x, w = whole(2, 3, 4, 5), whole(3, 5, 2, 3)
    x[1, 2, 0, 4] = x[0, 0, 2, 2] = value
    with np.errstate(invalid="ignore"):
        wanted = reference.conv_transpose2d(x, w, stride=(3, 2), padding=1)
    y = conv_transpose2d(Tensor(x), Tensor(w), stride=(3, 2), padding=1).numpy()
    np.testing.assert_array_equal(y, wanted)


ERRORS: dict[str, tuple[Shape, Shape, Shape | None, dict[str, Any]]] = {
    r"C a multiple of groups=1, got \(1, 3, 4, 4\)": ((1, 3, 4, 4), (2, 3, 1, 1), None, {}),
    r"C a multiple of groups=2": ((1, 3, 4, 4), (3, 3, 1, 1), None, {"groups": 2}),
    r"groups=0": ((1, 3, 4, 4), (3, 3, 1, 1), None, {"groups": 0}),
    r"got \(3, 4, 4\)": ((3, 4, 4), (3, 3, 1, 1), None, {}),
    r"expected bias \(4,\), got \(3,\)": ((1, 3, 4, 4), (3, 4, 1, 1), (3,), {}),
    r"expected bias \(8,\)": ((1, 2, 4, 4), (2, 4, 1, 1), (4,), {"groups": 2}),
    r"output_padding \(2, 2\) must be smaller than": (
        (1, 3, 4, 4), (3, 4, 1, 1), None, {"stride": 2, "output_padding": 2}),
    r"leaves no pixel": ((1, 3, 2, 2), (3, 4, 1, 1), None, {"padding": 1}),
    r"padding: expected .* at least 0": ((1, 3, 2, 2), (3, 4, 1, 1), None, {"padding": -1}),
    r"stride: expected": ((1, 3, 2, 2), (3, 4, 1, 1), None, {"stride": 0}),
    r"too large": ((1, 3, 1, 1), (3, 4, 1, 1), None, {"stride": 2**61}),
}  # fmt: skip


@pytest.mark.parametrize("message", ERRORS)
def test_errors_name_what_was_given_and_the_rule(message: str) -> None:
    x, w, b, options = ERRORS[message]
    bias = None if b is None else Tensor(np.zeros(b))
    with pytest.raises(ValueError, match=message):
        conv_transpose2d(Tensor(np.zeros(x)), Tensor(np.zeros(w)), bias, **options)


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """Shapes of x and w with attributes that leave at least one pixel."""

    def two(low: int, high: int) -> tuple[int, int]:
        return draw(st.integers(low, high)), draw(st.integers(low, high))

    groups, channels, outputs = (draw(st.integers(1, m)) for m in (3, 40, 40))
    kernel, stride, dilation, image = two(1, 5), two(1, 5), two(1, 4), two(1, 9)
    extra = tuple(min(draw(st.integers(0, 4)), max(s, d) - 1)
                  for s, d in zip(stride, dilation, strict=True))  # fmt: skip
    full = [(size - 1) * s + d * (k - 1) + 1
            for size, s, d, k in zip(image, stride, dilation, kernel, strict=True)]  # fmt: skip
    padding = tuple(draw(st.integers(0, (size - 1) // 2)) for size in full)
    options = {"stride": stride, "padding": padding, "output_padding": extra,
               "dilation": dilation, "groups": groups}  # fmt: skip
    x = (draw(st.integers(0, 4)), channels * groups, *image)
    return x, (channels * groups, outputs, *kernel), options


@settings(max_examples=60, deadline=None, derandomize=True)
@given(problems())
def test_any_problem(problem: Problem) -> None:
    x, w, options = problem
    bias = whole(w[1] * options["groups"], seed=2)
    check(whole(*x), whole(*w, seed=1), bias, **options)
