"""Losses of two arrays of one shape: squared and absolute errors, and binary cross-entropy.

The functions of an element are rows of csrc/tiles/elementwise.def; the losses of classes are in
`cnnfast.functional.cross_entropy`.
"""

from __future__ import annotations

import warnings

import numpy as np

from .. import _core
from ..layout import empty_result
from ..tensor import Tensor, as_float
from .activation import softplus
from .arithmetic import add, div, mul, sub
from .elementwise import BinaryRule, apply_binary, compute
from .pointwise import exp, neg
from .reduction import mean
from .reduction import sum as total

__all__ = [
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "huber_loss", "kl_div", "l1_loss",
    "mse_loss", "smooth_l1_loss",
]  # fmt: skip


def reduction_name(size_average: bool | None, reduce: bool | None, reduction: str) -> str:
    """Return the reduction, also where torch's two old arguments spell it."""
    if size_average is not None or reduce is not None:
        chosen = "none" if reduce is False else "sum" if size_average is False else "mean"
        warnings.warn(
            f"size_average and reduce are old arguments; use reduction={chosen!r} instead",
            stacklevel=3,
        )
        return chosen
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"reduction must be 'none', 'mean' or 'sum', got {reduction!r}")
    return reduction


def reduced(losses: Tensor, reduction: str, weight: Tensor | None = None) -> Tensor:
    """Return each element's loss, their sum or their mean; with `weight`, the weighted mean."""
    if reduction == "none":
        return losses
    if reduction == "sum":
        return total(losses)
    return mean(losses) if weight is None else div(total(losses), total(weight))


def _negative(array: np.ndarray) -> np.ndarray:
    result = empty_result(array.shape, array)
    _core.unary("neg", result, array)
    return result


