"""Max, average and adaptive pooling: kernels against the reference, semantics against torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import reference

from cnnfast import Tensor, _core, taps, tensor
from cnnfast import functional as F

EPS = float(np.finfo(np.float32).eps)
CHANNELS = (1, 3, 15, 16, 17, 31, 33, 67)
WINDOWS: list[dict[str, Any]] = [
    {"kernel_size": 2},
    {"kernel_size": 3, "stride": 2, "padding": 1},
    {"kernel_size": (2, 3), "stride": (1, 2), "padding": (1, 0)},
    {"kernel_size": 3, "stride": 2, "ceil_mode": True},
    {"kernel_size": (5, 1), "stride": 1, "padding": (2, 0)},
    {"kernel_size": 3, "stride": 4, "padding": 1, "ceil_mode": True},
]
ADAPTIVE = [1, (3, 2), (None, 4), (7, 5), (9, 11)]


def values(*shape: int) -> np.ndarray:
    """Distinct float32 values in random order: windows have no ties."""
    return (np.random.permutation(np.prod(shape, dtype=int)).reshape(shape) - 100).astype("float32")


def run(name: str, x: np.ndarray, **options: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return y, a random dy and the dx that our backward makes of it."""
    leaf = Tensor(x, requires_grad=True)
    y = getattr(F, name)(leaf, **options)
    dy = np.random.randn(*y.shape).astype(np.float32)
    y.backward(dy)
    assert leaf.grad is not None
    return y.detach().numpy(), dy, leaf.grad.numpy()


def agree(name: str, x: np.ndarray, terms: int, **options: Any) -> None:
    """Compare output and gradient with the reference; `terms` are added up at most."""
    y, dy, dx = run(name, x, **options)
    expected = getattr(reference, name)(x, **options)
    expected = expected[0] if isinstance(expected, tuple) else expected
    expected_dx = getattr(reference, f"{name}_backward")(dy, x, **options)
    assert y.shape == expected.shape and dx.shape == x.shape
    np.testing.assert_allclose(y, expected, 0, (terms + 3) * EPS * np.abs(x).max(initial=0))
    np.testing.assert_allclose(
        dx, expected_dx, 0, (terms + 3) * EPS * np.abs(dy).max(initial=0) * 2
    )


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("name", ["max_pool2d", "avg_pool2d"])
def test_channels(isa: str, name: str, channels: int) -> None:
    agree(name, values(2, channels, 7, 5), 10, kernel_size=3, stride=2, padding=1)


@pytest.mark.parametrize("options", WINDOWS, ids=str)
@pytest.mark.parametrize("name", ["max_pool2d", "avg_pool2d"])
@pytest.mark.parametrize("size", [(7, 7), (8, 6), (5, 13)], ids=str)
def test_windows(name: str, options: dict[str, Any], size: tuple[int, int]) -> None:
    agree(name, values(2, 5, *size), 10, **options)


@pytest.mark.parametrize("channels", CHANNELS)
def test_two_by_two(isa: str, channels: int) -> None:
    agree("max_pool2d", values(3, channels, 6, 8), 1, kernel_size=2)
    agree("avg_pool2d", values(3, channels, 6, 8), 4, kernel_size=2)


@pytest.mark.parametrize("dilation", [2, (1, 3), (3, 2)], ids=str)
def test_max_dilation(isa: str, dilation: Any) -> None:
    agree("max_pool2d", values(2, 17, 9, 8), 9, kernel_size=3, padding=1, dilation=dilation)


@pytest.mark.parametrize(
    "options",
    [
        {"count_include_pad": False},
        {"count_include_pad": False, "ceil_mode": True},
        {"ceil_mode": True},
        {"divisor_override": 5},
        {"divisor_override": -3, "ceil_mode": True},
    ],
    ids=str,
)
def test_average_divisor(options: dict[str, Any]) -> None:
    agree("avg_pool2d", values(2, 3, 8, 6), 10, kernel_size=3, stride=2, padding=1, **options)


