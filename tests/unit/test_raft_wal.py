"""The log on disk: what is promised when `sync` returns, whatever moment the process or the power goes."""

import errno
import itertools
import os
import pickle
import random
import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ariacluster.domain.errors import StartFailed
from ariacluster_node.adapters.raft.store import wal as wal_module
from ariacluster_node.adapters.raft.store.disk import Disk, DiskFailed
from ariacluster_node.adapters.raft.store.segments import (
    HEADER,
    MARKER,
    PARTIAL,
    RECORD,
    Entry,
    first_bytes,
    name_of,
    record_bytes,
)
from ariacluster_node.adapters.raft.store.wal import BASE_COMMAND, Wal
from tests.support.power import Killed, PowerDisk

FIXTURES = Path(__file__).parents[1] / "fixtures"
Base = tuple[int, int] | None
FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def entry(index: int, term: int = 1) -> Entry:
    return b"\x00%d.%d" % (index, term), index, term


def opened(disk: Disk, base: Base = None) -> Wal:
    return Wal(disk, base=base, entropy=random.Random(7).randbytes)


def filled(wal: Wal, *indices: int, term: int = 1) -> None:
    for index in indices:
        wal.add(*entry(index, term))


def a_second_passes(wal: Wal) -> None:
    wal.onOneSecondTimer()
    wal.sync()


def after_power_cut(disk: PowerDisk, base: Base = None) -> Wal:
    disk.cut_power()
    return opened(disk, base)


