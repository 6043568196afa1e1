"""Batch, group, instance, layer and local response norm, and normalisation to unit length."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from .. import _core, shapes
from ..autograd import record
from ..layout import as_dense, as_image, as_rows
from ..tensor import Tensor, as_float
from .arithmetic import clamp, div, pow
from .pointwise import abs as absolute
from .pointwise import sqrt, square
from .reduction import amax
from .reduction import sum as total

__all__ = [
    "batch_norm",
    "group_norm",
    "instance_norm",
    "layer_norm",
    "local_response_norm",
    "normalize",
]

Gradients = tuple["np.ndarray | None", "np.ndarray | None", "np.ndarray | None"]
Affine = tuple["np.ndarray | None", "np.ndarray | None"]


def _image_view(array: np.ndarray) -> np.ndarray:
    """Return (N, C), (N, C, L) or (N, C, H, W) as an image (N, C, H, W)."""
    if array.ndim == 4:
        return as_image(array)
    return as_image(array[:, :, None, None] if array.ndim == 2 else array[:, :, None])


def _from_image(image: np.ndarray, ndim: int) -> np.ndarray:
    """Undo `_image_view` on a result."""
    return image if ndim == 4 else image[:, :, 0] if ndim == 3 else image[:, :, 0, 0]


def _dense(vector: Tensor | None) -> np.ndarray | None:
    return None if vector is None else as_dense(vector.array)


def _empty_affine(needs: Sequence[bool], shape: tuple[int, ...]) -> Affine:
    """Return memory for the gradients of weight and bias, where `needs` wants them."""
    return _core.empty(shape) if needs[1] else None, _core.empty(shape) if needs[2] else None


def _record(
    name: str,
    y: np.ndarray,
    operands: tuple[Tensor, Tensor | None, Tensor | None],
    gradients: Callable[[np.ndarray, Sequence[bool]], Gradients],
    statistics: tuple[Tensor, ...] = (),
) -> Tensor:
    """Put a norm of (input, weight, bias), the last two perhaps absent, on the tape.

    ``gradients(dy, needs)`` gives and is asked for all three; `statistics` are read by it too.
    """
    present = [operand is not None for operand in operands]

    def backward(dy: np.ndarray, needs: tuple[bool, ...]) -> tuple[np.ndarray | None, ...]:
        asked = iter(needs)
        results = gradients(dy, [there and next(asked) for there in present])
        return tuple(result for result, there in zip(results, present, strict=True) if there)

    backward.__qualname__ = name  # what errors call the operation
    inputs = tuple(operand for operand in operands if operand is not None)
    saved = tuple(operand for operand in operands[:2] if operand is not None)
    return record(y, inputs, backward, saved=saved + statistics)


def _by_own_statistics(
    name: str,
    operands: tuple[Tensor, Tensor | None, Tensor | None],
    running: tuple[Tensor | None, Tensor | None],
    per_sample: bool,
    groups: int,
    momentum: float,
    eps: float,
) -> Tensor:
    """Normalise by the statistics of the input itself, blending them into the running ones."""
    input, weight, bias = operands
    x, ndim = _image_view(input.array), input.ndim
    w, b = _dense(weight), _dense(bias)
    y = _core.empty_image(*x.shape)
    mean, invstd = (_core.empty((x.shape[0] if per_sample else 1, groups)) for _ in range(2))
    old_mean, old_var = (None if statistic is None else statistic.array for statistic in running)
    _core.norm_forward(
        y, mean, invstd, old_mean, old_var, x, w, b, per_sample, groups, momentum, eps
    )
    for statistic in running:
        if statistic is not None:
            statistic.bump_version()

    def gradients(dy: np.ndarray, needs: Sequence[bool]) -> Gradients:
        dx = _core.empty_image(*x.shape) if needs[0] else None
        dw, db = _empty_affine(needs, (x.shape[1],))
        _core.norm_backward(dx, dw, db, _image_view(dy), x, mean, invstd, w, per_sample, groups)
        return None if dx is None else _from_image(dx, ndim), dw, db

    return _record(name, _from_image(y, ndim), operands, gradients)


def _by_running_statistics(
    name: str,
    operands: tuple[Tensor, Tensor | None, Tensor | None],
    running: tuple[Tensor, Tensor],
    eps: float,
) -> Tensor:
    """Normalise by given statistics, which are constants."""
    input, weight, bias = operands
    x, ndim = _image_view(input.array), input.ndim
    w, b = _dense(weight), _dense(bias)
    mean, var = as_dense(running[0].array), as_dense(running[1].array)
    y = _core.empty_image(*x.shape)
    _core.norm_evaluate(y, x, mean, var, w, b, eps)

    def gradients(dy: np.ndarray, needs: Sequence[bool]) -> Gradients:
        dx = _core.empty_image(*x.shape) if needs[0] else None
        dw, db = _empty_affine(needs, (x.shape[1],))
        _core.norm_evaluate_backward(dx, dw, db, _image_view(dy), x, mean, var, w, eps)
        return None if dx is None else _from_image(dx, ndim), dw, db

    return _record(name, _from_image(y, ndim), operands, gradients, running)


def _as_floats(*values: Tensor | None) -> list[Tensor | None]:
    return [None if value is None else as_float(value) for value in values]


def _shapes(**vectors: Tensor | None) -> dict[str, tuple[int, ...]]:
    return {label: vector.shape for label, vector in vectors.items() if vector is not None}


def _channel_norm(
    name: str,
    input: Tensor,
    vectors: tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None],
    own: bool,
    per_sample: bool,
    momentum: float,
    eps: float,
) -> Tensor:
    """Batch norm, or with `per_sample` instance norm; vectors: running mean, var, weight, bias."""
    input = as_float(input)
    mean, var, weight, bias = _as_floats(*vectors)
    given = _shapes(running_mean=mean, running_var=var, weight=weight, bias=bias)
    shapes.channel_norm(name, input.shape, given)
    operands = (input, weight, bias)
    if own:
        groups = input.shape[1]
        values = math.prod(input.shape[2:]) * (1 if per_sample else input.shape[0])
        shapes.norm_values(name, input.shape, values)
        return _by_own_statistics(name, operands, (mean, var), per_sample, groups, momentum, eps)
    if mean is None or var is None:
        raise ValueError(f"{name}: in evaluation running_mean and running_var must be given")
    return _by_running_statistics(name, operands, (mean, var), eps)


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise each channel over the batch: ``(x - mean) / sqrt(var + eps) * weight + bias``.

    Parameters
    ----------
    input : Tensor
        float32 (N, C), (N, C, L) or (N, C, H, W).
    running_mean, running_var : Tensor or None
        float32 (C,). In training they are blended in place with the batch's mean and unbiased
        variance; otherwise they are the statistics.
    weight, bias : Tensor, optional
        Scale and shift of each channel, float32 (C,).
    training : bool
        Whether the statistics are the batch's (its biased variance) or the running ones.
    momentum : float
        Share of the batch in the running statistics.
    eps : float
        Added to the variance.

    Returns
    -------
    Tensor
        Of the input's shape.

    Raises
    ------
    ValueError
        Where the shapes do not fit, or in training where a channel has a single value.

    Notes
    -----
    Source: Ioffe and Szegedy, Batch Normalization, 2015 (arXiv:1502.03167).

    Examples
    --------
    >>> import cnnfast
    >>> from cnnfast.functional import batch_norm
    >>> batch_norm(cnnfast.Tensor([[1.0], [3.0]]), None, None, training=True, eps=0.0).numpy()
    array([[-1.],
           [ 1.]], dtype=float32)
    """
    vectors = (running_mean, running_var, weight, bias)
    return _channel_norm("batch_norm", input, vectors, training, False, momentum, eps)


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise each channel of each sample by itself.

    Parameters
    ----------
    input : Tensor
        float32 (N, C, L) or (N, C, H, W).
    running_mean, running_var : Tensor, optional
        float32 (C,): blended with the mean over the samples of theirs, or with
        ``use_input_stats=False`` used in their place.
    weight, bias : Tensor, optional
        Scale and shift of each channel, float32 (C,).
    use_input_stats : bool
        Whether the statistics are the input's.
    momentum : float
        Share of the input in the running statistics.
    eps : float
        Added to the variance.

    Returns
    -------
    Tensor
        Of the input's shape.

    Raises
    ------
    ValueError
        Where the shapes do not fit, or where a channel of a sample has a single value.

    Notes
    -----
    Source: Ulyanov et al., Instance Normalization, 2016 (arXiv:1607.08022).

    Examples
    --------
    >>> import cnnfast
    >>> from cnnfast.functional import instance_norm
    >>> instance_norm(cnnfast.Tensor([[[1.0, 3.0]]]), eps=0.0).numpy()
    array([[[-1.,  1.]]], dtype=float32)
    """
    vectors = (running_mean, running_var, weight, bias)
    return _channel_norm("instance_norm", input, vectors, use_input_stats, True, momentum, eps)


def group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise each sample's groups of neighbouring channels.

    Parameters
    ----------
    input : Tensor
        float32 (N, C), (N, C, L) or (N, C, H, W).
    num_groups : int
        Divides C.
    weight, bias : Tensor, optional
        Scale and shift of each channel, float32 (C,).
    eps : float
        Added to the variance.

    Returns
    -------
    Tensor
        Of the input's shape.

    Raises
    ------
    ValueError
        Where the shapes do not fit, or a batch of one has groups of a single value.

    Notes
    -----
    Source: Wu and He, Group Normalization, 2018 (arXiv:1803.08494).

    Examples
    --------
    >>> import cnnfast
    >>> from cnnfast.functional import group_norm
    >>> group_norm(cnnfast.Tensor([[1.0, 3.0, 5.0, 9.0]]), 2, eps=0.0).numpy()
    array([[-1.,  1., -1.,  1.]], dtype=float32)
    """
    input = as_float(input)
    weight, bias = _as_floats(weight, bias)
    shapes.channel_norm("group_norm", input.shape, _shapes(weight=weight, bias=bias))
    shapes.norm_groups(input.shape, num_groups)
    shapes.norm_values("group_norm", input.shape, math.prod(input.shape) // num_groups)
    operands = (input, weight, bias)
    return _by_own_statistics("group_norm", operands, (None, None), True, num_groups, 0.0, eps)


def layer_norm(
    input: Tensor,
    normalized_shape: int | Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise over the last axes, each sample and position by itself.

    Parameters
    ----------
    input : Tensor
        float32 (..., *normalized_shape).
    normalized_shape : int or sequence of int
        The last sizes of the input.
    weight, bias : Tensor, optional
        Scale and shift of each element, float32 of `normalized_shape`.
    eps : float
        Added to the variance.

    Returns
    -------
    Tensor
        Of the input's shape.

    Raises
    ------
    ValueError
        Where the shapes do not fit.

    Notes
    -----
    Source: Ba et al., Layer Normalization, 2016 (arXiv:1607.06450).

    Examples
    --------
    >>> import cnnfast
    >>> from cnnfast.functional import layer_norm
    >>> layer_norm(cnnfast.Tensor([[1.0, 3.0]]), (2,), eps=0.0).numpy()
    array([[-1.,  1.]], dtype=float32)
    """
    input = as_float(input)
    weight, bias = _as_floats(weight, bias)
    last = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    c = shapes.layer_norm(input.shape, last, _shapes(weight=weight, bias=bias))
    x, w, b = as_rows(input.array, c), _dense(weight), _dense(bias)
    shape = input.shape
    y, mean, invstd = _core.empty(x.shape), _core.empty(x.shape[:1]), _core.empty(x.shape[:1])
    _core.layer_norm_forward(y, mean, invstd, x, w, b, eps)

    def gradients(dy: np.ndarray, needs: Sequence[bool]) -> Gradients:
        dx = _core.empty(x.shape) if needs[0] else None
        dw, db = _empty_affine(needs, last)
        _core.layer_norm_backward(dx, dw, db, as_rows(dy, c), x, mean, invstd, w)
        return None if dx is None else dx.reshape(shape), dw, db

    return _record("layer_norm", y.reshape(shape), (input, weight, bias), gradients)


def local_response_norm(
    input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """Divide each value by a power of its neighbours' mean square across channels.

    ``x[c] / (k + alpha * mean(x[c - size // 2 : c + (size - 1) // 2 + 1] ** 2)) ** beta``, where
    channels outside the image count as zero.

    Parameters
    ----------
    input : Tensor
        float32 (N, C, L) or (N, C, H, W).
    size : int
        Channels in the mean.
    alpha, beta, k : float
        As in the formula.

    Returns
    -------
    Tensor
        Of the input's shape.

    Raises
    ------
    ValueError
        Where the input has another rank or `size` is less than 1.

    Notes
    -----
    Source: Krizhevsky et al., ImageNet Classification with Deep Convolutional Neural Networks,
    2012, with alpha divided by `size` as in torch.

    Examples
    --------
    >>> import cnnfast
    >>> from cnnfast.functional import local_response_norm
    >>> local_response_norm(cnnfast.Tensor([[[3.0]]]), 1, alpha=1.0, beta=0.5, k=7.0).numpy()
    array([[[0.75]]], dtype=float32)
    """
    input = as_float(input)
    shapes.local_response_norm(input.shape, size)
    x, ndim = _image_view(input.array), input.ndim
    y = _core.empty_image(*x.shape)
    _core.local_norm_forward(y, x, size, alpha, beta, k)

    def backward(dy: np.ndarray, needs: tuple[bool, ...]) -> tuple[np.ndarray | None, ...]:
        dx = _core.empty_image(*x.shape)
        _core.local_norm_backward(dx, _image_view(dy), x, size, alpha, beta, k)
        return (_from_image(dx, ndim),)

    return record(_from_image(y, ndim), (input,), backward, saved=(input,))


def normalize(input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Tensor:
    """Divide by the vector norm over an axis: ``input / max(norm(input, p, dim), eps)``.

    Parameters
    ----------
    input : Tensor
        float32, any shape.
    p : float
        Exponent of the norm, infinity for the largest magnitude.
    dim : int
        The axis whose vectors get length 1.
    eps : float
        The least norm to divide by; shorter vectors have no gradient through their norm.

    Returns
    -------
    Tensor
        Of the input's shape.

    Raises
    ------
    IndexError
        Where there is no such axis.

    Examples
    --------
    >>> import cnnfast
    >>> from cnnfast.functional import normalize
    >>> normalize(cnnfast.Tensor([[3.0, 4.0]])).numpy()
    array([[0.6, 0.8]], dtype=float32)
    """
    input = as_float(input)
    if math.isinf(p):
        return div(input, clamp(amax(absolute(input), dim, True), min=eps))
    least = max(eps**p, float(np.finfo(np.float32).tiny))
    # Limited before the root is taken, whose slope at 0 is infinite.
    if p == 2.0:
        return div(input, sqrt(clamp(total(square(input), dim, True), min=least)))
    powers = clamp(total(pow(absolute(input), p), dim, True), min=least)
    return div(input, pow(powers, 1 / p))
