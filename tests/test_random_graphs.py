"""Compiled random graphs: passes and plans make of a graph what computes the same."""

from __future__ import annotations

import numpy as np
import pytest
from random_graphs import random_graph

import cnnfast
from cnnfast.onnx.interpreter import run


@pytest.mark.parametrize("block", range(10))
def test_compiled_graphs_compute_what_the_operators_do(block: int) -> None:
    for seed in range(40 * block, 40 * (block + 1)):
        graph, x = random_graph(seed)
        feeds = {"x": x}
        compiled = cnnfast.compile(graph)
        operators = [node.operator for node in graph.nodes]
        for result, wanted in zip(compiled.run(feeds), run(graph, feeds), strict=True):
            largest = np.abs(wanted).max(initial=1e-3)
            np.testing.assert_allclose(
                result, wanted, rtol=1e-3, atol=3e-4 * largest, err_msg=f"{seed}: {operators}")
