"""``python -m cnnfast``: the command line of `cnnfast.cli`."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
