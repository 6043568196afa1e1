"""Networks of `cnnfast.models` as tests compare them: weights that show mistakes, eager results."""

from __future__ import annotations

from typing import Any

import numpy as np
from rounding import uniform

import cnnfast
from cnnfast import Tensor, models, nn

_SHAPES = {"lenet5": (3, 1, 28, 28), "mlp": (3, 1, 28, 28), "vgg_small": (2, 3, 32, 32)}


def randomised(model: nn.Module) -> nn.Module:
    """Return the model with statistics and shifts that are not 0 and 1, in evaluation mode."""
    for name, tensor in [*model.named_buffers(), *model.named_parameters()]:
        if tensor.ndim == 1 and tensor.dtype == np.float32:
            noise = uniform(*tensor.shape) * 0.1
            tensor.detach().copy_(noise + (1.0 if name.endswith(("var", "weight")) else 0.0))
    return model.eval()


def network(name: str) -> tuple[nn.Module, np.ndarray]:
    """Return a randomised network by name, and images for it."""
    model, shape = models.build(name), _SHAPES.get(name, (2, 3, 64, 64))
    try:
        model.eval()(Tensor(uniform(*shape)))
    except ValueError:
        shape = (2, 1, *shape[2:])
    return randomised(model), uniform(*shape)


def eager(model: Any, *arrays: np.ndarray) -> np.ndarray:
    """Return what the model computes, as an array."""
    with cnnfast.no_grad():
        return model(*map(Tensor, arrays)).numpy()


def close(result: np.ndarray, wanted: np.ndarray) -> None:
    """Check that the result is within 1e-5 of the largest value."""
    np.testing.assert_allclose(result, wanted, rtol=1e-5, atol=1e-5 * np.abs(wanted).max())
