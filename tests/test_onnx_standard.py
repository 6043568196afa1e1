"""The standard's own test suite, from the `onnx` package, on `cnnfast.onnx.backend`.

A case passes, or is refused with an error that names what is not supported; a wrong number or any
other error is a failure. `docs/onnx-support.md` lists the outcome by operator.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from onnx_cases import DOCUMENT, runners, supported

from cnnfast.errors import UnsupportedOperatorError
from cnnfast.onnx.operators import OPERATORS

RUNNERS = runners()


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the runner write the data of its real models where the test cleans up."""
    monkeypatch.setenv("ONNX_MODELS", str(tmp_path))


@pytest.mark.usefixtures("models")
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", sorted(RUNNERS))
def test_passes_or_names_what_is_missing(name: str) -> None:
    try:
        RUNNERS[name](None)
    except UnsupportedOperatorError as refusal:
        missing = re.findall(r"ai\.onnx[\w.]*\.(\w+)", str(refusal))
        assert missing and not {("", operator) for operator in missing} & OPERATORS.keys()


def test_the_document_lists_every_operator() -> None:
    listed = re.findall(r"^\| (\S+) \| yes", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(listed) == supported()
