"""`cnnfast.TrainStep`: the recorded step does what the same lines do when they run eagerly."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import cnnfast
from cnnfast import Tensor, Trainer, TrainStep, models, nn, optim
from cnnfast import functional as F
from cnnfast.ema import EMA

Batch = tuple[np.ndarray, np.ndarray]
Make = Callable[[Any], optim.Optimizer]


def two_convolutions() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16 * 25, 32), nn.ReLU(), nn.Linear(32, 10),
    )  # fmt: skip


class Inverted(nn.Module):
    """MobileNetV2's block: expand, depthwise, project, add."""

    def __init__(self, ci: int, co: int, stride: int) -> None:
        super().__init__()
        self.shortcut = ci == co and stride == 1
        self.body = nn.Sequential(
            nn.Conv2d(ci, 3 * ci, 1, bias=False), nn.BatchNorm2d(3 * ci), nn.ReLU6(),
            nn.Conv2d(3 * ci, 3 * ci, 3, stride, 1, groups=3 * ci, bias=False),
            nn.BatchNorm2d(3 * ci), nn.ReLU6(),
            nn.Conv2d(3 * ci, co, 1, bias=False), nn.BatchNorm2d(co),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        return x + y if self.shortcut else y


def mobile() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6(),
        Inverted(8, 8, 1), Inverted(8, 16, 2), nn.Dropout2d(0.1), Inverted(16, 16, 1),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(16, 10),
    )  # fmt: skip


def small() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3),
        nn.Linear(4 * 36, 10),
    )  # fmt: skip


def sgd(parameters: Any) -> optim.Optimizer:
    return optim.SGD(parameters, lr=0.02, momentum=0.9, weight_decay=5e-4)


OPTIMIZERS: dict[str, Make] = {
    "sgd": sgd,
    "plain": lambda p: optim.SGD(p, lr=0.02),
    "dampened": lambda p: optim.SGD(p, lr=0.02, momentum=0.9, dampening=0.5, maximize=True),
    "adam": optim.Adam,
    "amsgrad": lambda p: optim.AdamW(p, lr=1e-3, amsgrad=True),
    "rmsprop": lambda p: optim.RMSprop(p, lr=1e-3, momentum=0.5, centered=True),
}


def batches(shape: tuple[int, ...], count: int) -> list[Batch]:
    rng = np.random.default_rng(0)
    return [
        (rng.standard_normal(shape).astype(np.float32), rng.integers(0, 10, shape[0]))
        for _ in range(count)
    ]


SMALL = batches((4, 1, 8, 8), 6)


class Run:
    """A model in training, eager or by TrainStep, and all that it has become."""

    def __init__(
        self, recorded: bool, build: Callable[[], nn.Module] = small, make: Make = sgd,
        clip_norm: float | None = None, ema: float | None = None, loss: Any = F.cross_entropy,
    ) -> None:
        cnnfast.manual_seed(5)
        self.model = build()
        self.optimizer = make(self.model.parameters())
        self.ema = None if ema is None else EMA(self.model, ema)
        self.clip_norm, self.loss = clip_norm, loss
        self.losses: list[float] = []
        self.step = TrainStep(
            self.model, loss, self.optimizer, clip_norm=clip_norm, ema=self.ema)
        self.recorded = recorded

    def __call__(self, x: Any, y: Any) -> None:
        if self.recorded:
            self.losses.append(float(self.step(x, y)))
            return
        self.optimizer.zero_grad()
        loss = self.loss(self.model(cnnfast.as_tensor(x)), cnnfast.as_tensor(y))
        loss.backward()
        if self.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_norm)
        self.optimizer.step()
        if self.ema is not None:
            self.ema.update()
        self.losses.append(float(loss))

    def state(self) -> list[tuple[str, bytes]]:
        """Losses, weights, statistics, states of the optimiser, averages: all their bits."""
        found = dict(self.model.state_dict())
        for number, values in self.optimizer.state_dict()["state"].items():
            found |= {f"{number}.{name}": value for name, value in values.items()}
        arrays = {name: value.detach().numpy() for name, value in found.items()}
        arrays |= {f"ema.{n}": a for n, a in (self.ema.shadow if self.ema else {}).items()}
        arrays["losses"] = np.array(self.losses)
        return [(name, array.tobytes()) for name, array in arrays.items()]


