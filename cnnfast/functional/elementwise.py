"""Running the tables of element-wise functions on Tensors: broadcasting, gradients, in place.

The functions themselves are rows of csrc/tiles/elementwise.def; `cnnfast.functional.activation` and
`cnnfast.functional.arithmetic` give them torch's names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .. import _core, shapes
from ..autograd import Backward, record, record_in_place, wants_gradient
from ..layout import empty_result
from ..replay import refuse_replay
from ..tensor import Tensor, as_float

__all__ = ["BinaryRule", "Operand", "apply_binary", "apply_unary", "compute", "unbroadcast"]

Operand = Any
"""A Tensor, array or number."""


def aligned(array: np.ndarray, ndim: int) -> np.ndarray:
    """Return a view of `array` with axes of size 1 put before its own up to `ndim`."""
    return array if array.ndim == ndim else array[(None,) * (ndim - array.ndim) + (...,)]


def compute(kind: str, *operands: np.ndarray, alpha: float = 0.0) -> np.ndarray:
    """Return row `kind` of the table of two or three operands, broadcast to a new array."""
    shape = shapes.broadcast(*[operand.shape for operand in operands])
    views = [aligned(operand, len(shape)) for operand in operands]
    y = empty_result(shape, *views)
    if len(views) == 2:
        _core.binary(kind, y, views[0], views[1], alpha)
    else:
        _core.ternary(kind, y, views[0], views[1], views[2], alpha)
    return y


def unbroadcast(dy: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the sum of `dy` over the axes that were broadcast from `shape`."""
    if dy.shape == shape:
        return dy
    lead = (1,) * (dy.ndim - len(shape))
    total = _core.empty(lead + shape)
    _core.reduce("sum", total, dy)
    return total.reshape(shape)


def apply_unary(
    kind: str, x: Tensor, alpha: float = 0.0, beta: float = 0.0, inplace: bool = False
) -> Tensor:
    """Return row `kind` of the table applied to x, with its gradient.

    Parameters
    ----------
    kind : str
        One of ``_core.UNARY_KINDS``.
    x : Tensor
        Any shape; computes in float32.
    alpha, beta : float
        The function's attributes.
    inplace : bool
        Write the result over x, which must be a float32 Tensor.
    """
    if inplace:
        return _apply_unary_in_place(kind, x, alpha, beta)
    x = as_float(x)
    y = empty_result(x.shape, x.array)
    _core.unary(kind, y, x.array, alpha, beta)
    by_result = kind in _core.UNARY_BY_RESULT
    backward = _unary_backward(kind, y if by_result else x.array, alpha, beta)
    return record(y, (x,), backward, () if by_result else (x,), result_saved=by_result)


def _apply_unary_in_place(kind: str, x: Tensor, alpha: float, beta: float) -> Tensor:
    """As `apply_unary`; a derivative that needs the overwritten input keeps a copy of it."""
    array = saved = writable(x)
    by_result = kind in _core.UNARY_BY_RESULT or (kind == "leaky_relu" and alpha >= 0)
    if not by_result and wants_gradient((x,)):
        saved = copied(array)
    _core.unary(kind, array, array, alpha, beta)
    backward = _unary_backward(kind, saved, alpha, beta)
    return record_in_place(x, (x,), backward, (x,) if by_result else ())


def _unary_backward(kind: str, saved: np.ndarray, alpha: float, beta: float) -> Backward:
    def backward(dy: np.ndarray, needs: tuple[bool, ...]) -> tuple[np.ndarray | None, ...]:
        dx = empty_result(saved.shape, saved)
        _core.unary_backward(kind, dx, dy, saved, alpha, beta)
        return (dx,)

    backward.__qualname__ = kind
    return backward


def writable(x: Tensor) -> np.ndarray:
    """Return the array of x, which an operation is about to overwrite, or say why it cannot."""
    if not isinstance(x, Tensor) or x.dtype != np.float32:
        given = f"a tensor of {x.dtype}" if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"only a float32 tensor can be changed in place here, got {given}")
    x.guard_in_place()
    return x.array


