"""Snapshots on disk: a whole one or the one before, whatever moment the process or the power goes."""

import errno
import itertools
import os
import random
import shutil
import tracemalloc
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ariacluster.domain.errors import StartFailed
from ariacluster_node.adapters.raft.store import snapshots as module
from ariacluster_node.adapters.raft.store.disk import Disk, DiskFailed
from ariacluster_node.adapters.raft.store.snapshots import Outgoing, SnapshotMeta, Snapshots
from tests.support.power import Killed, PowerDisk

FIXTURES = Path(__file__).parents[1] / "fixtures"
FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
CHUNKS = [b"first", b"second" * 100, b"third"]


def meta(index: int, term: int = 1) -> SnapshotMeta:
    return SnapshotMeta(index=index, term=term, voters=("a", "b"), config_index=2)


def state(index: int) -> list[bytes]:
    """A snapshot's chunks, others for each index."""
    return [b"%d.%d" % (index, number) * 40 for number in range(index % 5)]


def made(snapshots: Snapshots, index: int, chunks: Iterable[bytes] | None = None, term: int = 1) -> None:
    for _ in snapshots.write(meta(index, term), state(index) if chunks is None else chunks):
        pass
    snapshots.adopt(meta(index, term))


def send(outgoing: Outgoing, to: Snapshots, piece: int = 100) -> SnapshotMeta | None:
    held = 0
    while held < outgoing.size:
        held = to.receive(outgoing.meta.index, outgoing.meta.term, outgoing.size, held, outgoing.read(held, piece))
    return to.received()


