"""ONNX files: `load` reads one and runs it. Reading needs the `onnx` package, running does not."""

from .model import Model, load

__all__ = ["Model", "load"]
