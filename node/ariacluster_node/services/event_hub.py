"""Whatever happens here, to all who want to know: one place that looks, so that many readers cost little more than one.

What changes all the time (speeds, loads, progress) is looked at once a second, and only while somebody listens. A frame is
made and encoded once for all who want the same; what did not change is not told. The history is told in the moment in which
an entry is applied here.
"""

import asyncio
import contextlib
import heapq
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

import msgspec

from ariacluster.domain.errors import AriaClusterError, Overloaded
from ariacluster.domain.history import Entry
from ariacluster.domain.member import Progress
from ariacluster.domain.table import Applied
from ariacluster.domain.task import Task, TaskState
from ariacluster.wire.events import PERIOD, Hello, History, Nodes, Summary
from ariacluster.wire.history import entry_of
from ariacluster.wire.resources import NamedId, NodeResource, StatusResource, TaskResource

from .cluster import Cluster
from .history import Histories
from .overview import Overviews
from .replica import Replica
from .roster import Roster
from .subscription import Encoded, Subscription, encoded
from .tasks import Tasks
from .wakeup import Wakeup

MAX_SUBSCRIPTIONS = 500
"""Readers of one node: each may have a megabyte waiting."""

BREATH = 0.05
"""Seconds between a change of a watched row and its frame: what follows at once goes along with it."""

CHUNK = 100
"""Rows that are made anew before others have their turn: about 3 ms."""

REASONS_EVERY = 5
"""Ticks between two looks at why a task waits: the row of one that waits does not change when the reason does."""

ALWAYS_NEW = frozenset({"uptime", "last_seen"})
"""Of a node that is well, nothing else may be new for hours: they are told along with something else, or each"""

PULSE_EVERY = 10
"""ticks."""

CATCH_UP = 2.0
"""Seconds that a reader who comes from another node waits until this one knows as much."""


class Row:
    """A watched task as it was told last, and what that was made of."""

    def __init__(self, task: Task, progress: Progress | None, told: TaskResource) -> None:
        self.task = task
        self.progress = progress
        self.told = told


