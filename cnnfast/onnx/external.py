"""Weights in files beside an ONNX file: read only when allowed, and only inside its folder.

A path that is absolute, climbs out of the folder, is or passes a symbolic link, or has other hard
links is refused (CVE-2022-25882, CVE-2024-27318, CVE-2026-27489).
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from ..errors import FormatError

__all__ = ["read_external"]


def read_external(proto: Any, folder: Path | None) -> Any:
    """Return a copy of a TensorProto with its bytes in `raw_data`.

    Raises
    ------
    FormatError
        Where `folder` is None (not allowed), or the path, offset or length is not acceptable.
    """
    entries = {str(entry.key): str(entry.value) for entry in proto.external_data}
    location = entries.get("location", "")
    if folder is None:
        raise FormatError(
            f"tensor {proto.name!r} is in another file, {location!r}: pass external_data=True to "
            "read it from the model's folder"
        )
    path = contained(folder, location)
    offset, size = int(entries.get("offset", "0")), path.stat().st_size
    length = int(entries.get("length", str(size - offset)))
    if offset < 0 or length < 0 or offset + length > size:
        raise FormatError(
            f"tensor {proto.name!r}: bytes {offset} to {offset + length} of {location!r}, which "
            f"has {size}"
        )
    with path.open("rb") as file:
        file.seek(offset)
        data = file.read(length)
    copy = type(proto)()
    copy.CopyFrom(proto)
    del copy.external_data[:]
    copy.data_location = copy.DEFAULT
    copy.raw_data = data
    return copy


def contained(folder: Path, location: str) -> Path:
    """Return the file `location` below `folder`, or say why it is refused."""
    parts = PurePosixPath(location).parts
    climbs = not parts or ".." in parts or PurePosixPath(location).is_absolute()
    if climbs or PureWindowsPath(location).anchor or "\\" in location or "\0" in location:
        raise FormatError(f"external data at {location!r}: expected a path below the model's file")
    path = folder
    for part in parts:
        path = path / part
        if path.is_symlink():
            raise FormatError(f"external data at {location!r}: symbolic links are refused")
    if not path.is_file():
        raise FormatError(f"external data at {location!r}: there is no such file")
    if path.stat().st_nlink != 1:
        raise FormatError(f"external data at {location!r}: a file with other hard links is refused")
    return path
