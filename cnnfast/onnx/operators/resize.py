"""Resize and its older form Upsample: weighted sums along each axis.

Along one axis every output is a sum of a few inputs; which, and with what weights, depends on the
mode and on where the output lies among the inputs (`coordinate_transformation_mode`). One or two
image axes go through the engine's tables of taps; more axes, or others, are products of matrices.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ... import axes as rules
from ... import functional as F
from ... import taps
from ...functional.resample import resample, to_image
from ...tensor import Tensor
from .elementwise import float_kind
from .registry import operator
from .values import Value, array, integers, is_tensor

Ints = Sequence[int]


class Stencil(NamedTuple):
    """What the outputs along one axis read: positions and weights, both (outputs, taps).

    ``outside`` marks outputs that lie beyond the input (for tf_crop_and_resize).
    """

    size: int
    at: np.ndarray
    weight: np.ndarray
    outside: np.ndarray


class Options(NamedTuple):
    """The attributes that say how to interpolate."""

    mode: str
    coordinates: str
    nearest: str
    cubic: float
    exclude_outside: bool
    antialias: bool


def positions(
    size: int, out: int, scale: float, coordinates: str, roi: tuple[float, float], number: Any
) -> np.ndarray:
    """Return where each output lies among the inputs, computed in the type `number`."""
    o, whole, scale = np.arange(out, dtype=number), scale * size, number(scale)
    if coordinates == "align_corners":
        return o * (size - 1) / (whole - 1) if whole != 1 else np.zeros(out)
    if coordinates == "asymmetric":
        return o / scale
    if coordinates == "tf_crop_and_resize":
        start, end = roi
        if out == 1:
            return np.array([(start + end) * (size - 1) / 2])
        return start * (size - 1) + o * (end - start) * (size - 1) / (out - 1)
    centres = (o + 0.5) / scale - 0.5
    if coordinates == "half_pixel":
        return centres
    if coordinates == "pytorch_half_pixel":
        return centres if out > 1 else np.zeros(out)
    if coordinates == "half_pixel_symmetric":
        return size / 2 * (1 - out / whole) + centres
    raise ValueError(f"coordinate_transformation_mode {coordinates!r} is not known")


_NEAREST: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def _cubic(distance: np.ndarray, a: float) -> np.ndarray:
    """Keys' kernel: see `cnnfast.taps.cubic`."""
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0))


def stencil(
    size: int, out: int, scale: float, options: Options, roi: tuple[float, float]
) -> Stencil:
    """Return what the outputs along an axis read."""
    # Which neighbour is nearest is decided in float32, as in the standard's reference.
    number = np.float32 if options.mode == "nearest" else np.float64
    x = positions(size, out, scale, options.coordinates, roi, number)
    outside = (x < 0) | (x > size - 1)
    if options.coordinates != "tf_crop_and_resize":
        outside[:] = False
    if options.mode == "nearest":
        at = np.clip(_NEAREST[options.nearest](x), 0, size - 1).astype(np.int64)[:, None]
        return Stencil(size, at, np.ones(at.shape), outside)
    if options.mode not in ("linear", "cubic"):
        raise ValueError(f"mode: expected 'nearest', 'linear' or 'cubic', got {options.mode!r}")
    reach = 1 if options.mode == "linear" else 2
    stretch = min(scale, 1.0) if options.antialias else 1.0
    first = math.floor(-reach / stretch) + 1
    at = np.floor(x).astype(np.int64)[:, None] + np.arange(first, 2 - first)
    distance = np.abs(at - x[:, None]) * stretch
    if options.mode == "linear":
        weight = np.clip(1 - distance, 0, None)
    else:
        weight = _cubic(distance, options.cubic)
    if options.exclude_outside:
        weight = np.where((at >= 0) & (at < size), weight, 0)
    weight = weight / weight.sum(1, keepdims=True)
    return Stencil(size, np.clip(at, 0, size - 1), weight, outside)


def _axis(one: Stencil) -> taps.Axis:
    """Return a stencil as the engine's taps."""
    out, count = one.at.shape
    output = np.arange(out).repeat(count)
    return taps.weighted(one.size, out, output, one.at.ravel(), one.weight.ravel())


def _matrix(one: Stencil) -> np.ndarray:
    """Return a stencil as a matrix (outputs, inputs)."""
    out = one.at.shape[0]
    result = np.zeros((out, one.size))
    np.add.at(result, (np.arange(out)[:, None], one.at), one.weight)
    return result


