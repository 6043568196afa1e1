"""Schedules: torch's learning rates and momenta step by step, their state, and bad arguments."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cnnfast import nn, optim
from cnnfast.optim import lr_scheduler

STEPS = 60


def sgd(**settings: Any) -> optim.SGD:
    """Two groups, so that a schedule must treat each by itself."""
    groups = [{"params": nn.Parameter(np.ones(1))}, {"params": nn.Parameter(np.ones(1)), "lr": 0.7}]
    return optim.SGD(groups, **{"lr": 0.3, "momentum": 0.9, **settings})


def trajectory(optimizer: Any, schedule: Any, steps: int = STEPS) -> list[tuple[float, ...]]:
    """Learning rates and momentum before each step and after the last."""
    rows = []
    for step in range(steps + 1):
        groups = optimizer.param_groups
        assert schedule.get_last_lr() == [group["lr"] for group in groups]
        momenta = [group["betas"][0] if "betas" in group else group["momentum"] for group in groups]
        rows.append((*schedule.get_last_lr(), *momenta))
        if step < steps:
            optimizer.step()
            schedule.step()
    return rows


def sequential(module: Any, optimizer: Any) -> Any:
    """Warm-up, a cosine, and steps, as used in practice."""
    parts = [
        module.LinearLR(optimizer, 0.1, total_iters=7),
        module.CosineAnnealingLR(optimizer, 30, eta_min=0.01),
        module.MultiStepLR(optimizer, [3, 9], gamma=0.5),
    ]
    return module.SequentialLR(optimizer, parts, [7, 37])


def chained(module: Any, optimizer: Any) -> Any:
    parts = [module.ConstantLR(optimizer, 0.25, 20), module.ExponentialLR(optimizer, 0.97)]
    return module.ChainedScheduler(parts)


SCHEDULES: dict[str, Callable[[Any, Any], Any]] = {
    "step": lambda m, o: m.StepLR(o, 7, gamma=0.3),
    "multistep": lambda m, o: m.MultiStepLR(o, [30, 5, 5, 50], gamma=0.3),
    "cosine": lambda m, o: m.CosineAnnealingLR(o, 60),
    "cosine there and back": lambda m, o: m.CosineAnnealingLR(o, 13, eta_min=0.05),
    "cosine of one step": lambda m, o: m.CosineAnnealingLR(o, 1),
    "linear": lambda m, o: m.LinearLR(o, 0.01, 0.9, total_iters=25),
    "linear by default": lambda m, o: m.LinearLR(o),
    "constant": lambda m, o: m.ConstantLR(o, 0.2, total_iters=11),
    "exponential": lambda m, o: m.ExponentialLR(o, 0.93),
    "lambda": lambda m, o: m.LambdaLR(o, lambda step: 1 / (1 + step)),
    "lambda a group": lambda m, o: m.LambdaLR(o, [lambda s: 0.9**s, lambda s: math.cos(s)]),
    "one cycle": lambda m, o: m.OneCycleLR(o, 0.5, total_steps=STEPS),
    "one cycle, linear": lambda m, o: m.OneCycleLR(
        o, [0.5, 0.1], epochs=6, steps_per_epoch=10, anneal_strategy="linear", pct_start=0.5
    ),
    "one cycle, three phases": lambda m, o: m.OneCycleLR(
        o, 0.5, total_steps=STEPS, three_phase=True, base_momentum=[0.6, 0.7], max_momentum=0.8
    ),
    "one cycle, momentum kept": lambda m, o: m.OneCycleLR(
        o, 0.5, total_steps=STEPS, cycle_momentum=False, div_factor=10.0, final_div_factor=1.0
    ),
    "sequential": sequential,
    "chained": chained,
}


def torch_sgd(torch: Any) -> Any:
    groups = [{"params": torch.ones(1)}, {"params": torch.ones(1), "lr": 0.7}]
    return torch.optim.SGD(groups, lr=0.3, momentum=0.9)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.filterwarnings("ignore::UserWarning:torch")
def test_values_equal_torchs_at_every_step(name: str) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = sgd(), torch_sgd(torch)
    make = SCHEDULES[name]
    np.testing.assert_allclose(
        trajectory(ours, make(lr_scheduler, ours)),
        trajectory(theirs, make(torch.optim.lr_scheduler, theirs)),
        rtol=1e-12,
        atol=1e-15,
    )


def test_one_cycle_moves_adams_first_beta() -> None:
    torch = pytest.importorskip("torch")
    ours = optim.Adam([nn.Parameter(np.ones(1))])
    theirs = torch.optim.Adam([torch.ones(1)])
    arguments = {"max_lr": 0.01, "total_steps": 20}
    np.testing.assert_allclose(
        trajectory(ours, lr_scheduler.OneCycleLR(ours, **arguments), 20),
        trajectory(theirs, torch.optim.lr_scheduler.OneCycleLR(theirs, **arguments), 20),
        rtol=1e-12,
    )
    assert ours.param_groups[0]["betas"][1] == 0.999


PLATEAUS = [
    {"patience": 2},
    {"patience": 1, "mode": "max", "threshold": 0.05},
    {"patience": 3, "threshold_mode": "abs", "threshold": 0.02, "cooldown": 4},
    {"patience": 0, "mode": "max", "threshold_mode": "abs", "min_lr": [0.01, 0.2], "factor": 0.5},
    {"patience": 0, "eps": 1e-3},
]


@pytest.mark.parametrize("arguments", PLATEAUS)
def test_plateau_equals_torchs(arguments: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = sgd(), torch_sgd(torch)
    mine = lr_scheduler.ReduceLROnPlateau(ours, **arguments)
    other = torch.optim.lr_scheduler.ReduceLROnPlateau(theirs, **arguments)
    for measure in np.random.default_rng(4).normal(1.0, 0.1, STEPS).cumprod():
        mine.step(measure)
        other.step(measure)
        np.testing.assert_allclose(mine.get_last_lr(), other.get_last_lr(), rtol=1e-12)
        assert (mine.num_bad_epochs, mine.in_cooldown) == (other.num_bad_epochs, other.in_cooldown)


@pytest.mark.parametrize("name", [name for name in SCHEDULES if "lambda" not in name])
@pytest.mark.parametrize("stop", [1, 7, 23])
def test_a_restored_schedule_goes_on_as_if_never_stopped(name: str, stop: int) -> None:
    make = SCHEDULES[name]
    whole = sgd()
    expected = trajectory(whole, make(lr_scheduler, whole), 40)[stop:]
    first = sgd()
    schedule = make(lr_scheduler, first)
    trajectory(first, schedule, stop)
    # Through JSON, as a checkpoint stores it.
    saved = json.loads(json.dumps([schedule.state_dict(), first.state_dict()["param_groups"]]))
    second = sgd()
    restored = make(lr_scheduler, second)
    restored.load_state_dict(saved[0])
    second.load_state_dict({"state": {}, "param_groups": saved[1]})
    second.has_stepped = True
    assert trajectory(second, restored, 40 - stop) == expected


def test_plateau_is_restored_too() -> None:
    def run(schedule: Any, measures: list[float]) -> list[list[float]]:
        lrs = []
        for measure in measures:
            schedule.step(measure)
            lrs.append(schedule.get_last_lr())
        return lrs

    measures = [1.0, 0.9, 0.9, 0.9, 0.9, 0.8, 0.9, 0.9, 0.9, 0.9]
    whole = run(lr_scheduler.ReduceLROnPlateau(sgd(), patience=1), measures)
    first, second = sgd(), sgd()
    schedule = lr_scheduler.ReduceLROnPlateau(first, patience=1)
    run(schedule, measures[:4])
    restored = lr_scheduler.ReduceLROnPlateau(second, patience=1)
    restored.load_state_dict(json.loads(json.dumps(schedule.state_dict())))
    second.load_state_dict(first.state_dict())
    assert run(restored, measures[4:]) == whole[4:]


class Decay:
    """A callable with state, as LambdaLR saves it."""

    def __init__(self, base: float) -> None:
        self.base = base

    def __call__(self, step: int) -> float:
        return self.base**step


def test_lambda_saves_objects_but_no_functions() -> None:
    schedule = lr_scheduler.LambdaLR(sgd(), [Decay(0.5), lambda step: 1.0])
    state = json.loads(json.dumps(schedule.state_dict()))
    assert state["lr_lambdas"] == [{"base": 0.5}, None]
    other = lr_scheduler.LambdaLR(sgd(), [Decay(0.9), lambda step: 1.0])
    other.load_state_dict(state)
    assert other.lr_lambdas[0].base == 0.5


@pytest.mark.parametrize(
    "make",
    [
        lambda o: lr_scheduler.StepLR(o, 3),
        lambda o: lr_scheduler.CosineAnnealingLR(o, 40),
        lambda o: lr_scheduler.ExponentialLR(o, 0.9),
    ],
)
def test_last_epoch_continues_from_the_groups(make: Callable[..., Any]) -> None:
    optimizer = sgd()
    with pytest.raises(KeyError, match="initial_lr"):
        lr_scheduler.StepLR(optimizer, 3, last_epoch=4)
    make(optimizer)
    assert lr_scheduler.StepLR(optimizer, 3, last_epoch=4).last_epoch == 5


def test_a_schedule_of_ones_own() -> None:
    class Halves(lr_scheduler.LRScheduler):
        def get_lr(self) -> list[float]:
            return [base / 2**self.last_epoch for base in self.base_lrs]

    optimizer = sgd()
    assert [row[0] for row in trajectory(optimizer, Halves(optimizer), 2)] == [0.3, 0.15, 0.075]


def test_stepping_before_the_optimizer_warns_once() -> None:
    schedule = lr_scheduler.StepLR(sgd(), 3)
    with pytest.warns(UserWarning, match=r"before optimizer\.step"):
        schedule.step()
    schedule.step()


def test_one_cycle_ends_with_an_error_after_its_last_step() -> None:
    optimizer = sgd()
    schedule = lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=3)
    trajectory(optimizer, schedule, 3)
    with pytest.raises(ValueError, match="Tried to step 4 times"):
        schedule.step()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda o: lr_scheduler.ConstantLR(o, factor=1.5), r"factor must be in \(0, 1\], got 1.5"),
        (lambda o: lr_scheduler.LinearLR(o, start_factor=0.0), "start_factor"),
        (lambda o: lr_scheduler.LinearLR(o, end_factor=2.0), "end_factor"),
        (lambda o: lr_scheduler.LambdaLR(o, [lambda step: 1.0]), "Expected 2 lr_lambdas"),
        (lambda o: lr_scheduler.OneCycleLR(o, 0.1), "total_steps, or epochs"),
        (lambda o: lr_scheduler.OneCycleLR(o, 0.1, epochs=3), "steps_per_epoch"),
        (lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=0), "positive integer total_steps"),
        (lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=9, pct_start=2.0), "pct_start"),
        (lambda o: lr_scheduler.OneCycleLR(o, 0.1, 9, anneal_strategy="sin"), "'cos' or 'linear'"),
        (
            lambda o: lr_scheduler.OneCycleLR(o, [0.1], total_steps=9),
            "expected 2 values for max_lr",
        ),
        (lambda o: lr_scheduler.ReduceLROnPlateau(o, factor=1.0), "Factor"),
        (lambda o: lr_scheduler.ReduceLROnPlateau(o, mode="less"), "mode must be"),
        (lambda o: lr_scheduler.ReduceLROnPlateau(o, threshold_mode="x"), "threshold_mode"),
        (lambda o: lr_scheduler.ReduceLROnPlateau(o, min_lr=[0.1]), "expected 2 min_lrs"),
        (lambda o: lr_scheduler.SequentialLR(o, [], []), "at least one scheduler"),
        (lambda o: lr_scheduler.SequentialLR(o, [lr_scheduler.StepLR(o, 1)], [1]), "one milestone"),
        (
            lambda o: lr_scheduler.SequentialLR(o, [lr_scheduler.ReduceLROnPlateau(o)], []),
            "ReduceLROnPlateau",
        ),
        (
            lambda o: lr_scheduler.ChainedScheduler([lr_scheduler.StepLR(sgd(), 1)], o),
            "another optimizer",
        ),
    ],
)
def test_bad_arguments_are_named(make: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(sgd())


@pytest.mark.parametrize("name", ["StepLR", "OneCycleLR", "ReduceLROnPlateau"])
def test_an_optimizer_is_required(name: str) -> None:
    with pytest.raises(TypeError, match="float is not an Optimizer"):
        getattr(lr_scheduler, name)(0.1, 3, 3)


def test_one_cycle_needs_a_momentum_to_cycle() -> None:
    class Plain(optim.Optimizer):
        pass

    plain = Plain([nn.Parameter(np.ones(1))], {"lr": 0.1, "maximize": False})
    with pytest.raises(ValueError, match="momentum"):
        lr_scheduler.OneCycleLR(plain, 0.1, total_steps=3)
