"""Optimisers: torch's trajectories with every option, their state in torch's layout, bad input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cnnfast import Tensor, nn, optim

SHAPES = [(5, 3, 3, 3), (17,), (1, 1), (4, 7)]

CASES: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.5, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "maximize": True}),
    ("Adam", {}),
    ("Adam", {"lr": 0.05, "betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.05, "maximize": True}),
    ("Adam", {"lr": 0.05, "amsgrad": True, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.05, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("AdamW", {"lr": 0.05}),
    ("AdamW", {"lr": 0.05, "weight_decay": 0.5, "betas": (0.7, 0.99), "maximize": True}),
    ("AdamW", {"lr": 0.05, "weight_decay": 0.5, "amsgrad": True}),
    ("RMSprop", {}),
    ("RMSprop", {"lr": 0.05, "alpha": 0.9, "eps": 1e-3, "weight_decay": 0.1}),
    ("RMSprop", {"lr": 0.05, "momentum": 0.9}),
    ("RMSprop", {"lr": 0.05, "centered": True, "momentum": 0.5, "maximize": True}),
]


def values() -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.normal(size=shape).astype(np.float32) for shape in SHAPES]


def gradients(step: int) -> list[np.ndarray]:
    rng = np.random.default_rng(100 + step)
    return [rng.normal(size=shape).astype(np.float32) for shape in SHAPES]


def ours(name: str, settings: dict[str, Any]) -> tuple[list[nn.Parameter], optim.Optimizer]:
    params = [nn.Parameter(value) for value in values()]
    return params, getattr(optim, name)(params, **settings)


def theirs(torch: Any, name: str, settings: dict[str, Any]) -> tuple[list[Any], Any]:
    params = [torch.nn.Parameter(torch.from_numpy(value)) for value in values()]
    return params, getattr(torch.optim, name)(params, **settings)


def advance(params: list[Any], optimizer: Any, steps: range, wrap: Any) -> None:
    for step in steps:
        for param, gradient in zip(params, gradients(step), strict=True):
            param.grad = wrap(gradient)
        optimizer.step()


def arrays(params: list[Any]) -> list[np.ndarray]:
    return [param.detach().numpy() for param in params]


def assert_close(actual: list[np.ndarray], expected: list[np.ndarray]) -> None:
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_ten_steps_equal_torchs(name: str, settings: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    params, optimizer = ours(name, settings)
    others, reference = theirs(torch, name, settings)
    for step in range(10):
        advance(params, optimizer, range(step, step + 1), Tensor)
        advance(others, reference, range(step, step + 1), torch.from_numpy)
        assert_close(arrays(params), arrays(others))


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_state_moves_from_torch_and_back(name: str, settings: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    others, reference = theirs(torch, name, settings)
    advance(others, reference, range(4), torch.from_numpy)
    params = [nn.Parameter(other.detach().numpy().copy()) for other in others]
    optimizer = getattr(optim, name)(params, lr=9.0)
    optimizer.load_state_dict(reference.state_dict())
    advance(params, optimizer, range(4, 8), Tensor)
    advance(others, reference, range(4, 8), torch.from_numpy)
    assert_close(arrays(params), arrays(others))

    state = optimizer.state_dict()
    layout = reference.state_dict()
    assert state["param_groups"][0]["params"] == layout["param_groups"][0]["params"]
    assert set(state["param_groups"][0]) <= set(layout["param_groups"][0])
    assert state["state"].keys() == layout["state"].keys()
    for number, saved in layout["state"].items():
        assert state["state"][number].keys() == saved.keys()
        for key, value in saved.items():
            expected = value.numpy()
            np.testing.assert_allclose(
                state["state"][number][key].numpy(), expected, rtol=1e-4, atol=1e-6
            )


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_a_restored_optimizer_goes_on_to_the_same_bits(name: str, settings: dict[str, Any]) -> None:
    whole, optimizer = ours(name, settings)
    advance(whole, optimizer, range(7), Tensor)
    first, optimizer = ours(name, settings)
    advance(first, optimizer, range(3), Tensor)
    second = [nn.Parameter(array.copy()) for array in arrays(first)]
    restored = getattr(optim, name)(second)
    restored.load_state_dict(optimizer.state_dict())
    advance(second, restored, range(3, 7), Tensor)
    advance(first, optimizer, range(3, 5), Tensor)  # the saved state is not shared
    for one, other in zip(arrays(second), arrays(whole), strict=True):
        assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_repr_shows_the_settings_as_torch_does(name: str, settings: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    lines = repr(theirs(torch, name, settings)[1]).splitlines()
    only_torch = ("foreach", "fused", "capturable", "differentiable")
    expected = [line for line in lines if not line.strip().startswith(only_torch)]
    assert repr(ours(name, settings)[1]).splitlines() == expected


def test_groups_have_their_own_settings() -> None:
    a, b, c = (nn.Parameter(np.ones(2)) for _ in range(3))
    optimizer = optim.SGD([{"params": [a], "lr": 0.5}, {"params": iter([b])}], lr=0.1)
    optimizer.add_param_group({"params": c, "weight_decay": 1.0})
    for param in (a, b, c):
        param.grad = Tensor(np.ones(2))
    optimizer.step()
    np.testing.assert_allclose([p.detach().numpy()[0] for p in (a, b, c)], [0.5, 0.9, 0.8])
    assert optimizer.state_dict()["param_groups"][2]["params"] == [2]


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop"])
def test_a_parameter_without_gradient_is_passed_over(name: str) -> None:
    moved, still = nn.Parameter(np.ones(3)), nn.Parameter(np.ones(3))
    optimizer = getattr(optim, name)([moved, still], lr=0.1)
    moved.grad = Tensor(np.ones(3))
    optimizer.step()
    assert (moved.detach().numpy() != 1).all()
    assert (still.detach().numpy() == 1).all()
    assert still not in optimizer.state or not optimizer.state[still]


def test_step_bumps_the_version_and_returns_the_closures_loss() -> None:
    param = nn.Parameter(np.ones(3))
    optimizer = optim.SGD([param], lr=0.1)

    def closure() -> float:
        param.grad = Tensor(np.ones(3))
        return 7.5

    version = param.version_counter[0]
    assert optimizer.step() is None
    assert param.version_counter[0] == version
    assert optimizer.step(closure) == 7.5
    assert param.version_counter[0] > version


@pytest.mark.parametrize("set_to_none", [True, False])
def test_zero_grad(set_to_none: bool) -> None:
    param = nn.Parameter(np.ones(3))
    param.grad = Tensor(np.ones(3))
    optim.SGD([param], lr=0.1).zero_grad(set_to_none)
    if set_to_none:
        assert param.grad is None
    else:
        assert param.grad.numpy().tolist() == [0, 0, 0]


@pytest.mark.parametrize("name", ["SGD", "Adam", "RMSprop"])
def test_a_leaf_in_any_layout_is_updated(name: str) -> None:
    rng = np.random.default_rng(0)
    image, slope = rng.normal(size=(2, 2, 5, 4, 3)).astype(np.float32)
    leaf = Tensor(np.ascontiguousarray(image.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2))
    leaf.requires_grad = True
    assert not leaf.array.flags.c_contiguous
    dense = nn.Parameter(image.copy())
    for param in (leaf, dense):
        optimizer = getattr(optim, name)([param], lr=0.1)
        for _ in range(3):
            param.grad = Tensor(slope)
            optimizer.step()
    assert np.array_equal(leaf.detach().numpy(), dense.detach().numpy())


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("SGD", {"lr": -0.1}, "Invalid learning rate: -0.1"),
        ("SGD", {"lr": float("nan")}, "Invalid learning rate: nan"),
        ("SGD", {"momentum": -1.0}, "Invalid momentum value"),
        ("SGD", {"weight_decay": -1.0}, "Invalid weight_decay value"),
        ("SGD", {"nesterov": True}, "Nesterov momentum requires"),
        ("SGD", {"nesterov": True, "momentum": 0.9, "dampening": 0.1}, "Nesterov"),
        ("Adam", {"lr": -0.1}, "Invalid learning rate"),
        ("Adam", {"betas": (1.0, 0.9)}, "Invalid beta parameter at index 0: 1.0"),
        ("Adam", {"betas": (0.9, -0.1)}, "Invalid beta parameter at index 1: -0.1"),
        ("Adam", {"eps": -1.0}, "Invalid epsilon value"),
        ("AdamW", {"weight_decay": -1.0}, "Invalid weight_decay value"),
        ("RMSprop", {"alpha": -1.0}, "Invalid alpha value"),
        ("RMSprop", {"momentum": -1.0}, "Invalid momentum value"),
    ],
)
def test_settings_out_of_range_are_named(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        getattr(optim, name)([nn.Parameter(np.ones(1))], **settings)


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        (lambda: Tensor(np.ones(1)), TypeError, "iterable of Tensors or dicts, got one Tensor"),
        (list, ValueError, "empty parameter list"),
        (lambda: [np.ones(1)], TypeError, "only optimize Tensors, got ndarray"),
        (lambda: [{"params": {1}}], TypeError, "use a list, not a set"),
        (lambda: [nn.Parameter(np.ones(1))] * 2, ValueError, "more than one place"),
    ],
)
def test_bad_parameters_are_named(params: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        optim.SGD(params(), lr=0.1)


def test_a_state_that_does_not_fit_changes_nothing() -> None:
    params, optimizer = ours("Adam", {})
    advance(params, optimizer, range(2), Tensor)
    other = optim.Adam([nn.Parameter(np.ones(2))])
    with pytest.raises(ValueError, match=r"groups of \[4\] parameters, this optimizer \[1\]"):
        other.load_state_dict(optimizer.state_dict())
    wrong = optim.Adam([nn.Parameter(np.ones(2)) for _ in SHAPES], lr=0.5)
    with pytest.raises(ValueError, match=r"exp_avg of parameter 0 has shape \(5, 3, 3, 3\)"):
        wrong.load_state_dict(optimizer.state_dict())
    assert not wrong.state
    assert wrong.param_groups[0]["lr"] == 0.5
