"""The download folder of this node: `<root>/.ariacluster/<task id>/` while a task runs, `<root>/<dir>/` afterwards."""

import asyncio
import errno
import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import structlog

from ariacluster.domain.errors import Unavailable
from ariacluster.domain.reconcile import Receipt, Staged

from . import publication
from .confinement import STAGING, real_folder, survey

log = structlog.get_logger()

_TASK_ID = re.compile(r"[0-9a-f]{16}")
_DATA = "data"
"""Where aria2 writes, below the task's folder: the receipt lies beside it, out of its reach."""

T = TypeVar("T")


class DownloadFolders:
    """Fills `Folders` with a real folder. One node owns it; a lock keeps two tasks from publishing at the same moment."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self._complained: set[str] = set()
        self._lock = threading.Lock()

    async def staged(self) -> dict[str, Staged]:
        return await self._do("look through the staging folders", self._staged)

    async def open(self, task_id: str, *, fresh: bool) -> Path:
        return await self._do(f"prepare the staging folder of task {task_id}", lambda: self._open(task_id, fresh))

    async def publish(self, task_id: str, attempt: int, dir: str) -> Receipt:
        task = f"task {task_id}"
        # Not under the lock: it takes as long as the disk needs for what is still in memory.
        await asyncio.to_thread(self._settle, task_id, f"write the files of {task} to the disk")
        return await self._do(f"publish the files of {task}", lambda: self._publish(task_id, attempt, dir))

    async def discard(self, task_id: str, *, published: bool) -> None:
        await self._do(f"remove the files of task {task_id}", lambda: self._discard(task_id, published))

    async def trouble(self) -> str:
        return await asyncio.to_thread(self._trouble)

    async def _do(self, what: str, work: Callable[[], T]) -> T:
        def locked() -> T:
            with self._lock, _explained(what):
                return work()

        return await asyncio.to_thread(locked)

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
                found[name] = Staged(self._receipt(name))
        return found

    def _receipt(self, task_id: str) -> Receipt | None:
        """The receipt of a task, once all that it promises is true: what a crash left half-published is finished here."""
        try:
            data = self._data(task_id)
            written = publication.read(self._folder(task_id)) if data else None
            if data and written and publication.pending(data, written):
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
        self._data(task_id)  # refuses links
        if fresh:
            self._discard(task_id, published=False)
        elif written := self._written(task_id):
            # Nobody was told of a publication that is half done: it is undone. A whole one may be somebody's by now.
            if publication.pending(folder / _DATA, written):
                publication.withdraw(self.root, folder / _DATA, written)
            (folder / publication.RECEIPT).unlink()
        data = folder / _DATA
        data.mkdir(parents=True, exist_ok=True)
        for _entry in survey(data):
            pass
        _drop_what_cannot_resume(data)
        return data

    def _settle(self, task_id: str, what: str) -> None:
        with _explained(what):
            if data := self._data(task_id):
                publication.settle_data(data)

    def _publish(self, task_id: str, attempt: int, dir: str) -> Receipt:
        folder, data = self._folder(task_id), self._data(task_id)
        if data is None:
            raise Unavailable(f"Task {task_id} has no files in the staging folder of {self.root}; retry it.")
        written = self._written(task_id)
        if written and written.attempt != attempt:
            # An earlier attempt's was never accepted. A later one's is of an earlier life of this id, and may have been.
            if written.attempt < attempt:
                publication.withdraw(self.root, data, written)
            written = None
        if written is None:
            written = publication.prepare(self.root, data, attempt, dir)
            publication.write(folder, written)
        return publication.complete(self.root, folder, data, written).receipt

    def _discard(self, task_id: str, published: bool) -> None:
        folder = self._folder(task_id)
        if not real_folder(folder.parent):
            return
        written = None if folder.is_symlink() else self._written(task_id)
        if published and written:
            publication.withdraw(self.root, folder / _DATA, written)
        publication.remove(folder)

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


def _drop_what_cannot_resume(folder: Path) -> None:
    """Remove what has no control file beside it: aria2 would take a gap for bytes, and report a corrupt file complete."""
    names = set(os.listdir(folder))
    for name in names:
        partner = name.removesuffix(publication.CONTROL) if name.endswith(publication.CONTROL) else None
        if (partner and partner in names) or name + publication.CONTROL in names:
            continue
        path = folder / name
        if path.is_dir():
            _drop_what_cannot_resume(path)  # files of a metalink may lie in folders, each with its own
            if any(path.iterdir()):
                continue
        publication.remove(path)


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
