"""How far float32 sums of products may be from the exact ones, and inputs that leave no room.

Two kinds of input. `whole`: small integers, whose sums of products are exact in float32 in any
order, so that a kernel must match the reference to the last bit and a single term too many or too
few shows. `uniform`: fractions, where each of `terms` roundings errs by at most u = 2**-24 of a
partial sum; errors of either sign add up like a random walk (Higham and Mary, "A new approach to
probabilistic rounding error analysis", 2019), so the bound grows with sqrt(terms) times the sum of
the products' magnitudes, which the reference computes from absolute values.
"""

from __future__ import annotations

from typing import Any

import numpy as np

UNIT = 2.0**-24
SMALLEST_NORMAL = 2.0**-126


def whole(*shape: int, seed: int = 0) -> np.ndarray:
    """Integers from -3 to 3 as float32: exact below 2**24 / 9 terms."""
    values = np.random.default_rng([seed, *shape]).integers(-3, 4, shape)
    return values.astype(np.float32)


def uniform(*shape: int, seed: int = 0) -> np.ndarray:
    """Float32 fractions between -1 and 1."""
    return np.random.default_rng([seed, *shape]).uniform(-1, 1, shape).astype(np.float32)


def assert_rounded(mine: Any, exact: Any, magnitude: Any, terms: int) -> None:
    """|mine - exact| <= 4 (1 + sqrt(terms)) u magnitude, element by element; shapes are equal."""
    mine, exact = np.asarray(mine, np.float64), np.asarray(exact, np.float64)
    assert mine.shape == exact.shape
    assert np.isfinite(mine).all()
    allowed = 4 * (1 + np.sqrt(terms)) * UNIT * np.asarray(magnitude) + terms * SMALLEST_NORMAL
    excess = np.abs(mine - exact) - allowed
    if excess.size:
        worst = np.unravel_index(np.argmax(excess), excess.shape)
        assert excess[worst] <= 0, (
            f"at {tuple(map(int, worst))}: {mine[worst]} instead of {exact[worst]}, "
            f"{excess[worst]} more than the rounding of {terms} terms allows"
        )
