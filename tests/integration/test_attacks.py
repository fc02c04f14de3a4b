"""What an attacker on the LAN, or a page in somebody's browser, may try: each is refused, and the node serves on."""

import asyncio
import contextlib
import gzip
import random
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import psutil
import pytest
import pytest_asyncio

from tests.support import nodes
from tests.support.nodes import Node
from tests.support.show import webapp

pytestmark = [pytest.mark.integration, pytest.mark.timeout(150)]

SLOW = 5_000
TRAVERSALS = [
    "../x",
    "/etc/passwd",
    "a/../../x",
    "..",
    "a\\..\\..\\x",
    "%2e%2e/x",
    "x\0y",
    "~/x",
    "./../x",
    "a//../../b",
    "\n",
]
OPTIONS = {
    "on-download-complete": "/bin/sh", "on-bt-download-complete": "/bin/sh", "dir": "/etc", "out": "../../x", "conf-path": "/x",
    "rpc-listen-all": "true", "rpc-secret": "x", "save-session": "/x", "load-cookies": "/etc/shadow", "save-cookies": "/x",
    "input-file": "/x", "log": "/x", "index-out": "1=../../x", "netrc-path": "/x", "private-key": "/x", "certificate": "/x",
    "stop-with-process": "1", "daemon": "true", "dht-file-path": "/x", "server-stat-of": "/x", "interface": "lo", "hook": "x",
}  # fmt: skip


@pytest_asyncio.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with nodes.cluster(tmp_path, 1) as cluster:
        yield cluster.nodes[0]


