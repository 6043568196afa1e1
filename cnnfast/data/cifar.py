"""CIFAR-10 and CIFAR-100 from the files of their authors, in the binary or in the Python version.

Binary: records of one label byte (CIFAR-100: coarse, then fine) and 3072 pixels, which are three
planes of 32 x 32, red first. Python: a pickled dictionary with the same pixels under ``data`` as
uint8 (N, 3072) and the labels as a list; `pickled` reads it without executing anything.
Source: A. Krizhevsky, https://www.cs.toronto.edu/~kriz/cifar.html
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnnfast.data.dataset import ArrayDataset
from cnnfast.data.pickled import read_pickled
from cnnfast.data.reading import PathLike, reading
from cnnfast.errors import FormatError

__all__ = ["CIFAR10", "CIFAR100"]

_PIXELS = 3 * 32 * 32


class _Labels(NamedTuple):
    """Where the labels of a file stand."""

    key: str  # in the Python version's dictionary
    column: int  # among the label bytes of a binary record
    columns: int  # how many label bytes a record has
    classes: list[str]


def _read_binary(path: Path, labels: _Labels) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return pixels (N, 3072) and labels (N,) of one binary file."""
    data = np.fromfile(path, np.uint8)
    record = labels.columns + _PIXELS
    if not data.size or data.size % record:
        raise FormatError(f"expected a multiple of {record} bytes, found {data.size}")
    records = data.reshape(-1, record)
    return records[:, labels.columns :], records[:, labels.column]


def _read_python(path: Path, labels: _Labels) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return pixels (N, 3072) and labels (N,) of one pickled file."""
    content = read_pickled(path.read_bytes())
    for key in ("data", labels.key):
        if key not in content:
            raise FormatError(f"no {key!r} in it, it holds {sorted(content)[:10]}")
    pixels, numbers = content["data"], content[labels.key]
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8:
        raise FormatError("expected 'data' to be an array of uint8")
    if pixels.ndim != 2 or pixels.shape[1] != _PIXELS:
        raise FormatError(f"expected 'data' of shape (N, {_PIXELS}), found {pixels.shape}")
    # Element by element, for lists in a hostile pickle may nest without end.
    if isinstance(numbers, list) and not all(isinstance(number, int) for number in numbers):
        raise FormatError(f"expected {labels.key!r} to be integers")
    return pixels, np.asarray(numbers)


def _read(path: Path, labels: _Labels) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return images (N, 3, 32, 32) and labels (N,) of one file of either version."""
    pixels: NDArray[np.uint8]
    numbers: NDArray[Any]
    with reading(path, "a CIFAR file"):
        read = _read_binary if path.suffix == ".bin" else _read_python
        pixels, numbers = read(path, labels)
        if numbers.shape != (len(pixels),) or numbers.dtype.kind not in "iu":
            raise FormatError(
                f"expected {len(pixels)} integer labels, found {numbers.dtype} of shape "
                f"{numbers.shape}"
            )
        wrong = np.flatnonzero((numbers < 0) | (numbers >= len(labels.classes)))
        if wrong.size:
            raise FormatError(
                f"expected labels of 0 to {len(labels.classes) - 1}, found "
                f"{numbers[wrong[0]]} in record {wrong[0]}"
            )
    return pixels.reshape(-1, 3, 32, 32), numbers.astype(np.int64)


def _find(root: PathLike, stems: list[str], subfolders: list[str]) -> list[Path]:
    """Return the files of all `stems`, from the first folder and version that has one of them."""
    base = Path(root).expanduser()
    folders = [base, *(base / subfolder for subfolder in subfolders)]
    for folder in folders:
        for suffix in (".bin", ""):
            paths = [folder / (stem + suffix) for stem in stems]
            missing = [path for path in paths if not path.is_file()]
            if len(missing) == len(paths):
                continue
            if missing:
                raise FileNotFoundError(f"{missing[0]} is missing beside its other batches")
            return paths
    looked = ", ".join(str(folder) for folder in folders)
    raise FileNotFoundError(
        f"no {stems[0]}.bin and no {stems[0]} in {looked}; give the folder of the extracted archive"
    )


class _Cifar(ArrayDataset):
    """All files of one part, concatenated."""

    def __init__(self, paths: list[Path], labels: _Labels) -> None:
        parts = [_read(path, labels) for path in paths]
        images = np.concatenate([images for images, _ in parts])
        super().__init__(images, np.concatenate([numbers for _, numbers in parts]), labels.classes)


class CIFAR10(_Cifar):
    """CIFAR-10 from its extracted files, binary or Python version; nothing is downloaded.

    Parameters
    ----------
    root : path-like
        The folder of the files, or the one that holds ``cifar-10-batches-bin`` or
        ``cifar-10-batches-py``.
    train : bool
        The 50,000 training images, or the 10,000 test images: uint8 (N, 3, 32, 32).

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    FormatError
        If a file is damaged, or holds more than arrays, containers, strings and numbers.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from cnnfast.data import CIFAR10
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     record = bytes([6]) + bytes(3 * 32 * 32)
    ...     _ = pathlib.Path(folder, "test_batch.bin").write_bytes(record)
    ...     test = CIFAR10(folder, train=False)
    >>> test.images.shape, test.classes[test.labels[0]]
    ((1, 3, 32, 32), 'frog')
    """

    def __init__(self, root: PathLike, train: bool = True) -> None:
        stems = [f"data_batch_{number}" for number in range(1, 6)] if train else ["test_batch"]
        paths = _find(root, stems, ["cifar-10-batches-bin", "cifar-10-batches-py"])
        super().__init__(paths, _Labels("labels", 0, 1, _CIFAR10.split()))


class CIFAR100(_Cifar):
    """CIFAR-100 from its extracted files, binary or Python version; nothing is downloaded.

    Parameters
    ----------
    root : path-like
        The folder of the files, or the one that holds ``cifar-100-binary`` or
        ``cifar-100-python``.
    train : bool
        The 50,000 training images, or the 10,000 test images: uint8 (N, 3, 32, 32).
    coarse : bool
        The 20 superclasses rather than the 100 classes.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    FormatError
        If a file is damaged, or holds more than arrays, containers, strings and numbers.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from cnnfast.data import CIFAR100
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     record = bytes([14, 35]) + bytes(3 * 32 * 32)
    ...     _ = pathlib.Path(folder, "train.bin").write_bytes(record)
    ...     fine, coarse = CIFAR100(folder), CIFAR100(folder, coarse=True)
    >>> fine.classes[fine.labels[0]], coarse.classes[coarse.labels[0]]
    ('girl', 'people')
    """

    def __init__(self, root: PathLike, train: bool = True, coarse: bool = False) -> None:
        paths = _find(
            root, ["train" if train else "test"], ["cifar-100-binary", "cifar-100-python"]
        )
        if coarse:
            labels = _Labels("coarse_labels", 0, 2, _CIFAR100_COARSE.split())
        else:
            labels = _Labels("fine_labels", 1, 2, _CIFAR100_FINE.split())
        super().__init__(paths, labels)


_CIFAR10 = "airplane automobile bird cat deer dog frog horse ship truck"

_CIFAR100_COARSE = """
aquatic_mammals fish flowers food_containers fruit_and_vegetables household_electrical_devices
household_furniture insects large_carnivores large_man-made_outdoor_things
large_natural_outdoor_scenes large_omnivores_and_herbivores medium_mammals
non-insect_invertebrates people reptiles small_mammals trees vehicles_1 vehicles_2
"""

_CIFAR100_FINE = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly
camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup
dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower
leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid
otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray
road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle
wardrobe whale willow_tree wolf woman worm
"""
