"""The training loop: it learns, repeats itself to the bit, resumes to the bit, and reports."""

import csv
import math

import numpy as np
import pytest

import cnnfast
from cnnfast import FormatError, Trainer, callbacks, checkpoint, metrics, models, nn, optim
from cnnfast.data import ArrayDataset, DataLoader, transforms

EPOCHS = 4
schedules = optim.lr_scheduler


def digits(count=48, classes=3, seed=0):
    """Return small images whose class is the row that is lit."""
    draw = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    images = draw.integers(0, 60, (count, 1, 8, 8)).astype(np.uint8)
    images[np.arange(count), :, labels * 2 + 1] += 150
    return images, labels.astype(np.int64)


def loader(count=48, batch_size=16, shuffle=True):
    steps = [transforms.RandomTranslation(1), transforms.Normalize(0.3, 0.3)]
    return DataLoader(
        ArrayDataset(*digits(count)),
        batch_size=batch_size,
        shuffle=shuffle,
        seed=5,
        transform=transforms.Compose(steps if shuffle else steps[1:]),
    )


def network():
    """Return a network with everything that has a state: batch norm, dropout."""
    cnnfast.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Dropout(0.3), nn.Linear(64, 3),
    )  # fmt: skip


def trainer(model=None, **options):
    model = network() if model is None else model
    options = {"optimizer": optim.Adam(model.parameters(), 0.01), "seed": 7, **options}
    return Trainer(model, progress=False, **options)


def weights(model):
    return {name: value.numpy().copy() for name, value in model.state_dict().items()}


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], strict=True)


def timeless(history):
    return {k: v for k, v in history.items() if k not in ("seconds", "images_per_second")}


# -- fitting ---------------------------------------------------------------------------------------


def test_fit_learns_and_reports():
    made = trainer()
    history = made.fit(loader(), validation=loader(24, shuffle=False), epochs=8).history
    assert history["loss"][-1] < history["loss"][0] / 2
    assert history["val_accuracy"][-1] > 0.9
    assert history["epoch"] == list(range(1, 9))
    assert history["lr"] == [0.01] * 8
    assert min(history["seconds"]) > 0
    assert min(history["images_per_second"]) > 0
    assert list(history)[:3] == ["epoch", "loss", "accuracy"]


def test_fit_takes_arrays_datasets_and_loaders():
    images, labels = digits()
    pixels = images.astype(np.float64) / 255
    for data in (
        (pixels, labels),
        (pixels, labels.astype(np.uint8)),
        ArrayDataset(pixels, labels),
        [(pixels[:24].astype(np.float32), labels[:24])],
    ):
        history = trainer().fit(data, validation=data, epochs=1, batch_size=20).history
        assert math.isfinite(history["val_loss"][0])


def test_two_runs_of_one_seed_are_the_same_bits():
    runs = [trainer() for _ in range(2)]
    images, labels = digits()
    for run in runs:
        cnnfast.random.generator().random()
        run.fit((images / 255.0, labels), epochs=2)
    assert_same(weights(runs[0].model), weights(runs[1].model))


def test_training_has_the_same_bits_on_any_number_of_threads(same_bits):
    def fitted():
        made = trainer()
        made.fit(loader(), epochs=2)
        return np.concatenate([value.ravel() for value in weights(made.model).values()])

    same_bits(fitted)


def test_loss_is_the_mean_over_the_samples():
    images, labels = digits(20)
    made = trainer(nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), optimizer="sgd")
    whole = made.evaluate((images / 255.0, labels), batch_size=20)
    parts = made.evaluate((images / 255.0, labels), batch_size=7)
    assert parts == pytest.approx(whole, rel=1e-6)


def test_soft_labels():
    mixed = DataLoader(
        ArrayDataset(*digits()),
        batch_size=16,
        seed=0,
        transform=transforms.Compose([transforms.Normalize(0.3, 0.3), transforms.MixUp(0.4, 3)]),
    )
    history = trainer().fit(mixed, epochs=3).history
    assert history["loss"][-1] < history["loss"][0]


