"""What all file readers of this package share: one bound on memory and one kind of error.

A reader does its work inside ``with reading(path, kind)`` and raises `FormatError` with the bare
reason; the path is put in front here. What a damaged file makes a parser raise (numpy, zlib, zip
and Pillow have dozens of such types) becomes a `FormatError` too. Errors of opening a file (none
there, permission denied) pass unchanged, for they already name it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeAlias

from cnnfast.errors import FormatError

__all__ = ["PathLike", "allowance", "reading"]

PathLike: TypeAlias = "str | os.PathLike[str]"

# A compressed file may unpack to this much without being asked: photographs and digits shrink by
# less than 4 to 1, and the constant part lets small files of very regular content through.
RATIO = 4
HEADROOM = 64 << 20


def allowance(path: PathLike, max_bytes: int | None) -> int:
    """Return how many bytes may be unpacked from `path`: `max_bytes`, or 4 x its size + 64 MiB."""
    if max_bytes is None:
        return RATIO * os.path.getsize(path) + HEADROOM
    return max_bytes


@contextmanager
def reading(path: PathLike, kind: str) -> Iterator[None]:
    """Turn every failure to read `path` as a `kind` of file into a `FormatError` that names it."""
    try:
        yield
    except FormatError as error:
        raise FormatError(f"{os.fspath(path)}: {error}") from error.__cause__
    except Exception as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        reason = str(error) or type(error).__name__
        raise FormatError(f"{os.fspath(path)}: cannot be read as {kind}: {reason}") from error
