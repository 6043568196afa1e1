"""Quantised operators of ONNX, against ONNX Runtime: integers must be equal."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_models import check, values

U8, I8 = np.dtype(np.uint8), np.dtype(np.int8)


def whole(dtype: np.dtype, *shape: int, seed: int = 0) -> np.ndarray:
    """Random integers over the whole range of a type."""
    info = np.iinfo(dtype)
    return np.random.default_rng(seed).integers(info.min, info.max, shape, dtype, endpoint=True)


def f(*numbers: float) -> np.ndarray:
    return np.array(numbers[0] if len(numbers) == 1 else numbers, np.float32)


@pytest.mark.parametrize("dtype", [U8, I8])
def test_quantize_and_back(dtype: np.dtype) -> None:
    x = values(4, 5, 6) * 50
    check("QuantizeLinear", [x, f(0.7), np.array(3, dtype)])
    check("QuantizeLinear", [x, f(1, 2, 3, 4, 5), np.zeros(5, dtype)], axis=1)
    check("DequantizeLinear", [whole(dtype, 4, 5), f(0.7), np.array(3, dtype)])
    check("DynamicQuantizeLinear", [x], outputs=3)


@pytest.mark.parametrize("weight", [U8, I8])
def test_convolutions(weight: np.dtype) -> None:
    x, w = whole(U8, 2, 4, 7, 6), whole(weight, 6, 4, 3, 3, seed=1)
    zero = np.array(5, weight)
    check("ConvInteger", [x, w, np.array(9, U8), zero], pads=[1, 0, 1, 1], strides=[2, 1])
    scales = [f(0.02), np.array(9, U8), w, f(0.01), zero, f(3.0), np.array(128, U8)]
    check("QLinearConv", [x, *scales, np.arange(6, dtype=np.int32)], pads=[1, 1, 1, 1])


def test_a_scale_for_each_channel() -> None:
    x, w = whole(U8, 1, 4, 5, 5), whole(I8, 3, 4, 3, 3, seed=1)
    weights = [w, f(0.01, 0.02, 0.03), np.zeros(3, np.int8)]
    check("QLinearConv", [x, f(0.02), np.array(9, U8), *weights, f(3.0), np.array(128, U8)])


def test_products() -> None:
    a, b = whole(U8, 2, 5, 7), whole(I8, 7, 4, seed=1)
    check("MatMulInteger", [a, b, np.array(9, U8), np.array(2, I8)])
    left, right = [a, f(0.02), np.array(9, U8)], [b, f(0.01), np.array(2, I8)]
    check("QLinearMatMul", [*left, *right, f(1.5), np.array(128, U8)])
