"""Datasets: arrays, views of other datasets, the embedded digits, image folders."""

import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from cnnfast import data
from cnnfast.errors import FormatError

Image = pytest.importorskip("PIL.Image")

RNG = np.random.default_rng(5)
PIXELS = RNG.integers(256, size=(6, 3, 32, 32), dtype=np.uint8)
DIGITS = RNG.integers(256, size=(6, 5, 4), dtype=np.uint8)
LABELS = np.array([3, 0, 9, 1, 1, 7])


# Arrays


def test_array_dataset_gives_images_labels_and_names():
    dataset = data.ArrayDataset(DIGITS, LABELS.astype(np.uint8))
    image, label = dataset[2]
    assert len(dataset) == 6 and dataset.classes == list("0123456789")
    assert image.shape == (1, 5, 4) and image.dtype == np.uint8 and label == 9
    images, labels = dataset.batch(np.array([4, 0]))
    assert images.shape == (2, 1, 5, 4) and labels.dtype == np.int64 and labels.tolist() == [1, 3]


@pytest.mark.parametrize(
    "index, expected",
    [
        (slice(1, None, 2), [0, 1, 7]),
        ([-1, 0], [7, 3]),
        (np.array([True, False, False, True, False, False]), [3, 1]),
        ([], []),
    ],
)
def test_a_dataset_is_indexed_like_an_array(index, expected):
    assert data.ArrayDataset(DIGITS, LABELS)[index][1].tolist() == expected


def test_a_dataset_ends_where_it_says_so():
    assert [int(label) for _, label in data.ArrayDataset(DIGITS, LABELS)] == LABELS.tolist()
    for index in (6, -7, [0, 6]):
        with pytest.raises(IndexError, match="out of range for a dataset of 6"):
            data.ArrayDataset(DIGITS, LABELS)[index]
    for index in (1.0, [[1]], [0.5], [True], "a"):
        with pytest.raises(TypeError, match="a dataset of 6 is indexed by"):
            data.ArrayDataset(DIGITS, LABELS)[index]


def test_nhwc_images_are_viewed_as_nchw():
    images = np.ascontiguousarray(PIXELS.transpose(0, 2, 3, 1))
    dataset = data.ArrayDataset(images, LABELS, layout="NHWC")
    assert np.array_equal(dataset.images, PIXELS) and np.shares_memory(dataset.images, images)


def test_float_images_become_float32_and_soft_labels_stay():
    soft = np.full((6, 4), 0.25)
    dataset = data.ArrayDataset(DIGITS / 255, soft)
    assert dataset.images.dtype == dataset.labels.dtype == np.float32
    assert dataset.classes == list("0123")
    assert data.ArrayDataset(DIGITS, LABELS[:, None]).labels.shape == (6,)


@pytest.mark.parametrize(
    "images, labels, options, message",
    [
        (DIGITS[0], LABELS, {}, r"must be \(N, H, W\)"),
        (DIGITS.astype(np.int64), LABELS, {}, "must be uint8 .* got int64"),
        (DIGITS, LABELS[:5], {}, r"equal length, got shapes \(6, 1, 5, 4\), \(5,\)"),
        (DIGITS, LABELS - 1, {}, "label 1 is -1"),
        (DIGITS, LABELS, {"classes": ["a", "b"]}, "must be 0 to 1, label 0 is 3"),
        (DIGITS, LABELS / 2, {}, "got shape .* of float64"),
        (DIGITS, np.ones((6, 3)), {"classes": ["a"]}, "3 classes, but 1 are named"),
        (DIGITS, LABELS, {"layout": "HWCN"}, "layout must be"),
        (DIGITS, ["cat"] * 6, {}, "labels must be"),
    ],
)
def test_arrays_that_are_no_data_set_are_refused(images, labels, options, message):
    with pytest.raises(ValueError, match=message):
        data.ArrayDataset(images, labels, **options)


def test_tensor_dataset_takes_any_number_of_arrays():
    dataset = data.TensorDataset(np.zeros((4, 2)), [0.5, 1, 2, 3], np.arange(4))
    assert [field.tolist() for field in dataset[1]] == [[0, 0], 1, 1]
    for arrays in ((), (np.zeros(3), np.zeros(4)), (1.0,), (np.array([None]),)):
        with pytest.raises(ValueError, match="expected"):
            data.TensorDataset(*arrays)


def test_subset_concat_and_split_agree_with_plain_indexing():
    whole = data.ArrayDataset(DIGITS, LABELS)
    both = data.Subset(whole, [5, 1]) + data.Subset(whole, slice(2, 4))
    images, labels = both[[3, 0, -2, 1]]
    assert len(both) == 4 and both.classes == whole.classes
    assert labels.tolist() == LABELS[[3, 5, 2, 1]].tolist()
    assert np.array_equal(images[:, 0], DIGITS[[3, 5, 2, 1]])
    assert [len(field) for field in both[[]]] == [0, 0]
    parts = data.random_split(whole, [0.5, 0.3, 0.2], generator=3)
    assert [len(part) for part in parts] == [4, 1, 1]
    assert sorted(np.concatenate([part.indices for part in parts])) == list(range(6))
    again = data.random_split(whole, [4, 1, 1], generator=np.random.default_rng(3))
    assert all(np.array_equal(a.indices, b.indices) for a, b in zip(parts, again, strict=True))


