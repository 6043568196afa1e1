"""Tensor: arithmetic with gradients, operators, conversions, changes in place, the tape."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from reference_cases import some, within

import cnnfast
from cnnfast import Tensor
from cnnfast import functional as F

A = within(0.5, 2, 2, 3, 4, seed=1).astype(np.float32)
PARTNERS = [(2, 3, 4), (4,), (3, 1), (1, 1, 1), (), (2, 1, 4), (5, 1, 3, 4)]

# Each takes two cnnfast or two torch tensors, positive.
TWO: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "pow": lambda a, b: a**b,
    "maximum": lambda a, b: a.maximum(b),
    "minimum": lambda a, b: a.minimum(b),
    "alpha": lambda a, b: a.add(b, alpha=3) - a.sub(b, alpha=0.5),
    "mod": lambda a, b: a % b,
    "floor": lambda a, b: a.div(b, rounding_mode="floor") * a,
    "trunc": lambda a, b: (a * b).div(0.3, rounding_mode="trunc") * b,
    "square of sum": lambda a, b: (a + b) * (a + b),
    "reused": lambda a, b: (a * b + a) / (b + 1) - a,
}
ONE: dict[str, Callable[[Any], Any]] = {
    "scalars": lambda x: 2 - (3 * x + 1) / 4 + 5 / x - x / 2,
    "powers": lambda x: x**2 + x**3 + x**-1 + x**0.5 + x**-0.5 + 2**x + x**1,
    "exp": lambda x: x.exp() + x.expm1(),
    "log": lambda x: x.log() * x.log1p(),
    "roots": lambda x: x.sqrt() / x.rsqrt() + x.reciprocal() + x.square(),
    "signs": lambda x: (x - 1).abs() + (-x).sign() * x - +x,
    "round": lambda x: x.floor() + x.ceil() * x + x.trunc() + x.round(),
    "clamp": lambda x: x.clamp(0.8, 1.5) + x.clamp(min=1) + x.clamp(max=1.2),
    "tanh": lambda x: x.tanh() + x.sigmoid() * x.relu() + x.erf(),
    "matmul": lambda x: x @ x.transpose(1, 2),
    "masked": lambda x: x.masked_fill(x > 1, 0.0) * x,
}


def compare(call: Callable[..., Any], *operands: np.ndarray) -> None:
    """Values and gradients are torch's."""
    torch = pytest.importorskip("torch")
    mine = [Tensor(a, requires_grad=True) for a in operands]
    theirs = [torch.tensor(a, requires_grad=True) for a in operands]
    y, expected = call(*mine), call(*theirs)
    np.testing.assert_allclose(y.detach().numpy(), expected.detach(), rtol=1e-5, atol=1e-5)
    dy = within(-2, 2, *y.shape).astype(np.float32)
    y.backward(dy)
    expected.backward(torch.tensor(dy))
    for a, b in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(a.grad.numpy(), b.grad, rtol=2e-5, atol=1e-4)


@pytest.mark.parametrize("shape", PARTNERS)
@pytest.mark.parametrize("name", TWO)
def test_two_operands_are_torchs(name: str, shape: tuple[int, ...]) -> None:
    compare(TWO[name], A, within(0.5, 2, *shape, seed=2).astype(np.float32))


@pytest.mark.parametrize("name", ONE)
def test_one_operand_is_torchs(name: str) -> None:
    compare(ONE[name], A)


@pytest.mark.parametrize("kind", ["maximum", "minimum"])
def test_equal_operands_share_the_gradient(kind: str) -> None:
    compare(lambda a, b: getattr(a, kind)(b), np.float32([1, 2, 3]), np.float32([1, 3, 2]))


def test_where_is_torchs() -> None:
    torch = pytest.importorskip("torch")
    mask = A[0] > 1
    compare(
        lambda a, b: a.where((Tensor if isinstance(a, Tensor) else torch.tensor)(mask), b), A, A[:1]
    )


@pytest.mark.parametrize("base", [0.0, 2.0])
def test_pow_at_zero_has_torchs_gradients(base: float) -> None:
    compare(lambda a, b: a**b, np.float32([base] * 3), np.float32([0, 1, 2]))


