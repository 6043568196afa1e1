"""Transforms of whole batches, against one-image references and by their invariants."""

import numpy as np
import pytest

from cnnfast.data import transforms as T
from cnnfast.data.imaging import resize, rotate

RNG = np.random.default_rng(11)
COLOUR = RNG.integers(256, size=(40, 3, 12, 10), dtype=np.uint8)
GREY = RNG.integers(256, size=(40, 1, 12, 10), dtype=np.uint8)
LABELS = np.arange(40) % 5

ALL = [
    T.Compose([]),
    T.ToFloat(),
    T.Normalize(0.5, 0.25),
    T.Resize((7, 21)),
    T.CenterCrop(5),
    T.RandomHorizontalFlip(),
    T.RandomVerticalFlip(0.3),
    T.RandomCrop((8, 6), padding=2),
    T.RandomCrop(10, padding=3, padding_mode="reflect"),
    T.RandomTranslation(3),
    T.RandomRotation(30),
    T.ColorJitter(0.4, 0.4, 0.4),
    T.RandomErasing(0.7),
    T.RandomErasing(1, value="random"),
    T.MixUp(0.4, 5),
]


def apply(transform, images, labels=LABELS, seed=0):
    return transform(images, labels, np.random.default_rng(seed))


def as_float(images):
    return images.astype(np.float32) / 255


@pytest.mark.parametrize("transform", ALL, ids=repr)
@pytest.mark.parametrize("images", [COLOUR, GREY, as_float(COLOUR)], ids=["rgb", "grey", "float"])
def test_every_transform_is_repeatable_and_leaves_its_arguments(transform, images):
    kept, kept_labels = images.copy(), LABELS.copy()
    result, labels = apply(transform, images)
    again, labels_again = apply(transform, images)
    assert np.array_equal(result, again) and np.array_equal(labels, labels_again)
    assert np.array_equal(images, kept) and np.array_equal(LABELS, kept_labels)
    floating = isinstance(transform, (T.ToFloat, T.Normalize))
    assert result.dtype == (np.float32 if floating else images.dtype)
    assert result.shape[:2] == images.shape[:2] and len(labels) == len(images)


@pytest.mark.parametrize("transform", ALL[1:], ids=repr)
def test_every_transform_takes_any_strides_no_images_and_nothing_else(transform):
    mirrored = np.ascontiguousarray(COLOUR.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    assert np.array_equal(apply(transform, mirrored)[0], apply(transform, COLOUR)[0])
    assert len(apply(transform, COLOUR[:0], LABELS[:0])[0]) == 0
    for wrong in (COLOUR[0], COLOUR.astype(np.int64)):
        with pytest.raises(ValueError, match=r"expected images \(N, C, H, W\) of uint8 or float32"):
            apply(transform, wrong)


@pytest.mark.parametrize(
    "transform",
    [T.Resize(24), T.CenterCrop(9), T.RandomRotation(20), T.RandomCrop(9), T.ColorJitter(0.5, 0.5)],
    ids=repr,
)
def test_uint8_is_the_float_result_rounded(transform):
    whole, _ = apply(transform, COLOUR)
    floating, _ = apply(transform, as_float(COLOUR))
    assert np.abs(whole - 255 * floating).max() <= 0.501


def test_normalize_is_division_by_255_then_mean_and_std():
    mean, std = np.array([0.4, 0.5, 0.6]), np.array([0.1, 0.2, 0.3])
    expected = (COLOUR / 255 - mean[:, None, None]) / std[:, None, None]
    for images in (COLOUR, as_float(COLOUR)):
        result, labels = apply(T.Normalize(mean.tolist(), tuple(std)), images)
        assert labels is LABELS and np.allclose(result, expected, atol=2e-6)
    assert np.allclose(apply(T.ToFloat(), COLOUR)[0], COLOUR / 255)


def test_flips_flip_whole_images_about_half_of_the_time():
    for transform, axis in ((T.RandomHorizontalFlip(), 2), (T.RandomVerticalFlip(), 1)):
        result, _ = apply(transform, COLOUR)
        flipped = [np.array_equal(a, np.flip(b, axis)) for a, b in zip(result, COLOUR, strict=True)]
        kept = [np.array_equal(a, b) for a, b in zip(result, COLOUR, strict=True)]
        assert sum(flipped) + sum(kept) == 40 and 10 <= sum(flipped) <= 30
    assert np.array_equal(apply(T.RandomHorizontalFlip(1), COLOUR)[0], COLOUR[..., ::-1])
    assert np.array_equal(apply(T.RandomVerticalFlip(0), COLOUR)[0], COLOUR)


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "symmetric"])
def test_crops_are_windows_of_the_padded_image(mode):
    crop = T.RandomCrop((9, 8), padding=(2, 1), fill=7, padding_mode=mode)
    result, _ = apply(crop, COLOUR)
    options = {"constant_values": 7} if mode == "constant" else {}
    padded = np.pad(COLOUR, ((0, 0), (0, 0), (2, 2), (1, 1)), mode, **options)
    places = set()
    for image, source in zip(result, padded, strict=True):
        found = [
            (top, left)
            for top in range(16 - 9 + 1)
            for left in range(12 - 8 + 1)
            if np.array_equal(image, source[:, top : top + 9, left : left + 8])
        ]
        assert len(found) >= 1
        places.update(found)
    assert {top for top, _ in places} == set(range(8)) and {left for _, left in places} == {
        *range(5)
    }


