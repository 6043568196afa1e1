"""The state in which a model is measured: evaluation mode and no tape, undone at the end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .nn import Module

__all__ = ["evaluation"]


@contextmanager
def evaluation(model: Module) -> Iterator[None]:
    """Put `model` into evaluation mode without a tape; each module gets its own mode back.

    Examples
    --------
    >>> from cnnfast import nn
    >>> from cnnfast.modes import evaluation
    >>> model = nn.Dropout()
    >>> with evaluation(model):
    ...     model.training
    False
    >>> model.training
    True
    """
    from . import no_grad

    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training
