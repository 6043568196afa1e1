"""Trigonometry and the hyperbolic functions, in NumPy: each the standard's operator of its name."""

from __future__ import annotations

import numpy as np

from .elementwise import unary
from .registry import operator


@operator(host=True)
def Sin(x: np.ndarray) -> np.ndarray:
    return _computed(np.sin, x)


@operator(host=True)
def Cos(x: np.ndarray) -> np.ndarray:
    return _computed(np.cos, x)


@operator(host=True)
def Tan(x: np.ndarray) -> np.ndarray:
    return _computed(np.tan, x)


@operator(host=True)
def Asin(x: np.ndarray) -> np.ndarray:
    return _computed(np.arcsin, x)


@operator(host=True)
def Acos(x: np.ndarray) -> np.ndarray:
    return _computed(np.arccos, x)


@operator(host=True)
def Atan(x: np.ndarray) -> np.ndarray:
    return _computed(np.arctan, x)


@operator(host=True)
def Sinh(x: np.ndarray) -> np.ndarray:
    return _computed(np.sinh, x)


@operator(host=True)
def Cosh(x: np.ndarray) -> np.ndarray:
    return _computed(np.cosh, x)


@operator(host=True)
def Asinh(x: np.ndarray) -> np.ndarray:
    return _computed(np.arcsinh, x)


@operator(host=True)
def Acosh(x: np.ndarray) -> np.ndarray:
    return _computed(np.arccosh, x)


@operator(host=True)
def Atanh(x: np.ndarray) -> np.ndarray:
    return _computed(np.arctanh, x)


def _computed(function: np.ufunc, x: np.ndarray) -> np.ndarray:
    result: np.ndarray = unary(x, function, function)
    return result
