"""Batches of nothing and axes of size 0, against ONNX Runtime: a page may hold no line of text."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx_models import check, values


def ints(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


NO_IMAGE = values(0, 4, 5, 5)
NO_ROW = values(0, 4)
CASES: list[tuple[str, list[Any], dict[str, Any]]] = [
    ("Conv", [NO_IMAGE, values(3, 4, 3, 3), values(3)], {}),
    ("Conv", [NO_IMAGE, values(4, 1, 3, 3), values(4)], {"group": 4}),
    ("ConvTranspose", [NO_IMAGE, values(4, 3, 3, 3)], {}),
    ("MaxPool", [NO_IMAGE], {"kernel_shape": [2, 2]}),
    ("AveragePool", [NO_IMAGE], {"kernel_shape": [2, 2]}),
    ("GlobalAveragePool", [NO_IMAGE], {}),
    ("BatchNormalization", [NO_IMAGE, values(4), values(4), values(4), values(4) ** 2], {}),
    ("InstanceNormalization", [NO_IMAGE, values(4), values(4)], {}),
    ("LayerNormalization", [NO_ROW, values(4)], {}),
    ("LRN", [NO_IMAGE], {"size": 3}),
    ("PRelu", [NO_IMAGE, values(4, 1, 1)], {}),
    ("HardSigmoid", [NO_ROW], {}),
    ("Resize", [NO_IMAGE, None, np.array([1, 1, 2, 2], np.float32)], {"mode": "linear"}),
    ("Pad", [NO_IMAGE, ints(0, 0, 1, 1, 0, 0, 1, 1)], {}),
    ("DepthToSpace", [NO_IMAGE], {"blocksize": 2}),
    ("GridSample", [NO_IMAGE, values(0, 2, 2, 2)], {}),
    ("Gemm", [NO_ROW, values(4, 3), values(3)], {}),
    ("MatMul", [NO_ROW, values(4, 3)], {}),
    ("MatMul", [values(2, 0), values(0, 3)], {}),
    ("Einsum", [values(0, 3, 4), values(0, 4, 5)], {"equation": "bij,bjk->bik"}),
    ("Softmax", [NO_ROW], {}),
    ("LogSoftmax", [NO_ROW], {}),
    ("Relu", [NO_ROW], {}),
    ("Add", [NO_ROW, values(4)], {}),
    ("Concat", [NO_ROW, values(2, 4)], {"axis": 0}),
    ("Concat", [values(2, 0), values(2, 4)], {"axis": 1}),
    ("Split", [NO_ROW], {"axis": 1, "num_outputs": 2, "outputs": 2}),
    ("Slice", [values(3, 4), ints(2), ints(2), ints(0)], {}),
    ("Gather", [values(3, 4), np.zeros(0, np.int64)], {}),
    ("Reshape", [NO_ROW, ints(0, 2, 2)], {}),
    ("Reshape", [NO_ROW, ints(-1, 2, 2)], {}),
    ("Transpose", [NO_ROW], {}),
    ("Flatten", [NO_IMAGE], {}),
    ("Expand", [values(1, 4), ints(0, 4)], {}),
    ("Tile", [values(2, 4), ints(0, 1)], {}),
    ("Where", [np.zeros((0, 4), bool), NO_ROW, NO_ROW], {}),
    ("ReduceMean", [NO_ROW, ints(1)], {}),
    ("ReduceSum", [NO_ROW, ints(0)], {}),
    ("ReduceMax", [NO_ROW, ints(1)], {}),
    ("ReduceL2", [NO_ROW, ints(1)], {}),
    ("ArgMax", [NO_ROW], {"axis": 1}),
    ("TopK", [NO_ROW, ints(2)], {"outputs": 2}),
    ("CumSum", [NO_ROW, np.array(0)], {}),
]


@pytest.mark.parametrize(
    ("operator", "inputs", "attributes"),
    [pytest.param(*row, id=f"{k}-{row[0]}") for k, row in enumerate(CASES)],
)
def test_nothing_in(operator: str, inputs: list[Any], attributes: dict[str, Any]) -> None:
    check(operator, inputs, **attributes)
