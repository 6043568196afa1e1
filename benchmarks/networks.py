"""Networks to infer, written once for two packages: cnnfast and torch, whose layers' names agree.

Sources: LeCun et al., Gradient-Based Learning Applied to Document Recognition, 1998; He et al.,
Deep Residual Learning for Image Recognition, CVPR 2016, with the stride of a bottleneck on its 3x3
convolution; Sandler et al., MobileNetV2, CVPR 2018; Simonyan, Zisserman, Very Deep Convolutional
Networks, ICLR 2015; Iandola et al., SqueezeNet, 2016, in its form 1.1; Huang et al., Densely
Connected Convolutional Networks, CVPR 2017; Tan, Le, EfficientNet, ICML 2019. All layers are
torchvision's; names of parts are not. exported.py makes files of them.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from .layers import BOTTLENECKS

SEED = 4

WORK = {
    "lenet5": 416_520, "resnet18": 1_814_073_344, "resnet50": 4_089_184_256,
    "mobilenet_v2": 300_774_272, "vgg16": 15_470_264_320, "squeezenet1_1": 349_151_936,
    "densenet121": 2_834_161_664, "efficientnet_b0": 385_814_752,
}  # fmt: skip
"""Multiply-adds for one image, in convolutions and linear layers."""

EFFICIENT = (
    (1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5), (6, 320, 1, 1, 3),
)  # fmt: skip
"""Expansion, width, number, first stride and kernel of EfficientNet-B0's blocks: table 1."""


def image_shape(name: str) -> tuple[int, int, int]:
    """Return (C, H, W) of the images that a network takes."""
    return (1, 28, 28) if name == "lenet5" else (3, 224, 224)


def build(package: ModuleType, name: str) -> Any:
    """Return the network `name` of WORK as a Module of `package`, in evaluation mode.

    Parameters
    ----------
    package : module
        `cnnfast`, `torch` or another with ``nn`` and ``cat``.
    name : str
    """
    network = getattr(Builder(package), name)()
    return network.eval()


def state(network: Any) -> dict[str, np.ndarray]:
    """Return random weights for a network, by its keys, the same every time.

    Weights keep the size of a rectified input; a batch normalisation has moments and factors of
    its own, so that who folds it has something to fold. Deep networks stay finite.
    """
    rng = np.random.default_rng(SEED)
    found = {}
    for key, value in network.state_dict().items():
        shape = tuple(value.shape)
        if len(shape) > 1:
            numbers = rng.standard_normal(shape) * (2 / np.prod(shape[1:])) ** 0.5
        elif key.endswith(("running_var", "weight")):
            numbers = rng.uniform(0.5, 1.0, shape)
        elif key.endswith("num_batches_tracked"):
            continue
        else:
            numbers = 0.1 * rng.standard_normal(shape)
        found[key] = numbers.astype(np.float32)
    return found