@pytest.mark.parametrize("output_size", ADAPTIVE, ids=str)
@pytest.mark.parametrize("name", ["adaptive_avg_pool2d", "adaptive_max_pool2d"])
def test_adaptive(isa: str, name: str, output_size: Any) -> None:
    agree(name, values(2, 19, 7, 11), 80, output_size=output_size)


@pytest.mark.parametrize("channels", [*CHANNELS, 512])
def test_global_average(isa: str, channels: int) -> None:
    agree("adaptive_avg_pool2d", values(2, channels, 14, 13), 30, output_size=1)


@pytest.mark.parametrize("size", [(16, 16), (16, 17), (40, 30)], ids=str)
def test_windows_of_more_taps_than_a_byte_counts(isa: str, size: tuple[int, int]) -> None:
    agree("adaptive_max_pool2d", values(2, 17, *size), 1, output_size=1)
    agree("max_pool2d", values(1, 3, *size), 1, kernel_size=size)


@pytest.mark.parametrize("shape", [(2, 5, 9), (5, 9)], ids=str)
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("max_pool1d", {"kernel_size": 3, "stride": 2, "padding": 1, "dilation": 2}),
        ("max_pool1d", {"kernel_size": 2, "ceil_mode": True}),
        ("avg_pool1d", {"kernel_size": 3, "stride": 2, "padding": 1, "count_include_pad": False}),
        ("avg_pool1d", {"kernel_size": 4}),
        ("adaptive_avg_pool1d", {"output_size": 4}),
        ("adaptive_max_pool1d", {"output_size": 4}),
    ],
    ids=str,
)
def test_signals(name: str, options: dict[str, Any], shape: tuple[int, ...]) -> None:
    agree(name, values(*shape), 10, **options)


@pytest.mark.parametrize("name", ["max_pool2d", "avg_pool2d"])
def test_one_image_without_batch(name: str) -> None:
    agree(name, values(4, 6, 7), 4, kernel_size=2)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("max_pool2d", {"kernel_size": 2}),
        ("avg_pool2d", {"kernel_size": 2}),
        ("adaptive_avg_pool2d", {"output_size": 1}),
        ("adaptive_max_pool2d", {"output_size": 2}),
    ],
    ids=str,
)
def test_empty_batch(name: str, options: dict[str, Any]) -> None:
    y, _, dx = run(name, np.zeros((0, 3, 4, 4), np.float32), **options)
    assert y.shape[:2] == (0, 3) and dx.shape == (0, 3, 4, 4)


@pytest.mark.parametrize("layout", ["dense", "image", "transposed"])
def test_any_strides_in(layout: str) -> None:
    x = values(2, 5, 8, 6)
    if layout == "image":
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    elif layout == "transposed":
        x = np.ascontiguousarray(x.T).T
    agree("max_pool2d", x, 4, kernel_size=2)


def test_integers_become_floats() -> None:
    y = F.avg_pool2d(tensor(np.arange(16, dtype=np.uint8).reshape(1, 1, 4, 4)), 2)
    assert y.numpy().tolist() == [[[[2.5, 4.5], [10.5, 12.5]]]]


def test_nan_and_infinity(isa: str) -> None:
    x = np.full((1, 17, 4, 4), -np.inf, np.float32)
    x[:, 3, 0, 0], x[:, 4, 1, 1], x[:, 5, 1, 0], x[:, 5, 0, 1] = np.nan, np.nan, np.nan, 7
    leaf = Tensor(x, requires_grad=True)
    y, index = F.max_pool2d(leaf, 2, return_indices=True)
    for got in (y.detach().numpy(), F.max_pool2d(leaf.detach(), 2).numpy()):
        assert np.isnan(got[0, 3:6, 0, 0]).all()
        assert np.isneginf(np.delete(got, [3, 4, 5], axis=1)).all()
    assert index.numpy()[0, :, 0, 0].tolist() == [0, 0, 0, 0, 5, 4] + [0] * 11
    y.backward(np.ones(y.shape, np.float32))
    assert leaf.grad is not None and leaf.grad.numpy()[0, 5, 1, 0] == 1


