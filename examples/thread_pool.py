"""A thread pool whose threads all call one model, each on its own core.

    python examples/thread_pool.py digits.safetensors images.npy

The GIL is released while a call computes, and the weights are there once.
"""

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np

import cnnfast


def classify_all(path: str, images: np.ndarray, workers: int) -> list[int]:
    """Return the classes of images (N, H, W, C), of which `workers` are computed at once."""
    model = cnnfast.CompiledModel.load(path, threads=1)  # the pool shares the cores out
    with ThreadPoolExecutor(workers) as pool:
        scores = pool.map(model, np.split(images, len(images)))
        return [int(row.argmax()) for row in scores]


if __name__ == "__main__":
    print(classify_all(sys.argv[1], np.load(sys.argv[2]), cnnfast.get_num_threads()))
