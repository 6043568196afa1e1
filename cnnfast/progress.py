"""What a person sees while the trainer works: a bar on a terminal, a line an epoch elsewhere.

All of it goes to standard error, so that standard output carries results only.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

__all__ = ["Progress"]

HIDDEN = {"epoch", "lr", "seconds", "images_per_second"}  # not figures of merit; in the history
FORMAT = "{desc} |{bar:20}| {n_fmt}/{total_fmt} [{elapsed}]{postfix}"
SHOWN = 0.1  # seconds between two redraws of the bar's figures


class Progress:
    """One epoch's bar.

    Parameters
    ----------
    title : str
        Such as ``"epoch 3/10"``.
    batches : int or None
        Number of batches, None if it is not known.
    shown : bool
        False keeps silent.
    """

    def __init__(self, title: str, batches: int | None, shown: bool) -> None:
        self._title = title
        self._shown = shown
        self._bar = None
        if shown and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=batches, desc=title, mininterval=SHOWN, bar_format=FORMAT)

    def advance(self, loss: float) -> None:
        """Count a batch."""
        if self._bar is not None:
            self._bar.set_postfix_str(f"loss={loss:.4f}", refresh=False)
            self._bar.update()

    def finish(self, logs: Mapping[str, float]) -> None:
        """Close the bar with the epoch's figures."""
        if not self._shown:
            return
        figures = ", ".join(f"{name}={logs[name]:.4f}" for name in logs if name not in HIDDEN)
        figures += f", {logs['images_per_second']:,.0f} images/s"
        if self._bar is None:
            print(f"{self._title}: {figures}", file=sys.stderr, flush=True)
        else:
            self._bar.set_postfix_str(figures, refresh=True)
            self._bar.close()

    def abandon(self) -> None:
        """Close the bar of an epoch that does not end."""
        if self._bar is not None:
            self._bar.close()