def test_translation_moves_by_whole_pixels_and_fills():
    image = np.zeros((300, 1, 5, 5), np.uint8)
    image[:, :, 2, 2] = 200
    result, _ = apply(T.RandomTranslation((2, 1), fill=9), image, np.zeros(300))
    _, _, rows, columns = np.nonzero(result == 200)
    assert len(rows) == 300 and set(rows) == {0, 1, 2, 3, 4} and set(columns) == {1, 2, 3}
    assert set(np.unique(result)) == {0, 9, 200}


def test_rotation_agrees_with_pillow():
    image = pytest.importorskip("PIL.Image")
    smooth = np.add.outer(np.arange(20) * 5, np.arange(16) * 7).astype(np.uint8)[None, None]
    for angle in (0, 17, -45, 90, 180, 233.5):
        ours = rotate(smooth, np.array([angle]), fill=0)[0, 0].astype(int)
        theirs = image.fromarray(smooth[0, 0]).rotate(angle, image.Resampling.BILINEAR)
        # Pillow does not blend the border with the filling, so only the middle is alike.
        assert np.abs(ours - np.asarray(theirs, int))[6:-6, 5:-5].max() <= 1
    assert np.array_equal(rotate(COLOUR, np.zeros(40), 0), COLOUR)
    square = COLOUR[:, :, :10]
    assert np.array_equal(rotate(square, np.full(40, 90.0), 0), np.rot90(square, axes=(2, 3)))


def test_rotation_fills_and_stays_within_its_angles():
    ones = np.ones((200, 1, 9, 9), np.float32)
    result, _ = apply(T.RandomRotation(45, fill=3), ones)
    assert result.min() >= 1 - 1e-6 and result.max() <= 3 + 1e-6 and (result[:, 0, 4, 4] == 1).all()
    bar = np.zeros((200, 1, 41, 41), np.float32)
    bar[:, :, 20, 20:] = 1
    result, _ = apply(T.RandomRotation((30, 60)), bar)
    _, _, rows, columns = np.nonzero(result > 0.6)
    away = columns > 25
    angles = np.rad2deg(np.arctan2(20 - rows[away], columns[away] - 20))
    assert 26 < angles.min() < 33 and 57 < angles.max() < 64


@pytest.mark.parametrize("size", [(12, 10), (24, 20), (5, 3), (1, 1), (13, 4), (3, 40)])
def test_resize_agrees_with_torch(size):
    torch = pytest.importorskip("torch")
    images = as_float(COLOUR)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(images), size, mode="bilinear", antialias=True
    )
    assert np.allclose(resize(images, *size), expected.numpy(), atol=1e-5)


