"""Measures as records: what one holds, where they are kept, how they are read back.

One JSON object a line, appended and never rewritten, in `results/<machine>.jsonl`. All records of
one run share `run`, the time at which it began. `share` compares with the peak that was probed in
turns with the case's contestants, `ratio` with the fastest cnnfast on the same case: 2 means twice
its time.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from statistics import median
from typing import Any

from . import ROOT, allocator
from .cases import Case
from .contestants import Contestant
from .starting import Start

RESULTS = Path(__file__).with_name("results")


@dataclass
class Measure:
    """What one contestant did on one case."""

    suite: str
    case: str
    kind: str
    count: int
    contestant: str
    isa: str
    best_ms: float
    median_ms: float
    samples: int
    flops: int
    bytes: int
    gflops: float | None = None
    gbytes: float | None = None
    peak: float | None = None  # GFLOP/s, or GB/s for the suite `memory`
    share: float | None = None
    ratio: float | None = None
    first_ms: float | None = None  # of a start: the first call,
    idle_ms: float | None = None  # CPU time in five idle seconds,
    memory_mb: float | None = None  # what the network holds after some calls,
    peak_mb: float | None = None  # and held at most

    @property
    def label(self) -> str:
        """The contestant, with the instruction set where it can choose it."""
        engine = self.contestant.startswith("cnnfast")
        return f"{self.contestant} {self.isa}" if engine else self.contestant

    @property
    def package(self) -> str:
        """The contestant's package: cnnfast, torch or numpy."""
        return self.contestant.split("-")[0]

    @property
    def in_memory(self) -> bool:
        """Whether memory bounds the speed, not arithmetic."""
        return self.suite == "memory"


def measure(
    case: Case, contestant: Contestant, samples: list[float], peak: float | None = None
) -> Measure:
    """Return the measure of `samples`, seconds a call; `peak` in GFLOP/s, or GB/s for memory."""
    best, middle = min(samples), median(samples)
    made = Measure(
        case.suite,
        case.name,
        case.kind,
        case.count,
        contestant.name,
        contestant.isa,
        round(best * 1e3, 6),
        round(middle * 1e3, 6),
        len(samples),
        case.flops,
        case.bytes,
        round(case.flops / best / 1e9, 3) if case.flops else None,
        round(case.bytes / best / 1e9, 3) if case.bytes else None,
    )
    rate = made.gbytes if made.in_memory else made.gflops
    if peak and rate:
        made.peak, made.share = round(peak, 3), round(rate / peak, 4)
    return made


def measure_start(case: Case, contestant: Contestant, starts: list[Start]) -> Measure:
    """Return the measure of some starts: times are those to load, all else is the least."""
    found = measure(case, contestant, [start.load for start in starts])
    found.first_ms = round(min(start.first for start in starts) * 1e3, 6)
    idle = [start.idle for start in starts if start.idle is not None]
    held = [start.memory for start in starts if start.memory is not None]
    most = [start.peak for start in starts if start.peak is not None]
    found.idle_ms = round(min(idle) * 1e3, 3) if idle else None
    found.memory_mb = round(min(held) / 1e6, 3) if held else None
    found.peak_mb = round(min(most) / 1e6, 3) if most else None
    return found


def compare(measures: Iterable[Measure]) -> None:
    """Fill in each measure's ratio to the fastest cnnfast."""
    measures = list(measures)
    fastest: dict[str, float] = {}
    for one in measures:
        if one.contestant == "cnnfast":
            fastest[one.case] = min(one.best_ms, fastest.get(one.case, one.best_ms))
    for one in measures:
        if one.case in fastest:
            one.ratio = round(one.best_ms / fastest[one.case], 4)


def _commit() -> str | None:
    """The commit of the checkout, with a + where files have changed; None without git."""
    git = ["git", "-C", str(ROOT)]
    try:
        head = subprocess.run(
            [*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True
        )
        changed = subprocess.run(
            [*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "")


def circumstances(threads: int, packages: Iterable[str]) -> dict[str, Any]:
    """Return what every record of a run says: when, where, with which versions."""
    from importlib import import_module

    from cnnfast import _core

    info = _core.cpu_info()
    system = f"{platform.system()} {platform.machine()}"
    return {
        "run": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": f"{info['cpu']}, {os.cpu_count()} CPUs, {system}",
        "cpu": info["cpu"],
        "threads": threads,
        "openmp": info["openmp"],
        "allocator": os.environ.get(allocator.VARIABLE, ""),
        "compiler": info["compiler"],
        "commit": _commit(),
        "versions": {"python": platform.python_version()}
        | {
            name: import_module(name).__version__
            for name in sorted({"cnnfast", "numpy", *packages})
        },
    }


def default_path(machine: str) -> Path:
    """Return the file in `results/` for a machine."""
    return RESULTS / (re.sub(r"[^a-z0-9]+", "-", machine.lower()).strip("-") + ".jsonl")


def lines(measures: Iterable[Measure], common: Mapping[str, Any]) -> list[str]:
    """Return one JSON line a measure."""
    return [json.dumps({**common, **asdict(one)}) for one in measures]


def append(path: Path, new: Iterable[str]) -> None:
    """Add lines to a file of records; the folder is made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.writelines(line + "\n" for line in new)


def read(path: Path, run: str | None = None) -> tuple[dict[str, Any], list[Measure]]:
    """Return what the records of a run share, and its measures; the newest run unless named.

    Raises
    ------
    ValueError
        The file holds no such run, or a line of it is no record.
    """
    records = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            records.append(json.loads(line))
            records[-1]["run"], _measure_of(records[-1])
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{path}, line {number}: not a record ({error})") from None
    run = run or max((record["run"] for record in records), default=None)
    chosen = [record for record in records if record["run"] == run]
    if not chosen:
        raise ValueError(f"{path} holds no run {run!r}" if run else f"{path} is empty")
    names = Measure.__dataclass_fields__
    common = {key: value for key, value in chosen[0].items() if key not in names}
    return common, [_measure_of(record) for record in chosen]


def _measure_of(record: Mapping[str, Any]) -> Measure:
    """Return the measure in a record; what came to be recorded later may be missing."""
    names = Measure.__dataclass_fields__
    return Measure(**{key: value for key, value in record.items() if key in names})
