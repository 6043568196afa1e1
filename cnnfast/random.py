"""The one source of random numbers: initialisation, dropout, shuffling and augmentation draw here.

A single ``numpy.random.Generator`` over PCG64 serves the process, so one seed makes a run
repeatable, and its state is a small dictionary that a checkpoint can hold.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .replay import refuse_replay

__all__ = ["generator", "get_state", "manual_seed", "new_seed", "set_state"]

_generator: np.random.Generator | None = None


def generator() -> np.random.Generator:
    """Return the process-wide generator, made from the system's entropy on first use."""
    refuse_replay("a random number")
    return _shared()


def new_seed() -> int:
    """Draw the seed of a kernel that makes its own random numbers, which a replay can renew."""
    return int(_shared().integers(2**63))


def _shared() -> np.random.Generator:
    global _generator  # made late: importing numpy.random takes a fifth of importing cnnfast
    if _generator is None:
        _generator = np.random.Generator(np.random.PCG64())
    return _generator


def manual_seed(seed: int) -> np.random.Generator:
    """Start the process-wide generator anew from `seed` and return it.

    Parameters
    ----------
    seed : int
        Any non-negative integer.

    Examples
    --------
    >>> import cnnfast
    >>> first = cnnfast.manual_seed(7).random()
    >>> first == cnnfast.manual_seed(7).random()
    True
    """
    generator().bit_generator.state = np.random.PCG64(seed).state
    return generator()


def get_state() -> dict[str, Any]:
    """Return the generator's state: nested dictionaries of strings and integers."""
    return dict(generator().bit_generator.state)


def set_state(state: dict[str, Any]) -> None:
    """Put the generator into a state that `get_state` returned."""
    generator().bit_generator.state = state
