"""What every way of half-done downloads keeps to: the fake on fake folders, and HTTP on real ones."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from ariacluster.domain.commands import Assign, Move, Start, Submit
from ariacluster.domain.errors import Forbidden, InvalidInput, NotFound, NotReady, Unavailable
from ariacluster.domain.partial import Partial, PartialFile
from ariacluster.wire import partials as wire
from ariacluster.wire import routes as paths
from ariacluster.wire.peers import peer_token
from ariacluster_node.adapters.peers.partials import HttpPartials
from ariacluster_node.adapters.peers.session import PeerSession
from ariacluster_node.adapters.storage.folders import DownloadFolders
from ariacluster_node.api import partials as partials_room
from ariacluster_node.api.app import make_app
from ariacluster_node.ports import Folders, Partials
from ariacluster_node.services import handover as handover_room
from ariacluster_node.services import transfers as transfers_room
from ariacluster_node.services.handover import Handover
from ariacluster_node.services.transfers import Transfers
from tests.support.control_file import control_file
from tests.support.fake_folders import FakeFolders
from tests.support.fake_partials import FakePartials
from tests.support.fake_site import SPEC, WELCOME, FakeSite, until
from tests.support.serving import port_of, served

A = "a" * 16
KEY = bytes.fromhex(WELCOME.key)
DATA = bytes(n % 251 for n in range(300_000))
CONTROL = control_file(len(DATA) * 2, piece=1 << 14, have=tuple(range(18)))


class Way:
    """Node `a` had begun the task and was told to give it to `b`, as attempt 2. `key` is what `b` knows of the cluster."""

    def __init__(self, site: FakeSite) -> None:
        self.site = site
        self.source, self.target = site.nodes["a"], site.nodes["b"]
        self.busy: set[str] = set()
        self.key: bytes | None = KEY
        self.door = self.source.door
        self.folders: Folders
        self.arriving: Folders
        self.partials: Partials
        self.put: Callable[[str, bytes], None]
        self.cut: Callable[[], Awaitable[None]]
        self.damage: Callable[[], None]
        """Every block comes otherwise than it was sent."""


async def fake_way(way: Way) -> None:
    folders, partials = FakeFolders(), FakePartials()
    await folders.open(A, fresh=True)
    way.folders, way.arriving, way.partials = folders, FakeFolders(), partials
    way.put = lambda path, data: folders.put(A, path, data)
    partials.handovers[way.door] = Handover(way.source.replica, folders, way.busy.__contains__)

    async def cut() -> None:
        partials.shut.add(way.door)

    def damage() -> None:
        partials.damage = lambda data: data[::-1]

    way.cut, way.damage = cut, damage


@contextlib.asynccontextmanager
async def http_way(way: Way, folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    folders = DownloadFolders(folder / "source")
    staging = await folders.open(A, fresh=True)
    way.folders, way.arriving = folders, DownloadFolders(folder / "target")
    app = make_app(way.source.services)
    partials_room.open_to(app, Handover(way.source.replica, folders, way.busy.__contains__))
    session = PeerSession(lambda: way.key)
    async with served(app, handler_cancellation=True) as runner:
        way.door = f"127.0.0.1:{port_of(runner)}"
        await session.start()
        way.partials, way.cut = HttpPartials(session), runner.cleanup
        way.put = lambda path, data: put(staging / path, data)
        way.damage = lambda: monkeypatch.setattr(wire, "block_digest", other_digest)
        try:
            yield
        finally:
            await session.stop()


def put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


DIGESTS = 0


def other_digest(data: bytes) -> str:
    """Never twice the same: what was sent and what came do not agree."""
    global DIGESTS
    DIGESTS += 1
    return f"{DIGESTS:032x}"


@pytest.fixture(params=["fake", "http"])
async def way(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Way]:
    site = FakeSite()
    source, target = await site.up("ab")
    await site.say(
        Submit(A, SPEC), Assign(A, 1, source.me.id, ""), Start(A, 1), Move(A, 2, target.me.id, "", fetch=True)
    )
    way = Way(site)
    async with contextlib.AsyncExitStack() as stack:
        if request.param == "fake":
            await fake_way(way)
        else:
            await stack.enter_async_context(http_way(way, tmp_path, monkeypatch))
        way.put("film.mkv", DATA)
        way.put("film.mkv.aria2", CONTROL)
        yield way


async def test_what_is_there_is_told(way: Way) -> None:
    partial = await way.partials.look(way.door, A, 2)
    assert partial == await way.folders.partial(A)
    assert [(file.path, file.size) for file in partial.files] == [
        ("film.mkv", len(DATA)),
        ("film.mkv.aria2", len(CONTROL)),
    ]


async def test_blocks_come_as_they_are(way: Way) -> None:
    film, control = (await way.partials.look(way.door, A, 2)).files
    assert await way.partials.read(way.door, A, 2, film, 1000, 65_536) == DATA[1000 : 1000 + 65_536]
    assert await way.partials.read(way.door, A, 2, film, len(DATA) - 1, 1) == DATA[-1:]
    assert await way.partials.read(way.door, A, 2, control, 0, len(CONTROL)) == CONTROL


async def test_names_of_any_kind_travel(way: Way) -> None:
    name = "ä b&c=d?e#f%20+/日本.bin"
    way.put(name, DATA)
    way.put(f"{name}.aria2", CONTROL)
    files = {file.path: file for file in (await way.partials.look(way.door, A, 2)).files}
    assert await way.partials.read(way.door, A, 2, files[name], 7, 9) == DATA[7:16]


async def test_an_engine_that_still_writes_is_waited_for(way: Way) -> None:
    film = (await way.partials.look(way.door, A, 2)).files[0]
    way.busy.add(A)
    with pytest.raises(NotReady):
        await way.partials.look(way.door, A, 2)
    with pytest.raises(NotReady):
        await way.partials.read(way.door, A, 2, film, 0, 1)


async def test_an_attempt_that_is_still_to_be_heard_of_is_waited_for(way: Way) -> None:
    with pytest.raises(NotReady):
        await way.partials.look(way.door, A, 3)
    with pytest.raises(NotReady):
        await way.partials.look(way.door, "b" * 16, 1)


async def test_a_superseded_attempt_gets_nothing_more(way: Way) -> None:
    film = (await way.partials.look(way.door, A, 2)).files[0]
    await way.site.say(Move(A, 3, way.source.me.id, "", fetch=True))
    with pytest.raises(NotFound):
        await way.partials.read(way.door, A, 2, film, 0, 1)
    with pytest.raises(NotFound):
        await way.partials.look(way.door, A, 2)


async def test_a_block_lies_in_its_file(way: Way) -> None:
    film = (await way.partials.look(way.door, A, 2)).files[0]
    with pytest.raises(InvalidInput):
        await way.partials.read(way.door, A, 2, film, len(DATA), 1)
    with pytest.raises(NotFound):
        await way.partials.read(way.door, A, 2, PartialFile("../secret", 9, ()), 0, 1)


async def test_a_block_that_came_damaged_is_not_handed_out(way: Way) -> None:
    film = (await way.partials.look(way.door, A, 2)).files[0]
    way.damage()
    with pytest.raises(Unavailable, match="damaged"):
        await way.partials.read(way.door, A, 2, film, 0, 1000)


async def test_a_source_that_is_gone_does_not_answer(way: Way) -> None:
    film = (await way.partials.look(way.door, A, 2)).files[0]
    await way.cut()
    for ask in (way.partials.look(way.door, A, 2), way.partials.read(way.door, A, 2, film, 0, 1)):
        with pytest.raises(Unavailable) as raised:
            await ask
        assert raised.type is Unavailable, "not one of those that mean something else"


async def carried(way: Way, monkeypatch: pytest.MonkeyPatch) -> Transfers:
    """The services at both ends, on this way."""
    monkeypatch.setattr(transfers_room, "ASK_AGAIN", 0.005)
    monkeypatch.setattr(transfers_room, "PATIENCE", 0.3)
    for block in ("FIRST_BLOCK", "LEAST_BLOCK", "LARGEST_BLOCK"):
        monkeypatch.setattr(transfers_room, block, 50_000)
    transfers = Transfers(way.target.replica, way.arriving, way.partials)
    monkeypatch.setattr(transfers_room._Carrier, "_door", lambda _: way.door)
    return transfers


async def test_a_transfer_brings_all_of_it(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    transfers = await carried(way, monkeypatch)
    async with asyncio.TaskGroup() as group:
        transfers.attach(group, lambda: None)
        transfers.begin(way.target.task(A))
        await until(lambda: transfers.states()[A].ended)
    assert await way.arriving.partial(A) == await way.folders.partial(A)
    for file in (await way.arriving.partial(A) or Partial(files=())).files:
        there = await way.folders.read(A, file, 0, file.size)
        assert await way.arriving.read(A, file, 0, file.size) == there
    assert transfers.states()[A].completed == len(DATA) + len(CONTROL)


async def test_a_source_that_dies_in_the_middle_leaves_nothing_half(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    transfers = await carried(way, monkeypatch)
    write = way.arriving.write
    came = 0

    async def counted(task_id: str, file: PartialFile, offset: int, data: bytes) -> None:
        nonlocal came
        await write(task_id, file, offset, data)
        came += len(data)
        if came >= 100_000:
            await way.cut()

    monkeypatch.setattr(way.arriving, "write", counted)
    async with asyncio.TaskGroup() as group:
        transfers.attach(group, lambda: None)
        transfers.begin(way.target.task(A))
        await until(lambda: transfers.states()[A].ended)
    assert 100_000 <= came < len(DATA)
    assert await way.arriving.partial(A) is None
    assert not [path for path in way.arriving.root.rglob("*") if path.is_file()]
    assert transfers.states()[A].completed == 0


@pytest.mark.parametrize("way", ["http"], indirect=True)
async def test_only_members_are_answered(way: Way) -> None:
    film = (await way.partials.look(way.door, A, 2)).files[0]
    for key in (None, b"another"):
        way.key = key
        with pytest.raises(Forbidden):
            await way.partials.look(way.door, A, 2)
        with pytest.raises(Forbidden):
            await way.partials.read(way.door, A, 2, film, 0, 1)


@pytest.mark.parametrize("way", ["http"], indirect=True)
@pytest.mark.parametrize("query", ["", "attempt=x", "attempt=-2", "attempt=²", "attempt=2&path=film.mkv&offset=0"])
async def test_a_question_that_makes_no_sense_is_refused(way: Way, query: str) -> None:
    url = f"http://{way.door}{paths.PEER_PARTIAL_DATA.format(id=A)}?{query}"
    headers = {paths.PEER_KEY: peer_token(KEY)}
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
        assert response.status == 400


@pytest.mark.parametrize("way", ["http"], indirect=True)
async def test_a_block_that_breaks_off_is_no_block(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    """The source ends a block in the middle: its node was killed, or the reader is too slow."""
    film = (await way.partials.look(way.door, A, 2)).files[0]

    async def broken(response: web.StreamResponse, data: bytes) -> None:
        raise TimeoutError

    monkeypatch.setattr(web.StreamResponse, "write", broken)
    async with asyncio.timeout(5):  # the reader is told at once, not by a time limit of its own
        with pytest.raises(Unavailable):
            await way.partials.read(way.door, A, 2, film, 0, 100_000)


@pytest.mark.parametrize("way", ["http"], indirect=True)
async def test_what_is_no_node_is_no_source(way: Way) -> None:
    async def nonsense(request: web.Request) -> web.Response:
        return web.Response(body=b"\xc1")

    app = web.Application()
    app.router.add_get("/{tail:.*}", nonsense)
    async with served(app) as runner:
        door = f"127.0.0.1:{port_of(runner)}"
        with pytest.raises(Unavailable):
            await way.partials.look(door, A, 2)
        with pytest.raises(Unavailable, match="damaged"):
            await way.partials.read(door, A, 2, PartialFile("f", 1, ()), 0, 1)


@pytest.mark.parametrize("way", ["http"], indirect=True)
async def test_no_more_blocks_are_in_memory_than_may_be(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    film = (await way.partials.look(way.door, A, 2)).files[0]
    write = web.StreamResponse.write
    sending = most = 0

    async def counted(response: web.StreamResponse, data: bytes) -> None:
        nonlocal sending, most
        sending += 1
        most = max(most, sending)
        try:
            await asyncio.sleep(0.01)
            await write(response, data)
        finally:
            sending -= 1

    monkeypatch.setattr(web.StreamResponse, "write", counted)
    blocks = await asyncio.gather(*(way.partials.read(way.door, A, 2, film, n * 1000, 1000) for n in range(20)))
    assert b"".join(blocks) == DATA[:20_000]
    assert most == handover_room.READERS