async def raw(port: int, data: bytes, *, wait: float = 3.0) -> bytes:
    """What comes back for these bytes, until the other end has enough or nothing more comes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = b""
    try:
        with contextlib.suppress(ConnectionError, TimeoutError):
            writer.write(data)
            await writer.drain()
            async with asyncio.timeout(wait):
                while more := await reader.read(65536):
                    answer += more
    finally:
        writer.close()
    return answer


async def serves(node: Node) -> None:
    status, told = await node.get("/status")
    assert (status, told["cluster"]["has_quorum"]) == (200, True)


def junk() -> list[bytes]:
    """Bytes that mean nothing, or something else than they say."""
    dice = random.Random(6)
    return [
        dice.randbytes(5_000),
        b"\0" * 5_000,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + dice.randbytes(500),
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: n\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: n\r\n" + b"X: y\r\n" * 50_000 + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: n\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
        b"POST /tasks HTTP/1.1\r\nHost: n\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /tasks HTTP/1.1\r\nHost: n\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"POST /tasks HTTP/1.1\r\nHost: n\r\nContent-Length: -1\r\n\r\n",
        b"POST /tasks HTTP/1.1\r\nHost: n\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
        b"GET /tasks/\xff\xfe HTTP/1.1\r\nHost: n\r\n\r\n",
        b"GET http://evil.example/tasks HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        b"CONNECT evil.example:80 HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /%00 HTTP/1.1\r\nHost: n\r\n\r\n",
        b"GET /tasks?cursor=%ff%fe&q=%00 HTTP/1.1\r\nHost: n\r\n\r\n",
        b"GET /peers/partials/..%2f..%2fetc/data HTTP/1.1\r\nHost: n\r\n\r\n",
    ]


async def test_bytes_that_mean_nothing_on_every_port(node: Node) -> None:
    async with asyncio.TaskGroup() as group:
        answers = [group.create_task(raw(node.port, data, wait=2)) for data in junk()]
        peers = [group.create_task(raw(node.port + 1, data, wait=2)) for data in junk()]
    for answer in answers:
        assert b" 500 " not in answer.result() and b" 200 " not in answer.result()[:20], answer.result()[:300]
    for peer in peers:
        assert len(peer.result()) < 200, "a stranger is told next to nothing"
    await serves(node)


async def test_the_engine_is_out_of_reach(node: Node) -> None:
    """aria2c listens on loopback alone, and knows no one without the secret."""
    engine = await node.aria2c()
    listening = [c for c in engine.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
    body = b'{"jsonrpc": "2.0", "id": 1, "method": "aria2.getVersion"}'
    head = b"POST /jsonrpc HTTP/1.1\r\nHost: n\r\nContent-Length: %d\r\n\r\n" % len(body)
    local = {c.laddr.port for c in listening if c.laddr.ip in ("127.0.0.1", "::1", "::ffff:127.0.0.1")}
    open_to_all = {c.laddr.port for c in listening} - local  # BitTorrent's
    answers = {port: await raw(port, head + body, wait=4) for port in local | open_to_all}
    assert [port for port in local if b"Unauthorized" in answers[port]], "its RPC is on loopback, and wants its secret"
    assert not [port for port in open_to_all if b"HTTP/" in answers[port]]
    assert not [port for port, answer in answers.items() if b"version" in answer]


async def test_paths_options_and_names_lead_nowhere(node: Node) -> None:
    for path in TRAVERSALS:
        for field in ("dir", "out"):
            status, told = await node.post("/tasks", {"url": "ftp://192.0.2.1/f", field: path, "paused": True})
            if status == 201:  # odd, and yet a name inside the folder
                folder = node.downloads / told["dir"] / (told["out"] or "f")
                assert folder.resolve().is_relative_to(node.downloads.resolve()), (field, path)
            else:
                assert status == 400, (field, path, told)
    for option, value in OPTIONS.items():
        status, told = await node.post(
            "/tasks", {"url": "ftp://192.0.2.1/f", "options": {option: value}, "paused": True}
        )
        assert (status, told["code"]) == (400, "invalid_input"), (option, told)
        status, told = await node.post("/tasks/import", {"text": f"ftp://192.0.2.1/g\n  {option}={value}\n"})
        assert status == 400 or told["accepted"] == 0 or option in ("dir", "out"), (option, told)
    for header in ("X: a\r\nY: b", "X: a\nHost: evil", "X\0: a"):
        status, told = await node.post("/tasks", {"url": "ftp://192.0.2.1/f", "headers": [header], "paused": True})
        assert status == 400, (header, told)
    for url in ("file:///etc/passwd", "http://a/\r\nX: y", "-x", "--conf-path=/x", "javascript:alert(1)", "data:,x"):
        status, told = await node.post("/tasks", {"url": url, "paused": True})
        assert status == 400, (url, told)
    for name in ("..%2f..%2fetc", "%2e%2e", "a%00b", "%ff", "*", "'; drop"):
        for path in (f"/tasks/{name}", f"/nodes/{name}"):
            assert (await node.get(path))[0] in (400, 404), path
    await serves(node)


async def test_what_unpacks_to_gigabytes_is_not_unpacked(node: Node) -> None:
    bomb = gzip.compress(b" " * 50_000_000)
    assert len(bomb) < 100_000
    before = psutil.Process(node.process.pid).memory_info().rss
    for encoding in ("gzip", "deflate", "x-gzip", "gzip, gzip"):
        head = {"Content-Type": "application/json", "Content-Encoding": encoding}
        assert (await node.call("POST", "/tasks/batch", bomb, head))[0] == 415, encoding
    deep = b'{"tasks": ' + b"[" * 500_000
    assert (await node.call("POST", "/tasks/batch", deep, {"Content-Type": "application/json"}))[0] == 400
    assert psutil.Process(node.process.pid).memory_info().rss - before < 40_000_000
    await serves(node)


async def test_other_sites_are_refused(node: Node) -> None:
    for head, status in (
        ({"Host": "evil.example"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": f"rebound.example:{node.port}", "Origin": f"http://rebound.example:{node.port}"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Content-Type": "application/json"}, 403),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
    ):
        assert (await node.call("POST", "/tasks", b'{"url": "ftp://192.0.2.1/f"}', head))[0] == status, head
    assert (await node.get("/tasks"))[1] == []


async def test_the_web_app_takes_neither_junk_nor_strangers(node: Node, tmp_path: Path) -> None:
    async with webapp(tmp_path, f"http://{node.address}") as (url, app), aiohttp.ClientSession(url) as session:
        port = int(url.rpartition(":")[2])
        async with asyncio.TaskGroup() as group:
            answers = [group.create_task(raw(port, data, wait=2)) for data in junk()]
        for answer in answers:
            assert b" 500 " not in answer.result()[:20], answer.result()[:300]
        evil = {"Host": "evil.example"}
        foreign = {"Origin": "http://evil.example"}
        for headers in (evil, foreign, {"Host": "rebound.example", "Origin": "http://rebound.example"}):
            for path in ("/", "/ui/boot", "/_nicegui_ws/socket.io/?EIO=4&transport=polling"):
                async with session.get(path, headers=headers) as response:
                    assert response.status == 403, (path, headers)
            async with session.post("/ui/document", headers=headers, data=b"d4:infode") as response:
                assert response.status == 403
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await session.ws_connect("/_nicegui_ws/socket.io/?EIO=4&transport=websocket", headers=foreign)
        async with session.get("/ui/boot") as response:
            assert response.status == 200
        assert app.running
    await serves(node)


async def test_thousands_of_slow_connections(node: Node) -> None:
    """They come and stay, each in the middle of its first line; whoever has something to ask is answered all the same."""
    slow: list[socket.socket] = []
    try:

        async def come(port: int, count: int) -> None:
            for number in range(count):
                one = socket.socket()
                one.setblocking(False)
                slow.append(one)
                with contextlib.suppress(OSError, TimeoutError):
                    async with asyncio.timeout(1):
                        await asyncio.get_running_loop().sock_connect(one, ("127.0.0.1", port))
                        await asyncio.get_running_loop().sock_sendall(one, b"GET /sta")
                if number % 500 == 0:
                    await serves(node)

        await come(node.port, SLOW)
        for _ in range(5):
            await serves(node)
        status, told = await node.post("/tasks", {"url": "ftp://192.0.2.1/f", "paused": True})
        assert status == 201, told
        held = psutil.Process(node.process.pid).num_fds()
        assert held < 1_000, f"{held} files and sockets are open"
    finally:
        for one in slow:
            one.close()
    await serves(node)
