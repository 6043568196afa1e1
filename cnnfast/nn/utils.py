"""Gradient clipping, under torch's import path `nn.utils`. Called between backward and step."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from .. import _core
from ..replay import is_repeated, refuse_replay
from ..tensor import Tensor

__all__ = ["clip_grad_norm_", "clip_grad_value_"]


def _gradients(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    owners = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    return [owner.grad for owner in owners if owner.grad is not None]


def _root_of_squares(arrays: list[np.ndarray]) -> np.ndarray:
    """Return the 2-norm of all values of all arrays, float32 (1,)."""
    squares, total = _core.empty((len(arrays),)), _core.empty((1,))
    for i, array in enumerate(arrays):
        _core.reduce("sum_square", squares[i : i + 1].reshape((1,) * array.ndim), array)
    _core.reduce("sum", total, squares)
    _core.unary("sqrt", total, total)
    return total


def _norm(arrays: list[np.ndarray], order: float) -> np.ndarray:
    """Return the norm of any order by NumPy, summed in float64 in a fixed order; float32 (1,)."""
    if order <= 0:
        raise ValueError(f"norm_type must be positive or inf, got {order}")
    refuse_replay(f"a norm of gradients of order {order}")
    if math.isinf(order):
        total = max((float(np.abs(array).max(initial=0.0)) for array in arrays), default=0.0)
    else:
        # numpy.sum, not numpy.dot: the bits of a BLAS product depend on its number of threads.
        powers = (np.abs(array, dtype=np.float64) ** order for array in arrays)
        total = sum(float(power.sum()) for power in powers) ** (1.0 / order)
    return np.full(1, total, np.float32)


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
    gradients = _gradients(parameters)
    arrays = [gradient.array for gradient in gradients]
    total = _root_of_squares(arrays) if norm_type == 2 else _norm(arrays, norm_type)
    if error_if_nonfinite:
        refuse_replay("whether a norm of gradients is finite")
        if not np.isfinite(total[0]):
            raise RuntimeError(
                f"The total norm of order {norm_type} for gradients from `parameters` is "
                f"{total[0]}, so it cannot be clipped. To scale the gradients by it anyway, set "
                "error_if_nonfinite=False"
            )
    scale = _core.empty((1,))
    _core.unary("affine", scale, total, 1.0, 1e-6)
    _core.binary("div", scale, np.full(1, max_norm, np.float32), scale)
    _core.binary("minimum", scale, scale, np.ones(1, np.float32))  # NaN stays NaN, as in torch
    if is_repeated() or scale[0] != 1.0:
        for gradient in gradients:
            array = gradient.array
            _core.binary("mul", array, array, scale.reshape((1,) * array.ndim))
            gradient.bump_version()
    return Tensor.wrap(total.reshape(()))


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
