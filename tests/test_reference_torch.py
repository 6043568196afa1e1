"""The oracle against torch in float64: values, indices and gradients, corners and ties included.

`CASES` runs each operator with every kind of option; the generated tests vary sizes and options
of those whose rules about edges are easy to get wrong.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import reference
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from reference_cases import (
    CASES,
    MEAN,
    SCORES,
    TWO_OPERANDS,
    VAR,
    X4,
    Arguments,
    close,
    differentiable,
    first,
    gradients,
    some,
    within,
)

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
GENERATED = settings(max_examples=60, deadline=None, derandomize=True, database=None)
# Torch's name where ours differs; anything else is in torch.nn.functional or torch by our name.
TORCH_NAMES = {"log_sigmoid": "logsigmoid"}


def torch_name(name: str, argument: str) -> str:
    """Torch's name for an argument of an operator."""
    if name in TWO_OPERANDS:
        return {"a": "input", "b": "exponent" if name == "pow" else "other"}[argument]
    return {"x": "input", "w": "weight", "b": "bias"}.get(argument, argument)


def torch_call(name: str, arguments: Arguments) -> tuple[Any, Arguments]:
    """(what torch's function returns, its arguments by our names: arrays as tensors)."""
    tensors = dict(arguments)
    for key, value in arguments.items():
        if isinstance(value, np.ndarray):
            leaf = key in differentiable(arguments)
            tensors[key] = torch.tensor(value.copy(), requires_grad=leaf)
    theirs = TORCH_NAMES.get(name, name)
    function = getattr(torch.nn.functional, theirs, None) or getattr(torch, theirs)
    indices = {"return_indices": True} if "max_pool" in name else {}
    return function(**{torch_name(name, k): v for k, v in tensors.items()}, **indices), tensors


def agrees_with_torch(name: str, arguments: Arguments, **tolerance: Any) -> None:
    """Values, indices where both return them, and gradients are torch's."""
    theirs, tensors = torch_call(name, arguments)
    mine = getattr(reference, name)(**arguments)
    if isinstance(theirs, tuple):
        np.testing.assert_array_equal(mine[1], theirs[1])
    theirs = first(theirs)
    close(first(mine), theirs.detach(), **tolerance)
    dy = np.round(within(-4, 4, *theirs.shape, seed=9))
    theirs.backward(torch.tensor(dy, dtype=theirs.dtype))
    for wrt, gradient in zip(
        differentiable(arguments), gradients(name, arguments, dy), strict=False
    ):
        close(gradient, tensors[wrt].grad, **tolerance)


@pytest.mark.parametrize(("name", "arguments"), CASES)
def test_operator_is_torchs(name: str, arguments: Arguments) -> None:
    # Torch's hardsigmoid multiplies by a sixth that was rounded to float32, even in double.
    rtol = 1e-7 if name == "hardsigmoid" else 1e-9
    agrees_with_torch(name, arguments, rtol=rtol)


CORNERS = np.array([-np.inf, -1e3, -30.0, -6, -3, -1, -0.5, -0.0, 0, 0.5, 1, 3, 6, 30, 1e3])


@pytest.mark.parametrize("name", [
    "relu", "relu6", "leaky_relu", "elu", "selu", "softplus", "sigmoid", "tanh", "hardswish",
    "hardsigmoid", "hardtanh", "log_sigmoid", "softsign", "silu", "mish", "gelu", "abs", "exp"],
)  # fmt: skip
def test_corners_are_torchs(name: str) -> None:
    agrees_with_torch(name, {"x": CORNERS[1:]}, rtol=1e-7, atol=1e-15)


@pytest.mark.parametrize("name", ["maximum", "minimum", "pow", "div"])
def test_ties_zeros_and_negative_bases_are_torchs(name: str) -> None:
    values = np.array([-2.0, -1, 0, 0.5, 1, 2])
    agrees_with_torch(name, {"a": values[:, None], "b": values})


def test_clamp_and_prelu_at_their_corners_are_torchs() -> None:
    agrees_with_torch("clamp", {"x": CORNERS, "min": -1.0, "max": 3.0})
    agrees_with_torch("clamp", {"x": CORNERS, "min": 3.0, "max": -1.0})
    agrees_with_torch("prelu", {"x": CORNERS[1:], "w": np.array([0.3])})


