"""New Tensors: constants, ranges and random numbers, with torch's names and arguments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import random
from .tensor import ArrayLike, Tensor, as_tensor

__all__ = [
    "arange", "empty", "empty_like", "eye", "from_dlpack", "from_numpy", "full", "full_like",
    "linspace", "ones", "ones_like", "rand", "rand_like", "randint", "randn", "randn_like",
    "randperm", "zeros", "zeros_like",
]

Size = int | Sequence[int]


def _sizes(size: tuple[Size, ...]) -> tuple[int, ...]:
    """Return the sizes of f(2, 3) or f((2, 3)) as one tuple."""
    if len(size) == 1 and not isinstance(size[0], (int, np.integer)):
        return tuple(int(n) for n in size[0])
    return tuple(int(n) for n in size)  # type: ignore[arg-type]


def _made(array: np.ndarray, requires_grad: bool) -> Tensor:
    result = as_tensor(array)
    if requires_grad:
        result.requires_grad = True
    return result


def full(
    size: Size, fill_value: float, *, dtype: Any = None, requires_grad: bool = False
) -> Tensor:
    """Return a Tensor filled with one value.

    Parameters
    ----------
    size : int or sequence of int
        The shape.
    fill_value : number
        The value; where `dtype` is left out it decides the type (float32, int64 or bool).
    dtype : numpy dtype, optional
        Of the elements.
    requires_grad : bool
        Whether `backward` collects a gradient.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.full((2,), 3.0)
    tensor([3., 3.])
    """
    return _made(np.full(size, fill_value, dtype), requires_grad)


def zeros(*size: Size, dtype: Any = np.float32, requires_grad: bool = False) -> Tensor:
    """Return a Tensor of zeros.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.zeros(2)
    tensor([0., 0.])
    """
    return _made(np.zeros(_sizes(size), dtype), requires_grad)


def ones(*size: Size, dtype: Any = np.float32, requires_grad: bool = False) -> Tensor:
    """Return a Tensor of ones.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.ones(1, 2)
    tensor([[1., 1.]])
    """
    return _made(np.ones(_sizes(size), dtype), requires_grad)


def empty(*size: Size, dtype: Any = np.float32, requires_grad: bool = False) -> Tensor:
    """Return a Tensor whose elements are not set.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.empty(3, 4).shape
    (3, 4)
    """
    return _made(np.empty(_sizes(size), dtype), requires_grad)


def _like(input: ArrayLike, dtype: Any) -> tuple[tuple[int, ...], Any]:
    source = as_tensor(input)
    return source.shape, source.dtype if dtype is None else dtype


def zeros_like(input: ArrayLike, *, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Return zeros of the shape and, unless given, the dtype of `input`.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.zeros_like(cnnfast.ones(2))
    tensor([0., 0.])
    """
    return _made(np.zeros(*_like(input, dtype)), requires_grad)


