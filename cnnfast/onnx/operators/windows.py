"""The geometry that convolution and pooling share in the standard: pads, sizes, NumPy's windows.

`pads` lists what precedes each image axis and then what follows each; `auto_pad` computes them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["Sides", "output_size", "sides", "sliding"]

Sides = list[tuple[int, int]]
"""(before, after) of each image axis."""


def sides(
    sizes: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    pads: Sequence[int] | None,
    auto_pad: str,
) -> Sides:
    """Return the padding of each axis: `pads`, or what `auto_pad` asks for."""
    n = len(sizes)
    if any(len(part) != n for part in (kernel, strides, dilations)):
        raise ValueError(
            f"expected {n} values each for {n} image axes, got kernel {list(kernel)}, "
            f"strides {list(strides)}, dilations {list(dilations)}"
        )
    if min((*strides, *dilations), default=1) < 1:
        raise ValueError(f"strides {list(strides)} and dilations {list(dilations)} must be >= 1")
    if auto_pad in ("NOTSET", "VALID"):
        flat = [0] * (2 * n) if pads is None or auto_pad == "VALID" else list(pads)
        if len(flat) != 2 * n:
            raise ValueError(f"pads: expected {2 * n} values, got {flat}")
        return list(zip(flat[:n], flat[n:], strict=True))
    if auto_pad not in ("SAME_UPPER", "SAME_LOWER"):
        raise ValueError(f"auto_pad: expected NOTSET, VALID or SAME_*, got {auto_pad!r}")
    result = []
    for size, k, s, d in zip(sizes, kernel, strides, dilations, strict=True):
        total = max((-(-size // s) - 1) * s + d * (k - 1) + 1 - size, 0)
        less = total // 2
        before = less if auto_pad == "SAME_UPPER" else total - less
        result.append((before, total - before))
    return result


def output_size(
    size: int, kernel: int, stride: int, dilation: int, side: tuple[int, int], ceil_mode: bool
) -> int:
    """Return the number of windows along an axis; with `ceil_mode` one may hang over the end.

    It must begin inside the input or the padding before it.
    """
    room = size + sum(side) - dilation * (kernel - 1) - 1
    out = (-(-room // stride) if ceil_mode else room // stride) + 1
    if ceil_mode and (out - 1) * stride >= size + side[0]:
        out -= 1
    if out < 1:
        raise ValueError(
            f"a window of {kernel} with dilation {dilation} does not fit into {size} elements "
            f"with padding {side}"
        )
    return out


def sliding(
    x: np.ndarray,
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    padding: Sides,
    fill: float,
    ceil_mode: bool = False,
) -> np.ndarray:
    """Return the windows of a padded copy of x (N, C, *sizes) as (N, C, *outputs, *kernel)."""
    n = len(kernel)
    axes = tuple(range(2, 2 + n))
    sizes = x.shape[2:]
    geometry = list(zip(sizes, kernel, strides, dilations, padding, strict=True))
    outputs = [output_size(*axis, ceil_mode) for axis in geometry]
    reach = [(o - 1) * s + d * (k - 1) + 1
             for o, (_, k, s, d, _) in zip(outputs, geometry, strict=True)]
    widths = [(before, max(after, r - size - before))
              for (size, _, _, _, (before, after)), r in zip(geometry, reach, strict=True)]
    padded = np.pad(x, [(0, 0), (0, 0), *widths], constant_values=x.dtype.type(fill))
    extents = [d * (k - 1) + 1 for _, k, _, d, _ in geometry]
    view = np.lib.stride_tricks.sliding_window_view(padded, extents, axes)
    steps = tuple(slice(0, (o - 1) * s + 1, s)
                  for o, s in zip(outputs, strides, strict=True))
    taps = tuple(slice(None, None, d) for d in dilations)
    return view[(slice(None), slice(None), *steps, *taps)]
