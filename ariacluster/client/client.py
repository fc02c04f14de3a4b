"""The client of one node: a method per call, typed with the resources of the wire."""

import secrets
from collections.abc import AsyncIterator, Iterable, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self

from ariacluster.client.line import DEADLINE, Line, fill
from ariacluster.wire import routes
from ariacluster.wire.requests import (
    BatchRequest,
    BulkRequest,
    DrainRequest,
    ImportRequest,
    MergeRequest,
    MoveRequest,
    NodePatch,
    RecoverRequest,
    RelinkRequest,
    SettingsPatch,
    TaskCreate,
    TaskFilter,
    TaskPatch,
    TransferRequest,
)
from ariacluster.wire.resources import (
    BatchResult,
    BulkResult,
    ClusterResource,
    HistoryEntry,
    LiveResource,
    NodeResource,
    RecoveryResource,
    SettingsResource,
    StatusResource,
    TaskResource,
)

CHUNK = 100
"""Ids in one request: 100 of 16 digits keep the request line under 2 kB."""


class TaskPage(NamedTuple):
    """A page of the list in submission order; `total` counts the whole list, `more` is where it goes on."""

    tasks: list[TaskResource]
    total: int
    more: str | None


class NodeClient:
    """Talks to the node at `url` (from `locate`). An async context manager.

    Every method raises the error that the node answered with, or `NotReached`. Calls that may be repeated without harm
    are, on a broken connection and while the cluster has no leader, for `deadline` seconds in all.
    """

    def __init__(self, url: str, *, deadline: float = DEADLINE, client: str = "") -> None:
        """`client`: what the history is to call whoever asks, such as `cli@laptop`."""
        self.url = url
        self._line = Line(url, deadline, client)

    async def __aenter__(self) -> Self:
        await self._line.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._line.__aexit__(kind, error, trace)

    @property
    def deadline(self) -> float:
        """Seconds that one call may take, its repeats included."""
        return self._line.deadline

    @deadline.setter
    def deadline(self, seconds: float) -> None:
        self._line.deadline = seconds

    # -- the cluster

    async def status(self) -> StatusResource:
        return await self._line.read(routes.STATUS, StatusResource)

    async def nodes(self) -> list[NodeResource]:
        return await self._line.read(routes.NODES, list[NodeResource])

    async def node(self, ref: str) -> NodeResource:
        """By id or name. `NotFound`."""
        return await self._line.read(fill(routes.NODE, ref), NodeResource)

    async def remove_node(self, ref: str, *, force: bool = False) -> str:
        """Take a node off the cluster, by id or name; answers the node's sentence about it. `Conflict` for one that is online,
        unless by `force`."""
        query = {"force": "true"} if force else None
        answer = await self._line.call("DELETE", fill(routes.NODE, ref), query=query, safe=False)
        return str(self._line.decode(answer, dict[str, Any]).get("message", ""))

    async def drain(self, ref: str, *, finish_within: float = 0) -> NodeResource:
        """Empty a node: nothing new for it, and what it does not finish within so many seconds goes elsewhere."""
        order = DrainRequest(finish_within=finish_within)
        return await self._line.send("POST", fill(routes.NODE_DRAIN, ref), order, NodeResource)

    async def undrain(self, ref: str) -> NodeResource:
        """Let a node take tasks again."""
        return self._line.decode(await self._line.call("POST", fill(routes.NODE_UNDRAIN, ref)), NodeResource)

    async def tune(self, ref: str, patch: NodePatch) -> NodeResource:
        """Set slots and limits of a node; what the patch does not name stays."""
        return await self._line.send("PATCH", fill(routes.NODE, ref), patch, NodeResource)

    async def settings(self) -> SettingsResource:
        return await self._line.read(routes.SETTINGS, SettingsResource)

    async def configure(self, patch: SettingsPatch) -> SettingsResource:
        """Change how the cluster dispatches; what the patch does not name stays."""
        return await self._line.send("PATCH", routes.SETTINGS, patch, SettingsResource)

    async def transfer(self, node: str = "") -> ClusterResource:
        """Hand the leadership to another voter, by name or id; to any if none is named. `Conflict`, `Unavailable`."""
        return await self._line.send(
            "POST", routes.CLUSTER_TRANSFER, TransferRequest(node=node), ClusterResource, safe=False
        )

    async def history(
        self, *, task: str = "", node: str = "", kinds: Iterable[str] = (), limit: int = 100, before: int | None = None
    ) -> list[HistoryEntry]:
        """What happened, the newest first; `before` (a `seq`) goes further back."""
        query = {"limit": str(limit)}
        for name, text in (("task", task), ("node", node), ("kind", ",".join(kinds))):
            if text:
                query[name] = text
        if before is not None:
            query["before"] = str(before)
        return self._line.decode(await self._line.call("GET", routes.HISTORY, query=query), list[HistoryEntry])

    async def cluster(self) -> ClusterResource:
        return await self._line.read(routes.CLUSTER, ClusterResource)

    async def merge(self, into: str = "") -> ClusterResource:
        """Dissolve the node's cluster into another one of its name, by the beginning of its id. Returns once the node is
        there."""
        return await self._order(routes.CLUSTER_MERGE, MergeRequest(into=into))

    async def recovery(self) -> RecoveryResource:
        """What `recover` would do."""
        return await self._line.read(routes.CLUSTER_RECOVER, RecoveryResource)

    async def recover(self, confirm: str) -> ClusterResource:
        """Begin a new cluster with what this node knows; `confirm` is what `recovery` told."""
        return await self._order(routes.CLUSTER_RECOVER, RecoverRequest(confirm=confirm))

    async def _order(self, path: str, order: MergeRequest | RecoverRequest) -> ClusterResource:
        return await self._line.send("POST", path, order, ClusterResource, safe=False)

    # -- tasks

    async def submit(self, task: TaskCreate, *, key: str | None = None) -> TaskResource:
        """Durable when this returns. A repeat under the same `key` (made up if none is given) answers the same task."""
        return await self._line.send("POST", routes.TASKS, task, TaskResource, headers=_keyed(key))

    async def task(self, ref: str) -> TaskResource:
        """By id or the beginning of one that no other task shares. `NoSuchTask`."""
        return await self._line.read(fill(routes.TASK, ref), TaskResource)

    async def submit_all(self, tasks: Sequence[TaskCreate], *, key: str | None = None) -> BatchResult:
        """At most `MAX_BATCH` tasks in one request, each taken or refused for itself. Safe to repeat, as `submit`."""
        asked = BatchRequest(tasks=list(tasks))
        return await self._line.send("POST", routes.TASKS_BATCH, asked, BatchResult, headers=_keyed(key))

    async def submit_list(self, text: str, defaults: TaskCreate, *, key: str | None = None) -> BatchResult:
        """A list of links or aria2's input file; what its lines do not say is as in `defaults`."""
        asked = ImportRequest(text=text, defaults=defaults)
        return await self._line.send("POST", routes.TASKS_IMPORT, asked, BatchResult, headers=_keyed(key))

    async def edit(self, ref: str, patch: TaskPatch) -> TaskResource:
        """Change what was asked of a task; what the patch does not name stays. `IllegalMove` for one that is over."""
        return await self._line.send("PATCH", fill(routes.TASK, ref), patch, TaskResource)

    async def say_to_all(self, verb: str, matching: TaskFilter) -> BulkResult:
        """`verb` is one of `routes.TASK_BULK_VERBS`, said to every task that fits the filter."""
        asked = BulkRequest(verb=verb, matching=matching)
        return await self._line.send("POST", routes.TASKS_BULK, asked, BulkResult, safe=False)

    async def live(self, ref: str) -> LiveResource:
        """Pieces, files and servers of a download that runs, of whichever node has it."""
        return await self._line.read(fill(routes.TASK_LIVE, ref), LiveResource)

    async def page(
        self,
        *,
        states: Iterable[str] = (),
        node: str = "",
        tags: Iterable[str] = (),
        q: str = "",
        sort: str = "",
        offset: int = 0,
        limit: int = routes.DEFAULT_LIMIT,
        more: str | None = None,
    ) -> TaskPage:
        """One page of the list; `more` is a former page's, and says all else by itself. `sort` is one of `routes.SORTS`, with
        a leading `-` backwards; `tags` as `KEY=VALUE` or `KEY`; `offset` skips so many, for a reader who leafs by number."""
        query = {"limit": str(min(limit, routes.MAX_LIMIT))}
        named = {"state": ",".join(states), "node": node, "tag": ",".join(tags), "q": q, "sort": sort}
        query |= {name: text for name, text in named.items() if text}
        if offset:
            query["offset"] = str(offset)
        answer = await self._line.call("GET", more or routes.TASKS, query=None if more else query)
        tasks = self._line.decode(answer, list[TaskResource])
        total = int(answer.total) if answer.total.isdecimal() else len(tasks)
        return TaskPage(tasks, total, self._line.next_page(answer))

    async def each_task(self, *, states: Iterable[str] = ()) -> AsyncIterator[TaskResource]:
        """Every task of the list that is in one of these states, a page at a time."""
        page = await self.page(states=states, limit=routes.MAX_LIMIT)
        while True:
            for task in page.tasks:
                yield task
            if page.more is None:
                return
            page = await self.page(more=page.more)

    async def tasks_by_id(self, ids: Iterable[str]) -> dict[str, TaskResource]:
        """The tasks with these whole ids; those that are no longer on the list are missing from the answer."""
        wanted = list(ids)
        found: dict[str, TaskResource] = {}
        for start in range(0, len(wanted), CHUNK):
            part = wanted[start : start + CHUNK]
            query = {"ids": ",".join(part), "limit": str(CHUNK)}
            answer = await self._line.call("GET", routes.TASKS, query=query)
            found |= {task.id: task for task in self._line.decode(answer, list[TaskResource])}
        return found

    async def pause(self, ref: str) -> TaskResource:
        return await self.say(ref, "pause")

    async def resume(self, ref: str) -> TaskResource:
        return await self.say(ref, "resume")

    async def retry(self, ref: str) -> TaskResource:
        return await self.say(ref, "retry")

    async def cancel(self, ref: str) -> TaskResource:
        return await self.say(ref, "cancel")

    async def move(self, ref: str, node: str) -> TaskResource:
        """Give the task to another node, by name or id, with its bytes. `Conflict` if it does not fit there."""
        return await self._line.send(
            "POST", fill(routes.TASK_MOVE, ref), MoveRequest(node=node), TaskResource, safe=False
        )

    async def relink(self, ref: str, urls: Iterable[str], *, headers: Iterable[str] | None = None) -> TaskResource:
        """Give the task another link to the same file, or several that are mirrors; its bytes are kept. Without `headers` it
        keeps those that it has."""
        asked = RelinkRequest(urls=list(urls), headers=None if headers is None else list(headers))
        return await self._line.send("POST", fill(routes.TASK_RELINK, ref), asked, TaskResource, safe=False)

    async def say(self, ref: str, verb: str) -> TaskResource:
        """`verb` is one of `routes.TASK_VERBS`. `IllegalMove` if the task's state does not allow it."""
        path = routes.TASK_VERB.replace("{verb}", verb)
        return self._line.decode(await self._line.call("POST", fill(path, ref), safe=False), TaskResource)

    async def remove(self, ref: str) -> str:
        """Take the task off the list, stopping it if it runs; answers the node's sentence about it."""
        answer = await self._line.call("DELETE", fill(routes.TASK, ref), safe=False)
        return str(self._line.decode(answer, dict[str, Any]).get("message", ""))


def _keyed(key: str | None) -> dict[str, str]:
    return {routes.IDEMPOTENCY_KEY: key or secrets.token_hex(16)}
