"""What only the real adapter can get wrong: sockets, threads, files, strangers, and the traps of the library."""

import asyncio
import os
import pickle
import shutil
import socket
import struct
import threading
import time
import zlib
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import msgspec
import pysyncobj
import pytest

from ariacluster.domain.errors import InvalidInput, NoLeader, StartFailed, Unavailable, UnknownOutcome
from ariacluster_node.adapters.raft import PySyncObjConsensus, consensus, core
from ariacluster_node.adapters.raft.disk import read_snapshot
from tests.support.ledger import Ledger
from tests.support.ports import free_port

KEY = b"k" * 32
WITHIN_S = 15.0


async def until(condition: Callable[[], bool], within: float = WITHIN_S) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        await asyncio.sleep(0.01)


class Host:
    """One node and its disk; may be started again after a stop."""

    def __init__(self, folder: Path) -> None:
        self.me = f"127.0.0.1:{free_port()}"
        self.folder = folder
        self.ledger = Ledger()
        self.node: PySyncObjConsensus | None = None

    async def up(
        self,
        *others: "Host",
        key: bytes = KEY,
        joining: bool = False,
        compact_entries: int = 20_000,
        bind: str | None = "127.0.0.1",
    ) -> PySyncObjConsensus:
        self.ledger = Ledger()
        node = PySyncObjConsensus(
            self.ledger,
            me=self.me,
            bind=bind,
            voters=[other.me for other in others],
            key=key,
            folder=self.folder,
            joining=joining,
            compact_entries=compact_entries,
        )
        await node.start()
        self.node = node
        return node

    def forget_commits(self) -> None:
        """As a kill does: the commit index on disk is that of up to a second ago."""
        meta = self.folder / "journal.meta"
        known = msgspec.msgpack.decode(meta.read_bytes())
        meta.write_bytes(msgspec.msgpack.encode({**known, "raftCommitIndex": 1}))

    async def down(self) -> None:
        if self.node is not None:
            await self.node.stop()


@pytest.fixture
async def hosts(tmp_path: Path) -> AsyncIterator[list[Host]]:
    hosts = [Host(tmp_path / name) for name in "abc"]
    yield hosts
    await asyncio.gather(*(host.down() for host in hosts))


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_nothing_is_left_after_a_stop(hosts: list[Host]) -> None:
    await asyncio.to_thread(int)  # the pool's thread is not ours
    files, threads = open_files(), {thread.name for thread in threading.enumerate()}
    for host in hosts:
        await host.up(*(other for other in hosts if other is not host))
    await until(lambda: all(host.node is not None and host.node.status().ready for host in hosts))
    assert "raft" in {thread.name for thread in threading.enumerate()}
    await asyncio.gather(*(host.down() for host in hosts))
    assert open_files() == files
    assert {thread.name for thread in threading.enumerate() if "asyncio" not in thread.name} <= threads


async def test_a_taken_port_is_named_and_nothing_is_left_open(hosts: list[Host]) -> None:
    host = hosts[0]
    address, _, port = host.me.partition(":")
    with socket.create_server((address, int(port))):
        await asyncio.to_thread(int)
        files = open_files()
        for bind in ("127.0.0.1", f"0.0.0.0:{port}", None):
            with pytest.raises(StartFailed, match=port):
                await host.up(bind=bind)
        assert open_files() == files
        assert not host.folder.exists()
    await host.up()  # free now


