"""From a recording to a plan: which buffer lies where, for how long, and what is constant.

`make_plan` runs a function on arrays without values, so that every primitive that depends on the
input is written down and every other (packing a weight) is computed at once. What is written down
becomes a `_core.Plan`: constants at their addresses, inputs and outputs in the caller's arrays,
everything between in one arena, placed by size and lifetime.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from .. import _core
from ..autograd import no_grad
from ..tensor import Tensor
from .unknown import DataDependent, Unknown, unknown

__all__ = [
    "Layout", "Signature", "address_of", "dense_outputs", "fork_safe", "lay_out", "live_calls",
    "make_plan", "memory_of", "plan_of", "recording_lock", "signature_of",
]

Signature = tuple[tuple[tuple[int, ...], str], ...]
"""Shape and dtype of each array."""
Function = Callable[..., Sequence[Tensor]]
Lock = TypeVar("Lock", bound=Any)  # threading's locks are functions' results, not types


def fork_safe(lock: Lock) -> Lock:
    """Have forks wait for the lock; a child would wait for ever for a thread that it lacks."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(
            before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release)
    return lock


recording_lock = fork_safe(threading.RLock())
"""Only one recording at a time can be in progress."""

_ALIGNMENT = 64  # a cache line, as cnf_allocate's
_NONE, _ARENA, _FIRST = 0, 1, 2  # cnnfast.h: CNF_BASE_*
# Primitives whose output may lie over an input: the positions of those inputs.
_IN_PLACE = {
    "unary_forward": (1,), "binary_forward": (1, 2), "ternary_forward": (1, 2, 3),
    "conv2d_forward": (5,), "conv2d_scaled_forward": (6,),  # the residual
    "unary_backward": (1, 2), "norm_backward": (3,), "norm_evaluate_backward": (3,),
    "dropout_apply": (1,),
}

Call = tuple[int, str, bytes, tuple[np.ndarray | None, ...], tuple[int, ...], int]


@dataclass
class _Slot:
    """Bytes of the arena that are in use from call `first` to call `last`."""

    size: int
    first: int
    last: int
    offset: int = 0


