"""The tape: what each operation remembers, and the walk that turns it into gradients.

`record` wraps an operation's result; where a gradient is wanted the result holds a `Node`: the
operation's backward function and one edge an input, either the node that made the input or, for a
leaf, the leaf itself. A node never refers to its own result, so the graph has no cycle and dies
with the last Tensor that needs it. `run_backward` visits nodes after all their dependents, without
recursion; this is the only place that adds gradients.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from . import _core

if TYPE_CHECKING:
    from .tensor import Tensor

__all__ = [
    "Node", "enable_grad", "is_grad_enabled", "no_grad", "record", "record_in_place",
    "run_backward",
]

Backward = Callable[[np.ndarray, tuple[bool, ...]], tuple["np.ndarray | None", ...]]
Edge = "Tensor | Node | None"
F = TypeVar("F", bound=Callable[..., Any])


class _Mode(threading.local):
    enabled = True


_mode = _Mode()


def is_grad_enabled() -> bool:
    """Return whether operations of this thread are being recorded for `backward`."""
    return _mode.enabled


class _GradMode:
    """Sets the mode for a ``with`` block or a decorated function, for the calling thread."""

    _target: bool

    def __enter__(self) -> None:
        self._outer = _mode.enabled
        _mode.enabled = self._target

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _mode.enabled = self._outer

    def __call__(self, function: F) -> F:
        @functools.wraps(function)
        def inside(*args: Any, **kwargs: Any) -> Any:
            with type(self)():
                return function(*args, **kwargs)

        return inside  # type: ignore[return-value]


class no_grad(_GradMode):
    """Context manager and decorator: operations inside are not recorded.

    Examples
    --------
    >>> import cnnfast
    >>> x = cnnfast.ones(2, requires_grad=True)
    >>> with cnnfast.no_grad():
    ...     y = x * 2
    >>> y.requires_grad
    False
    """

    _target = False


class enable_grad(_GradMode):
    """Context manager and decorator: operations inside are recorded, also within `no_grad`."""

    _target = True


class Node:
    """What one operation needs for its gradient.

    Attributes
    ----------
    backward : callable or None
        ``backward(dy, needs)`` returns one gradient an input; None once it has been used.
    edges : tuple
        Per input: the `Node` that made it, the leaf `Tensor`, or None where no gradient is wanted.
    guards : tuple of (list of int, int)
        Version counters of the arrays that `backward` reads, with their value when it was recorded.
    hooks : list of callable
        Called with the gradient of this node's result before it goes on.
    """

    __slots__ = ("__weakref__", "backward", "edges", "guards", "hooks", "name")

    def __init__(
        self, name: str, backward: Backward, inputs: tuple[Tensor, ...], saved: tuple[Tensor, ...]
    ) -> None:
        self.name = name
        self.backward: Backward | None = backward
        self.edges = tuple(t.edge for t in inputs)
        self.guards = tuple((t.version_counter, t.version_counter[0]) for t in saved)
        self.hooks: list[Callable[[np.ndarray], np.ndarray]] = []

    def run(self, dy: np.ndarray) -> tuple[np.ndarray | None, ...]:
        """Return the gradients of the inputs from that of the result."""
        if self.backward is None:
            raise RuntimeError(
                f"the graph of {self.name} was already used by backward() and freed; "
                "call the first backward with retain_graph=True to go through it again"
            )
        for counter, version in self.guards:
            if counter[0] != version:
                raise RuntimeError(
                    f"a tensor that the gradient of {self.name} needs was changed in place: it is "
                    f"at version {counter[0]}, {self.name} saw version {version}; "
                    "change a clone() instead, or change it after backward()"
                )
        return self.backward(dy, tuple(edge is not None for edge in self.edges))

    def free(self) -> None:
        """Forget the saved arrays and the inputs."""
        self.backward = None
        self.edges = (None,) * len(self.edges)


def record(
    array: np.ndarray,
    inputs: tuple[Tensor, ...],
    backward: Backward,
    saved: tuple[Tensor, ...] = (),
    *,
    view: bool = False,
    result_saved: bool = False,
) -> Tensor:
    """Wrap `array`, an operation's result, and put the operation on the tape where needed.

    Parameters
    ----------
    array : ndarray
        The result.
    inputs : tuple of Tensor
        What the operation was computed from.
    backward : callable
        ``backward(dy, needs)``: from the gradient of the result, one ndarray an input (None where
        ``needs`` is False). Each is a fresh array, or `dy` or a view of it. It must not refer to
        the result's Tensor.
    saved : tuple of Tensor
        Those inputs whose arrays `backward` reads; changing one in place before backward is an
        error.
    view : bool
        Whether `array` shares its memory with the first input.
    result_saved : bool
        Whether `backward` reads `array`: changing the result in place is then an error, too.
    """
    from .tensor import Tensor

    result = Tensor.wrap(array)
    if view:
        result.share_memory_of(inputs[0])
    if wants_gradient(inputs):
        name = backward.__qualname__.split(".")[0]
        result.attach(Node(name, backward, inputs, (*saved, result) if result_saved else saved))
    return result


def wants_gradient(inputs: tuple[Tensor, ...]) -> bool:
    """Whether an operation on `inputs` goes on the tape."""
    return _mode.enabled and any(t.edge is not None for t in inputs)


def record_in_place(
    target: Tensor,
    inputs: tuple[Tensor, ...],
    backward: Backward,
    saved: tuple[Tensor, ...] = (),
) -> Tensor:
    """Note that an operation overwrote `target` with its result, and put it on the tape.

    As `record`; `target` is usually among the inputs and, where backward reads the result, among
    the saved. From now on it stands for the result. Other Tensors over the same memory keep
    their old place on the tape, where their new elements do not belong, and are refused there.
    """
    target.bump_version()
    if wants_gradient(inputs):
        name = backward.__qualname__.split(".")[0]
        target.attach(Node(name, backward, inputs, saved), overwritten=True)
    return target


def _count_dependents(root: Node) -> dict[Node, int]:
    """For each node that `root` reaches: how many edges lead to it."""
    dependents: dict[Node, int] = {root: 0}
    stack = [root]
    while stack:
        for edge in stack.pop().edges:
            if isinstance(edge, Node):
                if edge not in dependents:
                    dependents[edge] = 0
                    stack.append(edge)
                dependents[edge] += 1
    return dependents


class _Sum:
    """A gradient under accumulation; its array is its own only after the first addition."""

    __slots__ = ("array", "own")

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.own = array, False

    def add(self, term: np.ndarray) -> None:
        target = self.array if self.own else _core.empty_like(self.array)
        _core.binary("add", target, self.array, term)
        self.array, self.own = target, True


def _accumulate_leaf(leaf: Tensor, gradient: np.ndarray, dy: np.ndarray) -> None:
    """Add to ``leaf.grad``; a gradient that may share memory with others is copied first."""
    from .tensor import Tensor

    for hook in leaf.hooks:
        gradient = hook(gradient)
    if leaf.grad is not None:
        _core.binary("add", leaf.grad.array, leaf.grad.array, gradient)
        leaf.grad.bump_version()
        return
    if gradient.strides != leaf.array.strides or np.may_share_memory(gradient, dy):
        copy = _core.empty_like(leaf.array)
        _core.copy(copy, gradient)
        gradient = copy
    leaf.grad = Tensor.wrap(gradient)


def run_backward(root: Node, gradient: np.ndarray, retain_graph: bool) -> None:
    """Send `gradient` from `root` to every leaf that it was computed from.

    Nodes run when all their dependents have; each is freed at once unless `retain_graph`.
    """
    waiting = _count_dependents(root)
    sums: dict[Node, _Sum] = {root: _Sum(gradient)}
    ready = [root]
    while ready:
        node = ready.pop()
        total = sums.pop(node, None)
        edges = node.edges
        terms: tuple[np.ndarray | None, ...] = (None,) * len(edges)
        if total is not None:
            dy = total.array
            for hook in node.hooks:
                dy = hook(dy)
            terms = node.run(dy)
        if not retain_graph:
            node.free()
        for edge, term in zip(edges, terms, strict=True):
            if isinstance(edge, Node):
                if term is not None and edge in sums:
                    sums[edge].add(term)
                elif term is not None:
                    sums[edge] = _Sum(term)
                waiting[edge] -= 1
                if waiting[edge] == 0:
                    ready.append(edge)
            elif edge is not None and term is not None:
                _accumulate_leaf(edge, term, dy)
