"""The links over real sockets of the loopback."""

import asyncio
import contextlib
import errno
import os
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import psutil
import pytest
from structlog.testing import capture_logs

from ariacluster_node.adapters.raft.wire.link import MAX_BACKLOG_BYTES
from ariacluster_node.adapters.raft.wire.links import Links
from ariacluster_node.adapters.raft.wire.messages import LeadNow, Message, Piece
from ariacluster_node.adapters.raft.wire.sockets import Sockets

SECRET = bytes(range(32))


async def until(condition: Callable[[], bool], *, within: float = 10.0) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.005)


class Node:
    """Links on sockets, ticked as their owner does: after work, and each 20 ms."""

    def __init__(self, name: str, address: str = "127.0.0.1", port: int = 0) -> None:
        self.name = name
        self.sock = socket.create_server((address, port), family=socket.AF_INET6 if ":" in address else socket.AF_INET)
        self.port = self.sock.getsockname()[1]
        self.address = f"[{address}]:{self.port}" if ":" in address else f"{address}:{self.port}"
        self.got: list[tuple[str, Message]] = []
        self.ups = self.downs = 0
        self.on_message: Callable[[str, Message], None] = lambda peer, message: None
        self.sockets = Sockets(lambda: self.links.tick())
        self.links = Links(
            name,
            secret=SECRET,
            port=self.port,
            wire=self.sockets,
            clock=time.monotonic,
            entropy=os.urandom,
            on_connected=self._up,
            on_disconnected=self._down,
            on_messages=self._messages,
        )
        self.sockets.attach(self.links)
        self.ticking: asyncio.Task[None] | None = None

    def _up(self, peer: str) -> None:
        self.ups += 1

    def _down(self, peer: str) -> None:
        self.downs += 1

    def _messages(self, peer: str, messages: list[Message]) -> None:
        for message in messages:
            self.got.append((peer, message))
            self.on_message(peer, message)

    async def start(self) -> "Node":
        await self.sockets.start(self.sock)
        self.ticking = asyncio.create_task(self._tick())
        return self

    async def _tick(self) -> None:
        while True:
            self.links.tick()
            await asyncio.sleep(0.02)

    def say(self, peer: str, message: Message) -> None:
        assert self.links.send(peer, message)
        self.links.flush()

    async def stop(self) -> None:
        if self.ticking is not None:
            self.ticking.cancel()
            await asyncio.gather(self.ticking, return_exceptions=True)
            self.ticking = None
        self.links.close()
        await self.sockets.close()

    async def die(self) -> None:
        """As if it was killed: the links are not told."""
        assert self.ticking is not None
        self.ticking.cancel()
        await asyncio.gather(self.ticking, return_exceptions=True)
        self.ticking = None
        await self.sockets.close()


