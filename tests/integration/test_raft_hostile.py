"""Neither the wire nor the disk carries anything that is executed, and garbage costs one closed connection.

A node of raft is watched from within (an audit hook, see `raft_node`) while it is sent, and started on, what would be
executed if anything unpickled it.
"""

import asyncio
import base64
import itertools
import os
import pickle
import socket
import struct
import time
import zlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import msgspec
import psutil
import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ariacluster.domain.errors import StartFailed
from ariacluster_node.adapters.raft import PySyncObjConsensus, library
from ariacluster_node.adapters.raft.store.disk import Disk
from ariacluster_node.adapters.raft.store.snapshots import SnapshotMeta, Snapshots
from ariacluster_node.adapters.raft.store.wal import Wal
from ariacluster_node.adapters.raft.wire import messages
from ariacluster_node.adapters.raft.wire.link import Hello
from ariacluster_node.adapters.raft.wire.session import Cipher, Handshake
from tests.support import processes
from tests.support.ledger import Ledger
from tests.support.ports import free_ports
from tests.support.raft_node import Line, Refused, Setup, Unheard

WITHIN_S = 20.0
CLOSED_WITHIN_S = 10.0
"""A handshake has 3 s; the rest is for a busy machine."""

GARBAGE_PER_S = 200
GARBAGE_S = 3.0

pytestmark = [pytest.mark.integration, pytest.mark.timeout(100)]


