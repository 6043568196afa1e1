"""What can be hung into the trainer's loop: early stopping, best checkpoint, logs.

A callback is told of the ends of batches and epochs and may set ``trainer.stopped``. What it must
remember across a resumed run it returns from ``state_dict``; arrays and Tensors are allowed there.
"""

from __future__ import annotations

import csv
import io
import math
from typing import TYPE_CHECKING, Any

from .checkpoint import PathLike, write_atomic

if TYPE_CHECKING:
    from .trainer import Trainer

__all__ = ["BestCheckpoint", "CSVLog", "Callback", "EarlyStopping", "LearningRateLog"]

Logs = dict[str, float]


class Callback:
    """Base of all callbacks: override what is of interest.

    Examples
    --------
    >>> from cnnfast.callbacks import Callback
    >>> class Shout(Callback):
    ...     def on_epoch_end(self, trainer, logs):
    ...         print("loss", logs["loss"])
    """

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Follow the start of ``fit``; after the state of a checkpoint was restored."""

    def on_batch_end(self, trainer: Trainer, loss: float) -> None:
        """Follow a batch, after the optimiser's step and before the schedule's."""

    def on_epoch_end(self, trainer: Trainer, logs: Logs) -> None:
        """Follow an epoch; ``trainer.history`` already ends with `logs`."""

    def on_fit_end(self, trainer: Trainer) -> None:
        """Follow the last epoch; not called when ``fit`` is interrupted."""

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run must know."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` returned."""


class _Best:
    """The best value so far of one of the logged figures."""

    def __init__(self, monitor: str, mode: str, min_delta: float = 0.0) -> None:
        if mode not in ("auto", "min", "max"):
            raise ValueError(f"mode is {mode!r}, expected 'auto', 'min' or 'max'")
        if mode == "auto":
            mode = "min" if monitor.endswith(("loss", "error")) else "max"
        self.monitor = monitor
        self.sign = 1.0 if mode == "max" else -1.0
        self.min_delta = abs(min_delta)
        self.value = -math.inf * self.sign

    def improved(self, logs: Logs) -> bool:
        """Say whether `logs` beat the best so far by more than ``min_delta``, and keep it if so."""
        if self.monitor not in logs:
            raise ValueError(
                f"cannot monitor {self.monitor!r}: an epoch logs {', '.join(logs)}"
                + ("; give fit a validation set" if self.monitor.startswith("val_") else "")
            )
        better = self.sign * (logs[self.monitor] - self.value) > self.min_delta
        if better:
            self.value = logs[self.monitor]
        return better


class EarlyStopping(Callback):
    """End the training when a figure has not improved for some epochs.

    Parameters
    ----------
    monitor : str
        A key of the epoch's logs.
    patience : int
        As in Keras: so many epochs without improvement end the training (0 is taken as 1).
    min_delta : float
        Smaller improvements do not count.
    mode : {"auto", "min", "max"}
        Which direction is better; "auto" minimises what ends in "loss" or "error".
    restore_best : bool
        Put the best epoch's weights back at the end.

    Raises
    ------
    ValueError
        If `patience` is negative or `mode` unknown; in ``fit``, if `monitor` is not logged.

    Examples
    --------
    >>> from cnnfast.callbacks import EarlyStopping
    >>> EarlyStopping("val_accuracy", patience=5, restore_best=True).patience
    5
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 3,
        min_delta: float = 0.0,
        mode: str = "auto",
        restore_best: bool = False,
    ) -> None:
        if patience < 0:
            raise ValueError(f"EarlyStopping: patience is {patience}, expected 0 or more")
        self.patience = patience
        self.restore_best = restore_best
        self._best = _Best(monitor, mode, min_delta)
        self._waited = 0
        self._weights: dict[str, Any] = {}

    def on_epoch_end(self, trainer: Trainer, logs: Logs) -> None:
        """Count the epochs without improvement."""
        if self._best.improved(logs):
            self._waited = 0
            if self.restore_best:
                self._weights = trainer.weights()
            return
        self._waited += 1
        trainer.stopped = trainer.stopped or self._waited >= max(self.patience, 1)

    def on_fit_end(self, trainer: Trainer) -> None:
        """Bring back the best weights where that was asked for."""
        if self._weights:
            trainer.load_weights(self._weights)

    def state_dict(self) -> dict[str, Any]:
        """Return the best value, the wait and the best weights."""
        return {"best": self._best.value, "waited": self._waited, "weights": self._weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        self._best.value = state["best"]
        self._waited = state["waited"]
        self._weights = state["weights"]


class BestCheckpoint(Callback):
    """Save the model whenever a figure has improved.

    Parameters
    ----------
    path : path
        A file that `cnnfast.load` reads; replaced in one step.
    monitor : str
        A key of the epoch's logs.
    mode : {"auto", "min", "max"}
        Which direction is better; "auto" minimises what ends in "loss" or "error".

    Raises
    ------
    ValueError
        If `mode` is unknown; in ``fit``, if `monitor` is not logged.
    OSError
        In ``fit``, if the file cannot be written.

    Examples
    --------
    >>> from cnnfast.callbacks import BestCheckpoint
    >>> keep = BestCheckpoint("best.safetensors", monitor="val_accuracy")
    """

    def __init__(self, path: PathLike, monitor: str = "val_loss", mode: str = "auto") -> None:
        self.path = path
        self._best = _Best(monitor, mode)

    def on_epoch_end(self, trainer: Trainer, logs: Logs) -> None:
        """Save the model if it is the best so far."""
        if self._best.improved(logs):
            trainer.save(self.path)

    def state_dict(self) -> dict[str, Any]:
        """Return the best value."""
        return {"best": self._best.value}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        self._best.value = state["best"]


class CSVLog(Callback):
    """Keep a CSV file of the history: one row an epoch, a header of the names.

    The whole file is rewritten after each epoch: it is small, it is never half a row, and a
    resumed run continues it without doubled epochs.

    Parameters
    ----------
    path : path

    Raises
    ------
    OSError
        In ``fit``, if the file cannot be written.

    Examples
    --------
    >>> from cnnfast.callbacks import CSVLog
    >>> log = CSVLog("history.csv")
    """

    def __init__(self, path: PathLike) -> None:
        self.path = path

    def on_epoch_end(self, trainer: Trainer, logs: Logs) -> None:
        """Write the history so far."""
        rows = trainer.history.rows()
        text = io.StringIO(newline="")
        table = csv.DictWriter(text, fieldnames=list(trainer.history.history), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
        write_atomic(self.path, text.getvalue().encode())


class LearningRateLog(Callback):
    """Record the learning rate of every step; the history has that of each epoch's last step.

    Attributes
    ----------
    rates : list of float
        Learning rate of the first parameter group in each step so far.

    Examples
    --------
    >>> from cnnfast.callbacks import LearningRateLog
    >>> LearningRateLog().rates
    []
    """

    def __init__(self) -> None:
        self.rates: list[float] = []

    def on_batch_end(self, trainer: Trainer, loss: float) -> None:
        """Append the rate that the step has used."""
        self.rates.append(trainer.learning_rate)

    def state_dict(self) -> dict[str, Any]:
        """Return the rates so far."""
        return {"rates": list(self.rates)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        self.rates = list(state["rates"])
