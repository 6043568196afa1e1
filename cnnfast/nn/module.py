"""Module: the base class of layers and networks.

A Module holds parameters, buffers and other Modules under the names of its attributes, walks them
in the order of their assignment, and computes in `forward`. Names and behaviour are torch.nn's, so
are the keys of `state_dict` (written and read in state.py). Every class of `cnnfast.nn` and
`cnnfast.models` derives from it; optimisers and the Trainer walk it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from ..replay import refuse_replay
from ..tensor import Tensor
from . import changes
from .hooks import HookTable, RemovableHandle
from .parameter import Parameter
from .placement import check_placement
from .state import IncompatibleKeys, collect_state, load_state

__all__ = ["Module"]

M = TypeVar("M", bound="Module")
T = TypeVar("T")


class Module:
    """Base class of all layers and networks.

    Derive from it, call ``super().__init__()`` first, assign layers and Parameters to attributes,
    and define ``forward``.

    Attributes
    ----------
    training : bool
        True in training mode; dropout and batch normalisation look at it.

    Examples
    --------
    >>> from cnnfast import nn
    >>> class Net(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.conv = nn.Conv2d(1, 4, 3)
    ...     def forward(self, x):
    ...         return nn.functional.relu(self.conv(x))
    >>> [name for name, _ in Net().named_parameters()]
    ['conv.weight', 'conv.bias']
    """

    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]
    _non_persistent: set[str]
    _forward_hooks: HookTable
    _forward_pre_hooks: HookTable

    # Buffers that files of older versions lack: `load_state_dict` keeps the present value then.
    _optional_state: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.__dict__.update(
            training=True,
            _parameters={},
            _buffers={},
            _modules={},
            _non_persistent=set(),
            _forward_hooks=OrderedDict(),
            _forward_pre_hooks=OrderedDict(),
        )

    # -- calling ---------------------------------------------------------------------------------

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the output; a subclass defines it."""
        raise NotImplementedError(
            f'Module [{type(self).__name__}] is missing the required "forward" function'
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._forward_pre_hooks or self._forward_hooks:
            return self._call_with_hooks(args, kwargs)
        return self.forward(*args, **kwargs)

    def _call_with_hooks(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        refuse_replay("a hook of a Module")
        for hook, with_kwargs in tuple(self._forward_pre_hooks.values()):
            changed = hook(self, args, kwargs) if with_kwargs else hook(self, args)
            if changed is None:
                continue
            if with_kwargs:
                args, kwargs = changed
            else:
                args = changed if isinstance(changed, tuple) else (changed,)
        output = self.forward(*args, **kwargs)
        for hook, with_kwargs in tuple(self._forward_hooks.values()):
            changed = hook(self, args, kwargs, output) if with_kwargs else hook(self, args, output)
            output = output if changed is None else changed
        return output

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call ``hook(module, args)`` before `forward`; what it returns replaces the arguments.

        Parameters
        ----------
        hook : callable
            With `with_kwargs` it gets ``(module, args, kwargs)`` and returns both or None.
        prepend : bool
            Run it before the hooks that are there already.

        Returns
        -------
        RemovableHandle
        """
        return RemovableHandle(self._forward_pre_hooks, hook, with_kwargs, prepend)

    def register_forward_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call ``hook(module, args, output)`` after `forward`; what it returns replaces the output.

        Parameters
        ----------
        hook : callable
            With `with_kwargs` it gets ``(module, args, kwargs, output)``.
        prepend : bool
            Run it before the hooks that are there already.

        Returns
        -------
        RemovableHandle
        """
        return RemovableHandle(self._forward_hooks, hook, with_kwargs, prepend)

    # -- registering -----------------------------------------------------------------------------

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter under `name`; None reserves the name (a layer without a bias)."""
        self._check_name(name, "_parameters", "parameter")
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(
                f"cannot assign '{type(param).__name__}' object to parameter '{name}' "
                "(nn.Parameter or None required)"
            )
        self._parameters[name] = param

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a Tensor that is state but not trained, such as a running mean.

        Parameters
        ----------
        name : str
            Attribute and key of `state_dict`.
        tensor : Tensor or None
            None reserves the name.
        persistent : bool
            Whether `state_dict` includes it.
        """
        self._check_name(name, "_buffers", "buffer")
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(
                f"cannot assign '{type(tensor).__name__}' object to buffer '{name}' "
                "(Tensor or None required)"
            )
        self._buffers[name] = tensor
        if persistent:
            self._non_persistent.discard(name)
        else:
            self._non_persistent.add(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a child under `name`."""
        self._check_name(name, "_modules", "module")
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"{type(module).__name__} is not a Module subclass")
        self._modules[name] = module

    register_module = add_module

    def _check_name(self, name: str, table: str, kind: str) -> None:
        changes.note()
        if table not in self.__dict__:
            raise AttributeError(f"cannot assign a {kind} before Module.__init__() call")
        if not isinstance(name, str):
            raise TypeError(f"{kind} name should be a string. Got {type(name).__name__}")
        if name == "" or "." in name:
            raise KeyError(f'{kind} name can\'t be empty or contain ".", got {name!r}')
        if name not in self.__dict__[table] and hasattr(self, name):
            raise KeyError(f"attribute '{name}' already exists")

    def __setattr__(self, name: str, value: Any) -> None:
        changes.note()
        if isinstance(value, Parameter):
            self._forget(name, "_parameters")
            self.register_parameter(name, value)
        elif name in self.__dict__.get("_parameters", ()):
            self._check_none(name, value, "parameter", "nn.Parameter")
            self._parameters[name] = None
        elif isinstance(value, Module):
            self._forget(name, "_modules")
            self.add_module(name, value)
        elif name in self.__dict__.get("_modules", ()):
            self._check_none(name, value, "child module", "nn.Module")
            self._modules[name] = None
        elif name in self.__dict__.get("_buffers", ()):
            self.register_buffer(name, value, name not in self._non_persistent)
        else:
            super().__setattr__(name, value)

    def _forget(self, name: str, keep: str) -> None:
        """Drop what the attribute `name` was, except from the table that will hold it next."""
        for table in ("_parameters", "_buffers", "_modules"):
            if table != keep and table in self.__dict__:
                self.__dict__[table].pop(name, None)
        self.__dict__.pop(name, None)
        self.__dict__.get("_non_persistent", set()).discard(name)

    def _check_none(self, name: str, value: Any, kind: str, wanted: str) -> None:
        if value is not None:
            raise TypeError(
                f"cannot assign '{type(value).__name__}' as {kind} '{name}' "
                f"({wanted} or None expected)"
            )

    def __getattr__(self, name: str) -> Any:
        for table in ("_parameters", "_buffers", "_modules"):
            members = self.__dict__.get(table, {})
            if name in members:
                return members[name]
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __delattr__(self, name: str) -> None:
        changes.note()
        for table in (self._parameters, self._buffers, self._modules):
            if name in table:
                del table[name]
                self._non_persistent.discard(name)
                return
        super().__delattr__(name)

    def __dir__(self) -> list[str]:
        members = (*self._parameters, *self._buffers, *self._modules)
        return sorted({*super().__dir__(), *(name for name in members if not name.isdigit())})

    # -- walking ---------------------------------------------------------------------------------

    def named_modules(
        self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """Yield ("", self), then (dotted name, Module) for all below; a shared one once."""
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                yield from module.named_modules(memo, _join(prefix, name), remove_duplicate)

    def modules(self) -> Iterator[Module]:
        """Yield this Module and all below."""
        for _, module in self.named_modules():
            yield module

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Yield (name, Module) for the direct children; a shared one once."""
        yield from _present(self._modules.items(), set())

    def children(self) -> Iterator[Module]:
        """Yield the direct children."""
        for _, module in self.named_children():
            yield module

    def _named_members(
        self, table: str, prefix: str, recurse: bool, remove_duplicate: bool
    ) -> Iterator[tuple[str, Any]]:
        owners = (
            self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate)
            if recurse
            else [(prefix, self)]
        )
        seen: set[int] = set()
        for owner, module in owners:
            members = ((_join(owner, name), value) for name, value in vars(module)[table].items())
            yield from _present(members, seen if remove_duplicate else None)

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Yield (dotted name, parameter); a shared parameter once, under its first name."""
        yield from self._named_members("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Yield the parameters, for an optimiser."""
        for _, param in self.named_parameters(recurse=recurse):
            yield param

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """Yield (dotted name, buffer)."""
        yield from self._named_members("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """Yield the buffers."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    def get_submodule(self, target: str) -> Module:
        """Return the Module at a dotted name; "" is this one."""
        module = self
        for name in target.split(".") if target else ():
            child = module._modules.get(name)
            if child is None:
                raise AttributeError(f"{type(module).__name__} has no submodule `{name}`")
            module = child
        return module

    def get_parameter(self, target: str) -> Parameter:
        """Return the parameter at a dotted name."""
        return self._get_member(target, "_parameters", "parameter")

    def get_buffer(self, target: str) -> Tensor:
        """Return the buffer at a dotted name."""
        return self._get_member(target, "_buffers", "buffer")

    def _get_member(self, target: str, table: str, kind: str) -> Any:
        path, _, name = target.rpartition(".")
        owner = self.get_submodule(path)
        member = vars(owner)[table].get(name)
        if member is None:
            raise AttributeError(f"{type(owner).__name__} has no {kind} `{name}`")
        return member

    def apply(self: M, fn: Callable[[Module], object]) -> M:
        """Call `fn` on every Module below, then on this one; return this one."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    # -- modes -----------------------------------------------------------------------------------

    def train(self: M, mode: bool = True) -> M:
        """Set training mode here and below; return this Module."""
        if not isinstance(mode, bool):
            raise ValueError(f"training mode is expected to be boolean, got {mode!r}")
        self.training = mode
        for module in self.children():
            module.train(mode)
        return self

    def eval(self: M) -> M:
        """Set evaluation mode here and below; return this Module."""
        return self.train(False)

    def requires_grad_(self: M, requires_grad: bool = True) -> M:
        """Make all parameters trained or frozen; return this Module."""
        for param in self.parameters():
            param.requires_grad = requires_grad
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters, or fill them with zeros."""
        for param in self.parameters():
            if set_to_none:
                param.grad = None
            elif param.grad is not None:
                param.grad.copy_(0)

    def to(
        self: M,
        device: Any = None,
        dtype: Any = None,
        non_blocking: bool = False,
        *,
        memory_format: Any = None,
    ) -> M:
        """Return the Module unchanged if it is asked to be where it is: float32 on the CPU.

        torch's ``to(device)``, ``to(dtype)``, ``to(device, dtype)`` and ``to(tensor)`` are taken;
        `non_blocking` and `memory_format` have no meaning here.

        Raises
        ------
        ValueError
            Another device or type is asked for.
        """
        if isinstance(device, Tensor):
            device = None
        elif hasattr(device, "itemsize"):  # a dtype of NumPy or torch in the place of the device
            device, dtype = None, device
        check_placement(device, dtype)
        return self

    def cpu(self: M) -> M:
        """Return the Module unchanged: it is on the CPU."""
        return self

    def float(self: M) -> M:
        """Return the Module unchanged: its parameters are float32."""
        return self

    # -- state -----------------------------------------------------------------------------------

    def state_dict(self, *, prefix: str = "", keep_vars: bool = False) -> OrderedDict[str, Tensor]:
        """Return parameters and persistent buffers by dotted name, sharing their memory.

        Parameters
        ----------
        prefix : str
            Put before every key.
        keep_vars : bool
            Return the Parameters themselves instead of detached Tensors.
        """
        return collect_state(self, prefix, keep_vars)

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True
    ) -> IncompatibleKeys:
        """Copy values into parameters and buffers, in place.

        Parameters
        ----------
        state_dict : mapping of str to Tensor or array-like
            NumPy arrays and torch Tensors are taken too; the shapes must agree.
        strict : bool
            Whether a missing or unexpected key is an error.

        Returns
        -------
        IncompatibleKeys
            (missing_keys, unexpected_keys)

        Raises
        ------
        RuntimeError
            Keys (if strict) or shapes do not fit: all are listed, and nothing is changed.

        Examples
        --------
        >>> import numpy as np
        >>> from cnnfast import nn
        >>> nn.Linear(2, 1).load_state_dict({"weight": np.ones((1, 2)), "bias": np.zeros(1)})
        <All keys matched successfully>
        """
        return load_state(self, state_dict, strict)

    # -- printing --------------------------------------------------------------------------------

    def _get_name(self) -> str:
        return type(self).__name__

    def extra_repr(self) -> str:
        """Return what `repr` shows of this Module's own settings."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        children = [f"({name}): {_indent(repr(m))}" for name, m in self._modules.items()]
        if extra and "\n" not in extra and not children:
            return f"{self._get_name()}({extra})"
        lines = [*(extra.split("\n") if extra else ()), *children]
        body = "\n  " + "\n  ".join(lines) + "\n" if lines else ""
        return f"{self._get_name()}({body})"


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


def _present(
    members: Iterable[tuple[str, T | None]], seen: set[int] | None
) -> Iterator[tuple[str, T]]:
    """Yield the members that are not None; with `seen`, those not seen before."""
    for name, member in members:
        if member is not None and (seen is None or id(member) not in seen):
            if seen is not None:
                seen.add(id(member))
            yield name, member


def _indent(text: str) -> str:
    return text.replace("\n", "\n  ")
