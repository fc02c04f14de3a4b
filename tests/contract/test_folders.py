"""What every download folder keeps to: the fake and the real one run the same bodies."""

import asyncio
from pathlib import Path
from typing import Protocol

import pytest

from ariacluster.domain.errors import InvalidInput, Unavailable
from ariacluster.domain.partial import Partial, PartialFile
from ariacluster.domain.reconcile import Receipt
from ariacluster.domain.task import MAX_FILES, FileEntry
from ariacluster_node.adapters.storage.folders import DownloadFolders
from ariacluster_node.ports import Discarding, Folders, Opening, Publishing
from tests.support.control_file import control_file
from tests.support.fake_folders import FakeFolders
from tests.support.singly import discard, publish

A, B = "00000000000000aa", "00000000000000bb"


class Bench(Protocol):
    """A download folder, and a look from outside at what is in it. Paths are relative; bytes by path."""

    @property
    def folders(self) -> Folders: ...

    async def put(self, task_id: str, path: str, data: bytes = b"x") -> None: ...

    def staged(self, task_id: str) -> set[str]: ...

    def bytes_of(self, task_id: str, path: str) -> bytes: ...

    def published(self) -> dict[str, bytes]: ...


class FakeBench:
    def __init__(self) -> None:
        self.folders: FakeFolders = FakeFolders()

    async def put(self, task_id: str, path: str, data: bytes = b"x") -> None:
        if task_id not in self.folders.staging:
            await self.folders.open(task_id, fresh=False)
        self.folders.put(task_id, path, data)

    def staged(self, task_id: str) -> set[str]:
        return set(self.folders.staging.get(task_id, {}))

    def bytes_of(self, task_id: str, path: str) -> bytes:
        return self.folders.staging[task_id][path]

    def published(self) -> dict[str, bytes]:
        return dict(self.folders.published)


class RealBench:
    def __init__(self, root: Path) -> None:
        self.folders: DownloadFolders = DownloadFolders(root)
        self._data: dict[str, Path] = {}

    async def put(self, task_id: str, path: str, data: bytes = b"x") -> None:
        if task_id not in self._data:
            self._data[task_id] = await self.folders.open(task_id, fresh=False)
        target = self._data[task_id] / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)

    def staged(self, task_id: str) -> set[str]:
        data = self._folder(task_id)
        return {str(path.relative_to(data)) for path in data.rglob("*") if path.is_file()}

    def bytes_of(self, task_id: str, path: str) -> bytes:
        return (self._folder(task_id) / path).read_bytes()

    def _folder(self, task_id: str) -> Path:
        return self.folders.root / ".ariacluster" / task_id / "data"

    def published(self) -> dict[str, bytes]:
        found = (path for path in self.folders.root.rglob("*") if path.is_file())
        relative = {path.relative_to(self.folders.root): path for path in found}
        return {str(name): path.read_bytes() for name, path in relative.items() if name.parts[0] != ".ariacluster"}


