"""Control flow, sequences and optional values: each is the standard's operator of its name.

A graph in an attribute arrives as a function of its inputs (`cnnfast.onnx.interpreter.body`). A
sequence is a list of values, an empty optional is None.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ... import axes as rules
from .indexing import _checked
from .registry import operator
from .shaping import Concat, Split
from .values import Value, array, integers, scalar, wrapped

Ints = Sequence[int]
Body = Callable[..., list[Value]]


@operator()
def If(condition: Value, *, then_branch: Body, else_branch: Body) -> tuple[Value, ...]:
    return tuple(then_branch() if scalar(condition) else else_branch())


def _stacked(values: list[Value], axis: int = 0) -> Value:
    """Return the values along a new axis; no values give an empty tensor."""
    if not values:
        return wrapped(np.zeros(0, np.float32))
    new = [v.reshape((*v.shape[:axis], 1, *v.shape[axis:])) for v in values]
    return Concat(*new, axis=axis)


@operator()
def Loop(
    count: Value, condition: Value, *initial: Value, body: Body, outputs: int
) -> tuple[Value, ...]:
    """Repeat while the condition holds, at most `count` times; carry values, collect others."""
    most = None if count is None else int(scalar(count))
    going = condition is None or bool(scalar(condition))
    state = list(initial)
    collected: list[list[Value]] = [[] for _ in range(outputs - len(state))]
    step = 0
    while going and (most is None or step < most):
        results = body(np.array(step, np.int64), np.array(going), *state)
        going = bool(scalar(results[0]))
        state = results[1 : 1 + len(state)]
        for values, value in zip(collected, results[1 + len(state) :], strict=True):
            values.append(value)
        step += 1
    return (*state, *map(_stacked, collected))


@operator()
def Scan(
    *inputs: Value, body: Body, num_scan_inputs: int, opset: int, outputs: int,
    directions: Ints | None = None, scan_input_axes: Ints | None = None,
    scan_input_directions: Ints | None = None, scan_output_axes: Ints | None = None,
    scan_output_directions: Ints | None = None,
) -> tuple[Value, ...]:
    """Run the body on the slices of the last inputs; carry the first ones."""
    if opset < 9:
        return _batched_scan(inputs, body, num_scan_inputs, directions)
    states = len(inputs) - num_scan_inputs
    scanned, results = inputs[states:], outputs - states
    axes = list(scan_input_axes or [0] * len(scanned))
    slices = [
        _slices(x, axis, back) for x, axis, back in zip(
            scanned, axes, scan_input_directions or [0] * len(scanned), strict=True)
    ]
    state, collected = _scanned(list(inputs[:states]), slices, body, results)
    rows = zip(
        collected, scan_output_axes or [0] * results, scan_output_directions or [0] * results,
        strict=True,
    )
    joined = [
        _stacked(values[::-1] if back else values, _place(axis, values))
        for values, axis, back in rows
    ]
    return (*state, *joined)


def _place(axis: int, values: list[Value]) -> int:
    """Return the new axis counted from the front."""
    return axis if axis >= 0 or not values else axis + values[0].ndim + 1


def _slices(x: Value, axis: int, back: int) -> list[Value]:
    lead = (slice(None),) * (axis := rules.axis(x.ndim, axis))
    parts = [x[(*lead, i)] for i in range(x.shape[axis])]
    return parts[::-1] if back else parts


def _scanned(
    state: list[Value], slices: list[list[Value]], body: Body, results: int
) -> tuple[list[Value], list[list[Value]]]:
    collected: list[list[Value]] = [[] for _ in range(results)]
    for parts in zip(*slices, strict=True):
        made = body(*state, *parts)
        for values, value in zip(collected, made[len(state) :], strict=True):
            values.append(value)
        state = made[: len(state)]
    return state, collected


def _batched_scan(
    inputs: tuple[Value, ...], body: Body, scanned: int, directions: Ints | None
) -> tuple[Value, ...]:
    """Opset 8: the first input holds lengths (or nothing), axis 0 of all others is a batch."""
    lengths, *values = inputs
    states = len(values) - scanned
    batches = []
    for b in range(values[0].shape[0]):
        slices = [_slices(x[b], 0, back) for x, back in zip(
            values[states:], directions or [0] * scanned, strict=True)]
        if lengths is not None:
            slices = [part[: int(array(lengths)[b])] for part in slices]
        made = [body(*(x[b] for x in values[:states]), *(part[0] for part in slices))]
        state, collected = _scanned(
            [x[b] for x in values[:states]], slices, body, len(made[0]) - states)
        batches.append([*state, *map(_stacked, collected)])
    return tuple(_stacked(list(parts)) for parts in zip(*batches, strict=True))


# ---- sequences -----------------------------------------------------------------------------


@operator()
def SequenceConstruct(*values: Value) -> list[Value]:
    return list(values)


@operator()
def SequenceEmpty(*, dtype: int = 1) -> list[Value]:
    return []


def _position(sequence: list[Value], at: Value, end: int) -> int:
    return int(_checked(np.array(scalar(at)), end))


@operator()
def SequenceInsert(sequence: list[Value], value: Value, at: Value = None) -> list[Value]:
    place = len(sequence) if at is None else int(scalar(at))
    if not -len(sequence) <= place <= len(sequence):
        raise IndexError(f"position {place} in a sequence of {len(sequence)}")
    result = list(sequence)
    result.insert(place, value)
    return result


@operator()
def SequenceErase(sequence: list[Value], at: Value = None) -> list[Value]:
    place = len(sequence) - 1 if at is None else _position(sequence, at, len(sequence))
    return [value for i, value in enumerate(sequence) if i != place]


@operator()
def SequenceAt(sequence: list[Value], at: Value) -> Value:
    return sequence[_position(sequence, at, len(sequence))]


@operator()
def SequenceLength(sequence: list[Value]) -> np.ndarray:
    return np.array(len(sequence), np.int64)


@operator()
def SplitToSequence(
    x: Value, split: Value = None, *, axis: int = 0, keepdims: int = 1
) -> list[Value]:
    """Cut into parts of the given sizes or size; into single elements without one."""
    whole = x.shape[axis]
    if split is None:
        parts = list(Split(x, np.ones(whole, np.int64), axis=axis, outputs=whole))
        if keepdims:
            return parts
        shape = tuple(size for i, size in enumerate(x.shape) if i != rules.axis(x.ndim, axis))
        return [part.reshape(shape) for part in parts]
    sizes = integers(split)
    if array(split).ndim == 0:
        full, rest = divmod(whole, sizes[0])
        sizes = [sizes[0]] * full + ([rest] if rest else [])
    return list(Split(x, np.array(sizes), axis=axis, outputs=len(sizes)))


@operator()
def ConcatFromSequence(sequence: list[Value], *, axis: int, new_axis: int = 0) -> Value:
    if new_axis:
        return _stacked(sequence, _place(axis, sequence))
    return Concat(*sequence, axis=axis)


@operator()
def SequenceMap(
    sequence: list[Value], *others: Value, body: Body, outputs: int
) -> Any:
    """Apply the body to each element; other sequences are walked along, tensors stay."""
    results: list[list[Value]] = [[] for _ in range(outputs)]
    for i, value in enumerate(sequence):
        beside = [other[i] if isinstance(other, list) else other for other in others]
        for values, made in zip(results, body(value, *beside), strict=True):
            values.append(made)
    return tuple(results)


# ---- optional values -----------------------------------------------------------------------


@operator()
def Optional(value: Value = None, *, type: str | None = None) -> Value:
    return value


@operator()
def OptionalHasElement(value: Value = None) -> np.ndarray:
    return np.array(value is not None)


@operator()
def OptionalGetElement(value: Value) -> Value:
    if value is None:
        raise ValueError("the optional value is empty")
    return value