@pytest.fixture
def disk() -> PowerDisk:
    return PowerDisk(random.Random(1))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every record begins a new segment."""
    monkeypatch.setattr(wal_module, "SEGMENT_BYTES", 1)


def test_a_new_log_is_empty_and_knows_nothing(disk: PowerDisk) -> None:
    for wal in (opened(disk), opened(disk), after_power_cut(disk)):
        assert (wal[:], len(wal), wal.synced) == ([], 0, 0)
        assert (wal.getCurrentTerm(), wal.getVotedForNodeId(), wal.getRaftCommitIndex()) == (0, None, 1)
    assert disk.names() == [name_of(3)]


def test_what_was_synced_is_read_back(disk: PowerDisk) -> None:
    wal = opened(disk)
    filled(wal, 1, 2, 3)
    assert wal.synced == 0
    wal.sync()
    assert wal.synced == 3
    wal = after_power_cut(disk)
    assert wal[:] == [entry(1), entry(2), entry(3)]
    assert (wal.synced, wal[1], wal[-1]) == (3, entry(2), entry(3))


def test_one_sync_does_for_many_and_none_for_nothing(disk: PowerDisk) -> None:
    wal = opened(disk)
    filled(wal, *range(1, 100))
    disk.trace = []
    wal.sync()
    wal.sync()
    assert disk.trace == [f"write {name_of(1)}", f"sync {name_of(1)}"]


def test_a_vote_takes_what_is_pending_along_in_one_sync(disk: PowerDisk) -> None:
    wal = opened(disk)
    filled(wal, 1, 2)
    disk.trace = []
    wal.setCurrentTerm(5, "a")
    assert disk.trace == [f"write {name_of(1)}", f"sync {name_of(1)}"]
    assert wal.synced == 2
    wal = after_power_cut(disk)
    assert (wal[:], wal.getCurrentTerm(), wal.getVotedForNodeId()) == ([entry(1), entry(2)], 5, "a")


def test_what_was_cut_off_stays_away(disk: PowerDisk) -> None:
    wal = opened(disk)
    filled(wal, 1, 2, 3)
    wal.sync()
    wal.deleteEntriesFrom(1)
    wal.deleteEntriesFrom(1)
    assert wal.synced == 1
    filled(wal, 2, term=2)
    assert wal.synced == 1
    wal.sync()
    assert after_power_cut(disk)[:] == [entry(1), entry(2, 2)]


def test_what_is_committed_is_not_cut_off(disk: PowerDisk) -> None:
    wal = opened(disk)
    filled(wal, 1, 2, 3)
    wal.setRaftCommitIndex(2)
    with pytest.raises(ValueError, match="entry 2 is committed"):
        wal.deleteEntriesFrom(1)
    with pytest.raises(ValueError, match="entry 2 is committed"):
        wal.reset(1, 1)
    wal.deleteEntriesFrom(2)
    assert wal[:] == [entry(1), entry(2)]


def test_cutting_the_beginning_touches_no_file_and_old_segments_go_one_by_one(disk: PowerDisk, small: None) -> None:
    wal = opened(disk)
    for index in range(1, 41):
        filled(wal, index)
        wal.sync()
    wal.setRaftCommitIndex(40)
    assert len(disk.names()) == 40
    disk.trace = []
    wal.deleteEntriesTo(37)
    assert disk.trace == []
    assert wal[:] == [entry(38), entry(39), entry(40)]
    a_second_passes(wal)  # writes, in a new segment
    a_second_passes(wal)
    a_second_passes(wal)
    assert [line for line in disk.trace if line.startswith("remove")] == [f"remove {name_of(n)}" for n in (2, 3, 4, 5)]
    for _ in range(40):
        a_second_passes(wal)
    assert disk.names() == [name_of(number) for number in range(39, 43)]  # where 38 is, and later ones
    disk.sync_folder()
    assert after_power_cut(disk, (40, 1))[:] == [entry(38), entry(39), entry(40)]


def cut_off(disk: PowerDisk) -> Wal:
    """Ten entries, and from the fourth on four of the next term in their place."""
    wal = opened(disk)
    for index in range(1, 11):
        filled(wal, index)
        wal.sync()
    wal.setRaftCommitIndex(3)
    wal.deleteEntriesFrom(3)
    for index in range(4, 8):
        filled(wal, index, term=2)
        wal.sync()
    wal.setRaftCommitIndex(7)
    return wal


def test_segments_whose_entries_were_cut_off_go_after_a_restart(disk: PowerDisk, small: None) -> None:
    cut_off(disk)
    disk.kill()
    disk.restart()
    again = opened(disk, (7, 2))
    again.deleteEntriesTo(4)
    again.setCurrentTerm(1, None)
    for _ in range(20):
        a_second_passes(again)
    assert disk.names() == [name_of(number) for number in range(13, 19)]


def test_segments_whose_entries_were_cut_off_go_while_it_runs(disk: PowerDisk, small: None) -> None:
    wal = cut_off(disk)
    wal.deleteEntriesTo(4)
    for _ in range(20):
        a_second_passes(wal)
    assert disk.names() == [name_of(number) for number in range(13, 17)]
    disk.sync_folder()
    assert after_power_cut(disk, (7, 2))[:] == [entry(5, 2), entry(6, 2), entry(7, 2)]


def test_nothing_is_removed_while_the_newest_segment_has_but_one_record(disk: PowerDisk) -> None:
    """So that its later records are missed if they are lost."""
    wal = opened(disk)
    filled(wal, 1, 2, 3)
    wal.setRaftCommitIndex(3)
    wal.sync()
    wal = opened(disk, (3, 1))
    wal.deleteEntriesTo(2)
    wal._tidy()
    assert len(disk.names()) == 2
    wal.setCurrentTerm(1, None)
    assert len(disk.names()) == 1


def test_a_leaders_snapshot_replaces_the_log(disk: PowerDisk, small: None) -> None:
    wal = opened(disk)
    for index in range(1, 10):
        filled(wal, index)
        wal.sync()
    wal.reset(50, 3)
    assert (wal[:], wal.synced) == ([(BASE_COMMAND, 50, 3)], 0)
    filled(wal, 51, term=3)
    wal.setRaftCommitIndex(51)
    wal.sync()
    assert wal.synced == 51
    wal = after_power_cut(disk, (50, 3))
    assert wal[:] == [(BASE_COMMAND, 50, 3), entry(51, 3)]
    for _ in range(20):
        wal.setCurrentTerm(wal.getCurrentTerm() + 1, None)
    assert name_of(1) not in disk.names()
    assert after_power_cut(disk, (50, 3))[:] == [(BASE_COMMAND, 50, 3), entry(51, 3)]


@pytest.mark.parametrize(
    ("base", "found"),
    [
        pytest.param((3, 1), [1, 2, 3, 4, 5], id="held: kept with what precedes and follows"),
        pytest.param((5, 1), [1, 2, 3, 4, 5], id="held as the last"),
        pytest.param((9, 4), [9], id="all that is here is older"),
        pytest.param((4, 2), [4], id="another entry stands there"),
    ],
)
def test_a_log_is_lined_up_with_the_snapshot_beside_it(disk: PowerDisk, base: Base, found: list[int]) -> None:
    wal = opened(disk)
    filled(wal, 1, 2, 3, 4, 5)
    wal.setCurrentTerm(6, "b")
    assert base is not None
    for wal in (opened(disk, base), after_power_cut(disk, base)):
        assert [index for _, index, _ in wal[:]] == found
        assert (wal.getRaftCommitIndex(), wal.synced) == (base[0], found[-1])
        assert (wal.getCurrentTerm(), wal.getVotedForNodeId()) == (6, "b")


def test_a_log_that_begins_right_after_the_snapshot_is_kept(disk: PowerDisk) -> None:
    wal = opened(disk)
    wal.reset(5, 1)
    wal.deleteEntriesTo(1)
    filled(wal, 6, 7)
    wal.clear()
    filled(wal, 6, 7)
    wal.sync()
    for wal in (opened(disk, (5, 1)), after_power_cut(disk, (5, 1))):
        assert wal[:] == [(BASE_COMMAND, 5, 1), entry(6), entry(7)]


@pytest.mark.parametrize(
    ("first", "commit", "base", "said"),
    [
        pytest.param(5, 0, None, "it holds 5 to 7.*no snapshot", id="a beginning without snapshot"),
        pytest.param(5, 0, (3, 1), "it holds 5 to 7.*ends at 3", id="a hole after the snapshot"),
        pytest.param(
            1, 3, (3, 2), "it holds 1 to 3, 3 were committed", id="the snapshot contradicts what was committed"
        ),
    ],
)
def test_a_log_that_lacks_what_was_confirmed_is_refused(
    disk: PowerDisk, first: int, commit: int, base: Base, said: str
) -> None:
    wal = opened(disk)
    filled(wal, *range(first, first + 3))
    wal.setRaftCommitIndex(commit)
    wal._destroy()
    with pytest.raises(StartFailed, match=said):
        opened(disk, base)


def test_a_snapshot_without_any_log_is_refused(disk: PowerDisk) -> None:
    with pytest.raises(StartFailed, match="is gone"):
        opened(disk, (5, 1))


def test_a_commit_beyond_the_end_is_refused_and_one_taken_back_too(disk: PowerDisk) -> None:
    state = {"term": 1, "vote": None, "commit": 2}
    head = first_bytes([], 1, 9)
    for changes, said in (
        ([[entry(1), state]], "1 to 1, 2 were committed"),
        ([[entry(1), entry(2), state], [2, entry(2, 2)]], "takes back entry 2"),
        ([[entry(1), entry(2), state], [0]], "takes back entry 1"),
        ([[entry(1), entry(3)]], "holds entry 3 after 1"),
        ([[["new", 1]]], "cannot read"),
    ):
        records = [record_bytes(change, 1, 9, count) for count, change in enumerate(changes, 1)]  # type: ignore[arg-type]
        disk.put(name_of(1), head + b"".join(records))
        with pytest.raises(StartFailed, match=said):
            opened(disk)


def test_what_a_majority_has_may_be_committed_before_it_is_on_this_disk(disk: PowerDisk) -> None:
    wal = opened(disk)
    filled(wal, 1, 2, 3)
    wal.sync()
    filled(wal, 4)
    wal.setRaftCommitIndex(4)
    assert (wal.getRaftCommitIndex(), wal.synced) == (4, 3)
    again = after_power_cut(disk)
    assert (again[-1], again.getRaftCommitIndex()) == (entry(3), 1)


def test_what_changes_while_a_write_is_on_its_way_goes_with_the_next(disk: PowerDisk) -> None:
    wal = opened(disk)
    filled(wal, 1, 2, 3)
    first = wal.begin()
    assert first is not None
    filled(wal, 4)
    assert wal.begin() is None
    wal.land()
    assert wal.synced == 0
    first.run()
    wal.deleteEntriesFrom(2)
    filled(wal, 3, term=2)
    wal.land()
    assert wal.synced == 2  # entry 3 that was written is not the one that stands there now
    assert after_power_cut(copy(disk))[:] == [entry(1), entry(2), entry(3)]
    disk.trace = []
    second = wal.begin()
    assert second is not None
    wal.setCurrentTerm(2, "a")  # waits for it
    assert (wal.synced, len(disk.trace)) == (3, 4)
    second.run()
    assert len(disk.trace) == 4
    again = after_power_cut(disk)
    assert (again[:], again.getVotedForNodeId()) == ([entry(1), entry(2), entry(3, 2)], "a")


def test_another_thread_may_write(tmp_path: Path) -> None:
    wal = opened(Disk(tmp_path))
    filled(wal, 1)
    first = wal.begin()
    assert first is not None
    threads = [threading.Thread(target=first.run) for _ in range(4)]
    for thread in threads:
        thread.start()
    wal.sync()
    assert wal.synced == 1
    for thread in threads:
        thread.join()
    assert opened(Disk(tmp_path))[:] == [entry(1)]


def test_the_commit_index_only_grows_and_is_on_disk_after_a_second(disk: PowerDisk) -> None:
    wal = opened(disk)
    filled(wal, 1, 2, 3)
    wal.setRaftCommitIndex(2)
    wal.setRaftCommitIndex(1)
    assert wal.getRaftCommitIndex() == 2
    assert after_power_cut(disk).getRaftCommitIndex() == 1
    wal = opened(disk)
    filled(wal, 1, 2, 3)
    wal.setRaftCommitIndex(99)
    assert wal.getRaftCommitIndex() == 3
    a_second_passes(wal)
    assert after_power_cut(disk).getRaftCommitIndex() == 3


def test_the_timer_closes_a_promise_once_and_then_rests(disk: PowerDisk) -> None:
    wal = opened(disk)
    wal.setCurrentTerm(1, "a")
    a_second_passes(wal)
    disk.trace = []
    a_second_passes(wal)
    assert disk.trace == []
    filled(wal, 1)
    wal.sync()
    wal.setRaftCommitIndex(1)
    a_second_passes(wal)
    assert len(disk.trace) == 4
    a_second_passes(wal)
    wal._destroy()
    wal._destroy()
    assert len(disk.trace) == 4


TEARS: dict[str, Callable[[bytes], bytes | bytearray]] = {
    "one byte short": lambda rest: rest[:-1],
    "hardly begun": lambda rest: rest[:3],
    "zeros": lambda rest: bytes(len(rest)),
    "zeros behind a good beginning": lambda rest: rest[:30] + bytes(len(rest) - 30),
    "zeros before a good end": lambda rest: bytes(20) + rest[20:],
    "one bit": lambda rest: rest[:-1] + bytes([rest[-1] ^ 1]),
    "garbage": lambda rest: b"\xff" * 5000,
    "markers": lambda rest: MARKER * 9,
    "a record of another file": lambda rest: record_bytes([entry(9)], 1, 3, 2) * 3,
}


@pytest.mark.parametrize("tear", TEARS.values(), ids=TEARS.keys())
def test_a_torn_end_is_passed_over_and_the_log_goes_on(
    disk: PowerDisk, tear: Callable[[bytes], bytes | bytearray]
) -> None:
    wal = opened(disk)
    filled(wal, 1, 2)
    wal.sync()
    good = disk.size(name_of(1))
    filled(wal, 3, 4)
    wal.sync()
    whole = disk.read(name_of(1))
    disk.put(name_of(1), whole[:good] + tear(whole[good:]))
    wal = opened(disk)
    assert wal[:] == [entry(1), entry(2)]
    filled(wal, 3)
    wal.sync()
    assert after_power_cut(disk)[:] == [entry(1), entry(2), entry(3)]
    disk.put(name_of(1), whole[: good - 1])  # what stood there is now damage: but it is repeated
    assert opened(disk)[:] == [entry(1), entry(2), entry(3)]


def test_what_a_killed_process_left_unsynced_is_synced_before_it_counts(disk: PowerDisk) -> None:
    for seed in range(200):
        disk = PowerDisk(random.Random(seed))
        wal = opened(disk)
        filled(wal, 1)
        wal.sync()
        filled(wal, 2, 3)
        disk.kill_at(2)
        with pytest.raises(Killed):
            wal.sync()
        disk.restart()
        wal = opened(disk)
        assert (wal.synced, wal[:]) == (3, [entry(1), entry(2), entry(3)])
        assert after_power_cut(disk)[:] == [entry(1), entry(2), entry(3)]


@pytest.mark.parametrize("at", ["sync", "vote", "segment"])
def test_what_a_failed_sync_left_in_the_cache_is_written_again_before_it_counts(
    at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel calls pages clean that it could not write: the next sync succeeds, and a power cut shows the truth."""
    for seed in range(100):
        disk = PowerDisk(random.Random(seed))
        wal = opened(disk)
        filled(wal, 1)
        wal.sync()
        filled(wal, 2)
        if at == "segment":
            monkeypatch.setattr(wal_module, "SEGMENT_BYTES", 1)
        file = wal._file
        assert file is not None
        write = type(file).write
        disk.fail_with(FULL)

        def written_at_least(
            self: object, data: bytes, write: Callable[..., None] = write, disk: PowerDisk = disk
        ) -> None:
            disk.fail_with(None)
            write(self, data)
            disk.fail_with(FULL)

        with monkeypatch.context() as patch:
            patch.setattr(type(file), "write", written_at_least)
            with pytest.raises(DiskFailed):
                wal.setCurrentTerm(2, "a") if at == "vote" else wal.sync()
        disk.fail_with(None)
        disk.restart()
        wal = opened(disk)
        found = wal[:], wal.getCurrentTerm(), wal.getVotedForNodeId()
        assert found[0] == ([entry(1)] if at == "segment" else [entry(1), entry(2)])
        wal = after_power_cut(disk)
        assert (wal[:], wal.getCurrentTerm(), wal.getVotedForNodeId()) == found
        monkeypatch.undo()


