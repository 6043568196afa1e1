"""Every shape and padding rule, once: for eager calls, recordings, readers and tests.

Each function takes shapes and attributes, returns the result's shape or the normalised
attributes, and raises a ValueError that names what was given and the rule that it broke.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = ["conv2d", "conv_transpose2d", "linear", "matmul", "pair", "same_padding"]

Pair = tuple[int, int]
Padding = int | Sequence[int] | Sequence[Sequence[int]] | str
"""An integer, a pair, ((top, bottom), (left, right)), ``"same"`` or ``"valid"``."""


def integers(value: int | Iterable[int], name: str) -> tuple[int, ...]:
    """Return `value`, an integer of any type or several, as a tuple; fractions are refused."""
    try:
        return tuple(map(operator.index, value if isinstance(value, Iterable) else (value,)))
    except TypeError:
        raise TypeError(f"{name}: expected integers, got {value!r}") from None


def pair(value: int | Sequence[int], name: str, minimum: int = 1) -> Pair:
    """Return `value`, one integer for both image axes or two, as (height, width)."""
    values = integers(value, name)
    if len(values) == 1:
        values = values * 2
    if len(values) != 2 or min(values) < minimum:
        raise ValueError(f"{name}: expected one or two integers of at least {minimum}, got {value}")
    return values[0], values[1]


def same_padding(kernel: Pair, dilation: Pair) -> tuple[Pair, Pair]:
    """Return ((top, bottom), (left, right)) that keeps the size at stride 1, the odd pixel last."""
    total = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    top, left = total[0] // 2, total[1] // 2
    return (top, total[0] - top), (left, total[1] - left)


def conv_padding(
    padding: Padding, kernel: Pair, stride: Pair, dilation: Pair
) -> tuple[Pair, Pair]:
    """Return ((top, bottom), (left, right)) for any `Padding`."""
    if not isinstance(padding, (str, int)) and all(isinstance(p, Sequence) for p in padding):
        rows, cols = (pair(p, "padding", minimum=0) for p in padding)
        return rows, cols
    if not isinstance(padding, str):
        h, w = pair(padding, "padding", minimum=0)  # type: ignore[arg-type]
        return (h, h), (w, w)
    if padding == "valid":
        return (0, 0), (0, 0)
    if padding != "same":
        raise ValueError(f'padding: expected integers, "same" or "valid", got {padding!r}')
    if stride != (1, 1):
        raise ValueError(f'padding="same" needs stride 1, got stride {stride}')
    return same_padding(kernel, dilation)


def conv2d(
    x: Sequence[int],
    weight: Sequence[int],
    bias: Sequence[int] | None,
    stride: Pair,
    padding: tuple[Pair, Pair],
    dilation: Pair,
    groups: int,
) -> tuple[int, int, int, int]:
    """Return (N, O, H_out, W_out) of a convolution of x (N, C, H, W) with weight (O, I, kh, kw)."""
    if len(x) != 4 or len(weight) != 4:
        raise ValueError(
            f"conv2d: expected input (N, C, H, W) and weight (O, I, kh, kw), "
            f"got {tuple(x)} and {tuple(weight)}"
        )
    if groups < 1 or weight[0] % groups or x[1] != weight[1] * groups:
        raise ValueError(
            f"conv2d: weight {tuple(weight)} with groups={groups} takes {weight[1] * groups} "
            f"channels and a multiple of {groups} outputs, got input {tuple(x)}"
        )
    if bias is not None and tuple(bias) != (weight[0],):
        raise ValueError(f"conv2d: expected bias ({weight[0]},), got {tuple(bias)}")
    sizes = []
    for size, k, s, (before, after), d in zip(
        x[2:], weight[2:], stride, padding, dilation, strict=True
    ):
        room, extent = size + before + after, d * (k - 1) + 1
        if k < 1 or extent > room:
            raise ValueError(
                f"conv2d: a kernel {tuple(weight[2:])} with dilation {dilation} spans {extent} "
                f"pixels, more than the padded input's {room} (input {tuple(x)}, padding {padding})"
            )
        sizes.append((room - extent) // s + 1)
    return x[0], weight[0], sizes[0], sizes[1]


def conv_transpose2d(
    x: Sequence[int],
    weight: Sequence[int],
    bias: Sequence[int] | None,
    stride: Pair,
    padding: Pair,
    output_padding: Pair,
    dilation: Pair,
    groups: int,
) -> tuple[int, int, int, int]:
    """Return the shape of a transposed convolution; weight (C, O / groups, kh, kw)."""
    if len(x) != 4 or len(weight) != 4 or x[1] != weight[0] or groups < 1 or x[1] % groups:
        raise ValueError(
            f"conv_transpose2d: expected input (N, C, H, W) and weight (C, O/groups, kh, kw) with "
            f"C a multiple of groups={groups}, got {tuple(x)} and {tuple(weight)}"
        )
    channels = weight[1] * groups
    if bias is not None and tuple(bias) != (channels,):
        raise ValueError(f"conv_transpose2d: expected bias ({channels},), got {tuple(bias)}")
    sizes = []
    for size, k, s, p, extra, d in zip(
        x[2:], weight[2:], stride, padding, output_padding, dilation, strict=True
    ):
        if extra >= max(s, d):
            raise ValueError(
                f"conv_transpose2d: output_padding {output_padding} must be smaller than "
                f"stride {stride} or dilation {dilation}"
            )
        out = (size - 1) * s - 2 * p + d * (k - 1) + extra + 1
        if out < 1:
            raise ValueError(
                f"conv_transpose2d: padding {padding} leaves no pixel of input {tuple(x)}"
            )
        sizes.append(out)
    return x[0], channels, sizes[0], sizes[1]


def linear(x: Sequence[int], weight: Sequence[int], bias: Sequence[int] | None) -> tuple[int, ...]:
    """Return (..., O) for x (..., I) and weight (O, I)."""
    if len(weight) != 2 or len(x) < 1 or x[-1] != weight[1]:
        raise ValueError(
            f"linear: the input's last axis must equal the weight's second: "
            f"input {tuple(x)}, weight {tuple(weight)}"
        )
    if bias is not None and tuple(bias) != (weight[0],):
        raise ValueError(f"linear: expected bias ({weight[0]},), got {tuple(bias)}")
    return (*x[:-1], weight[0])


def broadcast(*shapes: Sequence[int]) -> tuple[int, ...]:
    """Return the shape that `shapes` broadcast to, by NumPy's rule."""
    if all(shape == shapes[0] for shape in shapes):
        return tuple(shapes[0])
    rank = max(map(len, shapes))
    padded = [(1,) * (rank - len(shape)) + tuple(shape) for shape in shapes]
    result = []
    for sizes in zip(*padded, strict=True):
        wide = {size for size in sizes if size != 1}
        if len(wide) > 1:
            raise ValueError(
                "shapes " + " and ".join(str(tuple(s)) for s in shapes) + " do not broadcast: "
                "aligned at the right, sizes must be equal or 1"
            )
        result.append(wide.pop() if wide else 1)
    return tuple(result)


