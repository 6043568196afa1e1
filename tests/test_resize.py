"""Resizing: against the reference and torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import reference

from cnnfast import Tensor, taps, tensor
from cnnfast import functional as F

EPS = float(np.finfo(np.float32).eps)
SIZES: list[dict[str, Any]] = [
    {"size": (5, 6)},
    {"size": (10, 12)},
    {"size": (1, 1)},
    {"size": (3, 17)},
    {"size": 9},
    {"scale_factor": 2},
    {"scale_factor": 2.5},
    {"scale_factor": (0.6, 1.7)},
]


def run(x: np.ndarray, **options: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return y, a random dy and our dx."""
    leaf = Tensor(x, requires_grad=True)
    y = F.interpolate(leaf, **options)
    dy = np.random.randn(*y.shape).astype(np.float32)
    y.backward(dy)
    assert leaf.grad is not None
    return y.detach().numpy(), dy, leaf.grad.numpy()


def error(x: np.ndarray, extent: int) -> float:
    """Bound: a position of up to `extent` is rounded in float32, then a few products are added."""
    return 4 * (extent + 4) * EPS * float(np.abs(x).max(initial=0))


@pytest.mark.parametrize("options", SIZES, ids=str)
@pytest.mark.parametrize("align_corners", [None, False, True])
@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_agrees(mode: str, align_corners: bool | None, options: dict[str, Any]) -> None:
    if mode == "nearest" and align_corners is not None:
        align_corners = None
    x = np.random.randn(2, 3, 5, 6).astype(np.float32)
    y, dy, dx = run(x, mode=mode, align_corners=align_corners, **options)
    options = {**options, "mode": mode, "align_corners": bool(align_corners)}
    expected = reference.interpolate(x, **options)
    np.testing.assert_allclose(y, expected, 0, error(x, 12))
    expected_dx = reference.interpolate_backward(dy, x, **options)
    np.testing.assert_allclose(dx, expected_dx, 0, 36 * error(dy, 12))


@pytest.mark.parametrize("channels", [1, 3, 15, 16, 17, 31, 33, 67])
@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_channels(isa: str, mode: str, channels: int) -> None:
    x = np.random.randn(2, channels, 5, 6).astype(np.float32)
    y, dy, dx = run(x, mode=mode, size=(7, 11))
    np.testing.assert_allclose(y, reference.interpolate(x, (7, 11), mode=mode), 0, error(x, 12))
    expected = reference.interpolate_backward(dy, x, (7, 11), mode=mode)
    np.testing.assert_allclose(dx, expected, 0, 9 * error(dy, 12))


