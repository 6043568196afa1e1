"""The standard's arithmetic: each function is the operator of its name, broadcasting as NumPy's.

https://onnx.ai/onnx/operators. `axis` and `broadcast` are of opsets before 7.
"""

from __future__ import annotations

import math

import numpy as np

from ... import functional as F
from .elementwise import binary, float_kind, lined_up, unary, variadic
from .registry import operator
from .values import Value, array, is_tensor, scalar


@operator()
def Add(a: Value, b: Value, *, axis: int | None = None, broadcast: int = 0) -> Value:
    return binary(a, b, F.add, np.add, axis)


@operator()
def Sub(a: Value, b: Value, *, axis: int | None = None, broadcast: int = 0) -> Value:
    return binary(a, b, F.sub, np.subtract, axis)


@operator()
def Mul(a: Value, b: Value, *, axis: int | None = None, broadcast: int = 0) -> Value:
    return binary(a, b, F.mul, np.multiply, axis)


def _quotient(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Integers are rounded towards zero, as in C."""
    if float_kind(a.dtype):
        return a / b
    quotient = a // b
    return quotient + ((quotient * b != a) & ((a < 0) != (b < 0))).astype(a.dtype)


@operator()
def Div(a: Value, b: Value, *, axis: int | None = None, broadcast: int = 0) -> Value:
    return binary(a, b, F.div, _quotient, axis)


@operator()
def Pow(a: Value, b: Value, *, axis: int | None = None, broadcast: int = 0) -> Value:
    """The result has the type of the base, whatever that of the exponent."""
    b = lined_up(a, b, axis)
    if not is_tensor(a):
        exponent = array(b)
        wide = a.astype(np.float64) if a.dtype.kind in "iu" and np.any(exponent < 0) else a
        return np.power(wide, exponent).astype(a.dtype)
    if b.size == 1 if isinstance(b, np.ndarray) else b.numel() == 1 and b.ndim <= a.ndim:
        return F.pow(a, float(scalar(b)))
    return F.pow(a, b)


@operator(host=True)
def Mod(a: Value, b: Value, *, fmod: int = 0) -> Value:
    """Of the divisor's sign, or with `fmod` of the dividend's."""
    return np.fmod(a, b) if fmod else np.mod(a, b)


@operator()
def Sum(*values: Value) -> Value:
    return variadic(values, F.add, np.add)


@operator()
def Max(*values: Value) -> Value:
    return variadic(values, F.maximum, np.maximum)


@operator()
def Min(*values: Value) -> Value:
    return variadic(values, F.minimum, np.minimum)


@operator()
def Mean(*values: Value) -> Value:
    total = variadic(values, F.add, np.add)
    if is_tensor(total):
        return F.div(total, float(len(values)))
    return (total / len(values)).astype(total.dtype)


@operator()
def Clip(
    x: Value, low: Value = None, high: Value = None,
    *, min: float | None = None, max: float | None = None,
) -> Value:
    """Bounds are inputs since opset 11, attributes before."""
    low = scalar(low) if low is not None else min
    high = scalar(high) if high is not None else max
    if low is None and high is None:
        return x
    if is_tensor(x):
        return F.clamp(x, low, high)
    above = x if low is None else np.maximum(x, np.asarray(low, x.dtype))
    return above if high is None else np.minimum(above, np.asarray(high, x.dtype))


@operator()
def Neg(x: Value) -> Value:
    return unary(x, F.neg, np.negative)


@operator()
def Abs(x: Value) -> Value:
    return unary(x, F.abs, np.abs)


@operator()
def Sqrt(x: Value) -> Value:
    return unary(x, F.sqrt, np.sqrt)


@operator()
def Reciprocal(x: Value) -> Value:
    return unary(x, F.reciprocal, np.reciprocal)


@operator()
def Exp(x: Value) -> Value:
    return unary(x, F.exp, np.exp)


@operator()
def Log(x: Value) -> Value:
    return unary(x, F.log, np.log)


@operator()
def Floor(x: Value) -> Value:
    return unary(x, F.floor, np.floor)


@operator()
def Ceil(x: Value) -> Value:
    return unary(x, F.ceil, np.ceil)


@operator()
def Round(x: Value) -> Value:
    """Halves go to the even neighbour."""
    return unary(x, F.round, np.round)


@operator()
def Sign(x: Value) -> Value:
    return unary(x, F.sign, np.sign)


_erf = np.vectorize(math.erf, otypes=[np.float64])


@operator()
def Erf(x: Value) -> Value:
    return unary(x, F.erf, _erf)
