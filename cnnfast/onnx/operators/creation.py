"""New tensors and other types: each function is the standard's operator of its name."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...errors import UnsupportedOperatorError
from ...tensor import as_float
from .elementwise import float_kind
from .registry import operator
from .values import Value, array, scalar

ELEMENT_TYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64",
    8: "object", 9: "bool", 10: "float16", 11: "float64", 12: "uint32", 13: "uint64",
    14: "complex64", 15: "complex128", 16: "bfloat16", 17: "float8_e4m3fn", 18: "float8_e4m3fnuz",
    19: "float8_e5m2", 20: "float8_e5m2fnuz", 21: "uint4", 22: "int4", 23: "float4_e2m1fn",
    24: "float8_e8m0fnu", 25: "uint2", 26: "int2",
}
"""TensorProto.DataType to the type's name in NumPy or ml_dtypes (onnx.in.proto3)."""


def element_type(number: int) -> np.dtype[Any]:
    """Return the dtype of a TensorProto.DataType; strings are objects."""
    name = ELEMENT_TYPES.get(number)
    if name is None:
        raise UnsupportedOperatorError(f"element type {number} is not known")
    if name == "object":
        return np.dtype(object)
    if hasattr(np, name if name != "bool" else "bool_"):
        return np.dtype(name)
    try:
        import ml_dtypes
    except ImportError:
        raise UnsupportedOperatorError(
            f'element type {name} needs ml_dtypes: pip install "cnnfast[onnx]"'
        ) from None
    return np.dtype(getattr(ml_dtypes, name))


def cast(x: Value, dtype: np.dtype[Any], saturate: bool = True) -> Value:
    """Return x in another type; to float32 by the engine."""
    if x.dtype == dtype:
        return x
    if dtype == np.float32 and x.dtype.kind in "iub":
        return as_float(x)
    x = array(x)
    if dtype.kind == "O":
        return _strings(x)
    if x.dtype.kind == "O":
        numbers = np.array([float(text) for text in x.reshape(-1)], np.float64)
        return numbers.reshape(x.shape).astype(dtype)
    if x.dtype.name in ("int4", "uint4", "int2", "uint2"):
        x = x.astype(np.int8)
    if dtype.name.startswith(("float8", "float4")):
        return _narrowed(x, dtype, saturate)
    if dtype.name in ("int4", "uint4", "int2", "uint2"):
        return x.astype(np.float32).astype(np.int64).astype(np.int8).astype(dtype)
    if dtype.kind == "b":
        return x.astype(np.float64) != 0 if float_kind(x.dtype) else x != 0
    if float_kind(x.dtype) and x.dtype.kind != "f":
        x = x.astype(np.float32)
    return x.astype(dtype)


def _strings(x: np.ndarray) -> np.ndarray:
    """Return numbers as C++ streams write them: the shortest text that reads back."""
    def text(value: Any) -> str:
        return str(value.item() if x.dtype.kind != "f" else value).replace("nan", "NaN").replace(
            "inf", "INF")

    if float_kind(x.dtype) and x.dtype.kind != "f":
        x = x.astype(np.float32)
    return np.array([text(value) for value in x.reshape(-1)], object).reshape(x.shape)


def _narrowed(x: np.ndarray, dtype: np.dtype[Any], saturate: bool) -> np.ndarray:
    """Return x in a type of 8 bits or fewer; what is too large becomes the largest (`saturate`)."""
    import ml_dtypes

    wide = x.astype(np.float32)
    if dtype.name == "float8_e8m0fnu":
        return _power_of_two(wide, saturate).view(dtype)
    narrow = wide.astype(dtype)
    if not saturate:
        return narrow
    largest = float(ml_dtypes.finfo(dtype).max)
    clipped = np.clip(wide, -largest, largest).astype(dtype)
    return np.where(np.isnan(wide), narrow, clipped)


def _power_of_two(x: np.ndarray, saturate: bool) -> np.ndarray:
    """Return the biased exponents of float32 x rounded up, as bytes; 255 stands for no number."""
    bits = np.ascontiguousarray(x).view(np.uint32)
    exponent = (bits >> 23) & 0xFF
    up = ((bits & 0x7FFFFF) > 0) & (exponent < (0xFE if saturate else 0xFF))
    return (exponent + up).astype(np.uint8)


def _check_round_mode(round_mode: str) -> None:
    if round_mode != "up":
        raise UnsupportedOperatorError(f"round_mode {round_mode!r} is not available")


@operator()
def Cast(
    x: Value, *, to: int | str, saturate: int = 1, round_mode: str = "up"
) -> Value:
    _check_round_mode(round_mode)
    number = to if isinstance(to, int) else _NUMBERS[to.lower()]
    return cast(x, element_type(number), bool(saturate))


_NUMBERS = {name: number for number, name in ELEMENT_TYPES.items()} | {
    "float": 1, "double": 11, "string": 8,
}


@operator()
def CastLike(
    x: Value, like: Value, *, saturate: int = 1, round_mode: str = "up"
) -> Value:
    _check_round_mode(round_mode)
    return cast(x, like.dtype, bool(saturate))


@operator()
def ConstantOfShape(shape: Value, *, value: np.ndarray | None = None) -> np.ndarray:
    one = np.zeros(1, np.float32) if value is None else value
    return np.full([int(size) for size in array(shape)], one.reshape(-1)[0], one.dtype)


@operator(host=True)
def Range(start: np.ndarray, limit: np.ndarray, delta: np.ndarray) -> np.ndarray:
    first, last, step = (scalar(value) for value in (start, limit, delta))
    count = max(int(np.ceil((last - first) / step)), 0)
    return (np.arange(count) * step + first).astype(start.dtype)


@operator()
def EyeLike(x: Value, *, dtype: int | None = None, k: int = 0) -> np.ndarray:
    rows, cols = x.shape
    return np.eye(rows, cols, k, x.dtype if dtype is None else element_type(dtype))


@operator(host=True)
def BitCast(x: np.ndarray, *, to: int) -> np.ndarray:
    """Return the same bits as another type of the same size."""
    dtype = element_type(to)
    if dtype.itemsize != x.dtype.itemsize:
        raise ValueError(f"{x.dtype} and {dtype} differ in size")
    return np.ascontiguousarray(x).view(dtype).reshape(x.shape)
