"""How a run stands against its goals: `python -m benchmarks.report --verdict`.

A ratio is a peer's best time over that of cnnfast on its best instruction set, so 2 means twice as
fast; where several peers are named, the fastest of them counts. The direct kernels are compared
with the peak that was probed beside each case. A network's start is compared with ONNX Runtime's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from .cases import STARTED, Case, all_cases
from .records import Measure

FORWARD, INPUT, WEIGHT = "conv2d_forward", "conv2d_backward_input", "conv2d_backward_weight"
NETWORK = "network"
INFERENCE = ("torch", "onnxruntime", "openvino")
ALL = (*INFERENCE, "ncnn")
SHARES = {"avx512": 0.92, "avx2": 0.85}
"""Of the peak: what the direct kernels are to reach on large layers."""

NETWORKS = {
    ("lenet5", 1): 2.5, ("lenet5", 16): 2.5, ("resnet18", 1): 1.6, ("resnet18", 16): 1.8,
    ("vgg16", 1): 1.25, ("vgg16", 4): 2.0, ("resnet50", 1): 1.25, ("resnet50", 16): 1.25,
    ("mobilenet_v2", 1): 1.3, ("mobilenet_v2", 16): 1.3,
}  # fmt: skip
"""The least ratio of a network at a batch."""

LARGE = 10**9
"""Work, in floating point operations, of a large layer: 2 ms on a machine of 500 GFLOP/s."""

IDLE = 20.0
"""Milliseconds of CPU time that five idle seconds after a call may cost at most."""

Times = Mapping[str, Mapping[str, float]]
"""Case, contestant, best milliseconds."""


def _is_dense(case: Case) -> bool:
    """3x3 without a stride on 64 channels and 14 pixels or more."""
    layer = case.arguments[0]
    channels = min(layer.channels, layer.out_channels)
    return layer.winograd and channels >= 64 and layer.size >= 14


def _is_other(case: Case) -> bool:
    return not _is_dense(case)


def _is_depthwise(case: Case) -> bool:
    depthwise: bool = case.arguments[0].depthwise
    return depthwise


def _is_network(case: Case) -> bool:
    return True


def _is_small(case: Case) -> bool:
    """Whether the case is a network that has no goal of its own."""
    return case.arguments[0] not in {name for name, _ in NETWORKS}


def _has(arguments: tuple[Any, ...], case: Case) -> bool:
    return case.arguments == arguments


@dataclass(frozen=True)
class Goal:
    """What a group of cases of one kind is to reach against some peers: ratios."""

    group: str
    member: Callable[[Case], bool]
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
    *(Goal(f"{name} batch {batch}", partial(_has, (name, batch)), NETWORK, ALL, None, least)
      for (name, batch), least in NETWORKS.items()),
    Goal("the other networks", _is_small, NETWORK, ALL, None, 1.15),
    Goal("all networks", _is_network, NETWORK, ALL, 1.4, 1.1),
)  # fmt: skip

STARTS = (
    ("load", ("best_ms",), 4.0),
    ("load and first call", ("best_ms", "first_ms"), None),  # where the load only seems short
    ("memory", ("memory_mb",), 1.0),
)
"""Of the start of ResNet-50: what is compared, fields of a measure to add, the least ratio."""


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
        if case.kind == goal.kind and goal.member(case) and peers and "cnnfast" in by:
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
    """Return how layers and networks of a run stand, one verdict a goal that it says anything of.

    Raises
    ------
    ValueError
        The run holds neither layers nor networks.
    """
    cases = {case.name: case for case in all_cases() if case.suite in ("layers", "infer")}
    measures = [one for one in measures if one.case in cases]
    if not measures:
        raise ValueError("the run holds no layers: run `python -m benchmarks layers infer` first")
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
    return out + _starts(measures)


def _starts(measures: Sequence[Measure]) -> list[Verdict]:
    """The start of ResNet-50 against ONNX Runtime's, and what it costs while idle."""
    case = f"{STARTED[-1]} start"
    ours, peer = (
        next((one for one in measures if (one.case, one.contestant) == (case, name)), None)
        for name in ("cnnfast", "onnxruntime")
    )
    out = []
    for what, fields, least in STARTS:
        if ours and peer and all(getattr(one, fields[-1]) for one in (ours, peer)):
            ratio = sum(getattr(peer, f) for f in fields) / sum(getattr(ours, f) for f in fields)
            out.append(_verdict((case, what, "onnxruntime"), {case: ratio}, None, least))
    if ours and ours.idle_ms is not None:
        found = {case: IDLE / max(ours.idle_ms, 1e-3)}
        out.append(_verdict((case, "idle", f"{IDLE:.0f} ms"), found, None, 1.0))
    return out


def ratios_of_networks(measures: Sequence[Measure]) -> str:
    """Return a table in Markdown: for each network the best times and the best peer's ratio."""
    cases = {case.name: case for case in all_cases() if case.kind == NETWORK}
    times: dict[str, dict[str, float]] = {}
    for one in measures:
        if one.case in cases:
            by = times.setdefault(one.case, {})
            by[one.contestant] = min(one.best_ms, by.get(one.contestant, math.inf))
    if not times:
        return ""
    names = ["cnnfast", *ALL]
    out = [f"| network, ms | {' | '.join(names)} | ratio |", "|---|" + "---:|" * (len(names) + 1)]
    for case, by in times.items():
        cells = [f"{by[name]:.3g}" if name in by else "" for name in names]
        peers = [by[name] for name in ALL if name in by]
        ratio = f"{min(peers) / by['cnnfast']:.2f}" if peers and "cnnfast" in by else ""
        out.append(f"| {case} | {' | '.join(cells)} | {ratio} |")
    return "\n".join(out)


def _against_goal(figure: float, goal: float | None) -> str:
    return f"{figure:.2f}" + (f" (goal {goal:.2f})" if goal else "")


def as_text(verdicts: Sequence[Verdict]) -> str:
    """Return a table in Markdown, and below it for each goal the cases that miss it."""
    out = ["| cases | kind | against | cases | geometric mean | least | below | met |"]
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
