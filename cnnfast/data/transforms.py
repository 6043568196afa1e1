"""Transforms of whole batches, for training and evaluation.

A transform is called as ``transform(images, labels, rng)`` and returns new ``(images, labels)``:
images (N, C, H, W), uint8 in 0..255 or float32 in 0..1; labels int64 (N,) or float32 (N, K).
Random ones draw for each image on its own from `rng`, a ``numpy.random.Generator`` that
`DataLoader` derives from its seed, the epoch and the number of the batch. Arguments are never
changed in place. uint8 stays uint8, at a quarter of the memory, until `ToFloat` or `Normalize`.
Any function of that signature is a transform too. Names and meanings are torchvision's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cnnfast.data.geometric import (
    CenterCrop,
    RandomCrop,
    RandomHorizontalFlip,
    RandomRotation,
    RandomTranslation,
    RandomVerticalFlip,
    Resize,
)
from cnnfast.data.imaging import (
    Array,
    Batch,
    Transform,
    as_images,
    as_span,
    as_type,
    check_probability,
    choose,
)

__all__ = [
    "CenterCrop",
    "ColorJitter",
    "Compose",
    "MixUp",
    "Normalize",
    "RandomCrop",
    "RandomErasing",
    "RandomHorizontalFlip",
    "RandomRotation",
    "RandomTranslation",
    "RandomVerticalFlip",
    "Resize",
    "ToFloat",
    "Transform",
]

# The weights of red, green and blue in grey: ITU-R BT.601, as torchvision rounds them.
_GREY = np.array([0.2989, 0.587, 0.114], np.float32)[:, None, None]


class Compose:
    """Apply transforms one after the other.

    Parameters
    ----------
    transforms : sequence of Transform
        In the order of application.

    Examples
    --------
    >>> import numpy as np
    >>> from cnnfast.data import transforms
    >>> augment = transforms.Compose(
    ...     [transforms.RandomHorizontalFlip(), transforms.Normalize(mean=0.5, std=0.25)]
    ... )
    >>> images, labels = np.zeros((8, 3, 32, 32), np.uint8), np.arange(8)
    >>> augment(images, labels, np.random.default_rng(0))[0].dtype.name
    'float32'
    """

    def __init__(self, transforms: Sequence[Transform]) -> None:
        self.transforms = list(transforms)

    def __call__(self, images: Array, labels: Array, rng: np.random.Generator) -> Batch:
        for transform in self.transforms:
            images, labels = transform(images, labels, rng)
        return images, labels

    def __repr__(self) -> str:
        return f"Compose({self.transforms!r})"


@dataclass(eq=False)
class ToFloat:
    """Turn uint8 images of 0..255 into float32 images of 0..1; leave float32 images as they are."""

    def __call__(self, images: Array, labels: Array, rng: np.random.Generator) -> Batch:
        images = as_images(images)
        if images.dtype == np.uint8:
            images = np.multiply(images, np.float32(1 / 255), dtype=np.float32)
        return images, labels


@dataclass(eq=False)
class Normalize:
    """Subtract the mean and divide by the standard deviation, by channel; returns float32.

    uint8 images are first divided by 255, so `mean` and `std` are always those of images in
    0..1, as in torchvision's ``ToTensor`` followed by ``Normalize``.

    Parameters
    ----------
    mean, std : float or sequence of float
        One number for all channels, or one for each.

    Raises
    ------
    ValueError
        If `std` has a zero, or the numbers do not fit the channels of a batch.

    Examples
    --------
    >>> from cnnfast.data.transforms import Normalize
    >>> imagenet = Normalize(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    """

    mean: float | Sequence[float]
    std: float | Sequence[float]

    def __post_init__(self) -> None:
        if not np.all(np.asarray(self.std) > 0):
            raise ValueError(f"std must be positive, got {self.std}")

    def __call__(self, images: Array, labels: Array, rng: np.random.Generator) -> Batch:
        images = as_images(images)
        mean, std = np.ravel(self.mean), np.ravel(self.std)
        channels = images.shape[1]
        if len(mean) not in (1, channels) or len(std) not in (1, channels):
            raise ValueError(
                f"mean has {len(mean)} and std {len(std)} numbers, the images have {channels} "
                "channels"
            )
        scale = 1 / (std * 255 if images.dtype == np.uint8 else std)
        out = np.multiply(images, scale.astype(np.float32)[:, None, None], dtype=np.float32)
        out -= (mean / std).astype(np.float32)[:, None, None]
        return out, labels


@dataclass(eq=False)
class ColorJitter:
    """Change brightness, contrast and saturation of every image, in an order random by batch.

    Each is a blend, clipped to the range of the images, of the image (by a random factor) and
    of black, of its mean grey, or of its grey version (by one minus the factor). It belongs
    before `Normalize`, for float images must lie in 0..1.

    Parameters
    ----------
    brightness, contrast, saturation : float or (float, float)
        The factor is uniform in [max(0, 1 - value), 1 + value], or in the given range.

    Raises
    ------
    ValueError
        If a value is negative, or the images have neither 1 nor 3 channels.

    Examples
    --------
    >>> from cnnfast.data.transforms import ColorJitter
    >>> photographs = ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4)
    """

    brightness: float | tuple[float, float] = 0
    contrast: float | tuple[float, float] = 0
    saturation: float | tuple[float, float] = 0

    def __post_init__(self) -> None:
        for name in ("brightness", "contrast", "saturation"):
            as_span(name, getattr(self, name), 1, 0)

    def __call__(self, images: Array, labels: Array, rng: np.random.Generator) -> Batch:
        images = as_images(images)
        if images.shape[1] not in (1, 3):
            raise ValueError(f"ColorJitter needs 1 or 3 channels, got {images.shape[1]}")
        bound = 255 if images.dtype == np.uint8 else 1
        pixels = images.astype(np.float32)
        for name in rng.permutation(["brightness", "contrast", "saturation"]):
            low, high = as_span(name, getattr(self, name), 1, 0)
            if low == high == 1:
                continue
            factor = rng.uniform(low, high, (len(pixels), 1, 1, 1)).astype(np.float32)
            pixels = factor * pixels + (1 - factor) * _counterpart(name, pixels)
            np.clip(pixels, 0, bound, out=pixels)
        return as_type(pixels, images.dtype), labels


def _counterpart(name: str, pixels: Array) -> Array:
    """Return what an image is blended with to change the property `name`."""
    if name == "brightness":
        return np.zeros((1, 1, 1, 1), np.float32)
    grey = pixels if pixels.shape[1] == 1 else (pixels * _GREY).sum(axis=1, keepdims=True)
    return grey if name == "saturation" else grey.mean(axis=(1, 2, 3), keepdims=True)


@dataclass(eq=False)
class RandomErasing:
    """Overwrite a random rectangle of an image with probability `p`.

    Parameters
    ----------
    p : float
        The probability that an image is erased.
    scale : (float, float)
        The range of the rectangle's share of the image's area.
    ratio : (float, float)
        The range of its height divided by its width, drawn evenly on a logarithmic scale.
    value : float, sequence of float or "random"
        What it is overwritten with, in the unit of the images: one number, one a channel, or
        noise (standard normal, or of all values where the images are uint8).

    References
    ----------
    Z. Zhong et al., "Random Erasing Data Augmentation", AAAI 2020.

    Examples
    --------
    >>> from cnnfast.data.transforms import RandomErasing
    >>> noise = RandomErasing(p=0.25, value="random")
    """

    p: float = 0.5
    scale: tuple[float, float] = (0.02, 0.33)
    ratio: tuple[float, float] = (0.3, 3.3)
    value: float | Sequence[float] | str = 0

    def __post_init__(self) -> None:
        check_probability(self.p)
        if not 0 <= self.scale[0] <= self.scale[1] <= 1:
            raise ValueError(f"scale must be (low, high) within 0 to 1, got {self.scale}")
        if not 0 < self.ratio[0] <= self.ratio[1]:
            raise ValueError(f"ratio must be (low, high), above 0, got {self.ratio}")
        if isinstance(self.value, str) and self.value != "random":
            raise ValueError(f'value must be numbers or "random", got {self.value!r}')

    def __call__(self, images: Array, labels: Array, rng: np.random.Generator) -> Batch:
        images = as_images(images)
        erased = choose(self.p, len(images), rng) & self._rectangles(images, rng)
        value: Array
        if isinstance(self.value, str):  # "random"
            if images.dtype == np.uint8:
                value = rng.integers(256, size=images.shape, dtype=np.uint8)
            else:
                value = rng.standard_normal(images.shape, dtype=np.float32)
        else:
            value = np.asarray(self.value, images.dtype).reshape(-1, 1, 1)
            if len(value) not in (1, images.shape[1]):
                raise ValueError(f"value has {len(value)} numbers for {images.shape[1]} channels")
        return np.where(erased, value, images), labels

    def _rectangles(self, images: Array, rng: np.random.Generator) -> Array:
        """Return (N, 1, H, W), true inside; an image none of whose ten draws fits has none."""
        count, _, height, width = images.shape
        area = height * width * rng.uniform(*self.scale, (count, 10))
        low, high = np.log(self.ratio)
        ratio = np.exp(rng.uniform(low, high, (count, 10)))
        heights, widths = np.rint(np.sqrt(area * ratio)), np.rint(np.sqrt(area / ratio))
        fits = (heights < height) & (widths < width)
        first = np.arange(count), fits.argmax(axis=1)
        tall, wide = heights[first] * fits[first], widths[first]
        top = np.floor(rng.random(count) * (height - tall + 1))
        left = np.floor(rng.random(count) * (np.maximum(width - wide, 0) + 1))
        rows = _between(np.arange(height), top, tall)[:, None, :, None]
        return rows & _between(np.arange(width), left, wide)[:, None, None, :]


def _between(places: Array, start: Array, length: Array) -> Array:
    """Return (N, L): whether place l lies in the n-th interval."""
    return (places >= start[:, None]) & (places < (start + length)[:, None])


@dataclass(eq=False)
class MixUp:
    """Blend every image, and its label, with another one of the batch.

    Labels become soft: float32 (N, num_classes), which `cross_entropy` takes.

    Parameters
    ----------
    alpha : float
        The share of an image is drawn from Beta(alpha, alpha): small values blend little.
    num_classes : int
        The number of classes.

    Raises
    ------
    ValueError
        If `alpha` is not positive, or a label is not below `num_classes`.

    References
    ----------
    H. Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from cnnfast.data.transforms import MixUp
    >>> images, labels = np.zeros((4, 1, 8, 8), np.float32), np.array([0, 2, 1, 2])
    >>> _, soft = MixUp(0.2, num_classes=3)(images, labels, np.random.default_rng(0))
    >>> soft.shape, soft.sum(axis=1)
    ((4, 3), array([1., 1., 1., 1.], dtype=float32))
    """

    alpha: float
    num_classes: int

    def __post_init__(self) -> None:
        if self.alpha <= 0 or self.num_classes < 1:
            raise ValueError(
                f"alpha and num_classes must be positive, got {self.alpha} and {self.num_classes}"
            )

    def __call__(self, images: Array, labels: Array, rng: np.random.Generator) -> Batch:
        images = as_images(images)
        soft = self._soft(np.asarray(labels))
        share = rng.beta(self.alpha, self.alpha, len(images)).astype(np.float32)
        other = rng.permutation(len(images))
        pixels = share[:, None, None, None]
        mixed = pixels * images + (1 - pixels) * images[other]
        rows = share[:, None]
        return as_type(mixed, images.dtype), rows * soft + (1 - rows) * soft[other]

    def _soft(self, labels: Array) -> Array:
        if labels.ndim == 2 and labels.shape[1] == self.num_classes:
            return labels.astype(np.float32, copy=False)
        if labels.ndim != 1 or labels.dtype.kind not in "iu":
            raise ValueError(
                f"expected labels (N,) of integers or (N, {self.num_classes}), got shape "
                f"{labels.shape} of {labels.dtype}"
            )
        if labels.size and not 0 <= labels.min() <= labels.max() < self.num_classes:
            raise ValueError(
                f"labels must be 0 to {self.num_classes - 1}, got {labels.min()} to {labels.max()}"
            )
        return np.eye(self.num_classes, dtype=np.float32)[labels]
