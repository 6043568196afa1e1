"""Image files of any size and colour made into what a saved model takes.

A picture is made grey for a model of one channel, resized to the model's input, and, where the
model has learnt on one kind of background (light strokes on black, as MNIST, or dark on white),
inverted if its own border says that it is of the other kind. Called by ``cnnfast predict``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .checkpoint import PathLike
from .data import read_image

__all__ = ["background", "read_picture"]

Pixels = npt.NDArray[np.uint8]

MIDDLE = 127.5  # of 0 to 255: what is above is light
AGREED = 0.9  # share of the training images that must have the same background


def background(images: Pixels) -> str | None:
    """Say whether grey images have a ``"dark"`` or a ``"light"`` border, or None if they differ.

    Parameters
    ----------
    images : ndarray, uint8, (N, C, H, W)

    Returns
    -------
    str or None
        None also for colour images, where inverting makes no sense.

    Examples
    --------
    >>> import numpy as np
    >>> from cnnfast.pictures import background
    >>> background(np.zeros((3, 1, 28, 28), np.uint8))
    'dark'
    """
    if images.shape[1] != 1 or not len(images):
        return None
    share = float(np.mean([_is_light(image) for image in images[:, 0]]))
    if share <= 1 - AGREED:
        return "dark"
    return "light" if share >= AGREED else None


def _is_light(image: Pixels) -> bool:
    """Judge a (H, W) image by the median of its outermost pixels."""
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    return float(np.median(border)) > MIDDLE


def read_picture(path: PathLike, shape: Sequence[int], ground: str | None = None) -> Pixels:
    """Read an image file as one input of a model.

    Parameters
    ----------
    path : path
        Any format that Pillow reads. A transparent part is taken as white.
    shape : (channels, height, width)
        Channels are 1 (grey) or 3 (RGB). A picture of other proportions is stretched.
    ground : {"dark", "light"}, optional
        Background that the model expects, see `background`; an image of the other kind is
        inverted.

    Returns
    -------
    ndarray, uint8, (channels, height, width)

    Raises
    ------
    FormatError
        If the file is not an image, or is damaged or far too large.
    OSError
        If the file cannot be read.
    ImportError
        If Pillow is missing.
    ValueError
        If the channels are neither 1 nor 3.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from cnnfast.pictures import read_picture
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "white.pgm")
    ...     _ = path.write_bytes(b"P5 3 2 255 " + bytes([255] * 6))
    ...     read_picture(path, (1, 2, 2), "dark").tolist()
    [[[0, 0], [0, 0]]]
    """
    channels, height, width = shape
    if channels not in (1, 3):
        raise ValueError(f"{path}: the model takes {channels} channels, an image has 1 or 3")
    pixels = read_image(path, (height, width), "L" if channels == 1 else "RGB", paper="white")
    if channels == 1 and ground and _is_light(pixels[0]) != (ground == "light"):
        pixels = 255 - pixels
    return pixels
