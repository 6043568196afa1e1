"""Measures as text: the table that a run prints, and the findings below it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import median

from .records import Measure

GOAL = 0.85
"""Share of the peak that the direct convolutions and products are to reach."""

LARGE = 100_000_000
"""Work, in floating point operations, from which on NumPy is to be left behind by `FACTOR`."""

FACTOR = 20.0


def _rate(one: Measure) -> str:
    if one.in_memory and one.gbytes:
        return f"{one.gbytes:8.1f} GB/s   "
    return f"{one.gflops:8.1f} GFLOP/s" if one.gflops else " " * 16


def row(one: Measure, width: int) -> str:
    """Return a measure as one line: best and median time, rate, share of the peak, ratio."""
    share = f"{one.share:6.1%}" if one.share is not None else " " * 6
    ratio = f"x {one.ratio:.2f}" if one.ratio is not None else ""
    times = f"{one.best_ms:10.3f} {one.median_ms:10.3f}"
    if one.memory_mb is not None:
        ratio += f"  first call {one.first_ms:.1f} ms, holds {one.memory_mb:.0f} MB"
        ratio += f" (peak {one.peak_mb:.0f})" if one.peak_mb else " (peak -)"
    if one.idle_ms is not None:
        ratio += f", idle {one.idle_ms:.1f} ms"
    return f"{one.case:<{width}}  {one.label:<23} {times}  {_rate(one)} {share}  {ratio}".rstrip()


def table(measures: Sequence[Measure]) -> str:
    """Return all measures, case by case, under a head."""
    width = max((len(one.case) for one in measures), default=4)
    times = f"{'best ms':>10} {'median ms':>10}"
    head = (
        f"{'case':<{width}}  {'contestant':<23} {times}  {'rate':>16} {'peak':>6}  time / cnnfast's"
    )
    blocks, last = [head, "-" * len(head)], None
    for one in measures:
        if last is not None and one.case != last:
            blocks.append("")
        blocks.append(row(one, width))
        last = one.case
    return "\n".join(blocks)


def _direct(measures: Iterable[Measure], isa: str) -> dict[str, dict[str, float]]:
    """The shares of the peak of cnnfast's direct algorithms: kind, case, share."""
    found: dict[str, dict[str, float]] = {}
    measures = list(measures)
    for name in ("cnnfast", "cnnfast-direct"):  # where the second was timed, it takes the place
        for one in measures:
            counts = one.suite in ("layers", "gemm") and (one.contestant, one.isa) == (name, isa)
            if counts and one.share is not None and "depthwise" not in one.case:
                found.setdefault(one.kind, {})[one.case] = one.share
    return found


def _goal(measures: Iterable[Measure], isa: str) -> list[str]:
    out = []
    for kind, shares in _direct(measures, isa).items():
        reached = sum(share >= GOAL for share in shares.values())
        least = min(shares, key=lambda case: shares[case])
        middle = median(shares.values())
        out.append(
            f"{kind}, cnnfast {isa}, direct: {reached} of {len(shares)} cases at {GOAL:.0%} of the "
            f"peak or more; median {middle:.0%}, least {shares[least]:.0%} ({least})"
        )
    return out


def _against(measures: Iterable[Measure], peer: str) -> list[str]:
    """How the peer's times compare with cnnfast's, suite by suite."""
    suites: dict[str, list[Measure]] = {}
    for one in measures:
        if one.contestant == peer and one.ratio is not None and one.kind != "start":
            suites.setdefault(one.suite, []).append(one)
    out = []
    for suite, ones in suites.items():
        ratios = [one.ratio for one in ones if one.ratio is not None]
        mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
        slower = sum(ratio > 1 for ratio in ratios)
        out.append(
            f"{suite}: {peer} takes {mean:.2f} times cnnfast's time (geometric mean of "
            f"{len(ratios)}), longer in {slower}"
        )
    return out


def _left_behind(measures: Iterable[Measure], peer: str) -> list[str]:
    ranked = sorted(
        (one.ratio, one.case) for one in measures
        if one.contestant == peer and one.flops > LARGE and one.ratio is not None
    )  # fmt: skip
    if not ranked:
        return []
    reached = sum(ratio >= FACTOR for ratio, _ in ranked)
    least, case = ranked[0]
    return [
        f"over 100 MFLOP: {peer} takes {FACTOR:.0f} times cnnfast's time or more in {reached} of "
        f"{len(ranked)} cases; least {least:.1f} times ({case})"
    ]


def findings(measures: Sequence[Measure]) -> str:
    """Return a few lines that sum the run up."""
    isas = dict.fromkeys(one.isa for one in measures if one.contestant == "cnnfast")
    peers = dict.fromkeys(one.contestant for one in measures if one.package != "cnnfast")
    out = [line for isa in isas for line in _goal(measures, isa)]
    for peer in peers:
        out += (_left_behind if peer.startswith("numpy") else _against)(measures, peer)
    return "\n".join(out)
