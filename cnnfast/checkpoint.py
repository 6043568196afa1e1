"""What is written to disk: models, training states, and how a file is replaced in one step.

Kinds of safetensors file, told apart by ``kind`` in their metadata:

* a *model* (`save`, `load`): tensors under their ``state_dict`` keys, and in the metadata the
  architecture, so that a network of `cnnfast.models` needs no code of the reader's;
* a *training state* (`save_training`, `load_training`, called by the trainer): ``model.*``,
  ``ema.*``, ``optimizer.*`` tensors, and in the metadata every number that is not an array;
* a *compiled model* (``CompiledModel.save``, `load`), see `cnnfast.compiler.files`.

The metadata is one JSON document under the single key ``cnnfast``: with more keys the format's
unordered map would give other bytes each time. Nothing here pickles or runs what it reads.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as _to_bytes

from .errors import FormatError

if TYPE_CHECKING:
    from .nn import Module

__all__ = [
    "load",
    "load_state",
    "load_training",
    "read_metadata",
    "save",
    "save_training",
    "write_atomic",
]

FORMAT = 1
ROOM = 1 << 24
"""Parameters that a file's network may have beyond the file's weights, so that which do not fit can
be told: 64 MB."""
RESERVED = ("format", "library", "kind", "architecture", "state")
PathLike = str | os.PathLike[str]
State = dict[str, npt.NDArray[Any]]

_OWN_CODE = (
    "build the model yourself and call "
    "model.load_state_dict(cnnfast.checkpoint.load_state({path!r}))"
)


def write_atomic(path: PathLike, data: bytes) -> None:
    """Put `data` at `path` so that a reader finds the old file or the new one, never a part.

    The bytes go to a temporary file in the same folder, are flushed to the disk (``fsync``) and
    renamed over `path`; a crash or a full disk leaves what was there before.

    Parameters
    ----------
    path : path
        A file in an existing folder. A symbolic link is followed.
    data : bytes

    Raises
    ------
    OSError
        If the folder is missing, read-only or full: one line that names `path`.

    Examples
    --------
    >>> from cnnfast.checkpoint import write_atomic
    >>> import tempfile, os
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_atomic(os.path.join(folder, "a"), b"1")
    ...     os.listdir(folder)
    ['a']
    """
    target = Path(os.path.realpath(path))
    partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(partial, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, target)
        _sync_folder(target.parent)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if isinstance(error, OSError):
            reason = error.strerror or str(error)
            kept = "; the file of before is kept" if target.exists() else ""
            raise OSError(error.errno, f"cannot write {path}: {reason}{kept}") from None
        raise


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable; only POSIX can open a folder."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def save(model: Module, path: PathLike, **metadata: Any) -> None:
    """Write a model's weights, its architecture and what else a user of it must know.

    Parameters
    ----------
    model : Module
        Its ``state_dict()`` is stored, and its ``architecture`` where it has one (the networks of
        `cnnfast.models` do).
    path : path
        Replaced in one step, see `write_atomic`.
    **metadata
        Anything JSON can hold. The command line stores ``classes``, ``mean``, ``std`` and
        ``input_shape``.

    Raises
    ------
    OSError
        If `path` cannot be written.
    TypeError
        If a piece of metadata is not JSON.
    ValueError
        If a piece of metadata has the name of one of the file's own entries.

    Examples
    --------
    >>> import cnnfast, pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "digits.safetensors")
    ...     cnnfast.save(cnnfast.models.lenet5(), path, classes=list("0123456789"))
    ...     len(cnnfast.checkpoint.read_metadata(path)["classes"])
    10
    """
    _write(path, _arrays(model.state_dict()), metadata, "model", model)


def load(path: PathLike) -> Any:
    """Build the model that `save` (or a training checkpoint) holds, ready to predict.

    Parameters
    ----------
    path : path
        Of a training checkpoint the averaged weights are taken where there are any.

    Returns
    -------
    Module or CompiledModel
        A Module is in evaluation mode; call ``train()`` to go on training. What
        `CompiledModel.save` wrote comes back as a `CompiledModel`.

    Raises
    ------
    FormatError
        If the file is damaged, names no network of `cnnfast.models` or does not fit the one it
        names.
    OSError
        If the file cannot be read.

    Examples
    --------
    >>> import cnnfast, pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "digits.safetensors")
    ...     cnnfast.save(cnnfast.models.lenet5(num_classes=7), path)
    ...     cnnfast.load(path).fc3.out_features
    7
    """
    if read_metadata(path).get("kind") == "compiled":
        from .compiler import CompiledModel

        return CompiledModel.load(path)
    from . import models
    from .nn.parameter import at_most

    tensors, document = _read(path)
    name, config = _architecture(path, document)
    weights = _weights(tensors, document)
    try:
        with at_most(sum(array.size for array in weights.values()) + ROOM):
            model = models.build(name, **config)
    except Exception as error:  # a constructor may stumble anywhere over a config that is damaged
        advice = _OWN_CODE.format(path=str(path))
        raise FormatError(
            f"{path}: cannot build the architecture {name!r} with {config}: {error}; {advice}"
        ) from error
    with explained(f"{path}: the weights do not fit the architecture {name!r}"):
        model.load_state_dict(weights)
    return model.eval()


def _architecture(path: PathLike, document: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    architecture = document.get("architecture")
    if architecture is None:
        raise FormatError(
            f"{path}: holds weights but does not name a network of cnnfast.models; "
            + _OWN_CODE.format(path=str(path))
        )
    try:
        name, config = architecture["name"], architecture["config"]
    except (KeyError, TypeError):
        name, config = None, None
    if not isinstance(name, str) or not isinstance(config, dict):
        raise FormatError(
            f"{path}: expected an architecture with a name and a config, found {architecture!r}"
        )
    return name, config


def load_state(path: PathLike) -> State:
    """Read the weights of any safetensors file, for ``model.load_state_dict``.

    Parameters
    ----------
    path : path
        A model of `save`, a training checkpoint (of which the averaged weights are taken where
        there are any) or any other program's safetensors file.

    Returns
    -------
    dict of str to ndarray

    Raises
    ------
    FormatError
        If the file is not safetensors or is damaged.
    OSError
        If the file cannot be read.
    """
    return _weights(*_read(path))


def _weights(tensors: State, document: dict[str, Any]) -> State:
    if document.get("kind") != "training":
        return tensors
    return _under("ema.", tensors) or _under("model.", tensors)


def _under(prefix: str, tensors: State) -> State:
    return {
        name.removeprefix(prefix): array
        for name, array in tensors.items()
        if name.startswith(prefix)
    }


def read_metadata(path: PathLike) -> dict[str, Any]:
    """Return what `save` stored beside the weights, without reading the weights.

    Returns
    -------
    dict
        Empty for a safetensors file of another program. Of the user's own entries nothing but
        JSON's types is promised.

    Raises
    ------
    FormatError
        If the file is not safetensors or is damaged.
    OSError
        If the file cannot be read.
    """
    with explained(f"{path}: expected a safetensors file"), _opened(path) as file:
        return _document(path, file.metadata())


def save_training(
    path: PathLike, model: Module, ema: State | None, state: dict[str, Any], **metadata: Any
) -> None:
    """Write a training state: weights, averaged weights, and a tree of everything else.

    Parameters
    ----------
    path : path
        Replaced in one step, see `write_atomic`.
    model : Module
    ema : dict of str to array, optional
        Averaged weights.
    state : dict
        Nested dicts, lists and tuples of numbers, strings, None and arrays: the optimiser's,
        schedule's, loader's and callbacks' ``state_dict`` and so on.
    **metadata
        As for `save`.

    Raises
    ------
    OSError
        If `path` cannot be written.
    TypeError
        If `state` holds something that is neither an array nor JSON, such as a function.
    """
    tensors = {f"model.{name}": array for name, array in _arrays(model.state_dict()).items()}
    tensors |= {f"ema.{name}": array for name, array in _arrays(ema or {}).items()}
    packed = _pack(state, "", tensors)
    _write(path, tensors, metadata, "training", model, state=packed)


def load_training(path: PathLike) -> tuple[State, State, dict[str, Any], dict[str, Any]]:
    """Read what `save_training` wrote.

    Returns
    -------
    tuple
        Weights, averaged weights (empty where there were none), the tree `state`, and the
        metadata that was given.

    Raises
    ------
    FormatError
        If the file is damaged or is not a training checkpoint.
    OSError
        If the file cannot be read.
    """
    tensors, document = _read(path)
    if document.get("kind") != "training":
        found = document.get("kind", "foreign")
        raise FormatError(f"{path}: expected a training checkpoint, found a {found} file")
    with explained(f"{path}: the training state is damaged"):
        state = _unpack(document["state"], tensors)
    metadata = {name: value for name, value in document.items() if name not in RESERVED}
    return _under("model.", tensors), _under("ema.", tensors), state, metadata


def _write(
    path: PathLike, tensors: State, metadata: dict[str, Any], kind: str, model: Module, **own: Any
) -> None:
    from . import __version__

    if taken := sorted(set(metadata) & set(RESERVED)):
        raise ValueError(f"metadata cannot be named {taken[0]!r}: {', '.join(RESERVED)} are taken")
    document = {
        "format": FORMAT,
        "library": f"cnnfast {__version__}",
        "kind": kind,
        "architecture": getattr(model, "architecture", None),
        **own,
        **metadata,
    }
    write_atomic(path, _to_bytes(tensors, {"cnnfast": json.dumps(document)}))


def _read(path: PathLike) -> tuple[State, dict[str, Any]]:
    with explained(f"{path}: expected a safetensors file"), _opened(path) as file:
        document = _document(path, file.metadata())
        return {name: file.get_tensor(name) for name in file.keys()}, document  # noqa: SIM118


@contextmanager
def _opened(path: PathLike) -> Iterator[Any]:
    with open(path, "rb"):  # the library's own messages for a missing file or a folder are obscure
        pass
    with safe_open(os.fspath(path), framework="numpy") as file:
        yield file


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn whatever a reader stumbles over into a FormatError that says where."""
    try:
        yield
    except FormatError:
        raise
    except (
        ArithmeticError, AttributeError, LookupError, RuntimeError, SafetensorError, TypeError,
        ValueError,
    ) as error:
        found = " ".join(str(error).split()) or type(error).__name__
        raise FormatError(f"{what}; found: {found}") from error