class Builder:
    """Builds networks of one package's layers.

    Attributes
    ----------
    nn : module
        The layers.
    Sum, Product, Concat : type
        Modules that add, multiply and join what several modules make of one input.
    """

    def __init__(self, package: ModuleType) -> None:
        nn = self.nn = package.nn

        class Branches(nn.Module):  # type: ignore[name-defined, misc]
            def __init__(self, *branches: Any) -> None:
                super().__init__()
                self.branches = nn.ModuleList(branches)

        class Sum(Branches):
            def forward(self, x: Any) -> Any:
                first, second = self.branches
                return first(x) + second(x)

        class Product(Branches):
            def forward(self, x: Any) -> Any:
                first, second = self.branches
                return first(x) * second(x)

        class Concat(Branches):
            def forward(self, x: Any) -> Any:
                return package.cat([branch(x) for branch in self.branches], 1)

        self.Sum, self.Product, self.Concat = Sum, Product, Concat

    def conv(
        self, inner: int, outer: int, kernel: int, stride: int = 1, groups: int = 1,
        activation: Any = None,
    ) -> list[Any]:
        """A convolution padded by half its kernel, a batch normalisation, an activation."""
        padding = kernel // 2
        layers = [
            self.nn.Conv2d(inner, outer, kernel, stride, padding, groups=groups, bias=False),
            self.nn.BatchNorm2d(outer),
        ]
        return layers if activation is None else [*layers, activation]

    def head(self, channels: int) -> list[Any]:
        """The mean of each channel, then a linear layer."""
        return [self.nn.AdaptiveAvgPool2d(1), self.nn.Flatten(), self.nn.Linear(channels, 1000)]

    def lenet5(self) -> Any:
        """LeNet-5 for 28x28 images, rectified, with the greatest of each 2x2."""
        nn = self.nn
        return nn.Sequential(
            nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
            nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
        )  # fmt: skip

    def _resnet(self, counts: tuple[int, ...], bottleneck: bool) -> Any:
        nn, wide = self.nn, 4 if bottleneck else 1
        layers = [*self.conv(3, 64, 7, 2, activation=nn.ReLU()), nn.MaxPool2d(3, 2, 1)]
        inner = 64
        for stage, count in enumerate(counts):
            width = 64 << stage
            for block in range(count):
                stride = 2 if stage and not block else 1
                if bottleneck:
                    body = [
                        *self.conv(inner, width, 1, activation=nn.ReLU()),
                        *self.conv(width, width, 3, stride, activation=nn.ReLU()),
                        *self.conv(width, 4 * width, 1),
                    ]
                else:
                    body = [
                        *self.conv(inner, width, 3, stride, activation=nn.ReLU()),
                        *self.conv(width, width, 3),
                    ]
                shortcut: Any = nn.Identity()
                if inner != wide * width:
                    shortcut = nn.Sequential(*self.conv(inner, wide * width, 1, stride))
                layers += [self.Sum(nn.Sequential(*body), shortcut), nn.ReLU()]
                inner = wide * width
        return nn.Sequential(*layers, *self.head(inner))

    def resnet18(self) -> Any:
        """ResNet-18."""
        return self._resnet((2, 2, 2, 2), bottleneck=False)

    def resnet50(self) -> Any:
        """ResNet-50."""
        return self._resnet((3, 4, 6, 3), bottleneck=True)

    def mobilenet_v2(self) -> Any:
        """MobileNetV2."""
        nn = self.nn
        layers, inner = self.conv(3, 32, 3, 2, activation=nn.ReLU6()), 32
        for expansion, width, count, first in BOTTLENECKS:
            for stride in [first] + [1] * (count - 1):
                middle, body = expansion * inner, []
                if expansion > 1:
                    body += self.conv(inner, middle, 1, activation=nn.ReLU6())
                body += self.conv(middle, middle, 3, stride, middle, nn.ReLU6())
                body += self.conv(middle, width, 1)
                whole = nn.Sequential(*body)
                same = stride == 1 and inner == width
                layers.append(self.Sum(whole, nn.Identity()) if same else whole)
                inner = width
        return nn.Sequential(
            *layers, *self.conv(inner, 1280, 1, activation=nn.ReLU6()), *self.head(1280))

    def vgg16(self) -> Any:
        """VGG16 without batch normalisation."""
        nn, layers, inner = self.nn, [], 3
        for width, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
            for _ in range(count):
                layers += [nn.Conv2d(inner, width, 3, padding=1), nn.ReLU()]
                inner = width
            layers.append(nn.MaxPool2d(2))
        layers += [nn.Flatten(), nn.Linear(512 * 49, 4096), nn.ReLU()]
        return nn.Sequential(
            *layers, nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, 1000))

    def squeezenet1_1(self) -> Any:
        """SqueezeNet 1.1."""
        nn, inner = self.nn, 64
        layers = [nn.Conv2d(3, 64, 3, 2), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True)]
        for squeezed, pooled in (
            (16, 0), (16, 1), (32, 0), (32, 1), (48, 0), (48, 0), (64, 0), (64, 0)
        ):  # fmt: skip
            layers += [nn.Conv2d(inner, squeezed, 1), nn.ReLU()]
            inner = 8 * squeezed
            one = nn.Sequential(nn.Conv2d(squeezed, inner // 2, 1), nn.ReLU())
            three = nn.Sequential(nn.Conv2d(squeezed, inner // 2, 3, padding=1), nn.ReLU())
            layers.append(self.Concat(one, three))
            if pooled:
                layers.append(nn.MaxPool2d(3, 2, ceil_mode=True))
        layers += [nn.Conv2d(inner, 1000, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        return nn.Sequential(*layers)

    def densenet121(self) -> Any:
        """DenseNet-121: growth 32."""
        nn, inner, growth = self.nn, 64, 32
        layers = [*self.conv(3, 64, 7, 2, activation=nn.ReLU()), nn.MaxPool2d(3, 2, 1)]
        for stage, count in enumerate((6, 12, 24, 16)):
            for _ in range(count):
                new = nn.Sequential(
                    nn.BatchNorm2d(inner), nn.ReLU(), nn.Conv2d(inner, 4 * growth, 1, bias=False),
                    nn.BatchNorm2d(4 * growth), nn.ReLU(),
                    nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False),
                )  # fmt: skip
                layers.append(self.Concat(nn.Identity(), new))
                inner += growth
            layers += [nn.BatchNorm2d(inner), nn.ReLU()]
            if stage < 3:
                layers += [nn.Conv2d(inner, inner // 2, 1, bias=False), nn.AvgPool2d(2)]
                inner //= 2
        return nn.Sequential(*layers, *self.head(inner))

    def _gate(self, channels: int, squeezed: int) -> Any:
        """Squeeze and excite: each channel times a factor that the means decide."""
        nn = self.nn
        factors = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, squeezed, 1), nn.SiLU(),
            nn.Conv2d(squeezed, channels, 1), nn.Sigmoid(),
        )  # fmt: skip
        return self.Product(nn.Identity(), factors)

    def efficientnet_b0(self) -> Any:
        """EfficientNet-B0."""
        nn = self.nn
        layers, inner = self.conv(3, 32, 3, 2, activation=nn.SiLU()), 32
        for expansion, width, count, first, kernel in EFFICIENT:
            for stride in [first] + [1] * (count - 1):
                middle, body = expansion * inner, []
                if expansion > 1:
                    body += self.conv(inner, middle, 1, activation=nn.SiLU())
                body += self.conv(middle, middle, kernel, stride, middle, nn.SiLU())
                body += [self._gate(middle, inner // 4), *self.conv(middle, width, 1)]
                whole = nn.Sequential(*body)
                same = stride == 1 and inner == width
                layers.append(self.Sum(whole, nn.Identity()) if same else whole)
                inner = width
        return nn.Sequential(
            *layers, *self.conv(inner, 1280, 1, activation=nn.SiLU()), *self.head(1280))
