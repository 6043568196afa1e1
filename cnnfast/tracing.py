"""The hook through which a model's calls of `cnnfast.functional` can be noted.

`cnnfast.functional` passes each of its public functions through `traceable`. Outside a trace that
costs one look at a thread's variable; inside `tracing(observer)` the observer is called instead
and decides what to do. Functions that call others of the package do so directly, so the observer
sees what the model calls and not how it is done. `cnnfast.compiler.tracer` is the observer.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

__all__ = ["Observer", "traceable", "tracing"]

Function = TypeVar("Function", bound=Callable[..., Any])
Observer = Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]
"""Given a function, its arguments and its keyword arguments; returns what the caller gets."""


class _State(threading.local):
    observer: Observer | None = None


_state = _State()


@contextmanager
def tracing(observer: Observer | None) -> Iterator[None]:
    """Let `observer` see the calls of this thread; None hides them from the one outside."""
    outer, _state.observer = _state.observer, observer
    try:
        yield
    finally:
        _state.observer = outer


def traceable(function: Function) -> Function:
    """Return `function` so that a trace sees its calls."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        observer = _state.observer
        if observer is None:
            return function(*args, **kwargs)
        return observer(function, args, kwargs)

    return call  # type: ignore[return-value]
