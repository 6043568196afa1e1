"""The command line: what it writes and prints, and one line with exit code 2 for what is wrong."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import cnnfast
from cnnfast import checkpoint, models, pictures, recipe, sources
from cnnfast.cli import main
from cnnfast.data import mnist5k

Image = pytest.importorskip("PIL.Image")


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(capsys, *words):
    """Run a command that must succeed; return what it printed."""
    code = main([str(word) for word in words])
    out, err = capsys.readouterr()
    assert code == 0, err
    return out


def complaint(capsys, *words, code=2):
    """Run a command that must fail; return its one line."""
    assert main([str(word) for word in words]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert "Traceback" not in err
    return err


def digits_of(path, each):
    """Write so many digits of each class into a file; a fifth of them will be held out."""
    train = mnist5k("train")
    chosen = [np.flatnonzero(train.labels == label)[:each] for label in range(10)]
    order = np.concatenate(chosen)
    np.savez(path, images=train.images[order, 0], labels=train.labels[order])
    return path


@pytest.fixture
def few(tmp_path):
    return digits_of(tmp_path / "few.npz", 20)


@pytest.fixture
def trained(few, capsys):
    run(capsys, "train", "--data", few, "--epochs", 2, "--name", "a", "--quiet")
    return few


def digit_files(folder):
    """Write digits as PNG and JPEG, as drawn on black and on white, grey and in colour."""
    test = mnist5k("test")
    files = []
    for number, label in enumerate(test.labels[:12]):
        image = Image.fromarray(test.images[number, 0])
        if number % 2:
            image = Image.fromarray(255 - test.images[number, 0]).convert("RGB")
        if number % 3 == 0:
            image = image.resize((140, 140), Image.Resampling.BICUBIC)
        path = folder / f"{label}-{number}.{'jpg' if number % 4 == 3 else 'png'}"
        image.save(path)
        files.append(path)
    return files


# -- the way through -------------------------------------------------------------------------------


def test_train_by_default_learns_the_digits(capsys, tmp_path):
    result = json.loads(run(capsys, "train", "--json", "--quiet"))
    assert result["accuracy"] >= 0.975
    folder = tmp_path / result["folder"]
    assert {"model.safetensors", "history.csv"} <= set(os.listdir(folder))
    files = digit_files(tmp_path)
    found = json.loads(run(capsys, "predict", "--json", *files))["predictions"]
    right = [one["classes"][0]["class"] == os.path.basename(one["file"])[0] for one in found]
    assert sum(right) >= 11
    measured = json.loads(run(capsys, "eval", "--json"))
    assert measured["accuracy"] == pytest.approx(result["accuracy"])


def test_train_writes_its_folder(trained, tmp_path):
    folder = tmp_path / "runs" / "a"
    with open(folder / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert {"loss", "accuracy", "val_loss", "val_accuracy", "images_per_second"} <= set(rows[0])
    metadata = checkpoint.read_metadata(folder / "model.safetensors")
    assert metadata["classes"] == [str(digit) for digit in range(10)]
    assert metadata["input_shape"] == [1, 28, 28]
    assert metadata["background"] == "dark"
    assert metadata["architecture"]["name"] == "lenet5"


def test_train_draws_with_matplotlib_and_does_without(few, capsys, monkeypatch, tmp_path):
    pytest.importorskip("matplotlib")
    flags = ("train", "--data", few, "--epochs", 1)
    run(capsys, *flags, "--name", "with")
    for name in ("curves.png", "confusion.png"):
        with Image.open(tmp_path / "runs" / "with" / name) as image:
            assert min(image.size) > 300
    monkeypatch.setattr("cnnfast.plots.available", lambda: False)
    assert main([str(flag) for flag in (*flags, "--name", "without")]) == 0
    assert 'pip install "cnnfast[plots]"' in capsys.readouterr().err
    assert not (tmp_path / "runs" / "without" / "curves.png").exists()


def test_train_prints_results_apart_from_progress(few, capsys):
    assert main(["train", "--data", str(few), "--epochs", "1"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("held-out accuracy ")
    assert "model.safetensors" in out
    assert err.startswith("epoch 1/1: loss=")


def test_eval_reports_every_class(trained, capsys):
    text = run(capsys, "eval")
    assert "accuracy" in text
    assert len(text.splitlines()) == 3 + 10
    result = json.loads(run(capsys, "eval", "--json"))
    assert result["images"] == 40
    assert np.array(result["confusion_matrix"]).sum() == 40
    assert len(result["per_class"]["f1"]) == 10


def test_predict_prints_a_line_a_file(trained, capsys, tmp_path):
    files = digit_files(tmp_path)[:3]
    text = run(capsys, "predict", *files, "--top", 2)
    assert len(text.splitlines()) == 3
    name, *rest = text.splitlines()[0].split()
    assert name == str(files[0])
    assert len(rest) == 4
    assert float(rest[1]) >= float(rest[3])


def test_newest_run_is_the_default(trained, capsys, tmp_path):
    time.sleep(0.02)
    run(capsys, "train", "--data", trained, "--epochs", 1, "--name", "b", "--quiet")
    assert "runs/b/" in run(capsys, "eval")
    os.utime(tmp_path / "runs" / "a" / "model.safetensors")
    assert "runs/a/" in run(capsys, "eval")


def test_resume_continues_to_the_same_bits(few, capsys, tmp_path, monkeypatch):
    flags = ("train", "--data", few, "--epochs", 3, "--quiet", "--json")
    whole = json.loads(run(capsys, *flags, "--name", "whole"))
    from cnnfast.trainer import Trainer

    step, count = Trainer._step, [0]

    def interrupted(self, images, labels):
        count[0] += 1
        if count[0] == 5:
            raise KeyboardInterrupt
        return step(self, images, labels)

    monkeypatch.setattr(Trainer, "_step", interrupted)
    line = complaint(capsys, *flags, "--name", "part", code=130)
    assert "stopped in epoch 2" in line and "runs/part/checkpoint.safetensors" in line
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    resumed = json.loads(run(capsys, "train", "--resume", "runs/part", "--json", "--quiet"))
    assert resumed["history"]["val_loss"] == whole["history"]["val_loss"]
    first, second = (
        checkpoint.load_state(tmp_path / "runs" / name / "model.safetensors")
        for name in ("whole", "part")
    )
    for name, weight in first.items():
        np.testing.assert_array_equal(weight, second[name])


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_ctrl_c_of_a_process(few, tmp_path):
    words = ["train", "--data", str(few), "--epochs", "100000", "--name", "c", "--quiet"]
    process = subprocess.Popen(
        [sys.executable, "-m", "cnnfast", *words],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    history = tmp_path / "runs" / "c" / "history.csv"
    deadline = time.monotonic() + 60
    while not history.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert len(err.splitlines()) == 1
    assert err.startswith("cnnfast: stopped in epoch ")
    state = checkpoint.load_training(tmp_path / "runs" / "c" / "checkpoint.safetensors")[2]
    assert state["epoch"] >= 1
    assert not list((tmp_path / "runs" / "c").glob(".*.tmp"))


# -- data of other kinds ---------------------------------------------------------------------------


def test_folder_of_images(capsys, tmp_path):
    test = mnist5k("test")
    for name in ("ones", "zeros"):
        label = {"zeros": 0, "ones": 1}[name]
        folder = tmp_path / "pictures" / name
        folder.mkdir(parents=True)
        for number in np.flatnonzero(test.labels == label)[:15]:
            Image.fromarray(255 - test.images[number, 0]).save(folder / f"{number}.png")
    flags = ("--size", 28, "--epochs", 4, "--batch-size", 8, "--quiet", "--json")
    result = json.loads(run(capsys, "train", "--data", "pictures", *flags))
    assert result["folder"].startswith("runs/pictures-lenet5-")
    assert result["accuracy"] >= 0.8
    metadata = checkpoint.read_metadata(tmp_path / result["folder"] / "model.safetensors")
    assert (metadata["classes"], metadata["background"]) == (["ones", "zeros"], "light")
    assert json.loads(run(capsys, "eval", "--json"))["images"] == 6


def test_colour_images_and_parts_by_name(tmp_path):
    for part in ("train", "val"):
        for name in ("a", "b"):
            folder = tmp_path / "set" / part / name
            folder.mkdir(parents=True)
            for number in range(3):
                Image.new("RGB", (9, 7), (number, 0, 9)).save(folder / f"{number}.png")
    source = sources.open_source(str(tmp_path / "set"))
    assert len(source.train) == len(source.held_out) == 6
    assert source.train[0][0].shape == (3, 64, 64)


@pytest.mark.parametrize("model", ["mlp", "vgg_small", "resnet18_cifar"])
def test_other_networks_fit_the_data(capsys, tmp_path, model):
    data = digits_of(tmp_path / "data.npz", 2)
    flags = ("--model", model, "--epochs", 1, "--quiet", "--json")
    assert json.loads(run(capsys, "train", "--data", data, *flags))["epochs"] == 1
    run(capsys, "eval")


@pytest.mark.parametrize("optimizer", sorted(recipe.RATES))
def test_optimizers(few, capsys, optimizer):
    flags = ("--optimizer", optimizer, "--epochs", 1, "--no-augment", "--seed", 4, "--json")
    assert json.loads(run(capsys, "train", "--data", few, *flags))["loss"] < 2.4


def test_split_is_a_fifth_of_each_class_and_always_the_same(few):
    first, second = sources.open_source(str(few)), sources.open_source(str(few))
    assert np.bincount(first.held_out[:][1]).tolist() == [4] * 10
    assert len(first.train) == 160
    np.testing.assert_array_equal(first.held_out[:][0], second.held_out[:][0])


@pytest.mark.parametrize(
    ("names", "sizes"),
    [
        (("x_train", "y_train", "x_test", "y_test"), (40, 20)),
        (("train_images", "train_labels", "test_images", "test_labels"), (40, 20)),
        (("x", "y", "more", "things"), (32, 8)),
    ],
)
def test_names_of_arrays(tmp_path, names, sizes):
    images, labels = np.zeros((60, 5, 4, 3), np.uint8), np.arange(60) % 4
    parts = (images[:40], labels[:40], images[40:], labels[40:])
    np.savez(tmp_path / "d.npz", **dict(zip(names, parts, strict=True)))
    source = sources.open_source(str(tmp_path / "d.npz"))
    assert (len(source.train), len(source.held_out)) == sizes
    assert source.train[0][0].shape == (3, 5, 4)


# -- pictures --------------------------------------------------------------------------------------


def test_pictures_of_either_background_become_the_models(tmp_path):
    digit = mnist5k("test").images[0]
    expected = digit[0].astype(int)
    stroke = Image.new("RGBA", (28, 28), (0, 0, 0, 0))
    stroke.putalpha(Image.fromarray(digit[0]))  # black ink on a transparent ground
    for name, image in {
        "dark.png": Image.fromarray(digit[0]),
        "light.png": Image.fromarray(255 - digit[0]),
        "colour.png": Image.fromarray(255 - digit[0]).convert("RGB"),
        "deep.png": Image.fromarray(digit[0].astype(np.uint16) * 257),
        "clear.png": stroke,
    }.items():
        image.save(tmp_path / name)
        found = pictures.read_picture(tmp_path / name, (1, 28, 28), "dark")
        assert (found.shape, found.dtype) == ((1, 28, 28), np.uint8)
        assert np.abs(found[0] - expected).max() <= 1
    assert pictures.read_picture(tmp_path / "dark.png", (3, 14, 20)).shape == (3, 14, 20)
    light = pictures.read_picture(tmp_path / "dark.png", (1, 28, 28), "light")
    np.testing.assert_array_equal(light, 255 - digit)


def test_background_is_known_only_where_the_images_agree():
    dark, light = np.zeros((20, 1, 6, 6), np.uint8), np.full((20, 1, 6, 6), 255, np.uint8)
    assert pictures.background(dark) == "dark"
    assert pictures.background(light) == "light"
    assert pictures.background(np.concatenate([dark, light])) is None
    assert pictures.background(np.zeros((2, 3, 6, 6), np.uint8)) is None


# -- info, summary, bench --------------------------------------------------------------------------


def test_info(capsys):
    found = json.loads(run(capsys, "info", "--json"))
    assert found["cnnfast"] == cnnfast.__version__
    assert found["isa"] in found["isas"]
    assert found["threads"] >= 1
    text = run(capsys, "info")
    assert all(name in text for name in ("cpu", "isa", "threads", "openmp"))


def test_summary_of_names_and_files(trained, capsys):
    text = run(capsys, "summary", "lenet5", "--input", "1x28x28")
    assert "61,706" in text
    assert run(capsys, "summary") == text
    found = json.loads(run(capsys, "summary", "runs/a/model.safetensors", "--json"))
    assert found["parameters"] == 61_706
    batch = json.loads(run(capsys, "summary", "lenet5", "--json", "--input", "1,28,28",
                           "--batch-size", 2))  # fmt: skip
    assert batch["multiply_adds"] == 2 * found["multiply_adds"]


def test_bench_calls_the_folder_here(capsys, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "benchmarks"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", list(sys.path))
    folder = tmp_path / "benchmarks"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "__main__.py").write_text("def main(words):\n    print(words)\n    return 3\n")
    assert main(["bench", "gemm", "--repeat", "2"]) == 3
    assert capsys.readouterr().out == "['gemm', '--repeat', '2']\n"


def test_bench_without_the_folder(capsys, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "benchmarks"]:
        monkeypatch.delitem(sys.modules, name)
    kept = [p for p in sys.path if not os.path.isdir(os.path.join(p, "benchmarks"))]
    monkeypatch.setattr(sys, "path", kept)
    assert "no folder benchmarks" in complaint(capsys, "bench")


def test_help_and_version(capsys):
    assert cnnfast.__version__ in run(capsys, "--version")
    for words in (("--help",), ("train", "--help"), ("predict", "--help")):
        assert run(capsys, *words).startswith("usage: cnnfast")


# -- errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "COMMAND"),
        (["fly"], "fly"),
        (["train", "--epochs", "0"], "--epochs: expected a whole number of 1 or more, got '0'"),
        (["train", "--epochs", "ten"], "'ten'"),
        (["train", "--lr", "-1"], "above 0"),
        (["train", "--lr", "nan"], "above 0"),
        (["train", "--seed", "-3"], "0 or more"),
        (["train", "--optimizer", "lion"], "lion"),
        (["train", "--model", "alexnet9"], "'alexnet9'"),
        (["train", "--data", "nowhere"], "nowhere: no such data"),
        (["train", "--data", "text.txt"], "text.txt: expected"),
        (["train", "--data", "text.npz"], "text.npz"),
        (["train", "--data", "empty.npz"], "found other"),
        (["train", "--data", "empty"], "empty"),
        (["train", "--colour"], "--colour"),
        (["train", "--resume", "nowhere"], "nowhere"),
        (["train", "--resume", "text.txt"], "text.txt: expected a safetensors file"),
        (["train", "--resume", "x", "--epochs", "3"], "--epochs cannot be given with --resume"),
        (["train", "--resume", "x", "--no-augment"], "--no-augment cannot"),
        (["train", "--name", "taken"], "exists"),
        (["train", "--threads", "0"], "--threads"),
        (["eval"], "run cnnfast train first"),
        (["eval", "--model", "nowhere"], "nowhere: No such file"),
        (["eval", "--model", "text.txt"], "text.txt: expected a safetensors file"),
        (["predict"], "FILE"),
        (["predict", "text.txt"], "run cnnfast train first"),
        (["summary", "alexnet9"], "alexnet9"),
        (["summary", "lenet5"], "--input CxHxW"),
        (["summary", "lenet5", "--input", "28x28"], "CxHxW"),
        (["summary", "lenet5", "--input", "2x28x28"], "2"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(capsys, tmp_path, words, expected):
    (tmp_path / "text.txt").write_text("hello")
    (tmp_path / "text.npz").write_text("hello")
    np.savez(tmp_path / "empty.npz", other=np.zeros(2))
    (tmp_path / "empty").mkdir()
    (tmp_path / "runs" / "taken").mkdir(parents=True)
    assert expected in complaint(capsys, *words)


def test_wrong_pictures_are_named(trained, capsys, tmp_path):
    (tmp_path / "text.png").write_text("hello")
    assert "text.png" in complaint(capsys, "predict", "text.png")
    assert "none.png: No such file" in complaint(capsys, "predict", "none.png")


def test_model_without_its_input_is_refused(capsys, tmp_path):
    cnnfast.save(models.lenet5(), tmp_path / "m")
    assert "'classes'" in complaint(capsys, "predict", "--model", "m", "x.png")


def test_resume_of_another_programs_checkpoint(capsys, tmp_path):
    checkpoint.save_training(tmp_path / "c", models.lenet5(), None, {})
    assert "settings of cnnfast train" in complaint(capsys, "train", "--resume", "c")


def test_loss_that_is_not_finite_exits_with_1(few, capsys):
    flags = ("--optimizer", "sgd", "--lr", "1e30", "--quiet", "--no-augment")
    line = complaint(capsys, "train", "--data", few, *flags, code=1)
    assert "lower the learning rate" in line


def test_module_runs_as_a_program(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "cnnfast", "info", "--json"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
    )
    assert json.loads(done.stdout)["cnnfast"] == cnnfast.__version__