def test_losses_at_their_corners_are_torchs() -> None:
    x, target = np.array([0.0, 1, 0, 1, 0.5]), np.array([0.0, 1, 1, 0, 0.5])
    # Torch's least denominator, 1e-12, is a float32 number even in double.
    agrees_with_torch("binary_cross_entropy", {"x": x, "target": target}, rtol=1e-7)
    agrees_with_torch("l1_loss", {"x": x, "target": target})
    agrees_with_torch("huber_loss", {"x": x, "target": target})
    ignored = {"x": SCORES, "target": np.full(6, -100)}
    agrees_with_torch("cross_entropy", ignored)
    agrees_with_torch("cross_entropy", {**ignored, "reduction": "sum"})
    agrees_with_torch("nll_loss", ignored)
    impossible = {"x": np.full((6, 4), -np.inf), "target": np.full(6, -100)}
    agrees_with_torch("nll_loss", {**impossible, "reduction": "sum"})


@pytest.mark.parametrize("name", ["max", "argmax", "amax"])
@pytest.mark.parametrize("dim", [0, -1])
def test_reductions_of_ties_are_torchs(name: str, dim: int) -> None:
    tied = np.round(within(-1, 1, 5, 7))
    if name != "argmax":
        agrees_with_torch(name, {"x": tied, "dim": dim})
    else:
        expected = torch.argmax(torch.tensor(tied), dim, keepdim=True)
        close(reference.argmax(tied, dim, keepdim=True), expected)
        close(reference.argmax(tied), torch.argmax(torch.tensor(tied)))


@pytest.mark.parametrize("name", ["batch_norm", "instance_norm"])
@pytest.mark.parametrize("momentum", [0.1, 0.7])
def test_running_statistics_are_torchs(name: str, momentum: float) -> None:
    arguments = {"x": X4, "running_mean": MEAN, "running_var": VAR, "momentum": momentum}
    arguments["training" if name == "batch_norm" else "use_input_stats"] = True
    _, tensors = torch_call(name, arguments)
    _, mean, var = getattr(reference, name)(**arguments)
    close(mean, tensors["running_mean"])
    close(var, tensors["running_var"])


@pytest.mark.parametrize("whole_channels", [False, True])
def test_dropout_with_torchs_mask_is_torchs(whole_channels: bool) -> None:
    functional = torch.nn.functional
    dropout = functional.dropout2d if whole_channels else functional.dropout
    y = dropout(torch.tensor(X4), 0.3).numpy()
    mask = (y != 0).any(axis=(2, 3), keepdims=True) if whole_channels else y != 0
    close(reference.dropout(X4, mask, 0.3), y)


def sizes(low: int, high: int) -> Any:
    """A pair of ints."""
    return st.tuples(st.integers(low, high), st.integers(low, high))


def image(draw: Any, channels: int, tied: bool = False) -> np.ndarray:
    """A small batch of images; `tied` values repeat, so that maxima tie."""
    shape = (draw(st.integers(1, 2)), channels, *draw(sizes(1, 9)))
    values = within(-3, 3, *shape, seed=draw(st.integers(0, 99)))
    return np.round(values) if tied else values


