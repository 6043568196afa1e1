"""NumPy, as one writes it: channels last, a convolution as a loop over its taps.

Runs twice. `blas=False` is the reference: float64 as in tests/reference, multiplied by NumPy's own
loops (`einsum`, on one thread). `blas=True` is NumPy at its best: float32, and `einsum` may hand
the products to the BLAS that NumPy came with. Whole training steps are float32 in both.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from ..cases import Case
from ..data import normal, weight
from ..layers import Convolution
from . import Run
from .numpy_network import Products, lenet5, resnet18_cifar, softmax, training_step


def _channels_last(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1))


def contestants(isa: str) -> list[NumPy]:
    """Return what this module brings to the line-up."""
    return [NumPy(isa, blas=True), NumPy(isa, blas=False)]


class NumPy:
    """NumPy with or without BLAS."""

    package = "numpy"
    prepares = False

    def __init__(self, isa: str, blas: bool) -> None:
        self.isa = isa
        self.name = "numpy-blas" if blas else "numpy"
        self.pace = 5e10 if blas else 5e9
        self.products = Products(blas)
        self.dtype = np.float32 if blas else np.float64

    def activate(self, threads: int) -> None:
        """Set the number of threads of NumPy's BLAS."""
        threadpool_limits(threads, user_api="blas")

    def fits(self, case: Case) -> bool:
        """Every case does that belongs to a run of all suites; the others would take too long."""
        return case.everyday

    def as_array(self, result: Any) -> np.ndarray:
        """Return the result; images become logical NCHW."""
        array = np.asarray(result)
        return array.transpose(0, 3, 1, 2) if array.ndim == 4 else array

    def _normal(self, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
        return normal(shape, seed).astype(self.dtype)

    def _image(self, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
        """An image of logical shape (N, C, H, W)."""
        return _channels_last(self._normal(shape, seed))

    def _convolution(
        self, layer: Convolution, batch: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The input, the weight and the gradient of the result."""
        x, dy = self._image(layer.in_shape(batch)), self._image(layer.out_shape(batch), 3)
        return x, weight(layer.weight_shape).astype(self.dtype), dy

    def conv2d_forward(self, layer: Convolution, batch: int) -> Run:
        """Convolution, depthwise where the layer is."""
        x, w, _ = self._convolution(layer, batch)
        if layer.groups > 1:
            return lambda: self.products.depthwise(x, w, layer.stride, layer.padding)
        return lambda: self.products.conv2d(x, w, layer.stride, layer.padding)

    def conv2d_backward_input(self, layer: Convolution, batch: int) -> Run:
        """The gradient of the images."""
        x, w, dy = self._convolution(layer, batch)
        return lambda: self.products.conv2d_dx(dy, x.shape, w, layer.stride, layer.padding)

    def conv2d_backward_weight(self, layer: Convolution, batch: int) -> Run:
        """The gradient of the weight; its axes are put where `as_array` takes them from."""
        x, w, dy = self._convolution(layer, batch)
        compute = self.products.conv2d_dw
        return lambda: compute(dy, x, w.shape, layer.stride, layer.padding).transpose(0, 2, 3, 1)

    def matmul(self, m: int, n: int, k: int, scale: float = 1.0) -> Run:
        """The product of two matrices."""
        a, b = normal((m, k), 0, scale).astype(self.dtype), self._normal((k, n), 1)
        return lambda: self.products("mk,kn->mn", a, b)

    def linear(self, m: int, n: int, k: int) -> Run:
        """The product with a transposed weight."""
        x, w = self._normal((m, k)), weight((n, k)).astype(self.dtype)
        return lambda: self.products("mk,nk->mn", x, w)

    def relu(self, shape: tuple[int, ...]) -> Run:
        """The larger of x and 0."""
        x = self._image(shape)
        return lambda: np.maximum(x, 0)

    def add(self, shape: tuple[int, ...]) -> Run:
        """The sum of two arrays."""
        a, b = self._image(shape), self._image(shape, 1)
        return lambda: a + b

    def _batch_norm(self, shape: tuple[int, ...], training: bool) -> Run:
        x, channels = self._image(shape), shape[1]
        gamma, beta = self._normal((channels,), 1), self._normal((channels,), 2)
        running = np.zeros(channels, self.dtype), np.ones(channels, self.dtype)

        def run() -> np.ndarray:
            mean, variance = (x.mean((0, 1, 2)), x.var((0, 1, 2))) if training else running
            scale = gamma / np.sqrt(variance + self.dtype(1e-5))
            return x * scale + (beta - mean * scale)

        return run

    def batch_norm_training(self, shape: tuple[int, ...]) -> Run:
        """Batch norm by the moments of the batch."""
        return self._batch_norm(shape, True)

    def batch_norm_evaluation(self, shape: tuple[int, ...]) -> Run:
        """Batch norm by given moments."""
        return self._batch_norm(shape, False)

    def max_pool2d(self, shape: tuple[int, ...]) -> Run:
        """Windows of 3x3, stride 2, padded by 1."""
        x = self._image(shape)
        rows, columns = (size // 2 for size in shape[2:])

        def run() -> np.ndarray:
            padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
            best = padded[:, : 2 * rows : 2, : 2 * columns : 2]
            for i, j in np.ndindex(3, 3):
                best = np.maximum(best, padded[:, i : i + 2 * rows : 2, j : j + 2 * columns : 2])
            return best

        return run

    def mean_pool2d(self, shape: tuple[int, ...]) -> Run:
        """The mean of each channel."""
        x = self._image(shape)
        return lambda: x.mean((1, 2), keepdims=True)

    def softmax(self, rows: int, columns: int) -> Run:
        """Softmax over the columns."""
        x = self._normal((rows, columns))
        return lambda: softmax(x)

    def sgd(self, count: int) -> Run:
        """SGD with momentum and weight decay, in place."""
        p, g = self._normal((count,)), self._normal((count,), 1)
        buffer = np.zeros(count, self.dtype)

        def run() -> np.ndarray:
            nonlocal p
            buffer[...] = 0.9 * buffer + (g + 5e-4 * p)
            p -= 1e-3 * buffer
            return p

        return run

    def adam(self, count: int) -> Run:
        """Adam, in place."""
        p, g = self._normal((count,)), self._normal((count,), 1)
        m, v = np.zeros(count, self.dtype), np.zeros(count, self.dtype)
        step = 0

        def run() -> np.ndarray:
            nonlocal p, step
            step += 1
            m[...] = 0.9 * m + 0.1 * g
            v[...] = 0.999 * v + 0.001 * (g * g)
            root = np.sqrt(v / (1 - 0.999**step)) + 1e-8
            p -= (1e-3 / (1 - 0.9**step)) * m / root
            return p

        return run

    def lenet5_step(self, batch: int) -> Run:
        """A training step of LeNet-5."""
        return training_step(lenet5(self.products), (batch, 1, 28, 28))

    def resnet18_cifar_step(self, batch: int) -> Run:
        """A training step of ResNet-18 for 32x32 images."""
        return training_step(resnet18_cifar(self.products), (batch, 3, 32, 32))
