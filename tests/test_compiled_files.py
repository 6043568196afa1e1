"""Compiled models on disk, their profile, and the commands on them."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rounding import uniform

import cnnfast
from cnnfast import _core, checkpoint, models, nn
from cnnfast.cli import main
from cnnfast.errors import FormatError
from cnnfast.graph import Graph, Node

X = uniform(2, 1, 28, 28)


@pytest.fixture(scope="module")
def compiled() -> cnnfast.CompiledModel:
    return cnnfast.compile(models.lenet5().eval(), X, threads=2)


@pytest.fixture(scope="module")
def saved(compiled: cnnfast.CompiledModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "lenet5.safetensors"
    compiled.save(path)
    return path


def test_a_saved_model_gives_the_same_bits(compiled: cnnfast.CompiledModel, saved: Path) -> None:
    loaded = cnnfast.load(saved)
    assert isinstance(loaded, cnnfast.CompiledModel) and loaded.threads == 2
    for _ in range(2):
        assert loaded(X).tobytes() == compiled(X).tobytes()
        loaded.release()
    assert pickle.loads(pickle.dumps(loaded))(X).tobytes() == compiled(X).tobytes()
    again = saved.with_name("again.safetensors")
    loaded.save(again)
    assert again.read_bytes() == saved.read_bytes()


def test_a_loaded_model_outlives_its_file(compiled: cnnfast.CompiledModel, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    compiled.save(path)
    loaded = cnnfast.load(path)
    path.unlink()
    assert loaded(X).tobytes() == compiled(X).tobytes()


def test_loading_needs_no_onnx(saved: Path) -> None:
    program = (
        "import sys; sys.modules['onnx'] = None; import cnnfast, numpy as np;"
        f"print(cnnfast.load({str(saved)!r})(np.zeros((3, 1, 28, 28), np.float32)).shape)"
    )
    package = Path(cnnfast.__file__).parents[1]  # not the source that the tests may stand in
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=package, capture_output=True, text=True, check=False
    )
    assert ran.stdout.strip() == "(3, 10)", ran.stderr


def test_compile_takes_a_path(compiled: cnnfast.CompiledModel, saved: Path, tmp_path: Path) -> None:
    assert cnnfast.compile(saved)(X).tobytes() == compiled(X).tobytes()
    assert cnnfast.compile(str(saved), threads=1).threads == 1
    module = tmp_path / "module.safetensors"
    cnnfast.save(models.lenet5(), module)
    assert cnnfast.compile(module, X)(X).shape == (2, 10)
    with pytest.raises(TypeError, match="example"):
        cnnfast.compile(module)


WEIGHTS: dict[str, Any] = {  # with padding in a panel, blocks of channels, strides, groups
    "5x5": lambda: nn.Conv2d(3, 37, 5, 2, bias=False),
    "1x1 of many channels": lambda: nn.Conv2d(700, 8, 1, bias=False),
    "3x3 of many channels": lambda: nn.Conv2d(300, 33, 3, 2, 1, bias=False),
    "groups": lambda: nn.Conv2d(12, 20, 3, 1, 1, groups=4, bias=False),
    "alone": lambda: nn.Conv2d(12, 12, 3, 1, 1, groups=12, bias=False),
    "for Winograd": lambda: nn.Conv2d(64, 64, 3, 1, 1, bias=False),
    "linear": lambda: nn.Sequential(nn.Flatten(), nn.Linear(300 * 81, 5)),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_come_back_from_their_packed_form(name: str, tmp_path: Path, isa: str) -> None:
    model = WEIGHTS[name]()
    layer = next(module for module in model.modules() if hasattr(module, "weight"))
    bits = np.arange(layer.weight.numel(), dtype=np.uint32) * np.uint32(170_003)  # infinite, too
    layer.weight.data = bits.view(np.float32).reshape(layer.weight.shape)
    x = uniform(1, getattr(layer, "in_channels", 300), 9, 9)
    compiled = cnnfast.compile(model, x)
    before = compiled.graph.constants
    first, files = compiled(x).tobytes(), []
    after = compiled.graph.constants
    assert list(after) == list(before)
    assert all(after[name].tobytes() == value.tobytes() for name, value in before.items())
    for each in (compiled, copy.deepcopy(compiled), pickle.loads(pickle.dumps(compiled))):
        assert each(x).tobytes() == first
        each.save(tmp_path / "model.safetensors")
        files.append((tmp_path / "model.safetensors").read_bytes())
    compiled.release()
    assert compiled(x).tobytes() == first
    assert files[0] == files[1] == files[2]


def test_another_instruction_set_packs_anew(tmp_path: Path) -> None:
    from cnnfast import _core

    current, best = _core.isa(), _core.cpu_info()["isas"][-1]
    model = nn.Conv2d(40, 40, 5)
    x = uniform(1, 40, 9, 9)
    try:
        _core.set_isa(best)
        compiled = cnnfast.compile(model, x)
        wanted = compiled(x)
        _core.set_isa("generic")
        np.testing.assert_allclose(compiled(x), wanted, rtol=1e-4, atol=1e-5)
        assert _core.isa() == "generic"
        _core.set_isa(best)
        assert compiled(x).tobytes() == wanted.tobytes()
    finally:
        _core.set_isa(current)


def test_originals_are_let_go_once_they_are_packed() -> None:
    model, x = nn.Conv2d(512, 512, 3, 2), uniform(1, 512, 9, 9)  # 9.4 MB
    tracemalloc.start()
    try:
        compiled = cnnfast.compile(model, x)
        before, _ = tracemalloc.get_traced_memory()
        compiled(x)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after < before - 9e6


def damaged(saved: Path, change: Any) -> bytes:
    """The file with its document changed."""
    data = saved.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    document = json.loads(header["__metadata__"]["cnnfast"])
    graph = json.loads(document["graph"])
    change(document, graph)
    document["graph"] = json.dumps(graph) if isinstance(graph, dict) else graph
    header["__metadata__"]["cnnfast"] = json.dumps(document)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[8 + size :]


def test_arrays_that_another_writer_did_not_align(saved: Path, tmp_path: Path) -> None:
    data = saved.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header, body = json.loads(data[8 : 8 + size]), b"---"
    moved = {"first": {"dtype": "U8", "shape": [3], "data_offsets": [0, 3]}}
    for name, entry in header.items():
        if name != "__metadata__":
            first, last = entry["data_offsets"]
            moved[name] = {**entry, "data_offsets": [len(body), len(body) + last - first]}
            body += data[8 + size + first : 8 + size + last]
    text = json.dumps({**moved, "__metadata__": header["__metadata__"]}).encode()
    text += b" " * (-len(text) % 8)
    path = tmp_path / "moved.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)
    assert cnnfast.load(path)(X).tobytes() == cnnfast.load(saved)(X).tobytes()


@pytest.mark.parametrize("function", ["add_", "_traceable", "sys", "Extreme", "nothing"])
def test_only_functions_that_change_nothing_are_called(function: str, tmp_path: Path) -> None:
    arguments = json.dumps({"input": {"tensor": 0}, "other": 1.0})
    attributes = {"function": function, "arguments": arguments}
    node = Node("Function", ["w"], ["y"], attributes, "cnnfast")
    graph = Graph([node], {"x": ("float32", None)}, ["y"], {"w": uniform(3)})
    cnnfast.CompiledModel(graph).save(tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=f"no function '{function}'"):
        cnnfast.load(tmp_path / "model.safetensors")(uniform(3))


DAMAGE: dict[str, Any] = {
    "no graph": lambda d, g: g.clear(),
    "a list of nodes": lambda d, g: g.update(graph=[1, 2]),
    "a node without inputs": lambda d, g: g["graph"][0].pop("inputs"),
    "inputs that are numbers": lambda d, g: g["graph"][0].update(inputs=[1]),
    "attributes in a list": lambda d, g: g["graph"][0].update(attributes=[1]),
    "a constant that is missing": lambda d, g: g["constants"].update(w="none"),
    "an output that nothing makes": lambda d, g: g.update(outputs=["nothing"]),
    "an operator that there is not": lambda d, g: g["graph"][0].update(operator="Nothing"),
    "threads in words": lambda d, g: d.update(threads="two"),
    "another kind": lambda d, g: d.update(kind="training"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_file_is_refused(name: str, saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "damaged.safetensors"
    path.write_bytes(damaged(saved, DAMAGE[name]))
    with pytest.raises((FormatError, cnnfast.errors.UnsupportedOperatorError)):
        cnnfast.CompiledModel.load(path)


@pytest.mark.parametrize("length", [0, 7, 100, -1])
def test_a_file_that_ends_early_is_refused(length: int, saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "short.safetensors"
    path.write_bytes(saved.read_bytes()[:length])
    with pytest.raises(FormatError, match="expected a safetensors file"):
        cnnfast.load(path)


def test_other_kinds_still_load(tmp_path: Path) -> None:
    cnnfast.save(models.mlp(hidden=[4]), tmp_path / "mlp.safetensors")
    assert isinstance(cnnfast.load(tmp_path / "mlp.safetensors"), nn.Module)
    with pytest.raises(FormatError, match=r"CompiledModel\.save"):
        cnnfast.CompiledModel.load(tmp_path / "mlp.safetensors")


def test_a_constant_that_cannot_be_saved_is_named(tmp_path: Path) -> None:
    graph = Graph([Node("Relu", ["x"], ["y"])], {"x": ("float32", None)}, ["y"],
                  {"words": np.array(["a"], object)})
    with pytest.raises(ValueError, match="words' is of object"):
        cnnfast.CompiledModel(graph).save(tmp_path / "model.safetensors")


# ---- profile -------------------------------------------------------------------------------


def test_a_profile_names_layers_and_counts_their_work(
    compiled: cnnfast.CompiledModel, tmp_path: Path
) -> None:
    profile = compiled.profile(X, repeats=3)
    rows = {row.name: row for row in profile.rows}
    assert list(rows) == ["conv1", "maxpool", "conv2", "maxpool_1", "fc1", "fc2", "fc3"]
    assert rows["conv1"].gflop == pytest.approx(2e-9 * 2 * 28 * 28 * 6 * 25)
    assert rows["fc1"].gflop == pytest.approx(2e-9 * 2 * 400 * 120)
    assert rows["conv2"].algorithm == "direct" and rows["maxpool"].algorithm == ""
    assert 0 < sum(row.ms for row in profile.rows) < 100 and profile.peak_gflop_s > 0.1
    assert json.loads(json.dumps(profile.to_dict()))["rows"][0]["operator"] == "FusedConv"
    assert "conv1" in str(profile) and "ms a run" in str(profile)
    profile.chrome_trace(tmp_path / "trace.json")
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert len(events) >= 7 and all(event["dur"] >= 0 for event in events)


# ---- commands ------------------------------------------------------------------------------


def command(capsys: pytest.CaptureFixture[str], *arguments: Any) -> Any:
    """Run a command with --json and return what it prints."""
    assert main([*map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_convert_info_profile(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cnnfast.save(models.lenet5(), tmp_path / "trained.safetensors")
    output = tmp_path / "compiled.safetensors"
    found = command(
        capsys, "convert", tmp_path / "trained.safetensors", output, "--input", "1x28x28")
    assert found["operators"] == {"FusedConv": 2, "MaxPool": 2, "FusedLinear": 3,
                                  "FlattenChannelsLast": 1}
    assert command(capsys, "info", output)["parameters"] == 61706
    planned = tmp_path / "planned.safetensors"
    command(capsys, "convert", output, planned, "--input", "1x28x28", "--plan")
    _core.check_saved(planned.read_bytes())
    with pytest.raises(ValueError, match="has no plan"):
        _core.check_saved(output.read_bytes())
    found = command(capsys, "profile", output, "--input", "1x28x28", "--repeats", "2",
                    "--trace", tmp_path / "trace.json", "--batch-size", "3")
    assert len(found["rows"]) == 7 and (tmp_path / "trace.json").exists()
    for arguments in (["info", output], ["convert", saved, output]):
        assert main([*map(str, arguments)]) == 0
        assert "CompiledModel(x: float32[batch, 1, 28, 28]" in capsys.readouterr().out


def test_run_on_images(
    compiled: cnnfast.CompiledModel, saved: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    image = pytest.importorskip("PIL.Image")
    pixels = (uniform(28, 28) * 127 + 128).astype(np.uint8)
    image.fromarray(pixels).save(tmp_path / "a.png")
    found = command(capsys, "run", saved, "--image", tmp_path / "a.png", "--input", "1x28x28",
                    "--mean", "0.5", "--std", "0.25", "--top", "3")
    scores = compiled(((pixels / np.float32(255) - np.float32(0.5)) / np.float32(0.25))[None, None])
    top = found[0]["outputs"]["fc3"]["top"]
    assert [at for at, _ in top] == np.argsort(-scores[0])[:3].tolist()
    np.testing.assert_allclose([value for _, value in top], -np.sort(-scores[0])[:3], rtol=1e-4)
    assert main(["run", str(saved), "--image", str(tmp_path / "a.png"), "--input", "1x28x28"]) == 0
    assert "a.png  fc3 (1, 10)" in capsys.readouterr().out


def test_a_network_without_a_size_asks_for_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cnnfast.save(models.lenet5(), tmp_path / "trained.safetensors")
    assert "input_shape" not in checkpoint.read_metadata(tmp_path / "trained.safetensors")
    assert main(["info", str(tmp_path / "trained.safetensors")]) == 2
    assert "give --input CxHxW" in capsys.readouterr().err
