"""ONNX files: `load` reads one and runs it. Reading needs the `onnx` package, running does not."""

from .model import load

__all__ = ["load"]