def test_clip_norm_bounds_the_step():
    images, labels = digits()
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    before = weights(model)
    made = trainer(model, optimizer=optim.SGD(model.parameters(), 1.0), clip_norm=0.01)
    made.fit((images.astype(np.float32), labels), epochs=1, batch_size=48)
    moved = sum(float(((weights(model)[k] - before[k]) ** 2).sum()) for k in before)
    assert math.sqrt(moved) == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize(("pace", "steps"), [("batch", 6), ("epoch", 2), (None, 2)])
def test_schedule_steps_per_batch_or_per_epoch(pace, steps):
    model = network()
    optimizer = optim.SGD(model.parameters(), 1e-3)
    schedule = schedules.StepLR(optimizer, 1, gamma=0.5)
    made = trainer(model, optimizer=optimizer, scheduler=schedule, schedule_per=pace)
    made.fit(loader(), epochs=2)
    assert made.learning_rate == pytest.approx(1e-3 * 0.5**steps)


def test_one_cycle_steps_per_batch_by_itself():
    model = network()
    optimizer = optim.SGD(model.parameters(), 1e-3)
    log = callbacks.LearningRateLog()
    schedule = schedules.OneCycleLR(optimizer, 0.1, total_steps=6)
    made = trainer(model, optimizer=optimizer, scheduler=schedule, callbacks=[log])
    history = made.fit(loader(), epochs=2).history
    assert len(log.rates) == 6
    assert max(log.rates) == pytest.approx(0.1, rel=0.1)
    assert history["lr"] == [log.rates[2], log.rates[5]]


# -- resuming --------------------------------------------------------------------------------------

OPTIMIZERS = {
    "sgd": lambda p: optim.SGD(p, 0.05, momentum=0.9, nesterov=True, weight_decay=1e-3),
    "adam": lambda p: optim.Adam(p, 0.01),
    "adamw": lambda p: optim.AdamW(p, 0.01),
    "rmsprop": lambda p: optim.RMSprop(p, 0.003, momentum=0.5),
}
SCHEDULES = {
    "none": lambda o: None,
    "one-cycle": lambda o: schedules.OneCycleLR(o, 0.02, total_steps=3 * EPOCHS),
    "cosine": lambda o: schedules.CosineAnnealingLR(o, EPOCHS),
    "plateau": lambda o: schedules.ReduceLROnPlateau(o, patience=0, threshold=0.5),
    "warm-up": lambda o: schedules.SequentialLR(
        o, [schedules.LinearLR(o, 0.1, total_iters=1), schedules.ExponentialLR(o, 0.5)], [1]
    ),
}


def resumable(optimizer="adam", schedule="none", ema=0.9, interrupt=None, model=None):
    model = network() if model is None else model
    made = OPTIMIZERS[optimizer](model.parameters())
    watchers = [callbacks.EarlyStopping("loss", 50, restore_best=True), callbacks.LearningRateLog()]
    watchers.append(Interrupt(interrupt))
    return trainer(
        model, optimizer=made, scheduler=SCHEDULES[schedule](made), ema=ema, callbacks=watchers
    )


def everything(made):
    """Return all that the two runs must agree about."""
    averages = made.ema.shadow if made.ema else {}
    optimizer = made.optimizer.state_dict()
    state = {
        f"{number}.{name}": np.asarray(value.detach().numpy())
        for number, values in optimizer["state"].items()
        for name, value in values.items()
        if value is not None
    }
    return weights(made.model), averages, state


def assert_equal_runs(first, second):
    for one, other in zip(everything(first), everything(second), strict=True):
        assert_same(one, other)
    assert timeless(first.history.history) == timeless(second.history.history)
    assert first.callbacks[1].rates == second.callbacks[1].rates
    assert cnnfast.random.get_state() == cnnfast.random.get_state()


@pytest.mark.parametrize(
    ("optimizer", "schedule", "ema"),
    [
        *((name, "one-cycle", 0.9) for name in OPTIMIZERS),
        *(("adam", name, None) for name in SCHEDULES),
    ],
)
def test_resumed_run_has_the_bits_of_an_uninterrupted_one(tmp_path, optimizer, schedule, ema):
    path, held_out = tmp_path / "c", loader(24, shuffle=False)
    whole = resumable(optimizer, schedule, ema)
    whole.fit(loader(), held_out, epochs=EPOCHS)
    after = cnnfast.random.get_state()
    resumable(optimizer, schedule, ema).fit(loader(), held_out, epochs=2, checkpoint=path)
    resumed = resumable(optimizer, schedule, ema)
    cnnfast.manual_seed(99)
    fresh = loader()
    fresh.seed = 1234  # the checkpoint knows better
    resumed.fit(fresh, held_out, epochs=EPOCHS, resume=path)
    assert_equal_runs(whole, resumed)
    assert cnnfast.random.get_state() == after
    assert checkpoint.load_training(path)[2]["epoch"] == EPOCHS


