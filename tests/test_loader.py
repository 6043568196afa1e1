"""DataLoader: order, the same bits for any number of workers, resuming, errors, no thread left."""

import gc
import os
import signal
import threading
import time

import numpy as np
import pytest

import cnnfast.random
from cnnfast.data import ArrayDataset, ConcatDataset, DataLoader, Dataset, TensorDataset
from cnnfast.data import transforms as T
from cnnfast.errors import FormatError

IMAGES = np.random.default_rng(2).integers(256, size=(50, 3, 8, 8), dtype=np.uint8)
DATASET = ArrayDataset(IMAGES, np.arange(50))
AUGMENT = T.Compose([T.RandomCrop(8, padding=2), T.RandomHorizontalFlip(), T.ToFloat()])


def labels(batches):
    return [batch[1].tolist() for batch in batches]


def workers():
    return [thread for thread in threading.enumerate() if thread.name.startswith("cnnfast-loader")]


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    assert workers() == []


class Plain:
    """A data set as torch's users write them: no base class, one sample at a time."""

    def __init__(self, fail=(), wait=0.0, error=FormatError):
        self.fail, self.wait, self.error = fail, wait, error
        self.threads = set()

    def __len__(self):
        return 20

    def __getitem__(self, index):
        self.threads.add(threading.current_thread())
        time.sleep(self.wait)
        if index in self.fail:
            raise self.error(f"sample {index} is bad")
        return np.full((1, 2, 2), index, np.float32), index


@pytest.mark.parametrize("num_workers", [0, 1, 3])
def test_batches_come_in_order(num_workers):
    loader = DataLoader(DATASET, 16, num_workers=num_workers)
    batches = list(loader)
    assert labels(batches) == [[*range(16)], [*range(16, 32)], [*range(32, 48)], [48, 49]]
    assert len(loader) == 4 and np.array_equal(batches[1][0], IMAGES[16:32])
    dropped = DataLoader(DATASET, 16, drop_last=True, num_workers=num_workers)
    assert len(dropped) == 3 and labels(dropped) == labels(batches)[:3]
    assert list(DataLoader(TensorDataset(np.zeros(0)), 4, num_workers=num_workers)) == []


@pytest.mark.parametrize("num_workers", [1, 2, 5])
@pytest.mark.parametrize("prefetch_factor", [1, 4])
def test_the_same_bits_for_any_number_of_workers(num_workers, prefetch_factor):
    options = {"batch_size": 7, "shuffle": True, "seed": 3, "transform": AUGMENT}
    alone = DataLoader(DATASET, **options)
    helped = DataLoader(
        DATASET, num_workers=num_workers, prefetch_factor=prefetch_factor, **options
    )
    for _ in range(2):
        pairs = list(zip(alone, helped, strict=True))
        assert len(pairs) == 8
        for (images, numbers), (others, other_numbers) in pairs:
            assert np.array_equal(images, others) and np.array_equal(numbers, other_numbers)


def test_every_epoch_has_its_own_order_and_augmentation():
    loader = DataLoader(DATASET, 50, shuffle=True, seed=1, transform=AUGMENT)
    first, second = next(iter(loader)), next(iter(loader))
    assert loader.epoch == 2
    assert sorted(first[1]) == sorted(second[1]) == list(range(50))
    assert first[1].tolist() != second[1].tolist()
    fixed = DataLoader(DATASET, 50, seed=1, transform=AUGMENT)
    assert not np.array_equal(next(iter(fixed))[0], next(iter(fixed))[0])
    halves = DataLoader(ConcatDataset([DATASET, DATASET]), 50, seed=1, transform=AUGMENT)
    upper, lower = (images for images, _ in halves)
    assert not np.array_equal(upper, lower)


def test_a_resumed_loader_goes_on_as_if_never_stopped():
    options = {"batch_size": 9, "shuffle": True, "transform": AUGMENT}
    whole = DataLoader(DATASET, seed=5, **options)
    list(whole)
    state = whole.state_dict()
    resumed = DataLoader(DATASET, seed=6, **options)
    resumed.load_state_dict(state)
    for (images, numbers), (others, other_numbers) in zip(whole, resumed, strict=True):
        assert np.array_equal(images, others) and np.array_equal(numbers, other_numbers)
    whole.set_epoch(1)
    again = DataLoader(DATASET, seed=5, **options)
    again.epoch = 1
    assert labels(whole) == labels(again) and state == {"seed": 5, "epoch": 1}


def test_the_seed_comes_from_the_generator_once():
    def orders(**options):
        return labels(DataLoader(DATASET, 50, shuffle=True, **options))

    cnnfast.random.manual_seed(1)
    first, second = orders(), orders()
    cnnfast.random.manual_seed(1)
    assert orders() == first != second
    assert orders(generator=np.random.default_rng(8)) == orders(generator=np.random.default_rng(8))
    cnnfast.random.manual_seed(1)
    loader = DataLoader(DATASET, seed=0)
    state = cnnfast.random.get_state()
    list(loader)
    assert cnnfast.random.get_state() == state


def test_torch_style_data_sets_and_collate_fn():
    images, numbers = next(iter(DataLoader(Plain(), 4, num_workers=2)))
    assert images.shape == (4, 1, 2, 2) and images.dtype == np.float32
    assert numbers.dtype == np.int64 and numbers.tolist() == [0, 1, 2, 3]
    loader = DataLoader(DATASET, 3, collate_fn=lambda samples: [label for _, label in samples])
    assert next(iter(loader)) == [0, 1, 2]


