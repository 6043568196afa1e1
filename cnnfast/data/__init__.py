"""Data: datasets and their readers, transforms of whole batches, and the loader.

    files -> Dataset.batch(indices) -> transform(images, labels, rng) -> DataLoader -> Trainer

A batch is a pair of NumPy arrays, images (N, C, H, W) of uint8 or float32 and labels (N,) of
int64. Nothing here imports the engine, downloads or runs code from a file.
"""

from cnnfast.data import transforms
from cnnfast.data.cifar import CIFAR10, CIFAR100
from cnnfast.data.dataset import (
    ArrayDataset,
    ConcatDataset,
    Dataset,
    Subset,
    TensorDataset,
    default_collate,
    random_split,
)
from cnnfast.data.folder import ImageFolder, read_image
from cnnfast.data.idx import MNIST, FashionMNIST, IdxDataset, read_idx
from cnnfast.data.loader import DataLoader
from cnnfast.data.npz import NpzDataset, mnist5k, read_npz

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "MNIST",
    "ArrayDataset",
    "ConcatDataset",
    "DataLoader",
    "Dataset",
    "FashionMNIST",
    "IdxDataset",
    "ImageFolder",
    "NpzDataset",
    "Subset",
    "TensorDataset",
    "default_collate",
    "mnist5k",
    "random_split",
    "read_idx",
    "read_image",
    "read_npz",
    "transforms",
]
