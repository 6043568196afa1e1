"""The table of operators: (domain, name) to the function that computes it.

A function takes the operator's inputs positionally (None for an optional one left out) and its
attributes as keyword arguments, and returns one value or a tuple of values. A float32 value is a
`Tensor`; any other tensor is an ndarray; a sequence is a list. Two keywords are not attributes:
``opset``, the version of the operator's domain, and ``outputs``, how many results are wanted.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from .values import Value, array

__all__ = ["OPERATORS", "Operator", "operator"]

Function = TypeVar("Function", bound=Callable[..., Any])

CONTEXT = frozenset({"opset", "outputs"})
"""Keywords that the interpreter fills in where a function has them."""


class Operator(NamedTuple):
    """How one operator is computed.

    Attributes
    ----------
    compute : callable
        The function.
    attributes : frozenset of str
        The attributes that it knows.
    context : frozenset of str
        Those of `CONTEXT` that it takes.
    host : bool
        Whether it computes with NumPy alone: what it does to float32 values is not recorded.
    """

    compute: Callable[..., Any]
    attributes: frozenset[str]
    context: frozenset[str]
    host: bool


OPERATORS: dict[tuple[str, str], Operator] = {}


def operator(
    domain: str = "", host: bool = False, name: str | None = None
) -> Callable[[Function], Function]:
    """Enter the function below into the table under its own name, the standard's.

    Parameters
    ----------
    domain : str
        Of the operator.
    host : bool
        The function takes and returns arrays: float32 inputs come as arrays instead of Tensors.
    name : str, optional
        The operator's name where it is not the function's.
    """

    def enter(function: Function) -> Function:
        keywords = {
            parameter.name
            for parameter in inspect.signature(function).parameters.values()
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY
        }
        compute = on_arrays(function) if host else function
        row = Operator(compute, frozenset(keywords - CONTEXT), CONTEXT & keywords, host)
        OPERATORS[domain, name or function.__name__] = row
        return function

    return enter


def on_arrays(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function` with its float32 inputs as arrays."""

    def compute(*inputs: Value, **attributes: Any) -> Any:
        return function(*map(array, inputs), **attributes)

    return compute
