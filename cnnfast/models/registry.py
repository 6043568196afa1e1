"""The register of model constructors: what a saved file needs to rebuild a network by name.

`register` wraps a constructor so that the network it returns knows its name and arguments;
`build` calls a constructor by name. The arguments are plain JSON values. Used by every file of
`cnnfast.models`, by `cnnfast.save` and `cnnfast.load`, and by the command line.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast

from ..nn import Module

__all__ = ["build", "names", "register"]

Constructor = TypeVar("Constructor", bound=Callable[..., Module])

_constructors: dict[str, Callable[..., Module]] = {}


def register(constructor: Constructor) -> Constructor:
    """Enter a function that returns a Module into the register, under its own name.

    The network gets an attribute ``architecture = {"name": ..., "config": {...}}`` with all
    arguments, defaults included, so that ``build(name, **config)`` makes the same network. It says
    nothing of layers that are replaced afterwards.

    Parameters
    ----------
    constructor : callable
        Its arguments are numbers, strings, booleans, None, or lists of these.

    Raises
    ------
    ValueError
        The name is taken.

    Examples
    --------
    >>> from cnnfast import models
    >>> models.mlp(hidden=[32]).architecture["config"]["hidden"]
    [32]
    """
    name = constructor.__name__
    if name in _constructors:
        raise ValueError(f"a model named {name!r} is registered already")
    signature = inspect.signature(constructor)

    @functools.wraps(constructor)
    def construct(*args: Any, **kwargs: Any) -> Module:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        model = constructor(*args, **kwargs)
        config = {key: _plain(value) for key, value in bound.arguments.items()}
        model.architecture = {"name": name, "config": config}
        return model

    _constructors[name] = construct
    return cast("Constructor", construct)


def build(name: str, **config: Any) -> Module:
    """Return a new network of the registered `name`.

    Raises
    ------
    ValueError
        There is no such name, or the network does not take these arguments.

    Examples
    --------
    >>> from cnnfast import models
    >>> saved = models.lenet5(num_classes=4).architecture
    >>> models.build(saved["name"], **saved["config"]).fc3.out_features
    4
    """
    if name not in _constructors:
        raise ValueError(f"no model is named {name!r}; there are {', '.join(names())}")
    try:
        inspect.signature(_constructors[name]).bind(**config)
    except TypeError as error:
        raise ValueError(f"{name}: {error}") from None
    return _constructors[name](**config)


def names() -> list[str]:
    """Return the names of all registered models, sorted.

    Examples
    --------
    >>> from cnnfast import models
    >>> "resnet18" in models.names()
    True
    """
    return sorted(_constructors)


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