def test_resize_and_center_crop_follow_torchvision():
    assert apply(T.Resize(5), COLOUR)[0].shape == (40, 3, 6, 5)
    assert apply(T.Resize(20), COLOUR)[0].shape == (40, 3, 24, 20)
    assert np.array_equal(apply(T.CenterCrop((4, 7)), COLOUR)[0], COLOUR[:, :, 4:8, 2:9])


def jitter_one(image, order, factors):
    """torchvision's definition on one image (3, H, W) in 0..1."""
    grey = lambda x: 0.2989 * x[0] + 0.587 * x[1] + 0.114 * x[2]  # noqa: E731
    for name in order:
        other = {
            "brightness": lambda x: 0 * x,
            "contrast": lambda x: np.full_like(x, grey(x).mean()),
            "saturation": lambda x: np.stack([grey(x)] * 3),
        }[name](image)
        image = np.clip(factors[name] * image + (1 - factors[name]) * other, 0, 1)
    return image


def test_color_jitter_is_torchvisions():
    images = as_float(COLOUR)
    transform = T.ColorJitter(brightness=0.5, contrast=(0.2, 1.9), saturation=0.8)
    result, _ = apply(transform, images, seed=4)
    rng = np.random.default_rng(4)
    order = rng.permutation(["brightness", "contrast", "saturation"]).tolist()
    spans = {"brightness": (0.5, 1.5), "contrast": (0.2, 1.9), "saturation": (0.2, 1.8)}
    factors = {name: rng.uniform(*spans[name], (40, 1, 1, 1)).ravel() for name in order}
    for n, image in enumerate(images.astype(np.float64)):
        expected = jitter_one(image, order, {name: factors[name][n] for name in order})
        assert np.allclose(result[n], expected, atol=1e-5)


def test_color_jitter_leaves_what_it_is_not_asked_to_change():
    assert np.array_equal(apply(T.ColorJitter(), COLOUR)[0], COLOUR)
    assert np.array_equal(apply(T.ColorJitter(saturation=0.9), GREY)[0], GREY)
    with pytest.raises(ValueError, match="needs 1 or 3 channels, got 2"):
        apply(T.ColorJitter(0.5), COLOUR[:, :2])


def test_erasing_overwrites_one_rectangle_of_the_right_size():
    images = np.full((2000, 3, 32, 24), 9, np.uint8)
    result, _ = apply(T.RandomErasing(0.75, value=(1, 2, 3)), images, np.zeros(2000))
    erased = (result != images).any(axis=1)
    heights, widths = erased.any(axis=2).sum(axis=1), erased.any(axis=1).sum(axis=1)
    area = erased.sum(axis=(1, 2))
    hit = area > 0
    assert np.array_equal(area, heights * widths) and 0.72 < hit.mean() < 0.78
    assert (result.transpose(0, 2, 3, 1)[erased] == [1, 2, 3]).all()
    # The sides are rounded to pixels, which moves share and ratio a little.
    share, ratio = area[hit] / (32 * 24), heights[hit] / widths[hit]
    assert 0.01 < share.min() < 0.03 and 0.3 < share.max() < 0.36
    assert 0.2 < ratio.min() < 0.35 and 2.9 < ratio.max() < 4.5
    assert abs(np.log(ratio)).mean() > 0.4


def test_erasing_with_noise_or_of_nothing():
    noise, _ = apply(T.RandomErasing(1, value="random"), as_float(COLOUR))
    assert (noise < 0).any()
    coarse, _ = apply(T.RandomErasing(1, value="random"), np.zeros_like(COLOUR))
    assert len(np.unique(coarse)) > 100
    everything = T.RandomErasing(1, scale=(1, 1), ratio=(1, 1))
    assert np.array_equal(apply(everything, COLOUR)[0], COLOUR)


