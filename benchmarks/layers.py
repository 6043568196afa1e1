"""The convolutions of ResNet-18, ResNet-50 and MobileNetV2, enumerated from the architectures.

Sources: He et al., Deep Residual Learning for Image Recognition, CVPR 2016, with the stride of a
bottleneck on its 3x3 convolution as in torchvision; Sandler et al., MobileNetV2, CVPR 2018. Images
are 224x224. cases.py makes cases of them; tests/test_benchmarks.py checks the sums.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

STAGES = ((64, 56), (128, 28), (256, 14), (512, 7))
"""Width and output size of the four stages of a ResNet."""


@dataclass(frozen=True)
class Convolution:
    """One convolution on square images, padded by half its kernel, without a bias."""

    channels: int
    size: int
    out_channels: int
    kernel: int
    stride: int = 1
    groups: int = 1

    @property
    def padding(self) -> int:
        """Zeros on every side of the image, in pixels."""
        return self.kernel // 2

    @property
    def out_size(self) -> int:
        """Height and width of the result."""
        return (self.size + 2 * self.padding - self.kernel) // self.stride + 1

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        """(O, I / groups, kh, kw)."""
        return self.out_channels, self.channels // self.groups, self.kernel, self.kernel

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
        """Such as ``64x56x56 -> 128 3x3/2``."""
        return (
            f"{self.channels}x{self.size}x{self.size} -> {self.out_channels} "
            f"{self.kernel}x{self.kernel}/{self.stride}"
        )


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


def mobilenet_depthwise() -> list[Convolution]:
    """Return five of MobileNetV2's depthwise convolutions, from the largest image to the least."""
    sizes = ((32, 112, 1), (96, 112, 2), (144, 56, 1), (384, 14, 1), (960, 7, 1))
    return [Convolution(c, size, c, 3, stride, groups=c) for c, size, stride in sizes]
