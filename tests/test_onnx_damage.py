"""Damaged ONNX files: every one ends in a model or a FormatError, within bounded memory.

A child process reads thousands of truncated and mutated files under a limit of memory, and runs
what could still be read: that may fail with an exception of Python's, but the process must live.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys

import numpy as np
import onnx
import onnx_models
import pytest
from onnx import TensorProto, helper
from onnx_models import values

import cnnfast.onnx
from cnnfast.errors import FormatError

MUTATIONS = 4000
ADDRESS_SPACE = 3 << 30  # bytes: the interpreter with NumPy, onnx and its threads takes one third


def info(name: str, *shape: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def network() -> onnx.ModelProto:
    """Convolution, pooling, reshape and a linear layer."""
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("BatchNormalization", ["c", "b", "b", "b", "v"], ["n"]),
        helper.make_node("MaxPool", ["n"], ["p"], kernel_shape=[2, 2], ceil_mode=1),
        helper.make_node("Resize", ["p", "", "s"], ["r"], mode="linear"),
        helper.make_node("Slice", ["r", "z", "e", "a"], ["t"]),
        helper.make_node("Reshape", ["t", "k"], ["f"]),
        helper.make_node("Gemm", ["f", "m"], ["y"], transB=1),
    ]
    weights = {
        "w": values(4, 2, 3, 3), "b": values(4), "v": np.ones(4, np.float32),
        "s": np.array([1, 1, 2, 2], np.float32), "z": np.array([0]), "e": np.array([2]),
        "a": np.array([3]), "k": np.array([1, -1]), "m": values(3, 48),
    }  # fmt: skip
    tensors = [onnx_models.tensor(name, array) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "g", [info("x", 1, 2, 8, 8)], [info("y", 1, 3)], tensors)
    return onnx_models.model_of(graph)


def loop() -> onnx.ModelProto:
    """A loop around a branch, with a recurrent layer; how often it runs is no part of the file."""
    scalar = helper.make_tensor_value_info("i", TensorProto.INT64, ())
    on = helper.make_tensor_value_info("on", TensorProto.BOOL, ())
    double = helper.make_graph([helper.make_node("Add", ["v", "v"], ["d"])], "t", [], [info("d")])
    negate = helper.make_graph([helper.make_node("Neg", ["v"], ["d"])], "e", [], [info("d")])
    inner = [
        helper.make_node("If", ["on"], ["o"], then_branch=double, else_branch=negate),
        helper.make_node("Identity", ["on"], ["go"]),
    ]
    body = helper.make_graph(
        inner, "b", [scalar, on, info("v")],
        [helper.make_tensor_value_info("go", TensorProto.BOOL, ()), info("o")],
    )  # fmt: skip
    nodes = [
        helper.make_node("Reshape", ["x", "k"], ["q"]),
        helper.make_node("GRU", ["q", "w", "r"], ["h"], hidden_size=2),
        helper.make_node("Loop", ["n", "", "h"], ["y"], body=body),
    ]
    weights = {
        "k": np.array([8, 2, 8]), "w": values(1, 6, 8), "r": values(1, 6, 2),
    }  # fmt: skip
    tensors = [onnx_models.tensor(name, array) for name, array in weights.items()]
    count = helper.make_tensor_value_info("n", TensorProto.INT64, ())
    graph = helper.make_graph(nodes, "g", [info("x", 1, 2, 8, 8), count], [info("y")], tensors)
    return onnx_models.model_of(graph)


MODELS = {"network": network, "loop": loop}


FEEDS = {"x": values(1, 2, 8, 8), "n": np.array(3)}


def damaged(data: bytes) -> list[bytes]:
    """Return prefixes of `data` and copies with bits flipped, bytes drawn anew, parts moved."""
    rng = np.random.default_rng(0)
    result = [data[: len(data) * k // 100] for k in range(100)]
    for _ in range(MUTATIONS):
        copy = bytearray(data)
        for at in rng.integers(0, len(data), rng.integers(1, 4)):
            flipped = copy[at] ^ (1 << rng.integers(8))
            copy[at] = flipped if rng.random() < 0.5 else rng.integers(256)
        if rng.random() < 0.3:
            a, b, c = sorted(rng.integers(0, len(data), 3))
            copy = copy[:a] + copy[b:c] + copy[a:]
        result.append(bytes(copy))
    return result


def outcomes(data: bytes) -> dict[str, int]:
    """Read and run all damaged forms of `data`; any exception but FormatError while reading ends.

    Running may raise whatever Python raises.
    """
    counts = {"refused": 0, "failed": 0, "ran": 0}
    for form in damaged(data):
        try:
            model = cnnfast.onnx.load(form)
        except FormatError:
            counts["refused"] += 1
            continue
        try:
            model.run({name: FEEDS[name] for name in model.input_names})
            counts["ran"] += 1
        except Exception:
            counts["failed"] += 1
    return counts


@pytest.mark.parametrize("name", sorted(MODELS))
def test_damage_never_crashes(name: str) -> None:
    model = cnnfast.onnx.load(MODELS[name]().SerializeToString())
    model.run({name: FEEDS[name] for name in model.input_names})
    child = subprocess.run(
        [sys.executable, __file__, name], capture_output=True, text=True, timeout=120, check=False
    )
    assert child.returncode == 0, child.stderr[-2000:]
    counts = json.loads(child.stdout)
    assert sum(counts.values()) == 100 + MUTATIONS and min(counts.values()) > 0


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    np.seterr(all="ignore")
    print(json.dumps(outcomes(MODELS[sys.argv[1]]().SerializeToString())))
