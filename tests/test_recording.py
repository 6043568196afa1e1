"""`_core.Recording`: what ran eagerly runs again, to the same bits, in one call."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from rounding import uniform

import cnnfast
from cnnfast import Tensor, _core, nn
from cnnfast import functional as F
from cnnfast.optim import SGD, Adam, RMSprop

SHAPE = (4, 3, 12, 16)


def parameters() -> list[Tensor]:
    """Weights and biases of a convolution and of a linear layer over rows of 16 pixels."""
    shapes = ((20, 3, 3, 3), (20,), (10, 16), (10,))
    return [Tensor(uniform(*shape), requires_grad=True) for shape in shapes]


def network(x: Tensor, p: list[Tensor]) -> Tensor:
    """Convolution, ReLU, linear."""
    return F.linear(F.relu(F.conv2d(x, p[0], p[1], padding=1)), p[2], p[3])


def test_forward_replays_to_the_same_bits_on_new_data(isa: str) -> None:
    p, x = parameters(), Tensor(uniform(*SHAPE))
    with _core.Recording() as recording:
        y = network(x, p)
    assert recording.names.count("conv2d_forward") == 2  # a linear layer is a 1x1 convolution
    assert "unary_forward" in recording.names
    assert len(recording) == len(recording.names)
    for seed in (1, 2):
        x.copy_(uniform(*SHAPE, seed=seed))
        recording.replay()
        wanted = network(Tensor(uniform(*SHAPE, seed=seed)), p)
        assert y.detach().numpy().tobytes() == wanted.detach().numpy().tobytes()


def test_a_replay_has_the_same_bits_on_any_number_of_threads(
    isa: str, same_bits: Callable[..., np.ndarray]
) -> None:
    p, x = parameters(), Tensor(uniform(16, 3, 40, 16))
    with _core.Recording() as recording:
        y = network(x, p).detach()
    wanted = y.numpy().copy()
    assert same_bits(lambda: (recording.replay(), y.numpy())[1]).tobytes() == wanted.tobytes()


def train(steps: int, recorded: bool) -> list[bytes]:
    """The parameters after `steps` steps of SGD with momentum, the last ones replayed or not."""
    p, x, dy = parameters(), Tensor(uniform(*SHAPE)), uniform(*SHAPE[:1], 20, 12, 10)
    optimizer = SGD(p, lr=1e-3, momentum=0.9)

    def step() -> None:
        for parameter in p:
            parameter.grad = None
        network(x, p).backward(dy)
        optimizer.step()

    step()  # the momentum buffers begin here
    network(x, p)  # leaves packed weights that a recording must not take over
    if recorded:
        with _core.Recording() as recording:
            step()
        assert recording.names.count("sgd_update") == 4
        for _ in range(steps - 2):
            recording.replay()
    else:
        for _ in range(steps - 1):
            step()
    return [parameter.detach().numpy().tobytes() for parameter in p]


def test_a_training_step_replays_to_the_same_bits(isa: str) -> None:
    assert train(5, recorded=True) == train(5, recorded=False)


def test_recordings_do_not_nest() -> None:
    with _core.Recording() as outer:
        with pytest.raises(RuntimeError, match="do not nest"), _core.Recording():
            pass
        F.relu(Tensor([1.0]))
    assert outer.names == ["unary_forward"]
    with _core.Recording() as other:  # the refusal left nothing behind
        pass
    assert len(other) == 0
    other.replay()


def test_a_recording_can_go_on_later() -> None:
    x = Tensor([-1.0, 2.0])
    recording = _core.Recording()
    with recording:
        y = F.relu(x)
    F.relu(y)
    with recording:
        z = F.relu(y)
    assert len(recording) == 2
    x.copy_([3.0, -4.0])
    recording.replay()
    np.testing.assert_array_equal(z.numpy(), [3, 0])


def test_an_error_inside_ends_the_recording_and_is_not_part_of_it() -> None:
    recording = _core.Recording()
    with pytest.raises(ValueError, match="does not give"), recording:
        _core.gemm(*(np.zeros((2, 3), np.float32) for _ in range(3)))
    assert len(recording) == 0
    assert not _core.is_recording()


def test_other_threads_are_not_recorded() -> None:
    x = Tensor(uniform(2, 3, 8, 8))
    w = Tensor(uniform(4, 3, 3, 3))
    with _core.Recording() as recording:
        assert _core.is_recording()
        thread = threading.Thread(target=F.conv2d, args=(x, w))
        thread.start()
        thread.join()
    assert recording.names == []


def test_a_recording_keeps_its_arrays_alive() -> None:
    with _core.Recording() as recording:
        y = network(Tensor(uniform(*SHAPE)), parameters()).detach()
    wanted = y.numpy().copy()
    garbage = [np.full(SHAPE, np.nan, np.float32) for _ in range(10)]
    recording.replay()
    assert y.numpy().tobytes() == wanted.tobytes()
    del garbage


def test_a_recording_belongs_to_its_instruction_set() -> None:
    isas = _core.cpu_info()["isas"]
    if len(isas) < 2:
        pytest.skip("this CPU has one instruction set only")
    best = _core.isa()
    with _core.Recording() as recording:
        network(Tensor(uniform(*SHAPE)), parameters())
    try:
        _core.set_isa(isas[0])
        with pytest.raises(RuntimeError, match=f"recorded with {best} .* {isas[0]}"):
            recording.replay()
    finally:
        _core.set_isa(best)
    recording.replay()


def test_no_gradient_is_needed_to_record() -> None:
    with cnnfast.no_grad(), _core.Recording() as recording:
        network(Tensor(uniform(*SHAPE)), parameters())
    assert not any("backward" in name for name in recording.names)


def whole(*values: int) -> Tensor:
    return Tensor(np.array(values))


def backward_of(y: Tensor) -> None:
    y.backward(np.ones(y.shape, np.float32))


def hooked() -> Tensor:
    y = F.relu(X)
    y.register_hook(lambda dy: dy * 2)
    return y


def assigned(key: object) -> Tensor:
    x = Tensor([1.0, 2.0, 3.0])
    x[key] = 0.0  # type: ignore[index]
    return x


X, NORM = Tensor([1.0, -2.0, 3.0], requires_grad=True), nn.BatchNorm1d(3, momentum=None)
NOT_REPEATED: dict[str, tuple[Callable[[], Any], str]] = {
    "cumulative average": (lambda: NORM(Tensor(uniform(4, 3))), "cumulative average of a batch"),
    "clipping": (lambda: nn.utils.clip_grad_norm_([X], 1.0, 1.0), "norm of gradients of order 1"),
    "finite norm": (
        lambda: nn.utils.clip_grad_norm_([X], 1.0, error_if_nonfinite=True), "gradients is finite"),
    "hook": (lambda: backward_of(hooked()), "hook of a gradient"),
    "assignment": (lambda: assigned(np.array([0, 2])), "assignment through index arrays"),
    "index": (lambda: X[Tensor(np.array([0, 2]))], "index by an array"),
    "gather": (lambda: F.gather(X, 0, whole(1)), "index by an array"),
    "prod": (lambda: backward_of(F.prod(X)), "gradient of prod"),
    "labels": (lambda: F.cross_entropy(Tensor(uniform(2, 3)), Tensor(np.int32([0, 1]))), "labels"),
    "sum": (lambda: whole(1, 2) + whole(3, 4), "add of integers"),
    "in place": (lambda: whole(1, 2).add_(1), "add of integers"),
    "difference": (lambda: -whole(1, 2), "neg of integers"),
    "total": (lambda: whole(1, 2).sum(), "sum of integers"),
    "place": (lambda: whole(1, 2).argmax(), "argmax of integers"),
    "joined": (lambda: F.cat([whole(1), whole(2)]), "cat of integers"),
    "quotient": (lambda: whole(5) // whole(2), "div of integers"),
    "bits": (lambda: whole(5) & whole(2), "& of integers"),
    "comparison": (lambda: X > 0, "gt, a comparison,"),
    "all": (lambda: X.all(), "all of integers or booleans"),
}


@pytest.mark.parametrize("name", NOT_REPEATED)
def test_what_a_replay_would_not_repeat_is_refused(name: str) -> None:
    compute, message = NOT_REPEATED[name]
    with cnnfast.no_grad() if name in ("index", "gather") else cnnfast.enable_grad():
        compute()  # eagerly it is done
        with pytest.raises(RuntimeError, match=message), _core.Recording():
            compute()


def test_assignment_to_a_slice_replays_with_its_gradient() -> None:
    x, y = Tensor(uniform(4, 3), requires_grad=True), Tensor(uniform(2, 3, seed=1))
    with _core.Recording() as recording:
        z = F.mul(x, 2.0)
        z[1:3] = y
        z.backward(dy := uniform(4, 3, seed=2))
    gradient = x.grad.numpy()
    y.copy_(uniform(2, 3, seed=3))
    dy *= 3
    recording.replay()
    np.testing.assert_array_equal(z.detach().numpy()[1:3], y.numpy())
    np.testing.assert_array_equal(gradient, 2 * dy * np.float32([[1], [0], [0], [1]]))


@pytest.mark.parametrize(
    ("make", "settings"),
    [
        (SGD, {"momentum": 0.9}), (Adam, {}), (Adam, {"amsgrad": True}),
        (RMSprop, {"centered": True}),
    ],
)
def test_updates_replay_with_the_settings_of_then(make: Any, settings: dict[str, Any]) -> None:
    def run(replayed: bool) -> bytes:
        p = Tensor([1.0, -2.0], requires_grad=True)
        p.grad = Tensor([0.5, 0.25])
        optimizer = make([p], lr=0.5, **settings)
        optimizer.step()  # the states begin here
        with _core.Recording() as recording:
            optimizer.step()
        for lr in (0.25, 0.0625):
            optimizer.param_groups[0].update(lr=lr, weight_decay=lr)
            (recording.replay if replayed else optimizer.step)()
        state = optimizer.state[p].values()
        return b"".join(tensor.detach().numpy().tobytes() for tensor in (p, *state))

    assert run(True) == run(False)


def test_batch_norm_counts_in_a_replay() -> None:
    norm, x = nn.BatchNorm1d(3), Tensor(uniform(4, 3))
    with _core.Recording() as recording:
        norm(x)
    recording.replay()
    assert int(norm.num_batches_tracked) == 2


def test_dropout_replays_with_the_masks_of_eager_calls() -> None:
    x = Tensor(np.ones((4, 100)))
    cnnfast.manual_seed(1)
    wanted = [[F.dropout(x).numpy().copy() for _ in range(2)] for _ in range(3)]
    cnnfast.manual_seed(1)
    with _core.Recording() as recording:
        masks = [F.dropout(x) for _ in range(2)]
    for i in range(3):
        if i:
            recording.replay()
        np.testing.assert_array_equal([mask.numpy() for mask in masks], wanted[i])


def test_maximize_replays() -> None:
    p = Tensor([1.0, -2.0], requires_grad=True)
    p.grad = Tensor([0.5, 0.25])
    optimizer = SGD([p], lr=1.0, maximize=True)
    with _core.Recording() as recording:
        optimizer.step()
    p.grad.copy_([2.0, 4.0])
    recording.replay()
    np.testing.assert_array_equal(p.detach().numpy(), [3.5, 2.25])
