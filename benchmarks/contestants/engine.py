"""cnnfast, through its public functions; convolutions recorded once and replayed.

A forward pass runs under `no_grad` on images that are stored as the engine stores them, as inside a
network. Convolutions are replayed as in compiled inference and compiled training, so that a short
layer's time is its kernel's. Forward, a row of them runs on weights that are packed before. A
gradient is what `backward` calls on that node of the tape; the recording packs the weight anew in
each replay, as in training, where it has changed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import cnnfast
from cnnfast import CompiledModel, Tensor, TrainStep, _core, models, no_grad, optim
from cnnfast import functional as F
from cnnfast.functional.convolution import packed_weight
from cnnfast.layout import as_image

from .. import exported
from ..cases import Case
from ..data import images, labels, normal, weight, weights
from ..layers import Convolution
from . import Loader, Row, Run

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


def _replayed(recording: _core.Recording, result: np.ndarray | None) -> Run:
    def run() -> Any:
        recording.replay()
        return result

    return run


def _forward(layer: Convolution, x: np.ndarray, w: Tensor) -> Callable[..., None]:
    """The primitive that `functional.conv2d` calls, as `call(y, x)`; the weight is packed now."""
    geometry = ((layer.stride,) * 2, (layer.padding,) * 2, (1, 1))
    if layer.depthwise:
        return lambda y, x: _core.depthwise_forward(y, x, w.array, None, *geometry)
    attributes = (*geometry, layer.groups)
    y, shape = _core.empty_image(*layer.out_shape(len(x))), layer.weight_shape
    way = _core.conv2d_choose(y, x, shape, *attributes, "forward")
    packed = packed_weight(w, shape, attributes, False, way)
    return lambda y, x: _core.conv2d_forward(y, x, packed, None, shape, *attributes, way)


class Engine(Loader):
    """cnnfast on one instruction set; `algorithm` takes the choice of the convolutions' away."""

    package = "cnnfast"
    prepares = True
    pace = 1e10

    def __init__(self, isa: str, algorithm: str | None = None) -> None:
        self.isa = isa
        self.name = f"cnnfast-{algorithm}" if algorithm else "cnnfast"
        self.algorithm = algorithm or os.environ.get(ALGORITHM)

    def activate(self, threads: int) -> None:
        """Set the instruction set, the number of threads and the algorithm."""
        _core.set_isa(self.isa)
        cnnfast.set_num_threads(threads)
        _set_algorithm(self.algorithm)

    def fits(self, case: Case) -> bool:
        """Whether the case is another one than for cnnfast with all its algorithms."""
        return self.name == "cnnfast" or (case.suite == "layers" and case.arguments[0].winograd)

    def as_array(self, result: Any) -> np.ndarray:
        """Return a Tensor's or an ndarray's numbers."""
        return np.asarray(result.detach().numpy() if isinstance(result, Tensor) else result)

    def conv2d_forward(self, layer: Convolution, batch: int) -> Row:
        """The row, each on the one before where shapes chain; two results take turns."""
        x = as_image(images(layer.in_shape(batch)))
        results = [_core.empty_image(*layer.out_shape(batch)) for _ in range(2)]
        calls = [_forward(layer, x, Tensor(array)) for array in weights(layer, batch)]
        with _core.Recording() as recording:
            for i, call in enumerate(calls):
                call(results[i % 2], results[1 - i % 2] if layer.chains and i else x)
        last = results[(len(calls) - 1) % 2]
        return Row(_replayed(recording, last), len(calls))

    def _gradient(self, layer: Convolution, batch: int, needs: tuple[bool, bool]) -> Run:
        x, w = Tensor.wrap(as_image(images(layer.in_shape(batch)))), weight(layer.weight_shape)
        rest = (None, layer.stride, layer.padding, 1, layer.groups)
        node = F.conv2d(x, Tensor(w, requires_grad=True), *rest).grad_fn
        assert node is not None and node.backward is not None
        dy = as_image(images(layer.out_shape(batch), 3))
        with _core.Recording() as recording:
            result = node.backward(dy, needs)[needs.index(True)]
        return _replayed(recording, result)

    def conv2d_backward_input(self, layer: Convolution, batch: int) -> Run:
        """The gradient of the images."""
        return self._gradient(layer, batch, (True, False))

    def conv2d_backward_weight(self, layer: Convolution, batch: int) -> Run:
        """The gradient of the weight."""
        return self._gradient(layer, batch, (False, True))

    def matmul(self, m: int, n: int, k: int, scale: float = 1.0) -> Run:
        """`functional.matmul`."""
        a, b = Tensor(normal((m, k), 0, scale)), Tensor(normal((k, n), 1))
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

    def network_file(self, name: str) -> Path:
        """What `CompiledModel.save` writes, anew where the package has changed since."""
        path = exported.exported(name)
        package = Path(cnnfast.__file__).parent
        changed = max(file.stat().st_mtime for file in package.rglob("*.[ps][yo]"))
        saved = exported.made(f"{name}.cnnfast", lambda new: _convert(path, new))
        if saved.stat().st_mtime < changed:
            _convert(path, saved)
        return saved

    def load(self, file: Path, image: np.ndarray) -> Run:
        """A compiled model; plans are made in the first call."""
        model = CompiledModel.load(file)
        return lambda: model(image)

    def _step(self, network: str, shape: tuple[int, ...]) -> Run:
        model = initial_model(network)
        x, y = images(shape), labels(shape[0], 10)
        update = optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
        step = TrainStep(model, F.cross_entropy, update)
        return lambda: step(x, y)

    def lenet5_step(self, batch: int) -> Run:
        """A training step of `models.lenet5`."""
        return self._step("lenet5", (batch, 1, 28, 28))

    def resnet18_cifar_step(self, batch: int) -> Run:
        """A training step of `models.resnet18_cifar`."""
        return self._step("resnet18_cifar", (batch, 3, 32, 32))


def _convert(source: Path, saved: Path) -> None:
    """Compile an ONNX file and save what becomes of it."""
    cnnfast.onnx.load(source).save(saved)


def initial_model(network: str) -> cnnfast.nn.Module:
    """Return a network whose first weights are the same every time."""
    cnnfast.manual_seed(0)
    return models.build(network)


def initial_state(network: str) -> dict[str, np.ndarray]:
    """Return the first weights and buffers by torch's keys: what every contestant starts from."""
    state = initial_model(network).state_dict()
    return {key: np.array(value.detach().numpy()) for key, value in state.items()}