def expect_equal(change: Callable[[Run, int], None] = lambda run, i: None, **settings: Any) -> Run:
    """Train eagerly and recorded, with `change` before each step; return the recorded run."""
    data = settings.pop("data", SMALL)
    runs = [Run(recorded, **settings) for recorded in (False, True)]
    for run in runs:
        cnnfast.manual_seed(6)  # of dropout
        for i, (x, y) in enumerate(data):
            change(run, i)
            run(x, y)
    assert runs[1].state() == runs[0].state()
    return runs[1]


@contextmanager
def no_warning() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_every_optimizer_takes_the_steps_of_eager_code(isa: str, make: Make) -> None:
    assert expect_equal(make=make).step.reason is None


@pytest.mark.parametrize(
    ("build", "shape", "steps"),
    [
        (models.lenet5, (64, 1, 28, 28), 100),
        (two_convolutions, (16, 1, 28, 28), 100),
        (mobile, (8, 3, 32, 32), 100),
        (models.resnet18_cifar, (4, 3, 32, 32), 5),
    ],
)
def test_networks_have_the_losses_of_eager_code(
    build: Any, shape: tuple[int, ...], steps: int
) -> None:
    with no_warning():
        expect_equal(build=build, data=batches(shape, steps))


def test_any_number_of_threads_gives_the_same_bits(same_bits: Any) -> None:
    def run() -> np.ndarray:
        trained = Run(True, mobile)
        for x, y in batches((8, 3, 32, 32), 3):
            trained(x, y)
        return np.frombuffer(b"".join(data for _, data in trained.state()), np.uint8)

    same_bits(run)


def test_clipping_and_an_average_are_part_of_the_step() -> None:
    run = expect_equal(clip_norm=0.1, ema=0.9)
    assert run.step.reason is None
    assert run.ema is not None and run.ema.updates == len(SMALL)


def recordings(run: Run) -> int:
    return len(run.step._recordings)


def set_rate(run: Run, i: int) -> None:
    run.optimizer.param_groups[0].update(lr=0.1 / (i + 1), momentum=0.5 + 0.05 * i)


def test_a_schedule_needs_no_new_recording() -> None:
    assert recordings(expect_equal(set_rate)) == 1


def alternate(run: Run, i: int) -> None:
    run.model.train(i % 2 == 0)


def freeze(run: Run, i: int) -> None:
    next(run.model.parameters()).requires_grad = i % 3 != 1


def drop_less(run: Run, i: int) -> None:
    run.model[4].p = 0.1 * i  # type: ignore[index]


def replace_head(run: Run, i: int) -> None:
    if i == 3:
        run.model[5] = nn.Linear(4 * 36, 10)  # type: ignore[index]
        run.optimizer.add_param_group({"params": run.model[5].parameters()})  # type: ignore[index]


def new_memory(run: Run, i: int) -> None:
    weight = next(run.model.parameters())
    weight.data = weight.detach().numpy() * np.float32(0.5)


def load(run: Run, i: int) -> None:
    if i == 3:
        run.model.load_state_dict({k: 2 * v for k, v in run.model.state_dict().items()})
        run.optimizer.load_state_dict(run.optimizer.state_dict())


def turn_nesterov(run: Run, i: int) -> None:
    run.optimizer.param_groups[0]["nesterov"] = i % 2 == 0


@pytest.mark.parametrize(
    "change", [alternate, freeze, drop_less, replace_head, new_memory, load, turn_nesterov],
    ids=lambda change: change.__name__,
)
def test_changes_between_steps_take_effect(change: Callable[[Run, int], None]) -> None:
    assert expect_equal(change).step.reason is None


def test_modes_and_short_batches_keep_their_recordings() -> None:
    short = [(x[:3], y[:3]) if i % 3 == 2 else (x, y) for i, (x, y) in enumerate(SMALL * 2)]
    assert recordings(expect_equal(data=short)) == 2
    assert recordings(expect_equal(alternate, data=SMALL * 2)) == 2


def test_the_number_of_recordings_is_bounded() -> None:
    sizes = [(np.repeat(SMALL[0][0], n, 0), np.repeat(SMALL[0][1], n)) for n in range(1, 13)]
    assert recordings(expect_equal(data=sizes)) == 8


def test_evaluation_between_steps_sees_the_new_weights() -> None:
    run = Run(True)
    for x, y in SMALL[:3]:
        run(x, y)
        run.model.eval()
        with cnnfast.no_grad():
            found = run.model(Tensor(x)).numpy().copy()
            copy = small()
            copy.load_state_dict(run.model.state_dict())
            np.testing.assert_array_equal(found, copy.eval()(Tensor(x)).numpy())
        run.model.train()


