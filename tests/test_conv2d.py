"""`functional.conv2d`: values, gradients, layouts, packing, errors, random problems."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from rounding import assert_rounded, uniform, whole

import cnnfast
from cnnfast import Tensor, _core, shapes
from cnnfast.functional import conv2d

pytestmark = pytest.mark.usefixtures("direct")

Shape = tuple[int, ...]

OPTIONS = [
    {}, {"stride": 2}, {"stride": (2, 1)}, {"stride": [3, 2]}, {"padding": 1},
    {"padding": (2, 1)}, {"padding": "valid"}, {"padding": "same"}, {"dilation": 2},
    {"dilation": (1, 3)}, {"padding": "same", "dilation": (2, 3)}, {"groups": 2},
    {"groups": 2, "stride": (3, 2), "padding": (3, 2), "dilation": (2, 1)},
]  # fmt: skip
KERNELS = [(1, 1), (3, 3), (2, 3), (4, 1)]


def leaf(values: np.ndarray) -> Tensor:
    """A Tensor that wants a gradient."""
    return Tensor(values, requires_grad=True)


def check(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, **options: Any) -> None:
    """conv2d of whole numbers and its three gradients equal the reference's, bit for bit."""
    tensors = [leaf(v) for v in (x, w, b) if v is not None]
    y = conv2d(*tensors, **options)
    np.testing.assert_array_equal(y.detach().numpy(), reference.conv2d(x, w, b, **options))
    dy = whole(*y.shape, seed=9)
    y.backward(dy)
    gradients = reference.conv2d_backward(dy, x, w, **options)
    for tensor, wanted in zip(tensors, gradients, strict=False):
        assert tensor.grad is not None
        np.testing.assert_array_equal(tensor.grad.numpy(), wanted)


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("kernel", KERNELS, ids=str)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_values_and_gradients(options: dict[str, Any], kernel: tuple[int, int], bias: bool) -> None:
    channels = 6 // options.get("groups", 1)
    w = whole(4, channels, *kernel, seed=1)
    check(whole(2, 6, 9, 10), w, whole(4, seed=2) if bias else None, **options)


@pytest.mark.parametrize("x, w", [
    ((0, 3, 5, 5), (4, 3, 3, 3)), ((2, 3, 5, 5), (0, 3, 3, 3)), ((2, 0, 5, 5), (4, 0, 3, 3)),
    ((1, 1, 1, 1), (1, 1, 1, 1)), ((2, 256, 3, 3), (256, 256, 1, 1)),
], ids=str)  # fmt: skip
def test_empty_single_and_padded_pitch(x: tuple[int, ...], w: tuple[int, ...]) -> None:
    check(whole(*x), whole(*w, seed=1), whole(w[0], seed=2))


def test_fractions_are_within_rounding() -> None:
    x, w, b = uniform(2, 20, 9, 9), uniform(7, 20, 3, 3, seed=1), uniform(7, seed=2)
    y = conv2d(Tensor(x), Tensor(w), Tensor(b), padding=1).numpy()
    bound = reference.conv2d(abs(x), abs(w), abs(b), padding=1)
    assert_rounded(y, reference.conv2d(x, w, b, padding=1), bound, 20 * 9 + 1)


def test_gradient_against_finite_differences_of_the_reference() -> None:
    x, w = whole(1, 2, 4, 5).astype(np.float64), whole(3, 2, 3, 2, seed=1).astype(np.float64)
    tx, tw = leaf(x), leaf(w)
    y = conv2d(tx, tw, stride=(1, 2), padding=1)
    dy = whole(*y.shape, seed=2)
    y.backward(dy)

    def of_x(x: np.ndarray) -> np.ndarray:
        return reference.conv2d(x, w, stride=(1, 2), padding=1)

    def of_w(w: np.ndarray) -> np.ndarray:
        return reference.conv2d(x, w, stride=(1, 2), padding=1)

    np.testing.assert_allclose(tx.grad.numpy(), reference.numeric_gradient(of_x, x, dy), atol=1e-8)
    np.testing.assert_allclose(tw.grad.numpy(), reference.numeric_gradient(of_w, w, dy), atol=1e-8)


