"""The README's table, the plot and the verdict on a recorded run: `python -m benchmarks.report`.

Nothing in them is typed by hand. `__main__` calls `plot` at the end of a run.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import ROOT, verdict
from .cases import Case, all_cases
from .layers import Convolution, resnet18, resnet50, resnets
from .records import RESULTS, Measure, read

README = ROOT / "README.md"
BEGIN, END = "<!-- benchmarks:begin -->", "<!-- benchmarks:end -->"
TITLES = {
    "torch": "PyTorch {}",
    "onnxruntime": "ONNX Runtime {}",
    "openvino": "OpenVINO {}",
    "ncnn": "ncnn {}",
    "numpy-blas": "NumPy {} with BLAS",
    "numpy": "NumPy {}, float64 loops",
}

Sum = dict[str, float]
"""How often each case's time is counted."""


def _network(layers: list[Convolution], kind: str, batch: int) -> Sum:
    """The cases of one network's convolutions, each as often as it occurs there."""
    counts, out = Counter(layers), {}
    for case in all_cases():
        if case.suite == "layers" and case.kind == kind and case.arguments[1] == batch:
            out[case.name] = float(counts[case.arguments[0]])
    return {name: count for name, count in out.items() if count}


def _first(kind: str, suite: str | None = None) -> Case:
    return next(case for case in all_cases() if case.kind == kind and suite in (None, case.suite))


def _rows() -> list[tuple[str, Sum]]:
    """The table's rows: a title and the cases whose times are summed."""
    rows: list[tuple[str, Sum]] = []
    for name, layers in (("ResNet-18", resnet18()), ("ResNet-50", resnet50())):
        title = f"{name}'s convolutions, one 224x224 image"
        rows.append((title, _network(layers, "conv2d_forward", 1)))
    for what, kind in (
        ("forward", "conv2d_forward"),
        ("input gradients", "conv2d_backward_input"),
        ("weight gradients", "conv2d_backward_weight"),
    ):
        rows.append((f"ResNet-50's convolutions, 8 images, {what}", _network(resnet50(), kind, 8)))
    rows.append(("Product of two 2048x2048 matrices", {"matmul 2048x2048 2048x2048": 1.0}))
    rows.append(("LeNet-5, training step, batch 64", {_first("lenet5_step").name: 1.0}))
    resnet = _first("resnet18_cifar_step").name
    rows.append(("ResNet-18 (CIFAR), training step, batch 64", {resnet: 1.0}))
    rows.append(("`import`, beyond NumPy's own", {"import": 1.0}))
    return rows


def _cell(found: dict[str, Measure], counts: Sum) -> str:
    """The summed time, with the share of the peak where there is one."""
    if not counts.keys() <= found.keys():
        return ""
    ones = [(found[name], count) for name, count in counts.items()]
    best = sum(one.best_ms * count for one, count in ones)
    time = f"{best:.3g} ms" if best < 100 else f"{best:.0f} ms"
    if not all(one.flops and one.peak for one, _ in ones):
        return time
    flops = sum(one.flops * count for one, count in ones)
    possible = sum((one.peak or 0) * 1e6 * one.best_ms * count for one, count in ones)
    return f"{time} ({flops / possible:.0%})"


def _peaks(measures: Sequence[Measure]) -> str:
    """The least and the greatest peak of each instruction set."""
    rates: dict[str, list[float]] = {}
    for one in measures:
        if one.peak and not one.in_memory:
            rates.setdefault(one.isa, []).append(one.peak)
    return ", ".join(
        f"{min(found):.0f} to {max(found):.0f} GFLOP/s ({isa})" for isa, found in rates.items()
    )


def _title(label: str, versions: dict[str, str]) -> str:
    if label.startswith("cnnfast"):
        name, isa = label.replace("-", " ").rsplit(" ", 1)
        return f"{name}, {isa.upper().replace('AVX512', 'AVX-512')}"
    package = label.split("-")[0]
    number = re.split("[+-]", versions.get(package, ""))[0]  # without the build's name
    return TITLES[label].format(number).replace("  ", " ").strip()


