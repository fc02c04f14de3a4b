"""What every way of reporting keeps to: the fake and WebSockets on loopback run the same bodies."""

import asyncio
import base64
import contextlib
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

from ariacluster.domain.errors import AriaClusterError, Forbidden, NoLeader, PayloadTooLarge, Unavailable
from ariacluster.domain.member import Progress, Report
from ariacluster.wire.deltas import News, Teller
from ariacluster.wire.peers import MAX_REPORT, OverviewFrame, ReportFrame, encode, peer_token
from ariacluster.wire.routes import PEER_KEY, PEER_REPORTS
from ariacluster_node.adapters.peers import http as peers_room
from ariacluster_node.adapters.peers.http import HttpPeers
from ariacluster_node.api import peers as api_room
from ariacluster_node.api.app import make_app
from ariacluster_node.lifecycle import cancelled_at_exit
from ariacluster_node.ports import Reporting
from ariacluster_node.services.reports import Line
from tests.support import serving
from tests.support.fake_site import WELCOME, FakeSite, SiteNode, turns, until

KEY = bytes.fromhex(WELCOME.key)


class Way:
    """A cluster of two, `a` leads, and a way for `b` to report to either. `doors` by name."""

    def __init__(self, site: FakeSite) -> None:
        self.site = site
        self.a, self.b = site.nodes["a"], site.nodes["b"]
        self.doors: dict[str, str] = {}
        self.link: Reporting = site.peers
        self.set_key: Callable[[bytes], None]
        self.cut: Callable[[str], Awaitable[None]]


def served(node: SiteNode) -> contextlib.AbstractAsyncContextManager[web.AppRunner]:
    return serving.served(make_app(node.services), handler_cancellation=True, shutdown_timeout=0.2)


@pytest.fixture(params=["fake", "websocket"])
async def way(request: pytest.FixtureRequest) -> AsyncIterator[Way]:
    site = FakeSite()
    await site.up("ab")
    way = Way(site)
    if request.param == "fake":
        way.doors = {name: node.door for name, node in site.nodes.items()}

        def know(key: bytes) -> None:
            site.peers.key = key

        async def lose(name: str) -> None:
            site.peers.cut(way.doors[name])

        way.set_key, way.cut = know, lose
        yield way
        return
    async with contextlib.AsyncExitStack() as stack:
        runners = {name: await stack.enter_async_context(served(node)) for name, node in site.nodes.items()}
        way.doors = {name: f"127.0.0.1:{serving.port_of(runner)}" for name, runner in runners.items()}
        way.link = peers = HttpPeers()
        await peers.start()
        stack.push_async_callback(peers.stop)
        peers.key = KEY

        def know_it(key: bytes) -> None:
            peers.key = key

        async def kill(name: str) -> None:
            await runners[name].cleanup()

        way.set_key, way.cut = know_it, kill
        yield way


def said(node: SiteNode, number: int = 1, *, cpu: float = 1.0, watching: bool = False, got: int = 0) -> ReportFrame:
    news = Teller().tell({node.me.id: (Report(node=node.me.id, cpu=cpu), 1.0)}, 1.0)
    return ReportFrame(news=msgspec.structs.replace(news, number=number), watching=watching, got=got)


def cpu(leader: SiteNode, node: SiteNode) -> Callable[[], float | None]:
    return lambda: heard[0].cpu if (heard := leader.roster.heard().get(node.me.id)) else None


async def test_reports_arrive_in_order_on_one_stream(way: Way) -> None:
    async with way.link.stream(way.doors["a"]) as stream:
        for number in range(1, 8):
            await stream.send(said(way.b, number, cpu=float(number)))
        await until(lambda: cpu(way.a, way.b)() == 7.0)
        assert way.a.roster.view(way.b.me.id).online
    # Who hangs up is given nothing more.
    await until(lambda: not way.a.roster.view(way.b.me.id).online)


async def test_the_overview_comes_back_when_it_is_watched(way: Way) -> None:
    way.a.roster.hear(Report(node=way.a.me.id, cpu=5.0, tasks={"t": Progress(attempt=1, completed=7)}))
    way.site.clock.advance(3)
    async with way.link.stream(way.doors["a"]) as stream:
        await stream.send(said(way.b))
        coming = asyncio.ensure_future(stream.receive())
        await until(lambda: cpu(way.a, way.b)() == 1.0)
        await turns()
        assert not coming.done()
        await stream.send(said(way.b, 2, watching=True))
        frame = await coming
        assert (frame.term, frame.heard, frame.news.number) == (way.site.consensus.term, 2, 1)
        [told] = frame.news.nodes
        assert (told.node, told.age, told.delta.changes.cpu) == (way.a.me.id, 3.0, 5.0)
        assert told.delta.tasks["t"].completed == 7


