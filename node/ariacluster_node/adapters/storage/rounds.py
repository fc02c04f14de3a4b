"""The receipts of what is published together: one file for all of them, so that many small files wait for the disk once.
Blocking.

A receipt counts as long as the data folder of its task is there. When none of a file's folders is left, the file goes; until
then a folder that went is not made anew before its receipt is struck out, or a crash would take it for the new one's.
"""

import os
import secrets
import threading
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path

import msgspec
import structlog

from .confinement import real_folder
from .durable import settle, write_durably
from .publication import Publication, checked

log = structlog.get_logger()

_PREFIX, _SUFFIX = "round-", ".json"


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """What such a file holds: receipts by task id."""

    v: int = 1
    receipts: dict[str, Publication]


class Rounds:
    """Those of one staging folder, which must be there when something is written. Raises `OSError`."""

    def __init__(self, staging: Path) -> None:
        self._staging = staging
        self._receipts: dict[str, dict[str, Publication]] = {}
        self._place: tuple[int, int] | None = None
        self._in: dict[str, str] = {}
        """By task id, the name of the file that has its receipt; also while its folder is gone."""
        self._gone: set[str] = set()
        self._lock = threading.Lock()

    def load(self) -> None:
        """Read what is there, if that was not done; what says nothing any more goes."""
        with self._lock:
            self._known()

    def get(self, task_id: str) -> Publication | None:
        """The receipt of a task whose folder is there."""
        with self._lock:
            files = self._known()
            if task_id not in self._in or task_id in self._gone:
                return None
            return files[self._in[task_id]][task_id]

    def names(self, task_id: str) -> bool:
        """Does a file on the disk have a receipt of that id, though the folder may be gone?"""
        with self._lock:
            self._known()
            return task_id in self._in

    def write(self, receipts: Mapping[str, Publication]) -> None:
        """On the disk when this returns."""
        with self._lock:
            files = self._known()
            self._strike(receipts)
            name = f"{_PREFIX}{secrets.token_hex(8)}{_SUFFIX}"
            try:
                self._save(name, dict(receipts))
            except OSError:
                with suppress(OSError):  # who was told that it failed must not find it after a restart
                    (self._staging / name).unlink()
                raise
            files[name] = dict(receipts)
            self._in.update(dict.fromkeys(receipts, name))

    def correct(self, task_id: str, receipt: Publication) -> bool:
        """Replace one that is here, on the disk when this returns; False if it is not."""
        with self._lock:
            files = self._known()
            if (name := self._in.get(task_id)) is None:
                return False
            self._save(name, files[name] | {task_id: receipt})
            files[name][task_id] = receipt
            return True

    def strike(self, task_id: str) -> None:
        """It does not count any more, whatever is made under its id; on the disk when this returns."""
        with self._lock:
            self._known()
            self._strike((task_id,))

    def gone(self, task_ids: Collection[str]) -> None:
        """The folders of these tasks were removed."""
        with self._lock:
            files = self._known()
            names = {self._in[task_id] for task_id in task_ids if task_id in self._in}
            self._gone.update(task_id for task_id in task_ids if task_id in self._in)
            if empty := [name for name in names if self._gone.issuperset(files[name])]:
                for name in empty:
                    self._drop(name)
                with suppress(FileNotFoundError):
                    settle(self._staging)

    def _strike(self, task_ids: Collection[str]) -> None:
        files = self._known()
        for name in {self._in[task_id] for task_id in task_ids if task_id in self._in}:
            left = {task_id: files[name][task_id] for task_id in files[name] if task_id not in task_ids}
            if self._gone.issuperset(left):
                self._drop(name)
                settle(self._staging)
                continue
            self._save(name, left)
            for task_id in files[name].keys() - left.keys():
                del self._in[task_id]
                self._gone.discard(task_id)
            files[name] = left

    def _save(self, name: str, receipts: dict[str, Publication]) -> None:
        try:
            write_durably(self._staging / name, msgspec.json.encode(Round(receipts=receipts)))
        except OSError:
            with suppress(OSError):
                (self._staging / f"{name}.new").unlink()
            raise

    def _drop(self, name: str) -> None:
        files = self._known()
        (self._staging / name).unlink(missing_ok=True)
        for task_id in files.pop(name):
            del self._in[task_id]
            self._gone.discard(task_id)

    def _known(self) -> dict[str, dict[str, Publication]]:
        """By the name of its file. Read when the folder is there, and again when it is another one, as when a disk was away:
        nobody else writes them."""
        found = os.lstat(self._staging) if real_folder(self._staging) else None
        place = (found.st_dev, found.st_ino) if found else None
        if place != self._place:
            self._receipts.clear()
            self._in.clear()
            self._gone.clear()
            names = [name for name in os.listdir(self._staging) if name.startswith(_PREFIX)] if place else []
            for name in sorted(names):
                if receipts := self._read(name):
                    self._receipts[name] = receipts
                    self._in.update(dict.fromkeys(receipts, name))
                    self._gone.update(task_id for task_id in receipts if not self._is_there(task_id))
            self._place = place
        return self._receipts

    def _read(self, name: str) -> dict[str, Publication]:
        """Empty if nothing in it counts."""
        path = self._staging / name
        if not name.endswith(_SUFFIX):  # a crash cut its writing short
            with suppress(OSError):
                path.unlink()
            return {}
        try:
            found = msgspec.json.decode(path.read_bytes(), type=Round)
            if found.v != 1:
                raise ValueError("not of this version")
            receipts = {task_id: checked(receipt) for task_id, receipt in found.receipts.items()}
        except (OSError, ValueError) as error:
            log.warning("receipts not usable", file=name, error=str(error))
            return {}
        if any(map(self._is_there, receipts)):
            return receipts
        with suppress(OSError):
            path.unlink()
        return {}

    def _is_there(self, task_id: str) -> bool:
        return (self._staging / task_id).is_dir()