LAYOUTS = {
    "channels first": lambda x: np.ascontiguousarray(x),
    "channels last": lambda x: np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2),
    "width first": lambda x: np.ascontiguousarray(x.transpose(3, 2, 1, 0)).transpose(3, 2, 1, 0),
    "part of a larger image": lambda x: np.pad(x, 1)[1:-1, 1:-1, 1:-1, 1:-1],
    "every other channel": lambda x: np.repeat(x, 2, 1)[:, ::2],
    "backwards": lambda x: np.ascontiguousarray(x[..., ::-1])[..., ::-1],
    "upside down": lambda x: np.ascontiguousarray(x[:, :, ::-1])[:, :, ::-1],
    "double": lambda x: x.astype(np.float64),
    "half": lambda x: x.astype(np.float16),
    "integer": lambda x: x.astype(np.int16),
    "other byte order": lambda x: x.astype(">f4"),
    "misaligned": lambda x: np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(np.float32)
    .reshape(x.shape),
    "read-only": lambda x: np.broadcast_to(x, x.shape),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_strides_and_dtype_come_in(layout: str) -> None:
    x, w = whole(2, 5, 4, 3), whole(6, 5, 3, 2, seed=1)
    wanted = reference.conv2d(x, w, padding=1)
    for given_x, given_w in ((LAYOUTS[layout](x), w), (x, LAYOUTS[layout](w))):
        y = conv2d(cnnfast.as_tensor(given_x), cnnfast.as_tensor(given_w), padding=1)
        np.testing.assert_array_equal(y.numpy(), wanted)


CHOICES = [
    (2, 512, 13, 512), (1, 512, 7, 512), (1, 256, 14, 256), (8, 64, 28, 64), (2, 128, 16, 96),
    (1, 16, 5, 16), (3, 512, 13, 256),
]  # fmt: skip


@pytest.mark.parametrize("direction", _core.CONV2D_DIRECTIONS)
@pytest.mark.parametrize("n, c, size, o", CHOICES)
def test_the_algorithm_does_not_depend_on_the_threads(
    monkeypatch: pytest.MonkeyPatch, isa: str, n: int, c: int, size: int, o: int, direction: str
) -> None:
    monkeypatch.delenv("CNNFAST_CONV")
    x, y = _core.empty_image(n, c, size, size), _core.empty_image(n, o, size, size)
    chosen = set()
    for threads in (1, 2, 3, 7, 64):
        cnnfast.set_num_threads(threads)
        chosen.add(_core.conv2d_choose(y, x, (o, c, 3, 3), (1, 1), (1, 1), (1, 1), 1, direction))
    assert len(chosen) == 1


def test_winograd_agrees_within_its_rounding(monkeypatch: pytest.MonkeyPatch, isa: str) -> None:
    x, w, b = leaf(uniform(2, 40, 13, 12)), leaf(uniform(33, 40, 3, 3, seed=1)), leaf(uniform(33))
    dy, results = uniform(2, 33, 13, 12, seed=2), []
    for algorithm in ("direct", "winograd"):
        monkeypatch.setenv("CNNFAST_CONV", algorithm)
        x.grad = w.grad = b.grad = None
        y = conv2d(x, w, b, padding=1)
        y.backward(dy)
        results.append([t.numpy() for t in (y.detach(), x.grad, w.grad, b.grad)])
    for direct, winograd in zip(*results, strict=True):
        np.testing.assert_allclose(winograd, direct, rtol=0, atol=1e-5 * np.abs(direct).max())
        assert winograd is not direct


@pytest.mark.parametrize("x, w", [
    ((2, 0, 5, 5), (4, 0, 3, 3)), ((2, 4, 5, 5), (0, 4, 3, 3)), ((0, 4, 5, 5), (4, 4, 3, 3)),
], ids=str)  # fmt: skip
def test_winograd_without_channels(monkeypatch: pytest.MonkeyPatch, x: Shape, w: Shape) -> None:
    monkeypatch.setenv("CNNFAST_CONV", "winograd")
    check(whole(*x), whole(*w, seed=1), whole(w[0], seed=2), padding=1)


def test_images_of_one_repeated_value_and_broadcast_gradients() -> None:
    x, w = leaf(np.broadcast_to(np.float32(2), (2, 3, 4, 4))), leaf(whole(4, 3, 3, 3))
    y = conv2d(x, w)
    dy = np.broadcast_to(np.float32(1), y.shape)  # as sum() sends it
    y.backward(dy)
    dx, dw, _ = reference.conv2d_backward(dy, np.full(x.shape, 2.0), w.detach().numpy())
    np.testing.assert_array_equal(x.grad.numpy(), dx)
    np.testing.assert_array_equal(w.grad.numpy(), dw)


