"""Fixtures of the whole suite: instruction sets, thread counts, guard pages."""

from __future__ import annotations

import ctypes
import mmap
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from engine import ROOT, compile_all

import cnnfast
from cnnfast import _core

THREADS = (1, 2, 3, 7)


@pytest.fixture(params=_core.cpu_info()["isas"])
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run the test once on each instruction set that this CPU has."""
    best = _core.isa()
    _core.set_isa(request.param)
    yield request.param
    _core.set_isa(best)


@pytest.fixture(autouse=True)
def _seed_and_threads() -> Iterator[None]:
    """Each test starts from the same seed and leaves the thread count as it was."""
    cnnfast.manual_seed(0)
    np.random.seed(0)
    yield
    cnnfast.set_num_threads(0)


@pytest.fixture
def direct(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep convolutions to the direct algorithm, which is exact on small whole numbers."""
    monkeypatch.setenv("CNNFAST_CONV", "direct")


@pytest.fixture(autouse=True, scope="session")
def _ctrl_c_interrupts() -> None:
    """A shell starts background jobs with Ctrl-C ignored, and their children inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def same_bits() -> Callable[[Callable[[], np.ndarray]], np.ndarray]:
    """Return a function that runs another at 1, 2, 3 and 7 threads and compares every bit."""

    def run(compute: Callable[[], np.ndarray]) -> np.ndarray:
        results = []
        for threads in THREADS:
            cnnfast.set_num_threads(threads)
            results.append(np.array(compute(), copy=True))
        for other in results[1:]:
            assert other.tobytes() == results[0].tobytes()
        return results[0]

    return run


@pytest.fixture
def at_once() -> Callable[[int, Callable[[int], Iterable[bool]]], None]:
    """Return a function that runs ``work(i)`` in so many threads and wants all it returns true."""

    def run(count: int, work: Callable[[int], Iterable[bool]]) -> None:
        with ThreadPoolExecutor(count) as threads:
            assert [all(found) for found in threads.map(work, range(count))] == [True] * count

    return run


_libc = ctypes.CDLL(None, use_errno=True)
_libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_PROT_NONE, _PROT_RW = 0, 3


@pytest.fixture
def guarded() -> Iterator[Callable[..., np.ndarray]]:
    """Return a function that copies an array to where a page that faults begins or ends.

    ``guarded(array)`` ends at the page (a read or write past the end crashes);
    ``guarded(array, before=True)`` starts right after it. Strides are kept.
    """
    protected: list[tuple[int, mmap.mmap]] = []

    def copy(array: np.ndarray, before: bool = False) -> np.ndarray:
        page = mmap.PAGESIZE
        extent = array.itemsize + sum(
            (size - 1) * stride for size, stride in zip(array.shape, array.strides, strict=True)
        )
        room = (max(extent, 1) + page - 1) // page * page
        memory = mmap.mmap(-1, room + 2 * page)
        base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        start = page if before else page + room - extent
        for guard in (base, base + page + room):
            assert _libc.mprotect(guard, page, _PROT_NONE) == 0
            protected.append((guard, memory))
        target = np.ndarray(array.shape, array.dtype, memory, start, array.strides)
        target[...] = array
        return target

    yield copy
    for guard, _memory in protected:
        _libc.mprotect(guard, mmap.PAGESIZE, _PROT_RW)


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The engine's object files, for programs in C."""
    return compile_all(ROOT.glob("csrc/*/*.c"), tmp_path_factory.mktemp("engine"))
