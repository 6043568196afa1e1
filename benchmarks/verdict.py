"""How the convolutions of a run stand against their goals: `python -m benchmarks.report --verdict`.

A ratio is a peer's best time over that of cnnfast on its best instruction set, so 2 means twice as
fast; where several peers are named, the fastest of them counts. The direct kernels are compared
with the peak that the same run probed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .cases import Case, all_cases
from .layers import Convolution
from .records import Measure

FORWARD, INPUT, WEIGHT = "conv2d_forward", "conv2d_backward_input", "conv2d_backward_weight"
INFERENCE = ("torch", "onnxruntime", "openvino")
ALL = (*INFERENCE, "ncnn")
SHARES = {"avx512": 0.92, "avx2": 0.85}
"""Of the peak: what the direct kernels are to reach on large layers."""

LARGE = 10**9
"""Work, in floating point operations, of a large layer: 2 ms on a machine of 500 GFLOP/s."""

Times = Mapping[str, Mapping[str, float]]
"""Case, contestant, best milliseconds."""


def _is_dense(layer: Convolution) -> bool:
    """3x3 without a stride on 64 channels and 14 pixels or more."""
    channels = min(layer.channels, layer.out_channels)
    return layer.winograd and channels >= 64 and layer.size >= 14


def _is_other(layer: Convolution) -> bool:
    return not _is_dense(layer)


def _is_depthwise(layer: Convolution) -> bool:
    return layer.depthwise


@dataclass(frozen=True)
class Goal:
    """What a group of layers is to reach in one direction against some peers: ratios."""

    group: str
    member: Callable[[Convolution], bool]
    kind: str
    peers: Sequence[str]
    mean: float | None
    least: float | None


DENSE, OTHER, DEPTHWISE = "3x3/1, 64 channels, 14x14 or more", "all other layers", "depthwise"

GOALS = (
    Goal(DENSE, _is_dense, FORWARD, INFERENCE, 2.0, 1.4),
    Goal(DENSE, _is_dense, FORWARD, ("ncnn",), None, 1.0),
    Goal(DENSE, _is_dense, INPUT, ("torch",), 2.0, 1.4),
    Goal(DENSE, _is_dense, WEIGHT, ("torch",), 1.6, None),
    Goal(OTHER, _is_other, FORWARD, ALL, 1.15, 0.97),
    Goal(OTHER, _is_other, INPUT, ("torch",), 1.15, 0.97),
    Goal(OTHER, _is_other, WEIGHT, ("torch",), 1.15, 0.97),
    *(Goal(DEPTHWISE, _is_depthwise, kind, ("torch",), 1.5, None)
      for kind in (FORWARD, INPUT, WEIGHT)),
)  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    """How a group stands; `below` holds the cases that miss the goal, worst first."""

    group: str
    kind: str
    against: str
    cases: int
    mean: float
    mean_goal: float | None
    least: float
    least_goal: float | None
    met: bool
    below: list[tuple[str, float]]


def _verdict(
    names: tuple[str, str, str], found: Mapping[str, float], mean: float | None, least: float | None
) -> Verdict:
    """Judge figures by their geometric mean and their least; `below` holds what misses either."""
    middle = math.exp(sum(map(math.log, found.values())) / len(found))
    worst = min(found.values())
    bound = least if least is not None else mean
    below = [(case, figure) for case, figure in found.items() if bound and figure < bound]
    below.sort(key=lambda pair: pair[1])
    met = middle >= (mean or 0) and worst >= (least or 0)
    return Verdict(*names, len(found), middle, mean, worst, least, met, below)


def _ratios(goal: Goal, cases: Mapping[str, Case], times: Times) -> dict[str, float]:
    """The ratio of each case of the goal that cnnfast and all the peers have run."""
    out = {}
    for name, by in times.items():
        case = cases[name]
        peers = [by[peer] for peer in goal.peers if peer in by]
        if case.kind == goal.kind and goal.member(case.arguments[0]) and peers and "cnnfast" in by:
            out[name] = min(peers) / by["cnnfast"]
    return out


def _shares(measures: Sequence[Measure], cases: Mapping[str, Case], isa: str) -> dict[str, float]:
    """The direct kernels' shares of the peak on large layers that are not depthwise."""
    out: dict[str, float] = {}
    for name in ("cnnfast", "cnnfast-direct"):  # where the second was timed, it takes the place
        for one in measures:
            large = one.flops >= LARGE and not cases[one.case].arguments[0].depthwise
            if large and (one.contestant, one.isa) == (name, isa) and one.share is not None:
                out[one.case] = one.share
    return out


def judge(measures: Sequence[Measure]) -> list[Verdict]:
    """Return how the convolutions of a run stand, one verdict a goal that the run says anything of.

    Raises
    ------
    ValueError
        The run holds no convolutions.
    """
    cases = {case.name: case for case in all_cases() if case.suite == "layers"}
    measures = [one for one in measures if one.case in cases]
    if not measures:
        raise ValueError("the run holds no layers: run `python -m benchmarks layers` first")
    times: dict[str, dict[str, float]] = {}
    for one in measures:
        by = times.setdefault(one.case, {})
        by[one.contestant] = min(one.best_ms, by.get(one.contestant, math.inf))
    out = []
    for goal in GOALS:
        if ratios := _ratios(goal, cases, times):
            names = (goal.group, goal.kind, " ".join(goal.peers))
            out.append(_verdict(names, ratios, goal.mean, goal.least))
    for isa, share in SHARES.items():
        for kind in (FORWARD, INPUT, WEIGHT):
            found = _shares([one for one in measures if one.kind == kind], cases, isa)
            if found:
                names = ("direct, large layers", kind, f"peak of {isa}")
                out.append(_verdict(names, found, None, share))
    return out


def _against_goal(figure: float, goal: float | None) -> str:
    return f"{figure:.2f}" + (f" (goal {goal:.2f})" if goal else "")


def as_text(verdicts: Sequence[Verdict]) -> str:
    """Return a table in Markdown, and below it for each goal the cases that miss it."""
    out = ["| layers | direction | against | cases | geometric mean | least | below | met |"]
    out.append("|---|---|---|---:|---:|---:|---:|---|")
    for one in verdicts:
        mean, least = (
            _against_goal(one.mean, one.mean_goal),
            _against_goal(one.least, one.least_goal),
        )
        names = f"{one.group} | {one.kind.removeprefix('conv2d_')} | {one.against}"
        met = "yes" if one.met else "no"
        out.append(f"| {names} | {one.cases} | {mean} | {least} | {len(one.below)} | {met} |")
    for one in verdicts:
        if one.below:
            out += ["", f"Below, {one.group}, {one.kind}, against {one.against}:"]
            out += [f"  {figure:5.2f}  {case}" for case, figure in one.below]
    return "\n".join(out)


def as_records(verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    """Return the verdicts as JSON's types."""
    return [asdict(one) for one in verdicts]
