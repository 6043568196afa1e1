"""Functions on Tensors, one per differentiable operation, with torch.nn.functional's signatures.

Each computes by calling primitives of `cnnfast._core` on arrays and puts its backward function on
the tape with `record`. Shape rules come from `cnnfast.shapes`.
"""

import sys
from inspect import isfunction as _isfunction

from .. import tensor_methods, tensor_operators
from ..tracing import traceable as _traceable
from .activation import *
from .arithmetic import *
from .comparison import *
from .convolution import *
from .cross_entropy import *
from .dropout import *
from .in_place import *
from .indexing import *
from .joining import *
from .linear import *
from .loss import *
from .normalization import *
from .padding import *
from .pointwise import *
from .pooling import *
from .reduction import *
from .resize import *
from .shaping import *
from .shuffle import *
from .softmax import *

# Whoever calls a function through this package, a model or a Tensor's method, can be traced.
for _name, _function in list(globals().items()):
    if _isfunction(_function) and not _name.startswith("_"):
        globals()[_name] = _traceable(_function)

# Tensor's methods are these functions; each needs the other, so they meet here.
tensor_methods.functional = tensor_operators.functional = sys.modules[__name__]
