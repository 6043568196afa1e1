"""Arrays whose values are not known yet: what a model is recorded on.

The engine's primitives take them, since inside a recording these only write down what they would
do. NumPy may look at them from other angles (views, shapes) but not read them: a computation that
does cannot be replayed on other values, and says so instead of going wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from ..replay import NotRepeatable

__all__ = ["DataDependent", "Unknown", "refuse", "unknown", "unknown_like"]


class DataDependent(NotRepeatable):
    """A computation looks at values that are known only when the compiled model runs."""


def refuse(what: str) -> NoReturn:
    """Raise `DataDependent` for `what`, a computation by NumPy."""
    raise DataDependent(
        f"{what} reads values that are not known while the model is compiled: what is computed, "
        "and in which shapes, may depend on the shapes of the input and not on its values"
    )


# What NumPy computes from shapes and strides alone.
_VIEWS = frozenset({
    np.reshape, np.transpose, np.expand_dims, np.squeeze, np.moveaxis, np.swapaxes, np.ravel,
    np.broadcast_to, np.flip, np.may_share_memory, np.shares_memory, np.shape, np.ndim, np.size,
    np.split, np.array_split, np.empty_like, np.atleast_1d,
})  # fmt: skip
_READERS = (
    "__bool__", "__bytes__", "__complex__", "__contains__", "__copy__", "__deepcopy__",
    "__dlpack__", "__float__",
    "__index__", "__int__", "__iter__", "__reduce__", "__setitem__", "argmax", "argmin",
    "argpartition", "argsort", "byteswap", "choose", "clip", "compress", "copy", "cumprod",
    "cumsum", "diagonal", "dot", "dump", "dumps", "fill", "flatten", "item", "nonzero", "partition",
    "put", "repeat", "searchsorted", "sort", "take", "tobytes", "tofile", "tolist",
)  # fmt: skip


class Unknown(np.ndarray):
    """An array with a shape and without values; see the module."""

    def __array_ufunc__(self, ufunc: np.ufunc, *_: Any, **__: Any) -> NoReturn:
        refuse(f"numpy.{ufunc.__name__}")

    def __array_function__(
        self, func: Callable[..., Any], types: Any, args: Any, kwargs: Any
    ) -> Any:
        if func not in _VIEWS:
            refuse(f"numpy.{func.__name__}")
        return super().__array_function__(func, types, args, kwargs)

    def __getitem__(self, key: Any) -> Any:
        parts = key if isinstance(key, tuple) else (key,)
        if any(isinstance(part, (list, np.ndarray)) for part in parts):
            refuse("an index by an array")
        part = super().__getitem__(key)
        if not isinstance(part, np.ndarray):
            refuse("an index of one element")
        return part

    def astype(self, dtype: Any, *args: Any, **kwargs: Any) -> Any:
        """Return the array itself; another type would have to read it."""
        if np.dtype(dtype) != self.dtype:
            refuse(f"astype({np.dtype(dtype)})")
        return self

    def __array__(self, *_: Any, **__: Any) -> NoReturn:
        refuse("numpy()")

    def __repr__(self) -> str:
        return f"Unknown({self.dtype}, {self.shape})"

    __str__ = __repr__


def _reader(name: str) -> Callable[..., NoReturn]:
    def read(self: Unknown, *_: Any, **__: Any) -> NoReturn:
        refuse(name)

    return read


for _name in _READERS:
    setattr(Unknown, _name, _reader(_name))


def unknown(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Return a C-contiguous array of `shape` without values."""
    return np.ndarray.__new__(Unknown, shape, dtype)


def unknown_like(part: np.ndarray, parts: int) -> np.ndarray:
    """Return an array without values, stored as so many of `part` one behind the other.

    `part` is C-contiguous or an image with memory of its own, as `_core.empty_image` makes them.
    """
    if part.flags.c_contiguous:
        return unknown((part.shape[0] * parts, *part.shape[1:]), part.dtype.name)
    n, c, h, w = part.shape
    memory = unknown((n * parts, h, w, part.strides[3] // part.itemsize), part.dtype.name)
    return memory.transpose(0, 3, 1, 2)[:, :c]
