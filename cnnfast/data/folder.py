"""Images in folders, ``root/class/file``: each is decoded by Pillow when it is asked for.

A file that cannot be decoded is refused by name, or, by choice, found when the data set is made
and left out. Only common formats are opened (never those that run an interpreter, as EPS does),
and no image of more pixels than Pillow's limit for decompression bombs.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from cnnfast.data.dataset import Dataset, Indices
from cnnfast.data.reading import PathLike, reading
from cnnfast.errors import FormatError

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

__all__ = ["ImageFolder", "read_image"]

_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
_SUFFIXES = (
    ".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"
)  # fmt: skip


def read_image(
    path: PathLike,
    size: int | tuple[int, int] | None = None,
    mode: Literal["RGB", "L"] = "RGB",
    paper: str | None = None,
) -> NDArray[np.uint8]:
    """Read one image file.

    Parameters
    ----------
    path : path-like
        A BMP, GIF, JPEG, PNG, PPM, TIFF or WebP file. Of animations the first frame is read; the
        camera's orientation tag is ignored, as torchvision does.
    size : int or (int, int), optional
        Height and width in pixels to resize to (bilinear, with antialiasing); one number is a
        square. The file's own size if not given.
    mode : {"RGB", "L"}
        Colour or grey.
    paper : str, optional
        Colour that Pillow knows, such as "white", to lay transparent images on. Transparency is
        ignored if not given, as torchvision does.

    Returns
    -------
    ndarray
        uint8, (3, H, W) or (1, H, W). Of 16-bit grey images the upper 8 bits.

    Raises
    ------
    FormatError
        If the file is not such an image, is damaged, or has more than
        ``PIL.Image.MAX_IMAGE_PIXELS`` pixels.
    ImportError
        If Pillow is not installed.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from cnnfast.data import read_image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "two_pixels.pgm")
    ...     _ = path.write_text("P2 2 1 255 7 9")
    ...     read_image(path, mode="L")
    array([[[7, 9]]], dtype=uint8)
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError('reading images needs Pillow: pip install "cnnfast[images]"') from error
    if mode not in ("RGB", "L"):
        raise ValueError(f'mode must be "RGB" or "L", got {mode!r}')
    target = None if size is None else _pair(size)
    with reading(path, "an image"), Image.open(path, formats=_FORMATS) as image:
        limit = Image.MAX_IMAGE_PIXELS
        if limit is not None and image.width * image.height > limit:
            raise FormatError(
                f"it has {image.width} x {image.height} pixels, more than the {limit} allowed; if "
                "it is right, set PIL.Image.MAX_IMAGE_PIXELS"
            )
        picture = _eight_bit(image)
        see_through = "A" in picture.getbands() or "transparency" in picture.info
        if paper is not None and see_through:
            opaque = Image.new("RGBA", picture.size, paper)
            picture = Image.alpha_composite(opaque, picture.convert("RGBA"))
        picture = picture.convert(mode)
        if target is not None:
            picture = picture.resize(target[::-1], Image.Resampling.BILINEAR)
        pixels = np.asarray(picture)
    return pixels[None] if mode == "L" else pixels.transpose(2, 0, 1)


def _eight_bit(image: PillowImage) -> PillowImage:
    """Return an image of 8 bits a channel: Pillow's own conversion clips instead of scaling."""
    from PIL import Image

    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise FormatError(
            f"its pixels are of 32 bits (mode {image.mode}), whose range is unknown; "
            "convert it to 8 bits"
        )
    return image


def _pair(size: int | tuple[int, int]) -> tuple[int, int]:
    """Return height and width."""
    height, width = (size, size) if isinstance(size, int) else size
    if height < 1 or width < 1:
        raise ValueError(f"size must be positive, got {size}")
    return height, width


