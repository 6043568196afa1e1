"""The benchmark that compares what networks learn with each algorithm of convolution."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

# At the end: an installed cnnfast comes before the checkout's.
sys.path.append(str(Path(__file__).resolve().parent.parent))

from benchmarks import accuracy, records
from benchmarks.__main__ import main


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([1, 2, 3], [1, 2, 3], 1.0),
        ([1, 2, 3], [4, 5, 6], 2 / 20),  # the split as given, and its mirror image
        ([1, 2, 4], [3, 5, 6], 4 / 20),  # 1, 2 and 3 or 4 against the others, mirrored
        ([0.1, 0.1], [0.1, 0.1], 1.0),
        ([1, 2], [3, 4, 5], 2 / 10),  # 1, 2 or 4, 5 against the others
    ],
)
def test_probability_counts_the_splits(a: list[float], b: list[float], expected: float) -> None:
    assert accuracy.probability(a, b) == pytest.approx(expected)


def made(seed: int, epochs: int, data: Any, held_out: Any) -> dict[str, float]:
    """Results that say where they come from."""
    best = {"direct": 0.97, "winograd": 0.92}[os.environ["CNNFAST_CONV"]]
    return {"accuracy": best + 0.001 * seed, "loss": epochs + len(held_out[1])}


def test_run_compares_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNNFAST_CONV", "direct")
    found = accuracy.run(4, 3, made)
    assert os.environ["CNNFAST_CONV"] == "direct"
    assert found.loss == {"direct": [1003.0] * 4, "winograd": [1003.0] * 4}
    assert found.mean == pytest.approx({"direct": 0.9715, "winograd": 0.9215})
    assert found.deviation["direct"] == pytest.approx(0.001 * (5 / 3) ** 0.5)
    assert found.difference == pytest.approx(-0.05)
    assert found.standard_error == pytest.approx(0.001 * (5 / 3 / 2) ** 0.5)
    assert found.probability == pytest.approx(2 / 70) and not found.same
    assert found.loss_probability == 1.0
    assert "not the same" in accuracy.text(found)


def test_training_learns_the_same_at_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two steps on sixteen digits: long before rounding can grow."""
    data = tuple(part[:16] for part in accuracy.digits("train"))
    monkeypatch.setattr(accuracy, "BATCH", 8)
    results = []
    for algorithm in accuracy.ALGORITHMS:
        monkeypatch.setenv("CNNFAST_CONV", algorithm)
        results.append(accuracy.train(0, 1, data, data)["loss"])
    assert results[0] != results[1]  # another order of sums, so another algorithm did run
    assert results[0] == pytest.approx(results[1], rel=1e-3)


def test_command_records_what_it_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(accuracy, "train", made)
    path = tmp_path / "new" / "accuracy.jsonl"
    arguments = ["accuracy", "--seeds", "2", "--epochs", "1", "--output", str(path)]
    assert main([*arguments, "--json"]) == 0  # 2 of 6 splits: two seeds cannot tell
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    first, second = (json.loads(line) for line in path.read_text().splitlines())
    assert json.loads(printed.splitlines()[0]) == first
    assert first["suite"] == "accuracy" and first["cpu"] and first["accuracy"] == second["accuracy"]
    assert "the same within noise" in printed
    assert accuracy.default_path("A").parent != records.RESULTS  # where the report looks
    with pytest.raises(SystemExit, match="2"):
        main(["accuracy", "--seeds", "1"])
