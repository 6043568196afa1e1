"""The rules of axes: which one a number names, and the shapes of what rearranges elements.

As `cnnfast.shapes`, for reductions, views, joins and cuts: each function takes shapes and
attributes, returns the result's shape or the attributes counted from 0, and raises an error that
names what was given and the rule that it broke.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from .shapes import axis, broadcast

__all__ = [
    "axes", "axis", "cat", "expand", "fits", "flatten", "gather", "narrow", "not_empty",
    "permutation", "reshape", "split", "stack",
]


def axes(ndim: int, dim: int | Sequence[int] | None) -> tuple[int, ...]:
    """Return the axes of a reduction in order: one, several, or all (None or none named)."""
    if dim is not None and not isinstance(dim, Sequence):
        dim = (dim,)
    if not dim:
        return tuple(range(ndim))
    found = sorted(axis(ndim, one) for one in dim)
    if len(set(found)) != len(found):
        raise ValueError(f"dim {tuple(dim)} names an axis twice")
    return tuple(one for one in found if one < ndim)


def not_empty(name: str, x: Sequence[int], axes: Sequence[int]) -> None:
    """Check that a reduction without a neutral element has elements to choose from."""
    if any(x[one] == 0 for one in axes):
        raise ValueError(f"{name}: no elements along axes {tuple(axes)} of shape {tuple(x)}")


def reshape(x: Sequence[int], shape: Sequence[int]) -> tuple[int, ...]:
    """Return `shape` with its one -1, if any, replaced by what is left of x's elements."""
    known = math.prod(size for size in shape if size != -1)
    total = math.prod(x)
    unknown = [size for size in shape if size == -1]
    if min(shape, default=0) < -1 or len(unknown) > 1:
        raise ValueError(f"reshape: expected sizes from 0 and at most one -1, got {tuple(shape)}")
    if (unknown and (known == 0 or total % known)) or (not unknown and known != total):
        raise ValueError(
            f"reshape: the {total} elements of shape {tuple(x)} do not fill {tuple(shape)}"
        )
    return tuple(total // known if size == -1 else size for size in shape)


def flatten(x: Sequence[int], start_dim: int, end_dim: int) -> tuple[int, ...]:
    """Return x's shape with the axes from start_dim to end_dim merged into one."""
    if not x:
        return (1,)
    start, end = axis(len(x), start_dim), axis(len(x), end_dim)
    if start > end:
        raise ValueError(
            f"flatten: start_dim {start_dim} comes after end_dim {end_dim} in {tuple(x)}"
        )
    return (*x[:start], math.prod(x[start : end + 1]), *x[end + 1 :])


def permutation(ndim: int, dims: Sequence[int]) -> tuple[int, ...]:
    """Return `dims` counted from 0; they must name every axis once."""
    order = tuple(axis(ndim, dim) for dim in dims)
    if sorted(order) != list(range(ndim)):
        raise ValueError(f"permute: expected each of {ndim} axes once, got {tuple(dims)}")
    return order


def expand(x: Sequence[int], sizes: Sequence[int]) -> tuple[int, ...]:
    """Return `sizes` with -1 replaced by x's; only axes of size 1, and new ones, may change."""
    lead = len(sizes) - len(x)
    old = (1,) * max(lead, 0) + tuple(x)
    new = tuple(n if size == -1 else size for n, size in zip(old, sizes, strict=lead >= 0))
    if lead < 0 or any(size == -1 for size in sizes[:lead]) or any(
        n not in (1, size) or size < 0 for n, size in zip(old, new, strict=True)
    ):
        raise ValueError(
            f"expand: shape {tuple(x)} does not expand to {tuple(sizes)}: only axes of size 1 and "
            "new axes in front can change"
        )
    return new


def fits(value: Sequence[int], target: Sequence[int]) -> None:
    """Check that a value can be written into a target by broadcasting."""
    if broadcast(value, target) != tuple(target):
        raise ValueError(f"a value of shape {tuple(value)} does not fit into {tuple(target)}")


def cat(tensors: Sequence[Sequence[int]], dim: int) -> tuple[tuple[int, ...], int]:
    """Return the shape of tensors joined along axis `dim`, and that axis counted from 0."""
    used = [tuple(shape) for shape in tensors if tuple(shape) != (0,)] or [(0,)] * len(tensors)
    if not used:
        raise ValueError("cat: expected at least one tensor")
    at = axis(len(used[0]), dim)
    for shape in used:
        if len(shape) != len(used[0]) or shape[:at] + shape[at + 1 :] != (
            used[0][:at] + used[0][at + 1 :]
        ):
            raise ValueError(f"cat: shapes {used[0]} and {shape} differ in more than axis {dim}")
    if not used[0]:
        raise ValueError("cat: tensors without axes cannot be joined; stack() them")
    return (*used[0][:at], sum(shape[at] for shape in used), *used[0][at + 1 :]), at


def stack(tensors: Sequence[Sequence[int]]) -> None:
    """Check that there are tensors, all of one shape."""
    if not tensors or len(set(map(tuple, tensors))) > 1:
        raise ValueError(f"stack: expected tensors of one shape, got {list(map(tuple, tensors))}")


def narrow(x: Sequence[int], axis: int, start: int, length: int) -> int:
    """Return `start` counted from 0; the places [start, start + length) must exist."""
    size = x[axis] if x else 0
    first = start + size if start < 0 else start
    if not 0 <= first <= first + length <= size:
        raise ValueError(
            f"narrow: {length} places from {start} lie outside of axis {axis} of {tuple(x)}"
        )
    return first


def split(x: Sequence[int], sections: int | Sequence[int], dim: int) -> tuple[int, ...]:
    """Return the sizes of the parts of axis `dim`."""
    size = x[axis(len(x), dim)]
    if isinstance(sections, int):
        if sections < 1:
            raise ValueError(f"split: expected a size of at least 1, got {sections}")
        count = max(1, -(-size // sections))
        return (sections,) * (count - 1) + (size - sections * (count - 1),)
    if min(sections, default=0) < 0 or sum(sections) != size:
        raise ValueError(
            f"split: sizes {tuple(sections)} do not add up to {size}, axis {dim} of {tuple(x)}"
        )
    return tuple(sections)


def gather(x: Sequence[int], index: Sequence[int], axis: int) -> None:
    """Check that `index` has x's axes and is nowhere longer than x but along `axis`."""
    if len(x) != len(index) or any(
        one != axis and i > n for one, (n, i) in enumerate(zip(x, index, strict=True))
    ):
        raise ValueError(
            f"gather: an index of shape {tuple(index)} does not fit input {tuple(x)} along axis "
            f"{axis}"
        )
