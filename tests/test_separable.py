"""Depthwise convolutions with the 1x1 convolutions around them, against the reference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import reference
from core_conv2d import Conv, Place, assert_untouched, image, in_place, pack, unwritten
from rounding import uniform, whole

import cnnfast
from cnnfast import Tensor, _core
from cnnfast.functional.convolution import fused_conv2d
from cnnfast.functional.separable import Layer, separable_conv2d

POINT: dict[str, Any] = {"k": (1, 1), "padding": (0, 0)}
Case = tuple[int | None, Conv, int | None]
"""Channels of x where they are expanded, the depthwise convolution, channels of a projected y."""
CASES: list[Case] = [
    (3, Conv(n=1, c=96, o=96, groups=96, h=20, w=23, stride=(2, 2)), 24),
    (5, Conv(c=70, o=70, groups=70, h=14, w=14), 33),
    (3, Conv(n=1, c=33, o=33, groups=33, h=9, w=8, k=(5, 5), padding=(2, 2), extra=3), 7),
    (8, Conv(n=3, c=40, o=40, groups=40, h=7, w=7, k=(5, 5), padding=(2, 2), stride=(2, 2)), 70),
    (300, Conv(n=1, c=20, o=20, groups=20, h=12, w=12, padding=(3, 3), dilation=(3, 3)), 8),
    (2, Conv(n=1, c=20, o=20, groups=20, h=40, w=3, k=(5, 1), padding=(3, 0), stride=(2, 1)), 3),
    (2, Conv(n=1, c=6, o=6, groups=6, h=3, w=4, padding=(6, 5)), 3),  # rows of padding alone
    (4, Conv(n=1, c=300, o=300, groups=300, h=6, w=60), 5),  # deeper than a pass
    (4, Conv(n=1, c=250, o=250, groups=250, h=80, w=30), 5),  # strips
    (7, Conv(c=40, o=40, groups=40, h=9, w=12), None),
    (4, Conv(n=1, c=40, o=40, groups=40, h=90, w=180, stride=(2, 1)), None),  # strips
    (None, Conv(n=3, c=40, o=40, groups=40, h=9, w=12, stride=(1, 2), extra=5), 34),
    (None, Conv(n=1, c=17, o=17, groups=17, h=6, w=5, k=(2, 4), padding=(0, 1)), 3),
    (None, Conv(n=0, c=8, o=8, groups=8), 3),
]


def convolutions(case: Case) -> list[Conv | None]:
    """The three of a case."""
    ci, conv, co = case
    n, c, oh, ow = conv.y_shape
    before = Conv(n=n, c=ci or 0, h=conv.h, w=conv.w, o=c, extra=conv.extra, **POINT)
    after = Conv(n=n, c=c, h=oh, w=ow, o=co or 0, extra=conv.extra, **POINT)
    return [None if ci is None else before, conv, None if co is None else after]


def fused(case: Case, numbers: Callable[..., np.ndarray], place: Place = in_place) -> np.ndarray:
    """Clamp after the first, ReLU after the second, ReLU with a residual after the last."""
    convs = convolutions(case)
    first, last = convs[0] or case[1], convs[2] or case[1]
    activations = (("clamp", -1, 4), ("relu", 0, 0), ("relu", 0, 0))
    layers: list[tuple[Any, ...] | None] = []
    for seed, (conv, activation) in enumerate(zip(convs, activations, strict=True)):
        if conv is None:
            layers.append(None)
            continue
        w = numbers(*conv.w_shape, seed=seed)
        packed = place(w) if conv.groups > 1 else pack(conv, w, False, place)
        layers.append((packed, place(numbers(conv.o, seed=seed + 3)), *activation))
    y = place(unwritten(last.y_shape, last.extra))
    residual = None
    if convs[2] is not None:
        residual = place(image(numbers(*last.y_shape, seed=8), last.extra))
    x = place(image(numbers(*first.x_shape, seed=7), first.extra))
    _core.separable_forward(y, x, *layers, *case[1].attributes[:3], residual)
    assert_untouched(y)
    return y


@pytest.mark.parametrize("case", CASES, ids=str)
def test_values(case: Case, isa: str) -> None:
    first, conv, last = convolutions(case)
    x = whole(*(first or conv).x_shape, seed=7)
    for seed, layer in enumerate((first, conv, last)):
        if layer is None:
            continue
        x = reference.conv2d(x, whole(*layer.w_shape, seed=seed), **layer.options)
        x = x + whole(layer.o, seed=seed + 3)[:, None, None]
        if layer is last:
            x = x + whole(*layer.y_shape, seed=8)
        x = np.clip(x, *((-1, 4) if layer is first else (0, np.inf)))
    np.testing.assert_array_equal(fused(case, whole), x)


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("before", [True, False])
def test_nothing_outside_is_touched(
    case: Case, before: bool, isa: str, guarded: Callable[..., np.ndarray]
) -> None:
    fused(case, uniform, lambda array: guarded(array, before=before))


@pytest.mark.parametrize("case", CASES[:-1], ids=str)
def test_the_bits_do_not_depend_on_the_threads(
    case: Case, isa: str, same_bits: Callable[..., object]
) -> None:
    same_bits(lambda: fused(case, uniform))


Sizes = tuple[int, int | None, int, int | None, int]


def layers_of(sizes: Sizes) -> tuple[Tensor, Layer | None, Layer, Layer | None]:
    n, ci, c, co, size = sizes
    x = Tensor(uniform(n, ci or c, size, size))
    before = None if ci is None else Layer(Tensor(uniform(c, ci, 1, 1)), None, "silu")
    after = None if co is None else Layer(Tensor(uniform(co, c, 1, 1)), Tensor(uniform(co)), "relu")
    return x, before, Layer(Tensor(uniform(c, 1, 3, 3)), Tensor(uniform(c)), "hardswish"), after


def one_by_one(
    x: Tensor, before: Layer | None, depthwise: Layer, after: Layer | None, residual: Tensor | None
) -> np.ndarray:
    if before is not None:
        x = fused_conv2d(x, before.weight, activation=before.activation)
    c = depthwise.weight.shape[0]
    x = fused_conv2d(x, depthwise.weight, depthwise.bias, 1, 1, 1, c,
                     activation=depthwise.activation)
    if after is not None:
        x = fused_conv2d(x, after.weight, after.bias, residual=residual, activation="relu")
    return x.numpy()


@pytest.mark.parametrize(
    ("sizes", "joined"),
    [
        ((1, 16, 96, 24, 56), ["separable_forward"]),
        ((1, 64, 384, 64, 14), ["separable_forward"]),
        ((1, 160, 960, 160, 7), ["separable_forward", "conv2d_forward"]),  # 7 rows: 4 and 3
        ((16, 160, 960, 160, 7), ["separable_forward"]),
        ((1, None, 64, 128, 7), ["depthwise_forward", "conv2d_forward"]),
        ((2, None, 64, 128, 7), ["separable_forward"]),
        ((1, None, 64, 8, 104), ["depthwise_forward", "conv2d_forward"]),  # 5.5 MB
        ((1, 32, 64, None, 7), ["separable_forward"]),
    ],
)
def test_convolutions_are_joined_where_threads_share_them_evenly(
    sizes: Sizes, joined: list[str]
) -> None:
    x, *layers = layers_of(sizes)
    residual = None if sizes[3] is None else Tensor(uniform(sizes[0], sizes[3], sizes[4], sizes[4]))
    wanted = one_by_one(x, *layers, residual)
    with _core.Recording() as recording:
        result = separable_conv2d(x, *layers, padding=1, residual=residual)
    names = [call[1] for call in recording.calls if call[1].endswith("forward")]
    assert [name for name in names if "pack" not in name] == joined
    np.testing.assert_array_equal(result.numpy(), wanted)  # bit by bit


def test_the_choice_does_not_depend_on_the_threads() -> None:
    x, *layers = layers_of((1, 8, 32, 8, 14))
    calls = []
    for threads in (1, 2, 9):
        cnnfast.set_num_threads(threads)
        with _core.Recording() as recording:
            separable_conv2d(x, *layers, padding=1)
        calls.append([call[1] for call in recording.calls])
    assert calls[0] == calls[1] == calls[2]


def test_a_residual_is_broadcast() -> None:
    x, *layers = layers_of((2, 3, 8, 4, 6))
    row = Tensor(uniform(1, 4, 1, 1))
    whole_row = Tensor(np.broadcast_to(row.numpy(), (2, 4, 6, 6)).copy())
    result = separable_conv2d(x, *layers, padding=1, residual=row)
    np.testing.assert_allclose(result.numpy(), one_by_one(x, *layers, whole_row), atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": image(uniform(2, 400, 4, 4))}, "project: expected"),
        ({"x": image(uniform(1, 3, 4, 4))}, "keeps the batch"),
        ({"expand": None}, "keeps the batch"),
        ({"project": None}, "keeps the batch"),
        ({"depthwise": (uniform(8, 1, 3), None, "relu", 0, 0)}, r"expected shape \(8, 1, kh, kw\)"),
        ({"depthwise": (uniform(8, 1, 3, 3), uniform(7), "relu", 0, 0)}, "bias of weight"),
        ({"residual": image(uniform(2, 4, 4, 3))}, "residual: expected"),
        ({"project": None, "y": image(uniform(2, 8, 4, 4)), "residual": image(uniform(2, 8, 4, 4))},
         "there is none"),
    ],
)  # fmt: skip
def test_operands_that_do_not_fit_are_named(change: dict[str, Any], message: str) -> None:
    point = Conv(c=3, o=8, **POINT), Conv(c=8, o=4, **POINT)
    before, after = (
        (pack(conv, uniform(*conv.w_shape), False), None, "relu", 0, 0) for conv in point)
    given = {
        "y": image(uniform(2, 4, 4, 4)), "x": image(uniform(2, 3, 4, 4)), "expand": before,
        "depthwise": (uniform(8, 1, 3, 3), None, "relu", 0, 0), "project": after,
        "stride": (1, 1), "padding": (1, 1), "dilation": (1, 1),
    }  # fmt: skip
    with pytest.raises(ValueError, match=message):
        _core.separable_forward(**{**given, **change})
