"""Depthwise convolutions with the 1x1 convolutions around them, as compiled networks run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import _core, shapes
from ..layout import as_dense, as_image
from ..tensor import Tensor, as_float
from .arithmetic import add
from .convolution import POINTWISE, fused_conv2d, packed_weight
from .elementwise import apply_unary

__all__ = ["Layer", "separable_conv2d"]


class Layer(NamedTuple):
    """A convolution and the activation that follows it; see `fused_conv2d`."""

    weight: Tensor
    bias: Tensor | None = None
    activation: str = "identity"
    alpha: float = 0.0
    beta: float = 0.0


def separable_conv2d(
    input: Tensor,
    expand: Layer | None,
    depthwise: Layer,
    project: Layer | None,
    stride: int | Sequence[int] = 1,
    padding: shapes.Padding = 0,
    dilation: int | Sequence[int] = 1,
    *,
    residual: Tensor | None = None,
) -> Tensor:
    """Compute ``project(depthwise(expand(input))) + residual``, the blocks of MobileNets.

    Where that is estimated to be faster, one primitive takes a few rows through all of them while
    they are in the cache. For compiled networks: it has no gradient.

    Parameters
    ----------
    input : Tensor
        Images, float32 (N, I, H, W).
    expand, project : Layer or None
        1x1 convolutions, (C, I, 1, 1) and (O, C, 1, 1); I or O is C without.
    depthwise : Layer
        Of weight (C, 1, kh, kw), with `stride`, `padding` and `dilation` as `conv2d`'s.
    residual : Tensor, optional
        float32 (N, O, H', W'), or what is broadcast with that; added before the activation of
        `project`, which there must be.

    Returns
    -------
    Tensor
        (N, O, H', W').

    Raises
    ------
    ValueError
        Where the shapes do not fit.

    Examples
    --------
    >>> import cnnfast
    >>> from cnnfast.functional.separable import Layer, separable_conv2d
    >>> x, ones = cnnfast.Tensor([[[[1.0, 2.0, 4.0]]]]), cnnfast.ones
    >>> separable_conv2d(x, None, Layer(ones((1, 1, 1, 2))), Layer(ones((2, 1, 1, 1)))).numpy()
    array([[[[3., 6.]],
    <BLANKLINE>
            [[3., 6.]]]], dtype=float32)
    """
    strides, dilations = shapes.pair(stride, "stride"), shapes.pair(dilation, "dilation")
    kernel = (depthwise.weight.shape[2], depthwise.weight.shape[3])
    pads = shapes.conv_padding(padding, kernel, strides, dilations)
    shape = _shape(input, expand, depthwise, project, strides, pads, dilations)
    if residual is not None and project is not None and residual.shape != shape:
        bare = Layer(project.weight, project.bias)
        y = separable_conv2d(input, expand, depthwise, bare, strides, pads, dilations)
        return apply_unary(project.activation, add(y, residual), project.alpha, project.beta)
    geometry = (strides, (pads[0][0], pads[1][0]), dilations)
    x, layers = as_image(as_float(input).array), (_pointwise(expand), _filters(depthwise))
    last = _pointwise(project)
    out = _core.empty_image(*shape)
    if _core.separable_gains(out, x, *layers, last, *geometry):
        added = None if residual is None else as_image(as_float(residual).array)
        _core.separable_forward(out, x, *layers, last, *geometry, added)
        return Tensor.wrap(out)
    attributes = (strides, pads, dilations)
    if project is not None:
        y = separable_conv2d(input, expand, depthwise, None, *attributes)
        return _convolve(y, project, residual=residual, out=out)
    if expand is not None:
        input = _convolve(input, expand)
    return _convolve(input, depthwise, *attributes, depthwise.weight.shape[0], out=out)


def _shape(
    input: Tensor, expand: Layer | None, depthwise: Layer, project: Layer | None,
    stride: shapes.Pair, pads: tuple[shapes.Pair, shapes.Pair], dilation: shapes.Pair,
) -> tuple[int, ...]:
    """Return the result's shape after each layer's check."""
    shape = input.shape
    if expand is not None:
        shape = shapes.conv2d(shape, expand.weight.shape, _bias(expand), *_ONE)
    groups = depthwise.weight.shape[0]
    shape = shapes.conv2d(
        shape, depthwise.weight.shape, _bias(depthwise), stride, pads, dilation, groups)
    if project is not None:
        shape = shapes.conv2d(shape, project.weight.shape, _bias(project), *_ONE)
    return shape


_ONE: Any = ((1, 1), ((0, 0), (0, 0)), (1, 1), 1)


def _bias(layer: Layer) -> tuple[int, ...] | None:
    return None if layer.bias is None else layer.bias.shape


def _convolve(input: Tensor, layer: Layer, *attributes: Any, **given: Any) -> Tensor:
    weight, bias, activation, alpha, beta = layer
    return fused_conv2d(input, weight, bias, *attributes, activation=activation, alpha=alpha,
                        beta=beta, **given)


def _filters(layer: Layer) -> tuple[Any, ...]:
    """Return a depthwise convolution as the binding takes it."""
    return (as_dense(as_float(layer.weight).array), *_rest(layer))


def _rest(layer: Layer) -> tuple[Any, ...]:
    """Return what the binding takes after the weight."""
    bias: np.ndarray | None = None
    if layer.bias is not None:
        bias = as_dense(as_float(layer.bias).array)
    return (bias, *layer[2:])


def _pointwise(layer: Layer | None) -> tuple[Any, ...] | None:
    """Return a 1x1 convolution as the binding takes it, its weight packed."""
    if layer is None:
        return None
    packed = packed_weight(as_float(layer.weight), layer.weight.shape, POINTWISE, False)
    return (packed, *_rest(layer))
