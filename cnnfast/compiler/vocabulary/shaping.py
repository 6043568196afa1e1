"""Other shapes: views, joining and cutting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ... import axes as rules
from ...functional.shaping import sizes_of
from ...tensor import Tensor
from .registry import Given, Names, translation

if TYPE_CHECKING:
    from ..tracer import Trace


def _sizes(x: Tensor, shape: Sequence[int]) -> list[int]:
    """Return `shape` with 0 for what is the input's own size: the batch, and axes after it."""
    sizes = list(shape)
    for i, (old, new) in enumerate(zip(x.shape, shape, strict=False)):
        if old != new:
            break
        sizes[i] = 0
    return sizes


@translation("reshape", "view")
def _reshape(t: Trace, a: Given, y: Any) -> Names:
    return _to_shape(t, a["input"], sizes_of(a["shape"]), y)


@translation("flatten")
def _flatten(t: Trace, a: Given, y: Any) -> Names:
    x = a["input"]
    if a["start_dim"] == 1 and a["end_dim"] in (-1, x.ndim - 1) and x.ndim > 1:
        return t.node("Flatten", [t.value(x)], axis=1)
    at = rules.axis(max(x.ndim, 1), a["start_dim"])
    wanted = [-1 if i == at else size for i, size in enumerate(y.shape)]
    return _to_shape(t, x, wanted, y)


@translation("unflatten")
def _unflatten(t: Trace, a: Given, y: Any) -> Names:
    at = rules.axis(a["input"].ndim, a["dim"])
    wanted = [*y.shape[:at], *a["sizes"], *y.shape[at + len(a["sizes"]) :]]
    return _to_shape(t, a["input"], wanted, y)


def _to_shape(t: Trace, x: Tensor, wanted: Sequence[int], y: Tensor) -> str:
    """Append a Reshape; the batch stays open, and one -1 of the model's own is kept."""
    sizes = _sizes(x, y.shape)
    if -1 in wanted and sizes[list(wanted).index(-1)] != 0:
        sizes[list(wanted).index(-1)] = -1
    name: str = t.node("Reshape", [t.value(x), t.integers(sizes)])
    return name


@translation("permute")
def _permute(t: Trace, a: Given, y: Any) -> Names:
    order = rules.permutation(a["input"].ndim, sizes_of(a["dims"]))
    return t.node("Transpose", [t.value(a["input"])], perm=list(order))


@translation("transpose")
def _transpose(t: Trace, a: Given, y: Any) -> Names:
    order = list(range(a["input"].ndim))
    i, j = (rules.axis(len(order), a[name]) for name in ("dim0", "dim1"))
    order[i], order[j] = j, i
    return t.node("Transpose", [t.value(a["input"])], perm=order)


@translation("movedim")
def _movedim(t: Trace, a: Given, y: Any) -> Names:
    rank = a["input"].ndim
    order = list(range(rank))
    order.insert(rules.axis(rank, a["destination"]), order.pop(rules.axis(rank, a["source"])))
    return t.node("Transpose", [t.value(a["input"])], perm=order)


@translation("squeeze")
def _squeeze(t: Trace, a: Given, y: Any) -> Names:
    x = a["input"]
    named = range(x.ndim) if a["dim"] is None else rules.axes(x.ndim, a["dim"])
    gone = [axis for axis in named if x.shape[axis] == 1]
    return t.node("Squeeze", [t.value(x), t.integers(gone)]) if gone else t.value(x)


@translation("unsqueeze")
def _unsqueeze(t: Trace, a: Given, y: Any) -> Names:
    at = rules.axis(a["input"].ndim + 1, a["dim"])
    return t.node("Unsqueeze", [t.value(a["input"]), t.integers([at])])


@translation("channel_shuffle")
def _channel_shuffle(t: Trace, a: Given, y: Any) -> Names:
    if not t.portable or y.ndim != 4:
        return None
    _, c, h, w = y.shape
    cut = t.node("Reshape", [t.value(a["input"]), t.integers([0, a["groups"], -1, h, w])])
    turned = t.node("Transpose", [cut], perm=[0, 2, 1, 3, 4])
    return t.node("Reshape", [turned, t.integers([0, c, h, w])])


@translation("expand", "broadcast_to")
def _expand(t: Trace, a: Given, y: Any) -> Names:
    x = a["input"]
    old = (1,) * (y.ndim - x.ndim) + x.shape
    wanted = [1 if o == n else n for o, n in zip(old, y.shape, strict=True)]
    return t.node("Expand", [t.value(x), t.integers(wanted)])


@translation("cat")
def _cat(t: Trace, a: Given, y: Any) -> Names:
    axis = rules.axis(y.ndim, a["dim"])
    return t.node("Concat", [t.value(part) for part in a["tensors"]], axis=axis)


@translation("stack")
def _stack(t: Trace, a: Given, y: Any) -> Names:
    axis = rules.axis(y.ndim, a["dim"])
    parts = [t.node("Unsqueeze", [t.value(p), t.integers([axis])]) for p in a["tensors"]]
    return t.node("Concat", parts, axis=axis)


@translation("split", "chunk")
def _split(t: Trace, a: Given, y: Any) -> Names:
    axis = rules.axis(a["input"].ndim, a["dim"])
    sizes = t.integers([part.shape[axis] for part in y])
    names = t.node("Split", [t.value(a["input"]), sizes], len(y), axis=axis)
    return [names] if len(y) == 1 else names


@translation("getitem")
def _getitem(t: Trace, a: Given, y: Any) -> Names:
    """Slices with steps forwards, whole numbers, None and an ellipsis."""
    key = a["key"] if isinstance(a["key"], tuple) else (a["key"],)
    if not all(isinstance(k, (int, slice)) or k in (None, Ellipsis) for k in key):
        return None
    x = a["input"]
    missing = x.ndim - sum(isinstance(k, (int, slice)) for k in key)
    if Ellipsis in key:
        at = key.index(Ellipsis)
        key = (*key[:at], *[slice(None)] * missing, *key[at + 1 :])
    cut: list[tuple[int, int, int, int]] = []
    gone: list[int] = []
    new: list[int] = []
    axis = 0
    for position, k in enumerate(key):
        if k is None:
            new.append(position - len(gone))
            continue
        if isinstance(k, int):
            cut.append((axis, k, k + 1 if k != -1 else _END, 1))
            gone.append(axis)
        elif k != slice(None):
            cut.append((axis, k.start or 0, _END if k.stop is None else k.stop, k.step or 1))
        axis += 1
    name = t.value(x)
    if cut:
        axes, starts, ends, steps = (t.integers(part) for part in zip(*cut, strict=True))
        name = t.node("Slice", [name, starts, ends, axes, steps])
    name = t.node("Squeeze", [name, t.integers(gone)]) if gone else name
    return t.node("Unsqueeze", [name, t.integers(new)]) if new else name


_END = 2**31 - 1  # the standard's word for "up to the end"


@translation("narrow")
def _narrow(t: Trace, a: Given, y: Any) -> Names:
    axis = rules.axis(a["input"].ndim, a["dim"])
    bounds = (a["start"], a["start"] + a["length"], axis, 1)
    return t.node("Slice", [t.value(a["input"]), *(t.integers([b]) for b in bounds)])
