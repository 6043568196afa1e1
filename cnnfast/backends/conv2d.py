"""Which algorithm a convolution takes: estimated, or measured where `benchmark` is set.

An answer is measured once for each shape and direction, kept in memory, and written to
``$XDG_CACHE_HOME/cnnfast`` (``~/.cache/cnnfast``), in a file of its own for each CPU model, version
of cnnfast and instruction set. A file is a JSON object from a description of the convolution to the
name of an algorithm. It is replaced as a whole by a rename, so that processes may share it: at
worst an answer is lost where two of them write at once. `functional.convolution` calls `choose`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _core

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["benchmark"]

benchmark: bool = False
"""Whether to measure each new shape of convolution once and take the fastest algorithm since.

This is ``torch.backends.cudnn.benchmark``, and off by default likewise: algorithms round
differently, so measuring decides the bits of the results, which then may differ from machine to
machine and, where the answers cannot be kept on disk, from run to run. A shape's first call takes
tens of milliseconds longer, a large one's seconds; leave it off where sizes never repeat. It is
measured with the number of threads that is set then. A compiled model chooses when it first meets a
shape. ``CNNFAST_CONV=direct``, ``winograd`` or ``winograd_inline`` decides alone, as ever. To
measure anew, delete ``~/.cache/cnnfast``.

Examples
--------
>>> import cnnfast
>>> cnnfast.backends.conv2d.benchmark
False
"""

SECONDS = 0.1
"""After so long no further round of a measurement begins; the first two always are made."""

SAMPLE = 1e-3
"""Seconds in which a short convolution is repeated: the clock and the calls then cost nothing."""

Shape = tuple[int, ...]
Run = Callable[[], object]
Attributes = tuple[Any, Any, Any, int]
"""stride, padding (top, left), dilation, groups, as the binding takes them."""

_known: dict[str, dict[str, str]] = {}
"""The answers by file name, as far as this process has read or measured them."""


def choose(
    y: np.ndarray, x: np.ndarray, weight: Shape, attributes: Attributes, direction: str
) -> str:
    """Return the algorithm for a convolution of x to y, or for the gradients of such images.

    Parameters
    ----------
    y, x : ndarray
        Images (N, C, H, W), of which only the shapes matter.
    weight : tuple of int
        (O, C / groups, kh, kw).
    attributes : tuple
        Stride, padding (top, left), dilation and groups.
    direction : str
        One of ``_core.CONV2D_DIRECTIONS``.

    Returns
    -------
    str
        One of ``_core.CONV2D_ALGORITHMS``.
    """
    if not benchmark or os.environ.get("CNNFAST_CONV") in _core.CONV2D_ALGORITHMS:
        return _core.conv2d_choose(y, x, weight, *attributes, direction)
    candidates = _core.conv2d_algorithms(weight, *attributes)
    if direction == "backward_weight":  # which reads no weight
        candidates = tuple(way for way in candidates if way != "winograd_inline")
    if len(candidates) == 1 or y.size == 0 or x.size == 0:
        return candidates[0]
    name, key = _file_name(), f"{direction} {(y.shape, x.shape, weight, *attributes)}"
    answers = _known.get(name)
    if answers is None:
        answers = _known.setdefault(name, _read(name))
    if key not in answers:
        problem = y.shape, x.shape, weight, attributes, direction
        way = candidates[_fastest([partial(_operands, way, *problem) for way in candidates])]
        _keep(name, answers, key, way)
    return answers[key]


# ---- measuring ---------------------------------------------------------------------------------


def _operands(
    way: str, y: Shape, x: Shape, weight: Shape, attributes: Attributes, direction: str
) -> Run:
    """Make operands of these shapes; return a function that runs the algorithm on them.

    A forward pass finds its weight packed; an input gradient packs it, since it follows an update.
    """
    image_y, image_x, w = _core.empty_image(*y), _core.empty_image(*x), _core.empty(weight)
    for array in (image_y, image_x, w):
        array.fill(1.0)
    if direction == "backward_weight":
        return partial(_core.conv2d_backward_weight, w, image_x, image_y, *attributes, way)
    backward, packed = direction == "backward_input", w.reshape(-1)
    pack: Run | None = None
    if way != "winograd_inline":
        packed = _core.empty((_core.conv2d_packed_size(weight, *attributes, backward, way),))
        pack = partial(_core.conv2d_pack, packed, w, *attributes, backward, way)
        pack()
    rest = (packed, None, weight, *attributes, way)
    if not backward:
        return partial(_core.conv2d_forward, image_y, image_x, *rest)

    def gradient() -> None:
        if pack is not None:
            pack()
        _core.conv2d_backward_input(image_x, image_y, *rest)

    return gradient


def _seconds(run: Run, repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        run()
    return (time.perf_counter() - start) / repeats


def _fastest(make: Sequence[Callable[[], Run]]) -> int:
    """Return which of the functions that these make takes the least time, measured in turns.

    It is done on a thread of its own, because a recording is of the thread that began it.
    """
    from concurrent.futures import ThreadPoolExecutor

    def measure() -> int:
        runs = [one() for one in make]
        first = [min(_seconds(run, 1) for _ in range(2)) for run in runs]
        repeats = [max(1, int(SAMPLE / max(seconds, 1e-6))) for seconds in first]
        best, end, rounds = first, time.perf_counter() + SECONDS, 0
        while rounds < 2 or (rounds < 10 and time.perf_counter() < end):
            for i, run in enumerate(runs):
                best[i] = min(best[i], _seconds(run, repeats[i]))
            rounds += 1
        return best.index(min(best))

    with ThreadPoolExecutor(1) as one:
        return one.submit(measure).result()


# ---- the answers on disk -----------------------------------------------------------------------


def _file_name() -> str:
    from .. import __version__

    cpu = "".join(c if c.isalnum() else "-" for c in _core.cpu_info()["cpu"].lower())
    return f"conv2d-{cpu}-{__version__}-{_core.isa()}.json"


def _path(name: str) -> Path:
    from pathlib import Path

    folder = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification: a relative path is to be ignored.
    return (Path(folder) if os.path.isabs(folder) else Path.home() / ".cache") / "cnnfast" / name


def _read(name: str) -> dict[str, str]:
    """Return the answers on disk; none where there are none, with a warning where damaged."""
    import json

    try:
        answers = json.loads(_path(name).read_bytes())
        if isinstance(answers, dict) and set(answers.values()) <= set(_core.CONV2D_ALGORITHMS):
            return answers
        reason = "it names no algorithms"
    except (RecursionError, TypeError, ValueError) as error:
        reason = str(error)
    except (OSError, RuntimeError):  # no file, or no place for one: `_keep` says so
        return {}
    _warn(f"the measured choices in {name} are damaged, so they are measured anew: {reason}")
    return {}


def _keep(name: str, answers: dict[str, str], key: str, way: str) -> None:
    """Add an answer here and on disk, unless another process has put one there meanwhile."""
    import json

    from ..checkpoint import write_atomic

    for known, found in {key: way, **_read(name)}.items():
        answers.setdefault(known, found)
    try:
        path = _path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, json.dumps(dict(answers), indent=1).encode())
    except (OSError, RuntimeError) as error:
        _warn(f"the measured choices of convolutions are not kept: {error}")


def _warn(text: str) -> None:
    import warnings

    warnings.warn(text, RuntimeWarning, stacklevel=2)
