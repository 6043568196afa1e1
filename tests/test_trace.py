"""`cnnfast.compiler.tracer`: the graph of a model computes what the model does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from rounding import uniform

import cnnfast
from cnnfast import Tensor, nn
from cnnfast import functional as F
from cnnfast.compiler import CompiledModel, DataDependent, trace
from cnnfast.functional import relu  # a name of one's own is traced as well

Function = Callable[..., Any]
X = uniform(2, 4, 9, 10)
W = Tensor(uniform(6, 4, 3, 3))
POSITIVE = uniform(2, 4, 9, 10) + 2


def v(*shape: int) -> Tensor:
    return Tensor(uniform(*shape) + 1.5)


# Name: (function, the operators that its graph must have).
CASES: dict[str, tuple[Function, str]] = {
    "conv2d": (lambda x: F.conv2d(x, W, v(6), 2, 1, 1), "Conv"),
    "conv2d same": (lambda x: F.conv2d(x, W, padding="same", dilation=2), "Conv"),
    "conv1d": (lambda x: F.conv1d(x.flatten(2), v(6, 2, 3), groups=2), "Reshape Conv"),
    "transposed": (
        lambda x: F.conv_transpose2d(x, v(4, 3, 2, 2), None, 2, 0, 1), "ConvTranspose"),
    "linear": (lambda x: F.linear(x.flatten(1), v(5, 360), v(5)), "Flatten Gemm"),
    "linear of more axes": (lambda x: F.linear(x, v(5, 10), v(5)), "MatMul Add"),
    "matmul": (lambda x: F.matmul(x, x.transpose(2, 3)), "Transpose MatMul"),
    "batch_norm": (lambda x: F.batch_norm(x, v(4), v(4), v(4), v(4)), "BatchNormalization"),
    "batch_norm plain": (lambda x: F.batch_norm(x, v(4), v(4)), "BatchNormalization"),
    "layer_norm": (lambda x: F.layer_norm(x, (9, 10), v(9, 10)), "LayerNormalization"),
    "group_norm": (lambda x: F.group_norm(x, 2, v(4), v(4)), "GroupNormalization"),
    "instance_norm": (
        lambda x: F.instance_norm(x, weight=v(4), bias=v(4)), "InstanceNormalization"),
    "local_response_norm": (lambda x: F.local_response_norm(x, 3), "LRN"),
    "relu": (lambda x: F.relu(x), "Relu"),
    "relu imported": (lambda x: relu(x), "Relu"),
    "relu in place": (lambda x: F.relu(F.neg(x), inplace=True), "Neg Relu"),
    "relu6": (lambda x: F.relu6(x), "Clip"),
    "hardtanh": (lambda x: F.hardtanh(x, -0.5, 0.25), "Clip"),
    "clamp": (lambda x: x.clamp(min=0.25), "Clip"),
    "leaky_relu": (lambda x: F.leaky_relu(x, 0.2), "LeakyRelu"),
    "prelu": (lambda x: F.prelu(x, v(4)), "PRelu"),
    "elu": (lambda x: F.elu(x, 0.5), "Elu"),
    "celu": (lambda x: F.celu(x, 0.5), "Celu"),
    "selu": (lambda x: F.selu(x), "Selu"),
    "gelu": (lambda x: F.gelu(x, "tanh"), "Gelu"),
    "silu": (lambda x: F.silu(x), "Sigmoid Mul"),
    "mish": (lambda x: F.mish(x), "Mish"),
    "softplus": (lambda x: F.softplus(x), "Softplus"),
    "softplus steep": (lambda x: F.softplus(x, 2.0), "Function"),
    "hardswish": (lambda x: F.hardswish(x), "HardSwish"),
    "hardsigmoid": (lambda x: F.hardsigmoid(x), "HardSigmoid"),
    "tanh": (lambda x: x.tanh(), "Tanh"),
    "softmax": (lambda x: F.softmax(x, -1), "Softmax"),
    "log_softmax": (lambda x: F.log_softmax(x, 1), "LogSoftmax"),
    "arithmetic": (lambda x: (2.0 - x * 3.0) / (x + 2.0), "Mul Sub Add Div"),
    "scaled": (lambda x: F.add(x, x, alpha=2), "Function"),
    "power": (lambda x: (x + 2.0) ** 1.5, "Add Pow"),
    "square": (lambda x: F.square(x), "Mul"),
    "maximum": (lambda x: F.maximum(x, Tensor(0.5)), "Max"),
    "in place": (lambda x: F.neg(x).add_(1.0).mul_(2.0), "Neg Add Mul"),
    "max_pool": (lambda x: F.max_pool2d(x, 3, 2, 1, ceil_mode=True), "MaxPool"),
    "avg_pool": (lambda x: F.avg_pool2d(x, 3, 2, 1), "AveragePool"),
    "global": (lambda x: F.adaptive_avg_pool2d(x, 1), "GlobalAveragePool"),
    "global maximum": (lambda x: F.adaptive_max_pool2d(x, (1, 1)), "GlobalMaxPool"),
    "adaptive": (lambda x: F.adaptive_avg_pool2d(x, (3, None)), "Function"),
    "pad": (lambda x: F.pad(x, (1, 2, 0, 1), value=0.5), "Pad"),
    "reflected": (lambda x: F.pad(x, (1, 2, 0, 1), "reflect"), "Pad"),
    "nearest": (lambda x: F.interpolate(x, scale_factor=2), "Resize"),
    "bilinear": (lambda x: F.interpolate(x, (17, 7), mode="bilinear"), "Resize"),
    "corners": (
        lambda x: F.interpolate(x, (17, 7), mode="bilinear", align_corners=True), "Resize"),
    "bicubic": (lambda x: F.interpolate(x, scale_factor=2, mode="bicubic"), "Resize"),
    "pixel_shuffle": (lambda x: F.pixel_shuffle(x, 2), "DepthToSpace"),
    "channel_shuffle": (lambda x: F.channel_shuffle(x, 2), "Function"),
    "flatten": (lambda x: x.flatten(1), "Flatten"),
    "view": (lambda x: x.view(x.size(0), -1), "Reshape"),
    "unflatten": (lambda x: x.unflatten(1, (2, -1)), "Reshape"),
    "permute": (lambda x: x.permute(0, 2, 3, 1) + 0.0, "Transpose Add"),
    "movedim": (lambda x: x.movedim(1, -1) + 0.0, "Transpose Add"),
    "squeeze": (lambda x: x[:, :1].squeeze(1), "Slice Squeeze"),
    "unsqueeze": (lambda x: x.unsqueeze(1), "Unsqueeze"),
    "cat": (lambda x: F.cat([x, F.relu(x)], 1), "Relu Concat"),
    "stack": (lambda x: F.stack([x, x], 2), "Unsqueeze Unsqueeze Concat"),
    "split": (lambda x: x.split([1, 3], 1)[1] * 2.0, "Split Mul"),
    "chunk": (lambda x: F.add(*x.chunk(2, 1)), "Split Add"),
    "index": (lambda x: x[:, 1, ..., ::2, None], "Slice Squeeze Unsqueeze"),
    "last": (lambda x: x[:, -1], "Slice Squeeze"),
    "narrow": (lambda x: x.narrow(2, 1, 3), "Slice"),
    "mean": (lambda x: x.mean((2, 3)), "ReduceMean"),
    "sum": (lambda x: x.sum(1, keepdim=True), "ReduceSum"),
    "amax": (lambda x: x.amax(-1), "ReduceMax"),
    "variance": (lambda x: x.var(1), "Function"),
    "argmax": (lambda x: x.argmax(1), "ArgMax"),
    "expand": (lambda x: x[:, :1].expand(-1, 3, -1, -1) + 0.0, "Slice Expand Add"),
    "dropout": (lambda x: F.relu(F.dropout(x, 0.5, training=False)), "Relu"),
    "constants": (lambda x: x + F.relu(W).sum(), "Add"),
}


@pytest.mark.parametrize("name", CASES)
def test_the_graph_computes_what_the_function_does(name: str) -> None:
    function, operators = CASES[name]
    cnnfast.manual_seed(1)
    graph = trace(function, [X])
    assert [node.operator for node in graph.nodes] == operators.split()
    compiled = CompiledModel(graph)
    with cnnfast.no_grad():
        for x in (X, uniform(3, *X.shape[1:])):
            wanted = function(Tensor(x)).numpy()
            np.testing.assert_allclose(compiled(x), wanted, rtol=1e-6, atol=3e-6)


def test_names_are_those_of_the_model() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    graph = trace(model, [np.zeros((1, 3, 8, 8), np.float32)])
    assert list(graph.inputs.items()) == [("input", ("float32", ("batch", 3, None, None)))]
    assert {"0.weight", "0.bias", "1.weight", "1.running_mean"} <= graph.constants.keys()
    assert [node.name for node in graph.nodes] == ["0", "1", "relu"]


def test_a_model_is_traced_in_evaluation_mode_and_left_as_it_was() -> None:
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout(0.5)).train()
    model[1].eval()
    mean = model[0].running_mean.numpy().copy()
    graph = trace(model, [np.zeros((4, 3, 8, 8), np.float32)])
    assert [node.operator for node in graph.nodes] == ["BatchNormalization"]
    assert [m.training for m in model.modules()] == [True, True, False]
    np.testing.assert_array_equal(model[0].running_mean.numpy(), mean)


def test_a_size_that_is_no_batch_is_kept() -> None:
    graph = trace(lambda x: F.matmul(x, v(5, 3)), [uniform(3, 5)])
    assert graph.inputs["x"] == ("float32", ("batch", 5))
    graph = trace(lambda x: F.add(x, v(3, 1)), [uniform(3, 5)])
    assert graph.inputs["x"] == ("float32", (3, 5))


OPEN = ("float32", ("batch", 4, None, None))
FIXED_IMAGE, FIXED = ("float32", ("batch", 4, 9, 10)), ("float32", (2, 4, 9, 10))
SIZES: dict[str, tuple[Function, Any]] = {
    "none": (lambda x: F.relu(x), OPEN),
    "of a view": (lambda x: x.view(x.shape[0], -1), OPEN),
    "batch as a number": (lambda x: x / x.shape[0], FIXED),
    "batch in a constant": (lambda x: x + Tensor(np.ones((x.shape[0], 1, 1, 1))), FIXED),
    "batch as a count": (lambda x: sum(x[i] for i in range(x.shape[0])), FIXED),
    "height as a number": (lambda x: x / x.shape[2], FIXED_IMAGE),
    "image as a window": (lambda x: F.avg_pool2d(x, x.shape[2:]), FIXED_IMAGE),
    "image as a target": (
        lambda x: F.interpolate(F.max_pool2d(x, 2), size=x.shape[2:]), FIXED_IMAGE),
    "image as features": (lambda x: F.linear(x.flatten(1), v(5, 360)), FIXED_IMAGE),
}


@pytest.mark.parametrize("name", SIZES)
def test_sizes_that_became_numbers_of_the_graph_are_kept(name: str) -> None:
    function, wanted = SIZES[name]
    graph = trace(function, [X])
    assert graph.inputs["x"] == wanted
    with cnnfast.no_grad():
        reference = function(Tensor(X)).numpy()
    np.testing.assert_allclose(CompiledModel(graph)(X), reference, rtol=1e-6, atol=3e-6)


def test_several_inputs_and_results() -> None:
    graph = trace(lambda a, b: (a + b, a), [X, X])
    assert graph.outputs == ["add", "a"]
    results = CompiledModel(graph)(X, 2 * X)
    np.testing.assert_array_equal(results[0], 3 * X)
    np.testing.assert_array_equal(results[1], X)


REFUSED: dict[str, tuple[Function, type[Exception], str]] = {
    "branch": (lambda x: x if x.sum() > 0 else -x, DataDependent, "reads values"),
    "loop": (lambda x: x * x.max().item(), DataDependent, "reads values"),
    "numpy": (lambda x: x * float(np.asarray(x).mean()), DataDependent, "numpy.* reads values"),
    "dlpack": (lambda x: x + np.from_dlpack(x), DataDependent, "reads values"),
    "bypass": (
        lambda x: F.relu(Tensor.wrap(x.array[:, :2])), ValueError, "not one of cnnfast.functional"),
    "hidden change": (lambda x: F.relu(F.neg(x).relu_()), ValueError, "changed in place"),
    "no tensor": (lambda x: {"y": x}, ValueError, "must return a Tensor"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_graph_cannot_hold_is_refused(name: str) -> None:
    function, error, message = REFUSED[name]
    with pytest.raises(error, match=message):
        trace(function, [X])
