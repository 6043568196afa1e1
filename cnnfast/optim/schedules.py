"""Schedules that follow a formula, and the base class of all: they write the groups' "lr".

A schedule starts by setting the first learning rate, then `step` is called after the optimiser's
own `step`, once a batch or an epoch as the schedule counts. Names, arguments and the values, which
follow from each other recursively so that schedules can be chained, are torch's. `state_dict` holds
numbers, strings and lists only, for a checkpoint.
"""

from __future__ import annotations

import math
import types
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .optimizer import Optimizer

__all__ = [
    "ConstantLR",
    "CosineAnnealingLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "StepLR",
]


class LRScheduler:
    """Base class: a subclass defines `get_lr` from `last_epoch`, `base_lrs` and the groups' "lr".

    Parameters
    ----------
    optimizer : Optimizer
    last_epoch : int
        Steps made already; -1 starts anew. Otherwise the groups must hold "initial_lr".

    Attributes
    ----------
    last_epoch : int
        Steps made.
    base_lrs : list of float
        The learning rate of each group before the schedule.

    Raises
    ------
    TypeError
        `optimizer` is none.
    KeyError
        `last_epoch` is given and a group has no "initial_lr".
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")
        self.optimizer = optimizer
        for number, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise KeyError(
                    f"'initial_lr' is missing in param_groups[{number}]: to continue at "
                    f"last_epoch={last_epoch}, load the optimizer's state first"
                )
        self.base_lrs: list[float] = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._start()

    def get_lr(self) -> list[float]:
        """Return the next learning rate of each group."""
        raise NotImplementedError(f"{type(self).__name__} defines no get_lr")

    def get_last_lr(self) -> list[float]:
        """Return the learning rate of each group as the schedule set it last."""
        return self._last_lr

    def step(self) -> None:
        """Set the next learning rate; call it after the optimiser's `step`."""
        if self._step_count == 1 and not self.optimizer.has_stepped:
            warnings.warn(
                "lr_scheduler.step() was called before optimizer.step(): the first value of the "
                "schedule is skipped; call them in the opposite order",
                stacklevel=2,
            )
        self._step_count += 1
        self._advance()

    def _start(self) -> None:
        """Set the first learning rate."""
        self._step_count = 1
        self._is_initial = True
        self._advance()
        self._is_initial = False

    def _advance(self) -> None:
        self.last_epoch += 1
        for group, lr in zip(self.optimizer.param_groups, self.get_lr(), strict=True):
            group["lr"] = lr
        self._last_lr = self._group_lrs()

    def _restart(self) -> None:
        """Begin anew at the first learning rate; SequentialLR hands over so."""
        for group, base in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
            group["lr"] = base
        self.last_epoch = -1
        self._start()

    def _group_lrs(self) -> list[float]:
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Return everything but the optimiser."""
        return {name: value for name, value in vars(self).items() if name != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue where the schedule was that `state_dict` came from."""
        vars(self).update(state_dict)


class LambdaLR(LRScheduler):
    """The first learning rate times a function of the number of steps.

    Parameters
    ----------
    optimizer : Optimizer
    lr_lambda : callable, or list with one a group
        Maps the number of steps to a factor. `state_dict` saves the attributes of callable
        objects, but no functions.
    last_epoch : int

    Examples
    --------
    >>> from cnnfast import nn, optim
    >>> optimizer = optim.SGD(nn.Linear(2, 2).parameters(), lr=1.0)
    >>> schedule = optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)
    >>> optimizer.step(); schedule.step()
    >>> schedule.get_last_lr()
    [0.5]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        groups = len(optimizer.param_groups)
        functions = (
            list(lr_lambda) if isinstance(lr_lambda, (list, tuple)) else [lr_lambda] * groups
        )
        if len(functions) != groups:
            raise ValueError(f"Expected {groups} lr_lambdas, but got {len(functions)}")
        self.lr_lambdas: list[Any] = functions
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """Return the first learning rate times the function."""
        factors = [function(self.last_epoch) for function in self.lr_lambdas]
        return [base * factor for base, factor in zip(self.base_lrs, factors, strict=True)]

    def state_dict(self) -> dict[str, Any]:
        """Return everything but the optimiser and functions."""
        saved = [
            None if isinstance(function, types.FunctionType) else dict(vars(function))
            for function in self.lr_lambdas
        ]
        return {**super().state_dict(), "lr_lambdas": saved}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue where the schedule was that `state_dict` came from."""
        functions = self.lr_lambdas
        for function, saved in zip(functions, state_dict["lr_lambdas"], strict=True):
            if saved is not None:
                vars(function).update(saved)
        super().load_state_dict({**state_dict, "lr_lambdas": functions})


