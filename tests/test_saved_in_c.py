"""Saved models from C: the results of Python on every instruction set, and damaged files."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine import COMPILER, ROOT, compile_all, link
from rounding import uniform

import cnnfast
from cnnfast import Tensor, _core, models
from cnnfast import functional as F
from cnnfast.graph import Graph, Node

PROGRAM = ROOT / "tests" / "c_saved" / "saved.c"
SEEDS = 2000
"""Damaged files a model."""

X = uniform(2, 4, 12, 14)
W = Tensor(uniform(6, 4, 3, 3))
V = Tensor(uniform(4, 3, 3, 2))
P = Tensor(uniform(5, 4, 1, 1))
SEQUENCE = uniform(2, 4, 30)

Function = Callable[..., Any]
FUNCTIONS: dict[str, tuple[Function, tuple[np.ndarray, ...]]] = {
    "convolutions": (lambda x: F.relu(F.conv2d(F.conv2d(x, W, padding=1), W[:, :2], groups=3)), (
        uniform(1, 4, 12, 14),)),
    "residual": (lambda x: F.relu(F.conv2d(x, W[:4], padding=1) + x), (X,)),
    "one weight twice": (lambda x: F.conv2d(F.conv2d(x, W[:4]), W[:4]), (X,)),
    "scaled": (lambda x: F.conv2d(x * F.sigmoid(x.mean(dim=(2, 3), keepdim=True)), P),
               (X,)),
    "depthwise": (lambda x: F.conv2d(x, W[:4, :1], stride=2, padding=1, groups=4), (X,)),
    "separable": (lambda x: F.conv2d(F.relu(F.conv2d(F.relu(F.conv2d(
        x, W[:4, :, :1, :1])), W[:4, :1], padding=1, groups=4)), P) + 1, (X,)),
    "transposed": (lambda x: F.conv_transpose2d(x, V, Tensor(np.ones(3)), 2, 1), (X,)),
    "one axis": (lambda x: F.conv1d(x, W[:, :, 0], padding=1), (SEQUENCE,)),
    "pooling": (lambda x: F.max_pool2d(F.avg_pool2d(x, 3, 2, 1), 2), (X,)),
    "resizing": (lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"), (X,)),
    "concatenation": (lambda x: F.cat([F.conv2d(x, W, padding=1), F.relu(x)], 1), (X,)),
    "slices": (lambda x: F.flip(x, (3,))[:, :, ::2] * x[:, 1:2, 1::2], (X,)),
    "functions": (lambda a, b: F.exp(a) / b - F.clamp(a, -0.1, 0.2), (
        uniform(3, 4), uniform(4) + 3)),
    "reductions": (lambda x: (x.mean(dim=(2, 3)), x.sum(), x.argmax(dim=1)), (X,)),
    "softmax": (lambda x: (F.softmax(x.flatten(1), 1), F.log_softmax(x.flatten(1), 1)), (X,)),
    "product": (lambda x: F.matmul(x, x.transpose(2, 3)), (X,)),
    "norms": (lambda x: F.layer_norm(F.instance_norm(F.group_norm(x, 2)), (14,)), (X,)),
    "batch norm": (lambda x: F.batch_norm(x, Tensor(np.zeros(4)), Tensor(np.ones(4))), (X,)),
    "rows": (lambda x: x[[1, 0, 1]], (X,)),
    "local norm": (lambda x: F.local_response_norm(x, 3), (X,)),
    "constant": (lambda x: F.cat([x, Tensor(uniform(1, 3))], 0), (uniform(2, 3),)),
}  # fmt: skip


RAW = np.arange(2 * 12 * 14 * 4, dtype=np.uint8).reshape(2, 12, 14, 4)
FUNCTIONS["raw images"] = (lambda x: F.conv2d(x, W), (RAW,))


def saved(name: str, folder: Path) -> tuple[cnnfast.CompiledModel, Path]:
    function, arrays = FUNCTIONS[name]
    if arrays[0] is RAW:
        compiled = cnnfast.compile(function, X, normalize=(0.5, 0.25))
    else:
        compiled = cnnfast.compile(function, arrays)
    path = folder / f"{name.replace(' ', '_')}.safetensors"
    compiled.save(path, example=arrays)
    return compiled, path


@pytest.fixture(scope="module")
def program(engine: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    return link([*engine, *compile_all([PROGRAM], folder)], folder / "saved")


def run(program: Path, isa: str, model: Path, arrays: tuple[np.ndarray, ...]) -> bytes:
    """All results that C computes, one behind the other."""
    inputs, results = model.with_suffix(".inputs"), model.with_suffix(".results")
    inputs.write_bytes(b"".join(array.tobytes() for array in arrays))
    done = subprocess.run(
        [program, "run", model, inputs, results], env=os.environ | {"CNNFAST_ISA": isa},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return results.read_bytes()


def check(program: Path, isa: str, compiled: cnnfast.CompiledModel, path: Path,
          arrays: tuple[np.ndarray, ...]) -> None:  # fmt: skip
    """C's results are Python's, but for the roundings of another build."""
    found = run(program, isa, path, arrays)
    for wanted in compiled.run(dict(zip(compiled.input_names, arrays, strict=True))):
        result = np.frombuffer(found[: wanted.nbytes], wanted.dtype).reshape(wanted.shape)
        np.testing.assert_allclose(result, wanted, 1e-5, 1e-6 * abs(wanted).max())
        found = found[wanted.nbytes :]
    assert not found


@pytest.mark.parametrize("name", FUNCTIONS)
def test_c_gives_the_results_of_python(name: str, program: Path, isa: str, tmp_path: Path) -> None:
    compiled, path = saved(name, tmp_path)
    check(program, isa, compiled, path, FUNCTIONS[name][1])


@pytest.mark.parametrize(
    ("name", "shape"), [("lenet5", (2, 1, 28, 28)), ("resnet18_cifar", (1, 3, 32, 32))])
def test_a_file_is_for_every_instruction_set(
    name: str, shape: tuple[int, ...], program: Path, tmp_path: Path
) -> None:
    x = uniform(*shape)
    compiled = cnnfast.compile(models.build(name).eval(), x)
    path = tmp_path / "model.safetensors"
    compiled.save(path, example=x)
    best = _core.isa()
    for isa in _core.cpu_info()["isas"]:
        _core.set_isa(isa)
        check(program, isa, compiled, path, (x,))
    _core.set_isa(best)
    assert cnnfast.load(path)(x).tobytes() == compiled(x).tobytes()


def test_a_file_without_a_plan_says_how_to_get_one(program: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    cnnfast.compile(lambda x: F.relu(x), X).save(path)
    for name, words in (("model.safetensors", "example="), ("none", "No such file")):
        done = subprocess.run([program, "run", tmp_path / name, "-", "-"], capture_output=True,
                              text=True, check=False)  # fmt: skip
        assert done.returncode == 1 and words in done.stderr


def test_names_are_the_models(program: Path, tmp_path: Path) -> None:
    """Whatever JSON makes of them."""
    nodes = [Node("Relu", ['a "quoted" one'], ["b"]), Node("Add", ["b", "é\\w"], ["c"]),
             Node("Mul", ["c", "ü"], ["result"])]  # fmt: skip
    x, constants = uniform(2, 3), {"é\\w": uniform(2, 3, seed=1), "ü": uniform(2, 3, seed=2)}
    graph = Graph(nodes, {'a "quoted" one': ("float32", (2, 3))}, ["result"], constants)
    compiled, path = cnnfast.CompiledModel(graph), tmp_path / "model.safetensors"
    compiled.save(path, example=x)
    check(program, _core.isa(), compiled, path, (x,))


def test_what_cannot_be_planned_is_named(tmp_path: Path) -> None:
    graph = Graph([Node("NonZero", ["x"], ["y"])], {"x": ("float32", (4,))}, ["y"])
    compiled = cnnfast.CompiledModel(graph)
    with pytest.raises(ValueError, match=r"look at values .*NonZero"):
        compiled.save(tmp_path / "model.safetensors", example=uniform(4))
    with pytest.raises(ValueError, match="shape"):
        compiled.save(tmp_path / "model.safetensors", example=uniform(4, 4))
    with pytest.raises(ValueError, match="expected a safetensors file"):
        _core.check_saved(b"no model" * 9)
    assert not list(tmp_path.iterdir())


# ---- damage --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sanitized(engine: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program with sanitizers in all but the kernels of other instruction sets."""
    folder = tmp_path_factory.mktemp("sanitized")
    flags = ["-O0", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
    empty = folder / "empty.c"
    empty.write_text("int main(void) { return 0; }\n")
    probe = subprocess.run([*COMPILER, *flags, empty, "-o", folder / "empty"], check=False)
    if probe.returncode != 0 or subprocess.run([folder / "empty"], check=False).returncode != 0:
        flags = ["-O0"]  # what is read beyond its block may then stay unnoticed
    kernels = [path for path in engine if path.name.startswith(("isa_avx", "isa_neon"))]
    sources = [path for path in ROOT.glob("csrc/*/*.c") if f"{path.parent.name}_{path.stem}.o"
               not in {kernel.name for kernel in kernels}]  # fmt: skip
    objects = compile_all([*sources, PROGRAM], folder, flags)
    return link([*objects, *kernels], folder / "saved", flags)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_damaged_files_end_in_an_error(name: str, sanitized: Path, tmp_path: Path) -> None:
    """Each beginning of a file is refused; a change leads to a refusal or to other numbers."""
    _, path = saved(name, tmp_path)
    environment = os.environ | {
        "CNNFAST_ISA": "generic", "CNNFAST_NUM_THREADS": "2",
        "ASAN_OPTIONS": "allocator_may_return_null=1:max_allocation_size_mb=256",
    }  # fmt: skip
    first = 1_000_000 * [*FUNCTIONS].index(name)
    done = subprocess.run(
        [sanitized, "damage", path, str(first), str(first + SEEDS)], env=environment,
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    opened, _ = map(int, done.stdout.split())
    assert 0 < opened < SEEDS
