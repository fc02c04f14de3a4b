"""A download folder in memory."""

import asyncio
import os
from collections.abc import Awaitable, Iterable, Sequence
from itertools import count
from pathlib import Path, PurePosixPath
from typing import TypeVar

from ariacluster.domain.errors import InvalidInput, Unavailable
from ariacluster.domain.partial import Partial, PartialFile
from ariacluster.domain.reconcile import Receipt, Staged
from ariacluster.domain.task import MAX_FILES, FileEntry, Result
from ariacluster_node.ports import Discarding, Opening, Publishing

T = TypeVar("T")


class FakeFolders:
    """Fills `Folders`. Files are bytes by path: `staging` per task, `published` below the root.

    `put` is what the engine would write. `refusal`, while not empty, is why `open`, `publish_all`, `receive`, `write` and
    `received` fail; `ailing` is the answer of `trouble`. `settle` takes until `disk` is set. Any
    control file that is not empty is a good one.
    """

    def __init__(self, root: Path = Path("/downloads")) -> None:
        self.root = root
        self.staging: dict[str, dict[str, bytes]] = {}
        self.published: dict[str, bytes] = {}
        self.receipts: dict[str, Receipt] = {}
        self.refusal = ""
        self.ailing = ""
        self.disk = asyncio.Event()
        self.disk.set()
        self._moved: dict[str, list[str]] = {}
        self._arriving: dict[str, _Arriving] = {}

    def put(self, task_id: str, path: str, data: bytes) -> None:
        self.staging[task_id][path] = data

    async def staged(self) -> dict[str, Staged]:
        return {task_id: Staged(self.receipts.get(task_id)) for task_id in sorted(self.staging)}

    async def open(self, task_id: str, *, fresh: bool) -> Path:
        self._refuse()
        self._forget(task_id)
        self._arriving.pop(task_id, None)
        files = {} if fresh else self.staging.get(task_id, {})
        self.staging[task_id] = {path: data for path, data in files.items() if _resumable(path, files)}
        return self.root / ".ariacluster" / task_id / "data"

    async def open_all(self, works: Sequence[Opening]) -> list[Path | Unavailable]:
        return [await _told_or(self.open(work.task_id, fresh=work.fresh)) for work in works]

    async def partial(self, task_id: str) -> Partial | None:
        files = self.staging.get(task_id, {})
        tops = {path.removesuffix(".aria2") for path in files if path.endswith(".aria2") and files[path]}
        data = [path for path in sorted(files) if path not in _controls(files) and not tops.isdisjoint(_above(path))]
        used = {top for top in tops if any(top in _above(path) and files[path] for path in data)}
        data = [path for path in data if not used.isdisjoint(_above(path))]
        whole = [*data, *(f"{top}.aria2" for top in sorted(used))]
        return Partial(files=tuple(_told(path, files[path]) for path in whole)) if whole else None

    async def begun_as(self, task_id: str) -> str | None:
        partial = await self.partial(task_id)
        match [file.path for file in partial.files if not file.path.endswith(".aria2")] if partial else []:
            case [name] if "/" not in name:
                return name
        return None

    async def read(self, task_id: str, file: PartialFile, offset: int, length: int) -> bytes:
        held = self.staging.get(task_id, {}).get(file.path, b"")
        if offset < 0 or length < 0 or offset + length > len(held):
            raise Unavailable(f"{file.path} has no such bytes any more.")
        return held[offset : offset + length]

    async def receive(self, task_id: str, partial: Partial) -> None:
        self._refuse()
        _check(partial)
        self._forget(task_id)
        self.staging[task_id] = {}
        self._arriving[task_id] = _Arriving(partial)

    async def write(self, task_id: str, file: PartialFile, offset: int, data: bytes) -> None:
        self._refuse()
        self._arrival(task_id).take(file, offset, data)

    async def received(self, task_id: str, partial: Partial) -> None:
        self._refuse()
        self.staging[task_id] = self._arrival(task_id).whole(partial)
        del self._arriving[task_id]

    async def settle(self, task_id: str) -> None:
        self._refuse()
        await self.disk.wait()

    async def _publish(self, task_id: str, attempt: int, dir: str) -> Receipt:
        self._refuse()
        known = self.receipts.get(task_id)
        if known and known.attempt != attempt:
            raise Unavailable("It was published for another attempt.")
        if known:
            return known
        staged = self.staging.get(task_id, {})
        tops = sorted({path.split("/")[0] for path in staged})
        tops = [top for top in tops if not top.endswith(".aria2") and not top.startswith("[METADATA]")]
        tops = [top for top in tops if f"{top}.aria2" not in staged] or tops
        if not tops:
            raise Unavailable("There is nothing to publish.")
        entries: list[FileEntry] = []
        for top in tops:
            target = self._free("/".join(filter(None, (dir, top))))
            for path in sorted(path for path in staged if path == top or path.startswith(f"{top}/")):
                self.published[target + path[len(top) :]] = data = staged.pop(path)
                entries.append(FileEntry(path=target + path[len(top) :], length=len(data)))
        self._moved[task_id] = [entry.path for entry in entries]
        total = sum(entry.length for entry in entries)
        result = Result(total_bytes=total, file_count=len(entries), files=tuple(entries[:MAX_FILES]))
        self.receipts[task_id] = Receipt(attempt=attempt, result=result)
        return self.receipts[task_id]

    async def publish_all(self, works: Sequence[Publishing]) -> list[Receipt | Unavailable]:
        return [await _told_or(self._publish(*work)) for work in works]

    async def _discard(self, task_id: str, published: bool) -> None:
        if published:
            self._withdraw(task_id)
        self._forget(task_id)
        self._arriving.pop(task_id, None)
        self.staging.pop(task_id, None)

    async def discard_all(self, works: Sequence[Discarding]) -> list[Unavailable | None]:
        return [await _told_or(self._discard(*work)) for work in works]

    async def trouble(self) -> str:
        return self.ailing

    def _refuse(self) -> None:
        if self.refusal:
            raise Unavailable(self.refusal)

    def _arrival(self, task_id: str) -> "_Arriving":
        if task_id not in self._arriving:
            raise Unavailable(f"Nothing is being received for task {task_id}.")
        return self._arriving[task_id]

    def _withdraw(self, task_id: str) -> None:
        for path in self._moved.get(task_id, []):
            self.published.pop(path, None)
        self._forget(task_id)

    def _forget(self, task_id: str) -> None:
        self.receipts.pop(task_id, None)
        self._moved.pop(task_id, None)

    def _free(self, target: str) -> str:
        stem, extension = os.path.splitext(target)
        taken = {_top(path, target) for path in self.published}
        names = (target if n == 0 else f"{stem}.{n}{extension}" for n in count())
        return next(name for name in names if name not in taken)


