"""The small kernels under pytest-benchmark: `pytest benchmarks --benchmark-only`.

Sizes are LeNet-5's at batch 64, where a call costs as much as the arithmetic. The large ones and
the other contestants are `python -m benchmarks`.
"""

from __future__ import annotations

from typing import Any

import pytest

from .contestants.engine import Engine
from .layers import Convolution, lenet5

CONV1, CONV2 = lenet5()
SMALL: dict[str, tuple[Any, ...]] = {
    "conv2d 1 -> 6, ten in a row": ("conv2d_forward", CONV1, 64),
    "conv2d 6 -> 16, ten in a row": ("conv2d_forward", CONV2, 64),
    "conv2d 6 -> 16, input gradient": ("conv2d_backward_input", CONV2, 64),
    "conv2d 6 -> 16, weight gradient": ("conv2d_backward_weight", CONV2, 64),
    "depthwise, ten in a row": ("conv2d_forward", Convolution(32, 28, 32, 3, groups=32), 1),
    "linear": ("linear", 64, 120, 400),
    "matmul": ("matmul", 64, 64, 64),
    "relu": ("relu", (64, 6, 28, 28)),
    "add": ("add", (64, 6, 28, 28)),
    "batch_norm, training": ("batch_norm_training", (64, 6, 28, 28)),
    "batch_norm, evaluation": ("batch_norm_evaluation", (64, 6, 28, 28)),
    "max_pool2d": ("max_pool2d", (64, 6, 28, 28)),
    "mean_pool2d": ("mean_pool2d", (64, 6, 28, 28)),
    "softmax": ("softmax", 64, 10),
    "sgd": ("sgd", 61_706),
    "adam": ("adam", 61_706),
    "training step": ("lenet5_step", 64),
}


@pytest.mark.parametrize("name", SMALL)
def test_kernel(benchmark: Any, name: str) -> None:
    """Time one kernel on the best instruction set with the default number of threads."""
    from cnnfast import _core

    kind, *arguments = SMALL[name]
    run = getattr(Engine(_core.isa()), kind)(*arguments)
    assert benchmark(run) is not None
