"""The conversation with aria2, against a server that says what the test says."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import WSMsgType, web

from ariacluster.domain.errors import Unavailable
from ariacluster_node.adapters.aria2.rpc import Call, Refused, Rpc
from tests.support.processes import until
from tests.support.serving import port_of, served

Say = Callable[[Any], Awaitable[None]]


class Server:
    """Answers getVersion as aria2 does, and leaves everything else to `answer`."""

    def __init__(self) -> None:
        self.port = 0
        self.heard: list[dict[str, Any]] = []
        self.sockets: list[web.WebSocketResponse] = []
        self.answer: Callable[[dict[str, Any], Say], Awaitable[None]] = self.nothing

    async def nothing(self, request: dict[str, Any], say: Say) -> None:
        """A hang."""

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.sockets.append(socket)
        async for frame in socket:
            assert frame.type is WSMsgType.TEXT
            said = json.loads(frame.data)
            self.heard.append(said)
            if said["params"][0] != "token:right" and said["method"] != "system.multicall":
                await socket.send_json({"id": said["id"], "error": {"code": 1, "message": "Unauthorized"}})
            elif said["method"] == "aria2.getVersion":
                await socket.send_json({"id": said["id"], "jsonrpc": "2.0", "result": {"version": "1.37.0"}})
            else:
                await self.answer(said, socket.send_json)
        return socket


@pytest.fixture(params=["127.0.0.1", "::1"])
async def server(request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    """On either loopback: where there is no other IPv4 address, some builds listen on IPv6's alone."""
    server = Server()
    app = web.Application()
    app.router.add_get("/jsonrpc", server.serve)
    async with served(app, request.param) as runner:
        server.port = port_of(runner)
        yield server


@pytest.fixture
async def rpc(server: Server) -> AsyncIterator[Rpc]:
    rpc = await Rpc.open(server.port, "right")
    yield rpc
    await rpc.close()


async def test_shows_the_secret_before_all_else(server: Server, rpc: Rpc) -> None:
    assert [(said["method"], said["params"]) for said in server.heard] == [("aria2.getVersion", ["token:right"])]


async def test_another_engine_behind_the_port(server: Server) -> None:
    with pytest.raises(Refused, match="Unauthorized"):
        await Rpc.open(server.port, "wrong")


async def test_nobody_behind_the_port(unused_tcp_port: int) -> None:
    with pytest.raises(Unavailable):
        await Rpc.open(unused_tcp_port, "right")


async def test_answers_find_their_questions_in_any_order(server: Server, rpc: Rpc) -> None:
    held: list[dict[str, Any]] = []

    async def backwards(request: dict[str, Any], say: Say) -> None:
        held.append(request)
        if len(held) == 2:
            for one in reversed(held):
                await say({"id": one["id"], "result": one["params"][1]})

    server.answer = backwards
    answers = await asyncio.gather(rpc.call("aria2.x", "first"), rpc.call("aria2.x", "second"))
    assert list(answers) == ["first", "second"]


async def test_an_error_has_code_and_text(server: Server, rpc: Rpc) -> None:
    async def refuse(request: dict[str, Any], say: Say) -> None:
        await say({"id": request["id"], "error": {"code": 1, "message": "No URI to download."}})

    server.answer = refuse
    with pytest.raises(Refused) as refused:
        await rpc.call("aria2.addUri", [])
    assert (refused.value.code, refused.value.message) == (1, "No URI to download.")


async def test_a_multicall_carries_the_secret_inside_and_tells_results_from_errors(server: Server, rpc: Rpc) -> None:
    async def answer(request: dict[str, Any], say: Say) -> None:
        await say({"id": request["id"], "result": [[["a"]], {"code": 1, "message": "GID is not found"}]})

    server.answer = answer
    first, second = await rpc.multicall([Call("aria2.tellActive", (["gid"],)), Call("aria2.tellStatus", ("b",))])
    assert first == ["a"]
    assert isinstance(second, Refused) and second.message == "GID is not found"
    assert server.heard[-1]["params"] == [
        [
            {"methodName": "aria2.tellActive", "params": ["token:right", ["gid"]]},
            {"methodName": "aria2.tellStatus", "params": ["token:right", "b"]},
        ]
    ]


async def test_silence_has_an_end_and_a_late_answer_harms_nobody(server: Server, rpc: Rpc) -> None:
    with pytest.raises(Unavailable, match="did not answer"):
        await rpc.call("aria2.x", timeout=0.05)

    async def late(request: dict[str, Any], say: Say) -> None:
        await say({"id": request["id"] - 1, "result": "to the one before"})
        await say({"id": request["id"], "result": "mine"})

    server.answer = late
    assert await rpc.call("aria2.x") == "mine"


async def test_events_are_handed_on(server: Server, rpc: Rpc) -> None:
    events: list[tuple[str, str]] = []
    rpc.on_event = lambda method, gid: events.append((method, gid))
    await server.sockets[0].send_json({"jsonrpc": "2.0", "method": "aria2.onDownloadStop", "params": [{"gid": "aa"}]})
    await until(lambda: events, "an event")
    assert events == [("aria2.onDownloadStop", "aa")]


async def test_the_end_of_the_connection_ends_what_waits(server: Server, rpc: Rpc) -> None:
    waiting = asyncio.create_task(rpc.call("aria2.x"))
    await until(lambda: len(server.heard) == 2, "the call is under way")
    await server.sockets[0].close()
    with pytest.raises(Unavailable):
        await waiting
    assert rpc.closed.is_set()
    with pytest.raises(Unavailable):
        await rpc.call("aria2.x")


async def test_closing_ends_what_waits_and_may_be_repeated(server: Server, rpc: Rpc) -> None:
    waiting = asyncio.create_task(rpc.call("aria2.x"))
    await until(lambda: len(server.heard) == 2, "the call is under way")
    await rpc.close()
    await rpc.close()
    with pytest.raises(Unavailable):
        await waiting


async def test_nonsense_ends_the_connection(server: Server, rpc: Rpc) -> None:
    await server.sockets[0].send_str("nonsense")
    await asyncio.wait_for(rpc.closed.wait(), 5)