def test_mixup_blends_images_and_labels_alike():
    images = np.zeros((64, 8, 2, 2), np.float32)
    labels = np.arange(64) % 8
    images[np.arange(64), labels] = 1
    mixed, soft = apply(T.MixUp(1.0, 8), images, labels)
    assert soft.dtype == np.float32 and np.allclose(soft.sum(axis=1), 1)
    assert np.allclose(mixed, soft[:, :, None, None] * np.ones((2, 2)), atol=1e-6)
    assert ((soft > 0).sum(axis=1) == 2).mean() > 0.7
    _, softer = apply(T.MixUp(1.0, 8), mixed, soft)
    assert np.allclose(softer.sum(axis=1), 1)


@pytest.mark.parametrize(
    "labels, message",
    [
        (np.array([0, 3]), "labels must be 0 to 2, got 0 to 3"),
        (np.array([0.0, 1.0]), "expected labels .* got shape .* of float64"),
        (np.ones((2, 4)), r"or \(N, 3\), got shape \(2, 4\)"),
    ],
)
def test_mixup_refuses_labels_of_other_classes(labels, message):
    with pytest.raises(ValueError, match=message):
        apply(T.MixUp(0.2, 3), COLOUR[:2], labels)


def test_compose_applies_in_order_and_takes_any_function():
    composed = T.Compose([T.RandomCrop(9), lambda images, labels, rng: (images + 1, labels * 2)])
    images, labels = apply(composed, COLOUR)
    cropped, _ = apply(T.RandomCrop(9), COLOUR)
    assert np.array_equal(images, cropped + 1) and np.array_equal(labels, LABELS * 2)
    assert repr(T.Compose([T.RandomCrop(9)])) == (
        "Compose([RandomCrop(size=9, padding=0, fill=0, padding_mode='constant')])"
    )


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: T.Normalize(0.5, (0.1, 0)), "std must be positive"),
        (lambda: T.RandomHorizontalFlip(1.5), "p must be a probability"),
        (lambda: T.RandomVerticalFlip(-1), "p must be a probability"),
        (lambda: T.RandomErasing(2), "p must be a probability"),
        (lambda: T.RandomErasing(scale=(0.5, 0.2)), "scale must be"),
        (lambda: T.RandomErasing(ratio=(0, 2)), "ratio must be"),
        (lambda: T.RandomErasing(value="white"), "value must be"),
        (lambda: T.RandomCrop(0), "size must be one or two integers of at least 1"),
        (lambda: T.RandomCrop((4, 4, 4)), "size must be"),
        (lambda: T.RandomCrop(4, padding=-1), "padding must be"),
        (lambda: T.RandomCrop(4, padding_mode="wrap"), "padding_mode must be one of"),
        (lambda: T.RandomTranslation(0.1), "pixels must be one or two integers"),
        (lambda: T.RandomRotation(-5), "degrees must not be negative"),
        (lambda: T.RandomRotation((5, -5)), "degrees must be"),
        (lambda: T.ColorJitter(brightness=-0.1), "brightness must not be negative"),
        (lambda: T.ColorJitter(contrast=(-0.1, 1)), "contrast must be"),
        (lambda: T.MixUp(0, 10), "must be positive"),
        (lambda: T.Resize(0), "size must be"),
        (lambda: T.CenterCrop("all"), "size must be"),
    ],
)
def test_senseless_arguments_are_refused_at_once(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "transform, message",
    [
        (T.Normalize((0.5, 0.5), 1), "mean has 2 and std 1 numbers, the images have 3 channels"),
        (T.RandomCrop(13), "RandomCrop of 13 x 13 pixels from images of 12 x 10"),
        (T.CenterCrop(11), "CenterCrop of 11 x 11 pixels from images of 12 x 10"),
        (T.RandomErasing(value=(1, 2)), "value has 2 numbers for 3 channels"),
    ],
)
def test_images_that_do_not_fit_are_refused(transform, message):
    with pytest.raises(ValueError, match=message):
        apply(transform, COLOUR)