@pytest.mark.parametrize("options", SIZES, ids=str)
@pytest.mark.parametrize("recompute", [None, True])
@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "bilinear", "bicubic", "area"])
def test_like_torch(mode: str, recompute: bool | None, options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    if recompute and "size" in options:
        recompute = None
    x = np.random.randn(2, 3, 5, 6).astype(np.float32)
    y, dy, dx = run(x, mode=mode, recompute_scale_factor=recompute, **options)
    theirs = torch.tensor(x, requires_grad=True)
    expected = torch.nn.functional.interpolate(
        theirs, mode=mode, recompute_scale_factor=recompute, **options
    )
    expected.backward(torch.tensor(dy))
    np.testing.assert_allclose(y, expected.detach().numpy(), 1e-5, error(x, 12))
    np.testing.assert_allclose(dx, theirs.grad.numpy(), 1e-5, 36 * error(dy, 12))


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_corners_like_torch(mode: str, align_corners: bool) -> None:
    torch = pytest.importorskip("torch")
    x = np.random.randn(1, 2, 5, 6).astype(np.float32)
    for size in ((1, 7), (9, 1), (13, 3)):
        y, _, _ = run(x, size=size, mode=mode, align_corners=align_corners)
        expected = torch.nn.functional.interpolate(
            torch.tensor(x), size, mode=mode, align_corners=align_corners
        )
        np.testing.assert_allclose(y, expected.numpy(), 1e-5, error(x, 12))


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
def test_nearest_takes_torch_pixels(mode: str) -> None:
    """At every pair of sizes; but whether "exact" rounds a boundary up depends on torch's build."""
    torch = pytest.importorskip("torch")
    for size in range(1, 40):
        x = np.arange(size, dtype=np.float32).reshape(1, 1, size)
        for out in range(1, 60):
            expected = torch.nn.functional.interpolate(torch.tensor(x), out, mode=mode)
            y = F.interpolate(tensor(x), out, mode=mode)
            differs = np.flatnonzero(y.numpy() != expected.numpy())
            if mode == "nearest-exact":
                boundary = (differs + 0.5) * size / out
                assert (np.abs(boundary - np.round(boundary)) < 1e-5).all(), (size, out)
            else:
                assert differs.size == 0, (size, out)


@pytest.mark.parametrize("scale", [0.3, 0.7, 1.1, 1.3, 2.0, 2.1, 3.3])
@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "linear"])
def test_signals_like_torch(mode: str, scale: float) -> None:
    torch = pytest.importorskip("torch")
    for size in range(4, 30):
        if mode == "nearest" and int(size * scale) in (size, 2 * size):
            continue  # torch's own forward and backward differ here for signals, not for images
        x = np.random.randn(2, 3, size).astype(np.float32)
        y, dy, dx = run(x, scale_factor=scale, mode=mode)
        theirs = torch.tensor(x, requires_grad=True)
        expected = torch.nn.functional.interpolate(theirs, scale_factor=scale, mode=mode)
        expected.backward(torch.tensor(dy))
        np.testing.assert_allclose(y, expected.detach().numpy(), 1e-5, error(x, 100))
        np.testing.assert_allclose(dx, theirs.grad.numpy(), 1e-5, 4 * error(dy, 100))


def test_upsample_is_interpolate() -> None:
    x = tensor(np.random.randn(1, 2, 3, 3).astype(np.float32))
    doubled, expected = F.upsample(x, scale_factor=2), F.interpolate(x, size=6)
    np.testing.assert_array_equal(doubled.numpy(), expected.numpy())


def test_empty_batch() -> None:
    y, _, dx = run(np.zeros((0, 3, 4, 4), np.float32), size=7, mode="bilinear")
    assert y.shape == (0, 3, 7, 7) and dx.shape == (0, 3, 4, 4)


@pytest.mark.parametrize("backward", [False, True])
def test_same_bits(same_bits: Any, backward: bool) -> None:
    x = np.random.randn(3, 40, 20, 20).astype(np.float32)

    def compute() -> np.ndarray:
        np.random.seed(1)
        y, _, dx = run(x, size=(33, 35), mode="bilinear")
        return dx if backward else y

    same_bits(compute)


def test_tables_are_kept() -> None:
    assert taps.linear(5, 9, None, False) is taps.linear(5, 9, None, False)


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((1, 1, 4, 4), {}, "either size or scale_factor"),
        ((1, 1, 4, 4), {"size": 2, "scale_factor": 2}, "either size or scale_factor"),
        ((1, 1, 4, 4), {"size": (2,)}, "expected 2 values"),
        ((1, 1, 4, 4), {"size": 0}, "must have pixels"),
        ((1, 1, 4, 4), {"scale_factor": 0.1}, "must have pixels"),
        ((1, 1, 4, 4), {"size": 2, "mode": "linear"}, r"takes \(N, C, L\)"),
        ((1, 4, 4), {"size": 2, "mode": "bilinear"}, r"takes \(N, C, H, W\)"),
        ((4, 4), {"size": 2}, "takes"),
        ((1, 1, 4, 4), {"size": 2, "align_corners": True}, "align_corners"),
        ((1, 1, 4, 4), {"size": 2, "recompute_scale_factor": True}, "recompute_scale_factor"),
        ((1, 1, 4, 4), {"size": 2, "mode": "cubic"}, "expected mode"),
        ((1, 1, 4, 4), {"size": 2, "mode": "bilinear", "antialias": True}, "antialias"),
    ],
    ids=str,
)
def test_refused(shape: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        F.interpolate(tensor(np.ones(shape, np.float32)), **options)
