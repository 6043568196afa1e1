"""IDX files, the format of MNIST and its relatives: a big-endian array behind a small header.

Layout: two zero bytes, one byte of type, one byte of rank, `rank` sizes of four bytes each, then
the elements in C order, all big-endian. The file may be compressed with gzip.
Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database", section FILE FORMATS.
"""

from __future__ import annotations

import gzip
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from cnnfast.data.dataset import ArrayDataset
from cnnfast.data.reading import PathLike, allowance, reading
from cnnfast.errors import FormatError

__all__ = ["MNIST", "FashionMNIST", "IdxDataset", "read_idx"]

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MAX_RANK = 8
_GZIP_MAGIC = b"\x1f\x8b"


def read_idx(path: PathLike, max_bytes: int | None = None) -> NDArray[Any]:
    """Read one IDX file, plain or compressed with gzip.

    Parameters
    ----------
    path : path-like
        The file.
    max_bytes : int, optional
        The largest array to accept; by default 4 times the file's size plus 64 MiB, which only
        a compressed file can exceed.

    Returns
    -------
    ndarray
        The array in the shape and type that the header announces, in native byte order.

    Raises
    ------
    FormatError
        If the magic number, type, rank or sizes are not those of an IDX file, or the file holds
        less or more than its header announces, or too much for `max_bytes`.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from cnnfast.data import read_idx
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "labels-idx1-ubyte")
    ...     _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]))
    ...     read_idx(path)
    array([7, 2, 1], dtype=uint8)
    """
    with reading(path, "IDX"), open(path, "rb") as file:
        packed = file.read(2) == _GZIP_MAGIC
        file.seek(0)
        stream = gzip.GzipFile(fileobj=file) if packed else file
        dtype, shape = _read_header(stream)
        # Zeros count as ones, so that sizes no array can have are refused beside a zero too.
        if math.prod(max(size, 1) for size in shape) * dtype.itemsize > (
            allowed := allowance(path, max_bytes)
        ):
            raise FormatError(
                f"its header announces shape {shape} of {dtype.name}, more than the {allowed} "
                "bytes allowed; if it is right, pass a larger max_bytes"
            )
        expected = math.prod(shape) * dtype.itemsize
        data = stream.read(expected + 1)
        if len(data) != expected:
            found = "more" if len(data) > expected else f"only {len(data)}"
            raise FormatError(
                f"its header announces shape {shape} of {dtype.name}, {expected} bytes of data, "
                f"but {found} follow"
            )
    return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="))


def _read_header(stream: IO[bytes] | gzip.GzipFile) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Return type and shape, leaving `stream` at the first element."""
    magic = stream.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0":
        raise FormatError(
            f"expected an IDX file, which begins with two zero bytes, found {magic!r}"
        )
    code, rank = magic[2], magic[3]
    if code not in _TYPES:
        known = ", ".join(f"0x{known:02X}" for known in _TYPES)
        raise FormatError(f"expected an IDX type code among {known}, found 0x{code:02X}")
    if not 1 <= rank <= _MAX_RANK:
        raise FormatError(f"expected a rank of 1 to {_MAX_RANK}, found {rank}")
    sizes = stream.read(4 * rank)
    if len(sizes) < 4 * rank:
        raise FormatError(f"it ends inside its header, after {4 + len(sizes)} bytes")
    return np.dtype(_TYPES[code]), tuple(np.frombuffer(sizes, ">u4").tolist())


class IdxDataset(ArrayDataset):
    """Images and labels from a pair of IDX files.

    Parameters
    ----------
    images : path-like
        An IDX file of shape (N, H, W) or (N, C, H, W).
    labels : path-like
        An IDX file of shape (N,).
    classes : sequence of str, optional
        The names of the classes; "0", "1", ... if not given.
    max_bytes : int, optional
        As in `read_idx`.

    Raises
    ------
    FormatError
        If a file is damaged, or the two do not belong together.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from cnnfast.data import IdxDataset
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     images, labels = pathlib.Path(folder, "images"), pathlib.Path(folder, "labels")
    ...     sizes = b"\\0\\0\\0\\1" + b"\\0\\0\\0\\2" * 2
    ...     _ = images.write_bytes(b"\\0\\0\\x08\\3" + sizes + b"four")
    ...     _ = labels.write_bytes(b"\\0\\0\\x08\\1" + b"\\0\\0\\0\\1" + b"\\7")
    ...     IdxDataset(images, labels).images.shape
    (1, 1, 2, 2)
    """

    def __init__(
        self,
        images: PathLike,
        labels: PathLike,
        classes: Sequence[str] | None = None,
        max_bytes: int | None = None,
    ) -> None:
        pixels, numbers = read_idx(images, max_bytes), read_idx(labels, max_bytes)
        with reading(images, f"images for the labels in {os.fspath(labels)}"):
            super().__init__(pixels, numbers, classes)


class MNIST(IdxDataset):
    """MNIST from its four IDX files, plain or with ``.gz``; nothing is downloaded.

    Parameters
    ----------
    root : path-like
        The folder of the files, or torchvision's root, which has them in ``MNIST/raw``.
    train : bool
        The 60,000 training images, or the 10,000 test images.

    Raises
    ------
    FileNotFoundError
        If a file is in neither folder.
    FormatError
        If a file is damaged.

    Examples
    --------
    >>> from cnnfast.data import MNIST
    >>> try:
    ...     test = MNIST("no/such/folder", train=False)
    ... except FileNotFoundError as error:
    ...     print(error)
    t10k-images-idx3-ubyte[.gz] is neither in no/such/folder nor in no/such/folder/MNIST/raw
    """

    names: Sequence[str] = tuple("0123456789")

    def __init__(self, root: PathLike, train: bool = True) -> None:
        prefix = "train" if train else "t10k"
        images = self._find(root, f"{prefix}-images", "idx3-ubyte")
        labels = self._find(root, f"{prefix}-labels", "idx1-ubyte")
        super().__init__(images, labels, self.names)

    @classmethod
    def _find(cls, root: PathLike, stem: str, kind: str) -> Path:
        """Return the file, whether its name is spelt with a dash or with a dot."""
        base = Path(root).expanduser()
        for folder in (base, base / cls.__name__ / "raw"):
            for name in (f"{stem}-{kind}", f"{stem}.{kind}"):
                for path in (folder / name, folder / f"{name}.gz"):
                    if path.is_file():
                        return path
        raise FileNotFoundError(
            f"{stem}-{kind}[.gz] is neither in {base} nor in {base / cls.__name__ / 'raw'}"
        )


class FashionMNIST(MNIST):
    """Fashion-MNIST, in the same files as MNIST; see `MNIST`.

    Examples
    --------
    >>> from cnnfast.data import FashionMNIST
    >>> FashionMNIST.names[9]
    'Ankle boot'
    """

    names = (
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
        "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    )  # fmt: skip