def markdown(common: dict[str, Any], measures: Sequence[Measure]) -> str:
    """Return the README's table with a sentence on how it was made."""
    columns: dict[str, dict[str, Measure]] = {}
    for one in measures:
        if one.contestant not in ("cnnfast-direct", "cnnfast-winograd"):
            columns.setdefault(one.label, {})[one.case] = one
    head = ["", *(_title(label, common["versions"]) for label in columns)]
    out = [" | ".join(["", *head, ""]).strip(), "|---|" + "---:|" * len(columns)]
    for title, counts in _rows():
        cells = [_cell(found, counts) for found in columns.values()]
        if any(cells):
            out.append(f"| {title} | " + " | ".join(cells) + " |")
    threads = f"{common['threads']} thread" + "s" * (common["threads"] != 1)
    out += [
        "",
        f"Best times; in brackets the share of the machine's peak, probed beside each case: "
        f"{_peaks(measures) or 'not measured'}. {common['machine']}, {threads} for all, "
        f"{common['compiler']}, commit {common['commit'] or 'unknown'}, {common['run'][:10]}. "
        "Above 100%: Winograd's algorithm multiplies less than the direct one, whose work is "
        "counted. Forward, ten convolutions a call, fewer where they are long. PyTorch: eager, "
        "channels-last, fused optimiser. Made by `python -m benchmarks && "
        "python -m benchmarks.report --update-readme`.",
    ]
    return "\n".join(out)


def update_readme(text: str, path: Path = README) -> None:
    """Replace what stands between the two markers of the README.

    Raises
    ------
    ValueError
        The markers are missing.
    """
    readme = path.read_text(encoding="utf-8")
    if readme.count(BEGIN) != 1 or readme.count(END) != 1:
        raise ValueError(f"{path}: expected {BEGIN} and {END} once each")
    before, rest = readme.split(BEGIN)
    path.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}", encoding="utf-8")


PANELS = (
    ("conv2d_forward", 1, "forward, 1 image"),
    ("conv2d_forward", 8, "forward, 8 images"),
    ("conv2d_backward_input", 8, "input gradient, 8 images"),
    ("conv2d_backward_weight", 8, "weight gradient, 8 images"),
)
MARKS = {  # label: colour, marker, size; colours that the colour-blind can tell apart
    "numpy": ("#b8b8b8", "v", 4.5),
    "numpy-blas": ("#808080", "^", 4.5),
    "torch": ("#d55e00", "s", 5),
    "cnnfast-direct avx2": ("#56b4e9", "D", 3.5),
    "cnnfast-direct avx512": ("#0072b2", "o", 4.5),
    "cnnfast avx2": ("#56b4e9", "D", 5),
    "cnnfast neon": ("#0072b2", "o", 6.5),
    "cnnfast avx512": ("#0072b2", "o", 6.5),
}


