"""ONNX Runtime: a row of convolutions, or a network, as one session with bound arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnxruntime import OrtValue

from ..cases import Case
from ..data import images
from ..layers import Convolution
from . import Loader, Row, Run
from .graph import row_model


def contestants(isa: str) -> list[OnnxRuntime]:
    """Return what this module brings to the line-up."""
    return [OnnxRuntime(isa)]


class OnnxRuntime(Loader):
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
        """Convolutions forward and networks."""
        return case.kind == "conv2d_forward" or case.suite == "infer"

    def as_array(self, result: Any) -> np.ndarray:
        """Return the output's numbers."""
        array: np.ndarray = result.numpy()
        return array

    def conv2d_forward(self, layer: Convolution, batch: int) -> Row:
        """The session's run; its result is the last convolution's pixels."""
        run = self._bound(row_model(layer, batch), images(layer.in_shape(batch)))
        return Row(run, layer.row(batch))

    def load(self, file: Path, image: np.ndarray) -> Run:
        """A session for batches of this size."""
        return self._bound(str(file), image)

    def _bound(self, model: bytes | str, image: np.ndarray) -> Run:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.add_free_dimension_override_by_name("batch", len(image))
        session = onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])
        binding = session.io_binding()
        binding.bind_cpu_input(session.get_inputs()[0].name, image)
        for output in session.get_outputs():
            if all(isinstance(size, int) for size in output.shape):
                array = OrtValue.ortvalue_from_numpy(np.empty(output.shape, np.float32))
                binding.bind_ortvalue_output(output.name, array)
            else:
                binding.bind_output(output.name)

        def run() -> Any:
            session.run_with_iobinding(binding)
            return binding.get_outputs()[-1]

        return run
