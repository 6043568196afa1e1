"""The numbers that the contestants compute with: the same for all, from fixed seeds."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from .layers import Convolution


def normal(shape: tuple[int, ...], seed: int = 0, scale: float = 1.0) -> np.ndarray:
    """Return float32 numbers of the normal distribution with standard deviation `scale`."""
    numbers = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
    return numbers if scale == 1.0 else numbers * np.float32(scale)


def weight(shape: tuple[int, ...], seed: int = 1) -> np.ndarray:
    """Return normal numbers scaled so that a product with them keeps the size of its input."""
    return normal(shape, seed, float(np.prod(shape[1:])) ** -0.5)


@lru_cache(maxsize=2)
def images(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Return what convolutions read; kept, since all contestants of a case read the same."""
    return normal(shape, seed)


@lru_cache(maxsize=1)
def weights(layer: Convolution, batch: int) -> list[np.ndarray]:
    """Return a weight for each convolution of the row, the last one `weight`'s first."""
    return [weight(layer.weight_shape, seed) for seed in range(layer.row(batch), 0, -1)]


def labels(count: int, classes: int) -> np.ndarray:
    """Return int64 class numbers."""
    return np.random.default_rng(2).integers(0, classes, count)