def _of_difference(kind: str, input: Tensor, target: Tensor, alpha: float = 0.0) -> Tensor:
    """Return row `kind` of the table, a function of input - target: the gradients are opposite."""
    input, target = as_float(input), as_float(target)
    if input.shape != target.shape:
        warnings.warn(
            f"the target's shape {target.shape} differs from the input's {input.shape}; they are "
            "broadcast, which is rarely meant: give them one shape",
            stacklevel=3,
        )

    def by_input(dy: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return compute(f"{kind}_dx", dy, a, b, alpha=alpha)

    def by_target(dy: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return _negative(by_input(dy, a, b))

    return apply_binary(BinaryRule(kind, by_input, by_target, "ab", "ab"), input, target, alpha)


BCE = BinaryRule(
    "bce",
    lambda dy, a, b: compute("bce_dx", dy, a, b),
    lambda dy, a, b: compute("bce_dt", dy, a),
    "ab",
    "a",
)
BCE_LOGITS = BinaryRule(
    "bce_logits",
    lambda dy, a, b: compute("bce_logits_dx", dy, a, b),
    lambda dy, a, b: _negative(compute("mul", dy, a)),
    "ab",
    "a",
)
KL_DIV = BinaryRule(
    "kl_div",
    lambda dy, a, b: _negative(compute("mul", dy, b)),
    lambda dy, a, b: compute("kl_div_dt", dy, a, b),
    "b",
    "ab",
)


def _weighted(losses: Tensor, weight: Tensor | None, input: Tensor) -> Tensor:
    """Multiply by a weight of the input's shape, where there is one."""
    if weight is None:
        return losses
    weight = as_float(weight)
    if weight.shape != input.shape:
        raise ValueError(
            f"expected a weight of the input's shape {input.shape}, got {weight.shape}"
        )
    return mul(losses, weight)


def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """Squared error ``(input - target) ** 2``.

    Parameters
    ----------
    input, target : Tensor
        float32, of one shape.
    size_average, reduce : bool, optional
        torch's old spelling of `reduction`.
    reduction : {"mean", "sum", "none"}
        What becomes of the elements' losses.
    weight : Tensor, optional
        Of the input's shape; multiplies the losses, and a mean is divided by its sum.

    Returns
    -------
    Tensor
        One number, or with ``reduction="none"`` a loss for each element.

    Raises
    ------
    ValueError
        Where the shapes do not fit.

    Examples
    --------
    >>> import cnnfast
    >>> from cnnfast.functional import mse_loss
    >>> float(mse_loss(cnnfast.Tensor([1.0, 2.0]), cnnfast.Tensor([1.0, 4.0])))
    2.0
    """
    reduction = reduction_name(size_average, reduce, reduction)
    losses = _weighted(_of_difference("mse", input, target), weight, input)
    return reduced(losses, reduction, weight)


def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """Absolute error ``abs(input - target)``.

    Parameters
    ----------
    input, target : Tensor
        float32, of one shape.
    size_average, reduce : bool, optional
        torch's old spelling of `reduction`.
    reduction : {"mean", "sum", "none"}
        What becomes of the elements' losses.
    weight : Tensor, optional
        Of the input's shape; multiplies the losses, and a mean is divided by its sum.

    Returns
    -------
    Tensor
        One number, or with ``reduction="none"`` a loss for each element.

    Raises
    ------
    ValueError
        Where the shapes do not fit.

    Examples
    --------
    >>> import cnnfast
    >>> from cnnfast.functional import l1_loss
    >>> float(l1_loss(cnnfast.Tensor([1.0, 2.0]), cnnfast.Tensor([1.0, 4.0])))
    1.0
    """
    reduction = reduction_name(size_average, reduce, reduction)
    losses = _weighted(_of_difference("l1", input, target), weight, input)
    return reduced(losses, reduction, weight)


def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """``d ** 2 / (2 * beta)`` where ``d = abs(input - target) < beta``, else ``d - beta / 2``.

    Parameters
    ----------
    input, target : Tensor
        float32, of one shape.
    size_average, reduce : bool, optional
        torch's old spelling of `reduction`.
    reduction : {"mean", "sum", "none"}
        What becomes of the elements' losses.
    beta : float
        Where the square ends; with 0 this is `l1_loss`.

    Returns
    -------
    Tensor
        One number, or with ``reduction="none"`` a loss for each element.

    Raises
    ------
    ValueError
        Where the shapes do not fit or `beta` is negative.

    Notes
    -----
    Source: Girshick, Fast R-CNN, 2015 (arXiv:1504.08083).

    Examples
    --------
    >>> import cnnfast
    >>> from cnnfast.functional import smooth_l1_loss
    >>> float(smooth_l1_loss(cnnfast.Tensor([1.0, 2.0]), cnnfast.Tensor([1.0, 4.0])))
    0.75
    """
    reduction = reduction_name(size_average, reduce, reduction)
    if beta < 0:
        raise ValueError(f"smooth_l1_loss does not support negative values for beta, got {beta}")
    return reduced(_of_difference("smooth_l1", input, target, beta), reduction)


def huber_loss(
    input: Tensor,
    target: Tensor,
    reduction: str = "mean",
    delta: float = 1.0,
    weight: Tensor | None = None,
) -> Tensor:
    """``d ** 2 / 2`` where ``d = abs(input - target) < delta``, else ``delta * (d - delta / 2)``.

    Parameters
    ----------
    input, target : Tensor
        float32, of one shape.
    reduction : {"mean", "sum", "none"}
        What becomes of the elements' losses.
    delta : float
        Where the square ends.
    weight : Tensor, optional
        Of the input's shape; multiplies the losses.

    Returns
    -------
    Tensor
        One number, or with ``reduction="none"`` a loss for each element.

    Raises
    ------
    ValueError
        Where the shapes do not fit or `delta` is not positive.

    Notes
    -----
    Source: Huber, Robust Estimation of a Location Parameter, 1964.

    Examples
    --------
    >>> import cnnfast
    >>> from cnnfast.functional import huber_loss
    >>> float(huber_loss(cnnfast.Tensor([1.0, 2.0]), cnnfast.Tensor([1.0, 4.0])))
    0.75
    """
    reduction = reduction_name(None, None, reduction)
    if delta <= 0:
        raise ValueError(f"huber_loss does not support non-positive values for delta, got {delta}")
    return reduced(
        _weighted(_of_difference("huber", input, target, delta), weight, input), reduction
    )


def _check_same(name: str, input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return both as float32 Tensors, which must be of one shape."""
    input, target = as_float(input), as_float(target)
    if input.shape != target.shape:
        raise ValueError(
            f"{name}: expected a target of the input's shape {input.shape}, got {target.shape}"
        )
    return input, target


def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """``-(t * log(x) + (1 - t) * log(1 - x))`` of probabilities, the logarithms at least -100.

    Parameters
    ----------
    input : Tensor
        Probabilities, float32; the loss of a value outside 0 .. 1 is NaN.
    target : Tensor
        float32 of the input's shape, usually 0 or 1.
    weight : Tensor, optional
        Broadcasts to the input's shape; multiplies the losses.
    size_average, reduce : bool, optional
        torch's old spelling of `reduction`.
    reduction : {"mean", "sum", "none"}
        What becomes of the elements' losses.

    Returns
    -------
    Tensor
        One number, or with ``reduction="none"`` a loss for each element.

    Raises
    ------
    ValueError
        Where the shapes do not fit.

    Examples
    --------
    >>> import cnnfast
    >>> from cnnfast.functional import binary_cross_entropy
    >>> loss = binary_cross_entropy(cnnfast.Tensor([0.5]), cnnfast.Tensor([1.0]))
    >>> round(float(loss), 4)
    0.6931
    """
    reduction = reduction_name(size_average, reduce, reduction)
    input, target = _check_same("binary_cross_entropy", input, target)
    losses = apply_binary(BCE, input, target)
    return reduced(losses if weight is None else mul(losses, weight), reduction)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """Binary cross-entropy of ``sigmoid(input)``, without overflow or loss of digits.

    Parameters
    ----------
    input : Tensor
        Logits, float32.
    target : Tensor
        float32 of the input's shape, usually 0 or 1.
    weight : Tensor, optional
        Broadcasts to the input's shape; multiplies the losses.
    size_average, reduce : bool, optional
        torch's old spelling of `reduction`.
    reduction : {"mean", "sum", "none"}
        What becomes of the elements' losses.
    pos_weight : Tensor, optional
        Broadcasts to the input's shape; multiplies the part of the positive targets.

    Returns
    -------
    Tensor
        One number, or with ``reduction="none"`` a loss for each element.

    Raises
    ------
    ValueError
        Where the shapes do not fit.

    Examples
    --------
    >>> import cnnfast
    >>> from cnnfast.functional import binary_cross_entropy_with_logits
    >>> loss = binary_cross_entropy_with_logits(cnnfast.Tensor([0.0]), cnnfast.Tensor([1.0]))
    >>> round(float(loss), 4)
    0.6931
    """
    reduction = reduction_name(size_average, reduce, reduction)
    input, target = _check_same("binary_cross_entropy_with_logits", input, target)
    if pos_weight is None:
        losses = apply_binary(BCE_LOGITS, input, target)
    else:  # pos_weight * t * softplus(-x) + (1 - t) * softplus(x); softplus(x) = x + softplus(-x)
        share = add(mul(sub(pos_weight, 1.0), target), 1.0)
        losses = add(mul(sub(1.0, target), input), mul(share, softplus(neg(input))))
    return reduced(losses if weight is None else mul(losses, weight), reduction)


def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """Kullback-Leibler divergence ``t * (log(t) - input)`` of log-probabilities from probabilities.

    Parameters
    ----------
    input : Tensor
        Log-probabilities, float32.
    target : Tensor
        Probabilities of the input's shape, or with `log_target` their logarithms.
    size_average, reduce : bool, optional
        torch's old spelling of `reduction`.
    reduction : {"mean", "batchmean", "sum", "none"}
        What becomes of the elements' losses; "batchmean" divides their sum by the first size.
    log_target : bool
        Whether the target holds logarithms.

    Returns
    -------
    Tensor
        One number, or with ``reduction="none"`` a loss for each element.

    Raises
    ------
    ValueError
        Where the shapes do not fit.

    Examples
    --------
    >>> import cnnfast
    >>> from cnnfast.functional import kl_div
    >>> x, t = cnnfast.Tensor([[-1.0, -1.0]]), cnnfast.Tensor([[1.0, 0.0]])
    >>> float(kl_div(x, t, reduction="batchmean"))
    1.0
    """
    by_batch = reduction == "batchmean"
    reduction = "sum" if by_batch else reduction_name(size_average, reduce, reduction)
    input, target = _check_same("kl_div", input, target)
    if log_target:
        losses = mul(exp(target), sub(target, input))
    else:
        losses = apply_binary(KL_DIV, input, target)
    result = reduced(losses, reduction)
    return div(result, input.shape[0]) if by_batch and input.ndim else result