def matmul(a: Sequence[int], b: Sequence[int]) -> tuple[int, ...]:
    """Return the shape of a @ b for a (..., M, K) and b (..., K, N), batch axes broadcast."""
    if len(a) < 2 or len(b) < 2 or a[-1] != b[-2]:
        raise ValueError(
            f"matmul: the last axis of the first must equal the last but one of the second: "
            f"{tuple(a)} @ {tuple(b)}"
        )
    return (*broadcast(a[:-2], b[:-2]), a[-2], b[-1])


def channel_norm(name: str, x: Sequence[int], vectors: Mapping[str, Sequence[int]]) -> None:
    """Check x (N, C), (N, C, L) or (N, C, H, W) and that each vector has one value a channel."""
    if len(x) not in (2, 3, 4) or x[1] < 1:
        raise ValueError(
            f"{name}: expected input (N, C), (N, C, L) or (N, C, H, W) with a channel at least, "
            f"got {tuple(x)}"
        )
    for label, shape in vectors.items():
        if tuple(shape) != (x[1],):
            raise ValueError(
                f"{name}: expected {label} ({x[1]},) for the channels of input {tuple(x)}, "
                f"got {tuple(shape)}"
            )


def norm_groups(x: Sequence[int], groups: int) -> None:
    """Check that `groups` divides the channels of x."""
    if groups < 1 or x[1] % groups:
        raise ValueError(
            f"group_norm: num_groups must divide the {x[1]} channels of input {tuple(x)}, "
            f"got {groups}"
        )


def norm_values(name: str, x: Sequence[int], values: int) -> None:
    """Check that the statistics of input x are taken over more than one value."""
    if values == 1:
        raise ValueError(
            f"{name}: expected more than 1 value per channel when training, got input {tuple(x)}"
        )