def _apply(x: Value, stencils: dict[int, Stencil]) -> Value:
    """Return x summed by the stencils of some of its axes."""
    if is_tensor(x) and x.ndim in (3, 4) and min(stencils) >= 2:
        spatial = x.ndim - 2
        image = to_image(x.array, spatial, "Resize")
        kept = [taps.bin_average(size, size) for size in image.shape[2:]]
        rows, cols = (
            _axis(stencils[axis]) if axis in stencils else keep
            for axis, keep in zip((2, 3) if spatial == 2 else (-1, 2), kept, strict=True)
        )
        return resample(x, image, rows, cols, spatial, "Resize")
    for axis, one in stencils.items():
        if is_tensor(x):
            matrix = Tensor.wrap(_matrix(one).T.astype(np.float32))
            x = F.movedim(F.matmul(F.movedim(x, axis, x.ndim - 1), matrix), x.ndim - 1, axis)
        elif one.at.shape[1] == 1:
            x = x.take(one.at[:, 0], axis)
        else:
            wide = np.moveaxis(x.astype(np.float64), axis, -1) @ _matrix(one).T
            x = np.moveaxis(wide, -1, axis).astype(x.dtype if float_kind(x.dtype) else np.float64)
    return x


def _target(
    sizes: list[int], given: list[int], policy: str
) -> tuple[list[int], list[float]]:
    """Return sizes and scales from wanted sizes, keeping the aspect ratio where asked."""
    scales = [new / old for new, old in zip(given, sizes, strict=True)]
    if policy == "stretch":
        return given, scales
    if policy not in ("not_larger", "not_smaller"):
        raise ValueError(f"keep_aspect_ratio_policy {policy!r} is not known")
    scale = min(scales) if policy == "not_larger" else max(scales)
    return [math.floor(scale * size + 0.5) for size in sizes], [scale] * len(sizes)


def _resized(
    x: Value, scales: Value, sizes: Value, roi: Value, named: Ints | None, options: Options,
    policy: str, extrapolation_value: float,
) -> Value:
    axes = [rules.axis(x.ndim, axis) for axis in (range(x.ndim) if named is None else named)]
    old = [x.shape[axis] for axis in axes]
    if sizes is not None and sizes.shape[0]:
        new, factors = _target(old, integers(sizes), policy)
    elif scales is not None and scales.shape[0]:
        factors = [float(scale) for scale in array(scales)]
        new = [math.floor(size * scale) for size, scale in zip(old, factors, strict=True)]
    else:
        raise ValueError("one of scales and sizes must be given")
    bounds = [0.0] * len(axes) + [1.0] * len(axes)
    if options.coordinates == "tf_crop_and_resize":
        bounds = [float(bound) for bound in array(roi)]
    stencils = {
        axis: stencil(old[i], new[i], factors[i], options, (bounds[i], bounds[i + len(axes)]))
        for i, axis in enumerate(axes)
    }
    changed = {axis: one for axis, one in stencils.items() if not _is_copy(one)}
    y = _apply(x, changed) if changed else x
    return _outside_filled(y, stencils, extrapolation_value)


def _is_copy(one: Stencil) -> bool:
    """Whether each output is the input at its place."""
    exact = one.at == np.arange(one.at.shape[0])[:, None]
    alone = np.where(exact, one.weight, 0).sum(1) == 1
    return one.size == one.at.shape[0] and bool(alone.all()) and bool(
        (np.where(exact, 0, one.weight) == 0).all())


def _outside_filled(y: Value, stencils: dict[int, Stencil], value: float) -> Value:
    """Return y with `value` where an output lies beyond the input along any axis."""
    if not any(one.outside.any() for one in stencils.values()):
        return y
    outside = np.zeros(y.shape, bool)
    for axis, one in stencils.items():
        outside |= one.outside.reshape([-1 if i == axis else 1 for i in range(y.ndim)])
    if is_tensor(y):
        return F.where(outside, value, y)
    return np.where(outside, np.asarray(value, y.dtype), y)


@operator()
def Resize(
    x: Value, *inputs: Value,
    antialias: int = 0, axes: Ints | None = None,
    coordinate_transformation_mode: str = "half_pixel", cubic_coeff_a: float = -0.75,
    exclude_outside: int = 0, extrapolation_value: float = 0.0,
    keep_aspect_ratio_policy: str = "stretch", mode: str = "nearest",
    nearest_mode: str = "round_prefer_floor", opset: int,
) -> Value:
    """Inputs are scales (opset 10), or region, scales and sizes."""
    roi, scales, sizes, *_ = (
        (None, *inputs, None) if opset < 11 else (*inputs, None, None, None))
    options = Options(
        mode, coordinate_transformation_mode, nearest_mode, cubic_coeff_a, bool(exclude_outside),
        bool(antialias),
    )
    if opset < 11:
        options = options._replace(coordinates="asymmetric", nearest="floor")
    return _resized(
        x, scales, sizes, roi, axes, options, keep_aspect_ratio_policy, extrapolation_value)


@operator()
def Upsample(
    x: Value, factors: Value = None, /, *, mode: str = "nearest", scales: Any = None,
    height_scale: float | None = None, width_scale: float | None = None,
) -> Value:
    """Resize with corners at corners; scales are an attribute before opset 9."""
    if factors is None:
        factors = np.array(scales or [1.0, 1.0, height_scale, width_scale], np.float64)
    kind = {"bilinear": "linear"}.get(mode, mode)
    options = Options(kind, "asymmetric", "floor", -0.75, False, False)
    return _resized(x, factors, None, None, None, options, "stretch", 0.0)