@pytest.fixture
def disk() -> PowerDisk:
    return PowerDisk(random.Random(1))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step writes a chunk or two, and every other one syncs."""
    monkeypatch.setattr(module, "STEP_BYTES", 100)
    monkeypatch.setattr(module, "SYNC_BYTES", 200)


def test_a_new_folder_has_none(disk: PowerDisk) -> None:
    snapshots = Snapshots(disk)
    assert (snapshots.latest, snapshots.size, disk.names()) == (None, 0, [])


@pytest.mark.parametrize("chunks", [CHUNKS, [], [b"", b"x", b""], [b"x" * 3_000_000] * 2])
def test_what_was_written_is_the_latest_once_adopted(disk: PowerDisk, chunks: list[bytes]) -> None:
    snapshots = Snapshots(disk)
    for _ in snapshots.write(meta(7), chunks):
        pass
    assert snapshots.latest is None
    snapshots.adopt(meta(7))
    for again in (snapshots, Snapshots(disk)):
        assert again.latest == meta(7)
        assert again.size == disk.size(disk.names()[0])
        assert list(again.chunks()) == [chunk for chunk in chunks if chunk]
    disk.cut_power()
    assert list(Snapshots(disk).chunks()) == [chunk for chunk in chunks if chunk]


def test_it_is_written_in_steps_and_synced_between(disk: PowerDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STEP_BYTES", 1000)
    monkeypatch.setattr(module, "SYNC_BYTES", 4000)
    disk.trace = []
    steps = []
    for _ in Snapshots(disk).write(meta(7), [bytes(400)] * 30):
        steps.append(disk.trace[:])
        disk.trace.clear()
    assert all(sum(line.startswith("write") for line in step) <= 1 for step in steps)
    assert 10 <= len(steps) <= 15
    assert 3 <= sum(line.startswith("sync ") for step in steps for line in step) <= 4
    assert [line.split()[0] for line in disk.trace] == ["rename", "sync_folder"]


def test_it_reaches_the_disk_before_its_name_does(disk: PowerDisk) -> None:
    snapshots = Snapshots(disk)
    disk.trace = []
    made(snapshots, 7)
    made(snapshots, 8)
    assert [line.split()[0] for line in disk.trace] == [
        *["create", "write", "sync", "rename", "sync_folder"],
        *["create", "write", "sync", "rename", "sync_folder", "remove"],
    ]


def test_a_newer_one_replaces_it_and_an_older_one_does_not(disk: PowerDisk) -> None:
    snapshots = Snapshots(disk)
    made(snapshots, 9)
    made(snapshots, 8)
    assert snapshots.latest == meta(9)
    assert list(snapshots.chunks()) == state(9)
    assert len(disk.names()) == 1
    writing = snapshots.write(meta(10), state(10))
    next(writing)
    made(snapshots, 11)
    for _ in writing:
        pass  # it was on its way when the newer one came
    disk.cut_power()
    assert Snapshots(disk).latest == meta(11)
    assert len(disk.names()) == 1


def test_a_leaders_older_one_does_not_remove_what_was_just_written(disk: PowerDisk) -> None:
    snapshots = Snapshots(disk)
    for _ in snapshots.write(meta(14), state(14)):
        pass
    made(snapshots, 11)
    snapshots.adopt(meta(14))
    assert list(Snapshots(disk).chunks()) == list(snapshots.chunks()) == state(14)


def test_one_of_the_same_index_takes_its_place(disk: PowerDisk) -> None:
    snapshots = Snapshots(disk)
    made(snapshots, 9)
    made(snapshots, 9, CHUNKS)
    assert list(snapshots.chunks()) == CHUNKS
    assert snapshots.size == disk.size(disk.names()[0])


def test_what_is_read_or_sent_is_not_disturbed_by_a_newer_one(disk: PowerDisk) -> None:
    snapshots, other = Snapshots(disk), Snapshots(PowerDisk(random.Random(2)))
    made(snapshots, 9)
    chunks, outgoing = snapshots.chunks(), snapshots.outgoing()
    begun = snapshots.chunks()
    first = next(begun)
    made(snapshots, 12)
    made(snapshots, 13)
    assert list(chunks) == state(9)
    assert [first, *begun] == state(9)
    assert send(outgoing, other) == meta(9)
    outgoing.close()
    outgoing.close()
    other.adopt(meta(9))
    assert list(other.chunks()) == state(9)


@pytest.mark.parametrize("error", [FULL, RuntimeError("encoder"), ValueError("too large")])
def test_what_cannot_be_written_leaves_nothing_behind(disk: PowerDisk, small: None, error: Exception) -> None:
    snapshots = Snapshots(disk)
    made(snapshots, 9)

    def chunks() -> Iterator[bytes]:
        yield from state(14)
        if isinstance(error, OSError):
            disk.fail_with(error)
        elif isinstance(error, ValueError):
            yield bytes(module.MAX_CHUNK_BYTES + 1)
        else:
            raise error
        yield bytes(1000)

    with pytest.raises(type(error)):
        made(snapshots, 14, chunks())
    disk.fail_with(None)
    assert list(snapshots.chunks()) == state(9)
    assert list(Snapshots(disk).chunks()) == state(9)
    assert len(disk.names()) == 1
    made(snapshots, 14)
    assert Snapshots(disk).latest == meta(14)


def test_one_that_was_given_up_is_gone_after_a_restart(disk: PowerDisk, small: None) -> None:
    snapshots = Snapshots(disk)
    made(snapshots, 9)
    writing = snapshots.write(meta(14), state(14))
    next(writing)
    del writing
    snapshots.receive(15, 1, 100, 0, b"x")
    disk.put("log-000000000001", b"")
    disk.put("other.tmp", b"")
    assert len(disk.names()) == 5
    assert Snapshots(disk).latest == meta(9)
    assert disk.names() == ["log-000000000001", "other.tmp", "snapshot-000000000009"]


# Sent in pieces.


@pytest.fixture
def outgoing() -> Outgoing:
    snapshots = Snapshots(PowerDisk(random.Random(2)))
    made(snapshots, 9, CHUNKS)
    return snapshots.outgoing()


@pytest.mark.parametrize("piece", [1, 64, 100_000])
def test_what_was_received_is_on_disk_and_the_latest_once_adopted(
    disk: PowerDisk, outgoing: Outgoing, piece: int, small: None
) -> None:
    snapshots = Snapshots(disk)
    assert send(outgoing, snapshots, piece) == outgoing.meta
    assert snapshots.latest is None
    assert snapshots.received() is None
    disk.cut_power()
    snapshots = Snapshots(disk)
    assert list(snapshots.chunks()) == CHUNKS
    assert disk.read(disk.names()[0]) == outgoing.read(0, outgoing.size)
    assert len(disk.names()) == 1


def test_pieces_that_do_not_fit_are_not_taken(disk: PowerDisk, outgoing: Outgoing) -> None:
    snapshots, size, whole = Snapshots(disk), outgoing.size, outgoing.read(0, outgoing.size)

    def receive(offset: int, data: bytes, index: int = 9, term: int = 1, size: int = size) -> int:
        return snapshots.receive(index, term, size, offset, data)

    assert receive(5, whole[5:9]) == 0, "it must begin at the beginning"
    assert receive(0, whole[:50]) == 50
    assert receive(0, whole[:50]) == 50, "again"
    assert receive(20, whole[20:80]) == 50, "overlapping"
    assert receive(60, whole[60:80]) == 50, "a hole"
    assert receive(50, whole[50:] + b"x") == 50, "beyond the end"
    assert receive(50, whole[50:], term=2) == 0, "another snapshot, not from its beginning"
    assert receive(50, whole[50:], index=10) == 0
    assert receive(50, whole[50:], size=size + 1) == 0
    assert receive(50, b"") == 50
    assert snapshots.received() is None
    assert receive(50, whole[50:]) == size
    assert receive(50, whole[50:]) == size
    assert snapshots.received() == meta(9)


def test_another_snapshot_puts_an_end_to_what_was_being_received(disk: PowerDisk, outgoing: Outgoing) -> None:
    snapshots = Snapshots(disk)
    whole = outgoing.read(0, outgoing.size)
    assert snapshots.receive(20, 3, 5000, 0, bytes(4000)) == 4000
    assert snapshots.receive(9, 1, len(whole), 0, whole[:10]) == 10
    assert snapshots.receive(20, 3, 5000, 4000, bytes(1000)) == 0
    assert snapshots.receive(9, 1, len(whole), 10, whole[10:]) == len(whole)
    assert snapshots.received() == meta(9)


def test_a_damaged_one_is_forgotten_and_asked_for_again(disk: PowerDisk, outgoing: Outgoing) -> None:
    snapshots, size = Snapshots(disk), outgoing.size
    for place in range(size):
        whole = bytearray(outgoing.read(0, size))
        whole[place] ^= 1
        assert snapshots.receive(9, 1, size, 0, bytes(whole)) == size
        assert snapshots.received() is None
        assert snapshots.receive(9, 1, size, 10, bytes(whole[10:])) == 0
    assert disk.names() == []
    whole = bytearray(outgoing.read(0, size))
    assert snapshots.receive(9, 2, size, 0, bytes(whole)) == size, "not what the leader said it is"
    assert snapshots.received() is None
    assert send(outgoing, snapshots) == meta(9)


def test_pieces_of_two_nodes_snapshots_do_not_make_one(disk: PowerDisk) -> None:
    """Both cover the same entries, in chunks of the same size and another order: together a task would be there twice."""
    others = []
    for chunks in ([b"aa", b"bb", b"cc"], [b"cc", b"bb", b"aa"]):
        snapshots = Snapshots(PowerDisk(random.Random(2)))
        made(snapshots, 9, chunks)
        others.append(snapshots.outgoing())
    snapshots, size = Snapshots(disk), others[0].size
    assert others[1].size == size
    for at in range(size):
        held = snapshots.receive(9, 1, size, 0, others[0].read(0, at))
        assert held == at
        assert snapshots.receive(9, 1, size, at, others[1].read(at, size)) == size
        taken = snapshots.received()
        if taken is not None:
            snapshots.adopt(taken)
            assert list(snapshots.chunks()) in ([b"aa", b"bb", b"cc"], [b"cc", b"bb", b"aa"])


def test_a_disk_that_fails_while_receiving_is_told(disk: PowerDisk, outgoing: Outgoing) -> None:
    snapshots = Snapshots(disk)
    disk.fail_with(FULL)
    with pytest.raises(DiskFailed, match=f"{disk.folder}.*could not be written: No space left"):
        send(outgoing, snapshots)
    disk.fail_with(None)
    snapshots = Snapshots(disk)
    snapshots.receive(9, 1, outgoing.size, 0, outgoing.read(0, outgoing.size))
    disk.fail_with(FULL)
    with pytest.raises(DiskFailed):
        snapshots.received()
    disk.fail_with(None)
    assert Snapshots(disk).latest is None
    assert disk.names() == []


def test_a_leaders_snapshot_of_another_format_is_told(disk: PowerDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Snapshots(PowerDisk(random.Random(2)))
    with monkeypatch.context() as patch:
        patch.setattr(module, "FORMAT", 2)
        made(other, 9)
    with pytest.raises(DiskFailed, match="has format 2, and this version of Aria Cluster reads format 1"):
        send(other.outgoing(), Snapshots(disk))


# Damage.


def test_every_flipped_bit_and_every_missing_byte_is_found(disk: PowerDisk) -> None:
    made(Snapshots(disk), 9, [b"one", b"two"])
    name = disk.names()[0]
    whole = disk.read(name)
    for bit in range(len(whole) * 8):
        disk.flip(name, bit)
        with pytest.raises(StartFailed, match=rf"{disk.folder / name} (is damaged at byte \d+|has format)"):
            Snapshots(disk)
        disk.flip(name, bit)
    for other in (*(whole[:size] for size in range(len(whole))), whole + b"\0", whole[8:], bytes(len(whole))):
        disk.put(name, other)
        with pytest.raises(StartFailed, match=f"{name} is damaged at byte"):
            Snapshots(disk)
    assert disk.names() == [name]


def test_the_byte_is_that_of_the_damaged_chunk(disk: PowerDisk) -> None:
    made(Snapshots(disk), 9, CHUNKS)
    name = disk.names()[0]
    at = disk.read(name).index(b"second")
    disk.flip(name, (at + 3) * 8)
    with pytest.raises(StartFailed, match=f"damaged at byte {at - module.CHUNK.size}\\. Check the disk"):
        Snapshots(disk)


def test_damage_after_the_start_is_found_while_it_is_read(disk: PowerDisk) -> None:
    snapshots = Snapshots(disk)
    made(snapshots, 9, CHUNKS)
    name = disk.names()[0]
    disk.flip(name, (disk.size(name) - 1) * 8)
    chunks = snapshots.chunks()
    assert [next(chunks) for _ in CHUNKS] == CHUNKS
    with pytest.raises(DiskFailed, match="damaged at byte"):
        next(chunks)


def test_another_format_is_told(disk: PowerDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(module, "FORMAT", 2)
        made(Snapshots(disk), 9)
    with pytest.raises(StartFailed, match="has format 2, and this version of Aria Cluster reads format 1"):
        Snapshots(disk)


def test_a_disk_that_fails_at_the_start_is_told(disk: PowerDisk) -> None:
    disk.fail_with(FULL)
    with pytest.raises(StartFailed, match=f"{disk.folder} cannot be opened: No space left"):
        Snapshots(disk)


def test_memory_stays_flat(tmp_path: Path) -> None:
    chunk = bytes(range(256)) * 256
    count = 50 * 1024 * 1024 // len(chunk)
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    tracemalloc.start()
    try:
        snapshots = Snapshots(Disk(tmp_path / "a"))
        made(snapshots, 9, itertools.repeat(chunk, count))
        assert sum(1 for read in Snapshots(Disk(tmp_path / "a")).chunks() if read == chunk) == count
        other, outgoing = Snapshots(Disk(tmp_path / "b")), snapshots.outgoing()
        assert send(outgoing, other, 128 * 1024) == meta(9)
        outgoing.close()
        assert tracemalloc.get_traced_memory()[1] < 8 * 1024 * 1024
    finally:
        tracemalloc.stop()


def test_the_file_of_format_1_still_opens(tmp_path: Path) -> None:
    """Written once by format 1, and never again."""
    shutil.copytree(FIXTURES / "raft-v1", tmp_path, dirs_exist_ok=True)
    snapshots = Snapshots(Disk(tmp_path))
    assert snapshots.latest == SnapshotMeta(index=5, term=2, voters=("the-first", "the-second"), config_index=2)
    assert list(snapshots.chunks()) == [b"the state", b"after 5"]


# Whatever moment.


class Life:
    """The lives of one folder: which snapshot must be there, and which may be there instead."""

    def __init__(self, disk: PowerDisk) -> None:
        self.disk = disk
        self.promised = 0
        self.attempted: set[int] = set()

    def open(self) -> None:
        self.snapshots = snapshots = Snapshots(self.disk)
        found = snapshots.latest.index if snapshots.latest else 0
        assert found == self.promised or (found > self.promised and found in self.attempted)
        if found:
            assert list(snapshots.chunks()) == state(found)
            assert snapshots.latest == meta(found)
        assert self.disk.names() == [f"snapshot-{found:012}"] * (found > 0)
        self.promised = found
        self.attempted.clear()

    def step(self, what: str, index: int, stop: int) -> None:
        self.attempted.add(index)
        if what == "write":
            for number, _ in enumerate(self.snapshots.write(meta(index), state(index))):
                if number == stop:
                    return
        else:
            other = Snapshots(PowerDisk(random.Random(2)))
            made(other, index)
            outgoing = other.outgoing()
            for number, at in enumerate(range(0, outgoing.size, 90)):
                self.snapshots.receive(index, 1, outgoing.size, at, outgoing.read(at, 90))
                if number == stop:
                    return
            assert self.snapshots.received() == meta(index)
        self.promised = max(index, self.promised)
        self.snapshots.adopt(meta(index))
        assert self.snapshots.latest == meta(self.promised)


SCRIPT = [
    ("write", 3, 99),
    ("receive", 9, 99),
    ("write", 4, 99),
    ("receive", 14, 2),
    ("write", 13, 2),
    ("write", 19, 99),
]


@pytest.mark.parametrize("power", [False, True])
def test_killed_at_every_operation(power: bool, small: None) -> None:
    done = False
    for at in itertools.count(1):
        if done:
            break
        for seed in range(12):
            life = Life(PowerDisk(random.Random(seed)))
            life.disk.kill_at(at)
            try:
                life.open()
                for step in SCRIPT:
                    life.step(*step)
                done = True
            except Killed:
                pass
            for _ in range(2):
                life.disk.cut_power() if power else life.disk.restart()
                life.disk.kill_at(seed % 4)
                with suppress(Killed):
                    life.open()
            life.disk.cut_power()
            life.open()
    assert at > 40


@settings(max_examples=200)
@given(
    seed=st.integers(0, 2**32),
    lives=st.lists(
        st.tuples(
            st.lists(
                st.tuples(st.sampled_from(["write", "receive"]), st.integers(1, 30), st.integers(0, 12)), max_size=6
            ),
            st.integers(0, 40),
            st.sampled_from(["kill", "power", "full", "full and power"]),
        ),
        min_size=1,
        max_size=6,
    ),
)
def test_whatever_happens_a_whole_one_is_there(
    seed: int, lives: list[tuple[list[tuple[str, int, int]], int, str]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "STEP_BYTES", 100)
        patch.setattr(module, "SYNC_BYTES", 200)
        life = Life(PowerDisk(random.Random(seed)))
        for steps, kill_at, end in lives:
            if end in ("kill", "power"):
                life.disk.kill_at(kill_at)
            with suppress(Killed):
                life.open()
                for number, step in enumerate(steps):
                    if end.startswith("full") and number == kill_at % 6:
                        life.disk.fail_with(FULL)
                    try:
                        life.step(*step)
                    except (DiskFailed, OSError):
                        break
            life.disk.fail_with(None)
            life.disk.cut_power() if "power" in end else life.disk.restart()
        life.open()
        life.disk.cut_power()
        life.open()