async def test_a_port_that_is_lost_to_another_at_the_last_moment(
    hosts: list[Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PySyncObjConsensus, "_probe_port", lambda self: None)
    host = hosts[0]
    address, _, port = host.me.partition(":")
    with socket.create_server((address, int(port))):
        await asyncio.to_thread(int)
        files = open_files()
        with pytest.raises(StartFailed, match=port):
            await host.up()
        assert open_files() == files


async def test_another_version_of_the_library_is_refused(hosts: list[Host], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consensus, "VERSION", "0.3.16")
    with pytest.raises(StartFailed, match=r"0\.3\.17"):
        await hosts[0].up()


@pytest.mark.parametrize("address", ["", "host", "host:", "host:http", ":1", "host:0", "host:65536"])
async def test_what_is_no_address_is_refused(hosts: list[Host], address: str) -> None:
    node = await hosts[0].up()
    with pytest.raises(InvalidInput):
        await node.add_voter(address, timeout=1.0)


@pytest.mark.parametrize("name", ["snapshot", "journal.meta"])
async def test_a_broken_file_is_not_taken_for_an_empty_one(hosts: list[Host], name: str) -> None:
    host = hosts[0]
    node = await host.up(compact_entries=10)
    for number in range(20):
        await node.propose(b"%d" % number, timeout=WITHIN_S)
    await host.down()
    whole = (host.folder / name).read_bytes()
    (host.folder / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StartFailed, match=host.folder.name):
        await host.up()
    (host.folder / name).write_bytes(whole)
    await host.up()
    await until(lambda: len(host.ledger.entries) == 20)


async def test_nothing_of_ours_is_pickled_on_disk(hosts: list[Host], monkeypatch: pytest.MonkeyPatch) -> None:
    host = hosts[0]
    node = await host.up(compact_entries=10)
    for number in range(25):
        await node.propose(b"%d" % number, timeout=WITHIN_S)
    await host.down()

    def refuse(data: bytes) -> object:
        raise AssertionError("something was unpickled")

    monkeypatch.setattr(pysyncobj.pickle, "loads", refuse)
    await host.up()
    await until(lambda: len(host.ledger.entries) == 25)


async def test_a_kill_between_snapshot_and_cutting_the_journal_loses_nothing(hosts: list[Host], tmp_path: Path) -> None:
    host, twin = hosts[:2]
    twin.me = host.me  # the same node, on another disk
    for half in (range(15), range(15, 30)):
        node = await host.up()
        for number in half:
            await node.propose(b"%d" % number, timeout=WITHIN_S)
        await host.down()
        if not twin.folder.exists():
            shutil.copytree(host.folder, twin.folder)
    await twin.up(compact_entries=10)  # makes the snapshot that `host` would have made after its first half
    await until(lambda: (twin.folder / "snapshot").exists())
    await twin.down()
    shutil.copy(twin.folder / "snapshot", host.folder)
    snapshot = read_snapshot(host.folder / "snapshot")
    assert snapshot is not None and snapshot.last[0].endswith(b"14")
    node = await host.up()
    await until(lambda: node.status().ready)
    assert host.ledger.entries == [b"%d" % number for number in range(30)]
    assert host.ledger.restored == 1


async def test_a_founder_that_forgot_its_second_does_not_lead_alone(hosts: list[Host]) -> None:
    a, b, _ = hosts
    node = await a.up()
    await b.up(a, joining=True)
    await until(lambda: node.status().is_leader)
    await node.add_voter(b.me, timeout=WITHIN_S)
    await b.down()
    await a.down()
    a.forget_commits()
    node = await a.up()  # told of nobody; the log knows
    with pytest.raises(NoLeader):
        await node.propose(b"alone", timeout=2.5)
    assert node.status().voters == tuple(sorted([a.me, b.me]))


async def test_a_joiner_waits_without_electing_and_votes_once_it_is_in(
    hosts: list[Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b, _ = hosts
    monkeypatch.setattr(core, "ELECTION_S", (0.31, 0.4))
    joiner = await b.up(a, joining=True)
    founder = await a.up()
    await until(lambda: founder.status().is_leader)
    with pytest.raises(NoLeader):
        await joiner.propose(b"too early", timeout=1.5)  # many times the time to an election
    assert joiner.status().term == 0
    term = founder.status().term
    await founder.add_voter(b.me, timeout=WITHIN_S)
    assert founder.status().term == term
    await a.down()
    assert joiner.status().voters == tuple(sorted([a.me, b.me]))
    founder = await a.up(b)
    await until(lambda: founder.status().leader is not None)
    await joiner.propose(b"one", timeout=WITHIN_S)
    assert b.ledger.entries == [b"one"]


async def test_who_has_another_key_is_not_heard(hosts: list[Host]) -> None:
    a, b, _ = hosts
    node = await a.up()
    await until(lambda: node.status().is_leader)
    stranger = await b.up(a, key=b"s" * 32, joining=True)
    with pytest.raises(Unavailable, match="key"):
        await node.add_voter(b.me, timeout=5.0)
    with pytest.raises(NoLeader):
        await stranger.propose(b"let me", timeout=1.0)
    await node.propose(b"alone, and well", timeout=WITHIN_S)
    assert node.status().voters == (a.me,)
    assert stranger.status().leader is None
    assert b.ledger.entries == []


async def test_what_listens_but_never_answers_is_not_taken_in(hosts: list[Host]) -> None:
    node = await hosts[0].up()
    await until(lambda: node.status().is_leader)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(Unavailable):
        await node.add_voter(f"127.0.0.1:{silent.getsockname()[1]}", timeout=0.5)
    await node.propose(b"alone, and well", timeout=WITHIN_S)


async def test_a_leader_that_dies_without_a_word_is_succeeded(hosts: list[Host]) -> None:
    for host in hosts:
        await host.up(*(other for other in hosts if other is not host))
    nodes = [host.node for host in hosts if host.node is not None]
    await until(lambda: all(node.status().ready for node in nodes))
    leader = next(node for node in nodes if node.status().is_leader)
    assert leader._core is not None
    leader._core.end()
    others = [node for node in nodes if node is not leader]
    await until(lambda: all(node.status().leader in {other.status().me for other in others} for node in others))
    await others[0].propose(b"after", timeout=WITHIN_S)


async def test_the_bytes_of_a_stranger_change_nothing(hosts: list[Host], tmp_path: Path) -> None:
    node = await hosts[0].up()
    await until(lambda: node.status().is_leader)
    host, _, port = hosts[0].me.partition(":")
    marker = tmp_path / "executed"

    class Evil:
        def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
            return os.mkdir, (str(marker),)

    packed = zlib.compress(pickle.dumps(Evil()))
    before = node.status()
    for noise in (
        b"GET / HTTP/1.0\r\n\r\n",
        os.urandom(4096),
        struct.pack("i", -1),
        struct.pack("i", len(packed)) + packed,
    ):
        with socket.create_connection((host, int(port))) as stranger:
            stranger.setblocking(False)
            await asyncio.get_running_loop().sock_sendall(stranger, noise)
            await node.propose(b"still well", timeout=WITHIN_S)
    assert not marker.exists()
    assert node.status().leader == before.leader and node.status().voters == before.voters
    assert hosts[0].ledger.entries == [b"still well"] * 4


async def test_a_stop_while_the_thread_asks_for_a_snapshot_does_not_lock_up(hosts: list[Host]) -> None:
    node = await hosts[0].up(compact_entries=1)
    await until(lambda: node.status().is_leader)
    proposals = [asyncio.create_task(node.propose(b"%d" % number, timeout=WITHIN_S)) for number in range(20)]
    await asyncio.sleep(0)
    await asyncio.wait_for(node.stop(), WITHIN_S)
    outcomes = await asyncio.gather(*proposals, return_exceptions=True)
    assert all(outcome is None or isinstance(outcome, UnknownOutcome | NoLeader) for outcome in outcomes)


async def test_a_stop_answers_what_was_proposed_and_cannot_be_committed(hosts: list[Host]) -> None:
    node = await hosts[0].up()
    await until(lambda: node.status().ready)
    assert node._core is not None
    node._core.addNodeToCluster("127.0.0.1:1", None)  # nobody is there: no majority any more
    waiting = asyncio.create_task(node.propose(b"lost", timeout=60.0))
    await until(lambda: len(node.status().voters) == 2)
    await asyncio.wait_for(node.stop(), WITHIN_S)
    with pytest.raises(UnknownOutcome):
        await asyncio.wait_for(waiting, WITHIN_S)


async def test_who_is_ready_has_applied_what_was_on_disk(hosts: list[Host]) -> None:
    a, b, _ = hosts
    nodes = await a.up(b), await b.up(a)
    for number in range(20):
        await nodes[0].propose(b"%d" % number, timeout=WITHIN_S)
    await until(lambda: len(b.ledger.entries) == 20)
    await asyncio.gather(a.down(), b.down())
    applied_when_ready: dict[str, int] = {}

    def watch(host: Host) -> None:
        if host.node is not None and host.node.status().ready:
            applied_when_ready.setdefault(host.me, len(host.ledger.entries))

    for host, other in ((a, b), (b, a)):
        host.forget_commits()
        node = await host.up(other)
        node.on_change(partial(watch, host))
    await until(lambda: len(applied_when_ready) == 2)
    assert applied_when_ready == {a.me: 20, b.me: 20}


async def test_what_is_answered_is_applied_however_slow_the_machine(
    hosts: list[Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(self: Ledger, index: int, payload: bytes) -> None:
        time.sleep(0.01)  # longer than a turn of the inbox
        self.entries.append(payload)

    monkeypatch.setattr(Ledger, "apply", slow)
    node = await hosts[0].up()

    async def propose(payload: bytes) -> None:
        await node.propose(payload, timeout=WITHIN_S)
        assert payload in hosts[0].ledger.entries

    await asyncio.gather(*(propose(b"%d" % number) for number in range(20)))


async def test_an_attempt_to_link_that_fails_at_once_leaves_no_socket(hosts: list[Host]) -> None:
    host = hosts[0]
    host.me = host.me.replace("127.0.0.1", "localhost")  # the greater name dials, and nobody can dial a multicast group
    node = PySyncObjConsensus(
        host.ledger, me=host.me, bind="127.0.0.1", voters=["224.0.0.1:1"], key=KEY, folder=host.folder
    )
    await node.start()
    with pytest.raises(NoLeader):
        await node.propose(b"lost", timeout=1.3)  # meanwhile it tried more than once; an open socket would warn
    await node.stop()


async def test_a_leader_that_stops_hands_over(hosts: list[Host]) -> None:
    for host in hosts:
        await host.up(*(other for other in hosts if other is not host))
    nodes = [host.node for host in hosts if host.node is not None]
    await until(lambda: all(node.status().ready for node in nodes))
    leader = next(node for node in nodes if node.status().is_leader)
    led: list[str | None] = []
    leader.on_change(lambda: led.append(leader.status().leader))
    await leader.stop()
    assert led[-1] is None
    assert led[-2] not in (None, leader.status().me)  # it saw its successor before it went


async def test_a_second_change_of_the_voters_is_denied_while_the_first_is_open(hosts: list[Host]) -> None:
    node = await hosts[0].up()
    await until(lambda: node.status().ready)
    assert node._core is not None
    reasons: list[int] = []
    for absent in ("127.0.0.1:1", "127.0.0.1:2"):  # the first needs the majority of two, and never gets it
        node._core.addNodeToCluster(absent, lambda _, reason: reasons.append(reason))
    await until(lambda: reasons != [])
    assert reasons == [pysyncobj.FAIL_REASON.REQUEST_DENIED]
    await until(lambda: node.status().voters == tuple(sorted([hosts[0].me, "127.0.0.1:1"])))


def test_the_library_leaves_the_socket_module_alone() -> None:
    """It replaces these two when it is imported; what else runs in this process needs the real ones."""
    packed = socket.inet_pton(socket.AF_INET6, "::1")
    assert socket.inet_ntop(socket.AF_INET6, packed) == "::1"
    assert socket.inet_ntop(socket.AF_INET, b"\x7f\x00\x00\x01") == "127.0.0.1"
