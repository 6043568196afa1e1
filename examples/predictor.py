"""A class that makes a batch of a batch, as Ray, Dask and Spark use them.

    python examples/predictor.py digits.safetensors images.npy

It is made once a worker and called for every batch, a dict of arrays with a row an image.
"""

import os
import sys

import numpy as np

import cnnfast

Batch = dict[str, np.ndarray]


class Predictor:
    """Adds the columns "class" and "score" to batches with a column "image".

    Parameters
    ----------
    path : path
        Of a compiled model, on a disk that the worker can read.
    threads : int, optional
        Cores of one worker; what the scheduler gives it. By default all that it may use.
    """

    def __init__(self, path: str | os.PathLike[str], threads: int | None = None) -> None:
        self.model = cnnfast.CompiledModel.load(path, threads)

    def __call__(self, batch: Batch) -> Batch:
        scores = self.model(batch["image"])
        return {**batch, "class": scores.argmax(axis=1), "score": scores.max(axis=1)}


if __name__ == "__main__":
    images = np.load(sys.argv[2])
    predict = Predictor(sys.argv[1])
    batches = [{"image": images[i : i + 16]} for i in range(0, len(images), 16)]
    print([int(number) for batch in batches for number in predict(batch)["class"]])
