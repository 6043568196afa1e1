"""Timing several functions in turns, so that a change of the machine's pace hits all of them."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

SAMPLE = 1e-3
"""A function is repeated inside one sample until that lasts a millisecond: the clock and the loop
around it then cost nothing, and short layers are not timed with cold caches alone."""

LONG = 1.0
"""Seconds: what takes longer is called once. The first call also touches fresh memory, page by
page, and costs up to ten times a later one where it does little else."""

PAUSE = 0.005
"""Seconds between two looks at whether the contestant before still computes."""

PAUSES = 20
"""How often to look: ONNX Runtime's threads spin for 35 ms after their last call, OpenMP's less;
on a machine with as many threads as cores they would be in the way."""


def settle() -> None:
    """Wait until this process has paused."""
    for _ in range(PAUSES):
        used = time.process_time()
        time.sleep(PAUSE)
        if time.process_time() - used < PAUSE / 2:
            return


@dataclass
class Timed:
    """A function to be timed and what was measured.

    Attributes
    ----------
    run : callable
        What is timed.
    activate : callable
        Called before each turn.
    prepares : bool
        Whether the first call does work that later calls need not do, so that it does not count.
    samples : list of float
        Seconds a call.
    """

    run: Callable[[], Any]
    activate: Callable[[], None]
    prepares: bool = True
    samples: list[float] = field(default_factory=list)
    repeats: int = 1
    done: bool = False

    def sample(self) -> float:
        """Run `repeats` times and return the seconds a call."""
        start = time.perf_counter()
        for _ in range(self.repeats):
            self.run()
        return (time.perf_counter() - start) / self.repeats

    def begin(self, turn: float) -> None:
        """Make the first call; where it counts and lasts longer than a turn, one more at most."""
        self.activate()
        first = self.sample()
        self.done = first > turn and not self.prepares
        if self.done:
            self.samples.append(first)
            if first < LONG:
                self.samples.append(self.sample())
            return
        if first < SAMPLE:
            first = self.sample()  # the first call of all also touched the memory
        self.repeats = max(1, math.ceil(SAMPLE / max(first, 1e-7)))

    def take_turn(self, turn: float) -> None:
        """Warm up unless that would be half of the turn, then sample until its time is over."""
        self.activate()
        settle()
        end = time.perf_counter() + turn
        warm = self.sample()
        if warm * self.repeats > turn / 2:
            self.samples.append(warm)
        while not self.samples or time.perf_counter() < end:
            self.samples.append(self.sample())


def interleave(timed: Sequence[Timed], budget: float, rounds: int) -> None:
    """Give each function `rounds` turns, in rotation, in about `budget` seconds for all together.

    Each is called at least once after its first call, so a long function exceeds the budget.
    """
    turn = budget / max(1, len(timed) * (rounds + 1))
    collecting = gc.isenabled()
    gc.disable()
    try:
        for one in timed:
            one.begin(turn)
        for _ in range(rounds):
            for one in timed:
                if not one.done:
                    one.take_turn(turn)
            gc.collect(0)
    finally:
        if collecting:
            gc.enable()