def test_torchs_own_data_sets_work():
    torch = pytest.importorskip("torch")
    dataset = torch.utils.data.TensorDataset(torch.arange(6.0).reshape(6, 1), torch.arange(6))
    images, numbers = list(DataLoader(dataset, 4))[1]
    assert images.tolist() == [[4], [5]] and numbers.tolist() == [4, 5]


def test_a_sampler_decides_the_order():
    loader = DataLoader(DATASET, 2, sampler=[4, 2, -1], num_workers=1)
    assert len(loader) == 2 and labels(loader) == [[4, 2], [49]]
    with pytest.raises(IndexError, match="index 50 is out of range for a dataset of 50"):
        iter(DataLoader(DATASET, 2, sampler=[50]))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"batch_size": 0}, "batch_size must be an integer of at least 1, got 0"),
        ({"batch_size": None}, "batch_size must be an integer of at least 1, got None"),
        ({"batch_size": 2.5}, "batch_size must be an integer"),
        ({"num_workers": -1}, "num_workers must be an integer of at least 0"),
        ({"prefetch_factor": 0}, "prefetch_factor must be an integer of at least 1"),
        ({"seed": -1}, "seed must be an integer of at least 0"),
        ({"shuffle": True, "sampler": [1]}, "give it or shuffle=True, not both"),
        ({"seed": 1, "generator": np.random.default_rng()}, "give it or seed, not both"),
    ],
)
def test_senseless_arguments_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        DataLoader(DATASET, **options)


@pytest.mark.parametrize("num_workers", [0, 1, 3])
def test_errors_reach_the_consumer_in_their_place(num_workers):
    loader = DataLoader(Plain(fail={9, 10}), 4, num_workers=num_workers)
    iterator = iter(loader)
    assert next(iterator)[1].tolist() == [0, 1, 2, 3] and next(iterator)[1][0] == 4
    with pytest.raises(FormatError, match="sample 9 is bad") as caught:
        next(iterator)
    assert "__getitem__" in [entry.name for entry in caught.traceback]
    notes = getattr(caught.value, "__notes__", ["while loading batch 2 of epoch 0"])
    assert notes == ["while loading batch 2 of epoch 0"]
    assert next(iterator, "ended") == "ended" and workers() == []


def test_a_transform_needs_pairs():
    with pytest.raises(TypeError, match=r"needs batches \(images, labels\); .* gives tuple"):
        next(iter(DataLoader(TensorDataset(np.zeros(3)), transform=T.ToFloat())))


def test_workers_run_ahead_by_no_more_than_they_may():
    begun = []

    class Counting(Dataset):
        def __len__(self):
            return 100

        def batch(self, indices):
            begun.append(indices[0])
            return indices, indices

    iterator = iter(DataLoader(Counting(), num_workers=2, prefetch_factor=3))
    next(iterator)
    deadline = time.monotonic() + 5
    while len(begun) < 7 and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(0.02)
    assert sorted(begun) == list(range(7))
    iterator.close()


def test_work_is_done_by_the_workers_at_the_same_time():
    meeting = threading.Barrier(3, timeout=10)

    class Meeting(Dataset):
        def __len__(self):
            return 3

        def batch(self, indices):
            meeting.wait()
            return indices, threading.current_thread() is threading.main_thread()

    assert [in_main for _, in_main in DataLoader(Meeting(), num_workers=3)] == [False] * 3


@pytest.mark.parametrize("end", ["exhaust", "close", "drop", "break", "cycle"])
def test_threads_end_with_the_iterator(end):
    iterator = iter(DataLoader(Plain(wait=0.001), 2, num_workers=3))
    next(iterator)
    assert 1 <= len(workers()) <= 3
    if end == "exhaust":
        assert len(list(iterator)) == 9
    elif end == "close":
        iterator.close()
    elif end == "break":
        for _ in DataLoader(Plain(), 2, num_workers=2):
            break
        del iterator
    elif end == "cycle":
        holder = {"iterator": iterator}
        holder["self"] = holder
        del holder, iterator
        gc.collect()
    else:
        del iterator
    assert workers() == []


def test_an_unused_iterator_starts_no_thread():
    iterator = iter(DataLoader(DATASET, 2, num_workers=3))
    assert workers() == []
    del iterator


def test_idle_workers_use_no_processor_time():
    iterator = iter(DataLoader(DATASET, 2, num_workers=4))
    next(iterator)
    time.sleep(0.05)
    before = time.process_time()
    time.sleep(0.3)
    assert time.process_time() - before < 0.1
    iterator.close()


def test_ctrl_c_ends_the_threads():
    loader = DataLoader(Plain(wait=0.2), 1, num_workers=2)
    timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        list(loader)
    timer.join()
    assert workers() == []


def test_two_passes_may_run_at_once():
    loader = DataLoader(DATASET, 10, shuffle=True, seed=4, num_workers=2)
    pairs = list(zip(loader, loader, strict=True))
    loader.set_epoch(0)
    assert labels(pair[0] for pair in pairs) == labels(loader)
    assert labels(pair[1] for pair in pairs) == labels(loader)