@st.composite
def windows(draw: Any) -> Arguments:
    """The options that both kinds of pooling share; padding is at most half a kernel."""
    kernel = draw(sizes(1, 4))
    padding = tuple(draw(st.integers(0, size // 2)) for size in kernel)
    stride, ceil = draw(st.none() | sizes(1, 4)), draw(st.booleans())
    return {"kernel_size": kernel, "stride": stride, "padding": padding, "ceil_mode": ceil}


def legal(name: str, arguments: Arguments) -> bool:
    """Whether torch takes the arguments; where it refuses them there is nothing to compare."""
    try:
        torch_call(name, arguments)
    except RuntimeError:
        return False
    return True


@GENERATED
@given(data=st.data(), groups=st.integers(1, 3), co=st.integers(1, 3), kernel=sizes(1, 4))
def test_convolution_is_torchs(data: Any, groups: int, co: int, kernel: tuple[int, int]) -> None:
    padding = data.draw(st.sampled_from(["same", "valid"]) | st.integers(0, 3) | sizes(0, 3))
    stride = 1 if padding == "same" else data.draw(st.integers(1, 3) | sizes(1, 3))
    options = {"stride": stride, "padding": padding, "dilation": data.draw(sizes(1, 3))}
    x = image(data.draw, groups * 2)
    w, b = within(-1, 1, groups * co, 2, *kernel), within(-1, 1, groups * co, seed=1)
    arguments = {"x": x, "w": w, "b": b, **options, "groups": groups}
    assume(legal("conv2d", arguments))
    agrees_with_torch("conv2d", arguments)


@GENERATED
@given(data=st.data(), groups=st.integers(1, 3), co=st.integers(1, 3), kernel=sizes(1, 4))
def test_transposed_convolution_is_torchs(
    data: Any, groups: int, co: int, kernel: tuple[int, int]
) -> None:
    ranges = {"stride": (1, 3), "padding": (0, 2), "dilation": (1, 2)}
    options = {name: data.draw(sizes(*limits)) for name, limits in ranges.items()}
    steps = zip(options["stride"], options["dilation"], strict=True)
    options["output_padding"] = tuple(data.draw(st.integers(0, max(s) - 1)) for s in steps)
    w, b = within(-1, 1, groups * 2, co, *kernel), within(-1, 1, groups * co, seed=1)
    arguments = {"x": image(data.draw, groups * 2), "w": w, "b": b, **options, "groups": groups}
    assume(legal("conv_transpose2d", arguments))
    agrees_with_torch("conv_transpose2d", arguments)


@GENERATED
@given(data=st.data(), window=windows(), dilation=sizes(1, 3), nans=st.booleans())
def test_max_pool_is_torchs(
    data: Any, window: Arguments, dilation: tuple[int, int], nans: bool
) -> None:
    x = image(data.draw, 2, tied=True)
    x[x >= 2] = np.nan if nans else -np.inf
    arguments = {"x": x, **window, "dilation": dilation}
    # A window with wider gaps than the image can miss it; torch's index then points outside.
    assume(all(gap <= size for gap, size in zip(dilation, x.shape[2:], strict=True)))
    assume(legal("max_pool2d", arguments))
    agrees_with_torch("max_pool2d", arguments)


@GENERATED
@given(data=st.data(), window=windows(), inside=st.booleans(), divisor=st.none() | st.just(3))
def test_average_pool_is_torchs(
    data: Any, window: Arguments, inside: bool, divisor: int | None
) -> None:
    options = {"count_include_pad": not inside, "divisor_override": divisor}
    arguments = {"x": image(data.draw, 2), **window, **options}
    assume(legal("avg_pool2d", arguments))
    agrees_with_torch("avg_pool2d", arguments)


@GENERATED
@given(data=st.data(), output_size=sizes(1, 12))
def test_adaptive_pools_are_torchs(data: Any, output_size: tuple[int, int]) -> None:
    x = image(data.draw, 2, tied=True)
    for name in ("adaptive_max_pool2d", "adaptive_avg_pool2d"):
        agrees_with_torch(name, {"x": x, "output_size": output_size})


@GENERATED
@given(data=st.data(), scale=st.none() | st.floats(0.3, 3.5), align=st.booleans())
def test_resize_is_torchs(data: Any, scale: float | None, align: bool) -> None:
    x = image(data.draw, 2, tied=True)
    size = data.draw(sizes(1, 14)) if scale is None else None
    arguments = {"x": x, "size": size, "scale_factor": scale}
    bilinear = {**arguments, "mode": "bilinear", "align_corners": align}
    assume(legal("interpolate", bilinear))
    agrees_with_torch("interpolate", bilinear)
    # In float32, where torch's nearest takes its steps; small whole numbers stay exact.
    nearest = {**arguments, "x": x.astype(np.float32)}
    agrees_with_torch("interpolate", nearest, rtol=0, atol=0)


@pytest.mark.parametrize(("height", "size"), [(2, 82), (6, 74), (9, 111), (14, 46)])
def test_nearest_rounds_its_step_as_torch(height: int, size: int) -> None:
    x = np.arange(height, dtype=np.float32).reshape(1, 1, height, 1)
    agrees_with_torch("interpolate", {"x": x, "size": (size, 1)}, rtol=0, atol=0)


@GENERATED
@given(data=st.data(), mode=st.sampled_from(["constant", "reflect", "replicate"]))
def test_padding_is_torchs(data: Any, mode: str) -> None:
    low = -2 if mode == "constant" else 0
    pad = data.draw(st.tuples(*[st.integers(low, 4)] * 4))
    arguments = {"x": image(data.draw, 2), "pad": pad, "mode": mode}
    assume(legal("pad", arguments))
    agrees_with_torch("pad", arguments)


def test_concat_is_torchs() -> None:
    arrays = [some(2, length, 3) for length in (1, 4, 2)]
    tensors = [torch.tensor(a, requires_grad=True) for a in arrays]
    y = torch.cat(tensors, 1)
    close(reference.concat(arrays, 1), y.detach())
    dy = within(-1, 1, *y.shape)
    y.backward(torch.tensor(dy))
    for gradient, tensor in zip(reference.concat_backward(dy, arrays, 1), tensors, strict=True):
        close(gradient, tensor.grad)


OPTIMISERS: list[tuple[str, str, list[Arguments]]] = [
    ("sgd", "SGD", [{}, {"momentum": 0.9}, {"momentum": 0.9, "dampening": 0.3},
                    {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
                    {"weight_decay": 0.1, "maximize": True}]),
    ("adam", "Adam", [{}, {"betas": (0.7, 0.9), "weight_decay": 0.1, "eps": 0.1},
                      {"amsgrad": True}, {"maximize": True}]),
    ("adamw", "AdamW", [{}, {"weight_decay": 0.3, "amsgrad": True}, {"maximize": True}]),
    ("rmsprop", "RMSprop", [{}, {"momentum": 0.8, "centered": True},
                            {"alpha": 0.5, "weight_decay": 0.1, "eps": 0.1, "maximize": True}]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "theirs", "options"),
    [(name, theirs, options) for name, theirs, each in OPTIMISERS for options in each],
)
def test_update_is_torchs(name: str, theirs: str, options: Arguments) -> None:
    p, state = some(3, 4), dict[str, Any]()
    parameter = torch.nn.Parameter(torch.tensor(p))
    optimiser = getattr(torch.optim, theirs)([parameter], **options)
    for step in range(5):
        g = within(-1, 1, 3, 4, seed=step)
        parameter.grad = torch.tensor(g)
        optimiser.step()
        p, state = getattr(reference, name)(p, g, state, **options)
        close(p, parameter.detach())
    held = {k: v for k, v in optimiser.state[parameter].items() if v is not None}
    assert held.keys() == state.keys()
    for key, value in held.items():
        close(state[key], value)


@pytest.mark.parametrize("norm_type", [1.0, 2.0, math.inf])
@pytest.mark.parametrize("limit", [0.5, 100.0])
def test_clipping_is_torchs(norm_type: float, limit: float) -> None:
    grads = [some(3, 4), some(5)]
    parameters = [torch.nn.Parameter(torch.zeros(g.shape, dtype=torch.float64)) for g in grads]
    for parameter, g in zip(parameters, grads, strict=True):
        parameter.grad = torch.tensor(g)
    theirs = torch.nn.utils.clip_grad_norm_(parameters, limit, norm_type)
    norm, clipped = reference.clip_grad_norm(grads, limit, norm_type)
    close(norm, theirs)
    for mine, parameter in zip(clipped, parameters, strict=True):
        close(mine, parameter.grad)
    close(reference.clip_grad_value(grads, 0.2)[0], np.clip(grads[0], -0.2, 0.2))


def test_erf_is_torchs() -> None:
    close(reference.erf(X4), torch.erf(torch.tensor(X4)))
    close(reference.erfc(X4), torch.erfc(torch.tensor(X4)), atol=1e-300)
