"""Putting a finished download in its place: the receipt, the renames, and how both are finished after a crash. Blocking.

The receipt is on the disk before the first rename, and says every one: whatever moment the power goes, `complete` can
tell from it what is left to do, and `withdraw` what to take back. aria2 never writes where receipts lie, so a download
named like one forges nothing.
"""

import errno
import itertools
import os
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from ariacluster.domain.errors import Unavailable
from ariacluster.domain.reconcile import Receipt
from ariacluster.domain.task import MAX_FILES, FileEntry, Result

from .confinement import MAX_NAME_BYTES, missing_folders, parts_of, remove, survey
from .control import SUFFIX
from .durable import settle, write_durably

RECEIPT = "receipt.json"
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EACCES}
"""What file systems without hard links (FAT, some network ones) say."""


class Move(msgspec.Struct, frozen=True):
    """One rename: a name in the task's data folder, and its name in the destination."""

    source: str
    target: str


class Publication(msgspec.Struct, frozen=True, kw_only=True):
    """What the receipt file holds. `made` are the folders that were missing on the way to `dir`, relative to the root."""

    v: int = 1
    attempt: int
    dir: str
    made: tuple[str, ...]
    moves: tuple[Move, ...]
    result: Result

    @property
    def receipt(self) -> Receipt:
        return Receipt(attempt=self.attempt, result=self.result)


def read(folder: Path) -> Publication | None:
    """The receipt in a task's own folder, where earlier versions wrote it; None if there is none. `ValueError` if it is damaged
    or no receipt of ours."""
    try:
        data = (folder / RECEIPT).read_bytes()
    except FileNotFoundError:
        return None
    return checked(msgspec.json.decode(data, type=Publication))


def checked(found: Publication) -> Publication:
    """`ValueError` if it is not one of ours, or leads out of where it belongs."""
    names = [*(m.source for m in found.moves), *(m.target for m in found.moves)]
    if found.v != 1 or any(name in ("", ".", "..") or "/" in name or "\0" in name for name in names):
        raise ValueError("not a receipt of this version")
    try:
        for path in (found.dir, *found.made):
            parts_of(path)
    except Unavailable as error:
        raise ValueError(error.detail) from None
    return found


def prepare(
    root: Path, data: Path, found: list[os.DirEntry[str]], attempt: int, dir: str, promised: set[str]
) -> Publication:
    """What is to be moved where, and the missing folders on the way. In `data`, in which that was `found` (`survey`), names
    that are no UTF-8 are changed, and control files inside of folders go. `promised`: paths that others will take, to which
    these are added.

    Control files and aria2's `[METADATA]` leftovers stay. So does a file that still has a control file beside it where
    another has none: it is the half of an earlier attempt that had another name. (Where all have one, `force-save` or
    `select-file` keeps it, and the files are whole.)
    """
    if _make_speakable(found) + _drop_inner_control_files(data, found):
        found = list(survey(data))
    at_top = len(os.path.join(data, ""))
    top = {entry.name for entry in found if "/" not in entry.path[at_top:]}
    names = [name for name in sorted(top) if not name.endswith(SUFFIX) and not name.startswith("[METADATA]")]
    names = [name for name in names if name + SUFFIX not in top] or names
    sizes = _sizes(data, names, found)
    if not any(sizes.values()):
        raise Unavailable("aria2 reports the download complete, but it left no file in the staging folder; retry it.")
    missing = missing_folders(root, dir)
    folder = os.path.join(root, dir)
    moves = tuple(Move(name, _free_name(folder, name, promised)) for name in names)
    promised.update(os.path.join(folder, move.target) for move in moves)
    at = "/".join(parts_of(dir))
    entries = [
        FileEntry(path="/".join(filter(None, (at, move.target, below))), length=length)
        for move in moves
        for below, length in sizes[move.source]
    ]
    result = Result(
        total_bytes=sum(entry.length for entry in entries), file_count=len(entries), files=tuple(entries[:MAX_FILES])
    )
    return Publication(attempt=attempt, dir=dir, made=tuple(missing), moves=moves, result=result)


def settle_data(found: list[os.DirEntry[str]]) -> None:
    """Bring every byte of a finished download to the disk: what is called complete must not end in holes."""
    for entry in found:
        if not entry.name.endswith(SUFFIX):
            settle(Path(entry.path))


def write(folder: Path, publication: Publication) -> None:
    """Where earlier versions wrote it: a receipt that lies there is corrected there."""
    write_durably(folder / RECEIPT, msgspec.json.encode(publication))


def make_moves(root: Path, data: Path, publication: Publication, save: Callable[[Publication], None]) -> Publication:
    """Make every move that has not been made; safe to repeat. Answers what is true in the end: a name that somebody else
    took meanwhile is replaced by a free one, in the receipt first (`save`)."""
    destination = root / publication.dir
    missing_folders(root, publication.dir)  # a link may stand there since
    if not destination.is_dir():
        destination.mkdir(parents=True, exist_ok=True)
    for index, move in enumerate(publication.moves):
        while not _moved(data / move.source, destination / move.target):
            move = Move(move.source, _free_name(os.fspath(destination), move.source))
            publication = _renamed(publication, index, move)
            save(publication)
    return publication


def moved_into(root: Path, publication: Publication) -> list[Path]:
    """The folders that must know on the disk, too, that files were moved into them (`settle`). The one that they came from need
    not: what stands in both after a power loss is the same file, and the receipt says that it was moved."""
    return list(dict.fromkeys((root, *(root / path for path in publication.made), root / publication.dir)))


