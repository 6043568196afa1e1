"""Values between operators: float32 as Tensors, other tensors as arrays, sequences as lists.

`array` is the only way from a Tensor to an array that NumPy computes with, so `on_host_read` sees
whatever of a recorded computation is not recorded.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import numpy as np

from ...tensor import Tensor

__all__ = ["Value", "array", "integers", "is_tensor", "on_host_read", "scalar", "wrapped"]

Value = Any
"""A Tensor (float32), an ndarray (any other type), a list of values (a sequence) or None."""

on_host_read: ContextVar[Callable[[np.ndarray], None] | None] = ContextVar(
    "on_host_read", default=None
)
"""Called with each float32 array that NumPy is about to read."""


def is_tensor(value: Value) -> bool:
    """Whether the engine computes with `value`: whether it is float32."""
    return isinstance(value, Tensor)


def array(value: Value) -> Any:
    """Return a Tensor's array for NumPy to compute with; lists likewise; anything else as it is."""
    if isinstance(value, list):
        return [array(part) for part in value]
    if not isinstance(value, Tensor):
        return value
    notice = on_host_read.get()
    if notice is not None:
        notice(value.array)
    return value.array


def wrapped(value: Any) -> Value:
    """Return a result as it travels on: float32 as a Tensor, NumPy's scalars as arrays."""
    if isinstance(value, (list, tuple)):
        return [wrapped(part) for part in value]
    if isinstance(value, (np.ndarray, np.generic)):
        value = np.asanyarray(value)  # an array that is being recorded has a type of its own
        return Tensor.wrap(value) if value.dtype == np.float32 else value
    return value


def integers(value: Value) -> list[int]:
    """Return a tensor of integers (sizes, axes, pads) as a flat list."""
    return [int(number) for number in np.ravel(array(value))]


def scalar(value: Value) -> Any:
    """Return the only element of a tensor as a Python number."""
    return array(value).reshape(-1)[0].item()
