"""Containers: Modules whose children or parameters are reached by position or key.

Names, methods and printing are torch.nn's.
"""

from __future__ import annotations

import operator
from collections import OrderedDict
from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from typing import Any, TypeVar, cast

from ..tensor import Tensor
from . import changes
from .module import Module
from .parameter import Parameter

__all__ = ["ModuleDict", "ModuleList", "ParameterList", "Sequential"]

L = TypeVar("L", bound="_Listed")


class _Listed(Module):
    """What Sequential and ModuleList share: children in order, by position."""

    def _children(self) -> list[Module]:
        return cast("list[Module]", list(self._modules.values()))

    def _key(self, index: int) -> str:
        keys = list(self._modules)
        if not -len(keys) <= operator.index(index) < len(keys):
            raise IndexError(f"index {index} is out of range for {len(keys)} modules")
        return keys[index]

    def _renumber(self, modules: Iterable[Module]) -> None:
        self._modules = {}
        self.extend(modules)

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._children())

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return self._slice(index)
        return self._modules[self._key(index)]

    def _slice(self, index: slice) -> Module:
        raise NotImplementedError

    def __setitem__(self, index: int, module: Module) -> None:
        setattr(self, self._key(index), module)

    def __delitem__(self, index: int | slice) -> None:
        modules = self._children()
        del modules[index]
        self._renumber(modules)

    def __iadd__(self: L, modules: Iterable[Module]) -> L:
        return self.extend(modules)

    def append(self: L, module: Module) -> L:
        """Add a child at the end; return this Module."""
        self.add_module(str(len(self)), module)
        return self

    def extend(self: L, modules: Iterable[Module]) -> L:
        """Add children at the end; return this Module."""
        for module in list(modules):
            self.append(module)
        return self

    def insert(self: L, index: int, module: Module) -> L:
        """Add a child before position `index`; those behind it move up. Return this Module."""
        if not isinstance(module, Module):
            raise TypeError(f"{type(module).__name__} is not a Module subclass")
        if not -len(self) <= index <= len(self):
            raise IndexError(f"index {index} is out of range for {len(self)} modules")
        modules = self._children()
        modules.insert(index, module)
        self._renumber(modules)
        return self

    def pop(self, index: int | slice) -> Any:
        """Take out and return the child at `index`, or the container of a slice."""
        taken = self[index]
        del self[index]
        return taken


class Sequential(_Listed):
    """Modules called one after the other.

    Parameters
    ----------
    *modules : Module, or one OrderedDict of name to Module
        The children; without names they are numbered.

    Examples
    --------
    >>> from cnnfast import nn
    >>> net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten())
    >>> net[:2]
    Sequential(
      (0): Conv2d(1, 8, kernel_size=(3, 3), stride=(1, 1))
      (1): ReLU()
    )
    """

    def __init__(self, *modules: Module | OrderedDict[str, Module]) -> None:
        super().__init__()
        if len(modules) == 1 and isinstance(modules[0], OrderedDict):
            for name, module in modules[0].items():
                self.add_module(name, module)
        else:
            self.extend(cast("tuple[Module, ...]", modules))

    def forward(self, input: Any) -> Any:
        """Pass `input` through all children."""
        for module in self._children():
            input = module(input)
        return input

    def _slice(self, index: slice) -> Module:
        named = zip(self._modules, self._children(), strict=True)
        return type(self)(OrderedDict(list(named)[index]))

    def __add__(self, other: Sequential) -> Sequential:
        return Sequential(*self, *other)


class ModuleList(_Listed):
    """A list of Modules whose parameters belong to the owner; `forward` is the owner's.

    Parameters
    ----------
    modules : iterable of Module, optional

    Examples
    --------
    >>> from cnnfast import nn
    >>> nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
    ModuleList(
      (0-2): 3 x Linear(in_features=4, out_features=4, bias=True)
    )
    """

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        self.extend(modules or ())

    def _slice(self, index: slice) -> Module:
        return type(self)(self._children()[index])

    def __add__(self, other: Iterable[Module]) -> ModuleList:
        return ModuleList([*self, *other])

    def __repr__(self) -> str:
        blocks: list[tuple[int, int, str]] = []  # first and last position of equal children
        for position, text in enumerate(repr(module) for module in self):
            if blocks and blocks[-1][2] == text:
                blocks[-1] = (blocks[-1][0], position, text)
            else:
                blocks.append((position, position, text))
        lines = [
            f"({first}): {text}"
            if first == last
            else f"({first}-{last}): {last - first + 1} x {text}"
            for first, last, text in blocks
        ]
        body = "".join("\n  " + line.replace("\n", "\n  ") for line in lines)
        return f"{self._get_name()}({body}\n)" if lines else f"{self._get_name()}()"


