"""Fourier transforms and their windows, in NumPy: each the standard's operator of its name.

Complex numbers are pairs (real, imaginary) along a last axis of 2, real ones an axis of 1.
"""

from __future__ import annotations

import numpy as np

from ... import axes as rules
from .creation import element_type
from .elementwise import narrow_float
from .registry import operator
from .values import scalar


def _complex(x: np.ndarray) -> np.ndarray:
    """Return pairs as complex numbers of the same precision, at least float32's."""
    wide = x.astype(np.float32) if narrow_float(x.dtype) else x
    return wide[..., 0] + 1j * wide[..., 1] if x.shape[-1] == 2 else wide[..., 0]


def _pairs(x: np.ndarray) -> np.ndarray:
    return np.stack([x.real, x.imag], -1)


@operator(host=True)
def DFT(
    x: np.ndarray, length: np.ndarray | None = None, along: np.ndarray | None = None, /,
    *, axis: int = 1, inverse: int = 0, onesided: int = 0, opset: int,
) -> np.ndarray:
    """The axis is an input since opset 20, then the last but one unless given."""
    if opset >= 20:
        axis = -2 if along is None else int(scalar(along))
    axis = rules.axis(x.ndim, axis)
    signal = _complex(x)
    size = None if length is None else int(scalar(length))
    if inverse and onesided:
        return np.fft.irfft(signal, size, axis)[..., None].astype(x.dtype)
    if inverse:
        return _pairs(np.fft.ifft(signal, size, axis)).astype(x.dtype)
    y = np.fft.fft(signal, size, axis)
    if onesided:
        y = y.take(range(y.shape[axis] // 2 + 1), axis)
    return _pairs(y).astype(x.dtype)


@operator(host=True)
def STFT(
    x: np.ndarray, step: np.ndarray, window: np.ndarray | None = None,
    length: np.ndarray | None = None, *, onesided: int = 1,
) -> np.ndarray:
    """Transform frames of (batch, samples, 1 or 2), `step` apart, weighted by the window."""
    signal = _complex(x)
    size = int(scalar(length)) if length is not None else window.shape[0]  # type: ignore[union-attr]
    weights = np.ones(size) if window is None else window.astype(np.float64)
    hop = int(scalar(step))
    frames = np.lib.stride_tricks.sliding_window_view(signal, size, 1)[:, ::hop]
    y = np.fft.fft(frames * weights, axis=-1)
    return _pairs(y[..., : size // 2 + 1] if onesided else y).astype(x.dtype)


def _cosines(
    size: np.ndarray, periodic: int, dtype: int, weights: tuple[float, ...]
) -> np.ndarray:
    """Return the sum of weights[k] * cos(2 pi k n / N)."""
    count = int(scalar(size))
    angle = 2 * np.pi * np.arange(count) / (count if periodic else max(count - 1, 1))
    total = sum(weight * np.cos(k * angle) for k, weight in enumerate(weights))
    return np.asarray(total).astype(element_type(dtype))


@operator(host=True)
def HannWindow(size: np.ndarray, *, output_datatype: int = 1, periodic: int = 1) -> np.ndarray:
    return _cosines(size, periodic, output_datatype, (0.5, -0.5))


@operator(host=True)
def HammingWindow(size: np.ndarray, *, output_datatype: int = 1, periodic: int = 1) -> np.ndarray:
    return _cosines(size, periodic, output_datatype, (25 / 46, -21 / 46))


@operator(host=True)
def BlackmanWindow(size: np.ndarray, *, output_datatype: int = 1, periodic: int = 1) -> np.ndarray:
    return _cosines(size, periodic, output_datatype, (0.42, -0.5, 0.08))
