"""`GET /events` of a node on fakes: both ways to listen, what is told first, what is told later, and to whom no more."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from ariacluster.domain.commands import Assign, Pause, Register, Remove, Start, Submit
from ariacluster.domain.member import Member, Progress, Report
from ariacluster_node.api import events as events_api
from ariacluster_node.api.app import make_app
from ariacluster_node.lifecycle import cancelled_at_exit
from ariacluster_node.services import event_hub as hub_room
from tests.support import serving
from tests.support.fake_site import ROOM, SPEC, FakeSite, SiteNode, until

A, B, C = "a" * 16, "b" * 16, "c" * 16


class Events:
    """One node's events on a loopback port."""

    def __init__(self, session: aiohttp.ClientSession, url: str, runner: web.AppRunner) -> None:
        self.session = session
        self.url = url
        self.runner = runner

    @asynccontextmanager
    async def socket(self, query: str = "") -> AsyncIterator["Ear"]:
        async with self.session.ws_connect(f"{self.url}?{query}") as socket:
            yield Ear(socket)

    @asynccontextmanager
    async def sse(self, query: str = "", **headers: str) -> AsyncIterator[aiohttp.StreamReader]:
        async with self.session.get(f"{self.url}?{query}", headers=headers) as response:
            assert response.status == 200
            assert response.content_type == "text/event-stream"
            yield response.content

    async def refused(self, query: str) -> tuple[int, str | None]:
        async with self.session.get(f"{self.url}?{query}") as response:
            return response.status, (await response.json(content_type=None)).get("field")


class Ear:
    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def next(self, kind: str) -> dict[str, Any]:
        """The next frame of that kind; others are passed over."""
        async with asyncio.timeout(5):
            while True:
                frame = json.loads(await self.socket.receive_str())
                if frame["type"] == kind:
                    return dict(frame)

    async def silent(self, kind: str, marker: Any) -> None:
        """Nothing of that kind comes before what `marker` brings about (a history entry)."""
        await marker
        async with asyncio.timeout(5):
            while (frame := json.loads(await self.socket.receive_str()))["type"] != "history":
                assert frame["type"] != kind


async def event(content: aiohttp.StreamReader) -> dict[str, str]:
    """The next server-sent event, as its fields; comments are passed over."""
    fields: dict[str, str] = {}
    async with asyncio.timeout(5):
        while True:
            line = (await content.readline()).decode()
            assert line, "the stream has ended"
            if line == "\n":
                if fields:
                    return fields
            elif not line.startswith(":"):
                name, _, value = line.rstrip("\n").partition(": ")
                fields[name] = value


@asynccontextmanager
async def served(node: SiteNode) -> AsyncIterator[Events]:
    app = make_app(node.services)
    events_api.open_to(app, node.hub)
    async with (
        serving.served(app, handler_cancellation=True, shutdown_timeout=5.0) as runner,
        aiohttp.ClientSession() as session,
        cancelled_at_exit(node.hub.run()),
    ):
        yield Events(session, f"http://127.0.0.1:{serving.port_of(runner)}/events", runner)


@pytest.fixture
async def site(monkeypatch: pytest.MonkeyPatch) -> FakeSite:
    monkeypatch.setattr(hub_room, "PERIOD", 0.02)
    monkeypatch.setattr(hub_room, "BREATH", 0.001)
    monkeypatch.setattr(hub_room, "CATCH_UP", 0.05)
    site = FakeSite()
    await site.up("mn")
    site.heard("m", "n")
    await site.say(Submit(A, SPEC))
    return site


@pytest.fixture
async def events(site: FakeSite) -> AsyncIterator[Events]:
    async with served(site.nodes["m"]) as events:
        yield events


