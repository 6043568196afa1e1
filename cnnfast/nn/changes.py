"""Counts changes of Modules, so that what was recorded of a model notices that it is another now.

Modules, their tables and their hooks `note` each assignment; `TrainStep` looks at `count`.
"""

from __future__ import annotations

__all__ = ["count", "note"]

_changes = [0]


def note() -> None:
    """Say that an attribute, a part or a hook of some Module was set or taken away."""
    _changes[0] += 1


def count() -> int:
    """Return how many changes there were."""
    return _changes[0]
