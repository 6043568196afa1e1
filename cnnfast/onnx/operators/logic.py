"""Comparison, logic and bits: each function is the standard's operator of its name.

Truth values are NumPy's, so all of it is; only Where chooses between float32 values in the engine.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import functional as F
from .elementwise import float_kind, lined_up
from .registry import operator
from .values import Value, array, is_tensor


@operator(host=True)
def Equal(a: Any, b: Any, *, axis: int | None = None, broadcast: int = 0) -> np.ndarray:
    return np.asarray(np.equal(a, lined_up(a, b, axis))).astype(bool)


@operator(host=True)
def Less(a: Any, b: Any, *, axis: int | None = None, broadcast: int = 0) -> np.ndarray:
    return np.less(a, lined_up(a, b, axis))


@operator(host=True)
def LessOrEqual(a: Any, b: Any) -> np.ndarray:
    return np.less_equal(a, b)


@operator(host=True)
def Greater(a: Any, b: Any, *, axis: int | None = None, broadcast: int = 0) -> np.ndarray:
    return np.greater(a, lined_up(a, b, axis))


@operator(host=True)
def GreaterOrEqual(a: Any, b: Any) -> np.ndarray:
    return np.greater_equal(a, b)


@operator(host=True)
def And(a: Any, b: Any, *, axis: int | None = None, broadcast: int = 0) -> np.ndarray:
    return np.logical_and(a, lined_up(a, b, axis))


@operator(host=True)
def Or(a: Any, b: Any, *, axis: int | None = None, broadcast: int = 0) -> np.ndarray:
    return np.logical_or(a, lined_up(a, b, axis))


@operator(host=True)
def Xor(a: Any, b: Any, *, axis: int | None = None, broadcast: int = 0) -> np.ndarray:
    return np.logical_xor(a, lined_up(a, b, axis))


@operator(host=True)
def Not(x: Any) -> np.ndarray:
    return np.logical_not(x)


@operator(host=True)
def IsNaN(x: np.ndarray) -> np.ndarray:
    return np.isnan(x)


@operator(host=True)
def IsInf(
    x: np.ndarray, *, detect_negative: int = 1, detect_positive: int = 1
) -> np.ndarray:
    negative = x < 0
    wanted = np.where(negative, bool(detect_negative), bool(detect_positive))
    return np.isinf(x) & wanted


@operator()
def Where(condition: Value, a: Value, b: Value) -> Value:
    if is_tensor(a) and is_tensor(b):
        return F.where(condition, a, b)
    return np.where(condition, array(a), array(b))


@operator(host=True)
def BitwiseAnd(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.bitwise_and(a, b)


@operator(host=True)
def BitwiseOr(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.bitwise_or(a, b)


@operator(host=True)
def BitwiseXor(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.bitwise_xor(a, b)


@operator(host=True)
def BitwiseNot(x: np.ndarray) -> np.ndarray:
    return np.bitwise_not(x)


@operator(host=True)
def BitShift(a: np.ndarray, b: np.ndarray, *, direction: str) -> np.ndarray:
    if float_kind(a.dtype):
        raise TypeError(f"expected integers, got {a.dtype}")
    return np.left_shift(a, b) if direction == "LEFT" else np.right_shift(a, b)
