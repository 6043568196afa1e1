"""The files that networks are inferred from, and the images that they get; made once, then kept.

Each network of networks.py is written as ONNX, and its weights for PyTorch, into a folder of the
user's cache that is named after the definitions, so that it never holds old ones. The detector,
the classifier and the recogniser of RapidOCR are read where that package is installed; they get
a photographed page of scikit-image's, and sixteen pieces of its lines.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from . import networks
from .data import normal

RAPIDOCR = {
    "rapidocr_detector": "ch_PP-OCRv4_det_infer.onnx",
    "rapidocr_classifier": "ch_ppocr_mobile_v2.0_cls_infer.onnx",
    "rapidocr_recogniser": "ch_PP-OCRv4_rec_infer.onnx",
}
"""Files of the package rapidocr_onnxruntime, in its folder of models."""

LINES = (47, 64, 80, 97, 113)
"""Rows of the page at which its lines of text begin; each is 20 high."""

Maker = Callable[[Path], None]


def made(name: str, make: Maker) -> Path:
    """Return the kept file `name`, which ``make(path)`` writes where it is missing."""
    digest = hashlib.sha256(Path(networks.__file__).read_bytes()).hexdigest()[:12]
    cache = os.environ.get("XDG_CACHE_HOME") or tempfile.gettempdir()
    path = Path(cache, "cnnfast-benchmarks", digest, name)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            new = Path(folder, name)
            make(new)
            new.replace(path)
    return path


def missing(name: str) -> str | None:
    """Return what has to be installed before `exported` and `image` know the network, or None."""
    wanted = ("rapidocr_onnxruntime", "skimage") if name in RAPIDOCR else ("onnx",)
    absent = [package for package in wanted if find_spec(package) is None]
    return f"{' and '.join(absent)} not installed" if absent else None


def exported(name: str) -> Path:
    """Return the ONNX file of a network; batches may be of any size."""
    if name in RAPIDOCR:
        spec = find_spec("rapidocr_onnxruntime")
        if spec is None or spec.origin is None:
            raise ImportError("pip install --no-deps rapidocr-onnxruntime")
        return Path(spec.origin).with_name("models") / RAPIDOCR[name]
    return made(f"{name}.onnx", lambda path: _export(name, path))


def _export(name: str, path: Path) -> None:
    """Write a network as ONNX, with its images' size fixed as other exporters fix it."""
    import onnx

    import cnnfast

    model = networks.build(cnnfast, name)
    model.load_state_dict(networks.state(model), strict=False)
    shape = networks.image_shape(name)
    cnnfast.onnx.export(model, normal((1, *shape)), path)
    proto = onnx.load(path)
    for axis, size in enumerate(shape, 1):
        proto.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = size
    onnx.save(proto, path)


def weights(name: str) -> Path:
    """Return the safetensors file of the weights of a network of networks.py."""

    def write(path: Path) -> None:
        from safetensors.numpy import save_file

        import cnnfast

        save_file(networks.state(networks.build(cnnfast, name)), path)

    return made(f"{name}.weights.safetensors", write)


@lru_cache(maxsize=2)
def image(name: str, batch: int) -> np.ndarray:
    """Return float32 images (N, C, H, W) for a network; kept, all contestants read the same."""
    if name not in RAPIDOCR:
        return normal((batch, *networks.image_shape(name)))
    from skimage.data import page

    gray: np.ndarray = page()
    if name == "rapidocr_detector":  # RapidOCR's rule: 736 or more, both sides multiples of 32
        return _scaled(gray, 736, round(gray.shape[1] * 736 / gray.shape[0] / 32) * 32)[None]
    pieces = [gray[8:36, 4:184]]  # of the title
    pieces += [gray[y : y + 20, x : x + 128] for y in LINES for x in (0, 128, 256)]
    width = 192 if name == "rapidocr_classifier" else 320
    return np.stack([_scaled(piece, 48, width) for piece in pieces[:batch]])


def _scaled(gray: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return an image as RapidOCR's models want it: three channels from -1 to 1."""
    from skimage.transform import resize

    pixels = 2 * resize(gray, (height, width)) - 1
    return np.broadcast_to(pixels.astype(np.float32), (3, height, width)).copy()
