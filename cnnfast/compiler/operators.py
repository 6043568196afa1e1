"""The operators that the passes and the tracer add to the standard's, in the domain "cnnfast"."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from .. import functional as F
from ..functional.convolution import fused_conv2d, scaled_conv2d
from ..functional.elementwise import apply_unary
from ..functional.separable import Layer, separable_conv2d
from ..onnx.operators.registry import operator
from ..onnx.operators.values import Value
from ..onnx.operators.windows import output_size, sides
from ..tensor import Tensor
from .vocabulary import FUNCTION_DOMAIN

__all__ = [
    "Affine", "ChannelShuffle", "FlattenChannelsLast", "Function", "FusedConv", "FusedLinear",
    "ScaledConv", "SeparableConv",
]


@operator(FUNCTION_DOMAIN)
def Function(*operands: Value, function: str, arguments: str) -> Any:
    """Call ``cnnfast.functional.<function>``; see `vocabulary.function_node`."""
    # None whose name begins or ends with "_": private, or changing an operand, perhaps a weight.
    if not inspect.isfunction(F.__dict__.get(function)) or function != function.strip("_"):
        raise ValueError(f"cnnfast.functional has no function {function!r}")

    def whole(value: Any) -> Any:
        if isinstance(value, dict):
            if "tensor" in value:
                return operands[value["tensor"]]
            return slice(*value["slice"])
        return [whole(part) for part in value] if isinstance(value, list) else value

    given = {key: whole(value) for key, value in json.loads(arguments).items()}
    call = getattr(F, function)
    result = call(*_positional(call, given), **given)
    return tuple(result) if isinstance(result, (list, tuple)) else result


def _positional(call: Any, given: dict[str, Any]) -> list[Any]:
    """Take from `given` what the function takes as ``*shape``, and what stands before it."""
    parameters = inspect.signature(call).parameters
    spread = [name for name, p in parameters.items() if p.kind is p.VAR_POSITIONAL]
    if not spread:
        return []
    names = list(parameters)
    before = [given.pop(name) for name in names[: names.index(spread[0])]]
    return [*before, *given.pop(spread[0])]


@operator(FUNCTION_DOMAIN)
def FusedConv(
    x: Tensor, w: Tensor, b: Tensor | None = None, residual: Tensor | None = None,
    *, auto_pad: str = "NOTSET", dilations: Sequence[int] = (1, 1), group: int = 1,
    kernel_shape: Sequence[int] | None = None, pads: Sequence[int] | None = None,
    strides: Sequence[int] = (1, 1), activation: str = "identity", alpha: float = 0.0,
    beta: float = 0.0,
) -> Tensor:
    """The standard's Conv of images, then ``activation(y + residual)``."""
    padding = sides(x.shape[2:], w.shape[2:], strides, dilations, pads, auto_pad)
    arguments = (w, b, strides, padding, dilations, group)
    return _with_residual(
        partial(fused_conv2d, x), x, arguments, residual, activation, alpha, beta)


@operator(FUNCTION_DOMAIN)
def ScaledConv(
    x: Tensor, scale: Tensor, shift: Tensor | None, w: Tensor, b: Tensor | None = None,
    residual: Tensor | None = None,
    *, auto_pad: str = "NOTSET", dilations: Sequence[int] = (1, 1), group: int = 1,
    kernel_shape: Sequence[int] | None = None, pads: Sequence[int] | None = None,
    strides: Sequence[int] = (1, 1), activation: str = "identity", alpha: float = 0.0,
    beta: float = 0.0, low: float = -math.inf, high: float = math.inf,
) -> Tensor:
    """FusedConv of ``clamp(x * scale + shift, low, high)``; shift is (C,), factors broadcast."""
    if x.shape[2:] == (1, 1):
        x, scale = scale, x
    if scale.shape not in ((n, *x.shape[1:2], 1, 1) for n in (1, x.shape[0])):
        x = F.clamp(F.mul(x, scale), low, high)  # a mask of pixels, say
        scale = Tensor(np.ones((1, x.shape[1], 1, 1), np.float32))
    padding = sides(x.shape[2:], w.shape[2:], strides, dilations, pads, auto_pad)
    arguments = (w, b, strides, padding, dilations, group)
    call = partial(scaled_conv2d, x, scale, shift, low=low, high=high)
    return _with_residual(call, x, arguments, residual, activation, alpha, beta)