class StepLR(LRScheduler):
    """Multiplies by `gamma` every `step_size` steps.

    Examples
    --------
    >>> from cnnfast import nn, optim
    >>> optimizer = optim.SGD(nn.Linear(2, 2).parameters(), lr=1.0)
    >>> schedule = optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
    >>> for _ in range(4): optimizer.step(); schedule.step()
    >>> schedule.get_last_lr()
    [0.25]
    """

    def __init__(
        self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.step_size = step_size
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """Return the learning rates after this step."""
        if self.last_epoch == 0 or self.last_epoch % self.step_size != 0:
            return self._group_lrs()
        return [lr * self.gamma for lr in self._group_lrs()]


class MultiStepLR(LRScheduler):
    """Multiplies by `gamma` at each of the steps `milestones`.

    Examples
    --------
    >>> from cnnfast import nn, optim
    >>> optimizer = optim.SGD(nn.Linear(2, 2).parameters(), lr=1.0)
    >>> schedule = optim.lr_scheduler.MultiStepLR(optimizer, [1, 3], gamma=0.5)
    >>> for _ in range(3): optimizer.step(); schedule.step()
    >>> schedule.get_last_lr()
    [0.25]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        milestones: Iterable[int],
        gamma: float = 0.1,
        last_epoch: int = -1,
    ) -> None:
        self.milestones = sorted(milestones)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """Return the learning rates after this step."""
        times = self.milestones.count(self.last_epoch)
        return [lr * self.gamma**times for lr in self._group_lrs()]


class ConstantLR(LRScheduler):
    """Multiplies by `factor` for the first `total_iters` steps.

    Examples
    --------
    >>> from cnnfast import nn, optim
    >>> optimizer = optim.SGD(nn.Linear(2, 2).parameters(), lr=1.0)
    >>> optim.lr_scheduler.ConstantLR(optimizer, factor=0.5).get_last_lr()
    [0.5]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        factor: float = 1.0 / 3,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0 < factor <= 1:
            raise ValueError(f"factor must be in (0, 1], got {factor}")
        self.factor = factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """Return the learning rates after this step."""
        if self.last_epoch == 0:
            return [lr * self.factor for lr in self._group_lrs()]
        if self.last_epoch != self.total_iters:
            return self._group_lrs()
        return [lr * (1.0 / self.factor) for lr in self._group_lrs()]


class LinearLR(LRScheduler):
    """Multiplies by a factor that goes from `start_factor` to `end_factor`: a warm-up.

    Parameters
    ----------
    optimizer : Optimizer
    start_factor, end_factor : float
        In (0, 1] and [0, 1].
    total_iters : int
        Steps until `end_factor` is reached.
    last_epoch : int

    Examples
    --------
    >>> from cnnfast import nn, optim
    >>> optimizer = optim.SGD(nn.Linear(2, 2).parameters(), lr=1.0)
    >>> schedule = optim.lr_scheduler.LinearLR(optimizer, start_factor=0.5, total_iters=2)
    >>> optimizer.step(); schedule.step()
    >>> schedule.get_last_lr()
    [0.75]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0 < start_factor <= 1:
            raise ValueError(f"start_factor must be in (0, 1], got {start_factor}")
        if not 0 <= end_factor <= 1:
            raise ValueError(f"end_factor must be between 0 and 1, got {end_factor}")
        self.start_factor = start_factor
        self.end_factor = end_factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """Return the learning rates after this step."""
        if self.last_epoch == 0:
            return [lr * self.start_factor for lr in self._group_lrs()]
        if self._is_initial or self.last_epoch > self.total_iters:
            return self._group_lrs()
        rise = self.end_factor - self.start_factor
        so_far = self.total_iters * self.start_factor + (self.last_epoch - 1) * rise
        return [lr * (1.0 + rise / so_far) for lr in self._group_lrs()]


class ExponentialLR(LRScheduler):
    """Multiplies by `gamma` at every step.

    Examples
    --------
    >>> from cnnfast import nn, optim
    >>> optimizer = optim.SGD(nn.Linear(2, 2).parameters(), lr=1.0)
    >>> schedule = optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
    >>> optimizer.step(); schedule.step()
    >>> schedule.get_last_lr()
    [0.5]
    """

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """Return the learning rates after this step."""
        return (
            self._group_lrs() if self._is_initial else [lr * self.gamma for lr in self._group_lrs()]
        )


class CosineAnnealingLR(LRScheduler):
    """Follows half a cosine from the first learning rate to `eta_min` in `T_max` steps, and back.

    Source: Loshchilov and Hutter, SGDR, ICLR 2017, without the restarts.

    Examples
    --------
    >>> from cnnfast import nn, optim
    >>> optimizer = optim.SGD(nn.Linear(2, 2).parameters(), lr=1.0)
    >>> schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=2)
    >>> optimizer.step(); schedule.step()
    >>> round(schedule.get_last_lr()[0], 6)
    0.5
    """

    def __init__(
        self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def _cosine(self, epoch: int) -> float:
        return 1 + math.cos(math.pi * epoch / self.T_max)

    def get_lr(self) -> list[float]:
        """Return the learning rates after this step."""
        epoch, low = self.last_epoch, self.eta_min
        if self._is_initial:
            return self._group_lrs()
        pairs = zip(self._group_lrs(), self.base_lrs, strict=True)
        if (epoch - 1 - self.T_max) % (2 * self.T_max) == 0:  # the ratio below would be x / 0
            rise = (1 - math.cos(math.pi / self.T_max)) / 2
            return [lr + (base - low) * rise for lr, base in pairs]
        ratio = self._cosine(epoch) / self._cosine(epoch - 1)
        return [ratio * (lr - low) + low for lr, _ in pairs]
