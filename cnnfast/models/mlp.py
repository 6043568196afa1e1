"""A plain dense network, to compare convolutional networks with."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from ..nn import Flatten, Linear, Module, ReLU, Sequential
from .registry import register

__all__ = ["mlp"]


@register
def mlp(
    num_classes: int = 10, in_features: int = 784, hidden: Sequence[int] = (256, 128)
) -> Sequential:
    """Linear layers with ReLU between: 235,146 parameters at the defaults.

    Parameters
    ----------
    num_classes : int
    in_features : int
        Values of one image: channels * height * width.
    hidden : sequence of ints
        Sizes of the hidden layers.

    Returns
    -------
    Sequential
        Maps (N, ...) of `in_features` values a sample to logits (N, num_classes).

    Examples
    --------
    >>> from cnnfast import models
    >>> models.mlp(hidden=[64])
    Sequential(
      (0): Flatten(start_dim=1, end_dim=-1)
      (1): Linear(in_features=784, out_features=64, bias=True)
      (2): ReLU()
      (3): Linear(in_features=64, out_features=10, bias=True)
    )
    """
    layers: list[Module] = [Flatten()]
    for inner, outer in pairwise((in_features, *hidden)):
        layers += [Linear(inner, outer), ReLU()]
    return Sequential(*layers, Linear((in_features, *hidden)[-1], num_classes))
