"""Adam and AdamW."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _core
from ..tensor import Tensor
from .optimizer import Optimizer, Params, State, check_range

__all__ = ["Adam", "AdamW"]


class Adam(Optimizer):
    """Adam: steps scaled by running means of the gradient and of its square.

    Parameters
    ----------
    params : iterable of Tensors, or of dicts
    lr : float
    betas : (float, float)
        What the running means of the gradient and of its square keep at each step.
    eps : float
        Added to the root of the mean square.
    weight_decay : float
        Times the parameter, added to the gradient; see AdamW for the decoupled form.
    amsgrad : bool
        Divide by the largest mean square so far.
    maximize : bool
        Climb instead of descend.
    decoupled_weight_decay : bool
        Shrink the parameter by ``lr*weight_decay`` instead, as AdamW does.

    Raises
    ------
    ValueError
        A setting is out of its range.

    Notes
    -----
    Source: Kingma and Ba, Adam, ICLR 2015; amsgrad: Reddi et al., On the Convergence of Adam,
    ICLR 2018.

    Examples
    --------
    >>> import cnnfast
    >>> w = cnnfast.nn.Parameter(cnnfast.tensor([1.0]))
    >>> optimizer = cnnfast.optim.Adam([w], lr=0.1)
    >>> (w * 2.0).sum().backward()
    >>> optimizer.step()
    >>> round(float(w), 4)
    0.9
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
    ) -> None:
        check_range("learning rate", lr)
        check_range("epsilon value", eps)
        check_range("beta parameter at index 0", betas[0], high=1.0)
        check_range("beta parameter at index 1", betas[1], high=1.0)
        check_range("weight_decay value", weight_decay)
        settings = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, settings)

    def _numbers(self, group: dict[str, Any]) -> tuple[float, ...]:
        return group["lr"], *group["betas"], group["eps"], group["weight_decay"]

    def _update(
        self, param: np.ndarray, grad: np.ndarray, state: State, group: dict[str, Any],
        settings: np.ndarray,
    ) -> None:
        if not state:
            state["step"] = Tensor.wrap(np.zeros((), np.float32))
            for name in ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")[: 3 if group["amsgrad"] else 2]:
                state[name] = Tensor.wrap(np.zeros(param.shape, np.float32))
        largest = state["max_exp_avg_sq"].array if group["amsgrad"] else None
        _core.adam_update(
            param, state["exp_avg"].array, state["exp_avg_sq"].array, largest,
            state["step"].array, grad, settings, group["decoupled_weight_decay"],
        )  # fmt: skip


class AdamW(Adam):
    """Adam with decoupled weight decay: the parameter shrinks by ``lr*weight_decay`` at each step.

    Parameters are Adam's; `weight_decay` is 0.01 by default.

    Notes
    -----
    Source: Loshchilov and Hutter, Decoupled Weight Decay Regularization, ICLR 2019.

    Examples
    --------
    >>> from cnnfast import nn, optim
    >>> optim.AdamW(nn.Linear(2, 2).parameters()).defaults["weight_decay"]
    0.01
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params, lr, betas, eps, weight_decay, amsgrad,
            maximize=maximize, decoupled_weight_decay=True,
        )  # fmt: skip
