"""The operators of the ONNX standard, one plain function each, in files by topic."""

from . import (
    activation,
    arithmetic,
    attention,
    control,
    convolution,
    creation,
    detection,
    indexing,
    linear,
    logic,
    loss,
    normalization,
    pooling,
    quantization,
    recurrent,
    reduction,
    resize,
    sampling,
    shaping,
    spectrum,
    trigonometry,
)
from .registry import OPERATORS, Operator

__all__ = ["OPERATORS", "Operator"]