def copied(array: np.ndarray) -> np.ndarray:
    """Return a float32 copy in the same layout."""
    copy = empty_result(array.shape, array)
    _core.copy(copy, array)
    return copy


Gradient = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""From dy and both operands, one operand's gradient before the sum over broadcast axes."""


class BinaryRule(NamedTuple):
    """An operation on two operands a and b.

    Attributes
    ----------
    kind : str
        One of ``_core.BINARY_KINDS``.
    da, db : callable
        The gradients by a and by b.
    da_reads, db_reads : str
        Which operands each gradient reads: ``""``, ``"a"``, ``"b"`` or ``"ab"``.
    exact : callable or None
        NumPy's function for two operands of integers or booleans, which has no gradient; None
        where these compute in float32, too.
    """

    kind: str
    da: Gradient
    db: Gradient
    da_reads: str = ""
    db_reads: str = ""
    exact: Callable[..., Any] | None = None


def is_exact(value: Any) -> bool:
    """Whether `value` is an integer or boolean, or a Tensor or array of these."""
    if isinstance(value, (Tensor, np.ndarray)):
        return value.dtype.kind in "iub"
    return isinstance(value, (int, np.integer, np.bool_))


def by_numpy(name: str, function: Callable[..., Any], *operands: Any, **options: Any) -> Tensor:
    """Return what NumPy's function makes of integers, booleans or comparisons, as a Tensor."""
    refuse_replay(f"{name} of integers or booleans")
    return Tensor.wrap(np.asarray(function(*map(plain, operands), **options)))


def plain(value: Any) -> Any:
    """Return a Tensor's array, anything else as it is."""
    return value.array if isinstance(value, Tensor) else value


def apply_binary(
    rule: BinaryRule, a: Any, b: Any, alpha: float = 0.0, inplace: bool = False
) -> Tensor:
    """Return `rule` applied to a and b with broadcasting, written over a where `inplace`."""
    if rule.exact is not None and is_exact(a) and is_exact(b):
        return _apply_exact(rule.kind, rule.exact, a, b, inplace)
    out = writable(a) if inplace else None
    a, b = as_float(a), as_float(b)
    reads = (rule.da_reads if a.requires_grad else "") + (rule.db_reads if b.requires_grad else "")
    a_array, b_array, a_shape, b_shape = a.array, b.array, a.shape, b.shape
    if out is None:
        y = compute(rule.kind, a_array, b_array, alpha=alpha)
    else:
        if shapes.broadcast(a_shape, b_shape) != a_shape:
            raise ValueError(f"an operand of shape {b_shape} does not fit in place into {a_shape}")
        if np.may_share_memory(out, b_array):
            b_array = copied(b_array)
        if "a" in reads and wants_gradient((a, b)):
            a_array = copied(a_array)
        _core.binary(rule.kind, out, out, aligned(b_array, out.ndim), alpha)

    def backward(dy: np.ndarray, needs: tuple[bool, ...]) -> tuple[np.ndarray | None, ...]:
        da = unbroadcast(rule.da(dy, a_array, b_array), a_shape) if needs[0] else None
        db = unbroadcast(rule.db(dy, a_array, b_array), b_shape) if needs[1] else None
        return da, db

    backward.__qualname__ = rule.kind
    saved = ((a,) if "a" in reads else ()) + ((b,) if "b" in reads else ())
    if out is None:
        return record(y, (a, b), backward, saved)
    return record_in_place(a, (a, b), backward, tuple(t for t in saved if t is not a))


def _apply_exact(
    name: str, function: Callable[..., Any], a: Any, b: Any, inplace: bool
) -> Tensor:
    if not inplace:
        return by_numpy(name, function, a, b)
    refuse_replay(f"{name} of integers or booleans")
    function(a.array, plain(b), out=a.array)
    a.bump_version()
    return a
