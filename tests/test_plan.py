"""`cnnfast.compiler.plan`: recorded without computing, placed in one arena, run by many threads."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
import pytest
from rounding import uniform

import cnnfast
from cnnfast import Tensor, _core, models
from cnnfast import functional as F
from cnnfast.compiler import DataDependent, make_plan
from cnnfast.compiler.plan import _place, _Slot

Function = Callable[..., list[Tensor]]


def plan(function: Function, *arrays: np.ndarray) -> _core.Plan:
    signature = tuple((array.shape, array.dtype.name) for array in arrays)
    return make_plan(function, signature, _core.Workspace())


def eager(function: Function, *arrays: np.ndarray) -> list[np.ndarray]:
    with cnnfast.no_grad():
        return [y.numpy() for y in function(*(Tensor(array) for array in arrays))]


def check(function: Function, *arrays: np.ndarray) -> None:
    """The plan gives eager's bits, as dense arrays."""
    results = plan(function, *arrays).run(arrays)
    assert results is not None
    for result, wanted in zip(results, eager(function, *arrays), strict=True):
        np.testing.assert_array_equal(result, wanted)
        assert result.flags.c_contiguous and type(result) is np.ndarray


X = uniform(2, 3, 8, 10)
W = Tensor(uniform(4, 3, 3, 3))
FUNCTIONS: dict[str, Function] = {
    "convolution": lambda x: [F.conv2d(x, W, padding=1)],
    "in place": lambda x: [F.relu(F.relu(F.conv2d(x, W)) + 1.0)],
    "residual": lambda x: [F.relu(F.conv2d(x, W, padding=1)[:, :3] + x)],
    "concatenation": lambda x: [F.cat([F.conv2d(x, W, padding=1), x, F.relu(x)], 1)],
    "constant part": lambda x: [F.cat([Tensor(np.ones((2, 1, 8, 10), np.float32)), x], 1)],
    "slices": lambda x: [x[:, 1:] - x[:, :-1]],
    "steps backwards": lambda x: [F.flip(x, 3) + x[:, :, ::2].repeat(1, 1, 2, 1)],
    "flatten": lambda x: [F.linear(x.flatten(1), Tensor(uniform(5, 240)))],
    "pooling": lambda x: [F.max_pool2d(F.avg_pool2d(x, 3, 1, 1), 2)],
    "reduction": lambda x: [F.softmax(x.mean(dim=(2, 3)), 1), x.sum()],
    "two of one": lambda x: [(y := F.relu(x)), y, y.flatten(1)],
    "input": lambda x: [x],
    "constant": lambda x: [F.relu(W)],
    "positions": lambda x: [x.argmax(dim=1)],
    "product": lambda x: [F.matmul(x, x.transpose(2, 3))],
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_plan_gives_the_bits_of_the_eager_computation(name: str, isa: str) -> None:
    check(FUNCTIONS[name], X)


@pytest.mark.parametrize(
    ("name", "shape"),
    [("lenet5", (3, 1, 28, 28)), ("mlp", (3, 1, 28, 28)), ("resnet18_cifar", (2, 3, 32, 32))],
)
def test_models(name: str, shape: tuple[int, ...], isa: str) -> None:
    model = models.build(name).eval()
    check(lambda x: [model(x)], uniform(*shape))


def test_several_inputs_and_no_elements() -> None:
    check(lambda a, b: [a * b, a + 1.0], uniform(3, 4), uniform(4))
    check(lambda x: [F.relu(x)], np.zeros((0, 3), np.float32))
    check(lambda x: [x.float() / 255], np.arange(6, dtype=np.uint8).reshape(1, 2, 3))


def test_constants_are_computed_once() -> None:
    made = plan(lambda x: [F.conv2d(x, W * 2.0, padding=1)], X)
    assert len(made) == 3  # into the layout, convolution, out of the layout


def test_what_is_not_needed_at_once_shares_memory() -> None:
    def chain(x: Tensor) -> list[Tensor]:
        for _ in range(10):
            x = F.avg_pool2d(x, 3, 1, 1)
        return [x]

    assert plan(chain, X).arena <= 2 * X.nbytes + 128


def test_slots_that_live_at_once_do_not_overlap() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        first = rng.integers(0, 20, 30)
        last = first + rng.integers(0, 6, 30)
        sizes = 64 * rng.integers(0, 9, 30)
        slots = [_Slot(*map(int, row)) for row in zip(sizes, first, last, strict=True)]
        arena = _place(slots)
        at_once = [sum(s.size for s in slots if s.first <= i <= s.last) for i in range(26)]
        assert max(at_once) <= arena <= 1.5 * max(at_once)
        for i, a in enumerate(slots):
            assert a.offset % 64 == 0 and a.offset + a.size <= arena
            for b in slots[:i]:
                apart = a.offset + a.size <= b.offset or b.offset + b.size <= a.offset
                assert apart or a.last < b.first or b.last < a.first


VALUES: dict[str, Function] = {
    "branch": lambda x: [x if x.sum() > 0 else -x],
    "number": lambda x: [x * float(x.max())],
    "mask": lambda x: [x[x > 0]],
    "numpy": lambda x: [Tensor(np.exp(x.numpy()))],
    "type": lambda x: [Tensor(x.numpy().astype(np.int64))],
    "list": lambda x: [Tensor(x.numpy().tolist())],
}


@pytest.mark.parametrize("name", VALUES)
def test_what_depends_on_values_is_refused(name: str) -> None:
    with pytest.raises(DataDependent, match="not known while the model is compiled"):
        plan(VALUES[name], X)
    assert not _core.is_recording()


def test_other_arrays_are_left_to_the_caller(isa: str) -> None:
    made = plan(lambda x: [F.relu(x)], X)
    for other in (X[:1], X.astype(np.float64), X[:, :, ::-1], X.swapaxes(2, 3), X.tolist(), None):
        assert made.run((other,)) is None
    assert made.run((X, X)) is None
    here = _core.isa()
    others = [name for name in _core.cpu_info()["isas"] if name != here]
    for name in others:
        _core.set_isa(name)
        assert made.run((X,)) is None
    _core.set_isa(here)
    assert made.run((X,)) is not None


def test_threads_at_once_get_their_own_results(
    isa: str, at_once: Callable[..., None]
) -> None:
    model = models.resnet18_cifar().eval()
    images = [uniform(1, 3, 32, 32, seed=i) for i in range(8)]
    made = plan(lambda x: [model(x)], images[0])
    wanted = [made.run((image,))[0].tobytes() for image in images]  # type: ignore[index]
    at_once(8, lambda i: [
        made.run((images[i],))[0].tobytes() == wanted[i] for _ in range(5)])  # type: ignore[index]


def test_any_number_of_threads_gives_the_same_bits(
    isa: str, same_bits: Callable[..., np.ndarray]
) -> None:
    model = models.resnet18_cifar().eval()
    x = uniform(2, 3, 32, 32)
    made = plan(lambda x: [model(x)], x)
    same_bits(lambda: made.run((x,))[0])  # type: ignore[index]


def test_a_forked_child_can_run_a_plan() -> None:
    model = models.resnet18_cifar().eval()
    x = uniform(2, 3, 32, 32)
    made = plan(lambda x: [model(x)], x)
    wanted = made.run((x,))
    child = os.fork()
    if child == 0:
        os._exit(int(made.run((x,))[0].tobytes() != wanted[0].tobytes()))  # type: ignore[index]
    assert os.waitpid(child, 0)[1] == 0


def test_a_profile_has_a_time_for_each_call() -> None:
    made = plan(FUNCTIONS["residual"], X)
    outputs, times = made.profile((X,))
    assert outputs is not None and len(times) == len(made) + 1
    assert (np.diff(times) >= 0).all() and 0 < times[-1] - times[0] < 10


def test_a_recording_of_unknown_values_is_not_for_replay() -> None:
    recording = _core.Recording(np.ndarray)
    with pytest.raises(RuntimeError, match="for a Plan"):
        recording.replay()