def memory_of(array: np.ndarray) -> np.ndarray:
    """Return the array that owns the memory of `array`."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def make_plan(
    function: Function,
    inputs: Signature,
    workspace: _core.Workspace,
    threads: int = 0,
) -> _core.Plan:
    """Return the plan of ``function(*tensors) -> tensors`` for inputs of these shapes and types.

    Parameters
    ----------
    function : callable
        Called once, on Tensors without values. What it computes must follow from shapes alone.
    inputs : tuple of (shape, dtype)
    workspace : Workspace
        Memory in which the plan runs.
    threads : int
        At most so many; 0 for the usual number.

    Raises
    ------
    DataDependent
        Where the function looks at values.
    """
    arrays = [unknown(shape, dtype) for shape, dtype in inputs]
    recording = _core.Recording(Unknown)
    for array in arrays:
        recording.add_unknown(array)
    with recording_lock, no_grad(), recording:
        results = function(*(Tensor.wrap(array) for array in arrays))
        outputs = dense_outputs(recording, arrays, [result.array for result in results])
    return plan_of(recording, live_calls(recording), arrays, outputs, workspace, threads)


def dense_outputs(
    recording: _core.Recording, inputs: list[np.ndarray], results: list[np.ndarray],
    *, images: bool = False,
) -> list[np.ndarray]:
    """Return the results, each as a dense array with memory of its own.

    With `images`, for another plan to go on with, what is stored as an image remains one.
    """
    taken = {id(memory_of(array)) for array in inputs}
    outputs = []
    for array in results:
        memory = memory_of(array)
        as_image = images and array.ndim == 4 and _core.is_image(array)
        dense = array.flags.c_contiguous and array.nbytes == memory.nbytes
        if as_image:  # not a slice of some channels
            dense = (array.shape, array.strides) == (memory.shape, memory.strides)
        if not dense or id(memory) in taken or not recording.is_unknown(array):
            if array.dtype != np.float32:
                raise DataDependent(f"a result is a view of {array.dtype} numbers of another")
            shape = array.shape
            copy = _core.empty_image(*shape) if as_image else _core.empty(shape)
            recording.add_unknown(copy)
            _core.copy(copy, array)
            array, memory = copy, copy
        taken.add(id(memory))
        outputs.append(array)
    return outputs


def live_calls(recording: _core.Recording) -> list[int]:
    """Return the numbers of the calls that write what depends on unknown values."""
    return [
        number for number, call in enumerate(recording.calls)
        if any(a is not None and recording.is_unknown(a) for a in call[3][: call[5]])
    ]


@dataclass
class Layout:
    """Calls whose operands are offsets from numbered bases.

    Attributes
    ----------
    calls : list of (number, descriptor, bases, offsets)
        Base 0 is no operand, 1 the arena; then come the inputs, the outputs and the constants.
    arena : int
        Bytes of the arena.
    constants : list of ndarray
        The memory of each.
    """

    calls: list[tuple[int, bytes, tuple[int, ...], tuple[int, ...]]]
    arena: int
    constants: list[np.ndarray]


def lay_out(
    recording: _core.Recording,
    kept: list[int],
    inputs: list[np.ndarray],
    outputs: list[np.ndarray],
) -> Layout:
    """Place what the calls `kept` of a recording need between `inputs` and `outputs`."""
    all_calls = recording.calls
    calls = [all_calls[i] for i in kept]
    ends = {
        id(memory_of(array)): (_FIRST + i, address_of(memory_of(array)))
        for i, array in enumerate((*inputs, *outputs))
    }
    slots = _lifetimes(recording, calls, ends)
    _share(calls, slots)
    arena = _place(list({id(slot): slot for slot in slots.values()}.values()))
    first, constants = _FIRST + len(inputs) + len(outputs), dict[int, tuple[int, np.ndarray]]()
    rows = []
    for number, _, descriptor, arrays, addresses, _ in calls:
        bases, offsets = [], []
        for array, address in zip(arrays, addresses, strict=True):
            memory = None if array is None else memory_of(array)
            if memory is None:
                base, offset = _NONE, 0
            elif id(memory) in ends:
                base, start = ends[id(memory)]
                offset = address - start
            else:
                offset = address - address_of(memory)
                if id(memory) in slots:
                    base = _ARENA
                    offset += slots[id(memory)].offset
                else:
                    base = constants.setdefault(id(memory), (first + len(constants), memory))[0]
            bases.append(base)
            offsets.append(offset)
        rows.append((number, descriptor, tuple(bases), tuple(offsets)))
    return Layout(rows, arena, [memory for _, memory in constants.values()])


def plan_of(
    recording: _core.Recording,
    kept: list[int],
    inputs: list[np.ndarray],
    outputs: list[np.ndarray],
    workspace: _core.Workspace,
    threads: int,
    parts: int = 1,
) -> _core.Plan:
    """Return the plan of the calls `kept` of a recording between `inputs` and `outputs`.

    The plan runs on `parts` times as many samples, in so many parts.
    """
    layout = lay_out(recording, kept, inputs, outputs)
    first = _FIRST + len(inputs) + len(outputs)
    starts = dict(enumerate(map(address_of, layout.constants), first))
    rows = [
        (number, descriptor, tuple(_NONE if base in starts else base for base in bases),
         tuple(offset + starts.get(base, 0) for base, offset in zip(bases, offsets, strict=True)))
        for number, descriptor, bases, offsets in layout.calls
    ]
    return _core.Plan(
        rows, layout.arena, tuple(map(_end, inputs)), tuple(map(_end, outputs)), layout.constants,
        workspace, threads, parts,
    )


def _end(array: np.ndarray) -> tuple[tuple[int, ...], str]:
    """Return shape and dtype of an array as it lies in memory, an image with all its pitch."""
    shape = array.shape
    if not array.flags.c_contiguous:
        shape = (shape[0], *shape[2:], array.strides[3] // array.itemsize)
    return shape, array.dtype.name


def signature_of(arrays: Sequence[np.ndarray]) -> Signature:
    """Return shape and dtype of each array."""
    return tuple((array.shape, array.dtype.name) for array in arrays)


def address_of(array: np.ndarray) -> int:
    """Return where the first byte of an array stands."""
    return int(np.lib.array_utils.byte_bounds(array)[0])


def _lifetimes(
    recording: _core.Recording, calls: list[Call], ends: dict[int, tuple[int, int]]
) -> dict[int, _Slot]:
    """Return by the id of its memory each buffer between the ends, with its first and last use."""
    slots: dict[int, _Slot] = {}
    for i, call in enumerate(calls):
        for array in call[3]:
            if array is None or not recording.is_unknown(array):
                continue
            memory = memory_of(array)
            # What was there before the recording, such as a parameter, stays where it is.
            if id(memory) in ends or not isinstance(memory, Unknown):
                continue
            if id(memory) not in slots:
                low, high = np.lib.array_utils.byte_bounds(memory)
                size = -(-int(high - low) // _ALIGNMENT) * _ALIGNMENT
                slots[id(memory)] = _Slot(size, i, i)
            slots[id(memory)].last = i
    return slots


def _share(calls: list[Call], slots: dict[int, _Slot]) -> None:
    """Let a result lie over an operand that nobody reads afterwards, where a primitive allows."""
    for i, (_, name, _, arrays, addresses, _) in enumerate(calls):
        y = arrays[0]
        to = None if y is None else slots.get(id(memory_of(y)))
        if y is None or to is None or to.first != i or memory_of(y).nbytes != y.nbytes:
            continue
        for position in _IN_PLACE.get(name, ()):
            x = arrays[position]
            source = None if x is None else slots.get(id(memory_of(x)))
            if x is None or source is None or source is to or source.last != i:
                continue
            address = addresses[position]
            if _same_layout(x, y) and all(
                other is None or k == position or slots.get(id(memory_of(other))) is not source
                or (not name.startswith("conv2d") and addresses[k] == address
                    and _same_layout(other, y))
                for k, other in enumerate(arrays)
            ):
                slots[id(memory_of(y))] = source
                source.last = to.last
                break


def _same_layout(x: np.ndarray, y: np.ndarray) -> bool:
    """Whether x is all of its memory and has its elements in the order of y's."""
    return x.shape == y.shape and x.strides == y.strides and memory_of(x).nbytes == x.nbytes


def _place(slots: list[_Slot]) -> int:
    """Give each slot its offset, largest first, in the tightest gap; return the arena's size."""
    placed: list[_Slot] = []
    for slot in sorted(slots, key=lambda slot: -slot.size):
        best, best_gap, end = -1, None, 0
        for other in placed:  # in order of offset
            if other.last < slot.first or slot.last < other.first:
                continue
            gap = other.offset - end
            if gap >= slot.size and (best_gap is None or gap < best_gap):
                best, best_gap = end, gap
            end = max(end, other.offset + other.size)
        slot.offset = best if best_gap is not None else end
        placed.append(slot)
        placed.sort(key=lambda slot: slot.offset)
    return max((slot.offset + slot.size for slot in placed), default=0)
