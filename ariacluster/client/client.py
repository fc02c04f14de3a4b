"""The client of one node: a method per call, typed with the resources of the wire."""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Iterable, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar
from urllib.parse import quote, urlencode, urljoin, urlsplit

import aiohttp
import msgspec
from yarl import URL

from ariacluster import __version__
from ariacluster.client.errors import NotReached
from ariacluster.client.patience import Patience
from ariacluster.domain.errors import (
    AriaClusterError,
    InvalidInput,
    NoLeader,
    NoQuorum,
    NotReady,
    Overloaded,
    UnknownOutcome,
)
from ariacluster.wire import problems, routes
from ariacluster.wire.resources import (
    BatchRequest,
    BatchResult,
    BulkRequest,
    BulkResult,
    ClusterResource,
    DrainRequest,
    HistoryEntry,
    ImportRequest,
    LiveResource,
    MergeRequest,
    MoveRequest,
    NodePatch,
    NodeResource,
    RecoverRequest,
    RecoveryResource,
    RelinkRequest,
    SettingsPatch,
    SettingsResource,
    StatusResource,
    TaskCreate,
    TaskFilter,
    TaskPatch,
    TaskResource,
    TransferRequest,
)

T = TypeVar("T")

DEADLINE = 10.0
"""Seconds that one call may take, its repeats included."""

CONNECT_TIMEOUT = 3.0
"""Seconds for name and TCP: a LAN answers in milliseconds, a lost SYN is repeated after one second."""

REFUSALS = 3
"""Tries at an address that never answered: a node that is just starting is met, a person does not wait ten seconds to
be told that there is none."""

CHUNK = 100
"""Ids in one request: 100 of 16 digits keep the request line under 2 kB."""


class TaskPage(NamedTuple):
    """A page of the list in submission order; `total` counts the whole list, `more` is where it goes on."""

    tasks: list[TaskResource]
    total: int
    more: str | None


class _Answer(NamedTuple):
    status: int
    kind: str
    body: bytes
    total: str
    links: list[str]


