"""`python -m benchmarks accuracy`: does Winograd's rounding change what a network learns?

ResNet-18 in its CIFAR form is trained on the embedded digits, with every convolution by the direct
algorithm and with every one that can by Winograd's, from the same seeds; the two sets of held-out
accuracies are compared. It measures no speed.

The network is whole (11 million parameters, images of 28x28, batches of 64), the training short:
two passes over the 4,000 digits instead of the hundred or more that such a network is usually
given. Seeds differ by more than they would after a long training, so a small difference between the
algorithms could hide; the standard error beside it says how small.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
from tqdm import tqdm

import cnnfast
from cnnfast import Trainer, _core, models, optim
from cnnfast.data import mnist5k

from . import records
from .contestants.engine import ALGORITHM, restored

ALGORITHMS = ("direct", "winograd")
BATCH, PEAK_RATE, WARM_UP = 64, 0.05, 0.3
SIGNIFICANT = 0.05
"""The share of relabellings below which the algorithms are said to differ."""

Digits = tuple[np.ndarray, np.ndarray]
Result = dict[str, float]


@dataclass
class Comparison:
    """The held-out results of both algorithms, a seed each, and how they compare.

    Mean, deviation, difference and its standard error are the accuracy's, on which `same` stands;
    the loss says the same on a finer scale.
    """

    seeds: int
    epochs: int
    accuracy: dict[str, list[float]]
    loss: dict[str, list[float]]
    mean: dict[str, float]
    deviation: dict[str, float]
    difference: float
    standard_error: float
    probability: float
    loss_probability: float
    same: bool


def digits(split: str) -> Digits:
    """Return the embedded digits as float32 (N, 1, 28, 28) in 0..1 and their classes."""
    images, labels = mnist5k(split)[:]
    return images.astype(np.float32) / 255, labels


def train(seed: int, epochs: int, data: Digits, held_out: Digits) -> Result:
    """Train from `seed` with the algorithm that is set; return held-out loss and accuracy."""
    cnnfast.manual_seed(seed)
    model = models.resnet18_cifar(in_channels=1)
    update = optim.SGD(
        model.parameters(), lr=PEAK_RATE, momentum=0.9, weight_decay=5e-4, nesterov=True
    )
    steps = epochs * math.ceil(len(data[1]) / BATCH)
    schedule = optim.lr_scheduler.OneCycleLR(update, PEAK_RATE, steps, pct_start=WARM_UP)
    trainer = Trainer(model, None, update, schedule, seed=seed, progress=False)
    trainer.fit(data, epochs=epochs, batch_size=BATCH)
    return trainer.evaluate(held_out)


def probability(a: Sequence[float], b: Sequence[float]) -> float:
    """Return how likely means differ by as much where the two sets are alike.

    It is the share of all ways to divide the results into two sets of these sizes whose means
    differ by at least as much: the exact two-sided permutation test (Fisher, The Design of
    Experiments, 1935), which supposes no distribution.
    """
    together = np.array([*a, *b])
    first = np.array([list(chosen) for chosen in combinations(range(len(together)), len(a))])
    sums = together[first].sum(axis=1)
    differences = abs(sums / len(a) - (together.sum() - sums) / len(b))
    return float(np.mean(differences >= abs(fmean(a) - fmean(b)) - 1e-12))


def compare(results: dict[str, list[Result]], epochs: int) -> Comparison:
    """Return the comparison of the algorithms' results, in the order of the seeds."""
    accuracy, loss = (
        {name: [one[what] for one in found] for name, found in results.items()}
        for what in ("accuracy", "loss")
    )
    direct, winograd = (accuracy[name] for name in ALGORITHMS)
    share = probability(direct, winograd)
    return Comparison(
        len(direct),
        epochs,
        accuracy,
        loss,
        {name: fmean(found) for name, found in accuracy.items()},
        {name: stdev(found) for name, found in accuracy.items()},
        fmean(winograd) - fmean(direct),
        math.sqrt(sum(stdev(found) ** 2 / len(found) for found in (direct, winograd))),
        share,
        probability(*(loss[name] for name in ALGORITHMS)),
        share >= SIGNIFICANT,
    )


def run(seeds: int, epochs: int, one: Callable[..., Result]) -> Comparison:
    """Call ``one(seed, epochs, data, held_out)`` with each algorithm for each seed, in turns."""
    data, held_out = digits("train"), digits("test")
    results: dict[str, list[Result]] = {name: [] for name in ALGORITHMS}
    with restored():
        turns = [(seed, name) for seed in range(seeds) for name in ALGORITHMS]
        for seed, name in tqdm(turns, unit="training", file=sys.stderr, disable=None):
            os.environ[ALGORITHM] = name
            results[name].append(one(seed, epochs, data, held_out))
    return compare(results, epochs)


def text(found: Comparison) -> str:
    """Return the comparison for people."""
    lines = [
        f"{name:<9} {found.mean[name]:.2%} +- {found.deviation[name]:.2%} of the held-out digits: "
        + " ".join(f"{value:.1%}" for value in found.accuracy[name])
        + f"; loss {fmean(found.loss[name]):.4f}"
        for name in ALGORITHMS
    ]
    verdict = "the same within noise" if found.same else "not the same"
    return "\n".join(
        [
            *lines,
            f"difference {found.difference:+.2%}, standard error {found.standard_error:.2%}; "
            f"by chance in {found.probability:.0%} of all permutations "
            f"(losses: {found.loss_probability:.0%}): {verdict}",
        ]
    )


def default_path(machine: str) -> Path:
    """Return the file for a machine: in a folder of its own, for its records are no measures."""
    path = records.default_path(machine)
    return path.parent / "accuracy" / path.name


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0 where the algorithms learn the same within noise, else 1."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks accuracy",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seeds", type=int, default=5, help="trainings of each algorithm (5)")
    parser.add_argument("--epochs", type=int, default=2, help="passes over the digits (2)")
    parser.add_argument("--json", action="store_true", help="print the record instead of the text")
    parser.add_argument("--output", type=Path, help="the record goes here (beside the others')")
    options = parser.parse_args(arguments)
    if options.seeds < 2 or options.epochs < 1:
        parser.error("expected 2 seeds or more and 1 epoch or more")
    found = run(options.seeds, options.epochs, train)
    common: dict[str, Any] = records.circumstances(cnnfast.get_num_threads(), ())
    line = json.dumps({**common, "isa": _core.isa(), "suite": "accuracy", **asdict(found)})
    print(line if options.json else text(found))
    records.append(options.output or default_path(common["machine"]), [line])
    return 0 if found.same else 1
