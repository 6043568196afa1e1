"""Convolution and pooling of ONNX in one to three dimensions, against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_models
import pytest
from onnx_models import check, values

import cnnfast.onnx

SIZES = {1: (13,), 2: (9, 12), 3: (6, 7, 8)}
KERNELS = {1: (3,), 2: (3, 2), 3: (2, 3, 2)}
GEOMETRIES: list[dict[str, Any]] = [
    {},
    {"stride": 2},
    {"pads": (1, 0)},
    {"pads": (0, 1), "stride": 2},
    {"dilation": 2, "pads": (1, 2)},
    {"auto_pad": "SAME_UPPER", "stride": 2},
    {"auto_pad": "SAME_LOWER", "stride": 2},
    {"auto_pad": "VALID"},
]
POOLINGS: list[dict[str, Any]] = [  # ONNX Runtime refuses pads as wide as the kernel
    *(g for g in GEOMETRIES if g.get("pads") != (1, 2)),
    {"dilation": 2, "pads": (0, 1)},
    {"ceil_mode": 1, "stride": 2, "pads": (1, 0)},
]


def attributes(n: int, geometry: dict[str, Any]) -> dict[str, Any]:
    """Return a geometry as the standard's attributes for n image axes."""
    result: dict[str, Any] = {"kernel_shape": KERNELS[n]}
    for key, value in geometry.items():
        if key == "pads":
            result["pads"] = [value[0]] * n + [value[1]] * n
        elif key in ("stride", "dilation"):
            result[f"{key}s"] = [value] * n
        else:
            result[key] = value
    return result


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
@pytest.mark.parametrize("group", [1, 2, 4])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_conv(n: int, group: int, geometry: dict[str, Any]) -> None:
    x, w, b = values(2, 4, *SIZES[n]), values(8, 4 // group, *KERNELS[n]), values(8)
    check("Conv", [x, w, b], group=group, **attributes(n, geometry))


@pytest.mark.parametrize(
    "geometry",
    [*(g for g in GEOMETRIES if "auto_pad" not in g), {"output_padding": 1, "stride": 2}],
    ids=str,
)
@pytest.mark.parametrize("n", [1, 2, 3])
def test_conv_transpose(n: int, geometry: dict[str, Any]) -> None:
    x, w, b = values(2, 4, *SIZES[n]), values(4, 3, *KERNELS[n]), values(6)
    kw = attributes(n, geometry)
    if "output_padding" in kw:
        kw["output_padding"] = [1] * n
    check("ConvTranspose", [x, w, b], group=2, **kw)


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER", "NOTSET"])
def test_conv_transpose_to_a_shape(auto_pad: str) -> None:
    x, w = values(1, 2, 5, 6), values(2, 3, 3, 3)
    check("ConvTranspose", [x, w], strides=[2, 2], output_shape=[10, 12], auto_pad=auto_pad)


@pytest.mark.parametrize("geometry", POOLINGS, ids=str)
@pytest.mark.parametrize("n", [1, 2, 3])
def test_max_pool(n: int, geometry: dict[str, Any]) -> None:
    check("MaxPool", [values(2, 3, *SIZES[n])], **attributes(n, geometry))


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("geometry", [g for g in POOLINGS if "auto_pad" not in g], ids=str)
def test_indices_of_maxima(geometry: dict[str, Any], order: int) -> None:
    kw = attributes(2, geometry)
    check("MaxPool", [values(2, 3, *SIZES[2])], outputs=2, storage_order=order, **kw)


@pytest.mark.parametrize("counted", [0, 1])
@pytest.mark.parametrize("geometry", POOLINGS, ids=str)
@pytest.mark.parametrize("n", [1, 2, 3])
def test_average_pool(n: int, geometry: dict[str, Any], counted: int) -> None:
    kw = attributes(n, geometry)
    check("AveragePool", [values(2, 3, *SIZES[n])], count_include_pad=counted, **kw)


@pytest.mark.parametrize("geometry", POOLINGS, ids=str)
@pytest.mark.parametrize("p", [1, 2, 3])
def test_lp_pool(p: int, geometry: dict[str, Any]) -> None:
    check("LpPool", [values(2, 3, *SIZES[2])], p=p, **attributes(2, geometry))


@pytest.mark.parametrize("operator", ["GlobalAveragePool", "GlobalMaxPool"])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_global_pools(operator: str, n: int) -> None:
    check(operator, [values(2, 3, *SIZES[n])])


@pytest.mark.parametrize("masked", [False, True])
def test_deform_conv(masked: bool) -> None:
    x, w, b = values(2, 4, 7, 8), values(6, 2, 3, 3), values(6)
    offset, mask = values(2, 36, 5, 4, seed=1), values(2, 18, 5, 4, seed=2) if masked else None
    kw: dict[str, Any] = {"strides": [1, 2], "dilations": [2, 1], "pads": [1, 0, 1, 1]}
    check("DeformConv", [x, w, offset, b, mask], 1e-4, group=2, offset_group=2, opset=22, **kw)


@pytest.mark.parametrize("operator", ["Conv", "ConvTranspose"])
def test_float64_is_computed_in_float64(operator: str) -> None:
    x, w = values(1, 2, 5, 5).astype(np.float64), values(2, 2, 3, 3).astype(np.float64)
    exact = onnx_models.node_model(operator, [x, w])
    y = cnnfast.onnx.load(exact.SerializeToString())(x, w)
    narrow = [x.astype(np.float32), w.astype(np.float32)]
    close = onnx_models.node_model(operator, narrow)
    expected = onnx_models.runtime(close, onnx_models.feeds_of(narrow))[0]
    assert y.dtype == np.float64
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("operator", ["Conv", "ConvTranspose", "MaxPool", "AveragePool"])
def test_float16_is_computed_in_float32_and_rounded(operator: str) -> None:
    kw = {"kernel_shape": [3, 3]} if "Pool" in operator else {}
    wide = [values(1, 2, 6, 5)] if kw else [values(1, 2, 6, 5), values(2, 2, 3, 3)]
    halves = [array.astype(np.float16) for array in wide]
    again = [array.astype(np.float32) for array in halves]
    narrow = onnx_models.node_model(operator, halves, **kw)
    y = cnnfast.onnx.load(narrow.SerializeToString())(*halves)
    model = onnx_models.node_model(operator, again, **kw)
    expected = onnx_models.runtime(model, onnx_models.feeds_of(again))[0]
    assert y.dtype == np.float16
    np.testing.assert_allclose(y, expected, rtol=1e-3, atol=1e-3)


def test_a_kernel_that_does_not_fit_is_named() -> None:
    model = onnx_models.node_model("Conv", [values(1, 1, 2, 2), values(1, 1, 3, 3)])
    with pytest.raises(ValueError, match=r"Conv \(o0\).*more than the padded input"):
        cnnfast.onnx.load(model.SerializeToString())(values(1, 1, 2, 2), values(1, 1, 3, 3))
