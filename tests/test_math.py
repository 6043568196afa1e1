"""Accuracy of the elementary functions in units of the last place, against float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cnnfast import _core

SMALLEST = float(np.finfo(np.float32).tiny)  # below, the engine flushes to 0
LARGEST = float(np.finfo(np.float32).max)
erf, erfc = np.vectorize(math.erf, [float]), np.vectorize(math.erfc, [float])


def magnitudes(low: float, high: float, count: int = 20_000, seed: int = 0) -> np.ndarray:
    """Positive values, evenly spread over the orders of magnitude."""
    exponents = np.random.default_rng(seed).uniform(np.log(low), np.log(high), count)
    return np.exp(exponents).astype(np.float32)


def both_signs(low: float, high: float) -> np.ndarray:
    values = magnitudes(low, high)
    return np.concatenate([values, -values])


def ulps(result: np.ndarray, exact: np.ndarray) -> float:
    """The largest distance in spacings of float32 at the exact value, where this is normal."""
    spacing = np.spacing(np.maximum(np.abs(exact), SMALLEST).astype(np.float32)).astype(float)
    normal = (np.abs(exact) > SMALLEST) & (np.abs(exact) < LARGEST)
    return float(np.max(np.abs(result - exact) / spacing, where=normal, initial=0))


def sigmoid(x: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0, -x))


# Arguments and most ulps: 3 where the function is a single formula, more where it is built of two.
FUNCTIONS: dict[str, tuple[Callable[..., Any], np.ndarray, float]] = {
    "exp": (np.exp, both_signs(1e-10, 100), 2),
    "expm1": (np.expm1, both_signs(1e-30, 100), 2),
    "log": (np.log, np.concatenate([magnitudes(2e-38, 3e38), magnitudes(0.5, 2)]), 2),
    "log1p": (np.log1p, np.concatenate([both_signs(1e-30, 0.99), magnitudes(0.5, 3e38)]), 3),
    "tanh": (np.tanh, both_signs(1e-30, 100), 2),
    "erf": (erf, both_signs(1e-30, 20), 2),
    "sqrt": (np.sqrt, magnitudes(2e-38, 3e38), 0.51),
    "rsqrt": (lambda x: 1 / np.sqrt(x), magnitudes(2e-38, 3e38), 2),
    "reciprocal": (lambda x: 1 / x, both_signs(1e-37, 1e37), 0.51),
    "sigmoid": (sigmoid, both_signs(1e-10, 80), 4),
    "log_sigmoid": (lambda x: -np.logaddexp(0, -x), both_signs(1e-20, 80), 3),
    "silu": (lambda x: x * sigmoid(x), both_signs(1e-20, 80), 4),
    "mish": (lambda x: x * np.tanh(np.logaddexp(0, x)), both_signs(1e-20, 80), 5),
}
CORNERS: dict[str, list[tuple[float, float]]] = {
    "exp": [(0, 1), (-0.0, 1), (88.8, np.inf), (-104, 0), (np.inf, np.inf), (-np.inf, 0)],
    "expm1": [(0, 0), (89, np.inf), (-30, -1), (np.inf, np.inf), (-np.inf, -1)],
    "log": [(1, 0), (0, -np.inf), (-0.0, -np.inf), (-1, np.nan), (np.inf, np.inf)],
    "log1p": [(0, 0), (-1, -np.inf), (-2, np.nan), (np.inf, np.inf), (1e-20, 1e-20)],
    "tanh": [(0, 0), (20, 1), (-20, -1), (np.inf, 1), (-np.inf, -1), (1e-20, 1e-20)],
    "erf": [(0, 0), (5, 1), (-5, -1), (np.inf, 1), (-np.inf, -1)],
    "sqrt": [(0, 0), (4, 2), (-1, np.nan), (np.inf, np.inf)],
    "rsqrt": [(0, np.inf), (np.inf, 0), (-1, np.nan)],
    "reciprocal": [(0, np.inf), (-0.0, -np.inf), (np.inf, 0)],
    "sigmoid": [(0, 0.5), (100, 1), (-100, 0), (np.inf, 1), (-np.inf, 0)],
    "log_sigmoid": [(100, 0), (-100, -100), (np.inf, 0), (-np.inf, -np.inf)],
    "floor": [(1.5, 1), (-1.5, -2), (1e20, 1e20), (-0.5, -1), (np.inf, np.inf)],
    "ceil": [(1.5, 2), (-1.5, -1), (1e20, 1e20), (0.5, 1)],
    "trunc": [(1.5, 1), (-1.5, -1), (8388609, 8388609)],
    "round": [(0.5, 0), (1.5, 2), (-2.5, -2), (4194305.5, 4194306), (8388609, 8388609)],
    "sign": [(3, 1), (-3, -1), (0, 0)],
    "gelu": [(0, 0), (20, 20), (-20, 0)],
    "mish": [(50, 50), (-100, 0), (1e30, 1e30)],
}


def computed(kind: str, x: np.ndarray) -> np.ndarray:
    y = np.empty_like(x)
    _core.unary(kind, y, x)
    return y


@pytest.mark.parametrize("name", FUNCTIONS)
def test_error_in_ulps(isa: str, name: str) -> None:
    function, x, bound = FUNCTIONS[name]
    with np.errstate(all="ignore"):
        assert ulps(computed(name, x), function(x.astype(float))) <= bound


@pytest.mark.parametrize("name", CORNERS)
def test_corners(isa: str, name: str) -> None:
    given, expected = (np.ascontiguousarray(column) for column in np.float32(CORNERS[name]).T)
    np.testing.assert_array_equal(computed(name, given), expected)


@pytest.mark.parametrize("name", sorted({*FUNCTIONS, *CORNERS} - {"sign"}))
def test_nan_stays_nan(isa: str, name: str) -> None:
    assert np.isnan(computed(name, np.full(19, np.nan, np.float32))).all()


def test_the_left_tail_of_gelu_keeps_its_digits(isa: str) -> None:
    x = -magnitudes(1e-20, 12)
    exact = x * erfc(-x.astype(float) / math.sqrt(2)) / 2
    # Without FMA the rounding of x^2 stays in e^(-x^2/2): half an ulp of x^2, relative to 1.
    bound = 5 if isa != "generic" else 5 + 144 / 2
    assert ulps(computed("gelu", x), exact) <= bound


@pytest.mark.parametrize(
    ("base", "exponent"),
    [
        (magnitudes(1e-30, 1e30), np.linspace(-50, 50, 20_000)),
        (magnitudes(0.5, 1.5), np.linspace(-1e4, 1e4, 20_000)),
        (magnitudes(2e-38, 3e38), np.full(20_000, 0.333)),
        (np.full(20_000, 2), np.linspace(-125, 127, 20_000)),
    ],
)
def test_pow_is_correctly_rounded_but_for_ties(isa: str, base: Any, exponent: Any) -> None:
    a, b = base.astype(np.float32), exponent.astype(np.float32)
    y = np.empty_like(a)
    _core.binary("pow", y, a, b)
    with np.errstate(all="ignore"):
        assert ulps(y, a.astype(float) ** b.astype(float)) <= 0.51


def test_pow_has_c99s_corners(isa: str) -> None:
    corners = [0, 1, 2, 3, 0.5, 2.5, 16777217, 1e30, np.inf]
    values = np.float32([*corners, *np.negative(corners), np.nan])
    a, b = (np.ascontiguousarray(grid) for grid in np.meshgrid(values, values))
    y = np.empty_like(a)
    _core.binary("pow", y, a, b)
    with np.errstate(all="ignore"):
        expected = np.power(a.astype(float), b.astype(float)).astype(np.float32)
    expected[np.abs(expected) < SMALLEST] *= 0
    np.testing.assert_array_equal(y, expected)
    known = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(y)[known], np.signbit(expected)[known])


def test_a_value_does_not_depend_on_its_place(isa: str) -> None:
    x = both_signs(1e-3, 50)[:97]
    for kind in _core.UNARY_KINDS:
        whole = np.empty_like(x)
        _core.unary(kind, whole, x, 0.5, 2.0)
        for first in (1, 3, 16, 90):
            part = np.empty_like(x[first:])
            _core.unary(kind, part, x[first:], 0.5, 2.0)
            np.testing.assert_array_equal(part, whole[first:])
