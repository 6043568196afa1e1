"""Pooling over the last two axes: (..., H, W) -> (..., Oh, Ow); the 1-d forms over the last.

Every `*_backward` takes the output's gradient and the forward's arguments. Max pooling returns
its indices with its values: h * W + w in the unpadded input, as torch's `return_indices`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import EllipsisType

import numpy as np

from .arrays import Array, Integers, Pair, in_double, pair
from .convolution import taps

Size = int | None | Sequence[int | None]


def _out_size(size: int, kernel: int, stride: int, padding: int, dilation: int, ceil: bool) -> int:
    """Torch's rule: with `ceil` a last partial window counts if it starts left of the right pad."""
    span = size + 2 * padding - dilation * (kernel - 1) - 1
    out = (span + (stride - 1 if ceil else 0)) // stride + 1
    if ceil and (out - 1) * stride >= size + padding:
        out -= 1
    if out < 1:
        raise ValueError(f"kernel {kernel} is larger than the padded input {size + 2 * padding}")
    return out


class _Grid:
    """Where the windows lie: output size, taps, and how far the input must be padded."""

    def __init__(
        self,
        size: tuple[int, ...],
        kernel: Pair,
        stride: Pair | None,
        padding: Pair,
        dilation: Pair,
        ceil: bool,
    ) -> None:
        self.size, self.kernel, self.padding = pair(size[-2:]), pair(kernel), pair(padding)
        self.stride = self.kernel if stride is None else pair(stride)
        self.dilation = pair(dilation)
        axes = (self.size, self.kernel, self.stride, self.padding, self.dilation)
        oh, ow = (_out_size(*axis, ceil) for axis in zip(*axes, strict=True))
        self.out = (oh, ow)

    def taps(self) -> list[tuple[EllipsisType, slice, slice]]:
        """For each kernel position the index of what it reads in the padded input."""
        return [index for _, _, index in taps(self.kernel, self.stride, self.dilation, self.out)]

    def pad(self, x: Array, value: float) -> Array:
        """x with `value` around it, as far as the last window reaches."""
        sides = [(0, 0)] * (x.ndim - 2)
        axes = (self.size, self.kernel, self.stride, self.padding, self.dilation, self.out)
        for n, k, s, p, d, out in zip(*axes, strict=True):
            sides.append((p, max((out - 1) * s + d * (k - 1) + 1 - n - p, p)))
        return np.pad(x, sides, constant_values=value)

    def crop(self, padded: Array) -> Array:
        """The inverse of `pad`."""
        (ph, pw), (h, w) = self.padding, self.size
        return padded[..., ph : ph + h, pw : pw + w]


@in_double
def max_pool2d(
    x: Array,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
) -> tuple[Array, Integers]:
    """(largest element of each window, its flat index): the first of equals; a nan wins."""
    grid = _Grid(x.shape, kernel_size, stride, padding, dilation, ceil_mode)
    flat = np.arange(grid.size[0] * grid.size[1], dtype=np.float64).reshape(grid.size)
    padded, positions = grid.pad(x, -np.inf), grid.pad(flat, -1)
    best = np.full((*x.shape[:-2], *grid.out), -np.inf)
    index = np.full(best.shape, -1, np.int64)
    for at in grid.taps():
        value, position = padded[at], positions[at]
        better = (position >= 0) & ((value > best) | np.isnan(value) | (index < 0))
        best, index = np.where(better, value, best), np.where(better, position, index)
    return best, index.astype(np.int64)


def _scatter(dy: Array, index: Integers, shape: tuple[int, ...]) -> Array:
    """Add each dy at its flat index in its image; index -1 (a window of padding) is dropped."""
    images, size = int(np.prod(shape[:-2])), shape[-2] * shape[-1]
    image = np.arange(images).reshape(*shape[:-2], 1, 1)
    dx, inside = np.zeros(images * size), index >= 0
    np.add.at(dx, (image * size + index)[inside], dy[inside])
    return dx.reshape(shape)


