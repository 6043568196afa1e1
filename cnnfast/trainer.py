"""The training loop: fit, evaluate, predict, checkpoints and resuming to the same bits.

An epoch here is: for each batch one `TrainStep` (forward, loss, backward, clip, optimiser, average)
and the schedule; then the held-out set, the schedule if it counts epochs, the callbacks, and at
last the checkpoint.
Nothing random happens between the checkpoint and the next epoch, which is why a resumed run
repeats an uninterrupted one exactly.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from . import checkpoint as _checkpoint
from . import random as _random
from .callbacks import Callback
from .checkpoint import PathLike
from .ema import EMA
from .feeding import as_loader, images_of, length_of
from .history import History, Logs
from .metrics import Meter, Metric, meters
from .modes import evaluation
from .progress import Progress
from .train_step import TrainStep

if TYPE_CHECKING:
    from .nn import Module
    from .optim import Optimizer

__all__ = ["History", "Trainer"]

Array = npt.NDArray[Any]


class Trainer:
    """Fit a model to data, measure it, and use it.

    Parameters
    ----------
    model : Module
    loss : callable, optional
        ``loss(scores, labels) -> Tensor`` of one element, the mean over the batch. Default:
        ``nn.CrossEntropyLoss()``.
    optimizer : Optimizer or str
        An optimiser of the model's parameters, or ``"sgd"``, ``"adam"``, ``"adamw"``,
        ``"rmsprop"`` with its defaults.
    scheduler : LRScheduler, optional
        Of the same optimiser.
    metrics : sequence of str or callable
        See `cnnfast.metrics.meter`; they are logged beside the loss.
    clip_norm : float, optional
        Largest 2-norm of all gradients together; larger ones are scaled down to it.
    ema : float, optional
        Decay of an average of the weights (`cnnfast.ema.EMA`), which then serves ``evaluate``,
        ``predict`` and ``save``.
    callbacks : sequence of Callback
        Called in their order.
    seed : int, optional
        Start of all random numbers of a ``fit`` that does not resume. The model's own weights
        are drawn before: call ``cnnfast.manual_seed`` for them.
    progress : bool
        Show a bar on a terminal, a line an epoch elsewhere, on standard error.
    schedule_per : {"batch", "epoch"}, optional
        When the schedule steps. Default: per batch for ``OneCycleLR``, else per epoch.
        ``ReduceLROnPlateau`` is given the validation loss, or the training loss without one.

    Attributes
    ----------
    history : History
    train_step : TrainStep
        What runs each step; its ``reason`` tells why, where that is not one recorded call.
    epoch : int
        Epochs that are done.
    stopped : bool
        Set by a callback to end the training after the present epoch.
    metadata : dict
        JSON that ``save`` and checkpoints carry: class names, input normalisation and so on.

    Raises
    ------
    ValueError
        If an argument is out of its range or unknown.

    Examples
    --------
    >>> import numpy as np
    >>> from cnnfast import Trainer, models
    >>> y = np.arange(64) % 2  # dark and light images
    >>> x = np.ones((64, 1, 28, 28), np.float32) * y[:, None, None, None]
    >>> trainer = Trainer(models.lenet5(num_classes=2), optimizer="adam", seed=0, progress=False)
    >>> history = trainer.fit((x, y), epochs=5, batch_size=8)
    >>> trainer.evaluate((x, y))["accuracy"]
    1.0
    """

    def __init__(
        self,
        model: Module,
        loss: Callable[[Any, Any], Any] | None = None,
        optimizer: Optimizer | str = "adam",
        scheduler: Any = None,
        metrics: Sequence[str | Metric] = ("accuracy",),
        clip_norm: float | None = None,
        ema: float | None = None,
        callbacks: Sequence[Callback] = (),
        seed: int | None = None,
        progress: bool = True,
        *,
        schedule_per: str | None = None,
    ) -> None:
        if schedule_per not in (None, "batch", "epoch"):
            raise ValueError(
                f"Trainer: schedule_per is {schedule_per!r}, expected 'batch' or 'epoch'"
            )
        self.model = model
        self.loss = loss if loss is not None else _default_loss()
        self.optimizer = _optimizer(optimizer, model)
        self.scheduler = scheduler
        self.schedule_per = schedule_per or _pace(scheduler)
        self.ema = None if ema is None else EMA(model, ema)
        self.train_step = TrainStep(
            model, self.loss, self.optimizer, clip_norm=clip_norm, ema=self.ema)
        self.callbacks = list(callbacks)
        self.seed = seed
        self.progress = progress
        self.history = History()
        self.epoch = 0
        self.stopped = False
        self.metadata: dict[str, Any] = {}
        self._meters = meters(metrics)
        self._val_meters = meters(metrics)

    @property
    def learning_rate(self) -> float:
        """Learning rate of the first parameter group."""
        return float(self.optimizer.param_groups[0]["lr"])

    def fit(
        self,
        train: Any,
        validation: Any = None,
        epochs: int = 10,
        batch_size: int = 64,
        resume: PathLike | None = None,
        checkpoint: PathLike | None = None,
    ) -> History:
        """Train until `epochs` epochs are done.

        Parameters
        ----------
        train, validation : DataLoader, Dataset or pair of arrays
            Batches ``(images, labels)``; what is not a loader is put into one, shuffled for
            training.
        epochs : int
            In all, those before a resume included.
        batch_size : int
            For what is not a loader.
        resume : path, optional
            Checkpoint to go on from. Model, optimiser, schedule, callbacks and data must be made
            as they were for the first run; the rest comes from the file.
        checkpoint : path, optional
            Written before the first epoch and after each, replaced in one step. Default: `resume`.

        Returns
        -------
        History

        Raises
        ------
        FormatError
            If `resume` is not an undamaged training checkpoint of such a model.
        FloatingPointError
            If the loss is not finite; the checkpoint is that of the last whole epoch.
        KeyboardInterrupt
            On Ctrl-C, with one line about where the checkpoint is.
        OSError
            If a file cannot be read or written.
        """
        if epochs < 0:
            raise ValueError(f"fit: epochs is {epochs}, expected 0 or more")
        loader = as_loader(train, batch_size, shuffle=True, seed=self.seed)
        held_out = None if validation is None else as_loader(validation, batch_size)
        checkpoint = resume if checkpoint is None else checkpoint
        self._begin(loader, resume)
        for callback in self.callbacks:
            callback.on_fit_begin(self)
        if checkpoint is not None and resume is None:
            self.save_checkpoint(checkpoint, loader)
        with self._interruptible(checkpoint):
            while self.epoch < epochs and not self.stopped:
                self._epoch(loader, held_out, epochs)
                if checkpoint is not None:
                    self.save_checkpoint(checkpoint, loader)
        for callback in self.callbacks:
            callback.on_fit_end(self)
        return self.history

    def _begin(self, loader: Any, resume: PathLike | None) -> None:
        self.train_step.loss, self.train_step.optimizer = self.loss, self.optimizer
        if resume is not None:
            self.load_checkpoint(resume, loader)
            return
        self.epoch, self.stopped, self.history = 0, False, History()
        if self.seed is not None:
            _random.manual_seed(self.seed)

    @contextmanager
    def _interruptible(self, checkpoint: PathLike | None) -> Iterator[None]:
        """Give a Ctrl-C one line that says what is saved and how to go on."""
        try:
            yield
        except KeyboardInterrupt:
            kept = "no checkpoint was asked for"
            if checkpoint is not None:
                kept = f"the last whole epoch is in {checkpoint}, ready to resume"
            raise KeyboardInterrupt(f"stopped in epoch {self.epoch + 1}; {kept}") from None

    def _epoch(self, loader: Any, held_out: Any, epochs: int) -> None:
        bar = Progress(f"epoch {self.epoch + 1}/{epochs}", length_of(loader), self.progress)
        try:
            logs = self._train(loader, bar)
            if held_out is not None:
                found = self._measure(held_out, self._val_meters)
                logs |= {f"val_{name}": value for name, value in found.items()}
            if self.scheduler is not None and self.schedule_per == "epoch":
                self._step_schedule(logs)
        except BaseException:
            bar.abandon()
            raise
        self.epoch += 1
        self.history.append(logs)
        bar.finish(logs)
        for callback in self.callbacks:
            callback.on_epoch_end(self, logs)

    def _train(self, loader: Any, bar: Progress) -> Logs:
        """Go through the training set once."""
        start = time.perf_counter()
        total, images_seen, rate = 0.0, 0, self.learning_rate
        for each in self._meters:
            each.reset()
        self.model.train()
        for images, labels in loader:
            rate = self.learning_rate
            loss, scores = self._step(images, labels)
            total += loss * len(images)
            images_seen += len(images)
            for each in self._meters:
                each.update(scores, labels)
            bar.advance(loss)
        seconds = time.perf_counter() - start
        if not images_seen:
            raise ValueError("fit: the training data has no batch")
        return {
            "epoch": self.epoch + 1,
            "loss": total / images_seen,
            **{each.name: each.result() for each in self._meters},
            "lr": rate,
            "seconds": seconds,
            "images_per_second": images_seen / seconds,
        }

    def _step(self, images: Array, labels: Array) -> tuple[float, Array]:
        """Train on one batch; return its loss and its scores."""
        value = float(self.train_step(images, labels))
        if not math.isfinite(value):
            raise FloatingPointError(
                f"the loss became {value} in epoch {self.epoch + 1}; "
                "lower the learning rate, clip the gradients (clip_norm) or check the data"
            )
        for callback in self.callbacks:
            callback.on_batch_end(self, value)
        if self.scheduler is not None and self.schedule_per == "batch":
            self.scheduler.step()
        scores = self.train_step.scores
        if scores is None:
            raise TypeError("fit: expected a model that returns one Tensor, for the metrics")
        return value, scores.numpy()

    def _step_schedule(self, logs: Logs) -> None:
        if type(self.scheduler).__name__ == "ReduceLROnPlateau":
            self.scheduler.step(logs.get("val_loss", logs["loss"]))
        else:
            self.scheduler.step()

    def evaluate(self, data: Any, batch_size: int = 256) -> Logs:
        """Measure loss and metrics on `data`.

        Parameters
        ----------
        data : DataLoader, Dataset or pair of arrays
        batch_size : int
            For what is not a loader.

        Returns
        -------
        dict of str to float
            ``loss`` and the metrics; means over the samples.

        Raises
        ------
        ValueError
            If `data` is empty or of no such kind.
        """
        return self._measure(as_loader(data, batch_size), self._val_meters)

    def _measure(self, loader: Any, figures: list[Meter]) -> Logs:
        from . import as_tensor

        total, images_seen = 0.0, 0
        for each in figures:
            each.reset()
        with self._evaluating():
            for images, labels in loader:
                scores = self.model(as_tensor(images))
                total += float(self.loss(scores, as_tensor(labels))) * len(images)
                images_seen += len(images)
                for each in figures:
                    each.update(scores.numpy(), labels)
        if not images_seen:
            raise ValueError("evaluate: the data has no batch")
        return {"loss": total / images_seen, **{each.name: each.result() for each in figures}}

    def predict(self, data: Any, batch_size: int = 256, probabilities: bool = False) -> Array:
        """Return the model's scores for `data`.

        Parameters
        ----------
        data : array, DataLoader, Dataset or pair of arrays
            Labels are ignored. A loader must not shuffle, or the order is lost.
        batch_size : int
            For what is not a loader.
        probabilities : bool
            Return the softmax of the scores over axis 1 instead of the scores (logits).

        Returns
        -------
        ndarray, float32, (N, classes)

        Raises
        ------
        ValueError
            If `data` is empty or of no such kind.
        """
        from . import as_tensor, functional

        parts = []
        with self._evaluating():
            for images in images_of(data, batch_size):
                scores = self.model(as_tensor(images))
                if probabilities:
                    scores = functional.softmax(scores, 1)
                parts.append(np.array(scores.numpy()))
        if not parts:
            raise ValueError("predict: the data is empty")
        return np.concatenate(parts)

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        """Evaluation mode, no tape, averaged weights; all as before at the end."""
        with evaluation(self.model), self._averaged():
            yield

    def _averaged(self) -> AbstractContextManager[None]:
        return self.ema.applied() if self.ema else nullcontext()

    def weights(self) -> dict[str, Array]:
        """Return a copy of the weights that ``evaluate`` uses."""
        with self._averaged():
            state = self.model.state_dict()
            return {name: np.array(value.detach().numpy()) for name, value in state.items()}

    def load_weights(self, weights: dict[str, Array]) -> None:
        """Put `weights` into the model and, where there is one, into its average."""
        self.model.load_state_dict(weights)
        if self.ema:
            self.ema.restore(weights, self.ema.updates)

    def save(self, path: PathLike) -> None:
        """Write the model as ``evaluate`` uses it, with ``metadata``; see `cnnfast.save`."""
        with self._averaged():
            _checkpoint.save(self.model, path, **self.metadata)

    def save_checkpoint(self, path: PathLike, loader: Any = None) -> None:
        """Write all that a resumed run needs; ``fit`` does it after each epoch."""
        state = {
            "parts": self._parts(),
            "epoch": self.epoch,
            "stopped": self.stopped,
            "history": self.history.history,
            "optimizer": self.optimizer.state_dict(),
            "scheduler": _state(self.scheduler),
            "ema_updates": self.ema.updates if self.ema else 0,
            "random": _random.get_state(),
            "loader": _state(loader),
            "callbacks": [callback.state_dict() for callback in self.callbacks],
        }
        shadow = self.ema.shadow if self.ema else None
        _checkpoint.save_training(path, self.model, shadow, state, **self.metadata)

    def load_checkpoint(self, path: PathLike, loader: Any = None) -> None:
        """Take over what `save_checkpoint` wrote.

        Raises
        ------
        FormatError
            If the file is damaged or was written with another model, optimiser, schedule or
            other callbacks.
        """
        weights, shadow, state, metadata = _checkpoint.load_training(path)
        with _checkpoint.explained(f"{path}: the checkpoint does not fit this trainer"):
            _check_parts(state["parts"], self._parts())
            self.model.load_state_dict(weights)
            self.optimizer.load_state_dict(state["optimizer"])
            for part, saved in ((self.scheduler, "scheduler"), (loader, "loader")):
                if state[saved] is not None and hasattr(part, "load_state_dict"):
                    part.load_state_dict(state[saved])
            if self.ema:
                self.ema.restore(shadow, state["ema_updates"])
            for callback, saved_callback in zip(self.callbacks, state["callbacks"], strict=True):
                callback.load_state_dict(saved_callback)
            self.epoch, self.stopped = state["epoch"], state["stopped"]
            self.history = History(state["history"])
            self.metadata = metadata
            _random.set_state(state["random"])

    def _parts(self) -> dict[str, Any]:
        """Name what a checkpoint's state belongs to."""
        return {
            "optimizer": type(self.optimizer).__name__,
            "scheduler": type(self.scheduler).__name__,
            "averaged weights": self.ema is not None,
            "callbacks": [type(callback).__name__ for callback in self.callbacks],
        }


def _check_parts(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Refuse a checkpoint that was made by other parts."""
    for name, here in expected.items():
        if found[name] != here:
            raise ValueError(f"{name}: the file has {found[name]}, the trainer {here}")


def _default_loss() -> Callable[[Any, Any], Any]:
    from . import nn

    return nn.CrossEntropyLoss()


def _optimizer(optimizer: Optimizer | str, model: Module) -> Optimizer:
    if not isinstance(optimizer, str):
        return optimizer
    from . import optim

    known = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW", "rmsprop": "RMSprop"}
    if optimizer not in known:
        raise ValueError(f"optimizer {optimizer!r} is unknown, expected one of {', '.join(known)}")
    return getattr(optim, known[optimizer])(model.parameters())


def _pace(scheduler: Any) -> str:
    return "batch" if type(scheduler).__name__ == "OneCycleLR" else "epoch"


def _state(part: Any) -> Any:
    return part.state_dict() if hasattr(part, "state_dict") else None
