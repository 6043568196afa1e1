"""`cnnfast.onnx.export`: what is written is what ONNX Runtime and cnnfast itself compute."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import networks
import numpy as np
import onnx
import onnxruntime
import pytest
from networks import close, eager
from rounding import uniform
from test_trace import CASES, X

import cnnfast
from cnnfast import functional as F
from cnnfast import models, nn
from cnnfast.errors import UnsupportedOperatorError
from cnnfast.onnx import writer

onnxruntime.set_default_logger_severity(4)


def runtime(path: Path, *arrays: np.ndarray) -> list[Any]:
    """What ONNX Runtime makes of the file."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [given.name for given in session.get_inputs()]
    return list(session.run(None, dict(zip(names, arrays, strict=True))))


@pytest.mark.parametrize("name", models.names())
def test_every_model_runs_in_onnx_runtime(name: str, tmp_path: Path) -> None:
    model, x = networks.network(name)
    path = tmp_path / "model.onnx"
    cnnfast.onnx.export(model, x[:1], path)
    wanted = eager(model, x)
    close(runtime(path, x)[0], wanted)
    close(cnnfast.onnx.load(path)(x), wanted)


WITHOUT_WORDS = {"softplus steep", "scaled", "variance"}
"""Cases of test_trace for which the standard has no operator."""


@pytest.mark.parametrize("name", CASES)
def test_functions(name: str, tmp_path: Path) -> None:
    function, path = CASES[name][0], tmp_path / "model.onnx"
    cnnfast.manual_seed(1)
    if name in WITHOUT_WORDS:
        with pytest.raises(UnsupportedOperatorError, match=r"cnnfast\.functional\.\['"):
            cnnfast.onnx.export(function, X, path)
        assert not path.exists()
        return
    cnnfast.onnx.export(function, X, path)
    np.testing.assert_allclose(runtime(path, X)[0], eager(function, X), rtol=1e-4, atol=1e-5)


def test_adaptive_pooling_into_equal_parts_has_words(tmp_path: Path) -> None:
    model = nn.Sequential(nn.AdaptiveAvgPool2d((3, 5)), nn.ChannelShuffle(2))
    cnnfast.onnx.export(model, X, tmp_path / "model.onnx")
    np.testing.assert_allclose(
        runtime(tmp_path / "model.onnx", X)[0], eager(model, X), rtol=1e-5, atol=1e-6)


def shape_of(model: onnx.ModelProto) -> list[Any]:
    """Names or sizes of the axes of the model's input; 0 for open ones."""
    axes = model.graph.input[0].type.tensor_type.shape.dim
    return [axis.dim_param or axis.dim_value for axis in axes]


def test_names_and_versions(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    model = nn.Sequential(OrderedDict(conv=nn.Conv2d(1, 2, 3), pool=nn.AdaptiveAvgPool2d(1)))
    cnnfast.onnx.export(model, uniform(1, 1, 28, 28), path)
    assert shape_of(onnx.load(path)) == ["batch", 1, 0, 0]
    cnnfast.onnx.export(models.lenet5(), uniform(1, 1, 28, 28), path)
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert {initial.name for initial in model.graph.initializer} >= {"conv1.weight", "fc3.bias"}
    assert shape_of(model) == ["batch", 1, 28, 28]  # a linear layer fits one size of image
    assert model.producer_name == "cnnfast" and model.opset_import[0].version == 21


def test_several_inputs_and_outputs_that_are_inputs(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    cnnfast.onnx.export(lambda a, b: (a, a + b, a + b, b, a.argmax(1)), (X, X), path)
    results = runtime(path, X, 2 * X)
    for result, wanted in zip(results, (X, 3 * X, 3 * X, 2 * X, X.argmax(1)), strict=True):
        np.testing.assert_array_equal(result, wanted)


def test_a_file_that_would_differ_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here another model comes back than was written."""
    other = cnnfast.compile(lambda x: F.relu(x) + 0.5, X)
    monkeypatch.setattr(writer, "load", lambda data: other)
    with pytest.raises(ValueError, match="differ by more than"):
        cnnfast.onnx.export(nn.ReLU(), X, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []
