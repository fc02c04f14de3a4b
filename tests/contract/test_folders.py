"""What every download folder keeps to: the fake and the real one run the same bodies."""

import asyncio
from pathlib import Path
from typing import Protocol

import pytest

from ariacluster.domain.errors import Unavailable
from ariacluster.domain.task import MAX_FILES, FileEntry
from ariacluster_node.adapters.storage.folders import DownloadFolders
from ariacluster_node.ports import Folders
from tests.support.fake_folders import FakeFolders

A, B = "00000000000000aa", "00000000000000bb"


class Bench(Protocol):
    """A download folder, and a look from outside at what is in it. Paths are relative; bytes by path."""

    @property
    def folders(self) -> Folders: ...

    async def put(self, task_id: str, path: str, data: bytes = b"x") -> None: ...

    def staged(self, task_id: str) -> set[str]: ...

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
        data = self._data[task_id]
        return {str(path.relative_to(data)) for path in data.rglob("*") if path.is_file()}

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
        await bench.put(A, path)
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
    receipt = await bench.folders.publish(A, 3, "media/new")
    assert bench.published() == {"media/new/film.mkv": b"12345", "media/new/album/01 é.flac": b"123"}
    assert receipt.attempt == 3
    assert (receipt.result.total_bytes, receipt.result.file_count) == (8, 2)
    assert receipt.result.files == (FileEntry("media/new/album/01 é.flac", 3), FileEntry("media/new/film.mkv", 5))
    assert (await bench.folders.staged())[A].receipt == receipt


async def test_publish_to_the_root(bench: Bench) -> None:
    await bench.put(A, "film.mkv")
    receipt = await bench.folders.publish(A, 1, "")
    assert [entry.path for entry in receipt.result.files] == ["film.mkv"]


async def test_publishing_again_answers_the_same(bench: Bench) -> None:
    await bench.put(A, "film.mkv")
    first = await bench.folders.publish(A, 1, "")
    assert await bench.folders.publish(A, 1, "") == first
    assert list(bench.published()) == ["film.mkv"]


async def test_nothing_is_ever_overwritten(bench: Bench) -> None:
    for number, task in enumerate((A, B)):
        await bench.put(task, "film.mkv", b"%d" % number)
        await bench.put(task, "album/song", b"%d" % number)
        await bench.folders.publish(task, 1, "d")
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
    receipts = await asyncio.gather(*(bench.folders.publish(task, 1, "d") for task in tasks))
    where = {receipt.result.files[0].path: task.encode() for receipt, task in zip(receipts, tasks, strict=True)}
    assert bench.published() == where and len(where) == 20


async def test_control_files_are_not_published(bench: Bench) -> None:
    await bench.put(A, "kept.iso")
    await bench.put(A, "kept.iso.aria2")  # force-save keeps it
    await bench.folders.publish(A, 1, "")
    assert list(bench.published()) == ["kept.iso"]


async def test_the_half_of_an_earlier_attempt_is_not_published(bench: Bench) -> None:
    await bench.put(A, "old-name.iso")
    await bench.put(A, "old-name.iso.aria2")
    await bench.put(A, "new-name.iso")
    await bench.folders.publish(A, 2, "")
    assert list(bench.published()) == ["new-name.iso"]


async def test_a_long_list_is_counted_and_cut(bench: Bench) -> None:
    for n in range(MAX_FILES + 20):
        await bench.put(A, f"album/{n:04}", b"ab")
    result = (await bench.folders.publish(A, 1, "")).result
    assert (result.file_count, result.total_bytes, len(result.files)) == (MAX_FILES + 20, 2 * MAX_FILES + 40, MAX_FILES)


async def test_nothing_to_publish_is_said(bench: Bench) -> None:
    await bench.folders.open(A, fresh=False)
    with pytest.raises(Unavailable, match=r"."):
        await bench.folders.publish(A, 1, "")
    await bench.put(A, "x.aria2")
    with pytest.raises(Unavailable, match=r"."):
        await bench.folders.publish(A, 1, "")


async def test_discard_keeps_what_is_published_unless_told(bench: Bench) -> None:
    for task, name in ((A, "a"), (B, "b")):
        await bench.put(task, name)
        await bench.folders.publish(task, 1, "d")
    await bench.folders.discard(A, published=False)
    await bench.folders.discard(B, published=True)
    assert await bench.folders.staged() == {}
    assert list(bench.published()) == ["d/a"]


async def test_discard_of_an_unknown_task_is_nothing(bench: Bench) -> None:
    await bench.folders.discard(A, published=True)
    await bench.folders.open(A, fresh=False)
    await bench.folders.discard(A, published=True)
    await bench.folders.discard(A, published=True)
    assert await bench.folders.staged() == {}


async def test_a_new_attempt_takes_back_what_an_older_one_published(bench: Bench) -> None:
    await bench.put(A, "v1.iso")
    await bench.folders.publish(A, 1, "")
    await bench.put(A, "v2.iso")
    await bench.folders.publish(A, 2, "")
    assert list(bench.published()) == ["v2.iso"]


@pytest.mark.parametrize("opened", [True, False])
async def test_an_earlier_life_of_the_id_keeps_its_files(bench: Bench, opened: bool) -> None:
    await bench.put(A, "v1.iso")
    await bench.folders.publish(A, 7, "")
    if opened:
        await bench.folders.open(A, fresh=True)
    await bench.put(A, "v2.iso")
    await bench.folders.publish(A, 1, "")
    assert sorted(bench.published()) == ["v1.iso", "v2.iso"]
