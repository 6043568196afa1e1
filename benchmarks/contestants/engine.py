"""cnnfast, through its public functions.

A forward pass runs under `no_grad` on images that are stored as the engine stores them, as inside a
network. A gradient of a convolution is what `backward` calls on that node of the tape; the weight
counts as changed before each call, as it is in training, so that its preparation is timed too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

import cnnfast
from cnnfast import Tensor, _core, models, no_grad, optim
from cnnfast import functional as F
from cnnfast.layout import as_image

from ..cases import Case
from ..data import labels, normal, weight
from ..layers import Convolution
from . import Run

ALGORITHM = "CNNFAST_CONV"
"""The variable that forces the algorithm of convolutions; the engine reads it in each call."""


def _set_algorithm(name: str | None) -> None:
    os.environ.pop(ALGORITHM, None)
    if name is not None:
        os.environ[ALGORITHM] = name


@contextmanager
def restored() -> Iterator[None]:
    """Leave the engine's settings as they were before the block."""
    isa, threads, algorithm = _core.isa(), cnnfast.get_num_threads(), os.environ.get(ALGORITHM)
    try:
        yield
    finally:
        _core.set_isa(isa)
        cnnfast.set_num_threads(threads)
        _set_algorithm(algorithm)


def _images(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    return Tensor.wrap(as_image(normal(shape, seed)))


def _inference(compute: Run) -> Run:
    def run() -> Any:
        with no_grad():
            return compute()

    return run


class Engine:
    """cnnfast on one instruction set; `direct` keeps it from Winograd's algorithm."""

    package = "cnnfast"
    prepares = True
    pace = 1e10

    def __init__(self, isa: str, direct: bool = False) -> None:
        self.isa, self.direct = isa, direct
        self.name = "cnnfast-direct" if direct else "cnnfast"
        self.algorithm = "direct" if direct else os.environ.get(ALGORITHM)

    def activate(self, threads: int) -> None:
        """Set the instruction set, the number of threads and the algorithm."""
        _core.set_isa(self.isa)
        cnnfast.set_num_threads(threads)
        _set_algorithm(self.algorithm)

    def fits(self, case: Case) -> bool:
        """Whether the case is another one than for cnnfast with all its algorithms."""
        layer = case.arguments[0] if case.suite == "layers" else None
        return not self.direct or (layer is not None and (layer.kernel, layer.stride) == (3, 1))

    def as_array(self, result: Any) -> np.ndarray:
        """Return a Tensor's or an ndarray's numbers."""
        return np.asarray(result.detach().numpy() if isinstance(result, Tensor) else result)

    def conv2d_forward(self, layer: Convolution, batch: int) -> Run:
        """`functional.conv2d`; the weight is prepared once, as in inference."""
        x, w = _images(layer.in_shape(batch)), Tensor(weight(layer.weight_shape))
        rest = (None, layer.stride, layer.padding, 1, layer.groups)
        return _inference(lambda: F.conv2d(x, w, *rest))

    def _gradient(self, layer: Convolution, batch: int, needs: tuple[bool, bool]) -> Run:
        x, w = _images(layer.in_shape(batch)), Tensor(weight(layer.weight_shape))
        x.requires_grad, w.requires_grad = needs
        node = F.conv2d(x, w, None, layer.stride, layer.padding, 1, layer.groups).grad_fn
        assert node is not None and node.backward is not None
        backward, dy = node.backward, as_image(normal(layer.out_shape(batch), 3))

        def run() -> Any:
            w.bump_version()
            return backward(dy, needs)[needs.index(True)]

        return run

    def conv2d_backward_input(self, layer: Convolution, batch: int) -> Run:
        """The gradient of the images."""
        return self._gradient(layer, batch, (True, False))

    def conv2d_backward_weight(self, layer: Convolution, batch: int) -> Run:
        """The gradient of the weight."""
        return self._gradient(layer, batch, (False, True))

    def matmul(self, m: int, n: int, k: int) -> Run:
        """`functional.matmul`."""
        a, b = Tensor(normal((m, k))), Tensor(normal((k, n), 1))
        return _inference(lambda: F.matmul(a, b))

    def linear(self, m: int, n: int, k: int) -> Run:
        """`functional.linear`; the weight is prepared once, as in inference."""
        x, w = Tensor(normal((m, k))), Tensor(weight((n, k)))
        return _inference(lambda: F.linear(x, w))

    def relu(self, shape: tuple[int, ...]) -> Run:
        """`functional.relu`."""
        x = _images(shape)
        return _inference(lambda: F.relu(x))

    def add(self, shape: tuple[int, ...]) -> Run:
        """The sum of two Tensors."""
        a, b = _images(shape), _images(shape, 1)
        return _inference(lambda: a + b)

    def _batch_norm(self, shape: tuple[int, ...], training: bool) -> Run:
        x, channels = _images(shape), shape[1]
        mean, variance = Tensor(np.zeros(channels)), Tensor(np.ones(channels))
        gamma, beta = Tensor(normal((channels,), 1)), Tensor(normal((channels,), 2))
        return _inference(lambda: F.batch_norm(x, mean, variance, gamma, beta, training))

    def batch_norm_training(self, shape: tuple[int, ...]) -> Run:
        """`functional.batch_norm` by the moments of the batch."""
        return self._batch_norm(shape, True)

    def batch_norm_evaluation(self, shape: tuple[int, ...]) -> Run:
        """`functional.batch_norm` by the running moments."""
        return self._batch_norm(shape, False)

    def max_pool2d(self, shape: tuple[int, ...]) -> Run:
        """The pooling in ResNet's first stage."""
        x = _images(shape)
        return _inference(lambda: F.max_pool2d(x, 3, 2, 1))

    def mean_pool2d(self, shape: tuple[int, ...]) -> Run:
        """The mean of each channel."""
        x = _images(shape)
        return _inference(lambda: F.adaptive_avg_pool2d(x, 1))

    def softmax(self, rows: int, columns: int) -> Run:
        """`functional.softmax` over the columns."""
        x = Tensor(normal((rows, columns)))
        return _inference(lambda: F.softmax(x, 1))

    def _update(self, count: int, optimizer: Any, **settings: float) -> Run:
        parameter = cnnfast.nn.Parameter(Tensor(normal((count,))))
        parameter.grad = Tensor(normal((count,), 1))
        update = optimizer([parameter], lr=1e-3, **settings)

        def run() -> Any:
            update.step()
            return parameter

        return run

    def sgd(self, count: int) -> Run:
        """`optim.SGD` with momentum and weight decay."""
        return self._update(count, optim.SGD, momentum=0.9, weight_decay=5e-4)

    def adam(self, count: int) -> Run:
        """`optim.Adam`."""
        return self._update(count, optim.Adam)

    def _step(self, network: str, shape: tuple[int, ...]) -> Run:
        model = initial_model(network)
        x, y = _images(shape), Tensor(labels(shape[0], 10))
        update = optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)

        def run() -> Any:
            update.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            update.step()
            return loss

        return run

    def lenet5_step(self, batch: int) -> Run:
        """A training step of `models.lenet5`."""
        return self._step("lenet5", (batch, 1, 28, 28))

    def resnet18_cifar_step(self, batch: int) -> Run:
        """A training step of `models.resnet18_cifar`."""
        return self._step("resnet18_cifar", (batch, 3, 32, 32))


def initial_model(network: str) -> cnnfast.nn.Module:
    """Return a network whose first weights are the same every time."""
    cnnfast.manual_seed(0)
    return models.build(network)


def initial_state(network: str) -> dict[str, np.ndarray]:
    """Return the first weights and buffers by torch's keys: what every contestant starts from."""
    state = initial_model(network).state_dict()
    return {key: np.array(value.detach().numpy()) for key, value in state.items()}
