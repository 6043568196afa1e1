"""ResNet-18, for ImageNet's large images and for CIFAR's small ones."""

from __future__ import annotations

from ..nn import (
    AdaptiveAvgPool2d,
    BatchNorm2d,
    Conv2d,
    Identity,
    Linear,
    MaxPool2d,
    Module,
    ReLU,
    Sequential,
    init,
)
from ..tensor import Tensor
from .registry import register

__all__ = ["BasicBlock", "ResNet", "resnet18", "resnet18_cifar"]


def _conv3x3(in_channels: int, out_channels: int, stride: int = 1) -> Conv2d:
    return Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)


class BasicBlock(Module):
    """Two 3x3 convolutions whose result is added to the input.

    Where the sizes differ, the input goes through a strided 1x1 convolution.
    """

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _conv3x3(in_channels, channels, stride)
        self.bn1 = BatchNorm2d(channels)
        self.relu = ReLU()
        self.conv2 = _conv3x3(channels, channels)
        self.bn2 = BatchNorm2d(channels)
        self.downsample: Module | None = None
        if stride != 1 or in_channels != channels:
            self.downsample = Sequential(
                Conv2d(in_channels, channels, 1, stride, bias=False), BatchNorm2d(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, channels, H/stride, W/stride)."""
        identity = x if self.downsample is None else self.downsample(x)
        y = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(y)) + identity)


class ResNet(Module):
    """Four stages of two basic blocks; modules have torchvision's names.

    Parameters
    ----------
    num_classes : int
    in_channels : int
    small_images : bool
        Begin with one 3x3 convolution instead of 7x7, stride 2 and pooling.
    """

    def __init__(self, num_classes: int, in_channels: int, small_images: bool) -> None:
        super().__init__()
        if small_images:
            self.conv1 = _conv3x3(in_channels, 64)
        else:
            self.conv1 = Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = BatchNorm2d(64)
        self.relu = ReLU()
        self.maxpool = Identity() if small_images else MaxPool2d(3, stride=2, padding=1)
        self.layer1 = _stage(64, 64, stride=1)
        self.layer2 = _stage(64, 128, stride=2)
        self.layer3 = _stage(128, 256, stride=2)
        self.layer4 = _stage(256, 512, stride=2)
        self.avgpool = AdaptiveAvgPool2d((1, 1))
        self.fc = Linear(512, num_classes)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise the convolutions as torchvision's ResNet."""
        for module in self.modules():
            if isinstance(module, Conv2d):
                init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, in_channels, H, W) to logits (N, num_classes)."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.avgpool(x).flatten(1))


def _stage(in_channels: int, channels: int, stride: int) -> Sequential:
    return Sequential(BasicBlock(in_channels, channels, stride), BasicBlock(channels, channels, 1))


@register
def resnet18(num_classes: int = 1000, in_channels: int = 3) -> ResNet:
    """ResNet-18 in its ImageNet form: 11,689,512 parameters at the defaults.

    Parameters
    ----------
    num_classes : int
    in_channels : int

    Returns
    -------
    ResNet
        Maps (N, in_channels, H, W), usually 224x224, to logits (N, num_classes). Keys are
        torchvision's, so its weights load.

    Notes
    -----
    Source: He et al., Deep Residual Learning for Image Recognition, CVPR 2016.

    Examples
    --------
    >>> from cnnfast import models
    >>> list(models.resnet18().state_dict())[0]
    'conv1.weight'
    """
    return ResNet(num_classes, in_channels, small_images=False)


@register
def resnet18_cifar(num_classes: int = 10, in_channels: int = 3) -> ResNet:
    """ResNet-18 for 32x32 images: 11,173,962 parameters at the defaults.

    One 3x3 convolution of stride 1 takes the place of the 7x7 convolution and the pooling; all
    else, the keys too, is `resnet18`'s.

    Parameters
    ----------
    num_classes : int
    in_channels : int

    Returns
    -------
    ResNet
        Maps (N, in_channels, H, W), usually 32x32, to logits (N, num_classes).

    Notes
    -----
    The common form of ResNet-18 in CIFAR studies; He et al. (CVPR 2016) used thinner networks.

    Examples
    --------
    >>> from cnnfast import models
    >>> models.resnet18_cifar().conv1
    Conv2d(3, 64, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), bias=False)
    """
    return ResNet(num_classes, in_channels, small_images=True)
