"""How the engine computes, where more than one way is right: the settings of `torch.backends`.

``conv2d.benchmark`` lets convolutions measure which of their algorithms is the fastest.
"""

from . import conv2d

__all__ = ["conv2d"]
