"""`import cnnfast` stays quick: it adds less than 50 ms to `import numpy`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent))

from benchmarks.importing import added_seconds

BUDGET = 0.15
"""Seconds; three times the aim, because a machine that runs tests is busy. The figure itself is
reported by `python -m benchmarks import`."""


def test_import_adds_little_to_numpys() -> None:
    assert min(added_seconds("cnnfast", repeats=5)) < BUDGET
