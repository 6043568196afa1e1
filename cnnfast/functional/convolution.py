"""Convolution and transposed convolution, one and two dimensional."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import _core, shapes
from ..autograd import record
from ..backends.conv2d import choose
from ..layout import as_dense, as_image
from ..replay import is_repeated
from ..shapes import Padding, Pair
from ..tensor import Tensor, as_float

__all__ = ["conv1d", "conv2d", "conv_transpose1d", "conv_transpose2d"]

Attributes = tuple[Pair, Pair, Pair, int]
"""stride, padding (top, left), dilation, groups: what the binding takes after the weight."""

POINTWISE: Attributes = ((1, 1), (0, 0), (1, 1), 1)
"""The attributes of a 1x1 convolution, which a linear layer is."""


def packed_weight(
    weight: Tensor,
    shape: tuple[int, ...],
    attributes: Attributes,
    backward: bool,
    algorithm: str = "direct",
) -> np.ndarray:
    """Return a weight of `shape` (O, I, kh, kw) in the kernel's order; packed once a version.

    What is replayed packs for itself: the weight may have another value by then. So does what is
    computed while somebody may write into the weight unnoticed. "winograd_inline" reads the weight
    as it is.
    """
    if algorithm == "winograd_inline":
        return as_dense(weight.array).reshape(-1)
    key = ("conv2d", shape, attributes, backward, algorithm, _core.isa())
    counter = weight.version_counter
    version = counter[0] + counter[2]  # grows with either
    kept = not (is_repeated() or (counter[2] and weight.is_lent))
    found = weight.packed.get(key)
    if found is not None and found[0] == version and kept:
        return found[1]
    array = as_dense(weight.array).reshape(shape)
    packed = _core.empty((_core.conv2d_packed_size(shape, *attributes, backward, algorithm),))
    _core.conv2d_pack(packed, array, *attributes, backward, algorithm)
    if kept:
        weight.packed[key] = (version, packed)
    return packed


def _sum_pixels(dy: np.ndarray) -> np.ndarray:
    """Return the sum over (N, H, W) of an image gradient: the gradient of a bias."""
    total = _core.empty((1, dy.shape[1], 1, 1))
    _core.reduce("sum", total, dy)
    return total.reshape(-1)


def _is_depthwise(weight: tuple[int, ...], groups: int) -> bool:
    """One input and one output channel a group: no sum over channels, so kernels of its own."""
    return groups > 1 and weight[1] == 1 and weight[0] == groups


class _Operands(NamedTuple):
    """Checked arguments of a convolution: arrays as the kernels read them, the result's shape."""

    weight: Tensor
    x: np.ndarray
    b: np.ndarray | None
    shape: tuple[int, ...]
    attributes: Attributes
    depthwise: bool

    @property
    def w(self) -> np.ndarray:
        """The weight as such: what is packed already does without."""
        return as_dense(self.weight.array)


def _operands(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: int | Sequence[int],
    padding: Padding,
    dilation: int | Sequence[int],
    groups: int,
) -> _Operands:
    """Check `conv2d`'s arguments; the Tensors are float32."""
    strides = shapes.pair(stride, "stride")
    dilations = shapes.pair(dilation, "dilation")
    kernel = (weight.shape[2], weight.shape[3]) if weight.ndim == 4 else (1, 1)
    pads = shapes.conv_padding(padding, kernel, strides, dilations)
    shape = shapes.conv2d(
        input.shape, weight.shape, None if bias is None else bias.shape,
        strides, pads, dilations, groups,
    )
    return _Operands(
        weight, as_image(input.array),
        None if bias is None else as_dense(bias.array), shape,
        (strides, (pads[0][0], pads[1][0]), dilations, groups), _is_depthwise(weight.shape, groups),
    )


def _forward(o: _Operands, y: np.ndarray, *epilogue: Any) -> None:
    """y = convolution; `epilogue` is what `_core.conv2d_forward` takes after the algorithm."""
    if o.depthwise:
        _core.depthwise_forward(y, o.x, o.w, o.b, *o.attributes[:3], *epilogue)
        return
    shape = o.weight.shape
    algorithm = choose(y, o.x, shape, o.attributes, "forward")
    packed = packed_weight(o.weight, shape, o.attributes, False, algorithm)
    _core.conv2d_forward(y, o.x, packed, o.b, shape, *o.attributes, algorithm, *epilogue)


