"""The one list of cases: what is computed, on which sizes, and how much work that is.

A case names an operation and its arguments; every contestant has a method of that name, which takes
the arguments and returns a function to be timed. `python -m benchmarks` runs the list, and
tests/test_benchmarks.py compares what the contestants compute.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

from . import layers as nets
from . import networks
from .layers import Convolution

SUITES = ("layers", "gemm", "memory", "steps", "import", "infer")

GEMM_SIZES = (
    (512, 512, 512),
    (1024, 1024, 1024),
    (2048, 2048, 2048),
    (8 * 56 * 56, 256, 64),  # ResNet-50's 1x1 convolutions at batch 8
    (8 * 7 * 7, 512, 2048),
)
LINEAR_SIZES = ((64, 4096, 4096), (1, 4096, 4096))  # VGG's and AlexNet's hidden layer

BATCHES = (1, 8, 64)
MOST_BYTES = 2**28
"""A convolution's images, weight and result together: 268 MB, so that a run takes minutes."""

DENORMAL = 1e-39
"""Scale of numbers that float32 holds as denormals: all those below 1.18e-38."""

SECONDS = 1.3
"""Budget of a case."""

SECONDS_NETWORK = 5.0
"""Budget of a network, of which a call lasts up to a second."""

RAPIDOCR = (("rapidocr_detector", (1,)), ("rapidocr_classifier", (1, 16)),
            ("rapidocr_recogniser", (1, 16)))  # fmt: skip
"""The networks of exported.RAPIDOCR, with their batches."""

STARTED = ("lenet5", "mobilenet_v2", "resnet50")
"""Networks whose start is measured; of the last one also what it costs while idle."""

IMAGES = (64, 64, 56, 56)
"""51 MB in float32: more than the caches hold, so that main memory is what counts."""


@dataclass(frozen=True)
class Case:
    """One measurement.

    Attributes
    ----------
    name : str
        Unique in the list.
    suite : str
        One of `SUITES`.
    kind : str
        The operation: the name of a method of every contestant.
    arguments : tuple
        What that method takes.
    flops : int
        Floating point operations of the direct algorithm.
    bytes : int
        Bytes that must move between memory and the core at least, where they bound the speed.
    count : int
        How often the layer occurs in the networks that it is taken from.
    everyday : bool
        Whether a run of all suites includes it; a run of its suite does in any case.
    seconds : float
        Its budget for all contestants together.
    """

    name: str
    suite: str
    kind: str
    arguments: tuple[Any, ...] = ()
    flops: int = 0
    bytes: int = 0
    count: int = 1
    everyday: bool = True
    seconds: float = SECONDS


def layer_cases() -> Iterator[Case]:
    """Each distinct convolution of all networks, forward and both gradients, at each batch.

    Images that with the weight and the result take more than `MOST_BYTES` are left out. A run of
    all suites takes the ResNets only: forward at batch 1 and 8, gradients at batch 8.
    """
    everyday = nets.resnets()
    for kind in ("conv2d_forward", "conv2d_backward_input", "conv2d_backward_weight"):
        for batch, (layer, count) in product(BATCHES, nets.all_layers().items()):
            flops, moved = layer.flops(batch), layer.bytes(batch)
            if moved > MOST_BYTES or (kind == "conv2d_backward_input" and layer.channels <= 3):
                continue  # no training step asks for the gradient of its images
            known = layer in everyday and (batch == 8 or (kind, batch) == ("conv2d_forward", 1))
            name, count = f"{kind} {layer} batch {batch}", everyday[layer] if known else count
            yield Case(name, "layers", kind, (layer, batch), flops, moved, count, known)


def gemm_cases() -> Iterator[Case]:
    """Products of two matrices, and linear layers, whose weight may be prepared in advance."""
    for kind, sizes in (("matmul", GEMM_SIZES), ("linear", LINEAR_SIZES)):
        for m, n, k in sizes:
            suite = "gemm" if m > 1 else "memory"  # a single row only reads the weight
            name, moved = f"{kind} {m}x{k} {k}x{n}", 4 * (m * k + k * n + m * n)
            yield Case(name, suite, kind, (m, n, k), 2 * m * n * k, moved)
    name, size = "matmul 1024x1024 1024x1024 of denormals", 1024  # to be held against normal ones
    yield Case(name, "gemm", "matmul", (size, size, size, DENORMAL), 2 * size**3, 12 * size**2)


