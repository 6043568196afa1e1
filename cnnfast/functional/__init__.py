"""Functions on Tensors, one per differentiable operation, with torch.nn.functional's signatures.

Each computes by calling primitives of `cnnfast._core` on arrays and puts its backward function on
the tape with `record`. Shape rules come from `cnnfast.shapes`.
"""

from .convolution import *
from .linear import *
from .normalization import *
from .padding import *
from .pooling import *
from .resize import *