class ImageFolder(Dataset):
    """Images sorted into one folder a class, decoded when they are asked for.

    Classes are the folders in `root` in alphabetical order; their files are taken in
    alphabetical order, those of sub-folders too (links to folders are not followed). Names that
    begin with a dot are not looked at. A small data set is decoded once and kept in memory by
    ``ArrayDataset(*folder[:], folder.classes)``.

    Parameters
    ----------
    root : path-like
        The folder of the classes' folders.
    size : int or (int, int), optional
        Height and width in pixels to which every image is resized; one number is a square.
        Images of different sizes cannot share a batch without it.
    mode : {"RGB", "L"}
        Colour or grey.
    on_error : {"raise", "skip"}
        What happens to files that are no image: "raise" refuses names without an image's suffix,
        images outside of any class's folder and empty folders at once, and damaged images when
        they are decoded; "skip" decodes every file once to begin with, leaves the bad ones out,
        lists them in `skipped` and gives one warning.

    Attributes
    ----------
    classes : list of str
        The names of the folders.
    class_to_idx : dict of str to int
        The label of each class.
    samples : list of (Path, int)
        File and label of each sample.
    skipped : list of (Path, str)
        What was left out, and why.

    Raises
    ------
    FileNotFoundError
        If `root` is no folder, or has none in it.
    FormatError
        If a file is bad and `on_error` is "raise", or no file is good.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from cnnfast.data import ImageFolder
    >>> with tempfile.TemporaryDirectory() as root:
    ...     for name in ("cat", "dog"):
    ...         pathlib.Path(root, name).mkdir()
    ...         _ = pathlib.Path(root, name, "a.pgm").write_text("P2 2 1 255 7 9")
    ...     pets = ImageFolder(root, size=(4, 4))
    ...     images, labels = pets[:]
    >>> pets.classes, images.shape, labels.tolist()
    (['cat', 'dog'], (2, 3, 4, 4), [0, 1])
    """

    classes: list[str]

    def __init__(
        self,
        root: PathLike,
        size: int | tuple[int, int] | None = None,
        mode: Literal["RGB", "L"] = "RGB",
        on_error: Literal["raise", "skip"] = "raise",
    ) -> None:
        if on_error not in ("raise", "skip"):
            raise ValueError(f'on_error must be "raise" or "skip", got {on_error!r}')
        self.root = Path(root).expanduser()
        self.size = None if size is None else _pair(size)
        self.mode = mode
        self.classes = self._find_classes()
        self.class_to_idx = {name: label for label, name in enumerate(self.classes)}
        self.samples: list[tuple[Path, int]] = []
        self.skipped: list[tuple[Path, str]] = []
        for path, label, problem in self._scan():
            if not problem and on_error == "skip":
                problem = self._problem(path)
            if not problem:
                self.samples.append((path, label))
            elif on_error == "skip":
                self.skipped.append((path, problem))
            else:
                raise FormatError(f'{path}: {problem}; on_error="skip" leaves such files out')
        self._report()

    def __len__(self) -> int:
        return len(self.samples)

    def batch(self, indices: Indices) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Decode the images at `indices`; (N, C, H, W) in channels-last memory."""
        if not len(indices):
            raise ValueError("a batch of no images has no shape")
        chosen = [self.samples[index] for index in indices]
        first = read_image(chosen[0][0], self.size, self.mode)
        channels, height, width = first.shape
        pixels = np.empty((len(chosen), height, width, channels), np.uint8)
        images = pixels.transpose(0, 3, 1, 2)
        for place, (path, _) in enumerate(chosen):
            image = read_image(path, self.size, self.mode) if place else first
            if image.shape != first.shape:
                raise ValueError(
                    f"{path} is {image.shape[1]} x {image.shape[2]} pixels and {chosen[0][0]} is "
                    f"{height} x {width}: give ImageFolder a size=(height, width)"
                )
            images[place] = image
        return images, np.array([label for _, label in chosen], np.int64)

    def _find_classes(self) -> list[str]:
        if not self.root.is_dir():
            raise FileNotFoundError(f"{self.root} is no folder")
        classes = sorted(
            entry.name
            for entry in self.root.iterdir()
            if entry.is_dir() and not entry.name.startswith(".")
        )
        if not classes:
            raise FileNotFoundError(f"{self.root} has no folders, expected one for each class")
        return classes

    def _scan(self) -> Iterator[tuple[Path, int, str]]:
        """Yield every file with its label and what its place or name says against it."""
        for path in sorted(self.root.iterdir()):
            if path.is_file() and _has_suffix(path) and not path.name.startswith("."):
                yield path, -1, "an image outside of the classes' folders"
        for label, name in enumerate(self.classes):
            empty = True
            for path in _files(self.root / name):
                empty = False
                if not _has_suffix(path):
                    yield path, label, "its name has no suffix of an image"
                else:
                    yield path, label, "" if path.is_file() else "no regular file"
            if empty:
                yield self.root / name, label, "a class's folder without files"

    def _problem(self, path: Path) -> str:
        """Return why `path` cannot be decoded, or nothing."""
        try:
            read_image(path, self.size, self.mode)
        except (FormatError, OSError) as error:
            return str(error).removeprefix(f"{path}: ")
        return ""

    def _report(self) -> None:
        if self.skipped:
            names = ", ".join(f"{path} ({reason})" for path, reason in self.skipped[:3])
            more = ", ..." if len(self.skipped) > 3 else ""
            warnings.warn(f"{len(self.skipped)} left out: {names}{more}", stacklevel=3)
        if not self.samples:
            raise FormatError(f"{self.root}: no image in it can be read")


def _has_suffix(path: Path) -> bool:
    return path.suffix.lower() in _SUFFIXES


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files below `folder` whose names do not begin with a dot, in a fixed order."""
    for path, subfolders, names in os.walk(folder):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith("."):
                yield Path(path, name)
