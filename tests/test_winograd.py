"""Winograd convolution: all three directions against the float64 reference, on every ISA."""

from __future__ import annotations

import numpy as np
import pytest
import reference

from cnnfast import _core

EPSILON = np.finfo(np.float32).eps

# images, channels in, channels out, height, width, padding (top, left): around the tile of 4, the
# panels of 8, 16 and 32 columns, the depth block of 256, the micro-tile's rows, four tiles in all
SHAPES = [
    (1, 1, 1, 1, 1, (1, 1)),
    (1, 1, 1, 3, 3, (0, 0)),
    (2, 3, 5, 4, 4, (1, 1)),
    (1, 15, 17, 5, 9, (1, 0)),
    (3, 16, 33, 8, 7, (1, 1)),
    (1, 31, 32, 1, 30, (1, 1)),
    (2, 33, 31, 13, 2, (0, 1)),
    (2, 65, 64, 6, 6, (2, 2)),
    (5, 8, 8, 7, 7, (1, 1)),
    (1, 257, 40, 9, 9, (1, 1)),
    (1, 64, 130, 30, 31, (1, 1)),
    (1, 70, 77, 8, 7, (1, 1)),
    (0, 4, 4, 8, 8, (1, 1)),
]


def image(rng: np.random.Generator, n: int, c: int, h: int, w: int) -> np.ndarray:
    array = _core.empty_image(n, c, h, w)
    array[...] = rng.standard_normal((n, c, h, w))
    return array


def run(x, w, dy, padding, way="winograd"):
    """Return y, dx, dw of the Winograd kernels."""
    attributes = ((1, 1), padding, (1, 1), 1)
    packed = []
    for backward in (False, True):
        size = _core.conv2d_packed_size(w.shape, *attributes, backward, way)
        packed.append(_core.empty((size,)))
        _core.conv2d_pack(packed[-1], w, *attributes, backward, way)
    y, dx = _core.empty_image(*dy.shape), _core.empty_image(*x.shape)
    dw = _core.empty(w.shape)
    _core.conv2d_forward(y, x, packed[0], None, w.shape, *attributes, way)
    _core.conv2d_backward_input(dx, dy, packed[1], None, w.shape, *attributes, way)
    _core.conv2d_backward_weight(dw, x, dy, *attributes, way)
    return y, dx, dw


def operands(shape, seed=0):
    n, ci, co, h, w, (top, left) = shape
    rng = np.random.default_rng(seed)
    x = image(rng, n, ci, h, w)
    dy = image(rng, n, co, h + 2 * top - 2, w + 2 * left - 2)
    weight = rng.standard_normal((co, ci, 3, 3)).astype(np.float32)
    return x, weight, dy


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_three_directions(isa, shape):
    x, w, dy = operands(shape)
    y, dx, dw = run(x, w, dy, shape[-1])
    padding = shape[-1]
    expected = reference.conv2d(x, w, None, 1, padding)
    gradients = reference.conv2d_backward(dy, x, w, 1, padding)
    # The transforms spread an error of one element over its tile: bounds are relative to the sums
    # of magnitudes, largest over the image, with the factor of F(4, 3)'s amplification.
    sizes = [
        reference.conv2d(np.abs(x), np.abs(w), None, 1, padding),
        *reference.conv2d_backward(np.abs(dy), np.abs(x), np.abs(w), 1, padding)[:2],
    ]
    for got, wanted, size in zip((y, dx, dw), (expected, *gradients[:2]), sizes, strict=True):
        bound = 40 * EPSILON * (size.max() if size.size else 0)
        np.testing.assert_allclose(got, wanted, rtol=0, atol=bound)


@pytest.mark.parametrize("shape", [*SHAPES, (9, 40, 70, 14, 14, (1, 1))], ids=str)
def test_inline_weights_give_the_same_bits(isa, shape):
    packed = run(*operands(shape), shape[-1], "winograd")
    inlined = run(*operands(shape), shape[-1], "winograd_inline")
    for one, other in zip(packed, inlined, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("way", ["winograd", "winograd_inline"])
@pytest.mark.parametrize(
    "shape",
    [(9, 40, 70, 14, 14, (1, 1)), (4, 130, 33, 7, 9, (1, 1)), (1, 40, 130, 8, 8, (1, 1))],
    ids=str,
)
def test_same_bits_on_any_thread_count(same_bits, isa, shape, way):
    x, w, dy = operands(shape)
    for i in range(3):
        same_bits(lambda i=i: run(x, w, dy, shape[-1], way)[i])


def test_rms_error_of_512_channels(isa):
    # inputs like those of a trained layer: non-negative, and weights by He et al.
    rng = np.random.default_rng(1)
    x = image(rng, 1, 512, 16, 16)
    x[...] = np.maximum(x, 0)
    w = (rng.standard_normal((32, 512, 3, 3)) * np.sqrt(2 / (9 * 512))).astype(np.float32)
    y = run(x, w, image(rng, 1, 32, 16, 16), (1, 1))[0]
    expected = reference.conv2d(x, w, None, 1, 1)
    assert np.sqrt(np.mean((y - expected) ** 2)) / expected.std() <= 4e-6


def test_large_inputs_stay_finite(isa):
    x, w, dy = operands((1, 64, 64, 12, 12, (1, 1)))
    results = run(x * np.float32(1e4), w, dy * np.float32(1e4), (1, 1))
    assert all(np.isfinite(result).all() for result in results)


@pytest.mark.parametrize("way", ["winograd", "winograd_inline"])
@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("shape", [(1, 17, 19, 5, 6, (1, 1)), (2, 3, 33, 4, 4, (1, 1))], ids=str)
def test_stays_inside_its_arrays(isa, guarded, shape, before, way):
    x, w, dy = (guarded(array, before) for array in operands(shape))
    attributes = ((1, 1), shape[-1], (1, 1), 1)
    for backward in (False, True):
        size = _core.conv2d_packed_size(w.shape, *attributes, backward, way)
        packed = guarded(np.zeros(size, np.float32), before)
        _core.conv2d_pack(packed, w, *attributes, backward, way)
        source, target = (dy, guarded(x, before)) if backward else (x, guarded(dy, before))
        run_one = _core.conv2d_backward_input if backward else _core.conv2d_forward
        run_one(target, source, packed, None, w.shape, *attributes, way)
    _core.conv2d_backward_weight(guarded(w, before), x, dy, *attributes, way)


@pytest.mark.parametrize(
    ("kernel", "stride", "dilation", "groups"),
    [((3, 3), (2, 1), (1, 1), 1), ((3, 1), (1, 1), (1, 1), 1), ((3, 3), (1, 1), (1, 2), 1),
     ((3, 3), (1, 1), (1, 1), 2)],
)
def test_refuses_other_convolutions(kernel, stride, dilation, groups):
    with pytest.raises(ValueError, match="winograd"):
        weight = (4, 4, *kernel)
        _core.conv2d_packed_size(weight, stride, (1, 1), dilation, groups, False, "winograd")


def test_environment_forces_an_algorithm(monkeypatch):
    x, w, dy = operands((1, 64, 64, 28, 28, (1, 1)))
    for name in _core.CONV2D_ALGORITHMS:
        monkeypatch.setenv("CNNFAST_CONV", name)
        chosen = _core.conv2d_choose(dy, x, w.shape, (1, 1), (1, 1), (1, 1), 1, "forward")
        assert chosen == name