def _document(path: PathLike, metadata: dict[str, str] | None) -> dict[str, Any]:
    if not metadata or "cnnfast" not in metadata:
        return {}
    document = json.loads(metadata["cnnfast"])
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        found = document.get("format") if isinstance(document, dict) else type(document).__name__
        raise FormatError(f"{path}: expected cnnfast's file format {FORMAT}, found {found!r}")
    return document


def _arrays(state: Any) -> State:
    return {name: _array(value) for name, value in state.items()}


def _array(value: Any) -> npt.NDArray[Any]:
    plain = value.detach().numpy() if hasattr(value, "detach") else np.asarray(value)
    return np.ascontiguousarray(plain).reshape(plain.shape)  # a 0-d array stays one


def _pack(tree: Any, name: str, tensors: State) -> Any:
    """Return `tree` as JSON, its arrays moved to `tensors` under the path that leads to them."""
    if tree is None or isinstance(tree, bool | int | float | str):
        return tree
    if isinstance(tree, np.bool_ | np.integer | np.floating):
        return tree.item()
    if isinstance(tree, dict):
        pairs = [[key, _pack(value, _join(name, key), tensors)] for key, value in tree.items()]
        plain = all(isinstance(key, str) and key != "$" for key in tree)
        return dict(pairs) if plain else {"$": "dict", "items": pairs}
    if isinstance(tree, list | tuple):
        items = [_pack(value, _join(name, index), tensors) for index, value in enumerate(tree)]
        return items if isinstance(tree, list) else {"$": "tuple", "items": items}
    if isinstance(tree, np.ndarray) or hasattr(tree, "detach"):
        while name in tensors:  # {"a.b": x, "a": {"b": y}} lead to the same path
            name += "'"
        tensors[name] = _array(tree)
        return {"$": "tensor", "name": name}
    raise TypeError(f"a checkpoint cannot hold {name}, a {type(tree).__name__}")


def _join(name: str, key: Any) -> str:
    return f"{name}.{key}" if name else str(key)


def _unpack(tree: Any, tensors: State) -> Any:
    """Undo `_pack`."""
    if isinstance(tree, list):
        return [_unpack(value, tensors) for value in tree]
    if not isinstance(tree, dict):
        return tree
    kind = tree.get("$")
    if kind is None:
        return {key: _unpack(value, tensors) for key, value in tree.items()}
    if kind == "tensor":
        return tensors[tree["name"]]
    items = [_unpack(value, tensors) for value in tree["items"]]
    return tuple(items) if kind == "tuple" else dict(items)