@pytest.fixture(params=["fake", "real"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    return FakeBench() if request.param == "fake" else RealBench(tmp_path / "downloads")


async def test_a_new_folder_holds_nothing(bench: Bench) -> None:
    assert await bench.folders.staged() == {}
    assert await bench.folders.trouble() == ""


async def test_an_opened_folder_is_below_the_root_and_is_staged(bench: Bench) -> None:
    folder = await bench.folders.open(A, fresh=False)
    assert folder.is_relative_to(bench.folders.root / ".ariacluster" / A)
    assert {task: staged.receipt for task, staged in (await bench.folders.staged()).items()} == {A: None}


async def test_open_keeps_only_what_has_its_control_file(bench: Bench) -> None:
    for path in (
        *("half.iso", "half.iso.aria2"),
        *("torrent/disc 1/a", "torrent/b", "torrent.aria2"),
        *("pack/whole.bin", "pack/half.bin", "pack/half.bin.aria2"),
        *("lost.iso", "orphan.aria2", "gone/deep/file"),
    ):
        await bench.put(A, path, control_file(5) if path.endswith(".aria2") else b"12345")
    await bench.put(A, "full.iso")
    await bench.put(A, "full.iso.aria2", b"")  # what a full disk left of it
    await bench.folders.open(A, fresh=False)
    assert bench.staged(A) == {
        *("half.iso", "half.iso.aria2"),
        *("torrent/disc 1/a", "torrent/b", "torrent.aria2"),
        *("pack/half.bin", "pack/half.bin.aria2"),
    }


async def test_a_fresh_folder_is_empty(bench: Bench) -> None:
    await bench.put(A, "half.iso")
    await bench.put(A, "half.iso.aria2")
    await bench.folders.open(A, fresh=True)
    assert bench.staged(A) == set()


async def test_publish_moves_everything_and_says_what_lies_where(bench: Bench) -> None:
    await bench.put(A, "film.mkv", b"12345")
    await bench.put(A, "album/01 é.flac", b"123")
    await bench.put(A, "[METADATA]album", b"meta")
    receipt = await publish(bench.folders, A, 3, "media/new")
    assert bench.published() == {"media/new/film.mkv": b"12345", "media/new/album/01 é.flac": b"123"}
    assert receipt.attempt == 3
    assert (receipt.result.total_bytes, receipt.result.file_count) == (8, 2)
    assert receipt.result.files == (FileEntry("media/new/album/01 é.flac", 3), FileEntry("media/new/film.mkv", 5))
    assert (await bench.folders.staged())[A].receipt == receipt


async def test_publish_to_the_root(bench: Bench) -> None:
    await bench.put(A, "film.mkv")
    receipt = await publish(bench.folders, A, 1, "")
    assert [entry.path for entry in receipt.result.files] == ["film.mkv"]


async def test_publishing_again_answers_the_same(bench: Bench) -> None:
    await bench.put(A, "film.mkv")
    first = await publish(bench.folders, A, 1, "")
    assert await publish(bench.folders, A, 1, "") == first
    assert list(bench.published()) == ["film.mkv"]


async def test_nothing_is_ever_overwritten(bench: Bench) -> None:
    for number, task in enumerate((A, B)):
        await bench.put(task, "film.mkv", b"%d" % number)
        await bench.put(task, "album/song", b"%d" % number)
        await publish(bench.folders, task, 1, "d")
    assert bench.published() == {
        "d/film.mkv": b"0",
        "d/film.1.mkv": b"1",
        "d/album/song": b"0",
        "d/album.1/song": b"1",
    }


async def test_many_tasks_publish_the_same_name_at_once(bench: Bench) -> None:
    tasks = [f"{n:016x}" for n in range(20)]
    for task in tasks:
        await bench.put(task, "same.bin", task.encode())
    receipts = await asyncio.gather(*(publish(bench.folders, task, 1, "d") for task in tasks))
    where = {receipt.result.files[0].path: task.encode() for receipt, task in zip(receipts, tasks, strict=True)}
    assert bench.published() == where and len(where) == 20


async def test_control_files_are_not_published(bench: Bench) -> None:
    await bench.put(A, "kept.iso")
    await bench.put(A, "kept.iso.aria2")  # force-save keeps it
    await publish(bench.folders, A, 1, "")
    assert list(bench.published()) == ["kept.iso"]


async def test_the_half_of_an_earlier_attempt_is_not_published(bench: Bench) -> None:
    await bench.put(A, "old-name.iso")
    await bench.put(A, "old-name.iso.aria2")
    await bench.put(A, "new-name.iso")
    await publish(bench.folders, A, 2, "")
    assert list(bench.published()) == ["new-name.iso"]


async def test_a_long_list_is_counted_and_cut(bench: Bench) -> None:
    for n in range(MAX_FILES + 20):
        await bench.put(A, f"album/{n:04}", b"ab")
    result = (await publish(bench.folders, A, 1, "")).result
    assert (result.file_count, result.total_bytes, len(result.files)) == (MAX_FILES + 20, 2 * MAX_FILES + 40, MAX_FILES)


async def test_settling_changes_nothing_and_is_never_needed(bench: Bench) -> None:
    await bench.folders.settle(A)
    await bench.put(A, "album/01.flac", b"123")
    await bench.folders.settle(A)
    assert bench.staged(A) == {"album/01.flac"}
    await bench.put(A, "album/02.flac", b"123")
    await publish(bench.folders, A, 1, "")
    await bench.folders.settle(A)
    assert set(bench.published()) == {"album/01.flac", "album/02.flac"}


async def test_nothing_to_publish_is_said(bench: Bench) -> None:
    await bench.folders.open(A, fresh=False)
    with pytest.raises(Unavailable, match=r"."):
        await publish(bench.folders, A, 1, "")
    await bench.put(A, "x.aria2")
    with pytest.raises(Unavailable, match=r"."):
        await publish(bench.folders, A, 1, "")


async def test_discard_keeps_what_is_published_unless_told(bench: Bench) -> None:
    for task, name in ((A, "a"), (B, "b")):
        await bench.put(task, name)
        await publish(bench.folders, task, 1, "d")
    await discard(bench.folders, A, published=False)
    await discard(bench.folders, B, published=True)
    assert await bench.folders.staged() == {}
    assert list(bench.published()) == ["d/a"]


async def test_discard_of_an_unknown_task_is_nothing(bench: Bench) -> None:
    await discard(bench.folders, A, published=True)
    await bench.folders.open(A, fresh=False)
    await discard(bench.folders, A, published=True)
    await discard(bench.folders, A, published=True)
    assert await bench.folders.staged() == {}


@pytest.mark.parametrize("attempt", [1, 3])
async def test_what_another_attempt_published_is_cleared_away_first(bench: Bench, attempt: int) -> None:
    await bench.put(A, "v1.iso")
    await publish(bench.folders, A, 2, "")
    await bench.put(A, "v2.iso")
    with pytest.raises(Unavailable, match="another attempt"):
        await publish(bench.folders, A, attempt, "")
    await bench.folders.open(A, fresh=True)
    await bench.put(A, "v2.iso")
    await publish(bench.folders, A, attempt, "")
    assert sorted(bench.published()) == ["v1.iso", "v2.iso"]


# --- half-done downloads that travel -----------------------------------------------------------------------------

MIB = 1 << 20
HALF = b"h" * MIB + bytes(MIB) + b"i" * MIB
CONTROL = control_file(5 * MIB, have=(0, 2))
PARTIAL = Partial(
    files=(
        PartialFile("a.iso", len(HALF), ((0, len(HALF)),)),
        PartialFile("a.iso.aria2", len(CONTROL), ((0, len(CONTROL)),)),
    )
)
DATA, CONTROL_OF_IT = PARTIAL.files


async def carry(bench: Bench, source: str, target: str, *, but: str = "") -> Partial:
    """What a node does that fetches a half-done download; the bytes of the file `but` never come."""
    partial = await bench.folders.partial(source)
    assert partial
    await bench.folders.receive(target, partial)
    for file in partial.files:
        for start, length in file.segments:
            for at in range(start, start + length, 300_000):
                part = await bench.folders.read(source, file, at, min(300_000, start + length - at))
                if file.path != but:
                    await bench.folders.write(target, file, at, part)
    return partial


async def put_half(bench: Bench, task: str) -> None:
    await bench.put(task, "a.iso", HALF)
    await bench.put(task, "a.iso.aria2", CONTROL)


async def test_there_is_nothing_to_resume_without_control_files(bench: Bench) -> None:
    assert await bench.folders.partial(A) is None
    await bench.folders.open(A, fresh=False)
    assert await bench.folders.partial(A) is None
    await bench.put(A, "lost.iso", b"1")
    await bench.put(A, "orphan.aria2", CONTROL)
    await bench.put(A, "young.iso", b"1")
    await bench.put(A, "young.iso.aria2", b"")
    await bench.put(A, "empty.iso", b"")
    await bench.put(A, "empty.iso.aria2", CONTROL)
    assert await bench.folders.partial(A) is None


async def test_what_can_be_resumed_is_told_control_files_last(bench: Bench) -> None:
    await put_half(bench, A)
    await bench.put(A, "whole.bin", b"1")
    for path in ("torrent/disc 1/\N{LATIN SMALL LETTER E WITH ACUTE}", "torrent/b"):
        await bench.put(A, path, b"123")
    await bench.put(A, "torrent.aria2", control_file(6, piece=4, have=(0,)))
    await bench.put(A, "pack/half", b"12345")
    await bench.put(A, "pack/half.aria2", control_file(8, piece=4, have=(0,)))
    partial = await bench.folders.partial(A)
    assert partial
    assert [file.path for file in partial.files] == [
        *("a.iso", "pack/half", "torrent/b", "torrent/disc 1/\N{LATIN SMALL LETTER E WITH ACUTE}"),
        *("a.iso.aria2", "pack/half.aria2", "torrent.aria2"),
    ]
    assert [file.size for file in partial.files[:4]] == [len(HALF), 5, 3, 3]
    assert 2 * MIB <= partial.files[0].length <= 3 * MIB


async def test_the_name_of_a_single_file_that_can_be_resumed(bench: Bench) -> None:
    assert await bench.folders.begun_as(A) is None
    await bench.put(A, "lost.iso", b"1")
    assert await bench.folders.begun_as(A) is None
    await put_half(bench, A)
    assert await bench.folders.begun_as(A) == "a.iso"
    await bench.put(A, "b.iso", HALF)
    await bench.put(A, "b.iso.aria2", CONTROL)
    assert await bench.folders.begun_as(A) is None, "there are two"
    await bench.put(B, "torrent/a", b"123")
    await bench.put(B, "torrent.aria2", control_file(6, piece=4, have=(0,)))
    assert await bench.folders.begun_as(B) is None, "it lies in a folder"


async def test_a_half_done_download_travels(bench: Bench) -> None:
    await put_half(bench, A)
    await bench.put(A, "torrent/disc 1/a", b"123")
    await bench.put(A, "torrent.aria2", control_file(6, piece=4, have=(0,)))
    partial = await carry(bench, A, B)
    await bench.folders.received(B, partial)
    for path in ("a.iso", "a.iso.aria2", "torrent/disc 1/a", "torrent.aria2"):
        assert bench.bytes_of(B, path) == bench.bytes_of(A, path)
    assert await bench.folders.partial(B) == await bench.folders.partial(A)
    await bench.folders.open(B, fresh=False)
    assert bench.staged(B) == bench.staged(A), "it is resumed with all that came"
    assert set(await bench.folders.staged()) == {A, B}


async def test_receiving_empties_the_folder_first(bench: Bench) -> None:
    await bench.put(B, "old.iso", b"1")
    await bench.put(B, "old.iso.aria2", CONTROL)
    await put_half(bench, A)
    await bench.folders.received(B, await carry(bench, A, B))
    assert bench.staged(B) == {"a.iso", "a.iso.aria2"}


@pytest.mark.parametrize("missing", ["a.iso", "a.iso.aria2"])
async def test_what_did_not_come_whole_is_not_resumed(bench: Bench, missing: str) -> None:
    await put_half(bench, A)
    partial = await carry(bench, A, B, but=missing)
    with pytest.raises(Unavailable, match=r"."):
        await bench.folders.received(B, partial)
    assert await bench.folders.partial(B) is None
    await bench.folders.open(B, fresh=False)
    assert bench.staged(B) == set()
    await bench.folders.received(B, await carry(bench, A, B))  # from the start
    assert await bench.folders.partial(B)


async def test_a_transfer_that_is_cut_short_leaves_nothing_to_resume(bench: Bench) -> None:
    await bench.folders.receive(A, PARTIAL)
    await bench.folders.write(A, DATA, 0, HALF)
    await bench.folders.write(A, CONTROL_OF_IT, 0, CONTROL)
    assert await bench.folders.partial(A) is None
    await bench.folders.open(A, fresh=False)
    assert bench.staged(A) == set()
    with pytest.raises(Unavailable, match=r"."):  # what comes late must not meet the engine
        await bench.folders.write(A, DATA, 0, HALF)
    with pytest.raises(Unavailable, match=r"."):
        await bench.folders.received(A, PARTIAL)


async def test_a_discarded_transfer_is_over(bench: Bench) -> None:
    await bench.folders.receive(A, PARTIAL)
    await discard(bench.folders, A, published=False)
    assert await bench.folders.staged() == {}
    with pytest.raises(Unavailable, match=r"."):
        await bench.folders.write(A, DATA, 0, HALF)


async def test_only_what_was_promised_is_written(bench: Bench) -> None:
    with pytest.raises(Unavailable, match=r"."):
        await bench.folders.write(A, DATA, 0, b"x")
    await bench.folders.receive(A, PARTIAL)
    other = PartialFile("b.iso", 9, ((0, 9),))
    for file, offset in ((DATA, len(HALF)), (DATA, -1), (other, 0)):
        with pytest.raises(Unavailable, match=r"."):
            await bench.folders.write(A, file, offset, b"x")
    with pytest.raises(Unavailable, match=r"."):
        await bench.folders.received(A, Partial(files=(other,)))


async def test_reading_what_is_not_there(bench: Bench) -> None:
    with pytest.raises(Unavailable, match=r"."):
        await bench.folders.read(A, DATA, 0, 1)
    await put_half(bench, A)
    assert await bench.folders.read(A, DATA, MIB - 1, 2) == b"h\0"
    assert await bench.folders.read(A, DATA, len(HALF) - 1, 1) == b"i"
    for file, offset, length in (
        *((DATA, len(HALF), 1), (DATA, -1, 1), (DATA, 0, -1)),
        *((PartialFile("b.iso", 9, ()), 0, 1), (PartialFile("../a.iso", len(HALF), ()), 0, 1)),
    ):
        with pytest.raises(Unavailable, match=r"."):
            await bench.folders.read(A, file, offset, length)


@pytest.mark.parametrize("path", ["../x", "/x", "a/../../x", "", ".", "a//x", "a/", "a\0b"])
async def test_no_path_leads_out(bench: Bench, path: str) -> None:
    files = (PartialFile(path, 1, ((0, 1),)), PartialFile(f"{path}.aria2", 1, ((0, 1),)))
    with pytest.raises(InvalidInput, match=r"."):
        await bench.folders.receive(A, Partial(files=files))
    assert await bench.folders.staged() == {}


async def test_what_could_not_be_resumed_is_not_taken(bench: Bench) -> None:
    for files in ((), (DATA,), (CONTROL_OF_IT,), (DATA, DATA, CONTROL_OF_IT)):
        with pytest.raises(InvalidInput, match=r"."):
            await bench.folders.receive(A, Partial(files=files))
    assert await bench.folders.staged() == {}


async def test_many_are_opened_published_and_discarded_at_once(bench: Bench) -> None:
    opened = await bench.folders.open_all([Opening(A, True), Opening(B, False)])
    assert opened == [bench.folders.root / ".ariacluster" / id / "data" for id in (A, B)]
    await bench.put(A, "f", b"1")
    await bench.put(B, "f", b"22")
    one, two = await bench.folders.publish_all([Publishing(A, 1, "d"), Publishing(B, 4, "d")])
    assert isinstance(one, Receipt) and isinstance(two, Receipt)
    assert (one.attempt, one.result.total_bytes, two.attempt, two.result.total_bytes) == (1, 1, 4, 2)
    assert bench.published() == {"d/f": b"1", "d/f.1": b"22"}
    assert {id: staged.receipt for id, staged in (await bench.folders.staged()).items()} == {A: one, B: two}
    assert await bench.folders.discard_all([Discarding(A, True), Discarding(B, False)]) == [None, None]
    assert bench.published() == {"d/f.1": b"22"}
    assert await bench.folders.staged() == {}


async def test_of_many_each_has_an_answer_of_its_own(bench: Bench) -> None:
    await bench.folders.open_all([Opening(A, True), Opening(B, True)])
    await bench.put(B, "f", b"22")
    one, two = await bench.folders.publish_all([Publishing(A, 1, ""), Publishing(B, 1, "")])
    assert isinstance(one, Unavailable)
    assert isinstance(two, Receipt)
    assert bench.published() == {"f": b"22"}
    assert await bench.folders.open_all([]) == await bench.folders.publish_all([]) == []
    assert await bench.folders.discard_all([]) == []
