"""A node that answers the API on a real loopback port from a scripted table, for tests of the client and the command line."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import msgspec
from aiohttp import web

from ariacluster.domain.errors import (
    AriaClusterError,
    Conflict,
    Duplicate,
    IllegalMove,
    InvalidInput,
    NoSuchTask,
    NotFound,
)
from ariacluster.domain.names import name_of_url
from ariacluster.domain.task import FINAL, MOVES
from ariacluster.wire import problems, routes
from ariacluster.wire.events import Frame, Hello, History
from ariacluster.wire.requests import (
    BatchRequest,
    BulkRequest,
    DrainRequest,
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
    BatchItem,
    BatchResult,
    BulkResult,
    ClusterResource,
    HistoryEntry,
    LiveResource,
    NamedId,
    NodeResource,
    OtherClusterResource,
    RecoveryResource,
    SettingsResource,
    StatusResource,
    TaskResource,
)
from ariacluster.wire.showing import redact

from .serving import Api, Handler, answer, configured, merged, named

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def task(number: int, **changes: Any) -> TaskResource:
    """A pending task; its id is derived from `number`."""
    task_id = f"{number:08x}{number * 2654435761 % 2**32:08x}"
    fresh = TaskResource(
        id=task_id,
        url=f"http://origin.example/file-{number}.bin",
        urls=[f"http://origin.example/file-{number}.bin"],
        name=f"file-{number}.bin",
        status="pending",
        priority="normal",
        worker_id=None,
        worker_name=None,
        aria2_gid=task_id,
        out=None,
        dir="",
        options={},
        checksum=None,
        tags={},
        prefer_tags={},
        node=None,
        progress=0.0,
        completed_bytes=0,
        total_bytes=0,
        download_speed=0,
        connections=0,
        error_message=None,
        attempt=0,
        max_attempts=5,
        reason="waiting for a node with a free slot",
        failures=[],
        files=[],
        result=None,
        created_at=START + timedelta(seconds=number),
        updated_at=START + timedelta(seconds=number),
    )
    return msgspec.structs.replace(fresh, **changes)


def running(done: int, total: int, *, node: str = "alpha", speed: int = 1_000_000) -> dict[str, Any]:
    """What a download in progress shows."""
    return {
        "status": "downloading",
        "worker_id": f"id-{node}",
        "worker_name": node,
        "attempt": 1,
        "completed_bytes": done,
        "total_bytes": total,
        "progress": round(100 * done / total, 2) if total else 0.0,
        "download_speed": speed,
        "connections": 4,
        "reason": "the fewest downloads",
    }


def completed(total: int, *, node: str = "alpha") -> dict[str, Any]:
    return running(total, total, node=node, speed=0) | {"status": "completed", "progress": 100.0, "connections": 0}


def failed(message: str, *, node: str = "alpha") -> dict[str, Any]:
    return running(0, 0, node=node, speed=0) | {"status": "failed", "error_message": message, "reason": message}


def happened(seq: int, text: str, **changes: Any) -> HistoryEntry:
    """An entry of the history, a minute after the one before."""
    entry = HistoryEntry(seq=seq, at=START + timedelta(minutes=seq), kind="task_completed", text=text)
    return msgspec.structs.replace(entry, **changes)


def node(name: str, **changes: Any) -> NodeResource:
    """An idle voter."""
    fresh = NodeResource(
        id=f"id-{name}",
        name=name,
        address="192.0.2.7",
        port=8000,
        status="online",
        role="voter",
        tags={},
        total_slots=5,
        used_slots=0,
        download_speed=0,
        upload_speed=0,
        disk_free=812_000_000_000,
        disk_total=2_000_000_000_000,
        cpu_usage=7.0,
        memory_usage=41.0,
        uptime=93_784.0,
        version="0.1.0",
        engine="1.37.0",
        trouble="",
        last_seen=datetime.now(UTC),
    )
    return msgspec.structs.replace(fresh, **changes)


class FakeNode(Api):
    """`async with FakeNode() as fake`; then `fake.url` answers from what the test put into it.

    `reels` maps a task's id to what it becomes, one change for each time that its list is asked for. `refusals` are
    answered first, one a request: an error is answered as its problem, None breaks the connection, bytes are sent raw,
    a string is where the asker is sent instead.
    """

    def __init__(self) -> None:
        super().__init__()
        self.tasks: dict[str, TaskResource] = {}
        self.nodes: list[NodeResource] = [node("alpha", role="leader")]
        self.reels: dict[str, list[dict[str, Any]]] = {}
        self.next_reel: list[dict[str, Any]] = []
        """The reel of each task that is submitted."""
        self.refusals: list[AriaClusterError | bytes | str | None] = []
        self.requests: list[str] = []
        self.bodies: list[bytes] = []
        """Of those requests, what came with the ones that are changes."""
        self.settings = SettingsResource(
            strategy="least_loaded", origin_connections=0, origin_limits={}, min_free=1_000_000_000
        )
        self.pieces: dict[str, LiveResource] = {}
        """What aria2 says of a task, by its id."""
        self.history: list[HistoryEntry] = []
        """The oldest first."""
        self.frames: asyncio.Queue[Frame | None] = asyncio.Queue()
        """What is told to who listens to the events, one reader at a time; None breaks the connection."""
        self.leaving: list[int] = []
        """What is left on a node that is drained, each time that the nodes are asked for."""
        self.problems: list[str] = []
        self.keys: dict[str, str] = {}
        self.leader: NamedId | None = NamedId(id="id-alpha", name="alpha")
        self.cluster_name = "home"
        self.cluster_id = "c1"
        self.missing: list[NamedId] = []
        self.others: list[OtherClusterResource] = []
        """It becomes one of them when it is merged."""
        self.asked = asyncio.Event()
        """Set when a list of tasks has been asked for."""
        self.looked = asyncio.Event()
        """Set when the nodes have been asked for."""

    def _routes(self) -> Iterable[tuple[str, str, Handler]]:
        return (
            ("GET", routes.STATUS, self._status), ("GET", routes.CLUSTER, self._cluster),
            ("POST", routes.CLUSTER_MERGE, self._merge), ("POST", routes.CLUSTER_TRANSFER, self._transfer),
            ("GET", routes.CLUSTER_RECOVER, self._recovery), ("POST", routes.CLUSTER_RECOVER, self._recover),
            ("GET", routes.NODES, self._nodes), ("GET", routes.NODE, self._node), ("PATCH", routes.NODE, self._tune),
            ("DELETE", routes.NODE, self._take_off), ("POST", routes.NODE_DRAIN, self._drain),
            ("POST", routes.NODE_UNDRAIN, self._undrain), ("GET", routes.SETTINGS, self._settings),
            ("PATCH", routes.SETTINGS, self._configure), ("GET", routes.HISTORY, self._history),
            ("GET", routes.EVENTS, self._events), ("GET", routes.TASKS, self._list), ("POST", routes.TASKS, self._submit),
            ("POST", routes.TASKS_BATCH, self._submit_batch), ("POST", routes.TASKS_BULK, self._bulk),
            ("GET", routes.TASK, self._task), ("DELETE", routes.TASK, self._remove), ("PATCH", routes.TASK, self._edit),
            ("GET", routes.TASK_LIVE, self._live), ("POST", routes.TASK_MOVE, self._move),
            ("POST", routes.TASK_RELINK, self._relink), ("POST", routes.TASK_VERB, self._say),
        )  # fmt: skip

    def put(self, *tasks: TaskResource) -> None:
        self.tasks |= {task.id: task for task in tasks}

    async def _first(self, request: web.Request) -> web.StreamResponse | None:
        self.requests.append(f"{request.method} {request.path_qs}")
        if request.method in ("POST", "PATCH") and request.can_read_body:
            self.bodies.append(await request.read())
        if self.refusals:
            refusal = self.refusals.pop(0)
            if isinstance(refusal, AriaClusterError):
                raise refusal
            if isinstance(refusal, bytes):
                return web.Response(body=refusal, content_type="text/html")
            if isinstance(refusal, str):
                raise web.HTTPFound(refusal)
            if request.transport is not None:
                request.transport.abort()
        return None

    async def _status(self, _: web.Request) -> web.Response:
        states = [task.status for task in self.tasks.values()]
        slots = sum(node.total_slots for node in self.nodes)
        return answer(
            StatusResource(
                node=NamedId(id=self.nodes[0].id, name=self.nodes[0].name),
                cluster=self._as_a_whole(),
                active_workers=len(self.nodes),
                total_tasks=len(states),
                tasks_by_status={state: states.count(state) for state in sorted(set(states))},
                system_load=100 * sum(node.used_slots for node in self.nodes) / slots if slots else 0.0,
                download_speed=sum(node.download_speed for node in self.nodes),
                upload_speed=sum(node.upload_speed for node in self.nodes),
                version="0.1.0",
                problems=self.problems,
            )
        )

    def _as_a_whole(self) -> ClusterResource:
        return ClusterResource(
            id=self.cluster_id,
            name=self.cluster_name,
            mode="open",
            leader=self.leader,
            term=4,
            voters=min(3, len(self.nodes)),
            members=len(self.nodes),
            has_quorum=self.leader is not None,
            missing=self.missing,
            others=self.others,
        )

    async def _cluster(self, _: web.Request) -> web.Response:
        return answer(self._as_a_whole())

    async def _merge(self, request: web.Request) -> web.Response:
        into = msgspec.json.decode(await request.read(), type=MergeRequest).into
        [self.cluster_id] = [other.id for other in self.others if other.id.startswith(into)]
        self.others = [other for other in self.others if other.id != self.cluster_id]
        return answer(self._as_a_whole())

    async def _recovery(self, _: web.Request) -> web.Response:
        sentences = ["A new cluster begins.", "What beta decided is not in it."]
        return answer(RecoveryResource(confirm=self.cluster_id, missing=self.missing, consequences=sentences))

    async def _recover(self, request: web.Request) -> web.Response:
        if msgspec.json.decode(await request.read(), type=RecoverRequest).confirm != self.cluster_id:
            raise InvalidInput("That is another cluster.", field="confirm")
        self.cluster_id, self.missing = "begun anew", []
        self.leader = NamedId(id=self.nodes[0].id, name=self.nodes[0].name)
        return answer(self._as_a_whole())

    async def _nodes(self, _: web.Request) -> web.Response:
        self.looked.set()
        if self.leaving:
            left = self.leaving.pop(0)
            for node in [node for node in self.nodes if node.drain_until is not None]:
                self._become(node, tasks_left=left)
        return answer(self.nodes)

    async def _node(self, request: web.Request) -> web.Response:
        return answer(self._member(request))

    async def _take_off(self, request: web.Request) -> web.Response:
        node = self._member(request)
        if node.status != "offline" and request.query.get("force") != "true":
            raise Conflict(f"{node.name} is online.")
        self.nodes.remove(node)
        return answer({"message": f"Node {node.name} is off the cluster"})

    async def _tune(self, request: web.Request) -> web.Response:
        node = self._member(request)
        patch = msgspec.json.decode(await request.read(), type=NodePatch)
        slots = 5 if patch.slots is None else node.total_slots if patch.slots is msgspec.UNSET else patch.slots
        down, up = (
            then if isinstance(then, int) else now
            for then, now in ((patch.download_limit, node.download_limit), (patch.upload_limit, node.upload_limit))
        )
        return answer(self._become(node, total_slots=slots, download_limit=down, upload_limit=up))

    async def _drain(self, request: web.Request) -> web.Response:
        asked = msgspec.json.decode(await request.read(), type=DrainRequest)
        until = datetime.now(UTC) + timedelta(seconds=asked.finish_within)
        left = self.leaving.pop(0) if self.leaving else 0
        return answer(self._become(self._member(request), status="draining", drain_until=until, tasks_left=left))

    async def _undrain(self, request: web.Request) -> web.Response:
        return answer(self._become(self._member(request), status="online", drain_until=None))

    async def _settings(self, _: web.Request) -> web.Response:
        return answer(self.settings)

    async def _configure(self, request: web.Request) -> web.Response:
        patch = msgspec.json.decode(await request.read(), type=SettingsPatch)
        self.settings = configured(self.settings, patch)
        return answer(self.settings)

    def _member(self, request: web.Request) -> NodeResource:
        for node in self.nodes:
            if request.match_info["id"] in (node.id, node.name):
                return node
        raise NotFound("No node has this name or id.")

    def _become(self, node: NodeResource, **changes: Any) -> NodeResource:
        then = msgspec.structs.replace(node, **changes)
        self.nodes[self.nodes.index(node)] = then
        return then

    async def _list(self, request: web.Request) -> web.Response:
        self.asked.set()
        self._advance()
        found = list(self.tasks.values())
        if ids := request.query.get("ids"):
            found = [task for task in found if task.id in ids.split(",")]
        q = request.query
        asked = TaskFilter(state=_words(q.get("state")), node=q.get("node"), tag=_words(q.get("tag")), q=q.get("q", ""))
        found = [task for task in found if _fits(task, asked)]
        if sort := q.get("sort"):
            found.sort(key=SORTED[sort.lstrip("-")], reverse=sort.startswith("-"))
        start, limit = int(request.query.get("cursor", "0")), int(request.query.get("limit", "100"))
        headers = {"X-Total-Count": str(len(found))}
        if start + limit < len(found):
            query = urlencode({**request.query, "cursor": start + limit})
            headers["Link"] = f'<{routes.TASKS}?{query}>; rel="next"'
        return answer(found[start : start + limit], headers=headers)

    async def _submit(self, request: web.Request) -> web.Response:
        wanted = msgspec.json.decode(await request.read(), type=TaskCreate)
        made = self._take(wanted, request.headers[routes.IDEMPOTENCY_KEY])
        return answer(made, status=201, headers={"Location": routes.TASK.replace("{id}", made.id)})

    async def _submit_batch(self, request: web.Request) -> web.Response:
        results = []
        for number, wanted in enumerate(msgspec.json.decode(await request.read(), type=BatchRequest).tasks):
            try:
                made = self._take(wanted, f"{request.headers[routes.IDEMPOTENCY_KEY]}/{number}")
            except AriaClusterError as error:
                results.append(BatchItem(problem=problems.problem_of(error)))
            else:
                results.append(BatchItem(id=made.id))
        taken = sum(item.id is not None for item in results)
        return answer(BatchResult(accepted=taken, refused=len(results) - taken, results=results))

    def _take(self, wanted: TaskCreate, key: str) -> TaskResource:
        urls = wanted.urls or [wanted.url or f"file:{(wanted.torrent or wanted.metalink or '')[:8]}"]
        for url in urls:
            if not url.startswith(("http", "ftp", "magnet", "file:")):
                raise InvalidInput("This URL has no scheme that aria2 downloads.", field="url")
        if key not in self.keys:
            for other in self.tasks.values():
                if other.url == redact(urls[0]) and other.status not in FINAL and not wanted.force:
                    raise Duplicate("Another task fetches the same.", field="url", task=other.id)
            same = ("out", "dir", "priority", "tags", "node", "checksum", "not_before", "prefer_tags")
            fields = {name: getattr(wanted, name) for name in same}
            made = task(
                len(self.tasks) + 1,
                url=redact(urls[0]),
                urls=urls,
                name=wanted.out or name_of_url(urls[0]),
                status="paused" if wanted.paused else "pending",
                document="torrent" if wanted.torrent else "metalink" if wanted.metalink else None,
                max_attempts=wanted.max_attempts or 5,
                **fields,
            )
            self.keys[key] = made.id
            self.put(msgspec.structs.replace(made, options={k: str(v) for k, v in wanted.options.items()}))
            self.reels[made.id] = list(self.next_reel)
        return self.tasks[self.keys[key]]

    async def _edit(self, request: web.Request) -> web.Response:
        found = self._find(request)
        if found.status in FINAL:
            raise IllegalMove(f"The task is {found.status}.")
        patch = msgspec.json.decode(await request.read(), type=TaskPatch)
        changes = named(patch)
        changes.pop("headers", None)
        for name in ("tags", "prefer_tags", "options"):
            if name in changes:
                changes[name] = merged(getattr(found, name), changes[name])
        self.put(msgspec.structs.replace(found, **changes))
        return answer(self.tasks[found.id])

    async def _bulk(self, request: web.Request) -> web.Response:
        asked = msgspec.json.decode(await request.read(), type=BulkRequest)
        if asked.matching == TaskFilter():
            raise InvalidInput("Say which tasks.", field="matching")
        done, refused = [], []
        for found in [task for task in self.tasks.values() if _fits(task, asked.matching)]:
            if asked.verb == "remove":
                del self.tasks[found.id]
            elif found.status in (move := MOVES[asked.verb]).sources:
                self.put(msgspec.structs.replace(found, status=move.target.value))
            else:
                error = IllegalMove(f"The task is {found.status}.")
                refused.append(BatchItem(id=found.id, problem=problems.problem_of(error)))
                continue
            done.append(found.id)
        return answer(BulkResult(done_count=len(done), refused_count=len(refused), done=done, refused=refused))

    async def _live(self, request: web.Request) -> web.Response:
        found = self._find(request)
        return answer(self.pieces.get(found.id, LiveResource(id=found.id, running=False)))

    async def _history(self, request: web.Request) -> web.Response:
        q = request.query
        before = int(q.get("before", 2**60))
        found = [
            entry
            for entry in reversed(self.history)
            if entry.seq < before
            and (not q.get("task") or (entry.task or "").startswith(q["task"]))
            and (not q.get("node") or q["node"] in (entry.node, entry.node_name))
            and (not q.get("kind") or entry.kind in q["kind"].split(","))
        ]
        return answer(found[: int(q.get("limit", "100"))])

    async def _events(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        since = int(request.query.get("since", "-1"))
        newest = self.history[-1].seq if self.history else 0
        named = NamedId(id=self.nodes[0].id, name=self.nodes[0].name)
        frames: list[Frame] = [Hello(node=named, version="0.1.0", seq=newest, resumed=since >= 0)]
        if since >= 0:
            frames += [History(entry=entry) for entry in self.history if entry.seq > since]
        try:
            for frame in frames:
                await socket.send_str(msgspec.json.encode(frame).decode())
            while (told := await self.frames.get()) is not None:
                if isinstance(told, History):
                    self.history.append(told.entry)
                await socket.send_str(msgspec.json.encode(told).decode())
            await socket.close()
        except asyncio.CancelledError:  # the node stops: a reader that has just come again is hung up on
            if request.transport is not None:
                request.transport.abort()
            raise
        return socket

    async def _transfer(self, request: web.Request) -> web.Response:
        wanted = msgspec.json.decode(await request.read(), type=TransferRequest).node
        others = [node for node in self.nodes if self.leader is None or node.id != self.leader.id]
        chosen = [node for node in others if not wanted or wanted in (node.id, node.name)]
        if not chosen:
            raise Conflict("There is no such voter to lead.")
        self.leader = NamedId(id=chosen[0].id, name=chosen[0].name)
        return answer(self._as_a_whole())

    async def _task(self, request: web.Request) -> web.Response:
        return answer(self._find(request))

    async def _remove(self, request: web.Request) -> web.Response:
        found = self._find(request)
        del self.tasks[found.id]
        return answer({"message": f"Task {found.id} is off the list."})

    async def _move(self, request: web.Request) -> web.Response:
        found = self._find(request)
        node = msgspec.json.decode(await request.read(), type=MoveRequest).node
        if found.status == "paused":
            raise Conflict("The task is paused; resume it first.")
        self.put(msgspec.structs.replace(found, status="queued", worker_id=f"id-{node}", worker_name=node))
        return answer(self.tasks[found.id])

    async def _relink(self, request: web.Request) -> web.Response:
        found = self._find(request)
        asked = msgspec.json.decode(await request.read(), type=RelinkRequest)
        urls = asked.urls or [asked.url or ""]
        self.put(msgspec.structs.replace(found, url=urls[0], urls=urls, status="pending", needs_link=False))
        return answer(self.tasks[found.id])

    async def _say(self, request: web.Request) -> web.Response:
        found = self._find(request)
        move = MOVES[request.match_info["verb"]]
        if found.status not in move.sources:
            raise IllegalMove(f"The task is {found.status}.")
        self.put(msgspec.structs.replace(found, status=move.target.value))
        return answer(self.tasks[found.id])

    def _find(self, request: web.Request) -> TaskResource:
        ref = request.match_info["id"]
        matches = [task for task in self.tasks.values() if task.id.startswith(ref)]
        if len(matches) != 1:
            raise NoSuchTask("No task has this id.", field="id")
        return matches[0]

    def _advance(self) -> None:
        for task_id, reel in self.reels.items():
            if reel and task_id in self.tasks:
                self.put(msgspec.structs.replace(self.tasks[task_id], **reel.pop(0)))


SORTED: dict[str, Callable[[TaskResource], Any]] = {
    "created": lambda task: task.created_at,
    "name": lambda task: task.name,
    "size": lambda task: task.total_bytes,
    "progress": lambda task: task.progress,
    "speed": lambda task: task.download_speed,
    "priority": lambda task: task.priority,
    "status": lambda task: task.status,
    "updated": lambda task: task.updated_at,
}


def _words(text: str | None) -> list[str]:
    return text.split(",") if text else []


def _fits(task: TaskResource, asked: TaskFilter) -> bool:
    pairs = {*task.tags, *(f"{key}={value}" for key, value in task.tags.items())}
    return (
        (not asked.ids or task.id in asked.ids)
        and (not asked.state or task.status in asked.state)
        and (not asked.node or asked.node in (task.worker_id, task.worker_name))
        and all(tag in pairs for tag in asked.tag)
        and asked.q.lower() in f"{task.name} {task.url}".lower()
    )


class Ran(NamedTuple):
    """How a run of the command line ended."""

    code: int
    out: str
    err: str


Run = Callable[..., Awaitable[Ran]]
"""The program with these arguments, inside the process of the test."""


async def ariacluster(*arguments: str, url: str = "", stdin: str = "", environ: Mapping[str, str] | None = None) -> Ran:
    """Run the installed program as a process of its own, its output in pipes."""
    process = await launch(*arguments, url=url, environ=environ)
    out, err = await asyncio.wait_for(process.communicate(stdin.encode()), 30)
    return Ran(process.returncode or 0, out.decode(), err.decode())


async def launch(
    *arguments: str,
    url: str = "",
    stdin: int = asyncio.subprocess.PIPE,
    stdout: int = asyncio.subprocess.PIPE,
    environ: Mapping[str, str] | None = None,
) -> asyncio.subprocess.Process:
    """Start the installed program; the caller waits for it."""
    program = Path(sys.executable).parent / "ariacluster"
    kept = {name: value for name, value in os.environ.items() if name not in _TERMINAL}
    return await asyncio.create_subprocess_exec(
        program,
        *arguments,
        stdin=stdin,
        stdout=stdout,
        stderr=asyncio.subprocess.PIPE,
        env={**kept, "ARIACLUSTER_URL": url, **(environ or {})},
    )


_TERMINAL = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE")
"""What would make the output of a test depend on who runs it."""
