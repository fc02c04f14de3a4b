"""The stream of events against a scripted server: resuming, going on elsewhere, watching, and what is not understood."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from aiohttp import web

from ariacluster.client import stream as room
from ariacluster.client.stream import EventStream, Lost
from ariacluster.wire.events import Bye, Frame, Hello, History
from ariacluster.wire.resources import HistoryEntry, NamedId
from tests.support.serving import port_of, served

Script = Callable[[web.WebSocketResponse, web.Request], Awaitable[None]]


def hello(seq: int = 0, *, resumed: bool = False) -> Hello:
    return Hello(node=NamedId("n", "n"), version="0", seq=seq, resumed=resumed)


def entry(seq: int) -> History:
    return History(entry=HistoryEntry(seq=seq, at=datetime.now(UTC), kind="task_submitted", text="."))


class Server:
    """Each connection is served by the next script; None refuses it. `asked` is what was asked for."""

    def __init__(self) -> None:
        self.scripts: list[Script | None] = []
        self.asked: list[dict[str, str]] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(dict(request.query))
        script = self.scripts.pop(0) if self.scripts else None
        if script is None:
            raise web.HTTPServiceUnavailable
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await script(socket, request)
        return socket


def tells(*frames: Frame | dict[str, Any], stay: bool = False) -> Script:
    async def script(socket: web.WebSocketResponse, request: web.Request) -> None:
        for frame in frames:
            await socket.send_str(msgspec.json.encode(frame).decode())
        if stay:
            await socket.receive()

    return script


@asynccontextmanager
async def running() -> AsyncIterator[Server]:
    server = Server()
    app = web.Application()
    app.router.add_get("/events", server.answer)
    async with served(app) as runner:
        server.url = f"http://127.0.0.1:{port_of(runner)}"
        yield server


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "FIRST_PAUSE", 0.005)
    monkeypatch.setattr(room, "LONGEST_PAUSE", 0.02)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with running() as server:
        yield server


async def take(stream: EventStream, count: int) -> list[Frame | Lost]:
    async with asyncio.timeout(5):
        return [await anext(stream) for _ in range(count)]


async def test_it_goes_on_by_number_after_a_loss(server: Server) -> None:
    server.scripts = [
        tells(hello(6), entry(7), entry(8)),
        None,
        tells(hello(9, resumed=True), entry(8), entry(9), stay=True),
    ]
    async with EventStream([server.url], topics=["history"]) as stream:
        told = await take(stream, 6)
        assert [type(one) for one in told] == [Hello, History, History, Lost, Hello, History]
        assert isinstance(told[-1], History) and told[-1].entry.seq == 9, "8 was told before"
        assert stream.since == 9
    assert [asked.get("since") for asked in server.asked] == [None, "8", "8"]


async def test_a_start_in_the_middle(server: Server) -> None:
    server.scripts = [tells(hello(5, resumed=True), entry(4), entry(5), stay=True)]
    async with EventStream([server.url], since=3, top=4) as stream:
        assert [one.entry.seq for one in await take(stream, 3) if isinstance(one, History)] == [4, 5]
    assert server.asked == [{"topics": "summary,nodes,tasks,history", "since": "3", "top": "4"}]


async def test_what_is_forgotten_is_not_waited_for(server: Server) -> None:
    server.scripts = [tells(hello(2), entry(3), stay=True)]
    async with EventStream([server.url], since=900) as stream:
        first, second = await take(stream, 2)
        assert isinstance(first, Hello) and not first.resumed
        assert isinstance(second, History) and second.entry.seq == 3, "its numbers are smaller than those before"


async def test_another_node_takes_over(server: Server) -> None:
    async with running() as other:
        server.scripts = [tells(hello(1), Bye(code="not_ready", reason="The node is stopping."))]
        other.scripts = [tells(hello(1, resumed=True), stay=True)]
        async with EventStream([server.url, other.url]) as stream:
            told = await take(stream, 3)
            assert [type(one) for one in told] == [Hello, Lost, Hello]
            assert told[1] == Lost("The node is stopping.")
            assert stream.url == other.url


async def test_a_loss_is_told_once(server: Server) -> None:
    server.scripts = [None, None, None, tells(hello(), stay=True)]
    async with EventStream([server.url]) as stream:
        assert [type(one) for one in await take(stream, 2)] == [Lost, Hello]
    async with EventStream(["http://127.0.0.1:9"]) as stream:
        [lost] = await take(stream, 1)
        assert lost == Lost("The node cannot be reached.")


async def test_what_is_watched_is_said_again_to_the_next(server: Server) -> None:
    heard: list[Any] = []

    async def listening(socket: web.WebSocketResponse, request: web.Request) -> None:
        await socket.send_str(msgspec.json.encode(hello()).decode())
        heard.append(json.loads(await socket.receive_str()))

    server.scripts = [listening, listening, tells(hello(), stay=True)]
    async with EventStream([server.url]) as stream:
        await take(stream, 1)
        await stream.watch(["a", "b"], top=3)
        assert [type(one) for one in await take(stream, 4)] == [Lost, Hello, Lost, Hello]
    assert heard == [{"watch": ["a", "b"], "top": 3}] * 2
    assert server.asked[1]["top"] == "3"


async def test_what_a_newer_node_tells_is_passed_over(server: Server) -> None:
    server.scripts = [tells({"type": "weather", "rain": True}, hello(), stay=True)]
    async with EventStream([server.url]) as stream:
        assert isinstance((await take(stream, 1))[0], Hello)


async def test_a_reader_that_is_interrupted_may_go_on(server: Server) -> None:
    server.scripts = [tells(hello(), stay=True)]
    async with EventStream([server.url]) as stream:
        await take(stream, 1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await anext(stream)
        assert len(server.asked) == 1, "the connection was kept"
