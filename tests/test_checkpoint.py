"""Files: one-step replacement, round trips to the bit, and refusal of whatever is damaged."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

import cnnfast
from cnnfast import FormatError, checkpoint, models, nn

SMALL = {
    "lenet5": ({"num_classes": 3}, (1, 28, 28)),
    "mlp": ({"num_classes": 3, "in_features": 16, "hidden": [5]}, (1, 4, 4)),
    "vgg_small": ({"num_classes": 3, "widths": [4, 8]}, (3, 16, 16)),
    "resnet18": ({"num_classes": 3}, (3, 32, 32)),
    "resnet18_cifar": ({"num_classes": 3}, (3, 16, 16)),
}


@pytest.fixture
def model():
    cnnfast.manual_seed(0)
    return models.build("mlp", **SMALL["mlp"][0])


@pytest.fixture
def saved(model, tmp_path):
    path = tmp_path / "model.safetensors"
    cnnfast.save(model, path, classes=["a", "b", "c"])
    return path


def arrays(model):
    return {name: value.numpy().copy() for name, value in model.state_dict().items()}


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], strict=True)


# -- replacing a file in one step ------------------------------------------------------------------


def test_write_replaces_and_leaves_nothing_beside(tmp_path):
    path = tmp_path / "file"
    for data in (b"one", b"two"):
        checkpoint.write_atomic(path, data)
        assert path.read_bytes() == data
    assert os.listdir(tmp_path) == ["file"]


def test_write_follows_a_link(tmp_path):
    path, link = tmp_path / "file", tmp_path / "link"
    path.write_bytes(b"old")
    link.symlink_to(path)
    checkpoint.write_atomic(link, b"new")
    assert link.is_symlink()
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_failed_write_keeps_the_old_file(tmp_path, monkeypatch, step, error):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail(*_):
        raise error

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(type(error)) as caught:
        checkpoint.write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]
    if isinstance(error, OSError):
        message = caught.value.strerror
        assert str(path) in message and "No space" in message and "kept" in message
        assert "\n" not in message


def test_process_that_dies_while_writing_keeps_the_old_file(saved, model):
    before = saved.read_bytes()
    code = (
        "import os, sys, cnnfast; os.replace = lambda *_: os._exit(9); "
        "model = cnnfast.load(sys.argv[1]); cnnfast.save(model, sys.argv[1])"
    )
    package = Path(cnnfast.__file__).parents[1]  # not the source that the tests may stand in
    done = subprocess.run([sys.executable, "-c", code, str(saved)], cwd=package, check=False)
    assert done.returncode == 9
    assert saved.read_bytes() == before


def test_missing_folder_is_named(tmp_path, model):
    path = tmp_path / "no" / "model.safetensors"
    with pytest.raises(FileNotFoundError, match=r"cannot write .*no/model\.safetensors"):
        cnnfast.save(model, path)


# -- models ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SMALL)
def test_load_needs_only_the_file(name, tmp_path):
    assert set(SMALL) == set(models.names())
    config, shape = SMALL[name]
    cnnfast.manual_seed(1)
    model = models.build(name, **config)
    cnnfast.save(model, tmp_path / "m")
    again = cnnfast.load(tmp_path / "m")
    assert_same(arrays(model), arrays(again))
    assert not again.training
    assert again.architecture == model.architecture
    x = cnnfast.as_tensor(np.random.default_rng(0).random((2, *shape), np.float32))
    with cnnfast.no_grad():
        np.testing.assert_array_equal(model.eval()(x).numpy(), again(x).numpy())


def test_same_model_gives_the_same_bytes(saved, model, tmp_path):
    cnnfast.save(model, tmp_path / "again", classes=["a", "b", "c"])
    assert (tmp_path / "again").read_bytes() == saved.read_bytes()


def test_metadata_is_read_back(saved):
    metadata = checkpoint.read_metadata(saved)
    assert metadata["classes"] == ["a", "b", "c"]
    assert metadata["architecture"]["name"] == "mlp"
    assert metadata["kind"] == "model"


def test_any_safetensors_reader_gets_the_weights(saved, model):
    assert_same(load_file(saved), arrays(model))
    assert_same(checkpoint.load_state(saved), arrays(model))


def test_own_network_is_loaded_by_its_own_code(tmp_path):
    path = tmp_path / "own"
    own = nn.Sequential(nn.Linear(3, 2))
    cnnfast.save(own, path)
    with pytest.raises(FormatError, match=r"load_state_dict\(cnnfast.checkpoint.load_state"):
        cnnfast.load(path)
    other = nn.Sequential(nn.Linear(3, 2))
    other.load_state_dict(checkpoint.load_state(path))
    assert_same(arrays(own), arrays(other))


def test_foreign_file_has_weights_but_no_metadata(tmp_path):
    path = tmp_path / "foreign"
    save_file({"w": np.ones(2, np.float16)}, path, {"format": "pt"})
    assert checkpoint.read_metadata(path) == {}
    assert checkpoint.load_state(path)["w"].dtype == np.float16
    with pytest.raises(FormatError, match="does not name a network"):
        cnnfast.load(path)


@pytest.mark.parametrize("name", checkpoint.RESERVED)
def test_metadata_may_not_take_the_files_own_names(model, tmp_path, name):
    with pytest.raises(ValueError, match=name):
        cnnfast.save(model, tmp_path / "m", **{name: 1})
    assert not os.listdir(tmp_path)


# -- damage ----------------------------------------------------------------------------------------


def rewritten(path, **changes):
    """Change the JSON document of a file, leaving its tensors."""
    document = {**checkpoint.read_metadata(path), **changes}
    save_file(load_file(path), path, {"cnnfast": json.dumps(document)})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": 2}, "file format 1, found 2"),
        ({"architecture": {"name": "alexnet9", "config": {}}}, "alexnet9"),
        ({"architecture": {"name": "mlp", "config": {"depth": 3}}}, "depth"),
        ({"architecture": {"name": "mlp", "config": {"in_features": -1}}}, "mlp"),
        ({"architecture": {"name": "mlp", "config": {"in_features": "many"}}}, "many"),
        ({"architecture": {"name": "lenet5", "config": {}}}, "weights do not fit"),
        ({"architecture": "mlp"}, "a name and a config"),
        ({"architecture": {"name": 3, "config": {}}}, "a name and a config"),
    ],
)
def test_wrong_metadata_is_explained(saved, changes, words):
    rewritten(saved, **changes)
    with pytest.raises(FormatError, match=words) as caught:
        cnnfast.load(saved)
    assert str(saved) in str(caught.value)


def test_a_network_larger_than_its_file_is_refused_before_it_is_built(saved):
    huge = {"name": "mlp", "config": {"hidden": [1 << 15, 1 << 17]}}  # 16 GB
    rewritten(saved, architecture=huge)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(FormatError, match="more parameters than there are weights"):
        cnnfast.load(saved)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + (300 << 10)  # kilobytes
    models.mlp(hidden=[1 << 12])  # nothing of it remains


@pytest.mark.parametrize("text", ["", "[", "[]", "[" * 10000, '{"format": 1'])
def test_metadata_that_is_no_document(saved, text):
    save_file(load_file(saved), saved, {"cnnfast": text})
    for read in (cnnfast.load, checkpoint.read_metadata, checkpoint.load_state):
        with pytest.raises(FormatError, match=r"model\.safetensors"):
            read(saved)


def test_every_truncation_is_refused(saved, tmp_path):
    whole = saved.read_bytes()
    part = tmp_path / "part"
    for size in {*range(0, len(whole), 37), len(whole) - 1}:
        part.write_bytes(whole[:size])
        with pytest.raises(FormatError, match="part"):
            cnnfast.load(part)


def test_flipped_bits_end_in_a_model_or_a_format_error(saved, tmp_path):
    whole = np.frombuffer(saved.read_bytes(), np.uint8)
    draw = np.random.default_rng(0)
    bad = tmp_path / "bad"
    for _ in range(300):
        data = whole.copy()
        data[draw.integers(min(len(data), 900))] ^= 1 << draw.integers(8)
        bad.write_bytes(data.tobytes())
        try:
            cnnfast.load(bad)
        except FormatError as error:
            assert "bad" in str(error)


def test_missing_file_and_folder_are_the_systems_errors(tmp_path):
    with pytest.raises(FileNotFoundError):
        cnnfast.load(tmp_path / "none")
    with pytest.raises(IsADirectoryError):
        cnnfast.load(tmp_path)


# -- training states -------------------------------------------------------------------------------

LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
KEYS = st.text(max_size=3) | st.integers(-3, 3)
TREES = st.recursive(
    LEAVES | st.lists(st.floats(width=32), max_size=3).map(lambda x: np.array(x, np.float32)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(KEYS, inner, max_size=3)
    ),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None)
@given(tree=TREES)
def test_trees_come_back_as_they_were(tmp_path_factory, tree):
    path = tmp_path_factory.mktemp("tree") / "state"
    checkpoint.save_training(path, nn.Linear(1, 1), None, {"tree": tree})
    _, _, state, _ = checkpoint.load_training(path)
    np.testing.assert_equal(state["tree"], tree)
    assert repr(state["tree"]) == repr(tree)  # tuples, types of keys, negative zeros


def test_training_state_has_its_parts_under_prefixes(tmp_path, model):
    path = tmp_path / "c"
    shadow = {name: value + 1 for name, value in arrays(model).items()}
    optimizer = cnnfast.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    model(cnnfast.as_tensor(np.ones((2, 16), np.float32))).sum().backward()
    optimizer.step()
    state = {"optimizer": optimizer.state_dict(), "epoch": 3}
    checkpoint.save_training(path, model, shadow, state, note="x")
    names = set(load_file(path))
    assert {name.split(".")[0] for name in names} == {"model", "ema", "optimizer"}
    weights, averages, back, metadata = checkpoint.load_training(path)
    assert_same(weights, arrays(model))
    assert_same(averages, shadow)
    assert (back["epoch"], metadata) == (3, {"note": "x"})
    assert_same(arrays(cnnfast.load(path)), shadow)  # averaged weights are the ones to use


def test_model_file_is_no_training_state(saved):
    with pytest.raises(FormatError, match="expected a training checkpoint, found a model file"):
        checkpoint.load_training(saved)


def test_training_state_with_a_missing_tensor(tmp_path, model):
    path = tmp_path / "c"
    checkpoint.save_training(path, model, None, {"x": np.ones(2)})
    kept = {name: value for name, value in load_file(path).items() if name != "x"}
    save_file(kept, path, {"cnnfast": json.dumps(checkpoint.read_metadata(path))})
    with pytest.raises(FormatError, match=r"training state is damaged.*'x'"):
        checkpoint.load_training(path)


def test_functions_are_refused(tmp_path, model):
    with pytest.raises(TypeError, match=r"schedule\.1, a function"):
        checkpoint.save_training(tmp_path / "c", model, None, {"schedule": [1, lambda: 0]})
