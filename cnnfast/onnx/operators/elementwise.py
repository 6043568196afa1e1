"""How an element-wise operator is computed: by the engine on float32, by NumPy on anything else.

Also the broadcasting of opsets before 7, which named an axis.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from ...tensor import Tensor
from .values import Value, array, is_tensor

Function = TypeVar("Function", bound=Callable[..., Any])

__all__ = ["binary", "float_kind", "in_float32", "lined_up", "narrow_float", "unary", "variadic"]


def float_kind(dtype: np.dtype[Any]) -> bool:
    """Whether `dtype` is a floating one, NumPy's or one of ml_dtypes'."""
    return dtype.kind == "f" or dtype.name.startswith(("bfloat", "float"))


def narrow_float(dtype: np.dtype[Any]) -> bool:
    """Whether `dtype` is a floating one of less than 32 bits, computed in float32 instead."""
    return float_kind(dtype) and dtype.itemsize < 4


def unary(
    x: Value, engine: Callable[[Any], Any], numbers: Callable[[np.ndarray], np.ndarray]
) -> Value:
    """Return `engine` of a Tensor, `numbers` of an array, in the type of x."""
    if is_tensor(x):
        return engine(x)
    wide = x.astype(np.float32) if narrow_float(x.dtype) else x
    return np.asarray(numbers(wide)).astype(x.dtype, copy=False)


def in_float32(function: Function) -> Function:
    """Let the engine compute on narrower floats, too: in float32, results rounded back."""

    @functools.wraps(function)
    def compute(*inputs: Value, **attributes: Any) -> Any:
        first = inputs[0]
        if is_tensor(first) or not narrow_float(first.dtype):
            return function(*inputs, **attributes)
        wide = [
            Tensor.wrap(x.astype(np.float32))
            if isinstance(x, np.ndarray) and narrow_float(x.dtype) else x for x in inputs
        ]
        results = function(*wide, **attributes)
        if isinstance(results, tuple):
            return tuple(_rounded(result, first.dtype) for result in results)
        return _rounded(results, first.dtype)

    return compute  # type: ignore[return-value]


def _rounded(result: Value, dtype: np.dtype[Any]) -> Value:
    """Return a float32 result in a narrower type, any other as it is."""
    return array(result).astype(dtype) if result.dtype == np.float32 else result


def lined_up(a: Value, b: Value, axis: int | None) -> Value:
    """Return b with axes of size 1 after its own, so that they begin at `axis` of a (opset < 7)."""
    if axis is None or b.ndim == 0:
        return b
    at = axis % a.ndim
    return b.reshape(b.shape + (1,) * (a.ndim - at - b.ndim))


def binary(
    a: Value,
    b: Value,
    engine: Callable[[Any, Any], Any],
    numbers: Callable[[np.ndarray, np.ndarray], np.ndarray],
    axis: int | None = None,
) -> Value:
    """Return `engine` of two Tensors, `numbers` of two arrays, broadcast."""
    b = lined_up(a, b, axis)
    if is_tensor(a) and is_tensor(b):
        return engine(a, b)
    return numbers(array(a), array(b))


def variadic(
    values: tuple[Value, ...],
    engine: Callable[[Any, Any], Any],
    numbers: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> Value:
    """Return the values joined pair by pair from the left."""
    total = values[0]
    for value in values[1:]:
        total = binary(total, value, engine, numbers)
    return total