async def test_everything_is_told_first(events: Events) -> None:
    async with events.socket(f"watch={A}") as ear:
        hello = json.loads(await ear.socket.receive_str())
        assert (hello["type"], hello["node"]["name"], hello["resumed"]) == ("hello", "m", False)
        nodes = await ear.next("nodes")
        assert (nodes["whole"], [n["name"] for n in nodes["nodes"]]) == (True, ["m", "n"])
        summary = await ear.next("summary")
        assert (summary["status"]["total_tasks"], summary["top"], summary["stale"]) == (1, [], False)
        [row] = (await ear.next("tasks"))["tasks"]
        assert (row["id"], row["status"], row["url"]) == (A, "pending", SPEC.urls[0])


async def test_then_what_changed_and_nothing_else(site: FakeSite, events: Events) -> None:
    async with events.socket(f"watch={A}") as ear:
        await ear.next("tasks")
        await site.say(Pause(A))
        [row] = (await ear.next("tasks"))["tasks"]
        assert row["status"] == "paused"
        assert {"id", "status", "updated_at"} >= row.keys() - {"reason"}
        site.nodes["m"].roster.hear(Report(node="n" * 8, disk_free=ROOM - 5, disk_total=ROOM))
        [change] = (await ear.next("nodes"))["nodes"]
        assert (change["id"], change["disk_free"]) == ("n" * 8, ROOM - 5)
        assert change.keys() <= {"id", "disk_free", "last_seen", "uptime"}
        await ear.silent("nodes", site.say(Submit(B, SPEC)))


async def test_one_that_comes_later_is_told_everything_too(site: FakeSite, events: Events) -> None:
    async with events.socket(f"watch={A}") as first:
        await first.next("tasks")
        async with events.socket(f"watch={A},{B}") as second:
            assert (await second.next("nodes"))["whole"]
            await second.next("summary")
            told = await second.next("tasks")
            assert ([row["url"] for row in told["tasks"]], told["gone"]) == ([SPEC.urls[0]], [B])
            await site.say(Submit(B, SPEC))
            [row] = (await second.next("tasks"))["tasks"]
            assert (row["id"], row["url"]) == (B, SPEC.urls[0]), "it came back: all of it"
            await site.say(Pause(A))
            for ear in (first, second):
                assert (await ear.next("tasks"))["tasks"][0]["status"] == "paused"


async def test_what_is_watched_may_change_at_any_time(site: FakeSite, events: Events) -> None:
    await site.say(Submit(B, SPEC))
    async with events.socket("topics=tasks,history") as ear:
        await ear.socket.send_str(json.dumps({"watch": [B]}))
        assert [row["id"] for row in (await ear.next("tasks"))["tasks"]] == [B]
        await ear.socket.send_str(json.dumps({"watch": [A]}))
        assert [row["id"] for row in (await ear.next("tasks"))["tasks"]] == [A]
        await ear.silent("tasks", site.say(Pause(B)))
        await site.say(Remove(A))
        assert (await ear.next("tasks"))["gone"] == [A]


async def test_progress_and_the_fastest(site: FakeSite, events: Events) -> None:
    m = "m" * 8
    await site.say(Submit(B, SPEC))
    for task in (A, B):
        await site.say(Assign(task, 1, m, ""), Start(task, 1))
    async with events.socket(f"topics=tasks&watch={A}") as rows, events.socket("topics=summary&top=1") as ear:
        await rows.next("tasks")
        progress = {A: Progress(attempt=1, completed=5, total=10, speed=70), B: Progress(attempt=1, speed=90)}
        site.nodes["m"].roster.hear(Report(node=m, tasks=progress))
        [row] = (await rows.next("tasks"))["tasks"]
        assert (row["completed_bytes"], row["progress"], row["download_speed"]) == (5, 50.0, 70)
        while not (top := (await ear.next("summary"))["top"]):
            pass
        assert [(task["id"], task["download_speed"]) for task in top] == [(B, 90)]
        await ear.socket.send_str(json.dumps({"top": 2}))
        while len(top := (await ear.next("summary"))["top"]) < 2:
            pass
        assert [task["id"] for task in top] == [B, A]


