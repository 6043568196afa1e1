"""OneCycleLR: up to a high learning rate and down to almost none, in one run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .optimizer import Optimizer
from .schedules import LRScheduler

__all__ = ["OneCycleLR"]


class OneCycleLR(LRScheduler):
    """The 1cycle schedule; `step` is called after every batch.

    The learning rate goes from ``max_lr/div_factor`` to `max_lr`, then to
    ``max_lr/div_factor/final_div_factor``, while the momentum goes down and up again.

    Parameters
    ----------
    optimizer : Optimizer
    max_lr : float, or list with one a group
    total_steps : int, optional
        Batches in the run; or give `epochs` and `steps_per_epoch`.
    epochs, steps_per_epoch : int, optional
    pct_start : float
        Share of the run that goes up.
    anneal_strategy : {"cos", "linear"}
    cycle_momentum : bool
        Whether to change the momentum (for Adam the first beta) too.
    base_momentum, max_momentum : float, or list with one a group
    div_factor, final_div_factor : float
    three_phase : bool
        Go down to the first learning rate as fast as up, and to the last in a third phase.
    last_epoch : int

    Raises
    ------
    ValueError
        The length of the run is not given, an argument is out of its range, the optimiser has
        no momentum to change, or `step` is called more than `total_steps` times.

    Notes
    -----
    Source: Smith and Topin, Super-Convergence, 2018 (arXiv:1708.07120), with cosines as in fastai.

    Examples
    --------
    >>> from cnnfast import nn, optim
    >>> optimizer = optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1, momentum=0.9)
    >>> schedule = optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=10)
    >>> round(schedule.get_last_lr()[0], 4), optimizer.param_groups[0]["momentum"]
    (0.04, 0.95)
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | Sequence[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.85,
        max_momentum: float | Sequence[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")
        if not 0 <= pct_start <= 1:
            raise ValueError(f"pct_start must be between 0 and 1, got {pct_start}")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"anneal_strategy must be 'cos' or 'linear', got {anneal_strategy!r}")
        self.optimizer = optimizer
        self.total_steps = _run_length(total_steps, epochs, steps_per_epoch)
        self.anneal_strategy = anneal_strategy
        self.cycle_momentum = cycle_momentum
        self._phases = _phases(float(pct_start * self.total_steps), self.total_steps, three_phase)
        groups = optimizer.param_groups
        if last_epoch == -1:
            for group, high in zip(groups, _one_a_group("max_lr", groups, max_lr), strict=True):
                first = high / div_factor
                group.update(initial_lr=first, max_lr=high, min_lr=first / final_div_factor)
        if cycle_momentum:
            self._prepare_momentum(
                _one_a_group("base_momentum", groups, base_momentum),
                _one_a_group("max_momentum", groups, max_momentum),
                last_epoch,
            )
        super().__init__(optimizer, last_epoch)

    def _prepare_momentum(self, low: list[float], high: list[float], last_epoch: int) -> None:
        if not {"momentum", "betas"} & self.optimizer.defaults.keys():
            raise ValueError("cycle_momentum needs an optimizer with a momentum or with betas")
        if last_epoch == -1:
            for group, base, most in zip(self.optimizer.param_groups, low, high, strict=True):
                group.update(base_momentum=base, max_momentum=most)
                _set_momentum(group, most)

    def get_lr(self) -> list[float]:
        """Return the learning rates after this step, and write the momenta."""
        step = self.last_epoch
        if step > self.total_steps:
            raise ValueError(
                f"Tried to step {step} times. The specified number of total steps is "
                f"{self.total_steps}"
            )
        start = 0.0
        for phase in self._phases:
            end = phase["end_step"]
            if step <= end or phase is self._phases[-1]:
                break
            start = end
        share = (step - start) / (end - start)
        if self.cycle_momentum:
            for group in self.optimizer.param_groups:
                _set_momentum(group, self._between(group, phase, "momentum", share))
        return [self._between(group, phase, "lr", share) for group in self.optimizer.param_groups]

    def _between(
        self, group: dict[str, Any], phase: dict[str, Any], what: str, share: float
    ) -> float:
        start, end = group[phase[f"start_{what}"]], group[phase[f"end_{what}"]]
        if self.anneal_strategy == "linear":
            return (end - start) * share + start
        return end + (start - end) / 2.0 * (math.cos(math.pi * share) + 1)


def _run_length(total: int | None, epochs: int | None, steps_per_epoch: int | None) -> int:
    """Return the number of steps of the run from what was given of the three."""
    given = {"total_steps": total}
    if total is None:
        given = {"epochs": epochs, "steps_per_epoch": steps_per_epoch}
    length = 1
    for name, value in given.items():
        if value is None:
            raise ValueError("give total_steps, or epochs and steps_per_epoch")
        if not isinstance(value, int) or value <= 0:
            raise ValueError(f"Expected positive integer {name}, but got {value!r}")
        length *= value
    return length


def _phases(rise: float, total: int, three_phase: bool) -> list[dict[str, Any]]:
    """Return the phases: their last step and the keys of a group between which they go."""
    last = total - 1
    if three_phase:
        rows = [
            (rise - 1, "initial_lr", "max_lr", "max_momentum", "base_momentum"),
            (2 * rise - 2, "max_lr", "initial_lr", "base_momentum", "max_momentum"),
            (last, "initial_lr", "min_lr", "max_momentum", "max_momentum"),
        ]
    else:
        rows = [
            (rise - 1, "initial_lr", "max_lr", "max_momentum", "base_momentum"),
            (last, "max_lr", "min_lr", "base_momentum", "max_momentum"),
        ]
    names = ("end_step", "start_lr", "end_lr", "start_momentum", "end_momentum")
    return [dict(zip(names, row, strict=True)) for row in rows]


def _one_a_group(
    name: str, groups: list[dict[str, Any]], value: float | Sequence[float]
) -> list[float]:
    values: list[Any] = list(value) if isinstance(value, (list, tuple)) else [value] * len(groups)
    if len(values) != len(groups):
        raise ValueError(f"expected {len(groups)} values for {name}, got {len(values)}")
    return values


def _set_momentum(group: dict[str, Any], momentum: float) -> None:
    if "betas" in group:
        group["betas"] = (momentum, *group["betas"][1:])
    else:
        group["momentum"] = momentum
