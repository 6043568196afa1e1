"""A pool of processes, forked or spawned.

    python examples/process_pool.py digits.safetensors images.npy fork
    python examples/process_pool.py digits.safetensors images.npy spawn

Forked workers inherit the model that the parent loaded, and its memory; spawned ones load it again
and share the file's pages. A forked worker computes on one thread; so does a spawned one here.
"""

import multiprocessing
import sys

import numpy as np

import cnnfast

_model: cnnfast.CompiledModel


def load(path: str) -> None:
    """Load the model that `classify` uses."""
    global _model
    _model = cnnfast.CompiledModel.load(path, threads=1)


def classify(image: np.ndarray) -> int:
    """Return the class of one image (H, W, C)."""
    return int(_model(image[None]).argmax())


def classify_all(path: str, images: np.ndarray, method: str, workers: int) -> list[int]:
    """Return the classes of images (N, H, W, C); `method` is "fork" or "spawn"."""
    context = multiprocessing.get_context(method)
    if method == "fork":
        load(path)
        classify(images[0])  # plans and packs the weights, once for all
        with context.Pool(workers) as pool:
            return pool.map(classify, images, chunksize=16)
    with context.Pool(workers, load, (path,)) as pool:
        return pool.map(classify, images, chunksize=16)


if __name__ == "__main__":
    path, images, method = sys.argv[1:]
    print(classify_all(path, np.load(images), method, workers=2))
