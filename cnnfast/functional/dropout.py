"""Dropout of values and of whole channels."""

from __future__ import annotations

import numpy as np

from .. import _core
from ..autograd import record, record_in_place
from ..layout import as_dense, as_image, as_rows
from ..random import new_seed
from ..replay import on_replay
from ..tensor import Tensor, as_float
from .arithmetic import MUL
from .elementwise import apply_binary, writable

__all__ = ["dropout", "dropout1d", "dropout2d"]


def _seed() -> np.ndarray:
    """Return a new seed, int64 (1,), in whose place each replay puts another."""
    seed = np.empty(1, np.int64)

    def draw() -> None:
        seed[0] = new_seed()

    draw()
    on_replay(draw, seed)
    return seed


def _check(p: float) -> None:
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")


def _rows(array: np.ndarray) -> np.ndarray:
    """Return an array as the matrix in whose order the mask counts: pixels x channels, or a row."""
    if array.ndim == 4:
        return as_rows(array.transpose(0, 2, 3, 1), array.shape[1])
    return as_dense(array).reshape(1, array.size)


def _apply(array: np.ndarray, p: float, seed: np.ndarray) -> np.ndarray:
    """Return array * mask as a new array."""
    if array.ndim == 4:
        array = as_image(array)
        y = _core.empty_image(*array.shape)
    else:
        array = as_dense(array)
        y = _core.empty(array.shape)
    _core.dropout(_rows(y), _rows(array), seed, p)
    return y


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zero each value with probability `p` and scale the others by ``1 / (1 - p)``.

    The mask is a function of a seed from ``cnnfast.random.generator()`` and of each value's
    place, so `manual_seed` repeats it on any number of threads.

    Parameters
    ----------
    input : Tensor
        float32, any shape.
    p : float
        Probability of a zero.
    training : bool
        Otherwise the input is returned.
    inplace : bool
        Write the result over the input.

    Returns
    -------
    Tensor
        Of the input's shape.

    Raises
    ------
    ValueError
        Where `p` is not within 0 and 1.

    Notes
    -----
    Source: Srivastava et al., Dropout, JMLR 2014; random numbers: Salmon et al., SC11.

    Examples
    --------
    >>> import cnnfast
    >>> from cnnfast.functional import dropout
    >>> sorted(set(dropout(cnnfast.Tensor([1.0] * 100)).numpy().tolist()))
    [0.0, 2.0]
    """
    _check(p)
    if not training or p == 0.0:
        return input
    seed = _seed()

    def backward(dy: np.ndarray, needs: tuple[bool, ...]) -> tuple[np.ndarray | None, ...]:
        return (_apply(dy, p, seed),)

    backward.__qualname__ = "dropout"
    if not inplace:
        input = as_float(input)
        return record(_apply(input.array, p, seed), (input,), backward)
    target = writable(input)
    _core.copy(target, _apply(target, p, seed))
    return record_in_place(input, (input,), backward)


def _drop_channels(name: str, input: Tensor, p: float, training: bool, inplace: bool) -> Tensor:
    """Multiply (N, C, ...) by a mask (N, C, 1, ...)."""
    _check(p)
    if not training or p == 0.0:
        return input
    if input.ndim < 3:
        raise ValueError(f"{name}: expected input (N, C, ...) with pixels, got {input.shape}")
    ones = _core.empty(input.shape[:2])
    _core.fill(ones, 1.0)
    mask = _apply(ones, p, _seed())
    pixels = (1,) * (input.ndim - 2)
    return apply_binary(MUL, input, mask.reshape(*mask.shape, *pixels), inplace=inplace)


def dropout1d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Zero whole channels of (N, C, L) with probability `p`, scaling the others by ``1 / (1 - p)``.

    Parameters
    ----------
    input : Tensor
        float32 (N, C, L).
    p : float
        Probability of a channel of zeros.
    training : bool
        Otherwise the input is returned.
    inplace : bool
        Write the result over the input.

    Returns
    -------
    Tensor
        Of the input's shape.

    Raises
    ------
    ValueError
        Where `p` is not within 0 and 1, or the input has no pixels.

    Examples
    --------
    >>> import cnnfast
    >>> from cnnfast.functional import dropout1d
    >>> y = dropout1d(cnnfast.Tensor([[[1.0, 1.0], [1.0, 1.0]]])).numpy()
    >>> bool((y[..., 0] == y[..., 1]).all())
    True
    """
    return _drop_channels("dropout1d", input, p, training, inplace)


def dropout2d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Zero whole channels of (N, C, H, W) with probability `p`, scaling the others.

    Parameters
    ----------
    input : Tensor
        float32 (N, C, H, W).
    p : float
        Probability of a channel of zeros.
    training : bool
        Otherwise the input is returned.
    inplace : bool
        Write the result over the input.

    Returns
    -------
    Tensor
        Of the input's shape.

    Raises
    ------
    ValueError
        Where `p` is not within 0 and 1, or the input has no pixels.

    Notes
    -----
    Source: Tompson et al., Efficient Object Localization Using Convolutional Networks, 2015.

    Examples
    --------
    >>> import cnnfast
    >>> from cnnfast.functional import dropout2d
    >>> y = dropout2d(cnnfast.Tensor([[[[1.0, 1.0]], [[1.0, 1.0]]]])).numpy()
    >>> bool((y[..., 0] == y[..., 1]).all())
    True
    """
    return _drop_channels("dropout2d", input, p, training, inplace)
