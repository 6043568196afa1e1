"""What `import cnnfast` (or another package) adds to `import numpy`, in fresh processes.

Used by the suite `import` and by tests/test_import_time.py.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

PROGRAM = """
import sys, time
sys.path.append(sys.argv[2])
import numpy
start = time.perf_counter()
__import__(sys.argv[1])
print(time.perf_counter() - start)
"""


def added_seconds(package: str, repeats: int = 5) -> list[float]:
    """Return how long importing `package` takes where NumPy is already imported, `repeats` times.

    Each is measured in a process of its own, after one that fills the disk cache and writes the
    byte code.
    """
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise ImportError(f"no package {package!r} is installed")
    command = [sys.executable, "-c", PROGRAM, package, str(Path(spec.origin).parent.parent)]
    with tempfile.TemporaryDirectory() as folder:
        # The byte code goes beside nothing: whoever forbids writing it wants a clean source tree.
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(Path(folder, "bytecode"))}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        outputs = [
            subprocess.run(
                command, cwd=folder, env=environment, capture_output=True, text=True, check=True
            ).stdout
            for _ in range(repeats + 1)
        ]
    return [float(output) for output in outputs[1:]]