def test_only_wanted_gradients_are_computed() -> None:
    x, w, b = Tensor(whole(1, 2, 4, 4)), leaf(whole(3, 2, 3, 3)), Tensor(whole(3))
    y = conv2d(x, w, b)
    with _core.Recording() as recording:
        y.backward(np.ones(y.shape, np.float32))
    assert "conv2d_backward_weight" in recording.names
    assert "conv2d_backward_input" not in recording.names
    assert x.grad is None and b.grad is None


def test_the_weight_is_packed_once_a_version(monkeypatch: pytest.MonkeyPatch) -> None:
    x, w = Tensor(whole(1, 2, 4, 4)), Tensor(whole(3, 2, 3, 3))
    pack, packed = _core.conv2d_pack, []
    monkeypatch.setattr(_core, "conv2d_pack", lambda *a: (packed.append(1), pack(*a)))

    def packs() -> int:
        packed.clear()
        y = conv2d(x, w)
        np.testing.assert_array_equal(y.numpy(), reference.conv2d(x.numpy(), w.array))
        return len(packed)

    assert packs() == 1
    assert packs() == 0
    w.copy_(whole(3, 2, 3, 3, seed=5))
    assert packs() == 1
    w.data = whole(3, 2, 3, 3, seed=6)
    assert packs() == 1


BACK_DOORS: dict[str, Callable[[Tensor], Any]] = {
    "numpy": lambda w: w.detach().numpy(),
    "a view": lambda w: w.detach().numpy()[1:],
    "np.asarray": lambda w: np.asarray(w.detach()),
    "dlpack": lambda w: np.from_dlpack(w.detach()),
    "data": lambda w: w.data.numpy(),
}


