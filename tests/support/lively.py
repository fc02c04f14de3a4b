"""A lively cluster that is none: a node that answers the API and `/events` from a simulation, for the web app's tests, its
pictures, and its load. Nothing is downloaded.

`python -m tests.support.lively --nodes 8 --tasks 5000 --port 18000` runs one by hand.
"""

import argparse
import asyncio
import contextlib
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import msgspec
from aiohttp import WSMsgType, web

from ariacluster.domain.errors import AriaClusterError, Conflict, InvalidInput, NoSuchTask, NotFound
from ariacluster.domain.names import name_of_url
from ariacluster.wire import events, problems, routes
from ariacluster.wire.requests import (
    BatchRequest,
    BulkRequest,
    DrainRequest,
    ImportRequest,
    MoveRequest,
    NodePatch,
    RelinkRequest,
    SettingsPatch,
    TaskCreate,
    TaskFilter,
    TaskPatch,
    TransferRequest,
)
from ariacluster.wire.resources import BatchItem, BatchResult, BulkResult, LiveFile, LiveResource, LiveServer

from .lively_world import KEYS, Row, World
from .serving import Api, Handler, answer, configured, merged, named

FINAL = ("completed", "failed", "canceled")


class Lively(Api, World):
    """`async with Lively(nodes=8, tasks=5000) as cluster`; then `cluster.url` answers. It goes on by `pace` seconds each
    second; with 0 only when `step` is called.
    """

    def __init__(self, *, nodes: int = 8, tasks: int = 5000, seed: int = 7, pace: float = 1.0, port: int = 0) -> None:
        self._readers: set[_Reader] = set()
        Api.__init__(self, port)
        World.__init__(self, nodes=nodes, tasks=tasks, seed=seed)
        self.pace = pace
        self.told = self._tell_all
        self.refusals: list[AriaClusterError] = []
        """Answered first, one a change."""
        self.answering = asyncio.Event()
        """Cleared, a change is heard and neither done nor answered until it is set."""
        self.answering.set()
        self.said: list[tuple[str, str, Any]] = []
        """Every change that was asked for: method, path, body."""
        self._going: asyncio.Task[None] | None = None

    def _tell_all(self, frame: events.Frame) -> None:
        for reader in self._readers:
            reader.put(frame)

    def step(self, *, quietly: bool = False) -> None:
        super().step(quietly=quietly)
        for reader in self._readers:
            reader.news()

    def _routes(self) -> Iterable[tuple[str, str, Handler]]:
        return (
            ("GET", routes.STATUS, self._status), ("GET", routes.CLUSTER, self._cluster),
            ("POST", routes.CLUSTER_TRANSFER, self._transfer),
            ("GET", routes.NODES, self._nodes), ("GET", routes.NODE, self._one_node), ("PATCH", routes.NODE, self._tune),
            ("DELETE", routes.NODE, self._take_off), ("POST", routes.NODE_DRAIN, self._drain),
            ("POST", routes.NODE_UNDRAIN, self._undrain), ("GET", routes.SETTINGS, self._settings),
            ("PATCH", routes.SETTINGS, self._configure), ("GET", routes.HISTORY, self._history),
            ("GET", routes.EVENTS, self._events), ("GET", routes.TASKS, self._list), ("POST", routes.TASKS, self._submit),
            ("POST", routes.TASKS_BATCH, self._batch), ("POST", routes.TASKS_IMPORT, self._import),
            ("POST", routes.TASKS_BULK, self._bulk), ("GET", routes.TASK, self._task),
            ("DELETE", routes.TASK, self._remove), ("PATCH", routes.TASK, self._edit),
            ("GET", routes.TASK_LIVE, self._live), ("POST", routes.TASK_MOVE, self._move),
            ("POST", routes.TASK_RELINK, self._relink), ("POST", routes.TASK_VERB, self._say),
        )  # fmt: skip

    async def start(self) -> None:
        await super().start()
        self._going = asyncio.create_task(self._go()) if self.pace else None

    async def stop(self) -> None:
        if self._going is not None:
            self._going.cancel()
            await asyncio.gather(self._going, return_exceptions=True)
        for reader in self._readers:
            reader.end()
        await super().stop()

    async def _go(self) -> None:
        while True:
            await asyncio.sleep(1 / self.pace)
            self.step()

    async def _first(self, request: web.Request) -> None:
        if request.method != "GET":
            body = await request.read()
            self.said.append((request.method, request.path, msgspec.json.decode(body) if body else None))
            await self.answering.wait()
            if self.refusals:
                raise self.refusals.pop(0)

    async def _events(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        reader = _Reader(self, int(request.query.get("top", "0")))
        since = request.query.get("since")
        reader.put(events.Hello(node=self.status().node, version="0.1.0", seq=self.seq, resumed=since is not None))
        for entry in self.history if since is not None else ():
            if entry.seq > int(since or 0):
                reader.put(events.History(entry=entry))
        reader.news(whole=True)
        self._readers.add(reader)
        try:
            async with asyncio.TaskGroup() as group:
                telling = group.create_task(reader.tell(socket))
                async for message in socket:
                    if message.type is WSMsgType.TEXT:
                        said = msgspec.json.decode(message.data, type=events.Watch)
                        reader.watched, reader.top = set(said.watch), said.top
                        reader.rows = {}
                        reader.tasks()
                telling.cancel()
        finally:
            self._readers.discard(reader)
        return socket

    async def _status(self, _: web.Request) -> web.Response:
        return answer(self.status())

    async def _cluster(self, _: web.Request) -> web.Response:
        return answer(self.status().cluster)

    async def _transfer(self, request: web.Request) -> web.Response:
        to = msgspec.json.decode(await request.read(), type=TransferRequest).node
        self.elect(self._place(to) if to else ((self.leader or 0) + 1) % len(self.nodes))
        return answer(self.status().cluster)

    async def _nodes(self, _: web.Request) -> web.Response:
        return answer(self.nodes)

    async def _one_node(self, request: web.Request) -> web.Response:
        return answer(self.nodes[self._place(request.match_info["id"])])

    async def _tune(self, request: web.Request) -> web.Response:
        changes = named(msgspec.json.decode(await request.read(), type=NodePatch))
        if "slots" in changes:
            changes["total_slots"] = changes.pop("slots") or 5
        return self._become(request, **changes)

    async def _take_off(self, request: web.Request) -> web.Response:
        place = self._place(request.match_info["id"])
        node = self.nodes[place]
        if node.status != "offline" and request.query.get("force") != "true":
            raise Conflict(f"{node.name} is online. Drain it and stop it first.")
        self.nodes[place] = msgspec.structs.replace(node, status="offline", name=f"{node.name} (gone)")
        self.tell("node_left", f"{node.name} is no longer a member.", node=node)
        return answer({"message": f"Node {node.name} is off the cluster."})

    async def _drain(self, request: web.Request) -> web.Response:
        asked = msgspec.json.decode(await request.read(), type=DrainRequest)
        until = self.now + timedelta(seconds=asked.finish_within)
        node = self.nodes[self._place(request.match_info["id"])]
        self.tell("node_drained", f"{node.name} is being emptied.", node=node, who="192.168.1.50")
        return self._become(request, status="draining", drain_until=until)

    async def _undrain(self, request: web.Request) -> web.Response:
        return self._become(request, status="online", drain_until=None)

    def _become(self, request: web.Request, **changes: Any) -> web.Response:
        place = self._place(request.match_info["id"])
        self.nodes[place] = msgspec.structs.replace(self.nodes[place], **changes)
        return answer(self.nodes[place])

    def _place(self, ref: str) -> int:
        for place, node in enumerate(self.nodes):
            if ref in (node.id, node.name):
                return place
        raise NotFound("No node has this name or id.")

    async def _settings(self, _: web.Request) -> web.Response:
        return answer(self.settings)

    async def _configure(self, request: web.Request) -> web.Response:
        patch = msgspec.json.decode(await request.read(), type=SettingsPatch)
        self.settings = configured(self.settings, patch)
        self.tell("settings_changed", f"Settings were changed: {', '.join(named(patch))}.", who="192.168.1.50")
        return answer(self.settings)

    async def _history(self, request: web.Request) -> web.Response:
        limit, before = int(request.query.get("limit", "100")), int(request.query.get("before", str(self.seq + 1)))
        kinds = [kind for kind in request.query.get("kind", "").split(",") if kind]
        found = [
            entry
            for entry in reversed(self.history)
            if entry.seq < before
            and (not kinds or entry.kind in kinds)
            and request.query.get("node") in (None, entry.node, entry.node_name)
            and request.query.get("task") in (None, entry.task)
        ]
        return answer(found[:limit])

    async def _list(self, request: web.Request) -> web.Response:
        query = request.query
        rows = self.found(
            TaskFilter(
                ids=[i for i in query.get("ids", "").split(",") if i],
                state=[i for i in query.get("state", "").split(",") if i],
                node=query.get("node"),
                tag=[i for i in query.get("tag", "").split(",") if i],
                q=query.get("q", ""),
            )
        )
        if sort := query.get("sort"):
            rows.sort(key=KEYS[sort.lstrip("-")], reverse=sort.startswith("-"))
        start, limit = int(query.get("offset", "0")), int(query.get("limit", "100"))
        return answer(
            [self.resource(r) for r in rows[start : start + limit]], headers={"X-Total-Count": str(len(rows))}
        )

    def _take(self, wanted: TaskCreate) -> Row:
        urls = wanted.urls or [wanted.url or ""]
        if not urls[0].startswith(("http", "ftp", "sftp", "magnet")) and not wanted.torrent and not wanted.metalink:
            raise InvalidInput("This URL has no scheme that aria2 downloads.", field="url")
        row = self.add(wanted.out or name_of_url(urls[0]) or "a.torrent", url=urls[0])
        row.asked, row.tags, row.priority = wanted, dict(wanted.tags), wanted.priority
        row.status = "paused" if wanted.paused else "pending"
        row.not_before = wanted.not_before
        self.tell("task_submitted", f"{row.name} was submitted.", row, who="192.168.1.50")
        return row

    async def _submit(self, request: web.Request) -> web.Response:
        row = self._take(msgspec.json.decode(await request.read(), type=TaskCreate))
        return answer(self.resource(row), status=201)

    def _all(self, wanted: Iterable[TaskCreate], lines: Iterable[int]) -> web.Response:
        results = []
        for one, line in zip(wanted, lines, strict=False):
            try:
                results.append(BatchItem(id=self._take(one).id, line=line))
            except AriaClusterError as error:
                results.append(BatchItem(problem=problems.problem_of(error), line=line))
        good = sum(item.id is not None for item in results)
        return answer(BatchResult(accepted=good, refused=len(results) - good, results=results))

    async def _batch(self, request: web.Request) -> web.Response:
        tasks = msgspec.json.decode(await request.read(), type=BatchRequest).tasks
        return self._all(tasks, [0] * len(tasks))

    async def _import(self, request: web.Request) -> web.Response:
        asked = msgspec.json.decode(await request.read(), type=ImportRequest)
        lines = [(i, line.strip()) for i, line in enumerate(asked.text.splitlines(), 1) if line.strip()]
        return self._all(
            [msgspec.structs.replace(asked.defaults, url=line) for _, line in lines], [i for i, _ in lines]
        )

    async def _bulk(self, request: web.Request) -> web.Response:
        asked = msgspec.json.decode(await request.read(), type=BulkRequest)
        if asked.matching == TaskFilter():
            raise InvalidInput("Say which tasks, by ids, state, node, tag or q.", field="matching")
        done, refused = [], []
        for row in self.found(asked.matching):
            try:
                self.do(row, asked.verb)
                done.append(row.id)
            except AriaClusterError as error:
                refused.append(BatchItem(id=row.id, problem=problems.problem_of(error)))
        return answer(BulkResult(done_count=len(done), refused_count=len(refused), done=done, refused=refused[:100]))

    def _find(self, request: web.Request) -> Row:
        ref = request.match_info["id"]
        matches = [self.tasks[ref]] if ref in self.tasks else [r for i, r in self.tasks.items() if i.startswith(ref)]
        if len(matches) != 1:
            raise NoSuchTask("There is no such task; it may have been taken off the list.")
        return matches[0]

    async def _task(self, request: web.Request) -> web.Response:
        return answer(self.resource(self._find(request)))

    async def _remove(self, request: web.Request) -> web.Response:
        row = self._find(request)
        self.do(row, "remove")
        return answer({"message": f"{row.name} is off the list."})

    async def _edit(self, request: web.Request) -> web.Response:
        row = self._find(request)
        changes = named(msgspec.json.decode(await request.read(), type=TaskPatch))
        row.priority = changes.pop("priority", row.priority)
        if "tags" in changes:
            row.tags = merged(row.tags, changes.pop("tags"))
        row.asked = msgspec.structs.replace(row.asked, **changes)
        return answer(self.resource(row))

    async def _live(self, request: web.Request) -> web.Response:
        row = self._find(request)
        if row.status != "downloading":
            return answer(LiveResource(id=row.id, running=False))
        count, share = 960, row.done / row.total
        bits = "".join("1" if i / count < share or self.random.random() < share / 4 else "0" for i in range(count))
        return answer(
            LiveResource(
                id=row.id, running=True, piece_length=row.total // count, piece_count=count,
                pieces=f"{int(bits, 2):0{count // 4}x}",
                files=[LiveFile(path=row.name, length=row.total, completed=row.done)],
                servers=[LiveServer(uri=row.url, speed=row.speed * 3 // 4),
                         LiveServer(uri="https://mirror2.example.org/pub/", speed=row.speed // 4)],
            )
        )  # fmt: skip

    async def _move(self, request: web.Request) -> web.Response:
        row = self._find(request)
        place = self._place(msgspec.json.decode(await request.read(), type=MoveRequest).node)
        if row.status in FINAL:
            raise Conflict("The task is over; there is nothing to move.")
        row.node = place
        self.tell("task_moved", f"{row.name} was moved to {self.nodes[place].name}.", row, who="192.168.1.50")
        return answer(self.resource(row))

    async def _relink(self, request: web.Request) -> web.Response:
        row = self._find(request)
        asked = msgspec.json.decode(await request.read(), type=RelinkRequest)
        row.url = (asked.urls or [asked.url or ""])[0]
        row.status, row.needs_link, row.error = "pending", False, None
        return answer(self.resource(row))

    async def _say(self, request: web.Request) -> web.Response:
        row = self._find(request)
        self.do(row, request.match_info["verb"])
        return answer(self.resource(row))


class _Reader:
    """One subscription: what it was told, so that only what changed is told again."""

    def __init__(self, cluster: Lively, top: int) -> None:
        self.cluster = cluster
        self.top = top
        self.watched: set[str] = set()
        self.rows: dict[str, dict[str, Any]] = {}
        self._nodes: dict[str, dict[str, Any]] = {}
        self._queue: asyncio.Queue[events.Frame | None] = asyncio.Queue()

    def put(self, frame: events.Frame) -> None:
        self._queue.put_nowait(frame)

    def end(self) -> None:
        self._queue.put_nowait(None)

    def news(self, *, whole: bool = False) -> None:
        self.put(events.Summary(status=self.cluster.status(), top=self.cluster.top(self.top)))
        now = {node.id: msgspec.to_builtins(node) for node in self.cluster.nodes}
        changed = [_changes(self._nodes.get(i), row) for i, row in now.items()]
        self._nodes = now
        self.put(events.Nodes(nodes=[row for row in changed if len(row) > 1], whole=whole))
        if self.watched:
            self.tasks()

    def tasks(self) -> None:
        rows = [self.cluster.tasks[i] for i in self.watched if i in self.cluster.tasks]
        now = {row.id: msgspec.to_builtins(self.cluster.resource(row)) for row in rows}
        changed = [_changes(self.rows.get(i), row) for i, row in now.items()]
        gone = sorted(self.watched - now.keys())
        self.rows = now
        self.put(events.Tasks(tasks=[row for row in changed if len(row) > 1], gone=gone))

    async def tell(self, socket: web.WebSocketResponse) -> None:
        while (frame := await self._queue.get()) is not None:
            with contextlib.suppress(OSError):
                await socket.send_str(msgspec.json.encode(frame).decode())
        await socket.close()


def _changes(before: dict[str, Any] | None, now: dict[str, Any]) -> dict[str, Any]:
    if before is None:
        return now
    return {"id": now["id"]} | {name: value for name, value in now.items() if before.get(name) != value}


async def _by_hand(nodes: int, tasks: int, port: int, lost: int) -> None:
    async with Lively(nodes=nodes, tasks=tasks, port=port) as cluster:
        if lost:
            cluster.lose(nodes - 1)
            if nodes > 4:
                cluster.nodes[nodes - 2] = msgspec.structs.replace(
                    cluster.nodes[nodes - 2], status="draining", drain_until=cluster.now + timedelta(minutes=10)
                )
        print(cluster.url, flush=True)  # noqa: T201
        await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--nodes", type=int, default=8)
    parser.add_argument("--tasks", type=int, default=5000)
    parser.add_argument("--port", type=int, default=18000)
    parser.add_argument("--lost", type=int, default=1)
    told = parser.parse_args()
    asyncio.run(_by_hand(told.nodes, told.tasks, told.port, told.lost))
