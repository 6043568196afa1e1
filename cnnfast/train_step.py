"""TrainStep: forward, backward, clipping, update and average as one recorded call.

The first call on a shape runs the step's Python once, on arrays without values
(`compiler/unknown.py`): every primitive is written down and none runs. What was there before (the
parameters, buffers and states) keeps its place, everything between lies in one arena by its
lifetime, and the plan runs all of it in one C call without the GIL. Numbers that change from call
to call lie in memory that the plan reads: settings of the optimiser, seeds of dropout, the share
of the average (`replay.on_replay`). A recording holds as long as modes, settings and arrays of the
model are what they were; a few are kept. What cannot be recorded runs eagerly.
"""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _core
from . import random as _random
from .autograd import enable_grad
from .compiler.order import early_updates
from .compiler.plan import (
    dense_outputs,
    live_calls,
    plan_of,
    recording_lock,
    signature_of,
)
from .compiler.unknown import Unknown, unknown
from .tensor import Tensor, as_tensor

if TYPE_CHECKING:
    from .ema import EMA
    from .nn import Module
    from .optim import Optimizer

__all__ = ["TrainStep"]

KEPT = 8
"""Recordings of one TrainStep: full and last batch, both modes, frozen or not."""
_PLAIN = frozenset({bool, int, float, str, tuple, type(None)})


@dataclass
class _Recorded:
    """A plan, and what it was recorded of.

    Attributes
    ----------
    plan : Plan
    renewals : list of callable
        Called before the plan runs again.
    arrays : list of (Tensor, ndarray)
        The memory that the plan reads and writes.
    owners : tuple
        Dictionaries in which that memory was found.
    has_scores : bool
        Whether the plan gives the model's result beside the loss.
    """

    plan: _core.Plan
    renewals: list[Callable[[], None]]
    arrays: list[tuple[Tensor, np.ndarray]]
    owners: tuple[Any, ...]
    has_scores: bool

    def holds(self, owners: tuple[Any, ...]) -> bool:
        """Whether model and optimiser still have the memory that the plan knows."""
        return all(a is b for a, b in zip(self.owners, owners, strict=True)) and all(
            tensor.array is array for tensor, array in self.arrays
        )


