"""The download folder of this node: `<root>/.ariacluster/<task id>/` while a task runs, `<root>/<dir>/` afterwards."""

import asyncio
import errno
import functools
import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import structlog

from ariacluster.domain.errors import Unavailable
from ariacluster.domain.partial import Partial, PartialFile
from ariacluster.domain.reconcile import Receipt, Staged

from . import arrival, offer, publication
from .arrival import Arrival
from .confinement import STAGING, real_folder, survey

log = structlog.get_logger()

_TASK_ID = re.compile(r"[0-9a-f]{16}")
_DATA = "data"
"""Where aria2 writes, below the task's folder: the receipt lies beside it, out of its reach."""

_LOCKS = 64
"""Tasks share them by their ids."""

T = TypeVar("T")


class DownloadFolders:
    """Fills `Folders` with a real folder, which one node owns. Each task's own folder has a lock, for what is done with it;
    names below the root have one for all, so that two tasks never publish under the same one."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self._complained: set[str] = set()
        self._arrivals: dict[str, Arrival] = {}
        self._locks = [threading.Lock() for _ in range(_LOCKS)]
        self._names = threading.Lock()

    async def staged(self) -> dict[str, Staged]:
        return await _apart("look through the staging folders", self._staged)

    async def open(self, task_id: str, *, fresh: bool) -> Path:
        await self._free(task_id)
        work = functools.partial(self._open, task_id, fresh)
        return await self._do(f"prepare the staging folder of task {task_id}", task_id, work)

    async def partial(self, task_id: str) -> Partial | None:
        return await _apart(f"look at the files of task {task_id}", lambda: self._partial(task_id))

    async def read(self, task_id: str, file: PartialFile, offset: int, length: int) -> bytes:
        return await _apart(f"read {file.path}", lambda: offer.read(self._there(task_id), file, offset, length))

    async def receive(self, task_id: str, partial: Partial) -> None:
        await asyncio.to_thread(arrival.check, partial)
        await self._free(task_id)
        await self._do(f"make room for task {task_id}", task_id, lambda: self._receive(task_id, partial))

    async def write(self, task_id: str, file: PartialFile, offset: int, data: bytes) -> None:
        arriving = self._arriving(task_id)
        await _apart(f"write {file.path}", lambda: arriving.write(file, offset, data))

    async def received(self, task_id: str, partial: Partial) -> None:
        arriving = self._arriving(task_id)
        # Not under the lock: it takes as long as the disk needs for what is still in memory.
        await _apart(f"bring the files of task {task_id} to the disk", lambda: arriving.finish(partial))
        if self._arrivals.get(task_id) is arriving:
            del self._arrivals[task_id]

    async def publish(self, task_id: str, attempt: int, dir: str) -> Receipt:
        work = functools.partial(self._publish, task_id, attempt, dir)
        return await self._do(f"publish the files of task {task_id}", task_id, work)

    async def discard(self, task_id: str, *, published: bool) -> None:
        await self._free(task_id)
        await self._do(f"remove the files of task {task_id}", task_id, lambda: self._discard(task_id, published))

    async def trouble(self) -> str:
        return await asyncio.to_thread(self._trouble)

    async def _free(self, task_id: str) -> None:
        """End what still arrives, not under the lock: if it settles, that takes long."""
        if task_id in self._arrivals:
            await asyncio.to_thread(self._end_arrival, task_id)

    async def _do(self, what: str, task_id: str, work: Callable[[], T]) -> T:
        self._folder(task_id)  # refuses what is no id

        def locked() -> T:
            with self._lock_of(task_id):
                return work()

        return await _apart(what, locked)

    def _lock_of(self, task_id: str) -> threading.Lock:
        return self._locks[int(task_id, 16) % _LOCKS]

    def _folder(self, task_id: str) -> Path:
        if not _TASK_ID.fullmatch(task_id):
            raise Unavailable(f"{task_id!r} is not a task id.")
        return self.root / STAGING / task_id

    def _data(self, task_id: str) -> Path | None:
        """The data folder of a task; None if there is none. `Unavailable` if a link stands on the way."""
        folder = self._folder(task_id)
        for path in (folder.parent, folder, folder / _DATA):
            if not real_folder(path):
                return None
        return folder / _DATA

    def _staged(self) -> dict[str, Staged]:
        if not real_folder(self.root / STAGING):
            return {}
        found = {}
        for name in sorted(os.listdir(self.root / STAGING)):
            if _TASK_ID.fullmatch(name):
                with self._lock_of(name):
                    found[name] = Staged(self._receipt(name))
        return found

    def _receipt(self, task_id: str) -> Receipt | None:
        """The receipt of a task, once all that it promises is true: what a crash left half-published is finished here."""
        try:
            data = self._data(task_id)
            written = publication.read(self._folder(task_id)) if data else None
            if data and written and publication.pending(data, written):
                with self._names:
                    written = publication.complete(self.root, self._folder(task_id), data, written)
                log.info("publication finished", task=task_id)
        except (OSError, ValueError, Unavailable) as error:
            if task_id not in self._complained:  # once: this is looked at again and again
                self._complained.add(task_id)
                log.warning("receipt not usable", task=task_id, error=str(error))
            return None
        self._complained.discard(task_id)
        return written.receipt if written else None

    def _written(self, task_id: str) -> publication.Publication | None:
        """The receipt as it is on the disk; a damaged one is none."""
        try:
            return publication.read(self._folder(task_id))
        except ValueError:
            return None

    def _open(self, task_id: str, fresh: bool) -> Path:
        folder = self._folder(task_id)
        if self._made(folder):
            return folder / _DATA
        self._data(task_id)  # refuses links
        self._end_arrival(task_id)
        if fresh:
            self._discard(task_id, published=False)
        elif written := self._written(task_id):
            # Nobody was told of a publication that is half done: it is undone. A whole one may be somebody's by now.
            if publication.pending(folder / _DATA, written):
                self._withdraw(folder / _DATA, written)
            (folder / publication.RECEIPT).unlink()
        publication.remove(folder / arrival.ASIDE)  # of a transfer that was not finished
        data = folder / _DATA
        data.mkdir(parents=True, exist_ok=True)
        _drop_what_cannot_resume(data)
        return data

    @staticmethod
    def _made(folder: Path) -> bool:
        """Make the folder of a task that has none yet, which is the rule: nothing has to be looked at then."""
        if not real_folder(folder.parent):
            return False
        try:
            os.mkdir(folder)
        except FileExistsError:
            return False
        os.mkdir(folder / _DATA)
        return True

    def _partial(self, task_id: str) -> Partial | None:
        data = self._data(task_id)
        return offer.offered(data) if data else None

    def _there(self, task_id: str) -> Path:
        data = self._data(task_id)
        if data is None:
            raise Unavailable(f"Task {task_id} has no files in the staging folder of {self.root}.")
        return data

    def _receive(self, task_id: str, partial: Partial) -> None:
        self._data(task_id)  # refuses links
        self._discard(task_id, published=False)
        folder = self._folder(task_id)
        (folder / _DATA).mkdir(parents=True)
        arriving = Arrival(folder, folder / _DATA, partial)
        arriving.make()
        self._arrivals[task_id] = arriving

    def _arriving(self, task_id: str) -> Arrival:
        if task_id not in self._arrivals:
            raise Unavailable(f"Nothing is being received for task {task_id}; begin again.")
        return self._arrivals[task_id]

    def _end_arrival(self, task_id: str) -> None:
        """Before anything else is done with the folder: a write that was given up may still be on its way to the disk. Again
        under the lock, for one that has just begun."""
        if arriving := self._arrivals.pop(task_id, None):
            arriving.end()

    def _publish(self, task_id: str, attempt: int, dir: str) -> Receipt:
        """What waits for the disk is not under the lock: others may wait at the same time."""
        folder, data = self._folder(task_id), self._data(task_id)
        if data is None:
            raise Unavailable(f"Task {task_id} has no files in the staging folder of {self.root}; retry it.")
        found = list(survey(data))
        with _explained(f"write the files of task {task_id} to the disk"):
            publication.settle_data(found)
        with self._names:
            written, is_new = self._prepare(task_id, data, found, attempt, dir)
        if is_new:
            publication.write(folder, written)
        with self._names:
            written = publication.make_moves(self.root, folder, data, written)
        publication.settle_moves(self.root, written)
        return written.receipt

    def _prepare(
        self, task_id: str, data: Path, found: list[os.DirEntry[str]], attempt: int, dir: str
    ) -> tuple[publication.Publication, bool]:
        """What is to be published of `data`, in which that was found, and whether the receipt is still to be written."""
        written = self._written(task_id)
        if written and written.attempt != attempt:
            if publication.pending(data, written):
                raise Unavailable(f"Task {task_id} was half published for another attempt; retry it.")
            # An earlier attempt's was never accepted. A later one's is of an earlier life of this id, and may have been.
            if written.attempt < attempt:
                publication.withdraw(self.root, data, written)
            written = None
        if written is not None:
            return written, False
        return publication.prepare(self.root, data, found, attempt, dir), True

    def _discard(self, task_id: str, published: bool) -> None:
        folder = self._folder(task_id)
        self._end_arrival(task_id)
        if not real_folder(folder.parent):
            return
        if folder.is_symlink():
            folder.unlink()
            return
        written = self._written(task_id)
        # Nobody was told of a publication that is half done: it goes in any case.
        if written and (published or publication.pending(folder / _DATA, written)):
            self._withdraw(folder / _DATA, written)
        if not publication.emptied(folder, folder / _DATA):
            publication.remove(folder)

    def _withdraw(self, data: Path, written: publication.Publication) -> None:
        with self._names:
            publication.withdraw(self.root, data, written)

    def _trouble(self) -> str:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            if not real_folder(self.root / STAGING):
                (self.root / STAGING).mkdir()
            if not all(os.access(path, os.R_OK | os.W_OK | os.X_OK) for path in (self.root, self.root / STAGING)):
                return f"The download folder {self.root} is not writable; change its permissions or choose another."
            if os.statvfs(self.root).f_bavail == 0:
                return f"The disk of the download folder {self.root} is full; make room."
        except Unavailable as error:
            return error.detail
        except (FileExistsError, NotADirectoryError):
            return f"The download folder {self.root} is not a folder; move what is there away or choose another."
        except OSError as error:
            return f"The download folder {self.root} cannot be used: {error.strerror or error}."
        return ""


def _drop_what_cannot_resume(data: Path) -> None:
    """Remove what has no control file that fits it: aria2 would take a gap for bytes and report a corrupt file complete, or end
    at once with a control file that a full disk cut short. What may stay is what could be offered to another node."""
    found = list(survey(data))
    offered = offer.offered(data) if found else None
    kept = {data / file.path for file in offered.files} if offered else set()
    for entry in reversed(found):  # what is in a folder before the folder
        path = Path(entry.path)
        if path not in kept and not (path.is_dir() and any(path.iterdir())):
            publication.remove(path)


async def _apart(what: str, work: Callable[[], T]) -> T:
    """Do it in a thread; what the system refuses is told as `Unavailable`."""

    def explained() -> T:
        with _explained(what):
            return work()

    return await asyncio.to_thread(explained)


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Turn what the system says into what a person can act on."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.EXDEV:
            raise Unavailable(
                f"Cannot {what}: the folder lies on another disk than {STAGING}; choose another."
            ) from error
        where = f" ({error.filename})" if error.filename else ""
        raise Unavailable(f"Cannot {what}: {error.strerror or error}{where}.") from error
