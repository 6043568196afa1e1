"""The measured choice of a convolution's algorithm and the file that keeps its answers."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference

import cnnfast
from cnnfast import Tensor, _core, models
from cnnfast import functional as F
from cnnfast.backends import conv2d

INSTALLED = Path(cnnfast.__file__).parents[1]  # not the source that the tests may stand in
POINT, SAME, ONES = ((1, 1), (0, 0), (1, 1), 1), ((1, 1), (1, 1), (1, 1), 1), (1, 1)


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Measuring is on, nothing is known yet, and answers go to this folder."""
    monkeypatch.setattr(conv2d, "benchmark", True)
    monkeypatch.setattr(conv2d, "_known", {})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("CNNFAST_CONV", raising=False)
    return tmp_path / "cnnfast"


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[int]]:
    """Return a function that fixes what measurements find; the list it returns counts them."""

    def fix(winner: int) -> list[int]:
        asked: list[int] = []
        monkeypatch.setattr(conv2d, "_fastest", lambda make: asked.append(len(make)) or winner)
        return asked

    return fix


def ask(size: int = 9, direction: str = "forward") -> str:
    """Choose for a 3x3 convolution of 3 to 4 channels."""
    x, y = _core.empty_image(2, 3, size, size), _core.empty_image(2, 4, size, size)
    return conv2d.choose(y, x, (4, 3, 3, 3), SAME, direction)


def forget() -> None:
    """What another process knows."""
    conv2d._known.clear()


def normal(*shape: int) -> np.ndarray:
    """Normal float32 values."""
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("winner", [0, 1])
@pytest.mark.parametrize("direction", _core.CONV2D_DIRECTIONS)
def test_an_answer_is_measured_once(
    folder: Path, answer: Any, direction: str, winner: int
) -> None:
    asked, expected = answer(winner), _core.CONV2D_ALGORITHMS[winner]
    assert ask(direction=direction) == ask(direction=direction) == expected
    forget()
    candidates = 2 if direction == "backward_weight" else 3  # which reads no weight to transform
    assert ask(direction=direction) == expected and asked == [candidates]
    (path,) = folder.iterdir()
    ((key, found),) = json.loads(path.read_text()).items()
    assert key.startswith(f"{direction} ((2, 4, 9, 9), (2, 3, 9, 9)") and found == expected


def test_it_is_off_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert not cnnfast.backends.conv2d.benchmark
    ask()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("forced", _core.CONV2D_ALGORITHMS)
def test_a_forced_algorithm_is_not_measured(
    folder: Path, answer: Any, monkeypatch: pytest.MonkeyPatch, forced: str
) -> None:
    asked = answer(0)
    monkeypatch.setenv("CNNFAST_CONV", forced)
    assert ask() == forced and not asked


def test_one_candidate_is_not_measured(folder: Path, answer: Any) -> None:
    asked = answer(0)
    x, y = _core.empty_image(2, 3, 9, 9), _core.empty_image(2, 4, 9, 9)
    assert conv2d.choose(y, x, (4, 3, 1, 1), POINT, "forward") == "direct"
    F.conv2d(Tensor(normal(0, 3, 5, 5)), Tensor(normal(4, 3, 3, 3)))  # no image, nothing to time
    assert not asked


def test_instruction_sets_have_files_of_their_own(isa: str, folder: Path, answer: Any) -> None:
    answer(1)
    ask()
    (path,) = folder.iterdir()
    assert path.stem.endswith(f"{cnnfast.__version__}-{isa}")


def test_measured_convolutions_are_right(isa: str, folder: Path) -> None:
    x, w = Tensor(normal(2, 5, 9, 8), requires_grad=True), Tensor(normal(7, 5, 3, 3))
    w.requires_grad = True
    y = F.conv2d(x, w, padding=1)
    dy = normal(*y.shape)
    y.backward(dy)
    dx, dw, _ = reference.conv2d_backward(dy, x.detach().numpy(), w.detach().numpy(), padding=ONES)
    exact = reference.conv2d(x.detach().numpy(), w.detach().numpy(), None, padding=ONES)
    for mine, wanted in ((y.detach(), exact), (x.grad, dx), (w.grad, dw)):
        np.testing.assert_allclose(mine.numpy(), wanted, atol=2e-4)
    (path,) = folder.iterdir()
    assert len(json.loads(path.read_text())) == 3  # a direction each