UNFINISHED: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda whole: b"",
    "hardly begun": lambda whole: whole[:10],
    "one byte short": lambda whole: whole[:-1],
    "zeros": lambda whole: bytes(len(whole)),
    "garbage": lambda whole: b"junk" * 300,
    "without its header": lambda whole: bytes(HEADER.size) + whole[HEADER.size :],
    "whole": lambda whole: whole,
}


@pytest.mark.parametrize("torn", UNFINISHED.values(), ids=UNFINISHED.keys())
@pytest.mark.parametrize("last", [0, 3])
def test_a_segment_that_was_being_made_is_not_read_and_goes(
    disk: PowerDisk, small: None, torn: Callable[[bytes], bytes], last: int
) -> None:
    wal = opened(disk)
    for index in range(1, last + 1):
        filled(wal, index)
        wal.sync()
    held = wal[:]
    for ahead in (1, 2, 9):
        number = int(disk.names()[-1][4:]) + ahead
        partial = name_of(number) + PARTIAL
        disk.put(partial, torn(first_bytes([entry(last + 1)], number, 5)))
        wal = opened(disk)
        assert wal[:] == held
        assert disk.names()[-1] == name_of(number + 1)
        assert partial not in disk.names()
        filled(wal, last + 1)
        wal.sync()
        wal.deleteEntriesFrom(last)
        wal.sync()
        assert after_power_cut(disk)[:] == held