def test_arrays_and_an_own_seed_resume_too(tmp_path):
    images, labels = digits()
    data, path = (images / 255.0, labels), tmp_path / "c"
    whole = trainer(seed=None)
    cnnfast.manual_seed(11)
    whole.fit(data, epochs=3)
    cnnfast.manual_seed(11)
    model = network()
    cnnfast.manual_seed(11)
    trainer(model, seed=None).fit(data, epochs=1, checkpoint=path)
    resumed = trainer(seed=None)
    resumed.fit(data, epochs=3, resume=path)
    assert_same(weights(whole.model), weights(resumed.model))


class Interrupt(callbacks.Callback):
    """Presses Ctrl-C in the middle of an epoch."""

    def __init__(self, batch):
        self.left = batch

    def on_batch_end(self, trainer, loss):
        if self.left is not None:
            self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("batch", [1, 3, 5, 8])
def test_ctrl_c_leaves_a_checkpoint_that_resumes(tmp_path, batch):
    path = tmp_path / "c"
    whole = resumable()
    whole.fit(loader(), epochs=3)
    stopped = resumable(interrupt=batch)
    with pytest.raises(KeyboardInterrupt) as caught:
        stopped.fit(loader(), epochs=3, checkpoint=path)
    words = str(caught.value)
    assert words.startswith(f"stopped in epoch {(batch - 1) // 3 + 1}; ")
    assert str(path) in words and "\n" not in words
    resumed = resumable()
    resumed.fit(loader(), epochs=3, resume=path)
    assert_equal_runs(whole, resumed)


def test_resuming_a_finished_run_changes_nothing(tmp_path):
    path = tmp_path / "c"
    done = resumable()
    done.fit(loader(), epochs=2, checkpoint=path)
    again = resumable()
    assert len(again.fit(loader(), epochs=2, resume=path)) == 2
    assert_equal_runs(done, again)


def test_early_stop_stays_stopped_after_resume(tmp_path):
    def stopping():
        return trainer(callbacks=[callbacks.EarlyStopping("loss", 1, min_delta=100)])

    path = tmp_path / "c"
    stopping().fit(loader(), epochs=5, checkpoint=path)
    again = stopping()
    assert len(again.fit(loader(), epochs=5, resume=path)) == again.epoch == 2


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: resumable("sgd"), "optimizer: the file has Adam, the trainer SGD"),
        (lambda: resumable(ema=None), "averaged weights: the file has True, the trainer False"),
        (lambda: resumable(schedule="cosine"), "scheduler: the file has NoneType"),
        (lambda: trainer(ema=0.9), "callbacks"),
        (lambda: resumable(model=nn.Sequential(nn.Linear(2, 2))), "does not fit this trainer"),
    ],
)
def test_checkpoint_of_other_parts_is_refused(tmp_path, make, words):
    path = tmp_path / "c"
    resumable().fit(loader(), epochs=1, checkpoint=path)
    with pytest.raises(FormatError, match=words):
        make().fit(loader(), epochs=2, resume=path)


def test_unwritable_checkpoint_fails_before_the_training(tmp_path):
    watch = callbacks.LearningRateLog()
    with pytest.raises(OSError, match="cannot write"):
        trainer(callbacks=[watch]).fit(loader(), epochs=1, checkpoint=tmp_path / "no" / "c")
    assert not watch.rates


# -- evaluating, predicting, saving ----------------------------------------------------------------


