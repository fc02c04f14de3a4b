"""Half-done downloads on the way from one folder to another, against a disk, a crash and a hostile node."""

import asyncio
import errno
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ariacluster.domain.errors import InvalidInput, Unavailable
from ariacluster.domain.partial import Partial, PartialFile
from ariacluster_node.adapters.storage import arrival, control, offer
from ariacluster_node.adapters.storage.folders import DownloadFolders
from tests.support.control_file import control_file

A = "00000000000000aa"
MIB = 1 << 20
CONTROL = control_file(4 * MIB, have=(0,), under_way={1: 3})
"""It claims the first MiB, and 48 KiB of the second."""


class PowerLoss(Exception):
    pass


@pytest.fixture
def folders(tmp_path: Path) -> DownloadFolders:
    return DownloadFolders(tmp_path / "downloads")


def promise(*files: tuple[str, bytes]) -> Partial:
    return Partial(files=tuple(PartialFile(path, len(data), ((0, len(data)),)) for path, data in files))


PAIR = promise(("x", b"d" * 2 * MIB), ("x.aria2", CONTROL))


async def fill(folders: DownloadFolders, partial: Partial, control: bytes = CONTROL) -> None:
    await folders.receive(A, partial)
    for file in partial.files:
        await folders.write(A, file, 0, control if file.path.endswith(".aria2") else b"d" * file.size)


# --- the control file --------------------------------------------------------------------------------------------


def test_a_control_file_tells_the_length_and_what_is_there() -> None:
    assert control.needed(control_file(4 * MIB)) == (4 * MIB, 0)
    assert control.needed(CONTROL) == (4 * MIB, MIB + 3 * 16384)
    assert control.needed(control_file(4 * MIB + 1, have=(0, 4))) == (4 * MIB + 1, 4 * MIB + 1)
    assert control.needed(control_file(20_000, have=(), under_way={0: 2})) == (20_000, 20_000)


@given(st.integers(0, len(CONTROL) - 1))
def test_a_control_file_that_is_cut_short_is_refused(length: int) -> None:
    with pytest.raises(Unavailable, match="starts over"):
        control.needed(CONTROL[:length])


@given(st.binary(max_size=200))
def test_garbage_is_refused_with_a_sentence(data: bytes) -> None:
    with pytest.raises(Unavailable, match="not usable"):
        control.needed(b"\xff" + data)
    with suppress(Unavailable):  # whatever it is, nothing else is raised
        control.needed(b"\0\1\0\0\0\0\0\0\0\0" + data)


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (bytes(200), "version"),
        (b"\0\2" + CONTROL[2:], "version"),
        (CONTROL[:6] + b"\0\0\0\7" + CONTROL[10:], "info hash"),
        (CONTROL + b"\0", "longer"),
        (control_file(4 * MIB, have=(7,)), "pieces that are none"),
        (control_file(4 * MIB)[:10] + bytes(4) + control_file(4 * MIB)[14:], "no length"),
        (control_file(40 * MIB)[:10] + control_file(4 * MIB)[10:30] + control_file(40 * MIB)[30:], "bitfield"),
        (CONTROL[:39] + b"\0\0\0\4" + CONTROL[43:], "under way"),
    ],
)
def test_a_control_file_that_does_not_fit_itself_is_refused(bad: bytes, why: str) -> None:
    with pytest.raises(Unavailable, match=why):
        control.needed(bad)


# --- what is offered ---------------------------------------------------------------------------------------------


async def test_holes_are_not_carried(folders: DownloadFolders) -> None:
    data = await folders.open(A, fresh=True)
    (data / "x").touch()
    for start in (0, 40 * MIB, 90 * MIB):
        os.truncate(data / "x", start)
        with (data / "x").open("ab") as file:
            file.write(b"1" * MIB)
    os.truncate(data / "x", 100 * MIB)
    (data / "x.aria2").write_bytes(control_file(100 * MIB, have=(0, 40, 90)))
    partial = await folders.partial(A)
    assert partial
    assert partial.files[0].size == 100 * MIB
    if (data / "x").stat().st_blocks * 512 >= 100 * MIB:
        pytest.skip("this file system has no holes")
    assert [start for start, _ in partial.files[0].segments] == [0, 40 * MIB, 90 * MIB]
    assert partial.files[0].length < 4 * MIB


