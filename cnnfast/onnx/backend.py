"""cnnfast as a backend of the `onnx` package, `onnx.backend.base.Backend`.

So the standard's own tests run unchanged: ``BackendTest(cnnfast.onnx.backend.Backend, __name__)``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..compiler import CompiledModel, compile
from .reader import graph_of, import_onnx

import_onnx()
from onnx.backend import base  # noqa: E402

__all__ = ["Backend", "Prepared"]


class Prepared(base.BackendRep):
    """A model ready to run; what `Backend.prepare` returns."""

    def __init__(self, model: CompiledModel) -> None:
        self.model = model

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Return the results for arrays in the order of the model's inputs, or by name."""
        if not isinstance(inputs, dict):
            inputs = dict(zip(self.model.input_names, inputs, strict=True))
        return tuple(self.model.run(inputs))


class Backend(base.Backend):
    """Runs ONNX models on the CPU."""

    @classmethod
    def prepare(cls, model: Any, device: str = "CPU", **kwargs: Any) -> Prepared:
        """Return a ModelProto ready to run.

        Raises
        ------
        UnsupportedOperatorError
            Names every operator that is not supported.
        """
        return Prepared(compile(graph_of(model)))

    @classmethod
    def run_node(
        cls, node: Any, inputs: Any, device: str = "CPU", outputs_info: Any = None, **kwargs: Any
    ) -> tuple[Any, ...]:
        """Return the results of a single NodeProto; ``opset_version`` chooses its version."""
        helper = import_onnx().helper
        version = kwargs.get("opset_version", import_onnx().defs.onnx_opset_version())
        arrays = [np.asarray(value) for value in inputs]
        names = [name for name in node.input if name]
        types = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
            for name, a in zip(names, arrays, strict=True)
        ]
        results = [helper.make_empty_tensor_value_info(name) for name in node.output]
        graph = helper.make_graph([node], "node", types, results)
        imports = [helper.make_opsetid(node.domain, version)]
        model = helper.make_model(graph, opset_imports=imports)
        return cls.prepare(model, device).run(arrays)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Return whether `device` is the CPU."""
        return device.split(":")[0] == "CPU"


is_compatible = Backend.is_compatible
prepare = Backend.prepare
run_model = Backend.run_model
run_node = Backend.run_node
supports_device = Backend.supports_device
