"""`python -m tests.sim`, which is what `scripts/sim` calls."""

import sys

from .batch import main

if __name__ == "__main__":
    sys.exit(main())
