"""A model's layers in a table: output shape, parameters, multiply-adds, memory of activations.

The model runs once, on zeros, in evaluation mode and without a tape, with a hook on each module
that has no children. What ``forward`` computes by functions instead of modules therefore has no
row; the totals of parameters are the model's own and complete.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from .modes import evaluation

if TYPE_CHECKING:
    from .nn import Module

__all__ = ["Layer", "Summary", "summary"]

MEGABYTE = 1e6


class Layer(NamedTuple):
    """One call of one leaf module.

    Attributes
    ----------
    name : str
        Its place in the model, such as ``features.0``.
    type : str
        Its class.
    output : tuple of int
        Shape of what it returned.
    parameters : int
        Number of its own parameters; 0 from the second call on.
    multiply_adds : int
        Of convolutions and matrix products; other layers count 0, as is usual.
    bytes : int
        Memory of its output.
    """

    name: str
    type: str
    output: tuple[int, ...]
    parameters: int
    multiply_adds: int
    bytes: int


class Summary(NamedTuple):
    """What `summary` found; ``str()`` is the table, `to_dict` the same for JSON.

    Attributes
    ----------
    model : str
        Class of the model.
    input : tuple of int
        Shape that was put in, the batch included.
    layers : list of Layer
        In the order of execution.
    parameters, trainable : int
        Of the whole model.
    """

    model: str
    input: tuple[int, ...]
    layers: list[Layer]
    parameters: int
    trainable: int

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of all layers."""
        return sum(layer.multiply_adds for layer in self.layers)

    @property
    def bytes(self) -> int:
        """Memory of all layers' outputs together, as in training."""
        return sum(layer.bytes for layer in self.layers)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as dictionaries, lists, strings and integers."""
        layers = [layer._asdict() for layer in self.layers]
        totals = {"multiply_adds": self.multiply_adds, "bytes": self.bytes}
        return {**self._asdict(), "layers": layers, **totals}

    def __str__(self) -> str:
        head = ("layer", "type", "output", "parameters", "multiply-adds", "MB")
        rows = [
            (
                layer.name,
                layer.type,
                "x".join(map(str, layer.output)),
                f"{layer.parameters:,}",
                f"{layer.multiply_adds:,}",
                f"{layer.bytes / MEGABYTE:.4f}",
            )
            for layer in self.layers
        ]
        total = (
            "total",
            self.model,
            "",
            f"{self.parameters:,}",
            f"{self.multiply_adds:,}",
            f"{self.bytes / MEGABYTE:.4f}",
        )
        table = _table([head, *rows, total])
        fixed = self.parameters - self.trainable
        notes = f"input {'x'.join(map(str, self.input))}; parameters take {self._weights():.3f} MB"
        return f"{table}\n{notes}" + (f"; {fixed:,} of them are not trained" if fixed else "")

    def _weights(self) -> float:
        return 4 * self.parameters / MEGABYTE


def _table(rows: list[tuple[str, ...]]) -> str:
    """Lay out rows of which the first is the head and the last the total."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    numbers = {3, 4, 5}
    lines = [
        "  ".join(
            cell.rjust(width) if column in numbers else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    rule = "-" * max(map(len, lines))
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])


def summary(model: Module, input_shape: Sequence[int], batch_size: int = 1) -> Summary:
    """Describe `model` layer by layer.

    Parameters
    ----------
    model : Module
        Left in the mode it is in.
    input_shape : sequence of int
        Of one sample, such as ``(3, 224, 224)``: channels, height, width.
    batch_size : int
        Shapes, multiply-adds and memory are those of such a batch.

    Returns
    -------
    Summary

    Raises
    ------
    ValueError
        If a size is not positive, or the model does not take such an input.

    Examples
    --------
    >>> import cnnfast
    >>> found = cnnfast.summary(cnnfast.models.lenet5(), (1, 28, 28))  # print it to see the table
    >>> found.parameters, found.multiply_adds
    (61706, 416520)
    """
    from . import zeros

    shape = (batch_size, *map(int, input_shape))
    if min(shape) < 1:
        raise ValueError(f"summary: input {shape} has a size below 1")
    watch = _Watch(model)
    try:
        with evaluation(model):
            model(zeros(shape))
    finally:
        watch.remove()
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return Summary(
        model=type(model).__name__,
        input=shape,
        layers=watch.layers,
        parameters=sum(size for size, _ in sizes),
        trainable=sum(size for size, trained in sizes if trained),
    )


class _Watch:
    """Hooks on the leaves of a model that note each call."""

    def __init__(self, model: Module) -> None:
        self.layers: list[Layer] = []
        self._seen: set[int] = set()
        leaves = (
            (name, each)
            for name, each in model.named_modules()
            if next(each.children(), None) is None
        )
        self._handles = [each.register_forward_hook(self._hook(name)) for name, each in leaves]

    def _hook(self, name: str) -> Any:
        def note(module: Module, inputs: tuple[Any, ...], output: Any) -> None:
            if not hasattr(output, "shape"):
                return
            own = [p for p in module.parameters() if id(p) not in self._seen]
            self._seen.update(map(id, own))
            self.layers.append(
                Layer(
                    name=name or type(module).__name__,
                    type=type(module).__name__,
                    output=tuple(output.shape),
                    parameters=sum(p.numel() for p in own),
                    multiply_adds=_multiply_adds(module, inputs[0], output),
                    bytes=math.prod(output.shape) * output.dtype.itemsize,
                )
            )

        return note

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()


def _multiply_adds(module: Module, given: Any, output: Any) -> int:
    """Count the products with the module's weight; bias and pointwise work are left out.

    Each output value of a convolution (or linear layer) is a product with one output channel's
    weights; each input value of a transposed one meets one input channel's weights.
    """
    weight = getattr(module, "weight", None)
    if weight is None or len(weight.shape) < 2 or type(module).__name__ == "Embedding":
        return 0
    meets = given if "Transpose" in type(module).__name__ else output
    return math.prod(meets.shape) * math.prod(weight.shape[1:])
