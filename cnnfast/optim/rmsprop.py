"""RMSprop."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _core
from ..tensor import Tensor
from .optimizer import Optimizer, Params, State, check_range

__all__ = ["RMSprop"]


class RMSprop(Optimizer):
    """Steps scaled by the root of a running mean of the squared gradient.

    Parameters
    ----------
    params : iterable of Tensors, or of dicts
    lr : float
    alpha : float
        What the running mean keeps at each step.
    eps : float
        Added to the root.
    weight_decay : float
        Times the parameter, added to the gradient.
    momentum : float
    centered : bool
        Divide by an estimate of the standard deviation instead of the root mean square.
    maximize : bool
        Climb instead of descend.

    Raises
    ------
    ValueError
        A setting is out of its range.

    Notes
    -----
    Source: Hinton, Neural Networks for Machine Learning, lecture 6e, 2012; centred as in Graves,
    Generating Sequences, 2013 (arXiv:1308.0850).

    Examples
    --------
    >>> import cnnfast
    >>> w = cnnfast.nn.Parameter(cnnfast.tensor([1.0]))
    >>> optimizer = cnnfast.optim.RMSprop([w], lr=0.01)
    >>> (w * 2.0).sum().backward()
    >>> optimizer.step()
    >>> round(float(w), 4)
    0.9
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        check_range("learning rate", lr)
        check_range("epsilon value", eps)
        check_range("momentum value", momentum)
        check_range("weight_decay value", weight_decay)
        check_range("alpha value", alpha)
        settings = {
            "lr": lr,
            "momentum": momentum,
            "alpha": alpha,
            "eps": eps,
            "centered": centered,
            "weight_decay": weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, settings)

    def _numbers(self, group: dict[str, Any]) -> tuple[float, ...]:
        names = ("lr", "alpha", "eps", "weight_decay", "momentum")
        return tuple(group[name] for name in names)

    def _update(
        self, param: np.ndarray, grad: np.ndarray, state: State, group: dict[str, Any],
        settings: np.ndarray,
    ) -> None:
        kept = {"square_avg": True, "momentum_buffer": group["momentum"] > 0,
                "grad_avg": group["centered"]}  # fmt: skip
        if not state:
            state["step"] = Tensor.wrap(np.zeros((), np.float32))
            for name, wanted in kept.items():
                if wanted:
                    state[name] = Tensor.wrap(np.zeros(param.shape, np.float32))
        average, buffer, mean = (state[name].array if kept[name] else None for name in kept)
        assert average is not None
        _core.rmsprop_update(param, average, buffer, mean, state["step"].array, grad, settings)
