"""Calls of `cnnfast.functional` in the vocabulary of the ONNX standard; see `registry`."""

from . import elementwise, layers, shaping  # they enter their rows into the table
from .registry import FUNCTION_DOMAIN, OPSET, TRANSLATIONS, function_node

__all__ = ["FUNCTION_DOMAIN", "OPSET", "TRANSLATIONS", "function_node"]
