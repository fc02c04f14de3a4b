"""Two kinds of reader: lines and colours for people, JSON for scripts. Everything that is written goes through here."""

import re
import sys
from collections.abc import Iterable, Mapping
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any, TextIO

import msgspec

from ariacluster.domain.errors import AriaClusterError, NoLeader
from ariacluster.wire.problems import problem_of

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

UNLIMITED = 10_000
"""Cells in a line that goes into a pipe: nothing is shortened there."""


class Kind(StrEnum):
    """What `-o` may say."""

    TABLE = "table"
    JSON = "json"
    NDJSON = "ndjson"


class ExitCode:
    """What a shell sees."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NOT_REACHED = 3
    NO_LEADER = 4
    INTERRUPTED = 130
    TERMINATED = 143


def exit_code(error: AriaClusterError) -> int:
    """Why it did not work, for a script."""
    if error.code == "not_reached":
        return ExitCode.NOT_REACHED
    return ExitCode.NO_LEADER if isinstance(error, NoLeader) else ExitCode.FAILED


class Output:
    """Writes results to `out` and everything else to `err`, in the asked `kind`."""

    def __init__(self, kind: Kind = Kind.TABLE, out: TextIO | None = None, err: TextIO | None = None) -> None:
        self.kind = kind
        self.out = out or sys.stdout
        self.err = err or sys.stderr

    @property
    def for_people(self) -> bool:
        return self.kind is Kind.TABLE

    @cached_property
    def console(self) -> "Console":
        return _console(self.out)

    @cached_property
    def err_console(self) -> "Console":
        return _console(self.err)

    @property
    def live(self) -> bool:
        """May lines be drawn over again? Not in a pipe, and not on a terminal that cannot."""
        return self.for_people and self.console.is_terminal and not self.console.is_dumb_terminal

    @property
    def width(self) -> int:
        return self.console.width

    def lines(self, lines: "Iterable[Text]") -> None:
        """Lines that were laid out for `width` already."""
        for line in lines:
            self.console.print(line, no_wrap=True, crop=False, overflow="ignore")
        self.out.flush()

    def sentence(self, text: "Text") -> None:
        """A line of prose, which the terminal may wrap."""
        self.console.print(text, soft_wrap=True)
        self.out.flush()

    def document(self, value: Any) -> None:
        """The whole result: one JSON document, or a line for each of its items."""
        if self.kind is Kind.NDJSON:
            for item in value if isinstance(value, list) else [value]:
                self.record(item)
        else:
            self._write(self.out, msgspec.json.format(msgspec.json.encode(value), indent=2).decode())

    def record(self, value: Any) -> None:
        """One JSON object on one line, at once."""
        self._write(self.out, msgspec.json.encode(value).decode())

    def note(self, sentence: str, *, style: str = "") -> None:
        """What is not the result: to `err`, and only where a person reads."""
        if self.for_people:
            self.say(sentence, style=style)

    def say(self, sentence: str, *, style: str = "") -> None:
        """To `err`, whoever reads."""
        from rich.text import Text

        from ariacluster.cli.plain import plain

        self.err_console.print(Text(plain(sentence), style=style), soft_wrap=True)
        self.err.flush()

    def problem(
        self,
        error: AriaClusterError,
        *,
        about: dict[str, str] | None = None,
        arguments: Mapping[str, str] | None = None,
    ) -> None:
        """What did not work, and what it was `about` (for example the url): a problem document, or a red line. `arguments`:
        how a person says the fields of the API on this command's line."""
        if not self.for_people:
            # An argument may hold bytes that were no text; a document may not.
            named = {key: value.encode(errors="backslashreplace").decode() for key, value in (about or {}).items()}
            self._write(self.err, msgspec.json.encode({**named, **_plain_problem(error)}).decode())
            return
        from rich.text import Text

        from ariacluster.cli.plain import plain

        line = Text("error: ", style="bold red")
        for name in (about or {}).values():
            line.append(f"{plain(name)}: ", style="default")
        line.append(plain(error.detail), style="red")
        self.err_console.print(line, soft_wrap=True)
        if error.field:
            field, rest = re.fullmatch(r"([^.\[]*)[.\[]?(.*?)\]?", error.field, re.DOTALL).groups()  # type: ignore[union-attr]
            said = (arguments or {}).get(field)
            label, name = ("argument: ", f"{said} {rest}".rstrip()) if said else ("field: ", error.field)
            self.err_console.print(Text.assemble((label, "bold red"), plain(name)), soft_wrap=True)
        self.err.flush()

    def _write(self, stream: TextIO, encoded: str) -> None:
        from ariacluster.cli.plain import json_safe

        ascii_only = (stream.encoding or "").lower().replace("-", "") != "utf8"
        stream.write(json_safe(encoded, ascii_only=ascii_only) + "\n")
        stream.flush()


def _plain_problem(error: AriaClusterError) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(problem_of(error))
    return plain


def _console(stream: TextIO) -> "Console":
    import os

    from rich.console import Console

    # Nothing that is printed is ever read as markup, as an emoji code, or guessed to be a number.
    console = Console(file=stream, markup=False, emoji=False, highlight=False)
    if not console.is_terminal and not os.environ.get("COLUMNS"):
        console.width = UNLIMITED
    return console