def _input_gradient(o: _Operands, dy: np.ndarray) -> np.ndarray:
    """Return dx of dy."""
    dx = _core.empty_image(*o.x.shape)
    if o.depthwise:
        _core.depthwise_backward_input(dx, dy, o.w, *o.attributes[:3])
    else:
        shape = o.weight.shape
        way = choose(dy, dx, shape, o.attributes, "backward_input")
        rotated = packed_weight(o.weight, shape, o.attributes, True, way)
        _core.conv2d_backward_input(dx, dy, rotated, None, shape, *o.attributes, way)
    return dx


def _weight_gradient(o: _Operands, dy: np.ndarray) -> np.ndarray:
    """Return dw of dy."""
    dw = _core.empty(o.weight.shape)
    if o.depthwise:
        _core.depthwise_backward_weight(dw, o.x, dy, *o.attributes[:3])
    else:
        way = choose(dy, o.x, o.weight.shape, o.attributes, "backward_weight")
        _core.conv2d_backward_weight(dw, o.x, dy, *o.attributes, way)
    return dw


def fused_conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: Padding = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    *,
    residual: Tensor | None = None,
    activation: str = "identity",
    alpha: float = 0.0,
    beta: float = 0.0,
    sums: np.ndarray | None = None,
    out: np.ndarray | None = None,
) -> Tensor:
    """Compute ``activation(conv2d(input, weight, bias) + residual)`` as one primitive.

    For compiled networks: it has no gradient. The first arguments are `conv2d`'s.

    Parameters
    ----------
    residual : Tensor, optional
        float32 of the result's shape.
    activation : str
        One of ``_core.UNARY_KINDS``, with its attributes `alpha` and `beta`.
    sums : np.ndarray, optional
        float64 (2, O), receives the sums of the result and of its square a channel.
    out : np.ndarray, optional
        The image to write the result to; it may be the residual's array.

    Returns
    -------
    Tensor
        (N, O, H', W').

    Raises
    ------
    ValueError
        Where the shapes do not fit, or `out` shares elements with the input, or with a residual
        that is not `out` itself.

    Examples
    --------
    >>> import cnnfast
    >>> from cnnfast.functional.convolution import fused_conv2d
    >>> x, w = cnnfast.Tensor([[[[1.0, 2.0, 4.0]]]]), cnnfast.Tensor([[[[2.0, -1.0]]]])
    >>> fused_conv2d(x, w, activation="relu", residual=cnnfast.Tensor([[[[1.0, -1.0]]]])).numpy()
    array([[[[1., 0.]]]], dtype=float32)
    """
    bias = None if bias is None else as_float(bias)
    o = _operands(as_float(input), as_float(weight), bias, stride, padding, dilation, groups)
    y = _core.empty_image(*o.shape) if out is None else out
    added = None if residual is None else as_image(as_float(residual).array)
    _forward(o, y, added, activation, alpha, beta, sums)
    return Tensor.wrap(y)