class NodeClient:
    """Talks to the node at `url` (from `locate`). An async context manager.

    Every method raises the error that the node answered with, or `NotReached`. Calls that may be repeated without harm
    are, on a broken connection and while the cluster has no leader, for `deadline` seconds in all.
    """

    def __init__(self, url: str, *, deadline: float = DEADLINE) -> None:
        self.url = url
        self.deadline = deadline
        self._session: aiohttp.ClientSession | None = None
        self._met = False

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT),
            headers={"Accept": "application/json", "User-Agent": f"ariacluster/{__version__}"},
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    # -- the cluster

    async def status(self) -> StatusResource:
        return await self._read(routes.STATUS, StatusResource)

    async def nodes(self) -> list[NodeResource]:
        return await self._read(routes.NODES, list[NodeResource])

    async def node(self, ref: str) -> NodeResource:
        """By id or name. `NotFound`."""
        return await self._read(_fill(routes.NODE, ref), NodeResource)

    async def remove_node(self, ref: str, *, force: bool = False) -> str:
        """Take a node off the cluster, by id or name; answers the node's sentence about it. `Conflict` for one that is online,
        unless by `force`."""
        query = {"force": "true"} if force else None
        answer = await self._call("DELETE", _fill(routes.NODE, ref), query=query, safe=False)
        return str(self._decode(answer, dict[str, Any]).get("message", ""))

    async def drain(self, ref: str, *, finish_within: float = 0) -> NodeResource:
        """Empty a node: nothing new for it, and what it does not finish within so many seconds goes elsewhere."""
        order = DrainRequest(finish_within=finish_within)
        return await self._send("POST", _fill(routes.NODE_DRAIN, ref), order, NodeResource)

    async def undrain(self, ref: str) -> NodeResource:
        """Let a node take tasks again."""
        return self._decode(await self._call("POST", _fill(routes.NODE_UNDRAIN, ref)), NodeResource)

    async def tune(self, ref: str, patch: NodePatch) -> NodeResource:
        """Set slots and limits of a node; what the patch does not name stays."""
        return await self._send("PATCH", _fill(routes.NODE, ref), patch, NodeResource)

    async def settings(self) -> SettingsResource:
        return await self._read(routes.SETTINGS, SettingsResource)

    async def configure(self, patch: SettingsPatch) -> SettingsResource:
        """Change how the cluster dispatches; what the patch does not name stays."""
        return await self._send("PATCH", routes.SETTINGS, patch, SettingsResource)

    async def transfer(self, node: str = "") -> ClusterResource:
        """Hand the leadership to another voter, by name or id; to any if none is named. `Conflict`, `Unavailable`."""
        return await self._send(
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
        return self._decode(await self._call("GET", routes.HISTORY, query=query), list[HistoryEntry])

    async def cluster(self) -> ClusterResource:
        return await self._read(routes.CLUSTER, ClusterResource)

    async def merge(self, into: str = "") -> ClusterResource:
        """Dissolve the node's cluster into another one of its name, by the beginning of its id. Returns once the node is
        there."""
        return await self._order(routes.CLUSTER_MERGE, MergeRequest(into=into))

    async def recovery(self) -> RecoveryResource:
        """What `recover` would do."""
        return await self._read(routes.CLUSTER_RECOVER, RecoveryResource)

    async def recover(self, confirm: str) -> ClusterResource:
        """Begin a new cluster with what this node knows; `confirm` is what `recovery` told."""
        return await self._order(routes.CLUSTER_RECOVER, RecoverRequest(confirm=confirm))

    async def _order(self, path: str, order: MergeRequest | RecoverRequest) -> ClusterResource:
        return await self._send("POST", path, order, ClusterResource, safe=False)

    # -- tasks

    async def submit(self, task: TaskCreate, *, key: str | None = None) -> TaskResource:
        """Durable when this returns. A repeat under the same `key` (made up if none is given) answers the same task."""
        headers = {routes.IDEMPOTENCY_KEY: key or secrets.token_hex(16), "Content-Type": "application/json"}
        return self._decode(await self._call("POST", routes.TASKS, body=_body(task), headers=headers), TaskResource)

    async def task(self, ref: str) -> TaskResource:
        """By id or the beginning of one that no other task shares. `NoSuchTask`."""
        return await self._read(_fill(routes.TASK, ref), TaskResource)

    async def submit_all(self, tasks: Sequence[TaskCreate], *, key: str | None = None) -> BatchResult:
        """At most `MAX_BATCH` tasks in one request, each taken or refused for itself. Safe to repeat, as `submit`."""
        headers = {routes.IDEMPOTENCY_KEY: key or secrets.token_hex(16), "Content-Type": "application/json"}
        body = _body(BatchRequest(tasks=list(tasks)))
        return self._decode(await self._call("POST", routes.TASKS_BATCH, body=body, headers=headers), BatchResult)

    async def submit_list(self, text: str, defaults: TaskCreate, *, key: str | None = None) -> BatchResult:
        """A list of links or aria2's input file; what its lines do not say is as in `defaults`."""
        headers = {routes.IDEMPOTENCY_KEY: key or secrets.token_hex(16), "Content-Type": "application/json"}
        body = _body(ImportRequest(text=text, defaults=defaults))
        return self._decode(await self._call("POST", routes.TASKS_IMPORT, body=body, headers=headers), BatchResult)

    async def edit(self, ref: str, patch: TaskPatch) -> TaskResource:
        """Change what was asked of a task; what the patch does not name stays. `IllegalMove` for one that is over."""
        return await self._send("PATCH", _fill(routes.TASK, ref), patch, TaskResource)

    async def say_to_all(self, verb: str, matching: TaskFilter) -> BulkResult:
        """`verb` is one of `routes.TASK_BULK_VERBS`, said to every task that fits the filter."""
        asked = BulkRequest(verb=verb, matching=matching)
        return await self._send("POST", routes.TASKS_BULK, asked, BulkResult, safe=False)

    async def live(self, ref: str) -> LiveResource:
        """Pieces, files and servers of a download that runs, of whichever node has it."""
        return await self._read(_fill(routes.TASK_LIVE, ref), LiveResource)

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
        answer = await self._call("GET", more or routes.TASKS, query=None if more else query)
        tasks = self._decode(answer, list[TaskResource])
        total = int(answer.total) if answer.total.isdecimal() else len(tasks)
        return TaskPage(tasks, total, self._next(answer))

    async def each_task(self, *, states: Iterable[str] = ()) -> AsyncIterator[TaskResource]:
        """Every task of the list, a page at a time."""
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
            answer = await self._call("GET", routes.TASKS, query=query)
            found |= {task.id: task for task in self._decode(answer, list[TaskResource])}
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
        return await self._send("POST", _fill(routes.TASK_MOVE, ref), MoveRequest(node=node), TaskResource, safe=False)

    async def relink(self, ref: str, urls: Iterable[str], *, headers: Iterable[str] | None = None) -> TaskResource:
        """Give the task another link to the same file, or several that are mirrors; its bytes are kept. Without `headers` it
        keeps those that it has."""
        asked = RelinkRequest(urls=list(urls), headers=None if headers is None else list(headers))
        return await self._send("POST", _fill(routes.TASK_RELINK, ref), asked, TaskResource, safe=False)

    async def say(self, ref: str, verb: str) -> TaskResource:
        """`verb` is one of `routes.TASK_VERBS`. `IllegalMove` if the task's state does not allow it."""
        path = routes.TASK_VERB.replace("{verb}", verb)
        return self._decode(await self._call("POST", _fill(path, ref), safe=False), TaskResource)

    async def remove(self, ref: str) -> str:
        """Take the task off the list, stopping it if it runs; answers the node's sentence about it."""
        answer = await self._call("DELETE", _fill(routes.TASK, ref), safe=False)
        return str(self._decode(answer, dict[str, Any]).get("message", ""))

    # -- the line

    async def _read(self, path: str, kind: type[T]) -> T:
        return self._decode(await self._call("GET", path), kind)

    async def _send(self, method: str, path: str, order: msgspec.Struct, kind: type[T], *, safe: bool = True) -> T:
        headers = {"Content-Type": "application/json"}
        answer = await self._call(method, path, body=_body(order), headers=headers, safe=safe)
        return self._decode(answer, kind)

    async def _call(
        self,
        method: str,
        path: str,
        *,
        query: dict[str, str] | None = None,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        safe: bool = True,
    ) -> _Answer:
        """Ask until there is an answer or no patience. `safe`: asking twice does what asking once does."""
        patience = Patience(self.deadline)
        while True:
            error: AriaClusterError
            try:
                answer = await self._ask(method, path, query, body, headers, patience.left)
            except aiohttp.InvalidURL:
                raise self._not_reached("the address is none") from None
            except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as trouble:
                # Nothing was sent, so even what is not safe to repeat may be tried again.
                error = self._not_reached(_why(trouble))
                again = self._met or patience.tries < REFUSALS - 1
            except (aiohttp.ClientError, TimeoutError, OSError) as trouble:
                error = self._not_reached(_why(trouble))
                again = safe and (self._met or patience.tries < REFUSALS - 1)
            else:
                self._met = True
                if answer.status < 400:
                    return answer
                error = self._refusal(answer)
                soon = isinstance(error, NoLeader | NotReady | Overloaded) and not isinstance(error, NoQuorum)
                again = soon or (safe and isinstance(error, UnknownOutcome))
            pause = patience.next_pause() if again else None
            if pause is None:
                raise error
            await asyncio.sleep(pause)

    async def _ask(
        self,
        method: str,
        path: str,
        query: dict[str, str] | None,
        body: bytes | None,
        headers: dict[str, str] | None,
        seconds: float,
    ) -> _Answer:
        if self._session is None:
            raise RuntimeError("NodeClient is an async context manager: use it with `async with`")
        async with asyncio.timeout(max(seconds, 0.1)):
            target = f"{self.url}{path}?{urlencode(query)}" if query else self.url + path
            url = URL(target, encoded=True)
            async with self._session.request(
                method, url, data=body, headers=headers, allow_redirects=False
            ) as response:
                content = await response.read()
                head = response.headers
                links = head.getall("Link", [])
                return _Answer(response.status, response.content_type, content, head.get("X-Total-Count", ""), links)

    def _refusal(self, answer: _Answer) -> AriaClusterError:
        if answer.kind != problems.CONTENT_TYPE and answer.status < 500:
            return self._stranger()
        return problems.error_of(answer.status, answer.body)

    def _decode(self, answer: _Answer, kind: type[T]) -> T:
        if answer.status >= 300:
            raise self._stranger()
        try:
            return msgspec.json.decode(answer.body, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise self._stranger() from None

    def _next(self, answer: _Answer) -> str | None:
        """Path and query of the next page. Only those: a list never sends its reader to another host."""
        for link in answer.links:
            for target, rest in re.findall(r"<([^<>]*)>([^,<]*)", link):
                if re.search(r';\s*rel="?next"?', rest):
                    base = urlsplit(self.url).path
                    parts = urlsplit(urljoin(f"http://node{base}{routes.TASKS}", target))
                    path = parts.path.removeprefix(base)
                    return f"{path}?{parts.query}" if parts.query else path
        return None

    def _not_reached(self, why: str) -> NotReached:
        return NotReached(
            f"No node answers at {self.url}: {why}. Start one with `ariacluster up`, or say with --url where one is."
        )

    def _stranger(self) -> NotReached:
        return NotReached(
            f"What answers at {self.url} is not a node of Aria Cluster, or one of another version. "
            "Say with --url where a node is."
        )


def _body(order: msgspec.Struct) -> bytes:
    try:
        return msgspec.json.encode(order)
    except UnicodeEncodeError:
        # A terminal hands over bytes that are no text as lone surrogates.
        raise InvalidInput("Something in this is no text in UTF-8; write it as %XX in a URL.") from None


def _fill(path: str, ref: str) -> str:
    """`ref` in the place of `{id}`, unable to reach any other path."""
    if ref in ("", ".", ".."):
        raise InvalidInput("Give an id or a name.", field="id")
    return path.replace("{id}", quote(ref, safe="", errors="replace"))


def _why(trouble: Exception) -> str:
    """A few words for a person."""
    match trouble:
        case aiohttp.ClientConnectorDNSError():
            return "the name is not known"
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientSSLError():
            return "no secure connection could be made"
        case TimeoutError():
            return "it does not answer in time"
        case aiohttp.ServerDisconnectedError():
            return "it closed the connection"
        case OSError(strerror=str(text)) if text and "Connect call failed" not in text:
            return text.lower()
        case aiohttp.ClientConnectorError():
            return "the connection was refused"
    return "the connection broke"
