"""Where parameters live: on the CPU, in float32.

torch's layers and `Module.to` take a device and a dtype, and code written for torch passes them.
cnnfast has one of each, so this only checks what was asked for. Called by `Module.to` and by every
layer that owns parameters.
"""

from __future__ import annotations

from typing import Any

__all__ = ["check_placement"]


def check_placement(device: Any = None, dtype: Any = None) -> None:
    """Refuse a device other than the CPU and a floating-point type other than float32.

    Parameters
    ----------
    device : str or object with a `type`, optional
        "cpu", "cpu:0" or a torch device; None leaves the choice to cnnfast.
    dtype : dtype, optional
        float32 as NumPy, torch or a string spells it; None leaves the choice to cnnfast.

    Raises
    ------
    ValueError
        The device or the type is another one; the message names it.

    Examples
    --------
    >>> check_placement("cpu", "float32")
    """
    kind = str(getattr(device, "type", device)).partition(":")[0]
    if device is not None and kind != "cpu":
        raise ValueError(f"cnnfast computes on the CPU only: use device='cpu', not {device!r}")
    name = getattr(dtype, "__name__", None) or str(dtype).rpartition(".")[2]
    if dtype is not None and name != "float32":
        raise ValueError(f"cnnfast computes in float32 only: use dtype='float32', not {dtype!r}")
