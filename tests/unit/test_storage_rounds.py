"""What is published together, against a power loss at any moment and against what comes after."""

import errno
import os
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from ariacluster.domain.errors import Unavailable
from ariacluster.domain.reconcile import Receipt
from ariacluster_node.adapters.storage import durable
from ariacluster_node.adapters.storage.folders import DownloadFolders
from ariacluster_node.ports import Discarding, Opening, Publishing
from tests.support.singly import discard

from .test_storage_folders import Fuse, PowerLoss, below, refuse, write

A, B, C = "00000000000000aa", "00000000000000bb", "00000000000000cc"
FILES = {A: {"f.bin": b"a", "album/1": b"1"}, B: {"f.bin": b"bb"}, C: {"g.bin": b"ccc"}}
ALL = [Publishing(A, 1, "media"), Publishing(B, 2, "media"), Publishing(C, 3, "")]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "downloads"


async def opened(root: Path) -> DownloadFolders:
    folders = DownloadFolders(root)
    for folder, files in zip(await folders.open_all([Opening(id, True) for id in FILES]), FILES.values(), strict=True):
        assert isinstance(folder, Path)
        write(folder, files)
    return folders


async def published(root: Path) -> DownloadFolders:
    folders = await opened(root)
    assert all(isinstance(one, Receipt) for one in await folders.publish_all(ALL))
    return folders


def rounds(root: Path) -> list[Path]:
    return sorted((root / ".ariacluster").glob("round-*"))


async def test_each_gets_a_name_of_its_own(root: Path) -> None:
    folders = await published(root)
    whole = {"media/f.bin": b"a", "media/album/1": b"1", "media/f.1.bin": b"bb", "g.bin": b"ccc"}
    assert below(root) == whole
    receipts = {id: staged.receipt for id, staged in (await folders.staged()).items()}
    assert {id: receipt and receipt.attempt for id, receipt in receipts.items()} == {A: 1, B: 2, C: 3}
    assert [f.path for f in receipts[B].result.files] == ["media/f.1.bin"]  # type: ignore[union-attr]
    again = DownloadFolders(root)
    assert {id: staged.receipt for id, staged in (await again.staged()).items()} == receipts
    assert await again.publish_all(ALL) == list(receipts.values())
    assert below(root) == whole


