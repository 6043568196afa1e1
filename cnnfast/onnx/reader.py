"""From an ONNX file to a `Graph`: the only reader of the standard's protobuf messages.

Constants, also those that the file writes as nodes, become arrays of the graph; functions that the
file defines are written out where they are called. Whatever a damaged or hostile file holds ends in
a `FormatError`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FormatError, UnsupportedOperatorError
from ..graph import Axis, Graph, Node, ValueType
from .external import read_external
from .interpreter import STANDARD
from .operators.creation import ELEMENT_TYPES

__all__ = ["graph_of", "import_onnx", "read"]

NEWEST_OPSET = 28
"""Of the standard's own operators, in onnx 1.23; what a newer one changes is not known here."""
MAX_DEPTH = 16
"""Graphs inside graphs, and calls of functions inside functions; real models have two or three."""
MAX_NODES = 100_000
"""Nodes after functions were written out, so that a small file cannot grow without bound."""
MAX_GROWTH, MIN_BYTES = 8, 64 << 20
"""Constants may take this many times the bytes read (an int64 may be written in one), or 64 MB."""
MAX_RANK = 64
"""NumPy's own limit of axes."""


def import_onnx() -> Any:
    """Return the `onnx` package.

    Raises
    ------
    ImportError
        Where it is not installed; the message says how to install it.
    """
    try:
        import onnx
    except ImportError:
        raise ImportError(
            'reading and writing ONNX files needs the onnx package: pip install "cnnfast[onnx]"'
        ) from None
    return onnx


def read(source: str | Path | bytes, external_data: bool = False) -> Graph:
    """Return the graph of an ONNX file or of its bytes.

    Parameters
    ----------
    source : path or bytes
        The file, or what it holds.
    external_data : bool
        Whether weights may be read from other files in the file's folder.

    Raises
    ------
    FormatError
        Where the file is damaged, too new or refers to other files without permission.
    """
    onnx = import_onnx()
    path = None if isinstance(source, bytes) else Path(source)
    data = source if isinstance(source, bytes) else Path(source).read_bytes()
    label = "the ONNX model" if path is None else str(path)
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except Exception as error:  # protobuf's DecodeError has no place that all its versions share
        raise FormatError(f"{label} is not an ONNX file: {error}") from error
    if not model.HasField("graph") or not model.opset_import:
        raise FormatError(f"{label} is not an ONNX file: it has no graph or no opset")
    for part in model.opset_import:
        if text(part.domain) in STANDARD and part.version > NEWEST_OPSET:
            raise FormatError(
                f"{label} has opset {part.version}; cnnfast knows the standard's up to "
                f"{NEWEST_OPSET}: export the model for an older one"
            )
    return graph_of(model, label, path.parent if path is not None and external_data else None)


