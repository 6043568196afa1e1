"""The record of a training, one row an epoch. Kept by the trainer, read by callbacks and plots."""

from __future__ import annotations

import math

__all__ = ["History", "Logs"]

Logs = dict[str, float]


class History:
    """What each epoch reported, as Keras's: ``history.history["loss"]`` is a list over the epochs.

    Attributes
    ----------
    history : dict of str to list of float
        ``epoch`` (from 1), ``loss``, the metrics, ``val_loss`` and ``val_<metric>`` with a
        validation set, ``lr`` of the epoch's last step, ``seconds`` of training without the
        validation, and ``images_per_second``. NaN where an epoch did not report a figure.

    Examples
    --------
    >>> from cnnfast.history import History
    >>> record = History()
    >>> record.append({"epoch": 1, "loss": 0.5})
    >>> record.history["loss"]
    [0.5]
    """

    def __init__(self, history: dict[str, list[float]] | None = None) -> None:
        self.history: dict[str, list[float]] = history or {}

    def __len__(self) -> int:
        return max((len(values) for values in self.history.values()), default=0)

    def append(self, logs: Logs) -> None:
        """Add an epoch."""
        before = len(self)
        for name in logs:
            self.history.setdefault(name, [math.nan] * before)
        for name, values in self.history.items():
            values.append(logs.get(name, math.nan))

    def rows(self) -> list[Logs]:
        """Return one dictionary an epoch."""
        return [
            {name: values[epoch] for name, values in self.history.items()}
            for epoch in range(len(self))
        ]
