"""The oracle itself, without any other library: its gradients are finite differences.

The other tests believe `reference`; this file and `test_reference_torch.py` are why they may.
"""

from __future__ import annotations

import numpy as np
import pytest
import reference
from reference_cases import (
    CASES,
    OURS_ALONE,
    X4,
    Arguments,
    close,
    differentiable,
    first,
    gradients,
    some,
    within,
)


@pytest.mark.parametrize(("name", "arguments"), CASES + OURS_ALONE)
def test_gradient_is_the_finite_difference(name: str, arguments: Arguments) -> None:
    function = getattr(reference, name)
    dy = within(-1, 1, *first(function(**arguments)).shape, seed=9)
    names = differentiable(arguments)
    for wrt, gradient in zip(names, gradients(name, arguments, dy), strict=False):

        def f(value: np.ndarray, wrt: str = wrt) -> np.ndarray:
            return first(function(**{**arguments, wrt: value}))

        close(gradient, reference.numeric_gradient(f, arguments[wrt], dy), 1e-7, 1e-8)


def test_float32_input_is_computed_in_float64() -> None:
    x = X4.astype(np.float32)
    assert reference.conv2d(x, x[:, :, :2, :2]).dtype == np.float64
    assert reference.concat([x, x]).dtype == np.float64
    assert reference.relu_backward(x, x=x).dtype == np.float64


def test_kernel_larger_than_the_padded_input_is_refused() -> None:
    with pytest.raises(ValueError, match=r"kernel \(3, 9\) is larger than the padded input"):
        reference.conv2d(X4, some(4, 4, 3, 9), padding=1)
    with pytest.raises(ValueError, match="kernel 9 is larger than the padded input 8"):
        reference.max_pool2d(X4, (1, 9), padding=(0, 1))


def test_empty_batch_passes() -> None:
    x, w = np.zeros((0, 4, 5, 6)), some(6, 4, 3, 3)
    y = reference.conv2d(x, w)
    dx, dw, db = reference.conv2d_backward(y, x, w)
    assert (y.shape, dx.shape) == ((0, 6, 3, 4), x.shape)
    assert not dw.any() and not db.any()
    pooled, _ = reference.max_pool2d(x, 3, 1)
    assert reference.max_pool2d_backward(pooled, x, 3, 1).shape == x.shape


def test_numeric_gradient_of_a_known_function() -> None:
    x = within(-1, 1, 3, 4)
    close(reference.numeric_gradient(np.sin, x, x), np.cos(x) * x)
    close(reference.numeric_gradient(lambda v: (v**3).sum(), x), 3 * x * x)


def test_erf_is_the_integral_of_the_gaussian() -> None:
    slope = reference.numeric_gradient(reference.erf, X4)
    close(slope, 2 / np.sqrt(np.pi) * np.exp(-X4 * X4))
    close(reference.erf(X4) + reference.erfc(X4), np.ones_like(X4))


def test_every_gradient_is_tested() -> None:
    backward = {name for name in vars(reference) if name.endswith("_backward")}
    tested = {f"{parameters.values[0]}_backward" for parameters in CASES + OURS_ALONE}
    # The gradient of concat is a list; test_reference_torch.py has a test of its own for it.
    assert backward - tested == {"concat_backward"}