async def test_a_node_that_leaves_is_gone(site: FakeSite, events: Events) -> None:
    async with events.socket("topics=nodes") as ear:
        assert len((await ear.next("nodes"))["nodes"]) == 2
        await site.say(Register(Member(id="x" * 8, name="x", address="x", port=1, raft="x:2")))
        told = await ear.next("nodes")
        assert ([n["name"] for n in told["nodes"]], told["whole"]) == (["x"], False)


async def test_history_is_numbered_and_goes_on_at_another_node(site: FakeSite, events: Events) -> None:
    async with events.sse("topics=history") as content:
        hello = json.loads((await event(content))["data"])
        await site.say(Pause(A))
        first = await event(content)
        assert (first["event"], json.loads(first["data"])["entry"]["kind"]) == ("history", "task_paused")
        assert int(first["id"]) == json.loads(first["data"])["entry"]["seq"] > hello["seq"]
    await site.say(Submit(B, SPEC))
    await site.say(Pause(B))
    async with (
        served(site.nodes["n"]) as other,
        other.sse("topics=history", **{"Last-Event-ID": first["id"]}) as content,
    ):
        assert json.loads((await event(content))["data"])["resumed"]
        kinds = [json.loads((await event(content))["data"])["entry"]["kind"] for _ in range(2)]
        assert kinds == ["task_submitted", "task_paused"]
    async with events.socket("since=99999999") as ear:
        hello = await ear.next("hello")
        assert not hello["resumed"], "it is another cluster's number"


async def test_a_slow_reader_is_sent_away(site: FakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    from ariacluster_node.services import subscription as room

    monkeypatch.setattr(room, "MAX_WAITING", 3)
    hub = site.nodes["m"].hub
    async with hub.subscribe(["history"], since=None, watch=[], top=0) as reader:
        for number in range(5):
            await site.say(Submit(f"{number:016x}", SPEC))
        assert reader.ended
        assert [frame.kind for frame in await reader.next(1)] == ["hello"]
        [bye] = await reader.next(1)
        assert json.loads(bye.json)["code"] == "slow_reader"
        with pytest.raises(EOFError):
            await reader.next(1)


async def test_the_end_is_told(site: FakeSite) -> None:
    async with served(site.nodes["m"]) as events, events.socket() as ear, events.sse("topics=history") as content:
        await ear.next("summary")
        await event(content)
        async with asyncio.timeout(3):
            stopping = asyncio.create_task(events.runner.cleanup())
            assert (await ear.next("bye"))["code"] == "not_ready"
            assert (await event(content))["event"] == "bye"
            await ear.socket.receive()
            assert ear.socket.close_code == 4000
            await stopping
    assert site.nodes["m"].hub.subscribers == 0


async def test_nonsense_ends_a_socket(events: Events) -> None:
    for said in ("{", '{"watch": 3}', '{"top": 51}', '{"what": []}', json.dumps({"watch": ["a"] * 1001})):
        async with events.socket("topics=history") as ear:
            await ear.socket.send_str(said)
            assert (await ear.next("bye"))["code"] == "invalid_input"


@pytest.mark.parametrize(
    ("query", "field"),
    [("topics=weather", "topics"), ("top=51", "top"), ("since=x", "since"), ("since=-1", "since"), ("speed=1", "speed"),
     ("watch=" + ",".join(["a"] * 1001), "watch")],
)  # fmt: skip
async def test_bad_questions_are_refused(events: Events, query: str, field: str) -> None:
    assert await events.refused(query) == (400, field)


async def test_nobody_listens_and_nothing_is_kept(site: FakeSite, events: Events) -> None:
    hub = site.nodes["m"].hub
    async with events.socket(f"watch={A}") as ear:
        await ear.next("tasks")
        assert hub.subscribers == 1
    await until(lambda: hub.subscribers == 0 and not hub._rows and not hub._nodes)
