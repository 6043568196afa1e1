"""The little of Python's pickle format that CIFAR's files need, read as data: nothing is executed.

A pickle is a program for a stack machine which may import and call anything. This reader walks
the opcodes with `pickletools`, knows containers, strings, numbers and the four functions that
rebuild a NumPy array, and refuses everything else. Those four are imitated here rather than
called, so no byte of the file reaches numpy's own unpickling. Called by `cifar`.
Source of the opcodes: the standard library's pickletools.py, protocols 2 to 5.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnnfast.errors import FormatError

__all__ = ["read_pickled"]

_DTYPES = {"b1", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f4", "f8"}


def read_pickled(data: bytes) -> dict[str, Any]:
    """Return the dictionary pickled in `data`.

    Keys become str, whether Python 2 or 3 wrote them; values are int, float, str, bytes, None,
    containers of those, or at the top level ndarray.

    Raises
    ------
    FormatError
        If the pickle holds anything else, or is damaged.
    """
    result = _Machine().run(data)
    if not isinstance(result, dict):
        raise FormatError(f"expected a pickled dictionary, found {type(result).__name__}")
    return {
        key: value.array if isinstance(value, _Array) else value for key, value in result.items()
    }


class _Function(NamedTuple):
    """A function as the file names it."""

    module: str
    name: str


class _Type:
    """Stands for a dtype while its byte order is still to come."""

    def __init__(self, code: Any, *_: Any) -> None:
        code = _text(code)
        if code not in _DTYPES:
            raise FormatError(f"expected an array of numbers, found type {code[:20]!r}")
        self.dtype = np.dtype(code)

    def build(self, state: Any) -> None:
        order = _text(state[1])
        if order not in ("<", ">", "|", "="):
            raise FormatError(f"expected a byte order, found {order[:20]!r}")
        self.dtype = self.dtype.newbyteorder(order)


class _Array:
    """Stands for an array whose contents are still to come."""

    array: NDArray[Any]

    def __init__(self, *_: Any) -> None:
        self.array = np.empty(0)

    def build(self, state: Any) -> None:
        *_, shape, kind, fortran, raw = state
        self.fill(raw, kind, shape, "F" if fortran else "C")

    def fill(self, raw: Any, kind: Any, shape: Any, order: Any) -> _Array:
        if not (isinstance(raw, (bytes, bytearray)) and isinstance(kind, _Type)):
            raise FormatError("expected an array's bytes and type, found something else")
        if not all(isinstance(size, int) and size >= 0 for size in shape):
            raise FormatError("an array's shape is not made of sizes")
        expected = math.prod(shape) * kind.dtype.itemsize
        if len(raw) != expected:
            raise FormatError(f"an array of {expected} bytes holds {len(raw)}")
        order = "F" if _text(order) == "F" else "C"
        self.array = np.frombuffer(raw, kind.dtype).reshape(shape, order=order)
        return self


def _text(value: Any) -> str:
    """Return a string that Python 2 may have written as bytes."""
    if isinstance(value, (bytes, bytearray)):
        return value.decode("latin-1")
    if not isinstance(value, str):
        raise FormatError(f"expected a string, found {type(value).__name__}")
    return value


def _encode(text: Any, encoding: Any) -> bytes:
    """Imitate codecs.encode, with which Python 3 writes bytes in protocol 2."""
    if _text(encoding) not in ("latin1", "latin-1"):
        raise FormatError("expected bytes in the encoding latin1")
    return _text(text).encode("latin-1")


_FUNCTIONS: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "dtype"): _Type,
    ("_codecs", "encode"): _encode,
}
for _core in ("numpy.core", "numpy._core"):
    _FUNCTIONS[f"{_core}.multiarray", "_reconstruct"] = _Array
    _FUNCTIONS[f"{_core}.numeric", "_frombuffer"] = lambda *given: _Array().fill(*given)
# Named as an argument of _reconstruct, never called.
_NAMES = {("numpy", "ndarray"), *_FUNCTIONS}

_IGNORED = {"PROTO", "FRAME"}
_VALUES = {
    "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE",
    "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
}  # fmt: skip
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple,
}  # fmt: skip
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class _Machine:
    """The stack, the marks on it (as depths) and the memo."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self, data: bytes) -> Any:
        import pickletools

        argument: Any
        for opcode, argument, position in pickletools.genops(data):
            name = opcode.name
            if name == "STOP":
                return self.stack.pop()
            if name in _IGNORED:
                continue
            if name in _VALUES:
                self.stack.append(argument)
            elif name in ("BINSTRING", "SHORT_BINSTRING"):  # a str of Python 2: bytes
                self.stack.append(argument.encode("latin-1"))
            elif name in _CONSTANTS:
                self.stack.append(_CONSTANTS[name]())
            elif name in _TUPLES:
                self.stack.append(tuple(self.pop(_TUPLES[name])))
            else:
                step = getattr(self, f"do_{name.lower()}", None)
                if step is None:
                    raise FormatError(f"pickle opcode {name} at byte {position} is refused")
                step(argument)
        raise FormatError("the pickle has no end")

    def pop(self, count: int) -> list[Any]:
        start = len(self.stack) - count
        if count < 0 or start < 0:
            raise FormatError("the pickle takes more from its stack than it put there")
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def pop_to_mark(self) -> list[Any]:
        return self.pop(len(self.stack) - self.marks.pop())

    def do_mark(self, _: Any) -> None:
        self.marks.append(len(self.stack))

    def do_tuple(self, _: Any) -> None:
        self.stack.append(tuple(self.pop_to_mark()))

    def do_append(self, _: Any) -> None:
        self.extend(self.pop(1))

    def do_appends(self, _: Any) -> None:
        self.extend(self.pop_to_mark())

    def extend(self, values: list[Any]) -> None:
        if not isinstance(self.stack[-1], list):
            raise FormatError("the pickle appends to something that is no list")
        self.stack[-1].extend(values)

    def do_setitem(self, _: Any) -> None:
        self.update(self.pop(2))

    def do_setitems(self, _: Any) -> None:
        self.update(self.pop_to_mark())

    def update(self, flat: list[Any]) -> None:
        if not isinstance(self.stack[-1], dict):
            raise FormatError("the pickle sets items of something that is no dictionary")
        # Only strings are keys: hashing a deeply nested tuple would exhaust the C stack.
        self.stack[-1].update(zip(map(_text, flat[::2]), flat[1::2], strict=True))

    def do_memoize(self, _: Any) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def do_binput(self, slot: int) -> None:
        self.memo[slot] = self.stack[-1]

    def do_binget(self, slot: int) -> None:
        if slot not in self.memo:
            raise FormatError(f"the pickle recalls value {slot}, which it never stored")
        self.stack.append(self.memo[slot])

    do_long_binput = do_binput
    do_long_binget = do_binget

    def do_global(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self.name_function(module, name)

    def do_stack_global(self, _: Any) -> None:
        module, name = self.pop(2)
        self.name_function(_text(module), _text(name))

    def name_function(self, module: str, name: str) -> None:
        if (module, name) not in _NAMES:
            raise FormatError(
                f"it wants to run {module[:60]}.{name[:60]}, which is refused: "
                "only arrays, containers, strings and numbers are read from a pickle"
            )
        self.stack.append(_Function(module, name))

    def do_reduce(self, _: Any) -> None:
        function, arguments = self.pop(2)
        if not isinstance(function, _Function) or function not in _FUNCTIONS:
            raise FormatError("the pickle calls something that is no function")
        self.stack.append(_FUNCTIONS[function](*arguments))

    def do_build(self, _: Any) -> None:
        (state,) = self.pop(1)
        target = self.stack[-1]
        if not isinstance(target, (_Type, _Array)):
            raise FormatError("the pickle sets the state of something that is no array")
        target.build(state)
