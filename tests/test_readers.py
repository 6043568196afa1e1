"""Readers of IDX, CIFAR and .npz files: good ones are read, bad ones refused by name."""

import gzip
import os
import pickle
import struct
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest

from cnnfast import data
from cnnfast.data import reading
from cnnfast.errors import FormatError

RNG = np.random.default_rng(5)
PIXELS = RNG.integers(256, size=(6, 3, 32, 32), dtype=np.uint8)
DIGITS = RNG.integers(256, size=(6, 5, 4), dtype=np.uint8)
LABELS = np.array([3, 0, 9, 1, 1, 7])


def idx(array):
    codes = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}
    array = np.asarray(array)
    header = bytes([0, 0, codes[array.dtype.str[1:]], array.ndim])
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    return header + sizes + array.astype(array.dtype.newbyteorder(">")).tobytes()


def python2_pickle(pixels, labels):
    """The bytes that Python 2 with NumPy 1 wrote for CIFAR, protocol 2."""
    raw = pixels.tobytes()
    return b"".join([
        b"\x80\x02}q\x01(U\x04dataq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\n",
        b"q\x04K\x00\x85U\x01bq\x05\x87Rq\x06(K\x01", b"M" + struct.pack("<H", len(pixels)),
        b"M\x00\x0c\x86cnumpy\ndtype\nq\x07U\x02u1K\x00K\x01\x87Rq\x08(K\x03U\x01|NNN",
        b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T", struct.pack("<I", len(raw)), raw,
        b"tbU\x06labelsq\x09]q\x0a(", b"".join(b"K" + bytes([label]) for label in labels),
        b"eU\x0bbatch_labelq\x0bU\x15testing batch 1 of 1q\x0cu.".replace(b"\x15", b"\x14"),
    ])  # fmt: skip


def cifar_pickle(protocol, **changes):
    content = {"data": PIXELS.reshape(6, -1), "labels": LABELS.tolist(), "filenames": ["a.png"]}
    return pickle.dumps(content | changes, protocol)


# IDX


@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "i4", "f4", "f8"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_idx_of_every_type_is_read(tmp_path, dtype, pack):
    array = np.arange(-6, 6).reshape(3, 2, 2).astype(dtype)
    path = tmp_path / "array"
    path.write_bytes(pack(idx(array)))
    found = data.read_idx(path)
    assert found.dtype == np.dtype(dtype) and np.array_equal(found, array)
    assert found.flags.writeable


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "begins with two zero bytes, found b''"),
        (b"\x89PNG\r\n\x1a\n", "begins with two zero bytes"),
        (b"\0\0\x07\x01\0\0\0\x01a", "type code among .* found 0x07"),
        (b"\0\0\x08\0a", "rank of 1 to 8, found 0"),
        (b"\0\0\x08\x09" + bytes(36), "rank of 1 to 8, found 9"),
        (b"\0\0\x08\x03\0\0\0\x01", "ends inside its header, after 8 bytes"),
        (idx(DIGITS)[:-1], "120 bytes of data, but only 119 follow"),
        (idx(DIGITS) + b"x", "120 bytes of data, but more follow"),
        (gzip.compress(idx(DIGITS))[:-9], "cannot be read as IDX"),
        (gzip.compress(idx(DIGITS) + bytes(10**6)), "but more follow"),
        (b"\0\0\x08\x04" + b"\xff" * 16, "more than the 67108944 bytes allowed"),
        (b"\0\0\x08\x04\0\0\0\0" + b"\xff" * 12, "bytes allowed"),
        (gzip.compress(b"\0\0\x0e\x02\0\x01\0\0\0\x01\0\0"), "bytes allowed"),
    ],
)
def test_bad_idx_files_are_refused_by_name(tmp_path, content, message):
    path = tmp_path / "bad-idx"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=f"bad-idx: .*{message}"):
        data.read_idx(path)


def test_idx_limit_is_the_callers_to_set(tmp_path):
    path = tmp_path / "array"
    path.write_bytes(idx(DIGITS))
    assert data.read_idx(path, max_bytes=120).shape == DIGITS.shape
    with pytest.raises(FormatError, match="more than the 119 bytes allowed"):
        data.read_idx(path, max_bytes=119)


