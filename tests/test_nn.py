"""Layers and losses against torch: printing, state, outputs, gradients, buffers."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import cnnfast
from cnnfast import Tensor, nn, no_grad

# class, arguments, keyword arguments, input shape
LAYERS: list[tuple[str, tuple[Any, ...], dict[str, Any], tuple[int, ...]]] = [
    ("Conv1d", (3, 8, 5), {"stride": 2, "padding": 2}, (2, 3, 17)),
    ("Conv1d", (4, 8, (3,)), {"padding": "same", "dilation": 2, "groups": 2}, (2, 4, 9)),
    ("Conv1d", (3, 2, 4), {"padding": "same", "padding_mode": "reflect"}, (2, 3, 9)),
    ("Conv2d", (3, 8, 3), {}, (2, 3, 9, 7)),
    ("Conv2d", (4, 8, (3, 5)), {"stride": (2, 1), "padding": (1, 2), "bias": False}, (2, 4, 9, 7)),
    ("Conv2d", (4, 4, 3), {"groups": 4, "padding": "same"}, (2, 4, 9, 7)),
    ("Conv2d", (4, 6, (2, 4)), {"padding": "same", "padding_mode": "replicate"}, (2, 4, 9, 7)),
    ("Conv2d", (4, 6, 3), {"dilation": (2, 1), "padding": "valid"}, (2, 4, 9, 7)),
    ("Conv2d", (3, 8, 3), {"padding": 1, "padding_mode": "reflect"}, (2, 3, 9, 7)),
    ("Conv2d", (3, 8, 3), {"padding": (1, 2), "padding_mode": "circular"}, (2, 3, 9, 7)),
    ("ConvTranspose1d", (4, 6, 3), {"stride": 2, "output_padding": 1}, (2, 4, 9)),
    ("ConvTranspose2d", (4, 6, 3), {}, (2, 4, 5, 6)),
    (
        "ConvTranspose2d",
        (4, 6, (3, 2), (2, 3), 1, (1, 0), 2, False, (1, 2)),
        {},
        (2, 4, 5, 6),
    ),
    ("Linear", (12, 5), {}, (3, 12)),
    ("Linear", (12, 5, False), {}, (2, 3, 12)),
    ("Identity", (), {}, (2, 3)),
    ("Flatten", (), {}, (2, 3, 4, 5)),
    ("Flatten", (0, 2), {}, (2, 3, 4, 5)),
    ("Unflatten", (1, (3, -1)), {}, (2, 12, 5)),
    ("Unflatten", (-1, [5, 1]), {}, (2, 12, 5)),
    ("MaxPool1d", (3,), {"stride": 2, "padding": 1}, (2, 3, 11)),
    ("MaxPool2d", (2,), {}, (2, 3, 9, 8)),
    ("MaxPool2d", ((3, 2), 2, 1, (1, 2)), {"ceil_mode": True}, (2, 3, 9, 8)),
    ("AvgPool1d", (3,), {"padding": 1}, (2, 3, 11)),
    ("AvgPool2d", (2,), {}, (2, 3, 9, 8)),
    ("AvgPool2d", (3, 2, 1, True, False), {}, (2, 3, 9, 8)),
    ("AvgPool2d", (2,), {"divisor_override": 3}, (2, 3, 9, 8)),
    ("AdaptiveAvgPool1d", (4,), {}, (2, 3, 11)),
    ("AdaptiveAvgPool2d", (1,), {}, (2, 3, 9, 8)),
    ("AdaptiveAvgPool2d", ((4, None),), {}, (2, 3, 9, 8)),
    ("AdaptiveMaxPool1d", (4,), {}, (2, 3, 11)),
    ("AdaptiveMaxPool2d", ((2, 5),), {}, (2, 3, 9, 8)),
    ("BatchNorm1d", (5,), {}, (6, 5)),
    ("BatchNorm1d", (5,), {"momentum": None}, (6, 5, 7)),
    ("BatchNorm2d", (5,), {}, (3, 5, 4, 6)),
    ("BatchNorm2d", (5,), {"affine": False, "momentum": 0.3, "eps": 1e-3}, (3, 5, 4, 6)),
    ("BatchNorm2d", (5,), {"track_running_stats": False}, (3, 5, 4, 6)),
    ("BatchNorm2d", (5,), {"bias": False}, (3, 5, 4, 6)),
    ("GroupNorm", (3, 6), {}, (2, 6, 4, 5)),
    ("GroupNorm", (2, 6), {"affine": False}, (2, 6, 7)),
    ("GroupNorm", (2, 6), {"bias": False, "eps": 0.1}, (2, 6, 4, 5)),
    ("InstanceNorm1d", (5,), {}, (3, 5, 7)),
    ("InstanceNorm1d", (5,), {"affine": True}, (5, 7)),
    ("InstanceNorm2d", (5,), {"affine": True, "track_running_stats": True}, (3, 5, 4, 6)),
    ("InstanceNorm2d", (5,), {}, (5, 4, 6)),
    ("LayerNorm", (6,), {}, (2, 5, 6)),
    ("LayerNorm", ([5, 6],), {"bias": False}, (2, 5, 6)),
    ("LayerNorm", ((6,),), {"elementwise_affine": False, "eps": 0.1}, (2, 5, 6)),
    ("LocalResponseNorm", (3,), {}, (2, 6, 4, 5)),
    ("LocalResponseNorm", (4, 0.5, 0.9, 2.0), {}, (2, 6, 4, 5)),
    ("ReLU", (), {}, (2, 7)),
    ("ReLU6", (), {}, (2, 7)),
    ("LeakyReLU", (0.3,), {}, (2, 7)),
    ("PReLU", (), {}, (2, 7)),
    ("PReLU", (3, 0.1), {}, (2, 3, 4)),
    ("ELU", (0.7,), {}, (2, 7)),
    ("SELU", (), {}, (2, 7)),
    ("GELU", (), {}, (2, 7)),
    ("GELU", ("tanh",), {}, (2, 7)),
    ("SiLU", (), {}, (2, 7)),
    ("Mish", (), {}, (2, 7)),
    ("Softplus", (), {}, (2, 7)),
    ("Softplus", (2.0, 1.0), {}, (2, 7)),
    ("Sigmoid", (), {}, (2, 7)),
    ("Tanh", (), {}, (2, 7)),
    ("Hardswish", (), {}, (2, 7)),
    ("Hardsigmoid", (), {}, (2, 7)),
    ("Hardtanh", (), {}, (2, 7)),
    ("Hardtanh", (-0.5, 0.25), {}, (2, 7)),
    ("LogSigmoid", (), {}, (2, 7)),
    ("Softsign", (), {}, (2, 7)),
    ("Softmax", (1,), {}, (2, 7, 3)),
    ("LogSoftmax", (-1,), {}, (2, 7, 3)),
    ("ConstantPad2d", ((1, 2, 3, 0), 1.5), {}, (2, 3, 5, 6)),
    ("ConstantPad2d", ((-1, 2, 0, -2), 1.5), {}, (2, 3, 5, 6)),
    ("ConstantPad1d", ((1, 2), -1.5), {}, (2, 3, 5)),
    ("ZeroPad1d", (2,), {}, (3, 5)),
    ("ZeroPad2d", (2,), {}, (2, 3, 5, 6)),
    ("ReflectionPad1d", (2,), {}, (2, 3, 5)),
    ("ReplicationPad1d", ((0, 9),), {}, (3, 5)),
    ("CircularPad1d", ((1, 3),), {}, (2, 3, 5)),
    ("CircularPad2d", ((1, 2, 3, 0),), {}, (2, 3, 5, 6)),
    ("ReflectionPad2d", ((1, 2, 3, 0),), {}, (2, 3, 5, 6)),
    ("ReplicationPad2d", ((1, 2, 7, 0),), {}, (2, 3, 5, 6)),
    ("Upsample", (), {"scale_factor": 2}, (2, 3, 5, 6)),
    ("Upsample", ((7, 4),), {"mode": "bilinear"}, (2, 3, 5, 6)),
    ("Upsample", (), {"scale_factor": (1.5, 2), "mode": "bilinear"}, (2, 3, 5, 6)),
    ("UpsamplingNearest2d", ((8, 11),), {}, (2, 3, 5, 6)),
    ("UpsamplingBilinear2d", (), {"scale_factor": 2}, (2, 3, 5, 6)),
    ("PixelShuffle", (2,), {}, (2, 12, 3, 5)),
    ("PixelUnshuffle", (2,), {}, (2, 3, 6, 4)),
    ("ChannelShuffle", (3,), {}, (2, 6, 4, 5)),
    ("Dropout", (0.0,), {}, (2, 7)),
    ("Dropout2d", (0.0,), {}, (2, 3, 4, 5)),
]


def pair(torch: Any, name: str, args: Any, kwargs: Any) -> tuple[nn.Module, Any]:
    """Return the layer here and in torch, with torch's weights in both."""
    torch.manual_seed(0)
    theirs = getattr(torch.nn, name)(*args, **kwargs)
    ours = getattr(nn, name)(*args, **kwargs)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def sample(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(7).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize(("name", "args", "kwargs", "shape"), LAYERS)
def test_layer_equals_torchs(name: str, args: Any, kwargs: Any, shape: tuple[int, ...]) -> None:
    """Two training calls and one in evaluation: outputs, all gradients and all buffers."""
    torch = pytest.importorskip("torch")
    ours, theirs = pair(torch, name, args, kwargs)
    assert repr(ours) == repr(theirs)
    for step in range(2):
        x = Tensor(sample(shape) + step, requires_grad=True)
        other = torch.tensor(sample(shape) + step, requires_grad=True)
        y, expected = ours(x), theirs(other)
        np.testing.assert_allclose(y.detach().numpy(), expected.detach().numpy(), **CLOSE)
        slope = sample(tuple(expected.shape))
        y.backward(slope)
        expected.backward(torch.from_numpy(slope))
        np.testing.assert_allclose(x.grad.numpy(), other.grad.numpy(), **CLOSE)
    for (key, param), reference in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(
            param.grad.numpy(), reference.grad.numpy(), rtol=1e-4, atol=1e-4, err_msg=key
        )
    for (key, value), reference in zip(
        ours.state_dict().items(), theirs.state_dict().values(), strict=True
    ):
        np.testing.assert_allclose(value.numpy(), reference.numpy(), **CLOSE, err_msg=key)
    with no_grad(), torch.no_grad():
        y, expected = ours.eval()(Tensor(sample(shape))), theirs.eval()(torch.tensor(sample(shape)))
    np.testing.assert_allclose(y.numpy(), expected.numpy(), **CLOSE)


CLOSE = {"rtol": 1e-4, "atol": 2e-5}

LOSSES: list[tuple[str, dict[str, Any], str]] = [
    ("CrossEntropyLoss", {}, "classes"),
    ("CrossEntropyLoss", {"label_smoothing": 0.1, "reduction": "sum"}, "classes"),
    ("CrossEntropyLoss", {"ignore_index": 2, "weight": [0.5, 1, 2, 1.5, 0.1]}, "classes"),
    ("CrossEntropyLoss", {"reduction": "none"}, "distribution"),
    ("NLLLoss", {}, "classes"),
    ("NLLLoss", {"ignore_index": 2, "weight": [0.5, 1, 2, 1.5, 0.1]}, "classes"),
    ("MSELoss", {}, "values"),
    ("MSELoss", {"reduction": "none"}, "values"),
    ("L1Loss", {"reduction": "sum"}, "values"),
    ("SmoothL1Loss", {"beta": 0.5}, "values"),
    ("HuberLoss", {"delta": 0.5, "reduction": "sum"}, "values"),
    ("BCELoss", {}, "probabilities"),
    ("BCELoss", {"weight": [0.5, 1, 2, 1.5, 0.1]}, "probabilities"),
    ("BCEWithLogitsLoss", {}, "distribution"),
    ("BCEWithLogitsLoss", {"pos_weight": [0.5, 1, 2, 1.5, 0.1]}, "distribution"),
]


@pytest.mark.parametrize(("name", "settings", "kind"), LOSSES)
def test_loss_equals_torchs(name: str, settings: dict[str, Any], kind: str) -> None:
    torch = pytest.importorskip("torch")

    def make(module: Any, wrap: Callable[[Any], Any]) -> Any:
        wrapped = {k: wrap(v) if isinstance(v, list) else v for k, v in settings.items()}
        return getattr(module, name)(**wrapped)

    x, target = sample((6, 5)), abs(sample((6, 5)))
    target /= target.sum(axis=1, keepdims=True)
    if kind == "classes":
        target = np.array([0, 1, 2, 3, 4, 2])
    elif kind == "probabilities":
        x = 1 / (1 + np.exp(-x))
    ours = make(nn, lambda v: Tensor(np.float32(v)))
    theirs = make(torch.nn, lambda v: torch.tensor(v, dtype=torch.float32))
    assert repr(ours) == repr(theirs)
    mine, other = Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    loss, expected = ours(mine, Tensor(target)), theirs(other, torch.tensor(target))
    np.testing.assert_allclose(loss.detach().numpy(), expected.detach().numpy(), **CLOSE)
    slope = np.ones(expected.shape, np.float32)
    loss.backward(slope)
    expected.backward(torch.from_numpy(slope))
    np.testing.assert_allclose(mine.grad.numpy(), other.grad.numpy(), **CLOSE)


@pytest.mark.parametrize("name", ["MSELoss", "CrossEntropyLoss"])
@pytest.mark.parametrize("old", [{"reduce": False}, {"size_average": False}, {"reduce": True}])
def test_old_loss_arguments_warn_and_work(name: str, old: dict[str, bool]) -> None:
    torch = pytest.importorskip("torch")
    with pytest.warns(UserWarning, match="use reduction="):
        ours = getattr(nn, name)(**old)
    with pytest.warns(UserWarning):
        theirs = getattr(torch.nn, name)(**old)
    assert ours.reduction == theirs.reduction


@pytest.mark.parametrize("size", [(9, 12), (2, 6, 10, 13), [10, 12]])
def test_transposed_convolution_to_a_wanted_size(size: Any) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = pair(torch, "ConvTranspose2d", (4, 6, 3, 2), {"padding": 1})
    x = sample((2, 4, 5, 6))
    if tuple(size)[-2:] in ((9, 12), (10, 12)):
        expected = theirs(torch.from_numpy(x), output_size=list(size)).detach().numpy()
        actual = ours(Tensor(x), output_size=size).detach().numpy()
        np.testing.assert_allclose(actual, expected, **CLOSE)
    else:
        with pytest.raises(ValueError, match=r"valid sizes range from \(9, 11\) to \(10, 12\)"):
            ours(Tensor(x), output_size=size)


@pytest.mark.parametrize(
    ("name", "args", "shape"),
    [
        ("MaxPool1d", (3, 2, 1), (2, 3, 11)),
        ("MaxPool2d", ((3, 2), 2, 1), (2, 3, 9, 8)),
        ("AdaptiveMaxPool1d", (4,), (2, 3, 11)),
        ("AdaptiveMaxPool2d", ((4, 3),), (2, 3, 9, 8)),
    ],
)
def test_pooling_returns_torchs_indices(name: str, args: Any, shape: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = pair(torch, name, args, {"return_indices": True})
    values, indices = ours(Tensor(sample(shape)))
    expected = theirs(torch.from_numpy(sample(shape)))
    assert np.array_equal(values.numpy(), expected[0].numpy())
    assert np.array_equal(indices.numpy(), expected[1].numpy())


@pytest.mark.parametrize(("name", "axes"), [("Dropout", (0, 1, 2, 3)), ("Dropout2d", (2, 3))])
def test_dropout_drops_its_share_in_training_only(name: str, axes: tuple[int, ...]) -> None:
    layer, x = getattr(nn, name)(0.3), cnnfast.ones(20, 50, 4, 4)
    y = layer(x).numpy()
    kept = y != 0
    np.testing.assert_allclose(y[kept], 1 / 0.7, rtol=1e-6)
    assert abs(kept.mean() - 0.7) < 0.05
    if name == "Dropout2d":
        assert np.array_equal(kept.any(axis=axes), kept.all(axis=axes))
    assert np.array_equal(layer.eval()(x).numpy(), x.numpy())


@pytest.mark.parametrize("layer", [nn.ReLU, nn.SiLU, nn.ReLU6, nn.Hardtanh, nn.Dropout])
def test_inplace_is_taken_and_shown(layer: Any) -> None:
    torch = pytest.importorskip("torch")
    ours = layer(inplace=True)
    assert repr(ours) == repr(getattr(torch.nn, layer.__name__)(inplace=True))
    x = Tensor(np.array([-1.0, 2.0]))
    expected = layer().eval()(Tensor(np.array([-1.0, 2.0])))
    assert np.array_equal(ours.eval()(x).numpy(), expected.numpy())


BAD: list[tuple[Callable[[], Any], str]] = [
    (lambda: nn.Conv2d(3, 8, 3, groups=2), "in_channels must be divisible by groups, got 3 and 2"),
    (lambda: nn.Conv2d(4, 7, 3, groups=2), "out_channels must be divisible"),
    (lambda: nn.Conv2d(4, 8, 3, groups=0), "groups must be a positive integer, got 0"),
    (lambda: nn.Conv2d(3, 8, (3, 3, 3)), r"kernel_size must be an int or 2 ints.*\(3, 3, 3\)"),
    (lambda: nn.Conv2d(3, 8, 0), "kernel_size.*at least 1; got 0"),
    (lambda: nn.Conv2d(3, 8, 3, stride=0), "stride.*at least 1; got 0"),
    (lambda: nn.Conv2d(3, 8, 3, padding=-1), "padding.*at least 0; got -1"),
    (lambda: nn.Conv2d(3, 8, 3, padding="half"), "'same', 'valid', an int or 2 ints, got 'half'"),
    (lambda: nn.Conv2d(3, 8, 3, 2, padding="same"), "not supported for strided"),
    (lambda: nn.Conv2d(3, 8, 3, padding_mode="mirror"), "padding_mode must be one of"),
    (lambda: nn.Conv2d(3, 8, 3, device="cuda"), "use device='cpu', not 'cuda'"),
    (lambda: nn.Linear(3, 8, dtype="float64"), "use dtype='float32', not 'float64'"),
    (lambda: nn.ConvTranspose2d(3, 8, 3, padding_mode="reflect"), 'Only "zeros" padding mode'),
    (lambda: nn.GroupNorm(4, 6), r"num_channels \(6\) must be divisible by num_groups \(4\)"),
    (lambda: nn.Dropout(1.5), "between 0 and 1, but got 1.5"),
    (lambda: nn.Hardtanh(1.0, 1.0), r"max_val \(1.0\) must be greater"),
    (lambda: nn.MSELoss(reduction="avg"), "'none', 'mean' or 'sum', got 'avg'"),
    (lambda: nn.ZeroPad2d((1, 2)), "padding must be an int or 4 ints"),
    (lambda: nn.BatchNorm2d(3)(cnnfast.ones(2, 3)), r"expected 4D input \(got 2D input\)"),
    (lambda: nn.BatchNorm1d(3)(cnnfast.ones(3)), r"expected 2D or 3D input \(got 1D input\)"),
    (
        lambda: nn.InstanceNorm2d(3, affine=True)(cnnfast.ones(2, 4, 5, 5)),
        "expected 3 channels, got 4",
    ),
]


@pytest.mark.parametrize(("call", "message"), BAD)
def test_bad_settings_are_named(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("size", ["3", 3, (3, 1.5)])
def test_unflatten_wants_a_tuple_of_ints(size: Any) -> None:
    with pytest.raises(TypeError, match="unflattened_size must be a tuple of ints"):
        nn.Unflatten(1, size)


@pytest.mark.parametrize("device", ["cpu", "cpu:0", None])
@pytest.mark.parametrize("dtype", ["float32", np.float32, np.dtype("float32"), None])
def test_layers_take_the_only_device_and_type(device: Any, dtype: Any) -> None:
    assert nn.Conv2d(1, 1, 1, device=device, dtype=dtype).to(device, dtype).weight.dtype == "f4"


# -- clipping ------------------------------------------------------------------------------------


def with_gradients(module: Any, wrap: Callable[[np.ndarray], Any], scale: float) -> list[Any]:
    """Two parameters with gradients and one without."""
    params = [module.Parameter(wrap(np.ones(shape, np.float32))) for shape in ((3, 4), (5,), (2,))]
    for param in params[:2]:
        param.grad = wrap(sample(tuple(param.shape)) * np.float32(scale))
    return params


@pytest.mark.parametrize("order", [2.0, 1, 3.5, float("inf")])
@pytest.mark.parametrize("scale", [10.0, 1e-3])
def test_clip_grad_norm_equals_torchs(order: float, scale: float) -> None:
    torch = pytest.importorskip("torch")
    ours = with_gradients(nn, Tensor, scale)
    theirs = with_gradients(torch.nn, torch.from_numpy, scale)
    norm = nn.utils.clip_grad_norm_(iter(ours), 1.5, order)
    expected = torch.nn.utils.clip_grad_norm_(theirs, 1.5, order)
    np.testing.assert_allclose(norm.numpy(), expected.numpy(), rtol=1e-5)
    for one, other in zip(ours[:2], theirs, strict=False):
        np.testing.assert_allclose(one.grad.numpy(), other.grad.numpy(), rtol=1e-5)
    assert ours[2].grad is None


def test_clip_grad_value_equals_torchs() -> None:
    torch = pytest.importorskip("torch")
    ours = with_gradients(nn, Tensor, 1.0)
    theirs = with_gradients(torch.nn, torch.from_numpy, 1.0)
    nn.utils.clip_grad_value_(ours, 0.4)
    torch.nn.utils.clip_grad_value_(theirs, 0.4)
    for one, other in zip(ours[:2], theirs, strict=False):
        assert np.array_equal(one.grad.numpy(), other.grad.numpy())


def test_clip_grad_norm_of_what_is_not_finite() -> None:
    params = with_gradients(nn, Tensor, 1.0)
    params[0].grad.copy_(np.inf)
    before = params[1].grad.numpy().copy()
    with pytest.raises(RuntimeError, match=r"order 2\.0.*is inf"):
        nn.utils.clip_grad_norm_(params, 1.0, error_if_nonfinite=True)
    assert np.array_equal(params[1].grad.numpy(), before)
    assert float(nn.utils.clip_grad_norm_(params, 1.0).numpy()) == np.inf
    assert (params[1].grad.numpy() == 0).all()


def test_clip_takes_one_tensor_none_and_refuses_a_bad_order() -> None:
    from cnnfast.nn.utils import clip_grad_norm_

    param = with_gradients(nn, Tensor, 10.0)[0]
    assert float(clip_grad_norm_(param, 1.0).numpy()) > 1
    assert float(clip_grad_norm_([], 1.0).numpy()) == 0
    with pytest.raises(ValueError, match="norm_type must be positive"):
        clip_grad_norm_(param, 1.0, 0)


# -- whole networks ------------------------------------------------------------------------------


def small_net(n: Any) -> Any:
    return n.Sequential(
        n.Conv2d(1, 4, 3, padding=1), n.BatchNorm2d(4), n.ReLU(), n.MaxPool2d(2), n.Flatten(),
        n.Linear(64, 10),
    )  # fmt: skip


def test_a_network_pickles_and_copies_to_equal_outputs() -> None:
    net, x = small_net(nn), Tensor(sample((3, 1, 8, 8)))
    net(x)
    for other in (pickle.loads(pickle.dumps(net)), copy.deepcopy(net)):
        other.eval()
        net.eval()
        assert np.array_equal(other(x).detach().numpy(), net(x).detach().numpy())
        next(other.parameters()).data.copy_(0)
        assert next(net.parameters()).detach().numpy().any()


def test_torchs_functional_is_here_too() -> None:
    import cnnfast.nn.functional as functional

    assert functional.relu is cnnfast.functional.relu
    assert nn.functional is functional
