"""The benchmarks: `python -m benchmarks` in the root of the checkout; not installed.

One list of cases (cases.py) runs on every contestant (contestants/), interleaved (timing.py),
beside what the machine can do (probe.py); the measures are printed (table.py), appended to results/
(records.py), turned into the README's table and a plot (report.py) and held against goals
(verdict.py).
"""

from __future__ import annotations

import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# `python -m` puts the checkout first on the path. Where the engine was not built in place there,
# the installed package is meant, so the checkout goes last.
if not any(Path(ROOT, "cnnfast", f"_core{suffix}").exists() for suffix in EXTENSION_SUFFIXES):
    sys.path = [entry for entry in sys.path if entry not in ("", str(ROOT))] + [str(ROOT)]
