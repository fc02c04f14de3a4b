"""A download folder in memory."""

import os
from itertools import count
from pathlib import Path

from ariacluster.domain.errors import Unavailable
from ariacluster.domain.reconcile import Receipt, Staged
from ariacluster.domain.task import MAX_FILES, FileEntry, Result


class FakeFolders:
    """Fills `Folders`. Files are bytes by path: `staging` per task, `published` below the root.

    `put` is what the engine would write. `refusal`, while not empty, is why `open` and `publish` fail; `ailing` is the
    answer of `trouble`.
    """

    def __init__(self, root: Path = Path("/downloads")) -> None:
        self.root = root
        self.staging: dict[str, dict[str, bytes]] = {}
        self.published: dict[str, bytes] = {}
        self.receipts: dict[str, Receipt] = {}
        self.refusal = ""
        self.ailing = ""
        self._moved: dict[str, list[str]] = {}

    def put(self, task_id: str, path: str, data: bytes) -> None:
        self.staging[task_id][path] = data

    async def staged(self) -> dict[str, Staged]:
        return {task_id: Staged(self.receipts.get(task_id)) for task_id in sorted(self.staging)}

    async def open(self, task_id: str, *, fresh: bool) -> Path:
        self._refuse()
        self._forget(task_id)
        files = {} if fresh else self.staging.get(task_id, {})
        self.staging[task_id] = {path: data for path, data in files.items() if _resumable(path, files)}
        return self.root / ".ariacluster" / task_id / "data"

    async def publish(self, task_id: str, attempt: int, dir: str) -> Receipt:
        self._refuse()
        known = self.receipts.get(task_id)
        if known and known.attempt == attempt:
            return known
        if known and known.attempt < attempt:
            self._withdraw(task_id)
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

    async def discard(self, task_id: str, *, published: bool) -> None:
        if published:
            self._withdraw(task_id)
        self._forget(task_id)
        self.staging.pop(task_id, None)

    async def trouble(self) -> str:
        return self.ailing

    def _refuse(self) -> None:
        if self.refusal:
            raise Unavailable(self.refusal)

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


def _top(path: str, like: str) -> str:
    """The entry beside `like` that `path` lies in."""
    return "/".join(path.split("/")[: like.count("/") + 1])


def _resumable(path: str, files: dict[str, bytes]) -> bool:
    """Has the file, or a folder that it lies in, a control file beside it; or is it one?"""
    parts = path.split("/")
    above = ["/".join(parts[: n + 1]) for n in range(len(parts))]
    if any(f"{top}.aria2" in files for top in above):
        return True
    partner = path.removesuffix(".aria2")
    return partner != path and any(other == partner or other.startswith(f"{partner}/") for other in files)