def test_a_loaded_run_goes_on_with_the_same_bits() -> None:
    whole, first, second = (Run(True, make=optim.Adam) for _ in range(3))
    for run in (whole, first):
        cnnfast.manual_seed(1)
        for x, y in SMALL[:3]:
            run(x, y)
        drawn = cnnfast.random.get_state()
    second.model.load_state_dict(first.model.state_dict())
    second.optimizer.load_state_dict(first.optimizer.state_dict())
    second.losses = list(first.losses)
    for run in (whole, second):
        cnnfast.random.set_state(drawn)
        for x, y in SMALL[3:]:
            run(x, y)
    assert second.state() == whole.state()


def test_scores_are_what_the_model_returned() -> None:
    run = Run(True, models.lenet5)
    x, y = batches((4, 1, 28, 28), 1)[0]
    for _ in range(3):
        expected = run.model(Tensor(x)).detach().numpy().copy()
        run(x, y)
        assert run.step.scores is not None
        np.testing.assert_array_equal(run.step.scores.numpy(), expected)


@pytest.mark.parametrize(
    "form",
    [
        lambda x, y: (x.astype(np.float64), y.astype(np.int32)),
        lambda x, y: (Tensor(x), Tensor(y)),
        lambda x, y: (x[:, :, ::-1], y.astype(np.uint8)),
        lambda x, y: ((100 * x).astype(np.uint8), y.tolist()),
        lambda x, y: (F.relu(Tensor(np.repeat(x, 2, 1)))[:, :1], y),
    ],
    ids=["float64", "Tensors", "reversed", "bytes", "image"],
)
def test_inputs_of_any_kind(form: Any) -> None:
    assert expect_equal(data=[form(x, y) for x, y in SMALL]).step.reason is None


def test_several_losses_and_targets() -> None:
    model = small()
    step = TrainStep(
        model, lambda scores, y, t: F.cross_entropy(scores, y) + 0.1 * F.mse_loss(scores, t),
        sgd(model.parameters()),
    )
    target = np.ones((4, 10), np.float32)
    losses = [float(step(*SMALL[0], target)) for _ in range(8)]
    assert step.reason is None and losses[-1] < losses[0]


class Spare(nn.Sequential):
    """Has a parameter that nothing uses, which weight decay must leave alone."""

    def __init__(self) -> None:
        super().__init__(*small())
        self.spare = nn.Parameter(np.ones(3, np.float32))

    def forward(self, x: Tensor) -> Tensor:
        for layer in list(self)[:6]:
            x = layer(x)
        return x


def accumulated(recorded: bool, make: Make) -> tuple[nn.Module, list[float]]:
    """A model after two and a half updates of three batches each, and the losses."""
    cnnfast.manual_seed(2)
    model, losses = Spare(), []
    optimizer = make(model.parameters())
    step = TrainStep(model, F.cross_entropy, optimizer, clip_norm=0.5, accumulate=3)
    for i, (x, y) in enumerate([*SMALL, *SMALL[:2]]):
        if recorded:
            losses.append(float(step(x, y)))
            continue
        loss = F.cross_entropy(model(Tensor(x)), Tensor(y))
        (loss * (1 / 3)).backward()
        losses.append(float(loss))
        if i % 3 == 2:
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            optimizer.zero_grad()
    assert step.reason is None
    return model, losses


@pytest.mark.parametrize("make", [sgd, optim.Adam])
def test_gradients_of_several_calls_make_one_update(make: Make) -> None:
    (model, losses), (wanted, wanted_losses) = (accumulated(r, make) for r in (True, False))
    assert losses == wanted_losses
    for name, value in wanted.state_dict().items():
        np.testing.assert_array_equal(model.state_dict()[name].numpy(), value.numpy())


def test_gradients_do_not_outlive_a_step() -> None:
    run = Run(True)
    for x, y in SMALL[:2]:
        run(x, y)
        assert all(p.grad is None for p in run.model.parameters())


