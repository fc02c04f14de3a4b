"""`python -m tests.lab`, which is what `scripts/lab` calls."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
