"""Tensor's operators, conversions to other worlds, and changes in place. `Tensor` inherits them."""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from .tensor_methods import TensorMethods

if TYPE_CHECKING:
    from . import functional
    from .tensor import Tensor

__all__ = ["TensorOperators"]


class TensorOperators(TensorMethods):
    """What Python's syntax and other libraries do with a Tensor."""

    __slots__ = ()
    __array_priority__ = 1000  # ndarray + Tensor gives a Tensor
    __hash__ = object.__hash__  # by identity, although == compares the elements

    # ---- arithmetic ------------------------------------------------------------------------------

    def __add__(self: Any, other: Any) -> Tensor:
        return functional.add(self, other)

    def __radd__(self: Any, other: Any) -> Tensor:
        return functional.add(other, self)

    def __sub__(self: Any, other: Any) -> Tensor:
        return functional.sub(self, other)

    def __rsub__(self: Any, other: Any) -> Tensor:
        return functional.sub(other, self)

    def __mul__(self: Any, other: Any) -> Tensor:
        return functional.mul(self, other)

    def __rmul__(self: Any, other: Any) -> Tensor:
        return functional.mul(other, self)

    def __truediv__(self: Any, other: Any) -> Tensor:
        return functional.div(self, other)

    def __rtruediv__(self: Any, other: Any) -> Tensor:
        return functional.div(other, self)

    def __floordiv__(self: Any, other: Any) -> Tensor:
        return functional.floor_divide(self, other)

    def __rfloordiv__(self: Any, other: Any) -> Tensor:
        return functional.floor_divide(other, self)

    def __mod__(self: Any, other: Any) -> Tensor:
        return functional.remainder(self, other)

    def __rmod__(self: Any, other: Any) -> Tensor:
        return functional.remainder(other, self)

    def __pow__(self: Any, other: Any) -> Tensor:
        return functional.pow(self, other)

    def __rpow__(self: Any, other: Any) -> Tensor:
        return functional.pow(other, self)

    def __matmul__(self: Any, other: Any) -> Tensor:
        return functional.matmul(self, other)

    def __rmatmul__(self: Any, other: Any) -> Tensor:
        return functional.matmul(other, self)

    def __iadd__(self: Any, other: Any) -> Tensor:
        return self.add_(other)

    def __isub__(self: Any, other: Any) -> Tensor:
        return self.sub_(other)

    def __imul__(self: Any, other: Any) -> Tensor:
        return self.mul_(other)

    def __itruediv__(self: Any, other: Any) -> Tensor:
        return self.div_(other)

    def __ipow__(self: Any, other: Any) -> Tensor:
        return self.pow_(other)

    def __neg__(self: Any) -> Tensor:
        return functional.neg(self)

    def __pos__(self: Any) -> Tensor:
        return self

    def __abs__(self: Any) -> Tensor:
        return functional.abs(self)

    # ---- comparison and logic --------------------------------------------------------------------

    def __eq__(self: Any, other: Any) -> Any:
        return NotImplemented if other is None else functional.eq(self, other)

    def __ne__(self: Any, other: Any) -> Any:
        return NotImplemented if other is None else functional.ne(self, other)

    def __lt__(self: Any, other: Any) -> Tensor:
        return functional.lt(self, other)

    def __le__(self: Any, other: Any) -> Tensor:
        return functional.le(self, other)

    def __gt__(self: Any, other: Any) -> Tensor:
        return functional.gt(self, other)

    def __ge__(self: Any, other: Any) -> Tensor:
        return functional.ge(self, other)

    def __and__(self: Any, other: Any) -> Tensor:
        return functional.elementwise.by_numpy("&", np.bitwise_and, self, other)

    def __or__(self: Any, other: Any) -> Tensor:
        return functional.elementwise.by_numpy("|", np.bitwise_or, self, other)

    def __xor__(self: Any, other: Any) -> Tensor:
        return functional.elementwise.by_numpy("^", np.bitwise_xor, self, other)

    __rand__, __ror__, __rxor__ = __and__, __or__, __xor__

    def __invert__(self: Any) -> Tensor:
        return functional.elementwise.by_numpy("~", np.invert, self)

    # ---- indexing --------------------------------------------------------------------------------

    def __getitem__(self: Any, key: Any) -> Tensor:
        return functional.getitem(self, key)

    def __setitem__(self: Any, key: Any, value: Any) -> None:
        functional.setitem(self, key, value)

    def __len__(self: Any) -> builtins.int:
        if self.ndim == 0:
            raise TypeError("a tensor without axes has no len()")
        return self.shape[0]

    def __iter__(self: Any) -> Iterator[Tensor]:
        return iter([functional.getitem(self, i) for i in range(len(self))])

    def __contains__(self: Any, value: Any) -> builtins.bool:
        return bool((self.array == functional.elementwise.plain(value)).any())

    # ---- Python's numbers ------------------------------------------------------------------------

    def item(self: Any) -> Any:
        """Return the one element as Python's float, int or bool."""
        if self.numel() != 1:
            raise ValueError(f"item() needs a tensor of one element, got shape {self.shape}")
        return self.array.item()

    def tolist(self: Any) -> Any:
        """Return the elements as nested lists of Python's numbers."""
        return self.array.tolist()

    def __float__(self: Any) -> builtins.float:
        return float(self.item())

    def __int__(self: Any) -> builtins.int:
        return int(self.item())

    def __bool__(self: Any) -> builtins.bool:
        if self.numel() != 1:
            raise ValueError(
                f"a tensor of shape {self.shape} is neither true nor false: use any() or all()"
            )
        return bool(self.item())

    def __index__(self: Any) -> builtins.int:
        if self.dtype.kind not in "iu":
            raise TypeError(f"only integer tensors can be an index, got {self.dtype}")
        return int(self.item())

    def __format__(self: Any, spec: str) -> str:
        if self.ndim == 0 and spec:
            return format(self.item(), spec)
        return format(repr(self), spec)

    def __repr__(self: Any) -> str:
        text = np.array2string(self.array, separator=", ", prefix="tensor(")
        if self.dtype not in (np.float32, np.int64, np.bool_):
            text += f", dtype={self.dtype}"
        if self.grad_fn is not None:
            text += f", grad_fn=<{self.grad_fn.name}>"
        elif self.requires_grad:
            text += ", requires_grad=True"
        return f"tensor({text})"

    # ---- other libraries -------------------------------------------------------------------------

    def __array__(self: Any, dtype: Any = None, copy: builtins.bool | None = None) -> np.ndarray:
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def __dlpack__(self: Any, **options: Any) -> Any:
        """Return a DLPack capsule over the same memory."""
        if self.requires_grad:
            raise BufferError("a tensor that requires a gradient cannot be exported: use detach()")
        return self.lend().__dlpack__(**options)

    def __dlpack_device__(self: Any) -> tuple[builtins.int, builtins.int]:
        """Return DLPack's name of the CPU."""
        return self.array.__dlpack_device__()

    def __reduce__(self: Any) -> tuple[Any, ...]:
        if self.grad_fn is not None:
            raise RuntimeError("only leaf tensors can be copied deeply or pickled: use detach()")
        from .tensor import Tensor

        return Tensor, (self.array, None, self.requires_grad)

    # ---- types -----------------------------------------------------------------------------------

    def to(self: Any, *args: Any, **kwargs: Any) -> Tensor:
        """Return the Tensor in a dtype, or itself: ``to(dtype)``, ``to(other)``, ``to("cpu")``."""
        for wanted in (*args, *kwargs.values()):
            if isinstance(wanted, str) and wanted.split(":")[0] in ("cuda", "mps", "xpu", "meta"):
                raise ValueError(f"cnnfast computes on the CPU, got device {wanted!r}")
            if isinstance(wanted, functional.elementwise.Tensor):
                return self.type(wanted.dtype)
            if wanted is not None and not isinstance(wanted, bool) and wanted != "cpu":
                return self.type(wanted)
        return self

    def type(self: Any, dtype: Any) -> Tensor:
        """Return the elements in another dtype (floats are float32), itself where it is that."""
        from .tensor import as_float, as_tensor

        if np.dtype(dtype).kind == "f":
            return as_float(self)
        return self if self.dtype == np.dtype(dtype) else as_tensor(self.array, dtype)

    def float(self: Any) -> Tensor:
        """Return the elements as float32."""
        return self.type(np.float32)

    def long(self: Any) -> Tensor:
        """Return the elements as int64."""
        return self.type(np.int64)

    def int(self: Any) -> Tensor:
        """Return the elements as int32."""
        return self.type(np.int32)

    def bool(self: Any) -> Tensor:
        """Return the elements as booleans."""
        return self.type(np.bool_)

    def byte(self: Any) -> Tensor:
        """Return the elements as uint8."""
        return self.type(np.uint8)

    def cpu(self: Any) -> Tensor:
        """Return the Tensor."""
        return self

    def clone(self: Any) -> Tensor:
        """See `cnnfast.functional.clone`."""
        return functional.clone(self)

    # ---- in place --------------------------------------------------------------------------------

    def add_(self: Any, other: Any, *, alpha: builtins.float = 1) -> Tensor:
        """Add alpha * other in place."""
        return functional.add_(self, other, alpha=alpha)

    def sub_(self: Any, other: Any, *, alpha: builtins.float = 1) -> Tensor:
        """Subtract alpha * other in place."""
        return functional.sub_(self, other, alpha=alpha)

    def mul_(self: Any, other: Any) -> Tensor:
        """Multiply by other in place."""
        return functional.mul_(self, other)

    def div_(self: Any, other: Any) -> Tensor:
        """Divide by other in place."""
        return functional.div_(self, other)

    def pow_(self: Any, exponent: Any) -> Tensor:
        """Raise to a power in place."""
        return functional.pow_(self, exponent)

    def clamp_(
        self: Any, min: builtins.float | None = None, max: builtins.float | None = None
    ) -> Tensor:
        """Limit to [min, max] in place."""
        return functional.clamp_(self, min, max)

    def abs_(self: Any) -> Tensor:
        """Replace the elements by their magnitudes."""
        return functional.elementwise.apply_unary("abs", self, inplace=True)

    def exp_(self: Any) -> Tensor:
        """Replace each element x by e ** x."""
        return functional.elementwise.apply_unary("exp", self, inplace=True)

    def log_(self: Any) -> Tensor:
        """Replace the elements by their logarithms."""
        return functional.elementwise.apply_unary("log", self, inplace=True)

    def neg_(self: Any) -> Tensor:
        """Replace the elements by their negatives."""
        return functional.elementwise.apply_unary("neg", self, inplace=True)

    def relu_(self: Any) -> Tensor:
        """Replace each element x by max(x, 0)."""
        return functional.elementwise.apply_unary("relu", self, inplace=True)

    def sigmoid_(self: Any) -> Tensor:
        """Replace the elements by their sigmoids."""
        return functional.elementwise.apply_unary("sigmoid", self, inplace=True)

    def sqrt_(self: Any) -> Tensor:
        """Replace the elements by their square roots."""
        return functional.elementwise.apply_unary("sqrt", self, inplace=True)

    def tanh_(self: Any) -> Tensor:
        """Replace the elements by their hyperbolic tangents."""
        return functional.elementwise.apply_unary("tanh", self, inplace=True)

    def copy_(self: Any, source: Any) -> Tensor:
        """Overwrite the elements with those of `source`, which must broadcast to the shape."""
        functional.setitem(self, (), source)
        return self

    def fill_(self: Any, value: Any) -> Tensor:
        """Set every element to `value`."""
        functional.setitem(self, (), value)
        return self

    def zero_(self: Any) -> Tensor:
        """Set every element to 0."""
        functional.setitem(self, (), 0)
        return self

    def masked_fill_(self: Any, mask: Any, value: builtins.float) -> Tensor:
        """Set the elements where the mask is true to `value`."""
        functional.setitem(self, mask, value)
        return self
