"""A list of tasks on a whole terminal, kept up to date; in a pipe, a line or an object for each change."""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import typer
from rich.text import Text

from ariacluster.cli import watched
from ariacluster.cli.cluster_view import counts
from ariacluster.cli.output import Output
from ariacluster.cli.plain import elide
from ariacluster.cli.screen import show
from ariacluster.cli.selection import described
from ariacluster.cli.task_view import task_table
from ariacluster.cli.units import count, plural
from ariacluster.domain.errors import AriaClusterError
from ariacluster.domain.task import FINAL, TaskState
from ariacluster.wire import routes
from ariacluster.wire.requests import TaskFilter
from ariacluster.wire.resources import StatusResource, TaskResource

if TYPE_CHECKING:
    from ariacluster.client.client import NodeClient

PERIOD = 1.0
"""Seconds between two looks: nodes report no sooner."""

ANSWER_TIME = 3.0
"""Seconds that a look may take before the person is told that the node is awaited."""

RUNNING = [state.value for state in TaskState if state not in FINAL]
OVER = [state.value for state in FINAL]

HINT = "q ends this; the downloads go on"


class Listing:
    """The tasks that fit, as last seen. Without a state or an order to go by, what is unfinished comes first, and then what
    has ended last."""

    def __init__(self, client: "NodeClient", matching: TaskFilter, sort: str) -> None:
        self._client = client
        self.matching = matching
        self._sort = sort
        self.tasks: list[TaskResource] = []
        self.total = 0
        self.status: StatusResource | None = None
        self.trouble = ""

    async def look(self, rows: int) -> None:
        """Ask for so many of them."""
        limit = max(1, min(rows, routes.MAX_LIMIT))
        if self.matching.state or self._sort:
            tasks, total = await self._page(self.matching.state, self._sort, limit)
        else:
            tasks, total = await self._page(RUNNING, "", limit)
            over, ended = await self._page(OVER, "-updated", max(1, limit - len(tasks)))
            tasks, total = [*tasks, *over][:limit], total + ended
        self.tasks, self.total, self.trouble = tasks, total, ""
        self.status = await self._client.status()

    async def _page(self, states: Sequence[str], sort: str, limit: int) -> tuple[list[TaskResource], int]:
        wanted = self.matching
        page = await self._client.page(
            states=states, node=wanted.node or "", tags=wanted.tag, q=wanted.q, sort=sort, limit=limit
        )
        return page.tasks[:limit], page.total


async def watch_list(output: Output, client: "NodeClient", matching: TaskFilter, sort: str) -> None:
    """Show it until somebody ends it."""
    if output.kind == "json":
        raise typer.BadParameter("What never ends is told with -o ndjson.", param_hint="--watch")
    listing = Listing(client, matching, sort)
    rows = output.console.size.height if output.live else routes.MAX_LIMIT
    await listing.look(rows)  # who cannot be reached at all is not waited for
    client.deadline = ANSWER_TIME
    if not output.live:
        await _tell(output, listing)
        return

    async def feed(changed: asyncio.Event) -> None:
        while True:
            began = time.monotonic()
            try:
                await listing.look(output.console.size.height)
            except AriaClusterError as error:
                listing.trouble = error.detail
            changed.set()
            # A list that takes long to make is not asked for all the time.
            await asyncio.sleep(max(PERIOD, 2 * (time.monotonic() - began)))

    await show(output, lambda width, height: draw(listing, width, height, datetime.now(UTC)), feed)


def draw(listing: Listing, width: int, height: int, now: datetime) -> list[Text]:
    """At most `height` lines of at most `width` cells."""
    which = described(listing.matching)
    title = Text(plural(listing.total, "task"), style="bold").append(f"  {which}" if which else "", style="default")
    room = max(1, height - 5)
    lines = [title, Text()]
    if listing.tasks:
        lines += task_table(listing.tasks[:room], width, now, whole_ids=False)
    if listing.total > room:
        title.append(f"  the first {count(min(room, len(listing.tasks)))} are shown", style="dim")
    told = counts(listing.status, width) if listing.status else []
    foot = (
        Text(elide(f"↻ reconnecting…  {listing.trouble}", width), style="yellow")
        if listing.trouble
        else Text(elide(HINT, width), style="dim")
    )
    lines = lines[: max(1, height - 3)]
    lines += [Text()] * (height - 2 - len(lines))
    return [*lines, *told[:1], foot][:height]


async def _tell(output: Output, listing: Listing) -> None:
    """A line or an object for each change of state, node or attempt; what is there first is a change."""
    known: dict[str, tuple[str, str | None, int]] = {}
    while True:
        for task in listing.tasks:
            is_now = (task.status, task.worker_id, task.attempt)
            if known.get(task.id) != is_now:
                known[task.id] = is_now
                if output.for_people:
                    watched.tell(output, task)
                else:
                    output.record(task)
        await asyncio.sleep(PERIOD)
        try:
            await listing.look(routes.MAX_LIMIT)
        except AriaClusterError as error:
            if error.detail != listing.trouble:
                output.note(f"reconnecting… {error.detail}")
            listing.trouble = error.detail
