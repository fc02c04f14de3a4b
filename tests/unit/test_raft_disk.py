"""The real disk and the one in memory keep the same contract; the one in memory breaks what was not promised."""

import errno
import os
import random
import stat
from pathlib import Path

import pytest

from ariacluster_node.adapters.raft.store.disk import Disk
from tests.support.power import BLOCK, Killed, PowerDisk


@pytest.fixture(params=["real", "in memory"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Disk:
    return Disk(tmp_path) if request.param == "real" else PowerDisk(random.Random(3))


@pytest.fixture
def power() -> PowerDisk:
    return PowerDisk(random.Random(3))


def stored(disk: Disk, name: str, data: bytes) -> None:
    file = disk.create(name)
    file.write(data)
    file.sync()
    file.close()
    disk.sync_folder()


def test_files_are_written_at_their_end_and_read_back(disk: Disk) -> None:
    file = disk.create("b")
    file.write(b"one ")
    file.write(bytearray(b"two "))
    file.write(memoryview(b"three"))
    file.sync()
    file.close()
    file.close()
    again = disk.append("b")
    again.write(b"!")
    again.close()
    stored(disk, "a", b"")
    assert disk.names() == ["a", "b"]
    assert disk.read("b") == b"one two three!"
    assert (disk.size("a"), disk.size("b")) == (0, 14)


def test_a_file_can_be_cut_emptied_renamed_and_removed(disk: Disk) -> None:
    stored(disk, "a", b"0123456789")
    disk.truncate("a", 4)
    assert disk.read("a") == b"0123"
    stored(disk, "b", b"b")
    disk.rename("a", "b")
    assert disk.names() == ["b"]
    assert disk.read("b") == b"0123"
    disk.create("b").close()
    assert disk.read("b") == b""
    disk.remove("b")
    assert disk.names() == []


def test_what_is_open_for_reading_stays(disk: Disk) -> None:
    stored(disk, "a", b"0123456789")
    reader = disk.open_read("a")
    assert reader.size == 10
    stored(disk, "new", b"other")
    disk.rename("new", "a")
    disk.remove("a")
    assert (reader.pread(2, 3), reader.pread(8, 9), reader.pread(10, 1)) == (b"234", b"89", b"")
    reader.close()
    reader.close()


def test_what_is_absent_is_told(disk: Disk) -> None:
    for call in (disk.read, disk.size, disk.open_read, disk.append, disk.remove):
        with pytest.raises(FileNotFoundError):
            call("a")
    with pytest.raises(FileNotFoundError):
        disk.truncate("a", 0)
    with pytest.raises(FileNotFoundError):
        disk.rename("a", "b")
    assert disk.names() == []


def test_only_files_are_named_and_nobody_else_may_read_them(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    disk = Disk(tmp_path)
    disk.create("a").close()
    assert disk.names() == ["a"]
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600


def test_a_short_write_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, bytes(data)[:3]))
    file = Disk(tmp_path).create("a")
    file.write(b"0123456789")
    file.close()
    assert (tmp_path / "a").read_bytes() == b"0123456789"


def test_file_and_folder_are_really_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    monkeypatch.setattr(
        "ariacluster_node.adapters.raft.store.disk._sync", lambda fd: synced.append(os.readlink(f"/proc/self/fd/{fd}"))
    )
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.readlink(f"/proc/self/fd/{fd}")))
    disk = Disk(tmp_path)
    stored(disk, "a", b"0123")
    assert synced == [str(tmp_path / "a"), str(tmp_path)]
    disk.truncate("a", 2)
    assert synced[2:] == [str(tmp_path / "a")]