Start = Callable[..., Awaitable[Node]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    nodes: list[Node] = []

    async def begin(name: str, **more: Any) -> Node:
        nodes.append(Node(name, **more))
        return await nodes[-1].start()

    yield begin
    for node in nodes:
        await node.stop()


def introduce(*nodes: Node) -> None:
    for node in nodes:
        for other in nodes:
            node.links.learn(other.name, other.address)
        node.links.want({other.name for other in nodes})


async def linked(start: Start, *names: str) -> list[Node]:
    nodes = [await start(name) for name in names]
    introduce(*nodes)
    await until(lambda: all(len(node.links.connected) == len(nodes) - 1 for node in nodes))
    return nodes


async def check(one: Node, other: Node) -> None:
    one.got.clear()
    other.got.clear()
    one.say(other.name, LeadNow(1))
    other.say(one.name, LeadNow(2))
    await until(lambda: other.got == [(one.name, LeadNow(1))] and one.got == [(other.name, LeadNow(2))])


def piece(size: int) -> Piece:
    return Piece(term=1, index=1, index_term=1, size=size, offset=0, data=os.urandom(size), sent=0.0)


async def test_links_of_three(start: Start) -> None:
    a, b, c = await linked(start, "a", "b", "c")
    await check(a, b)
    await check(b, c)
    await check(c, a)
    assert (a.ups, a.downs) == (2, 0)
    sent = [piece(size) for size in (1, 100_000, 1_000_000, 7) * 5]
    for message in sent:
        a.links.send("c", message)
    a.links.flush()
    await until(lambda: len(c.got) > len(sent))
    assert [message for _, message in c.got[1:]] == sent


@pytest.mark.parametrize("killed", ["a", "b"])
async def test_a_killed_node_comes_back_at_its_port(start: Start, killed: str) -> None:
    a, b = await linked(start, "a", "b")
    old, other = (a, b) if killed == "a" else (b, a)
    await old.die()
    await until(lambda: other.downs == 1)
    assert other.links.connected == frozenset()
    new = await start(killed, port=old.port)
    introduce(new, other)
    await until(lambda: bool(new.links.connected and other.links.connected), within=4)
    await check(new, other)


async def test_nobody_needs_to_be_there_at_first(start: Start) -> None:
    a = await start("a")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    a.links.learn("b", f"127.0.0.1:{port}")
    a.links.want({"b"})
    await asyncio.sleep(0)
    b = await start("b", port=port)
    await until(lambda: a.links.connected == {"b"}, within=4)
    await until(lambda: b.links.connected == {"a"})


@pytest.mark.parametrize(
    "address", ["", "no-port", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:99999", ":1", "x" * 300 + ":1", "127.0.0.1:-1"]
)
async def test_an_address_that_is_none_fails(start: Start, address: str) -> None:
    a = await start("a")
    failed: list[bool] = []

    class Dialing:
        def opened(self, stream: object) -> None:
            raise AssertionError

        def failed(self) -> None:
            failed.append(True)

        def received(self, data: bytes) -> None: ...

        def lost(self) -> None: ...

    a.sockets.dial(address, Dialing())
    assert not failed  # not from inside
    await until(lambda: failed == [True])


async def test_a_name_is_resolved(start: Start) -> None:
    a, b = await start("a"), await start("b")
    a.links.learn("b", f"localhost:{b.port}")
    a.links.want({"b"})
    await until(lambda: a.links.connected == {"b"} and b.links.connected == {"a"})


async def test_ipv6(start: Start) -> None:
    try:
        a, b = await start("a", address="::1"), await start("b", address="::1")
    except OSError:
        pytest.skip("no IPv6 on this machine")
    introduce(a, b)
    await until(lambda: a.links.connected == {"b"} and b.links.connected == {"a"})
    assert b.links.addresses["a"] == a.address
    await check(a, b)


async def test_ipv4_on_an_ipv6_socket_is_told_as_ipv4(start: Start) -> None:
    a, b = await start("a"), Node("b")
    b.sock.close()
    try:
        b.sock = socket.create_server(("::", b.port), family=socket.AF_INET6, dualstack_ipv6=True)
    except OSError:
        pytest.skip("no IPv6 on this machine")
    await b.start()
    a.links.learn("b", b.address)
    a.links.want({"b"})
    await until(lambda: b.links.connected == {"a"})
    assert b.links.addresses == {"a": a.address}
    await b.stop()


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
        b"\xff\xff\xff\xff",
        struct.pack(">I", 48) + bytes(48),
    ],
)
async def test_garbage_is_hung_up_on_at_once(start: Start, garbage: bytes) -> None:
    a, b = await linked(start, "a", "b")
    reader, writer = await asyncio.open_connection("127.0.0.1", b.port)
    with capture_logs():
        writer.write(garbage)
        async with asyncio.timeout(1):  # long before the handshake's limit
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
    writer.close()
    await check(a, b)
    assert a.downs == b.downs == 0


async def test_strangers_who_say_nothing_disturb_nobody(start: Start) -> None:
    a, b = await linked(start, "a", "b")
    with capture_logs():
        strangers = [await asyncio.open_connection("127.0.0.1", b.port) for _ in range(200)]
        await check(a, b)
        c = await start("c")
        introduce(a, b, c)
        await until(lambda: c.links.connected == {"a", "b"})
        async with asyncio.timeout(6):
            for reader, writer in strangers:
                with contextlib.suppress(ConnectionResetError):
                    assert await reader.read() == b""
                writer.close()
    await check(a, b)
    assert a.downs == b.downs == 0


