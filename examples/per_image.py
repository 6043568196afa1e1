"""A function that is called per image: the model is loaded at the first call and kept.

    python examples/per_image.py digits.safetensors digit.png ...
"""

import os
import sys
from functools import cache

import numpy as np
from PIL import Image

import cnnfast


@cache
def model() -> cnnfast.CompiledModel:
    return cnnfast.CompiledModel.load(os.environ["MODEL"])


def classify(path: str) -> tuple[int, float]:
    """Return the class of an image file and its probability."""
    pixels = np.asarray(Image.open(path).convert("L"))
    scores = model()(pixels[None, :, :, None])[0]
    powers = np.exp(scores - scores.max())
    return int(scores.argmax()), float(powers.max() / powers.sum())


if __name__ == "__main__":
    os.environ["MODEL"] = sys.argv[1]
    for path in sys.argv[2:]:
        print(path, *classify(path))
