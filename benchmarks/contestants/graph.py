"""A row of convolutions as an ONNX model, for the contestants that read one.

Where shapes chain, each convolution reads the one before; else all read the image. Of each result
that no other convolution reads, a max pooling over one pixel keeps a few pixels: engines may hold
results as they like, and none has to bring a whole one into the order of its caller.
"""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper, numpy_helper

from ..data import weights
from ..layers import Convolution


def row_model(layer: Convolution, batch: int) -> bytes:
    """Return the model: input `x`, outputs `y0`, `y1`, ... in the order of the row."""
    nodes, tensors, outputs, source = [], [], [], "x"
    row = weights(layer, batch)
    for i, array in enumerate(row):
        tensors.append(numpy_helper.from_array(array, f"w{i}"))
        attributes = {
            "kernel_shape": [layer.kernel] * 2,
            "strides": [layer.stride] * 2,
            "pads": [layer.padding] * 4,
            "group": layer.groups,
        }
        nodes.append(helper.make_node("Conv", [source, f"w{i}"], [f"r{i}"], **attributes))
        if layer.chains:
            source = f"r{i}"
        if not layer.chains or i + 1 == len(row):
            pool = {"kernel_shape": [1, 1], "strides": [layer.sampling] * 2}
            nodes.append(helper.make_node("MaxPool", [f"r{i}"], [f"y{i}"], **pool))
            outputs.append(f"y{i}")
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, layer.in_shape(batch))
    sampled = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    graph = helper.make_graph(nodes, "row", [image], sampled, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(onnx.shape_inference.infer_shapes(model).SerializeToString())