class Looks(nn.Module):
    """Has a way to compute for every kind of value."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way, self.body = way, small()

    def forward(self, x: Tensor) -> Tensor:
        if self.way == "branch" and float(x.sum()) > 0:
            x = -x
        if self.way == "numpy":
            x = Tensor(np.tanh(x.numpy()))
        if self.way == "weight":
            x = x * float(abs(next(self.body.parameters()).detach().numpy()).max())
        return self.body(x)


@pytest.mark.parametrize("way", ["branch", "numpy", "weight"])
def test_what_looks_at_values_runs_eagerly_and_says_why(way: str) -> None:
    with pytest.warns(UserWarning, match="TrainStep runs eagerly: .* values") as found:
        run = expect_equal(build=lambda: Looks(way))
    assert len(found) == 1
    assert run.step.reason is not None and "DataDependent" in run.step.reason


def test_a_model_with_hooks_runs_eagerly_until_they_are_gone() -> None:
    def double(run: Run, i: int) -> None:
        if i == 2:
            run.handle = run.model[0].register_forward_hook(lambda m, a, y: y * 2)  # type: ignore
        if i == 4:
            run.handle.remove()  # type: ignore[attr-defined]

    with pytest.warns(UserWarning, match="a hook of a Module"):
        assert expect_equal(double).step.reason is None


def test_a_hook_of_a_gradient_runs_eagerly() -> None:
    def halve(run: Run, i: int) -> None:
        if i == 0:
            next(run.model.parameters()).register_hook(lambda g: g * 0.5)

    with pytest.warns(UserWarning, match="a hook of a gradient"):
        expect_equal(halve)


class Noisy(nn.Sequential):
    """Adds noise to its input."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x + cnnfast.randn_like(x))


def test_noise_that_the_model_draws_runs_eagerly() -> None:
    with pytest.warns(UserWarning, match="a random number"):
        expect_equal(build=lambda: Noisy(small()))


def test_an_average_over_all_batches_runs_eagerly() -> None:
    def build() -> nn.Module:
        norm = nn.BatchNorm2d(1, momentum=None)
        return nn.Sequential(norm, nn.Flatten(), nn.Linear(64, 10))

    with pytest.warns(UserWarning, match="cumulative average"):
        expect_equal(build=build)


def test_errors_are_those_of_eager_code_and_change_nothing() -> None:
    run = Run(True)
    run(*SMALL[0])
    before = run.state()
    with pytest.raises(ValueError, match="channels"):
        run.step(np.zeros((4, 2, 8, 8), np.float32), SMALL[0][1])
    assert run.state() == before
    with pytest.raises(IndexError, match="target"):
        run.step(SMALL[0][0], np.full(4, 10))
    run(*SMALL[1])
    assert np.isfinite(run.losses).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"clip_norm": 0}, "clip_norm is 0, expected more"), ({"accumulate": 0}, "accumulate is 0")],
)
def test_settings_are_checked(settings: dict[str, Any], message: str) -> None:
    model = small()
    with pytest.raises(ValueError, match=message):
        TrainStep(model, F.cross_entropy, sgd(model.parameters()), **settings)


def test_a_steady_step_takes_no_new_memory() -> None:
    resource = pytest.importorskip("resource")
    run = Run(True, mobile)
    x, y = batches((32, 3, 64, 64), 1)[0]
    for _ in range(4):
        run(x, y)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        run.step(x, y)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 50


def fitted(make: Make = sgd) -> tuple[Trainer, list[Any]]:
    """A trainer after three epochs, and all bits of the losses, the weights and their averages."""
    cnnfast.manual_seed(3)
    model = small()
    trainer = Trainer(
        model, optimizer=make(model.parameters()), clip_norm=0.5, ema=0.9, progress=False, seed=1)
    history = trainer.fit(batches((50, 1, 8, 8), 1)[0], epochs=3, batch_size=16).history
    assert trainer.ema is not None
    arrays = [value.detach().numpy() for value in model.state_dict().values()]
    arrays += trainer.ema.shadow.values()
    return trainer, [history["loss"], *(array.tobytes() for array in arrays)]


def test_the_trainer_records_its_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    def cannot(self: TrainStep, arrays: Any) -> None:
        raise RuntimeError("not today")

    recorded, state = fitted()
    assert recorded.train_step.reason is None
    monkeypatch.setattr(TrainStep, "_record", cannot)
    with pytest.warns(UserWarning, match="TrainStep runs eagerly: RuntimeError: not today"):
        eager, other_state = fitted()
    assert eager.train_step.reason == "RuntimeError: not today"
    assert state == other_state


def test_the_trainer_goes_on_with_another_optimizer() -> None:
    trainer, _ = fitted()
    before = next(trainer.model.parameters()).detach().numpy().copy()
    trainer.optimizer = optim.SGD(trainer.model.parameters(), 0.0)
    trainer.fit(SMALL[0], epochs=1)
    assert np.array_equal(next(trainer.model.parameters()).detach().numpy(), before)