async def test_a_file_system_without_holes_gives_it_whole(
    folders: DownloadFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = await folders.open(A, fresh=True)
    (data / "x").write_bytes(bytes(2 * MIB))
    (data / "x.aria2").write_bytes(CONTROL)

    def refuse(*_: object) -> int:
        raise OSError(errno.EINVAL, "no such whence")

    monkeypatch.setattr(os, "lseek", refuse)
    assert await folders.partial(A) == promise(("x", bytes(2 * MIB)), ("x.aria2", CONTROL))


def test_many_small_holes_travel_along() -> None:
    pieces = [(n * 200_000, 100_000) for n in range(5000)]
    merged = offer._merged(pieces)
    assert len(merged) <= offer.MAX_SEGMENTS
    assert merged[0][0] == 0 and sum(merged[-1]) == sum(pieces[-1])
    assert offer._merged([(0, 10), (4096, 10), (MIB, 5)]) == ((0, 4106), (MIB, 5))


@pytest.mark.parametrize(
    ("size", "held"),
    [
        (MIB, CONTROL),  # it claims bytes that the file does not have
        (5 * MIB, CONTROL),  # the file is longer than the download
        (2 * MIB, CONTROL[:-1]),
        (2 * MIB, bytes(len(CONTROL))),
    ],
)
async def test_what_does_not_fit_its_control_file_is_left_out(folders: DownloadFolders, size: int, held: bytes) -> None:
    data = await folders.open(A, fresh=True)
    (data / "x").write_bytes(b"1" * size)
    (data / "x.aria2").write_bytes(held)
    assert await folders.partial(A) is None
    (data / "x").write_bytes(b"1" * 2 * MIB)
    (data / "x.aria2").write_bytes(CONTROL)
    assert await folders.partial(A) is not None


async def test_a_name_that_no_one_can_be_told_is_left_out(folders: DownloadFolders) -> None:
    data = await folders.open(A, fresh=True)
    (data / "t").mkdir()
    (data / "t" / os.fsdecode(b"\xff")).write_bytes(b"1")
    (data / "t.aria2").write_bytes(CONTROL)
    assert await folders.partial(A) is None


async def test_links_are_not_followed_out(folders: DownloadFolders, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    data = await folders.open(A, fresh=True)
    (data / "x").symlink_to(tmp_path / "secret")
    (data / "d").symlink_to(tmp_path)
    for path in ("x", "d/secret"):
        with pytest.raises(Unavailable):
            await folders.read(A, PartialFile(path, 6, ((0, 6),)), 0, 6)
    os.mkfifo(data / "fifo")
    with pytest.raises(Unavailable, match="not a plain file"):
        await folders.read(A, PartialFile("fifo", 6, ((0, 6),)), 0, 6)
    with pytest.raises(Unavailable, match="neither a file nor a folder"):
        await folders.partial(A)


async def test_a_read_is_bounded_and_of_the_file_that_was_told(folders: DownloadFolders) -> None:
    data = await folders.open(A, fresh=True)
    (data / "x").write_bytes(b"1" * (offer.MAX_READ + 1))
    file = PartialFile("x", offer.MAX_READ + 1, ((0, offer.MAX_READ + 1),))
    with pytest.raises(Unavailable, match="at most"):
        await folders.read(A, file, 0, offer.MAX_READ + 1)
    (data / "x").write_bytes(b"1" * 10)
    with pytest.raises(Unavailable, match="changed"):
        await folders.read(A, file, 0, 1)


# --- what arrives ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [False, True])
async def test_a_crash_at_any_moment_leaves_what_is_whole_or_nothing(tmp_path: Path, after: bool) -> None:
    held = {"x": b"d" * 200_000, "t/y": b"e", "x.aria2": control_file(900_000), "t/y.aria2": control_file(1, have=(0,))}
    pair = promise(*held.items())
    for limit in range(1, 200):
        root = tmp_path / str(limit)
        folders = DownloadFolders(root)
        (await folders.open(A, fresh=True) / "old").write_bytes(b"1")
        with pytest.MonkeyPatch.context() as patch:
            calls = cut_the_power(patch, limit, after)
            try:
                await folders.receive(A, pair)
                for file in pair.files:
                    await folders.write(A, file, 0, held[file.path])
                await folders.received(A, pair)
                done = True
            except PowerLoss:
                done = False
        again = DownloadFolders(root)
        data = await again.open(A, fresh=False)
        for name in ("x", "t/y"):
            if (data / name).exists():
                assert (data / f"{name}.aria2").read_bytes() == held[f"{name}.aria2"]
                assert (data / name).read_bytes() == held[name]
        assert os.listdir(data.parent) == ["data"]
        if done:
            assert sorted(os.listdir(data)) == ["t", "x", "x.aria2"]
            assert calls() < limit and limit > 10
            return
    pytest.fail("it never ended")


def cut_the_power(patch: pytest.MonkeyPatch, limit: int, after: bool) -> Callable[[], int]:
    """Before or after the `limit`-th call that changes the disk, all end. Answers how many there were."""
    count = 0

    def wrapped(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            count += 1
            if count > limit or (count == limit and not after):
                raise PowerLoss
            result = real(*args, **kwargs)
            if count == limit:
                raise PowerLoss
            return result

        return call

    for name in ("replace", "mkdir", "ftruncate", "pwrite", "fsync", "rmdir", "unlink"):
        patch.setattr(os, name, wrapped(getattr(os, name)))
    return lambda: count


async def test_the_data_is_on_the_disk_before_its_control_file_is_in_place(
    folders: DownloadFolders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, os.replace

    def noted(fd: int) -> None:
        done.append(Path(os.readlink(f"/proc/self/fd/{fd}")).name)
        fsync(fd)

    def placed(source: Path, target: Path) -> None:
        done.append(f"-> {target.name}")
        replace(source, target)

    await fill(folders, PAIR)
    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(os, "replace", placed)
    await folders.received(A, PAIR)
    moment = done.index("-> x.aria2")
    assert {"x", "1", "data"} <= set(done[:moment]) and "data" in done[moment:]


@pytest.mark.parametrize("bad", [bytes(len(CONTROL)), control_file(4 * MIB, have=(3,)), control_file(MIB, have=(0,))])
async def test_a_control_file_that_does_not_fit_is_not_put_in_place(folders: DownloadFolders, bad: bytes) -> None:
    pair = promise(("x", b"d" * 2 * MIB), ("x.aria2", bad))
    await fill(folders, pair, bad)
    with pytest.raises(Unavailable, match="control file"):
        await folders.received(A, pair)
    assert list((await folders.open(A, fresh=False)).iterdir()) == []


async def test_arrived_files_are_sparse_and_full_length(folders: DownloadFolders) -> None:
    size = 100 * MIB
    file = PartialFile("x", size, ((0, MIB), (99 * MIB, MIB)))
    held = control_file(size, have=(0, 99))
    partial = Partial(files=(file, PartialFile("x.aria2", len(held), ((0, len(held)),))))
    await folders.receive(A, partial)
    for start in (0, 99 * MIB):
        await folders.write(A, file, start, b"1" * MIB)
    await folders.write(A, partial.files[1], 0, held)
    await folders.received(A, partial)
    path = await folders.open(A, fresh=False) / "x"
    assert path.stat().st_size == size and path.stat().st_blocks * 512 < 10 * MIB


async def test_parts_may_come_in_any_order_and_twice(folders: DownloadFolders) -> None:
    await folders.receive(A, PAIR)
    step = 100_000
    starts = list(range(0, 2 * MIB, step))
    for start in (*starts[1::2], *starts[::2]):
        with pytest.raises(Unavailable, match="Not all bytes"):
            await folders.received(A, PAIR)
        await folders.write(A, PAIR.files[0], start, b"d" * min(step + 10, 2 * MIB - start))
    await folders.write(A, PAIR.files[1], 0, CONTROL)
    await folders.received(A, PAIR)


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)).map(sorted), max_size=30))
def test_what_has_come_is_known_to_the_byte(parts: list[list[int]]) -> None:
    spans: list[tuple[int, int]] = []
    came: set[int] = set()
    for start, end in parts:
        if start < end:
            arrival._note(spans, start, end)
            came |= set(range(start, end))
    assert {n for start, end in spans for n in range(start, end)} == came
    assert all(before[1] < after[0] for before, after in pairwise(spans))
    for start in range(0, 60, 7):
        for end in range(start + 1, 61, 5):
            assert arrival._covers(spans, start, end) == (set(range(start, end)) <= came)


