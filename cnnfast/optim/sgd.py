"""Stochastic gradient descent."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _core
from ..tensor import Tensor
from .optimizer import Optimizer, Params, State, check_range

__all__ = ["SGD"]


class _Buffer(Tensor):
    """A momentum buffer with a number in memory that says whether anything was written into it."""

    __slots__ = ("begun",)

    def __init__(self, data: np.ndarray) -> None:
        super().__init__(data)
        self.begun = np.zeros(1, np.int64)


class SGD(Optimizer):
    """Stochastic gradient descent with momentum.

    With g the gradient plus `weight_decay` times the parameter: ``buffer = momentum*buffer +
    (1 - dampening)*g`` (the first time ``buffer = g``), and the parameter moves by ``-lr*buffer``,
    or by ``-lr*(g + momentum*buffer)`` with `nesterov`.

    Parameters
    ----------
    params : iterable of Tensors, or of dicts
    lr : float
    momentum, dampening, weight_decay : float
    nesterov : bool
        Needs a momentum and no dampening.
    maximize : bool
        Climb instead of descend.

    Raises
    ------
    ValueError
        A setting is out of its range.

    Notes
    -----
    Source: Sutskever et al., On the Importance of Initialization and Momentum, ICML 2013, in
    torch's form, where the learning rate does not enter the buffer.

    Examples
    --------
    >>> import cnnfast
    >>> w = cnnfast.nn.Parameter(cnnfast.tensor([1.0]))
    >>> optimizer = cnnfast.optim.SGD([w], lr=0.1, momentum=0.9)
    >>> (w * 2.0).sum().backward()
    >>> optimizer.step()
    >>> round(float(w), 4)
    0.8
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        check_range("learning rate", lr)
        check_range("momentum value", momentum)
        check_range("weight_decay value", weight_decay)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        settings = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
        }
        super().__init__(params, settings)

    def _numbers(self, group: dict[str, Any]) -> tuple[float, ...]:
        return group["lr"], group["momentum"], group["dampening"], group["weight_decay"]

    def _update(
        self, param: np.ndarray, grad: np.ndarray, state: State, group: dict[str, Any],
        settings: np.ndarray,
    ) -> None:
        buffer, begun = None, None
        if group["momentum"] != 0:
            if state.get("momentum_buffer") is None:
                state["momentum_buffer"] = _Buffer(np.zeros(param.shape, np.float32))
            buffer = state["momentum_buffer"].array
            begun = getattr(state["momentum_buffer"], "begun", None)  # a loaded one has begun
        _core.sgd_update(param, buffer, begun, grad, settings, group["nesterov"])
