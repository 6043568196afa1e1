"""Training LeNet-5 and ResNet-18 in NumPy: products, layers with their gradients, SGD.

Images are (N, H, W, C) float32, weights have torch's shapes. A layer keeps what its `backward`
needs from the last `forward`; `parameters` yields pairs of a value and its gradient. numpy_loops.py
uses `Products` for single layers and `training_step` for whole networks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from ..data import labels, normal
from . import Run
from .engine import initial_state

State = Mapping[str, np.ndarray]
Index = tuple[slice, slice, slice]


def _taps(
    w: tuple[int, ...], stride: int, out: tuple[int, ...]
) -> Iterator[tuple[int, int, Index]]:
    """(i, j, index): padded[index] is what tap (i, j) reads."""
    for i, j in np.ndindex(w[2], w[3]):
        rows = slice(i, i + (out[1] - 1) * stride + 1, stride)
        columns = slice(j, j + (out[2] - 1) * stride + 1, stride)
        yield i, j, (slice(None), rows, columns)


def _pad(x: np.ndarray, padding: int) -> np.ndarray:
    return np.pad(x, ((0, 0), (padding,) * 2, (padding,) * 2, (0, 0))) if padding else x


class Products:
    """Sums of products, by NumPy's own loops or by BLAS, and the convolutions made of them."""

    def __init__(self, blas: bool) -> None:
        self.blas = blas

    def __call__(self, subscripts: str, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Return `einsum` of two arrays."""
        return np.einsum(subscripts, a, b, optimize=self.blas)

    def _forward_shape(
        self, x: np.ndarray, w: np.ndarray, stride: int, padding: int
    ) -> tuple[int, int, int, int]:
        rows, columns = (
            (x.shape[axis + 1] + 2 * padding - w.shape[axis + 2]) // stride + 1 for axis in (0, 1)
        )
        return x.shape[0], rows, columns, w.shape[0]

    def conv2d(self, x: np.ndarray, w: np.ndarray, stride: int, padding: int) -> np.ndarray:
        """Return the convolution of x with w (O, I, kh, kw)."""
        y = np.zeros(self._forward_shape(x, w, stride, padding), x.dtype)
        padded, taps = _pad(x, padding), np.ascontiguousarray(w.transpose(2, 3, 0, 1))
        for i, j, index in _taps(w.shape, stride, y.shape):
            y += self("nhwc,oc->nhwo", padded[index], taps[i, j])
        return y

    def depthwise(self, x: np.ndarray, w: np.ndarray, stride: int, padding: int) -> np.ndarray:
        """Return the convolution of each channel with its own kernel, w (C, 1, kh, kw)."""
        y = np.zeros(self._forward_shape(x, w, stride, padding), x.dtype)
        padded = _pad(x, padding)
        for i, j, index in _taps(w.shape, stride, y.shape):
            y += padded[index] * w[:, 0, i, j]
        return y

    def conv2d_dx(
        self, dy: np.ndarray, shape: tuple[int, ...], w: np.ndarray, stride: int, padding: int
    ) -> np.ndarray:
        """Return the gradient of the input, whose shape is given."""
        n, h, wide, c = shape
        dx = np.zeros((n, h + 2 * padding, wide + 2 * padding, c), dy.dtype)
        taps = np.ascontiguousarray(w.transpose(2, 3, 1, 0))
        for i, j, index in _taps(w.shape, stride, dy.shape):
            dx[index] += self("nhwo,co->nhwc", dy, taps[i, j])
        return dx[:, padding : padding + h, padding : padding + wide]

    def conv2d_dw(
        self, dy: np.ndarray, x: np.ndarray, shape: tuple[int, ...], stride: int, padding: int
    ) -> np.ndarray:
        """Return the gradient of the weight, whose shape is given."""
        dw, padded = np.empty(shape, dy.dtype), _pad(x, padding)
        for i, j, index in _taps(shape, stride, dy.shape):
            dw[:, :, i, j] = self("nhwo,nhwc->oc", dy, padded[index])
        return dw


def softmax(x: np.ndarray) -> np.ndarray:
    """Return softmax over the last axis."""
    powers = np.exp(x - x.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


class Layer:
    """A layer without parameters; the others derive from it."""

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Return the layer's result."""
        raise NotImplementedError

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """Return the gradient of the input of the last `forward`."""
        raise NotImplementedError

    def parameters(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield each parameter with its gradient of the last `backward`."""
        return iter(())


class Convolution(Layer):
    """2-D convolution; `first` layers return no gradient of their input."""

    def __init__(
        self,
        products: Products,
        state: State,
        key: str,
        stride: int,
        padding: int,
        first: bool = False,
    ) -> None:
        self.products, self.arguments, self.first = products, (stride, padding), first
        self.w, self.b = state[f"{key}.weight"], state.get(f"{key}.bias")

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Convolve x."""
        self.x = x
        y = self.products.conv2d(x, self.w, *self.arguments)
        return y if self.b is None else y + self.b

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """Keep the weight's gradient and return the input's."""
        self.dw = self.products.conv2d_dw(dy, self.x, self.w.shape, *self.arguments)
        self.db = dy.sum((0, 1, 2))
        return (
            dy if self.first else self.products.conv2d_dx(dy, self.x.shape, self.w, *self.arguments)
        )

    def parameters(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the weight and, where there is one, the bias."""
        yield self.w, self.dw
        if self.b is not None:
            yield self.b, self.db


class Linear(Layer):
    """x w^T + b."""

    def __init__(self, products: Products, state: State, key: str) -> None:
        self.products, self.w, self.b = products, state[f"{key}.weight"], state[f"{key}.bias"]

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Map rows."""
        self.x = x
        return self.products("nc,oc->no", x, self.w) + self.b

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """Keep the gradients of weight and bias and return the input's."""
        self.dw, self.db = self.products("no,nc->oc", dy, self.x), dy.sum(0)
        return self.products("no,oc->nc", dy, self.w)

    def parameters(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the weight and the bias."""
        yield self.w, self.dw
        yield self.b, self.db


class ReLU(Layer):
    """The larger of x and 0."""

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Cut off below 0."""
        self.y = np.maximum(x, 0)
        return self.y

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """Pass what was above 0."""
        return dy * (self.y > 0)


class MaxPool(Layer):
    """Windows of 2x2 that do not overlap; the first of equals gets the gradient."""

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Take the largest of each window."""
        n, h, w, c = x.shape
        windows = x.reshape(n, h // 2, 2, w // 2, 2, c).swapaxes(2, 3)
        windows = windows.reshape(n, h // 2, w // 2, 4, c)
        self.chosen = windows.argmax(3)[:, :, :, None]
        return np.take_along_axis(windows, self.chosen, 3)[:, :, :, 0]

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """Send each gradient to where its element came from."""
        n, h, w, c = dy.shape
        windows = np.zeros((n, h, w, 4, c), np.float32)
        np.put_along_axis(windows, self.chosen, dy[:, :, :, None], 3)
        return windows.reshape(n, h, w, 2, 2, c).swapaxes(2, 3).reshape(n, 2 * h, 2 * w, c)


class Flatten(Layer):
    """(N, H, W, C) to rows in torch's order, which is that of (C, H, W)."""

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Lay each image out as a row."""
        self.shape = x.shape
        return x.transpose(0, 3, 1, 2).reshape(x.shape[0], -1)

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """Make images of rows."""
        n, h, w, c = self.shape
        return dy.reshape(n, c, h, w).transpose(0, 2, 3, 1)


class MeanPool(Layer):
    """The mean over each image: (N, H, W, C) to (N, C)."""

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Take the mean."""
        self.shape = x.shape
        return x.mean((1, 2))

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """Share each gradient among the pixels."""
        pixels = self.shape[1] * self.shape[2]
        return np.broadcast_to((dy / np.float32(pixels))[:, None, None], self.shape)


class BatchNorm(Layer):
    """Batch norm in training, with its running moments."""

    def __init__(self, state: State, key: str) -> None:
        self.gamma, self.beta = state[f"{key}.weight"], state[f"{key}.bias"]
        self.mean, self.variance = state[f"{key}.running_mean"], state[f"{key}.running_var"]

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Normalise by the moments of the batch."""
        mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
        count = x.size // x.shape[3]
        unbiased = variance * np.float32(count / (count - 1))
        self.mean += np.float32(0.1) * (mean - self.mean)
        self.variance += np.float32(0.1) * (unbiased - self.variance)
        self.scale = 1 / np.sqrt(variance + np.float32(1e-5))
        self.normal = (x - mean) * self.scale
        return self.normal * self.gamma + self.beta

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """Ioffe and Szegedy, Batch Normalization, ICML 2015, section 3, simplified."""
        axes = (0, 1, 2)
        self.dgamma, self.dbeta = (dy * self.normal).sum(axes), dy.sum(axes)
        count = np.float32(dy.size // dy.shape[3])
        inner = dy - (self.dbeta + self.normal * self.dgamma) / count
        return inner * (self.gamma * self.scale)

    def parameters(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield scale and shift."""
        yield self.gamma, self.dgamma
        yield self.beta, self.dbeta


class Chain(Layer):
    """Layers one after the other."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.layers = layers

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Run all layers."""
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """Run all layers' gradients, last first."""
        for layer in reversed(self.layers):
            dy = layer.backward(dy)
        return dy

    def parameters(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield all layers' parameters."""
        for layer in self.layers:
            yield from layer.parameters()


class Residual(Layer):
    """relu(branch(x) + shortcut(x)); an empty shortcut is the identity."""

    def __init__(self, branch: Chain, shortcut: Chain) -> None:
        self.branch, self.shortcut, self.relu = branch, shortcut, ReLU()

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Add the two ways."""
        return self.relu.forward(self.branch.forward(x) + self.shortcut.forward(x))

    def backward(self, dy: np.ndarray) -> np.ndarray:
        """Add the two ways' gradients."""
        dy = self.relu.backward(dy)
        return self.branch.backward(dy) + self.shortcut.backward(dy)

    def parameters(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield both ways' parameters."""
        yield from self.branch.parameters()
        yield from self.shortcut.parameters()


def lenet5(products: Products) -> Chain:
    """Return LeNet-5 with the weights that every contestant starts from."""
    state = initial_state("lenet5")
    first, second = (
        Convolution(products, state, "conv1", 1, 2, first=True),
        Convolution(products, state, "conv2", 1, 0),
    )
    dense = [Linear(products, state, f"fc{i}") for i in (1, 2, 3)]
    return Chain(
        [
            first,
            ReLU(),
            MaxPool(),
            second,
            ReLU(),
            MaxPool(),
            Flatten(),
            dense[0],
            ReLU(),
            dense[1],
            ReLU(),
            dense[2],
        ]
    )


def _block(products: Products, state: State, key: str, stride: int) -> Residual:
    """Two 3x3 convolutions beside the identity or, where there is one, a 1x1 convolution."""
    branch = [
        Convolution(products, state, f"{key}.conv1", stride, 1),
        BatchNorm(state, f"{key}.bn1"),
        ReLU(),
        Convolution(products, state, f"{key}.conv2", 1, 1),
        BatchNorm(state, f"{key}.bn2"),
    ]
    shortcut: list[Layer] = []
    if f"{key}.downsample.0.weight" in state:
        shortcut = [
            Convolution(products, state, f"{key}.downsample.0", stride, 0),
            BatchNorm(state, f"{key}.downsample.1"),
        ]
    return Residual(Chain(branch), Chain(shortcut))


def resnet18_cifar(products: Products) -> Chain:
    """Return ResNet-18 for 32x32 images with the weights that every contestant starts from."""
    state = initial_state("resnet18_cifar")
    blocks = [
        _block(products, state, f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1)
        for stage in (1, 2, 3, 4)
        for block in (0, 1)
    ]
    start = [
        Convolution(products, state, "conv1", 1, 1, first=True),
        BatchNorm(state, "bn1"),
        ReLU(),
    ]
    return Chain([*start, *blocks, MeanPool(), Linear(products, state, "fc")])


def training_step(network: Chain, shape: tuple[int, ...]) -> Run:
    """Return a function that trains one step on the same batch and returns the loss before it."""
    x = np.ascontiguousarray(normal(shape).transpose(0, 2, 3, 1))
    y, rows = labels(shape[0], 10), np.arange(shape[0])
    buffers: list[np.ndarray] = []

    def run() -> np.ndarray:
        share = softmax(network.forward(x))
        loss = -np.log(share[rows, y]).mean()
        share[rows, y] -= 1
        network.backward(share / np.float32(len(y)))
        for index, (value, gradient) in enumerate(network.parameters()):
            gradient = gradient + np.float32(5e-4) * value
            if index == len(buffers):
                buffers.append(gradient)
            else:
                buffers[index] = np.float32(0.9) * buffers[index] + gradient
            value -= np.float32(0.01) * buffers[index]
        return loss

    return run
