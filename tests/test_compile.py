"""`cnnfast.compile`: what a compiled model promises to whoever embeds it."""

from __future__ import annotations

import copy
import os
import pickle
import signal
import threading
from collections.abc import Callable
from typing import Any

import networks
import numpy as np
import pytest
from networks import close, eager, randomised
from rounding import uniform

import cnnfast
from cnnfast import Tensor, models, nn
from cnnfast import functional as F
from cnnfast.compiler.compiled import lock
from cnnfast.graph import Graph, Node


@pytest.mark.parametrize("name", models.names())
def test_every_model_compiled_equals_eager(name: str, isa: str) -> None:
    model, x = networks.network(name)
    compiled = cnnfast.compile(model, np.zeros((1, *x.shape[1:]), np.float32))
    close(compiled(x), eager(model, x))
    close(compiled.run({compiled.input_names[0]: x[:1]})[0], eager(model, x[:1]))


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return randomised(models.resnet18_cifar())


X = uniform(2, 3, 32, 32)


@pytest.fixture(scope="module")
def compiled(network: nn.Module) -> cnnfast.CompiledModel:
    return cnnfast.compile(network, X)


def test_it_can_be_pickled_and_copied(compiled: cnnfast.CompiledModel) -> None:
    for other in (pickle.loads(pickle.dumps(compiled)), copy.deepcopy(compiled)):
        assert other(X).tobytes() == compiled(X).tobytes()
        assert repr(other) == repr(compiled)


def test_eight_threads_at_once_give_the_serial_bits(
    compiled: cnnfast.CompiledModel, at_once: Callable[..., None]
) -> None:
    images = [uniform(1 + i % 3, 3, 32, 32, seed=i) for i in range(8)]
    wanted = [compiled(image).tobytes() for image in images]
    compiled.release()
    at_once(8, lambda i: [compiled(images[i]).tobytes() == wanted[i] for _ in range(4)])


def test_release_while_others_call(
    compiled: cnnfast.CompiledModel, at_once: Callable[..., None]
) -> None:
    images = [uniform(1 + i, 3, 32, 32) for i in range(4)]
    wanted = [compiled(image).tobytes() for image in images]

    def work(i: int) -> list[bool]:
        if i < 4:
            return [compiled(images[i]).tobytes() == wanted[i] for _ in range(10)]
        return [compiled.release() is None for _ in range(10)]

    at_once(5, work)


def test_a_forked_child_can_call(compiled: cnnfast.CompiledModel) -> None:
    wanted = compiled(X).tobytes()
    larger = uniform(5, 3, 32, 32)
    child = os.fork()
    if child == 0:
        same = compiled(X).tobytes() == wanted
        os._exit(int(not same or compiled(larger).shape != (5, 10)))  # an old plan and a new one
    assert os.waitpid(child, 0)[1] == 0


def test_a_fork_waits_for_whoever_looks_for_a_plan(compiled: cnnfast.CompiledModel) -> None:
    """The child lacks the thread that held the lock at the time of the fork."""
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            held.set()
            done.wait(0.2)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        os._exit(int(compiled(uniform(7, 3, 32, 32)).shape != (7, 10)))
    thread.join()
    assert os.waitpid(child, 0)[1] == 0


def test_sizes_may_vary() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    compiled = cnnfast.compile(model, np.zeros((1, 3, 8, 8), np.float32))
    rng = np.random.default_rng(0)
    for _ in range(100):
        x = uniform(*rng.integers(1, 4, 1), 3, *rng.integers(1, 40, 2))
        close(compiled(x), eager(model, x))
    assert len(compiled._programs) <= 32


def resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_memory_stays_flat_over_a_thousand_sizes() -> None:
    model = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3))
    compiled = cnnfast.compile(model, np.zeros((1, 3, 8, 8), np.float32))
    rng = np.random.default_rng(0)
    compiled(uniform(1, 3, 200, 200))
    seen = []
    for _ in range(1000):
        compiled(np.zeros((1, 3, *rng.integers(20, 200, 2)), np.float32))
        seen.append(resident())
    assert max(seen[500:]) <= 1.1 * max(seen[:500])


def test_integers_and_other_floats_are_converted() -> None:
    compiled = cnnfast.compile(nn.ReLU(), np.zeros((1, 4), np.float32))
    for dtype in (np.float64, np.float16, np.uint8, np.int64, bool):
        np.testing.assert_array_equal(compiled(np.ones((2, 4), dtype)), np.ones((2, 4)))
    np.testing.assert_array_equal(compiled([[1, -1, 0, 2]]), [[1, 0, 0, 2]])
    np.testing.assert_array_equal(compiled(np.ones((4, 2), np.float32).T), np.ones((2, 4)))


