"""Loads the engine with an OpenMP runtime that gives up its core soon when it waits.

GNU's libgomp spins for milliseconds at the end of a parallel region before it sleeps. On a machine
that others use too, the thread it waits for may be the one that needs this very core: a training
step of 2 ms then takes 60. The runtime reads its environment once, when it is loaded, so the limit
is set for just that moment and taken back; what the user has set stands.
"""

import os
from importlib import import_module

__all__: list[str] = []

SPINS = "2000"
"""Rounds of spinning before a waiting thread sleeps, some 60 us; 1000 cost a quiet machine 4 %."""

NAME = "GOMP_SPINCOUNT"


def _load_engine() -> None:
    free = NAME not in os.environ and "OMP_WAIT_POLICY" not in os.environ
    if free:
        os.environ[NAME] = SPINS
    try:
        import_module("._core", __package__)
    except ImportError as error:
        raise ImportError(
            f"cnnfast's compiled engine cannot be loaded ({error}). In the source tree, install "
            "first (pip install .) and import from another folder, or build in place "
            "(python setup.py build_ext --inplace)"
        ) from error
    finally:
        if free:
            del os.environ[NAME]


_load_engine()
