"""PyTorch at its best on a CPU: channels-last images and weights, fused optimisers, eager.

Imports torch, so the line-up imports this module only where torch is installed. The networks are
those of cnnfast.models with the same keys, so the same weights load. Inference runs a network that
was traced, frozen (batch normalisations folded) and prepared by oneDNN, PyTorch's fastest way that
needs no compiler.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

from .. import exported, networks
from ..cases import Case
from ..data import images, labels, normal, weight, weights
from ..layers import Convolution
from . import Loader, Row, Run
from .engine import initial_state


def _images(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array).contiguous(memory_format=torch.channels_last)


def _inference(compute: Run) -> Run:
    def run() -> Any:
        with torch.no_grad():
            return compute()

    return run


def contestants(isa: str) -> list[PyTorch]:
    """Return what this module brings to the line-up."""
    return [PyTorch(isa)]


class PyTorch(Loader):
    """PyTorch, which chooses its instruction set itself."""

    name = package = "torch"
    prepares = True
    pace = 1e10

    def __init__(self, isa: str) -> None:
        self.isa = isa

    def activate(self, threads: int) -> None:
        """Set the number of threads."""
        torch.set_num_threads(threads)

    def fits(self, case: Case) -> bool:
        """Every case does, but for networks that exist as ONNX only."""
        return case.suite != "infer" or case.arguments[0] in networks.WORK

    def as_array(self, result: Any) -> np.ndarray:
        """Return a tensor's numbers."""
        array: np.ndarray = result.detach().numpy()
        return array

    def conv2d_forward(self, layer: Convolution, batch: int) -> Row:
        """`functional.conv2d`, each on the one before where shapes chain."""
        x = _images(images(layer.in_shape(batch)))
        row = [_images(array) for array in weights(layer, batch)]
        rest = (None, layer.stride, layer.padding, 1, layer.groups)

        def run() -> Any:
            y = x
            for w in row:
                y = F.conv2d(y if layer.chains else x, w, *rest)
            return y

        return Row(_inference(run), len(row))

    def _gradient(self, layer: Convolution, batch: int, needs: list[bool]) -> Run:
        x, w = _images(images(layer.in_shape(batch))), _images(weight(layer.weight_shape))
        dy = _images(images(layer.out_shape(batch), 3))
        geometry = [[layer.stride] * 2, [layer.padding] * 2, [1, 1], False, [0, 0], layer.groups]
        backward, chosen = torch.ops.aten.convolution_backward, needs.index(True)
        return _inference(lambda: backward(dy, x, w, None, *geometry, needs)[chosen])

    def conv2d_backward_input(self, layer: Convolution, batch: int) -> Run:
        """The gradient of the images: what autograd calls."""
        return self._gradient(layer, batch, [True, False, False])

    def conv2d_backward_weight(self, layer: Convolution, batch: int) -> Run:
        """The gradient of the weight: what autograd calls."""
        return self._gradient(layer, batch, [False, True, False])

    def matmul(self, m: int, n: int, k: int, scale: float = 1.0) -> Run:
        """The product of two matrices."""
        a, b = torch.from_numpy(normal((m, k), 0, scale)), torch.from_numpy(normal((k, n), 1))
        return _inference(lambda: a @ b)

    def linear(self, m: int, n: int, k: int) -> Run:
        """`functional.linear`."""
        x, w = torch.from_numpy(normal((m, k))), torch.from_numpy(weight((n, k)))
        return _inference(lambda: F.linear(x, w))

    def relu(self, shape: tuple[int, ...]) -> Run:
        """`functional.relu`."""
        x = _images(normal(shape))
        return _inference(lambda: F.relu(x))

    def add(self, shape: tuple[int, ...]) -> Run:
        """The sum of two tensors."""
        a, b = _images(normal(shape)), _images(normal(shape, 1))
        return _inference(lambda: a + b)

    def _batch_norm(self, shape: tuple[int, ...], training: bool) -> Run:
        x, channels = _images(normal(shape)), shape[1]
        mean, variance = torch.zeros(channels), torch.ones(channels)
        gamma, beta = (torch.from_numpy(normal((channels,), seed)) for seed in (1, 2))
        return _inference(lambda: F.batch_norm(x, mean, variance, gamma, beta, training))

    def batch_norm_training(self, shape: tuple[int, ...]) -> Run:
        """`functional.batch_norm` by the moments of the batch."""
        return self._batch_norm(shape, True)

    def batch_norm_evaluation(self, shape: tuple[int, ...]) -> Run:
        """`functional.batch_norm` by the running moments."""
        return self._batch_norm(shape, False)

    def max_pool2d(self, shape: tuple[int, ...]) -> Run:
        """The pooling in ResNet's first stage."""
        x = _images(normal(shape))
        return _inference(lambda: F.max_pool2d(x, 3, 2, 1))

    def mean_pool2d(self, shape: tuple[int, ...]) -> Run:
        """The mean of each channel."""
        x = _images(normal(shape))
        return _inference(lambda: F.adaptive_avg_pool2d(x, 1))

    def softmax(self, rows: int, columns: int) -> Run:
        """`functional.softmax` over the columns."""
        x = torch.from_numpy(normal((rows, columns)))
        return _inference(lambda: F.softmax(x, 1))

    def _update(self, count: int, optimizer: Any, **settings: float) -> Run:
        parameter = nn.Parameter(torch.from_numpy(normal((count,))))
        parameter.grad = torch.from_numpy(normal((count,), 1))
        update = optimizer([parameter], lr=1e-3, fused=True, **settings)

        def run() -> Any:
            update.step()
            return parameter

        return run

    def sgd(self, count: int) -> Run:
        """`optim.SGD` with momentum and weight decay."""
        return self._update(count, torch.optim.SGD, momentum=0.9, weight_decay=5e-4)

    def adam(self, count: int) -> Run:
        """`optim.Adam`."""
        return self._update(count, torch.optim.Adam)

    def network_file(self, name: str) -> Path:
        """The network's weights; its definition is networks.py's."""
        return exported.weights(name)

    def load(self, file: Path, image: np.ndarray) -> Run:
        """The traced network on images that are channels-last."""
        network = networks.build(torch, file.name.split(".")[0])
        network.load_state_dict(load_file(file), strict=False)
        network, x = network.to(memory_format=torch.channels_last), _images(image)
        with torch.inference_mode():
            traced = torch.jit.freeze(torch.jit.trace(network, x))
            prepared = torch.jit.optimize_for_inference(traced)

        def run() -> Any:
            with torch.inference_mode():
                return prepared(x)

        return run

    def _step(self, model: nn.Module, network: str, shape: tuple[int, ...]) -> Run:
        state = {key: torch.from_numpy(value) for key, value in initial_state(network).items()}
        model.load_state_dict(state)
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        x, y = _images(normal(shape)), torch.from_numpy(labels(shape[0], 10))
        parameters = model.parameters()
        update = torch.optim.SGD(parameters, 0.01, 0.9, weight_decay=5e-4, fused=True)

        def run() -> Any:
            update.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            update.step()
            return loss

        return run

    def lenet5_step(self, batch: int) -> Run:
        """A training step of LeNet-5."""
        return self._step(LeNet5(), "lenet5", (batch, 1, 28, 28))

    def resnet18_cifar_step(self, batch: int) -> Run:
        """A training step of ResNet-18 for 32x32 images."""
        return self._step(ResNet18(), "resnet18_cifar", (batch, 3, 32, 32))


class LeNet5(nn.Module):
    """cnnfast.models.lenet5 in torch."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 5, padding=2), nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2, self.fc3 = nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map images (N, 1, 28, 28) to logits."""
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.relu(self.fc1(x.flatten(1)))
        return self.fc3(F.relu(self.fc2(x)))


class Block(nn.Module):
    """A basic block of ResNet-18."""

    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inner, outer, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(outer, outer, 3, 1, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(outer), nn.BatchNorm2d(outer)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module = nn.Identity()
        if stride > 1:
            shortcut = nn.Conv2d(inner, outer, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(outer))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Add the block's result to its input."""
        y = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(y)) + self.downsample(x))


class ResNet18(nn.Sequential):
    """cnnfast.models.resnet18_cifar in torch: the parts in order, under torchvision's names."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        inner = 64
        for stage, outer in enumerate((64, 128, 256, 512), 1):
            blocks = Block(inner, outer, 1 if stage == 1 else 2), Block(outer, outer, 1)
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
            inner = outer
        self.avgpool, self.flatten, self.fc = (
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(512, 10),
        )