def test_a_segment_gets_its_name_once_it_is_on_disk_and_is_used_once_the_name_is(disk: PowerDisk, small: None) -> None:
    def made(name: str) -> list[str]:
        partial = name + PARTIAL
        return [f"create {partial}", f"write {partial}", f"sync {partial}", f"rename {partial} {name}", "sync_folder"]

    disk.trace = []
    wal = opened(disk)
    assert disk.trace == made(name_of(1))
    for index in (1, 2):
        filled(wal, index)
        disk.trace.clear()
        wal.sync()
        name = name_of(index + 1)
        assert disk.trace[:7] == [*made(name), f"write {name}", f"sync {name}"]
    disk.put(name_of(7) + PARTIAL, b"")
    disk.trace.clear()
    opened(disk)
    assert disk.trace == [f"remove {name_of(7)}{PARTIAL}", *made(name_of(8))]
    disk.trace.clear()
    opened(disk)
    assert disk.trace == [*made(name_of(9)), f"remove {name_of(8)}"]


def test_whatever_name_a_segment_is_left_with_the_log_is_the_same() -> None:
    """Killed at each step of making one, and the power cut or not; again with the next, which may have the same number."""
    left = set()
    for step, power, seed in itertools.product(range(1, 7), (False, True), range(40)):
        disk = PowerDisk(random.Random(seed))
        wal = opened(disk)
        filled(wal, 1, 2)
        wal.setCurrentTerm(2, "a")
        for again in range(3):
            disk.kill_at(step - again if step > again else 0)
            with suppress(Killed):
                opened(disk)
                disk.kill()
            disk.cut_power() if power else disk.restart()
            left.add((step, power, again, tuple(disk.names())))
        disk.cut_power() if not power else disk.restart()
        wal = opened(disk)
        assert (wal[:], wal.getCurrentTerm(), wal.getVotedForNodeId()) == ([entry(1), entry(2)], 2, "a")
        filled(wal, 3)
        wal.sync()
        wal = after_power_cut(disk)
        assert (wal[:], wal.getCurrentTerm(), wal.getVotedForNodeId()) == ([entry(1), entry(2), entry(3)], 2, "a")
    one, two, three = (name_of(number) for number in (1, 2, 3))
    after = {
        power: {names for step, cut, again, names in left if (step, cut, again) == (5, power, 0)} for power in (0, 1)
    }
    assert after[False] == {(one, two)}, "killed while the folder is synced"
    assert after[True] == {(one,), (one, two), (one, two + PARTIAL)}, "and then the power"
    assert {(one, two, three), (one, two, three + PARTIAL)} < {names for *_, names in left}, "and once more"


