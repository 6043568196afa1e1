"""Reading ONNX files: what becomes of functions and constants, and what is refused and how."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_models
import pytest
from onnx import TensorProto, helper

import cnnfast
import cnnfast.onnx
from cnnfast.errors import FormatError, UnsupportedOperatorError
from cnnfast.onnx.reader import MAX_DEPTH, graph_of

FLOAT = TensorProto.FLOAT


def value(name: str, *shape: Any) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, FLOAT, shape)


def chain(*nodes: onnx.NodeProto, weights: dict[str, np.ndarray] | None = None) -> onnx.ModelProto:
    """A model from x to y."""
    initializers = [onnx_models.tensor(name, array) for name, array in (weights or {}).items()]
    graph = helper.make_graph(list(nodes), "g", [value("x", "n", 2)], [value("y", "n", 2)],
                              initializers)  # fmt: skip
    return onnx_models.model_of(graph)


def node(operator: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(operator, inputs.split(), outputs.split(), **attributes)


ADD = chain(node("Add", "x w", "y"), weights={"w": np.array([1, 2], np.float32)})


# ---- what is read ----------------------------------------------------------------------------


def test_shapes_names_and_opset() -> None:
    graph = graph_of(ADD)
    assert graph.inputs == {"x": ("float32", ("n", 2))}
    assert graph.outputs == ["y"] and graph.opset == {"": onnx_models.OPSET}
    assert graph.constants["w"].tolist() == [1, 2]


def test_from_a_path_and_from_bytes(tmp_path: Path) -> None:
    file = tmp_path / "add.onnx"
    file.write_bytes(ADD.SerializeToString())
    x = np.array([[1, 1]], np.float32)
    for source in (file, str(file), file.read_bytes()):
        model = cnnfast.onnx.load(source)
        assert model(x).tolist() == [[2, 3]] and model.run({"x": x})[0].tolist() == [[2, 3]]
        assert model.input_names == ["x"] and model.output_names == ["y"]


@pytest.mark.parametrize(
    "given",
    [
        {"value": onnx_models.tensor("", np.array([2, 3], np.float32))},
        {"value_floats": [2.0, 3.0]},
    ],
)
def test_constant_nodes_become_constants(given: dict[str, Any]) -> None:
    model = chain(node("Constant", "", "w", **given), node("Mul", "x w", "y"))
    graph = graph_of(model)
    assert [n.operator for n in graph.nodes] == ["Mul"]
    assert graph.constants["w"].tolist() == [2, 3]


def test_sparse_weights_become_dense() -> None:
    model = chain(node("Add", "x w", "y"))
    sparse = helper.make_sparse_tensor(
        onnx_models.tensor("w", np.array([5], np.float32)),
        onnx_models.tensor("", np.array([1], np.int64)), [2],
    )  # fmt: skip
    model.graph.sparse_initializer.append(sparse)
    assert graph_of(model).constants["w"].tolist() == [0, 5]


def test_functions_are_written_out() -> None:
    """The inner names of two calls must not meet, and attributes reach the nodes inside."""
    scale = node("Constant", "", "k")
    scale.attribute.append(onnx.AttributeProto(
        name="value_float", ref_attr_name="factor", type=onnx.AttributeProto.FLOAT))
    function = helper.make_function(
        "own", "Scale", ["a"], ["b"], [scale, node("Mul", "a k", "b")],
        [helper.make_opsetid("", onnx_models.OPSET)], ["factor"],
    )  # fmt: skip
    model = chain(
        node("Scale", "x", "t", domain="own", factor=2.0),
        node("Scale", "t", "y", domain="own", factor=5.0),
    )
    model.functions.append(function)
    model.opset_import.append(helper.make_opsetid("own", 1))
    y = cnnfast.onnx.load(model.SerializeToString())(np.ones((1, 2), np.float32))
    assert y.tolist() == [[10, 10]]


def test_functions_bring_the_opset_of_their_own_domains() -> None:
    """The model itself names the function's domain alone; Softmax was another one before 13."""
    inner = node("Softmax", "a", "b")
    function = helper.make_function(
        "local", "Soft", ["a"], ["b"], [inner], [helper.make_opsetid("", 17)])
    model = chain(helper.make_node("Soft", ["x"], ["y"], domain="local"))
    del model.opset_import[:]
    model.opset_import.append(helper.make_opsetid("local", 1))
    model.functions.append(function)
    assert graph_of(model).opset == {"local": 1, "": 17}


