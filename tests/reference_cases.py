"""Each operator of the reference with every kind of option, and how to compare what it returns.

`CASES` and `OURS_ALONE` are lists of (name, arguments) for pytest; `tests/test_reference.py` holds
them against finite differences, `tests/test_reference_torch.py` against torch.
"""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np
import pytest
import reference

Arguments = dict[str, Any]
TWO_OPERANDS = ("add", "sub", "mul", "div", "pow", "maximum", "minimum", "matmul")


def some(*shape: int, seed: int = 0) -> np.ndarray:
    """Values 0.05 apart in random order: no ties, and no corner of an activation within 0.025."""
    count = math.prod(shape)
    order = np.random.default_rng(seed).permutation(count) - count // 2
    return (order * 0.05 + 0.025).reshape(shape)


def positive(*shape: int, seed: int = 0) -> np.ndarray:
    """As `some`, but all at least 0.5."""
    values = some(*shape, seed=seed)
    return values - values.min() + 0.5


def within(low: float, high: float, *shape: int, seed: int = 0) -> np.ndarray:
    """Uniform values."""
    return np.random.default_rng(seed).uniform(low, high, shape)


def labels(classes: int, *shape: int, seed: int = 0) -> np.ndarray:
    """Class numbers."""
    return np.random.default_rng(seed).integers(0, classes, shape)


def first(y: Any) -> Any:
    """The values of an operator that also returns indices or statistics."""
    return y[0] if isinstance(y, tuple) else y


def gradients(name: str, arguments: Arguments, dy: np.ndarray) -> tuple[np.ndarray, ...]:
    """What `name`_backward returns for the arguments that it takes, as a tuple."""
    backward = getattr(reference, f"{name}_backward")
    known = inspect.signature(backward).parameters
    result = backward(dy, **{k: v for k, v in arguments.items() if k in known})
    return result if isinstance(result, tuple) else (result,)


def differentiable(arguments: Arguments) -> list[str]:
    """Names of the arguments that have gradients, in the order in which they are returned."""
    names = [n for n in ("x", "a", "w", "weight", "b", "bias") if arguments.get(n) is not None]
    loss_weight = "target" in arguments and "weight" in names
    return [n for n in names if not (n == "weight" and loss_weight)]


def close(mine: Any, theirs: Any, rtol: float = 1e-9, atol: float = 1e-10) -> None:
    """Equal shapes, and values up to rounding."""
    mine, theirs = np.asarray(mine), np.asarray(theirs)
    assert mine.shape == theirs.shape
    np.testing.assert_allclose(mine, theirs, rtol, atol)


def case(name: str, **arguments: Any) -> Any:
    """One operator and its arguments, named by the operator and its options."""
    options = {k: v for k, v in arguments.items() if not isinstance(v, np.ndarray)}
    return pytest.param(
        name, arguments, id="-".join([name, *(f"{k}={options[k]}" for k in options)])
    )


X4, X3, XY = some(2, 4, 5, 6), some(2, 4, 7), some(3, 4)
CHANNEL, SHIFT = positive(4, seed=1), some(4, seed=2)
MEAN, VAR = some(4, seed=3), positive(4, seed=4)
AFFINE = {"weight": CHANNEL, "bias": SHIFT}
SHARES = np.exp(within(0, 1, 3, 4))
SHARES /= SHARES.sum(axis=1, keepdims=True)
PROBABLE = within(0.1, 0.9, 3, 4)
SCORES, PIXELS = some(6, 4), labels(4, 2, 5, 6)
SOME_LABELS = np.array([0, 3, -100, 1, 1, 2])