IN_PLACE: dict[str, Callable[[Any, Any], Any]] = {
    "add_": lambda x, b: x.add_(b, alpha=2),
    "sub_": lambda x, b: x.sub_(b),
    "mul_": lambda x, b: x.mul_(b),
    "div_": lambda x, b: x.div_(b),
    "pow_": lambda x, b: x.pow_(b),
    "clamp_": lambda x, b: x.clamp_(0.8, 1.4),
    "exp_": lambda x, b: x.exp_(),
    "abs_": lambda x, b: x.abs_().neg_(),
    "log_": lambda x, b: x.log_().tanh_(),
    "sqrt_": lambda x, b: x.sqrt_(),
    "sigmoid_": lambda x, b: x.sigmoid_(),
    "relu_": lambda x, b: x.sub_(1).relu_(),
    "copy_": lambda x, b: x.copy_(b),
    "zero_": lambda x, b: x.zero_(),
    "fill_": lambda x, b: x.fill_(3.0),
}


@pytest.mark.parametrize("shape", [(2, 3, 4), (3, 1)])
@pytest.mark.parametrize("name", IN_PLACE)
def test_in_place_is_torchs(name: str, shape: tuple[int, ...]) -> None:
    def call(a: Any, b: Any) -> Any:
        x = a * 1
        assert IN_PLACE[name](x, b * 1) is x
        return x * a + b.sum()

    compare(call, A, within(0.5, 2, *shape, seed=2).astype(np.float32))


def test_operators_in_place() -> None:
    x = y = Tensor([1.0, 2.0])
    x += 1
    x *= 3
    x -= 2
    x /= 2
    x **= 2
    assert x is y
    np.testing.assert_array_equal(x.numpy(), [4, 12.25])


def test_adding_a_tensor_to_itself_in_place() -> None:
    x = Tensor(np.arange(9, dtype=np.float32).reshape(3, 3))
    expected = x.numpy() + x.numpy().T
    x += x.T
    np.testing.assert_array_equal(x.numpy(), expected)


@pytest.mark.parametrize("call", [lambda x, y: x + y, lambda x, y: x - y * 2, lambda x, y: x * y])
def test_integers_stay_integers(call: Callable[..., Any]) -> None:
    a, b = np.arange(3, dtype=np.int64), np.array([4, 5, 6])
    y = call(Tensor(a), Tensor(b))
    np.testing.assert_array_equal(y.numpy(), call(a, b))
    assert y.dtype == np.int64 and (Tensor(a) / 2).dtype == np.float32


@pytest.mark.parametrize("other", [2, 2.0, np.float32(2), np.float64(2), np.ones(3, np.float64)])
def test_numpy_and_python_operands_on_both_sides(other: Any) -> None:
    x = Tensor([1.0, 2.0, 3.0])
    for call in (lambda a, b: a + b, lambda a, b: b - a, lambda a, b: b / a, lambda a, b: a < b):
        y = call(x, other)
        assert isinstance(y, Tensor)
        np.testing.assert_allclose(y.numpy(), call(x.numpy(), other), rtol=1e-6)


def test_comparisons_give_booleans() -> None:
    x = Tensor([1.0, 2.0, 3.0])
    assert (x > 1).dtype == np.bool_ and (x == 2).tolist() == [False, True, False]
    assert ((x > 1) & (x < 3)).sum().item() == 1 and (~(x != 2)).any()
    assert (x == None) is False  # noqa: E711
    assert 2.0 in x and 7.0 not in x and len({x, x}) == 1


