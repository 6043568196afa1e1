"""A guest in somebody's process: the caller's floating-point mode, and no page fault a step."""

from __future__ import annotations

import ctypes
import platform
import resource
import struct
from collections.abc import Callable, Iterator

import numpy as np
import pytest

import cnnfast
from cnnfast import Tensor, _core, models, nn, optim
from cnnfast import functional as F

FLUSH, UP, DOWN = 0x8040, 0x4000, 0x2000
"""MXCSR: FTZ and DAZ; rounding upwards; downwards."""

CONTROL = 0xFFC0
"""MXCSR without its flags, which say what has happened."""

MXCSR = 28
"""Its offset in glibc's fenv_t on x86-64."""

_libm = ctypes.CDLL("libm.so.6") if platform.system() == "Linux" else None


def _environment() -> ctypes.Array[ctypes.c_char]:
    assert _libm is not None
    environment = ctypes.create_string_buffer(32)
    _libm.fegetenv(environment)
    return environment


def control() -> int:
    """The calling thread's rounding, flushing and masked exceptions."""
    return int(struct.unpack_from("I", _environment(), MXCSR)[0]) & CONTROL


@pytest.fixture
def set_bits() -> Iterator[Callable[[int], None]]:
    """Return a function that sets bits of MXCSR for the rest of the test."""
    before = _environment()

    def change(bits: int) -> None:
        assert _libm is not None
        environment = _environment()
        struct.pack_into("I", environment, MXCSR, control() | bits)
        _libm.fesetenv(environment)

    yield change
    assert _libm is not None
    _libm.fesetenv(before)


def _compute() -> None:
    x, w = Tensor(np.full((2, 16, 24, 24), 1e-39)), Tensor(np.ones((16, 16, 3, 3)))
    F.max_pool2d(F.relu(F.conv2d(x, w, padding=1)), 2)


def _be_refused() -> None:
    with pytest.raises(ValueError, match="does not give"):
        _core.gemm(*(np.zeros(shape, np.float32) for shape in ((2, 2), (2, 3), (4, 2))))
    with pytest.raises(IndexError, match="not one of"):  # found inside the engine
        F.cross_entropy(Tensor(np.zeros((2, 3))), Tensor(np.array([0, 7])))


@pytest.mark.skipif(
    (platform.system(), platform.machine()) != ("Linux", "x86_64"), reason="MXCSR is x86's"
)
@pytest.mark.parametrize("call", [_compute, _be_refused])
@pytest.mark.parametrize("bits", [0, FLUSH, UP, FLUSH | DOWN, 0x8000, 0x0040], ids=hex)
@pytest.mark.parametrize("threads", [1, 2])
def test_the_callers_mode_stays(
    set_bits: Callable[[int], None], call: Callable[[], None], bits: int, threads: int
) -> None:
    cnnfast.set_num_threads(threads)
    set_bits(bits)
    before = control()
    call()
    assert control() == before
    assert before & bits == bits


@pytest.mark.parametrize("compute", [
    lambda x: x * 1e30, lambda x: x + x, lambda x: F.batch_norm(x, None, None, training=True),
    lambda x: F.avg_pool2d(x, 2), lambda x: x.sum(dim=1),
    lambda x: F.conv2d(x, Tensor(np.full((8, 1, 3, 3), 1e30)), groups=8),
], ids=["mul", "add", "batch_norm", "avg_pool", "sum", "depthwise"])  # fmt: skip
def test_arithmetic_takes_denormals_for_zero(
    isa: str, compute: Callable[[Tensor], Tensor]
) -> None:
    signs = np.where(np.arange(2 * 8 * 32 * 32) % 2, 1, -1).reshape(2, 8, 32, 32)
    assert not compute(Tensor(signs * np.float32(1e-39))).numpy().any()


def test_a_steady_training_step_takes_no_page_faults() -> None:
    """Every buffer of a step comes from the pool: 60 MB a step would else be 15,000 faults.

    What Python allocates itself may move: it takes arenas of up to 1 MB, so one of them in all the
    steps, 256 pages, is not the engine's. Measured: 21 faults in the 20 steps, and 277 after all
    tests before this one.
    """
    model = models.build("resnet18_cifar")
    update = optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    images, labels = Tensor(np.ones((8, 3, 16, 16))), Tensor(np.arange(8))

    def step() -> None:
        update.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        update.step()

    assert isinstance(model, nn.Module)
    for _ in range(4):
        step()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        step()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 2 * 256
