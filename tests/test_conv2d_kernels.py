"""The convolution primitives against the reference, on each instruction set and awkward size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import reference
from core_conv2d import (
    Conv,
    forward,
    image,
    input_gradient,
    pack,
    solve,
    solve_once,
    unwritten,
    weight_gradient,
)
from rounding import assert_rounded, uniform, whole

import cnnfast
from cnnfast import _core

# Around the lanes of each instruction set (4, 8, 16), its panels (8, 16, 32), a channel block (64)
# and a depth block or a task's columns (256).
CHANNELS = (1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 255, 256, 257)
POINT = {"k": (1, 1), "padding": (0, 0)}
STRIDES = ((1, 2), (2, 1), (2, 2), (3, 3), (4, 2), (5, 7))
DILATIONS = ((1, 2), (2, 2), (3, 1), (4, 6), (6, 4))

EXACT = [
    *(Conv(c=c) for c in CHANNELS),
    *(Conv(o=o) for o in CHANNELS),
    *(Conv(c=c, **POINT) for c in (*CHANNELS, 513)),
    *(Conv(o=o, **POINT) for o in CHANNELS),
    Conv(c=129, o=65), Conv(c=65, o=129, k=(2, 2)), Conv(c=257, o=33, n=1),
    # images: single pixels, lines, primes, wide strips; a task's pixels (336; 192 for dw)
    *(Conv(h=h, w=w) for h, w in ((1, 1), (1, 37), (37, 1), (2, 2), (7, 11), (13, 13), (41, 43))),
    *(Conv(h=h, w=w, c=2) for h, w in ((3, 224), (224, 3), (1, 335), (1, 336), (337, 1))),
    *(Conv(n=1, h=1, w=w, **POINT) for w in (191, 192, 193, 335, 336, 337, 673)),
    Conv(n=1, c=64, h=5, w=224), Conv(n=1, c=65, h=30, w=29, k=(5, 5), padding=(2, 2)),
    # first layers: short depths, lines around one, two and four tiles of 7 rows, tasks above 336
    *(Conv(n=1, c=c, h=5, w=w, o=o)
      for c, w, o in ((1, 6, 32), (2, 7, 33), (3, 8, 48), (4, 13, 64), (1, 15, 31), (3, 29, 65))),
    *(Conv(n=2, c=3, h=90, w=w, o=20, stride=(s, s)) for w, s in ((91, 1), (225, 2))),
    # one channel into few: lines around one, two and four vectors, down to twice the outputs
    *(Conv(n=1, c=1, h=5, w=w, o=o) for w, o in (
        (3, 1), (5, 2), (4, 2), (9, 4), (17, 8), (16, 7), (18, 9), (28, 6), (31, 3), (32, 5),
        (33, 6), (64, 8), (65, 1))),
    # batches: none, one, and small images that a tile takes side by side
    *(Conv(n=n) for n in (0, 1, 3, 17)), Conv(n=0, **POINT), Conv(n=0, stride=(2, 2)),
    *(Conv(n=n, h=1, w=1) for n in (1, 14, 15, 401)),
    # a single pixel: all panels at once, several passes, more weights than L2 holds
    *(Conv(n=1, c=c, o=o, h=1, w=1, **POINT)
      for c, o in ((1, 1), (3, 33), (40, 96), (300, 97), (513, 128), (70, 257), (600, 300))),
    Conv(n=337, h=2, w=2), Conv(n=64, h=3, w=2, c=65, o=33), Conv(n=40, h=4, w=4, stride=(2, 2)),
    # kernels, also without their padding, and larger than the image
    *(Conv(h=9, w=8, k=k, padding=(k[0] // 2, k[1] // 2))
      for k in ((1, 2), (2, 1), (2, 2), (3, 2), (4, 4), (5, 5), (1, 7), (7, 1), (7, 7))),
    *(Conv(h=9, w=8, k=k, padding=(0, 0)) for k in ((2, 2), (3, 3), (1, 7), (9, 8))),
    Conv(h=2, w=3, k=(5, 5), padding=(2, 2)), Conv(h=1, w=1, k=(7, 7), padding=(3, 3)),
    Conv(h=3, w=3, k=(5, 4), padding=(9, 8)), Conv(k=(1, 1), padding=(2, 3)),
    # strides: kernels that leave pixels out, phases without taps, images that do not divide
    *(Conv(h=11, w=13, stride=stride) for stride in STRIDES),
    *(Conv(h=11, w=13, stride=stride, **POINT) for stride in STRIDES),
    *(Conv(h=11, w=13, stride=stride, k=(2, 5), padding=(0, 3)) for stride in STRIDES),
    Conv(h=4, w=4, stride=(9, 9)), Conv(h=1, w=9, stride=(2, 3)), Conv(h=9, w=1, stride=(3, 2)),
    # dilation, alone and with common factors of the stride
    *(Conv(h=17, w=19, dilation=dilation, padding=(3, 2)) for dilation in DILATIONS),
    *(Conv(h=17, w=19, dilation=dilation, stride=stride, padding=(3, 4))
      for dilation in DILATIONS for stride in ((2, 2), (4, 3), (6, 4))),
    Conv(h=3, w=3, dilation=(5, 7), padding=(5, 7)), Conv(c=65, dilation=(2, 2), padding=(2, 2)),
    # groups, down to one channel each, with and without a multiplier
    *(Conv(c=c, o=o, groups=g) for c, o, g in (
        (4, 6, 2), (6, 6, 3), (10, 5, 5), (5, 5, 5), (5, 15, 5), (66, 34, 2), (34, 66, 2),
        (256, 256, 2), (260, 130, 2))),
    *(Conv(c=c, o=o, groups=g, **POINT) for c, o, g in ((4, 6, 2), (33, 66, 3), (512, 32, 2))),
    Conv(c=6, o=4, groups=2, h=9, w=8, stride=(2, 3), dilation=(2, 1)),
    # no channels at all
    Conv(o=0), Conv(c=0), Conv(o=0, **POINT), Conv(c=0, stride=(2, 2)), Conv(o=0, stride=(2, 2)),
]  # fmt: skip

# Depth of each sum: up to 25 * 257 products forward, thousands of pixels in the weight gradient.
ROUNDED = [
    Conv(n=3, c=257, h=9, w=9, o=40, k=(5, 5), padding=(2, 2)),
    Conv(n=2, c=512, h=7, w=7, o=70, **POINT),
    Conv(n=2, c=3, h=96, w=96, o=20, k=(7, 7), stride=(2, 2), padding=(3, 3)),
    Conv(n=16, c=24, h=20, w=20, o=48, groups=3),
    Conv(n=300, c=40, h=2, w=2, o=30),
]

# At least a megaflop each: several tasks, and more work than the gate of 20 us keeps on one thread.
THREADED = [
    Conv(n=1, c=3, h=90, w=91, o=33), Conv(n=3, c=1, h=224, w=112, o=40, stride=(2, 2)),
    Conv(n=2, c=17, h=24, w=25, o=33), Conv(n=1, c=64, h=14, w=14, o=300),
    Conv(n=2, c=96, h=20, w=20, o=70, **POINT), Conv(n=512, c=300, h=1, w=1, o=80, **POINT),
    Conv(n=3, c=12, h=40, w=40, o=36, stride=(2, 2), groups=3),
    Conv(n=64, c=32, h=4, w=4, o=48), Conv(n=1, c=40, h=3, w=224, o=40, dilation=(1, 3)),
]  # fmt: skip

GUARDED = [
    Conv(), Conv(c=17, o=33), Conv(c=64, o=32), Conv(c=9, o=7, **POINT), Conv(c=33, o=16, **POINT),
    Conv(n=20, h=2, w=2, c=15, o=31), Conv(h=1, w=1), Conv(h=9, w=8, padding=(0, 0)),
    Conv(h=9, w=8, stride=(2, 2)), Conv(h=9, w=8, stride=(3, 4), **POINT),
    Conv(c=6, o=10, groups=2), Conv(h=9, w=9, dilation=(2, 3), padding=(0, 1)),
    Conv(n=1, c=3, h=9, w=29, o=33), Conv(n=1, c=1, h=15, w=15, o=65, stride=(2, 2)),
    Conv(n=1, c=20, h=1, w=1, o=70, **POINT), Conv(n=1, c=7, h=1, w=1, o=15, **POINT),
    Conv(n=1, c=1, h=9, w=29, o=6, k=(5, 5), padding=(0, 0)), Conv(n=1, c=1, w=64, o=8, **POINT),
    Conv(c=65, h=6, w=7, o=5, padding=(0, 0)), Conv(k=(5, 5), padding=(2, 2), c=1, o=1),
]  # fmt: skip


@pytest.mark.parametrize("extra", [0, 3])
@pytest.mark.parametrize("conv", EXACT, ids=str)
def test_whole_numbers_are_exact(isa: str, conv: Conv, extra: int) -> None:
    wanted, conv = solve_once(conv), replace(conv, extra=extra)
    np.testing.assert_array_equal(forward(conv, wanted.x, wanted.w, wanted.b), wanted.y)
    np.testing.assert_array_equal(input_gradient(conv, wanted.dy, wanted.w), wanted.dx)
    np.testing.assert_array_equal(weight_gradient(conv, wanted.x, wanted.dy), wanted.dw)


@pytest.mark.parametrize("conv", ROUNDED, ids=str)
def test_fractions_are_within_rounding(isa: str, conv: Conv) -> None:
    exact = solve(conv, uniform)
    bounds = solve(conv, lambda *shape, seed=0: np.abs(uniform(*shape, seed=seed)))
    taps, (n, _, oh, ow) = conv.k[0] * conv.k[1], conv.y_shape
    depth = taps * conv.c // conv.groups + 1
    assert_rounded(forward(conv, exact.x, exact.w, exact.b), exact.y, bounds.y, depth)
    dx, dw = input_gradient(conv, exact.dy, exact.w), weight_gradient(conv, exact.x, exact.dy)
    assert_rounded(dx, exact.dx, bounds.dx, taps * conv.o // conv.groups)
    assert_rounded(dw, exact.dw, bounds.dw, n * oh * ow)


@pytest.mark.parametrize("conv", THREADED, ids=str)
def test_same_bits_on_any_number_of_threads(
    isa: str, same_bits: Callable[..., np.ndarray], conv: Conv
) -> None:
    x, w, dy = uniform(*conv.x_shape), uniform(*conv.w_shape), uniform(*conv.y_shape)
    assert np.isfinite(same_bits(lambda: forward(conv, x, w))).all()
    assert np.isfinite(same_bits(lambda: input_gradient(conv, dy, w))).all()
    assert np.isfinite(same_bits(lambda: weight_gradient(conv, x, dy))).all()


def test_packing_gives_the_same_bits_on_any_number_of_threads(
    isa: str, same_bits: Callable[..., np.ndarray]
) -> None:
    conv = Conv(c=300, o=70, stride=(2, 1))
    w = uniform(*conv.w_shape)
    assert np.isfinite(same_bits(lambda: pack(conv, w, False))).all()
    assert np.isfinite(same_bits(lambda: pack(conv, w, True))).all()


@pytest.mark.parametrize("before", [False, True], ids=["after", "before"])
@pytest.mark.parametrize("extra", [0, 3])
@pytest.mark.parametrize("conv", GUARDED, ids=str)
def test_nothing_is_touched_outside_of_the_operands(
    isa: str, guarded: Callable[..., np.ndarray], conv: Conv, extra: int, before: bool
) -> None:
    def place(array: np.ndarray) -> np.ndarray:
        return guarded(array, before=before)

    wanted, conv = solve_once(conv), replace(conv, extra=extra)
    y = forward(conv, wanted.x, wanted.w, wanted.b, place)
    np.testing.assert_array_equal(y, wanted.y)
    np.testing.assert_array_equal(input_gradient(conv, wanted.dy, wanted.w, None, place), wanted.dx)
    np.testing.assert_array_equal(weight_gradient(conv, wanted.x, wanted.dy, place), wanted.dw)


@pytest.mark.parametrize("conv", [Conv(c=40, h=9, w=8), Conv(n=30, h=2, w=2, c=20, stride=(2, 2))])
def test_scratch_is_written_before_it_is_read(isa: str, conv: Conv) -> None:
    wanted = solve(conv)
    spoilt = [
        _core.empty((2**octave * quarter,)) for octave in range(2, 17) for quarter in (4, 5, 6, 7)
    ]
    for block in spoilt:
        block.fill(np.nan)
    del spoilt, block  # the pool gives them out again, as scratch
    np.testing.assert_array_equal(forward(conv, wanted.x, wanted.w, wanted.b), wanted.y)
    np.testing.assert_array_equal(input_gradient(conv, wanted.dy, wanted.w), wanted.dx)
    np.testing.assert_array_equal(weight_gradient(conv, wanted.x, wanted.dy), wanted.dw)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("conv", [
    Conv(c=5, o=18), Conv(c=17, o=5, padding=(0, 0)), Conv(h=9, w=8, stride=(2, 3), o=33),
    Conv(n=20, h=2, w=2), Conv(c=6, o=6, groups=2, dilation=(2, 1)), Conv(c=4, o=9, **POINT),
], ids=str)  # fmt: skip
def test_not_a_number_and_infinity_go_where_they_do_in_the_reference(
    isa: str, conv: Conv, value: float
) -> None:
    x, w, dy = whole(*conv.x_shape), whole(*conv.w_shape, seed=1), whole(*conv.y_shape, seed=2)
    x[-1, 0, 0, 1], x[0, -1, -1, 0] = value, 1e30
    dy[0, -1, -1, -1] = value
    with np.errstate(invalid="ignore"):
        y = reference.conv2d(x, w, **conv.options)
        dx, dw, _ = reference.conv2d_backward(dy, x, w, **conv.options)
    np.testing.assert_allclose(forward(conv, x, w), y, rtol=1e-6)
    np.testing.assert_allclose(input_gradient(conv, dy, w), dx, rtol=1e-6)
    np.testing.assert_allclose(weight_gradient(conv, x, dy), dw, rtol=1e-6)


@pytest.mark.parametrize("threads", [1, 2])
def test_denormals_count_as_zero_inside_and_live_on_outside(isa: str, threads: int) -> None:
    cnnfast.set_num_threads(threads)
    conv = Conv(n=2, c=16, h=32, w=32, o=32)

    def full(shape: tuple[int, ...], value: float) -> np.ndarray:
        return np.full(shape, value, np.float32)

    x, dy = full(conv.x_shape, 1e-39), full(conv.y_shape, 1e-39)
    w = full(conv.w_shape, 1e30)
    assert not forward(conv, x, w).any()
    assert not input_gradient(conv, dy, w).any()
    assert not weight_gradient(conv, full(conv.x_shape, 1e30), dy).any()
    one = Conv(n=2, c=1, h=32, w=32, o=32, **POINT)  # results that would be denormal
    assert not forward(one, full(one.x_shape, 1e-20), full(one.w_shape, 1e-20)).any()
    assert (x * np.float32(0.5) > 0).all()


REFUSED = {
    "stride": lambda stride: (0, 1),
    "padding": lambda padding: (-1, 0),
    "dilation": lambda dilation: (1, 0),
    "groups": lambda groups: 3,
    "packed": lambda packed: packed[1:],
    "bias": lambda bias: bias[1:],
    "weight": lambda weight: (4, 3, 0, 3),
}
REFUSED_IMAGES = {
    "fewer channels": lambda image: image[:, 1:],
    "fewer images": lambda image: image[1:],
    "channels first": lambda image: image.copy("C"),
    "every third pixel": lambda image: image[..., ::3],
    "backwards": lambda image: image[..., ::-1],
    "double": lambda image: image.astype(np.float64),
    "other byte order": lambda image: image.astype(">f4"),
    "three axes": lambda image: image[0],
    "None": lambda image: None,
}
TOO_LARGE = {
    "stride": (2**61, 2**61), "padding": (2**62, 0), "dilation": (2**62, 1),
    "weight": (2**40, 2**40, 1, 1),
}  # fmt: skip


def call(change: dict[str, Callable[[Any], Any]]) -> None:
    """conv2d_forward with one of its arguments replaced."""
    conv = Conv()
    arguments: dict[str, Any] = {
        "y": unwritten(conv.y_shape), "x": image(whole(*conv.x_shape)),
        "packed": pack(conv, whole(*conv.w_shape), False), "bias": whole(4), "weight": conv.w_shape,
        **conv.options,
    }  # fmt: skip
    for name, replacement in change.items():
        arguments[name] = replacement(arguments[name])
    _core.conv2d_forward(*arguments.values())


@pytest.mark.parametrize("name", REFUSED)
def test_the_binding_refuses_what_c_would_trust(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        call({name: REFUSED[name]})


@pytest.mark.parametrize("kind", REFUSED_IMAGES)
@pytest.mark.parametrize("name", ["x", "y"])
def test_the_binding_refuses_images_that_it_cannot_read(name: str, kind: str) -> None:
    with pytest.raises((ValueError, TypeError), match="expected"):
        call({name: REFUSED_IMAGES[kind]})


def test_the_binding_refuses_to_write_to_what_is_read_only() -> None:
    def frozen(y: np.ndarray) -> np.ndarray:
        y.setflags(write=False)
        return y

    with pytest.raises(ValueError, match="read-only"):
        call({"y": frozen})


@pytest.mark.parametrize("name", TOO_LARGE)
def test_the_binding_refuses_sizes_that_would_overflow(name: str) -> None:
    with pytest.raises(ValueError, match="too large"):
        call({name: lambda given: TOO_LARGE[name]})
