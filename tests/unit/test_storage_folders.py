"""The download folder against what a disk, a crash and a hostile name can do."""

import asyncio
import errno
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ariacluster.domain.errors import Unavailable
from ariacluster_node.adapters.storage import publication
from ariacluster_node.adapters.storage.folders import DownloadFolders
from ariacluster_node.adapters.storage.publication import numbered
from tests.support.control_file import control_file
from tests.support.singly import discard, publish

A = "00000000000000aa"
FILES = {"film.mkv": b"12345", "album/1": b"1", "album/2": b"22"}


class PowerLoss(Exception):
    pass


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "downloads"


@pytest.fixture
def folders(root: Path) -> DownloadFolders:
    return DownloadFolders(root)


def write(folder: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def below(root: Path) -> dict[str, bytes]:
    """What people see in the download folder: files with their bytes, empty folders with a slash."""
    seen = {}
    for path in root.rglob("*"):
        name = path.relative_to(root)
        if name.parts[0] == ".ariacluster":
            continue
        if path.is_file():
            seen[str(name)] = path.read_bytes()
        elif not any(path.iterdir()):
            seen[f"{name}/"] = b""
    return seen


class Fuse:
    """Cuts the power at the `limit`-th call that changes the disk, before it or right after it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, limit: int, after: bool) -> None:
        self.calls = 0
        self.dead = False
        self._limit = limit
        self._after = after
        for name in ("link", "rename", "replace", "unlink", "mkdir", "open"):
            monkeypatch.setattr(os, name, self._wrapped(getattr(os, name)))

    def _wrapped(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if real.__name__ == "open" and not args[1] & os.O_CREAT:
                return real(*args, **kwargs)
            self.calls += 1
            if self.dead or (self.calls == self._limit and not self._after):
                self.dead = True
                raise PowerLoss
            last = self.calls == self._limit
            try:
                result = real(*args, **kwargs)
            except OSError:
                if not last:
                    raise
                result = None
            if last:
                self.dead = True
                if real.__name__ == "open":
                    os.close(result)
                raise PowerLoss
            return result

        return call


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("links", [True, False])
async def test_a_crash_at_any_moment_of_publishing_is_healed(root: Path, after: bool, links: bool) -> None:
    """Whatever call the power is lost at: in the end every file is there once, and nothing else."""
    for limit in range(1, 100):
        root = root.with_name(f"{limit}")
        folders = DownloadFolders(root)
        write(await folders.open(A, fresh=True), FILES)
        write(root, {"media/film.mkv": b"somebody else's"})
        with pytest.MonkeyPatch.context() as patch:
            if not links:
                patch.setattr(os, "link", refuse(errno.EPERM))
            fuse = Fuse(patch, limit, after)
            try:
                await publish(folders, A, 1, "media/new")
            except PowerLoss:
                pass
            else:
                assert fuse.calls < limit
                return  # beyond the last call: all of them have been tried
        again = DownloadFolders(root)
        receipt = (await again.staged())[A].receipt
        whole = {f"media/new/{name}": data for name, data in FILES.items()}
        if receipt is None:  # nothing was moved: the power went before the receipt was written
            assert below(root) == {"media/film.mkv": b"somebody else's"}
            receipt = await publish(again, A, 1, "media/new")
        assert below(root) == whole | {"media/film.mkv": b"somebody else's"}
        assert {f.path: f.length for f in receipt.result.files} == {name: len(data) for name, data in whole.items()}
        await discard(again, A, published=True)
        assert below(root) == {"media/film.mkv": b"somebody else's"}
    pytest.fail("publishing never ended")


def refuse(code: int) -> Callable[..., None]:
    def call(*_args: object, **_kwargs: object) -> None:
        raise OSError(code, os.strerror(code))

    call.__name__ = "link"
    return call


async def test_a_name_taken_between_the_receipt_and_the_move_is_given_way_to(
    folders: DownloadFolders, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(await folders.open(A, fresh=True), FILES)
    real = os.link

    def link(source: Path, target: Path, **kwargs: Any) -> None:
        if not target.exists():
            target.write_bytes(b"just now")
        monkeypatch.setattr(os, "link", real)
        real(source, target, **kwargs)

    monkeypatch.setattr(os, "link", link)
    receipt = await publish(folders, A, 1, "")
    assert below(root)["film.mkv"] == b"just now"
    assert below(root)["film.1.mkv"] == b"12345"
    assert [entry.path for entry in receipt.result.files] == ["album/1", "album/2", "film.1.mkv"]
    assert (await DownloadFolders(root).staged())[A].receipt == receipt
    await discard(folders, A, published=True)
    assert below(root) == {"film.mkv": b"just now"}


async def test_a_file_system_without_links_overwrites_nothing_either(
    folders: DownloadFolders, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", refuse(errno.EPERM))
    write(await folders.open(A, fresh=True), FILES)
    write(root, {"film.mkv": b"old", "album/1": b"old"})
    await publish(folders, A, 1, "")
    assert below(root) == {
        "film.mkv": b"old",
        "album/1": b"old",
        "film.1.mkv": b"12345",
        "album.1/1": b"1",
        "album.1/2": b"22",
    }


async def test_tasks_wait_for_each_other_where_a_name_cannot_be_taken_in_one_step(
    folders: DownloadFolders, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.replace

    def slowly(source: Path, target: Path) -> None:
        time.sleep(0.01)  # the moment in which another one could take the reserved name for its own
        real(source, target)

    monkeypatch.setattr(os, "link", refuse(errno.EPERM))
    monkeypatch.setattr(os, "replace", slowly)
    tasks = [f"{n:016x}" for n in range(8)]
    for task in tasks:
        write(await folders.open(task, fresh=True), {"same": task.encode()})
    await asyncio.gather(*(publish(folders, task, 1, "") for task in tasks))
    assert sorted(below(root).values()) == [task.encode() for task in tasks]


async def test_a_name_taken_while_the_power_was_off_is_given_way_to(
    folders: DownloadFolders, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(await folders.open(A, fresh=True), FILES)
    with monkeypatch.context() as patch:
        patch.setattr(publication, "make_moves", lambda *_: (_ for _ in ()).throw(PowerLoss))
        with pytest.raises(PowerLoss):
            await publish(folders, A, 1, "")
    write(root, {"film.mkv": b"theirs", "album/1": b"theirs"})
    receipt = (await DownloadFolders(root).staged())[A].receipt
    assert receipt
    assert [entry.path for entry in receipt.result.files] == ["album.1/1", "album.1/2", "film.1.mkv"]
    assert below(root) == {
        "film.mkv": b"theirs",
        "album/1": b"theirs",
        "film.1.mkv": b"12345",
        "album.1/1": b"1",
        "album.1/2": b"22",
    }


async def test_discard_prunes_only_folders_that_it_made_and_are_empty(folders: DownloadFolders, root: Path) -> None:
    write(await folders.open(A, fresh=True), FILES)
    (root / "media").mkdir()
    await publish(folders, A, 1, "media/a/b")
    write(root, {"media/a/mine": b""})
    await discard(folders, A, published=True)
    assert below(root) == {"media/a/mine": b""}
    write(await folders.open(A, fresh=True), FILES)
    await publish(folders, A, 2, "x/y/z")
    await discard(folders, A, published=True)
    assert below(root) == {"media/a/mine": b""}


async def test_a_half_done_publication_is_undone_when_the_task_starts_over(
    folders: DownloadFolders, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(await folders.open(A, fresh=True), FILES)
    with monkeypatch.context() as patch:
        patch.setattr(os, "link", refuse(errno.ENOSPC))
        with pytest.raises(Unavailable, match="No space left on device"):
            await publish(folders, A, 1, "d")
    assert sorted(below(root)) == ["d/album/1", "d/album/2"]
    write(root, {"d/film.mkv": b"theirs"})
    data = await folders.open(A, fresh=False)
    assert below(root) == {"d/film.mkv": b"theirs"} and not any(data.iterdir())
    assert (await folders.staged())[A].receipt is None


async def test_a_destination_on_another_disk_is_explained(
    folders: DownloadFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(await folders.open(A, fresh=True), {"film.mkv": b"1"})
    monkeypatch.setattr(os, "link", refuse(errno.EXDEV))
    with pytest.raises(Unavailable, match="another disk"):
        await publish(folders, A, 1, "d")


@pytest.mark.parametrize("place", ["film.mkv", "album/deep/link"])
async def test_a_link_in_the_staging_folder_is_refused(
    folders: DownloadFolders, root: Path, tmp_path: Path, place: str
) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    data = await folders.open(A, fresh=True)
    write(data, {"ok": b"1", "album/deep/song": b"1", "album.aria2": b"1"})
    (data / place).symlink_to(tmp_path / "secret")
    for attempt in (publish(folders, A, 1, ""), folders.open(A, fresh=False)):
        with pytest.raises(Unavailable, match="neither a file nor a folder"):
            await attempt
    assert below(root) == {}
    await folders.open(A, fresh=True)  # throws the link away, not what it leads to
    assert (tmp_path / "secret").read_bytes() == b"secret"


@pytest.mark.parametrize("inside", [True, False])
async def test_a_dir_may_pass_a_link_only_inside_the_root(
    folders: DownloadFolders, root: Path, tmp_path: Path, inside: bool
) -> None:
    write(await folders.open(A, fresh=True), {"film.mkv": b"1"})
    target = root / "real" if inside else tmp_path / "elsewhere"
    target.mkdir()
    (root / "link").symlink_to(target)
    if inside:
        await publish(folders, A, 1, "link/sub")
        assert (target / "sub/film.mkv").read_bytes() == b"1"
    else:
        with pytest.raises(Unavailable, match="link that leads out"):
            await publish(folders, A, 1, "link/sub")
        assert not any(target.iterdir())


@pytest.mark.parametrize("dir", ["../out", "/tmp", "a/../../b", ".ariacluster", ".ariacluster/x", "a\0b"])
async def test_a_dir_stays_below_the_root(folders: DownloadFolders, root: Path, dir: str) -> None:
    write(await folders.open(A, fresh=True), {"film.mkv": b"1"})
    with pytest.raises(Unavailable):
        await publish(folders, A, 1, dir)
    assert below(root) == {}


@pytest.mark.parametrize("part", ["", A, f"{A}/data"])
async def test_a_link_in_place_of_a_staging_folder_is_refused(
    folders: DownloadFolders, root: Path, tmp_path: Path, part: str
) -> None:
    outside = tmp_path / "outside"
    write(outside, {f"{A}/data/precious": b"1", "data/precious": b"1", "precious": b"1"})
    link = root / ".ariacluster" / part
    link.parent.mkdir(parents=True)
    link.symlink_to(outside)
    for fresh in (True, False):
        with pytest.raises(Unavailable, match="must be a plain folder"):
            await folders.open(A, fresh=fresh)
    with pytest.raises(Unavailable, match="must be a plain folder"):
        await publish(folders, A, 1, "")
    if part:
        await discard(folders, A, published=True)
    assert len([path for path in outside.rglob("precious") if path.read_bytes() == b"1"]) == 3


async def test_a_task_id_is_no_path(folders: DownloadFolders) -> None:
    for bad in ("..", "../../../etc", "A" * 16, "0" * 15, ""):
        with pytest.raises(Unavailable, match="not a task id"):
            await discard(folders, bad, published=True)


@pytest.mark.parametrize(
    "receipt",
    [
        b"",
        b"\xff\xfe",
        b"{}",
        b"[]",
        b'{"v":9,"attempt":1,"dir":"","made":[],"moves":[],"result":{"total_bytes":0,"file_count":0}}',
        b'{"v":1,"attempt":1,"dir":"..","made":[],"moves":[],"result":{"total_bytes":0,"file_count":0}}',
        b'{"v":1,"attempt":1,"dir":"","made":["../x"],"moves":[],"result":{"total_bytes":0,"file_count":0}}',
        b'{"v":1,"attempt":1,"dir":"","made":[],"moves":[{"source":"a","target":"../precious"}],'
        b'"result":{"total_bytes":0,"file_count":0}}',
    ],
)
async def test_a_broken_receipt_counts_as_none(folders: DownloadFolders, root: Path, receipt: bytes) -> None:
    data = await folders.open(A, fresh=True)
    write(root.parent, {"precious": b"1"})
    (data.parent / "receipt.json").write_bytes(receipt)
    assert (await folders.staged())[A].receipt is None
    await discard(folders, A, published=True)
    assert (root.parent / "precious").exists()
    assert await folders.staged() == {}


async def test_a_download_named_like_the_receipt_forges_nothing(folders: DownloadFolders, root: Path) -> None:
    write(await folders.open(A, fresh=True), {"receipt.json": b"{}"})
    assert (await folders.staged())[A].receipt is None
    await publish(folders, A, 1, "")
    assert below(root) == {"receipt.json": b"{}"}


async def test_what_is_no_task_is_left_alone(folders: DownloadFolders, root: Path) -> None:
    write(root, {".ariacluster/notes/x": b"1", ".ariacluster/file": b"1"})
    assert await folders.staged() == {}


async def test_names_that_are_no_utf8_are_made_so(folders: DownloadFolders, root: Path) -> None:
    data = await folders.open(A, fresh=True)
    (data / os.fsdecode(b"top\xff")).mkdir()
    write(data, {os.fsdecode(b"top\xff/in\xfe"): b"1"})
    receipt = await publish(folders, A, 1, "")
    assert [entry.path for entry in receipt.result.files] == ["top�/in�"]
    assert below(root) == {"top�/in�": b"1"}


async def test_control_files_in_folders_are_not_published(folders: DownloadFolders, root: Path) -> None:
    write(await folders.open(A, fresh=True), {"pack/a.iso": b"1", "pack/a.iso.aria2": b"1", "pack/b.aria2": b"1"})
    await publish(folders, A, 1, "")
    assert below(root) == {"pack/a.iso": b"1", "pack/b.aria2": b"1"}


@pytest.mark.parametrize("early", [False, True])
async def test_what_the_disk_has_lost_is_never_published(
    folders: DownloadFolders, root: Path, monkeypatch: pytest.MonkeyPatch, early: bool
) -> None:
    """Linux tells of a failed write once: the next fsync of the same file is fine."""
    files = {"film.mkv": b"12345", "film.mkv.aria2": control_file(5, have=(0,))}
    write(await folders.open(A, fresh=True), files)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse(errno.EIO))
        with pytest.raises(Unavailable, match="Input/output error"):
            await (folders.settle(A) if early else publish(folders, A, 1, ""))
    for _ in range(2):
        with pytest.raises(Unavailable, match="did not take"):
            await publish(folders, A, 1, "")
    data = await folders.open(A, fresh=False)
    assert os.listdir(data) == []
    write(data, files)
    await publish(folders, A, 2, "")
    assert below(root) == {"film.mkv": b"12345"}


async def test_folders_may_lie_deeper_than_calls_can_nest(folders: DownloadFolders, root: Path) -> None:
    """aria2 makes whatever a torrent names."""
    place = os.fspath(await folders.open(A, fresh=True))
    for _ in range(sys.getrecursionlimit()):
        place += "/a"
        os.mkdir(place)
    (Path(place) / "x").write_bytes(b"x")
    assert await folders.partial(A) is None
    receipt = await publish(folders, A, 1, "")
    assert (receipt.result.file_count, receipt.result.total_bytes) == (1, 1)
    assert (await folders.staged())[A].receipt == receipt
    await discard(folders, A, published=True)
    assert os.listdir(root) == [".ariacluster"]
    assert os.listdir(root / ".ariacluster") == []


def test_a_number_goes_before_the_extension_and_the_name_stays_short_enough() -> None:
    assert numbered("a.iso", 1) == "a.1.iso"
    assert numbered("album", 12) == "album.12"
    assert numbered(".profile", 1) == ".profile.1"
    long = numbered("é" * 125 + ".iso", 7)
    assert long.endswith(".7.iso") and len(long.encode()) <= 255


async def test_trouble_names_the_path(tmp_path: Path) -> None:
    assert await DownloadFolders(tmp_path / "a/b").trouble() == ""
    assert (tmp_path / "a/b").is_dir()
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "file", tmp_path / "file/below"):
        assert f"{path} is not a folder" in await DownloadFolders(path).trouble()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert str(tmp_path / "loop") in await DownloadFolders(tmp_path / "loop").trouble()


async def test_trouble_says_that_it_may_not_write(folders: DownloadFolders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # as root, every folder is writable
    assert "not writable" in await folders.trouble()
    monkeypatch.undo()
    assert await folders.trouble() == ""


async def test_what_the_disk_refuses_is_told_with_its_place(root: Path) -> None:
    write(root.parent, {root.name: b""})
    with pytest.raises(Unavailable, match=r"Cannot prepare .*Not a directory \(.*downloads"):
        await DownloadFolders(root).open(A, fresh=False)


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("way", ["discard", "fresh", "resume"])
async def test_a_publication_that_failed_half_way_leaves_nothing_when_the_task_has_moved_away(
    folders: DownloadFolders, root: Path, monkeypatch: pytest.MonkeyPatch, links: bool, way: str
) -> None:
    """Nobody was told of it, so nobody asks for the published files to go; they go all the same."""
    write(await folders.open(A, fresh=True), FILES)
    write(root, {"d/mine": b"mine"})
    with monkeypatch.context() as patch:
        patch.setattr(os, "link", refuse(errno.ENOSPC if links else errno.EPERM))
        patch.setattr(os, "replace", refuse_films(os.replace))
        with pytest.raises(Unavailable, match=r"No space left on device|Input/output error"):
            await publish(folders, A, 7, "d/new")
        assert {"d/new/album/1", "d/new/album/2"} <= set(below(root))
        assert (await folders.staged())[A].receipt is None
        folders = DownloadFolders(root)  # and after a restart of the node
        assert (await folders.staged())[A].receipt is None
    with pytest.raises(Unavailable, match="another attempt"):  # what is left of it is not the download
        await publish(folders, A, 1, "e")
    if way == "discard":
        await discard(folders, A, published=False)
    else:
        await folders.open(A, fresh=way == "fresh")
    assert below(root) == {"d/mine": b"mine"}


def refuse_films(real: Callable[..., None]) -> Callable[..., None]:
    def replace(source: Path, target: Path) -> None:
        if Path(target).name.startswith("film"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(source, target)

    return replace


async def test_a_whole_publication_stays_when_its_folder_goes(folders: DownloadFolders, root: Path) -> None:
    write(await folders.open(A, fresh=True), FILES)
    await publish(folders, A, 7, "d")
    await discard(folders, A, published=False)
    assert below(root) == {f"d/{name}": data for name, data in FILES.items()}
