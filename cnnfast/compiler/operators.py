"""The operators that the passes and the tracer add to the standard's, in the domain "cnnfast"."""

from __future__ import annotations

import inspect
import json
from typing import Any

from .. import functional as F
from ..onnx.operators.registry import operator
from ..onnx.operators.values import Value
from .vocabulary import FUNCTION_DOMAIN

__all__ = ["Function"]


@operator(FUNCTION_DOMAIN)
def Function(*operands: Value, function: str, arguments: str) -> Any:
    """Call ``cnnfast.functional.<function>``; see `vocabulary.function_node`."""
    if function not in F.__dict__ or function.startswith("_"):
        raise ValueError(f"cnnfast.functional has no function {function!r}")

    def whole(value: Any) -> Any:
        if isinstance(value, dict):
            if "tensor" in value:
                return operands[value["tensor"]]
            return slice(*value["slice"])
        return [whole(part) for part in value] if isinstance(value, list) else value

    given = {key: whole(value) for key, value in json.loads(arguments).items()}
    call = getattr(F, function)
    result = call(*_positional(call, given), **given)
    return tuple(result) if isinstance(result, (list, tuple)) else result


def _positional(call: Any, given: dict[str, Any]) -> list[Any]:
    """Take from `given` what the function takes as ``*shape``, and what stands before it."""
    parameters = inspect.signature(call).parameters
    spread = [name for name, p in parameters.items() if p.kind is p.VAR_POSITIONAL]
    if not spread:
        return []
    names = list(parameters)
    before = [given.pop(name) for name in names[: names.index(spread[0])]]
    return [*before, *given.pop(spread[0])]
