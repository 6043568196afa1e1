"""Element by element: broadcasting arithmetic, exp, log, sqrt, abs, clamp, erf.

A binary operator's gradient is summed over the axes along which its operand was broadcast.
Ties and corners follow torch: maximum and minimum split a tie in halves, clamp passes the
gradient at its bounds, abs has none at zero, pow with a zero exponent has none for its base.
"""

from __future__ import annotations

import math

import numpy as np

from .arrays import Array, in_double


def unbroadcast(dy: Array, shape: tuple[int, ...]) -> Array:
    """Sum dy over the axes that broadcasting added or stretched, back to `shape`."""
    dy = dy.sum(axis=tuple(range(dy.ndim - len(shape))))
    stretched = tuple(i for i, size in enumerate(shape) if size == 1 and dy.shape[i] != 1)
    return np.asarray(dy.sum(axis=stretched, keepdims=True))


def _pair_of(da: Array, db: Array, a: Array, b: Array) -> tuple[Array, Array]:
    """Both gradients in the shapes of their operands."""
    return unbroadcast(da, np.shape(a)), unbroadcast(db, np.shape(b))


@in_double
def add(a: Array, b: Array) -> Array:
    """a + b, broadcast."""
    return np.asarray(np.add(a, b))


@in_double
def add_backward(dy: Array, a: Array, b: Array) -> tuple[Array, Array]:
    """(da, db) = (dy, dy)."""
    return _pair_of(dy, dy, a, b)


@in_double
def sub(a: Array, b: Array) -> Array:
    """a - b, broadcast."""
    return np.asarray(np.subtract(a, b))


@in_double
def sub_backward(dy: Array, a: Array, b: Array) -> tuple[Array, Array]:
    """(da, db) = (dy, -dy)."""
    return _pair_of(dy, -dy, a, b)


@in_double
def mul(a: Array, b: Array) -> Array:
    """a * b, broadcast."""
    return np.asarray(np.multiply(a, b))


@in_double
def mul_backward(dy: Array, a: Array, b: Array) -> tuple[Array, Array]:
    """(da, db) = (dy * b, dy * a)."""
    return _pair_of(dy * b, dy * a, a, b)


@in_double
def div(a: Array, b: Array) -> Array:
    """a / b, broadcast; division by zero gives inf or nan as IEEE does."""
    with np.errstate(all="ignore"):
        return np.asarray(np.true_divide(a, b))


@in_double
def div_backward(dy: Array, a: Array, b: Array) -> tuple[Array, Array]:
    """(da, db) = (dy / b, -dy * a / b**2)."""
    with np.errstate(all="ignore"):
        return _pair_of(dy / b, -dy * (a / b) / b, a, b)


@in_double
def pow(a: Array, b: Array) -> Array:
    """a ** b, broadcast; nan for a negative base and a fractional exponent."""
    with np.errstate(all="ignore"):
        return np.asarray(np.float_power(a, b))


@in_double
def pow_backward(dy: Array, a: Array, b: Array) -> tuple[Array, Array]:
    """da = dy * b * a**(b-1), zero where b is 0; db = dy * a**b * log(a), zero at 0**(b>=0)."""
    a, b = np.asarray(a), np.asarray(b)
    with np.errstate(all="ignore"):
        da = np.where(b == 0, 0.0, dy * b * np.float_power(a, b - 1))
        db = np.where((a == 0) & (b >= 0), 0.0, dy * np.float_power(a, b) * np.log(a))
        return _pair_of(da, db, a, b)


@in_double
def maximum(a: Array, b: Array) -> Array:
    """The larger of a and b, broadcast; nan if either is."""
    return np.asarray(np.maximum(a, b))


@in_double
def maximum_backward(dy: Array, a: Array, b: Array) -> tuple[Array, Array]:
    """dy to the larger operand, half to each where they are equal."""
    share = np.where(np.equal(a, b), 0.5, np.greater(a, b))
    return _pair_of(dy * share, dy * (1 - share), a, b)


@in_double
def minimum(a: Array, b: Array) -> Array:
    """The smaller of a and b, broadcast; nan if either is."""
    return np.asarray(np.minimum(a, b))


@in_double
def minimum_backward(dy: Array, a: Array, b: Array) -> tuple[Array, Array]:
    """dy to the smaller operand, half to each where they are equal."""
    share = np.where(np.equal(a, b), 0.5, np.less(a, b))
    return _pair_of(dy * share, dy * (1 - share), a, b)


@in_double
def exp(x: Array) -> Array:
    """e ** x; inf where that overflows."""
    with np.errstate(over="ignore"):
        return np.asarray(np.exp(x))


@in_double
def exp_backward(dy: Array, x: Array) -> Array:
    """dy * exp(x)."""
    return dy * exp(x)


@in_double
def log(x: Array) -> Array:
    """Natural logarithm; -inf at 0, nan below."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.log(x))


@in_double
def log_backward(dy: Array, x: Array) -> Array:
    """dy / x."""
    return div(dy, x)


@in_double
def sqrt(x: Array) -> Array:
    """Square root; nan below 0."""
    with np.errstate(invalid="ignore"):
        return np.asarray(np.sqrt(x))


@in_double
def sqrt_backward(dy: Array, x: Array) -> Array:
    """dy / (2 sqrt(x)); inf at 0."""
    return div(dy, 2 * sqrt(x))


@in_double
def abs(x: Array) -> Array:
    """|x|."""
    return np.asarray(np.abs(x))


@in_double
def abs_backward(dy: Array, x: Array) -> Array:
    """dy * sign(x), zero at 0."""
    return dy * np.sign(x)


@in_double
def clamp(x: Array, min: float | None = None, max: float | None = None) -> Array:
    """x limited to [min, max]; max wins if min > max; nan stays nan."""
    low, high = -np.inf if min is None else min, np.inf if max is None else max
    return np.asarray(np.minimum(np.maximum(x, low), high))


@in_double
def clamp_backward(
    dy: Array, x: Array, min: float | None = None, max: float | None = None
) -> Array:
    """dy where min <= x <= max (bounds included), else 0."""
    low, high = -np.inf if min is None else min, np.inf if max is None else max
    return np.where((x >= low) & (x <= high), dy, 0.0)


def erf(x: Array) -> Array:
    """Error function, by math.erf on each element."""
    return np.asarray(np.vectorize(math.erf, otypes=[np.float64])(x))


def erfc(x: Array) -> Array:
    """1 - erf(x) without cancellation, by math.erfc on each element."""
    return np.asarray(np.vectorize(math.erfc, otypes=[np.float64])(x))
