"""Where a compiled model's time goes: a row an operator, and a trace for the browser."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .. import _core
from ..checkpoint import PathLike, write_atomic

__all__ = ["Profile", "Row"]

PEAK_SIZE = 768
"""Rows of the square product that stands for the peak: 7 MB, in the L2 and L3 caches."""


@dataclass
class Row:
    """One operator of the graph.

    Attributes
    ----------
    name, operator : str
        As in the graph.
    ms : float
        Median of the runs.
    gflop : float
        Billions of multiplications and additions that the definition asks for, in convolutions and
        products; Winograd's algorithm needs fewer.
    gflop_s : float
        Of these, in a second.
    share : float
        Of the rate that the engine's own product of two 768x768 matrices reaches here.
    algorithm : str
        Of a convolution; empty for others.
    """

    name: str
    operator: str
    ms: float
    gflop: float
    gflop_s: float
    share: float
    algorithm: str


@dataclass
class Profile:
    """What `CompiledModel.profile` measured.

    Attributes
    ----------
    rows : list of Row
        In the order in which the operators run.
    ms : float
        Median of a whole run.
    peak_gflop_s : float
        What `Row.share` is a share of.
    calls : list of (str, float, float)
        Of the last run: name of the primitive and operator, start and length in seconds.
    """

    rows: list[Row]
    ms: float
    peak_gflop_s: float
    calls: list[tuple[str, float, float]]

    def to_dict(self) -> dict[str, Any]:
        """Return rows and totals as plain JSON values."""
        return {
            "ms": self.ms, "peak_gflop_s": self.peak_gflop_s, "rows": [asdict(r) for r in self.rows]
        }

    def chrome_trace(self, path: PathLike) -> None:
        """Write the last run for chrome://tracing or https://ui.perfetto.dev."""
        events = [
            {"name": name, "ph": "X", "pid": os.getpid(), "tid": 0, "ts": 1e6 * start,
             "dur": 1e6 * length}
            for name, start, length in self.calls
        ]
        write_atomic(path, json.dumps({"traceEvents": events}).encode())

    def __str__(self) -> str:
        width = max([len(row.name) for row in self.rows] + [5])
        lines = [f"{'layer':<{width}}  {'operator':<18}  {'ms':>8}  {'GFLOP/s':>8}  {'peak':>5}"]
        for row in self.rows:
            rate = f"{row.gflop_s:8.1f}  {row.share:5.0%}" if row.gflop else f"{'':8}  {'':5}"
            lines.append(
                f"{row.name:<{width}}  {row.operator:<18}  {row.ms:8.3f}  {rate}  {row.algorithm}"
            )
        total = f"{self.ms:.3f} ms a run; peak: {self.peak_gflop_s:.0f} GFLOP/s"
        return "\n".join([*(line.rstrip() for line in lines), total])


def measure_peak(threads: int) -> float:
    """Return the GFLOP/s of the engine's product of two square matrices, best of seven."""
    from .plan import make_plan

    shape = ((PEAK_SIZE, PEAK_SIZE), "float32")
    plan = make_plan(lambda a, b: [a @ b], (shape, shape), _core.Workspace(), threads)
    arrays = (np.ones(shape[0], np.float32), np.ones(shape[0], np.float32))
    seconds = min(float(np.ptp(plan.profile(arrays)[1])) for _ in range(7))
    return 2e-9 * PEAK_SIZE**3 / seconds


def measure_calls(
    plans: list[_core.Plan], arrays: tuple[np.ndarray, ...], threads: int
) -> np.ndarray:
    """Return the seconds that each call of plans takes, each on the results of the one before.

    Where threads compute parts of a batch, one part is measured, and its times count as often as a
    thread has one.
    """
    lengths, given = [], arrays
    for plan in plans:
        results, times = plan.profile(given)
        assert results is not None
        given = tuple(results)
        lengths.append(plan.parts / min(plan.parts, threads) * np.diff(times))
    return np.concatenate(lengths)


def make_profile(
    plans: list[_core.Plan], labels: list[tuple[str, str]], arrays: tuple[np.ndarray, ...],
    repeats: int, threads: int,
) -> Profile:
    """Return the profile of `plans`, whose calls belong to operators named (name, operator)."""
    threads = threads or _core.get_num_threads()
    runs = [measure_calls(plans, arrays, threads) for _ in range(repeats + 1)][1:]
    peak = measure_peak(threads)
    rows: dict[tuple[str, str], Row] = {}
    work = [(plan.parts * flops, way) for plan in plans for flops, way in plan.work()]
    medians = np.median(runs, axis=0)
    for label, seconds, (flops, algorithm) in zip(labels, medians, work, strict=True):
        row = rows.setdefault(label, Row(*label, 0.0, 0.0, 0.0, 0.0, ""))
        row.ms += 1e3 * float(seconds)
        row.gflop += 1e-9 * flops
        row.algorithm = row.algorithm or algorithm
    for row in rows.values():
        row.gflop_s = 1e3 * row.gflop / row.ms if row.ms else 0.0
        row.share = row.gflop_s / peak
    starts = np.cumsum(runs[-1]) - runs[-1]
    calls = [
        (f"{name} ({operator})", float(start), float(length))
        for (name, operator), start, length in zip(labels, starts, runs[-1], strict=True)
    ]
    whole = float(np.median([run.sum() for run in runs]))
    return Profile(list(rows.values()), 1e3 * whole, peak, calls)
