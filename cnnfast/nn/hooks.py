"""Hooks of a Module: an ordered table of functions, and the handle that takes one out again.

A table maps a key that only the handle knows to (function, whether it takes keyword arguments).
Called by `Module.register_forward_hook` and `Module.register_forward_pre_hook`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from . import changes

__all__ = ["HookTable", "RemovableHandle"]

HookTable = OrderedDict[object, tuple[Callable[..., Any], bool]]


class RemovableHandle:
    """Puts a hook into a table; `remove()`, or leaving a `with` block, takes it out.

    Examples
    --------
    >>> from cnnfast import nn
    >>> shapes = []
    >>> layer = nn.Identity()
    >>> with layer.register_forward_hook(lambda module, args, output: shapes.append(output)):
    ...     _ = layer(1)
    >>> _ = layer(2)
    >>> shapes
    [1]
    """

    def __init__(
        self, table: HookTable, hook: Callable[..., Any], with_kwargs: bool, prepend: bool
    ) -> None:
        self._table = table
        self._key = object()
        table[self._key] = (hook, with_kwargs)
        changes.note()
        if prepend:
            table.move_to_end(self._key, last=False)

    def remove(self) -> None:
        """Take the hook out; a second call does nothing."""
        self._table.pop(self._key, None)
        changes.note()

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()
