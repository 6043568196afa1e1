"""Compiled inference: what `cnnfast.compile` does.

`plan` turns what a model computes for given shapes into a list of primitives over one arena.
"""

from .plan import make_plan
from .unknown import DataDependent

__all__ = ["DataDependent", "make_plan"]
