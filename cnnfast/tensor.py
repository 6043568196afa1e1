"""Tensor: an n-dimensional array with a gradient.

A Tensor wraps one NumPy array. Floats compute in float32; integers and booleans are kept as they
come (labels, masks, raw images) and become float32 where an operation computes. An image of
logical shape (N, C, H, W) is usually stored NHWC (see `cnnfast.layout`); shapes and indices are
always the logical ones.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from . import _core
from .autograd import Node, is_grad_enabled, run_backward
from .replay import refuse_replay
from .tensor_operators import TensorOperators

__all__ = ["Tensor", "as_float", "as_tensor", "tensor"]

ArrayLike = Any
"""A Tensor, ndarray, number, nested sequence, or anything with __array__ or __dlpack__."""


_CAST_BY_ENGINE = frozenset("?bBhilq")  # NumPy's codes of what `_core.copy` makes float32


def _to_array(data: ArrayLike, dtype: Any = None) -> np.ndarray:
    """Return `data` as an array of float32, int64, int32, uint8, ... or bool; never a Tensor's."""
    if isinstance(data, Tensor):
        array = data.array
    elif isinstance(data, np.ndarray):
        array = data
    elif hasattr(data, "__dlpack__") and not hasattr(data, "__array__"):
        array = np.from_dlpack(data)
    else:
        array = np.asarray(data)
    wanted = np.dtype(dtype) if dtype is not None else array.dtype
    if array.dtype.kind not in "fiub" or wanted.kind not in "fiub":
        raise TypeError(f"expected numbers, got an array of dtype {array.dtype}")
    if wanted.kind == "f":
        wanted = np.dtype(np.float32)
    if not wanted.isnative:
        wanted = wanted.newbyteorder("=")
    return array.astype(wanted, copy=not array.flags.aligned)