def scaled_conv2d(
    input: Tensor,
    scale: Tensor,
    shift: Tensor | None,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: Padding = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    *,
    low: float = -np.inf,
    high: float = np.inf,
    residual: Tensor | None = None,
    activation: str = "identity",
    alpha: float = 0.0,
    beta: float = 0.0,
) -> Tensor:
    """Compute `fused_conv2d` of ``clamp(input * scale + shift, low, high)`` as one primitive.

    For compiled networks: it has no gradient, and the scaled image is never in memory.

    Parameters
    ----------
    scale : Tensor
        float32 (N, C, 1, 1) or (1, C, 1, 1).
    shift : Tensor, optional
        float32 (C,).
    low, high : float
        Bounds of what is convolved; zeros that pad it are not bounded.

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
    >>> from cnnfast.functional.convolution import scaled_conv2d
    >>> x, w = cnnfast.Tensor([[[[1.0, 2.0, 4.0]]]]), cnnfast.Tensor([[[[1.0]]]])
    >>> scaled_conv2d(x, cnnfast.Tensor([[[[2.0]]]]), cnnfast.Tensor([-3.0]), w, low=0.0).numpy()
    array([[[[0., 1., 5.]]]], dtype=float32)
    """
    bias = None if bias is None else as_float(bias)
    o = _operands(as_float(input), as_float(weight), bias, stride, padding, dilation, groups)
    y, shape = _core.empty_image(*o.shape), o.weight.shape
    added = None if residual is None else as_image(as_float(residual).array)
    _core.conv2d_scaled_forward(
        y, o.x, as_image(as_float(scale).array),
        None if shift is None else as_dense(as_float(shift).array), low, high,
        packed_weight(o.weight, shape, o.attributes, False), o.b, shape, *o.attributes, added,
        activation, alpha, beta,
    )
    return Tensor.wrap(y)


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: Padding = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    """Slide the kernels of `weight` over `input`: what nets call convolution, a cross-correlation.

    Parameters
    ----------
    input : Tensor
        Images, float32 (N, C, H, W).
    weight : Tensor
        Kernels, float32 (O, C / groups, kh, kw).
    bias : Tensor, optional
        Added to each output channel, float32 (O,).
    stride, dilation : int or pair
        Pixels from one output to the next; from one tap of the kernel to the next.
    padding : int, pair, pair of pairs, "same" or "valid"
        Zeros around the image, in pixels; ((top, bottom), (left, right)) sets each side.
    groups : int
        Channels are cut into this many groups that do not see each other.

    Returns
    -------
    Tensor
        (N, O, H', W') with ``H' = (H + pad - dilation * (kh - 1) - 1) // stride + 1``.

    Raises
    ------
    ValueError
        Where the shapes do not fit or the kernel is larger than the padded image.

    Examples
    --------
    >>> import cnnfast
    >>> from cnnfast.functional import conv2d
    >>> x, w = cnnfast.Tensor([[[[1.0, 2.0, 4.0]]]]), cnnfast.Tensor([[[[-1.0, 1.0]]]])
    >>> conv2d(x, w).numpy()
    array([[[[1., 2.]]]], dtype=float32)
    """
    input, weight = as_float(input), as_float(weight)
    bias = None if bias is None else as_float(bias)
    o = _operands(input, weight, bias, stride, padding, dilation, groups)
    y = _core.empty_image(*o.shape)
    _forward(o, y)

    def backward(dy: np.ndarray, needs: tuple[bool, ...]) -> tuple[np.ndarray | None, ...]:
        dy = as_image(dy)
        dx = _input_gradient(o, dy) if needs[0] else None
        dw = _weight_gradient(o, dy) if needs[1] else None
        db = _sum_pixels(dy) if len(needs) > 2 and needs[2] else None
        return (dx, dw, db)[: len(needs)]

    inputs = (input, weight) if bias is None else (input, weight, bias)
    return record(y, inputs, backward, saved=(input, weight))


def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
    dilation: int | Sequence[int] = 1,
) -> Tensor:
    """Transposed convolution: the map from `conv2d`'s output gradient to its input gradient.

    Parameters
    ----------
    input : Tensor
        float32 (N, C, H, W).
    weight : Tensor
        float32 (C, O / groups, kh, kw).
    bias : Tensor, optional
        float32 (O,).
    stride, padding, dilation : int or pair
        Those of the convolution that this transposes.
    output_padding : int or pair
        Rows and columns added at the bottom and the right of the result's size.
    groups : int
        Channel groups.

    Returns
    -------
    Tensor
        (N, O, H', W') with
        ``H' = (H - 1) * stride - 2 * padding + dilation * (kh - 1) + output_padding + 1``.

    Raises
    ------
    ValueError
        Where the shapes do not fit.

    Examples
    --------
    >>> import cnnfast
    >>> from cnnfast.functional import conv_transpose2d
    >>> x = cnnfast.Tensor([[[[1.0, 2.0]]]])
    >>> conv_transpose2d(x, cnnfast.ones((1, 1, 1, 2)), stride=(1, 2)).numpy()
    array([[[[1., 1., 2., 2.]]]], dtype=float32)
    """
    input, weight = as_float(input), as_float(weight)
    bias = None if bias is None else as_float(bias)
    strides, dilations = shapes.pair(stride, "stride"), shapes.pair(dilation, "dilation")
    pads = shapes.pair(padding, "padding", minimum=0)
    extra = shapes.pair(output_padding, "output_padding", minimum=0)
    shape = shapes.conv_transpose2d(
        input.shape, weight.shape, None if bias is None else bias.shape,
        strides, pads, extra, dilations, groups,
    )
    attributes: Attributes = (strides, pads, dilations, groups)
    x, w = as_image(input.array), weight.shape
    b = None if bias is None else as_dense(bias.array)
    y = _core.empty_image(*shape)
    packed = packed_weight(weight, w, attributes, backward=True)
    _core.conv2d_backward_input(y, x, packed, b, w, *attributes)

    def backward(dy: np.ndarray, needs: tuple[bool, ...]) -> tuple[np.ndarray | None, ...]:
        dy = as_image(dy)
        dx = dw = db = None
        if needs[0]:
            dx = _core.empty_image(*x.shape)
            forward = packed_weight(weight, w, attributes, backward=False)
            _core.conv2d_forward(dx, dy, forward, None, w, *attributes)
        if needs[1]:
            dw = _core.empty(w)
            _core.conv2d_backward_weight(dw, dy, x, *attributes)
        if len(needs) > 2 and needs[2]:
            db = _sum_pixels(dy)
        return (dx, dw, db)[: len(needs)]

    inputs = (input, weight) if bias is None else (input, weight, bias)
    return record(y, inputs, backward, saved=(input, weight))