async def test_the_disk_is_waited_for_once_a_file_and_a_few_times_for_all(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = await opened(root)
    calls, real = 0, os.fsync

    def fsync(fd: int) -> None:
        nonlocal calls
        calls += 1
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    await folders.publish_all(ALL)
    data = sum(map(len, FILES.values())) + 1  # with the folder of an album
    receipts, into = 2, 2  # a file and its folder; the root and `media`
    assert calls == data + receipts + into


@pytest.mark.parametrize("after", [False, True])
async def test_a_crash_at_any_moment_of_publishing_is_healed(root: Path, after: bool) -> None:
    for limit in range(1, 100):
        root = root.with_name(f"{limit}")
        folders = await opened(root)
        write(root, {"media/f.bin": b"somebody else's"})
        with pytest.MonkeyPatch.context() as patch:
            fuse = Fuse(patch, limit, after)
            try:
                await folders.publish_all(ALL)
            except PowerLoss:
                pass
            else:
                assert fuse.calls < limit
                return
        again = DownloadFolders(root)
        await again.staged()
        receipts = await again.publish_all(ALL)
        seen = below(root)
        assert Counter(seen.values()) == Counter([b"somebody else's", b"a", b"1", b"bb", b"ccc"])
        for (id, files), receipt in zip(FILES.items(), receipts, strict=True):
            assert isinstance(receipt, Receipt), id
            assert sorted(seen[f.path] for f in receipt.result.files) == sorted(files.values())
        assert await again.discard_all([Discarding(id, True) for id in FILES]) == [None] * 3
        assert below(root) == {"media/f.bin": b"somebody else's"}
        assert os.listdir(root / ".ariacluster") == []
    pytest.fail("publishing never ended")


async def test_the_file_of_the_receipts_goes_with_the_last_folder(root: Path) -> None:
    folders = await published(root)
    assert len(rounds(root)) == 1
    await folders.discard_all([Discarding(A, False), Discarding(B, False)])
    assert len(rounds(root)) == 1
    assert set(await DownloadFolders(root).staged()) == {C}
    await discard(folders, C, published=False)
    assert os.listdir(root / ".ariacluster") == []


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("fresh", [False, True])
async def test_a_receipt_never_counts_for_a_folder_that_was_made_anew(root: Path, after: bool, fresh: bool) -> None:
    """Whatever call the power is lost at: what is half there under the same name is not taken for what was published."""
    for limit in range(1, 100):
        root = root.with_name(f"{limit}")
        folders = await published(root)
        before = below(root)
        with pytest.MonkeyPatch.context() as patch:
            fuse = Fuse(patch, limit, after)
            try:
                await discard(folders, A, published=False)
                folder = await folders.open(A, fresh=fresh)
                done = True
            except PowerLoss:
                done = False
        if done:
            write(folder, {"f.bin": b"half", "f.bin.aria2": b""})
        again = DownloadFolders(root)
        receipts = {id: staged.receipt for id, staged in (await again.staged()).items()}
        assert receipts[B] and receipts[C]
        assert below(root) == before
        if done:
            assert fuse.calls < limit
            assert receipts[A] is None
            await discard(again, A, published=True)
            assert below(root) == before
            return
    pytest.fail("it never ended")


@pytest.mark.parametrize("after", [False, True])
async def test_taking_back_never_takes_what_is_somebody_elses(root: Path, after: bool) -> None:
    """Whatever call the power is lost at, and whoever has the names since: ours go, theirs stay."""
    for limit in range(1, 100):
        root = root.with_name(f"{limit}")
        folders = await published(root)
        with pytest.MonkeyPatch.context() as patch:
            fuse = Fuse(patch, limit, after)
            try:
                await discard(folders, A, published=True)
                done = True
            except PowerLoss:
                done = False
        theirs = {name: b"theirs" for name in ("media/f.bin", "media/album/1") if not (root / name).exists()}
        write(root, theirs)
        again = DownloadFolders(root)
        if staged := (await again.staged()).get(A):
            await discard(again, A, published=staged.receipt is not None)
        assert below(root) == theirs | {"media/f.1.bin": b"bb", "g.bin": b"ccc"}
        if done:
            assert fuse.calls < limit
            return
    pytest.fail("it never ended")


@pytest.mark.parametrize("published", [ALL, ALL[:1], []])
async def test_a_full_disk_is_in_no_ones_way_out(
    root: Path, monkeypatch: pytest.MonkeyPatch, published: list[Publishing]
) -> None:
    """What goes makes room: it must not need any."""
    folders = await opened(root)
    await folders.publish_all(published)
    monkeypatch.setattr(os, "write", refuse(errno.ENOSPC))
    assert await folders.discard_all([Discarding(id, True) for id in FILES]) == [None] * 3
    assert below(root) == {}
    assert os.listdir(root / ".ariacluster") == []


async def test_one_that_fails_is_in_nobodys_way(root: Path) -> None:
    folders = await opened(root)
    (root / ".ariacluster" / B / "data" / "f.bin").unlink()
    first, second, third = await folders.publish_all([ALL[0], ALL[1], Publishing(C, 3, "../out")])
    assert isinstance(first, Receipt)
    assert isinstance(second, Unavailable) and "no file" in second.detail
    assert isinstance(third, Unavailable) and "leads out" in third.detail
    assert below(root) == {"media/f.bin": b"a", "media/album/1": b"1"}
    odd = await folders.discard_all([Discarding(A, True), Discarding("../../etc", True)])
    assert odd[0] is None
    assert isinstance(odd[1], Unavailable)


@pytest.mark.parametrize("call", [(os, "replace", refuse(errno.ENOSPC)), (durable, "settle", refuse(errno.EIO))])
async def test_receipts_that_cannot_be_written_publish_nothing(
    root: Path, monkeypatch: pytest.MonkeyPatch, call: tuple[object, str, object]
) -> None:
    folders = await opened(root)

    with monkeypatch.context() as patch:
        patch.setattr(*call)
        assert all(isinstance(one, Unavailable) for one in await folders.publish_all(ALL))
    assert below(root) == {}
    assert rounds(root) == []
    assert all(isinstance(one, Receipt) for one in await folders.publish_all(ALL))


@pytest.mark.parametrize("garbage", [b"", b"[]", b'{"v": 2, "receipts": {}}', b'{"receipts": {"x": {"moves": 1}}}'])
async def test_damaged_receipts_count_as_none(root: Path, garbage: bytes) -> None:
    await published(root)
    [path] = rounds(root)
    path.write_bytes(garbage)
    again = DownloadFolders(root)
    assert {id: staged.receipt for id, staged in (await again.staged()).items()} == dict.fromkeys(FILES)
    assert len(below(root)) == 4


async def test_receipts_that_lead_out_count_as_none(root: Path, tmp_path: Path) -> None:
    await published(root)
    [path] = rounds(root)
    path.write_bytes(path.read_bytes().replace(b'"target":"g.bin"', b'"target":"../x"'))
    again = DownloadFolders(root)
    assert (await again.staged())[C].receipt is None


async def test_receipts_of_nobody_go(root: Path) -> None:
    await published(root)
    [path] = rounds(root)
    told = path.read_bytes()
    folders = DownloadFolders(root)
    await folders.discard_all([Discarding(id, False) for id in FILES])
    path.write_bytes(told)  # as if the power had brought it back
    again = DownloadFolders(root)
    assert await again.staged() == {}
    assert rounds(root) == []
    assert len(below(root)) == 4


async def test_they_are_found_when_the_disk_comes_late(root: Path) -> None:
    await published(root)
    away = root.with_name("away")
    root.rename(away)
    again = DownloadFolders(root)
    assert await again.staged() == {}
    away.rename(root)
    assert all(staged.receipt for staged in (await again.staged()).values())


@pytest.mark.parametrize("another", [True, False])
async def test_a_disk_that_comes_back_has_what_it_had(root: Path, another: bool) -> None:
    """What was cleared away while it was not there was not cleared away on it."""
    folders = await published(root)
    away = root.with_name("away")
    root.rename(away)
    if another:
        assert await folders.trouble() == ""  # a folder is made where the disk should be
    assert await folders.discard_all([Discarding(id, True) for id in FILES]) == [None] * 3
    if another:
        (root / ".ariacluster").rmdir()
        root.rmdir()
    away.rename(root)
    assert all(staged.receipt for staged in (await folders.staged()).values())
    await discard(folders, A, published=True)
    assert below(root) == {"media/f.1.bin": b"bb", "g.bin": b"ccc"}


async def test_the_receipt_of_an_earlier_version_counts(root: Path) -> None:
    """It lay in the folder of its task."""
    await published(root)
    [path] = rounds(root)
    told = msgspec.json.decode(path.read_bytes())["receipts"][C]
    path.unlink()
    (root / ".ariacluster" / C / "receipt.json").write_bytes(msgspec.json.encode(told))
    again = DownloadFolders(root)
    assert [id for id, staged in (await again.staged()).items() if staged.receipt] == [C]
    await discard(again, C, published=True)
    assert "g.bin" not in below(root)
    assert not (root / ".ariacluster" / C).exists()
