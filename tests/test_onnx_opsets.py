"""Operators whose form changed from version to version, against ONNX Runtime (opset 7 and later).

Also types: what is computed in which type, and which type comes out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx_models import check, values


def ints(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


def f(number: float) -> np.ndarray:
    return np.array(number, np.float32)


X = values(2, 3, 4, 5)
STATISTICS = [values(3), values(3), values(3), values(3) ** 2]
BOXES = np.array([[0, 0, 5, 6], [1, 2, 7, 7]], np.float32)
VERSIONS: list[tuple[str, int, list[Any], dict[str, Any]]] = [
    ("Softmax", 11, [X], {}),
    ("Softmax", 11, [X], {"axis": -1}),
    ("Softmax", 13, [X], {"axis": 1}),
    ("LogSoftmax", 11, [X], {"axis": 2}),
    ("LogSoftmax", 13, [X], {}),
    ("Hardmax", 11, [X], {"axis": 2}),
    ("Hardmax", 13, [X], {"axis": 2}),
    ("Clip", 7, [X], {"min": -0.5, "max": 0.5}),
    ("Clip", 11, [X, f(-0.5), None], {}),
    ("Clip", 13, [X, None, f(0.5)], {}),
    ("Clip", 13, [X, None, None], {}),
    ("Squeeze", 11, [X[:1]], {"axes": [0]}),
    ("Squeeze", 13, [X[:1], ints(-4)], {}),
    ("Squeeze", 13, [X[:1]], {}),
    ("Unsqueeze", 11, [X], {"axes": [0, 5]}),
    ("Unsqueeze", 13, [X, ints(0, -1)], {}),
    ("Slice", 9, [X], {"starts": [1, -3], "ends": [99, -1], "axes": [2, 3]}),
    ("Slice", 10, [X, ints(3, 0), ints(0, 3), ints(2, 1), ints(-2, 2)], {}),
    ("Slice", 13, [X, ints(-1), ints(-99), ints(3), ints(-1)], {}),
    ("Slice", 13, [X, ints(7), ints(9), ints(3)], {}),
    ("Pad", 7, [X], {"pads": [0, 0, 1, 2, 0, 0, 3, 0], "mode": "reflect"}),
    ("Pad", 11, [X, ints(1, 0, 0, 1, 0, 2, 0, 0), f(3)], {}),
    ("Pad", 13, [X, ints(0, 0, -1, 1, 0, 0, 2, -2)], {"mode": "edge"}),
    ("Pad", 18, [X, ints(1, 2), None, ints(-1)], {"mode": "reflect"}),
    ("Pad", 19, [X, ints(1, 2, 3, 0), None, ints(2, 3)], {"mode": "wrap"}),
    ("Pad", 18, [X, ints(1, 2, 3, 0), None, ints(0, 1)], {"mode": "edge"}),
    ("Split", 11, [X], {"axis": 3, "split": [2, 3]}),
    ("Split", 13, [X, ints(1, 4)], {"axis": -1}),
    ("Split", 18, [X], {"axis": 3, "num_outputs": 2}),
    ("ReduceSum", 11, [X], {"axes": [1, -1], "keepdims": 0}),
    ("ReduceSum", 13, [X, ints(1, 3)], {"keepdims": 1}),
    ("ReduceMean", 13, [X], {}),
    ("ReduceMean", 18, [X, ints(2, 3)], {"keepdims": 0}),
    ("ReduceMax", 18, [X], {"noop_with_empty_axes": 1}),
    ("ReduceL2", 13, [X], {"axes": [0]}),
    ("ReduceProd", 13, [X], {"axes": [1, 3]}),
    ("ReduceLogSumExp", 13, [X * 90], {"axes": [1]}),
    ("TopK", 9, [X], {"k": 2}),
    ("TopK", 10, [X, ints(3)], {"axis": 2}),
    ("TopK", 11, [X, ints(3)], {"largest": 0}),
    ("BatchNormalization", 7, [X, *STATISTICS], {}),
    ("BatchNormalization", 15, [X, *STATISTICS], {}),
    ("GroupNormalization", 18, [values(2, 6, 4), values(2), values(2)], {"num_groups": 2}),
    ("GroupNormalization", 21, [values(2, 6, 4), values(6), values(6)], {"num_groups": 2}),
    ("LayerNormalization", 17, [X, values(4, 5), values(4, 5)], {"axis": -2}),
    ("InstanceNormalization", 7, [X, values(3), values(3)], {}),
    ("LRN", 13, [X], {"size": 3}),
    ("LpNormalization", 7, [X], {"axis": 1}),
    ("Dropout", 7, [X], {"ratio": 0.9}),
    ("Dropout", 12, [X, f(0.9)], {}),
    ("PRelu", 9, [X, values(3, 1, 1)], {}),
    ("PRelu", 9, [X, values(4, 5)], {}),
    ("Gemm", 9, [values(3, 4), values(4, 5), values(5)], {"alpha": 0.5, "beta": 2.0}),
    ("Gemm", 11, [values(4, 3), values(5, 4)], {"transA": 1, "transB": 1}),
    ("Gemm", 11, [values(3, 4), values(5, 4), values(3, 1)], {"transB": 1}),
    ("Flatten", 9, [X], {"axis": 0}),
    ("Flatten", 11, [X], {"axis": -1}),
    ("Reshape", 14, [X, ints(0, -1, 10)], {}),
    ("Upsample", 7, [X], {"scales": [1.0, 1.0, 2.0, 3.0]}),
    ("DepthToSpace", 11, [values(1, 8, 2, 3)], {"blocksize": 2}),
    ("DepthToSpace", 11, [values(1, 8, 2, 3)], {"blocksize": 2, "mode": "CRD"}),
    ("Gather", 11, [X, np.array([[0, -1], [2, 1]])], {"axis": 1}),
    ("Scatter", 9, [X, np.zeros((1, 2, 1, 3), np.int64), values(1, 2, 1, 3)], {"axis": 1}),
    ("ArgMax", 12, [X], {"axis": 2, "select_last_index": 1}),
    ("CumSum", 14, [X, np.array(2)], {"exclusive": 1, "reverse": 1}),
    ("Einsum", 12, [values(2, 3, 4), values(2, 4, 5)], {"equation": "bij,bjk->bik"}),
    ("Einsum", 12, [values(2, 3, 4), values(5, 4)], {"equation": "abc, dc -> dab"}),
    ("Einsum", 12, [values(3, 4)], {"equation": "ij->j"}),
    ("Mod", 13, [ints(7, -7, 5), ints(4, 4, -3)], {}),
    ("Mod", 13, [ints(7, -7, 5), ints(4, 4, -3)], {"fmod": 1}),
    ("Div", 14, [ints(7, -7, 5), ints(4, 4, -3)], {}),
    ("Pow", 15, [X[0, 0, 0] ** 2, ints(2)], {}),
    ("Selu", 7, [X], {}),
    ("Shrink", 9, [X], {"lambd": 0.4, "bias": 0.1}),
    ("RoiAlign", 16, [values(1, 2, 8, 9), BOXES, ints(0, 0)],
     {"output_height": 3, "output_width": 2, "sampling_ratio": 2}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("operator", "opset", "inputs", "attributes"),
    [pytest.param(*row, id=f"{row[0]}-{row[1]}-{row[3]}") for row in VERSIONS],
)
def test_version(operator: str, opset: int, inputs: list[Any], attributes: dict[str, Any]) -> None:
    outputs = {"Split": 2, "TopK": 2}.get(operator, 1)
    check(operator, inputs, 1e-5, outputs=outputs, opset=opset, **attributes)


BINARY = ("Add", "Sub", "Mul", "Div", "Max", "Min")
TYPES = (np.float16, np.float64, np.int32, np.int64)
SOURCES = (np.float32, np.float16, np.float64, np.int32, np.uint8, np.bool_)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("operator", BINARY)
def test_types_of_arithmetic(operator: str, dtype: Any) -> None:
    a = (values(3, 1, 4) * 9 + 20).astype(dtype)
    check(operator, [a, (values(2, 1) * 3 + 9).astype(dtype)], 1e-3)


@pytest.mark.parametrize("to", [1, 3, 6, 7, 9, 10, 11])
@pytest.mark.parametrize("dtype", SOURCES)
def test_casts(dtype: Any, to: int) -> None:
    check("Cast", [(np.abs(values(3, 4)) * 4).astype(dtype)], to=to)
