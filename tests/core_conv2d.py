"""The convolution primitives of `cnnfast._core` as functions of arrays, for the kernels' tests.

A `Conv` names one problem; its operands and the reference's results are computed once for all
instruction sets. Every image is a view of a buffer whose pixels are `extra` floats wider than the
channels. Those floats and every output start as NaN, so what a kernel leaves out, or adds, shows.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
import reference
from rounding import whole

from cnnfast import _core

Pair = tuple[int, int]
Place = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Conv:
    """One convolution: sizes of x (n, c, h, w), output channels o, kernel k, attributes."""

    n: int = 2
    c: int = 3
    h: int = 5
    w: int = 4
    o: int = 4
    k: Pair = (3, 3)
    stride: Pair = (1, 1)
    padding: Pair = (1, 1)
    dilation: Pair = (1, 1)
    groups: int = 1
    extra: int = 0

    def __str__(self) -> str:
        changed = {f.name: getattr(self, f.name) for f in fields(self)}
        return "-".join(
            f"{name}{value}".replace(" ", "")
            for name, value in changed.items()
            if name in "nchwo" or value != type(self).__dataclass_fields__[name].default
        )

    @property
    def options(self) -> dict[str, Pair | int]:
        """What the reference takes after the arrays."""
        return {
            "stride": self.stride, "padding": self.padding,
            "dilation": self.dilation, "groups": self.groups,
        }  # fmt: skip

    @property
    def attributes(self) -> tuple[Pair, Pair, Pair, int]:
        """What the binding takes after the arrays."""
        return self.stride, self.padding, self.dilation, self.groups

    @property
    def x_shape(self) -> tuple[int, int, int, int]:
        """(N, C, H, W)."""
        return self.n, self.c, self.h, self.w

    @property
    def w_shape(self) -> tuple[int, int, int, int]:
        """(O, C / groups, kh, kw)."""
        return self.o, self.c // self.groups, *self.k

    @property
    def y_shape(self) -> tuple[int, int, int, int]:
        """(N, O, OH, OW)."""
        sizes = (
            (size + 2 * p - d * (k - 1) - 1) // s + 1
            for size, p, d, k, s in zip(
                (self.h, self.w), self.padding, self.dilation, self.k, self.stride, strict=True
            )
        )
        return self.n, self.o, *sizes  # type: ignore[return-value]


@dataclass(frozen=True)
class Solved:
    """A problem's operands and what they give."""

    x: np.ndarray
    w: np.ndarray
    b: np.ndarray
    dy: np.ndarray
    y: np.ndarray
    dx: np.ndarray
    dw: np.ndarray


def solve(conv: Conv, make: Callable[..., np.ndarray] = whole) -> Solved:
    """Operands from `make` and the reference's results."""
    x, w, b = make(*conv.x_shape), make(*conv.w_shape, seed=1), make(conv.o, seed=2)
    dy = make(*conv.y_shape, seed=3)
    y = reference.conv2d(x, w, b, **conv.options)
    dx, dw, _ = reference.conv2d_backward(dy, x, w, **conv.options)
    return Solved(x, w, b, dy, y, dx, dw)


solve_once = functools.lru_cache(maxsize=1)(solve)


def in_place(array: np.ndarray) -> np.ndarray:
    """The default placement of an operand: where it is."""
    return array


def image(values: np.ndarray, extra: int = 0) -> np.ndarray:
    """The values as an NHWC image whose pixels are `extra` NaNs wider than its channels."""
    n, c, h, w = values.shape
    buffer = np.full((n, h, w, c + extra), np.nan, np.float32)
    view = buffer[..., :c].transpose(0, 3, 1, 2)
    view[...] = values
    return view


def unwritten(shape: tuple[int, ...], extra: int = 0) -> np.ndarray:
    """An image of NaNs."""
    return image(np.full(shape, np.nan, np.float32), extra)


def pack(conv: Conv, w: np.ndarray, backward: bool, place: Place = in_place) -> np.ndarray:
    """The weight in the kernel's order, in a buffer of exactly its size."""
    size = _core.conv2d_packed_size(w.shape, *conv.attributes, backward)
    packed = place(np.full(size, np.nan, np.float32))
    _core.conv2d_pack(packed, place(w), *conv.attributes, backward)
    return packed


def forward(
    conv: Conv, x: np.ndarray, w: np.ndarray, b: np.ndarray | None = None, place: Place = in_place
) -> np.ndarray:
    """y of x (N, C, H, W)."""
    y = place(unwritten(conv.y_shape, conv.extra))
    packed = pack(conv, w, False, place)
    bias = None if b is None else place(b)
    x = place(image(x, conv.extra))
    _core.conv2d_forward(y, x, packed, bias, conv.w_shape, *conv.attributes)
    assert_untouched(y)
    return y


def input_gradient(
    conv: Conv, dy: np.ndarray, w: np.ndarray, b: np.ndarray | None = None, place: Place = in_place
) -> np.ndarray:
    """dx of dy (N, O, OH, OW); with b (C,), the transposed convolution of dy."""
    dx = place(unwritten(conv.x_shape, conv.extra))
    packed = pack(conv, w, True, place)
    bias = None if b is None else place(b)
    dy = place(image(dy, conv.extra))
    _core.conv2d_backward_input(dx, dy, packed, bias, conv.w_shape, *conv.attributes)
    assert_untouched(dx)
    return dx


def weight_gradient(
    conv: Conv, x: np.ndarray, dy: np.ndarray, place: Place = in_place
) -> np.ndarray:
    """dw of x (N, C, H, W) and dy (N, O, OH, OW)."""
    dw = place(np.full(conv.w_shape, np.nan, np.float32))
    x, dy = place(image(x, conv.extra)), place(image(dy, conv.extra))
    _core.conv2d_backward_weight(dw, x, dy, *conv.attributes)
    return dw


def assert_untouched(array: np.ndarray) -> None:
    """The floats between an image's channels and its pitch are still NaN."""
    if isinstance(array.base, np.ndarray):
        assert np.isnan(array.base[..., array.shape[1] :]).all()
