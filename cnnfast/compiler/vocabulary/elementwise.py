"""Functions of each element, and reductions over axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ... import axes as rules
from ...tensor import Tensor
from .registry import TRANSLATIONS, Given, Names, Translation, translation

if TYPE_CHECKING:
    from ..tracer import Trace


_UNARY = {
    "relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh", "softsign": "Softsign", "mish": "Mish",
    "hardswish": "HardSwish", "selu": "Selu", "neg": "Neg", "abs": "Abs", "exp": "Exp",
    "log": "Log", "sqrt": "Sqrt", "erf": "Erf", "floor": "Floor", "ceil": "Ceil", "round": "Round",
    "sign": "Sign", "reciprocal": "Reciprocal",
}  # fmt: skip


def _unary(operator: str) -> Translation:
    return lambda t, a, y: t.node(operator, [t.value(a["input"])])


TRANSLATIONS.update({name: _unary(operator) for name, operator in _UNARY.items()})


@translation("leaky_relu")
def _leaky_relu(t: Trace, a: Given, y: Any) -> Names:
    return t.node("LeakyRelu", [t.value(a["input"])], alpha=float(a["negative_slope"]))


@translation("elu")
def _elu(t: Trace, a: Given, y: Any) -> Names:
    return t.node("Elu", [t.value(a["input"])], alpha=float(a["alpha"]))


@translation("celu")
def _celu(t: Trace, a: Given, y: Any) -> Names:
    return t.node("Celu", [t.value(a["input"])], alpha=float(a["alpha"]))


@translation("gelu")
def _gelu(t: Trace, a: Given, y: Any) -> Names:
    return t.node("Gelu", [t.value(a["input"])], approximate=a["approximate"])


@translation("silu")
def _silu(t: Trace, a: Given, y: Any) -> Names:
    x = t.value(a["input"])
    return t.node("Mul", [x, t.node("Sigmoid", [x])])


@translation("hardsigmoid")
def _hardsigmoid(t: Trace, a: Given, y: Any) -> Names:
    return t.node("HardSigmoid", [t.value(a["input"])], alpha=1 / 6, beta=0.5)


@translation("softplus")
def _softplus(t: Trace, a: Given, y: Any) -> Names:
    plain = a["beta"] == 1 and a["threshold"] == 20
    return t.node("Softplus", [t.value(a["input"])]) if plain else None


@translation("prelu")
def _prelu(t: Trace, a: Given, y: Any) -> Names:
    slope = a["weight"].array.view(np.ndarray)
    wide = slope.reshape(-1, *[1] * max(a["input"].ndim - 2, 0))
    return t.node("PRelu", [t.value(a["input"]), t.constant(wide, "slope")])


def _clip(t: Trace, x: Tensor, low: float | None, high: float | None) -> Names:
    arrays = [None if bound is None else np.array(bound, np.float32) for bound in (low, high)]
    bounds = ["" if array is None else t.constant(array, "bound") for array in arrays]
    return t.node("Clip", [t.value(x), *bounds])


@translation("relu6")
def _relu6(t: Trace, a: Given, y: Any) -> Names:
    return _clip(t, a["input"], 0, 6)


@translation("hardtanh")
def _hardtanh(t: Trace, a: Given, y: Any) -> Names:
    return _clip(t, a["input"], a["min_val"], a["max_val"])


@translation("clamp")
def _clamp(t: Trace, a: Given, y: Any) -> Names:
    bounds = (a["min"], a["max"])
    if any(isinstance(b, (Tensor, np.ndarray)) for b in bounds):
        return None
    return _clip(t, a["input"], *bounds)


_BINARY = {
    "add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "maximum": "Max", "minimum": "Min",
}  # fmt: skip


def _binary(operator: str) -> Translation:
    def translate(t: Trace, a: Given, y: Any) -> Names:
        if a.get("alpha", 1) != 1 or a.get("rounding_mode") is not None:
            return None
        return t.node(operator, [t.value(a["input"]), t.value(a["other"])])

    return translate


TRANSLATIONS.update({name: _binary(operator) for name, operator in _BINARY.items()})


@translation("pow")
def _pow(t: Trace, a: Given, y: Any) -> Names:
    return t.node("Pow", [t.value(a["input"]), t.value(a["exponent"])])


@translation("square")
def _square(t: Trace, a: Given, y: Any) -> Names:
    x = t.value(a["input"])
    return t.node("Mul", [x, x])


def _along(operator: str) -> Translation:
    """An operator along one axis."""

    def translate(t: Trace, a: Given, y: Any) -> Names:
        if a["dim"] is None:
            return None
        extra: dict[str, Any] = {"keepdims": int(a["keepdim"])} if "keepdim" in a else {}
        axis = rules.axis(a["input"].ndim, a["dim"])
        return t.node(operator, [t.value(a["input"])], axis=axis, **extra)

    return translate


TRANSLATIONS.update({
    "softmax": _along("Softmax"), "log_softmax": _along("LogSoftmax"),
    "argmax": _along("ArgMax"), "argmin": _along("ArgMin"),
})


_REDUCTIONS = {
    "mean": "ReduceMean", "sum": "ReduceSum", "amax": "ReduceMax", "amin": "ReduceMin",
    "prod": "ReduceProd",
}  # fmt: skip


def _reduction(operator: str) -> Translation:
    def translate(t: Trace, a: Given, y: Any) -> Names:
        rank = a["input"].ndim
        axes = range(rank) if a["dim"] is None else rules.axes(rank, a["dim"])
        inputs = [t.value(a["input"]), t.integers(list(axes))]
        return t.node(operator, inputs, keepdims=int(a["keepdim"]))

    return translate


TRANSLATIONS.update({name: _reduction(operator) for name, operator in _REDUCTIONS.items()})
