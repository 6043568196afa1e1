"""Loss layers: settings around the losses of `functional`.

`size_average` and `reduce` stand where torch has them; they are its old spelling of `reduction`.
"""

from __future__ import annotations

import warnings

from .. import functional as F
from ..tensor import Tensor
from .module import Module

__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "CrossEntropyLoss",
    "HuberLoss",
    "L1Loss",
    "MSELoss",
    "NLLLoss",
    "SmoothL1Loss",
]


def _reduction(size_average: bool | None, reduce: bool | None, reduction: str) -> str:
    """Return the reduction that torch's two old arguments, if given, stand for."""
    if size_average is not None or reduce is not None:
        chosen = "none" if reduce is False else "sum" if size_average is False else "mean"
        warnings.warn(
            f"size_average and reduce are old arguments; use reduction={chosen!r} instead",
            stacklevel=3,
        )
        return chosen
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"reduction must be 'none', 'mean' or 'sum', got {reduction!r}")
    return reduction


class _Loss(Module):
    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        self.reduction = _reduction(size_average, reduce, reduction)


class _WeightedLoss(_Loss):
    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.register_buffer("weight", weight)


class CrossEntropyLoss(_WeightedLoss):
    """Cross-entropy of logits with class numbers or probabilities.

    Parameters
    ----------
    weight : Tensor of shape (C,), optional
        A weight for each class.
    ignore_index : int
        Targets of this class count nothing.
    reduction : {"mean", "sum", "none"}
        "mean" is weighted by `weight`.
    label_smoothing : float
        Share of the target that is spread over all classes, in [0, 1].

    Examples
    --------
    >>> import cnnfast
    >>> loss = cnnfast.nn.CrossEntropyLoss()
    >>> round(float(loss(cnnfast.zeros(2, 10), cnnfast.tensor([3, 7]))), 4)
    2.3026
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compare logits (N, C, ...) with classes (N, ...) or probabilities (N, C, ...)."""
        return F.cross_entropy(
            input, target, weight=self.weight, ignore_index=self.ignore_index,
            reduction=self.reduction, label_smoothing=self.label_smoothing,
        )  # fmt: skip


class NLLLoss(_WeightedLoss):
    """Negative log-likelihood of log-probabilities; parameters as in CrossEntropyLoss.

    Examples
    --------
    >>> import cnnfast
    >>> loss = cnnfast.nn.NLLLoss(reduction="sum")
    >>> float(loss(cnnfast.tensor([[-1.0, -2.0], [-3.0, -4.0]]), cnnfast.tensor([0, 1])))
    5.0
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.ignore_index = ignore_index

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compare log-probabilities (N, C, ...) with classes (N, ...)."""
        return F.nll_loss(
            input, target, weight=self.weight, ignore_index=self.ignore_index,
            reduction=self.reduction,
        )  # fmt: skip


class MSELoss(_Loss):
    """Mean squared difference.

    Examples
    --------
    >>> import cnnfast
    >>> float(cnnfast.nn.MSELoss()(cnnfast.tensor([1.0, 3.0]), cnnfast.zeros(2)))
    5.0
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compare two Tensors of one shape."""
        return F.mse_loss(input, target, reduction=self.reduction)


class L1Loss(_Loss):
    """Mean absolute difference.

    Examples
    --------
    >>> import cnnfast
    >>> float(cnnfast.nn.L1Loss()(cnnfast.tensor([1.0, -3.0]), cnnfast.zeros(2)))
    2.0
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compare two Tensors of one shape."""
        return F.l1_loss(input, target, reduction=self.reduction)


class SmoothL1Loss(_Loss):
    """Squared difference / (2*beta) below `beta`, absolute difference - beta/2 above.

    Examples
    --------
    >>> import cnnfast
    >>> float(cnnfast.nn.SmoothL1Loss()(cnnfast.tensor([3.0]), cnnfast.zeros(1)))
    2.5
    """

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        beta: float = 1.0,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.beta = beta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compare two Tensors of one shape."""
        return F.smooth_l1_loss(input, target, reduction=self.reduction, beta=self.beta)


class HuberLoss(_Loss):
    """Half the squared difference below `delta`, delta * (difference - delta/2) above.

    Examples
    --------
    >>> import cnnfast
    >>> float(cnnfast.nn.HuberLoss(delta=2.0)(cnnfast.tensor([3.0]), cnnfast.zeros(1)))
    4.0
    """

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction=reduction)
        self.delta = delta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compare two Tensors of one shape."""
        return F.huber_loss(input, target, reduction=self.reduction, delta=self.delta)


class BCELoss(_WeightedLoss):
    """Binary cross-entropy of probabilities.

    Parameters
    ----------
    weight : Tensor, optional
        Weights that broadcast to the losses.
    reduction : {"mean", "sum", "none"}

    Examples
    --------
    >>> import cnnfast
    >>> half = cnnfast.full((3,), 0.5)
    >>> round(float(cnnfast.nn.BCELoss()(half, cnnfast.ones(3))), 4)
    0.6931
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compare two Tensors of one shape."""
        return F.binary_cross_entropy(input, target, weight=self.weight, reduction=self.reduction)


class BCEWithLogitsLoss(_WeightedLoss):
    """Binary cross-entropy of logits, without overflow.

    Parameters
    ----------
    weight : Tensor, optional
        Weights that broadcast to the losses.
    reduction : {"mean", "sum", "none"}
    pos_weight : Tensor, optional
        Weights of the positive class.

    Examples
    --------
    >>> import cnnfast
    >>> round(float(cnnfast.nn.BCEWithLogitsLoss()(cnnfast.zeros(3), cnnfast.ones(3))), 4)
    0.6931
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        pos_weight: Tensor | None = None,
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.register_buffer("pos_weight", pos_weight)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compare two Tensors of one shape."""
        return F.binary_cross_entropy_with_logits(
            input, target, weight=self.weight, reduction=self.reduction,
            pos_weight=self.pos_weight,
        )  # fmt: skip