@pytest.mark.parametrize(
    "folder, dash, suffix", [("", "-", ""), ("", ".", ".gz"), ("MNIST/raw", "-", ".gz")]
)
def test_mnist_is_found_in_its_usual_places(tmp_path, folder, dash, suffix):
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    pack = gzip.compress if suffix else bytes
    stem = tmp_path / folder
    (stem / f"t10k-images{dash}idx3-ubyte{suffix}").write_bytes(pack(idx(DIGITS)))
    (stem / f"t10k-labels{dash}idx1-ubyte{suffix}").write_bytes(pack(idx(LABELS.astype("u1"))))
    dataset = data.MNIST(tmp_path, train=False)
    assert dataset.images.shape == (6, 1, 5, 4) and np.array_equal(dataset.labels, LABELS)
    with pytest.raises(FileNotFoundError, match=r"train-images-idx3-ubyte\[.gz\] is neither in"):
        data.MNIST(tmp_path)


def test_idx_files_that_do_not_belong_together_are_refused(tmp_path):
    images, labels = tmp_path / "images", tmp_path / "labels"
    images.write_bytes(idx(DIGITS))
    labels.write_bytes(idx(np.zeros(5, np.uint8)))
    with pytest.raises(FormatError, match=r"images: cannot be read as images for .*equal length"):
        data.IdxDataset(images, labels)


# CIFAR


@pytest.fixture(params=["bin", "python 2", 2, 3, 4, 5])
def cifar10(request, tmp_path):
    """A folder with a test batch of six images, in each version of the format."""
    folder = tmp_path / ("cifar-10-batches-bin" if request.param == "bin" else "")
    folder.mkdir(exist_ok=True)
    if request.param == "bin":
        records = np.concatenate([LABELS[:, None].astype(np.uint8), PIXELS.reshape(6, -1)], axis=1)
        (folder / "test_batch.bin").write_bytes(records.tobytes())
    elif request.param == "python 2":
        (folder / "test_batch").write_bytes(python2_pickle(PIXELS.reshape(6, -1), LABELS))
    else:
        (folder / "test_batch").write_bytes(cifar_pickle(request.param))
    return tmp_path


def test_cifar10_is_read_in_every_version(cifar10):
    dataset = data.CIFAR10(cifar10, train=False)
    assert np.array_equal(dataset.images, PIXELS) and np.array_equal(dataset.labels, LABELS)
    assert dataset.classes[9] == "truck"
    with pytest.raises(FileNotFoundError, match=r"no data_batch_1.bin and no data_batch_1 in"):
        data.CIFAR10(cifar10)


def test_cifar10_training_set_is_five_files_or_an_error(tmp_path):
    record = b"\5" + PIXELS[0].tobytes()
    for number in range(1, 5):
        (tmp_path / f"data_batch_{number}.bin").write_bytes(record)
    with pytest.raises(FileNotFoundError, match=r"data_batch_5.bin is missing beside"):
        data.CIFAR10(tmp_path)
    (tmp_path / "data_batch_5.bin").write_bytes(record * 2)
    assert len(data.CIFAR10(tmp_path)) == 6


def test_cifar100_has_two_kinds_of_labels(tmp_path):
    binary, python = tmp_path / "binary", tmp_path / "python"
    for folder in (binary, python):
        folder.mkdir()
    pixels = PIXELS[:1].reshape(1, -1)
    (binary / "train.bin").write_bytes(bytes([19, 99]) + pixels.tobytes())
    content = {"data": pixels, "fine_labels": [99], "coarse_labels": np.array([19])}
    (python / "train").write_bytes(pickle.dumps(content))
    for folder in (binary, python):
        fine, coarse = data.CIFAR100(folder), data.CIFAR100(folder, coarse=True)
        assert fine.labels.tolist() == [99] and fine.classes[99] == "worm"
        assert coarse.labels.tolist() == [19] and coarse.classes[19] == "vehicles_2"
        assert len(fine.classes) == 100 and len(coarse.classes) == 20


@pytest.mark.parametrize(
    "content, message",
    [
        (bytes(3072), "multiple of 3073 bytes, found 3072"),
        (b"", "multiple of 3073 bytes, found 0"),
        (b"\x0a" + bytes(3072), "labels of 0 to 9, found 10 in record 0"),
    ],
)
def test_bad_binary_cifar_is_refused_by_name(tmp_path, content, message):
    (tmp_path / "test_batch.bin").write_bytes(content)
    with pytest.raises(FormatError, match=f"test_batch.bin: .*{message}"):
        data.CIFAR10(tmp_path, train=False)


