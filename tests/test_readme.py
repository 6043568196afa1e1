"""The README's programs run as they stand, one after the other, and the first two learn."""

import re
from pathlib import Path

import pytest

README = Path(__file__).resolve().parent.parent / "README.md"


def test_programs_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    train, use, deploy = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    exec(compile(train, "README: train", "exec"), {})
    exec(compile(use, "README: use", "exec"), {})
    accuracy = float(capsys.readouterr().out.split()[-1])
    assert accuracy > 0.9
    exec(compile(deploy, "README: deploy", "exec"), {})
    assert "ms a run" in capsys.readouterr().out
