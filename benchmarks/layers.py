"""The convolutions of some networks, enumerated from the architectures.

Sources: He et al., Deep Residual Learning for Image Recognition, CVPR 2016, with the stride of a
bottleneck on its 3x3 convolution as in torchvision; Simonyan, Zisserman, Very Deep Convolutional
Networks, ICLR 2015; Sandler et al., MobileNetV2, CVPR 2018; LeCun et al., Gradient-Based Learning
Applied to Document Recognition, 1998. Images are 224x224 unless said otherwise. cases.py makes
cases of them; tests/test_benchmarks.py checks the sums.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

STAGES = ((64, 56), (128, 28), (256, 14), (512, 7))
"""Width and output size of the four stages of a ResNet."""

BOTTLENECKS = (
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
    (6, 320, 1, 1),
)  # fmt: skip
"""Expansion, width, number and first stride of MobileNetV2's blocks: table 2 of the article."""

LONG_CALL = 10**10
"""Work of a call, in floating point operations, from which on its overhead does not count: 20 ms on
a machine of 500 GFLOP/s, where OpenVINO's call costs 0.1 ms."""


@dataclass(frozen=True)
class Convolution:
    """One convolution on square images, without a bias; where padded, by half its kernel."""

    channels: int
    size: int
    out_channels: int
    kernel: int
    stride: int = 1
    groups: int = 1
    padded: bool = True

    @property
    def padding(self) -> int:
        """Zeros on every side of the image, in pixels."""
        return self.kernel // 2 if self.padded else 0

    @property
    def out_size(self) -> int:
        """Height and width of the result."""
        return (self.size + 2 * self.padding - self.kernel) // self.stride + 1

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        """(O, I / groups, kh, kw)."""
        return self.out_channels, self.channels // self.groups, self.kernel, self.kernel

    @property
    def chains(self) -> bool:
        """Whether the result can be the image of the same convolution."""
        return self.channels == self.out_channels and self.size == self.out_size

    @property
    def sampling(self) -> int:
        """Of its result, peers that hold it in an order of their own show every so many pixels."""
        return max(1, self.out_size // 2)

    @property
    def depthwise(self) -> bool:
        """Whether each channel is convolved alone."""
        return self.groups == self.channels > 1

    @property
    def winograd(self) -> bool:
        """Whether Winograd's algorithm can compute it."""
        return (self.kernel, self.stride, self.groups) == (3, 1, 1)

    def row(self, batch: int) -> int:
        """How many convolutions with weights of their own a forward call computes: up to ten, so
        that what the call costs besides does not count, fewer where they are long.
        """
        return min(10, -(-LONG_CALL // self.flops(batch)))

    def in_shape(self, batch: int) -> tuple[int, int, int, int]:
        """(N, C, H, W) of the input."""
        return batch, self.channels, self.size, self.size

    def out_shape(self, batch: int) -> tuple[int, int, int, int]:
        """(N, O, H', W') of the result."""
        return batch, self.out_channels, self.out_size, self.out_size

    def flops(self, batch: int) -> int:
        """Two for each multiply-add of the direct form; taps on the padding count."""
        taps = self.kernel**2 * self.channels // self.groups
        return 2 * batch * self.out_channels * self.out_size**2 * taps

    def bytes(self, batch: int) -> int:
        """Input, weight and result, each moved once, in float32."""
        images = self.channels * self.size**2 + self.out_channels * self.out_size**2
        return 4 * (
            batch * images + self.kernel**2 * self.channels * self.out_channels // self.groups
        )

    def __str__(self) -> str:
        """Such as ``64x56x56 -> 128 3x3/2``; what is unusual stands behind."""
        return (
            f"{self.channels}x{self.size}x{self.size} -> {self.out_channels} "
            f"{self.kernel}x{self.kernel}/{self.stride}"
            + " depthwise" * self.depthwise + " unpadded" * (not self.padded)
        )  # fmt: skip


def resnet18() -> list[Convolution]:
    """Return all 20 convolutions of ResNet-18, in order."""
    found = [Convolution(3, 224, 64, 7, 2)]
    channels, size = 64, 56
    for width, out in STAGES:
        stride = size // out
        found += [Convolution(channels, size, width, 3, stride), Convolution(width, out, width, 3)]
        if stride > 1:
            found.append(Convolution(channels, size, width, 1, stride))
        found += [Convolution(width, out, width, 3)] * 2
        channels, size = width, out
    return found


def resnet50() -> list[Convolution]:
    """Return all 53 convolutions of ResNet-50, in order."""
    found = [Convolution(3, 224, 64, 7, 2)]
    channels, size = 64, 56
    for (width, out), blocks in zip(STAGES, (3, 4, 6, 3), strict=True):
        for block in range(blocks):
            stride = size // out
            found += [
                Convolution(channels, size, width, 1),
                Convolution(width, size, width, 3, stride),
                Convolution(width, out, 4 * width, 1),
            ]
            if block == 0:
                found.append(Convolution(channels, size, 4 * width, 1, stride))
            channels, size = 4 * width, out
    return found


def resnets() -> Counter[Convolution]:
    """Return the distinct convolutions of both ResNets, with how often they occur in the two."""
    return Counter(resnet18() + resnet50())


def resnet18_cifar() -> list[Convolution]:
    """Return ResNet-18's convolutions in its CIFAR form: one 3x3 first, 32x32 instead of 56x56."""
    shrunk = [
        Convolution(c.channels, c.size * 32 // 56, c.out_channels, c.kernel, c.stride)
        for c in resnet18()[1:]
    ]
    return [Convolution(3, 32, 64, 3), *shrunk]


def lenet5() -> list[Convolution]:
    """Return the two convolutions of LeNet-5 for 28x28 images."""
    return [Convolution(1, 28, 6, 5), Convolution(6, 14, 16, 5, padded=False)]


def vgg16() -> list[Convolution]:
    """Return all 13 convolutions of VGG16, in order."""
    found, channels, size = [], 3, 224
    for width, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(count):
            found.append(Convolution(channels, size, width, 3))
            channels = width
        size //= 2
    return found


def mobilenet_v2() -> list[Convolution]:
    """Return all 52 convolutions of MobileNetV2, in order."""
    found, channels, size = [Convolution(3, 224, 32, 3, 2)], 32, 112
    for expansion, width, blocks, first in BOTTLENECKS:
        for stride in [first] + [1] * (blocks - 1):
            inner = expansion * channels
            if expansion > 1:
                found.append(Convolution(channels, size, inner, 1))
            found.append(Convolution(inner, size, inner, 3, stride, groups=inner))
            size //= stride
            found.append(Convolution(inner, size, width, 1))
            channels = width
    return [*found, Convolution(channels, size, 1280, 1)]


def all_layers() -> Counter[Convolution]:
    """Return the distinct convolutions of all networks, with how often they occur in all."""
    return Counter(
        [*resnet18(), *resnet50(), *resnet18_cifar(), *vgg16(), *mobilenet_v2(), *lenet5()]
    )


def mobilenet_depthwise() -> list[Convolution]:
    """Return five of MobileNetV2's depthwise convolutions, from the largest image to the least."""
    sizes = ((32, 112, 1), (96, 112, 2), (144, 56, 1), (384, 14, 1), (960, 7, 1))
    return [Convolution(c, size, c, 3, stride, groups=c) for c, size, stride in sizes]
