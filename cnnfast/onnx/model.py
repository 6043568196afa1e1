"""`load`: an ONNX file as an object that runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..checkpoint import explained
from .reader import read

if TYPE_CHECKING:
    from ..compiler import CompiledModel

__all__ = ["load"]


def load(
    source: str | Path | bytes, external_data: bool = False, threads: int | None = None
) -> CompiledModel:
    """Return an ONNX model, compiled and ready to run.

    Parameters
    ----------
    source : path or bytes
        The file, or what it holds.
    external_data : bool
        Whether weights may be read from other files in the file's folder.
    threads : int, optional
        A call uses at most so many threads; by default `cnnfast.get_num_threads()`.

    Returns
    -------
    CompiledModel
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
    from ..compiler import compile

    graph = read(source, external_data)
    with explained("the ONNX model has a graph that makes no sense"):
        return compile(graph, threads=threads)