def test_window_of_padding_alone() -> None:
    x = Tensor(np.ones((1, 1, 1, 1), np.float32), requires_grad=True)
    y, index = F.max_pool2d(x, 2, 1, 1, 2, return_indices=True)
    assert y.detach().numpy().tolist() == [[[[-np.inf]]]] and index.numpy().tolist() == [[[[-1]]]]
    y.backward(np.ones(y.shape, np.float32))
    assert x.grad is not None and not x.grad.numpy().any()


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("name", ["max_pool2d", "avg_pool2d", "adaptive_avg_pool2d"])
def test_same_bits(same_bits: Any, name: str, backward: bool) -> None:
    x, dy = values(3, 70, 33, 31), None
    options = {"output_size": 1} if name[0] == "a" and "adaptive" in name else {"kernel_size": 3}

    def compute() -> np.ndarray:
        nonlocal dy
        leaf = Tensor(x, requires_grad=True)
        y = getattr(F, name)(leaf, **options)
        if not backward:
            return y.detach().numpy()
        dy = np.random.randn(*y.shape).astype(np.float32) if dy is None else dy
        y.backward(dy)
        assert leaf.grad is not None
        return leaf.grad.numpy()

    same_bits(compute)


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("channels", CHANNELS)
def test_guard_pages(isa: str, guarded: Any, channels: int, before: bool) -> None:
    def image(n: int, c: int, h: int, w: int) -> np.ndarray:
        flat = np.random.randn(n, h, w, c).astype(np.float32).transpose(0, 3, 1, 2)
        return guarded(flat, before)

    rows, cols = taps.windows(5, 3, 3, 2, 1, 1, 3), taps.windows(6, 3, 3, 2, 1, 1)
    x, y, dx = image(2, channels, 5, 6), image(2, channels, 3, 3), image(2, channels, 5, 6)
    for kind in (np.uint8, np.float32):
        index = guarded(np.zeros((2, 3, 3, channels), kind), before)
        _core.max_pool2d_forward(y, index, x, rows.forward, cols.forward)
        _core.max_pool2d_backward(dx, y, index, rows.backward, cols.backward)
    _core.max_pool2d_forward(y, None, x, rows.forward, cols.forward)
    _core.resample(y, x, rows.forward, cols.forward)


def test_replay() -> None:
    x = _core.empty_image(1, 8, 4, 4)
    x[...] = 0
    rows = taps.windows(4, 2, 2, 2, 0, 1, 2)
    y, index = _core.empty_image(1, 8, 2, 2), _core.empty((1, 2, 2, 8), "uint8")
    with _core.Recording() as recording:
        _core.max_pool2d_forward(y, index, x, rows.forward, taps.windows(4, 2, 2, 2, 0, 1).forward)
    x[...] = np.random.randn(1, 8, 4, 4)
    recording.replay()
    assert (y == x.reshape(1, 8, 2, 2, 2, 2).max(axis=(3, 5))).all()


# ---- torch ---------------------------------------------------------------------------------


