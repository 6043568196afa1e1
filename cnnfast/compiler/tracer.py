"""From a model to a `Graph`: the model runs once, on inputs without values, and is watched.

Each call of `cnnfast.functional` becomes a node of the ONNX vocabulary where
`cnnfast.compiler.vocabulary` has a translation, else a node that calls the function itself. What is
computed from weights alone is computed at once. Nothing is computed from the input, so a model
whose control flow depends on the input's values is refused.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from .. import _core
from ..autograd import no_grad
from ..graph import Axis, Graph, Node, ValueType
from ..nn import Module
from ..tensor import Tensor, as_tensor
from ..tracing import tracing
from .concat import is_same
from .plan import recording_lock
from .unknown import DataDependent, Unknown, unknown
from .vocabulary import OPSET, TRANSLATIONS, function_node

__all__ = ["Trace", "evaluating", "trace"]

BATCHES = (7, 11)
"""Batches in which models are traced: sizes that no reshape means by accident."""
GROWTH = (64, 128)
"""By how much the second trace's images are larger: multiples of what networks divide sizes by."""

_signature = lru_cache(maxsize=512)(inspect.signature)


class Trace:
    """The graph under construction.

    Parameters
    ----------
    names : dict
        By ``id`` of a Tensor, the name that its constant shall have.
    recording : Recording
        In which the model runs.
    portable : bool
        Whether the standard's operators are wanted even where the engine's functions say more.
    """

    def __init__(
        self, names: dict[int, str], recording: _core.Recording, portable: bool = False
    ) -> None:
        self.recording = recording
        self.portable = portable
        self.graph = Graph([], {}, [], {}, {"": OPSET})
        self.constant_names = names
        self._known: dict[int, tuple[Tensor, str, int]] = {}
        self._count: dict[str, int] = {}
        self._used: set[str] = set()

    # ---- names ---------------------------------------------------------------------------------

    def fresh(self, stem: str) -> str:
        """Return a name that no value has: `stem`, with a number after the first time."""
        while True:
            number = self._count[stem] = self._count.get(stem, -1) + 1
            name = f"{stem}_{number}" if number else stem
            if name not in self._used:
                self._used.add(name)
                return name

    def name(self, tensor: Tensor, name: str) -> None:
        """Say that `tensor` is the value `name`."""
        self._known[id(tensor)] = (tensor, name, tensor.version_counter[0])

    def is_traced(self, tensor: Any) -> bool:
        """Whether `tensor` is computed from the input."""
        return isinstance(tensor, Tensor) and self.recording.is_unknown(tensor.array)

    def value(self, operand: Any) -> str:
        """Return the name of a Tensor's, array's or number's value; others become constants."""
        if isinstance(operand, Tensor):
            tensor, name, version = self._known.get(id(operand), (None, "", -1))
            if tensor is operand and version == operand.version_counter[0]:
                return name
            if tensor is operand:
                raise ValueError(
                    f"the value {name} was changed in place in a way that a trace does not see; "
                    "write the operation with a result of its own"
                )
            if self.recording.is_unknown(operand.array):
                raise ValueError(
                    f"a tensor of shape {operand.shape} comes from an operation that is not one of "
                    "cnnfast.functional or a Tensor's method, so it cannot be traced"
                )
            stem = self.constant_names.get(id(operand), "constant")
            name = self.constant(operand.array, stem)
            self.name(operand, name)
            return name
        return self.constant(np.asarray(operand, np.float32), "constant")

    def constant(self, array: np.ndarray, stem: str = "constant") -> str:
        """Return the name of a new constant, `array` itself where it is C-contiguous."""
        name = self.fresh(stem)
        self.graph.constants[name] = np.asarray(array.view(np.ndarray), order="C")
        return name

    def integers(self, values: Sequence[int]) -> str:
        """Return the name of a new constant of sizes or axes."""
        return self.constant(np.array(values, np.int64), "sizes")

    def node(
        self, operator: str, inputs: Sequence[str], outputs: int = 1, domain: str = "",
        **attributes: Any,
    ) -> Any:
        """Append a node and return the name of its output, a list of names for several."""
        while inputs and not inputs[-1]:
            inputs = inputs[:-1]
        layer = next((n.rsplit(".", 1)[0] for n in inputs[1:] if n.endswith(".weight")), "")
        stem = layer or operator.lower()
        names = [self.fresh(stem) for _ in range(outputs)]
        self.graph.nodes.append(
            Node(operator, list(inputs), names, attributes, domain, names[0])
        )
        return names[0] if outputs == 1 else names

    # ---- watching ------------------------------------------------------------------------------

    def observe(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run one call of `cnnfast.functional` and note it; see `cnnfast.tracing`."""
        bound = _signature(function).bind(*args, **kwargs)
        bound.apply_defaults()
        given = dict(bound.arguments)
        if not any(map(self.is_traced, _tensors(given))):
            with tracing(None):
                return function(*args, **kwargs)
        inputs = {id(t): self.value(t) for t in _tensors(given) if self.is_traced(t)}
        with tracing(None):
            result = function(*args, **kwargs)
        del inputs  # named before the function may have changed them in place
        if given.pop("inplace", False) or function.__name__.endswith("_"):
            self._renew(next(iter(_tensors(given))))
        translate = TRANSLATIONS.get(function.__name__.rstrip("_"))
        names = None if translate is None else translate(self, given, result)
        if names is None:
            names = function_node(self, function.__name__.rstrip("_"), given, result)
        results = result if isinstance(result, (list, tuple)) else (result,)
        for tensor, name in zip(results, [names] if isinstance(names, str) else names, strict=True):
            self.name(tensor, name)
        return result

    def _renew(self, tensor: Tensor) -> None:
        """Let the old name stand for a tensor that the call at hand has changed in place."""
        _, name, _ = self._known[id(tensor)]
        self.name(tensor, name)


def _tensors(value: Any) -> list[Tensor]:
    """Return the Tensors among arguments, in order, those inside sequences included."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return [tensor for part in value for tensor in _tensors(part)]
    return []


def trace(model: Any, examples: Sequence[Any], portable: bool = False) -> Graph:
    """Return the graph of what `model` computes.

    Parameters
    ----------
    model : callable
        A Module (traced in evaluation mode) or a function of Tensors.
    examples : sequence of array_like
        One array an input; only shapes and types matter. The first axis, where all have it in
        common, is the batch.
    portable : bool
        Whether to use the standard's operators wherever it can be said in them, at the price of
        image sizes that are fixed to the example's.

    Returns
    -------
    Graph
        Inputs are named as the parameters of ``forward``, constants as in ``state_dict``. The batch
        and the sizes of images are open where the model computes alike for others, else the
        example's.

    Raises
    ------
    DataDependent
        Where the model looks at the values of its input.
    ValueError
        Where the model does something that a graph cannot hold.
    """
    arrays = [as_tensor(example).array for example in examples]
    batched = len({array.shape[:1] for array in arrays}) == 1 and arrays[0].ndim > 1
    graph = _attempt(model, arrays, BATCHES[0], (0, 0), portable) if batched else None
    if graph is None:
        return _traced(model, [array.shape for array in arrays], arrays, portable)
    for growth in (GROWTH, (0, 0)):
        other = _attempt(model, arrays, BATCHES[1], growth, portable)
        if other is not None and _is_same(graph, other):
            kinds = [_open_type(array, images=growth == GROWTH) for array in arrays]
            return replace(graph, inputs=dict(zip(graph.inputs, kinds, strict=True)))
    return _traced(model, [array.shape for array in arrays], arrays, portable)


def _attempt(
    model: Any, arrays: Sequence[np.ndarray], batch: int, growth: tuple[int, int], portable: bool
) -> Graph | None:
    """Trace in another batch and with larger images; None where the model cannot take them."""
    shapes = [
        (batch, *(size + more for size, more in zip(
            array.shape[1:], (0, *growth) if array.ndim == 4 else [0] * array.ndim, strict=False)))
        for array in arrays
    ]
    try:
        return _traced(model, shapes, arrays, portable)
    except DataDependent:
        raise
    except (
        ArithmeticError, AssertionError, LookupError, MemoryError, RuntimeError, TypeError,
        ValueError,
    ):  # whatever a model says of a size that it was not made for
        return None


def _is_same(one: Graph, other: Graph) -> bool:
    """Whether two traces compute the same: no size of their inputs became a number of the graph."""
    (text, arrays), (other_text, others) = one.to_json(), other.to_json()
    return text == other_text and arrays.keys() == others.keys() and all(
        is_same(array, others[name]) or np.array_equal(array, others[name], equal_nan=True)
        for name, array in arrays.items()
    )


def _traced(
    model: Any, shapes: Sequence[tuple[int, ...]], arrays: Sequence[np.ndarray], portable: bool
) -> Graph:
    recording = _core.Recording(Unknown)
    members = {id(tensor): name for name, tensor in _members(model)}
    noted = Trace(members, recording, portable)
    inputs = []
    names = _input_names(model, len(arrays))
    for name, shape, array in zip(names, shapes, arrays, strict=True):
        tensor = Tensor.wrap(unknown(shape, array.dtype.name))
        recording.add_unknown(tensor.array)
        noted.name(tensor, noted.fresh(name))
        noted.graph.inputs[name] = (array.dtype.name, array.shape)
        inputs.append(tensor)
    packed = [(tensor, tensor.packed.copy()) for _, tensor in _members(model)]
    try:
        with evaluating(model), recording_lock, no_grad(), recording, tracing(noted.observe):
            result = model(*inputs)
    finally:
        for tensor, before in packed:  # what was packed for these sizes nobody reads
            tensor.packed = before
    results = result if isinstance(result, (list, tuple)) else [result]
    if not all(isinstance(part, Tensor) for part in results):
        raise ValueError(f"the model must return a Tensor or a sequence of them, got "
                         f"{type(result).__name__}")
    noted.graph.outputs = [noted.value(part) for part in results]
    return noted.graph


def _members(model: Any) -> list[tuple[str, Tensor]]:
    if not isinstance(model, Module):
        return []
    return [*model.named_parameters(), *model.named_buffers()]


def _input_names(model: Any, count: int) -> list[str]:
    """Return the parameters' names of `forward`, or of the function."""
    parameters = inspect.signature(model.forward if isinstance(model, Module) else model).parameters
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    names = [name for name, parameter in parameters.items() if parameter.kind in kinds]
    return [*names, *(f"input_{i}" for i in range(len(names), count))][:count]


def _open_type(array: np.ndarray, images: bool) -> ValueType:
    """Return the type of an input with an open batch and, for images, open sizes."""
    sizes: tuple[Axis, ...] = array.shape[1:]
    if images and len(sizes) == 3:
        sizes = (sizes[0], None, None)
    return array.dtype.name, ("batch", *sizes)


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """Have the model in evaluation mode."""
    modules = list(model.modules()) if isinstance(model, Module) else []
    modes = [module.training for module in modules]
    for module in modules:
        module.training = False
    try:
        yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode
