"""`cnnfast.compiler.parts`: batches whose first layers run on a few samples at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from rounding import uniform

import cnnfast
from cnnfast import Tensor, _core, nn
from cnnfast import functional as F
from cnnfast.compiler.parts import Traffic, choose_parts
from cnnfast.graph import Graph, Node

X = uniform(6, 3, 40, 48)


class Residual(nn.Module):
    """Large images first, large weights last."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 16, 3, padding=1)
        self.second = nn.Conv2d(16, 16, 3, padding=1)
        self.pool = nn.MaxPool2d(4)
        self.last = nn.Linear(16 * 10 * 12, 300)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.first(x))
        x = self.pool(F.relu(self.second(x) + x))
        return self.last(x.flatten(1))


@pytest.fixture(scope="module")
def compiled() -> cnnfast.CompiledModel:
    return cnnfast.compile(Residual().eval(), X)


def plans(model: cnnfast.CompiledModel, x: np.ndarray) -> list[tuple[int, int]]:
    """Parts and calls of the plans that compute `model(x)`."""
    model(x)
    assert model._latest is not None
    return [(plan.parts, len(plan)) for plan in model._latest.plans]


def test_images_run_in_parts_and_large_weights_on_the_whole_batch(
    compiled: cnnfast.CompiledModel
) -> None:
    first, second = plans(compiled, X)
    assert first[0] == 6 and second == (1, 1)
    assert [count for count, _ in plans(compiled, X[:1])] == [1]


@pytest.mark.parametrize("samples", [1, 2, 3, 5, 6])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_sample_has_the_same_bits_in_any_batch_on_any_number_of_threads(
    compiled: cnnfast.CompiledModel, samples: int, threads: int, isa: str
) -> None:
    alone = [compiled(X[i : i + 1]) for i in range(samples)]
    limited = cnnfast.compile(compiled.graph, threads=threads)
    assert limited(X[:samples]).tobytes() == np.concatenate(alone).tobytes()


def test_a_part_may_be_several_samples(compiled: cnnfast.CompiledModel) -> None:
    x = uniform(16, 3, 8, 48)
    model = nn.Sequential(nn.Conv2d(3, 32, 3), nn.ReLU(), nn.Conv2d(32, 32, 3), nn.ReLU()).eval()
    small = cnnfast.compile(model, x)
    assert [parts for parts, _ in plans(small, x)] == [4]
    wanted = model(Tensor(x)).detach().numpy()
    np.testing.assert_allclose(small(x), wanted, rtol=1e-5, atol=1e-6)


def test_an_image_crosses_with_its_pitch() -> None:
    """256 channels, which stand 272 floats apart, half of them written in place by a Concat."""
    nodes = [
        Node("Conv", ["x", "w"], ["a"]), Node("Relu", ["a"], ["b"]), Node("Neg", ["a"], ["c"]),
        Node("Concat", ["b", "c"], ["d"], {"axis": 1}), Node("Conv", ["d", "v"], ["y"]),
    ]
    constants = {"w": uniform(128, 3, 1, 1), "v": uniform(512, 256, 3, 3)}
    graph = Graph(nodes, {"x": ("float32", ("n", 3, 9, 9))}, ["y"], constants, {"": 21})
    model, x = cnnfast.compile(graph), uniform(4, 3, 9, 9)
    assert [parts for parts, _ in plans(model, x)] == [4, 1]
    one_by_one = [model(x[i : i + 1]) for i in range(4)]
    error = np.abs(model(x) - np.concatenate(one_by_one)).max()
    assert error <= 2e-5 * np.abs(model(x)).max()


def chosen(nodes: list[Node], outputs: list[str], traffic: list[Traffic], **shapes: Any) -> Any:
    constants = {"one": np.ones((1, 4), np.float32), "each": np.ones((8, 4), np.float32)}
    graph = Graph(nodes, {"x": ("float32", None)}, outputs, constants)
    return choose_parts(graph, dict.fromkeys("xabcy", (8, 4)) | shapes, traffic)


IMAGES, WEIGHTS = Traffic(values=1 << 20), Traffic(values=10, constants=1 << 20)


@pytest.mark.parametrize(
    ("node", "apart"),
    [
        (Node("Add", ["x", "one"], ["y"]), True),
        (Node("Add", ["x", "each"], ["y"]), False),
        (Node("Softmax", ["x"], ["y"], {"axis": 1}), True),
        (Node("Softmax", ["x"], ["y"], {"axis": -2}), False),
        (Node("Concat", ["x", "x"], ["y"], {"axis": 0}), False),
        (Node("CumSum", ["x"], ["y"]), False),
        (Node("Relu", ["x"], ["y"], {}, "elsewhere"), False),
        (Node("SeparableConv", ["x", *[""] * 2, "one", *[""] * 3, "x"], ["y"]), True),
        (Node("SeparableConv", ["x", *[""] * 2, "one", *[""] * 3, "each"], ["y"]), False),
        (Node("SeparableConv", ["x", *[""] * 2, "x", *[""] * 3, "x"], ["y"]), False),
    ],
)
def test_samples_that_meet_are_not_parted(node: Node, apart: bool) -> None:
    assert (chosen([node], ["y"], [IMAGES]) is not None) == apart


def test_one_value_crosses() -> None:
    nodes = [Node("Relu", ["x"], ["a"]), Node("Neg", ["a"], ["b"]), Node("Exp", ["a"], ["c"]),
             Node("Add", ["b", "c"], ["y"])]
    assert chosen(nodes, ["y"], [IMAGES] * 4) == (4, 4)
    assert chosen(nodes, ["y"], [IMAGES, IMAGES, IMAGES, WEIGHTS]) == (1, 4)
    assert chosen(nodes, ["y"], [IMAGES, WEIGHTS, IMAGES, WEIGHTS]) == (1, 4)
    assert chosen(nodes, ["y"], [WEIGHTS] * 4) is None
    assert chosen(nodes, ["y"], [IMAGES] * 4, a=(4, 8)) is None


def test_a_profile_of_parts_counts_all_of_them(compiled: cnnfast.CompiledModel) -> None:
    rows = {row.name: row for row in compiled.profile(X, repeats=2).rows}
    assert rows["first"].gflop == pytest.approx(2e-9 * 6 * 40 * 48 * 16 * 27)
    assert rows["last"].gflop == pytest.approx(2e-9 * 6 * 1920 * 300)


def test_a_failing_part_is_reported() -> None:
    plan = _core.Plan([], 1 << 55, (((1, 2), "float32"),), (((1, 2), "float32"),), None,
                      _core.Workspace(), 0, 4)
    with pytest.raises(MemoryError):
        plan.run((np.ones((4, 2), np.float32),))
