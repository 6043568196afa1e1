"""`cnnfast.compiler.passes`: what each pass makes of a graph, and that the result is the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from rounding import uniform

from cnnfast.compiler import operators  # noqa: F401  enters its rows into the table
from cnnfast.compiler.passes import PASSES, optimize
from cnnfast.compiler.passes.activations import recognize_activations
from cnnfast.compiler.passes.constants import drop_unused, fold_constants
from cnnfast.compiler.passes.convolutions import (
    fold_pads,
    fold_scales,
    fuse_convolutions,
    lower_batch_norms,
)
from cnnfast.compiler.passes.factors import factor_residuals, fold_factors, fuse_affine
from cnnfast.compiler.passes.layer_norms import recognize_layer_norms
from cnnfast.compiler.passes.linear import fold_flatten, fuse_linear
from cnnfast.compiler.passes.prologues import fuse_scales
from cnnfast.compiler.passes.separable import fuse_separable
from cnnfast.compiler.passes.shuffles import recognize_shuffles
from cnnfast.graph import Graph, Node
from cnnfast.onnx.interpreter import run

X = uniform(2, 4, 6, 7)
WEIGHTS = {
    "w": uniform(4, 4, 3, 3), "point": uniform(4, 4, 1, 1), "tap": uniform(4, 1, 1, 1),
    "b": uniform(4), "deep": uniform(4, 1, 3, 3),
    "turned": uniform(4, 2, 2, 2), "one": uniform(4) + 2.0, "two": uniform(4), "three": uniform(4),
    "four": uniform(4) + 2.0, "channels": uniform(4, 1, 1) + 2.0, "rows": uniform(6, 7),
    "m": uniform(5, 168), "n": uniform(168, 5), "v": uniform(5), "last": uniform(7, 3),
    "half": uniform(84, 5), "grey": uniform(1, 4, 1, 1), "gain": uniform(7), "shift": uniform(7),
}
NUMBERS = {
    "0": 0.0, "3": 3.0, "6": 6.0, "1/6": 1 / 6, "1": 1.0, "2": 2.0,
}  # fmt: skip
SIZES = {
    "border": [0, 0, 1, 2, 0, 0, 3, 0], "batches": [1, 0, 0, 0, 0, 0, 0, 0], "pair": [0, -1],
    "sizes": [2, 4, 42], "perm": [1], "halves": [-1, 84], "odd": [-1, 7], "whole0": 0, "whole3": 3,
    "whole6": 6, "two_groups": [0, 2, 2, 6, 7], "of_two": [2, 2, 2, 6, 7], "image": [0, 4, 6, 7],
    "two_images": [2, 4, 6, 7], "wider": [2, 4, 7, 6], "rows_first": [2, 6, 7, 2, 2],
    "mixed": [2, 42, 2, 2], "last_axis": [-1], "first_axis": [1],
}  # fmt: skip
CONSTANTS: dict[str, np.ndarray] = {
    **WEIGHTS,
    **{name: np.array(value, np.float32) for name, value in NUMBERS.items()},
    **{name: np.array(value, np.int64) for name, value in SIZES.items()},
    "no": np.array(False), "deep6": np.full((1,) * 5, 6, np.float32),
}


def graph(text: str, **attributes: Any) -> Graph:
    """A graph written as ``"y=Relu(x) z=Add(y,b)"``; the last node's output is the result.

    Attributes are given by the name of the node's output.
    """
    nodes = []
    for part in text.split():
        output, call = part.split("=")
        operator, inputs = call.rstrip(")").split("(")
        given = attributes.get(output, {})
        outputs = output.split("+")
        nodes.append(Node(operator, inputs.split(",") if inputs else [], outputs, given))
    inputs = {"x": ("float32", (None, 4, None, None))}
    return Graph(nodes, inputs, [nodes[-1].outputs[0]], CONSTANTS, {"": 21})


def operators_of(graph: Graph) -> str:
    return " ".join(node.operator for node in graph.nodes)


def check(pass_: Any, before: Graph, wanted: str) -> Graph:
    """The pass leaves the operators `wanted`, the input graph as it was, and the result."""
    kept = operators_of(before)
    after = pass_(before)
    assert operators_of(after) == wanted
    assert operators_of(before) == kept and before.constants is CONSTANTS
    feeds = {"x": X}
    result, reference = run(after, feeds)[0], run(before, feeds)[0]
    np.testing.assert_allclose(result, reference, rtol=1e-5, atol=1e-5 * np.abs(reference).max())
    return after


SAME = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}


@pytest.mark.parametrize(
    ("text", "attributes", "wanted"),
    [
        ("c=Add(one,two) y=Relu(c) z=Mul(x,3)", {}, "Mul"),
        ("s=Sum(x,x) y=Sum(s,x,x)", {}, "Add Sum"),
        ("i=Identity(x) d=Dropout(i) y=Relu(d)", {}, "Relu"),
        ("y=Relu(x) z=Identity(y)", {}, "Relu Identity"),  # the output keeps its name
        ("t=Transpose(x) u=Transpose(t) y=Relu(u)",
         {"t": {"perm": [0, 2, 3, 1]}, "u": {"perm": [0, 3, 1, 2]}}, "Transpose Relu"),
        ("t=Transpose(x) u=Transpose(t) y=Relu(u)",
         {"t": {"perm": [0, 2, 3, 1]}, "u": {"perm": [0, 2, 3, 1]}}, "Transpose Transpose Relu"),
        ("s=Shape(x) y=Reshape(x,s)", {}, "Shape Reshape"),
        ("i=Identity(x) y=Relu(x)", {}, "Relu"),  # nobody reads i
        ("d+mask=Dropout(x) y=Relu(d)", {}, "Relu"),
        ("d+mask=Dropout(x,1/6,no) y=Relu(d)", {}, "Relu"),
        ("d+mask=Dropout(x) y=Where(mask,x,d)", {}, "Dropout Where"),
        ("k=Mul(x,1) m=Mul(1,k) y=Relu(m)", {}, "Relu"),
        ("k=Mul(x,3) y=Relu(k)", {}, "Mul Relu"),
    ],
)
def test_fold_constants(text: str, attributes: dict[str, Any], wanted: str) -> None:
    check(fold_constants, graph(text, **attributes), wanted)


HUGE: dict[str, tuple[str, dict[str, Any]]] = {
    "Expand": ("a=Expand(3,many)", {}),
    "ConstantOfShape": ("a=ConstantOfShape(many)", {}),
    "Range": ("a=Range(whole0,large,whole6)", {}),
    "HannWindow": ("a=HannWindow(large)", {}),
    "Gather": ("a=Gather(row,places)", {"a": {"axis": 0}}),
    "Gemm": ("a=Gemm(row,row)", {"a": {"transA": 1}}),
    "MatMul": ("t=Transpose(row) a=MatMul(t,row)", {"t": {"perm": [1, 0]}}),
    "Mul": ("t=Transpose(row) a=Mul(t,row)", {"t": {"perm": [1, 0]}}),
    "Tile": ("a=Tile(3,many)", {}),
    "Concat": (" ".join(["a0=Identity(row)", *(f"a{i + 1}=Concat(a{i},a{i})" for i in range(40))]),
               {f"a{i + 1}": {"axis": 0} for i in range(40)}),
    "many small ones": (" ".join(f"a{i}=ConstantOfShape(some)" for i in range(3000)), {}),
}
LARGE = {
    "many": np.array([1 << 16, 1 << 16]), "large": np.array(1 << 40), "some": np.array([1 << 17]),
    "row": np.ones((1, 1 << 16), np.float32), "places": np.zeros(1 << 16, np.int64),
}


@pytest.mark.parametrize("name", HUGE)
def test_fold_constants_makes_nothing_huge(name: str) -> None:
    text, attributes = HUGE[name]
    before = graph(text, **attributes)
    before.constants = {**CONSTANTS, **LARGE}
    after = fold_constants(before)
    assert after.nodes and after.nodes[-1].operator == operators_of(before).split()[-1]
    made = after.constants.keys() - before.constants.keys()
    given = sum(array.nbytes for array in before.constants.values())
    assert sum(after.constants[key].nbytes for key in made) < 8 * given + (128 << 20)


@pytest.mark.parametrize(
    "text", [
        "a=Transpose(m) y=MatMul(x,a)", "a=Mul(w,channels) y=Conv(x,a)",
        "a=Shape(m) y=Reshape(x,a)",
        "a=DequantizeLinear(bytes,3) y=Conv(x,a)", "a=Gather(sizes,whole0) y=Reshape(x,a)",
        "a=Concat(sizes,perm) y=Reshape(x,a)", "a=Expand(3,sizes) y=Add(x,a)",
        "a=Range(whole0,whole6,whole3) y=Add(x,a)", "a=MatMul(m,n) y=Add(x,a)",
    ],
)
def test_fold_constants_of_weights_and_sizes(text: str) -> None:
    before = graph(text, a={"axis": 0} if "axis" in text or "Concat" in text else {})
    before.constants = {**CONSTANTS, "bytes": np.ones((64, 4, 3, 3), np.int8)}
    after = fold_constants(before)
    assert len(after.nodes) == 1
    wanted = run(Graph(before.nodes[:1], {}, ["a"], before.constants, before.opset), {})[0]
    np.testing.assert_array_equal(after.constants["a"], wanted)


def test_groups_that_do_not_fit_are_named() -> None:
    before = graph("c=ConvTranspose(x,turned) y=Mul(c,3)", c={"group": 1 << 40})
    with pytest.raises(ValueError, match=r"ConvTranspose \(c\): group 1099511627776 does not fit"):
        fold_scales(before)


def test_fold_constants_leaves_random_numbers() -> None:
    before = graph("r=RandomNormalLike(one) y=Mul(x,r)")
    assert operators_of(fold_constants(before)) == "RandomNormalLike Mul"


def test_drop_unused() -> None:
    after = check(drop_unused, graph("a=Relu(x) b=Mul(a,a) y=Add(a,3)"), "Relu Add")
    assert list(after.constants) == ["3"]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("s=Sigmoid(x) y=Mul(x,s)", "Swish"),
        ("s=Sigmoid(x) y=Mul(s,x)", "Swish"),
        ("s=HardSigmoid(x) y=Mul(x,s)", "HardSwish"),
        ("a=Add(x,3) e=Clip(a,0,6) y=Div(e,6)", "HardSigmoid"),
        ("a=Add(3,x) e=Clip(a,0,6) y=Mul(1/6,e)", "HardSigmoid"),
        ("a=Add(x,3) e=Clip(a,0,6) s=Div(e,6) y=Mul(x,s)", "HardSwish"),
        ("a=Add(x,3) e=Clip(a,0,6) s=Mul(x,e) y=Div(s,6)", "HardSwish"),
        ("a=Add(x,3) e=Clip(a,0,6) s=Mul(e,x) y=Mul(s,1/6)", "HardSwish"),
        ("a=Add(x,3) e=Clip(a,0,3) y=Div(e,6)", "Add Clip Div"),
        ("a=Add(x,1) e=Clip(a,0,6) y=Div(e,6)", "Add Clip Div"),
        ("a=Add(x,3) e=Clip(a,0,6) y=Div(e,deep6)", "Add Clip Div"),  # the result has five axes
        ("i=Cast(x) a=Add(i,whole3) e=Clip(a,whole0,whole6) y=Div(e,whole6)", "Cast Add Clip Div"),
        ("s=Sigmoid(x) t=Mul(x,s) y=Add(t,s)", "Sigmoid Mul Add"),  # the gate is read twice
        ("r=Relu(x) s=Sigmoid(r) y=Mul(x,s)", "Relu Sigmoid Mul"),
    ],
)
def test_recognize_activations(text: str, wanted: str) -> None:
    attributes = {"s": {"alpha": 1 / 6} if "HardS" in text else {}, "i": {"to": 7}}
    check(recognize_activations, graph(text, **attributes), wanted)


def test_another_hard_sigmoid_is_left_alone() -> None:
    before = graph("s=HardSigmoid(x) y=Mul(x,s)", s={"alpha": 0.2})
    check(recognize_activations, before, "HardSigmoid Mul")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("p=Pad(x,border) y=Conv(p,w)", "Conv"),
        ("p=Pad(x,border,0) y=Conv(p,w,b)", "Conv"),
        ("p=Pad(x,border,1) y=Conv(p,w)", "Pad Conv"),
        ("p=Pad(x,batches) y=Conv(p,w)", "Pad Conv"),
        ("p=Pad(x,border) c=Conv(p,w) d=Conv(p,w,b) y=Add(c,d)", "Pad Conv Conv Add"),
    ],
)
def test_fold_pads(text: str, wanted: str) -> None:
    after = check(fold_pads, graph(text, y={} if "d=" in text else SAME, c=SAME, d=SAME), wanted)
    if wanted == "Conv":
        assert after.nodes[0].attributes["pads"] == [2, 3, 4, 1]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("c=Conv(x,w) y=BatchNormalization(c,one,two,three,four)", "Conv"),
        ("c=Conv(x,w,b) y=BatchNormalization(c,one,two,three,four)", "Conv"),
        ("c=Conv(x,deep,b) y=BatchNormalization(c,one,two,three,four)", "Conv"),
        ("c=ConvTranspose(x,turned) y=BatchNormalization(c,one,two,three,four)", "ConvTranspose"),
        ("c=Conv(x,w) m=Mul(c,channels) a=Add(channels,m) s=Sub(a,3) y=Div(s,channels)", "Conv"),
        ("c=Conv(x,w) y=Sub(3,c)", "Conv Sub"),
        ("c=Conv(x,w) y=Div(c,0)", "Conv Div"),
        ("c=Conv(x,w) y=Add(c,c)", "Conv Add"),
        ("c=Conv(x,w) m=Mul(c,3) y=Add(m,c)", "Conv Mul Add"),
        ("c=Conv(x,w) y=Add(c,x)", "Conv Add"),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_fold_scales(text: str, wanted: str) -> None:
    attributes: dict[str, Any] = {"pads": [1, 1, 1, 1]}
    if "deep" in text:
        attributes["group"] = 4
    if "turned" in text:
        attributes = {"group": 2}
    before = graph(text, c=attributes)
    if "Div(c,0)" in text:
        assert operators_of(fold_scales(before)) == wanted
    else:
        check(fold_scales, before, wanted)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("y=Conv(x,w)", "FusedConv"),
        ("c=Conv(x,w,b) y=Relu(c)", "FusedConv"),
        ("c=Conv(x,w) y=Clip(c,0,3)", "FusedConv"),
        ("c=Conv(x,w) y=LeakyRelu(c)", "FusedConv"),
        ("c=Conv(x,w,b) a=Add(c,x) y=HardSwish(a)", "FusedConv"),
        ("c=Conv(x,w,b) a=Add(x,c) y=Relu(a)", "FusedConv"),
        ("c=Conv(x,w) d=Conv(x,w,b) a=Add(c,d) y=Relu(a)", "FusedConv FusedConv"),
        ("c=Conv(x,w) p=GlobalAveragePool(x) a=Add(c,p) y=Relu(a)", "GlobalAveragePool FusedConv"),
        ("c=Conv(x,deep,b) a=Add(c,x) y=Relu(a)", "FusedConv"),
        ("c=Conv(x,w) r=Relu(c) y=Add(c,r)", "FusedConv Relu Add"),
        ("c=Conv(x,w) y=Add(c,c)", "FusedConv Add"),
        ("c=Conv(x,w) y=Add(c,channels)", "FusedConv Add"),
        ("c=Conv(x,w) y=Softplus(c)", "FusedConv Softplus"),
        ("c=Conv(x,w) h=HardSwish(c) k=Mul(h,3) y=Add(6,k)", "FusedConv"),
        ("c=Conv(x,w) h=HardSwish(c) a=Add(h,3) k=Mul(6,a) y=Relu(k)", "FusedConv Relu"),
        ("c=Conv(x,w) h=HardSwish(c) k=Mul(h,3) a=Add(k,6) y=Add(a,k)", "FusedConv Add Add"),
        ("c=Conv(x,w) h=HardSwish(c) y=Mul(h,channels)", "FusedConv Mul"),
        ("c=Conv(x,w) h=Relu(c) y=Mul(h,3)", "FusedConv Mul"),
    ],
)
def test_fuse_convolutions(text: str, wanted: str) -> None:
    attributes = {**SAME, "group": 4} if "deep" in text else SAME
    check(fuse_convolutions, graph(text, c=attributes, d=SAME, y={}), wanted)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("c=Conv(x,w) r=Relu(c) y=BatchNormalization(r,one,two,three,four)", "Conv Relu Conv"),
        ("c=Conv(x,w) r=Add(c,x) y=BatchNormalization(r,one,two,three,four)", "Conv Add Conv"),
        ("r=Relu(x) y=BatchNormalization(r,one,two,three,four)", "Relu BatchNormalization"),
        ("c=Conv(x,w) s=ReduceMean(c) y=BatchNormalization(s,one,two,three,four)",
         "Conv ReduceMean BatchNormalization"),
    ],
)
def test_lower_batch_norms(text: str, wanted: str) -> None:
    attributes = {"keepdims": 0, "axes": [3]}
    before = graph(text, c=SAME, s=attributes)
    before.opset[""] = 17  # axes as an attribute
    check(lower_batch_norms, before, wanted)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("k=Mul(x,3) y=Conv(k,w)", "Conv"),
        ("k=Mul(channels,x) y=Conv(k,w,b)", "Conv"),
        ("k=Mul(x,channels) a=Add(k,channels) y=Conv(a,w,b)", "Conv"),
        ("a=Add(x,3) k=Mul(a,channels) y=Conv(k,deep)", "Conv"),
        ("k=Mul(x,channels) a=Add(3,k) padded=Conv(a,w)", "Add Conv"),
        ("k=Mul(x,channels) a=Add(3,k) padded=Conv(a,deep,b)", "Add Conv"),
        ("a=Add(x,3) padded=Conv(a,w)", "Add Conv"),
        ("k=Mul(x,0) a=Add(k,3) padded=Conv(a,w)", "Mul Add Conv"),
        ("k=Mul(x,channels) c=Conv(k,w) y=Add(c,k)", "Mul Conv Add"),
        ("k=Mul(x,x) y=Conv(k,w)", "Mul Conv"),
        ("g=Conv(x,grey) k=Mul(g,channels) y=Conv(k,w)", "Conv Mul Conv"),  # one channel made four
        ("g=Conv(x,grey) a=Add(channels,g) y=Conv(a,w)", "Conv Add Conv"),
        ("s=Softmax(x) k=Mul(s,channels) y=Conv(k,w)", "Softmax Mul Conv"),  # of unknown channels
        ("r=Relu(x) k=Mul(r,channels) y=Conv(k,w)", "Relu Conv"),
    ],
)
def test_fold_factors(text: str, wanted: str) -> None:
    group = {"group": 4} if "deep" in text else {}
    padded = {"pads": [1, 1, 1, 1], **group}
    same = {"pads": [1, 1, 1, 1]}
    check(fold_factors, graph(text, c=same, padded=padded, y={} if "c=" in text else group), wanted)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("g=Sigmoid(p) k=Mul(x,g) y=Add(x,k)", "Sigmoid Add Mul"),
        ("g=HardSigmoid(p) k=Mul(g,x) a=Add(k,x) y=Relu(a)", "HardSigmoid Add Mul Relu"),
        ("g=Sigmoid(p) k=Mul(x,g) a=Add(x,k) y=Add(a,k)", "Sigmoid Mul Add Add"),
        ("g=Sigmoid(p) k=Mul(x,g) y=Add(g,k)", "Sigmoid Mul Add"),
        ("k=Mul(x,p) y=Add(x,k)", "Mul Add"),
    ],
)
def test_factor_residuals(text: str, wanted: str) -> None:
    before = graph(f"p=GlobalAveragePool(x) {text}")
    check(factor_residuals, before, f"GlobalAveragePool {wanted}")


SQUARES = "m=ReduceMean(x,last_axis) d=Sub(x,m) q=Mul(d,d) n=ReduceMean(q,last_axis) e=Add(n,1/6)"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("s=Sqrt(e) z=Div(d,s) k=Mul(z,gain) y=Add(k,shift)", "LayerNormalization"),
        ("s=Sqrt(e) z=Div(d,s) k=Mul(gain,z) y=Relu(k)", "LayerNormalization Relu"),
        ("s=Sqrt(e) z=Div(d,s) y=Add(z,shift)", None),
        ("s=Sqrt(e) z=Div(d,s) k=Mul(z,gain) y=Add(k,d)", None),
        ("s=Sqrt(e) z=Div(d,s) k=Mul(z,gain) y=Add(k,n)", None),
        ("s=Sqrt(e) z=Div(x,s) k=Mul(z,gain) y=Add(k,shift)", None),
        ("s=Exp(e) z=Div(d,s) k=Mul(z,gain) y=Add(k,shift)", None),
    ],
)
@pytest.mark.parametrize("square", ["Mul(d,d)", "Pow(d,2)"])
def test_recognize_layer_norms(text: str, wanted: str | None, square: str) -> None:
    before = graph(f"{SQUARES} {text}".replace("Mul(d,d)", square))
    check(recognize_layer_norms, before, wanted or operators_of(before))


@pytest.mark.parametrize(("old", "new"), [
    ("ReduceMean(q,last_axis)", "ReduceMean(q,first_axis)"), ("Sub(x,m)", "Sub(m,x)"),
    ("ReduceMean(x,last_axis)", "ReduceMean(x,first_axis)"),
    ("q=Mul(d,d)", "q=Pow(d,3)"), ("q=Mul(d,d)", "q=Mul(d,x)"),
])  # fmt: skip
def test_what_is_no_layer_norm_stays(old: str, new: str) -> None:
    text = f"{SQUARES} s=Sqrt(e) z=Div(d,s) k=Mul(z,gain) y=Add(k,shift)"
    before = graph(text.replace(old, new))
    check(recognize_layer_norms, before, operators_of(before))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("k=Mul(x,3) y=Add(k,6)", "Affine"),
        ("k=Mul(3,x) y=Add(6,k)", "Affine"),
        ("k=Mul(x,channels) y=Add(k,6)", "Mul Add"),
        ("k=Mul(x,3) a=Add(k,6) y=Add(a,k)", "Mul Add Add"),
    ],
)
def test_fuse_affine(text: str, wanted: str) -> None:
    check(fuse_affine, graph(text), wanted)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("f=Flatten(x) y=Gemm(f,m,v)", "Flatten FusedLinear"),
        ("f=Flatten(x) g=Gemm(f,n) y=Relu(g)", "Flatten FusedLinear"),
        ("f=Flatten(x) g=MatMul(f,n) a=Add(v,g) y=Tanh(a)", "Flatten FusedLinear"),
        ("g=MatMul(x,last) y=Relu(g)", "FusedLinear"),
        ("g=MatMul(x,last) y=Add(g,3)", "FusedLinear"),
        ("f=Flatten(x) g=MatMul(f,n) a=Add(v,g) y=Mul(g,a)", "Flatten FusedLinear Add Mul"),
        ("t=Transpose(x) y=MatMul(x,t)", "Transpose MatMul"),
    ],
)
def test_fuse_linear(text: str, wanted: str) -> None:
    turned = {"transB": 1, "alpha": 0.5, "beta": 2.0}
    attributes = {"perm": [0, 1, 3, 2]}
    check(fuse_linear, graph(text, y=turned if "Gemm(f,m" in text else {}, t=attributes), wanted)


@pytest.mark.parametrize("text", ["f=Reshape(c,halves) y=Gemm(f,half)",
                                  "f=Reshape(c,odd) y=Gemm(f,last)"])
def test_fold_flatten_of_rows_that_are_parts_of_samples(text: str) -> None:
    wanted = "Reshape" if "odd" in text else "FlattenChannelsLast"
    check(lambda g: fold_flatten(fuse_linear(g)), graph(f"c=Conv(x,w) {text}", c=SAME),
          f"Conv {wanted} FusedLinear")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("p=GlobalAveragePool(x) g=Sigmoid(p) k=Mul(x,g) y=Conv(k,point)",
         "GlobalAveragePool Sigmoid ScaledConv"),
        ("p=GlobalAveragePool(x) k=Mul(p,x) c=Conv(k,point,two) a=Add(c,x) y=Relu(a)",
         "GlobalAveragePool ScaledConv"),
        ("e=Relu(x) k=Mul(x,e) y=Conv(k,point)", "Relu ScaledConv"),  # not a number a channel
        ("p=GlobalAveragePool(x) k=Mul(x,p) c=Conv(k,point) y=Add(c,p)",
         "GlobalAveragePool ScaledConv"),
        ("p=GlobalAveragePool(x) k=Mul(x,p) y=Conv(k,w)", "GlobalAveragePool Mul FusedConv"),
        ("k=Mul(x,x) c=Conv(k,point) y=Add(c,k)", "Mul FusedConv"),
        ("d=Conv(x,tap,two) r=Relu(d) y=Conv(r,point)", "ScaledConv"),
        ("d=Conv(x,tap) e=Clip(d,0,6) y=Conv(e,point,two)", "ScaledConv"),
        ("d=Conv(x,tap) y=Conv(d,point,two)", "ScaledConv"),
        ("d=Conv(x,tap) r=Tanh(d) y=Conv(r,point)", "FusedConv FusedConv"),
        ("d=Conv(x,tap) a=Add(d,x) y=Conv(a,point)", "FusedConv FusedConv"),
        ("t=Conv(x,tap) y=Conv(t,point)", "FusedConv FusedConv"),  # with a stride
    ],
)
def test_fuse_scales(text: str, wanted: str) -> None:
    given = {"d": {"group": 4}, "t": {"group": 4, "strides": [2, 2]}}
    check(lambda g: fuse_scales(fuse_convolutions(g)), graph(text, **given), wanted)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("e=Conv(x,point,b) r=Relu(e) d=Conv(r,deep) c=Clip(d,0,6) p=Conv(c,point,two) y=Add(p,x)",
         "SeparableConv"),
        ("d=Conv(x,deep,b) s=Sigmoid(d) y=Conv(s,point)", "SeparableConv"),
        ("e=Conv(x,point) r=Relu(e) d=Conv(r,deep,two) y=Tanh(d)", "SeparableConv"),
        ("d=Conv(x,deep) p=Conv(d,point) h=Conv(p,deep) y=Conv(h,point)",
         "SeparableConv SeparableConv"),
        ("e=Conv(x,point) d=Conv(e,deep) y=Add(d,e)", "FusedConv FusedConv"),
        ("e=Conv(x,point) d=Conv(e,deep) p=Conv(d,point) y=Add(p,e)", "FusedConv SeparableConv"),
        ("e=Conv(x,point) a=Add(e,x) d=Conv(a,deep) y=Conv(d,point)", "FusedConv SeparableConv"),
        ("d=Conv(x,deep) p=Conv(d,point) a=Add(p,x) y=Mul(d,a)", "FusedConv FusedConv Mul"),
        ("d=Conv(x,deep) y=Conv(d,w)", "FusedConv FusedConv"),
        ("d=Conv(x,deep) y=Conv(d,tap)", "FusedConv FusedConv"),
        ("d=Conv(x,tap) y=Conv(d,point)", "FusedConv FusedConv"),
        ("e=Conv(x,point) d=Conv(x,deep) a=Add(d,e) y=Conv(a,point)",
         "FusedConv FusedConv FusedConv"),
        ("d=Conv(x,deep) k=Conv(d,point) y=Relu(k)", "FusedConv FusedConv"),
    ],
)
def test_fuse_separable(text: str, wanted: str) -> None:
    given = {name: {"group": 4, "pads": [1, 1, 1, 1]} for name in "dh"}
    strided = {"k": {"strides": [2, 2]}}
    grouped = {"y": {"group": 4}} if text.endswith("tap)") else {}
    if "d=Conv(x,tap)" in text:
        given["d"] = {"group": 4}
    before = graph(text, **given, **strided, **grouped)
    check(lambda g: fuse_separable(fuse_convolutions(g)), before, wanted)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("r=Reshape(x,two_groups) t=Transpose(r) y=Reshape(t,image)", "ChannelShuffle"),
        ("r=Reshape(x,of_two) t=Transpose(r) y=Reshape(t,two_images)", "ChannelShuffle"),
        ("r=Reshape(x,of_two) t=Transpose(r) y=Reshape(t,wider)", "Reshape Transpose Reshape"),
        ("r=Reshape(x,two_groups) t=Transpose(r) z=Reshape(t,image) y=Add(r,t)",
         "Reshape Transpose Reshape Add"),
        ("n=Transpose(x) r=Reshape(n,rows_first) t=Transpose(r) y=Reshape(t,mixed)",
         "Transpose ChannelShuffle"),
        ("n=Transpose(x) r=Reshape(n,two_groups) t=Transpose(r) y=Reshape(t,image)",
         "Transpose ChannelShuffle"),  # both of something else: three steps as before
    ],
)
def test_recognize_shuffles(text: str, wanted: str) -> None:
    turned = {"t": {"perm": [0, 2, 1, 3, 4]}, "n": {"perm": [0, 2, 3, 1]}}
    check(recognize_shuffles, graph(text, **turned), wanted)


def test_a_shuffle_takes_any_batch() -> None:
    before = graph("r=Reshape(x,of_two) t=Transpose(r) y=Reshape(t,two_images)",
                   t={"perm": [0, 2, 1, 3, 4]})
    result = run(recognize_shuffles(before), {"x": X[:1]})[0]
    np.testing.assert_array_equal(result, X[:1, [0, 2, 1, 3]])


@pytest.mark.parametrize("flat", ["f=Flatten(p)", "f=Reshape(p,pair)"])
def test_fold_flatten(flat: str) -> None:
    """Behind a convolution the number of channels is known; the weights change their order."""
    before = graph(f"c=Conv(x,w) p=Relu(c) {flat} y=Gemm(f,n)", c=SAME)
    after = check(lambda g: fold_flatten(fuse_linear(g)), before,
                  "Conv Relu FlattenChannelsLast FusedLinear")
    assert after.constants is not CONSTANTS
    unknown = graph(f"p=Relu(x) {flat} y=Gemm(f,n)")
    check(lambda g: fold_flatten(fuse_linear(g)), unknown,
          f"Relu {flat[2:].split('(')[0]} FusedLinear")


def test_additions_of_old_opsets_name_an_axis() -> None:
    before = graph("c=Conv(x,w) s=ReduceMean(x) y=Add(c,s)", c=SAME, y={"axis": 0, "broadcast": 1},
                   s={"axes": [1, 2, 3], "keepdims": 0})
    before.opset[""] = 6
    check(fuse_convolutions, before, "FusedConv ReduceMean Add")


def test_pads_beside_valid_are_not_counted() -> None:
    both = {"auto_pad": "VALID", "pads": [1, 1, 1, 1]}
    after = check(fold_pads, graph("p=Pad(x,border) y=Conv(p,w)", y=both), "Conv")
    assert after.nodes[0].attributes["pads"] == [1, 2, 3, 0]


def test_all_passes_together() -> None:
    before = graph(
        "p=Pad(x,border) c=Conv(p,w) bn=BatchNormalization(c,one,two,three,four) i=Identity(bn) "
        "k=Mul(one,two) a=Add(i,3) e=Clip(a,0,6) s=Mul(i,e) h=Div(s,6) g=GlobalAveragePool(h) "
        "f=Flatten(g) y=Softmax(f)"
    )
    after = optimize(before)
    assert operators_of(after) == "FusedConv GlobalAveragePool Flatten Softmax"
    assert after.nodes[0].attributes["activation"] == "hardswish"
    assert set(after.constants) == set(after.nodes[0].inputs[1:])
    np.testing.assert_allclose(run(after, {"x": X})[0], run(before, {"x": X})[0], rtol=1e-5)


def test_passes_see_what_inner_graphs_read() -> None:
    """A value that a branch reads is not folded away."""
    inner = Graph([Node("Relu", ["c"], ["r"])], {}, ["r"])
    nodes = [
        Node("Conv", ["x", "w"], ["c"]), Node("Relu", ["c"], ["y"]),
        Node("If", ["yes"], ["z"], {"then_branch": inner, "else_branch": inner}),
        Node("Add", ["y", "z"], ["sum"]),
    ]
    constants = {**CONSTANTS, "yes": np.array(True)}
    before = Graph(nodes, {"x": ("float32", None)}, ["sum"], constants, {"": 21})
    after = optimize(before)
    assert operators_of(after) == "FusedConv Relu If Add"
    np.testing.assert_allclose(run(after, {"x": X})[0], run(before, {"x": X})[0], rtol=1e-6)


def test_every_pass_has_a_test() -> None:
    tests = {name for name in globals() if name.startswith("test_")}
    for function in PASSES:
        assert any(function.__name__ in name for name in tests), function.__name__