@pytest.mark.parametrize("name", BACK_DOORS)
def test_a_weight_written_to_behind_the_tape_is_packed_anew(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, w = Tensor(uniform(1, 3, 8, 8)), Tensor(uniform(4, 3, 3, 3), requires_grad=True)
    with cnnfast.no_grad():
        conv2d(x, w)
        door = BACK_DOORS[name](w)
        conv2d(x, w)  # packed while the door is open
        if not door.flags.writeable:  # a consumer of DLPack may not write, another may
            door = w.array
        door[...] = 2.0
        wanted = conv2d(x, Tensor(w.detach())).numpy().copy()
        np.testing.assert_array_equal(conv2d(x, w).numpy(), wanted)
        door[...] = 3.0
        wanted = conv2d(x, Tensor(w.detach())).numpy().copy()
        del door
        np.testing.assert_array_equal(conv2d(x, w).numpy(), wanted)
        packed = []
        monkeypatch.setattr(_core, "conv2d_pack", lambda *a: packed.append(1))
        conv2d(x, w)  # nobody can have written to it since
    assert packed == []


def test_a_change_of_instruction_set_packs_anew() -> None:
    best = _core.isa()
    x, w = Tensor(whole(1, 5, 4, 4)), Tensor(whole(19, 5, 3, 3))
    wanted = reference.conv2d(x.numpy(), w.numpy())
    try:
        for isa in (*_core.cpu_info()["isas"], *reversed(_core.cpu_info()["isas"])):
            _core.set_isa(isa)
            np.testing.assert_array_equal(conv2d(x, w).numpy(), wanted)
    finally:
        _core.set_isa(best)


def test_a_weight_changed_before_backward_is_refused() -> None:
    x, w = leaf(whole(1, 2, 4, 4)), leaf(whole(3, 2, 3, 3))
    y = conv2d(x, w)
    with cnnfast.no_grad():
        w.copy_(whole(3, 2, 3, 3, seed=1))
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward(np.ones(y.shape, np.float32))


ERRORS: dict[str, tuple[Shape, Shape, Shape | None, dict[str, Any]]] = {
    r"spans 5 pixels, more than the padded input's 4": ((1, 2, 4, 9), (3, 2, 5, 5), None, {}),
    r"spans 7 pixels, more than the padded input's 6": (
        (1, 2, 4, 9), (3, 2, 3, 3), None, {"dilation": 3, "padding": 1}),
    r"takes 2 channels .* got input \(1, 3, 4, 4\)": ((1, 3, 4, 4), (3, 2, 1, 1), None, {}),
    r"takes 4 channels and a multiple of 2": ((1, 4, 4, 4), (3, 2, 1, 1), None, {"groups": 2}),
    r"expected bias \(3,\), got \(2,\)": ((1, 2, 4, 4), (3, 2, 1, 1), (2,), {}),
    r"expected bias \(3,\), got \(1, 3\)": ((1, 2, 4, 4), (3, 2, 1, 1), (1, 3), {}),
    r"expected input \(N, C, H, W\)": ((2, 4, 4), (3, 2, 1, 1), None, {}),
    r"weight \(O, I, kh, kw\), got \(1, 2, 4, 4\) and \(3, 2\)": ((1, 2, 4, 4), (3, 2), None, {}),
    r"stride: expected .* at least 1, got 0": ((1, 2, 4, 4), (3, 2, 1, 1), None, {"stride": 0}),
    r"stride: expected one or two": ((1, 2, 4, 4), (3, 2, 1, 1), None, {"stride": (1, 1, 1)}),
    r"padding: expected .* at least 0": ((1, 2, 4, 4), (3, 2, 1, 1), None, {"padding": -1}),
    r'expected integers, "same" or "valid"': (
        (1, 2, 4, 4), (3, 2, 1, 1), None, {"padding": "full"}),
    r'padding="same" needs stride 1': (
        (1, 2, 4, 4), (3, 2, 1, 1), None, {"padding": "same", "stride": 2}),
    r"dilation: expected": ((1, 2, 4, 4), (3, 2, 1, 1), None, {"dilation": (0, 1)}),
    r"groups=0": ((1, 2, 4, 4), (3, 2, 1, 1), None, {"groups": 0}),
    r"a kernel \(0, 3\)": ((1, 2, 4, 4), (3, 2, 0, 3), None, {}),
    r"too large": ((1, 2, 4, 4), (3, 2, 1, 1), None, {"stride": 2**61, "padding": 2**61}),
}  # fmt: skip


@pytest.mark.parametrize("message", ERRORS)
def test_errors_name_what_was_given_and_the_rule(message: str) -> None:
    x, w, b, options = ERRORS[message]
    bias = None if b is None else Tensor(np.zeros(b))
    with pytest.raises(ValueError, match=message):
        conv2d(Tensor(np.zeros(x)), Tensor(np.zeros(w)), bias, **options)


def test_attributes_are_integers_of_any_type() -> None:
    x, w = Tensor(whole(1, 2, 5, 5)), Tensor(whole(3, 2, 3, 3))
    wanted = conv2d(x, w, stride=2, padding=(1, 1)).numpy()
    y = conv2d(x, w, stride=np.int64(2), padding=np.array([1, 1]))
    np.testing.assert_array_equal(y.numpy(), wanted)
    with pytest.raises(TypeError, match=r"stride: expected integers, got 1\.5"):
        conv2d(x, w, stride=1.5)  # type: ignore[arg-type]


def test_what_cannot_be_allocated_is_a_memory_error() -> None:
    with pytest.raises(MemoryError):
        conv2d(Tensor(np.zeros((1, 1, 2, 2))), Tensor(np.zeros((1, 1, 1, 1))), padding=2**26)


@st.composite
def problems(draw: st.DrawFn) -> tuple[Shape, Shape, dict[str, Any]]:
    """Shapes of x and w with attributes under which the kernel fits."""

    def two(low: int, high: int) -> tuple[int, int]:
        return draw(st.integers(low, high)), draw(st.integers(low, high))

    groups, channels, outputs = (draw(st.integers(1, m)) for m in (3, 40, 40))
    kernel, stride, dilation, image = two(1, 5), two(1, 4), two(1, 3), two(1, 20)
    spans = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    least = [max(0, -(-(span - size) // 2)) for span, size in zip(spans, image, strict=True)]
    padding = tuple(p + extra for p, extra in zip(least, two(0, 3), strict=True))
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    x = (draw(st.integers(0, 5)), channels * groups, *image)
    return x, (outputs * groups, channels, *kernel), options


@settings(max_examples=80, deadline=None, derandomize=True)
@given(problems())
def test_any_problem(
    problem: tuple[Shape, Shape, dict[str, Any]],
) -> None:
    x, w, options = problem
    check(whole(*x), whole(*w, seed=1), whole(w[0], seed=2), **options)
    assert shapes.conv2d(
        x, w, None, options["stride"], tuple((p, p) for p in options["padding"]),
        options["dilation"], options["groups"],
    ) == reference.conv2d(whole(*x), whole(*w), **options).shape  # fmt: skip
