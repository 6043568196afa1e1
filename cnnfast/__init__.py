"""cnnfast: train and run convolutional networks on ordinary CPUs.

``cnnfast.nn``, ``cnnfast.functional`` and ``cnnfast.optim`` have torch's names and arguments;
``cnnfast.Trainer`` runs the training loop; ``cnnfast.data`` and ``cnnfast.models`` bring data sets
and networks.
"""

from typing import TYPE_CHECKING, Any

from . import openmp  # isort: skip - loads the engine, so it comes first
from . import backends, functional
from ._core import get_num_threads, set_num_threads
from .autograd import enable_grad, is_grad_enabled, no_grad
from .creation import (
    arange,
    empty,
    empty_like,
    eye,
    from_dlpack,
    from_numpy,
    full,
    full_like,
    linspace,
    ones,
    ones_like,
    rand,
    rand_like,
    randint,
    randn,
    randn_like,
    randperm,
    zeros,
    zeros_like,
)
from .errors import FormatError
from .functional import (
    abs,
    add,
    all,
    amax,
    amin,
    any,
    argmax,
    argmin,
    broadcast_to,
    cat,
    ceil,
    chunk,
    clamp,
    clip,
    clone,
    concat,
    div,
    eq,
    erf,
    exp,
    expm1,
    flatten,
    flip,
    floor,
    floor_divide,
    gather,
    ge,
    gt,
    index_select,
    isfinite,
    isinf,
    isnan,
    le,
    log,
    log1p,
    lt,
    masked_fill,
    matmul,
    max,
    maximum,
    mean,
    min,
    minimum,
    movedim,
    mul,
    narrow,
    ne,
    neg,
    norm,
    permute,
    pow,
    prod,
    reciprocal,
    relu,
    remainder,
    reshape,
    round,
    rsqrt,
    sigmoid,
    sign,
    split,
    sqrt,
    square,
    squeeze,
    stack,
    std,
    sub,
    sum,
    swapaxes,
    tanh,
    transpose,
    trunc,
    unbind,
    unsqueeze,
    var,
    where,
)
from .random import manual_seed
from .summary import summary
from .tensor import Tensor, as_tensor, tensor

if TYPE_CHECKING:
    from . import callbacks, checkpoint, data, metrics, models, nn, onnx, optim, plots
    from .checkpoint import load, save
    from .compiler import CompiledModel, compile
    from .train_step import TrainStep
    from .trainer import History, Trainer

__version__ = "0.1.0"

# What a program that only computes does not need is imported when it is first asked for.
_LATER = {
    "CompiledModel": "compiler",
    "History": "trainer",
    "TrainStep": "train_step",
    "Trainer": "trainer",
    "load": "checkpoint",
    "save": "checkpoint",
    "compile": "compiler",
    "callbacks": "",
    "checkpoint": "",
    "data": "",
    "metrics": "",
    "models": "",
    "nn": "",
    "onnx": "",
    "optim": "",
    "plots": "",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'cnnfast' has no attribute {name!r}")
    from importlib import import_module

    module = import_module(f".{_LATER[name] or name}", __name__)
    value = getattr(module, name) if _LATER[name] else module
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})