def memory_cases() -> Iterator[Case]:
    """Operations that wait for memory; arrays as they pass: read x, write y and so on."""
    for layer in nets.mobilenet_depthwise():
        name, flops, moved = f"{layer} batch 8", layer.flops(8), layer.bytes(8)
        yield Case(name, "memory", "conv2d_forward", (layer, 8), flops, moved)
    count = math.prod(IMAGES)
    shape = "x".join(map(str, IMAGES))
    # passes over an array of this size; batch norm in training reads x once more for its moments
    maps = (("relu", 1, 2), ("add", 1, 3), ("batch_norm_training", 5, 3))
    for kind, flops, passes in (*maps, ("batch_norm_evaluation", 2, 2)):
        name, moved = f"{kind} {shape}", 4 * passes * count
        yield Case(name, "memory", kind, (IMAGES,), flops * count, moved)
    yield Case(f"max_pool2d {shape}", "memory", "max_pool2d", (IMAGES,), 9 * count // 4, 5 * count)
    yield Case(f"mean_pool2d {shape}", "memory", "mean_pool2d", (IMAGES,), count, 4 * count)
    rows, columns = 8192, 1000
    yield Case(
        f"softmax {rows}x{columns}",
        "memory",
        "softmax",
        (rows, columns),
        5 * rows * columns,
        8 * rows * columns,
    )
    weights = 11_000_000  # about as many as ResNet-18 has
    yield Case(f"sgd {weights}", "memory", "sgd", (weights,), 6 * weights, 20 * weights)
    yield Case(f"adam {weights}", "memory", "adam", (weights,), 14 * weights, 28 * weights)


def step_flops(layers: list[Convolution], linear: int, batch: int) -> int:
    """Forward and both gradients of every layer; the first layer has no input gradient."""
    forward = sum(layer.flops(batch) for layer in layers) + 2 * batch * linear
    return 3 * forward - layers[0].flops(batch)


def step_cases(batch: int = 64) -> Iterator[Case]:
    """Training steps: forward, cross entropy, backward, SGD with momentum and weight decay."""
    lenet = step_flops(nets.lenet5(), 400 * 120 + 120 * 84 + 84 * 10, batch)
    resnet = step_flops(nets.resnet18_cifar(), 512 * 10, batch)
    for kind, flops in (("lenet5_step", lenet), ("resnet18_cifar_step", resnet)):
        yield Case(f"{kind} batch {batch}", "steps", kind, (batch,), flops)


def import_cases() -> Iterator[Case]:
    """What importing the package adds to importing NumPy."""
    yield Case("import", "import", "import_time")


def infer_cases() -> Iterator[Case]:
    """Whole networks, then what it takes to start some: they load, run once, and wait."""
    for name, work in networks.WORK.items():
        for batch in (1, 4 if name == "vgg16" else 16):
            title = f"{name} batch {batch}"
            yield Case(
                title, "infer", "network", (name, batch), 2 * batch * work, everyday=False,
                seconds=SECONDS_NETWORK,
            )  # fmt: skip
    for name, batches in RAPIDOCR:
        for batch in batches:
            title = f"{name} batch {batch}"
            yield Case(
                title, "infer", "network", (name, batch), everyday=False, seconds=SECONDS_NETWORK)
    for name in STARTED:
        idle = name == STARTED[-1]
        yield Case(f"{name} start", "infer", "start", (name, idle), everyday=False)


def all_cases() -> list[Case]:
    """Return the whole list, suite by suite."""
    suites = (layer_cases(), gemm_cases(), memory_cases(), step_cases(), import_cases(),
              infer_cases())  # fmt: skip
    return [case for suite in suites for case in suite]
