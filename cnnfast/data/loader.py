"""`DataLoader`: batches of a dataset, in seeded order, prepared ahead by threads.

Every random number of an epoch comes from (seed, epoch, number of the batch), never from what ran
before or beside it: the batches are the same bits for any number of workers, and a run resumed
from ``state_dict`` sees what the uninterrupted one would have seen. Workers are threads, for NumPy
and Pillow release the interpreter's lock where the time goes, and nothing has to be copied
between processes. Called by `cnnfast.Trainer`, which turns the arrays into Tensors.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

import cnnfast.random
from cnnfast.data.dataset import fetch, positions
from cnnfast.data.imaging import Transform

__all__ = ["DataLoader"]


class DataLoader:
    """Iterate over a dataset in batches; each pass is one epoch.

    Parameters
    ----------
    dataset : Dataset
        One of this package, or any object with ``__len__`` and ``__getitem__(int)``. With
        workers, it is read from several threads at once.
    batch_size : int
        Samples in a batch; the last one is smaller where they do not divide.
    shuffle : bool
        Whether each epoch has an order of its own.
    sampler : iterable of int, optional
        The indices of one epoch, asked for at its start; instead of `shuffle`.
    num_workers : int
        Threads that prepare batches ahead; 0 prepares each when it is asked for.
    collate_fn : callable, optional
        Makes a batch of a list of samples, instead of the dataset's own ``batch`` or
        `default_collate`.
    drop_last : bool
        Whether to leave out a last batch that is smaller.
    transform : Transform, optional
        Called as ``transform(images, labels, rng)`` on every batch; see `cnnfast.data.transforms`.
    prefetch_factor : int
        Batches that each worker may be ahead.
    seed : int, optional
        Decides order and augmentation. Drawn from `generator` if not given.
    generator : numpy.random.Generator, optional
        Where `seed` is drawn from, once, when the loader is made;
        ``cnnfast.random.generator()`` if not given.

    Attributes
    ----------
    seed : int
        The seed in use.
    epoch : int
        The number of the epoch that the next pass will be. It counts up when a pass begins.

    Raises
    ------
    ValueError
        If a number is too small, or two arguments exclude each other.

    Examples
    --------
    >>> from cnnfast.data import DataLoader, mnist5k, transforms
    >>> loader = DataLoader(
    ...     mnist5k("train"), batch_size=64, shuffle=True, seed=0, num_workers=2,
    ...     transform=transforms.Normalize(mean=0.13, std=0.31),
    ... )
    >>> len(loader)
    63
    >>> for images, labels in loader:
    ...     pass
    >>> images.shape, images.dtype.name, labels.dtype.name
    ((32, 1, 28, 28), 'float32', 'int64')
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int = 1,
        shuffle: bool = False,
        sampler: Iterable[int] | None = None,
        *,
        num_workers: int = 0,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        drop_last: bool = False,
        transform: Transform | None = None,
        prefetch_factor: int = 2,
        seed: int | None = None,
        generator: np.random.Generator | None = None,
    ) -> None:
        if shuffle and sampler is not None:
            raise ValueError("sampler decides the order: give it or shuffle=True, not both")
        if seed is not None and generator is not None:
            raise ValueError("generator serves to draw the seed: give it or seed, not both")
        if seed is None:
            source = cnnfast.random.generator() if generator is None else generator
            seed = int(source.integers(2**63))
        self.dataset = dataset
        self.batch_size = _at_least(1, "batch_size", batch_size)
        self.shuffle = shuffle
        self.sampler = sampler
        self.num_workers = _at_least(0, "num_workers", num_workers)
        self.collate_fn = collate_fn
        self.drop_last = drop_last
        self.transform = transform
        self.prefetch_factor = _at_least(1, "prefetch_factor", prefetch_factor)
        self.seed = _at_least(0, "seed", seed)
        self.epoch = 0

    def __len__(self) -> int:
        """Return the number of batches of an epoch."""
        samples = len(self.dataset if self.sampler is None else self.sampler)  # type: ignore[arg-type]
        return self._batches(samples)

    def __iter__(self) -> Iterator[Any]:
        """Begin the next epoch."""
        epoch = self.epoch
        self.epoch += 1
        order = self._order(epoch)

        def load(number: int) -> Any:
            start = number * self.batch_size
            return self._load(epoch, number, order[start : start + self.batch_size])

        numbers = range(self._batches(len(order)))
        if self.num_workers == 0:
            return (load(number) for number in numbers)
        return _ahead(load, numbers, self.num_workers, self.num_workers * self.prefetch_factor)

    def set_epoch(self, epoch: int) -> None:
        """Make `epoch` the number of the next pass."""
        self.epoch = epoch

    def state_dict(self) -> dict[str, int]:
        """Return what `load_state_dict` needs to go on with the same epochs."""
        return {"seed": self.seed, "epoch": self.epoch}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on where the loader that gave `state` would have begun its next epoch."""
        self.seed, self.epoch = int(state["seed"]), int(state["epoch"])

    def _batches(self, samples: int) -> int:
        """Return how many batches `samples` make."""
        full, rest = divmod(samples, self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    def _order(self, epoch: int) -> NDArray[np.int64]:
        """Return the indices of an epoch."""
        if self.sampler is not None:
            return positions(list(self.sampler), len(self.dataset))
        if self.shuffle:
            return self._rng(epoch, 0).permutation(len(self.dataset))
        return np.arange(len(self.dataset))

    def _rng(self, epoch: int, stream: int) -> np.random.Generator:
        """Return a generator: stream 0 of an epoch orders it, stream 1 + n serves batch n."""
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(epoch, stream)))

    def _load(self, epoch: int, number: int, indices: NDArray[np.int64]) -> Any:
        """Return one batch, fetched and transformed."""
        try:
            if self.collate_fn is None:
                batch = fetch(self.dataset, indices)
            else:
                batch = self.collate_fn([self.dataset[int(index)] for index in indices])
            if self.transform is None:
                return batch
            if not (isinstance(batch, (tuple, list)) and len(batch) == 2):
                raise TypeError(
                    "transform needs batches (images, labels); the dataset gives "
                    f"{type(batch).__name__} instead"
                )
            images, labels = batch
            return self.transform(images, labels, self._rng(epoch, 1 + number))
        except Exception as error:
            if hasattr(error, "add_note"):  # Python 3.11
                error.add_note(f"while loading batch {number} of epoch {epoch}")
            raise


def _at_least(least: int, name: str, value: int) -> int:
    """Return `value`, or say what `name` must be."""
    if not isinstance(value, (int, np.integer)) or value < least:
        raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}")
    return int(value)


def _ahead(
    load: Callable[[int], Any], numbers: Iterable[int], workers: int, ahead: int
) -> Iterator[Any]:
    """Yield ``load(number)`` in order, with up to `ahead` calls begun before they are asked for.

    The pool lives as long as this generator: exhausted, closed, dropped or ended by an exception
    (of `load` or Ctrl-C), it drops the calls not yet begun, waits for the rest and has no thread
    left. Idle threads sleep.
    """
    from concurrent.futures import ThreadPoolExecutor  # 7 ms, not needed by every import

    remaining = iter(numbers)
    pool = ThreadPoolExecutor(workers, thread_name_prefix="cnnfast-loader")
    try:
        pending = deque(pool.submit(load, number) for number in islice(remaining, ahead))
        while pending:
            batch = pending.popleft().result()
            pending.extend(pool.submit(load, number) for number in islice(remaining, 1))
            yield batch
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
