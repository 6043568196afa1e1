"""What follows a convolution inside its kernel: residual, activation, channel sums; every ISA."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import reference
from core_conv2d import Conv, image, pack, unwritten
from rounding import uniform, whole

from cnnfast import Tensor, _core
from cnnfast import functional as F
from cnnfast.functional.convolution import fused_conv2d

EPSILON = float(np.finfo(np.float32).eps)
POINT = {"k": (1, 1), "padding": (0, 0)}

# Around the panels of 8, 16 and 32 columns, several passes over the depth, tiles across images,
# strips that end in the middle of a tile, groups, no images and no channels.
CONVS = [
    Conv(), Conv(o=33, h=9, w=8), Conv(c=17, o=7, h=6, w=15), Conv(c=257, o=40, n=1, **POINT),
    Conv(c=130, o=65, h=7, w=7), Conv(n=20, h=2, w=2, o=17), Conv(n=3, c=5, o=31, h=1, w=1),
    Conv(c=9, o=34, h=7, w=6, stride=(2, 2), k=(5, 4), padding=(2, 1)), Conv(o=300, c=2, **POINT),
    Conv(c=6, o=10, groups=2, h=7, w=9), Conv(h=11, w=13, dilation=(2, 3), padding=(2, 3)),
    Conv(n=0), Conv(o=0), Conv(c=0), Conv(n=1, c=4, o=16, h=40, w=41),
    *(Conv(n=1, c=c, o=o, h=1, w=1, **POINT) for c, o in ((5, 3), (300, 33), (40, 200), (9, 129))),
    Conv(n=700, h=1, w=1, **POINT), Conv(c=1, o=2, h=6, w=21), Conv(c=1, o=6, h=3, w=35),
]  # fmt: skip
WINOGRAD = [conv for conv in CONVS if conv.k == (3, 3) and conv.groups == conv.dilation[0] == 1]
DEPTHWISE = [
    Conv(c=c, o=c, groups=c, h=h, w=w, **options)
    for c, h, w, options in (
        (2, 5, 4, {}), (35, 7, 9, {"k": (5, 5), "padding": (2, 2)}),
        (96, 30, 31, {"stride": (2, 2)}),
        (17, 12, 13, {"dilation": (2, 3)}), (8, 4, 4, {"n": 0}), (600, 3, 7, {}),
    )
]  # fmt: skip
CASES = [
    *((conv, "direct") for conv in CONVS), *((conv, "winograd") for conv in WINOGRAD),
    *((conv, "depthwise") for conv in DEPTHWISE),
]  # fmt: skip
THREADED = [
    (Conv(n=2, c=17, h=24, w=25, o=70), "direct"), (Conv(n=2, c=64, h=30, w=20, o=300), "winograd"),
    (Conv(n=3, c=300, h=20, w=20, o=80, **POINT), "direct"),
    (Conv(n=128, c=64, h=2, w=2, o=48), "direct"),
    (Conv(n=1, c=3, h=90, w=91, o=33), "direct"),
    (Conv(n=2, c=96, o=96, groups=96, h=30, w=31), "depthwise"),
]  # fmt: skip

ACTIVATIONS: dict[str, tuple[tuple[float, float], Callable[..., np.ndarray]]] = {
    "identity": ((0, 0), lambda x: x),
    "relu": ((0, 0), reference.relu),
    "clamp": ((-2, 3), lambda x: np.clip(x, -2, 3)),
    "hardtanh": ((0, 6), lambda x: np.clip(x, 0, 6)),
    "leaky_relu": ((0.1, 0), lambda x: reference.leaky_relu(x, 0.1)),
    "elu": ((1, 1), reference.elu),
    "silu": ((0, 0), reference.silu),
    "gelu": ((0, 0), reference.gelu),
    "hardswish": ((0, 0), reference.hardswish),
    "hardswish_affine": ((1.5, -0.5), lambda x: 1.5 * reference.hardswish(x) - 0.5),
    "hardsigmoid": ((0, 0), reference.hardsigmoid),
    "sigmoid": ((0, 0), reference.sigmoid),
    "tanh": ((0, 0), np.tanh),
}


def run(
    conv: Conv, x: np.ndarray, w: np.ndarray, algorithm: str, y: np.ndarray, **epilogue: Any
) -> np.ndarray:
    """conv2d_forward of one algorithm, or depthwise_forward, into y."""
    if algorithm == "depthwise":
        bias = epilogue.pop("bias", None)
        _core.depthwise_forward(y, x, w, bias, *conv.attributes[:3], **epilogue)
        return y
    size = _core.conv2d_packed_size(w.shape, *conv.attributes, False, algorithm)
    packed = np.full(size, np.nan, np.float32)
    _core.conv2d_pack(packed, w, *conv.attributes, False, algorithm)
    bias = epilogue.pop("bias", None)
    _core.conv2d_forward(y, x, packed, bias, w.shape, *conv.attributes, algorithm, **epilogue)
    return y


def expect(conv: Conv, x: Any, w: Any, bias: Any = None, residual: Any = 0) -> np.ndarray:
    """Convolution, bias and residual in float64."""
    return reference.conv2d(x, w, bias, **conv.options) + np.asarray(residual, np.float64)


def assert_close(mine: np.ndarray, exact: np.ndarray, size: np.ndarray) -> None:
    """Within rounding: a Winograd tile spreads the error of its largest sum, hence the maximum."""
    np.testing.assert_allclose(mine, exact, rtol=0, atol=60 * EPSILON * np.max(size, initial=1))


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("conv", "algorithm"), CASES, ids=str)
def test_residual_then_activation(isa: str, conv: Conv, algorithm: str, activation: str) -> None:
    x, w, bias = uniform(*conv.x_shape), uniform(*conv.w_shape, seed=1), uniform(conv.o, seed=2)
    residual = uniform(*conv.y_shape, seed=3)
    (alpha, beta), function = ACTIVATIONS[activation]
    y = unwritten(conv.y_shape, 3)
    options = {"activation": activation, "alpha": alpha, "beta": beta, "bias": bias}
    run(conv, image(x, 1), w, algorithm, y, residual=image(residual, 5), **options)
    size = expect(conv, abs(x), abs(w), abs(bias), abs(residual))
    assert_close(y, function(expect(conv, x, w, bias, residual)), size)
    assert np.isnan(y.base[..., conv.o :]).all()  # between the pixels nothing was written


@pytest.mark.parametrize("activation", ["identity", "relu", "hardswish"])
@pytest.mark.parametrize(
    ("conv", "algorithm"), [case for case in CASES if case[1] != "depthwise"], ids=str
)
def test_a_residual_may_be_the_result(
    isa: str, conv: Conv, algorithm: str, activation: str
) -> None:
    x, w, bias = whole(*conv.x_shape), whole(*conv.w_shape, seed=1), whole(conv.o, seed=2)
    residual = whole(*conv.y_shape, seed=3)
    for b in (bias, None):
        y = image(residual, 3)
        run(conv, image(x), w, algorithm, y, residual=y, activation=activation, bias=b)
        wanted = ACTIVATIONS[activation][1](expect(conv, x, w, b, residual))
        assert_close(y, wanted, expect(conv, abs(x), abs(w), abs(bias), abs(residual)))


@pytest.mark.parametrize("mean", [0.0, 1000.0])
@pytest.mark.parametrize(("conv", "algorithm"), CASES, ids=str)
def test_sums_are_those_of_what_was_written(
    isa: str, conv: Conv, algorithm: str, mean: float
) -> None:
    x, w, bias = uniform(*conv.x_shape), uniform(*conv.w_shape, seed=1), uniform(conv.o, seed=2)
    y, sums = unwritten(conv.y_shape, 3), np.full((2, conv.o), np.nan)
    bias += np.float32(mean)
    run(conv, image(x), w, algorithm, y, activation="relu", bias=bias, sums=sums)
    exact, count = y.astype(np.float64), y.size // max(conv.o, 1)
    wanted = exact.sum((0, 2, 3))
    if count == 0:
        assert not sums.any()
        return
    # A few hundred pixels are summed in float about a shift near their mean, the rest in double.
    spread = abs(exact - wanted[:, None, None] / count).sum((0, 2, 3))
    assert (abs(sums[0] - wanted) <= 1e-5 * spread + 1e-12 * abs(wanted)).all()
    # What batch norm makes of them: a mean far from zero costs nothing.
    variance = sums[1] / count - (sums[0] / count) ** 2
    np.testing.assert_allclose(variance, exact.var((0, 2, 3)), rtol=2e-5, atol=1e-8)


@pytest.mark.parametrize(("conv", "algorithm"), THREADED, ids=str)
def test_same_bits_on_any_number_of_threads(
    isa: str, same_bits: Callable[..., np.ndarray], conv: Conv, algorithm: str
) -> None:
    x, w = image(uniform(*conv.x_shape)), uniform(*conv.w_shape)
    residual = image(uniform(*conv.y_shape))

    def compute(which: int) -> np.ndarray:
        y, sums = unwritten(conv.y_shape), np.empty((2, conv.o))
        run(conv, x, w, algorithm, y, residual=residual, activation="silu", sums=sums)
        return (y, sums)[which]

    for which in (0, 1):
        assert np.isfinite(same_bits(lambda which=which: compute(which))).all()


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize(
    ("conv", "algorithm"),
    [(Conv(n=1, c=2, o=64, h=363, w=371, **POINT), "direct"),
     (Conv(n=2, c=2, o=48, h=303, w=301), "winograd")],
    ids=str,
)  # fmt: skip
def test_a_result_larger_than_the_caches_has_the_same_bits(
    isa: str, conv: Conv, algorithm: str, residual: bool
) -> None:
    x, w = image(uniform(*conv.x_shape)), uniform(*conv.w_shape)
    # Whole cache lines go past the caches; pixels that share a line do not.
    lines, apart = _core.empty_image(*conv.y_shape), unwritten(conv.y_shape, 1)
    assert lines.strides[3] % 64 == 0 and lines.nbytes > 2**25
    added = image(uniform(*conv.y_shape)) if residual else None
    for y in (lines, apart):
        run(conv, x, w, algorithm, y, activation="relu", residual=added)
    np.testing.assert_array_equal(lines, apart)


@pytest.mark.parametrize("activation", ["relu", "clamp", "silu"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("algorithm", ["direct", "winograd", "depthwise"])
def test_special_values_pass_as_through_the_activation_alone(
    isa: str, algorithm: str, value: float, activation: str
) -> None:
    conv = Conv(c=17, o=17, groups=17 if algorithm == "depthwise" else 1)
    x, w, residual = uniform(*conv.x_shape), uniform(*conv.w_shape), uniform(*conv.y_shape)
    residual[0, :, 1, 2] = value
    plain = run(conv, image(x), w, algorithm, unwritten(conv.y_shape), residual=image(residual))
    wanted = np.empty_like(plain)
    _core.unary(activation, wanted, plain, 0, 1)
    y = unwritten(conv.y_shape)
    run(conv, image(x), w, algorithm, y, residual=image(residual), activation=activation, beta=1)
    np.testing.assert_array_equal(y, wanted)
    assert np.isnan(y[0, :, 1, 2]).all() == np.isnan(wanted[0, 0, 1, 2])


@pytest.mark.parametrize("before", [False, True], ids=["after", "before"])
@pytest.mark.parametrize(
    ("conv", "algorithm"),
    [(Conv(c=17, o=33, h=5, w=6), "direct"), (Conv(c=17, o=33, h=5, w=6), "winograd"),
     (Conv(n=20, h=2, w=2, c=5, o=7), "direct"), (Conv(c=9, o=7, **POINT), "direct"),
     (Conv(c=35, o=35, groups=35), "depthwise")],
    ids=str,
)  # fmt: skip
def test_nothing_is_touched_outside_of_the_operands(
    isa: str, guarded: Callable[..., np.ndarray], conv: Conv, algorithm: str, before: bool
) -> None:
    x, w, residual = whole(*conv.x_shape), whole(*conv.w_shape), whole(*conv.y_shape)
    bias = whole(conv.o)
    for activation in ("relu", "silu"):
        y = guarded(unwritten(conv.y_shape, 3), before)
        run(
            conv, guarded(image(x, 3), before), w, algorithm, y, bias=guarded(bias, before),
            residual=guarded(image(residual, 3), before), activation=activation,
            sums=guarded(np.empty((2, conv.o)), before),
        )  # fmt: skip
        wanted = ACTIVATIONS[activation][1](expect(conv, x, w, bias, residual))
        np.testing.assert_allclose(y, wanted, rtol=1e-5, atol=1e-3)


def slices(conv: Conv) -> tuple[np.ndarray, np.ndarray]:
    """Two images of y's shape, side by side in the pixels of one buffer."""
    both = image(np.zeros((conv.n, 2 * conv.o, *conv.y_shape[2:]), np.float32))
    return both[:, : conv.o], both[:, conv.o :]


