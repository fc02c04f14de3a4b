"""Which tasks are meant: the filters that lists and verbs share, and the ids that are given."""

import sys
from collections.abc import Iterable
from typing import Annotated

import typer

from ariacluster.domain.task import FINAL, TaskState
from ariacluster.wire.requests import TaskFilter

STATES = tuple(state.value for state in TaskState)
UNFINISHED = "unfinished"

WHICH = "Which tasks"

StateOption = Annotated[
    list[str] | None,
    typer.Option(
        "--state",
        metavar="STATE",
        help="Only these: states with commas between, or 'unfinished'.",
        rich_help_panel=WHICH,
    ),
]
NodeOption = Annotated[
    str | None, typer.Option("--node", metavar="NODE", help="Only those on this node.", rich_help_panel=WHICH)
]
TagOption = Annotated[
    list[str] | None,
    typer.Option("--tag", metavar="KEY[=VALUE]", help="Only those with this tag.", rich_help_panel=WHICH),
]
SearchOption = Annotated[
    str,
    typer.Option("--search", "-s", metavar="TEXT", help="Only those with it in name or link.", rich_help_panel=WHICH),
]


def states_of(given: Iterable[str]) -> list[str]:
    """The states that `--state` names; `unfinished` stands for all that are not final."""
    states: list[str] = []
    for name in (part.strip() for value in given for part in value.split(",")):
        if name == UNFINISHED:
            states.extend(state.value for state in TaskState if state not in FINAL)
        elif name in STATES:
            states.append(name)
        else:
            raise typer.BadParameter(
                f"{name!r} is no state; there are {UNFINISHED}, {', '.join(STATES)}.", param_hint="--state"
            )
    return list(dict.fromkeys(states))


def filter_of(state: list[str] | None, node: str | None, tag: list[str] | None, search: str) -> TaskFilter:
    return TaskFilter(state=states_of(state or []), node=node or None, tag=tag or [], q=search)


def described(matching: TaskFilter) -> str:
    """The filter in words: `failed, on nas`; empty for all tasks."""
    words = []
    if matching.state:
        words.append(" or ".join(matching.state))
    if matching.node:
        words.append(f"on {matching.node}")
    words.extend(f"with the tag {tag}" for tag in matching.tag)
    if matching.q:
        words.append(f"with {matching.q!r} in name or link")
    return ", ".join(words)


def ids_of(given: Iterable[str]) -> list[str]:
    """The ids, each once; `-` stands for those that come in on stdin, separated by blanks or lines."""
    ids: list[str] = []
    for ref in given:
        ids.extend(sys.stdin.read().split() if ref == "-" else [ref])
    return list(dict.fromkeys(ids))
