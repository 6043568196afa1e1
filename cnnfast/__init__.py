"""cnnfast: train and run convolutional networks on ordinary CPUs.

``cnnfast.nn``, ``cnnfast.functional`` and ``cnnfast.optim`` have torch's names and arguments;
``cnnfast.Trainer`` runs the training loop; ``cnnfast.data`` and ``cnnfast.models`` bring data sets
and networks.
"""

from ._core import get_num_threads, set_num_threads
from .autograd import enable_grad, is_grad_enabled, no_grad
from .errors import FormatError
from .random import manual_seed
from .tensor import Tensor, as_tensor, tensor

__version__ = "0.1.0"
