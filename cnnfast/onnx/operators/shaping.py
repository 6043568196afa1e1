"""Shapes: each function is the standard's operator of its name. Elements keep their values."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ... import axes as rules
from ... import functional as F
from .registry import operator
from .values import Value, array, integers, is_tensor

Ints = Sequence[int]


@operator()
def Identity(x: Value) -> Value:
    return x


@operator()
def Shape(x: Value, *, start: int = 0, end: int | None = None) -> np.ndarray:
    return np.array(x.shape[start:end], np.int64)


@operator()
def Size(x: Value) -> np.ndarray:
    return np.array(math.prod(x.shape), np.int64)


@operator()
def Reshape(
    x: Value, sizes: Value = None,
    *, shape: Ints | None = None, allowzero: int = 0,
) -> Value:
    """0 keeps the input's size at its place (unless `allowzero`), -1 is what is left."""
    wanted = list(shape or ()) if sizes is None else integers(sizes)
    if not allowzero:
        wanted = [x.shape[i] if size == 0 else size for i, size in enumerate(wanted)]
    if -1 in wanted and 0 in x.shape:
        rest = math.prod(size for size in wanted if size != -1)
        wanted = [size if size != -1 else (math.prod(x.shape) // rest if rest else 0)
                  for size in wanted]
    return x.reshape(tuple(wanted))


@operator()
def Flatten(x: Value, *, axis: int = 1) -> Value:
    """Return a matrix: the axes before `axis` as rows, the others as columns."""
    at = axis if axis == x.ndim else rules.axis(x.ndim, axis)
    return x.reshape((math.prod(x.shape[:at]), math.prod(x.shape[at:])))


def _axes(given: Value, attribute: Ints | None) -> list[int] | None:
    """Return axes from an input (opset 13) or an attribute."""
    if given is not None:
        return integers(given)
    return None if attribute is None else list(attribute)


@operator()
def Squeeze(x: Value, given: Value = None, /, *, axes: Ints | None = None) -> Value:
    named = _axes(given, axes)
    gone = {rules.axis(x.ndim, axis) for axis in named} if named is not None else {
        axis for axis, size in enumerate(x.shape) if size == 1}
    if any(x.shape[axis] != 1 for axis in gone):
        raise ValueError(f"axes {sorted(gone)} of {tuple(x.shape)} are not all of size 1")
    return x.reshape(tuple(size for axis, size in enumerate(x.shape) if axis not in gone))


@operator()
def Unsqueeze(x: Value, given: Value = None, /, *, axes: Ints | None = None) -> Value:
    named = _axes(given, axes) or []
    rank = x.ndim + len(named)
    new = {rules.axis(rank, axis) for axis in named}
    if len(new) != len(named):
        raise ValueError(f"axes {named} name an axis twice")
    old = iter(x.shape)
    return x.reshape(tuple(1 if axis in new else next(old) for axis in range(rank)))


@operator()
def Transpose(x: Value, *, perm: Ints | None = None) -> Value:
    order = tuple(perm) if perm is not None else tuple(range(x.ndim))[::-1]
    return x.permute(order) if is_tensor(x) else x.transpose(order)


@operator()
def Expand(x: Value, sizes: Value) -> Value:
    shape = np.broadcast_shapes(tuple(x.shape), tuple(integers(sizes)))
    return F.expand(x, shape) if is_tensor(x) else np.broadcast_to(x, shape)


@operator()
def Tile(x: Value, repeats: Value, axis: Value = None) -> Value:
    times = integers(repeats)
    if axis is not None:  # opset 1: the number of tiles along one axis
        times = [times[0] if i == integers(axis)[0] else 1 for i in range(x.ndim)]
    return F.repeat(x, times) if is_tensor(x) else np.tile(x, times)


@operator()
def Concat(*values: Value, axis: int = 1) -> Value:
    if all(map(is_tensor, values)):
        return F.cat(values, axis)
    return np.concatenate([array(value) for value in values], axis)


@operator()
def Split(
    x: Value, sizes: Value = None, /,
    *, axis: int = 0, split: Ints | None = None, num_outputs: int | None = None, outputs: int,
) -> tuple[Value, ...]:
    """Cut into parts of `sizes`, or into equal ones of which the last may be smaller."""
    given = integers(sizes) if sizes is not None else split
    axis = rules.axis(x.ndim, axis)
    whole = x.shape[axis]
    if given is None:
        count = num_outputs or outputs
        each = -(-whole // count)
        given = [each] * (count - 1) + [whole - each * (count - 1)]
    if sum(given) != whole or min(given) < 0:
        raise ValueError(f"cannot cut {tuple(x.shape)} along axis {axis} into {list(given)}")
    ends = np.cumsum([0, *given]).tolist()
    lead = (slice(None),) * axis
    return tuple(x[(*lead, slice(a, b))] for a, b in itertools.pairwise(ends))


@operator()
def Slice(
    x: Value, first: Value = None, last: Value = None, along: Value = None, by: Value = None, /,
    *, starts: Ints | None = None, ends: Ints | None = None, axes: Ints | None = None,
) -> Value:
    """Cut out a range of each axis, as Python's slices; bounds are inputs since opset 10."""
    begin = integers(first) if first is not None else list(starts or [])
    end = integers(last) if last is not None else list(ends or [])
    named = integers(along) if along is not None else list(axes or range(len(begin)))
    steps = integers(by) if by is not None else [1] * len(begin)
    key = [slice(None)] * x.ndim
    turned = []
    for axis, a, b, step in zip(named, begin, end, steps, strict=True):
        axis = rules.axis(x.ndim, axis)
        at = range(x.shape[axis])[_bound(a, b, step, x.shape[axis])]
        if step < 0:  # a Tensor has no negative strides: read forwards, then turn around
            at = at[::-1]
            turned.append(axis)
        key[axis] = slice(at.start, at.stop, at.step) if len(at) else slice(0, 0)
    y = x[tuple(key)]
    if not turned:
        return y
    return F.flip(y, turned) if is_tensor(y) else np.flip(y, tuple(turned))


def _bound(start: int, end: int, step: int, size: int) -> slice:
    """Return a slice; backwards, bounds before the first element mean from it or down to it."""
    if step < 0:
        start = max(start, -size)
        return slice(start, None if end + size < 0 else end, step)
    return slice(start, end, step)


@operator()
def DepthToSpace(x: Value, *, blocksize: int, mode: str = "DCR") -> Value:
    n, c, h, w = x.shape
    b = blocksize
    if mode == "CRD" and is_tensor(x):
        return F.pixel_shuffle(x, b)
    if mode == "DCR":
        cut, order = (n, b, b, c // b**2, h, w), (0, 3, 4, 1, 5, 2)
    else:
        cut, order = (n, c // b**2, b, b, h, w), (0, 1, 4, 2, 5, 3)
    return Transpose(x.reshape(cut), perm=order).reshape((n, c // b**2, h * b, w * b))


@operator()
def SpaceToDepth(x: Value, *, blocksize: int, mode: str = "DCR") -> Value:
    n, c, h, w = x.shape
    b = blocksize
    order = (0, 3, 5, 1, 2, 4) if mode == "DCR" else (0, 1, 3, 5, 2, 4)
    cut = x.reshape((n, c, h // b, b, w // b, b))
    return Transpose(cut, perm=order).reshape((n, c * b * b, h // b, w // b))


@operator()
def Pad(
    x: Value, widths: Value = None, fill: Value = None, along: Value = None, /,
    *, mode: str = "constant", pads: Ints | None = None, paddings: Ints | None = None,
    value: float = 0.0,
) -> Value:
    """Borders around x: `pads` lists what precedes each axis, then what follows each."""
    flat = integers(widths) if widths is not None else list(pads or paddings or [])
    named = integers(along) if along is not None else list(range(x.ndim))
    if len(flat) != 2 * len(named):
        raise ValueError(f"pads: expected {2 * len(named)} values, got {flat}")
    sides = [(0, 0)] * x.ndim
    for axis, before, after in zip(named, flat[: len(named)], flat[len(named) :], strict=True):
        sides[rules.axis(x.ndim, axis)] = (before, after)
    constant = value if fill is None else array(fill).reshape(-1)[0]
    if is_tensor(x) and mode == "constant":
        return F.pad(x, [width for side in reversed(sides) for width in side],
                     value=float(constant))
    return _bordered(x, sides, mode, constant)


_NUMPY_MODES = {"constant": "constant", "reflect": "reflect", "edge": "edge", "wrap": "wrap"}
_ENGINE_MODES = {"reflect": "reflect", "edge": "replicate", "wrap": "circular"}


def _bordered(x: Value, sides: list[tuple[int, int]], mode: str, constant: Any) -> Value:
    """Mirror image borders in the engine where it can, crop and pad in NumPy elsewhere."""
    if mode not in _NUMPY_MODES:
        raise ValueError(f"mode: expected one of {[*_NUMPY_MODES]}, got {mode!r}")
    image = x.ndim in (3, 4) and all(side == (0, 0) for side in sides[:2])
    if is_tensor(x) and image:
        most = {"reflect": 1, "wrap": 0}.get(mode)
        if most is None or all(max(side) <= size - most for side, size in zip(
                sides[2:], x.shape[2:], strict=True)):
            flat = [width for side in reversed(sides[2:]) for width in side]
            return F.pad(x, flat, _ENGINE_MODES[mode])
    inner = tuple(
        slice(max(-before, 0), size - max(-after, 0))
        for size, (before, after) in zip(x.shape, sides, strict=True)
    )
    widths = [(max(before, 0), max(after, 0)) for before, after in sides]
    kept = array(x)[inner]
    if mode == "constant":
        return np.pad(kept, widths, constant_values=constant)
    return np.pad(kept, widths, mode=_NUMPY_MODES[mode])  # type: ignore[call-overload]
