"""In which order the calls of a training step run.

Eager code updates the parameters after the whole of backward, when the first gradients have left
the caches and all of them are alive at once. `early_updates` moves each update to where its
gradient is complete and nobody needs the old parameter any more. No result changes by a bit.
"""

from __future__ import annotations

from .. import _core
from .plan import memory_of

__all__ = ["early_updates"]


def early_updates(recording: _core.Recording, kept: list[int]) -> list[int]:
    """Return the calls `kept` of a recording with each optimiser's update as early as can be."""
    calls = recording.calls
    touched: dict[int, int] = {}  # by the id of a memory, the last call that reads or writes it
    written: dict[int, int] = {}
    places: list[tuple[int, int]] = []
    for i, number in enumerate(kept):
        _, name, _, arrays, _, count = calls[number]
        memories = [None if array is None else id(memory_of(array)) for array in arrays]
        outputs = {memory for memory in memories[:count] if memory is not None}
        inputs = {memory for memory in memories[count:] if memory is not None}
        place = i
        if name.endswith("_update"):  # behind the call of that place
            place = max(
                (*(touched.get(m, -1) for m in outputs), *(written.get(m, -1) for m in inputs)),
                default=-1,
            )
        places.append((place, i))
        for memory in outputs | inputs:
            touched[memory] = max(place, touched.get(memory, -1))
        for memory in outputs:
            written[memory] = place
    return [kept[i] for _, i in sorted(places)]