def plot(path: Path, common: dict[str, Any], measures: Sequence[Measure]) -> None:
    """Draw each convolution's share of the peak, one panel a direction, and write it to `path`.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError('the plot needs matplotlib: pip install "cnnfast[plots]"') from None
    shares = {
        (one.case, one.label): one.share
        for one in measures
        if one.suite == "layers" and one.share is not None
    }
    # An algorithm that saves multiplications can exceed 100 %: the work is the direct form's.
    top = 100 * max([1.0, *shares.values()])
    ticks = range(0, int(top) + 1, 20 if top < 150 else 50)
    layers = sorted(resnets(), key=lambda c: (c.kernel == 1, -c.kernel, -c.size, c.channels))
    figure = Figure(figsize=(11, 12.5), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(PANELS), 1, sharex=True, sharey=True)
    for axes, (kind, batch, title) in zip(panels, PANELS, strict=True):
        names = [f"{kind} {layer} batch {batch}" for layer in layers]
        _panel(axes, names, shares)
        axes.set_title(title, loc="left", fontsize=11, fontweight="bold")
    panels[0].set_ylim(0, 1.05 * top)
    panels[0].set_yticks(ticks, [f"{tick} %" for tick in ticks])
    names = list(map(str, layers))
    panels[-1].set_xticks(range(len(names)), names, rotation=60, ha="right", fontsize=8)
    _head(figure, panels, common)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


def _panel(axes: Any, names: list[str], shares: dict[tuple[str, str], float]) -> None:
    """One mark for each contestant on each layer; a band marks the goal."""
    filled = {"markeredgecolor": "white", "markeredgewidth": 0.6, "linestyle": "-"}
    hollow = {"markerfacecolor": "white", "markeredgewidth": 1.1, "linestyle": "none"}
    axes.axhspan(85, 100, color="#0072b2", alpha=0.07, linewidth=0)
    for label, (colour, marker, size) in MARKS.items():
        points = [
            (i, 100 * shares[name, label])
            for i, name in enumerate(names)
            if (name, label) in shares
        ]
        if points:
            axes.plot(
                *zip(*points, strict=True), marker=marker, linewidth=0.7, color=colour,
                markersize=size, label=label, **(hollow if "direct" in label else filled),
            )  # fmt: skip
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.grid(axis="y", color="#e4e4e4", linewidth=0.8)
    axes.grid(axis="x", color="#f2f2f2", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(length=0, labelsize=9)


def _head(figure: Any, panels: Any, common: dict[str, Any]) -> None:
    """Above the panels: what was measured, where, and one legend for all."""
    found = {}
    for axes in panels:
        for line, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found[_title(label, common["versions"])] = line
    names = list(reversed(found))
    threads = f"{common['threads']} thread" + "s" * (common["threads"] != 1)
    figure.get_layout_engine().set(rect=(0, 0, 1, 0.905), h_pad=0.1)
    title = "Convolutions of ResNet-18 and ResNet-50: share of the peak fp32 rate"
    figure.text(0.012, 0.99, title, fontsize=14, fontweight="bold", va="top")
    place = f"{common['machine']}; {threads}; cnnfast with AVX2 against the peak of AVX2"
    figure.text(0.012, 0.968, place, fontsize=9.5, color="#555555", va="top")
    figure.legend(
        [found[name] for name in names], names, loc="upper left", bbox_to_anchor=(0.004, 0.956),
        ncols=4, frameon=False, fontsize=9.5, columnspacing=1.6, handletextpad=0.5,
    )  # fmt: skip


def _newest() -> Path:
    """The file in results/ that was written last."""
    files = sorted(RESULTS.glob("*.jsonl"), key=lambda file: file.stat().st_mtime)
    if not files:
        raise ValueError(f"no records in {RESULTS}: run `python -m benchmarks` first")
    return files[-1]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 0 done, 2 wrong flags or files."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    add = parser.add_argument
    add("records", nargs="?", type=Path, metavar="FILE", help="records (the newest in results/)")
    add("--run", metavar="TIME", help="a run of that file (the newest)")
    add("--plot", type=Path, metavar="FILE", help="draw the shares of the peak")
    add("--verdict", action="store_true", help="how it stands against its goals")
    add("--json", action="store_true", help="the verdict as JSON")
    add("--update-readme", action="store_true", help="put the table into README.md")
    options = parser.parse_args(arguments)
    try:
        common, measures = read(options.records or _newest(), options.run)
        text = markdown(common, measures)
        if options.plot:
            plot(options.plot, common, measures)
        if options.update_readme:
            update_readme(text)
        if options.json:
            text = json.dumps(verdict.as_records(verdict.judge(measures)), indent=1)
        elif options.verdict:
            parts = [verdict.as_text(verdict.judge(measures)), verdict.ratios_of_networks(measures)]
            text = "\n\n".join(filter(None, parts))
    except (ValueError, ImportError, OSError) as error:
        parser.error(str(error))
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
