"""What a Module saves and loads: named arrays under torch's keys.

`collect_state` walks a Module for `state_dict`; `load_state` checks a whole dictionary first and
copies only when all of it fits. Called by `Module.state_dict` and `Module.load_state_dict`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..autograd import no_grad
from ..tensor import Tensor, as_tensor

if TYPE_CHECKING:
    from .module import Module

__all__ = ["IncompatibleKeys", "collect_state", "load_state"]


class IncompatibleKeys(NamedTuple):
    """Keys that the Module has and the dictionary lacks, and the other way round."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return (
            f"IncompatibleKeys(missing_keys={self.missing_keys}, "
            f"unexpected_keys={self.unexpected_keys})"
        )


def collect_state(module: Module, prefix: str, keep_vars: bool) -> OrderedDict[str, Tensor]:
    """Return a Module's parameters and persistent buffers by dotted name.

    A Tensor that two Modules share appears under both names, as in torch.
    """
    state: OrderedDict[str, Tensor] = OrderedDict()
    for path, owner in module.named_modules(remove_duplicate=False):
        start = f"{prefix}{path}." if path else prefix
        for name, tensor in (*owner._parameters.items(), *owner._buffers.items()):
            if tensor is not None and name not in owner._non_persistent:
                state[start + name] = tensor if keep_vars else tensor.detach()
    return state


def load_state(module: Module, state: Mapping[str, Any], strict: bool) -> IncompatibleKeys:
    """Copy `state` into a Module; see `Module.load_state_dict`."""
    if not isinstance(state, Mapping):
        raise TypeError(f"Expected state_dict to be dict-like, got {type(state).__name__}.")
    targets = collect_state(module, "", keep_vars=True)
    optional = {
        f"{path}.{name}" if path else name
        for path, owner in module.named_modules(remove_duplicate=False)
        for name in owner._optional_state
    }
    missing = [key for key in targets if key not in state and key not in optional]
    unexpected = [key for key in state if key not in targets]
    errors = []
    if strict and missing:
        errors.append(f"Missing key(s) in state_dict: {_quoted(missing)}.")
    if strict and unexpected:
        errors.append(f"Unexpected key(s) in state_dict: {_quoted(unexpected)}.")
    values: dict[str, np.ndarray] = {}
    for key in (key for key in targets if key in state):
        try:
            values[key] = _checked(state[key], targets[key].shape)
        except (TypeError, ValueError) as error:
            errors.append(f"{key}: {error}")
    if errors:
        listed = "\n\t".join(errors)
        raise RuntimeError(
            f"Error(s) in loading state_dict for {type(module).__name__}:\n\t{listed}"
        )
    with no_grad():
        for key, value in values.items():
            targets[key].copy_(value)
    return IncompatibleKeys(missing, unexpected)


def _checked(value: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Return `value` as an array of numbers of this shape."""
    # A Tensor that requires a gradient, here or in torch, hands out its values after detach().
    array = as_tensor(value.detach() if hasattr(value, "detach") else value).array
    if array.shape != tuple(shape):
        raise ValueError(f"size mismatch: the file has {array.shape}, the model {tuple(shape)}")
    return array


def _quoted(keys: list[str]) -> str:
    return ", ".join(f'"{key}"' for key in keys)