BAD: dict[str, tuple[Any, type[Exception], str]] = {
    "rank": (np.zeros((3, 32, 32), np.float32), ValueError, r"\[batch, 3, \?, \?\] .*got shape"),
    "channels": (np.zeros((1, 4, 32, 32), np.float32), ValueError, r"got shape \(1, 4, 32, 32\)"),
    "complex": (np.zeros((1, 3, 32, 32), complex), TypeError, "got complex128"),
    "text": ("image.png", TypeError, "input 'x': expected float32"),
    "nothing": (None, TypeError, "input 'x'"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_inputs_are_named(name: str, compiled: cnnfast.CompiledModel) -> None:
    value, error, message = BAD[name]
    with pytest.raises(error, match=message):
        compiled(value)


def test_wrong_names_and_counts_are_named(compiled: cnnfast.CompiledModel) -> None:
    with pytest.raises(ValueError, match=r"expected inputs \['x'\], got \['image'\]"):
        compiled.run({"image": X})
    with pytest.raises(TypeError, match="got 2 inputs"):
        compiled(X, X)


def test_a_size_that_does_not_fit_is_named() -> None:
    model = models.lenet5().eval()
    compiled = cnnfast.compile(model, np.zeros((1, 1, 28, 28), np.float32))
    with pytest.raises(ValueError, match=r"\[batch, 1, 28, 28\] .*got shape \(1, 1, 40, 40\)"):
        compiled(np.zeros((1, 1, 40, 40), np.float32))
    assert compiled(np.zeros((2, 1, 28, 28), np.float32)).shape == (2, 10)


def test_a_size_that_does_not_fit_a_graph_names_the_layer() -> None:
    nodes = [Node("Flatten", ["x"], ["f"]), Node("Gemm", ["f", "w"], ["y"], name="fc1")]
    inputs = {"x": ("float32", (None, None, None, None))}
    compiled = cnnfast.compile(Graph(nodes, inputs, ["y"], {"w": uniform(12, 5)}, {"": 21}))
    assert compiled(uniform(2, 3, 2, 2)).shape == (2, 5)
    with pytest.raises(ValueError, match=r"FusedLinear \(fc1\): expected 12 values"):
        compiled(uniform(2, 3, 2, 3))


def test_results_have_memory_of_their_own() -> None:
    """A constant, a view of a whole-number input, text: writing into a result changes nothing."""
    nodes = [Node("Identity", ["x"], ["y"]), Node("Transpose", ["x"], ["z"], {"perm": [1, 0]})]
    count, text = np.arange(3), np.array(["a"], object)
    for name, kind, x in (("x", "int64", np.ones((2, 3), np.int64)), ("x", "object", [["a", "b"]])):
        inputs = {name: (kind, (None, None))}
        outputs, constants = ["y", "z", "k", "t"], {"k": count, "t": text}
        compiled = cnnfast.CompiledModel(Graph(nodes, inputs, outputs, constants, {"": 21}))
        given = np.array(x, kind)
        wanted = [result.copy() for result in compiled(given)]
        for result in compiled(given):
            assert result.flags.c_contiguous and not np.may_share_memory(result, given)
            result.fill(7)
        for result, reference in zip(compiled(given), wanted, strict=True):
            np.testing.assert_array_equal(result, reference)
        with pytest.raises(TypeError, match=r"expected the inputs \['x'\], got 0 inputs"):
            compiled()


def test_named_sizes_must_agree() -> None:
    compiled = cnnfast.compile(lambda a, b: a + b, (uniform(2, 3), uniform(2, 3)))
    with pytest.raises(ValueError, match=r"input 'b': .* where {'batch': 2}"):
        compiled(uniform(2, 3), uniform(4, 3))


def test_weights_are_those_of_the_moment() -> None:
    model = nn.Linear(4, 3)
    compiled = cnnfast.compile(model, uniform(1, 4))
    wanted = compiled(uniform(2, 4))
    with cnnfast.no_grad():
        model.weight.zero_()
    np.testing.assert_array_equal(compiled(uniform(2, 4)), wanted)


def test_what_looks_at_values_runs_after_the_plan() -> None:
    """TopK is NumPy's: convolution and addition are planned, sorting and what follows are not."""
    nodes = [
        Node("Conv", ["x", "w"], ["y"]), Node("TopK", ["y", "k"], ["best", "where"]),
        Node("Add", ["y", "y"], ["z"]), Node("Mul", ["best", "two"], ["twice"]),
    ]
    constants = {
        "w": uniform(2, 3, 3, 3), "k": np.array([2], np.int64), "two": np.array(2, np.float32)}
    inputs = {"x": ("float32", (None, 3, None, None))}
    graph = Graph(nodes, inputs, ["z", "twice", "where"], constants, {"": 21})
    compiled = cnnfast.CompiledModel(graph)
    for batch in (1, 2):
        x = uniform(batch, 3, 6, 7)
        y = eager(lambda x: F.conv2d(x, Tensor(constants["w"])), x)
        z, twice, where = compiled(x)
        np.testing.assert_allclose(z, 2 * y, rtol=1e-6)
        np.testing.assert_allclose(twice, 2 * np.sort(y)[..., :-3:-1], rtol=1e-6)
        np.testing.assert_array_equal(where, np.argsort(-y)[..., :2])


def test_threads_are_limited_and_the_bits_are_the_same(network: nn.Module) -> None:
    one = cnnfast.compile(network, X, threads=1)
    assert one(X).tobytes() == cnnfast.compile(network, X)(X).tobytes()
    with pytest.raises(ValueError, match="threads"):
        cnnfast.compile(network, X, threads=0)


def test_bad_arguments() -> None:
    with pytest.raises(TypeError, match="example"):
        cnnfast.compile(nn.ReLU())
    with pytest.raises(ValueError, match="precision"):
        cnnfast.compile(nn.ReLU(), X, precision="float16")


# ---- concatenation without copies ----------------------------------------------------------


def chain(x: Tensor) -> Tensor:
    """Three layers of a DenseNet: each reads all that came before."""
    found = [F.conv2d(x, K[0], padding=1)]
    for weight in K[1:]:
        found.append(F.relu(F.conv2d(F.cat(found, 1), weight, padding=1)))
    return F.cat(found, 1)


K = [Tensor(uniform(4, channels, 3, 3)) for channels in (3, 4, 8)]
PAIR, FIRST = Tensor(uniform(4, 3, 1, 1)), Tensor(uniform(3, 2, 1, 1))
JOINS: dict[str, tuple[Any, int]] = {
    "branches": (lambda x: F.cat([F.conv2d(x, PAIR), F.relu(x), F.max_pool2d(x, 1)], 1), 0),
    "dense": (chain, 0),
    "nested": (lambda x: F.cat([F.cat([F.relu(x), F.neg(x)], 1), F.exp(x)], 1), 0),
    "what all read": (lambda x: F.cat([x, F.relu(x)], 1), 0),
    "one value twice": (lambda x: F.cat([(y := F.relu(x)), y], 1), 2),
    "in two": (lambda x: F.cat([F.cat([(y := F.relu(x)), F.exp(x)], 1), F.neg(x), y], 1), 1),
    "a view": (lambda x: F.cat([F.relu(x)[:, 1:], F.neg(x)], 1), 1),
    "read before": (lambda x: F.cat([(y := F.relu(x)), F.neg(y)], 1) * 2.0, 0),
    "along the width": (lambda x: F.cat([F.relu(x), F.neg(x)], 3), 2),
}


@pytest.mark.parametrize("name", JOINS)
def test_concatenation_by_channel_copies_only_what_it_must(name: str, isa: str) -> None:
    function, copies = JOINS[name]

    def model(x: Tensor) -> Tensor:
        return F.neg(function(F.conv2d(x, FIRST)))  # what a convolution makes is an image

    compiled = cnnfast.compile(model, uniform(1, 2, 6, 5))
    for batch in (1, 2):
        x = uniform(batch, 2, 6, 5)
        close(compiled(x), eager(model, x))
    nodes = [*compiled.graph.nodes, Node("results", [], [])]
    labels = [nodes[i].operator for row in compiled._latest.labels for i in row]
    assert labels.count("Concat") == copies


# ---- raw images ----------------------------------------------------------------------------

PHOTO = np.random.default_rng(0).integers(0, 256, (2, 12, 10, 3), np.uint8)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.mark.parametrize(("mean", "std"), [(MEAN, STD), (0.5, 0.25), (0, 1)])
@pytest.mark.parametrize("padding", [0, 1])
def test_normalize_takes_images_as_they_come(mean: Any, std: Any, padding: int) -> None:
    model = nn.Sequential(nn.Conv2d(3, 5, 3, padding=padding), nn.ReLU()).eval()
    compiled = cnnfast.compile(model, uniform(1, 3, 12, 10), normalize=(mean, std))
    assert compiled.graph.inputs == {"image": ("uint8", ("batch", None, None, 3))}
    pixels = (PHOTO / np.float32(255) - np.float32(mean)) / np.float32(std)
    close(compiled(PHOTO), eager(model, pixels.transpose(0, 3, 1, 2).copy()))
    operators = [node.operator for node in compiled.graph.nodes]
    assert operators == ["Transpose", "Cast", *["Add"] * padding, "FusedConv"]
    with pytest.raises(TypeError, match="expected uint8"):
        compiled(pixels)


@pytest.mark.parametrize(
    "normalize", [((0.5, 0.5), 1), (0, (1, 1, 0)), (0, 0)])
def test_numbers_that_do_not_fit_the_channels_are_named(normalize: tuple[Any, Any]) -> None:
    with pytest.raises(ValueError, match="one number or 3, and no std of 0"):
        cnnfast.compile(nn.Conv2d(3, 4, 1), uniform(1, 3, 8, 8), normalize=normalize)
    with pytest.raises(ValueError, match="one image input"):
        cnnfast.compile(nn.Linear(3, 4), uniform(1, 3), normalize=(0, 1))
