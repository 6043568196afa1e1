"""Schedules made of schedules: one after the other, or all at once."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from .optimizer import Optimizer
from .plateau import ReduceLROnPlateau
from .schedules import LRScheduler

__all__ = ["ChainedScheduler", "SequentialLR"]


class _Combined(LRScheduler):
    """Checks the schedules and saves their state."""

    def __init__(self, optimizer: Optimizer | None, schedulers: Sequence[LRScheduler]) -> None:
        name = type(self).__name__
        if not schedulers:
            raise ValueError(f"{name} expects at least one scheduler, but got no scheduler")
        self.optimizer = schedulers[0].optimizer if optimizer is None else optimizer
        for index, scheduler in enumerate(schedulers):
            if isinstance(scheduler, ReduceLROnPlateau):
                raise ValueError(
                    f"{name} does not support ReduceLROnPlateau (at index {index}), whose step "
                    "takes a measure"
                )
            if scheduler.optimizer is not self.optimizer:
                raise ValueError(f"the scheduler at index {index} belongs to another optimizer")
        self._schedulers = list(schedulers)

    def state_dict(self) -> dict[str, Any]:
        """Return everything but the optimiser, with the states of the schedules."""
        states = [scheduler.state_dict() for scheduler in self._schedulers]
        return {**super().state_dict(), "_schedulers": states}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue where the schedule was that `state_dict` came from."""
        schedulers = self._schedulers
        for scheduler, state in zip(schedulers, state_dict["_schedulers"], strict=True):
            scheduler.load_state_dict(state)
        super().load_state_dict({**state_dict, "_schedulers": schedulers})


class SequentialLR(_Combined):
    """Schedules one after the other, each from its own beginning.

    Parameters
    ----------
    optimizer : Optimizer
    schedulers : list of LRScheduler
    milestones : list of int
        The steps at which the second, third, ... takes over.
    last_epoch : int

    Raises
    ------
    ValueError
        There is not one milestone fewer than schedules, or they are for different optimisers.

    Examples
    --------
    >>> from cnnfast import nn, optim
    >>> from cnnfast.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR
    >>> optimizer = optim.SGD(nn.Linear(2, 2).parameters(), lr=1.0)
    >>> warm_up = LinearLR(optimizer, start_factor=0.5, total_iters=2)
    >>> schedule = SequentialLR(optimizer, [warm_up, CosineAnnealingLR(optimizer, 10)], [2])
    >>> rates = []
    >>> for _ in range(3): rates += schedule.get_last_lr(); optimizer.step(); schedule.step()
    >>> rates
    [0.5, 0.75, 1.0]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: Sequence[LRScheduler],
        milestones: Sequence[int],
        last_epoch: int = -1,
    ) -> None:
        super().__init__(optimizer, schedulers)
        if len(milestones) != len(schedulers) - 1:
            raise ValueError(
                "SequentialLR expects one milestone fewer than schedulers, got "
                f"{len(milestones)} and {len(schedulers)}"
            )
        self._milestones = list(milestones)
        self.last_epoch = last_epoch + 1
        self._restart()

    def _restart(self) -> None:
        self.last_epoch = 0
        self._enter(self._schedulers[bisect_right(self._milestones, 0)])

    def _enter(self, scheduler: LRScheduler) -> None:
        scheduler._restart()
        self._last_lr = scheduler.get_last_lr()

    def step(self) -> None:
        """Step the schedule whose turn it is."""
        self.last_epoch += 1
        index = bisect_right(self._milestones, self.last_epoch)
        scheduler = self._schedulers[index]
        if index > 0 and self._milestones[index - 1] == self.last_epoch:
            self._enter(scheduler)
        else:
            scheduler.step()
            self._last_lr = scheduler.get_last_lr()


class ChainedScheduler(_Combined):
    """Schedules all at once: each multiplies what the one before it left.

    Parameters
    ----------
    schedulers : list of LRScheduler
    optimizer : Optimizer, optional
        Default: the one of the schedules.

    Examples
    --------
    >>> from cnnfast import nn, optim
    >>> from cnnfast.optim.lr_scheduler import ChainedScheduler, ConstantLR, ExponentialLR
    >>> optimizer = optim.SGD(nn.Linear(2, 2).parameters(), lr=1.0)
    >>> chained = ChainedScheduler([ConstantLR(optimizer, 0.5), ExponentialLR(optimizer, 0.5)])
    >>> optimizer.step(); chained.step()
    >>> chained.get_last_lr()
    [0.25]
    """

    def __init__(
        self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None
    ) -> None:
        super().__init__(optimizer, schedulers)
        self._last_lr = self._group_lrs()

    def step(self) -> None:
        """Step all schedules, in order."""
        for scheduler in self._schedulers:
            scheduler.step()
        self._last_lr = self._group_lrs()
