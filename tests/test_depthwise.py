"""Depthwise convolution: the three kernels against the reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import reference

from cnnfast import _core

EPS = float(np.finfo(np.float32).eps)
CHANNELS = (1, 3, 15, 16, 17, 31, 33, 67)
Arrays = tuple[np.ndarray, ...]


def image(array: np.ndarray) -> np.ndarray:
    """`array` as an image with a pitch of more than its channels."""
    n, c, h, w = array.shape
    room = np.full((n, h, w, c + 3), np.nan, np.float32)[..., :c].transpose(0, 3, 1, 2)
    room[...] = array
    return room


def operands(x: tuple[int, ...], kernel: tuple[int, int], out: tuple[int, int]) -> Arrays:
    """x, weight, bias, dy."""
    shapes = (x, (x[1], 1, *kernel), (x[1],), (*x[:2], *out))
    x_, weight, bias, dy = (np.random.randn(*shape).astype(np.float32) for shape in shapes)
    return image(x_), weight, bias, image(dy)


def sizes(x: tuple[int, ...], kernel: Any, stride: Any, sides: Any, dilation: Any) -> Any:
    """Output height and width; `sides` is ((top, bottom), (left, right))."""
    axes = zip(x[2:], kernel, stride, sides, dilation, strict=True)
    return tuple((n + sum(p) - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in axes)


def compute(
    arrays: Arrays, stride: Any, padding: Any, dilation: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """y, dx and dw by our kernels."""
    x, weight, bias, dy = arrays
    y, dx, dw = image(np.zeros(dy.shape)), image(np.zeros(x.shape)), np.empty_like(weight)
    _core.depthwise_forward(y, x, weight, bias, stride, padding, dilation)
    _core.depthwise_backward_input(dx, dy, weight, stride, padding, dilation)
    _core.depthwise_backward_weight(dw, x, dy, stride, padding, dilation)
    return y, dx, dw


def reference_padded(x: np.ndarray, sides: Any) -> np.ndarray:
    return np.pad(x.astype(np.float64), ((0, 0), (0, 0), *sides))


def agree(x: tuple[int, ...], kernel: Any, stride: Any, sides: Any, dilation: Any = (1, 1)) -> None:
    """Compare with the reference, within the rounding of as many terms as are added."""
    arrays = operands(x, kernel, sizes(x, kernel, stride, sides, dilation))
    got = compute(arrays, stride, (sides[0][0], sides[1][0]), dilation)
    expected, scale = (expect(f, arrays, stride, sides, dilation) for f in (np.asarray, np.abs))
    taps = kernel[0] * kernel[1]
    # Rows are summed apart, then rows of a chunk, then chunks.
    terms = (taps + 1, taps, x[0] * arrays[3].shape[2] + arrays[3].shape[3] + 16)
    for ours, wanted, magnitude, count in zip(got, expected, scale, terms, strict=True):
        assert (np.abs(ours - wanted) <= count * EPS * magnitude + 1e-30).all()


def expect(of: Any, arrays: Arrays, stride: Any, sides: Any, dilation: Any) -> Arrays:
    """y, dx and dw of the reference, computed from of(each operand)."""
    x, weight, bias, dy = (of(a) for a in arrays)
    padded, c = reference_padded(x, sides), x.shape[1]
    options = {"stride": stride, "padding": 0, "dilation": dilation, "groups": c}
    y = reference.conv2d(padded, weight, bias, **options)
    dx, dw, _ = reference.conv2d_backward(dy, padded, weight, **options)
    top, left = sides[0][0], sides[1][0]
    return y, dx[:, :, top : top + x.shape[2], left : left + x.shape[3]], dw


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("k", [3, 5])
def test_channels(isa: str, channels: int, stride: int, k: int) -> None:
    side = (k // 2, k // 2)
    agree((2, channels, 9, 14), (k, k), (stride, stride), (side, side))


@pytest.mark.parametrize("width", [1, 2, 3, 4, 5, 7, 8, 11, 23])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("k", [3, 5, 7])
def test_widths(isa: str, width: int, stride: int, k: int) -> None:
    agree((1, 17, 4, width), (3, k), (1, stride), ((1, 1), (k // 2, k // 2)))


@pytest.mark.parametrize("left", [0, 1, 3, 4])
@pytest.mark.parametrize("stride", [1, 2])
def test_padding(isa: str, left: int, stride: int) -> None:
    agree((2, 5, 7, 13), (5, 5), (stride, stride), ((1, 0), (left, 4 - left)))


@pytest.mark.parametrize("x", [(1, 600, 3, 7), (2, 150, 40, 9), (9, 33, 30, 31)], ids=str)
def test_blocks_of_channels_and_bands_of_rows(x: tuple[int, ...]) -> None:
    for k, stride in ((3, 1), (5, 2)):
        agree(x, (k, k), (stride, stride), ((k // 2, k // 2), (k // 2, k // 2)))


@pytest.mark.parametrize(
    ("kernel", "stride", "sides", "dilation"),
    [
        ((1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1)),
        ((1, 1), (2, 3), ((0, 0), (0, 0)), (1, 1)),
        ((2, 4), (1, 1), ((0, 1), (1, 2)), (1, 1)),
        ((7, 7), (1, 1), ((3, 3), (3, 3)), (1, 1)),
        ((7, 9), (2, 2), ((3, 3), (4, 4)), (1, 1)),
        ((3, 3), (1, 1), ((2, 2), (2, 2)), (2, 2)),
        ((3, 3), (2, 2), ((2, 2), (4, 4)), (2, 4)),
        ((3, 4), (3, 2), ((4, 4), (1, 1)), (4, 3)),
        ((3, 3), (4, 5), ((0, 0), (0, 0)), (1, 1)),
        ((5, 3), (2, 2), ((0, 3), (1, 2)), (1, 1)),
        ((3, 3), (1, 1), ((9, 9), (9, 9)), (1, 1)),
        ((3, 3), (2, 2), ((0, 0), (0, 0)), (5, 6)),
        ((12, 13), (1, 1), ((0, 0), (0, 0)), (1, 1)),
        ((9, 9), (6, 4), ((12, 12), (20, 20)), (4, 6)),
    ],
)
def test_attributes(kernel: Any, stride: Any, sides: Any, dilation: Any) -> None:
    agree((2, 18, 12, 13), kernel, stride, sides, dilation)


def test_random_attributes() -> None:
    rng = np.random.default_rng(0)
    for _ in range(60):
        kernel, stride, dilation = (tuple(rng.integers(1, 6, 2).tolist()) for _ in range(3))
        sides = rng.integers(0, 5, (2, 2)).tolist()
        x = (1, 5, *rng.integers(1, 14, 2).tolist())
        if min(sizes(x, kernel, stride, sides, dilation)) >= 1:
            agree(x, kernel, stride, sides, dilation)


def test_many_rows() -> None:
    """The weight gradient in several chunks."""
    agree((5, 40, 24, 23), (3, 3), (1, 1), ((1, 1), (1, 1)))


def test_no_bias() -> None:
    x, weight, bias, dy = operands((1, 5, 6, 6), (3, 3), (4, 4))
    with_bias, without = np.empty_like(dy), np.empty_like(dy)
    _core.depthwise_forward(with_bias, x, weight, np.zeros_like(bias), (1, 1), (0, 0), (1, 1))
    _core.depthwise_forward(without, x, weight, None, (1, 1), (0, 0), (1, 1))
    np.testing.assert_array_equal(with_bias, without)


def test_empty_batch() -> None:
    arrays = operands((0, 3, 6, 6), (3, 3), (4, 4))
    y, dx, dw = compute(arrays, (1, 1), (0, 0), (1, 1))
    assert y.size == dx.size == 0 and not dw.any()


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("result", [0, 1, 2], ids=["y", "dx", "dw"])
def test_same_bits(same_bits: Any, stride: int, result: int) -> None:
    arrays = operands((3, 70, 29, 31), (3, 3), ((28 // stride) + 1, (30 // stride) + 1))
    same_bits(lambda: compute(arrays, (stride, stride), (1, 1), (1, 1))[result])


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 2), (2, 1), (2, 2)])
def test_images_larger_than_caches(isa: str, kernel: int, stride: int) -> None:
    """They are fetched ahead and written past the caches; each of them alone is not."""
    x, dx, y = (_core.empty_image(4, 48, n, n) for n in (270, 270, 270 // stride))
    x[...] = np.resize(np.random.randn(10007).astype(np.float32), x.shape)
    weight = np.random.randn(48, 1, kernel, kernel).astype(np.float32)
    attributes = ((stride, stride), (kernel // 2, kernel // 2), (1, 1))

    def forward(y: np.ndarray, x: np.ndarray) -> None:
        _core.depthwise_forward(y, x, weight, None, *attributes)

    def backward(dx: np.ndarray, dy: np.ndarray) -> None:
        _core.depthwise_backward_input(dx, dy, weight, *attributes)

    for run, result, source in ((forward, y, x), (backward, dx, y)):
        run(result, source)
        for whole, part in zip(result, source, strict=True):
            alone = np.empty_like(whole[None])
            run(alone, part[None])
            np.testing.assert_array_equal(whole, alone[0])


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("channels", CHANNELS)
def test_guard_pages(isa: str, guarded: Any, channels: int, before: bool) -> None:
    def dense(*shape: int) -> np.ndarray:
        return guarded(np.random.randn(*shape).astype(np.float32), before)

    x = dense(2, 5, 12, channels).transpose(0, 3, 1, 2)
    for stride, (oh, ow) in ((1, (5, 12)), (2, (3, 6))):
        y = dense(2, oh, ow, channels).transpose(0, 3, 1, 2)
        weight, bias = dense(channels, 1, 3, 3), dense(channels)
        attributes = ((stride, stride), (1, 1), (1, 1))
        _core.depthwise_forward(y, x, weight, bias, *attributes)
        _core.depthwise_backward_input(x, y, weight, *attributes)
        _core.depthwise_backward_weight(weight, x, y, *attributes)


def test_what_lies_between_pixels_stays() -> None:
    arrays = operands((1, 5, 6, 6), (3, 3), (4, 4))
    y, dx, _ = compute(arrays, (1, 1), (0, 0), (1, 1))
    for result in (y, dx):
        n, _, h, w = result.shape
        pixels = np.lib.stride_tricks.as_strided(
            result, (n, h, w, 8), tuple(result.strides[axis] for axis in (0, 2, 3, 1))
        )
        assert np.isnan(pixels[..., 5:]).all() and np.isfinite(pixels[..., :5]).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight": np.ones((4, 1, 3, 3), np.float32)}, r"shape \(5, 1, kh, kw\)"),
        ({"weight": np.ones((5, 2, 3, 3), np.float32)}, r"shape \(5, 1, kh, kw\)"),
        ({"weight": np.ones((5, 1, 3, 6), np.float32)[..., ::2]}, "contiguous"),
        ({"bias": np.ones(4, np.float32)}, "bias"),
        ({"stride": (0, 1)}, "at least 1"),
        ({"dilation": (1, 0)}, "at least 1"),
        ({"stride": (1 << 40, 1)}, "below"),
        ({"y": np.ones((2, 5, 4, 4), np.float32).transpose(0, 1, 3, 2)}, "y or dy"),
        ({"y": _core.empty_image(2, 5, 4, 4)}, "keeps the batch"),
    ],
    ids=str,
)
def test_refused(change: dict[str, Any], message: str) -> None:
    x, weight, bias, dy = operands((1, 5, 6, 6), (3, 3), (4, 4))
    arguments = {
        "y": dy, "x": x, "weight": weight, "bias": bias,
        "stride": (1, 1), "padding": (0, 0), "dilation": (1, 1),
    } | change  # fmt: skip
    with pytest.raises(ValueError, match=message):
        _core.depthwise_forward(**arguments)
