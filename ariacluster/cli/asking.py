"""Asking before something that cannot be taken back."""

import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

import typer

from ariacluster.cli.output import Output
from ariacluster.domain.errors import InvalidInput

YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def sure(output: Output, sentences: Sequence[str], question: str, yes: bool) -> None:
    """Tell what will be, and ask; where nobody can be asked, `--yes` has to be said. A no ends the program."""
    if yes:
        return
    for sentence in sentences:
        output.say(sentence)
    if not (output.for_people and sys.stdin.isatty()):
        raise InvalidInput("Nobody is here to be asked; say --yes if that is what you want.", field="--yes")
    if not confirm(question):
        output.say("Nothing was changed.")
        raise typer.Exit(1)


def confirm(question: str) -> bool:
    """A person's word; no word is a no. The question goes to `err`, for `out` is the result's."""
    # Nothing else is going on, so the loop may stand still for a person.
    with _interruptible():
        while True:
            sys.stderr.write(f"{question} [y/N] ")
            sys.stderr.flush()
            try:
                said = sys.stdin.readline()
            except KeyboardInterrupt:
                sys.stderr.write("\n")
                raise
            if not said:  # Ctrl-D
                sys.stderr.write("\n")
            answer = said.strip().lower()
            if answer in ("", "n", "no", "y", "yes"):
                return answer.startswith("y")


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C ends the waiting for an answer, which the loop that usually hears of it cannot."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
