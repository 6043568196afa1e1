"""`CompiledModel`: a network that runs as plans of primitives, one for each shape it meets."""

from __future__ import annotations

import mmap
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from .. import _core
from ..checkpoint import PathLike
from ..graph import Graph, ValueType
from ..onnx.interpreter import check_operators, constants_of, run
from ..onnx.operators.values import Value
from . import operators as _operators
from .files import read_graph, write_graph
from .plan import Signature, fork_safe, signature_of
from .profile import Profile, make_profile
from .program import Program, make_program, own_arrays
from .weights import PackedWeight, packed_weights, with_originals

__all__ = ["CompiledModel"]

lock = fork_safe(threading.Lock())
"""Over the programs of all models, for a moment each; nothing else is waited for under it."""

assert _operators  # imported to enter its rows into the table

MOST_PROGRAMS = 32
"""Shapes whose plans are kept, each some ten kilobytes; the weights are shared."""


class CompiledModel:
    """A network for inference: made by `cnnfast.compile`, `cnnfast.onnx.load` or `cnnfast.load`.

    Any number of threads may call it at once. It can be pickled and copied.

    Parameters
    ----------
    graph : Graph
        The network after all passes.
    threads : int, optional
        A call uses at most so many threads; by default `cnnfast.get_num_threads()`.

    Examples
    --------
    >>> import cnnfast, numpy as np
    >>> from cnnfast import models
    >>> x = np.zeros((1, 1, 28, 28), np.float32)
    >>> compiled = cnnfast.compile(models.lenet5().eval(), x)
    >>> compiled(x).shape
    (1, 10)
    """

    def __init__(self, graph: Graph, threads: int | None = None) -> None:
        if threads is not None and threads < 1:
            raise ValueError(f"threads: expected a number of 1 or more, or None, got {threads}")
        check_operators(graph)
        self._graph = graph
        self.threads = threads
        self._start()

    @classmethod
    def load(cls, path: PathLike, threads: int | None = None) -> CompiledModel:
        """Return the model that `save` wrote; `cnnfast.load` does so, too.

        Parameters
        ----------
        path : path
        threads : int, optional
            Instead of the number that was saved.

        Raises
        ------
        FormatError
            Where the file is damaged or is no compiled model.
        OSError
            Where it cannot be read.
        """
        graph, entries, mapped = read_graph(path)
        model = cls(graph, threads or entries.get("threads"))
        model._mapped = mapped
        return model

    def save(self, path: PathLike, example: Any = None) -> None:
        """Write the model to one safetensors file, which needs no other package to be read.

        Parameters
        ----------
        path : path
            Replaced in one step.
        example : array_like or tuple of array_like, optional
            Inputs as for a call. With them the file also holds a plan for their shapes, by which
            C programs run it without Python: `cnf_model_open` of ``csrc/cnnfast.h``.

        Raises
        ------
        ValueError
            With an example: where an operator looks at values and cannot be planned.
        """
        plan = None
        if example is not None:
            given = example if isinstance(example, tuple) else (example,)
            plan = signature_of(self._checked(given))
        write_graph(self.graph, path, plan, threads=self.threads)

    @property
    def graph(self) -> Graph:
        """The network; not to be changed."""
        with lock:
            graph, values = self._graph, self._constants
        return with_originals(graph, values)

    def _start(self) -> None:
        self._mapped: mmap.mmap | None = None
        self._constants: dict[str, Value] = constants_of(self._graph)
        self._workspace = _core.Workspace()
        self._programs: OrderedDict[tuple[str, Signature], Program] = OrderedDict()
        self._latest: Program | None = None
        # Text, sequences and numbers of 8 bits with an exponent are the operators' business alone.
        self._planned = all(
            kind in np.sctypeDict and np.dtype(kind).kind in "fiub"
            for kind, _ in self._graph.inputs.values()
        )

    # ---- running -------------------------------------------------------------------------------

    @property
    def input_names(self) -> list[str]:
        """Names of the inputs, in order."""
        return list(self._graph.inputs)

    @property
    def output_names(self) -> list[str]:
        """Names of the results, in order."""
        return list(self._graph.outputs)

    def __call__(self, *inputs: Any) -> Any:
        """Return the result for arrays in the order of `input_names`; several as a tuple.

        Parameters
        ----------
        *inputs : array_like
            Of the inputs' shapes; where the model computes in float32 other floats are converted.

        Returns
        -------
        ndarray or tuple of ndarray
            C-contiguous, with memory of their own.

        Raises
        ------
        ValueError
            Where an input's rank or shape is not the model's.
        TypeError
            Where the number of inputs or an element type is not.
        """
        latest = self._latest
        results = None if latest is None else latest.run(inputs)
        if results is None:
            results = self._run(inputs)
        return results[0] if len(results) == 1 else tuple(results)

    def run(self, feeds: Mapping[str, Any]) -> list[Any]:
        """Return the results for inputs given by name, in the order of `output_names`.

        Parameters
        ----------
        feeds : mapping of str to array_like
            An array for each of `input_names`.
        """
        names = self._graph.inputs
        if feeds.keys() != names.keys():
            raise ValueError(f"expected inputs {list(names)}, got {list(feeds)}")
        inputs = tuple(feeds[name] for name in names)
        latest = self._latest
        results = None if latest is None else latest.run(inputs)
        return self._run(inputs) if results is None else results

    def _run(self, inputs: tuple[Any, ...]) -> list[Any]:
        if not self._planned:
            self._check_count(inputs)
            feeds = dict(zip(self._graph.inputs, inputs, strict=True))
            return own_arrays(run(self._graph, feeds, self._constants))
        arrays = self._checked(inputs)
        program = self._latest = self._program(signature_of(arrays))
        results = program.run(arrays)
        assert results is not None
        return results

    def _check_count(self, inputs: tuple[Any, ...]) -> None:
        if len(inputs) != len(self._graph.inputs):
            raise TypeError(f"expected the inputs {self.input_names}, got {len(inputs)} inputs")

    def _checked(self, inputs: tuple[Any, ...]) -> tuple[np.ndarray, ...]:
        """Return the inputs as the arrays that plans read, or say what is wrong with them."""
        self._check_count(inputs)
        expected = self._graph.inputs
        sizes: dict[str, int] = {}
        return tuple(
            _as_input(value, name, kind, sizes)
            for value, (name, kind) in zip(inputs, expected.items(), strict=True)
        )

    def _program(self, signature: Signature) -> Program:
        """Return the program for these shapes, made when they come for the first time."""
        key = (_core.isa(), signature)
        with lock:
            program = self._programs.get(key)
            if program is not None:
                self._programs.move_to_end(key)
                return program
            if any(isinstance(value, PackedWeight) and value.isa != key[0]
                   for value in self._constants.values()):
                self._bring_back_originals()
            known = self._graph, self._constants
        program = make_program(*known, signature, self._workspace, self.threads or 0)
        del known  # so that what is let go of below is free
        if self._mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
            self._mapped.madvise(mmap.MADV_DONTNEED)  # what was packed is not read again
        with lock:
            if self._mapped is None:
                self._keep_only_what_is_packed()
            self._programs[key] = program
            while len(self._programs) > MOST_PROGRAMS:
                self._programs.popitem(last=False)
        return program

    def _keep_only_what_is_packed(self) -> None:
        """Let go of the originals of weights; other threads may be planning with what was there."""
        packed = packed_weights(self._constants)
        if packed:
            self._constants = {**self._constants, **packed}
            shapes = {name: weight.placeholder for name, weight in packed.items()}
            self._graph = replace(self._graph, constants={**self._graph.constants, **shapes})
            _core.memory_trim()  # and of what compiling or reading a file left in the heap

    def _bring_back_originals(self) -> None:
        """Make all weights whole again; what is packed stays with the plans only."""
        self._graph = with_originals(self._graph, self._constants)
        self._constants = constants_of(self._graph)

    def release(self) -> None:
        """Give back everything but the weights: plans, packed weights, memory of earlier calls.

        The model stays usable; the next call plans anew.
        """
        with lock:
            self._programs.clear()
            self._latest = None
            self._workspace.clear()
            self._bring_back_originals()

    def profile(self, *inputs: Any, repeats: int = 20) -> Profile:
        """Measure each operator on these inputs.

        Parameters
        ----------
        *inputs : array_like
            As for a call.
        repeats : int
            Runs, of which medians are taken.

        Returns
        -------
        Profile
            Print it, or ask it for rows, JSON or a Chrome trace.

        Raises
        ------
        ValueError
            Where a part of the model cannot be planned and runs operator by operator.
        """
        arrays = self._checked(inputs)
        program = self._program(signature_of(arrays))
        if program.rest is not None:
            names = sorted({node.operator for node in program.rest.nodes})
            raise ValueError(f"profile: these operators run outside of the plan: {names}")
        nodes = [(node.name or node.outputs[0], node.operator) for node in self._graph.nodes]
        nodes.append(("results", "copy"))
        labels = [nodes[number] for numbers in program.labels for number in numbers]
        return make_profile(program.plans, labels, arrays, repeats, self.threads or 0)

    # ---- copies --------------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        return {"_graph": self.graph, "threads": self.threads}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start()

    def __repr__(self) -> str:
        inputs = ", ".join(f"{name}: {_describe(k)}" for name, k in self._graph.inputs.items())
        nodes = len(self._graph.nodes)
        return f"CompiledModel({inputs} -> {', '.join(self._graph.outputs)}; {nodes} operators)"


def _describe(kind: ValueType) -> str:
    dtype, shape = kind
    if shape is None:
        return dtype
    sizes = ("?" if size in (None, -1) else str(size) for size in shape)
    return f"{dtype}[{', '.join(sizes)}]"


def _as_input(
    value: Any, name: str, kind: ValueType, sizes: dict[str, int]
) -> np.ndarray:
    """Return `value` as a C-contiguous array of the input's type; `sizes`: of named axes so far."""
    dtype, shape = kind
    array = np.asarray(value)
    if array.dtype != dtype and not np.can_cast(array.dtype, dtype, "same_kind"):
        raise TypeError(f"input {name!r}: expected {_describe(kind)}, got {array.dtype}")
    if shape is not None:
        fits = array.ndim == len(shape)
        for want, size in zip(shape, array.shape, strict=False):
            if isinstance(want, str):  # Paddle calls every size "?"
                want = sizes.setdefault(want, size) if want.isidentifier() else None
            fits = fits and (want is None or want in (-1, size))
        if not fits:
            known = f" where {sizes}" if sizes else ""
            raise ValueError(
                f"input {name!r}: expected {_describe(kind)}{known}, got shape {array.shape}"
            )
    return np.require(array, dtype, ["C", "A"])
