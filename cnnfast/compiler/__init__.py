"""Compiled inference: what `cnnfast.compile` does.

`tracer` watches a model and writes down a `Graph`, which `passes` rewrite; `program` turns it into
a list of primitives for given shapes, which `plan` places in one arena; `CompiledModel` keeps one
such plan a shape.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..graph import Graph
from ..onnx.interpreter import check_operators
from .compiled import CompiledModel
from .images import with_image_input
from .plan import make_plan
from .profile import Profile
from .unknown import DataDependent

if TYPE_CHECKING:
    from .tracer import trace

__all__ = ["CompiledModel", "DataDependent", "Profile", "compile", "make_plan", "trace"]


def compile(
    model: Any, example: Any = None, precision: str = "float32", threads: int | None = None,
    *, normalize: tuple[Any, Any] | None = None,
) -> CompiledModel:
    """Return `model` as one object for inference that loads and runs fast.

    Parameters
    ----------
    model : Module, callable of Tensors, Graph or path
        A Module is taken in evaluation mode, with the weights that it has now. A `Graph`, an
        ``.onnx`` file or what `CompiledModel.save` wrote needs no example; what `cnnfast.save`
        wrote does.
    example : array_like or tuple of array_like
        An input of the model: its shape and type. Other batches and image sizes will do later,
        unless the model computes with these numbers themselves.
    precision : str
        ``"float32"``.
    threads : int, optional
        A call uses at most so many threads; by default `cnnfast.get_num_threads()`.
    normalize : (mean, std), optional
        The compiled model then takes images as they come, uint8 (N, H, W, C), and computes
        ``(x / 255 - mean) / std`` itself; each is one number or one a channel.

    Returns
    -------
    CompiledModel
        Callable on arrays, from any number of threads at once.

    Raises
    ------
    DataDependent
        Where the model looks at the values of its input.
    ValueError
        Where the model does something that a graph cannot hold.

    Examples
    --------
    >>> import cnnfast, numpy as np
    >>> from cnnfast import nn
    >>> model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten())
    >>> compiled = cnnfast.compile(model, np.zeros((1, 3, 5, 5), np.float32))
    >>> compiled(np.ones((2, 3, 5, 5), np.float32)).shape
    (2, 36)
    """
    from .passes import optimize

    if precision != "float32":
        raise ValueError(f'precision: expected "float32", got {precision!r}')
    if isinstance(model, (str, os.PathLike)):
        model = _read(Path(model))
    if isinstance(model, CompiledModel):
        if threads is None and normalize is None:
            return model
        model = model.graph
    if isinstance(model, Graph):
        graph = model
    else:
        from .tracer import trace

        if example is None:
            raise TypeError("compile: a model needs an example of its input, like an array")
        graph = trace(model, example if isinstance(example, tuple) else (example,))
    check_operators(graph)
    source = graph
    if normalize is not None:
        graph = with_image_input(graph, *normalize)
    return CompiledModel(_with_own_weights(optimize(graph), source), threads)


def __getattr__(name: str) -> Any:
    if name != "trace":
        raise AttributeError(f"module 'cnnfast.compiler' has no attribute {name!r}")
    from .tracer import trace  # only who compiles a model needs it, not who runs a compiled one

    return trace


def _read(path: Path) -> Any:
    """Return the graph, the network or the compiled model in a file."""
    if path.suffix == ".onnx":
        from ..onnx.reader import read

        return read(path)
    from ..checkpoint import load

    return load(path)


def _with_own_weights(graph: Graph, source: Graph) -> Graph:
    """Copy the constants that are still those of `source`, which its owner may change."""
    for name, value in graph.constants.items():
        if value is source.constants.get(name):
            graph.constants[name] = value.copy()
    return graph