def pending(data: Path, publication: Publication) -> bool:
    """Is a move left to do?"""
    return any(os.path.lexists(data / move.source) for move in publication.moves)


def withdraw(root: Path, data: Path, publication: Publication) -> None:
    """Move back what was published, then remove the folders that were made for it and are empty now. Safe to repeat: the
    receipt stays true all the while, so that what somebody else puts there is never taken for it."""
    with suppress(Unavailable):  # the way there is a link by now: what lies behind it is not ours
        missing_folders(root, publication.dir)
        reserved = True
        for move in publication.moves:
            source, target = data / move.source, root / publication.dir / move.target
            if os.path.lexists(source) and not _same(source, target):
                # This one was never moved: what bears its name is somebody else's, but for the place that a failure left
                # reserved for the first of them.
                if reserved and os.path.lexists(target) and _vacant(source, target):
                    remove(target)
                reserved = False
            elif os.path.lexists(source):  # linked, and then the power went
                remove(target)
            else:
                with suppress(FileNotFoundError):
                    os.rename(target, source)
        for path in reversed(publication.made):
            with suppress(OSError):  # not empty, or gone
                (root / path).rmdir()


def emptied(folder: Path, data: Path) -> bool:
    """Remove the folder of a task whose files were all published, which is the rule; False if something else is in it."""
    try:
        os.rmdir(data)
        os.rmdir(folder)
    except OSError:
        return False
    return True


def numbered(name: str, number: int) -> str:
    """`name.1.ext`, as aria2 numbers files; the stem is cut where the file system would refuse the length."""
    stem, extension = os.path.splitext(name)
    ending = f".{number}{extension}"
    while stem and len(os.fsencode(stem + ending)) > MAX_NAME_BYTES:
        stem = stem[:-1]
    return stem + ending


def _free_name(folder: str, name: str, promised: Collection[str] = ()) -> str:
    candidates: Iterator[str] = itertools.chain((name,), (numbered(name, n) for n in itertools.count(1)))
    return next(
        candidate
        for candidate in candidates
        if (path := os.path.join(folder, candidate)) not in promised and not os.path.lexists(path)
    )


def _renamed(publication: Publication, index: int, move: Move) -> Publication:
    at = "/".join(parts_of(publication.dir))
    old, new = ("/".join(filter(None, (at, m.target))) for m in (publication.moves[index], move))
    files = tuple(
        FileEntry(path=new + f.path[len(old) :], length=f.length)
        if f.path == old or f.path.startswith(f"{old}/")
        else f
        for f in publication.result.files
    )
    moves = (*publication.moves[:index], move, *publication.moves[index + 1 :])
    result = msgspec.structs.replace(publication.result, files=files)
    return msgspec.structs.replace(publication, moves=moves, result=result)


def _moved(source: Path, target: Path) -> bool:
    """Move `source` to `target` unless that was done before; False if somebody else's thing is there.

    An empty file or folder of that name counts as ours: it is the place that a crash left reserved.
    """
    folder = source.is_dir()
    try:
        if not folder:
            os.link(source, target, follow_symlinks=False)
            source.unlink()
            return True
    except OSError as error:
        if not os.path.lexists(source):
            return True
        if error.errno not in _NO_LINKS | {errno.EEXIST}:
            raise
    if _same(source, target):  # linked, and then the power went
        source.unlink()
        return True
    if os.path.lexists(target) and not _vacant(source, target):
        return False
    if folder:
        with suppress(FileExistsError):
            target.mkdir()
        try:
            os.rename(source, target)  # onto an empty folder only: POSIX refuses any other
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                return False
            raise
        return True
    if not os.path.lexists(target):
        try:
            os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC))
        except FileExistsError:
            return False
    os.replace(source, target)
    return True


def _vacant(source: Path, target: Path) -> bool:
    if target.is_symlink() or source.is_dir() != target.is_dir():
        return False
    if target.is_dir():
        return not any(target.iterdir())
    return target.is_file() and target.stat().st_size == 0


def _same(source: Path, target: Path) -> bool:
    try:
        return os.path.samestat(source.lstat(), target.lstat())
    except FileNotFoundError:
        return False


def _sizes(data: Path, names: list[str], found: list[os.DirEntry[str]]) -> dict[str, list[tuple[str, int]]]:
    """The files of each of these entries of the data folder: path below the entry (empty for the entry itself) and length."""
    sizes: dict[str, list[tuple[str, int]]] = {name: [] for name in names}
    begin = len(os.path.join(data, ""))
    for entry in found:
        name, _, below = entry.path[begin:].partition("/")
        if name in sizes and not entry.is_dir(follow_symlinks=False):
            sizes[name].append((below, entry.stat(follow_symlinks=False).st_size))
    return sizes


def _drop_inner_control_files(data: Path, found: list[os.DirEntry[str]]) -> int:
    """Those of a metalink's files may lie in a folder, and would be published with it. How many there were."""
    dropped = 0
    for entry in found:
        path = Path(entry.path)
        if path.suffix == SUFFIX and path.parent != data and path.with_suffix("").is_file():
            path.unlink()
            dropped += 1
    return dropped


def _make_speakable(found: list[os.DirEntry[str]]) -> int:
    """Rename what is not UTF-8: such a name could not be told to anybody. How many there were."""
    renamed = 0
    for entry in reversed(found):  # children before their folders
        try:
            entry.name.encode()
        except UnicodeEncodeError:
            folder = os.path.dirname(entry.path)
            os.rename(
                entry.path, os.path.join(folder, _free_name(folder, os.fsencode(entry.name).decode(errors="replace")))
            )
            renamed += 1
    return renamed
