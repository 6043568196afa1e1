"""Commands on compiled models: ``cnnfast convert | run | profile`` and ``info MODEL``.

MODEL is an ``.onnx`` file, a compiled model, or a network that ``cnnfast train`` or `cnnfast.save`
wrote. Part of `cnnfast.cli`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .cli import _add, _add_threads, _count, _say, _shape

if TYPE_CHECKING:
    import numpy as np

    from .compiler import CompiledModel

__all__ = ["add_commands", "add_input", "describe", "opened"]


def add_commands(commands: Any) -> None:
    """Add the parsers of this file's commands."""
    parser = _add(commands, "convert", _convert, "write a model as one compiled file")
    parser.add_argument("model", metavar="MODEL", type=Path, help="an .onnx or .safetensors file")
    parser.add_argument("output", metavar="OUTPUT", type=Path, help="a .safetensors file")
    parser.add_argument("--plan", action="store_true",
                        help="with what C programs need to run it on one image at a time")
    add_input(parser)

    parser = _add(commands, "run", _run, "run a model on image files")
    parser.add_argument("model", metavar="MODEL", type=Path, help="an .onnx or .safetensors file")
    parser.add_argument("--image", nargs="+", required=True, metavar="FILE", help="PNG, JPEG, ...")
    parser.add_argument("--mean", type=float, nargs="+", default=[0.0],
                        help="subtracted from pixels between 0 and 1, one or one a channel (0)")
    parser.add_argument("--std", type=float, nargs="+", default=[1.0], help="divisor after it (1)")
    parser.add_argument("--top", type=_count, default=5, metavar="K", help="scores to print (5)")
    add_input(parser)
    _add_threads(parser)

    parser = _add(commands, "profile", _profile, "measure each operator of a model")
    parser.add_argument("model", metavar="MODEL", type=Path, help="an .onnx or .safetensors file")
    parser.add_argument("--batch-size", type=_count, default=1, help="images at once (1)")
    parser.add_argument("--repeats", type=_count, default=20, help="runs to measure (20)")
    parser.add_argument("--trace", type=Path, metavar="FILE", help="also write a Chrome trace")
    add_input(parser)
    _add_threads(parser)


def add_input(parser: Any) -> None:
    """Add the flag for the shape of one image."""
    parser.add_argument(
        "--input", type=_shape, metavar="CxHxW", help="such as 3x224x224 (the model's own)"
    )


def opened(path: Path, shape: tuple[int, ...] | None) -> CompiledModel:
    """Return the file `path` as a compiled model; `shape` is one image's."""
    import numpy as np

    from . import checkpoint
    from .compiler import compile

    if path.suffix == ".onnx":
        return compile(path)
    document = checkpoint.read_metadata(path)
    shape = shape or document.get("input_shape")
    if document.get("kind") == "compiled":
        return compile(path)
    if shape is None:
        raise ValueError(f"{path} does not say its input; give --input CxHxW")
    return compile(path, np.zeros((1, *shape), np.float32))


def image_shape(model: CompiledModel, given: tuple[int, ...] | None) -> tuple[int, ...]:
    """Return (channels, height, width) of a model's first input; 224 where it takes any size."""
    if given is not None:
        return given
    name, (_, axes) = next(iter(model.graph.inputs.items()))
    if axes is None or len(axes) != 4:
        raise ValueError(f"the input {name!r} is no image; give --input CxHxW")
    defaults = zip(axes[1:], (3, 224, 224), strict=True)
    return tuple(a if isinstance(a, int) and a > 0 else size for a, size in defaults)


def describe(model: CompiledModel) -> tuple[dict[str, Any], str]:
    """Return what a model is, as JSON values and as text."""
    from collections import Counter

    graph = model.graph
    counted = Counter(node.operator for node in graph.nodes).most_common()
    found: dict[str, Any] = {
        "inputs": {name: {"dtype": d, "shape": s} for name, (d, s) in graph.inputs.items()},
        "outputs": graph.outputs,
        "operators": dict(counted),
        "parameters": sum(array.size for array in graph.constants.values()),
        "bytes": sum(array.nbytes for array in graph.constants.values()),
    }
    operators = ", ".join(f"{count} {name}" for name, count in counted)
    text = f"{model!r}\n{operators}\n{found['parameters']:,} constants, {found['bytes']:,} bytes"
    return found, text


def _convert(options: Any) -> None:
    import numpy as np

    model = opened(options.model, options.input)
    example = None
    if options.plan:
        example = np.zeros((1, *image_shape(model, options.input)), np.uint8)
    model.save(options.output, example)
    size = options.output.stat().st_size
    _say(options, {"output": str(options.output), "bytes": size, **describe(model)[0]},
         f"{options.output}: {size:,} bytes, {model!r}")


def _run(options: Any) -> None:
    import numpy as np

    from .pictures import read_picture

    model = opened(options.model, options.input)
    shape = image_shape(model, options.input)
    found, lines = [], []
    for file in options.image:
        pixels = read_picture(file, shape).astype(np.float32) / 255
        channels = (-1, 1, 1)
        image = (pixels - np.float32(options.mean).reshape(channels)) / np.float32(
            options.std).reshape(channels)
        outputs = model.run({model.input_names[0]: image[None]})
        named = zip(model.output_names, outputs, strict=True)
        outcomes = {name: _outcome(np.asarray(value), options.top) for name, value in named}
        found.append({"file": file, "outputs": outcomes})
        for name, outcome in outcomes.items():
            best = "  ".join(f"{at}: {value:.4g}" for at, value in outcome["top"])
            lines.append(f"{file}  {name} {tuple(outcome['shape'])}  {best}")
    _say(options, found, "\n".join(lines))


def _outcome(array: np.ndarray, top: int) -> dict[str, Any]:
    """Return an output's shape and its largest values with their flat positions."""
    import numpy as np

    flat = array.reshape(-1)
    best = np.argsort(-flat, kind="stable")[:top]
    return {"shape": list(array.shape), "top": [[int(i), float(flat[i])] for i in best]}


def _profile(options: Any) -> None:
    import numpy as np

    model = opened(options.model, options.input)
    shape = (options.batch_size, *image_shape(model, options.input))
    image = np.random.default_rng(0).random(shape, np.float32)
    profile = model.profile(image, repeats=options.repeats)
    if options.trace is not None:
        profile.chrome_trace(options.trace)
    _say(options, profile.to_dict(), str(profile))
