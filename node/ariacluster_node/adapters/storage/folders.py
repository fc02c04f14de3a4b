"""The download folder of this node: `<root>/.ariacluster/<task id>/` while a task runs, `<root>/<dir>/` afterwards."""

import asyncio
import errno
import functools
import os
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import structlog

from ariacluster.domain.errors import Unavailable
from ariacluster.domain.partial import Partial, PartialFile
from ariacluster.domain.reconcile import Receipt, Staged
from ariacluster_node.ports import Discarding, Opening, Publishing

from . import arrival, offer, publication
from .arrival import Arrival
from .confinement import STAGING, real_folder, remove, survey
from .durable import settle
from .rounds import Rounds
from .turns import Turns

log = structlog.get_logger()

_TASK_ID = re.compile(r"[0-9a-f]{16}")
_DATA = "data"
"""Where aria2 writes, below the task's folder: the receipt lies beside it, out of its reach."""

_GONE = "gone"
"""What the data folder is called while it is removed."""

_SETTLERS = 4
"""Threads that wait for the disk at a time; more of them only wait for each other."""

T = TypeVar("T")
W = TypeVar("W", Opening, Discarding)


class DownloadFolders:
    """Fills `Folders` with a real folder, which one node owns. What is done with a task's own folder is done in turns; names
    below the root have one lock for all, so that two tasks never publish under the same one."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self._complained: set[str] = set()
        self._arrivals: dict[str, Arrival] = {}
        self._lost: set[str] = set()
        """Tasks of whose bytes the disk did not take all."""
        self._turns = Turns()
        self._names = threading.Lock()
        self._rounds = Rounds(self.root / STAGING)

    async def staged(self) -> dict[str, Staged]:
        return await _apart("look through the staging folders", self._staged)

    async def open(self, task_id: str, *, fresh: bool) -> Path:
        await self._free(task_id)
        work = functools.partial(self._open, task_id, fresh)
        return await self._do(f"prepare the staging folder of task {task_id}", task_id, work)

    async def open_all(self, works: Sequence[Opening]) -> list[Path | Unavailable]:
        return await self._each(works, "prepare the staging folder", lambda work: self._open(work.task_id, work.fresh))

    async def partial(self, task_id: str) -> Partial | None:
        return await _apart(f"look at the files of task {task_id}", lambda: self._partial(task_id))

    async def begun_as(self, task_id: str) -> str | None:
        return await _apart(f"look at the files of task {task_id}", lambda: offer.single(self._partial(task_id)))

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

    async def settle(self, task_id: str) -> None:
        await _apart(f"write the files of task {task_id} to the disk", lambda: self._settle_early(task_id))

    async def publish_all(self, works: Sequence[Publishing]) -> list[Receipt | Unavailable]:
        return await asyncio.to_thread(self._publish_all, works)

    async def discard_all(self, works: Sequence[Discarding]) -> list[Unavailable | None]:
        gone: list[str] = []

        def discard(work: Discarding) -> None:
            self._discard(work.task_id, work.published)
            gone.append(work.task_id)

        return await self._each(works, "remove the files", discard, lambda: self._rounds.gone(gone))

    async def trouble(self) -> str:
        return await asyncio.to_thread(self._trouble)

    async def _free(self, task_id: str) -> None:
        """End what still arrives, not under the lock: if it settles, that takes long."""
        if task_id in self._arrivals:
            await asyncio.to_thread(self._end_arrival, task_id)

    async def _do(self, what: str, task_id: str, work: Callable[[], T]) -> T:
        self._folder(task_id)  # refuses what is no id

        def locked() -> T:
            with self._turns.of((task_id,)):
                return work()

        return await _apart(what, locked)

    async def _each(
        self, works: Sequence[W], what: str, do: Callable[[W], T], at_last: Callable[[], None] = lambda: None
    ) -> list[T | Unavailable]:
        """Do it for each of them, one after the other in one thread, and then `at_last`."""
        for work in works:
            await self._free(work.task_id)

        def all_of_them() -> list[T | Unavailable]:
            answers: list[T | Unavailable] = []
            with self._turns.of([work.task_id for work in works]):
                for work in works:
                    try:
                        with _explained(f"{what} of task {work.task_id}"):
                            answers.append(do(work))
                    except Unavailable as error:
                        answers.append(error)
                try:
                    with _explained(f"{what} of {len(works)} tasks"):
                        at_last()
                except Unavailable as error:
                    return [error for _ in works]
            return answers

        return await asyncio.to_thread(all_of_them)

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
        self._rounds.load()
        found = {}
        for name in sorted(os.listdir(self.root / STAGING)):
            if _TASK_ID.fullmatch(name):
                with self._turns.of((name,)):
                    found[name] = Staged(self._receipt(name))
        return found

    def _receipt(self, task_id: str) -> Receipt | None:
        """The receipt of a task, once all that it promises is true: what a crash left half-published is finished here."""
        try:
            data = self._data(task_id)
            written = self._rounds.get(task_id) or publication.read(self._folder(task_id)) if data else None
            if data and written and publication.pending(data, written):
                with self._names:
                    written = self._make_moves(task_id, data, written)
                for folder in publication.moved_into(self.root, written):
                    settle(folder)
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
            return self._rounds.get(task_id) or publication.read(self._folder(task_id))
        except ValueError:
            return None

    def _open(self, task_id: str, fresh: bool) -> Path:
        folder = self._folder(task_id)
        if self._made(task_id, folder):
            self._lost.discard(task_id)
            return folder / _DATA
        self._data(task_id)  # refuses links
        self._end_arrival(task_id)
        if fresh or task_id in self._lost:
            self._discard(task_id, published=False)
        elif (written := self._written(task_id)) and publication.pending(folder / _DATA, written):
            # Nobody was told of a publication that is half done: it is undone. A whole one may be somebody's by now.
            self._withdraw(folder / _DATA, written)
        self._forget_receipt(task_id)
        for left in (arrival.ASIDE, _GONE):  # by what was not finished
            remove(folder / left)
        data = folder / _DATA
        data.mkdir(parents=True, exist_ok=True)
        _drop_what_cannot_resume(data)
        return data

    def _forget_receipt(self, task_id: str) -> None:
        """Before the folder is used for anything else."""
        self._rounds.strike(task_id)
        (self._folder(task_id) / publication.RECEIPT).unlink(missing_ok=True)

    def _made(self, task_id: str, folder: Path) -> bool:
        """Make the folder of a task that has none yet, which is the rule: nothing has to be looked at then."""
        if not real_folder(folder.parent) or self._rounds.names(task_id):
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
        self._forget_receipt(task_id)
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

    def _publish_all(self, works: Sequence[Publishing]) -> list[Receipt | Unavailable]:
        """Step by step, each for all of them: so the disk is waited for once per file, and a few times for all. Others may take
        names meanwhile: only who makes the moves sees which are free."""
        going = [_Going(work) for work in works]
        with self._turns.of([work.task_id for work in works]):
            self._settle_all(going)
            promised: set[str] = set()
            with self._names:
                _step(going, "publish the files of task {}", lambda one: self._prepare(one, promised))
            fresh = [one for one in going if one.is_new and one.error is None]
            _together(fresh, "write the receipts", lambda: self._rounds.write({o.id: o.written for o in fresh}))
            with self._names:
                _step(going, "publish the files of task {}", self._move)
            into: dict[Path, list[_Going]] = {}
            for one in going:
                for folder in publication.moved_into(self.root, one.written) if one.error is None else ():
                    into.setdefault(folder, []).append(one)
            for folder, those in into.items():
                _together(those, f"write the folder {folder} to the disk", functools.partial(settle, folder))
        return [one.error or one.written.receipt for one in going]

    def _settle_early(self, task_id: str) -> None:
        if data := self._data(task_id):
            self._settle(task_id, list(survey(data)))

    def _settle(self, task_id: str, found: list[os.DirEntry[str]]) -> None:
        """A disk that failed says so once, and calls what it has lost settled when it is asked again."""
        if task_id in self._lost:
            raise Unavailable(f"The disk did not take all of task {task_id}; retry it.")
        try:
            publication.settle_data(found)
        except OSError:
            self._lost.add(task_id)
            raise

    def _settle_all(self, going: Sequence["_Going"]) -> None:
        """A few at a time: those that wait for the disk together wait for the same write of its journal."""
        settle_one = functools.partial(_step, what="write the files of task {} to the disk", do=self._settle_data)
        if len(going) < 2:
            settle_one(going)
            return
        with ThreadPoolExecutor(min(_SETTLERS, len(going)), "settle") as pool:
            list(pool.map(settle_one, [going[start::_SETTLERS] for start in range(_SETTLERS)]))

    def _settle_data(self, one: "_Going") -> None:
        data = self._data(one.id)
        if data is None:
            raise Unavailable(f"Task {one.id} has no files in the staging folder of {self.root}; retry it.")
        one.data, one.found = data, list(survey(data))
        self._settle(one.id, one.found)

    def _prepare(self, one: "_Going", promised: set[str]) -> None:
        """What is to be published of its data, and whether the receipt is still to be written."""
        attempt, written = one.work.attempt, self._written(one.id)
        if written and written.attempt != attempt:
            raise Unavailable(f"Task {one.id} was published for another attempt; retry it.")
        one.is_new = written is None
        one.written = written or publication.prepare(self.root, one.data, one.found, attempt, one.work.dir, promised)

    def _move(self, one: "_Going") -> None:
        one.written = self._make_moves(one.id, one.data, one.written)

    def _make_moves(self, task_id: str, data: Path, written: publication.Publication) -> publication.Publication:
        def save(corrected: publication.Publication) -> None:
            if not self._rounds.correct(task_id, corrected):
                publication.write(self._folder(task_id), corrected)

        return publication.make_moves(self.root, data, written, save)

    def _discard(self, task_id: str, published: bool) -> None:
        folder = self._folder(task_id)
        self._end_arrival(task_id)
        self._lost.discard(task_id)
        if not real_folder(folder.parent):
            return
        if folder.is_symlink():
            folder.unlink()
            return
        data = folder / _DATA
        written = self._written(task_id) if data.is_dir() and not data.is_symlink() else None
        # Nobody was told of a publication that is half done: it goes in any case.
        if written and (published or publication.pending(data, written)):
            self._withdraw(data, written)
            # No receipt counts without the data folder, and a full disk refuses no rename: what a crash leaves from now on is
            # neither published nor taken back once more.
            remove(folder / _GONE)
            os.rename(data, folder / _GONE)
            settle(folder)
        if not publication.emptied(folder, data):
            remove(folder)

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


class _Going:
    """One of those that are published together, and how far it is. `error`: why it goes no further."""

    data: Path
    found: list[os.DirEntry[str]]
    written: publication.Publication

    def __init__(self, work: Publishing) -> None:
        self.work = work
        self.id = work.task_id
        self.is_new = False
        self.error: Unavailable | None = None


def _step(going: Sequence[_Going], what: str, do: Callable[[_Going], None]) -> None:
    """A step for each; who fails at it stays behind."""
    for one in going:
        if one.error is None:
            _together((one,), what.format(one.id), functools.partial(do, one))


def _together(those: Sequence[_Going], what: str, do: Callable[[], None]) -> None:
    """A step for all of them in one; if it fails, all stay behind."""
    try:
        with _explained(what):
            if those:
                do()
    except Unavailable as error:
        for one in those:
            one.error = one.error or error


def _drop_what_cannot_resume(data: Path) -> None:
    """Remove what has no control file that fits it: aria2 would take a gap for bytes and report a corrupt file complete, or end
    at once with a control file that a full disk cut short. What may stay is what could be offered to another node."""
    found = list(survey(data))
    offered = offer.offered(data) if found else None
    kept = {data / file.path for file in offered.files} if offered else set()
    for entry in reversed(found):  # what is in a folder before the folder
        path = Path(entry.path)
        if path not in kept and not (path.is_dir() and any(path.iterdir())):
            remove(path)


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