class Bomb:
    """Runs a command where it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self._command = f"touch '{marker}'"

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (self._command,)


class Watched:
    """A node that notes what is executed in it."""

    def __init__(self, folder: Path, me: str = "a", *, addresses: dict[str, str] | None = None) -> None:
        ports = free_ports(2)
        self.marker = folder / "boom"
        self.bomb = pickle.dumps(Bomb(self.marker), protocol=2)
        self.setup = Setup(
            me=me,
            port=ports,
            control=ports + 1,
            folder=str(folder / me),
            addresses=addresses or {},
            found=me == "a",
            audit=str(folder / f"{me}.audit"),
        )
        self.raft = Path(self.setup.folder, "raft")
        self.line = Line(self.setup.control)
        self.process: processes.Process

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.setup.port}"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with processes.running(self.setup.command(), Path(self.setup.folder), name=self.setup.me) as process:
            self.process = process
            try:
                await process.wait_until(self._is_ready, "it is ready", timeout=WITHIN_S)
                yield
            finally:
                self.line.close()

    async def _is_ready(self) -> bool:
        with suppress(Unheard):
            return bool((await self.line.ask("status"))["ready"])
        return False

    async def refuses_to_start(self) -> str:
        """What it says."""
        async with processes.running(self.setup.command(), Path(self.setup.folder), name=self.setup.me) as process:
            code = await process.wait(timeout=WITHIN_S)
            text = await process.text()
        assert code == 1, text
        assert "Traceback" not in text, text
        return text.strip().split("\n")[-1]

    def heard(self) -> list[str]:
        """Everything executed since it was watched."""
        lines = Path(self.setup.audit or "").read_text().splitlines()
        assert lines[0] == "watching"
        return [line for line in lines if line != "watching"]

    async def propose(self, command: str) -> None:
        """Until it is taken."""
        deadline = time.monotonic() + WITHIN_S
        while True:
            try:
                await self.line.ask("propose", command, 5.0)
            except Refused:
                assert time.monotonic() < deadline, f"{command} was not taken"
            else:
                return

    async def is_well(self, number: int = 1) -> None:
        """It serves on, as the process that it was, and nothing was executed."""
        await self.propose(f"well.{number}")
        assert (await self.line.ask("status"))["pid"] == self.process.pid
        assert self.heard() == []
        assert not self.marker.exists()


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Watched]:
    watched = Watched(tmp_path)
    async with watched.running():
        yield watched


Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def is_closed(ends: Ends) -> bytes:
    """What came before the end; TimeoutError if that does not come."""
    reader, writer = ends
    try:
        async with asyncio.timeout(CLOSED_WITHIN_S):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.transport.abort()


async def say(node: Watched, data: bytes) -> Ends:
    ends = await asyncio.open_connection("127.0.0.1", node.setup.port)
    ends[1].write(data)
    return ends


def framed(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content


def as_the_library_does(message: object) -> bytes:
    """A message of stock pysyncobj, `TcpConnection.send`."""
    data = zlib.compress(pickle.dumps(message, 2), 3)
    return struct.pack("i", len(data)) + data


def secret_of(setup: Setup) -> bytes:
    return HKDF(SHA256(), 32, salt=setup.cluster_id.encode(), info=b"ariacluster raft 1").derive(setup.key)


class Rogue:
    """A member with the right key, and no manners."""

    def __init__(self, ends: Ends, sending: Cipher, receiving: Cipher) -> None:
        self.ends = ends
        self._sending = sending
        self._receiving = receiving

    @classmethod
    async def joins(cls, node: Watched, me: str = "mallory") -> "Rogue":
        """As the one who dials; the empty frame at the end proves that it holds the key."""
        handshake = Handshake(True, secret_of(node.setup), entropy=os.urandom)
        ends = await say(node, framed(handshake.write(msgspec.msgpack.encode(Hello(1, me, 0)))))
        handshake.read(await cls._frame(ends))
        rogue = cls(ends, *handshake.split())
        rogue.send(b"")
        return rogue

    def send(self, frame: bytes) -> None:
        self.ends[1].write(framed(self._sending.encrypt(frame)))

    async def hears(self) -> list[messages.Message]:
        """The next messages; TimeoutError if there are none."""
        async with asyncio.timeout(CLOSED_WITHIN_S):
            while not (frame := self._receiving.decrypt(await self._frame(self.ends))):
                continue
        return messages.decode(frame)

    @staticmethod
    async def _frame(ends: Ends) -> bytes:
        async with asyncio.timeout(CLOSED_WITHIN_S):
            (size,) = struct.unpack(">I", await ends[0].readexactly(4))
            return await ends[0].readexactly(size)


async def test_the_watch_would_see_it(node: Watched) -> None:
    """All the other tests here lean on this: Python itself unpickles, and that is seen."""
    with pytest.raises(Refused):
        await node.line.ask("unpickle", base64.b64encode(pickle.dumps(Ledger)).decode(), False)
    assert any(line.startswith("pickle.find_class") for line in node.heard())
    await node.line.ask("unpickle", base64.b64encode(node.bomb).decode(), False)
    assert any(line.startswith("os.system") for line in node.heard())
    assert node.marker.exists()


async def test_the_library_in_the_node_unpickles_nothing(node: Watched) -> None:
    with pytest.raises(Refused, match="nothing is pickled here"):
        await node.line.ask("unpickle", base64.b64encode(node.bomb).decode(), True)
    await node.is_well()


async def test_what_strangers_send_is_not_looked_at(node: Watched) -> None:
    wrong = Handshake(True, bytes(32), entropy=os.urandom)
    said = [
        node.bomb,
        framed(node.bomb),
        struct.pack("<I", len(node.bomb)) + node.bomb,
        *(as_the_library_does(m) for m in (Bomb(node.marker), b"status", "readonly", "127.0.0.1:1")),
        *(as_the_library_does(m) for m in (["status"], ["add", "127.0.0.1:1"], ["remove", node.address])),
        *(as_the_library_does(m) for m in (["transfer"], ["set_version", 1])),
        framed(wrong.write(node.bomb)),
        framed(bytes(32) + node.bomb),
        struct.pack(">I", 100_000_000) + node.bomb,
        struct.pack(">I", 200) + node.bomb[:10],
        b"\x00",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"",
        os.urandom(100_000),
    ]
    answers = await asyncio.gather(*[is_closed(await say(node, data)) for data in said])
    assert set(answers) == {b""}, "strangers are not answered"
    await node.is_well()


async def test_a_member_that_says_no_sense_is_shut_out_alone(node: Watched) -> None:
    encode = msgspec.msgpack.encode
    handshake = Handshake(True, secret_of(node.setup), entropy=os.urandom)
    assert await is_closed(await say(node, framed(handshake.write(node.bomb[:150])))) == b"", "a hello is no pickle"
    for number, frame in enumerate(
        (
            node.bomb,
            encode(node.bomb),
            encode([node.bomb]),
            encode({"type": "append_entries"}),
            encode([[99, 1, 2]]),
            encode([[1, -1, 0, 0, 0, 0.0, []]]),
            encode([[8, 1, bytes(messages.MAX_COMMAND_BYTES + 1)]]),
            b"\x91" * 100_000,
            b"\xdd\xff\xff\xff\xff",
            b"\xc1",
        ),
        start=1,
    ):
        rogue = await Rogue.joins(node)
        rogue.send(frame)
        await is_closed(rogue.ends)
        await node.is_well(number)
    rogue = await Rogue.joins(node)
    rogue.ends[1].write(struct.pack(">I", 100_000_000) + bytes(10_000))
    await is_closed(rogue.ends)
    await node.is_well(1000)


@pytest.mark.parametrize("kind", [1, 2, 3, 4, 0x80])
async def test_a_command_of_the_librarys_own_kinds_is_not_taken_from_a_member(node: Watched, kind: int) -> None:
    """Those of the library are pickles: a new version of the code, another member."""
    rogue = await Rogue.joins(node)
    rogue.send(messages.encode([messages.Forward(1, bytes([kind]) + node.bomb)]))
    while not (told := [m for m in await rogue.hears() if isinstance(m, messages.Forwarded)]):
        continue
    assert (told[0].request, told[0].index) == (1, 0) and told[0].error
    rogue.ends[1].transport.abort()
    await node.is_well()


async def test_a_pickle_as_payload_is_only_bytes(node: Watched) -> None:
    rogue = await Rogue.joins(node)
    rogue.send(messages.encode([messages.Forward(1, b"\x00" + node.bomb)]))
    while not (told := [m for m in await rogue.hears() if isinstance(m, messages.Forwarded)]):
        continue
    assert told[0].index
    rogue.ends[1].transport.abort()
    await node.is_well()


@pytest.mark.parametrize("kind", [0, 2, 3, 4, 0x80])
async def test_a_member_that_claims_to_lead_gets_nothing_executed(node: Watched, kind: int) -> None:
    """It can have anything written to the log, as any leader; no more than that."""
    await node.propose("c.1")
    status = await node.line.ask("status")
    last, term, rogue = status["applied"], status["term"], await Rogue.joins(node)
    entry = (bytes([kind]) + node.bomb, last + 1, 1000)
    rogue.send(messages.encode([messages.Append(1000, last, term, last + 1, 0.0, [entry])]))
    if kind != 2:
        while not [m for m in await rogue.hears() if isinstance(m, messages.Appended) and m.index > last]:
            continue
    rogue.send(messages.encode([messages.Piece(1000, last + 10, 1000, len(node.bomb), 0, node.bomb, 1.0)]))
    while not [m for m in await rogue.hears() if isinstance(m, messages.PieceTaken) and m.offset == 0]:
        continue
    rogue.ends[1].transport.abort()
    await node.is_well()


# -- on disk ---------------------------------------------------------------------------------------------------------


async def stopped_with_two_segments(tmp_path: Path) -> tuple[Watched, list[Path]]:
    """A node that was started twice, each time confirmed commands, and is stopped."""
    node = Watched(tmp_path)
    for start in range(2):
        async with node.running():
            for number in range(20):
                await node.propose(f"c.{start * 20 + number + 1}")
    segments = sorted(node.raft.glob("log-*"))
    assert len(segments) >= 2
    return node, segments


async def refuses(node: Watched, path: Path) -> None:
    sentence = await node.refuses_to_start()
    assert str(path) in sentence and sentence.endswith("."), sentence
    assert node.heard() == []
    assert not node.marker.exists()


async def test_a_bomb_in_place_of_a_segment_is_refused(tmp_path: Path) -> None:
    node, segments = await stopped_with_two_segments(tmp_path)
    for path in segments:
        good = path.read_bytes()
        path.write_bytes(node.bomb)
        await refuses(node, path)
        path.write_bytes(good)
    async with node.running():
        await node.is_well()


async def test_a_bomb_amid_a_segment_is_refused(tmp_path: Path) -> None:
    node, segments = await stopped_with_two_segments(tmp_path)
    path = segments[0]
    good = path.read_bytes()
    middle = len(good) // 2
    path.write_bytes(good[:middle] + node.bomb + good[middle + len(node.bomb) :])
    await refuses(node, path)
    path.write_bytes(good)
    path.write_bytes(good[:middle] + node.bomb + good[middle:])
    await refuses(node, path)


async def test_a_bomb_in_a_snapshot_is_refused(tmp_path: Path) -> None:
    node = Watched(tmp_path)
    node.setup = msgspec.structs.replace(node.setup, compact_entries=10)
    async with node.running():
        for number in range(30):
            await node.propose(f"c.{number + 1}")

        def is_made() -> list[Path]:
            return list(node.raft.glob("snapshot-" + "[0-9]" * 12))

        await node.process.wait_until(is_made, "a snapshot is made", timeout=WITHIN_S)
    path = max(is_made())  # none that is still being written
    good = path.read_bytes()
    for bad in (node.bomb, good[:60] + node.bomb + good[60 + len(node.bomb) :], good + node.bomb):
        path.write_bytes(bad)
        await refuses(node, path)
    path.write_bytes(good)
    async with node.running():
        await node.is_well(1)


@pytest.mark.parametrize("kind", [0, 1, 2, 3, 0x80])
async def test_a_log_that_is_well_made_of_bombs_executes_nothing(tmp_path: Path, kind: int) -> None:
    """Whoever may write the disk knows the format, too. What is no payload and no voters is skipped or refused."""
    node = Watched(tmp_path)
    node.raft.mkdir(parents=True)
    wal = Wal(Disk(node.raft), base=None, entropy=os.urandom)
    wal.add(b"\x01", 1, 0)
    wal.add(b"\x02" + msgspec.msgpack.encode(["a"]), 2, 0)
    wal.add(bytes([kind]) + node.bomb, 3, 0)
    wal.setRaftCommitIndex(3)
    wal.onOneSecondTimer()
    wal.sync()
    wal._destroy()
    await starts_or_refuses(node)


async def test_a_snapshot_that_is_well_made_of_bombs_executes_nothing(tmp_path: Path) -> None:
    node = Watched(tmp_path)
    node.raft.mkdir(parents=True)
    disk = Disk(node.raft)
    meta = SnapshotMeta(index=2, term=0, voters=("a",), config_index=2)
    for _ in Snapshots(disk).write(meta, [node.bomb, node.bomb]):
        pass
    wal = Wal(disk, base=None, entropy=os.urandom)
    wal.add(b"\x01", 1, 0)
    wal.add(b"\x02" + msgspec.msgpack.encode(["a"]), 2, 0)
    wal.sync()
    wal._destroy()
    await starts_or_refuses(node)


async def starts_or_refuses(node: Watched) -> None:
    """Until it serves or has left with a sentence; nothing is executed on the way."""
    async with processes.running(node.setup.command(), Path(node.setup.folder), name="forged") as process:

        async def is_decided() -> bool:
            with suppress(Unheard):
                return bool((await node.line.ask("status"))["ready"])
            return not process.running

        await processes.until(is_decided, "it starts or refuses", timeout=WITHIN_S)
        text = await process.text()
        if process.running:
            await node.propose("well.1")
        else:
            assert process.returncode == 1, text
            assert text.strip().endswith("."), text
        node.line.close()
    assert node.heard() == []
    assert not node.marker.exists()


# -- another library, and a flood ------------------------------------------------------------------------------------


async def test_another_version_of_the_library_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "VERSION", "0.3.14")
    listen = socket.create_server(("127.0.0.1", 0))
    consensus = PySyncObjConsensus(
        Ledger(),
        me="a",
        listen=listen,
        cluster_id="c" * 16,
        key=b"k" * 32,
        addresses={},
        found=True,
        folder=tmp_path / "raft",
    )
    try:
        with pytest.raises(StartFailed, match=r"0\.3\.17 is needed, and 0\.3\.14 is installed.*pip install"):
            await consensus.start()
        assert not (tmp_path / "raft").exists(), "it looked at nothing"
    finally:
        await consensus.stop()
        listen.close()


async def test_the_cluster_commits_on_while_garbage_pours_in(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        nodes = [Watched(tmp_path, "a")]
        await stack.enter_async_context(nodes[0].running())
        for name in "bc":
            node = Watched(tmp_path, name, addresses={"a": nodes[0].address})
            await stack.enter_async_context(node.running())
            await patiently(lambda me=name: nodes[0].line.ask("change", "add_voter", me, 2.0))  # type: ignore[misc]
            nodes.append(node)
        files_before = [psutil.Process(node.process.pid).num_fds() for node in nodes]
        committed: list[float] = []

        async def commit() -> None:
            while True:
                await nodes[len(committed) % 3].propose(f"flood.{len(committed) + 1}")
                committed.append(time.monotonic())

        committing = asyncio.create_task(commit())
        start = time.monotonic()
        sent = await flood(nodes)
        end = time.monotonic()
        committing.cancel()
        with suppress(asyncio.CancelledError):
            await committing
        assert sent > GARBAGE_PER_S * GARBAGE_S / 2, "there was no flood"
        during = [start, *(moment for moment in committed if start < moment < end), end]
        pauses = [after - before for before, after in itertools.pairwise(during)]
        assert len(during) > 50 and max(pauses) < 2.0, (len(during), max(pauses))
        for node, before in zip(nodes, files_before, strict=True):
            await node.is_well(ord(node.setup.me))

            def is_calm(pid: int = node.process.pid, before: int = before) -> bool:
                return psutil.Process(pid).num_fds() <= before + 5

            await processes.until(is_calm, "the garbage's files are closed", timeout=WITHIN_S)


async def flood(nodes: list[Watched]) -> int:
    """Connections opened: some send garbage, some nothing; none hangs up before many others came."""
    loop = asyncio.get_running_loop()
    held: deque[socket.socket] = deque()
    start, sent = time.monotonic(), 0
    try:
        while (passed := time.monotonic() - start) < GARBAGE_S:
            if sent >= passed * GARBAGE_PER_S:
                await asyncio.sleep(0.005)
                continue
            held.append(socket.socket())
            held[-1].setblocking(False)
            with suppress(ConnectionError):
                await loop.sock_connect(held[-1], ("127.0.0.1", nodes[sent % len(nodes)].setup.port))
                await loop.sock_sendall(
                    held[-1], (os.urandom(1000), framed(os.urandom(100)), nodes[0].bomb, b"")[sent % 4]
                )
            sent += 1
            if len(held) > 400:
                held.popleft().close()
    finally:
        for sock in held:
            sock.close()
    return sent


async def patiently(ask: Callable[[], Awaitable[None]]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while True:
        try:
            return await ask()
        except Refused:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.02)