class EventHub:
    """Runs on every node, for as long as it lives."""

    def __init__(
        self,
        replica: Replica,
        roster: Roster,
        cluster: Cluster,
        overviews: Overviews,
        tasks: Tasks,
        histories: Histories,
    ) -> None:
        self._replica = replica
        self._roster = roster
        self._cluster = cluster
        self._overviews = overviews
        self._tasks = tasks
        self._histories = histories
        self._readers: set[Subscription] = set()
        self._rows: dict[str, Row] = {}
        self._missing: set[str] = set()  # of those that are watched
        self._nodes: dict[str, NodeResource] = {}
        self._status: StatusResource | None = None
        self._summaries: dict[int, tuple[Summary, Encoded]] = {}
        self._stale: set[str] = set()  # watched rows that are to be looked at
        self._tick = 0
        self._closed = False
        self._newest = histories.newest
        self._wake = Wakeup()
        replica.watch(self._on_applied)
        histories.watch(self._on_history)

    @property
    def subscribers(self) -> int:
        return len(self._readers)

    @contextlib.asynccontextmanager
    async def subscribe(
        self, topics: Iterable[str], *, since: int | None, watch: Iterable[str], top: int
    ) -> AsyncIterator[Subscription]:
        """A reader, told from `Hello` on while the block runs. `Overloaded` if there are too many already."""
        if since is not None and since > self._histories.newest:
            with contextlib.suppress(
                AriaClusterError
            ):  # another node was ahead of this one, or it is another cluster's
                await self._replica.fresh(timeout=CATCH_UP)
        if len(self._readers) >= MAX_SUBSCRIPTIONS:
            raise Overloaded(f"{MAX_SUBSCRIPTIONS} readers follow this node already; ask another one.")
        reader = Subscription(topics, watch=watch, top=top)
        missed = None if since is None else self._histories.since(since)
        hello = Hello(
            node=NamedId(self._cluster.me.id, self._cluster.me.name),
            version=self._cluster.me.version,
            seq=self._histories.newest,
            resumed=missed is not None,
        )
        wanted = missed if missed and "history" in reader.topics else []
        reader.owe(chain([encoded(hello)], map(_told, wanted)))
        if self._closed:
            reader.end("not_ready", "The node is stopping; go on at another one.")
        self._readers.add(reader)
        self._wake()
        try:
            yield reader
        finally:
            self._readers.discard(reader)

    def follow(self, reader: Subscription, watch: Iterable[str], top: int) -> None:
        """The reader wants to hear of other tasks from now on."""
        reader.follow(watch, top)
        self._wake()

    def close(self) -> None:
        """The node stops: tell everybody, and take nobody any more."""
        self._closed = True
        self._end_all("not_ready", "The node is stopping; go on at another one.")

    async def run(self) -> None:
        """Until cancelled."""
        due = 0.0
        loop = asyncio.get_running_loop()
        while True:
            if not self._readers:
                self._rows.clear()
                self._missing.clear()
                self._stale.clear()
                self._nodes, self._status, self._summaries = {}, None, {}
                await self._wake.wait(3600, breath=0)
                continue
            whole = loop.time() >= due
            if whole:
                due = loop.time() + PERIOD
                self._tick += 1
                self._roster.look()  # keeps the overview coming
            await self._look(whole)
            await self._wake.wait(max(0.0, due - loop.time()), breath=BREATH)

    # -- what is new --------------------------------------------------------------------------------------------

    async def _look(self, tick: bool) -> None:
        """See what is new, and tell it to whom it may concern."""
        readers = list(self._readers)
        if tick or any("nodes" in r.topics and not r.knows_nodes for r in readers):
            self._tell_nodes(readers)
        if tick or any("summary" in r.topics and not r.knows_summary for r in readers):
            self._tell_summary(readers)
        await self._tell_tasks(tick)

    def _tell_nodes(self, readers: Sequence[Subscription]) -> None:
        listening = [reader for reader in readers if "nodes" in reader.topics]
        if not listening:
            return
        now = {node.id: node for node in self._overviews.nodes()}
        pulse = self._tick % PULSE_EVERY == 0
        news = [change for node in now.values() if (change := _node_change(self._nodes.get(node.id), node, pulse))]
        gone = [node for node in self._nodes if node not in now]
        changed = {change["id"] for change in news}
        # What is not told is not written down as told, either.
        self._nodes = {i: node if i in changed else self._nodes[i] for i, node in now.items()}
        delta = encoded(Nodes(nodes=news, gone=gone)) if news or gone else None
        whole: Encoded | None = None
        for reader in listening:
            if not reader.knows_nodes:
                reader.knows_nodes = True
                whole = whole or encoded(
                    Nodes(nodes=[msgspec.structs.asdict(n) for n in self._nodes.values()], whole=True)
                )
                reader.put(whole)
            elif delta:
                reader.put(delta)

    def _tell_summary(self, readers: Sequence[Subscription]) -> None:
        listening = [reader for reader in readers if "summary" in reader.topics]
        if not listening:
            return
        status, stale = self._overviews.status(), self._replica.stale
        most = max(reader.top for reader in listening)
        fastest = self._tasks.resources(self._fastest(most)) if most else []
        fresh: dict[int, tuple[Summary, Encoded]] = {}
        for reader in listening:
            known = self._summaries.get(reader.top)
            if reader.top not in fresh:
                summary = Summary(status=status, top=fastest[: reader.top], stale=stale)
                fresh[reader.top] = known if known and known[0] == summary else (summary, encoded(summary))
            if fresh[reader.top] is not known or not reader.knows_summary:
                reader.knows_summary = True
                reader.put(fresh[reader.top][1])
        self._summaries = fresh

    def _fastest(self, most: int) -> list[Task]:
        """The fastest downloads of all, the fastest first."""
        table = self._replica.table
        running = (
            (progress.speed, task_id, task)
            for node, (report, _) in self._roster.heard().items()
            if self._roster.view(node).online
            for task_id, progress in report.tasks.items()
            if progress.speed
            and (task := table.tasks.get(task_id)) is not None
            and task.state is TaskState.DOWNLOADING
            and (task.node, task.attempt) == (node, progress.attempt)
        )
        return [task for _, _, task in heapq.nlargest(most, running, key=lambda item: item[:2])]

    async def _tell_tasks(self, tick: bool) -> None:
        """Rows that are watched, as far as they changed. The only look that may be long: others have their turn meanwhile."""
        watched: set[str] = set().union(*(reader.watched for reader in self._readers if "tasks" in reader.topics))
        for forgotten in self._rows.keys() - watched:
            del self._rows[forgotten]
        self._missing &= watched
        stale, self._stale = self._stale & watched, set()
        suspects = watched if tick else stale | (watched - self._rows.keys() - self._missing)
        news: dict[str, bytes] = {}
        gone: set[str] = set()
        for part in _parts([i for i in suspects if self._is_new(i)]):
            self._renew(part, news, gone)
            await asyncio.sleep(0)
        frames: dict[tuple[frozenset[str], frozenset[str]], Encoded | None] = {}
        for reader in list(self._readers):
            if "tasks" not in reader.topics or not reader.watched:
                continue
            fresh = frozenset(reader.fresh & watched)  # of what came to be watched meanwhile, the next look will tell
            reader.fresh -= fresh
            key = (reader.watched, fresh)
            if key not in frames:
                frames[key] = self._task_frame(reader.watched, fresh, news, gone)
            if frame := frames[key]:
                reader.put(frame)

    def _is_new(self, task_id: str) -> bool:
        """May something else have to be told of this task than was told last?"""
        task, row = self._replica.table.tasks.get(task_id), self._rows.get(task_id)
        if task is None:
            return task_id not in self._missing
        if row is None or task is not row.task:
            return True
        if self._roster.progress(task.node, task_id) != row.progress:
            return True
        return task.state in (TaskState.PENDING, TaskState.QUEUED) and self._tick % REASONS_EVERY == 0

    def _renew(self, ids: Iterable[str], news: dict[str, bytes], gone: set[str]) -> None:
        tasks = []
        for task_id in ids:
            if (task := self._replica.table.tasks.get(task_id)) is not None:
                tasks.append(task)
                self._missing.discard(task_id)
            else:
                self._missing.add(task_id)
                self._rows.pop(task_id, None)
                gone.add(task_id)
        for task, told in zip(tasks, self._tasks.resources(tasks), strict=True):
            before = self._rows.get(task.id)
            self._rows[task.id] = Row(task, self._roster.progress(task.node, task.id), told)
            if before is None:
                news[task.id] = msgspec.json.encode(told)
            elif change := changes(before.told, told):
                news[task.id] = msgspec.json.encode(change)

    def _task_frame(
        self, watched: frozenset[str], fresh: frozenset[str], news: dict[str, bytes], gone: set[str]
    ) -> Encoded | None:
        rows = [msgspec.json.encode(self._rows[i].told) for i in fresh if i in self._rows]
        rows += [data for i, data in news.items() if i in watched and i not in fresh]
        left = [i for i in gone | (fresh & self._missing) if i in watched]
        if not rows and not left:
            return None
        body = b'{"type":"tasks","tasks":[%s],"gone":%s}' % (b",".join(rows), msgspec.json.encode(left))
        return Encoded("tasks", body)

    # -- told by others -----------------------------------------------------------------------------------------

    def _on_applied(self, applied: Applied | None) -> None:
        if applied is None and self._histories.newest < self._newest:
            self._newest = self._histories.newest
            self._end_all("not_ready", "This node belongs to another cluster now; subscribe anew.")
        if not self._readers:
            return
        if applied is None:
            self._stale |= self._rows.keys()
            self._wake()
            return
        rows = (change.after or change.before for change in applied.changes)
        if touched := {row.id for row in rows if row and (row.id in self._rows or row.id in self._missing)}:
            self._stale |= touched
            self._wake()

    def _on_history(self, entries: Sequence[Entry]) -> None:
        if entries[0].seq > self._newest + 1:
            self._end_all("not_ready", "Some of what happened is forgotten here; subscribe anew.")
        self._newest = self._histories.newest
        listening = [reader for reader in self._readers if "history" in reader.topics]
        for entry in entries if listening else ():
            frame = _told(entry)
            for reader in listening:
                reader.put(frame)

    def _end_all(self, code: str, reason: str) -> None:
        for reader in self._readers:
            reader.end(code, reason)


def changes(before: msgspec.Struct, after: msgspec.Struct) -> dict[str, Any]:
    """The fields that have another value now, with the `id`; empty if none has."""
    new = {name: value for name in after.__struct_fields__ if (value := getattr(after, name)) != getattr(before, name)}
    return {"id": getattr(after, "id"), **new} if new else {}  # noqa: B009


def _node_change(before: NodeResource | None, after: NodeResource, pulse: bool) -> dict[str, Any]:
    if before is None:
        return msgspec.structs.asdict(after)
    change = changes(before, after)
    return change if pulse or change.keys() - ALWAYS_NEW - {"id"} else {}


def _told(entry: Entry) -> Encoded:
    return encoded(History(entry=entry_of(entry)))


def _parts(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), CHUNK):
        yield ids[start : start + CHUNK]
