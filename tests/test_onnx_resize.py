"""Resize of ONNX in all its modes, against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_models
import pytest
from onnx_models import check, values

import cnnfast.onnx

COORDINATES = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")
NEAREST = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")


def sizes(*wanted: int) -> list[np.ndarray | None]:
    return [None, None, np.array(wanted, np.int64)]


@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize("mode", ["linear", "cubic"])
@pytest.mark.parametrize("size", [(9, 11), (3, 4)])
def test_images_by_size(mode: str, size: tuple[int, int], coordinates: str) -> None:
    x = values(2, 3, 5, 7)
    inputs = [x, *sizes(2, 3, *size)]
    check("Resize", inputs, 1e-4, mode=mode, coordinate_transformation_mode=coordinates)


@pytest.mark.parametrize("nearest", NEAREST)
@pytest.mark.parametrize("coordinates", COORDINATES)
def test_nearest(coordinates: str, nearest: str) -> None:
    inputs = [values(1, 3, 4, 5), *sizes(1, 3, 8, 3)]
    kw: dict[str, Any] = {"coordinate_transformation_mode": coordinates, "nearest_mode": nearest}
    check("Resize", inputs, mode="nearest", **kw)


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("scales", [(2.0, 2.0), (0.5, 1.5), (1.0, 3.0)])
def test_images_by_scale(mode: str, scales: tuple[float, float]) -> None:
    inputs = [values(2, 3, 6, 8), None, np.array([1, 1, *scales], np.float32)]
    check("Resize", inputs, 1e-4, mode=mode)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_signals_and_volumes(mode: str) -> None:
    check("Resize", [values(2, 3, 7), *sizes(2, 3, 12)], mode=mode)
    check("Resize", [values(1, 2, 3, 4, 5), *sizes(1, 2, 6, 3, 9)], mode=mode)


@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_antialias(mode: str) -> None:
    inputs = [values(1, 2, 12, 15), *sizes(1, 2, 5, 4)]
    check("Resize", inputs, 1e-4, mode=mode, antialias=1, exclude_outside=int(mode == "cubic"))


def test_region_with_values_outside() -> None:
    roi = np.array([0, 0, -0.2, 0.3, 1, 1, 0.9, 1.4], np.float32)
    inputs = [values(1, 2, 6, 7), roi, None, np.array([1, 2, 5, 4], np.int64)]
    kw: dict[str, Any] = {"coordinate_transformation_mode": "tf_crop_and_resize"}
    check("Resize", inputs, mode="linear", extrapolation_value=7.0, **kw)


@pytest.mark.parametrize(("opset", "operator"), [(9, "Upsample"), (10, "Resize")])
@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_older_forms(operator: str, opset: int, mode: str) -> None:
    inputs = [values(1, 2, 3, 4), np.array([1, 1, 2, 3], np.float32)]
    check(operator, inputs, opset=opset, mode=mode)


@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["linear", "nearest", "cubic"])
@pytest.mark.parametrize("corners", [0, 1])
def test_grid_sample(mode: str, padding: str, corners: int) -> None:
    grid = np.random.default_rng(1).uniform(-1.3, 1.3, (2, 5, 6, 2)).astype(np.float32)
    kw: dict[str, Any] = {"padding_mode": padding, "align_corners": corners}
    check("GridSample", [values(2, 3, 6, 7), grid], 1e-4, mode=mode, **kw)


def test_an_unknown_mode_is_an_error() -> None:
    inputs = [values(1, 1, 2, 2), *sizes(1, 1, 4, 4)]
    model = onnx_models.node_model("Resize", inputs, mode="sharp")
    with pytest.raises(ValueError, match="mode: expected 'nearest'"):
        cnnfast.onnx.load(model.SerializeToString()).run(onnx_models.feeds_of(inputs))
