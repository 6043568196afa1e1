"""Exponential moving average of a model's weights, which generalises better than the last ones.

Polyak and Juditsky, "Acceleration of stochastic approximation by averaging" (1992); the early
decay is TensorFlow's ``ExponentialMovingAverage(num_updates)``, so that the random start is
forgotten within a few steps. The trainer updates it after each step and evaluates with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from . import _core
from .replay import on_replay, refuse_replay
from .tensor import Tensor

if TYPE_CHECKING:
    from .nn import Module

__all__ = ["EMA"]


class EMA:
    """Averages of all floating-point entries of a ``state_dict``; the others are copied.

    After step ``n`` an entry is ``d * average + (1 - d) * value`` with
    ``d = min(decay, (1 + n) / (10 + n))``.

    Parameters
    ----------
    model : Module
        Running statistics are averaged like weights: they belong to them.
    decay : float
        In [0, 1); 0.999 averages over about the last thousand steps.

    Raises
    ------
    ValueError
        If `decay` is outside of [0, 1).

    Examples
    --------
    >>> from cnnfast import nn
    >>> from cnnfast.ema import EMA
    >>> model = nn.Linear(1, 1, bias=False)
    >>> _ = nn.init.zeros_(model.weight)
    >>> average = EMA(model, decay=0.5)
    >>> _ = nn.init.ones_(model.weight)
    >>> average.update()  # after each optimiser step
    >>> with average.applied():
    ...     round(float(model.weight), 3)
    0.818
    """

    def __init__(self, model: Module, decay: float = 0.999) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"EMA: decay is {decay}, expected at least 0 and below 1")
        self.decay = decay
        self.updates = 0
        self._model = model
        self._take = np.zeros(1, np.float32)  # the share of the present weights, for the kernels
        self.shadow: dict[str, npt.NDArray[Any]] = self._copy()

    def _copy(self) -> dict[str, npt.NDArray[Any]]:
        return {name: np.array(value.array) for name, value in self._model.state_dict().items()}

    def update(self) -> None:
        """Take in the model's present weights."""
        self._advance()
        on_replay(self._advance, self._take)
        for name, value in self._model.state_dict().items():
            self._blend(self.shadow[name], value)

    def _advance(self) -> None:
        """Count an update and renew the share that it takes of the present weights."""
        self.updates += 1
        self._take[0] = 1 - min(self.decay, (1 + self.updates) / (10 + self.updates))

    def _blend(self, average: npt.NDArray[Any], value: Tensor) -> None:
        if average.dtype == np.float32:
            take = self._take.reshape((1,) * average.ndim)
            _core.ternary("lerp", average, average, value.array, take)
        elif average.dtype == np.int64 and average.size == 1:
            _core.counter_add(average, value.array, 0)
        else:
            refuse_replay("a copy of integers or booleans")
            average[...] = value.array

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Lend the averages to the model; its own weights come back, bit for bit, at the end."""
        own = self._copy()
        self._model.load_state_dict(self.shadow)
        try:
            yield
        finally:
            self._model.load_state_dict(own)

    def restore(self, shadow: dict[str, npt.NDArray[Any]], updates: int) -> None:
        """Take over the averages of a checkpoint.

        Raises
        ------
        ValueError
            If names or shapes are not those of the model.
        """
        expected = {name: value.shape for name, value in self.shadow.items()}
        found = {name: value.shape for name, value in shadow.items()}
        if expected != found:
            odd = sorted(set(expected.items()) ^ set(found.items()))[0]
            raise ValueError(f"EMA: the averages do not fit the model, first at {odd}")
        self.shadow = {name: np.array(value, copy=True) for name, value in shadow.items()}
        self.updates = updates
