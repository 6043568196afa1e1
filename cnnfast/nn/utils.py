"""Gradient clipping, under torch's import path `nn.utils`. Called between backward and step."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from ..replay import refuse_replay
from ..tensor import Tensor

__all__ = ["clip_grad_norm_", "clip_grad_value_"]


def _gradients(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    owners = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    return [owner.grad for owner in owners if owner.grad is not None]


def _norm(arrays: list[np.ndarray], order: float) -> float:
    """Return the norm of all values of all arrays, summed in float64 in a fixed order."""
    if order <= 0:
        raise ValueError(f"norm_type must be positive or inf, got {order}")
    if math.isinf(order):
        return max((float(np.abs(array).max(initial=0.0)) for array in arrays), default=0.0)
    # numpy.sum, not numpy.dot: the bits of a BLAS product depend on its number of threads.
    powers = (np.abs(array, dtype=np.float64) ** order for array in arrays)
    return sum(float(power.sum()) for power in powers) ** (1.0 / order)


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Tensor:
    """Scale all gradients together so that their common norm is at most `max_norm`.

    Parameters
    ----------
    parameters : Tensor or iterable of Tensors
        Those without a gradient are passed over.
    max_norm : float
    norm_type : float
        The order of the norm, over all values of all gradients; inf takes the largest.
    error_if_nonfinite : bool
        Whether a norm that is NaN or infinite is an error.

    Returns
    -------
    Tensor
        The norm before clipping, shape ().

    Raises
    ------
    RuntimeError
        The norm is not finite and `error_if_nonfinite` is set; nothing is changed.
    ValueError
        `norm_type` is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> from cnnfast import nn, tensor
    >>> p = nn.Parameter(np.zeros(2, np.float32))
    >>> p.grad = tensor([3.0, 4.0])
    >>> float(clip_grad_norm_([p], 1.0)), round(float(p.grad[0]), 4)
    (5.0, 0.6)
    """
    refuse_replay("the norm of gradients")
    gradients = _gradients(parameters)
    total = _norm([gradient.array for gradient in gradients], norm_type)
    if error_if_nonfinite and not np.isfinite(total):
        raise RuntimeError(
            f"The total norm of order {norm_type} for gradients from `parameters` is {total}, so "
            "it cannot be clipped. To scale the gradients by it anyway, set "
            "error_if_nonfinite=False"
        )
    scale = np.minimum(max_norm / (total + 1e-6), 1.0)  # NaN stays NaN, as in torch
    if scale != 1.0:
        with np.errstate(invalid="ignore"):  # inf * 0, which is NaN as in torch
            for gradient in gradients:
                np.multiply(gradient.array, np.float32(scale), out=gradient.array)
                gradient.bump_version()
    return Tensor.wrap(np.array(total, np.float32))


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Clamp every value of every gradient to [-clip_value, clip_value].

    Examples
    --------
    >>> import numpy as np
    >>> from cnnfast import nn, tensor
    >>> p = nn.Parameter(np.zeros(2, np.float32))
    >>> p.grad = tensor([3.0, -0.25])
    >>> clip_grad_value_([p], 0.5)
    >>> p.grad.numpy().tolist()
    [0.5, -0.25]
    """
    for gradient in _gradients(parameters):
        np.clip(gradient.array, -clip_value, clip_value, out=gradient.array)
        gradient.bump_version()
