"""Who may ask a node, and how: names, origins, packed and oversized bodies, and what stands on every answer."""

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest

from ariacluster.domain.commands import Register
from ariacluster.domain.member import Member
from ariacluster_node.api import answers as answers_room
from ariacluster_node.api import events as events_api
from ariacluster_node.api import gate as room
from ariacluster_node.api.app import make_app
from ariacluster_node.api.gate import Gate, opened
from tests.support.fake_site import FakeSite, until


class Line:
    """A bare connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def say(self, text: str | bytes) -> None:
        self.writer.write(text.encode() if isinstance(text, str) else text)
        await self.writer.drain()

    async def head(self) -> tuple[int, dict[str, str]]:
        """Status and headers of an answer."""
        async with asyncio.timeout(5):
            lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        fields = dict(line.split(": ", 1) for line in lines[1:] if line)
        return int(lines[0].split()[1]), {name.lower(): value for name, value in fields.items()}

    async def ended(self) -> bool:
        """Did the other end hang up?"""
        try:
            async with asyncio.timeout(5):
                while await self.reader.read(65536):
                    pass
        except ConnectionError:
            pass
        return True


class Door:
    def __init__(self, gate: Gate, port: int) -> None:
        self.gate, self.port = gate, port
        self.lines: list[Line] = []

    async def line(self) -> Line:
        line = Line(*await asyncio.open_connection("127.0.0.1", self.port))
        self.lines.append(line)
        return line

    async def ask(
        self, headers: Mapping[str, str], *, method: str = "GET", path: str = "/livez", body: bytes = b""
    ) -> tuple[int, dict[str, str]]:
        line = await self.line()
        said = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        await line.say(f"{method} {path} HTTP/1.1\r\n{said}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        return await line.head()


@pytest.fixture
async def site() -> FakeSite:
    site = FakeSite()
    await site.up("m")
    return site


@asynccontextmanager
async def served(site: FakeSite) -> AsyncIterator[Door]:
    node = site.nodes["m"]
    app = make_app(node.services, allowed_hosts=["Aria.Example.org:8000"])
    events_api.open_to(app, node.hub)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        async with opened(app, taken) as gate:
            door = Door(gate, taken.getsockname()[1])
            try:
                yield door
            finally:
                for line in door.lines:
                    line.writer.close()


@pytest.fixture
async def door(site: FakeSite) -> AsyncIterator[Door]:
    async with served(site) as door:
        yield door


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1:8000", "[::1]:8000", "[fe80::1%eth0]", "localhost:1", "nas", "NAS:80", "nas.local", "nas.local.",
     "nas.lan", "nas.home.arpa", "aria.example.org", "ARIA.example.org:443", "192.0.2.7", "node.known.example"],
)  # fmt: skip
async def test_names_of_this_node(site: FakeSite, door: Door, host: str) -> None:
    await site.say(Register(Member(id="x" * 8, name="Node.known.example", address="198.51.100.1", port=1, raft="x:2")))
    assert (await door.ask({"Host": host}))[0] == 200
    assert (await door.ask({"Host": host, "Origin": f"http://{host}"}))[0] in (200, 403)


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "nas.local.evil.example", "evil.example#nas", "", "@nas",
     "nas@evil.example", "nas/evil.example", "aria.example.org.evil.example", "nas:x", "[::1", "1.2.3", "local.example"],
)  # fmt: skip
async def test_a_name_that_somebody_else_has_is_refused(door: Door, host: str) -> None:
    for path in ("/livez", "/tasks", "/events"):
        assert (await door.ask({"Host": host}, path=path))[0] == 403, path


async def test_a_request_has_one_host_or_none_at_all(door: Door) -> None:
    line = await door.line()
    await line.say("GET /livez HTTP/1.1\r\nHost: nas\r\nHost: evil.example\r\n\r\n")
    assert (await line.head())[0] == 400
    line = await door.line()
    await line.say("GET /livez HTTP/1.0\r\n\r\n")
    assert (await line.head())[0] == 200


@pytest.mark.parametrize(
    ("origin", "status"),
    [("http://nas:8000", 200), ("https://nas:8000", 200), ("http://nas", 403), ("http://evil.example", 403), ("null", 403),
     ("http://nas:8080", 403), ("http://nas:8000.evil.example", 403), ("", 403), ("file://", 403), ("http://nas:x", 403),
     ("http://evil.example:8000", 403)],
)  # fmt: skip
async def test_a_page_of_another_site_may_not_ask(door: Door, origin: str, status: int) -> None:
    assert (await door.ask({"Host": "nas:8000", "Origin": origin}))[0] == status
    socket_headers = {
        "Host": "nas:8000",
        "Origin": origin,
        "Upgrade": "websocket",
        "Connection": "upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    assert (await door.ask(socket_headers, path="/events"))[0] == (101 if status == 200 else 403)


async def test_a_browser_that_says_where_it_comes_from_changes_nothing(door: Door) -> None:
    for told, status in (("cross-site", 403), ("same-site", 403), ("same-origin", 415), ("none", 415)):
        head = {"Host": "nas", "Sec-Fetch-Site": told}
        assert (await door.ask(head, method="POST", path="/tasks"))[0] == status
    assert (await door.ask({"Host": "nas", "Sec-Fetch-Site": "cross-site"}))[0] == 200, "a link may lead here"


@pytest.mark.parametrize("packed", ["gzip", "deflate", "br", "zstd", "gzip, gzip", "x"])
async def test_nothing_is_unpacked(door: Door, packed: str) -> None:
    head = {"Host": "nas", "Content-Type": "application/json", "Content-Encoding": packed}
    assert (await door.ask(head, method="POST", path="/tasks", body=b"\x1f\x8b" + b"\0" * 900))[0] == 415


async def test_a_body_is_bounded_however_it_comes(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    head = "POST /tasks/bulk HTTP/1.1\r\nHost: nas\r\nContent-Type: application/json\r\n"
    monkeypatch.setattr(answers_room, "BODY_WITHIN", 0.05)
    line = await door.line()
    await line.say(f"{head}Content-Length: 99999999\r\n\r\n")
    assert (await line.head())[0] == 413
    line = await door.line()
    await line.say(f"{head}Transfer-Encoding: chunked\r\n\r\n")
    for _ in range(20):
        await line.say(b"10000\r\n" + b" " * 65536 + b"\r\n")
    assert (await line.head())[0] == 413
    monkeypatch.setattr(answers_room, "BODY_WITHIN", 0.05)
    line = await door.line()
    await line.say(f"{head}Content-Length: 9\r\n\r\n{{")
    assert (await line.head())[0] == 408
    nested = b'{"url": "http://o/f", "options": {"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}}"
    headers = {"Host": "nas", "Content-Type": "application/json"}
    assert (await door.ask(headers, method="POST", path="/tasks", body=nested))[0] == 400


async def test_every_answer_protects_its_reader(door: Door) -> None:
    for path, host in (("/livez", "nas"), ("/nothing", "nas"), ("/livez", "evil.example"), ("/events", "nas")):
        _, headers = await door.ask({"Host": host}, path=path)
        assert headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["cache-control"] == "no-store"
        assert headers["server"] == "ariacluster"


async def test_the_silent_make_room_for_those_who_ask(site: FakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MAX_SILENT", 3)
    async with served(site) as door:
        slow = [await door.line() for _ in range(5)]
        for line in slow:
            await line.say("GET /livez HTTP/1.1\r\nHost: n")
        assert (await door.ask({"Host": "nas"}))[0] == 200
        assert await slow[0].ended()
        await until(lambda: door.gate.guests <= 4)
        await slow[-1].say("as\r\n\r\n")
        assert (await slow[-1].head())[0] == 200, "who is slow and yet in time is served"


async def test_idle_connections_make_room(site: FakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MAX_GUESTS", 3)
    async with served(site) as door:
        for _ in range(6):
            assert (await door.ask({"Host": "nas"}))[0] == 200
            await until(lambda: door.gate.guests <= 3)


async def test_who_never_ends_its_headers_is_turned_out(site: FakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "ASK_WITHIN", 0.05)
    monkeypatch.setattr(room, "SWEEP", 0.02)
    async with served(site) as door:
        line = await door.line()
        await line.say("GET /livez HTTP/1.1\r\nX: ")
        assert await line.ended()
        assert door.gate.guests == 0


async def test_who_asks_and_does_not_listen_is_turned_out(site: FakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "LISTEN_WITHIN", 0.1)
    monkeypatch.setattr(room, "SWEEP", 0.02)
    monkeypatch.setattr(site.nodes["m"].overviews, "cluster", lambda: "x" * 20_000_000)
    async with served(site) as door:
        line = await door.line()
        await line.say("GET /cluster HTTP/1.1\r\nHost: nas\r\n\r\n")
        await until(lambda: door.gate.guests == 1)
        await until(lambda: door.gate.guests == 0)
