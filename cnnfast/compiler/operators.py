"""The operators that the passes and the tracer add to the standard's, in the domain "cnnfast"."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Sequence
from typing import Any

from .. import functional as F
from ..functional.convolution import fused_conv2d
from ..functional.elementwise import apply_unary
from ..onnx.operators.registry import operator
from ..onnx.operators.values import Value
from ..onnx.operators.windows import output_size, sides
from ..tensor import Tensor
from .vocabulary import FUNCTION_DOMAIN

__all__ = ["Affine", "FlattenChannelsLast", "Function", "FusedConv", "FusedLinear"]


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
    arguments = (x, w, b, strides, padding, dilations, group)
    if residual is None:
        return fused_conv2d(*arguments, activation=activation, alpha=alpha, beta=beta)
    geometry = zip(x.shape[2:], w.shape[2:], strides, dilations, padding, strict=True)
    sizes = [output_size(size, k, s, d, side, False) for size, k, s, d, side in geometry]
    if residual.shape == (x.shape[0], w.shape[0], *sizes):
        return fused_conv2d(
            *arguments, residual=residual, activation=activation, alpha=alpha, beta=beta)
    y = F.add(fused_conv2d(*arguments), residual)  # a summand that is broadcast
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
