"""What it takes to start a network: a fresh process loads it from its file, calls it, and waits.

`python -m benchmarks.starting CONTESTANT ISA NETWORK THREADS IDLE` does it once and prints JSON.
What the packages take to be imported does not count, and the image is there before; the system has
the file in memory. The allocator is as it comes: this is about processes of people who set none.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from . import ROOT, allocator, exported

REPEATS = 3
CALLS = 3
"""Calls until the memory is read: plans, packed weights and threads are there after the first."""

IDLE = 5.0
"""Seconds."""


@dataclass(frozen=True)
class Start:
    """One start: seconds to load, of the first call, and of CPU time while idle (None: not asked);
    bytes that the loaded network holds, and held at most; None where the system does not say.
    """

    load: float
    first: float
    idle: float | None
    memory: int | None
    peak: int | None


def measure(
    contestant: str, isa: str, network: str, threads: int, idle: bool
) -> Start:
    """Return what a start in a process of its own takes."""
    environment = {key: value for key, value in os.environ.items() if key != allocator.VARIABLE}
    words = [contestant, isa, network, str(threads), str(int(idle))]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.starting", *words],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{contestant} did not start {network}: {done.stderr.strip()[-500:]}")
    return Start(**json.loads(done.stdout.splitlines()[-1]))


def _memory(*entries: str) -> list[int | None]:
    """Return entries of Linux's account of this process, in bytes."""
    path = Path("/proc/self/status")
    rows = path.read_text(encoding="ascii").splitlines() if path.exists() else []
    found = dict(row.split(":", 1) for row in rows)
    return [int(found[name].split()[0]) * 1024 if name in found else None for name in entries]


def _less(after: int | None, before: int | None) -> int | None:
    return None if after is None or before is None else after - before


def _start(contestant: str, isa: str, network: str, threads: int, idle: bool) -> Start:
    from .contestants import NAMES, Loader, line_up

    (one,), _ = line_up([isa], [name for name in NAMES if name != contestant])
    assert isinstance(one, Loader)
    one.activate(threads)
    image, file = exported.image(network, 1), one.network_file(network)
    (before,) = _memory("VmRSS")
    if before is not None:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forget the peak
    times = [time.perf_counter()]
    run = one.load(file, image)
    times.append(time.perf_counter())
    run()
    times.append(time.perf_counter())
    for _ in range(CALLS - 1):
        run()
    memory, peak = _memory("VmRSS", "VmHWM")
    used = time.process_time()
    if idle:
        time.sleep(IDLE)
    waiting = time.process_time() - used if idle else None
    return Start(
        times[1] - times[0], times[2] - times[1], waiting, _less(memory, before),
        _less(peak, before),
    )  # fmt: skip


def main(words: Sequence[str]) -> None:
    """Start once and print what it took."""
    contestant, isa, network, threads, idle = words
    start = _start(contestant, isa, network, int(threads), bool(int(idle)))
    print(json.dumps(start.__dict__))


if __name__ == "__main__":
    main(sys.argv[1:])
