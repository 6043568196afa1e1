"""Pictures of a training: its curves and its confusion matrix, as PNG.

matplotlib is an extra and is imported here on use, with the Agg canvas: no window, no display and
no change of the backend that the caller's process may use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from .checkpoint import PathLike

__all__ = ["available", "confusion", "curves"]

DPI = 144
INK, GRID = "#222222", "#dddddd"
TRAINING, HELD_OUT = "#3465a4", "#d9541e"  # blue and orange: told apart by the colour-blind
READABLE = 30  # classes up to which the counts fit into the cells
LABELLED = 50  # names that fit along an axis; of more classes only every second, third, ...


def available() -> bool:
    """Say whether matplotlib can be imported."""
    from importlib.util import find_spec

    return find_spec("matplotlib") is not None


def curves(history: Mapping[str, Sequence[float]], path: PathLike | BinaryIO) -> None:
    """Draw loss and metrics over the epochs, training and held-out in one panel each.

    Parameters
    ----------
    history : dict of str to list of float
        ``Trainer.history.history``.
    path : path or binary file
        PNG to write.

    Raises
    ------
    ImportError
        If matplotlib is missing.
    ValueError
        If `history` has no epoch.

    Examples
    --------
    >>> import io
    >>> from cnnfast.plots import curves
    >>> picture = io.BytesIO()
    >>> curves({"loss": [2.0, 1.0], "val_loss": [2.2, 1.5]}, picture)
    >>> picture.getvalue()[1:4]
    b'PNG'
    """
    names = [name for name in history if f"val_{name}" in history or name == "loss"]
    if not names or not history["loss"]:
        raise ValueError("curves: the history has no epoch")
    figure = _figure(4.6 * len(names), 3.6)
    epochs = np.arange(1, len(history["loss"]) + 1)
    for panel, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for key, colour, label in (
            (name, TRAINING, "training"),
            (f"val_{name}", HELD_OUT, "held out"),
        ):
            if key in history:
                marker = "o" if len(epochs) <= READABLE else ""
                panel.plot(
                    epochs, history[key], color=colour, label=label, marker=marker, ms=3.5, lw=1.8
                )
        _dress(panel, name, len(epochs))
    figure.savefig(path, dpi=DPI)


def _dress(panel: Any, name: str, epochs: int) -> None:
    from matplotlib.ticker import MaxNLocator

    panel.set_title(name, color=INK, fontsize=11, loc="left")
    panel.set_xlabel("epoch", color=INK)
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    panel.set_xlim(0.5, epochs + 0.5)
    panel.grid(color=GRID, lw=0.7)
    panel.set_axisbelow(True)
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)
    panel.legend(frameon=False)


def confusion(
    matrix: npt.ArrayLike, path: PathLike | BinaryIO, classes: Sequence[str] | None = None
) -> None:
    """Draw a confusion matrix, shaded by the share of each true class, with the counts in it.

    Parameters
    ----------
    matrix : array_like of int, (classes, classes)
        True classes in rows, as `cnnfast.metrics.confusion_matrix` returns.
    path : path or binary file
        PNG to write.
    classes : sequence of str, optional
        Names; default the class numbers.

    Raises
    ------
    ImportError
        If matplotlib is missing.
    ValueError
        If `matrix` is not square or does not fit `classes`.

    Examples
    --------
    >>> import io
    >>> from cnnfast.plots import confusion
    >>> picture = io.BytesIO()
    >>> confusion([[48, 2], [1, 49]], picture, ["cat", "dog"])
    >>> picture.getvalue()[1:4]
    b'PNG'
    """
    counts = np.asarray(matrix)
    names = list(classes) if classes is not None else [str(i) for i in range(len(counts))]
    if counts.ndim != 2 or counts.shape != (len(names), len(names)):
        raise ValueError(
            f"confusion: matrix has shape {counts.shape}, expected {(len(names), len(names))}"
        )
    side = min(max(0.46 * len(names) + 1.6, 4.2), 12.0)
    figure = _figure(side + 1.1, side)
    from matplotlib.colors import PowerNorm

    panel = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    # The square root: one error in a hundred is seen beside the full diagonal.
    image = panel.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, vmin=0, vmax=1))
    _label(panel, counts, shares, names)
    bar = figure.colorbar(image, ax=panel, fraction=0.046, pad=0.03)
    bar.set_label("share of the true class", color=INK)
    bar.outline.set_visible(False)
    figure.savefig(path, dpi=DPI)


def _label(panel: Any, counts: Any, shares: Any, names: Sequence[str]) -> None:
    right = int(np.trace(counts))
    panel.set_title(f"{right:,} of {int(counts.sum()):,} right", color=INK, fontsize=11, loc="left")
    panel.set_xlabel("predicted", color=INK)
    panel.set_ylabel("true", color=INK)
    every = range(0, len(names), -(-len(names) // LABELLED))
    shown = [names[i] for i in every]
    turned = 90 if max(map(len, shown)) > 3 else 0
    panel.set_xticks(every, shown, rotation=turned, fontsize=9)
    panel.set_yticks(every, shown, fontsize=9)
    panel.tick_params(length=0)
    for edge in panel.spines.values():
        edge.set_visible(False)
    if len(names) > READABLE:
        return
    between = np.arange(len(names) - 1) + 0.5
    panel.hlines(between, -0.5, len(names) - 0.5, color="white", lw=1)
    panel.vlines(between, -0.5, len(names) - 0.5, color="white", lw=1)
    for row, column in np.argwhere(counts > 0):
        colour = "white" if shares[row, column] > 0.3 else INK
        panel.text(
            column, row, f"{counts[row, column]}", ha="center", va="center", color=colour, size=8
        )


def _figure(width: float, height: float) -> Any:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError(
            'plots need matplotlib, which is not installed: pip install "cnnfast[plots]"'
        ) from None
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure
