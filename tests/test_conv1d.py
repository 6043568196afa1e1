"""`functional.conv1d`: the reference's values and gradients, and its errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import reference
from rounding import whole

from cnnfast import Tensor
from cnnfast.functional import conv1d

pytestmark = pytest.mark.usefixtures("direct")


@pytest.mark.parametrize("options", [
    {}, {"stride": 2, "padding": 1}, {"padding": "same", "dilation": 2}, {"groups": 2},
    {"stride": (3,), "padding": (2,), "dilation": (2,)},
], ids=str)  # fmt: skip
def test_one_axis(options: dict[str, Any]) -> None:
    x, b = whole(2, 6, 11), whole(4, seed=2)
    w = whole(4, 6 // options.get("groups", 1), 3, seed=1)
    tx, tw, tb = (Tensor(v, requires_grad=True) for v in (x, w, b))
    y = conv1d(tx, tw, tb, **options)
    np.testing.assert_array_equal(y.detach().numpy(), reference.conv1d(x, w, b, **options))
    dy = whole(*y.shape, seed=3)
    y.backward(dy)
    for tensor, wanted in zip(
        (tx, tw, tb), reference.conv1d_backward(dy, x, w, **options), strict=True
    ):
        np.testing.assert_array_equal(tensor.grad.numpy(), wanted)


def test_one_axis_refuses_what_is_not() -> None:
    with pytest.raises(ValueError, match=r"expected input \(N, C, L\)"):
        conv1d(Tensor(np.zeros((1, 2, 3, 3))), Tensor(np.zeros((3, 2, 1))))
    with pytest.raises(ValueError, match="stride: expected one integer"):
        conv1d(Tensor(np.zeros((1, 2, 3))), Tensor(np.zeros((3, 2, 1))), stride=(1, 2))
