"""LeNet-5, the convolutional network for handwritten digits."""

from __future__ import annotations

from ..nn import Conv2d, Linear, Module
from ..nn import functional as F
from ..tensor import Tensor
from .registry import register

__all__ = ["LeNet5", "lenet5"]


class LeNet5(Module):
    """Two 5x5 convolutions with pooling, then three linear layers; see `lenet5`."""

    def __init__(self, num_classes: int = 10, in_channels: int = 1) -> None:
        super().__init__()
        self.conv1 = Conv2d(in_channels, 6, 5, padding=2)
        self.conv2 = Conv2d(6, 16, 5)
        self.fc1 = Linear(16 * 5 * 5, 120)
        self.fc2 = Linear(120, 84)
        self.fc3 = Linear(84, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, in_channels, 28, 28) to logits (N, num_classes)."""
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.relu(self.fc1(x.flatten(1)))
        return self.fc3(F.relu(self.fc2(x)))


@register
def lenet5(num_classes: int = 10, in_channels: int = 1) -> LeNet5:
    """LeNet-5 for 28x28 images: 61,706 parameters at 10 classes and 1 channel.

    Parameters
    ----------
    num_classes : int
    in_channels : int

    Returns
    -------
    LeNet5
        Maps (N, in_channels, 28, 28) to logits (N, num_classes).

    Notes
    -----
    Source: LeCun et al., Gradient-Based Learning Applied to Document Recognition, 1998, with the
    sizes given there (6, 16, 120, 84) and today's parts: ReLU and maximum pooling, every map of
    the second layer connected to all of the first, and logits. Padding takes the place of the
    paper's 32x32 frame.

    Examples
    --------
    >>> from cnnfast import models
    >>> sum(p.numel() for p in models.lenet5().parameters())
    61706
    """
    return LeNet5(num_classes, in_channels)