async def test_a_huge_length_costs_no_memory(start: Start) -> None:
    a, b = await linked(start, "a", "b")
    before = psutil.Process().memory_info().rss
    with capture_logs():
        for length in (0x7FFFFFFF, 257, 0xFFFFFFFF):
            reader, writer = await asyncio.open_connection("127.0.0.1", b.port)
            with contextlib.suppress(ConnectionError):
                writer.write(struct.pack(">I", length) + bytes(20_000_000))
                await writer.drain()
                assert await reader.read() == b""
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
    assert psutil.Process().memory_info().rss - before < 100_000_000
    await check(a, b)


async def test_a_peer_that_does_not_read(start: Start) -> None:
    """It is alive, and says so, but its program takes nothing: first it gets nothing big, at 16 MiB it is let go."""
    a, b = await linked(start, "a", "b")
    (connection,) = b.sockets._open
    assert connection._transport is not None
    connection._transport.pause_reading()
    message = piece(500_000)
    sent = 0
    while not a.links.congested("b"):
        a.say("b", message)
        sent += 500_000
        assert sent < 100_000_000
        await asyncio.sleep(0)
    assert a.links.connected == {"b"}
    for _ in range(MAX_BACKLOG_BYTES // 500_000 + 1):
        if not a.links.send("b", message):
            break
        a.links.flush()
    await until(lambda: a.downs == 1, within=1)


async def test_a_listener_outlives_a_lack_of_files(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    refusals = [errno.EMFILE, errno.ECONNABORTED, errno.EMFILE]
    accept = loop.sock_accept

    async def scarce(sock: socket.socket) -> Any:
        if refusals:
            raise OSError(refusals.pop(), "too many open files")
        return await accept(sock)

    monkeypatch.setattr(loop, "sock_accept", scarce)
    with capture_logs() as logs:
        a, b = await linked(start, "a", "b")
    await check(a, b)
    assert not refusals
    assert len([line for line in logs if line["event"] == "cannot accept connections"]) <= 2  # once a node


@pytest.mark.parametrize("error", [ValueError("of ours"), OSError("of the disk")])
async def test_what_a_callback_raises_reaches_the_loop(start: Start, error: Exception) -> None:
    a, b = await linked(start, "a", "b")
    seen: list[BaseException] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: seen.append(context["exception"]))

    def fail(peer: str, message: Message) -> None:
        raise error

    b.on_message = fail
    a.say("b", LeadNow(1))
    await until(lambda: seen == [error])
    await until(lambda: a.downs == 1)  # and the connection goes
    b.on_message = lambda peer, message: None
    await until(lambda: a.links.connected == {"b"} and b.links.connected == {"a"}, within=4)


async def test_a_listener_that_fails_is_heard_of(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    seen: list[BaseException] = []
    loop.set_exception_handler(lambda loop, context: seen.append(context["exception"]))
    failure = LookupError()

    async def broken(sock: socket.socket) -> Any:
        raise failure

    monkeypatch.setattr(loop, "sock_accept", broken)
    await start("a")
    await until(lambda: seen == [failure])


async def test_closed_while_dialing_and_talking(start: Start) -> None:
    a, b = await linked(start, "a", "b")
    a.links.learn("c", "192.0.2.1:1")  # nobody answers there (RFC 5737)
    a.links.learn("d", "localhost:1")
    a.links.want({"b", "c", "d"})
    a.links.tick()
    a.say("b", piece(500_000))
    before = set(psutil.Process().net_connections("tcp"))
    assert before
    await a.stop()
    await b.stop()
    own = {connection.laddr.port for connection in psutil.Process().net_connections("tcp") if connection.laddr}
    assert not own & {a.port, b.port}
    assert a.sockets._tasks == set() and a.sockets._open == {}