def test_a_reader_that_nobody_wants_closes_itself(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    stored(disk, "a", b"0")
    open_now = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        disk.open_read("a")
    assert len(os.listdir("/proc/self/fd")) == open_now


# The one in memory.


def fates(prepared: list[tuple[str, str]], seeds: int = 300) -> set[tuple[tuple[str, bytes], ...]]:
    """What is found after power cuts, over many dice, when these operations were done: (operation, argument)."""
    found = set()
    for seed in range(seeds):
        disk = PowerDisk(random.Random(seed))
        stored(disk, "old", b"old")
        file = disk.append("old")
        for what, argument in prepared:
            if what == "write":
                file.write(argument.encode())
            elif what == "sync":
                file.sync()
            elif what == "create":
                file = disk.create(argument)
            elif what == "rename":
                disk.rename(*argument.split())
            elif what == "remove":
                disk.remove(argument)
            else:
                disk.sync_folder()
        disk.cut_power()
        found.add(tuple((name, disk.read(name)) for name in disk.names()))
    return found


def test_a_power_cut_keeps_what_was_synced_and_any_part_of_the_rest() -> None:
    whole = b"oldABCD"
    found = fates([("write", "AB"), ("sync", ""), ("write", "CD")])
    assert all(name == "old" and data.startswith(b"oldAB") and len(data) <= 7 for ((name, data),) in found)
    datas = {data for ((_, data),) in found}
    assert {whole, whole[:5], whole[:6], b"oldAB\0\0"} <= datas
    assert datas - {whole, whole[:5], whole[:6], b"oldAB\0\0", b"oldAB\0"}, "garbage"


def test_names_that_were_not_synced_may_be_there_in_any_subset() -> None:
    assert fates([("remove", "old")]) == {(), (("old", b"old"),)}
    assert fates([("remove", "old"), ("sync_folder", "")]) == {()}
    assert fates([("rename", "old new")]) == {(("old", b"old"),), (("new", b"old"),)}
    assert fates([("create", "b"), ("remove", "old")]) == {
        (),
        (("b", b""),),
        (("old", b"old"),),
        (("b", b""), ("old", b"old")),
    }
    assert fates([("create", "new"), ("write", "x"), ("sync", ""), ("rename", "new old")]) == {
        (("old", b"old"),),
        (("new", b"x"), ("old", b"old")),
        (("old", b"x"),),
    }
    assert {(("old", b"old"),), (("old", b""),), (("old", b"x"),)} <= fates([("create", "old"), ("write", "x")])


def test_large_writes_are_torn_by_blocks(power: PowerDisk) -> None:
    kinds = set()
    for _ in range(30):
        power.put("a", b"\1" * 100)
        power.append("a").write(b"\2" * BLOCK * 20)
        power.cut_power()
        data = power.read("a")
        assert data.startswith(b"\1" * 100)
        kinds |= {data[at : at + BLOCK] == b"\2" * BLOCK for at in range(BLOCK, len(data) - BLOCK, BLOCK)}
    assert kinds == {True, False}


def test_a_kill_has_a_part_of_its_effect_and_loses_nothing_that_was_written() -> None:
    found = set()
    for seed in range(100):
        disk = PowerDisk(random.Random(seed))
        file = disk.create("a")
        file.write(b"12")
        disk.kill_at(2)
        file.sync()
        with pytest.raises(Killed):
            file.write(b"345")
        for call in (
            lambda file=file: file.write(b"x"),
            disk.names,
            disk.sync_folder,
            lambda disk=disk: disk.read("a"),
        ):
            with pytest.raises(Killed):
                call()
        disk.restart()
        with pytest.raises(Killed):
            file.write(b"x")  # opened by the dead process
        assert disk.operations == 4
        found.add(disk.read("a"))
    assert found == {b"12", b"123", b"1234", b"12345"}


OPERATIONS = ["create", "write", "sync", "truncate", "rename", "remove", "sync_folder"]


def test_every_operation_can_be_the_last() -> None:
    for number in range(1, len(OPERATIONS) + 1):
        disk = PowerDisk(random.Random(number))
        trace = disk.trace = []
        disk.put("c", b"12")
        disk.kill_at(number)
        with pytest.raises(Killed):  # noqa: PT012
            file = disk.create("a")
            file.write(b"1")
            file.sync()
            disk.truncate("c", 1)
            disk.rename("a", "b")
            disk.remove("c")
            disk.sync_folder()
        assert [line.split()[0] for line in trace] == OPERATIONS[:number]


def test_a_failed_sync_loses_in_silence() -> None:
    found = set()
    for seed in range(50):
        disk = PowerDisk(random.Random(seed))
        stored(disk, "a", b"12")
        file = disk.append("a")
        file.write(b"34")
        disk.fail_with(OSError(errno.EIO, "no"))
        for call in (
            file.sync,
            lambda file=file: file.write(b""),
            lambda disk=disk: disk.remove("a"),
            disk.sync_folder,
        ):
            with pytest.raises(OSError, match="no"):
                call()
        disk.fail_with(None)
        file.write(b"56")
        file.sync()
        assert disk.read("a") == b"123456"
        disk.cut_power()
        assert disk.read("a")[:2] + disk.read("a")[4:] == b"1256"
        found.add(disk.read("a"))
    assert {b"123456", b"12\0\x0056"} <= found


def test_the_same_dice_give_the_same_fate() -> None:
    assert fates([("write", "x" * 3000), ("create", "b")], 1) == fates([("write", "x" * 3000), ("create", "b")], 1)
