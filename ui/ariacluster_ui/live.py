"""What is known of the cluster: one store a process, fed by the events of a node, for all tabs together."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any, Protocol, Self

import msgspec
import structlog

from ariacluster.client.client import NodeClient
from ariacluster.client.stream import EventStream, Lost
from ariacluster.domain.errors import AriaClusterError
from ariacluster.wire import events
from ariacluster.wire.resources import HistoryEntry, NodeResource, StatusResource, TaskResource
from ariacluster.wire.routes import MAX_WATCHED

from .series import Series

log = structlog.get_logger()

TOP = 8
"""Fastest downloads that are shown."""

REMEMBERED = 200
"""Entries of the history that are kept here; the page of activity asks the node for older ones."""

PATIENCE = 5.0
"""Seconds that the history may take to be read."""

BEHIND = 3.0
"""Seconds for which the stream may be behind what was read. What seems older after that is only of a node with a slow clock."""

TOTAL_DOWN, TOTAL_UP = "", "^"
"""Names of the two rows of a series that are no node's: ids are never empty."""


class Stream(Protocol):
    """What is needed of `EventStream`."""

    @property
    def url(self) -> str: ...
    def __aiter__(self) -> Self: ...
    async def __anext__(self) -> events.Frame | Lost: ...
    async def watch(self, ids: Iterable[str], *, top: int | None = None) -> None: ...


Opening = Callable[[list[str]], AbstractAsyncContextManager[Stream]]


def _open(urls: list[str]) -> AbstractAsyncContextManager[Stream]:
    return EventStream(urls, top=TOP)


class Store:
    """What the node tells, as it tells it. `changed` counts what is new, so that a reader sees at a glance whether to look.

    `url` is the node that is followed now; `lost` says why nothing comes, `heard` when (in seconds since the epoch) something
    last came.
    """

    def __init__(
        self, urls: Iterable[str], *, opening: Opening = _open, clock: Callable[[], float] = time.time
    ) -> None:
        self.urls = list(urls)
        self.url = self.urls[0]
        self._clients = {url: NodeClient(url, client="web") for url in self.urls}
        self.status: StatusResource | None = None
        self.stale = False
        self.nodes: dict[str, NodeResource] = {}
        self.tasks: dict[str, TaskResource] = {}
        self.top: list[TaskResource] = []
        self.history: deque[HistoryEntry] = deque(maxlen=REMEMBERED)
        self.series = Series()
        self.lost: str | None = "nobody was asked yet"
        self.heard: float | None = None
        self.colours: dict[str, int] = {}
        """Places of nodes in the row of colours; one that was given stays."""
        self._opening = opening
        self._clock = clock
        self._stream: Stream | None = None
        self._watched: dict[object, frozenset[str]] = {}
        self._raw: dict[str, dict[str, Any]] = {}
        self._rows: dict[str, dict[str, Any]] = {}

    async def run(self) -> None:
        """Follow the node until cancelled."""
        async with AsyncExitStack() as stack:
            for client in self._clients.values():
                await stack.enter_async_context(client)
            stream = self._stream = await stack.enter_async_context(self._opening(self.urls))
            async for frame in stream:
                try:
                    await self.hear(frame)
                except (msgspec.MsgspecError, AriaClusterError) as error:
                    log.warning("an event was not understood", reason=str(error))

    async def hear(self, frame: events.Frame | Lost) -> None:
        """One frame becomes part of what is known."""
        if isinstance(frame, Lost):
            self.lost = frame.reason
            return
        self.heard = self._clock()
        match frame:
            case events.Hello():
                self.lost = None
                if self._stream is not None:
                    self.url = self._stream.url
                if not frame.resumed:
                    await self._read_history()
            case events.Summary():
                self.lost = None
                self.status, self.stale, self.top = frame.status, frame.stale, frame.top
            case events.Nodes():
                self._hear_nodes(frame)
            case events.Tasks():
                self._rows |= {row["id"]: self._rows.get(row["id"], {}) | row for row in frame.tasks}
                for gone in frame.gone:
                    self._rows.pop(gone, None)
                    self.tasks.pop(gone, None)
                changed = {row["id"] for row in frame.tasks}
                self.tasks |= {i: msgspec.convert(self._rows[i], TaskResource) for i in changed}
            case events.History():
                self.history.append(frame.entry)
            case events.Bye():
                self.lost = frame.reason

    @property
    def client(self) -> NodeClient:
        """To the node that is followed."""
        return self._clients[self.url]

    def measure(self) -> None:
        """Take down the speeds of now; called once a second."""
        speeds = {node.id: node.download_speed for node in self.nodes.values()} if not self.lost else {}
        status = self.status if not self.lost else None
        speeds[TOTAL_DOWN] = status.download_speed if status else 0
        speeds[TOTAL_UP] = status.upload_speed if status else 0
        self.series.take(self._clock(), speeds)

    @property
    def age(self) -> float | None:
        """Seconds since anything was heard, while nothing is; None while the node speaks."""
        return None if self.lost is None or self.heard is None else max(0.0, self._clock() - self.heard)

    async def watch(self, who: object, ids: Iterable[str]) -> None:
        """Follow the rows of these tasks for `who`, in place of those before; the stream follows the union of all."""
        before = self._union()
        wanted = frozenset(ids)
        if wanted:
            self._watched[who] = wanted
        else:
            self._watched.pop(who, None)
        after = self._union()
        if after == before:
            return
        for gone in set(self.tasks) - after:
            self.tasks.pop(gone, None)
            self._rows.pop(gone, None)
        if self._stream is not None:
            await self._stream.watch(sorted(after)[:MAX_WATCHED], top=TOP)

    def _union(self) -> frozenset[str]:
        return frozenset().union(*self._watched.values())

    def _hear_nodes(self, frame: events.Nodes) -> None:
        if frame.whole:
            self._raw, self.nodes = {}, {}
        for row in frame.nodes:
            self._raw[row["id"]] = self._raw.get(row["id"], {}) | row
            self.nodes[row["id"]] = msgspec.convert(self._raw[row["id"]], NodeResource)
        for gone in frame.gone:
            self._raw.pop(gone, None)
            self.nodes.pop(gone, None)
        for node in sorted(self.nodes.values(), key=lambda node: (node.name, node.id)):
            self.colours.setdefault(node.id, len(self.colours))

    async def _read_history(self) -> None:
        """What happened before: asked for anew when it is not told by itself."""
        try:
            async with asyncio.timeout(PATIENCE):
                entries = await self.client.history(limit=REMEMBERED)
        except (AriaClusterError, TimeoutError) as error:
            log.info("the history could not be read", reason=str(error))
            return
        self.history.clear()
        self.history.extend(reversed(entries))


class Shown:
    """The tasks of a page, as they were read of the node or as the stream has them: whichever is newer. The stream may be a
    moment behind, and would show for a second what was before an order."""

    def __init__(self, store: Store, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._tasks: dict[str, TaskResource] = {}
        self._read_at = clock()

    def read(self, tasks: Iterable[TaskResource]) -> None:
        """These, and no others, are shown."""
        self._tasks = {task.id: task for task in tasks}
        self._read_at = self._clock()

    def now(self) -> dict[str, TaskResource]:
        late = self._clock() - self._read_at > BEHIND
        for task in [*self._tasks.values()]:
            row = self._store.tasks.get(task.id)
            if row is not None and (late or row.updated_at >= task.updated_at):
                self._tasks[task.id] = row
        return self._tasks
