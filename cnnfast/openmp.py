"""Loads the engine with an OpenMP runtime that gives up its core soon when it waits.

GNU's libgomp spins for milliseconds at the end of a parallel region before it sleeps. On a machine
that others use too, the thread it waits for may be the one that needs this very core: a training
step of 2 ms then takes 60. The runtime reads its environment once, when it is loaded, so the limit
is set for just that moment and taken back; what the user has set stands.
"""

import os

__all__: list[str] = []

SPINS = "2000"
"""Rounds of spinning before a waiting thread sleeps, some 60 us; 1000 cost a quiet machine 4 %."""

_name = "GOMP_SPINCOUNT"
if _name in os.environ or "OMP_WAIT_POLICY" in os.environ:
    from . import _core
else:
    os.environ[_name] = SPINS
    try:
        from . import _core  # noqa: F401 - loading it is the point
    finally:
        del os.environ[_name]