def graph_of(model: Any, label: str = "the ONNX model", folder: Path | None = None) -> Graph:
    """Return the graph of a ModelProto; external data are read from `folder`, if given."""
    try:
        return _Reader(model, folder).graph()
    except FormatError as error:
        raise type(error)(f"{label}: {error}") from error
    except (ArithmeticError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise FormatError(f"{label} is damaged: {error}") from error


class _Reader:
    """What reading one model keeps: its functions, the opset, and how much was read."""

    def __init__(self, model: Any, folder: Path | None) -> None:
        self.onnx = import_onnx()
        self.model = model
        self.folder = folder
        self.opset = {text(part.domain): int(part.version) for part in model.opset_import}
        self.functions = {
            (text(f.domain), text(f.name), text(f.overload)): f for f in model.functions
        }
        for function in model.functions:  # may use domains that the model itself does not
            for part in function.opset_import:
                self.opset.setdefault(text(part.domain), int(part.version))
        self.nodes = 0
        self.calls = 0
        self.room = MAX_GROWTH * model.ByteSize() + MIN_BYTES

    def graph(self) -> Graph:
        return self.subgraph(self.model.graph, {}, 0)

    def subgraph(self, proto: Any, attributes: dict[str, Any], depth: int) -> Graph:
        """Return a GraphProto as a graph; `attributes` are those of the function around it."""
        if depth > MAX_DEPTH:
            raise FormatError(f"graphs are nested more than {MAX_DEPTH} deep")
        outputs = [text(value.name) for value in proto.output]
        result = Graph([], {}, outputs, {}, dict(self.opset))
        for tensor in proto.initializer:
            result.constants[text(tensor.name)] = self.tensor(tensor)
        for sparse in proto.sparse_initializer:
            result.constants[text(sparse.values.name)] = self.dense(sparse)
        for value in proto.input:
            if text(value.name) not in result.constants:
                result.inputs[text(value.name)] = self.kind(value.type)
        self.add_nodes(result, proto.node, attributes, depth)
        self.check(result, depth)
        return result

    def check(self, graph: Graph, depth: int) -> None:
        """Refuse results that nobody makes; a graph inside another may see those around it.

        Refuse those that are made twice as well: who reads which would be anybody's guess.
        """
        made = [*graph.inputs, *graph.constants]
        made += [name for node in graph.nodes for name in node.outputs if name]
        if len(set(made)) != len(made):
            twice = sorted(name for name, count in Counter(made).items() if count > 1)
            raise FormatError(f"the values {twice[:5]} are made more than once")
        missing = sorted(graph.free_names())
        if missing and depth == 0:
            raise FormatError(
                f"nothing makes the values {missing[:5]} before they are read; nodes must stand "
                "in an order in which they can run"
            )

    def add_nodes(
        self, graph: Graph, protos: Iterable[Any], attributes: dict[str, Any], depth: int
    ) -> None:
        for proto in protos:
            self.nodes += 1
            if self.nodes > MAX_NODES:
                raise FormatError(f"more than {MAX_NODES} nodes")
            node = Node(
                text(proto.op_type), list(map(text, proto.input)), list(map(text, proto.output)),
                self.attributes(proto, attributes, depth), text(proto.domain), text(proto.name),
            )
            function = self.functions.get((node.domain, node.operator, text(proto.overload)))
            if function is not None:
                self.write_out(graph, node, function, depth + 1)
            elif node.operator == "Constant" and node.domain in STANDARD:
                graph.constants[node.outputs[0]] = constant(node)
            else:
                graph.nodes.append(node)

    # ---- functions -------------------------------------------------------------------------

    def write_out(self, graph: Graph, node: Node, function: Any, depth: int) -> None:
        """Put the nodes of a function where it is called, its inner names made unique."""
        if depth > MAX_DEPTH:
            raise FormatError(f"functions call each other more than {MAX_DEPTH} deep")
        self.calls += 1
        taken, made = list(map(text, function.input)), list(map(text, function.output))
        inputs = [*node.inputs, *[""] * (len(taken) - len(node.inputs))]
        names = dict(zip(taken, inputs, strict=True))
        names.update(zip(made, node.outputs, strict=False))
        defaults = {
            text(part.name): self.attribute(part, {}, depth) for part in function.attribute_proto
        }
        inner = Graph([], {}, [], {}, dict(self.opset))
        self.add_nodes(inner, function.node, {**defaults, **node.attributes}, depth)
        prefix = f"{node.name or node.operator}.{self.calls}/"
        renamed(inner, names, prefix)
        graph.nodes.extend(inner.nodes)
        graph.constants.update(inner.constants)
        if set(taken) & set(made):
            raise FormatError(f"function {node.operator} returns one of its inputs {taken}")

    # ---- attributes ------------------------------------------------------------------------

    def attributes(self, proto: Any, outer: dict[str, Any], depth: int) -> dict[str, Any]:
        result = {}
        for part in proto.attribute:
            if part.ref_attr_name:
                if text(part.ref_attr_name) in outer:
                    result[text(part.name)] = outer[text(part.ref_attr_name)]
            else:
                result[text(part.name)] = self.attribute(part, outer, depth)
        return result

    def attribute(self, part: Any, outer: dict[str, Any], depth: int) -> Any:
        kind = self.onnx.AttributeProto.AttributeType.Name(part.type)
        if kind == "INT":
            return int(part.i)
        if kind == "FLOAT":
            return float(part.f)
        if kind == "STRING":
            return text(part.s)
        if kind == "TENSOR":
            return self.tensor(part.t)
        if kind == "SPARSE_TENSOR":
            return self.dense(part.sparse_tensor)
        if kind == "GRAPH":
            return self.subgraph(part.g, outer, depth + 1)
        if kind == "INTS":
            return [int(value) for value in part.ints]
        if kind == "FLOATS":
            return [float(value) for value in part.floats]
        if kind == "STRINGS":
            return [text(value) for value in part.strings]
        if kind == "TYPE_PROTO":
            return self.kind(part.tp)[0]
        raise UnsupportedOperatorError(f"attribute {part.name} of type {kind} is not available")

    # ---- tensors ---------------------------------------------------------------------------

    def tensor(self, proto: Any) -> np.ndarray:
        """Return a TensorProto as an array, its size checked before anything is allocated."""
        external = proto.data_location == self.onnx.TensorProto.EXTERNAL
        if external:
            proto = read_external(proto, self.folder)
        shape = tuple(proto.dims)
        if len(shape) > MAX_RANK or min(shape, default=0) < 0:
            raise FormatError(f"tensor {proto.name!r} has the shape {shape}")
        if math.prod(shape) > 8 * proto.ByteSize():  # no type has less than a bit an element
            raise FormatError(f"tensor {proto.name!r} of shape {shape} has too few bytes")
        if external:
            self.room += MAX_GROWTH * proto.ByteSize()
        array = np.asarray(self.onnx.numpy_helper.to_array(proto))
        self.take(array.nbytes)
        array.flags.writeable = False  # a result that is a view of a weight must not change it
        if array.shape != shape:
            raise FormatError(f"tensor {proto.name!r}: {array.shape} found, {shape} declared")
        return array

    def take(self, size: int) -> None:
        """Refuse constants that grow out of proportion to the file."""
        self.room -= size
        if self.room < 0:
            raise FormatError("the constants are too large for a file of this size")

    def dense(self, proto: Any) -> np.ndarray:
        """Return a SparseTensorProto as an ordinary array."""
        values, indices = self.tensor(proto.values), self.tensor(proto.indices)
        shape = tuple(int(size) for size in proto.dims)
        self.take(math.prod(shape) * values.itemsize)
        result = np.zeros(shape, values.dtype)
        if indices.ndim == 1:
            result.reshape(-1)[indices] = values
        else:
            result[tuple(indices.T)] = values
        return result

    def kind(self, proto: Any) -> ValueType:
        """Return a TypeProto as a type's name and a shape; sequences have no shape."""
        which = proto.WhichOneof("value")
        if which == "sequence_type":
            return f"sequence({self.kind(proto.sequence_type.elem_type)[0]})", None
        if which == "optional_type":
            return f"optional({self.kind(proto.optional_type.elem_type)[0]})", None
        tensor = proto.tensor_type
        dtype = ELEMENT_TYPES.get(tensor.elem_type, "undefined")
        if not tensor.HasField("shape"):
            return dtype, None
        return dtype, tuple(axis_of(dim) for dim in tensor.shape.dim)


def axis_of(dim: Any) -> Axis:
    """Return a dimension as its size, its name or None."""
    if dim.HasField("dim_value"):
        return int(dim.dim_value)
    return text(dim.dim_param) or None


def text(value: str | bytes) -> str:
    """Return a string of the file, which protobuf gives as bytes where it is not UTF-8."""
    return value if isinstance(value, str) else value.decode("utf-8", "backslashreplace")


def constant(node: Node) -> np.ndarray:
    """Return the array that a Constant node stands for."""
    types: dict[str, Any] = {
        "value_float": np.float32, "value_floats": np.float32, "value_int": np.int64,
        "value_ints": np.int64, "value_string": object, "value_strings": object,
    }
    if len(node.attributes) != 1 or not node.outputs:
        raise FormatError(f"Constant {node.name!r} needs one value, has {[*node.attributes]}")
    ((name, value),) = node.attributes.items()
    if isinstance(value, np.ndarray):
        return value
    if name not in types:
        raise FormatError(f"Constant {node.name!r} has the attribute {name!r}")
    return np.array(value, types[name])


def renamed(graph: Graph, names: dict[str, str], prefix: str) -> None:
    """Rename all values of `graph` in place: as `names` says, others by a prefix."""

    def new(name: str) -> str:
        return names.get(name, prefix + name) if name else ""

    graph.constants = {new(name): value for name, value in graph.constants.items()}
    graph.inputs = {new(name): value for name, value in graph.inputs.items()}
    graph.outputs = [new(name) for name in graph.outputs]
    for node in graph.nodes:
        node.inputs = [new(name) for name in node.inputs]
        node.outputs = [new(name) for name in node.outputs]
        for value in node.attributes.values():
            if isinstance(value, Graph):
                renamed(value, names, prefix)
