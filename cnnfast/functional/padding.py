"""Padding: constant in any rank; reflected, replicated and circular along one or two image axes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import _core, shapes, taps
from ..autograd import record
from ..tensor import Tensor, as_float
from .resample import resample, to_image

__all__ = ["pad"]

Sides = list[tuple[int, int]]


def _inside(shape: Sequence[int], sides: Sides, sign: int) -> tuple[slice, ...]:
    """What input and result share: in the result's indices (sign 1) or the input's (sign -1)."""
    return tuple(
        slice(max(sign * before, 0), size - max(sign * after, 0))
        for size, (before, after) in zip(shape, sides, strict=True)
    )


def _fill_borders(array: np.ndarray, inside: tuple[slice, ...], value: float) -> None:
    """Set all but array[inside]: two slabs an axis, each within what other slabs left."""
    left: list[slice] = [slice(None)] * array.ndim
    for axis, part in enumerate(inside):
        for slab in (slice(0, part.start), slice(part.stop, None)):
            left[axis] = slab
            border = array[tuple(left)]
            if border.size:
                _core.fill(border, value)
        left[axis] = part


def _paste(
    shape: Sequence[int], inside: tuple[slice, ...], source: np.ndarray, value: float, image: bool
) -> np.ndarray:
    """Return an array of `shape`, an image or dense, that is `source` inside, `value` elsewhere."""
    array = _core.empty_image(*shape) if image else _core.empty(shape)
    _fill_borders(array, inside, value)
    if source.size:
        _core.copy(array[inside], source)
    return array


def _pad_constant(x: Tensor, sides: Sides, value: float) -> Tensor:
    before = x.shape
    after = tuple(n + b + a for n, (b, a) in zip(before, sides, strict=True))
    in_x, in_y = _inside(before, sides, -1), _inside(after, sides, 1)
    image = _core.is_image(x.array)
    y = _paste(after, in_y, x.array[in_x], value, image)

    def pad(dy: np.ndarray, needs: tuple[bool, ...]) -> tuple[np.ndarray | None, ...]:
        kept = dy[in_y]
        return (kept if kept.shape == before else _paste(before, in_x, kept, 0.0, image),)

    return record(y, (x,), pad)


def _pad_mirrored(x: Tensor, pad: Sequence[int], mode: str) -> Tensor:
    sides = shapes.mirrored_sides(x.shape, pad, mode)
    image = to_image(x.array, len(sides), "pad")
    if len(sides) == 1:
        sides = [(0, 0), *sides]
    rows, cols = (
        taps.mirrored(size, before, after, mode)
        for size, (before, after) in zip(image.shape[2:], sides, strict=True)
    )
    return resample(x, image, rows, cols, len(pad) // 2, "pad")


def pad(
    input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> Tensor:
    """Put borders around `input`.

    Parameters
    ----------
    input : Tensor
        Any shape for mode ``"constant"``, else (N, C, H, W) or (C, H, W) with four numbers in
        `pad`, (N, C, L) or (C, L) with two.
    pad : sequence of int
        Elements to add before and after, the last axis first: (left, right, top, bottom, ...).
        Negative numbers crop.
    mode : {"constant", "reflect", "replicate", "circular"}
        What the border holds: `value`; the input mirrored at its edge elements; the edge elements;
        the other end of the input.
    value : float, optional
        For mode ``"constant"``; 0 by default.

    Returns
    -------
    Tensor
        float32.

    Raises
    ------
    ValueError
        Where `pad` does not fit the shape or the mode is unknown.

    Examples
    --------
    >>> from cnnfast import functional as F, tensor
    >>> F.pad(tensor([[1.0, 2.0, 3.0]]), (2, 1), mode="reflect").numpy()
    array([[3., 2., 1., 2., 3., 2.]], dtype=float32)
    """
    x = as_float(input)
    if mode == "constant":
        return _pad_constant(x, shapes.pad_sides(x.shape, pad), 0.0 if value is None else value)
    if mode not in ("reflect", "replicate", "circular"):
        raise ValueError(
            f"pad: expected mode 'constant', 'reflect', 'replicate' or 'circular', got {mode!r}"
        )
    if value:
        raise ValueError(f"pad: mode {mode!r} takes no value, got {value}")
    return _pad_mirrored(x, pad, mode)