def test_channel_slices_of_one_buffer_do_not_overlap(isa: str) -> None:
    conv = Conv()
    x, w, residual = whole(*conv.x_shape), whole(*conv.w_shape), whole(*conv.y_shape)
    for order in (1, -1):
        y, other = slices(conv)[::order]
        other[...] = residual
        run(conv, image(x), w, "direct", y, residual=other)
        np.testing.assert_array_equal(y, expect(conv, x, w, residual=residual))


def test_the_binding_refuses_what_c_would_trust() -> None:
    conv = Conv()
    w = whole(*conv.w_shape)
    packed, x = pack(conv, w, False), image(whole(*conv.x_shape))
    room = np.zeros((4, *conv.y_shape[2:], 7), np.float32)
    y = room[:2, ..., :4].transpose(0, 3, 1, 2)
    good = image(whole(*conv.y_shape))

    def call(message: str, error: type[Exception] = ValueError, x: Any = x, **change: Any) -> None:
        with pytest.raises(error, match=message):
            _core.conv2d_forward(y, x, packed, None, w.shape, *conv.attributes, **change)

    call("residual: expected y's shape", residual=good[:, :3])
    call("residual: expected y's shape", residual=image(whole(2, 4, 5, 3)))
    call("residual: expected an NHWC image", residual=good.copy("C"))
    call("residual: expected a float32", TypeError, residual=good.astype(np.float64))
    call("residual: expected y itself", residual=room[:2, ..., 1:5].transpose(0, 3, 1, 2))
    call("residual: expected y itself", residual=room[1:3, ..., 2:6].transpose(0, 3, 1, 2))
    call("y and x share memory", x=room[:2, ..., 3:6].transpose(0, 3, 1, 2))
    call("unknown kind 'swish'", activation="swish")
    call("sums: expected 8", sums=np.zeros((2, 3)))
    call("sums: expected 8", sums=np.zeros((2, 4), np.float32))
    frozen = np.zeros((2, 4))
    frozen.setflags(write=False)
    call("sums: the array is read-only", sums=frozen)


