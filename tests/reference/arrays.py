"""What every module of the reference shares: float64 arrays, torch's pairs, finite differences.

The reference computes in double precision whatever it is given: `in_double` turns floating arrays
into float64 on the way in, and leaves labels, flags and options alone.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]
Integers = NDArray[np.int64]
Pair = int | Sequence[int]
P = ParamSpec("P")
R = TypeVar("R")


def double(value: Any) -> Any:
    """A floating array or NumPy scalar as float64; anything else as it is."""
    if isinstance(value, np.ndarray | np.floating) and value.dtype.kind == "f":
        return np.asarray(value, np.float64)
    return value


def in_double(function: Callable[P, R]) -> Callable[P, R]:
    """The function, called with every floating array argument in float64."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        return function(*map(double, args), **{k: double(v) for k, v in kwargs.items()})

    return wrapper


def pair(value: Pair) -> tuple[int, int]:
    """An int or a pair of ints as (height, width)."""
    if isinstance(value, Sequence):
        height, width = value
        return int(height), int(width)
    return int(value), int(value)


def numeric_gradient(
    f: Callable[[Array], Any], x: Array, dy: Array | float = 1.0, eps: float = 1e-3
) -> Array:
    """d sum(f(x) * dy) / dx, shape of x, by five-point central differences: error O(eps**4).

    With the default step the error is about 1e-11 of the values; f must be smooth within 2 * eps.
    """
    x = np.array(x, np.float64)
    gradient = np.zeros_like(x)
    for at in np.ndindex(x.shape):
        kept = x[at]
        slope: Any = 0.0
        for steps, factor in ((-2, 1), (-1, -8), (1, 8), (2, -1)):
            x[at] = kept + steps * eps
            slope = slope + factor * np.asarray(f(x), np.float64)
        x[at] = kept
        gradient[at] = np.sum(slope * dy) / (12 * eps)
    return gradient
