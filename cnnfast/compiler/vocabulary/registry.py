"""How a call of `cnnfast.functional` is said in the vocabulary of the ONNX standard.

A translation takes the trace, the call's arguments by name and its result; it appends nodes and
returns the name of the result (a list of names for several), or None where the standard has no
words for these arguments. Calls without a translation become `function_node`s, which a compiled
model runs as they are and an ONNX file cannot hold.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ...tensor import Tensor

if TYPE_CHECKING:
    from ..tracer import Trace

__all__ = [
    "FUNCTION_DOMAIN", "OPSET", "TRANSLATIONS", "Given", "Names", "Translation", "function_node",
    "translation",
]

OPSET = 21
"""Version of the standard's operators that traces are written in."""
FUNCTION_DOMAIN = "cnnfast"

Given = dict[str, Any]
Names = str | list[str] | None
Translation = Callable[["Trace", Given, Any], Names]

TRANSLATIONS: dict[str, Translation] = {}
"""By the function's name."""


def translation(*names: str) -> Callable[[Translation], Translation]:
    """Enter the function below as the translation of these functions."""

    def enter(function: Translation) -> Translation:
        TRANSLATIONS.update(dict.fromkeys(names, function))
        return function

    return enter


def function_node(t: Trace, name: str, given: Given, result: Any) -> str | list[str]:
    """Append a node that calls ``cnnfast.functional.<name>`` with these arguments."""
    operands: list[str] = []

    def plain(value: Any) -> Any:
        if isinstance(value, Tensor):
            operands.append(t.value(value))
            return {"tensor": len(operands) - 1}
        if isinstance(value, (list, tuple)):
            return [plain(part) for part in value]
        if isinstance(value, slice):
            return {"slice": [value.start, value.stop, value.step]}
        if isinstance(value, np.generic):
            return value.item()
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        raise ValueError(f"{name}: a graph cannot hold the argument {value!r}")

    arguments = json.dumps({key: plain(value) for key, value in given.items()})
    outputs = len(result) if isinstance(result, (list, tuple)) else 1
    names: str | list[str] = t.node(
        "Function", operands, outputs, FUNCTION_DOMAIN, function=name, arguments=arguments
    )
    return names