def ones_like(input: ArrayLike, *, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Return ones of the shape and, unless given, the dtype of `input`.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.ones_like(cnnfast.zeros(2))
    tensor([1., 1.])
    """
    return _made(np.ones(*_like(input, dtype)), requires_grad)


def empty_like(input: ArrayLike, *, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Return a Tensor of the shape and, unless given, the dtype of `input`; elements not set.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.empty_like(cnnfast.zeros(2)).shape
    (2,)
    """
    return _made(np.empty(*_like(input, dtype)), requires_grad)


def full_like(
    input: ArrayLike, fill_value: float, *, dtype: Any = None, requires_grad: bool = False
) -> Tensor:
    """Return `fill_value` in the shape and, unless given, the dtype of `input`.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.full_like(cnnfast.zeros(2), 5.0)
    tensor([5., 5.])
    """
    shape, kind = _like(input, dtype)
    return _made(np.full(shape, fill_value, kind), requires_grad)


def arange(
    start: float, end: float | None = None, step: float = 1, *, dtype: Any = None
) -> Tensor:
    """Return start, start + step, ... up to and without end; ``arange(n)`` counts from 0.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.arange(3)
    tensor([0, 1, 2])
    """
    bounds: Any = (0, start, step) if end is None else (start, end, step)
    return as_tensor(np.arange(*bounds, dtype=dtype))


def linspace(start: float, end: float, steps: int) -> Tensor:
    """Return `steps` values at equal distances from start to end, both included.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.linspace(0, 1, 3)
    tensor([0. , 0.5, 1. ])
    """
    return as_tensor(np.linspace(start, end, steps, dtype=np.float32))


def eye(n: int, m: int | None = None) -> Tensor:
    """Return an (n, m) matrix with ones on the diagonal and zeros elsewhere.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.eye(2)
    tensor([[1., 0.],
            [0., 1.]])
    """
    return as_tensor(np.eye(n, m, dtype=np.float32))


def from_numpy(array: np.ndarray) -> Tensor:
    """Return a Tensor over the memory of `array`; float16 and float64 are copied to float32.

    Raises
    ------
    TypeError
        For anything but an ndarray of numbers.

    Examples
    --------
    >>> import cnnfast, numpy
    >>> array = numpy.zeros(2, numpy.float32)
    >>> cnnfast.from_numpy(array).fill_(7.0).shape, array
    ((2,), array([7., 7.], dtype=float32))
    """
    if not isinstance(array, np.ndarray):
        raise TypeError(f"from_numpy: expected an ndarray, got {type(array).__name__}")
    return Tensor.wrap(as_tensor(array).array)


def from_dlpack(source: Any) -> Tensor:
    """Return a Tensor over the memory of another library's array that speaks DLPack.

    Parameters
    ----------
    source
        Anything with ``__dlpack__``, for example a torch tensor, on the CPU. float64 is copied.

    Examples
    --------
    >>> import cnnfast, numpy
    >>> cnnfast.from_dlpack(numpy.ones(2, numpy.float32))
    tensor([1., 1.])
    """
    return from_numpy(np.from_dlpack(source))


def rand(*size: Size, requires_grad: bool = False) -> Tensor:
    """Return random numbers, uniform on [0, 1), from the generator of `cnnfast.manual_seed`.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.rand(2, 3).shape
    (2, 3)
    """
    return _made(random.generator().random(_sizes(size), np.float32), requires_grad)


def randn(*size: Size, requires_grad: bool = False) -> Tensor:
    """Return random numbers of the standard normal distribution.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.randn(2, 3).shape
    (2, 3)
    """
    return _made(random.generator().standard_normal(_sizes(size), np.float32), requires_grad)


def rand_like(input: ArrayLike, *, requires_grad: bool = False) -> Tensor:
    """Return `rand` of the shape of `input`.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.rand_like(cnnfast.zeros(3)).shape
    (3,)
    """
    return rand(as_tensor(input).shape, requires_grad=requires_grad)


def randn_like(input: ArrayLike, *, requires_grad: bool = False) -> Tensor:
    """Return `randn` of the shape of `input`.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.randn_like(cnnfast.zeros(3)).shape
    (3,)
    """
    return randn(as_tensor(input).shape, requires_grad=requires_grad)


def randint(low: int, high: int | None = None, size: Size = ()) -> Tensor:
    """Return random integers (int64) from low to high - 1; ``randint(n, size=...)`` starts at 0.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.randint(0, 10, (2, 3)).shape
    (2, 3)
    """
    return as_tensor(np.asarray(random.generator().integers(low, high, size)))


def randperm(n: int) -> Tensor:
    """Return 0 .. n - 1 (int64) in random order.

    Examples
    --------
    >>> import cnnfast
    >>> sorted(cnnfast.randperm(3).tolist())
    [0, 1, 2]
    """
    return as_tensor(random.generator().permutation(n))
