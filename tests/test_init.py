"""nn.init and the layers' first values: torch's distributions, drawn from one seeded generator."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import cnnfast
from cnnfast import Tensor, nn
from cnnfast.nn import init


def blank(*shape: int) -> Tensor:
    return Tensor.wrap(np.full(shape, np.nan, np.float32))


def summary(values: np.ndarray) -> list[float]:
    """Mean, spread and bounds: enough to tell the distributions used here apart."""
    return [float(f(values)) for f in (np.mean, np.std, np.min, np.max)]


SHAPE = (200, 50, 3, 3)

# name, arguments: each is drawn here and by torch, and the draws must look alike.
DRAWS: list[tuple[str, tuple[int, ...], dict[str, Any]]] = [
    ("uniform_", SHAPE, {"a": -1.0, "b": 3.0}),
    ("normal_", SHAPE, {"mean": 2.0, "std": 0.5}),
    ("trunc_normal_", SHAPE, {}),
    ("trunc_normal_", SHAPE, {"mean": 1.0, "std": 2.0, "a": 0.5, "b": 1.5}),
    ("trunc_normal_", SHAPE, {"mean": 0.0, "std": 1.0, "a": 3.0, "b": 9.0}),
    ("xavier_uniform_", SHAPE, {"gain": 1.5}),
    ("xavier_normal_", SHAPE, {}),
    ("kaiming_uniform_", SHAPE, {"a": math.sqrt(5)}),
    ("kaiming_uniform_", SHAPE, {"mode": "fan_out", "nonlinearity": "relu"}),
    ("kaiming_normal_", SHAPE, {"mode": "fan_out", "nonlinearity": "relu"}),
    ("kaiming_normal_", SHAPE, {"nonlinearity": "tanh"}),
    ("orthogonal_", (300, 200), {"gain": 2.0}),
]


@pytest.mark.parametrize(("name", "shape", "arguments"), DRAWS)
@pytest.mark.filterwarnings("ignore:mean is more than 2 std")
def test_draws_are_distributed_as_torch_draws(
    name: str, shape: tuple[int, ...], arguments: dict[str, Any]
) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    theirs = getattr(torch.nn.init, name)(torch.empty(shape), **arguments).numpy()
    ours = getattr(init, name)(blank(*shape), **arguments).numpy()
    spread = float(theirs.std())
    assert ours.dtype == np.float32
    np.testing.assert_allclose(summary(ours)[:2], summary(theirs)[:2], atol=0.02 * spread)
    quantiles = np.linspace(0.01, 0.99, 15)
    np.testing.assert_allclose(
        np.quantile(ours, quantiles), np.quantile(theirs, quantiles), atol=0.05 * spread
    )


LAYERS = [
    ("Conv1d", (40, 60, 5), {}),
    ("Conv2d", (30, 40, (3, 5)), {"groups": 2}),
    ("ConvTranspose1d", (40, 60, 5), {}),
    ("ConvTranspose2d", (30, 40, 3), {"groups": 2}),
    ("Linear", (300, 200), {}),
    ("PReLU", (7,), {}),
    ("BatchNorm2d", (7,), {}),
    ("InstanceNorm2d", (7,), {"affine": True, "track_running_stats": True}),
    ("GroupNorm", (2, 8), {}),
    ("LayerNorm", ([3, 4],), {}),
]


@pytest.mark.parametrize(("name", "args", "kwargs"), LAYERS)
def test_layers_start_as_in_torch(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    ours = getattr(nn, name)(*args, **kwargs).state_dict()
    theirs = getattr(torch.nn, name)(*args, **kwargs).state_dict()
    assert list(ours) == list(theirs)
    for key, value in theirs.items():
        assert ours[key].shape == tuple(value.shape)
        assert str(ours[key].dtype) == str(value.dtype).removeprefix("torch.")
        bound = float(value.abs().max())
        # The bias of a layer is short: its largest draw is within a third of the bound of uniform.
        np.testing.assert_allclose(abs(ours[key].numpy()).max(), bound, rtol=0.3 * (bound != 1))


@pytest.mark.parametrize(("a", "b"), [(0.0, 1.0), (-3.0, -2.0), (5.0, 5.5)])
def test_uniform_stays_in_its_bounds(a: float, b: float) -> None:
    values = init.uniform_(blank(100_000), a, b).numpy()
    assert values.min() >= np.float32(a)
    assert values.max() <= np.float32(b)


@pytest.mark.parametrize("bounds", [(-2.0, 2.0), (30.0, 31.0), (-1e-3, 1e-3), (1.0, 1e6)])
def test_trunc_normal_stays_in_its_bounds_however_far(bounds: tuple[float, float]) -> None:
    values = init.trunc_normal_(blank(10_000), a=bounds[0], b=bounds[1]).numpy()
    assert np.isfinite(values).all()
    assert values.min() >= np.float32(bounds[0])
    assert values.max() <= np.float32(bounds[1])


def test_one_seed_gives_one_network() -> None:
    cnnfast.manual_seed(3)
    first = nn.Conv2d(3, 8, 3).weight.detach().numpy().copy()
    cnnfast.manual_seed(3)
    assert np.array_equal(first, nn.Conv2d(3, 8, 3).weight.detach().numpy())
    assert not np.array_equal(first, nn.Conv2d(3, 8, 3).weight.detach().numpy())


def test_a_generator_of_the_callers_leaves_the_global_one_alone() -> None:
    before = cnnfast.random.get_state()
    first = init.normal_(blank(5), generator=np.random.default_rng(1)).numpy()
    second = init.normal_(blank(5), generator=np.random.default_rng(1)).numpy()
    assert np.array_equal(first, second)
    assert cnnfast.random.get_state() == before


@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (4, 2, 3, 3), (16, 2, 3, 3)])
def test_orthogonal_rows_or_columns(shape: tuple[int, ...]) -> None:
    matrix = init.orthogonal_(blank(*shape)).numpy().reshape(shape[0], -1)
    gram = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    np.testing.assert_allclose(gram, np.eye(len(gram)), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "shape", "arguments"),
    [
        ("constant_", (2, 3), {"val": 0.3}),
        ("ones_", (2, 3), {}),
        ("zeros_", (2, 3), {}),
        ("eye_", (2, 3), {}),
        ("dirac_", (6, 4, 3), {"groups": 2}),
        ("dirac_", (4, 6, 3, 2), {"groups": 1}),
    ],
)
def test_fixed_values_equal_torchs(
    name: str, shape: tuple[int, ...], arguments: dict[str, Any]
) -> None:
    torch = pytest.importorskip("torch")
    theirs = getattr(torch.nn.init, name)(torch.empty(shape), **arguments).numpy()
    assert np.array_equal(getattr(init, name)(blank(*shape), **arguments).numpy(), theirs)


@pytest.mark.parametrize(
    "arguments",
    [
        *(("linear",), ("conv2d",), ("sigmoid",), ("tanh",), ("relu",), ("selu",)),
        *(("leaky_relu",), ("leaky_relu", 0.2), ("leaky_relu", 0)),
    ],
)
def test_gains_equal_torchs(arguments: tuple[Any, ...]) -> None:
    torch = pytest.importorskip("torch")
    assert init.calculate_gain(*arguments) == torch.nn.init.calculate_gain(*arguments)


def test_initialising_returns_the_tensor_and_bumps_its_version() -> None:
    weight = nn.Parameter(np.ones((2, 2), np.float32))
    version = weight.version_counter[0]
    assert init.zeros_(weight) is weight
    assert weight.requires_grad
    assert weight.version_counter[0] > version


@pytest.mark.filterwarnings("error")
def test_an_empty_tensor_is_left_alone_with_a_warning() -> None:
    with pytest.warns(UserWarning, match="zero-element"):
        init.kaiming_uniform_(blank(0, 3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: init.calculate_gain("swish"), "swish.*known are"),
        (lambda: init.calculate_gain("leaky_relu", True), "not a valid number"),
        (lambda: init.kaiming_normal_(blank(2, 2), mode="fan"), "'fan_in' or 'fan_out'"),
        (lambda: init.xavier_normal_(blank(3)), r"fewer than 2 dimensions.*\(3,\)"),
        (lambda: init.eye_(blank(2, 2, 2)), r"2 dimensions.*\(2, 2, 2\)"),
        (lambda: init.dirac_(blank(2, 2)), "3 or 4 dimensions"),
        (lambda: init.dirac_(blank(3, 2, 1), groups=2), "divisible by groups"),
        (lambda: init.orthogonal_(blank(3)), "2 or more dimensions"),
        (lambda: init.trunc_normal_(blank(3), std=0.0), "std > 0"),
        (lambda: init.trunc_normal_(blank(3), a=1.0, b=1.0), "a < b"),
    ],
)
def test_bad_arguments_are_named(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
