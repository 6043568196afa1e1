"""Data as the command line names it: ``mnist5k``, an ``.npz`` file or a folder.

A source has a training part and a held-out part. Where the files do not say which is which, a
fifth of each class is held out, always the same one, so that ``cnnfast eval`` measures on images
that ``cnnfast train`` has not seen.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from . import data as _data
from .errors import FormatError

__all__ = ["Source", "open_source"]

HELD_OUT = 0.2
FOLDER_SIZE = 64  # pixels to which images in folders are resized unless another size is asked for
PARTS = (("train", "test"), ("train", "val"), ("train", "valid"), ("training", "testing"))
NAMES = (
    ("x_train", "y_train", "x_test", "y_test"),
    ("train_images", "train_labels", "test_images", "test_labels"),
    ("images", "labels", "", ""),
    ("x", "y", "", ""),
)


@dataclass(frozen=True)
class Source:
    """A data set in two parts.

    Attributes
    ----------
    train, held_out : Dataset
    classes : list of str
    """

    train: Any
    held_out: Any
    classes: list[str]


def open_source(spec: str, size: int | None = None) -> Source:
    """Open what ``--data`` names.

    Parameters
    ----------
    spec : str
        ``"mnist5k"``; an ``.npz`` file with ``images`` and ``labels``, or ``x_train``,
        ``y_train`` and so on; a folder of MNIST's IDX or of CIFAR-10's files; or a folder
        ``class/file`` of images, or of two such folders ``train`` and ``test`` (or ``val``).
    size : int, optional
        Height and width of images from folders of images.

    Raises
    ------
    FileNotFoundError
        If there is no such file or folder.
    FormatError
        If it is not what it should be.
    ValueError
        If the parts do not have the same classes, or a class has one image only.

    Examples
    --------
    >>> from cnnfast.sources import open_source
    >>> len(open_source("mnist5k").held_out)
    1000
    """
    if spec == "mnist5k":
        return _joined(_data.mnist5k("train"), _data.mnist5k("test"))
    path = Path(spec).expanduser()
    if path.is_file() and path.suffix == ".npz":
        return _from_npz(path)
    if path.is_file():
        raise FormatError(f"{spec}: expected mnist5k, an .npz file or a folder, found another file")
    if not path.is_dir():
        raise FileNotFoundError(f"{spec}: no such data; expected mnist5k, an .npz file or a folder")
    if _has_idx(path):
        return _joined(_data.MNIST(path, train=True), _data.MNIST(path, train=False))
    if any(path.glob("cifar-10-batches-*")) or any(path.glob("data_batch_1*")):
        return _joined(_data.CIFAR10(path, train=True), _data.CIFAR10(path, train=False))
    return _from_folder(path, size or FOLDER_SIZE)


def _has_idx(path: Path) -> bool:
    return any(path.glob("train-images*")) or (path / "MNIST" / "raw").is_dir()


def _from_npz(path: Path) -> Source:
    arrays = _data.read_npz(path)
    names = next((names for names in NAMES if names[0] in arrays and names[1] in arrays), None)
    if names is None:
        raise FormatError(
            f"{path}: expected arrays images and labels, or x_train, y_train, x_test and y_test; "
            f"found {', '.join(arrays) or 'none'}"
        )
    images, labels, test_images, test_labels = names
    try:
        train = _arrays(arrays[images], arrays[labels])
        if test_images in arrays and test_labels in arrays:
            return _joined(train, _arrays(arrays[test_images], arrays[test_labels]))
    except ValueError as error:
        raise FormatError(f"{path}: {error}") from error
    return _split(train, train.labels)


def _arrays(images: npt.NDArray[Any], labels: npt.NDArray[Any]) -> Any:
    """Make a dataset, taking images whose last axis is that of colours for NHWC."""
    last = images.ndim == 4 and images.shape[3] in (1, 3) and images.shape[1] not in (1, 3)
    return _data.ArrayDataset(images, labels, layout="NHWC" if last else "NCHW")


def _from_folder(path: Path, size: int) -> Source:
    for first, second in PARTS:
        if (path / first).is_dir() and (path / second).is_dir():
            mode = _mode(path / first)
            train = _data.ImageFolder(path / first, size, mode)
            return _joined(train, _data.ImageFolder(path / second, size, mode))
    whole = _data.ImageFolder(path, size, _mode(path))
    return _split(whole, np.array([label for _, label in whole.samples]))


def _mode(path: Path) -> Any:
    """Return "L" if the first images of each class are grey, else "RGB"."""
    try:
        from PIL import Image
    except ImportError:
        raise ImportError(
            'reading images needs Pillow, which is not installed: pip install "cnnfast[images]"'
        ) from None
    seen = set()
    for folder in sorted(entry for entry in path.iterdir() if entry.is_dir()):
        for file in sorted(os.listdir(folder))[:2]:
            try:
                with Image.open(folder / file) as image:
                    seen.add(image.mode)
            except (OSError, Image.DecompressionBombError):
                continue  # ImageFolder names and refuses it
    return "L" if seen and seen <= {"L", "1", "I;16", "LA"} else "RGB"


def _joined(train: Any, held_out: Any) -> Source:
    classes = list(train.classes)
    other = list(held_out.classes)
    if other != classes[: len(other)]:
        raise ValueError(
            f"the held-out part has the classes {', '.join(other)}, the training part "
            + ", ".join(classes)
        )
    return Source(train, held_out, classes)


def _split(whole: Any, labels: npt.NDArray[Any]) -> Source:
    """Hold out a fifth of each class, by bits that do not depend on the version of NumPy."""
    if labels.ndim != 1:
        raise ValueError("the labels are distributions; give the held-out part yourself")
    rank = np.random.PCG64(len(labels)).random_raw(len(labels))
    held_out = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        if len(members) < 2:
            raise ValueError(f"class {whole.classes[label]} has one image, expected 2 or more")
        chosen = members[np.argsort(rank[members])]
        held_out[chosen[: max(1, round(HELD_OUT * len(members)))]] = True
    classes: Sequence[str] = whole.classes
    return Source(_data.Subset(whole, ~held_out), _data.Subset(whole, held_out), list(classes))
