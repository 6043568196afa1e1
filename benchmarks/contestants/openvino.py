"""OpenVINO: a row of convolutions, or a network, as one compiled model in fp32.

A convolution's image comes channels last, as OpenVINO's convolutions read it, so that it is not
reordered.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import openvino
from openvino.preprocess import PrePostProcessor

from ..cases import Case
from ..data import images
from ..layers import Convolution
from . import Loader, Row, Run
from .graph import row_model


def contestants(isa: str) -> list[OpenVINO]:
    """Return what this module brings to the line-up."""
    return [OpenVINO(isa)]


class OpenVINO(Loader):
    """OpenVINO's CPU plugin, held to fp32; it chooses the instruction set."""

    name = package = "openvino"
    prepares = True
    pace = 1e10

    def __init__(self, isa: str) -> None:
        self.isa = isa
        self.threads = 1
        self.core = openvino.Core()

    def activate(self, threads: int) -> None:
        """Set the number of threads of the models to come."""
        self.threads = threads

    def fits(self, case: Case) -> bool:
        """Convolutions forward and networks."""
        return case.kind == "conv2d_forward" or case.suite == "infer"

    def as_array(self, result: Any) -> np.ndarray:
        """Return the output's numbers."""
        array: np.ndarray = result.data
        return array

    def conv2d_forward(self, layer: Convolution, batch: int) -> Row:
        """The request's inference; its result is the last convolution's pixels."""
        prepared = PrePostProcessor(self.core.read_model(row_model(layer, batch)))
        prepared.input().tensor().set_layout(openvino.Layout("NHWC"))
        prepared.input().model().set_layout(openvino.Layout("NCHW"))
        image = images(layer.in_shape(batch)).transpose(0, 2, 3, 1)
        last = layer.row(batch) - 1 if not layer.chains else 0
        run = self._request(prepared.build(), np.ascontiguousarray(image), last)
        return Row(run, layer.row(batch))

    def load(self, file: Path, image: np.ndarray) -> Run:
        """A request of the model compiled for images of this shape."""
        model = self.core.read_model(file)
        model.reshape(image.shape)
        return self._request(model, image)

    def _request(self, model: Any, image: np.ndarray, output: int = 0) -> Run:
        settings = {
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": self.threads,
            "PERFORMANCE_HINT": "LATENCY",
        }
        request = self.core.compile_model(model, "CPU", settings).create_infer_request()
        request.set_input_tensor(openvino.Tensor(image))
        result = request.get_output_tensor(output)

        def run() -> Any:
            request.infer()
            return result

        return run
