"""Sizes as layers take them: one int for every axis, or one int an axis.

Called by the constructors of convolution, pooling and padding layers, which keep the tuple.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["Size", "ntuple"]

Size = int | Sequence[int]


def ntuple(value: Size, n: int, name: str, minimum: int = 0) -> tuple[int, ...]:
    """Return `value` as `n` ints.

    Parameters
    ----------
    value : int or sequence of ints
        One int stands for all axes.
    n : int
        Number of axes.
    name : str
        The argument's name, for the error.
    minimum : int
        The smallest int allowed.

    Raises
    ------
    ValueError
        There are not `n` values, or one is not an int or below `minimum`.

    Examples
    --------
    >>> ntuple(3, 2, "kernel_size"), ntuple((1, 5), 2, "kernel_size")
    ((3, 3), (1, 5))
    """
    values = (value,) * n if isinstance(value, (int, np.integer)) else tuple(value)
    if len(values) != n or not all(
        isinstance(v, (int, np.integer)) and v >= minimum for v in values
    ):
        wanted = "an int" if n == 1 else f"an int or {n} ints"
        raise ValueError(f"{name} must be {wanted}, each at least {minimum}; got {value!r}")
    return tuple(int(v) for v in values)