@pytest.mark.parametrize("lengths", [[3, 2], [0.5, 0.4], [7, -1], [1.5, -0.5], []])
def test_random_split_wants_lengths_that_add_up(lengths):
    with pytest.raises(ValueError, match="add up to"):
        data.random_split(data.ArrayDataset(DIGITS, LABELS), lengths)


def test_what_cannot_be_joined_is_refused():
    whole = data.ArrayDataset(DIGITS, LABELS)
    with pytest.raises(ValueError, match=r"must agree, got .*float32 and .*uint8"):
        data.ConcatDataset([whole, data.ArrayDataset(DIGITS / 255, LABELS)])[:]
    with pytest.raises(ValueError, match="at least one dataset"):
        data.ConcatDataset([])
    with pytest.raises(IndexError, match="index 6 "):
        data.Subset(whole, [0, 6])
    with pytest.raises(NotImplementedError, match="must define __getitem__ or batch"):
        data.Dataset().batch(np.arange(2))
    with pytest.raises(NotImplementedError, match="must define __len__"):
        len(data.Dataset())


def test_default_collate_stacks_structures():
    samples = [{"x": (np.zeros(2), 1), "name": "a"}, {"x": (np.ones(2), 2.5), "name": "b"}]
    batch = data.default_collate(samples)
    assert batch["name"] == ["a", "b"] and batch["x"][1].tolist() == [1, 2.5]
    assert batch["x"][0].tolist() == [[0, 0], [1, 1]]
    with pytest.raises(ValueError, match=r"must agree in shape and type, got \(2,\).* and \(3,\)"):
        data.default_collate([np.zeros(2), np.zeros(3)])
    with pytest.raises(ValueError, match=r"float64 and .*uint8"):
        data.default_collate([np.zeros(2), np.zeros(2, np.uint8)])
    with pytest.raises(ValueError, match="same number of fields"):
        data.default_collate([(1, 2), (1,)])
    with pytest.raises(TypeError, match="got object"):
        data.default_collate([object()])


# The embedded digits

# The labels that both parts begin with, written down so that a changed split is noticed.
MNIST5K_TRAIN = [4, 9, 7, 8, 1, 5, 8, 9]
MNIST5K_TEST = [8, 8, 8, 8, 8, 8, 8, 8]


def test_mnist5k_is_split_by_class_and_for_good():
    train, test = data.mnist5k("train"), data.mnist5k("test")
    assert train.images.shape == (4000, 1, 28, 28) and test.images.shape == (1000, 1, 28, 28)
    assert np.bincount(train.labels).tolist() == [400] * 10
    assert np.bincount(test.labels).tolist() == [100] * 10
    assert train.labels[:8].tolist() == MNIST5K_TRAIN and test.labels[:8].tolist() == MNIST5K_TEST
    rows = np.concatenate([train.images, test.images]).reshape(5000, -1)
    with np.load(Path(data.__file__).with_name("mnist5k.npz")) as archive:
        original = archive["images"].reshape(5000, -1)
    assert sorted(map(bytes, rows)) == sorted(map(bytes, original))
    with pytest.raises(ValueError, match='"train" or "test"'):
        data.mnist5k("valid")


# Image folders


@pytest.fixture
def root(tmp_path):
    """Two classes: cat/1.png, cat/more/2.png and dog/3.jpg, of 6 x 5 pixels of one colour each."""
    for name, colour in (("cat/1.png", 10), ("cat/more/2.png", 20), ("dog/3.JPG", 200)):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (5, 6), (colour, 0, 0)).save(path)
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "cat" / ".DS_Store").write_bytes(b"x")
    (tmp_path / "README.txt").write_text("about")
    return tmp_path


def test_image_folder_takes_classes_from_folders(root):
    folder = data.ImageFolder(root)
    assert folder.classes == ["cat", "dog"] and folder.class_to_idx == {"cat": 0, "dog": 1}
    assert [(path.name, label) for path, label in folder.samples] == [
        ("1.png", 0),
        ("2.png", 0),
        ("3.JPG", 1),
    ]
    images, labels = folder[:]
    assert images.shape == (3, 3, 6, 5) and images.dtype == np.uint8
    assert images[:2, 0, 0, 0].tolist() == [10, 20] and labels.tolist() == [0, 0, 1]
    assert not images[:2, 1:].any()
    image, label = folder[-1]
    assert image.shape == (3, 6, 5) and label == 1 and folder.skipped == []
    grey = data.ImageFolder(root, size=(2, 3), mode="L")[[1]][0]
    assert grey.shape == (1, 1, 2, 3) and (grey == 6).all()


