"""`python -m ariacluster_node.doctor`: what `ariacluster doctor` becomes."""

from .command import main

if __name__ == "__main__":
    main()
