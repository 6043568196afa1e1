"""The model of the other examples: a network that reads digits, trained and saved in a second.

    python examples/digits.py digits.safetensors

It takes images as they come, bytes (N, 28, 28, 1), and returns ten scores for each. Since it is
saved with an example, C programs can run the file, too, an image at a time.
"""

import sys

import numpy as np

import cnnfast
from cnnfast import functional as F
from cnnfast import models, optim
from cnnfast.data import DataLoader, mnist5k


def trained() -> cnnfast.nn.Module:
    """Return LeNet-5 after five passes over 4,000 digits."""
    cnnfast.manual_seed(0)
    model = models.lenet5()
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for _ in range(5):
        for images, labels in DataLoader(mnist5k("train"), batch_size=64, shuffle=True):
            optimizer.zero_grad()
            F.cross_entropy(model(cnnfast.tensor(images) / 255), cnnfast.tensor(labels)).backward()
            optimizer.step()
    return model.eval()


def main(path: str) -> None:
    example = np.zeros((1, 1, 28, 28), np.float32)
    compiled = cnnfast.compile(trained(), example, normalize=(0.0, 1.0))
    compiled.save(path, example=np.zeros((1, 28, 28, 1), np.uint8))


if __name__ == "__main__":
    main(*sys.argv[1:])
