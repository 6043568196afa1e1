"""Padding: against the reference and torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import reference

from cnnfast import Tensor, tensor
from cnnfast import functional as F

CONSTANT: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((2, 3, 5, 6), (1, 2, 3, 4)),
    ((2, 3, 5, 6), (1, 0)),
    ((2, 3, 5, 6), (0, 0, 0, 0)),
    ((2, 3, 5, 6), (-1, 2, 0, -3)),
    ((2, 3, 5, 6), (-2, -1, -1, -1)),
    ((2, 3, 5, 6), (0, 1, 2, 0, 1, 1)),
    ((2, 17, 5, 6), (0, 1, 2, 0, 1, 1, 2, 0)),
    ((2, 3, 5, 6), (-3, -3)),
    ((2, 3, 5, 6), (-5, 4)),
    ((7,), (2, 3)),
    ((3, 4), (1, 1, 2, 2)),
    ((2, 3, 4, 5, 3), (1, 1, 0, 2, 1, 0)),
    ((0, 3, 4), (1, 1)),
]
MIRRORED: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((2, 3, 5, 6), (1, 2, 3, 4)),
    ((2, 17, 5, 6), (5, 0, 0, 4)),
    ((2, 3, 5, 6), (-1, 2, 3, -2)),
    ((3, 5, 6), (1, 1, 1, 1)),
    ((2, 3, 7), (4, 6)),
    ((3, 7), (2, 0)),
    ((0, 3, 7), (2, 0)),
]


def images(array: np.ndarray) -> np.ndarray:
    """Four axes stored NHWC, others as they are."""
    if array.ndim != 4:
        return array
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


@pytest.mark.parametrize("layout", [np.ascontiguousarray, images])
@pytest.mark.parametrize(
    ("shape", "pad", "mode", "value"),
    [(*case, "constant", 1.5) for case in CONSTANT]
    + [(*case, mode, 0.0) for case in MIRRORED for mode in ("reflect", "replicate")],
    ids=str,
)
def test_agrees(shape: Any, pad: Any, mode: str, value: float, layout: Any) -> None:
    x = layout(np.random.randn(*shape).astype(np.float32))
    leaf = Tensor(x, requires_grad=True)
    y = F.pad(leaf, pad, mode, value)
    np.testing.assert_array_equal(y.detach().numpy(), reference.pad(x, pad, mode, value))
    dy = np.random.randn(*y.shape).astype(np.float32)
    y.backward(dy)
    assert leaf.grad is not None
    # An input element is read at most 25 times here.
    np.testing.assert_allclose(
        leaf.grad.numpy(), reference.pad_backward(dy, x, pad, mode), 0, 25 * 6e-7
    )


@pytest.mark.parametrize("pad", [(1, 2, 3, 4), (6, 6, 5, 5), (-1, 3, 0, -2)], ids=str)
@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
def test_like_torch(isa: str, mode: str, pad: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch")
    if mode == "reflect":
        pad = tuple(min(p, 4) for p in pad)
    x = np.random.randn(2, 17, 5, 6).astype(np.float32)
    theirs, leaf = torch.tensor(x, requires_grad=True), Tensor(x, requires_grad=True)
    expected, y = torch.nn.functional.pad(theirs, pad, mode), F.pad(leaf, pad, mode)
    np.testing.assert_array_equal(y.detach().numpy(), expected.detach().numpy())
    (expected * expected).sum().backward()
    y.backward(2 * y.detach().numpy())
    assert leaf.grad is not None
    np.testing.assert_allclose(leaf.grad.numpy(), theirs.grad.numpy(), 1e-5, 1e-5)


def test_image_stays_an_image() -> None:
    x = tensor(images(np.ones((2, 17, 4, 4), np.float32)))
    y = F.pad(x, (1, 1, -1, 1)).numpy()
    assert y.strides[1] == 4


@pytest.mark.parametrize("mode", ["constant", "reflect"])
def test_same_bits(same_bits: Any, mode: str) -> None:
    x = tensor(images(np.random.randn(3, 40, 20, 20).astype(np.float32)))
    same_bits(lambda: F.pad(x, (2, 3, 4, 5), mode).numpy())


@pytest.mark.parametrize(
    ("pad", "mode", "message"),
    [
        ((1,), "constant", "pairs"),
        ((0,) * 10, "constant", "at most 4 axes"),
        ((-4, -3), "constant", "crops more"),
        ((-7, 3), "constant", "crops more"),
        ((1, 1), "reflect", "4 for"),
        ((1, 1, 1, 1, 1, 1), "replicate", "4 for"),
        ((6, 0, 0, 0), "reflect", "at most 5"),
        ((7, 0, 0, 0), "circular", "at most 6"),
        ((-3, -3, 0, 0), "replicate", "leave a pixel"),
        ((1, 1, 1, 1), "mirror", "expected mode"),
    ],
    ids=str,
)
def test_refused(pad: Any, mode: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        F.pad(tensor(np.ones((2, 3, 5, 6), np.float32)), pad, mode)


def test_value_needs_constant_mode() -> None:
    with pytest.raises(ValueError, match="takes no value"):
        F.pad(tensor(np.ones((2, 3), np.float32)), (1, 1), "reflect", 2.0)
