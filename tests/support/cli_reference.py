"""`docs/cli.md`, written from what the program itself says in its help."""

import re
from collections.abc import Iterator
from typing import Any

import typer.main
from rich.text import Text

from ariacluster.cli.main import ALIASES, build

HEAD = """# The command line

<!-- Written by scripts/docs from the help of the commands in ariacluster/cli/commands. Change that, then run it. -->

Every command takes these, before its name or after it:
"""

AFTER = """
`ariacluster COMMAND --help` shows the same. A script reads the exit code:

| code | means |
|---|---|
| 0 | done |
| 1 | refused or failed; on standard error stands why |
| 2 | wrong usage: the argument is named |
| 3 | no node was reached |
| 4 | the cluster has no leader, or no majority |
| 130, 143 | ended by Ctrl-C, by SIGTERM; the downloads go on |

With `-o json` an error is a problem document (RFC 9457) on standard error, and the result one JSON document on standard
output; with `-o ndjson` it is an object on each line, as it comes. Wrong usage is told in words in any case.
Colours are for terminals alone, and `NO_COLOR` switches them off.
"""

EVERYWHERE = ("--output", "--url", "--debug", "--help")


def reference() -> str:
    """The whole page."""
    root = typer.main.get_command(build())
    lines = [HEAD, *_table(parameter for parameter in root.params if _name(parameter) in EVERYWHERE), AFTER]
    for name, command in root.commands.items():  # type: ignore[attr-defined]
        if not command.hidden:
            lines += list(_chapter(f"ariacluster {name}", command))
    return "\n".join([*lines, _plain(ALIASES), ""])


def _chapter(path: str, command: Any) -> Iterator[str]:
    if commands := getattr(command, "commands", None):
        yield f"## {path}\n"
        yield f"{_prose(command.help)}\n"
        for name, verb in commands.items():
            if not verb.hidden:
                yield from _command(f"{path} {name}", verb, "###")
    else:
        yield from _command(path, command, "##")


def _command(path: str, command: Any, level: str) -> Iterator[str]:
    yield f"{level} {path}\n"
    yield f"{_prose(command.help)}\n"
    own = [parameter for parameter in command.params if not parameter.hidden and _name(parameter) not in EVERYWHERE]
    arguments = [parameter.metavar or parameter.name.upper() for parameter in own if _is_argument(parameter)]
    if getattr(command, "add_help_option", True):
        yield "```\n" + " ".join([path, *arguments, *(["[OPTIONS]"] if len(own) > len(arguments) else [])]) + "\n```\n"
    if own:
        yield from _table(own)
        yield ""
    examples = _plain(command.epilog or "").split("\n\n")[1:]
    if examples:
        yield "```sh\n" + "\n".join(examples) + "\n```\n"


def _table(parameters: Any) -> Iterator[str]:
    yield "| | |"
    yield "|---|---|"
    for parameter in parameters:
        value = parameter.metavar or "table|json|ndjson"
        if _is_argument(parameter):
            said = value
        else:
            said = ", ".join(sorted(parameter.opts, key=len)) + ("" if parameter.is_flag else f" {value}")
        yield f"| `{_cell(said)}` | {_cell(_prose(parameter.help))} |"


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


def _name(parameter: Any) -> str:
    return str(max(parameter.opts, key=len))


def _is_argument(parameter: Any) -> bool:
    return bool(parameter.param_type_name == "argument")


def _plain(text: str) -> str:
    return Text.from_markup(text).plain


def _prose(text: str | None) -> str:
    """Paragraphs of one line each."""
    return "\n\n".join(re.sub(r"\s+", " ", part).strip() for part in _plain(text or "").split("\n\n"))
