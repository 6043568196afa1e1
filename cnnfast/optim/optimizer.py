"""Optimizer: the base class that walks parameter groups, keeps state and saves it.

A subclass defines `_update`, which calls one fused primitive of `_core` for one parameter: the
primitive reads the gradient and writes parameter and state in place. The settings that it computes
with, `_numbers`, it reads from memory of the group, which is renewed before each step; so a
recorded step follows the schedule of the learning rate. Parameter groups, arguments
and the layout of `state_dict` are torch.optim's. Called by the Trainer and by schedules.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from .. import _core
from ..autograd import enable_grad
from ..layout import as_dense
from ..replay import on_replay
from ..tensor import Tensor, as_tensor

__all__ = ["Optimizer", "Params", "State", "check_range"]

Params = Iterable[Tensor] | Iterable[dict[str, Any]]
State = dict[str, Any]  # name -> Tensor of the parameter's shape, or of shape () for a count


class Optimizer:
    """Base class of all optimisers.

    Parameters
    ----------
    params : iterable of Tensors, or of dicts
        What to update. A dict is a group: "params" and the settings that differ for it.
    defaults : dict
        Settings for the groups that have no own.

    Attributes
    ----------
    param_groups : list of dict
        "params" and all settings of each group; schedules write "lr" here.
    state : dict of Tensor to dict
        What the optimiser remembers for each parameter.

    Raises
    ------
    TypeError
        `params` is one Tensor, or holds something else than Tensors or dicts.
    ValueError
        There are no parameters, or one is in two groups or is no leaf of the graph.
    """

    def __init__(self, params: Params, defaults: dict[str, Any]) -> None:
        if isinstance(params, Tensor):
            raise TypeError("params should be an iterable of Tensors or dicts, got one Tensor")
        groups: list[Any] = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        self.defaults = defaults
        self.state: defaultdict[Tensor, State] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        self._memory: list[np.ndarray] = []  # the settings of each group that primitives read
        self.has_stepped = False  # a schedule warns when it steps before its optimiser
        for group in groups if isinstance(groups[0], dict) else [{"params": groups}]:
            self.add_param_group(group)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group: "params", and any settings that differ from the defaults.

        Examples
        --------
        >>> from cnnfast import nn, optim
        >>> body, head = nn.Linear(4, 4), nn.Linear(4, 2)
        >>> optimizer = optim.SGD(body.parameters(), lr=0.01)
        >>> optimizer.add_param_group({"params": head.parameters(), "lr": 0.1})
        >>> [group["lr"] for group in optimizer.param_groups]
        [0.01, 0.1]
        """
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, got {type(param_group).__name__}")
        params = param_group["params"]
        if isinstance(params, (set, frozenset)):
            raise TypeError("optimizer parameters need an order: use a list, not a set")
        params = [params] if isinstance(params, Tensor) else list(params)
        taken = {id(p) for group in self.param_groups for p in group["params"]}
        for param in params:
            if not isinstance(param, Tensor):
                raise TypeError(f"optimizer can only optimize Tensors, got {type(param).__name__}")
            if not param.is_leaf:
                raise ValueError("can't optimize a non-leaf Tensor: it is computed from others")
            if id(param) in taken:
                raise ValueError("some parameters appear in more than one place")
            taken.add(id(param))
        group = {**self.defaults, **param_group, "params": params}
        self.param_groups.append(group)
        self._memory.append(np.array(self._numbers(group), np.float64))

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters, or fill them with zeros."""
        for group in self.param_groups:
            for param in group["params"]:
                if set_to_none:
                    param.grad = None
                elif param.grad is not None:
                    param.grad.copy_(0)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient.

        Parameters
        ----------
        closure : callable, optional
            Computes loss and gradients anew; called once, before the update.

        Returns
        -------
        What `closure` returned, else None.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        self._renew()
        on_replay(self._renew)
        for group, settings in zip(self.param_groups, self._memory, strict=True):
            for param in group["params"]:
                if param.grad is not None:
                    self._update_dense(param, param.grad.array, group, settings)
        return loss

    def _renew(self) -> None:
        """Write the settings of now to where the next step reads them."""
        for group, settings in zip(self.param_groups, self._memory, strict=True):
            settings[:] = self._numbers(group)
        self.has_stepped = True

    def _numbers(self, group: dict[str, Any]) -> tuple[float, ...]:
        """Return the settings of a group that `_update` is handed as an array of float64."""
        return ()

    def _update_dense(
        self, param: Tensor, grad: np.ndarray, group: dict[str, Any], settings: np.ndarray
    ) -> None:
        # The primitives take C-contiguous arrays. A Parameter is one, and so is its gradient; a
        # leaf Tensor stored as an image is updated through a copy.
        target, grad = as_dense(param.array), as_dense(grad)
        if group["maximize"]:
            falling = _core.empty(grad.shape)
            _core.unary("neg", falling, grad)
            grad = falling
        self._update(target, grad, self.state[param], group, settings)
        if target is not param.array:
            _core.copy(param.array, target)
        param.bump_version()

    def _update(
        self, param: np.ndarray, grad: np.ndarray, state: State, group: dict[str, Any],
        settings: np.ndarray,
    ) -> None:
        """Update one parameter and its state in place; the arrays are C-contiguous."""
        raise NotImplementedError(f"{type(self).__name__} defines no _update")

    # -- state -----------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return {"state": {index: state}, "param_groups": [...]}, in torch's layout.

        Parameters are numbered through all groups; the Tensors of the state are not copied.
        """
        numbers = {id(p): i for i, p in enumerate(self._all_params())}
        groups = [
            {**group, "params": [numbers[id(p)] for p in group["params"]]}
            for group in self.param_groups
        ]
        state = {numbers[id(p)]: dict(values) for p, values in self.state.items() if values}
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over settings and copies of the state that `state_dict` returned.

        Arrays, torch Tensors and numbers stand for Tensors too.

        Raises
        ------
        ValueError
            Groups, their sizes or the shapes of the state do not fit; nothing is changed.
        """
        saved = state_dict["param_groups"]
        sizes = [len(group["params"]) for group in self.param_groups]
        saved_sizes = [len(group["params"]) for group in saved]
        if sizes != saved_sizes:
            raise ValueError(
                f"the loaded state has groups of {saved_sizes} parameters, this optimizer {sizes}"
            )
        numbers = [number for group in saved for number in group["params"]]
        state: defaultdict[Tensor, State] = defaultdict(dict)
        for number, param in zip(numbers, self._all_params(), strict=True):
            for name, value in state_dict["state"].get(number, {}).items():
                state[param][name] = _restored(value, param, f"{name} of parameter {number}")
        self.state = state
        for group, loaded in zip(self.param_groups, saved, strict=True):
            group.update({name: value for name, value in loaded.items() if name != "params"})

    def _all_params(self) -> list[Tensor]:
        return [param for group in self.param_groups for param in group["params"]]

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for number, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {number}")
            lines += [f"    {name}: {group[name]}" for name in sorted(group) if name != "params"]
        return "\n".join(lines) + "\n)"


def _restored(value: Any, param: Tensor, what: str) -> Tensor | None:
    """Return a copy of a saved value as a Tensor of the parameter's shape, or of shape ()."""
    if value is None:
        return None
    source = as_tensor(value.detach() if hasattr(value, "detach") else value)
    if source.shape not in ((), param.shape):
        raise ValueError(f"{what} has shape {source.shape}, the parameter {param.shape}")
    return Tensor.wrap(np.array(source.array, np.float32, order="C"))


def check_range(name: str, value: float, low: float = 0.0, high: float = float("inf")) -> None:
    """Raise ValueError unless ``low <= value < high``.

    Examples
    --------
    >>> check_range("learning rate", -1.0)
    Traceback (most recent call last):
    ValueError: Invalid learning rate: -1.0 (it must be at least 0.0)
    """
    if not low <= value < high:
        bound = f" and below {high}" if high != float("inf") else ""
        raise ValueError(f"Invalid {name}: {value} (it must be at least {low}{bound})")