def layer_norm(
    x: Sequence[int], normalized: Sequence[int], vectors: Mapping[str, Sequence[int]]
) -> int:
    """Return how many elements the last axes hold, which must be `normalized`."""
    last = tuple(normalized)
    if not last or tuple(x[-len(last) :]) != last:
        raise ValueError(
            f"layer_norm: the input's last axes must be normalized_shape {last}, "
            f"got input {tuple(x)}"
        )
    for label, shape in vectors.items():
        if tuple(shape) != last:
            raise ValueError(f"layer_norm: expected {label} {last}, got {tuple(shape)}")
    return math.prod(last)


def local_response_norm(x: Sequence[int], size: int) -> None:
    """Check x (N, C, L) or (N, C, H, W) and the window."""
    if len(x) not in (3, 4):
        raise ValueError(
            f"local_response_norm: expected input (N, C, L) or (N, C, H, W), got {tuple(x)}"
        )
    if size < 1:
        raise ValueError(f"local_response_norm: expected a size of at least 1, got {size}")


# ---- pooling, padding, resizing ------------------------------------------------------------


def row(value: int | Sequence[int], name: str, least: int = 1) -> Pair:
    """Return a 1-D attribute as that of an image of height 1: (least, value)."""
    values = integers(value, name)
    if len(values) != 1 or values[0] < least:
        raise ValueError(f"{name}: expected one integer of at least {least}, got {value}")
    return least, values[0]


def pool_stride(stride: int | Sequence[int] | None, kernel: Pair) -> Pair:
    """Return the windows' stride: the kernel unless given."""
    if stride is None or stride == () or stride == []:
        return kernel
    return pair(stride, "stride")