def test_evaluate_agrees_with_predict():
    made = trainer(metrics=("accuracy", "top2", "f1"))
    held_out = loader(24, shuffle=False)
    made.fit(loader(), epochs=2)
    found, scores = made.evaluate(held_out), made.predict(held_out)
    labels = digits(24)[1]
    assert found["accuracy"] == metrics.accuracy(scores, labels)
    assert found["top2"] == pytest.approx(metrics.top_k_accuracy(scores, labels, 2))
    matrix = metrics.confusion_matrix(scores, labels)
    assert found["f1"] == pytest.approx(metrics.precision_recall_f1(matrix)["f1"])
    assert list(found) == ["loss", "accuracy", "top2", "f1"]


def test_predict_takes_arrays_datasets_and_loaders():
    images, labels = digits(10)
    pixels = (images / 255.0).astype(np.float32)
    made = trainer()
    scores = made.predict(pixels, batch_size=4)
    assert scores.shape == (10, 3)
    assert scores.dtype == np.float32
    for data in ((pixels, labels), ArrayDataset(pixels, labels), [(pixels, labels)]):
        np.testing.assert_allclose(made.predict(data), scores, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(made.predict(images), made.predict(images.astype(np.float32)))
    table = made.predict(pixels, probabilities=True)
    np.testing.assert_allclose(table.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(table.argmax(1), scores.argmax(1))


def test_measuring_disturbs_nothing():
    made = trainer(ema=0.5)
    made.fit(loader(), epochs=1)
    made.model.train()
    made.model[1].eval()  # a frozen layer stays frozen
    before, state = weights(made.model), cnnfast.random.get_state()
    made.evaluate((digits(9)[0] / 255.0, digits(9)[1]))
    made.predict(digits(9)[0])
    assert_same(before, weights(made.model))
    assert cnnfast.random.get_state() == state
    assert [made.model.training, made.model[1].training] == [True, False]
    assert cnnfast.is_grad_enabled()


def test_ema_follows_its_formula_and_serves_evaluation(tmp_path):
    images, labels = digits()
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    expected = weights(model)["1.weight"].astype(np.float64)

    class Follow(callbacks.Callback):
        steps = 0

        def on_batch_end(self, trainer, loss):
            nonlocal expected
            self.steps += 1
            decay = min(0.6, (1 + self.steps) / (10 + self.steps))
            expected = decay * expected + (1 - decay) * weights(model)["1.weight"]

    made = trainer(model, ema=0.6, callbacks=[Follow()])
    made.fit((images / 255.0, labels), epochs=5)
    np.testing.assert_allclose(made.ema.shadow["1.weight"], expected, rtol=1e-5, atol=1e-7)
    made.save(tmp_path / "m")
    assert_same(checkpoint.load_state(tmp_path / "m"), made.ema.shadow)
    other = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    other.load_state_dict(made.ema.shadow)
    np.testing.assert_array_equal(made.predict(images), trainer(other).predict(images))


def test_save_carries_metadata_and_architecture(tmp_path):
    made = trainer(models.mlp(num_classes=3, in_features=64, hidden=[8]))
    made.metadata = {"classes": ["x", "y", "z"]}
    made.save(tmp_path / "m")
    assert checkpoint.read_metadata(tmp_path / "m")["classes"] == ["x", "y", "z"]
    images = digits(5)[0]
    again = trainer(cnnfast.load(tmp_path / "m"))
    np.testing.assert_array_equal(made.predict(images), again.predict(images))


# -- callbacks -------------------------------------------------------------------------------------


class Scripted(callbacks.Callback):
    """Overwrites a logged figure, to test the callbacks after it."""

    def __init__(self, name, values):
        self.name, self.values = name, values

    def on_epoch_end(self, trainer, logs):
        logs[self.name] = self.values[trainer.epoch - 1]


@pytest.mark.parametrize(
    ("options", "values", "epochs"),
    [
        ({"monitor": "x_loss", "patience": 2}, [5, 4, 4, 4, 3, 2], 4),
        ({"monitor": "x_loss", "patience": 0}, [5, 6, 1, 1, 1, 1], 2),
        ({"monitor": "x", "patience": 2}, [1, 2, 1, 3, 2, 2], 6),
        ({"monitor": "x", "patience": 1, "mode": "min"}, [3, 2, 2, 1, 1, 1], 3),
        ({"monitor": "x", "patience": 1, "min_delta": 0.5}, [1, 2, 2.4, 9, 9, 9], 3),
    ],
)
def test_early_stopping(options, values, epochs):
    stop = callbacks.EarlyStopping(**options)
    made = trainer(callbacks=[Scripted(options["monitor"], values), stop])
    assert len(made.fit(loader(16), epochs=6)) == epochs


@pytest.mark.parametrize("ema", [None, 0.8])
def test_early_stopping_brings_the_best_weights_back(tmp_path, ema):
    path = tmp_path / "best"
    watchers = [
        Scripted("score", [1, 3, 2, 2, 2]),
        callbacks.BestCheckpoint(path, "score"),
        callbacks.EarlyStopping("score", 2, restore_best=True),
    ]
    made = trainer(models.lenet5(3), callbacks=watchers, ema=ema)
    images = np.random.default_rng(0).random((12, 1, 28, 28), np.float32)
    made.fit((images, np.arange(12) % 3), epochs=5, batch_size=4)
    assert made.epoch == 4
    assert_same(checkpoint.load_state(path), made.weights())
    assert_same(weights(cnnfast.load(path)), made.weights())


def test_csv_log_is_the_history_even_after_a_resume(tmp_path):
    log, path = tmp_path / "history.csv", tmp_path / "c"
    trainer(callbacks=[callbacks.CSVLog(log)]).fit(loader(), epochs=2, checkpoint=path)
    made = trainer(callbacks=[callbacks.CSVLog(log)])
    made.fit(loader(), epochs=3, resume=path)
    with open(log, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert [float(row["loss"]) for row in rows] == made.history.history["loss"]


def test_history_fills_what_an_epoch_did_not_report():
    record = cnnfast.History()
    record.append({"loss": 1.0})
    record.append({"loss": 0.5, "val_loss": 2.0})
    record.append({"val_loss": 1.0})
    np.testing.assert_equal(
        record.history, {"loss": [1.0, 0.5, math.nan], "val_loss": [math.nan, 2.0, 1.0]}
    )
    assert len(record) == len(record.rows()) == 3


# -- what is seen and what goes wrong --------------------------------------------------------------


def test_progress_is_a_line_an_epoch_on_standard_error(capsys):
    made = trainer()
    made.progress = True
    made.fit(loader(), epochs=2)
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert [line.split(":")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]
    assert "loss=" in lines[0] and "accuracy=" in lines[0]


def test_progress_is_a_bar_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    made = trainer()
    made.progress = True
    made.fit(loader(), epochs=1)
    out, err = capsys.readouterr()
    assert out == ""
    assert "epoch 1/1 |" in err and "3/3" in err


def test_loss_that_is_not_finite_ends_the_training(tmp_path):
    path = tmp_path / "c"
    images = np.full((8, 1, 8, 8), np.nan, np.float32)
    with pytest.raises(FloatingPointError, match=r"nan in epoch 1.*learning rate"):
        trainer().fit((images, np.zeros(8, int)), epochs=1, checkpoint=path)
    assert checkpoint.load_training(path)[2]["epoch"] == 0


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: trainer(clip_norm=0), "clip_norm is 0"),
        (lambda: trainer(schedule_per="step"), "schedule_per is 'step'"),
        (lambda: trainer(optimizer="adamax"), "'adamax'.*sgd"),
        (lambda: trainer(metrics=["acc"]), "'acc'"),
        (lambda: trainer(ema=1.0), "decay is 1.0"),
        (lambda: trainer().fit(loader(), epochs=-1), "epochs is -1"),
        (lambda: trainer().fit([], epochs=1), "no batch"),
        (lambda: trainer().fit(3, epochs=1), "found int"),
        (lambda: trainer().evaluate([]), "no batch"),
        (lambda: trainer().predict(np.zeros((0, 1, 8, 8))), "empty"),
        (lambda: callbacks.EarlyStopping(patience=-1), "patience is -1"),
        (lambda: callbacks.EarlyStopping(mode="least"), "'least'"),
        (
            lambda: trainer(callbacks=[callbacks.EarlyStopping()]).fit(loader(), epochs=1),
            "'val_loss'.*validation set",
        ),
    ],
)
def test_wrong_use_is_explained(call, words):
    with pytest.raises(ValueError, match=words):
        call()
