"""`task`: the downloads of the cluster."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ariacluster.cli import watched
from ariacluster.cli.invocation import Invocation, command, family
from ariacluster.cli.output import ExitCode, exit_code
from ariacluster.domain.errors import AriaClusterError, NoLeader
from ariacluster.domain.task import FINAL, TaskState
from ariacluster.wire.resources import TaskResource

if TYPE_CHECKING:
    from ariacluster.client.client import NodeClient

LISTED = 100
"""Tasks that `task ls` shows where it is not told how many."""

Ref = Annotated[str, typer.Argument(metavar="ID", help="Its id, or the first digits of it.", show_default=False)]
Refs = Annotated[
    list[str], typer.Argument(metavar="ID", help="Their ids, or the first digits of them.", show_default=False)
]


def add_to(app: typer.Typer) -> None:
    tasks = typer.Typer(
        rich_markup_mode="rich", help="The downloads: list, follow, pause, retry, move, take off the list."
    )
    tasks.callback(invoke_without_command=True)(family)
    app.add_typer(tasks, name="task")
    listing = [
        "ariacluster task ls",
        "ariacluster task ls --state failed,pending",
        "ariacluster task ls --all -o ndjson",
    ]
    command(tasks, "ls", examples=listing)(ls)
    command(tasks, "show", examples=["ariacluster task show 1f2e3d4c"])(show)
    command(tasks, "watch", examples=["ariacluster task watch", "ariacluster task watch 1f2e3d4c"])(watch)
    for work in (pause, resume, retry, cancel, rm):
        command(tasks, work.__name__, examples=[f"ariacluster task {work.__name__} 1f2e3d4c"])(work)
    command(tasks, "move", examples=["ariacluster task move 1f2e3d4c --to nas"])(move)
    relinking = [
        "ariacluster task relink 1f2e3d4c https://example.org/new-link",
        "ariacluster task relink 1f2e3d4c https://example.org/file --header 'Cookie: session=…'",
    ]
    command(tasks, "relink", examples=relinking)(relink)
    command(app, "tasks", hidden=True, examples=["ariacluster tasks"])(ls)


def states_of(given: list[str]) -> list[str]:
    """The states that `--state` names; `unfinished` stands for all that are not final."""
    known = [state.value for state in TaskState]
    states: list[str] = []
    for name in (part.strip() for value in given for part in value.split(",")):
        if name == "unfinished":
            states.extend(state.value for state in TaskState if state not in FINAL)
        elif name in known:
            states.append(name)
        else:
            raise typer.BadParameter(
                f"{name!r} is no state; there are unfinished, {', '.join(known)}.", param_hint="--state"
            )
    return list(dict.fromkeys(states))


async def ls(
    invocation: Invocation,
    state: Annotated[
        list[str] | None,
        typer.Option("--state", metavar="STATE", help="Only these: states with commas between, or 'unfinished'."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many.")] = LISTED,
    everything: Annotated[bool, typer.Option("--all", "-a", help="Every one, however many there are.")] = False,
) -> None:
    """List the tasks in the order in which they were submitted."""
    states = states_of(state or [])
    output = invocation.output
    listed: list[TaskResource] = []
    async with invocation.client() as client:
        page = await client.page(states=states, limit=1000 if everything else limit)
        total = page.total
        while True:
            tasks = page.tasks if everything else page.tasks[: limit - len(listed)]
            if output.kind == "ndjson":
                output.document(tasks)
            listed.extend(tasks)
            if page.more is None or (not everything and len(listed) >= limit):
                break
            page = await client.page(more=page.more)
    if output.kind == "ndjson":
        return
    if not output.for_people:
        output.document(listed)
        return
    if not listed:
        output.note("No task is in such a state." if states else "There are no tasks. Add one: ariacluster add URL")
        return
    from ariacluster.cli.task_view import task_table

    whole_ids = not output.console.is_terminal
    output.lines(task_table(listed, output.width, datetime.now(UTC), whole_ids=whole_ids))
    if total > len(listed):
        output.note(f"{len(listed):,} of {total:,} tasks; --all shows every one.", style="dim")


async def show(invocation: Invocation, task: Ref) -> None:
    """Everything about one task: where it is and why, and what went wrong on the way."""
    async with invocation.client() as client:
        found = await client.task(task)
    if not invocation.output.for_people:
        invocation.output.document(found)
        return
    from ariacluster.cli.task_view import task_story

    invocation.output.lines(task_story(found, invocation.output.width, datetime.now(UTC)))


async def watch(
    invocation: Invocation,
    tasks: Annotated[
        list[str] | None,
        typer.Argument(metavar="ID", help="Their ids, or the first digits; none for all that is unfinished."),
    ] = None,
) -> int:
    """Follow tasks until they have ended. Ctrl-C stops the watching, not the downloads.

    With -o ndjson, an object for every change of state, node or attempt; with -o json, the tasks as they ended.
    """
    async with invocation.client() as client:
        if not tasks:
            return await watched.everything(invocation, client)
        named = {task.id: task for task in [await client.task(ref) for ref in tasks]}
        return await watched.these(invocation, client, list(named.values()))


async def pause(invocation: Invocation, tasks: Refs) -> int:
    """Pause tasks: they keep their bytes and give up their slots."""
    return await _each(invocation, tasks, lambda client, ref: client.pause(ref))


async def resume(invocation: Invocation, tasks: Refs) -> int:
    """Let paused tasks go on."""
    return await _each(invocation, tasks, lambda client, ref: client.resume(ref))


async def retry(invocation: Invocation, tasks: Refs) -> int:
    """Give failed or canceled tasks another try."""
    return await _each(invocation, tasks, lambda client, ref: client.retry(ref))


async def cancel(invocation: Invocation, tasks: Refs) -> int:
    """Cancel tasks: they stop, and stay on the list."""
    return await _each(invocation, tasks, lambda client, ref: client.cancel(ref))


async def move(
    invocation: Invocation,
    tasks: Refs,
    to: Annotated[str, typer.Option("--to", metavar="NODE", help="The node that is to have them.", show_default=False)],
) -> int:
    """Hand tasks to another node, which fetches what is there already over the LAN and goes on."""
    return await _each(invocation, tasks, lambda client, ref: client.move(ref, to))


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
    return await _each(invocation, [task], lambda client, ref: client.relink(ref, urls, headers=header or None))


async def rm(invocation: Invocation, tasks: Refs) -> int:
    """Take tasks off the list, stopping them if they run. Finished files stay."""

    async def remove(client: "NodeClient", ref: str) -> dict[str, str]:
        return {"id": ref, "message": await client.remove(ref)}

    return await _each(invocation, tasks, remove)


async def _each(invocation: Invocation, refs: list[str], act: "Callable[[NodeClient, str], Awaitable[Any]]") -> int:
    """Do it to one after another; one that fails does not stop the others, unless none could work."""
    output = invocation.output
    done: list[Any] = []
    failed = 0
    async with invocation.client() as client:
        for ref in refs:
            try:
                answer = await act(client, ref)
            except AriaClusterError as error:
                output.problem(error, about={"id": ref})
                if error.code == "not_reached" or isinstance(error, NoLeader):
                    failed = exit_code(error)
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