class Tensor(TensorOperators):
    """An n-dimensional array that can take part in differentiation.

    Parameters
    ----------
    data : array_like
        Copied. float16 and float64 become float32.
    dtype : numpy dtype, optional
        Of the result; floats are always float32.
    requires_grad : bool
        Whether `backward` collects a gradient in `grad`.

    Examples
    --------
    >>> from cnnfast import Tensor
    >>> x = Tensor([1.0, 2.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad.numpy()
    array([2., 4.], dtype=float32)
    """

    __slots__ = (
        "__weakref__", "_array", "_node", "_overwrites", "_requires_grad", "grad", "hooks",
        "packed", "version_counter",
    )

    def __init__(
        self, data: ArrayLike, dtype: Any = None, requires_grad: bool = False
    ) -> None:
        array = _to_array(data, dtype)
        if isinstance(data, Tensor) or array is data or np.may_share_memory(array, data):
            array = array.copy(order="K")
        self._initialise(array)
        if requires_grad:
            self.requires_grad = True

    def _initialise(self, array: np.ndarray) -> None:
        self._array = array
        self._node: Node | None = None
        self._requires_grad = False
        self.grad: Tensor | None = None
        self.hooks: list[Callable[[np.ndarray], np.ndarray]] = []
        # Changes in place; of them, those on the tape; how often the memory was lent, and behind
        # that weak references to the arrays that it was lent as.
        self.version_counter: list[Any] = [0, 0, 0]
        self._overwrites = 0  # of the latter, how many this Tensor's place on the tape accounts for
        self.packed: dict[Any, tuple[int, np.ndarray]] = {}

    @classmethod
    def wrap(cls, array: np.ndarray) -> Tensor:
        """Return a Tensor over `array` itself, without a copy."""
        result = Tensor.__new__(Tensor)
        result._initialise(array)
        return result

    # ---- what it is ------------------------------------------------------------------------

    @property
    def array(self) -> np.ndarray:
        """The array under the Tensor; the engine's side of it."""
        return self._array

    @property
    def shape(self) -> tuple[int, ...]:
        """Logical sizes of the axes."""
        return self._array.shape

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self._array.ndim

    @property
    def dtype(self) -> np.dtype[Any]:
        """NumPy dtype of the elements."""
        return self._array.dtype

    @property
    def device(self) -> str:
        """Always ``"cpu"``."""
        return "cpu"

    def size(self, dim: int | None = None) -> Any:
        """Return the shape, or the size of axis `dim`."""
        return self.shape if dim is None else self.shape[dim]

    def dim(self) -> int:
        """Return the number of axes."""
        return self._array.ndim

    def numel(self) -> int:
        """Return the number of elements."""
        return self._array.size

    # ---- memory ----------------------------------------------------------------------------

    def numpy(self) -> np.ndarray:
        """Return an array over the same memory; the Tensor must not require a gradient.

        What is written into it is written into the Tensor. As long as it, or a view of it, lives,
        layers whose weight this is cannot keep the weight packed and pack it at each use: copy the
        array to keep it.
        """
        if self._requires_grad:
            raise RuntimeError(
                "numpy() on a tensor that requires a gradient: use detach().numpy()"
            )
        return self.lend()

    def lend(self) -> np.ndarray:
        """Return an array over the memory whose life `is_lent` tells."""
        # Views of an ndarray keep its owner alive, not itself; those of a buffer keep the array.
        array = np.asarray(self._array.__array__().data)
        counter = self.version_counter
        counter[3:] = [lent for lent in counter[3:] if lent() is not None]
        counter.append(weakref.ref(array))
        counter[2] += 1
        return array

    @property
    def is_lent(self) -> bool:
        """Whether somebody holds an array through which the memory may be changed unnoticed."""
        return any(lent() is not None for lent in self.version_counter[3:])

    def detach(self) -> Tensor:
        """Return a Tensor over the same memory that is no part of the graph."""
        result = Tensor.wrap(self._array)
        result.share_memory_of(self)
        return result

    def share_memory_of(self, other: Tensor) -> None:
        """Count changes in place together with `other`, over whose memory this Tensor stands."""
        self.version_counter = other.version_counter
        self._overwrites = other._overwrites

    @property
    def data(self) -> Tensor:
        """The same memory without a gradient; assigning replaces the array."""
        return self.detach()

    @data.setter
    def data(self, value: ArrayLike) -> None:
        array = _to_array(value, self.dtype)
        self._array = array
        self.bump_version()

    def bump_version(self) -> None:
        """Note that the memory was changed in place, so that stale gradients are refused."""
        self.version_counter[0] += 1

    def guard_in_place(self) -> None:
        """Refuse to change a leaf that requires a gradient, as long as operations are recorded."""
        if self._requires_grad and is_grad_enabled() and self._node is None:
            raise RuntimeError(
                "a leaf tensor that requires a gradient was to be changed in place; "
                "do it inside `with no_grad():`"
            )

    # ---- gradient --------------------------------------------------------------------------

    @property
    def requires_grad(self) -> bool:
        """Whether `backward` reaches this Tensor."""
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if value and self.dtype != np.float32:
            raise RuntimeError(f"only float32 tensors can require a gradient, got {self.dtype}")
        if not value and self._node is not None:
            raise RuntimeError("only a leaf can stop requiring a gradient: use detach()")
        self._requires_grad = bool(value)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Set `requires_grad` and return the Tensor."""
        self.requires_grad = requires_grad
        return self

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded operation made this Tensor."""
        return self._node is None

    @property
    def grad_fn(self) -> Node | None:
        """The operation that made this Tensor, if it is on the tape."""
        return self._node

    @property
    def edge(self) -> Tensor | Node | None:
        """What a dependent's gradient goes to: the node, this leaf, or nothing."""
        if self._overwrites != self.version_counter[1]:
            raise RuntimeError(
                "this tensor shares its memory with one that was changed in place by an operation "
                "on the tape, so its gradient would be wrong: take the view again after the "
                "change, or change a clone()"
            )
        return self._node or (self if self._requires_grad else None)

    def attach(self, node: Node, overwritten: bool = False) -> None:
        """Make `node` the origin of this Tensor, whose elements it has `overwritten` or made."""
        self._node = node
        self._requires_grad = True
        if overwritten:
            self.version_counter[1] += 1
            self._overwrites = self.version_counter[1]

    def register_hook(self, hook: Callable[[Tensor], ArrayLike | None]) -> None:
        """Call `hook` with the gradient when it is known; what it returns replaces the gradient."""
        if not self._requires_grad:
            raise RuntimeError("a hook needs a tensor that requires a gradient")

        def on_array(gradient: np.ndarray) -> np.ndarray:
            refuse_replay("a hook of a gradient")
            replaced = hook(Tensor.wrap(gradient))
            return gradient if replaced is None else _to_array(replaced)

        (self._node.hooks if self._node is not None else self.hooks).append(on_array)

    def backward(self, gradient: ArrayLike | None = None, retain_graph: bool = False) -> None:
        """Compute the gradients of this Tensor with respect to the leaves, adding to their `grad`.

        Parameters
        ----------
        gradient : array_like, optional
            Gradient of the final quantity with respect to this Tensor, of its shape; may be left
            out for a Tensor of one element, where it is 1.
        retain_graph : bool
            Keep the graph for another backward.
        """
        if not self._requires_grad:
            raise RuntimeError("backward() on a tensor that does not require a gradient")
        if gradient is None:
            if self.numel() != 1:
                raise RuntimeError(
                    f"backward() without a gradient needs a tensor of one element, got shape "
                    f"{self.shape}; sum() or mean() it first, or pass gradient="
                )
            dy = np.ones(self.shape, np.float32)
        else:
            dy = _to_array(gradient, np.float32)
            if dy.shape != self.shape:
                raise ValueError(f"gradient of shape {dy.shape} for a tensor of shape {self.shape}")
        if self._node is None:
            self.grad = Tensor(dy if self.grad is None else self.grad.array + dy)
        else:
            run_backward(self._node, dy, retain_graph)


def tensor(data: ArrayLike, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Return a new Tensor with a copy of `data`; see `Tensor`."""
    return Tensor(data, dtype, requires_grad)


def as_tensor(data: ArrayLike, dtype: Any = None) -> Tensor:
    """Return `data` as a Tensor, sharing memory where its layout and dtype allow."""
    if isinstance(data, Tensor) and (dtype is None or data.dtype == dtype):
        return data
    return Tensor.wrap(_to_array(data, dtype))


def as_float(data: ArrayLike) -> Tensor:
    """Return `data` as a float32 Tensor, itself if it is one already."""
    if isinstance(data, Tensor) and data.dtype == np.float32:
        return data
    array = _to_array(data)
    if array.dtype.char in _CAST_BY_ENGINE and 0 < array.ndim <= 8:
        cast = _core.empty_like(array)
        _core.copy(cast, array)
        return Tensor.wrap(cast)
    return Tensor.wrap(array.astype(np.float32, copy=False))
