"""Datasets: numbered samples that can be fetched many at a time.

A batch is ``(images, labels)``: images uint8 or float32 of shape (N, C, H, W), labels int64 (N,),
always NumPy arrays. `DataLoader` asks a dataset for ``batch(indices)``; an object that has only
``__len__`` and ``__getitem__(int)``, as torch's datasets, works too, one sample at a time.
The file readers (`idx`, `cifar`, `npz`, `folder`) build on the classes here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

import cnnfast.random

__all__ = [
    "ArrayDataset",
    "ConcatDataset",
    "Dataset",
    "Subset",
    "TensorDataset",
    "default_collate",
    "fetch",
    "positions",
    "random_split",
]

Array: TypeAlias = NDArray[Any]
Indices: TypeAlias = NDArray[np.int64]


class Dataset:
    """The base of datasets: override ``__len__`` and one of ``__getitem__`` and ``batch``.

    ``dataset[3]`` is one sample, a tuple such as ``(image, label)``; ``dataset[10:20]``,
    ``dataset[[3, 1]]`` and ``dataset[mask]`` are batches. Each of ``__getitem__`` and ``batch``
    is by default made from the other; overriding ``batch`` is the fast way.

    Attributes
    ----------
    classes : sequence of str
        What the labels 0, 1, ... are called; empty where they have no names.

    Examples
    --------
    >>> import numpy as np
    >>> from cnnfast.data import Dataset
    >>> class Squares(Dataset):
    ...     def __len__(self):
    ...         return 100
    ...     def __getitem__(self, index):
    ...         return np.full((1, 2, 2), index, np.float32), index**2
    >>> images, labels = Squares().batch(np.array([3, 5]))
    >>> images.shape, labels.tolist()
    ((2, 1, 2, 2), [9, 25])
    """

    classes: Sequence[str] = ()

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} must define __len__")

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, (int, np.integer)):
            return tuple(field[0] for field in self.batch(positions([int(index)], len(self))))
        return self.batch(positions(index, len(self)))

    def batch(self, indices: Indices) -> Any:
        """Return the samples at `indices`, an int64 array of values in [0, len), as arrays."""
        if type(self).__getitem__ is Dataset.__getitem__:
            raise NotImplementedError(f"{type(self).__name__} must define __getitem__ or batch")
        return default_collate([self[int(index)] for index in indices])

    def __add__(self, other: Any) -> ConcatDataset:
        return ConcatDataset([self, other])


class TensorDataset(Dataset):
    """Arrays of equal length, indexed together along their first axis.

    Parameters
    ----------
    *tensors : array_like
        Arrays or Tensors (L, ...), taken as they are and not copied.

    Raises
    ------
    ValueError
        If the lengths differ, or an array has no axis or holds Python objects.

    Examples
    --------
    >>> import numpy as np
    >>> from cnnfast.data import TensorDataset
    >>> x, y = TensorDataset(np.zeros((10, 3)), np.arange(10))[4]
    >>> x.shape, int(y)
    ((3,), 4)
    """

    def __init__(self, *tensors: ArrayLike) -> None:
        self.tensors = tuple(np.asarray(tensor) for tensor in tensors)
        for array in self.tensors:
            if array.ndim == 0 or array.dtype.hasobject:
                raise ValueError(
                    "expected arrays of numbers with at least one axis, got shape "
                    f"{array.shape} of {array.dtype}"
                )
        if len({len(array) for array in self.tensors}) != 1:
            shapes = ", ".join(str(array.shape) for array in self.tensors) or "none"
            raise ValueError(f"expected one or more arrays of equal length, got shapes {shapes}")

    def __len__(self) -> int:
        return len(self.tensors[0])

    def batch(self, indices: Indices) -> tuple[Array, ...]:
        return tuple(array[indices] for array in self.tensors)


class ArrayDataset(TensorDataset):
    """Images and labels held in memory.

    Parameters
    ----------
    images : array_like
        (N, C, H, W), or (N, H, W) for one channel: uint8 in 0..255, or floating point (kept as
        float32), usually in 0..1. Not copied where the type fits; a memory map stays one.
    labels : array_like
        (N,) or (N, 1) integers, kept as int64; or (N, K) floating point, a distribution over the
        K classes for each image, kept as float32.
    classes : sequence of str, optional
        The names of the classes; "0", "1", ... up to the largest label if not given.
    layout : {"NCHW", "NHWC"}
        The order of the axes of four-dimensional `images`. NHWC is viewed as NCHW, not copied.

    Raises
    ------
    ValueError
        If shapes, types, lengths or labels are none of the above.

    Examples
    --------
    >>> import numpy as np
    >>> from cnnfast.data import ArrayDataset
    >>> data = ArrayDataset(np.zeros((4, 28, 28), np.uint8), [0, 1, 1, 2], ["cat", "dog", "owl"])
    >>> images, labels = data[1:3]
    >>> images.shape, labels.dtype.name, data.classes[labels[0]]
    ((2, 1, 28, 28), 'int64', 'dog')
    """

    def __init__(
        self,
        images: ArrayLike,
        labels: ArrayLike,
        classes: Sequence[str] | None = None,
        layout: Literal["NCHW", "NHWC"] = "NCHW",
    ) -> None:
        named = None if classes is None else [str(name) for name in classes]
        super().__init__(_as_images(images, layout), _as_labels(labels, named))
        self.classes = named if named is not None else self._numbered_classes()

    @property
    def images(self) -> Array:
        """All images, (N, C, H, W)."""
        return self.tensors[0]

    @property
    def labels(self) -> Array:
        """All labels, (N,) int64 or (N, K) float32."""
        return self.tensors[1]

    def _numbered_classes(self) -> list[str]:
        if self.labels.ndim == 2:
            return [str(number) for number in range(self.labels.shape[1])]
        return [str(number) for number in range(int(self.labels.max(initial=-1)) + 1)]


def _as_images(images: ArrayLike, layout: str) -> Array:
    """Return (N, C, H, W) of uint8 or float32."""
    array = np.asarray(images)
    if layout not in ("NCHW", "NHWC"):
        raise ValueError(f'layout must be "NCHW" or "NHWC", got {layout!r}')
    if array.ndim not in (3, 4):
        raise ValueError(f"images must be (N, H, W) or {tuple(layout)}, got shape {array.shape}")
    if array.dtype != np.uint8 and array.dtype.kind != "f":
        raise ValueError(
            f"images must be uint8 (0 to 255) or floating point (0 to 1), got {array.dtype}; "
            "convert them with .astype"
        )
    if array.dtype.kind == "f":
        array = array.astype(np.float32, copy=False)
    if array.ndim == 3:
        return array[:, None]
    return array.transpose(0, 3, 1, 2) if layout == "NHWC" else array


def _as_labels(labels: ArrayLike, classes: list[str] | None) -> Array:
    """Return (N,) of int64, checked against `classes`, or (N, K) of float32."""
    array = np.asarray(labels)
    if array.ndim == 2 and array.dtype.kind == "f":
        if classes is not None and array.shape[1] != len(classes):
            raise ValueError(f"labels give {array.shape[1]} classes, but {len(classes)} are named")
        return array.astype(np.float32, copy=False)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1 or (array.dtype.kind not in "iub" and array.size):
        raise ValueError(
            "labels must be (N,) integers or (N, K) floating point probabilities, got shape "
            f"{array.shape} of {array.dtype}"
        )
    array = array.astype(np.int64, copy=False)
    limit = np.iinfo(np.int64).max if classes is None else len(classes)
    wrong = np.flatnonzero((array < 0) | (array >= limit))
    if wrong.size:
        expected = "no less than 0" if classes is None else f"0 to {limit - 1}"
        raise ValueError(f"labels must be {expected}, label {wrong[0]} is {array[wrong[0]]}")
    return array


class Subset(Dataset):
    """The samples of `dataset` at `indices`, in that order.

    Parameters
    ----------
    dataset : Dataset
        Any dataset.
    indices : array_like
        Integers in [-len(dataset), len(dataset)), or a boolean mask, or a slice.

    Raises
    ------
    IndexError
        If an index is out of range.

    Examples
    --------
    >>> from cnnfast.data import Subset, mnist5k
    >>> len(Subset(mnist5k("test"), range(100)))
    100
    """

    def __init__(self, dataset: Any, indices: ArrayLike | slice) -> None:
        self.dataset = dataset
        self.indices = positions(indices, len(dataset))
        self.classes = getattr(dataset, "classes", ())

    def __len__(self) -> int:
        return len(self.indices)

    def batch(self, indices: Indices) -> Any:
        return fetch(self.dataset, self.indices[indices])


class ConcatDataset(Dataset):
    """Datasets end to end: first all samples of the first one, then of the second, and so on.

    Parameters
    ----------
    datasets : sequence of Dataset
        At least one; their samples must agree in shape and type. The names of the classes are
        those of the first.

    Examples
    --------
    >>> from cnnfast.data import ConcatDataset, mnist5k
    >>> len(ConcatDataset([mnist5k("train"), mnist5k("test")]))
    5000
    """

    def __init__(self, datasets: Sequence[Any]) -> None:
        self.datasets = list(datasets)
        if not self.datasets:
            raise ValueError("expected at least one dataset, got none")
        self.cumulative_sizes = np.cumsum([len(dataset) for dataset in self.datasets])
        self.classes = getattr(self.datasets[0], "classes", ())

    def __len__(self) -> int:
        return int(self.cumulative_sizes[-1])

    def batch(self, indices: Indices) -> Any:
        owners = np.searchsorted(self.cumulative_sizes, indices, side="right")
        starts = np.concatenate([[0], self.cumulative_sizes[:-1]])
        present = np.unique(owners) if len(indices) else np.zeros(1, np.int64)
        places = [np.flatnonzero(owners == owner) for owner in present]
        batches = [
            fetch(self.datasets[owner], indices[place] - starts[owner])
            for owner, place in zip(present, places, strict=True)
        ]
        back = np.argsort(np.concatenate(places))
        return tuple(_join(parts)[back] for parts in zip(*batches, strict=True))


def _join(parts: Sequence[Array]) -> Array:
    """Concatenate what different datasets gave for one field of a batch."""
    kinds = {(part.shape[1:], part.dtype) for part in parts}
    if len(kinds) > 1:
        found = " and ".join(sorted(f"{shape} of {dtype}" for shape, dtype in kinds))
        raise ValueError(f"the samples of concatenated datasets must agree, got {found}")
    return np.concatenate(parts)


def random_split(
    dataset: Any,
    lengths: Sequence[int] | Sequence[float],
    generator: np.random.Generator | int | None = None,
) -> list[Subset]:
    """Split a dataset at random into parts that share no sample.

    Parameters
    ----------
    dataset : Dataset
        Any dataset.
    lengths : sequence of int or of float
        Sizes that add up to ``len(dataset)``, or fractions that add up to 1; what rounding
        leaves over is dealt to the parts in turn.
    generator : numpy.random.Generator or int, optional
        Where the permutation comes from, or its seed; ``cnnfast.random.generator()`` if not given.

    Returns
    -------
    list of Subset
        As many as `lengths`.

    Raises
    ------
    ValueError
        If the sizes are negative or do not add up.

    Examples
    --------
    >>> from cnnfast.data import mnist5k, random_split
    >>> [len(part) for part in random_split(mnist5k(), [0.9, 0.1], generator=0)]
    [3600, 400]
    """
    total = len(dataset)
    if all(isinstance(length, (int, np.integer)) for length in lengths):
        sizes = [int(length) for length in lengths]
    else:
        sizes = _shares(total, lengths)
    if sum(sizes) != total or min(sizes, default=0) < 0:
        raise ValueError(f"lengths must add up to the {total} samples, got {sizes}")
    if generator is None:
        generator = cnnfast.random.generator()
    order = np.random.default_rng(generator).permutation(total)
    parts = np.split(order, np.cumsum(sizes)[:-1])
    return [Subset(dataset, part) for part in parts]


def _shares(total: int, fractions: Sequence[float]) -> list[int]:
    """Return `total` divided by `fractions`, the remainder dealt out from the first on."""
    if not math.isclose(sum(fractions), 1) or min(fractions) < 0:
        raise ValueError(f"fractions must not be negative and add up to 1, got {list(fractions)}")
    sizes = [math.floor(total * fraction) for fraction in fractions]
    for turn in range(total - sum(sizes)):
        sizes[turn] += 1
    return sizes


def default_collate(samples: Sequence[Any]) -> Any:
    """Make one batch of samples: stack arrays and numbers, go into tuples and dictionaries.

    Parameters
    ----------
    samples : sequence
        Samples of one structure. Tuples and lists become a tuple of batches, dictionaries a
        dictionary of batches, strings a list; all else is stacked along a new first axis.

    Raises
    ------
    ValueError
        If the samples differ in structure, shape or type.
    TypeError
        If a sample is neither a number nor an array, nor made of those.

    Examples
    --------
    >>> import numpy as np
    >>> from cnnfast.data import default_collate
    >>> images, labels = default_collate([(np.zeros((3, 8, 8)), 4), (np.ones((3, 8, 8)), 2)])
    >>> images.shape, labels
    ((2, 3, 8, 8), array([4, 2]))
    """
    first = samples[0]
    if isinstance(first, (str, bytes)):
        return list(samples)
    if isinstance(first, Mapping):
        return {key: default_collate([sample[key] for sample in samples]) for key in first}
    if isinstance(first, (tuple, list)):
        if any(len(sample) != len(first) for sample in samples):
            raise ValueError("all samples of a batch must have the same number of fields")
        return tuple(default_collate(field) for field in zip(*samples, strict=True))
    arrays = [np.asarray(sample) for sample in samples]
    if any(array.dtype.hasobject for array in arrays):
        raise TypeError(f"samples must be arrays or numbers, got {type(first).__name__}")
    kinds = {(array.shape, array.dtype if array.ndim else None) for array in arrays}
    if len(kinds) > 1:
        found = " and ".join(sorted(f"{shape} of {dtype}" for shape, dtype in kinds))
        raise ValueError(
            f"samples of one batch must agree in shape and type, got {found}; "
            "make them equal or give the loader a collate_fn"
        )
    return np.stack(arrays)


def fetch(dataset: Any, indices: Indices) -> Any:
    """Return a batch of any dataset: by its ``batch`` method, or sample by sample without one."""
    batch = getattr(dataset, "batch", None)
    if callable(batch):
        return batch(indices)
    return default_collate([dataset[int(index)] for index in indices])


def positions(index: ArrayLike | slice, length: int) -> Indices:
    """Return what `index` (slice, integers, mask) selects of `length` samples, in [0, length)."""
    if isinstance(index, slice):
        return np.arange(length)[index]
    chosen = np.asarray(index)
    if chosen.dtype == np.bool_ and chosen.shape == (length,):
        return np.flatnonzero(chosen)
    if chosen.ndim != 1 or (chosen.dtype.kind not in "iu" and chosen.size):
        raise TypeError(
            f"a dataset of {length} is indexed by an integer, a slice, integers (K,) or a mask "
            f"({length},), got {chosen.dtype} of shape {chosen.shape}"
        )
    chosen = chosen.astype(np.int64)
    wrong = chosen[(chosen < -length) | (chosen >= length)]
    if wrong.size:
        raise IndexError(f"index {wrong[0]} is out of range for a dataset of {length}")
    return np.where(chosen < 0, chosen + length, chosen)
