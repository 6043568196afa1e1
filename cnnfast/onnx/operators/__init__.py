"""The operators of the ONNX standard, one plain function each, in files by topic."""

from . import (
    activation,
    arithmetic,
    convolution,
    creation,
    indexing,
    linear,
    logic,
    normalization,
    pooling,
    reduction,
    shaping,
)
from .registry import OPERATORS, Operator

__all__ = ["OPERATORS", "Operator"]
