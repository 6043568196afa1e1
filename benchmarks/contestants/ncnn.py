"""ncnn: a row of convolutions, or a network, as one net in fp32, image by image, as ncnn is used.

Its shortened number formats are off; Winograd's algorithm and the packed layout are on, as they are
by default. A blob's pixels are kept by a pooling, as in graph.py. Networks are brought from ONNX
into ncnn's files by its own converter, the package pnnx.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Any

import ncnn
import numpy as np

from .. import exported
from ..cases import Case
from ..data import images, weights
from ..layers import Convolution
from . import Loader, Row, Run

MAGIC = 7767517
"""The first line of a net's description."""

FP32 = bytes(4)
"""What stands before a layer's weight: plain fp32 numbers follow."""

SHORTENED = (
    "use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic",
    "use_bf16_packed", "use_bf16_storage", "use_int8_inference",
)  # fmt: skip


def contestants(isa: str) -> list[Ncnn]:
    """Return what this module brings to the line-up."""
    return [Ncnn(isa)]


def _description(layer: Convolution, length: int) -> str:
    """The net as text: a line for each layer, `type name inputs outputs ...` and parameters."""
    sources = ["x"] + [f"r{i}" for i in range(length - 1)]
    lines = ["Input x 0 1 x"]
    if not layer.chains:
        sources = [f"x{i}" for i in range(length)]
        lines.append(f"Split split 1 {length} x {' '.join(sources)}")
    kind = "Convolution" if layer.groups == 1 else "ConvolutionDepthWise"
    shape = (
        f"0={layer.out_channels} 1={layer.kernel} 3={layer.stride} 4={layer.padding} 5=0 "
        f"6={np.prod(layer.weight_shape)} 7={layer.groups}"
    )
    for i, source in enumerate(sources):
        lines.append(f"{kind} conv{i} 1 1 {source} r{i} {shape}")
        if not layer.chains or i + 1 == length:
            lines.append(f"Pooling pool{i} 1 1 r{i} y{i} 0=0 1=1 2={layer.sampling} 5=1")
    blobs = sum(int(line.split()[3]) for line in lines)
    return "\n".join([str(MAGIC), f"{len(lines)} {blobs}", *lines, ""])


class Ncnn(Loader):
    """ncnn on the CPU; it chooses the instruction set."""

    name = package = "ncnn"
    prepares = True
    pace = 1e10

    def __init__(self, isa: str) -> None:
        self.isa = isa
        self.threads = 1

    def activate(self, threads: int) -> None:
        """Set the number of threads of the nets to come."""
        self.threads = threads

    def fits(self, case: Case) -> bool:
        """Convolutions forward and networks."""
        return case.kind == "conv2d_forward" or case.suite == "infer"

    def as_array(self, result: Any) -> np.ndarray:
        """Return the images' outputs as one array."""
        return np.stack([np.array(blob) for blob in result])

    def _empty_net(self) -> Any:
        net = ncnn.Net()
        net.opt.num_threads = self.threads
        for name in SHORTENED:
            setattr(net.opt, name, False)
        return net

    def _net(self, layer: Convolution, batch: int) -> Any:
        net = self._empty_net()
        row = weights(layer, batch)
        with tempfile.NamedTemporaryFile() as file:
            file.writelines(part for array in row for part in (FP32, array.tobytes()))
            file.flush()
            bad = net.load_param_mem(_description(layer, len(row))) or net.load_model(file.name)
        if bad:
            raise RuntimeError(f"ncnn refused the net of {layer}")
        return net

    def conv2d_forward(self, layer: Convolution, batch: int) -> Row:
        """The net, image by image; its result is the last convolution's pixels of each."""
        net, length = self._net(layer, batch), layer.row(batch)
        outputs = [f"y{i}" for i in range(0 if not layer.chains else length - 1, length)]
        return Row(_each(net, images(layer.in_shape(batch)), "x", outputs), length)

    def network_file(self, name: str) -> Path:
        """The description that pnnx makes of the ONNX file; the weights lie beside it."""
        shape = ",".join(map(str, exported.image(name, 1).shape))
        source = exported.exported(name)
        return exported.made(f"{name}.ncnn.param", lambda new: _convert(source, shape, new))

    def load(self, file: Path, image: np.ndarray) -> Run:
        """The net, image by image."""
        net = self._empty_net()
        if net.load_param(str(file)) or net.load_model(str(file.with_suffix(".bin"))):
            raise RuntimeError(f"ncnn refused {file}")
        return _each(net, image, "in0", ["out0"])


def _each(net: Any, batch: np.ndarray, source: str, outputs: list[str]) -> Run:
    """Run a net on one image after the other; the results are those of the last output."""
    blobs = [ncnn.Mat(image) for image in batch]

    def one(image: Any) -> Any:
        extractor = net.create_extractor()
        extractor.input(source, image)
        for name in outputs:
            bad, blob = extractor.extract(name)
            if bad:
                raise RuntimeError(f"ncnn failed to compute {name}")
        return blob

    return lambda: [one(image) for image in blobs]


def _convert(source: Path, shape: str, description: Path) -> None:
    """Convert an ONNX file for images of this shape; the weights go where the kept files lie."""
    import pnnx

    link = description.with_name("network.onnx")  # what pnnx writes stands beside it
    link.symlink_to(source)
    options = [f"inputshape=[{shape}]", "fp16=0"]
    subprocess.run(
        [pnnx.EXEC_PATH, link, *options], cwd=link.parent, capture_output=True, check=True)
    weights = link.with_name("network.ncnn.bin")
    weights.replace(description.parent.parent / f"{description.stem}.bin")
    link.with_name("network.ncnn.param").replace(description)