async def test_a_late_write_does_not_meet_the_next_download(
    folders: DownloadFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fetch was given up while a thread still wrote for it: the folder is not handed on before that has ended."""
    await folders.receive(A, PAIR)
    entered, go_on = threading.Event(), threading.Event()
    real = os.pwrite

    def slowly(*args: Any) -> int:
        entered.set()
        assert go_on.wait(10)
        return real(*args)

    monkeypatch.setattr(os, "pwrite", slowly)
    writing = asyncio.create_task(folders.write(A, PAIR.files[0], 0, b"late"))
    await asyncio.to_thread(entered.wait, 10)
    writing.cancel()
    opening = asyncio.create_task(folders.open(A, fresh=False))
    done, _ = await asyncio.wait({opening}, timeout=0.1)
    assert not done
    go_on.set()
    assert list((await opening).iterdir()) == []
    await asyncio.gather(writing, return_exceptions=True)


GOOD = PartialFile("x.aria2", 10, ((0, 10),))


@pytest.mark.parametrize(
    "files",
    [
        (PartialFile("x", -1, ()), GOOD),
        (PartialFile("x", 1 << 60, ()), GOOD),
        (PartialFile("x", 10, ((0, 11),)), GOOD),
        (PartialFile("x", 10, ((-1, 5),)), GOOD),
        (PartialFile("x", 10, ((5, 5), (0, 5))), GOOD),
        (PartialFile("x", 10, ((0, 6), (5, 5))), GOOD),
        (PartialFile("x", 10, ((0, 0),)), GOOD),
        (PartialFile("x", 10_000, tuple((n * 4, 1) for n in range(2000))), GOOD),
        (PartialFile("x", 10, ()), PartialFile("x.aria2", 1 << 30, ())),
        (PartialFile("x", 10, ()), PartialFile("x/y", 10, ()), GOOD),
        (PartialFile("n" * 256, 10, ()), PartialFile("n" * 256 + ".aria2", 10, ())),
        (PartialFile("d/" * 100 + "x", 10, ()), PartialFile("d.aria2", 10, ())),
        (PartialFile(".ariacluster/x", 10, ()), PartialFile(".ariacluster/x.aria2", 10, ())),
        (PartialFile("\udcff", 10, ()), PartialFile("\udcff.aria2", 10, ())),
        (*(PartialFile(f"x/{n}", 0, ()) for n in range(arrival.MAX_FILES)), GOOD),
    ],
)
async def test_what_no_download_leaves_is_refused(folders: DownloadFolders, files: tuple[PartialFile, ...]) -> None:
    before = await folders.open(A, fresh=True)
    (before / "mine").write_bytes(b"1")
    with pytest.raises(InvalidInput):
        await folders.receive(A, Partial(files=files))
    assert (before / "mine").exists(), "nothing was touched"


async def test_more_than_the_disk_has_is_refused_at_once(folders: DownloadFolders) -> None:
    much = PartialFile("x", 1 << 50, ((0, 1 << 50),))
    with pytest.raises(Unavailable, match="no room"):
        await folders.receive(A, Partial(files=(much, GOOD)))


async def test_a_disk_that_refuses_is_told(folders: DownloadFolders, monkeypatch: pytest.MonkeyPatch) -> None:
    await folders.receive(A, PAIR)

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(Unavailable, match="No space left"):
            await folders.write(A, PAIR.files[0], 0, b"d")
    await fill(folders, PAIR)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(Unavailable, match="No space left"):
            await folders.received(A, PAIR)
    assert list((await folders.open(A, fresh=False)).iterdir()) == []