class _Arriving:
    """Files on their way here, out of sight until they are whole; and which of their bytes have come."""

    def __init__(self, partial: Partial) -> None:
        self._partial = partial
        self._bytes = {file.path: bytearray(file.size) for file in partial.files}
        self._came = {file.path: bytearray(file.size) for file in partial.files}

    def take(self, file: PartialFile, offset: int, data: bytes) -> None:
        if file not in self._partial.files or offset < 0 or offset + len(data) > file.size:
            raise Unavailable(f"{file.path} has no place for these bytes.")
        self._bytes[file.path][offset : offset + len(data)] = data
        self._came[file.path][offset : offset + len(data)] = b"1" * len(data)

    def whole(self, partial: Partial) -> dict[str, bytes]:
        promised = (self._came[file.path][at : at + n] for file in self._partial.files for at, n in file.segments)
        if partial != self._partial or any(0 in came for came in promised):
            raise Unavailable("Not all of its bytes have come.")
        return {path: bytes(data) for path, data in self._bytes.items()}


async def _told_or(answer: Awaitable[T]) -> T | Unavailable:
    try:
        return await answer
    except Unavailable as error:
        return error


def _check(partial: Partial) -> None:
    """What comes from another node must not leave the folder, and must be such that it can be resumed."""
    paths = {file.path for file in partial.files}
    for path in paths:
        pure = PurePosixPath(path)
        if str(pure) != path or pure.is_absolute() or ".." in pure.parts or path == "." or "\0" in path:
            raise InvalidInput(f"{path!r} is no path below the folder of the task.", field="files")
    for path in paths - _controls(paths):
        if paths.isdisjoint(f"{top}.aria2" for top in _above(path)):
            raise InvalidInput(f"{path} has no control file with it.", field="files")
    if len(paths) != len(partial.files) or not paths - _controls(paths):
        raise InvalidInput("There is a path twice, or no file at all.", field="files")


def _told(path: str, data: bytes) -> PartialFile:
    return PartialFile(path=path, size=len(data), segments=((0, len(data)),) if data else ())


def _above(path: str) -> list[str]:
    """The path, and the folders that it lies in."""
    parts = path.split("/")
    return ["/".join(parts[: n + 1]) for n in range(len(parts))]


def _controls(paths: Iterable[str]) -> set[str]:
    """Those that are the control file of another one of them, or of a folder that one lies in."""
    tops = {top for path in paths for top in _above(path)}
    return {path for path in paths if path.endswith(".aria2") and path.removesuffix(".aria2") in tops}


def _top(path: str, like: str) -> str:
    """The entry beside `like` that `path` lies in."""
    return "/".join(path.split("/")[: like.count("/") + 1])


def _resumable(path: str, files: dict[str, bytes]) -> bool:
    """Has the file, or a folder that it lies in, a control file beside it that is not empty; or is it one?"""
    if any(files.get(f"{top}.aria2") for top in _above(path)):
        return True
    partner = path.removesuffix(".aria2")
    return (
        partner != path
        and bool(files[path])
        and any(other == partner or other.startswith(f"{partner}/") for other in files)
    )
