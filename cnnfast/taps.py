"""Which inputs each output reads along one axis: pooling, resizing, mirrored padding as tables.

An image operation whose output (oy, ox) reads the inputs rows[oy] x cols[ox] is two `Axis`, one for
the rows and one for the columns, and one kernel: `_core.resample` for weighted sums,
`_core.max_pool2d_forward` for maxima. The gradient runs the same tables backwards. Tables are small
and depend on sizes alone, so they are kept.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from . import _core

__all__ = [
    "Axis",
    "Windows",
    "average",
    "bin_average",
    "bins",
    "cubic",
    "linear",
    "mirrored",
    "nearest",
    "weighted",
    "windows",
]

Integers = np.ndarray
# What one network uses fits many times over; a table is a few kilobytes.
_kept = lru_cache(maxsize=1024)


class Axis(NamedTuple):
    """Taps of one axis: from outputs to the inputs that they read, and back."""

    forward: _core.Taps
    backward: _core.Taps


class Windows(NamedTuple):
    """Taps of one axis for a maximum; tap k of output o reads ``positions[o, k]``, -1: nothing."""

    forward: _core.Taps
    backward: _core.Taps
    positions: Integers


def _table(
    inputs: int, outputs: int, output: Integers, at: Integers, weight: np.ndarray
) -> _core.Taps:
    """Taps (output[i] reads at[i] with weight[i]) in the order of their outputs."""
    order = np.argsort(output, kind="stable")
    first = np.zeros(outputs + 1, np.int32)
    np.cumsum(np.bincount(output, minlength=outputs), out=first[1:])
    return _core.Taps(inputs, first, at[order].astype(np.int32), weight[order].astype(np.float32))


def weighted(size: int, out: int, output: Integers, at: Integers, weight: np.ndarray) -> Axis:
    return Axis(_table(size, out, output, at, weight), _table(out, size, at, output, weight))


def _windows(
    size: int, out: int, window: int, taps: tuple[Integers, Integers, Integers], number: int
) -> Windows:
    """`taps`: of which output, number in its window, position in the input."""
    output, k, at = taps
    positions = np.full((out, window), -1)
    positions[output, k] = at
    return Windows(*weighted(size, out, output, at, k * number), positions)


def _grid(out: int, window: int) -> tuple[Integers, Integers]:
    """Numbers of output and tap for `window` taps each of `out` outputs."""
    output, k = np.indices((out, window))
    return output.ravel(), k.ravel()


# ---- pooling -------------------------------------------------------------------------------


@_kept
def windows(
    size: int, out: int, kernel: int, stride: int, padding: int, dilation: int, number: int = 1
) -> Windows:
    """Tap k of output o is o * stride - padding + k * dilation, numbered k * `number`."""
    output, k = _grid(out, kernel)
    at = output * stride - padding + k * dilation
    inside = (at >= 0) & (at < size)
    return _windows(size, out, kernel, (output[inside], k[inside], at[inside]), number)


@_kept
def average(
    size: int,
    out: int,
    kernel: int,
    stride: int,
    padding: int,
    count_include_pad: bool,
    divisor: float | None,
    dilation: int = 1,
    after: int | None = None,
) -> Axis:
    """Windows whose taps weigh 1 / divisor, by default the number of positions.

    Positions in the padding, of which `after` follow the input (by default as many as precede it),
    count where `count_include_pad`; those beyond it never do.
    """
    output, k = _grid(out, kernel)
    at = output * stride - padding + k * dilation
    inside = (at >= 0) & (at < size)
    end = size + (padding if after is None else after)
    counted = at < end if count_include_pad else inside
    count = (
        np.bincount(output[counted], minlength=out) if divisor is None else np.full(out, divisor)
    )
    return weighted(size, out, output[inside], at[inside], 1.0 / count[output[inside]])


def _bins(size: int, out: int) -> tuple[Integers, Integers, Integers]:
    """Bin o is floor(o * size / out) up to ceil((o + 1) * size / out): output, k, at."""
    start = np.arange(out) * size // out
    end = -(-(np.arange(out) + 1) * size // out)
    output, k = _grid(out, int((end - start).max()))
    at = start[output] + k
    inside = at < end[output]
    return output[inside], k[inside], at[inside]


@_kept
def bins(size: int, out: int, number: int = 1) -> Windows:
    """Adaptive windows, for a maximum: tap k is numbered k * `number`."""
    output, k, at = _bins(size, out)
    return _windows(size, out, int(k.max()) + 1, (output, k, at), number)


@_kept
def bin_average(size: int, out: int) -> Axis:
    """Adaptive windows, for an average."""
    output, _, at = _bins(size, out)
    return weighted(size, out, output, at, 1.0 / np.bincount(output)[output])


# ---- resizing ------------------------------------------------------------------------------
#
# torch computes positions in float32, and its rounding decides which pixel is nearest; so do these.


def _step(size: int, out: int, scale: float | None) -> np.float32:
    """Input positions from one output to the next."""
    return np.float32(size) / np.float32(out) if scale is None else np.float32(1.0 / scale)


def _positions(size: int, out: int, scale: float | None, align_corners: bool) -> np.ndarray:
    """Where each output lies among the inputs: corners on corners, or centres on centres."""
    o = np.arange(out, dtype=np.float32)
    if align_corners:
        return o * (np.float32(size - 1) / np.float32(out - 1) if out > 1 else np.float32(0))
    return (o + np.float32(0.5)) * _step(size, out, scale) - np.float32(0.5)


@_kept
def nearest(size: int, out: int, scale: float | None, exact: bool = False) -> Axis:
    """floor(o * step), or, `exact`, the input whose centre is nearest.

    As in torch's image kernels, an equal or doubled size takes o or o // 2 whatever the scale.
    """
    o = np.arange(out, dtype=np.float32) + np.float32(0.5 if exact else 0)
    at = np.minimum(np.floor(o * _step(size, out, scale)).astype(np.int64), size - 1)
    if not exact and out in (size, 2 * size):
        at = np.arange(out) // (out // size)
    return weighted(size, out, np.arange(out), at, np.ones(out))


@_kept
def linear(size: int, out: int, scale: float | None, align_corners: bool) -> Axis:
    """The two neighbours of each position, weighted by nearness; an equal size is a copy."""
    position = np.maximum(_positions(size, out, scale, align_corners), np.float32(0))
    if out == size:
        position = np.arange(out, dtype=np.float32)
    left = np.minimum(position.astype(np.int64), size - 1)
    share = np.clip(position - left.astype(np.float32), 0, 1)
    at = np.stack([left, np.minimum(left + 1, size - 1)], axis=1).ravel()
    weight = np.stack([1 - share, share], axis=1).ravel()
    return weighted(size, out, np.arange(out).repeat(2), at, weight)


@_kept
def cubic(size: int, out: int, scale: float | None, align_corners: bool) -> Axis:
    """The four neighbours, by Keys' cubic convolution with a = -0.75; edges repeat.

    R. Keys, "Cubic convolution interpolation for digital image processing", IEEE Trans. ASSP, 1981.
    """
    position = _positions(size, out, scale, align_corners)
    left = np.floor(position)
    share = (position - left)[:, None]
    distance = np.abs(share - np.arange(-1, 3, dtype=np.float32))
    a = np.float32(-0.75)
    near = ((a + 2) * distance - (a + 3)) * distance * distance + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    at = np.clip(left.astype(np.int64)[:, None] + np.arange(-1, 3), 0, size - 1)
    weight = np.where(distance <= 1, near, far)
    return weighted(size, out, np.arange(out).repeat(4), at.ravel(), weight.ravel())


# ---- padding -------------------------------------------------------------------------------


@_kept
def mirrored(size: int, before: int, after: int, mode: str) -> Axis:
    """Positions -before .. size + after - 1, brought inside by `mode`."""
    at = np.arange(-before, size + after)
    if mode == "replicate":
        at = np.clip(at, 0, size - 1)
    elif mode == "reflect":
        at = size - 1 - np.abs(size - 1 - np.abs(at))
    else:  # circular: what is left of the input, again and again
        start, end = max(-before, 0), size - max(-after, 0)
        at = (at - start) % (end - start) + start
    return weighted(size, at.size, np.arange(at.size), at, np.ones(at.size))