@in_double
def max_pool2d_backward(
    dy: Array,
    x: Array,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
) -> Array:
    """dy added at the element that each window chose."""
    _, index = max_pool2d(x, kernel_size, stride, padding, dilation, ceil_mode)
    return _scatter(dy, index, x.shape)


def _divisor(grid: _Grid, count_include_pad: bool, divisor_override: int | None) -> Array:
    """(Oh, Ow): what each window's sum is divided by."""
    if divisor_override is not None:
        return np.full(grid.out, float(divisor_override))
    (h, w), (ph, pw) = grid.size, grid.padding
    counted = np.pad(np.ones((h, w)), ((ph, ph), (pw, pw)), constant_values=count_include_pad)
    reach = grid.pad(np.zeros((h, w)), 0)
    reach[: h + 2 * ph, : w + 2 * pw] = counted
    return np.sum([reach[at] for at in grid.taps()], axis=0)


@in_double
def avg_pool2d(
    x: Array,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Array:
    """Sum of each window / its elements: with the padding's (never beyond it) or without."""
    grid = _Grid(x.shape, kernel_size, stride, padding, 1, ceil_mode)
    padded, total = grid.pad(x, 0), np.zeros((*x.shape[:-2], *grid.out))
    for at in grid.taps():
        total += padded[at]
    return total / _divisor(grid, count_include_pad, divisor_override)


@in_double
def avg_pool2d_backward(
    dy: Array,
    x: Array,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Array:
    """dy / divisor added to every element of its window."""
    grid = _Grid(x.shape, kernel_size, stride, padding, 1, ceil_mode)
    share = dy / _divisor(grid, count_include_pad, divisor_override)
    dpadded = grid.pad(np.zeros(x.shape), 0)
    for at in grid.taps():
        dpadded[at] += share
    return grid.crop(dpadded)


def _adaptive_size(x: Array, output_size: Size) -> tuple[int, int]:
    """The output size as a pair; None keeps the input's."""
    sizes = tuple(output_size) if isinstance(output_size, Sequence) else (output_size,) * 2
    oh, ow = (n if out is None else out for n, out in zip(x.shape[-2:], sizes, strict=True))
    return oh, ow


def _bins(size: int, out: int) -> list[slice]:
    """Bin i is floor(i * size / out) up to ceil((i + 1) * size / out)."""
    return [slice(i * size // out, -(-(i + 1) * size // out)) for i in range(out)]


def _adaptive_windows(
    x: Array, output_size: Size
) -> Iterator[tuple[tuple[int, int], slice, slice]]:
    """((i, j), rows, columns) of each output's window."""
    oh, ow = _adaptive_size(x, output_size)
    for i, rows in enumerate(_bins(x.shape[-2], oh)):
        for j, columns in enumerate(_bins(x.shape[-1], ow)):
            yield (i, j), rows, columns


@in_double
def adaptive_avg_pool2d(x: Array, output_size: Size) -> Array:
    """Mean of each bin; output_size 1 is global average pooling."""
    y = np.zeros((*x.shape[:-2], *_adaptive_size(x, output_size)))
    for at, rows, columns in _adaptive_windows(x, output_size):
        y[(..., *at)] = x[..., rows, columns].mean(axis=(-2, -1))
    return y


@in_double
def adaptive_avg_pool2d_backward(dy: Array, x: Array, output_size: Size) -> Array:
    """dy / bin size added to every element of its bin."""
    dx = np.zeros(x.shape)
    for at, rows, columns in _adaptive_windows(x, output_size):
        window = dx[..., rows, columns]
        window += dy[(..., *at)][..., None, None] / (window.shape[-2] * window.shape[-1])
    return dx


@in_double
def adaptive_max_pool2d(x: Array, output_size: Size) -> tuple[Array, Integers]:
    """(largest element of each bin, its flat index h * W + w); the first of equals."""
    y = np.zeros((*x.shape[:-2], *_adaptive_size(x, output_size)))
    index = np.zeros(y.shape, np.int64)
    for at, rows, columns in _adaptive_windows(x, output_size):
        window = x[..., rows, columns]
        flat = window.reshape(*window.shape[:-2], window.shape[-2] * window.shape[-1])
        h, w = np.divmod(flat.argmax(axis=-1), window.shape[-1])
        index[(..., *at)] = (h + rows.start) * x.shape[-1] + w + columns.start
        y[(..., *at)] = flat.max(axis=-1)
    return y, index


@in_double
def adaptive_max_pool2d_backward(dy: Array, x: Array, output_size: Size) -> Array:
    """dy added at the element that each bin chose."""
    return _scatter(dy, adaptive_max_pool2d(x, output_size)[1], x.shape)


def _row(x: Array) -> Array:
    """(..., L) as an image (..., 1, L)."""
    return x[..., None, :]


def _wide(kernel: int, stride: int | None, padding: int) -> tuple[Pair, Pair, Pair]:
    """A 1-d kernel, stride and padding as those of an image of height one."""
    return (1, kernel), (1, kernel if stride is None else stride), (0, padding)


def max_pool1d(
    x: Array,
    kernel_size: int,
    stride: int | None = None,
    padding: int = 0,
    dilation: int = 1,
    ceil_mode: bool = False,
) -> tuple[Array, Integers]:
    """max_pool2d along the last axis of (..., L); the index is the position in it."""
    window = _wide(kernel_size, stride, padding)
    y, index = max_pool2d(_row(x), *window, (1, dilation), ceil_mode)
    return y[..., 0, :], index[..., 0, :]


def max_pool1d_backward(
    dy: Array,
    x: Array,
    kernel_size: int,
    stride: int | None = None,
    padding: int = 0,
    dilation: int = 1,
    ceil_mode: bool = False,
) -> Array:
    """dy added at the element that each window chose."""
    window = _wide(kernel_size, stride, padding)
    return max_pool2d_backward(_row(dy), _row(x), *window, (1, dilation), ceil_mode)[..., 0, :]


def avg_pool1d(
    x: Array,
    kernel_size: int,
    stride: int | None = None,
    padding: int = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Array:
    """avg_pool2d along the last axis of (..., L)."""
    window = _wide(kernel_size, stride, padding)
    return avg_pool2d(_row(x), *window, ceil_mode, count_include_pad)[..., 0, :]


def avg_pool1d_backward(
    dy: Array,
    x: Array,
    kernel_size: int,
    stride: int | None = None,
    padding: int = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Array:
    """dy / divisor added to every element of its window."""
    window = _wide(kernel_size, stride, padding)
    dx = avg_pool2d_backward(_row(dy), _row(x), *window, ceil_mode, count_include_pad)
    return dx[..., 0, :]


def adaptive_avg_pool1d(x: Array, output_size: int) -> Array:
    """Mean of each bin of the last axis of (..., L)."""
    return adaptive_avg_pool2d(_row(x), (1, output_size))[..., 0, :]


def adaptive_avg_pool1d_backward(dy: Array, x: Array, output_size: int) -> Array:
    """dy / bin size added to every element of its bin."""
    return adaptive_avg_pool2d_backward(_row(dy), _row(x), (1, output_size))[..., 0, :]


def adaptive_max_pool1d(x: Array, output_size: int) -> tuple[Array, Integers]:
    """(largest element of each bin of the last axis, its position)."""
    y, index = adaptive_max_pool2d(_row(x), (1, output_size))
    return y[..., 0, :], index[..., 0, :]


def adaptive_max_pool1d_backward(dy: Array, x: Array, output_size: int) -> Array:
    """dy added at the element that each bin chose."""
    return adaptive_max_pool2d_backward(_row(dy), _row(x), (1, output_size))[..., 0, :]
