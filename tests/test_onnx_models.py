"""Whole networks from the `onnx` package with random weights, against ONNX Runtime.

The package's own expected outputs are almost uniform, because its weights are constants; so weights
are drawn anew here, and the last Softmax is cut off, which would hide what went in.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_models
import pytest
from onnx import numpy_helper

import cnnfast.onnx

FOLDER = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
NETWORKS = ("densenet121", "inception_v2", "resnet50", "shufflenet", "squeezenet")


def drawn(use: tuple[str, int], shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Weights for input number k of an operator: variances positive, products of equal size."""
    operator, k = use
    if operator == "BatchNormalization":
        return rng.uniform(0.5, 1.5, shape) if k in (1, 4) else rng.normal(0, 0.1, shape)
    fan_in = shape[-1] if len(shape) == 2 else int(np.prod(shape[1:]))
    return rng.normal(0, (2 / fan_in) ** 0.5 if len(shape) > 1 else 0.1, shape)


def with_random_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Replace each constant weight, a ConstantOfShape, by random numbers."""
    rng = np.random.default_rng(0)
    graph = model.graph
    shapes = {part.name: numpy_helper.to_array(part) for part in graph.initializer}
    uses = {name: (n.op_type, k) for n in graph.node for k, name in enumerate(n.input)}
    kept = []
    for node in graph.node:
        if node.op_type == "ConstantOfShape" and uses[node.output[0]][0] != "Reshape":
            weights = drawn(uses[node.output[0]], tuple(shapes[node.input[0]]), rng)
            graph.initializer.append(onnx_models.tensor(node.output[0], weights.astype(np.float32)))
        else:
            kept.append(node)
    if kept[-1].op_type == "Softmax":
        graph.output[0].name = kept.pop().input[0]
    del graph.node[:]
    graph.node.extend(kept)
    return model


@pytest.mark.parametrize("name", NETWORKS)
def test_network(name: str) -> None:
    model = with_random_weights(onnx.load(FOLDER / f"light_{name}.onnx"))
    compiled = cnnfast.onnx.load(model.SerializeToString())
    (given,) = compiled.input_names
    x = onnx_models.values(1, 3, 224, 224)
    (expected,) = onnx_models.runtime(model, {given: x})
    y = compiled(x)
    assert y.shape == expected.shape
    assert np.abs(y - expected).max() <= 1e-4 * np.abs(expected).max()
    assert np.ptp(expected) > 0.01  # an output that says something
