"""Tensor's methods that are functions of `cnnfast.functional` with the Tensor as first argument.

`Tensor` inherits them. `cnnfast.functional` needs Tensor and is put in here by its own last line.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import functional
    from .tensor import Tensor

__all__ = ["TensorMethods"]


class TensorMethods:
    """The functions of a Tensor."""

    __slots__ = ()

    # ---- one operand -----------------------------------------------------------------------------

    def abs(self: Any) -> Tensor:
        """See `cnnfast.functional.abs`."""
        return functional.abs(self)

    def ceil(self: Any) -> Tensor:
        """See `cnnfast.functional.ceil`."""
        return functional.ceil(self)

    def erf(self: Any) -> Tensor:
        """See `cnnfast.functional.erf`."""
        return functional.erf(self)

    def exp(self: Any) -> Tensor:
        """See `cnnfast.functional.exp`."""
        return functional.exp(self)

    def expm1(self: Any) -> Tensor:
        """See `cnnfast.functional.expm1`."""
        return functional.expm1(self)

    def floor(self: Any) -> Tensor:
        """See `cnnfast.functional.floor`."""
        return functional.floor(self)

    def isfinite(self: Any) -> Tensor:
        """See `cnnfast.functional.isfinite`."""
        return functional.isfinite(self)

    def isinf(self: Any) -> Tensor:
        """See `cnnfast.functional.isinf`."""
        return functional.isinf(self)

    def isnan(self: Any) -> Tensor:
        """See `cnnfast.functional.isnan`."""
        return functional.isnan(self)

    def log(self: Any) -> Tensor:
        """See `cnnfast.functional.log`."""
        return functional.log(self)

    def log1p(self: Any) -> Tensor:
        """See `cnnfast.functional.log1p`."""
        return functional.log1p(self)

    def neg(self: Any) -> Tensor:
        """See `cnnfast.functional.neg`."""
        return functional.neg(self)

    def reciprocal(self: Any) -> Tensor:
        """See `cnnfast.functional.reciprocal`."""
        return functional.reciprocal(self)

    def relu(self: Any) -> Tensor:
        """See `cnnfast.functional.relu`."""
        return functional.relu(self)

    def round(self: Any) -> Tensor:
        """See `cnnfast.functional.round`."""
        return functional.round(self)

    def rsqrt(self: Any) -> Tensor:
        """See `cnnfast.functional.rsqrt`."""
        return functional.rsqrt(self)

    def sigmoid(self: Any) -> Tensor:
        """See `cnnfast.functional.sigmoid`."""
        return functional.sigmoid(self)

    def sign(self: Any) -> Tensor:
        """See `cnnfast.functional.sign`."""
        return functional.sign(self)

    def sqrt(self: Any) -> Tensor:
        """See `cnnfast.functional.sqrt`."""
        return functional.sqrt(self)

    def square(self: Any) -> Tensor:
        """See `cnnfast.functional.square`."""
        return functional.square(self)

    def tanh(self: Any) -> Tensor:
        """See `cnnfast.functional.tanh`."""
        return functional.tanh(self)

    def trunc(self: Any) -> Tensor:
        """See `cnnfast.functional.trunc`."""
        return functional.trunc(self)

    # ---- two operands ----------------------------------------------------------------------------

    def add(self: Any, other: Any, *, alpha: float = 1) -> Tensor:
        """See `cnnfast.functional.add`."""
        return functional.add(self, other, alpha=alpha)

    def sub(self: Any, other: Any, *, alpha: float = 1) -> Tensor:
        """See `cnnfast.functional.sub`."""
        return functional.sub(self, other, alpha=alpha)

    def mul(self: Any, other: Any) -> Tensor:
        """See `cnnfast.functional.mul`."""
        return functional.mul(self, other)

    def div(self: Any, other: Any, *, rounding_mode: str | None = None) -> Tensor:
        """See `cnnfast.functional.div`."""
        return functional.div(self, other, rounding_mode=rounding_mode)

    def floor_divide(self: Any, other: Any) -> Tensor:
        """See `cnnfast.functional.floor_divide`."""
        return functional.floor_divide(self, other)

    def remainder(self: Any, other: Any) -> Tensor:
        """See `cnnfast.functional.remainder`."""
        return functional.remainder(self, other)

    def pow(self: Any, exponent: Any) -> Tensor:
        """See `cnnfast.functional.pow`."""
        return functional.pow(self, exponent)

    def maximum(self: Any, other: Any) -> Tensor:
        """See `cnnfast.functional.maximum`."""
        return functional.maximum(self, other)

    def minimum(self: Any, other: Any) -> Tensor:
        """See `cnnfast.functional.minimum`."""
        return functional.minimum(self, other)

    def eq(self: Any, other: Any) -> Tensor:
        """See `cnnfast.functional.eq`."""
        return functional.eq(self, other)

    def ne(self: Any, other: Any) -> Tensor:
        """See `cnnfast.functional.ne`."""
        return functional.ne(self, other)

    def lt(self: Any, other: Any) -> Tensor:
        """See `cnnfast.functional.lt`."""
        return functional.lt(self, other)

    def le(self: Any, other: Any) -> Tensor:
        """See `cnnfast.functional.le`."""
        return functional.le(self, other)

    def gt(self: Any, other: Any) -> Tensor:
        """See `cnnfast.functional.gt`."""
        return functional.gt(self, other)

    def ge(self: Any, other: Any) -> Tensor:
        """See `cnnfast.functional.ge`."""
        return functional.ge(self, other)

    def matmul(self: Any, other: Any) -> Tensor:
        """See `cnnfast.functional.matmul`."""
        return functional.matmul(self, other)

    def masked_fill(self: Any, mask: Any, value: float) -> Tensor:
        """See `cnnfast.functional.masked_fill`."""
        return functional.masked_fill(self, mask, value)

    def where(self: Any, condition: Any, other: Any) -> Tensor:
        """See `cnnfast.functional.where`."""
        return functional.where(condition, self, other)

    def clamp(self: Any, min: Any = None, max: Any = None) -> Tensor:
        """See `cnnfast.functional.clamp`."""
        return functional.clamp(self, min, max)

    def clip(self: Any, min: Any = None, max: Any = None) -> Tensor:
        """See `cnnfast.functional.clamp`."""
        return functional.clamp(self, min, max)

    # ---- reductions ------------------------------------------------------------------------------

    def sum(self: Any, dim: int | Sequence[int] | None = None, keepdim: bool = False) -> Tensor:
        """See `cnnfast.functional.sum`."""
        return functional.sum(self, dim, keepdim)

    def mean(self: Any, dim: int | Sequence[int] | None = None, keepdim: bool = False) -> Tensor:
        """See `cnnfast.functional.mean`."""
        return functional.mean(self, dim, keepdim)

    def amax(self: Any, dim: int | Sequence[int] | None = None, keepdim: bool = False) -> Tensor:
        """See `cnnfast.functional.amax`."""
        return functional.amax(self, dim, keepdim)

    def amin(self: Any, dim: int | Sequence[int] | None = None, keepdim: bool = False) -> Tensor:
        """See `cnnfast.functional.amin`."""
        return functional.amin(self, dim, keepdim)

    def var(
        self: Any,
        dim: int | Sequence[int] | None = None,
        unbiased: bool = True,
        keepdim: bool = False,
        *,
        correction: float | None = None,
    ) -> Tensor:
        """See `cnnfast.functional.var`."""
        return functional.var(self, dim, unbiased, keepdim, correction=correction)

    def std(
        self: Any,
        dim: int | Sequence[int] | None = None,
        unbiased: bool = True,
        keepdim: bool = False,
        *,
        correction: float | None = None,
    ) -> Tensor:
        """See `cnnfast.functional.std`."""
        return functional.std(self, dim, unbiased, keepdim, correction=correction)

    def max(self: Any, dim: Any = None, keepdim: bool = False) -> Any:
        """See `cnnfast.functional.max`."""
        return functional.max(self, dim, keepdim)

    def min(self: Any, dim: Any = None, keepdim: bool = False) -> Any:
        """See `cnnfast.functional.min`."""
        return functional.min(self, dim, keepdim)

    def argmax(self: Any, dim: int | None = None, keepdim: bool = False) -> Tensor:
        """See `cnnfast.functional.argmax`."""
        return functional.argmax(self, dim, keepdim)

    def argmin(self: Any, dim: int | None = None, keepdim: bool = False) -> Tensor:
        """See `cnnfast.functional.argmin`."""
        return functional.argmin(self, dim, keepdim)

    def prod(self: Any, dim: int | None = None, keepdim: bool = False) -> Tensor:
        """See `cnnfast.functional.prod`."""
        return functional.prod(self, dim, keepdim)

    def all(self: Any, dim: int | Sequence[int] | None = None, keepdim: bool = False) -> Tensor:
        """See `cnnfast.functional.all`."""
        return functional.all(self, dim, keepdim)

    def any(self: Any, dim: int | Sequence[int] | None = None, keepdim: bool = False) -> Tensor:
        """See `cnnfast.functional.any`."""
        return functional.any(self, dim, keepdim)

    def norm(
        self: Any,
        p: float | str = 2.0,
        dim: int | Sequence[int] | None = None,
        keepdim: bool = False,
    ) -> Tensor:
        """See `cnnfast.functional.norm`."""
        return functional.norm(self, p, dim, keepdim)

    def softmax(self: Any, dim: int) -> Tensor:
        """See `cnnfast.functional.softmax`."""
        return functional.softmax(self, dim)

    def log_softmax(self: Any, dim: int) -> Tensor:
        """See `cnnfast.functional.log_softmax`."""
        return functional.log_softmax(self, dim)

    # ---- shapes ----------------------------------------------------------------------------------

    def reshape(self: Any, *shape: int | Sequence[int]) -> Tensor:
        """See `cnnfast.functional.reshape`."""
        return functional.reshape(self, *shape)

    def view(self: Any, *shape: int | Sequence[int]) -> Tensor:
        """See `cnnfast.functional.view`."""
        return functional.view(self, *shape)

    def permute(self: Any, *dims: int | Sequence[int]) -> Tensor:
        """See `cnnfast.functional.permute`."""
        return functional.permute(self, *dims)

    def expand(self: Any, *sizes: int | Sequence[int]) -> Tensor:
        """See `cnnfast.functional.expand`."""
        return functional.expand(self, *sizes)

    def repeat(self: Any, *sizes: int | Sequence[int]) -> Tensor:
        """See `cnnfast.functional.repeat`."""
        return functional.repeat(self, *sizes)

    def flip(self: Any, *dims: int | Sequence[int]) -> Tensor:
        """See `cnnfast.functional.flip`."""
        return functional.flip(self, *dims)

    def flatten(self: Any, start_dim: int = 0, end_dim: int = -1) -> Tensor:
        """See `cnnfast.functional.flatten`."""
        return functional.flatten(self, start_dim, end_dim)

    def unflatten(self: Any, dim: int, sizes: Sequence[int]) -> Tensor:
        """See `cnnfast.functional.unflatten`."""
        return functional.unflatten(self, dim, sizes)

    def transpose(self: Any, dim0: int, dim1: int) -> Tensor:
        """See `cnnfast.functional.transpose`."""
        return functional.transpose(self, dim0, dim1)

    def swapaxes(self: Any, dim0: int, dim1: int) -> Tensor:
        """See `cnnfast.functional.transpose`."""
        return functional.transpose(self, dim0, dim1)

    def movedim(self: Any, source: int, destination: int) -> Tensor:
        """See `cnnfast.functional.movedim`."""
        return functional.movedim(self, source, destination)

    def squeeze(self: Any, dim: int | Sequence[int] | None = None) -> Tensor:
        """See `cnnfast.functional.squeeze`."""
        return functional.squeeze(self, dim)

    def unsqueeze(self: Any, dim: int) -> Tensor:
        """See `cnnfast.functional.unsqueeze`."""
        return functional.unsqueeze(self, dim)

    def broadcast_to(self: Any, shape: Sequence[int]) -> Tensor:
        """See `cnnfast.functional.broadcast_to`."""
        return functional.broadcast_to(self, shape)

    def contiguous(self: Any) -> Tensor:
        """See `cnnfast.functional.contiguous`."""
        return functional.contiguous(self)

    # ---- parts -----------------------------------------------------------------------------------

    def narrow(self: Any, dim: int, start: int, length: int) -> Tensor:
        """See `cnnfast.functional.narrow`."""
        return functional.narrow(self, dim, start, length)

    def select(self: Any, dim: int, index: int) -> Tensor:
        """See `cnnfast.functional.select`."""
        return functional.select(self, dim, index)

    def split(self: Any, split_size: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
        """See `cnnfast.functional.split`."""
        return functional.split(self, split_size, dim)

    def chunk(self: Any, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
        """See `cnnfast.functional.chunk`."""
        return functional.chunk(self, chunks, dim)

    def unbind(self: Any, dim: int = 0) -> tuple[Tensor, ...]:
        """See `cnnfast.functional.unbind`."""
        return functional.unbind(self, dim)

    def gather(self: Any, dim: int, index: Any) -> Tensor:
        """See `cnnfast.functional.gather`."""
        return functional.gather(self, dim, index)

    def index_select(self: Any, dim: int, index: Any) -> Tensor:
        """See `cnnfast.functional.index_select`."""
        return functional.index_select(self, dim, index)

    def view_as(self: Any, other: Tensor) -> Tensor:
        """Return ``view(other.shape)``."""
        return functional.view(self, other.shape)

    def reshape_as(self: Any, other: Tensor) -> Tensor:
        """Return ``reshape(other.shape)``."""
        return functional.reshape(self, other.shape)

    def expand_as(self: Any, other: Tensor) -> Tensor:
        """Return ``expand(other.shape)``."""
        return functional.expand(self, other.shape)

    def t(self: Any) -> Tensor:
        """Return the transpose of a matrix; fewer axes stay as they are."""
        if self.ndim > 2:
            raise ValueError(f"t: expected at most 2 axes, got shape {self.shape}")
        return functional.permute(self, range(self.ndim)[::-1])

    @property
    def T(self: Any) -> Tensor:
        """A view with the axes in reverse order."""
        return functional.permute(self, range(self.ndim)[::-1])

    @property
    def mT(self: Any) -> Tensor:
        """A view with the last two axes exchanged."""
        return functional.transpose(self, -2, -1)