NESTED: list = []
NESTED.append(NESTED)


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "cannot be read as a CIFAR file"),
        (b"not a pickle at all", "cannot be read as a CIFAR file|is refused"),
        (cifar_pickle(4)[:-40], "CIFAR"),
        (pickle.dumps([1, 2]), "expected a pickled dictionary, found list"),
        (pickle.dumps({"data": 1}), r"no 'labels' in it, it holds \['data'\]"),
        (cifar_pickle(4, data=PIXELS), r"shape \(N, 3072\), found \(6, 3, 32, 32\)"),
        (cifar_pickle(4, data=PIXELS.reshape(6, -1) / 2), "'data' to be an array of uint8"),
        (cifar_pickle(4, data=[1]), "expected 'data' to be an array of uint8"),
        (cifar_pickle(4, labels=[1, 2]), r"expected 6 integer labels, found int64 of shape \(2,\)"),
        (cifar_pickle(4, labels=[1, 2, 3, 4, 5, -6]), "found -6 in record 5"),
        (cifar_pickle(4, labels=["a"] * 6), "expected 'labels' to be integers"),
        (cifar_pickle(4, labels=NESTED), "expected 'labels' to be integers"),
        (cifar_pickle(4, labels=np.array([None] * 6)), "array of numbers, found type 'O8'"),
        (cifar_pickle(4, extra=np.zeros(2, "i4,f4")), "array of numbers, found type 'V8'"),
        (cifar_pickle(4, extra={1: 2}), "expected a string, found int"),
        (cifar_pickle(4, extra={1, 2}), "opcode EMPTY_SET at byte .* is refused"),
        (cifar_pickle(0), "opcode .* is refused"),
        (cifar_pickle(4, extra=Path("/etc")), r"wants to run pathlib\S*Path, which is refused"),
        (b"\x80\x02(K\x01K\x02u.", "CIFAR file"),
        (b"\x80\x02" + b"N" + b"\x85" * 100_000 + b".", "a pickled dictionary, found tuple"),
        (b"\x80\x02}N" + b"\x85" * 100_000 + b"K\x01s.", "expected a string, found tuple"),
        (b"\x80\x02}r\xff\xff\xff\xffj\xfe\xff\xff\xff.", "recalls value 4294967294"),
        (b"\x80\x04\x8e" + b"\xff" * 7 + b"\x7f.", "CIFAR file"),
    ],
)  # fmt: skip
def test_bad_python_cifar_is_refused_by_name(tmp_path, content, message):
    (tmp_path / "test_batch").write_bytes(content)
    with pytest.raises(FormatError, match=f"test_batch: .*({message})"):
        data.CIFAR10(tmp_path, train=False)


class Command:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "command",
    [
        Command(os.system, "echo > owned"),
        Command(eval, "open('owned', 'w')"),
        Command(getattr, int, "real"),
        Command(subprocess.Popen, ["touch", "owned"]),
        Command(np.load, "owned"),
    ],
)
def test_a_pickle_runs_nothing(tmp_path, monkeypatch, protocol, command):
    monkeypatch.chdir(tmp_path)
    Path("test_batch").write_bytes(cifar_pickle(protocol, extra=command))
    with pytest.raises(FormatError, match=r"test_batch: .*refused"):
        data.CIFAR10(".", train=False)
    assert os.listdir() == ["test_batch"]


# .npz


def test_npz_is_read_as_numpy_wrote_it(tmp_path):
    path = tmp_path / "set.npz"
    arrays = {
        "images": PIXELS.transpose(0, 2, 3, 1),
        "labels": LABELS.astype(">i2"),
        "names": np.array(["cat", "dog"]),
        "empty": np.zeros((0, 3)),
        "fortran": np.asfortranarray(DIGITS),
    }
    for save in (np.savez, np.savez_compressed):
        save(path, **arrays)
        found = data.read_npz(path)
        assert all(np.array_equal(found[name], array) for name, array in arrays.items())
        dataset = data.NpzDataset(path, layout="NHWC", classes=list("abcdefghij"))
        assert np.array_equal(dataset.images, PIXELS) and dataset.labels.dtype == np.int64


def test_npz_without_the_named_arrays_says_what_it_holds(tmp_path):
    np.savez(tmp_path / "set.npz", x=PIXELS, y=LABELS[:4])
    with pytest.raises(FormatError, match=r"set.npz: no array 'images' in it, .*\['x', 'y'\]"):
        data.NpzDataset(tmp_path / "set.npz")
    with pytest.raises(FormatError, match=r"set.npz: .*equal length"):
        data.NpzDataset(tmp_path / "set.npz", "x", "y")


