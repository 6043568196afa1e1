"""What the trainer accepts as data, brought to batches: loaders, datasets, arrays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["as_loader", "images_of", "length_of"]

Array = npt.NDArray[Any]


def length_of(loader: Any) -> int | None:
    """Return the number of batches, None if the loader does not know it."""
    return len(loader) if hasattr(loader, "__len__") else None


def as_loader(data: Any, batch_size: int, shuffle: bool = False, seed: int | None = None) -> Any:
    """Return what yields batches ``(images, labels)``.

    Parameters
    ----------
    data : DataLoader, Dataset, iterable of batches or pair of arrays
        What is not made of batches already is put into a `DataLoader`.
    batch_size : int
    shuffle : bool
    seed : int, optional
        Of the shuffling; None draws one from the process-wide generator.

    Raises
    ------
    ValueError
        If `data` is none of these.
    """
    from . import data as _data

    if isinstance(data, tuple | list):
        if len(data) != 2 or not all(hasattr(part, "__array__") for part in data):
            return data  # a list of batches
        data = _pair(*data)
    if hasattr(data, "__getitem__") and hasattr(data, "__len__"):
        # Without shuffling the seed decides nothing: 0 spares the process-wide generator a draw.
        seed = seed if shuffle else 0
        return _data.DataLoader(data, batch_size=batch_size, shuffle=shuffle, seed=seed)
    if isinstance(data, Iterable):
        return data
    raise ValueError(
        f"expected a DataLoader, a dataset or a pair of arrays, found {type(data).__name__}"
    )


def _pair(inputs: Any, labels: Any) -> Any:
    """Make a dataset of two arrays; integer labels become int64, which the losses index with."""
    from . import data as _data

    targets = np.asarray(labels)
    if targets.dtype.kind in "iu":
        targets = targets.astype(np.int64, copy=False)
    return _data.TensorDataset(inputs, targets)


def images_of(data: Any, batch_size: int) -> Iterator[Array]:
    """Yield the images of `data`, batch by batch."""
    if hasattr(data, "__array__"):
        for start in range(0, len(data), batch_size):
            yield np.asarray(data[start : start + batch_size])
        return
    for images, _ in as_loader(data, batch_size):
        yield images
