"""What may be said to tasks: to those that are named by their ids, or to all that fit a filter."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from ariacluster.cli import units, watched
from ariacluster.cli.asked import moment, pairs
from ariacluster.cli.asking import YesOption, sure
from ariacluster.cli.invocation import Invocation, Work, command
from ariacluster.cli.output import ExitCode, exit_code
from ariacluster.cli.selection import (
    WHICH,
    NodeOption,
    SearchOption,
    StateOption,
    TagOption,
    described,
    filter_of,
    ids_of,
)
from ariacluster.cli.submitting import ARGUMENTS
from ariacluster.domain.errors import AriaClusterError, InvalidInput, NoLeader
from ariacluster.domain.task import MOVES, Priority, TaskState
from ariacluster.wire.problems import error_from
from ariacluster.wire.requests import TaskFilter, TaskPatch
from ariacluster.wire.resources import BulkResult

if TYPE_CHECKING:
    from ariacluster.client.client import NodeClient

Refs = Annotated[
    list[str] | None,
    typer.Argument(metavar="ID", help="Their ids, or the first digits; - reads them from stdin.", show_default=False),
]
AllOption = Annotated[
    bool, typer.Option("--all", "-a", help="Every one that this can be said to.", rich_help_panel=WHICH)
]
NEEDED = Annotated[
    list[str], typer.Argument(metavar="ID", help="Their ids, or the first digits of them.", show_default=False)
]
Ref = Annotated[str, typer.Argument(metavar="ID", help="Its id, or the first digits of it.", show_default=False)]

SHOWN = 10
"""Of those that a bulk verb was refused for, so many are named."""


SAID = {
    "pause": (
        "pause",
        "Pause tasks: they keep their bytes and give up their slots.",
        ["ariacluster task pause 1f2e3d4c", "ariacluster task pause --node nas"],
    ),
    "resume": (
        "resume",
        "Let paused tasks go on.",
        ["ariacluster task resume 1f2e3d4c", "ariacluster task resume --all"],
    ),
    "retry": (
        "retry",
        "Give failed or canceled tasks another try.",
        ["ariacluster task retry 1f2e3d4c", "ariacluster task retry --state failed --search mirror.example --yes"],
    ),
    "cancel": (
        "cancel",
        "Cancel tasks: they stop, what was fetched is thrown away, and they stay on the list.",
        ["ariacluster task cancel 1f2e3d4c", "ariacluster task cancel --tag batch=7"],
    ),
    "rm": (
        "remove",
        "Take tasks off the list, stopping them if they run. Finished files stay.",
        [
            "ariacluster task rm 1f2e3d4c",
            "ariacluster task rm --state completed,canceled --yes",
            "ariacluster task ls --search old -o ndjson | jq -r .id | ariacluster task rm -",
        ],
    ),
}
"""By the name of the command: what is said to the node, the sentence about it, and examples."""


def add_to(tasks: typer.Typer) -> None:
    for name, (verb, sentence, examples) in SAID.items():
        command(tasks, name, examples=examples)(saying(verb, sentence))
    editing = [
        "ariacluster task edit 1f2e3d4c --priority urgent --max-attempts 20",
        "ariacluster task edit 1f2e3d4c --option max-download-limit=1M --tag place=attic",
        "ariacluster task edit 1f2e3d4c --tag place= --node any --not-before now",
    ]
    command(tasks, "edit", examples=editing)(edit)
    command(tasks, "move", examples=["ariacluster task move 1f2e3d4c --to nas"])(move)
    relinking = [
        "ariacluster task relink 1f2e3d4c https://example.org/new-link",
        "ariacluster task relink 1f2e3d4c https://example.org/file --header 'Cookie: session=…'",
    ]
    command(tasks, "relink", examples=relinking)(relink)


def saying(verb: str, sentence: str) -> Work:
    """The command that says it, to those with these ids or to all that fit."""

    async def say(
        invocation: Invocation,
        tasks: Refs = None,
        everything: AllOption = False,
        state: StateOption = None,
        node: NodeOption = None,
        tag: TagOption = None,
        search: SearchOption = "",
        yes: YesOption = False,
    ) -> int:
        return await _say(invocation, verb, tasks, everything, filter_of(state, node, tag, search), yes)

    say.__doc__ = f"{sentence}\n\nName them by their ids, or say which by a filter: then it asks first."
    return say


async def edit(
    invocation: Invocation,
    task: Ref,
    out: Annotated[
        str | None, typer.Option("--out", metavar="NAME", help="What to call the file; '' for its own name.")
    ] = None,
    to: Annotated[
        str | None, typer.Option("--to", metavar="SUBDIR", help="A folder inside the download folder.")
    ] = None,
    checksum: Annotated[
        str | None, typer.Option("--checksum", metavar="TYPE=HEX", help="What the file must hash to; '' for none.")
    ] = None,
    header: Annotated[
        list[str] | None,
        typer.Option("--header", metavar="'Name: value'", help="Sent with every request, in place of those before."),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", metavar="KEY=VALUE", help="An option of aria2; KEY= takes it off."),
    ] = None,
    priority: Annotated[
        str | None,
        typer.Option("--priority", metavar="NAME", help=f"One of {', '.join(p.name.lower() for p in Priority)}."),
    ] = None,
    max_attempts: Annotated[
        int | None, typer.Option("--max-attempts", metavar="N", min=1, help="Tries before it is given up.")
    ] = None,
    not_before: Annotated[
        str | None,
        typer.Option("--not-before", metavar="TIME", help="2026-12-24T18:00, 22:00, 2h, or now."),
    ] = None,
    node: Annotated[str | None, typer.Option("--node", metavar="NODE", help="Only on this one; 'any' for any.")] = None,
    tag: Annotated[
        list[str] | None,
        typer.Option("--tag", metavar="KEY=VALUE", help="Only on nodes with this tag; KEY= takes it off."),
    ] = None,
    prefer_tag: Annotated[
        list[str] | None,
        typer.Option("--prefer-tag", metavar="KEY=VALUE", help="Better on nodes with this tag; KEY= takes it off."),
    ] = None,
) -> int:
    """Change what was asked of a task. What is not named stays, and one that runs keeps its bytes.

    Links are changed by task relink, and by whom it is fetched right now by task move.
    """
    named: dict[str, Any] = {}
    if out is not None:
        named["out"] = out or None
    if to is not None:
        named["dir"] = to
    if checksum is not None:
        named["checksum"] = checksum or None
    if header is not None:
        named["headers"] = [line for line in header if line]
    for key, given, hint in (
        ("options", option, "--option"),
        ("tags", tag, "--tag"),
        ("prefer_tags", prefer_tag, "--prefer-tag"),
    ):
        if given:
            named[key] = {name: value or None for name, value in pairs(given, hint).items()}
    if priority is not None:
        named["priority"] = priority.lower()
    if max_attempts is not None:
        named["max_attempts"] = max_attempts
    if not_before is not None:
        named["not_before"] = None if not_before == "now" else moment(not_before, "--not-before")
    if node is not None:
        named["node"] = None if node in ("any", "") else node
    if not named:
        raise typer.BadParameter("Say what to change, for example --priority high.", param_hint="OPTIONS")
    patch = TaskPatch(**named)
    return await _each(invocation, [task], lambda client, ref: client.edit(ref, patch), ARGUMENTS)


async def move(
    invocation: Invocation,
    tasks: NEEDED,
    to: Annotated[str, typer.Option("--to", metavar="NODE", help="The node that is to have them.", show_default=False)],
) -> int:
    """Hand tasks to another node, which fetches what is there already over the LAN and goes on."""
    return await _each(invocation, ids_of(tasks), lambda client, ref: client.move(ref, to), {"node": "--to"})


async def relink(
    invocation: Invocation,
    task: Ref,
    urls: Annotated[
        list[str], typer.Argument(metavar="URL", help="The new link; several are mirrors.", show_default=False)
    ],
    header: Annotated[
        list[str] | None,
        typer.Option("--header", metavar="'Name: value'", help="Sent with every request, in place of those before."),
    ] = None,
) -> int:
    """Give a task a new link to the same file: it goes on from the bytes that are there."""
    return await _each(
        invocation, [task], lambda client, ref: client.relink(ref, urls, headers=header or None), ARGUMENTS
    )


async def _say(
    invocation: Invocation, verb: str, tasks: list[str] | None, everything: bool, matching: TaskFilter, yes: bool
) -> int:
    """Say it to the tasks with these ids, or, without ids, to all that fit."""
    filtered = matching != TaskFilter()
    if not tasks:
        if not filtered and not everything:
            raise typer.BadParameter(
                "Name the tasks, or say --all, --state, --node, --tag or --search.", param_hint="ID"
            )
        return await _say_to_all(invocation, verb, matching, yes)
    if filtered or everything:
        raise typer.BadParameter("Name tasks by their ids or by a filter, not by both.", param_hint="ID")

    async def one(client: "NodeClient", ref: str) -> Any:
        if verb == "remove":
            return {"id": ref, "message": await client.remove(ref)}
        return await client.say(ref, verb)

    return await _each(invocation, ids_of(tasks), one)


async def _say_to_all(invocation: Invocation, verb: str, matching: TaskFilter, yes: bool) -> int:
    output = invocation.output
    which = described(matching)
    if not matching.state:
        # A verb is said to those that can take it; the rest would only be counted as refused.
        sources = MOVES[verb].sources if verb in MOVES else frozenset(TaskState)
        matching = msgspec.structs.replace(matching, state=[state.value for state in TaskState if state in sources])
    async with invocation.client() as client:
        page = await client.page(
            states=matching.state, node=matching.node or "", tags=matching.tag, q=matching.q, limit=1
        )
        word = "take off the list" if verb == "remove" else verb
        if not page.total:
            output.note(f"There is nothing to {word}" + (f" that is {which}." if which else "."))
            result = BulkResult(done_count=0, refused_count=0, done=[], refused=[])
        else:
            many = units.plural(page.total, "task")
            question = f"Take {many} off the list" if verb == "remove" else f"{word.capitalize()} {many}"
            sure(output, [], f"{question} ({which})?" if which else f"{question}?", yes)
            result = await client.say_to_all(verb, matching)
    return _told(invocation, verb, result)


def _told(invocation: Invocation, verb: str, result: BulkResult) -> int:
    output = invocation.output
    if not output.for_people:
        output.document(result)
    elif result.done_count or result.refused_count:
        from rich.text import Text

        past = {"pause": "paused", "resume": "resumed", "retry": "tried again", "cancel": "canceled"}
        output.sentence(Text(f"{units.plural(result.done_count, 'task')} {past.get(verb, 'taken off the list')}."))
        for item in result.refused[:SHOWN]:
            if item.problem is not None:
                output.problem(error_from(item.problem), about={"id": item.id or ""})
        if result.refused_count > SHOWN:
            output.note(f"… and {units.count(result.refused_count - SHOWN)} more were refused.")
    return ExitCode.FAILED if result.refused_count else ExitCode.DONE


async def _each(
    invocation: Invocation,
    refs: list[str],
    act: "Callable[[NodeClient, str], Awaitable[Any]]",
    arguments: Mapping[str, str] | None = None,
) -> int:
    """Do it to one after another; one that fails does not stop the others, unless none could work."""
    output = invocation.output
    done: list[Any] = []
    failed = 0
    if not refs:
        raise InvalidInput("No id came in.", field="id")
    async with invocation.client() as client:
        for position, ref in enumerate(refs):
            try:
                answer = await act(client, ref)
            except AriaClusterError as error:
                output.problem(error, about={"id": ref}, arguments=arguments)
                if error.code == "not_reached" or isinstance(error, NoLeader):
                    failed = exit_code(error)
                    if rest := len(refs) - position - 1:
                        output.note(f"Nothing was said to the remaining {units.count(rest)}.")
                    break
                failed = failed or ExitCode.FAILED
                continue
            done.append(answer)
            if output.kind == "ndjson":
                output.record(answer)
            elif output.for_people:
                watched.tell(output, answer)
    if output.kind == "json":
        output.document(done)
    return failed
