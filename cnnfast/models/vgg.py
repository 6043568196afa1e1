"""A small network in the style of VGG, for images of 8x8 pixels and more."""

from __future__ import annotations

from collections.abc import Sequence

from ..nn import (
    AdaptiveAvgPool2d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Linear,
    MaxPool2d,
    Module,
    ReLU,
    Sequential,
    init,
)
from ..tensor import Tensor
from .registry import register

__all__ = ["VGG", "vgg_small"]


class VGG(Module):
    """Stages of 3x3 convolutions that end in pooling, then linear layers; see `vgg_small`.

    The modules have torchvision's names: features, avgpool, classifier.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        widths: Sequence[int],
        batch_norm: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        layers: list[Module] = []
        channels = in_channels
        for width in widths:
            for _ in range(2):
                layers.append(Conv2d(channels, width, 3, padding=1))
                layers += [BatchNorm2d(width), ReLU()] if batch_norm else [ReLU()]
                channels = width
            layers.append(MaxPool2d(2))
        self.features = Sequential(*layers)
        self.avgpool = AdaptiveAvgPool2d((4, 4))
        self.classifier = Sequential(
            Linear(channels * 16, 256), ReLU(), Dropout(dropout), Linear(256, num_classes)
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise as torchvision's VGG."""
        for module in self.modules():
            if isinstance(module, Conv2d):
                init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, Linear):
                init.normal_(module.weight, 0, 0.01)
            if isinstance(module, (Conv2d, Linear)) and module.bias is not None:
                init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, in_channels, H, W) to logits (N, num_classes)."""
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


@register
def vgg_small(
    num_classes: int = 10,
    in_channels: int = 3,
    widths: Sequence[int] = (32, 64, 128),
    batch_norm: bool = True,
    dropout: float = 0.5,
) -> VGG:
    """A VGG for small images: 815,018 parameters at the defaults.

    Parameters
    ----------
    num_classes : int
    in_channels : int
    widths : sequence of ints
        Channels of each stage of two 3x3 convolutions; each stage halves the image.
    batch_norm : bool
        Whether batch normalisation follows each convolution.
    dropout : float
        Before the last layer.

    Returns
    -------
    VGG
        Maps (N, in_channels, H, W) to logits (N, num_classes); images of 32x32 keep all
        their last pixels, others are averaged to 4x4.

    Notes
    -----
    Source: Simonyan and Zisserman, Very Deep Convolutional Networks, ICLR 2015, for the blocks.

    Examples
    --------
    >>> import cnnfast
    >>> cnnfast.models.vgg_small(num_classes=7)(cnnfast.zeros(2, 3, 32, 32)).shape
    (2, 7)
    """
    return VGG(num_classes, in_channels, widths, batch_norm, dropout)
