"""Functions on Tensors, one per differentiable operation, with torch.nn.functional's signatures.

Each computes by calling primitives of `cnnfast._core` on arrays and puts its backward function on
the tape with `record`. Shape rules come from `cnnfast.shapes`.
"""

from .activation import *
from .arithmetic import *
from .comparison import *
from .convolution import *
from .dropout import *
from .linear import *
from .normalization import *
from .padding import *
from .pointwise import *
from .pooling import *
from .resize import *
from .softmax import *
