"""The C library's allocator, set so that no contestant pays for fresh pages.

By default glibc returns large arrays to the system and gets them back page by page: PyTorch takes
42 ms instead of 28 ms for a convolution with a result of 51 MB, and small pages make the time of
ncnn and of depthwise convolutions a matter of luck. The engine has a pool of its own. PyTorch's
tuning guide advises another allocator; these settings have the same effect without installing one.
"""

from __future__ import annotations

import os
import platform
import sys

VARIABLE = "GLIBC_TUNABLES"
SETTINGS = {
    "hugetlb": 1,  # ask the system for huge pages
    "mmap_max": 0,  # large blocks come from the heap,
    "trim_threshold": sys.maxsize,  # which is never returned
}


def restart_with_settings() -> None:
    """Replace this process by one with the settings; without glibc or if some are set, do nothing.

    The C library reads them when a process starts.
    """
    if VARIABLE in os.environ or platform.libc_ver()[0] != "glibc":
        return
    os.environ[VARIABLE] = ":".join(
        f"glibc.malloc.{key}={value}" for key, value in SETTINGS.items()
    )
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