def test_the_faster_one_wins() -> None:
    def lasting(seconds: float) -> Callable[[], Callable[[], None]]:
        return lambda: lambda: time.sleep(seconds)

    assert conv2d._fastest([lasting(3e-2), lasting(1e-4)]) == 1
    assert conv2d._fastest([lasting(1e-4), lasting(3e-2)]) == 0


def test_recordings_and_compiled_models_hold_no_measurement(folder: Path) -> None:
    x, w = Tensor(normal(2, 5, 9, 8)), Tensor(normal(7, 5, 3, 3))
    with _core.Recording() as recording:
        y = F.conv2d(x, w)
    assert recording.names == ["copy", "conv2d_pack_forward", "conv2d_forward"]
    recording.replay()
    np.testing.assert_allclose(y.numpy(), F.conv2d(x, w).numpy(), atol=1e-6)
    model, image = models.vgg_small().eval(), normal(1, 3, 32, 32)
    compiled = cnnfast.compile(model, image)(image)
    with cnnfast.no_grad():
        np.testing.assert_allclose(compiled, model(Tensor(image)).numpy(), rtol=1e-3, atol=1e-4)


DAMAGED = [b"", b"{", b"[]", b"null", b'{"a": "fft"}', b'{"a": []}', b"\xff\xfe", b"[" * 100_000]


@pytest.mark.parametrize("content", DAMAGED, ids=[str(content[:16]) for content in DAMAGED])
def test_a_damaged_file_is_ignored_and_replaced(folder: Path, answer: Any, content: bytes) -> None:
    answer(1)
    ask()
    (path,) = folder.iterdir()
    path.write_bytes(content)
    forget()
    with pytest.warns(RuntimeWarning, match="are damaged, so they are measured anew"):
        assert ask() == "winograd"
    assert list(json.loads(path.read_text()).values()) == ["winograd"]


def test_without_a_folder_it_goes_on_in_memory(folder: Path, answer: Any) -> None:
    asked = answer(1)
    folder.write_text("a file stands where the folder should be")
    with pytest.warns(RuntimeWarning, match="are not kept"):
        assert ask() == "winograd"
    assert ask() == "winograd" and len(asked) == 1


def test_without_a_home_it_goes_on_in_memory(
    folder: Path, answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def homeless() -> Path:
        raise RuntimeError("could not determine home directory")

    answer(1)
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/paths/are/ignored")
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.warns(RuntimeWarning, match="are not kept"):
        assert ask() == "winograd"
    monkeypatch.setattr(Path, "home", lambda: folder.parent)
    ask(size=10)
    assert len(list((folder.parent / ".cache" / "cnnfast").iterdir())) == 1


def test_what_another_process_found_meanwhile_holds(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overtaken(make: Any) -> int:
        name = conv2d._file_name()
        monkeypatch.setattr(conv2d, "_fastest", lambda make: 0)
        mine = dict(conv2d._known)
        forget()
        ask()  # as the other process
        conv2d._known.update(mine)
        assert list(conv2d._known[name].values()) == []
        return 1

    monkeypatch.setattr(conv2d, "_fastest", overtaken)
    assert ask() == "direct"


def test_threads_agree(folder: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(ask, [17] * 8))) == 1


def test_processes_share_the_file(folder: Path) -> None:
    program = (
        "import sys, cnnfast\n"
        "from cnnfast import Tensor, functional as F\n"
        "cnnfast.backends.conv2d.benchmark = True\n"
        "for size in range(5, 15):\n"
        "    x = cnnfast.zeros(1, 2, size, int(sys.argv[1]))\n"
        "    F.conv2d(x, cnnfast.zeros(3, 2, 3, 3))\n"
    )
    running = [
        subprocess.Popen([sys.executable, "-W", "error", "-c", program, width], cwd=INSTALLED)
        for width in ("5", "6", "6")
    ]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    (path,) = folder.iterdir()
    answers = json.loads(path.read_text())
    assert len(answers) >= 10 and set(answers.values()) <= set(_core.CONV2D_ALGORITHMS)