def test_a_depthwise_convolution_refuses_to_add_its_own_result() -> None:
    conv = Conv(c=4, groups=4)
    y = image(whole(*conv.y_shape))
    with pytest.raises(ValueError, match="residual: expected an image that shares no element"):
        run(conv, image(whole(*conv.x_shape)), whole(*conv.w_shape), "depthwise", y, residual=y)


@pytest.mark.parametrize("groups", [1, 2, 8])
def test_fused_conv2d_is_one_primitive(groups: int) -> None:
    x, residual = (Tensor.wrap(image(uniform(2, 8, 9, 7, seed=seed))) for seed in (0, 1))
    w, b = Tensor(uniform(8, 8 // groups, 3, 3)), Tensor(uniform(8))
    fused_conv2d(x, w, b, padding=1, groups=groups)  # packs the weight
    sums, out = np.empty((2, 8)), _core.empty_image(2, 8, 9, 7)
    with _core.Recording() as recording:
        y = fused_conv2d(
            x, w, b, padding=1, groups=groups, residual=residual, activation="hardtanh", alpha=-0.5,
            beta=0.5, sums=sums, out=out,
        )  # fmt: skip
    computed = [name for name in recording.names if "pack" not in name]
    assert computed == ["depthwise_forward" if groups == 8 else "conv2d_forward"]
    assert y.array is out
    wanted = (F.conv2d(x, w, b, padding=1, groups=groups) + residual).clamp(-0.5, 0.5).numpy()
    np.testing.assert_allclose(y.numpy(), wanted, atol=1e-6)
    np.testing.assert_allclose(sums[0], wanted.sum((0, 2, 3)), atol=1e-3)
    x.copy_(uniform(2, 8, 9, 7, seed=2))
    recording.replay()
    wanted = (F.conv2d(x, w, b, padding=1, groups=groups) + residual).clamp(-0.5, 0.5).numpy()
    np.testing.assert_allclose(y.numpy(), wanted, atol=1e-6)


def test_fused_conv2d_adds_to_its_result() -> None:
    x, w = Tensor(uniform(2, 8, 9, 7)), Tensor(uniform(8, 8, 3, 3))
    residual = Tensor(uniform(2, 8, 9, 7, seed=1))
    out = image(residual.numpy())
    fused_conv2d(x, w, padding=1, residual=Tensor.wrap(out), activation="relu", out=out)
    wanted = F.relu(F.conv2d(x, w, padding=1) + residual).numpy()
    np.testing.assert_allclose(out, wanted, atol=1e-5)
