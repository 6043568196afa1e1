"""`cnnfast.functional` under torch's import path `nn.functional`."""

from ..functional import *  # noqa: F403
