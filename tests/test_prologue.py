"""Convolutions of an image that is scaled on its way in, against the reference; every ISA."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import reference
from core_conv2d import Conv, Place, assert_untouched, image, in_place, pack, unwritten
from rounding import uniform, whole

from cnnfast import Tensor, _core
from cnnfast.functional.convolution import scaled_conv2d

POINT = {"k": (1, 1), "padding": (0, 0)}
CONVS = [
    Conv(n=3, c=17, h=6, w=5, o=33, **POINT), Conv(c=257, o=40, h=7, w=7, extra=3, **POINT),
    Conv(n=9, c=5, h=1, w=2, o=7, **POINT), Conv(c=6, h=9, w=8, o=10, groups=2),
    Conv(c=40, h=8, w=9, o=300, stride=(2, 2), **POINT), Conv(h=7, w=8, stride=(2, 1), o=35),
    Conv(n=0, **POINT), Conv(c=0, **POINT), Conv(n=2, c=30, h=40, w=41, o=20, **POINT),
]  # fmt: skip


def scaled(
    conv: Conv, x: np.ndarray, scale: np.ndarray, shift: np.ndarray | None, w: np.ndarray,
    residual: np.ndarray | None = None, place: Place = in_place,
) -> np.ndarray:
    """relu(convolution of the scaled x, bounded from below by -1, + residual)."""
    y, packed = place(unwritten(conv.y_shape, conv.extra)), pack(conv, w, False, place)
    _core.conv2d_scaled_forward(
        y, place(image(x, conv.extra)), place(image(scale)),
        shift if shift is None else place(shift),
        -1, np.inf, packed, None, w.shape, *conv.attributes, residual, "relu",
    )
    assert_untouched(y)
    return y


@pytest.mark.parametrize("images", ["each", "all"])
@pytest.mark.parametrize("shifted", [True, False])
@pytest.mark.parametrize("conv", CONVS, ids=str)
def test_values(conv: Conv, shifted: bool, images: str, isa: str) -> None:
    x, w = whole(*conv.x_shape), whole(*conv.w_shape, seed=1)
    residual = whole(*conv.y_shape, seed=4)
    scale = whole(1 if images == "all" else conv.n, conv.c, 1, 1, seed=2)
    shift = whole(conv.c, seed=3) if shifted else None
    inside = np.maximum(x * scale + (0 if shift is None else shift[:, None, None]), -1)
    wanted = np.maximum(reference.conv2d(inside, w, **conv.options) + residual, 0)
    np.testing.assert_array_equal(scaled(conv, x, scale, shift, w, image(residual)), wanted)


@pytest.mark.parametrize("conv", CONVS[:5], ids=str)
@pytest.mark.parametrize("before", [True, False])
def test_nothing_outside_is_touched(
    conv: Conv, before: bool, isa: str, guarded: Callable[..., np.ndarray]
) -> None:
    def place(array: np.ndarray) -> np.ndarray:
        return guarded(array, before=before)

    x, w = uniform(*conv.x_shape), uniform(*conv.w_shape)
    scaled(conv, x, uniform(conv.n, conv.c, 1, 1), uniform(conv.c), w, place=place)


def test_the_bits_do_not_depend_on_the_threads(isa: str, same_bits: Callable[..., object]) -> None:
    conv = CONVS[-1]
    x, w, scale = uniform(*conv.x_shape), uniform(*conv.w_shape), uniform(conv.n, conv.c, 1, 1)
    same_bits(lambda: scaled(conv, x, scale, uniform(conv.c), w))


def test_the_residual_may_be_the_result() -> None:
    conv = CONVS[1]
    x, w, y = whole(*conv.x_shape), whole(*conv.w_shape), whole(*conv.y_shape)
    scale, result = whole(1, conv.c, 1, 1), image(y)
    _core.conv2d_scaled_forward(result, image(x), image(scale), None, -np.inf, np.inf,
                                pack(conv, w, False), None, w.shape, *conv.attributes, result)
    np.testing.assert_array_equal(result, reference.conv2d(x * scale, w, **conv.options) + y)


@pytest.mark.parametrize("shape", [(1, 4, 1, 1), (3, 3, 1, 1), (2, 3, 2, 1)])
def test_a_scale_that_does_not_fit_is_named(shape: tuple[int, ...]) -> None:
    x, w = Tensor(uniform(2, 3, 4, 4)), Tensor(uniform(5, 3, 1, 1))
    with pytest.raises(ValueError, match=r"scale: expected shape \(1 or 2, 3, 1, 1\)"):
        scaled_conv2d(x, Tensor(uniform(*shape)), None, w)
