"""The programs of examples/, run as docs/embedding.md shows them."""

from __future__ import annotations

import ast
import importlib
import json
import os
import pickle
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from engine import compile_all, link

import cnnfast
from cnnfast.data import mnist5k

PACKAGE = Path(cnnfast.__file__).parents[1]
ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
GUIDE = ROOT / "docs" / "embedding.md"
COUNT = 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the examples read: a model, digits as an array and as pictures."""
    image = pytest.importorskip("PIL.Image")
    folder = tmp_path_factory.mktemp("examples")
    assert run("digits.py", folder / "digits.safetensors") == ""
    images = mnist5k("test")[:COUNT][0].reshape(COUNT, 28, 28, 1)
    np.save(folder / "images.npy", images)
    for i in range(2):
        for kind in ("png", "pgm"):
            image.fromarray(images[i, :, :, 0]).save(folder / f"{i}.{kind}")
    return folder


@pytest.fixture(scope="module")
def classes(folder: Path) -> list[int]:
    """What the model says of the digits, most of it true."""
    scores = cnnfast.load(folder / "digits.safetensors")(np.load(folder / "images.npy"))
    found = scores.argmax(axis=1)
    assert (found == mnist5k("test")[:COUNT][1]).mean() > 0.9
    return [int(number) for number in found]


def environment(**more: str) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(PACKAGE)} | more


def run(name: str, *arguments: object) -> str:
    """What an example prints."""
    command = [sys.executable, EXAMPLES / name, *map(str, arguments)]
    done = subprocess.run(
        command, cwd=PACKAGE, env=environment(), capture_output=True, text=True, timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(("name", "more"), [
    ("thread_pool.py", []), ("process_pool.py", ["fork"]), ("process_pool.py", ["spawn"]),
    ("predictor.py", []),
])  # fmt: skip
def test_many_images(name: str, more: list[str], folder: Path, classes: list[int]) -> None:
    printed = run(name, folder / "digits.safetensors", folder / "images.npy", *more)
    assert ast.literal_eval(printed) == classes


def test_a_function_per_image(folder: Path, classes: list[int]) -> None:
    printed = run("per_image.py", folder / "digits.safetensors", *folder.glob("*.png"))
    for line in printed.splitlines():
        path, number, probability = line.split()
        assert int(number) == classes[int(Path(path).stem)] and 0.1 < float(probability) <= 1
    assert printed.count("\n") == 2


def test_a_predictor_can_be_sent_to_a_worker(
    folder: Path, classes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    make = importlib.import_module("predictor").Predictor
    predictor = pickle.loads(pickle.dumps(make(folder / "digits.safetensors", threads=1)))
    batch = predictor({"image": np.load(folder / "images.npy"), "name": np.arange(COUNT)})
    assert list(batch) == ["image", "name", "class", "score"]
    assert batch["class"].tolist() == classes and batch["score"].shape == (COUNT,)


# ---- C ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def embed(engine: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("embed")
    return link([*engine, *compile_all([EXAMPLES / "embed.c"], folder)], folder / "embed")


def call(program: Path, *arguments: object, **more: str) -> subprocess.CompletedProcess[str]:
    command = [program, *map(str, arguments)]
    return subprocess.run(
        command, env=environment(**more), capture_output=True, text=True, timeout=60, check=False)


def test_from_c(embed: Path, folder: Path, isa: str) -> None:
    images = np.load(folder / "images.npy")
    images[0].tofile(folder / "0.bytes")
    for i, name in enumerate(("0.bytes", "1.pgm")):
        done = call(embed, folder / "digits.safetensors", folder / name, CNNFAST_ISA=isa)
        scores = cnnfast.load(folder / "digits.safetensors")(images[i : i + 1])[0]
        best = np.argsort(-scores)[:3]
        printed = np.array(done.stdout.split(), float).reshape(3, 2)
        assert printed[:, 0].tolist() == best.tolist()
        np.testing.assert_allclose(printed[:, 1], scores[best], rtol=1e-5)


@pytest.mark.parametrize(("arguments", "words"), [
    ((), "expected a model and an image"), (("none", "0.pgm"), "No such file"),
    (("0.pgm", "0.pgm"), "expected a safetensors file"),
    (("digits.safetensors", "none"), "cannot be read"),
    (("digits.safetensors", "0.png"), "not as many bytes"),
    (("digits.safetensors", "wide.pgm"), "another size"),
])  # fmt: skip
def test_from_c_mistakes_are_named(
    arguments: tuple[str, ...], words: str, embed: Path, folder: Path
) -> None:
    (folder / "wide.pgm").write_bytes(b"P5 29 28 255\n" + bytes(29 * 28))
    done = call(embed, *(folder / name for name in arguments))
    assert done.returncode == 1 and words in done.stderr


# ---- the web server ------------------------------------------------------------------------


def command_of(server: str, port: int) -> list[str]:
    if server == "wsgiref":
        return [sys.executable, str(EXAMPLES / "web.py")]
    return [
        sys.executable, "-m", "gunicorn", "--chdir", str(EXAMPLES), "--preload", "--workers", "2",
        "--bind", f"127.0.0.1:{port}", "web",
    ]


SERVERS = ["wsgiref"] + ["gunicorn"] * (find_spec("gunicorn") is not None)


@pytest.fixture(params=SERVERS)
def address(request: pytest.FixtureRequest, folder: Path) -> Iterator[str]:
    """Start the server of the guide; the test has its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = environment(MODEL=str(folder / "digits.safetensors"), PORT=str(port))
    process = subprocess.Popen(
        command_of(request.param, port), cwd=PACKAGE, env=env, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.02)
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    _, errors = process.communicate(timeout=30)
    assert b"Traceback" not in errors, errors.decode()


def test_a_web_server(address: str, folder: Path, classes: list[int]) -> None:
    for i in (0, 1, 0, 1):
        body = (folder / f"{i}.png").read_bytes()
        with urllib.request.urlopen(address, body, timeout=30) as answer:
            found = json.load(answer)
        assert found["class"] == classes[i] and len(found["scores"]) == 10
    for body in (b"", b"no image"):
        with pytest.raises(urllib.error.HTTPError, match="400"):
            urllib.request.urlopen(address, body, timeout=30)


# ---- the guide -----------------------------------------------------------------------------


def test_the_guide_shows_the_examples_as_they_are() -> None:
    """Every block of code stands in an example, word for word, and every example is named."""
    text = GUIDE.read_text()
    examples = {path.name: path.read_text() for path in EXAMPLES.iterdir() if path.is_file()}
    blocks = re.findall(r"```(?:python|c)\n(.*?)```", text, re.DOTALL)
    assert len(blocks) >= 5
    for block in blocks:
        assert any(block.strip() in example for example in examples.values()), block
    assert all(f"examples/{name}" in text for name in examples)