class ModuleDict(Module):
    """Modules by key, whose parameters belong to the owner.

    Parameters
    ----------
    modules : mapping of str to Module, or iterable of pairs, optional

    Examples
    --------
    >>> from cnnfast import nn
    >>> heads = nn.ModuleDict({"digit": nn.Linear(8, 10), "sign": nn.Linear(8, 1)})
    >>> list(heads), heads["sign"].out_features
    (['digit', 'sign'], 1)
    """

    def __init__(
        self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] | None = None
    ) -> None:
        super().__init__()
        self.update(modules or {})

    def __getitem__(self, key: str) -> Any:
        return self._modules[key]

    def __setitem__(self, key: str, module: Module) -> None:
        self.add_module(key, module)

    def __delitem__(self, key: str) -> None:
        changes.note()
        del self._modules[key]

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __contains__(self, key: str) -> bool:
        return key in self._modules

    def keys(self) -> KeysView[str]:
        """Return the keys."""
        return self._modules.keys()

    def values(self) -> ValuesView[Any]:
        """Return the Modules."""
        return self._modules.values()

    def items(self) -> ItemsView[str, Any]:
        """Return (key, Module) pairs."""
        return self._modules.items()

    def update(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]]) -> None:
        """Add or replace Modules, in the order given."""
        for key, module in dict(modules).items():
            self[key] = module

    def pop(self, key: str) -> Any:
        """Take out and return the Module under `key`."""
        changes.note()
        return self._modules.pop(key)

    def clear(self) -> None:
        """Take out all Modules."""
        changes.note()
        self._modules.clear()


class ParameterList(Module):
    """A list of parameters that belong to the owner; Tensors given become Parameters.

    Parameters
    ----------
    values : iterable of Tensor or array, optional

    Examples
    --------
    >>> import numpy as np
    >>> from cnnfast import nn
    >>> scales = nn.ParameterList([nn.Parameter(np.ones(3)), nn.Parameter(np.zeros(2))])
    >>> list(scales.state_dict())
    ['0', '1']
    """

    def __init__(self, values: Iterable[Any] | None = None) -> None:
        super().__init__()
        self.extend(values or ())

    def _key(self, index: int) -> str:
        if not -len(self) <= operator.index(index) < len(self):
            raise IndexError(f"index {index} is out of range for {len(self)} parameters")
        return str(index % len(self))

    def __len__(self) -> int:
        return len(self._parameters)

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self._parameters.values()))

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return type(self)(list(self)[index])
        return self._parameters[self._key(index)]

    def __setitem__(self, index: int, value: Any) -> None:
        setattr(self, self._key(index), _parameter(value))

    def __iadd__(self, values: Iterable[Any]) -> ParameterList:
        return self.extend(values)

    def append(self, value: Any) -> ParameterList:
        """Add a parameter at the end; return this Module."""
        self.register_parameter(str(len(self)), _parameter(value))
        return self

    def extend(self, values: Iterable[Any]) -> ParameterList:
        """Add parameters at the end; return this Module."""
        if isinstance(values, Tensor):
            raise TypeError("ParameterList.extend takes an iterable of Tensors, got one Tensor")
        for value in list(values):
            self.append(value)
        return self

    def extra_repr(self) -> str:
        """Return one line a parameter: its type and size."""
        return "\n".join(
            f"  ({position}): Parameter containing: "
            f"[{parameter.dtype} of size {'x'.join(map(str, parameter.shape))}]"
            for position, parameter in enumerate(self)
        )


def _parameter(value: Any) -> Parameter:
    return value if isinstance(value, Parameter) else Parameter(value)