@pytest.mark.parametrize("options", WINDOWS, ids=str)
@pytest.mark.parametrize("shape", [(2, 3, 8, 7), (3, 6, 6)], ids=str)
def test_max_like_torch(options: dict[str, Any], shape: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch")
    x = np.random.randint(-2, 3, shape).astype(np.float32)  # ties
    leaf, theirs = Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y, index = F.max_pool2d(leaf, **options, return_indices=True)
    expected, expected_index = torch.nn.functional.max_pool2d(
        theirs, **options, return_indices=True
    )
    np.testing.assert_array_equal(y.detach().numpy(), expected.detach().numpy())
    np.testing.assert_array_equal(index.numpy(), expected_index.numpy())
    y.backward(np.ones(y.shape, np.float32))
    expected.sum().backward()
    assert leaf.grad is not None
    np.testing.assert_array_equal(leaf.grad.numpy(), theirs.grad.numpy())


def test_shapes_like_torch() -> None:
    torch = pytest.importorskip("torch")
    for size in range(1, 9):
        for kernel in range(1, 5):
            for stride in range(1, 5):
                for padding in range(kernel // 2 + 1):
                    arguments = (kernel, stride, padding)
                    ours = _shape(F.avg_pool1d, tensor(np.ones((1, size))), *arguments)
                    theirs = _shape(torch.nn.functional.avg_pool1d, torch.ones(1, size), *arguments)
                    assert ours == theirs, (size, arguments)


def _shape(function: Any, x: Any, *arguments: int) -> list[Any]:
    """Output sizes without and with ceil_mode; None where there is none."""
    results: list[Any] = []
    for ceil_mode in (False, True):
        try:
            results.append(tuple(function(x, *arguments, ceil_mode).shape))
        except (ValueError, RuntimeError):
            results.append(None)
    return results


def test_adaptive_indices_like_torch() -> None:
    torch = pytest.importorskip("torch")
    x = values(2, 3, 7, 20)
    y, index = F.adaptive_max_pool2d(tensor(x), (3, 6), return_indices=True)
    expected = torch.nn.functional.adaptive_max_pool2d(torch.tensor(x), (3, 6), True)
    np.testing.assert_array_equal(y.numpy(), expected[0].numpy())
    np.testing.assert_array_equal(index.numpy(), expected[1].numpy())


# ---- what is refused -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: F.max_pool2d(x, 2, padding=2), "half the kernel"),
        (lambda x: F.max_pool2d(x, 9), "does not fit"),
        (lambda x: F.max_pool2d(x, 0), "kernel_size"),
        (lambda x: F.max_pool2d(x, 2, stride=0), "stride"),
        (lambda x: F.avg_pool2d(x, 2, divisor_override=0), "divisor_override"),
        (lambda x: F.max_pool1d(x, 2), r"\(N, C, L\)"),
        (lambda x: F.adaptive_avg_pool2d(x, 0), "output_size"),
        (lambda x: F.adaptive_avg_pool2d(x, (1, 2, 3)), "output_size"),
    ],
)
def test_refused(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(tensor(np.ones((1, 2, 7, 7), np.float32)))


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


@pytest.mark.parametrize(
    ("first", "at", "message"),
    [
        (ints(0, 1, 2), ints(0, 5), "positions in"),
        (ints(0, 1, 2), ints(0, -1), "positions in"),
        (ints(0, 2, 1), ints(0), "never fall"),
        (ints(0, 1, 3), ints(0, 1), "first"),
        (ints(1, 2), ints(0, 1), "first"),
        (ints(0), ints(), "first"),
        (np.array([0.0, 1.0]), ints(0), "first"),
    ],
    ids=str,
)
def test_tables_are_checked(first: np.ndarray, at: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _core.Taps(5, first, at, np.ones(at.size, np.float32))


def test_tables_must_fit_the_images() -> None:
    x, y = _core.empty_image(1, 2, 4, 4), _core.empty_image(1, 2, 2, 2)
    fits, wrong = taps.bins(4, 2).forward, taps.bins(5, 2).forward
    for arguments in ((y, x, wrong, fits), (y, x, fits, wrong), (x, y, fits, fits)):
        with pytest.raises(ValueError, match="the taps lead from"):
            _core.resample(*arguments)
    with pytest.raises(ValueError, match="same batch"):
        _core.resample(_core.empty_image(1, 3, 2, 2), x, fits, fits)
    with pytest.raises(ValueError, match="index"):
        _core.max_pool2d_forward(y, _core.empty((1, 2, 2, 3), "uint8"), x, fits, fits)
