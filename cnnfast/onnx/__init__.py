"""ONNX files: `load` reads one, `export` writes one.

Both need the `onnx` package; a model that was loaded and saved as a compiled one does not.
"""

from typing import Any

from .model import load

__all__ = ["export", "load"]


def __getattr__(name: str) -> Any:
    if name != "export":
        raise AttributeError(f"module 'cnnfast.onnx' has no attribute {name!r}")
    from .writer import export  # it traces, and tracing stands on this package's operators

    return export
