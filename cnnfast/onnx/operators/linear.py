"""Matrix products: each function is the standard's operator of its name."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ... import functional as F
from .elementwise import in_float32, lined_up, narrow_float
from .registry import operator
from .values import Value, array, is_tensor


@in_float32
def product(a: Value, b: Value) -> Value:
    """Return a @ b with NumPy's rules: the engine's on floats of up to 32 bits, else NumPy's."""
    if is_tensor(a) and is_tensor(b):
        return F.matmul(a, b)
    return array(a) @ array(b)


@operator()
def MatMul(a: Value, b: Value) -> Value:
    return product(a, b)


@operator()
@in_float32
def Gemm(
    a: Value, b: Value, c: Value = None,
    *, alpha: float = 1.0, beta: float = 1.0, transA: int = 0, transB: int = 0,
    broadcast: int = 0,
) -> Value:
    """alpha * a @ b + beta * c; a linear layer where c is one number a column."""
    if transA:
        a = a.T
    weight = b if transB else b.T
    a_row = c is None or c.shape in ((weight.shape[0],), (1, weight.shape[0]))
    if is_tensor(a) and is_tensor(b) and alpha == beta == 1 and a_row:
        return F.linear(a, weight, c if c is None else c.reshape((-1,)))
    y = product(a, weight.T)
    if alpha != 1:
        y = _scaled(y, alpha)
    if c is None or beta == 0:
        return y
    c = lined_up(y, c, 1 if broadcast and c.ndim == 1 else None)
    c = c if beta == 1 else _scaled(c, beta)
    return F.add(y, c) if is_tensor(y) else y + array(c)


def _scaled(x: Value, factor: float) -> Value:
    return F.mul(x, factor) if is_tensor(x) else (array(x) * factor).astype(x.dtype)


@operator()
def Einsum(*operands: Value, equation: str) -> Value:
    """Two float32 operands whose letters are a product of matrices go through the engine."""
    if len(operands) == 2 and all(map(is_tensor, operands)):
        y = _einsum_product(equation, *operands)
        if y is not None:
            return y
    arrays = [array(x) for x in operands]
    wide = [x.astype(np.float32) if narrow_float(x.dtype) else x for x in arrays]
    return np.asarray(np.einsum(equation, *wide, optimize=True)).astype(arrays[0].dtype)


def _einsum_product(equation: str, a: Any, b: Any) -> Any:
    """Return the einsum as permute, matmul, permute; None where it is not one."""
    left, arrow, out = equation.replace(" ", "").partition("->")
    first, _, second = left.partition(",")
    letters = (first, second, out)
    if not arrow or "." in equation or any(len(set(s)) != len(s) for s in letters):
        return None
    summed = [s for s in first if s in second and s not in out]
    batch = [s for s in first if s in second and s in out]
    rows, cols = ([s for s in own if s not in other] for own, other in (
        (first, second), (second, first)))
    if not summed or any(s not in out for s in rows + cols):
        return None
    size = dict(zip(first + second, a.shape + b.shape, strict=True))
    extent = {name: [size[s] for s in group] for name, group in (
        ("batch", batch), ("rows", rows), ("cols", cols))}
    depth = math.prod(size[s] for s in summed)
    x = a.permute([first.index(s) for s in batch + rows + summed])
    y = b.permute([second.index(s) for s in batch + summed + cols])
    c = F.matmul(
        x.reshape((*extent["batch"], math.prod(extent["rows"]), depth)),
        y.reshape((*extent["batch"], depth, math.prod(extent["cols"]))),
    ).reshape(extent["batch"] + extent["rows"] + extent["cols"])
    order = batch + rows + cols
    return c.permute([order.index(s) for s in out])


@operator(host=True)
def Det(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.linalg.det(x.astype(np.float64))).astype(x.dtype)