@pytest.mark.parametrize("again", ["x", "w", "h"])
def test_values_that_are_made_twice_are_refused(again: str) -> None:
    model = chain(node("Relu", "x", "h"), node("Neg", "x", again), node("Add", "h w", "y"),
                  weights={"w": np.ones(2, np.float32)})
    with pytest.raises(FormatError, match=rf"\['{again}'\] are made more than once"):
        cnnfast.onnx.load(model.SerializeToString())


def test_weights_cannot_be_changed_through_a_result() -> None:
    source = chain(node("Identity", "w", "y"), weights={"w": np.ones((1, 2), np.float32)})
    model = cnnfast.onnx.load(source.SerializeToString())
    x = np.zeros((1, 2), np.float32)
    (y,) = model.run({"x": x})
    if y.flags.writeable:
        y[0, 0] = 5
    assert model.run({"x": x})[0].tolist() == [[1, 1]]


# ---- what is refused -------------------------------------------------------------------------


def test_everything_unsupported_is_in_one_error() -> None:
    inner = helper.make_graph([node("Mystery", "x", "m", domain="other")], "b", [], [value("m")])
    model = chain(
        node("NoSuch", "x", "a"), node("Relu", "a", "r", colour=3),
        node("If", "c", "y", then_branch=inner, else_branch=inner),
        weights={"c": np.array(True)},
    )  # fmt: skip
    with pytest.raises(UnsupportedOperatorError) as error:
        cnnfast.onnx.load(model.SerializeToString())
    for part in ("ai.onnx.NoSuch", "ai.onnx.Relu with attribute 'colour'", "other.Mystery", "21"):
        assert part in str(error.value)


def test_a_wrong_call_names_the_node() -> None:
    model = cnnfast.onnx.load(chain(node("Add", "x", "y", name="sum")).SerializeToString())
    with pytest.raises(ValueError, match=r"Add \(sum\): .*missing"):
        model(np.ones((1, 2), np.float32))
    with pytest.raises(TypeError, match=r"expected the inputs \['x'\], got 2"):
        model(1, 2)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no graph or no opset"),
        (b"\x00\x01\x02", "not an ONNX file"),
        (b"PK\x03\x04" + bytes(100), "not an ONNX file"),
        (chain(node("Relu", "z", "y")).SerializeToString(), r"nothing makes the values \['z'\]"),
    ],
)
def test_other_bytes(data: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        cnnfast.onnx.load(data)


def too_few_bytes() -> onnx.TensorProto:
    tensor = onnx_models.tensor("w", np.zeros(2, np.float32))
    tensor.dims[:] = [4194305, 4194305, 211106198978564]  # the product is 4 modulo 2^64
    return tensor


def negative_size() -> onnx.TensorProto:
    tensor = onnx_models.tensor("w", np.zeros(2, np.float32))
    tensor.dims[:] = [-2]
    return tensor


def unknown_type() -> onnx.TensorProto:
    tensor = onnx_models.tensor("w", np.zeros(2, np.float32))
    tensor.data_type = 99
    return tensor


def test_an_opset_of_the_future_is_refused() -> None:
    model = chain(node("Relu", "x", "y"))
    model.opset_import[0].version = 1000
    with pytest.raises(FormatError, match="opset 1000; cnnfast knows"):
        cnnfast.onnx.load(model.SerializeToString())


@pytest.mark.parametrize("make", [too_few_bytes, negative_size, unknown_type])
def test_damaged_weights(make: Any) -> None:
    model = chain(node("Add", "x w", "y"))
    model.graph.initializer.append(make())
    with pytest.raises(FormatError):
        graph_of(model)


def test_a_large_sparse_weight_is_refused() -> None:
    model = chain(node("Add", "x w", "y"))
    sparse = helper.make_sparse_tensor(
        onnx_models.tensor("w", np.array([5], np.float32)),
        onnx_models.tensor("", np.array([1], np.int64)), [2**20, 2**20],
    )  # fmt: skip
    model.graph.sparse_initializer.append(sparse)
    with pytest.raises(FormatError, match="too large"):
        graph_of(model)


def test_functions_cannot_multiply_constants() -> None:
    large = node("Constant", "", "k", value=onnx_models.tensor("", np.zeros((4096, 2), np.float32)))
    function = helper.make_function(
        "own", "F", ["a"], ["b"], [large, node("Add", "a k", "b")],
        [helper.make_opsetid("", onnx_models.OPSET)],
    )  # fmt: skip
    calls = [node("F", "x", f"t{k}", domain="own") for k in range(3000)]
    model = chain(*calls, node("Relu", "t0", "y"))
    model.functions.append(function)
    with pytest.raises(FormatError, match="too large for a file"):
        graph_of(model)


def test_a_huge_constant_is_not_made_while_loading() -> None:
    """A file of a few hundred bytes asks for 2^50 elements, one way and another."""
    large = node("ConstantOfShape", "s", "large")
    tiled = node("Tile", "w s", "tiled")
    wide = node("Range", "zero end one", "wide")
    weights = {"s": np.array([2**25, 2**25]), "w": np.ones((1, 1), np.float32)}
    weights |= {"zero": np.array(0), "end": np.array(2**50), "one": np.array(1)}
    model = chain(large, tiled, wide, node("Relu", "x", "y"), weights=weights)
    for name in ("large", "tiled", "wide"):
        model.graph.output.append(helper.make_empty_tensor_value_info(name))
    loaded = cnnfast.onnx.load(model.SerializeToString())
    assert loaded.output_names == ["y", "large", "tiled", "wide"]


def test_depth_is_bounded() -> None:
    graph = helper.make_graph([node("Relu", "x", "y")], "g", [], [value("y")])
    for _ in range(MAX_DEPTH + 2):
        inside = node("If", "c", "y", then_branch=graph, else_branch=graph.__class__())
        graph = helper.make_graph([inside], "g", [], [value("y")])
    with pytest.raises(FormatError, match="deep"):
        graph_of(chain(*graph.node, weights={"c": np.array(True)}))


def test_functions_that_call_themselves_are_refused() -> None:
    function = helper.make_function(
        "own", "F", ["a"], ["b"], [node("F", "a", "b", domain="own")],
        [helper.make_opsetid("own", 1)],
    )  # fmt: skip
    model = chain(node("F", "x", "y", domain="own"))
    model.functions.append(function)
    with pytest.raises(FormatError, match="functions call each other"):
        graph_of(model)


def test_without_the_package_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r'pip install "cnnfast\[onnx\]"'):
        cnnfast.onnx.load(ADD.SerializeToString())


