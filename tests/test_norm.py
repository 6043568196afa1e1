"""Batch, group, instance, layer and local response norm against the reference and torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import reference
from reference_cases import first, gradients

from cnnfast import Tensor, _core
from cnnfast import functional as F
from cnnfast.functional.convolution import fused_conv2d

EPSILON = float(np.finfo(np.float32).eps)
SHAPES = [
    (5, 1), (3, 17), (4, 3, 5), (2, 16, 7), (3, 5, 4, 3), (2, 31, 5, 7), (1, 33, 1, 9),
    (2, 70, 3, 1), (3, 15, 31, 13), (1, 300, 9, 33),
]  # fmt: skip
Arguments = dict[str, Any]


def normal(*shape: int, seed: int = 0, mean: float = 0.0) -> np.ndarray:
    """Normal float32 values."""
    return (np.random.default_rng(seed).standard_normal(shape) + mean).astype(np.float32)


def ours(name: str, arguments: Arguments, dy: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """The result of F.name and the gradients of those of x, weight and bias that are given."""
    given = dict(arguments)
    tensors = {
        key: Tensor(given.pop(key), requires_grad=True)
        for key in ("x", "weight", "bias")
        if given.get(key) is not None
    }
    x = tensors.pop("x")
    y = getattr(F, name)(x, **given, **tensors)
    y.backward(dy)
    return y.detach().numpy(), [t.grad.numpy() for t in (x, *tensors.values())]


def check(name: str, arguments: Arguments, rows: np.ndarray) -> None:
    """Compare with the reference; `rows` holds x, what shares a statistic along the last axis.

    A value passes through a handful of roundings; a gradient is invstd times terms of at most
    max |weight dy|, a parameter's a sum of |dy xhat| that is exact to float's rounding.
    """
    x = arguments["x"]
    dy = normal(*x.shape, seed=9)
    y, grads = ours(name, {k: np.copy(v) if k[0] == "r" else v for k, v in arguments.items()}, dy)
    expected = first(getattr(reference, name)(**arguments))
    np.testing.assert_allclose(y, expected, rtol=0, atol=16 * EPSILON * (1 + abs(expected).max()))
    weight = arguments.get("weight")
    largest = 1.0 if weight is None else abs(weight).max()
    bound = abs(dy).max() * largest / np.sqrt(rows.astype(np.float64).var(axis=-1).min() + 1e-5)
    sums = abs(dy).sum() * (1 + abs(expected).max())
    for grad, wanted, scale in zip(
        grads, gradients(name, arguments, dy), (bound, sums, sums), strict=False
    ):
        np.testing.assert_allclose(grad, wanted, rtol=0, atol=32 * EPSILON * scale)


def batch_rows(x: np.ndarray) -> np.ndarray:
    """(C, N * pixels)."""
    return x.swapaxes(0, 1).reshape(x.shape[1], -1)


def affine(c: int) -> Arguments:
    """A weight and a bias."""
    return {"weight": normal(c, seed=1), "bias": normal(c, seed=2)}


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_batch_norm_training(isa: str, shape: tuple[int, ...]) -> None:
    x = normal(*shape)
    statistics = {"running_mean": normal(shape[1], seed=3), "running_var": abs(normal(shape[1]))}
    check("batch_norm", {"x": x, **statistics, **affine(shape[1]), "training": True}, batch_rows(x))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_batch_norm_evaluation(isa: str, shape: tuple[int, ...]) -> None:
    x, var = normal(*shape), abs(normal(shape[1], seed=4)) + 0.5
    statistics = {"running_mean": normal(shape[1], seed=3), "running_var": var}
    rows = np.array([-0.5, 0.5])  # a deviation of 0.5, below that of every channel
    check("batch_norm", {"x": x, **statistics, **affine(shape[1])}, rows)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_group_norm(isa: str, shape: tuple[int, ...]) -> None:
    for groups in {1, *(g for g in (3, 5, 7, 10) if shape[1] % g == 0)}:
        x = normal(*shape)
        rows = x.reshape(shape[0] * groups, -1)
        check("group_norm", {"x": x, "num_groups": groups, **affine(shape[1])}, rows)


@pytest.mark.parametrize("shape", [s for s in SHAPES if len(s) > 2], ids=str)
def test_instance_norm(isa: str, shape: tuple[int, ...]) -> None:
    x = normal(*shape)
    rows = x.reshape(shape[0] * shape[1], -1)
    statistics = {"running_mean": normal(shape[1], seed=3), "running_var": abs(normal(shape[1]))}
    check("instance_norm", {"x": x, **statistics, **affine(shape[1])}, rows)


@pytest.mark.parametrize("last", [1, 2, 15, 16, 17, 33, 5000, (3, 5), (2, 3, 7)], ids=str)
@pytest.mark.parametrize("leading", [(1,), (5,), (2, 300)], ids=str)
def test_layer_norm(isa: str, leading: tuple[int, ...], last: Any) -> None:
    last = (last,) if isinstance(last, int) else last
    if np.prod(leading) * np.prod(last) > 100_000:
        leading = (2, 3)
    x = normal(*leading, *last)
    arguments = {"weight": normal(*last, seed=1), "bias": normal(*last, seed=2)}
    rows = x.reshape(-1, int(np.prod(last)))
    check("layer_norm", {"x": x, "normalized_shape": last, **arguments}, rows)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("shape", [s for s in SHAPES if len(s) > 2], ids=str)
def test_local_response_norm(isa: str, shape: tuple[int, ...], size: int) -> None:
    arguments = {"x": normal(*shape), "size": size, "alpha": 0.5, "beta": 0.75, "k": 2.0}
    check("local_response_norm", arguments, np.array([-1.0, 1.0]))


@pytest.mark.parametrize("parts", [(), ("weight",), ("bias",)], ids=str)
@pytest.mark.parametrize("name", ["batch_norm", "group_norm", "layer_norm"])
def test_absent_parameters(name: str, parts: tuple[str, ...]) -> None:
    x = normal(4, 6, 5, 6)
    options: dict[str, Arguments] = {
        "batch_norm": {"running_mean": None, "running_var": None, "training": True},
        "group_norm": {"num_groups": 1},
        "layer_norm": {"normalized_shape": (6,)},
    }
    given = {part: affine(6)[part] for part in parts}
    arguments = {"x": x, **options[name], **given}
    y, grads = ours(name, arguments, normal(*x.shape, seed=9))
    np.testing.assert_allclose(y, first(getattr(reference, name)(**arguments)), atol=1e-5)
    expected = gradients(name, arguments, normal(*x.shape, seed=9))
    wanted = [expected[0], *(expected[("weight", "bias").index(part) + 1] for part in parts)]
    for grad, want in zip(grads, wanted, strict=True):
        np.testing.assert_allclose(grad, want, atol=1e-4)


@pytest.mark.parametrize("name", ["batch_norm", "instance_norm"])
def test_running_statistics(isa: str, name: str) -> None:
    x, mean, var = normal(3, 37, 5, 4, mean=2.0), normal(37, seed=1), abs(normal(37, seed=2))
    own = {"training": True} if name == "batch_norm" else {}
    ours_mean, ours_var = Tensor(mean), Tensor(var)
    getattr(F, name)(Tensor(x), ours_mean, ours_var, momentum=0.3, **own)
    _, want_mean, want_var = getattr(reference, name)(x, mean, var, momentum=0.3, **own)
    np.testing.assert_allclose(ours_mean.numpy(), want_mean, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(ours_var.numpy(), want_var, rtol=1e-6)
    assert ours_mean.version_counter[0] == ours_var.version_counter[0] == 1


def test_mean_far_from_zero(isa: str) -> None:
    """A mean of 1e3 costs no digits: the input's own rounding is the reference's too."""
    x, w, b = normal(8, 37, 33, 31, mean=1e3), normal(37, seed=1), normal(37, seed=2)
    y = F.batch_norm(Tensor(x), None, None, Tensor(w), Tensor(b), training=True).numpy()
    expected = first(reference.batch_norm(x, None, None, w, b, training=True))
    np.testing.assert_allclose(y, expected, rtol=0, atol=4e-6)
    flat = x[0, 0]
    y = F.layer_norm(Tensor(flat), (31,)).numpy()
    np.testing.assert_allclose(y, reference.layer_norm(flat, (31,)), rtol=0, atol=4e-6)


def norm_arrays(
    x: np.ndarray, groups: int, per_sample: bool, place: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """All that forward and backward write, as one vector; `place` puts the images in memory."""
    n, c = x.shape[:2]
    x, dy, y, dx = (place(a) for a in (x, normal(*x.shape, seed=9), x, x))
    w, b, mean, invstd = normal(c, seed=1), normal(c, seed=2), *np.zeros((2, n, groups), np.float32)
    if not per_sample:
        mean, invstd = mean[:1], invstd[:1]
    dw, db = np.zeros((2, c), np.float32)
    _core.norm_forward(y, mean, invstd, None, None, x, w, b, per_sample, groups, 0.1, 1e-5)
    _core.norm_backward(dx, dw, db, dy, x, mean, invstd, w, per_sample, groups)
    return np.concatenate([a.ravel() for a in (y, dx, mean, invstd, dw, db)])


def as_image(x: np.ndarray) -> np.ndarray:
    """The same values stored NHWC."""
    image = _core.empty_image(*x.shape)
    image[...] = x
    return image


@pytest.mark.parametrize(("per_sample", "groups"), [(False, 67), (True, 67), (True, 1)])
def test_norm_threads(isa: str, same_bits: Any, per_sample: bool, groups: int) -> None:
    x = normal(4, 67, 41, 37)
    same_bits(lambda: norm_arrays(x, groups, per_sample, as_image))


def forward_with(
    sums: np.ndarray | None, x: np.ndarray, running: np.ndarray | None = None
) -> np.ndarray:
    """What batch norm writes for x, given sums or None, as one vector."""
    c = x.shape[1]
    y, (mean, invstd) = _core.empty_image(*x.shape), np.empty((2, c), np.float32)
    old = (None, None) if running is None else running.copy()
    weight, bias = normal(c, seed=1), normal(c, seed=2)
    _core.norm_forward(y, mean, invstd, *old, x, weight, bias, False, c, 0.3, 1e-5, sums)
    written = (y, mean, invstd) if running is None else (y, mean, invstd, *old)
    return np.concatenate([a.ravel() for a in written])


@pytest.mark.parametrize("far", [0.0, 1e3])
@pytest.mark.parametrize("way", ["direct", "winograd", "depthwise"])
def test_sums_of_the_convolution_before(
    isa: str, monkeypatch: pytest.MonkeyPatch, same_bits: Any, way: str, far: float
) -> None:
    """They replace the sweep that takes them, at no loss, even of a mean far from zero."""
    monkeypatch.setenv("CNNFAST_CONV", way)
    w = Tensor(normal(35, 1 if way == "depthwise" else 35, 3, 3, seed=3))
    bias, sums = Tensor(normal(35, seed=4, mean=far)), np.empty((2, 35))
    x = Tensor(normal(3, 35, 19, 23))
    y = fused_conv2d(x, w, bias, padding=1, groups=35 // w.shape[1], sums=sums).array
    running = normal(2, 35, seed=5)
    given = same_bits(lambda: forward_with(sums, y, running))
    expected = reference.batch_norm(
        y, *running, normal(35, seed=1), normal(35, seed=2), training=True, momentum=0.3
    )
    images = given[: y.size].reshape(y.shape)
    np.testing.assert_allclose(images, expected[0], rtol=0, atol=2e-5)
    np.testing.assert_allclose(given[-70:].reshape(2, 35), expected[1:], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(given, forward_with(None, y, running), rtol=1e-5, atol=2e-5)


def test_sums_are_not_taken_again() -> None:
    x, sums = as_image(normal(2, 5, 3, 4)), np.stack([np.full(5, 24.0), np.full(5, 72.0)])
    mean_and_invstd = forward_with(sums, x)[-10:].reshape(2, 5)
    np.testing.assert_allclose(mean_and_invstd, [[1] * 5, [2**-0.5] * 5], rtol=1e-5)


def test_sums_are_checked() -> None:
    x, statistics = normal(2, 5, 3, 4), np.empty((2, 2, 5), np.float32)
    for sums, per_sample, message in (
        (np.zeros((2, 4)), False, "sums: expected 10"),
        (np.zeros((2, 5), np.float32), False, "sums: expected 10"),
        (np.zeros((2, 5)), True, "sums: they are of the whole batch"),
    ):
        with pytest.raises(ValueError, match=message):
            _core.norm_forward(
                as_image(x), *statistics[:, : 2 if per_sample else 1], None, None, as_image(x),
                None, None, per_sample, 5, 0.1, 1e-5, sums,
            )  # fmt: skip


def test_sums_in_a_recording() -> None:
    """Convolution and norm replay as two primitives, the second fed by the first."""
    x, w, sums = Tensor(normal(2, 5, 9, 8)), Tensor(normal(7, 5, 3, 3)), np.empty((2, 7))
    y, (mean, invstd) = _core.empty_image(2, 7, 7, 6), np.empty((2, 7), np.float32)
    fused_conv2d(x, w)  # packs the weight
    with _core.Recording() as recording:
        middle = fused_conv2d(x, w, sums=sums).array
        _core.norm_forward(
            y, mean, invstd, None, None, middle, None, None, False, 7, 0.1, 1e-5, sums
        )
    x.copy_(normal(2, 5, 9, 8, seed=1, mean=3.0))
    recording.replay()
    expected = F.batch_norm(F.conv2d(x, w), None, None, training=True).numpy()
    np.testing.assert_allclose(y, expected, atol=1e-5)


def test_layer_and_local_norm_threads(isa: str, same_bits: Any) -> None:
    x, dy = normal(3, 2000, 37), normal(3, 2000, 37, seed=9)
    arguments = {"x": x, "normalized_shape": (37,), "weight": normal(37), "bias": normal(37)}

    def run() -> np.ndarray:
        y, grads = ours("layer_norm", arguments, dy)
        z, more = ours("local_response_norm", {"x": x, "size": 5}, dy)
        return np.concatenate([a.ravel() for a in (y, *grads, z, *more)])

    same_bits(run)


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("c", [1, 17, 64, 67])
@pytest.mark.parametrize(("per_sample", "all_groups"), [(False, True), (True, True), (True, False)])
def test_norm_guards(
    isa: str, guarded: Any, before: bool, c: int, per_sample: bool, all_groups: bool
) -> None:
    x, groups = normal(2, c, 3, 5), c if all_groups else 1

    def pitched(array: np.ndarray) -> np.ndarray:
        room = np.full((2, 3, 5, c + 3), np.nan, np.float32)  # what lies between pixels is poison
        view = room[..., :c].transpose(0, 3, 1, 2)
        view[...] = array
        return view

    def place(array: np.ndarray) -> np.ndarray:
        return guarded(pitched(array), before)

    expected = norm_arrays(x, groups, per_sample, pitched)
    np.testing.assert_array_equal(norm_arrays(x, groups, per_sample, place), expected)


@pytest.mark.parametrize("c", [1, 3, 6, 12, 15])
@pytest.mark.parametrize("per_sample", [False, True])
def test_few_dense_channels(isa: str, same_bits: Any, c: int, per_sample: bool) -> None:
    """Sixteen pixels are swept as one row, and the rest one by one; apart they are not."""
    x = normal(3, c, 61, 67) + 100

    def apart(array: np.ndarray) -> np.ndarray:
        n, _, h, w = array.shape
        view = np.empty((n, h, w, c + 3), np.float32)[..., :c].transpose(0, 3, 1, 2)
        view[...] = array
        return view

    dense = same_bits(lambda: norm_arrays(x, c, per_sample, as_image))
    np.testing.assert_allclose(dense, norm_arrays(x, c, per_sample, apart), rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("before", [False, True])
def test_row_and_local_norm_guards(isa: str, guarded: Any, before: bool) -> None:
    def place(array: np.ndarray) -> np.ndarray:
        return guarded(array, before)

    x, dy, y, dx = (place(normal(7, 37, seed=seed)) for seed in range(4))
    w, b, dw, db = (place(normal(37, seed=seed)) for seed in range(4))
    mean, invstd = place(normal(7)), place(normal(7))
    _core.layer_norm_forward(y, mean, invstd, x, w, b, 1e-5)
    _core.layer_norm_backward(dx, dw, db, dy, x, mean, invstd, w)
    np.testing.assert_allclose(y, reference.layer_norm(x, (37,), w, b), atol=1e-5)
    image, dy, y, dx = (place(as_image(normal(1, 37, 2, 3, seed=seed))) for seed in range(4))
    _core.local_norm_forward(y, image, 5, 0.1, 0.75, 1.0)
    _core.local_norm_backward(dx, dy, image, 5, 0.1, 0.75, 1.0)
    np.testing.assert_allclose(y, reference.local_response_norm(image, 5, 0.1), atol=1e-5)


def test_empty_batch() -> None:
    for name, arguments in (
        ("batch_norm", {"running_mean": None, "running_var": None, "training": True}),
        ("group_norm", {"num_groups": 1}),
        ("instance_norm", {}),
        ("layer_norm", {"normalized_shape": (3, 4, 5)}),
        ("local_response_norm", {"size": 3}),
    ):
        x = np.zeros((0, 3, 4, 5), np.float32)
        y, grads = ours(name, {"x": x, **arguments}, x)
        assert y.shape == grads[0].shape == x.shape
    _, grads = ours("group_norm", {"x": x, "num_groups": 1, **affine(3)}, x)
    assert not grads[1].any() and not grads[2].any()


def test_nan_stays_in_its_channel(isa: str) -> None:
    x = normal(2, 20, 3, 4)
    x[1, 5, 0, 0] = np.nan
    y = F.batch_norm(Tensor(x), None, None, training=True).numpy()
    assert np.isnan(y[:, 5]).all() and np.isfinite(np.delete(y, 5, axis=1)).all()


def test_broadcast_gradient() -> None:
    x = Tensor(normal(2, 3, 4, 5), requires_grad=True)
    F.batch_norm(x, None, None, training=True).backward(np.broadcast_to(np.float32(1), x.shape))
    assert abs(x.grad.numpy()).max() < 1e-5


def test_changed_input_is_refused() -> None:
    x = Tensor(normal(2, 3, 4, 5), requires_grad=True)
    y = F.batch_norm(x, None, None, training=True)
    x.detach().copy_(0.0)
    with pytest.raises(RuntimeError, match="batch_norm needs was changed"):
        y.backward(np.ones(y.shape, np.float32))


@pytest.mark.parametrize(
    ("match", "call"),
    [
        ("more than 1 value", lambda x: F.batch_norm(x[:1, :, :1, :1], None, None, training=True)),
        ("more than 1 value", lambda x: F.instance_norm(x[:, :, :1, :1])),
        ("must be given", lambda x: F.batch_norm(x, None, None)),
        (r"weight \(3,\)", lambda x: F.batch_norm(x, None, None, Tensor([1.0]), training=True)),
        (r"\(N, C, H, W\)", lambda x: F.batch_norm(x[0, 0, 0], None, None, training=True)),
        ("must divide the 3", lambda x: F.group_norm(x, 2)),
        ("last axes", lambda x: F.layer_norm(x, (4,))),
        (r"bias \(5,\)", lambda x: F.layer_norm(x, (5,), None, Tensor([1.0]))),
        ("size of at least 1", lambda x: F.local_response_norm(x, 0)),
    ],
)
def test_errors(match: str, call: Callable[[Any], Tensor]) -> None:
    x = np.zeros((2, 3, 4, 5), np.float32)
    with pytest.raises(ValueError, match=match):
        call(x)


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0, np.inf])
@pytest.mark.parametrize(("shape", "dim"), [((6, 5), 1), ((3, 5, 4, 6), 1), ((3, 5, 4, 6), -1)])
def test_normalize_is_torchs(p: float, shape: tuple[int, ...], dim: int) -> None:
    torch = pytest.importorskip("torch")
    x, dy = normal(*shape), normal(*shape, seed=9)
    x.swapaxes(dim, -1)[0, ..., :] = 0  # a vector without a direction
    theirs, mine = torch.tensor(x, requires_grad=True), Tensor(x, requires_grad=True)
    t, y = torch.nn.functional.normalize(theirs, p, dim, 0.5), F.normalize(mine, p, dim, 0.5)
    np.testing.assert_allclose(y.detach().numpy(), t.detach().numpy(), rtol=1e-5, atol=1e-6)
    t.backward(torch.tensor(dy))
    y.backward(dy)
    np.testing.assert_allclose(mine.grad.numpy(), theirs.grad.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(6, 5), (3, 5, 7), (3, 5, 4, 6)], ids=str)
@pytest.mark.parametrize("training", [False, True])
def test_batch_norm_is_torchs(shape: tuple[int, ...], training: bool) -> None:
    torch = pytest.importorskip("torch")
    x, dy = normal(*shape), normal(*shape, seed=9)
    mean, var, w, b = normal(5, seed=1), abs(normal(5, seed=2)), normal(5, seed=3), normal(5)
    theirs = [torch.tensor(a, requires_grad=True) for a in (x, w, b)]
    running = [torch.tensor(mean), torch.tensor(var)]
    t = torch.nn.functional.batch_norm(theirs[0], *running, *theirs[1:], training=training)
    t.backward(torch.tensor(dy))
    mine = [Tensor(a, requires_grad=True) for a in (x, w, b)]
    buffers = [Tensor(mean), Tensor(var)]
    y = F.batch_norm(mine[0], *buffers, *mine[1:], training=training)
    y.backward(dy)
    pairs = zip([y.detach(), *(m.grad for m in mine), *buffers],
                [t.detach(), *(m.grad for m in theirs), *running], strict=True)  # fmt: skip
    for ours_, theirs_ in pairs:
        np.testing.assert_allclose(ours_.numpy(), theirs_.numpy(), rtol=2e-5, atol=2e-5)