@operator(FUNCTION_DOMAIN)
def SeparableConv(
    x: Tensor, expand: Tensor | None, expand_bias: Tensor | None, w: Tensor, b: Tensor | None,
    project: Tensor | None = None, project_bias: Tensor | None = None,
    residual: Tensor | None = None,
    *, auto_pad: str = "NOTSET", dilations: Sequence[int] = (1, 1),
    pads: Sequence[int] | None = None, strides: Sequence[int] = (1, 1),
    activations: Sequence[str], alphas: Sequence[float], betas: Sequence[float],
) -> Tensor:
    """FusedConv three times, of 1x1, one filter a channel and 1x1; the outer ones may be absent.

    `activations`, `alphas` and `betas` are a number each; the residual is added behind the last.
    """
    padding = sides(x.shape[2:], w.shape[2:], strides, dilations, pads, auto_pad)
    weights = (expand, expand_bias), (w, b), (project, project_bias)
    before, depthwise, after = (
        None if weight is None else Layer(weight, bias, activation, alpha, beta)
        for (weight, bias), activation, alpha, beta
        in zip(weights, activations, alphas, betas, strict=True)
    )
    assert depthwise is not None
    return separable_conv2d(
        x, before, depthwise, after, strides, padding, dilations, residual=residual)


def _with_residual(
    call: Callable[..., Tensor], x: Tensor, arguments: tuple[Any, ...], residual: Tensor | None,
    activation: str, alpha: float, beta: float,
) -> Tensor:
    """Return ``activation(call(*arguments) + residual)`` of a convolution of x."""
    w, _, strides, padding, dilations, _ = arguments
    geometry = zip(x.shape[2:], w.shape[2:], strides, dilations, padding, strict=True)
    sizes = [output_size(size, k, s, d, side, False) for size, k, s, d, side in geometry]
    if residual is None or residual.shape == (x.shape[0], w.shape[0], *sizes):
        return call(*arguments, residual=residual, activation=activation, alpha=alpha, beta=beta)
    y = F.add(call(*arguments), residual)  # a summand that is broadcast
    return apply_unary(activation, y, alpha, beta)


@operator(FUNCTION_DOMAIN)
def FusedLinear(
    x: Tensor, w: Tensor, b: Tensor | None = None,
    *, activation: str = "identity", alpha: float = 0.0, beta: float = 0.0,
) -> Tensor:
    """``activation(x @ w.T + b)`` over the last axis of x; w is (O, I, 1, 1)."""
    if x.shape[-1] != w.shape[1]:
        raise ValueError(f"expected {w.shape[1]} values along the last axis, got {x.shape}")
    rows = x.reshape((math.prod(x.shape[:-1]), x.shape[-1], 1, 1))
    y = fused_conv2d(rows, w, b, activation=activation, alpha=alpha, beta=beta)
    return y.reshape((*x.shape[:-1], w.shape[0]))


@operator(FUNCTION_DOMAIN)
def Affine(x: Value, *, alpha: float, beta: float) -> Tensor:
    """alpha * x + beta."""
    return apply_unary("affine", x, alpha, beta)


@operator(FUNCTION_DOMAIN)
def FlattenChannelsLast(x: Tensor, *, columns: int = 0) -> Tensor:
    """One row a sample, in the order of an image's memory: pixels, then channels.

    With `columns`, rows of so many elements, which may be parts of samples, reordered likewise.
    """
    channels, each = x.shape[1], math.prod(x.shape[1:])
    if columns in (0, each):
        return x.permute(0, 2, 3, 1).reshape((x.shape[0], each))
    cut = x.reshape((-1, channels, columns // channels))
    return cut.permute(0, 2, 1).reshape((-1, columns))


@operator(FUNCTION_DOMAIN)
def ChannelShuffle(x: Tensor, *, split: Sequence[int]) -> Tensor:
    """Cut x into (N, g, c, H, W), exchange g and c; an image of these channels in any batch."""
    n, groups, channels, *sizes = split
    if x.shape[1:] == (groups * channels, *sizes):
        return F.channel_shuffle(x, groups)
    n = n or x.shape[0]
    return x.reshape((n, *split[1:])).transpose(1, 2).reshape((n, groups * channels, *sizes))