def test_numbers() -> None:
    x = Tensor(2.5)
    assert float(x) == 2.5 and int(x) == 2 and bool(x) and f"{x:.2f}" == "2.50"
    assert [1, 2, 3][Tensor(1)] == 2 and Tensor([[1, 2]]).tolist() == [[1, 2]]
    assert len(Tensor([1, 2])) == 2 and [t.item() for t in Tensor([1, 2])] == [1, 2]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: bool(x), ValueError, "neither true nor false"),
        (lambda x: x.item(), ValueError, r"one element, got shape \(2, 3, 4\)"),
        (lambda x: len(x.sum()), TypeError, "no len"),
        (lambda x: [1][x.sum()], TypeError, "only integer tensors"),
        (lambda x: x + Tensor(np.zeros(5)), ValueError, r"\(2, 3, 4\) and \(5,\) do not broadcast"),
        (lambda x: x.add_(Tensor(np.zeros((5, 1, 1, 1)))), ValueError, "does not fit in place"),
        (lambda x: x.long().add_(0.5), TypeError, "only a float32 tensor"),
        (lambda x: x.expand(2, 2, 3, 4).add_(1), ValueError, "read-only"),
        (lambda x: x.clamp(), ValueError, "at least one of min and max"),
        (lambda x: x.div(2, rounding_mode="up"), ValueError, 'None, "floor" or "trunc"'),
        (lambda x: x.to("cuda:0"), ValueError, "computes on the CPU"),
        (lambda x: x + "a", TypeError, "expected numbers"),
    ],
)
def test_what_cannot_be_is_refused(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(Tensor(A))


@pytest.mark.parametrize(
    ("tensor", "text"),
    [
        (Tensor([1.0, 2.5]), "tensor([1. , 2.5])"),
        (Tensor([[1, 2], [3, 4]]), "tensor([[1, 2],\n        [3, 4]])"),
        (Tensor([1.0], requires_grad=True), "tensor([1.], requires_grad=True)"),
        (Tensor([1.0], requires_grad=True) * 2, "tensor([2.], grad_fn=<mul>)"),
        (Tensor(np.uint8([7])), "tensor([7], dtype=uint8)"),
        (Tensor([True]), "tensor([ True])"),
        (Tensor(3.0), "tensor(3.)"),
    ],
)
def test_repr(tensor: Tensor, text: str) -> None:
    assert repr(tensor) == text


def test_types() -> None:
    x = Tensor([1.7, -1.2])
    assert x.long().tolist() == [1, -1] and x.int().dtype == np.int32
    assert x.bool().tolist() == [True, True] and Tensor([3]).float().dtype == np.float32
    assert x.to(np.int64).dtype == np.int64 and x.to(Tensor([1])).dtype == np.int64
    assert x.to("cpu") is x and x.float() is x and x.cpu() is x and x.byte().dtype == np.uint8


def test_arrays_in_and_out_share_memory() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    x = cnnfast.from_numpy(array)
    assert np.shares_memory(np.asarray(x), array) and np.shares_memory(x.T.numpy(), array)
    assert np.asarray(x, np.float64).dtype == np.float64
    assert np.exp(x).shape == (2, 3)
    with pytest.raises(RuntimeError, match="detach"):
        np.asarray(Tensor([1.0], requires_grad=True))


def test_dlpack_both_ways() -> None:
    torch = pytest.importorskip("torch")
    theirs = torch.arange(24, dtype=torch.float32).reshape(1, 2, 3, 4)
    mine = cnnfast.from_dlpack(theirs.to(memory_format=torch.channels_last))
    np.testing.assert_array_equal(mine.numpy(), theirs.numpy())
    x = Tensor(np.arange(4, dtype=np.float32))
    back = torch.from_dlpack(x)
    back[0] = 9
    assert x[0].item() == 9 and x.__dlpack_device__() == (1, 0)
    with pytest.raises(BufferError, match="detach"):
        torch.from_dlpack(Tensor([1.0], requires_grad=True))


def test_copies() -> None:
    x = Tensor([1.0, 2.0], requires_grad=True)
    for other in (copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert other.requires_grad and other.tolist() == [1, 2]
        assert not np.shares_memory(other.detach().numpy(), x.detach().numpy())
    with pytest.raises(RuntimeError, match="only leaf tensors"):
        copy.deepcopy(x * 2)


@pytest.mark.parametrize(
    ("made", "shape", "dtype"),
    [
        (cnnfast.zeros(2, 3), (2, 3), np.float32),
        (cnnfast.ones((2, 3), dtype=np.int64), (2, 3), np.int64),
        (cnnfast.full((2,), 3), (2,), np.int64),
        (cnnfast.full(2, 3.5), (2,), np.float32),
        (cnnfast.arange(5), (5,), np.int64),
        (cnnfast.arange(1, 2, 0.25), (4,), np.float32),
        (cnnfast.linspace(0, 1, 5), (5,), np.float32),
        (cnnfast.eye(3, 2), (3, 2), np.float32),
        (cnnfast.rand(4), (4,), np.float32),
        (cnnfast.randn(2, 2), (2, 2), np.float32),
        (cnnfast.randint(5, size=(3,)), (3,), np.int64),
        (cnnfast.randperm(7), (7,), np.int64),
        (cnnfast.zeros_like(cnnfast.arange(3)), (3,), np.int64),
        (cnnfast.full_like(cnnfast.zeros(3), 2), (3,), np.float32),
        (cnnfast.from_numpy(np.zeros(2)), (2,), np.float32),
    ],
)
def test_constructors(made: Tensor, shape: tuple[int, ...], dtype: Any) -> None:
    assert made.shape == shape and made.dtype == dtype


def test_random_numbers_follow_the_seed() -> None:
    def draw() -> list[Any]:
        cnnfast.manual_seed(3)
        return [cnnfast.rand(3).tolist(), cnnfast.randn(2).tolist(), cnnfast.randperm(5).tolist()]

    assert draw() == draw()


# ---- the tape ------------------------------------------------------------------------------------


def test_gradients_add_up_over_uses_and_over_calls() -> None:
    x = Tensor([1.0, 2.0], requires_grad=True)
    (x * x + 3 * x).sum().backward()
    (x * 2).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [7, 9])


def test_a_deep_graph_needs_no_recursion_and_frees_as_it_goes() -> None:
    x = Tensor([1.0], requires_grad=True)
    y = x
    for _ in range(20_000):
        y = y + 1
    y.backward()
    assert x.grad.item() == 1


def test_a_graph_that_is_dropped_is_freed_without_the_collector() -> None:
    gc.collect()
    gc.disable()
    try:
        x = Tensor([1.0], requires_grad=True)
        y = (x * 2).exp()
        gone = weakref.ref(y.grad_fn)
        del y
        assert gone() is None
    finally:
        gc.enable()


def test_a_used_graph_says_so() -> None:
    x = Tensor([1.0], requires_grad=True)
    y = x.exp().sum()
    y.backward(retain_graph=True)
    y.backward()
    assert abs(x.grad.item() - 2 * np.e) < 1e-6
    with pytest.raises(RuntimeError, match="retain_graph"):
        y.backward()


@pytest.mark.parametrize(
    "call",
    [
        lambda x, y: (x * y).sum(), lambda x, y: (y / x).sum(), lambda x, y: x.maximum(y).sum(),
        lambda x, y: x.log().sum(), lambda x, y: x.prod(), lambda x, y: x.amax(),
        lambda x, y: F.silu(x).sum(),
    ],
)
def test_an_operand_that_was_changed_is_noticed(call: Callable[..., Any]) -> None:
    x, y = Tensor([1.0, 2.0], requires_grad=True) * 1, Tensor([3.0, 4.0], requires_grad=True) * 1
    result = call(x, y)
    with cnnfast.no_grad():
        x.add_(1)
    with pytest.raises(RuntimeError, match="changed in place"):
        result.backward()


def test_an_operand_that_is_not_needed_may_change() -> None:
    x, y = Tensor([1.0, 2.0], requires_grad=True) * 1, Tensor([3.0, 4.0])
    result = (x * y + x.reshape(2, 1).sum()).sum()
    with cnnfast.no_grad():
        x.add_(1)
    result.backward()


def test_views_notice_changes_of_each_other() -> None:
    x = Tensor(some(3, 4).astype(np.float32), requires_grad=True) * 1
    y = (x[0] * x[1]).sum()
    with cnnfast.no_grad():
        x[2].zero_()
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()


def test_residual_addition_in_place() -> None:
    x = Tensor([1.0, -2.0], requires_grad=True)
    out = x * 3
    out += x
    F.relu(out, inplace=True)
    (out * out).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [32, 0])


def test_hooks_see_and_replace_gradients() -> None:
    x = Tensor([1.0], requires_grad=True)
    seen = []
    y = x * 2
    y.register_hook(lambda dy: seen.append(dy.item()))
    y.register_hook(lambda dy: dy * 10)
    (y * 3).sum().backward()
    assert seen == [3.0] and x.grad.item() == 60
