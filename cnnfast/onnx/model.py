"""`load`: an ONNX file as an object that runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..graph import Graph
from .interpreter import check_operators, constants_of, run
from .reader import read

__all__ = ["Model", "load"]


class Model:
    """A graph that runs on arrays, operator by operator.

    Parameters
    ----------
    graph : Graph
        Of supported operators.

    Attributes
    ----------
    graph : Graph
        The network.

    Raises
    ------
    UnsupportedOperatorError
        Names every operator that is not supported.
    """

    def __init__(self, graph: Graph) -> None:
        check_operators(graph)
        self.graph = graph
        self._constants = constants_of(graph)

    @property
    def input_names(self) -> list[str]:
        """Names of the inputs, in order."""
        return list(self.graph.inputs)

    @property
    def output_names(self) -> list[str]:
        """Names of the results, in order."""
        return list(self.graph.outputs)

    def run(self, feeds: Mapping[str, Any]) -> list[Any]:
        """Return the results for arrays given by name, in the order of `output_names`."""
        return run(self.graph, feeds, self._constants)

    def __call__(self, *inputs: Any) -> Any:
        """Return the result for arrays in the order of `input_names`; several as a tuple."""
        if len(inputs) != len(self.graph.inputs):
            raise TypeError(f"expected {self.input_names}, got {len(inputs)} inputs")
        results = self.run(dict(zip(self.graph.inputs, inputs, strict=True)))
        return results[0] if len(results) == 1 else tuple(results)

    def __repr__(self) -> str:
        return f"Model({self.input_names} -> {self.output_names}, {len(self.graph.nodes)} nodes)"


def load(source: str | Path | bytes, external_data: bool = False) -> Model:
    """Return an ONNX model, ready to run.

    Parameters
    ----------
    source : path or bytes
        The file, or what it holds.
    external_data : bool
        Whether weights may be read from other files in the file's folder.

    Returns
    -------
    Model
        Callable on arrays.

    Raises
    ------
    FormatError
        Where the file is damaged.
    UnsupportedOperatorError
        Where it needs operators that cnnfast does not have; it names all of them.
    ImportError
        Without the onnx package.
    """
    return Model(read(source, external_data))