def _one(value: int | Sequence[int], name: str) -> int:
    """Return `value`, one integer or a sequence of one."""
    values = shapes.integers(value, name)
    if len(values) != 1:
        raise ValueError(f"{name}: expected one integer, got {value}")
    return values[0]


def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    """Convolution along one axis: `conv2d` on images of height one.

    Parameters
    ----------
    input : Tensor
        float32 (N, C, L).
    weight : Tensor
        float32 (O, C / groups, k).
    bias : Tensor, optional
        float32 (O,).
    stride, padding, dilation, groups
        As in `conv2d`, one integer each.

    Returns
    -------
    Tensor
        (N, O, L').

    Examples
    --------
    >>> import cnnfast
    >>> from cnnfast.functional import conv1d
    >>> conv1d(cnnfast.Tensor([[[1.0, 2.0, 4.0]]]), cnnfast.Tensor([[[-1.0, 1.0]]])).numpy()
    array([[[1., 2.]]], dtype=float32)
    """
    input, weight = as_float(input), as_float(weight)
    if input.ndim != 3 or weight.ndim != 3:
        raise ValueError(
            f"conv1d: expected input (N, C, L) and weight (O, I, k), got {input.shape} "
            f"and {weight.shape}"
        )
    pads = padding if isinstance(padding, str) else (0, _one(padding, "padding"))
    y = conv2d(
        input.unsqueeze(2), weight.unsqueeze(2), bias, (1, _one(stride, "stride")), pads,
        (1, _one(dilation, "dilation")), groups,
    )
    return y.squeeze(2)


def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
    dilation: int | Sequence[int] = 1,
) -> Tensor:
    """Transposed convolution along one axis: `conv_transpose2d` on images of height one.

    Parameters
    ----------
    input : Tensor
        float32 (N, C, L).
    weight : Tensor
        float32 (C, O / groups, k).
    bias, stride, padding, output_padding, groups, dilation
        As in `conv_transpose2d`, one integer each.

    Returns
    -------
    Tensor
        (N, O, L').

    Examples
    --------
    >>> import cnnfast
    >>> from cnnfast.functional import conv_transpose1d
    >>> conv_transpose1d(cnnfast.Tensor([[[1.0, 2.0]]]), cnnfast.ones((1, 1, 2)), stride=2).numpy()
    array([[[1., 1., 2., 2.]]], dtype=float32)
    """
    input, weight = as_float(input), as_float(weight)
    if input.ndim != 3 or weight.ndim != 3:
        raise ValueError(
            f"conv_transpose1d: expected input (N, C, L) and weight (C, O, k), got {input.shape} "
            f"and {weight.shape}"
        )
    y = conv_transpose2d(
        input.unsqueeze(2), weight.unsqueeze(2), bias, (1, _one(stride, "stride")),
        (0, _one(padding, "padding")), (0, _one(output_padding, "output_padding")), groups,
        (1, _one(dilation, "dilation")),
    )
    return y.squeeze(2)