async def test_only_one_frame_is_on_its_way_down(way: Way) -> None:
    async with way.link.stream(way.doors["a"]) as stream:
        await stream.send(said(way.b, 1, watching=True))
        await stream.send(said(way.b, 2, watching=True))
        assert (await stream.receive()).news.number == 1
        coming = asyncio.ensure_future(stream.receive())
        await stream.send(said(way.b, 3, cpu=3.0, watching=True))
        await until(lambda: cpu(way.a, way.b)() == 3.0)
        await turns()
        assert not coming.done()
        await stream.send(said(way.b, 4, watching=True, got=1))
        frame = await coming
        assert (frame.news.number, frame.heard) == (2, 4)


async def test_who_does_not_lead_refuses(way: Way) -> None:
    with pytest.raises(NoLeader):
        async with way.link.stream(way.doors["b"]):
            pytest.fail("it must not open")


async def test_the_stream_ends_with_the_lead(way: Way) -> None:
    async with cancelled_at_exit(way.a.reports.run()), way.link.stream(way.doors["a"]) as stream:
        await stream.send(said(way.b))
        await until(lambda: cpu(way.a, way.b)() == 1.0)
        coming = asyncio.ensure_future(stream.receive())
        await turns()
        way.site.consensus.lead(way.b.me.id)
        with pytest.raises(NoLeader):
            await asyncio.wait_for(coming, 5)
        async with way.link.stream(way.doors["b"]) as other:
            await other.send(said(way.a))
            await until(lambda: way.b.roster.view(way.a.me.id).online)


async def test_a_leader_that_notices_late_refuses_the_next_report(way: Way) -> None:
    async with way.link.stream(way.doors["a"]) as stream:
        await stream.send(said(way.b))
        await until(lambda: cpu(way.a, way.b)() == 1.0)
        way.site.consensus.leaseless.add(way.a.me.id)
        await stream.send(said(way.b, 2))
        with pytest.raises(NoLeader):
            await asyncio.wait_for(stream.receive(), 5)


async def test_a_lost_connection_is_told_to_both_ends(way: Way) -> None:
    async with way.link.stream(way.doors["a"]) as stream:
        await stream.send(said(way.b))
        await until(lambda: len(way.a.reports._lines) == 1)
        await way.cut("a")
        with pytest.raises(Unavailable):
            await asyncio.wait_for(stream.receive(), 5)
        with pytest.raises(Unavailable):
            await stream.send(said(way.b, 2))
    await until(lambda: not way.a.reports._lines)


async def test_a_stream_that_is_closed_is_over_for_the_leader(way: Way) -> None:
    async with way.link.stream(way.doors["a"]) as stream:
        await stream.send(said(way.b))
        await until(lambda: len(way.a.reports._lines) == 1)
    await until(lambda: not way.a.reports._lines)


async def test_a_door_where_nobody_is(way: Way) -> None:
    with pytest.raises(Unavailable):
        async with way.link.stream("127.0.0.1:9"):
            pytest.fail("it must not open")


async def test_another_key_is_refused(way: Way) -> None:
    way.set_key(b"\x01" * 32)
    with pytest.raises(Forbidden):
        async with way.link.stream(way.doors["a"]):
            pytest.fail("it must not open")
    assert not way.a.reports._lines


async def test_a_report_that_is_too_large_is_not_sent(way: Way) -> None:
    huge = Teller().tell({way.b.me.id: (Report(node=way.b.me.id, trouble="x" * MAX_REPORT), 1.0)}, 1.0)
    async with way.link.stream(way.doors["a"]) as stream:
        with pytest.raises(PayloadTooLarge):
            await stream.send(ReportFrame(news=huge))
    assert cpu(way.a, way.b)() is None


async def test_a_report_of_two_nodes_ends_the_stream(way: Way) -> None:
    both = Teller().tell({node.me.id: (Report(node=node.me.id), 1.0) for node in (way.a, way.b)}, 1.0)
    async with way.link.stream(way.doors["a"]) as stream:
        await stream.send(ReportFrame(news=both))
        with pytest.raises(AriaClusterError) as refused:
            await asyncio.wait_for(stream.receive(), 5)
    assert refused.value.code == "invalid_input"


# -- of the wire alone ------------------------------------------------------------------------------------------


@pytest.fixture
async def leader() -> AsyncIterator[tuple[SiteNode, str]]:
    site = FakeSite()
    [node] = await site.up("a")
    async with served(node) as runner:
        yield node, f"http://127.0.0.1:{serving.port_of(runner)}{PEER_REPORTS}"


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(headers={PEER_KEY: peer_token(KEY)}) as session:
        yield session