def test_images_of_different_sizes_need_a_size(root):
    Image.new("RGB", (7, 6)).save(root / "cat" / "0.png")
    with pytest.raises(
        ValueError, match=r"1.png is 6 x 5 pixels and .*0.png is 6 x 7: give .*size="
    ):
        data.ImageFolder(root)[:]
    assert data.ImageFolder(root, size=4)[:][0].shape == (4, 3, 4, 4)


def damage(root, kind):
    """Put one bad file into `root` and return it with the reason that is expected."""
    good = (root / "cat" / "1.png").read_bytes()
    name, content, reason = {
        "truncated": ("dog/bad.png", good[:-35], "cannot be read as an image"),
        "corrupted": ("dog/bad.png", good[:45] + b"\xff" + good[46:], "cannot be read as an image"),
        "empty": ("dog/bad.png", b"", "cannot be read as an image: cannot identify"),
        "text": ("dog/bad.jpg", b"<html>404</html>", "cannot identify image file"),
        "postscript": ("dog/bad.png", b"%!PS-Adobe-3.0 EPSF-3.0\n", "cannot identify image file"),
        "bomb": ("dog/bad.pgm", b"P5 20000 20000 255\n", "pixels"),
        "large": (
            "dog/bad.pgm",
            b"P5 9000 10000 255\n",
            "9000 x 10000 pixels, more than the 89478485",
        ),
        "deep": ("dog/bad.pgm", b"P5 1 1 65535\n\1\2", r"32 bits \(mode I\)"),
        "foreign": ("dog/bad.csv", b"1,2", "its name has no suffix of an image"),
        "stray": ("bad.png", good, "an image outside of the classes' folders"),
        "void": ("mouse", None, "a class's folder without files"),
    }[kind]
    path = root / name
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    return path, reason


KINDS = [
    "truncated", "corrupted", "empty", "text", "postscript", "bomb", "large", "deep", "foreign",
    "stray", "void",
]  # fmt: skip


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_bad_files_are_refused_by_name(root, kind):
    path, reason = damage(root, kind)
    with pytest.raises(FormatError, match=f"{path}: .*{reason}"):
        data.ImageFolder(root, size=8)[:]


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_bad_files_are_skipped_by_choice_with_one_warning(root, kind):
    path, reason = damage(root, kind)
    with pytest.warns(UserWarning, match=rf"^1 left out: {path} \(.*{reason}.*\)$"):
        folder = data.ImageFolder(root, on_error="skip")
    assert len(folder) == 3 and len(folder[:][1]) == 3
    assert [skipped for skipped, _ in folder.skipped] == [path]
    assert "mouse" in folder.classes if kind == "void" else folder.classes == ["cat", "dog"]


def test_a_clean_folder_gives_no_warning_and_a_bad_one_no_dataset(root, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(data.ImageFolder(root, on_error="skip")) == 3
    for path in root.rglob("*.*"):
        if path.suffix in (".png", ".JPG"):
            path.write_bytes(b"")
    with (
        pytest.warns(UserWarning, match=r"^3 left out: .*1\.png .*2\.png .*3\.JPG "),
        pytest.raises(FormatError, match="no image in it can be read"),
    ):
        data.ImageFolder(root, on_error="skip")


def test_what_is_no_image_folder_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere is no folder"):
        data.ImageFolder(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="has no folders, expected one for each class"):
        data.ImageFolder(tmp_path)
    for options in ({"on_error": "ignore"}, {"size": 0}, {"size": (3, -1)}):
        (tmp_path / "cat").mkdir(exist_ok=True)
        with pytest.raises(ValueError, match="must be"):
            data.ImageFolder(tmp_path, **options)


@pytest.mark.parametrize("format", ["png", "bmp", "ppm", "tiff", "webp", "gif", "jpeg"])
def test_common_formats_are_read(tmp_path, format):
    pixels = np.full((4, 6, 3), 128, np.uint8)
    path = tmp_path / f"image.{format}"
    Image.fromarray(pixels).save(path)
    assert data.read_image(path).shape == (3, 4, 6)
    assert np.abs(data.read_image(path, mode="L").astype(int) - 128).max() <= 2


def test_sixteen_bit_images_are_scaled_not_clipped(tmp_path):
    Image.fromarray(np.array([[0, 256, 65535]], np.uint16)).save(tmp_path / "deep.png")
    assert data.read_image(tmp_path / "deep.png", mode="L").tolist() == [[[0, 1, 255]]]
    with pytest.raises(ValueError, match='mode must be "RGB" or "L"'):
        data.read_image(tmp_path / "deep.png", mode="CMYK")


def test_pillow_is_asked_for_by_its_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r'pip install "cnnfast\[images\]"'):
        data.read_image(tmp_path / "image.png")
