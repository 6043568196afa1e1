"""The graph: JSON and back, names that it reads from around it, lifetimes of values."""

from __future__ import annotations

import numpy as np
import pytest

from cnnfast.graph import Graph, Node
from cnnfast.onnx.interpreter import last_reads, run

BRANCH = Graph(
    [Node("Mul", ["x", "two"], ["doubled"])], {}, ["doubled"], {"two": np.array(2, np.float32)}
)
OTHER = Graph([Node("Neg", ["x"], ["negative"])], {}, ["negative"])
CHOICE = Graph(
    [
        Node("Relu", ["x"], ["r"], name="first"),
        Node("If", ["c"], ["y"], {"then_branch": BRANCH, "else_branch": OTHER}),
        Node("Add", ["y", "r"], ["z"]),
    ],
    {"x": ("float32", ("n", None, 3)), "c": ("bool", ())},
    ["z"],
    {"unused": np.arange(3)},
    {"": 17},
)


def test_json_keeps_everything() -> None:
    shape = np.array([2, 3], np.int64)
    constant = Node("ConstantOfShape", ["s"], ["o"], {"value": np.ones(1, np.int8), "k": [1, 2]})
    graph = Graph([constant, *CHOICE.nodes], CHOICE.inputs, ["z", "o"], {"s": shape}, {"": 17})
    text, arrays = graph.to_json()
    again = Graph.from_json(text, arrays)
    assert again.to_json()[0] == text
    assert again.inputs == graph.inputs and again.opset == graph.opset
    assert again.nodes[0].attributes["value"].dtype == np.int8
    assert again.nodes[2].attributes["then_branch"].constants["two"] == 2
    assert sorted(arrays) == ["0/value/", "2/then_branch/constants/two", "constants/s"]


def test_json_of_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a graph"):
        Graph.from_json("[1]", {})


def test_walk_goes_into_graphs() -> None:
    assert [node.operator for node in CHOICE.walk()] == ["Relu", "If", "Mul", "Neg", "Add"]


def test_free_names() -> None:
    assert BRANCH.free_names() == {"x"}
    assert CHOICE.free_names() == set()


def test_a_value_is_let_go_after_its_last_reader() -> None:
    assert last_reads(CHOICE) == [[], ["c", "x"], ["y", "r"]]


@pytest.mark.parametrize(("condition", "expected"), [(True, [-2.0, 9.0]), (False, [1.0, 0.0])])
def test_branches_see_what_is_around_them(condition: bool, expected: list[float]) -> None:
    feeds = {"x": np.array([-1, 3], np.float32), "c": np.array(condition)}
    assert run(CHOICE, feeds)[0].tolist() == expected


def test_missing_inputs_are_named() -> None:
    with pytest.raises(ValueError, match=r"\['c'\] were not given; it has \['x', 'c'\]"):
        run(CHOICE, {"x": np.zeros(1, np.float32)})
