"""Element-wise primitives, copies and casts: any strides and broadcasts, against NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from boxes import narrowed, some_shape, strided

from cnnfast import _core

ROUNDS = 150
HARD_SIZES = (0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 511, 513)


def every_box(seed: int) -> list[tuple[np.random.Generator, tuple[int, ...]]]:
    rng = np.random.default_rng(seed)
    return [(rng, some_shape(rng)) for _ in range(ROUNDS)]


BINARY: dict[str, Callable[..., Any]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide,
    "maximum": np.maximum, "minimum": np.minimum, "eq": np.equal, "ne": np.not_equal,
    "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
}


def test_copy_takes_any_strides(isa: str) -> None:
    for rng, shape in every_box(1):
        y, x = strided(rng, shape), strided(rng, narrowed(rng, shape))
        _core.copy(y, x)
        np.testing.assert_array_equal(y, np.broadcast_to(x, shape))


@pytest.mark.parametrize("kind", BINARY)
def test_binary_broadcasts_any_strides(isa: str, kind: str) -> None:
    for rng, shape in every_box(2)[::5]:
        y = strided(rng, shape)
        a, b = (strided(rng, narrowed(rng, shape)) for _ in "ab")
        _core.binary(kind, y, a, b)
        expected = np.broadcast_to(BINARY[kind](a, b), shape).astype(np.float32)
        np.testing.assert_array_equal(y, expected)


def test_ternary_broadcasts_any_strides(isa: str) -> None:
    for rng, shape in every_box(3):
        y = strided(rng, shape)
        a, b, c = (strided(rng, narrowed(rng, shape)) for _ in "abc")
        _core.ternary("where", y, a, b, np.asarray(c > 0, np.float32))
        np.testing.assert_array_equal(y, np.broadcast_to(np.where(c > 0, a, b), shape))


def test_unary_and_fill_take_any_strides_and_work_in_place(isa: str) -> None:
    for rng, shape in every_box(4):
        y = strided(rng, shape)
        expected = -y
        _core.unary("neg", y, y)
        np.testing.assert_array_equal(y, expected)
        _core.fill(y, 2.5)
        np.testing.assert_array_equal(y, np.full(shape, 2.5))


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("size", HARD_SIZES)
def test_touches_nothing_beyond_its_operands(
    isa: str, guarded: Any, size: int, before: bool
) -> None:
    rng = np.random.default_rng(size)
    a, b, c, y = (guarded(rng.random(size, np.float32), before) for _ in "abcy")
    _core.binary("mul", y, a, b)
    np.testing.assert_array_equal(y, a * b)
    _core.ternary("where", y, a, b, c)
    _core.unary_backward("square", y, a, b)
    np.testing.assert_array_equal(y, a * (b + b))
    _core.copy(y, guarded(np.arange(size, dtype=np.uint8), before))
    np.testing.assert_array_equal(y, np.arange(size, dtype=np.uint8))


def test_the_gap_between_pixels_is_left_alone(isa: str) -> None:
    image = _core.empty_image(2, 256, 3, 2)
    pitch = image.strides[3] // 4
    strides = (image.strides[0], *image.strides[2:], 4)
    memory = np.lib.stride_tricks.as_strided(image, (2, 3, 2, pitch), strides)
    memory[...] = 7
    _core.fill(image, 1.0)
    _core.copy(image, np.ones((1, 1, 1, 1), np.uint8))
    _core.unary("exp", image, image)
    _core.binary("add", image, image, np.ones((1, 256, 1, 1), np.float32))
    assert (memory[..., 256:] == 7).all() and pitch > 256


@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "int16", "int32", "int64", "float16", "float64", "bool"]
)
def test_copy_casts(isa: str, dtype: str) -> None:
    for rng, shape in every_box(5)[::5]:
        y, x = strided(rng, shape), strided(rng, shape, np.dtype(dtype).type)
        _core.copy(y, x)
        np.testing.assert_array_equal(y, x.astype(np.float32))


def test_every_half_is_read_exactly() -> None:
    halves = np.arange(65536, dtype=np.uint16).view(np.float16)
    y = np.empty(65536, np.float32)
    _core.copy(y, halves)
    np.testing.assert_array_equal(y, halves.astype(np.float32))


def test_layout_changes_are_exact_both_ways(same_bits: Any) -> None:
    x = np.random.default_rng(0).random((3, 20, 37, 41), np.float32)
    image = _core.empty_image(*x.shape)

    def there_and_back() -> np.ndarray:
        _core.copy(image, x)
        back = np.empty_like(x)
        _core.copy(back, image)
        return back

    np.testing.assert_array_equal(same_bits(there_and_back), x)


@pytest.mark.parametrize("kind", ["pow", "mul", "prelu"])
def test_binary_is_the_same_on_any_thread_count(same_bits: Any, kind: str) -> None:
    a = np.random.default_rng(0).random((5, 64, 40, 33), np.float32)

    def run() -> np.ndarray:
        y = np.empty_like(a)
        _core.binary(kind, y, a, a[:1, :, :1, :1])
        return y

    same_bits(run)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda y: _core.unary("no", y, y), ValueError, "unknown kind 'no'; expected one of ident"),
        (lambda y: _core.unary("neg", y, y[0]), TypeError, "float32 array of 2 axes, got float32"),
        (lambda y: _core.unary("neg", y, y.astype(np.float64)), TypeError, "got float64"),
        (lambda y: _core.binary("add", y, y, y[:, :2]), ValueError, "a shape that broadcasts to"),
        (lambda y: _core.binary("add", y[:1], y, y), ValueError, "a shape that broadcasts to"),
        (lambda y: _core.copy(y, y.astype(complex)), TypeError, "got complex"),
        (lambda y: _core.copy(y, y.astype(">i4")), ValueError, "native byte order"),
        (lambda y: _core.copy(np.broadcast_to(y, (2, 3)), y), ValueError, "read-only"),
        (lambda y: _core.fill(np.zeros((1,) * 9, np.float32), 0), ValueError, "at most 8 axes"),
        (lambda y: _core.fill(y.view(">f4"), 0), ValueError, "native byte order"),
    ],
)
def test_bad_operands_are_refused(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(np.zeros((2, 3), np.float32))
