"""What a recording cannot repeat says so, and what it repeats with other values names them.

`_core.Recording` repeats primitives on the same arrays: in `replay`, or as a plan of a training
step. What Python or NumPy computes from values on the way is no primitive: a replay would go on
with the result of the time of recording. Whoever computes so calls `refuse_replay` first; or it
leaves its numbers in memory that primitives read, and says with `on_replay` how to renew them. In
recordings for inference (`cnnfast.compile`) neither does anything.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from . import _core

__all__ = ["NotRepeatable", "is_repeated", "on_replay", "refuse_replay"]


class NotRepeatable(RuntimeError):
    """A computation that a recording cannot repeat with other values."""


def is_repeated() -> bool:
    """Whether this thread's primitives are recorded to run again on arrays whose values change."""
    return _core.repeated_recording() is not None


def refuse_replay(what: str) -> None:
    """Raise an error if the primitives of this thread are being recorded to be repeated.

    Parameters
    ----------
    what : str
        The operation and what of it would stay as it is.

    Raises
    ------
    NotRepeatable
        Inside ``with _core.Recording():`` and while a `TrainStep` records.
    """
    if is_repeated():
        raise NotRepeatable(
            f"{what} is computed outside of the engine's primitives, so a replay of this recording "
            "would go on with the values of now: compute it before the recording, or run eagerly"
        )


def on_replay(renew: Callable[[], None], *arrays: np.ndarray) -> None:
    """Have `renew` called before each repetition of what is being recorded, if anything is.

    Parameters
    ----------
    renew : callable
        Writes new values into memory that recorded primitives read. Calls come in the order in
        which they were asked for.
    arrays : ndarray
        That memory, so that nothing that follows from it is computed only once.
    """
    recording = _core.repeated_recording()
    if recording is not None:
        recording.renewals.append(renew)
        for array in arrays:
            recording.add_unknown(array)