def pool2d(
    x: Sequence[int], kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool
) -> tuple[int, int, int, int]:
    """Return (N, C, OH, OW) of pooling x (N, C, H, W).

    With `ceil_mode` a last window that hangs over counts if it begins inside the input or the
    padding before it.
    """
    sizes = []
    for size, k, s, p, d in zip(x[2:], kernel, stride, padding, dilation, strict=True):
        if 2 * p > k:
            raise ValueError(
                f"pooling: padding must be at most half the kernel, got padding {padding} "
                f"and kernel {kernel}"
            )
        room = size + 2 * p - d * (k - 1) - 1
        out = (-(-room // s) if ceil_mode else room // s) + 1
        if ceil_mode and (out - 1) * s >= size + p:
            out -= 1
        if out < 1 or size < 1:
            raise ValueError(
                f"pooling: a window {kernel} with dilation {dilation} does not fit into input "
                f"{tuple(x)} with padding {padding}"
            )
        sizes.append(out)
    return x[0], x[1], sizes[0], sizes[1]


def adaptive_size(x: Sequence[int], output_size: int | Sequence[int | None] | None) -> Pair:
    """Return (OH, OW) of adaptive pooling of x (N, C, H, W); None keeps the input's size."""
    given = output_size if isinstance(output_size, Sequence) else (output_size, output_size)
    sizes = [size if out is None else int(out) for size, out in zip(x[2:], given, strict=False)]
    if len(given) != 2 or min(sizes) < 1 or min(x[2:]) < 1:
        raise ValueError(
            f"adaptive pooling: expected one or two output sizes of at least 1 and an input with "
            f"pixels, got output_size {output_size} and input {tuple(x)}"
        )
    return sizes[0], sizes[1]


def pad_sides(x: Sequence[int], pad: Sequence[int]) -> list[tuple[int, int]]:
    """Return (before, after) of every axis of x from torch's flat list, last axis first."""
    if len(pad) % 2 or len(pad) > 2 * len(x):
        raise ValueError(
            f"pad: expected pairs (before, after) for at most {len(x)} axes, last axis first, "
            f"got {tuple(pad)} for input {tuple(x)}"
        )
    given = list(zip(map(int, pad[-2::-2]), map(int, pad[-1::-2]), strict=True))
    sides = [(0, 0)] * (len(x) - len(given)) + given
    for size, (before, after) in zip(x, sides, strict=True):
        if size + before + after < 0 or -before > size or -after > size:
            raise ValueError(f"pad: {tuple(pad)} crops more than input {tuple(x)} has")
    return sides


def mirrored_sides(x: Sequence[int], pad: Sequence[int], mode: str) -> list[tuple[int, int]]:
    """Return (before, after) of the one or two last axes of x for a padding that repeats x.

    The other axes are the batch, which may be missing, and the channels.
    """
    axes = len(pad) // 2
    if len(pad) not in (2, 4) or len(x) not in (axes + 1, axes + 2):
        raise ValueError(
            f"pad: mode {mode!r} takes 2 numbers for an input (N, C, L) or (C, L) and 4 for "
            f"(N, C, H, W) or (C, H, W), got {tuple(pad)} for input {tuple(x)}"
        )
    sides = pad_sides(x, pad)[-axes:]
    for size, side in zip(x[-axes:], sides, strict=True):
        most = {"reflect": size - 1, "circular": size}.get(mode, max(side))
        if max(side) > most or size < 1 or size + sum(side) < 1:
            raise ValueError(
                f"pad: mode {mode!r} adds at most {most} to an axis of {size} and must leave a "
                f"pixel, got {tuple(pad)} for input {tuple(x)}"
            )
    return sides


def resize(
    x: Sequence[int],
    size: int | Sequence[int] | None,
    scale_factor: float | Sequence[float] | None,
) -> tuple[int, ...]:
    """Return the sizes after (N, C): `size`, or floor(input * scale_factor)."""
    if (size is None) == (scale_factor is None):
        raise ValueError("interpolate: give either size or scale_factor, and not both")
    given: Any = size if size is not None else scale_factor
    each = tuple(given) if isinstance(given, Sequence) else (given,) * (len(x) - 2)
    if len(each) != len(x) - 2:
        raise ValueError(
            f"interpolate: expected {len(x) - 2} values or one for input {tuple(x)}, got {given}"
        )
    out = tuple(
        int(value) if size is not None else math.floor(n * value)
        for n, value in zip(x[2:], each, strict=True)
    )
    if min(out) < 1 or min(x[2:]) < 1:
        raise ValueError(
            f"interpolate: input and output must have pixels, got input {tuple(x)} and output {out}"
        )
    return out


def prelu(x: Sequence[int], weight: Sequence[int]) -> None:
    """Check that prelu's weight holds one slope, or one a channel of x (axis 1)."""
    count = math.prod(weight)
    if count != 1 and (len(x) < 2 or len(weight) != 1 or count != x[1]):
        raise ValueError(
            f"prelu: expected a weight of one element or one for each channel (axis 1) of the "
            f"input, got weight {tuple(weight)} for input {tuple(x)}"
        )


def axis(ndim: int, dim: int) -> int:
    """Return an axis counted from 0; a negative one counts from the end, as in torch."""
    limit = max(ndim, 1)
    if not -limit <= dim < limit:
        raise IndexError(
            f"dim {dim} is out of range: expected {-limit} to {limit - 1} for {ndim} axes"
        )
    return dim % limit


def class_targets(name: str, x: Sequence[int], target: Sequence[int]) -> int:
    """Return the axis of x (C) or (N, C, ...) that holds classes; target () or (N, ...)."""
    if not x:
        raise ValueError(f"{name}: expected input (C) or (N, C, ...), got a single number")
    classes = 1 if len(x) > 1 else 0
    wanted = tuple(x[:classes]) + tuple(x[classes + 1 :])
    if tuple(target) != wanted:
        raise ValueError(
            f"{name}: for input {tuple(x)} expected class targets {wanted} or probabilities "
            f"{tuple(x)}, got {tuple(target)}"
        )
    return classes


def class_weights(name: str, classes: int, weight: Sequence[int]) -> None:
    """Check that there is one weight for each class."""
    if tuple(weight) != (classes,):
        raise ValueError(
            f"{name}: expected weight ({classes},), one for each class, got {tuple(weight)}"
        )


def pixel_shuffle(x: Sequence[int], r: int) -> tuple[int, ...]:
    """Return (..., C, H r, W r) of input (..., C r^2, H, W)."""
    if len(x) < 3 or r < 1 or x[-3] % (r * r):
        raise ValueError(
            f"pixel_shuffle: expected (..., C * {r}^2, H, W) and a factor of at least 1, "
            f"got {tuple(x)}"
        )
    return (*x[:-3], x[-3] // r**2, x[-2] * r, x[-1] * r)


def pixel_unshuffle(x: Sequence[int], r: int) -> tuple[int, ...]:
    """Return (..., C r^2, H, W) of input (..., C, H r, W r)."""
    if len(x) < 3 or r < 1 or x[-2] % r or x[-1] % r:
        raise ValueError(
            f"pixel_unshuffle: expected (..., C, H * {r}, W * {r}) and a factor of at least 1, "
            f"got {tuple(x)}"
        )
    return (*x[:-3], x[-3] * r**2, x[-2] // r, x[-1] // r)


def channel_shuffle(x: Sequence[int], groups: int) -> None:
    """Check that `groups` divides the channels of input (N, C, ...)."""
    if len(x) < 2 or groups < 1 or x[1] % groups:
        raise ValueError(
            f"channel_shuffle: groups must divide the channels of input (N, C, ...), "
            f"got {groups} for {tuple(x)}"
        )
