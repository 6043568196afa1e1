"""Random graphs of what networks are made of, for comparing the passes with plain running."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from cnnfast.graph import Graph, Node

Shape = tuple[int, ...]
ACTIVATIONS = ("Relu", "Sigmoid", "HardSwish", "LeakyRelu", "Tanh", "Softplus", "Neg", "Abs")


class Draw:
    """A graph under construction, with the shape of each value for one size of input."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        n, c, h, w = (self.number(*ends) for ends in ((1, 3), (1, 4), (3, 8), (3, 8)))
        self.shapes: dict[str, Shape] = {"x": (n, c, h, w)}
        self.nodes: list[Node] = []
        self.constants: dict[str, np.ndarray] = {}

    def number(self, low: int, high: int) -> int:
        """Return a number from low to high."""
        return int(self.rng.integers(low, high + 1))

    def one_of(self, values: Any) -> Any:
        return values[self.number(0, len(values) - 1)]

    def normal(self, *shape: int) -> str:
        """Return a constant away from 0, so that it may divide."""
        values = self.rng.standard_normal(shape)
        return self.constant((values + np.where(values < 0, -0.5, 0.5)).astype(np.float32))

    def constant(self, values: Any) -> str:
        name = f"k{len(self.constants)}"
        self.constants[name] = np.asarray(values)
        return name

    def add(self, operator: str, inputs: list[str], shape: Shape, **attributes: Any) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(Node(operator, inputs, [name], attributes))
        self.shapes[name] = shape
        return name

    def alike(self, wanted: Callable[[Shape], bool]) -> str:
        """Return a value whose shape is as wanted."""
        return self.one_of([name for name, shape in self.shapes.items() if wanted(shape)])


def convolution(d: Draw, x: str, n: int, c: int, h: int, w: int) -> None:
    group = d.one_of([1, c])
    out, size, pads = group * d.number(1, 4), d.number(1, 3), [d.number(0, 1) for _ in range(4)]
    size = min(size, h, w)
    weight = [d.normal(out, c // group, size, size)]
    bias = [d.normal(out)] * d.number(0, 1)
    shape = (n, out, h + pads[0] + pads[2] - size + 1, w + pads[1] + pads[3] - size + 1)
    d.add("Conv", [x, *weight, *bias], shape, group=group, pads=pads)


def normalisation(d: Draw, x: str, n: int, c: int, h: int, w: int) -> None:
    variance = d.constant(d.rng.random(c).astype(np.float32) + 0.1)
    d.add("BatchNormalization", [x, *(d.normal(c) for _ in range(3)), variance], (n, c, h, w))


def activation(d: Draw, x: str, *shape: int) -> None:
    d.add(d.one_of(ACTIVATIONS), [x], shape)


def hard(d: Draw, x: str, *shape: int) -> None:
    """HardSwish in pieces, or a part of it."""
    three, zero, six = (d.constant(np.float32(value)) for value in (3, 0, 6))
    gate = d.add("Clip", [d.add("Add", [x, three], shape), zero, six], shape)
    first, second = d.one_of([("Div", "Mul"), ("Mul", "Div"), ("Div", "Add"), ("Mul", "Mul")])
    for operator in (first, second):
        gate = d.add(operator, [gate, six if operator == "Div" else x], shape)


def arithmetic(d: Draw, x: str, n: int, c: int, h: int, w: int) -> None:
    operator = d.one_of(["Add", "Sub", "Mul", "Div"])
    sides = [(), (1,), (c, 1, 1), (1, c, 1, 1), (h, w), (3, 1, 1) if c == 1 else (1, 1, 1)]
    side = d.one_of(sides)
    pair = [x, d.normal(*side)]
    turned = operator in ("Add", "Mul", "Sub") and d.number(0, 1)
    d.add(operator, pair[::-1] if turned else pair, np.broadcast_shapes((n, c, h, w), side))


def pair(d: Draw, x: str, *shape: int) -> None:
    d.add(d.one_of(["Add", "Mul"]), [x, d.alike(lambda other: other == shape)], shape)


def gate(d: Draw, x: str, *shape: int) -> None:
    d.add("Mul", [x, d.add("Sigmoid", [x], shape)], shape)


def border(d: Draw, x: str, n: int, c: int, h: int, w: int) -> None:
    a, b, e, f = (d.number(0, 1) for _ in range(4))
    d.add("Pad", [x, d.constant([0, 0, a, b, 0, 0, e, f])], (n, c, h + a + e, w + b + f))


def pooling(d: Draw, x: str, n: int, c: int, h: int, w: int) -> None:
    if min(h, w) > 1:
        d.add(d.one_of(["MaxPool", "AveragePool"]), [x], (n, c, h - 1, w - 1), kernel_shape=[2, 2])


def whole(d: Draw, x: str, n: int, c: int, h: int, w: int) -> None:
    d.add("GlobalAveragePool", [x], (n, c, 1, 1))


def joined(d: Draw, x: str, n: int, c: int, h: int, w: int) -> None:
    other = d.alike(lambda s: len(s) == 4 and s[0] == n and s[2:] == (h, w))
    d.add("Concat", [x, other], (n, c + d.shapes[other][1], h, w), axis=1)


def rows(d: Draw, x: str, n: int, c: int, h: int, w: int) -> None:
    """One row a sample, or a row a channel."""
    each = d.one_of([c * h * w, c * h * w, h * w])
    if each == c * h * w and d.number(0, 1):
        d.add("Flatten", [x], (n, each), axis=1)
        return
    first = d.one_of([0, n, -1]) if each == c * h * w else -1
    sizes = [first, -1 if first != -1 else each]
    d.add("Reshape", [x, d.constant(sizes)], (n * c * h * w // each, each))


def linear(d: Draw, x: str, n: int, features: int) -> None:
    out = d.number(1, 4)
    if d.number(0, 1):
        d.add("Gemm", [x, d.normal(out, features), d.normal(out)], (n, out), transB=1, alpha=0.5)
        return
    product = d.add("MatMul", [x, d.normal(features, out)], (n, out))
    d.add("Add", [product, d.normal(out)], (n, out))


OF_IMAGES: tuple[Callable[..., None], ...] = (
    convolution, convolution, convolution, normalisation, activation, hard, arithmetic,
    arithmetic, pair, gate, border, pooling, whole, joined, rows,
)
OF_ROWS: tuple[Callable[..., None], ...] = (linear, linear, activation, pair)


def random_graph(seed: int) -> tuple[Graph, np.ndarray]:
    """Return a graph and an input for it."""
    d = Draw(seed)
    given = d.shapes["x"]
    for _ in range(d.number(3, 12)):
        x = list(d.shapes)[-1] if d.number(0, 3) else d.one_of(list(d.shapes))
        shape = d.shapes[x]
        if math.prod(shape) < 1 << 14:
            d.one_of(OF_IMAGES if len(shape) == 4 else OF_ROWS)(d, x, *shape)
    if not d.nodes:
        activation(d, "x", *given)
    outputs = [d.nodes[-1].outputs[0], *[d.one_of(list(d.shapes)[1:])] * d.number(0, 1)]
    shape = d.one_of([given, (None, given[1], None, None)])
    inputs = {"x": ("float32", shape)}
    graph = Graph(d.nodes, inputs, list(dict.fromkeys(outputs)), d.constants, {"": 21})
    return graph, d.rng.standard_normal(given).astype(np.float32)