CASES = [
    case("conv2d", x=X4, w=some(6, 2, 3, 2), b=some(6), stride=(2, 1), padding=(1, 2), groups=2),
    case("conv2d", x=X4, w=some(3, 4, 2, 3), b=some(3), padding="same", dilation=(2, 1)),
    case("conv2d", x=X4, w=some(4, 1, 3, 3), b=some(4), padding="valid", groups=4),
    case("conv1d", x=X3, w=some(6, 2, 3), b=some(6), stride=2, padding=1, dilation=2, groups=2),
    case("conv1d", x=X3, w=some(6, 4, 4), b=some(6), padding="same"),
    case("conv_transpose2d", x=X4, w=some(4, 3, 3, 2), b=some(6), stride=(2, 3), groups=2,
         padding=(1, 0), output_padding=(1, 2), dilation=(1, 2)),
    case("conv_transpose1d", x=X3, w=some(4, 3, 3), b=some(3), stride=2, output_padding=1),
    case("linear", x=some(2, 3, 4), w=some(5, 4), b=some(5)),
    case("linear", x=some(4), w=some(5, 4), b=some(5)),
    case("matmul", a=some(2, 1, 3, 4), b=some(3, 4, 2)),
    case("matmul", a=some(4), b=some(2, 4, 3)),
    case("matmul", a=some(2, 3, 4), b=some(4)),
    case("matmul", a=some(4), b=some(4, seed=1)),
    case("max_pool2d", x=X4, kernel_size=(3, 2), stride=2, padding=1, ceil_mode=True),
    case("max_pool2d", x=X4, kernel_size=2, dilation=2, stride=1),
    case("max_pool1d", x=X3, kernel_size=3, stride=2, padding=1, ceil_mode=True),
    case("avg_pool2d", x=X4, kernel_size=(3, 2), stride=2, padding=1, ceil_mode=True),
    case("avg_pool2d", x=X4, kernel_size=3, padding=1, count_include_pad=False),
    case("avg_pool2d", x=X4, kernel_size=2, divisor_override=3),
    case("avg_pool1d", x=X3, kernel_size=3, stride=2, padding=1, ceil_mode=True),
    case("adaptive_avg_pool2d", x=X4, output_size=(3, None)),
    case("adaptive_avg_pool2d", x=X4, output_size=1),
    case("adaptive_max_pool2d", x=X4, output_size=(3, 4)),
    case("adaptive_avg_pool1d", x=X3, output_size=3),
    case("adaptive_max_pool1d", x=X3, output_size=3),
    case("batch_norm", x=X4, running_mean=MEAN, running_var=VAR, **AFFINE),
    case("batch_norm", x=X4, running_mean=MEAN, running_var=VAR, **AFFINE, training=True),
    case("batch_norm", x=XY, running_mean=None, running_var=None, training=True, eps=0.1),
    case("group_norm", x=X4, num_groups=2, **AFFINE),
    case("instance_norm", x=X4, running_mean=MEAN, running_var=VAR, **AFFINE),
    case("instance_norm", x=X4, running_mean=MEAN, running_var=VAR, use_input_stats=False),
    case("layer_norm", x=X4, normalized_shape=(5, 6), weight=some(5, 6), bias=some(5, 6)),
    case("local_response_norm", x=X4, size=3, alpha=0.5, beta=0.6, k=2.0),
    case("local_response_norm", x=X4, size=4, alpha=0.5),
    *(case(name, x=X4) for name in (
        "relu", "relu6", "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "softplus",
        "sigmoid", "tanh", "hardswish", "hardsigmoid", "hardtanh", "log_sigmoid", "softsign",
        "exp", "abs")),
    case("leaky_relu", x=X4, negative_slope=0.3),
    case("elu", x=X4, alpha=0.7),
    case("gelu", x=X4, approximate="tanh"),
    case("softplus", x=X4, beta=3.0, threshold=2.0),
    case("hardtanh", x=X4, min_val=-0.5, max_val=2.0),
    case("prelu", x=X4, w=CHANNEL),
    case("prelu", x=X4, w=CHANNEL[:1]),
    case("softmax", x=X4, dim=1),
    case("log_softmax", x=X4, dim=-1),
    case("log", x=positive(3, 4)),
    case("sqrt", x=positive(3, 4)),
    case("clamp", x=X4, min=-1.0, max=2.0),
    case("clamp", x=X4, max=2.0),
    *(case(name, a=some(2, 1, 4), b=positive(3, 1)) for name in TWO_OPERANDS[:4]),
    case("maximum", a=some(2, 1, 4), b=some(3, 1) + 0.01),
    case("minimum", a=some(2, 1, 4), b=some(3, 1) + 0.01),
    case("pow", a=positive(2, 1, 4), b=some(3, 1)),
    *(case(name, x=X4, dim=dim, keepdim=keep) for name in ("sum", "mean", "amax")
      for dim, keep in ((None, False), (1, True), ((0, -1), False))),
    case("max", x=X4, dim=1),
    case("max", x=X4, dim=-1, keepdim=True),
    case("pad", x=X4, pad=(1, 2, 3, 0), value=1.5),
    case("pad", x=X4, pad=(-1, 2, 1, -2)),
    case("pad", x=X4, pad=(3, 1, 0, 2), mode="reflect"),
    case("pad", x=X4, pad=(3, 1, 0, 2), mode="replicate"),
    case("interpolate", x=X4, size=(7, 3)),
    case("interpolate", x=X3, scale_factor=1.6),
    case("interpolate", x=X4, size=(8, 4), mode="bilinear"),
    case("interpolate", x=X4, scale_factor=(1.7, 0.6), mode="bilinear"),
    case("interpolate", x=X4, size=(8, 1), mode="bilinear", align_corners=True),
    case("interpolate", x=X3, scale_factor=2.5, mode="linear"),
    case("pixel_shuffle", x=X4, upscale_factor=2),
    case("pixel_unshuffle", x=some(2, 3, 4, 6), downscale_factor=2),
    case("channel_shuffle", x=some(2, 6, 2, 3), groups=3),
    *(case("cross_entropy", x=SCORES, target=SOME_LABELS, weight=weight, reduction=reduction,
           label_smoothing=0.1)
      for weight in (None, CHANNEL) for reduction in ("mean", "sum", "none")),
    case("cross_entropy", x=X4, target=PIXELS, ignore_index=2, weight=CHANNEL),
    case("cross_entropy", x=XY, target=SHARES, weight=CHANNEL, label_smoothing=0.2),
    case("cross_entropy", x=XY, target=SHARES, reduction="none"),
    case("cross_entropy", x=some(4), target=np.array(2)),
    case("nll_loss", x=SCORES, target=SOME_LABELS, weight=CHANNEL),
    case("nll_loss", x=X4, target=PIXELS, ignore_index=1, reduction="none"),
    *(case(name, x=XY, target=some(3, 4, seed=5) + 0.01, reduction=reduction)
      for name in ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")
      for reduction in ("mean", "sum", "none")),
    case("smooth_l1_loss", x=XY, target=some(3, 4, seed=5) + 0.01, beta=0.3),
    case("smooth_l1_loss", x=XY, target=some(3, 4, seed=5) + 0.01, beta=0.0),
    case("huber_loss", x=XY, target=some(3, 4, seed=5) + 0.01, delta=0.3),
    case("binary_cross_entropy", x=PROBABLE, target=SHARES),
    case("binary_cross_entropy", x=PROBABLE, target=SHARES, weight=CHANNEL, reduction="sum"),
    case("binary_cross_entropy_with_logits", x=XY, target=SHARES),
    case("binary_cross_entropy_with_logits", x=XY, target=SHARES, weight=CHANNEL,
         pos_weight=CHANNEL[::-1], reduction="none"),
]  # fmt: skip

# No torch function of the same form; finite differences alone.
OURS_ALONE = [
    case("dropout", x=X4, mask=np.round(within(0, 1, 2, 4, 1, 1)), p=0.3),
    case("slice", x=X4, index=(slice(None), slice(1, 4, 2), -1)),
    case("slice", x=X4, index=(np.array([0, 1, 1]), np.array([3, 2, 2]))),
]
