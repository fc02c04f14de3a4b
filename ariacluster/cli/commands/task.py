"""`task`: the downloads of the cluster, to look at."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from ariacluster.cli import watched
from ariacluster.cli.commands import verbs
from ariacluster.cli.invocation import Invocation, command, family
from ariacluster.cli.selection import NodeOption, SearchOption, StateOption, TagOption, described, filter_of
from ariacluster.domain.errors import AriaClusterError
from ariacluster.wire import routes
from ariacluster.wire.requests import TaskFilter
from ariacluster.wire.resources import LiveResource, TaskResource

if TYPE_CHECKING:
    from ariacluster.client.client import NodeClient

LISTED = 100
"""Tasks that `task ls` shows where it is not told how many."""

Ref = Annotated[str, typer.Argument(metavar="ID", help="Its id, or the first digits of it.", show_default=False)]
WatchOption = Annotated[
    bool, typer.Option("--watch", "-w", help="Go on showing it until Ctrl-C; the downloads go on without it.")
]


def add_to(app: typer.Typer) -> None:
    tasks = typer.Typer(
        rich_markup_mode="rich",
        help="The downloads: list, follow, pause, retry, edit, move, take off the list.",
    )
    tasks.callback(invoke_without_command=True)(family)
    app.add_typer(tasks, name="task")
    listing = [
        "ariacluster task ls",
        "ariacluster task ls --state failed,pending --sort -updated",
        "ariacluster task ls --node nas --search debian --watch",
        "ariacluster task ls --all -o ndjson | jq -r .url",
    ]
    command(tasks, "ls", examples=listing)(ls)
    command(tasks, "show", examples=["ariacluster task show 1f2e3d4c", "ariacluster task show 1f2e3d4c -o json"])(show)
    command(tasks, "watch", examples=["ariacluster task watch", "ariacluster task watch 1f2e3d4c"])(watch)
    verbs.add_to(tasks)
    command(app, "tasks", hidden=True, examples=["ariacluster tasks"])(ls)


async def ls(
    invocation: Invocation,
    state: StateOption = None,
    node: NodeOption = None,
    tag: TagOption = None,
    search: SearchOption = "",
    sort: Annotated[
        str,
        typer.Option("--sort", metavar="KEY", help=f"By {', '.join(routes.SORTS)}; -KEY is the other way round."),
    ] = "",
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, help="At most so many.")] = LISTED,
    everything: Annotated[bool, typer.Option("--all", "-a", help="Every one, however many there are.")] = False,
    watch: WatchOption = False,
) -> None:
    """List the tasks, in the order in which they were submitted unless another is named."""
    if sort.removeprefix("-") not in ("", *routes.SORTS):
        raise typer.BadParameter(f"{sort!r} is none; there are {', '.join(routes.SORTS)}.", param_hint="--sort")
    matching = filter_of(state, node, tag, search)
    async with invocation.client() as client:
        if watch:
            from ariacluster.cli.task_screen import watch_list

            await watch_list(invocation.output, client, matching, sort)
            return
        listed, total = await _listed(invocation, client, matching, sort, None if everything else limit)
    output = invocation.output
    if output.kind == "ndjson":
        return
    if not output.for_people:
        output.document(listed)
        return
    if not listed:
        which = described(matching)
        output.note(f"No task is {which}." if which else "There are no tasks. Add one: ariacluster add URL")
        return
    from ariacluster.cli.task_view import task_table

    whole_ids = not output.console.is_terminal
    output.lines(task_table(listed, output.width, datetime.now(UTC), whole_ids=whole_ids))
    if total > len(listed):
        output.note(f"{len(listed):,} of {total:,} tasks; --all shows every one.", style="dim")


async def _listed(
    invocation: Invocation, client: "NodeClient", matching: TaskFilter, sort: str, limit: int | None
) -> tuple[list[TaskResource], int]:
    """The tasks, at most `limit`, and how many there are; told as they come where that is what was asked for."""
    listed: list[TaskResource] = []
    more: str | None = None
    while True:
        page = await client.page(
            states=matching.state,
            node=matching.node or "",
            tags=matching.tag,
            q=matching.q,
            sort=sort,
            limit=routes.MAX_LIMIT if limit is None else limit,
            more=more,
        )
        tasks = page.tasks if limit is None else page.tasks[: limit - len(listed)]
        if invocation.output.kind == "ndjson":
            invocation.output.document(tasks)
        listed.extend(tasks)
        more = page.more
        if more is None or (limit is not None and len(listed) >= limit):
            return listed, page.total


async def show(invocation: Invocation, task: Ref) -> None:
    """Everything about one task: where it is and why, which pieces are there, and what went wrong on the way."""
    async with invocation.client() as client:
        found = await client.task(task)
        if not invocation.output.for_people:
            invocation.output.document(found)
            return
        live = await _live(client, found)
    from ariacluster.cli.task_view import task_story

    invocation.output.lines(task_story(found, invocation.output.width, datetime.now(UTC), live))


async def _live(client: "NodeClient", task: TaskResource) -> LiveResource | None:
    """What aria2 says of it, None if nobody can tell: the story is complete without."""
    if task.status != "downloading":
        return None
    try:
        return await client.live(task.id)
    except AriaClusterError:
        return None


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
