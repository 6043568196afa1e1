"""Small ONNX models made for a test, and ONNX Runtime as the oracle of what they compute."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

import cnnfast.onnx

OPSET = 21
onnxruntime.set_default_logger_severity(4)


def values(*shape: int, seed: int = 0) -> np.ndarray:
    """Normal float32 numbers."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def node_model(
    operator: str, inputs: list[np.ndarray | None], outputs: int = 1, opset: int = OPSET, **kw: Any
) -> onnx.ModelProto:
    """Return a model of one node; inputs are named i0, i1, ..., outputs o0, o1, ..."""
    names = ["" if x is None else f"i{k}" for k, x in enumerate(inputs)]
    results = [f"o{k}" for k in range(outputs)]
    node = helper.make_node(operator, names, results, **kw)
    given = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
        for name, x in zip(names, inputs, strict=True)
        if x is not None
    ]
    made = [helper.make_empty_tensor_value_info(name) for name in results]
    return model_of(helper.make_graph([node], "one", given, made), opset)


def model_of(graph: onnx.GraphProto, opset: int = OPSET) -> onnx.ModelProto:
    """Return a graph as a model that ONNX Runtime reads, too."""
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 10
    return model


def feeds_of(inputs: list[np.ndarray | None]) -> dict[str, np.ndarray]:
    """Return the inputs of `node_model` by name."""
    return {f"i{k}": x for k, x in enumerate(inputs) if x is not None}


def runtime(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Return what ONNX Runtime computes."""
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, feeds)


def check(operator: str, inputs: list[Any], rtol: float = 1e-5, **kw: Any) -> None:
    """Compare one operator with ONNX Runtime, relative to the largest number of each result."""
    model, feeds = node_model(operator, inputs, **kw), feeds_of(inputs)
    ours = cnnfast.onnx.load(model.SerializeToString()).run(feeds)
    for y, expected in zip(ours, runtime(model, feeds), strict=True):
        assert y.dtype == expected.dtype
        largest = np.abs(expected).max(initial=0) if expected.dtype.kind == "f" else 0
        np.testing.assert_allclose(y, expected, rtol, rtol * largest)


def tensor(name: str, array: np.ndarray) -> onnx.TensorProto:
    """Return an array as an initializer."""
    return numpy_helper.from_array(array, name)
