"""Dropout: its random numbers, the mask's independence of machine and layout, gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import cnnfast
from cnnfast import Tensor, _core
from cnnfast import functional as F


def philox(seed: int, counter: np.ndarray) -> np.ndarray:
    """Philox4x32-10 of Salmon et al., SC11, by the paper: (4, n) counters to (4, n) numbers."""
    low = np.uint64(0xFFFFFFFF)
    c = [row.astype(np.uint64) for row in counter]
    k0, k1 = seed & 0xFFFFFFFF, seed >> 32
    for _ in range(10):
        p, q = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        high_p, high_q = p >> np.uint64(32), q >> np.uint64(32)
        c = [high_q ^ c[1] ^ np.uint64(k0), q & low, high_p ^ c[3] ^ np.uint64(k1), p & low]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return np.stack(c)


def mask(seed: int, n: int, p: float) -> np.ndarray:
    """The mask of positions 0 .. n - 1, in spans of 64: 16 counters with 4 numbers each."""
    position = np.arange(n, dtype=np.uint64)
    counter = position // np.uint64(64) * np.uint64(16) + position % np.uint64(16)
    zero = np.zeros_like(counter)
    numbers = philox(seed, np.stack([counter, counter >> np.uint64(32), zero, zero]))
    word = numbers[position // np.uint64(16) % np.uint64(4), np.arange(n)]
    return np.where(word < np.uint64(p * 2**32), np.float32(0), np.float32(1 / (1 - p)))


@pytest.mark.parametrize(
    ("seed", "counter", "expected"),
    [
        (0, [0] * 4, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        (2**64 - 1, [2**32 - 1] * 4, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (
            0x299F31D0A4093822,
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ],
)
def test_reference_has_the_known_answers(seed: int, counter: list[int], expected: Any) -> None:
    """The test vectors that the authors publish with Random123."""
    numbers = philox(seed, np.array(counter, np.uint64)[:, None])
    assert numbers[:, 0].tolist() == expected


@pytest.mark.parametrize("n", [1, 15, 16, 17, 63, 64, 65, 1000])
@pytest.mark.parametrize("p", [0.001, 0.3, 0.5])
def test_mask(isa: str, n: int, p: float) -> None:
    seed = 2**63 - 12345
    x, y = np.ones((1, n), np.float32), np.zeros((1, n), np.float32)
    _core.dropout(y, x, np.array([seed]), p)
    np.testing.assert_array_equal(y[0], mask(seed, n, p))


@pytest.mark.parametrize(("rows", "c", "pitch"), [(5, 3, 4), (7, 67, 80), (3, 256, 272)])
def test_mask_does_not_depend_on_the_pitch(isa: str, rows: int, c: int, pitch: int) -> None:
    x = np.ones((rows, pitch), np.float32)[:, :c]
    y = np.zeros((rows, pitch), np.float32)
    _core.dropout(y[:, :c], x, np.array([99]), 0.4)
    np.testing.assert_array_equal(y[:, :c].ravel(), mask(99, rows * c, 0.4))
    assert not y[:, c:].any()


def test_threads(isa: str, same_bits: Any) -> None:
    x = np.random.default_rng(0).standard_normal((3, 41, 37, 29)).astype(np.float32)

    def run() -> np.ndarray:
        cnnfast.manual_seed(3)
        return F.dropout(Tensor(x), 0.3).numpy()

    same_bits(run)


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("n", [1, 17, 64, 100])
def test_guards(isa: str, guarded: Any, before: bool, n: int) -> None:
    x, y = (guarded(np.ones((1, n), np.float32), before) for _ in range(2))
    _core.dropout(y, x, np.array([1]), 0.5)
    np.testing.assert_array_equal(y[0], mask(1, n, 0.5))


@pytest.mark.parametrize("shape", [(7,), (3, 5), (2, 3, 4), (2, 3, 4, 5), (2, 256, 3, 1)], ids=str)
def test_gradient_has_the_same_mask(shape: tuple[int, ...]) -> None:
    x = Tensor(np.ones(shape), requires_grad=True)
    y = F.dropout(x, 0.5)
    y.backward(np.broadcast_to(np.float32(3), shape))
    np.testing.assert_array_equal(x.grad.numpy(), 3 * y.detach().numpy())


def test_share_and_scale() -> None:
    y = F.dropout(Tensor(np.ones(100_000)), 0.2).numpy()
    assert set(np.unique(y)) == {0.0, np.float32(1.25)}
    assert abs((y == 0).mean() - 0.2) < 5 * np.sqrt(0.2 * 0.8 / y.size)  # five deviations


def test_seed_repeats_and_advances() -> None:
    x = Tensor(np.ones(1000))
    cnnfast.manual_seed(5)
    first, second = F.dropout(x).numpy(), F.dropout(x).numpy()
    cnnfast.manual_seed(5)
    np.testing.assert_array_equal(F.dropout(x).numpy(), first)
    assert (first != second).any()


def test_probabilities_at_the_ends() -> None:
    x = Tensor(np.ones(100))
    assert F.dropout(x, 0.0) is x and F.dropout(x, 0.5, training=False) is x
    assert not F.dropout(x, 1.0).numpy().any()
    for p in (-0.1, 1.1):
        with pytest.raises(ValueError, match="between 0 and 1"):
            F.dropout(x, p)


def test_nan_stays() -> None:
    assert np.isnan(F.dropout(Tensor(np.full(100, np.nan))).numpy()).all()


@pytest.mark.parametrize("name", ["dropout", "dropout2d"])
def test_in_place(name: str) -> None:
    leaf = Tensor(np.ones((4, 8, 3, 3)), requires_grad=True)
    x = F.mul(leaf, 2.0)
    y = getattr(F, name)(x, 0.5, inplace=True)
    assert y is x and set(np.unique(y.detach().numpy())) == {0.0, 4.0}
    y.backward(np.ones(y.shape, np.float32))
    np.testing.assert_array_equal(leaf.grad.numpy(), y.detach().numpy())
    with pytest.raises(RuntimeError, match="in place"):
        getattr(F, name)(leaf, 0.5, inplace=True)


@pytest.mark.parametrize(
    ("name", "shape"), [("dropout1d", (5, 300, 7)), ("dropout2d", (5, 300, 3, 4))]
)
def test_channels(name: str, shape: tuple[int, ...]) -> None:
    x = Tensor(np.ones(shape), requires_grad=True)
    y = getattr(F, name)(x, 0.4)
    values = y.detach().numpy().reshape(*shape[:2], -1)
    assert (values == values[..., :1]).all()
    dropped = (values[..., 0] == 0).mean()
    assert abs(dropped - 0.4) < 5 * np.sqrt(0.4 * 0.6 / values[..., 0].size)
    y.backward(np.ones(shape, np.float32))
    np.testing.assert_array_equal(x.grad.numpy(), y.detach().numpy())


def test_channels_need_pixels() -> None:
    with pytest.raises(ValueError, match=r"dropout2d: expected input \(N, C, ...\)"):
        F.dropout2d(Tensor(np.ones((2, 3))))


def test_empty() -> None:
    assert F.dropout(Tensor(np.ones((0, 3, 4, 5)))).shape == (0, 3, 4, 5)
