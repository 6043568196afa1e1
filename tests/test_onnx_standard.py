"""The standard's own test suite, from the `onnx` package, on `cnnfast.onnx.backend`.

A case passes, or is refused with an error that names what is not supported; a wrong number or any
other error is a failure. `docs/onnx-support.md` lists the outcome by operator.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
from onnx.backend.test.runner import Runner

from cnnfast.errors import UnsupportedOperatorError
from cnnfast.onnx.backend import Backend


def _cases() -> dict[str, Any]:
    """Every case for the CPU by name; making them warns about what NumPy overflows on purpose."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        categories = Runner(Backend)._test_items
    return {
        name: item.func
        for items in categories.values()
        for name, item in items.items()
        if name.endswith("_cpu")
    }


CASES = _cases()


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the runner write the data of its real models where the test cleans up."""
    monkeypatch.setenv("ONNX_MODELS", str(tmp_path))


@pytest.mark.usefixtures("models")
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", sorted(CASES))
def test_standard(name: str) -> None:
    try:
        CASES[name](None)
    except UnsupportedOperatorError as refusal:
        assert "ai.onnx." in str(refusal)
