"""Reductions: each function is the standard's operator of its name.

Axes are an attribute or, since opset 13 (ReduceSum) and 18 (the others), an input. On float32 they
are the engine's; on other types NumPy's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ... import axes as rules
from ... import functional as F
from .elementwise import narrow_float
from .registry import operator
from .values import Value, array, integers, is_tensor, scalar

Ints = Sequence[int]
Reduction = Callable[[Any, tuple[int, ...]], Any]


def _reduced(
    x: Value, given: Value, axes: Ints | None, keepdims: int, noop: int,
    engine: Reduction, numbers: Reduction,
) -> Value:
    """Reduce keeping the axes, then drop them unless `keepdims`.

    No axes mean all of them, or with `noop` none: each element is then reduced by itself.
    """
    named = integers(given) if given is not None else list(axes or [])
    over: tuple[int, ...] = tuple(sorted({rules.axis(x.ndim, axis) for axis in named}))
    if not named and not noop:
        over = tuple(range(x.ndim))
    kept = tuple(1 if axis in over else size for axis, size in enumerate(x.shape))
    if is_tensor(x) and 0 not in x.shape:
        y = engine(x, over) if over else engine(x.reshape((1, *x.shape)), (0,))
    else:
        x = array(x)
        wide = x.astype(np.float32) if narrow_float(x.dtype) else x
        y = np.asarray(numbers(wide, over) if over or x.ndim == 0 else numbers(wide[None], (0,)))
        y = y.astype(x.dtype, copy=False)
    if keepdims or not over:
        return y.reshape(kept)
    return y.reshape(tuple(size for axis, size in enumerate(x.shape) if axis not in over))


@operator()
def ReduceSum(
    x: Value, given: Value = None, /,
    *, axes: Ints | None = None, keepdims: int = 1, noop_with_empty_axes: int = 0,
) -> Value:
    return _reduced(x, given, axes, keepdims, noop_with_empty_axes, F.sum, np.sum)


@operator()
def ReduceMean(
    x: Value, given: Value = None, /,
    *, axes: Ints | None = None, keepdims: int = 1, noop_with_empty_axes: int = 0,
) -> Value:
    return _reduced(x, given, axes, keepdims, noop_with_empty_axes, F.mean, np.mean)


def _largest(x: np.ndarray, over: tuple[int, ...]) -> np.ndarray:
    """The largest; of nothing the smallest number of the type."""
    if x.dtype == bool:
        return np.asarray(x.any(over))
    lowest = np.iinfo(x.dtype).min if x.dtype.kind in "iu" else -np.inf
    return x.max(over, initial=lowest)


def _smallest(x: np.ndarray, over: tuple[int, ...]) -> np.ndarray:
    if x.dtype == bool:
        return np.asarray(x.all(over))
    highest = np.iinfo(x.dtype).max if x.dtype.kind in "iu" else np.inf
    return x.min(over, initial=highest)


@operator()
def ReduceMax(
    x: Value, given: Value = None, /,
    *, axes: Ints | None = None, keepdims: int = 1, noop_with_empty_axes: int = 0,
) -> Value:
    return _reduced(x, given, axes, keepdims, noop_with_empty_axes, F.amax, _largest)


@operator()
def ReduceMin(
    x: Value, given: Value = None, /,
    *, axes: Ints | None = None, keepdims: int = 1, noop_with_empty_axes: int = 0,
) -> Value:
    return _reduced(x, given, axes, keepdims, noop_with_empty_axes, F.amin, _smallest)


def _product(x: Any, over: tuple[int, ...]) -> Any:
    for axis in over:
        x = F.prod(x, axis, True)
    return x


@operator()
def ReduceProd(
    x: Value, given: Value = None, /,
    *, axes: Ints | None = None, keepdims: int = 1, noop_with_empty_axes: int = 0,
) -> Value:
    return _reduced(x, given, axes, keepdims, noop_with_empty_axes, _product, np.prod)


@operator()
def ReduceL1(
    x: Value, given: Value = None, /,
    *, axes: Ints | None = None, keepdims: int = 1, noop_with_empty_axes: int = 0,
) -> Value:
    return _reduced(
        x, given, axes, keepdims, noop_with_empty_axes,
        lambda x, over: F.sum(F.abs(x), over), lambda x, over: np.abs(x).sum(over),
    )


@operator()
def ReduceL2(
    x: Value, given: Value = None, /,
    *, axes: Ints | None = None, keepdims: int = 1, noop_with_empty_axes: int = 0,
) -> Value:
    return _reduced(
        x, given, axes, keepdims, noop_with_empty_axes,
        lambda x, over: F.sqrt(F.sum(F.square(x), over)),
        lambda x, over: np.sqrt(np.square(x).sum(over)),
    )


@operator()
def ReduceSumSquare(
    x: Value, given: Value = None, /,
    *, axes: Ints | None = None, keepdims: int = 1, noop_with_empty_axes: int = 0,
) -> Value:
    return _reduced(
        x, given, axes, keepdims, noop_with_empty_axes,
        lambda x, over: F.sum(F.square(x), over), lambda x, over: np.square(x).sum(over),
    )


@operator()
def ReduceLogSum(
    x: Value, given: Value = None, /,
    *, axes: Ints | None = None, keepdims: int = 1, noop_with_empty_axes: int = 0,
) -> Value:
    return _reduced(
        x, given, axes, keepdims, noop_with_empty_axes,
        lambda x, over: F.log(F.sum(x, over)), lambda x, over: np.log(x.sum(over)),
    )


def _log_sum_exp(x: np.ndarray, over: tuple[int, ...]) -> np.ndarray:
    most = x.max(over, keepdims=True, initial=-np.inf)
    shift = np.where(np.isfinite(most), most, 0)
    return np.log(np.exp(x - shift).sum(over)) + shift.reshape(np.sum(x, over).shape)


@operator()
def ReduceLogSumExp(
    x: Value, given: Value = None, /,
    *, axes: Ints | None = None, keepdims: int = 1, noop_with_empty_axes: int = 0,
) -> Value:
    def engine(x: Any, over: tuple[int, ...]) -> Any:
        most = F.clamp(F.amax(x, over, True), -3.0e38, 3.0e38)  # finite, so that inf - inf is not
        total = F.log(F.sum(F.exp(F.sub(x, most)), over, True))
        return F.add(total, most)

    return _reduced(x, given, axes, keepdims, noop_with_empty_axes, engine, _log_sum_exp)


# ---- positions -----------------------------------------------------------------------------


def _extreme(
    x: Value, axis: int, keepdims: int, last: int, engine: Any, numbers: Any
) -> np.ndarray:
    """Return int64 positions of the extremes, the first or with `last` the last of equal ones."""
    if is_tensor(x) and not last:
        at = engine(x, axis, True).array
    else:
        x = array(x)
        at = np.expand_dims(numbers(np.flip(x, axis) if last else x, axis), axis)
        at = x.shape[axis] - 1 - at if last else at
    at = at.astype(np.int64, copy=False)
    return at if keepdims else at.squeeze(axis)


@operator()
def ArgMax(x: Value, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Value:
    return _extreme(x, axis, keepdims, select_last_index, F.argmax, np.argmax)


@operator()
def ArgMin(x: Value, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Value:
    return _extreme(x, axis, keepdims, select_last_index, F.argmin, np.argmin)


# ---- running totals ------------------------------------------------------------------------


def _running(
    x: np.ndarray, axis: int, exclusive: int, reverse: int, total: Any, neutral: int
) -> np.ndarray:
    x = np.flip(x, axis) if reverse else x
    if exclusive:
        head = np.full_like(x.take([0], axis), neutral)
        x = np.concatenate([head, x.take(range(x.shape[axis] - 1), axis)], axis)
    y = total(x, axis, dtype=x.dtype)
    return np.flip(y, axis) if reverse else y


@operator(host=True)
def CumSum(
    x: np.ndarray, axis: np.ndarray, *, exclusive: int = 0, reverse: int = 0
) -> np.ndarray:
    return _running(x, scalar(axis), exclusive, reverse, np.cumsum, 0)


@operator(host=True)
def CumProd(
    x: np.ndarray, axis: np.ndarray, *, exclusive: int = 0, reverse: int = 0
) -> np.ndarray:
    return _running(x, scalar(axis), exclusive, reverse, np.cumprod, 1)