@pytest.mark.parametrize(
    ("send", "closed"),
    [
        (lambda ws: ws.send_bytes(b"\xc1garbage"), 4000),
        (lambda ws: ws.send_bytes(b""), 4000),
        (lambda ws: ws.send_bytes(b"\x92" * 100_000), 4000),
        (lambda ws: ws.send_str("hello"), 4000),
        (lambda ws: ws.send_bytes(b"\x00" * (MAX_REPORT + 1)), 1009),  # or a reset, when it was still sending
        (lambda ws: ws.send_bytes(encode(ReportFrame(news=News(number=1, whole=True)))), 4000),
    ],
    ids=["garbage", "nothing", "nested deeply", "text", "too large", "of nobody"],
)
async def test_what_is_no_report_ends_the_stream_and_nothing_else(
    leader: tuple[SiteNode, str],
    session: aiohttp.ClientSession,
    send: Callable[[aiohttp.ClientWebSocketResponse], Awaitable[None]],
    closed: int,
) -> None:
    node, url = leader
    async with session.ws_connect(url) as good, session.ws_connect(url) as bad:
        async with asyncio.timeout(5):
            with contextlib.suppress(OSError):
                await send(bad)
            assert (await bad.receive()).type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)
        assert bad.close_code in (closed, 1006 if closed == 1009 else closed)
        await good.send_bytes(encode(said(node, cpu=8.0)))
        await until(lambda: cpu(node, node)() == 8.0)


async def test_the_key_is_asked_for_before_the_upgrade(leader: tuple[SiteNode, str]) -> None:
    node, url = leader
    async with aiohttp.ClientSession() as stranger, stranger.get(url) as answer:
        assert (answer.status, (await answer.json(content_type=None))["code"]) == (403, "forbidden")
        for key in ("", "0" * 64, "ü"):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await stranger.ws_connect(url, headers={PEER_KEY: key})
            assert refused.value.status == 403
    assert not node.reports._lines


async def test_it_is_a_stream_and_no_page(leader: tuple[SiteNode, str], session: aiohttp.ClientSession) -> None:
    async with session.get(leader[1]) as answer:
        assert answer.status == 400
        assert "WebSocket" in (await answer.json(content_type=None))["detail"]


async def test_a_node_that_does_not_read_is_heard_and_holds_nobody_up(
    leader: tuple[SiteNode, str], session: aiohttp.ClientSession
) -> None:
    node, url = leader
    much = {f"{number:016x}": Progress(attempt=1, completed=number, total=number) for number in range(20_000)}
    node.roster.hear(Report(node=node.me.id, tasks=much))
    news = Teller().tell({"b" * 8: (Report(node="b" * 8, cpu=1.0), 1.0)}, 1.0)
    async with session.ws_connect(url, max_msg_size=0) as lazy:
        transport: Any = lazy._response.connection.transport if lazy._response.connection else None
        transport.pause_reading()
        for number in range(1, 5):
            frame = ReportFrame(news=msgspec.structs.replace(news, number=number), watching=True)
            await lazy.send_bytes(encode(frame))
            await until(lambda n=number: any(line._heard == n for line in node.reports._lines))  # type: ignore[misc]
            await until(lambda: all(line._teller.number == 1 for line in node.reports._lines))
        await turns()
        [line] = node.reports._lines
        assert line._teller.number == 1, "the first frame is on its way still"
        transport.resume_reading()


async def test_a_leader_that_falls_silent_is_noticed(
    leader: tuple[SiteNode, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when its machine vanishes: no answer, and no goodbye."""
    monkeypatch.setattr(peers_room, "HEARTBEAT", 0.05)
    ends = asyncio.Event()

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            key = next(
                line.split(b": ")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key")
            )
            writer.write(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: " + _accept(key) + b"\r\n\r\n"
            )
            await ends.wait()
        finally:
            writer.close()

    server = await asyncio.start_server(swallow, "127.0.0.1", 0)
    peers = HttpPeers()
    peers.key = KEY
    await peers.start()
    try:
        async with peers.stream(f"127.0.0.1:{server.sockets[0].getsockname()[1]}") as stream:
            with pytest.raises(Unavailable):
                await asyncio.wait_for(stream.receive(), 5)
    finally:
        ends.set()
        await peers.stop()
        server.close()
        await server.wait_closed()


async def test_a_node_that_falls_silent_is_noticed(
    leader: tuple[SiteNode, str], session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, url = leader
    monkeypatch.setattr(api_room, "HEARTBEAT", 0.05)
    async with session.ws_connect(url, autoping=False) as mute:
        await mute.send_bytes(encode(said(node)))
        await until(lambda: len(node.reports._lines) == 1)
        await until(lambda: not node.reports._lines)


async def test_an_overview_that_cannot_be_read_ends_the_stream(
    leader: tuple[SiteNode, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, url = leader

    async def odd(line: Line) -> OverviewFrame:
        await asyncio.sleep(0.01)
        return OverviewFrame(term="seven", news=News(number=1))  # type: ignore[arg-type]

    monkeypatch.setattr(Line, "next", odd)
    peers = HttpPeers()
    peers.key = KEY
    await peers.start()
    try:
        async with peers.stream(url.removeprefix("http://").removesuffix(PEER_REPORTS)) as stream:
            with pytest.raises(Unavailable):
                await asyncio.wait_for(stream.receive(), 5)
    finally:
        await peers.stop()


def _accept(key: bytes) -> bytes:
    """RFC 6455, section 4.2.2."""
    return base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11", usedforsecurity=False).digest())
