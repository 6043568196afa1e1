"""Networks ready to build by name, with torchvision's names and keys where it has them."""

from .lenet import LeNet5, lenet5
from .mlp import mlp
from .registry import build, names, register
from .resnet import BasicBlock, ResNet, resnet18, resnet18_cifar
from .vgg import VGG, vgg_small

__all__ = [
    "VGG",
    "BasicBlock",
    "LeNet5",
    "ResNet",
    "build",
    "lenet5",
    "mlp",
    "names",
    "register",
    "resnet18",
    "resnet18_cifar",
    "vgg_small",
]
