"""Layers with weights, pooling, padding and resizing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .registry import Given, Names, translation

if TYPE_CHECKING:
    from ..tracer import Trace


def _spread(value: Any, axes: int) -> list[int]:
    return [int(value)] * axes if isinstance(value, int) else [int(part) for part in value] * (
        axes if len(value) == 1 else 1)


def _operands(t: Trace, a: Given, *names: str) -> list[str]:
    return ["" if a[name] is None else t.value(a[name]) for name in names]


@translation("conv1d", "conv2d")
def _conv(t: Trace, a: Given, y: Any) -> Names:
    axes = a["weight"].ndim - 2
    kernel = a["weight"].shape[2:]
    strides, dilations = _spread(a["stride"], axes), _spread(a["dilation"], axes)
    padding = a["padding"]
    if isinstance(padding, str):
        pad = [0] * axes if padding == "valid" else [
            d * (k - 1) for d, k in zip(dilations, kernel, strict=True)]
        pads = [*(p // 2 for p in pad), *(p - p // 2 for p in pad)]
    else:
        pads = _spread(padding, axes) * 2
    return t.node(
        "Conv", _operands(t, a, "input", "weight", "bias"), kernel_shape=list(kernel),
        strides=strides, pads=pads, dilations=dilations, group=int(a["groups"]),
    )


@translation("conv_transpose1d", "conv_transpose2d")
def _conv_transpose(t: Trace, a: Given, y: Any) -> Names:
    axes = a["weight"].ndim - 2
    return t.node(
        "ConvTranspose", _operands(t, a, "input", "weight", "bias"),
        kernel_shape=list(a["weight"].shape[2:]), strides=_spread(a["stride"], axes),
        pads=_spread(a["padding"], axes) * 2, dilations=_spread(a["dilation"], axes),
        output_padding=_spread(a["output_padding"], axes), group=int(a["groups"]),
    )


@translation("linear")
def _linear(t: Trace, a: Given, y: Any) -> Names:
    if a["input"].ndim == 2:
        return t.node("Gemm", _operands(t, a, "input", "weight", "bias"), transB=1)
    if t.is_traced(a["weight"]):
        return None
    turned = t.constant(a["weight"].array.view(np.ndarray).T, f"{t.value(a['weight'])}.transposed")
    product = t.node("MatMul", [t.value(a["input"]), turned])
    return product if a["bias"] is None else t.node("Add", [product, t.value(a["bias"])])


@translation("matmul")
def _matmul(t: Trace, a: Given, y: Any) -> Names:
    return t.node("MatMul", _operands(t, a, "input", "other"))


@translation("batch_norm")
def _batch_norm(t: Trace, a: Given, y: Any) -> Names:
    if a["training"] or a["running_mean"] is None:
        return None
    channels = a["running_mean"].shape
    given = [a["weight"], a["bias"]]
    affine = [
        t.constant(np.full(channels, default, np.float32), stem) if part is None else t.value(part)
        for part, default, stem in zip(given, (1, 0), ("ones", "zeros"), strict=True)
    ]
    statistics = _operands(t, a, "running_mean", "running_var")
    return t.node(
        "BatchNormalization", [t.value(a["input"]), *affine, *statistics], epsilon=float(a["eps"])
    )


@translation("layer_norm")
def _layer_norm(t: Trace, a: Given, y: Any) -> Names:
    shape = a["normalized_shape"]
    axes = 1 if isinstance(shape, int) else len(shape)
    if a["weight"] is None:
        return None
    return t.node(
        "LayerNormalization", _operands(t, a, "input", "weight", "bias"), axis=-axes,
        epsilon=float(a["eps"]),
    )


@translation("group_norm")
def _group_norm(t: Trace, a: Given, y: Any) -> Names:
    if a["weight"] is None or a["bias"] is None:
        return None
    return t.node(
        "GroupNormalization", _operands(t, a, "input", "weight", "bias"),
        num_groups=int(a["num_groups"]), epsilon=float(a["eps"]),
    )


@translation("instance_norm")
def _instance_norm(t: Trace, a: Given, y: Any) -> Names:
    if not a["use_input_stats"] or a["weight"] is None or a["bias"] is None:
        return None
    return t.node(
        "InstanceNormalization", _operands(t, a, "input", "weight", "bias"), epsilon=float(a["eps"])
    )


@translation("local_response_norm")
def _local_response_norm(t: Trace, a: Given, y: Any) -> Names:
    return t.node(
        "LRN", [t.value(a["input"])], size=int(a["size"]), alpha=float(a["alpha"]),
        beta=float(a["beta"]), bias=float(a["k"]),
    )


@translation("dropout", "dropout1d", "dropout2d")
def _dropout(t: Trace, a: Given, y: Any) -> Names:
    return None if a["training"] and a["p"] else t.value(a["input"])


@translation("clone", "contiguous")
def _same(t: Trace, a: Given, y: Any) -> Names:
    return t.value(a["input"])


def _pool_attributes(a: Given, axes: int) -> dict[str, Any]:
    kernel = _spread(a["kernel_size"], axes)
    stride = kernel if a["stride"] is None else _spread(a["stride"], axes)
    return {
        "kernel_shape": kernel, "strides": stride, "pads": _spread(a["padding"], axes) * 2,
        "ceil_mode": int(a["ceil_mode"]),
    }


@translation("max_pool1d", "max_pool2d")
def _max_pool(t: Trace, a: Given, y: Any) -> Names:
    axes = a["input"].ndim - 2
    if a["return_indices"] or axes < 1:
        return None
    dilations = _spread(a["dilation"], axes)
    return t.node(
        "MaxPool", [t.value(a["input"])], **_pool_attributes(a, axes), dilations=dilations)


@translation("avg_pool1d", "avg_pool2d")
def _avg_pool(t: Trace, a: Given, y: Any) -> Names:
    axes = a["input"].ndim - 2
    if a.get("divisor_override") is not None or axes < 1:
        return None
    return t.node(
        "AveragePool", [t.value(a["input"])], **_pool_attributes(a, axes),
        count_include_pad=int(a["count_include_pad"]),
    )


@translation("adaptive_avg_pool1d", "adaptive_avg_pool2d")
def _adaptive_avg_pool(t: Trace, a: Given, y: Any) -> Names:
    if a["output_size"] in (1, (1, 1), [1, 1], (1,)):
        return t.node("GlobalAveragePool", [t.value(a["input"])])
    pairs = list(zip(a["input"].shape[2:], y.shape[2:], strict=True))
    if not t.portable or any(size % out for size, out in pairs):
        return None
    kernel = [size // out for size, out in pairs]
    return t.node(
        "AveragePool", [t.value(a["input"])], kernel_shape=kernel, strides=kernel)


@translation("adaptive_max_pool1d", "adaptive_max_pool2d")
def _adaptive_max_pool(t: Trace, a: Given, y: Any) -> Names:
    if a["return_indices"] or a["output_size"] not in (1, (1, 1), [1, 1], (1,)):
        return None
    return t.node("GlobalMaxPool", [t.value(a["input"])])


@translation("pad")
def _pad(t: Trace, a: Given, y: Any) -> Names:
    flat, rank = list(a["pad"]), a["input"].ndim
    before, after = [0] * rank, [0] * rank
    for i in range(len(flat) // 2):
        before[rank - 1 - i], after[rank - 1 - i] = int(flat[2 * i]), int(flat[2 * i + 1])
    mode = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
    value = t.constant(np.array(a["value"] or 0, np.float32), "fill")
    inputs = [t.value(a["input"]), t.integers([*before, *after]), value]
    return t.node("Pad", inputs, mode=mode[a["mode"]])


@translation("interpolate", "upsample")
def _interpolate(t: Trace, a: Given, y: Any) -> Names:
    mode, rank = a["mode"], a["input"].ndim
    if a.get("antialias") or a.get("recompute_scale_factor") or mode not in _RESIZE_MODES:
        return None
    attributes: dict[str, Any] = dict(_RESIZE_MODES[mode])
    if mode != "nearest":
        attributes["coordinate_transformation_mode"] = (
            "align_corners" if a["align_corners"] else "half_pixel")
    if a["size"] is not None:
        sizes = ["", "", t.integers(y.shape[2:])]
    else:
        factor = a["scale_factor"]
        factors = [float(factor)] * (rank - 2) if isinstance(factor, (int, float)) else factor
        sizes = ["", t.constant(np.array(factors, np.float32), "scales")]
    return t.node(
        "Resize", [t.value(a["input"]), *sizes], axes=list(range(2, rank)), **attributes)


_RESIZE_MODES: dict[str, dict[str, Any]] = {
    "nearest": {"mode": "nearest", "nearest_mode": "floor",
                "coordinate_transformation_mode": "asymmetric"},
    "linear": {"mode": "linear"},
    "bilinear": {"mode": "linear"},
    "bicubic": {"mode": "cubic", "cubic_coeff_a": -0.75},
}


@translation("pixel_shuffle")
def _pixel_shuffle(t: Trace, a: Given, y: Any) -> Names:
    if a["input"].ndim != 4:
        return None
    factor = int(a["upscale_factor"])
    return t.node("DepthToSpace", [t.value(a["input"])], blocksize=factor, mode="CRD")
