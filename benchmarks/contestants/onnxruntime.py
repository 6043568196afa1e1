"""ONNX Runtime: the row of convolutions as one session, its outputs bound to arrays of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
from onnxruntime import OrtValue

from ..cases import Case
from ..data import images
from ..layers import Convolution
from . import Row
from .graph import row_model


def contestants(isa: str) -> list[OnnxRuntime]:
    """Return what this module brings to the line-up."""
    return [OnnxRuntime(isa)]


class OnnxRuntime:
    """ONNX Runtime on its CPU provider; it chooses the instruction set and the layout."""

    name = package = "onnxruntime"
    prepares = True
    pace = 1e10

    def __init__(self, isa: str) -> None:
        self.isa = isa
        self.threads = 1

    def activate(self, threads: int) -> None:
        """Set the number of threads of the sessions to come."""
        self.threads = threads

    def fits(self, case: Case) -> bool:
        """Convolutions forward."""
        return case.kind == "conv2d_forward"

    def as_array(self, result: Any) -> np.ndarray:
        """Return the output's numbers."""
        array: np.ndarray = result.numpy()
        return array

    def conv2d_forward(self, layer: Convolution, batch: int) -> Row:
        """The session's run; its result is the last convolution's pixels."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        model = row_model(layer, batch)
        session = onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])
        binding = session.io_binding()
        binding.bind_cpu_input("x", images(layer.in_shape(batch)))
        for output in session.get_outputs():
            array = OrtValue.ortvalue_from_numpy(np.empty(output.shape, np.float32))
            binding.bind_ortvalue_output(output.name, array)

        def run() -> Any:
            session.run_with_iobinding(binding)
            return binding.get_outputs()[-1]

        return Row(run, layer.row(batch))
