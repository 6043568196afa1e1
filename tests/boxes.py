"""Arrays in every kind of layout, for the tests of what takes any strides."""

from __future__ import annotations

import numpy as np

SIZES = (1, 2, 3, 5, 16, 17, 33, 70)
WEIGHTS = (0.22, 0.2, 0.15, 0.15, 0.12, 0.08, 0.05, 0.03)


def some_shape(rng: np.random.Generator, most: int = 60_000) -> tuple[int, ...]:
    """Up to five axes, now and then one of no elements."""
    while True:
        shape = rng.choice(SIZES, size=rng.integers(0, 6), p=WEIGHTS)
        if len(shape) and rng.random() < 0.03:
            shape[rng.integers(len(shape))] = 0
        if np.prod(shape) <= most:
            return tuple(int(n) for n in shape)


def narrowed(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Some of the axes at size 1."""
    return tuple(n if rng.random() < 0.7 else 1 for n in shape)


def strided(
    rng: np.random.Generator, shape: tuple[int, ...], dtype: type = np.float32
) -> np.ndarray:
    """Random values in permuted, stepped, reversed or padded memory."""
    ndim = len(shape)
    order = rng.permutation(ndim)
    steps = rng.choice([1, 1, 1, 2, -1], ndim)
    pads = rng.integers(0, 3, ndim)
    room = [n * abs(s) + pad for n, s, pad in zip(shape, steps, pads, strict=True)]
    memory = (rng.standard_normal([room[i] for i in order]) * 3).astype(dtype)
    array = memory.transpose(np.argsort(order))
    keys = tuple(slice(0, n * abs(s), abs(s)) for n, s in zip(shape, steps, strict=True))
    array = array[(*keys, ...)]
    return array[(*(slice(None, None, -1 if s < 0 else 1) for s in steps), ...)]