class TrainStep:
    """One step of training: ``step(x, y)`` computes the loss and updates the model.

    Equal to ``optimizer.zero_grad(); loss(model(x), y).backward(); optimizer.step()``, to the bit,
    but run as one recorded call: for small networks several times as fast, and in less memory.
    Schedules, ``train()`` and ``eval()``, frozen parameters, other batch sizes and
    ``load_state_dict`` may come between calls. Gradients do not outlive a step: `grad` of the
    parameters is None after it.

    Parameters
    ----------
    model : Module
    loss : callable
        ``loss(model(x), *targets) -> Tensor`` of one element.
    optimizer : Optimizer
    clip_norm : float, optional
        Largest 2-norm of all gradients of the model together (`nn.utils.clip_grad_norm_`).
    ema : EMA, optional
        Average of the model's weights, updated after each step.
    accumulate : int
        Update once in so many calls, by the mean of their gradients: as with batches that are so
        many times as large, in the memory of one.

    Attributes
    ----------
    scores : Tensor or None
        What the model returned in the last call, if that was a Tensor.
    reason : str or None
        Why the last call ran eagerly; None where it was a recorded one. A model cannot be recorded
        that looks at values (``if x.max() > 0``), has hooks, draws random numbers other than
        dropout's, or computes in NumPy; a warning says so once.

    Raises
    ------
    ValueError
        If `clip_norm` is not more than 0 or `accumulate` is less than 1.

    Notes
    -----
    The step's Python runs when it is recorded and not in each call: effects of it beside the
    model's (prints, counters, attributes that ``forward`` sets) happen then only, and a number or
    Tensor that is no part of the model keeps the value that it had.

    Examples
    --------
    >>> import numpy as np
    >>> import cnnfast
    >>> from cnnfast import models, nn, optim
    >>> _ = cnnfast.manual_seed(0)
    >>> model = models.lenet5()
    >>> optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    >>> step = cnnfast.TrainStep(model, nn.CrossEntropyLoss(), optimizer)
    >>> x, y = np.zeros((8, 1, 28, 28), np.float32), np.arange(8)
    >>> losses = [float(step(x, y)) for _ in range(10)]
    >>> losses[-1] < losses[0], step.reason
    (True, None)
    """

    def __init__(
        self,
        model: Module,
        loss: Callable[..., Tensor],
        optimizer: Optimizer,
        *,
        clip_norm: float | None = None,
        ema: EMA | None = None,
        accumulate: int = 1,
    ) -> None:
        if clip_norm is not None and not clip_norm > 0:
            raise ValueError(f"TrainStep: clip_norm is {clip_norm}, expected more than 0")
        if accumulate < 1:
            raise ValueError(f"TrainStep: accumulate is {accumulate}, expected 1 or more")
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self.clip_norm, self.ema, self.accumulate = clip_norm, ema, accumulate
        self._position = 0  # of the next call among those that make one update
        self._sums: dict[Tensor, Tensor] = {}  # gradients of the calls before it
        self._reached: set[Tensor] = set()  # of those, what some backward has added to
        self.scores: Tensor | None = None
        self.reason: str | None = None
        self._recordings: OrderedDict[Hashable, _Recorded | str] = OrderedDict()
        self._workspace = _core.Workspace()
        self._seen: Any = None
        self._model_key: Hashable = None
        self._tensors: list[Tensor] = []

    def __call__(self, x: Any, *targets: Any) -> Tensor:
        """Train on one batch.

        Parameters
        ----------
        x : array_like or Tensor
            What the model takes.
        targets : array_like or Tensor
            What the loss takes beside the model's result. Integers become int64.

        Returns
        -------
        Tensor
            The loss before the update, without a gradient.
        """
        loss = self._call(x, *targets)
        self._position = (self._position + 1) % self.accumulate
        return loss

    def _call(self, x: Any, *targets: Any) -> Tensor:
        arrays = (_dense(x), *(_dense_target(target) for target in targets))
        key = (signature_of(arrays), self._key())
        found = self._recordings.get(key)
        if isinstance(found, _Recorded):
            if found.holds(self._owners()):
                self._recordings.move_to_end(key)
                for renew in found.renewals:
                    renew()
                loss = self._run(found, arrays)
                if loss is not None:
                    return loss
            self._recordings.clear()
        elif found is not None:
            return self._eager(found, x, *targets)
        return self._first(key, arrays)

    def _first(self, key: Hashable, arrays: tuple[np.ndarray, ...]) -> Tensor:
        """Record a step and run it, or run it eagerly where it cannot be recorded."""
        state, drawn = self.optimizer.state, _random.get_state()
        states = {param: dict(values) for param, values in state.items()}
        updates = self.ema.updates if self.ema is not None else 0
        try:
            recorded = self._record(arrays)
        except Exception as error:  # an error of the user's comes again from the eager step
            state.clear()
            state.update(states)
            _random.set_state(drawn)
            if self.ema is not None:
                self.ema.updates = updates
            reason = f"{type(error).__name__}: {error}"
            loss = self._eager(reason, *arrays)
            if not any(isinstance(found, str) for found in self._recordings.values()):
                warnings.warn(f"TrainStep runs eagerly: {reason}", stacklevel=3)
            self._keep(key, reason)
            return loss
        self._keep(key, recorded)
        loss_or_none = self._run(recorded, arrays)
        assert loss_or_none is not None  # the plan was made for these very arrays
        return loss_or_none

    def _keep(self, key: Hashable, found: _Recorded | str) -> None:
        self._recordings[key] = found
        if len(self._recordings) > KEPT:
            self._recordings.popitem(last=False)

    def _run(self, recorded: _Recorded, arrays: tuple[np.ndarray, ...]) -> Tensor | None:
        """Run a plan; None where it does not fit, which leaves everything as it was."""
        results = recorded.plan.run(arrays)
        if results is None:
            return None
        for tensor, _ in recorded.arrays:
            tensor.bump_version()
        self.reason = None
        self.scores = Tensor.wrap(results[1]) if recorded.has_scores else None
        return Tensor.wrap(results[0])

    def _eager(self, reason: str, *inputs: Any) -> Tensor:
        self.reason = reason
        loss, scores = self._step(*map(as_tensor, inputs))
        self.scores = scores.detach() if isinstance(scores, Tensor) else None
        return loss.detach()

    def _step(self, x: Tensor, *targets: Tensor) -> tuple[Tensor, Any]:
        """The step itself, recorded or not; return the loss and what the model returned."""
        from . import nn

        self._forget_gradients()
        if self.accumulate > 1:
            self._add_to_sums()
        with enable_grad():
            scores = self.model(x)
            loss = self.loss(scores, *targets)
            share = loss if self.accumulate == 1 else loss * (1 / self.accumulate)
        share.backward()
        if self.accumulate > 1:
            self._pass_over_unreached()
        if self._position == self.accumulate - 1:
            if self.clip_norm is not None:
                nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_norm)
            self.optimizer.step()
            if self.ema is not None:
                self.ema.update()
        self._forget_gradients()
        return loss, scores

    def _add_to_sums(self) -> None:
        """Have backward add to the gradients of the calls before, or to zero."""
        for tensor in self._all_tensors():
            if tensor.requires_grad:
                if tensor not in self._sums:
                    self._sums[tensor] = Tensor.wrap(np.zeros(tensor.shape, np.float32))
                tensor.grad = Tensor.wrap(self._sums[tensor].array)
                if self._position == 0:
                    _core.fill(tensor.grad.array, 0.0)

    def _pass_over_unreached(self) -> None:
        """Take zeros that no backward has added to for no gradient, as eager code does."""
        for tensor in self._sums:
            if tensor.grad is not None and tensor.grad.version_counter[0] > 0:
                self._reached.add(tensor)
            elif tensor not in self._reached:
                tensor.grad = None

    def _forget_gradients(self) -> None:
        self.optimizer.zero_grad()
        for tensor in self._tensors:
            tensor.grad = None

    def _record(self, inputs: tuple[np.ndarray, ...]) -> _Recorded:
        """Write the step down, for inputs of these shapes and types."""
        arrays = [unknown(array.shape, array.dtype.name) for array in inputs]
        recording = _core.Recording(Unknown, repeated=True)
        shadow = self.ema.shadow.values() if self.ema is not None else ()
        for array in (*arrays, *shadow, *(tensor.array for tensor in self._all_tensors())):
            recording.add_unknown(array)
        try:
            with recording_lock, _values_hidden(self._all_tensors()), recording:
                loss, scores = self._step(*map(Tensor.wrap, arrays))
                wanted = [t.array for t in (loss, scores) if isinstance(t, Tensor)]
                outputs = dense_outputs(recording, arrays, wanted)
        finally:
            self._forget_gradients()
        calls = early_updates(recording, live_calls(recording))
        plan = plan_of(recording, calls, arrays, outputs, self._workspace, 0)
        kept = [(tensor, tensor.array) for tensor in self._all_tensors()]
        return _Recorded(plan, recording.renewals, kept, self._owners(), len(outputs) > 1)

    # -- what a recording depends on -------------------------------------------------------------

    def _key(self) -> Hashable:
        """Return what decides which primitives run, beside the shapes of the inputs."""
        from .nn import changes

        seen = (changes.count(), self.model, self.loss)
        if self._seen != seen:
            self._seen = seen
            self._model_key, self._tensors = self._look_at_modules()
        trained = tuple([tensor.requires_grad for tensor in self._tensors])
        # Zero or not is all that matters of a number, which is read when the plan runs.
        settings = tuple([
            (len(group["params"]), *[bool(v) for k, v in group.items() if k != "params"])
            for group in self.optimizer.param_groups
        ])
        place = (self._position == 0, self._position == self.accumulate - 1)
        return self._model_key, trained, settings, self.clip_norm, place

    def _look_at_modules(self) -> tuple[Hashable, list[Tensor]]:
        """Return the modules with their plain attributes, and their parameters and buffers."""
        from .nn import Module

        modules: dict[Module, None] = {}
        for root in (self.model, self.loss):
            if isinstance(root, Module):
                modules.update(dict.fromkeys(root.modules()))
        key, tensors = [], dict[Tensor, None]()
        for module in modules:
            own = [t for t in (*module._parameters.values(), *module._buffers.values())
                   if t is not None]
            tensors.update(dict.fromkeys(own))
            plain = [(k, v) for k, v in vars(module).items() if type(v) in _PLAIN]
            hooks = len(module._forward_hooks) + len(module._forward_pre_hooks)
            key.append((module, *map(id, own), repr(plain), hooks))
        return (id(self.loss), *key), list(tensors)

    def _all_tensors(self) -> list[Tensor]:
        """Return what a step may change: parameters, buffers and the optimiser's states."""
        trained = [p for group in self.optimizer.param_groups for p in group["params"]]
        states = [
            value for values in self.optimizer.state.values() for value in values.values()
            if isinstance(value, Tensor)
        ]
        return list(dict.fromkeys((*self._tensors, *trained, *states, *self._sums.values())))

    def _owners(self) -> tuple[Any, ...]:
        return self.optimizer.state, None if self.ema is None else self.ema.shadow


@contextmanager
def _values_hidden(tensors: list[Tensor]) -> Iterator[None]:
    """Put arrays without values into Tensors, so that nothing is computed from those of now."""
    arrays = [tensor.array for tensor in tensors]
    for tensor, array in zip(tensors, arrays, strict=True):
        tensor._array = array.view(Unknown)
    try:
        yield
    finally:
        for tensor, array in zip(tensors, arrays, strict=True):
            tensor._array = array


def _dense(x: Any) -> np.ndarray:
    array = as_tensor(x).array
    return array if array.flags.c_contiguous else np.ascontiguousarray(array)


def _dense_target(target: Any) -> np.ndarray:
    array = _dense(target)
    return array.astype(np.int64) if array.dtype.kind in "iu" and array.dtype != "i8" else array
