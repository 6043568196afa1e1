"""Compiled models on disk: one safetensors file, the graph as JSON in its metadata.

The library checks the file's header; the weights are then read through a memory map, so a model
loads before its weights do, processes on one machine share them, and once they are packed only the
packed form stays in memory.
"""

from __future__ import annotations

import json
import mmap
import os
from typing import Any

import numpy as np
from safetensors.numpy import save as to_bytes

from .. import _core
from ..checkpoint import FORMAT, PathLike, explained, read_metadata, write_atomic
from ..errors import FormatError
from ..graph import Graph, Node
from .plan import Signature

__all__ = ["KIND", "read_graph", "write_graph"]

KIND = "compiled"
"""What the metadata call such a file; `cnnfast.checkpoint` knows others."""

_DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "I64": "int64", "I32": "int32",
    "I16": "int16", "I8": "int8", "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8",
    "BOOL": "bool", "C64": "complex64",
}  # fmt: skip


def write_graph(
    graph: Graph, path: PathLike, plan: Signature | None = None, **entries: Any
) -> None:
    """Write `graph` to `path` in one step, with further entries of its metadata.

    Parameters
    ----------
    plan : tuple of (shape, dtype), optional
        Inputs for which C code shall run the file.

    Raises
    ------
    ValueError
        Where a constant is of a type that the format lacks, such as text; where C could not run
        the plan.
    """
    from .. import __version__

    text, arrays = graph.to_json()
    for name, array in arrays.items():
        if array.dtype.name not in _DTYPES.values():
            raise ValueError(f"the constant {name!r} is of {array.dtype}, which cannot be saved")
    document = {
        "format": FORMAT, "library": f"cnnfast {__version__}", "kind": KIND, "graph": text,
        **entries,
    }
    tensors = {name: np.ascontiguousarray(a).reshape(a.shape) for name, a in arrays.items()}
    if plan is not None:
        from .plan_file import plan_tensors

        tensors |= plan_tensors(graph, plan, entries.get("threads") or 0, tensors)
    data = to_bytes(tensors, {"cnnfast": json.dumps(document)})
    if plan is not None:
        _core.check_saved(data)
    write_atomic(path, data)


def read_graph(path: PathLike) -> tuple[Graph, dict[str, Any], mmap.mmap]:
    """Return the graph of a file, the entries beside it, and the map that its arrays lie in.

    Raises
    ------
    FormatError
        Where the file is damaged or is no compiled model.
    OSError
        Where it cannot be read.
    """
    document = read_metadata(path)
    if document.pop("kind", None) != KIND:
        raise FormatError(f"{path}: expected a compiled model, as CompiledModel.save writes it")
    with explained(f"{path}: expected a compiled model"):
        arrays, mapped = _map_arrays(path)
        graph = Graph.from_json(document.pop("graph"), arrays)
        _check(graph)
        if missing := graph.free_names():
            raise FormatError(f"nothing makes the values {sorted(missing)[:5]}")
        threads = document.get("threads")
        if not (threads is None or (type(threads) is int and threads > 0)):
            raise FormatError(f"expected a number of threads, found {threads!r}")
    return graph, document, mapped


def _check(graph: Graph) -> None:
    """Refuse what JSON can say and a graph cannot be."""
    for node in graph.nodes:
        names = [*node.inputs, *node.outputs, node.operator, node.domain, node.name]
        if not isinstance(node, Node) or not all(isinstance(name, str) for name in names):
            raise FormatError(f"expected a node with names, found {node!r:.80}")
        for value in node.attributes.values():
            if isinstance(value, Graph):
                _check(value)
    if not all(isinstance(v, np.ndarray) for v in graph.constants.values()) or not isinstance(
            graph.opset, dict):
        raise FormatError("expected arrays as constants and versions by domain")


def _map_arrays(path: PathLike) -> tuple[dict[str, np.ndarray], mmap.mmap]:
    """Return all arrays of a safetensors file whose header the library has checked."""
    with open(path, "rb") as file:
        start = 8 + int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(start - 8))
        mapped = mmap.mmap(file.fileno(), os.fstat(file.fileno()).st_size, access=mmap.ACCESS_READ)
    header.pop("__metadata__", None)
    arrays = {}
    for name, entry in header.items():
        first, last = entry["data_offsets"]
        flat = np.frombuffer(mapped, _DTYPES[entry["dtype"]], offset=start + first,
                             count=(last - first) // np.dtype(_DTYPES[entry["dtype"]]).itemsize)
        flat = flat if flat.flags.aligned else flat.copy()  # another writer may not align
        arrays[name] = flat.reshape(entry["shape"])
    return arrays, mapped
