"""What a recording cannot repeat says so.

`_core.Recording` repeats primitives on the same arrays. What Python or NumPy computes from values
on the way is no primitive: a replay would go on with the result of the time of recording. Whoever
computes so calls `refuse_replay` first. In recordings of unknown values (`cnnfast.compile`) it does
nothing: there the arrays themselves refuse.
"""

from __future__ import annotations

from . import _core

__all__ = ["refuse_replay"]


def refuse_replay(what: str) -> None:
    """Raise an error if the primitives of this thread are being recorded for `replay`.

    Parameters
    ----------
    what : str
        The operation and what of it would stay as it is.

    Raises
    ------
    RuntimeError
        Inside ``with _core.Recording():``.
    """
    if _core.is_replayed():
        raise RuntimeError(
            f"{what} is computed outside of the engine's primitives, so a replay of this recording "
            "would go on with the values of now: compute it before the recording, or run eagerly"
        )
