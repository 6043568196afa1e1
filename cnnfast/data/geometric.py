"""Transforms that move pixels: resize, crop, flip, translate, rotate. Exported by `transforms`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cnnfast.data.imaging import (
    Array,
    Batch,
    as_images,
    as_pair,
    as_span,
    check_probability,
    choose,
    resize,
    rotate,
    windows,
)

__all__ = [
    "CenterCrop",
    "RandomCrop",
    "RandomHorizontalFlip",
    "RandomRotation",
    "RandomTranslation",
    "RandomVerticalFlip",
    "Resize",
]

_PADDING_MODES = ("constant", "edge", "reflect", "symmetric")


@dataclass(eq=False)
class Resize:
    """Resize every image, bilinearly with antialiasing.

    Parameters
    ----------
    size : int or (int, int)
        (height, width) in pixels; one number is the length of the shorter side, the other
        follows from the image's proportions.
    """

    size: int | tuple[int, int]

    def __post_init__(self) -> None:
        as_pair("size", self.size)

    def __call__(self, images: Array, labels: Array, rng: np.random.Generator) -> Batch:
        images = as_images(images)
        if isinstance(self.size, int):
            old = images.shape[2:]
            height, width = (max(1, self.size * side // min(old)) for side in old)
        else:
            height, width = self.size
        return resize(images, height, width), labels


@dataclass(eq=False)
class CenterCrop:
    """Cut (height, width) pixels, or a square, out of the middle of every image.

    Parameters
    ----------
    size : int or (int, int)
        No larger than the images.
    """

    size: int | tuple[int, int]

    def __post_init__(self) -> None:
        as_pair("size", self.size)

    def __call__(self, images: Array, labels: Array, rng: np.random.Generator) -> Batch:
        images = as_images(images)
        height, width = as_pair("size", self.size)
        top, left = free_pixels("CenterCrop", images, height, width)
        # Odd remainders are rounded to even, which is torchvision's int(round(x / 2)).
        top, left = round(top / 2), round(left / 2)
        return images[:, :, top : top + height, left : left + width], labels


@dataclass(eq=False)
class RandomHorizontalFlip:
    """Exchange left and right of an image with probability `p`."""

    p: float = 0.5

    def __post_init__(self) -> None:
        check_probability(self.p)

    def __call__(self, images: Array, labels: Array, rng: np.random.Generator) -> Batch:
        images = as_images(images)
        flipped = images[..., ::-1]
        return np.where(choose(self.p, len(images), rng), flipped, images), labels


@dataclass(eq=False)
class RandomVerticalFlip:
    """Exchange top and bottom of an image with probability `p`."""

    p: float = 0.5

    def __post_init__(self) -> None:
        check_probability(self.p)

    def __call__(self, images: Array, labels: Array, rng: np.random.Generator) -> Batch:
        images = as_images(images)
        flipped = images[:, :, ::-1]
        return np.where(choose(self.p, len(images), rng), flipped, images), labels


@dataclass(eq=False)
class RandomCrop:
    """Cut a window at a random place out of every image, after padding it.

    Parameters
    ----------
    size : int or (int, int)
        Height and width of the window in pixels; one number is a square.
    padding : int or (int, int)
        Pixels added at top and bottom, and at left and right.
    fill : float
        What is added, in the unit of the images, where `padding_mode` is "constant".
    padding_mode : {"constant", "edge", "reflect", "symmetric"}
        What is added: `fill`, the border pixel, or the image mirrored without or with its border.

    Examples
    --------
    >>> from cnnfast.data.transforms import RandomCrop
    >>> cifar = RandomCrop(32, padding=4)
    """

    size: int | tuple[int, int]
    padding: int | tuple[int, int] = 0
    fill: float = 0
    padding_mode: str = "constant"

    def __post_init__(self) -> None:
        as_pair("size", self.size)
        as_pair("padding", self.padding, least=0)
        if self.padding_mode not in _PADDING_MODES:
            raise ValueError(
                f"padding_mode must be one of {_PADDING_MODES}, got {self.padding_mode!r}"
            )

    def __call__(self, images: Array, labels: Array, rng: np.random.Generator) -> Batch:
        images = as_images(images)
        height, width = as_pair("size", self.size)
        down, right = as_pair("padding", self.padding, least=0)
        border = ((0, 0), (0, 0), (down, down), (right, right))
        options = {"constant_values": self.fill} if self.padding_mode == "constant" else {}
        if down or right:
            images = np.pad(images, border, self.padding_mode, **options)  # type: ignore[call-overload]
        high, wide = free_pixels("RandomCrop", images, height, width)
        tops = rng.integers(high, size=len(images), endpoint=True)
        lefts = rng.integers(wide, size=len(images), endpoint=True)
        return windows(images, tops, lefts, height, width), labels


@dataclass(eq=False)
class RandomTranslation:
    """Move every image by a random whole number of pixels, filling what becomes free.

    Parameters
    ----------
    pixels : int or (int, int)
        The largest move, up or down and left or right.
    fill : float
        The filling, in the unit of the images.

    Examples
    --------
    >>> from cnnfast.data.transforms import RandomTranslation
    >>> digits = RandomTranslation(2)
    """

    pixels: int | tuple[int, int]
    fill: float = 0

    def __post_init__(self) -> None:
        as_pair("pixels", self.pixels, least=0)

    def __call__(self, images: Array, labels: Array, rng: np.random.Generator) -> Batch:
        images = as_images(images)
        height, width = images.shape[2:]
        return RandomCrop((height, width), self.pixels, self.fill)(images, labels, rng)


@dataclass(eq=False)
class RandomRotation:
    """Turn every image about its centre by a random angle, with bilinear interpolation.

    Parameters
    ----------
    degrees : float or (float, float)
        The angle is uniform in [-degrees, degrees], or in the given range; positive is
        counter-clockwise.
    fill : float
        What comes from outside of the image, in the unit of the images.

    Examples
    --------
    >>> from cnnfast.data.transforms import RandomRotation
    >>> digits = RandomRotation(10)
    """

    degrees: float | tuple[float, float]
    fill: float = 0

    def __post_init__(self) -> None:
        as_span("degrees", self.degrees, 0, -np.inf)

    def __call__(self, images: Array, labels: Array, rng: np.random.Generator) -> Batch:
        images = as_images(images)
        low, high = as_span("degrees", self.degrees, 0, -np.inf)
        return rotate(images, rng.uniform(low, high, len(images)), self.fill), labels


def free_pixels(name: str, images: Array, height: int, width: int) -> tuple[int, int]:
    """Return by how many pixels the images are higher and wider than a crop of them."""
    free = images.shape[2] - height, images.shape[3] - width
    if min(free) < 0:
        raise ValueError(
            f"{name} of {height} x {width} pixels from images of "
            f"{images.shape[2]} x {images.shape[3]} (padding included)"
        )
    return free
