"""From a model to an ONNX file: the only writer of the standard's protobuf messages.

A model is traced as `cnnfast.compile` does it, but only into the standard's own operators. What was
written is read back, run and compared with the model before it is put in place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..autograd import no_grad
from ..checkpoint import PathLike, write_atomic
from ..errors import UnsupportedOperatorError
from ..graph import Graph, Node
from ..tensor import Tensor, as_tensor
from .model import load
from .reader import import_onnx

__all__ = ["export", "model_proto"]

IR_VERSION = 10
"""Of the file format; the first that knows opset 21."""
TOLERANCE = 1e-4
"""Largest difference between model and file, relative to the largest value of a result."""


def export(model: Any, example: Any, path: PathLike) -> None:
    """Write `model` as an ONNX file.

    Parameters
    ----------
    model : Module or callable of Tensors
        A Module is taken in evaluation mode.
    example : array_like or tuple of array_like
        An input of the model. The batch stays open, and so do image sizes, unless the model
        computes with these numbers themselves.
    path : path
        Replaced in one step, after the file was read back and gave the model's results.

    Raises
    ------
    UnsupportedOperatorError
        Where the standard has no words for something that the model does; all are named.
    DataDependent
        Where the model looks at the values of its input.
    ValueError
        Where the file would not give the model's results.
    ImportError
        Without the onnx package.

    Examples
    --------
    >>> import cnnfast, numpy as np, pathlib, tempfile
    >>> from cnnfast import models, onnx
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "lenet5.onnx")
    ...     onnx.export(models.lenet5(), np.zeros((1, 1, 28, 28), np.float32), path)
    ...     onnx.load(path).output_names
    ['fc3']
    """
    from ..compiler import trace

    onnx = import_onnx()
    examples = example if isinstance(example, tuple) else (example,)
    graph = trace(model, examples, portable=True)
    missing = sorted({n.attributes["function"] for n in graph.nodes if n.operator == "Function"})
    if missing:
        raise UnsupportedOperatorError(
            f"ONNX has no operator for what the model calls: cnnfast.functional.{missing}"
        )
    wanted = _results(model, examples)
    proto = model_proto(graph, wanted)
    onnx.checker.check_model(proto)
    data = proto.SerializeToString()
    _compare(data, examples, wanted)
    write_atomic(path, data)


def _results(model: Any, examples: Sequence[Any]) -> list[np.ndarray]:
    """Return what the model computes, in evaluation mode."""
    from ..compiler.tracer import evaluating

    with no_grad(), evaluating(model):
        result = model(*map(as_tensor, examples))
    return [part.numpy() for part in ([result] if isinstance(result, Tensor) else result)]


def _compare(data: bytes, examples: Sequence[Any], wanted: Sequence[np.ndarray]) -> None:
    """Refuse a file that gives other results than `wanted`."""
    given = load(data)(*(as_tensor(example).numpy() for example in examples))
    for result, reference in zip(given if len(wanted) > 1 else [given], wanted, strict=True):
        largest = float(np.abs(reference).max(initial=0))
        if result.shape != reference.shape or not np.allclose(
            result, reference, rtol=TOLERANCE, atol=TOLERANCE * largest, equal_nan=True
        ):
            raise ValueError(
                f"the file would give {result.shape} where the model gives {reference.shape}, or "
                f"values that differ by more than {TOLERANCE:g} of the largest"
            )


def model_proto(graph: Graph, results: Sequence[np.ndarray]) -> Any:
    """Return a graph of the standard's operators as a ModelProto.

    Parameters
    ----------
    graph : Graph
        Without graphs inside attributes.
    results : sequence of ndarray
        Arrays of the types and ranks of the outputs.
    """
    from .. import __version__

    helper, numpy_helper = import_onnx().helper, import_onnx().numpy_helper
    nodes, outputs = _with_own_outputs(graph)

    def info(name: str, dtype: str, shape: Any) -> Any:
        number = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return helper.make_tensor_value_info(name, number, shape)

    body = helper.make_graph(
        [_node_proto(node) for node in nodes],
        "cnnfast",
        [info(name, dtype, shape) for name, (dtype, shape) in graph.inputs.items()],
        [
            info(name, array.dtype.name, [None] * array.ndim)
            for name, array in zip(outputs, results, strict=True)
        ],
        [numpy_helper.from_array(array, name) for name, array in graph.constants.items()],
    )
    proto = helper.make_model(
        body, producer_name="cnnfast", producer_version=__version__,
        opset_imports=[helper.make_opsetid(domain, n) for domain, n in graph.opset.items()],
    )
    proto.ir_version = IR_VERSION
    return proto


def _node_proto(node: Node) -> Any:
    helper = import_onnx().helper
    return helper.make_node(
        node.operator, node.inputs, node.outputs, name=node.name, domain=node.domain or None,
        **node.attributes,
    )


def _with_own_outputs(graph: Graph) -> tuple[list[Node], list[str]]:
    """Give a name of its own to an output that is an input, a constant or another output."""
    nodes = list(graph.nodes)
    outputs: list[str] = []
    for name in graph.outputs:
        if name in graph.inputs or name in graph.constants or name in outputs:
            alias = f"{name}.result{len(outputs)}"
            nodes.append(Node("Identity", [name], [alias], name=alias))
            name = alias
        outputs.append(name)
    return nodes, outputs
