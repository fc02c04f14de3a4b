"""What may come next on the command line. Asked with every press of a key, so it answers at once or not at all."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from ariacluster.cli.known import Known
from ariacluster.cli.selection import STATES, UNFINISHED
from ariacluster.domain.history import Kind
from ariacluster.domain.policy import Strategy
from ariacluster.domain.task import FINAL, MOVES, Priority, TaskState
from ariacluster.wire import routes
from ariacluster.wire.resources import SettingsResource

FILES = ":files"
"""Said in place of words: the shell is to complete the names of files."""

SHELLS = ("bash", "zsh", "fish")

_SAFE = re.compile(r"[\w.:=/@+,%~-]+")
"""Words that need no quotes in any shell; others are not offered."""


class Item(NamedTuple):
    """A word that fits, and what it is."""

    word: str
    about: str = ""


class _Place(NamedTuple):
    """Where on the line the cursor stands: in which command, behind which option, how many arguments are there already."""

    command: Any
    option: Any | None
    arguments: int
    options_end: bool


def complete(root: Any, words: Sequence[str], known: Known) -> list[Item]:
    """What the last of `words` may become; `root` is the whole command line as typer made it. The program's name is not
    among the words."""
    *before, last = words or [""]
    place = _walk(root, before)
    if place is None:
        return []
    if place.option is None and not place.options_end and last.startswith("--") and "=" in last:
        name, _, last = last.partition("=")
        option = _option(place.command, name)
        found = _values(option, place.command, last, known) if option is not None else iter(())
        return [Item(f"{name}={item.word}", item.about) for item in _fitting(found, last)]
    if place.option is not None:
        return _fitting(_values(place.option, place.command, last, known), last)
    if last.startswith("-") and not place.options_end:
        return _fitting(_options(place.command), last)
    if commands := getattr(place.command, "commands", None):
        shown = ((name, sub) for name, sub in commands.items() if not sub.hidden)
        return _fitting((Item(name, _first_sentence(sub.help)) for name, sub in shown), last)
    arguments = [parameter for parameter in place.command.params if parameter.param_type_name == "argument"]
    if not arguments:
        return []
    argument = arguments[min(place.arguments, len(arguments) - 1)]
    if place.arguments >= len(arguments) and argument.nargs == 1:
        return []
    return _fitting(_values(argument, place.command, last, known), last)


def _walk(command: Any, words: Sequence[str]) -> _Place | None:
    """None where a word is no command of its family."""
    arguments, options_end, option = 0, False, None
    for word in words:
        if option is not None:
            option = None
        elif word == "--" and not options_end:
            options_end = True
        elif word.startswith("-") and len(word) > 1 and not options_end:
            found = _option(command, word)
            option = found if found is not None and not found.is_flag and "=" not in word else None
        elif commands := getattr(command, "commands", None):
            command = commands.get(word)
            if command is None:
                return None
        else:
            arguments += 1
    return _Place(command, option, arguments, options_end)


def _option(command: Any, word: str) -> Any | None:
    name = word.partition("=")[0]
    for parameter in command.params:
        if parameter.param_type_name == "option" and name in (*parameter.opts, *parameter.secondary_opts):
            return parameter
    return None


def _options(command: Any) -> Iterator[Item]:
    for parameter in command.params:
        if parameter.param_type_name == "option" and not parameter.hidden:
            longest = max(parameter.opts, key=len)
            yield Item(longest, _first_sentence(parameter.help))
    yield Item("--help", "Show what it does.")


def _values(parameter: Any, command: Any, last: str, known: Known) -> Iterator[Item]:
    """By what the parameter calls its value."""
    name = max(parameter.opts, key=len)
    metavar = (parameter.metavar or "").strip("[]")
    if name in BY_NAME:
        yield from BY_NAME[name](last, known)
    elif metavar == "ID":
        yield from _tasks(command.name, last, known)
    elif metavar in BY_METAVAR:
        yield from BY_METAVAR[metavar](last, known)


def _tasks(verb: str, last: str, known: Known) -> Iterator[Item]:
    """Those that the verb may be said to."""
    if verb in MOVES:
        states = [state.value for state in TaskState if state in MOVES[verb].sources]
    elif verb in ("edit", "move", "watch"):
        states = [state.value for state in TaskState if state not in FINAL]
    else:
        states = []
    for task in known.tasks(states):
        yield Item(task["id"], f"{task['status']}  {task['name']}")


def _states(last: str, known: Known) -> Iterator[Item]:
    done, comma, _ = last.rpartition(",")
    for state in (*STATES, UNFINISHED):
        yield Item(f"{done}{comma}{state}")


def _settings(last: str, known: Known) -> Iterator[Item]:
    for key in SettingsResource.__struct_fields__:
        if key == "strategy" and last.startswith("strategy="):
            yield from (Item(f"strategy={strategy.value}") for strategy in Strategy)
        else:
            yield Item(f"{key}." if key == "origin_limits" else f"{key}=")


def _words(*words: str) -> Callable[[str, Known], Iterator[Item]]:
    return lambda last, known: (Item(word) for word in words)


def _nodes(last: str, known: Known) -> Iterator[Item]:
    for node in known.nodes():
        role = f"{node['role']}, " if node["role"] == "leader" else ""
        yield Item(node["name"], f"{role}{node['status']}")


def _tags(last: str, known: Known) -> Iterator[Item]:
    for node in known.nodes():
        yield from (Item(f"{key}={value}", f"of {node['name']}") for key, value in node["tags"].items())


def _clusters(last: str, known: Known) -> Iterator[Item]:
    for other in known.others():
        yield Item(other["id"], ", ".join(other["nodes"]))


BY_NAME: dict[str, Callable[[str, Known], Iterator[Item]]] = {
    "--output": _words("table", "json", "ndjson"),
    "--priority": _words(*(priority.name.lower() for priority in Priority)),
    "--sort": _words(*routes.SORTS, *(f"-{key}" for key in routes.SORTS)),
    "--kind": _words(*(kind.value for kind in Kind)),
    "--tag": _tags,
    "--prefer-tag": _tags,
    "--mirror": _words(),
    "--url": _words(),
}
BY_METAVAR: dict[str, Callable[[str, Known], Iterator[Item]]] = {
    "NODE": _nodes,
    "STATE": _states,
    "KEY": _words(*SettingsResource.__struct_fields__),
    "KEY=VALUE": _settings,
    "CLUSTER": _clusters,
    "SHELL": _words(*SHELLS),
    "FILE": _words(FILES),
    "URL": _words(FILES),
}


def _fitting(items: Iterator[Item], last: str) -> list[Item]:
    found = {item.word: item for item in items if item.word == FILES or item.word.startswith(last)}
    return [item for item in found.values() if _SAFE.fullmatch(item.word)]


def _first_sentence(text: str | None) -> str:
    return re.sub(r"\s+", " ", text or "").strip().partition(". ")[0].rstrip(".")
