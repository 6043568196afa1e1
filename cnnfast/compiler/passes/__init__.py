"""Passes: each takes a `Graph` and returns one that computes the same with less work.

`PASSES` is the order in which `optimize` runs them. A pass never changes the graph that it is
given; shapes need not be known. Results may differ by rounding where weights are multiplied out.
"""

from __future__ import annotations

from collections.abc import Callable

from ...graph import Graph
from .activations import recognize_activations
from .constants import drop_unused, fold_constants
from .convolutions import fold_pads, fold_scales, fuse_convolutions, lower_batch_norms
from .factors import factor_residuals, fold_factors, fuse_affine
from .layer_norms import recognize_layer_norms
from .linear import fold_flatten, fuse_linear
from .prologues import fuse_scales
from .separable import fuse_separable
from .shuffles import recognize_shuffles

__all__ = ["PASSES", "optimize"]

PASSES: list[Callable[[Graph], Graph]] = [
    fold_constants,
    recognize_activations,
    recognize_layer_norms,
    recognize_shuffles,
    factor_residuals,
    fold_pads,
    fold_scales,
    lower_batch_norms,
    fold_scales,  # what follows a normalisation that stands alone
    fold_factors,
    fuse_linear,
    fuse_convolutions,
    fuse_scales,
    fuse_separable,
    fuse_affine,
    fold_flatten,
    drop_unused,
]


def optimize(graph: Graph) -> Graph:
    """Return `graph` after all passes.

    Examples
    --------
    >>> from cnnfast.compiler.passes import optimize
    >>> from cnnfast.graph import Graph, Node
    >>> nodes = [Node("Identity", ["x"], ["a"]), Node("Relu", ["a"], ["y"])]
    >>> optimize(Graph(nodes, {"x": ("float32", None)}, ["y"])).nodes[0].inputs
    ['x']
    """
    for run in PASSES:
        graph = run(graph)
    return graph
