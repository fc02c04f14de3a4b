"""The program `ariacluster`. Ctrl-C ends it without a word from the first moment on."""

import signal
import sys


def main() -> int:
    """The exit code."""
    # While the rest is being loaded there is nothing to end in order. Once a command runs, it hears of the signal itself.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from ariacluster.cli.main import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