def npy(shape, content=b"", dtype="|u1", version=b"\1\0"):
    header = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY" + version + struct.pack("<H", len(header)) + header + content


@pytest.mark.parametrize(
    "name, content, method, message",
    [
        ("a.txt", b"", zipfile.ZIP_STORED, "expected only .npy members, found 'a.txt'"),
        ("a.npy", npy((2,), b"12"), zipfile.ZIP_BZIP2, "or deflate, found method 12"),
        ("a.npy", npy((3,), b"12"), zipfile.ZIP_DEFLATED, "3 bytes of data, but 2 follow"),
        ("a.npy", npy((1,), b"12"), zipfile.ZIP_DEFLATED, "1 bytes of data, but 2 follow"),
        ("a.npy", npy((2**40, 2**40)), zipfile.ZIP_STORED, "but 0 follow"),
        ("a.npy", npy((-1, -2), b"12"), zipfile.ZIP_STORED, "but 2 follow"),
        ("a.npy", npy((1,), b"12345678", "|O"), zipfile.ZIP_STORED, "numbers or strings"),
        ("a.npy", npy((2,), b"12", version=b"\7\0"), zipfile.ZIP_STORED, r"found \(7, 0\)"),
        ("a.npy", npy("(" * 3000), zipfile.ZIP_STORED, "cannot be read as an .npz archive"),
        ("a.npy", b"nothing", zipfile.ZIP_STORED, "cannot be read as an .npz archive"),
    ],
)
def test_bad_npz_members_are_refused_by_name(tmp_path, name, content, method, message):
    path = tmp_path / "bad.npz"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr(name, content)
    with pytest.raises(FormatError, match=f"bad.npz: .*{message}"):
        data.read_npz(path)


def test_npz_holds_no_objects_and_is_no_bomb(tmp_path, monkeypatch):
    path = tmp_path / "bad.npz"
    np.savez(path, a=np.array([Command(os.system, "echo > owned")], dtype=object))
    with pytest.raises(FormatError, match=r"bad.npz: a.npy: expected numbers or strings"):
        data.read_npz(path)
    np.savez_compressed(path, a=np.zeros(10**6, np.uint8))
    assert data.read_npz(path)["a"].size == 10**6
    monkeypatch.setattr(reading, "HEADROOM", 0)
    with pytest.raises(FormatError, match=r"unpacks to 1000128 bytes, more than the \d+ allowed"):
        data.read_npz(path)
    assert data.read_npz(path, max_bytes=10**7)["a"].size == 10**6


# Every reader


def readers():
    """A small good file of each kind and its reader."""
    record = np.concatenate([LABELS[:, None].astype(np.uint8), PIXELS.reshape(6, -1)], axis=1)
    return {
        "idx": (idx(DIGITS), data.read_idx),
        "idx.gz": (gzip.compress(idx(DIGITS), mtime=0), data.read_idx),
        "test_batch.bin": (record[:1].tobytes(), lambda path: data.CIFAR10(path.parent, False)),
        "test_batch": (
            python2_pickle(PIXELS[:1].reshape(1, -1), LABELS[:1]),
            lambda path: data.CIFAR10(path.parent, False),
        ),
        "set.npz": (None, data.NpzDataset),
    }


@pytest.mark.parametrize("name", readers())
def test_damaged_files_are_read_or_refused_but_never_crash(tmp_path, name):
    content, read = readers()[name]
    path = tmp_path / name
    if content is None:
        np.savez_compressed(path, images=DIGITS[:2], labels=LABELS[:2])
        content = path.read_bytes()
    path.write_bytes(content)
    read(path)
    rng = np.random.default_rng(1)
    refused = 0
    for trial in range(400):
        # The structure is at the ends: half of the damage goes there.
        reach = len(content) if trial % 2 else min(len(content), 160)
        place = int(rng.integers(reach)) * (1 if trial % 4 < 2 else -1)
        damaged = bytearray(content[:place] if trial % 3 == 0 else content)
        if damaged and trial % 3:
            damaged[place % len(damaged)] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            read(path)
        except FormatError as error:
            assert str(error).startswith(str(path))
            refused += 1
    assert refused > 100


@pytest.mark.parametrize("read", [data.read_idx, data.read_npz, data.NpzDataset, data.read_image])
def test_missing_files_are_the_systems_error(tmp_path, read):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read(tmp_path / "nowhere")
    with pytest.raises(IsADirectoryError):
        read(tmp_path)