def test_importing_cnnfast_onnx_does_not_import_onnx() -> None:
    program = "import sys, cnnfast.onnx; sys.exit('onnx' in sys.modules)"
    package = Path(cnnfast.__file__).parents[1]  # not the source that the tests may stand in
    done = subprocess.run([sys.executable, "-c", program], cwd=package, check=False)
    assert done.returncode == 0


# ---- external data ---------------------------------------------------------------------------


def external(folder: Path, location: str, **entries: int) -> Path:
    """Write ADD with its weight's bytes at `location`; return the model's path."""
    model = onnx.ModelProto()
    model.CopyFrom(ADD)
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, entry in {"location": location, **entries}.items():
        weight.external_data.add(key=key, value=str(entry))
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


BYTES = np.array([1, 2], np.float32).tobytes()


def test_external_data_need_permission(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(b"head" + BYTES)
    path = external(tmp_path, "w.bin", offset=4, length=8)
    with pytest.raises(FormatError, match="external_data=True"):
        cnnfast.onnx.load(path)
    with pytest.raises(FormatError, match="external_data=True"):
        cnnfast.onnx.load(path.read_bytes(), external_data=True)
    y = cnnfast.onnx.load(path, external_data=True)(np.ones((1, 2), np.float32))
    assert y.tolist() == [[2, 3]]


@pytest.mark.parametrize(
    "location", ["../w.bin", "/etc/passwd", "a/../../w.bin", "", "C:/w.bin", "..\\w.bin", "no.bin"]
)
def test_paths_out_of_the_folder(tmp_path: Path, location: str) -> None:
    (tmp_path / "w.bin").write_bytes(BYTES)
    (tmp_path / "model").mkdir()
    path = external(tmp_path / "model", location)
    with pytest.raises(FormatError, match="external data at"):
        cnnfast.onnx.load(path, external_data=True)


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_links_out_of_the_folder(tmp_path: Path, link: Any) -> None:
    (tmp_path / "secret").write_bytes(BYTES)
    (tmp_path / "model").mkdir()
    link(tmp_path / "secret", tmp_path / "model" / "w.bin")
    with pytest.raises(FormatError, match=r"links? "):
        cnnfast.onnx.load(external(tmp_path / "model", "w.bin"), external_data=True)


@pytest.mark.parametrize("entries", [{"offset": 4}, {"length": 99}, {"offset": -8, "length": 8}])
def test_ranges_out_of_the_file(tmp_path: Path, entries: dict[str, int]) -> None:
    (tmp_path / "w.bin").write_bytes(BYTES)
    with pytest.raises(FormatError):
        cnnfast.onnx.load(external(tmp_path, "w.bin", **entries), external_data=True)