def test_starts_that_fail_leave_no_heap_and_what_cannot_be_removed_is_not_in_the_way(
    disk: PowerDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    wal = opened(disk)
    filled(wal, 1)
    wal.sync()
    for _ in range(5):
        with monkeypatch.context() as patch:
            patch.setattr("tests.support.power._File.write", lambda *_: (_ for _ in ()).throw(FULL))
            assert "No space left" in damaged(disk)
    assert len(disk.names()) == 2

    def refuse(name: str) -> None:
        raise PermissionError(errno.EPERM, "no")

    (partial,) = (name for name in disk.names() if name.endswith(PARTIAL))
    with monkeypatch.context() as patch:
        patch.setattr(disk, "remove", refuse)
        disk.trace = []
        assert opened(disk)[:] == [entry(1)]
    assert f"create {partial}" not in disk.trace
    assert partial in disk.names()
    assert opened(disk)[:] == [entry(1)]
    assert partial not in disk.names()


def damaged(disk: PowerDisk, base: Base = None) -> str:
    with pytest.raises(StartFailed) as failure:
        opened(disk, base)
    return failure.value.detail


def test_damage_amid_the_log_names_file_and_byte(disk: PowerDisk) -> None:
    wal = opened(disk)
    bounds = [disk.size(name_of(1))]
    for index in range(1, 4):
        filled(wal, index)
        wal.sync()
        bounds.append(disk.size(name_of(1)))
    names = disk.names()
    for place in range(bounds[0], bounds[2]):
        disk.flip(name_of(1), place * 8 + 4)
        byte = bounds[0 if place < bounds[1] else 1]
        assert f"{disk.folder / name_of(1)} is damaged at byte {byte}," in damaged(disk)
        disk.flip(name_of(1), place * 8 + 4)
    assert disk.names() == names
    wal = opened(disk)  # a new segment: what the old one holds must be good to the last byte that counts
    filled(wal, 4)
    wal.sync()
    disk.truncate(name_of(1), bounds[1] + 3)
    assert f"{name_of(1)} is damaged at byte {bounds[1]}," in damaged(disk)
    disk.truncate(name_of(1), 5)
    assert f"{name_of(1)} is damaged at byte 0," in damaged(disk)


class Bomb:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return print, ("boom",)


REPLACED: dict[str, Callable[[bytes], bytes]] = {
    "emptied": lambda whole: b"",
    "90 bytes of anything": lambda whole: random.Random(2).randbytes(90),
    "a pickle": lambda whole: pickle.dumps(Bomb()),
    "a long one": lambda whole: pickle.dumps([Bomb()] * 9 + [b"x" * 5000]),
    "zeros": lambda whole: bytes(len(whole)),
    "without its header": lambda whole: whole[HEADER.size :],
    "a header of zeros": lambda whole: bytes(HEADER.size) + whole[HEADER.size :],
    "of another number": lambda whole: first_bytes([], 99, 1),
    "the header alone": lambda whole: whole[: HEADER.size],
    "without its first record": lambda whole: whole[: HEADER.size] + whole[second_record(whole) :],
    "its first record one byte short": lambda whole: whole[: second_record(whole) - 1],
}


def second_record(whole: bytes) -> int:
    return HEADER.size + RECORD.size + int(RECORD.unpack_from(whole, HEADER.size)[3])


@pytest.mark.parametrize("replaced", REPLACED.values(), ids=REPLACED.keys())
@pytest.mark.parametrize("starts", [1, 2, 3])
@pytest.mark.parametrize("used", [False, True])
def test_any_segment_whose_beginning_is_lost_is_refused(
    disk: PowerDisk, replaced: Callable[[bytes], bytes], starts: int, used: bool
) -> None:
    """Also the newest, the only one, and one that was never used: what has its name was on disk."""
    for start in range(1, starts + 1):
        wal = opened(disk)
        if used or start < starts:
            filled(wal, start)
            wal.sync()
            wal.setCurrentTerm(start, "a")
    assert len(disk.names()) == starts
    for name in disk.names():
        whole = disk.read(name)
        disk.put(name, replaced(whole))
        before = copy(disk)
        byte = HEADER.size if replaced(whole).startswith(whole[: HEADER.size]) else 0
        assert f"{disk.folder / name} is damaged at byte {byte}," in damaged(disk)
        assert {n: disk.read(n) for n in disk.names()} == {n: before.read(n) for n in before.names()}
        disk.put(name, whole)
    assert opened(disk).getCurrentTerm() == (starts if used else starts - 1)


def test_what_was_written_to_the_newest_segment_is_missed_once_the_one_before_it_went(disk: PowerDisk) -> None:
    wal = opened(disk)
    filled(wal, 1, 2, 3)
    wal.setRaftCommitIndex(3)
    wal.sync()
    wal = opened(disk, (3, 1))
    wal.deleteEntriesTo(2)
    assert disk.names() == [name_of(1), name_of(2)]
    filled(wal, 4)
    wal.sync()
    assert disk.names() == [name_of(2)]
    whole = disk.read(name_of(2))
    for end in range(len(whole)):
        disk.put(name_of(2), whole[:end])
        said = damaged(disk, (3, 1))
        if end < second_record(whole):
            assert f"{name_of(2)} is damaged at byte {0 if end < HEADER.size else HEADER.size}," in said
        else:
            assert f"{name_of(2)} is damaged behind its first record, or {name_of(1)} beside it is gone" in said


def test_a_beginning_that_is_damaged_hides_nothing_that_was_promised(disk: PowerDisk, small: None) -> None:
    wal = opened(disk)
    for index in range(1, 6):
        filled(wal, index)
        wal.sync()
    wal = opened(disk)
    wal.setCurrentTerm(5, "a")
    for name in disk.names():
        for place in range(second_record(disk.read(name))):
            disk.flip(name, place * 8)
            byte = 0 if place < HEADER.size else HEADER.size
            assert f"{disk.folder / name} is damaged at byte {byte}," in damaged(disk)
            disk.flip(name, place * 8)


def test_another_format_is_told(disk: PowerDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("ariacluster_node.adapters.raft.store.segments.FORMAT", 2)
        disk.put(name_of(1), first_bytes([], 1, 1))
    assert f"{disk.folder / name_of(1)} has format 2, and this version of Aria Cluster reads format 1" in damaged(disk)


def copy(disk: PowerDisk) -> PowerDisk:
    other = PowerDisk(random.Random(1))
    for name in disk.names():
        other.put(name, disk.read(name))
    return other


@pytest.mark.parametrize("again", [False, True])
def test_every_flipped_bit_is_found_or_harmless(disk: PowerDisk, again: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a log that was closed, or whose timer has rung since the last promise. `again`: and was opened since."""
    monkeypatch.setattr(wal_module, "SEGMENT_BYTES", 200)
    wal = opened(disk)
    filled(wal, 1, 2)
    wal.setCurrentTerm(1, "a")
    filled(wal, 3)
    wal.setRaftCommitIndex(2)
    wal.sync()
    wal.deleteEntriesFrom(2)
    filled(wal, 3, 4, term=2)
    wal.sync()
    wal.setCurrentTerm(2, "b")
    wal._destroy()
    if again:
        opened(disk)
    good = wal[:], 2, "b"
    assert len(disk.names()) > 1
    harmless = 0
    for name in disk.names():
        for bit in range(disk.size(name) * 8):
            other = copy(disk)
            other.flip(name, bit)
            with suppress(StartFailed):
                wal = opened(other)
                harmless += 1
                assert (wal[:], wal.getCurrentTerm(), wal.getVotedForNodeId()) == good, (name, bit)
    assert 0 < harmless < sum(disk.size(name) for name in disk.names()) * 4


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("attempt", ["sync", "vote", "second"])
def test_what_failed_once_is_not_tried_again(disk: PowerDisk, number: int, attempt: str) -> None:
    wal = opened(disk)
    filled(wal, 1, 2, 3)
    wal.setRaftCommitIndex(3)
    wal.sync()
    filled(wal, 4)
    attempts: dict[str, Callable[[], object]] = {
        "sync": wal.sync,
        "vote": lambda: wal.setCurrentTerm(2, "a"),
        "second": lambda: a_second_passes(wal),
    }
    disk.fail_with(OSError(number, os.strerror(number)))
    with pytest.raises(DiskFailed, match=f"{disk.folder}.*{os.strerror(number)}.*Free or replace"):
        attempts[attempt]()
    disk.fail_with(None)
    disk.trace = []
    for again in attempts.values():
        with pytest.raises(DiskFailed):
            again()
    wal._destroy()
    assert disk.trace == []
    assert after_power_cut(disk)[:3] == [entry(1), entry(2), entry(3)]


def test_a_disk_that_fails_at_the_start_is_told(disk: PowerDisk) -> None:
    disk.fail_with(FULL)
    assert f"{disk.folder} cannot be opened: No space left" in damaged(disk)


def test_a_file_that_cannot_be_removed_harms_nothing(
    disk: PowerDisk, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    wal = opened(disk)
    filled(wal, *range(1, 5))
    wal.setRaftCommitIndex(4)
    wal.deleteEntriesTo(3)

    def refuse(name: str) -> None:
        raise PermissionError(errno.EPERM, "no")

    monkeypatch.setattr(disk, "remove", refuse)
    for term in range(5):
        wal.setCurrentTerm(term, None)
    filled(wal, 5)
    wal.sync()
    monkeypatch.undo()
    assert after_power_cut(disk, (4, 1))[:] == [entry(index) for index in range(1, 6)]


def test_the_files_of_format_1_still_open(tmp_path: Path) -> None:
    """As a node left them that was killed; written once by format 1, and never again."""
    shutil.copytree(FIXTURES / "raft-v1", tmp_path, dirs_exist_ok=True)
    disk = Disk(tmp_path)
    for last in (9, 10):
        wal = opened(disk, (5, 2))
        assert wal[:3] == [entry(4), entry(5, 2), entry(6, 2)]
        assert wal[-1] == entry(last, 3)
        assert (wal.getCurrentTerm(), wal.getVotedForNodeId(), wal.getRaftCommitIndex()) == (4, "the-second", 6)
        filled(wal, 10, term=3)
        wal.sync()
        wal._destroy()


# Whatever moment: a script killed at each of its operations, and histories that nobody wrote.

State = tuple[list[Entry], int, str | None]


class Life:
    """The lives of one log, and what must be found after each: what was promised, or what the last call was about.

    `entries` is the log as it would be if nothing was ever dropped from its beginning; `kept` must be there from then on.
    """

    def __init__(self, disk: PowerDisk) -> None:
        self.disk = disk
        self.base: Base = None
        self.promised: State = ([], 0, None)
        self.attempted: list[State] = []
        """What may be found as well: the first is on its way, the second is written once that has landed."""
        self.kept = 1
        self.commit = 0
        self.terms = itertools.count(1)

    def open(self) -> None:
        self.wal = opened(self.disk, self.base)
        found = self.wal[:], self.wal.getCurrentTerm(), self.wal.getVotedForNodeId()
        allowed = [self.lined_up(state) for state in (self.promised, *self.attempted)]
        assert any(self.same(found, state) for state in allowed), (found, allowed, self.kept)
        assert not [name for name in self.disk.names() if name.endswith(PARTIAL)]
        assert self.wal.synced == (found[0][-1][1] if found[0] else 0)
        assert max(self.base[0] if self.base else 0, 1) <= self.wal.getRaftCommitIndex() <= max(self.commit, 1)
        self.commit = self.wal.getRaftCommitIndex() if found[0] else 0
        self.promised, self.attempted = next(state for state in allowed if self.same(found, state)), []
        self.now = list(self.promised[0])
        self.voted = self.promised[1:]

    def same(self, found: State, state: State) -> bool:
        first = found[0][0][1] if found[0] else self.kept
        whole = [e for e in state[0] if e[1] >= first]
        return found == (whole, *state[1:]) and (first <= self.kept or not state[0] or first == state[0][0][1])

    def lined_up(self, state: State) -> State:
        if self.base is None or any(e[1:] == self.base for e in state[0]):
            return state
        return [(BASE_COMMAND, *self.base)], state[1], state[2]

    def step(self, what: str, number: int) -> None:
        wal = self.wal
        last = self.now[-1][1] if self.now else 0
        if what == "add":
            new = (b"x" * number * 9, last + 1, next(self.terms))
            self.now.append(new)
            wal.add(*new)
        elif what == "cut":
            place = max(len(wal) - number, sum(e[1] <= self.commit for e in wal[:]))
            self.now = self.now[: len(self.now) - len(wal) + place]
            wal.deleteEntriesFrom(place)
        elif what == "begin":
            if wal.begin() is not None:
                self.attempted = [self.state]
        elif what == "run" and wal._writing is not None and not wal._writing.is_done:
            wal._writing.run()
            if wal._writing.error is None:
                self.promised, self.attempted = self.attempted[0], []
        elif what == "land":
            wal.land()
        elif what == "sync":
            self.attempted.append(self.state)
            wal.sync()
            self.kept_promise()
        elif what == "vote":
            self.voted = self.voted[0] + number % 2, "abc"[number % 3]
            self.attempted.append(self.state)
            wal.setCurrentTerm(*self.voted)
            self.kept_promise()
        elif what == "commit" and last:
            self.commit = max(last - number, self.commit)
            wal.setRaftCommitIndex(self.commit)
        elif what == "timer":
            self.attempted.append(self.state)
            a_second_passes(wal)
            self.kept_promise()
        elif what == "snapshot" and self.commit and wal[:]:
            at = max(wal[0][1], self.commit - number)
            if at <= self.commit and (self.base is None or at > self.base[0]):
                self.base = wal[at - wal[0][1]][1:]  # on disk already, as `deleteEntriesTo` demands
                place = max(at - wal[0][1] - number % 2, 0)
                wal.deleteEntriesTo(place)
                self.kept = max(self.kept, at - number % 2)
        elif what == "reset":
            index = max(self.commit, last) + number - 3
            if index > self.commit and index > 0:
                self.base = index, next(self.terms)
                self.commit = max(self.commit, index)  # what a start may tell, that finds this snapshot
                self.kept = index
                wal.reset(*self.base)
                self.now = [(BASE_COMMAND, *self.base)]

        on_disk = {e[1]: e for e in self.promised[0]}
        assert all(on_disk[e[1]] == e for e in self.now if e[1] <= wal.synced)

    @property
    def state(self) -> State:
        return (list(self.now), *self.voted)

    def kept_promise(self) -> None:
        self.promised, self.attempted = self.attempted[-1], []


SCRIPT: list[tuple[str, int]] = [
    *[
        ("add", 1),
        ("add", 2),
        ("sync", 0),
        ("vote", 1),
        ("add", 3),
        ("commit", 1),
        ("timer", 0),
        ("add", 4),
        ("begin", 0),
        ("add", 2),
        ("run", 0),
        ("cut", 2),
        ("add", 1),
        ("land", 0),
        ("begin", 0),
        ("add", 1),
        ("sync", 0),
    ],
    *[("cut", 1), ("add", 5), ("vote", 3), ("add", 1), ("commit", 0), ("snapshot", 0), ("timer", 0), ("add", 2)],
    *[
        ("sync", 0),
        ("reset", 5),
        ("sync", 0),
        ("add", 1),
        ("add", 60),
        ("vote", 2),
        ("cut", 1),
        ("sync", 0),
        ("timer", 0),
    ],
]


@pytest.mark.parametrize("segment", [1, 150, 10_000])
@pytest.mark.parametrize("power", [False, True])
def test_killed_at_every_operation(segment: int, power: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wal_module, "SEGMENT_BYTES", segment)
    done = False
    partial, whole = set[str](), set[str]()
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
                for name in life.disk.names():
                    (partial if name.endswith(PARTIAL) else whole).add(name)
                life.disk.kill_at(seed % 7)  # and once more while it starts
                with suppress(Killed):
                    life.open()
            life.disk.cut_power()
            life.open()
            life.step("add", 1)
            life.step("sync", 0)
            life.disk.cut_power()
            life.open()
    assert at > 25
    assert (
        len([name for name in partial if name.removesuffix(PARTIAL) in whole]) > 1
    )  # killed on either side of a rename


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["add"] * 4 + ["begin", "run", "land", "sync", "cut"] * 2 + ["vote", "commit", "timer", "snapshot", "reset"]
        ),
        st.integers(0, 6),
    ),
    max_size=25,
)


@settings(max_examples=400)
@given(
    seed=st.integers(0, 2**32),
    segment=st.sampled_from([1, 150, 600, 10_000]),
    lives=st.lists(
        st.tuples(STEPS, st.integers(0, 40), st.sampled_from(["kill", "power", "full", "full and power"])),
        min_size=1,
        max_size=6,
    ),
)
def test_whatever_happens_what_was_synced_is_there_and_nothing_else(
    seed: int, segment: int, lives: list[tuple[list[tuple[str, int]], int, str]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wal_module, "SEGMENT_BYTES", segment)
        life = Life(PowerDisk(random.Random(seed)))
        for steps, kill_at, end in lives:
            if end in ("kill", "power"):
                life.disk.kill_at(kill_at)
            with suppress(Killed):
                life.open()
                for number, step in enumerate(steps):
                    if end.startswith("full") and number == kill_at:
                        life.disk.fail_with(FULL)
                    try:
                        life.step(*step)
                    except DiskFailed:
                        break
            life.disk.fail_with(None)
            life.disk.cut_power() if "power" in end else life.disk.restart()
        life.open()
        life.disk.cut_power()
        life.open()
