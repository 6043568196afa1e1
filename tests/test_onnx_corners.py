"""Corners of the standard, against ONNX Runtime: what is allowed gives the same, else an error."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx_models import check, feeds_of, node_model, values

import cnnfast.onnx

X = values(2, 3, 4, 5)


def ints(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


Case = tuple[str, list[Any], dict[str, Any]]
SAME: dict[str, Case] = {
    **{f"slice {s}:{e}:{d}": ("Slice", [X, ints(s), ints(e), ints(3), ints(d)], {})
       for s, e, d in ((-6, -9, -1), (10, -10, -1), (4, -6, -3), (-10, 10, 1), (2**63 - 1,
                       -(2**63), -1), (3, 0, -1), (2, 2, 1), (-1, -(2**63), -2))},
    "negative powers of whole numbers": (
        "Pow", [ints(9, -5, 7, -3, 2, 3), ints(-1, -1, -2, 2, -3, 0)], {}),
    "region without extent": (
        "RoiAlign", [X, np.float32([[3, 3, 3, 3]]), ints(0)], {"output_width": 2}),
    "region turned over": (
        "RoiAlign", [X, np.float32([[3, 3, 2, 2]]), ints(0)], {"mode": "max"}),
    "padding beside the smallest number": (
        "MaxPool", [np.full((1, 1, 3), np.finfo(np.float32).min)],
        {"kernel_shape": [2], "pads": [1, 0], "outputs": 2}),
    "smallest whole numbers": (
        "MaxPool", [np.full((1, 1, 3, 3), -128, np.int8)],
        {"kernel_shape": [2, 2], "pads": [1, 1, 1, 1]}),
    "flatten all": ("Flatten", [X], {"axis": 4}),
    **{f"nearest {how} {where}": (
        "Resize", [X, None, np.float32([1, 1, 0.5, 0.6])],
        {"nearest_mode": how, "coordinate_transformation_mode": where})
       for how in ("floor", "ceil", "round_prefer_floor")
       for where in ("half_pixel", "pytorch_half_pixel", "asymmetric")},
    **{f"one pixel {mode}": (
        "Resize", [X, None, np.float32([1, 1, 0.25, 0.2])],
        {"mode": mode, "coordinate_transformation_mode": "pytorch_half_pixel"})
       for mode in ("nearest", "linear", "cubic")},
}


@pytest.mark.parametrize("name", SAME)
def test_the_same_as_onnx_runtime(name: str) -> None:
    operator, inputs, attributes = SAME[name]
    check(operator, inputs, **attributes)


def beyond(axis: int) -> dict[str, Case]:
    return {
        "Squeeze": ("Squeeze", [X[:1], ints(axis)], {}),
        "Unsqueeze": ("Unsqueeze", [X, ints(axis + 1 if axis > 0 else axis - 1)], {}),
        "ReduceSum": ("ReduceSum", [X, ints(axis)], {}),
        "Split": ("Split", [X], {"axis": axis, "outputs": 2, "num_outputs": 2}),
        "Gather": ("Gather", [X, ints(0)], {"axis": axis}),
        "Softmax": ("Softmax", [X], {"axis": axis}),
        "LayerNormalization": ("LayerNormalization", [X, values(5)], {"axis": axis}),
        "Flatten": ("Flatten", [X], {"axis": axis + 1 if axis > 0 else axis}),
        "Slice": ("Slice", [X, ints(0), ints(1), ints(axis)], {}),
        "Pad": ("Pad", [X, ints(1, 1), None, ints(axis)], {}),
        "QuantizeLinear": ("QuantizeLinear", [X, values(5)], {"axis": axis}),
        "Resize": ("Resize", [X, None, np.float32([2])], {"axes": [axis]}),
        "ArgMax": ("ArgMax", [X], {"axis": axis}),
        "TopK": ("TopK", [X, ints(1)], {"axis": axis, "outputs": 2}),
    }


def test_positions_of_minus_infinity_are_those_of_elements() -> None:
    inputs: list[Any] = [np.full((1, 1, 3), -np.inf, np.float32)]
    model = node_model("MaxPool", inputs, 2, kernel_shape=[2], pads=[1, 0])
    _, where = cnnfast.onnx.load(model.SerializeToString()).run(feeds_of(inputs))
    assert where.tolist() == [[[0, 0, 1]]]


@pytest.mark.parametrize("axis", [4, -5])
@pytest.mark.parametrize("name", beyond(0))
def test_axes_out_of_range_are_refused(name: str, axis: int) -> None:
    operator, inputs, attributes = beyond(axis)[name]
    model = cnnfast.onnx.load(node_model(operator, inputs, **attributes).SerializeToString())
    with pytest.raises(ValueError, match=rf"{name} .*(out of range|out of bounds)"):
        model.run(feeds_of(inputs))
