"""`events`: what happened in the cluster, and what is happening."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from ariacluster.cli import units
from ariacluster.cli.invocation import Invocation, command
from ariacluster.cli.output import Output
from ariacluster.wire.resources import HistoryEntry

if TYPE_CHECKING:
    from ariacluster.client.client import NodeClient

LISTED = 50
"""Entries that are shown where nobody says how many or since when."""

PAGE = 500
"""Entries in one request."""


def add_to(app: typer.Typer) -> None:
    examples = [
        "ariacluster events",
        "ariacluster events --since 2h --node nas",
        "ariacluster events --follow",
        "ariacluster events --task 1f2e3d4c",
        "ariacluster events --since 1841 --follow -o ndjson | jq -r .kind",
    ]
    command(app, "events", examples=examples)(events)
    command(app, "history", hidden=True, examples=["ariacluster history"])(events)


async def events(
    invocation: Invocation,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what happens, over lost connections, until Ctrl-C.")
    ] = False,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="WHEN", help="2h for two hours back, a time, or after the event of a number."),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", "-n", metavar="N", min=1, help="At most so many, the latest.", show_default=str(LISTED)
        ),
    ] = None,
    task: Annotated[str, typer.Option("--task", metavar="ID", help="Only of this task.")] = "",
    node: Annotated[str, typer.Option("--node", metavar="NODE", help="Only of this node, by name or id.")] = "",
    kind: Annotated[
        list[str] | None, typer.Option("--kind", metavar="KIND", help="Only these: task_failed,node_lost …")
    ] = None,
) -> None:
    """What happened: tasks, nodes, leaders, settings; the oldest first.

    All nodes remember the same. -o ndjson gives an object for each, with its number in `seq`: --since goes on after it.
    """
    output = invocation.output
    if follow and output.kind == "json":
        raise typer.BadParameter("What never ends is told with -o ndjson.", param_hint="--follow")
    after, begin = _since(since)
    kinds = [part for text in kind or [] for part in text.split(",") if part]
    async with invocation.client() as client:
        if task:
            task = (await client.task(task)).id
        found = await _past(client, task, node, kinds, after, begin, limit or (LISTED if since is None else None))
        if output.kind == "json":
            output.document(found)
            return
        _tell(output, found)
        if not found and not follow:
            output.note("Nothing of that kind has happened.")
        if follow:
            newest = found[-1].seq if found else await _newest(client, after)
            await _follow(output, client, newest, task, node, kinds)


async def _past(
    client: "NodeClient",
    task: str,
    node: str,
    kinds: list[str],
    after: int,
    begin: datetime | None,
    most: int | None,
) -> list[HistoryEntry]:
    """The latest `most` entries after the number `after` and not before `begin`, the oldest of them first."""
    found: list[HistoryEntry] = []
    before: int | None = None
    while most is None or len(found) < most:
        limit = PAGE if most is None else min(PAGE, most - len(found))
        page = await client.history(task=task, node=node, kinds=kinds, limit=limit, before=before)
        fit = [entry for entry in page if entry.seq > after and (begin is None or entry.at >= begin)]
        found.extend(fit)
        if len(page) < limit or len(fit) < len(page):
            break
        before = page[-1].seq
    return found[::-1]


async def _newest(client: "NodeClient", after: int) -> int:
    """Where to go on from: what does not fit the filter has happened, too."""
    latest = await client.history(limit=1)
    return max([after, *(entry.seq for entry in latest)])


async def _follow(output: Output, client: "NodeClient", newest: int, task: str, node: str, kinds: list[str]) -> None:
    from ariacluster.cli.scene import doors
    from ariacluster.client.stream import EventStream, Lost
    from ariacluster.wire.events import Hello, History

    lost = False
    urls = doors(client.url, await client.nodes())
    async with EventStream(urls, topics=("history",), since=newest) as stream:
        async for frame in stream:
            match frame:
                case Lost():
                    lost = True
                    output.note(f"reconnecting… {frame.reason}", style="yellow")
                case Hello():
                    if lost:
                        output.note("connected again", style="dim")
                    if not frame.resumed:
                        output.say("Some of what happened meanwhile is forgotten here; it goes on with what is new.")
                    lost = False
                case History(entry=entry):
                    if _fits(entry, task, node, kinds):
                        _tell(output, [entry])


def _fits(entry: HistoryEntry, task: str, node: str, kinds: list[str]) -> bool:
    return (
        (not task or entry.task == task)
        and (not node or node in (entry.node, entry.node_name))
        and (not kinds or entry.kind in kinds)
    )


def _tell(output: Output, entries: list[HistoryEntry]) -> None:
    if not output.for_people:
        output.document(entries)
        return
    from ariacluster.cli.event_view import event_lines

    for entry in entries:
        output.lines(event_lines(entry, output.width))


def _since(text: str | None) -> tuple[int, datetime | None]:
    """After which number, and not before when."""
    if text is None:
        return 0, None
    if text.isascii() and text.isdigit() and len(text) < 16:
        return int(text), None
    now = datetime.now(UTC)
    if (seconds := units.seconds_of(text)) is not None and seconds < 10**9:
        return 0, now - timedelta(seconds=seconds)
    try:
        return 0, datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise typer.BadParameter(
            f"{text!r} is no time; write 2h, 2026-12-24T18:00, or the number of an event.", param_hint="--since"
        ) from None
